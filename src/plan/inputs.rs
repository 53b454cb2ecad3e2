//! What every plugin is made from, at one state of the repository: which files of the snapshot belong to which package,
//! which are inputs of a whole workspace, and what its lock file says.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::key::Fields;
use super::snapshot::{File, Kind, Snapshot};
use crate::config::{ExportMode, Inputs};
use crate::repo_path::RepoPath;
use crate::workspace::{Package, Workspace, Workspaces};

/// What builds write into a package's folder.
const BUILT: [&[u8]; 3] = [b"dist", b"dist-dynamic", b"dist-scalprum"];

/// The packages of all workspaces, and the rules that say which files count.
#[derive(Debug)]
pub(super) struct Rules<'a> {
    workspaces: &'a Workspaces,
    pub(super) packages: Vec<(&'a Workspace, &'a Package)>,
    by_folder: HashMap<&'a str, usize>,
    ignore: GlobSet,
    global: GlobSet,
    /// The output folder and the configuration file: they are no input of a plugin that is the repository's root.
    own: [Vec<u8>; 2],
}

/// The files of one state of the repository, sorted into packages and workspaces.
#[derive(Debug)]
pub(super) struct Sorted<'a> {
    pub(super) snapshot: &'a Snapshot,
    /// For each of [`Rules::packages`], its files by their path in the package, sorted.
    pub(super) packages: Vec<Vec<(Vec<u8>, &'a File)>>,
    /// For each workspace, its global inputs by their path in the repository.
    pub(super) global: HashMap<&'a RepoPath, Vec<(&'a [u8], &'a File)>>,
}

impl<'a> Rules<'a> {
    /// The rules of `inputs` for these workspaces. Globs that are none have been refused when the configuration was
    /// read; here they match nothing.
    pub(super) fn new(workspaces: &'a Workspaces, inputs: &Inputs, output: &RepoPath, config_file: &Path) -> Self {
        let every = workspaces.by_path.values();
        let packages: Vec<_> =
            every.flat_map(|workspace| workspace.packages.values().map(move |package| (workspace, package))).collect();
        let by_folder = packages.iter().enumerate().map(|(at, (_, package))| (package.path.as_str(), at)).collect();
        let file = config_file.file_name().map(|name| name.as_bytes().to_vec()).unwrap_or_default();
        let own = [output.as_str().as_bytes().to_vec(), file];
        Self {
            workspaces,
            packages,
            by_folder,
            ignore: glob_set(&inputs.ignore),
            global: glob_set(&inputs.global),
            own,
        }
    }

    /// The number of the package in `folder`.
    pub(super) fn package(&self, folder: &RepoPath) -> Option<usize> {
        self.by_folder.get(folder.as_str()).copied()
    }

    /// Sorts the files of a snapshot. `exists` tells which of the packages are there: where a nested package is not,
    /// its files belong to the package around it.
    pub(super) fn sort(&self, snapshot: &'a Snapshot) -> Sorted<'a> {
        let exists: Vec<bool> = self
            .packages
            .iter()
            .map(|(_, package)| snapshot.id(&join(package.path.as_str(), "package.json")).is_some())
            .collect();
        let mut packages: Vec<Vec<(Vec<u8>, &'a File)>> = vec![Vec::new(); self.packages.len()];
        for (path, file) in &snapshot.files {
            if let Some((at, relative)) = self.owner(path, &exists)
                && !self.is_left_out(path, relative)
            {
                packages[at].push((relative.to_vec(), file));
            }
            if file.kind == Kind::Submodule {
                for (at, (_, package)) in self.packages.iter().enumerate() {
                    if package.path.as_str().as_bytes().strip_prefix(path.as_slice()).is_some_and(is_below) {
                        packages[at].push(([b"/", path.as_slice()].concat(), file));
                    }
                }
            }
        }
        let workspaces = self.workspaces.by_path.values();
        let global = workspaces.map(|workspace| (&workspace.path, self.global_of(workspace, snapshot))).collect();
        Sorted { snapshot, packages, global }
    }

    /// The deepest package that a file belongs to, and its path there.
    fn owner<'p>(&self, path: &'p [u8], exists: &[bool]) -> Option<(usize, &'p [u8])> {
        let folders = path.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/').map(|(at, _)| (at, at + 1));
        folders.chain(std::iter::once((0, 0))).find_map(|(end, start)| {
            let folder = std::str::from_utf8(&path[..end]).ok()?;
            let at = self.by_folder.get(folder).copied().filter(|at| exists[*at])?;
            Some((at, &path[start..]))
        })
    }

    fn is_left_out(&self, path: &[u8], relative: &[u8]) -> bool {
        let top = relative.split(|byte| *byte == b'/').next().unwrap_or_default();
        // A lock file counts by what it says about a plugin, and the configuration too.
        let own = relative == b"yarn.lock" || path == self.own[1];
        let output = !self.own[0].is_empty() && path.strip_prefix(self.own[0].as_slice()).is_some_and(is_below);
        own || output || BUILT.contains(&top) || self.is_ignored(relative)
    }

    fn is_ignored(&self, relative: &[u8]) -> bool {
        self.ignore.is_match(Path::new(std::ffi::OsStr::from_bytes(relative)))
    }

    fn global_of(&self, workspace: &Workspace, snapshot: &'a Snapshot) -> Vec<(&'a [u8], &'a File)> {
        let prefix = join(workspace.path.as_str(), "").into_bytes();
        let inside = snapshot.files.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        inside
            .filter(|(path, _)| self.global.is_match(Path::new(std::ffi::OsStr::from_bytes(&path[prefix.len()..]))))
            .map(|(path, file)| (path.as_slice(), file))
            .collect()
    }

    /// The packages that a plugin is made from: its own, those that it depends on, those that the configuration has
    /// embedded, and what they depend on; its own first.
    pub(super) fn closure(&self, plugin: &crate::config::Plugin) -> Vec<usize> {
        let Some(own) = self.package(&plugin.path) else { return Vec::new() };
        let (workspace, package) = self.packages[own];
        let embedded = plugin.embed_packages.iter().filter_map(|name| workspace.named(name));
        let mut all = vec![own];
        for start in std::iter::once(package).chain(embedded) {
            for member in workspace.closure(&start.path) {
                all.extend(self.package(&member.path).filter(|at| !all.contains(at)));
            }
        }
        all
    }
}

impl<'a> Sorted<'a> {
    /// The sha256 over the files of a package; see [`super::key`].
    pub(super) fn digest(&self, package: usize) -> [u8; 32] {
        let mut fields = Fields::default();
        for (path, file) in &self.packages[package] {
            fields.add(path);
            fields.add(file.kind.mode().as_bytes());
            fields.add(file.id.as_bytes());
        }
        fields.finish()
    }

    /// Inputs of one plugin that are in none of its packages: what its configuration names, what links in its packages
    /// lead to, and a `dist-dynamic` that is committed because the user's own build makes it.
    pub(super) fn extra(
        &self,
        root: &Path,
        plugin: &crate::config::Plugin,
        closure: &[usize],
        rules: &Rules<'_>,
    ) -> BTreeMap<Vec<u8>, &'a File> {
        let mut extra = BTreeMap::new();
        if let Some(path) = &plugin.scalprum_config {
            extra.extend(self.at(path.as_str().as_bytes()));
        }
        if plugin.export == ExportMode::Prebuilt {
            extra.extend(self.at(join(plugin.path.as_str(), "dist-dynamic").as_bytes()));
        }
        for &package in closure {
            let folder = rules.packages[package].1.path.as_str();
            for (path, _) in self.packages[package].iter().filter(|(_, file)| file.kind == Kind::Link) {
                let link = [join(folder, "").as_bytes(), path].concat();
                if let Some(target) = link_target(root, &link) {
                    extra.extend(self.at(&target));
                }
            }
        }
        extra
    }

    /// The file at `path`, or the files below it.
    fn at(&self, path: &[u8]) -> impl Iterator<Item = (Vec<u8>, &'a File)> {
        let path = path.to_vec();
        let inside = self.snapshot.files.range(path.clone()..).take_while({
            let path = path.clone();
            move |(other, _)| other.starts_with(&path)
        });
        inside
            .filter(move |(other, _)| other.len() == path.len() || is_below(&other[path.len()..]))
            .map(|(path, file)| (path.clone(), file))
    }
}

/// Where a link leads, as a path of the repository; `None` outside of it. Only the text of the link is followed.
fn link_target(root: &Path, link: &[u8]) -> Option<Vec<u8>> {
    let link = Path::new(std::ffi::OsStr::from_bytes(link));
    let target = std::fs::read_link(root.join(link)).ok()?;
    let mut path = link.parent()?.to_owned();
    for part in target.components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => {
                if !path.pop() {
                    return None;
                }
            }
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (path != PathBuf::new()).then(|| path.as_os_str().as_bytes().to_vec())
}

/// `folder/name`, where the root is the empty folder.
pub(super) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

fn is_below(rest: &[u8]) -> bool {
    rest.starts_with(b"/")
}

fn glob_set(globs: &[String]) -> GlobSet {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        if let Ok(glob) = GlobBuilder::new(glob).literal_separator(true).build() {
            set.add(glob);
        }
    }
    set.build().unwrap_or_default()
}
