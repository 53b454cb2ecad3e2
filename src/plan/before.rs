//! The base's side of the comparison: its files, its lock files where they are not the head's, and what its
//! `rhdh-plugins.toml` says that the head's does not.

use std::collections::{BTreeMap, HashMap};

use super::git::Git;
use super::inputs::{Rules, join};
use super::lock::{Lock, LockBefore, Locks};
use super::reasons::file_changes;
use super::snapshot::{File, Kind, Snapshot};
use super::survey::{Error, Request};
use super::toml_diff::ConfigText;
use super::{Action, PlannedBundle, PlannedPlugin, Reason, parallel};
use crate::config::Rhdh;
use crate::repo_path::RepoPath;
use crate::workspace::{Direct, PackageJson, Workspace};

/// The side of the base.
pub(super) struct Before<'a> {
    pub(super) snapshot: &'a Snapshot,
    /// Which of the packages were there, by themselves or in a submodule.
    pub(super) existing: Vec<bool>,
    /// What changed in each package, in words.
    pub(super) packages: Vec<Vec<String>>,
    /// The global inputs of each workspace.
    pub(super) global: HashMap<&'a RepoPath, BTreeMap<&'a [u8], File<'a>>>,
    /// Only those that are not what they are at the head.
    pub(super) locks: HashMap<&'a RepoPath, LockBefore>,
    /// What the dependencies of each package were locked to, where the lock file is not what it is at the head.
    pub(super) direct: Vec<Direct>,
    /// The root's `package.json` of each workspace, where it is not what it is at the head.
    pub(super) manifests: HashMap<&'a RepoPath, PackageJson>,
    pub(super) config: ConfigBefore,
}

/// What the base's `rhdh-plugins.toml` is for the one of the head.
pub(super) enum ConfigBefore {
    Same,
    Unreadable,
    /// The base's, then the head's.
    Other(ConfigText, ConfigText),
}

impl ConfigBefore {
    /// The keys of a plugin or bundle that changed; `None` where it is new.
    pub(super) fn changed_keys(&self, kind: &str, id: &str) -> Result<Option<Vec<String>>, String> {
        match self {
            Self::Same => Ok(Some(Vec::new())),
            Self::Unreadable => Err("rhdh-plugins.toml changed, and what it was before is not TOML".to_owned()),
            Self::Other(base, head) => Ok(head.changed_keys(base, kind, id)),
        }
    }

    pub(super) fn rhdh_change(&self, rhdh: &Rhdh, cli: &str) -> Option<(String, String)> {
        let Self::Other(base, head) = self else { return None };
        if !base.differs(head, "rhdh", &["cli", "version"]) {
            return None;
        }
        let version = |text: &ConfigText| {
            let release = text.text(&["rhdh"], "version").map(|release| format!("of RHDH {release}"));
            text.text(&["rhdh"], "cli")
                .map(str::to_owned)
                .or(release)
                .unwrap_or_else(|| "of the default release".into())
        };
        Some((version(base), if rhdh.cli.is_some() { cli.to_owned() } else { version(head) }))
    }

    pub(super) fn inputs_changed(&self) -> bool {
        matches!(self, Self::Other(base, head) if base.differs(head, "inputs", &["global", "ignore"]))
    }
}

/// The base's side. `before` are its files, `head` those of the head.
pub(super) fn before_of<'a>(
    request: &'a Request<'_>,
    rules: &Rules<'a>,
    git: &Git,
    before: &'a Snapshot,
    (head, existing_at_head): (&'a Snapshot, &[bool]),
    head_locks: &Locks<'a>,
) -> Result<Before<'a>, Error> {
    let file = request.config.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // What must be read of the base: the configuration, and of each workspace the root's package.json and yarn.lock.
    let differs = |path: &str| before.id(path) != head.id(path);
    let mut wanted: Vec<&str> = Vec::new();
    let mut want = |path: &str| -> Option<usize> {
        let id = before.id(path)?;
        wanted.push(id);
        Some(wanted.len() - 1)
    };
    let config = if differs(&file) { Some(want(&file)) } else { None };
    let mut workspaces = Vec::new();
    for workspace in request.workspaces.by_path.values() {
        let manifest = join(workspace.path.as_str(), "package.json");
        let lock = join(workspace.path.as_str(), "yarn.lock");
        if differs(&manifest) || differs(&lock) {
            workspaces.push((workspace, want(&manifest), want(&lock)));
        }
    }
    let blobs = git.blobs(&wanted)?;
    let config = match config {
        None => ConfigBefore::Same,
        Some(at) => {
            let text = at.map(|at| blobs[at].as_slice()).unwrap_or_default();
            let now = std::fs::read(&request.config.file).unwrap_or_default();
            match (ConfigText::parse(text), ConfigText::parse(&now)) {
                (Some(base), Some(head)) => ConfigBefore::Other(base, head),
                _ => ConfigBefore::Unreadable,
            }
        }
    };
    let read = |(workspace, manifest, lock): &(&'a Workspace, Option<usize>, Option<usize>)| {
        // A base without a usable package.json had no resolutions that could be compared.
        let manifest = manifest.and_then(|at| PackageJson::parse(&blobs[at], "package.json").ok()).unwrap_or_default();
        let text = lock.map(|at| blobs[at].as_slice()).unwrap_or_default();
        let head = head_locks.get(&workspace.path);
        let lock = head.map(|head| LockBefore::new(Lock::read(text, workspace, &manifest), head));
        (&workspace.path, lock, manifest)
    };
    let (read, existing, packages) = std::thread::scope(|scope| {
        let read = scope.spawn(|| parallel(&workspaces, read));
        let existing = rules.existing(before);
        let differences = rules.differences((before, &existing), (head, existing_at_head));
        let words = differences.iter().zip(&rules.packages);
        let packages = words.map(|(differences, (_, package))| file_changes(differences, package.path.as_str()));
        let packages: Vec<Vec<String>> = packages.collect();
        (read.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), existing, packages)
    });
    let in_submodule = |folder: &RepoPath| {
        let mut above = std::iter::successors(Some(folder.clone()), RepoPath::parent);
        above.any(|path| before.get(path.as_str().as_bytes()).is_some_and(|file| file.kind == Kind::Submodule))
    };
    let there = existing.iter().zip(&rules.packages);
    let existing = there.map(|(exists, (_, package))| *exists || in_submodule(&package.path)).collect();
    let (mut locks, mut manifests) = (HashMap::new(), HashMap::new());
    for (workspace, lock, manifest) in read {
        locks.extend(lock.map(|lock| (workspace, lock)));
        manifests.insert(workspace, manifest);
    }
    let direct = parallel(&rules.packages, |(workspace, package)| match locks.get(&workspace.path) {
        Some(lock) => lock.direct(&workspace.roots(package)),
        None => Direct::default(),
    });
    let global = rules.global(before);
    Ok(Before { snapshot: before, existing, packages, global, locks, direct, manifests, config })
}

/// What the base's configuration has and the head's has not.
pub(super) fn removed_since(
    request: &Request<'_>,
    git: &Git,
    before: &Snapshot,
    base: &ConfigText,
) -> Result<(Vec<PlannedPlugin>, Vec<PlannedBundle>), Error> {
    let reason = || vec![Reason::new("removed", "removed from rhdh-plugins.toml")];
    let mut plugins = Vec::new();
    for id in base.ids("plugins").into_iter().filter(|id| !request.config.plugins.contains_key(*id)) {
        let Some(path) = base.text(&["plugins", id], "path").and_then(|path| RepoPath::new(path).ok()) else {
            continue;
        };
        let blob = git.blobs(&before.id(&join(path.as_str(), "package.json")).into_iter().collect::<Vec<_>>())?.pop();
        let manifest = blob.and_then(|text| PackageJson::parse(&text, "package.json").ok()).unwrap_or_default();
        // What was no plugin before is not missed.
        let Ok(role) = manifest.role() else { continue };
        let above = std::iter::successors(Some(path.clone()), RepoPath::parent);
        let mut roots = above.filter(|folder| before.id(&join(folder.as_str(), "yarn.lock")).is_some());
        plugins.push(PlannedPlugin {
            id: id.to_owned(),
            action: Action::Remove,
            reasons: reason(),
            content_key: None,
            version: manifest.version.unwrap_or_default(),
            role,
            workspace: roots.next().unwrap_or_default(),
            path,
            image: String::new(),
            published: Vec::new(),
        });
    }
    let bundles = base.ids("bundles").into_iter().filter(|id| !request.config.bundles.contains_key(*id));
    let bundles = bundles.map(|id| PlannedBundle {
        id: id.to_owned(),
        action: Action::Remove,
        reasons: reason(),
        content_key: None,
        version: String::new(),
        members: base.texts(&["bundles", id], "plugins"),
        image: String::new(),
        published: Vec::new(),
    });
    Ok((plugins, bundles.collect()))
}
