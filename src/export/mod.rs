//! Making `dist-dynamic` out of a plugin's sources, by the RHDH CLI. The plugins to export and the workspaces they
//! stand in come in; what goes out is, for each plugin, its verified `dist-dynamic` or the real reason why there is
//! none. Everything that children print goes into log files below `<output>/logs`.
//!
//! The way: node is checked; once for each workspace, the right yarn is found or fetched (`yarn`), then `yarn
//! install --immutable` and `yarn tsc` run (`prepare`); meanwhile the RHDH CLI is found or fetched (`rhdh_cli`);
//! then the plugins are exported, as many at once as cores and memory allow (`schedule`, `run`); what came out is
//! verified (`verify`), and what failed is explained (`failure`).
//!
//! # Each workspace package is built once, and `plugin export` runs with `--no-build`
//!
//! The RHDH CLI runs `yarn build` in every embedded package and in the plugin, then copies their `dist`. Two exports
//! that embed the same package would rebuild it under each other's hands. So `run` builds every package that is
//! going to be packed once, in parallel, and exports with `--no-build`. That gives the same result: `--no-build`
//! does nothing but leave out the very `yarn build` that `run` has done (RHDH CLI 1.9.1, `backend.cjs.js`), and the
//! `dist-dynamic` of a backend with two embedded packages came out byte for byte the same both ways. Which packages
//! will be packed is foretold by the RHDH CLI's own rule (`embedded`), then checked against its log: a package that
//! it packed and that was not built is built, and the export repeated. Frontends take no part: they bundle
//! workspace packages from their sources.

pub(crate) mod child;
mod embedded;
pub(crate) mod environment;
mod failure;
mod known;
pub mod look;
mod npm_cache;
mod prepare;
mod rhdh_cli;
mod run;
mod schedule;
pub(crate) mod toolchain;
mod verify;
mod yarn;

use std::path::PathBuf;

use crate::config;
use crate::repo_path::RepoPath;
use crate::workspace::package_json::Role;

pub use crate::rhdh::CliVersion;
pub use environment::Variables;
pub use run::export;
pub use toolchain::Error;

/// What to export, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// The folder of `rhdh-plugins.toml`.
    pub root: PathBuf,
    /// The output folder (`.rhdh-pack`); logs are written below it.
    pub output: PathBuf,
    /// The plugins, in the order in which their outcomes are returned.
    pub plugins: Vec<PluginToExport>,
    /// Which RHDH CLI.
    pub cli: CliVersion,
    /// How many children at once; `None`: as many as cores and memory allow.
    pub jobs: Option<usize>,
    /// Whether `yarn install --immutable` runs in each workspace.
    pub install: bool,
    /// Whether `yarn tsc` runs in each workspace.
    pub tsc: bool,
    /// Whether the first failure ends all others.
    pub fail_fast: bool,
    /// The environment that children get a part of; `RHDH_PACK_CACHE` in it names the cache folder.
    pub variables: Variables,
}

/// One plugin of a [`Request`].
#[derive(Clone, Debug)]
pub struct PluginToExport {
    /// The name in the configuration.
    pub id: String,
    /// The plugin's folder.
    pub path: RepoPath,
    /// The plugin's role.
    pub role: Role,
    /// Its section of the configuration.
    pub config: config::Plugin,
    /// The root of its workspace.
    pub workspace: RepoPath,
}

/// What became of one plugin.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The plugin's name in the configuration.
    pub id: String,
    /// Its `dist-dynamic`, or why there is none.
    pub outcome: Result<DistDynamic, ExportFailure>,
    /// How long the RHDH CLI worked on this plugin, in seconds, without waiting for other children.
    pub seconds: f64,
    /// The log that tells more: the export's own, or, when a step of the workspace failed, that step's. `None` where
    /// no child ran.
    pub log: Option<PathBuf>,
}

/// A `dist-dynamic` folder that has been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistDynamic {
    /// The folder, absolute.
    pub path: PathBuf,
    /// The `name` of its `package.json`.
    pub name: String,
    /// The `version` of its `package.json`.
    pub version: String,
    /// Its role.
    pub role: Role,
    /// The version of the RHDH CLI that made it; `None` for the user's own build.
    pub cli: Option<String>,
}

/// Why a plugin could not be exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportFailure {
    /// What kind of failure this is, in kebab-case; stable.
    pub code: &'static str,
    /// One sentence with the names that matter.
    pub message: String,
    /// What to do: a command, or lines of TOML.
    pub help: Option<String>,
    /// The last lines of the log, oldest first.
    pub log_tail: Vec<String>,
}

impl ExportFailure {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: None, log_tail: Vec::new() }
    }

    fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Another failure, or the person at the keyboard, ended the work.
    fn cancelled() -> Self {
        Self::new("cancelled", "stopped before it was done")
    }
}

/// A failure and the log that tells more, while it is still on its way to an [`Exported`].
#[derive(Clone, Debug)]
struct Failed {
    failure: ExportFailure,
    log: Option<PathBuf>,
}

impl From<ExportFailure> for Failed {
    fn from(failure: ExportFailure) -> Self {
        Self { failure, log: None }
    }
}

#[cfg(test)]
mod tests {
    //! What the tests of several files here need.

    use std::path::Path;

    use super::PluginToExport;
    use crate::config::{ExportMode, Plugin};
    use crate::repo_path::RepoPath;
    use crate::workspace::package_json::Role;
    use crate::workspace::{Workspaces, discover};

    /// A workspace at `root` with these packages: name of the folder below `plugins`, `package.json`.
    pub(super) fn workspaces(root: &Path, packages: &[(&str, &str)]) -> Workspaces {
        fs_err::write(root.join("package.json"), r#"{"name":"root","private":true,"workspaces":["plugins/*"]}"#)
            .unwrap();
        fs_err::write(root.join("yarn.lock"), "__metadata:\n  version: 8\n").unwrap();
        for (folder, manifest) in packages {
            let folder = root.join("plugins").join(folder);
            fs_err::create_dir_all(&folder).unwrap();
            fs_err::write(folder.join("package.json"), manifest).unwrap();
        }
        let folders: Vec<_> =
            packages.iter().map(|(folder, _)| RepoPath::new(&format!("plugins/{folder}")).unwrap()).collect();
        let (workspaces, errors) = discover(root, &folders);
        assert!(errors.is_empty(), "{errors:?}");
        workspaces
    }

    /// A plugin in this folder of the workspace at the root.
    pub(super) fn plugin(path: &str, role: &str) -> PluginToExport {
        let path = RepoPath::new(path).unwrap();
        let id = path.as_str().rsplit('/').next().unwrap().to_owned();
        let role = Role::ALL.into_iter().find(|known| known.as_str() == role).unwrap();
        let config = Plugin {
            id: id.clone(),
            path: path.clone(),
            export: ExportMode::Cli,
            image: None,
            registries: Vec::new(),
            scalprum_config: None,
            app_config: None,
            embed_packages: Vec::new(),
            shared_packages: Vec::new(),
            suppress_native_packages: Vec::new(),
            allow_native_packages: Vec::new(),
            ignore_version_check: Vec::new(),
            export_args: Vec::new(),
            labels: std::collections::BTreeMap::default(),
            annotations: std::collections::BTreeMap::default(),
            allow: std::collections::BTreeMap::default(),
            compression_level: None,
            artifact_type: None,
        };
        PluginToExport { id, path, role, config, workspace: RepoPath::default() }
    }
}
