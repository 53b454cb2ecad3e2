//! Paths of the configuration: the text of one comes in; what goes out is a path of the repository that leads to what
//! it should, or a problem that says why not.

use std::path::{Path, PathBuf};

use super::Gone;
use super::check::Check;
use super::nearest::nearest;
use crate::repo_path::{RepoPath, RepoPathError};

/// What a path should lead to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Folder,
    File,
    /// A folder that the program makes if it is not there.
    NewFolder,
}

#[derive(Debug, thiserror::Error)]
enum PathFault {
    #[error(transparent)]
    Path(RepoPathError),
    #[error("`{0}` is not a folder")]
    NotAFolder(RepoPath),
    #[error("`{0}` is not a file")]
    NotAFile(RepoPath),
}

impl Check<'_> {
    /// Reads the path at `key` and checks what it leads to on disk.
    pub(super) fn path(&mut self, key: &[&str], text: &str, target: Target) -> Option<RepoPath> {
        match self.try_path(text, target) {
            Ok(path) => Some(path),
            Err((error, help)) => {
                let label = match &error {
                    PathFault::Path(RepoPathError::Absolute(_)) => "not relative to the folder of this file",
                    PathFault::Path(RepoPathError::Outside(_) | RepoPathError::LinkOutside { .. }) => "outside",
                    PathFault::Path(RepoPathError::Character(_)) => "not a path of this repository",
                    PathFault::Path(RepoPathError::Unreadable { .. }) => "nothing to read here",
                    PathFault::NotAFolder(_) => "not a folder",
                    PathFault::NotAFile(_) => "not a file",
                };
                self.report(key, error.to_string(), label, help);
                None
            }
        }
    }

    /// Reads the path of the plugin `id`; one to a folder that does not exist is kept by itself.
    pub(super) fn plugin_folder(&mut self, id: &str, text: &str) -> Option<RepoPath> {
        let key = ["plugins", id, "path"];
        let not_found = |path: &RepoPath| {
            let found = path.under(self.root).symlink_metadata();
            found.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        };
        let path = RepoPath::new(text).ok();
        if let Some(path) = &path
            && self.places.is_plain_folder(path)
        {
            return Some(path.clone());
        }
        let Some(path) = path.filter(not_found) else {
            return self.path(&key, text, Target::Folder);
        };
        let message = format!("`{path}` does not exist");
        let help = self.near_path(text, Target::Folder);
        let mut problem = self.source.problem(&key, message, "nothing to read here", help);
        // Where a folder of many plugins was moved, that is one problem.
        if let Some(parent) = path.parent().filter(not_found) {
            problem = problem.because(format!("`{parent}` does not exist"));
        }
        self.gone.push(Gone { id: id.to_owned(), path, problem });
        None
    }

    fn try_path(&mut self, text: &str, target: Target) -> Result<RepoPath, (PathFault, String)> {
        let path = RepoPath::new(text).map_err(|error| self.fault(text, target, error))?;
        if target == Target::NewFolder {
            let mut existing = path.clone();
            while existing.under(self.root).symlink_metadata().is_err() {
                let Some(parent) = existing.parent() else { return Ok(path) };
                existing = parent;
            }
            let real = existing.locate(self.root).map_err(|error| self.fault(text, target, error))?;
            return if real.is_dir() {
                Ok(path)
            } else {
                Err((PathFault::NotAFolder(existing), "name a folder".into()))
            };
        }
        let located = self.places.locate(&path);
        let real = located.map_err(|error| self.fault(text, target, error))?;
        match target {
            Target::File if !real.is_file() => Err((PathFault::NotAFile(path), "name a file".into())),
            Target::Folder if !real.is_dir() => match path.parent() {
                Some(parent) if path.as_str().ends_with("/package.json") => {
                    Err((PathFault::NotAFolder(path), format!("name its folder: `\"{parent}\"`")))
                }
                _ => Err((PathFault::NotAFolder(path), "name a folder".into())),
            },
            _ => Ok(path),
        }
    }

    /// What is wrong with a path, and what to do about it.
    fn fault(&self, text: &str, target: Target, error: RepoPathError) -> (PathFault, String) {
        let help = match &error {
            RepoPathError::Absolute(_) => match Path::new(text).strip_prefix(self.root) {
                Ok(inside) => format!("write it from here: `\"{}\"`", inside.display()),
                Err(_) => "write it relative to the folder of `rhdh-plugins.toml`".to_owned(),
            },
            RepoPathError::Outside(_) => "a path may not go above the folder of `rhdh-plugins.toml`".to_owned(),
            RepoPathError::LinkOutside { .. } => "replace the link by what it points to".to_owned(),
            RepoPathError::Character(_) => "write the path with `/` between its folders".to_owned(),
            RepoPathError::Unreadable { .. } => self.near_path(text, target),
        };
        (PathFault::Path(error), help)
    }

    /// What to do about a path that does not exist: the nearest that does, in the deepest folder that does.
    fn near_path(&self, text: &str, target: Target) -> String {
        let what = if target == Target::File { "file" } else { "folder" };
        let otherwise = format!("correct the path, or create the {what}");
        let Ok(path) = RepoPath::new(text) else { return otherwise };
        let Some(parent) = path.parent() else { return otherwise };
        let Ok(folder) = parent.locate(self.root) else { return otherwise };
        let names: Vec<String> = fs_err::read_dir(folder)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        let last = path.as_str().rsplit('/').next().unwrap_or_default();
        let mut near = names.iter().map(String::as_str).collect::<Vec<_>>();
        near.sort_unstable();
        match nearest(last, near).and_then(|name| parent.join(name).ok()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => otherwise,
        }
    }

    /// The place on disk of a folder that was checked: two paths to the same folder have the same.
    pub(super) fn real(&mut self, path: &RepoPath) -> PathBuf {
        self.places.locate(path).unwrap_or_else(|_| path.under(self.root))
    }
}
