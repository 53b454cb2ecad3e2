//! What a registry answers: read as a whole, or into a file.

use std::io::{Seek as _, Write as _};
use std::sync::{Mutex, PoisonError};

use reqwest::header::HeaderMap;
use reqwest::{StatusCode, Url};

use super::error::Error;
use super::retry::retry_after;

/// One answer, read as a whole.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// Where it came from in the end, for relative `Location`s.
    pub(super) url: Url,
}

/// A file that an answer's body is written to.
pub(super) struct Download {
    pub(super) file: Mutex<fs_err::File>,
    /// The bytes that are expected; more are an error.
    pub(super) size: u64,
}

impl Download {
    pub(super) fn new(file: fs_err::File, size: u64) -> Self {
        Self { file: Mutex::new(file), size }
    }

    /// Empties the file, for another attempt.
    pub(super) fn restart(&self) -> Result<(), Error> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = file.set_len(0).and_then(|()| file.rewind());
        outcome.map_err(|error| self.failed(file.path(), &error))
    }

    pub(super) fn write(&self, piece: &[u8]) -> Result<(), Error> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = file.write_all(piece);
        outcome.map_err(|error| self.failed(file.path(), &error))
    }

    fn failed(&self, path: &std::path::Path, error: &std::io::Error) -> Error {
        Error::Blob { path: path.to_owned(), why: error.to_string() }
    }
}

impl Answer {
    /// The error for a status that says no.
    pub(super) fn refused(&self, what: &str) -> Error {
        Error::refused(what, self.status, retry_after(&self.headers), &self.body)
    }

    /// `Location`, made absolute.
    pub(super) fn location(&self, what: &str) -> Result<Url, Error> {
        let text = self.header("location");
        text.and_then(|text| self.url.join(text).ok()).ok_or_else(|| Error::Garbage {
            what: what.to_owned(),
            why: "the answer has no usable `Location`".to_owned(),
        })
    }

    /// A header's text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
