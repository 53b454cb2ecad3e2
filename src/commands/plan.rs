//! `rhdh-pack plan`: what will be built and why.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::session::Session;
use super::tags::Named;
use super::{Error, PlanOptions, PlanOutput, ci, memory, or_stop, push};
use crate::ci::{Ci, Provider};
use crate::config::Registry;
use crate::config::channels::ChosenChannel;
use crate::document;
use crate::plan::{
    self, ArtifactTarget, BundleToPlan, Leg, Legs, Look, Memory, Plan, PluginToPlan, Selection, Sight, Survey,
};
use crate::registry;
use crate::repo_path::RepoPath;
use crate::report::RunResult;
use crate::ui::with_causes;

/// The stage alone: writes `plan.json`, and shows what was asked for.
pub(super) async fn command(session: Session, options: &PlanOptions, output: &PlanOutput) -> Result<u8, Error> {
    let code = show(&session, options, output).await?;
    if let Some(sight) = &session.sight {
        sight.end();
    }
    // What was read is not given back piece by piece: the process ends.
    std::mem::forget(session);
    Ok(code)
}

async fn show(session: &Session, options: &PlanOptions, output: &PlanOutput) -> Result<u8, Error> {
    let channel = session.choose_channel(options.channel.as_deref())?;
    let plan = plan(session, &channel, options, None).await?;
    let document = session.write_plan(&plan)?;
    ci::hand_over_plan(session, &plan)?;
    let text = match output {
        PlanOutput::Table => {
            session.ui.note(plan.table().trim_end());
            return Ok(0);
        }
        PlanOutput::Json => {
            document::print(&document)?;
            return Ok(0);
        }
        PlanOutput::Explain(id) => {
            let Some(text) = plan.explain(id) else {
                // All of the configuration is in the plan.
                return Err(session.project.unknown_artifact(id).into());
            };
            text.trim_end().to_owned()
        }
        PlanOutput::Matrix(legs) => matrix(session, &plan, *legs),
    };
    document::print(format!("{text}\n").as_bytes())?;
    Ok(0)
}

/// Plans what `options` choose, asking the registries what they hold: those that are connected already, or `None`.
pub(super) async fn plan(
    session: &Session,
    channel: &ChosenChannel,
    options: &PlanOptions,
    registries: Option<&Arc<registry::Session>>,
) -> Result<Plan, Error> {
    let survey = tokio::task::block_in_place(|| match &session.sight {
        Some(sight) => survey(session, channel, options, sight),
        None => survey(session, channel, options, &look(session, options)),
    })?;
    let questions = survey.questions();
    let mut memory = if session.project.config.inputs.memory && !questions.is_empty() {
        match registries.map_or_else(|| connect(session), |connected| Ok(Arc::clone(connected))) {
            Ok(registries) => {
                or_stop(&session.cancel, async { Ok(memory::ask(session, &registries, &questions).await) }).await?
            }
            Err(error) => {
                let why = match &error {
                    Error::Push(crate::push::Error::Registries { failures }) => failures.first().map(with_causes),
                    _ => None,
                };
                let why = why.unwrap_or_else(|| with_causes(&error));
                Memory { notes: vec![format!("no registry could be asked what it holds: {why}")], ..Memory::default() }
            }
        }
    } else {
        Memory::default()
    };
    memory.packaged = memory::of_output_folder(session);
    decide(session, survey, &memory)
}

/// The registries, for a plan that nothing follows: it can do without them, so it does not wait for long.
fn connect(session: &Session) -> Result<Arc<registry::Session>, Error> {
    let limits = registry::Limits { attempts: 3, ..registry::Limits::of_questions() };
    push::connect_with(session, None, limits, &session.ui)
}

/// Plans everything, asking nobody: for stages that are run without a plan.
pub(super) fn everything(session: &Session, channel: &ChosenChannel) -> Result<Plan, Error> {
    let options = PlanOptions { all: true, ..PlanOptions::default() };
    let sight = look(session, &options);
    decide(session, survey(session, channel, &options, &sight)?, &Memory::default())
}

fn decide(session: &Session, survey: Survey, memory: &Memory) -> Result<Plan, Error> {
    let plan = survey.decide(memory)?;
    for note in &plan.notes {
        session.ui.caution(note);
    }
    Ok(plan)
}

/// Begins to ask git what `options` need to know of the repository of the configuration file in `root`; `output` is
/// where the output folder is below that.
pub(super) fn begin(root: &Path, output: Option<&RepoPath>, options: &PlanOptions) -> Sight {
    Sight::begin(Look {
        root: root.to_owned(),
        output: output.cloned().unwrap_or_default(),
        ci: Ci::from_env(),
        everything: options.all,
        base: options.base.clone(),
        head: options.head.clone(),
    })
}

/// As [`begin`], of an open session.
pub(super) fn look(session: &Session, options: &PlanOptions) -> Sight {
    begin(&session.project.config.root, session.out_in_root.as_ref(), options)
}

/// Looks at what there is to plan, asking nobody but git.
pub(super) fn survey(
    session: &Session,
    channel: &ChosenChannel,
    options: &PlanOptions,
    sight: &Sight,
) -> Result<Survey, Error> {
    let project = &session.project;
    let started = Timestamp::now();
    let target = |own: &[String], named: &Named<'_>| {
        let registries = project.config.registries_for(channel, own);
        let is_oci = |registry: &Registry| matches!(registry, Registry::Oci { .. });
        ArtifactTarget {
            elsewhere: registries.iter().any(|(_, registry)| !is_oci(registry)),
            registries: registries.into_iter().filter(|(_, registry)| is_oci(registry)).map(|(name, _)| name).collect(),
            // A tag that cannot be made here stops a run before it builds; it is no question.
            tags: named.tags(session, channel).unwrap_or_default(),
        }
    };
    // The one that tags are made from when they are pushed.
    let head = sight.head();
    let commit = head.or(session.ci.sha.as_deref());
    let backstage = |workspace: &RepoPath| project.workspaces.by_path.get(workspace)?.backstage.clone();
    let plugins = project.plugins.values().map(|plugin| {
        let backstage = backstage(&plugin.workspace);
        let named = Named { image: &plugin.image, version: &plugin.version, backstage, commit, started };
        PluginToPlan {
            config: &plugin.config,
            role: plugin.role,
            workspace: plugin.workspace.clone(),
            version: plugin.version.clone(),
            image: plugin.image.clone(),
            target: target(&plugin.config.registries, &named),
        }
    });
    let bundles = project.bundles.values().map(|bundle| {
        let first = bundle.config.plugins.first().and_then(|id| project.plugins.get(id));
        let backstage = first.and_then(|plugin| backstage(&plugin.workspace));
        let named = Named { image: &bundle.config.image, version: &bundle.version, backstage, commit, started };
        BundleToPlan {
            config: &bundle.config,
            version: bundle.version.clone(),
            target: target(&bundle.config.registries, &named),
        }
    });
    let selection = if options.all {
        Selection::All
    } else if options.plugins.is_empty() && options.bundles.is_empty() {
        Selection::Changed
    } else {
        Selection::Only { plugins: options.plugins.clone(), bundles: options.bundles.clone() }
    };
    Ok(plan::survey(
        &plan::Request {
            config: &project.config,
            workspaces: &project.workspaces,
            plugins: plugins.collect(),
            bundles: bundles.collect(),
            gone: project.removed.iter().map(|(id, path)| (id.as_str(), path)).collect(),
            channel: channel.name.clone(),
            overwrite: channel.channel.overwrite,
            selection,
        },
        sight,
    )?)
}

/// The matrix for this CI, on one line, of no more legs than the CI takes; elsewhere than on GitLab it is GitHub's.
pub(super) fn matrix(session: &Session, plan: &Plan, legs: Legs) -> String {
    let recorded: BTreeMap<String, f64> =
        session.newest_result().map(|result| export_times(&result)).unwrap_or_default();
    // What `parallel:matrix` and `strategy.matrix` take.
    let (most, document): (usize, fn(&[Leg]) -> Value) = match session.ci.provider {
        Provider::GitLab => (200, plan::gitlab),
        _ => (256, plan::github),
    };
    let mut made = plan::matrix(plan, legs, &recorded);
    if made.len() > most {
        made = plan::matrix(plan, Legs::AtMost(most), &recorded);
    }
    document(&made).to_string()
}

/// How long each export of an earlier run took, in seconds.
fn export_times(result: &RunResult) -> BTreeMap<String, f64> {
    result.plugins.iter().filter_map(|plugin| Some((plugin.id.clone(), plugin.timings.export?))).collect()
}
