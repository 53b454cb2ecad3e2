//! The forge: whether its token is good, and good for what. Nothing is written: a comment without text, which no forge
//! takes, shows whether one may comment.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::{Area, Finding, listed, with_causes};
use crate::ci::{Ci, Event, Provider};
use crate::registry::tls;

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

/// What an API answered.
struct Answer {
    status: u16,
    /// `x-oauth-scopes`: what a classic token may do.
    scopes: Option<String>,
    body: Value,
}

/// What is to be said about the forge; `variable` looks up environment variables.
pub async fn examine(subject: &Subject<'_>, variable: impl Fn(&str) -> Option<String>) -> Vec<Finding> {
    let github = variable("GITHUB_REPOSITORY").or_else(|| subject.github.clone());
    match (subject.ci.provider, github) {
        (Provider::GitLab, _) => gitlab(subject, &variable).await,
        (_, Some(repository)) => self::github(subject, &repository, &variable).await,
        _ => Vec::new(),
    }
}

async fn github(subject: &Subject<'_>, repository: &str, variable: &impl Fn(&str) -> Option<String>) -> Vec<Finding> {
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
    let api = variable("GITHUB_API_URL").unwrap_or_else(|| "https://api.github.com".to_owned());
    let client = match client() {
        Ok(client) => client,
        Err(why) => return vec![HERE.failed(what, why, "set `SSL_CERT_FILE` to a file of trusted certificates")],
    };
    let ask = async |request: RequestBuilder| {
        let request = request.bearer_auth(token.expose_secret()).header("accept", "application/vnd.github+json");
        answer(request.header("user-agent", concat!("rhdh-pack/", env!("CARGO_PKG_VERSION")))).await
    };
    let answer = match ask(client.get(format!("{api}/repos/{repository}"))).await {
        Ok(answer) => answer,
        Err(why) => return vec![unreachable(what, &api, &why, in_ci)],
    };
    match answer.status {
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
        let url = format!("{api}/repos/{repository}/issues/{number}/comments");
        let outcome = ask(client.post(url).json(&serde_json::json!({ "body": "" }))).await;
        findings.push(match outcome {
            // "Validation Failed": everything before that was fine.
            Ok(answer) if answer.status == 422 => HERE.ok("GitHub comment", format!("it may comment on pull request {number}")),
            Ok(answer) => HERE.warn(
                "GitHub comment",
                format!("it may not comment on pull request {number}: {} {}", answer.status, said(&answer)),
                "add to the job: `permissions: { contents: read, pull-requests: write }`; pull requests from forks get read \
                 permissions only, `docs/ci.md` says how they get their comment",
            ),
            Err(why) => unreachable("GitHub comment", &api, &why, false),
        });
    }
    findings
}

/// Whether the token may push images to ghcr.io, as far as GitHub says: classic tokens name their scopes. The registry
/// itself is asked by another part.
fn packages(subject: &Subject<'_>, answer: &Answer) -> Option<Finding> {
    let scopes = answer.scopes.as_deref().filter(|scopes| subject.ghcr && !scopes.is_empty())?;
    let has = scopes.split(',').any(|scope| scope.trim() == "write:packages");
    let names = listed(scopes.split(',').map(str::trim));
    (!has).then(|| {
        let help = "make one with `write:packages`; in GitHub Actions: `permissions: { packages: write }`";
        HERE.warn("GitHub packages", format!("the token has the scopes {names}: it may not push to ghcr.io"), help)
    })
}

async fn gitlab(subject: &Subject<'_>, variable: &impl Fn(&str) -> Option<String>) -> Vec<Finding> {
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
    let client = match client() {
        Ok(client) => client,
        Err(why) => return vec![HERE.failed(what, why, "set `SSL_CERT_FILE` to a file of trusted certificates")],
    };
    let request = client.get(format!("{api}/personal_access_tokens/self"));
    let answer = match answer(request.header("PRIVATE-TOKEN", token.expose_secret())).await {
        Ok(answer) => answer,
        Err(why) => return vec![unreachable(what, &api, &why, true)],
    };
    let scopes: Vec<&str> = answer.body["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    vec![match answer.status {
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

/// Without redirects: one would carry the token elsewhere.
fn client() -> Result<Client, String> {
    tls::install();
    let builder = Client::builder().redirect(Policy::none()).connect_timeout(TIMEOUT).timeout(TIMEOUT);
    builder.build().map_err(|error| with_causes(&error))
}

async fn answer(request: RequestBuilder) -> Result<Answer, String> {
    let failed = |error: reqwest::Error| with_causes(&error.without_url());
    let response = request.send().await.map_err(failed)?;
    let status = response.status().as_u16();
    let scopes = response.headers().get("x-oauth-scopes").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let text = response.bytes().await.map_err(failed)?;
    Ok(Answer { status, scopes, body: serde_json::from_slice(&text).unwrap_or_default() })
}

fn unreachable(what: &str, api: &str, why: &str, needed: bool) -> Finding {
    let text = format!("`{api}` cannot be reached: {why}");
    let help = "look at the network; proxies are taken from `HTTPS_PROXY` and `NO_PROXY`";
    if needed { HERE.failed(what, text, help) } else { HERE.warn(what, text, help) }
}

/// What a forge says, on one line.
fn said(answer: &Answer) -> String {
    let text = answer.body.get("message").or_else(|| answer.body.get("error")).and_then(Value::as_str);
    text.unwrap_or("no reason given").chars().filter(|character| !character.is_control()).take(200).collect()
}
