//! A `dist-dynamic` folder on disk: opened once, then read without ever leaving it. Names come in; what goes out are
//! file handles that are what the walk saw, or an error that says what changed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};

use super::Problem;
use super::rules::Found;
use super::walk::NEVER;

/// The folder that a package is made of.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    folder: Arc<OwnedFd>,
    /// Absolute, without links.
    path: PathBuf,
}

/// What makes a file the one that the walk saw, with the content that it had then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Identity {
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "the types of `Stat` differ by platform")]
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
        }
    }

    /// In bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }
}

/// Where a link leads, inside the folder.
#[derive(Debug)]
pub(super) struct Target {
    /// Relative to the folder, without links.
    pub(super) real: String,
    pub(super) stat: Stat,
}

impl Target {
    pub(super) fn is_file(&self) -> bool {
        FileType::from_raw_mode(self.stat.st_mode).is_file()
    }
}

const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// A pipe that takes a file's place must not make us wait for a writer.
const FILE: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

impl Source {
    /// Opens `path`.
    pub(super) fn open(path: &Path) -> Result<Self, Problem> {
        let unreadable = |error: std::io::Error| Problem::unreadable(&path.display().to_string(), &error);
        let real = std::path::absolute(path).and_then(std::fs::canonicalize).map_err(unreadable)?;
        let folder = rustix::fs::open(&real, FOLDER, Mode::empty()).map_err(|error| unreadable(error.into()))?;
        Ok(Self { folder: Arc::new(folder), path: real })
    }

    /// The folder itself.
    pub(super) fn root(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.folder)
    }

    /// What an entry of `files` names, by the same look at the disk as npm's: `..` goes up in the text of the path.
    pub(super) fn look(&self, entry: &str) -> Found {
        let (parts, outside) = super::parts(entry);
        let slash = if entry.ends_with('/') && !parts.is_empty() { "/" } else { "" };
        match std::fs::symlink_metadata(self.path.join(parts.join("/") + slash)) {
            Ok(_) | Err(_) if outside => Found::Missing,
            Ok(metadata) if metadata.is_file() => Found::File,
            Ok(metadata) if metadata.is_dir() => Found::Directory,
            // npm takes no links. The walk follows them, and says what is wrong with one.
            Ok(metadata) if metadata.is_symlink() => Found::Directory,
            Ok(_) => Found::Other,
            Err(_) => Found::Missing,
        }
    }

    /// The names of the folders directly in the package.
    pub(super) fn folders(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.path).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        folders.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// The files that a target of `exports` such as `./dist/*.js` can mean: its `*` stands for anything, slashes too, and
    /// each of several for the same. None for `./*`: that all of the package may be imported says nothing about what is
    /// needed of it.
    pub(super) fn matching(&self, target: &str) -> Vec<String> {
        let Some(target) = super::inside(target) else { return Vec::new() };
        let parts: Vec<&str> = target.split('*').collect();
        let [before, after @ ..] = parts.as_slice() else { return Vec::new() };
        let stars = after.len();
        let Some((folder, _)) = before.rsplit_once('/') else { return Vec::new() };
        let is_left_out = |name: &OsStr| name == "node_modules" || NEVER.iter().any(|never| name == *never);
        let below = walkdir::WalkDir::new(self.path.join(folder)).into_iter();
        let below = below.filter_entry(|entry| entry.depth() == 0 || !is_left_out(entry.file_name())).flatten();
        let files = below.filter(|entry| entry.file_type().is_file());
        let paths = files.filter_map(|entry| Some(entry.path().strip_prefix(&self.path).ok()?.to_str()?.to_owned()));
        let fits = |path: &String| {
            let length = path.len().saturating_sub(target.len() - stars).checked_div(stars);
            let star = length.and_then(|length| path.get(before.len()..before.len() + length));
            star.is_some_and(|star| !star.is_empty() && parts.join(star) == *path)
        };
        paths.filter(fits).collect()
    }

    /// Opens the folder `name` in `parent`; a link is an error.
    pub(super) fn open_folder(parent: &OwnedFd, name: &OsStr) -> std::io::Result<OwnedFd> {
        Ok(rustix::fs::openat(parent, name, FOLDER, Mode::empty())?)
    }

    /// Opens a folder by its path without links, following none on the way.
    pub(super) fn open_real(&self, real: &str) -> std::io::Result<Arc<OwnedFd>> {
        let mut folder = self.root();
        for name in real.split('/').filter(|name| !name.is_empty()) {
            folder = Arc::new(Self::open_folder(&folder, OsStr::new(name))?);
        }
        Ok(folder)
    }

    /// What `name` in `folder` is; of a link, the link itself.
    pub(super) fn stat(folder: &impl AsFd, name: &OsStr) -> std::io::Result<Stat> {
        Ok(rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// What `path` in the package is, after following links inside the folder; `None` where there is nothing.
    pub(super) fn follow(&self, path: &str) -> Result<Option<Target>, Problem> {
        let real = match std::fs::canonicalize(self.path.join(path)) {
            Ok(real) => real,
            Err(error) => {
                let errno = rustix::io::Errno::from_io_error(&error);
                return match errno {
                    Some(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
                    Some(rustix::io::Errno::LOOP) => Err(Problem::LinkLoop { path: path.to_owned() }),
                    _ => Err(Problem::unreadable(path, &error)),
                };
            }
        };
        let Ok(inside) = real.strip_prefix(&self.path) else {
            return Err(Problem::LinkOutside { path: path.to_owned(), target: real.display().to_string() });
        };
        let Some(inside) = inside.to_str() else {
            return Err(Problem::NotUtf8 { path: inside.to_string_lossy().into_owned() });
        };
        let (parent, name) = inside.rsplit_once('/').unwrap_or(("", inside));
        let name = if name.is_empty() { OsString::from(".") } else { OsString::from(name) };
        let stat = self
            .open_real(parent)
            .and_then(|folder| Self::stat(&folder, &name))
            .map_err(|error| Problem::unreadable(path, &error))?;
        Ok(Some(Target { real: inside.to_owned(), stat }))
    }

    /// Opens the file that the walk found at `real` (a path without links), if it still is the one that it was.
    pub(crate) fn open_file(&self, real: &str, identity: &Identity) -> Result<File, Problem> {
        let unreadable = |error: rustix::io::Errno| Problem::unreadable(real, &error.into());
        let file = rustix::fs::openat(&self.folder, real, FILE, Mode::empty()).map_err(unreadable)?;
        let file = File::from(file);
        Self::check(&file, real, identity)?;
        Ok(file)
    }

    /// Fails if the open `file` is no longer what the walk saw.
    pub(crate) fn check(file: &File, real: &str, identity: &Identity) -> Result<(), Problem> {
        let stat = rustix::fs::fstat(file).map_err(|error| Problem::unreadable(real, &error.into()))?;
        if FileType::from_raw_mode(stat.st_mode).is_file() && Identity::of(&stat) == *identity {
            Ok(())
        } else {
            Err(Problem::Changed { path: real.to_owned() })
        }
    }

    /// Adds all of a file's content to `buffer`.
    pub(crate) fn read_into(&self, real: &str, identity: &Identity, buffer: &mut Vec<u8>) -> Result<(), Problem> {
        let mut file = self.open_file(real, identity)?;
        let start = buffer.len();
        let size = usize::try_from(identity.size).unwrap_or(usize::MAX);
        // One byte more than expected, so that a file that grows shows.
        buffer.reserve(size.saturating_add(1));
        let read = file
            .by_ref()
            .take(identity.size.saturating_add(1))
            .read_to_end(buffer)
            .map_err(|error| Problem::unreadable(real, &error))?;
        if read != size {
            buffer.truncate(start);
            return Err(Problem::Changed { path: real.to_owned() });
        }
        Self::check(&file, real, identity)
    }

    /// All of a small file's content, and its identity; `what` names it in the error for one over `limit` bytes.
    pub(super) fn read_small(&self, target: &Target, limit: u64) -> Result<(Arc<[u8]>, Identity), Problem> {
        let identity = Identity::of(&target.stat);
        if identity.size > limit {
            return Err(Problem::TooLarge { path: target.real.clone(), size: identity.size, limit });
        }
        let mut content = Vec::new();
        self.read_into(&target.real, &identity, &mut content)?;
        Ok((content.into(), identity))
    }
}
