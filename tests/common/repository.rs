//! Repositories of plugins in temporary folders.

use std::path::Path;

use tempfile::TempDir;

use super::{rhdh_pack, transcript};

/// A yarn workspace in a folder that is gone when this is dropped.
pub(crate) struct Repository {
    folder: TempDir,
}

impl Repository {
    /// With a frontend in `plugins/todo`, a backend in `plugins/todo-backend` and a library in `plugins/todo-common`;
    /// without configuration.
    pub(crate) fn new() -> Self {
        let repository = Self { folder: tempfile::tempdir().unwrap() };
        repository
            .write(".git/HEAD", "ref: refs/heads/main\n")
            .write("package.json", r#"{ "name": "root", "private": true, "workspaces": ["plugins/*"] }"#)
            .write("yarn.lock", "")
            .write("backstage.json", r#"{ "version": "1.42.5" }"#)
            .package("plugins/todo", "@acme/plugin-todo", "1.0.0", "frontend-plugin")
            .package("plugins/todo-backend", "@acme/plugin-todo-backend", "1.0.0", "backend-plugin")
            .package("plugins/todo-common", "@acme/plugin-todo-common", "1.0.0", "common-library");
        repository
    }

    /// Writes a file, and the folders above it.
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let file = self.root().join(path);
        fs_err::create_dir_all(file.parent().unwrap()).unwrap();
        fs_err::write(file, content).unwrap();
        self
    }

    /// Writes a package of the workspace.
    pub(crate) fn package(&self, folder: &str, name: &str, version: &str, role: &str) -> &Self {
        let manifest = serde_json::json!({ "name": name, "version": version, "backstage": { "role": role } });
        self.write(&format!("{folder}/package.json"), manifest.to_string())
    }

    /// Writes the configuration.
    pub(crate) fn config(&self, text: impl AsRef<[u8]>) -> &Self {
        self.write("rhdh-plugins.toml", text)
    }

    /// Makes a link at `path`.
    pub(crate) fn link(&self, path: &str, target: &str) -> &Self {
        std::os::unix::fs::symlink(target, self.root().join(path)).unwrap();
        self
    }

    pub(crate) fn remove(&self, path: &str) -> &Self {
        fs_err::remove_file(self.root().join(path)).unwrap();
        self
    }

    pub(crate) fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Runs the program in the repository's root: exit code, stdout and stderr.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        transcript(&rhdh_pack(self.root()).args(arguments).output().unwrap(), self.root())
    }
}
