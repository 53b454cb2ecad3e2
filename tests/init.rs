//! `rhdh-pack init`: on repositories of every kind, and in a real pseudo-terminal.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::path::Path;
use std::process::Command;

use common::repository::Repository;
use common::rhdh_pack;
use rexpect::session::PtySession;

fn git(root: &Path, arguments: &[&str]) {
    let output = Command::new("git").args(arguments).current_dir(root).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Two workspaces at GitHub, one with a frontend, a backend and a module of one plugin, and one with what cannot be
/// built.
fn repository() -> Repository {
    let repository = Repository::new();
    let root = repository.root();
    fs_err::remove_dir_all(root.join(".git")).unwrap();
    git(root, &["init", "--quiet", "--initial-branch=trunk"]);
    git(root, &["remote", "add", "origin", "https://me:hunter2@github.com/Acme/Plugins.git"]);
    let package = |folder: &str, name: &str, version: &str, role: &str| {
        let text = format!(
            r#"{{ "name": "{name}", "version": "{version}", "backstage": {{ "role": "{role}", "pluginId": "todo" }} }}"#
        );
        repository.write(&format!("{folder}/package.json"), text);
    };
    package("plugins/todo", "@acme/plugin-todo", "1.0.0", "frontend-plugin");
    package("plugins/todo-backend-module-x", "@acme/plugin-todo-backend-module-x", "1.2.0", "backend-plugin-module");
    repository
        .write(
            "plugins/todo-backend/package.json",
            r#"{ "name": "@acme/plugin-todo-backend", "version": "1.0.0",
                 "backstage": { "role": "backend-plugin", "pluginId": "todo" },
                 "dependencies": { "@acme/lib": "workspace:^" } }"#,
        )
        .write("plugins/lib/package.json", r#"{ "name": "@acme/lib", "version": "1.0.0" }"#)
        .write("plugins/todo/app-config.dynamic.yaml", "dynamicPlugins: {}\n")
        .write("plugins/todo/dist-dynamic/package.json", r#"{ "backstage": { "role": "frontend-plugin" } }"#)
        .write("workspaces/more/package.json", r#"{ "name": "more", "workspaces": ["plugins/*"] }"#)
        .write("workspaces/more/yarn.lock", "")
        .package("workspaces/more/plugins/todo", "@acme/plugin-more", "1.0.0", "frontend-plugin")
        .package("workspaces/more/plugins/nameless", "@acme/nameless", "next", "frontend-plugin")
        .package("workspaces/other", "@acme/not-in-a-workspace", "1.0.0", "backend-plugin");
    repository
}

#[test]
fn a_repository_gets_a_configuration_that_passes_the_check() {
    let repository = repository();
    insta::assert_snapshot!("init", repository.run(&["init", "--yes", "--github"]));
    let read = |file: &str| fs_err::read_to_string(repository.root().join(file)).unwrap();
    insta::assert_snapshot!("init_config", read("rhdh-plugins.toml"));
    insta::assert_snapshot!("init_github", read(".github/workflows/rhdh-pack.yml"));
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("rhdh-plugins.schema.json");
    assert_eq!(read("rhdh-plugins.schema.json"), fs_err::read_to_string(schema).unwrap());
    let check = repository.run(&["check"]);
    assert!(check.starts_with("exit code: 0"), "{check}");
}

#[test]
fn a_repository_that_is_one_plugin() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = r#"{ "name": "@acme/plugin-x", "version": "1.0.0", "backstage": { "role": "backend-plugin" }, "workspaces": [] }"#;
    fs_err::write(folder.path().join("package.json"), manifest).unwrap();
    fs_err::write(folder.path().join("yarn.lock"), "").unwrap();
    let output = rhdh_pack(folder.path()).args(["init", "--yes"]).output().unwrap();
    let transcript = common::transcript(&output, folder.path());
    assert_eq!(output.status.code(), Some(0), "{transcript}");
    let config = fs_err::read_to_string(folder.path().join("rhdh-plugins.toml")).unwrap();
    assert!(config.contains("path = \".\"\n"), "{config}");
}

/// What is written has passed the check, whatever stands in the repository.
#[test]
fn packages_that_no_configuration_takes() {
    let repository = Repository::new();
    repository.write("plugins/flag/package.json", r#"{ "name": "--flag", "version": "1.0.0", "main": "x.js" }"#).write(
        "plugins/todo-backend/package.json",
        r#"{ "name": "@acme/plugin-todo-backend", "version": "1.0.0", "backstage": { "role": "backend-plugin" },
                 "dependencies": { "--flag": "workspace:^" } }"#,
    );
    let text = repository.run(&["init", "--yes"]);
    assert!(text.starts_with("exit code: 0"), "{text}");
}

#[test]
fn nothing_is_overwritten() {
    let repository = repository();
    repository.config("mine\n");
    insta::assert_snapshot!("init_again", repository.run(&["init", "--yes"]));
    assert_eq!(fs_err::read_to_string(repository.root().join("rhdh-plugins.toml")).unwrap(), "mine\n");

    repository.remove("rhdh-plugins.toml").write(".gitlab-ci.yml", "mine\n").write(".gitignore", "/.rhdh-pack/\n");
    insta::assert_snapshot!(
        "init_beside_pipeline",
        repository.run(&["init", "--yes", "--gitlab", "--registry", "quay.io/acme"])
    );
    assert_eq!(fs_err::read_to_string(repository.root().join(".gitlab-ci.yml")).unwrap(), "mine\n");
}

#[test]
fn what_cannot_be_written_is_said() {
    let repository = repository();
    insta::assert_snapshot!(
        "init_bad_registry",
        repository.run(&["init", "--yes", "--registry", "https://quay.io/acme"])
    );
    let empty = tempfile::tempdir().unwrap();
    let output = rhdh_pack(empty.path()).args(["init"]).output().unwrap();
    insta::assert_snapshot!("init_without_plugins", common::transcript(&output, empty.path()));
    assert!(fs_err::read_dir(empty.path()).unwrap().next().is_none());
}

/// The workflow may come later than the configuration, which stays as it is.
#[test]
fn a_workflow_for_a_configuration_that_is_there() {
    let repository = repository();
    let config = "[registries.quay]\noci = \"quay.io/acme\"\n[plugins.todo]\npath = \"plugins/todo\"\n";
    repository.config(config);
    insta::assert_snapshot!("init_workflow_only", repository.run(&["init", "--yes", "--github"]));
    let read = |file: &str| fs_err::read_to_string(repository.root().join(file)).unwrap();
    assert_eq!(read("rhdh-plugins.toml"), config);
    let workflow = read(".github/workflows/rhdh-pack.yml");
    assert!(workflow.contains("branches: [\"trunk\"]") && workflow.contains("secrets.REGISTRY_PASSWORD"), "{workflow}");
    repository.config("[plugin.todo]\n");
    assert!(repository.run(&["init", "--yes", "--github"]).starts_with("exit code: 2"));
}

/// Five workspaces with thirty plugins, some of which have the same folder's name or the same `pluginId`.
#[test]
fn a_large_repository() {
    let repository = Repository::new();
    fs_err::remove_dir_all(repository.root().join("plugins")).unwrap();
    for (file, text) in [("package.json", "{}"), ("backstage.json", "{}")] {
        repository.write(file, text);
    }
    for at in 0..5 {
        let workspace = format!("workspaces/w{at}");
        repository
            .write(
                &format!("{workspace}/package.json"),
                r#"{ "name": "w", "workspaces": { "packages": ["plugins/*"] } }"#,
            )
            .write(&format!("{workspace}/yarn.lock"), "")
            .write(&format!("{workspace}/backstage.json"), format!(r#"{{ "version": "1.4{at}.0" }}"#));
        for (folder, role) in [
            (format!("p{at}"), "frontend-plugin"),
            (format!("p{at}-backend"), "backend-plugin"),
            (format!("p{at}-backend-module-x"), "backend-plugin-module"),
            (format!("p{at}-tech"), "frontend-plugin-module"),
            (format!("p{at}-common"), "common-library"),
            ("shared".to_owned(), "frontend-plugin"),
            ("shared-backend".to_owned(), "backend-plugin"),
        ] {
            let id = if folder.starts_with("shared") { "shared".to_owned() } else { format!("p{at}") };
            let manifest = serde_json::json!({
                "name": format!("@acme/plugin-w{at}-{folder}"), "version": "1.0.0", "backstage": { "role": role, "pluginId": id },
            });
            repository.write(&format!("{workspace}/plugins/{folder}/package.json"), manifest.to_string());
        }
    }
    let output = repository.run(&["init", "--yes"]);
    assert!(output.contains("30 plugins, 10 bundles"), "{output}");
    let check = repository.run(&["check"]);
    assert!(check.contains("30 plugins, 10 bundles, 5 yarn workspaces"), "{check}");
    assert!(repository.run(&["plan"]).starts_with("exit code: 0"));
}

/// npm's and pnpm's repositories are told what is missing.
#[test]
fn repositories_of_other_package_managers() {
    let mut all = String::new();
    for file in ["package-lock.json", "pnpm-lock.yaml"] {
        let repository = Repository::new();
        repository.remove("yarn.lock").write(file, "");
        all.push_str(&format!("== {file}\n{}", repository.run(&["init", "--yes"])));
    }
    insta::assert_snapshot!("init_other_managers", all);
}

/// Every workflow is YAML, also with odd branches; without a registry and a release that is known, too.
#[test]
fn workflows_are_yaml() {
    let repository = Repository::new();
    fs_err::remove_dir_all(repository.root().join(".git")).unwrap();
    git(repository.root(), &["init", "--quiet", "--initial-branch=it's-#1{x}"]);
    let output = repository.run(&["init", "--yes", "--github", "--gitlab", "--registry", "quay.io/acme"]);
    assert!(output.starts_with("exit code: 0"), "{output}");
    let read = |file: &str| -> serde_json::Value {
        serde_yaml::from_str(&fs_err::read_to_string(repository.root().join(file)).unwrap()).unwrap()
    };
    let workflow = read(".github/workflows/rhdh-pack.yml");
    assert_eq!(workflow["on"]["push"]["branches"][0], "it's-#1{x}");
    let steps = workflow["jobs"]["rhdh-pack"]["steps"].as_array().unwrap();
    assert_eq!(steps.last().unwrap()["with"]["registry-username"], "${{ secrets.REGISTRY_USERNAME }}");
    assert!(read(".gitlab-ci.yml")["include"][0]["component"].is_string());
    assert!(repository.run(&["check"]).starts_with("exit code: 0"));
}

/// The sources of the example without its configuration: what a newcomer has.
#[test]
fn the_newcomers_first_minute() {
    let folder = tempfile::tempdir().unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/todo");
    for file in ["package.json", "yarn.lock", "backstage.json"] {
        fs_err::copy(example.join(file), folder.path().join(file)).unwrap();
    }
    for entry in fs_err::read_dir(example.join("plugins")).unwrap() {
        let plugin = entry.unwrap().path();
        let to = folder.path().join("plugins").join(plugin.file_name().unwrap());
        fs_err::create_dir_all(&to).unwrap();
        for file in ["package.json", "app-config.dynamic.yaml"] {
            if plugin.join(file).exists() {
                fs_err::copy(plugin.join(file), to.join(file)).unwrap();
            }
        }
    }
    for arguments in [&["init", "--yes"][..], &["check"], &["suggest"]] {
        let output = rhdh_pack(folder.path()).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", common::transcript(&output, folder.path()));
    }
    insta::assert_snapshot!("init_example", fs_err::read_to_string(folder.path().join("rhdh-plugins.toml")).unwrap());
}

/// The program in a pseudo-terminal.
fn dialogue(root: &Path) -> PtySession {
    let mut command = rhdh_pack(root);
    command.arg("init").env("NO_COLOR", "1").env("TERM", "xterm");
    rexpect::session::spawn_command(command, Some(20_000)).unwrap()
}

#[test]
fn a_terminal_is_asked() {
    let repository = repository();
    let mut terminal = dialogue(repository.root());
    terminal.exp_string("Which plugins?").unwrap();
    // The first one is left out; enter goes on.
    terminal.send(" \r").unwrap();
    terminal.flush().unwrap();
    terminal.exp_string("together in one image?").unwrap();
    terminal.send("\r").unwrap();
    terminal.flush().unwrap();
    terminal.exp_string("For which release").unwrap();
    terminal.send("\x1b[B\r").unwrap();
    terminal.flush().unwrap();
    terminal.exp_string("Where do images go?").unwrap();
    terminal.send("https://x\r").unwrap();
    terminal.flush().unwrap();
    terminal.exp_string("a host and a namespace").unwrap();
    terminal.send("\u{15}quay.io/acme\r").unwrap();
    terminal.flush().unwrap();
    terminal.exp_string("rhdh-pack.yml").unwrap();
    terminal.send("n").unwrap();
    terminal.flush().unwrap();
    terminal.exp_string("wrote `rhdh-plugins.toml`").unwrap();
    terminal.exp_eof().unwrap();
    let text = fs_err::read_to_string(repository.root().join("rhdh-plugins.toml")).unwrap();
    assert!(text.contains("version = \"1.10\"") && text.contains("oci = \"quay.io/acme\""), "{text}");
    assert!(!text.contains("path = \"plugins/todo\"\n"), "{text}");
    assert!(!repository.root().join(".github").exists());
    assert!(repository.run(&["check"]).starts_with("exit code: 0"));
}

#[test]
fn a_dialogue_can_be_left() {
    let repository = repository();
    let mut terminal = dialogue(repository.root());
    terminal.exp_string("Which plugins?").unwrap();
    terminal.send_control('c').unwrap();
    terminal.flush().unwrap();
    terminal.exp_string("nothing was written").unwrap();
    terminal.exp_eof().unwrap();
    assert!(!repository.root().join("rhdh-plugins.toml").exists());
}
