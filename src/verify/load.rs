//! The load test: a backend plugin, unpacked into a temporary folder, is loaded by node as RHDH would load it, with the
//! packages that RHDH provides taken from a folder of this machine. Runs the plugin's code, without any credentials.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::artifact::unpack::{self, unpack};
use crate::export::Variables;
use crate::export::child::{Command, Ended};
use crate::export::environment::Environment;
use crate::export::toolchain::Node;

/// The program that node runs.
const SCRIPT: &str = include_str!("load.js");
/// Plugins are loaded within a second or two.
const PATIENCE: Duration = Duration::from_secs(60);
/// No report is larger, in bytes.
const MAX_REPORT: u64 = 1 << 20;

/// What became of loading a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Loaded {
    /// Node loaded it, and it is a backend feature.
    Loaded,
    /// It is a frontend: browsers load it, and its manifest was looked at instead.
    Frontend,
    /// It was not tried, or not to the end: what RHDH provides is not here.
    NotRun {
        /// Why.
        reason: String,
    },
    /// This machine cannot try it.
    Unable {
        /// Why.
        reason: String,
    },
    /// Node cannot load it.
    Failed {
        /// What node said.
        reason: String,
    },
    /// Node loaded it, and it exports no backend feature.
    NoFeature {
        /// What it exports.
        exports: Vec<String>,
    },
}

/// What `load.js` writes.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Report {
    Loaded,
    Failed { message: String, missing: Option<String> },
    NoFeature { exports: Vec<String> },
}

/// What all load tests of a command share.
pub(super) struct Loader<'a> {
    /// The packages that RHDH provides.
    pub(super) node_modules: Option<PathBuf>,
    pub(super) cancel: &'a CancellationToken,
}

/// A plugin in an archive.
pub(super) struct Subject<'a> {
    pub(super) archive: &'a Path,
    /// Its folder in the archive.
    pub(super) folder: &'a str,
    pub(super) manifest: &'a serde_json::Value,
}

impl Loader<'_> {
    /// Loads a backend plugin.
    pub(super) async fn load(&self, subject: &Subject<'_>) -> Loaded {
        self.try_load(subject).await.unwrap_or_else(|reason| Loaded::Unable { reason })
    }

    /// The error is why this machine cannot try it.
    async fn try_load(&self, subject: &Subject<'_>) -> Result<Loaded, String> {
        let place = Place::new(self.node_modules.as_deref()).map_err(|error| error.to_string())?;
        match unpack(subject.archive, subject.folder, &place.plugin) {
            Ok(_) => {}
            Err(unpack::Error::Archive(error)) => {
                return Ok(Loaded::Failed { reason: format!("it cannot be unpacked: {error}") });
            }
            Err(unpack::Error::Folder(error)) => return Err(error.to_string()),
        }
        let mut environment = Environment::for_workspace(&Variables::of_process(), place.root.path());
        environment.set("HOME", place.root.path());
        let node = Node::find(&environment, self.cancel).await.map_err(|error| error.to_string())?;
        let command = Command {
            program: node.program,
            args: [&place.script, &place.plugin, &place.report].map(Into::into).into(),
            dir: place.root.path().to_owned(),
            env: environment.for_code(),
        };
        let log = place.root.path().join("log");
        match tokio::time::timeout(PATIENCE, command.run(&log, self.cancel)).await {
            Err(_) => return Ok(Loaded::Failed { reason: format!("not loaded after {} s", PATIENCE.as_secs()) }),
            Ok(Err(error)) => return Err(format!("node cannot be started: {error}")),
            Ok(Ok(Ended::Cancelled)) => return Err("interrupted".to_owned()),
            Ok(Ok(Ended::Exited(_))) => {}
        }
        match place.read_report() {
            Some(Report::Loaded) => Ok(Loaded::Loaded),
            Some(Report::NoFeature { exports }) => Ok(Loaded::NoFeature { exports }),
            Some(Report::Failed { message, missing }) => Ok(self.failed(subject, message, missing)),
            // `process.exit()` at the top of a module, or a crash.
            None => {
                Ok(Loaded::Failed { reason: format!("node ended before the plugin was loaded{}", last_line(&log)) })
            }
        }
    }

    /// Whether the plugin is to blame, or that a package is not here which RHDH would have.
    fn failed(&self, subject: &Subject<'_>, message: String, missing: Option<String>) -> Loaded {
        let package = missing.as_deref().map(package_name).unwrap_or_default();
        let peers: BTreeMap<String, serde_json::Value> = subject
            .manifest
            .get("peerDependencies")
            .and_then(|peers| serde_json::from_value(peers.clone()).ok())
            .unwrap_or_default();
        if !peers.contains_key(package) && !package.starts_with("@backstage/") {
            return Loaded::Failed { reason: message };
        }
        let place = match &self.node_modules {
            Some(folder) => format!("is not in `{}`", folder.display()),
            None => "is not here".to_owned(),
        };
        let reason =
            format!("`{package}`, which RHDH provides, {place}: name a folder that has it with `--node-modules DIR`");
        Loaded::NotRun { reason }
    }
}

/// The temporary folder: what stands in `node_modules` at its top is found from the plugin in it, as in RHDH.
struct Place {
    root: TempDir,
    plugin: PathBuf,
    script: PathBuf,
    report: PathBuf,
}

impl Place {
    fn new(node_modules: Option<&Path>) -> std::io::Result<Self> {
        let root = tempfile::Builder::new().prefix("rhdh-pack-").tempdir()?;
        let real = fs_err::canonicalize(root.path())?;
        let (plugin, script, report) =
            (real.join("dynamic-plugins-root/plugin"), real.join("load.js"), real.join("report.json"));
        fs_err::write(&script, SCRIPT)?;
        if let Some(folder) = node_modules {
            fs_err::os::unix::fs::symlink(fs_err::canonicalize(folder)?, real.join("node_modules"))?;
        }
        Ok(Self { root, plugin, script, report })
    }

    fn read_report(&self) -> Option<Report> {
        use std::io::Read as _;
        let mut text = Vec::new();
        fs_err::File::open(&self.report).ok()?.take(MAX_REPORT).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }
}

/// `@scope/name/file` is of `@scope/name`, `name/file` of `name`.
fn package_name(module: &str) -> &str {
    let parts = if module.starts_with('@') { 2 } else { 1 };
    module.match_indices('/').nth(parts - 1).map_or(module, |(at, _)| &module[..at])
}

/// What node wrote last, where it wrote something.
fn last_line(log: &Path) -> String {
    let text = fs_err::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
    line.map_or_else(String::new, |line| format!(": {}", line.chars().take(200).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_belong_to_packages() {
        for (module, package) in
            [("ms", "ms"), ("ms/x.js", "ms"), ("@a/b", "@a/b"), ("@a/b/c/d", "@a/b"), ("@a", "@a"), ("./x", ".")]
        {
            assert_eq!(package_name(module), package);
        }
    }
}
