//! What an export would run with, and what stands where it would begin: looked at, not changed and not fetched. The
//! workspaces come in; what goes out is for `rhdh-pack doctor`.

use std::path::{Path, PathBuf};

use nodejs_semver::Version;
use tokio_util::sync::CancellationToken;

use super::environment::{Environment, Variables};
use super::npm_cache::{NpmCache, cache_folder};
use super::toolchain::{Error, Node, find_on_path};
use super::{CliVersion, DistDynamic, ExportFailure, rhdh_cli, verify, yarn};
use crate::repo_path::RepoPath;
use crate::ui::Ui;
use crate::workspace::package_json::Role;
use crate::workspace::{PackageJson, Workspace, Workspaces};

/// The programs that an export needs.
#[derive(Debug)]
pub struct Tools {
    /// Node, or why it cannot be used.
    pub node: Result<Tool, Error>,
    /// The npm that goes with it: it fetches yarn and the RHDH CLI.
    pub npm: Option<PathBuf>,
    /// The `yarn` on PATH, and whether it is one of corepack.
    pub yarn_on_path: Option<(PathBuf, bool)>,
    /// The yarn of each workspace.
    pub yarn: Vec<(RepoPath, Result<Tool, ExportFailure>)>,
    /// The RHDH CLI for plugins of workspaces that have none of their own; `None` where there is no node to run it.
    pub cli: Option<Result<Tool, ExportFailure>>,
    /// Why the npm registry could not be asked for the versions of the RHDH CLI; `None` where it answered, or need not
    /// be asked.
    pub npm_registry: Option<ExportFailure>,
}

/// One program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// Its version.
    pub version: Version,
    /// Where it is; `None` where the first run fetches it.
    pub place: Option<String>,
}

/// Looks for the programs that exports in these workspaces need.
pub async fn tools(
    workspaces: &Workspaces,
    wanted: &CliVersion,
    variables: &Variables,
    ui: &Ui,
    cancel: &CancellationToken,
) -> Tools {
    let environment = |folder: &Path| Environment::for_workspace(variables, folder);
    let here = environment(&workspaces.root);
    let yarn_on_path = find_on_path(&here, "yarn").map(|yarn| {
        let is_corepacks = is_corepacks(&yarn);
        (yarn, is_corepacks)
    });
    let node = match Node::find(&here, cancel).await {
        Ok(node) => node,
        Err(error) => {
            let yarn = Vec::new();
            return Tools { node: Err(error), npm: None, yarn_on_path, yarn, cli: None, npm_registry: None };
        }
    };
    let mut yarn = Vec::new();
    for workspace in workspaces.by_path.values() {
        let environment = environment(&workspace.path.under(&workspaces.root));
        yarn.push((
            workspace.path.clone(),
            yarn_of(workspaces, workspace, &node, &environment, variables, cancel).await,
        ));
    }
    // npm writes a log where it fails; nobody needs it here.
    let logs = super::child::temporary_folder();
    let logs_path = logs.as_ref().map_or_else(|_| std::env::temp_dir(), |folder| folder.path().to_owned());
    let cache = NpmCache::new(&node, variables, here.clone(), logs_path, ui, cancel);
    let (cli, npm_registry) = rhdh_cli::look(&cache, &own_cli_folders(workspaces), wanted).await;
    let npm = node.npm(&here);
    let node = Tool { version: node.version.clone(), place: Some(node.program.display().to_string()) };
    Tools { node: Ok(node), npm, yarn_on_path, yarn, cli: Some(cli), npm_registry }
}

/// The folder that yarn and the RHDH CLI are fetched into.
#[must_use]
pub fn cache(variables: &Variables) -> PathBuf {
    cache_folder(variables)
}

/// Verifies a plugin's `dist-dynamic`, as after an export. Returns what somebody should look at, too.
///
/// # Errors
/// With what is wrong with it.
pub fn dist_dynamic(
    folder: &Path,
    manifest: &PackageJson,
    role: Role,
) -> Result<(DistDynamic, Vec<String>), ExportFailure> {
    let verified = verify::verify(folder, manifest, role)?;
    Ok((verified.dist_dynamic, verified.warnings))
}

async fn yarn_of(
    workspaces: &Workspaces,
    workspace: &Workspace,
    node: &Node,
    environment: &Environment,
    variables: &Variables,
    cancel: &CancellationToken,
) -> Result<Tool, ExportFailure> {
    match yarn::locate(&workspaces.root, workspace, node, environment, cancel).await? {
        yarn::Located::Here { version, source, .. } => Ok(Tool { version, place: Some(source) }),
        yarn::Located::ToFetch(version) => {
            let package = if version.major() == 1 { "yarn" } else { "yarnpkg-cli-dist" };
            let cached = cache_folder(variables).join(package).join(version.to_string());
            let place = cached.is_dir().then(|| cached.display().to_string());
            Ok(Tool { version, place })
        }
    }
}

/// Where the RHDH CLI is installed, if the workspaces declare it: each export looks in its plugin's folder first.
fn own_cli_folders(workspaces: &Workspaces) -> Vec<PathBuf> {
    let declaring = workspaces.by_path.values().filter(|workspace| rhdh_cli::is_declared_in(workspace));
    declaring.map(|workspace| workspace.path.under(&workspaces.root)).collect()
}

/// corepack puts links to its own scripts on PATH.
fn is_corepacks(yarn: &Path) -> bool {
    yarn.canonicalize().is_ok_and(|real| real.components().any(|part| part.as_os_str() == "corepack"))
}
