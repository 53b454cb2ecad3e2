//! Images in registries: a reference comes in; the image goes out, its manifest, config and first layer in a temporary
//! OCI layout.

use serde_json::{Value, json};

use super::layout::{self, MAX_JSON, broken, digest_of};
use super::place::{Reference, Version};
use super::{Error, Opened, Opener};
use crate::config::Registry;
use crate::package::rehearse;
use crate::registry::{BlobFile, ManifestRef, Repository};

/// No layer that is larger is read, in bytes: an unpacked plugin is a hundredth of that.
const MAX_LAYER: u64 = 4 << 30;

/// Reads the image that `reference` names.
pub(super) async fn fetch(opener: &Opener<'_>, reference: &Reference) -> Result<Opened, Error> {
    let label = reference.to_string();
    let repository = repository(opener, reference).await?;
    let by = match &reference.version {
        Version::Tag(tag) => ManifestRef::Tag(tag),
        Version::Digest(digest) => ManifestRef::Digest(digest),
    };
    let top = repository.manifest(by).await?.ok_or_else(|| Error::NoSuchImage(label.clone()))?;
    let folder = tempfile::Builder::new().prefix("rhdh-pack-").tempdir().map_err(Error::io(&std::env::temp_dir()))?;
    let store = Store { label: &label, repository: &repository, folder: folder.path() };
    store.write(top.digest.hex(), &top.bytes)?;
    let mut manifest = layout::json(&top.bytes).ok_or_else(|| broken(&label, "the manifest is not JSON"))?;
    if manifest.get("manifests").is_some()
        && let (_, Some(chosen)) = rehearse::index(&manifest, opener.releases)
    {
        let digest = digest_of(&label, &chosen)?;
        let image = repository.manifest(ManifestRef::Digest(&digest)).await?;
        let image = image.ok_or_else(|| broken(&label, "the index names an image that the registry does not have"))?;
        store.write(digest.hex(), &image.bytes)?;
        manifest = layout::json(&image.bytes).ok_or_else(|| broken(&label, "the manifest is not JSON"))?;
    }
    let layers = manifest.get("layers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if let Some(config) = manifest.get("config") {
        store.blob(config, MAX_JSON).await?;
    }
    let step = opener.ui.step(&label, "fetch");
    if let Some(layer) = layers.first() {
        store.blob(layer, MAX_LAYER).await?;
    }
    drop(step);
    let index = json!({ "schemaVersion": 2, "manifests": [{ "digest": top.digest }] });
    fs_err::write(folder.path().join("index.json"), index.to_string()).map_err(Error::io(folder.path()))?;
    let mut opened = opener.layout(folder.path(), None)?;
    for image in &mut opened.images {
        image.label.clone_from(&label);
        image.name = Some(reference.name().to_owned());
        image.repository = Some(repository.to_string());
        image.folder.clone_from(&reference.folder);
    }
    opened.temporary = Some(folder);
    Ok(opened)
}

/// The repository of `reference`, with what the configuration says of its registry.
pub(super) async fn repository(opener: &Opener<'_>, reference: &Reference) -> Result<Repository, Error> {
    let whole = format!("{}/{}", reference.host, reference.path);
    let registries = opener.config.iter().flat_map(|config| &config.registries);
    let configured = registries.filter_map(|(name, registry)| match registry {
        Registry::Oci { prefix, insecure } if whole.starts_with(&format!("{prefix}/")) => {
            Some((name, prefix, *insecure))
        }
        _ => None,
    });
    let session = opener.registries()?;
    let client = match configured.max_by_key(|(_, prefix, _)| prefix.len()) {
        Some((name, prefix, insecure)) => {
            let image = whole.strip_prefix(&format!("{prefix}/")).unwrap_or(&whole).to_owned();
            return Ok(session.client(name, prefix, insecure)?.repository_to_read(&image).await?);
        }
        None => session.client("", &reference.host, false)?,
    };
    Ok(client.repository_to_read(&reference.path).await?)
}

/// Where blobs go.
struct Store<'a> {
    label: &'a str,
    repository: &'a Repository,
    folder: &'a std::path::Path,
}

impl Store<'_> {
    fn write(&self, hex: &str, bytes: &[u8]) -> Result<(), Error> {
        let blobs = self.folder.join("blobs/sha256");
        fs_err::create_dir_all(&blobs).and_then(|()| fs_err::write(blobs.join(hex), bytes)).map_err(Error::io(&blobs))
    }

    async fn blob(&self, descriptor: &Value, most: u64) -> Result<(), Error> {
        let digest = digest_of(self.label, descriptor)?;
        let size = descriptor.get("size").and_then(Value::as_u64).unwrap_or(u64::MAX);
        if size > most {
            return Err(broken(self.label, &format!("the blob `{digest}` has {size} bytes, more than is read")));
        }
        let path = self.folder.join("blobs/sha256").join(digest.hex());
        // Its digest is looked at when the layout is opened.
        Ok(self.repository.download(&BlobFile { digest, size, path }).await?)
    }
}
