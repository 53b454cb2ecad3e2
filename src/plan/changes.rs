//! From two states of the repository to the content key of every plugin and bundle, and the reasons why it is not what
//! it was.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::before::{Files, Texts, files_of, removed_since, texts_of};
use super::git::Git;
use super::inputs::{Content, Rules, join};
use super::key::{ContentKey, Records};
use super::lock::{self, LockHead, LockView, OfPlugin};
use super::members::{Moved, moved};
use super::parallel;
use super::reasons::{differences, file_changes, shown};
use super::settings::{OfWorkspace, describe, level, options, unmatched};
use super::sight::{Before, Sight};
use super::snapshot::{File, Snapshot};
use super::sparse;
use super::survey::{BundleToPlan, Error, PluginToPlan, Request};
use super::{PlannedBundle, PlannedPlugin, Reason};
use crate::config::Plugin;
use crate::config::names::package_image_name;
use crate::hidden;
use crate::repo_path::RepoPath;
use crate::rhdh::CliVersion;
use crate::workspace::{Package, Workspace};

/// What was seen, in the order of the request.
pub(super) struct Seen {
    pub(super) plugins: Vec<(ContentKey, Vec<Reason>)>,
    pub(super) bundles: Vec<(ContentKey, Vec<Reason>)>,
    /// For each plugin, the numbers of the packages that it is made from, its own first.
    pub(super) made_from: Vec<Vec<usize>>,
    pub(super) removed_plugins: Vec<PlannedPlugin>,
    pub(super) removed_bundles: Vec<PlannedBundle>,
    pub(super) notes: Vec<String>,
}

/// The side of the head, and of the base where there is one.
struct View<'a> {
    rules: &'a Rules<'a>,
    head: &'a Snapshot,
    base: Option<(Texts<'a>, Files<'a>)>,
    /// What came to a workspace, and what left it.
    moved: HashMap<&'a RepoPath, Moved>,
    /// What all plugins of a workspace have in common.
    workspaces: HashMap<&'a RepoPath, OfWorkspace>,
    /// What the files of each package say.
    contents: Vec<Content>,
    /// For each package, those that it comes to by its lock file.
    by_lock: Vec<Vec<usize>>,
}

pub(super) fn look(request: &Request<'_>, rules: &Rules<'_>, git: Option<&Git>, sight: &Sight) -> Result<Seen, Error> {
    let (by_texts, of_head) = std::thread::scope(|scope| {
        let of_head = scope.spawn(|| OfHead::look(rules, sight.after()?));
        (ByTexts::look(request, rules, git, sight), of_head.join())
    });
    let ByTexts { base, rhdh_cli, by_lock, plugins: with_locks, moved, removed, mut notes } = by_texts?;
    let OfHead { after, existing, contents } = of_head.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    if sight.look.head.is_none() {
        sparse::refuse(request, after)?;
    }
    let before = sight.before()?.snapshot()?;
    let left = moved.values().flat_map(Moved::left).filter(|folder| rules.package(folder).is_none());
    let left = left.map(RepoPath::as_str).collect();
    let base = base.zip(before.map(|before| files_of(rules, (before, &left), (after, &existing))));
    let global = rules.global(after);
    let unmatched = unmatched(&request.config.inputs.global, &global);
    notes.extend(
        unmatched.map(|glob| format!("`{glob}` of `[inputs] global` is no file of a workspace that git knows")),
    );
    let workspaces = request.workspaces.by_path.values();
    let workspaces = workspaces
        .map(|workspace| (&workspace.path, OfWorkspace::new(workspace, &rhdh_cli, &global, base.as_ref())))
        .collect();
    notes.extend(leads_out(request, rules, &with_locks, &contents));
    let view = View { rules, moved, workspaces, head: after, base, contents, by_lock };
    let pairs: Vec<_> = request.plugins.iter().zip(&with_locks).collect();
    let plugins = parallel(&pairs, |(plugin, (closure, lock))| view.plugin(plugin, closure, lock));
    let by_id: HashMap<&str, (&PluginToPlan<'_>, &(ContentKey, Vec<Reason>))> = request
        .plugins
        .iter()
        .zip(&plugins)
        .map(|(plugin, seen)| (plugin.config.id.as_str(), (plugin, seen)))
        .collect();
    let bundles = request.bundles.iter().map(|bundle| view.bundle(bundle, &by_id)).collect();
    let made_from = with_locks.into_iter().map(|(closure, _)| closure).collect();
    Ok(Seen { bundles, plugins, made_from, removed_plugins: removed.0, removed_bundles: removed.1, notes })
}

/// What is said of links and dependencies by path that lead to what nobody looks at.
fn leads_out(
    request: &Request<'_>,
    rules: &Rules<'_>,
    plugins: &[(Vec<usize>, OfPlugin)],
    contents: &[Content],
) -> Option<String> {
    /// More are not named.
    const MOST: usize = 3;
    let packages: BTreeSet<usize> = plugins.iter().flat_map(|(closure, _)| closure).copied().collect();
    let of_file = |range: &str, folder: &RepoPath| {
        format!("`{}` in `{}`", hidden::shown(range), join(folder.as_str(), "package.json"))
    };
    let workspaces = request.workspaces.by_path.values();
    let resolutions =
        workspaces.flat_map(|workspace| workspace.resolutions_out().map(|range| of_file(range, &workspace.path)));
    let of_packages = packages.into_iter().flat_map(|number| {
        let (_, package) = rules.packages[number];
        let ranges = package.ranges_out().map(|range| of_file(range, &package.path));
        let links = contents[number].links_out.iter().map(|link| format!("the link `{}`", shown(link)));
        ranges.chain(links)
    });
    let all: Vec<String> = resolutions.chain(of_packages).collect();
    if all.is_empty() {
        return None;
    }
    let more = if all.len() > MOST { format!(", and {} more", all.len() - MOST) } else { String::new() };
    let named = all[..all.len().min(MOST)].join(", ");
    let file = request.config.file_name();
    Some(format!(
        "changes in what these lead to are not seen, because it is not below the folder of {file}: {named}{more}"
    ))
}

/// What the lock files say, and other texts of the base; the files of the head need not be known for that.
struct ByTexts<'a> {
    base: Option<Texts<'a>>,
    /// The version of the RHDH CLI for each workspace, at the base and at the head.
    rhdh_cli: HashMap<&'a RepoPath, (String, String)>,
    /// For each package, those that it comes to by its lock file.
    by_lock: Vec<Vec<usize>>,
    /// For each plugin, the packages that it is made from, and what its lock file says.
    plugins: Vec<(Vec<usize>, OfPlugin)>,
    /// What came to a workspace, and what left it.
    moved: HashMap<&'a RepoPath, Moved>,
    removed: (Vec<PlannedPlugin>, Vec<PlannedBundle>),
    notes: Vec<String>,
}

impl<'a> ByTexts<'a> {
    fn look(request: &'a Request<'_>, rules: &Rules<'_>, git: Option<&Git>, sight: &Sight) -> Result<Self, Error> {
        let texts = match (git, &sight.look.head) {
            (Some(git), Some(_)) => lock::of_snapshot(request.workspaces, git, sight.after()?)?,
            _ => lock::on_disk(request.workspaces, sight.lock_ahead()),
        };
        // A commit that is planned has a lock file of its own.
        let ahead = sight.lock_ahead().filter(|_| sight.look.head.is_none());
        let (locks, before) = std::thread::scope(|scope| {
            let locks =
                scope.spawn(|| LockHead::new(&rules.packages, lock::read_all(request.workspaces, &texts, ahead)));
            let before = sight.before().and_then(Before::snapshot).map(|before| before.zip(git));
            let before = before.and_then(|before| {
                let base = before.map(|(before, git)| texts_of(request, git, sight, before, &texts)).transpose();
                Ok((before, base?))
            });
            (locks.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), before)
        });
        let (before, base) = before?;
        let (base, base_locks) = base.unzip();
        let note =
            |(workspace, why)| format!("{why}; every plugin of the workspace `{workspace}` depends on all of it");
        let mut notes: Vec<String> = locks.errors().map(note).collect();
        notes.sort();
        let locks = LockView::new(locks, base_locks.unwrap_or_default());
        let wanted = CliVersion::wanted(&request.config.rhdh);
        let wanted_before = base.as_ref().map(|base| CliVersion::wanted(&base.config.rhdh(&request.config.rhdh)));
        let rhdh_cli = request.workspaces.by_path.values().map(|workspace| {
            let (before, now) = locks.rhdh_cli(workspace);
            let before = wanted_before.as_ref().unwrap_or(&wanted).in_workspace(before.as_deref());
            (&workspace.path, (before, wanted.in_workspace(now.as_deref())))
        });
        let rhdh_cli = rhdh_cli.collect();
        let folders: Vec<(usize, &[String])> = locks.of_workspace().enumerate().collect();
        let by_lock = parallel(&folders, |(package, folders)| rules.beside(*package, folders));
        let plugins = parallel(&request.plugins, |plugin| {
            let closure = rules.closure(plugin.config, &by_lock);
            let of_lock = if closure.is_empty() { OfPlugin::Nothing } else { locks.plugin(&closure) };
            (closure, of_lock)
        });
        let (removed, moved) = match (&base, before) {
            (Some(texts), Some((before, git))) => (
                removed_since(request, git, before, &texts.config)?,
                moved(request.workspaces, git, (before, sight.after()?), &texts.manifests)?,
            ),
            _ => Default::default(),
        };
        Ok(Self { base, rhdh_cli, by_lock, plugins, moved, removed, notes })
    }
}

/// What the files of the head say; the lock files need not be known for that.
struct OfHead<'a> {
    after: &'a Snapshot,
    /// Which packages are there.
    existing: Vec<bool>,
    contents: Vec<Content>,
}

impl<'a> OfHead<'a> {
    fn look(rules: &Rules<'a>, after: &'a Snapshot) -> Result<Self, Error> {
        let existing = rules.existing(after);
        let contents = rules.contents(after, &existing);
        Ok(Self { after, existing, contents })
    }
}

impl View<'_> {
    fn plugin(&self, plugin: &PluginToPlan<'_>, closure: &[usize], lock: &OfPlugin) -> (ContentKey, Vec<Reason>) {
        let rules = self.rules;
        let mut records = Records::default();
        for (name, value) in options(plugin.config, &plugin.image) {
            records.add("option", name, value);
        }
        for &package in closure {
            records.add("package", rules.packages[package].1.path.as_str(), self.contents[package].digest);
        }
        let extra = rules.extra(self.head, plugin.config, self.linked(closure));
        for (path, file) in &extra {
            records.add("file", path, describe(file));
        }
        let Some((workspace, _)) = closure.first().map(|own| rules.packages[*own]) else {
            return (records.key(), Vec::new());
        };
        let of_workspace = self.workspaces.get(&workspace.path);
        if let Some(of_workspace) = of_workspace {
            records.add_all(&of_workspace.records);
        }
        let mut lock_reasons = Vec::new();
        let mut patches = BTreeMap::new();
        match lock {
            OfPlugin::Known { digests, patches: patch_files, reasons } => {
                for (&package, digest) in closure.iter().zip(digests) {
                    records.add("lock", rules.packages[package].1.path.as_str(), digest);
                }
                for patch in patch_files {
                    // One that leads out of the repository is no file of it.
                    let Ok(path) = workspace.path.join(patch) else { continue };
                    for (path, file) in rules.links.at(self.head, path.as_str().as_bytes(), |_| true) {
                        records.add("file", path, describe(&file));
                        patches.insert(path, file);
                    }
                }
                lock_reasons.extend(reasons.iter().cloned());
            }
            OfPlugin::Unknown(why) => {
                let path = join(workspace.path.as_str(), "yarn.lock");
                let id = rules.links.id(self.head, &path).unwrap_or_default();
                records.add("unread-lock", workspace.path.as_str(), id);
                let before = self.base.as_ref().map(|(_, base)| rules.links.id(base.snapshot, &path));
                if before.is_some_and(|before| before.unwrap_or_default() != id) {
                    lock_reasons.push(Reason::new("lock-file", format!("{path} changed, and {why}")));
                }
            }
            OfPlugin::Nothing => {}
        }
        let reasons = match &self.base {
            Some((texts, files)) => {
                self.reasons((texts, files), plugin.config, workspace, closure, &extra, &patches, lock_reasons)
            }
            None => Vec::new(),
        };
        (records.key(), reasons)
    }

    /// Every reason, most direct first.
    #[allow(clippy::too_many_arguments, reason = "all of it is known at the one place that calls it")]
    fn reasons(
        &self,
        (texts, base): (&Texts<'_>, &Files<'_>),
        plugin: &Plugin,
        workspace: &Workspace,
        closure: &[usize],
        extra: &BTreeMap<&[u8], File<'_>>,
        patches: &BTreeMap<&[u8], File<'_>>,
        lock_reasons: Vec<Reason>,
    ) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let own = closure.first().copied();
        let was_there = own.is_none_or(|own| base.existing[own]);
        let name = own.and_then(|own| self.rules.packages[own].1.manifest.name.as_deref());
        let image = name.map(|name| ("image", package_image_name(name)));
        reasons.extend(texts.config_reasons("plugins", &plugin.id, image.as_slice()));
        if was_there {
            let files = own.into_iter().flat_map(|own| &base.packages[own]);
            let before = self.rules.extra(base.snapshot, plugin, self.linked(closure));
            let linked = file_changes(&differences(&before, extra), "");
            let mut files: Vec<&String> = files.chain(&linked).collect();
            files.dedup();
            // The files are the most direct reason of all.
            reasons.splice(0..0, files.into_iter().map(|text| Reason::new("file", text)));
        } else if !reasons.iter().any(|reason| reason.kind == "new") {
            let is_known = own.is_none_or(|own| self.contents[own].is_known);
            let reason = if is_known {
                Reason::new("new", format!("{} was not there", plugin.path))
            } else {
                Reason::new("file", unknown(&plugin.path))
            };
            reasons.insert(0, reason);
        }
        for &package in closure.iter().skip(1) {
            let files = &base.packages[package];
            let member = self.rules.packages[package].1;
            if !self.contents[package].is_known && !base.existing[package] {
                reasons.push(Reason::new("dependency", unknown(&member.path)));
            }
            if !files.is_empty() {
                let name = hidden::shown(member.manifest.name.as_deref().unwrap_or(member.path.as_str()));
                let count = if files.len() == 1 { "1 file".to_owned() } else { format!("{} files", files.len()) };
                let mut detail = self.way(closure, package);
                detail.extend(files.iter().cloned());
                let text = format!("{name} changed ({count})");
                reasons.push(Reason { kind: "dependency".to_owned(), text, detail });
            }
        }
        if let Some(moved) = self.moved.get(&workspace.path) {
            let packages: Vec<&Package> = closure.iter().map(|package| self.rules.packages[*package].1).collect();
            reasons.extend(moved.reasons(workspace, &packages, &plugin.embed_packages));
        }
        reasons.extend(lock_reasons);
        let patched = patches.iter().filter(|(path, file)| base.snapshot.get(path).as_ref() != Some(file));
        reasons
            .extend(patched.map(|(path, _)| Reason::new("patch", format!("{} changed", super::reasons::shown(path)))));
        reasons.extend(
            self.workspaces.get(&workspace.path).into_iter().flat_map(|of_workspace| of_workspace.reasons.clone()),
        );
        reasons
    }

    /// What links in some packages name.
    fn linked(&self, packages: &[usize]) -> impl Iterator<Item = &Vec<u8>> {
        packages.iter().flat_map(|package| &self.contents[*package].linked)
    }

    /// How a plugin comes to depend on a package: one line, or none where the configuration embeds it.
    fn way(&self, closure: &[usize], target: usize) -> Vec<String> {
        let Some(&own) = closure.first() else { return Vec::new() };
        let mut from: HashMap<usize, usize> = HashMap::new();
        let mut next = std::collections::VecDeque::from([own]);
        while let Some(at) = next.pop_front() {
            for to in self.rules.direct(at, &self.by_lock) {
                let to = self.rules.package(&self.rules.packages[to].1.path);
                if let Some(to) = to.filter(|to| *to != own && !from.contains_key(to)) {
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
        vec![hidden::shown(&names.join(" → ")).into_owned()]
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
        records.add("bundle", "artifact-type", Value::from(config.artifact_type.as_deref()).to_string());
        records.add("bundle", "compression-level", Value::from(level(config.compression_level)).to_string());
        let mut reasons = Vec::new();
        if let Some((texts, _)) = &self.base {
            let mut members = config.plugins.iter().filter_map(|id| Some(&plugins.get(id.as_str())?.0.version));
            let is_theirs = members.all(|version| *version == bundle.version);
            let version = is_theirs.then(|| ("version", bundle.version.clone()));
            let unwritten: Vec<_> = version.into_iter().chain([("image", config.id.clone())]).collect();
            reasons.extend(texts.config_reasons("bundles", &config.id, &unwritten));
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

/// Of a package whose files are in no snapshot.
fn unknown(folder: &RepoPath) -> String {
    format!("git knows no file of {folder}: what changed there cannot be told")
}
