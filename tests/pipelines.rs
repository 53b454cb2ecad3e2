//! The reusable workflow, the release workflow and the GitLab components, as far as they can be run without GitHub and
//! GitLab: their own steps and scripts, taken from the files, with the program itself and a real registry.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
#![allow(clippy::print_stdout, reason = "what a job said is shown where its test fails")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::registry::{Auth, Registry};
use common::repository::Repository;
use serde_yaml::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn yaml(file: &str) -> Vec<Value> {
    let text = fs_err::read_to_string(root().join(file)).unwrap();
    serde_yaml::Deserializer::from_str(&text)
        .map(|document| serde::Deserialize::deserialize(document).unwrap())
        .collect()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Two plugins with their own builds and a bundle, for the registry at `host`.
fn repository(host: &str) -> Repository {
    let repository = Repository::new();
    for name in ["todo", "todo-backend"] {
        let folder = format!("plugins/{name}");
        let package = format!("@acme/plugin-{name}");
        let manifest = serde_json::json!({
            "name": format!("{package}-dynamic"), "version": "1.0.0", "main": "dist/index.cjs.js",
            "backstage": { "role": "backend-plugin" },
        });
        repository
            .package(&folder, &package, "1.0.0", "backend-plugin")
            .write(&format!("{folder}/dist-dynamic/package.json"), manifest.to_string())
            .write(&format!("{folder}/dist-dynamic/dist/index.cjs.js"), "exports.default = {};\n");
    }
    repository.config(format!(
        "[defaults]\nexport = \"prebuilt\"\nregistries = [\"quay\"]\n[registries.quay]\noci = \"{host}/acme\"\n\
         [channels.pr]\non = \"pull-request\"\ntags = [\"pr_{{pr}}__{{version}}\"]\noverwrite = true\n\
         [channels.next]\non = {{ branch = \"main\" }}\ntags = [\"next\"]\noverwrite = true\n\
         [plugins.todo]\npath = \"plugins/todo\"\n[plugins.todo-backend]\npath = \"plugins/todo-backend\"\n\
         [bundles.all]\nplugins = [\"todo\", \"todo-backend\"]\n"
    ));
    repository
}

/// A run of `.github/workflows/rhdh-pack.yml`: what its jobs hand to each other.
struct Workflow {
    jobs: Value,
    repository: Repository,
    folder: tempfile::TempDir,
    event: Vec<(&'static str, &'static str)>,
    /// What expressions stand for.
    values: BTreeMap<String, String>,
}

impl Workflow {
    fn new(repository: Repository, event: &[(&'static str, &'static str)]) -> Self {
        let workflow = yaml(".github/workflows/rhdh-pack.yml").remove(0);
        let mut values = BTreeMap::new();
        for (name, input) in workflow["on"]["workflow_call"]["inputs"].as_mapping().unwrap() {
            let default = match &input["default"] {
                Value::String(text) => text.clone(),
                Value::Bool(value) => value.to_string(),
                other => panic!("{other:?}"),
            };
            values.insert(format!("inputs.{}", name.as_str().unwrap()), default);
        }
        let folder = tempfile::tempdir().unwrap();
        Self { jobs: workflow["jobs"].clone(), repository, folder, event: event.to_vec(), values }
    }

    /// The text with its expressions replaced by what they stand for.
    fn evaluate(&self, text: &str, job: &BTreeMap<String, String>) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${{") {
            let (expression, after) = after.split_once("}}").unwrap();
            let expression = expression.trim();
            let value = job.get(expression).or_else(|| self.values.get(expression));
            out.push_str(before);
            out.push_str(value.unwrap_or_else(|| panic!("nobody knows `{expression}`")));
            rest = after;
        }
        out + rest
    }

    /// Runs a job on a machine of its own; the outputs of its steps.
    fn job(&mut self, name: &str, more: &[(&str, &str)]) -> (i32, BTreeMap<String, String>) {
        let machine = tempfile::Builder::new().prefix(name).tempdir_in(self.folder.path()).unwrap();
        let temp = machine.path().join("temp");
        fs_err::create_dir(&temp).unwrap();
        let mut job: BTreeMap<String, String> =
            more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        job.insert("runner.temp".to_owned(), temp.display().to_string());
        let mut outputs = BTreeMap::new();
        let mut status = 0;
        for step in self.jobs[name]["steps"].as_sequence().unwrap() {
            let uses = step["uses"].as_str().unwrap();
            if status != 0 && step["if"].as_str() != Some("always()") {
                continue;
            }
            let with: BTreeMap<String, String> = step["with"]
                .as_mapping()
                .map(|with| {
                    let text = |value: &Value| match value {
                        Value::String(text) => self.evaluate(text, &job),
                        other => serde_yaml::to_string(other).unwrap().trim().to_owned(),
                    };
                    with.iter().map(|(key, value)| (key.as_str().unwrap().to_owned(), text(value))).collect()
                })
                .unwrap_or_default();
            match uses.split('@').next().unwrap() {
                "actions/checkout" => assert_eq!(with["persist-credentials"], "false", "{name}"),
                "actions/setup-node" => {}
                "actions/upload-artifact" => self.upload(&with, &temp),
                "actions/download-artifact" => self.download(&with),
                "org/rhdh-pack-action" => {
                    let env: BTreeMap<String, String> = step["env"]
                        .as_mapping()
                        .map(|env| {
                            env.iter()
                                .map(|(key, value)| {
                                    (key.as_str().unwrap().to_owned(), self.evaluate(value.as_str().unwrap(), &job))
                                })
                                .collect()
                        })
                        .unwrap_or_default();
                    status = self.action(&with, &env, &temp);
                    let id = step["id"].as_str().unwrap_or_default();
                    for (output, value) in read_outputs(&temp.join("output")) {
                        outputs.insert(format!("steps.{id}.outputs.{output}"), value);
                    }
                }
                other => panic!("nobody knows `{other}`"),
            }
        }
        let declared = self.jobs[name]["outputs"].as_mapping().cloned().unwrap_or_default();
        let mut handed = BTreeMap::new();
        for (output, expression) in declared {
            let value = self.evaluate(expression.as_str().unwrap(), &outputs);
            self.values.insert(format!("needs.{name}.outputs.{}", output.as_str().unwrap()), value.clone());
            handed.insert(output.as_str().unwrap().to_owned(), value);
        }
        (status, handed)
    }

    /// The second step of action.yml, as the runner gives it the inputs.
    fn action(&self, with: &BTreeMap<String, String>, env: &BTreeMap<String, String>, temp: &Path) -> i32 {
        let action = yaml("action.yml").remove(0);
        let step = &action["runs"]["steps"][1];
        let mut command = common::scrubbed("bash");
        for (name, expression) in step["env"].as_mapping().unwrap() {
            let name = name.as_str().unwrap();
            let value = match expression.as_str().unwrap().trim_start_matches("${{ ").trim_end_matches(" }}") {
                "steps.install.outputs.binary" => env!("CARGO_BIN_EXE_rhdh-pack").to_owned(),
                "inputs.github-token" if !with.contains_key("github-token") => String::new(),
                input => {
                    let input = input.strip_prefix("inputs.").unwrap();
                    let default =
                        action["inputs"][input]["default"].as_str().unwrap_or_else(|| panic!("no input `{input}`"));
                    with.get(input).cloned().unwrap_or_else(|| default.to_owned())
                }
            };
            command.env(name, value);
        }
        let root = self.repository.root();
        command
            .arg("-c")
            .arg(step["run"].as_str().unwrap())
            .current_dir(root)
            .envs(self.event.iter().copied())
            .envs(env)
            .env("CI", "true")
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_ACTION_PATH", self::root())
            .env("GITHUB_WORKSPACE", root)
            .env("GITHUB_OUTPUT", temp.join("output"))
            .env("GITHUB_STEP_SUMMARY", temp.join("summary"))
            .env("RUNNER_TEMP", temp);
        let output = command.output().unwrap();
        println!("{with:?}\n{}", said(&output));
        output.status.code().unwrap()
    }

    fn upload(&self, with: &BTreeMap<String, String>, temp: &Path) {
        let to = self.folder.path().join("artifacts").join(&with["name"]);
        let paths: Vec<&Path> = with["path"].lines().map(Path::new).filter(|path| path.exists()).collect();
        assert!(!paths.is_empty() || !with.contains_key("if-no-files-found"), "{with:?}");
        for path in paths {
            // Below the folder that all paths have in common.
            copy(path, &to.join(path.strip_prefix(temp.join("rhdh-pack")).unwrap()));
        }
    }

    fn download(&self, with: &BTreeMap<String, String>) {
        let artifacts = self.folder.path().join("artifacts");
        if let Some(name) = with.get("name") {
            copy(&artifacts.join(name), Path::new(&with["path"]));
            return;
        }
        let prefix = with["pattern"].strip_suffix('*').unwrap();
        for entry in fs_err::read_dir(artifacts).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name().to_str().unwrap().starts_with(prefix) {
                copy(&entry.path(), &Path::new(&with["path"]).join(entry.file_name()));
            }
        }
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.unwrap();
        let target = to.join(entry.path().strip_prefix(from).unwrap());
        let target = if entry.path() == from { to.to_owned() } else { target };
        if entry.file_type().is_dir() {
            fs_err::create_dir_all(&target).unwrap();
        } else {
            fs_err::create_dir_all(target.parent().unwrap()).unwrap();
            fs_err::copy(entry.path(), &target).unwrap();
        }
    }
}

/// The last value of each output in a file as GitHub reads it.
fn read_outputs(file: &Path) -> BTreeMap<String, String> {
    let text = fs_err::read_to_string(file).unwrap_or_default();
    let mut lines = text.lines();
    let mut outputs = BTreeMap::new();
    while let Some(line) = lines.next() {
        let (name, delimiter) = line.split_once("<<").unwrap();
        let value: Vec<&str> = lines.by_ref().take_while(|line| *line != delimiter).collect();
        outputs.insert(name.to_owned(), value.join("\n"));
    }
    outputs
}

/// Goes through all jobs; the digests that the workflow hands over, and the summary of the job that pushes.
fn whole_workflow(workflow: &mut Workflow, dry_run: bool) -> serde_json::Value {
    let (status, planned) = workflow.job("plan", &[]);
    assert_eq!((status, planned["changed"].as_str()), (0, "true"));
    let matrix: serde_json::Value = serde_json::from_str(&planned["matrix"]).unwrap();
    let legs = matrix["include"].as_array().unwrap().clone();
    assert!(!legs.is_empty());
    for leg in legs {
        let text = |name: &str| match &leg[name] {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let (status, _) = workflow.job("build", &[("matrix.plugins", &text("plugins")), ("matrix.leg", &text("leg"))]);
        assert_eq!(status, 0);
    }
    let fork = "!inputs.push || github.event.pull_request.head.repo.fork == true";
    let secrets = [
        ("secrets.registry-username", ""),
        ("secrets.registry-password", ""),
        (fork, if dry_run { "true" } else { "false" }),
    ];
    let (status, pushed) = workflow.job("push", &secrets);
    assert_eq!(status, 0);
    let (status, _) = workflow.job("report", &[]);
    assert_eq!(status, 0);
    assert_eq!(pushed["published"].lines().count(), if dry_run { 0 } else { 3 }, "{pushed:?}");
    serde_json::from_str(&pushed["digests"]).unwrap()
}

#[test]
fn the_reusable_workflow_goes_from_the_plan_to_the_registry() {
    let registry = Registry::start(Auth::Open);
    let event = [("GITHUB_EVENT_NAME", "push"), ("GITHUB_REF", "refs/heads/main")];
    let mut workflow = Workflow::new(repository(&registry.host), &event);
    let digests = whole_workflow(&mut workflow, false);
    for (id, image) in [("todo", "acme-plugin-todo"), ("todo-backend", "acme-plugin-todo-backend")] {
        let found = registry.skopeo_digest(&format!("acme/{image}"), "next", &[]);
        assert_eq!(found.as_deref(), digests[id].as_str());
    }
    assert!(registry.skopeo_digest("acme/all", "next", &[]).is_some());
}

/// Adds a second registry, which has nothing of what stands in the first.
fn add_registry(repository: &Repository, host: &str) {
    let file = repository.root().join("rhdh-plugins.toml");
    let config = fs_err::read_to_string(&file).unwrap().replace("[\"quay\"]", "[\"quay\", \"second\"]");
    fs_err::write(file, format!("{config}[registries.second]\noci = \"{host}/acme\"\n")).unwrap();
}

#[test]
fn the_reusable_workflow_copies_without_building() {
    let (registry, second) = (Registry::start(Auth::Open), Registry::start(Auth::Open));
    let event = [("GITHUB_EVENT_NAME", "push"), ("GITHUB_REF", "refs/heads/main")];
    let mut workflow = Workflow::new(repository(&registry.host), &event);
    whole_workflow(&mut workflow, false);
    add_registry(&workflow.repository, &second.host);
    fs_err::remove_dir_all(workflow.folder.path().join("artifacts")).unwrap();
    let (status, planned) = workflow.job("plan", &[]);
    assert_eq!((status, planned["count"].as_str()), (0, "3"));
    // GitHub would refuse this matrix: the job that builds is left out.
    let builds = workflow.jobs["build"]["if"].as_str().unwrap();
    assert_eq!(builds, format!("needs.plan.outputs.matrix != '{}'", planned["matrix"]));
    let fork = "!inputs.push || github.event.pull_request.head.repo.fork == true";
    let secrets = [("secrets.registry-username", ""), ("secrets.registry-password", ""), (fork, "false")];
    let (status, pushed) = workflow.job("push", &secrets);
    assert_eq!((status, pushed["published"].lines().count()), (0, 6), "{pushed:?}");
    for image in ["acme-plugin-todo", "acme-plugin-todo-backend", "all"] {
        let digest = |registry: &Registry| registry.skopeo_digest(&format!("acme/{image}"), "next", &[]);
        assert!(digest(&second).is_some_and(|copied| Some(copied) == digest(&registry)), "{image}");
    }
}

#[test]
fn the_reusable_workflow_pushes_nothing_of_a_fork() {
    let registry = Registry::start(Auth::Open);
    let event = [("GITHUB_EVENT_NAME", "pull_request"), ("GITHUB_REF", "refs/pull/17/merge")];
    let mut workflow = Workflow::new(repository(&registry.host), &event);
    let digests = whole_workflow(&mut workflow, true);
    assert!(digests["todo"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(registry.skopeo_digest("acme/acme-plugin-todo", "pr_17__1.0.0", &[]), None);
}

/// A step of the release workflow, by a part of its script.
fn release_step(job: &str, part: &str) -> String {
    let workflow = yaml(".github/workflows/release.yml").remove(0);
    let steps = workflow["jobs"][job]["steps"].as_sequence().unwrap();
    let scripts = steps.iter().filter_map(|step| step["run"].as_str());
    scripts
        .filter(|script| script.contains(part))
        .map(str::to_owned)
        .next()
        .unwrap_or_else(|| panic!("no `{part}` in {job}"))
}

/// A script as GitHub runs it.
fn bash(folder: &Path, script: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = common::scrubbed("bash");
    command.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", script]).current_dir(folder);
    command.envs(variables.iter().copied()).output().unwrap()
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = common::scrubbed("git")
        .current_dir(folder)
        .args(["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_release_enters_its_checksums_tags_itself_and_moves_the_major_tag() {
    let folder = tempfile::tempdir().unwrap();
    let (origin, work) = (folder.path().join("origin.git"), folder.path().join("work"));
    fs_err::create_dir_all(work.join("src")).unwrap();
    git(folder.path(), &["init", "--quiet", "--bare", "--initial-branch=main", "origin.git"]);
    git(&work, &["init", "--quiet", "--initial-branch=main"]);
    fs_err::write(
        work.join("Cargo.toml"),
        "[package]\nname = \"rhdh-pack\"\nversion = \"1.4.0\"\nedition = \"2024\"\n",
    )
    .unwrap();
    fs_err::write(work.join("src/main.rs"), "fn main() {}\n").unwrap();
    copy(&root().join("support"), &work.join("support"));
    assert!(bash(&work, "cargo generate-lockfile --offline", &[]).status.success());
    git(&work, &["add", "--all"]);
    git(&work, &["commit", "--quiet", "--message", "first"]);
    git(&work, &["remote", "add", "origin", origin.to_str().unwrap()]);
    git(&work, &["tag", "v1"]);
    git(&work, &["push", "--quiet", "origin", "main", "v1"]);
    let before = git(&work, &["rev-parse", "HEAD"]);

    let output = work.join("output");
    let version = release_step("publish", "cargo metadata");
    let run = bash(&work, &version, &[("GITHUB_OUTPUT", output.to_str().unwrap())]);
    assert!(run.status.success(), "{}", said(&run));
    assert_eq!(fs_err::read_to_string(&output).unwrap(), "version=1.4.0\n");

    let targets =
        ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl", "aarch64-apple-darwin", "x86_64-apple-darwin"];
    for target in targets {
        common::plugins::write(&work, &format!("dist/rhdh-pack-{target}"), target);
    }
    // This machine's is a program.
    let os = if cfg!(target_os = "macos") { "apple-darwin" } else { "unknown-linux-musl" };
    let own = work.join(format!("dist/rhdh-pack-{}-{os}", std::env::consts::ARCH));
    fs_err::copy(env!("CARGO_BIN_EXE_rhdh-pack"), own).unwrap();
    common::plugins::write(&work, "dist/rhdh-pack.cdx.json", "{}");
    let run = bash(&work, &release_step("publish", "sha256sum"), &[("VERSION", "1.4.0")]);
    assert!(run.status.success(), "{}", said(&run));
    let sums = fs_err::read_to_string(work.join("dist/SHA256SUMS")).unwrap();
    assert_eq!(sums.lines().count(), 5, "{sums}");
    let text = fs_err::read_to_string(work.join("support/checksums.json")).unwrap();
    let checksums: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(checksums["version"], "1.4.0");
    for target in targets {
        let sum = checksums[format!("1.4.0/{target}")].as_str().unwrap();
        assert!(sums.contains(&format!("{sum}  rhdh-pack-{target}")), "{text}");
    }

    // The action of that release takes what was built.
    let (temp, served) = (folder.path().join("temp"), work.join("dist"));
    fs_err::create_dir(&temp).unwrap();
    let server = common::http::Server::start(move |request| {
        let name = request.target.strip_prefix("/v1.4.0/").unwrap_or("none");
        let bytes = fs_err::read(served.join(name)).unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", bytes.len());
        [head.as_bytes(), &bytes].concat()
    });
    let install = fs_err::read_to_string(work.join("support/install.sh")).unwrap();
    assert!(install.contains("RHDH_PACK_DOWNLOAD_URL"));
    let (installed, url) = (temp.join("output"), format!("http://{}", server.host));
    let variables = [
        ("RUNNER_TEMP", temp.to_str().unwrap()),
        ("GITHUB_OUTPUT", installed.to_str().unwrap()),
        ("RHDH_PACK_DOWNLOAD_URL", &url),
    ];
    let run = bash(&work, "bash support/install.sh", &variables);
    assert!(run.status.success(), "{}", said(&run));
    let binary = fs_err::read_to_string(installed).unwrap();
    let run = bash(&work, &format!("{} --version", binary.trim().strip_prefix("binary=").unwrap()), &[]);
    assert_eq!(said(&run).trim(), concat!("rhdh-pack ", env!("CARGO_PKG_VERSION")));

    // GitHub's program writes down what it is given; the tags and the commit are git's.
    let bin = folder.path().join("bin");
    common::plugins::write(&bin, "gh", "#!/bin/sh\necho \"$@\" >>\"$GH_LOG\"\n");
    fs_err::set_permissions(bin.join("gh"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let log = folder.path().join("gh.log");
    let run = bash(
        &work,
        &release_step("publish", "gh release create"),
        &[
            ("PATH", &path),
            ("VERSION", "1.4.0"),
            ("GH_TOKEN", "t"),
            ("GH_LOG", log.to_str().unwrap()),
            ("GITHUB_REF_NAME", "main"),
        ],
    );
    assert!(run.status.success(), "{}", said(&run));
    let released = git(&origin, &["rev-parse", "main"]);
    assert_ne!(released, before);
    assert_eq!(
        [git(&origin, &["rev-parse", "v1"]), git(&origin, &["rev-parse", "v1.4.0"])],
        [released.clone(), released]
    );
    assert_eq!(
        git(&origin, &["show", "--name-only", "--format=%s", "main"]),
        "Release 1.4.0\n\nsupport/checksums.json"
    );
    let said_to_gh = fs_err::read_to_string(log).unwrap();
    assert!(said_to_gh.contains("release create v1.4.0 --verify-tag"), "{said_to_gh}");
    assert!(
        said_to_gh.contains("dist/rhdh-pack-aarch64-apple-darwin") && said_to_gh.contains("dist/SHA256SUMS"),
        "{said_to_gh}"
    );

    // The same version is not released twice.
    let run = bash(&work, &version, &[("GITHUB_OUTPUT", output.to_str().unwrap())]);
    assert_eq!(run.status.code(), Some(1), "{}", said(&run));
    assert!(said(&run).contains("version 1.4.0 is released already"), "{}", said(&run));
}

#[test]
fn a_binary_that_is_not_static_is_not_released() {
    // The step's script, in a folder where the build is done: what it made is this test's own build, which needs
    // libraries.
    let folder = tempfile::tempdir().unwrap();
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let built = folder.path().join("target").join(&target).join("release");
    fs_err::create_dir_all(&built).unwrap();
    fs_err::create_dir_all(folder.path().join(".ci")).unwrap();
    fs_err::copy(root().join(".ci/build-release"), folder.path().join(".ci/build-release")).unwrap();
    fs_err::copy(env!("CARGO_BIN_EXE_rhdh-pack"), built.join("rhdh-pack")).unwrap();
    assert!(release_step("binary", "build-release").contains("bash .ci/build-release \"$TARGET\""));
    let script = format!("cargo() {{ :; }}; export -f cargo; bash .ci/build-release {target}");
    let run = bash(folder.path(), &script, &[]);
    assert!(!run.status.success() && folder.path().join("dist").exists(), "{}", said(&run));
    assert!(String::from_utf8_lossy(&run.stdout).contains("libc.so"), "{}", said(&run));
}

#[test]
fn the_crate_has_what_it_is_built_of_and_nothing_of_its_own_pipelines() {
    let script = "cargo package --offline --no-verify --allow-dirty --list";
    let run = bash(root(), script, &[]);
    assert!(run.status.success(), "{}", said(&run));
    let list = String::from_utf8(run.stdout).unwrap();
    let files: std::collections::BTreeSet<&str> = list.lines().collect();
    for file in ["Cargo.lock", "LICENSE", "README.md", "src/main.rs", "benches/package.rs"] {
        assert!(files.contains(file), "{file}");
    }
    // What the sources include from elsewhere.
    for entry in walkdir::WalkDir::new(root().join("src")) {
        let entry = entry.unwrap();
        if entry.path().extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        for part in fs_err::read_to_string(entry.path()).unwrap().split("include_str!(\"").skip(1) {
            let path = entry.path().parent().unwrap().join(part.split('"').next().unwrap());
            let path = path.canonicalize().unwrap();
            let path = path.strip_prefix(root().canonicalize().unwrap()).unwrap().to_str().unwrap();
            assert!(files.contains(path), "{path}");
        }
    }
    for left_out in [".github/", ".ci/", "target/", ".tools/"] {
        assert!(!files.iter().any(|file| file.starts_with(left_out)), "{left_out}");
    }
}

/// The jobs of a component, with its inputs' defaults.
fn component(file: &str) -> Value {
    let text = fs_err::read_to_string(root().join(file)).unwrap();
    let (spec, mut jobs) = text.split_once("\n---\n").map(|(spec, jobs)| (spec, jobs.to_owned())).unwrap();
    let spec: Value = serde_yaml::from_str(spec).unwrap();
    for (name, input) in spec["spec"]["inputs"].as_mapping().unwrap() {
        let default = match &input["default"] {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            other => panic!("{other:?}"),
        };
        jobs = jobs.replace(&format!("$[[ inputs.{} ]]", name.as_str().unwrap()), &default);
    }
    assert!(!jobs.contains("$[["), "{jobs}");
    serde_yaml::from_str(&jobs).unwrap()
}

/// Runs a job's script as a runner does: in a shell, with the program in its path.
fn gitlab(repository: &Repository, job: &Value, shell: &str, variables: &[(&str, &str)]) -> Output {
    let bin = Path::new(env!("CARGO_BIN_EXE_rhdh-pack")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let lines: Vec<&str> = job["script"].as_sequence().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    let mut command = common::scrubbed(shell);
    if let Some(own) = job["variables"].as_mapping() {
        command.envs(own.iter().map(|(name, value)| (name.as_str().unwrap(), value.as_str().unwrap())));
    }
    let root = repository.root();
    command
        .args(["-e", "-c", &lines.join("\n")])
        .current_dir(root)
        .env("PATH", path)
        .env("CI", "true")
        .env("GITLAB_CI", "true")
        .env("CI_PROJECT_DIR", root)
        .env("CI_PROJECT_ID", "12")
        .envs(variables.iter().copied());
    let output = command.output().unwrap();
    println!("{}", said(&output));
    output
}

const BRANCH: [(&str, &str); 3] =
    [("CI_PIPELINE_SOURCE", "push"), ("CI_COMMIT_BRANCH", "main"), ("CI_DEFAULT_BRANCH", "main")];
const FORK: [(&str, &str); 4] = [
    ("CI_PIPELINE_SOURCE", "merge_request_event"),
    ("CI_MERGE_REQUEST_IID", "4"),
    ("CI_MERGE_REQUEST_SOURCE_PROJECT_ID", "99"),
    ("CI_MERGE_REQUEST_PROJECT_ID", "12"),
];

#[test]
fn the_gitlab_component_goes_the_whole_way_with_the_registrys_login() {
    let registry = Registry::start(Auth::Basic { username: "gitlab-ci-token", password: "job-token" });
    let repository = repository(&registry.host);
    let login = [
        ("CI_REGISTRY", registry.host.as_str()),
        ("CI_REGISTRY_USER", "gitlab-ci-token"),
        ("CI_REGISTRY_PASSWORD", "job-token"),
    ];
    let job = &component("templates/rhdh-pack.yml")["rhdh-pack"];
    let output = gitlab(&repository, job, "sh", &[&BRANCH[..], &login].concat());
    assert!(output.status.success());
    assert!(!said(&output).contains("job-token"));
    let options = ["--creds", "gitlab-ci-token:job-token"];
    assert!(registry.skopeo_digest("acme/all", "next", &options).is_some());
    let outputs = fs_err::read_to_string(repository.root().join(".rhdh-pack/outputs.env")).unwrap();
    assert!(outputs.contains("RHDH_PACK_CHANGED=true"), "{outputs}");
    for path in job["artifacts"]["paths"].as_sequence().unwrap() {
        assert!(repository.root().join(path.as_str().unwrap()).exists() || path == ".rhdh-pack/logs/", "{path:?}");
    }
    // A fork's pipeline has no login, and needs none.
    let output = gitlab(&self::repository(&registry.host), job, "sh", &FORK);
    assert!(output.status.success());
}

#[test]
fn the_gitlab_matrix_builds_in_legs_and_pushes_once() {
    let registry = Registry::start(Auth::Open);
    let repository = repository(&registry.host);
    let jobs = component("templates/rhdh-pack-matrix.yml");
    let output = gitlab(&repository, &jobs["rhdh-pack-plan"], "sh", &BRANCH);
    assert!(output.status.success());
    let file = repository.root().join(".rhdh-pack/child.yml");
    valid_for_gitlab(&file);
    let child: Value = serde_yaml::from_str(&fs_err::read_to_string(&file).unwrap()).unwrap();

    let legs = child["build"]["parallel"]["matrix"].as_sequence().unwrap();
    assert!(!legs.is_empty());
    let plan = fs_err::read(repository.root().join(".rhdh-pack/plan.json")).unwrap();
    for leg in legs {
        // Each leg is a machine with nothing but the artifacts of the plan.
        fs_err::remove_dir_all(repository.root().join(".rhdh-pack")).unwrap();
        repository.write(".rhdh-pack/plan.json", &plan);
        let variables: Vec<(&str, &str)> = leg
            .as_mapping()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.as_str().unwrap(), value.as_str().unwrap()))
            .collect();
        let own = [("RHDH_PACK_CONFIG", "rhdh-plugins.toml"), ("RHDH_PACK_CHANNEL", "")];
        let output = gitlab(&repository, &child["build"], "sh", &[&BRANCH[..], &own, &variables].concat());
        assert!(output.status.success());
        fs_err::create_dir_all(repository.root().join(".rhdh-pack")).unwrap();
    }
    fs_err::remove_dir_all(repository.root().join(".rhdh-pack")).unwrap();
    let own = [("RHDH_PACK_CONFIG", "rhdh-plugins.toml"), ("RHDH_PACK_CHANNEL", "")];
    let output = gitlab(&repository, &child["push"], "sh", &[&BRANCH[..], &own].concat());
    assert!(output.status.success());
    for image in ["acme-plugin-todo", "acme-plugin-todo-backend", "all"] {
        assert!(registry.skopeo_digest(&format!("acme/{image}"), "next", &[]).is_some(), "{image}");
    }

    // What is only copied needs no leg.
    let second = Registry::start(Auth::Open);
    add_registry(&repository, &second.host);
    let output = gitlab(&repository, &jobs["rhdh-pack-plan"], "sh", &BRANCH);
    assert!(output.status.success());
    valid_for_gitlab(&file);
    let child: Value = serde_yaml::from_str(&fs_err::read_to_string(&file).unwrap()).unwrap();
    assert_eq!((child.get("build"), child["push"]["needs"][0]["job"].as_str()), (None, Some("rhdh-pack-plan")));
    fs_err::remove_dir_all(repository.root().join("legs")).unwrap();
    let output = gitlab(&repository, &child["push"], "sh", &[&BRANCH[..], &own].concat());
    assert!(output.status.success());
    assert!(second.skopeo_digest("acme/all", "next", &[]).is_some());

    // With nothing to build, the child pipeline is one that GitLab takes, too.
    let output = gitlab(&repository, &jobs["rhdh-pack-plan"], "sh", &BRANCH);
    assert!(output.status.success());
    valid_for_gitlab(&file);
    let text = fs_err::read_to_string(&file).unwrap();
    assert!(text.contains("nothing to build"), "{text}");
}

/// GitLab's own schema of pipelines.
fn valid_for_gitlab(file: &Path) {
    let python: PathBuf = root().join(".tools/python/bin/python");
    let output = Command::new(&python)
        .args(["-m", "check_jsonschema", "--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"])
        .arg(file)
        .output()
        .unwrap_or_else(|error| panic!("{} ({error}): run `.ci/tools`", python.display()));
    assert!(output.status.success(), "{}\n{}", said(&output), fs_err::read_to_string(file).unwrap());
}
