//! The merge request on GitLab: <https://docs.gitlab.com/api/commits/>, <https://docs.gitlab.com/api/merge_requests/>.

use std::collections::BTreeSet;

use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Base, Changed, PullRequest, Stop, Work, differs};
use crate::registry::forge::{Error, Sent};
use crate::repo_path::RepoPath;

#[derive(Deserialize)]
struct Project {
    id: u64,
    /// `None` for a repository without a commit.
    default_branch: Option<String>,
}

#[derive(Deserialize)]
struct Branch {
    commit: Commit,
}

#[derive(Deserialize)]
struct Commit {
    id: String,
    message: String,
    #[serde(default)]
    parent_ids: Vec<String>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    mode: String,
}

#[derive(Deserialize)]
struct File {
    content: String,
    encoding: String,
}

#[derive(Deserialize)]
struct Difference {
    new_path: String,
}

#[derive(Deserialize)]
struct MergeRequest {
    iid: u64,
    web_url: String,
    title: String,
    description: Option<String>,
    source_project_id: Option<u64>,
}

impl Work<'_> {
    pub(super) async fn gitlab_base(&self) -> Result<Base, Stop> {
        let project: Project = self.forge.get("reading the project", &self.project(&[])).await?;
        let branch = project.default_branch.unwrap_or_default();
        let found = if branch.is_empty() { None } else { self.branch(&branch).await? };
        let commit = found.ok_or_else(|| self.no_branch(&branch))?.id;
        Ok(Base { branch, commit, root: project.id.to_string() })
    }

    /// The mode and the text of a file. Its folder is looked up, so that a link is seen.
    pub(super) async fn gitlab_file(&self, base: &Base, path: &RepoPath) -> Result<(String, String), Stop> {
        let no_file = || self.no_file(format!("there is no `{path}`"));
        let (folder, name) = path.as_str().rsplit_once('/').unwrap_or(("", path.as_str()));
        let mut url = self.project(&["repository", "tree"]);
        url.query_pairs_mut().append_pair("path", folder).append_pair("ref", &base.commit);
        let has = |entries: &[Entry]| entries.iter().any(|entry| entry.name == name);
        let entries = match self.forge.list_until::<Entry>("reading a folder", &url, 100, has).await {
            // "404 Tree Not Found"
            Err(error) if error.is_missing() => Vec::new(),
            entries => entries?,
        };
        let entry = entries.into_iter().find(|entry| entry.name == name).ok_or_else(no_file)?;
        if !entry.mode.starts_with("100") {
            return Err(self.no_file(format!("`{path}` is not a file")));
        }
        let file = self.file(path, &base.commit).await?.ok_or_else(no_file)?;
        Ok((entry.mode, self.text(path, &file.encoding, &file.content)?))
    }

    /// Makes the branch one commit on top of the base.
    pub(super) async fn gitlab_branch(&self, base: &Base, changed: &[Changed<'_>], message: &str) -> Result<(), Stop> {
        let branch = self.proposal.branch;
        if let Some(commit) = self.branch(branch).await? {
            self.check_author(&commit.message)?;
            if commit.parent_ids == [base.commit.as_str()] && self.is_up_to_date(&commit, changed).await? {
                return Ok(());
            }
        }
        let actions = changed
            .iter()
            .map(|file| json!({ "action": "update", "file_path": file.path.as_str(), "content": file.text }))
            .collect::<Vec<_>>();
        // With `force`, the branch becomes `start_sha` and this commit, wherever it was.
        let commit = json!({
            "branch": branch, "start_sha": base.commit, "force": true, "commit_message": message, "actions": actions,
        });
        let url = self.project(&["repository", "commits"]);
        self.make::<Value>("making the commit", &url, &commit).await?;
        Ok(())
    }

    /// Whether a commit changes the files to what they should be, and nothing else.
    async fn is_up_to_date(&self, commit: &Commit, changed: &[Changed<'_>]) -> Result<bool, Stop> {
        let url = self.project(&["repository", "commits", &commit.id, "diff"]);
        let differences: Vec<Difference> = self.forge.list("reading the branch", &url).await?;
        let paths: BTreeSet<&str> = differences.iter().map(|difference| difference.new_path.as_str()).collect();
        if paths != changed.iter().map(|file| file.path.as_str()).collect() {
            return Ok(false);
        }
        for file in changed {
            let there = self.file(file.path, &commit.id).await?;
            let text = there.and_then(|there| self.text(file.path, &there.encoding, &there.content).ok());
            if text.as_ref() != Some(&file.text) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) async fn gitlab_merge_request(&self, base: &Base, title: &str, text: &str) -> Result<PullRequest, Stop> {
        let branch = self.proposal.branch;
        let mut open = self.project(&["merge_requests"]);
        let query = [("state", "opened"), ("source_branch", branch), ("target_branch", &base.branch)];
        open.query_pairs_mut().extend_pairs(query);
        // A fork may have a branch of this name, too.
        let is_ours =
            |request: &MergeRequest| request.source_project_id.is_some_and(|project| project.to_string() == base.root);
        let open: Vec<MergeRequest> = self.forge.list("looking for the merge request", &open).await?;
        let words = json!({ "title": title, "description": text });
        if let Some(open) = open.into_iter().find(is_ours) {
            if differs((&open.title, open.description.as_deref()), title, text) {
                let url = self.project(&["merge_requests", &open.iid.to_string()]);
                let what = "updating the merge request";
                self.forge.change::<Value>(what, Method::PUT, &url, &Sent::Json(&words)).await?;
            }
            return Ok(PullRequest { url: open.web_url, opened: false });
        }
        let mut new = words;
        new["source_branch"] = json!(branch);
        new["target_branch"] = json!(base.branch);
        new["remove_source_branch"] = json!(true);
        let url = self.project(&["merge_requests"]);
        let made: MergeRequest = self.make("opening the merge request", &url, &new).await?;
        Ok(PullRequest { url: made.web_url, opened: true })
    }

    /// The last commit of a branch; `None` where there is none.
    async fn branch(&self, branch: &str) -> Result<Option<Commit>, Error> {
        let url = self.project(&["repository", "branches", branch]);
        Ok(self.forge.find::<Branch>("reading a branch", &url).await?.map(|branch| branch.commit))
    }

    async fn file(&self, path: &RepoPath, commit: &str) -> Result<Option<File>, Error> {
        let mut url = self.project(&["repository", "files", path.as_str()]);
        url.query_pairs_mut().append_pair("ref", commit);
        self.forge.find("reading a file", &url).await
    }

    /// The URL of `parts` below the project's.
    fn project(&self, parts: &[&str]) -> Url {
        self.forge.url(&[&["projects", &self.place.path], parts].concat())
    }
}
