//! What a package gets from outside its workspace: the locked packages that its dependencies lead to, transitively.
//! A `yarn.lock` and the names and ranges of a package come in; what goes out is a closure that can be hashed, and
//! compared with the closure of another state of the lock file.

use std::collections::{BTreeMap, HashMap, VecDeque};

use sha2::{Digest as _, Sha256};

use super::lockfile::{self, Entry, LockfileError};
use super::resolve::Index;
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
    /// For each entry, whether it is a package of the workspace itself.
    in_workspace: Vec<bool>,
    /// For each entry, the patch file that it is made with, if one of the repository.
    patches: Vec<Option<String>>,
    /// For each entry, the entries that it depends on.
    edges: Vec<Vec<u32>>,
    /// For each entry, the first dependency that is not locked.
    missing: Vec<Option<String>>,
    index: Index,
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

/// What the dependencies of one package are locked to.
#[derive(Clone, Debug, Default)]
pub struct Direct(Vec<u32>);

/// For each entry of one lock file, the same entry of another.
#[derive(Clone, Debug)]
pub struct Again(Vec<Option<u32>>);

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
        let in_workspace = entries.iter().map(|entry| entry.resolution.contains("@workspace:")).collect();
        let patches = entries.iter().map(|entry| patch_file(&entry.resolution)).collect();
        Ok(Self { path: path.to_owned(), entries, digests, in_workspace, patches, edges, missing, index })
    }

    /// What `roots` are locked to.
    ///
    /// # Errors
    /// When the lock file lacks one of them. See [`Lockfile::direct_of_known`].
    pub fn direct(&self, roots: &[Root<'_>]) -> Result<Direct, LockfileError> {
        let mut direct = Vec::new();
        for root in roots {
            let found = self.index.find(Some(root.dependant), root.name, root.range);
            if found.is_empty() && !is_local(root.range) {
                return Err(self.incomplete(format!("{}@{}", root.name, root.range), root.dependant));
            }
            direct.extend(found);
        }
        Ok(Direct(direct))
    }

    /// As [`Lockfile::direct`], but what the lock file lacks is left out.
    #[must_use]
    pub fn direct_of_known(&self, roots: &[Root<'_>]) -> Direct {
        Direct(roots.iter().flat_map(|root| self.index.find(Some(root.dependant), root.name, root.range)).collect())
    }

    /// What the direct dependencies of some packages lead to.
    ///
    /// # Errors
    /// When the lock file lacks a package on the way. See [`Lockfile::closure_of_known`].
    pub fn closure<'a>(&self, direct: impl IntoIterator<Item = &'a Direct>) -> Result<Closure, LockfileError> {
        let closure = self.closure_of_known(direct);
        match closure.members.iter().find_map(|(entry, _)| Some((entry, self.missing[*entry as usize].clone()?))) {
            Some((entry, descriptor)) => Err(self.incomplete(descriptor, &self.entries[*entry as usize].name)),
            None => Ok(closure),
        }
    }

    /// As [`Lockfile::closure`], but what the lock file lacks is left out.
    #[must_use]
    pub fn closure_of_known<'a>(&self, direct: impl IntoIterator<Item = &'a Direct>) -> Closure {
        // For each entry, the one that led to it; a direct dependency leads to itself.
        let mut from: Vec<Option<u32>> = vec![None; self.entries.len()];
        let mut next = VecDeque::new();
        let mut visit = |entry: u32, by: u32, next: &mut VecDeque<u32>| {
            let place = &mut from[entry as usize];
            if place.is_none() && !self.in_workspace[entry as usize] {
                *place = Some(by);
                next.push_back(entry);
            }
        };
        for entry in direct.into_iter().flat_map(|direct| &direct.0) {
            visit(*entry, *entry, &mut next);
        }
        // Breadth first: the way that is remembered is a shortest one.
        while let Some(entry) = next.pop_front() {
            for to in &self.edges[entry as usize] {
                visit(*to, entry, &mut next);
            }
        }
        let members = (0u32..).zip(from).filter_map(|(entry, by)| Some((entry, by?)));
        Closure { members: members.map(|(entry, by)| (entry, (by != entry).then_some(by))).collect() }
    }

    fn incomplete(&self, descriptor: String, dependant: &str) -> LockfileError {
        LockfileError::Incomplete { path: self.path.clone(), descriptor, dependant: dependant.to_owned() }
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
        closure.members.iter().filter_map(|(entry, _)| self.patches[*entry as usize].as_deref())
    }

    /// Finds the entries of `base` again.
    #[must_use]
    pub fn again(&self, base: &Self) -> Again {
        let ours: HashMap<&[u8; 32], u32> = self.digests.iter().zip(0u32..).collect();
        Again(base.digests.iter().map(|digest| ours.get(digest).copied()).collect())
    }

    /// What is different between a closure of `base` and one of this lock file, by name; `again` is that of the two.
    #[must_use]
    pub fn changes_since(
        &self,
        closure: &Closure,
        base: &Self,
        base_closure: &Closure,
        again: &Again,
    ) -> Vec<LockChange> {
        let mut gone = Vec::new();
        let mut kept = vec![false; self.entries.len()];
        for (entry, _) in &base_closure.members {
            match again.0[*entry as usize].filter(|ours| closure.position(*ours).is_some()) {
                Some(ours) => kept[ours as usize] = true,
                None => gone.push(*entry),
            }
        }
        // For each name, the entries before and after that are not in both.
        let mut different: BTreeMap<&str, (Vec<u32>, Vec<u32>)> = BTreeMap::new();
        for entry in gone {
            different.entry(&base.entries[entry as usize].name).or_default().0.push(entry);
        }
        for (entry, _) in closure.members.iter().filter(|(entry, _)| !kept[*entry as usize]) {
            different.entry(&self.entries[*entry as usize].name).or_default().1.push(*entry);
        }
        let changes = different.into_iter().map(|(name, (old, new))| LockChange {
            through: new.first().map_or_else(
                || old.first().map(|entry| base.way_to(base_closure, *entry)).unwrap_or_default(),
                |entry| self.way_to(closure, *entry),
            ),
            before: base.versions(&old),
            after: self.versions(&new),
            name: name.to_owned(),
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
            let at = closure.position(entry)?;
            closure.members[at].1
        };
        let mut way: Vec<String> = std::iter::successors(from(entry), |entry| from(*entry))
            .map(|entry| self.entries[entry as usize].name.clone())
            .collect();
        way.reverse();
        way
    }
}

impl Closure {
    fn position(&self, entry: u32) -> Option<usize> {
        self.members.binary_search_by_key(&entry, |(member, _)| *member).ok()
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

/// The patch file in a resolution such as `is-odd@patch:is-odd@npm%3A3.0.1#~/.yarn/patches/is-odd.patch::version=…`.
fn patch_file(resolution: &str) -> Option<String> {
    let (_, patch) = resolution.split_once("@patch:")?.1.split_once('#')?;
    // `optional!builtin<compat/fsevents>` is a patch that yarn brings along.
    let path = patch.split("::").next()?.rsplit('!').next()?;
    let path = path.strip_prefix("~/").or_else(|| path.strip_prefix("./")).unwrap_or(path);
    (!path.starts_with("builtin<")).then(|| path.to_owned())
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
