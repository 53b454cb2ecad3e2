//! `rhdh-pack package`: images and archives of every plugin and bundle that is to be built.

use std::path::PathBuf;
use std::sync::Arc;

use super::session::Session;
use super::{Error, report};
use crate::config::Registry;
use crate::config::channels::ChosenChannel;
use crate::config::template::to_tag;
use crate::doctor::listed;
use crate::document;
use crate::package::deliver::{self, Delivery, Destination};
use crate::package::{self, Allowance, ArtifactRequest, Member};
use crate::plan::{Action, CONTENT_KEY_ANNOTATION, Plan, PlannedPlugin};
use crate::report::{ArtifactResult, Failure, RunResult, State};

/// The stage alone: packages what was exported, or what is planned where nothing was exported here.
pub(super) fn command(session: &Session, jobs: Option<usize>, destinations: &[Destination]) -> Result<u8, Error> {
    let mut result = match session.read_result() {
        Err(Error::Document(document::Error::Missing { .. })) => session.new_result(&session.read_plan()?, None),
        read => read?,
    };
    // What failed here before may have been mended; what could not be exported is still not there.
    for artifact in result.artifacts_mut().filter(|artifact| artifact.state == State::Failed) {
        if artifact.is_bundle() || artifact.timings.export.is_none() || artifact.timings.package.is_some() {
            artifact.state = State::Planned;
            artifact.error = None;
        }
    }
    package(session, jobs, &mut result, |_| true)?;
    result.finish(|artifact| artifact.state == State::Packaged || artifact.is_copied());
    session.write_result(&result)?;
    deliver(session, destinations, &result)?;
    report::report(session, &result)?;
    Ok(result.exit_code())
}

/// Brings the images that are in the output folder, be they of this run or of one before, to each destination, under
/// the image's name and the artifact's version.
fn deliver(session: &Session, destinations: &[Destination], result: &RunResult) -> Result<(), Error> {
    if destinations.is_empty() {
        return Ok(());
    }
    let wanted = result.artifacts().filter(|artifact| !matches!(artifact.state, State::Failed | State::Removed));
    let images = session.images();
    let (here, elsewhere): (Vec<_>, Vec<_>) = wanted.partition(|artifact| session.is_packaged(artifact, &images));
    if !elsewhere.is_empty() {
        let ids = listed(elsewhere.iter().map(|artifact| artifact.id.as_str()));
        session.ui.warn(&format!("packaged neither now nor before, so none of the outputs has it: {ids}"));
    }
    if here.is_empty() {
        return Ok(());
    }
    let deliveries: Vec<Delivery> = here
        .into_iter()
        .filter_map(|artifact| {
            let image = artifact.image.as_ref()?.name.clone();
            let reference = format!("{image}:{}", to_tag(&artifact.version));
            Some(Delivery { image, reference })
        })
        .collect();
    for destination in destinations {
        deliver::deliver(&session.out, &deliveries, destination)?;
    }
    Ok(())
}

/// Packages what of `result` is to be built, has not failed, and is wanted; enters each outcome in it.
pub(super) fn package(
    session: &Session,
    jobs: Option<usize>,
    result: &mut RunResult,
    wanted: impl Fn(&ArtifactResult) -> bool,
) -> Result<(), Error> {
    fail_bundles_of_failed_members(result);
    let channel = session.channel(&result.channel)?;
    let artifacts = result
        .artifacts()
        .filter(|artifact| {
            matches!(artifact.state, State::Planned | State::Exported | State::Packaged | State::Published)
        })
        .filter(|artifact| !artifact.is_copied() && wanted(artifact))
        .map(|artifact| request(session, &channel, artifact))
        .collect::<Result<Vec<_>, Error>>()?;
    if artifacts.is_empty() {
        return Ok(());
    }
    let request = package::Request {
        output: session.out.clone(),
        artifacts,
        rhdh: vec![session.project.config.rhdh.version.clone()],
        threads: jobs.unwrap_or(0),
        blocks: Arc::clone(&session.blocks),
        time: package::source_date_epoch()?,
    };
    for packaged in package::package(&request, &session.ui, &session.cancel)? {
        let Some(artifact) = result.labelled(&packaged.id) else { continue };
        artifact.timings.package = Some(packaged.seconds);
        // What an earlier packaging made, and where that was pushed, says nothing of this one.
        artifact.images.clear();
        artifact.files.clear();
        artifact.npm.clear();
        (artifact.image, artifact.sbom, artifact.tgz) = (None, None, None);
        artifact.packages.clear();
        match packaged.outcome {
            Ok(made) => {
                artifact.state = State::Packaged;
                artifact.image = made.image;
                artifact.sbom = made.sbom;
                artifact.tgz = made.tgz;
                artifact.packages = made.packages;
                artifact.findings = made.findings;
            }
            Err(failure) => {
                artifact.findings = failure.findings;
                artifact.fail(Failure {
                    code: failure.code,
                    message: failure.message,
                    help: failure.help,
                    log: None,
                    log_tail: Vec::new(),
                })
            }
        }
    }
    Ok(())
}

/// What to make of one plugin or bundle: for the registries of its own, and for those of the channel.
fn request(session: &Session, channel: &ChosenChannel, artifact: &ArtifactResult) -> Result<ArtifactRequest, Error> {
    let project = &session.project;
    let members = if artifact.is_bundle() { artifact.members.as_slice() } else { std::slice::from_ref(&artifact.id) };
    let members = members
        .iter()
        .map(|id| {
            let plugin = project.plugin(id)?;
            let dist_dynamic = project.dist_dynamic(plugin);
            Ok(Member { plugin: id.clone(), dir: plugin.image.clone(), dist_dynamic })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let declared = session.declared(artifact)?;
    // An image for OCI registries, a tgz for npm registries and folders; both where it goes nowhere.
    let is_oci = |name: &String| matches!(project.config.registries.get(name), Some(Registry::Oci { .. }));
    let of_channel = channel.channel.registries.iter().flatten();
    let registries: Vec<&String> = declared.registries.iter().chain(of_channel).collect();
    let nowhere = registries.is_empty();
    let mut annotations = declared.annotations.clone();
    if let Some(key) = &artifact.content_key {
        annotations.insert(CONTENT_KEY_ANNOTATION.to_owned(), key.to_string());
    }
    Ok(ArtifactRequest {
        id: artifact.label(),
        image: declared.image.to_owned(),
        version: artifact.version.clone(),
        members,
        labels: declared.labels.clone(),
        annotations,
        artifact_type: declared.artifact_type.map(str::to_owned),
        level: level(declared.compression_level),
        allow: Allowance::of(declared.allow),
        image_wanted: artifact.is_bundle() || nowhere || registries.iter().any(|name| is_oci(name)),
        tgz: !artifact.is_bundle() && (nowhere || !registries.iter().all(|name| is_oci(name))),
    })
}

/// The folders that the exports of `plan` will make, and the compression level of their plugins.
pub(super) fn folders(session: &Session, plan: &Plan) -> Result<Vec<(PathBuf, u32)>, Error> {
    let to_build = plan.plugins.iter().filter(|planned| planned.action == Action::Build);
    let folder = |planned: &PlannedPlugin| {
        let plugin = session.project.plugin(&planned.id)?;
        Ok((session.project.dist_dynamic(plugin), level(plugin.config.compression_level)))
    };
    to_build.map(folder).collect()
}

fn level(configured: Option<u8>) -> u32 {
    configured.map_or(package::DEFAULT_LEVEL, u32::from)
}

/// A bundle is all of its members or nothing.
fn fail_bundles_of_failed_members(result: &mut RunResult) {
    let failed: Vec<String> =
        result.plugins.iter().filter(|plugin| plugin.state == State::Failed).map(|plugin| plugin.id.clone()).collect();
    for bundle in result.bundles.iter_mut().filter(|bundle| !bundle.is_copied()) {
        if let Some(member) = bundle.members.iter().find(|member| failed.contains(member)) {
            let message = format!("its plugin `{member}` failed");
            bundle.fail(Failure {
                code: "member-failed".to_owned(),
                message,
                help: None,
                log: None,
                log_tail: Vec::new(),
            });
        }
    }
}
