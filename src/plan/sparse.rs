//! Sparse checkouts: git has files that do not stand on disk. They count as git has them, but which packages there are,
//! and what they depend on, is read from disk.

use std::collections::HashSet;

use super::inputs::join;
use super::snapshot::Snapshot;
use super::survey::{Error, Request};
use crate::repo_path::RepoPath;

/// Refuses to plan where packages of a workspace, or plugins, are in `after`, the working tree, and not on disk.
pub(super) fn refuse(request: &Request<'_>, after: &Snapshot) -> Result<(), Error> {
    let root = &request.workspaces.root;
    let gone: HashSet<&RepoPath> = request.gone.iter().map(|(_, path)| *path).collect();
    let mut folders = Vec::new();
    for workspace in request.workspaces.by_path.values() {
        let Ok(Some(patterns)) = workspace.manifest.workspaces("package.json") else { continue };
        let inside = join(workspace.path.as_str(), "");
        let manifests = after.beginning_with(inside.as_bytes()).filter(|(path, _)| path.ends_with(b"/package.json"));
        let others = manifests.filter_map(|(path, _)| {
            let folder = std::str::from_utf8(path).ok()?.strip_suffix("/package.json")?;
            RepoPath::new(folder).ok().filter(|folder| !workspace.packages.contains_key(folder))
        });
        folders.extend(others.filter(|folder| gone.contains(folder) || workspace.is_led_to(&patterns, folder)));
    }
    let is_there = |folder: &RepoPath| folder.under(root).join("package.json").symlink_metadata().is_ok();
    folders.retain(|folder| !is_there(folder));
    folders.sort();
    folders.dedup();
    if folders.is_empty() {
        return Ok(());
    }
    Err(Error::NotCheckedOut { folders: folders.iter().map(RepoPath::to_string).collect::<Vec<_>>().join(" ") })
}
