//! The rehearsal: every rule of the programs that install dynamic plugins into RHDH, applied to finished bytes before
//! anybody pushes them. An archive's contents come in; findings go out: what fails in RHDH, what installs there and is
//! broken anyway, and what works but should be known.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

mod bounded;
mod contents;
mod image;
mod index;
mod layer;
mod plugin;
mod release;
mod rule;
mod tgz;

#[cfg(test)]
mod tests;

pub(crate) use bounded::Bounded;
pub(crate) use contents::{Contents, is_folder};
pub(crate) use image::{ImageBytes, dynamic_packages, image};
pub(crate) use index::index;
pub use release::{NotARelease, Release};
pub use rule::{Rule, Severity};
pub(crate) use tgz::tgz;

/// The annotation that RHDH's installers read.
pub(crate) const DYNAMIC_PACKAGES: &str = "io.backstage.dynamic-packages";

/// Something that the rehearsal found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Finding {
    /// The rule, by the name that `allow` takes.
    pub rule: Rule,
    /// What happens where the rule is broken.
    pub severity: Severity,
    /// What it is about: the image, the tgz, or both.
    pub archives: Vec<ArchiveKind>,
    /// The plugin's folder, where one plugin is concerned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub plugin: Option<String>,
    /// The entry of the archive, where one is concerned: its path in the plugin.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub entry: Option<String>,
    /// The RHDH releases concerned.
    pub releases: Vec<Release>,
    /// What is so, in one sentence.
    pub text: String,
    /// What to do about it.
    pub help: String,
    /// The reason that the configuration gives for allowing it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub allowed: Option<String>,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ArchiveKind {
    /// An OCI image.
    Image,
    /// An archive as `npm pack` makes it.
    Tgz,
}

/// A rule that the configuration allows to be broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowance {
    /// The rule.
    pub rule: Rule,
    /// Why.
    pub reason: String,
}

impl Allowance {
    /// Those of a configuration's `allow`: names of rules, each with its reason. Names of no rule are left out.
    #[must_use]
    pub fn of(allow: &BTreeMap<String, String>) -> Vec<Self> {
        let allowance =
            |(name, reason): (&String, &String)| Some(Self { rule: Rule::named(name)?, reason: reason.clone() });
        allow.iter().filter_map(allowance).collect()
    }

    /// Enters in `findings` what is allowed.
    pub(crate) fn apply(allow: &[Self], findings: &mut [Finding]) {
        for finding in findings {
            let allowance = allow.iter().find(|allowance| allowance.rule == finding.rule);
            finding.allowed = allowance.map(|allowance| allowance.reason.clone());
        }
    }
}

impl Finding {
    /// What is found about an archive, or about a plugin in it, in these releases.
    pub(crate) fn new(
        rule: Rule,
        archive: ArchiveKind,
        plugin: Option<&str>,
        releases: &[Release],
        text: String,
    ) -> Self {
        Self {
            rule,
            severity: rule.severity(),
            archives: vec![archive],
            plugin: plugin.map(str::to_owned),
            entry: None,
            releases: releases.to_vec(),
            text,
            help: rule.help().to_owned(),
            allowed: None,
        }
    }

    /// Whether an artifact with this finding must not be published.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        self.severity == Severity::Error && self.allowed.is_none()
    }
}

/// The findings about an artifact's image and about its tgz; what is found in both is told once.
pub(crate) fn merge(image: Vec<Finding>, tgz: Vec<Finding>) -> Vec<Finding> {
    let mut merged = image;
    for finding in tgz {
        let same = |other: &&mut Finding| (other.rule, &other.text) == (finding.rule, &finding.text);
        match merged.iter_mut().find(same) {
            Some(other) => other.archives.extend(finding.archives),
            None => merged.push(finding),
        }
    }
    merged
}

/// Collects findings about one archive for the releases that matter.
struct Findings<'a> {
    archive: ArchiveKind,
    releases: &'a [Release],
    found: Vec<Finding>,
}

impl<'a> Findings<'a> {
    fn new(archive: ArchiveKind, releases: &'a [Release]) -> Self {
        Self { archive, releases, found: Vec::new() }
    }

    /// Adds a finding about a plugin, an entry, both or neither, for the releases that have the rule.
    fn add(&mut self, rule: Rule, plugin: Option<&str>, entry: Option<&str>, text: String) {
        self.add_for(rule, plugin, entry, text, |release| rule.holds_for(release));
    }

    /// As [`Findings::add`], as a warning for the releases that `concerns` tells.
    fn warn_for(&mut self, rule: Rule, text: String, concerns: impl Fn(Release) -> bool) {
        let before = self.found.len();
        self.add_for(rule, None, None, text, concerns);
        for finding in &mut self.found[before..] {
            finding.severity = Severity::Warn;
        }
    }

    /// As [`Findings::add`], for the releases that `concerns` tells.
    fn add_for(
        &mut self,
        rule: Rule,
        plugin: Option<&str>,
        entry: Option<&str>,
        text: String,
        concerns: impl Fn(Release) -> bool,
    ) {
        let releases: Vec<Release> = self.releases.iter().copied().filter(|release| concerns(*release)).collect();
        if releases.is_empty() {
            return;
        }
        let finding = Finding::new(rule, self.archive, plugin, &releases, text);
        self.found.push(Finding { entry: entry.map(str::to_owned), ..finding });
    }
}
