//! Exports in a small yarn workspace, with real node, npm and yarn (fetched from the npm registry). The RHDH CLI is a
//! stand-in of the workspace's own (`tests/fixtures/export/rhdh-cli`), which records how it was called: these tests are
//! about what rhdh-pack does around it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rhdh_pack::config;
use rhdh_pack::export::{CliVersion, Error, Exported, PluginToExport, Request, Variables, export};
use rhdh_pack::repo_path::RepoPath;
use rhdh_pack::ui::{Ui, Verbosity};
use rhdh_pack::workspace::discover;
use tokio_util::sync::CancellationToken;

/// A copy of the fixture, and a machine with nothing but node and npm on PATH.
struct Fixture {
    dir: tempfile::TempDir,
    cancel: CancellationToken,
    variables: Vec<(OsString, OsString)>,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/export");
        copy(&fixture, &dir.path().join("repository"));
        let programs = dir.path().join("programs");
        fs_err::create_dir(&programs).unwrap();
        for name in ["node", "npm"] {
            let path = std::env::var_os("PATH").unwrap();
            let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
            let found = found.unwrap_or_else(|| {
                panic!("no `{name}`: install Node.js 20 or later, such as by `apt-get install nodejs npm`")
            });
            std::os::unix::fs::symlink(found.canonicalize().unwrap(), programs.join(name)).unwrap();
        }
        // Shared by the tests, so that yarn is fetched once; also a test of the cache's locks.
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rhdh-pack-cache");
        let home = std::env::var_os("HOME").unwrap_or_default();
        let variables =
            vec![("PATH".into(), programs.into()), ("HOME".into(), home), ("RHDH_PACK_CACHE".into(), cache.into())];
        Self { dir, cancel: CancellationToken::new(), variables }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join("repository").join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs_err::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs_err::write(self.path(path), text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs_err::read_to_string(self.path(path)).unwrap()
    }

    fn lines(&self, path: &str) -> Vec<String> {
        let mut lines: Vec<_> = self.read(path).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.variables.retain(|(other, _)| other != name);
        self.variables.push((name.into(), value.into()));
    }

    /// What the stand-in recorded in this plugin's folder.
    fn record(&self, plugin: &str) -> serde_json::Value {
        serde_json::from_str(&self.read(&format!("{plugin}/record.json"))).unwrap()
    }

    async fn try_export(&self, change: impl FnOnce(&mut Request)) -> Result<Vec<Exported>, Error> {
        let root = self.path("");
        let config = config::load(&root.join("rhdh-plugins.toml")).unwrap();
        let folders: Vec<RepoPath> = config.plugins.values().map(|plugin| plugin.path.clone()).collect();
        let (workspaces, errors) = discover(&root, &folders);
        assert!(errors.is_empty(), "{errors:?}");
        let plugins = config.plugins.values().map(|plugin| {
            let workspace = workspaces.of(&plugin.path).unwrap();
            PluginToExport {
                id: plugin.id.clone(),
                path: plugin.path.clone(),
                role: workspace.packages[&plugin.path].manifest.role().unwrap(),
                config: plugin.clone(),
                workspace: workspace.path.clone(),
            }
        });
        let mut request = Request {
            output: root.join(".rhdh-pack"),
            root: root.clone(),
            plugins: plugins.collect(),
            cli: CliVersion::Release("1.9".into()),
            jobs: None,
            install: true,
            tsc: true,
            fail_fast: false,
            variables: self.variables.iter().cloned().collect::<Variables>(),
        };
        change(&mut request);
        export(&request, &workspaces, &Ui::new(Verbosity::Quiet), &self.cancel, &|_| {}).await
    }

    async fn export(&self, change: impl FnOnce(&mut Request)) -> Vec<Exported> {
        self.try_export(change).await.unwrap()
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.unwrap();
        let target = to.join(entry.path().strip_prefix(from).unwrap());
        if entry.file_type().is_dir() {
            fs_err::create_dir_all(target).unwrap();
        } else {
            fs_err::copy(entry.path(), target).unwrap();
        }
    }
}

fn code(exported: &Exported) -> &str {
    exported.outcome.as_ref().map_or_else(|failure| failure.code, |_| "ok")
}

fn codes(outcomes: &[Exported]) -> Vec<(&str, &str)> {
    outcomes.iter().map(|exported| (exported.id.as_str(), code(exported))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_plugins() {
    let mut fixture = Fixture::new();
    fixture.set("CI", "true");
    fixture.set("ACME_NPM_TOKEN", "npm-secret");
    fixture.set("GITHUB_TOKEN", "github-secret");
    fixture.set("RHDH_PACK_QUAY_PASSWORD", "quay-secret");
    let outcomes = fixture.export(|_| {}).await;
    assert_eq!(codes(&outcomes), [("todo", "ok"), ("todo-backend", "ok"), ("seed", "ok")], "{outcomes:#?}");
    let seed = outcomes[2].outcome.as_ref().unwrap();
    assert_eq!((seed.name.as_str(), seed.version.as_str()), ("@acme/plugin-todo-backend-module-seed-dynamic", "0.2.0"));
    assert_eq!(seed.path, fixture.path("plugins/todo-backend-module-seed/dist-dynamic"));

    // Each package is built once, though two plugins pack some of them; `extra` is no sibling, but named.
    let built = [
        "@acme/extra",
        "@acme/plugin-todo-backend",
        "@acme/plugin-todo-backend-module-seed",
        "@acme/plugin-todo-common",
        "@acme/plugin-todo-node",
    ];
    assert_eq!(fixture.lines("builds.txt"), built);
    assert_eq!(fixture.lines("tsc.txt"), ["tsc"]);
    for log in [
        "todo/export.log",
        "todo-backend/export.log",
        "@root/yarn-install.log",
        "@root/yarn-tsc.log",
        "@root/build-acme-plugin-todo-node.log",
    ] {
        assert!(fixture.path(".rhdh-pack/logs").join(log).is_file(), "{log}");
    }

    // Options are arguments of their own, untouched by any shell.
    let (todo, backend) = (fixture.record("plugins/todo"), fixture.record("plugins/todo-backend"));
    let scalprum = fixture.path("plugins/todo/scalprum.json").canonicalize().unwrap();
    assert_eq!(
        todo["args"],
        serde_json::json!(["plugin", "export", "--clean", format!("--scalprum-config={}", scalprum.display())])
    );
    assert_eq!(
        backend["args"],
        serde_json::json!([
            "plugin",
            "export",
            "--clean",
            "--no-build",
            "--embed-package=@acme/extra",
            "--embed-package=@acme/plugin-todo-node",
            "--shared-package=!/@backstage\\/x/",
            "--minify",
            "$(touch pwned) 'x'"
        ])
    );
    assert!(!fixture.path("plugins/todo-backend/pwned").exists());

    // The environment: no secret but the one that a private npm registry needs, and that for installs only.
    assert_eq!((&todo["env"]["CI"], &backend["env"]["CI"]), (&"false".into(), &"true".into()));
    assert_eq!((&todo["env"]["ACME_NPM_TOKEN"], &backend["env"]["ACME_NPM_TOKEN"]), (&"".into(), &"npm-secret".into()));
    for record in [&todo, &backend] {
        let text = record.to_string();
        assert!(!text.contains("github-secret") && !text.contains("quay-secret"), "{text}");
        assert_eq!(record["tmp"], true);
        let path = record["env"]["PATH"].as_str().unwrap();
        assert!(path.ends_with("/repository/node_modules/.bin"), "{path}");
    }
    assert_ne!(todo["env"]["TMPDIR"], backend["env"]["TMPDIR"]);
    assert!(!Path::new(todo["env"]["TMPDIR"].as_str().unwrap()).exists(), "temporary folders are removed");

    // Again, without what has been done.
    let again = fixture.export(|request| (request.install, request.tsc) = (false, false)).await;
    assert!(again.iter().all(|exported| exported.outcome.is_ok()), "{again:#?}");
    assert_eq!(fixture.lines("tsc.txt"), ["tsc"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_the_cli_embeds_by_a_rule_of_its_own() {
    let fixture = Fixture::new();
    fixture.write("rhdh-plugins.toml", "[plugins.todo-backend]\npath = \"plugins/todo-backend\"\n");
    // The stand-in packs `extra` although nothing names it.
    let outcomes = fixture.export(|_| {}).await;
    assert_eq!(codes(&outcomes), [("todo-backend", "ok")], "{outcomes:#?}");
    assert_eq!(
        fixture.lines("builds.txt"),
        ["@acme/extra", "@acme/plugin-todo-backend", "@acme/plugin-todo-common", "@acme/plugin-todo-node"]
    );
    assert!(fixture.path("plugins/todo-backend/dist-dynamic/node_modules/@acme/extra/dist/index.cjs.js").is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_failure_does_not_stop_the_others() {
    let fixture = Fixture::new();
    fixture.write("plugins/todo-backend/fail.txt", "the moon is full");
    let outcomes = fixture.export(|_| {}).await;
    assert_eq!(codes(&outcomes), [("todo", "ok"), ("todo-backend", "command-failed"), ("seed", "ok")], "{outcomes:#?}");
    let failure = outcomes[1].outcome.as_ref().unwrap_err();
    assert_eq!(failure.message, "`rhdh-cli plugin export` failed: Error: the moon is full");
    assert_eq!(failure.log_tail, ["doing this and that", "Error: the moon is full"]);
    assert_eq!(outcomes[1].log, Some(fixture.path(".rhdh-pack/logs/todo-backend/export.log")));
}

#[tokio::test(flavor = "multi_thread")]
async fn fail_fast_ends_the_others() {
    let fixture = Fixture::new();
    fixture.write("plugins/todo-backend/fail.txt", "the moon is full");
    fixture.write("plugins/todo/hang.txt", "");
    let outcomes = fixture.export(|request| (request.fail_fast, request.jobs) = (true, Some(2))).await;
    assert_eq!(code(&outcomes[0]), "cancelled");
    assert_eq!(code(&outcomes[1]), "command-failed");
    let pids = fs_err::read_to_string(fixture.path("plugins/todo/pids.txt")).unwrap_or_default();
    assert_nothing_runs(&pids.lines().map(str::to_owned).collect::<Vec<_>>()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_survives_a_cancelled_run() {
    let fixture = Fixture::new();
    let plugins = ["todo", "todo-backend", "todo-backend-module-seed"].map(|name| format!("plugins/{name}"));
    plugins.iter().for_each(|plugin| fixture.write(&format!("{plugin}/hang.txt"), ""));
    let (outcomes, ()) = tokio::join!(fixture.export(|request| request.jobs = Some(3)), async {
        let started = |plugin: &String| {
            fs_err::read_to_string(fixture.path(plugin).join("pids.txt")).unwrap_or_default().lines().count() == 2
        };
        while !plugins.iter().all(started) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        fixture.cancel.cancel();
    });
    assert!(outcomes.iter().all(|exported| code(exported) == "cancelled"), "{outcomes:#?}");
    for plugin in plugins {
        assert_nothing_runs(&fixture.lines(&format!("{plugin}/pids.txt"))).await;
    }
}

/// Waits until all these processes are gone: SIGKILL has been sent, but takes its time on a busy machine.
async fn assert_nothing_runs(pids: &[String]) {
    let runs = |pid: &String| {
        let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, state)| !state.trim_start().starts_with('Z'))
    };
    while pids.iter().any(runs) {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_step_fails_the_plugins_of_that_workspace_only() {
    let fixture = Fixture::new();
    // The same workspace once more, below the first one's root.
    for path in ["package.json", ".yarnrc.yml", "yarn.lock", "build.js", "plugins", "rhdh-cli"] {
        let (from, to) = (fixture.path(path), fixture.path("other").join(path));
        if from.is_dir() {
            copy(&from, &to)
        } else {
            fs_err::create_dir_all(to.parent().unwrap()).and_then(|()| fs_err::copy(from, to).map(drop)).unwrap()
        }
    }
    fixture.write("plugins/extra/package.json", "{ \"name\": \"@acme/extra\", \"version\": \"0.1.0\", \"dependencies\": { \"@acme/plugin-todo-common\": \"workspace:^\" } }");
    fixture.write("rhdh-plugins.toml", "[plugins.one]\npath = \"plugins/todo\"\n[plugins.two]\npath = \"plugins/todo-backend\"\n[plugins.other]\npath = \"other/plugins/todo\"\n");
    let outcomes = fixture.export(|_| {}).await;
    assert_eq!(
        codes(&outcomes),
        [("one", "lockfile-outdated"), ("two", "lockfile-outdated"), ("other", "ok")],
        "{outcomes:#?}"
    );
    assert_eq!(outcomes[1].log, Some(fixture.path(".rhdh-pack/logs/@root/yarn-install.log")));
    assert!(fixture.path(".rhdh-pack/logs/@other/yarn-install.log").is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_fetch_once_and_clean_up_after_a_killed_one() {
    let (mut one, mut two) = (Fixture::new(), Fixture::new());
    let cache = one.dir.path().join("cache");
    one.set("RHDH_PACK_CACHE", &cache);
    two.set("RHDH_PACK_CACHE", &cache);
    let killed = cache.join("yarnpkg-cli-dist/.4.18.1.killed");
    fs_err::create_dir_all(killed.join("node_modules/@yarnpkg/cli-dist")).unwrap();
    let (first, second) = tokio::join!(one.export(|_| {}), two.export(|_| {}));
    assert!(first.iter().chain(&second).all(|exported| exported.outcome.is_ok()), "{first:#?}{second:#?}");
    let installations = [&one, &two]
        .map(|fixture| fixture.path(".rhdh-pack/logs/@toolchain/npm-install-yarnpkg-cli-dist-4.18.1.log").is_file());
    assert_eq!(installations.iter().filter(|there| **there).count(), 1);
    let left: BTreeSet<_> =
        fs_err::read_dir(cache.join("yarnpkg-cli-dist")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, BTreeSet::from(["4.18.1".into(), "4.18.1.lock".into()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_fetched() {
    let mut fixture = Fixture::new();
    let manifest = fixture.read("package.json");
    fixture.write("package.json", &manifest.replace("4.18.1", "4.999.0"));
    let cache = fixture.dir.path().join("cache");
    fixture.set("RHDH_PACK_CACHE", &cache);
    let outcomes = fixture.export(|_| {}).await;
    let failure = outcomes[0].outcome.as_ref().unwrap_err();
    assert_eq!(failure.code, "package-not-found", "{failure:#?}");
    assert!(failure.message.contains("No matching version found for @yarnpkg/cli-dist@4.999.0"), "{failure:#?}");
    assert!(!cache.join("yarnpkg-cli-dist/4.999.0").exists());

    // No CLI of its own, none in the cache, and a registry that nobody answers at: that is the environment's fault.
    fixture.write("package.json", &manifest);
    fixture.set("npm_config_registry", "http://127.0.0.1:9");
    fixture.set("npm_config_fetch_retries", "0");
    fixture.set("RHDH_PACK_CACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("rhdh-pack-cache"));
    let error = fixture.try_export(|request| request.cli = CliVersion::Exact("0.0.1".into())).await.unwrap_err();
    assert!(matches!(&error, Error::RhdhCli { message, .. } if message.contains("cannot be reached")), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn yarn_classic_and_a_yarn_on_path_that_does_not_fit() {
    use std::os::unix::fs::PermissionsExt as _;
    let fixture = Fixture::new();
    let yarn = fixture.dir.path().join("programs/yarn");
    fs_err::write(&yarn, "#!/bin/sh\necho 4.18.1\n").unwrap();
    fs_err::set_permissions(&yarn, std::fs::Permissions::from_mode(0o755)).unwrap();
    let manifest = fixture.read("package.json").replace("yarn@4.18.1", "yarn@1.22.22").replace("workspace:^", "1.9.1");
    fixture.write("package.json", &manifest);
    fs_err::remove_file(fixture.path(".yarnrc.yml")).unwrap();
    fixture.write(
        "yarn.lock",
        "# THIS IS AN AUTOGENERATED FILE. DO NOT EDIT THIS FILE DIRECTLY.\n# yarn lockfile v1\n\n\n",
    );
    for name in ["todo", "todo-backend", "todo-backend-module-seed", "todo-node"] {
        let file = format!("plugins/{name}/package.json");
        fixture.write(&file, &fixture.read(&file).replace("workspace:^", "0.1.0"));
    }
    let outcomes = fixture.export(|_| {}).await;
    assert!(outcomes.iter().all(|exported| exported.outcome.is_ok()), "{outcomes:#?}");
    let log = fixture.read(".rhdh-pack/logs/@root/yarn-install.log");
    assert!(log.starts_with("yarn install v1.22.22"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn prebuilt_plugins_need_no_tools() {
    let mut fixture = Fixture::new();
    fixture.set("PATH", "");
    let toml = "[plugins.todo]\npath = \"plugins/todo\"\nexport = \"prebuilt\"\n[plugins.seed]\npath = \"plugins/todo-backend-module-seed\"\nexport = \"prebuilt\"\n";
    fixture.write("rhdh-plugins.toml", toml);
    fixture.write(
        "plugins/todo/dist-dynamic/package.json",
        r#"{"name":"@acme/plugin-todo","version":"0.1.0","backstage":{"role":"frontend-plugin"}}"#,
    );
    fixture.write("plugins/todo/dist-dynamic/dist-scalprum/plugin-manifest.json", "{}");
    let outcomes = fixture.export(|_| {}).await;
    assert_eq!(codes(&outcomes), [("todo", "ok"), ("seed", "dist-dynamic-missing")], "{outcomes:#?}");
    assert!(!fixture.path(".rhdh-pack").exists());
    // One that is not, and there is no node.
    fixture.write("rhdh-plugins.toml", &toml.replacen("export = \"prebuilt\"", "", 1));
    assert!(matches!(fixture.try_export(|_| {}).await, Err(Error::NodeMissing)));
}
