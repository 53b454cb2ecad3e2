//! The plugins of images as folders, each whole or as it was before.

use std::fs::File;
use std::io;
use std::path::Path;

use flate2::read::GzDecoder;
use indexmap::IndexMap;
use serde_json::Value;

use crate::package::layout::{self, StoredImage};

/// Writes every plugin of `images` into `folder`, in place of what had its name, and an `index.json` of all of them.
pub(super) fn plugins(images: &[(StoredImage, &str)], folder: &Path) -> io::Result<()> {
    fs_err::create_dir_all(folder)?;
    // A plugin may also be a member of a bundle.
    let mut index: IndexMap<String, Value> = IndexMap::new();
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
            if target.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
                fs_err::remove_dir_all(&target)?;
            } else if target.symlink_metadata().is_ok() {
                fs_err::remove_file(&target)?;
            }
            fs_err::rename(staging.path().join(&name), target)?;
            index.insert(name, about);
        }
    }
    let index: Vec<IndexMap<String, Value>> = index.into_iter().map(|entry| IndexMap::from([entry])).collect();
    let index = serde_json::to_vec_pretty(&index)?;
    layout::write_whole(&folder.join("index.json"), &index)
}
