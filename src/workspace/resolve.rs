//! From what a `package.json` writes (a name and a range) to the entries of the lock file that stand for it.

use std::collections::HashMap;

use super::lockfile::{Entries, name_of};

/// The entries of a lock file, by everything that they are looked up by.
#[derive(Debug)]
pub(super) struct Index {
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

impl Index {
    pub(super) fn new<'a>(entries: &Entries, resolutions: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut by_descriptor = HashMap::with_capacity(entries.list.len() * 2);
        let (mut patched, mut by_name) = (HashMap::new(), HashMap::<String, Vec<u32>>::new());
        for (number, entry) in (0u32..).zip(&entries.list) {
            let name = entries.text(entry.name);
            match by_name.get_mut(name) {
                Some(numbers) => numbers.push(number),
                None => drop(by_name.insert(name.to_owned(), vec![number])),
            }
            for descriptor in entries.descriptors(entry) {
                // yarn binds some descriptors to where they stand: `…::locator=…`. Dependants write them without.
                if let Some((unbound, _)) = descriptor.split_once("::") {
                    by_descriptor.entry(unbound.to_owned()).or_insert(number);
                }
                if let Some((_, patch)) = descriptor.split_once("@patch:") {
                    let source = patch.split('#').next().unwrap_or(patch).replace("%3A", ":");
                    patched.insert(source, number);
                }
                by_descriptor.insert(descriptor.to_owned(), number);
            }
        }
        Self { by_descriptor, patched, by_name, resolutions: resolutions.filter_map(Resolution::parse).collect() }
    }

    /// What a dependency on `name` with `range` is locked to. A dependency that is not locked by its own text (yarn
    /// rewrites ranges by `resolutions`, catalogs and plugins) counts as one on all locked packages of that name:
    /// better one too many than a change that is not seen.
    pub(super) fn find(&self, parent: Option<&str>, name: &str, range: &str) -> Vec<u32> {
        let resolution = self.resolutions.iter().find(|resolution| resolution.is_for(parent, name, range));
        if let Some(found) = resolution.map(|resolution| self.locked(name, &resolution.to)).filter(|it| !it.is_empty())
        {
            return found;
        }
        let own = self.locked(name, range);
        if own.is_empty() { self.by_name.get(name).cloned().unwrap_or_default() } else { own }
    }

    fn locked(&self, name: &str, range: &str) -> Vec<u32> {
        let mut text = String::with_capacity(name.len() + range.len() + "@npm:".len());
        text.extend([name, "@", range]);
        let exact = (self.by_descriptor.get(&text), self.patched.get(&text));
        text.truncate(name.len());
        text.extend(["@npm:", range]);
        let plain = exact.0.or_else(|| self.by_descriptor.get(&text));
        // yarn berry patches some packages by itself: dependants ask for `resolve@npm:^1` and get the patched one.
        let patched = exact.1.or_else(|| self.patched.get(&text));
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
