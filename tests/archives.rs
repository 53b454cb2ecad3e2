//! Finished archives and images, read back by the programs that people and installers read them with.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::collections::BTreeMap;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::plugins::{
    DIR, PACKAGE_JSON, backend, entries, layer, make_executable, npm, npm_packages, package_one, request, write,
};
use rhdh_pack::package::deliver::{self, Delivery, Destination, deliver};
use rhdh_pack::package::{Member, Request};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A backend with names of every kind, and what it was packaged into.
struct Packaged {
    folder: TempDir,
    request: Request,
    tgz: PathBuf,
    layer: PathBuf,
    digest: String,
}

fn packaged() -> Packaged {
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("dist-dynamic");
    backend(&root);
    write(
        &root,
        "package.json",
        r#"{"name":"@acme/plugin-x-dynamic","version":"1.2.3","description":"Ünïcode","main":"dist/index.cjs.js","license":"Apache-2.0","author":"Acme <x@acme.dev>","repository":"github:acme/x","backstage":{"role":"backend-plugin","pluginId":"x"},"dependencies":{"dep":"1.0.0"},"bundleDependencies":true,"files":["dist"]}"#,
    );
    write(&root, "node_modules/dep/package.json", r#"{"name":"dep","version":"1.0.0","license":"MIT"}"#);
    write(&root, "node_modules/dep/cli.js", "#!/usr/bin/env node\n");
    make_executable(&root.join("node_modules/dep/cli.js"));
    write(&root, "dist/empty", "");
    write(&root, "dist/ünïcode 名前.js", "unicode");
    write(&root, &format!("dist/{}", "n".repeat(255)), "255");
    write(&root, &format!("dist/{}/x.js", vec!["folder"; 40].join("/")), "deep");
    for length in 90..=110 {
        write(&root, &format!("dist/{}", "l".repeat(length)), length.to_string());
    }
    // More than a block, a batch and a piece: every way through the reader.
    let noise: Vec<u8> = (0..300_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    write(&root, "dist/large.bin", noise);
    let mut request = request(&folder.path().join("out"), &root);
    request.artifacts[0].level = 9;
    let artifact = package_one(&request).unwrap();
    let tgz = request.output.join(&artifact.tgz.unwrap().file);
    let layer = layer(&request.output);
    Packaged { folder, request, tgz, layer, digest: artifact.image.unwrap().digest.to_string() }
}

/// Path, mode and content's checksum of every file, by another program than ours.
type Listing = BTreeMap<String, (u32, String)>;

fn expected(archive: &Path) -> Listing {
    let digest = |content: &[u8]| rhdh_pack::digest::Digest::of(content).hex().to_owned();
    entries(archive)
        .into_iter()
        .filter(|(_, entry)| entry.kind == tar::EntryType::Regular)
        .map(|(path, entry)| (path, (entry.mode, digest(&entry.content))))
        .collect()
}

fn run(command: &mut Command, tool: &str) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{tool}: {error}: run `.ci/tools`"));
    assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The files below a folder, as they were extracted.
fn extracted(folder: &Path) -> Listing {
    use std::os::unix::fs::PermissionsExt as _;
    walkdir::WalkDir::new(folder)
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| {
            let path = entry.path().strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
            let digest = rhdh_pack::digest::Digest::of(&fs_err::read(entry.path()).unwrap());
            (path, (mode, digest.hex().to_owned()))
        })
        .collect()
}

#[test]
fn gnu_tar_reads_layer_and_tgz() {
    let packaged = packaged();
    for archive in [&packaged.layer, &packaged.tgz] {
        let out = TempDir::new().unwrap();
        run(Command::new("tar").args(["--extract", "--gzip", "--file"]).arg(archive).current_dir(&out), "tar");
        assert_eq!(extracted(out.path()), expected(archive));
    }
    run(Command::new("gzip").arg("--test").stdin(std::fs::File::open(&packaged.layer).unwrap()), "gzip");
}

/// Files are compressed once for all archives from 64 KiB, in blocks of 128 KiB, and read in pieces of 512 KiB.
#[test]
fn files_of_sizes_at_the_limits_keep_their_content() {
    // A period below the 32 KiB that deflate looks back: every block refers to what stands before it.
    let period: Vec<u8> = (0..5_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    let content = |size: usize| -> Vec<u8> { period.iter().copied().cycle().take(size).collect() };
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("dist-dynamic");
    backend(&root);
    let sizes: Vec<usize> = [32, 64, 96, 128, 160, 512, 544, 1024]
        .iter()
        .flat_map(|kilobytes: &usize| (kilobytes << 10) - 1..=(kilobytes << 10) + 1)
        .collect();
    for size in &sizes {
        write(&root, &format!("dist/{size:07}.bin"), content(*size));
    }
    let request = request(&folder.path().join("out"), &root);
    let artifact = package_one(&request).unwrap();
    let tgz = request.output.join(artifact.tgz.unwrap().file);
    for (archive, top) in [(layer(&request.output), DIR), (tgz, "package")] {
        let entries = entries(&archive);
        for size in &sizes {
            let entry = &entries[&format!("{top}/dist/{size:07}.bin")];
            assert!(entry.content == content(*size), "{size} bytes in {}", archive.display());
        }
        run(Command::new("gzip").arg("--test").stdin(std::fs::File::open(&archive).unwrap()), "gzip");
    }
}

#[test]
fn python_reads_layer_and_tgz() {
    const SCRIPT: &str = r"
import hashlib, json, sys, tarfile
for mode in ('r:*', 'r|gz'):
    listing = {}
    with tarfile.open(sys.argv[1], mode) as archive:
        for entry in archive:
            assert entry.isfile() or entry.isdir(), entry
            assert (entry.uid, entry.gid, entry.mtime) == (0, 0, 499162500), entry
            if entry.isfile():
                listing[entry.name] = (entry.mode, hashlib.sha256(archive.extractfile(entry).read()).hexdigest())
    print(json.dumps(listing))
";
    let packaged = packaged();
    for archive in [&packaged.layer, &packaged.tgz] {
        let output = run(Command::new("python3").args(["-c", SCRIPT]).arg(archive), "python3");
        for line in output.lines() {
            assert_eq!(serde_json::from_str::<Listing>(line).unwrap(), expected(archive));
        }
    }
}

#[test]
fn node_tar_reads_layer_and_tgz() {
    const SCRIPT: &str = r"
const { createHash } = require('crypto');
const tar = require(process.argv[1]);
const listing = {};
tar.t({ file: process.argv[2], sync: true, strict: true, onReadEntry: entry => {
  if (entry.type !== 'File') return;
  const hash = createHash('sha256');
  entry.on('data', chunk => hash.update(chunk));
  entry.on('end', () => { listing[entry.path] = [entry.mode, hash.digest('hex')]; });
} });
console.log(JSON.stringify(listing));
";
    let packaged = packaged();
    for archive in [&packaged.layer, &packaged.tgz] {
        let mut node = Command::new("node");
        node.args(["--eval", SCRIPT]).arg(npm_packages().join("tar")).arg(archive);
        assert_eq!(serde_json::from_str::<Listing>(&run(&mut node, "node")).unwrap(), expected(archive));
    }
}

#[test]
fn npm_installs_the_tgz() {
    let packaged = packaged();
    let project = packaged.folder.path().join("project");
    write(&project, "package.json", r#"{"name":"project","version":"1.0.0"}"#);
    let mut install = npm();
    install.args(["install", "--offline", "--ignore-scripts", "--no-audit", "--no-fund"]).arg(&packaged.tgz);
    run(install.current_dir(&project), "npm");
    let script = "require('@acme/plugin-x-dynamic'); console.log(require.resolve('dep/package.json', { paths: [require.resolve('@acme/plugin-x-dynamic')] }))";
    let output = run(Command::new("node").args(["--eval", script]).current_dir(&project), "node");
    assert!(output.trim_end().ends_with("node_modules/dep/package.json"), "{output}");
    // npm and we agree in what the archive is.
    let lock: Value = serde_json::from_slice(&fs_err::read(project.join("package-lock.json")).unwrap()).unwrap();
    let integrity = fs_err::read_to_string(format!("{}.integrity", packaged.tgz.display())).unwrap();
    assert_eq!(lock["packages"]["node_modules/@acme/plugin-x-dynamic"]["integrity"], integrity.trim_end());
}

#[test]
fn skopeo_copies_keep_the_digest() {
    let packaged = packaged();
    let source = format!("oci:{}:{DIR}", packaged.request.output.join("oci").display());
    let target = packaged.folder.path().join("copy");
    for target in [format!("dir:{}", target.display()), format!("oci:{}.oci:x", target.display())] {
        run(Command::new("skopeo").args(["copy", "--quiet", &source, &target]), "skopeo");
        let inspected: Value =
            serde_json::from_str(&run(Command::new("skopeo").args(["inspect", &target]), "skopeo")).unwrap();
        assert_eq!(inspected["Digest"], packaged.digest);
        assert_eq!(inspected["Labels"]["org.opencontainers.image.source"], "https://github.com/acme/x");
        assert_eq!((&inspected["Os"], &inspected["Architecture"]), (&json!("linux"), &json!("amd64")));
    }
}

#[test]
fn umoci_unpacks_the_image() {
    let packaged = packaged();
    let bundle = packaged.folder.path().join("bundle");
    let image = format!("{}:{DIR}", packaged.request.output.join("oci").display());
    run(Command::new("umoci").args(["unpack", "--rootless", "--image", &image]).arg(&bundle), "umoci");
    assert_eq!(extracted(&bundle.join("rootfs")), expected(&packaged.layer));
}

#[test]
fn the_image_is_what_rhdhs_installers_look_for() {
    use base64::Engine as _;
    let packaged = packaged();
    let image = format!("oci:{}:{DIR}", packaged.request.output.join("oci").display());
    let raw = run(Command::new("skopeo").args(["inspect", "--raw", &image]), "skopeo");
    let manifest: Value = serde_json::from_str(&raw).unwrap();
    assert_eq!(manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.oci.image.config.v1+json");
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
    assert_eq!(manifest["layers"][0]["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
    let annotation = manifest["annotations"]["io.backstage.dynamic-packages"].as_str().unwrap();
    let announced = base64::engine::general_purpose::STANDARD.decode(annotation).unwrap();
    let announced: Value = serde_json::from_slice(&announced).unwrap();
    let fields: Vec<&String> = announced[0][DIR].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["name", "version", "description", "backstage", "repository", "license", "author"]);
    let paths = common::plugins::paths_in_order(&packaged.layer);
    assert_eq!(paths.first().map(String::as_str), Some("acme-plugin-x/"));
    assert_eq!(paths.last().map(String::as_str), Some("index.json"));
    let index: Value = serde_json::from_slice(&entries(&packaged.layer)["index.json"].content).unwrap();
    assert_eq!(index, announced);
}

#[test]
fn a_bundle_holds_several_plugins() {
    let folder = TempDir::new().unwrap();
    let mut request = request(&folder.path().join("out"), Path::new("unused"));
    let artifact = &mut request.artifacts[0];
    artifact.members.clear();
    artifact.image = "todo-bundle".to_owned();
    artifact.tgz = false;
    for name in ["todo", "notes-backend", "todo-backend"] {
        let root = folder.path().join(name);
        backend(&root);
        write(&root, "node_modules/same/index.js", "the same in all of them");
        write(&root, "dist/own.js", name);
        artifact.members.push(Member { plugin: name.to_owned(), dir: format!("acme-{name}"), dist_dynamic: root });
    }
    let packaged = package_one(&request).unwrap();
    let layer = entries(&layer(&request.output));
    for name in ["todo", "notes-backend", "todo-backend"] {
        assert_eq!(layer[&format!("acme-{name}/dist/own.js")].content, name.as_bytes());
    }
    assert_eq!(
        packaged.packages.iter().map(|package| package.dir.as_str()).collect::<Vec<_>>(),
        ["acme-todo", "acme-notes-backend", "acme-todo-backend"]
    );
    // Its installer would extract the backend along with the frontend.
    let rules: Vec<String> =
        packaged.findings.iter().map(|finding| format!("{} {}", finding.rule.name(), finding.text)).collect();
    insta::assert_snapshot!(rules.join("\n"), @"
    folder-prefix where `acme-todo` is installed, `acme-todo-backend` is, too, even if it is not wanted
    unused-packages no dependency leads to node_modules/same
    unused-packages no dependency leads to node_modules/same
    unused-packages no dependency leads to node_modules/same
    ");
}

#[test]
fn other_images_stay_and_garbage_goes() {
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("dist-dynamic");
    backend(&root);
    let mut request = request(&folder.path().join("out"), &root);
    let blobs = |request: &Request| common::plugins::everything_below(&request.output.join("oci/blobs/sha256"));
    package_one(&request).unwrap();
    let first = blobs(&request);
    assert_eq!(first.len(), 3);
    // A second image beside it.
    request.artifacts[0].image = "another".to_owned();
    request.artifacts[0].members[0].dir = "another".to_owned();
    request.artifacts[0].tgz = false;
    package_one(&request).unwrap();
    assert_eq!(blobs(&request).len(), 6);
    // The same again, changed: the old blobs go.
    write(&root, "dist/new.js", "x");
    package_one(&request).unwrap();
    assert_eq!(blobs(&request).len(), 6);
    assert!(first.iter().all(|blob| blobs(&request).contains(blob)));
    // A run that was killed left something half-written.
    for partial in ["oci/blobs/sha256/.partial-x", "oci/.partial-y", "tgz/.partial-z"] {
        write(&request.output, partial, "half");
    }
    package_one(&request).unwrap();
    let left = common::plugins::everything_below(&request.output);
    assert!(!left.iter().any(|path| path.contains(".partial-")), "{left:?}");
    // It fails: what the earlier run made of it is no longer offered.
    fs_err::remove_file(root.join("dist/index.cjs.js")).unwrap();
    package_one(&request).unwrap_err();
    assert_eq!(blobs(&request), first);
}

/// The digest of a program's answer to `skopeo inspect`, and its labels' version.
fn inspect(image: &str) -> Value {
    serde_json::from_str(&run(Command::new("skopeo").args(["inspect", image]), "skopeo")).unwrap()
}

#[test]
fn images_become_archives() {
    let packaged = packaged();
    let deliveries = [Delivery { image: DIR.to_owned(), reference: "quay.io/acme/x:1.2.3".to_owned() }];
    let file = packaged.folder.path().join("x.tar");
    let path = file.display();
    deliver(&packaged.request.output, &deliveries, &format!("oci-archive:{path}").parse().unwrap()).unwrap();
    assert_eq!(inspect(&format!("oci-archive:{path}"))["Digest"], packaged.digest);
    let first = fs_err::read(&file).unwrap();
    deliver(&packaged.request.output, &deliveries, &format!("oci-archive:{path}").parse().unwrap()).unwrap();
    assert!(first == fs_err::read(&file).unwrap(), "the same image, another archive");
    run(Command::new("tar").arg("--list").arg("--file").arg(&file), "tar");

    // A device or a pipe stays what it is.
    let pipe = packaged.folder.path().join("pipe");
    run(Command::new("mkfifo").arg(&pipe), "mkfifo");
    let to_pipe = Destination::OciArchive(pipe.clone());
    deliver(&packaged.request.output, &deliveries, &to_pipe).unwrap_err();
    assert!(fs_err::symlink_metadata(&pipe).unwrap().file_type().is_fifo());

    deliver(&packaged.request.output, &deliveries, &format!("docker-archive:{path}").parse().unwrap()).unwrap();
    let inspected = inspect(&format!("docker-archive:{path}:quay.io/acme/x:1.2.3"));
    assert_eq!(inspected["Labels"]["org.opencontainers.image.version"], "1.2.3");
    let copy = packaged.folder.path().join("copy");
    let target = format!("oci:{}:x", copy.display());
    run(Command::new("skopeo").args(["copy", "--quiet", &format!("docker-archive:{path}"), &target]), "skopeo");
    let bundle = packaged.folder.path().join("bundle");
    run(Command::new("umoci").args(["unpack", "--rootless", "--image", &target[4..]]).arg(&bundle), "umoci");
    assert_eq!(extracted(&bundle.join("rootfs")), expected(&packaged.layer));
}

#[test]
fn images_become_folders_of_plugins() {
    let packaged = packaged();
    // As where a plugin is also a member of a bundle.
    let delivery = Delivery { image: DIR.to_owned(), reference: String::new() };
    let deliveries = [delivery.clone(), delivery];
    let folder = packaged.folder.path().join("local-plugins");
    write(&folder, &format!("{DIR}/old.js"), "of an older version");
    write(&folder, "another/index.js", "stays");
    // It might be what the plugin is built from.
    let error = deliver(&packaged.request.output, &deliveries, &Destination::Dir(folder.clone())).unwrap_err();
    assert!(format!("{error:?}").contains("remove it yourself"), "{error:?}");
    assert!(folder.join(DIR).join("old.js").is_file());
    write(&folder, "index.json", format!(r#"[{{"{DIR}":{{}}}}]"#));
    deliver(&packaged.request.output, &deliveries, &Destination::Dir(folder.clone())).unwrap();
    let mut listing = expected(&packaged.layer);
    listing.insert("another/index.js".to_owned(), extracted(&folder)["another/index.js"].clone());
    assert_eq!(extracted(&folder).keys().collect::<Vec<_>>(), listing.keys().collect::<Vec<_>>());
    let index: Vec<Value> = serde_json::from_slice(&fs_err::read(folder.join("index.json")).unwrap()).unwrap();
    assert_eq!(index.iter().map(|plugin| plugin[DIR]["name"].is_string()).collect::<Vec<_>>(), [true]);
    let unknown = [Delivery { image: "unknown".to_owned(), reference: String::new() }];
    let error = deliver(&packaged.request.output, &unknown, &Destination::Dir(folder)).unwrap_err();
    assert!(matches!(error, deliver::Error::NoImage { .. }), "{error}");
}

#[test]
fn buildah_gets_the_image() {
    let packaged = packaged();
    let reference = format!("localhost/rhdh-pack-test-{}:1.2.3", std::process::id());
    let deliveries = [Delivery { image: DIR.to_owned(), reference: reference.clone() }];
    deliver(&packaged.request.output, &deliveries, &"buildah".parse().unwrap())
        .unwrap_or_else(|error| panic!("{error}: run `.ci/tools`"));
    let raw =
        run(Command::new("skopeo").args(["inspect", "--raw", &format!("containers-storage:{reference}")]), "skopeo");
    run(Command::new("buildah").args(["rmi", &reference]), "buildah");
    let manifest: Value = serde_json::from_str(&raw).unwrap();
    assert!(manifest["annotations"]["io.backstage.dynamic-packages"].is_string());
}

#[test]
fn the_configuration_chooses_level_artifact_type_and_what_is_allowed() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    write(root, "plugin/dist-dynamic/package.json", PACKAGE_JSON);
    write(root, "plugin/dist-dynamic/dist/index.cjs.js", "module.exports = {};\n");
    write(root, "plugin/dist-dynamic/dist/noise.js", "0123456789".repeat(5_000_000));
    write(root, "plugin/package.json", PACKAGE_JSON);
    write(root, "plugin/yarn.lock", "");
    let run = |keys: &str| {
        write(root, "rhdh-plugins.toml", format!("[plugins.x]\npath = \"plugin\"\nexport = \"prebuilt\"\n{keys}"));
        common::scrubbed(env!("CARGO_BIN_EXE_rhdh-pack")).current_dir(root).args(["run", "--all"]).output().unwrap()
    };
    let refused = run("");
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("entry-size"), "{stderr}");
    let keys = "artifact-type = \"application/vnd.acme.plugin\"\ncompression-level = 1\n\
                allow = { entry-size = \"MAX_ENTRY_SIZE is raised\" }\n";
    let taken = run(keys);
    assert_eq!(taken.status.code(), Some(0), "{}", String::from_utf8_lossy(&taken.stderr));
    let out = root.join(".rhdh-pack");
    let result: Value = serde_json::from_slice(&fs_err::read(out.join("result.json")).unwrap()).unwrap();
    let plugin = &result["plugins"][0];
    assert_eq!(plugin["findings"][0]["allowed"], "MAX_ENTRY_SIZE is raised");
    let digest = plugin["image"]["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    let manifest: Value =
        serde_json::from_slice(&fs_err::read(out.join("oci/blobs/sha256").join(digest)).unwrap()).unwrap();
    assert_eq!(manifest["artifactType"], "application/vnd.acme.plugin");
    let fast = plugin["image"]["size"].as_u64().unwrap();
    run(&keys.replace("compression-level = 1\n", ""));
    let result: Value = serde_json::from_slice(&fs_err::read(out.join("result.json")).unwrap()).unwrap();
    assert!(result["plugins"][0]["image"]["size"].as_u64().unwrap() < fast);
}
