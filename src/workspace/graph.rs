//! The graph between the packages of one workspace: who depends on whom, and what a package needs altogether.

use std::collections::{BTreeSet, HashMap};

use indexmap::IndexMap;
use nodejs_semver::{Range, Version};

use super::glob::Patterns;
use super::{Package, PackageJson, Workspace};
use crate::repo_path::{RepoPath, RepoPathError};

/// What a package needs at run time, hence what its plugin is made from.
const FIELDS: [&str; 3] = ["dependencies", "optionalDependencies", "peerDependencies"];

/// The protocols of ranges that are paths, as seen from the dependant.
const BY_PATH: [&str; 3] = ["link", "portal", "file"];

impl Package {
    /// Whether it would depend on `target`, were that a package of its workspace, whose root is in `workspace`.
    #[must_use]
    pub fn needs(&self, target: &Package, workspace: &RepoPath) -> bool {
        let name = target.manifest.name.as_deref();
        let mut ranges = FIELDS.iter().flat_map(|field| self.manifest.ranges(field));
        ranges.any(|(wanted, range)| {
            Some(wanted) == name && accepts(target, range)
                || by_path(workspace, &self.path, range).is_some_and(|path| path == target.path)
        })
    }

    /// What its dependencies by path name, where that is not below the folder of the configuration file.
    pub fn ranges_out(&self) -> impl Iterator<Item = &str> {
        FIELDS.iter().flat_map(|field| ranges_out(&self.path, &self.manifest, field))
    }
}

impl Workspace {
    /// As [`Package::ranges_out`], of `resolutions` of the root.
    pub fn resolutions_out(&self) -> impl Iterator<Item = &str> {
        ranges_out(&self.path, &self.manifest, "resolutions")
    }

    /// Whether patterns of a `workspaces` field of the root lead to the package in `folder`.
    #[must_use]
    pub fn is_led_to(&self, patterns: &[String], folder: &RepoPath) -> bool {
        let own = self.path.as_str();
        let inside = folder.as_str().strip_prefix(own).filter(|_| folder.is_in(&self.path)).unwrap_or_default();
        Patterns::new(patterns).is_ok_and(|patterns| patterns.matches(inside.trim_start_matches('/')))
    }

    /// The package with this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Package> {
        self.packages.values().find(|package| package.manifest.name.as_deref() == Some(name))
    }

    /// A folder's path relative to the root of the workspace; `None` where it is not below that.
    #[must_use]
    pub fn below(&self, folder: &RepoPath) -> Option<String> {
        let path = folder.as_str();
        let path = if self.path.is_root() { path } else { path.strip_prefix(self.path.as_str())?.strip_prefix('/')? };
        Some(path.to_owned())
    }

    /// The package in `folder`, then every package of the workspace that it depends on, directly or not, sorted by
    /// folder. Empty where `folder` is no package of the workspace.
    #[must_use]
    pub fn closure(&self, folder: &RepoPath) -> Vec<&Package> {
        let Some(first) = self.packages.get(folder) else { return Vec::new() };
        let mut seen = BTreeSet::new();
        let mut next = vec![first];
        while let Some(package) = next.pop() {
            for path in &package.depends_on {
                if path != folder && seen.insert(path) {
                    next.extend(self.packages.get(path));
                }
            }
        }
        std::iter::once(first).chain(seen.into_iter().filter_map(|path| self.packages.get(path))).collect()
    }
}

/// Fills in `depends_on` and `local` of every package, and returns where `resolutions` of the root lead by `portal:`,
/// `link:` or `file:`, and these in turn. `workspace` is the folder of the root, and `manifest_of` reads the
/// `package.json` of a folder that is no package of the workspace, where there is one.
pub(super) fn connect(
    workspace: &RepoPath,
    packages: &mut IndexMap<RepoPath, Package>,
    manifest_of: impl Fn(&RepoPath) -> Option<PackageJson>,
) -> Vec<RepoPath> {
    let by_name: HashMap<&str, &Package> =
        packages.values().filter_map(|package| Some((package.manifest.name.as_deref()?, package))).collect();
    let targets = |folder: &RepoPath, manifest: &PackageJson| -> Vec<RepoPath> {
        let ranges = FIELDS.iter().flat_map(|field| manifest.ranges(field));
        let targets = ranges.filter_map(|(name, range)| {
            let named = by_name.get(name).filter(|target| accepts(target, range));
            let is_known = |path: &RepoPath| packages.contains_key(path) || !range.starts_with("workspace:");
            named.map(|target| target.path.clone()).or_else(|| by_path(workspace, folder, range).filter(is_known))
        });
        targets.collect()
    };
    let reached = |mut next: Vec<RepoPath>| {
        let mut seen = BTreeSet::new();
        while let Some(target) = next.pop() {
            if seen.contains(&target) {
                continue;
            }
            // A folder that is no package of the workspace comes with what it depends on.
            let outside = if packages.contains_key(&target) { None } else { manifest_of(&target) };
            next.extend(outside.iter().flat_map(|manifest| targets(&target, manifest)));
            seen.insert(target);
        }
        seen
    };
    let edges: Vec<(Vec<RepoPath>, Vec<RepoPath>)> = packages
        .values()
        .map(|package| {
            let mut seen = reached(targets(&package.path, &package.manifest));
            seen.remove(&package.path);
            seen.into_iter().partition(|path| packages.contains_key(path))
        })
        .collect();
    let resolutions = packages.get(workspace).into_iter().flat_map(|root| root.manifest.ranges("resolutions"));
    let resolved = reached(resolutions.filter_map(|(_, range)| by_path(workspace, workspace, range)).collect());
    for (package, (depends_on, local)) in packages.values_mut().zip(edges) {
        (package.depends_on, package.local) = (depends_on, local);
    }
    resolved.into_iter().filter(|path| !packages.contains_key(path)).collect()
}

/// Whether a dependency on the name of `target` with this range is one on the package of the workspace, and not on
/// one of the registry (yarn 4, `Workspace.accepts`).
fn accepts(target: &Package, range: &str) -> bool {
    let range = match range.split_once(':') {
        // `workspace:^`, `workspace:1.x`, `workspace:packages/x`: yarn takes the package of this name or refuses.
        Some(("workspace", _)) => return true,
        Some(("npm", range)) => range,
        // What `catalog:`, `backstage:` and the like lead to, the lock file says.
        Some(_) => return false,
        None => range,
    };
    let version = target.manifest.version.as_deref().and_then(|version| Version::parse(version).ok());
    version.is_some_and(|version| Range::parse(range).is_ok_and(|range| range.satisfies(&version)))
}

/// The folder that a range with a path names; `folder` is that of the dependant.
fn by_path(workspace: &RepoPath, folder: &RepoPath, range: &str) -> Option<RepoPath> {
    let (protocol, path) = range.split_once(':')?;
    match protocol {
        "workspace" => workspace.join(path).ok(),
        protocol if BY_PATH.contains(&protocol) => folder.join(path).ok(),
        _ => None,
    }
}

/// The ranges of one field with a path that leads to nothing below the folder of the configuration file.
fn ranges_out<'a>(folder: &RepoPath, manifest: &'a PackageJson, field: &str) -> impl Iterator<Item = &'a str> {
    let leads_out = |range: &str| {
        let path = range.split_once(':').filter(|(protocol, _)| BY_PATH.contains(protocol)).map(|(_, path)| path);
        let out = |path| matches!(folder.join(path), Err(RepoPathError::Absolute(_) | RepoPathError::Outside(_)));
        path.is_some_and(out)
    };
    manifest.ranges(field).map(|(_, range)| range).filter(move |range| leads_out(range))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Catalogs;
    use super::*;

    fn workspace(manifests: &[(&str, &str)]) -> Workspace {
        let packages = manifests.iter().map(|(path, json)| {
            let path = RepoPath::new(path).unwrap();
            let manifest = Arc::new(PackageJson::parse(json.as_bytes(), "package.json").unwrap());
            (path.clone(), Package::new(path, manifest))
        });
        let mut packages: IndexMap<RepoPath, Package> = packages.collect();
        let path = RepoPath::default();
        let resolved = connect(&path, &mut packages, |folder| {
            let manifest = match folder.as_str() {
                "libs/one" => r#"{"dependencies": {"two": "portal:../two", "b": "*", "one": "link:."}}"#,
                "libs/two" => r#"{"dependencies": {"one": "file:../one", "c": "link:../../p/c"}}"#,
                _ => return None,
            };
            PackageJson::parse(manifest.as_bytes(), "package.json").ok()
        });
        Workspace { path, manifest: Arc::default(), packages, backstage: None, resolved, catalogs: Catalogs::default() }
    }

    fn closure(workspace: &Workspace, folder: &str) -> Vec<String> {
        let folder = RepoPath::new(folder).unwrap();
        workspace.closure(&folder).iter().map(|package| package.path.to_string()).collect()
    }

    #[test]
    fn a_range_decides_between_workspace_and_registry() {
        let depends = |range: &str| {
            let dependant = format!(r#"{{"name": "a", "dependencies": {{"b": "{range}"}}}}"#);
            let workspace =
                workspace(&[("p/a", &dependant), ("p/b", r#"{"name": "b", "version": "1.2.3"}"#), ("p/c", "{}")]);
            closure(&workspace, "p/a")[1..].join(" ")
        };
        for range in
            ["workspace:^", "workspace:*", "workspace:p/b", "workspace:1.2.3", "^1.0.0", "1", "*", "npm:~1.2.0", ""]
        {
            assert_eq!(depends(range), "p/b", "{range}");
        }
        for range in ["^2.0.0", "latest", "npm:other@^1.0.0", "https://example.com/b.tgz", "git@github.com:a/b.git"] {
            assert_eq!(depends(range), "", "{range}");
        }
        assert_eq!(depends("portal:../c"), "p/c");
        assert_eq!(depends("link:../../p/c"), "p/c");
    }

    #[test]
    fn folders_that_are_no_packages_come_with_what_they_depend_on() {
        let workspace = workspace(&[
            ("p/a", r#"{"dependencies": {"one": "portal:../../libs/one", "x": "file:./x.tgz", "y": "link:../../.."}}"#),
            ("p/b", r#"{"name": "b", "version": "1.0.0"}"#),
            ("p/c", "{}"),
        ]);
        let a = &workspace.packages[0];
        let paths = |paths: &[RepoPath]| paths.iter().map(RepoPath::to_string).collect::<Vec<_>>();
        assert_eq!(paths(&a.local), ["libs/one", "libs/two", "p/a/x.tgz"]);
        assert_eq!(paths(&a.depends_on), ["p/b", "p/c"]);
        assert_eq!(a.ranges_out().collect::<Vec<_>>(), ["link:../../.."]);
    }

    #[test]
    fn every_field_that_reaches_the_plugin_counts_and_circles_are_harmless() {
        let workspace = workspace(&[
            (
                "a",
                r#"{"name": "a", "version": "1.0.0", "dependencies": {"b": "workspace:^"}, "devDependencies": {"e": "*"}}"#,
            ),
            ("b", r#"{"name": "b", "version": "1.0.0", "optionalDependencies": {"c": "^1"}}"#),
            ("c", r#"{"name": "c", "version": "1.0.0", "peerDependencies": {"d": "^1", "a": "*", "c": "*"}}"#),
            ("d", r#"{"name": "d", "version": "1.0.0"}"#),
            ("e", r#"{"name": "e", "version": "1.0.0"}"#),
        ]);
        assert_eq!(closure(&workspace, "a"), ["a", "b", "c", "d"]);
        assert_eq!(closure(&workspace, "c"), ["c", "a", "b", "d"]);
        assert!(closure(&workspace, "x").is_empty());
        assert_eq!(workspace.named("d").map(|package| package.path.as_str()), Some("d"));
    }
}
