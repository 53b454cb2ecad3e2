//! Registries that are files of a forge: releases on GitHub, packages on GitLab. Whether they may be written is asked
//! without writing: GitHub looks at the token before it looks at a release, and refuses one without a tag; GitLab says
//! what a token is for and what its owner is allowed.

use std::sync::Arc;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::registries::Subject;
use super::{Area, Finding, State, listed};
use crate::registry::{Error, Forge, ForgeKind, Sent, Session};

const HERE: Area = Area::Registries;

/// GitLab's number for the role Developer, which may publish packages.
const DEVELOPER: u64 = 30;

/// What is to be said about the releases of `repository`.
pub(super) async fn github(
    what: &str,
    subject: &Subject<'_>,
    session: &Arc<Session>,
    repository: &str,
) -> Vec<Finding> {
    let forge = match Forge::new(session, ForgeKind::GitHub, subject.name) {
        Ok(forge) => forge,
        Err(error) => return vec![without_token(what, subject, &error)],
    };
    let path: Vec<&str> = ["repos"].into_iter().chain(repository.split('/')).collect();
    let asked = format!("asking for `{repository}`");
    let found = match forge.find::<Value>(&asked, &forge.url(&path)).await {
        Ok(Some(found)) => found,
        Ok(None) => return vec![nowhere(what, repository, "github-release", "repository")],
        Err(error) => return vec![HERE.error(what, &error)],
    };
    let there = HERE.ok(what, format!("`{repository}` is there"));
    let what = format!("{what}: push");
    if found["archived"] == true {
        let help = "unarchive it in its settings, or name another in `github-release`";
        return vec![there, HERE.failed(what, format!("`{repository}` is archived: nothing can be added to it"), help)];
    }
    let (asked, url) =
        (format!("asking to make a release of `{repository}`"), forge.url(&[&path[..], &["releases"]].concat()));
    let made =
        forge.make::<Value>(&asked, Method::POST, &url, &Sent::Json(&json!({ "tag_name": "", "draft": true }))).await;
    vec![
        there,
        match made {
            // "Validation Failed": everything before that was fine.
            Err(Error::Refused { status: StatusCode::UNPROCESSABLE_ENTITY, .. }) => {
                HERE.ok(what, "the token may make releases, and add files to them")
            }
            Err(Error::Refused { status: StatusCode::FORBIDDEN | StatusCode::NOT_FOUND, message, .. }) => {
                let help = "in GitHub Actions, add to the job: `permissions: { contents: write }`; elsewhere take a token that may \
                        write the repository's contents";
                HERE.failed(what, format!("the token may not make releases of `{repository}`: {message}"), help)
            }
            Err(error) => HERE.error(what, &error),
            Ok(_) => {
                HERE.warn(what, "a release without a tag was taken: look at the repository's releases", "remove it")
            }
        },
    ]
}

/// What is to be said about the packages of `project`.
pub(super) async fn gitlab(what: &str, subject: &Subject<'_>, session: &Arc<Session>, project: &str) -> Vec<Finding> {
    let forge = match Forge::new(session, ForgeKind::GitLab, subject.name) {
        Ok(forge) => forge,
        Err(error) => return vec![without_token(what, subject, &error)],
    };
    let asked = format!("asking for the packages of `{project}`");
    let mut url = forge.url(&["projects", project, "packages"]);
    url.query_pairs_mut().append_pair("per_page", "1");
    match forge.find::<Value>(&asked, &url).await {
        Ok(Some(_)) => {}
        Ok(None) => return vec![nowhere(what, project, "gitlab-packages", "project")],
        Err(error) => return vec![HERE.error(what, &error)],
    }
    let there = HERE.ok(what, format!("the packages of `{project}` can be read"));
    let what = format!("{what}: push");
    // A job's token may ask for neither.
    let about = forge.find::<Value>(&asked, &forge.url(&["projects", project])).await.ok().flatten();
    let token = forge.find::<Value>(&asked, &forge.url(&["personal_access_tokens", "self"])).await.ok().flatten();
    let scopes: Option<Vec<&str>> =
        token.as_ref().and_then(|token| Some(token["scopes"].as_array()?.iter().filter_map(Value::as_str).collect()));
    let level = about.as_ref().and_then(role);
    vec![
        there,
        match (scopes, level) {
            (Some(scopes), _) if !scopes.contains(&"api") => HERE.failed(
                what,
                format!("the token has the scopes {}, and publishing packages needs `api`", listed(scopes)),
                "make a project access token with the scope `api` and the role Developer",
            ),
            (_, Some(level)) if level < DEVELOPER => HERE.failed(
                what,
                format!("the token's owner may not publish packages of `{project}`: that needs the role Developer"),
                "make a project access token with the scope `api` and the role Developer",
            ),
            (Some(_), Some(_)) => HERE.ok(what, "the token has the scope `api`, and its owner may publish packages"),
            _ => HERE.skipped(
                what,
                "GitLab does not say what a job's token may do: whether files may be published shows when they are",
            ),
        },
    ]
}

/// The higher of the roles that a token's owner has in a project: by itself, and by its group.
fn role(project: &Value) -> Option<u64> {
    let of = |access: &str| project.pointer(&format!("/permissions/{access}/access_level")).and_then(Value::as_u64);
    of("project_access").max(of("group_access"))
}

fn nowhere(what: &str, name: &str, key: &str, kind: &str) -> Finding {
    let help = format!("correct `{key}`, or take a token that may see the {kind}");
    HERE.failed(what, format!("there is no {kind} `{name}`, or the token may not see it"), help)
}

/// No token is no failure on a machine where nobody pushes.
fn without_token(what: &str, subject: &Subject<'_>, error: &Error) -> Finding {
    let finding = HERE.error(what, error);
    if subject.needed || !matches!(error, Error::Unauthorized { .. }) {
        return finding;
    }
    let text = format!("{}; on this machine, only runs with `--channel` go there", finding.text);
    Finding { state: State::Warn, text, ..finding }
}
