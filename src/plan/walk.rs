//! A walk through the working tree, by several threads: the tracked files that are not as the index has them, and the
//! names that it does not know. Folders without a tracked file are not entered.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

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

/// What threads leave to those that have nothing to do.
struct Jobs {
    waiting: Vec<Job>,
    failure: Option<io::Error>,
}

struct Walk<'a> {
    index: &'a Index,
    root: OwnedFd,
    threads: usize,
    jobs: Mutex<Jobs>,
    /// Threads that have nothing to do; changes with `jobs` only. When all have nothing, the walk is over.
    idle: AtomicUsize,
    changed: Condvar,
}

/// Compares the files below `folder` with the index.
pub(super) fn walk(folder: &Path, index: &Index) -> io::Result<Found> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let walk = Walk {
        index,
        root: File::open(folder)?.into(),
        threads,
        jobs: Mutex::new(Jobs { waiting: vec![(0, 0..index.files.len())], failure: None }),
        idle: AtomicUsize::new(0),
        changed: Condvar::new(),
    };
    let mut found = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| walk.work())).collect();
        let mut all = Found::default();
        for worker in workers {
            let found = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            all.touched.extend(found.touched);
            all.gone.extend(found.gone);
            all.files.extend(found.files);
            all.folders.extend(found.folders);
        }
        all
    });
    if let Some(failure) = walk.jobs.into_inner().unwrap_or_else(PoisonError::into_inner).failure {
        return Err(failure);
    }
    found.touched.sort_unstable();
    found.gone.sort_unstable();
    found.files.sort_unstable();
    found.folders.sort_unstable();
    Ok(found)
}

impl Walk<'_> {
    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads folders until there are none left, or one cannot be read.
    fn work(&self) -> Found {
        let mut found = Found::default();
        let mut own = Vec::new();
        while own.pop().or_else(|| self.take(&mut own)).is_some_and(|job| self.read(&job, &mut found, &mut own)) {
            if own.len() > 1 && self.idle.load(Ordering::Relaxed) > 0 {
                self.leave(&mut own);
            }
        }
        found
    }

    /// Reads one folder; false where it cannot be read.
    fn read(&self, job: &Job, found: &mut Found, own: &mut Vec<Job>) -> bool {
        let done = self.folder(job, found, own);
        if let Err(failure) = done {
            self.jobs().failure = Some(failure.into());
            self.changed.notify_all();
        }
        done.is_ok()
    }

    /// Waits for jobs of others, and takes a fair share of them.
    fn take(&self, own: &mut Vec<Job>) -> Option<Job> {
        let mut jobs = self.jobs();
        self.idle.fetch_add(1, Ordering::Relaxed);
        while jobs.waiting.is_empty() && jobs.failure.is_none() {
            if self.idle.load(Ordering::Relaxed) == self.threads {
                self.changed.notify_all();
                return None;
            }
            jobs = self.changed.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
        if jobs.failure.is_some() {
            return None;
        }
        self.idle.fetch_sub(1, Ordering::Relaxed);
        let rest = jobs.waiting.len() - jobs.waiting.len().div_ceil(self.threads);
        own.extend(jobs.waiting.drain(rest..));
        own.pop()
    }

    /// Leaves half of the jobs to others: those that were found first, for most is below them.
    fn leave(&self, own: &mut Vec<Job>) {
        self.jobs().waiting.extend(own.drain(..own.len() / 2));
        self.changed.notify_all();
    }

    fn folder(&self, (length, tracked): &Job, found: &mut Found, next: &mut Vec<Job>) -> rustix::io::Result<()> {
        let files = &self.index.files;
        let folder: &[u8] = if *length == 0 { b"" } else { &files.path(tracked.start)[..*length] };
        // With its `/`, a link that stands there by now would be followed.
        let path = folder.strip_suffix(b"/").unwrap_or(b".");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = match openat(&self.root, OsStr::from_bytes(path), flags, Mode::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                // git looks at submodules itself.
                found.gone.extend(tracked.clone().filter(|number| files.kind(*number) != Kind::Submodule));
                return Ok(());
            }
            opened => opened?,
        };
        // The names that the index has in this folder, and whether they are folders.
        let mut known: Vec<(&[u8], bool)> = Vec::new();
        let mut number = tracked.start;
        while number < tracked.end {
            let path = files.path(number);
            let name = &path[*length..];
            if let Some(slash) = memchr::memchr(b'/', name) {
                let below = length + slash + 1;
                let end = files.first_not_below(number..tracked.end, &path[..below]);
                known.push((&name[..slash], true));
                next.push((below, number..end));
                number = end;
            } else {
                known.push((name, false));
                if files.kind(number) != Kind::Submodule {
                    self.file(&opened, number, name, found)?;
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
        Ok(())
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
