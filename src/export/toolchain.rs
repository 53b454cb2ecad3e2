//! What must be on the machine: node, and the npm that comes with it. PATH comes in; what goes out are the programs,
//! or an error of the environment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use nodejs_semver::Version;
use tokio_util::sync::CancellationToken;

use super::child::{Command, Ended};
use super::environment::Environment;

/// The oldest node whose exports are known to work, as a major version.
const OLDEST_NODE: u64 = 20;

/// Why nothing can be exported at all: the environment is wrong.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    /// There is no node.
    #[error("there is no `node` on PATH")]
    #[diagnostic(help("install Node.js {OLDEST_NODE} or later, with npm: https://nodejs.org/en/download"))]
    NodeMissing,
    /// Node is there, but does not say its version.
    #[error("`{node} --version` failed: {cause}")]
    #[diagnostic(help("see what `node --version` says in a terminal"))]
    NodeBroken {
        /// The program.
        node: String,
        /// What it said instead.
        cause: String,
    },
    /// Node is too old.
    #[error("`{node}` has version {found}, older than {OLDEST_NODE}")]
    #[diagnostic(help("install Node.js {OLDEST_NODE} or later: https://nodejs.org/en/download"))]
    NodeTooOld {
        /// The program.
        node: String,
        /// The version that was found.
        found: Version,
    },
    /// The RHDH CLI could not be had, and no plugin could be exported without it.
    #[error("cannot get the RHDH CLI: {message}")]
    RhdhCli {
        /// What went wrong.
        message: String,
        /// What to do.
        #[help]
        help: Option<String>,
        /// The log that tells more.
        log: Option<PathBuf>,
    },
    /// The output folder cannot be written.
    #[error("cannot write to `{path}`")]
    #[diagnostic(help("choose another output folder, or mend its permissions"))]
    Output {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// Node, as found on PATH.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) program: PathBuf,
    pub(crate) version: Version,
}

impl Node {
    /// The node on PATH, once its version has been checked.
    pub(crate) async fn find(environment: &Environment, cancel: &CancellationToken) -> Result<Self, Error> {
        let program = find_on_path(environment, "node").ok_or(Error::NodeMissing)?;
        let mut node = Self { program, version: (OLDEST_NODE, 0_u64, 0_u64).into() };
        let shown = node.program.display().to_string();
        let broken = |cause: String| Error::NodeBroken { node: shown.clone(), cause };
        let command = node.command(["--version"], Path::new("/"), environment.for_code());
        let output = command.output(cancel).await.map_err(|error| broken(error.to_string()))?;
        if matches!(output.ended, Ended::Cancelled) {
            return Err(broken("stopped".to_owned()));
        }
        let text = output.stdout.trim();
        let said = || if text.is_empty() { output.stderr.trim() } else { text }.chars().take(200).collect();
        let found = Version::parse(text.trim_start_matches('v')).map_err(|_| broken(said()))?;
        if found.major() < OLDEST_NODE {
            return Err(Error::NodeTooOld { node: shown, found });
        }
        node.version = found;
        Ok(node)
    }

    /// `node` with these arguments.
    pub(super) fn command<Arg: Into<OsString>>(
        &self,
        args: impl IntoIterator<Item = Arg>,
        dir: &Path,
        env: Vec<(OsString, OsString)>,
    ) -> Command {
        let args = args.into_iter().map(Into::into).collect();
        Command { program: self.program.clone(), args, dir: dir.to_owned(), env }
    }

    /// The npm beside this node, else the one on PATH.
    pub(super) fn npm(&self, environment: &Environment) -> Option<PathBuf> {
        let real = self.program.canonicalize().ok();
        let beside = [Some(&self.program), real.as_ref()].into_iter().flatten().map(|node| node.with_file_name("npm"));
        beside.into_iter().find(|npm| is_program(npm)).or_else(|| find_on_path(environment, "npm"))
    }
}

/// The first program of this name in the folders of PATH. Relative folders are left out: they would mean something
/// else in every child's folder.
pub(super) fn find_on_path(environment: &Environment, name: &str) -> Option<PathBuf> {
    let path = environment.get("PATH")?;
    std::env::split_paths(path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// What is said about a machine whose only `node` is this script.
    async fn with_node(script: Option<&str>) -> Result<Node, Error> {
        let dir = tempfile::tempdir().unwrap();
        if let Some(script) = script {
            let node = dir.path().join("node");
            fs_err::write(&node, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs_err::set_permissions(&node, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let mut environment = Environment::default();
        environment.set("PATH", dir.path());
        Node::find(&environment, &CancellationToken::new()).await
    }

    #[tokio::test]
    async fn node_must_be_there_and_new_enough() {
        assert!(matches!(with_node(None).await, Err(Error::NodeMissing)));
        let old = with_node(Some("echo v18.20.4")).await;
        assert!(matches!(old, Err(Error::NodeTooOld { ref found, .. }) if found.to_string() == "18.20.4"), "{old:?}");
        let broken = with_node(Some("echo 'cannot open shared object' >&2; exit 127")).await;
        assert!(
            matches!(broken, Err(Error::NodeBroken { ref cause, .. }) if cause == "cannot open shared object"),
            "{broken:?}"
        );
        assert!(with_node(Some("echo v20.0.0")).await.is_ok());
    }
}
