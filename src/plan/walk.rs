//! A walk through the working tree, by several threads: the tracked files that are not as the index has them, and the
//! names that it does not know. Folders without a tracked file are not entered.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
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

/// A folder to read, empty or with `/` at its end, and the numbers of the tracked files in and below it.
type Job = (Vec<u8>, Range<usize>);

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
    /// For each tracked file what was found of it.
    seen: Vec<AtomicU8>,
}

/// What is in [`Walk::seen`].
const UNSEEN: u8 = 0;
const CLEAN: u8 = 1;
const TOUCHED: u8 = 2;

/// Compares the files below `folder` with the index.
pub(super) fn walk(folder: &Path, index: &Index) -> io::Result<Found> {
    let files = index.files.len();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let walk = Walk {
        index,
        root: File::open(folder)?.into(),
        threads,
        jobs: Mutex::new(Jobs { waiting: vec![(Vec::new(), 0..files)], failure: None }),
        idle: AtomicUsize::new(0),
        changed: Condvar::new(),
        seen: std::iter::repeat_with(|| AtomicU8::new(UNSEEN)).take(files).collect(),
    };
    let mut found = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| walk.work())).collect();
        let mut all = Found::default();
        for worker in workers {
            let found = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            all.files.extend(found.files);
            all.folders.extend(found.folders);
        }
        all
    });
    if let Some(failure) = walk.jobs.into_inner().unwrap_or_else(PoisonError::into_inner).failure {
        return Err(failure);
    }
    for (number, seen) in walk.seen.into_iter().enumerate() {
        match seen.into_inner() {
            CLEAN => {}
            // git looks at submodules itself.
            UNSEEN if index.files.kind(number) == Kind::Submodule => {}
            UNSEEN => found.gone.push(number),
            _ => found.touched.push(number),
        }
    }
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

    fn folder(&self, (folder, tracked): &Job, found: &mut Found, next: &mut Vec<Job>) -> rustix::io::Result<()> {
        let path: &[u8] = if folder.is_empty() { b"." } else { folder };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = match openat(&self.root, OsStr::from_bytes(path), flags, Mode::empty()) {
            // It went away since it was listed.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            opened => opened?,
        };
        let files = &self.index.files;
        let mut path = folder.clone();
        let mut listing = Dir::new(opened)?;
        while let Some(entry) = listing.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") || NEVER.contains(&name) {
                continue;
            }
            path.truncate(folder.len());
            path.extend_from_slice(name);
            let look = || match statat(listing.fd()?, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => Ok(None),
                stat => stat.map(Some),
            };
            let at = files.first_from(tracked.clone(), &path);
            if at < tracked.end && files.path(at) == path {
                let now = if files.kind(at) == Kind::Submodule { None } else { look()? };
                let Some(now) = now else { continue };
                match self.index.is_as_before(at, &now) {
                    Some(is_clean) => {
                        self.seen[at].store(if is_clean { CLEAN } else { TOUCHED }, Ordering::Relaxed);
                    }
                    // A folder where a file was; of a device or pipe git says that the file is gone.
                    None if FileType::from_raw_mode(now.st_mode).is_dir() => found.folders.push(path.clone()),
                    None => {}
                }
                continue;
            }
            let file_type = match entry.file_type() {
                FileType::Unknown => look()?.map_or(FileType::Unknown, |now| FileType::from_raw_mode(now.st_mode)),
                known => known,
            };
            if matches!(file_type, FileType::RegularFile | FileType::Symlink) {
                found.files.push(path.clone());
            } else if file_type.is_dir() {
                path.push(b'/');
                let start = files.first_from(at..tracked.end, &path);
                let end = files.first_not_below(start..tracked.end, &path);
                if start < end {
                    next.push((path.clone(), start..end));
                } else {
                    path.pop();
                    found.folders.push(path.clone());
                }
            }
        }
        Ok(())
    }
}
