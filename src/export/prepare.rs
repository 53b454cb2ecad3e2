//! What is done once in each workspace before its plugins are exported: finding yarn, `yarn install --immutable`, `yarn
//! tsc`. A workspace comes in; what goes out is how to run yarn in it, or the failure that all its plugins share.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::child::{Command, Ended};
use super::environment::Environment;
use super::failure::{self, Log, Scene};
use super::npm_cache::{cannot_run, dashed, ended};
use super::run::Run;
use super::schedule::Weight;
use super::yarn::Yarn;
use super::{ExportFailure, Failed};
use crate::repo_path::RepoPath;
use crate::workspace::Workspace;

/// A workspace in which exports can run.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) yarn: Yarn,
    /// For children of this workspace, with `yarn` on PATH.
    pub(super) environment: Environment,
}

/// Prepares a workspace.
pub(super) async fn prepare(run: &Run<'_>, workspace: &Workspace) -> Result<Prepared, Failed> {
    let root = &run.request.root;
    let folder = workspace.path.under(root);
    let environment = Environment::for_workspace(&run.request.variables, &folder);
    let yarn = Yarn::find(root, workspace, run.node, &run.cache, &environment, run.stop).await?;
    let name = shown(&workspace.path);
    run.ui.verbose(&format!("{name}: yarn {} from {}", yarn.version, yarn.source));
    let environment = environment.with_path(yarn.commands(), &[]);
    let prepared = Prepared { yarn, environment };
    if run.request.install {
        prepared
            .step(run, workspace, "install", prepared.yarn.install_args(), prepared.environment.for_install())
            .await?;
    } else {
        run.ui.note(&format!("{name}: `yarn install` left out, as asked"));
    }
    let script = workspace.manifest.rest.get("scripts").is_some_and(|scripts| scripts.get("tsc").is_some());
    if !run.request.tsc {
        run.ui.note(&format!("{name}: `yarn tsc` left out, as asked"));
    } else if script || folder.join("tsconfig.json").is_file() {
        // Without a script, yarn runs the command `tsc` of the workspace's `typescript`.
        prepared.step(run, workspace, "tsc", &["tsc"], prepared.environment.for_code()).await?;
    } else {
        run.ui.note(&format!("{name}: `yarn tsc` left out: there is neither a script `tsc` nor a `tsconfig.json`"));
    }
    Ok(prepared)
}

impl Prepared {
    /// Runs `yarn build` in a package of this workspace.
    pub(super) async fn build(
        &self,
        run: &Run<'_>,
        workspace: &Workspace,
        folder: &Path,
        commands: &Path,
    ) -> Result<(), Failed> {
        let name = package_name(run, workspace, folder);
        let environment = self.environment.with_path(self.yarn.commands(), &[commands.to_owned()]);
        let log = logs_of(&run.logs, &workspace.path).join(format!("build-{}.log", dashed(&name)));
        self.yarn(run, workspace, (&name, "build"), &["build"], folder, environment.for_code(), log).await
    }

    async fn step(
        &self,
        run: &Run<'_>,
        workspace: &Workspace,
        what: &str,
        args: &[&str],
        env: Vec<(OsString, OsString)>,
    ) -> Result<(), Failed> {
        let folder = workspace.path.under(&run.request.root);
        let log = logs_of(&run.logs, &workspace.path).join(format!("yarn-{what}.log"));
        self.yarn(run, workspace, (&shown(&workspace.path), what), args, &folder, env, log).await
    }

    #[expect(clippy::too_many_arguments, reason = "one command has that many parts")]
    async fn yarn(
        &self,
        run: &Run<'_>,
        workspace: &Workspace,
        (subject, what): (&str, &str),
        args: &[&str],
        folder: &Path,
        env: Vec<(OsString, OsString)>,
        log: PathBuf,
    ) -> Result<(), Failed> {
        let _slot = run.slots.take(Weight::Small).await;
        if run.stop.is_cancelled() {
            return Err(ExportFailure::cancelled().into());
        }
        let typed = format!("yarn {}", args.join(" "));
        run.ui.verbose(&format!("{subject}: `{typed}` in `{}`, log in `{}`", folder.display(), log.display()));
        let step = run.ui.step(subject, what);
        let args = args.iter().map(Into::into).collect();
        let command = Command { program: self.yarn.program(), args, dir: folder.to_owned(), env };
        let failure = match command.run(&log, run.stop).await {
            Ok(Ended::Exited(status)) if status.success() => {
                step.done("");
                return Ok(());
            }
            Ok(Ended::Exited(status)) => {
                let in_workspace = |name: &str| workspace.named(name).is_some();
                let scene = Scene { command: &typed, plugin: None, in_workspace: &in_workspace };
                failure::explain(&Log::read(&[&log]), scene, &ended(status))
            }
            Ok(Ended::Cancelled) => return Err(Failed { failure: ExportFailure::cancelled(), log: Some(log) }),
            Err(error) => cannot_run(&command, &error),
        };
        step.failed(&failure.message);
        Err(Failed { failure, log: Some(log) })
    }
}

/// How a workspace is called in progress lines.
fn shown(workspace: &RepoPath) -> String {
    if workspace.is_root() { "workspace".to_owned() } else { workspace.to_string() }
}

/// The folder of a workspace's logs: `@` keeps it apart from those of plugins.
fn logs_of(logs: &Path, workspace: &RepoPath) -> PathBuf {
    let name = if workspace.is_root() { "root".to_owned() } else { workspace.as_str().replace('/', "+") };
    logs.join(format!("@{name}"))
}

fn package_name(run: &Run<'_>, workspace: &Workspace, folder: &Path) -> String {
    let real = |path: &RepoPath| path.under(&run.request.root).canonicalize().ok();
    let package = workspace.packages.values().find(|package| real(&package.path).as_deref() == Some(folder));
    let name = package.and_then(|package| package.manifest.name.clone());
    name.unwrap_or_else(|| folder.file_name().unwrap_or_default().to_string_lossy().into_owned())
}
