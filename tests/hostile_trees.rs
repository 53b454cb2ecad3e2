//! Folders that no export makes, and that must not become an artifact: a clear error each, and nothing left behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use common::plugins::{
    DIR, PACKAGE_JSON, backend, entries, everything_below, layer, package_one, packed_paths, request, write,
};
use insta::assert_snapshot;
use rhdh_pack::package::{self, Allowance, ArchiveKind, Artifact, Finding, PackageFailure, Request, Rule};
use rhdh_pack::ui::{Ui, Verbosity};
use rustix::fs::{Mode, OFlags};
use rustix::thread::{CapabilitySet, CapabilitySets};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// A backend, changed by `change`, then packaged with the settings of `set`.
fn package_changed(
    change: impl FnOnce(&Path),
    set: impl FnOnce(&mut Request),
) -> (TempDir, Request, Result<Artifact, PackageFailure>) {
    let folder = TempDir::new().unwrap();
    let dist_dynamic = folder.path().join("dist-dynamic");
    backend(&dist_dynamic);
    change(&dist_dynamic);
    let mut request = request(&folder.path().join("out"), &dist_dynamic);
    set(&mut request);
    let outcome = package_one(&request);
    if outcome.is_err() {
        let left = everything_below(&request.output);
        let expected =
            ["oci", "oci/blobs", "oci/blobs/sha256", "oci/index.json", "oci/oci-layout", "package.lock", "tgz"];
        assert!(left.iter().all(|path| expected.contains(&path.as_str())), "left behind: {left:?}");
    }
    (folder, request, outcome)
}

/// The failure's code and whole text; the folder that it names is replaced.
fn failure_of(change: impl FnOnce(&Path)) -> String {
    let (folder, _, outcome) = package_changed(change, |_| {});
    let failure = outcome.unwrap_err();
    let text = format!("{}: {}\nhelp: {}", failure.code, failure.message, failure.help.unwrap());
    text.replace(&*folder.path().to_string_lossy(), "<folder>")
}

#[test]
fn links_out_of_the_package() {
    assert_snapshot!(failure_of(|root: &Path| symlink("/etc/passwd", root.join("dist/secret.js")).unwrap()), @"
    link-outside: cannot pack `x`: the link `dist/secret.js` points out of the package, to `/etc/passwd`
    help: copy what it points to into the package, or leave the link out by a line in `files`
    ");
    assert_snapshot!(failure_of(|root: &Path| {
        fs_err::create_dir_all(root.parent().unwrap().join("outside")).unwrap();
        fs_err::create_dir_all(root.join("node_modules")).unwrap();
        symlink("../../outside", root.join("node_modules/outside")).unwrap();
    }), @"
    link-outside: cannot pack `x`: the link `node_modules/outside` points out of the package, to `<folder>/outside`
    help: copy what it points to into the package, or leave the link out by a line in `files`
    ");
}

#[test]
fn a_link_on_the_way_out_is_refused_too() {
    assert_snapshot!(failure_of(|root: &Path| {
        symlink("..", root.join("dist/up")).unwrap();
        symlink("up/../outside.js", root.join("dist/x.js")).unwrap();
        write(root.parent().unwrap(), "outside.js", "x");
    }), @"
    link-loop: cannot pack `x`:
      the link `dist/up` leads back to where it stands
      the link `dist/x.js` points out of the package, to `<folder>/outside.js`
    help: remove the link; an archive cannot hold a folder inside itself
    ");
}

#[test]
fn links_that_lead_round_in_circles() {
    assert_snapshot!(failure_of(|root: &Path| symlink("..", root.join("dist/up")).unwrap()), @"
    link-loop: cannot pack `x`: the link `dist/up` leads back to where it stands
    help: remove the link; an archive cannot hold a folder inside itself
    ");
    assert_snapshot!(failure_of(|root: &Path| symlink("x.js", root.join("dist/x.js")).unwrap()), @"
    link-loop: cannot pack `x`: the link `dist/x.js` leads back to where it stands
    help: remove the link; an archive cannot hold a folder inside itself
    ");
    assert_snapshot!(failure_of(|root: &Path| {
        write(root, "node_modules/a/index.js", "x");
        write(root, "node_modules/b/index.js", "x");
        symlink("../b", root.join("node_modules/a/b")).unwrap();
        symlink("../a", root.join("node_modules/b/a")).unwrap();
    }), @"
    link-loop: cannot pack `x`:
      the link `node_modules/a/b/a` leads back to where it stands
      the link `node_modules/b/a/b` leads back to where it stands
    help: remove the link; an archive cannot hold a folder inside itself
    ");
}

#[test]
fn links_to_nothing() {
    assert_snapshot!(failure_of(|root: &Path| symlink("gone.js", root.join("dist/x.js")).unwrap()), @"
    link-dangling: cannot pack `x`: the link `dist/x.js` points to nothing
    help: remove the link, or export the plugin again with `rhdh-pack export`
    ");
}

#[test]
fn links_that_multiply_each_other() {
    assert_snapshot!(failure_of(|root: &Path| {
        for level in 0..40 {
            fs_err::create_dir_all(root.join(format!("dist/{level}"))).unwrap();
            for link in ["a", "b"] {
                let target = format!("../{}", level + 1);
                symlink(target, root.join(format!("dist/{level}/{link}"))).unwrap();
            }
        }
        write(root, "dist/40/x.js", "x");
    }), @"
    too-many-links: cannot pack `x`:
      the link `dist/0/a/a/a/a/a/a/a/a/a` stands in a folder that is reached by 8 other links to folders
      the link `dist/0/a/a/a/a/a/a/a/a/b` stands in a folder that is reached by 8 other links to folders
      the link `dist/0/a/a/a/a/a/a/a/b/a` stands in a folder that is reached by 8 other links to folders
      the link `dist/0/a/a/a/a/a/a/a/b/b` stands in a folder that is reached by 8 other links to folders
      the link `dist/0/a/a/a/a/a/a/b/a/a` stands in a folder that is reached by 8 other links to folders
      the link `dist/0/a/a/a/a/a/a/b/a/b` stands in a folder that is reached by 8 other links to folders
      the link `dist/0/a/a/a/a/a/a/b/b/a` stands in a folder that is reached by 8 other links to folders
      the link `dist/0/a/a/a/a/a/a/b/b/b` stands in a folder that is reached by 8 other links to folders
      the link `dist/0/a/a/a/a/a/b/a/a/a` stands in a folder that is reached by 8 other links to folders
      the link `dist/0/a/a/a/a/a/b/a/a/b` stands in a folder that is reached by 8 other links to folders
      and 16374 more
    help: let the links point to the folders themselves
    ");
}

#[test]
fn links_inside_are_replaced_by_what_they_point_to() {
    let (_folder, request, outcome) = package_changed(
        |root| {
            write(root, "embedded/common/index.js", "common");
            fs_err::create_dir_all(root.join("node_modules/@acme")).unwrap();
            symlink("../../embedded/common", root.join("node_modules/@acme/common")).unwrap();
            symlink(root.join("dist/index.cjs.js"), root.join("dist/absolute.js")).unwrap();
            symlink("index.cjs.js", root.join("dist/alias.js")).unwrap();
            write(root, "node_modules/.bin/tool", "x");
            symlink("/bin/sh", root.join("node_modules/.bin/sh")).unwrap();
            symlink("/etc", root.join("unlisted")).unwrap();
        },
        |_| {},
    );
    assert_eq!(
        packed_paths(&request, &outcome.unwrap()),
        [
            "dist/absolute.js",
            "dist/alias.js",
            "dist/index.cjs.js",
            "node_modules/@acme/common/index.js",
            "package.json"
        ]
    );
    let files = entries(&layer(&request.output));
    assert_eq!(files[&format!("{DIR}/dist/alias.js")].content, b"module.exports = {};\n");
    assert!(files.values().all(|entry| matches!(entry.kind, tar::EntryType::Regular | tar::EntryType::Directory)));
}

/// npm takes no links, and passes over those that `files` names without a word.
#[test]
fn links_that_files_names() {
    let files = |root: &Path, files: &str| write(root, "package.json", PACKAGE_JSON.replace(r#"["dist"]"#, files));
    let (_folder, request, outcome) = package_changed(
        |root| {
            write(root, "lib/a.js", "a");
            write(root, "lib/b/c.js", "c");
            symlink("lib", root.join("folder")).unwrap();
            symlink("lib/a.js", root.join("file.js")).unwrap();
            symlink("/etc/passwd", root.join("dist/not-wanted")).unwrap();
            files(root, r#"["dist", "folder", "./file.js", "!dist/not-wanted"]"#);
        },
        |_| {},
    );
    let paths = packed_paths(&request, &outcome.unwrap());
    for path in ["folder/a.js", "folder/b/c.js", "file.js"] {
        assert!(paths.contains(&path.to_owned()), "{path}: {paths:?}");
    }
    assert!(!paths.contains(&"dist/not-wanted".to_owned()), "{paths:?}");

    assert_snapshot!(failure_of(|root: &Path| {
        symlink("/etc/passwd", root.join("secret.js")).unwrap();
        symlink("gone", root.join("gone.js")).unwrap();
        files(root, r#"["dist", "secret.js", "gone.js"]"#);
    }), @"
    link-dangling: cannot pack `x`:
      the link `gone.js` points to nothing
      the link `secret.js` points out of the package, to `/etc/passwd`
    help: remove the link, or export the plugin again with `rhdh-pack export`
    ");
}

#[test]
fn pipes_sockets_and_devices() {
    let mkfifo = |path: &Path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    assert_snapshot!(failure_of(|root: &Path| mkfifo(&root.join("dist/pipe"))), @"
    special-file: cannot pack `x`: `dist/pipe` is a named pipe, and installers take files and folders only
    help: remove it, or leave it out by a line in `files`
    ");
    assert_snapshot!(failure_of(|root: &Path| {
        fs_err::create_dir_all(root.join("node_modules/a")).unwrap();
        drop(UnixListener::bind(root.join("node_modules/a/socket")).unwrap());
    }), @"
    special-file: cannot pack `x`: `node_modules/a/socket` is a socket, and installers take files and folders only
    help: remove it, or leave it out by a line in `files`
    ");
    assert_snapshot!(failure_of(|root: &Path| symlink("/dev/null", root.join("dist/null.js")).unwrap()), @"
    link-outside: cannot pack `x`: the link `dist/null.js` points out of the package, to `/dev/null`
    help: copy what it points to into the package, or leave the link out by a line in `files`
    ");
    // What is not packed is not looked at.
    let (_folder, _, outcome) = package_changed(|root| mkfifo(&root.join("pipe")), |_| {});
    assert!(outcome.is_ok());
}

#[test]
fn names_that_are_not_utf_8() {
    assert_snapshot!(failure_of(|root: &Path| {
        fs_err::write(root.join("dist").join(OsStr::from_bytes(b"caf\xe9.js")), "x").unwrap();
    }), @"
    name-not-utf8: cannot pack `x`: the name `dist/caf�.js` is not UTF-8
    help: rename the file; npm and RHDH's installers take UTF-8 names only
    ");
}

#[test]
fn files_that_no_installer_takes() {
    let large = |size: u64| {
        move |root: &Path| fs_err::File::create(root.join("dist/large.bin")).unwrap().set_len(size).unwrap()
    };
    assert_snapshot!(failure_of(large(20_000_001)), @"
    rehearsal: RHDH would not take it:
      acme-plugin-x: `dist/large.bin` has 20000001 bytes, more than the installer takes (entry-size, RHDH 1.9)
    help: split the file, or leave it out by a line in `files` of package.json
    ");
    assert_snapshot!(failure_of(large(40_000_001)), @"
    rehearsal: RHDH would not take it:
      acme-plugin-x: `dist/large.bin` has 40000001 bytes, more than the installer takes (entry-size, RHDH 1.9, 1.10)
    help: split the file, or leave it out by a line in `files` of package.json
    ");
    let (_folder, _, outcome) = package_changed(large(20_000_000), |_| {});
    assert!(outcome.is_ok(), "{outcome:?}");
    let (_folder, _, outcome) = package_changed(large(40_000_000), |request| request.rhdh = vec!["1.10".to_owned()]);
    assert!(outcome.is_ok(), "{outcome:?}");
    // With a reason, everything may be allowed.
    let allow = |request: &mut Request| {
        request.artifacts[0].allow =
            vec![Allowance { rule: Rule::EntrySize, reason: "MAX_ENTRY_SIZE is raised".to_owned() }];
    };
    let (_folder, _, outcome) = package_changed(large(40_000_001), allow);
    let findings = outcome.unwrap().findings;
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].allowed.as_deref(), Some("MAX_ENTRY_SIZE is raised"));
}

#[test]
fn ignore_files_that_are_folders() {
    assert_snapshot!(failure_of(|root: &Path| write(root, "dist/.npmignore/x", "x")), @"
    unreadable: cannot pack `x`: `dist/.npmignore` is no file, and patterns are read from it
    help: rename or remove it
    ");
}

#[test]
fn manifests_that_are_none() {
    assert_snapshot!(failure_of(|root: &Path| write(root, "package.json", "{\"name\": ")), @"
    invalid-json: cannot pack `x`: `package.json` is not valid: EOF while parsing a value at line 1 column 9
    help: export the plugin again with `rhdh-pack export`
    ");
    assert_snapshot!(failure_of(|root: &Path| write(root, "package.json", "[]")), @"
    invalid-json: cannot pack `x`: `package.json` is not valid: it is no object
    help: export the plugin again with `rhdh-pack export`
    ");
    assert_snapshot!(failure_of(|root: &Path| write(root, "package.json", "{\"files\": \"dist\"}")), @"
    invalid-field: cannot pack `x`: `package.json`: `files` is no list
    help: write it as npm's documentation of package.json shows
    ");
    assert_snapshot!(failure_of(|root: &Path| write(root, "package.json", "{\"files\": [1]}")), @"
    invalid-field: cannot pack `x`: `package.json`: `files` holds something that is no text
    help: write it as npm's documentation of package.json shows
    ");
    assert_snapshot!(failure_of(|root: &Path| write(root, "package.json", "[".repeat(100_000))), @"
    invalid-json: cannot pack `x`: `package.json` is not valid: recursion limit exceeded at line 1 column 128
    help: export the plugin again with `rhdh-pack export`
    ");
    assert_snapshot!(failure_of(|root: &Path| fs_err::remove_file(root.join("package.json")).unwrap()), @"
    file-missing: cannot pack `x`: `package.json` is missing: every package has one
    help: export the plugin again with `rhdh-pack export`, or correct the entry
    ");
    assert_snapshot!(failure_of(|root: &Path| {
        let file = fs_err::OpenOptions::new().write(true).open(root.join("package.json")).unwrap();
        file.set_len(100_000_000).unwrap();
    }), @"
    file-too-large: cannot pack `x`: `package.json` has 100000000 bytes; at most 16777216 are read
    help: export the plugin again with `rhdh-pack export`; no real one is that large
    ");
    assert_snapshot!(failure_of(|root: &Path| fs_err::remove_dir_all(root).unwrap()), @"
    no-dist-dynamic: cannot pack `x`: there is no `<folder>/dist-dynamic`
    help: export the plugin first: `rhdh-pack export`
    ");
}

#[test]
fn names_and_versions_that_leave_the_folder() {
    let named = |name: &'static str, version: &'static str| {
        move |root: &Path| {
            let manifest = format!(
                r#"{{"name":"{name}","version":"{version}","main":"dist/index.cjs.js","backstage":{{"role":"backend-plugin"}}}}"#
            );
            write(root, "package.json", manifest);
        }
    };
    assert_snapshot!(failure_of(named("../../evil", "1.0.0")), @"
    package-name: `../../evil` is no name of an npm package
    help: correct it in the plugin's package.json, then export the plugin again
    ");
    assert_snapshot!(failure_of(named("@../evil", "1.0.0")), @"
    package-name: `@../evil` is no name of an npm package
    help: correct it in the plugin's package.json, then export the plugin again
    ");
    assert_snapshot!(failure_of(named("evil", "1.0.0/../../x")), @"
    package-version: `1.0.0/../../x` is no version of an npm package
    help: correct it in the plugin's package.json, then export the plugin again
    ");
    assert_snapshot!(failure_of(named("evil", "")), @"
    package-name: `package.json` has no `version`
    help: correct it in the plugin's package.json, then export the plugin again
    ");
}

/// Each would replace the other's archive, and one integrity be wrong.
#[test]
fn two_plugins_of_one_name() {
    let folder = TempDir::new().unwrap();
    let dist_dynamic = folder.path().join("dist-dynamic");
    backend(&dist_dynamic);
    let mut request = request(&folder.path().join("out"), &dist_dynamic);
    let mut other = request.artifacts[0].clone();
    (other.id, other.image) = ("y".to_owned(), "acme-plugin-y".to_owned());
    request.artifacts.push(other);
    let packaged = package::package(&request, &Ui::new(Verbosity::Quiet), &CancellationToken::new()).unwrap();
    let failures: Vec<&PackageFailure> = packaged.iter().filter_map(|one| one.outcome.as_ref().err()).collect();
    let [failure] = failures.as_slice() else { panic!("{failures:?}") };
    assert_eq!(failure.code, "same-archive");
    // Which one comes first is left to chance.
    let said = ["x", "y"].map(|id| format!("the archive of `{id}` is named `acme-plugin-x-dynamic-1.2.3.tgz`, too"));
    assert!(said.contains(&failure.message), "{failure}");
}

#[test]
fn files_that_are_needed_and_missing() {
    assert_snapshot!(failure_of(|root: &Path| fs_err::remove_file(root.join("dist/index.cjs.js")).unwrap()), @"
    file-missing: cannot pack `x`: `dist/index.cjs.js` is missing: `main` of package.json names it
    help: export the plugin again with `rhdh-pack export`, or correct the entry
    ");
    assert_snapshot!(failure_of(|root: &Path| {
        write(root, "package.json", r#"{"name":"x","version":"1.0.0","main":"../../x.js","backstage":{"role":"backend-plugin"}}"#);
    }), @"
    file-missing: cannot pack `x`: `../../x.js` is missing: `main` of package.json names it, and it leaves the package
    help: export the plugin again with `rhdh-pack export`, or correct the entry
    ");
    assert_snapshot!(failure_of(|root: &Path| {
        let exports = r#"{".":{"types":"./dist/x.d.ts","require":"./dist/gone.cjs.js"}}"#;
        let manifest = format!(r#"{{"name":"x","version":"1.0.0","main":"dist/index.cjs.js","exports":{exports},"configSchema":"config.d.ts","backstage":{{"role":"backend-plugin"}}}}"#);
        write(root, "package.json", manifest);
    }), @"
    file-missing: cannot pack `x`:
      `config.d.ts` is missing: `configSchema` of package.json names it
      `dist/gone.cjs.js` is missing: `exports` of package.json names it for `.`
    help: export the plugin again with `rhdh-pack export`, or correct the entry
    ");
    assert_snapshot!(failure_of(|root: &Path| {
        write(root, "package.json", r#"{"name":"x","version":"1.0.0","main":"x","files":["dist"],"backstage":{"role":"frontend-plugin"}}"#);
        write(root, "dist-scalprum/plugin-manifest.json", r#"{"loadScripts":["a.js","b.js"]}"#);
        write(root, "dist-scalprum/a.js", "");
    }), @"
    file-missing: cannot pack `x`: `dist-scalprum/b.js` is missing: `dist-scalprum/plugin-manifest.json` names it
    help: export the plugin again with `rhdh-pack export`, or correct the entry
    ");
}

#[test]
fn what_rhdh_would_not_load() {
    assert_snapshot!(failure_of(|root: &Path| {
        write(root, "package.json", r#"{"name":"x","version":"1.0.0","main":"dist/index.cjs.js","backstage":{"role":"node-library"}}"#);
    }), @"
    rehearsal: RHDH would not take it:
      acme-plugin-x: RHDH loads no package with the role `node-library` (package-json, RHDH 1.9, 1.10)
    help: export the plugin again with `rhdh-pack export`
    ");
    assert_snapshot!(failure_of(|root: &Path| {
        write(root, "package.json", r#"{"name":"x","version":"1.0.0","main":"x","backstage":{"role":"frontend-plugin"}}"#);
    }), @"
    rehearsal: RHDH would not take it:
      acme-plugin-x: `dist-scalprum/plugin-manifest.json` is not in the archive: RHDH does not load the plugin (scalprum-manifest, RHDH 1.9, 1.10)
    help: export the plugin with an RHDH CLI before 2.1, which makes `dist-scalprum`
    ");
}

#[test]
fn long_names_and_deep_folders_are_packed() {
    let name = "n".repeat(255);
    let deep = vec!["d"; 200].join("/");
    let (_folder, request, outcome) = package_changed(
        |root| {
            write(root, &format!("dist/{name}"), "long");
            write(root, &format!("dist/{deep}/x.js"), "deep");
            write(root, &format!("node_modules/{deep}/x.js"), "deep");
            write(root, "dist/Same.js", "a");
            write(root, "dist/same.js", "b");
            write(root, "dist/line\nbreak \u{1b}[31m.js", "c");
        },
        |_| {},
    );
    let artifact = outcome.unwrap();
    let paths = packed_paths(&request, &artifact);
    for path in [format!("dist/{name}"), format!("dist/{deep}/x.js"), format!("node_modules/{deep}/x.js")] {
        assert!(paths.contains(&path), "{path}");
    }
    let conflicts: Vec<&Finding> =
        artifact.findings.iter().filter(|finding| finding.rule == Rule::CaseConflict).collect();
    assert_eq!(conflicts.len(), 1);
    assert_eq!(conflicts[0].text, "`dist/Same.js` and `dist/same.js` differ in case only");
    assert_eq!(conflicts[0].archives, [ArchiveKind::Image, ArchiveKind::Tgz]);
}

#[test]
fn paths_that_linux_does_not_open() {
    assert_snapshot!(failure_of(|root: &Path| {
        // Longer than any path that can be given to the system at once: made step by step.
        let name = "n".repeat(250);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let mut folder = rustix::fs::open(root.join("dist"), flags, Mode::empty()).unwrap();
        for _ in 0..18 {
            rustix::fs::mkdirat(&folder, &name, Mode::RWXU).unwrap();
            folder = rustix::fs::openat(&folder, &name, flags, Mode::empty()).unwrap();
        }
    }), @"
    path-too-long: cannot pack `x`: the path `dist/nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn…` has 4271 bytes
    help: Linux opens no path over 4,095 bytes; shorten the folders' names
    ");
}

#[test]
fn folders_deeper_than_any_real_one() {
    assert_snapshot!(failure_of(|root: &Path| write(root, &format!("dist/{}/x.js", vec!["d"; 300].join("/")), "x")), @"
    too-deep: cannot pack `x`: `dist/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d…` is nested more than 256 folders deep
    help: remove it, or leave it out by a line in `files`; no real package is that deep
    ");
}

#[test]
fn folders_that_cannot_be_read() {
    // Root reads everything; without this capability it does not.
    let capabilities = rustix::thread::capabilities(None).unwrap();
    let over = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
    let effective = capabilities.effective.difference(over);
    rustix::thread::set_capabilities(None, CapabilitySets { effective, ..capabilities }).unwrap();
    assert_snapshot!(failure_of(|root: &Path| {
        write(root, "dist/locked/x.js", "x");
        write(root, "dist/locked.js", "x");
        for (path, mode) in [("dist/locked", 0o000), ("dist/locked.js", 0o000)] {
            fs_err::set_permissions(root.join(path), std::fs::Permissions::from_mode(mode)).unwrap();
        }
    }), @"
    unreadable: cannot pack `x`: cannot read `dist/locked`: Permission denied (os error 13)
    help: make it readable, e.g. `chmod -R u+rX dist-dynamic`
    ");
}

#[test]
fn patterns_that_stand_for_too_many() {
    assert_snapshot!(failure_of(|root: &Path| {
        let manifest = format!(r#"{{"name":"x","version":"1.0.0","files":["{}"]}}"#, "{a,b}".repeat(40));
        write(root, "package.json", manifest);
    }), @"
    invalid-pattern: cannot pack `x`: `package.json`: the pattern `!{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b` stands for too many others
    help: write the pattern's alternatives as separate lines
    ");
}

#[test]
fn a_cancelled_run_leaves_nothing() {
    let folder = TempDir::new().unwrap();
    backend(&folder.path().join("dist-dynamic"));
    let request = request(&folder.path().join("out"), &folder.path().join("dist-dynamic"));
    let cancel = CancellationToken::new();
    cancel.cancel();
    let packaged = package::package(&request, &Ui::new(Verbosity::Quiet), &cancel).unwrap();
    assert_eq!(packaged[0].outcome.as_ref().unwrap_err().code, "cancelled");
    assert!(everything_below(&request.output.join("oci/blobs/sha256")).is_empty());
}

#[test]
fn two_runs_at_once_do_not_meet() {
    let folder = TempDir::new().unwrap();
    backend(&folder.path().join("dist-dynamic"));
    let request = request(&folder.path().join("out"), &folder.path().join("dist-dynamic"));
    fs_err::create_dir_all(&request.output).unwrap();
    let lock = std::fs::File::create(request.output.join("package.lock")).unwrap();
    lock.lock().unwrap();
    let error = package::package(&request, &Ui::new(Verbosity::Quiet), &CancellationToken::new()).unwrap_err();
    assert!(matches!(error, package::Error::InUse(_)), "{error}");
    drop(lock);
    assert!(package_one(&request).is_ok());
}

#[test]
fn a_full_disk() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    backend(&root.join("plugin/dist-dynamic"));
    write(root, "plugin/package.json", PACKAGE_JSON);
    write(root, "plugin/yarn.lock", "");
    write(root, "rhdh-plugins.toml", "[plugins.x]\npath = \"plugin\"\nexport = \"prebuilt\"\n");
    let noise: Vec<u8> = (0..1_u32 << 20).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    write(root, "plugin/dist-dynamic/dist/noise.bin", noise);
    fs_err::create_dir_all(root.join(".rhdh-pack")).unwrap();
    // A disk of one megabyte; where nobody may mount one, files of that size at most.
    let script = r#"
        if unshare --map-root-user --mount true 2>/dev/null; then
            exec unshare --map-root-user --mount sh -c 'mount -t tmpfs -o size=1m tmpfs .rhdh-pack && "$0" run; code=$?; find .rhdh-pack -type f; exit $code' "$0"
        fi
        trap "" XFSZ
        ulimit -f 1024
        "$0" run; code=$?; find .rhdh-pack -type f; exit $code"#;
    let output = common::scrubbed("sh")
        .current_dir(root)
        .args(["-c", script, env!("CARGO_BIN_EXE_rhdh-pack")])
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{stdout}{stderr}");
    assert!(stderr.contains("cannot write to"), "{stderr}");
    assert!(!stdout.contains("blobs") && !stdout.contains("tgz"), "left behind: {stdout}");
}
