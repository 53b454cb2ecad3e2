//! What is different between two states of a lock file, for what one package gets by it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hashbrown::HashMap;

use super::{Direct, Lockfile};
use crate::workspace::Closure;

/// Changes of a lock file that are told one by one.
pub const MOST_CHANGES: usize = 50;

/// What one lock file has in common with another, its base.
#[derive(Clone, Debug)]
pub struct Again {
    /// For each entry of the base, the same entry here.
    of_base: Vec<Option<u32>>,
    /// The entries that are not in the base, or do not depend on the same there.
    different: Closure,
    /// Whether the same is added by yarn itself.
    has_same_added: bool,
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
    /// Finds the entries of `base` again.
    #[must_use]
    pub fn again(&self, base: &Self) -> Again {
        let ours: HashMap<&[u8; 32], u32> = self.digests.iter().zip(0u32..).collect();
        let of_base: Vec<Option<u32>> = base.digests.iter().map(|digest| ours.get(digest).copied()).collect();
        let mut same = Closure::default();
        for (theirs, ours) in (0u32..).zip(&of_base) {
            if let Some(ours) = ours {
                let there = base.edges(theirs).iter().map(|entry| of_base[*entry as usize]);
                if there.eq(self.edges(*ours).iter().copied().map(Some)) {
                    same.add(*ours);
                }
            }
        }
        let mut different = Closure::default();
        for entry in (0u32..).take(self.entries.list.len()).filter(|entry| !same.has(*entry)) {
            different.add(entry);
        }
        let added = base.added.iter().map(|entry| of_base[*entry as usize]);
        let has_same_added = added.eq(self.added.iter().copied().map(Some));
        Again { of_base, different, has_same_added }
    }

    /// What is different between a closure of `base` and one of this lock file, by name; each comes with the direct
    /// dependencies that lead to it, and `again` is that of the two. Of more than [`MOST_CHANGES`], so many and one.
    #[must_use]
    pub fn changes_since(
        &self,
        (direct, closure): (&Direct, &Closure),
        base: &Self,
        (base_direct, base_closure): (&Direct, &Closure),
        again: &Again,
    ) -> Vec<LockChange> {
        let mut gone = Vec::new();
        let mut kept = Closure::default();
        for entry in base_closure.members() {
            match again.of_base[entry as usize].filter(|ours| closure.has(*ours)) {
                Some(ours) => drop(kept.add(ours)),
                None => gone.push(entry),
            }
        }
        // For each name, the entries before and after that are not in both.
        let mut different: BTreeMap<&str, (Vec<u32>, Vec<u32>)> = BTreeMap::new();
        for entry in gone {
            different.entry(base.name(entry)).or_default().0.push(entry);
        }
        for entry in closure.members().filter(|entry| !kept.has(*entry)) {
            different.entry(self.name(entry)).or_default().1.push(entry);
        }
        if different.is_empty() {
            return self.rewired(direct, base, (base_direct, base_closure), again);
        }
        // A yarn that writes other checksums changes all there is, for every package that has it.
        let different: BTreeMap<_, _> = different.into_iter().take(MOST_CHANGES + 1).collect();
        let of_new = different.values().filter_map(|(_, new)| new.first().copied()).collect();
        let of_old = different.values().filter(|(_, new)| new.is_empty()).filter_map(|(old, _)| old.first().copied());
        let (ways, base_ways) = (self.ways(direct, of_new), base.ways(base_direct, of_old.collect()));
        let changes = different.into_iter().map(|(name, (old, new))| LockChange {
            through: match (new.first(), old.first()) {
                (Some(entry), _) => self.way_to(&ways, *entry),
                (None, Some(entry)) => base.way_to(&base_ways, *entry),
                (None, None) => Vec::new(),
            },
            before: base.versions(&old),
            after: self.versions(&new),
            name: name.to_owned(),
        });
        changes.collect()
    }

    /// As [`Lockfile::changes_since`], where the closures have the same members: who gets another one of them.
    fn rewired(
        &self,
        direct: &Direct,
        base: &Self,
        (base_direct, base_closure): (&Direct, &Closure),
        again: &Again,
    ) -> Vec<LockChange> {
        let of_base = |entries: &[u32]| -> Vec<u32> {
            entries.iter().filter_map(|entry| again.of_base[*entry as usize]).collect()
        };
        let mut pairs = vec![(None, of_base(&base_direct.0), direct.0.as_slice())];
        for theirs in base_closure.members() {
            let ours = again.of_base[theirs as usize].filter(|ours| again.different.has(*ours));
            pairs.extend(ours.map(|ours| (Some(ours), of_base(base.edges(theirs)), self.edges(ours))));
        }
        let ways = self.ways(direct, pairs.iter().filter_map(|(dependant, ..)| *dependant).collect());
        let mut changes = Vec::new();
        for (dependant, mut before, after) in pairs {
            let mut after = after.to_vec();
            // Several names may stand for one package: what is left of both is what became another.
            before.retain(|entry| match after.iter().position(|other| other == entry) {
                Some(at) => {
                    after.swap_remove(at);
                    false
                }
                None => true,
            });
            let mut by_name: BTreeMap<&str, (Vec<u32>, Vec<u32>)> = BTreeMap::new();
            before.iter().for_each(|entry| by_name.entry(self.name(*entry)).or_default().0.push(*entry));
            after.iter().for_each(|entry| by_name.entry(self.name(*entry)).or_default().1.push(*entry));
            for (name, (before, after)) in by_name {
                let through = dependant.into_iter().flat_map(|dependant| {
                    self.way_to(&ways, dependant).into_iter().chain([self.name(dependant).to_owned()])
                });
                let (before, after) = (self.versions(&before), self.versions(&after));
                changes.push(LockChange { name: name.to_owned(), before, after, through: through.collect() });
            }
        }
        changes.truncate(MOST_CHANGES + 1);
        changes
    }

    fn versions(&self, entries: &[u32]) -> Vec<String> {
        let version = |entry: &u32| self.entries.text(self.entries.list[*entry as usize].version).to_owned();
        let mut versions: Vec<String> = entries.iter().map(version).collect();
        versions.sort_unstable();
        versions.dedup();
        versions
    }

    /// For each entry on the ways to `wanted`, the one that led to it; a direct dependency leads to itself.
    fn ways(&self, direct: &Direct, mut wanted: BTreeSet<u32>) -> Vec<Option<u32>> {
        let mut from = vec![None; self.entries.list.len()];
        let mut next: VecDeque<(u32, u32)> = direct.0.iter().chain(&self.added).map(|entry| (*entry, *entry)).collect();
        // Breadth first: the way that is remembered is a shortest one.
        while let Some((entry, by)) = next.pop_front().filter(|_| !wanted.is_empty()) {
            if !self.in_workspace[entry as usize] && from[entry as usize].is_none() {
                from[entry as usize] = Some(by);
                wanted.remove(&entry);
                next.extend(self.edges(entry).iter().map(|to| (*to, entry)));
            }
        }
        from
    }

    fn way_to(&self, ways: &[Option<u32>], entry: u32) -> Vec<String> {
        let from = |entry: u32| ways[entry as usize].filter(|by| *by != entry);
        let mut way: Vec<String> =
            std::iter::successors(from(entry), |entry| from(*entry)).map(|entry| self.name(entry).to_owned()).collect();
        way.reverse();
        way
    }
}

impl Again {
    /// Whether direct dependencies, and the closure that they lead to, are the same in the base as they are here.
    #[must_use]
    pub fn is_same(&self, (direct, closure): (&Direct, &Closure), base: &Direct) -> bool {
        let base = base.0.iter().map(|entry| self.of_base[*entry as usize]);
        self.has_same_added && !closure.meets(&self.different) && base.eq(direct.0.iter().copied().map(Some))
    }
}
