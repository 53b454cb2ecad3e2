//! Images without their layers, and what is attached to them: a reference, a layout or an output folder comes in;
//! manifest, config and documents go out, byte for byte. All of it may come from anybody: what is read has limits, and
//! the digest that was asked for.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::fetch::repository;
use super::layout::{self, MAX_JSON, broken, digest_of};
use super::place::{Place, Reference, Version};
use super::{Error, Opener};
use crate::digest::Digest;
use crate::package::{rehearse, sbom};
use crate::registry::{self, ManifestRef, Referrer, Repository};

/// No document that is larger is read, in bytes.
const MAX_DOCUMENT: u64 = 64 << 20;
/// More documents are not looked at: a list may be as long as somebody likes.
const MAX_DOCUMENTS: usize = 32;

/// An image, and what is attached to it.
#[derive(Clone, Debug)]
pub struct Described {
    /// What it is called in messages.
    pub label: String,
    /// What a reference to it names: the digest of the manifest, or of the index that it was found in.
    pub digest: Digest,
    /// Of the image's own manifest.
    pub image: Digest,
    /// Byte for byte.
    pub manifest: Vec<u8>,
    /// Byte for byte.
    pub config: Vec<u8>,
    /// What is attached to it.
    pub documents: Vec<AttachedDocument>,
    /// How many more documents there are, which were not looked at.
    pub more: usize,
    /// Whether there is a tag as cosign 2 makes it for its signatures.
    pub signature_tag: bool,
}

/// A document that is attached to an image.
#[derive(Clone, Debug)]
pub struct AttachedDocument {
    /// What the manifest of it says that it is.
    pub artifact_type: String,
    /// Of that manifest; `None` for what packaging left in the output folder.
    pub digest: Option<Digest>,
    /// The document, or why it cannot be read.
    pub bytes: Result<Vec<u8>, String>,
}

/// As much of the manifest of an attached document as matters here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    #[serde(default)]
    artifact_type: String,
    #[serde(default)]
    config: Value,
    #[serde(default)]
    layers: Vec<Value>,
    #[serde(default)]
    subject: Value,
}

impl Opener<'_> {
    /// What is at `text`, without layers.
    ///
    /// # Errors
    /// When there is no image, or it cannot be read. What is wrong with attached documents stands in their place.
    pub async fn describe(&self, text: &str) -> Result<Vec<Described>, Error> {
        match Place::of(text)? {
            Place::Registry(reference) => Ok(vec![self.describe_reference(&reference).await?]),
            Place::Layout(folder, name) => self.describe_layout(&folder, name.as_deref()),
            Place::Output(folder) => {
                let mut all = self.describe_layout(&folder.join("oci"), None)?;
                for image in &mut all {
                    image.documents.extend(packaged_sbom(&folder, image));
                }
                Ok(all)
            }
            Place::Archive(path) | Place::Folder(path) => Err(Error::NotAnImage(path)),
        }
    }

    async fn describe_reference(&self, reference: &Reference) -> Result<Described, Error> {
        let label = reference.to_string();
        let repository = repository(self, reference).await?;
        let by = match &reference.version {
            Version::Tag(tag) => ManifestRef::Tag(tag),
            Version::Digest(digest) => ManifestRef::Digest(digest),
        };
        let top = repository.manifest(by).await?.ok_or_else(|| Error::NoSuchImage(label.clone()))?;
        let no_json = || broken(&label, "the manifest is not JSON");
        let mut json = layout::json(&top.bytes).ok_or_else(no_json)?;
        let mut image = top.clone();
        if json.get("manifests").is_some() {
            let (_, chosen) = rehearse::index(&json, self.releases);
            let chosen = chosen.ok_or_else(|| broken(&label, "the index has no image for linux/amd64"))?;
            let digest = digest_of(&label, &chosen)?;
            let found = repository.manifest(ManifestRef::Digest(&digest)).await?;
            image = found.ok_or_else(|| broken(&label, "the index names an image that the registry does not have"))?;
            json = layout::json(&image.bytes).ok_or_else(no_json)?;
        }
        let config = match json.get("config") {
            Some(config) => repository.small_blob(&digest_of(&label, config)?, size(config, MAX_JSON)).await?,
            None => Vec::new(),
        };
        let mut subjects = vec![&image.digest];
        if top.digest != image.digest {
            subjects.push(&top.digest);
        }
        let (mut documents, mut more, mut signature_tag) = (Vec::new(), 0, false);
        for subject in subjects {
            let listed = repository.referrers(subject).await?.all;
            more += listed.len().saturating_sub(MAX_DOCUMENTS);
            for referrer in listed.iter().take(MAX_DOCUMENTS) {
                documents.push(fetch_document(&repository, subject, referrer).await);
            }
            let tag = format!("sha256-{}.sig", subject.hex());
            signature_tag |= repository.manifest_digest(ManifestRef::Tag(&tag)).await?.is_some();
        }
        let (digest, image, manifest) = (top.digest, image.digest, image.bytes);
        Ok(Described { label, digest, image, manifest, config, documents, more, signature_tag })
    }

    /// The images of a layout. A manifest there that has a subject is attached to that.
    fn describe_layout(&self, folder: &Path, name: Option<&str>) -> Result<Vec<Described>, Error> {
        let attached = layout::attached(folder, MAX_DOCUMENTS)?;
        let opened = self.layout(folder, name)?;
        let is_image = |image: &&super::Image| !attached.iter().any(|(digest, _)| *digest == image.digest);
        let images = opened.images.iter().filter(is_image).map(|image| {
            let own = Digest::of(&image.manifest);
            let documents = attached.iter().filter_map(|(digest, manifest)| {
                let manifest: Manifest = serde_json::from_slice(manifest).ok()?;
                let subject = manifest.subject.get("digest")?.as_str()?;
                if subject != own.as_str() && subject != image.digest.as_str() {
                    return None;
                }
                let bytes = manifest.layer().and_then(|(blob, size)| layout::small_blob(folder, &blob, size));
                Some(AttachedDocument { artifact_type: manifest.kind(), digest: Some(digest.clone()), bytes })
            });
            let documents = documents.collect();
            Described {
                label: image.label.clone(),
                digest: image.digest.clone(),
                image: own,
                manifest: image.manifest.clone(),
                config: image.config.clone(),
                documents,
                more: 0,
                signature_tag: false,
            }
        });
        Ok(images.collect())
    }
}

/// The SBOM that packaging left of an image of the output folder.
fn packaged_sbom(output: &Path, image: &Described) -> Option<AttachedDocument> {
    let path = output.join(sbom::file(&image.label));
    // An image's name has no folder in it; that of a hostile layout may have.
    if image.label.contains('/') || !path.is_file() {
        return None;
    }
    let bytes = layout::read_at_most(&path, MAX_DOCUMENT).map_err(|error| error.to_string());
    Some(AttachedDocument { artifact_type: sbom::MEDIA_TYPE.to_owned(), digest: None, bytes })
}

/// Reads what a list says is attached to `subject`.
async fn fetch_document(repository: &Repository, subject: &Digest, referrer: &Referrer) -> AttachedDocument {
    let document =
        |artifact_type: String, bytes| AttachedDocument { artifact_type, digest: Some(referrer.digest.clone()), bytes };
    let said = |error: registry::Error| error.to_string();
    let manifest = match repository.manifest(ManifestRef::Digest(&referrer.digest)).await {
        Ok(Some(manifest)) => manifest,
        Ok(None) => {
            let why = "the list names it, and the registry does not have it".to_owned();
            return document(referrer.artifact_type.clone(), Err(why));
        }
        Err(error) => return document(referrer.artifact_type.clone(), Err(said(error))),
    };
    let Ok(manifest) = serde_json::from_slice::<Manifest>(&manifest.bytes) else {
        return document(referrer.artifact_type.clone(), Err("its manifest is none".to_owned()));
    };
    let kind = manifest.kind();
    if manifest.subject.get("digest").and_then(Value::as_str) != Some(subject.as_str()) {
        return document(kind, Err("it is listed, and attached to something else".to_owned()));
    }
    let bytes = match manifest.layer() {
        Ok((digest, size)) => repository.small_blob(&digest, size).await.map_err(said),
        Err(why) => Err(why),
    };
    document(kind, bytes)
}

impl Manifest {
    /// OCI image spec: without `artifactType`, the config's media type says what it is.
    fn kind(&self) -> String {
        let config = self.config.get("mediaType").and_then(Value::as_str).unwrap_or_default();
        if self.artifact_type.is_empty() { config.to_owned() } else { self.artifact_type.clone() }
    }

    /// The document: the first layer, where it is not too large.
    fn layer(&self) -> Result<(Digest, u64), String> {
        let layer = self.layers.first().ok_or("there is nothing in it")?;
        let size = layer.get("size").and_then(Value::as_u64).unwrap_or(u64::MAX);
        if size > MAX_DOCUMENT {
            return Err(format!("it has {size} bytes, more than is read"));
        }
        let digest = layer.get("digest").and_then(Value::as_str).unwrap_or_default();
        Ok((digest.parse().map_err(|error| format!("{error}"))?, size))
    }
}

/// The size that a descriptor names, at most `most`.
fn size(descriptor: &Value, most: u64) -> u64 {
    descriptor.get("size").and_then(Value::as_u64).unwrap_or(most).min(most)
}
