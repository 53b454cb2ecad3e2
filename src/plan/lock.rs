//! The lock file of each workspace, at head and at base, and what it says about a plugin.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use super::git::{Git, GitError};
use super::inputs::join;
use super::links::Links;
use super::reasons::lock_change;
use super::snapshot::Snapshot;
use super::{Reason, parallel};
use crate::repo_path::RepoPath;
use crate::rhdh::CLI_PACKAGE;
use crate::workspace::{
    Again, Closure, Direct, LockChange, Lockfile, LockfileError, MOST_CHANGES, Package, PackageJson, Root, Workspace,
    Workspaces,
};

/// One state of a lock file, or why it cannot be read: then all of it counts for every plugin.
#[derive(Debug)]
pub(super) struct Lock(Result<Lockfile, String>);

/// The lock files at one state of the repository, by workspace.
pub(super) type Locks<'a> = HashMap<&'a RepoPath, Arc<Lock>>;

/// The lock file at the top, read while nobody knows yet whether there is a workspace: most repositories have that one,
/// and nothing else of the size.
pub(super) struct Ahead {
    /// Of the lock file, where it is that of a commit.
    pub(super) id: Option<String>,
    pub(super) text: Arc<String>,
    /// The `package.json` that was taken for the root's.
    manifest: PackageJson,
    lock: Arc<Lock>,
}

impl Ahead {
    /// As it stands on disk, in the folder of `rhdh-plugins.toml`.
    pub(super) fn on_disk(root: &Path) -> Option<Self> {
        let manifest = std::fs::read(root.join("package.json")).ok()?;
        let ahead = Self::new(None, std::fs::read(root.join("yarn.lock")).ok()?, &manifest)?;
        // Else all packages would wait for the first one's.
        if let Ok(lockfile) = &ahead.lock.0 {
            lockfile.digests_with_edges();
        }
        Some(ahead)
    }

    /// As it was at a commit, where that is not as the index has it.
    pub(super) fn of_commit(git: &Git, commit: &str, index: &Snapshot) -> Option<Self> {
        let files = git.top_of(commit)?;
        let id = |name: &str| files.iter().find(|(file, _)| file == name.as_bytes()).map(|(_, id)| id.as_str());
        let lock = id("yarn.lock").filter(|id| index.id("yarn.lock") != Some(id))?;
        let [text, manifest] = git.blobs(&[lock, id("package.json")?]).ok()?.try_into().ok()?;
        Self::new(Some(lock.to_owned()), text, &manifest)
    }

    fn new(id: Option<String>, text: Vec<u8>, manifest: &[u8]) -> Option<Self> {
        let manifest = PackageJson::parse(manifest, "package.json").ok()?;
        // What is no text is read, and complained of, where it is needed.
        let text = Arc::new(String::from_utf8(text).ok()?);
        let lockfile = Lockfile::parse_text(&text, "yarn.lock", manifest.ranges("resolutions"));
        let lock = Arc::new(Lock::new(lockfile));
        Some(Self { id, text, manifest, lock })
    }

    /// The lock file, if `text` with `manifest` is what was read.
    pub(super) fn take(&self, workspace: &RepoPath, text: &[u8], manifest: &PackageJson) -> Option<Arc<Lock>> {
        let same =
            || self.manifest.ranges("resolutions").eq(manifest.ranges("resolutions")) && self.text.as_bytes() == text;
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
        Some(ahead) => Cow::Borrowed(ahead.text.as_bytes()),
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
    let links = Links { root: &workspaces.root, git: Some(git) };
    let id = |workspace: &Workspace| links.id(snapshot, &path(workspace));
    let there = workspaces.by_path.values().filter_map(|workspace| Some((&workspace.path, id(workspace)?)));
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
        let path = join(workspace.path.as_str(), "yarn.lock");
        let read = || Arc::new(Self::new(Lockfile::parse(text, &path, manifest.ranges("resolutions"))));
        ahead.and_then(|ahead| ahead.take(&workspace.path, text, manifest)).unwrap_or_else(read)
    }

    fn new(lockfile: Result<Lockfile, LockfileError>) -> Self {
        Self(lockfile.map_err(|error| error.to_string()))
    }
}

/// The lock files of both states, and what they say of each package.
pub(super) struct LockView<'a> {
    head: Locks<'a>,
    /// Only those that are not what they are at the head.
    before: HashMap<&'a RepoPath, LockBefore>,
    packages: Vec<ThirdParty<'a>>,
    /// For each package, what became of that since the base; why it cannot be told.
    changes: Vec<Result<Vec<LockChange>, String>>,
}

/// The lock files of the head, and what they say of each package. The base need not be known for that.
pub(super) struct LockHead<'a> {
    locks: Locks<'a>,
    packages: Vec<ThirdParty<'a>>,
}

/// What one package gets from outside its workspace. `None` where the workspace has no lock file; else why it cannot be
/// told, where that is so.
type ThirdParty<'a> = Option<Result<Locked<'a>, String>>;

/// What a lock file says of one package.
struct Locked<'a> {
    workspace: &'a RepoPath,
    roots: Vec<Root<'a>>,
    direct: Direct,
    closure: Closure,
    /// The sha256 over the closure.
    digest: [u8; 32],
    /// The patch files that it is made with, relative to the workspace.
    patches: Vec<String>,
    /// Folders, relative to the workspace, of packages of the workspace that it comes to by the lock file.
    of_workspace: Vec<String>,
}

/// What a dependency is locked to, where that is one version.
fn locked(lock: &Lock, root: Root<'_>) -> Option<String> {
    Some(lock.0.as_ref().ok()?.locked(root).next()?.version.to_owned())
}

/// What a lock file says of one plugin.
pub(super) enum OfPlugin {
    Known {
        /// The sha256 over what each of its packages gets from outside the workspace.
        digests: Vec<[u8; 32]>,
        /// The patch files in that, relative to the workspace.
        patches: Vec<String>,
        /// What became of it since the base.
        reasons: Vec<Reason>,
    },
    /// Nothing can be said: all of the lock file counts.
    Unknown(String),
    /// There is no lock file.
    Nothing,
}

impl<'a> LockHead<'a> {
    /// `packages` are those of the rules, each with its workspace.
    pub(super) fn new(packages: &[(&'a Workspace, &'a Package)], locks: Locks<'a>) -> Self {
        let packages = parallel(packages, |(workspace, package)| {
            Some(Locked::new(locks.get(&workspace.path)?, workspace, workspace.roots(package)))
        });
        Self { locks, packages }
    }

    /// Why lock files cannot be read, by workspace.
    pub(super) fn errors(&self) -> impl Iterator<Item = (&RepoPath, &str)> {
        self.locks.iter().filter_map(|(workspace, lock)| Some((*workspace, lock.0.as_ref().err()?.as_str())))
    }
}

impl<'a> LockView<'a> {
    /// `before` holds only lock files that are not what they are at the head.
    pub(super) fn new(head: LockHead<'a>, before: Locks<'a>) -> Self {
        let LockHead { locks: head, packages } = head;
        let before = before.into_iter();
        let before: HashMap<_, _> =
            before.filter_map(|(path, lock)| Some((path, LockBefore::new(lock, head.get(path)?)))).collect();
        let changes = parallel(&packages, |package| {
            let Some(Ok(now)) = package else { return Ok(Vec::new()) };
            let changes =
                before.get(now.workspace).zip(head.get(now.workspace)).map(|(before, lock)| before.changes(now, lock));
            changes.unwrap_or_else(|| Ok(Vec::new()))
        });
        Self { head, before, packages, changes }
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

    /// For each package, folders of packages of its workspace that it comes to by the lock file; they are relative to
    /// the workspace.
    pub(super) fn of_workspace(&self) -> impl Iterator<Item = &[String]> {
        let locked = self.packages.iter().map(|package| package.as_ref()?.as_ref().ok());
        locked.map(|locked| locked.map_or(&[][..], |locked| locked.of_workspace.as_slice()))
    }

    /// What is said of a plugin that is made from the packages with these numbers, all of one workspace.
    pub(super) fn plugin(&self, packages: &[usize]) -> OfPlugin {
        let (mut digests, mut patches, mut unread) = (Vec::with_capacity(packages.len()), Vec::new(), None);
        // Several packages may get the same change: the first one says through what.
        let mut changes = BTreeMap::new();
        for package in packages {
            let locked = match &self.packages[*package] {
                None => return OfPlugin::Nothing,
                Some(Ok(locked)) => locked,
                Some(Err(why)) => return OfPlugin::Unknown(why.clone()),
            };
            digests.push(locked.digest);
            patches.extend(locked.patches.iter().cloned());
            match &self.changes[*package] {
                Ok(all) => {
                    for change in all {
                        changes.entry((&change.name, &change.before, &change.after)).or_insert(change);
                    }
                }
                Err(why) => unread = Some(Reason::new("lock-file", format!("at the base, {why}"))),
            }
        }
        let more = (changes.len() > MOST_CHANGES).then(|| Reason::new("lock-file", "and more locked packages"));
        let reasons = changes.into_values().take(MOST_CHANGES).map(lock_change).chain(more).chain(unread).collect();
        OfPlugin::Known { digests, patches, reasons }
    }
}

impl<'a> Locked<'a> {
    /// What `roots` lead to; why not, where that cannot be told.
    fn new(lock: &Lock, workspace: &'a Workspace, roots: Vec<Root<'a>>) -> Result<Self, String> {
        let lockfile = lock.0.as_ref().map_err(Clone::clone)?;
        let direct = lockfile.direct(&roots).map_err(|error| error.to_string())?;
        let closure = lockfile.closure(&direct, |name| workspace.named(name).is_some());
        let closure = closure.map_err(|error| error.to_string())?;
        let patches = lockfile.patches(&closure).map(str::to_owned).collect();
        let mut of_workspace: Vec<_> = lockfile.of_workspace(&direct, &closure).map(str::to_owned).collect();
        let unlocked = lockfile.unlocked(&closure).filter_map(|name| workspace.named(name));
        of_workspace.extend(unlocked.filter_map(|package| workspace.below(&package.path)));
        Ok(Self {
            workspace: &workspace.path,
            roots,
            digest: lockfile.digest(&direct, &closure),
            patches,
            of_workspace,
            direct,
            closure,
        })
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

    /// What became of what a package gets by `lock`, the head's. What the base's lock file lacks of it shows as added.
    fn changes(&self, now: &Locked<'_>, lock: &Lock) -> Result<Vec<LockChange>, String> {
        let before = self.lock.0.as_ref().map_err(Clone::clone)?;
        let (Some(again), Ok(lockfile)) = (&self.again, &lock.0) else { return Ok(Vec::new()) };
        let direct_before = before.direct_of_known(&now.roots);
        if again.is_same((&now.direct, &now.closure), &direct_before) {
            return Ok(Vec::new());
        }
        let closure_before = before.closure_of_known(&direct_before);
        Ok(lockfile.changes_since((&now.direct, &now.closure), before, (&direct_before, &closure_before), again))
    }
}
