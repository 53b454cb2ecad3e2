//! The workflow that runs rhdh-pack in a CI.

use std::path::Path;

use super::Draft;
use crate::rhdh;

/// A CI whose workflow can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forge {
    /// GitHub Actions.
    GitHub,
    /// GitLab CI.
    GitLab,
}

impl Forge {
    /// Where its workflow stands.
    #[must_use]
    pub fn file(self) -> &'static Path {
        Path::new(match self {
            Self::GitHub => ".github/workflows/rhdh-pack.yml",
            Self::GitLab => ".gitlab-ci.yml",
        })
    }

    /// The workflow's text.
    #[must_use]
    pub fn workflow(self, draft: &Draft) -> String {
        match self {
            Self::GitHub => github(draft),
            Self::GitLab => gitlab(),
        }
    }
}

fn github(draft: &Draft) -> String {
    let node = rhdh::release(&draft.rhdh).map_or("22", |release| &release.node);
    // JSON is YAML, and quotes what needs it.
    let branch = serde_json::Value::from(draft.branch.as_str());
    let registry = draft.registry.as_deref().unwrap_or_default();
    let login = if registry.is_empty() || registry.starts_with("ghcr.io/") {
        String::new()
    } else {
        "        with:\n          # Set both in the repository's settings: Secrets and variables, Actions.\n          registry-username: ${{ secrets.REGISTRY_USERNAME }}\n          registry-password: ${{ secrets.REGISTRY_PASSWORD }}\n".to_owned()
    };
    let packages = if registry.starts_with("ghcr.io/") { "      packages: write # images on ghcr.io\n" } else { "" };
    format!(
        "name: rhdh-pack\n\non:\n  pull_request:\n  push:\n    branches: [{branch}]\n    tags: [\"v*\"]\n\npermissions: {{}}\n\n\
         jobs:\n  rhdh-pack:\n    runs-on: ubuntu-latest\n    permissions:\n      contents: read\n{packages}      pull-requests: write # the comment\n    steps:\n\
         \x20     - uses: actions/checkout@v4\n        with:\n          fetch-depth: 0 # the plan compares commits\n          persist-credentials: false\n\
         \x20     - uses: actions/setup-node@v4\n        with:\n          node-version: {node}\n\
         \x20     - uses: org/rhdh-pack-action@v1\n{login}"
    )
}

fn gitlab() -> String {
    "include:\n  - component: $CI_SERVER_FQDN/org/rhdh-pack/rhdh-pack@v1\n".to_owned()
}
