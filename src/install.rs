//! A local `dynamic-plugins-root`, as RHDH's init container would leave it: artifacts that were looked at come in; one
//! folder a plugin goes out, with the files by which the installer knows what is installed.

pub mod app_config;
pub mod lock;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::artifact::unpack::{self, Unpacked};
use crate::artifact::{Archive, Image, Opened};
use crate::digest::Integrity;
use crate::package::{ArchiveKind, is_plain_name, tgz_folder};
use crate::verify::{Verified, VerifiedPlugin};

/// The installer's note of the entry that a plugin was installed for.
const CONFIG_HASH: &str = "dynamic-plugin-config.hash";
/// The installer's note of the image that a plugin came from.
const IMAGE_HASH: &str = "dynamic-plugin-image.hash";

/// The entry of `dynamic-plugins.yaml` with which RHDH would install the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// What to install.
    pub package: String,
    /// Of an archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub integrity: Option<Integrity>,
    /// Always false.
    pub disabled: bool,
}

/// What was installed.
#[derive(Clone, Debug)]
pub struct Installed {
    /// The folder's name in the root.
    pub dir: String,
    /// The package's name.
    pub name: String,
    /// The package's version.
    pub version: String,
    /// How RHDH would be told to install it; `None` for an image that is in no registry.
    pub entry: Option<Entry>,
    /// Number of files that were written; `None` where the same stood there already, and nothing was done.
    pub files: Option<u64>,
    /// Entries of the archive that installers leave out.
    pub left_out: Vec<String>,
    /// Folders of the same package that were removed.
    pub removed: Vec<String>,
}

/// Why a plugin could not be installed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    /// The plugin's name or version does not make a folder's name.
    #[error("`{0}` cannot be the name of a plugin's folder")]
    #[diagnostic(code("plugin-folder"), help("correct `name` and `version` of its package.json, and package it again"))]
    Folder(String),
    /// An archive is cut or broken.
    #[error("`{plugin}` cannot be unpacked: nothing of it was installed")]
    #[diagnostic(code("readable"), help("take it from its source again, or package the plugin again"))]
    Archive {
        /// The package's name.
        plugin: String,
        /// What is wrong.
        source: std::io::Error,
    },
    /// The root cannot be written.
    #[error("installing into `{}`", folder.display())]
    #[diagnostic(
        code("install"),
        help("check the folder's permissions and the space left, or choose another with `--root`")
    )]
    Io {
        /// The plugin's folder.
        folder: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Another installer is at work.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Lock(#[from] lock::Error),
    /// What the plugins bring along for RHDH's configuration cannot be written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    AppConfig(#[from] app_config::Error),
}

/// An image or an archive with a plugin in it, and its place among others with the same plugin.
struct Source<'a> {
    archive: &'a Path,
    /// The plugin's folder in the archive.
    top: &'a str,
    image: Option<&'a Image>,
    integrity: Option<&'a Integrity>,
    file_name: &'a str,
}

/// Installs what was opened, and is `verified`, into the folder `root`. A plugin that is there as image and as archive
/// is installed once: from the registry, else from its archive, else from an image that is on this machine only. One
/// that cannot be installed keeps no other from it.
pub fn install(root: &Path, opened: &Opened, verified: &[Verified]) -> Vec<Result<Installed, Error>> {
    let of = |kind: ArchiveKind| verified.iter().filter(move |verified| verified.kind == Some(kind));
    let mut images: Vec<(&Image, &Verified)> = opened.images.iter().zip(of(ArchiveKind::Image)).collect();
    // The image of one plugin before a bundle with it.
    images.sort_by_key(|(_, verified)| verified.plugins.len());
    let (published, local): (Vec<_>, Vec<_>) = images.into_iter().partition(|(image, _)| image.repository.is_some());
    let archives = opened.archives.iter().zip(of(ArchiveKind::Tgz));
    let mut sources: Vec<(Source<'_>, &VerifiedPlugin)> = published.iter().flat_map(of_image).collect();
    sources.extend(archives.flat_map(|(archive, verified)| of_archive(archive, verified)));
    sources.extend(local.iter().flat_map(of_image));
    let mut names = HashSet::new();
    sources.retain(|(_, plugin)| names.insert(plugin.name.as_str()));
    sources.iter().map(|(source, plugin)| install_one(root, source, plugin)).collect()
}

fn of_image<'a>((image, verified): &(&'a Image, &'a Verified)) -> Vec<(Source<'a>, &'a VerifiedPlugin)> {
    let image: &'a Image = image;
    let wanted = |plugin: &&VerifiedPlugin| image.folder.as_ref().is_none_or(|folder| *folder == plugin.dir);
    let Some(archive) = image.layer.as_deref() else { return Vec::new() };
    let plugins = verified.plugins.iter().filter(wanted);
    plugins
        .map(|plugin| {
            (Source { archive, top: &plugin.dir, image: Some(image), integrity: None, file_name: "" }, plugin)
        })
        .collect()
}

fn of_archive<'a>(archive: &'a Archive, verified: &'a Verified) -> Vec<(Source<'a>, &'a VerifiedPlugin)> {
    let source = |plugin| {
        let source = Source {
            archive: &archive.file,
            top: "package",
            image: None,
            integrity: Some(&archive.integrity),
            file_name: &archive.name,
        };
        (source, plugin)
    };
    verified.plugins.iter().map(source).collect()
}

fn install_one(root: &Path, source: &Source<'_>, plugin: &VerifiedPlugin) -> Result<Installed, Error> {
    // npm names its archive, and the installer the folder, after the package, whatever the file is called.
    let dir = match source.image {
        Some(_) => plugin.dir.clone(),
        None => tgz_folder(&plugin.name, &plugin.version),
    };
    if !is_plain_name(&dir, "") || plugin.name.is_empty() {
        return Err(Error::Folder(dir));
    }
    let entry = entry(source, &dir);
    let folder = root.join(&dir);
    let failed = |source| Error::Io { folder: folder.clone(), source };
    let not_filled = |error| match error {
        unpack::Error::Archive(source) => Error::Archive { plugin: plugin.name.clone(), source },
        unpack::Error::Folder(source) => failed(source),
    };
    let (files, left_out) = if is_installed(source, &entry, &folder) {
        (None, Vec::new())
    } else {
        let Unpacked { files, left_out, .. } = fill(root, source, &entry, &folder).map_err(not_filled)?;
        (Some(files), left_out)
    };
    let removed = remove_others(root, &plugin.name, &dir).map_err(failed)?;
    let (name, version) = (plugin.name.clone(), plugin.version.clone());
    let entry = Some(entry).filter(|_| source.image.is_none_or(|image| image.repository.is_some()));
    Ok(Installed { dir, name, version, entry, files, left_out, removed })
}

fn entry(source: &Source<'_>, dir: &str) -> Entry {
    let package = match source.image {
        Some(image) => {
            let repository = image.repository.as_ref().or(image.name.as_ref()).unwrap_or(&image.label);
            format!("oci://{repository}@{}!{dir}", image.digest)
        }
        None => format!("./{}", source.file_name),
    };
    Entry { package, integrity: source.integrity.cloned(), disabled: false }
}

/// Whether an installer noted that it made `folder` of the same: entries are pinned by digest or integrity.
fn is_installed(source: &Source<'_>, entry: &Entry, folder: &Path) -> bool {
    let note = |name: &str| fs_err::read_to_string(folder.join(name)).ok();
    note(CONFIG_HASH).is_some_and(|hash| hash.trim() == config_hash(entry))
        && source.image.is_none_or(|image| note(IMAGE_HASH).is_some_and(|hash| hash.trim() == image.digest.hex()))
}

/// Makes `folder` in one step: RHDH's backend may be watching.
fn fill(root: &Path, source: &Source<'_>, entry: &Entry, folder: &Path) -> Result<Unpacked, unpack::Error> {
    fs_err::create_dir_all(root).map_err(unpack::Error::Folder)?;
    let partial = tempfile::Builder::new().prefix(".partial-").tempdir_in(root).map_err(unpack::Error::Folder)?;
    // Below the temporary folder, which nobody else may read: this one has the mode that the umask gives it.
    let new = partial.path().join("plugin");
    let unpacked = unpack::unpack(source.archive, source.top, &new)?;
    let put = || {
        fs_err::write(new.join(CONFIG_HASH), config_hash(entry))?;
        if let Some(image) = source.image {
            fs_err::write(new.join(IMAGE_HASH), image.digest.hex())?;
        }
        if folder.is_dir() {
            fs_err::remove_dir_all(folder)?;
        }
        fs_err::rename(&new, folder)
    };
    put().map_err(unpack::Error::Folder)?;
    Ok(unpacked)
}

/// Removes other folders of the same package which an installer made: RHDH would load the plugin twice.
fn remove_others(root: &Path, name: &str, keep: &str) -> std::io::Result<Vec<String>> {
    let mut removed = Vec::new();
    for entry in fs_err::read_dir(root)? {
        let entry = entry?;
        let path = entry.path();
        let dir = entry.file_name().to_string_lossy().into_owned();
        if dir == keep || !path.join(CONFIG_HASH).is_file() {
            continue;
        }
        let manifest = fs_err::read(path.join("package.json")).unwrap_or_default();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap_or_default();
        if manifest.get("name").and_then(serde_json::Value::as_str) == Some(name) {
            fs_err::remove_dir_all(&path)?;
            removed.push(dir);
        }
    }
    removed.sort_unstable();
    Ok(removed)
}

/// The sha256 of the entry as `json.dumps(entry, sort_keys=True)` of `install-dynamic-plugins.py` writes it, with what
/// that adds: the level of the main file, and that a local package is no folder. The installer in TypeScript, of RHDH
/// 2, computes the same, but for local archives: there, it adds the time at which the file was changed.
fn config_hash(entry: &Entry) -> String {
    let mut text = String::from("{");
    if entry.package.starts_with("./") {
        text.push_str("\"_local_package_info\": {\"_not_found\": true}, ");
    }
    text.push_str("\"disabled\": false, ");
    if let Some(integrity) = &entry.integrity {
        text.push_str(&format!("\"integrity\": {}, ", python_string(integrity.as_str())));
    }
    text.push_str(&format!("\"last_modified_level\": 1, \"package\": {}}}", python_string(&entry.package)));
    hex::encode(Sha256::digest(text))
}

/// A JSON string as Python writes it: ASCII only.
fn python_string(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    let mut ascii = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() {
            ascii.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            ascii.push_str(&format!("\\u{unit:04x}"));
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_written_as_python_does() {
        assert_eq!(python_string("a\"ü😀"), r#""a\"\u00fc\ud83d\ude00""#);
    }

    /// The expected values stood in `dynamic-plugin-config.hash` after RHDH's own installers had run on these entries:
    /// the one in Python (RHDH 1.9) and the one in TypeScript for the image, the one in Python for the archive.
    #[test]
    fn entries_have_the_hashes_that_the_installers_gave_them() {
        let image = "oci://127.0.0.1/acme/acme-plugin-todo@sha256:\
                     bf588fd5a55fc52e735e7b1d86126261669e2c52cf22f6b9252a9c621bde179a!acme-plugin-todo";
        let integrity =
            "sha512-0a1nKfr361PT6/uymuI6KuVLq+epulg6FD7JBM/TMoXfrL9eEk1Oa7ct6qHg3d6X4LKb+OCm5IUWoGkQ/qrZ9A==";
        let hash = |package: &str, integrity: Option<&str>| {
            let integrity = integrity.map(|text| serde_json::from_value(text.into()).unwrap());
            config_hash(&Entry { package: package.to_owned(), integrity, disabled: false })
        };
        assert_eq!(hash(image, None), "2ec136df148e8719f23e5c314c8b570dc2fceedc94db199a415af8ff314ce897");
        let archive = "./acme-plugin-todo-backend-dynamic-0.1.0.tgz";
        let expected = "85f036d12be6692d64bf5d7ff3894e8ca76a4c6b1c9f732956438251410b1cdc";
        assert_eq!(hash(archive, Some(integrity)), expected);
    }
}
