//! Looking at everything that a run will need, before it needs it: the machine, the repository, the registries, the
//! forge. What each of them is made of comes in; what goes out are [`Finding`]s, each with what to do. Nothing is
//! changed and nothing is fetched; what is asked of a registry leaves nothing behind.

use std::time::Duration;

use serde::Serialize;

use crate::ui::with_causes;

mod exports;
mod files;
pub mod forge;
pub mod machine;
pub mod plugin;
pub mod registries;
pub mod repository;

/// The version of what `rhdh-pack doctor --format json` prints.
pub const SCHEMA_VERSION: u32 = 1;

/// How long one part of the examination may take: longer than every single answer may, shorter than anybody's patience.
pub const LIMIT: Duration = Duration::from_secs(60);

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it belongs to.
    pub area: Area,
    /// What was looked at: `node`, `plugin todo`, `registry quay: push`.
    pub what: String,
    /// How it is.
    pub state: State,
    /// How it is, in words.
    pub text: String,
    /// What to do; a command, or lines to paste.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// Whose matter something is: it decides on the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Area {
    /// Programs, disk.
    Machine,
    /// The configuration, the workspaces, the plugins, git.
    Repository,
    /// Where artifacts go.
    Registries,
    /// GitHub, GitLab.
    Forge,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As it should be.
    Ok,
    /// Not looked at; the text says why.
    Skipped,
    /// A run may go well all the same.
    Warn,
    /// A run will fail.
    Failed,
}

/// All of an examination.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The RHDH release that was measured by.
    pub rhdh: &'a str,
    /// Whether nothing failed.
    pub good: bool,
    /// In the order of the areas.
    pub findings: &'a [Finding],
}

impl Area {
    /// Its name, as a heading.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::Repository => "repository",
            Self::Registries => "registries",
            Self::Forge => "forge",
        }
    }

    pub(crate) fn ok(self, what: impl Into<String>, text: impl Into<String>) -> Finding {
        // What stands in files and answers goes to a terminal: it is text there, and nothing else.
        let text = text.into().replace(|character: char| character.is_control() && character != '\n', " ");
        Finding { area: self, what: what.into(), state: State::Ok, text, help: None }
    }

    pub(crate) fn skipped(self, what: impl Into<String>, text: impl Into<String>) -> Finding {
        Finding { state: State::Skipped, ..self.ok(what, text) }
    }

    pub(crate) fn warn(self, what: impl Into<String>, text: impl Into<String>, help: impl Into<String>) -> Finding {
        Finding { state: State::Warn, help: Some(help.into()), ..self.ok(what, text) }
    }

    pub(crate) fn failed(self, what: impl Into<String>, text: impl Into<String>, help: impl Into<String>) -> Finding {
        Finding { state: State::Failed, help: Some(help.into()), ..self.ok(what, text) }
    }

    /// What an error says, with its causes and its help.
    pub(crate) fn error(self, what: impl Into<String>, error: &(impl miette::Diagnostic + 'static)) -> Finding {
        let help = error.help().map(|help| help.to_string());
        Finding { state: State::Failed, help, ..self.ok(what, with_causes(error)) }
    }
}

/// 0 where nothing failed; 2 where something in the repository did; 3 where only what is around it did.
#[must_use]
pub fn exit_code(findings: &[Finding]) -> u8 {
    let failed = |area: Option<Area>| {
        let mut failed = findings.iter().filter(|finding| finding.state == State::Failed);
        failed.any(|finding| area.is_none_or(|area| finding.area == area))
    };
    match (failed(Some(Area::Repository)), failed(None)) {
        (true, _) => 2,
        (_, true) => 3,
        _ => 0,
    }
}

/// What a part of the examination found, within [`LIMIT`].
pub async fn within_limit(area: Area, what: &str, part: impl Future<Output = Vec<Finding>>) -> Vec<Finding> {
    tokio::time::timeout(LIMIT, part).await.unwrap_or_else(|_| {
        let text = format!("no answer within {} s", LIMIT.as_secs());
        vec![area.failed(what, text, "look at the network, and run `rhdh-pack doctor --verbose` again")]
    })
}

/// `` `a`, `b` and 3 more ``.
pub(crate) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    /// More than these, nobody reads.
    const MOST: usize = 6;
    let names: Vec<&str> = names.into_iter().collect();
    let shown = names.iter().take(MOST).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let more = names.len().saturating_sub(MOST);
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

/// `1 repository`, `2 repositories`: `many` is what follows another number than 1.
pub(crate) fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_comes_before_what_is_around_it() {
        let fine = Area::Machine.ok("node", "22.0.0");
        let warn = Area::Repository.warn("git", "shallow", "fetch");
        let machine = Area::Machine.failed("node", "missing", "install it");
        let repository = Area::Repository.failed("configuration", "missing", "`rhdh-pack init`");
        assert_eq!(exit_code(&[fine.clone(), warn.clone()]), 0);
        assert_eq!(exit_code(&[fine, warn, machine.clone()]), 3);
        assert_eq!(exit_code(&[machine, repository]), 2);
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(listed(["a", "b"]), "`a`, `b`");
        assert_eq!(listed(["a"; 8]), "`a`, `a`, `a`, `a`, `a`, `a` and 2 more");
    }
}
