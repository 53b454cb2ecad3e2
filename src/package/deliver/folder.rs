//! The plugins of images as folders, each whole or as it was before.

use std::fs::File;
use std::io;
use std::path::Path;

use flate2::read::GzDecoder;
use indexmap::IndexMap;
use serde_json::Value;

use crate::package::layout::{self, StoredImage};

/// Writes every plugin of `images` into `folder`, in place of the plugin that had its name, and enters them in
/// its `index.json`. Whatever else has such a name, such as the sources of a plugin, is an error.
pub(super) fn plugins(images: &[(StoredImage, &str)], folder: &Path) -> io::Result<()> {
    fs_err::create_dir_all(folder)?;
    let path = folder.join("index.json");
    let before: Vec<IndexMap<String, Value>> =
        fs_err::read(&path).ok().and_then(|before| serde_json::from_slice(&before).ok()).unwrap_or_default();
    let mut index: IndexMap<String, Value> = before.into_iter().flatten().collect();
    for (image, _) in images {
        let staging = tempfile::Builder::new().prefix(".partial-").tempdir_in(folder)?;
        let mut layer = tar::Archive::new(GzDecoder::new(File::open(image.blob_path(&image.layer))?));
        layer.set_preserve_permissions(true);
        layer.set_preserve_mtime(false);
        layer.unpack(staging.path())?;
        let listed = fs_err::read(staging.path().join("index.json"))?;
        let listed: Vec<IndexMap<String, Value>> = serde_json::from_slice(&listed)?;
        for (name, about) in listed.into_iter().flatten() {
            let target = folder.join(&name);
            if !index.contains_key(&name) && target.symlink_metadata().is_ok() {
                let why =
                    format!("`{name}` is there, and `index.json` does not list it as a plugin: remove it yourself");
                return Err(io::Error::other(why));
            }
            // First, so that a run that is killed here leaves nothing that the next one takes for somebody else's.
            index.insert(name.clone(), about);
            let listed: Vec<_> = index.iter().map(|entry| IndexMap::from([entry])).collect();
            layout::write_whole(&path, &serde_json::to_vec_pretty(&listed)?)?;
            if target.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
                fs_err::remove_dir_all(&target)?;
            } else if target.symlink_metadata().is_ok() {
                fs_err::remove_file(&target)?;
            }
            fs_err::rename(staging.path().join(&name), target)?;
        }
    }
    Ok(())
}
