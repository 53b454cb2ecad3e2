//! What the registries of a channel already hold: the questions of a plan's survey go out, the answers come back.

use std::collections::{BTreeMap, HashSet};
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::stream::{self, StreamExt as _};

use super::project::ProjectPlugin;
use super::session::Session;
use crate::ci::Event;
use crate::config::{ExportMode, Registry};
use crate::package::Images;
use crate::plan::{CONTENT_KEY_ANNOTATION, ContentKey, Found, Memory, Published, Question};
use crate::registry::{self, ManifestRef};
use crate::report::{ArtifactResult, RunResult};
use crate::ui::with_causes;

/// Artifacts that are asked for at once; requests to one host are limited by the session.
const PARALLEL: usize = 16;

/// Asks every registry of every question. A registry that cannot be asked is left out, and said once.
pub(super) async fn ask(session: &Session, registries: &Arc<registry::Session>, questions: &[Question]) -> Memory {
    let unreachable: Mutex<HashSet<&String>> = Mutex::default();
    let unreachable = &|| unreachable.lock().unwrap_or_else(PoisonError::into_inner);
    let jobs = questions.iter().flat_map(|question| {
        question.registries.iter().map(move |name| async move {
            if unreachable().contains(name) {
                return None;
            }
            let answer = ask_one(session, registries, question, name).await;
            if matches!(answer, Err(registry::Error::Unreachable { .. })) {
                unreachable().insert(name);
            }
            Some((question.image.clone(), name.clone(), answer))
        })
    });
    // A stream of futures made beforehand: each borrows its own question.
    let answers: Vec<_> = stream::iter(jobs.collect::<Vec<_>>()).buffered(PARALLEL).collect().await;
    let mut memory = Memory::default();
    let mut silent = BTreeMap::new();
    for (image, name, answer) in answers.into_iter().flatten() {
        match answer {
            Ok(found) => memory.found.entry(image).or_default().push(found),
            Err(error) => drop(silent.entry(name).or_insert(error)),
        }
    }
    for (name, error) in silent {
        let words = with_causes(&error);
        memory.notes.push(format!("registry `{name}` could not be asked what it holds: {words}"));
    }
    memory
}

/// What the output folder holds of the run before, by the name of the image. Runs in CI have another output folder
/// each.
pub(super) fn of_output_folder(session: &Session) -> Option<BTreeMap<String, ContentKey>> {
    if session.ci.event != Event::Local {
        return None;
    }
    let (before, images) = (session.newest_result(), session.images());
    let packaged = before
        .iter()
        .flat_map(RunResult::artifacts)
        .filter(|artifact| session.is_packaged(artifact, &images) && !is_built_again(session, artifact, &images));
    Some(packaged.filter_map(|artifact| Some((artifact.image_name.clone(), artifact.content_key.clone()?))).collect())
}

/// Whether a build of the user's own touched what `artifact` was packaged from: of the same sources, it may have made
/// other bytes.
fn is_built_again(session: &Session, artifact: &ArtifactResult, images: &Images) -> bool {
    let prebuilt = std::iter::once(&artifact.id)
        .chain(&artifact.members)
        .filter_map(|id| session.project.plugins.get(id).filter(|plugin| plugin.config.export == ExportMode::Prebuilt));
    // The content key has the files that git knows of.
    let is_known = |plugin: &&ProjectPlugin| {
        let folder = plugin.config.path.join("dist-dynamic").unwrap_or_default();
        session.sight.as_ref().is_some_and(|sight| sight.knows_package(&folder))
    };
    let prebuilt = prebuilt.filter(|plugin| !is_known(plugin));
    let mut folders = prebuilt.map(|plugin| session.project.dist_dynamic(plugin)).peekable();
    if folders.peek().is_none() {
        return false;
    }
    let Some(packaged) = session.packaged_at(artifact, images) else { return true };
    folders.any(|folder| {
        let Ok(folder) = folder.canonicalize() else { return false };
        let mut entries = ignore::WalkBuilder::new(folder).standard_filters(false).build();
        entries.any(|entry| {
            let changed = entry.and_then(|entry| entry.metadata());
            changed.map_or(true, |changed| (changed.ctime(), changed.ctime_nsec()) >= packaged)
        })
    })
}

async fn ask_one(
    session: &Session,
    registries: &Arc<registry::Session>,
    question: &Question,
    name: &str,
) -> Result<Found, registry::Error> {
    let mut found = Found { registry: name.to_owned(), ..Found::default() };
    let Some(Registry::Oci { prefix, insecure }) = session.project.config.registries.get(name) else {
        return Ok(found);
    };
    let repository = registries.client(name, prefix, *insecure)?.repository(&question.image).await?;
    let mut own = repository.manifest(ManifestRef::Tag(&question.key_tag)).await?;
    for tag in &question.tags {
        let Some(digest) = repository.manifest_digest(ManifestRef::Tag(tag)).await? else { continue };
        let held = if own.as_ref().is_some_and(|own| own.digest == digest) {
            Some(question.content_key.clone())
        } else {
            let manifest = repository.manifest(ManifestRef::Tag(tag)).await?;
            let annotations = manifest.as_ref().map(|manifest| manifest.annotations()).unwrap_or_default();
            let held = annotations.get(CONTENT_KEY_ANNOTATION).and_then(|key| ContentKey::parse(key));
            // Somebody may have deleted the tag of the key.
            own = own.or(manifest.filter(|_| held.as_ref() == Some(&question.content_key)));
            held
        };
        found.tags.insert(tag.clone(), held);
    }
    found.image = own.map(|own| Published {
        registry: name.to_owned(),
        reference: format!("{repository}@{}", own.digest),
        size: own.size(),
        tags: found
            .tags
            .iter()
            .filter(|(_, held)| held.as_ref() == Some(&question.content_key))
            .map(|(tag, _)| tag.clone())
            .collect(),
        digest: own.digest,
    });
    Ok(found)
}
