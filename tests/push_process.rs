//! `rhdh-pack push` as a process: killed, interrupted, with secrets that must not leave it, with a private authority.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::certificates::Certificate;
use common::http::{Server, answer, forward};
use common::registry::{Auth, Registry, get};
use common::repository::Repository;
use common::tunnel::{HOST, Tunnel};
use common::{rhdh_pack, tokens};
use rhdh_pack::digest::Digest;
use serde_json::Value;

const PLUGINS: [&str; 3] = ["one", "two", "three"];

/// Three plugins that somebody else exported, packaged already.
fn packaged(size: usize) -> Repository {
    let repository = Repository::new();
    let mut random = fastrand::Rng::with_seed(7);
    let mut config = "[channels.next]\ntags = [\"{version}\", \"next\"]\noverwrite = true\n".to_owned();
    for name in PLUGINS {
        let folder = format!("plugins/{name}");
        let manifest = |suffix: &str| {
            serde_json::json!({
                "name": format!("@acme/{name}{suffix}"), "version": "1.0.0", "main": "dist/index.cjs.js",
                "backstage": { "role": "backend-plugin", "pluginId": name },
            })
            .to_string()
        };
        let data: String = std::iter::repeat_with(|| random.alphanumeric()).take(size).collect();
        repository
            .write(&format!("{folder}/package.json"), manifest(""))
            .write(&format!("{folder}/dist-dynamic/package.json"), manifest("-dynamic"))
            .write(&format!("{folder}/dist-dynamic/dist/index.cjs.js"), "exports.default = {};\n")
            .write(&format!("{folder}/dist-dynamic/dist/configSchema.json"), "{}")
            .write(&format!("{folder}/dist-dynamic/dist/data.js"), data);
        config.push_str(&format!("[plugins.{name}]\npath = \"{folder}\"\nexport = \"prebuilt\"\n"));
    }
    repository.config(&config);
    for command in [&["plan", "--channel", "next"][..], &["export"], &["package"]] {
        let output = rhdh_pack(repository.root()).args(command).output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    repository.config(format!("[defaults]\nregistries = [\"cncf\"]\n{config}"));
    repository
}

/// A copy of the project that pushes to `prefix`.
fn copy_for(repository: &Repository, prefix: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let status = Command::new("cp").arg("-a").arg(repository.root().join(".")).arg(copy.path()).status().unwrap();
    assert!(status.success());
    let file = copy.path().join("rhdh-plugins.toml");
    let config = fs_err::read_to_string(&file).unwrap();
    fs_err::write(&file, format!("{config}[registries.cncf]\noci = \"{prefix}\"\n")).unwrap();
    copy
}

fn push(project: &Path) -> Command {
    let mut command = rhdh_pack(project);
    // No credentials of whoever runs the tests.
    command.arg("push").env("HOME", project).env_remove("XDG_RUNTIME_DIR").env_remove("XDG_CONFIG_HOME");
    command
}

fn result(project: &Path) -> Value {
    serde_json::from_slice(&fs_err::read(project.join(".rhdh-pack/result.json")).unwrap()).unwrap()
}

/// The tags of an image; every one of them leads to a manifest and blobs that are there, whole.
fn whole_tags(base: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for tag in ["1.0.0", "next"] {
        let (status, manifest) = get(&format!("{base}/manifests/{tag}"));
        if status == 404 {
            continue;
        }
        let value: Value = serde_json::from_slice(&manifest).unwrap();
        for blob in value["layers"].as_array().unwrap().iter().chain([&value["config"]]) {
            let digest = blob["digest"].as_str().unwrap();
            let (status, bytes) = get(&format!("{base}/blobs/{digest}"));
            assert_eq!((status, Digest::of(&bytes).as_str()), (200, digest), "{base}:{tag}");
        }
        found.insert(tag.to_owned());
    }
    found
}

/// What a second run on this machine finds in the output folder is not yet in the registries of another channel.
#[test]
fn what_is_up_to_date_here_is_pushed_all_the_same() {
    let registry = Registry::start(Auth::Open);
    let project = copy_for(&packaged(100), &format!("{}/acme", registry.host));
    let run = rhdh_pack(project.path()).args(["run", "--all"]).env("HOME", project.path()).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(result(project.path())["plugins"][0]["state"], "up-to-date");
    let pushed = push(project.path()).args(["--channel", "next"]).output().unwrap();
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    assert_eq!(result(project.path())["plugins"][0]["state"], "published");
    for name in PLUGINS {
        assert!(registry.skopeo_digest(&format!("acme/acme-{name}"), "next", &[]).is_some(), "{name}");
    }
}

/// The result comes from a job that runs anybody's code: it chooses no tag.
#[test]
fn what_a_result_makes_up_about_tags_is_refused() {
    let repository = packaged(10);
    let registry = Registry::start(Auth::Open);
    let key = "0".repeat(64);
    let cases: [(&str, Value, &str); 4] = [
        ("/plugins/0/version", "9.9.9".into(), "`one` was packaged as version 9.9.9, and the repository has 1.0.0"),
        ("/plugins/0/content_key", "latest".into(), "`latest` is no content key"),
        ("/plugins/0/content_key", key.clone().into(), &format!("its content key is not `{key}`")),
        ("/commit", "latest".into(), "has no value"),
    ];
    for (at, value, why) in cases {
        let copy = copy_for(&repository, &format!("{}/made-up", registry.host));
        let file = copy.path().join("rhdh-plugins.toml");
        let config = fs_err::read_to_string(&file).unwrap();
        fs_err::write(&file, config.replace("\"next\"]", "\"next\", \"{sha}\"]")).unwrap();
        let mut result = result(copy.path());
        result["commit"] = "a".repeat(40).into();
        *result.pointer_mut(at).unwrap() = value;
        fs_err::write(copy.path().join(".rhdh-pack/result.json"), result.to_string()).unwrap();
        let output = push(copy.path()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).replace("\n", " ").replace(" │ ", "").replace("  ", " ");
        assert!(!output.status.success() && stderr.contains(why), "{at}: {stderr}");
        assert_eq!(registry.stored("made-up/acme-one", "1.0.0"), None, "{at}");
    }
}

/// A registry in trouble is not the configuration's fault.
#[test]
fn a_registry_in_trouble_ends_with_3() {
    let project = packaged(10);
    for status in ["503 Service Unavailable", "302 Found"] {
        let server = Server::start(move |_| answer(status, "Location: https://sso.example/\r\nRetry-After: 0\r\n", ""));
        let copy = copy_for(&project, &format!("{}/acme", server.host));
        let output = push(copy.path()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{status}: {stderr}");
    }
}

/// Before anything is built; npm tries twice.
#[test]
fn an_npm_registry_that_is_not_there_is_found_out_first() {
    let repository = Repository::new();
    let manifest = r#"{"name":"@acme/todo-backend","version":"1.0.0","backstage":{"role":"backend-plugin"}}"#;
    repository.write("plugins/todo/package.json", manifest).config(
        "[plugins.todo]\npath = \"plugins/todo\"\nexport = \"prebuilt\"\nregistries = [\"npm\"]\n\
         [channels.next]\ntags = [\"next\"]\noverwrite = true\n\
         [registries.npm]\nnpm = \"http://127.0.0.1:1\"\n",
    );
    let run = rhdh_pack(repository.root()).args(["run", "--all", "--channel", "next"]).output().unwrap();
    let stderr = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("asking the npm registry `npm`") && stderr.contains("ECONNREFUSED"), "{stderr}");
    assert!(stderr.contains("look whether the registry's URL is right"), "{stderr}");
    assert!(!stderr.contains("dist-dynamic"), "{stderr}");
}

/// Before anything is published elsewhere, too.
#[test]
fn a_push_looks_at_all_registries_first() {
    let repository = packaged(10);
    let config = std::fs::read_to_string(repository.root().join("rhdh-plugins.toml")).unwrap();
    let registries = "[registries.site]\ndir = \"public\"\n[registries.npm]\nnpm = \"http://127.0.0.1:1\"\n";
    repository.config(format!("{}{registries}", config.replace("\"cncf\"", "\"site\", \"npm\"")));
    let push = rhdh_pack(repository.root()).args(["push", "--atomic=false"]).output().unwrap();
    let stderr = String::from_utf8_lossy(&push.stderr);
    assert_eq!(push.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("ECONNREFUSED"), "{stderr}");
    assert!(!repository.root().join("public").exists());
}

#[test]
fn killed_at_any_moment_nothing_is_half_published() {
    let registry = Registry::start(Auth::Open);
    let project = packaged(400_000);
    let both = BTreeSet::from(["1.0.0".to_owned(), "next".to_owned()]);

    // How long a push takes that nobody kills.
    let clean = copy_for(&project, &format!("{}/clean", registry.host));
    let started = Instant::now();
    assert!(push(clean.path()).stderr(Stdio::null()).status().unwrap().success());
    let whole = started.elapsed();

    let (next, killed, too_late) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let (without_tags, with_tags) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let worker = || {
        let upstream = registry.host.clone();
        let proxy = Server::start(move |request| forward(&upstream, request));
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if killed.load(Ordering::Relaxed) >= 200 {
                return;
            }
            let namespace = format!("kill-{number}");
            let copy = copy_for(&project, &format!("{}/{namespace}", proxy.host));
            let mut child = push(copy.path()).stderr(Stdio::null()).spawn().unwrap();
            // Anywhere in a push, which takes longer while others run.
            std::thread::sleep(whole.mul_f64(1.5 * fastrand::f64()));
            let count = if child.try_wait().unwrap().is_none() { &killed } else { &too_late };
            count.fetch_add(1, Ordering::Relaxed);
            child.kill().unwrap();
            child.wait().unwrap();
            proxy.settle();

            let base = |name: &str| format!("http://{}/v2/{namespace}/acme-{name}", registry.host);
            let tags: Vec<_> = PLUGINS.map(|name| whole_tags(&base(name))).into();
            if tags.iter().any(|tags| !tags.is_empty()) {
                with_tags.fetch_add(1, Ordering::Relaxed);
                // Tags come after everything else.
                for name in PLUGINS {
                    let layout = fs_err::read(copy.path().join(".rhdh-pack/oci/index.json")).unwrap();
                    let index: Value = serde_json::from_slice(&layout).unwrap();
                    let of = |entry: &&Value| {
                        entry["annotations"]["org.opencontainers.image.ref.name"] == format!("acme-{name}")
                    };
                    let entry = index["manifests"].as_array().unwrap().iter().find(of).unwrap();
                    let digest = entry["digest"].as_str().unwrap();
                    assert_eq!(get(&format!("{}/manifests/{digest}", base(name))).0, 200, "{name}");
                }
            } else {
                without_tags.fetch_add(1, Ordering::Relaxed);
            }

            // A second run completes it, and uploads what is missing and no more.
            let there: usize = PLUGINS.iter().map(|name| blobs(&registry, &format!("{namespace}/acme-{name}"))).sum();
            proxy.received.lock().unwrap().clear();
            let output = push(copy.path()).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let received = proxy.received.lock().unwrap();
            let uploads =
                received.iter().filter(|request| request.method == "PUT" && request.target.contains("/uploads/"));
            assert_eq!(uploads.count(), 6 - there, "run {number}");
            for name in PLUGINS {
                assert_eq!(whole_tags(&base(name)), both);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(worker);
        }
    });
    println!(
        "{killed:?} pushes of three artifacts killed ({too_late:?} others had ended): {without_tags:?} left no tag, \
         {with_tags:?} some; no tag without all that it needs, and every second run uploaded what was missing only"
    );
}

/// How many blobs a repository has.
fn blobs(registry: &Registry, repository: &str) -> usize {
    let folder = registry.data.join("docker/registry/v2/repositories").join(repository).join("_layers/sha256");
    fs_err::read_dir(folder)
        .map_or(0, |entries| entries.filter(|entry| entry.as_ref().unwrap().path().join("link").exists()).count())
}

#[test]
fn an_interrupted_push_ends_within_a_second_and_says_so() {
    let registry = Registry::start(Auth::Open);
    let project = packaged(10_000);
    // Uploads of the third plugin never end.
    let upstream = registry.host.clone();
    let (reached, is_reached) = std::sync::mpsc::channel();
    let reached = Mutex::new(reached);
    let proxy = Server::start(move |request| {
        if request.method == "POST" && request.target.contains("acme-three") {
            let _ = reached.lock().unwrap().send(request.target.clone());
            std::thread::sleep(Duration::from_secs(20));
        }
        forward(&upstream, request)
    });
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let namespace = format!("ns{}", signal.as_raw());
        let copy = copy_for(&project, &format!("{}/{namespace}", proxy.host));
        let mut child = push(copy.path()).stderr(Stdio::piped()).spawn().unwrap();
        while !is_reached.recv_timeout(Duration::from_secs(20)).unwrap().contains(&namespace) {}
        let started = Instant::now();
        let id = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(id, signal).unwrap();
        let status = child.wait().unwrap();
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
        assert!(!status.success());
        let result = result(copy.path());
        let three = result["plugins"].as_array().unwrap().iter().find(|plugin| plugin["id"] == "three").unwrap();
        assert_eq!(three["state"], "failed");
        assert_eq!(three["error"]["code"], "interrupted");
        for name in PLUGINS {
            let base = format!("http://{}/v2/{namespace}/acme-{name}", registry.host);
            assert_eq!(whole_tags(&base), BTreeSet::new());
        }
    }
}

#[test]
fn no_secret_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = Certificate::new(folder.path());
    let file = certificate.certificate.clone();
    let server = tokens::start(certificate, 300);
    let realm = format!("http://{}/token", server.host);
    let registry = Registry::start(Auth::Token { realm, certificate: file });
    // Elsewhere: somebody who asks who it is, and keeps what is said.
    let thief = Server::start(|request| {
        request.read_body(usize::MAX);
        answer("401 Unauthorized", "WWW-Authenticate: Basic realm=\"please\"\r\n", "")
    });
    let (upstream, elsewhere) = (registry.host.clone(), thief.host.clone());
    let front = Server::start(move |request| {
        if request.method == "PUT" && request.target.contains("acme-two") && request.target.contains("/uploads/") {
            request.read_body(usize::MAX);
            return answer(
                "307 Temporary Redirect",
                &format!("Location: http://{elsewhere}{}\r\n", request.target),
                "",
            );
        }
        forward(&upstream, request)
    });

    let project = packaged(10_000);
    let copy = copy_for(&project, &format!("{}/acme", front.host));
    let (name, password) = tokens::USER.split_once(':').unwrap();
    let child = push(copy.path())
        .args(["--verbose"])
        .env("RHDH_PACK_CNCF_USERNAME", name)
        .env("RHDH_PACK_CNCF_PASSWORD", password)
        .env("RUST_LOG", "trace")
        .env("RUST_BACKTRACE", "full")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let watcher = std::thread::spawn(move || command_lines(pid));
    let output = child.wait_with_output().unwrap();
    let command_lines = watcher.join().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));

    let mut secrets = vec![password.to_owned(), STANDARD.encode(tokens::USER)];
    for request in server.received.lock().unwrap().iter() {
        assert!(request.head.contains(&STANDARD.encode(tokens::USER)));
    }
    for request in front.received.lock().unwrap().iter() {
        let token =
            request.head.lines().find_map(|line| line.to_ascii_lowercase().find("bearer ").map(|at| &line[at + 7..]));
        secrets.extend(token.map(str::to_owned));
        assert!(!request.head.contains(&STANDARD.encode(tokens::USER)), "the password is for the token server only");
    }
    secrets.sort();
    secrets.dedup();
    assert!(secrets.len() >= 5, "the password, and a token for each repository");

    let mut places = vec![
        ("stdout".to_owned(), output.stdout),
        ("stderr".to_owned(), output.stderr),
        ("command lines".to_owned(), command_lines),
    ];
    for request in thief.received.lock().unwrap().iter() {
        places.push(("the redirect's target".to_owned(), request.head.clone().into_bytes()));
    }
    for entry in
        walkdir::WalkDir::new(copy.path()).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file())
    {
        places.push((entry.path().display().to_string(), fs_err::read(entry.path()).unwrap()));
    }
    assert!(places.iter().any(|(place, _)| place == "the redirect's target"));
    let mut hits = Vec::new();
    for (place, content) in &places {
        for secret in &secrets {
            if content.windows(secret.len()).any(|window| window == secret.as_bytes()) {
                hits.push(place);
            }
        }
    }
    println!("{} secrets looked for in {} places: {} hits", secrets.len(), places.len(), hits.len());
    assert!(hits.is_empty(), "{hits:?}");
}

#[test]
fn what_a_file_of_credentials_holds_is_masked_where_a_runner_reads_it() {
    let registry = Registry::start(Auth::Basic { username: "ann", password: "s3cret-pass" });
    let project = packaged(10_000);
    let copy = copy_for(&project, &format!("{}/acme", registry.host));
    let pair = STANDARD.encode("ann:s3cret-pass");
    let auth = serde_json::json!({ "auths": { &registry.host: { "auth": pair } } });
    fs_err::write(copy.path().join("auth.json"), auth.to_string()).unwrap();
    let push = || {
        let mut command = push(copy.path());
        command.env("REGISTRY_AUTH_FILE", copy.path().join("auth.json")).env("GITHUB_ACTIONS", "true");
        command
    };
    // A runner keeps these lines to itself, and hides what they name from then on.
    let output = push().output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
    let (masks, shown): (Vec<&str>, Vec<&str>) = stderr.lines().partition(|line| line.starts_with("::add-mask::"));
    assert_eq!(masks, ["::add-mask::s3cret-pass".to_owned(), format!("::add-mask::{pair}")]);
    assert!(!shown.iter().any(|line| line.contains("s3cret-pass") || line.contains(&pair)));

    // In a file they would be the leak; and to others they mean nothing.
    let file = copy.path().join("log");
    let status = push().stderr(std::fs::File::create(&file).unwrap()).status().unwrap();
    assert!(status.success());
    assert!(!fs_err::read_to_string(&file).unwrap().contains("s3cret"));
    let output = push().env_remove("GITHUB_ACTIONS").output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stderr).contains("s3cret"));
}

/// The command lines of all processes, as long as the process `pid` runs.
fn command_lines(pid: u32) -> Vec<u8> {
    let mut lines = Vec::new();
    while Path::new(&format!("/proc/{pid}/exe")).exists() {
        for entry in fs_err::read_dir("/proc").unwrap().flatten() {
            lines.extend(std::fs::read(entry.path().join("cmdline")).unwrap_or_default());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    lines
}

#[test]
fn a_private_authority_is_trusted_when_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Certificate::new(folder.path());
    let server = authority.server(folder.path());
    let tls = format!("  tls:\n    certificate: {}\n    key: {}\n", server.certificate.display(), server.key.display());
    let registry = Registry::start_with(Auth::Open, &tls, "");
    let project = packaged(10_000);
    let copy = copy_for(&project, &format!("{}/acme", registry.host));
    let output = push(copy.path()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("checking the certificate of `127.0.0.1") && stderr.contains("SSL_CERT_FILE"), "{stderr}");

    let output = push(copy.path()).env("SSL_CERT_FILE", &authority.certificate).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    // For this registry only: a file of the repository, or the one that the environment names.
    let authority = fs_err::read(&authority.certificate).unwrap();
    fs_err::write(copy.path().join("acme.pem"), &authority).unwrap();
    let trusting = copy_for(&project, &format!("{}/acme", registry.host));
    let elsewhere = folder.path().join("elsewhere.pem");
    fs_err::write(&elsewhere, &authority).unwrap();
    let output = push(trusting.path()).env("RHDH_PACK_CNCF_CA", &elsewhere).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = push(trusting.path()).env("RHDH_PACK_OTHER_CA", &elsewhere).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    fs_err::write(trusting.path().join("acme.pem"), &authority).unwrap();
    let file = trusting.path().join("rhdh-plugins.toml");
    let config = fs_err::read_to_string(&file).unwrap();
    fs_err::write(&file, format!("{config}ca = \"acme.pem\"\n")).unwrap();
    let output = push(trusting.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (text, why) in [(&b"nothing"[..], "holds no certificate"), (b"", "holds no certificate")] {
        fs_err::write(trusting.path().join("acme.pem"), text).unwrap();
        let output = push(trusting.path()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{stderr}");
        assert!(stderr.contains("acme.pem") && stderr.contains(why), "{stderr}");
    }
    // An authority is no certificate of the machine's own: without it, the registry is refused as before.
    fs_err::write(&elsewhere, fs_err::read(&Certificate::new(copy.path()).certificate).unwrap()).unwrap();
    let output = push(copy.path()).env("RHDH_PACK_CNCF_CA", &elsewhere).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));

    // `insecure` asks no questions.
    let file = copy.path().join("rhdh-plugins.toml");
    let config = fs_err::read_to_string(&file).unwrap();
    fs_err::write(&file, format!("{config}insecure = true\n")).unwrap();
    let output = push(copy.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_clock_that_is_wrong_is_thought_of() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Certificate::new(folder.path());
    let server = authority.server(folder.path());
    let tls = format!("  tls:\n    certificate: {}\n    key: {}\n", server.certificate.display(), server.key.display());
    let secure = Registry::start_with(Auth::Open, &tls, "");
    let project = packaged(10_000);
    let late = |project: &Path| {
        // `faketime` shows its child another time.
        let command = push(project);
        let mut late = common::scrubbed("faketime");
        late.arg("2049-01-01").arg(command.get_program()).args(command.get_args()).current_dir(project);
        late.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        late.env("SSL_CERT_FILE", &authority.certificate);
        late.output().unwrap_or_else(|error| common::registry::missing("faketime", "faketime", &error))
    };
    let copy = copy_for(&project, &format!("{}/acme", secure.host));
    let output = late(copy.path());
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("look whether the machine's clock is right"), "{stderr}");

    // Where no certificate depends on the time, nothing does.
    let plain = Registry::start(Auth::Open);
    let copy = copy_for(&project, &format!("{}/acme", plain.host));
    let output = late(copy.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Runs `command` with `input` on stdin.
fn with_stdin(mut command: Command, input: &str) -> std::process::Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A program that does not read its stdin has ended: its status says why.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn a_password_comes_from_stdin() {
    let registry = Registry::start(Auth::Basic { username: "ann", password: "s3cret pass" });
    let project = packaged(10_000);
    let copy = copy_for(&project, &format!("{}/acme", registry.host));
    let login = |input: &str, more: &[&str], project: &Path| {
        let mut command = push(project);
        command.args(["--registry-username", "ann", "--registry-password-stdin"]).args(more);
        let output = with_stdin(command, input);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, stderr) = login("wr0ng\n", &[], copy.path());
    let source = "the credentials came from stdin (`--registry-password-stdin`)";
    assert!(code == Some(3) && stderr.contains(source) && !stderr.contains("wr0ng"), "{stderr}");
    let (code, stderr) = login("", &[], copy.path());
    assert!(code == Some(2) && stderr.contains("reading the password from stdin"), "{stderr}");
    let (code, stderr) = login("s3cret pass\n", &["--registry", "cncfe"], copy.path());
    assert!(code == Some(2) && stderr.contains("did you mean `cncf`?"), "{stderr}");
    let (code, stderr) = login("s3cret pass\r\n", &[], copy.path());
    assert_eq!(code, Some(0), "{stderr}");

    // With a second host it must be said which is meant.
    let file = copy.path().join("rhdh-plugins.toml");
    let config = fs_err::read_to_string(&file).unwrap();
    fs_err::write(&file, format!("{config}[registries.quay]\noci = \"quay.io/acme\"\n")).unwrap();
    let (code, stderr) = login("s3cret pass", &[], copy.path());
    assert!(code == Some(2) && stderr.contains("there are 2: 127.0.0.1:"), "{stderr}");
    let (code, stderr) = login("s3cret pass", &["--registry", "cncf"], copy.path());
    assert_eq!(code, Some(0), "{stderr}");

    // Half of it is no login.
    for arguments in [&["--registry-username", "ann"][..], &["--registry-password-stdin"], &["--registry", "cncf"]] {
        assert_eq!(push(copy.path()).args(arguments).output().unwrap().status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn a_registry_behind_a_proxy_is_reached_through_it_unless_no_proxy_says_otherwise() {
    let registry = Registry::start(Auth::Open);
    let upstream = registry.host.clone();
    let server = Server::start(move |request| forward(&upstream, request));
    let tunnel = Tunnel::to(&server.host);
    let project = packaged(10_000);
    let copy = copy_for(&project, &format!("{HOST}/acme"));
    let mut direct = push(copy.path());
    let output = tunnel.around(&mut direct).env("NO_PROXY", HOST).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(tunnel.asked.lock().unwrap().len(), 0);

    let output = tunnel.around(&mut push(copy.path())).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in PLUGINS {
        assert!(registry.stored(&format!("acme/acme-{name}"), "next").is_some(), "{name}");
    }
    assert!(tunnel.asked.lock().unwrap().iter().all(|line| *line == format!("CONNECT {HOST}:443 HTTP/1.1")));
}

#[test]
fn a_wrong_password_says_where_it_came_from() {
    let registry = Registry::start(Auth::Basic { username: "ann", password: "s3cret pass" });
    let project = packaged(10_000);
    let copy = copy_for(&project, &format!("{}/acme", registry.host));
    let tools = tempfile::tempdir().unwrap();
    let helper = tools.path().join("docker-credential-acme");
    fs_err::write(&helper, "#!/bin/sh\necho '{\"Username\":\"ann\",\"Secret\":\"wr0ng\"}'\n").unwrap();
    common::plugins::make_executable(&helper);
    let file = |content: &Value| {
        fs_err::write(tools.path().join("auth.json"), content.to_string()).unwrap();
        ("REGISTRY_AUTH_FILE", tools.path().join("auth.json").display().to_string())
    };
    let says = |variables: &[(&str, String)], source: &str| {
        let path = format!("{}:{}", tools.path().display(), std::env::var("PATH").unwrap());
        let mut command = push(copy.path());
        command.env("PATH", path).envs(variables.iter().map(|(name, value)| (name, value)));
        let output = command.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).replace("\n    ", " ");
        assert_eq!(output.status.code(), Some(3), "{stderr}");
        assert!(
            stderr.contains(&format!("the credentials came from {source};")) && !stderr.contains("wr0ng"),
            "{stderr}"
        );
    };
    let pair = |prefix: &str| {
        [("USERNAME", "ann"), ("PASSWORD", "wr0ng")].map(|(end, text)| (format!("{prefix}_{end}"), text))
    };
    for prefix in ["RHDH_PACK", "RHDH_PACK_CNCF"] {
        let pair = pair(prefix);
        let variables: Vec<(&str, String)> =
            pair.iter().map(|(name, text)| (name.as_str(), (*text).to_owned())).collect();
        says(&variables, &format!("`{prefix}_PASSWORD`"));
    }
    // `ann:wr0ng`
    let auth = serde_json::json!({ "auths": { registry.host.as_str(): { "auth": "YW5uOndyMG5n" } } });
    let variable = file(&auth);
    says(std::slice::from_ref(&variable), &format!("`{}`", variable.1));
    let variable = file(&serde_json::json!({ "credHelpers": { registry.host.as_str(): "acme" } }));
    says(&[variable], "the helper `docker-credential-acme`");
}

#[test]
fn a_release_waits_for_all_of_its_plugins_unless_it_is_told_otherwise() {
    let registry = Registry::start(Auth::Open);
    let project = packaged(10_000);
    let copy = copy_for(&project, &format!("{}/acme", registry.host));
    // One of the plugins could not be exported.
    let file = copy.path().join(".rhdh-pack/result.json");
    let mut result: Value = serde_json::from_slice(&fs_err::read(&file).unwrap()).unwrap();
    let two = result["plugins"].as_array_mut().unwrap().iter_mut().find(|plugin| plugin["id"] == "two").unwrap();
    two["state"] = "failed".into();
    two["image"] = Value::Null;
    two["tgz"] = Value::Null;
    fs_err::write(&file, result.to_string()).unwrap();
    let config = fs_err::read_to_string(copy.path().join("rhdh-plugins.toml")).unwrap();
    let tags = |name: &str| whole_tags(&format!("http://{}/v2/acme/acme-{name}", registry.host));

    // The channel overwrites: what is there goes on, but for `--atomic`.
    let before = fs_err::read(&file).unwrap();
    let output = push(copy.path()).arg("--atomic").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("another artifact of it cannot be: `two`"));
    assert_eq!((tags("one").len(), tags("three").len()), (0, 0));

    // A release does not, unless it is told so.
    let release = config.replace("overwrite = true", "overwrite = false");
    fs_err::write(copy.path().join("rhdh-plugins.toml"), &release).unwrap();
    fs_err::write(&file, &before).unwrap();
    assert_eq!(push(copy.path()).output().unwrap().status.code(), Some(1));
    assert_eq!((tags("one").len(), tags("three").len()), (0, 0));
    fs_err::write(&file, &before).unwrap();
    assert_eq!(push(copy.path()).arg("--atomic=false").output().unwrap().status.code(), Some(1));
    assert_eq!((tags("one").len(), tags("two").len(), tags("three").len()), (2, 0, 2));
}
