//! A pull request, or merge request, that brings files of another repository up to date. No git is needed. The branch
//! always has one commit on top of its base, made anew whenever something changes, so that it never conflicts; and it
//! is left alone once somebody else has committed to it.

mod github;
mod gitlab;
mod place;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
pub use place::Place;
use reqwest::{Method, Url};
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Error, MAX_BYTES, Ours, Updated, update, words::words};
use crate::registry::forge::{self, Forge, ForgeKind, Sent};
use crate::registry::{Cause, Limits};
use crate::repo_path::RepoPath;
use crate::report::RunResult;
use crate::ui::Ui;

/// What is proposed.
pub struct Proposal<'a> {
    /// The files, relative to the repository's root.
    pub files: &'a [RepoPath],
    /// The branch for it.
    pub branch: &'a str,
    /// The last line of the commit's message, by which our commits are known.
    pub mark: &'a str,
    /// What the files should name.
    pub ours: &'a Ours,
    /// The run that it is of, for the words.
    pub result: &'a RunResult,
}

/// What became of it.
#[derive(Debug)]
pub struct Proposed {
    /// What was found in each file.
    pub files: Vec<(String, Updated)>,
    /// The pull request; `None`: everything is up to date.
    pub pull_request: Option<PullRequest>,
}

/// A pull request.
#[derive(Debug)]
pub struct PullRequest {
    /// Where people look at it.
    pub url: String,
    /// Whether this run opened it.
    pub opened: bool,
}

/// Opens the pull request, or brings the open one up to date, as who has `token`.
///
/// # Errors
/// When a file cannot be brought up to date, when the branch is not ours, or when the forge says no.
pub async fn propose(place: &Place, token: &SecretString, proposal: &Proposal<'_>, ui: &Ui) -> Result<Proposed, Error> {
    let outcome = async {
        let forge = Forge::at(place.kind, &place.api, token, Limits::of_questions(), ui)?;
        let work = Work { forge, place, proposal };
        let mut attempts = work.forge.attempts();
        loop {
            match work.once().await {
                // What was made may be there although its answer is lost: everything is looked at again.
                Err(Stop::Again(error)) => attempts.wait_after(*error).await?,
                outcome => return outcome,
            }
        }
    };
    outcome.await.map_err(|stop| match stop {
        Stop::Error(error) => error,
        Stop::Forge(source) | Stop::Again(source) => Error::PullRequest { repository: place.path.clone(), source },
    })
}

/// Why the work ends early.
enum Stop {
    /// After all attempts that may help.
    Forge(Box<forge::Error>),
    /// After one attempt to make something.
    Again(Box<forge::Error>),
    Error(Error),
}

impl From<forge::Error> for Stop {
    fn from(error: forge::Error) -> Self {
        Self::Forge(Box::new(error))
    }
}

struct Work<'a> {
    forge: Forge,
    place: &'a Place,
    proposal: &'a Proposal<'a>,
}

/// What a proposal is made on.
struct Base {
    branch: String,
    commit: String,
    /// GitHub's name for the folder at its root; GitLab's number for the repository.
    root: String,
}

/// A file with its new text.
struct Changed<'a> {
    path: &'a RepoPath,
    /// As git writes it: `100644` or `100755`.
    mode: String,
    text: String,
}

impl Work<'_> {
    async fn once(&self) -> Result<Proposed, Stop> {
        let is_github = self.place.kind == ForgeKind::GitHub;
        let base = if is_github { self.github_base().await? } else { self.gitlab_base().await? };
        let mut files = Vec::new();
        let mut changed = Vec::new();
        for path in self.proposal.files {
            let (mode, text) =
                if is_github { self.github_file(&base, path).await? } else { self.gitlab_file(&base, path).await? };
            let updated = update(path.as_str(), &text, self.proposal.ours).map_err(Stop::Error)?;
            if updated.text != text {
                changed.push(Changed { path, mode, text: updated.text.clone() });
            }
            files.push((path.as_str().to_owned(), updated));
        }
        if changed.is_empty() {
            return Ok(Proposed { files, pull_request: None });
        }
        let (title, text) = words(self.proposal.result, &files);
        let message = format!("{title}\n\n{}", self.proposal.mark);
        let pull_request = if is_github {
            self.github_branch(&base, &changed, &message).await?;
            self.github_pull_request(&base, &title, &text).await?
        } else {
            self.gitlab_branch(&base, &changed, &message).await?;
            self.gitlab_merge_request(&base, &title, &text).await?
        };
        Ok(Proposed { files, pull_request: Some(pull_request) })
    }

    /// Makes something at `url`, once.
    async fn make<T: DeserializeOwned>(&self, what: &str, url: &Url, body: &Value) -> Result<T, Stop> {
        let made = self.forge.make(what, Method::POST, url, &Sent::Json(body)).await;
        made.map_err(|error| match error {
            // Somebody else was faster.
            forge::Error::Refused { what, status, message, .. } if message.contains("already exists") => {
                Stop::Again(Box::new(forge::Error::Broken { what, source: Cause(format!("{status}: {message}")) }))
            }
            error => Stop::Again(Box::new(error)),
        })
    }

    /// Whether a commit with this message is one of ours; that of somebody else ends the work.
    fn check_author(&self, message: &str) -> Result<(), Stop> {
        if message.lines().last() == Some(self.proposal.mark) {
            return Ok(());
        }
        let (repository, branch) = (self.place.path.clone(), self.proposal.branch.to_owned());
        Err(Stop::Error(Error::BranchOfOthers { repository, branch }))
    }

    /// The text of a file, as both forges give it.
    fn text(&self, path: &RepoPath, encoding: &str, content: &str) -> Result<String, Stop> {
        let not_text = || self.no_file(format!("`{path}` is not a text"));
        if encoding != "base64" || content.len() > MAX_BYTES * 2 {
            return Err(not_text());
        }
        let content: String = content.split_ascii_whitespace().collect();
        let bytes = STANDARD.decode(content).map_err(|_| not_text())?;
        String::from_utf8(bytes).map_err(|_| not_text())
    }

    fn no_branch(&self, branch: &str) -> Stop {
        self.no_file(format!("there is no branch `{branch}`"))
    }

    fn no_file(&self, why: String) -> Stop {
        Stop::Error(Error::NoFile { repository: self.place.path.clone(), why })
    }
}

/// Whether an open request says something else; forges give lines back with other ends.
fn differs(request: (&str, Option<&str>), title: &str, text: &str) -> bool {
    let shown = request.1.unwrap_or_default().replace("\r\n", "\n");
    request.0 != title || shown.trim_end() != text.trim_end()
}
