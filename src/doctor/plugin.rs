//! One plugin, as it stands in its workspace.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nodejs_semver::{Range, Version};
use serde_json::Value;

use super::exports::{self, Shown};
use super::{Area, Finding};
use crate::config::{ExportMode, Plugin};
use crate::export::look;
use crate::workspace::{Package, Role, Workspace};

const HERE: Area = Area::Repository;

/// No source file or configuration that is looked into is larger, in bytes.
const MAX_SIZE: u64 = 4 << 20;

/// What is known of a plugin.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The folder of `rhdh-plugins.toml`.
    pub root: &'a Path,
    /// Its configuration.
    pub config: &'a Plugin,
    /// Its package.
    pub package: &'a Package,
    /// Its role.
    pub role: Role,
    /// Its workspace.
    pub workspace: &'a Workspace,
    /// What its app-config holds.
    pub app_config: Option<&'a Value>,
}

/// What is to be said about a plugin: one line where all is well, else one for each thing that is not.
#[must_use]
pub fn examine(subject: Subject<'_>) -> Vec<Finding> {
    let what = format!("plugin {}", subject.config.id);
    let findings: Vec<Finding> = [
        supported_versions(&what, subject),
        default_export(&what, subject),
        scalprum_name(&what, subject),
        dist_dynamic(&what, subject),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !findings.is_empty() {
        return findings;
    }
    let version = subject.package.manifest.version.as_deref().unwrap_or_default();
    vec![HERE.ok(what, format!("{} {version}, {}", subject.role.as_str(), subject.config.path))]
}

/// The RHDH CLI refuses a plugin whose range excludes the workspace's Backstage.
fn supported_versions(what: &str, subject: Subject<'_>) -> Option<Finding> {
    let range = subject.package.manifest.backstage.supported_versions.as_deref()?;
    let backstage = subject.workspace.backstage.as_deref()?;
    let Ok(parsed) = Range::parse(range) else {
        let text = format!("`backstage.supported-versions` is `{range}`, which is no range of versions");
        return Some(HERE.failed(
            what,
            text,
            "write a range such as `^1.45.0`, or remove it: it is filled in from `backstage.json`",
        ));
    };
    let version = Version::parse(backstage).ok()?;
    (!version.satisfies(&parsed)).then(|| {
        HERE.failed(
            what,
            format!("`backstage.supported-versions` is `{range}`, which excludes {backstage} of `backstage.json`"),
            "widen it in the plugin's `package.json`, or remove it: it is filled in from `backstage.json`",
        )
    })
}

/// RHDH loads a backend by its default export. Sources are read, not understood: what looks like none may be one.
fn default_export(what: &str, subject: Subject<'_>) -> Option<Finding> {
    if subject.role.is_frontend() || subject.config.export == ExportMode::Prebuilt {
        return None;
    }
    let folder = subject.config.path.under(subject.root);
    let entry = entry_point(subject.package)?;
    let file = folder.join(entry);
    let Some(text) = read(&file) else {
        let text = format!("the entry point `{entry}` of its `package.json` cannot be read");
        return Some(HERE.failed(
            what,
            text,
            "mend `main` or `exports` in it; while it is developed, that is `src/index.ts`",
        ));
    };
    let passed_on = match exports::shown(&text) {
        Shown::Default => return None,
        Shown::Everything => " (`export *` does not pass on another module's)",
        Shown::Nothing => "",
    };
    Some(HERE.warn(
        what,
        format!("no default export is seen in `{}/{entry}`{passed_on}: RHDH loads a backend by it", subject.config.path),
        "export it, for the new backend system: `export { todoPlugin as default } from './plugin';`; whether node finds it, \
         `rhdh-pack verify` says after `rhdh-pack run`",
    ))
}

/// Where the package begins, while it stands in its workspace.
fn entry_point(package: &Package) -> Option<&str> {
    let fields = &package.manifest.rest;
    let main = fields.get("main").and_then(Value::as_str);
    let exported = fields.get("exports").and_then(|exports| exports.as_str().or_else(|| exports.get(".")?.as_str()));
    exported.or(main).map(|entry| entry.trim_start_matches("./")).filter(|entry| {
        let inside = Path::new(entry).components().all(|part| matches!(part, std::path::Component::Normal(_)));
        inside && entry.contains("src/")
    })
}

/// RHDH finds a frontend's configuration by its scalprum name.
fn scalprum_name(what: &str, subject: Subject<'_>) -> Option<Finding> {
    if !subject.role.is_frontend() {
        return None;
    }
    let name = match &subject.config.scalprum_config {
        Some(path) => {
            let named = read(&path.under(subject.root)).map(|text| serde_json::from_str::<Value>(&text));
            let failed = |why: &str| {
                let help = "it holds `{ \"name\": \"acme.plugin-todo\", \"exposedModules\": { \"PluginRoot\": \"./src/index.ts\" } }`";
                Some(HERE.failed(what, format!("`scalprum-config` `{path}` {why}"), help))
            };
            match named {
                None => return failed("cannot be read"),
                Some(Err(error)) => return failed(&format!("is not JSON: {error}")),
                Some(Ok(value)) => match value.get("name").and_then(Value::as_str) {
                    Some(name) => name.to_owned(),
                    None => return failed("has no `name`"),
                },
            }
        }
        None => match subject.package.manifest.rest.get("scalprum").and_then(|it| it.get("name")?.as_str()) {
            Some(name) => name.to_owned(),
            // The RHDH CLI's own rule: `@acme/plugin-todo` is `acme.plugin-todo`.
            None => subject.package.manifest.name.as_deref()?.trim_start_matches('@').replace('/', "."),
        },
    };
    let configured = subject.app_config?.pointer("/dynamicPlugins/frontend")?.as_object()?;
    if configured.contains_key(&name) || configured.is_empty() {
        return None;
    }
    let found = super::listed(configured.keys().map(String::as_str));
    Some(HERE.warn(
        what,
        format!("its scalprum name is `{name}`, and its app-config configures {found}: RHDH will not find it there"),
        format!("name it `dynamicPlugins.frontend.{name}` in the app-config, or set `scalprum.name` in `package.json`"),
    ))
}

/// What a build of the user's own left, and what an earlier run did.
fn dist_dynamic(what: &str, subject: Subject<'_>) -> Option<Finding> {
    let folder = subject.config.path.under(subject.root);
    let there = folder.join("dist-dynamic");
    if subject.config.export != ExportMode::Prebuilt {
        return tracked(&there).then(|| {
            HERE.warn(
                what,
                "`dist-dynamic` is committed, and every export makes it anew",
                format!("`git rm -r --cached {}/dist-dynamic`, and add it to `.gitignore`", subject.config.path),
            )
        });
    }
    if let Err(failure) = look::dist_dynamic(&folder, &subject.package.manifest, subject.role) {
        return Some(Finding { help: failure.help, ..HERE.failed(what, failure.message, "") });
    }
    let made = fs_err::metadata(there.join("package.json")).and_then(|about| about.modified()).ok()?;
    let (newer, _) = newest(&folder).filter(|(_, changed)| *changed > made)?;
    let newer = newer.strip_prefix(&folder).unwrap_or(&newer).display().to_string();
    Some(HERE.warn(
        what,
        format!("`dist-dynamic` is older than `{newer}`, and `export = \"prebuilt\"` packages it as it is"),
        "build it again before `rhdh-pack run`, or remove `export = \"prebuilt\"` so that rhdh-pack does",
    ))
}

/// The file of a plugin's sources that was changed last, and when.
fn newest(folder: &Path) -> Option<(PathBuf, SystemTime)> {
    let sources = walkdir::WalkDir::new(folder.join("src")).into_iter().filter_map(Result::ok);
    let files = sources.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path);
    let files = files.chain([folder.join("package.json")]);
    files
        .filter_map(|file| Some((file.clone(), fs_err::metadata(&file).ok()?.modified().ok()?)))
        .max_by_key(|(_, at)| *at)
}

/// Whether git keeps something of a folder.
fn tracked(folder: &Path) -> bool {
    if !folder.is_dir() {
        return false;
    }
    let mut command = std::process::Command::new("git");
    command.args(["ls-files", "--", "."]).current_dir(folder);
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(name);
    }
    command.output().is_ok_and(|output| output.status.success() && !output.stdout.is_empty())
}

/// A file's text, unless it is none or too large.
fn read(file: &Path) -> Option<String> {
    let mut text = String::new();
    fs_err::metadata(file).ok().filter(|about| about.is_file() && about.len() <= MAX_SIZE)?;
    fs_err::File::open(file).ok()?.take(MAX_SIZE).read_to_string(&mut text).ok()?;
    Some(text)
}
