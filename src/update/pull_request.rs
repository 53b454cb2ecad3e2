//! A pull request that brings files of another repository up to date: <https://docs.github.com/rest/git>. No git is
//! needed. The branch always has one commit on top of its base, made anew whenever something changes, so that it never
//! conflicts; and it is left alone once somebody else has committed to it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Error, MAX_BYTES, Ours, Updated, update, words::words};
use crate::forge::github::{Client, Verb};
use crate::forge::{self, Fault};
use crate::repo_path::RepoPath;
use crate::report::RunResult;

/// Where a pull request goes.
#[derive(Debug)]
pub struct Place {
    /// `https://api.github.com`, or `https://host/api/v3`.
    pub api: String,
    /// `owner/name`.
    pub repository: String,
    /// Who proposes.
    pub token: SecretString,
}

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

/// Opens the pull request, or brings the open one up to date.
///
/// # Errors
/// When a file cannot be brought up to date, when the branch is not ours, or when GitHub says no.
pub async fn propose(place: &Place, proposal: &Proposal<'_>) -> Result<Proposed, Error> {
    let outcome = forge::again(async || {
        let client = Client::new(&place.api, &place.token)?;
        let work = Work { client, repository: format!("{}/repos/{}", place.api, place.repository), place, proposal };
        match work.once().await {
            Ok(proposed) => Ok(Ok(proposed)),
            Err(Stop::Fault(fault)) => Err(fault),
            Err(Stop::Error(error)) => Ok(Err(error)),
        }
    });
    outcome.await.map_err(|source| Error::PullRequest { repository: place.repository.clone(), source })?
}

/// Why the work ends early.
enum Stop {
    Fault(Fault),
    Error(Error),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

struct Work<'a> {
    client: Client,
    /// `https://api.github.com/repos/owner/name`.
    repository: String,
    place: &'a Place,
    proposal: &'a Proposal<'a>,
}

#[derive(Deserialize)]
struct Repository {
    default_branch: String,
}

#[derive(Deserialize)]
struct Reference {
    object: Named,
}

#[derive(Deserialize)]
struct Named {
    sha: String,
}

#[derive(Deserialize)]
struct Commit {
    message: String,
    tree: Named,
    parents: Vec<Named>,
}

#[derive(Deserialize)]
struct Tree {
    tree: Vec<Entry>,
}

#[derive(Clone, Deserialize)]
struct Entry {
    path: String,
    mode: String,
    sha: String,
}

#[derive(Deserialize)]
struct Blob {
    content: String,
    encoding: String,
}

#[derive(Deserialize)]
struct Pull {
    number: u64,
    html_url: String,
    title: String,
    body: Option<String>,
}

impl Work<'_> {
    async fn once(&self) -> Result<Proposed, Stop> {
        let base: Repository = self.get("reading the repository", "").await?;
        let base_branch = base.default_branch;
        let Some(base) = self.reference(&base_branch).await? else {
            return Err(self.no_file(format!("there is no branch `{base_branch}`")));
        };
        let base_commit: Commit = self.get("reading the base commit", &format!("/git/commits/{base}")).await?;
        let mut files = Vec::new();
        let mut changed = Vec::new();
        for path in self.proposal.files {
            let (mode, text) = self.file(&base_commit.tree.sha, path).await?;
            let updated = update(path.as_str(), &text, self.proposal.ours).map_err(Stop::Error)?;
            if updated.text != text {
                changed.push(
                    json!({ "path": path.as_str(), "mode": mode, "type": "blob", "content": updated.text.clone() }),
                );
            }
            files.push((path.as_str().to_owned(), updated));
        }
        if changed.is_empty() {
            return Ok(Proposed { files, pull_request: None });
        }
        let (title, text) = words(self.proposal.result, &files);
        let tree = json!({ "base_tree": base_commit.tree.sha, "tree": changed });
        let tree: Named = self.post("writing the files", "/git/trees", &tree).await?;
        self.move_branch(&base, &tree.sha, &title).await?;
        let pull_request = Some(self.pull_request(&base_branch, &title, &text).await?);
        Ok(Proposed { files, pull_request })
    }

    /// The mode and the text of the file `path` in the tree `root`. Each folder is looked up, so that a link is seen.
    async fn file(&self, root: &str, path: &RepoPath) -> Result<(String, String), Stop> {
        let mut tree = root.to_owned();
        let mut entry = None;
        for name in path.as_str().split('/') {
            let folder: Tree = self.get("reading a folder", &format!("/git/trees/{tree}")).await?;
            let Some(found) = folder.tree.into_iter().find(|entry| entry.path == name) else {
                return Err(self.no_file(format!("there is no `{path}`")));
            };
            tree.clone_from(&found.sha);
            entry = Some(found);
        }
        let Some(Entry { mode, sha, .. }) = entry.filter(|entry| entry.mode.starts_with("100")) else {
            return Err(self.no_file(format!("`{path}` is not a file")));
        };
        let what = "reading a file";
        let blob: Blob = self.get(what, &format!("/git/blobs/{sha}")).await?;
        let not_text = || self.no_file(format!("`{path}` is not a text"));
        if blob.encoding != "base64" || blob.content.len() > MAX_BYTES * 2 {
            return Err(not_text());
        }
        let content: String = blob.content.split_ascii_whitespace().collect();
        let bytes = STANDARD.decode(content).map_err(|_| not_text())?;
        Ok((mode, String::from_utf8(bytes).map_err(|_| not_text())?))
    }

    /// Makes the branch one commit on top of `base` with the files of `tree`.
    async fn move_branch(&self, base: &str, tree: &str, title: &str) -> Result<(), Stop> {
        let branch = self.proposal.branch;
        let existing = self.reference(branch).await?;
        if let Some(existing) = &existing {
            let commit: Commit = self.get("reading the branch", &format!("/git/commits/{existing}")).await?;
            if commit.message.lines().last() != Some(self.proposal.mark) {
                let (repository, branch) = (self.place.repository.clone(), branch.to_owned());
                return Err(Stop::Error(Error::BranchOfOthers { repository, branch }));
            }
            if commit.tree.sha == tree && commit.parents.iter().map(|parent| parent.sha.as_str()).eq([base]) {
                return Ok(());
            }
        }
        let message = format!("{title}\n\n{}", self.proposal.mark);
        let commit = json!({ "message": message, "tree": tree, "parents": [base] });
        let commit: Named = self.post("making the commit", "/git/commits", &commit).await?;
        let what = "moving the branch";
        if existing.is_some() {
            let url = format!("{}/git/refs/heads/{}", self.repository, encoded(branch));
            let moved = json!({ "sha": commit.sha, "force": true });
            self.client.ask(what, Verb::Patch(&moved), &url).await?.good(what)?;
            return Ok(());
        }
        let made = json!({ "ref": format!("refs/heads/{branch}"), "sha": commit.sha });
        let url = format!("{}/git/refs", self.repository);
        let answer = self.client.ask(what, Verb::Post(&made), &url).await?;
        // Another run has made it since we looked.
        if answer.status == 422 {
            return Err(Fault::Again { why: format!("{what}: {}", answer.message()), after: None }.into());
        }
        answer.good(what)?;
        Ok(())
    }

    async fn pull_request(&self, base: &str, title: &str, text: &str) -> Result<PullRequest, Stop> {
        let branch = self.proposal.branch;
        let owner = self.place.repository.split('/').next().unwrap_or_default();
        let query = format!("/pulls?state=open&head={owner}:{}&base={}", encoded(branch), encoded(base));
        let open: Vec<Pull> = self.get("looking for the pull request", &query).await?;
        if let Some(open) = open.into_iter().next() {
            if open.title != title
                || open.body.as_deref().map(|body| body.replace("\r\n", "\n")).as_deref() != Some(text)
            {
                let what = "updating the pull request";
                let url = format!("{}/pulls/{}", self.repository, open.number);
                let words = json!({ "title": title, "body": text });
                self.client.ask(what, Verb::Patch(&words), &url).await?.good(what)?;
            }
            return Ok(PullRequest { url: open.html_url, opened: false });
        }
        let what = "opening the pull request";
        let new = json!({ "title": title, "body": text, "head": branch, "base": base });
        let answer = self.client.ask(what, Verb::Post(&new), &format!("{}/pulls", self.repository)).await?;
        if answer.status == 422 && answer.body.contains("already exists") {
            return Err(Fault::Again { why: format!("{what}: {}", answer.message()), after: None }.into());
        }
        let pull: Pull = answer.good(what)?.json(what)?;
        Ok(PullRequest { url: pull.html_url, opened: true })
    }

    /// The commit of a branch; `None` where there is none.
    async fn reference(&self, branch: &str) -> Result<Option<String>, Stop> {
        let what = "reading a branch";
        let url = format!("{}/git/ref/heads/{}", self.repository, encoded(branch));
        let answer = self.client.ask(what, Verb::Get, &url).await?;
        if answer.status == 404 {
            return Ok(None);
        }
        Ok(Some(answer.good(what)?.json::<Reference>(what)?.object.sha))
    }

    async fn get<T: DeserializeOwned>(&self, what: &str, path: &str) -> Result<T, Stop> {
        Ok(self.client.ask(what, Verb::Get, &format!("{}{path}", self.repository)).await?.good(what)?.json(what)?)
    }

    async fn post<T: DeserializeOwned>(&self, what: &str, path: &str, body: &Value) -> Result<T, Stop> {
        let url = format!("{}{path}", self.repository);
        Ok(self.client.ask(what, Verb::Post(body), &url).await?.good(what)?.json(what)?)
    }

    fn no_file(&self, why: String) -> Stop {
        Stop::Error(Error::NoFile { repository: self.place.repository.clone(), why })
    }
}

/// A branch's name in a URL.
fn encoded(branch: &str) -> String {
    let mut text = String::new();
    for byte in branch.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'/' | b'-' => text.push(char::from(byte)),
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_are_encoded() {
        assert_eq!(encoded("feature/ü#1"), "feature/%C3%BC%231");
    }
}
