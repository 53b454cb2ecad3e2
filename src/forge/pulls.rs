//! Which pull requests and merge requests are closed.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::SecretString;
use serde::Deserialize;

use super::{Answer, Error, Fault, MAX_PAGES, again, github, gitlab};

/// Where a project's pull requests are.
#[derive(Debug)]
pub enum Place {
    /// On GitHub.
    GitHub {
        /// `https://api.github.com`, or `https://host/api/v3`.
        api: String,
        /// `owner/name`.
        repository: String,
        /// Who asks.
        token: SecretString,
    },
    /// On GitLab.
    GitLab {
        /// `https://gitlab.com/api/v4`.
        api: String,
        /// The project's number.
        project: String,
        /// Who asks.
        token: SecretString,
    },
}

/// Whether a pull request takes no more commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It may still be merged.
    Open,
    /// It is merged, or closed.
    Closed,
}

#[derive(Deserialize)]
struct Pull {
    number: u64,
    state: String,
}

/// GitLab's have a number of their own beside that in the project, and GitHub's have no other.
#[derive(Deserialize)]
struct MergeRequest {
    iid: u64,
    state: String,
}

/// The states of the pull requests in `numbers`; those that are not there are left out.
///
/// # Errors
/// When the forge cannot be asked, or says no.
pub async fn states(place: &Place, numbers: &BTreeSet<u64>) -> Result<BTreeMap<u64, State>, Error> {
    let mut states = BTreeMap::new();
    // Newest first: those that have tags are mostly on the first page.
    for page in 1..=MAX_PAGES {
        if numbers.iter().all(|number| states.contains_key(number)) {
            break;
        }
        let (pulls, has_next) = again(async || read_page(place, page).await).await?;
        // What is new on a page that moved on meanwhile may stand on two.
        states.extend(pulls.into_iter().filter(|(number, _)| numbers.contains(number)));
        if !has_next {
            break;
        }
    }
    Ok(states)
}

async fn read_page(place: &Place, page: u32) -> Result<(Vec<(u64, State)>, bool), Fault> {
    let what = "reading the pull requests";
    // Whatever is not said to be over may go on.
    let state = |state: &str| if matches!(state, "closed" | "merged") { State::Closed } else { State::Open };
    let answer: Answer = match place {
        Place::GitHub { api, repository, token } => {
            let query = format!("state=all&sort=created&direction=desc&per_page=100&page={page}");
            let url = format!("{api}/repos/{repository}/pulls?{query}");
            github::Client::new(api, token)?.ask(what, github::Verb::Get, &url).await?.good(what)?
        }
        Place::GitLab { api, project, token } => {
            let query = format!("state=all&scope=all&order_by=created_at&sort=desc&per_page=100&page={page}");
            let url = format!("{api}/projects/{project}/merge_requests?{query}");
            gitlab::Client::new(token)?.ask(what, gitlab::Verb::Get, &url).await?.good(what)?
        }
    };
    let pulls = match place {
        Place::GitHub { .. } => {
            let pulls: Vec<Pull> = answer.json(what)?;
            pulls.into_iter().map(|pull| (pull.number, state(&pull.state))).collect()
        }
        Place::GitLab { .. } => {
            let pulls: Vec<MergeRequest> = answer.json(what)?;
            pulls.into_iter().map(|pull| (pull.iid, state(&pull.state))).collect()
        }
    };
    Ok((pulls, answer.has_next))
}
