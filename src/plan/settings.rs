//! What of the configuration, and of a workspace as a whole, counts for a plugin: its part of the content key, and what
//! changed of it since the base.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde_json::Value;

use super::Reason;
use super::before::{Files, Texts};
use super::inputs::{glob_set, join};
use super::key::Records;
use super::reasons::{differences, file_changes};
use super::snapshot::File;
use crate::config::{DEFAULT_GLOBAL, Plugin};
use crate::package::DEFAULT_LEVEL;
use crate::repo_path::RepoPath;
use crate::workspace::{PackageJson, Workspace};

/// What counts for every plugin of one workspace.
pub(super) struct OfWorkspace {
    /// Its part of their keys.
    pub(super) records: Records,
    /// What of it is not what it was at the base.
    pub(super) reasons: Vec<Reason>,
}

impl OfWorkspace {
    pub(super) fn new(
        workspace: &Workspace,
        rhdh_cli: &HashMap<&RepoPath, (String, String)>,
        global: &HashMap<&RepoPath, BTreeMap<&[u8], File<'_>>>,
        base: Option<&(Texts<'_>, Files<'_>)>,
    ) -> Self {
        let (mut records, mut reasons) = (Records::default(), Vec::new());
        let settings = root_settings(&workspace.manifest);
        let cli = rhdh_cli.get(&workspace.path);
        let global = global.get(&workspace.path);
        records.add("cli", "", cli.map(|(_, now)| now.as_str()).unwrap_or_default());
        for (path, file) in global.into_iter().flatten() {
            records.add("file", path, describe(file));
        }
        for (name, value) in &settings {
            records.add("manifest", join(workspace.path.as_str(), name), value.to_string());
        }
        let Some((texts, files)) = base else { return Self { records, reasons } };
        if let Some((before, after)) = cli.filter(|(before, after)| before != after) {
            reasons.push(Reason::new("rhdh-cli", format!("RHDH CLI {before} → {after}")));
        }
        if texts.config.inputs_changed() {
            reasons.push(Reason::new("inputs", format!("`[inputs]` changed in {}", texts.config_file)));
        }
        if let Some(before) = texts.manifests.get(&workspace.path) {
            let before = root_settings(before);
            let names: BTreeSet<_> = before.keys().chain(settings.keys()).collect();
            let file = join(workspace.path.as_str(), "package.json");
            for name in names.into_iter().filter(|name| before.get(*name) != settings.get(*name)) {
                reasons.push(Reason::new("global", format!("`{name}` changed in {file}")));
            }
        }
        if let (Some(before), Some(after)) = (files.global.get(&workspace.path), global) {
            let changed = file_changes(&differences(before, after), "");
            reasons.extend(changed.into_iter().map(|text| Reason::new("global", text)));
        }
        Self { records, reasons }
    }
}

/// What `[inputs] global` names besides the defaults, and no workspace has: most probably a mistake. `found` are the
/// global inputs of each workspace.
pub(super) fn unmatched<'g>(
    globs: &'g [String],
    found: &HashMap<&RepoPath, BTreeMap<&[u8], File<'_>>>,
) -> impl Iterator<Item = &'g String> {
    let paths = found.iter().flat_map(|(workspace, files)| {
        let prefix = join(workspace.as_str(), "");
        files.keys().filter_map(move |path| Some(path.strip_prefix(prefix.as_bytes())?.to_owned()))
    });
    let paths: Vec<Vec<u8>> = paths.collect();
    globs.iter().filter(|glob| !DEFAULT_GLOBAL.contains(&glob.as_str())).filter(move |glob| {
        let below = format!("{}/**", glob.trim_end_matches('/'));
        let set = glob_set([*glob, &below].into_iter());
        !paths.iter().any(|path| set.is_match(Path::new(OsStr::from_bytes(path))))
    })
}

/// The settings of a plugin that shape its artifact, as JSON. Where it goes is none of them.
pub(super) fn options(plugin: &Plugin, image: &str) -> [(&'static str, String); 13] {
    fn json(value: &(impl serde::Serialize + ?Sized)) -> String {
        serde_json::to_string(value).unwrap_or_default()
    }
    [
        ("allow-native-packages", json(&plugin.allow_native_packages)),
        ("annotations", json(&plugin.annotations)),
        ("artifact-type", json(&plugin.artifact_type)),
        ("compression-level", json(&level(plugin.compression_level))),
        ("embed-packages", json(&plugin.embed_packages)),
        ("export", json(&plugin.export)),
        ("export-args", json(&plugin.export_args)),
        ("ignore-version-check", json(&plugin.ignore_version_check)),
        ("image", json(image)),
        ("labels", json(&plugin.labels)),
        ("scalprum-config", json(&plugin.scalprum_config)),
        ("shared-packages", json(&plugin.shared_packages)),
        ("suppress-native-packages", json(&plugin.suppress_native_packages)),
    ]
}

/// A compression level that is not the default.
pub(super) fn level(configured: Option<u8>) -> Option<u8> {
    configured.filter(|level| u32::from(*level) != DEFAULT_LEVEL)
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

/// Kind and id.
pub(super) fn describe(file: &File<'_>) -> String {
    format!("{} {}", file.kind.mode(), String::from_utf8_lossy(file.id))
}
