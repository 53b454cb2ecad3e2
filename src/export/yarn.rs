//! Which yarn a workspace wants, and where it comes from. A workspace comes in; what goes out is a folder with the
//! command `yarn` in it, to be put first on PATH. In this order: `yarnPath` of the repository's `.yarnrc.yml`; the
//! `yarn` on PATH, if it is the right one; the cache.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nodejs_semver::Version;
use tokio_util::sync::CancellationToken;

use super::child::{Command, Ended};
use super::environment::Environment;
use super::npm_cache::NpmCache;
use super::toolchain::{Node, find_on_path};
use super::{ExportFailure, Failed};
use crate::workspace::Workspace;

/// How much of `yarn.lock` tells its format, in bytes.
const LOCK_HEAD: u64 = 4096;

/// A yarn that is there.
#[derive(Debug)]
pub(super) struct Yarn {
    pub(super) version: Version,
    /// Where it comes from, for people.
    pub(super) source: String,
    /// A folder with nothing but the command `yarn`.
    commands: tempfile::TempDir,
}

/// What a workspace asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    /// `packageManager` names this version.
    Exact(Version),
    /// The lock file was written by this major version.
    Major(u64),
}

/// Where a workspace's yarn is.
#[derive(Debug)]
pub(super) enum Located {
    /// In the repository, or on PATH.
    Here {
        /// How it is started.
        launch: Launch,
        /// Its version.
        version: Version,
        /// Where it comes from, for people.
        source: String,
    },
    /// In an npm registry, or in the cache.
    ToFetch(Version),
}

/// How yarn is started.
#[derive(Clone, Debug)]
pub(super) enum Launch {
    Script(PathBuf),
    Program(PathBuf),
}

impl Yarn {
    /// The yarn for this workspace, fetched if need be.
    pub(super) async fn find(
        root: &Path,
        workspace: &Workspace,
        node: &Node,
        cache: &NpmCache<'_>,
        environment: &Environment,
        cancel: &CancellationToken,
    ) -> Result<Self, Failed> {
        match locate(root, workspace, node, environment, cancel).await? {
            Located::Here { launch, version, source } => Self::new(launch, version, &source, node, cache),
            Located::ToFetch(version) => {
                let package = if version.major() == 1 { "yarn" } else { "@yarnpkg/cli-dist" };
                let installed = cache.package(package, &version.to_string()).await?;
                Self::new(Launch::Script(installed.join("bin/yarn.js")), version, "npm", node, cache)
            }
        }
    }

    /// The folder to put first on PATH.
    pub(super) fn commands(&self) -> &Path {
        self.commands.path()
    }

    /// The command.
    pub(super) fn program(&self) -> PathBuf {
        self.commands().join("yarn")
    }

    /// `yarn install` that may not change the lock file.
    pub(super) fn install_args(&self) -> &'static [&'static str] {
        if self.version.major() == 1 {
            &["install", "--frozen-lockfile", "--non-interactive"]
        } else {
            &["install", "--immutable"]
        }
    }

    fn new(launch: Launch, version: Version, source: &str, node: &Node, cache: &NpmCache<'_>) -> Result<Self, Failed> {
        let cannot = |error: std::io::Error| {
            ExportFailure::new("yarn-unusable", format!("cannot make the command `yarn`: {error}"))
        };
        let commands = super::child::temporary_folder().map_err(cannot)?;
        let call = match &launch {
            Launch::Script(script) => format!("{} {}", quoted(&node.program), quoted(script)),
            Launch::Program(program) => quoted(program),
        };
        // yarn 1 spoils its own cache when two of it install at once.
        let mutex = match version.major() {
            1 => format!(
                "[ \"$1\" = install ] && set -- \"$@\" --mutex file:{}\n",
                quoted(&cache.file("yarn-1.mutex").map_err(cannot)?)
            ),
            _ => String::new(),
        };
        let file = commands.path().join("yarn");
        fs_err::write(&file, format!("#!/bin/sh\n{mutex}exec {call} \"$@\"\n")).map_err(cannot)?;
        fs_err::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).map_err(cannot)?;
        Ok(Self { version, source: source.to_owned(), commands })
    }
}

impl Wanted {
    fn fits(&self, version: &Version) -> bool {
        match self {
            Self::Exact(wanted) => wanted == version,
            Self::Major(major) => version.major() == *major,
        }
    }

    /// The version to fetch: the named one, else one that is known to be good.
    fn to_fetch(&self) -> Version {
        match self {
            Self::Exact(version) => version.clone(),
            Self::Major(1) => (1_u64, 22_u64, 22_u64).into(),
            Self::Major(2) => (2_u64, 4_u64, 2_u64).into(),
            Self::Major(3) => (3_u64, 8_u64, 7_u64).into(),
            Self::Major(_) => (4_u64, 18_u64, 1_u64).into(),
        }
    }
}

/// Finds the yarn for a workspace; nothing is fetched.
pub(super) async fn locate(
    root: &Path,
    workspace: &Workspace,
    node: &Node,
    environment: &Environment,
    cancel: &CancellationToken,
) -> Result<Located, ExportFailure> {
    let folder = workspace.path.under(root);
    if let Some(script) = yarn_path(root, &folder)? {
        let launch = Launch::Script(script.clone());
        let version = match version_in_name(&script) {
            Some(version) => Some(version),
            None => ask_version(&launch, node, &folder, environment, cancel).await,
        };
        let version = version.ok_or_else(|| {
            let message = format!("`yarnPath` names `{}`, which does not run", script.display());
            ExportFailure::new("yarn-unusable", message).with_help("`yarn set version stable` puts a new one there")
        })?;
        return Ok(Located::Here { launch, version, source: "yarnPath".to_owned() });
    }
    let wanted = wanted(workspace, &folder)?;
    if let Some(program) = find_on_path(environment, "yarn") {
        let source = program.display().to_string();
        let launch = Launch::Program(program);
        if let Some(version) = ask_version(&launch, node, &folder, environment, cancel).await
            && wanted.fits(&version)
        {
            return Ok(Located::Here { launch, version, source });
        }
    }
    Ok(Located::ToFetch(wanted.to_fetch()))
}

fn wanted(workspace: &Workspace, folder: &Path) -> Result<Wanted, ExportFailure> {
    if let Some(manager) = workspace.manifest.package_manager() {
        if manager.name != "yarn" {
            let message = format!(
                "the workspace `{}` is managed by `{}`; the RHDH CLI exports from yarn workspaces only",
                workspace.path, manager.name
            );
            return Err(ExportFailure::new("not-yarn", message).with_help(
                "set `packageManager` to a yarn, such as `yarn@4.18.1`, run `yarn install`, and commit `yarn.lock`",
            ));
        }
        if let Some(version) = manager.version.and_then(|version| Version::parse(version).ok()) {
            return Ok(Wanted::Exact(version));
        }
    }
    let lock = folder.join("yarn.lock");
    let head = fs_err::File::open(&lock).and_then(|file| {
        use std::io::Read as _;
        let mut head = Vec::new();
        file.take(LOCK_HEAD).read_to_end(&mut head)?;
        Ok(String::from_utf8_lossy(&head).into_owned())
    });
    Ok(Wanted::Major(major_of_lock(&head.unwrap_or_default())))
}

/// The major version of the yarn that wrote a lock file beginning like this.
fn major_of_lock(head: &str) -> u64 {
    if head.contains("# yarn lockfile v1") {
        return 1;
    }
    let format = head.split_once("__metadata:").and_then(|(_, rest)| rest.split_once("version:"));
    let format = format.and_then(|(_, rest)| rest.split_whitespace().next()?.parse::<u64>().ok());
    match format {
        Some(..=4) => 2,
        Some(5 | 6) => 3,
        _ => 4,
    }
}

/// The file that `yarnPath` names, in the `.yarnrc.yml` (or `yarn-path` in the `.yarnrc`) of the workspace or a folder
/// above it in the repository.
fn yarn_path(root: &Path, workspace: &Path) -> Result<Option<PathBuf>, ExportFailure> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct YarnRc {
        yarn_path: Option<String>,
    }
    for folder in workspace.ancestors().take_while(|folder| folder.starts_with(root)) {
        let berry = fs_err::read_to_string(folder.join(".yarnrc.yml")).ok();
        let berry = berry.and_then(|text| serde_yaml::from_str::<YarnRc>(&text).ok()?.yarn_path);
        let classic = || {
            let text = fs_err::read_to_string(folder.join(".yarnrc")).ok()?;
            text.lines().find_map(|line| Some(line.strip_prefix("yarn-path ")?.trim().trim_matches('"').to_owned()))
        };
        let Some(named) = berry.or_else(classic) else { continue };
        let failure = |why: &str| {
            ExportFailure::new("yarn-path", format!("`yarnPath` in `{}` is `{named}`, which {why}", folder.display()))
                .with_help("name a committed file of the repository, or remove `yarnPath`: the version in `packageManager` is enough")
        };
        let file = folder.join(&named).canonicalize().map_err(|_| failure("does not exist"))?;
        let inside = root.canonicalize().is_ok_and(|root| file.starts_with(root));
        return if inside { Ok(Some(file)) } else { Err(failure("leaves the repository")) };
    }
    Ok(None)
}

/// `.yarn/releases/yarn-4.6.0.cjs` says it all.
fn version_in_name(script: &Path) -> Option<Version> {
    let name = script.file_name()?.to_str()?.strip_prefix("yarn-")?;
    let version = [".cjs", ".js", ".mjs"].iter().find_map(|end| name.strip_suffix(end))?;
    Version::parse(version).ok()
}

/// The version that a yarn says it has, here; `None` where it does not run (a corepack shim that would have to
/// download, a yarn 1 that refuses this `packageManager`).
async fn ask_version(
    launch: &Launch,
    node: &Node,
    folder: &Path,
    environment: &Environment,
    cancel: &CancellationToken,
) -> Option<Version> {
    let env = environment.for_code();
    let command = match launch {
        Launch::Script(script) => node.command([script.as_os_str(), "--version".as_ref()], folder, env),
        Launch::Program(program) => {
            Command { program: program.clone(), args: vec!["--version".into()], dir: folder.to_owned(), env }
        }
    };
    let output = command.output(cancel).await.ok()?;
    let works = matches!(output.ended, Ended::Exited(status) if status.success());
    works.then(|| Version::parse(output.stdout.trim()).ok()).flatten()
}

/// A path as one word of `sh`.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_tells_the_major_version() {
        let table = [
            ("# THIS IS AN AUTOGENERATED FILE. DO NOT EDIT THIS FILE DIRECTLY.\n# yarn lockfile v1\n\n\n", 1),
            ("# This file is generated\n\n__metadata:\n  version: 4\n  cacheKey: 7\n", 2),
            ("__metadata:\r\n  version: 6\r\n  cacheKey: 8\r\n", 3),
            ("__metadata:\n  version: 8\n  cacheKey: 10c0\n", 4),
            ("__metadata:\n  version: 10\n", 4),
            ("", 4),
        ];
        for (head, major) in table {
            assert_eq!(major_of_lock(head), major, "{head}");
            let wanted = Wanted::Major(major);
            assert!(wanted.fits(&wanted.to_fetch()));
        }
    }

    #[test]
    fn yarn_path_stays_in_the_repository() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("repository");
        let workspace = root.join("workspaces/todo");
        fs_err::create_dir_all(&workspace).unwrap();
        fs_err::write(dir.path().join("yarn.js"), "").unwrap();
        fs_err::write(root.join("yarn-4.6.0.cjs"), "").unwrap();
        let with = |path: &str| {
            fs_err::write(root.join(".yarnrc.yml"), format!("nodeLinker: node-modules\nyarnPath: {path}\n")).unwrap();
            yarn_path(&root, &workspace)
        };
        let found = with("./yarn-4.6.0.cjs").unwrap().unwrap();
        assert_eq!(version_in_name(&found).unwrap().to_string(), "4.6.0");
        assert!(with("../yarn.js").unwrap_err().message.contains("leaves the repository"));
        assert!(with("/bin/sh").unwrap_err().message.contains("leaves the repository"));
        assert!(with(".yarn/releases/yarn.cjs").unwrap_err().message.contains("does not exist"));
        fs_err::write(root.join(".yarnrc.yml"), "nodeLinker: node-modules\n").unwrap();
        assert_eq!(yarn_path(&root, &workspace), Ok(None));
    }

    #[test]
    fn a_path_is_one_word() {
        assert_eq!(quoted(Path::new("/a b/$(x)/it's")), r"'/a b/$(x)/it'\''s'");
    }
}
