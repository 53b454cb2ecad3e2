//! What the RHDH releases are made of, as far as plugins meet it: Backstage, node, and the packages that RHDH provides.
//! The figures stand in `provided.json`; `docs/rhdh-releases.md` says where they come from and how to add a release.

use std::sync::LazyLock;

use indexmap::IndexMap;
use nodejs_semver::Version;
use serde::Deserialize;

mod cli;

pub use cli::{CLI_PACKAGE, CliVersion};

/// The figures, oldest release first.
static RELEASES: LazyLock<IndexMap<String, Release>> = LazyLock::new(|| {
    #[derive(Deserialize)]
    struct Figures {
        releases: IndexMap<String, Release>,
    }
    let figures: Figures = serde_json::from_str(include_str!("provided.json")).unwrap_or_else(|error| {
        // The text is part of the program, and a test reads it.
        unreachable!("provided.json: {error}")
    });
    figures.releases
});

/// One release of RHDH.
#[derive(Clone, Debug, Deserialize)]
pub struct Release {
    /// The Backstage version that it is built on.
    pub backstage: String,
    /// The major version of Node.js that its backend runs on.
    pub node: String,
    /// The version of the RHDH CLI that exports plugins for it; `None`: the newest one of the release.
    pub cli: Option<String>,
    /// The `@backstage/*` packages that it provides, each with its versions.
    packages: IndexMap<String, Vec<String>>,
}

impl Release {
    /// Whether it provides a package to plugins.
    #[must_use]
    pub fn provides(&self, package: &str) -> bool {
        self.packages.contains_key(package)
    }
}

/// The release `x.y`, where its figures are known.
#[must_use]
pub fn release(name: &str) -> Option<&'static Release> {
    RELEASES.get(name)
}

/// The names of all releases whose figures are known, oldest first.
pub fn releases() -> impl Iterator<Item = &'static str> {
    RELEASES.keys().map(String::as_str)
}

/// The oldest known release that plugins of a Backstage version fit: its own Backstage is of that line or a later one.
/// `None` where all are older, or `backstage` is no version.
#[must_use]
pub fn release_for(backstage: &str) -> Option<&'static str> {
    let wanted = line(backstage)?;
    RELEASES
        .iter()
        .find(|(_, release)| line(&release.backstage).is_some_and(|line| line >= wanted))
        .map(|(name, _)| name.as_str())
}

/// Major and minor version.
#[must_use]
pub fn line(version: &str) -> Option<(u64, u64)> {
    Version::parse(version).ok().map(|version| (version.major(), version.minor()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_whole_and_in_order() {
        let lines: Vec<_> = RELEASES.values().map(|release| line(&release.backstage).unwrap()).collect();
        assert!(lines.is_sorted(), "{lines:?}");
        assert_eq!(releases().collect::<Vec<_>>(), ["1.9", "1.10", "2.0"]);
        for (name, release) in RELEASES.iter() {
            assert!(release.provides("@backstage/backend-plugin-api") && release.node.parse::<u32>().is_ok(), "{name}");
            assert!(release.cli.as_ref().is_none_or(|cli| CliVersion::Release(name.clone()).accepts(cli)), "{name}");
            assert!(release.packages.values().flatten().all(|version| Version::parse(version).is_ok()), "{name}");
        }
    }

    #[test]
    fn a_backstage_version_has_its_release() {
        for (backstage, release) in
            [("1.30.0", Some("1.9")), ("1.45.9", Some("1.9")), ("1.46.0", Some("1.10")), ("1.52.0", Some("2.0"))]
        {
            assert_eq!(release_for(backstage), release, "{backstage}");
        }
        assert_eq!((release_for("1.99.0"), release_for("latest")), (None, None));
    }
}
