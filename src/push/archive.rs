//! The tgz archives of the output folder, which may come from a job with less rights than this one has: their bytes are
//! compared with what packaging made, and what they say of themselves is fit for npm's command line and for URLs.

use std::io::{ErrorKind, Read};
use std::path::{Component, Path, PathBuf};

use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256, Sha512};

use super::layout;
use super::notes::Failure;
use super::{ArtifactToPush, Request};
use crate::digest::{Digest, Integrity};
use crate::package::{PackagedTgz, tgz_name};
use crate::registry::BlobFile;

/// No `package.json` is larger.
const MAX_MANIFEST: u64 = 16 * 1024 * 1024;

/// What `publishConfig` may hold: npm takes any other key for a setting of its own, and a proxy or a certificate that
/// an archive names would get the credentials. Most of these are fields that package managers put in the place of
/// those above.
const PUBLISH_CONFIG: [&str; 23] = [
    "access",
    "alphaTypes",
    "betaTypes",
    "bin",
    "browser",
    "cpu",
    "directory",
    "engines",
    "executableFiles",
    "exports",
    "imports",
    "libc",
    "linkDirectory",
    "main",
    "module",
    "os",
    "provenance",
    "registry",
    "tag",
    "type",
    "types",
    "typesVersions",
    "typings",
];

/// An archive on its way to somewhere.
pub(super) struct Archive {
    path: PathBuf,
    pub(super) name: String,
    pub(super) integrity: Integrity,
    pub(super) size: u64,
    /// The name and version that its package must have.
    expected: Option<(String, String)>,
}

impl Archive {
    /// The archive that packaging says it made of `artifact`. Which name it has in a folder, a release or a registry is
    /// not for the job that packaged it to say: that job may have run anybody's code.
    pub(super) fn new(request: &Request, artifact: &ArtifactToPush, tgz: &PackagedTgz) -> Result<Self, Failure> {
        let wrong = |why: &str| Failure {
            code: "archive",
            message: format!("`{}` is not {why}", tgz.file.display()),
            help: Some("run `rhdh-pack package` again".to_owned()),
        };
        let inside = tgz.file.components().all(|part| matches!(part, Component::Normal(_)));
        let name = tgz.file.file_name().and_then(|name| name.to_str()).filter(|_| inside);
        let name = name.ok_or_else(|| wrong("a file of the output folder"))?;
        if !is_plain(name) || !name.ends_with(".tgz") {
            return Err(wrong("the name of an archive"));
        }
        if let Some((package, version)) = &artifact.package
            && !names_of(package).iter().any(|package| tgz_name(package, version) == name)
        {
            return Err(wrong(&format!("the archive of `{package}` {version}")));
        }
        let (path, name, expected) = (request.output.join(&tgz.file), name.to_owned(), artifact.package.clone());
        Ok(Self { path, name, integrity: tgz.integrity.clone(), size: tgz.size, expected })
    }

    /// Reads all of it, piece by piece.
    ///
    /// # Errors
    /// When it cannot be read, is not what packaging made, or `sink` does not take it.
    pub(super) async fn read(&self, sink: impl FnMut(&[u8]) -> std::io::Result<()>) -> Result<(), Failure> {
        let failed = |error: std::io::Error| Failure {
            code: "archive",
            message: format!("copying `{}`: {error}", self.path.display()),
            help: help(&error),
        };
        let (integrity, size) = integrity_of(layout::open(&self.path).map_err(failed)?, sink).await.map_err(failed)?;
        if integrity == self.integrity && size == self.size {
            return Ok(());
        }
        Err(Failure {
            code: "archive",
            message: format!(
                "`{}` has {size} bytes with the integrity `{integrity}`, and packaging made {} with `{}`",
                self.path.display(),
                self.size,
                self.integrity
            ),
            help: Some("run `rhdh-pack package` again: the output folder was changed after packaging".to_owned()),
        })
    }

    /// The archive as a file to upload, with its sha256.
    pub(super) async fn blob(&self) -> Result<BlobFile, Failure> {
        let mut hasher = Sha256::new();
        let hash = |piece: &[u8]| {
            hasher.update(piece);
            Ok(())
        };
        self.read(hash).await?;
        let digest = Digest::from_sha256(hasher.finalize().into());
        Ok(BlobFile { digest, size: self.size, path: self.path.clone() })
    }

    /// What its package says, read at `copy` or where the archive is.
    pub(super) fn package(&self, copy: Option<&Path>) -> Result<Package, Failure> {
        let package = Package::in_archive(copy.unwrap_or(&self.path))?;
        match &self.expected {
            Some((name, version)) if !names_of(name).contains(&package.name) || package.version != *version => {
                Err(Failure {
                    code: "archive",
                    message: format!(
                        "`{}` holds `{}` {}, and the repository has `{name}` {version}",
                        self.name, package.name, package.version
                    ),
                    help: Some("run `rhdh-pack package` again".to_owned()),
                })
            }
            _ => Ok(package),
        }
    }
}

/// The names that an export of `package` may have: the RHDH CLI appends `-dynamic`.
fn names_of(package: &str) -> [String; 2] {
    let name = package.strip_suffix("-dynamic").unwrap_or(package);
    [name.to_owned(), format!("{name}-dynamic")]
}

/// What an archive's `package.json` says.
#[derive(Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    #[serde(default, rename = "publishConfig")]
    pub(super) publish_config: Map<String, Value>,
}

impl Package {
    /// Reads `package/package.json` of an archive.
    fn in_archive(archive: &Path) -> Result<Self, Failure> {
        let wrong = |why: String| Failure {
            code: "archive",
            message: format!("reading `package/package.json` of the archive: {why}"),
            help: Some("run `rhdh-pack package` again".to_owned()),
        };
        let file = super::layout::open(archive).map_err(|error| wrong(error.to_string()))?;
        let mut archive = tar::Archive::new(GzDecoder::new(file));
        for entry in archive.entries().map_err(|error| wrong(error.to_string()))? {
            let entry = entry.map_err(|error| wrong(error.to_string()))?;
            if &*entry.path_bytes() == b"package/package.json" {
                let mut text = Vec::new();
                entry.take(MAX_MANIFEST).read_to_end(&mut text).map_err(|error| wrong(error.to_string()))?;
                let package: Self = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
                return match is_plain(&package.name) && is_plain(&package.version) {
                    true => Ok(package),
                    false => Err(wrong("name or version is not one of npm".to_owned())),
                };
            }
        }
        Err(wrong("there is none".to_owned()))
    }
}

/// The first key of a `publishConfig` that npm would take for a setting of its own.
pub(super) fn foreign_key(publish_config: &Map<String, Value>) -> Option<&str> {
    publish_config.keys().map(String::as_str).find(|key| !PUBLISH_CONFIG.contains(key))
}

/// Whether `text` can be an argument of npm, and is nothing else to it than a name or a version.
pub(super) fn is_plain(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric() || "@_".contains(first))
        && text.chars().all(|character| character.is_ascii_alphanumeric() || "@/-_.~+".contains(character))
}

/// What to do about a disk of this machine.
pub(super) fn help(error: &std::io::Error) -> Option<String> {
    let is_full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
    is_full.then(|| "make room on this machine's disk, then run the command again".to_owned())
}

/// The integrity and the number of bytes of what `file` has, which is given to `sink` piece by piece.
pub(super) async fn integrity_of(
    mut file: impl Read,
    mut sink: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> std::io::Result<(Integrity, u64)> {
    let mut hasher = Sha512::new();
    let mut size = 0;
    let mut piece = vec![0; 256 * 1024];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok((Integrity::from_sha512(hasher.finalize().into()), size));
        }
        hasher.update(&piece[..read]);
        sink(&piece[..read])?;
        size += read as u64;
        // A place to end for an interrupted run, and to go on for others.
        tokio::task::yield_now().await;
    }
}
