//! npm packages that rhdh-pack brings along (yarn, the RHDH CLI), each version installed once per user. A name and a
//! version come in; what goes out is the folder of the installed package. The cache is `$RHDH_PACK_CACHE`, else
//! `rhdh-pack` in the user's cache folder; in it, `<package>/<version>/` is there only when it is complete.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nodejs_semver::Version;
use tokio_util::sync::CancellationToken;

use super::child::{Command, Ended};
use super::environment::{Environment, Variables};
use super::failure::{self, Log, Scene};
use super::toolchain::Node;
use super::{ExportFailure, Failed};
use crate::ui::Ui;

/// How often a run looks whether another one has finished the same installation.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The cache, and what fills it.
#[derive(Debug)]
pub(super) struct NpmCache<'run> {
    dir: PathBuf,
    node: &'run Node,
    environment: Environment,
    /// The folder of npm's logs.
    logs: PathBuf,
    ui: &'run Ui,
    cancel: &'run CancellationToken,
}

/// The user's cache folder for rhdh-pack.
pub(super) fn cache_folder(variables: &Variables) -> PathBuf {
    use etcetera::BaseStrategy as _;
    if let Some(folder) = variables.get("RHDH_PACK_CACHE") {
        return std::path::absolute(folder).unwrap_or_else(|_| folder.into());
    }
    let user = etcetera::choose_base_strategy().map(|base| base.cache_dir());
    // A user without a home folder: CI containers have such.
    user.unwrap_or_else(|_| std::env::temp_dir()).join("rhdh-pack")
}

impl<'run> NpmCache<'run> {
    pub(super) fn new(
        node: &'run Node,
        variables: &Variables,
        environment: Environment,
        logs: PathBuf,
        ui: &'run Ui,
        cancel: &'run CancellationToken,
    ) -> Self {
        Self { dir: cache_folder(variables), node, environment, logs, ui, cancel }
    }

    /// The folder of this package in its version, installed where it is not there yet.
    pub(super) async fn package(&self, name: &str, version: &str) -> Result<PathBuf, Failed> {
        let home = self.home(name);
        let installed = home.join(version);
        let package = installed.join("node_modules").join(name);
        if package.is_dir() {
            return Ok(package);
        }
        let failed = |doing: &str, path: &Path, error: &std::io::Error| {
            let message = format!("cannot {doing} `{}`: {error}", path.display());
            ExportFailure::new("cache-unusable", message)
                .with_help("choose another folder for rhdh-pack's cache: `RHDH_PACK_CACHE=/path`")
        };
        fs_err::create_dir_all(&home).map_err(|error| failed("make the cache folder", &home, &error))?;
        let lock = home.join(format!("{version}.lock"));
        let _lock = self
            .lock(&lock, &format!("{name} {version}"))
            .await
            .map_err(|error| failed("lock", &lock, &error))?
            .ok_or_else(ExportFailure::cancelled)?;
        // Whoever had the lock before may have done the work, or may have been killed in the middle of it.
        if package.is_dir() {
            return Ok(package);
        }
        let unfinished = format!(".{version}.");
        for entry in fs_err::read_dir(&home).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&unfinished) {
                let _ = fs_err::remove_dir_all(entry.path());
            }
        }
        let temporary = tempfile::Builder::new()
            .prefix(&unfinished)
            .tempdir_in(&home)
            .map_err(|error| failed("make a folder in", &home, &error))?;
        let step = self.ui.step(&format!("{name} {version}"), "fetch");
        if let Err(error) = self.install(name, version, temporary.path()).await {
            if error.failure.code == "cancelled" {
                drop(step);
            } else {
                step.failed(&error.failure.message);
            }
            return Err(error);
        }
        // Without its package it was never complete, whoever left it there.
        let _ = fs_err::remove_dir_all(&installed);
        fs_err::rename(temporary.path(), &installed).map_err(|error| failed("put in place", &installed, &error))?;
        // Renamed: there is nothing left for it to remove.
        let _ = temporary.keep();
        step.done(&format!("into {}", self.dir.display()));
        Ok(package)
    }

    /// Every version that the npm registry has, without pre-releases. npm asks once only, not `patient`ly for over a
    /// minute, when there is something else to fall back on.
    pub(super) async fn versions(&self, name: &str, patient: bool) -> Result<Vec<Version>, Failed> {
        let retries = if patient { "--fetch-retries=2" } else { "--fetch-retries=0" };
        let command = self.npm(["view", name, "versions", "--json", retries], &self.dir_that_exists())?;
        let output = command.output(self.cancel).await.map_err(|error| cannot_run(&command, &error))?;
        let Ended::Exited(status) = output.ended else { return Err(ExportFailure::cancelled().into()) };
        if !status.success() {
            let log = self.log(&format!("npm-view-{}", dashed(name)));
            let written = log
                .parent()
                .map(fs_err::create_dir_all)
                .transpose()
                .and_then(|_| fs_err::write(&log, output.stderr + &output.stdout));
            let log = written.is_ok().then_some(log);
            let text = Log::read(&log.iter().map(PathBuf::as_path).collect::<Vec<_>>());
            let scene = Scene { command: &format!("npm view {name}"), plugin: None, in_workspace: &|_| false };
            return Err(Failed { failure: failure::explain(&text, scene, &ended(status)), log });
        }
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum OneOrMany {
            One(String),
            Many(Vec<String>),
        }
        let versions = match serde_json::from_str(&output.stdout) {
            Ok(OneOrMany::Many(versions)) => versions,
            Ok(OneOrMany::One(version)) => vec![version],
            Err(error) => {
                return Err(ExportFailure::new(
                    "npm-unreadable",
                    format!("`npm view {name} versions --json` printed no list of versions: {error}"),
                )
                .into());
            }
        };
        Ok(versions
            .iter()
            .filter_map(|version| Version::parse(version).ok())
            .filter(|version| !version.is_prerelease())
            .collect())
    }

    /// The versions that are installed in the cache.
    pub(super) fn installed_versions(&self, name: &str) -> Vec<Version> {
        let entries = fs_err::read_dir(self.home(name)).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.path().is_dir())
            .filter_map(|entry| Version::parse(entry.file_name().to_str()?).ok())
            .collect()
    }

    /// Where a version of a package is, or would be, for people.
    pub(super) fn folder(&self, name: &str, version: &Version) -> String {
        self.home(name).join(version.to_string()).display().to_string()
    }

    /// A file of the cache for other uses, with the folder above it.
    pub(super) fn file(&self, name: &str) -> std::io::Result<PathBuf> {
        fs_err::create_dir_all(&self.dir)?;
        Ok(self.dir.join(name))
    }

    fn home(&self, name: &str) -> PathBuf {
        self.dir.join(dashed(name))
    }

    fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// npm reads the `.npmrc` of its working directory's project: run it outside the repository.
    fn dir_that_exists(&self) -> PathBuf {
        if self.dir.is_dir() { self.dir.clone() } else { std::env::temp_dir() }
    }

    fn npm<const N: usize>(&self, args: [&str; N], dir: &Path) -> Result<Command, ExportFailure> {
        let program = self.node.npm(&self.environment).ok_or_else(|| {
            ExportFailure::new("npm-missing", "there is no `npm`, neither beside node nor on PATH")
                .with_help("install the npm that comes with Node.js, or put yarn and the RHDH CLI into the workspace's `devDependencies`")
        })?;
        let args = args.iter().map(Into::into).collect();
        Ok(Command { program, args, dir: dir.to_owned(), env: self.environment.for_install() })
    }

    /// Neither yarn nor the RHDH CLI needs the install scripts of its dependencies: their native parts come as
    /// packages.
    async fn install(&self, name: &str, version: &str, dir: &Path) -> Result<(), Failed> {
        fs_err::write(dir.join("package.json"), "{\"private\":true}\n")
            .map_err(|error| ExportFailure::new("cache-unusable", error.to_string()))?;
        let wanted = format!("{name}@{version}");
        let quiet = ["--no-audit", "--no-fund", "--no-progress", "--ignore-scripts"];
        let [audit, fund, progress, scripts] = quiet;
        let command = self.npm(["install", "--save-exact", audit, fund, progress, scripts, "--", &wanted], dir)?;
        let log = self.log(&format!("npm-install-{}-{version}", dashed(name)));
        let ended_how = command.run(&log, self.cancel).await.map_err(|error| cannot_run(&command, &error))?;
        let Ended::Exited(status) = ended_how else { return Err(ExportFailure::cancelled().into()) };
        if status.success() && dir.join("node_modules").join(name).join("package.json").is_file() {
            return Ok(());
        }
        let scene = Scene { command: &format!("npm install {wanted}"), plugin: None, in_workspace: &|_| false };
        Err(Failed { failure: failure::explain(&Log::read(&[&log]), scene, &ended(status)), log: Some(log) })
    }

    /// Waits for the lock; `None` when the run is cancelled. The system lets go of it when its holder dies.
    async fn lock(&self, path: &Path, what: &str) -> std::io::Result<Option<std::fs::File>> {
        let (file, _) = fs_err::OpenOptions::new().create(true).truncate(false).write(true).open(path)?.into_parts();
        let mut said = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(std::fs::TryLockError::Error(error)) => return Err(error),
                Err(std::fs::TryLockError::WouldBlock) if !said => {
                    said = true;
                    self.ui.note(&format!("waiting for another rhdh-pack that fetches {what}"));
                }
                Err(std::fs::TryLockError::WouldBlock) => {}
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = self.cancel.cancelled() => return Ok(None),
            }
        }
    }
}

/// How a child ended, for people.
pub(super) fn ended(status: std::process::ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(9)) => "signal 9 (killed, perhaps for want of memory)".to_owned(),
        (None, signal) => format!("signal {}", signal.unwrap_or_default()),
    }
}

/// A command that could not be run at all.
pub(super) fn cannot_run(command: &Command, error: &std::io::Error) -> ExportFailure {
    ExportFailure::new(
        "command-unusable",
        format!("cannot run `{}` in `{}`: {error}", command.program.display(), command.dir.display()),
    )
}

/// `@red-hat-developer-hub/cli` is `red-hat-developer-hub-cli`.
pub(super) fn dashed(name: &str) -> String {
    name.trim_start_matches('@').replace('/', "-")
}
