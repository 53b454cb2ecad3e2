//! What the tests share: the program with a scrubbed environment, repositories of plugins, real registries, OCI
//! layouts made by hand.

#![allow(dead_code, reason = "each test file uses a part of this")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on ends here")]

use std::path::Path;
use std::process::{Command, Output};

pub(crate) mod bench;
pub(crate) mod certificates;
pub(crate) mod faults;
pub(crate) mod forges;
pub(crate) mod http;
pub(crate) mod layout;
pub(crate) mod npm_packages;
pub(crate) mod plugins;
pub(crate) mod proposals;
pub(crate) mod push;
pub(crate) mod referrers;
pub(crate) mod registry;
pub(crate) mod repository;
pub(crate) mod tokens;
pub(crate) mod tunnel;
pub(crate) mod verdaccio;

/// The program, to be run in `folder`, knowing nothing of the CI, the credentials and the terminal of the tests.
pub(crate) fn rhdh_pack(folder: &Path) -> Command {
    let mut command = scrubbed(env!("CARGO_BIN_EXE_rhdh-pack"));
    command.current_dir(folder);
    command
}

/// Another program, as little informed.
pub(crate) fn scrubbed(program: &str) -> Command {
    let mut command = Command::new(program);
    let is_scrubbed = |name: &str| {
        ["CI", "NO_COLOR", "SOURCE_DATE_EPOCH", "REGISTRY_AUTH_FILE", "DOCKER_CONFIG"].contains(&name)
            || ["CI_", "GITHUB_", "GITLAB_", "RUNNER_", "RHDH_PACK_", "GIT_"]
                .iter()
                .any(|begin| name.starts_with(begin))
            || name.ends_with("_TOKEN")
    };
    for name in std::env::vars_os().map(|(name, _)| name) {
        if is_scrubbed(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    command
}

/// Exit code, stdout and stderr as one text, with `<root>` for the folder of the test.
pub(crate) fn transcript(output: &Output, root: &Path) -> String {
    let code = output.status.code().map_or_else(|| "ended by a signal".to_owned(), |code| code.to_string());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&*root.to_string_lossy(), "<root>");
    format!("exit code: {code}\n--- stdout\n{}--- stderr\n{}", text(&output.stdout), text(&output.stderr))
}
