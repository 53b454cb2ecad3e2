//! The OCI image layout on disk: blobs and image names come in; what is there at any moment is a whole, valid layout.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::PackagedImage;
use super::image::{Descriptor, MANIFEST};
use crate::digest::Digest;

/// OCI image spec: the annotation by which a descriptor in `index.json` is found.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// An image of a layout.
#[derive(Clone, Debug)]
pub(crate) struct StoredImage {
    /// The layout's folder.
    folder: PathBuf,
    manifest: Digest,
    /// Of the manifest, in bytes.
    size: u64,
    pub(crate) config: Digest,
    pub(crate) layer: Digest,
}

/// The images that a layout holds.
#[derive(Debug)]
pub(crate) struct Images {
    /// The layout's folder.
    folder: PathBuf,
    by_name: BTreeMap<String, Value>,
}

impl Images {
    /// Those of the layout in `folder`; none where there is none.
    pub(crate) fn read(folder: PathBuf) -> Self {
        let by_name = std::fs::read(folder.join("index.json")).map(|index| read_index(&index)).unwrap_or_default();
        Self { folder, by_name }
    }

    /// The image `name`; `None` where there is none, or no whole one.
    pub(crate) fn get(&self, name: &str) -> Option<StoredImage> {
        let digest = |value: &Value| value.as_str()?.parse::<Digest>().ok();
        let manifest = digest(self.by_name.get(name)?.get("digest")?)?;
        let content = std::fs::read(blob_path(&self.folder, &manifest)).ok()?;
        let json: Value = serde_json::from_slice(&content).ok()?;
        let config = digest(json.pointer("/config/digest")?)?;
        let layer = digest(json.pointer("/layers/0/digest")?)?;
        let (folder, size) = (self.folder.clone(), content.len() as u64);
        let image = StoredImage { folder, manifest, size, config, layer };
        image.blobs().iter().all(|blob| image.blob_path(blob).is_file()).then_some(image)
    }

    /// Whether `image` is here, as far as the sizes of its files tell.
    pub(crate) fn hold(&self, image: &PackagedImage) -> bool {
        let Some(stored) = self.get(&image.name).filter(|stored| stored.manifest == image.digest) else { return false };
        let size = |blob: &Digest| std::fs::metadata(stored.blob_path(blob)).map(|file| file.len());
        stored.blobs().iter().map(size).sum::<std::io::Result<u64>>().is_ok_and(|size| size == image.size)
    }
}

impl StoredImage {
    /// Its descriptor in the index of another layout, under the name `reference`.
    pub(crate) fn descriptor(&self, reference: &str) -> Value {
        let annotations = BTreeMap::from([(REF_NAME.to_owned(), reference.to_owned())]);
        let descriptor =
            Descriptor { media_type: MANIFEST.to_owned(), digest: self.manifest.clone(), size: self.size, annotations };
        json!(descriptor)
    }

    /// Its blobs: manifest, config, layer.
    pub(crate) fn blobs(&self) -> [Digest; 3] {
        [self.manifest.clone(), self.config.clone(), self.layer.clone()]
    }

    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        blob_path(&self.folder, digest)
    }

    pub(crate) fn manifest_path(&self) -> PathBuf {
        self.blob_path(&self.manifest)
    }
}

/// A layout that holds every image of a run.
#[derive(Debug)]
pub(crate) struct Layout {
    folder: PathBuf,
    /// By image name.
    images: BTreeMap<String, Value>,
}

impl Layout {
    /// Opens the layout in `folder`, or makes one. An `index.json` that is no index is replaced.
    pub(crate) fn open(folder: PathBuf) -> std::io::Result<Self> {
        fs_err::create_dir_all(folder.join("blobs/sha256"))?;
        let images = match fs_err::read(folder.join("index.json")) {
            Ok(index) => read_index(&index),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        let layout = Self { folder, images };
        layout.replace("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        layout.write_index()?;
        Ok(layout)
    }

    /// A new file that becomes a blob when [`Layout::keep`] is called, and vanishes otherwise.
    pub(crate) fn new_blob(&self) -> std::io::Result<NamedTempFile> {
        temporary_file(&self.folder.join("blobs/sha256"))
    }

    /// Makes a finished file the blob `digest`.
    pub(crate) fn keep(&self, blob: NamedTempFile, digest: &Digest) -> std::io::Result<()> {
        persist(blob, &self.blob_path(digest))
    }

    /// Writes a small blob.
    pub(crate) fn put(&self, content: &[u8]) -> std::io::Result<Digest> {
        let digest = Digest::of(content);
        let mut blob = self.new_blob()?;
        blob.write_all(content)?;
        self.keep(blob, &digest)?;
        Ok(digest)
    }

    /// Lets `name` be the image with this manifest.
    pub(crate) fn tag(&mut self, name: &str, manifest: &Digest, size: u64) -> std::io::Result<()> {
        let annotations = BTreeMap::from([(REF_NAME.to_owned(), name.to_owned())]);
        let descriptor = Descriptor { media_type: MANIFEST.to_owned(), digest: manifest.clone(), size, annotations };
        self.images.insert(name.to_owned(), json!(descriptor));
        self.write_index()
    }

    /// Forgets the image `name`: it is about to be made again.
    pub(crate) fn forget(&mut self, name: &str) -> std::io::Result<()> {
        if self.images.remove(name).is_some() { self.write_index() } else { Ok(()) }
    }

    /// Removes every blob that no image of the index leads to.
    pub(crate) fn remove_garbage(&self) -> std::io::Result<()> {
        let mut reachable: BTreeSet<String> = BTreeSet::new();
        let hex = |digest: &Value| digest.as_str().and_then(|text| text.strip_prefix("sha256:")).map(str::to_owned);
        for descriptor in self.images.values() {
            let Some(manifest) = descriptor.get("digest").and_then(hex) else { continue };
            let content = fs_err::read(self.folder.join("blobs/sha256").join(&manifest)).unwrap_or_default();
            reachable.insert(manifest);
            let content: Value = serde_json::from_slice(&content).unwrap_or_default();
            let layers = content.get("layers").and_then(Value::as_array).into_iter().flatten();
            let blobs = layers.chain(content.get("config")).filter_map(|blob| blob.get("digest"));
            reachable.extend(blobs.filter_map(hex));
        }
        for entry in fs_err::read_dir(self.folder.join("blobs/sha256"))? {
            let entry = entry?;
            if !entry.file_name().to_str().is_some_and(|name| reachable.contains(name)) {
                fs_err::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Where the blob `digest` is.
    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        blob_path(&self.folder, digest)
    }

    fn write_index(&self) -> std::io::Result<()> {
        let manifests: Vec<Value> = self.images.values().cloned().collect();
        self.replace("index.json", index_json(&manifests).as_bytes())
    }

    fn replace(&self, name: &str, content: &[u8]) -> std::io::Result<()> {
        write_whole(&self.folder.join(name), content)
    }
}

/// Where the blob `digest` of the layout in `folder` is.
fn blob_path(folder: &Path, digest: &Digest) -> PathBuf {
    folder.join("blobs/sha256").join(digest.hex())
}

/// An `index.json` with these descriptors.
pub(crate) fn index_json(manifests: &[Value]) -> String {
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }).to_string()
}

/// The images of an `index.json`, by name; descriptors without a name are of no use here.
fn read_index(index: &[u8]) -> BTreeMap<String, Value> {
    let index: Value = serde_json::from_slice(index).unwrap_or_default();
    let manifests = index.get("manifests").and_then(Value::as_array).cloned().unwrap_or_default();
    let name = |descriptor: &Value| Some(descriptor.get("annotations")?.get(REF_NAME)?.as_str()?.to_owned());
    manifests.into_iter().filter_map(|descriptor| Some((name(&descriptor)?, descriptor))).collect()
}

/// How the names of files begin that are being written.
const PARTIAL: &str = ".partial-";

/// A file in `folder` that vanishes unless it is kept.
pub(crate) fn temporary_file(folder: &Path) -> std::io::Result<NamedTempFile> {
    fs_err::create_dir_all(folder)?;
    tempfile::Builder::new().prefix(PARTIAL).tempfile_in(folder)
}

/// Removes the files in `folder` that somebody began to write and never finished. Nobody may be writing now.
pub(crate) fn remove_partial(folder: &Path) -> std::io::Result<()> {
    let entries = match fs_err::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(PARTIAL) && entry.file_type()?.is_file() {
            fs_err::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Gives a finished file its name, in place of what had it before. Others may read it.
pub(crate) fn persist(file: NamedTempFile, path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs_err::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644))?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Writes a file so that it is never seen half-written.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut file = temporary_file(path.parent().unwrap_or(Path::new(".")))?;
    file.write_all(content)?;
    persist(file, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_keeps_other_images_and_drops_garbage() {
        let folder = tempfile::tempdir().unwrap();
        let mut layout = Layout::open(folder.path().join("oci")).unwrap();
        let config = layout.put(b"{}").unwrap();
        for name in ["a", "b"] {
            let manifest = json!({ "config": { "digest": config }, "layers": [], "name": name }).to_string();
            let digest = layout.put(manifest.as_bytes()).unwrap();
            layout.tag(name, &digest, manifest.len() as u64).unwrap();
        }
        layout.put(b"garbage").unwrap();
        let mut layout = Layout::open(folder.path().join("oci")).unwrap();
        layout.forget("a").unwrap();
        layout.remove_garbage().unwrap();
        assert_eq!(layout.images.keys().collect::<Vec<_>>(), ["b"]);
        assert_eq!(fs_err::read_dir(folder.path().join("oci/blobs/sha256")).unwrap().count(), 2);
    }

    #[test]
    fn a_broken_index_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("index.json"), "{").unwrap();
        assert!(Layout::open(folder.path().to_owned()).unwrap().images.is_empty());
    }
}
