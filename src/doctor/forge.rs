//! The forge: whether its token is good, and good for what. Nothing is written: a comment without text, which no forge
//! takes, shows whether one may comment.

use std::time::Duration;

use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{Area, Finding, listed};
use crate::ci::{Ci, Event, Provider};
use crate::registry::Limits;
use crate::registry::forge::{Error, Forge, ForgeKind, Reply, Sent};
use crate::ui::{Ui, with_causes};

const HERE: Area = Area::Forge;
const TIMEOUT: Duration = Duration::from_secs(15);

/// What is known of the forge.
#[derive(Debug)]
pub struct Subject<'a> {
    /// What the CI says.
    pub ci: &'a Ci,
    /// The repository on GitHub that the git remote names, `owner/name`.
    pub github: Option<String>,
    /// Whether images go to GitHub's registry.
    pub ghcr: bool,
}

/// What is to be said about the forge; `variable` looks up environment variables.
pub async fn examine(subject: &Subject<'_>, variable: impl Fn(&str) -> Option<String>, ui: &Ui) -> Vec<Finding> {
    let github = variable("GITHUB_REPOSITORY").or_else(|| subject.github.clone());
    match (subject.ci.provider, github) {
        (Provider::GitLab, _) => gitlab(subject, &variable, ui).await,
        (_, Some(repository)) => self::github(subject, &repository, &variable, ui).await,
        _ => Vec::new(),
    }
}

async fn github(
    subject: &Subject<'_>,
    repository: &str,
    variable: &impl Fn(&str) -> Option<String>,
    ui: &Ui,
) -> Vec<Finding> {
    let what = "GitHub token";
    let in_ci = subject.ci.provider == Provider::GitHub;
    let Some(token) = variable("GITHUB_TOKEN").map(SecretString::from) else {
        return vec![if in_ci {
            let help = "add to the step: `env: { GITHUB_TOKEN: ${{ github.token }} }`; the action does it by itself";
            HERE.warn(what, "`GITHUB_TOKEN` is not set: no comment on pull requests, no login to ghcr.io", help)
        } else {
            HERE.skipped(what, "`GITHUB_TOKEN` is not set; outside of GitHub Actions nobody needs it")
        }];
    };
    let api = ForgeKind::GitHub.api(variable);
    let forge = match Forge::at(ForgeKind::GitHub, &api, &token, limits(), ui) {
        Ok(forge) => forge,
        Err(error) => return vec![HERE.error(what, &error)],
    };
    let own: Vec<&str> = ["repos"].into_iter().chain(repository.split('/')).collect();
    let answer = match forge.reply("reading the repository", Method::GET, &forge.url(&own), &Sent::Nothing).await {
        Ok(answer) => answer,
        Err(error) => return vec![unreachable(what, &error, in_ci)],
    };
    match answer.status().as_u16() {
        200 => {}
        401 => {
            let help =
                "in GitHub Actions use `${{ github.token }}`; elsewhere make a new token, or unset `GITHUB_TOKEN`";
            return vec![HERE.failed(what, format!("`{api}` does not take the token in `GITHUB_TOKEN`"), help)];
        }
        403 | 404 => {
            let help = "give the token the permission `contents: read` for this repository";
            let text = format!("the token in `GITHUB_TOKEN` may not read `{repository}`: {}", said(&answer));
            return vec![HERE.failed(what, text, help)];
        }
        status => {
            return vec![HERE.warn(what, format!("`{api}` answered {status}: {}", said(&answer)), "try again later")];
        }
    }
    let mut findings = vec![HERE.ok(what, format!("it may read `{repository}`"))];
    findings.extend(packages(subject, &answer));
    if let Event::PullRequest { number } = subject.ci.event {
        let url = forge.url(&[&own[..], &["issues", &number.to_string(), "comments"]].concat());
        let empty = json!({ "body": "" });
        let outcome = forge.reply("writing a comment", Method::POST, &url, &Sent::Json(&empty)).await;
        findings.push(match outcome {
            // "Validation Failed": everything before that was fine.
            Ok(answer) if answer.status().as_u16() == 422 => HERE.ok("GitHub comment", format!("it may comment on pull request {number}")),
            Ok(answer) => HERE.warn(
                "GitHub comment",
                format!("it may not comment on pull request {number}: {} {}", answer.status().as_u16(), said(&answer)),
                "add to the job: `permissions: { contents: read, pull-requests: write }`; pull requests from forks get read \
                 permissions only, `docs/ci.md` says how they get their comment",
            ),
            Err(error) => unreachable("GitHub comment", &error, false),
        });
    }
    findings
}

/// Whether the token may push images to ghcr.io, as far as GitHub says: classic tokens name their scopes. The registry
/// itself is asked by another part.
fn packages(subject: &Subject<'_>, answer: &Reply) -> Option<Finding> {
    let scopes = answer.header("x-oauth-scopes").filter(|scopes| subject.ghcr && !scopes.is_empty())?;
    let has = scopes.split(',').any(|scope| scope.trim() == "write:packages");
    let names = listed(scopes.split(',').map(str::trim));
    (!has).then(|| {
        let help = "make one with `write:packages`; in GitHub Actions: `permissions: { packages: write }`";
        HERE.warn("GitHub packages", format!("the token has the scopes {names}: it may not push to ghcr.io"), help)
    })
}

async fn gitlab(subject: &Subject<'_>, variable: &impl Fn(&str) -> Option<String>, ui: &Ui) -> Vec<Finding> {
    let what = "GitLab token";
    let (Some(api), is_merge_request) =
        (variable("CI_API_V4_URL"), matches!(subject.ci.event, Event::PullRequest { .. }))
    else {
        return Vec::new();
    };
    let Some(token) = variable("RHDH_PACK_GITLAB_TOKEN").or_else(|| variable("GITLAB_TOKEN")).map(SecretString::from)
    else {
        let text = "`RHDH_PACK_GITLAB_TOKEN` is not set: there are no notes on merge requests";
        let help = "set it to a project access token with the scope `api`, masked, in Settings > CI/CD > Variables";
        return vec![if is_merge_request { HERE.warn(what, text, help) } else { HERE.skipped(what, text) }];
    };
    let forge = match Forge::at(ForgeKind::GitLab, &api, &token, limits(), ui) {
        Ok(forge) => forge,
        Err(error) => return vec![HERE.error(what, &error)],
    };
    let url = forge.url(&["personal_access_tokens", "self"]);
    let answer = match forge.reply("reading the token's scopes", Method::GET, &url, &Sent::Nothing).await {
        Ok(answer) => answer,
        Err(error) => return vec![unreachable(what, &error, true)],
    };
    let body = answer.json();
    let scopes: Vec<&str> = body["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    vec![match answer.status().as_u16() {
        200 if scopes.contains(&"api") => HERE.ok(what, "it has the scope `api`: it may write notes on merge requests"),
        200 => HERE.warn(
            what,
            format!("it has the scopes {}, and writing notes needs `api`", listed(scopes)),
            "make a project access token with the scope `api` and the role Reporter, and set `RHDH_PACK_GITLAB_TOKEN` to it",
        ),
        401 => HERE.failed(what, format!("`{api}` does not take the token"), "make a new one: it may have expired"),
        status => HERE.warn(what, format!("`{api}` answered {status}: {}", said(&answer)), "try again later"),
    }]
}

/// One short attempt.
fn limits() -> Limits {
    Limits { connect: TIMEOUT, idle: TIMEOUT, whole: TIMEOUT, attempts: 1, ..Limits::default() }
}

fn unreachable(what: &str, error: &Error, needed: bool) -> Finding {
    let text = with_causes(error);
    let help = "look at the network; proxies are taken from `HTTPS_PROXY` and `NO_PROXY`";
    if needed { HERE.failed(what, text, help) } else { HERE.warn(what, text, help) }
}

/// What a forge says, on one line.
fn said(answer: &Reply) -> String {
    let body = answer.json();
    let text = body.get("message").or_else(|| body.get("error")).and_then(Value::as_str);
    text.unwrap_or("no reason given").chars().filter(|character| !character.is_control()).take(200).collect()
}
