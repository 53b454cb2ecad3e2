//! Repositories of any OCI registry.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::{Kept, Mode, Order, Pruned, all_go, is_key, others, whole_images_help};
use crate::digest::Digest;
use crate::registry::{Deleted, Error, Manifest, ManifestRef, Repository};
use crate::ui::with_causes;

/// Questions to one registry at once; the session limits them, too.
const PARALLEL: usize = 8;

/// Deletes what `order` says. One tag's failure does not keep the others.
///
/// # Errors
/// When the tags cannot be listed; nothing was deleted then.
pub async fn prune_repository(repository: &Repository, order: &Order<'_>) -> Result<Pruned, Error> {
    let tags = repository.tags().await?;
    let mut doomed: BTreeSet<String> = tags.iter().filter(|tag| !is_key(tag) && (order.goes)(tag)).cloned().collect();
    let mut work = Work {
        repository,
        order,
        tags,
        holders: None,
        alone: None,
        lost: false,
        gone: BTreeSet::new(),
        pruned: Pruned::default(),
    };
    if doomed.is_empty() || order.mode == Mode::Look {
        work.pruned.deleted = doomed.iter().map(|tag| work.reference(tag)).collect();
        return Ok(work.pruned);
    }
    if order.keys {
        let keys = work.keys(&doomed).await?;
        doomed.extend(keys);
    }
    let subjects = work.subjects(&doomed).await?;
    for tag in doomed.iter().take_while(|_| !order.stop.is_cancelled()) {
        if let Err(error) = work.delete(tag, &doomed).await {
            let help = miette::Diagnostic::help(&error).map(|help| help.to_string());
            work.keep(tag, with_causes(&error), help);
        }
    }
    // What has gone has gone: it is said, whatever comes after.
    if let Err(error) = work.delete_attached(subjects).await {
        work.keep("sha256-…", with_causes(&error), None);
    }
    Ok(work.pruned)
}

pub(super) struct Work<'a> {
    pub(super) repository: &'a Repository,
    pub(super) order: &'a Order<'a>,
    pub(super) tags: Vec<String>,
    /// The tags of each image, once somebody wanted to know.
    pub(super) holders: Option<BTreeMap<Digest, Vec<String>>>,
    /// Whether the registry deletes tags alone; `None`: nobody has tried yet.
    pub(super) alone: Option<bool>,
    /// Whether it deleted more than it was asked for: then it is asked for nothing more.
    lost: bool,
    /// The tags that are gone.
    pub(super) gone: BTreeSet<String>,
    pub(super) pruned: Pruned,
}

impl Work<'_> {
    async fn delete(&mut self, tag: &str, doomed: &BTreeSet<String>) -> Result<(), Error> {
        // With a whole image, its other tags have gone.
        if self.gone.contains(tag) {
            return Ok(());
        }
        if self.order.mode == Mode::DryRun || self.alone != Some(false) && self.delete_alone(tag, doomed).await? {
            self.went(tag);
            return Ok(());
        }
        if self.lost {
            return Ok(());
        }
        self.delete_image(tag, doomed).await
    }

    /// Deletes a tag, and nothing else. The first time, the tags of the same image that stay are looked at afterwards:
    /// there are registries that delete the image. False where the registry does not delete tags alone.
    async fn delete_alone(&mut self, tag: &str, doomed: &BTreeSet<String>) -> Result<bool, Error> {
        let before = match self.alone {
            None => self.image_and_others(tag, doomed).await?,
            Some(_) => None,
        };
        if self.repository.delete(ManifestRef::Tag(tag)).await? == Deleted::Unsupported {
            self.alone = Some(false);
            return Ok(false);
        }
        let Some((manifest, others)) = before else { return Ok(true) };
        let mut lost = Vec::new();
        let mut not_restored = None;
        for other in &others {
            let by_tag = ManifestRef::Tag(other);
            if self.repository.manifest_digest(by_tag).await?.is_none() {
                // Its blobs are there until the registry collects garbage.
                let restored = self.repository.push_manifest(by_tag, &manifest.bytes, &manifest.media_type).await;
                not_restored = not_restored.or(restored.err());
                lost.push(format!("`{other}`"));
            }
        }
        if let Some(error) = not_restored {
            (self.alone, self.lost) = (Some(false), true);
            return Err(error);
        }
        if lost.is_empty() {
            self.alone = Some(true);
            return Ok(true);
        }
        self.alone = Some(false);
        let why = format!(
            "the registry deleted the whole image when it was asked to delete one tag; {} was put back",
            lost.join(", ")
        );
        let help = "tell the registry's administrators; until then, let its own retention rules delete tags";
        self.keep(tag, why, Some(help.to_owned()));
        self.lost = true;
        Ok(false)
    }

    /// The image under `tag`, and its tags that stay, if it has some.
    async fn image_and_others(
        &mut self,
        tag: &str,
        doomed: &BTreeSet<String>,
    ) -> Result<Option<(Manifest, Vec<String>)>, Error> {
        let Some(manifest) = self.repository.manifest(ManifestRef::Tag(tag)).await? else { return Ok(None) };
        let mut others = self.holders().await?.get(&manifest.digest).cloned().unwrap_or_default();
        others.retain(|other| !doomed.contains(other));
        Ok((!others.is_empty()).then_some((manifest, others)))
    }

    /// Deletes the whole image under `tag`, if all of its tags are to go.
    async fn delete_image(&mut self, tag: &str, doomed: &BTreeSet<String>) -> Result<(), Error> {
        let by_tag = ManifestRef::Tag(tag);
        let Some(digest) = self.repository.manifest_digest(by_tag).await? else {
            self.went(tag);
            return Ok(());
        };
        // What was pushed since the last look counts, too.
        self.tags = self.repository.tags().await?;
        self.holders = None;
        let holders = self.holders().await?.get(&digest).cloned().unwrap_or_default();
        if !all_go(&holders, doomed, self.order.keys) {
            let why =
                format!("the registry deletes whole images only, and {} holds the same one", others(&holders, doomed));
            self.keep(tag, why, whole_images_help(&holders, doomed));
            return Ok(());
        }
        if self.repository.delete(ManifestRef::Digest(&digest)).await? == Deleted::Unsupported {
            let why = "the registry deletes neither tags nor images".to_owned();
            let help = "switch deletion on (distribution: `REGISTRY_STORAGE_DELETE_ENABLED=true`), or use the registry's own retention rules";
            self.keep(tag, why, Some(help.to_owned()));
            return Ok(());
        }
        holders.iter().for_each(|tag| self.went(tag));
        self.holders = None;
        Ok(())
    }

    /// The tags of content keys that hold nothing but what goes.
    async fn keys(&mut self, doomed: &BTreeSet<String>) -> Result<Vec<String>, Error> {
        let holders = self.holders().await?.values();
        let going = holders.filter(|tags| tags.iter().any(|tag| doomed.contains(tag)) && all_go(tags, doomed, true));
        Ok(going.flatten().filter(|tag| is_key(tag)).cloned().collect())
    }

    /// Which tags hold which image.
    pub(super) async fn holders(&mut self) -> Result<&BTreeMap<Digest, Vec<String>>, Error> {
        if self.holders.is_none() {
            let repository = self.repository;
            let looks = self.tags.iter().map(|tag| async move {
                Ok::<_, Error>((tag.clone(), repository.manifest_digest(ManifestRef::Tag(tag)).await?))
            });
            let found: Vec<_> = stream::iter(looks.collect::<Vec<_>>()).buffered(PARALLEL).try_collect().await?;
            let mut holders: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
            for (tag, digest) in found {
                if let Some(digest) = digest {
                    holders.entry(digest).or_default().push(tag);
                }
            }
            self.holders = Some(holders);
        }
        Ok(self.holders.get_or_insert_default())
    }

    fn went(&mut self, tag: &str) {
        self.pruned.deleted.push(self.reference(tag));
        self.gone.insert(tag.to_owned());
    }

    pub(super) fn keep(&mut self, tag: &str, why: String, help: Option<String>) {
        let reference = self.reference(tag);
        self.pruned.kept.push(Kept { reference, why, help });
    }

    pub(super) fn reference(&self, tag: &str) -> String {
        format!("{}:{tag}", self.repository)
    }
}
