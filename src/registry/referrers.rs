//! What is attached to an image: manifests that name it as their `subject`. Registries list them (OCI distribution spec
//! 1.1: listing referrers); for those that do not, clients keep the list themselves, as an index under the tag
//! `sha256-<hex of the image's digest>` (referrers tag schema).

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use oci_client::manifest::OCI_IMAGE_INDEX_MEDIA_TYPE;
use reqwest::Method;
use reqwest::header::ACCEPT;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::blob::BlobFile;
use super::error::{Cause, Error};
use super::http::Body;
use super::manifest::{ManifestRef, next_page};
use super::repository::Repository;
use crate::digest::Digest;

/// Pages of one image's list that are read at most; a longer list is an error. Each is 8 MiB at most.
const MAX_PAGES: usize = 16;
/// Registries take no larger manifests, in bytes.
const MAX_INDEX: usize = 4 << 20;
/// How often the list under the tag is written before this run gives up: each other run at the same moment costs one.
const MAX_ROUNDS: u32 = 24;

/// A manifest that is attached to an image, as lists name it. Nothing of it is checked but its form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Referrer {
    /// `application/vnd.oci.image.manifest.v1+json`, as a rule.
    pub media_type: String,
    /// Of the manifest.
    pub digest: Digest,
    /// Of the manifest, in bytes.
    pub size: u64,
    /// What is attached; empty where the list does not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub artifact_type: String,
    /// The manifest's annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What is attached to an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Referrers {
    /// In the order of the list.
    pub all: Vec<Referrer>,
    /// Whether the list is one that clients keep: then what it names need not be there any more.
    pub by_tag: bool,
}

impl Repository {
    /// What is attached to the manifest `subject`.
    ///
    /// # Errors
    /// When the registry cannot be asked, or what it gives is no list.
    pub async fn referrers(&self, subject: &Digest) -> Result<Referrers, Error> {
        let listed = match self.host.no_referrers.load(Ordering::Relaxed) {
            true => None,
            false => self.listed_referrers(subject).await?,
        };
        match listed {
            Some(all) if !all.is_empty() => Ok(Referrers { all, by_tag: false }),
            // Also where the registry has a list: it may be younger than what clients wrote.
            listed => {
                let all = self.tagged_referrers(subject).await?;
                let by_tag = listed.is_none() || !all.is_empty();
                Ok(Referrers { all, by_tag })
            }
        }
    }

    /// Pushes a manifest with a `subject`; whether the registry lists it by itself.
    ///
    /// # Errors
    /// When the registry cannot be asked, refuses, or has other bytes afterwards.
    pub async fn push_referrer(&self, bytes: &[u8], media_type: &str) -> Result<bool, Error> {
        let digest = Digest::of(bytes);
        let answer = self.put_manifest(ManifestRef::Digest(&digest), bytes, media_type).await?;
        Ok(answer.header("oci-subject").is_some())
    }

    /// Adds `new` to the list under the tag of `subject`. What others put there stays. Registries know no "only if it
    /// has not changed": whoever read the list before this writes it may write it afterwards, without what is new. So
    /// it is read again `pause` after it was written, until it has everything; a pause longer than others take between
    /// reading and writing makes it sure.
    ///
    /// # Errors
    /// When the registry cannot be asked or refuses, or something else is under the tag.
    pub async fn list_by_tag(&self, subject: &Digest, new: &[Referrer], pause: Duration) -> Result<(), Error> {
        let tag = referrers_tag(subject);
        let what = format!("adding to the list `{self}:{tag}`");
        for _ in 0..MAX_ROUNDS {
            let mut index = self.tagged_index(&tag).await?.unwrap_or_else(|| {
                let empty = json!({ "schemaVersion": 2, "mediaType": OCI_IMAGE_INDEX_MEDIA_TYPE, "manifests": [] });
                empty.as_object().cloned().unwrap_or_default()
            });
            let Some(Value::Array(listed)) = index.get_mut("manifests") else { return Err(no_list(&what)) };
            let is_listed = |new: &Referrer| listed.iter().any(|old| old["digest"] == new.digest.as_str());
            let missing: Vec<Value> = new.iter().filter(|new| !is_listed(new)).map(|new| json!(new)).collect();
            if missing.is_empty() {
                return Ok(());
            }
            listed.extend(missing);
            let bytes = Value::Object(index).to_string().into_bytes();
            if bytes.len() > MAX_INDEX {
                return Err(Error::Garbage { what, why: "the list would be larger than 4 MiB".to_owned() });
            }
            self.push_manifest(ManifestRef::Tag(&tag), &bytes, OCI_IMAGE_INDEX_MEDIA_TYPE).await?;
            // Runs that write at the same moment drift apart.
            tokio::time::sleep(pause.mul_f64(1.0 + fastrand::f64())).await;
        }
        Err(Error::Garbage { what, why: format!("after {MAX_ROUNDS} attempts, others still write to it") })
    }

    /// Reads a small blob as a whole.
    ///
    /// # Errors
    /// When the registry cannot be asked or does not have it, or when it is larger than `size` or is not what its
    /// digest says.
    pub async fn small_blob(&self, digest: &Digest, size: u64) -> Result<Vec<u8>, Error> {
        let temporary = |error: std::io::Error| Error::Temporary { source: Cause(error.to_string()) };
        let folder = tempfile::tempdir().map_err(temporary)?;
        let file = BlobFile { digest: digest.clone(), size, path: folder.path().join("blob") };
        self.download(&file).await?;
        let bytes = fs_err::read(&file.path).map_err(temporary)?;
        let found = Digest::of(&bytes);
        if found == *digest {
            return Ok(bytes);
        }
        let what = format!("reading the blob `{digest}` of `{self}`");
        Err(Error::Differs { what, expected: digest.clone(), found: found.to_string() })
    }

    /// The registry's own list; `None` where it keeps none.
    async fn listed_referrers(&self, subject: &Digest) -> Result<Option<Vec<Referrer>>, Error> {
        let what = format!("listing what is attached to `{self}@{subject}`");
        let mut url = self.url(&["referrers", subject.as_str()]).await?;
        let accept = [(ACCEPT, OCI_IMAGE_INDEX_MEDIA_TYPE.to_owned())];
        let mut all = Vec::new();
        for _ in 0..MAX_PAGES {
            let answer = match self.ask_url(&what, &Method::GET, &url, &accept, Body::None).await {
                Ok(Some(answer)) => answer,
                Ok(None) => {
                    self.host.no_referrers.store(true, Ordering::Relaxed);
                    return Ok(None);
                }
                // What registries that never heard of it say to an unknown path, besides 404.
                Err(Error::Refused { status, .. }) if matches!(status.as_u16(), 400 | 405 | 406 | 501) => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
            all.extend(read_list(&answer.body).ok_or_else(|| no_list(&what))?);
            let Some(next) = next_page(&answer) else { return Ok(Some(all)) };
            url = next;
        }
        // Whoever took a part for the whole would attach again, leave behind, or not show what is there.
        Err(Error::Garbage { what, why: format!("the list has more than {MAX_PAGES} pages") })
    }

    async fn tagged_referrers(&self, subject: &Digest) -> Result<Vec<Referrer>, Error> {
        let index = self.tagged_index(&referrers_tag(subject)).await?.unwrap_or_default();
        let listed = index.get("manifests").and_then(Value::as_array).cloned().unwrap_or_default();
        Ok(listed.into_iter().filter_map(|one| serde_json::from_value(one).ok()).collect())
    }

    /// The list that clients keep; `None` where there is none.
    async fn tagged_index(&self, tag: &str) -> Result<Option<Map<String, Value>>, Error> {
        let Some(manifest) = self.manifest(ManifestRef::Tag(tag)).await? else { return Ok(None) };
        match serde_json::from_slice(&manifest.bytes) {
            Ok(Value::Object(index)) if index.get("manifests").is_some_and(Value::is_array) => Ok(Some(index)),
            _ => Err(no_list(&format!("reading the list `{self}:{tag}`"))),
        }
    }
}

/// OCI distribution spec, referrers tag schema: the digest with `-` for `:`.
fn referrers_tag(subject: &Digest) -> String {
    format!("sha256-{}", subject.hex())
}

/// The entries of a list that have the form of one; `None` where it is no list at all.
fn read_list(bytes: &[u8]) -> Option<Vec<Referrer>> {
    #[derive(Deserialize)]
    struct List {
        manifests: Vec<Value>,
    }
    let list: List = serde_json::from_slice(bytes).ok()?;
    Some(list.manifests.into_iter().filter_map(|one| serde_json::from_value(one).ok()).collect())
}

fn no_list(what: &str) -> Error {
    let why = "what is there is not a list of attached documents".to_owned();
    Error::Garbage { what: what.to_owned(), why }
}
