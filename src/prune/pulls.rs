//! Which pull requests and merge requests are closed.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::SecretString;
use serde::Deserialize;

use crate::registry::Limits;
use crate::registry::forge::{Error, Forge, ForgeKind};
use crate::ui::Ui;

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

/// GitHub's have a `number`; GitLab's an `iid` in the project, beside an `id` that nobody sees.
#[derive(Deserialize)]
struct Pull {
    #[serde(alias = "iid")]
    number: u64,
    state: String,
}

impl Pull {
    /// Whatever is not said to be over may go on.
    fn state(&self) -> State {
        if matches!(self.state.as_str(), "closed" | "merged") { State::Closed } else { State::Open }
    }
}

/// The states of the pull requests in `numbers`; those that are not there are left out.
///
/// # Errors
/// When the forge cannot be asked, or says no.
pub async fn states(place: &Place, numbers: &BTreeSet<u64>, ui: &Ui) -> Result<BTreeMap<u64, State>, Error> {
    // Newest first: those that have tags are mostly on the first page.
    let (kind, api, token, path, query) = match place {
        Place::GitHub { api, repository, token } => {
            let query = [("state", "all"), ("sort", "created"), ("direction", "desc")];
            (ForgeKind::GitHub, api, token, format!("repos/{repository}/pulls"), query.to_vec())
        }
        Place::GitLab { api, project, token } => {
            let query = [("state", "all"), ("scope", "all"), ("order_by", "created_at"), ("sort", "desc")];
            (ForgeKind::GitLab, api, token, format!("projects/{project}/merge_requests"), query.to_vec())
        }
    };
    let forge = Forge::at(kind, api, token, Limits::of_questions(), ui)?;
    let mut url = forge.url(&path.split('/').collect::<Vec<_>>());
    url.query_pairs_mut().extend_pairs(query);
    let mut missing = numbers.clone();
    let enough = |pulls: &[Pull]| {
        pulls.iter().for_each(|pull| _ = missing.remove(&pull.number));
        missing.is_empty()
    };
    let pulls = forge.list_until("reading the pull requests", &url, 100, enough).await?;
    let wanted = pulls.iter().filter(|pull| numbers.contains(&pull.number));
    // What is new on a page that moved on meanwhile may stand on two.
    Ok(wanted.map(|pull| (pull.number, pull.state())).collect())
}
