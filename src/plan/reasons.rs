//! The words for what changed.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::Reason;
use super::inputs::Differences;
use super::snapshot::File;
use crate::hidden;
use crate::workspace::LockChange;

impl Reason {
    /// A reason without anything behind it.
    pub(super) fn new(kind: &str, text: impl Into<String>) -> Self {
        Self { kind: kind.to_owned(), text: text.into(), detail: Vec::new() }
    }
}

/// How a path is shown: as it is, unless it would break the line or is not UTF-8; then in quotes, escaped.
pub(super) fn shown(path: &[u8]) -> String {
    match std::str::from_utf8(path) {
        Ok(text) if !text.contains(hidden::is_hidden) => text.to_owned(),
        _ => format!("\"{}\"", path.escape_ascii()),
    }
}

/// What became of some files, in words; paths are relative to `folder`.
pub(super) fn file_changes(differences: &Differences<'_>, folder: &str) -> Vec<String> {
    let words = differences.iter().map(|(path, change)| {
        // A submodule around the package is kept under its own path.
        let path = match path.strip_prefix(b"/") {
            Some(path) => shown(path),
            None if folder.is_empty() => shown(path),
            None => shown(&[folder.as_bytes(), b"/", path].concat()),
        };
        match change {
            (None, _) => format!("{path} added"),
            (_, None) => format!("{path} removed"),
            (Some(_), Some(_)) => format!("{path} changed"),
        }
    });
    words.collect()
}

/// What is different between two lists of files.
pub(super) fn differences<'f>(
    before: &BTreeMap<&'f [u8], File<'f>>,
    after: &BTreeMap<&'f [u8], File<'f>>,
) -> Differences<'f> {
    let paths: BTreeSet<&&[u8]> = before.keys().chain(after.keys()).collect();
    let pairs =
        paths.into_iter().map(|path| (Cow::Borrowed(*path), (before.get(path).copied(), after.get(path).copied())));
    pairs.filter(|(_, (before, after))| before != after).collect()
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
    let text = hidden::shown(&text).into_owned();
    let way: Vec<&str> = change.through.iter().map(String::as_str).chain([name.as_str()]).collect();
    let detail =
        if change.through.is_empty() { Vec::new() } else { vec![hidden::shown(&way.join(" → ")).into_owned()] };
    Reason { kind: "lock-file".to_owned(), text, detail }
}
