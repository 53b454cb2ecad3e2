//! `rhdh-pack promote`: from one channel to another, the very image that was tested. Nothing is built: for each plugin
//! and bundle, the image under the one channel's tags is looked up, its content key compared with that of the sources
//! as they stand here, and the same bytes brought to the other channel's registries, under its tags.

mod differences;
mod find;

use find::Promotion;

use super::push::ToPush;
use super::session::Session;
use super::{Error, PlanOptions, ci, or_stop, plan, push, report, tags};
use crate::ci::Event;
use crate::config::Registry;
use crate::config::channels::ChosenChannel;
use crate::plan::Action;
use crate::report::{ArtifactResult, RunResult, State};

/// What to promote.
#[derive(Clone, Debug)]
pub struct PromoteOptions {
    /// The channel that the images are in.
    pub from: String,
    /// The channel that they go to.
    pub to: String,
    /// Ids of plugins; with `bundles` empty too: everything.
    pub plugins: Vec<String>,
    /// Ids of bundles.
    pub bundles: Vec<String>,
    /// The pull request whose images are meant.
    pub pull_request: Option<u64>,
    /// Leave the registries as they are.
    pub dry_run: bool,
}

/// Why nothing can be promoted.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum PromoteError {
    /// The configuration does not allow it.
    #[error("channel `{to}` takes nothing from `{from}`")]
    #[diagnostic(
        code("promote-not-allowed"),
        help(
            "if whoever may push to `{from}` may release, add to `rhdh-plugins.toml`:\n[channels.{to}]\npromote-from = {list}"
        )
    )]
    NotAllowed {
        /// The channel that the images are in.
        from: String,
        /// The channel that they were to go to.
        to: String,
        /// The list that would allow it, as TOML.
        list: String,
    },
    /// It has no tags, so nothing can be found in it.
    #[error("channel `{channel}` has no tags")]
    #[diagnostic(
        code("promote-no-tags"),
        help(
            "images are found by the tags of their channel: add `tags = [\"{channel}__{{version}}\"]` to `[channels.{channel}]`"
        )
    )]
    NoTags {
        /// The channel.
        channel: String,
    },
    /// Its tags have the number of a pull request, and nobody says which.
    #[error("`{{pr}}` of `{template}` has no value here")]
    #[diagnostic(
        code("promote-no-pull-request"),
        help("name the pull request that was tested: `rhdh-pack promote … --pr NUMBER`")
    )]
    NoPullRequest {
        /// The tag's template.
        template: String,
    },
    /// Only archives, which are not promoted.
    #[error("channel `{channel}` has no OCI registry for any of the plugins and bundles")]
    #[diagnostic(
        code("promote-no-registry"),
        help("only images are promoted; `rhdh-pack run --channel {channel}` publishes archives")
    )]
    NoRegistry {
        /// The channel.
        channel: String,
    },
}

/// Looks everything up, then pushes all of it.
pub(super) async fn command(session: &Session, options: &PromoteOptions) -> Result<u8, Error> {
    let (from, to) = (session.channel(&options.from)?, session.channel(&options.to)?);
    check(&from, &to)?;
    // The pull request is that of the images; the tags that are written are those of this occasion.
    let tested = match options.pull_request {
        Some(number) => Event::PullRequest { number },
        None => session.ci.event.clone(),
    };
    let registries = push::connect(session)?;
    let (plugins, bundles) = (options.plugins.clone(), options.bundles.clone());
    let all = plugins.is_empty() && bundles.is_empty();
    let planning = PlanOptions { channel: Some(to.name.clone()), plugins, bundles, all, ..PlanOptions::default() };
    let mut plan = plan::plan(session, &to, &planning, Some(&registries)).await?;
    let actions = plan.plugins.iter_mut().map(|plugin| &mut plugin.action);
    for action in actions.chain(plan.bundles.iter_mut().map(|bundle| &mut bundle.action)) {
        if *action == Action::Build {
            *action = Action::Copy;
        }
    }
    let mut result = session.new_result(&plan, None);
    session.write_plan(&plan)?;
    ci::hand_over_plan(session, &plan)?;
    tags::check(session, &to, &result)?;
    say_what_stays(session, &to, &mut result)?;

    let promotion = Promotion { session, tested: &tested, from: &from, to: &to, registries: &registries };
    let artifacts = or_stop(&session.cancel, promotion.find_all(&mut result)).await?;
    result.dry_run = options.dry_run;
    if options.dry_run {
        for artifact in &artifacts {
            promotion.would_push(artifact, &mut result)?;
        }
    } else {
        let to_push = ToPush { artifacts, missing: Vec::new(), atomic: !to.channel.overwrite };
        push::push_artifacts(session, &to, &registries, to_push, &mut result).await?;
    }
    result.finish(|artifact| {
        push::is_done(session, &to, artifact) || options.dry_run && artifact.state == State::Packaged
    });
    session.write_result(&result)?;
    report::report(session, &result)?;
    Ok(result.exit_code())
}

fn check(from: &ChosenChannel, to: &ChosenChannel) -> Result<(), PromoteError> {
    if !to.channel.promote_from.contains(&from.name) {
        let names = to.channel.promote_from.iter().chain([&from.name]);
        let list = format!("[{}]", names.map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", "));
        return Err(PromoteError::NotAllowed { from: from.name.clone(), to: to.name.clone(), list });
    }
    match [from, to].into_iter().find(|channel| channel.channel.tags.is_empty()) {
        Some(channel) => Err(PromoteError::NoTags { channel: channel.name.clone() }),
        None => Ok(()),
    }
}

/// Says which archives stay where they are, and leaves out what has no image in the channel.
fn say_what_stays(session: &Session, to: &ChosenChannel, result: &mut RunResult) -> Result<(), Error> {
    let mut staying = Vec::new();
    let mut images = 0;
    let planned: Vec<String> =
        result.artifacts().filter(|artifact| artifact.action == Action::Copy).map(ArtifactResult::label).collect();
    for label in &planned {
        let Some(artifact) = result.labelled(label) else { continue };
        let own = session.declared(artifact)?.registries;
        let (oci, others): (Vec<_>, Vec<_>) = (session.project.config.registries_for(to, own).into_iter())
            .partition(|(_, registry)| matches!(registry, Registry::Oci { .. }));
        if !others.is_empty() {
            let names: Vec<String> = others.iter().map(|(name, _)| format!("`{name}`")).collect();
            staying.push(format!("{label} to {}", names.join(", ")));
        }
        if oci.is_empty() {
            (artifact.action, artifact.state) = (Action::Skip, State::Skipped);
        } else {
            images += 1;
        }
    }
    if !staying.is_empty() {
        session.ui.warn(&format!(
            "archives are not promoted: {}; `rhdh-pack run --channel {}` publishes them",
            staying.join("; "),
            to.name
        ));
    }
    if images == 0 && !planned.is_empty() {
        return Err(PromoteError::NoRegistry { channel: to.name.clone() }.into());
    }
    Ok(())
}
