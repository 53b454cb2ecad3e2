//! What the registries of a channel already hold: the questions of a plan's survey go out, the answers come back.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};

use super::session::Session;
use crate::config::Registry;
use crate::plan::{CONTENT_KEY_ANNOTATION, ContentKey, Found, Memory, Question};
use crate::registry::{self, ManifestRef};

/// Artifacts that are asked for at once; requests to one host are limited by the session.
const PARALLEL: usize = 16;

/// Asks every registry of every question. A registry that cannot be asked is left out, and said once.
pub(super) async fn ask(session: &Session, registries: &Arc<registry::Session>, questions: &[Question]) -> Memory {
    let jobs = questions.iter().flat_map(|question| {
        question.registries.iter().map(move |name| async move {
            (question.id.clone(), name.clone(), ask_one(session, registries, question, name).await)
        })
    });
    // A stream of futures made beforehand: each borrows its own question.
    let answers: Vec<_> = stream::iter(jobs.collect::<Vec<_>>()).buffered(PARALLEL).collect().await;
    let mut memory = Memory::default();
    let mut silent = BTreeMap::new();
    for (id, name, answer) in answers {
        match answer {
            Ok(found) => memory.found.entry(id).or_default().push(found),
            Err(error) => drop(silent.entry(name).or_insert(error)),
        }
    }
    for (name, error) in silent {
        let mut words = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            words.push_str(&format!(": {error}"));
            cause = error.source();
        }
        memory.notes.push(format!("registry `{name}` could not be asked what it holds: {words}"));
    }
    memory
}

async fn ask_one(
    session: &Session,
    registries: &Arc<registry::Session>,
    question: &Question,
    name: &str,
) -> Result<Found, registry::Error> {
    let mut found = Found { registry: name.to_owned(), ..Found::default() };
    let project = &session.project;
    let plugin = project.plugins.get(&question.id).map(|plugin| &plugin.image);
    let image = plugin.or_else(|| project.bundles.get(&question.id).map(|bundle| &bundle.config.image));
    let (Some(image), Some(Registry::Oci { prefix, insecure })) = (image, project.config.registries.get(name)) else {
        return Ok(found);
    };
    let repository = registries.client(name, prefix, *insecure)?.repository(image).await?;
    let own = repository.manifest_digest(ManifestRef::Tag(&question.key_tag)).await?;
    found.has_key = own.is_some();
    for tag in &question.tags {
        let Some(digest) = repository.manifest_digest(ManifestRef::Tag(tag)).await? else { continue };
        let held = if own.as_ref() == Some(&digest) {
            Some(question.content_key.clone())
        } else {
            let manifest = repository.manifest(ManifestRef::Tag(tag)).await?;
            let annotations = manifest.map(|manifest| manifest.annotations()).unwrap_or_default();
            annotations.get(CONTENT_KEY_ANNOTATION).and_then(|key| ContentKey::parse(key))
        };
        found.tags.insert(tag.clone(), held);
    }
    Ok(found)
}
