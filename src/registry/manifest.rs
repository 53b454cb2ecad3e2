//! Manifests and tags of a repository.

use std::collections::BTreeMap;

use oci_client::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE,
};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName};
use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::answer::Answer;
use super::error::Error;
use super::http::Body;
use super::repository::Repository;
use crate::digest::Digest;

/// Pages of tags that are read at most; of 1,000 tags each where the registry gives so many.
const MAX_PAGES: usize = 2_000;
/// Bytes of all these pages.
const MAX_TAGS: usize = 256 << 20;

/// What a manifest is asked for by.
#[derive(Clone, Copy, Debug)]
pub enum ManifestRef<'a> {
    /// A tag.
    Tag(&'a str),
    /// The manifest's own digest.
    Digest(&'a Digest),
}

/// A manifest as the registry has it: of an image, or of an index of images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Of `bytes`.
    pub digest: Digest,
    /// The media type that the registry names.
    pub media_type: String,
    /// The manifest, byte for byte.
    pub bytes: Vec<u8>,
}

impl ManifestRef<'_> {
    fn as_str(&self) -> &str {
        match self {
            Self::Tag(tag) => tag,
            Self::Digest(digest) => digest.as_str(),
        }
    }

    fn of(&self, repository: &Repository) -> String {
        let separator = if matches!(self, Self::Tag(_)) { ':' } else { '@' };
        format!("{repository}{separator}{}", self.as_str())
    }
}

impl Manifest {
    /// Bytes of the manifest and of everything that it names directly: config and layers.
    #[must_use]
    pub fn size(&self) -> u64 {
        #[derive(Deserialize)]
        struct Named {
            config: Option<Blob>,
            #[serde(default)]
            layers: Vec<Blob>,
        }
        #[derive(Deserialize)]
        struct Blob {
            size: u64,
        }
        let named = serde_json::from_slice::<Named>(&self.bytes).ok();
        let blobs = named.into_iter().flat_map(|named| named.config.into_iter().chain(named.layers));
        blobs.fold(self.bytes.len() as u64, |sum, blob| sum.saturating_add(blob.size))
    }

    /// The manifest's annotations; none where it has none or is not JSON.
    #[must_use]
    pub fn annotations(&self) -> BTreeMap<String, String> {
        #[derive(Deserialize)]
        struct Annotated {
            #[serde(default)]
            annotations: BTreeMap<String, String>,
        }
        serde_json::from_slice::<Annotated>(&self.bytes).map(|manifest| manifest.annotations).unwrap_or_default()
    }
}

impl Repository {
    /// The digest of what `reference` names; `None` where there is nothing. One HEAD, where the registry answers it
    /// as it should.
    ///
    /// # Errors
    /// When the registry cannot be asked.
    pub async fn manifest_digest(&self, reference: ManifestRef<'_>) -> Result<Option<Digest>, Error> {
        let what = format!("looking for `{}`", reference.of(self));
        let parts = ["manifests", reference.as_str()];
        let Some(answer) = self.ask(&what, &Method::HEAD, &parts, &accepted(), Body::None).await? else {
            return Ok(None);
        };
        match digest_of(&answer, &what)? {
            Some(digest) => Ok(Some(digest)),
            // OCI distribution spec: the header is a SHOULD.
            None => Ok(self.manifest(reference).await?.map(|manifest| manifest.digest)),
        }
    }

    /// What `reference` names; `None` where there is nothing.
    ///
    /// # Errors
    /// When the registry cannot be asked, or the bytes are not those that their digest says.
    pub async fn manifest(&self, reference: ManifestRef<'_>) -> Result<Option<Manifest>, Error> {
        let what = format!("reading the manifest of `{}`", reference.of(self));
        let parts = ["manifests", reference.as_str()];
        let Some(answer) = self.ask(&what, &Method::GET, &parts, &accepted(), Body::None).await? else {
            return Ok(None);
        };
        // Proxies that want somebody to log in answer 200 with a page of theirs.
        if !serde_json::from_slice::<Versioned>(&answer.body).is_ok_and(|manifest| manifest.schema_version == 2) {
            return Err(Error::Garbage { what, why: "the answer is not a manifest".to_owned() });
        }
        let digest = Digest::of(&answer.body);
        let named = match reference {
            ManifestRef::Digest(digest) => Some(digest.clone()),
            ManifestRef::Tag(_) => digest_of(&answer, &what)?,
        };
        if let Some(named) = named.filter(|named| *named != digest) {
            return Err(Error::Differs { what, expected: named, found: digest.to_string() });
        }
        let media_type = answer.header("content-type").unwrap_or_default().to_owned();
        Ok(Some(Manifest { digest, media_type, bytes: answer.body }))
    }

    /// Pushes a manifest under `reference`. What the registry says that it stored is compared with `bytes`.
    ///
    /// # Errors
    /// When the registry cannot be asked, refuses, or has other bytes afterwards.
    pub async fn push_manifest(&self, reference: ManifestRef<'_>, bytes: &[u8], media_type: &str) -> Result<(), Error> {
        self.put_manifest(reference, bytes, media_type).await.map(drop)
    }

    /// As [`Repository::push_manifest`]; what the registry answered.
    pub(super) async fn put_manifest(
        &self,
        reference: ManifestRef<'_>,
        bytes: &[u8],
        media_type: &str,
    ) -> Result<Answer, Error> {
        let what = match reference {
            ManifestRef::Tag(_) => format!("tagging `{}`", reference.of(self)),
            ManifestRef::Digest(_) => format!("pushing the manifest `{}`", reference.of(self)),
        };
        let expected = Digest::of(bytes);
        let headers = [(CONTENT_TYPE, media_type.to_owned())];
        let parts = ["manifests", reference.as_str()];
        let answer = self.ask(&what, &Method::PUT, &parts, &headers, Body::Bytes(bytes)).await?;
        let Some(answer) = answer else {
            return Err(Error::refused(&what, StatusCode::NOT_FOUND, None, NAME_UNKNOWN));
        };
        let found = match digest_of(&answer, &what)? {
            Some(digest) => Some(digest),
            None => self.manifest_digest(reference).await?,
        };
        match found {
            Some(found) if found == expected => Ok(answer),
            found => {
                let found = found.map_or_else(|| "nothing".to_owned(), |digest| digest.to_string());
                Err(Error::Differs { what, expected, found })
            }
        }
    }

    /// All tags of the repository, in the registry's order; none where there is no such repository.
    ///
    /// # Errors
    /// When the registry cannot be asked, or does not answer with lists of tags.
    pub async fn tags(&self) -> Result<Vec<String>, Error> {
        #[derive(Deserialize)]
        struct Page {
            #[serde(default)]
            tags: Option<Vec<String>>,
        }
        let what = format!("listing the tags of `{self}`");
        let garbage = |why: &str| Error::Garbage { what: what.clone(), why: why.to_owned() };
        let mut url = self.url(&["tags", "list"]).await?;
        url.set_query(Some("n=1000"));
        let (mut tags, mut read) = (Vec::new(), 0);
        for _ in 0..MAX_PAGES {
            let Some(answer) = self.ask_url(&what, &Method::GET, &url, &[], Body::None).await? else { return Ok(tags) };
            let page: Page =
                serde_json::from_slice(&answer.body).map_err(|_| garbage("the answer is not a list of tags"))?;
            tags.extend(page.tags.unwrap_or_default());
            let Some(next) = next_page(&answer) else { return Ok(tags) };
            read += answer.body.len();
            if next == url || read > MAX_TAGS {
                break;
            }
            url = next;
        }
        Err(garbage("the list has no end"))
    }
}

/// What every manifest and index has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Versioned {
    schema_version: u8,
}

/// What a registry would have said, had its 404 a body.
const NAME_UNKNOWN: &[u8] = br#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#;

fn accepted() -> [(HeaderName, String); 1] {
    let types =
        [OCI_IMAGE_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, IMAGE_MANIFEST_LIST_MEDIA_TYPE];
    [(ACCEPT, types.join(", "))]
}

fn digest_of(answer: &Answer, what: &str) -> Result<Option<Digest>, Error> {
    let Some(text) = answer.header("docker-content-digest") else { return Ok(None) };
    let digest = text.parse().map_err(|_| Error::Garbage {
        what: what.to_owned(),
        why: "`Docker-Content-Digest` of the answer is not a sha256 digest".to_owned(),
    })?;
    Ok(Some(digest))
}

/// RFC 8288: `Link: </v2/acme/todo/tags/list?last=x&n=1000>; rel="next"`.
pub(super) fn next_page(answer: &Answer) -> Option<reqwest::Url> {
    let link = answer.header("link")?;
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    parameters.contains("next").then(|| answer.url.join(target).ok())?
}
