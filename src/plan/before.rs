//! The base's side of the comparison: its files, its lock files where they are not the head's, and what its
//! `rhdh-plugins.toml` says that the head's does not.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::git::Git;
use super::inputs::{Rules, join};
use super::links::Links;
use super::lock::{Lock, Locks};
use super::reasons::file_changes;
use super::sight::Sight;
use super::snapshot::{File, Snapshot};
use super::survey::{Error, Request};
use super::toml_diff::ConfigText;
use super::{Action, PlannedBundle, PlannedPlugin, Reason, parallel};
use crate::config::{DEFAULT_RHDH, Rhdh};
use crate::repo_path::RepoPath;
use crate::workspace::{PackageJson, Workspace};

/// What files of the base say, where they are not the same at the head.
pub(super) struct Texts<'a> {
    pub(super) config: ConfigBefore,
    /// The name of the configuration file.
    pub(super) config_file: String,
    /// The root's `package.json` of each workspace.
    pub(super) manifests: HashMap<&'a RepoPath, PackageJson>,
}

/// The files of the base.
pub(super) struct Files<'a> {
    pub(super) snapshot: &'a Snapshot,
    /// Which of the packages were there, by themselves or in a submodule.
    pub(super) existing: Vec<bool>,
    /// What changed in each package, in words.
    pub(super) packages: Vec<Vec<String>>,
    /// The global inputs of each workspace.
    pub(super) global: HashMap<&'a RepoPath, BTreeMap<&'a [u8], File<'a>>>,
}

/// What the base's `rhdh-plugins.toml` is for the one of the head.
pub(super) enum ConfigBefore {
    Same,
    Unreadable,
    /// The base's, then the head's.
    Other(ConfigText, ConfigText),
}

impl Texts<'_> {
    /// What the configuration says of a plugin or bundle that it did not say at the base. `unwritten` are the values
    /// that keys have where they are not written.
    pub(super) fn config_reasons(&self, kind: &str, id: &str, unwritten: &[(&str, String)]) -> Vec<Reason> {
        let file = &self.config_file;
        match &self.config {
            ConfigBefore::Same => Vec::new(),
            ConfigBefore::Unreadable => {
                vec![Reason::new("config", format!("{file} changed, and what it was before is not TOML"))]
            }
            ConfigBefore::Other(base, head) => match head.changed_keys(base, kind, id, unwritten) {
                Some(keys) => {
                    keys.iter().map(|key| Reason::new("config", format!("`{key}` changed in {file}"))).collect()
                }
                None => vec![Reason::new("new", format!("new in {file}"))],
            },
        }
    }
}

impl ConfigBefore {
    /// What `[rhdh]` said; `now` is what it says at the head.
    pub(super) fn rhdh(&self, now: &Rhdh) -> Rhdh {
        let Self::Other(base, _) = self else { return now.clone() };
        let text = |key| base.text(&["rhdh"], key).map(str::to_owned);
        Rhdh { version: text("version").unwrap_or_else(|| DEFAULT_RHDH.to_owned()), cli: text("cli") }
    }

    pub(super) fn inputs_changed(&self) -> bool {
        matches!(self, Self::Other(base, head) if base.differs(head, "inputs", &["global", "ignore"]))
    }
}

/// Reads what must be known of the base: the configuration, and of each workspace the root's package.json and its lock
/// file, if it is not the head's (`locks`).
pub(super) fn texts_of<'a>(
    request: &'a Request<'_>,
    git: &Git,
    sight: &Sight,
    before: &Snapshot,
    locks: &HashMap<&RepoPath, Cow<'_, [u8]>>,
) -> Result<(Texts<'a>, Locks<'a>), Error> {
    let links = Links { root: &request.workspaces.root, git: Some(git) };
    let mut wanted: Vec<&str> = Vec::new();
    // The number of a file's text; `None` where it was not there. What git knows in neither state (it is in a
    // submodule, or ignored) cannot be compared.
    let mut want = |path: &str| -> Result<Option<Option<usize>>, Error> {
        let Some(id) = links.id(before, path) else {
            return Ok(sight.after()?.id(path).map(|_| None));
        };
        wanted.push(id);
        Ok(Some(Some(wanted.len() - 1)))
    };
    let config = want(&request.config.file_name())?;
    let mut workspaces = Vec::new();
    for workspace in request.workspaces.by_path.values() {
        let manifest = want(&join(workspace.path.as_str(), "package.json"))?;
        workspaces.push((workspace, manifest, want(&join(workspace.path.as_str(), "yarn.lock"))?));
    }
    let ahead = sight.lock_before()?;
    let texts = wanted.iter().map(|id| match ahead.filter(|ahead| ahead.id.as_deref() == Some(*id)) {
        Some(ahead) => Ok(Cow::Borrowed(ahead.text.as_bytes())),
        None => git.blob(id).map(Cow::Owned),
    });
    let texts = texts.collect::<Result<Vec<_>, _>>()?;
    let text = |at: Option<usize>| at.map(|at| &*texts[at]).unwrap_or_default();
    let now = std::fs::read(&request.config.file).unwrap_or_default();
    let config = match config.map(text) {
        None => ConfigBefore::Same,
        Some(before) if before == now => ConfigBefore::Same,
        Some(before) => match (ConfigText::parse(before), ConfigText::parse(&now)) {
            (Some(before), Some(now)) => ConfigBefore::Other(before, now),
            _ => ConfigBefore::Unreadable,
        },
    };
    type At = Option<Option<usize>>;
    let read = |(workspace, manifest, lock): &(&'a Workspace, At, At)| {
        // A base without a usable package.json had no resolutions that could be compared.
        let manifest = manifest.map(|at| PackageJson::parse(text(at), "package.json").unwrap_or_default());
        let resolutions = manifest.as_ref().unwrap_or(&*workspace.manifest);
        let same = resolutions.ranges("resolutions").eq(workspace.manifest.ranges("resolutions"));
        let lock = lock.map(text).filter(|text| !same || locks.get(&workspace.path).is_some_and(|now| now != text));
        (&workspace.path, lock.map(|text| Lock::of(workspace, text, resolutions, ahead)), manifest)
    };
    let (mut locks, mut manifests) = (HashMap::new(), HashMap::new());
    for (workspace, lock, manifest) in parallel(&workspaces, read) {
        locks.extend(lock.map(|lock| (workspace, lock)));
        manifests.extend(manifest.map(|manifest| (workspace, manifest)));
    }
    Ok((Texts { config, config_file: request.config.file_name().into_owned(), manifests }, locks))
}

/// The files of the base, and what became of them. `left` are folders that were packages; `head` are the files of the
/// head, with the packages that are there.
pub(super) fn files_of<'a>(
    rules: &Rules<'a>,
    (before, left): (&'a Snapshot, &HashSet<&str>),
    (head, existing_at_head): (&'a Snapshot, &[bool]),
) -> Files<'a> {
    let existing = rules.existing(before);
    let differences = rules.differences((before, &existing, left), (head, existing_at_head));
    let words = differences.iter().zip(&rules.packages);
    let packages = words.map(|(differences, (_, package))| file_changes(differences, package.place.as_str())).collect();
    Files { snapshot: before, existing, packages, global: rules.global(before) }
}

/// What the base's configuration has and the head's has not, and the plugins whose folder is gone.
pub(super) fn removed_since(
    request: &Request<'_>,
    git: &Git,
    before: &Snapshot,
    config: &ConfigBefore,
) -> Result<(Vec<PlannedPlugin>, Vec<PlannedBundle>), Error> {
    let mut plugins = Vec::new();
    let file = request.config.file_name();
    for (id, path) in &request.gone {
        let why = format!("{path} was removed; take `[plugins.{id}]` out of {file}, too");
        plugins.extend(removed_plugin(git, before, id, path, &why)?);
    }
    let ConfigBefore::Other(base, _) = config else { return Ok((plugins, Vec::new())) };
    let why = format!("removed from {file}");
    let is_gone = |id: &str| request.gone.iter().any(|(gone, _)| *gone == id);
    let ids = base.ids("plugins").into_iter();
    for id in ids.filter(|id| !request.config.plugins.contains_key(*id) && !is_gone(id)) {
        if let Some(path) = base.text(&["plugins", id], "path").and_then(|path| RepoPath::new(path).ok()) {
            plugins.extend(removed_plugin(git, before, id, &path, &why)?);
        }
    }
    let bundles = base.ids("bundles").into_iter().filter(|id| !request.config.bundles.contains_key(*id));
    let bundles = bundles.map(|id| PlannedBundle {
        id: id.to_owned(),
        action: Action::Remove,
        reasons: vec![Reason::new("removed", why.as_str())],
        content_key: None,
        version: String::new(),
        members: base.texts(&["bundles", id], "plugins"),
        image: String::new(),
        published: Vec::new(),
    });
    Ok((plugins, bundles.collect()))
}

/// The plugin that was in `path`; `None` where that was none, which nobody misses.
fn removed_plugin(
    git: &Git,
    before: &Snapshot,
    id: &str,
    path: &RepoPath,
    why: &str,
) -> Result<Option<PlannedPlugin>, Error> {
    let blob = git.blobs(&before.id(&join(path.as_str(), "package.json")).into_iter().collect::<Vec<_>>())?.pop();
    let manifest = blob.and_then(|text| PackageJson::parse(&text, "package.json").ok()).unwrap_or_default();
    let Ok(role) = manifest.role() else { return Ok(None) };
    let above = std::iter::successors(Some(path.clone()), RepoPath::parent);
    let mut roots = above.filter(|folder| before.id(&join(folder.as_str(), "yarn.lock")).is_some());
    Ok(Some(PlannedPlugin {
        id: id.to_owned(),
        action: Action::Remove,
        reasons: vec![Reason::new("removed", why)],
        content_key: None,
        version: manifest.version.unwrap_or_default(),
        role,
        workspace: roots.next().unwrap_or_default(),
        path: path.clone(),
        packages: Vec::new(),
        image: String::new(),
        published: Vec::new(),
    }))
}
