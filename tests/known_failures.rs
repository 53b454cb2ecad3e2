//! The failures known from the field, provoked for real: yarn, npm and the RHDH CLI on one small workspace with many
//! broken plugins. What rhdh-pack says of each is a snapshot; and what `suggest --write` adds makes those pass that it
//! knows a remedy for.
//!
//! Not provoked here: memory that runs out (it takes the machine along), and the empty module federation build with
//! `CI=true` (an export with the RHDH CLI 1.9.1 does not show it; rhdh-pack sets `CI=false` all the same). Registries
//! that refuse, wrong media types, and integrity of artifacts have tests with real registries: push_registries.rs,
//! verify.rs.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::path::{Path, PathBuf};

use common::certificates::Certificate;
use common::http::{Server, answer};
use common::registry::{Auth, Registry};
use common::{rhdh_pack, transcript};
use serde_json::{Value, json};

/// The workspace of the example without its plugins; packages are added to it.
struct Workspace {
    folder: tempfile::TempDir,
}

impl Workspace {
    fn new() -> Self {
        let workspace = Self { folder: tempfile::tempdir().unwrap() };
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/todo");
        for file in ["package.json", "backstage.json", "tsconfig.json", ".yarnrc.yml", "yarn.lock"] {
            fs_err::copy(example.join(file), workspace.root().join(file)).unwrap();
        }
        workspace
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, path: &str, text: &str) -> &Self {
        let file = self.root().join(path);
        fs_err::create_dir_all(file.parent().unwrap()).unwrap();
        fs_err::write(file, text).unwrap();
        self
    }

    /// A package in `plugins/<name>`; `more` is merged into its `package.json`.
    fn package(&self, name: &str, role: &str, more: &Value, code: &str) -> &Self {
        let is_plugin = role == "backend-plugin";
        let mut manifest = json!({
            "name": format!("@acme/plugin-{name}"), "version": "1.0.0", "license": "Apache-2.0",
            "main": "src/index.ts", "types": "src/index.ts",
            "publishConfig": { "access": "public", "main": "dist/index.cjs.js", "types": "dist/index.d.ts" },
            "backstage": { "role": role },
            "scripts": { "build": "backstage-cli package build" },
            "dependencies": if is_plugin { json!({ "@backstage/backend-plugin-api": "~1.4.2" }) } else { json!({}) },
            "devDependencies": { "@backstage/cli": "~0.34.1" },
            "files": ["dist"],
        });
        merge(&mut manifest, more);
        self.write(&format!("plugins/{name}/package.json"), &manifest.to_string());
        self.write(&format!("plugins/{name}/src/index.ts"), code)
    }

    fn backend(&self, name: &str, more: &Value) -> &Self {
        let code = format!(
            "import {{ createBackendPlugin }} from '@backstage/backend-plugin-api';\n\
             export default createBackendPlugin({{ pluginId: '{name}', register() {{}} }});\n"
        );
        self.package(name, "backend-plugin", more, &code)
    }

    /// Lets yarn write the lock file for the packages that are there.
    fn lock(&self) {
        let yarn = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/yarn/node_modules/@yarnpkg/cli-dist/bin/yarn.js");
        let mut command = common::scrubbed("node");
        command.arg(yarn).args(["install", "--mode=update-lockfile"]).current_dir(self.root());
        let output =
            command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; `bash .ci/tools` installs it"));
        assert!(output.status.success(), "{}", transcript(&output, self.root()));
    }

    /// What `rhdh-pack <arguments>` says of each plugin that failed: code, message, help.
    fn failures(&self, arguments: &[&str], environment: &[(&str, &str)]) -> String {
        let output = self.run(arguments, environment);
        let result = fs_err::read(self.root().join(".rhdh-pack/result.json")).ok();
        let Some(result) = result.filter(|_| output.status.code() == Some(1)) else {
            // Nothing could be exported at all.
            let text = transcript(&output, self.root());
            let end = text.split_once("  × ").unwrap_or_else(|| panic!("{text}"));
            return format!("  × {}", end.1);
        };
        let result: Value = serde_json::from_slice(&result).unwrap();
        let mut text = String::new();
        for plugin in result["plugins"].as_array().unwrap() {
            let Some(error) = plugin["error"].as_object() else { continue };
            let field = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            text.push_str(&format!(
                "== {}: {}\n{}\nhelp: {}\n",
                plugin["id"].as_str().unwrap(),
                field("code"),
                field("message"),
                field("help")
            ));
        }
        let real = self.root().canonicalize().unwrap();
        text.replace(&*real.to_string_lossy(), "<root>")
    }

    fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> std::process::Output {
        rhdh_pack(self.root()).args(arguments).envs(environment.iter().copied()).output().unwrap()
    }
}

fn merge(into: &mut Value, more: &Value) {
    for (key, value) in more.as_object().unwrap() {
        match (into.get_mut(key), value) {
            (Some(old), Value::Object(_)) if old.is_object() => merge(old, value),
            (_, Value::Null) => drop(into.as_object_mut().unwrap().remove(key)),
            _ => into[key] = value.clone(),
        }
    }
}

/// The configuration for these plugins, with more keys for some.
fn configuration(plugins: &[(&str, &str)]) -> String {
    let tables = plugins.iter().map(|(name, keys)| format!("[plugins.{name}]\npath = \"plugins/{name}\"\n{keys}"));
    format!("[rhdh]\ncli = \"1.9.1\"\n{}", tables.collect::<String>())
}

/// Everything that goes wrong while a plugin is exported, in one run; then those that `suggest` knows a remedy for.
#[test]
fn exports_that_fail() {
    let workspace = Workspace::new();
    let lib = json!({ "dependencies": { "@acme/plugin-lib": "workspace:^" } });
    workspace
        .package("lib", "node-library", &json!({}), "export const answer = 42;\n")
        .package("conflict-common", "common-library", &json!({ "peerDependencies": { "luxon": "^2.0.0" } }), "export const a = 1;\n")
        .package("conflict-node", "node-library", &json!({ "peerDependencies": { "luxon": "^3.5.0" } }), "export const a = 1;\n")
        .backend(
            "conflict-backend",
            &json!({ "dependencies": {
                "luxon": "^3.5.0", "@acme/plugin-conflict-common": "workspace:^", "@acme/plugin-conflict-node": "workspace:^",
            } }),
        )
        .package("no-export-backend", "backend-plugin", &json!({}), "export const plugin = 1;\n")
        .package(
            "missing-backend",
            "backend-plugin",
            &json!({}),
            "// @ts-ignore\nimport nothing from 'not-a-package-of-anybody';\nexport default nothing;\n",
        )
        .backend("old-backend", &json!({ "backstage": { "supported-versions": "^1.30.0 <1.40.0" } }))
        .backend("unembedded-backend", &lib)
        .backend("shared-backend", &json!({ "dependencies": { "@backstage-community/plugin-rbac-node": "1.12.0" } }))
        .backend("native-backend", &json!({ "dependencies": { "bufferutil": "4.1.0" } }))
        .backend("script-backend", &json!({ "scripts": { "build": null } }))
        .backend("option-backend", &json!({}))
        .backend("full-backend", &json!({ "scripts": { "build": "node -e \"require('fs').writeFileSync('/dev/full', 'x')\"" } }))
        .backend(
            "needy-backend",
            &json!({ "dependencies": {
                "@acme/plugin-lib": "workspace:^", "@backstage-community/plugin-rbac-node": "1.12.0", "bufferutil": "4.1.0",
            } }),
        );
    workspace.write(
        "rhdh-plugins.toml",
        &configuration(&[
            ("conflict-backend", ""),
            ("no-export-backend", ""),
            ("missing-backend", ""),
            ("old-backend", ""),
            ("unembedded-backend", ""),
            ("shared-backend", ""),
            ("native-backend", ""),
            ("script-backend", ""),
            ("option-backend", "export-args = [\"--frobnicate\"]\n"),
            ("full-backend", ""),
            ("needy-backend", ""),
        ]),
    );
    workspace.lock();
    insta::assert_snapshot!("known_failures_exports", workspace.failures(&["run", "--all"], &[]));

    // What can be worked out from the lock file is worked out, all at once, and is enough.
    let remedied = ["unembedded-backend", "shared-backend", "native-backend", "needy-backend"];
    let suggested = workspace.run(&[&["suggest"][..], &remedied].concat(), &[]);
    insta::assert_snapshot!("known_failures_suggested", transcript(&suggested, workspace.root()));
    assert_eq!(workspace.run(&[&["suggest", "--write"][..], &remedied].concat(), &[]).status.code(), Some(0));
    let chosen: Vec<&str> = remedied.iter().flat_map(|id| ["--plugin", *id]).collect();
    let output = workspace.run(&[&["run", "--no-install", "--no-tsc"][..], &chosen].concat(), &[]);
    assert_eq!(output.status.code(), Some(0), "{}", transcript(&output, workspace.root()));

    // Declarations that are not there, where nobody makes them.
    workspace.write("plugins/lib/src/index.ts", "export const answer = 43;\n");
    fs_err::remove_dir_all(workspace.root().join("dist-types")).unwrap();
    let mut text = workspace.failures(&["run", "--no-install", "--no-tsc", "--plugin", "unembedded-backend"], &[]);
    // A type error ends the whole workspace.
    workspace.write("plugins/lib/src/index.ts", "export const answer: number = 'x';\n");
    text.push_str(&workspace.failures(&["run", "--no-install", "--plugin", "unembedded-backend"], &[]));
    insta::assert_snapshot!("known_failures_typescript", text);

    // The lock file: of other bytes, then of other ranges.
    let lock = fs_err::read_to_string(workspace.root().join("yarn.lock")).unwrap();
    let (before, after) = lock.split_once("resolution: \"luxon@npm:3.").unwrap();
    let (entry, rest) = after.split_once("checksum: 10c0/").unwrap();
    let changed =
        format!("{before}resolution: \"luxon@npm:3.{entry}checksum: 10c0/{}{}", "0".repeat(128), &rest[128..]);
    workspace.write("yarn.lock", &changed);
    let mut text = workspace.failures(&["run", "--plugin", "conflict-backend"], &[]);
    workspace.write("yarn.lock", &lock);
    workspace.backend("native-backend", &json!({ "dependencies": { "bufferutil": "4.0.9" } }));
    text.push_str(&workspace.failures(&["run", "--plugin", "native-backend"], &[]));
    workspace.write(".yarnrc.yml", "nodeLinker: node-modules\nnpmAuthToken: \"${RHDH_TEST_MISSING}\"\n");
    text.push_str(&workspace.failures(&["run", "--plugin", "native-backend"], &[]));
    insta::assert_snapshot!("known_failures_lock_file", text);
}

/// The way to npm registries, as npm meets it when it fetches yarn for the first time.
#[test]
fn registries_that_cannot_be_reached() {
    let workspace = Workspace::new();
    workspace.backend("one-backend", &json!({})).write("rhdh-plugins.toml", &configuration(&[("one-backend", "")]));
    let cache = tempfile::tempdir().unwrap();
    let run = |environment: &[(&str, &str)]| {
        let own =
            [("RHDH_PACK_CACHE", cache.path().to_str().unwrap()), ("npm_config_fetch_retries", "0"), ("PATH", path())];
        workspace.failures(&["run", "--all"], &[&own[..], environment].concat())
    };
    let nobody = format!("http://127.0.0.1:{}", common::registry::free_port());
    let mut text =
        format!("== nobody there\n{}", run(&[("npm_config_registry", &nobody)]).replace(&nobody, "<registry>"));

    let folder = tempfile::tempdir().unwrap();
    let server = Certificate::new(folder.path()).server(folder.path());
    let (certificate, key) = (server.certificate.display(), server.key.display());
    let tls = format!("  tls:\n    certificate: {certificate}\n    key: {key}\n");
    let registry = Registry::start_with(Auth::Open, &tls, "");
    let url = format!("https://{}", registry.host);
    text.push_str(&format!(
        "== unknown authority\n{}",
        run(&[("npm_config_registry", &url)]).replace(&url, "<registry>")
    ));

    let proxy = Server::start(|_| answer("407 Proxy Authentication Required", "Proxy-Authenticate: Basic\r\n", ""));
    let url = format!("http://{}", proxy.host);
    let environment = [("HTTPS_PROXY", url.as_str()), ("npm_config_registry", "https://registry.acme.invalid")];
    text.push_str(&format!("== proxy\n{}", run(&environment).replace(&url, "<proxy>")));

    let private = Server::start(|_| answer("401 Unauthorized", "", r#"{ "error": "authentication required" }"#));
    let url = format!("http://{}", private.host);
    text.push_str(&format!("== private\n{}", run(&[("npm_config_registry", &url)]).replace(&url, "<registry>")));

    let empty = Server::start(|_| answer("404 Not Found", "", r#"{ "error": "Not found" }"#));
    let url = format!("http://{}", empty.host);
    text.push_str(&format!("== empty\n{}", run(&[("npm_config_registry", &url)]).replace(&url, "<registry>")));
    let settings = [(r"127\.0\.0\.1:\d+", "<host>"), (r"log: .*", "log: <log>")];
    insta::with_settings!({ filters => settings.to_vec() }, { insta::assert_snapshot!("known_failures_network", text) });
}

/// PATH without any yarn.
fn path() -> &'static str {
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .filter(|folder| !folder.join("yarn").exists())
        .collect();
    std::env::join_paths(folders).unwrap().into_string().unwrap().leak()
}
