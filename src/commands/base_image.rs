//! What a pull request's images are compared with: those that the channel of the branch which it is to be merged into
//! has in the registries.

use std::sync::Arc;

use futures_util::future::join_all;

use super::session::Session;
use super::tags::Named;
use crate::ci::Event;
use crate::config::Registry;
use crate::config::channels::{Because, ChosenChannel};
use crate::registry::{self, ManifestRef};
use crate::report::result::BaseImage;
use crate::report::{ArtifactResult, RunResult};

/// Enters the base channel's image of each artifact in `result`. What cannot be asked is left out: it is only shown.
pub(super) async fn compare(session: &Session, registries: &Arc<registry::Session>, result: &mut RunResult) {
    let compare = &session.ci.compare;
    // A run after the run of a pull request is not told its branch: most are for the default one.
    let into = compare.into.clone().or_else(|| compare.default_branch.clone());
    let (Event::PullRequest { .. }, Some(branch)) = (&session.ci.event, into) else { return };
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
    let tags = named.tags(session, base).ok()?;
    let targets = session.project.config.registries_for(base, declared.registries);
    let (name, prefix, insecure) = targets.iter().find_map(|(name, registry)| match registry {
        Registry::Oci { prefix, insecure } => Some((name, prefix, *insecure)),
        _ => None,
    })?;
    // Reading is enough, and all that the run of a pull request may do there.
    let repository = registries.client(name, prefix, insecure).ok()?.repository_to_read(declared.image).await.ok()?;
    // The tag without the version, where there is one, is the last: `["next__{version}", "next"]`. Where the pull
    // request raises the version, only that one is there.
    for tag in tags.iter().rev() {
        if let Some(manifest) = repository.manifest(ManifestRef::Tag(tag)).await.ok()? {
            let reference = format!("{prefix}/{}:{tag}", declared.image);
            return Some(BaseImage { reference, size: manifest.size() });
        }
    }
    None
}
