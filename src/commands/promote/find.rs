//! Looking up what is to be promoted: the image under the one channel's tags, made of the sources as they stand here.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::Error;
use super::super::session::Session;
use super::super::tags::{self, Named};
use super::PromoteError;
use super::differences::OtherContent;
use crate::ci::Event;
use crate::config::Registry;
use crate::config::channels::ChosenChannel;
use crate::digest::Digest;
use crate::package::PackagedImage;
use crate::plan::{Action, CONTENT_KEY_ANNOTATION, ContentKey};
use crate::push::{ArtifactToPush, Document, PublishedImage};
use crate::registry::{self, Manifest, ManifestRef, Repository};
use crate::report::{ArtifactResult, Failure, RunResult, State};

/// An image that was found.
struct Source {
    registry: (String, Registry),
    manifest: Manifest,
}

/// What of a run to promote everything needs.
pub(super) struct Promotion<'a> {
    pub(super) session: &'a Session,
    /// The occasion on which the images were made.
    pub(super) tested: &'a Event,
    pub(super) from: &'a ChosenChannel,
    pub(super) to: &'a ChosenChannel,
    pub(super) registries: &'a Arc<registry::Session>,
}

impl Promotion<'_> {
    /// What is to be pushed. What cannot be promoted has failed; in a channel whose tags may not move, all has then.
    pub(super) async fn find_all(&self, result: &mut RunResult) -> Result<Vec<ArtifactToPush>, Error> {
        let planned: Vec<ArtifactResult> =
            result.artifacts().filter(|artifact| artifact.state == State::Planned).cloned().collect();
        let mut artifacts = Vec::new();
        let mut failed = None;
        for artifact in planned {
            let label = artifact.label();
            let outcome = self.find(&artifact, result).await?;
            let Some(entry) = result.labelled(&label) else { continue };
            match outcome {
                Ok(Some(source)) => {
                    let image = PackagedImage {
                        name: artifact.image_name.clone(),
                        digest: source.manifest.digest.clone(),
                        size: source.manifest.size(),
                        files: 0,
                    };
                    (entry.image, entry.state) = (Some(image.clone()), State::Packaged);
                    let registries = self.oci(self.to, &artifact)?;
                    let tags = tags::of(self.session, self.to, result, &artifact)?;
                    let source = Some(source.registry);
                    artifacts.push(ArtifactToPush {
                        id: label,
                        image: Some(image),
                        content_key: None,
                        source,
                        // This run did not build it: what was attached by the one that did goes along.
                        documents: self.to.channel.attach.iter().map(|kind| Document::Copied(*kind)).collect(),
                        tgz: None,
                        package: None,
                        releases: BTreeMap::new(),
                        tags,
                        registries,
                    });
                }
                Ok(None) => {
                    (entry.action, entry.state) = (Action::Skip, State::UpToDate);
                }
                Err(failure) => {
                    entry.fail(failure);
                    failed.get_or_insert(label);
                }
            }
        }
        if let Some(failed) = failed.filter(|_| !self.to.channel.overwrite) {
            for artifact in artifacts.drain(..) {
                let message = format!("nothing was promoted, because `{failed}` cannot be");
                let Some(entry) = result.labelled(&artifact.id) else { continue };
                entry.fail(Failure::new("held-back", message, None));
            }
        }
        Ok(artifacts)
    }

    /// The image to promote; `None` where the channel has it already, under all of its tags.
    async fn find(
        &self,
        artifact: &ArtifactResult,
        result: &mut RunResult,
    ) -> Result<Result<Option<Source>, Failure>, Error> {
        let Some(key) = &artifact.content_key else { return Ok(Err(no_key())) };
        let target = tags::of(self.session, self.to, result, artifact)?;
        match self.published(artifact, &target).await? {
            Ok(Some(images)) => {
                if let Some(entry) = result.labelled(&artifact.label()) {
                    entry.images = images;
                }
                return Ok(Ok(None));
            }
            Ok(None) => {}
            Err(error) => return Ok(Err(Failure::of(&error))),
        }
        let declared = self.session.declared(artifact)?;
        let named = Named {
            image: declared.image,
            version: &artifact.version,
            backstage: self.session.backstage(artifact),
            commit: result.commit.as_deref(),
            started: result.started,
        };
        let tags = named.tags_on(self.tested, self.session, self.from).map_err(|source| {
            if source.variable == "pr" {
                return Error::from(PromoteError::NoPullRequest { template: source.template });
            }
            Error::Tag { channel: self.from.name.clone(), artifact: artifact.label(), source }
        })?;
        self.look(artifact, key, &tags).await
    }

    /// The image under one of `tags`, made of what `key` stands for.
    async fn look(
        &self,
        artifact: &ArtifactResult,
        key: &ContentKey,
        tags: &[String],
    ) -> Result<Result<Option<Source>, Failure>, Error> {
        let mut looked_for = Vec::new();
        let mut others = Vec::new();
        for (name, registry) in self.oci(self.from, artifact)? {
            let repository = match self.repository(&name, &registry, artifact).await {
                Ok(repository) => repository,
                Err(error) => return Ok(Err(Failure::of(&error))),
            };
            for tag in tags {
                let manifest = match repository.manifest(ManifestRef::Tag(tag)).await {
                    Ok(manifest) => manifest,
                    Err(error) => return Ok(Err(Failure::of(&error))),
                };
                let reference = format!("{repository}:{tag}");
                let Some(manifest) = manifest else {
                    looked_for.push(format!("`{reference}`"));
                    continue;
                };
                let annotations = manifest.annotations();
                let made_of = annotations.get(CONTENT_KEY_ANNOTATION).and_then(|text| ContentKey::parse(text));
                if made_of.as_ref() != Some(key) {
                    others.push(OtherContent {
                        reference,
                        image: format!("{repository}@{}", manifest.digest),
                        made_of,
                    });
                    continue;
                }
                // Two images of one content, one of them under the tag of the key: somebody else's, perhaps.
                return Ok(match repository.manifest_digest(ManifestRef::Tag(&key.tag())).await {
                    Ok(Some(other)) if other != manifest.digest => {
                        Err(two_images(&reference, key, &manifest.digest, &other))
                    }
                    Ok(_) => Ok(Some(Source { registry: (name, registry), manifest })),
                    Err(error) => Err(Failure::of(&error)),
                });
            }
        }
        Ok(Err(match others.first() {
            Some(other) => self.other_content(artifact, other, key).await,
            None => not_found(self.from, self.to, &looked_for),
        }))
    }

    /// The images in the channel's registries, if each has it under all `tags`.
    async fn published(
        &self,
        artifact: &ArtifactResult,
        tags: &[String],
    ) -> Result<Result<Option<Vec<PublishedImage>>, registry::Error>, Error> {
        let mut images = Vec::new();
        for (name, registry) in self.oci(self.to, artifact)? {
            let image = async {
                let repository = self.repository(&name, &registry, artifact).await?;
                let Some((first, others)) = tags.split_first() else { return Ok(None) };
                let Some(manifest) = repository.manifest(ManifestRef::Tag(first)).await? else { return Ok(None) };
                for tag in others {
                    if repository.manifest_digest(ManifestRef::Tag(tag)).await?.as_ref() != Some(&manifest.digest) {
                        return Ok(None);
                    }
                }
                Ok(Some(PublishedImage {
                    registry: name.clone(),
                    reference: format!("{repository}@{}", manifest.digest),
                    size: manifest.size(),
                    digest: manifest.digest,
                    // As the plan has it: the channel's, without that of the content key.
                    tags: others.to_vec(),
                    attached: Vec::new(),
                    signed: false,
                    state: crate::push::State::AlreadyThere,
                }))
            };
            match image.await {
                Ok(Some(image)) => images.push(image),
                Ok(None) => return Ok(Ok(None)),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(Some(images)))
    }

    async fn repository(
        &self,
        name: &str,
        registry: &Registry,
        artifact: &ArtifactResult,
    ) -> Result<Repository, registry::Error> {
        let Registry::Oci { prefix, insecure } = registry else { unreachable!("only OCI registries are asked for") };
        self.registries.client(name, prefix, *insecure)?.repository_to_read(&artifact.image_name).await
    }

    /// The OCI registries of a channel for `artifact`.
    fn oci(&self, channel: &ChosenChannel, artifact: &ArtifactResult) -> Result<Vec<(String, Registry)>, Error> {
        let own = self.session.declared(artifact)?.registries;
        let mut registries = self.session.project.config.registries_for(channel, own);
        registries.retain(|(_, registry)| matches!(registry, Registry::Oci { .. }));
        Ok(registries)
    }

    /// Enters where `artifact` would be pushed.
    pub(super) fn would_push(&self, artifact: &ArtifactToPush, result: &mut RunResult) -> Result<(), Error> {
        let Some(image) = &artifact.image else { return Ok(()) };
        let prefixes = artifact.registries.iter().filter_map(|(_, registry)| match registry {
            Registry::Oci { prefix, .. } => Some(format!("{prefix}/{}", image.name)),
            _ => None,
        });
        let references = prefixes.flat_map(|name| {
            let tagged = artifact.tags.iter().map(|tag| format!("{name}:{tag}")).collect::<Vec<_>>();
            std::iter::once(format!("{name}@{}", image.digest)).chain(tagged)
        });
        let references = references.collect();
        if let Some(entry) = result.labelled(&artifact.id) {
            entry.would_push = references;
        }
        Ok(())
    }
}

fn no_key() -> Failure {
    let help = "run `rhdh-pack plan --all`: it says why";
    Failure::new("promote-no-key", "its content key cannot be worked out".to_owned(), Some(help.to_owned()))
}

fn not_found(from: &ChosenChannel, to: &ChosenChannel, looked_for: &[String]) -> Failure {
    let message = match looked_for {
        [] => format!("channel `{}` has no OCI registry for it", from.name),
        tags => format!("channel `{}` has no image of it: {} not there", from.name, tags.join(", ")),
    };
    let help = format!(
        "promote from the channel that built these sources, after its run has ended; or build: `rhdh-pack run --channel {}`",
        to.name
    );
    Failure::new("promote-not-found", message, Some(help))
}

fn two_images(reference: &str, key: &ContentKey, tagged: &Digest, other: &Digest) -> Failure {
    let message = format!(
        "`{reference}` is `{tagged}`, and the same repository has `{other}` for the same sources (`{}`)",
        key.tag()
    );
    let help = "find out who pushed which; then delete the other one's tags, or run the channel again on these sources";
    Failure::new("promote-two-images", message, Some(help.to_owned()))
}
