//! Bringing a blob into a repository: not at all where it is there, by mounting it from another repository of the
//! host, in one piece, or in chunks where the registry wants it so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use reqwest::{Method, StatusCode, Url};

use super::answer::Answer;
use super::blob::{BlobBody, BlobFile};
use super::error::Error;
use super::http::{Ask, Body};
use super::repository::Repository;
use crate::digest::Digest;

/// GHCR refuses chunks that are larger; a registry that wants larger ones says so (`OCI-Chunk-Min-Length`).
const CHUNK: usize = 4 * 1024 * 1024;
/// So little is asked for by the question that would mount it: a registry that mounts nothing gets it once more, which
/// costs it less than a question of its own.
const SMALL: u64 = 64 * 1024;
/// Chunks are held in memory: no registry gets to choose more than this.
const MAX_CHUNK: usize = 64 * 1024 * 1024;

/// How a blob came into a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upload {
    /// It was there.
    AlreadyThere,
    /// It was taken from another repository of the same host.
    Mounted,
    /// It was uploaded.
    Uploaded,
}

impl Repository {
    /// Whether the repository has this blob.
    ///
    /// # Errors
    /// When the registry cannot be asked.
    pub async fn has_blob(&self, digest: &Digest, size: u64) -> Result<bool, Error> {
        let what = format!("looking for the blob `{digest}` in `{self}`");
        let answer = self.ask(&what, &Method::HEAD, &["blobs", digest.as_str()], &[], Body::None).await?;
        Ok(answer.is_some_and(|answer| has(&answer, size)))
    }

    /// Brings `file` into the repository. `progress` counts its bytes, once each in the end.
    ///
    /// # Errors
    /// When the registry cannot be asked or refuses, or the file is not what its digest says; in that case the
    /// registry does not keep what was sent.
    pub async fn push_blob(&self, file: &BlobFile, progress: &Arc<AtomicU64>) -> Result<Upload, Error> {
        let places = self.host.blobs.places(&file.digest);
        let mut places = places.lock().await;
        let mut attempts = self.attempts();
        let mut in_chunks = false;
        let mut in_one_question = file.size <= SMALL;
        let mut may_mount = true;
        let upload = loop {
            if places.iter().any(|(path, _)| *path == self.path) {
                break Upload::AlreadyThere;
            }
            // Only what this account can read may be mounted with its credentials.
            let mounted = places.iter().find(|(_, account)| may_mount && Arc::ptr_eq(account, &self.account));
            let is_mount = mounted.is_some();
            let source = mounted.map(|(path, _)| path.as_str()).or(in_one_question.then_some(self.path.as_str()));
            let moved = Arc::new(AtomicU64::new(0));
            let attempt = self.push_blob_once(file, source, !in_one_question, in_chunks, &moved);
            let outcome = reporting(attempt, &moved, progress).await;
            // After a failure each step is one of its own: the registry may have its ways with mounts.
            (in_one_question, may_mount) = (false, false);
            match outcome {
                Ok(upload) => break upload,
                // OCI distribution spec: 413, "payload too large"; GHCR says 416 to ranges that it does not like.
                Err(Error::Refused { status, .. }) if matches!(status.as_u16(), 413 | 416) && !in_chunks => {
                    in_chunks = true;
                }
                // What refuses a mount, be it the server that gives tokens for two repositories, may take the blob itself.
                Err(error) => match attempts.wait_after(error).await {
                    Err(error) if !is_mount => return Err(error),
                    _ => {}
                },
            }
        };
        if !places.iter().any(|(path, _)| *path == self.path) {
            places.push((self.path.clone(), Arc::clone(&self.account)));
        }
        Ok(upload)
    }

    /// Forgets that the repository is known to have the blob: the registry says that it does not.
    pub async fn forget_blob(&self, digest: &Digest) {
        self.host.blobs.places(digest).lock().await.retain(|(path, _)| *path != self.path);
    }

    async fn push_blob_once(
        &self,
        file: &BlobFile,
        source: Option<&str>,
        ask_first: bool,
        in_chunks: bool,
        moved: &Arc<AtomicU64>,
    ) -> Result<Upload, Error> {
        let what = format!("uploading the blob `{}` to `{self}`", file.digest);
        // Also before a second attempt: the first may have ended well, and only its answer was lost.
        if ask_first && self.blob_is_there(file, &what).await? {
            return Ok(Upload::AlreadyThere);
        }
        let session = self.open_session(&file.digest, source, &what).await?;
        let upload = if session.status == StatusCode::CREATED {
            if source == Some(self.path.as_str()) { Upload::AlreadyThere } else { Upload::Mounted }
        } else {
            let answer = match in_chunks {
                true => self.send_in_chunks(file, session, moved, &what).await?,
                false => self.send_whole(file, session.location(&what)?, moved, &what).await?,
            };
            if !answer.status.is_success() {
                return Err(answer.refused(&what));
            }
            if let Some(found) = answer.header("docker-content-digest").filter(|found| *found != file.digest.as_str()) {
                return Err(Error::Differs { what, expected: file.digest.clone(), found: found.to_owned() });
            }
            Upload::Uploaded
        };
        if self.blob_is_there(file, &what).await? {
            Ok(upload)
        } else {
            Err(Error::Lost { what, digest: file.digest.clone() })
        }
    }

    /// Mounts a blob of `source`, which is on the same host; false where the registry does not.
    pub(super) async fn mount(&self, source: &Repository, digest: &Digest, size: u64) -> Result<bool, Error> {
        let what = format!("mounting the blob `{digest}` of `{source}` in `{self}`");
        let mut attempts = self.attempts();
        loop {
            match self.open_session(digest, Some(&source.path), &what).await {
                Ok(answer) => return Ok(answer.status == StatusCode::CREATED && self.has_blob(digest, size).await?),
                Err(error) => attempts.wait_after(error).await?,
            }
        }
    }

    async fn blob_is_there(&self, file: &BlobFile, what: &str) -> Result<bool, Error> {
        let url = self.url(&["blobs", file.digest.as_str()]).await?;
        let answer = self.ask_once(what, Method::HEAD, url, &[], Body::None).await?;
        match answer.status {
            StatusCode::NOT_FOUND => Ok(false),
            status if status.is_success() => Ok(has(&answer, file.size)),
            _ => Err(answer.refused(what)),
        }
    }

    /// OCI distribution spec, end-4a and end-11: 202 opens a session, 201 says that the blob is mounted.
    async fn open_session(&self, digest: &Digest, source: Option<&str>, what: &str) -> Result<Answer, Error> {
        let mut url = self.url(&["blobs", "uploads", ""]).await?;
        let mut scope = self.scope.clone();
        if let Some(source) = source {
            url.query_pairs_mut().append_pair("mount", digest.as_str()).append_pair("from", source);
            if source != self.path {
                scope = scope.and_pull(source);
            }
        }
        let ask = Ask {
            what,
            method: Method::POST,
            url,
            account: &self.account,
            scope: &scope,
            headers: &[],
            body: Body::None,
            into: None,
        };
        let answer = self.host.exchange(ask).await?;
        match answer.status {
            StatusCode::ACCEPTED => Ok(answer),
            StatusCode::CREATED if source.is_some() => Ok(answer),
            // A registry that does not like the mount still takes the blob.
            status if source.is_some() && status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                Box::pin(self.open_session(digest, None, what)).await
            }
            status if status.is_success() => {
                Err(Error::Garbage { what: what.to_owned(), why: format!("the answer to a new upload is {status}") })
            }
            _ => Err(answer.refused(what)),
        }
    }

    /// One PUT with the whole blob. No `Content-Range`: GHCR refuses it here.
    async fn send_whole(
        &self,
        file: &BlobFile,
        session: Url,
        moved: &Arc<AtomicU64>,
        what: &str,
    ) -> Result<Answer, Error> {
        let body = BlobBody::new(file, moved);
        let headers = [(CONTENT_TYPE, "application/octet-stream".to_owned())];
        let url = finishing(session, &file.digest);
        match self.ask_once(what, Method::PUT, url, &headers, Body::Blob(&body)).await {
            Err(error) => Err(body.problem().unwrap_or(error)),
            answer => answer,
        }
    }

    /// A PATCH for each chunk, then a PUT without a body. A session ends with its first failure: the next attempt
    /// opens another.
    async fn send_in_chunks(
        &self,
        file: &BlobFile,
        session: Answer,
        moved: &Arc<AtomicU64>,
        what: &str,
    ) -> Result<Answer, Error> {
        let least = session.header("oci-chunk-min-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut url = session.location(what)?;
        let problem = Arc::default();
        let mut chunks = file.pieces(CHUNK.max(least).min(MAX_CHUNK), &problem);
        let mut sent = 0;
        while let Some(chunk) = chunks.recv().await {
            let chunk = chunk.map_err(|error| Error::Blob { path: file.path.clone(), why: error.to_string() })?;
            let end = sent + chunk.len() as u64;
            let headers = [
                (CONTENT_TYPE, "application/octet-stream".to_owned()),
                (CONTENT_RANGE, format!("{sent}-{}", end - 1)),
                (CONTENT_LENGTH, chunk.len().to_string()),
            ];
            let answer = self.ask_once(what, Method::PATCH, url, &headers, Body::Bytes(&chunk)).await?;
            if !answer.status.is_success() {
                return Err(answer.refused(what));
            }
            url = answer.location(what)?;
            sent = end;
            moved.store(sent, Ordering::Relaxed);
        }
        self.ask_once(what, Method::PUT, finishing(url, &file.digest), &[], Body::None).await
    }
}

/// Adds what `moved` counts to `progress` while `attempt` runs, and takes it back when it fails.
async fn reporting<T>(
    attempt: impl Future<Output = Result<T, Error>>,
    moved: &AtomicU64,
    progress: &AtomicU64,
) -> Result<T, Error> {
    let mut attempt = std::pin::pin!(attempt);
    let mut reported = 0;
    loop {
        let outcome = tokio::time::timeout(std::time::Duration::from_millis(200), &mut attempt).await;
        let now = moved.load(Ordering::Relaxed);
        progress.fetch_add(now.saturating_sub(reported), Ordering::Relaxed);
        reported = reported.max(now);
        if let Ok(outcome) = outcome {
            if outcome.is_err() {
                progress.fetch_sub(reported, Ordering::Relaxed);
            }
            return outcome;
        }
    }
}

/// Some registries answer HEAD with `Content-Length: 0` or without it: then the status alone must do.
fn has(answer: &Answer, size: u64) -> bool {
    let length = answer.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    length == 0 || length == size
}

/// The session's URL with the digest that closes it. The query that it has must stay as it is.
fn finishing(mut session: Url, digest: &Digest) -> Url {
    session.query_pairs_mut().append_pair("digest", digest.as_str());
    session
}
