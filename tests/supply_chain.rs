//! SBOM, provenance and signature of a release, as processes see them: pushed, inspected, killed, and with secrets that
//! must not leave. cosign signs, of its second and its third release; a stand-in for it writes down how it was called.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::certificates::Certificate;
use common::http::{Server, answer, forward};
use common::plugins::make_executable;
use common::push::messages;
use common::registry::{Auth, Registry, get};
use common::repository::Repository;
use common::{rhdh_pack, transcript};
use rhdh_pack::digest::Digest;
use serde_json::{Value, json};

const PASSWORD: &str = "regis-try-pass-word";
const SECRETS: [(&str, &str); 6] = [
    ("RHDH_PACK_CNCF_PASSWORD", PASSWORD),
    ("COSIGN_PRIVATE_KEY", "cosign-private-key-material"),
    ("COSIGN_PASSWORD", "cosign-pass-word"),
    ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "id-token-of-the-run"),
    ("GITHUB_TOKEN", "ghs-the-token-of-github"),
    ("NODE_AUTH_TOKEN", "npm-the-token-of-npm"),
];
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Writes down arguments, environment and the credentials that it finds; says what it got, secrets and all.
const COSIGN: &str = r#"#!/bin/sh
set -e
record="$(dirname "$0")/record"
mkdir -p "$record"
printf '%s\n' "$@" > "$record/arguments"
env > "$record/environment"
cp "$DOCKER_CONFIG/config.json" "$record/config.json"
stat -c %a "$DOCKER_CONFIG" > "$record/mode"
echo "$DOCKER_CONFIG" > "$record/folder"
echo "signing with $COSIGN_PRIVATE_KEY and $COSIGN_PASSWORD" >&2
cat "$DOCKER_CONFIG/config.json"
if [ -e "$(dirname "$0")/fail" ]; then echo "Error: signing: no matching signatures: $COSIGN_PASSWORD" >&2; exit 7; fi
"#;

/// A plugin with packages in it, packaged for the registry at `host`, with more lines in its channel.
fn packaged(host: &str, channel: &str) -> Repository {
    let repository = Repository::new();
    let manifest = |name: &str| {
        json!({
            "name": name, "version": "1.0.0", "main": "dist/index.cjs.js", "license": "Apache-2.0", "bundleDependencies": true,
            "backstage": { "role": "backend-plugin", "pluginId": "todo" }, "dependencies": { "a": "1" }, "files": ["dist"],
        })
        .to_string()
    };
    let dist = "plugins/todo-backend/dist-dynamic";
    repository
        .write(&format!("{dist}/package.json"), manifest("@acme/plugin-todo-backend-dynamic"))
        .write(&format!("{dist}/dist/index.cjs.js"), "exports.default = {};\n")
        .write(&format!("{dist}/dist/configSchema.json"), "{}")
        .write(&format!("{dist}/node_modules/a/package.json"), r#"{ "name": "a", "version": "1.2.0", "license": "MIT" }"#)
        .config(format!(
            "[defaults]\nexport = \"prebuilt\"\nregistries = [\"cncf\"]\n[registries.cncf]\noci = \"{host}/acme\"\n\
             [channels.release]\ntags = [\"{{version}}\"]\n{channel}\n[plugins.todo-backend]\npath = \"plugins/todo-backend\"\n"
        ));
    for command in [&["plan", "--all", "--channel", "release"][..], &["export"], &["package"]] {
        let output = program(repository.root()).args(command).output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    // What git would have said.
    let file = repository.root().join(".rhdh-pack/result.json");
    let mut result: Value = serde_json::from_slice(&fs_err::read(&file).unwrap()).unwrap();
    result["commit"] = COMMIT.into();
    result["plugins"][0]["rhdh_cli"] = "1.9.1".into();
    fs_err::write(file, result.to_string()).unwrap();
    repository
}

/// The program, without the credentials of whoever runs the tests.
fn program(folder: &Path) -> Command {
    let mut command = rhdh_pack(folder);
    command.env("HOME", folder).env_remove("XDG_RUNTIME_DIR").env_remove("XDG_CONFIG_HOME");
    command
}

/// Adds what GitHub says, and every secret.
fn on_github(command: &mut Command) -> &mut Command {
    command.env("RHDH_PACK_CNCF_USERNAME", "ann").envs(SECRETS);
    command.envs([
        ("CI", "true"),
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_SERVER_URL", "https://github.com"),
        ("GITHUB_REPOSITORY", "acme/plugins"),
        ("GITHUB_WORKFLOW_REF", "acme/plugins/.github/workflows/publish.yml@refs/tags/v1"),
        ("GITHUB_REF", "refs/tags/v1"),
        ("GITHUB_SHA", COMMIT),
        ("GITHUB_EVENT_NAME", "push"),
        ("GITHUB_RUN_ID", "17"),
        ("GITHUB_RUN_ATTEMPT", "2"),
    ])
}

/// A folder with the stand-in, and a `PATH` that begins with it.
fn cosign() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("cosign");
    fs_err::write(&program, COSIGN).unwrap();
    make_executable(&program);
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    (folder, path)
}

fn result(repository: &Repository) -> Value {
    serde_json::from_slice(&fs_err::read(repository.root().join(".rhdh-pack/result.json")).unwrap()).unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Every file below a folder with its bytes.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = walkdir::WalkDir::new(folder).into_iter().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().is_file());
    files.map(|entry| (entry.path().display().to_string(), fs_err::read(entry.path()).unwrap())).collect()
}

#[test]
fn a_release_has_sbom_provenance_and_signature_and_inspect_shows_them() {
    let registry = Registry::start(Auth::Basic { username: "ann", password: PASSWORD });
    let repository = packaged(&registry.host, "sign = true");
    let (tools, path) = cosign();
    let mut command = program(repository.root());
    let mut child = on_github(command.args(["push", "--verbose"]))
        .env("PATH", &path)
        .env("RUST_LOG", "trace")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = Vec::new();
    while child.try_wait().unwrap().is_none() {
        for entry in fs_err::read_dir("/proc").unwrap().flatten() {
            lines.extend(std::fs::read(entry.path().join("cmdline")).unwrap_or_default());
        }
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");

    // The result lists what is attached.
    let image = &result(&repository)["plugins"][0]["images"][0];
    let reference = image["reference"].as_str().unwrap().to_owned();
    assert_eq!(image["signed"], true);
    let kinds: Vec<&str> =
        image["attached"].as_array().unwrap().iter().map(|one| one["document"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["sbom", "provenance"]);
    let summary = fs_err::read_to_string(repository.root().join(".rhdh-pack/summary.md")).unwrap();
    assert!(summary.contains("SBOM, provenance, signature"), "{summary}");

    // cosign was called with the digest, its own secrets, the one credential, and nothing more.
    let record = |name: &str| fs_err::read_to_string(tools.path().join("record").join(name)).unwrap();
    assert_eq!(record("arguments"), format!("sign\n--yes\n--key\nenv://COSIGN_PRIVATE_KEY\n{reference}\n"));
    let config: Value = serde_json::from_str(&record("config.json")).unwrap();
    let pair = STANDARD.encode(format!("ann:{PASSWORD}"));
    assert_eq!(config, json!({ "auths": { registry.host.as_str(): { "auth": pair } } }));
    assert_eq!(record("mode"), "700\n");
    assert!(!Path::new(record("folder").trim()).exists());
    let environment = record("environment");
    for (name, secret) in SECRETS {
        let is_cosigns = name.starts_with("COSIGN_") || name.starts_with("ACTIONS_ID_TOKEN_");
        assert_eq!(environment.contains(secret), is_cosigns, "{name}");
    }

    // `inspect` reads it all back.
    let inspect = |format: &[&str]| {
        let mut command = program(repository.root());
        let output = on_github(command.args(["inspect", &format!("oci://{reference}")]).args(format)).output().unwrap();
        stdout(&output)
    };
    let text = inspect(&[]);
    for part in [
        "plugin       acme-plugin-todo-backend: @acme/plugin-todo-backend-dynamic 1.0.0 (backend-plugin)",
        "SBOM         2 components: Apache-2.0 1, MIT 1",
        "built by     https://github.com/acme/plugins/.github/workflows/publish.yml@refs/tags/v1",
        "run          https://github.com/acme/plugins/actions/runs/17/attempts/2",
        "commit       0123456789abcdef0123456789abcdef01234567",
        "input        git+https://github.com/acme/plugins@refs/tags/v1",
        "input        pkg:npm/%40red-hat-developer-hub/cli@1.9.1",
        "input        content key ",
        "parameter    channel: release",
        "missing      no signature of cosign is there",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let json: Value = serde_json::from_str(&inspect(&["--format", "json"])).unwrap();
    assert_eq!(json["images"][0]["digest"], image["digest"]);
    assert_eq!(json["images"][0]["content_key"], result(&repository)["plugins"][0]["content_key"]);
    let packaged = fs_err::read_to_string(repository.root().join(".rhdh-pack/sbom/acme-plugin-todo-backend.cdx.json"));
    assert_eq!(inspect(&["--format", "sbom"]), packaged.unwrap());
    let statement: Value = serde_json::from_str(&inspect(&["--format", "provenance"])).unwrap();
    assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
    let plugin = &statement["predicate"]["buildDefinition"]["externalParameters"]["plugins"][0];
    assert_eq!(plugin["path"], "plugins/todo-backend");

    // No secret is anywhere but with cosign.
    let mut places = vec![("stdout".to_owned(), output.stdout), ("stderr".to_owned(), said.into_bytes())];
    places.push(("command lines".to_owned(), lines));
    places.push(("inspect".to_owned(), text.into_bytes()));
    places.extend(files(repository.root()));
    places.extend(files(&registry.data));
    let log = places.iter().find(|(place, _)| place.ends_with("cosign-cncf.log")).unwrap();
    assert!(String::from_utf8_lossy(&log.1).contains("signing with *** and ***"));
    let mut hits = Vec::new();
    for (place, content) in &places {
        for secret in SECRETS.iter().map(|(_, secret)| *secret).chain([pair.as_str()]) {
            // GitHub's own command to hide a secret must name it.
            let text = String::from_utf8_lossy(content);
            let mut lines = text.lines().filter(|line| !line.starts_with("::add-mask::"));
            if lines.any(|line| line.contains(secret)) {
                hits.push(place);
            }
        }
    }
    println!("{} secrets looked for in {} places: {} hits", SECRETS.len() + 1, places.len(), hits.len());
    assert!(hits.is_empty(), "{hits:?}");

    // The same push again attaches and signs nothing.
    fs_err::remove_dir_all(tools.path().join("record")).unwrap();
    let mut command = program(repository.root());
    let output = on_github(command.arg("push")).env("PATH", &path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let again = &result(&repository)["plugins"][0]["images"][0];
    assert_eq!(again["signed"], true);
    assert!(again["attached"].as_array().unwrap().iter().all(|one| one["state"] == "already-there"), "{again}");
    assert!(!tools.path().join("record").exists());
}

#[test]
fn cosign_trusts_the_authority_of_the_registry_too() {
    let certificates = tempfile::tempdir().unwrap();
    let authority = Certificate::new(certificates.path());
    let server = authority.server(certificates.path());
    let tls = format!("  tls:\n    certificate: {}\n    key: {}\n", server.certificate.display(), server.key.display());
    let registry = Registry::start_with(Auth::Open, &tls, "");
    let host = registry.host.clone();
    let repository = packaged(&registry.host, "sign = true");
    fs_err::copy(&authority.certificate, repository.root().join("acme.pem")).unwrap();
    let file = repository.root().join("rhdh-plugins.toml");
    let config = fs_err::read_to_string(&file).unwrap();
    fs_err::write(&file, config.replace("[registries.cncf]\n", "[registries.cncf]\nca = \"acme.pem\"\n")).unwrap();
    let (tools, path) = cosign();
    let output = program(repository.root()).arg("push").env("PATH", &path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let reference = result(&repository)["plugins"][0]["images"][0]["reference"].as_str().unwrap().to_owned();
    let trusted = repository.root().join("acme.pem").display().to_string();
    let expected = format!("sign\n--yes\n--registry-cacert\n{trusted}\n{reference}\n");
    assert_eq!(fs_err::read_to_string(tools.path().join("record/arguments")).unwrap(), expected);

    // And so does cosign itself.
    for release in ["trixie", "forky"] {
        let signer = Signer::of(release);
        let registry = Registry::start_with(Auth::Open, &tls, "");
        let elsewhere = config.replace(&host, &registry.host);
        fs_err::write(&file, elsewhere.replace("[registries.cncf]\n", "[registries.cncf]\nca = \"acme.pem\"\n"))
            .unwrap();
        let mut command = program(repository.root());
        let output = command.arg("push").envs(signer.variables.iter().map(|(k, v)| (k, v))).output().unwrap();
        assert!(output.status.success(), "{release}: {}", String::from_utf8_lossy(&output.stderr));
        let reference = result(&repository)["plugins"][0]["images"][0]["reference"].as_str().unwrap().to_owned();
        let key = signer.path("cosign.pub");
        let verify = ["verify", "--key", &key, "--insecure-ignore-tlog", &reference];
        assert!(!signer.run(&verify).status.success(), "{release}");
        assert!(signer.run(&[&verify[..], &["--registry-cacert", &trusted]].concat()).status.success(), "{release}");
    }
}

#[test]
fn a_commit_that_the_ci_does_not_build_is_not_named() {
    let registry = Registry::start(Auth::Basic { username: "ann", password: PASSWORD });
    let repository = packaged(&registry.host, "");
    let mut command = program(repository.root());
    let other = COMMIT.replace('0', "f");
    let output = on_github(command.arg("push")).env("GITHUB_SHA", other).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let reference = result(&repository)["plugins"][0]["images"][0]["reference"].as_str().unwrap().to_owned();
    let mut command = program(repository.root());
    command.args(["inspect", &format!("oci://{reference}"), "--format", "provenance"]);
    let statement: Value = serde_json::from_str(&stdout(&on_github(&mut command).output().unwrap())).unwrap();
    let build = &statement["predicate"]["buildDefinition"];
    assert_eq!(build["resolvedDependencies"], json!([{ "uri": "pkg:npm/%40red-hat-developer-hub/cli@1.9.1" }]));
    assert!(!statement.to_string().contains(COMMIT));
}

/// A program of a release of Debian.
fn of_debian(release: &str, name: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!(".tools/debian/{release}/usr/bin/{name}"));
    assert!(program.exists(), "{name} is missing; install what the tests need: `.ci/tools`");
    program
}

/// cosign with a key of its own, as offline as it can be: its public services cannot be reached from everywhere.
struct Signer {
    folder: tempfile::TempDir,
    program: PathBuf,
    variables: Vec<(&'static str, String)>,
}

impl Signer {
    /// The cosign of a release of Debian.
    fn of(release: &str) -> Self {
        let program = of_debian(release, "cosign");
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(&program, folder.path().join("cosign")).unwrap();
        let mut signer = Self { program, variables: Vec::new(), folder };
        signer.variables = vec![
            ("PATH", format!("{}:{}", signer.folder.path().display(), std::env::var("PATH").unwrap())),
            ("COSIGN_KEY", signer.path("cosign.key")),
            ("COSIGN_PASSWORD", "of the key".to_owned()),
        ];
        signer.run(&["generate-key-pair"]);
        // No transparency log: cosign 2 is told so, cosign 3 has a file that names no services.
        let services = Command::new(&signer.program).args(["signing-config", "create"]).output().unwrap();
        let without_log = if services.status.success() {
            fs_err::write(signer.path("services.json"), services.stdout).unwrap();
            ("COSIGN_SIGNING_CONFIG", signer.path("services.json"))
        } else {
            ("COSIGN_TLOG_UPLOAD", "false".to_owned())
        };
        signer.variables.push(without_log);
        signer
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(self.folder.path()).envs(self.variables.iter().map(|(k, v)| (k, v)));
        command.env("HOME", self.folder.path()).output().unwrap()
    }

    /// Whether cosign takes the signature of an image for one by `key`.
    fn verifies(&self, reference: &str, key: &str) -> bool {
        let http = ["--allow-http-registry", "--allow-insecure-registry", "--insecure-ignore-tlog"];
        self.run(&[&["verify", "--key", key, reference], &http[..]].concat()).status.success()
    }
}

#[test]
fn what_cosign_signs_cosign_verifies() {
    for release in ["trixie", "forky"] {
        let (signer, stranger) = (Signer::of(release), Signer::of(release));
        let registry = Registry::start(Auth::Open);
        let repository = packaged(&registry.host, "sign = true");
        let push = |variables: &[(&'static str, String)]| {
            let mut command = program(repository.root());
            command.arg("push").envs(variables.iter().map(|(k, v)| (k, v))).output().unwrap()
        };
        // A wrong password of the key: no tag moves, and what cosign says is told.
        let mut wrong = signer.variables.clone();
        wrong.push(("COSIGN_PASSWORD", "of another key".to_owned()));
        let output = push(&wrong);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("decrypt"), "{said}");
        let tag = format!("http://{}/v2/acme/acme-plugin-todo-backend/manifests/1.0.0", registry.host);
        assert_eq!(get(&tag).0, 404);

        let output = push(&signer.variables);
        assert!(output.status.success(), "{release}: {}", String::from_utf8_lossy(&output.stderr));
        let reference = result(&repository)["plugins"][0]["images"][0]["reference"].as_str().unwrap().to_owned();
        assert_eq!(get(&tag).0, 200);
        assert!(signer.verifies(&reference, &signer.path("cosign.pub")), "{release}");
        assert!(!signer.verifies(&reference, &stranger.path("cosign.pub")), "{release}");
        // Signature, SBOM and provenance are there beside one another.
        let inspect = program(repository.root()).args(["inspect", &format!("oci://{reference}")]).output().unwrap();
        let text = stdout(&inspect);
        assert!(text.contains("signatures   1 ") && text.contains("SBOM   ") && text.contains("built by "), "{text}");
        assert!(!text.contains("missing "), "{release}: {text}");
        let mut oras = Command::new(of_debian("trixie", "oras"));
        let attached = stdout(&oras.args(["discover", "--plain-http", &reference]).output().unwrap());
        for kind in ["application/vnd.cyclonedx+json", "application/vnd.in-toto+json"] {
            assert!(attached.contains(kind), "{attached}");
        }
    }
}

#[test]
fn a_cosign_that_fails_moves_no_tag_and_one_that_is_missing_uploads_nothing() {
    let registry = Registry::start(Auth::Basic { username: "ann", password: PASSWORD });
    let repository = packaged(&registry.host, "sign = true");
    let repositories = registry.data.join("docker/registry/v2/repositories");
    let mut command = program(repository.root());
    let empty = tempfile::tempdir().unwrap();
    let output = on_github(command.arg("push")).env("PATH", empty.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("`cosign` is not installed"), "{said}");
    assert!(!repositories.exists());

    let (tools, path) = cosign();
    fs_err::write(tools.path().join("fail"), "").unwrap();
    let mut command = program(repository.root());
    let output = on_github(command.arg("push")).env("PATH", &path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let error = &result(&repository)["plugins"][0]["error"];
    assert_eq!(error["code"], "cosign");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("exit status: 7") && message.contains("no matching signatures: ***"), "{message}");
    assert!(error["help"].as_str().unwrap().contains("cosign-cncf.log"), "{error}");
    let tags = repositories.join("acme/acme-plugin-todo-backend/_manifests/tags");
    let tags: Vec<String> =
        fs_err::read_dir(tags).unwrap().map(|tag| tag.unwrap().file_name().into_string().unwrap()).collect();
    assert!(tags.iter().all(|tag| tag.starts_with("sha256-")), "{tags:?}");

    fs_err::remove_file(tools.path().join("fail")).unwrap();
    let mut command = program(repository.root());
    let output = on_github(command.arg("push")).env("PATH", &path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(result(&repository)["plugins"][0]["images"][0]["signed"], true);
}

#[test]
fn killed_between_the_image_and_its_documents_a_second_run_completes() {
    let registry = Registry::start(Auth::Open);
    // The registry is open: no questions about who we are on the way.
    for (number, stopped_at) in ["/blobs/uploads/", "/manifests/sha256:", "/manifests/sha256-"].into_iter().enumerate()
    {
        let upstream = registry.host.clone();
        let (reached, is_reached) = std::sync::mpsc::channel();
        let reached = std::sync::Mutex::new(reached);
        let proxy = Server::start(move |request| {
            let is_document = {
                request.read_body(usize::MAX);
                let body = String::from_utf8_lossy(&request.body);
                body.contains("\"subject\":") || body.contains("CycloneDX") || request.target.contains("/sha256-")
            };
            if request.method == "PUT" && request.target.contains(stopped_at) && is_document {
                reached.lock().unwrap().send(()).unwrap();
                // Until the client is gone.
                std::thread::sleep(Duration::from_secs(2));
                return Vec::new();
            }
            forward(&upstream, request)
        });
        let name = format!("{}/{}", proxy.host, number);
        let repository = packaged(&name, "");
        let mut child =
            program(repository.root()).arg("push").stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        is_reached.recv_timeout(Duration::from_secs(20)).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();

        let image = format!("{}/acme/acme-plugin-todo-backend", number);
        let base = format!("http://{}/v2/{image}", registry.host);
        let digest = result(&repository)["plugins"][0]["image"]["digest"].as_str().unwrap().to_owned();
        assert_eq!(get(&format!("{base}/manifests/{digest}")).0, 200, "{stopped_at}: the image is up");
        assert_eq!(get(&format!("{base}/manifests/1.0.0")).0, 404, "{stopped_at}: no tag is");

        let config = fs_err::read_to_string(repository.root().join("rhdh-plugins.toml")).unwrap();
        repository.config(config.replace(&proxy.host, &registry.host));
        let output = program(repository.root()).arg("push").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let pushed = result(&repository);
        let image = &pushed["plugins"][0]["images"][0];
        assert_eq!(image["attached"].as_array().unwrap().len(), 2, "{stopped_at}: {image}");
        assert_eq!(get(&format!("{base}/manifests/1.0.0")).0, 200, "{stopped_at}");
    }
}

#[test]
fn an_image_of_others_is_shown_with_what_it_lacks() {
    let registry = Registry::start(Auth::Open);
    let mut setup = common::push::Setup::new();
    let image = setup.image("busybox", &common::layout::layer(1, 1000), &["1"], &[&registry.host]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    assert_eq!(messages(&runtime.block_on(setup.push()).unwrap()), Vec::<String>::new());
    let folder = tempfile::tempdir().unwrap();
    let reference = format!("{}/busybox:1", registry.host);
    let output = program(folder.path()).args(["inspect", &format!("oci://{reference}")]).output().unwrap();
    let shown =
        transcript(&output, folder.path()).replace(&registry.host, "<host>").replace(image.digest.as_str(), "<digest>");
    insta::assert_snapshot!("inspect_of_others", shown);

    // The same from a layout on disk; `--format sbom` of what has none is an error.
    let layout = format!("oci:{}:busybox", setup.output.path().join("oci").display());
    let text = stdout(&program(folder.path()).args(["inspect", &layout]).output().unwrap());
    assert!(text.contains(image.digest.as_str()) && text.contains("no SBOM"), "{text}");
    let output = program(folder.path()).args(["inspect", &layout, "--format", "sbom"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no SBOM is attached to"));
    let output = program(folder.path()).args(["inspect", &format!("oci://{}/gone:1", registry.host)]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    fs_err::write(folder.path().join("x.tgz"), "x").unwrap();
    let output = program(folder.path()).args(["inspect", "x.tgz"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("is not an image"), "{output:?}");
}

#[test]
fn the_output_folder_of_a_run_can_be_inspected_before_anything_is_pushed() {
    let repository = packaged("127.0.0.1:1", "");
    let text = stdout(&program(repository.root()).args(["inspect", ".rhdh-pack"]).output().unwrap());
    assert!(text.contains("2 components") && text.contains("no SLSA provenance"), "{text}");
}

#[test]
fn a_list_of_attached_documents_without_end_is_an_error() {
    let server = Server::start(|request| {
        let path = request.target.split('?').next().unwrap();
        if path.contains("/referrers/") {
            let next = format!("Link: <{path}?n=1>; rel=\"next\"\r\n");
            let list = json!({ "schemaVersion": 2, "manifests": [] });
            return answer("200 OK", &next, &list.to_string());
        }
        match path {
            "/v2/" => answer("200 OK", "", ""),
            "/v2/x/manifests/1" => answer("200 OK", "", r#"{"schemaVersion":2,"layers":[]}"#),
            _ => answer("404 Not Found", "", ""),
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let image = format!("oci://{}/x:1", server.host);
    let output = program(folder.path()).args(["inspect", &image]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).replace('│', " ");
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!output.status.success() && said.contains("the list has more than 16 pages"), "{said}");
}

/// A registry of our own making, which serves these paths and nothing else.
fn hostile(paths: BTreeMap<String, Vec<u8>>) -> Server {
    Server::start(move |request| {
        let path = request.target.split('?').next().unwrap().to_owned();
        if path == "/v2/" {
            return answer("200 OK", "", "");
        }
        let Some(bytes) = paths.get(&path) else { return answer("404 Not Found", "", "") };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", bytes.len());
        let body = if request.method == "HEAD" { &[][..] } else { bytes };
        [head.as_bytes(), body].concat()
    })
}

#[test]
fn hostile_documents_do_no_harm() {
    let config = br#"{"created":"\u001b[31mnow"}"#.to_vec();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": { "digest": Digest::of(&config), "size": config.len() }, "layers": [{ "size": u64::MAX }, { "size": 7 }],
        "annotations": { "io.backstage.dynamic-packages": "????", "org.opencontainers.image.title": "\u{1b}]0;x\u{7}" },
    });
    let manifest = manifest.to_string().into_bytes();
    let subject = Digest::of(&manifest);
    let mut paths: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let sbom = "application/vnd.cyclonedx+json";
    let mut listed = Vec::new();
    let mut add = |paths: &mut BTreeMap<String, Vec<u8>>, subject: &Digest, blob: &[u8], named: &Digest, size: u64| {
        let manifest = json!({
            "schemaVersion": 2, "artifactType": sbom, "subject": { "digest": subject },
            "layers": [{ "digest": named, "size": size, "x": listed.len() }],
        });
        let manifest = manifest.to_string().into_bytes();
        let digest = Digest::of(&manifest);
        listed.push(json!({ "mediaType": "x", "digest": digest, "size": manifest.len(), "artifactType": sbom }));
        paths.insert(format!("/v2/x/manifests/{digest}"), manifest);
        paths.insert(format!("/v2/x/blobs/{named}"), blob.to_vec());
    };
    let deep = "[".repeat(1_000_000).into_bytes();
    let large = vec![b' '; 1000];
    let other = json!({ "bomFormat": "CycloneDX", "metadata": { "component": { "hashes": [{ "content": "00" }] } } });
    let other = other.to_string().into_bytes();
    add(&mut paths, &subject, &deep, &Digest::of(&deep), deep.len() as u64);
    add(&mut paths, &subject, b"{}", &Digest::of(b"something else"), 2);
    add(&mut paths, &subject, &large, &Digest::of(&large), 10);
    add(&mut paths, &subject, b"[]", &Digest::of(b"[]"), u64::MAX);
    add(&mut paths, &Digest::of(b"another"), &other, &Digest::of(&other), other.len() as u64);
    add(&mut paths, &subject, &other, &Digest::of(&other), other.len() as u64);
    listed.push(json!({ "mediaType": "x", "digest": Digest::of(b"gone"), "size": 1, "artifactType": sbom }));
    listed.extend([json!({}), json!(7), json!({ "digest": "../../etc/passwd" })]);
    for number in 0..100 {
        listed.push(json!({ "mediaType": "x", "digest": Digest::of(&[number]), "size": 1, "artifactType": sbom }));
    }
    paths.insert("/v2/x/manifests/1".to_owned(), manifest);
    paths.insert(format!("/v2/x/blobs/{}", Digest::of(&config)), config);
    let list = json!({ "schemaVersion": 2, "manifests": listed }).to_string().into_bytes();
    paths.insert(format!("/v2/x/referrers/{subject}"), list);
    let server = hostile(paths.clone());
    let folder = tempfile::tempdir().unwrap();
    let inspect = |host: &str| program(folder.path()).args(["inspect", &format!("oci://{host}/x:1")]).output().unwrap();
    let text = stdout(&inspect(&server.host));
    for part in [
        "is not JSON",
        "expected `sha256:",
        "larger than 10 bytes",
        "more than is read",
        "attached to something else",
        "it says that it is of another image",
        "the registry does not have it",
        "more attached documents were not looked at",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains('\u{1b}'), "{text}");
    assert!(server.received.lock().unwrap().len() < 120);

    // A list that is none, and a manifest that is none.
    paths.insert(format!("/v2/x/referrers/{subject}"), b"<html>".to_vec());
    let server = hostile(paths.clone());
    let output = inspect(&server.host);
    assert!(!output.status.success());
    // Where the text is wrapped depends on the port.
    let said = String::from_utf8_lossy(&output.stderr).replace('│', " ");
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("is not a list of"), "{said}");
    paths.insert("/v2/x/manifests/1".to_owned(), deep);
    let server = hostile(paths);
    assert!(!inspect(&server.host).status.success());
}
