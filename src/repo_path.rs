//! Paths that stay inside the repository. Text from configuration and `package.json` files comes in; what goes
//! out is a relative, normalised path, or an error that says why the text is not one.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A path relative to the folder of `rhdh-plugins.toml`: UTF-8, `/` between its parts, no `.` or `..`, never
/// absolute. The root itself is the empty path, shown as `.`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct RepoPath(String);

/// Why a text or a place on disk is not a [`RepoPath`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RepoPathError {
    /// Begins with `/`, or with a drive letter.
    #[error("`{0}` is an absolute path")]
    Absolute(String),
    /// Has more `..` than folders before them.
    #[error("`{0}` leaves the repository")]
    Outside(String),
    /// A link on the way points out of the repository.
    #[error("`{path}` leaves the repository through a link, to `{target}`")]
    LinkOutside {
        /// The path as it was written.
        path: String,
        /// Where the links lead.
        target: String,
    },
    /// Holds a backslash or a control character, which no path of a repository needs.
    #[error("`{0}` holds a backslash or a control character")]
    Character(String),
    /// Does not exist, or cannot be read.
    #[error("`{path}` {why}")]
    Unreadable {
        /// The path as it was written.
        path: String,
        /// `does not exist`, or `cannot be read: …`.
        why: String,
    },
}

impl RepoPath {
    /// Reads a path as a person writes it: `./plugins/todo/` is `plugins/todo`.
    ///
    /// # Errors
    /// When the text is absolute, leaves the repository, or holds characters that no such path has.
    pub fn new(text: &str) -> Result<Self, RepoPathError> {
        if text.starts_with('/') || text.as_bytes().get(1) == Some(&b':') {
            return Err(RepoPathError::Absolute(text.to_owned()));
        }
        if text.contains('\\') || text.chars().any(char::is_control) {
            return Err(RepoPathError::Character(text.escape_debug().to_string()));
        }
        let mut parts: Vec<&str> = Vec::new();
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    if parts.pop().is_none() {
                        return Err(RepoPathError::Outside(text.to_owned()));
                    }
                }
                name => parts.push(name),
            }
        }
        Ok(Self(parts.join("/")))
    }

    /// The path's text; empty for the root itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for the folder of `rhdh-plugins.toml` itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// This path and then `relative`.
    ///
    /// # Errors
    /// As [`RepoPath::new`]; `..` in `relative` may go up as far as the repository's root.
    pub fn join(&self, relative: &str) -> Result<Self, RepoPathError> {
        if self.is_root() || relative.starts_with('/') {
            return Self::new(relative);
        }
        Self::new(&format!("{}/{relative}", self.0))
    }

    /// The folder that holds this path; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        Some(Self(self.0.rsplit_once('/').map_or_else(String::new, |(parent, _)| parent.to_owned())))
    }

    /// True where `self` is `folder` or lies below it.
    #[must_use]
    pub fn is_in(&self, folder: &RepoPath) -> bool {
        folder.is_root()
            || self.0 == folder.0
            || self.0.strip_prefix(&folder.0).is_some_and(|rest| rest.starts_with('/'))
    }

    /// This path below `root`, as text only: links are not looked at. See [`RepoPath::locate`].
    #[must_use]
    pub fn under(&self, root: &Path) -> PathBuf {
        if self.is_root() { root.to_owned() } else { root.join(&self.0) }
    }

    /// This path on disk below `root`, after following every link on the way.
    ///
    /// # Errors
    /// When it does not exist, cannot be read, or a link leads out of `root`.
    pub fn locate(&self, root: &Path) -> Result<PathBuf, RepoPathError> {
        let unreadable = |error: &std::io::Error| RepoPathError::Unreadable {
            path: self.to_string(),
            why: match error.kind() {
                std::io::ErrorKind::NotFound => "does not exist".to_owned(),
                _ => format!("cannot be read: {error}"),
            },
        };
        let real_root = root.canonicalize().map_err(|error| unreadable(&error))?;
        let real = self.under(root).canonicalize().map_err(|error| unreadable(&error))?;
        if real.starts_with(&real_root) {
            Ok(real)
        } else {
            Err(RepoPathError::LinkOutside { path: self.to_string(), target: real.display().to_string() })
        }
    }
}

/// Where paths of one repository are on disk, for many of them: each folder on their ways is looked at once.
#[derive(Debug)]
pub struct Places {
    root: PathBuf,
    real_root: Option<PathBuf>,
    plain: HashMap<RepoPath, Plain>,
}

/// What is there, where no link leads to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plain {
    Folder,
    File,
    No,
}

impl Places {
    /// Of the repository at `root`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), real_root: root.canonicalize().ok(), plain: HashMap::new() }
    }

    /// As [`RepoPath::locate`].
    ///
    /// # Errors
    /// As [`RepoPath::locate`].
    pub fn locate(&mut self, path: &RepoPath) -> Result<PathBuf, RepoPathError> {
        match self.real_root.clone() {
            Some(real_root) if self.plain(path) != Plain::No => Ok(path.under(&real_root)),
            _ => path.locate(&self.root),
        }
    }

    /// Whether `path` certainly is a folder of the repository, and no link leads to it.
    pub fn is_plain_folder(&mut self, path: &RepoPath) -> bool {
        self.real_root.is_some() && self.plain(path) == Plain::Folder
    }

    fn plain(&mut self, path: &RepoPath) -> Plain {
        let Some(parent) = path.parent() else { return Plain::Folder };
        if let Some(known) = self.plain.get(path) {
            return *known;
        }
        let plain = match (self.plain(&parent), path.under(&self.root).symlink_metadata()) {
            (Plain::Folder, Ok(metadata)) if metadata.is_dir() => Plain::Folder,
            (Plain::Folder, Ok(metadata)) if !metadata.is_symlink() => Plain::File,
            _ => Plain::No,
        };
        self.plain.insert(path.clone(), plain);
        plain
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.is_root() { "." } else { &self.0 })
    }
}

impl TryFrom<String> for RepoPath {
    type Error = RepoPathError;

    fn try_from(text: String) -> Result<Self, RepoPathError> {
        Self::new(&text)
    }
}

impl From<RepoPath> for String {
    fn from(path: RepoPath) -> Self {
        path.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised() {
        for (text, expected) in [("./plugins/todo/", "plugins/todo"), ("a//b/../c", "a/c"), (".", ""), ("", "")] {
            assert_eq!(RepoPath::new(text).map(|path| path.as_str().to_owned()), Ok(expected.to_owned()));
        }
    }

    #[test]
    fn paths_that_leave_are_refused() {
        assert!(matches!(RepoPath::new("../x"), Err(RepoPathError::Outside(_))));
        assert!(matches!(RepoPath::new("a/../../x"), Err(RepoPathError::Outside(_))));
        assert!(matches!(RepoPath::new("/etc"), Err(RepoPathError::Absolute(_))));
        assert!(matches!(RepoPath::new("C:\\x"), Err(RepoPathError::Absolute(_))));
        assert!(matches!(RepoPath::new("a\nb"), Err(RepoPathError::Character(_))));
    }

    #[test]
    fn a_folder_holds_itself_and_what_is_below() {
        let path = |text: &str| RepoPath::new(text).unwrap_or_default();
        assert!(path("plugins/todo").is_in(&path("plugins")));
        assert!(path("plugins/todo").is_in(&path(".")));
        assert!(!path("plugins/todo-backend").is_in(&path("plugins/todo")));
    }
}
