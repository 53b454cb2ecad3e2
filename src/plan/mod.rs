//! What a run will do and why. The configuration, the workspaces and what the CI says come in; what goes out is a
//! [`Plan`], written as `plan.json`.
//!
//! It is made in two steps, because the second needs the network: [`survey()`] looks at the repository and gives every
//! artifact its content key and the reasons to build it; [`Survey::decide`] takes what the registries hold under those
//! keys, and says what is to be built, copied, or left alone.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::repo_path::RepoPath;
use crate::workspace::package_json::Role;

mod base;
mod before;
mod changes;
mod decide;
mod git;
mod index;
mod inputs;
mod key;
mod links;
mod lock;
mod matrix;
mod members;
mod objects;
mod reasons;
mod settings;
mod show;
mod sight;
mod snapshot;
mod sparse;
mod survey;
mod toml_diff;
mod walk;
mod work_tree;

pub use base::{History, NoSuchBase, history, short};
pub use decide::{Found, Memory, Question, TakenTag};
pub use git::GitError;
pub use key::{CONTENT_KEY_ANNOTATION, ContentKey};
pub use matrix::{Leg, Legs, github, gitlab, matrix};
pub use sight::{Look, Sight};
pub use survey::{ArtifactTarget, BundleToPlan, Error, PluginToPlan, Request, Selection, Survey, survey};

/// The version of the `plan.json` format that this program writes. Fields are only ever added to a version.
pub const SCHEMA_VERSION: u32 = 1;

/// `plan.json`: what a run will build, copy, skip or remove.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
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
    /// Every bundle of the configuration, in its order, then the removed ones.
    pub bundles: Vec<PlannedBundle>,
    /// What could not be determined, or was not looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What a run does with a plugin or bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Reason {
    /// The kind of reason, for programs: `all`, `file`, `dependency`, …
    pub kind: String,
    /// The reason in words.
    pub text: String,
    /// What is behind it, line by line: the files, the way from package to package.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detail: Vec<String>,
}

/// One plugin of a [`Plan`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PlannedPlugin {
    /// The plugin's id in the configuration.
    pub id: String,
    /// What happens to it.
    pub action: Action,
    /// Why, most direct reason first.
    pub reasons: Vec<Reason>,
    /// The content key; `None` for what is removed.
    pub content_key: Option<ContentKey>,
    /// `version` of its `package.json`.
    pub version: String,
    /// Its role.
    pub role: Role,
    /// Its folder.
    pub path: RepoPath,
    /// The root of its yarn workspace.
    pub workspace: RepoPath,
    /// Of what is built, the folders of the other packages of the workspace that it is made from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<RepoPath>,
    /// The name of its image, which is also its folder in images.
    pub image: String,
    /// Where the image stands already: where it is up to date, or is copied from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub published: Vec<Published>,
}

/// One bundle of a [`Plan`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PlannedBundle {
    /// The bundle's id in the configuration.
    pub id: String,
    /// What happens to it.
    pub action: Action,
    /// Why, most direct reason first.
    pub reasons: Vec<Reason>,
    /// The content key; `None` for what is removed.
    pub content_key: Option<ContentKey>,
    /// The bundle's version.
    pub version: String,
    /// The ids of its plugins.
    pub members: Vec<String>,
    /// The name of its image.
    pub image: String,
    /// Where the image stands already: where it is up to date, or is copied from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub published: Vec<Published>,
}

/// An image that a registry holds already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Published {
    /// The registry's name in the configuration.
    pub registry: String,
    /// `host/namespace/name@sha256:…`.
    pub reference: String,
    /// Of the manifest.
    pub digest: Digest,
    /// Bytes of manifest, config and layers.
    pub size: u64,
    /// The tags of the channel that name it.
    pub tags: Vec<String>,
}

/// What `work` makes of each item, in their order, by as many threads as there are cores.
fn parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync + Send) -> Vec<R> {
    items.par_iter().map(work).collect()
}
