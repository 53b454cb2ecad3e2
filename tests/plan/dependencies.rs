//! Who depends on whom where yarn rewrites what `package.json` says: catalogs, `resolutions`, packages of the workspace
//! that stand in for those of the registry, and patches. The entries of lock files are those that yarn 4.18 writes.

use crate::repo::{LOCK, Repo, built, reasons};

/// An entry of a lock file of yarn 4.
fn entry(descriptors: &str, resolution: &str, dependencies: &[(&str, &str)]) -> String {
    let version = resolution.rsplit(':').next().unwrap();
    let mut text = format!("\n\"{descriptors}\":\n  version: {version}\n  resolution: \"{resolution}\"\n");
    if !dependencies.is_empty() {
        text.push_str("  dependencies:\n");
    }
    for (name, range) in dependencies {
        text.push_str(&format!("    \"{name}\": \"{range}\"\n"));
    }
    let link = if resolution.contains("workspace:") { "soft" } else { "hard" };
    text + &format!("  checksum: 10c0/{version}\n  languageName: node\n  linkType: {link}\n")
}

/// A repository whose plugin `other` depends on one thing more, and whose lock file has these entries more.
fn depending(on: &str, lock: &[String]) -> Repo {
    let repo = Repo::new();
    repo.edit("plugins/other/package.json", r#""unused": "^1.0.0""#, on);
    repo.write("yarn.lock", &(LOCK.to_owned() + &lock.concat()));
    repo
}

/// The repository's `resolutions`.
fn resolve(repo: &Repo, resolutions: &str) {
    repo.edit("package.json", "{\"name\"", &format!("{{\"resolutions\": {{{resolutions}}}, \"name\""));
}

/// The plugins that are built, of those alone, after a change of the working tree that is then undone.
fn built_after(repo: &Repo, change: impl FnOnce()) -> Vec<String> {
    change();
    let plan = repo.since("HEAD");
    let plugins = built(&plan).into_iter().filter(|id| *id != "both").map(str::to_owned).collect();
    repo.git(&["checkout", "--quiet", "."]);
    plugins
}

/// Which plugins are built after a change of `todo-common`; `todo` and `todo-backend` always are.
fn built_after_common(repo: &Repo) -> Vec<String> {
    built_after(repo, || repo.write("plugins/todo-common/src/index.ts", "changed"))
}

const COMMON: &str = "@acme/todo-common@workspace:plugins/todo-common";

#[test]
fn a_catalog_names_a_package_of_the_workspace() {
    let common = entry(&format!("@acme/todo-common@workspace:^, {COMMON}"), COMMON, &[]);
    for (range, catalog) in [("catalog:", "catalog:\n"), ("catalog:own", "catalogs:\n  own:\n  ")] {
        let repo = depending(&format!(r#""@acme/todo-common": "{range}""#), std::slice::from_ref(&common));
        repo.write(".yarnrc.yml", &format!("{catalog}  \"@acme/todo-common\": \"workspace:^\"\n"));
        repo.commit("catalog");
        assert_eq!(built_after_common(&repo), ["todo", "todo-backend", "other"], "{range}");
        repo.write("plugins/todo-common/src/index.ts", "changed");
        let plan = repo.since("HEAD");
        assert_eq!(reasons(&plan, "other"), ["@acme/todo-common changed (1 file)"]);
        assert!(plan.explain("other").unwrap().contains("@acme/other → @acme/todo-common"), "{range}");
    }
}

#[test]
fn resolutions_lead_to_a_package_of_the_workspace() {
    let common = entry(&format!("@acme/todo-common@workspace:^, {COMMON}"), COMMON, &[]);
    let repo = depending(r#""@acme/todo-common": "^7.0.0""#, &[common]);
    resolve(&repo, r#""@acme/todo-common": "workspace:^""#);
    repo.commit("resolutions");
    assert_eq!(built_after_common(&repo), ["todo", "todo-backend", "other"]);
}

/// `other` → `third` of the registry → `@acme/todo-common`, in place of that of the registry.
#[test]
fn a_package_of_the_registry_depends_on_one_of_the_workspace() {
    let third = entry("third@npm:^3.0.0", "third@npm:3.0.1", &[("@acme/todo-common", "npm:^1.0.0")]);
    let common = entry(&format!("@acme/todo-common@npm:^1.0.0, {COMMON}"), COMMON, &[]);
    let repo = depending(r#""third": "^3.0.0""#, &[third, common]);
    repo.commit("third");
    assert_eq!(built_after_common(&repo), ["todo", "todo-backend", "other"]);
}

/// The workspace has a package that would fit, but the lock file has another one of the same name.
#[test]
fn the_lock_file_says_whether_it_is_one_of_the_registry() {
    let npm = entry("@acme/todo-common@npm:^1.0.0", "@acme/todo-common@npm:1.0.0", &[]);
    let common = entry(&format!("@acme/todo-common@workspace:^, {COMMON}"), COMMON, &[]);
    let repo = depending(r#""@acme/todo-common": "^1.0.0""#, &[npm, common]);
    repo.commit("both");
    assert_eq!(built_after(&repo, || repo.edit("yarn.lock", "10c0/1.0.0", "10c0/other")), ["other"]);
}

#[test]
fn a_local_folder_of_the_resolutions_has_dependencies() {
    let local = "lodash@portal:./libs/lodash::locator=root%40workspace%3A.";
    let common = entry(&format!("@acme/todo-common@workspace:^, {COMMON}"), COMMON, &[]);
    let local = entry(local, local, &[("@acme/todo-common", "workspace:^"), ("deep", "portal:../deep")]);
    let repo = depending(r#""lodash": "^4.17.0""#, &[local, common]);
    repo.write("libs/lodash/package.json", r#"{"dependencies": {"deep": "portal:../deep", "@acme/todo-common": "*"}}"#);
    repo.write("libs/deep/index.js", "1");
    resolve(&repo, r#""lodash": "portal:./libs/lodash""#);
    repo.commit("local");
    assert_eq!(built_after(&repo, || repo.write("libs/deep/index.js", "2")), ["todo", "todo-backend", "other"]);
    assert_eq!(built_after_common(&repo), ["todo", "todo-backend", "other"]);
    repo.edit("plugins/other/package.json", "lodash", "express");
    repo.commit("through express");
    assert_eq!(built_after_common(&repo), ["todo", "todo-backend", "other"]);
}

/// `is-number` of one version of `is-odd` is resolved, that of the other is not.
#[test]
fn resolutions_may_be_for_one_version_of_the_dependant() {
    let lock = [
        entry("is-number@npm:7.0.0", "is-number@npm:7.0.0", &[]),
        entry("is-number@npm:^4.0.0", "is-number@npm:4.0.0", &[]),
        entry("is-odd@npm:^2.0.0", "is-odd@npm:2.0.0", &[("is-number", "npm:^4.0.0")]),
        entry("is-odd@npm:^3.0.0", "is-odd@npm:3.0.1", &[("is-number", "npm:^6.0.0")]),
    ];
    let repo = depending(r#""is-odd": "^3.0.0""#, &lock);
    repo.edit("plugins/todo/package.json", r#""@acme/todo-common""#, r#""is-odd": "^2.0.0", "@acme/todo-common""#);
    resolve(&repo, r#""is-odd@npm:3.0.1/is-number": "7.0.0""#);
    repo.commit("resolutions");
    assert_eq!(built_after(&repo, || repo.edit("yarn.lock", "10c0/7.0.0", "10c0/other")), ["other"]);
    let change = || repo.edit("yarn.lock", "10c0/4.0.0", "10c0/other");
    assert_eq!(built_after(&repo, change), ["todo", "todo-backend"], "the bundle has both");
}

/// `other` → `third` of the registry → `@acme/todo-common`, which the lock file of yarn 1 has no entry for.
#[test]
fn a_package_of_the_registry_depends_on_one_of_the_workspace_in_yarn_1() {
    let repo = depending(r#""third": "^3.0.0""#, &[]);
    for plugin in ["todo", "todo-backend"] {
        let file = format!("plugins/{plugin}/package.json");
        repo.edit(&file, "workspace:^", "^1.0.0");
    }
    repo.edit("plugins/todo-backend/package.json", r#", "express": "^4.0.0""#, "");
    repo.write(
        "yarn.lock",
        "# yarn lockfile v1\n\n\nthird@^3.0.0:\n  version \"3.0.1\"\n  resolved \"https://r/third-3.0.1.tgz#1\"\n  \
         integrity sha512-1\n  dependencies:\n    \"@acme/todo-common\" \"^1.0.0\"\n",
    );
    repo.commit("third");
    assert_eq!(built_after_common(&repo), ["todo", "todo-backend", "other"]);
    // And not by all of the lock file.
    repo.write("plugins/todo-backend/src/index.ts", "changed");
    let plan = repo.since("HEAD");
    assert!(plan.notes.is_empty() && !built(&plan).contains(&"other"), "{:?}", plan.notes);
}

/// Of yarn 1, whose patterns are for the whole way: both versions count for all.
#[test]
fn resolutions_may_be_for_a_way() {
    let header = "# THIS IS AN AUTOGENERATED FILE. DO NOT EDIT THIS FILE DIRECTLY.\n# yarn lockfile v1\n\n\n";
    let entry = |descriptor: &str, version: &str, more: &str| {
        let name = descriptor.split('@').next().unwrap();
        format!(
            "{descriptor}:\n  version \"{version}\"\n  resolved \"https://r/{name}-{version}.tgz#1\"\n  integrity sha512-{version}\n{more}\n"
        )
    };
    let repo = depending(r#""is-number": "^6.0.0""#, &[]);
    repo.edit("plugins/todo-backend/package.json", r#""express": "^4.0.0""#, r#""is-odd": "^3.0.0""#);
    resolve(&repo, r#""is-odd/**/is-number": "7.0.0""#);
    let lock = [
        header,
        &entry("is-number@7.0.0", "7.0.0", ""),
        &entry("is-number@^6.0.0", "6.0.0", ""),
        &entry("is-odd@^3.0.0", "3.0.1", "  dependencies:\n    is-number \"^6.0.0\"\n"),
    ];
    repo.write("yarn.lock", &lock.concat());
    repo.edit("plugins/todo/package.json", "workspace:^", "^1.0.0");
    repo.edit("plugins/todo-backend/package.json", "workspace:^", "^1.0.0");
    repo.commit("resolutions");
    for version in ["6.0.0", "7.0.0"] {
        let change = || repo.edit("yarn.lock", &format!("sha512-{version}"), "sha512-other");
        assert_eq!(built_after(&repo, change), ["todo", "todo-backend", "other"], "{version}");
    }
}

/// Two at once, one from the folder of the package that has the dependency, and a patch of what is patched already.
#[test]
fn patches_are_found_wherever_they_are() {
    let odd = entry("is-odd@npm:3.0.1", "is-odd@npm:3.0.1", &[]);
    let dependant = "locator=%40acme%2Fother%40workspace%3Aplugins%2Fother";
    let nested = "is-odd@patch%3Ais-odd@npm%253A3.0.1%23~/patches/inner.patch";
    for (descriptor, patches) in [
        ("is-odd@patch:is-odd@npm%3A3.0.1#~/patches/a.patch&~/patches/b.patch", &["a", "b"][..]),
        ("is-odd@patch:is-odd@npm%3A3.0.1#../../patches/a.patch", &["a"]),
        (&format!("is-odd@patch:{nested}#~/patches/outer.patch"), &["inner", "outer"]),
    ] {
        let bound = format!("{descriptor}::version=3.0.1&hash=56a413&{dependant}");
        let patched = entry(&format!("{descriptor}::{dependant}"), &bound, &[]);
        let repo = depending(&format!(r#""is-odd": "{}""#, &descriptor["is-odd@".len()..]), &[odd.clone(), patched]);
        for name in ["a", "b", "inner", "outer", "unused"] {
            repo.write(&format!("patches/{name}.patch"), "1");
        }
        repo.commit("patched");
        for name in ["a", "b", "inner", "outer", "unused"] {
            let wanted: &[&str] = if patches.contains(&name) { &["other"] } else { &[] };
            let change = || repo.write(&format!("patches/{name}.patch"), "2");
            assert_eq!(built_after(&repo, change), wanted, "{name} of {descriptor}");
        }
    }
}

/// The same packages are locked, but another one of them is at hand.
#[test]
fn who_gets_which_version_counts() {
    let entries = |one: &str, other: &str| {
        [
            entry(&format!("three@npm:^3.0.0{one}"), "three@npm:3.0.0", &[]),
            entry(&format!("three@npm:^4.0.0{other}"), "three@npm:4.0.0", &[]),
            entry("third@npm:^1.0.0", "third@npm:1.0.0", &[("three", "npm:>=3"), ("fourth", "npm:^1.0.0")]),
            entry("fourth@npm:^1.0.0", "fourth@npm:1.0.0", &[("three", "npm:^4.0.0")]),
        ]
    };
    let (before, after) = (entries(", three@npm:>=3", ""), entries("", ", three@npm:>=3"));
    for (on, reason) in [
        (r#""third": "^1.0.0", "three": "^3.0.0""#, "three 3.0.0 → 4.0.0 (through third)"),
        (
            r#""fourth": "^1.0.0", "unused": "^1.0.0", "three": ">=3", "also": "npm:three@^3.0.0""#,
            "three 3.0.0 → 4.0.0",
        ),
    ] {
        let alias = |entries: &[String; 4]| {
            entries.concat().replace("three@npm:^3.0.0", "also@npm:three@^3.0.0, three@npm:^3.0.0")
        };
        let repo = depending(on, &[alias(&before)]);
        repo.commit("before");
        let keys = repo.keys();
        repo.write("yarn.lock", &(LOCK.to_owned() + &alias(&after)));
        let plan = repo.since("HEAD");
        assert_eq!(built(&plan), ["other"]);
        assert_eq!(reasons(&plan, "other"), [reason]);
        assert_ne!(repo.keys()["other"], keys["other"]);
    }
}

/// What yarn adds by `packageExtensions` stands in the lock file, but not who has it.
#[test]
fn what_nobody_is_said_to_depend_on_counts_for_all() {
    let root = entry(
        "root@workspace:.",
        "root@workspace:.",
        &[("express", "npm:^4.0.0"), ("unused", "npm:^1.0.0"), ("third", "npm:^1.0.0")],
    );
    let third = entry("third@npm:^1.0.0", "third@npm:1.0.0", &[]);
    let added = entry("added@npm:^2.0.0", "added@npm:2.0.4", &[("deep", "npm:^3.0.0")]);
    let deep = entry("deep@npm:^3.0.0", "deep@npm:3.0.0", &[]);
    let repo = depending(r#""third": "^1.0.0""#, &[root, third, added, deep]);
    repo.commit("extended");
    for (from, to) in [("added@npm:2.0.4", "added@npm:2.0.5"), ("deep@npm:3.0.0", "deep@npm:3.0.1")] {
        assert_eq!(built_after(&repo, || repo.edit("yarn.lock", from, to)), ["todo", "todo-backend", "other"], "{to}");
    }
    assert_eq!(built_after(&repo, || repo.edit("yarn.lock", "third@npm:1.0.0", "third@npm:1.0.1")), ["other"]);
}
