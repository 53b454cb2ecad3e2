//! `rhdh-pack export`: `dist-dynamic` of every plugin that is to be built.

use std::sync::{Mutex, PoisonError};

use super::session::Session;
use super::{Error, ExportOptions};
use crate::export::{self, CliVersion, Exported, PluginToExport};
use crate::plan::{Action, Plan, Reason};
use crate::report::merge::OTHER_LEG;
use crate::report::{Failure, RunResult, State};

/// The stage alone: reads the plan, and writes what became of it into `result.json`.
pub(super) async fn command(session: &Session, plugins: &[String], options: &ExportOptions) -> Result<u8, Error> {
    let mut plan = session.read_plan()?;
    if !plugins.is_empty() {
        plugins.iter().try_for_each(|id| session.project.plugin(id).map(drop))?;
        leave_to_others(&mut plan, plugins);
    }
    let mut result = session.new_result(&plan, session.newest_result().as_ref());
    let exported = Mutex::new(Vec::new());
    let keep = |outcome| exported.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
    export(session, &plan, options, &keep).await?;
    for outcome in exported.into_inner().unwrap_or_else(PoisonError::into_inner) {
        enter(session, outcome, &mut result);
    }
    // A bundle has nothing to export: it is made of its plugins' dist-dynamic. What is copied is the push's.
    result.finish(|artifact| artifact.state == State::Exported || artifact.is_bundle() || artifact.is_copied());
    session.write_result(&result)?;
    session.show_failures(&result);
    Ok(result.exit_code())
}

/// Leaves all that is not of `plugins` to other legs of a job matrix.
fn leave_to_others(plan: &mut Plan, plugins: &[String]) {
    let leave = |action: &mut Action, reasons: &mut Vec<Reason>| {
        *action = Action::Skip;
        let text = "another leg of the job matrix builds it".to_owned();
        *reasons = vec![Reason { kind: OTHER_LEG.to_owned(), text, detail: Vec::new() }];
    };
    for plugin in plan.plugins.iter_mut().filter(|plugin| plugin.action == Action::Build) {
        if !plugins.contains(&plugin.id) {
            leave(&mut plugin.action, &mut plugin.reasons);
        }
    }
    for bundle in plan.bundles.iter_mut().filter(|bundle| bundle.action == Action::Build) {
        if !bundle.members.iter().all(|member| plugins.contains(member)) {
            leave(&mut bundle.action, &mut bundle.reasons);
        }
    }
}

/// Exports what `plan` says; `done` gets each outcome as soon as it is known.
pub(super) async fn export(
    session: &Session,
    plan: &Plan,
    options: &ExportOptions,
    done: &(dyn Fn(Exported) + Sync),
) -> Result<(), Error> {
    let project = &session.project;
    let to_build = plan.plugins.iter().filter(|planned| planned.action == Action::Build);
    let plugins = to_build
        .map(|planned| {
            let plugin = project.plugin(&planned.id)?;
            Ok(PluginToExport {
                id: planned.id.clone(),
                path: plugin.config.path.clone(),
                role: plugin.role,
                config: plugin.config.clone(),
                workspace: plugin.workspace.clone(),
            })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    if plugins.is_empty() {
        return Ok(());
    }
    let request = export::Request {
        root: project.config.root.clone(),
        output: session.out.clone(),
        plugins,
        cli: CliVersion::wanted(&project.config.rhdh),
        jobs: options.jobs,
        install: options.install,
        tsc: options.tsc,
        fail_fast: options.fail_fast,
        variables: export::Variables::of_process(),
    };
    let done = |exported: &Exported| done(exported.clone());
    export::export(&request, &project.workspaces, &session.ui, &session.cancel, &done).await?;
    Ok(())
}

/// Enters the outcome of one export in `result`.
pub(super) fn enter(session: &Session, exported: Exported, result: &mut RunResult) {
    let Some(artifact) = result.plugins.iter_mut().find(|artifact| artifact.id == exported.id) else { return };
    artifact.timings.export = Some(exported.seconds);
    if let Some(log) = &exported.log {
        session.show_log(&exported.id, log);
    }
    match exported.outcome {
        Ok(made) => {
            artifact.state = State::Exported;
            artifact.rhdh_cli = made.cli;
        }
        Err(failure) => artifact.fail(Failure {
            code: failure.code.to_owned(),
            message: failure.message,
            help: failure.help,
            log: exported.log.as_deref().map(|log| session.in_out(log)),
            log_tail: failure.log_tail,
        }),
    }
}
