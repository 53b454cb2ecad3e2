//! What an account may do with a repository, found out without leaving anything behind: for `rhdh-pack doctor`.

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode};

use super::error::Error;
use super::http::Body;
use super::repository::Repository;

/// What is known of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existence {
    /// It is there, and may be read.
    There,
    /// It is not there; or it is, and the registry does not tell this account.
    NotSeen,
}

impl Repository {
    /// Whether the repository is there, asked by an account that [`Repository::login`] let in. To be asked of a
    /// repository to read: where the registry is a Quay, asking for permission to push already makes it.
    ///
    /// # Errors
    /// When the registry cannot be asked.
    pub async fn existence(&self) -> Result<Existence, Error> {
        let what = format!("looking for the repository `{self}`");
        let mut url = self.url(&["tags", "list"]).await?;
        url.set_query(Some("n=1"));
        match self.ask_url(&what, &Method::GET, &url, &[], Body::None).await {
            Ok(Some(_)) => Ok(Existence::There),
            Ok(None) => Ok(Existence::NotSeen),
            // Quay, Docker Hub and GHCR say so instead of 404, also to those whom they let in.
            Err(Error::Refused { status: StatusCode::FORBIDDEN, .. } | Error::Unauthorized { .. }) => {
                Ok(Existence::NotSeen)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the account may push: opens an upload and ends it (OCI distribution spec, end-4a; CNCF distribution:
    /// "canceling an upload"). Returns whether the registry ended it; where it did not, the upload expires unseen.
    ///
    /// # Errors
    /// When the account may not push, or the registry cannot be asked.
    pub async fn may_push(&self) -> Result<bool, Error> {
        let what = format!("asking whether `{self}` may be pushed to");
        let headers = [(CONTENT_TYPE, "application/octet-stream".to_owned())];
        let answer = self.ask(&what, &Method::POST, &["blobs", "uploads", ""], &headers, Body::None).await?;
        let Some(answer) = answer else {
            return Err(Error::refused(&what, StatusCode::NOT_FOUND, None, br#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#));
        };
        let session = answer.location(&what)?;
        let ended = self.ask_once(&what, Method::DELETE, session, &[], Body::None).await;
        Ok(ended.is_ok_and(|answer| answer.status.is_success()))
    }

    /// Whether the registry makes a repository, and a private one, as soon as somebody asks for permission to push to
    /// it: Quay does. Known once the registry has been asked something.
    #[must_use]
    pub fn is_made_by_asking(&self) -> bool {
        self.host.token_server().is_some_and(|realm| realm.path() == "/v2/auth")
    }
}
