//! Packaging: `dist-dynamic` folders come in; OCI images in one layout, and archives as `npm pack` makes them, go out.
//! The same folders give the same bytes on every machine, and nothing goes out that RHDH's installers would not take.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use miette::Diagnostic;

mod ahead;
mod archive;
mod artifact;
mod check;
mod collect;
pub mod deliver;
mod image;
mod inventory;
mod layout;
mod packlist;
pub(crate) mod rehearse;
mod result;
mod run;
pub(crate) mod sbom;
mod tgz;

pub use ahead::compress_ahead;
pub use archive::Blocks;
pub use collect::{Error as CollectError, Incoming, collect};
pub use inventory::{InnerPackage, Inside};
pub(crate) use layout::Images;
pub use packlist::Problem;
pub use rehearse::{Allowance, ArchiveKind, Finding, NotARelease, Release, Rule, Severity};
pub use result::{Artifact, PackageFailure, Packaged, PackagedImage, PackagedSbom, PackagedTgz, PackedPlugin};
pub use run::package;
pub(crate) use tgz::{file_name as tgz_name, folder_name as tgz_folder, is_plain_name};

/// The compression level of archives where the configuration gives none: the one that is never larger than npm's.
pub const DEFAULT_LEVEL: u32 = 9;

/// What is to be packaged.
#[derive(Clone, Debug)]
pub struct Request {
    /// The output folder: images go to `oci`, archives to `tgz` in it.
    pub output: PathBuf,
    /// Each becomes an image, a tgz, or both.
    pub artifacts: Vec<ArtifactRequest>,
    /// The RHDH releases, `x.y`, whose installers' rules apply.
    pub rhdh: Vec<String>,
    /// Threads that read and compress; 0 for as many as there are processors.
    pub threads: usize,
    /// What was compressed before, for another request: what is in this one, too, is not compressed again.
    pub blocks: Arc<Blocks>,
    /// The time of all files and images in seconds since 1970, instead of npm's; see [`source_date_epoch`].
    pub time: Option<u64>,
}

/// One artifact that is wanted.
#[derive(Clone, Debug)]
pub struct ArtifactRequest {
    /// The plugin's or bundle's id.
    pub id: String,
    /// The image's name, without registry and namespace.
    pub image: String,
    /// The artifact's version.
    pub version: String,
    /// The plugins in it; a tgz holds one.
    pub members: Vec<Member>,
    /// Labels of the image's config.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the image's manifest.
    pub annotations: BTreeMap<String, String>,
    /// `artifactType` of the image's manifest.
    pub artifact_type: Option<String>,
    /// Compression level, 1 to 9.
    pub level: u32,
    /// Whether an image is wanted.
    pub image_wanted: bool,
    /// Whether a tgz is wanted.
    pub tgz: bool,
    /// Rules that may be broken.
    pub allow: Vec<Allowance>,
}

/// A plugin in an artifact.
#[derive(Clone, Debug)]
pub struct Member {
    /// The plugin's id.
    pub plugin: String,
    /// Its folder in the image.
    pub dir: String,
    /// What the export made.
    pub dist_dynamic: PathBuf,
}

/// Why nothing at all was packaged.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Error {
    /// The output folder cannot be written to.
    #[error("cannot write to `{}`", folder.display())]
    #[diagnostic(
        code("output-folder"),
        help("check its permissions and the space left, or choose another with `--out-dir`")
    )]
    Output {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another run writes to the output folder.
    #[error("another rhdh-pack is packaging into `{}`", .0.display())]
    #[diagnostic(code("output-in-use"), help("wait until it has ended, or choose another folder with `--out-dir`"))]
    InUse(PathBuf),
    /// No thread could be started.
    #[error("cannot start a thread")]
    #[diagnostic(code("no-threads"), help("raise the limit on processes (`ulimit -u`), or use fewer with `--jobs`"))]
    Threads(#[source] std::io::Error),
    /// A release of the configuration is none.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Release(#[from] NotARelease),
    /// `SOURCE_DATE_EPOCH` is set to something else than a number of seconds.
    #[error("SOURCE_DATE_EPOCH is `{0}`, which is no number of seconds since 1970 that an archive can hold")]
    #[diagnostic(
        code("source-date-epoch"),
        help("set it with `export SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)`, or unset it")
    )]
    SourceDateEpoch(String),
}

/// The value of the environment's `SOURCE_DATE_EPOCH`, in seconds since 1970.
///
/// # Errors
/// When it is set to something else.
pub fn source_date_epoch() -> Result<Option<u64>, Error> {
    // What a tar header's field for the time can hold.
    const LATEST: u64 = 0o77_777_777_777;
    let Some(value) = std::env::var_os("SOURCE_DATE_EPOCH").filter(|value| !value.is_empty()) else { return Ok(None) };
    let value = value.to_string_lossy();
    match value.parse::<u64>() {
        Ok(seconds) if seconds <= LATEST => Ok(Some(seconds)),
        _ => Err(Error::SourceDateEpoch(value.into_owned())),
    }
}
