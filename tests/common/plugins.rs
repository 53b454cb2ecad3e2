//! `dist-dynamic` folders made by hand, packaging them, and reading the archives back.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rhdh_pack::package::{self, Artifact, ArtifactRequest, Member, PackageFailure, Request};
use rhdh_pack::ui::{Ui, Verbosity};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// A backend that every RHDH takes, but for what is added to it.
pub(crate) const PACKAGE_JSON: &str = r#"{"name":"@acme/plugin-x-dynamic","version":"1.2.3","main":"dist/index.cjs.js","backstage":{"role":"backend-plugin","pluginId":"x"},"bundleDependencies":true,"files":["dist"]}"#;

/// The folder of the plugin in images.
pub(crate) const DIR: &str = "acme-plugin-x";

/// Writes a file and the folders above it.
pub(crate) fn write(root: &Path, path: &str, content: impl AsRef<[u8]>) {
    let path = root.join(path);
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, content).unwrap();
}

/// A small backend in `root`.
pub(crate) fn backend(root: &Path) {
    write(root, "package.json", PACKAGE_JSON);
    write(root, "dist/index.cjs.js", "module.exports = {};\n");
}

/// A request for image and tgz of the plugin in `dist_dynamic`.
pub(crate) fn request(output: &Path, dist_dynamic: &Path) -> Request {
    let member = Member { plugin: "x".to_owned(), dir: DIR.to_owned(), dist_dynamic: dist_dynamic.to_owned() };
    Request {
        output: output.to_owned(),
        artifacts: vec![ArtifactRequest {
            id: "x".to_owned(),
            image: DIR.to_owned(),
            version: "1.2.3".to_owned(),
            members: vec![member],
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            artifact_type: None,
            level: 1,
            image_wanted: true,
            tgz: true,
            allow: Vec::new(),
        }],
        rhdh: vec!["1.9".to_owned(), "1.10".to_owned()],
        threads: 2,
        blocks: Default::default(),
        time: None,
    }
}

/// The outcome of a request for one artifact.
pub(crate) fn package_one(request: &Request) -> Result<Artifact, PackageFailure> {
    let mut packaged = package::package(request, &Ui::new(Verbosity::Quiet), &CancellationToken::new()).unwrap();
    assert_eq!(packaged.len(), 1);
    packaged.remove(0).outcome
}

/// An entry of an archive.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) mode: u32,
    pub(crate) content: Vec<u8>,
    pub(crate) kind: tar::EntryType,
}

/// The entries of a gzipped tar, by path.
pub(crate) fn entries(archive: &Path) -> BTreeMap<String, Entry> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(fs_err::File::open(archive).unwrap()));
    let mut entries = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let (mode, kind) = (entry.header().mode().unwrap(), entry.header().entry_type());
        assert!(entries.insert(path.clone(), Entry { mode, content, kind }).is_none(), "{path} is there twice");
    }
    entries
}

/// The paths in the tgz of an artifact, without `package/`.
pub(crate) fn packed_paths(request: &Request, artifact: &Artifact) -> Vec<String> {
    let archive = request.output.join(&artifact.tgz.as_ref().unwrap().file);
    entries(&archive).into_keys().map(|path| path.strip_prefix("package/").unwrap().to_owned()).collect()
}

/// The layer of the only image in the layout of `output`.
pub(crate) fn layer(output: &Path) -> PathBuf {
    let json = |path: PathBuf| -> Value { serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap() };
    let blob = |digest: &Value| {
        output.join("oci/blobs/sha256").join(digest.as_str().unwrap().strip_prefix("sha256:").unwrap())
    };
    let index = json(output.join("oci/index.json"));
    assert_eq!(index["manifests"].as_array().unwrap().len(), 1);
    let manifest = json(blob(&index["manifests"][0]["digest"]));
    blob(&manifest["layers"][0]["digest"])
}

/// npm itself. Its packlist has to be the one whose rules are ours.
pub(crate) fn npm() -> Command {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/npm/node_modules/npm/bin/npm-cli.js");
    if own.is_file() {
        let mut command = Command::new("node");
        command.arg(own);
        return command;
    }
    Command::new("npm")
}

/// The folder with npm's own packages, among them its packlist, minimatch and tar.
pub(crate) fn npm_packages() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/npm/node_modules/npm/node_modules");
    let packages = if own.is_dir() {
        own
    } else {
        let root = Command::new("npm").args(["root", "--global"]).output().expect("npm is missing: run `.ci/tools`");
        PathBuf::from(String::from_utf8(root.stdout).unwrap().trim()).join("npm/node_modules")
    };
    let manifest = fs_err::read(packages.join("npm-packlist/package.json")).expect("npm is missing: run `.ci/tools`");
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let version = manifest["version"].as_str().unwrap();
    assert!(version.starts_with("10."), "npm-packlist {version} has other rules than 10: run `.ci/tools`");
    packages
}

/// What `npm pack` would take of each of these folders, sorted.
pub(crate) fn npm_lists(folders: &[PathBuf]) -> Vec<Vec<String>> {
    npm_packages();
    let output = npm()
        .args(["pack", "--dry-run", "--json", "--ignore-scripts", "--offline", "--loglevel=error"])
        .args(folders)
        .output()
        .expect("npm is missing: run `.ci/tools`");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let packed: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(packed.len(), folders.len());
    let list = |packed: &Value| {
        let files = packed["files"].as_array().unwrap();
        let mut paths: Vec<String> = files.iter().map(|file| file["path"].as_str().unwrap().to_owned()).collect();
        paths.sort_unstable();
        paths
    };
    packed.iter().map(list).collect()
}

/// Makes a file executable.
pub(crate) fn make_executable(path: &Path) {
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Everything below a folder, as paths relative to it.
pub(crate) fn everything_below(folder: &Path) -> Vec<String> {
    let mut paths: Vec<String> = walkdir::WalkDir::new(folder)
        .min_depth(1)
        .into_iter()
        .map(|entry| entry.unwrap().path().strip_prefix(folder).unwrap().to_string_lossy().into_owned())
        .collect();
    paths.sort_unstable();
    paths
}

/// The paths in a gzipped tar, as they follow each other.
pub(crate) fn paths_in_order(archive: &Path) -> Vec<String> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(fs_err::File::open(archive).unwrap()));
    let entries = archive.entries().unwrap();
    entries.map(|entry| String::from_utf8(entry.unwrap().path_bytes().into_owned()).unwrap()).collect()
}
