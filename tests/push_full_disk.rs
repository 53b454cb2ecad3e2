//! A disk of our own that is full in the middle of a push: what was not written is said, what was there before is there
//! still, and the same push completes when there is room.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Output};

use common::registry::{Auth, Registry};
use common::repository::Repository;
use common::{rhdh_pack, scrubbed};
use serde_json::{Value, json};

/// A plugin of 200 kB, packaged, with this in its configuration.
fn packaged(config: &str) -> Repository {
    let repository = Repository::new();
    let manifest = |name: &str| {
        json!({
            "name": name, "version": "1.0.0", "main": "dist/index.cjs.js", "files": ["dist"],
            "backstage": { "role": "backend-plugin", "pluginId": "todo" },
        })
        .to_string()
    };
    let mut random = fastrand::Rng::with_seed(7);
    let data: String = std::iter::repeat_with(|| random.alphanumeric()).take(200_000).collect();
    repository
        .write("plugins/todo/package.json", manifest("@acme/todo"))
        .write("plugins/todo/dist-dynamic/package.json", manifest("@acme/todo-dynamic"))
        .write("plugins/todo/dist-dynamic/dist/index.cjs.js", "exports.default = {};\n")
        .write("plugins/todo/dist-dynamic/dist/configSchema.json", "{}")
        .write("plugins/todo/dist-dynamic/dist/data.js", data)
        .config(format!("[defaults]\nexport = \"prebuilt\"\n{config}[plugins.todo]\npath = \"plugins/todo\"\n"));
    for command in [&["plan", "--all", "--channel", "release"][..], &["export"], &["package"]] {
        let output = rhdh_pack(repository.root()).args(command).output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    repository
}

/// Pushes while `folder` is a disk with the files that it has, and room for `kilobytes` more. What is on it afterwards
/// is copied to `after`.
fn push_on_full_disk(repository: &Repository, folder: &Path, kilobytes: u32, after: &Path) -> Output {
    on_full_disk(repository, folder, kilobytes, after).output().unwrap()
}

fn on_full_disk(repository: &Repository, folder: &Path, kilobytes: u32, after: &Path) -> Command {
    // The files are copied before the rest is filled, so that only the room that is left counts.
    let script = "set -e; cp -a \"$1/.\" \"$3/\"; mount -t tmpfs -o size=8m none \"$1\"; cp -a \"$3/.\" \"$1/\"; rm -rf \"$3\"
        free=$(df -k --output=avail \"$1\" | tail -1); fill=$((free - $2)); head -c \"${fill}k\" /dev/zero > \"$1/.fill\"
        code=0; \"$4\" push || code=$?; rm \"$1/.fill\"; cp -a \"$1\" \"$3\"; exit $code";
    let mut command: Command = scrubbed("unshare");
    let is_root = rustix::process::getuid().is_root();
    command.arg(if is_root { "--mount" } else { "--map-root-user" }).arg("--mount");
    let arguments: [OsString; 4] =
        [folder.into(), kilobytes.to_string().into(), after.into(), env!("CARGO_BIN_EXE_rhdh-pack").into()];
    command.args(["sh", "-c", script, "sh"]).args(arguments);
    fs_err::create_dir_all(folder).unwrap();
    fs_err::create_dir_all(after).unwrap();
    command.current_dir(repository.root()).env("HOME", repository.root());
    command
}

fn push(repository: &Repository) -> Output {
    rhdh_pack(repository.root()).arg("push").env("HOME", repository.root()).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn result(folder: &Path) -> Value {
    serde_json::from_slice(&fs_err::read(folder.join("result.json")).unwrap()).unwrap()
}

/// The names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_folder_without_room_has_nothing_new_in_it() {
    let config =
        "[registries.site]\ndir = \"public\"\n[channels.release]\nregistries = [\"site\"]\ntags = [\"{version}\"]\n";
    let repository = packaged(config);
    let elsewhere = tempfile::tempdir().unwrap();
    repository.write("public/other.txt", "somebody else's");
    let after = elsewhere.path().join("after");
    let output = push_on_full_disk(&repository, &repository.root().join("public"), 40, &after);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let error = &result(&repository.root().join(".rhdh-pack"))["plugins"][0]["error"];
    assert_eq!(error["code"], "folder", "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("copying `public/acme-todo") && message.contains("No space left on device"), "{message}");
    assert!(error["help"].as_str().unwrap().contains("make room"), "{error}");
    assert_eq!(names(&after), ["other.txt"]);

    let output = push(&repository);
    assert!(output.status.success(), "{}", said(&output));
    let there = names(&repository.root().join("public"));
    assert_eq!(there.len(), 4, "archive, integrity, list, and what was there: {there:?}");
}

#[test]
fn a_result_that_cannot_be_written_leaves_the_one_before_and_says_so() {
    let registry = Registry::start(Auth::Open);
    let config = format!(
        "[registries.cncf]\noci = \"{}/acme\"\n[channels.release]\nregistries = [\"cncf\"]\ntags = [\"{{version}}\"]\n",
        registry.host
    );
    let repository = packaged(&config);
    let elsewhere = tempfile::tempdir().unwrap();
    let after = elsewhere.path().join("after");
    let folder = repository.root().join(".rhdh-pack");
    let output = push_on_full_disk(&repository, &folder, 0, &after);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let text = said(&output).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("No space left on device") && text.contains("result.json"), "{text}");
    // Nobody is told less than what happened: the result is that of packaging, and what was pushed is there.
    assert_eq!(result(&after)["plugins"][0]["state"], "packaged");
    assert!(
        names(&after).iter().all(|name| !name.contains("tmp") && !name.starts_with(".result")),
        "{:?}",
        names(&after)
    );
    assert!(registry.stored("acme/acme-todo", "1.0.0").is_some());

    let output = push(&repository);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(result(&folder)["plugins"][0]["images"][0]["state"], "already-there");
}

#[test]
fn no_room_for_temporary_files_moves_no_tag() {
    let registry = Registry::start(Auth::Open);
    let config = format!(
        "[registries.cncf]\noci = \"{}/acme\"\n[channels.release]\nregistries = [\"cncf\"]\ntags = [\"{{version}}\"]\n\
         attach = [\"provenance\"]\n",
        registry.host
    );
    let repository = packaged(&config);
    let elsewhere = tempfile::tempdir().unwrap();
    let after = elsewhere.path().join("after");
    let folder = elsewhere.path().join("tmp");
    let output = on_full_disk(&repository, &folder, 0, &after).env("TMPDIR", &folder).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let error = &result(&repository.root().join(".rhdh-pack"))["plugins"][0]["error"];
    assert!(error["message"].as_str().unwrap().contains("No space left on device"), "{error}");
    assert!(error["help"].as_str().unwrap().contains("`TMPDIR`"), "{error}");
    assert_eq!(registry.stored("acme/acme-todo", "1.0.0"), None);
    let output = push(&repository);
    assert!(output.status.success(), "{}", said(&output));
}
