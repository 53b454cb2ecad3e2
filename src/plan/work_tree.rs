//! The working tree as `git add --all` would put it into the index: tracked and untracked files, not those that git
//! ignores.
//!
//! Two ways lead there, and give the same. The usual one walks through the tree by itself and asks git only of what it
//! does not find as the index has it: which names are ignored, and what `git add` would make of files that were
//! touched. Where a repository is not usual (see [`super::index`]), git looks at everything.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::io::Read as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use sha1::{Digest as _, Sha1};

use super::git::{Git, GitError};
use super::index::Index;
use super::parallel;
use super::snapshot::{File, Kind, NEVER, Overlay, Snapshot};
use super::walk::{Found, walk};
use crate::repo_path::RepoPath;

/// Settings under which git takes files for the same that are not, or for others than they are.
const UNUSUAL: [(&str, &str); 5] = [
    ("core.filemode", "false"),
    ("core.symlinks", "false"),
    ("core.ignorecase", "true"),
    ("core.precomposeunicode", "true"),
    ("core.trustctime", "false"),
];

/// How often git is asked again to hash files, none of which was lost.
const HASHING_TRIES: usize = 2;

impl Snapshot {
    /// The files of the working tree. `index` is what was read of git's, where that is usual; nobody need know what is
    /// in the folder `output`.
    pub(super) fn of_working_tree(git: &Git, index: Option<&Index>, output: &RepoPath) -> Result<Self, GitError> {
        match index.map(|index| by_walk(git, index, output)).transpose()?.flatten() {
            Some(snapshot) => Ok(snapshot),
            None => by_git(git),
        }
    }

    /// The files of a commit, most of which are those of `index`: as [`Snapshot::of_commit`], but faster.
    pub(super) fn of_commit_beside(git: &Git, commit: &str, index: &Index) -> Result<Self, GitError> {
        let all = ["diff-index", "--cached", "--raw", "-z", "--no-renames", "--no-abbrev", "--ignore-submodules=none"];
        let text = git.run(&[&all[..], &["--relative", commit]].concat())?;
        let mut overlay = Overlay::new();
        for (change, path) in changes(&text, "diff-index")? {
            let file = Kind::from_mode(change.mode).zip(std::str::from_utf8(change.id).ok());
            overlay.insert(path.to_vec(), file.map(|(kind, id)| (kind, id.to_owned())));
        }
        // git may have read a later one.
        if index.is_current() { Ok(index.files.clone().with(overlay)) } else { Self::of_commit(git, commit) }
    }

    /// The files of a folder that is in no repository. What its `.gitignore` files name is left out, as git would.
    pub(super) fn of_folder(root: &Path) -> Self {
        Self::default().with(on_disk(root))
    }
}

/// The files of a folder, but for those that its `.gitignore` files name.
fn on_disk(root: &Path) -> Overlay {
    let walk = ignore::WalkBuilder::new(root)
        .standard_filters(false)
        .git_ignore(true)
        .require_git(false)
        .filter_entry(|entry| !NEVER.contains(&entry.file_name().as_bytes()))
        .build();
    let mut files = Overlay::new();
    for entry in walk.filter_map(Result::ok) {
        let Some(kind) = kind(entry.path()) else { continue };
        let (Ok(path), Some(content)) = (entry.path().strip_prefix(root), content(entry.path(), kind)) else {
            continue;
        };
        files.insert(path.as_os_str().as_bytes().to_vec(), Some((kind, blob_id(&content))));
    }
    files
}

/// The usual way; `None` where only git can tell.
fn by_walk(git: &Git, index: &Index, output: &RepoPath) -> Result<Option<Snapshot>, GitError> {
    let (is_usual, found) = std::thread::scope(|scope| {
        let asked = scope.spawn(|| is_usual(git));
        let found = walk(git.folder(), index);
        (asked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), found)
    });
    // git says nothing of tracked files in a folder that it cannot look into.
    if let Err(error) = &found
        && error.kind() == std::io::ErrorKind::PermissionDenied
    {
        return Err(GitError::NoEntry { why: error.to_string() });
    }
    // What else cannot be read, git has its own ways and words for.
    let Some(mut found) = found.ok().filter(|_| is_usual) else { return Ok(None) };
    found.folders.retain(|folder| folder != output.as_str().as_bytes());
    // A file that only looks touched, and a submodule, is judged by git itself.
    let submodules = index.files.iter().filter(|(_, file)| file.kind == Kind::Submodule).map(|(path, _)| path);
    let submodules = index.has_submodules.then_some(submodules).into_iter().flatten();
    let doubtful: Vec<&[u8]> = found.touched.iter().map(|number| index.files.path(*number)).chain(submodules).collect();
    let touched = if doubtful.is_empty() { Vec::new() } else { touched_by_git(git, &doubtful)? };
    let mut overlay = Overlay::new();
    put(git, b"", &touched, &untracked(git, &found)?, &mut overlay)?;
    overlay.extend(found.gone.iter().map(|number| (index.files.path(*number).to_vec(), None)));
    // git compared with the index of now: a `git add` in between would hide what was added.
    Ok(index.is_current().then(|| index.files.clone().with(overlay)))
}

fn is_usual(git: &Git) -> bool {
    let names = UNUSUAL.map(|(name, _)| name.replace('.', "\\.")).join("|");
    // `core.checkStat` is none that is true or false: git fails, also where it is `default`.
    let pattern = format!("^({names}|core\\.checkstat)$");
    // `<name>\n<value>`; git ends with 1 where there is none of them.
    let settings = git.run(&["config", "--type=bool", "--null", "--get-regexp", &pattern]);
    let settings = match &settings {
        Ok(settings) => settings.as_slice(),
        Err(GitError::Failed { code: Some(1), .. }) => b"",
        Err(_) => return false,
    };
    // The last one counts, but whoever says both is not usual either.
    let is_unusual = |line: &[u8]| UNUSUAL.iter().any(|(name, value)| line == format!("{name}\n{value}").as_bytes());
    !records(settings).any(is_unusual)
}

/// Of what a walk found, what git does not ignore: paths, each ended by NUL; those of repositories end with `/`.
fn untracked(git: &Git, found: &Found) -> Result<Vec<u8>, GitError> {
    let all: Vec<&[u8]> = found.files.iter().chain(&found.folders).map(Vec::as_slice).collect();
    let is_ignored = git.ignored(&all)?;
    let kept = |from: usize, paths: usize| (from..from + paths).filter(|at| !is_ignored[*at]).map(|at| all[at]);
    let folders: Vec<&[u8]> = kept(found.files.len(), found.folders.len()).collect();
    let mut new = if folders.is_empty() {
        Vec::new()
    } else {
        git.run_on(&["ls-files", "--others", "--exclude-standard", "-z"], &folders)?
    };
    for path in kept(0, found.files.len()) {
        new.extend_from_slice(path);
        new.push(0);
    }
    Ok(new)
}

/// The way that is always right: git looks at everything.
fn by_git(git: &Git) -> Result<Snapshot, GitError> {
    // Looks that do not depend on each other, each a good part of the whole time.
    std::thread::scope(|scope| {
        let overlay = scope.spawn(|| {
            let mut overlay = Overlay::new();
            differences_by_git(git, b"", &mut overlay).map(|()| overlay)
        });
        // `<mode> <id> <stage>\t<path>`
        let index = Snapshot::of_listing("ls-files", &git.run(&["ls-files", "--stage", "-z"])?, 1)?;
        let mut overlay = overlay.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        // Where a folder became a link that leads to itself, git cannot tell that its files are gone, and says nothing.
        let new = overlay.iter().filter(|(_, file)| file.is_some()).map(|(path, _)| [path, b"/".as_slice()].concat());
        let gone =
            new.flat_map(|folder| index.beginning_with(&folder).map(|(path, _)| path.to_vec()).collect::<Vec<_>>());
        for path in gone.collect::<Vec<_>>() {
            overlay.entry(path).or_insert(None);
        }
        Ok(index.with(overlay))
    })
}

/// Puts what differs from the index over the files; `prefix` is where the repository of `git` stands.
fn differences_by_git(git: &Git, prefix: &[u8], overlay: &mut Overlay) -> Result<(), GitError> {
    // Together they are `git status`, which does one after the other.
    let (touched, new) = std::thread::scope(|scope| {
        let new = scope.spawn(move || git.run(&["ls-files", "--others", "--exclude-standard", "-z"]));
        let touched = touched_by_git(git, &[]);
        (touched, new.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    put(git, prefix, &touched?, &new?, overlay)
}

/// What git says of the tracked files at `paths`, or of all of them, that may not be as the index has them.
fn touched_by_git(git: &Git, paths: &[&[u8]]) -> Result<Vec<u8>, GitError> {
    git.run_on(&["diff-files", "--raw", "-z", "--no-renames", "--ignore-submodules=none", "--relative"], paths)
}

/// Puts over the files of the index what git says is `touched` and `new`; `prefix` is where the repository of `git`
/// stands.
fn put(git: &Git, prefix: &[u8], touched: &[u8], new: &[u8], overlay: &mut Overlay) -> Result<(), GitError> {
    let on_disk = |path: &[u8]| kind(&git.folder().join(OsStr::from_bytes(path)));
    // A repository in the repository, which is none of its submodules, is listed as a folder.
    let (repositories, new): (Vec<_>, Vec<_>) = records(new).partition(|path| path.ends_with(b"/"));
    for path in repositories {
        repository(git, prefix, path, overlay);
    }
    let mut files: BTreeMap<&[u8], Option<Kind>> = new.into_iter().map(|path| (path, on_disk(path))).collect();
    if files.values().any(|kind| *kind == Some(Kind::Executable)) && !trusts_modes(git) {
        files.values_mut().filter(|kind| **kind == Some(Kind::Executable)).for_each(|kind| *kind = Some(Kind::Regular));
    }
    let mut in_index: HashMap<&[u8], &[u8]> = HashMap::new();
    for (change, path) in changes(touched, "diff-files")? {
        if change.is_submodule() {
            submodule(git, prefix, path, overlay)?;
        } else {
            in_index.insert(path, change.id);
            // What is behind a link that stands where a folder was, is another file.
            let kind = if change.status == b"D" { None } else { on_disk(path) };
            // Of a file, git says what `git add` would make of its mode.
            let of_git = Kind::from_mode(change.mode_after);
            let are_files = |kind| matches!(kind, Some(Kind::Regular | Kind::Executable));
            files.insert(path, if are_files(kind) && are_files(of_git) { of_git } else { kind });
        }
    }
    let mut to_hash: Vec<(&[u8], Kind)> = Vec::new();
    for (path, kind) in files {
        match kind {
            Some(kind) => to_hash.push((path, kind)),
            None => drop(overlay.insert([prefix, path].concat(), None)),
        }
    }
    // What has the very bytes that the index has is not changed, whatever git would make of it now: files with CRLF in
    // the index stay as they are under `text=auto`, and `git hash-object` does not know of the index.
    let is_same = parallel(&to_hash, |(path, kind)| {
        let id = in_index.get(path).filter(|_| *kind != Kind::Link && git.has_sha1());
        id.filter(|id| raw_id(&git.folder().join(OsStr::from_bytes(path))).is_some_and(|raw| raw.as_bytes() == **id))
    });
    let mut other = Vec::new();
    for ((path, kind), same) in to_hash.into_iter().zip(is_same) {
        match same {
            Some(id) => {
                drop(overlay.insert([prefix, path].concat(), Some((kind, String::from_utf8_lossy(id).into_owned()))))
            }
            None => other.push((path, kind)),
        }
    }
    let mut in_vain = 0;
    let ids = loop {
        // One file that cannot be read, and git hashes none.
        match hash_all(git, &other) {
            Ok(ids) => break ids,
            Err(error) if in_vain == HASHING_TRIES => return Err(error),
            Err(_) => {
                let on_disk = |path: &[u8]| git.folder().join(OsStr::from_bytes(path));
                let before = other.len();
                other.retain(|(path, _)| !is_lost(&on_disk(path), in_index.contains_key(path)));
                // It may have been written just then.
                in_vain += usize::from(other.len() == before);
            }
        }
    };
    for ((path, kind), id) in other.iter().zip(ids) {
        overlay.insert([prefix, path].concat(), Some((*kind, id)));
    }
    // Of what is left out, the index may still have something.
    for path in in_index.keys().map(|path| [prefix, path].concat()) {
        overlay.entry(path).or_insert(None);
    }
    Ok(())
}

/// Whether a file has vanished since it was listed, or is one that nobody here can read and git does not know: such a
/// one can be part of nothing that is built here.
fn is_lost(path: &Path, is_tracked: bool) -> bool {
    let read = match kind(path) {
        Some(Kind::Link) => std::fs::read_link(path).map(drop),
        _ => std::fs::File::open(path).map(drop),
    };
    read.is_err_and(|error| !is_tracked || error.kind() == std::io::ErrorKind::NotFound)
}

/// Whether `git add` takes the mode of a new file from the disk.
fn trusts_modes(git: &Git) -> bool {
    !git.run(&["config", "--type=bool", "--get", "core.filemode"]).is_ok_and(|value| value.starts_with(b"false"))
}

/// Puts the files of a repository that is no submodule over the files; `path` ends with `/`.
fn repository(git: &Git, prefix: &[u8], path: &[u8], overlay: &mut Overlay) {
    let (place, below) = ([prefix, path].concat(), git.below(path));
    let read = || -> Result<Overlay, GitError> {
        let index = Snapshot::of_listing("ls-files", &below.run(&["ls-files", "--stage", "-z"])?, 1)?;
        let id = |file: File<'_>| String::from_utf8_lossy(file.id).into_owned();
        let tracked = index.iter().map(|(path, file)| ([place.as_slice(), path].concat(), Some((file.kind, id(file)))));
        let mut files: Overlay = tracked.collect();
        differences_by_git(&below, &place, &mut files)?;
        Ok(files)
    };
    overlay.extend(read().unwrap_or_else(|_| {
        // git does not read it, as where it belongs to somebody else; compilers do.
        let files = on_disk(&git.folder().join(OsStr::from_bytes(path)));
        files.into_iter().map(|(path, file)| ([place.as_slice(), &path].concat(), file)).collect()
    }));
}

/// Puts a submodule, and what differs in it, over the files.
fn submodule(git: &Git, prefix: &[u8], path: &[u8], overlay: &mut Overlay) -> Result<(), GitError> {
    let place = [prefix, path].concat();
    let below = git.below(path);
    let Some(commit) = below.commit("HEAD") else {
        overlay.insert(place, None);
        return Ok(());
    };
    differences_by_git(&below, &[place.as_slice(), b"/"].concat(), overlay)?;
    overlay.insert(place, Some((Kind::Submodule, commit)));
    Ok(())
}

/// One line of `git diff-… --raw`: what was before, and what became of it.
struct Change<'a> {
    mode: &'a [u8],
    mode_after: &'a [u8],
    id: &'a [u8],
    status: &'a [u8],
}

impl Change<'_> {
    fn is_submodule(&self) -> bool {
        self.mode == b"160000" || self.mode_after == b"160000"
    }
}

/// The lines of `git command --raw -z`: `:<mode> <mode> <id> <id> <letter>`, and the path as a record of its own.
fn changes<'a>(text: &'a [u8], command: &'static str) -> Result<Vec<(Change<'a>, &'a [u8])>, GitError> {
    let unreadable = || GitError::Unreadable { command };
    let mut all = Vec::new();
    let mut fields = records(text);
    while let Some(meta) = fields.next() {
        let mut parts = meta.strip_prefix(b":").ok_or_else(unreadable)?.split(|byte| *byte == b' ');
        let mut part = || parts.next().ok_or_else(unreadable);
        let (mode, mode_after, id, _, status) = (part()?, part()?, part()?, part()?, part()?);
        all.push((Change { mode, mode_after, id, status }, fields.next().ok_or_else(unreadable)?));
    }
    Ok(all)
}

fn kind(path: &Path) -> Option<Kind> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    if metadata.is_symlink() {
        Some(Kind::Link)
    } else if metadata.is_file() {
        Some(if metadata.permissions().mode() & 0o100 == 0 { Kind::Regular } else { Kind::Executable })
    } else {
        None
    }
}

/// The bytes that git keeps of a file: those of a link are the path that it names.
fn content(path: &Path, kind: Kind) -> Option<Vec<u8>> {
    match kind {
        Kind::Link => Some(std::fs::read_link(path).ok()?.into_os_string().into_vec()),
        _ => std::fs::read(path).ok(),
    }
}

/// The id of a file's bytes as they are; `None` where it cannot be read.
fn raw_id(path: &Path) -> Option<String> {
    let mut file = std::fs::File::open(path).ok()?;
    let mut hash = Sha1::new();
    let mut rest = file.metadata().ok()?.len();
    hash.update(format!("blob {rest}\0"));
    let mut buffer = vec![0; 64 << 10];
    while rest > 0 {
        let read = file.read(&mut buffer).ok().filter(|read| *read > 0)?;
        hash.update(&buffer[..read]);
        rest = rest.checked_sub(read as u64)?;
    }
    Some(hex::encode(hash.finalize()))
}

/// git's id of a blob with this content, where ids are made by SHA-1.
pub(super) fn blob_id(content: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(format!("blob {}\0", content.len()));
    hash.update(content);
    hex::encode(hash.finalize())
}

/// The ids that `git add` would give to files.
fn hash_all(git: &Git, files: &[(&[u8], Kind)]) -> Result<Vec<String>, GitError> {
    let unreadable = || GitError::Unreadable { command: "hash-object" };
    // `--stdin-paths` reads lines of paths from the top of the working tree, in quotes as those of C; it would follow
    // a link.
    let mut input = Vec::new();
    for (path, _) in files.iter().filter(|(_, kind)| *kind != Kind::Link) {
        quote([git.prefix(), path].concat().as_slice(), &mut input);
    }
    let output = if input.is_empty() { Vec::new() } else { git.run_with(&["hash-object", "--stdin-paths"], input)? };
    let output = String::from_utf8_lossy(&output);
    let mut known = output.lines();
    let ids = files.iter().map(|(path, kind)| match kind {
        Kind::Link => {
            let text = content(&git.folder().join(OsStr::from_bytes(path)), Kind::Link).ok_or_else(unreadable)?;
            if git.has_sha1() {
                return Ok(blob_id(&text));
            }
            let id = git.run_with(&["hash-object", "--stdin", "--no-filters"], text)?;
            Ok(String::from_utf8_lossy(&id).trim().to_owned())
        }
        _ => known.next().map(str::to_owned).ok_or_else(unreadable),
    });
    ids.collect()
}

/// A line with `path` in quotes, as git reads it.
fn quote(path: &[u8], line: &mut Vec<u8>) {
    line.push(b'"');
    for byte in path {
        match byte {
            b'"' | b'\\' | 0..0x20 | 0x7f.. => line.extend(format!("\\{byte:03o}").bytes()),
            _ => line.push(*byte),
        }
    }
    line.extend(b"\"\n");
}

/// What `-z` ended by NUL.
fn records(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == 0).filter(|record| !record.is_empty())
}

#[cfg(test)]
#[path = "work_tree_tests.rs"]
mod tests;
