//! git, as a subprocess. This is the only place of the plan that starts a process. Paths come and go as bytes, ended
//! by NUL; nothing passes a shell; what the user has set for another repository or for the looks of output is taken
//! out of the environment.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Variables that tie git to a repository (`git rev-parse --local-env-vars`; those of the configuration stay, because
/// a CI hands its credentials over in them) or change what commands print.
const FOREIGN: [&str; 18] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_EXTERNAL_DIFF",
    "GIT_GLOB_PATHSPECS",
    "GIT_GRAFT_FILE",
    "GIT_ICASE_PATHSPECS",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_LITERAL_PATHSPECS",
    "GIT_NAMESPACE",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];

/// A git repository, seen from a folder in its working tree: paths are relative to that folder.
#[derive(Clone, Debug)]
pub(super) struct Git {
    folder: PathBuf,
    /// `GIT_DIR` and `GIT_WORK_TREE` of the environment, where only they lead to the repository.
    given: Vec<(&'static str, OsString)>,
    /// The folder's path in the working tree: empty, or with `/` at its end.
    prefix: Vec<u8>,
    /// Whether the clone may get what it lacks.
    pub(super) may_fetch: bool,
}

/// Why git did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum GitError {
    /// There is no `git`.
    #[error("cannot start `git`: {0}")]
    #[diagnostic(help("install git, or plan everything with `--all`"))]
    NotStarted(String),
    /// git ended with an error.
    #[error("`git {command}` failed: {cause}")]
    Failed {
        /// The command and its arguments.
        command: String,
        /// What git said.
        cause: String,
    },
    /// The repository belongs to another user, as in containers of a CI.
    #[error("git refuses to read the repository: it belongs to another user")]
    #[diagnostic(help("trust it with `git config --global --add safe.directory {folder}`"))]
    Untrusted {
        /// The folder of the configuration file.
        folder: String,
    },
    /// git printed something else than it documents.
    #[error("cannot understand what `git {command}` printed")]
    Unreadable {
        /// The command.
        command: &'static str,
    },
}

impl Git {
    /// The repository that `folder` is in; `None` where it is in none.
    pub(super) fn open(folder: &Path) -> Result<Option<Self>, GitError> {
        // A `GIT_DIR` of the environment (a hook's, or one for another repository) counts only where git finds no
        // repository by itself.
        let given = ["GIT_DIR", "GIT_WORK_TREE"].into_iter().filter_map(|name| {
            let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
            Some((name, std::path::absolute(&value).map_or(value, PathBuf::into_os_string)))
        });
        let given: Vec<_> = given.collect();
        let plain = Self { folder: folder.to_owned(), given: Vec::new(), prefix: Vec::new(), may_fetch: true };
        let with_given = Self { given: given.clone(), ..plain.clone() };
        for mut git in std::iter::once(plain).chain((!given.is_empty()).then_some(with_given)) {
            match git.run(&["rev-parse", "--show-prefix"]) {
                Ok(prefix) => {
                    git.prefix = prefix.strip_suffix(b"\n").unwrap_or(&prefix).to_vec();
                    return Ok(Some(git));
                }
                Err(GitError::Failed { cause, .. }) if cause.contains("dubious ownership") => {
                    return Err(GitError::Untrusted { folder: folder.display().to_string() });
                }
                Err(GitError::Failed { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(None)
    }

    /// The repository in a folder below: a submodule.
    pub(super) fn below(&self, path: &[u8]) -> Self {
        Self {
            folder: self.folder.join(OsStr::from_bytes(path)),
            given: Vec::new(),
            prefix: Vec::new(),
            may_fetch: self.may_fetch,
        }
    }

    /// The folder that paths are relative to.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder's path in the working tree: empty, or with `/` at its end.
    pub(super) fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// Runs git; what it writes to stdout.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<Vec<u8>, GitError> {
        self.run_with(arguments, Vec::new())
    }

    /// Runs git with `input` on its stdin.
    pub(super) fn run_with(&self, arguments: &[&str], input: Vec<u8>) -> Result<Vec<u8>, GitError> {
        let mut command = Command::new("git");
        command.current_dir(&self.folder).args(["--no-pager", "--literal-pathspecs"]).args(arguments);
        for name in FOREIGN {
            command.env_remove(name);
        }
        command.envs(self.given.iter().map(|(name, value)| (name, value)));
        // No lock for a mere look, no question that nobody answers, messages that can be recognised.
        command.envs([("GIT_OPTIONAL_LOCKS", "0"), ("GIT_TERMINAL_PROMPT", "0"), ("LC_ALL", "C")]);
        command.stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let not_started = |error: std::io::Error| GitError::NotStarted(error.to_string());
        let mut child = command.spawn().map_err(not_started)?;
        // Written by another thread: git may fill its stdout before it has read all of its stdin.
        let writer = child.stdin.take().map(|mut stdin| std::thread::spawn(move || stdin.write_all(&input)));
        let output = child.wait_with_output().map_err(not_started)?;
        if let Some(writer) = writer {
            // git that stops reading says why in its exit code.
            let _ = writer.join();
        }
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(GitError::Failed { command: arguments.join(" "), cause: said.trim().to_owned() })
    }

    /// The commit that `revision` names; `None` where there is none here.
    pub(super) fn commit(&self, revision: &str) -> Option<String> {
        // A revision that begins with `-` would be an option.
        if revision.is_empty() || revision.starts_with('-') {
            return None;
        }
        let commit = self.run(&["rev-parse", "--verify", "--quiet", &format!("{revision}^{{commit}}")]).ok()?;
        Some(String::from_utf8_lossy(&commit).trim().to_owned())
    }

    /// The ids of the parents of `commit`, whether they are here or not.
    pub(super) fn parents(&self, commit: &str) -> Result<Vec<String>, GitError> {
        let text = self.run(&["cat-file", "commit", commit])?;
        let header = String::from_utf8_lossy(&text);
        let header = header.lines().take_while(|line| !line.is_empty());
        Ok(header.filter_map(|line| line.strip_prefix("parent ").map(str::to_owned)).collect())
    }

    /// The best common ancestor; `None` where there is none, or not in this clone.
    pub(super) fn merge_base(&self, a: &str, b: &str) -> Option<String> {
        let base = self.run(&["merge-base", a, b]).ok()?;
        Some(String::from_utf8_lossy(&base).lines().next()?.to_owned())
    }

    /// Whether `ancestor` is an ancestor of `commit`, as far as this clone knows.
    pub(super) fn is_ancestor(&self, ancestor: &str, commit: &str) -> bool {
        self.run(&["merge-base", "--is-ancestor", ancestor, commit]).is_ok()
    }

    /// Whether history was cut off when the repository was cloned.
    pub(super) fn is_shallow(&self) -> bool {
        self.run(&["rev-parse", "--is-shallow-repository"]).is_ok_and(|answer| answer.starts_with(b"true"))
    }

    /// The contents of blobs, in the order of their ids.
    pub(super) fn blobs(&self, ids: &[&str]) -> Result<Vec<Vec<u8>>, GitError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let unreadable = || GitError::Unreadable { command: "cat-file --batch" };
        let output = self.run_with(&["cat-file", "--batch"], format!("{}\n", ids.join("\n")).into_bytes())?;
        let mut rest = output.as_slice();
        let mut blobs = Vec::with_capacity(ids.len());
        for _ in ids {
            // `<id> blob <size>`, the content, a line feed; `<id> missing` where there is no such object.
            let end = rest.iter().position(|byte| *byte == b'\n').ok_or_else(unreadable)?;
            let header = String::from_utf8_lossy(&rest[..end]).into_owned();
            let size = header.rsplit(' ').next().and_then(|size| size.parse::<usize>().ok()).ok_or_else(unreadable)?;
            let content = rest.get(end + 1..end + 1 + size).ok_or_else(unreadable)?;
            blobs.push(content.to_vec());
            rest = rest.get(end + size + 2..).unwrap_or_default();
        }
        Ok(blobs)
    }
}
