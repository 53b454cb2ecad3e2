//! `rhdh-plugins.toml`: text comes in; what goes out is one [`Config`] of effective values, or every problem of
//! the file at once, each with its place in the text and what to do.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use indexmap::IndexMap;

use serde::Deserialize;

use crate::repo_path::RepoPath;

pub mod channels;
mod check;
mod decode;
mod effective;
mod format;
mod load;
pub mod names;
pub mod nearest;
mod paths;
mod registries;
mod schema;
mod source;
mod targets;
pub mod template;
mod template_match;
#[cfg(test)]
mod tests;

pub use load::{Error, FILE_NAME, find, load, read};
pub use schema::schema;
pub use source::{Problem, Problems};
pub use targets::{DEFAULT_GLOBAL, DEFAULT_IGNORE, DEFAULT_RHDH};
pub use template::Template;

/// What `rhdh-plugins.toml` says, with `[defaults]` merged into every plugin and bundle.
#[derive(Clone, Debug)]
pub struct Config {
    /// The configuration file, as it was named or found.
    pub file: PathBuf,
    /// The folder of the configuration file: every [`RepoPath`] is relative to it.
    pub root: PathBuf,
    /// The RHDH release that the plugins are for.
    pub rhdh: Rhdh,
    /// What counts as a change.
    pub inputs: Inputs,
    /// By name, in the order of the file.
    pub registries: IndexMap<String, Registry>,
    /// Certificate authorities that are trusted beside those of the machine, PEM files, by the registry's name.
    pub authorities: BTreeMap<String, RepoPath>,
    /// By name, in the order of the file.
    pub channels: IndexMap<String, Channel>,
    /// By id, in the order of the file.
    pub plugins: IndexMap<String, Plugin>,
    /// By id, in the order of the file.
    pub bundles: IndexMap<String, Bundle>,
    /// The plugins whose folder does not exist: either a mistake, or they were removed and stand here still.
    pub gone: Vec<Gone>,
    source: source::Source,
}

/// A plugin whose folder does not exist.
#[derive(Clone, Debug)]
pub struct Gone {
    /// Its id.
    pub id: String,
    /// Where the folder should be.
    pub path: RepoPath,
    /// What is to be said where that is a mistake.
    pub problem: Problem,
}

impl Config {
    /// The name of the configuration file, without its folder.
    #[must_use]
    pub fn file_name(&self) -> Cow<'_, str> {
        self.file.file_name().unwrap_or_default().to_string_lossy()
    }

    /// A problem with the value of `key`, a path such as `["plugins", "todo", "path"]` (entries of a list are
    /// counted from `"0"`), for checks that need more than the configuration. Where the file has no such key, the
    /// table that lacks it is underlined.
    #[must_use]
    pub fn problem(
        &self,
        key: &[&str],
        message: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) -> Problem {
        self.source.problem(key, message, label, help)
    }

    /// The files of [`Config::authorities`], by the registry's name.
    #[must_use]
    pub fn authority_files(&self) -> BTreeMap<String, PathBuf> {
        self.authorities.iter().map(|(name, path)| (name.clone(), path.under(&self.root))).collect()
    }

    /// Whether the file itself has `key`, a path such as `["plugins", "todo", "path"]`.
    #[must_use]
    pub fn has(&self, key: &[&str]) -> bool {
        key.split_last().is_some_and(|(last, table)| self.source.keys(table).contains(last))
    }

    /// `problems` as one error, in the order of the file.
    #[must_use]
    pub fn problems(&self, problems: Vec<Problem>) -> Problems {
        self.source.problems(problems)
    }
}

/// `[rhdh]`: the release that the plugins are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rhdh {
    /// RHDH release, `x.y`; "1.9" where the file says nothing.
    pub version: String,
    /// The exact version of the RHDH CLI, where it is pinned.
    pub cli: Option<String>,
}

/// `[inputs]`: what counts as a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inputs {
    /// Files of a workspace that change every plugin of it; globs.
    pub global: Vec<String>,
    /// Files that change nothing; globs.
    pub ignore: Vec<String>,
    /// Whether the registries are asked what they already hold.
    pub memory: bool,
    /// What to do where the base commit cannot be known.
    pub on_unknown_base: UnknownBase,
}

/// What a plan does where the base commit cannot be known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownBase {
    /// Plans every plugin.
    #[default]
    All,
    /// Ends the run.
    Fail,
}

/// `[registries.NAME]`: a place where artifacts go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registry {
    /// An OCI registry and the namespace in it: images go to `<prefix>/<image>`.
    Oci {
        /// `host[:port]/namespace`, without scheme.
        prefix: String,
        /// Plain HTTP, and no questions about certificates, also where the host is not loopback.
        insecure: bool,
    },
    /// An npm registry: tgz archives are published to it.
    Npm {
        /// The registry's URL; `None`: what `publishConfig` of each package says.
        url: Option<String>,
        /// Whether it may be the public one.
        allow_public: bool,
    },
    /// A folder: tgz archives and their `.integrity` files are written to it.
    Dir {
        /// The folder.
        path: RepoPath,
        /// Where the folder's files can be downloaded, without trailing `/`.
        base_url: Option<String>,
    },
    /// The releases of a repository on GitHub: tgz archives become their assets.
    GitHubRelease {
        /// `owner/name`.
        repository: String,
        /// The release's tag; `None`: the git tag that the run is for.
        tag: Option<Template>,
    },
    /// The generic packages of a project on GitLab: tgz archives become files of them.
    GitLabPackages {
        /// Its path, `group/project`, or its number.
        project: String,
    },
}

/// `[channels.NAME]`: an occasion, the tags it writes, and whether they may be overwritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// The occasions that choose this channel; none for a channel that only `--channel` chooses.
    pub on: Vec<Occasion>,
    /// The tags to write.
    pub tags: Vec<Template>,
    /// Whether a tag that exists with another content may be moved.
    pub overwrite: bool,
    /// Where the channel's artifacts go, instead of their own registries.
    pub registries: Option<Vec<String>>,
    /// The channels whose images `promote` may bring here.
    pub promote_from: Vec<String>,
    /// What is attached to images in OCI registries.
    pub attach: Vec<Attachment>,
    /// Whether `cosign` signs images in OCI registries.
    pub sign: bool,
}

/// A document that is attached to an image.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Attachment {
    /// What is in the image: a software bill of materials in CycloneDX.
    Sbom,
    /// How the image came about: an in-toto statement with SLSA provenance.
    Provenance,
}

/// When a channel is chosen: one value of `on`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Occasion {
    /// `"pull-request"`: a pull request or merge request.
    PullRequest,
    /// `{ branch = "main" }`: a push to a branch that this glob matches.
    Branch(String),
    /// `{ tag = "v*" }`: a push of a tag that this glob matches.
    Tag(String),
    /// `"schedule"`: a scheduled run.
    Schedule,
    /// `"manual"`: a run that somebody started by hand in the CI.
    Manual,
}

impl Attachment {
    /// Its name in the configuration and in `result.json`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sbom => "sbom",
            Self::Provenance => "provenance",
        }
    }
}

impl std::fmt::Display for Attachment {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Sbom => "SBOM",
            Self::Provenance => "provenance",
        })
    }
}

/// `[plugins.ID]`, with `[defaults]` merged.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plugin {
    /// The name in the configuration.
    pub id: String,
    /// The plugin's folder: it holds a `package.json`.
    pub path: RepoPath,
    /// Who makes `dist-dynamic`.
    pub export: ExportMode,
    /// The image's name, where the file gives one; else it is made from the package's name.
    pub image: Option<String>,
    /// Names of the registries where the plugin's artifacts go; may be empty.
    pub registries: Vec<String>,
    /// The RHDH CLI's `--scalprum-config`.
    pub scalprum_config: Option<RepoPath>,
    /// Goes into the generated `dynamic-plugins.yaml` as `pluginConfig`.
    pub app_config: Option<RepoPath>,
    /// The RHDH CLI's `--embed-package`, one each.
    pub embed_packages: Vec<String>,
    /// The RHDH CLI's `--shared-package`, one each.
    pub shared_packages: Vec<String>,
    /// The RHDH CLI's `--suppress-native-package`, one each.
    pub suppress_native_packages: Vec<String>,
    /// The RHDH CLI's `--allow-native-package`, one each.
    pub allow_native_packages: Vec<String>,
    /// The RHDH CLI's `--ignore-version-check`, one each.
    pub ignore_version_check: Vec<String>,
    /// Arguments for `plugin export`, passed through untouched.
    pub export_args: Vec<String>,
    /// Labels of the image's config.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the image's manifest.
    pub annotations: BTreeMap<String, String>,
    /// Rules of RHDH's installers that may be broken, by name, each with the reason.
    pub allow: BTreeMap<String, String>,
    /// How much the archives are compressed, 1 to 9; `None`: as much as possible.
    pub compression_level: Option<u8>,
    /// `artifactType` of the image's manifest.
    pub artifact_type: Option<String>,
}

/// Who makes a plugin's `dist-dynamic`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ExportMode {
    /// rhdh-pack runs the RHDH CLI.
    #[default]
    Cli,
    /// The user's own build, before rhdh-pack runs.
    Prebuilt,
}

/// `[bundles.ID]`: several plugins in one OCI image, with `[defaults]` merged.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Bundle {
    /// The name in the configuration.
    pub id: String,
    /// Ids of its plugins, in the order of the file.
    pub plugins: Vec<String>,
    /// The image's name.
    pub image: String,
    /// The image's version; `None`: the version that all members have.
    pub version: Option<Template>,
    /// Names of the registries where the image goes.
    pub registries: Vec<String>,
    /// Labels of the image's config.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the image's manifest.
    pub annotations: BTreeMap<String, String>,
    /// Rules of RHDH's installers that may be broken, by name, each with the reason.
    pub allow: BTreeMap<String, String>,
    /// How much the archives are compressed, 1 to 9; `None`: as much as possible.
    pub compression_level: Option<u8>,
    /// `artifactType` of the image's manifest.
    pub artifact_type: Option<String>,
}
