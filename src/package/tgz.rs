//! The name of an archive as `npm pack` gives it, and the file with its integrity beside it.

use std::path::Path;

use crate::digest::Integrity;

/// The longest name of a file or folder, in bytes.
pub(crate) const MAX_NAME: usize = 255;

/// `@acme/plugin-todo` 1.0.0 is `acme-plugin-todo-1.0.0.tgz`.
pub(crate) fn file_name(name: &str, version: &str) -> String {
    format!("{}-{version}.tgz", name.strip_prefix('@').unwrap_or(name).replace('/', "-"))
}

/// The folder that RHDH's installer makes for it, after the archive's name as `npm pack` gives it. npm replaces one slash
/// only: names with more of them, and versions with one, make no folder.
pub(crate) fn folder_name(name: &str, version: &str) -> String {
    format!("{}-{version}", name.strip_prefix('@').unwrap_or(name).replacen('/', "-", 1))
}

/// Whether a file or folder can have this name, directly in the folder of all plugins, with `ending`.
pub(crate) fn is_plain_name(name: &str, ending: &str) -> bool {
    let is_special = matches!(name, "" | "." | "..") || name.contains('/') || name.contains(char::is_control);
    !is_special && name.len() + ending.len() <= MAX_NAME
}

/// The file that holds the integrity of the archive `file_name`.
pub(crate) fn integrity_name(file_name: &str) -> String {
    format!("{file_name}.integrity")
}

/// The content of that file.
pub(crate) fn integrity_line(integrity: &Integrity) -> String {
    format!("{integrity}\n")
}

/// Removes the archives of other versions of the package `name` from `folder`: they are of older runs.
pub(crate) fn remove_others(folder: &Path, name: &str, keep: &str) -> std::io::Result<()> {
    let prefix = file_name(name, "");
    let prefix = prefix.strip_suffix(".tgz").unwrap_or(&prefix);
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        let Ok(file) = entry.file_name().into_string() else { continue };
        let archive = file.strip_suffix(".integrity").unwrap_or(&file);
        let version = archive.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(".tgz"));
        if archive != keep && version.is_some_and(|version| nodejs_semver::Version::parse(version).is_ok()) {
            fs_err::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_other_versions_of_the_same_package_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let names = [
            "acme-todo-1.0.0.tgz",
            "acme-todo-0.9.0.tgz",
            "acme-todo-0.9.0.tgz.integrity",
            "acme-todo-backend-0.9.0.tgz",
            "acme-todo-.tgz",
            "README",
        ];
        for name in names {
            fs_err::write(folder.path().join(name), "").unwrap();
        }
        remove_others(folder.path(), "@acme/todo", "acme-todo-1.0.0.tgz").unwrap();
        let mut left: Vec<_> =
            fs_err::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort_unstable();
        assert_eq!(left, ["README", "acme-todo-.tgz", "acme-todo-1.0.0.tgz", "acme-todo-backend-0.9.0.tgz"]);
    }
}
