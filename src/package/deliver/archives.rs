//! Images in one tar file: an OCI layout, or what `docker load` takes. The same images give the same bytes.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write};

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::package::archive::{NPM_TIME, tar};
use crate::package::layout::{StoredImage, index_json};

type Images<'a> = [(StoredImage, &'a str)];

/// A tar of an OCI layout that holds these images.
pub(super) fn oci(images: &Images<'_>, out: &mut File) -> io::Result<()> {
    let descriptors: Vec<Value> = images.iter().map(|(image, reference)| image.descriptor(reference)).collect();
    entry(out, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    entry(out, "index.json", index_json(&descriptors).as_bytes())?;
    folder(out, "blobs")?;
    folder(out, "blobs/sha256")?;
    let mut written = BTreeSet::new();
    for (image, _) in images {
        for blob in image.blobs() {
            if written.insert(blob.hex().to_owned()) {
                let mut file = File::open(image.blob_path(&blob))?;
                let size = file.metadata()?.len();
                out.write_all(&header(&format!("blobs/sha256/{}", blob.hex()), size))?;
                io::copy(&mut file, out)?;
                out.write_all(tar::padding(size))?;
            }
        }
    }
    out.write_all(&tar::END)
}

/// A tar as `docker save` writes it: layers without compression, each named by its digest without compression.
pub(super) fn docker(images: &Images<'_>, out: &mut File) -> io::Result<()> {
    let mut manifest = Vec::new();
    let mut written = BTreeSet::new();
    for (image, reference) in images {
        let config = std::fs::read(image.blob_path(&image.config))?;
        let config_name = format!("{}.json", image.config.hex());
        if written.insert(config_name.clone()) {
            entry(out, &config_name, &config)?;
        }
        let config: Value = serde_json::from_slice(&config)?;
        let diff_id = config.pointer("/rootfs/diff_ids/0").and_then(Value::as_str).unwrap_or_default();
        let layer_name = format!("{}.tar", diff_id.trim_start_matches("sha256:"));
        if written.insert(layer_name.clone()) {
            uncompressed(out, &layer_name, GzDecoder::new(File::open(image.blob_path(&image.layer))?))?;
        }
        manifest.push(json!({ "Config": config_name, "RepoTags": [reference], "Layers": [layer_name] }));
    }
    entry(out, "manifest.json", Value::Array(manifest).to_string().as_bytes())?;
    out.write_all(&tar::END)
}

/// Adds what `reader` gives, whose length is known only at its end.
fn uncompressed(out: &mut File, path: &str, mut reader: impl Read) -> io::Result<()> {
    let start = out.stream_position()?;
    out.write_all(&header(path, 0))?;
    let size = io::copy(&mut reader, out)?;
    out.write_all(tar::padding(size))?;
    let end = out.stream_position()?;
    out.seek(SeekFrom::Start(start))?;
    out.write_all(&header(path, size))?;
    out.seek(SeekFrom::Start(end))?;
    Ok(())
}

fn entry(out: &mut File, path: &str, content: &[u8]) -> io::Result<()> {
    out.write_all(&header(path, content.len() as u64))?;
    out.write_all(content)?;
    out.write_all(tar::padding(content.len() as u64))
}

fn folder(out: &mut File, path: &str) -> io::Result<()> {
    out.write_all(&tar::header(path, tar::Kind::Folder, 0, NPM_TIME))
}

fn header(path: &str, size: u64) -> Vec<u8> {
    tar::header(path, tar::Kind::File { executable: false }, size, NPM_TIME)
}
