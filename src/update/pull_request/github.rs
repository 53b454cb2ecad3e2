//! The pull request on GitHub: <https://docs.github.com/rest/git>.

use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Base, Changed, PullRequest, Stop, Work, differs};
use crate::registry::forge::{Error, Sent};
use crate::repo_path::RepoPath;

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
    pub(super) async fn github_base(&self) -> Result<Base, Stop> {
        let repository: Repository = self.forge.get("reading the repository", &self.url("")).await?;
        let branch = repository.default_branch;
        let commit = self.reference(&branch).await?.ok_or_else(|| self.no_branch(&branch))?;
        let root = self.commit("reading the base commit", &commit).await?.tree.sha;
        Ok(Base { branch, commit, root })
    }

    /// The mode and the text of a file. Each folder is looked up, so that a link is seen.
    pub(super) async fn github_file(&self, base: &Base, path: &RepoPath) -> Result<(String, String), Stop> {
        let mut tree = base.root.clone();
        let mut entry = None;
        for name in path.as_str().split('/') {
            let folder: Tree = self.forge.get("reading a folder", &self.url(&format!("git/trees/{tree}"))).await?;
            let Some(found) = folder.tree.into_iter().find(|entry| entry.path == name) else {
                return Err(self.no_file(format!("there is no `{path}`")));
            };
            tree.clone_from(&found.sha);
            entry = Some(found);
        }
        let Some(Entry { mode, sha, .. }) = entry.filter(|entry| entry.mode.starts_with("100")) else {
            return Err(self.no_file(format!("`{path}` is not a file")));
        };
        let blob: Blob = self.forge.get("reading a file", &self.url(&format!("git/blobs/{sha}"))).await?;
        Ok((mode, self.text(path, &blob.encoding, &blob.content)?))
    }

    /// Makes the branch one commit on top of the base.
    pub(super) async fn github_branch(&self, base: &Base, changed: &[Changed<'_>], message: &str) -> Result<(), Stop> {
        let entry = |file: &Changed<'_>| json!({ "path": file.path.as_str(), "mode": file.mode, "type": "blob", "content": file.text });
        let tree = json!({ "base_tree": base.root, "tree": changed.iter().map(entry).collect::<Vec<_>>() });
        let tree: Named = self.make("writing the files", &self.url("git/trees"), &tree).await?;
        let branch = self.proposal.branch;
        let existing = self.reference(branch).await?;
        if let Some(existing) = &existing {
            let commit = self.commit("reading the branch", existing).await?;
            self.check_author(&commit.message)?;
            let parents = commit.parents.iter().map(|parent| &parent.sha);
            if commit.tree.sha == tree.sha && parents.eq([&base.commit]) {
                return Ok(());
            }
        }
        let commit = json!({ "message": message, "tree": tree.sha, "parents": [base.commit] });
        let commit: Named = self.make("making the commit", &self.url("git/commits"), &commit).await?;
        let what = "moving the branch";
        if existing.is_some() {
            let moved = json!({ "sha": commit.sha, "force": true });
            let url = self.url(&format!("git/refs/heads/{branch}"));
            self.forge.change::<Value>(what, Method::PATCH, &url, &Sent::Json(&moved)).await?;
        } else {
            let made = json!({ "ref": format!("refs/heads/{branch}"), "sha": commit.sha });
            self.make::<Value>(what, &self.url("git/refs"), &made).await?;
        }
        Ok(())
    }

    pub(super) async fn github_pull_request(&self, base: &Base, title: &str, text: &str) -> Result<PullRequest, Stop> {
        let branch = self.proposal.branch;
        let mut open = self.url("pulls");
        let owner = self.place.path.split('/').next().unwrap_or_default();
        let query = [("state", "open"), ("head", &format!("{owner}:{branch}")), ("base", &base.branch)];
        open.query_pairs_mut().extend_pairs(query);
        let open: Vec<Pull> = self.forge.get("looking for the pull request", &open).await?;
        if let Some(open) = open.into_iter().next() {
            if differs((&open.title, open.body.as_deref()), title, text) {
                let words = json!({ "title": title, "body": text });
                let url = self.url(&format!("pulls/{}", open.number));
                let what = "updating the pull request";
                self.forge.change::<Value>(what, Method::PATCH, &url, &Sent::Json(&words)).await?;
            }
            return Ok(PullRequest { url: open.html_url, opened: false });
        }
        let new = json!({ "title": title, "body": text, "head": branch, "base": base.branch });
        let pull: Pull = self.make("opening the pull request", &self.url("pulls"), &new).await?;
        Ok(PullRequest { url: pull.html_url, opened: true })
    }

    /// The commit of a branch; `None` where there is none.
    async fn reference(&self, branch: &str) -> Result<Option<String>, Error> {
        let url = self.url(&format!("git/ref/heads/{branch}"));
        let reference = self.forge.find::<Reference>("reading a branch", &url).await?;
        Ok(reference.map(|reference| reference.object.sha))
    }

    async fn commit(&self, what: &str, sha: &str) -> Result<Commit, Error> {
        self.forge.get(what, &self.url(&format!("git/commits/{sha}"))).await
    }

    /// The URL of `path` below the repository's.
    fn url(&self, path: &str) -> Url {
        let parts = ["repos"].into_iter().chain(self.place.path.split('/'));
        self.forge.url(&parts.chain(path.split('/').filter(|part| !part.is_empty())).collect::<Vec<_>>())
    }
}
