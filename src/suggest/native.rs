//! Whether a package is a native module: by what it depends on, as the lock file says, and by what is in it, where it
//! is installed. The second finds what the first cannot: prebuilt binaries, and packages that bring their own
//! `binding.gyp`.

use std::path::{Path, PathBuf};

use crate::workspace::PackageJson;
use crate::workspace::package_json::is_package_name;

/// Dependencies that only native modules have (the RHDH CLI asks `is-native-module`; `node-gyp` stands in lock files of
/// yarn berry for a `binding.gyp`).
const DEPENDENCIES: [&str; 7] =
    ["bindings", "prebuild", "nan", "node-pre-gyp", "@mapbox/node-pre-gyp", "node-gyp-build", "node-gyp"];

/// Fields of `package.json` that only native modules have: those of `is-native-module`, and that of napi-rs.
const FIELDS: [&str; 3] = ["gypfile", "binary", "napi"];

/// Where compilers and those who build beforehand leave binaries.
const FOLDERS: [&str; 3] = ["", "build/Release", "lib/binding"];

/// What shows that a package with these dependencies is a native module.
pub(super) fn by_dependencies(dependencies: &[(&str, &str)]) -> Option<String> {
    let found = dependencies.iter().find(|(name, _)| DEPENDENCIES.contains(name));
    found.map(|(name, _)| format!("it depends on `{name}`"))
}

/// What shows that the package `name` in `version` is a native module, where it is installed in one of the
/// `node_modules` of `folders`. Packages for one platform only are left out: what they belong to is native, and which
/// of them are installed depends on the machine.
pub(super) fn by_contents(folders: &[PathBuf], name: &str, version: &str) -> Option<String> {
    if !is_package_name(name) {
        return None;
    }
    let installed = folders.iter().map(|folder| folder.join("node_modules").join(name));
    let fits = |folder: &PathBuf| {
        let manifest = PackageJson::read(&folder.join("package.json")).ok()?;
        (manifest.version.as_deref() == Some(version)).then_some(manifest)
    };
    let (folder, manifest) =
        installed.filter_map(|folder| Some((fits(&folder)?, folder))).map(|(it, at)| (at, it)).next()?;
    if manifest.rest.contains_key("os") || manifest.rest.contains_key("cpu") {
        return None;
    }
    let truthy = |field: &&&str| manifest.rest.get(**field).is_some_and(|value| !value.is_null() && value != false);
    if let Some(field) = FIELDS.iter().find(truthy) {
        return Some(format!("its `package.json` has `{field}`"));
    }
    for file in ["binding.gyp", "prebuilds"] {
        if folder.join(file).exists() {
            return Some(format!("it holds `{file}`"));
        }
    }
    FOLDERS.iter().find_map(|below| binary_in(&folder.join(below))).map(|file| format!("it holds `{file}`"))
}

/// The first file of node's own binary format in a folder.
fn binary_in(folder: &Path) -> Option<String> {
    let entries = fs_err::read_dir(folder).ok()?.filter_map(Result::ok);
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names.into_iter().find(|name| name.ends_with(".node"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(files: &[(&str, &str)]) -> Option<String> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let file = root.path().join("node_modules/@acme/fast").join(path);
            fs_err::create_dir_all(file.parent().unwrap()).unwrap();
            fs_err::write(file, text).unwrap();
        }
        by_contents(&[root.path().join("elsewhere"), root.path().to_owned()], "@acme/fast", "1.0.0")
    }

    #[test]
    fn what_is_in_a_package_shows_what_it_is() {
        let plain = ("package.json", r#"{ "version": "1.0.0" }"#);
        assert_eq!(package(&[plain]), None);
        for (file, sign) in [
            ("binding.gyp", "it holds `binding.gyp`"),
            ("prebuilds/linux-x64/node.napi.node", "it holds `prebuilds`"),
            ("build/Release/fast.node", "it holds `fast.node`"),
            ("fast.node", "it holds `fast.node`"),
        ] {
            assert_eq!(package(&[plain, (file, "")]).as_deref(), Some(sign), "{file}");
        }
        for (fields, sign) in [
            (r#""gypfile": true"#, Some("its `package.json` has `gypfile`")),
            (r#""gypfile": false"#, None),
            (r#""binary": { "module_name": "fast" }"#, Some("its `package.json` has `binary`")),
            (r#""napi": { "name": "fast" }"#, Some("its `package.json` has `napi`")),
            (r#""os": ["linux"], "napi": {}"#, None),
        ] {
            let manifest = format!(r#"{{ "version": "1.0.0", {fields} }}"#);
            assert_eq!(package(&[("package.json", &manifest)]).as_deref(), sign, "{fields}");
        }
        let other = package(&[("package.json", r#"{ "version": "2.0.0", "gypfile": true }"#)]);
        assert_eq!(other, None, "another version says nothing");
    }
}
