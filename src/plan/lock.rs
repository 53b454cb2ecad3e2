//! The lock file of each workspace, at head and at base, and what it says about a plugin.

use std::collections::HashMap;

use super::inputs::join;
use crate::repo_path::RepoPath;
use crate::workspace::{Closure, LockChange, Lockfile, PackageJson, Root, Workspace};

/// One state of a lock file, or why it cannot be read: then all of it counts for every plugin.
#[derive(Debug)]
pub(super) struct Lock(Result<Lockfile, String>);

/// The lock files at one state of the repository, by workspace.
pub(super) type Locks<'a> = HashMap<&'a RepoPath, Lock>;

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

    /// What `roots` lead to; the reason where that cannot be told.
    pub(super) fn closure(&self, roots: &[Root<'_>]) -> Result<(&Lockfile, Closure), String> {
        let lockfile = self.0.as_ref().map_err(Clone::clone)?;
        Ok((lockfile, lockfile.closure(roots).map_err(|error| error.to_string())?))
    }

    /// What is different between this lock file's closure and the one at `base`. Nothing is missed where the base's
    /// lock file lacks a package: it shows as added.
    pub(super) fn changes_since(
        base: &Self,
        roots: &[Root<'_>],
        head: (&Lockfile, &Closure),
    ) -> Result<Vec<LockChange>, String> {
        let before = base.0.as_ref().map_err(Clone::clone)?;
        let closure = before.closure_of_known(roots);
        let (lockfile, after) = head;
        if before.digest(&closure) == lockfile.digest(after) {
            return Ok(Vec::new());
        }
        Ok(lockfile.changes_since(after, before, &closure))
    }
}
