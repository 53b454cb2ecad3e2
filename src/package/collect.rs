//! Bringing what another machine packaged into this output folder. It may come from a job with less rights than this
//! one has: nothing of it is believed. Every file is a plain file, and has the digest or integrity that its result
//! says.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest as _, Sha256, Sha512};

use super::layout::{self, Layout};
use super::rehearse::{self, Allowance, Contents, Finding, ImageBytes, NotARelease, Release};
use super::{PackagedImage, PackagedSbom, PackagedTgz, tgz};
use crate::digest::Digest;

/// Registries take no larger manifests, in bytes.
const MAX_MANIFEST: u64 = 4 << 20;

/// Why something was not brought in.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    /// It cannot be read or written.
    #[error("bringing `{}` into the output folder", path.display())]
    #[diagnostic(help("upload the whole output folder of every leg, and download it to a folder of its own"))]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is something else.
    #[error("`{}` is not what its `result.json` says: {why}", path.display())]
    #[diagnostic(help("the files of a leg were changed after it ended: run the leg again"))]
    Other {
        /// The file.
        path: PathBuf,
        /// In what it differs.
        why: String,
    },
    /// RHDH would not install it.
    #[error("RHDH does not install the image `{name}`: {}", finding.text)]
    #[diagnostic(help("{}", finding.help))]
    Fails {
        /// The image.
        name: String,
        /// The first of what it fails at.
        finding: Box<Finding>,
    },
    /// It is not known whose rules count.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Release(#[from] NotARelease),
}

/// An image to bring in, and the rules that it may break.
pub type Incoming<'a> = (&'a PackagedImage, Vec<Allowance>);

/// Copies `images`, their `sboms`, and `archives` of the output folder `from` into the output folder `to`, looks at
/// every byte, and rehearses the images once more against the rules of the RHDH release `rhdh`.
///
/// # Errors
/// When one of them is missing, is no plain file, has other bytes than its digest or integrity says, or would not be
/// installed.
pub fn collect(
    from: &Path,
    to: &Path,
    images: &[Incoming<'_>],
    sboms: &[&PackagedSbom],
    archives: &[&PackagedTgz],
    rhdh: &str,
) -> Result<(), Error> {
    let releases = [rhdh.parse::<Release>()?];
    if !images.is_empty() {
        let oci = to.join("oci");
        let mut layout = Layout::open(oci.clone()).map_err(|source| Error::Io { path: oci, source })?;
        for (image, allow) in images {
            copy_image(&from.join("oci/blobs/sha256"), &mut layout, image, allow, &releases)?;
        }
    }
    for sbom in sboms {
        copy_sbom(from, to, sbom)?;
    }
    for archive in archives {
        copy_archive(from, to, archive)?;
    }
    Ok(())
}

fn copy_image(
    blobs: &Path,
    layout: &mut Layout,
    image: &PackagedImage,
    allow: &[Allowance],
    releases: &[Release],
) -> Result<(), Error> {
    let path = blobs.join(image.digest.hex());
    let io = |source| Error::Io { path: path.clone(), source };
    let manifest = copy_blob(&path, layout, &image.digest, MAX_MANIFEST, true)?;
    let other = |why: &str| Error::Other { path: path.clone(), why: why.to_owned() };
    let json: Value = serde_json::from_slice(&manifest).map_err(|_| other("it is no manifest"))?;
    let digest = |blob: Option<&Value>| blob?.get("digest")?.as_str()?.parse::<Digest>().ok();
    let no_digest = || other("a blob of it has no sha256 digest");
    let config = digest(json.get("config")).ok_or_else(no_digest)?;
    let config = copy_blob(&blobs.join(config.hex()), layout, &config, MAX_MANIFEST, true)?;
    for layer in json.get("layers").and_then(Value::as_array).into_iter().flatten() {
        let layer = digest(Some(layer)).ok_or_else(no_digest)?;
        copy_blob(&blobs.join(layer.hex()), layout, &layer, u64::MAX, false)?;
        let contents = Contents::read(&mut fs_err::File::open(layout.blob_path(&layer)).map_err(io)?);
        let bytes =
            ImageBytes { name: &image.name, folder: None, manifest: &manifest, config: &config, layer: &contents };
        let (mut findings, _) = rehearse::image(&bytes, releases);
        Allowance::apply(allow, &mut findings);
        if let Some(finding) = findings.into_iter().find(Finding::is_fatal) {
            return Err(Error::Fails { name: image.name.clone(), finding: Box::new(finding) });
        }
    }
    layout.tag(&image.name, &image.digest, manifest.len() as u64).map_err(io)
}

/// Copies a blob; its bytes are given back where they are `wanted`.
fn copy_blob(path: &Path, layout: &Layout, digest: &Digest, most: u64, wanted: bool) -> Result<Vec<u8>, Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let mut blob = layout.new_blob().map_err(io)?;
    let (mut hash, mut kept) = (Sha256::new(), Vec::new());
    copy(path, most, |bytes| {
        hash.update(bytes);
        if wanted {
            kept.extend_from_slice(bytes);
        }
        blob.write_all(bytes)
    })?;
    let found = Digest::from_sha256(hash.finalize().into());
    if found != *digest {
        return Err(Error::Other { path: path.to_owned(), why: format!("its digest is `{found}`") });
    }
    layout.keep(blob, digest).map_err(io)?;
    Ok(kept)
}

fn copy_sbom(from: &Path, to: &Path, sbom: &PackagedSbom) -> Result<(), Error> {
    let path = from.join(&sbom.file);
    let other = |why: String| Error::Other { path: path.clone(), why };
    if !is_inside(&sbom.file) {
        return Err(other("it is not in the output folder".to_owned()));
    }
    let io = |source| Error::Io { path: path.clone(), source };
    let target = to.join(&sbom.file);
    let mut file = layout::temporary_file(target.parent().unwrap_or(to)).map_err(io)?;
    let mut hash = Sha256::new();
    copy(&path, sbom.size, |bytes| {
        hash.update(bytes);
        file.write_all(bytes)
    })?;
    let found = Digest::from_sha256(hash.finalize().into());
    if found != sbom.digest {
        return Err(other(format!("its digest is `{found}`")));
    }
    layout::persist(file, &target).map_err(io)
}

/// Whether a path stays in the folder that it is relative to.
fn is_inside(file: &Path) -> bool {
    file.components().all(|part| matches!(part, Component::Normal(_)))
}

fn copy_archive(from: &Path, to: &Path, archive: &PackagedTgz) -> Result<(), Error> {
    let path = from.join(&archive.file);
    let other = |why: String| Error::Other { path: path.clone(), why };
    if !is_inside(&archive.file) {
        return Err(other("it is not in the output folder".to_owned()));
    }
    let io = |source| Error::Io { path: path.clone(), source };
    let target = to.join(&archive.file);
    let mut file = layout::temporary_file(target.parent().unwrap_or(to)).map_err(io)?;
    let mut hash = Sha512::new();
    copy(&path, u64::MAX, |bytes| {
        hash.update(bytes);
        file.write_all(bytes)
    })?;
    let found = format!("sha512-{}", STANDARD.encode(hash.finalize()));
    if found != archive.integrity.as_str() {
        return Err(other(format!("its integrity is `{found}`")));
    }
    layout::persist(file, &target).map_err(io)?;
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let beside = target.with_file_name(tgz::integrity_name(&name));
    layout::write_whole(&beside, tgz::integrity_line(&archive.integrity).as_bytes()).map_err(io)
}

/// Gives the bytes of a plain file to `sink`: no link is followed, and no pipe waited for.
fn copy(path: &Path, most: u64, mut sink: impl FnMut(&[u8]) -> std::io::Result<()>) -> Result<(), Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let mut options = fs_err::OpenOptions::new();
    options.read(true).options_mut().custom_flags(flags.bits().cast_signed());
    let mut file = options.open(path).map_err(io)?;
    if !file.metadata().map_err(io)?.is_file() {
        return Err(io(std::io::Error::other("it is not a file")));
    }
    let mut buffer = vec![0; 128 << 10];
    let mut total = 0;
    loop {
        let length = file.read(&mut buffer).map_err(io)?;
        if length == 0 {
            return Ok(());
        }
        total += length as u64;
        if total > most {
            return Err(Error::Other { path: path.to_owned(), why: format!("it is larger than {most} bytes") });
        }
        sink(&buffer[..length]).map_err(io)?;
    }
}
