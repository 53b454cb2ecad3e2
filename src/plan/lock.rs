//! The lock file of each workspace, at head and at base, and what it says about a plugin.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::git::{Git, GitError};
use super::inputs::join;
use super::reasons::lock_change;
use super::snapshot::Snapshot;
use super::{Reason, parallel};
use crate::repo_path::RepoPath;
use crate::rhdh::CLI_PACKAGE;
use crate::workspace::{
    Again, Closure, Direct, LockChange, Lockfile, Package, PackageJson, Root, Workspace, Workspaces,
};

/// One state of a lock file, or why it cannot be read: then all of it counts for every plugin.
#[derive(Debug)]
pub(super) struct Lock(Result<Lockfile, String>);

/// The lock files at one state of the repository, by workspace.
pub(super) type Locks<'a> = HashMap<&'a RepoPath, Arc<Lock>>;

/// The lock file at the top, read while nobody knows yet whether there is a workspace: most repositories have that one,
/// and nothing else of the size.
pub(super) struct Ahead {
    pub(super) text: Vec<u8>,
    /// The `package.json` that was taken for the root's.
    manifest: PackageJson,
    lock: Arc<Lock>,
}

impl Ahead {
    /// As it stands on disk, in the folder of `rhdh-plugins.toml`.
    pub(super) fn on_disk(root: &Path) -> Option<Self> {
        let manifest = std::fs::read(root.join("package.json")).ok()?;
        Self::new(std::fs::read(root.join("yarn.lock")).ok()?, &manifest)
    }

    /// As it was at a commit, where that is not as the index has it.
    pub(super) fn of_commit(git: &Git, commit: &str, index: &Snapshot) -> Option<Self> {
        let files = git.top_of(commit)?;
        let id = |name: &str| files.iter().find(|(file, _)| file == name.as_bytes()).map(|(_, id)| id.as_str());
        let lock = id("yarn.lock").filter(|id| index.id("yarn.lock") != Some(id))?;
        let [text, manifest] = git.blobs(&[lock, id("package.json")?]).ok()?.try_into().ok()?;
        Self::new(text, &manifest)
    }

    fn new(text: Vec<u8>, manifest: &[u8]) -> Option<Self> {
        let manifest = PackageJson::parse(manifest, "package.json").ok()?;
        let lock = Arc::new(Lock::read(&text, "yarn.lock", &manifest));
        Some(Self { text, manifest, lock })
    }

    /// The lock file, if `text` with `manifest` is what was read.
    pub(super) fn take(&self, workspace: &RepoPath, text: &[u8], manifest: &PackageJson) -> Option<Arc<Lock>> {
        let same = || self.manifest.ranges("resolutions").eq(manifest.ranges("resolutions")) && self.text == text;
        (workspace.is_root() && same()).then(|| Arc::clone(&self.lock))
    }
}

/// The text of each workspace's lock file as it stands on disk.
pub(super) fn on_disk<'a>(
    workspaces: &'a Workspaces,
    ahead: Option<&'a Ahead>,
) -> HashMap<&'a RepoPath, Cow<'a, [u8]>> {
    let all: Vec<&Workspace> = workspaces.by_path.values().collect();
    let read = |workspace: &&'a Workspace| match ahead.filter(|_| workspace.path.is_root()) {
        Some(ahead) => Cow::Borrowed(ahead.text.as_slice()),
        None => {
            let path = workspaces.root.join(join(workspace.path.as_str(), "yarn.lock"));
            Cow::Owned(std::fs::read(path).unwrap_or_default())
        }
    };
    all.iter().map(|workspace| &workspace.path).zip(parallel(&all, read)).collect()
}

/// The text of each workspace's lock file in a commit, as far as it has one.
pub(super) fn of_snapshot<'a>(
    workspaces: &'a Workspaces,
    git: &Git,
    snapshot: &Snapshot,
) -> Result<HashMap<&'a RepoPath, Cow<'a, [u8]>>, GitError> {
    let path = |workspace: &Workspace| join(workspace.path.as_str(), "yarn.lock");
    let there =
        workspaces.by_path.values().filter_map(|workspace| Some((&workspace.path, snapshot.id(&path(workspace))?)));
    let (all, ids): (Vec<&RepoPath>, Vec<&str>) = there.unzip();
    Ok(all.into_iter().zip(git.blobs(&ids)?.into_iter().map(Cow::Owned)).collect())
}

/// Reads the lock files of all workspaces that have one.
pub(super) fn read_all<'a>(
    workspaces: &'a Workspaces,
    texts: &HashMap<&RepoPath, Cow<'_, [u8]>>,
    ahead: Option<&Ahead>,
) -> Locks<'a> {
    let there = workspaces.by_path.values().filter_map(|workspace| Some((workspace, texts.get(&workspace.path)?)));
    let pairs: Vec<(&Workspace, &Cow<'_, [u8]>)> = there.collect();
    let read = |(workspace, text): &(&'a Workspace, &Cow<'_, [u8]>)| {
        (&workspace.path, Lock::of(workspace, text, &workspace.manifest, ahead))
    };
    parallel(&pairs, read).into_iter().collect()
}

impl Lock {
    /// Reads the lock file of `workspace`, if it was not read `ahead`; `manifest` is the root's `package.json` of the
    /// same state.
    pub(super) fn of(workspace: &Workspace, text: &[u8], manifest: &PackageJson, ahead: Option<&Ahead>) -> Arc<Self> {
        let read = || Arc::new(Self::read(text, &join(workspace.path.as_str(), "yarn.lock"), manifest));
        ahead.and_then(|ahead| ahead.take(&workspace.path, text, manifest)).unwrap_or_else(read)
    }

    fn read(text: &[u8], path: &str, manifest: &PackageJson) -> Self {
        let lockfile = Lockfile::parse(text, path, manifest.ranges("resolutions"));
        Self(lockfile.map_err(|error| error.to_string()))
    }

    /// Why it cannot be read.
    pub(super) fn error(&self) -> Option<&str> {
        self.0.as_ref().err().map(String::as_str)
    }

    /// What a package's dependencies are locked to, and all that they lead to; why not, where that cannot be told.
    fn third_party(&self, roots: &[Root<'_>]) -> Result<ThirdParty, String> {
        let lockfile = self.0.as_ref().map_err(Clone::clone)?;
        let direct = lockfile.direct(roots).map_err(|error| error.to_string())?;
        let closure = lockfile.closure([&direct]).map_err(|error| error.to_string())?;
        Ok(ThirdParty { direct, closure })
    }

    /// What the packages lead to together; the reason where that cannot be told.
    fn join(&self, packages: &[&Result<ThirdParty, String>]) -> Result<(&Lockfile, Closure), String> {
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
struct ThirdParty {
    direct: Direct,
    closure: Closure,
}

/// The lock files of both states, and what they say of each package.
pub(super) struct LockView<'a> {
    head: Locks<'a>,
    /// Only those that are not what they are at the head.
    before: HashMap<&'a RepoPath, LockBefore>,
    /// What each package gets from outside its workspace.
    packages: Vec<Result<ThirdParty, String>>,
    /// The same at the base, where the lock file is not what it is at the head.
    packages_before: Vec<Direct>,
}

/// What a dependency is locked to, where that is one version.
fn locked(lock: &Lock, root: Root<'_>) -> Option<String> {
    Some(lock.0.as_ref().ok()?.locked(root).next()?.version.to_owned())
}

/// What a lock file says of one plugin.
pub(super) enum OfPlugin {
    /// The sha256 over its closure, the patch files in it relative to the workspace, and what became of it since the
    /// base.
    Known([u8; 32], Vec<String>, Vec<Reason>),
    /// Nothing can be said: all of the lock file counts.
    Unknown(String),
    /// There is no lock file.
    Nothing,
}

impl<'a> LockView<'a> {
    /// `packages` are those of the rules, each with its workspace; `before` holds only lock files that are not what
    /// they are at the head.
    pub(super) fn new(packages: &[(&'a Workspace, &'a Package)], head: Locks<'a>, before: Locks<'a>) -> Self {
        let before = before.into_iter();
        let before: HashMap<_, _> =
            before.filter_map(|(path, lock)| Some((path, LockBefore::new(lock, head.get(path)?)))).collect();
        let (packages, packages_before) = parallel(packages, |(workspace, package)| {
            let Some(lock) = head.get(&workspace.path) else { return (Ok(ThirdParty::default()), Direct::default()) };
            let roots = workspace.roots(package);
            let before = before.get(&workspace.path).map(|before| before.direct(&roots)).unwrap_or_default();
            (lock.third_party(&roots), before)
        })
        .into_iter()
        .unzip();
        Self { head, before, packages, packages_before }
    }

    /// The version of the RHDH CLI in the lock file of `workspace`: at the base, and at the head.
    pub(super) fn rhdh_cli(&self, workspace: &Workspace) -> (Option<String>, Option<String>) {
        let Some(root) = workspace.root_of(CLI_PACKAGE) else { return (None, None) };
        let now = self.head.get(&workspace.path).and_then(|lock| locked(lock, root));
        match self.before.get(&workspace.path) {
            Some(before) => (locked(&before.lock, root), now),
            None => (now.clone(), now),
        }
    }

    /// What is said of a plugin of `workspace` that is made from the packages with these numbers.
    pub(super) fn plugin(&self, workspace: &Workspace, packages: &[usize]) -> OfPlugin {
        let Some(lock) = self.head.get(&workspace.path) else { return OfPlugin::Nothing };
        let third_party: Vec<_> = packages.iter().map(|package| &self.packages[*package]).collect();
        let (lockfile, closure) = match lock.join(&third_party) {
            Ok(found) => found,
            Err(why) => return OfPlugin::Unknown(why),
        };
        let reasons = match self.before.get(&workspace.path) {
            None => Vec::new(),
            Some(before) => {
                let pairs = third_party.iter().zip(packages);
                let pairs: Vec<(&Direct, &Direct)> = pairs
                    .filter_map(|(now, package)| Some((&now.as_ref().ok()?.direct, &self.packages_before[*package])))
                    .collect();
                match before.changes(&pairs, (lockfile, &closure)) {
                    Ok(changes) => changes.iter().map(lock_change).collect(),
                    Err(why) => vec![Reason::new("lock-file", format!("at the base, {why}"))],
                }
            }
        };
        OfPlugin::Known(lockfile.digest(&closure), lockfile.patches(&closure).map(str::to_owned).collect(), reasons)
    }
}

/// A lock file at the base that is another at the head, with what it has in common with that.
#[derive(Debug)]
struct LockBefore {
    lock: Arc<Lock>,
    again: Option<Again>,
}

impl LockBefore {
    fn new(lock: Arc<Lock>, head: &Lock) -> Self {
        let again = lock.0.as_ref().ok().zip(head.0.as_ref().ok()).map(|(before, after)| after.again(before));
        Self { lock, again }
    }

    /// What a package's dependencies were locked to. What the base's lock file lacks is left out: it shows as added.
    fn direct(&self, roots: &[Root<'_>]) -> Direct {
        self.lock.0.as_ref().map(|lockfile| lockfile.direct_of_known(roots)).unwrap_or_default()
    }

    /// What is different between the head's closure and the one at the base. `packages` are what led to them: what each
    /// package depends on, at the head and at the base.
    fn changes(
        &self,
        packages: &[(&Direct, &Direct)],
        (lockfile, closure): (&Lockfile, &Closure),
    ) -> Result<Vec<LockChange>, String> {
        let before = self.lock.0.as_ref().map_err(Clone::clone)?;
        let Some(again) = &self.again else { return Ok(Vec::new()) };
        if again.is_same(closure, packages.iter().copied()) {
            return Ok(Vec::new());
        }
        let now = packages.iter().map(|(now, _)| *now);
        let then = packages.iter().map(|(_, before)| *before);
        let closure_before = before.closure_of_known(then.clone());
        Ok(lockfile.changes_since((closure, now), before, (&closure_before, then), again))
    }
}
