//! A backend's `dist-dynamic`, and what npm, tar, buildah and hostile tools make of it: artifacts to look at.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use super::plugins::{DIR, write};
use super::registry::{Registry, run};
use super::{rhdh_pack, transcript};

/// A folder with a backend's `dist-dynamic` and a stand-in for the packages that RHDH provides.
pub(crate) struct Bench {
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
    pub(crate) fn new() -> Self {
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

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        write(self.root(), path, content);
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = rhdh_pack(self.root());
        command.args(arguments).env("SECRET_TOKEN", "s3cret").env("HOME", self.root());
        command.output().unwrap()
    }

    /// Runs the program, which must end with `code`; exit code, stdout and stderr.
    pub(crate) fn expect(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = transcript(&output, self.root());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{text}");
        text
    }

    /// Verifies with the packages that RHDH provides.
    pub(crate) fn verify(&self, code: i32, what: &str) -> String {
        self.expect(code, &["verify", what, "--node-modules", "rhdh"])
    }

    /// An archive of a plugin, as a hostile tool would make it: with these entries beside those that it needs.
    pub(crate) fn archive(&self, file: &str, manifest: &str, more: &[(&str, &str)]) {
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
    pub(crate) fn npm_pack(&self) -> PathBuf {
        let mut command = Command::new("npm");
        command.args(["pack", "--silent", "--ignore-scripts"]).current_dir(self.root().join("dist-dynamic"));
        let name = String::from_utf8(run("npm", "npm", &mut command)).unwrap();
        self.root().join("dist-dynamic").join(name.trim())
    }

    /// buildah with its storage in this folder.
    pub(crate) fn buildah(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("buildah");
        command.args(["--storage-driver", "vfs", "--root"]).arg(self.root().join("storage"));
        command.arg("--runroot").arg(self.root().join("runroot")).args(arguments);
        String::from_utf8(run("buildah", "buildah", &mut command)).unwrap().trim().to_owned()
    }

    /// An image by buildah, with a layer for each of `steps`: what is copied, and whereto. Its name in the registry.
    pub(crate) fn image(
        &self,
        registry: &Registry,
        name: &str,
        format: &str,
        steps: &[(&str, &str)],
        annotation: bool,
    ) -> String {
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

/// A manifest with this name and version.
pub(crate) fn manifest(name: &str, version: &str) -> String {
    let manifest = serde_json::json!({
        "name": name, "version": version, "main": "dist/index.cjs.js", "backstage": { "role": "backend-plugin" },
    });
    manifest.to_string()
}

/// The names in a folder, sorted.
pub(crate) fn names_in(folder: &Path) -> Vec<String> {
    let names = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// The configuration's plugin, as `rhdh-pack run` would make it here.
pub(crate) fn configure(bench: &Bench, keys: &str) {
    bench.write("package.json", r#"{ "name": "root", "workspaces": ["x"] }"#);
    bench.write("yarn.lock", "");
    let manifest = r#"{ "name": "@acme/plugin-x", "version": "1.2.3", "backstage": { "role": "backend-plugin" } }"#;
    bench.write("x/package.json", manifest);
    bench.write("rhdh-plugins.toml", format!("[rhdh]\nversion = \"1.9\"\n[plugins.x]\npath = \"x\"\n{keys}"));
}
