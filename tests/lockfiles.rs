//! Lock files that yarn made just now, of yarn 1 and yarn 4: what a package gets from outside its workspace is what
//! yarn itself says.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use rhdh_pack::repo_path::RepoPath;
use rhdh_pack::workspace::{self, Closure, Lockfile, LockfileError, Root, Workspace, Workspaces};

const YARN_4: &str = "@yarnpkg/cli-dist/bin/yarn.js";
const YARN_1: &str = "yarn/bin/yarn.js";

/// A workspace of two packages, with all that makes lock files hard to read.
fn workspace(yarn: &str) -> (tempfile::TempDir, Workspaces) {
    let folder = tempfile::tempdir().unwrap();
    let (patch, leven) = if yarn == YARN_4 {
        (r#", "is-odd": "patch:is-odd@npm%3A3.0.1#./.yarn/patches/is-odd.patch""#, "catalog:old")
    } else {
        ("", "^3.0.0")
    };
    write(
        folder.path(),
        "package.json",
        &format!(
            r#"{{"name": "root", "private": true, "workspaces": ["packages/*"],
                "resolutions": {{"ms": "2.1.2", "express/qs": "6.11.0"{patch}}},
                "devDependencies": {{"typescript": "~5.4.5", "react": "^18.0.0", "leven": "^4.0.0"}}}}"#
        ),
    );
    write(
        folder.path(),
        "packages/a/package.json",
        &format!(
            r#"{{"name": "@acme/a", "version": "1.0.0",
                "dependencies": {{"@acme/b": "^1.0.0", "express": "^4.17.0", "under": "npm:underscore@^1.13.0",
                                 "is-odd": "^3.0.0", "leven": "{leven}"}},
                "optionalDependencies": {{"fsevents": "^2.3.2"}},
                "peerDependencies": {{"react": "^17.0.0 || ^18.0.0"}},
                "devDependencies": {{"resolve": "^1.20.0", "left-pad": "^1.0.0"}}}}"#
        ),
    );
    write(
        folder.path(),
        "packages/b/package.json",
        r#"{"name": "@acme/b", "version": "1.2.0", "dependencies": {"debug": "^4.0.0", "resolve": "^1.22.0"}}"#,
    );
    write(folder.path(), "yarn.lock", "");
    write(
        folder.path(),
        ".yarn/patches/is-odd.patch",
        "diff --git a/patched.txt b/patched.txt\nnew file mode 100644\nindex 0000000..1269488\n--- /dev/null\n\
         +++ b/patched.txt\n@@ -0,0 +1 @@\n+data\n",
    );
    let settings = "enableTelemetry: false\nnpmMinimalAgeGate: 0\nnodeLinker: node-modules\n";
    write(folder.path(), ".yarnrc.yml", &format!("{settings}catalogs:\n  old:\n    leven: ^3.0.0\n"));
    let arguments: &[&str] = if yarn == YARN_4 {
        &["install", "--mode=update-lockfile"]
    } else {
        &["install", "--ignore-scripts", "--ignore-platform", "--silent"]
    };
    run(yarn, folder.path(), arguments);
    let folders = ["packages/a", "packages/b"].map(|path| RepoPath::new(path).unwrap());
    let (workspaces, errors) = workspace::discover(folder.path(), &folders);
    assert_eq!(errors, []);
    (folder, workspaces)
}

fn write(folder: &Path, path: &str, text: &str) {
    let file = folder.join(path);
    fs_err::create_dir_all(file.parent().unwrap()).unwrap();
    fs_err::write(file, text).unwrap();
}

fn run(yarn: &str, folder: &Path, arguments: &[&str]) -> String {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".tools/yarn/node_modules").join(yarn);
    assert!(script.exists(), "{} is missing: run `bash .ci/tools`", script.display());
    // Told that it is in a CI, yarn 4 would refuse to change the lock file.
    let mut command = Command::new("node");
    command.arg(script).args(arguments).current_dir(folder).env_remove("CI").env("YARN_ENABLE_IMMUTABLE_INSTALLS", "0");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

fn only(workspaces: &Workspaces) -> &Workspace {
    &workspaces.by_path[0]
}

fn roots<'a>(workspace: &'a Workspace, folder: &str) -> Vec<Root<'a>> {
    let closure = workspace.closure(&RepoPath::new(folder).unwrap());
    closure.into_iter().flat_map(|package| workspace.roots(package)).collect()
}

fn read(folder: &Path, workspace: &Workspace) -> Lockfile {
    let text = fs_err::read(folder.join("yarn.lock")).unwrap();
    Lockfile::parse(&text, "yarn.lock", workspace.manifest.ranges("resolutions")).unwrap()
}

fn closure(lockfile: &Lockfile, roots: &[Root<'_>]) -> Result<Closure, LockfileError> {
    lockfile.closure(&lockfile.direct(roots)?, |_| false)
}

fn resolutions(lockfile: &Lockfile, closure: &Closure) -> BTreeSet<String> {
    lockfile.resolutions(closure).map(str::to_owned).collect()
}

/// What yarn 4 says that each package depends on, by resolution.
fn edges(folder: &Path) -> BTreeMap<String, Vec<(String, String)>> {
    let text = run(YARN_4, folder, &["info", "--all", "--recursive", "--json"]);
    let packages = text.lines().map(|line| {
        let package: serde_json::Value = serde_json::from_str(line).unwrap();
        let dependencies = package["children"]["Dependencies"].as_array().cloned().unwrap_or_default();
        let pair = |dependency: &serde_json::Value| {
            let text = |key: &str| dependency[key].as_str().unwrap().to_owned();
            (text("descriptor"), devirtualized(&text("locator")))
        };
        (devirtualized(package["value"].as_str().unwrap()), dependencies.iter().map(pair).collect())
    });
    packages.collect()
}

/// `react@virtual:…#npm:18.0.0` is `react@npm:18.0.0`.
fn devirtualized(locator: &str) -> String {
    match locator.split_once("@virtual:").and_then(|(name, rest)| Some((name, rest.split_once('#')?.1))) {
        Some((name, real)) => format!("{name}@{real}"),
        None => locator.to_owned(),
    }
}

#[test]
fn yarn_4_agrees_about_every_closure() {
    let (folder, workspaces) = workspace(YARN_4);
    let workspace = only(&workspaces);
    let lockfile = read(folder.path(), workspace);
    let edges = edges(folder.path());
    for (path, name, direct) in [
        ("packages/a", "@acme/a", &["express", "under", "is-odd", "leven", "fsevents", "react", "@acme/b"][..]),
        ("packages/b", "@acme/b", &["debug", "resolve"]),
    ] {
        let closure = closure(&lockfile, &roots(workspace, path)).unwrap();
        let mut expected = BTreeSet::new();
        // The build's tools come from the root.
        let typescript = edges.keys().filter(|package| package.starts_with("typescript@"));
        let mut next: Vec<String> = typescript.cloned().collect();
        // yarn's view of the peer dependency: what the root develops with.
        next.extend(edges.keys().filter(|package| name == "@acme/a" && package.starts_with("react@npm:")).cloned());
        let own = edges.iter().find(|(package, _)| package.starts_with(&format!("{name}@workspace:"))).unwrap();
        let is_direct = |descriptor: &str| direct.iter().any(|name| descriptor.starts_with(&format!("{name}@")));
        next.extend(own.1.iter().filter(|(descriptor, _)| is_direct(descriptor)).map(|(_, locator)| locator.clone()));
        while let Some(package) = next.pop() {
            if expected.insert(package.clone()) {
                let all = edges.get(&package).into_iter().flatten();
                let development = |descriptor: &str| {
                    package.starts_with("@acme/b@")
                        && !["debug@", "resolve@"].iter().any(|name| descriptor.starts_with(name))
                };
                next.extend(all.filter(|(descriptor, _)| !development(descriptor)).map(|(_, locator)| locator.clone()));
            }
        }
        expected.retain(|package| !package.contains("@workspace:"));
        let found = resolutions(&lockfile, &closure);
        // A patched package is made from the one that it patches: both are in the lock file.
        let sources: BTreeSet<String> = found.difference(&expected).cloned().collect();
        assert!(expected.is_subset(&found), "{name} lacks {:?}", expected.difference(&found));
        for source in sources {
            let of_a_patch = found.iter().any(|package| {
                package.split_once("@patch:").is_some_and(|(_, rest)| rest.replace("%3A", ":").starts_with(&source))
            });
            assert!(of_a_patch, "{name} has {source} for nothing");
        }
    }
    let closure = closure(&lockfile, &roots(workspace, "packages/a")).unwrap();
    assert_eq!(lockfile.patches(&closure).collect::<Vec<_>>(), [".yarn/patches/is-odd.patch"]);
    assert!(resolutions(&lockfile, &closure).contains("ms@npm:2.1.2"));
    assert!(
        !resolutions(&lockfile, &closure).iter().any(|package| package.starts_with("left-pad@")),
        "development only"
    );
}

#[test]
fn yarn_1_is_read_too() {
    let (folder, workspaces) = workspace(YARN_1);
    let workspace = only(&workspaces);
    let lockfile = read(folder.path(), workspace);
    let names = |path: &str| -> BTreeSet<String> {
        let closure = closure(&lockfile, &roots(workspace, path)).unwrap();
        let name = |resolution: &String| resolution[..resolution[1..].find('@').unwrap() + 1].to_owned();
        resolutions(&lockfile, &closure).iter().map(name).collect()
    };
    let b = names("packages/b");
    for name in ["debug", "ms", "resolve", "is-core-module", "typescript"] {
        assert!(b.contains(name), "{name} is not in {b:?}");
    }
    assert!(!b.contains("express") && !b.contains("left-pad"), "{b:?}");
    let a = names("packages/a");
    assert!(b.is_subset(&a));
    for name in ["express", "qs", "under", "fsevents", "react", "is-odd"] {
        assert!(a.contains(name), "{name} is not in {a:?}");
    }
}

/// `debug` depends on `ms`, and gets the workspace's: the lock file has no entry for it.
#[test]
fn yarn_1_locks_no_package_of_the_workspace() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "package.json", r#"{"name": "root", "private": true, "workspaces": ["packages/*"]}"#);
    write(
        folder.path(),
        "packages/a/package.json",
        r#"{"name": "a", "version": "1.0.0", "dependencies": {"debug": "4.3.4"}}"#,
    );
    write(folder.path(), "packages/ms/package.json", r#"{"name": "ms", "version": "2.1.2"}"#);
    run(YARN_1, folder.path(), &["install", "--ignore-scripts", "--silent"]);
    let (workspaces, errors) = workspace::discover(folder.path(), &[RepoPath::new("packages/a").unwrap()]);
    assert_eq!(errors, []);
    let workspace = only(&workspaces);
    let lockfile = read(folder.path(), workspace);
    let direct = lockfile.direct(&roots(workspace, "packages/a")).unwrap();
    let closure = lockfile.closure(&direct, |name| workspace.named(name).is_some()).unwrap();
    assert_eq!(lockfile.unlocked(&closure).collect::<Vec<_>>(), ["ms"]);
    assert!(matches!(lockfile.closure(&direct, |_| false), Err(LockfileError::Incomplete { .. })));
}

/// A lock file that lost lines is refused, or says which package is missing; it never just has a smaller closure.
#[test]
fn what_is_cut_off_is_never_taken_for_whole() {
    for yarn in [YARN_4, YARN_1] {
        let (folder, workspaces) = workspace(yarn);
        let workspace = only(&workspaces);
        let whole = read(folder.path(), workspace);
        let roots = roots(workspace, "packages/a");
        let expected = resolutions(&whole, &closure(&whole, &roots).unwrap());
        let text = fs_err::read_to_string(folder.path().join("yarn.lock")).unwrap();
        // Cut at the end of an entry, where no line is broken: what is missing is missed.
        let mut refused = 0;
        for (end, _) in text.match_indices("\n\n") {
            let part = Lockfile::parse(&text.as_bytes()[..=end], "yarn.lock", workspace.manifest.ranges("resolutions"));
            match part.and_then(|part| Ok(resolutions(&part, &closure(&part, &roots)?))) {
                Ok(found) => assert_eq!(found, expected, "{yarn}: cut at {end}"),
                Err(LockfileError::Malformed { .. } | LockfileError::Incomplete { .. }) => refused += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert!(refused > 10, "{yarn}: {refused}");
    }
}
