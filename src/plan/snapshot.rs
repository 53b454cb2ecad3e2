//! Every file of the repository with the id of its content, at a commit or in the working tree.
//!
//! The id is that of git's blob: for a tracked file that was not touched, git knows it without reading the file. For
//! all others (changed, untracked, in no repository at all) the same id is made from the bytes, by git itself where
//! there is a repository, so that `.gitattributes` and `core.autocrlf` do to them what `git add` would do. So equal
//! content has an equal id in any state, on any clone, with any line ends in the working tree, before and after it is
//! committed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use sha1::{Digest as _, Sha1};

use super::git::{Git, GitError};

/// Never part of a plugin, whether git ignores them or not: what package managers and git itself keep.
const NEVER: [&[u8]; 2] = [b"node_modules", b".git"];

/// What kind of file, and the id of its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) kind: Kind,
    /// The id of git's blob, in hexadecimal digits; of a submodule, that of its commit.
    pub(super) id: String,
}

/// The kinds that git tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Regular,
    Executable,
    Link,
    Submodule,
}

/// The files below the folder of `rhdh-plugins.toml`, by path: bytes, relative, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) files: BTreeMap<Vec<u8>, File>,
}

impl Kind {
    fn from_mode(mode: &[u8]) -> Option<Self> {
        match mode {
            b"100644" | b"100664" => Some(Self::Regular),
            b"100755" => Some(Self::Executable),
            b"120000" => Some(Self::Link),
            b"160000" => Some(Self::Submodule),
            _ => None,
        }
    }

    /// git's mode.
    pub(super) fn mode(self) -> &'static str {
        match self {
            Self::Regular => "100644",
            Self::Executable => "100755",
            Self::Link => "120000",
            Self::Submodule => "160000",
        }
    }

    fn on_disk(path: &Path) -> Option<Self> {
        let metadata = std::fs::symlink_metadata(path).ok()?;
        if metadata.is_symlink() {
            Some(Self::Link)
        } else if metadata.is_file() {
            Some(if metadata.permissions().mode() & 0o100 == 0 { Self::Regular } else { Self::Executable })
        } else {
            None
        }
    }
}

impl Snapshot {
    /// The files of a commit.
    pub(super) fn of_commit(git: &Git, commit: &str) -> Result<Self, GitError> {
        let listing = git.run(&["ls-tree", "-r", "-z", commit])?;
        let mut files = BTreeMap::new();
        for line in records(&listing) {
            // `<mode> <type> <id>\t<path>`
            let (meta, path) = split_at(line, b'\t').ok_or(GitError::Unreadable { command: "ls-tree" })?;
            let fields: Vec<&[u8]> = meta.split(|byte| *byte == b' ').collect();
            let [mode, _, id] = fields.as_slice() else { return Err(GitError::Unreadable { command: "ls-tree" }) };
            insert(&mut files, path, Kind::from_mode(mode), id);
        }
        Ok(Self { files })
    }

    /// The files of the working tree: tracked and untracked ones, not those that git ignores.
    pub(super) fn of_working_tree(git: &Git) -> Result<Self, GitError> {
        // Two looks that do not depend on each other, each a good part of the whole time.
        let (listing, changes) = std::thread::scope(|scope| {
            let changes = scope.spawn(|| status(git));
            let listing = git.run(&["ls-files", "--stage", "-z"]);
            (listing, changes.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let (listing, changes) = (listing?, changes?);
        let mut files = BTreeMap::new();
        for line in records(&listing) {
            // `<mode> <id> <stage>\t<path>`
            let (meta, path) = split_at(line, b'\t').ok_or(GitError::Unreadable { command: "ls-files" })?;
            let fields: Vec<&[u8]> = meta.split(|byte| *byte == b' ').collect();
            let [mode, id, _] = fields.as_slice() else { return Err(GitError::Unreadable { command: "ls-files" }) };
            insert(&mut files, path, Kind::from_mode(mode), id);
        }
        overlay(git, &changes, b"", &mut files)?;
        Ok(Self { files })
    }

    /// The files of a folder that is in no repository. What its `.gitignore` files name is left out, as git would.
    pub(super) fn of_folder(root: &Path) -> Self {
        let walk = ignore::WalkBuilder::new(root)
            .standard_filters(false)
            .git_ignore(true)
            .require_git(false)
            .filter_entry(|entry| !NEVER.contains(&entry.file_name().as_bytes()))
            .build();
        let mut files = BTreeMap::new();
        for entry in walk.filter_map(Result::ok) {
            let Some(kind) = Kind::on_disk(entry.path()) else { continue };
            let (Ok(path), Some(content)) = (entry.path().strip_prefix(root), content(entry.path(), kind)) else {
                continue;
            };
            files.insert(path.as_os_str().as_bytes().to_vec(), File { kind, id: blob_id(&content) });
        }
        Self { files }
    }

    /// The id of the file at `path`.
    pub(super) fn id(&self, path: &str) -> Option<&str> {
        self.files.get(path.as_bytes()).map(|file| file.id.as_str())
    }
}

/// The bytes that git keeps of a file: those of a link are the path that it names.
fn content(path: &Path, kind: Kind) -> Option<Vec<u8>> {
    match kind {
        Kind::Link => Some(std::fs::read_link(path).ok()?.into_os_string().into_vec()),
        _ => std::fs::read(path).ok(),
    }
}

fn blob_id(content: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(format!("blob {}\0", content.len()));
    hash.update(content);
    hex::encode(hash.finalize())
}

fn insert(files: &mut BTreeMap<Vec<u8>, File>, path: &[u8], kind: Option<Kind>, id: &[u8]) {
    let never = path.split(|byte| *byte == b'/').any(|name| NEVER.contains(&name));
    if let Some(kind) = kind.filter(|_| !never) {
        files.insert(path.to_vec(), File { kind, id: String::from_utf8_lossy(id).into_owned() });
    }
}

/// One difference between the index and the working tree.
enum Change {
    /// Touched, new or in conflict: what stands on disk counts.
    OnDisk(Vec<u8>),
    /// A submodule at another commit than the index says, or with changes of its own.
    Submodule(Vec<u8>),
}

fn status(git: &Git) -> Result<Vec<Change>, GitError> {
    let text = git.run(&[
        "status",
        "--porcelain=v2",
        "-z",
        "--untracked-files=all",
        "--ignore-submodules=none",
        "--no-renames",
        "--no-ahead-behind",
    ])?;
    let mut changes = Vec::new();
    for line in records(&text) {
        let unreadable = || GitError::Unreadable { command: "status" };
        // git-status(1), porcelain format 2: fields before the path, by kind of line.
        let fields = match line.first() {
            Some(b'1') => 8,
            Some(b'u') => 10,
            Some(b'?') => 1,
            _ => return Err(unreadable()),
        };
        let parts: Vec<&[u8]> = line.splitn(fields + 1, |byte| *byte == b' ').collect();
        let path = *parts.get(fields).ok_or_else(unreadable)?;
        // Paths are relative to the whole working tree; those outside of the folder are nobody's input.
        let Some(path) = git.relative(path) else { continue };
        let submodule = parts.get(2).is_some_and(|field| fields > 1 && field.starts_with(b"S"));
        let touched = line.first() != Some(&b'1') || parts.get(1).is_some_and(|state| state.get(1) != Some(&b'.'));
        if submodule {
            changes.push(Change::Submodule(path.to_vec()));
        } else if touched && !path.ends_with(b"/") {
            changes.push(Change::OnDisk(path.to_vec()));
        }
    }
    Ok(changes)
}

/// Puts what differs from the index over `files`; `prefix` is where the repository of `git` stands.
fn overlay(git: &Git, changes: &[Change], prefix: &[u8], files: &mut BTreeMap<Vec<u8>, File>) -> Result<(), GitError> {
    let mut to_hash: Vec<(&[u8], Kind)> = Vec::new();
    for change in changes {
        match change {
            Change::OnDisk(path) => match Kind::on_disk(&git.folder().join(OsStr::from_bytes(path))) {
                Some(kind) => to_hash.push((path, kind)),
                None => {
                    files.remove([prefix, path].concat().as_slice());
                }
            },
            Change::Submodule(path) => {
                let below = git.below(path);
                let place = [prefix, path].concat();
                let Some(commit) = below.commit("HEAD") else {
                    files.remove(&place);
                    continue;
                };
                insert(files, &place, Some(Kind::Submodule), commit.as_bytes());
                overlay(&below, &status(&below)?, &[place.as_slice(), b"/"].concat(), files)?;
            }
        }
    }
    for ((path, kind), id) in to_hash.iter().zip(hash_all(git, &to_hash)?) {
        insert(files, &[prefix, path].concat(), Some(*kind), id.as_bytes());
    }
    Ok(())
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

fn split_at(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|byte| *byte == separator)?;
    Some((&text[..at], &text[at + 1..]))
}
