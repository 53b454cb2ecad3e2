//! OCI image layouts and archives, written by hand as packaging would leave them in its output folder.

use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use rhdh_pack::digest::{Digest, Integrity};
use rhdh_pack::package::{PackagedImage, PackagedTgz};
use serde_json::{Value, json};
use sha2::Digest as _;

/// Adds an image with one layer of `layer` to the layout in `<output>/oci`.
pub(crate) fn add_image(output: &Path, name: &str, version: &str, layer: &[u8]) -> PackagedImage {
    annotated(output, name, &json!({ "org.opencontainers.image.version": version }), layer)
}

/// As [`add_image`], with these annotations.
pub(crate) fn annotated(output: &Path, name: &str, annotations: &Value, layer: &[u8]) -> PackagedImage {
    let oci = output.join("oci");
    std::fs::create_dir_all(oci.join("blobs/sha256")).unwrap();
    std::fs::write(oci.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let layer_digest = write_blob(output, layer);
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [layer_digest] },
    })
    .to_string();
    let config_digest = write_blob(output, config.as_bytes());
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config_digest, "size": config.len(),
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": layer_digest, "size": layer.len(),
        }],
        "annotations": annotations,
    })
    .to_string();
    let digest = write_blob(output, manifest.as_bytes());
    let index_path = oci.join("index.json");
    let mut index: Value = std::fs::read(&index_path)
        .map(|text| serde_json::from_slice(&text).unwrap())
        .unwrap_or_else(|_| json!({ "schemaVersion": 2, "manifests": [] }));
    index["manifests"].as_array_mut().unwrap().push(json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest, "size": manifest.len(),
        "annotations": { "org.opencontainers.image.ref.name": name },
    }));
    std::fs::write(index_path, index.to_string()).unwrap();
    let size = (manifest.len() + config.len() + layer.len()) as u64;
    PackagedImage { name: name.to_owned(), digest, size, files: 1 }
}

/// Where the blob with this digest is.
pub(crate) fn blob(output: &Path, digest: &Digest) -> std::path::PathBuf {
    output.join("oci/blobs/sha256").join(digest.hex())
}

fn write_blob(output: &Path, bytes: &[u8]) -> Digest {
    let digest = Digest::of(bytes);
    std::fs::write(blob(output, &digest), bytes).unwrap();
    digest
}

/// A layer that holds one file of `size` bytes, which no compression makes smaller. The same `seed`, the same layer.
pub(crate) fn layer(seed: u64, size: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut content = vec![0; size];
    random.fill(&mut content);
    let mut header = tar::Header::new_ustar();
    header.set_size(size as u64);
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::Regular);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, "plugin/data", content.as_slice()).unwrap();
    archive.into_inner().unwrap()
}

/// Writes `<output>/tgz/<name>`.
pub(crate) fn add_tgz(output: &Path, name: &str, bytes: &[u8]) -> PackagedTgz {
    std::fs::create_dir_all(output.join("tgz")).unwrap();
    std::fs::write(output.join("tgz").join(name), bytes).unwrap();
    PackagedTgz {
        file: Path::new("tgz").join(name),
        integrity: Integrity::from_sha512(sha2::Sha512::digest(bytes).into()),
        size: bytes.len() as u64,
    }
}

/// An archive as `npm pack` makes it, of a package with this `package.json` and one more file.
pub(crate) fn archive_of(manifest: &Value, content: &str) -> Vec<u8> {
    let manifest = manifest.to_string();
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, content) in [("package/index.js", content), ("package/package.json", &manifest)] {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_entry_type(tar::EntryType::Regular);
        archive.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}
