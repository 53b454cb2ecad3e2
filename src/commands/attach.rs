//! What is attached to an image: the SBOM that packaging left, and what this run knows of the build.

use serde::Serialize;
use serde_json::{Value, json};

use super::Error;
use super::session::Session;
use crate::ci::Provider;
use crate::ci::run::Run;
use crate::config::Attachment;
use crate::config::channels::ChosenChannel;
use crate::push::{Document, Provenance};
use crate::report::{ArtifactResult, RunResult};

/// The documents that the channel wants for `artifact`; none where it has no image.
pub(super) fn documents(
    session: &Session,
    channel: &ChosenChannel,
    result: &RunResult,
    artifact: &ArtifactResult,
) -> Result<Vec<Document>, Error> {
    let wanted = channel.channel.attach.iter().filter(|_| artifact.image.is_some());
    let document = |attachment: &Attachment| match attachment {
        Attachment::Sbom => {
            let sbom = artifact.sbom.clone().ok_or_else(|| Error::NoSbom { artifact: artifact.label() })?;
            Ok(Document::Sbom(sbom))
        }
        Attachment::Provenance => Ok(Document::Provenance(Box::new(provenance(session, channel, result, artifact)?))),
    };
    wanted.map(document).collect()
}

fn provenance(
    session: &Session,
    channel: &ChosenChannel,
    result: &RunResult,
    artifact: &ArtifactResult,
) -> Result<Provenance, Error> {
    let Run { builder, repository, reference, url } = Run::from_env();
    // The result may come from a job with less rights, or from a run for another repository: the CI has to agree.
    let ci = &session.ci;
    let says_nothing = matches!(ci.provider, Provider::Local | Provider::Other);
    let is_said =
        |commit: &&String| says_nothing || [&ci.sha, &ci.compare.head].iter().any(|said| said.as_ref() == Some(commit));
    let commit = result.commit.as_ref().filter(is_said).cloned();
    let members = if artifact.is_bundle() { artifact.members.as_slice() } else { std::slice::from_ref(&artifact.id) };
    let plugins = result.plugins.iter().filter(|plugin| members.contains(&plugin.id));
    let mut rhdh_cli: Vec<String> = plugins.filter_map(|plugin| plugin.rhdh_cli.clone()).collect();
    rhdh_cli.sort_unstable();
    rhdh_cli.dedup();
    Ok(Provenance {
        builder,
        run: url,
        repository: repository.filter(|_| commit.is_some()),
        reference: reference.filter(|_| commit.is_some()),
        commit,
        parameters: parameters(session, channel, artifact, members)?,
        content_key: artifact.content_key.as_ref().map(ToString::to_string),
        rhdh_cli,
        started: Some(result.started),
        finished: result.finished,
    })
}

/// SLSA's external parameters: all that somebody can choose, as the configuration has it in effect.
fn parameters(
    session: &Session,
    channel: &ChosenChannel,
    artifact: &ArtifactResult,
    members: &[String],
) -> Result<Value, Error> {
    let project = &session.project;
    let plugins = members.iter().map(|id| Ok(project.plugin(id)?.config.clone())).collect::<Result<Vec<_>, Error>>()?;
    let rhdh = &project.config.rhdh;
    let mut parameters = json!({
        "channel": channel.name,
        "version": artifact.version,
        "rhdh": { "version": rhdh.version, "cli": rhdh.cli },
        "plugins": plugins,
    });
    if artifact.is_bundle() {
        parameters["bundle"] = value(&project.bundle(&artifact.id)?.config);
    }
    without_nothing(&mut parameters);
    Ok(parameters)
}

/// Strings, lists and maps of strings: nothing that JSON cannot hold.
fn value(config: &impl Serialize) -> Value {
    serde_json::to_value(config).unwrap_or_default()
}

/// Leaves out what is not set.
fn without_nothing(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(without_nothing);
            let is_nothing = |value: &Value| match value {
                Value::Null => true,
                Value::Array(values) => values.is_empty(),
                Value::Object(fields) => fields.is_empty(),
                _ => false,
            };
            fields.retain(|_, value| !is_nothing(value));
        }
        Value::Array(values) => values.iter_mut().for_each(without_nothing),
        _ => {}
    }
}
