//! Bringing a blob from one repository to another: mounted where both are on one host, else through a file of this
//! machine.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use reqwest::{Method, StatusCode};

use super::answer::Download;
use super::blob::BlobFile;
use super::error::{Cause, Error};
use super::http::{Ask, Body};
use super::repository::Repository;
use super::upload::Upload;
use crate::digest::Digest;

impl Repository {
    /// Brings the blob `digest` of `size` bytes from `source` into this repository. `progress` counts its bytes where
    /// they had to be uploaded.
    ///
    /// # Errors
    /// When one of the registries cannot be asked or refuses, or `source` has other bytes than the digest says.
    pub async fn copy_blob(
        &self,
        source: &Repository,
        digest: &Digest,
        size: u64,
        progress: &Arc<AtomicU64>,
    ) -> Result<Upload, Error> {
        if self.has_blob(digest, size).await? {
            return Ok(Upload::AlreadyThere);
        }
        if Arc::ptr_eq(&self.host, &source.host)
            && Arc::ptr_eq(&self.account, &source.account)
            && self.mount(source, digest, size).await?
        {
            return Ok(Upload::Mounted);
        }
        let folder = tempfile::tempdir().map_err(temporary)?;
        let file = BlobFile { digest: digest.clone(), size, path: folder.path().join("blob") };
        source.download(&file).await?;
        self.push_blob(&file, progress).await
    }

    /// Reads a blob into a file. What is read is not checked: whoever uses it hashes it.
    ///
    /// # Errors
    /// When the registry cannot be asked or does not have the blob, when the blob is larger than expected, or when the
    /// file cannot be written.
    pub async fn download(&self, file: &BlobFile) -> Result<(), Error> {
        let what = format!("reading the blob `{}` of `{self}`", file.digest);
        let url = self.url(&["blobs", file.digest.as_str()]).await?;
        let download = Download::new(fs_err::File::create(&file.path).map_err(temporary)?, file.size);
        let mut attempts = self.attempts();
        loop {
            download.restart()?;
            let ask = Ask {
                what: &what,
                method: Method::GET,
                url: url.clone(),
                account: &self.account,
                scope: &self.scope,
                headers: &[],
                body: Body::None,
                into: Some(&download),
            };
            let error = match self.host.exchange(ask).await {
                Ok(answer) if answer.status == StatusCode::OK => return Ok(()),
                Ok(answer) => answer.refused(&what),
                Err(error) => error,
            };
            attempts.wait_after(error).await?;
        }
    }
}

fn temporary(error: std::io::Error) -> Error {
    Error::Temporary { source: Cause(error.to_string()) }
}
