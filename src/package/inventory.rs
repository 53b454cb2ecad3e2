//! The packages inside a plugin: paths and `package.json` files come in; sizes, licences, native modules and packages
//! that no dependency leads to go out.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How many of the largest packages are named.
const LARGEST: usize = 10;

/// The packages of an archive, by the folder that each stands in.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    pub(super) manifests: BTreeMap<String, PackageFacts>,
}

/// What a package's own `package.json` says, as far as it matters here. Everything in it may be of any type.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PackageFacts {
    pub(super) name: Value,
    pub(super) version: Value,
    pub(super) license: Value,
    pub(super) licenses: Value,
    backstage: Value,
    dependencies: Value,
    optional_dependencies: Value,
    peer_dependencies: Value,
}

/// A package inside a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct InnerPackage {
    /// Its name; its folder's, where `package.json` gives none.
    pub name: String,
    /// Its version; empty where `package.json` gives none.
    pub version: String,
    /// Its folder in the plugin.
    pub path: String,
    /// Number of its files, without those of packages inside it.
    pub files: u64,
    /// Bytes of those files.
    pub size: u64,
}

/// What is inside a plugin, for the report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Inside {
    /// How many packages `node_modules` holds.
    pub packages: u64,
    /// The ten largest of them, largest first.
    pub largest: Vec<InnerPackage>,
    /// Compiled modules for node (`*.node`): they run on one platform only.
    pub native_modules: Vec<String>,
    /// How many packages (the plugin among them) are under each licence; `unknown` where none is named.
    pub licenses: BTreeMap<String, u64>,
    /// Folders of packages that no dependency leads to.
    pub unused: Vec<String>,
}

/// The folder of the package in `node_modules` that the file `path` belongs to.
pub(super) fn package_folder(path: &str) -> Option<&str> {
    let start = match path.rfind("/node_modules/") {
        Some(slash) => slash + "/node_modules/".len(),
        None => return None,
    };
    let name = &path[start..];
    let mut slashes = name.match_indices('/').map(|(position, _)| position);
    let end = if name.starts_with('@') { slashes.nth(1) } else { slashes.next() };
    end.map(|end| &path[..start + end])
}

impl Inventory {
    /// Whether a file is the `package.json` of a package, and so [`Inventory::add`] reads it.
    pub(crate) fn wants(path: &str) -> bool {
        path.strip_suffix("/package.json").is_some_and(|folder| {
            !folder.contains('/') || package_folder(path).is_some_and(|package| package.len() == folder.len())
        })
    }

    /// Adds what a `package.json` says; other files, and what is no JSON, say nothing.
    pub(crate) fn add(&mut self, path: &str, content: &[u8]) {
        if Self::wants(path)
            && let Some(folder) = path.strip_suffix("/package.json")
            && let Ok(facts) = serde_json::from_slice(content)
        {
            self.manifests.insert(folder.to_owned(), facts);
        }
    }

    /// What is inside the plugin in the folder `top`, whose files (path and size) are `files`.
    pub(crate) fn inside<'a>(&self, top: &str, files: impl Iterator<Item = (&'a str, u64)>) -> Inside {
        let mut sizes: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        let mut native_modules = Vec::new();
        let below = |path: &'a str| path.strip_prefix(top).and_then(|path| path.strip_prefix('/'));
        for (path, size) in files {
            let Some(inner) = below(path) else { continue };
            if inner.ends_with(".node") {
                native_modules.push(inner.to_owned());
            }
            if let Some(folder) = package_folder(path) {
                let (files, bytes) = sizes.entry(folder).or_default();
                *files += 1;
                *bytes += size;
            }
        }
        let strip = |folder: &str| folder.get(top.len() + 1..).unwrap_or_default().to_owned();
        let mut largest: Vec<InnerPackage> = sizes
            .iter()
            .map(|(folder, (files, size))| {
                let facts = self.manifests.get(*folder);
                let name = folder.rsplit_once("node_modules/").map_or(*folder, |(_, name)| name);
                InnerPackage {
                    name: facts.and_then(|facts| facts.name.as_str()).unwrap_or(name).to_owned(),
                    version: facts.and_then(|facts| facts.version.as_str()).unwrap_or_default().to_owned(),
                    path: strip(folder),
                    files: *files,
                    size: *size,
                }
            })
            .collect();
        largest.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.path.cmp(&b.path)));
        largest.truncate(LARGEST);
        native_modules.sort_unstable();
        let mut licenses: BTreeMap<String, u64> = BTreeMap::new();
        let nothing = PackageFacts::default();
        for folder in sizes.keys().copied().chain([top]) {
            *licenses.entry(self.manifests.get(folder).unwrap_or(&nothing).license()).or_default() += 1;
        }
        let used = self.used(top, &sizes.keys().copied().collect());
        let unused = sizes.keys().filter(|folder| !used.contains(*folder)).map(|folder| strip(folder)).collect();
        Inside { packages: sizes.len() as u64, largest, native_modules, licenses, unused }
    }

    /// The folders that dependencies lead to, by node's way of finding a package.
    fn used<'a>(&self, top: &'a str, folders: &BTreeSet<&'a str>) -> BTreeSet<&'a str> {
        let mut used = BTreeSet::new();
        let mut pending = vec![top];
        while let Some(folder) = pending.pop() {
            for found in self.dependencies(top, folder, folders) {
                if used.insert(found) {
                    pending.push(found);
                }
            }
        }
        used
    }

    /// The folders, of `folders`, that the dependencies of the package in `folder` lead to by node's way of finding a
    /// package. What the plugin in `top` does not bring itself is not among them.
    pub(super) fn dependencies<'a>(
        &self,
        top: &str,
        folder: &str,
        folders: &BTreeSet<&'a str>,
    ) -> impl Iterator<Item = &'a str> {
        let names = self.manifests.get(folder).into_iter().flat_map(PackageFacts::dependency_names);
        names.filter_map(move |name| {
            let mut above = Some(folder);
            while let Some(start) = above {
                let candidate = format!("{start}/node_modules/{name}");
                if let Some(found) = folders.get(candidate.as_str()) {
                    return Some(*found);
                }
                above = start.rsplit_once('/').map(|(parent, _)| parent).filter(|parent| parent.starts_with(top));
            }
            None
        })
    }
}

impl PackageFacts {
    /// Whether it is a plugin for the browser, whose dependencies are in its own files.
    pub(super) fn is_frontend(&self) -> bool {
        let role = self.backstage.get("role").and_then(Value::as_str);
        role.is_some_and(|role| role.starts_with("frontend"))
    }

    fn license(&self) -> String {
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Object(fields) => fields.get("type").and_then(Value::as_str).map(str::to_owned),
            _ => None,
        };
        let listed = || {
            let licenses: Vec<String> = self.licenses.as_array()?.iter().filter_map(text).collect();
            (!licenses.is_empty()).then(|| licenses.join(" OR "))
        };
        text(&self.license).or_else(listed).unwrap_or_else(|| "unknown".to_owned())
    }

    fn dependency_names(&self) -> impl Iterator<Item = &str> {
        [&self.dependencies, &self.optional_dependencies, &self.peer_dependencies]
            .into_iter()
            .filter_map(Value::as_object)
            .flat_map(|names| names.keys().map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_belongs_to_the_innermost_package() {
        for (path, folder) in [
            ("x/node_modules/a/index.js", Some("x/node_modules/a")),
            ("x/node_modules/@s/a/lib/index.js", Some("x/node_modules/@s/a")),
            ("x/node_modules/a/node_modules/b/i.js", Some("x/node_modules/a/node_modules/b")),
            ("x/dist/index.js", None),
            ("x/node_modules/file", None),
        ] {
            assert_eq!(package_folder(path), folder, "{path}");
        }
    }

    #[test]
    fn packages_without_a_dependency_are_unused() {
        let mut inventory = Inventory::default();
        let manifests = [
            ("x/package.json", r#"{"license":"MIT","dependencies":{"a":"1"}}"#),
            (
                "x/node_modules/a/package.json",
                r#"{"version":"1.0.0","license":"ISC","dependencies":{"b":"1","c":"1"}}"#,
            ),
            ("x/node_modules/b/package.json", r#"{"licenses":[{"type":"MIT"}]}"#),
            ("x/node_modules/a/node_modules/c/package.json", "{}"),
            ("x/node_modules/c/package.json", "{}"),
        ];
        for (path, content) in manifests {
            inventory.add(path, content.as_bytes());
        }
        let files = manifests.iter().map(|(path, content)| (*path, content.len() as u64));
        let inside = inventory.inside("x", files.chain([("x/node_modules/b/build/x.node", 1000)]));
        assert_eq!(inside.packages, 4);
        assert_eq!(inside.unused, ["node_modules/c"]);
        assert_eq!(inside.native_modules, ["node_modules/b/build/x.node"]);
        assert_eq!(inside.largest[0].name, "b");
        assert_eq!(inside.licenses, [("ISC", 1), ("MIT", 2), ("unknown", 2)].map(|(n, c)| (n.to_owned(), c)).into());
    }
}
