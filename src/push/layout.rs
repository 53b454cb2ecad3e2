//! The OCI image layout that packaging left in the output folder. It may come from a job with less rights than this
//! one has, so nothing of it is believed: names, sizes and digests are checked, and links are not followed.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use oci_client::manifest::{OCI_IMAGE_MEDIA_TYPE, OciImageManifest};
use serde::Deserialize;

use crate::digest::Digest;
use crate::package::PackagedImage;
use crate::plan::{CONTENT_KEY_ANNOTATION, ContentKey};
use crate::registry::{BlobFile, Cause};

/// Registries take no larger manifests.
const MAX_MANIFEST: u64 = 4 * 1024 * 1024;
/// For some ten thousand images.
const MAX_INDEX: u64 = 16 * 1024 * 1024;
/// No image of ours has more; each is an open connection at most.
const MAX_LAYERS: usize = 128;

/// An OCI image layout on disk.
pub(super) struct Layout {
    folder: PathBuf,
    index: Vec<IndexEntry>,
}

/// An image that is to be pushed, its manifest read and checked.
pub(super) struct Image {
    pub(super) digest: Digest,
    /// The manifest's bytes: exactly these are pushed.
    pub(super) manifest: Vec<u8>,
    /// Config and layers, each digest once.
    pub(super) blobs: Vec<BlobFile>,
    /// The manifest's annotations.
    pub(super) annotations: BTreeMap<String, String>,
}

/// Why a layout cannot be pushed from.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    /// A file of the layout cannot be read.
    #[error("reading the OCI layout: `{}`", path.display())]
    #[diagnostic(help("run `rhdh-pack package` first, or copy its whole output folder into this job"))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Cause,
    },
    /// The layout does not hold the image.
    #[error("`{}` holds no image `{name}` with the digest `{digest}`", folder.display())]
    #[diagnostic(help("`result.json` and `oci/` are of different runs: run `rhdh-pack package` again"))]
    Missing {
        /// The layout's folder.
        folder: PathBuf,
        /// The image's name.
        name: String,
        /// Its manifest's digest.
        digest: Digest,
    },
    /// The repository to copy from does not have the image.
    #[error("`{repository}` has no image `{digest}` any more")]
    #[diagnostic(help("build the plugin again: `rhdh-pack run`"))]
    Gone {
        /// The repository.
        repository: String,
        /// The image's digest.
        digest: Digest,
    },
    /// The image's manifest is not what it should be.
    #[error("the manifest of the image `{name}`: {why}")]
    #[diagnostic(help("run `rhdh-pack package` again: the output folder was changed after packaging"))]
    Manifest {
        /// The image's name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<IndexEntry>,
}

#[derive(Deserialize)]
struct IndexEntry {
    digest: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl Layout {
    /// Opens the layout in `folder`.
    pub(super) fn open(folder: PathBuf) -> Result<Self, Error> {
        let path = folder.join("index.json");
        let text = read(&path, MAX_INDEX)?;
        let index: Index = serde_json::from_slice(&text)
            .map_err(|error| Error::Unreadable { path, source: Cause(error.to_string()) })?;
        Ok(Self { folder, index: index.manifests })
    }

    /// The image that packaging says it made.
    pub(super) fn image(&self, image: &PackagedImage) -> Result<Image, Error> {
        let named = |entry: &&IndexEntry| {
            entry.digest == image.digest.as_str()
                && entry.annotations.get("org.opencontainers.image.ref.name") == Some(&image.name)
        };
        if !self.index.iter().any(|entry| named(&entry)) {
            return Err(Error::Missing {
                folder: self.folder.clone(),
                name: image.name.clone(),
                digest: image.digest.clone(),
            });
        }
        let bytes = read(&self.blob(&image.digest), MAX_MANIFEST)?;
        Image::read(image, bytes, |digest| self.blob(digest))
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.folder.join("blobs/sha256").join(digest.hex())
    }
}

impl Image {
    /// The image, if it has the content key that a tag of it will name.
    pub(super) fn with_key(self, name: &str, key: &ContentKey) -> Result<Self, Error> {
        match self.annotations.get(CONTENT_KEY_ANNOTATION) {
            Some(found) if found == key.as_str() => Ok(self),
            _ => Err(Error::Manifest { name: name.to_owned(), why: format!("its content key is not `{key}`") }),
        }
    }

    /// Reads the manifest `bytes`, which should be that of `image`. `place` says where a blob is.
    pub(super) fn read(
        image: &PackagedImage,
        bytes: Vec<u8>,
        place: impl Fn(&Digest) -> PathBuf,
    ) -> Result<Self, Error> {
        let wrong = |why: String| Error::Manifest { name: image.name.clone(), why };
        let found = Digest::of(&bytes);
        if found != image.digest {
            return Err(wrong(format!("its digest is `{found}`, and it is named `{}`", image.digest)));
        }
        let manifest: OciImageManifest =
            serde_json::from_slice(&bytes).map_err(|error| wrong(format!("it is not an image manifest: {error}")))?;
        if manifest.media_type.as_deref().is_some_and(|media_type| media_type != OCI_IMAGE_MEDIA_TYPE) {
            return Err(wrong(format!("its media type is not `{OCI_IMAGE_MEDIA_TYPE}`")));
        }
        if manifest.layers.len() > MAX_LAYERS {
            return Err(wrong(format!("it has more than {MAX_LAYERS} layers")));
        }
        let mut blobs: Vec<BlobFile> = Vec::new();
        for descriptor in std::iter::once(&manifest.config).chain(&manifest.layers) {
            let digest: Digest = descriptor.digest.parse().map_err(|error| wrong(format!("{error}")))?;
            let size = u64::try_from(descriptor.size).map_err(|_| wrong(format!("`{digest}` has a negative size")))?;
            let blob = BlobFile { path: place(&digest), digest, size };
            if !blobs.contains(&blob) {
                blobs.push(blob);
            }
        }
        let annotations = manifest.annotations.unwrap_or_default();
        Ok(Self { digest: found, manifest: bytes, blobs, annotations })
    }
}

/// Reads a regular file of at most `limit` bytes.
fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let unreadable = |why: String| Error::Unreadable { path: path.to_owned(), source: Cause(why) };
    let file = open(path).map_err(|error| unreadable(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() as u64 > limit {
        return Err(unreadable(format!("it is larger than {limit} bytes")));
    }
    Ok(bytes)
}

/// Opens a regular file: not a link, and no pipe or device, which might never end.
pub(super) fn open(path: &Path) -> std::io::Result<fs_err::File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let mut options = fs_err::OpenOptions::new();
    options.read(true);
    options.options_mut().custom_flags(flags.bits().cast_signed());
    let file = options.open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(std::io::Error::other("it is not a file")) }
}
