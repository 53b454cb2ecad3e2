//! RHDH releases, as far as their installers differ.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A release of RHDH, `x.y`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^[0-9]+\\.[0-9]+$"))]
pub struct Release {
    major: u32,
    minor: u32,
}

/// A text that is no release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("`{0}` is not an RHDH release")]
#[diagnostic(code("not-a-release"), help("write it as `x.y`, e.g. `1.9`"))]
pub struct NotARelease(String);

impl Release {
    /// Those whose installers' rules were looked up, the oldest first.
    pub const KNOWN: [Self; 3] = [Self::new(1, 9), Self::new(1, 10), Self::new(2, 0)];

    const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// Up to 1.10, plugins are installed by `install-dynamic-plugins.py`; after it by
    /// `@red-hat-developer-hub/cli-module-install-dynamic-plugins`, or by the operator's shell script.
    pub(super) fn has_python_installer(self) -> bool {
        self <= Self::new(1, 10)
    }

    /// `MAX_ENTRY_SIZE` of the installers, in bytes.
    pub(super) fn max_entry_size(self) -> u64 {
        if self < Self::new(1, 10) { 20_000_000 } else { 40_000_000 }
    }

    /// From 2.1 on, frontends are loaded by module federation; before, by Scalprum.
    pub(super) fn has_scalprum(self) -> bool {
        self < Self::new(2, 1)
    }
}

impl FromStr for Release {
    type Err = NotARelease;

    fn from_str(text: &str) -> Result<Self, NotARelease> {
        let number =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u32>().ok()).flatten();
        text.split_once('.')
            .and_then(|(major, minor)| Some(Self::new(number(major)?, number(minor)?)))
            .ok_or_else(|| NotARelease(text.to_owned()))
    }
}

impl fmt::Display for Release {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

impl TryFrom<String> for Release {
    type Error = NotARelease;

    fn try_from(text: String) -> Result<Self, NotARelease> {
        text.parse()
    }
}

impl From<Release> for String {
    fn from(release: Release) -> Self {
        release.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_ordered_as_numbers() {
        let release = |text: &str| text.parse::<Release>().unwrap();
        assert!(release("1.9") < release("1.10"));
        assert_eq!(release("1.10").to_string(), "1.10");
        for text in ["", "1", "1.9.1", "v1.9", "1.", "1.-9", "+1.9"] {
            assert!(text.parse::<Release>().is_err(), "{text}");
        }
    }
}
