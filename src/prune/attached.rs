//! What is attached to images by tags: lists of documents (OCI distribution spec, referrers tag schema: `sha256-<hex>`)
//! and the signatures of cosign 2 (`sha256-<hex>.sig`). It goes with the last tag of its image, and not before.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Mode;
use super::repository::Work;
use crate::digest::Digest;
use crate::registry::{Deleted, Error, ManifestRef, Referrer, Repository};
use crate::ui::with_causes;

/// What attached documents say that they are attached to, by their tag.
pub(super) fn subject(tag: &str) -> Option<Digest> {
    let (hex, suffix) = tag.strip_prefix("sha256-")?.split_at_checked(64)?;
    let is_known = matches!(suffix, "" | ".sig" | ".att" | ".sbom");
    format!("sha256:{hex}").parse().ok().filter(|_| is_known)
}

impl Work<'_> {
    /// The images with a tag in `doomed` that something is attached to by a tag, and all of their tags.
    pub(super) async fn subjects(&mut self, doomed: &BTreeSet<String>) -> Result<BTreeMap<Digest, Vec<String>>, Error> {
        let subjects: BTreeSet<Digest> = self.tags.iter().filter_map(|tag| subject(tag)).collect();
        if subjects.is_empty() {
            return Ok(BTreeMap::new());
        }
        let holders = self.holders().await?.iter();
        let going =
            holders.filter(|(digest, tags)| subjects.contains(digest) && tags.iter().any(|tag| doomed.contains(tag)));
        Ok(going.map(|(digest, tags)| (digest.clone(), tags.clone())).collect())
    }

    /// Deletes what is attached to those of `subjects` whose tags have all gone.
    pub(super) async fn delete_attached(&mut self, subjects: BTreeMap<Digest, Vec<String>>) -> Result<(), Error> {
        let is_gone = |tags: &[String]| tags.iter().all(|tag| self.gone.contains(tag));
        let mut next: Vec<Digest> =
            subjects.into_iter().filter(|(_, tags)| is_gone(tags)).map(|(digest, _)| digest).collect();
        if next.is_empty() {
            return Ok(());
        }
        let deletes = self.order.mode == Mode::Delete;
        if deletes {
            // Somebody may have tagged one of them since.
            self.tags = self.repository.tags().await?;
            self.holders = None;
        }
        let holders = self.holders().await?.clone();
        next.retain(|digest| !deletes || !holders.contains_key(digest));
        let mut seen = BTreeSet::new();
        while let Some(digest) = next.pop() {
            if !seen.insert(digest.clone()) {
                continue;
            }
            let tags: Vec<String> =
                self.tags.iter().filter(|tag| subject(tag).as_ref() == Some(&digest)).cloned().collect();
            for tag in tags {
                match self.delete_one(&tag, &digest, &holders).await {
                    // What is attached to a document, its signature perhaps, goes with it.
                    Ok(documents) => next.extend(documents),
                    Err(error) => {
                        let help = miette::Diagnostic::help(&error).map(|help| help.to_string());
                        self.keep(&tag, with_causes(&error), help);
                    }
                }
            }
        }
        Ok(())
    }

    /// Deletes what `tag` has attached to `subject`, or says what it would: the documents that a list names, which are
    /// returned, and then the tag.
    async fn delete_one(
        &mut self,
        tag: &str,
        subject: &Digest,
        holders: &BTreeMap<Digest, Vec<String>>,
    ) -> Result<Vec<Digest>, Error> {
        let Some(own) = self.repository.manifest_digest(ManifestRef::Tag(tag)).await? else { return Ok(Vec::new()) };
        let dry_run = self.order.mode == Mode::DryRun;
        let mut documents = Vec::new();
        // Signatures have no list.
        if !tag.contains('.') {
            for Referrer { digest, .. } in self.repository.referrers(subject).await?.all {
                if holders.contains_key(&digest) || !is_attached(self.repository, &digest, subject).await? {
                    continue;
                }
                if dry_run || self.repository.delete(ManifestRef::Digest(&digest)).await? == Deleted::Gone {
                    self.pruned.attached.push(format!("{}@{digest}", self.repository));
                    documents.push(digest);
                }
            }
        }
        if dry_run {
            self.pruned.attached.push(self.reference(tag));
            return Ok(documents);
        }
        let alone = holders.get(&own).is_none_or(|tags| tags.iter().all(|other| other == tag));
        let by_tag = self.alone != Some(false) && self.repository.delete(ManifestRef::Tag(tag)).await? == Deleted::Gone;
        if by_tag || alone && self.repository.delete(ManifestRef::Digest(&own)).await? == Deleted::Gone {
            self.pruned.attached.push(self.reference(tag));
        }
        Ok(documents)
    }
}

/// Whether a document is there and names `subject` itself: a list may say anything.
pub(super) async fn is_attached(repository: &Repository, document: &Digest, subject: &Digest) -> Result<bool, Error> {
    let Some(manifest) = repository.manifest(ManifestRef::Digest(document)).await? else { return Ok(false) };
    let json: Value = serde_json::from_slice(&manifest.bytes).unwrap_or_default();
    Ok(json.pointer("/subject/digest").and_then(Value::as_str) == Some(subject.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_name_their_subject() {
        let hex = "a".repeat(64);
        let digest: Digest = format!("sha256:{hex}").parse().unwrap();
        for (tag, is) in [
            (format!("sha256-{hex}"), true),
            (format!("sha256-{hex}.sig"), true),
            (format!("sha256-{hex}.exe"), false),
            (format!("sha256-{hex}0"), false),
            (format!("sha256-{}", "A".repeat(64)), false),
            (format!("sha256-{}", "a".repeat(63)), false),
            ("sha256-ä".to_owned(), false),
            (hex.clone(), false),
        ] {
            assert_eq!(subject(&tag), is.then(|| digest.clone()), "{tag}");
        }
    }
}
