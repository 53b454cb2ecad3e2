//! The files to bring up to date, on disk: read as text, and replaced whole or not at all.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::{Error, MAX_BYTES};

/// A file as it is.
pub struct File {
    /// As it was named.
    pub name: String,
    /// What it holds.
    pub text: String,
    /// Where it is, links followed.
    real: PathBuf,
    permissions: std::fs::Permissions,
}

impl File {
    /// Reads `path`. Where it is a link, what it leads to must be in `root`.
    ///
    /// # Errors
    /// When it is no file that can be read, no text, or a link out of `root`.
    pub fn read(path: &Path, root: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let io = |source| Error::Io { file: name.clone(), source };
        let real = path.canonicalize().map_err(io)?;
        if fs_err::symlink_metadata(path).map_err(io)?.is_symlink() {
            let root = root.canonicalize().map_err(io)?;
            if !real.starts_with(root) {
                return Err(Error::Link { file: name, to: real.display().to_string() });
            }
        }
        if !fs_err::metadata(&real).map_err(io)?.is_file() {
            return Err(Error::Io { file: name, source: std::io::Error::other("it is not a file") });
        }
        let file = fs_err::File::open(&real).map_err(io)?;
        let permissions = file.metadata().map_err(io)?.permissions();
        let mut bytes = Vec::new();
        file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(io)?;
        if bytes.len() > MAX_BYTES {
            return Err(Error::TooLarge { file: name });
        }
        let text = String::from_utf8(bytes)
            .map_err(|_| Error::NotYaml { file: name.clone(), why: "it is not UTF-8".to_owned() })?;
        Ok(Self { name, text, real, permissions })
    }

    /// Gives it another content: a reader sees the old one or the new one. Its mode stays.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, text: &str) -> Result<(), Error> {
        let write = || -> std::io::Result<()> {
            let folder = self.real.parent().unwrap_or(Path::new("."));
            let mut file = tempfile::Builder::new().prefix(".tmp-").tempfile_in(folder)?;
            file.write_all(text.as_bytes())?;
            fs_err::set_permissions(file.path(), self.permissions.clone())?;
            file.as_file().sync_all()?;
            file.persist(&self.real).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(|source| Error::Io { file: self.name.clone(), source })
    }
}
