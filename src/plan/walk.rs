//! A walk through the working tree, by several threads: the tracked files that are not as the index has them, and the
//! names that it does not know. Folders without a tracked file are not entered.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rayon::Scope;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use super::index::Index;
use super::snapshot::{Kind, NEVER};

/// What a walk found; paths are relative to where it began.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Numbers of tracked files that may not be as the index has them.
    pub(super) touched: Vec<usize>,
    /// Numbers of tracked files that are gone.
    pub(super) gone: Vec<usize>,
    /// Files that are not tracked, ignored ones too.
    pub(super) files: Vec<Vec<u8>>,
    /// Folders in which nothing is tracked, ignored ones too.
    pub(super) folders: Vec<Vec<u8>>,
}

/// A folder to read: how long its path is, empty or with `/` at its end, and the numbers of the tracked files in and
/// below it, whose paths begin with it.
type Job = (usize, Range<usize>);

struct Walk<'a> {
    index: &'a Index,
    root: OwnedFd,
    found: Mutex<Found>,
    failure: Mutex<Option<io::Error>>,
}

/// Compares the files below `folder` with the index.
pub(super) fn walk(folder: &Path, index: &Index) -> io::Result<Found> {
    let walk = Walk { index, root: File::open(folder)?.into(), found: Mutex::default(), failure: Mutex::default() };
    rayon::scope(|scope| walk.enter((0, 0..index.files.len()), scope));
    let Walk { found, failure, .. } = walk;
    if let Some(failure) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(failure);
    }
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.touched.sort_unstable();
    found.gone.sort_unstable();
    found.files.sort_unstable();
    found.folders.sort_unstable();
    Ok(found)
}

impl Walk<'_> {
    fn enter<'s>(&'s self, job: Job, scope: &Scope<'s>) {
        let folder = self.path(&job);
        match self.folder(job, scope) {
            Ok(found) => {
                let mut all = self.found.lock().unwrap_or_else(PoisonError::into_inner);
                all.touched.extend(found.touched);
                all.gone.extend(found.gone);
                all.files.extend(found.files);
                all.folders.extend(found.folders);
            }
            Err(error) => {
                let folder = String::from_utf8_lossy(folder);
                let error = io::Error::new(io::Error::from(error).kind(), format!("`./{folder}`: {error}"));
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        }
    }

    /// The folder of `job`. Nothing may be tracked in the root.
    fn path(&self, (length, tracked): &Job) -> &[u8] {
        if *length == 0 { b"" } else { &self.index.files.path(tracked.start)[..*length] }
    }

    /// Reads a folder, and has those below it read.
    fn folder<'s>(&'s self, job: Job, scope: &Scope<'s>) -> rustix::io::Result<Found> {
        let mut found = Found::default();
        let files = &self.index.files;
        let folder = self.path(&job);
        let (length, tracked) = job;
        // With its `/`, a link that stands there by now would be followed.
        let path = folder.strip_suffix(b"/").unwrap_or(b".");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = match openat(&self.root, OsStr::from_bytes(path), flags, Mode::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                // git looks at submodules itself.
                found.gone = tracked.filter(|number| files.kind(*number) != Kind::Submodule).collect();
                return Ok(found);
            }
            opened => opened?,
        };
        // The names that the index has in this folder, and whether they are folders.
        let mut known: Vec<(&[u8], bool)> = Vec::new();
        let mut number = tracked.start;
        while number < tracked.end {
            let path = files.path(number);
            let name = &path[length..];
            if let Some(slash) = memchr::memchr(b'/', name) {
                let below = length + slash + 1;
                let end = files.first_not_below(number..tracked.end, &path[..below]);
                known.push((&name[..slash], true));
                scope.spawn(move |scope| self.enter((below, number..end), scope));
                number = end;
            } else {
                known.push((name, false));
                if files.kind(number) != Kind::Submodule {
                    self.file(&opened, number, name, &mut found)?;
                }
                number += 1;
            }
        }
        known.sort_unstable();
        let mut listing = Dir::new(opened)?;
        while let Some(entry) = listing.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            let place = known.binary_search_by_key(&name, |(name, _)| name);
            let as_folder = place.ok().map(|at| known[at].1);
            if matches!(name, b"." | b"..") || NEVER.contains(&name) || as_folder == Some(false) {
                continue;
            }
            let file_type = match entry.file_type() {
                FileType::Unknown => match statat(listing.fd()?, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                    Err(Errno::NOENT) => continue,
                    stat => FileType::from_raw_mode(stat?.st_mode),
                },
                known => known,
            };
            if matches!(file_type, FileType::RegularFile | FileType::Symlink) {
                found.files.push([folder, name].concat());
            } else if file_type.is_dir() && as_folder.is_none() {
                found.folders.push([folder, name].concat());
            }
        }
        Ok(found)
    }

    /// Compares a tracked file, which the index has as `name` in `folder`.
    fn file(&self, folder: &OwnedFd, number: usize, name: &[u8], found: &mut Found) -> rustix::io::Result<()> {
        let now = match statat(folder, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => {
                found.gone.push(number);
                return Ok(());
            }
            now => now?,
        };
        match self.index.is_as_before(number, &now) {
            Some(true) => {}
            Some(false) => found.touched.push(number),
            // A folder where a file was; of a device or pipe git says that the file is gone.
            None => {
                found.gone.push(number);
                if FileType::from_raw_mode(now.st_mode).is_dir() {
                    found.folders.push(self.index.files.path(number).to_vec());
                }
            }
        }
        Ok(())
    }
}
