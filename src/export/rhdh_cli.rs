//! The RHDH CLI. The wanted version and a workspace come in; what goes out is where the program lies: in the
//! workspace's own `node_modules`, where its version fits, else in the cache.

use std::path::{Path, PathBuf};

use nodejs_semver::{Range, Version};

use super::look::Tool;
use super::npm_cache::NpmCache;
use super::{CliVersion, ExportFailure, Failed};
use crate::ui::Ui;
use crate::workspace::{PackageJson, Workspace};

/// The RHDH CLI's name in npm registries.
pub(super) const PACKAGE: &str = "@red-hat-developer-hub/cli";

/// A RHDH CLI that is there.
#[derive(Clone, Debug)]
pub(super) struct RhdhCli {
    pub(super) version: String,
    /// The script, for node.
    pub(super) script: PathBuf,
    /// The folder of the commands that its dependencies bring, `backstage-cli` among them.
    pub(super) commands: PathBuf,
}

impl CliVersion {
    /// The versions that will do: this one, or `~x.y.0`.
    fn range(&self) -> Result<Range, ExportFailure> {
        let text = match self {
            Self::Exact(version) => version.clone(),
            Self::Release(release) => format!("~{release}.0"),
        };
        Range::parse(&text).map_err(|_| {
            ExportFailure::new("rhdh-cli-version", format!("`{text}` is not a version of the RHDH CLI"))
                .with_help("name one as `x.y.z`, such as `[rhdh] cli = \"1.9.1\"`")
        })
    }
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
    let range = wanted.range().ok()?;
    folders.iter().find_map(|folder| {
        let cli = at(&folder.join("node_modules").join(PACKAGE)).ok()?;
        Version::parse(&cli.version).is_ok_and(|version| version.satisfies(&range)).then_some(cli)
    })
}

/// The RHDH CLI from the cache: the wanted version, or the newest of the wanted release.
pub(super) async fn in_cache(cache: &NpmCache<'_>, wanted: &CliVersion, ui: &Ui) -> Result<RhdhCli, Failed> {
    let range = wanted.range()?;
    let version = match wanted {
        CliVersion::Exact(version) => version.clone(),
        CliVersion::Release(release) => newest(cache, release, &range, ui).await?.to_string(),
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
    let range = match wanted.range() {
        Ok(range) => range,
        Err(failure) => return (Err(failure), None),
    };
    let folders: Vec<&Path> = folders.iter().map(PathBuf::as_path).collect();
    if let Some(cli) = in_node_modules(&folders, wanted)
        && let Ok(version) = Version::parse(&cli.version)
    {
        return (Ok(Tool { version, place: Some(cli.script.display().to_string()) }), None);
    }
    let best = |versions: Vec<Version>| versions.into_iter().filter(|version| version.satisfies(&range)).max();
    let installed = best(cache.installed_versions(PACKAGE));
    let place = |version: &Version| (installed.as_ref() == Some(version)).then(|| cache.folder(PACKAGE, version));
    let missing = || {
        let message = format!("the npm registry has no RHDH CLI `{range}`");
        ExportFailure::new("rhdh-cli-version", message).with_help(
            "name a version that it has: `[rhdh] cli = \"x.y.z\"`; `npm view @red-hat-developer-hub/cli versions` lists them",
        )
    };
    if let (CliVersion::Exact(_), Some(version)) = (wanted, &installed) {
        return (Ok(Tool { version: version.clone(), place: place(version) }), None);
    }
    match (cache.versions(PACKAGE, false).await, &installed) {
        (Ok(versions), _) => {
            let tool = best(versions).map(|version| Tool { place: place(&version), version }).ok_or_else(missing);
            (tool, None)
        }
        (Err(error), Some(version)) => {
            (Ok(Tool { version: version.clone(), place: place(version) }), Some(error.failure))
        }
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
