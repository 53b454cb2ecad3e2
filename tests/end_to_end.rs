//! The whole way on `examples/todo`, as a newcomer goes it: an empty clone, `init --yes`, `check`, `run` with the real
//! RHDH CLI, `install`, and node loads what is installed. Then the same images go to a real registry with basic auth,
//! and skopeo, tar and node read everything back. One test, because the export takes a minute.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::registry::{Auth, Registry};
use serde_json::Value;

const USERNAME: &str = "acme";
const PASSWORD: &str = "correct horse";

/// What each plugin of the example is called in the images.
const PLUGINS: [(&str, &str); 3] = [
    ("todo", "acme-plugin-todo"),
    ("todo-backend", "acme-plugin-todo-backend"),
    ("todo-backend-module-seed", "acme-plugin-todo-backend-module-seed"),
];

/// Those of them that node can load.
const BACKENDS: [&str; 2] = ["acme-plugin-todo-backend", "acme-plugin-todo-backend-module-seed"];

#[test]
fn from_an_empty_clone_to_a_registry() {
    let folder = tempfile::tempdir().unwrap();
    let project = clone_without_configuration(folder.path());
    newcomer(&project);
    the_plugins_load_once_installed(&project, &folder.path().join("dynamic-plugins-root"));

    let registry = Registry::start(Auth::Basic { username: USERNAME, password: PASSWORD });
    let auth_file = folder.path().join("auth.json");
    let auth = STANDARD.encode(format!("{USERNAME}:{PASSWORD}"));
    fs_err::write(&auth_file, format!("{{\"auths\": {{\"{}\": {{\"auth\": \"{auth}\"}}}}}}", registry.host)).unwrap();
    let mut config = fs_err::read_to_string(project.join("rhdh-plugins.toml")).unwrap();
    config.push_str(&format!(
        "\n[defaults]\nregistries = [\"cncf\", \"site\"]\n\
         [registries.cncf]\noci = \"{}/acme\"\n\
         [registries.site]\ndir = \"public/plugins\"\nbase-url = \"https://plugins.acme.dev\"\n\
         [channels.next]\ntags = [\"next__{{version}}\", \"next\"]\noverwrite = true\n\
         attach = [\"sbom\", \"provenance\"]\n",
        registry.host
    ));
    fs_err::write(project.join("rhdh-plugins.toml"), config).unwrap();

    // What is packaged is pushed by the stage of its own, as in a CI where that is another job.
    let push = common::rhdh_pack(&project)
        .args(["--verbose", "push", "--channel", "next"])
        .env("REGISTRY_AUTH_FILE", &auth_file)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&push.stderr);
    assert_eq!(push.status.code(), Some(0), "{stderr}");
    assert!(!stderr.contains(PASSWORD), "{stderr}");

    let result: Value = read_json(&project.join(".rhdh-pack/result.json"));
    assert_eq!(result["outcome"], "success");
    assert_eq!(result["channel"], "next");
    for (id, dir) in PLUGINS {
        let plugin = find(&result["plugins"], id);
        assert_eq!(plugin["state"], "published", "{plugin}");
        let unpacked = read_back(&registry, &auth_file, dir, &plugin["images"][0], folder.path());
        check_layer(&unpacked, &[dir]);
        assert_eq!(read_json(&unpacked.join(dir).join("package.json"))["version"], "0.1.0");
        check_archive(&project, plugin);
    }
    let bundle = find(&result["bundles"], "todo");
    let unpacked = read_back(&registry, &auth_file, "todo", &bundle["images"][0], folder.path());
    check_layer(&unpacked, &PLUGINS.map(|(_, dir)| dir));

    // What RHDH's backend does with it: load the entry point, expect a backend feature as its default export.
    for dir in BACKENDS {
        assert_eq!(backend_feature(&unpacked.join(dir), &project), "@backstage/BackendFeature");
    }

    let snippet = fs_err::read_to_string(project.join(".rhdh-pack/dynamic-plugins.yaml")).unwrap();
    existing_files_are_brought_up_to_date(&project, &snippet, &result);
    let snippet: Value = serde_yaml::from_str(&snippet).unwrap();
    let entries = snippet["plugins"].as_array().unwrap();
    assert_eq!(entries.len(), 3, "{snippet}");
    for ((id, dir), entry) in PLUGINS.iter().zip(entries) {
        let digest = find(&result["plugins"], id)["images"][0]["digest"].as_str().unwrap();
        assert_eq!(entry["package"], format!("oci://{}/acme/{dir}@{digest}!{dir}", registry.host));
        assert_eq!(entry["disabled"], false);
    }
    assert!(entries[0]["pluginConfig"]["dynamicPlugins"]["frontend"]["acme.plugin-todo"].is_object(), "{snippet}");

    the_bundle_says_what_it_is(&project, &auth_file, bundle);
    the_same_bytes_again(&project, &result, folder.path());
    nothing_is_pushed_twice(&project, &auth_file, &result);
}

/// A clone of the example's sources, without its configuration, in a folder of the name `todo`.
fn clone_without_configuration(folder: &Path) -> PathBuf {
    let sources = folder.join("sources");
    copy_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/todo"), &sources);
    fs_err::remove_file(sources.join("rhdh-plugins.toml")).unwrap();
    let git = |folder: &Path, arguments: &[&str]| {
        let me = ["-c", "user.name=me", "-c", "user.email=me@acme.dev", "-c", "commit.gpgsign=false"];
        run(common::scrubbed("git").args(me).args(arguments).current_dir(folder));
    };
    git(&sources, &["init", "--quiet", "--initial-branch=main"]);
    git(&sources, &["add", "--all"]);
    git(&sources, &["commit", "--quiet", "--message=The plugins"]);
    git(folder, &["clone", "--quiet", "--bare", "sources", "todo.git"]);
    git(folder, &["clone", "--quiet", "todo.git", "todo"]);
    folder.join("todo")
}

/// What the guide tells a newcomer to do, in its order.
fn newcomer(project: &Path) {
    for arguments in [&["init", "--yes"][..], &["check"], &["doctor"], &["suggest"], &["--verbose", "run"]] {
        let output = common::rhdh_pack(project).args(arguments).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {stderr}");
        assert_eq!(arguments.contains(&"run"), stderr.contains("rhdh-pack's own part"), "{stderr}");
    }
    let result: Value = read_json(&project.join(".rhdh-pack/result.json"));
    assert_eq!((&result["outcome"], &result["channel"]), (&"success".into(), &"local".into()));
    for (id, _) in PLUGINS {
        assert_eq!(find(&result["plugins"], id)["state"], "packaged");
    }
}

/// `install` puts what the last run left into a folder as RHDH's init container does, and node loads it from there.
/// Nothing is in a registry yet: the archives are installed, into folders that npm names.
fn the_plugins_load_once_installed(project: &Path, root: &Path) {
    let output = common::rhdh_pack(project).arg("install").arg("--root").arg(root).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    for (_, dir) in PLUGINS {
        assert!(root.join(format!("{dir}-dynamic-0.1.0/package.json")).is_file(), "{dir}");
    }
    for dir in BACKENDS {
        assert_eq!(backend_feature(&root.join(format!("{dir}-dynamic-0.1.0")), project), "@backstage/BackendFeature");
    }
}

/// SBOM and provenance of the bundle, as `inspect` reads them from the registry.
fn the_bundle_says_what_it_is(project: &Path, auth_file: &Path, bundle: &Value) {
    let reference = format!("oci://{}", bundle["images"][0]["reference"].as_str().unwrap());
    let inspect = |format: &str| {
        let mut command = common::rhdh_pack(project);
        let output =
            run(command.args(["inspect", &reference, "--format", format]).env("REGISTRY_AUTH_FILE", auth_file));
        serde_json::from_slice::<Value>(&output).unwrap()
    };
    let seen = inspect("json");
    let image = &seen["images"][0];
    assert_eq!(image["content_key"], bundle["content_key"]);
    assert_eq!(image["plugins"].as_array().unwrap().len(), PLUGINS.len());
    // express and what it brings along, luxon, the packages of the workspace that were embedded.
    assert!(image["sbom"]["components"].as_u64().unwrap() > 50, "{seen}");
    assert_eq!(image["sbom"]["incomplete"], true, "the frontend's dependencies are in its own files");
    let sbom = inspect("sbom");
    let names: Vec<&str> =
        sbom["components"].as_array().unwrap().iter().map(|component| component["name"].as_str().unwrap()).collect();
    assert!(["express", "luxon", "plugin-todo-common"].iter().all(|name| names.contains(name)), "{names:?}");
    let build = inspect("provenance")["predicate"]["buildDefinition"].clone();
    // The commit comes first: this is a clone.
    let sources = build["resolvedDependencies"].as_array().unwrap();
    assert!(sources[0]["digest"]["gitCommit"].is_string(), "{build}");
    assert_eq!(sources[1]["uri"], "pkg:npm/%40red-hat-developer-hub/cli@1.9.1");
    assert_eq!(build["externalParameters"]["bundle"]["plugins"].as_array().unwrap().len(), PLUGINS.len());
    assert_eq!(build["internalParameters"]["contentKey"], bundle["content_key"]);
}

/// What the run before last left in a repository of configurations becomes what this run says, byte for byte; and so in
/// the forms for Helm and the operator.
fn existing_files_are_brought_up_to_date(project: &Path, snippet: &str, result: &Value) {
    let mut old = snippet.to_owned();
    for (id, _) in PLUGINS {
        let digest = find(&result["plugins"], id)["images"][0]["digest"].as_str().unwrap();
        assert!(old.contains(digest), "{old}");
        old = old.replace(digest, &format!("sha256:{}", "0".repeat(64)));
    }
    let within = |head: &str, margin: &str, text: &str| -> String {
        head.to_owned() + &text.lines().map(|line| format!("{margin}{line}\n")).collect::<String>()
    };
    let forms = |text: &str| {
        [
            ("dynamic-plugins.yaml", text.to_owned()),
            ("values.yaml", within("global:\n  dynamic:\n", "    ", text)),
            ("configmap.yaml", within("kind: ConfigMap\ndata:\n  dynamic-plugins.yaml: |\n", "    ", text)),
        ]
    };
    for (name, text) in forms(&old) {
        fs_err::write(project.join(name), text).unwrap();
    }
    let names = ["dynamic-plugins.yaml", "values.yaml", "configmap.yaml"];
    let output = common::rhdh_pack(project).arg("update").args(names).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (name, text) in forms(snippet) {
        assert_eq!(fs_err::read_to_string(project.join(name)).unwrap(), text, "{name}");
        fs_err::remove_file(project.join(name)).unwrap();
    }
}

/// `package` gives the same digests a second time, and in a copy of the repository with other file times, another
/// umask, another locale and another number of threads.
fn the_same_bytes_again(project: &Path, result: &Value, folder: &Path) {
    let expected = digests(result);
    let again = common::rhdh_pack(project).args(["package"]).status().unwrap();
    assert!(again.success());
    assert_eq!(digests(&read_json(&project.join(".rhdh-pack/result.json"))), expected);

    let copy = folder.join("another place/todo");
    fs_err::create_dir_all(copy.parent().unwrap()).unwrap();
    // A new umask and new times for every file of the copy; the permission to execute is content, and stays.
    let script = "umask 077 && cp -R --no-preserve=timestamps,ownership \"$1\" \"$2\" && \
                  find \"$2/plugins\" -exec touch -h -d 2001-02-03 {} +";
    run(Command::new("bash").args(["-c", script, "copy"]).arg(project).arg(&copy));
    fs_err::remove_dir_all(copy.join(".rhdh-pack")).unwrap();
    let elsewhere = common::rhdh_pack(&copy)
        .args(["package", "--jobs", "1"])
        .envs([("LC_ALL", "tr_TR.UTF-8"), ("TZ", "Asia/Kathmandu")])
        .status()
        .unwrap();
    assert!(elsewhere.success());
    assert_eq!(digests(&read_json(&copy.join(".rhdh-pack/result.json"))), expected);
}

/// A second push finds everything where it is.
fn nothing_is_pushed_twice(project: &Path, auth_file: &Path, result: &Value) {
    let push = common::rhdh_pack(project).args(["push"]).env("REGISTRY_AUTH_FILE", auth_file).output().unwrap();
    assert_eq!(push.status.code(), Some(0), "{}", String::from_utf8_lossy(&push.stderr));
    let second: Value = read_json(&project.join(".rhdh-pack/result.json"));
    for (id, _) in PLUGINS {
        let image = |result: &Value| find(&result["plugins"], id)["images"][0].clone();
        assert_eq!(image(&second)["digest"], image(result)["digest"]);
        assert_eq!(image(&second)["state"], "already-there");
    }
}

/// Copies a pushed image with skopeo, checks digests and annotation, and unpacks its layer; returns that folder.
fn read_back(registry: &Registry, auth_file: &Path, image: &str, published: &Value, folder: &Path) -> PathBuf {
    let digest = published["digest"].as_str().unwrap();
    let by_tag = format!("docker://{}/acme/{image}:next__0.1.0", registry.host);
    let inspected: Value =
        serde_json::from_slice(&run(skopeo("inspect", auth_file).args(["--tls-verify=false", &by_tag]))).unwrap();
    assert_eq!(inspected["Digest"], digest, "{inspected}");
    assert_eq!(inspected["Os"], "linux");
    assert_eq!(inspected["Architecture"], "amd64");
    assert_eq!(inspected["Layers"].as_array().unwrap().len(), 1);

    let by_digest = format!("docker://{}/acme/{image}@{digest}", registry.host);
    assert_eq!(published["reference"], by_digest.trim_start_matches("docker://"));
    let copied = folder.join(format!("copied-{image}"));
    run(skopeo("copy", auth_file)
        .args(["--src-tls-verify=false", &by_digest])
        .arg(format!("dir:{}", copied.display())));
    let manifest = fs_err::read(copied.join("manifest.json")).unwrap();
    assert_eq!(digest, rhdh_pack::digest::Digest::of(&manifest).as_str());
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let annotation = manifest["annotations"]["io.backstage.dynamic-packages"].as_str().unwrap();
    let decoded = STANDARD.decode(annotation).unwrap();
    let packages: Vec<BTreeMap<String, Value>> = serde_json::from_slice(&decoded).unwrap();

    let layer = manifest["layers"][0]["digest"].as_str().unwrap().trim_start_matches("sha256:");
    let unpacked = folder.join(format!("unpacked-{image}"));
    fs_err::create_dir_all(&unpacked).unwrap();
    run(Command::new("tar").arg("-xzf").arg(copied.join(layer)).arg("-C").arg(&unpacked));
    for package in packages {
        for dir in package.keys() {
            assert!(unpacked.join(dir).join("package.json").is_file(), "{dir} of the annotation is not in the layer");
        }
    }
    unpacked
}

fn skopeo(command: &str, auth_file: &Path) -> Command {
    let mut skopeo = Command::new("skopeo");
    skopeo.args([command, "--authfile"]).arg(auth_file);
    skopeo
}

/// The layer holds these folders, `index.json`, and nothing that an installer skips.
fn check_layer(unpacked: &Path, dirs: &[&str]) {
    let mut names: Vec<String> =
        fs_err::read_dir(unpacked).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let mut expected: Vec<String> = dirs.iter().map(|&dir| dir.to_owned()).chain(["index.json".to_owned()]).collect();
    names.sort();
    expected.sort();
    assert_eq!(names, expected);
    let odd = run(Command::new("find").arg(unpacked).args(["-not", "-type", "f", "-not", "-type", "d"]));
    assert_eq!(String::from_utf8_lossy(&odd), "");
}

/// The archive in the folder registry has the integrity of the result, of its `.integrity` file, and of openssl.
fn check_archive(project: &Path, plugin: &Value) {
    let file = &plugin["files"][0];
    let path = project.join("public/plugins").join(file["url"].as_str().unwrap().rsplit('/').next().unwrap());
    let script = "openssl dgst -sha512 -binary \"$1\" | base64 -w0";
    let digest = run(Command::new("bash").args(["-c", script, "integrity"]).arg(&path));
    let integrity = format!("sha512-{}", String::from_utf8(digest).unwrap());
    assert_eq!(file["integrity"], integrity.as_str());
    assert_eq!(plugin["tgz"]["integrity"], integrity.as_str());
    let beside = fs_err::read_to_string(format!("{}.integrity", path.display())).unwrap();
    assert_eq!(beside.trim(), integrity);
}

/// Loads a backend plugin in node as RHDH does: its `@backstage/*` peers come from the application.
fn backend_feature(plugin: &Path, project: &Path) -> String {
    let script = "const feature = require(process.argv[1]); process.stdout.write(String(feature.default.$$type))";
    let out = run(Command::new("node").args(["-e", script]).arg(plugin).env("NODE_PATH", project.join("node_modules")));
    String::from_utf8(out).unwrap()
}

fn digests(result: &Value) -> Vec<[String; 4]> {
    let artifacts = result["plugins"].as_array().unwrap().iter().chain(result["bundles"].as_array().unwrap());
    artifacts
        .map(|artifact| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            [&artifact["id"], &artifact["image"]["digest"], &artifact["sbom"]["digest"], &artifact["tgz"]["integrity"]]
                .map(text)
        })
        .collect()
}

fn find<'a>(artifacts: &'a Value, id: &str) -> &'a Value {
    artifacts.as_array().unwrap().iter().find(|artifact| artifact["id"] == id).unwrap()
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap()
}

/// The command's stdout; a failure shows its stderr.
fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; `bash .ci/tools` installs it"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// What git would hold of the example: no installed packages, no build output of an earlier try.
fn copy_sources(from: &Path, to: &Path) {
    const MADE: [&str; 6] = ["node_modules", "dist", "dist-types", "dist-dynamic", "dist-scalprum", ".rhdh-pack"];
    fs_err::create_dir_all(to).unwrap();
    for entry in fs_err::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if MADE.iter().any(|made| name == *made) || name == ".yarn" {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            copy_sources(&entry.path(), &to.join(name));
        } else {
            fs_err::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}
