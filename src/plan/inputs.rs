//! What every plugin is made from, at one state of the repository: which files of the snapshot belong to which package,
//! which are inputs of a whole workspace, and what its lock file says.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::git::Git;
use super::key::Fields;
use super::links::Links;
use super::parallel;
use super::snapshot::{File, Kind, Listed, Snapshot};
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
    by_folder: hashbrown::HashMap<&'a str, usize>,
    /// By where their files are.
    by_place: hashbrown::HashMap<&'a str, usize>,
    /// For each package, the numbers of those of its workspace that it depends on.
    depends_on: Vec<Vec<usize>>,
    /// For each package, the number of the first one of its workspace.
    first: Vec<usize>,
    /// For each package, its number as that of its folder: a folder may be a package of two workspaces, one in the
    /// other, and counts as that of the last.
    of_folder: Vec<usize>,
    ignore: GlobSet,
    /// The global inputs that are plain paths, and those that are patterns.
    global: (Vec<&'a str>, GlobSet),
    pub(super) links: Links<'a>,
    /// The output folder and the configuration file: they are no input of a plugin that is the repository's root.
    own: [Vec<u8>; 2],
}

/// A file of a package: the package's number, the file's path in it (that of a submodule or link around the package
/// begins with `/`), and the file.
type Owned<'a> = (usize, Cow<'a, [u8]>, File<'a>);

/// What the files of one package say.
#[derive(Debug)]
pub(super) struct Content {
    /// The sha256 over them; see [`super::key`].
    pub(super) digest: [u8; 32],
    /// What links among them name, as far as that is in the repository.
    pub(super) linked: Vec<Vec<u8>>,
    /// The paths of the other links among them, in the repository.
    pub(super) links_out: Vec<Vec<u8>>,
    /// Whether they are files of the snapshot. If not, they are what stands on disk, and no other state is known.
    pub(super) is_known: bool,
}

/// The files of one package that are not the same in two snapshots, by their path in the package: before and after.
pub(super) type Differences<'a> = BTreeMap<Cow<'a, [u8]>, (Option<File<'a>>, Option<File<'a>>)>;

impl<'a> Rules<'a> {
    /// The rules of `inputs` for these workspaces. Globs that are none have been refused when the configuration was
    /// read; here they match nothing.
    pub(super) fn new(
        workspaces: &'a Workspaces,
        inputs: &'a Inputs,
        output: &RepoPath,
        config_file: &Path,
        git: Option<&'a Git>,
    ) -> Self {
        let every = workspaces.by_path.values();
        let packages: Vec<_> =
            every.flat_map(|workspace| workspace.packages.values().map(move |package| (workspace, package))).collect();
        let numbered = packages.iter().enumerate();
        let by_folder: hashbrown::HashMap<&str, usize> =
            numbered.clone().map(|(at, (_, package))| (package.path.as_str(), at)).collect();
        let of_folder = packages.iter().map(|(_, package)| by_folder[package.path.as_str()]).collect();
        let by_place = numbered.map(|(at, (_, package))| (package.place.as_str(), at)).collect();
        let (mut depends_on, mut first) = (Vec::with_capacity(packages.len()), Vec::with_capacity(packages.len()));
        for workspace in workspaces.by_path.values() {
            let at = depends_on.len();
            let number = |path: &RepoPath| Some(at + workspace.packages.get_index_of(path)?);
            first.extend(std::iter::repeat_n(at, workspace.packages.len()));
            depends_on.extend(
                workspace.packages.values().map(|package| package.depends_on.iter().filter_map(number).collect()),
            );
        }
        let file = config_file.file_name().map(|name| name.as_bytes().to_vec()).unwrap_or_default();
        let own = [output.as_str().as_bytes().to_vec(), file];
        let is_plain = |glob: &&String| !glob.contains(['*', '?', '[', ']', '{', '}', '\\']);
        let (plain, patterns): (Vec<&String>, Vec<&String>) = inputs.global.iter().partition(is_plain);
        // A plain path may be that of a folder.
        let folders: Vec<String> = inputs.ignore.iter().filter(is_plain).map(|path| format!("{path}/**")).collect();
        Self {
            workspaces,
            packages,
            by_folder,
            by_place,
            depends_on,
            first,
            of_folder,
            ignore: glob_set(inputs.ignore.iter().chain(&folders)),
            global: (plain.into_iter().map(String::as_str).collect(), glob_set(patterns.into_iter())),
            links: Links { root: &workspaces.root, git },
            own,
        }
    }

    /// The number of the package in `folder`.
    pub(super) fn package(&self, folder: &RepoPath) -> Option<usize> {
        self.by_folder.get(folder.as_str()).copied()
    }

    /// Which of the packages are there, by themselves or in a submodule. Where a nested package is not, its files belong
    /// to the package around it.
    pub(super) fn existing(&self, snapshot: &Snapshot) -> Vec<bool> {
        parallel(&self.packages, |(_, package)| {
            snapshot.get(join(package.place.as_str(), "package.json").as_bytes()).is_some()
                || snapshot.submodules_around(&package.place).next().is_some()
        })
    }

    /// What the files of each package say; `existing` are the packages that the snapshot has.
    pub(super) fn contents(&self, snapshot: &Snapshot, existing: &[bool]) -> Vec<Content> {
        let numbers: Vec<usize> = (0..self.packages.len()).collect();
        parallel(&numbers, |package| {
            let (_, it) = self.packages[*package];
            let folder = join(it.place.as_str(), "");
            let mut fields = Fields::default();
            let mut links_out = Vec::new();
            let mut linked: Vec<_> = it.local.iter().map(|path| path.as_str().as_bytes().to_vec()).collect();
            let mut add = |path: &[u8], file: File<'_>| {
                fields.add(path);
                fields.add(file.kind.mode().as_bytes());
                fields.add(file.id);
                if file.kind == Kind::Link {
                    let link = [folder.as_bytes(), path].concat();
                    match self.links.target((&link, file)) {
                        Some(target) => linked.push(target),
                        None => links_out.push(link),
                    }
                }
            };
            if existing[*package] {
                self.each_file(snapshot, existing, *package, add);
            } else {
                // git ignores it, or it is a repository of its own: what stands on disk counts.
                let files = Snapshot::of_folder(&it.place.under(self.links.root));
                let counted = files.iter().filter(|(path, _)| !self.is_left_out(path, path));
                counted.for_each(|(path, file)| add(path, file));
            }
            Content { digest: fields.finish(), linked, links_out, is_known: existing[*package] }
        })
    }

    /// Goes through the files of a package, by their path in it, sorted.
    fn each_file<'s>(
        &self,
        snapshot: &'s Snapshot,
        existing: &[bool],
        package: usize,
        mut each: impl FnMut(&[u8], File<'s>),
    ) {
        let folder = &self.packages[package].1.place;
        for (path, file) in snapshot.submodules_around(folder).collect::<Vec<_>>().into_iter().rev() {
            each(&[b"/", path].concat(), file);
        }
        // A folder may be a package of two workspaces, one in the other: it counts as that of the last.
        if self.by_place.get(folder.as_str()) != Some(&package) {
            return;
        }
        let prefix = join(folder.as_str(), "").into_bytes();
        let mut number = snapshot.first_from(0..snapshot.len(), &prefix);
        let end = snapshot.first_not_below(number..snapshot.len(), &prefix);
        let mut last = None;
        while number < end {
            let (path, file) = snapshot.at(number);
            let parent = folder_of(path);
            if last != Some(parent) {
                match self.owner(parent, existing) {
                    Some((owner, start)) if owner != package => {
                        // All of a package in this one is that of others.
                        number = snapshot.first_not_below(number..end, &path[..start]);
                        continue;
                    }
                    _ => last = Some(parent),
                }
            }
            let relative = &path[prefix.len()..];
            if !self.is_left_out(path, relative) {
                each(relative, file);
            }
            number += 1;
        }
    }

    /// What is not the same in two snapshots, by package. `existing` are the packages that each of them has; `left` are
    /// folders of the first that were packages: their files belonged to no other.
    pub(super) fn differences(
        &self,
        (before, existing_before, left): (&'a Snapshot, &[bool], &HashSet<&str>),
        (after, existing_after): (&'a Snapshot, &[bool]),
    ) -> Vec<Differences<'a>> {
        let mut all = vec![Differences::new(); self.packages.len()];
        let mut note = |before: Vec<Owned<'a>>, after: Vec<Owned<'a>>| {
            for (package, path, file) in before {
                all[package].entry(path).or_default().0 = Some(file);
            }
            for (package, path, file) in after {
                all[package].entry(path).or_default().1 = Some(file);
            }
        };
        let none = &HashSet::new();
        if existing_before == existing_after && left.is_empty() {
            let (before, after) = before.only_different(after);
            let before = self.owned(before.into_iter(), existing_before, none);
            note(before, self.owned(after.into_iter(), existing_after, none));
        } else {
            // Files that did not change have another owner by now.
            let before = self.owned(before.iter(), existing_before, left);
            note(before, self.owned(after.iter(), existing_after, none));
        }
        // The files of a package behind a link are compared where it leads to now: that may be another place than before.
        let linked = all.iter_mut().zip(&self.packages).filter(|(_, (_, package))| package.place != package.path);
        for (differences, (_, package)) in linked {
            let way = |snapshot: &'a Snapshot| self.links.follow(snapshot, package.path.as_str().as_bytes()).0;
            for (path, file) in way(before) {
                differences.entry(Cow::Owned([b"/", path].concat())).or_default().0 = Some(file);
            }
            for (path, file) in way(after) {
                differences.entry(Cow::Owned([b"/", path].concat())).or_default().1 = Some(file);
            }
        }
        for differences in &mut all {
            differences.retain(|_, (before, after)| before != after);
        }
        all
    }

    /// Those of `files`, which are sorted, that belong to packages, and to none of `left`.
    fn owned<'f>(
        &self,
        files: impl Iterator<Item = Listed<'f>>,
        existing: &[bool],
        left: &HashSet<&str>,
    ) -> Vec<Owned<'f>> {
        let mut owned = Vec::with_capacity(files.size_hint().0);
        // The folder of the file before, and what owns it.
        let (mut last, mut owner) = (None, None);
        for (path, file) in files {
            let folder = folder_of(path);
            if last != Some(folder) {
                (last, owner) = (Some(folder), self.owner(folder, existing));
                owner = owner.filter(|(_, start)| left.is_empty() || !is_in_any(folder, *start, left));
            }
            if let Some((package, start)) = owner
                && !self.is_left_out(path, &path[start..])
            {
                owned.push((package, Cow::Borrowed(&path[start..]), file));
            }
            if file.kind == Kind::Submodule {
                for (package, (_, it)) in self.packages.iter().enumerate() {
                    let below = it.place.as_str().as_bytes().strip_prefix(path);
                    if below.is_some_and(|rest| rest.is_empty() || is_below(rest)) {
                        owned.push((package, Cow::Owned([b"/", path].concat()), file));
                    }
                }
            }
        }
        owned
    }

    /// The deepest package that the files of a folder (empty, or with `/` at its end) belong to, and where their paths
    /// in the package begin.
    fn owner(&self, folder: &[u8], existing: &[bool]) -> Option<(usize, usize)> {
        let ends = folder.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/').map(|(at, _)| (at, at + 1));
        ends.chain(std::iter::once((0, 0))).find_map(|(end, start)| {
            let folder = std::str::from_utf8(&folder[..end]).ok()?;
            let package = self.by_place.get(folder).copied().filter(|package| existing[*package])?;
            Some((package, start))
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

    /// For each workspace, its global inputs by their path in the repository.
    pub(super) fn global<'s>(&self, snapshot: &'s Snapshot) -> HashMap<&'a RepoPath, BTreeMap<&'s [u8], File<'s>>> {
        let of = |workspace: &'a Workspace| {
            let mut found = BTreeMap::new();
            for path in self.global.0.iter().filter_map(|plain| workspace.path.join(plain).ok()) {
                found.extend(self.links.at(snapshot, path.as_str().as_bytes(), |_| true));
            }
            // They count for every plugin, as `resolutions` itself does.
            for path in &workspace.resolved {
                found.extend(self.links.at(snapshot, path.as_str().as_bytes(), |path| !self.is_ignored(path)));
            }
            if !self.global.1.is_empty() {
                let (_, place) = self.links.follow(snapshot, workspace.path.as_str().as_bytes());
                let prefix = if place.is_empty() { place } else { [place.as_slice(), b"/"].concat() };
                let is_global = |path: &[u8]| self.global.1.is_match(Path::new(std::ffi::OsStr::from_bytes(path)));
                let inside = snapshot.beginning_with(&prefix);
                found.extend(inside.filter(|(path, _)| is_global(&path[prefix.len()..])));
            }
            (&workspace.path, found)
        };
        self.workspaces.by_path.values().map(of).collect()
    }

    /// The packages that the package with this number depends on; `by_lock` are those that it comes to by its lock file.
    pub(super) fn direct<'s>(&'s self, package: usize, by_lock: &'s [Vec<usize>]) -> impl Iterator<Item = usize> + 's {
        self.depends_on[package].iter().chain(by_lock.get(package).into_iter().flatten()).copied()
    }

    /// The numbers of the packages in `folders` of the workspace of `package`, without those that it is known to depend
    /// on.
    pub(super) fn beside(&self, package: usize, folders: &[String]) -> Vec<usize> {
        let (workspace, _) = self.packages[package];
        let number = |folder: &String| self.in_workspace_of(package, &workspace.path.join(folder).ok()?);
        folders.iter().filter_map(number).filter(|other| !self.depends_on[package].contains(other)).collect()
    }

    /// The number of the package in `folder`, as one of the workspace that `package` is of.
    fn in_workspace_of(&self, package: usize, folder: &RepoPath) -> Option<usize> {
        Some(self.first[package] + self.packages[package].0.packages.get_index_of(folder)?)
    }

    /// The packages that a plugin is made from: its own, those that it depends on, those that the configuration has
    /// embedded, and what they depend on; its own first. `by_lock` as in [`Rules::direct`].
    pub(super) fn closure(&self, plugin: &crate::config::Plugin, by_lock: &[Vec<usize>]) -> Vec<usize> {
        let Some(own) = self.package(&plugin.path) else { return Vec::new() };
        let (workspace, _) = self.packages[own];
        let in_workspace = |path: &RepoPath| self.in_workspace_of(own, path);
        let embedded = plugin.embed_packages.iter().filter_map(|name| in_workspace(&workspace.named(name)?.path));
        let mut all = Vec::new();
        let mut seen = hashbrown::HashSet::new();
        for start in in_workspace(&plugin.path).into_iter().chain(embedded) {
            // What was seen before has been followed to its end.
            let mut found = Vec::new();
            let mut next = vec![start];
            while let Some(package) = next.pop() {
                if seen.insert(package) {
                    found.push(package);
                    next.extend(self.direct(package, by_lock));
                }
            }
            // Numbers go by folder.
            if let Some((_, others)) = found.split_first_mut() {
                others.sort_unstable();
            }
            all.extend(found.iter().map(|at| self.of_folder[*at]));
        }
        all
    }

    /// Inputs of one plugin that are in none of its packages: what its configuration names, what links in its packages
    /// name (`linked`), and a `dist-dynamic` that is committed because the user's own build makes it.
    pub(super) fn extra<'s>(
        &self,
        snapshot: &'s Snapshot,
        plugin: &crate::config::Plugin,
        linked: impl Iterator<Item = &'s Vec<u8>>,
    ) -> BTreeMap<&'s [u8], File<'s>> {
        let mut extra = BTreeMap::new();
        if let Some(path) = &plugin.scalprum_config {
            extra.extend(self.links.at(snapshot, path.as_str().as_bytes(), |_| true));
        }
        if plugin.export == ExportMode::Prebuilt {
            let built = join(plugin.path.as_str(), "dist-dynamic");
            extra.extend(self.links.at(snapshot, built.as_bytes(), |_| true));
        }
        for target in linked {
            extra.extend(self.links.at(snapshot, target, |path| !self.is_ignored(path)));
        }
        extra
    }
}

/// `folder/name`, where the root is the empty folder.
pub(super) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// Whether one of the folders around `folder`, but below its first `start` bytes, is one of `left`.
fn is_in_any(folder: &[u8], start: usize, left: &HashSet<&str>) -> bool {
    let ends = memchr::memchr_iter(b'/', folder).filter(|end| *end > start);
    ends.filter_map(|end| std::str::from_utf8(&folder[..end]).ok()).any(|folder| left.contains(folder))
}

/// The folder that a file is in: empty, or with `/` at its end.
fn folder_of(path: &[u8]) -> &[u8] {
    &path[..memchr::memrchr(b'/', path).map_or(0, |slash| slash + 1)]
}

fn is_below(rest: &[u8]) -> bool {
    rest.starts_with(b"/")
}

/// `./` before a glob says nothing, and with `/` behind it, it means all below a folder.
pub(super) fn glob_set<'g>(globs: impl Iterator<Item = &'g String>) -> GlobSet {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        let glob = glob.trim_start_matches("./");
        let below = if glob.ends_with('/') { "**" } else { "" };
        if let Ok(glob) = GlobBuilder::new(&format!("{glob}{below}")).literal_separator(true).build() {
            set.add(glob);
        }
    }
    set.build().unwrap_or_default()
}
