//! One image on its way to one repository.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use indicatif::HumanBytes;
use oci_client::manifest::OCI_IMAGE_MEDIA_TYPE;

use super::State;
use super::attach::Document;
use super::layout::Image;
use super::notes::{Failure, Notes};
use super::sign::Signing;
use crate::digest::Digest;
use crate::plan::{CONTENT_KEY_ANNOTATION, ContentKey};
use crate::registry::{BlobFile, Error, ManifestRef, Repository, Upload};
use crate::ui::Ui;

/// One image on its way to one repository.
pub(super) struct ImageJob {
    pub(super) image: Image,
    /// Where the image stands, where it is not in the layout.
    pub(super) source: Option<Repository>,
    pub(super) repository: Repository,
    pub(super) tags: Vec<String>,
    /// Whether a new tag of the content key may come with the manifest.
    pub(super) key_first: bool,
    /// Bytes of manifest, config and layers.
    pub(super) size: u64,
    /// What is attached to it.
    pub(super) documents: Vec<Document>,
    /// Whether and how it is signed.
    pub(super) signing: Option<Signing>,
}

impl ImageJob {
    /// Looks where the tags point. Notes those that are as they should be.
    pub(super) async fn check(&self, overwrite: bool, noted: &Mutex<Notes>) -> Result<(), Failure> {
        let found =
            try_join_all(self.tags.iter().map(|tag| self.repository.manifest_digest(ManifestRef::Tag(tag)))).await?;
        for (tag, found) in self.tags.iter().zip(found) {
            match found {
                Some(digest) if digest == self.image.digest => {
                    let mut notes = lock(noted);
                    notes.tags.push(tag.clone());
                    notes.state = Some(State::AlreadyThere);
                }
                Some(digest) if !may_move(tag, overwrite) => return Err(self.conflict(tag, &digest).await),
                Some(digest) => _ = lock(noted).before.insert(tag.clone(), digest),
                None => {}
            }
        }
        Ok(())
    }

    /// Brings the image into the repository, by digest.
    pub(super) async fn upload(&self, id: &str, ui: &Ui, noted: &Mutex<Notes>) -> Result<(), Failure> {
        let by_digest = ManifestRef::Digest(&self.image.digest);
        // Where no tag is, there is hardly an image: then its blobs are looked for at once.
        let (there, may_be_there) = {
            let notes = lock(noted);
            (notes.state.is_some(), self.tags.is_empty() || !notes.before.is_empty())
        };
        let there = there || (may_be_there && self.repository.manifest_digest(by_digest).await?.is_some());
        if there {
            lock(noted).state = Some(State::AlreadyThere);
            ui.verbose(&format!("{id}: `{}@{}` is there already", self.repository, self.image.digest));
            return Ok(());
        }
        let step = ui.step(id, "push");
        let progress = Arc::new(AtomicU64::new(0));
        let tag = self.first_tag(noted);
        let name = tag.map_or(ManifestRef::Digest(&self.image.digest), |tag| ManifestRef::Tag(tag));
        let work = async { self.bring(name, &progress).await.map_err(Failure::from) };
        let mut work = std::pin::pin!(work);
        let outcome = loop {
            match tokio::time::timeout(Duration::from_millis(200), &mut work).await {
                Ok(outcome) => break outcome,
                Err(_) => step.progress(progress.load(Ordering::Relaxed).min(self.size), self.size),
            }
        };
        match &outcome {
            Ok(()) => {
                let mut notes = lock(noted);
                notes.state = Some(State::New);
                notes.tags.extend(tag.cloned());
                notes.moved.extend(tag.map(|tag| (tag.clone(), None)));
                drop(notes);
                let uploaded = HumanBytes(progress.load(Ordering::Relaxed));
                step.done(&format!("{uploaded} to {}@{}", self.repository, self.image.digest));
            }
            Err(failure) => step.failed(&failure.message),
        }
        outcome
    }

    /// The tag of the content key, where it names the image from the start, which saves a request: it moves nothing, and
    /// publishes no version.
    fn first_tag(&self, noted: &Mutex<Notes>) -> Option<&String> {
        let notes = lock(noted);
        let is_new = |tag: &&String| !notes.before.contains_key(*tag) && !notes.tags.contains(tag);
        self.tags.iter().filter(|_| self.key_first).find(|tag| ContentKey::is_tag(tag)).filter(is_new)
    }

    /// Brings the blobs, then the manifest under this `name`.
    async fn bring(&self, name: ManifestRef<'_>, progress: &Arc<AtomicU64>) -> Result<(), Error> {
        let mut again = true;
        loop {
            try_join_all(self.image.blobs.iter().map(|blob| self.bring_blob(blob, progress))).await?;
            match self.repository.push_manifest(name, &self.image.manifest, OCI_IMAGE_MEDIA_TYPE).await {
                // A blob that was there when it was looked for is there no more (garbage collection): once more.
                Err(error) if error.is_missing_blob() && again => {
                    again = false;
                    for blob in &self.image.blobs {
                        self.repository.forget_blob(&blob.digest).await;
                    }
                }
                outcome => return outcome,
            }
        }
    }

    async fn bring_blob(&self, blob: &BlobFile, progress: &Arc<AtomicU64>) -> Result<Upload, Error> {
        match &self.source {
            Some(source) => self.repository.copy_blob(source, &blob.digest, blob.size, progress).await,
            None => self.repository.push_blob(blob, progress).await,
        }
    }

    /// Moves the tags that are not there yet, in their order.
    pub(super) async fn tag(&self, id: &str, overwrite: bool, ui: &Ui, noted: &Mutex<Notes>) -> Result<(), Failure> {
        let placed = lock(noted).tags.clone();
        let missing: Vec<&String> = self.tags.iter().filter(|tag| !placed.contains(tag)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let step = ui.step(id, "tag");
        for tag in &missing {
            let before = lock(noted).before.get(*tag).cloned().filter(|_| !overwrite);
            if let Some(before) = before {
                ui.note(&format!("{id}: `{tag}` moves from `{before}`, which was made from the same inputs"));
            }
            if let Err(failure) = self.move_tag(tag, overwrite, noted).await {
                step.failed(&failure.message);
                return Err(self.with_the_rest(failure, noted));
            }
            let before = lock(noted).before.get(*tag).cloned().filter(|_| ContentKey::is_tag(tag));
            if let Some(before) = before {
                ui.warn(&format!(
                    "{id}: the same content was built again, with another outcome: the tag `{tag}` of `{}` was \
                     `{before}`, and is `{}` now",
                    self.repository, self.image.digest
                ));
            }
        }
        let names: Vec<_> = missing.iter().map(|tag| tag.as_str()).collect();
        step.done(&format!("{} at {}", names.join(", "), self.repository));
        Ok(())
    }

    async fn move_tag(&self, tag: &str, overwrite: bool, noted: &Mutex<Notes>) -> Result<(), Failure> {
        // Another run may have published since the check. Registries know no "only if it is not there", so a moment
        // stays open: `confirm` looks again.
        if !may_move(tag, overwrite)
            && let Some(found) = self.repository.manifest_digest(ManifestRef::Tag(tag)).await?
            && found != self.image.digest
        {
            return Err(self.conflict(tag, &found).await);
        }
        lock(noted).moving = Some(tag.to_owned());
        let outcome =
            self.repository.push_manifest(ManifestRef::Tag(tag), &self.image.manifest, OCI_IMAGE_MEDIA_TYPE).await;
        let mut notes = lock(noted);
        if outcome.is_ok() {
            notes.moving = None;
            notes.tags.push(tag.to_owned());
            let before = notes.before.get(tag).cloned();
            notes.moved.push((tag.to_owned(), before));
        }
        Ok(outcome?)
    }

    /// Looks whether the tags that this run moved are where it moved them: another run may have been faster, or the
    /// registry may have said more than it did. The tag of the content key publishes nothing: it is not looked at again.
    pub(super) async fn confirm(&self, overwrite: bool, noted: &Mutex<Notes>) -> Result<(), Failure> {
        let moved = lock(noted).moved.clone();
        let mut failure = None;
        for (tag, before) in moved.iter().filter(|(tag, _)| !ContentKey::is_tag(tag)) {
            let found = self.repository.manifest_digest(ManifestRef::Tag(tag)).await?;
            if found.as_ref() == Some(&self.image.digest) {
                continue;
            }
            lock(noted).tags.retain(|placed| placed != tag);
            match found {
                // Another run moved it on, as it may.
                Some(found) if may_move(tag, overwrite) && before.as_ref() != Some(&found) => {}
                Some(found) if !may_move(tag, overwrite) => failure = Some(self.conflict(tag, &found).await),
                _ => {
                    failure = Some(Failure {
                        code: "tag-lost",
                        message: format!(
                            "the registry said that it moved the tag `{tag}` of `{}`, and did not",
                            self.repository
                        ),
                        help: Some("run the command again".to_owned()),
                    });
                }
            }
        }
        failure.map_or(Ok(()), |failure| Err(self.with_the_rest(failure, noted)))
    }

    /// Adds to a failure which tags were not moved.
    fn with_the_rest(&self, mut failure: Failure, noted: &Mutex<Notes>) -> Failure {
        let notes = lock(noted);
        let left: Vec<_> =
            self.tags.iter().filter(|tag| !notes.tags.contains(tag)).map(|tag| format!("`{tag}`")).collect();
        failure.message = format!("{}; not moved: {}", failure.message, left.join(", "));
        failure
    }

    async fn conflict(&self, tag: &str, found: &Digest) -> Failure {
        let published = self.repository.manifest(ManifestRef::Digest(found)).await.ok().flatten();
        let published = published.map(|manifest| manifest.annotations()).unwrap_or_default();
        let key = |annotations: &BTreeMap<String, String>| annotations.get(CONTENT_KEY_ANNOTATION).cloned();
        let help = if key(&published).is_some() && key(&published) == key(&self.image.annotations) {
            let repository = self.repository.to_string();
            let name = repository.rsplit('/').next().unwrap_or_default();
            format!(
                "the same content was built twice, with two outcomes: `rhdh-pack diff oci://{repository}@{found} \
                 oci:.rhdh-pack/oci:{name}` shows what differs; leave what is published, or raise the plugin's version"
            )
        } else {
            "raise the plugin's version; or, where the channel's tags may move, set `overwrite = true` in it".to_owned()
        };
        Failure {
            code: "tag-exists",
            message: format!(
                "the tag `{tag}` of `{}` is `{found}`{}, and this run made `{}`{}",
                self.repository,
                about(&published),
                self.image.digest,
                about(&self.image.annotations)
            ),
            help: Some(help),
        }
    }
}

/// ` (version 1.0.0, content key 12ab…)`, as far as an image says so.
fn about(annotations: &BTreeMap<String, String>) -> String {
    // Words of an image that anybody may have pushed.
    let word = |text: &String| text.chars().filter(|character| !character.is_control()).take(128).collect::<String>();
    let version = annotations.get("org.opencontainers.image.version").map(|text| format!("version {}", word(text)));
    let key = annotations.get(CONTENT_KEY_ANNOTATION).map(|key| format!("content key {}", word(key)));
    let parts: Vec<String> = version.into_iter().chain(key).collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

/// The tag of a content key is rhdh-pack's own: it names what was made last from the same inputs, in every channel.
fn may_move(tag: &str, overwrite: bool) -> bool {
    overwrite || ContentKey::is_tag(tag)
}

pub(super) fn lock(noted: &Mutex<Notes>) -> MutexGuard<'_, Notes> {
    noted.lock().unwrap_or_else(PoisonError::into_inner)
}
