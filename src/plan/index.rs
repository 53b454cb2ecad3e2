//! git's index, read without git: every tracked file with the id of its content, and what it looked like on disk when
//! that was last known to be true (gitformat-index(5), versions 2 to 4). What a plain checkout does not have
//! (conflicts, sparse or split indexes, files that git is told to take for unchanged) is left to git.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::snapshot::{Builder, Kind, Snapshot};

/// The index, as far as it is below the folder that paths are relative to.
#[derive(Debug)]
pub(super) struct Index {
    file: PathBuf,
    prefix: Vec<u8>,
    /// Of an id, in bytes.
    id_length: usize,
    /// When and as which file it was written; `None` where there is none yet.
    written: Option<Written>,
    pub(super) files: Snapshot,
    /// For each file of the snapshot, what it looked like.
    looks: Vec<Looks>,
    /// Whether there is a submodule.
    pub(super) has_submodules: bool,
}

/// What tells one state of the index from the next: when it was written (seconds, nanoseconds), when its name was given
/// to it, the number of the file, and its size.
type Written = [u32; 6];

/// What a file looked like; git cuts all of it off at 32 bits. Times are seconds and nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Looks {
    changed: [u32; 2],
    modified: [u32; 2],
    inode: u32,
    owner: [u32; 2],
    size: u32,
}

/// The ids of a file without content, by SHA-1 and by SHA-256.
const EMPTY: [&[u8]; 2] =
    [b"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391", b"473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813"];

impl Index {
    /// Reads the index in `file`; only what is below `prefix` counts, which is empty or ends with `/`. `id_length` is
    /// that of the repository's ids, in bytes. `None`: git has to be asked.
    pub(super) fn read(file: &Path, prefix: &[u8], id_length: usize) -> Option<Self> {
        let nothing = |written| Self {
            file: file.to_owned(),
            prefix: prefix.to_vec(),
            id_length,
            written,
            files: Snapshot::default(),
            looks: Vec::new(),
            has_submodules: false,
        };
        let mut opened = match File::open(file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Some(nothing(None)),
            opened => opened.ok()?,
        };
        let written = written(&opened.metadata().ok()?);
        let mut bytes = Vec::new();
        opened.read_to_end(&mut bytes).ok()?;
        nothing(Some(written)).with_entries(&bytes)
    }

    /// Reads the index that `folder` most probably has, while nobody has asked git yet.
    pub(super) fn ahead(folder: &Path) -> Option<Self> {
        let top = folder.ancestors().find(|ancestor| ancestor.join(".git").is_dir())?;
        let mut prefix = folder.strip_prefix(top).ok()?.as_os_str().as_bytes().to_vec();
        if !prefix.is_empty() {
            prefix.push(b'/');
        }
        Self::read(&top.join(".git/index"), &prefix, 20)
    }

    /// Whether this is what [`Index::read`] reads.
    pub(super) fn is_of(&self, file: &Path, prefix: &[u8], id_length: usize) -> bool {
        self.file == file && self.prefix == prefix && self.id_length == id_length
    }

    fn with_entries(mut self, bytes: &[u8]) -> Option<Self> {
        let mut rest = Rest(bytes);
        if rest.take(4)? != b"DIRC" {
            return None;
        }
        let version = rest.number().filter(|version| (2..=4).contains(version))?;
        let count = rest.number()? as usize;
        self.looks.reserve(count.min(bytes.len() / 62));
        let mut files = Builder::with_room_for(bytes.len());
        // Of version 4, each path is what it has in common with the one before, and the rest.
        let mut path: Vec<u8> = Vec::new();
        for _ in 0..count {
            let start = rest.0.len();
            let [changed, modified] = [rest.numbers()?, rest.numbers()?];
            let [_device, inode] = rest.numbers()?;
            let mode = rest.number()?;
            let owner = rest.numbers()?;
            let size = rest.number()?;
            let id = rest.take(self.id_length)?;
            let flags = rest.short()?;
            // Taken for unchanged whatever is on disk; more flags (sparse, intent to add); the sides of a conflict.
            let is_extended = flags & 0x4000 != 0;
            if flags & 0xb000 != 0 || is_extended && (version < 3 || rest.short()? != 0) {
                return None;
            }
            if version == 4 {
                let kept = path.len().checked_sub(rest.varint()?)?;
                path.truncate(kept);
                path.extend_from_slice(rest.until_nul()?);
            } else {
                path.clear();
                path.extend_from_slice(rest.until_nul()?);
                // One to eight NULs, up to a multiple of eight.
                let length = start - rest.0.len() - 1;
                rest.take(7 - length % 8)?;
            }
            let kind = match mode {
                0o100_644 => Kind::Regular,
                0o100_755 => Kind::Executable,
                0o120_000 => Kind::Link,
                0o160_000 => Kind::Submodule,
                _ => return None,
            };
            let Some(below) = path.strip_prefix(self.prefix.as_slice()) else { continue };
            if files.push(below, id, kind)? {
                self.has_submodules |= kind == Kind::Submodule;
                self.looks.push(Looks { changed, modified, inode, owner, size });
            }
        }
        self.files = files.sorted()?;
        // Extensions: those with a small letter change what the entries mean.
        while rest.0.len() > self.id_length {
            let is_optional = rest.take(4)?.first()?.is_ascii_uppercase();
            let length = rest.number()? as usize;
            rest.take(length)?;
            if !is_optional {
                return None;
            }
        }
        (rest.0.len() == self.id_length).then_some(self)
    }

    /// Whether the file still is the one that was read.
    pub(super) fn is_current(&self) -> bool {
        match (&self.written, std::fs::symlink_metadata(&self.file)) {
            (Some(written), Ok(now)) => *written == self::written(&now),
            (None, Err(error)) => error.kind() == std::io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// Whether the file with this number looks on disk as it did when git put its content into the index; `None` where
    /// that is no file that git could hold. As git, but never more lenient: to ask git once more only costs time.
    pub(super) fn is_as_before(&self, number: usize, now: &rustix::fs::Stat) -> Option<bool> {
        let kind = match FileType::from_raw_mode(now.st_mode) {
            FileType::Symlink => Kind::Link,
            FileType::RegularFile if now.st_mode & 0o100 == 0 => Kind::Regular,
            FileType::RegularFile => Kind::Executable,
            _ => return None,
        };
        let looks = Looks {
            changed: [now.st_ctime as u32, now.st_ctime_nsec as u32],
            modified: [now.st_mtime as u32, now.st_mtime_nsec as u32],
            inode: now.st_ino as u32,
            owner: [now.st_uid, now.st_gid],
            size: now.st_size as u32,
        };
        // git's Documentation/technical/racy-git: a file that was written no earlier than the index may have been
        // changed after git had looked at it, and look the same; where git finds such files, it notes no size.
        let is_racy = self.written.is_none_or(|[seconds, nanoseconds, ..]| looks.modified >= [seconds, nanoseconds]);
        let has_size = looks.size != 0 || EMPTY.contains(&self.files.id_of(number));
        Some(!is_racy && has_size && kind == self.files.kind(number) && looks == self.looks[number])
    }
}

fn written(file: &std::fs::Metadata) -> Written {
    let changed = [file.ctime() as u32, file.ctime_nsec() as u32];
    [file.mtime() as u32, file.mtime_nsec() as u32, changed[0], changed[1], file.ino() as u32, file.size() as u32]
}

/// What has not been read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn short(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn numbers(&mut self) -> Option<[u32; 2]> {
        Some([self.number()?, self.number()?])
    }

    fn until_nul(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(0, self.0)?;
        let text = self.take(end)?;
        self.take(1)?;
        Some(text)
    }

    /// gitformat-pack(5), "offset encoding".
    fn varint(&mut self) -> Option<usize> {
        let mut value = 0_usize;
        loop {
            let byte = *self.take(1)?.first()?;
            value = value.checked_mul(128)?.checked_add(usize::from(byte & 0x7f))?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
            value = value.checked_add(1)?;
        }
    }
}
