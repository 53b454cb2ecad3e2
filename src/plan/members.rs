//! Which packages came to a workspace, and which left it, because other folders are named by `workspaces` of the root's
//! `package.json`: a dependency on such a package leads elsewhere, though no file of it changed.

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

/// What `workspaces` of one root names no more, or names now.
#[derive(Debug, Default)]
pub(super) struct Moved {
    joined: Vec<RepoPath>,
    left: Vec<Package>,
}

/// Of each workspace whose `workspaces` are not what they were; `manifests` are the roots' before.
pub(super) fn moved<'a>(
    workspaces: &'a Workspaces,
    git: &Git,
    before: &Snapshot,
    manifests: &HashMap<&'a RepoPath, PackageJson>,
) -> Result<HashMap<&'a RepoPath, Moved>, Error> {
    let patterns = |json: &PackageJson| json.workspaces("package.json").ok().flatten().unwrap_or_default();
    let changed = workspaces.by_path.values().filter_map(|workspace| {
        let (old, new) = (patterns(manifests.get(&workspace.path)?), patterns(&workspace.manifest));
        (old != new).then_some((workspace, old, new))
    });
    let mut all = HashMap::new();
    for (workspace, old, new) in changed {
        let prefix = join(workspace.path.as_str(), "");
        let packages = before.beginning_with(prefix.as_bytes()).filter_map(|(path, file)| {
            let folder = std::str::from_utf8(path).ok()?.strip_suffix("/package.json")?;
            Some((RepoPath::new(folder).ok()?, std::str::from_utf8(file.id).ok()?))
        });
        let packages: Vec<(RepoPath, &str)> = packages.collect();
        let led_to =
            parallel(&packages, |(folder, _)| (workspace.is_led_to(&old, folder), workspace.is_led_to(&new, folder)));
        let mut moved = Moved::default();
        let mut left = Vec::new();
        for ((folder, id), led_to) in packages.into_iter().zip(led_to) {
            match led_to {
                (false, true) => moved.joined.push(folder),
                (true, false) if !workspace.packages.contains_key(&folder) => left.push((folder, id)),
                _ => {}
            }
        }
        let ids: Vec<&str> = left.iter().map(|(_, id)| *id).collect();
        for ((path, _), text) in left.into_iter().zip(git.blobs(&ids)?) {
            let manifest = PackageJson::parse(&text, "package.json");
            let manifest = manifest.ok().map(Arc::new);
            moved.left.extend(manifest.map(|manifest| Package::new(path, manifest)));
        }
        all.insert(&workspace.path, moved);
    }
    Ok(all)
}

impl Moved {
    /// Why a plugin of `workspace` that is made from `packages` is not what it was.
    pub(super) fn reasons(&self, workspace: &Workspace, packages: &[&Package]) -> Vec<Reason> {
        let file = join(workspace.path.as_str(), "package.json");
        let named = |package: &Package| package.manifest.name.clone().unwrap_or_else(|| package.path.to_string());
        let joined = packages.iter().filter(|package| self.joined.contains(&package.path));
        let joined = joined.map(|package| format!("{} is in the workspace now", shown(named(package).as_bytes())));
        let left = self.left.iter().filter(|left| packages.iter().any(|package| package.needs(left)));
        let left = left.map(|package| format!("{} is in the workspace no more", shown(named(package).as_bytes())));
        joined.chain(left).map(|what| Reason::new("workspaces", format!("{what} (`workspaces` in {file})"))).collect()
    }
}
