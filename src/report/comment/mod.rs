//! One comment on a pull request or merge request, kept up to date: the text comes in; what goes out says whether it
//! stands there. It is found again by a hidden marker and its author, on whichever page it is.

use std::time::Duration;

use secrecy::SecretString;

use super::markdown;
use crate::ci::{Ci, Event, Provider};

mod github;
mod gitlab;

/// How often the whole work is tried, and how long it may take with all of its waiting.
const ATTEMPTS: u32 = 5;
const DEADLINE: Duration = Duration::from_secs(180);

/// Nobody waits longer than this for one more attempt.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How long a request may take until its answer begins.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Pages of a hundred comments that are looked through.
const MAX_PAGES: u32 = 100;

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

/// Why there is no comment. The run goes on: its summary has the same text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The token may not comment.
    #[error("the token may not comment ({0})")]
    Denied(String),
    /// The forge cannot be asked.
    #[error("{0}")]
    Failed(String),
}

/// What one attempt ended with.
enum Fault {
    /// Nothing that trying again would change.
    Final(Error),
    /// To be tried again, after this time where the forge names one.
    Again { why: String, after: Option<Duration> },
}

/// An answer of a forge.
struct Answer {
    status: u16,
    /// `retry-after`, or what is left until `x-ratelimit-reset` where nothing remains.
    retry_after: Option<Duration>,
    /// Whether another page follows.
    has_next: bool,
    body: String,
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
    let work = async {
        let mut wait = Duration::from_millis(500);
        let mut attempt = 1;
        loop {
            let outcome = match place {
                Place::GitHub { api, graphql, repository, number, token } => {
                    github::keep_once(api, graphql, repository, *number, token, &marker, body).await
                }
                Place::GitLab { api, project, number, token } => {
                    gitlab::keep_once(api, project, *number, token, &marker, body).await
                }
            };
            match outcome {
                Ok(kept) => return Ok(kept),
                Err(Fault::Final(error)) => return Err(error),
                Err(Fault::Again { why, after }) => {
                    let pause = after.unwrap_or(wait);
                    if attempt == ATTEMPTS || pause > LONGEST_WAIT {
                        return Err(Error::Failed(format!("{why}, after {attempt} attempts")));
                    }
                    tokio::time::sleep(pause).await;
                    wait *= 2;
                    attempt += 1;
                }
            }
        }
    };
    tokio::time::timeout(DEADLINE, work)
        .await
        .unwrap_or_else(|_| Err(Error::Failed(format!("no answer within {} seconds", DEADLINE.as_secs()))))
}

impl Answer {
    /// The answer, if it is a good one; `what` was being done.
    fn good(self, what: &str) -> Result<Self, Fault> {
        let said = self.message();
        let limited = self.status == 429
            || self.status == 403 && (self.retry_after.is_some() || said.to_lowercase().contains("rate limit"));
        match self.status {
            200..300 => Ok(self),
            // Before anything else: rate limits are 403 too.
            _ if limited => Err(Fault::Again { why: format!("{what}: {said}"), after: self.retry_after }),
            500.. => Err(Fault::Again { why: format!("{what}: {} {said}", self.status), after: self.retry_after }),
            401 | 403 => Err(Fault::Final(Error::Denied(format!("{what}: {} {said}", self.status)))),
            status => Err(Fault::Final(Error::Failed(format!("{what}: {status} {said}")))),
        }
    }

    fn json<T: serde::de::DeserializeOwned>(&self, what: &str) -> Result<T, Fault> {
        // A proxy's page instead of an answer goes away, mostly.
        serde_json::from_str(&self.body).map_err(|error| Fault::Again {
            why: format!("{what}: the answer is not JSON as expected: {error}"),
            after: None,
        })
    }

    /// What the forge says, on one line.
    fn message(&self) -> String {
        let json: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        let text = json.get("message").or_else(|| json.get("error")).and_then(serde_json::Value::as_str);
        text.unwrap_or("no reason given").chars().filter(|character| !character.is_control()).take(200).collect()
    }
}

/// What the headers of an answer say about trying again.
fn retry_after<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Option<Duration> {
    let seconds = |name: &str| header(name)?.parse::<u64>().ok();
    if let Some(after) = seconds("retry-after") {
        return Some(Duration::from_secs(after));
    }
    let reset = seconds("x-ratelimit-reset").filter(|_| seconds("x-ratelimit-remaining") == Some(0))?;
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default();
    Some(Duration::from_secs(reset.saturating_sub(now) + 1))
}
