//! From the folders of plugins to their yarn workspaces. As in yarn, the workspace of a package is the nearest folder
//! upwards that holds a `yarn.lock`, and the package must be one that the root's `workspaces` lead to.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;
use rayon::prelude::*;

use super::glob::{ByLink, Patterns};
use super::package_json::{self, PackageJson, parse_object, read_limited, take_text};
use super::{Catalogs, Package, Workspace, Workspaces, graph};
use crate::repo_path::{Places, RepoPath, RepoPathError};

/// Why a folder has no workspace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    /// The folder does not exist, or lies behind a link that leaves the repository.
    #[error("cannot use the folder of the plugin: {0}")]
    Folder(RepoPathError),
    /// The folder holds no `package.json`.
    #[error("`{0}` holds no `package.json`")]
    #[diagnostic(help("`path` names the folder of a Backstage plugin, the one with its `package.json`"))]
    NoPackageJson(RepoPath),
    /// There is no `yarn.lock` from the folder up to the root.
    #[error("`{0}` belongs to no yarn workspace: there is no `yarn.lock` from there up to the configuration file")]
    #[diagnostic(help(
        "run `yarn install` at the root of the workspace and commit its `yarn.lock`; where that root lies \
                       above the configuration file, move `rhdh-plugins.toml` beside it"
    ))]
    NoLockFile(RepoPath),
    /// The workspace's `workspaces` do not lead to the folder.
    #[error("`{folder}` is not one of the packages of the yarn workspace `{workspace}`")]
    #[diagnostic(help(
        "add `\"{folder}\"` or a glob that matches it to `workspaces` in `{workspace}/package.json`, or, if \
                       it stands alone, make it a workspace of its own: `touch {folder}/yarn.lock && yarn --cwd {folder}`"
    ))]
    NotListed {
        /// The plugin's folder.
        folder: RepoPath,
        /// The folder with the nearest `yarn.lock`.
        workspace: RepoPath,
    },
    /// The folder is another name of a package's.
    #[error("`{folder}` is a link to `{package}`, which is the package that yarn knows")]
    #[diagnostic(help("name that: `path = \"{package}\"`"))]
    Link {
        /// The plugin's folder.
        folder: RepoPath,
        /// The package's.
        package: RepoPath,
    },
    /// A `package.json` or `backstage.json` of the workspace is unusable.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Json(#[from] package_json::Error),
    /// A pattern of `workspaces` cannot be followed.
    #[error("cannot follow `{pattern}` of `workspaces` in `{file}`: {cause}")]
    #[diagnostic(help("a pattern is a folder, a glob such as `plugins/*`, or, to leave folders out, `!plugins/old`"))]
    Pattern {
        /// The `package.json`.
        file: String,
        /// The pattern as it is written.
        pattern: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A folder that a pattern may match cannot be read or named.
    #[error("cannot look for packages of `{workspace}` in `{folder}`: {cause}")]
    #[diagnostic(help("rename the folder or mend its permissions, or leave it out with `!…` in `workspaces`"))]
    Walk {
        /// The workspace.
        workspace: RepoPath,
        /// The folder, as text only.
        folder: String,
        /// What is wrong with it.
        cause: String,
    },
    /// Two packages of a workspace with one name.
    #[error("`{first}` and `{second}` are both named `{name}`")]
    #[diagnostic(help("yarn refuses this too: rename one of the two in its `package.json`"))]
    DuplicateName {
        /// The name.
        name: String,
        /// A package.
        first: RepoPath,
        /// Another.
        second: RepoPath,
    },
    /// A package other than the root without `name`.
    #[error("`{0}/package.json` has no `name`")]
    #[diagnostic(help("a plugin is published under its name: add `\"name\": \"@scope/plugin-…\"`"))]
    Nameless(RepoPath),
}

/// Finds the workspaces of `folders` (the plugins' own) below `root`, and says for each folder that has none why.
#[must_use]
pub fn discover(root: &Path, folders: &[RepoPath]) -> (Workspaces, Vec<(RepoPath, Error)>) {
    Discovery::new(root).of(folders)
}

/// Workspaces that were read, below one root.
#[derive(Debug)]
pub struct Discovery {
    root: PathBuf,
    loaded: BTreeMap<RepoPath, Result<Workspace, Error>>,
    places: Places,
    /// Whether a folder holds a `yarn.lock`.
    locked: HashMap<RepoPath, bool>,
}

impl Discovery {
    fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), loaded: BTreeMap::new(), places: Places::new(root), locked: HashMap::new() }
    }

    /// Reads the workspace that `root` itself is, if it is one: most repositories have no other, so that it need not be
    /// known yet which folders will be asked for.
    #[must_use]
    pub fn ahead(root: &Path) -> Self {
        let mut discovery = Self::new(root);
        let top = RepoPath::default();
        if discovery.is_locked(&top) {
            let workspace = load(root, &top);
            discovery.loaded.insert(top, workspace);
        }
        discovery
    }

    /// As [`discover`].
    #[must_use]
    pub fn of(mut self, folders: &[RepoPath]) -> (Workspaces, Vec<(RepoPath, Error)>) {
        let (mut errors, mut asked) = (Vec::new(), BTreeSet::new());
        let is_locked: Vec<bool> = folders.par_iter().map(|folder| has_lock(&self.root, folder)).collect();
        self.locked.extend(folders.iter().cloned().zip(is_locked));
        for folder in folders {
            let found = self.find(folder);
            // What was read ahead may be of no use; so may the workspace of a folder that is no package.
            if !matches!(found, Err(Error::Folder(_) | Error::NoPackageJson(_))) {
                asked.extend(self.lock_above(folder));
            }
            errors.extend(found.err().map(|error| (folder.clone(), error)));
        }
        let by_path = self.loaded.into_iter().filter(|(path, _)| asked.contains(path));
        let by_path = by_path.filter_map(|(path, workspace)| Some((path, workspace.ok()?))).collect();
        (Workspaces { root: self.root, by_path }, errors)
    }

    fn find(&mut self, folder: &RepoPath) -> Result<(), Error> {
        let found = self.lock_above(folder).map(|path| {
            // The packages of a workspace that is in the repository are in it, too.
            self.places.locate(&path).map_err(Error::Folder)?;
            let root = &self.root;
            let workspace = self.loaded.entry(path).or_insert_with_key(|path| load(root, path)).as_ref();
            match workspace.map(|workspace| (workspace, workspace.packages.get(folder))) {
                Ok((_, Some(package))) if package.manifest.name.is_none() => Err(Error::Nameless(folder.clone())),
                Ok((_, Some(_))) => Ok(()),
                Ok((workspace, None)) => {
                    let place = self.places.locate(folder).ok();
                    let real_root = root.canonicalize().ok();
                    let same = |package: &&Package| {
                        let there = real_root.as_ref().map(|root| package.place.under(root));
                        there.is_some() && there == place
                    };
                    Err(match workspace.packages.values().find(same) {
                        Some(package) => Error::Link { folder: folder.clone(), package: package.path.clone() },
                        None => Error::NotListed { folder: folder.clone(), workspace: workspace.path.clone() },
                    })
                }
                Err(error) => Err(error.clone()),
            }
        });
        if matches!(found, Some(Ok(()))) {
            return Ok(());
        }
        let place = self.places.locate(folder).map_err(Error::Folder)?;
        if !place.join("package.json").exists() {
            return Err(Error::NoPackageJson(folder.clone()));
        }
        found.unwrap_or_else(|| Err(Error::NoLockFile(folder.clone())))
    }

    /// The folder of the nearest `yarn.lock` from `folder` upwards.
    fn lock_above(&mut self, folder: &RepoPath) -> Option<RepoPath> {
        std::iter::successors(Some(folder.clone()), RepoPath::parent).find(|path| self.is_locked(path))
    }

    fn is_locked(&mut self, folder: &RepoPath) -> bool {
        if let Some(known) = self.locked.get(folder) {
            return *known;
        }
        let is_locked = has_lock(&self.root, folder);
        self.locked.insert(folder.clone(), is_locked);
        is_locked
    }
}

fn has_lock(root: &Path, folder: &RepoPath) -> bool {
    folder.under(root).join("yarn.lock").is_file()
}

/// Reads the workspace at `path` with every package of it.
fn load(root: &Path, path: &RepoPath) -> Result<Workspace, Error> {
    let manifest = Arc::new(PackageJson::parse(&read(root, path, "package.json")?, &shown(path, "package.json"))?);
    let mut packages = BTreeMap::new();
    let mut next = members(root, path, path, &manifest)?;
    packages.insert(path.clone(), Package::new(path.clone(), Arc::clone(&manifest)));
    // A package may have `workspaces` of its own: yarn goes on there, level by level.
    while !next.is_empty() {
        let candidates = std::mem::take(&mut next);
        let folders: Vec<RepoPath> = candidates.keys().cloned().collect();
        for (folder, manifest) in read_manifests(root, &folders)? {
            next.extend(members(root, path, &folder, &manifest)?);
            let mut package = Package::new(folder.clone(), manifest);
            if candidates.get(&folder) == Some(&true) {
                package.place = real_place(root, &folder).unwrap_or(package.place);
            }
            packages.insert(folder, package);
        }
        next.retain(|folder, _| !packages.contains_key(folder));
    }
    refuse_duplicates(root, &mut packages)?;
    let mut packages: IndexMap<RepoPath, Package> = packages.into_iter().collect();
    let resolved = graph::connect(path, &mut packages, |folder| {
        folder.locate(root).ok()?;
        PackageJson::parse(&read(root, folder, "package.json").ok()?, &shown(folder, "package.json")).ok()
    });
    let (backstage, catalogs) = (backstage_version(root, path)?, Catalogs::of(&path.under(root)));
    Ok(Workspace { path: path.clone(), manifest, packages, backstage, resolved, catalogs })
}

/// Where `folder` is in the repository, after following every link on the way.
fn real_place(root: &Path, folder: &RepoPath) -> Option<RepoPath> {
    let place = folder.locate(root).ok()?;
    RepoPath::new(place.strip_prefix(root.canonicalize().ok()?).ok()?.to_str()?).ok()
}

/// The folders that the `workspaces` of the package in `folder` match, packages or not.
fn members(
    root: &Path,
    workspace: &RepoPath,
    folder: &RepoPath,
    json: &PackageJson,
) -> Result<BTreeMap<RepoPath, ByLink>, Error> {
    let file = shown(folder, "package.json");
    let patterns = json.workspaces(&file)?.unwrap_or_default();
    let patterns =
        Patterns::new(&patterns).map_err(|bad| Error::Pattern { file, pattern: bad.pattern, cause: bad.cause })?;
    patterns.expand(root, folder).map_err(|bad| {
        let place = bad.path.strip_prefix(root).unwrap_or(&bad.path);
        let place = place.to_string_lossy().escape_debug().to_string();
        Error::Walk { workspace: workspace.clone(), folder: place, cause: bad.cause }
    })
}

/// The `package.json` of each folder that has one.
fn read_manifests(root: &Path, folders: &[RepoPath]) -> Result<Vec<(RepoPath, Arc<PackageJson>)>, Error> {
    let read_one = |folder: &RepoPath| {
        let text = match read(root, folder, "package.json") {
            Err(_) if !folder.under(root).join("package.json").exists() => return Ok(None),
            text => text?,
        };
        Ok(Some((folder.clone(), Arc::new(PackageJson::parse(&text, &shown(folder, "package.json"))?))))
    };
    let all: Vec<_> = folders.par_iter().map(read_one).collect();
    all.into_iter().filter_map(Result::transpose).collect()
}

/// Refuses two packages with one name. A package that is there twice because a link leads to it is one package.
fn refuse_duplicates(root: &Path, packages: &mut BTreeMap<RepoPath, Package>) -> Result<(), Error> {
    let mut by_name: BTreeMap<&str, &RepoPath> = BTreeMap::new();
    let mut again = Vec::new();
    for package in packages.values() {
        let Some(name) = package.manifest.name.as_deref() else { continue };
        let Some(first) = by_name.get(name).copied() else {
            by_name.insert(name, &package.path);
            continue;
        };
        let second = &package.path;
        let real = |path: &RepoPath| path.locate(root).ok();
        if real(first) != real(second) {
            return Err(Error::DuplicateName { name: name.to_owned(), first: first.clone(), second: second.clone() });
        }
        // The one whose path is its real place stays.
        let keeps_first =
            real(first).is_some_and(|real| root.canonicalize().is_ok_and(|root| first.under(&root) == real));
        if keeps_first {
            again.push(second.clone());
        } else {
            again.push(first.clone());
            by_name.insert(name, second);
        }
    }
    for path in again {
        packages.remove(&path);
    }
    Ok(())
}

fn backstage_version(root: &Path, path: &RepoPath) -> Result<Option<String>, Error> {
    if !path.under(root).join("backstage.json").exists() {
        return Ok(None);
    }
    let file = shown(path, "backstage.json");
    let mut fields = parse_object(&read(root, path, "backstage.json")?, &file)?;
    Ok(take_text(&mut fields, "version", &file)?)
}

fn read(root: &Path, folder: &RepoPath, name: &str) -> Result<Vec<u8>, Error> {
    Ok(read_limited(&folder.under(root).join(name), &shown(folder, name))?)
}

/// How a file is named in errors: relative to the root.
fn shown(folder: &RepoPath, name: &str) -> String {
    if folder.is_root() { name.to_owned() } else { format!("{folder}/{name}") }
}

#[cfg(test)]
#[path = "discover_tests.rs"]
mod tests;
