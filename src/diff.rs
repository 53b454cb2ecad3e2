//! What differs between two artifacts: two that were opened come in; for each plugin in them, the files, packages and
//! keys of `package.json` that are not the same go out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::artifact::Opened;
use crate::artifact::unpack;
use crate::hidden::shown;
use crate::package::ArchiveKind;
use crate::ui::human_size;
use crate::verify::Verified;

/// Of the document that `diff --format json` writes.
pub const SCHEMA_VERSION: u32 = 1;

/// How many files outside `node_modules` are listed one by one.
const LISTED: usize = 50;

/// What differs between two artifacts.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Plugins that only the first has.
    pub only_in_a: Vec<String>,
    /// Plugins that only the second has.
    pub only_in_b: Vec<String>,
    /// Plugins that both have.
    pub plugins: Vec<PluginDifference>,
}

/// What differs between two forms of one plugin.
#[derive(Clone, Debug, Serialize)]
pub struct PluginDifference {
    /// The package's name.
    pub name: String,
    /// Number of files, before and after.
    pub files: [u64; 2],
    /// Bytes of the files, before and after.
    pub size: [u64; 2],
    /// Files that are there only before (no second size), only after (no first), or are not the same.
    pub changed_files: Vec<FileDifference>,
    /// Packages in `node_modules` of which other versions are there.
    pub packages: Vec<PackageDifference>,
    /// Keys of `package.json`.
    pub package_json: Vec<KeyDifference>,
}

/// A file that is not the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileDifference {
    /// Its path in the plugin.
    pub path: String,
    /// In bytes, before and after.
    pub size: [Option<u64>; 2],
    /// Whether it is a program, before and after.
    pub executable: [Option<bool>; 2],
}

/// A package of which other versions are there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PackageDifference {
    /// Its name.
    pub name: String,
    /// Before.
    pub before: Vec<String>,
    /// After.
    pub after: Vec<String>,
}

/// A key whose value is not the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyDifference {
    /// A JSON pointer (RFC 6901).
    pub pointer: String,
    /// Its value; `None` where it is not there.
    pub before: Option<Value>,
    /// Its value; `None` where it is not there.
    pub after: Option<Value>,
}

/// What is compared of a file.
#[derive(PartialEq, Eq)]
struct File {
    size: u64,
    sha256: [u8; 32],
    executable: bool,
}

/// One plugin's files.
#[derive(Default)]
struct Tree {
    files: BTreeMap<String, File>,
    packages: BTreeMap<String, BTreeSet<String>>,
    manifest: Value,
}

/// One of two artifacts is cut or broken, so that they cannot be compared.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("`{artifact}` cannot be unpacked")]
#[diagnostic(code("readable"), help("take it from its source again, or package the plugin again"))]
pub struct Error {
    /// What it is called.
    artifact: String,
    /// What is wrong.
    source: std::io::Error,
}

/// Compares what was opened twice. Plugins belong together by their package's name; where each has one, that one.
///
/// # Errors
/// When an archive cannot be unpacked.
pub fn compare(a: (&Opened, &[Verified]), b: (&Opened, &[Verified])) -> Result<Difference, Error> {
    let (mut before, mut after) = (trees(a.0, a.1)?, trees(b.0, b.1)?);
    if let ([(old, _)], [(new, _)]) = (before.as_slice(), after.as_slice())
        && old != new
    {
        before[0].0.clone_from(new);
    }
    let missing = |from: &[(String, Tree)], other: &[(String, Tree)]| -> Vec<String> {
        let is_missing = |name: &&String| !other.iter().any(|(there, _)| there == *name);
        from.iter().map(|(name, _)| name).filter(is_missing).cloned().collect()
    };
    let (only_in_a, only_in_b) = (missing(&before, &after), missing(&after, &before));
    let mut plugins = Vec::new();
    for (name, old) in before {
        if let Some(at) = after.iter().position(|(there, _)| *there == name) {
            let (_, new) = after.swap_remove(at);
            plugins.push(of_plugin(name, &old, &new));
        }
    }
    Ok(Difference { schema_version: SCHEMA_VERSION, only_in_a, only_in_b, plugins })
}

/// Each plugin once, by its package's name: from an image, else from an archive. Those of one image that share a name
/// are told apart by their folders.
fn trees(opened: &Opened, verified: &[Verified]) -> Result<Vec<(String, Tree)>, Error> {
    let of = |kind: ArchiveKind| verified.iter().filter(move |verified| verified.kind == Some(kind));
    let images = opened.images.iter().zip(of(ArchiveKind::Image));
    let images = images.filter_map(|(image, verified)| Some((image.layer.as_deref()?, verified)));
    let archives = opened.archives.iter().zip(of(ArchiveKind::Tgz));
    let archives = archives.map(|(archive, verified)| (archive.file.as_path(), verified));
    let mut trees: Vec<(String, Tree)> = Vec::new();
    for (archive, verified) in images.chain(archives) {
        let before = trees.len();
        for plugin in &verified.plugins {
            if trees[..before].iter().any(|(name, _)| *name == plugin.name) {
                continue;
            }
            let namesakes = verified.plugins.iter().filter(|other| other.name == plugin.name).count();
            let name = match namesakes {
                1 => plugin.name.clone(),
                _ => format!("{} in {}", plugin.name, plugin.dir),
            };
            let folder = if verified.kind == Some(ArchiveKind::Tgz) { "package" } else { plugin.dir.as_str() };
            let tree = Tree::read(archive, folder).map_err(|error| {
                let (unpack::Error::Archive(source) | unpack::Error::Folder(source)) = error;
                Error { artifact: verified.artifact.clone(), source }
            })?;
            trees.push((name, tree));
        }
    }
    Ok(trees)
}

impl Tree {
    fn read(archive: &Path, folder: &str) -> Result<Self, unpack::Error> {
        let mut tree = Self::default();
        unpack::each(archive, folder, &mut |path, item| {
            if let unpack::Item::File { content, is_program } = item {
                let mut bytes = Vec::new();
                content.read_to_end(&mut bytes).map_err(unpack::Error::Archive)?;
                tree.add(path, &bytes, is_program);
            }
            Ok(())
        })?;
        Ok(tree)
    }

    fn add(&mut self, path: &str, content: &[u8], executable: bool) {
        let manifest = || serde_json::from_slice::<Value>(content).unwrap_or_default();
        if path == "package.json" {
            self.manifest = manifest();
        } else if path.contains("node_modules/") && path.ends_with("/package.json") {
            let manifest = manifest();
            let text = |key: &str| manifest.get(key).and_then(Value::as_str);
            // Packages have manifests without a version inside, e.g. to choose between kinds of modules.
            if let (Some(name), Some(version)) = (text("name"), text("version")) {
                self.packages.entry(name.to_owned()).or_default().insert(version.to_owned());
            }
        }
        let file = File { size: content.len() as u64, sha256: Sha256::digest(content).into(), executable };
        self.files.insert(path.to_owned(), file);
    }

    fn size(&self) -> u64 {
        self.files.values().map(|file| file.size).sum()
    }
}

fn of_plugin(name: String, old: &Tree, new: &Tree) -> PluginDifference {
    let paths: BTreeSet<&String> = old.files.keys().chain(new.files.keys()).collect();
    let is_other = |path: &&&String| old.files.get(**path) != new.files.get(**path);
    let changed_files = paths.iter().filter(is_other).map(|path| {
        let files = [old, new].map(|tree| tree.files.get(*path));
        FileDifference {
            path: (*path).clone(),
            size: files.map(|file| file.map(|file| file.size)),
            executable: files.map(|file| file.map(|file| file.executable)),
        }
    });
    let names: BTreeSet<&String> = old.packages.keys().chain(new.packages.keys()).collect();
    let versions = |tree: &Tree, name: &String| {
        tree.packages.get(name).map(|versions| versions.iter().cloned().collect::<Vec<_>>()).unwrap_or_default()
    };
    let packages = names.into_iter().filter(|name| old.packages.get(*name) != new.packages.get(*name));
    let packages = packages.map(|name| PackageDifference {
        name: name.clone(),
        before: versions(old, name),
        after: versions(new, name),
    });
    let mut package_json = Vec::new();
    keys("", Some(&old.manifest), Some(&new.manifest), &mut package_json);
    PluginDifference {
        name,
        files: [old, new].map(|tree| tree.files.len() as u64),
        size: [old, new].map(Tree::size),
        changed_files: changed_files.collect(),
        packages: packages.collect(),
        package_json,
    }
}

/// Adds what differs below `pointer`.
fn keys(pointer: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<KeyDifference>) {
    match (before, after) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                let pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
                keys(&pointer, old.get(name), new.get(name), found);
            }
        }
        (before, after) if before != after => {
            found.push(KeyDifference { pointer: pointer.to_owned(), before: before.cloned(), after: after.cloned() })
        }
        _ => {}
    }
}

impl Difference {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let is_same = |plugin: &PluginDifference| plugin.changed_files.is_empty();
        self.only_in_a.is_empty() && self.only_in_b.is_empty() && self.plugins.iter().all(is_same)
    }

    /// For people: `-` before, `+` after, `~` other content.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (mark, names) in [('-', &self.only_in_a), ('+', &self.only_in_b)] {
            for name in names {
                text.push_str(&format!("{mark} {}\n", shown(name)));
            }
        }
        for plugin in &self.plugins {
            plugin.write(&mut text);
        }
        text
    }
}

impl PluginDifference {
    fn write(&self, text: &mut String) {
        if self.changed_files.is_empty() {
            text.push_str(&format!("{}: no difference\n", shown(&self.name)));
            return;
        }
        let [files, more_files] = self.files;
        let [size, more_size] = self.size.map(human_size);
        text.push_str(&format!("{}: {files} files ({size}) → {more_files} files ({more_size})\n", shown(&self.name)));
        if !self.package_json.is_empty() {
            text.push_str("  package.json\n");
        }
        for key in &self.package_json {
            for (mark, value) in [('-', &key.before), ('+', &key.after)] {
                if let Some(value) = value {
                    text.push_str(&format!("  {mark} {}: {}\n", shown(&key.pointer), shown(&value.to_string())));
                }
            }
        }
        if !self.packages.is_empty() {
            text.push_str("  packages\n");
        }
        for package in &self.packages {
            let (before, after) = (package.before.join(", "), package.after.join(", "));
            let name = shown(&package.name);
            text.push_str(&match (&*shown(&before), &*shown(&after)) {
                ("", after) => format!("  + {name} {after}\n"),
                (before, "") => format!("  - {name} {before}\n"),
                (before, after) => format!("  ~ {name} {before} → {after}\n"),
            });
        }
        let (inner, own): (Vec<_>, Vec<_>) =
            self.changed_files.iter().partition(|file| file.path.starts_with("node_modules/"));
        text.push_str("  files\n");
        for file in own.iter().take(LISTED) {
            let path = shown(&file.path);
            text.push_str(&match file.size {
                [None, Some(size)] => format!("  + {path} ({})\n", human_size(size)),
                [Some(size), None] => format!("  - {path} ({})\n", human_size(size)),
                [before, after] => {
                    let [before, after] = [before, after].map(|size| human_size(size.unwrap_or_default()));
                    let program = match file.executable {
                        [Some(false), Some(true)] => ", now executable",
                        [Some(true), Some(false)] => ", no longer executable",
                        _ => "",
                    };
                    format!("  ~ {path} ({before} → {after}{program})\n")
                }
            });
        }
        if own.len() > LISTED {
            text.push_str(&format!("  … {} more\n", own.len() - LISTED));
        }
        if !inner.is_empty() {
            text.push_str(&format!("  … {} in node_modules\n", inner.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_compared_down_to_their_values() {
        let before = serde_json::json!({ "a": { "b/c": 1, "same": [1] }, "gone": true });
        let after = serde_json::json!({ "a": { "b/c": 2, "same": [1] }, "new": "x" });
        let mut found = Vec::new();
        keys("", Some(&before), Some(&after), &mut found);
        let pointers: Vec<&str> = found.iter().map(|key| key.pointer.as_str()).collect();
        assert_eq!(pointers, ["/a/b~1c", "/gone", "/new"]);
    }
}
