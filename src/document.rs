//! The JSON documents between the stages: read with limits and a version check, written whole or not at all.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// No document of a run comes near this; a larger file is not one of ours.
const MAX_BYTES: u64 = 64 << 20;

/// Why a document could not be read or written.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    /// The stage before has not written it.
    #[error("`{}` does not exist", path.display())]
    #[diagnostic(help("it is written by `rhdh-pack {writer}`: run that first, with the same --out-dir"))]
    Missing {
        /// Where it should be.
        path: PathBuf,
        /// The command that writes it.
        writer: &'static str,
    },
    /// It could not be read or written.
    #[error("the document could not be read or written")]
    #[diagnostic(help("check its permissions, and the space left with `df -h`"))]
    Io(#[from] std::io::Error),
    /// It could not be written; the one before is still there.
    #[error("writing `{}`", path.display())]
    #[diagnostic(help(
        "look whether the folder may be written to and has room, then run the same command again: what it did is not \
         done twice"
    ))]
    Unwritten {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// What was asked for could not be written to stdout.
    #[error("writing to stdout")]
    #[diagnostic(help("check the space left where it goes with `df -h`"))]
    Stdout(#[source] std::io::Error),
    /// It is larger than any document of a run.
    #[error("`{}` is larger than 64 MiB", path.display())]
    #[diagnostic(help("it was not written by rhdh-pack: delete it and run `rhdh-pack {writer}` again"))]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The command that writes it.
        writer: &'static str,
    },
    /// It is not such a document.
    #[error("`{}` is not a document that this version of rhdh-pack reads", path.display())]
    #[diagnostic(help("delete it and run `rhdh-pack {writer}` again"))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
        /// The command that writes it.
        writer: &'static str,
    },
    /// It was written by a later version of rhdh-pack.
    #[error("`{}` has schema_version {found}; this version of rhdh-pack reads {supported}", path.display())]
    #[diagnostic(help("use one version of rhdh-pack for all stages of a run"))]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// Ours.
        supported: u32,
    },
}

impl Error {
    /// True where the environment is to blame (exit code 3), not the document.
    #[must_use]
    pub fn is_environment(&self) -> bool {
        matches!(self, Error::Io(_) | Error::Unwritten { .. } | Error::Stdout(_))
    }
}

/// Reads the document at `path`, which `rhdh-pack <writer>` writes.
///
/// # Errors
/// When it is not there, cannot be read, or is not a document of version `supported`.
pub fn read<T: DeserializeOwned>(path: &Path, supported: u32, writer: &'static str) -> Result<T, Error> {
    let size = match fs_err::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::Missing { path: path.to_owned(), writer });
        }
        Err(error) => return Err(error.into()),
    };
    if size > MAX_BYTES {
        return Err(Error::TooLarge { path: path.to_owned(), writer });
    }
    let malformed = |source| Error::Malformed { path: path.to_owned(), source, writer };
    let value: serde_json::Value = serde_json::from_slice(&fs_err::read(path)?).map_err(malformed)?;
    match value.get("schema_version").and_then(serde_json::Value::as_u64) {
        Some(found) if found > u64::from(supported) => Err(Error::Version { path: path.to_owned(), found, supported }),
        _ => serde_json::from_value(value).map_err(malformed),
    }
}

/// Writes `text` to stdout, which carries data only. A reader that has seen enough, as `head` has, is no failure.
///
/// # Errors
/// When it cannot be written.
pub fn print(text: &[u8]) -> Result<(), Error> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::Stdout(error)),
        _ => Ok(()),
    }
}

/// Writes `document` to `path` through a temporary file beside it, so that a reader never sees half of it.
///
/// # Errors
/// When the folder cannot be made or the file not be written.
pub fn write<T: Serialize>(path: &Path, document: &T) -> Result<(), Error> {
    write_file(path, &text_of(document)?).map_err(|source| Error::Unwritten { path: path.to_owned(), source })
}

/// `document` as it is written.
///
/// # Errors
/// When it cannot be JSON.
pub fn text_of<T: Serialize>(document: &T) -> Result<Vec<u8>, Error> {
    let mut text = serde_json::to_vec_pretty(document).map_err(std::io::Error::from)?;
    text.push(b'\n');
    Ok(text)
}

/// Writes `bytes` to `path` through a temporary file beside it; makes the folder where it is missing.
///
/// # Errors
/// When the folder cannot be made or the file not be written.
pub fn write_file(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs_err::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new().prefix(".tmp-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    // Temporary files are 0600; a document is for every job that comes after.
    fs_err::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
