//! The action's own steps, run as GitHub runs them: environment, files for outputs, tool cache, the assets of a release
//! from a local server.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::http::{Server, answer};
use common::repository::Repository;
use sha2::{Digest as _, Sha256};

/// What stands in for the released binary: it writes down what it is given.
const BINARY: &str =
    "#!/bin/sh\nprintf '%s\\n' \"$@\" >\"$RUNNER_TEMP/arguments\"\nenv >\"$RUNNER_TEMP/environment\"\n";

/// A runner with the action checked out, and a release of it on a local server.
struct Runner {
    folder: tempfile::TempDir,
    server: Server,
    target: String,
}

impl Runner {
    /// The release has `served`, the action knows the checksum of [`BINARY`].
    fn new(served: &'static [u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["action/support", "temp", "tools", "work"] {
            fs_err::create_dir_all(folder.path().join(name)).unwrap();
        }
        let support = Path::new(env!("CARGO_MANIFEST_DIR")).join("support");
        for name in ["install.sh", "run.sh", "inputs.sh"] {
            fs_err::copy(support.join(name), folder.path().join("action/support").join(name)).unwrap();
        }
        let os = if cfg!(target_os = "macos") { "apple-darwin" } else { "unknown-linux-musl" };
        let target = format!("{}-{os}", std::env::consts::ARCH);
        let sum = hex::encode(Sha256::digest(BINARY));
        let checksums = format!("{{\n  \"version\": \"1.2.3\",\n  \"1.2.3/{target}\": \"{sum}\"\n}}\n");
        fs_err::write(folder.path().join("action/support/checksums.json"), checksums).unwrap();
        let path = format!("/v1.2.3/rhdh-pack-{target}");
        let server = Server::start(move |request| match request.target == path {
            true => [
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", served.len()).as_bytes(),
                served,
            ]
            .concat(),
            false => answer("404 Not Found", "", ""),
        });
        Self { folder, server, target }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A step of action.yml, with nothing but what GitHub gives it.
    fn step(&self, script: &str, variables: &[(&str, &str)]) -> Output {
        let defaults = [
            ("INPUT_COMMAND", "run"),
            ("INPUT_CONFIG", ""),
            ("INPUT_CHANNEL", ""),
            ("INPUT_PLUGINS", ""),
            ("INPUT_JOBS", ""),
            ("INPUT_GITHUB_TOKEN", "gh-token"),
            ("INPUT_COMMENT", "true"),
            ("INPUT_WORKING_DIRECTORY", "."),
            ("INPUT_REGISTRY_USERNAME", ""),
            ("INPUT_REGISTRY_PASSWORD", ""),
            ("INPUT_DRY_RUN", "false"),
            ("INPUT_VERSION", ""),
            ("RHDH_PACK_RETRY_SECONDS", "0"),
        ];
        Command::new("bash")
            .arg(self.path("action/support").join(script))
            .current_dir(self.path("work"))
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .envs([
                ("HOME", self.path("temp")),
                ("RUNNER_TEMP", self.path("temp")),
                ("RUNNER_TOOL_CACHE", self.path("tools")),
            ])
            .env("GITHUB_OUTPUT", self.path("temp/output"))
            .env("RHDH_PACK_DOWNLOAD_URL", format!("http://{}", self.server.host))
            .envs(defaults)
            .envs(variables.iter().copied())
            .output()
            .unwrap()
    }

    /// The binary that the first step hands to the second.
    fn installed(&self) -> String {
        let output = fs_err::read_to_string(self.path("temp/output")).unwrap_or_default();
        output.lines().filter_map(|line| line.strip_prefix("binary=")).next_back().unwrap_or_default().to_owned()
    }

    /// The second step with [`BINARY`]: its arguments and its environment.
    fn run(&self, variables: &[(&str, &str)]) -> (Vec<String>, String) {
        let binary = self.path("temp/rhdh-pack-binary");
        fs_err::write(&binary, BINARY).unwrap();
        fs_err::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).unwrap();
        let binary = binary.to_str().unwrap().to_owned();
        let output = self.step("run.sh", &[&[("BINARY", binary.as_str())], variables].concat());
        assert!(output.status.success(), "{}", said(&output));
        let arguments = fs_err::read_to_string(self.path("temp/arguments")).unwrap();
        let environment = fs_err::read_to_string(self.path("temp/environment")).unwrap();
        (arguments.lines().map(str::to_owned).collect(), environment)
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_binary_is_downloaded_once_and_then_taken_from_the_tool_cache() {
    let runner = Runner::new(BINARY.as_bytes());
    let output = runner.step("install.sh", &[]);
    assert!(output.status.success(), "{}", said(&output));
    let binary = runner.installed();
    assert_eq!(binary, runner.path(&format!("tools/rhdh-pack/1.2.3/{}/rhdh-pack", runner.target)).to_str().unwrap());
    assert_eq!(fs_err::read_to_string(&binary).unwrap(), BINARY);
    let again = runner.step("install.sh", &[("INPUT_VERSION", "v1.2.3")]);
    assert!(said(&again).contains("from the tool cache"), "{}", said(&again));
    assert_eq!(runner.server.received.lock().unwrap().len(), 1);

    // What stands in the cache is not believed either.
    fs_err::write(&binary, "#!/bin/sh\necho other\n").unwrap();
    assert!(runner.step("install.sh", &[]).status.success());
    assert_eq!(fs_err::read_to_string(&binary).unwrap(), BINARY);
}

#[test]
fn later_steps_find_the_program_in_their_path() {
    let runner = Runner::new(BINARY.as_bytes());
    let file = runner.path("temp/path");
    let output = runner.step("install.sh", &[("GITHUB_PATH", file.to_str().unwrap())]);
    assert!(output.status.success(), "{}", said(&output));
    let folder = fs_err::read_to_string(file).unwrap();
    assert_eq!(Path::new(&runner.installed()), Path::new(folder.trim()).join("rhdh-pack"));
    let output = runner.step("run.sh", &[("BINARY", &runner.installed()), ("INPUT_COMMAND", "install")]);
    assert!(output.status.success() && !runner.path("temp/arguments").exists(), "{}", said(&output));
}

#[test]
fn another_checksum_is_an_error_and_leaves_nothing() {
    let runner = Runner::new(b"#!/bin/sh\necho other\n");
    let output = runner.step("install.sh", &[]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("::error title=rhdh-pack::what was downloaded"), "{}", said(&output));
    assert_eq!(runner.installed(), "");
    let folder = runner.path(&format!("tools/rhdh-pack/1.2.3/{}", runner.target));
    assert_eq!(fs_err::read_dir(folder).unwrap().count(), 0);
}

#[test]
fn an_unknown_version_is_an_error_before_anything_is_downloaded() {
    let runner = Runner::new(BINARY.as_bytes());
    for version in ["1.2.4", "1.2.3/../../x", "$(touch pwned)", "latest", "--flag"] {
        let output = runner.step("install.sh", &[("INPUT_VERSION", version)]);
        assert_eq!(output.status.code(), Some(2), "{version}: {}", said(&output));
    }
    assert!(runner.server.received.lock().unwrap().is_empty());
    assert!(!runner.path("work/pwned").exists());
}

#[test]
fn a_release_that_cannot_be_reached_is_tried_again() {
    let runner = Runner::new(BINARY.as_bytes());
    let url = format!("http://{}/gone", runner.server.host);
    let output = runner.step("install.sh", &[("RHDH_PACK_DOWNLOAD_URL", &url)]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert_eq!(runner.server.received.lock().unwrap().len(), 4);
}

#[test]
fn a_runner_without_a_network_brings_its_own_binary() {
    let runner = Runner::new(BINARY.as_bytes());
    assert!(runner.step("install.sh", &[("RHDH_PACK_BINARY", "/bin/true")]).status.success());
    assert_eq!(runner.installed(), "/bin/true");
    assert_eq!(runner.step("install.sh", &[("RHDH_PACK_BINARY", "/nowhere")]).status.code(), Some(2));
    assert!(runner.server.received.lock().unwrap().is_empty());
}

#[test]
fn inputs_become_arguments() {
    let runner = Runner::new(BINARY.as_bytes());
    let out = format!("--out-dir={}", runner.path("temp/rhdh-pack").display());
    let (arguments, environment) = runner.run(&[
        ("INPUT_CONFIG", "it's a \"config\" $(touch pwned).toml"),
        ("INPUT_CHANNEL", "next"),
        ("INPUT_PLUGINS", " todo, todo-backend\nseed"),
        ("INPUT_JOBS", "2"),
        ("INPUT_DRY_RUN", "true"),
        ("INPUT_COMMENT", "false"),
    ]);
    assert_eq!(
        arguments,
        [
            out.as_str(),
            "--config=it's a \"config\" $(touch pwned).toml",
            "run",
            "--channel=next",
            "--plugin=todo",
            "--plugin=todo-backend",
            "--plugin=seed",
            "--jobs=2",
            "--dry-run",
        ]
    );
    assert!(environment.contains("RHDH_PACK_COMMENT=false\n") && environment.contains("GITHUB_TOKEN=gh-token\n"));
    assert!(!runner.path("work/pwned").exists());
    assert_eq!(runner.run(&[("INPUT_COMMAND", "report")]).0, [out.as_str(), "report"]);
}

#[test]
fn what_runs_the_repositorys_code_gets_no_secret() {
    let runner = Runner::new(BINARY.as_bytes());
    let secrets = [("INPUT_REGISTRY_USERNAME", "robot"), ("INPUT_REGISTRY_PASSWORD", "hunter2")];
    let (_, environment) = runner.run(&[&secrets[..], &[("INPUT_COMMAND", "build")]].concat());
    for secret in ["gh-token", "hunter2"] {
        assert!(!environment.contains(secret), "{environment}");
    }
    let (_, environment) = runner.run(&[&secrets[..], &[("INPUT_COMMAND", "push")]].concat());
    assert!(environment.contains("RHDH_PACK_PASSWORD=hunter2\n"), "{environment}");
}

#[test]
fn hostile_inputs_are_refused() {
    let runner = Runner::new(BINARY.as_bytes());
    for (name, value) in [
        ("INPUT_COMMAND", "run; touch pwned"),
        ("INPUT_COMMAND", "--version"),
        ("INPUT_CONFIG", "a\n::add-mask::b"),
        ("INPUT_CHANNEL", "--dry-run"),
        ("INPUT_CHANNEL", "$(touch pwned)"),
        ("INPUT_PLUGINS", "todo --all"),
        ("INPUT_PLUGINS", "`touch pwned`"),
        ("INPUT_JOBS", "1; touch pwned"),
        ("INPUT_COMMENT", "maybe"),
        ("INPUT_DRY_RUN", "\"; touch pwned; \""),
        ("INPUT_WORKING_DIRECTORY", "/nowhere"),
        ("INPUT_WORKING_DIRECTORY", "-P"),
    ] {
        let output = runner.step("run.sh", &[("BINARY", "/bin/true"), (name, value)]);
        assert_eq!(output.status.code(), Some(2), "{name}={value}: {}", said(&output));
        assert!(!said(&output).contains("\n::add-mask::"), "{}", said(&output));
    }
    assert!(!runner.path("work/pwned").exists());
}

/// The real program behind the real step: outputs, annotation with file and line, exit code.
#[test]
fn the_program_writes_what_github_takes() {
    let runner = Runner::new(BINARY.as_bytes());
    let repository = Repository::new();
    repository.write(
        "rhdh-plugins.toml",
        "[plugins.todo]\npath = \"plugins/todo\"\n\n[plugins.gone]\npath = \"plugins/gone\"\n",
    );
    let root = repository.root().to_str().unwrap();
    let variables = [
        ("BINARY", env!("CARGO_BIN_EXE_rhdh-pack")),
        ("INPUT_COMMAND", "plan"),
        ("INPUT_WORKING_DIRECTORY", root),
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_EVENT_NAME", "schedule"),
        ("GITHUB_WORKSPACE", root),
    ];
    let output = runner.step("run.sh", &variables);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("::error file=rhdh-plugins.toml,line=5,col="), "{}", said(&output));

    repository.write("rhdh-plugins.toml", "[plugins.todo]\npath = \"plugins/todo\"\n");
    let output = runner.step("run.sh", &variables);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let outputs = fs_err::read_to_string(runner.path("temp/output")).unwrap();
    assert!(outputs.contains("{\"include\":[{\"leg\":1,\"plugins\":\"todo\",\"bundles\":\"\"}]}"), "{outputs}");
    assert!(runner.path("temp/rhdh-pack/plan.json").is_file());
}

#[test]
fn the_release_enters_its_checksums() {
    let runner = Runner::new(BINARY.as_bytes());
    let support = runner.path("action/support");
    fs_err::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("support/checksums.sh"), support.join("checksums.sh"))
        .unwrap();
    let sums = format!("{}  rhdh-pack-{}\n{}  rhdh-pack.cdx.json\n", "a".repeat(64), runner.target, "b".repeat(64));
    fs_err::write(runner.path("SHA256SUMS"), sums).unwrap();
    let status =
        Command::new("bash").arg(support.join("checksums.sh")).arg("1.3.0").arg(runner.path("SHA256SUMS")).status();
    assert!(status.unwrap().success());
    let checksums = fs_err::read_to_string(support.join("checksums.json")).unwrap();
    let checksums: serde_json::Value = serde_json::from_str(&checksums).unwrap();
    assert_eq!(checksums["version"], "1.3.0");
    assert_eq!(checksums[format!("1.3.0/{}", runner.target)], "a".repeat(64));
    assert_eq!(checksums.as_object().unwrap().len(), 3, "{checksums}");
    // The table is one that the first step reads: another checksum, and so an error.
    assert_eq!(runner.step("install.sh", &[("INPUT_VERSION", "1.3.0")]).status.code(), Some(2));
}
