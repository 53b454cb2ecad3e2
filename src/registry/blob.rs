//! Blobs on disk, on their way to a registry: read once, hashed while they are read, and never sent to their end when
//! they are not what their digest says.

use std::collections::HashMap;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures_util::stream;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::auth::Account;
use super::error::Error;
use crate::digest::Digest;

/// What is read at once. Four of these are under way at most.
const PIECE: usize = 128 * 1024;

/// A blob in a file: its name and place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobFile {
    /// What its bytes should be.
    pub digest: Digest,
    /// How many bytes it should have.
    pub size: u64,
    /// The file.
    pub path: PathBuf,
}

/// The body of one upload.
pub(super) struct BlobBody<'a> {
    pub(super) file: &'a BlobFile,
    /// Bytes that the connection took in this upload.
    pub(super) moved: &'a Arc<AtomicU64>,
    /// What was wrong with the file, where it was.
    pub(super) problem: Arc<OnceLock<String>>,
}

/// Pieces of a blob, as they are read.
pub(super) type Pieces = mpsc::Receiver<Result<Vec<u8>, std::io::Error>>;

impl BlobFile {
    /// Reads the file in pieces of `size` bytes (the last may be shorter). The last piece comes only after the whole
    /// blob was found to be what its digest says; else there is an error in its place, and its reason in `problem`.
    pub(super) fn pieces(&self, size: usize, problem: &Arc<OnceLock<String>>) -> Pieces {
        let (sender, receiver) = mpsc::channel(3);
        let (blob, problem) = (self.clone(), Arc::clone(problem));
        tokio::task::spawn_blocking(move || {
            // A receiver that is gone has ended its upload.
            if let Err(why) = blob.read(size, &mut |piece| sender.blocking_send(Ok(piece)).is_ok()) {
                let _ = problem.set(why.clone());
                let _ = sender.blocking_send(Err(std::io::Error::other(why)));
            }
        });
        receiver
    }

    /// `send` says whether more is wanted.
    fn read(&self, size: usize, send: &mut dyn FnMut(Vec<u8>) -> bool) -> Result<(), String> {
        // No link and no pipe: the folder may come from another machine, and what it names must be in it.
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let mut options = fs_err::OpenOptions::new();
        options.read(true);
        options.options_mut().custom_flags(flags.bits().cast_signed());
        let mut file = options.open(&self.path).map_err(|error| error.to_string())?;
        let metadata = file.metadata().map_err(|error| error.to_string())?;
        if !metadata.is_file() {
            return Err("it is not a file".to_owned());
        }
        if metadata.len() != self.size {
            return Err(format!("it has {} bytes, and its descriptor says {}", metadata.len(), self.size));
        }
        let mut hasher = Sha256::new();
        let mut held: Option<Vec<u8>> = None;
        loop {
            let mut piece = Vec::with_capacity(size);
            file.by_ref().take(size as u64).read_to_end(&mut piece).map_err(|error| error.to_string())?;
            if piece.is_empty() {
                break;
            }
            hasher.update(&piece);
            if let Some(before) = held.replace(piece)
                && !send(before)
            {
                return Ok(());
            }
        }
        let found = Digest::from_sha256(hasher.finalize().into());
        if found != self.digest {
            return Err(format!("its digest is `{found}`, and it is named `{}`", self.digest));
        }
        if let Some(last) = held {
            send(last);
        }
        Ok(())
    }
}

impl<'a> BlobBody<'a> {
    pub(super) fn new(file: &'a BlobFile, moved: &'a Arc<AtomicU64>) -> Self {
        Self { file, moved, problem: Arc::default() }
    }

    /// The file from its beginning, as a request's body.
    pub(super) fn stream(&self) -> reqwest::Body {
        let moved = Arc::clone(self.moved);
        let pieces = self.file.pieces(PIECE, &self.problem);
        reqwest::Body::wrap_stream(stream::unfold((pieces, moved), |(mut pieces, moved)| async {
            let piece = pieces.recv().await?;
            if let Ok(piece) = &piece {
                moved.fetch_add(piece.len() as u64, Ordering::Relaxed);
            }
            Some((piece, (pieces, moved)))
        }))
    }

    /// The error of the file itself, where that is why an upload failed.
    pub(super) fn problem(&self) -> Option<Error> {
        self.problem.get().map(|why| Error::Blob { path: self.file.path.clone(), why: why.clone() })
    }
}

/// In which repositories of a host a blob is known to be.
#[derive(Default)]
pub(super) struct Known(Mutex<HashMap<Digest, Places>>);

/// Held while the blob is being uploaded somewhere: whoever needs it elsewhere waits, and mounts it then.
pub(super) type Places = Arc<tokio::sync::Mutex<Vec<(String, Arc<Account>)>>>;

impl Known {
    pub(super) fn places(&self, digest: &Digest) -> Places {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(digest.clone()).or_default())
    }
}
