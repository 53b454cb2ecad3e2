//! What a pull request's images are compared with: those that the channel of its target branch has in the registries.

use std::sync::Arc;

use futures_util::future::join_all;
use serde::Deserialize;

use super::push::Named;
use super::session::Session;
use crate::ci::Event;
use crate::config::Registry;
use crate::config::channels::{Because, ChosenChannel};
use crate::registry::{self, ManifestRef};
use crate::report::result::BaseImage;
use crate::report::{ArtifactResult, RunResult};

/// The part of an image's manifest that says how large it is.
#[derive(Deserialize)]
struct Sizes {
    config: Blob,
    layers: Vec<Blob>,
}

#[derive(Deserialize)]
struct Blob {
    size: u64,
}

/// Enters the base channel's image of each artifact in `result`. What cannot be asked is left out: it is only shown.
pub(super) async fn compare(session: &Session, registries: &Arc<registry::Session>, result: &mut RunResult) {
    let (Event::PullRequest { .. }, Some(branch)) = (&session.ci.event, session.ci.compare.default_branch.clone())
    else {
        return;
    };
    let Ok(base) = session.project.config.channel_for(&Event::Push { branch }, None) else { return };
    if base.because != Because::Matched || base.name == result.channel {
        return;
    }
    let found = {
        let with_image = result.artifacts().filter(|artifact| artifact.image.is_some());
        let questions = with_image
            .map(async |artifact| (artifact.label(), ask(session, registries, &base, result, artifact).await));
        join_all(questions.collect::<Vec<_>>()).await
    };
    for (label, image) in found {
        if let Some(artifact) = result.labelled(&label) {
            artifact.base_image = image;
        }
    }
}

async fn ask(
    session: &Session,
    registries: &Arc<registry::Session>,
    base: &ChosenChannel,
    result: &RunResult,
    artifact: &ArtifactResult,
) -> Option<BaseImage> {
    let declared = session.declared(artifact).ok()?;
    let named = Named {
        image: declared.image,
        version: &artifact.version,
        backstage: session.backstage(artifact),
        commit: None,
        started: result.started,
    };
    // The tag without the version, where there is one, is the last: `["next__{version}", "next"]`.
    let tag = named.tags(session, base).ok()?.pop()?;
    let targets = session.project.config.registries_for(base, declared.registries);
    let (name, prefix, insecure) = targets.iter().find_map(|(name, registry)| match registry {
        Registry::Oci { prefix, insecure } => Some((name, prefix, *insecure)),
        _ => None,
    })?;
    let repository = registries.client(name, prefix, insecure).ok()?.repository(declared.image).await.ok()?;
    let manifest = repository.manifest(ManifestRef::Tag(&tag)).await.ok()??;
    let sizes: Sizes = serde_json::from_slice(&manifest.bytes).ok()?;
    let blobs = sizes.layers.iter().map(|layer| layer.size).fold(sizes.config.size, u64::saturating_add);
    let size = blobs.saturating_add(manifest.bytes.len() as u64);
    Some(BaseImage { reference: format!("{prefix}/{}:{tag}", declared.image), size })
}
