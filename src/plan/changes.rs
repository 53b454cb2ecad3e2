//! From two states of the repository to the content key of every plugin and bundle, and the reasons why it is not what
//! it was.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::git::Git;
use super::inputs::{Rules, Sorted, join};
use super::key::{ContentKey, Records};
use super::lock::{Lock, Locks};
use super::reasons::{file_changes, lock_change, package_changes};
use super::snapshot::{File, Snapshot};
use super::survey::{BundleToPlan, Error, PluginToPlan, Request, Sight};
use super::toml_diff::ConfigText;
use super::{Action, PlannedBundle, PlannedPlugin, Reason};
use crate::config::{Plugin, Rhdh};
use crate::repo_path::RepoPath;
use crate::workspace::{PackageJson, Root, Workspace};

/// What was seen, in the order of the request.
pub(super) struct Seen {
    pub(super) plugins: Vec<(ContentKey, Vec<Reason>)>,
    pub(super) bundles: Vec<(ContentKey, Vec<Reason>)>,
    pub(super) removed_plugins: Vec<PlannedPlugin>,
    pub(super) removed_bundles: Vec<PlannedBundle>,
    pub(super) notes: Vec<String>,
}

/// The side of the head, and of the base where there is one.
struct View<'a> {
    request: &'a Request<'a>,
    rules: &'a Rules<'a>,
    head: Sorted<'a>,
    locks: Locks<'a>,
    base: Option<Before<'a>>,
    /// The sha256 over the files of each package, as far as it was asked for.
    digests: Vec<[u8; 32]>,
}

/// The side of the base.
struct Before<'a> {
    files: Sorted<'a>,
    /// What changed in each package, in words.
    packages: Vec<Vec<String>>,
    /// Only those that are not what they are at the head.
    locks: Locks<'a>,
    /// The root's `package.json` of each workspace, where it is not what it is at the head.
    manifests: HashMap<&'a RepoPath, PackageJson>,
    config: ConfigBefore,
}

/// What the base's `rhdh-plugins.toml` is for the one of the head.
enum ConfigBefore {
    Same,
    Unreadable,
    /// The base's, then the head's.
    Other(ConfigText, ConfigText),
}

pub(super) fn look(request: &Request<'_>, rules: &Rules<'_>, git: Option<&Git>, sight: &Sight) -> Result<Seen, Error> {
    let head = rules.sort(&sight.after);
    let mut removed = (Vec::new(), Vec::new());
    let base = match (&sight.before, git) {
        (Some(before), Some(git)) => {
            let found = before_of(request, rules, git, before, &head)?;
            if let ConfigBefore::Other(base, _) = &found.config {
                removed = removed_since(request, git, before, base)?;
            }
            Some(found)
        }
        _ => None,
    };
    let locks = head_locks(request, git.filter(|_| request.head.is_some()), &head)?;
    let mut notes: Vec<String> = Vec::new();
    for (workspace, lock) in &locks {
        if let Some(why) = lock.error() {
            notes.push(format!("{why}; every plugin of the workspace `{workspace}` depends on all of it"));
        }
    }
    notes.sort();
    let digests = (0..rules.packages.len()).map(|package| head.digest(package)).collect();
    let view = View { request, rules, head, locks, base, digests };
    let plugins: Vec<(ContentKey, Vec<Reason>)> = request.plugins.iter().map(|plugin| view.plugin(plugin)).collect();
    let by_id: HashMap<&str, (&PluginToPlan<'_>, &(ContentKey, Vec<Reason>))> = request
        .plugins
        .iter()
        .zip(&plugins)
        .map(|(plugin, seen)| (plugin.config.id.as_str(), (plugin, seen)))
        .collect();
    let bundles = request.bundles.iter().map(|bundle| view.bundle(bundle, &by_id)).collect();
    Ok(Seen { bundles, plugins, removed_plugins: removed.0, removed_bundles: removed.1, notes })
}

impl View<'_> {
    fn plugin(&self, plugin: &PluginToPlan<'_>) -> (ContentKey, Vec<Reason>) {
        let rules = self.rules;
        let closure = rules.closure(plugin.config);
        let mut records = Records::default();
        records.add("cli", "", &self.request.cli);
        for (name, value) in options(plugin.config, &plugin.image) {
            records.add("option", name, value.to_string());
        }
        for &package in &closure {
            records.add("package", rules.packages[package].1.path.as_str(), self.digests[package]);
        }
        let extra = self.head.extra(&self.request.workspaces.root, plugin.config, &closure, rules);
        for (path, file) in &extra {
            records.add("file", path, describe(file));
        }
        let Some((workspace, _)) = closure.first().map(|own| rules.packages[*own]) else {
            return (records.key(), Vec::new());
        };
        for (path, file) in self.head.global.get(&workspace.path).into_iter().flatten() {
            records.add("file", path, describe(file));
        }
        for (name, value) in root_settings(&workspace.manifest) {
            records.add("manifest", join(workspace.path.as_str(), name), value.to_string());
        }
        let roots: Vec<Root<'_>> =
            closure.iter().flat_map(|&at| rules.packages[at].0.roots(rules.packages[at].1)).collect();
        let mut lock_reasons = Vec::new();
        let mut patches = BTreeMap::new();
        let lock_path = join(workspace.path.as_str(), "yarn.lock");
        match self.locks.get(&workspace.path).map(|lock| lock.closure(&roots)) {
            Some(Ok((lockfile, members))) => {
                records.add("lock", workspace.path.as_str(), lockfile.digest(&members));
                for patch in lockfile.patches(&members) {
                    let path = join(workspace.path.as_str(), patch).into_bytes();
                    if let Some(file) = self.head.snapshot.files.get(&path) {
                        records.add("file", &path, describe(file));
                        patches.insert(path, file);
                    }
                }
                let before = self.base.as_ref().and_then(|base| base.locks.get(&workspace.path));
                match before.map(|before| Lock::changes_since(before, &roots, (lockfile, &members))) {
                    Some(Ok(changes)) => lock_reasons.extend(changes.iter().map(lock_change)),
                    Some(Err(why)) => lock_reasons.push(Reason::new("lock-file", format!("at the base, {why}"))),
                    None => {}
                }
            }
            Some(Err(why)) => {
                let id = self.head.snapshot.id(&lock_path).unwrap_or_default();
                records.add("unread-lock", workspace.path.as_str(), id);
                if self.base.as_ref().is_some_and(|base| base.files.snapshot.id(&lock_path).unwrap_or_default() != id) {
                    lock_reasons.push(Reason::new("lock-file", format!("{lock_path} changed, and {why}")));
                }
            }
            None => {}
        }
        let reasons = match &self.base {
            Some(base) => self.reasons(base, plugin.config, workspace, &closure, &extra, &patches, lock_reasons),
            None => Vec::new(),
        };
        (records.key(), reasons)
    }

    /// Every reason, most direct first.
    #[allow(clippy::too_many_arguments, reason = "all of it is known at the one place that calls it")]
    fn reasons(
        &self,
        base: &Before<'_>,
        plugin: &Plugin,
        workspace: &Workspace,
        closure: &[usize],
        extra: &BTreeMap<Vec<u8>, &File>,
        patches: &BTreeMap<Vec<u8>, &File>,
        lock_reasons: Vec<Reason>,
    ) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let own = closure.first().copied();
        let was_there = own.is_none_or(|own| !base.files.packages[own].is_empty());
        match base.config.changed_keys("plugins", &plugin.id) {
            Ok(Some(keys)) => reasons
                .extend(keys.iter().map(|key| Reason::new("config", format!("`{key}` changed in rhdh-plugins.toml")))),
            Ok(None) => reasons.push(Reason::new("new", "new in rhdh-plugins.toml")),
            Err(why) => reasons.push(Reason::new("config", why)),
        }
        if was_there {
            let files = own.into_iter().flat_map(|own| &base.packages[own]);
            let before = base.files.extra(&self.request.workspaces.root, plugin, closure, self.rules);
            let view = |files: &BTreeMap<Vec<u8>, &File>| -> Vec<(Vec<u8>, File)> {
                files.iter().map(|(path, file)| (path.clone(), (*file).clone())).collect()
            };
            let (before, after) = (view(&before), view(extra));
            let linked = file_changes(
                before.iter().map(|(path, file)| (path.as_slice(), file)),
                after.iter().map(|(path, file)| (path.as_slice(), file)),
                "",
            );
            let mut files: Vec<&String> = files.chain(&linked).collect();
            files.dedup();
            // The files are the most direct reason of all.
            reasons.splice(0..0, files.into_iter().map(|text| Reason::new("file", text)));
        } else if !reasons.iter().any(|reason| reason.kind == "new") {
            reasons.insert(0, Reason::new("new", format!("{} was not there", plugin.path)));
        }
        for &package in closure.iter().skip(1) {
            let files = &base.packages[package];
            if !files.is_empty() {
                let member = self.rules.packages[package].1;
                let name = member.manifest.name.as_deref().unwrap_or(member.path.as_str());
                let count = if files.len() == 1 { "1 file".to_owned() } else { format!("{} files", files.len()) };
                let mut detail = self.way(closure, package);
                detail.extend(files.iter().cloned());
                let text = format!("{name} changed ({count})");
                reasons.push(Reason { kind: "dependency".to_owned(), text, detail });
            }
        }
        reasons.extend(lock_reasons);
        let patched = patches.iter().filter(|(path, file)| base.files.snapshot.files.get(*path) != Some(file));
        reasons
            .extend(patched.map(|(path, _)| Reason::new("patch", format!("{} changed", super::reasons::shown(path)))));
        if let Some((before, after)) = base.config.rhdh_change(&self.request.config.rhdh, &self.request.cli) {
            reasons.push(Reason::new("rhdh-cli", format!("RHDH CLI {before} → {after}")));
        }
        if base.config.inputs_changed() {
            reasons.push(Reason::new("inputs", "`[inputs]` changed in rhdh-plugins.toml"));
        }
        if let Some(before) = base.manifests.get(&workspace.path) {
            let (before, after) = (root_settings(before), root_settings(&workspace.manifest));
            let names: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
            let file = join(workspace.path.as_str(), "package.json");
            for name in names.into_iter().filter(|name| before.get(*name) != after.get(*name)) {
                reasons.push(Reason::new("global", format!("`{name}` changed in {file}")));
            }
        }
        let (before, after) = (base.files.global.get(&workspace.path), self.head.global.get(&workspace.path));
        let global = file_changes(before.into_iter().flatten().copied(), after.into_iter().flatten().copied(), "");
        reasons.extend(global.into_iter().map(|text| Reason::new("global", text)));
        reasons
    }

    /// How a plugin comes to depend on a package: one line, or none where the configuration embeds it.
    fn way(&self, closure: &[usize], target: usize) -> Vec<String> {
        let Some(&own) = closure.first() else { return Vec::new() };
        let mut from: HashMap<usize, usize> = HashMap::new();
        let mut next = std::collections::VecDeque::from([own]);
        while let Some(at) = next.pop_front() {
            for path in &self.rules.packages[at].1.depends_on {
                if let Some(to) = self.rules.package(path).filter(|to| *to != own && !from.contains_key(to)) {
                    from.insert(to, at);
                    next.push_back(to);
                }
            }
        }
        if !from.contains_key(&target) {
            return vec!["embedded by `embed-packages`".to_owned()];
        }
        let mut names: Vec<&str> = std::iter::successors(Some(target), |at| from.get(at).copied())
            .map(|at| self.rules.packages[at].1.manifest.name.as_deref().unwrap_or_default())
            .collect();
        names.reverse();
        vec![names.join(" → ")]
    }

    fn bundle(
        &self,
        bundle: &BundleToPlan<'_>,
        plugins: &HashMap<&str, (&PluginToPlan<'_>, &(ContentKey, Vec<Reason>))>,
    ) -> (ContentKey, Vec<Reason>) {
        let config = bundle.config;
        let mut records = Records::default();
        records.add("bundle", "image", &config.image);
        records.add("bundle", "version", &bundle.version);
        records.add("bundle", "labels", Value::from_iter(config.labels.clone()).to_string());
        records.add("bundle", "annotations", Value::from_iter(config.annotations.clone()).to_string());
        let mut reasons = Vec::new();
        if let Some(base) = &self.base {
            match base.config.changed_keys("bundles", &config.id) {
                Ok(Some(keys)) => reasons.extend(
                    keys.iter().map(|key| Reason::new("config", format!("`{key}` changed in rhdh-plugins.toml"))),
                ),
                Ok(None) => reasons.push(Reason::new("new", "new in rhdh-plugins.toml")),
                Err(why) => reasons.push(Reason::new("config", why)),
            }
        }
        for (position, id) in config.plugins.iter().enumerate() {
            let Some((plugin, (key, changed))) = plugins.get(id.as_str()) else { continue };
            records.add("member", format!("{position:04}"), format!("{} {key}", plugin.image));
            if let Some(first) = changed.first() {
                let more = if changed.len() > 1 { format!(", and {} more", changed.len() - 1) } else { String::new() };
                reasons.push(Reason::new("member", format!("{id} changed: {}{more}", first.text)));
            }
        }
        (records.key(), reasons)
    }
}

impl ConfigBefore {
    /// The keys of a plugin or bundle that changed; `None` where it is new.
    fn changed_keys(&self, kind: &str, id: &str) -> Result<Option<Vec<String>>, String> {
        match self {
            Self::Same => Ok(Some(Vec::new())),
            Self::Unreadable => Err("rhdh-plugins.toml changed, and what it was before is not TOML".to_owned()),
            Self::Other(base, head) => Ok(head.changed_keys(base, kind, id)),
        }
    }

    fn rhdh_change(&self, rhdh: &Rhdh, cli: &str) -> Option<(String, String)> {
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

    fn inputs_changed(&self) -> bool {
        matches!(self, Self::Other(base, head) if base.differs(head, "inputs", &["global", "ignore"]))
    }
}

/// The base's side. `before` are its files, `head` those of the head.
fn before_of<'a>(
    request: &'a Request<'_>,
    rules: &Rules<'a>,
    git: &Git,
    before: &'a Snapshot,
    head: &Sorted<'a>,
) -> Result<Before<'a>, Error> {
    let file = request.config.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // What must be read of the base: the configuration, and of each workspace the root's package.json and yarn.lock.
    let differs = |path: &str| before.id(path) != head.snapshot.id(path);
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
    let (mut locks, mut manifests) = (Locks::new(), HashMap::new());
    for (workspace, manifest, lock) in workspaces {
        // A base without a usable package.json had no resolutions that could be compared.
        let manifest = manifest.and_then(|at| PackageJson::parse(&blobs[at], "package.json").ok()).unwrap_or_default();
        let text = lock.map(|at| blobs[at].as_slice()).unwrap_or_default();
        locks.insert(&workspace.path, Lock::read(text, workspace, &manifest));
        manifests.insert(&workspace.path, manifest);
    }
    let files = rules.sort(before);
    let folders: Vec<&str> = rules.packages.iter().map(|(_, package)| package.path.as_str()).collect();
    let packages = package_changes(&files, head, &folders);
    Ok(Before { files, packages, locks, manifests, config })
}

/// Reads the lock files of all workspaces: from disk, or, with `git`, from the snapshot.
fn head_locks<'a>(request: &'a Request<'_>, git: Option<&Git>, head: &Sorted<'_>) -> Result<Locks<'a>, Error> {
    let mut texts = Vec::new();
    for workspace in request.workspaces.by_path.values() {
        let path = join(workspace.path.as_str(), "yarn.lock");
        let text = match git {
            Some(git) => git.blobs(&head.snapshot.id(&path).into_iter().collect::<Vec<_>>())?.pop().unwrap_or_default(),
            None => std::fs::read(request.workspaces.root.join(&path)).unwrap_or_default(),
        };
        texts.push((workspace, text));
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let parsed = std::thread::scope(|scope| {
        let shares = texts.chunks(texts.len().div_ceil(threads).max(1));
        let workers: Vec<_> = shares
            .map(|share| {
                scope.spawn(move || {
                    let read = |(workspace, text): &(&'a Workspace, Vec<u8>)| {
                        (&workspace.path, Lock::read(text, workspace, &workspace.manifest))
                    };
                    share.iter().map(read).collect::<Vec<_>>()
                })
            })
            .collect();
        let join = |worker: std::thread::ScopedJoinHandle<'_, Vec<_>>| {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        workers.into_iter().flat_map(join).collect()
    });
    Ok(parsed)
}

/// What the base's configuration has and the head's has not.
fn removed_since(
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

/// The settings of a plugin that shape its artifact. Where it goes is none of them.
fn options(plugin: &Plugin, image: &str) -> [(&'static str, Value); 11] {
    [
        ("allow-native-packages", plugin.allow_native_packages.clone().into()),
        ("annotations", Value::from_iter(plugin.annotations.clone())),
        ("embed-packages", plugin.embed_packages.clone().into()),
        ("export", serde_json::to_value(plugin.export).unwrap_or_default()),
        ("export-args", plugin.export_args.clone().into()),
        ("ignore-version-check", plugin.ignore_version_check.clone().into()),
        ("image", image.into()),
        ("labels", Value::from_iter(plugin.labels.clone())),
        ("scalprum-config", plugin.scalprum_config.as_ref().map(|path| path.as_str()).into()),
        ("shared-packages", plugin.shared_packages.clone().into()),
        ("suppress-native-packages", plugin.suppress_native_packages.clone().into()),
    ]
}

/// What of the root's `package.json` counts for every plugin of the workspace.
fn root_settings(manifest: &PackageJson) -> BTreeMap<&'static str, Value> {
    let mut settings = BTreeMap::new();
    let resolutions: BTreeMap<String, String> =
        manifest.ranges("resolutions").map(|(name, range)| (name.to_owned(), range.to_owned())).collect();
    if !resolutions.is_empty() {
        settings.insert("resolutions", Value::from_iter(resolutions));
    }
    if let Some(manager) = manifest.rest.get("packageManager") {
        settings.insert("packageManager", manager.clone());
    }
    settings
}

fn describe(file: &File) -> String {
    format!("{} {}", file.kind.mode(), file.id)
}
