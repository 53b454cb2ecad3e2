//! Which version of the RHDH CLI exports plugins. What the configuration asks for and what stands in a workspace's lock
//! file come in; what goes out is a version. `plan` puts it into content keys without asking anybody, and `export` uses
//! the same one.

use nodejs_semver::{Range, Version};

use super::release;
use crate::config::Rhdh;

/// The RHDH CLI's name in npm registries.
pub const CLI_PACKAGE: &str = "@red-hat-developer-hub/cli";

/// Which RHDH CLI to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CliVersion {
    /// This one.
    Exact(String),
    /// One for this RHDH release (`x.y`): that of the workspace where it has one, else that of [`CliVersion::usual`].
    Release(String),
}

impl CliVersion {
    /// What `[rhdh]` asks for.
    #[must_use]
    pub fn wanted(rhdh: &Rhdh) -> Self {
        rhdh.cli.clone().map_or_else(|| Self::Release(rhdh.version.clone()), Self::Exact)
    }

    /// The versions that will do: this one, or `~x.y.0`.
    #[must_use]
    pub fn range(&self) -> String {
        match self {
            Self::Exact(version) => version.clone(),
            Self::Release(release) => format!("~{release}.0"),
        }
    }

    /// Whether `version` will do.
    #[must_use]
    pub fn accepts(&self, version: &str) -> bool {
        let range = Range::parse(self.range()).ok();
        range.zip(Version::parse(version).ok()).is_some_and(|(range, version)| version.satisfies(&range))
    }

    /// The version where the workspace has none of its own; `None` for a release that this program does not know: then
    /// it is the newest one of the npm registry.
    #[must_use]
    pub fn usual(&self) -> Option<&str> {
        match self {
            Self::Exact(version) => Some(version),
            Self::Release(name) => release(name)?.cli.as_deref(),
        }
    }

    /// The version for a workspace whose lock file has `locked`. `x.y.x` where it is the newest of a release.
    #[must_use]
    pub fn in_workspace(&self, locked: Option<&str>) -> String {
        match (locked.filter(|version| self.accepts(version)).or(self.usual()), self) {
            (Some(version), _) => version.to_owned(),
            (None, Self::Exact(version)) => version.clone(),
            (None, Self::Release(name)) => format!("{name}.x"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_decides_within_what_is_wanted() {
        let release = CliVersion::Release("1.9".to_owned());
        assert_eq!(release.in_workspace(Some("1.9.0")), "1.9.0");
        assert_eq!(release.in_workspace(Some("1.10.0")), "1.9.1");
        assert_eq!(release.in_workspace(None), "1.9.1");
        assert_eq!(CliVersion::Release("9.0".to_owned()).in_workspace(None), "9.0.x");
        assert_eq!(CliVersion::Release("1.10".to_owned()).in_workspace(Some("1.10.3")), "1.10.3");
        assert_eq!(CliVersion::Exact("1.9.0".to_owned()).in_workspace(Some("1.9.1")), "1.9.0");
    }
}
