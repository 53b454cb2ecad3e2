//! The exports themselves: each plugin waits for its workspace, for the RHDH CLI, for the packages that it packs and
//! for a slot; then the RHDH CLI runs, and its work is verified.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures_util::future::join_all;
use indexmap::IndexMap;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::child::{Command, Ended, temporary_folder};
use super::environment::Environment;
use super::failure::{self, Log, Scene};
use super::npm_cache::{NpmCache, cannot_run, ended};
use super::prepare::{Prepared, prepare};
use super::rhdh_cli::{self, RhdhCli};
use super::schedule::{Slots, Weight};
use super::toolchain::{Error, Node};
use super::{DistDynamic, ExportFailure, Exported, Failed, PluginToExport, Request, embedded, verify};
use crate::config::ExportMode;
use crate::repo_path::RepoPath;
use crate::ui::Ui;
use crate::workspace::{Workspace, Workspaces};

/// The log of the RHDH CLI's own `yarn install`: in `dist-dynamic` (1.9), or in the temporary folder (later releases).
const INSTALL_LOGS: [&str; 2] = ["yarn-install.log", "rhdh-cli.yarn-install.log"];

/// How often an export is repeated because the RHDH CLI packed a package that had not been built.
const REPEATS: usize = 3;

/// Everything that the exports of one run share.
pub(super) struct Run<'run> {
    pub(super) request: &'run Request,
    pub(super) ui: &'run Ui,
    /// Called with each plugin's outcome as soon as it is known.
    done: &'run (dyn Fn(&Exported) + Sync),
    /// Cancelled from outside, and by the first failure where `fail_fast` is set.
    pub(super) stop: &'run CancellationToken,
    pub(super) node: &'run Node,
    pub(super) cache: NpmCache<'run>,
    pub(super) slots: Slots,
    pub(super) logs: PathBuf,
    workspaces: &'run Workspaces,
    prepared: IndexMap<RepoPath, OnceCell<Result<Prepared, Failed>>>,
    cli: OnceCell<Result<RhdhCli, Failed>>,
    builds: Mutex<HashMap<PathBuf, Build>>,
}

/// The one build of a package: whoever needs it first runs it, the others wait for it.
type Build = Arc<OnceCell<Result<(), Failed>>>;

/// Exports plugins; one outcome for each, in the order of the request. `done` is called with each as soon as it is
/// known: what comes after an export need not wait for the others.
///
/// # Errors
/// Only when nothing can be exported at all, because the environment is wrong: every [`Error`] is of that kind.
pub async fn export(
    request: &Request,
    workspaces: &Workspaces,
    ui: &Ui,
    cancel: &CancellationToken,
    done: &(dyn Fn(&Exported) + Sync),
) -> Result<Vec<Exported>, Error> {
    let (built_here, prebuilt): (Vec<_>, Vec<_>) =
        request.plugins.iter().partition(|plugin| plugin.config.export == ExportMode::Cli);
    let mut outcomes: Vec<_> = prebuilt.iter().map(|plugin| verify_only(request, workspaces, plugin, ui)).collect();
    outcomes.iter().for_each(done);
    if !built_here.is_empty() {
        outcomes.extend(export_with_cli(request, workspaces, built_here, ui, cancel, done).await?);
    }
    outcomes.sort_by_key(|outcome| request.plugins.iter().position(|plugin| plugin.id == outcome.id));
    Ok(outcomes)
}

async fn export_with_cli(
    request: &Request,
    workspaces: &Workspaces,
    mut plugins: Vec<&PluginToExport>,
    ui: &Ui,
    cancel: &CancellationToken,
    done: &(dyn Fn(&Exported) + Sync),
) -> Result<Vec<Exported>, Error> {
    // Children get absolute paths: each has another working directory.
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let request = &Request { root: absolute(&request.root), output: absolute(&request.output), ..request.clone() };
    let logs = request.output.join("logs");
    fs_err::create_dir_all(&logs).map_err(|source| Error::Output { path: logs.clone(), source })?;
    let environment = Environment::for_workspace(&request.variables, &request.root);
    let node = &Node::find(&environment, cancel).await?;
    let stop = &cancel.child_token();
    let run = Run {
        request,
        ui,
        done,
        stop,
        node,
        cache: NpmCache::new(node, &request.variables, environment, logs.join("@toolchain"), ui, stop),
        slots: Slots::new(request.jobs),
        logs,
        workspaces,
        prepared: plugins.iter().map(|plugin| (plugin.workspace.clone(), OnceCell::new())).collect(),
        cli: OnceCell::new(),
        builds: Mutex::default(),
    };
    // Slots are given out in the order of asking: the longest exports ask first.
    plugins.sort_by_key(|plugin| !plugin.role.is_frontend());
    let outcomes = join_all(plugins.iter().map(|plugin| run.export(plugin))).await;
    match run.cli.get() {
        Some(Err(error))
            if error.failure.code != "cancelled" && outcomes.iter().all(|outcome| outcome.outcome.is_err()) =>
        {
            let Failed { failure, log } = error.clone();
            Err(Error::RhdhCli { message: failure.message, help: failure.help, log })
        }
        _ => Ok(outcomes),
    }
}

impl Run<'_> {
    async fn export(&self, plugin: &PluginToExport) -> Exported {
        let mut seconds = 0.0;
        let result = self.try_export(plugin, &mut seconds).await;
        if result.is_err() && self.request.fail_fast {
            self.stop.cancel();
        }
        let id = plugin.id.clone();
        let exported = match result {
            Ok((dist_dynamic, log)) => Exported { id, outcome: Ok(dist_dynamic), seconds, log: Some(log) },
            Err(Failed { failure, log }) => Exported { id, outcome: Err(failure), seconds, log },
        };
        (self.done)(&exported);
        exported
    }

    async fn try_export(&self, plugin: &PluginToExport, seconds: &mut f64) -> Result<(DistDynamic, PathBuf), Failed> {
        let workspace = workspace_of(self.workspaces, plugin)?;
        let cell = self.prepared.get(&plugin.workspace).ok_or_else(ExportFailure::cancelled)?;
        let declared = rhdh_cli::is_declared_in(workspace);
        let early = async {
            if !declared {
                self.cached_cli().await;
            }
        };
        let (prepared, ()) = tokio::join!(cell.get_or_init(|| prepare(self, workspace)), early);
        let prepared = prepared.as_ref().map_err(Clone::clone)?;
        let folder = plugin.path.under(&self.request.root);
        let installed =
            rhdh_cli::in_node_modules(&[&folder, &workspace.path.under(&self.request.root)], &self.request.cli);
        let cli = match installed.filter(|_| declared) {
            Some(cli) => cli,
            None => self.cached_cli().await.clone()?,
        };
        let mut built = BTreeSet::new();
        let first = embedded::to_build(plugin, workspace)
            .into_iter()
            .filter_map(|path| path.under(&self.request.root).canonicalize().ok());
        self.build(first.collect(), &mut built, prepared, workspace, &cli).await?;
        let weight = if plugin.role.is_frontend() { Weight::Frontend } else { Weight::Small };
        for _ in 0..REPEATS {
            let slot = self.slots.take(weight).await;
            let started = Instant::now();
            let attempt = self.attempt(plugin, workspace, prepared, &cli).await;
            *seconds += started.elapsed().as_secs_f64();
            drop(slot);
            let log = self.log_of(plugin);
            let unbuilt =
                if built.is_empty() { Vec::new() } else { embedded::packed_unbuilt(&Log::read(&[&log]), &built) };
            if unbuilt.is_empty() || self.stop.is_cancelled() {
                return attempt.map(|made| (DistDynamic { cli: Some(cli.version.clone()), ..made }, log));
            }
            self.ui.note(&format!("{}: the RHDH CLI embeds packages that were not built yet: once more", plugin.id));
            self.build(unbuilt, &mut built, prepared, workspace, &cli).await?;
        }
        Err(ExportFailure::new("embedding-unsettled", "the RHDH CLI packs other packages each time").into())
    }

    async fn cached_cli(&self) -> &Result<RhdhCli, Failed> {
        self.cli.get_or_init(|| rhdh_cli::in_cache(&self.cache, &self.request.cli, self.ui)).await
    }

    /// Builds each of these packages, unless that has been done in this run, and adds them to `built`.
    async fn build(
        &self,
        folders: Vec<PathBuf>,
        built: &mut BTreeSet<PathBuf>,
        prepared: &Prepared,
        workspace: &Workspace,
        cli: &RhdhCli,
    ) -> Result<(), Failed> {
        let build = async |folder: &PathBuf| {
            self.build_of(folder).get_or_init(|| prepared.build(self, workspace, folder, &cli.commands)).await.clone()
        };
        let outcomes = join_all(folders.iter().map(build)).await;
        built.extend(folders);
        outcomes.into_iter().collect()
    }

    fn build_of(&self, folder: &Path) -> Build {
        let mut builds = self.builds.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(builds.entry(folder.to_owned()).or_default())
    }

    /// Runs the RHDH CLI once, and verifies what it made.
    async fn attempt(
        &self,
        plugin: &PluginToExport,
        workspace: &Workspace,
        prepared: &Prepared,
        cli: &RhdhCli,
    ) -> Result<DistDynamic, Failed> {
        if self.stop.is_cancelled() {
            return Err(ExportFailure::cancelled().into());
        }
        let log = self.log_of(plugin);
        let step = self.ui.step(&plugin.id, "export");
        self.ui.verbose(&format!("{}: RHDH CLI {}, log in `{}`", plugin.id, cli.version, log.display()));
        let result = self.run_cli(plugin, workspace, prepared, cli, &log).await;
        let result = result.and_then(|()| verified(self.request, workspace, plugin, self.ui));
        match &result {
            Ok(_) => step.done(""),
            Err(failure) if failure.code == "cancelled" => drop(step),
            Err(failure) => step.failed(&failure.message),
        }
        result.map_err(|failure| Failed { failure, log: Some(log) })
    }

    async fn run_cli(
        &self,
        plugin: &PluginToExport,
        workspace: &Workspace,
        prepared: &Prepared,
        cli: &RhdhCli,
        log: &Path,
    ) -> Result<(), ExportFailure> {
        let folder = plugin.path.under(&self.request.root);
        let environment = prepared.environment.with_path(prepared.yarn.commands(), std::slice::from_ref(&cli.commands));
        let mut env = if plugin.role.is_frontend() { environment.for_code() } else { environment.for_install() };
        if plugin.role.is_frontend() {
            // With CI=true the bundler's module federation build fails, or is empty.
            env.retain(|(name, _)| name != "CI");
            env.push(("CI".into(), "false".into()));
        }
        let args = std::iter::once(cli.script.clone().into_os_string())
            .chain(arguments(self.request, plugin)?.into_iter().map(Into::into));
        let command: Command = self.node.command(args, &folder, env);
        let unusable = |error: std::io::Error| cannot_run(&command, &error);
        let temporary = temporary_folder().map_err(unusable)?;
        let install_logs = [folder.join("dist-dynamic").join(INSTALL_LOGS[0]), temporary.path().join(INSTALL_LOGS[1])];
        // One of an earlier export would be taken for this one's.
        let _ = fs_err::remove_file(&install_logs[0]);
        let status = match command.run_with(temporary.path(), log, self.stop).await.map_err(unusable)? {
            Ended::Cancelled => return Err(ExportFailure::cancelled()),
            Ended::Exited(status) if status.success() => return Ok(()),
            Ended::Exited(status) => status,
        };
        let kept = log.with_file_name(INSTALL_LOGS[0]);
        let _ = fs_err::remove_file(&kept);
        if let Some(written) = install_logs.iter().find(|written| written.is_file()) {
            // Not being able to keep it is no reason to hide what failed.
            let _ = fs_err::copy(written, &kept);
        }
        let in_workspace = |name: &str| workspace.named(name).is_some();
        let scene =
            Scene { command: "rhdh-cli plugin export", plugin: Some(&plugin.config), in_workspace: &in_workspace };
        // The inner log matters only where that install failed; else its warnings would hide the error.
        let mut text = Log::read(&[log]);
        if text.line_with("Failed to execute command 'yarn install").is_some() {
            text = Log::read(&[log, &kept]);
        }
        Err(failure::explain(&text, scene, &ended(status)))
    }

    fn log_of(&self, plugin: &PluginToExport) -> PathBuf {
        self.logs.join(&plugin.id).join("export.log")
    }
}

/// The arguments of `plugin export`. `--flag=value`, once for each value: a variadic option without `=` would swallow
/// what follows, and a value that begins with `-` would be taken for an option.
fn arguments(request: &Request, plugin: &PluginToExport) -> Result<Vec<String>, ExportFailure> {
    let config = &plugin.config;
    let mut args: Vec<String> = ["plugin", "export", "--clean"].map(str::to_owned).to_vec();
    if !plugin.role.is_frontend() {
        args.push("--no-build".to_owned());
    }
    let lists = [
        ("--embed-package", &config.embed_packages),
        ("--shared-package", &config.shared_packages),
        ("--suppress-native-package", &config.suppress_native_packages),
        ("--allow-native-package", &config.allow_native_packages),
        ("--ignore-version-check", &config.ignore_version_check),
    ];
    args.extend(lists.iter().flat_map(|(flag, values)| values.iter().map(move |value| format!("{flag}={value}"))));
    if let Some(file) = &config.scalprum_config {
        // The RHDH CLI would resolve it against the plugin's folder.
        let file = file.locate(&request.root).map_err(|error| {
            ExportFailure::new("scalprum-config", format!("cannot use `scalprum-config`: {error}"))
                .with_help("paths in `rhdh-plugins.toml` are relative to its folder")
        })?;
        args.push(format!("--scalprum-config={}", file.display()));
    }
    args.extend(config.export_args.iter().cloned());
    Ok(args)
}

/// A plugin whose `dist-dynamic` the user's own build made: no child runs.
fn verify_only(request: &Request, workspaces: &Workspaces, plugin: &PluginToExport, ui: &Ui) -> Exported {
    let step = ui.step(&plugin.id, "verify");
    let outcome = workspace_of(workspaces, plugin)
        .and_then(|workspace| verified(request, workspace, plugin, ui))
        .map_err(verify::of_own_build);
    match &outcome {
        Ok(_) => step.done("prebuilt"),
        Err(failure) => step.failed(&failure.message),
    }
    Exported { id: plugin.id.clone(), outcome, seconds: 0.0, log: None }
}

fn verified(
    request: &Request,
    workspace: &Workspace,
    plugin: &PluginToExport,
    ui: &Ui,
) -> Result<DistDynamic, ExportFailure> {
    let package = workspace.packages.get(&plugin.path).ok_or_else(|| not_found(plugin))?;
    let folder =
        std::path::absolute(plugin.path.under(&request.root)).unwrap_or_else(|_| plugin.path.under(&request.root));
    let verified = verify::verify(&folder, &package.manifest, plugin.role)?;
    for warning in &verified.warnings {
        ui.warn(&format!("{}: {warning}", plugin.id));
    }
    Ok(verified.dist_dynamic)
}

fn workspace_of<'all>(workspaces: &'all Workspaces, plugin: &PluginToExport) -> Result<&'all Workspace, ExportFailure> {
    workspaces.by_path.get(&plugin.workspace).ok_or_else(|| not_found(plugin))
}

fn not_found(plugin: &PluginToExport) -> ExportFailure {
    ExportFailure::new(
        "workspace-missing",
        format!("`{}` is not part of the workspace `{}`", plugin.path, plugin.workspace),
    )
    .with_help("let `workspaces` in the `package.json` of the workspace's root match the plugin's folder")
}
