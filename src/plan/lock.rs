//! The lock file of each workspace, at head and at base, and what it says about a plugin.

use std::collections::HashMap;

use super::git::{Git, GitError};
use super::inputs::join;
use super::parallel;
use super::snapshot::Snapshot;
use crate::repo_path::RepoPath;
use crate::workspace::{Again, Closure, Direct, LockChange, Lockfile, PackageJson, Root, Workspace, Workspaces};

/// One state of a lock file, or why it cannot be read: then all of it counts for every plugin.
#[derive(Debug)]
pub(super) struct Lock(Result<Lockfile, String>);

/// The lock files at one state of the repository, by workspace.
pub(super) type Locks<'a> = HashMap<&'a RepoPath, Lock>;

/// The lock files as they stand on disk.
pub(super) fn on_disk(workspaces: &Workspaces) -> Locks<'_> {
    let all: Vec<&Workspace> = workspaces.by_path.values().collect();
    let read = |workspace: &&'_ Workspace| {
        let path = workspaces.root.join(join(workspace.path.as_str(), "yarn.lock"));
        std::fs::read(path).unwrap_or_default()
    };
    let texts = parallel(&all, read);
    read_all(&all, &texts)
}

/// The lock files of a commit.
pub(super) fn of_snapshot<'a>(
    workspaces: &'a Workspaces,
    git: &Git,
    snapshot: &Snapshot,
) -> Result<Locks<'a>, GitError> {
    let path = |workspace: &Workspace| join(workspace.path.as_str(), "yarn.lock");
    let there = workspaces.by_path.values().filter_map(|workspace| Some((workspace, snapshot.id(&path(workspace))?)));
    let (all, ids): (Vec<&Workspace>, Vec<&str>) = there.unzip();
    Ok(read_all(&all, &git.blobs(&ids)?))
}

fn read_all<'a>(workspaces: &[&'a Workspace], texts: &[Vec<u8>]) -> Locks<'a> {
    let pairs: Vec<_> = workspaces.iter().copied().zip(texts).collect();
    let read = |(workspace, text): &(&'a Workspace, &Vec<u8>)| {
        (&workspace.path, Lock::read(text, workspace, &workspace.manifest))
    };
    parallel(&pairs, read).into_iter().collect()
}

impl Lock {
    /// Reads the lock file of `workspace`; `manifest` is the root's `package.json` of the same state.
    pub(super) fn read(text: &[u8], workspace: &Workspace, manifest: &PackageJson) -> Self {
        let path = join(workspace.path.as_str(), "yarn.lock");
        let lockfile = Lockfile::parse(text, &path, manifest.ranges("resolutions"));
        Self(lockfile.map_err(|error| error.to_string()))
    }

    /// Why it cannot be read.
    pub(super) fn error(&self) -> Option<&str> {
        self.0.as_ref().err().map(String::as_str)
    }

    /// What a package's dependencies are locked to, and all that they lead to; why not, where that cannot be told.
    pub(super) fn third_party(&self, roots: &[Root<'_>]) -> Result<ThirdParty, String> {
        let lockfile = self.0.as_ref().map_err(Clone::clone)?;
        let direct = lockfile.direct(roots).map_err(|error| error.to_string())?;
        let closure = lockfile.closure([&direct]).map_err(|error| error.to_string())?;
        Ok(ThirdParty { direct, closure })
    }

    /// What the packages lead to together; the reason where that cannot be told.
    pub(super) fn join(&self, packages: &[&Result<ThirdParty, String>]) -> Result<(&Lockfile, Closure), String> {
        let lockfile = self.0.as_ref().map_err(Clone::clone)?;
        let mut closure = Closure::default();
        for package in packages {
            closure.join(&package.as_ref().map_err(Clone::clone)?.closure);
        }
        Ok((lockfile, closure))
    }
}

/// What one package gets from outside its workspace.
#[derive(Debug, Default)]
pub(super) struct ThirdParty {
    pub(super) direct: Direct,
    pub(super) closure: Closure,
}

/// A lock file at the base that is another at the head, with what it has in common with that.
#[derive(Debug)]
pub(super) struct LockBefore {
    lock: Lock,
    again: Option<Again>,
}

impl LockBefore {
    pub(super) fn new(lock: Lock, head: &Lock) -> Self {
        let again = lock.0.as_ref().ok().zip(head.0.as_ref().ok()).map(|(before, after)| after.again(before));
        Self { lock, again }
    }

    /// What a package's dependencies were locked to. What the base lacks is left out: it shows as added.
    pub(super) fn direct(&self, roots: &[Root<'_>]) -> Direct {
        self.lock.0.as_ref().map(|before| before.direct_of_known(roots)).unwrap_or_default()
    }

    /// What is different between the head's closure and the one at the base. `packages` are what led to them: the direct
    /// dependencies of each package, at the head and at the base.
    pub(super) fn changes(
        &self,
        packages: &[(&Direct, &Direct)],
        (lockfile, closure): (&Lockfile, &Closure),
    ) -> Result<Vec<LockChange>, String> {
        let before = self.lock.0.as_ref().map_err(Clone::clone)?;
        let Some(again) = &self.again else { return Ok(Vec::new()) };
        if again.is_same(closure, packages.iter().copied()) {
            return Ok(Vec::new());
        }
        let (ours, theirs) = (packages.iter().map(|(ours, _)| *ours), packages.iter().map(|(_, theirs)| *theirs));
        Ok(lockfile.changes_since(closure, ours, before, theirs, again))
    }
}
