//! From what a `package.json` writes (a name and a range) to the entries of the lock file that stand for it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::ops::Range;

use hashbrown::{DefaultHashBuilder, HashTable, hash_table};
use percent_encoding::percent_decode_str;

use super::lockfile::{Entries, Span, name_of};

/// The entries of a lock file, by everything that they are looked up by.
#[derive(Debug)]
pub(super) struct Index {
    /// The texts themselves stay where they are: there are thousands.
    by_descriptor: HashTable<(Span, u32)>,
    hasher: DefaultHashBuilder,
    /// By the descriptor that a patch is put on.
    patched: HashMap<String, u32>,
    resolutions: Vec<Resolution>,
}

/// One line of `resolutions` in the `package.json` of the workspace root: `parent/name@range` → `to`.
#[derive(Debug)]
struct Resolution {
    /// A name, or a name and a version.
    parent: Option<String>,
    name: String,
    range: Option<String>,
    to: String,
    /// Whether it also depends on what is above the parent, which is not looked at here.
    has_more: bool,
}

impl Index {
    pub(super) fn new<'a>(entries: &Entries, resolutions: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut index = Self {
            by_descriptor: HashTable::with_capacity(entries.list.len() * 2),
            hasher: DefaultHashBuilder::default(),
            patched: HashMap::new(),
            resolutions: resolutions.filter_map(|line| Resolution::parse(line, entries.is_classic)).collect(),
        };
        for (number, entry) in (0u32..).zip(&entries.list) {
            for span in entries.descriptors(entry) {
                let descriptor = entries.text(span);
                // yarn binds some descriptors to where they stand: `…::locator=…`. Dependants write them without.
                if let Some(length) = find_pair(descriptor, ':', ":") {
                    index.insert(entries, span.first(length), number, false);
                }
                index.patched.extend(source_of_patch(descriptor).map(|source| (source.into_owned(), number)));
                index.insert(entries, span, number, true);
            }
        }
        index
    }

    /// Enters a descriptor; one that is there already gives way or stays.
    fn insert(&mut self, entries: &Entries, span: Span, number: u32, gives_way: bool) {
        let (text, hasher) = (entries.text(span), &self.hasher);
        let is_it = |(other, _): &(Span, u32)| entries.text(*other) == text;
        let hash = |(other, _): &(Span, u32)| hasher.hash_one(entries.text(*other));
        match self.by_descriptor.entry(hasher.hash_one(text), is_it, hash) {
            hash_table::Entry::Occupied(mut there) if gives_way => there.get_mut().1 = number,
            hash_table::Entry::Occupied(_) => {}
            hash_table::Entry::Vacant(place) => drop(place.insert((span, number))),
        }
    }

    /// Finds what a dependency on `name` with `range` is locked to; `entries` are those that the index was made from,
    /// and `parent` is the name or the resolution of what has the dependency. A dependency that is not locked by its own text (yarn rewrites ranges by `resolutions` and plugins)
    /// counts as one on all locked packages of that name: better one too many than a change that is not seen.
    pub(super) fn find(&self, entries: &Entries, parent: &str, name: &str, range: &str) -> Found {
        let mut resolutions = self.resolutions.iter().filter(|resolution| resolution.is_for(parent, name, range));
        let resolution = resolutions.next();
        if resolution.into_iter().chain(resolutions).any(|resolution| resolution.has_more) {
            return Found::AllOf(entries.named(name));
        }
        let resolved = resolution.map(|resolution| self.locked(entries, name, &resolution.to)).unwrap_or_default();
        let own = if resolved == [None, None] { self.locked(entries, name, range) } else { resolved };
        if own == [None, None] { Found::AllOf(entries.named(name)) } else { Found::These(own) }
    }

    fn locked(&self, entries: &Entries, name: &str, range: &str) -> [Option<u32>; 2] {
        let mut text = String::with_capacity(name.len() + range.len() + "@npm:".len());
        text.extend([name, "@", range]);
        let exact = (self.descriptor(entries, &text), self.patch_of(&text));
        text.truncate(name.len());
        text.extend(["@npm:", range]);
        let plain = exact.0.or_else(|| self.descriptor(entries, &text));
        // yarn berry patches some packages by itself: dependants ask for `resolve@npm:^1` and get the patched one.
        [plain, exact.1.or_else(|| self.patch_of(&text))]
    }

    /// The entry of what a patched package is made from, by its resolution.
    pub(super) fn source(&self, entries: &Entries, resolution: &str) -> Option<u32> {
        self.descriptor(entries, &source_of_patch(resolution)?)
    }

    fn descriptor(&self, entries: &Entries, text: &str) -> Option<u32> {
        let is_it = |(other, _): &(Span, u32)| entries.text(*other) == text;
        Some(self.by_descriptor.find(self.hasher.hash_one(text), is_it)?.1)
    }

    fn patch_of(&self, text: &str) -> Option<u32> {
        self.patched.get(text).copied()
    }
}

/// What a dependency is locked to, by the numbers of the entries.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// The one that it names, and a patched one.
    These([Option<u32>; 2]),
    /// All packages of the name.
    AllOf(Range<u32>),
}

impl Found {
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        let (these, all) = match self {
            Self::These(these) => (*these, 0..0),
            Self::AllOf(all) => ([None, None], all.clone()),
        };
        these.into_iter().flatten().chain(all)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

/// What a patch is put on: `is-odd@npm:3.0.1` in `is-odd@patch:is-odd@npm%3A3.0.1#~/is-odd.patch`.
pub(super) fn source_of_patch(descriptor: &str) -> Option<Cow<'_, str>> {
    let patch = &descriptor[find_pair(descriptor, '@', "patch:")? + "@patch:".len()..];
    Some(percent_decode_str(patch.split('#').next()?).decode_utf8_lossy())
}

/// Where `first` stands in `text` with `next` right behind it: what searching for both as one text finds, without the
/// preparations that this takes for each of thousands of short texts.
pub(super) fn find_pair(text: &str, first: char, next: &str) -> Option<usize> {
    text.match_indices(first).map(|(at, _)| at).find(|at| text[at + first.len_utf8()..].starts_with(next))
}

impl Resolution {
    /// `name`, `name@range`, `parent/name`, `parent@npm:1.0.0/name`, `**/name`; in yarn 1 also patterns of the whole way,
    /// such as `a/**/name`.
    fn parse((pattern, to): (&str, &str), is_classic: bool) -> Option<Self> {
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
        let parent = names.pop().filter(|parent| parent != "**" || !names.is_empty());
        Some(Self {
            has_more: is_classic && parent.is_some(),
            parent: parent.filter(|parent| !parent.contains('*')),
            name: name.to_owned(),
            range: range.map(str::to_owned),
            to: to.to_owned(),
        })
    }

    fn is_for(&self, parent: &str, name: &str, range: &str) -> bool {
        let plain = |range: &str| range.strip_prefix("npm:").unwrap_or(range).to_owned();
        let is_parent = |wanted: &str| wanted == parent || Some(wanted) == name_of(parent);
        self.name == name
            && self.parent.as_deref().is_none_or(is_parent)
            && self.range.as_deref().is_none_or(|wanted| plain(wanted) == plain(range))
    }
}
