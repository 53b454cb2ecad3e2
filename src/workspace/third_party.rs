//! What a package gets from outside its workspace: the locked packages that its dependencies lead to, transitively.
//! A `yarn.lock` and the names and ranges of a package come in; what goes out is a closure that can be hashed, and
//! compared with the closure of another state of the lock file.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use percent_encoding::percent_decode_str;
use sha2::{Digest as _, Sha256};

use super::closure::Closure;
use super::lockfile::{self, Entries, Entry, LockfileError};
use super::resolve::{Index, find_pair, source_of_patch};
use super::{Package, Workspace};

mod changes;

pub use changes::{Again, LockChange, MOST_CHANGES};

/// Development dependencies that make what is shipped: `backstage-cli package build` and `tsc` write `dist`. All others
/// (test libraries, linters) leave no trace in a plugin.
const BUILD_TOOLS: [&str; 2] = ["@backstage/cli", "typescript"];

/// Real lock files have some ten thousand. Where ranges cannot be followed, each may count for all versions of a name,
/// and a hostile file could have as many as the square of its lines.
const MAX_EDGES: usize = 20_000_000;

/// A `yarn.lock`, ready to be asked. Its entries have numbers, in the order of their resolutions.
#[derive(Debug)]
pub struct Lockfile {
    path: String,
    entries: Entries,
    /// The sha256 of each entry's resolution, version and checksum.
    digests: Vec<[u8; 32]>,
    /// For each entry, the sha256 of its digest and those of what it depends on; nobody needs them of a base.
    digests_with_edges: OnceLock<Vec<[u8; 32]>>,
    /// For each entry, whether it is a package of the workspace itself.
    in_workspace: Vec<bool>,
    /// Entries that are none, each with one that is and that it depends on.
    back: Vec<(u32, u32)>,
    /// Entries that nothing in the file leads to: yarn adds dependencies (`packageExtensions`, and those that it brings
    /// along) and does not write who has them. They count for every package.
    added: Vec<u32>,
    /// The patch files of the repository, by the entry that is made with them.
    patches: BTreeMap<u32, Vec<String>>,
    /// What the entries depend on, one after the other.
    edges: Vec<u32>,
    /// For each entry, where its dependencies end in `edges`.
    edges_end: Vec<usize>,
    /// The dependencies that are not locked, name and range, by the entry that has them.
    missing: BTreeMap<u32, Vec<(String, String)>>,
    index: Index,
}

/// A dependency of a package of the workspace, on what the lock file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root<'a> {
    /// The name of the workspace's package that has it.
    pub dependant: &'a str,
    /// The name of what it depends on.
    pub name: &'a str,
    /// The range, as `package.json` or a catalog has it.
    pub range: &'a str,
    /// Whether a package of the workspace fits it: the lock file of yarn 1 has only those that do not.
    pub fits_workspace: bool,
}

impl<'a> Root<'a> {
    /// One that no package of the workspace fits.
    #[must_use]
    pub fn new(dependant: &'a str, name: &'a str, range: &'a str) -> Self {
        Self { dependant, name, range, fits_workspace: false }
    }
}

/// One locked package, as another asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locked<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// What it depends on, by name and range.
    pub dependencies: Vec<(&'a str, &'a str)>,
}

/// What the dependencies of one package are locked to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Direct(Vec<u32>);

impl Lockfile {
    /// Reads a lock file; `path` is how errors name it, `resolutions` are those of the workspace root.
    ///
    /// # Errors
    /// When the text is not a whole lock file of yarn.
    pub fn parse<'a>(
        text: &[u8],
        path: &str,
        resolutions: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, LockfileError> {
        let malformed = |cause| LockfileError::Malformed { path: path.to_owned(), cause };
        let text = std::str::from_utf8(text).map_err(|error| malformed(error.to_string()))?;
        Self::parse_text(&Arc::new(text.to_owned()), path, resolutions)
    }

    /// As [`Lockfile::parse`], which keeps the text.
    pub(crate) fn parse_text<'a>(
        text: &Arc<String>,
        path: &str,
        resolutions: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, LockfileError> {
        let entries = lockfile::parse(text, path)?;
        let index = Index::new(&entries, resolutions);
        let (mut edges, mut edges_end) = (Vec::new(), Vec::with_capacity(entries.list.len()));
        let (mut missing, mut patches) = (BTreeMap::<u32, Vec<_>>::new(), BTreeMap::new());
        for (number, entry) in (0u32..).zip(&entries.list) {
            for (name, range) in entries.dependencies(entry) {
                let found = index.find(&entries, entries.text(entry.resolution), name, range);
                if found.is_empty() && !is_local(range) {
                    missing.entry(number).or_default().push((name.to_owned(), range.to_owned()));
                }
                edges.extend(found.iter());
            }
            if edges.len() > MAX_EDGES {
                let cause = format!("its packages depend on more than {MAX_EDGES} others");
                return Err(LockfileError::Malformed { path: path.to_owned(), cause });
            }
            edges.extend(index.source(&entries, entries.text(entry.resolution)));
            edges_end.push(edges.len());
            let files = patch_files(entries.text(entry.resolution));
            patches.extend((!files.is_empty()).then_some((number, files)));
        }
        let digests = entries.list.iter().map(|entry| digest(&entries, entry)).collect();
        let in_workspace = |entry: &Entry| folder_in_workspace(entries.text(entry.resolution)).is_some();
        let in_workspace = entries.list.iter().map(in_workspace).collect();
        let mut read = Self {
            path: path.to_owned(),
            entries,
            digests,
            digests_with_edges: OnceLock::new(),
            in_workspace,
            back: Vec::new(),
            added: Vec::new(),
            patches,
            edges,
            edges_end,
            missing,
            index,
        };
        let is_home = |entry: &u32| read.in_workspace[*entry as usize];
        let others = (0u32..).take(read.entries.list.len()).filter(|entry| !is_home(entry));
        let back = others.flat_map(|entry| read.edges(entry).iter().map(move |to| (entry, *to)));
        read.back = back.filter(|(_, to)| is_home(to)).collect();
        read.added = read.entries_nothing_leads_to();
        Ok(read)
    }

    fn entries_nothing_leads_to(&self) -> Vec<u32> {
        let all = || (0u32..).take(self.entries.list.len());
        let mut next: Vec<u32> = all().filter(|entry| self.in_workspace[*entry as usize]).collect();
        // The root has an entry, but not in yarn 1, where packages of the workspace have none.
        if !next
            .iter()
            .any(|entry| self.entries.text(self.entries.list[*entry as usize].resolution).ends_with("@workspace:."))
        {
            return Vec::new();
        }
        let mut reached = Closure::default();
        while let Some(entry) = next.pop() {
            if reached.add(entry) {
                next.extend(self.edges(entry));
            }
        }
        all().filter(|entry| !reached.has(*entry)).collect()
    }

    /// Computed once: best before many threads want it.
    pub(crate) fn digests_with_edges(&self) -> &[[u8; 32]] {
        let with_edges = |entry: u32| self.digest_of(std::iter::once(entry).chain(self.edges(entry).iter().copied()));
        self.digests_with_edges.get_or_init(|| (0u32..).take(self.entries.list.len()).map(with_edges).collect())
    }

    fn digest_of(&self, entries: impl Iterator<Item = u32>) -> [u8; 32] {
        let mut hash = Sha256::new();
        entries.for_each(|entry| hash.update(self.digests[entry as usize]));
        hash.finalize().into()
    }

    /// What `roots` are locked to.
    ///
    /// # Errors
    /// When the lock file lacks one of them. See [`Lockfile::direct_of_known`].
    pub fn direct(&self, roots: &[Root<'_>]) -> Result<Direct, LockfileError> {
        let mut direct = Vec::new();
        for root in roots {
            let found = self.index.find(&self.entries, root.dependant, root.name, root.range);
            if found.is_empty() && !root.fits_workspace && !is_local(root.range) {
                return Err(self.incomplete(format!("{}@{}", root.name, root.range), root.dependant));
            }
            direct.extend(found.iter());
        }
        Ok(Direct(direct))
    }

    /// As [`Lockfile::direct`], but what the lock file lacks is left out.
    #[must_use]
    pub fn direct_of_known(&self, roots: &[Root<'_>]) -> Direct {
        let mut direct = Vec::with_capacity(roots.len());
        for root in roots {
            direct.extend(self.index.find(&self.entries, root.dependant, root.name, root.range).iter());
        }
        Direct(direct)
    }

    /// What the direct dependencies of a package lead to; `is_of_workspace` tells by its name whether a package is one of
    /// the workspace.
    ///
    /// # Errors
    /// When the lock file lacks a package on the way. See [`Lockfile::closure_of_known`].
    pub fn closure(&self, direct: &Direct, is_of_workspace: impl Fn(&str) -> bool) -> Result<Closure, LockfileError> {
        let closure = self.closure_of_known(direct);
        let is_fine = |name: &str| self.entries.is_classic && is_of_workspace(name);
        if let Some((entry, name, range)) = self.missing_of(&closure).find(|(_, name, _)| !is_fine(name)) {
            return Err(self.incomplete(format!("{name}@{range}"), self.name(entry)));
        }
        Ok(closure)
    }

    /// The names of what members of a closure depend on and the lock file lacks: that of yarn 1 has no entry where a
    /// package of the workspace is taken.
    pub fn unlocked<'a>(&'a self, closure: &'a Closure) -> impl Iterator<Item = &'a str> {
        self.missing_of(closure).map(|(_, name, _)| name)
    }

    /// What members of a closure depend on and the lock file lacks: the entry, then name and range.
    fn missing_of<'a>(&'a self, closure: &'a Closure) -> impl Iterator<Item = (u32, &'a str, &'a str)> {
        let missing = self.missing.iter().filter(|(entry, _)| closure.has(**entry));
        missing.flat_map(|(entry, all)| all.iter().map(|(name, range)| (*entry, name.as_str(), range.as_str())))
    }

    /// As [`Lockfile::closure`], but what the lock file lacks is left out.
    #[must_use]
    pub fn closure_of_known(&self, direct: &Direct) -> Closure {
        let mut closure = Closure::default();
        let mut next = [direct.0.as_slice(), &self.added].concat();
        while let Some(entry) = next.pop() {
            if !self.in_workspace[entry as usize] && closure.add(entry) {
                next.extend(self.edges(entry));
            }
        }
        closure
    }

    /// The folders, relative to the workspace root, of packages of the workspace that a package comes to by its lock
    /// file: what its direct dependencies are locked to, and what these and their closure depend on.
    pub fn of_workspace<'a>(&'a self, direct: &'a Direct, closure: &'a Closure) -> impl Iterator<Item = &'a str> {
        let direct = direct.0.iter().copied().filter(|entry| self.in_workspace[*entry as usize]);
        let back = self.back.iter().filter(|(entry, _)| closure.has(*entry)).map(|(_, to)| *to);
        direct
            .chain(back)
            .filter_map(|entry| folder_in_workspace(self.entries.text(self.entries.list[entry as usize].resolution)))
    }

    fn edges(&self, entry: u32) -> &[u32] {
        let entry = entry as usize;
        let start = entry.checked_sub(1).map_or(0, |before| self.edges_end[before]);
        &self.edges[start..self.edges_end[entry]]
    }

    fn name(&self, entry: u32) -> &str {
        self.entries.text(self.entries.list[entry as usize].name)
    }

    fn incomplete(&self, descriptor: String, dependant: &str) -> LockfileError {
        LockfileError::Incomplete { path: self.path.clone(), descriptor, dependant: dependant.to_owned() }
    }

    /// What a dependency is locked to; packages of the workspace are left out. Where it cannot be told which of several
    /// it is, all of them.
    pub fn locked(&self, root: Root<'_>) -> impl Iterator<Item = Locked<'_>> {
        let found = self.index.find(&self.entries, root.dependant, root.name, root.range);
        let found: Vec<u32> = found.iter().filter(|entry| !self.in_workspace[*entry as usize]).collect();
        found.into_iter().map(|entry| {
            let entry = &self.entries.list[entry as usize];
            Locked {
                name: self.entries.text(entry.name),
                version: self.entries.text(entry.version),
                dependencies: self.entries.dependencies(entry).collect(),
            }
        })
    }

    /// The sha256 of what direct dependencies lead to: of the resolution and checksum of each, and who depends on whom.
    #[must_use]
    pub fn digest(&self, direct: &Direct, closure: &Closure) -> [u8; 32] {
        let digests = self.digests_with_edges();
        let mut hash = Sha256::new();
        hash.update(self.digest_of(direct.0.iter().copied()));
        // In large pieces: hashing thousands of short ones takes longer.
        let mut piece = [[0; 32]; 128];
        let mut filled = 0;
        for entry in closure.members() {
            piece[filled] = digests[entry as usize];
            filled += 1;
            if filled == piece.len() {
                hash.update(piece.as_flattened());
                filled = 0;
            }
        }
        hash.update(piece[..filled].as_flattened());
        hash.finalize().into()
    }

    /// The resolutions of a closure's members, sorted.
    pub fn resolutions<'a>(&'a self, closure: &'a Closure) -> impl Iterator<Item = &'a str> {
        closure.members().map(|entry| self.entries.text(self.entries.list[entry as usize].resolution))
    }

    /// The patch files that members of a closure are made with, relative to the workspace root, as they are written.
    pub fn patches<'a>(&'a self, closure: &'a Closure) -> impl Iterator<Item = &'a str> {
        let patches = self.patches.iter().filter(|(entry, _)| closure.has(**entry));
        patches.flat_map(|(_, files)| files).map(String::as_str)
    }
}

impl Workspace {
    /// The dependency of a package of the workspace, the root first, on `name`, be it for development.
    #[must_use]
    pub fn root_of<'a>(&'a self, name: &str) -> Option<Root<'a>> {
        let packages = self.packages.values().map(|package| &package.manifest);
        let mut roots = packages.flat_map(|json| {
            let dependant = json.name.as_deref().unwrap_or_default();
            let ranges = ["dependencies", "devDependencies"].into_iter().flat_map(|field| json.ranges(field));
            let range = |name, range| self.catalogs.range(name, range);
            ranges.map(move |(name, text)| Root::new(dependant, name, range(name, text)))
        });
        roots.find(|root| root.name == name)
    }

    /// What the build of `package` depends on: its `dependencies` and `optionalDependencies`; its `peerDependencies`,
    /// where its or the root's `devDependencies` say which version the build sees; and the tools of `BUILD_TOOLS`.
    #[must_use]
    pub fn roots<'a>(&'a self, package: &'a Package) -> Vec<Root<'a>> {
        let own = &package.manifest;
        let range_of = |wanted: &str| {
            let fields = ["dependencies", "devDependencies"];
            let places = [own, &self.manifest].into_iter().flat_map(|json| fields.map(|field| (json, field)));
            let mut ranges = places.flat_map(|(json, field)| json.ranges(field));
            ranges.find(|(name, _)| *name == wanted)
        };
        let fits_workspace = |wanted: &str| {
            let mut targets = package.depends_on.iter().filter_map(|path| self.packages.get(path));
            targets.any(|target| target.manifest.name.as_deref() == Some(wanted))
        };
        let direct = ["dependencies", "optionalDependencies"].into_iter().flat_map(|field| own.ranges(field));
        let peers = own.ranges("peerDependencies").filter_map(|(name, _)| range_of(name));
        let tools = BUILD_TOOLS.into_iter().filter_map(range_of);
        let dependant = own.name.as_deref().unwrap_or_default();
        let mut roots: Vec<Root<'a>> = Vec::new();
        for (name, range) in direct.chain(peers).chain(tools) {
            let (range, fits_workspace) = (self.catalogs.range(name, range), fits_workspace(name));
            let root = Root { fits_workspace, ..Root::new(dependant, name, range) };
            if !roots.contains(&root) {
                roots.push(root);
            }
        }
        roots
    }
}

/// The patch files in a resolution, relative to the workspace root, such as that in
/// `is-odd@patch:is-odd@npm%3A3.0.1#~/.yarn/patches/is-odd.patch::version=…`. Several are joined by `&`; what is patched
/// may be patched itself.
fn patch_files(resolution: &str) -> Vec<String> {
    let mut files = Vec::new();
    let mut next = Some(Cow::Borrowed(resolution));
    while let Some(patched) = next.take() {
        let Some(source) = source_of_patch(&patched) else { break };
        let patch = patched.split_once('#').map_or("", |(_, patch)| patch);
        let (paths, bound) = patch.split_once("::").unwrap_or((patch, ""));
        let locator = bound.split('&').find_map(|binding| binding.strip_prefix("locator="));
        let locator = locator.map(|locator| percent_decode_str(locator).decode_utf8_lossy());
        let dependant = locator.as_deref().and_then(folder_in_workspace).filter(|folder| *folder != ".");
        for path in paths.split('&').filter_map(|path| path.rsplit('!').next()) {
            // `optional!builtin<compat/fsevents>` is a patch that yarn brings along.
            if let Some(path) = path.strip_prefix("~/") {
                files.push(path.to_owned());
            } else if !path.starts_with("builtin<") {
                let path = path.strip_prefix("./").unwrap_or(path);
                files.push(dependant.map_or_else(|| path.to_owned(), |folder| format!("{folder}/{path}")));
            }
        }
        next = Some(Cow::Owned(source.into_owned()));
    }
    files
}

/// The folder of a package of the workspace, relative to the root, by its resolution: `@acme/a@workspace:packages/a`.
fn folder_in_workspace(resolution: &str) -> Option<&str> {
    let at = find_pair(resolution, '@', "workspace:")?;
    Some(&resolution[at + "@workspace:".len()..])
}

/// Ranges that name a folder: yarn 1 does not lock them, and the files there are inputs of their own.
fn is_local(range: &str) -> bool {
    ["workspace:", "link:", "portal:", "file:"].iter().any(|protocol| range.starts_with(protocol))
}

fn digest(entries: &Entries, entry: &Entry) -> [u8; 32] {
    let mut hash = Sha256::new();
    for field in [entry.resolution, entry.version, entry.checksum].map(|span| entries.text(span)) {
        hash.update((field.len() as u64).to_le_bytes());
        hash.update(field);
    }
    hash.finalize().into()
}
