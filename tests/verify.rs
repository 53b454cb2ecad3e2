//! `verify`, `install` and `diff` on what several makers make: rhdh-pack, npm, tar, buildah and skopeo, in folders and
//! in a real registry.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::plugins::{DIR, write};
use common::registry::{Auth, Registry, run};
use common::{rhdh_pack, transcript};
use serde_json::Value;
use tempfile::TempDir;

/// A folder with a backend's `dist-dynamic` and a stand-in for the packages that RHDH provides.
struct Bench {
    folder: TempDir,
}

/// A backend feature, as `createBackendPlugin` makes one.
const FEATURE: &str = r#"
const { createBackendPlugin } = require('@backstage/backend-plugin-api');
const ms = require('ms');
exports.default = createBackendPlugin(ms);
// What plugins leave running must not keep the test from ending.
setInterval(() => {}, 1000);
console.log('noise', process.env.SECRET_TOKEN);
"#;

impl Bench {
    fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        let manifest = serde_json::json!({
            "name": "@acme/plugin-x-dynamic", "version": "1.2.3", "main": "dist/index.cjs.js", "files": ["dist"],
            "backstage": { "role": "backend-plugin", "pluginId": "x" },
            "bundleDependencies": true,
            "dependencies": { "ms": "2.1.3" },
            "peerDependencies": { "@backstage/backend-plugin-api": "^1.0.0" },
        });
        bench.write("dist-dynamic/package.json", manifest.to_string());
        bench.write("dist-dynamic/dist/index.cjs.js", FEATURE);
        bench
            .write("dist-dynamic/node_modules/ms/package.json", r#"{"name":"ms","version":"2.1.3","main":"index.js"}"#);
        bench.write("dist-dynamic/node_modules/ms/index.js", "module.exports = 'ms';\n");
        bench.write(
            "rhdh/@backstage/backend-plugin-api/package.json",
            r#"{"name":"x","version":"1.0.0","main":"i.js"}"#,
        );
        let api = "exports.createBackendPlugin = () => ({ $$type: '@backstage/BackendFeature' });\n";
        bench.write("rhdh/@backstage/backend-plugin-api/i.js", api);
        bench
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        write(self.root(), path, content);
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = rhdh_pack(self.root());
        command.args(arguments).env("SECRET_TOKEN", "s3cret").env("HOME", self.root());
        command.output().unwrap()
    }

    /// Runs the program, which must end with `code`; exit code, stdout and stderr.
    fn expect(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = transcript(&output, self.root());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{text}");
        text
    }

    /// Verifies with the packages that RHDH provides.
    fn verify(&self, code: i32, what: &str) -> String {
        self.expect(code, &["verify", what, "--node-modules", "rhdh"])
    }

    /// An archive of a plugin, as a hostile tool would make it: with these entries beside those that it needs.
    fn archive(&self, file: &str, manifest: &str, more: &[(&str, &str)]) {
        let feature = "exports.default = { $$type: '@backstage/BackendFeature' };\n";
        let mut tar = tar::Builder::new(Vec::new());
        let entries = [("package/package.json", manifest), ("package/dist/index.cjs.js", feature)];
        for (path, content) in entries.iter().chain(more) {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, content.as_bytes()).unwrap();
        }
        self.write(file, tar.into_inner().unwrap());
    }

    /// What `npm pack` makes of `dist-dynamic`.
    fn npm_pack(&self) -> PathBuf {
        let mut command = Command::new("npm");
        command.args(["pack", "--silent", "--ignore-scripts"]).current_dir(self.root().join("dist-dynamic"));
        let name = String::from_utf8(run("npm", "npm", &mut command)).unwrap();
        self.root().join("dist-dynamic").join(name.trim())
    }

    /// buildah with its storage in this folder.
    fn buildah(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("buildah");
        command.args(["--storage-driver", "vfs", "--root"]).arg(self.root().join("storage"));
        command.arg("--runroot").arg(self.root().join("runroot")).args(arguments);
        String::from_utf8(run("buildah", "buildah", &mut command)).unwrap().trim().to_owned()
    }

    /// An image by buildah, with a layer for each of `steps`: what is copied, and whereto. Its name in the registry.
    fn image(&self, registry: &Registry, name: &str, format: &str, steps: &[(&str, &str)], annotation: bool) -> String {
        let mut image = "scratch".to_owned();
        let announced = STANDARD.encode(format!(r#"[{{"{DIR}":{{"name":"@acme/plugin-x-dynamic"}}}}]"#));
        for (step, (from, to)) in steps.iter().enumerate() {
            let container = self.buildah(&["from", &image]);
            let from = self.root().join(from);
            self.buildah(&["copy", &container, &from.to_string_lossy(), to]);
            if annotation {
                let annotation = format!("io.backstage.dynamic-packages={announced}");
                self.buildah(&["config", "--annotation", &annotation, &container]);
            }
            image = format!("localhost/{name}-{step}");
            self.buildah(&["commit", "--quiet", "--format", format, &container, &image]);
        }
        let target = format!("{}/acme/{name}:1", registry.host);
        self.buildah(&["push", "--quiet", "--tls-verify=false", &image, &format!("docker://{target}")]);
        target
    }
}

#[test]
fn a_folder_is_looked_at_and_loaded() {
    let bench = Bench::new();
    let good = bench.verify(0, "dist-dynamic");
    assert!(good.contains("@acme/plugin-x-dynamic 1.2.3 (backend-plugin), loaded by node"), "{good}");
    assert!(good.contains("acme-plugin-x-dynamic-1.2.3.tgz: 4 files"), "{good}");
    assert!(!good.contains("s3cret"), "{good}");

    let alone = bench.expect(0, &["verify", "dist-dynamic"]);
    let said = "was not loaded: `@backstage/backend-plugin-api`, which RHDH provides, is not here";
    assert!(alone.contains(said), "{alone}");
    let unloaded = bench.expect(0, &["verify", "dist-dynamic", "--no-load"]);
    assert!(!unloaded.contains("was not loaded") && !unloaded.contains("loaded by"), "{unloaded}");

    bench.write("dist-dynamic/dist/index.cjs.js", "exports.todoPlugin = {};\n");
    let featureless = bench.verify(1, "dist-dynamic");
    let said = "the plugin is no backend feature: it exports todoPlugin [backend-feature]";
    assert!(featureless.contains(said), "{featureless}");

    bench.write("dist-dynamic/dist/index.cjs.js", "require('lodash');\n");
    let missing = bench.verify(1, "dist-dynamic");
    assert!(missing.contains("Error: Cannot find module 'lodash' [entry-points]"), "{missing}");

    bench.write("dist-dynamic/dist/index.cjs.js", "process.exit(0);\n");
    let gone = bench.verify(1, "dist-dynamic");
    assert!(gone.contains("node ended before the plugin was loaded [entry-points]"), "{gone}");

    fs_err::remove_file(bench.root().join("dist-dynamic/dist/index.cjs.js")).unwrap();
    let broken = bench.verify(1, "dist-dynamic");
    assert!(broken.contains("`dist/index.cjs.js` is missing"), "{broken}");
}

/// Where this machine keeps a backend from being loaded, nobody may take that for a success.
#[test]
fn what_this_machine_cannot_try() {
    let bench = Bench::new();
    for (variable, value) in [("PATH", ""), ("TMPDIR", "/nonexistent")] {
        let archive = bench.npm_pack();
        let run = |load: &[&str]| {
            let mut command = rhdh_pack(bench.root());
            command.arg("verify").arg(&archive).args(load).env(variable, value);
            let output = command.output().unwrap();
            (output.status.code(), transcript(&output, bench.root()))
        };
        let (code, text) = run(&["--node-modules", "rhdh"]);
        assert_eq!(code, Some(3), "{text}");
        assert!(text.contains("was not loaded: ") && text.contains("not-loaded"), "{text}");
        let (code, text) = run(&["--no-load"]);
        assert_eq!(code, Some(0), "{text}");
    }
}

#[test]
fn a_frontend_is_read_and_not_loaded() {
    let bench = Bench::new();
    let manifest = r#"{"name":"@acme/f-dynamic","version":"1.0.0","main":"dist/i.js","backstage":{"role":"frontend-plugin"},"files":["dist","dist-scalprum"]}"#;
    bench.write("f/package.json", manifest);
    bench.write("f/dist/i.js", "");
    bench.write("f/dist-scalprum/a.js", "");
    bench
        .write("f/dist-scalprum/plugin-manifest.json", r#"{"name":"acme.f","version":"1.0.0","loadScripts":["a.js"]}"#);
    let good = bench.expect(0, &["verify", "f", "--rhdh", "1.9"]);
    assert!(good.contains("a frontend: not loaded, its manifest was read"), "{good}");
    bench.write("f/dist-scalprum/plugin-manifest.json", r#"{"name":"acme.f","loadScripts":["b.js"]}"#);
    let missing = bench.expect(1, &["verify", "f"]);
    assert!(missing.contains("b.js"), "{missing}");
    bench.write("f/dist-scalprum/plugin-manifest.json", r#"{"loadScripts":[]}"#);
    let shapeless = bench.expect(1, &["verify", "f"]);
    assert!(shapeless.contains("has no `name` (and 1 more) [scalprum-manifest]"), "{shapeless}");
}

#[test]
fn archives_of_npm_and_of_tar() {
    let bench = Bench::new();
    let archive = bench.npm_pack();
    let archive = archive.to_string_lossy();
    bench.verify(0, &archive);
    let report = bench.run(&["verify", &archive, "--node-modules", "rhdh", "--format", "json", "--quiet"]);
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!(report["artifacts"][0]["plugins"][0]["load"]["state"], "loaded");
    assert_eq!((&report["good"], &report["schema_version"]), (&Value::Bool(true), &Value::from(1)));
    let integrity = report["artifacts"][0]["integrity"].as_str().unwrap();
    bench.expect(0, &["verify", &archive, "--no-load", "--integrity", integrity]);
    let other = format!("sha512-{}", STANDARD.encode([7; 64]));
    let wrong = bench.expect(1, &["verify", &archive, "--no-load", "--integrity", &other]);
    assert!(wrong.contains("is expected [expected-integrity]"), "{wrong}");
    // Every algorithm that RHDH's installers take, as openssl computes it.
    for algorithm in ["sha256", "sha384"] {
        let script = "printf '%s-' \"$1\"; openssl dgst \"-$1\" -binary \"$2\" | base64 -w0";
        let value = run("openssl", "openssl", Command::new("bash").args(["-c", script, "sri", algorithm, &*archive]));
        let value = String::from_utf8(value).unwrap();
        bench.expect(0, &["verify", &archive, "--no-load", "--integrity", &value]);
    }
    let sha1 = bench.expect(2, &["verify", &archive, "--integrity", "sha1-AAAA"]);
    assert!(sha1.contains("is not one integrity value: `sha512-`, `sha384-` or `sha256-`"), "{sha1}");
    let nothing =
        bench.expect(2, &["verify", &archive, "--no-load", "--digest", &format!("sha256:{}", "0".repeat(64))]);
    assert!(nothing.contains("`--digest` was compared with nothing"), "{nothing}");

    // As tar makes it of a folder: `./` in front, links as links.
    std::os::unix::fs::symlink("index.cjs.js", bench.root().join("dist-dynamic/dist/link.js")).unwrap();
    let mut tar = Command::new("tar");
    tar.args(["-czf", "by-hand.tgz", "-C", "dist-dynamic", "."]).current_dir(bench.root());
    run("tar", "tar", &mut tar);
    let wrong = bench.verify(1, "by-hand.tgz");
    for rule in ["[entry-path]", "[entry-type]", "[package-json]"] {
        assert!(wrong.contains(rule), "{rule}: {wrong}");
    }
    let cut = fs_err::read(&*archive).unwrap();
    bench.write("cut.tgz", &cut[..cut.len() / 2]);
    let cut = bench.verify(1, "cut.tgz");
    assert!(cut.contains("[readable]") && !cut.contains("[package-json]"), "{cut}");
}

#[test]
fn releases_have_rules_of_their_own() {
    let bench = Bench::new();
    bench.write("dist-dynamic/dist/large.bin", vec![0x5a; 20_000_001]);
    let verify = |code, release| bench.expect(code, &["verify", "dist-dynamic", "--no-load", "--rhdh", release]);
    assert!(
        verify(1, "1.9").contains("`dist/large.bin` has 20000001 bytes, more than the installer takes [entry-size]")
    );
    assert!(!verify(0, "1.10").contains("warning: RHDH"));
    assert!(verify(0, "3.0").contains("warning: RHDH 3.0 is none that this rhdh-pack knows (1.9, 1.10, 2.0)"));
    let all = bench.expect(1, &["verify", "dist-dynamic", "--no-load"]);
    assert!(all.contains("(RHDH 1.9) [entry-size]"), "{all}");
    bench.write("rhdh-plugins.toml", "[rhdh]\nversion = \"1.10\"\n[plugins.x]\npath = \"x\"\n");
    bench.write("x/package.json", "{}");
    bench.expect(0, &["verify", "dist-dynamic", "--no-load"]);
}

#[test]
fn images_of_buildah_and_skopeo_in_a_registry() {
    let (bench, registry) = (Bench::new(), Registry::start(Auth::Open));
    let good = bench.image(&registry, DIR, "oci", &[("dist-dynamic", &format!("/{DIR}"))], true);
    let text = bench.verify(0, &format!("oci://{good}"));
    assert!(text.contains("@acme/plugin-x-dynamic 1.2.3 (backend-plugin), loaded by node"), "{text}");
    let digest = registry.skopeo_digest(&format!("acme/{DIR}"), "1", &[]).unwrap();
    let pinned = format!("{}@{digest}", good.strip_suffix(":1").unwrap());
    bench.expect(0, &["verify", &pinned, "--no-load", "--digest", &digest]);
    let other = format!("sha256:{}", "0".repeat(64));
    let wrong = bench.expect(1, &["verify", &pinned, "--no-load", "--digest", &other]);
    assert!(
        wrong.contains(&format!("the image is `{digest}`, and `{other}` is expected [expected-digest]")),
        "{wrong}"
    );
    bench.expect(1, &["verify", &format!("oci://{good}!other"), "--no-load"]);

    // Docker's format has no annotations.
    let docker = bench.image(&registry, "docker-x", "docker", &[("dist-dynamic", &format!("/{DIR}"))], true);
    let text = bench.verify(1, &format!("docker://{docker}"));
    assert!(text.contains("[dynamic-packages]") && !text.contains("media-type]"), "{text}");

    // Installers read the annotation where no folder is named; the operator's script wants it all the same.
    let bare = bench.image(&registry, "bare", "oci", &[("dist-dynamic", &format!("/{DIR}"))], false);
    bench.expect(1, &["verify", &format!("oci://{bare}"), "--no-load", "--rhdh", "1.9"]);
    let text = bench.expect(0, &["verify", &format!("oci://{bare}!{DIR}"), "--no-load", "--rhdh", "1.9"]);
    assert!(!text.contains("[dynamic-packages]"), "{text}");
    let text = bench.expect(0, &["install", "--root", "root", &format!("oci://{bare}!{DIR}"), "--rhdh", "1.10"]);
    assert!(text.contains(&format!("!{DIR}")), "{text}");

    // The plugin in the second layer, under another image's name: installers look at the first only.
    let steps = [("rhdh", "/rhdh"), ("dist-dynamic", &format!("/{DIR}"))];
    let layers = bench.image(&registry, "layers", "oci", &steps, true);
    let text = bench.verify(1, &layers);
    for rule in ["[one-layer]", "[dynamic-packages]", "[entry-path]", "(RHDH 2.0) [image-name]"] {
        assert!(text.contains(rule), "{rule}: {text}");
    }

    // zstd, which Python's tarfile does not read. Another registry: this one has the layer as gzip already.
    let other = Registry::start(Auth::Open);
    let target = format!("{}/acme/{DIR}:1", other.host);
    let (image, destination) = (format!("localhost/{DIR}-0"), format!("docker://{target}"));
    bench.buildah(&["push", "--quiet", "--tls-verify=false", "--compression-format", "zstd", &image, &destination]);
    let text = bench.verify(1, &target);
    assert!(text.contains("compressed with zstd [compression]"), "{text}");

    // Converted to docker's media types, which take the annotation away.
    let target = format!("{}/acme/v2s2/{DIR}:1", registry.host);
    let mut copy = Command::new("skopeo");
    copy.args(["copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false", "--format", "v2s2"]);
    run("skopeo", "skopeo", copy.args([format!("docker://{good}"), format!("docker://{target}")]));
    let text = bench.verify(1, &target);
    assert!(text.contains("[dynamic-packages]") && !text.contains("media-type]"), "{text}");

    let nothing = bench.expect(2, &["verify", &format!("{}/acme/nothing:1", registry.host)]);
    assert!(nothing.contains("there is no image"), "{nothing}");
    let nobody = bench.expect(3, &["verify", "127.0.0.1:1/acme/x:1"]);
    assert!(nobody.contains("reaching `127.0.0.1:1`"), "{nobody}");
}

#[test]
fn an_index_needs_the_annotation_itself() {
    let (bench, registry) = (Bench::new(), Registry::start(Auth::Open));
    let image = bench.image(&registry, DIR, "oci", &[("dist-dynamic", &format!("/{DIR}"))], true);
    bench.buildah(&["manifest", "create", "list"]);
    bench.buildah(&[
        "manifest",
        "add",
        "--tls-verify=false",
        "--os",
        "linux",
        "--arch",
        "amd64",
        "list",
        &format!("docker://{image}"),
    ]);
    let target = format!("{}/acme/index/{DIR}:1", registry.host);
    let push =
        ["manifest", "push", "--all", "--tls-verify=false", "--format", "oci", "list", &format!("docker://{target}")];
    bench.buildah(&push);
    let text = bench.verify(1, &target);
    assert!(text.contains("[index-annotation]") && text.contains("loaded by node"), "{text}");
    // The same, as a layout on disk.
    let layout = bench.root().join("layout");
    let mut copy = Command::new("skopeo");
    copy.args(["copy", "--quiet", "--all", "--src-tls-verify=false", &format!("docker://{target}")]);
    copy.arg(format!("oci:{}:{target}", layout.display()));
    run("skopeo", "skopeo", &mut copy);
    let text = bench.expect(1, &["verify", "layout", "--node-modules", "rhdh"]);
    assert!(text.contains("[index-annotation]"), "{text}");
    bench.expect(2, &["verify", "oci:layout:nothing"]);
}

#[test]
fn bytes_that_are_not_those_of_their_digest() {
    let bench = Bench::new();
    let output = bench.root().join("out");
    let mut request = common::plugins::request(&output, &bench.root().join("dist-dynamic"));
    request.artifacts[0].tgz = false;
    common::plugins::package_one(&request).unwrap();
    bench.verify(0, "out");
    bench.verify(0, "out/oci");
    bench.expect(0, &["verify", &format!("oci:out/oci:{DIR}"), "--node-modules", "rhdh"]);
    let other = bench.expect(2, &["verify", "oci:out/oci:other"]);
    assert!(other.contains("there is no image `other`") && other.contains(&format!("is there: `{DIR}`")), "{other}");
    for (kind, file) in [("oci-archive", "a.tar"), ("docker-archive", "d.tar")] {
        let mut copy = Command::new("skopeo");
        let from = format!("oci:{}:{DIR}", output.join("oci").display());
        copy.args(["copy", "--quiet", &from, &format!("{kind}:{}:x:1", bench.root().join(file).display())]);
        run("skopeo", "skopeo", &mut copy);
        let text = bench.expect(1, &["verify", file]);
        assert!(text.contains("it holds images") && !text.contains("[entry-path]"), "{text}");
    }
    let blobs = output.join("oci/blobs/sha256");
    let largest = fs_err::read_dir(blobs).unwrap().map(|entry| entry.unwrap().path());
    let largest = largest.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut bytes = fs_err::read(&largest).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs_err::write(&largest, bytes).unwrap();
    let broken = bench.expect(2, &["verify", "out"]);
    assert!(broken.contains("has the digest") && broken.contains("is not a whole image"), "{broken}");
}

#[test]
fn what_is_named_wrongly() {
    let bench = Bench::new();
    fs_err::create_dir(bench.root().join("empty")).unwrap();
    for (what, said) in [
        ("no-such-thing", "there is no `no-such-thing`"),
        ("empty", "`empty` is neither a package nor an OCI layout"),
        ("oci:nothing", "there is no `oci:nothing`"),
        ("oci:", "there is no `oci:`"),
        ("oci:empty", "`empty` is no OCI layout"),
        ("https://acme.dev/x-1.0.0.tgz", "archives are read from files"),
        ("oci://quay.io/acme/x", "installers want a tag or a digest"),
        ("oci://quay.io/acme/x:1!../y", "the plain name of a folder"),
    ] {
        let text = bench.expect(2, &["verify", what]);
        assert!(text.contains(said), "{text}");
    }
}

#[test]
fn plugins_are_installed_as_the_init_container_does() {
    let (bench, registry) = (Bench::new(), Registry::start(Auth::Open));
    let image = bench.image(&registry, DIR, "oci", &[("dist-dynamic", &format!("/{DIR}"))], true);
    let archive = bench.npm_pack();
    let (root, archive) = (bench.root().join("root"), archive.to_string_lossy().into_owned());
    let text = bench.expect(0, &["install", "--root", "root", &format!("oci://{image}")]);
    let digest = registry.skopeo_digest(&format!("acme/{DIR}"), "1", &[]).unwrap();
    let package = format!("oci://{}@{digest}!{DIR}", image.strip_suffix(":1").unwrap());
    assert!(text.contains(&format!("- package: {package}\n  disabled: false\n")), "{text}");
    let file = |path: &str| fs_err::read_to_string(root.join(path)).unwrap();
    assert_eq!(file(&format!("{DIR}/dynamic-plugin-image.hash")), digest.strip_prefix("sha256:").unwrap());
    // What install-dynamic-plugins.py computes for that entry.
    let hash = |entry: &str| {
        let program = format!(
            "import hashlib, json\nprint(hashlib.sha256(json.dumps({entry}, sort_keys=True).encode('utf-8')).hexdigest())"
        );
        let hash = run("python3", "python3", Command::new("python3").args(["-c", &program]));
        String::from_utf8(hash).unwrap().trim().to_owned()
    };
    let entry = format!("{{'package': '{package}', 'disabled': False, 'last_modified_level': 1}}");
    assert_eq!(file(&format!("{DIR}/dynamic-plugin-config.hash")), hash(&entry));
    assert_eq!(file(&format!("{DIR}/node_modules/ms/index.js")), "module.exports = 'ms';\n");
    // As the installers do: what is noted as installed is left alone, until the note is another.
    bench.write(&format!("root/{DIR}/mine"), "");
    let again = ["install", "--root", "root", &format!("oci://{image}")];
    assert!(bench.expect(0, &again).contains(&format!("stands in root/{DIR} already")));
    assert!(root.join(DIR).join("mine").exists());
    bench.write(&format!("root/{DIR}/dynamic-plugin-image.hash"), "0");
    bench.expect(0, &again);
    assert!(!root.join(DIR).join("mine").exists());

    // The archive of the same plugin takes its place, under the name that npm gives it.
    let text = bench.expect(0, &["install", "--root", "root", &archive]);
    assert!(text.contains(&format!("removed {DIR}")) && !root.join(DIR).exists(), "{text}");
    let integrity = text.split("integrity: ").nth(1).unwrap().lines().next().unwrap();
    let entry = format!(
        "{{'package': './acme-plugin-x-dynamic-1.2.3.tgz', 'integrity': '{integrity}', 'disabled': False, \
         'last_modified_level': 1, '_local_package_info': {{'_not_found': True}}}}"
    );
    assert_eq!(file("acme-plugin-x-dynamic-1.2.3/dynamic-plugin-config.hash"), hash(&entry));
    assert!(!root.join("acme-plugin-x-dynamic-1.2.3/dynamic-plugin-image.hash").exists());
    assert_eq!(names_in(&root), ["acme-plugin-x-dynamic-1.2.3", "app-config.dynamic-plugins.yaml"]);

    // What an installer would not take is not installed.
    bench.write("dist-dynamic/package.json", "{}");
    bench.expect(1, &["install", "--root", "root", "dist-dynamic"]);
    assert_eq!(names_in(&root), ["acme-plugin-x-dynamic-1.2.3", "app-config.dynamic-plugins.yaml"]);
}

/// A manifest with this name and version.
fn manifest(name: &str, version: &str) -> String {
    let manifest = serde_json::json!({
        "name": name, "version": version, "main": "dist/index.cjs.js", "backstage": { "role": "backend-plugin" },
    });
    manifest.to_string()
}

/// Python's installer stops at a file that is a folder as well, and node's loses one of the two.
#[test]
fn a_file_that_is_a_folder() {
    let bench = Bench::new();
    let manifest = manifest("x", "1.0.0");
    bench.archive("x-1.0.0.tgz", &manifest, &[("package/a", "x"), ("package/a/b", "y")]);
    bench.archive("y-1.0.0.tgz", &manifest, &[("package/a/b", "y"), ("package/a", "x")]);
    for archive in ["x-1.0.0.tgz", "y-1.0.0.tgz"] {
        let text = bench.expect(1, &["verify", archive]);
        assert!(text.contains("`a` is there as a file and as a folder [duplicate-entry]"), "{text}");
        assert!(text.contains("it cannot be unpacked: "), "{text}");
        let script = "import sys, tarfile\ntarfile.open(sys.argv[1]).extractall(sys.argv[2], filter='tar')";
        let python = Command::new("python3").args(["-c", script, archive, "into"]).current_dir(bench.root()).output();
        assert!(!python.unwrap().status.success());
        fs_err::remove_dir_all(bench.root().join("into")).unwrap();
    }
}

/// Names and versions that npm cannot make a file of, or that RHDH's installer finds no folder for.
#[test]
fn names_that_make_no_folder() {
    let bench = Bench::new();
    for (name, version) in [
        ("x", "../../1"),
        ("../../evil", "1.0.0"),
        ("@a/b/c", "1.0.0"),
        ("a\0b", "1.0.0"),
        (&*"a".repeat(300), "1.0.0"),
    ] {
        bench.archive("x.tgz", &manifest(name, version), &[]);
        let text = bench.expect(1, &["verify", "x.tgz", "--no-load"]);
        assert!(text.contains("[plugin-folder]"), "{text}");
        bench.expect(1, &["install", "--root", "root", "x.tgz"]);
        assert!(!bench.root().join("root").exists() || names_in(&bench.root().join("root")).is_empty());
    }
    // npm takes it. What is said of it stays on its line.
    bench.archive("x.tgz", &manifest("x\n::error::owned", "1.0.0"), &[("elsewhere\n::error::owned", "")]);
    let text = bench.expect(1, &["verify", "x.tgz", "--no-load"]);
    assert!(text.contains("x\\n::error::owned 1.0.0") && !text.contains("\n::error"), "{text}");
    bench.archive("acme-x-1.0.0.tgz", &manifest("@acme/x", "1.0.0"), &[]);
    bench.expect(0, &["verify", "acme-x-1.0.0.tgz"]);
}

/// RHDH's installer finishes the others.
#[test]
fn one_that_cannot_be_installed_stops_no_other() {
    let bench = Bench::new();
    bench.archive("good-1.0.0.tgz", &manifest("good", "1.0.0"), &[]);
    bench.archive("bad-1.0.0.tgz", &manifest("bad", "1.0.0"), &[("package/a", "x"), ("package/a/b", "y")]);
    let text = bench.expect(1, &["install", "--root", "root", "bad-1.0.0.tgz", "good-1.0.0.tgz"]);
    assert!(text.contains("bad-1.0.0.tgz: not installed") && text.contains("- package: ./good-1.0.0.tgz"), "{text}");
    assert!(!text.contains("permissions"), "{text}");
    let root = bench.root().join("root");
    assert_eq!(names_in(&root), ["app-config.dynamic-plugins.yaml", "good-1.0.0"]);

    // What the configuration allows shows when it is unpacked.
    fs_err::remove_dir_all(&root).unwrap();
    configure(&bench, "allow = { duplicate-entry = \"nobody knows\" }\n");
    let twice = manifest("@acme/plugin-x", "1.2.3");
    bench.archive("allowed.tgz", &twice, &[("package/a", "x"), ("package/a/b", "y")]);
    let text = bench.expect(1, &["install", "--root", "root", "allowed.tgz", "good-1.0.0.tgz"]);
    assert!(text.contains("`@acme/plugin-x` cannot be unpacked: nothing of it was installed"), "{text}");
    assert_eq!(names_in(&root), ["app-config.dynamic-plugins.yaml", "good-1.0.0"]);

    fs_err::remove_dir_all(&root).unwrap();
    let text = bench.expect(2, &["install", "--root", "root", "nothere", "good-1.0.0.tgz", "neither"]);
    for said in ["there is no `nothere`", "there is no `neither`", "- package: ./good-1.0.0.tgz"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert_eq!(names_in(&root), ["app-config.dynamic-plugins.yaml", "good-1.0.0"]);
}

fn names_in(folder: &Path) -> Vec<String> {
    let names = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// The configuration's plugin, as `rhdh-pack run` would make it here.
fn configure(bench: &Bench, keys: &str) {
    bench.write("package.json", r#"{ "name": "root", "workspaces": ["x"] }"#);
    bench.write("yarn.lock", "");
    let manifest = r#"{ "name": "@acme/plugin-x", "version": "1.2.3", "backstage": { "role": "backend-plugin" } }"#;
    bench.write("x/package.json", manifest);
    bench.write("rhdh-plugins.toml", format!("[rhdh]\nversion = \"1.9\"\n[plugins.x]\npath = \"x\"\n{keys}"));
}

/// What a plugin brings along for RHDH's configuration goes where RHDH is told to look, and the lock is given back.
#[test]
fn the_installed_plugins_configuration() {
    let bench = Bench::new();
    configure(&bench, "app-config = \"x/app-config.yaml\"\n");
    bench.write("x/app-config.yaml", "x:\n  limit: 3\n");
    let text = bench.expect(0, &["install", "--root", "root", "dist-dynamic"]);
    assert!(text.contains("start RHDH with `--config root/app-config.dynamic-plugins.yaml`, too"), "{text}");
    let file = fs_err::read_to_string(bench.root().join("root/app-config.dynamic-plugins.yaml")).unwrap();
    assert_eq!(file, "dynamicPlugins:\n  rootDirectory: dynamic-plugins-root\nx:\n  limit: 3\n");
    assert!(!bench.root().join("root/install-dynamic-plugins.lock").exists());
}

/// Somebody else's lock is waited for, and left where it is.
#[test]
fn another_installer_is_not_disturbed() {
    let bench = Bench::new();
    bench.write("root/install-dynamic-plugins.lock", "1");
    let mut command = rhdh_pack(bench.root());
    command.args(["install", "--root", "root", "dist-dynamic"]).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = String::new();
    let mut lines = std::io::BufReader::new(child.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut lines, &mut said).unwrap();
    assert!(said.contains("waiting for another installer: `root/install-dynamic-plugins.lock` is there"), "{said}");
    run("kill", "procps", Command::new("kill").args(["-TERM", &child.id().to_string()]));
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert_eq!(names_in(&bench.root().join("root")), ["install-dynamic-plugins.lock"]);
}

/// What the configuration allows of its own plugins is allowed here, too, and of nobody else's.
#[test]
fn allowed_rules_are_allowed() {
    let bench = Bench::new();
    bench.write("dist-dynamic/dist/large.bin", vec![7; 20_000_001]);
    let archive = bench.npm_pack();
    let archive = archive.to_string_lossy();
    configure(&bench, "");
    let text = bench.expect(1, &["verify", "--no-load", &archive]);
    assert!(text.contains("[entry-size]"), "{text}");
    configure(&bench, "allow = { entry-size = \"MAX_ENTRY_SIZE is raised in our cluster\" }\n");
    let text = bench.expect(0, &["verify", "--no-load", &archive]);
    assert!(text.contains("allowed, because MAX_ENTRY_SIZE is raised in our cluster: "), "{text}");
    bench.write(
        "x/package.json",
        r#"{ "name": "@acme/plugin-y", "version": "1.2.3", "backstage": { "role": "backend-plugin" } }"#,
    );
    bench.expect(1, &["verify", "--no-load", &archive]);
}

/// Two plugins of one bundle may have one package's name.
#[test]
fn namesakes_are_told_apart() {
    let bench = Bench::new();
    let make = |output: &str, content: &str| {
        let dist_dynamic = bench.root().join("dist-dynamic");
        bench.write("other/dist/index.cjs.js", content);
        fs_err::copy(dist_dynamic.join("package.json"), bench.root().join("other/package.json")).unwrap();
        bench.write("other/node_modules/ms/package.json", r#"{"name":"ms","version":"2.1.3"}"#);
        let mut request = common::plugins::request(&bench.root().join(output), &dist_dynamic);
        request.artifacts[0].tgz = false;
        let mut member = request.artifacts[0].members[0].clone();
        (member.dir, member.dist_dynamic) = ("other".to_owned(), bench.root().join("other"));
        request.artifacts[0].members.push(member);
        common::plugins::package_one(&request).unwrap();
    };
    make("one", "exports.a = 1;");
    make("two", "exports.b = 22;");
    let text = bench.expect(0, &["diff", "one", "two"]);
    assert!(text.contains(&format!("@acme/plugin-x-dynamic in {DIR}: no difference")), "{text}");
    assert!(text.contains("@acme/plugin-x-dynamic in other: 3 files"), "{text}");
    assert!(text.contains("~ dist/index.cjs.js"), "{text}");
}

/// An image in no registry has no reference that an installer takes.
#[test]
fn a_layout_is_installed_without_entries() {
    let bench = Bench::new();
    let mut request = common::plugins::request(&bench.root().join("out"), &bench.root().join("dist-dynamic"));
    request.artifacts[0].tgz = false;
    common::plugins::package_one(&request).unwrap();
    let text = bench.expect(0, &["install", "--root", "root", "oci:out/oci"]);
    assert!(text.contains("plugins: []") && text.contains("it has an entry"), "{text}");
    assert!(bench.root().join("root").join(DIR).join("package.json").is_file());
    assert!(bench.expect(0, &["install", "--root", "root", "oci:out/oci"]).contains("already"));
}

#[test]
fn differences_are_shown_by_kind() {
    let bench = Bench::new();
    let before = bench.npm_pack();
    let before = before.to_string_lossy();
    let same = bench.expect(0, &["diff", &before, "dist-dynamic"]);
    assert!(same.contains("@acme/plugin-x-dynamic: no difference"), "{same}");
    let manifest = fs_err::read_to_string(bench.root().join("dist-dynamic/package.json")).unwrap();
    fs_err::copy(&*before, bench.root().join("before.tgz")).unwrap();
    bench.write("dist-dynamic/package.json", manifest.replace("1.2.3", "1.3.0"));
    bench.write("dist-dynamic/dist/new.js", "new");
    bench.write("dist-dynamic/node_modules/ms/package.json", r#"{"name":"ms","version":"2.2.0","main":"index.js"}"#);
    let text = bench.expect(0, &["diff", "before.tgz", "dist-dynamic"]);
    for line in [
        "@acme/plugin-x-dynamic: 4 files",
        "  - /version: \"1.2.3\"\n  + /version: \"1.3.0\"\n",
        "  ~ ms 2.1.3 → 2.2.0\n",
        "  + dist/new.js (3 B)\n",
        "  … 1 in node_modules\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    // What breaks a rule is compared all the same.
    bench.write("dist-dynamic/dist/large.bin", vec![7; 20_000_001]);
    let text = bench.expect(0, &["diff", "before.tgz", "dist-dynamic"]);
    assert!(text.contains("  + dist/large.bin (20.0 MB)\n"), "{text}");
    let text = bench.verify(1, "dist-dynamic");
    assert!(text.contains("[entry-size]") && text.contains("loaded by node"), "{text}");
    fs_err::remove_file(bench.root().join("dist-dynamic/dist/large.bin")).unwrap();
    // One that is cut off is to blame itself.
    bench.archive("whole.tgz", &manifest, &[]);
    let whole = fs_err::read(bench.root().join("whole.tgz")).unwrap();
    bench.write("cut.tgz", &whole[..3 * 512 + 10]);
    let text = bench.expect(1, &["diff", "cut.tgz", "dist-dynamic"]);
    assert!(text.contains("`cut.tgz` cannot be unpacked") && !text.contains("permissions"), "{text}");
    let json = bench.run(&["diff", "before.tgz", "dist-dynamic", "--format", "json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["plugins"][0]["packages"][0]["after"][0], "2.2.0");
    assert_eq!(json["plugins"][0]["changed_files"].as_array().unwrap().len(), 3);
}
