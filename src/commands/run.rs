//! `rhdh-pack run`: plan, export, package, push, report.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::session::Session;
use super::{Error, ExportOptions, PushOptions, RunOptions, ci, export, or_stop, package, plan, push, report, tags};
use crate::package::compress_ahead;
use crate::plan::Plan;
use crate::report::{ArtifactResult, RunResult, State};

/// Goes the whole way. `result.json` is written after every stage, so that it tells how far a run came that was killed.
pub(super) async fn run(session: &Session, options: &RunOptions) -> Result<u8, Error> {
    let started = Instant::now();
    let channel = session.choose_channel(options.plan.channel.as_deref())?;
    let fork = session.ci.fork && !options.push.dry_run;
    if fork {
        session.ui.note("a pull request from a fork: nothing is pushed, and the summary says what would be");
    }
    let how_to_push = &PushOptions { dry_run: options.push.dry_run || fork, ..options.push.clone() };
    let registries = push::connect_as(session, how_to_push.login.as_ref())?;
    let plan = plan::plan(session, &channel, &options.plan, Some(&registries)).await?;
    session.ui.note(&plan.headline());
    let mut result = session.new_result(&plan, session.newest_result().as_ref());
    if plan.is_empty() && result.artifacts().any(|artifact| artifact.state == State::Skipped) {
        session.ui.note("nothing changed; `rhdh-pack run --all` builds everything");
    }
    session.write_plan(&plan)?;
    ci::hand_over_plan(session, &plan)?;
    tags::check(session, &channel, &result)?;
    if !how_to_push.dry_run {
        or_stop(&session.cancel, push::log_in(session, &channel, &registries, &result)).await?;
    }

    let exporting = Instant::now();
    let exported = tokio::task::block_in_place(|| export_and_package(session, &plan, &options.export, &mut result))?;
    let exporting = exported.duration_since(exporting);
    package::package(session, options.export.jobs, &mut result, |artifact| artifact.state != State::Packaged)?;
    session.write_result(&result)?;

    let pushing = Instant::now();
    push::push_unless_dry(session, &channel, &registries, how_to_push, &mut result).await?;
    let pushing = pushing.elapsed();
    session.write_result(&result)?;

    report::report(session, &result)?;
    ci::comment(session, &result, options.comment).await?;
    say_times(session, started.elapsed(), exporting, pushing);
    Ok(result.exit_code())
}

/// Exports the plugins, and packages each while others are still exported. Returns when the last export ended.
fn export_and_package(
    session: &Session,
    plan: &Plan,
    options: &ExportOptions,
    result: &mut RunResult,
) -> Result<Instant, Error> {
    let (sender, exported) = mpsc::channel();
    let (exporting, stop) = mpsc::channel();
    let folders = package::folders(session, plan)?;
    std::thread::scope(|scope| {
        scope.spawn(move || compress_ahead(&folders, &session.blocks, &stop));
        let packager = scope.spawn(|| {
            for outcome in exported {
                export::enter(session, outcome, result);
                let ready = ready(result);
                package::package(session, options.jobs, result, |artifact| ready.contains(&artifact.label()))?;
                session.write_result(result)?;
            }
            Ok(())
        });
        // A packager that has failed takes no more: its error is what is returned.
        let done = |outcome| drop(sender.send(outcome));
        let exported = Handle::current().block_on(export::export(session, plan, options, &done));
        let ended = Instant::now();
        drop((sender, exporting));
        let packaged: Result<(), Error> = packager.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        exported.and(packaged).map(|()| ended)
    })
}

/// The labels of what can be packaged now. A bundle comes with the last of its plugins: what they have in common is
/// compressed once, for both at a time.
fn ready(result: &RunResult) -> Vec<String> {
    let is_planned =
        |id: &String| result.plugins.iter().any(|plugin| plugin.id == *id && plugin.state == State::Planned);
    let is_ready = |artifact: &&ArtifactResult| match artifact.state {
        State::Exported => true,
        State::Planned => artifact.is_bundle() && !artifact.members.iter().any(is_planned),
        _ => false,
    };
    result.artifacts().filter(is_ready).map(ArtifactResult::label).collect()
}

fn say_times(session: &Session, whole: Duration, exporting: Duration, pushing: Duration) {
    let own = whole.saturating_sub(exporting).saturating_sub(pushing);
    session.ui.verbose(&format!(
        "{:.1} s: export {:.1} s, push {:.1} s, rhdh-pack's own part {:.2} s",
        whole.as_secs_f64(),
        exporting.as_secs_f64(),
        pushing.as_secs_f64(),
        own.as_secs_f64()
    ));
}
