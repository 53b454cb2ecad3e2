//! The tags that a run writes: the channel's, rendered for each artifact, and those of releases.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Error;
use super::session::Session;
use crate::ci::{Event, is_commit};
use crate::config::Registry;
use crate::config::channels::ChosenChannel;
use crate::config::template::{MissingValue, to_tag};
use crate::plan::ContentKey;
use crate::report::{ArtifactResult, RunResult, State};

/// Makes every tag of the run, so that a channel whose tags have no value here fails before anything is built.
pub(super) fn check(session: &Session, channel: &ChosenChannel, result: &RunResult) -> Result<(), Error> {
    // What is there already is asked for by its tags: those that cannot be made would never be missed.
    let is_wanted = |artifact: &&ArtifactResult| matches!(artifact.state, State::Planned | State::UpToDate);
    result.artifacts().filter(is_wanted).try_for_each(|artifact| {
        of(session, channel, result, artifact)?;
        let own = session.declared(artifact)?.registries;
        of_releases(session, &session.project.config.registries_for(channel, own), result, artifact).map(drop)
    })
}

/// The tags of the releases on GitHub among `registries` that `artifact` goes to, by the registry's name.
pub(super) fn of_releases(
    session: &Session,
    registries: &[(String, Registry)],
    result: &RunResult,
    artifact: &ArtifactResult,
) -> Result<BTreeMap<String, String>, Error> {
    // A bundle has no archive, and so no place in a release.
    let registries = registries.iter().filter(|_| !artifact.is_bundle());
    let mut releases = BTreeMap::new();
    for (name, registry) in registries {
        let Registry::GitHubRelease { tag, .. } = registry else { continue };
        let tag = match (tag, &session.ci.event) {
            (Some(template), _) => {
                let named = named(session, result, artifact)?;
                template.render(|variable| named.value(&session.ci.event, session, variable)).map_err(|source| {
                    Error::ReleaseTag { registry: name.clone(), artifact: artifact.label(), source: Some(source) }
                })?
            }
            (None, Event::Tag { name }) => name.clone(),
            (None, _) => {
                let (registry, artifact) = (name.clone(), artifact.label());
                return Err(Error::ReleaseTag { registry, artifact, source: None });
            }
        };
        releases.insert(name.clone(), tag);
    }
    Ok(releases)
}

/// The channel's tags for `artifact`, and the tag of its content key, by which later plans find it.
pub(super) fn of(
    session: &Session,
    channel: &ChosenChannel,
    result: &RunResult,
    artifact: &ArtifactResult,
) -> Result<Vec<String>, Error> {
    let tags = named(session, result, artifact)?.tags(session, channel).map_err(|source| Error::Tag {
        channel: channel.name.clone(),
        artifact: artifact.label(),
        source,
    })?;
    Ok(artifact.content_key.as_ref().map(ContentKey::tag).into_iter().chain(tags).collect())
}

/// The result may be of a job that anybody's code ran in: what the checkout says, it must say, too.
fn named<'a>(session: &'a Session, result: &'a RunResult, artifact: &'a ArtifactResult) -> Result<Named<'a>, Error> {
    let declared = session.declared(artifact)?;
    if artifact.version != declared.version {
        let (found, wanted) = (artifact.version.clone(), declared.version.to_owned());
        return Err(Error::OtherVersion { artifact: artifact.label(), found, wanted });
    }
    Ok(Named {
        image: declared.image,
        version: declared.version,
        backstage: session.backstage(artifact),
        commit: result.commit.as_deref().filter(|commit| is_commit(commit)),
        started: result.started,
    })
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
        self.tags_on(&session.ci.event, session, channel)
    }

    /// The tags that `channel` writes on the occasion `event`.
    pub(super) fn tags_on(
        &self,
        event: &Event,
        session: &Session,
        channel: &ChosenChannel,
    ) -> Result<Vec<String>, MissingValue> {
        let value = |name: &str| self.value(event, session, name);
        channel.channel.tags.iter().map(|tag| Ok(to_tag(&tag.render(value)?))).collect()
    }

    /// The value of a template's variable, where it has one on the occasion `event`.
    fn value(&self, event: &Event, session: &Session, name: &str) -> Option<String> {
        match name {
            "name" => Some(self.image.to_owned()),
            "version" => Some(self.version.to_owned()),
            "backstage" => self.backstage.clone(),
            "rhdh" => Some(session.project.config.rhdh.version.clone()),
            "pr" => match event {
                Event::PullRequest { number } => Some(number.to_string()),
                _ => None,
            },
            "branch" => session.ci.branch.clone(),
            "sha" => self.commit.map(str::to_owned),
            "short-sha" => self.commit.and_then(|sha| sha.get(..7)).map(str::to_owned),
            "date" => Some(self.started.strftime("%Y%m%d").to_string()),
            _ => None,
        }
    }
}
