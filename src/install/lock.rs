//! The lock by which installers keep out of each other's way: a file in the root that only one of them can make. RHDH's
//! init container waits while it is there, and so does rhdh-pack.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::ui::Ui;

/// The file's name, as all installers have it.
pub const LOCK_FILE: &str = "install-dynamic-plugins.lock";
/// How often is looked whether it is gone, and how long: both as RHDH's newer installer does.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(600);

/// The lock, held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    file: PathBuf,
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    /// Another installer has it, or one that was killed had it.
    #[error("`{}` is there: another installer is at work in this folder", .0.display())]
    #[diagnostic(code("install-locked"), help("wait until it is done; if there is none, remove the file: `rm {}`", .0.display()))]
    Held(PathBuf),
    /// It cannot be made.
    #[error("making `{}`", file.display())]
    #[diagnostic(
        code("install"),
        help("check the folder's permissions and the space left, or choose another with `--root`")
    )]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

impl Lock {
    /// Takes the lock of `root`, which is made where it is missing; waits for whoever has it.
    ///
    /// # Errors
    /// When it is not given back within ten minutes or `cancel` says so, or the folder cannot be written.
    pub async fn take(root: &Path, ui: &Ui, cancel: &CancellationToken) -> Result<Self, Error> {
        let file = root.join(LOCK_FILE);
        let failed = |source| Error::Io { file: file.clone(), source };
        fs_err::create_dir_all(root).map_err(failed)?;
        let since = Instant::now();
        let mut said = false;
        loop {
            match fs_err::OpenOptions::new().write(true).create_new(true).open(&file) {
                Ok(mut opened) => {
                    let lock = Self { file: file.clone() };
                    write!(opened, "{}", std::process::id()).map_err(failed)?;
                    return Ok(lock);
                }
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(failed(error)),
                Err(_) => {}
            }
            if !said {
                said = true;
                ui.warn(&format!("waiting for another installer: `{}` is there", file.display()));
            }
            let waited = tokio::select! {
                () = tokio::time::sleep(LOOK_AGAIN) => true,
                () = cancel.cancelled() => false,
            };
            if !waited || since.elapsed() > PATIENCE {
                return Err(Error::Held(file));
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Whoever removed it meanwhile wanted to.
        let _ = fs_err::remove_file(&self.file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::Verbosity;

    #[tokio::test]
    async fn one_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let (ui, cancel) = (Ui::new(Verbosity::Quiet), CancellationToken::new());
        let folder = root.path().join("new");
        let lock = Lock::take(&folder, &ui, &cancel).await.unwrap();
        assert_eq!(fs_err::read_to_string(folder.join(LOCK_FILE)).unwrap(), std::process::id().to_string());
        let stopped = CancellationToken::new();
        stopped.cancel();
        assert!(matches!(Lock::take(&folder, &ui, &stopped).await, Err(Error::Held(_))));
        let waiting = Lock::take(&folder, &ui, &cancel);
        drop(lock);
        drop(waiting.await.unwrap());
        assert!(!folder.join(LOCK_FILE).exists());
    }
}
