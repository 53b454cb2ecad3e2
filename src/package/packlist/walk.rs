//! The one walk over a package: every folder is opened from the one above it without following links, and read once,
//! several at a time. What npm's rules (or, in `node_modules`, our few exceptions) let in goes out, unsorted.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use rustix::fs::{Dir, FileType, Stat};

use super::rules::Folder;
use super::source::{Source, Target};
use super::{PackedFile, Problem};

/// More files and folders than any plugin has: beyond, links to folders multiply each other.
const MAX_ENTRIES: usize = 250_000;

/// Links to folders that are followed on the way to a file.
const MAX_JUMPS: usize = 8;

/// Folders on the way to a file: npm's rules ask every one of them.
const MAX_DEPTH: usize = 256;

/// Linux `PATH_MAX`, without the final NUL.
const MAX_PATH: usize = 4095;

/// An ignore file is read up to this size, in bytes.
const MAX_IGNORE_FILE: u64 = 1 << 20;

/// Below a `node_modules` folder: what package managers keep for themselves.
const PACKAGE_MANAGER_STATE: [&str; 5] =
    [".bin", ".cache", ".yarn-state.yml", ".package-lock.json", ".package-map.json"];

/// Anywhere in `node_modules`: version control, and npm's credentials.
pub(super) const NEVER: [&str; 5] = [".git", ".svn", ".hg", "CVS", ".npmrc"];

/// Why the entries of a folder are in.
#[derive(Clone, Debug)]
enum Mode {
    /// npm's rules say.
    Rules(Arc<Folder>),
    /// All are, but for [`NEVER`] and, directly in `node_modules`, [`PACKAGE_MANAGER_STATE`].
    Whole,
}

/// A link on the way: the folder that it led to, and the one that it was found in.
#[derive(Debug)]
struct Jump {
    base: String,
    left_at: String,
    /// How many there were, this one counted.
    count: usize,
    previous: Option<Arc<Jump>>,
}

/// A folder that is still to be read.
#[derive(Debug)]
struct Job {
    parent: Arc<OwnedFd>,
    /// Its name in `parent`; `.` for the package itself and for what a link led to.
    name: std::ffi::OsString,
    /// Its path in the package.
    path: String,
    /// Its path without links.
    real: String,
    /// Where the last link on the way led to; empty if there was none.
    base: String,
    jumps: Option<Arc<Jump>>,
    mode: Mode,
}

#[derive(Debug, Default)]
struct State {
    /// Last in, first out, so that few folders are open at a time.
    jobs: Vec<Job>,
    working: usize,
    folders: usize,
    files: Vec<PackedFile>,
    problems: Vec<Problem>,
}

/// What the walk found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) files: Vec<PackedFile>,
    pub(super) problems: Vec<Problem>,
}

/// Walks all of `source` by the rules of `root`, with `threads` threads.
pub(super) fn walk(
    source: &Source,
    root: Arc<Folder>,
    threads: usize,
    is_cancelled: &(dyn Fn() -> bool + Sync),
) -> Found {
    let job = Job {
        parent: source.root(),
        name: ".".into(),
        path: String::new(),
        real: String::new(),
        base: String::new(),
        jumps: None,
        mode: Mode::Rules(root),
    };
    let state = Mutex::new(State { jobs: vec![job], ..State::default() });
    let changed = Condvar::new();
    std::thread::scope(|scope| {
        for _ in 1..threads.max(1) {
            scope.spawn(|| work(source, &state, &changed, is_cancelled));
        }
        work(source, &state, &changed, is_cancelled);
    });
    let state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    Found { files: state.files, problems: state.problems }
}

fn work(source: &Source, state: &Mutex<State>, changed: &Condvar, is_cancelled: &(dyn Fn() -> bool + Sync)) {
    let lock = || state.lock().unwrap_or_else(PoisonError::into_inner);
    let mut guard = lock();
    loop {
        let Some(job) = guard.jobs.pop() else {
            if guard.working == 0 {
                changed.notify_all();
                return;
            }
            guard = changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        guard.working += 1;
        drop(guard);
        let mut visit = Visit { source, jobs: Vec::new(), files: Vec::new(), problems: Vec::new() };
        if !is_cancelled() {
            visit.folder(&job);
        }
        drop(job);
        guard = lock();
        guard.working -= 1;
        guard.folders += 1;
        guard.jobs.append(&mut visit.jobs);
        guard.files.append(&mut visit.files);
        guard.problems.append(&mut visit.problems);
        if guard.files.len() + guard.folders > MAX_ENTRIES {
            guard.jobs.clear();
            guard.problems.push(Problem::TooManyFiles { limit: MAX_ENTRIES });
        }
        changed.notify_all();
    }
}

/// One folder being read.
struct Visit<'a> {
    source: &'a Source,
    jobs: Vec<Job>,
    files: Vec<PackedFile>,
    problems: Vec<Problem>,
}

impl Visit<'_> {
    fn folder(&mut self, job: &Job) {
        if let Err(problem) = self.read(job) {
            self.problems.push(problem);
        }
    }

    fn read(&mut self, job: &Job) -> Result<(), Problem> {
        let shown = if job.path.is_empty() { "." } else { &job.path };
        let unreadable = |error: std::io::Error| Problem::unreadable(shown, &error);
        let folder = Arc::new(Source::open_folder(&job.parent, &job.name).map_err(unreadable)?);
        let mut entries = Vec::new();
        for entry in Dir::read_from(&folder).map_err(|error| unreadable(error.into()))? {
            let entry = entry.map_err(|error| unreadable(error.into()))?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                entries.push((name.to_owned(), entry.file_type()));
            }
        }
        let mode = self.mode(job, &entries)?;
        for (name, kind) in entries {
            let result = match name.to_str() {
                Some(name) => self.entry(job, &folder, &mode, name, kind),
                None if mode.takes_any(job, &name.to_string_lossy()) => {
                    Err(Problem::NotUtf8 { path: join(&job.path, &name.to_string_lossy()) })
                }
                None => Ok(()),
            };
            if let Err(problem) = result {
                self.problems.push(problem);
            }
        }
        Ok(())
    }

    /// The folder's own rules: those of the one above, and its ignore file's.
    fn mode(&self, job: &Job, entries: &[(std::ffi::OsString, FileType)]) -> Result<Mode, Problem> {
        let Mode::Rules(rules) = &job.mode else { return Ok(Mode::Whole) };
        if job.path.is_empty() {
            return Ok(job.mode.clone());
        }
        let (parent, name) = job.path.rsplit_once('/').unwrap_or(("", &job.path));
        let ignore = ignore_file(self.source, &job.path, |name| entries.iter().any(|(entry, _)| entry == name))?;
        let exact = rules.includes_exactly(name);
        rules.child(name, exact, ignore.as_ref().map(|(_, text)| text.as_str())).map(Mode::Rules).map_err(|error| {
            let file = ignore.map_or_else(|| parent.to_owned(), |(file, _)| file);
            Problem::Pattern { path: file, cause: error.to_string() }
        })
    }

    fn entry(
        &mut self,
        job: &Job,
        folder: &Arc<OwnedFd>,
        mode: &Mode,
        name: &str,
        kind: FileType,
    ) -> Result<(), Problem> {
        let path = join(&job.path, name);
        if !mode.takes_any(job, name) {
            return Ok(());
        }
        let stat = || Source::stat(folder, OsStr::new(name)).map_err(|error| Problem::unreadable(&path, &error));
        let (kind, known) = match kind {
            // A folder is opened next, and nothing else of it is needed.
            FileType::Directory => (kind, None),
            _ => {
                let stat = stat()?;
                (FileType::from_raw_mode(stat.st_mode), Some(stat))
            }
        };
        match (kind, known) {
            (FileType::Directory, _) => {
                if let Some(mode) = mode.below(job, name) {
                    let real = join(&job.real, name);
                    let base = job.base.clone();
                    self.enter(Arc::clone(folder), name, path, real, base, job.jumps.clone(), mode)?;
                }
            }
            (FileType::RegularFile, Some(stat)) if mode.takes_file(name) => {
                self.take(path, join(&job.real, name), &stat)?;
            }
            (FileType::Symlink, _) => self.link(job, mode, name, path)?,
            (FileType::RegularFile, _) => {}
            (other, _) if mode.takes_file(name) => {
                return Err(Problem::Special { path, kind: name_of(other) });
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes what a link points to in the link's place.
    fn link(&mut self, job: &Job, mode: &Mode, name: &str, path: String) -> Result<(), Problem> {
        let real = join(&job.real, name);
        let Some(Target { real: target, stat }) = self.source.follow(&real).map_err(|problem| problem.at(&path))?
        else {
            return if mode.takes_file(name) { Err(Problem::LinkDangling { path }) } else { Ok(()) };
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile if mode.takes_file(name) => self.take(path, target, &stat),
            FileType::Directory => {
                let Some(mode) = mode.below(job, name) else { return Ok(()) };
                let count = job.jumps.as_ref().map_or(0, |jump| jump.count) + 1;
                let (base, left_at) = (job.base.clone(), job.real.clone());
                let jumps = Some(Arc::new(Jump { base, left_at, count, previous: job.jumps.clone() }));
                if is_inside_itself(&target, jumps.as_deref()) {
                    return Err(Problem::LinkLoop { path });
                }
                if count > MAX_JUMPS {
                    return Err(Problem::TooManyLinks { path, limit: MAX_JUMPS });
                }
                let folder = self.source.open_real(&target).map_err(|error| Problem::unreadable(&path, &error))?;
                self.enter(folder, ".", path, target.clone(), target, jumps, mode)
            }
            FileType::RegularFile => Ok(()),
            other if mode.takes_file(name) => Err(Problem::Special { path, kind: name_of(other) }),
            _ => Ok(()),
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one job")]
    fn enter(
        &mut self,
        parent: Arc<OwnedFd>,
        name: &str,
        path: String,
        real: String,
        base: String,
        jumps: Option<Arc<Jump>>,
        mode: Mode,
    ) -> Result<(), Problem> {
        check_length(&path)?;
        if path.split('/').count() > MAX_DEPTH {
            return Err(Problem::TooDeep { path, limit: MAX_DEPTH });
        }
        self.jobs.push(Job { parent, name: name.into(), path, real, base, jumps, mode });
        Ok(())
    }

    fn take(&mut self, path: String, real: String, stat: &Stat) -> Result<(), Problem> {
        check_length(&path)?;
        check_length(&real)?;
        self.files.push(PackedFile::new(path, real, stat));
        Ok(())
    }
}

impl Mode {
    /// Whether an entry is in as a file, or may have something below it that is.
    fn takes_any(&self, job: &Job, name: &str) -> bool {
        match self {
            // npm-packlist 10: names that Windows cannot have.
            Self::Rules(_) if name.contains('*') => false,
            Self::Rules(_) if job.path.is_empty() && name == "node_modules" => true,
            Self::Rules(folder) => folder.includes_file(name) || folder.enters(name),
            Self::Whole => {
                let in_node_modules = job.path == "node_modules" || job.path.ends_with("/node_modules");
                !(NEVER.contains(&name) || in_node_modules && PACKAGE_MANAGER_STATE.contains(&name))
            }
        }
    }

    fn takes_file(&self, name: &str) -> bool {
        match self {
            Self::Rules(folder) => folder.includes_file(name),
            Self::Whole => true,
        }
    }

    /// How the folder `name` is read; `None` if it is not.
    fn below(&self, job: &Job, name: &str) -> Option<Self> {
        match self {
            Self::Rules(_) if job.path.is_empty() && name == "node_modules" => Some(Self::Whole),
            Self::Rules(folder) => folder.enters(name).then(|| Self::Rules(Arc::clone(folder))),
            Self::Whole => Some(Self::Whole),
        }
    }
}

/// The name and text of the ignore file that counts in a folder: `.npmignore`, else `.gitignore`.
pub(super) fn ignore_file(
    source: &Source,
    folder: &str,
    exists: impl Fn(&str) -> bool,
) -> Result<Option<(String, String)>, Problem> {
    let Some(name) = [".npmignore", ".gitignore"].into_iter().find(|name| exists(name)) else { return Ok(None) };
    let path = join(folder, name);
    let Some(target) = source.follow(&path)? else { return Ok(None) };
    if !target.is_file() {
        // npm stops there, too.
        return Err(Problem::IgnoreFile { path });
    }
    let (text, _) = source.read_small(&target, MAX_IGNORE_FILE)?;
    Ok(Some((path, String::from_utf8_lossy(&text).into_owned())))
}

/// Whether the folder `target` is one of those that the walk is in.
fn is_inside_itself(target: &str, mut jump: Option<&Jump>) -> bool {
    let holds = |folder: &str, path: &str| {
        folder.is_empty() || path == folder || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    };
    while let Some(Jump { base, left_at, previous, .. }) = jump {
        if holds(base, target) && holds(target, left_at) {
            return true;
        }
        jump = previous.as_deref();
    }
    false
}

fn check_length(path: &str) -> Result<(), Problem> {
    if path.len() > MAX_PATH {
        return Err(Problem::PathTooLong { path: path.to_owned(), length: path.len() });
    }
    Ok(())
}

fn name_of(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "named pipe",
        FileType::Socket => "socket",
        FileType::CharacterDevice | FileType::BlockDevice => "device",
        _ => "special file",
    }
}

/// `folder/name`, or `name` in the package's own folder.
pub(super) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}
