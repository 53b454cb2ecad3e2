//! Deleting tags and manifests (OCI distribution spec: end-9).

use reqwest::{Method, StatusCode};

use super::error::Error;
use super::http::Body;
use super::manifest::ManifestRef;
use super::repository::Repository;

/// What became of something that was to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone, or was not there.
    Gone,
    /// The registry does not delete such things.
    Unsupported,
}

impl Repository {
    /// Deletes what `reference` names. By tag, a registry deletes the tag alone, or does not support it; by digest, the
    /// manifest with all of its tags.
    ///
    /// # Errors
    /// When the registry cannot be asked, or the account may not delete.
    pub async fn delete(&self, reference: ManifestRef<'_>) -> Result<Deleted, Error> {
        let (separator, name) = match reference {
            ManifestRef::Tag(tag) => (':', tag),
            ManifestRef::Digest(digest) => ('@', digest.as_str()),
        };
        let what = format!("deleting `{self}{separator}{name}`");
        match self.ask(&what, &Method::DELETE, &["manifests", name], &[], Body::None).await {
            Ok(_) => Ok(Deleted::Gone),
            // OCI distribution spec, deleting tags: 400 or 405 where a registry does not. distribution 2.8 takes the
            // tag for a digest that is not one.
            Err(Error::Refused { status, code, .. })
                if matches!(status, StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED)
                    || status == StatusCode::BAD_REQUEST
                        && matches!(code.as_str(), "UNSUPPORTED" | "DIGEST_INVALID") =>
            {
                Ok(Deleted::Unsupported)
            }
            Err(error) => Err(error),
        }
    }
}
