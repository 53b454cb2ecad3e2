//! `rhdh-pack push`: what was packaged goes to its registries.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::session::Session;
use super::{Error, report};
use crate::ci::Event;
use crate::config::Registry;
use crate::config::channels::ChosenChannel;
use crate::config::template::{MissingValue, to_tag};
use crate::plan::ContentKey;
use crate::push::{self, ArtifactToPush};
use crate::registry;
use crate::report::{ArtifactResult, Failure, RunResult, State};

/// The stage alone: pushes what `result.json` says was packaged.
pub(super) async fn command(session: &Session) -> Result<u8, Error> {
    let mut result = session.read_result()?;
    let channel = session.channel(&result.channel)?;
    push(session, &channel, &connect(session)?, &mut result).await?;
    result.finish(|artifact| is_done(session, &channel, artifact));
    session.write_result(&result)?;
    report::report(session, &result)?;
    Ok(result.exit_code())
}

/// Whether `artifact` is where the channel wants it: in its registries, or in the output folder where it has none.
pub(super) fn is_done(session: &Session, channel: &ChosenChannel, artifact: &ArtifactResult) -> bool {
    match artifact.state {
        State::Published | State::UpToDate => true,
        State::Packaged => targets(session, channel, artifact).is_ok_and(|targets| targets.is_empty()),
        _ => false,
    }
}

/// The registries of the channel that take what `artifact` is: images go to OCI registries, archives to the others.
fn targets(
    session: &Session,
    channel: &ChosenChannel,
    artifact: &ArtifactResult,
) -> Result<Vec<(String, Registry)>, Error> {
    let mut targets = session.project.config.registries_for(channel, session.declared(artifact)?.registries);
    targets.retain(|(_, registry)| match registry {
        Registry::Oci { .. } => artifact.image.is_some(),
        Registry::Npm { .. } | Registry::Dir { .. } => artifact.tgz.is_some(),
    });
    Ok(targets)
}

/// The registries of this run, with the credentials that the environment has for them. Nothing is sent yet.
pub(super) fn connect(session: &Session) -> Result<Arc<registry::Session>, Error> {
    let keychain = registry::Keychain::from_env()
        .map_err(|error| push::Error::Registries { failures: vec![registry::Error::from(error)] })?;
    Ok(registry::Session::new(keychain, registry::Limits::default(), &session.ui))
}

/// Logs in to every OCI registry that the run will push to, so that a wrong password is found out before anything is
/// built, not after.
pub(super) async fn log_in(
    session: &Session,
    channel: &ChosenChannel,
    registries: &Arc<registry::Session>,
    result: &RunResult,
) -> Result<(), Error> {
    let mut failures = Vec::new();
    let mut seen = BTreeSet::new();
    for artifact in result.artifacts().filter(|artifact| artifact.state == State::Planned) {
        let declared = session.declared(artifact)?;
        for (name, registry) in session.project.config.registries_for(channel, declared.registries) {
            let Registry::Oci { prefix, insecure } = registry else { continue };
            if seen.insert(name.clone()) {
                let outcome = async {
                    registries.client(&name, &prefix, insecure)?.repository(declared.image).await?.login().await
                };
                failures.extend(outcome.await.err());
            }
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(push::Error::Registries { failures }.into()) }
}

/// Pushes every artifact of `result` that was packaged, and enters each outcome in it.
pub(super) async fn push(
    session: &Session,
    channel: &ChosenChannel,
    registries: &Arc<registry::Session>,
    result: &mut RunResult,
) -> Result<(), Error> {
    let mut artifacts = Vec::new();
    for artifact in result.artifacts().filter(|artifact| artifact.image.is_some() || artifact.tgz.is_some()) {
        let registries = targets(session, channel, artifact)?;
        if !registries.is_empty() {
            artifacts.push(ArtifactToPush {
                id: artifact.label(),
                image: artifact.image.clone(),
                source: None,
                tgz: artifact.tgz.clone(),
                tags: tags(session, channel, result, artifact)?,
                registries,
            });
        }
    }
    if artifacts.is_empty() {
        return Ok(());
    }
    let request = push::Request {
        output: session.out.clone(),
        root: session.project.config.root.clone(),
        artifacts,
        overwrite: channel.channel.overwrite,
        atomic: !channel.channel.overwrite,
        dist_tag: if channel.channel.overwrite { channel.name.clone() } else { "latest".to_owned() },
        session: Arc::clone(registries),
    };
    for pushed in push::push(&request, &session.ui, &session.cancel).await? {
        let Some(artifact) = result.labelled(&pushed.id) else { continue };
        artifact.timings.push = Some(pushed.seconds);
        artifact.images = pushed.images;
        artifact.files = pushed.files;
        match pushed.failures.into_iter().next() {
            None => {
                artifact.state = State::Published;
                artifact.error = None;
            }
            Some(failure) => artifact.fail(Failure {
                code: failure.code.to_owned(),
                message: failure.message,
                help: failure.help,
                log: None,
            }),
        }
    }
    Ok(())
}

/// Makes every tag of the run, so that a channel whose tags have no value here fails before anything is built.
pub(super) fn check_tags(session: &Session, channel: &ChosenChannel, result: &RunResult) -> Result<(), Error> {
    result.artifacts().try_for_each(|artifact| tags(session, channel, result, artifact).map(drop))
}

/// The channel's tags for `artifact`, and the tag of its content key, by which later plans find it.
fn tags(
    session: &Session,
    channel: &ChosenChannel,
    result: &RunResult,
    artifact: &ArtifactResult,
) -> Result<Vec<String>, Error> {
    let declared = session.declared(artifact)?;
    let named = Named {
        image: declared.image,
        version: &artifact.version,
        backstage: session.backstage(artifact),
        commit: result.commit.as_deref(),
        started: result.started,
    };
    let tags = named.tags(session, channel).map_err(|source| Error::Tag {
        channel: channel.name.clone(),
        artifact: artifact.label(),
        source,
    })?;
    Ok(artifact.content_key.as_ref().map(ContentKey::tag).into_iter().chain(tags).collect())
}

/// What the tags of one artifact are made from, besides the channel and the occasion.
pub(super) struct Named<'a> {
    pub(super) image: &'a str,
    pub(super) version: &'a str,
    pub(super) backstage: Option<String>,
    pub(super) commit: Option<&'a str>,
    pub(super) started: Timestamp,
}

impl Named<'_> {
    pub(super) fn tags(&self, session: &Session, channel: &ChosenChannel) -> Result<Vec<String>, MissingValue> {
        let value = |name: &str| match name {
            "name" => Some(self.image.to_owned()),
            "version" => Some(self.version.to_owned()),
            "backstage" => self.backstage.clone(),
            "rhdh" => Some(session.project.config.rhdh.version.clone()),
            "pr" => match session.ci.event {
                Event::PullRequest { number } => Some(number.to_string()),
                _ => None,
            },
            "branch" => session.ci.branch.clone(),
            "sha" => self.commit.map(str::to_owned),
            "short-sha" => self.commit.and_then(|sha| sha.get(..7)).map(str::to_owned),
            "date" => Some(self.started.strftime("%Y%m%d").to_string()),
            _ => None,
        };
        channel.channel.tags.iter().map(|tag| Ok(to_tag(&tag.render(value)?))).collect()
    }
}
