//! One at a time: commands that build in a repository's folders, or write its output folder, wait for each other. Two
//! exports of one plugin at once would mix what they make.

use std::fs::TryLockError;
use std::path::Path;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Command, Error, Request};
use crate::config;
use crate::ui::Ui;

/// How often is looked whether the other is done.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Holds the others off until it is dropped; the system does that where the program is killed.
pub(super) struct Alone {
    _file: fs_err::File,
}

impl Alone {
    /// Locks the configuration file, for commands that need it; waits for whoever has it. File systems without locks,
    /// and a configuration that cannot be opened, are no reason to stop here.
    pub(super) async fn take(request: &Request, ui: &Ui, cancel: &CancellationToken) -> Result<Option<Self>, Error> {
        let needs_it = matches!(
            request.command,
            Command::Run(_)
                | Command::Plan(..)
                | Command::Export(..)
                | Command::Package { .. }
                | Command::Push { .. }
                | Command::Report { .. }
        );
        let path = request.config.clone().or_else(|| config::find(Path::new(".")).ok());
        let Some((path, file)) =
            path.filter(|_| needs_it).and_then(|path| Some((path.clone(), fs_err::File::open(path).ok()?)))
        else {
            return Ok(None);
        };
        let mut said = false;
        loop {
            match file.file().try_lock() {
                Ok(()) => return Ok(Some(Self { _file: file })),
                Err(TryLockError::Error(_)) => return Ok(None),
                Err(TryLockError::WouldBlock) => {}
            }
            if !said {
                said = true;
                ui.warn(&format!("waiting for another rhdh-pack, which is at work with `{}`", path.display()));
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = cancel.cancelled() => return Err(Error::Waiting),
            }
        }
    }
}
