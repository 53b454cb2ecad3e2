//! The legs of a job matrix: each builds its share of one plan, and `report --merge` makes one result of what they
//! left.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use common::registry::{Auth, Registry};
use common::repository::Repository;
use serde_json::Value;

/// Two plugins with their own builds, for the registry at `host`.
fn repository(host: &str) -> Repository {
    let repository = Repository::new();
    for (folder, name, role) in [
        ("plugins/todo", "@acme/plugin-todo", "backend-plugin"),
        ("plugins/todo-backend", "@acme/plugin-todo-backend", "backend-plugin"),
    ] {
        let dist = format!("{folder}/dist-dynamic");
        repository.package(folder, name, "1.0.0", role).package(&dist, &format!("{name}-dynamic"), "1.0.0", role);
        let manifest = fs_err::read(repository.root().join(&dist).join("package.json")).unwrap();
        let mut manifest: Value = serde_json::from_slice(&manifest).unwrap();
        manifest["main"] = "dist/index.cjs.js".into();
        repository
            .write(&format!("{dist}/package.json"), manifest.to_string())
            .write(&format!("{dist}/dist/index.cjs.js"), "exports.default = {};\n");
    }
    let config = format!(
        "[defaults]\nexport = \"prebuilt\"\nregistries = [\"quay\", \"site\"]\n[registries.quay]\noci = \"{host}/acme\"\n\
         [registries.site]\ndir = \"public\"\n[channels.next]\ntags = [\"next\"]\noverwrite = true\nattach = [\"sbom\"]\n\
         [plugins.todo]\npath = \"plugins/todo\"\n[plugins.todo-backend]\npath = \"plugins/todo-backend\"\n"
    );
    repository.write("rhdh-plugins.toml", config);
    repository.write("backstage.json", r#"{ "version": "1.42.5" }"#);
    repository
}

/// Runs the program; its exit code and what it said.
fn run(repository: &Repository, arguments: &[&str]) -> (i32, String) {
    let output = common::rhdh_pack(repository.root()).args(arguments).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The plan, and a leg for each of `plugins`, in the folders `leg-0`, `leg-1`, …
fn build(repository: &Repository, plugins: &[&str]) {
    let (code, said) = run(repository, &["--out-dir=planned", "plan", "--all", "--channel", "next"]);
    assert_eq!(code, 0, "{said}");
    for (number, plugin) in plugins.iter().enumerate() {
        let out = format!("--out-dir=leg-{number}");
        let plan = fs_err::read(repository.root().join("planned/plan.json")).unwrap();
        repository.write(&format!("leg-{number}/plan.json"), plan);
        for stage in [&["export", "--plugin", plugin][..], &["package"]] {
            let (code, said) = run(repository, &[&[out.as_str()], stage].concat());
            assert_eq!(code, 0, "{said}");
        }
    }
}

fn result(repository: &Repository) -> Value {
    serde_json::from_slice(&fs_err::read(repository.root().join("whole/result.json")).unwrap()).unwrap()
}

#[test]
fn what_the_legs_left_is_merged_tried_and_pushed() {
    let registry = Registry::start(Auth::Open);
    let repository = repository(&registry.host);
    build(&repository, &["todo", "todo-backend"]);
    let (code, said) = run(&repository, &["--out-dir=whole", "report", "--merge", "leg-0", "leg-1"]);
    assert_eq!(code, 0, "{said}");
    let merged = result(&repository);
    assert_eq!(merged["outcome"], "success");
    assert_eq!(merged["plugins"][1]["reasons"][0]["kind"], "all", "{merged}");

    // A dry run says where everything would go, and writes nothing there.
    let (code, said) = run(&repository, &["--out-dir=whole", "push", "--dry-run"]);
    assert_eq!(code, 0, "{said}");
    let tried = result(&repository);
    assert_eq!(tried["dry_run"], true);
    let digest = tried["plugins"][0]["image"]["digest"].as_str().unwrap();
    let reference = format!("{}/acme/acme-plugin-todo@{digest}", registry.host);
    assert_eq!(tried["plugins"][0]["would_push"][0], reference.as_str());
    assert!(!registry.data.join("docker/registry/v2/repositories").exists());
    assert!(!repository.root().join("public").exists());

    let (code, said) = run(&repository, &["--out-dir=whole", "push"]);
    assert_eq!(code, 0, "{said}");
    let pushed = result(&repository);
    assert_eq!(pushed["plugins"][0]["images"][0]["reference"], reference.as_str());
    assert_eq!(pushed["plugins"][1]["state"], "published");
    assert_eq!(pushed["plugins"][1]["images"][0]["attached"][0]["document"], "sbom");
    assert!(repository.root().join("public/acme-plugin-todo-dynamic-1.0.0.tgz").is_file());
}

#[test]
fn a_leg_that_is_missing_is_a_failure() {
    let repository = repository("127.0.0.1:1");
    build(&repository, &["todo"]);
    let (code, said) = run(&repository, &["--out-dir=whole", "report", "--merge", "leg-0"]);
    assert_eq!(code, 1, "{said}");
    assert_eq!(result(&repository)["plugins"][1]["error"]["code"], "no-leg");
    // So is one whose machine was lost, of which only a log was uploaded.
    repository.write("leg-1/logs/todo-backend.log", "");
    let (code, said) = run(&repository, &["--out-dir=whole", "report", "--merge", "leg-0", "leg-1"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("the leg in `leg-1` left no `result.json`"), "{said}");
    let merged = result(&repository);
    assert_eq!(
        (merged["plugins"][0]["state"].as_str(), merged["plugins"][1]["error"]["code"].as_str()),
        (Some("packaged"), Some("no-leg"))
    );
    // Where none left a result, there is nothing to make one of.
    let (code, said) = run(&repository, &["--out-dir=whole", "report", "--merge", "leg-1"]);
    assert_eq!(code, 2, "{said}");
}

#[test]
fn what_was_changed_after_a_leg_ended_is_refused() {
    let repository = repository("127.0.0.1:1");
    build(&repository, &["todo", "todo-backend"]);
    let leg = repository.root().join("leg-0");
    let layer = |path: &std::path::Path| fs_err::metadata(path).unwrap().len();
    let blobs = fs_err::read_dir(leg.join("oci/blobs/sha256")).unwrap().map(|entry| entry.unwrap().path());
    let largest = blobs.max_by_key(|path| layer(path)).unwrap();
    let right = fs_err::read(&largest).unwrap();
    fs_err::write(&largest, b"something else").unwrap();
    let (code, said) = run(&repository, &["--out-dir=whole", "report", "--merge", "leg-0", "leg-1"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("its digest is"), "{said}");

    fs_err::remove_file(&largest).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &largest).unwrap();
    assert_eq!(run(&repository, &["--out-dir=whole", "report", "--merge", "leg-0", "leg-1"]).0, 2);
    fs_err::remove_file(&largest).unwrap();
    fs_err::write(&largest, right).unwrap();

    let sbom = leg.join("sbom/acme-plugin-todo.cdx.json");
    let right = fs_err::read(&sbom).unwrap();
    fs_err::write(&sbom, right.iter().rev().copied().collect::<Vec<u8>>()).unwrap();
    let (code, said) = run(&repository, &["--out-dir=whole", "report", "--merge", "leg-0", "leg-1"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("its digest is"), "{said}");
    fs_err::write(&sbom, right).unwrap();

    let file = leg.join("result.json");
    let text = fs_err::read_to_string(&file).unwrap();
    fs_err::write(&file, text.replace("tgz/acme-plugin-todo", "../acme-plugin-todo")).unwrap();
    let (code, said) = run(&repository, &["--out-dir=whole", "report", "--merge", "leg-0", "leg-1"]);
    assert_eq!(code, 2, "{said}");

    // An image may have every right digest, and still not go where the configuration does not send it.
    fs_err::write(&file, text.replace("\"acme-plugin-todo\"", "\"acme-plugin-other\"")).unwrap();
    assert_eq!(run(&repository, &["--out-dir=whole", "report", "--merge", "leg-0", "leg-1"]).0, 0);
    let (code, said) = run(&repository, &["--out-dir=whole", "push", "--dry-run"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("acme-plugin-other"), "{said}");

    fs_err::write(&file, text.replace("\"channel\": \"next\"", "\"channel\": \"other\"")).unwrap();
    let (code, said) = run(&repository, &["--out-dir=whole", "report", "--merge", "leg-0", "leg-1"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("not of one run"), "{said}");
}

/// What could not be packaged is not what was packaged before.
#[test]
fn what_failed_to_be_packaged_is_not_pushed() {
    let repository = repository("127.0.0.1:1");
    let config = fs_err::read_to_string(repository.root().join("rhdh-plugins.toml")).unwrap();
    repository.write("rhdh-plugins.toml", config.replace("[\"quay\", \"site\"]", "[\"site\"]"));
    for stage in [&["plan", "--all", "--channel", "next"][..], &["export"], &["package"]] {
        let (code, said) = run(&repository, &[&["--out-dir=whole"], stage].concat());
        assert_eq!(code, 0, "{said}");
    }
    fs_err::remove_file(repository.root().join("plugins/todo/dist-dynamic/dist/index.cjs.js")).unwrap();
    let (code, said) = run(&repository, &["--out-dir=whole", "package"]);
    assert_eq!(code, 1, "{said}");
    let (code, said) = run(&repository, &["--out-dir=whole", "push"]);
    assert_eq!(code, 1, "{said}");
    let pushed = result(&repository);
    assert_eq!(
        (pushed["plugins"][0]["state"].as_str(), pushed["plugins"][1]["state"].as_str()),
        (Some("failed"), Some("published"))
    );
    assert!(!repository.root().join("public/acme-plugin-todo-dynamic-1.0.0.tgz").exists());
    assert!(repository.root().join("public/acme-plugin-todo-backend-dynamic-1.0.0.tgz").exists());
}

/// What a channel's own registries take is made, whatever the plugin's take.
#[test]
fn a_channel_that_goes_elsewhere() {
    let registry = Registry::start(Auth::Open);
    let repository = repository(&registry.host);
    let config = fs_err::read_to_string(repository.root().join("rhdh-plugins.toml")).unwrap();
    let config = config.replace("[\"quay\", \"site\"]", "[\"quay\"]");
    repository.write("rhdh-plugins.toml", format!("{config}[channels.files]\nregistries = [\"site\"]\n"));
    // Packaged for another channel, it is not what this one takes.
    let (code, said) = run(&repository, &["--out-dir=whole", "run", "--all", "--channel", "next"]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = run(&repository, &["--out-dir=whole", "push", "--channel", "files"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("todo: nothing that the registry `site` takes was packaged"), "{said}");
    let (code, said) = run(&repository, &["--out-dir=whole", "run", "--all", "--channel", "files"]);
    assert_eq!(code, 0, "{said}");
    assert!(repository.root().join("public/acme-plugin-todo-dynamic-1.0.0.tgz").is_file(), "{said}");
}
