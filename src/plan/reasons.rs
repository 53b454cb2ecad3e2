//! The words for what changed.

use std::collections::BTreeMap;

use super::Reason;
use super::inputs::Sorted;
use super::snapshot::File;
use crate::workspace::LockChange;

/// What happened to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileChange {
    Added,
    Changed,
    Removed,
}

impl Reason {
    /// A reason without anything behind it.
    pub(super) fn new(kind: &str, text: impl Into<String>) -> Self {
        Self { kind: kind.to_owned(), text: text.into(), detail: Vec::new() }
    }
}

/// How a path is shown: as it is, unless it would break the line or is not UTF-8; then in quotes, escaped.
pub(super) fn shown(path: &[u8]) -> String {
    match std::str::from_utf8(path) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => format!("\"{}\"", path.escape_ascii()),
    }
}

/// What is different between two lists of files, both sorted by path, in words.
pub(super) fn file_changes<'f>(
    base: impl IntoIterator<Item = (&'f [u8], &'f File)>,
    head: impl IntoIterator<Item = (&'f [u8], &'f File)>,
    folder: &str,
) -> Vec<String> {
    let base: BTreeMap<&[u8], &File> = base.into_iter().collect();
    let head: BTreeMap<&[u8], &File> = head.into_iter().collect();
    let mut changes: BTreeMap<&[u8], FileChange> = BTreeMap::new();
    for (path, file) in &head {
        match base.get(path) {
            None => changes.insert(path, FileChange::Added),
            Some(before) if before != file => changes.insert(path, FileChange::Changed),
            Some(_) => None,
        };
    }
    changes.extend(base.keys().filter(|path| !head.contains_key(*path)).map(|path| (*path, FileChange::Removed)));
    let words = changes.into_iter().map(|(path, change)| {
        // A submodule around the package is kept under its own path.
        let path = match path.strip_prefix(b"/") {
            Some(path) => shown(path),
            None if folder.is_empty() => shown(path),
            None => shown(&[folder.as_bytes(), b"/", path].concat()),
        };
        match change {
            FileChange::Added => format!("{path} added"),
            FileChange::Changed => format!("{path} changed"),
            FileChange::Removed => format!("{path} removed"),
        }
    });
    words.collect()
}

/// What changed in each package, in words.
pub(super) fn package_changes<'v>(base: &'v Sorted<'v>, head: &'v Sorted<'v>, folders: &[&str]) -> Vec<Vec<String>> {
    let lists = base.packages.iter().zip(&head.packages).zip(folders);
    let words = lists.map(|((base, head), folder)| {
        if base == head {
            return Vec::new();
        }
        let view = |files: &'v [(Vec<u8>, &'v File)]| files.iter().map(|(path, file)| (path.as_slice(), *file));
        file_changes(view(base), view(head), folder)
    });
    words.collect()
}

/// `lodash 4.17.20 → 4.17.21 (through express)`.
pub(super) fn lock_change(change: &LockChange) -> Reason {
    let name = &change.name;
    let what = match (change.before.join(", "), change.after.join(", ")) {
        (before, after) if before.is_empty() => format!("{name} {after} added"),
        (before, after) if after.is_empty() => format!("{name} {before} removed"),
        (before, after) if before == after => format!("{name} {after} has another resolution or checksum"),
        (before, after) => format!("{name} {before} → {after}"),
    };
    let text = match change.through.first() {
        Some(direct) => format!("{what} (through {direct})"),
        None => what,
    };
    let way: Vec<&str> = change.through.iter().map(String::as_str).chain([name.as_str()]).collect();
    let detail = if change.through.is_empty() { Vec::new() } else { vec![way.join(" → ")] };
    Reason { kind: "lock-file".to_owned(), text, detail }
}
