//! The RHDH CLI. The wanted version and a workspace come in; what goes out is where the program lies: in the
//! workspace's own `node_modules`, where its version fits, else in the cache.

use std::path::{Path, PathBuf};

use nodejs_semver::{Range, Version};

use super::look::Tool;
use super::npm_cache::NpmCache;
use super::{CliVersion, ExportFailure, Failed};
use crate::rhdh::CLI_PACKAGE as PACKAGE;
use crate::ui::Ui;
use crate::workspace::{PackageJson, Workspace};

/// A RHDH CLI that is there.
#[derive(Clone, Debug)]
pub(super) struct RhdhCli {
    pub(super) version: String,
    /// The script, for node.
    pub(super) script: PathBuf,
    /// The folder of the commands that its dependencies bring, `backstage-cli` among them.
    pub(super) commands: PathBuf,
}

/// The versions that will do.
fn range(wanted: &CliVersion) -> Result<Range, ExportFailure> {
    let text = wanted.range();
    Range::parse(&text).map_err(|_| {
        ExportFailure::new("rhdh-cli-version", format!("`{text}` is not a version of the RHDH CLI"))
            .with_help("name one as `x.y.z`, such as `[rhdh] cli = \"1.9.1\"`")
    })
}

/// True where a package of the workspace depends on the RHDH CLI, so that it is there once yarn has installed.
pub(super) fn is_declared_in(workspace: &Workspace) -> bool {
    let manifests = workspace.packages.values().map(|package| &package.manifest);
    let mut ranges =
        manifests.flat_map(|manifest| manifest.ranges("dependencies").chain(manifest.ranges("devDependencies")));
    ranges.any(|(name, _)| name == PACKAGE)
}

/// The RHDH CLI in one of these `node_modules`, if its version fits.
pub(super) fn in_node_modules(folders: &[&Path], wanted: &CliVersion) -> Option<RhdhCli> {
    folders.iter().find_map(|folder| {
        let cli = at(&folder.join("node_modules").join(PACKAGE)).ok()?;
        wanted.accepts(&cli.version).then_some(cli)
    })
}

/// The RHDH CLI from the cache: the wanted version, or that of the wanted release, which is the newest one where this
/// program does not know it.
pub(super) async fn in_cache(cache: &NpmCache<'_>, wanted: &CliVersion, ui: &Ui) -> Result<RhdhCli, Failed> {
    let range = range(wanted)?;
    let version = match (wanted.usual(), wanted) {
        (Some(version), _) => version.to_owned(),
        (None, CliVersion::Exact(version)) => version.clone(),
        (None, CliVersion::Release(release)) => newest(cache, release, &range, ui).await?.to_string(),
    };
    let folder = cache.package(PACKAGE, &version).await?;
    Ok(at(&folder)?)
}

/// Which RHDH CLI an export would take, without fetching it; and why the npm registry could not be asked, where it was.
pub(super) async fn look(
    cache: &NpmCache<'_>,
    folders: &[PathBuf],
    wanted: &CliVersion,
) -> (Result<Tool, ExportFailure>, Option<ExportFailure>) {
    let range = match range(wanted) {
        Ok(range) => range,
        Err(failure) => return (Err(failure), None),
    };
    let folders: Vec<&Path> = folders.iter().map(PathBuf::as_path).collect();
    if let Some(cli) = in_node_modules(&folders, wanted)
        && let Ok(version) = Version::parse(&cli.version)
    {
        return (Ok(Tool { version, place: Some(cli.script.display().to_string()) }), None);
    }
    let usual = wanted.usual().and_then(|version| Version::parse(version).ok());
    let fits = |version: &Version| usual.as_ref().map_or_else(|| version.satisfies(&range), |usual| usual == version);
    let best = |versions: Vec<Version>| versions.into_iter().filter(fits).max();
    let installed = best(cache.installed_versions(PACKAGE));
    let here = |version: Version| Tool { place: Some(cache.folder(PACKAGE, &version)), version };
    if let Some(version) = installed.clone().filter(|_| usual.is_some()) {
        return (Ok(here(version)), None);
    }
    match (cache.versions(PACKAGE, false).await, installed) {
        (Ok(versions), installed) => {
            let tool = best(versions).map(|version| match installed.as_ref() == Some(&version) {
                true => here(version),
                false => Tool { version, place: None },
            });
            let missing = || {
                let message = format!("the npm registry has no RHDH CLI `{}`", wanted.range());
                ExportFailure::new("rhdh-cli-version", message).with_help(
                    "name a version that it has: `[rhdh] cli = \"x.y.z\"`; `npm view @red-hat-developer-hub/cli versions` lists them",
                )
            };
            (tool.ok_or_else(missing), None)
        }
        (Err(error), Some(version)) => (Ok(here(version)), Some(error.failure)),
        (Err(error), None) => (Err(error.failure.clone()), Some(error.failure)),
    }
}

/// The newest version of a release, as the registry says; where it cannot be asked, the newest in the cache.
async fn newest(cache: &NpmCache<'_>, release: &str, range: &Range, ui: &Ui) -> Result<Version, Failed> {
    let best = |versions: Vec<Version>| versions.into_iter().filter(|version| version.satisfies(range)).max();
    let installed = best(cache.installed_versions(PACKAGE));
    match cache.versions(PACKAGE, installed.is_none()).await {
        Ok(versions) => best(versions).ok_or_else(|| {
            ExportFailure::new("rhdh-cli-version", format!("the npm registry has no RHDH CLI for RHDH {release}"))
                .with_help("name a version that it has: `[rhdh] cli = \"x.y.z\"`; `npm view @red-hat-developer-hub/cli versions` lists them")
                .into()
        }),
        Err(error) if error.failure.code == "cancelled" => Err(error),
        Err(error) => {
            let installed = installed.ok_or_else(|| error.clone())?;
            ui.warn(&format!("cannot look for the newest RHDH CLI of RHDH {release} ({}): using {installed}", error.failure.message));
            Ok(installed)
        }
    }
}

/// The RHDH CLI in the folder of its package.
fn at(folder: &Path) -> Result<RhdhCli, ExportFailure> {
    let unusable = |why: String| {
        ExportFailure::new("rhdh-cli-unusable", format!("the RHDH CLI in `{}` cannot be used: {why}", folder.display()))
            .with_help("remove that folder and try again")
    };
    let manifest = PackageJson::read(&folder.join("package.json")).map_err(|error| unusable(error.to_string()))?;
    let bin = manifest.rest.get("bin");
    let script = bin.and_then(|bin| bin.as_str().or_else(|| bin.get("rhdh-cli")?.as_str()));
    let script = folder.join(script.ok_or_else(|| unusable("its `package.json` names no `rhdh-cli`".to_owned()))?);
    if !script.is_file() {
        return Err(unusable(format!("there is no `{}`", script.display())));
    }
    // `<modules>/@red-hat-developer-hub/cli`: commands stand in `<modules>/.bin`.
    let modules = folder.ancestors().nth(2).unwrap_or(folder);
    Ok(RhdhCli { version: manifest.version.unwrap_or_default(), script, commands: modules.join(".bin") })
}
