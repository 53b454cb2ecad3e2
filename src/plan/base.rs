//! The commit that the repository is compared with. What the CI says and what the user asked for come in; what goes
//! out is a commit that is in this clone, with the reason in words, or the reason why there is none. A shallow clone
//! is deepened, step by step, as far as the answer needs.

use std::fmt;
use std::path::Path;

use super::git::{Git, GitError};
use crate::ci::{Ci, Event};

/// How many commits each fetch adds to a shallow clone; then the rest.
const STEPS: [u32; 4] = [2, 20, 200, 2_000];

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// Compare with this commit.
    Commit { id: String, reason: String },
    /// There is nothing to compare with, and should not be: everything counts as changed.
    Everything { reason: String },
    /// There should be a base, but it cannot be known.
    Unknown { reason: String },
}

/// What a clone holds of its history, as far as a plan asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// Whether it is cut off.
    pub shallow: bool,
    /// The commit that the next plan compares with; `None` where that is not in the clone, or there is none.
    pub base: Option<String>,
    /// Why that one, or why there is none.
    pub reason: String,
    /// True where there should be a base, and none is in the clone.
    pub unknown: bool,
}

/// Looks at the history of the repository that `folder` is in; `None` where it is in none. Nothing is fetched.
///
/// # Errors
/// When git cannot be run or does not want to read the repository.
pub fn history(folder: &Path, ci: &Ci) -> Result<Option<History>, GitError> {
    let Some(mut git) = Git::open(folder)? else { return Ok(None) };
    git.may_fetch = false;
    let head = git.commit("HEAD");
    let (base, reason, unknown) = match find(&git, head.as_deref(), ci, None) {
        Ok(Base::Commit { id, reason }) => (Some(id), reason, false),
        Ok(Base::Everything { reason }) => (None, reason, false),
        Ok(Base::Unknown { reason }) => (None, reason, true),
        Err(error) => (None, error.to_string(), true),
    };
    Ok(Some(History { shallow: git.is_shallow(), base, reason, unknown }))
}

/// `commit` as people read it.
pub fn short(commit: &str) -> &str {
    commit.get(..10).unwrap_or(commit)
}

/// Finds the base of the commit `head`; `named` is the user's `--base`.
pub(super) fn find(git: &Git, head: Option<&str>, ci: &Ci, named: Option<&str>) -> Result<Base, NoSuchBase> {
    let Some(head) = head else {
        return Ok(unknown("the repository has no commit yet"));
    };
    if let Some(revision) = named {
        let missing = || NoSuchBase { revision: revision.to_owned() };
        let is_id = matches!(revision.len(), 40 | 64) && revision.bytes().all(|digit| digit.is_ascii_hexdigit());
        if is_id && git.commit(revision).is_none() {
            // It may be of any branch, whose history is not needed. What is wrong shows below.
            let _ = fetch(git, git.is_shallow().then_some("--depth=1"), &[revision]);
        }
        let id = until(git, &[head], || git.commit(revision)).map_err(|_| missing())?;
        return Ok(Base::Commit { id, reason: format!("`--base {revision}`") });
    }
    Ok(match &ci.event {
        Event::PullRequest { .. } => pull_request(git, head, ci),
        Event::Push { branch } => push(git, head, ci, branch),
        Event::Tag { name } => everything(&format!("a tag (`{name}`) is compared with the registries only")),
        Event::Schedule => everything("a scheduled run is compared with the registries only"),
        Event::Manual => everything("a run started by hand is compared with the registries only"),
        Event::Local => local(git, head),
        Event::Other(event) => match (event.as_str(), ci.compare.base.as_deref()) {
            ("merge_group", Some(base)) => known(git, head, base, "the base of the merge queue's group"),
            ("merge_group", None) => unknown("the CI does not say what the merge queue's group is based on"),
            _ => unknown(&format!("rhdh-pack does not know what an event `{event}` is compared with")),
        },
    })
}

/// `--base` names nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("`--base {revision}` is no commit of this repository")]
#[diagnostic(help(
    "give the commit's whole id, which is fetched, or fetch its branch first (`git fetch origin main`); \
     `git log --oneline --all` shows what is here"
))]
pub struct NoSuchBase {
    revision: String,
}

fn unknown(reason: &str) -> Base {
    Base::Unknown { reason: reason.to_owned() }
}

fn everything(reason: &str) -> Base {
    Base::Everything { reason: reason.to_owned() }
}

fn pull_request(git: &Git, head: &str, ci: &Ci) -> Base {
    // The CI may check out a merge of the pull request into its target, whose first parent is the target. Where it does
    // not say what it merged, this may as well be a merge into the pull request's own branch.
    let parents = git.parents(head).unwrap_or_default();
    if let [target, own] = parents.as_slice()
        && ci.compare.head.as_ref() == Some(own)
        && ci.sha.as_ref().is_none_or(|sha| sha == head)
    {
        return known(git, head, target, "the target branch, as it was merged with");
    }
    let Some(target) = ci.compare.base.as_deref() else {
        return unknown("the CI does not say what the pull request is for");
    };
    // The target branch may have gone on: what counts is where the pull request left it.
    let common = || git.merge_base(&git.commit(target)?, head);
    match until(git, &[head, target], common) {
        Ok(id) => Base::Commit { reason: format!("the merge base with the target branch ({})", short(target)), id },
        Err(lack) => {
            unknown(&format!("the clone has no common ancestor with the target's commit {}{lack}", short(target)))
        }
    }
}

fn push(git: &Git, head: &str, ci: &Ci, branch: &str) -> Base {
    let Some(before) = ci.compare.before.as_deref() else {
        return unknown("the CI does not say where the branch stood before the push");
    };
    if before.bytes().all(|digit| digit == b'0') {
        return unknown(&format!("`{branch}` is new: it has no commit before the push"));
    }
    let replaced = || unknown(&format!("a force push replaced {}, where `{branch}` stood before", short(before)));
    if ci.compare.forced {
        return replaced();
    }
    match until(git, &[head], || git.is_ancestor(before, head).then(|| before.to_owned())) {
        Ok(id) => Base::Commit { id, reason: format!("where `{branch}` stood before the push") },
        Err(Lack(None)) => replaced(),
        Err(lack) => unknown(&format!("{}, where `{branch}` stood before, is not in this clone{lack}", short(before))),
    }
}

fn local(git: &Git, head: &str) -> Base {
    let remote = git.run(&["symbolic-ref", "--quiet", "refs/remotes/origin/HEAD"]).ok();
    let remote = remote.map(|name| String::from_utf8_lossy(&name).trim().to_owned());
    let usual = ["refs/remotes/origin/main", "refs/remotes/origin/master", "refs/heads/main", "refs/heads/master"];
    for branch in remote.into_iter().chain(usual.map(str::to_owned)) {
        if let Some(target) = git.commit(&branch) {
            let shown = branch.trim_start_matches("refs/remotes/").trim_start_matches("refs/heads/");
            return match until(git, &[head, &target], || git.merge_base(&target, head)) {
                Ok(id) => Base::Commit { id, reason: format!("the merge base with `{shown}`") },
                Err(lack) => unknown(&format!("there is no common ancestor with `{shown}` in this clone{lack}")),
            };
        }
    }
    unknown("there is no default branch to compare with: no `origin/HEAD`, `main` or `master`")
}

/// The commit `id`, fetched if need be.
fn known(git: &Git, head: &str, id: &str, reason: &str) -> Base {
    let found = until(git, &[head], || git.commit(id));
    match found.or_else(|_| fetch(git, None, &[id]).and_then(|()| git.commit(id).ok_or(Lack(None)))) {
        Ok(id) => Base::Commit { id, reason: reason.to_owned() },
        Err(lack) => unknown(&format!("{}, {reason}, is not in this clone{lack}", short(id))),
    }
}

/// Why a clone has no answer, in words; `None` where it has all of the history.
struct Lack(Option<String>);

impl Lack {
    fn failed(cause: &str) -> Self {
        let said = cause.lines().find_map(|line| line.strip_prefix("fatal: ")).or_else(|| cause.lines().next());
        Self(Some(format!("and it cannot be fetched: {}", said.unwrap_or("git does not say why"))))
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(why) => write!(formatter, ", {why}"),
            None => Ok(()),
        }
    }
}

/// Asks again and again while the clone gets what it lacks: first those of `commits` that are not here, then, where it
/// is shallow, more and more of their history.
fn until<T>(git: &Git, commits: &[&str], answer: impl Fn() -> Option<T>) -> Result<T, Lack> {
    if let Some(found) = answer() {
        return Ok(found);
    }
    let missing: Vec<&str> = commits.iter().copied().filter(|commit| git.commit(commit).is_none()).collect();
    let mut lack = Lack(None);
    if !missing.is_empty() {
        // A depth cuts history off where it is given for a commit that is here. These are not, and in a shallow clone
        // each would else bring all of its history along.
        lack = fetch(git, git.is_shallow().then_some("--depth=1"), &missing).err().unwrap_or(lack);
        if let Some(found) = answer() {
            return Ok(found);
        }
    }
    let steps = STEPS.iter().map(|step| format!("--deepen={step}")).chain(std::iter::once("--unshallow".to_owned()));
    for step in steps {
        if !git.is_shallow() {
            return Err(lack);
        }
        // A commit that only this clone has, or one that is gone, makes the server refuse the whole fetch.
        fetch(git, Some(&step), commits)
            .or_else(|_| fetch(git, Some(&step), commits.get(..1).unwrap_or_default()))
            .or_else(|_| fetch(git, Some(&step), &[]))?;
        if let Some(found) = answer() {
            return Ok(found);
        }
    }
    Err(lack)
}

/// Fetches `commits`, or what git would, where there are none.
fn fetch(git: &Git, option: Option<&str>, commits: &[&str]) -> Result<(), Lack> {
    if !git.may_fetch {
        return Err(Lack(Some("and nothing is fetched for a mere look".to_owned())));
    }
    // No tags, no submodules, no clean-up in the background that would lock the next fetch out.
    let quiet = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-auto-maintenance"];
    let arguments = [&quiet[..], option.as_slice(), &["--end-of-options", "origin"], commits].concat();
    let fetched = git.run(&arguments);
    git.look_again();
    fetched.map(drop).map_err(|error| match error {
        GitError::Failed { cause, .. } => Lack::failed(&cause),
        error => Lack::failed(&error.to_string()),
    })
}
