//! `rhdh-pack push`: what was packaged goes to its registries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::session::Session;
use super::{Error, attach, base_image, report};
use crate::ci::Event;
use crate::config::Registry;
use crate::config::channels::ChosenChannel;
use crate::config::template::{MissingValue, to_tag};
use crate::document;
use crate::package::PackagedImage;
use crate::plan::ContentKey;
use crate::push::{self, ArtifactToPush, PublishedImage};
use crate::registry;
use crate::report::{ArtifactResult, Failure, RunResult, State};

/// A registry by its name in the configuration, and what that stands for.
type Place = (String, Registry);

/// The stage alone: pushes what `result.json` says was packaged.
pub(super) async fn command(session: &Session, channel: Option<&str>, dry_run: bool) -> Result<u8, Error> {
    let mut result = match session.read_result() {
        // Where nothing is to be built, no stage has left a result.
        Err(Error::Document(document::Error::Missing { .. })) if session.only_copies() => {
            session.new_result(&session.read_plan()?, None)
        }
        read => read?,
    };
    // The result may come from a job with less rights: where it goes is not for it to say.
    let channel = session.channel(channel.unwrap_or(&result.channel))?;
    result.channel.clone_from(&channel.name);
    check_images(session, &result)?;
    push_unless(dry_run, session, &channel, &connect(session)?, &mut result).await?;
    session.write_result(&result)?;
    report::report(session, &result)?;
    Ok(result.exit_code())
}

/// Fails if the result would push an image to another repository than the configuration says.
fn check_images(session: &Session, result: &RunResult) -> Result<(), Error> {
    for artifact in result.artifacts() {
        // What was removed has no image, and is in the configuration no more.
        let Some(image) = &artifact.image else { continue };
        let expected = session.declared(artifact)?.image;
        if image.name != expected {
            let (artifact, expected) = (artifact.label(), expected.to_owned());
            return Err(Error::OtherImage { artifact, found: image.name.clone(), expected });
        }
    }
    Ok(())
}

/// Pushes, and ends the run; or says what would be pushed where.
pub(super) async fn push_unless(
    dry_run: bool,
    session: &Session,
    channel: &ChosenChannel,
    registries: &Arc<registry::Session>,
    result: &mut RunResult,
) -> Result<(), Error> {
    result.dry_run = dry_run;
    base_image::compare(session, registries, result).await;
    if dry_run {
        for (label, references) in what_would_be_pushed(session, channel, result)? {
            if let Some(artifact) = result.labelled(&label) {
                artifact.would_push = references;
            }
        }
    } else {
        push(session, channel, registries, result).await?;
    }
    result.finish(|artifact| {
        let would_be = artifact.state == State::Packaged || artifact.is_copied();
        is_done(session, channel, artifact) || dry_run && would_be
    });
    Ok(())
}

/// For each artifact with an image: the references that a push would give it, by digest first.
fn what_would_be_pushed(
    session: &Session,
    channel: &ChosenChannel,
    result: &RunResult,
) -> Result<Vec<(String, Vec<String>)>, Error> {
    let mut all = Vec::new();
    for artifact in result.artifacts() {
        let Some(image) = image_of(session, channel, artifact)?.0 else { continue };
        let mut references = Vec::new();
        for (_, registry) in targets(session, channel, artifact)? {
            if let Registry::Oci { prefix, .. } = registry {
                references.push(format!("{prefix}/{}@{}", image.name, image.digest));
                let tags = tags(session, channel, result, artifact)?;
                references.extend(tags.into_iter().map(|tag| format!("{prefix}/{}:{tag}", image.name)));
            }
        }
        all.push((artifact.label(), references));
    }
    Ok(all)
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
        Registry::Oci { .. } => artifact.image.is_some() || artifact.is_copied(),
        Registry::Npm { .. } | Registry::Dir { .. } => artifact.tgz.is_some(),
    });
    Ok(targets)
}

/// The image that is pushed: what packaging made, or, of what is copied, where it stands already. That must be one of the
/// registries that the artifact goes to: from nowhere else is anything taken.
fn image_of(
    session: &Session,
    channel: &ChosenChannel,
    artifact: &ArtifactResult,
) -> Result<(Option<PackagedImage>, Option<Place>), Error> {
    if !artifact.is_copied() {
        return Ok((artifact.image.clone(), None));
    }
    let targets = targets(session, channel, artifact)?;
    let found = artifact.images.iter().find_map(|image| {
        let source = targets.iter().find(|(name, _)| *name == image.registry)?;
        let PublishedImage { digest, size, .. } = image.clone();
        Some((digest, size, source.clone()))
    });
    let name = session.declared(artifact)?.image.to_owned();
    Ok(found.map(|(digest, size, source)| (PackagedImage { name, digest, size, files: 0 }, source)).unzip())
}

/// The registries of this run, with the credentials that the environment has for them. Nothing is sent yet.
pub(super) fn connect(session: &Session) -> Result<Arc<registry::Session>, Error> {
    Ok(registry::Session::new(keychain(session)?, registry::Limits::default(), &session.ui))
}

/// The credentials that the environment has for the registries.
pub(super) fn keychain(session: &Session) -> Result<registry::Keychain, Error> {
    let keychain = registry::Keychain::read(variables(session)?, rustix::process::getuid().as_raw());
    Ok(keychain.map_err(|error| push::Error::Registries { failures: vec![registry::Error::from(error)] })?)
}

/// The environment, with `RHDH_PACK_USERNAME` and `RHDH_PACK_PASSWORD` as the credentials of every registry that has none
/// of its own. They go to one host only.
fn variables(session: &Session) -> Result<BTreeMap<String, String>, Error> {
    let text =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut variables: BTreeMap<String, String> = text.collect();
    let own = |name: &str| variables.get(name).filter(|value| !value.is_empty()).cloned();
    let pair = own("RHDH_PACK_USERNAME").zip(own("RHDH_PACK_PASSWORD"));
    if let Some((username, password)) = pair {
        let oci = session.project.config.registries.iter().filter_map(|(name, registry)| match registry {
            Registry::Oci { prefix, .. } => Some((name, prefix.split('/').next().unwrap_or(prefix))),
            _ => None,
        });
        let hosts: BTreeSet<&str> = oci.clone().map(|(_, host)| host).collect();
        if hosts.len() > 1 {
            let (count, hosts) = (hosts.len(), hosts.into_iter().collect::<Vec<_>>().join(", "));
            return Err(Error::SeveralHosts { count, hosts });
        }
        let names = |name: &String| {
            let prefix = registry::variable_prefix(name);
            [format!("{prefix}_USERNAME"), format!("{prefix}_PASSWORD")]
        };
        let names = oci.map(|(name, _)| names(name)).filter(|names| names.iter().all(|name| own(name).is_none()));
        for [name, secret] in names.collect::<Vec<_>>() {
            variables.insert(name, username.clone());
            variables.insert(secret, password.clone());
        }
    }
    let secrets = variables.iter().filter(|(name, _)| name.starts_with("RHDH_PACK_") && name.ends_with("_PASSWORD"));
    secrets.for_each(|(_, secret)| session.ui.mask(secret));
    Ok(variables)
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
    // What is up to date has nowhere to go, even where the output folder still holds it.
    let made = |artifact: &&ArtifactResult| {
        artifact.state != State::UpToDate
            && (artifact.image.is_some() || artifact.tgz.is_some() || artifact.is_copied())
    };
    for artifact in result.artifacts().filter(made) {
        let registries = targets(session, channel, artifact)?;
        let (image, source) = image_of(session, channel, artifact)?;
        // A copy of what is nowhere stays planned, and so fails the run.
        let has_source = !artifact.is_copied() || image.is_some();
        if !registries.is_empty() && has_source {
            artifacts.push(ArtifactToPush {
                id: artifact.label(),
                image,
                source,
                documents: attach::documents(session, channel, result, artifact)?,
                tgz: artifact.tgz.clone(),
                tags: tags(session, channel, result, artifact)?,
                registries,
            });
        }
    }
    push_artifacts(session, channel, registries, artifacts, result).await
}

/// Pushes `artifacts`, whose ids are labels, and enters each outcome in `result`.
pub(super) async fn push_artifacts(
    session: &Session,
    channel: &ChosenChannel,
    registries: &Arc<registry::Session>,
    artifacts: Vec<ArtifactToPush>,
    result: &mut RunResult,
) -> Result<(), Error> {
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
        sign: channel.channel.sign,
        session: Arc::clone(registries),
    };
    for pushed in push::push(&request, &session.ui, &session.cancel).await? {
        let Some(artifact) = result.labelled(&pushed.id) else { continue };
        artifact.timings.push = Some(pushed.seconds);
        // What could not be copied is still where it was.
        if !(artifact.is_copied() && pushed.images.is_empty()) {
            artifact.images = pushed.images;
        }
        artifact.files = pushed.files;
        artifact.npm = pushed.packages;
        // The code and the help are those of the first registry; each registry's message is there.
        let messages: Vec<&str> = pushed.failures.iter().map(|failure| failure.message.as_str()).collect();
        let message = messages.join("\n");
        match pushed.failures.into_iter().next() {
            None => {
                artifact.state = State::Published;
                artifact.error = None;
            }
            Some(first) => {
                let (code, help) = (first.code, first.help);
                artifact.fail(Failure { code, message, help, log: None, log_tail: Vec::new() });
            }
        }
    }
    Ok(())
}

/// Makes every tag of the run, so that a channel whose tags have no value here fails before anything is built.
pub(super) fn check_tags(session: &Session, channel: &ChosenChannel, result: &RunResult) -> Result<(), Error> {
    let mut planned = result.artifacts().filter(|artifact| artifact.state == State::Planned);
    planned.try_for_each(|artifact| tags(session, channel, result, artifact).map(drop))
}

/// The channel's tags for `artifact`, and the tag of its content key, by which later plans find it.
pub(super) fn tags(
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
        self.tags_on(&session.ci.event, session, channel)
    }

    /// The tags that `channel` writes on the occasion `event`.
    pub(super) fn tags_on(
        &self,
        event: &Event,
        session: &Session,
        channel: &ChosenChannel,
    ) -> Result<Vec<String>, MissingValue> {
        let value = |name: &str| match name {
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
        };
        channel.channel.tags.iter().map(|tag| Ok(to_tag(&tag.render(value)?))).collect()
    }
}
