//! Every file of the repository with the id of its content, at a commit or in the working tree.
//!
//! The id is that of git's blob: for a tracked file that was not touched, git knows it without reading the file. For
//! all others (changed, untracked, in no repository at all) the same id is made from the bytes, by git itself where
//! there is a repository, so that `.gitattributes` and `core.autocrlf` do to them what `git add` would do. So equal
//! content has an equal id in any state, on any clone, with any line ends in the working tree, before and after it is
//! committed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use sha1::{Digest as _, Sha1};

use super::git::{Git, GitError};

/// Never part of a plugin, whether git ignores them or not: what package managers and git itself keep.
const NEVER: [&[u8]; 2] = [b"node_modules", b".git"];

/// What kind of file, and the id of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct File<'s> {
    pub(super) kind: Kind,
    /// The id of git's blob, in hexadecimal digits; of a submodule, that of its commit.
    pub(super) id: &'s [u8],
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
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    /// All paths and ids: a repository has thousands of files, and most states of it the same ones.
    text: Vec<u8>,
    /// Sorted by path.
    files: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    kind: Kind,
    path: Range<usize>,
    id: Range<usize>,
}

/// Files to put over those of a snapshot, by path; `None` where there is none any more.
type Overlay = BTreeMap<Vec<u8>, Option<(Kind, String)>>;

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
        // `<mode> <type> <id>\t<path>`
        Self::of_listing("ls-tree", git.run(&["ls-tree", "-r", "-z", commit])?, 2)
    }

    /// The files of the working tree: tracked and untracked ones, not those that git ignores.
    pub(super) fn of_working_tree(git: &Git) -> Result<Self, GitError> {
        // Looks that do not depend on each other, each a good part of the whole time.
        std::thread::scope(|scope| {
            let overlay = scope.spawn(|| {
                let mut overlay = Overlay::new();
                changes(git, b"", &mut overlay).map(|()| overlay)
            });
            // `<mode> <id> <stage>\t<path>`
            let index = Self::of_listing("ls-files", git.run(&["ls-files", "--stage", "-z"])?, 1)?;
            let overlay = overlay.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            Ok(index.with(overlay))
        })
    }

    /// The files of a folder that is in no repository. What its `.gitignore` files name is left out, as git would.
    pub(super) fn of_folder(root: &Path) -> Self {
        let walk = ignore::WalkBuilder::new(root)
            .standard_filters(false)
            .git_ignore(true)
            .require_git(false)
            .filter_entry(|entry| !NEVER.contains(&entry.file_name().as_bytes()))
            .build();
        let mut files = Overlay::new();
        for entry in walk.filter_map(Result::ok) {
            let Some(kind) = Kind::on_disk(entry.path()) else { continue };
            let (Ok(path), Some(content)) = (entry.path().strip_prefix(root), content(entry.path(), kind)) else {
                continue;
            };
            files.insert(path.as_os_str().as_bytes().to_vec(), Some((kind, blob_id(&content))));
        }
        Self::default().with(files)
    }

    /// Reads lines of `git command`: fields, of which the first is the mode and `id_at` counts up to the id, a tab, and
    /// the path; each ended by NUL.
    fn of_listing(command: &'static str, text: Vec<u8>, id_at: usize) -> Result<Self, GitError> {
        let unreadable = || GitError::Unreadable { command };
        let mut files: Vec<Entry> = Vec::with_capacity(text.len() / 100);
        let mut start = 0;
        // Whether files of the last folder never count.
        let mut folder: (&[u8], bool) = (b"", false);
        while start < text.len() {
            let end = start + text[start..].iter().position(|byte| *byte == 0).ok_or_else(unreadable)?;
            let line = &text[start..end];
            let tab = line.iter().position(|byte| *byte == b'\t').ok_or_else(unreadable)?;
            let mode = line[..tab].split(|byte| *byte == b' ').next().unwrap_or_default();
            let id = line[..tab].split(|byte| *byte == b' ').nth(id_at).ok_or_else(unreadable)?;
            let path = &line[tab + 1..];
            let name_at = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
            if folder.0 != &path[..name_at] {
                folder = (&path[..name_at], is_never(&path[..name_at]));
            }
            let counts = !folder.1 && !NEVER.contains(&&path[name_at..]);
            if let Some(kind) = Kind::from_mode(mode).filter(|_| counts) {
                let id_start = start + (id.as_ptr().addr() - line.as_ptr().addr());
                let entry = Entry { kind, path: start + tab + 1..end, id: id_start..id_start + id.len() };
                // A path in conflict is there several times; what stands on disk is put over it.
                match files.last_mut() {
                    Some(last) if text[last.path.clone()] == *path => *last = entry,
                    _ => files.push(entry),
                }
            }
            start = end + 1;
        }
        let mut snapshot = Self { text, files };
        if !snapshot.iter().is_sorted_by(|(a, _), (b, _)| a < b) {
            let text = &snapshot.text;
            snapshot.files.sort_by(|a, b| text[a.path.clone()].cmp(&text[b.path.clone()]));
        }
        Ok(snapshot)
    }

    /// The same, with other files over it.
    fn with(mut self, overlay: Overlay) -> Self {
        if overlay.is_empty() {
            return self;
        }
        let mut files = std::mem::take(&mut self.files);
        files.retain(|entry| !overlay.contains_key(&self.text[entry.path.clone()]));
        for (path, file) in overlay {
            let Some((kind, id)) = file.filter(|_| !is_never(&path)) else { continue };
            let start = self.text.len();
            self.text.extend(&path);
            let middle = self.text.len();
            self.text.extend(id.as_bytes());
            files.push(Entry { kind, path: start..middle, id: middle..self.text.len() });
        }
        files.sort_by(|a, b| self.text[a.path.clone()].cmp(&self.text[b.path.clone()]));
        self.files = files;
        self
    }

    /// Every file, sorted by path.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], File<'_>)> + DoubleEndedIterator {
        self.files.iter().map(|entry| self.shown(entry))
    }

    /// The files from number `start` to before `end`, sorted by path.
    pub(super) fn part(&self, range: Range<usize>) -> impl Iterator<Item = (&[u8], File<'_>)> {
        self.files[range].iter().map(|entry| self.shown(entry))
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    fn shown(&self, entry: &Entry) -> (&[u8], File<'_>) {
        (&self.text[entry.path.clone()], File { kind: entry.kind, id: &self.text[entry.id.clone()] })
    }

    /// The file at `path`.
    pub(super) fn get(&self, path: &[u8]) -> Option<File<'_>> {
        let at = self.files.binary_search_by(|entry| self.text[entry.path.clone()].cmp(path)).ok()?;
        Some(self.shown(&self.files[at]).1)
    }

    /// The files whose path begins with `prefix`.
    pub(super) fn beginning_with(&self, prefix: &[u8]) -> impl Iterator<Item = (&[u8], File<'_>)> {
        let first = self.files.partition_point(|entry| self.text[entry.path.clone()] < *prefix);
        let rest = self.files[first..].iter().map(|entry| self.shown(entry));
        let prefix = prefix.to_vec();
        rest.take_while(move |(path, _)| path.starts_with(&prefix))
    }

    /// The id of the file at `path`.
    pub(super) fn id(&self, path: &str) -> Option<&str> {
        std::str::from_utf8(self.get(path.as_bytes())?.id).ok()
    }
}

fn is_never(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(|name| NEVER.contains(&name))
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

/// Puts what differs from the index over the files; `prefix` is where the repository of `git` stands.
fn changes(git: &Git, prefix: &[u8], overlay: &mut Overlay) -> Result<(), GitError> {
    // Together they are `git status`, which does one after the other.
    let (touched, new) = std::thread::scope(|scope| {
        let arguments = ["ls-files", "--others", "--exclude-standard", "-z"];
        let new = scope.spawn(move || git.run(&arguments));
        // `:<mode> <mode> <id> <id> <letter>`, and the path as a record of its own.
        let touched = git.run(&["diff-files", "--raw", "-z", "--no-renames", "--ignore-submodules=none", "--relative"]);
        (touched, new.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let (touched, new) = (touched?, new?);
    let mut on_disk: BTreeSet<&[u8]> = BTreeSet::new();
    let mut fields = records(&touched);
    while let Some(meta) = fields.next() {
        let unreadable = || GitError::Unreadable { command: "diff-files" };
        let path = fields.next().filter(|_| meta.starts_with(b":")).ok_or_else(unreadable)?;
        if meta.starts_with(b":160000") || meta.get(8..14) == Some(b"160000") {
            let place = [prefix, path].concat();
            let below = git.below(path);
            let commit = below.commit("HEAD");
            let is_there = commit.is_some();
            overlay.insert(place.clone(), commit.map(|commit| (Kind::Submodule, commit)));
            if is_there {
                changes(&below, &[place.as_slice(), b"/"].concat(), overlay)?;
            }
        } else {
            on_disk.insert(path);
        }
    }
    // A repository in the repository, which is none of its submodules, is listed as a folder.
    on_disk.extend(records(&new).filter(|path| !path.ends_with(b"/")));
    let mut to_hash: Vec<(&[u8], Kind)> = Vec::new();
    for path in on_disk {
        match Kind::on_disk(&git.folder().join(OsStr::from_bytes(path))) {
            Some(kind) => to_hash.push((path, kind)),
            None => drop(overlay.insert([prefix, path].concat(), None)),
        }
    }
    for ((path, kind), id) in to_hash.iter().zip(hash_all(git, &to_hash)?) {
        overlay.insert([prefix, path].concat(), Some((*kind, id)));
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
