//! The lock file of each workspace, at head and at base, and what it says about a plugin.

use std::collections::HashMap;

use super::inputs::join;
use crate::repo_path::RepoPath;
use crate::workspace::{Closure, LockChange, Lockfile, PackageJson, Root, Workspace};

/// One state of a lock file.
#[derive(Debug)]
pub(super) enum Lock {
    Read(Lockfile),
    /// It cannot be read: all of it counts for every plugin.
    Unread {
        why: String,
    },
}

/// The lock files at one state of the repository, by workspace.
pub(super) type Locks<'a> = HashMap<&'a RepoPath, Lock>;

impl Lock {
    /// Reads the lock file of `workspace`; `manifest` is the root's `package.json` of the same state.
    pub(super) fn read(text: &[u8], workspace: &Workspace, manifest: &PackageJson) -> Self {
        let path = join(workspace.path.as_str(), "yarn.lock");
        match Lockfile::parse(text, &path, manifest.ranges("resolutions")) {
            Ok(lockfile) => Self::Read(lockfile),
            Err(error) => Self::Unread { why: error.to_string() },
        }
    }

    /// What `roots` lead to; the reason where that cannot be told.
    pub(super) fn closure(&self, roots: &[Root<'_>]) -> Result<(&Lockfile, Closure), String> {
        match self {
            Self::Read(lockfile) => match lockfile.closure(roots) {
                Ok(closure) => Ok((lockfile, closure)),
                Err(error) => Err(error.to_string()),
            },
            Self::Unread { why } => Err(why.clone()),
        }
    }

    /// What is different between this lock file's closure and the one at `base`. Nothing is missed where the base's
    /// lock file lacks a package: it shows as added.
    pub(super) fn changes_since(
        base: &Self,
        roots: &[Root<'_>],
        head: (&Lockfile, &Closure),
    ) -> Result<Vec<LockChange>, String> {
        let Self::Read(before) = base else {
            let Self::Unread { why } = base else { return Ok(Vec::new()) };
            return Err(why.clone());
        };
        let closure = before.closure_of_known(roots);
        let (lockfile, after) = head;
        if before.digest(&closure) == lockfile.digest(after) {
            return Ok(Vec::new());
        }
        Ok(lockfile.changes_since(after, before, &closure))
    }
}
