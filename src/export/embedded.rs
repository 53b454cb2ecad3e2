//! Which workspace packages the RHDH CLI packs into a backend. A plugin comes in; what goes out are the packages that
//! must be built before it is exported.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::PluginToExport;
use super::failure::Log;
use crate::repo_path::RepoPath;
use crate::workspace::{Package, Workspace, siblings};

/// The folders to build for the export of a plugin: its own, and those of the packages that will be embedded. None for
/// a frontend, which is bundled from its sources.
///
/// The rule is the RHDH CLI's own (`searchEmbedded`): of the direct `dependencies`, those that `embed-packages` names,
/// and the siblings `X-common` and `X-node` of `X-backend`, `X-backend-module-Y` and `X-node`; then the same for each
/// of them, with all names found so far.
pub(super) fn to_build(plugin: &PluginToExport, workspace: &Workspace) -> Vec<RepoPath> {
    if plugin.role.is_frontend() || plugin.config.export_args.iter().any(|arg| arg == "--no-build") {
        return Vec::new();
    }
    let mut found = BTreeSet::from([plugin.path.clone()]);
    if let Some(package) = workspace.packages.get(&plugin.path) {
        search(package, &plugin.config.embed_packages, workspace, &mut found);
    }
    found.into_iter().collect()
}

fn search(package: &Package, names: &[String], workspace: &Workspace, found: &mut BTreeSet<RepoPath>) {
    let manifest = &package.manifest;
    let siblings = siblings(manifest.name.as_deref().unwrap_or_default(), manifest.backstage.role.as_deref());
    let names: Vec<_> = names.iter().cloned().chain(siblings).collect();
    for (dependency, _) in package.manifest.ranges("dependencies") {
        if names.iter().any(|name| name == dependency)
            && let Some(embedded) = workspace.named(dependency)
            && found.insert(embedded.path.clone())
        {
            search(embedded, &names, workspace, found);
        }
    }
}

/// The folders of the packages that the RHDH CLI packed, as its log says, that are not among `built`. Whatever rule a
/// release follows: what it packs must have been built.
pub(super) fn packed_unbuilt(log: &Log, built: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let packed = log.lines.iter().filter_map(|line| {
        let (_, rest) = line.split_once("Packing embedded package ")?;
        let (folder, _) = rest.split_once(" in ")?.1.rsplit_once(" to ")?;
        Path::new(folder).canonicalize().ok()
    });
    packed.filter(|folder| !built.contains(folder)).collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::tests::{plugin, workspaces};

    fn built(files: &[(&str, &str)], path: &str, embed: &[&str]) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        let (workspaces, mut plugin) = (workspaces(root.path(), files), plugin(path, "backend-plugin"));
        plugin.config.embed_packages = embed.iter().map(|name| (*name).to_owned()).collect();
        to_build(&plugin, &workspaces.by_path[0]).iter().map(ToString::to_string).collect()
    }

    const FILES: [(&str, &str); 6] = [
        (
            "todo-backend",
            r#"{"name":"@a/todo-backend","backstage":{"role":"backend-plugin"},"dependencies":{"@a/todo-common":"workspace:^","@a/todo-node":"workspace:^","@a/lib":"workspace:^"}}"#,
        ),
        ("todo-common", r#"{"name":"@a/todo-common","backstage":{"role":"common-library"}}"#),
        (
            "todo-node",
            r#"{"name":"@a/todo-node","backstage":{"role":"node-library"},"dependencies":{"@a/todo-common":"workspace:^","@a/deep":"workspace:^"}}"#,
        ),
        ("lib", r#"{"name":"@a/lib","dependencies":{"@a/deep":"workspace:^"}}"#),
        ("deep", r#"{"name":"@a/deep","dependencies":{"@a/todo-backend":"workspace:^"}}"#),
        (
            "mod",
            r#"{"name":"@a/todo-backend-module-x","backstage":{"role":"backend-plugin-module"},"dependencies":{"@a/todo-node":"workspace:^"}}"#,
        ),
    ];

    #[test]
    fn siblings_and_named_packages() {
        assert_eq!(
            built(&FILES, "plugins/todo-backend", &[]),
            ["plugins/todo-backend", "plugins/todo-common", "plugins/todo-node"]
        );
        assert_eq!(built(&FILES, "plugins/mod", &[]), ["plugins/mod", "plugins/todo-common", "plugins/todo-node"]);
        let all = ["plugins/deep", "plugins/lib", "plugins/todo-backend", "plugins/todo-common", "plugins/todo-node"];
        assert_eq!(built(&FILES, "plugins/todo-backend", &["@a/lib", "@a/deep"]), all);
        assert_eq!(built(&FILES, "plugins/lib", &["@a/todo-common"]), ["plugins/lib"], "only what is a dependency");
    }

    #[test]
    fn what_the_log_says_was_packed() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().canonicalize().unwrap();
        let log = Log::of(&format!(
            "Packing embedded package @acme/lib in {} to embedded/acme-lib\nPacking main package to dist-dynamic/package.json\n",
            folder.display()
        ));
        assert_eq!(packed_unbuilt(&log, &BTreeSet::new()), std::slice::from_ref(&folder));
        assert!(packed_unbuilt(&log, &BTreeSet::from([folder])).is_empty());
    }
}
