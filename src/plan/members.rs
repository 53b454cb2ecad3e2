//! Which packages came to a workspace, and which left it: because other folders are named by `workspaces` of the root's
//! `package.json`, or because a package was deleted, or has another name or version than its dependants ask for. A
//! dependency on such a package leads elsewhere, though no file of the dependant changed.

use std::collections::HashMap;
use std::sync::Arc;

use super::git::Git;
use super::inputs::join;
use super::reasons::shown;
use super::snapshot::Snapshot;
use super::survey::Error;
use super::{Reason, parallel};
use crate::repo_path::RepoPath;
use crate::workspace::{Package, PackageJson, Workspace, Workspaces};

/// What is no package of one workspace any more, or no more the one it was, and what is one now.
#[derive(Debug, Default)]
pub(super) struct Moved {
    /// Whether `workspaces` of the root is another.
    by_patterns: bool,
    joined: Vec<RepoPath>,
    left: Vec<Package>,
}

/// Of each workspace; `manifests` are the roots' before.
pub(super) fn moved<'a>(
    workspaces: &'a Workspaces,
    git: &Git,
    (before, after): (&Snapshot, &Snapshot),
    manifests: &HashMap<&'a RepoPath, PackageJson>,
) -> Result<HashMap<&'a RepoPath, Moved>, Error> {
    let patterns = |json: &PackageJson| json.workspaces("package.json").ok().flatten().unwrap_or_default();
    let mut all = HashMap::new();
    for workspace in workspaces.by_path.values() {
        let Some(manifest) = manifests.get(&workspace.path) else { continue };
        let (old, new) = (patterns(manifest), patterns(&workspace.manifest));
        let by_patterns = old != new;
        let prefix = join(workspace.path.as_str(), "");
        let manifests = before.beginning_with(prefix.as_bytes()).filter(|(path, _)| path.ends_with(b"/package.json"));
        let packages = manifests.filter_map(|(path, file)| {
            let is_same = after.get(path).is_some_and(|now| now.id == file.id);
            if is_same && !by_patterns {
                return None;
            }
            let folder = std::str::from_utf8(path).ok()?.strip_suffix("/package.json")?;
            Some((RepoPath::new(folder).ok()?, std::str::from_utf8(file.id).ok()?, is_same))
        });
        let packages: Vec<(RepoPath, &str, bool)> = packages.collect();
        let led_to =
            parallel(&packages, |(folder, ..)| (workspace.is_led_to(&old, folder), workspace.is_led_to(&new, folder)));
        let mut moved = Moved { by_patterns, ..Moved::default() };
        let mut others = Vec::new();
        for ((folder, id, is_same), led_to) in packages.into_iter().zip(led_to) {
            match led_to {
                (false, true) => moved.joined.push(folder),
                (true, false) if !workspace.packages.contains_key(&folder) => others.push((folder, id)),
                (true, _) if !is_same => others.push((folder, id)),
                _ => {}
            }
        }
        let ids: Vec<&str> = others.iter().map(|(_, id)| *id).collect();
        for ((path, _), text) in others.into_iter().zip(git.blobs(&ids)?) {
            let Ok(manifest) = PackageJson::parse(&text, "package.json") else { continue };
            let now = workspace.packages.get(&path).map(|package| (&package.manifest.name, &package.manifest.version));
            if now != Some((&manifest.name, &manifest.version)) {
                moved.left.push(Package::new(path, Arc::new(manifest)));
            }
        }
        all.insert(&workspace.path, moved);
    }
    Ok(all)
}

impl Moved {
    /// Why a plugin of `workspace` that is made from `packages`, and has the CLI embed those named by `embedded`, is
    /// not what it was.
    pub(super) fn reasons(&self, workspace: &Workspace, packages: &[&Package], embedded: &[String]) -> Vec<Reason> {
        let root = join(workspace.path.as_str(), "package.json");
        let named = |package: &Package| {
            shown(package.manifest.name.as_deref().unwrap_or(package.path.as_str()).as_bytes()).to_string()
        };
        let joined = packages.iter().filter(|package| self.joined.contains(&package.path));
        let joined =
            joined.map(|package| format!("{} is in the workspace now (`workspaces` in {root})", named(package)));
        let left = self.left.iter().filter_map(|left| {
            let name = left.manifest.name.as_ref();
            let is_embedded = name.is_some_and(|name| embedded.contains(name));
            if !is_embedded && !packages.iter().any(|package| package.needs(left, &workspace.path)) {
                return None;
            }
            let now = name.and_then(|name| workspace.named(name));
            // What is still part of the plugin has changed as a package.
            let is_part = |path: &RepoPath| packages.iter().any(|package| package.path == *path);
            if is_part(&left.path) || now.is_some_and(|now| is_part(&now.path)) {
                return None;
            }
            let version = now.map(|now| now.manifest.version.as_deref().unwrap_or("without a version"));
            Some(match version {
                Some(version) => {
                    format!(
                        "{} is {} in the workspace, which is not what is asked for",
                        named(left),
                        shown(version.as_bytes())
                    )
                }
                None if self.by_patterns => {
                    format!("{} is in the workspace no more (`workspaces` in {root})", named(left))
                }
                None => format!("{} is in the workspace no more", named(left)),
            })
        });
        joined.chain(left).map(|what| Reason::new("workspaces", what)).collect()
    }
}
