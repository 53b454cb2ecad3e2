//! One comment on a pull request or merge request, kept up to date: the text comes in; what goes out says whether it
//! stands there. It is found again by a hidden marker and its author, on whichever page it is.

mod github;
mod gitlab;

use std::time::Duration;

use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::markdown;
use crate::ci::{Ci, Event, Provider};
use crate::registry::Limits;
use crate::registry::forge::{Error, Forge, ForgeKind, Sent};
use crate::ui::Ui;

/// How long a run waits for its comment, with all attempts.
const DEADLINE: Duration = Duration::from_secs(180);

/// Where the comment belongs.
#[derive(Debug)]
pub enum Place {
    /// A pull request on GitHub.
    GitHub {
        /// `https://api.github.com`, or `https://host/api/v3`.
        api: String,
        /// Where GraphQL is asked.
        graphql: String,
        /// `owner/name`.
        repository: String,
        /// The pull request.
        number: u64,
        /// Who comments.
        token: SecretString,
    },
    /// A merge request on GitLab.
    GitLab {
        /// `https://gitlab.com/api/v4`.
        api: String,
        /// The project's number.
        project: String,
        /// The merge request.
        number: u64,
        /// Who comments.
        token: SecretString,
    },
}

/// Whether there is a place for a comment.
#[derive(Debug)]
pub enum Found {
    /// There is.
    Place(Place),
    /// The run is not for a pull request.
    NoPullRequest,
    /// Nobody may comment; the words say what is missing.
    NoToken(&'static str),
}

/// What became of the comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is new.
    Created,
    /// It has a new text.
    Updated,
    /// It had this text already.
    Unchanged,
}

/// A comment that is ours.
struct Existing {
    id: u64,
    body: String,
}

impl Place {
    /// Where the run's comment belongs; `variable` looks up environment variables.
    #[must_use]
    pub fn find(ci: &Ci, variable: impl Fn(&str) -> Option<String>) -> Found {
        let Event::PullRequest { number } = ci.event else { return Found::NoPullRequest };
        let token = |names: &[&str]| names.iter().find_map(|name| variable(name)).map(SecretString::from);
        match ci.provider {
            Provider::GitHub => {
                let Some(repository) = variable("GITHUB_REPOSITORY") else { return Found::NoPullRequest };
                let Some(token) = token(&["GITHUB_TOKEN"]) else {
                    return Found::NoToken("set `GITHUB_TOKEN` for a comment on the pull request");
                };
                let api = ForgeKind::GitHub.api(&variable);
                let graphql = variable("GITHUB_GRAPHQL_URL").unwrap_or_else(|| format!("{api}/graphql"));
                Found::Place(Self::GitHub { api, graphql, repository, number, token })
            }
            Provider::GitLab => {
                let project = variable("CI_MERGE_REQUEST_PROJECT_ID").or_else(|| variable("CI_PROJECT_ID"));
                let (Some(api), Some(project)) = (variable("CI_API_V4_URL"), project) else {
                    return Found::NoPullRequest;
                };
                match token(&["RHDH_PACK_GITLAB_TOKEN", "GITLAB_TOKEN"]) {
                    Some(token) => Found::Place(Self::GitLab { api, project, number, token }),
                    None => Found::NoToken(
                        "set `RHDH_PACK_GITLAB_TOKEN` to a project access token with the scope `api` for a note on \
                         the merge request",
                    ),
                }
            }
            Provider::Local | Provider::Other => Found::NoPullRequest,
        }
    }
}

/// Makes the comment of `config`, the configuration file, say `body`. What is tried again is said on `ui`.
///
/// # Errors
/// When the token may not comment, or the forge cannot be asked after several attempts.
pub async fn keep(place: &Place, config: &str, body: &str, limits: Limits, ui: &Ui) -> Result<Kept, Error> {
    let marker = markdown::marker(config);
    let late =
        |_| Error::Slow { what: "writing the comment".to_owned(), why: format!("not finished after {DEADLINE:?}") };
    tokio::time::timeout(DEADLINE, place.keep(&marker, body, limits, ui)).await.map_err(late)?
}

impl Place {
    async fn keep(&self, marker: &str, body: &str, limits: Limits, ui: &Ui) -> Result<Kept, Error> {
        let (kind, api, token) = match self {
            Self::GitHub { api, token, .. } => (ForgeKind::GitHub, api, token),
            Self::GitLab { api, token, .. } => (ForgeKind::GitLab, api, token),
        };
        let forge = Forge::at(kind, api, token, limits, ui)?;
        // Comments are changed below another URL than that of their list, on GitHub.
        let (list, single, method) = match self {
            Self::GitHub { repository, number, .. } => {
                let issues = format!("repos/{repository}/issues");
                (format!("{issues}/{number}/comments"), format!("{issues}/comments"), Method::PATCH)
            }
            Self::GitLab { project, number, .. } => {
                let notes = format!("projects/{project}/merge_requests/{number}/notes");
                (notes.clone(), notes, Method::PUT)
            }
        };
        let url = |path: &str| forge.url(&path.split('/').collect::<Vec<_>>());
        let list = url(&list);
        let text = json!({ "body": body });
        let mut attempts = forge.attempts();
        loop {
            let existing = match self {
                Self::GitHub { graphql, .. } => github::find(&forge, &list, graphql, marker).await?,
                Self::GitLab { .. } => gitlab::find(&forge, &list, marker).await?,
            };
            if let Some(existing) = existing {
                if existing.body == body {
                    return Ok(Kept::Unchanged);
                }
                let url = url(&format!("{single}/{}", existing.id));
                let sent = Sent::Json(&text);
                // Deleted since we found it: it is made again.
                if forge.change::<Value>("updating the comment", method.clone(), &url, &sent).await?.is_some() {
                    return Ok(Kept::Updated);
                }
            }
            // Where only the answer was lost, the comment is found the next time.
            match forge.make::<Value>("writing a comment", Method::POST, &list, &Sent::Json(&text)).await {
                Ok(_) => return Ok(Kept::Created),
                Err(error) => attempts.wait_after(error).await?,
            }
        }
    }
}
