//! OCI image layouts on disk, ours and others': a folder comes in, images whose parts are all there go out.

use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Error, Image, Opened};
use crate::digest::Digest;
use crate::package::{Release, rehearse};

/// OCI image spec: what a descriptor of `index.json` is called.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// No manifest, config or index is larger, in bytes: registries take 4 MiB.
pub(super) const MAX_JSON: u64 = 8 << 20;

/// A layout, and what its blobs are called in messages.
struct Layout<'a> {
    folder: &'a Path,
    releases: &'a [Release],
}

/// Adds the images of the layout in `folder` to `opened`: the one called `name`, or all.
pub(super) fn open(folder: &Path, name: Option<&str>, releases: &[Release], opened: &mut Opened) -> Result<(), Error> {
    let index_file = folder.join("index.json");
    let index = read_small(&index_file).map_err(Error::io(&index_file))?;
    let label = folder.display().to_string();
    let index = json(&index).ok_or_else(|| broken(&label, "`index.json` is not JSON"))?;
    let layout = Layout { folder, releases };
    let descriptors = index.get("manifests").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut found = false;
    for descriptor in descriptors {
        let called = ref_name(descriptor);
        if name.is_some() && called != name {
            continue;
        }
        found = true;
        let digest = text(descriptor, "digest").unwrap_or_default();
        let label = called.map_or_else(|| format!("{label}@{digest}"), str::to_owned);
        if let Some(mut image) = layout.image(&label, descriptor, opened)? {
            image.name = called.and_then(repository_name);
            opened.images.push(image);
        }
    }
    match name {
        Some(name) if !found => {
            let names = descriptors.iter().filter_map(ref_name).map(str::to_owned).collect();
            Err(Error::NotInLayout { folder: folder.to_owned(), name: name.to_owned(), names })
        }
        _ if !found => Err(Error::NoSuchImage(format!("oci:{label}"))),
        _ => Ok(()),
    }
}

/// What an image of a layout is called.
fn ref_name(descriptor: &Value) -> Option<&str> {
    descriptor.get("annotations")?.get(REF_NAME)?.as_str()
}

/// The manifests in a layout, at most `most`, that have a subject.
pub(super) fn attached(folder: &Path, most: usize) -> Result<Vec<(Digest, Vec<u8>)>, Error> {
    let index_file = folder.join("index.json");
    let index = read_at_most(&index_file, MAX_JSON).map_err(Error::io(&index_file))?;
    let descriptors = json(&index).and_then(|index| index.get("manifests").and_then(Value::as_array).cloned());
    let digests = descriptors.unwrap_or_default();
    let digests = digests.iter().filter_map(|descriptor| text(descriptor, "digest")?.parse::<Digest>().ok());
    let manifests = digests.filter_map(|digest| {
        let bytes = small_blob(folder, &digest, MAX_JSON).ok()?;
        json(&bytes)?.get("subject").is_some_and(Value::is_object).then_some((digest, bytes))
    });
    Ok(manifests.take(most).collect())
}

/// A blob of a layout of at most `most` bytes, or why there is none.
pub(super) fn small_blob(folder: &Path, digest: &Digest, most: u64) -> Result<Vec<u8>, String> {
    let path = folder.join("blobs/sha256").join(digest.hex());
    let bytes = read_at_most(&path, most).map_err(|error| error.to_string())?;
    let found = Digest::of(&bytes);
    if found == *digest { Ok(bytes) } else { Err(format!("it has the digest `{found}`")) }
}

/// The last part of a repository's name; `None` for a bare word, which may as well be a tag.
fn repository_name(called: &str) -> Option<String> {
    let without_digest = called.split('@').next().unwrap_or(called);
    let name = match without_digest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ if called.contains('/') => without_digest,
        _ => return None,
    };
    name.rsplit('/').next().map(str::to_owned)
}

impl Layout<'_> {
    /// The image of a descriptor, or the one that installers take of an index. `None` where an index has none for them.
    fn image(&self, label: &str, descriptor: &Value, opened: &mut Opened) -> Result<Option<Image>, Error> {
        let (digest, bytes) = self.json_blob(label, descriptor)?;
        let value = json(&bytes).ok_or_else(|| broken(label, "the manifest is not JSON"))?;
        if value.get("manifests").is_none() {
            return self.of_manifest(label, digest, bytes, &value).map(Some);
        }
        let (findings, chosen) = rehearse::index(&value, self.releases);
        let Some(chosen) = chosen else {
            opened.findings.extend(findings);
            return Ok(None);
        };
        let (inner, bytes) = self.json_blob(label, &chosen)?;
        let manifest = json(&bytes).ok_or_else(|| broken(label, "the manifest is not JSON"))?;
        let mut image = self.of_manifest(label, inner, bytes, &manifest)?;
        (image.digest, image.index) = (digest, Some(value));
        Ok(Some(image))
    }

    fn of_manifest(&self, label: &str, digest: Digest, bytes: Vec<u8>, manifest: &Value) -> Result<Image, Error> {
        let config = match manifest.get("config") {
            Some(config) => self.json_blob(label, config)?.1,
            None => return Err(broken(label, "the manifest names no config")),
        };
        let layers = manifest.get("layers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let size = layers.iter().filter_map(|layer| layer.get("size")?.as_u64());
        let size = size.fold((bytes.len() + config.len()) as u64, u64::saturating_add);
        let layer = layers.first().map(|layer| self.layer(label, layer)).transpose()?;
        Ok(Image {
            label: label.to_owned(),
            name: None,
            repository: None,
            folder: None,
            digest,
            index: None,
            manifest: bytes,
            config,
            layer,
            size,
        })
    }

    fn json_blob(&self, label: &str, descriptor: &Value) -> Result<(Digest, Vec<u8>), Error> {
        let digest = digest_of(label, descriptor)?;
        let path = self.blob(&digest);
        let bytes = read_small(&path).map_err(|error| broken(label, &format!("blob `{digest}`: {error}")))?;
        let found = Digest::of(&bytes);
        if found != digest {
            return Err(broken(label, &format!("the blob `{digest}` has the digest `{found}`")));
        }
        Ok((digest, bytes))
    }

    fn layer(&self, label: &str, descriptor: &Value) -> Result<PathBuf, Error> {
        let digest = digest_of(label, descriptor)?;
        let path = self.blob(&digest);
        let mut hasher = Sha256::new();
        super::hash(&path, &mut |piece| hasher.update(piece))
            .map_err(|error| broken(label, &format!("layer `{digest}`: {error}")))?;
        let found = Digest::from_sha256(hasher.finalize().into());
        if found == digest {
            Ok(path)
        } else {
            Err(broken(label, &format!("the layer `{digest}` has the digest `{found}`")))
        }
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.folder.join("blobs/sha256").join(digest.hex())
    }
}

/// The digest that a descriptor names.
pub(super) fn digest_of(label: &str, descriptor: &Value) -> Result<Digest, Error> {
    let digest = text(descriptor, "digest").unwrap_or_default();
    digest.parse().map_err(|error| broken(label, &format!("{error}")))
}

pub(super) fn broken(label: &str, why: &str) -> Error {
    Error::Broken { image: label.to_owned(), why: why.to_owned() }
}

pub(super) fn json(bytes: &[u8]) -> Option<Value> {
    serde_json::from_slice(bytes).ok()
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

fn read_small(path: &Path) -> std::io::Result<Vec<u8>> {
    read_at_most(path, MAX_JSON)
}

/// Reads a file of at most `most` bytes.
pub(super) fn read_at_most(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    fs_err::File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(std::io::Error::other(format!("it is larger than {most} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_word_may_be_a_tag() {
        for (called, name) in [
            ("quay.io/acme/todo:1.0.0", Some("todo")),
            ("localhost:5000/todo", Some("todo")),
            ("todo:1.0.0", Some("todo")),
            ("latest", None),
            ("1.0.0", None),
        ] {
            assert_eq!(repository_name(called).as_deref(), name, "{called}");
        }
    }
}
