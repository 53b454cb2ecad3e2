//! One result of several: those of a job matrix's legs come in, each of which left most of the plan to others; what
//! goes out is the result of the whole.

use super::{ArtifactResult, Failure, RunResult, State};
use crate::plan::Action;

/// The kind of reason that a leg gives for what it leaves to others.
pub const OTHER_LEG: &str = "other-leg";

/// Why results cannot be made one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    /// There is none.
    #[error("there is no result to merge")]
    #[diagnostic(help("name the folders that `rhdh-pack package` wrote to"))]
    Nothing,
    /// They are of different runs.
    #[error("the results are not of one run: {what} differs (`{one}`, `{other}`)")]
    #[diagnostic(help("merge only what the legs of one matrix left, all with the same `plan.json`"))]
    Different {
        /// What.
        what: &'static str,
        /// Of the first.
        one: String,
        /// Of another.
        other: String,
    },
}

/// Takes every plugin and bundle from the leg that worked on it. One that no leg worked on has failed.
///
/// # Errors
/// When there is no result, or they are not of one plan.
pub fn merge(results: Vec<RunResult>) -> Result<RunResult, Error> {
    let mut results = results.into_iter();
    let mut whole = results.next().ok_or(Error::Nothing)?;
    for other in results {
        same("the channel", &whole.channel, &other.channel)?;
        let commit = |result: &RunResult| result.commit.clone().unwrap_or_default();
        same("the commit", &commit(&whole), &commit(&other))?;
        same("the list of plugins and bundles", &labels(&whole), &labels(&other))?;
        whole.started = whole.started.min(other.started);
        whole.finished = whole.finished.max(other.finished);
        whole.dry_run &= other.dry_run;
        let others = other.plugins.into_iter().chain(other.bundles);
        for (mine, theirs) in whole.artifacts_mut().zip(others) {
            if is_left_to_others(mine) {
                *mine = theirs;
            }
        }
    }
    for artifact in whole.artifacts_mut().filter(|artifact| is_left_to_others(artifact)) {
        artifact.action = Action::Build;
        artifact.fail(Failure {
            code: "no-leg".to_owned(),
            message: "no leg of the job matrix has a result for it".to_owned(),
            help: Some("look at the log of the leg that should have built it: it ended before it was done".to_owned()),
            log: None,
            log_tail: Vec::new(),
        });
    }
    let finished = whole.finished;
    whole.finish(|artifact| {
        matches!(artifact.state, State::Packaged | State::Published | State::UpToDate) || artifact.is_copied()
    });
    whole.finished = finished;
    Ok(whole)
}

fn is_left_to_others(artifact: &ArtifactResult) -> bool {
    artifact.reasons.iter().any(|reason| reason.kind == OTHER_LEG)
}

fn labels(result: &RunResult) -> String {
    result.artifacts().map(ArtifactResult::label).collect::<Vec<_>>().join(", ")
}

fn same(what: &'static str, one: &str, other: &str) -> Result<(), Error> {
    if one == other {
        return Ok(());
    }
    Err(Error::Different { what, one: one.to_owned(), other: other.to_owned() })
}
