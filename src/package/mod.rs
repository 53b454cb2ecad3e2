//! What packaging makes of `dist-dynamic` folders.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Integrity};

/// An image in the OCI layout of the output folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackagedImage {
    /// Its name: the last part of the repository's name.
    pub name: String,
    /// Of its manifest.
    pub digest: Digest,
    /// Bytes of manifest, config and layers.
    pub size: u64,
    /// Files in its layers.
    pub files: u64,
}

/// A tgz archive in the output folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackagedTgz {
    /// The archive, relative to the output folder.
    pub file: PathBuf,
    /// Of the archive's bytes.
    pub integrity: Integrity,
    /// Bytes.
    pub size: u64,
}
