//! Every file of the repository with the id of its content, at a commit or in the working tree.
//!
//! The id is that of git's blob: for a tracked file that was not touched, git knows it without reading the file. For
//! all others (changed, untracked, in no repository at all) the same id is made from the bytes, by git itself where
//! there is a repository, so that `.gitattributes` and `core.autocrlf` do to them what `git add` would do. So equal
//! content has an equal id in any state, on any clone, with any line ends in the working tree, before and after it is
//! committed.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::git::{Git, GitError};
use crate::repo_path::RepoPath;

/// Never part of a plugin, whether git ignores them or not: what package managers and git itself keep.
pub(super) const NEVER: [&[u8]; 2] = [b"node_modules", b".git"];

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

/// A file of a snapshot, by its path there.
pub(super) type Listed<'s> = (&'s [u8], File<'s>);

/// The files below the folder of `rhdh-plugins.toml`, by path: bytes, relative, sorted.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    /// All paths and ids: a repository has thousands of files, and most states of it the same ones, hence the same
    /// text.
    text: Arc<Vec<u8>>,
    /// Paths and ids of this state only; counted on from the end of `text`.
    own: Vec<u8>,
    /// Sorted by path.
    files: Vec<Entry>,
}

/// Where the path and the id of a file stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    path: [u32; 2],
    id: u32,
    id_length: u8,
    kind: Kind,
}

/// Files to put over those of a snapshot, by path; `None` where there is none any more.
pub(super) type Overlay = BTreeMap<Vec<u8>, Option<(Kind, String)>>;

/// A snapshot to which files are added.
#[derive(Default)]
pub(super) struct Builder {
    text: Vec<u8>,
    files: Vec<Entry>,
    /// The folder of the last file, empty or with `/` at its end, and whether its files never count.
    folder: (Vec<u8>, bool),
    is_sorted: bool,
}

impl Kind {
    /// From git's mode.
    pub(super) fn from_mode(mode: &[u8]) -> Option<Self> {
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
}

impl Builder {
    /// For about so many bytes of paths and ids.
    pub(super) fn with_room_for(bytes: usize) -> Self {
        Self {
            text: Vec::with_capacity(bytes),
            files: Vec::with_capacity(bytes / 100),
            is_sorted: true,
            ..Self::default()
        }
    }

    /// Adds a file by the bytes of its id; whether it counts. `None` where it would be too much.
    pub(super) fn push(&mut self, path: &[u8], id: &[u8], kind: Kind) -> Option<bool> {
        /// For each half of a byte its digit.
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digits = [0; 64];
        let digits = digits.get_mut(..id.len() * 2)?;
        for (pair, byte) in digits.chunks_exact_mut(2).zip(id) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        self.push_text(path, digits, kind)
    }

    /// Adds a file by its id as text; whether it counts. `None` where it would be too much.
    fn push_text(&mut self, path: &[u8], id: &[u8], kind: Kind) -> Option<bool> {
        let name_at = memchr::memrchr(b'/', path).map_or(0, |slash| slash + 1);
        let (folder, name) = path.split_at(name_at);
        if self.folder.0 != folder {
            self.folder.1 = is_never(folder);
            self.folder.0.clear();
            self.folder.0.extend_from_slice(folder);
        }
        if self.folder.1 || NEVER.contains(&name) {
            return Some(false);
        }
        let last = self.files.last().map(|last| &self.text[range(last.path)]);
        match last.map(|last| last.cmp(path)) {
            // A path in conflict is there several times; what stands on disk is put over it.
            Some(Ordering::Equal) => drop(self.files.pop()),
            Some(Ordering::Greater) => self.is_sorted = false,
            _ => {}
        }
        self.files.push(append(&mut self.text, 0, path, id, kind)?);
        Some(true)
    }

    /// The snapshot, if the files were added in their order.
    pub(super) fn sorted(self) -> Option<Snapshot> {
        self.is_sorted.then(|| Snapshot { text: Arc::new(self.text), own: Vec::new(), files: self.files })
    }
}

impl Snapshot {
    /// The files of a commit.
    pub(super) fn of_commit(git: &Git, commit: &str) -> Result<Self, GitError> {
        // `<mode> <type> <id>\t<path>`
        Self::of_listing("ls-tree", &git.run(&["ls-tree", "-r", "-z", commit])?, 2)
    }

    /// Reads lines of `git command`: fields, of which the first is the mode and `id_at` counts up to the id, a tab, and
    /// the path; each ended by NUL.
    pub(super) fn of_listing(command: &'static str, text: &[u8], id_at: usize) -> Result<Self, GitError> {
        let unreadable = || GitError::Unreadable { command };
        let mut files = Builder::with_room_for(text.len());
        for line in text.split_inclusive(|byte| *byte == 0) {
            let line = line.strip_suffix(b"\0").ok_or_else(unreadable)?;
            let tab = line.iter().position(|byte| *byte == b'\t').ok_or_else(unreadable)?;
            let mut fields = line[..tab].split(|byte| *byte == b' ');
            let kind = Kind::from_mode(fields.next().unwrap_or_default());
            let id = fields.nth(id_at - 1).ok_or_else(unreadable)?;
            if let Some(kind) = kind {
                files.push_text(&line[tab + 1..], id, kind).ok_or_else(unreadable)?;
            }
        }
        if !files.is_sorted {
            let text = &files.text;
            files.files.sort_by(|a, b| text[range(a.path)].cmp(&text[range(b.path)]));
            files.is_sorted = true;
        }
        files.sorted().ok_or_else(unreadable)
    }

    /// The same, with other files over it.
    pub(super) fn with(mut self, overlay: Overlay) -> Self {
        let added = overlay.iter().filter(|(path, file)| file.is_some() && !is_never(path)).count();
        let mut files = Vec::with_capacity(self.files.len() + added);
        let mut done = 0;
        for (path, file) in &overlay {
            let at = self.first_from(done..self.len(), path);
            files.extend_from_slice(&self.files[done..at]);
            let is_replaced = self.files.get(at).is_some_and(|entry| self.text_of(entry.path) == path);
            done = at + usize::from(is_replaced);
            if let Some((kind, id)) = file.as_ref().filter(|_| !is_never(path)) {
                // Gigabytes of paths would not have come this far.
                files.extend(append(&mut self.own, self.text.len(), path, id.as_bytes(), *kind));
            }
        }
        files.extend_from_slice(&self.files[done..]);
        self.files = files;
        self
    }

    /// Every file, sorted by path.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = Listed<'_>> + DoubleEndedIterator {
        self.files.iter().map(|entry| self.shown(entry))
    }

    /// The file with this number.
    pub(super) fn at(&self, number: usize) -> Listed<'_> {
        self.shown(&self.files[number])
    }

    /// The files from number `start` to before `end`, sorted by path.
    fn part(&self, range: Range<usize>) -> impl Iterator<Item = Listed<'_>> {
        self.files[range].iter().map(|entry| self.shown(entry))
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// The path of the file with this number.
    pub(super) fn path(&self, number: usize) -> &[u8] {
        self.text_of(self.files[number].path)
    }

    /// The kind of the file with this number.
    pub(super) fn kind(&self, number: usize) -> Kind {
        self.files[number].kind
    }

    /// The id of the file with this number.
    pub(super) fn id_of(&self, number: usize) -> &[u8] {
        self.shown(&self.files[number]).1.id
    }

    /// The number of the first file of `range` whose path is `path` or later.
    pub(super) fn first_from(&self, range: Range<usize>, path: &[u8]) -> usize {
        range.start + self.files[range].partition_point(|entry| self.text_of(entry.path) < path)
    }

    /// The number of the first file of `range` whose path does not begin with `prefix`, as that of its first one does.
    pub(super) fn first_not_below(&self, range: Range<usize>, prefix: &[u8]) -> usize {
        range.start + self.files[range].partition_point(|entry| self.text_of(entry.path).starts_with(prefix))
    }

    fn text_of(&self, [start, end]: [u32; 2]) -> &[u8] {
        let (start, end) = (start as usize, end as usize);
        match start.checked_sub(self.text.len()) {
            None => &self.text[start..end],
            Some(start) => &self.own[start..end - self.text.len()],
        }
    }

    fn shown(&self, entry: &Entry) -> Listed<'_> {
        let id = self.text_of([entry.id, entry.id + u32::from(entry.id_length)]);
        (self.text_of(entry.path), File { kind: entry.kind, id })
    }

    /// The file at `path`.
    pub(super) fn get(&self, path: &[u8]) -> Option<File<'_>> {
        self.listed(path).map(|(_, file)| file)
    }

    /// The file at `path`, with that.
    pub(super) fn listed(&self, path: &[u8]) -> Option<Listed<'_>> {
        let at = self.files.binary_search_by(|entry| self.text_of(entry.path).cmp(path)).ok()?;
        Some(self.shown(&self.files[at]))
    }

    /// The submodules that a folder is in, or is, from the inside out.
    pub(super) fn submodules_around(&self, folder: &RepoPath) -> impl Iterator<Item = Listed<'_>> {
        let around = std::iter::successors(Some(folder.clone()), RepoPath::parent);
        around.filter_map(|path| self.listed(path.as_str().as_bytes())).filter(|(_, file)| file.kind == Kind::Submodule)
    }

    /// The files whose path begins with `prefix`.
    pub(super) fn beginning_with(&self, prefix: &[u8]) -> impl Iterator<Item = Listed<'_>> {
        let first = self.first_from(0..self.len(), prefix);
        self.part(first..self.first_not_below(first..self.len(), prefix))
    }

    /// The id of the file at `path`.
    pub(super) fn id(&self, path: &str) -> Option<&str> {
        std::str::from_utf8(self.get(path.as_bytes())?.id).ok()
    }

    /// The files of this snapshot and of a later one that are not in both.
    pub(super) fn only_different<'s>(&'s self, after: &'s Self) -> (Vec<Listed<'s>>, Vec<Listed<'s>>) {
        let (mut gone, mut new) = (Vec::new(), Vec::new());
        let shared = if Arc::ptr_eq(&self.text, &after.text) { self.text.len() } else { 0 };
        let (mut old, mut now) = (self.files.as_slice(), after.files.as_slice());
        while let (Some((a, old_rest)), Some((b, now_rest))) = (old.split_first(), now.split_first()) {
            let is_same = a == b && (a.id as usize) < shared;
            let order = if is_same { Ordering::Equal } else { self.text_of(a.path).cmp(after.text_of(b.path)) };
            if order.is_le() {
                old = old_rest;
            }
            if order.is_ge() {
                now = now_rest;
            }
            if is_same || order.is_eq() && self.shown(a) == after.shown(b) {
                continue;
            }
            gone.extend(order.is_le().then(|| self.shown(a)));
            new.extend(order.is_ge().then(|| after.shown(b)));
        }
        gone.extend(old.iter().map(|entry| self.shown(entry)));
        new.extend(now.iter().map(|entry| after.shown(entry)));
        (gone, new)
    }
}

fn range([start, end]: [u32; 2]) -> Range<usize> {
    start as usize..end as usize
}

/// Adds the texts of a file to `text`, whose first byte has the number `from`. `None` beyond four gigabytes.
fn append(text: &mut Vec<u8>, from: usize, path: &[u8], id: &[u8], kind: Kind) -> Option<Entry> {
    let start = u32::try_from(from + text.len()).ok()?;
    let middle = u32::try_from(from + text.len() + path.len()).ok()?;
    u32::try_from(from + text.len() + path.len() + id.len()).ok()?;
    text.extend_from_slice(path);
    text.extend_from_slice(id);
    Some(Entry { path: [start, middle], id: middle, id_length: u8::try_from(id.len()).ok()?, kind })
}

fn is_never(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(|name| NEVER.contains(&name))
}
