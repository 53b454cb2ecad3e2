//! git, as a subprocess. This is the only place of the plan that starts a process. Paths come and go as bytes, ended
//! by NUL; nothing passes a shell; what the user has set for another repository or for the looks of output is taken
//! out of the environment.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::index::Index;
use super::objects::{Object, Objects};

/// Variables that tie git to a repository (`git rev-parse --local-env-vars`; those of the configuration stay, because
/// a CI hands its credentials over in them) or change what commands print.
const FOREIGN: [&str; 18] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_EXTERNAL_DIFF",
    "GIT_GLOB_PATHSPECS",
    "GIT_GRAFT_FILE",
    "GIT_ICASE_PATHSPECS",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_LITERAL_PATHSPECS",
    "GIT_NAMESPACE",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];

/// What [`Git::locate`] is made from, line by line.
const LOCATE: [&str; 6] =
    ["rev-parse", "--show-object-format", "--is-inside-work-tree", "--git-path", "index", "--show-prefix"];

/// A git repository, seen from a folder in its working tree: paths are relative to that folder.
#[derive(Clone, Debug)]
pub(super) struct Git {
    folder: PathBuf,
    /// `GIT_DIR` and `GIT_WORK_TREE` of the environment, where only they lead to the repository.
    given: Vec<(&'static str, OsString)>,
    /// The folder's path in the working tree: empty, or with `/` at its end.
    prefix: Vec<u8>,
    /// Where the index is, and how many bytes an id has; `None` where that is not known for certain.
    index: Option<(PathBuf, usize)>,
    /// A `git cat-file --batch` that answers one question after the other, from the first one on.
    objects: Arc<Mutex<Option<Objects>>>,
    /// Whether the clone may get what it lacks.
    pub(super) may_fetch: bool,
}

/// Paths that are given to git in its arguments; beyond this number it is asked for all.
const MOST_PATHS: usize = 200;

/// Why git did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum GitError {
    /// There is no `git`.
    #[error("cannot start `git`: {0}")]
    #[diagnostic(help("install git, or plan everything with `--all`"))]
    NotStarted(String),
    /// git ended with an error.
    #[error("`git {command}` failed: {cause}")]
    #[diagnostic(help("mend what git says; `git status` in the same folder should say the same"))]
    Failed {
        /// The command and its arguments.
        command: String,
        /// Its exit code; `None` where it was killed.
        code: Option<i32>,
        /// What git said.
        cause: String,
    },
    /// The repository belongs to another user, as in containers of a CI.
    #[error("git refuses to read the repository: it belongs to another user")]
    #[diagnostic(help("trust it with `git config --global --add safe.directory {folder}`"))]
    Untrusted {
        /// The folder of the configuration file.
        folder: String,
    },
    /// A folder with tracked files cannot be looked into.
    #[error("cannot look into a folder of the working tree: {why}")]
    #[diagnostic(help("let this user read it: what changed in it cannot be told"))]
    NoEntry {
        /// The folder, and what the system says.
        why: String,
    },
    /// git printed something else than it documents.
    #[error("cannot understand what `git {command}` printed")]
    #[diagnostic(help("see whether the repository is damaged: `git fsck`, `git status`"))]
    Unreadable {
        /// The command.
        command: &'static str,
    },
    /// The repository has not got an object that it needs.
    #[error("git has no object `{id}`, which belongs to a commit that it has")]
    #[diagnostic(help("the clone is damaged, or was to get it later and cannot: `git fsck`, `git fetch`"))]
    Missing {
        /// The object's id.
        id: String,
    },
}

impl Git {
    /// The repository that `folder` is in; `None` where it is in none.
    pub(super) fn open(folder: &Path) -> Result<Option<Self>, GitError> {
        // A `GIT_DIR` of the environment (a hook's, or one for another repository) counts only where git finds no
        // repository by itself.
        let given = ["GIT_DIR", "GIT_WORK_TREE"].into_iter().filter_map(|name| {
            let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
            Some((name, std::path::absolute(&value).map_or(value, PathBuf::into_os_string)))
        });
        let given: Vec<_> = given.collect();
        let plain = Self::at(folder.to_owned(), true);
        let with_given = Self { given: given.clone(), objects: Arc::default(), ..plain.clone() };
        let mut located = Some(start(plain.command(&LOCATE), Stdio::null())?);
        // It is needed in nearly every repository, and takes its time to start.
        let _ = plain.begin_objects(&mut plain.lock_objects());
        for mut git in std::iter::once(plain).chain((!given.is_empty()).then_some(with_given)) {
            let answer = match located.take() {
                Some(child) => finish(child, &LOCATE, Vec::new()),
                None => git.run(&LOCATE),
            };
            match answer {
                Ok(answer) => {
                    git.locate(&answer)?;
                    return Ok(Some(git));
                }
                Err(GitError::Failed { cause, .. }) if cause.contains("dubious ownership") => {
                    return Err(GitError::Untrusted { folder: folder.display().to_string() });
                }
                // Where git names a repository that is none, there is something that should be one.
                Err(GitError::Failed { cause, .. })
                    if cause.contains("not a git repository (or any") || !git.given.is_empty() => {}
                Err(other) => return Err(other),
            }
        }
        Ok(None)
    }

    fn at(folder: PathBuf, may_fetch: bool) -> Self {
        Self { folder, given: Vec::new(), prefix: Vec::new(), index: None, objects: Arc::default(), may_fetch }
    }

    /// Takes in what git answered to [`LOCATE`].
    fn locate(&mut self, answer: &[u8]) -> Result<(), GitError> {
        let lines: Vec<&[u8]> = answer.strip_suffix(b"\n").unwrap_or(answer).split(|byte| *byte == b'\n').collect();
        // Paths with line feeds, and versions of git that do not know all of the questions, give other lines.
        if let [format, b"true", index, prefix] = lines[..] {
            self.prefix = prefix.to_vec();
            let id_length = match format {
                b"sha1" => Some(20),
                b"sha256" => Some(32),
                _ => None,
            };
            self.index = id_length.map(|length| (self.folder.join(OsStr::from_bytes(index)), length));
        } else {
            let prefix = self.run(&["rev-parse", "--show-prefix"])?;
            self.prefix = prefix.strip_suffix(b"\n").unwrap_or(&prefix).to_vec();
        }
        Ok(())
    }

    /// The repository in a folder below: a submodule.
    pub(super) fn below(&self, path: &[u8]) -> Self {
        Self::at(self.folder.join(OsStr::from_bytes(path)), self.may_fetch)
    }

    /// What the index has, if it can be told without git; `ahead` may be what was read of it already.
    pub(super) fn index(&self, ahead: Option<Index>) -> Option<Index> {
        let (file, id_length) = self.index.as_ref()?;
        let ahead = ahead.filter(|index| index.is_of(file, &self.prefix, *id_length));
        ahead.or_else(|| Index::read(file, &self.prefix, *id_length))
    }

    /// Whether ids are known to be made by SHA-1.
    pub(super) fn has_sha1(&self) -> bool {
        self.index.as_ref().is_some_and(|(_, id_length)| *id_length == 20)
    }

    /// The folder that paths are relative to.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder's path in the working tree: empty, or with `/` at its end.
    pub(super) fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Runs git; what it writes to stdout.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<Vec<u8>, GitError> {
        self.run_with(arguments, Vec::new())
    }

    /// Runs git on `paths`, or on all there are, where these are many or none.
    pub(super) fn run_on(&self, arguments: &[&str], paths: &[&[u8]]) -> Result<Vec<u8>, GitError> {
        let paths = if paths.len() <= MOST_PATHS { paths } else { &[] };
        let mut command = self.command(arguments);
        command.arg("--").args(paths.iter().map(|path| OsStr::from_bytes(path)));
        finish(start(command, Stdio::null())?, arguments, Vec::new())
    }

    /// Runs git with `input` on its stdin.
    pub(super) fn run_with(&self, arguments: &[&str], input: Vec<u8>) -> Result<Vec<u8>, GitError> {
        let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
        finish(start(self.command(arguments), stdin)?, arguments, input)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.current_dir(&self.folder).arg("--no-pager").args(arguments);
        for name in FOREIGN {
            command.env_remove(name);
        }
        command.envs(self.given.iter().map(|(name, value)| (name, value)));
        // No lock for a mere look, no question that nobody answers, messages that can be recognised, paths without
        // magic.
        command.envs([("GIT_OPTIONAL_LOCKS", "0"), ("GIT_TERMINAL_PROMPT", "0"), ("LC_ALL", "C")]);
        command.env("GIT_LITERAL_PATHSPECS", "1");
        // A server that says nothing for half a minute is not waited for any longer, unless somebody knows better.
        for (name, value) in [("GIT_HTTP_LOW_SPEED_LIMIT", "1"), ("GIT_HTTP_LOW_SPEED_TIME", "30")] {
            if std::env::var_os(name).is_none() {
                command.env(name, value);
            }
        }
        command
    }

    /// Whether git ignores each of these paths, none of which is tracked nor holds anything that is.
    pub(super) fn ignored(&self, paths: &[&[u8]]) -> Result<Vec<bool>, GitError> {
        const ARGUMENTS: [&str; 6] = ["check-ignore", "--stdin", "-z", "--verbose", "--non-matching", "--no-index"];
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = self.command(&ARGUMENTS);
        // It knows only paths with magic, which `./:(top)` has none of.
        command.env_remove("GIT_LITERAL_PATHSPECS");
        let input: Vec<u8> = paths.iter().flat_map(|path| [b"./", *path, b"\0"].concat()).collect();
        let answer = match finish(start(command, Stdio::piped())?, &ARGUMENTS, input) {
            // None is.
            Err(GitError::Failed { code: Some(1), .. }) => return Ok(vec![false; paths.len()]),
            answer => answer?,
        };
        // `<file> <line> <pattern> <path>`, the first three empty where nothing matches, each ended by NUL. A pattern
        // that takes back what others ignore begins with `!`.
        let fields: Vec<&[u8]> = answer.split(|byte| *byte == 0).collect();
        let records = fields.chunks_exact(4).zip(paths);
        let ignored: Vec<bool> = records
            .take_while(|(record, path)| record[3].strip_prefix(b"./") == Some(**path))
            .map(|(record, _)| !record[2].is_empty() && !record[2].starts_with(b"!"))
            .collect();
        if ignored.len() == paths.len() { Ok(ignored) } else { Err(GitError::Unreadable { command: "check-ignore" }) }
    }

    /// The commit that `revision` names; `None` where there is none here.
    pub(super) fn commit(&self, revision: &str) -> Option<String> {
        // A revision that begins with `-` would be an option.
        if revision.is_empty() || revision.starts_with('-') || revision.contains('\n') {
            return None;
        }
        Some(self.object(&format!("{revision}^{{commit}}")).ok()??.id)
    }

    /// The ids of the parents of `commit`, whether they are here or not.
    pub(super) fn parents(&self, commit: &str) -> Result<Vec<String>, GitError> {
        let text = self.object(commit)?.map(|object| object.content).unwrap_or_default();
        let header = String::from_utf8_lossy(&text);
        let header = header.lines().take_while(|line| !line.is_empty());
        Ok(header.filter_map(|line| line.strip_prefix("parent ").map(str::to_owned)).collect())
    }

    /// The best common ancestor; `None` where there is none, or not in this clone.
    pub(super) fn merge_base(&self, a: &str, b: &str) -> Option<String> {
        let base = self.run(&["merge-base", a, b]).ok()?;
        Some(String::from_utf8_lossy(&base).lines().next()?.to_owned())
    }

    /// Whether `ancestor` is an ancestor of `commit`, as far as this clone knows.
    pub(super) fn is_ancestor(&self, ancestor: &str, commit: &str) -> bool {
        self.run(&["merge-base", "--is-ancestor", ancestor, commit]).is_ok()
    }

    /// Whether history was cut off when the repository was cloned.
    pub(super) fn is_shallow(&self) -> bool {
        self.run(&["rev-parse", "--is-shallow-repository"]).is_ok_and(|answer| answer.starts_with(b"true"))
    }

    /// The contents of blobs, in the order of their ids.
    pub(super) fn blobs(&self, ids: &[&str]) -> Result<Vec<Vec<u8>>, GitError> {
        ids.iter().map(|id| self.blob(id)).collect()
    }

    /// The content of a blob.
    pub(super) fn blob(&self, id: &str) -> Result<Vec<u8>, GitError> {
        let missing = || GitError::Missing { id: id.to_owned() };
        Ok(self.object(id)?.ok_or_else(missing)?.content)
    }

    /// The names in the folder of this repository at a commit, with their ids; `None` where git does not say.
    pub(super) fn top_of(&self, commit: &str) -> Option<Vec<(Vec<u8>, String)>> {
        let prefix = self.prefix.strip_suffix(b"/").unwrap_or(&self.prefix);
        let prefix = std::str::from_utf8(prefix).ok().filter(|prefix| !prefix.contains('\n'));
        let ((_, id_length), prefix) = (self.index.as_ref()?, prefix?);
        let tree = self.object(&format!("{commit}:{prefix}")).ok()??.content;
        let (mut rest, mut names) = (tree.as_slice(), Vec::new());
        // `<mode> <name>`, NUL, the bytes of the id.
        while let Some(end) = rest.iter().position(|byte| *byte == 0) {
            let (entry, after) = rest.split_at(end);
            let Some((id, after)) = after[1..].split_at_checked(*id_length) else { break };
            let name = entry.splitn(2, |byte| *byte == b' ').nth(1).unwrap_or_default();
            names.push((name.to_vec(), hex::encode(id)));
            rest = after;
        }
        Some(names)
    }

    /// The object that a line of text names; `None` where there is none here.
    fn object(&self, name: &str) -> Result<Option<Object>, GitError> {
        let mut objects = self.lock_objects();
        if objects.is_none() {
            self.begin_objects(&mut objects)?;
        }
        if let Some(answer) = objects.as_mut().and_then(|objects| objects.ask(name).ok()) {
            return Ok(answer);
        }
        // Whatever it said is lost: the next question goes to a new one.
        let cause = objects.take().map(Objects::last_words).unwrap_or_default();
        match cause.is_empty() {
            true => Err(GitError::Unreadable { command: "cat-file --batch" }),
            false => Err(GitError::Failed { command: "cat-file --batch".to_owned(), code: None, cause }),
        }
    }

    fn lock_objects(&self) -> MutexGuard<'_, Option<Objects>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin_objects(&self, objects: &mut Option<Objects>) -> Result<(), GitError> {
        let mut command = self.command(&["cat-file", "--batch"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        *objects = Some(Objects::begin(command)?);
        Ok(())
    }

    /// Forgets what git may have read of the repository before it was changed.
    pub(super) fn look_again(&self) {
        *self.lock_objects() = None;
    }
}

fn start(mut command: Command, stdin: Stdio) -> Result<Child, GitError> {
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().map_err(|error| GitError::NotStarted(error.to_string()))
}

/// Gives git its input and waits for it; what it writes to stdout.
fn finish(mut child: Child, arguments: &[&str], input: Vec<u8>) -> Result<Vec<u8>, GitError> {
    // Written by another thread: git may fill its stdout before it has read all of its stdin.
    let writer = child.stdin.take().map(|mut stdin| std::thread::spawn(move || stdin.write_all(&input)));
    let output = child.wait_with_output().map_err(|error| GitError::NotStarted(error.to_string()))?;
    if let Some(writer) = writer {
        // git that stops reading says why in its exit code.
        let _ = writer.join();
    }
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let (command, code) = (arguments.join(" "), output.status.code());
    Err(GitError::Failed { command, code, cause: said.trim().to_owned() })
}
