//! Small workspaces and the flags that they need.

use super::*;
use crate::rhdh;
use crate::workspace::discover;

/// What the plugin in `backend` needs: `packages` are folders and `package.json`s, `lock` is what yarn berry locked.
fn needs(packages: &[(&str, &str)], lock: &[(&str, &[&str])], flags: &Flags) -> Vec<String> {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let file = root.path().join(path);
        fs_err::create_dir_all(file.parent().unwrap()).unwrap();
        fs_err::write(file, text).unwrap();
    };
    write("package.json", r#"{ "name": "root", "workspaces": ["*"] }"#);
    write("yarn.lock", "");
    for (folder, text) in packages {
        write(&format!("{folder}/package.json"), text);
    }
    let mut text = "__metadata:\n  version: 8\n".to_owned();
    for (name, dependencies) in lock {
        text.push_str(&format!("\n\"{name}@npm:^1\":\n  version: 1.0.0\n  resolution: \"{name}@npm:1.0.0\"\n"));
        if !dependencies.is_empty() {
            text.push_str("  dependencies:\n");
        }
        for dependency in *dependencies {
            text.push_str(&format!("    \"{dependency}\": \"npm:^1\"\n"));
        }
        text.push_str("  languageName: node\n  linkType: hard\n");
    }
    let folder = crate::repo_path::RepoPath::new("backend").unwrap();
    let (workspaces, errors) = discover(root.path(), std::slice::from_ref(&folder));
    assert!(errors.is_empty(), "{errors:?}");
    let workspace = &workspaces.by_path[0];
    let package = &workspace.packages[&folder];
    let lockfile = Lockfile::parse(text.as_bytes(), "yarn.lock", std::iter::empty()).unwrap();
    let release = rhdh::release("1.9").unwrap();
    let role = package.manifest.role().unwrap();
    let found = suggest(Subject { root: root.path(), workspace, package, role, lockfile: &lockfile, release }, flags);
    found.iter().map(|found| format!("{} {}: {}", found.key.as_str(), found.value, found.reason)).collect()
}

fn backend(dependencies: &str) -> String {
    format!(
        r#"{{ "name": "@a/todo-backend", "version": "1.0.0", "backstage": {{ "role": "backend-plugin" }},
              "dependencies": {{ {dependencies} }} }}"#
    )
}

#[test]
fn siblings_and_what_rhdh_provides_need_nothing() {
    let backend = backend(r#""@a/todo-common": "workspace:^", "@backstage/errors": "^1", "express": "^1""#);
    let packages = [("backend", backend.as_str()), ("common", r#"{ "name": "@a/todo-common", "version": "1.0.0" }"#)];
    let lock: [(&str, &[&str]); 2] = [("@backstage/errors", &[]), ("express", &[])];
    assert_eq!(needs(&packages, &lock, &Flags::default()), [""; 0]);
}

#[test]
fn other_packages_of_the_workspace_are_embedded_with_what_they_need() {
    let backend = backend(r#""@a/lib": "workspace:^""#);
    let packages = [
        ("backend", backend.as_str()),
        ("lib", r#"{ "name": "@a/lib", "version": "1.0.0", "dependencies": { "@a/deep": "workspace:^" } }"#),
        ("deep", r#"{ "name": "@a/deep", "version": "1.0.0" }"#),
    ];
    assert_eq!(
        needs(&packages, &[], &Flags::default()),
        [
            "embed-packages @a/lib: `@a/todo-backend` depends on it, and it is a package of this workspace",
            "embed-packages @a/deep: `@a/lib` depends on it, and it is a package of this workspace",
        ]
    );
    let flags = Flags { embed: vec!["@a/lib".into(), "@a/deep".into()], ..Flags::default() };
    assert_eq!(needs(&packages, &[], &flags), [""; 0]);
}

#[test]
fn what_brings_along_packages_of_rhdh_is_embedded() {
    let backend = backend(r#""outer": "^1""#);
    let lock: [(&str, &[&str]); 3] =
        [("outer", &["inner"]), ("inner", &["@backstage/errors"]), ("@backstage/errors", &[])];
    let reason = "it brings along `@backstage/errors`, which the plugin must take from RHDH";
    assert_eq!(
        needs(&[("backend", &backend)], &lock, &Flags::default()),
        [format!("embed-packages outer: {reason}"), format!("embed-packages inner: {reason}")]
    );
}

#[test]
fn what_rhdh_lacks_comes_with_the_plugin() {
    let backend = backend(r#""@backstage/plain": "^1", "@backstage/rich": "^1", "lib": "^1""#);
    let lock: [(&str, &[&str]); 5] = [
        ("@backstage/plain", &[]),
        ("@backstage/rich", &["@backstage/errors"]),
        ("@backstage/errors", &[]),
        ("lib", &["@backstage/other"]),
        ("@backstage/other", &[]),
    ];
    assert_eq!(
        needs(&[("backend", &backend)], &lock, &Flags::default()),
        [
            "embed-packages @backstage/rich: `@a/todo-backend` depends on it, and RHDH does not provide it",
            "shared-packages !@backstage/plain: `@a/todo-backend` depends on it, and RHDH does not provide it",
            "shared-packages !@backstage/other: `lib` brings it along, and RHDH does not provide it",
        ]
    );
}

#[test]
fn native_modules_are_found_where_they_come_from() {
    let backend = backend(r#""ssh": "^1""#);
    let lock: [(&str, &[&str]); 3] = [("ssh", &["cpu-features"]), ("cpu-features", &["nan"]), ("nan", &["node-gyp"])];
    assert_eq!(
        needs(&[("backend", &backend)], &lock, &Flags::default()),
        [
            "suppress-native-packages cpu-features: it is a native module (it depends on `nan`), brought along by `ssh`, which cannot be part of a dynamic plugin"
        ]
    );
    let flags = Flags { native: vec!["cpu-features".into()], ..Flags::default() };
    assert_eq!(needs(&[("backend", &backend)], &lock, &flags), [""; 0]);
}

#[test]
fn circles_and_gaps_in_the_lock_file_end() {
    let backend = backend(r#""a": "^1", "gone": "^1""#);
    let lock: [(&str, &[&str]); 2] = [("a", &["b"]), ("b", &["a", "missing"])];
    assert_eq!(needs(&[("backend", &backend)], &lock, &Flags::default()), [""; 0]);
}
