//! What is attached to an image in its repository: the SBOM that packaging made, the provenance of the build. They are
//! up before the image's tags move, so that whoever finds a tag finds them too.

use std::io::{BufReader, Read as _};
use std::path::{Component, Path};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::try_join_all;
use oci_client::manifest::{OCI_IMAGE_MEDIA_TYPE, OciImageManifest};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tempfile::TempDir;

use super::image::{ImageJob, lock};
use super::notes::{Failure, Notes};
use super::provenance::{self, Provenance};
use super::{State, layout};
use crate::config::Attachment;
use crate::digest::Digest;
use crate::package::{PackagedSbom, sbom};
use crate::registry::{BlobFile, Error, ManifestRef, Referrer, Referrers, Repository};
use crate::ui::Ui;

/// The annotation by which we know again what we attached; its value is a name of [`Attachment`].
pub(crate) const DOCUMENT_ANNOTATION: &str = "dev.rhdh-pack.document";

/// OCI image spec, "guidance for an empty descriptor".
const EMPTY_CONFIG: &str = "application/vnd.oci.empty.v1+json";

/// A document to attach.
#[derive(Clone, Debug)]
pub enum Document {
    /// The image's SBOM, in the output folder.
    Sbom(PackagedSbom),
    /// What is known of the build.
    Provenance(Box<Provenance>),
    /// What the run that built the image attached to it where it is copied from: this run did not build it.
    Copied(Attachment),
}

/// A document that is attached to an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Attached {
    /// What it is.
    pub document: Attachment,
    /// Of the manifest that names the image as its subject.
    pub digest: Digest,
    /// Whether it was there before.
    pub state: State,
}

impl Document {
    fn kind(&self) -> Attachment {
        match self {
            Self::Sbom(_) => Attachment::Sbom,
            Self::Provenance(_) => Attachment::Provenance,
            Self::Copied(kind) => *kind,
        }
    }
}

/// What manifests and layers say that a document is.
pub(crate) fn media_type(kind: Attachment) -> &'static str {
    match kind {
        Attachment::Sbom => sbom::MEDIA_TYPE,
        Attachment::Provenance => provenance::MEDIA_TYPE,
    }
}

impl ImageJob {
    /// Attaches the documents to the image, which is up by digest. What is there already costs one look at the list.
    pub(super) async fn attach(&self, id: &str, output: &Path, ui: &Ui, noted: &Mutex<Notes>) -> Result<(), Failure> {
        if self.documents.is_empty() {
            return Ok(());
        }
        let subject = &self.image.digest;
        let names: Vec<String> = self.documents.iter().map(|document| document.kind().to_string()).collect();
        let names = names.join(" and ");
        let found = self.repository.referrers(subject).await.map_err(|error| self.not_attached(&names, error))?;
        let mut missing = Vec::new();
        for document in &self.documents {
            let kind = document.kind();
            match there(&self.repository, &found, kind).await.map_err(|error| self.not_attached(&names, error))? {
                Some(Referrer { digest, .. }) => {
                    let (document, state) = (kind, State::AlreadyThere);
                    lock(noted).attached.push(Attached { document, digest, state });
                }
                None => missing.push(document),
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let step = ui.step(id, "attach");
        let outcome = async {
            let mut unlisted = Vec::new();
            for document in missing {
                let kind = document.kind();
                let brought = match (document, &self.source) {
                    (Document::Copied(_), Some(source)) => self.copy_document(kind, source).await?,
                    _ => Some(self.bring_document(document, output).await?),
                };
                let Some((referrer, is_listed)) = brought else {
                    ui.warn(&format!("{id}: {}", self.nothing_to_copy(kind)));
                    continue;
                };
                let attached = Attached { document: kind, digest: referrer.digest.clone(), state: State::New };
                if is_listed {
                    lock(noted).attached.push(attached);
                } else {
                    unlisted.push((referrer, attached));
                }
            }
            if !unlisted.is_empty() {
                let (referrers, attached): (Vec<Referrer>, Vec<Attached>) = unlisted.into_iter().unzip();
                let listed = self.repository.list_by_tag(subject, &referrers, Duration::ZERO).await;
                listed.map_err(|error| self.not_attached(&names, error))?;
                let mut notes = lock(noted);
                notes.attached.extend(attached);
                notes.listed = referrers;
            }
            Ok(())
        };
        let outcome = outcome.await;
        match &outcome {
            Ok(()) => {
                let notes = lock(noted);
                let new = notes.attached.iter().filter(|attached| attached.state == State::New);
                let new: Vec<String> = new.map(|attached| attached.document.to_string()).collect();
                let new = if new.is_empty() { "nothing".to_owned() } else { new.join(" and ") };
                step.done(&format!("{new} to {}@{subject}", self.repository));
            }
            Err(Failure { message, .. }) => step.failed(message),
        }
        outcome
    }

    /// Looks whether the list that this run wrote still has what it added: another run may have written it at the same
    /// moment.
    pub(super) async fn confirm_attached(&self, settle: Duration, noted: &Mutex<Notes>) -> Result<(), Failure> {
        let listed = lock(noted).listed.clone();
        if listed.is_empty() {
            return Ok(());
        }
        let outcome = self.repository.list_by_tag(&self.image.digest, &listed, settle).await;
        outcome.map_err(|error| self.not_attached("what this run made", error))
    }

    /// Copies a document of the image from where the image is copied from; `None` where there is none.
    async fn copy_document(&self, kind: Attachment, source: &Repository) -> Result<Option<(Referrer, bool)>, Failure> {
        let copy = async {
            let found = source.referrers(&self.image.digest).await?;
            let Some(referrer) = there(source, &found, kind).await? else { return Ok(None) };
            let Some(manifest) = source.manifest(ManifestRef::Digest(&referrer.digest)).await? else { return Ok(None) };
            let what = format!("reading the manifest `{source}@{}`", referrer.digest);
            let garbage = |why: String| Error::Garbage { what: what.clone(), why };
            let parsed: OciImageManifest =
                serde_json::from_slice(&manifest.bytes).map_err(|error| garbage(error.to_string()))?;
            let nothing = Arc::new(AtomicU64::new(0));
            for blob in std::iter::once(&parsed.config).chain(parsed.layers.iter().take(1)) {
                let digest: Digest = blob.digest.parse().map_err(|error| garbage(format!("{error}")))?;
                let size = u64::try_from(blob.size).unwrap_or_default();
                self.repository.copy_blob(source, &digest, size, &nothing).await?;
            }
            let is_listed = self.repository.push_referrer(&manifest.bytes, OCI_IMAGE_MEDIA_TYPE).await?;
            Ok(Some((referrer, is_listed)))
        };
        copy.await.map_err(|error| self.not_attached(&kind.to_string(), error))
    }

    fn nothing_to_copy(&self, kind: Attachment) -> String {
        let source = self.source.as_ref().map(ToString::to_string).unwrap_or_default();
        format!(
            "no {kind} is attached to the image in `{source}`, so there is none to copy\n  help: add `attach = [\"sbom\", \
             \"provenance\"]` to the channel that builds it"
        )
    }

    /// Brings a document and its manifest into the repository; whether the registry lists it by itself.
    async fn bring_document(&self, document: &Document, output: &Path) -> Result<(Referrer, bool), Failure> {
        let kind = document.kind();
        let temporary = tempfile::Builder::new().prefix("rhdh-pack-").tempdir();
        let temporary = temporary.map_err(|error| self.not_made(kind, &error))?;
        let empty = file(&temporary, "empty", b"{}").map_err(|error| self.not_made(kind, &error))?;
        let blob = match document {
            Document::Sbom(sbom) => self.sbom(sbom, output)?,
            Document::Copied(_) => return Err(self.not_made(kind, &std::io::Error::other("it is copied from nowhere"))),
            Document::Provenance(provenance) => {
                let statement = provenance.statement(&self.repository.to_string(), &self.image.digest);
                file(&temporary, "statement", &statement).map_err(|error| self.not_made(kind, &error))?
            }
        };
        let annotations = [(DOCUMENT_ANNOTATION.to_owned(), kind.as_str().to_owned())].into();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_IMAGE_MEDIA_TYPE,
            "artifactType": media_type(kind),
            "config": { "mediaType": EMPTY_CONFIG, "digest": empty.digest, "size": empty.size, "data": "e30=" },
            "layers": [{
                "mediaType": media_type(kind), "digest": blob.digest, "size": blob.size,
                "annotations": { "org.opencontainers.image.title": format!("{}.json", kind.as_str()) },
            }],
            "subject": {
                "mediaType": OCI_IMAGE_MEDIA_TYPE, "digest": self.image.digest, "size": self.image.manifest.len(),
            },
            "annotations": annotations,
        });
        let manifest = manifest.to_string().into_bytes();
        let blobs = [empty, blob];
        let failed = |error| self.not_attached(&kind.to_string(), error);
        let mut again = true;
        let is_listed = loop {
            let nothing = Arc::new(AtomicU64::new(0));
            try_join_all(blobs.iter().map(|blob| self.repository.push_blob(blob, &nothing))).await.map_err(failed)?;
            match self.repository.push_referrer(&manifest, OCI_IMAGE_MEDIA_TYPE).await {
                // As with images: a blob was there, and is there no more.
                Err(error) if error.is_missing_blob() && again => {
                    again = false;
                    for blob in &blobs {
                        self.repository.forget_blob(&blob.digest).await;
                    }
                }
                outcome => break outcome.map_err(failed)?,
            }
        };
        let referrer = Referrer {
            media_type: OCI_IMAGE_MEDIA_TYPE.to_owned(),
            digest: Digest::of(&manifest),
            size: manifest.len() as u64,
            artifact_type: media_type(kind).to_owned(),
            annotations,
        };
        Ok((referrer, is_listed))
    }

    /// The SBOM in the output folder. It may come from a job with less rights: it must be there, and speak of this
    /// image. That its bytes are those of its digest is looked at when they are sent.
    fn sbom(&self, sbom: &PackagedSbom, output: &Path) -> Result<BlobFile, Failure> {
        let wrong = |why: String| Failure {
            code: "sbom",
            message: format!("the SBOM `{}`: {why}", sbom.file.display()),
            help: Some("run `rhdh-pack package` again, or copy its whole output folder into this job".to_owned()),
        };
        if !sbom.file.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(wrong("it is not in the output folder".to_owned()));
        }
        let path = output.join(&sbom.file);
        let file = layout::open(&path).map_err(|error| wrong(error.to_string()))?;
        let about: About = serde_json::from_reader(BufReader::new(file.take(sbom.size)))
            .map_err(|error| wrong(format!("it is no CycloneDX document: {error}")))?;
        let image = self.image.digest.hex();
        if about.bom_format != "CycloneDX" || !about.metadata.component.hashes.iter().any(|hash| hash.content == image)
        {
            return Err(wrong(format!("it is not that of the image `{}`", self.image.digest)));
        }
        Ok(BlobFile { digest: sbom.digest.clone(), size: sbom.size, path })
    }

    fn not_made(&self, kind: Attachment, error: &std::io::Error) -> Failure {
        Failure {
            code: "attach",
            message: format!("making the {kind} of `{}`: {error}", self.repository),
            help: Some("look whether the folder for temporary files (`TMPDIR`) is there and has room".to_owned()),
        }
    }

    fn not_attached(&self, what: &str, error: Error) -> Failure {
        let is_refused = matches!(error, Error::Refused { .. } | Error::Garbage { .. });
        let Failure { code, message, help } = Failure::from(error);
        let attached = format!("attaching {what} to `{}@{}`: {message}", self.repository, self.image.digest);
        if !is_refused {
            return Failure { code, message: attached, help };
        }
        let way_out = "let the account write tags that begin with `sha256-`; or, for a registry that takes no attached \
                       documents, set `attach = []` in the channel";
        let help = help.map_or_else(|| way_out.to_owned(), |help| format!("{help}; {way_out}"));
        Failure { code: "attach", message: attached, help: Some(help) }
    }
}

/// The document of this kind that a run of rhdh-pack attached, as a list of `repository` names it.
async fn there(repository: &Repository, found: &Referrers, kind: Attachment) -> Result<Option<Referrer>, Error> {
    let ours = |referrer: &&Referrer| {
        referrer.artifact_type == media_type(kind)
            && referrer.annotations.get(DOCUMENT_ANNOTATION).is_some_and(|name| name == kind.as_str())
    };
    for referrer in found.all.iter().filter(ours) {
        // A list that clients keep may name what the registry has lost.
        let by_digest = ManifestRef::Digest(&referrer.digest);
        if !found.by_tag || repository.manifest_digest(by_digest).await?.is_some() {
            return Ok(Some(referrer.clone()));
        }
    }
    Ok(None)
}

/// Bytes as a file that can be uploaded.
fn file(folder: &TempDir, name: &str, bytes: &[u8]) -> std::io::Result<BlobFile> {
    let path = folder.path().join(name);
    fs_err::write(&path, bytes)?;
    Ok(BlobFile { digest: Digest::of(bytes), size: bytes.len() as u64, path })
}

/// What an SBOM says that it is of.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct About {
    bom_format: String,
    metadata: AboutMetadata,
}

#[derive(Deserialize)]
struct AboutMetadata {
    component: AboutComponent,
}

#[derive(Deserialize)]
struct AboutComponent {
    hashes: Vec<AboutHash>,
}

#[derive(Deserialize)]
struct AboutHash {
    content: String,
}
