//! What a package gets from outside its workspace: the locked packages that its dependencies lead to, transitively.
//! A `yarn.lock` and the names and ranges of a package come in; what goes out is a closure that can be hashed, and
//! compared with the closure of another state of the lock file.

use std::collections::{BTreeMap, HashMap, VecDeque};

use sha2::{Digest as _, Sha256};

use super::lockfile::{self, Entry, LockfileError, name_of};
use super::{Package, Workspace};

/// Development dependencies that make what is shipped: `backstage-cli package build` and `tsc` write `dist`. All others
/// (test libraries, linters) leave no trace in a plugin.
const BUILD_TOOLS: [&str; 2] = ["@backstage/cli", "typescript"];

/// A `yarn.lock`, ready to be asked.
#[derive(Debug)]
pub struct Lockfile {
    path: String,
    /// Sorted by resolution.
    entries: Vec<Entry>,
    digests: Vec<[u8; 32]>,
    /// For each entry, the entries that it depends on.
    edges: Vec<Vec<u32>>,
    /// For each entry, the first dependency that is not locked.
    missing: Vec<Option<String>>,
    index: Index,
}

#[derive(Debug)]
struct Index {
    by_descriptor: HashMap<String, u32>,
    /// By the descriptor that a patch is put on.
    patched: HashMap<String, u32>,
    by_name: HashMap<String, Vec<u32>>,
    resolutions: Vec<Resolution>,
}

/// One line of `resolutions` in the `package.json` of the workspace root: `parent/name@range` → `to`.
#[derive(Debug)]
struct Resolution {
    parent: Option<String>,
    name: String,
    range: Option<String>,
    to: String,
}

/// A dependency on a package from outside the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root<'a> {
    /// The name of the workspace's package that has it.
    pub dependant: &'a str,
    /// The name of what it depends on.
    pub name: &'a str,
    /// The range, as `package.json` has it.
    pub range: &'a str,
}

/// One locked package, as another asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locked<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// What it depends on, by name and range.
    pub dependencies: &'a [(String, String)],
}

/// The locked packages that some dependencies lead to.
#[derive(Debug, Default)]
pub struct Closure {
    /// Indexes of entries, ascending, each with the entry that led to it first.
    members: Vec<(u32, Option<u32>)>,
}

/// A locked package that is different in two closures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockChange {
    /// The package's name.
    pub name: String,
    /// Its versions before; none where it was not there.
    pub before: Vec<String>,
    /// Its versions after; none where it is gone.
    pub after: Vec<String>,
    /// How the closure comes to it: names from a direct dependency to the package that depends on it; empty where it
    /// is a direct dependency itself.
    pub through: Vec<String>,
}

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
        let mut entries = lockfile::parse(text, path)?;
        entries.sort_unstable_by(|a, b| a.resolution.cmp(&b.resolution));
        let index = Index::new(&entries, resolutions);
        let (mut edges, mut missing) = (Vec::with_capacity(entries.len()), Vec::with_capacity(entries.len()));
        for entry in &entries {
            let (mut targets, mut absent) = (Vec::new(), None);
            for (name, range) in &entry.dependencies {
                let found = index.find(Some(&entry.name), name, range);
                if found.is_empty() && !is_local(range) && absent.is_none() {
                    absent = Some(format!("{name}@{range}"));
                }
                targets.extend(found);
            }
            edges.push(targets);
            missing.push(absent);
        }
        let digests = entries.iter().map(digest).collect();
        Ok(Self { path: path.to_owned(), entries, digests, edges, missing, index })
    }

    /// What `roots` lead to.
    ///
    /// # Errors
    /// When the lock file lacks a package on the way. See [`Lockfile::closure_of_known`].
    pub fn closure(&self, roots: &[Root<'_>]) -> Result<Closure, LockfileError> {
        let incomplete = |descriptor: String, dependant: &str| LockfileError::Incomplete {
            path: self.path.clone(),
            descriptor,
            dependant: dependant.to_owned(),
        };
        let unknown = |root: &&Root<'_>| {
            !is_local(root.range) && self.index.find(Some(root.dependant), root.name, root.range).is_empty()
        };
        if let Some(root) = roots.iter().find(unknown) {
            return Err(incomplete(format!("{}@{}", root.name, root.range), root.dependant));
        }
        let closure = self.closure_of_known(roots);
        for (entry, _) in &closure.members {
            if let Some(descriptor) = &self.missing[*entry as usize] {
                return Err(incomplete(descriptor.clone(), &self.entries[*entry as usize].name));
            }
        }
        Ok(closure)
    }

    /// As [`Lockfile::closure`], but what the lock file lacks is left out.
    #[must_use]
    pub fn closure_of_known(&self, roots: &[Root<'_>]) -> Closure {
        let mut seen = vec![false; self.entries.len()];
        let mut members = Vec::new();
        let mut next: VecDeque<(u32, Option<u32>)> = VecDeque::new();
        for root in roots {
            let found = self.index.find(Some(root.dependant), root.name, root.range);
            next.extend(found.into_iter().map(|entry| (entry, None)));
        }
        // Breadth first: the way that is remembered is a shortest one.
        while let Some((entry, from)) = next.pop_front() {
            let at = entry as usize;
            if std::mem::replace(&mut seen[at], true) || self.entries[at].resolution.contains("@workspace:") {
                continue;
            }
            members.push((entry, from));
            next.extend(self.edges[at].iter().filter(|target| !seen[**target as usize]).map(|&to| (to, Some(entry))));
        }
        members.sort_unstable();
        Closure { members }
    }

    /// What a dependency is locked to; packages of the workspace are left out. Where it cannot be told which of several
    /// it is, all of them.
    pub fn locked(&self, root: Root<'_>) -> impl Iterator<Item = Locked<'_>> {
        let found = self.index.find(Some(root.dependant), root.name, root.range);
        found.into_iter().map(|entry| &self.entries[entry as usize]).filter_map(|entry| {
            let Entry { name, version, resolution, dependencies, .. } = entry;
            (!resolution.contains("@workspace:")).then_some(Locked { name, version, dependencies })
        })
    }

    /// The sha256 of a closure: of the resolution and checksum of each member.
    #[must_use]
    pub fn digest(&self, closure: &Closure) -> [u8; 32] {
        let mut hash = Sha256::new();
        for (entry, _) in &closure.members {
            hash.update(self.digests[*entry as usize]);
        }
        hash.finalize().into()
    }

    /// The resolutions of a closure's members, sorted.
    pub fn resolutions<'a>(&'a self, closure: &'a Closure) -> impl Iterator<Item = &'a str> {
        closure.members.iter().map(|(entry, _)| self.entries[*entry as usize].resolution.as_str())
    }

    /// The patch files that members of a closure are made with, relative to the workspace root, as they are written.
    pub fn patches<'a>(&'a self, closure: &'a Closure) -> impl Iterator<Item = &'a str> {
        self.resolutions(closure).filter_map(|resolution| {
            let (_, patch) = resolution.split_once("@patch:")?.1.split_once('#')?;
            // `optional!builtin<compat/fsevents>` is a patch that yarn brings along.
            let path = patch.split("::").next()?.rsplit('!').next()?;
            let path = path.strip_prefix("~/").or_else(|| path.strip_prefix("./")).unwrap_or(path);
            (!path.starts_with("builtin<")).then_some(path)
        })
    }

    /// What is different between a closure of `base` and one of this lock file, by name.
    #[must_use]
    pub fn changes_since(&self, closure: &Closure, base: &Self, base_closure: &Closure) -> Vec<LockChange> {
        /// For each name, the entries before and after that are not in both.
        type Different = BTreeMap<String, (Vec<u32>, Vec<u32>)>;
        let known = |lock: &Self, closure: &Closure| -> HashMap<[u8; 32], u32> {
            closure.members.iter().map(|(entry, _)| (lock.digests[*entry as usize], *entry)).collect()
        };
        let (before, after) = (known(base, base_closure), known(self, closure));
        let mut different: Different = BTreeMap::new();
        for (_, &entry) in before.iter().filter(|(digest, _)| !after.contains_key(*digest)) {
            different.entry(base.entries[entry as usize].name.clone()).or_default().0.push(entry);
        }
        for (_, &entry) in after.iter().filter(|(digest, _)| !before.contains_key(*digest)) {
            different.entry(self.entries[entry as usize].name.clone()).or_default().1.push(entry);
        }
        let changes = different.into_iter().map(|(name, (old, new))| LockChange {
            through: new.iter().min().map_or_else(
                || old.iter().min().map(|entry| base.way_to(base_closure, *entry)).unwrap_or_default(),
                |entry| self.way_to(closure, *entry),
            ),
            before: base.versions(&old),
            after: self.versions(&new),
            name,
        });
        changes.collect()
    }

    fn versions(&self, entries: &[u32]) -> Vec<String> {
        let mut versions: Vec<String> =
            entries.iter().map(|entry| self.entries[*entry as usize].version.clone()).collect();
        versions.sort_unstable();
        versions.dedup();
        versions
    }

    fn way_to(&self, closure: &Closure, entry: u32) -> Vec<String> {
        let from = |entry: u32| {
            let at = closure.members.binary_search_by_key(&entry, |(member, _)| *member).ok()?;
            closure.members[at].1
        };
        let mut way: Vec<String> = std::iter::successors(from(entry), |entry| from(*entry))
            .map(|entry| self.entries[entry as usize].name.clone())
            .collect();
        way.reverse();
        way
    }
}

impl Index {
    fn new<'a>(entries: &[Entry], resolutions: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let (mut by_descriptor, mut patched, mut by_name) = (HashMap::new(), HashMap::new(), HashMap::new());
        for (number, entry) in (0u32..).zip(entries) {
            by_name.entry(entry.name.clone()).or_insert_with(Vec::new).push(number);
            for descriptor in &entry.descriptors {
                // yarn binds some descriptors to where they stand: `…::locator=…`. Dependants write them without.
                if let Some((unbound, _)) = descriptor.split_once("::") {
                    by_descriptor.entry(unbound.to_owned()).or_insert(number);
                }
                if let Some((_, patch)) = descriptor.split_once("@patch:") {
                    let source = patch.split('#').next().unwrap_or(patch).replace("%3A", ":");
                    patched.insert(source, number);
                }
                by_descriptor.insert(descriptor.clone(), number);
            }
        }
        Self { by_descriptor, patched, by_name, resolutions: resolutions.filter_map(Resolution::parse).collect() }
    }

    /// What a dependency on `name` with `range` is locked to. A dependency that is not locked by its own text (yarn
    /// rewrites ranges by `resolutions`, catalogs and plugins) counts as one on all locked packages of that name:
    /// better one too many than a change that is not seen.
    fn find(&self, parent: Option<&str>, name: &str, range: &str) -> Vec<u32> {
        let resolution = self.resolutions.iter().find(|resolution| resolution.is_for(parent, name, range));
        if let Some(found) = resolution.map(|resolution| self.locked(name, &resolution.to)).filter(|it| !it.is_empty())
        {
            return found;
        }
        let own = self.locked(name, range);
        if own.is_empty() { self.by_name.get(name).cloned().unwrap_or_default() } else { own }
    }

    fn locked(&self, name: &str, range: &str) -> Vec<u32> {
        let texts = [format!("{name}@{range}"), format!("{name}@npm:{range}")];
        let plain = texts.iter().find_map(|text| self.by_descriptor.get(text));
        // yarn berry patches some packages by itself: dependants ask for `resolve@npm:^1` and get the patched one.
        let patched = texts.iter().find_map(|text| self.patched.get(text));
        plain.into_iter().chain(patched).copied().collect()
    }
}

impl Resolution {
    /// `name`, `name@range`, `parent/name`, `parent@range/name`, `**/name`: of a parent, only the name counts.
    fn parse((pattern, to): (&str, &str)) -> Option<Self> {
        let parts: Vec<&str> = pattern.split('/').collect();
        // A scope and its name are one part, and so is a range with slashes behind the name.
        let mut names: Vec<String> = Vec::new();
        let mut parts = parts.into_iter().peekable();
        while let Some(part) = parts.next() {
            if part.starts_with('@') {
                names.push(format!("{part}/{}", parts.next()?));
            } else {
                names.push(part.to_owned());
            }
        }
        let last = names.pop()?;
        let (name, range) = match name_of(&last) {
            Some(name) => (name, last.get(name.len() + 1..)),
            None => (last.as_str(), None),
        };
        let parent = names.pop().filter(|parent| !parent.contains('*'));
        Some(Self {
            parent: parent.map(|parent| name_of(&parent).unwrap_or(&parent).to_owned()),
            name: name.to_owned(),
            range: range.map(str::to_owned),
            to: to.to_owned(),
        })
    }

    fn is_for(&self, parent: Option<&str>, name: &str, range: &str) -> bool {
        let plain = |range: &str| range.strip_prefix("npm:").unwrap_or(range).to_owned();
        self.name == name
            && self.parent.as_deref().is_none_or(|wanted| Some(wanted) == parent)
            && self.range.as_deref().is_none_or(|wanted| plain(wanted) == plain(range))
    }
}

impl Workspace {
    /// What `package` gets from outside the workspace and what its build therefore depends on: its `dependencies` and
    /// `optionalDependencies`; its `peerDependencies`, where its or the root's `devDependencies` say which version the
    /// build sees; and the tools of `BUILD_TOOLS`.
    #[must_use]
    pub fn roots<'a>(&'a self, package: &'a Package) -> Vec<Root<'a>> {
        let own = &package.manifest;
        let range_of = |wanted: &str| {
            let fields = ["dependencies", "devDependencies"];
            let places = [own, &self.manifest].into_iter().flat_map(|json| fields.map(|field| (json, field)));
            let mut ranges = places.flat_map(|(json, field)| json.ranges(field));
            ranges.find(|(name, _)| *name == wanted)
        };
        let in_workspace = |wanted: &str| {
            let targets = package.depends_on.iter().filter_map(|path| self.packages.get(path));
            targets.into_iter().any(|target| target.manifest.name.as_deref() == Some(wanted))
        };
        let direct = ["dependencies", "optionalDependencies"].into_iter().flat_map(|field| own.ranges(field));
        let peers = own.ranges("peerDependencies").filter_map(|(name, _)| range_of(name));
        let tools = BUILD_TOOLS.into_iter().filter_map(range_of);
        let dependant = own.name.as_deref().unwrap_or_default();
        let mut roots: Vec<Root<'a>> = Vec::new();
        for (name, range) in direct.chain(peers).chain(tools).filter(|(name, _)| !in_workspace(name)) {
            let root = Root { dependant, name, range };
            if !roots.contains(&root) {
                roots.push(root);
            }
        }
        roots
    }
}

/// Ranges that name a folder: yarn 1 does not lock them, and the files there are inputs of their own.
fn is_local(range: &str) -> bool {
    ["workspace:", "link:", "portal:", "file:"].iter().any(|protocol| range.starts_with(protocol))
}

fn digest(entry: &Entry) -> [u8; 32] {
    let mut hash = Sha256::new();
    for field in [&entry.resolution, &entry.version, &entry.checksum] {
        hash.update((field.len() as u64).to_le_bytes());
        hash.update(field);
    }
    hash.finalize().into()
}
