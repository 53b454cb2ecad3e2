//! Rules about the entries of an archive: those of image layers and tgz alike.

use std::collections::{HashMap, HashSet};

use super::contents::{Compression, Contents, EntryKind};
use super::{Findings, Release, Rule};
use crate::package::tgz::MAX_NAME;

/// tar 7.5.22 `maxDecompressionRatio`.
const MAX_RATIO: u64 = 1000;

/// The files that the installer writes into a plugin's folder.
const INSTALLER_FILES: [&str; 2] = ["dynamic-plugin-config.hash", "dynamic-plugin-image.hash"];

/// No installer has a lower limit for a file, in bytes.
const SMALLEST_LIMIT: u64 = 20_000_000;

/// How many findings of one rule are listed one by one.
const LISTED: usize = 5;

/// Rules about the archive as a whole.
pub(super) fn archive(findings: &mut Findings<'_>, contents: &Contents) {
    if let Compression::Other(name) = contents.compression {
        findings.add(Rule::Compression, None, None, format!("the archive is compressed with {name}"));
    }
    if let Some(cause) = &contents.broken {
        findings.add(Rule::Readable, None, None, format!("the archive cannot be read: {cause}"));
    }
    if contents.compression == Compression::Gzip && contents.uncompressed > contents.size.saturating_mul(MAX_RATIO) {
        let ratio = contents.uncompressed / contents.size.max(1);
        let text = format!("the archive unpacks to {ratio} times its size; installers stop at {MAX_RATIO}");
        findings.add(Rule::CompressionRatio, None, None, text);
    }
}

/// Rules about each entry. `is_expected` tells of a path whether its first part is a folder that may be there.
pub(super) fn entries(findings: &mut Findings<'_>, contents: &Contents, is_expected: impl Fn(&str) -> bool) {
    let mut limited = Limited { counts: HashMap::new(), findings };
    let mut seen: HashSet<&str> = HashSet::with_capacity(contents.entries.len());
    let mut folded: HashMap<String, &str> = HashMap::with_capacity(contents.entries.len());
    let folders = folders(contents);
    for entry in &contents.entries {
        let whole = entry.path.as_str();
        let plain = whole.trim_end_matches('/');
        let (top, inner) = plain.split_once('/').unwrap_or((plain, ""));
        let path = if inner.is_empty() { whole } else { inner };
        let mut add = |rule: Rule, text: String| limited.add(rule, Some(top), path, text);
        let is_odd = whole.ends_with('/') && entry.kind != EntryKind::Folder;
        if is_odd || plain.split('/').any(|part| matches!(part, "" | "." | "..")) {
            add(Rule::EntryPath, format!("the entry `{whole}` is not named plainly"));
        } else if plain.contains('\0') || plain.split('/').any(|part| part.len() > MAX_NAME) {
            add(Rule::EntryPath, format!("the entry `{whole}` has a name that no file can have"));
        } else if !is_expected(plain) {
            add(Rule::EntryPath, format!("the entry `{whole}` stands in no plugin's folder"));
        }
        match &entry.kind {
            EntryKind::Link(target) => {
                add(Rule::EntryType, format!("`{path}` is a link to `{target}`, which installers leave out or refuse"));
            }
            EntryKind::Special => {
                add(Rule::EntryType, format!("`{path}` is a device, a pipe, a sparse file or of an unknown type"));
            }
            EntryKind::File | EntryKind::Folder => {}
        }
        if entry.mode & 0o6000 != 0 || entry.kind == EntryKind::File && entry.mode & 0o002 != 0 {
            add(Rule::EntryMode, format!("`{path}` has the mode {:o}", entry.mode));
        }
        if entry.is_lfs_pointer {
            add(Rule::GitLfs, format!("`{path}` is a pointer of Git LFS, not the file that it stands for"));
        }
        if INSTALLER_FILES.contains(&inner) {
            add(Rule::ReservedName, format!("the installer writes `{path}` itself"));
        }
        if entry.kind == EntryKind::File && folders.contains(plain) {
            add(Rule::DuplicateEntry, format!("`{path}` is there as a file and as a folder"));
        } else if !seen.insert(plain) {
            add(Rule::DuplicateEntry, format!("`{path}` is there twice"));
        } else if let Some(other) = folded.insert(plain.to_lowercase(), path) {
            add(Rule::CaseConflict, format!("`{other}` and `{path}` differ in case only"));
        }
        if entry.size > SMALLEST_LIMIT {
            let text = format!("`{path}` has {} bytes, more than the installer takes", entry.size);
            let concerns = |release: Release| entry.size > release.max_entry_size();
            limited.findings.add_for(Rule::EntrySize, Some(top), Some(path), text, concerns);
        }
    }
    limited.finish();
}

/// The folders that entries stand in.
fn folders(contents: &Contents) -> HashSet<&str> {
    let mut folders = HashSet::new();
    for entry in &contents.entries {
        let mut path = entry.path.trim_end_matches('/');
        while let Some((folder, _)) = path.rsplit_once('/').filter(|(folder, _)| folders.insert(*folder)) {
            path = folder;
        }
    }
    folders
}

/// Findings of which only the first few of a rule are listed.
struct Limited<'a, 'b> {
    counts: HashMap<Rule, usize>,
    findings: &'a mut Findings<'b>,
}

impl Limited<'_, '_> {
    fn add(&mut self, rule: Rule, plugin: Option<&str>, path: &str, text: String) {
        let count = self.counts.entry(rule).or_default();
        *count += 1;
        if *count <= LISTED {
            self.findings.add(rule, plugin, Some(path), text);
        }
    }

    fn finish(self) {
        let mut more: Vec<(Rule, usize)> = self.counts.into_iter().filter(|(_, count)| *count > LISTED).collect();
        more.sort_unstable();
        for (rule, count) in more {
            self.findings.add(rule, None, None, format!("{} more entries break this rule", count - LISTED));
        }
    }
}
