//! What a plugin needs at run time, whatever its `files` say: entry points, config schema, the frontend's manifests and
//! every file that they name. `package.json` comes in; what goes out are paths, each with the reason why it is needed.

use serde_json::Value;

use super::source::Source;
use super::walk::NEVER;
use super::{MAX_MANIFEST, Problem};

/// Conditions of `exports` that node follows at run time.
const RUN_TIME_CONDITIONS: [&str; 6] = ["node", "node-addons", "require", "import", "module-sync", "default"];

/// The config schemas that RHDH reads: the backend's, the frontend's, and the one that the RHDH CLI writes for both.
const CONFIG_SCHEMAS: [&str; 3] =
    ["dist/configSchema.json", "dist-scalprum/configSchema.json", "dist/.config-schema.json"];

/// The manifest of the frontend loader of RHDH up to 2.0, and that of module federation.
const SCALPRUM: (&str, &str) = ("dist-scalprum", "plugin-manifest.json");
const MODULE_FEDERATION: (&str, &str) = ("dist", "mf-manifest.json");

/// A file that the plugin needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Need {
    /// The first of these that exists.
    pub(super) candidates: Vec<String>,
    /// What names the file.
    pub(super) why: String,
    /// It is an error if none exists.
    pub(super) required: bool,
}

/// Collects what a plugin needs.
pub(super) struct Needs<'a> {
    source: &'a Source,
    /// A frontend is loaded by its manifests; its `main` and `exports` do not exist after the export.
    frontend: bool,
    found: Vec<Need>,
    problems: Vec<Problem>,
}

impl<'a> Needs<'a> {
    /// What the plugin of `manifest` needs.
    pub(super) fn of(source: &'a Source, manifest: &Value) -> (Vec<Need>, Vec<Problem>) {
        let role = manifest.pointer("/backstage/role").and_then(Value::as_str).unwrap_or_default();
        let mut needs =
            Self { source, frontend: role.starts_with("frontend"), found: Vec::new(), problems: Vec::new() };
        if let Some(main) = manifest.get("main").and_then(Value::as_str).filter(|main| !main.is_empty()) {
            needs.module("", main, "`main` of package.json names it", !needs.frontend);
        }
        needs.exports(manifest);
        if let Some(schema) = manifest.get("configSchema").and_then(Value::as_str) {
            needs.file("", schema, "`configSchema` of package.json names it", true);
        }
        for schema in CONFIG_SCHEMAS {
            needs.file("", schema, "RHDH reads it", false);
        }
        needs.manifest_files(SCALPRUM);
        needs.manifest_files(MODULE_FEDERATION);
        (needs.found, needs.problems)
    }

    /// Needs `path`, relative to `folder`.
    fn file(&mut self, folder: &str, path: &str, why: &str, required: bool) {
        let is_never_packed = |path: &String| path.split('/').any(|name| NEVER.contains(&name));
        match super::inside(&super::walk::join(folder, path)) {
            Some(path) if is_never_packed(&path) && required => {
                self.problems.push(Problem::Missing { path, why: format!("{why}, and it is never packed") });
            }
            Some(path) if is_never_packed(&path) => {}
            Some(path) => self.found.push(Need { candidates: vec![path], why: why.to_owned(), required }),
            None if required => self
                .problems
                .push(Problem::Missing { path: path.to_owned(), why: format!("{why}, and it leaves the package") }),
            None => {}
        }
    }

    /// Needs what node finds for the module `path`: node tries endings and folders.
    fn module(&mut self, folder: &str, path: &str, why: &str, required: bool) {
        self.file(folder, path, why, required);
        if let Some(need) = self.found.last_mut().filter(|need| need.why == why) {
            let base = need.candidates.first().cloned().unwrap_or_default();
            let endings = [".js", ".json", ".node", "/index.js", "/index.json", "/index.node"];
            // Of `.`, what is in the package itself.
            need.candidates.extend(endings.map(|ending| format!("{base}{ending}").trim_start_matches('/').to_owned()));
        }
    }

    fn exports(&mut self, manifest: &Value) {
        let mut folders: Vec<String> = Vec::new();
        match manifest.get("exports") {
            Some(Value::Object(entries)) if entries.keys().any(|key| key.starts_with('.')) => {
                for (subpath, target) in entries {
                    self.export_target(subpath, target, !self.frontend);
                    folders.extend(super::inside(subpath).filter(|folder| !folder.is_empty() && !folder.contains('*')));
                }
            }
            Some(target) => self.export_target(".", target, !self.frontend),
            None => {}
        }
        folders
            .extend(self.source.folders().into_iter().filter(|name| !name.starts_with('.') && name != "node_modules"));
        folders.sort_unstable();
        folders.dedup();
        for folder in folders {
            self.compatibility_entry_point(&folder);
        }
    }

    fn export_target(&mut self, subpath: &str, target: &Value, required: bool) {
        match target {
            Value::String(path) if path.starts_with("./") && path.contains('*') => {
                for file in self.source.matching(path) {
                    self.file("", &file, "`exports` of package.json names it by a pattern", false);
                }
            }
            Value::String(path) if path.starts_with("./") => {
                self.file("", path, &format!("`exports` of package.json names it for `{subpath}`"), required);
            }
            Value::Object(conditions) => {
                for (condition, target) in conditions {
                    let at_run_time = RUN_TIME_CONDITIONS.contains(&condition.as_str());
                    self.export_target(subpath, target, required && at_run_time);
                }
            }
            Value::Array(alternatives) => {
                for target in alternatives {
                    self.export_target(subpath, target, false);
                }
            }
            _ => {}
        }
    }

    /// A folder such as `alpha` whose `package.json` leads to `../dist/alpha.cjs.js`: for those who import
    /// `<package>/alpha` without knowing of `exports`.
    fn compatibility_entry_point(&mut self, folder: &str) {
        let path = super::walk::join(folder, "package.json");
        // Any folder may hold a file of this name; one that is no JSON is no entry point.
        let Ok(Some(manifest)) = self.json(&path) else { return };
        let leads_out =
            |key: &&str| manifest.get(*key).and_then(Value::as_str).is_some_and(|target| target.starts_with("../"));
        let targets: Vec<&str> = ["main", "module", "types"].into_iter().filter(leads_out).collect();
        if targets.is_empty() {
            return;
        }
        self.file("", &path, "it is an entry point", false);
        for key in targets {
            let target = manifest.get(key).and_then(Value::as_str).unwrap_or_default();
            let why = format!("`{key}` of `{path}` names it");
            self.module(folder, target, &why, key == "main" && !self.frontend);
        }
    }

    /// Needs the manifest `name` in `folder` where it exists, and then every file that it names.
    fn manifest_files(&mut self, (folder, name): (&str, &str)) {
        let path = super::walk::join(folder, name);
        let manifest = match self.json(&path) {
            Ok(Some(manifest)) => manifest,
            Ok(None) => return,
            Err(problem) => return self.problems.push(problem),
        };
        self.file("", &path, "RHDH loads the plugin by it", false);
        for file in named_files(&manifest) {
            self.file(folder, &file, &format!("`{path}` names it"), true);
        }
    }

    /// The JSON of `path`, where there is such a file.
    fn json(&self, path: &str) -> Result<Option<Value>, Problem> {
        let Some(target) = self.source.follow(path)?.filter(|target| target.is_file()) else { return Ok(None) };
        let (content, _) = self.source.read_small(&target, MAX_MANIFEST)?;
        super::parse_json(path, &content).map(Some)
    }
}

/// The files that a frontend's manifest names, relative to it: Scalprum's `loadScripts`, or module federation's remote
/// entry and the assets of its modules. Sorted, each once.
pub(crate) fn named_files(manifest: &Value) -> Vec<String> {
    let mut files = Vec::new();
    strings(manifest.get("loadScripts"), &mut files);
    let part = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let entry = part("/metaData/remoteEntry/name");
    if !entry.is_empty() {
        files.push(super::walk::join(part("/metaData/remoteEntry/path").trim_matches('/'), entry));
    }
    for list in ["shared", "exposes"] {
        for module in manifest.get(list).and_then(Value::as_array).into_iter().flatten() {
            for pointer in ["/assets/js/sync", "/assets/js/async", "/assets/css/sync", "/assets/css/async"] {
                strings(module.pointer(pointer), &mut files);
            }
        }
    }
    files.sort_unstable();
    files.dedup();
    files
}

fn strings(list: Option<&Value>, files: &mut Vec<String>) {
    files.extend(list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
}
