//! What a run will do and why: `plan.json`.

use serde::{Deserialize, Serialize};

use crate::repo_path::RepoPath;
use crate::workspace::package_json::Role;

/// The version of the `plan.json` format that this program writes. Fields are only ever added to a version.
pub const SCHEMA_VERSION: u32 = 1;

/// `plan.json`: what a run will build, copy, skip or remove.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// [`SCHEMA_VERSION`] of the program that wrote it.
    pub schema_version: u32,
    /// The channel that the run is for.
    pub channel: String,
    /// The commit that the repository was compared with; `None`: with nothing, all is planned.
    pub base: Option<String>,
    /// The commit that is built; `None` outside git.
    pub head: Option<String>,
    /// Why `base` is what it is.
    pub base_reason: String,
    /// Every plugin of the configuration, in its order, then the removed ones.
    pub plugins: Vec<PlannedPlugin>,
    /// Every bundle of the configuration, in its order.
    pub bundles: Vec<PlannedBundle>,
}

/// What a run does with a plugin or bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Export and package it.
    Build,
    /// It stands in one of its registries: copy it to the others.
    Copy,
    /// Nothing of it changed.
    Skip,
    /// It is no longer there.
    Remove,
}

impl Action {
    /// The action's name, as in the document.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Build => "build",
            Action::Copy => "copy",
            Action::Skip => "skip",
            Action::Remove => "remove",
        }
    }
}

/// One reason for an [`Action`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The kind of reason, for programs: `all`, `file`, `dependency`, …
    pub kind: String,
    /// The reason in words.
    pub text: String,
}

/// One plugin of a [`Plan`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedPlugin {
    /// The plugin's id in the configuration.
    pub id: String,
    /// What happens to it.
    pub action: Action,
    /// Why, most direct reason first.
    pub reasons: Vec<Reason>,
    /// The content key, 64 hexadecimal digits; `None` where it cannot be known.
    pub content_key: Option<String>,
    /// `version` of its `package.json`.
    pub version: String,
    /// Its role.
    pub role: Role,
    /// Its folder.
    pub path: RepoPath,
    /// The root of its yarn workspace.
    pub workspace: RepoPath,
}

/// One bundle of a [`Plan`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedBundle {
    /// The bundle's id in the configuration.
    pub id: String,
    /// What happens to it.
    pub action: Action,
    /// Why, most direct reason first.
    pub reasons: Vec<Reason>,
    /// The content key, 64 hexadecimal digits; `None` where it cannot be known.
    pub content_key: Option<String>,
    /// The bundle's version.
    pub version: String,
    /// The ids of its plugins.
    pub members: Vec<String>,
}
