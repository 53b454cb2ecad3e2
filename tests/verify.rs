//! `verify` on what several makers make: rhdh-pack, npm, tar, buildah and skopeo, in folders and in a real registry.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::bench::{Bench, configure, manifest, names_in};
use common::plugins::DIR;
use common::registry::{Auth, Registry, run};
use common::{rhdh_pack, transcript};
use serde_json::Value;

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
fn what_is_not_expected_is_not_run() {
    let bench = Bench::new();
    let ran = bench.root().join("ran");
    let code = format!(
        "require('fs').writeFileSync({ran:?}, '');\nexports.default = {{ $$type: '@backstage/BackendFeature' }};\n"
    );
    let manifest = manifest("@acme/x", "1.0.0").replace("index.cjs.js", "other.cjs.js");
    bench.archive("acme-x-1.0.0.tgz", &manifest, &[("package/dist/other.cjs.js", &code)]);
    let integrity = format!("sha512-{}==", "A".repeat(86));
    let text = bench.expect(1, &["verify", "acme-x-1.0.0.tgz", "--integrity", &integrity]);
    assert!(text.contains("it is not what is expected") && !ran.exists(), "{text}");
    bench.expect(0, &["verify", "acme-x-1.0.0.tgz"]);
    assert!(ran.exists());
}

#[test]
fn what_is_named_wrongly() {
    let bench = Bench::new();
    fs_err::create_dir(bench.root().join("empty")).unwrap();
    bench.write("plugins/x/package.json", r#"{"name":"@acme/x","version":"1.0.0","main":"src/index.ts"}"#);
    for (what, said) in [
        ("no-such-thing", "there is no `no-such-thing`"),
        ("empty", "`empty` is neither a package nor an OCI layout"),
        ("plugins/x", "name its `plugins/x/dist-dynamic`"),
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
