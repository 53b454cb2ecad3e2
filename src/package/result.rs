//! What packaging gives: one result an artifact, which later stages read back from `result.json`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::inventory::Inside;
use super::rehearse::Finding;
use crate::digest::{Digest, Integrity};

/// What became of one requested artifact.
#[derive(Clone, Debug)]
pub struct Packaged {
    /// The plugin's or bundle's id.
    pub id: String,
    /// The artifact, or why there is none; then nothing of it is left on disk.
    pub outcome: Result<Artifact, PackageFailure>,
    /// How long it took.
    pub seconds: f64,
}

/// What packaging made of a plugin or bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// The image in the OCI layout, where one was wanted.
    pub image: Option<PackagedImage>,
    /// The SBOM of the image.
    pub sbom: Option<PackagedSbom>,
    /// The archive, where one was wanted.
    pub tgz: Option<PackagedTgz>,
    /// Its plugins, in the order of the request.
    pub packages: Vec<PackedPlugin>,
    /// What the rehearsal found; nothing in it is fatal.
    pub findings: Vec<Finding>,
}

/// An image in the OCI layout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PackagedImage {
    /// Its name, and the name of its descriptor in the layout's `index.json`.
    pub name: String,
    /// The manifest's digest.
    pub digest: Digest,
    /// Bytes of manifest, config and layer.
    pub size: u64,
    /// Number of files in it.
    pub files: u64,
}

/// The software bill of materials of an image: a CycloneDX document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PackagedSbom {
    /// Relative to the output folder.
    pub file: PathBuf,
    /// Of the file.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
}

/// An archive as `npm pack` makes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PackagedTgz {
    /// Relative to the output folder. Its integrity stands beside it, in a file with `.integrity` added to the name.
    pub file: PathBuf,
    /// What an installer compares it with.
    pub integrity: Integrity,
    /// In bytes.
    pub size: u64,
}

/// One plugin in an artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PackedPlugin {
    /// The plugin's id.
    pub plugin: String,
    /// Its folder in the image.
    pub dir: String,
    /// The name of its package, as it was exported.
    pub name: String,
    /// The version of its package.
    pub version: String,
    /// Number of its files.
    pub files: u64,
    /// Bytes of its files.
    pub unpacked_size: u64,
    /// The packages in it.
    pub inside: Inside,
}

/// Why there is no artifact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct PackageFailure {
    /// Kebab-case; of the first thing that is wrong.
    pub code: String,
    /// What is wrong; where it is several things, one a line.
    pub message: String,
    /// The next step.
    pub help: Option<String>,
    /// What the rehearsal found, where that is the reason.
    pub findings: Vec<Finding>,
}
