//! What stands in the repository: `package.json` files, yarn workspaces and the graph between their packages.
//! The folders of the plugins come in; what goes out are [`Workspace`]s with every package of theirs.

use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::repo_path::RepoPath;

mod catalogs;
mod closure;
mod discover;
mod glob;
mod graph;
mod lockfile;
pub mod package_json;
mod resolve;
mod third_party;

pub use catalogs::Catalogs;
pub use closure::Closure;
pub use discover::{Discovery, Error, discover};
pub use lockfile::LockfileError;
pub use package_json::{PackageJson, PackageManager, Role, RoleError, siblings};
pub use third_party::{Again, Direct, LockChange, Locked, Lockfile, MOST_CHANGES, Root};

/// One yarn workspace root: the folder whose `package.json` has `workspaces` and beside which `yarn.lock` stands. A
/// package with a `yarn.lock` of its own and no `workspaces` is a workspace of one.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// The workspace root.
    pub path: RepoPath,
    /// The root's own `package.json`.
    pub manifest: Arc<PackageJson>,
    /// Every package of the workspace (the root too) by its folder, sorted.
    pub packages: IndexMap<RepoPath, Package>,
    /// The Backstage version of `backstage.json`, where there is one.
    pub backstage: Option<String>,
    /// Folders and archives of the repository that `resolutions` of the root lead to by `portal:`, `link:` or `file:`, and
    /// what these depend on in such ways, sorted. What is a package of the workspace is not among them.
    pub resolved: Vec<RepoPath>,
    /// The catalogs of its `.yarnrc.yml`.
    pub catalogs: Catalogs,
}

/// One package of a workspace.
#[derive(Clone, Debug)]
pub struct Package {
    /// Its folder.
    pub path: RepoPath,
    /// Where its files are: `path`, or where a link on the way there leads.
    pub place: RepoPath,
    /// Its `package.json`.
    pub manifest: Arc<PackageJson>,
    /// Folders of the packages of the same workspace that it depends on directly (`dependencies`,
    /// `optionalDependencies`, `peerDependencies`; by `workspace:` or by name and version range), sorted.
    pub depends_on: Vec<RepoPath>,
    /// Folders and archives of the repository that it depends on directly by `link:`, `portal:` or `file:`, and that are
    /// no packages of the workspace, sorted.
    pub local: Vec<RepoPath>,
}

impl Package {
    /// A package that depends on nothing yet.
    #[must_use]
    pub fn new(path: RepoPath, manifest: Arc<PackageJson>) -> Self {
        Self { place: path.clone(), path, manifest, depends_on: Vec::new(), local: Vec::new() }
    }
}

/// All the workspaces that hold plugins.
#[derive(Clone, Debug, Default)]
pub struct Workspaces {
    /// The folder of `rhdh-plugins.toml`.
    pub root: PathBuf,
    /// By the path of the workspace root, sorted.
    pub by_path: IndexMap<RepoPath, Workspace>,
}

impl Workspaces {
    /// The workspace that the package in `folder` belongs to.
    #[must_use]
    pub fn of(&self, folder: &RepoPath) -> Option<&Workspace> {
        let above = std::iter::successors(Some(folder.clone()), RepoPath::parent);
        above.filter_map(|path| self.by_path.get(&path)).find(|workspace| workspace.packages.contains_key(folder))
    }
}
