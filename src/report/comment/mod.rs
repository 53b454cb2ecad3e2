//! One comment on a pull request or merge request, kept up to date: the text comes in; what goes out says whether it
//! stands there. It is found again by a hidden marker and its author, on whichever page it is.

use secrecy::SecretString;

use super::markdown;
use crate::ci::{Ci, Event, Provider};
pub use crate::forge::Error;

mod github;
mod gitlab;

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
    id: String,
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
                let api = variable("GITHUB_API_URL").unwrap_or_else(|| "https://api.github.com".to_owned());
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

/// Makes the comment of `config`, the configuration file, say `body`.
///
/// # Errors
/// When the token may not comment, or the forge cannot be asked after several attempts.
pub async fn keep(place: &Place, config: &str, body: &str) -> Result<Kept, Error> {
    let marker = markdown::marker(config);
    crate::forge::again(async || match place {
        Place::GitHub { api, graphql, repository, number, token } => {
            github::keep_once(api, graphql, repository, *number, token, &marker, body).await
        }
        Place::GitLab { api, project, number, token } => {
            gitlab::keep_once(api, project, *number, token, &marker, body).await
        }
    })
    .await
}
