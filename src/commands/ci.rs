//! What the CI gets of a command: outputs for later steps and jobs, its part of the job summary, annotations, and the
//! comment of a pull request.

use std::path::{Path, PathBuf};

use super::session::Session;
use super::{Error, plan};
use crate::ci::log::Place;
use crate::ci::{Provider, variable};
use crate::document;
use crate::plan::{Legs, Plan};
use crate::registry::Limits;
use crate::report::comment::{self, Found, Kept};
use crate::report::outputs::{self, Output};
use crate::report::{ArtifactResult, RunResult, github, gitlab, summary};
use crate::ui::{Ui, with_causes};

/// Keeps everything in the environment that opens something out of GitHub's log, before anything else is said: values
/// that come from `secrets` are hidden already, those that a step made are not.
pub(super) fn mask_secrets(ui: &Ui) {
    let is_secret = |name: &str| {
        let ours = name.starts_with("RHDH_PACK_") && (name.ends_with("_PASSWORD") || name.ends_with("_TOKEN"));
        ours || matches!(
            name,
            "GITHUB_TOKEN"
                | "GH_TOKEN"
                | "GITLAB_TOKEN"
                | "NODE_AUTH_TOKEN"
                | "NPM_TOKEN"
                | "CI_REGISTRY_PASSWORD"
                | "CI_JOB_TOKEN"
        )
    };
    for (name, value) in std::env::vars_os() {
        if name.to_str().is_some_and(is_secret)
            && let Some(secret) = value.to_str()
        {
            ui.mask(secret);
        }
    }
}

/// The outputs of a plan, where somebody takes them.
pub(super) fn hand_over_plan(session: &Session, plan: &Plan) -> Result<(), Error> {
    if !matches!(session.ci.provider, Provider::GitHub | Provider::GitLab) {
        return Ok(());
    }
    let matrix = plan::matrix(session, plan, Legs::AtMost(usize::MAX));
    write_outputs(session, &outputs::of_plan(plan, matrix, &session.out))
}

/// The outputs of a result, `summary` as its part of the job summary, and an annotation for every failure.
pub(super) fn hand_over(session: &Session, result: &RunResult, summary: &str) -> Result<(), Error> {
    let subjects = outputs::subjects(result);
    document::write_file(&session.out.join("subjects.txt"), subjects.as_bytes()).map_err(document::Error::from)?;
    write_outputs(session, &outputs::of_result(result, &session.out))?;
    if session.ci.provider == Provider::GitHub
        && let Some(file) = file("GITHUB_STEP_SUMMARY")
    {
        github::write_summary(&file, summary).map_err(document::Error::from)?;
    }
    for artifact in result.artifacts() {
        if let Some(failure) = &artifact.error {
            let text = format!(
                "{}{}",
                failure.message,
                failure.help.as_deref().map_or(String::new(), |help| format!("\nhelp: {help}"))
            );
            session.ui.annotate(failure_place(session, artifact).as_ref(), &artifact.label(), &text);
        }
    }
    Ok(())
}

/// Annotates everything that `error` is about, in the files where it is.
pub(super) fn annotate(ui: &Ui, error: &Error) {
    for (message, place) in github::problems(error) {
        let place = place.map(|place| Place { file: in_repository(Path::new(&place.file)), ..place });
        ui.annotate(place.as_ref(), "rhdh-pack", &message);
    }
}

/// Keeps the comment of a pull request up to date, where there is one, a token for it, and somebody wants it. A comment
/// that cannot be written fails nothing: the job summary has the same text.
pub(super) async fn comment(session: &Session, result: &RunResult, wanted: bool) -> Result<(), Error> {
    if !wanted {
        return Ok(());
    }
    let place = match comment::Place::find(&session.ci, variable) {
        Found::Place(place) => place,
        Found::NoPullRequest => return Ok(()),
        Found::NoToken(what) => {
            session.ui.note(what);
            return Ok(());
        }
    };
    let config = in_repository(&session.project.config.file);
    let text = summary::comment(result, &config, summary_url().as_deref())?;
    match comment::keep(&place, &config, &text, Limits::of_questions(), &session.ui).await {
        Ok(Kept::Unchanged) => session.ui.verbose("the comment of the pull request says this already"),
        Ok(Kept::Created | Kept::Updated) => session.ui.verbose("the comment of the pull request is up to date"),
        // Tokens of pull requests from forks can only read.
        Err(error) if error.is_denied() => {
            session.ui.note(&format!(
                "no comment on the pull request: the token may not write one ({error}); the job summary has its text"
            ));
        }
        Err(error) => {
            let why = with_causes(&error);
            session.ui.warn(&format!(
                "the comment of the pull request could not be written: {why}; the job summary has its text"
            ));
        }
    }
    Ok(())
}

fn write_outputs(session: &Session, outputs: &[Output]) -> Result<(), Error> {
    let written = match session.ci.provider {
        Provider::GitHub => file("GITHUB_OUTPUT").map_or(Ok(()), |file| github::write_outputs(&file, outputs)),
        Provider::GitLab => document::write_file(&session.out.join("outputs.env"), gitlab::dotenv(outputs).as_bytes()),
        Provider::Local | Provider::Other => Ok(()),
    };
    Ok(written.map_err(document::Error::from)?)
}

/// Where a failure is to be seen: where a compiler found it, else where the configuration has the plugin or bundle.
fn failure_place(session: &Session, artifact: &ArtifactResult) -> Option<Place> {
    let project = &session.project;
    let failure = artifact.error.as_ref()?;
    if let Some(plugin) = project.plugins.get(&artifact.id).filter(|_| !artifact.is_bundle()) {
        let workspace = plugin.workspace.under(&project.config.root);
        let lines = failure.message.lines().chain(failure.log_tail.iter().map(String::as_str));
        let mut places = lines.filter_map(github::typescript_place);
        if let Some(place) = places.find(|place| workspace.join(&place.file).is_file()) {
            return Some(Place { file: in_repository(&workspace.join(&place.file)), ..place });
        }
    }
    let table = if artifact.is_bundle() { "bundles" } else { "plugins" };
    let place = github::place(&project.config.problem(&[table, &artifact.id], "", "", ""))?;
    Some(Place { file: in_repository(Path::new(&place.file)), ..place })
}

/// `file` as the CI names it: relative to the repository's root where it is inside.
fn in_repository(file: &Path) -> String {
    let real = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path));
    let root = variable("GITHUB_WORKSPACE").or_else(|| variable("CI_PROJECT_DIR"));
    let inside =
        root.and_then(|root| real(file).ok()?.strip_prefix(real(Path::new(&root)).ok()?).ok().map(Path::to_owned));
    inside.as_deref().unwrap_or(file).display().to_string()
}

/// Where GitHub shows the run and its summary.
fn summary_url() -> Option<String> {
    let variable = |name| variable(name);
    let (server, repository) = (variable("GITHUB_SERVER_URL")?, variable("GITHUB_REPOSITORY")?);
    Some(format!("{server}/{repository}/actions/runs/{}", variable("GITHUB_RUN_ID")?))
}

fn file(name: &str) -> Option<PathBuf> {
    variable(name).map(PathBuf::from)
}
