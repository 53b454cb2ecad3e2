//! Files that a forge has, by reading them. They may be elsewhere: there, nobody gets the token.

use std::io::Read as _;
use std::path::Path;

use reqwest::header::{ACCEPT, LOCATION};
use reqwest::{Method, StatusCode, Url};
use sha2::{Digest as _, Sha256};

use super::super::answer::Download;
use super::super::http::Body;
use super::{Cause, Error, Forge};
use crate::digest::Digest;

impl Forge {
    /// The digest of a file that the forge has, of at most `size` bytes, by reading it. It may be read elsewhere,
    /// without the token.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn digest_of(&self, what: &str, url: &Url, size: u64) -> Result<Digest, Error> {
        let temporary = |error: std::io::Error| Error::Temporary { source: Cause(error.to_string()) };
        let folder = tempfile::tempdir().map_err(temporary)?;
        let path = folder.path().join("file");
        let download = Download::new(fs_err::File::create(&path).map_err(temporary)?, size);
        let mut attempts = self.attempts();
        loop {
            download.restart()?;
            let error = match self.download(what, url, &download).await {
                Ok(()) => return hash(&path).map_err(temporary),
                Err(error) => error,
            };
            attempts.wait_after(error).await?;
        }
    }

    async fn download(&self, what: &str, url: &Url, into: &Download) -> Result<(), Error> {
        let accept = [(ACCEPT, "application/octet-stream".to_owned())];
        let mut url = url.clone();
        for _ in 0..5 {
            let request = self.request(&Method::GET, &url, &accept);
            let answer = self.host.transfer(what, request, Body::None, Some(into)).await?;
            if answer.status == StatusCode::OK {
                return Ok(());
            }
            if !answer.status.is_redirection() || !answer.headers.contains_key(LOCATION) {
                return Err(self.refused(what, &answer));
            }
            url = self.host.checked(what, answer.location(what)?)?;
        }
        Err(Error::Garbage { what: what.to_owned(), why: "there is no end to its redirects".to_owned() })
    }
}

/// The digest of a whole file.
fn hash(path: &Path) -> std::io::Result<Digest> {
    let mut file = fs_err::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 256 * 1024];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(Digest::from_sha256(hasher.finalize().into())),
            read => hasher.update(&piece[..read]),
        }
    }
}
