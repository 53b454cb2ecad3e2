//! Reading blobs: streamed into a file, hashed while they come, never more than their descriptor says.

use std::io::{Seek as _, Write as _};
use std::sync::{Mutex, PoisonError};

use reqwest::{Method, StatusCode};
use sha2::{Digest as _, Sha256};

use super::error::Error;
use super::http::{Ask, Body};
use super::repository::Repository;
use crate::digest::Digest;

/// What a registry would have said, had its 404 a body.
const BLOB_UNKNOWN: &[u8] = br#"{"errors":[{"code":"BLOB_UNKNOWN"}]}"#;

/// Where one answer's body goes.
pub(super) struct Sink {
    /// Bytes that the blob has.
    expected: u64,
    state: Mutex<State>,
}

struct State {
    file: std::fs::File,
    hasher: Sha256,
    taken: u64,
}

impl Sink {
    fn new(file: std::fs::File, expected: u64) -> Self {
        Self { expected, state: Mutex::new(State { file, hasher: Sha256::new(), taken: 0 }) }
    }

    /// How many bytes the blob has.
    pub(super) fn expected(&self) -> u64 {
        self.expected
    }

    /// Takes the next bytes.
    pub(super) fn take(&self, what: &str, piece: &[u8]) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.taken += piece.len() as u64;
        if state.taken > self.expected {
            let why = format!("the blob has more than the {} bytes that its descriptor says", self.expected);
            return Err(Error::Garbage { what: what.to_owned(), why });
        }
        state.hasher.update(piece);
        state.file.write_all(piece).map_err(|error| Error::Storage { what: what.to_owned(), source: error })
    }

    /// Forgets what an attempt that failed has brought.
    fn start_anew(&self, what: &str) -> Result<(), Error> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.taken, state.hasher) = (0, Sha256::new());
        let emptied = state.file.set_len(0).and_then(|()| state.file.rewind());
        emptied.map_err(|error| Error::Storage { what: what.to_owned(), source: error })
    }

    fn finish(self, what: &str, digest: &Digest) -> Result<(), Error> {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let found = Digest::from_sha256(state.hasher.finalize().into());
        if found == *digest {
            return Ok(());
        }
        Err(Error::Differs { what: what.to_owned(), expected: digest.clone(), found: found.to_string() })
    }
}

impl Repository {
    /// Reads the blob `digest`, which has `size` bytes, into `file`, from its beginning.
    ///
    /// # Errors
    /// When the registry cannot be asked or does not have the blob, when the bytes are not those that the digest says, or
    /// when the file cannot be written.
    pub async fn download(&self, digest: &Digest, size: u64, file: std::fs::File) -> Result<(), Error> {
        let what = format!("reading the blob `{self}@{digest}`");
        let url = self.url(&["blobs", digest.as_str()]).await?;
        let sink = Sink::new(file, size);
        let mut attempts = self.attempts();
        loop {
            sink.start_anew(&what)?;
            let ask = Ask {
                what: &what,
                method: Method::GET,
                url: url.clone(),
                account: &self.account,
                scope: &self.scope,
                headers: &[],
                body: Body::None,
                sink: Some(&sink),
            };
            let error = match self.host.exchange(ask).await {
                Ok(answer) if answer.status == StatusCode::OK => return sink.finish(&what, digest),
                Ok(answer) if answer.status == StatusCode::NOT_FOUND => {
                    Error::refused(&what, answer.status, None, BLOB_UNKNOWN)
                }
                Ok(answer) => answer.refused(&what),
                Err(error) => error,
            };
            attempts.wait_after(error).await?;
        }
    }
}
