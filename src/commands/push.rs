//! `rhdh-pack push`: what was packaged goes to its registries.

use std::collections::BTreeSet;
use std::sync::Arc;

use url::Url;

use super::session::Session;
use super::{Error, Login, PushOptions, attach, base_image, credentials, or_stop, report, tags};
use crate::config::Registry;
use crate::config::channels::ChosenChannel;
use crate::document;
use crate::package::PackagedImage;
use crate::push::{self, ArtifactToPush, PublishedImage};
use crate::registry;
use crate::report::{ArtifactResult, Failure, RunResult, State};
use crate::ui::Ui;

/// A registry by its name in the configuration, and what that stands for.
type Place = (String, Registry);

/// The stage alone: pushes what `result.json` says was packaged.
pub(super) async fn command(session: &Session, channel: Option<&str>, options: &PushOptions) -> Result<u8, Error> {
    let mut result = match session.read_result() {
        // Where nothing is to be built, no stage has left a result.
        Err(Error::Document(document::Error::Missing { .. })) if session.only_copies() => {
            session.new_result(&session.read_plan()?, None)
        }
        read => read?,
    };
    // The result may come from a job with less rights: where it goes is not for it to say.
    let channel = session.channel(channel.unwrap_or(&result.channel))?;
    if result.channel != channel.name {
        // What was up to date for another channel, as in the output folder for one without registries, may not be so
        // here.
        let images = session.images();
        let held = |artifact: &&mut ArtifactResult| {
            artifact.state == State::UpToDate && session.is_packaged(artifact, &images)
        };
        for artifact in result.artifacts_mut().filter(held) {
            artifact.state = State::Packaged;
            artifact.images.clear();
        }
    }
    result.channel.clone_from(&channel.name);
    check_images(session, &result)?;
    let registries = connect_as(session, options.login.as_ref())?;
    if !options.dry_run {
        or_stop(&session.cancel, log_in(session, &channel, &registries, &result)).await?;
    }
    push_unless_dry(session, &channel, &registries, options, &mut result).await?;
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
pub(super) async fn push_unless_dry(
    session: &Session,
    channel: &ChosenChannel,
    registries: &Arc<registry::Session>,
    options: &PushOptions,
    result: &mut RunResult,
) -> Result<(), Error> {
    let dry_run = options.dry_run;
    result.dry_run = dry_run;
    base_image::compare(session, registries, result).await;
    if dry_run {
        for (label, references) in what_would_be_pushed(session, channel, result)? {
            if let Some(artifact) = result.labelled(&label) {
                artifact.would_push = references;
            }
        }
    } else {
        let atomic = options.atomic.unwrap_or(!channel.channel.overwrite);
        push(session, channel, registries, atomic, result).await?;
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
                let tags = tags::of(session, channel, result, artifact)?;
                references.extend(tags.into_iter().map(|tag| format!("{prefix}/{}:{tag}", image.name)));
            }
        }
        all.push((artifact.label(), references));
    }
    Ok(all)
}

/// Whether `artifact` is where the channel wants it: in its registries, or in the output folder where it has none.
pub(super) fn is_done(session: &Session, channel: &ChosenChannel, artifact: &ArtifactResult) -> bool {
    let lacks_nothing = || lacking(session, channel, artifact).is_ok_and(|lacking| lacking.is_empty());
    match artifact.state {
        State::UpToDate => true,
        State::Published => lacks_nothing(),
        State::Packaged => {
            lacks_nothing() && targets(session, channel, artifact).is_ok_and(|targets| targets.is_empty())
        }
        _ => false,
    }
}

/// The registries of the channel that take what was not packaged of `artifact`: it was made for another channel.
fn lacking(session: &Session, channel: &ChosenChannel, artifact: &ArtifactResult) -> Result<Vec<String>, Error> {
    if artifact.is_copied() {
        return Ok(Vec::new());
    }
    let mut all = session.project.config.registries_for(channel, session.declared(artifact)?.registries);
    all.retain(|(_, registry)| match registry {
        Registry::Oci { .. } => artifact.image.is_none(),
        // Bundles are images only.
        _ => artifact.tgz.is_none() && !artifact.is_bundle(),
    });
    Ok(all.into_iter().map(|(name, _)| name).collect())
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
        _ => artifact.tgz.is_some(),
    });
    Ok(targets)
}

/// The image that is pushed: what packaging made, or, of what is copied, where it stands already. That must be one of
/// the registries that the artifact goes to: from nowhere else is anything taken.
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
    connect_as(session, None)
}

/// As [`connect`], with the credentials of `login`, which win.
pub(super) fn connect_as(session: &Session, login: Option<&Login>) -> Result<Arc<registry::Session>, Error> {
    connect_with(session, login, registry::Limits::default(), &session.ui)
}

/// As [`connect_as`], with other limits; what is retried is said on `ui`.
pub(super) fn connect_with(
    session: &Session,
    login: Option<&Login>,
    limits: registry::Limits,
    ui: &Ui,
) -> Result<Arc<registry::Session>, Error> {
    let (variables, origins) = credentials::variables(session, login)?;
    let keychain = registry::Keychain::read(variables, rustix::process::getuid().as_raw()).given_in(origins);
    let authorities = session.project.config.authority_files();
    Ok(registry::Session::trusting(authorities, keychain, limits, ui))
}

/// Logs in to every registry that the run will push to, as far as that can be done without writing, so that a wrong
/// password is found out before anything is built or published, not after.
pub(super) async fn log_in(
    session: &Session,
    channel: &ChosenChannel,
    registries: &Arc<registry::Session>,
    result: &RunResult,
) -> Result<(), Error> {
    let mut failures = Vec::new();
    let mut seen = BTreeSet::new();
    for artifact in result.artifacts().filter(|artifact| artifact.state == State::Planned || goes_on(artifact)) {
        let (declared, package) = (session.declared(artifact)?, package(session, artifact)?);
        for (name, registry) in session.project.config.registries_for(channel, declared.registries) {
            let outcome = async {
                match registry {
                    Registry::Oci { prefix, insecure } => {
                        registries.client(&name, &prefix, insecure)?.repository(declared.image).await?.login().await
                    }
                    // Whether there is a token; forges cannot be asked what it may do.
                    Registry::GitHubRelease { .. } => {
                        registry::Forge::new(registries, registry::ForgeKind::GitHub, &name).map(drop)
                    }
                    Registry::GitLabPackages { .. } => {
                        registry::Forge::new(registries, registry::ForgeKind::GitLab, &name).map(drop)
                    }
                    // What cannot be looked at cannot be published to.
                    Registry::Npm { url: Some(url), .. } => match (Url::parse(&url), &package) {
                        (Ok(url), Some((package, _))) => registry::look_at_npm(registries, &name, &url, package).await,
                        _ => Ok(()),
                    },
                    Registry::Npm { url: None, .. } | Registry::Dir { .. } => Ok(()),
                }
            };
            if seen.insert(name.clone()) {
                failures.extend(outcome.await.err());
            }
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(push::Error::Registries { failures }.into()) }
}

fn is_made(artifact: &ArtifactResult) -> bool {
    artifact.image.is_some() || artifact.tgz.is_some()
}

/// Whether there is something to push. What is up to date has nowhere to go, even where the output folder still holds
/// it.
fn goes_on(artifact: &ArtifactResult) -> bool {
    artifact.state != State::UpToDate && (is_made(artifact) || artifact.is_copied())
}

/// Pushes every artifact of `result` that was packaged, and enters each outcome in it.
pub(super) async fn push(
    session: &Session,
    channel: &ChosenChannel,
    registries: &Arc<registry::Session>,
    atomic: bool,
    result: &mut RunResult,
) -> Result<(), Error> {
    let mut artifacts = Vec::new();
    let failed = result.artifacts().filter(|artifact| artifact.state == State::Failed && !is_made(artifact));
    let mut missing: Vec<String> = failed.map(ArtifactResult::label).collect();
    for artifact in result.artifacts().filter(|artifact| goes_on(artifact)) {
        for name in lacking(session, channel, artifact)? {
            session.ui.warn(&format!(
                "{}: nothing that the registry `{name}` takes was packaged: plan and package it for the channel `{}`",
                artifact.label(),
                channel.name
            ));
        }
        let registries = targets(session, channel, artifact)?;
        let (image, source) = image_of(session, channel, artifact)?;
        // A copy of what is nowhere stays planned, and so fails the run.
        let has_source = !artifact.is_copied() || image.is_some();
        if !has_source {
            missing.push(artifact.label());
        } else if !registries.is_empty() {
            artifacts.push(ArtifactToPush {
                id: artifact.label(),
                image,
                content_key: artifact.content_key.clone(),
                source,
                documents: attach::documents(session, channel, result, artifact)?,
                tgz: artifact.tgz.clone(),
                package: package(session, artifact)?,
                releases: tags::of_releases(session, &registries, result, artifact)?,
                tags: tags::of(session, channel, result, artifact)?,
                registries,
            });
        }
    }
    push_artifacts(session, channel, registries, ToPush { artifacts, missing, atomic }, result).await
}

/// What one push brings to its registries.
pub(super) struct ToPush {
    /// Their ids are labels.
    pub(super) artifacts: Vec<ArtifactToPush>,
    /// The labels of what should be among them and could not be made.
    pub(super) missing: Vec<String>,
    /// Whether one failure keeps every tag where it is.
    pub(super) atomic: bool,
}

/// Pushes what there is, and enters each outcome in `result`.
pub(super) async fn push_artifacts(
    session: &Session,
    channel: &ChosenChannel,
    registries: &Arc<registry::Session>,
    ToPush { artifacts, missing, atomic }: ToPush,
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
        atomic,
        missing,
        dist_tag: if channel.channel.overwrite { channel.name.clone() } else { push::LATEST.to_owned() },
        commit: result.commit.clone(),
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

/// The name and version of the package that an archive is of, as the repository has them.
fn package(session: &Session, artifact: &ArtifactResult) -> Result<Option<(String, String)>, Error> {
    if artifact.is_bundle() {
        return Ok(None);
    }
    let plugin = session.project.plugin(&artifact.id)?;
    let name = plugin.package.manifest.name.clone();
    Ok(name.map(|name| (name, plugin.version.clone())))
}
