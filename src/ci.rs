//! Which CI this is and what it says about the run: the occasion, the commit, the pull request. The environment
//! comes in; nothing else of the program reads it for this purpose.

use std::path::Path;

use serde::Serialize;

pub mod log;
pub mod run;

/// Who runs this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// Nobody: a person at a terminal.
    Local,
    /// GitHub Actions.
    GitHub,
    /// GitLab CI.
    GitLab,
    /// Some CI (`CI` is set) that rhdh-pack knows nothing more about.
    Other,
}

impl Provider {
    /// Who runs this process.
    #[must_use]
    pub fn from_env() -> Self {
        Self::read(&|name| std::env::var(name).ok())
    }

    fn read(variable: &impl Fn(&str) -> Option<String>) -> Self {
        let is_true = |name: &str| variable(name).as_deref() == Some("true");
        match variable("CI").as_deref() {
            _ if is_true("GITHUB_ACTIONS") => Self::GitHub,
            _ if is_true("GITLAB_CI") => Self::GitLab,
            None | Some("" | "false" | "0") => Self::Local,
            Some(_) => Self::Other,
        }
    }
}

/// The occasion of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Not in a CI.
    Local,
    /// A pull request or merge request.
    PullRequest {
        /// Its number.
        number: u64,
    },
    /// A push to a branch.
    Push {
        /// The branch, without `refs/heads/`.
        branch: String,
    },
    /// A push of a tag.
    Tag {
        /// The tag, without `refs/tags/`.
        name: String,
    },
    /// A scheduled run.
    Schedule,
    /// Started by hand.
    Manual,
    /// Anything else, by the CI's own name.
    Other(String),
}

impl std::fmt::Display for Event {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Event::Local => formatter.write_str("not in a CI"),
            Event::PullRequest { number } => write!(formatter, "pull request {number}"),
            Event::Push { branch } => write!(formatter, "push to branch `{branch}`"),
            Event::Tag { name } => write!(formatter, "push of tag `{name}`"),
            Event::Schedule => formatter.write_str("schedule"),
            Event::Manual => formatter.write_str("started by hand"),
            Event::Other(name) => write!(formatter, "`{name}`"),
        }
    }
}

/// What the CI says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ci {
    /// Who runs this program.
    pub provider: Provider,
    /// Why it runs.
    pub event: Event,
    /// The commit that is built, 40 hexadecimal digits.
    pub sha: Option<String>,
    /// The branch: of the push, or the head of the pull request.
    pub branch: Option<String>,
    /// Whether it is a pull request or merge request from another repository: its run has no secrets, and a token that
    /// can only read.
    pub fork: bool,
    /// What the commit is to be compared with.
    pub compare: Compare,
}

/// What the CI says about the commits before the one that is built. Nothing of it need be in the clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compare {
    /// Of a pull request, merge request or merge queue: the commit of the target branch.
    pub base: Option<String>,
    /// Of a pull request or merge request: the newest commit of its own branch.
    pub head: Option<String>,
    /// Of a pull request or merge request: the branch that it is to be merged into.
    pub into: Option<String>,
    /// Of a push: where the branch stood before; zeros where it did not exist.
    pub before: Option<String>,
    /// Of a push: whether it threw commits away, as far as the CI says.
    pub forced: bool,
    /// The branch that others start from.
    pub default_branch: Option<String>,
}

impl Ci {
    /// What the process's environment says.
    #[must_use]
    pub fn from_env() -> Self {
        Self::read(variable)
    }

    /// What `variable` says: a look-up of environment variables, with empty ones left out.
    #[must_use]
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let event = match Provider::read(&variable) {
            Provider::GitHub => return github(&variable),
            Provider::GitLab => return gitlab(&variable),
            Provider::Local => Event::Local,
            Provider::Other => Event::Other("unknown".to_owned()),
        };
        let provider = Provider::read(&variable);
        Self { provider, event, sha: None, branch: None, fork: false, compare: Compare::default() }
    }
}

/// GitHub Actions: <https://docs.github.com/actions/reference/variables-reference>.
fn github(variable: &impl Fn(&str) -> Option<String>) -> Ci {
    let name = variable("GITHUB_EVENT_NAME").unwrap_or_default();
    let reference = variable("GITHUB_REF").unwrap_or_default();
    let payload = variable("GITHUB_EVENT_PATH").map(|file| payload(Path::new(&file))).unwrap_or_default();
    let text = |pointer| payload.pointer(pointer).and_then(serde_json::Value::as_str).map(str::to_owned);
    let event = match name.as_str() {
        "pull_request" | "pull_request_target" => reference
            .strip_prefix("refs/pull/")
            .and_then(|rest| rest.split('/').next())
            .and_then(|number| number.parse().ok())
            // `pull_request_target` runs on the target branch: only the payload has the number.
            .or_else(|| payload.get("number")?.as_u64())
            .map_or(Event::Other(name), |number| Event::PullRequest { number }),
        "push" => match (reference.strip_prefix("refs/tags/"), reference.strip_prefix("refs/heads/")) {
            (Some(tag), _) => Event::Tag { name: tag.to_owned() },
            (_, Some(branch)) => Event::Push { branch: branch.to_owned() },
            _ => Event::Other(name),
        },
        // It runs on the tag of the release.
        "release" => match reference.strip_prefix("refs/tags/") {
            Some(tag) => Event::Tag { name: tag.to_owned() },
            None => Event::Other(name),
        },
        "schedule" => Event::Schedule,
        "workflow_dispatch" | "repository_dispatch" => Event::Manual,
        // It runs on the default branch, after a run for a pull request. GitHub does not say for which where that is
        // from a fork: the workflow has to find out.
        "workflow_run" => variable("RHDH_PACK_PULL_REQUEST")
            .and_then(|number| number.parse().ok())
            .map_or(Event::Other(name), |number| Event::PullRequest { number }),
        _ => Event::Other(name),
    };
    let branch = variable("GITHUB_HEAD_REF").or_else(|| reference.strip_prefix("refs/heads/").map(str::to_owned));
    // `pull_request_target` runs with the rights of the target. Of a fork that is gone, there is no name.
    let is_pull_request = variable("GITHUB_EVENT_NAME").as_deref() == Some("pull_request");
    let fork = is_pull_request
        && payload.pointer("/pull_request/head").is_some()
        && text("/pull_request/head/repo/full_name") != text("/repository/full_name");
    let commit = |pointer| text(pointer).filter(|text| is_commit(text));
    let compare = Compare {
        base: commit("/pull_request/base/sha").or_else(|| commit("/merge_group/base_sha")),
        head: commit("/pull_request/head/sha").or_else(|| commit("/merge_group/head_sha")),
        into: variable("GITHUB_BASE_REF").or_else(|| text("/pull_request/base/ref")),
        before: commit("/before"),
        forced: payload.get("forced").and_then(serde_json::Value::as_bool).unwrap_or_default(),
        default_branch: text("/repository/default_branch"),
    };
    // With `pull_request_target`, that is the target's commit, which nobody plans.
    let is_of_target = variable("GITHUB_EVENT_NAME").as_deref() == Some("pull_request_target");
    let sha = variable("GITHUB_SHA").filter(|_| !is_of_target);
    Ci { provider: Provider::GitHub, event, sha, branch, fork, compare }
}

/// Whether a text can be the id of a commit. Nothing else is handed to git, where it might be an option.
pub(crate) fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What GitHub says about the event: <https://docs.github.com/webhooks/webhook-events-and-payloads>. `null` where it
/// cannot be read: everything that is taken from it may be missing.
fn payload(file: &Path) -> serde_json::Value {
    fs_err::read(file).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// GitLab CI: <https://docs.gitlab.com/ci/variables/predefined_variables/>.
fn gitlab(variable: &impl Fn(&str) -> Option<String>) -> Ci {
    let source = variable("CI_PIPELINE_SOURCE").unwrap_or_default();
    let merge_request = variable("CI_MERGE_REQUEST_IID").and_then(|number| number.parse().ok());
    let branch = variable("CI_COMMIT_BRANCH").or_else(|| variable("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME"));
    let event = match (source.as_str(), merge_request, variable("CI_COMMIT_TAG"), &branch) {
        ("schedule", ..) => Event::Schedule,
        (_, Some(number), ..) => Event::PullRequest { number },
        (_, _, Some(name), _) => Event::Tag { name },
        ("web" | "api" | "trigger" | "pipeline", ..) => Event::Manual,
        // A pipeline that another one of the same project started stands where that stands.
        ("push" | "parent_pipeline", _, _, Some(branch)) => Event::Push { branch: branch.clone() },
        _ => Event::Other(source),
    };
    let compare = Compare {
        base: variable("CI_MERGE_REQUEST_DIFF_BASE_SHA").filter(|text| is_commit(text)),
        head: variable("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA").filter(|text| is_commit(text)),
        into: variable("CI_MERGE_REQUEST_TARGET_BRANCH_NAME"),
        before: variable("CI_COMMIT_BEFORE_SHA").filter(|text| is_commit(text)),
        // GitLab does not say; whether the commit before is an ancestor does.
        forced: false,
        default_branch: variable("CI_DEFAULT_BRANCH"),
    };
    let target = variable("CI_MERGE_REQUEST_PROJECT_ID");
    let fork = target.is_some() && variable("CI_MERGE_REQUEST_SOURCE_PROJECT_ID") != target;
    Ci { provider: Provider::GitLab, event, sha: variable("CI_COMMIT_SHA"), branch, fork, compare }
}

/// An environment variable; `None` where it is not set, empty, or no text.
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Ci {
        Ci::read(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn github_events() {
        let event = |name, reference| {
            read(&[("GITHUB_ACTIONS", "true"), ("GITHUB_EVENT_NAME", name), ("GITHUB_REF", reference)]).event
        };
        assert_eq!(event("pull_request", "refs/pull/17/merge"), Event::PullRequest { number: 17 });
        assert_eq!(event("push", "refs/heads/feature/x"), Event::Push { branch: "feature/x".into() });
        assert_eq!(event("push", "refs/tags/v1"), Event::Tag { name: "v1".into() });
        assert_eq!(event("schedule", "refs/heads/main"), Event::Schedule);
        assert_eq!(event("workflow_dispatch", "refs/heads/main"), Event::Manual);
        assert_eq!(event("pull_request", "garbage"), Event::Other("pull_request".into()));
    }

    #[test]
    fn a_run_after_a_run_is_told_its_pull_request() {
        let event = |number| {
            read(&[
                ("GITHUB_ACTIONS", "true"),
                ("GITHUB_EVENT_NAME", "workflow_run"),
                ("GITHUB_REF", "refs/heads/main"),
                ("RHDH_PACK_PULL_REQUEST", number),
            ])
            .event
        };
        assert_eq!(event("12"), Event::PullRequest { number: 12 });
        assert_eq!(event("12; true"), Event::Other("workflow_run".into()));
    }

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    #[test]
    fn github_says_what_to_compare_with() {
        let folder = tempfile::tempdir().unwrap();
        let compare = |event: &str, payload: &str| {
            let file = folder.path().join("event.json");
            std::fs::write(&file, payload).unwrap();
            let path = file.to_string_lossy();
            let variables = [("GITHUB_ACTIONS", "true"), ("GITHUB_EVENT_NAME", event), ("GITHUB_EVENT_PATH", &path)];
            read(&variables)
        };
        let pull = compare(
            "pull_request_target",
            &format!(
                r#"{{"number": 4, "pull_request": {{"base": {{"sha": "{A}", "ref": "main"}}, "head": {{"sha": "{B}"}}}}}}"#
            ),
        );
        assert_eq!(pull.event, Event::PullRequest { number: 4 });
        assert_eq!((pull.compare.base.as_deref(), pull.compare.head.as_deref()), (Some(A), Some(B)));
        assert_eq!(pull.compare.into.as_deref(), Some("main"));
        let push = compare(
            "push",
            &format!(r#"{{"before": "{A}", "forced": true, "repository": {{"default_branch": "trunk"}}}}"#),
        );
        assert_eq!((push.compare.before.as_deref(), push.compare.forced), (Some(A), true));
        assert_eq!(push.compare.default_branch.as_deref(), Some("trunk"));
        let queue = compare("merge_group", &format!(r#"{{"merge_group": {{"base_sha": "{B}"}}}}"#));
        assert_eq!(queue.compare.base.as_deref(), Some(B));
        for hostile in ["--upload-pack=touch x", "", "main", &A[1..], &format!("{A} ")] {
            let payload = serde_json::json!({
                "before": hostile,
                "pull_request": { "base": { "sha": hostile }, "head": { "sha": hostile } },
            });
            assert_eq!(compare("push", &payload.to_string()).compare, Compare::default(), "{hostile:?}");
        }
        assert_eq!(compare("push", "garbage").compare, Compare::default());
    }

    #[test]
    fn gitlab_says_what_to_compare_with() {
        let ci = read(&[
            ("GITLAB_CI", "true"),
            ("CI_MERGE_REQUEST_DIFF_BASE_SHA", A),
            ("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA", "--upload-pack=touch x"),
            ("CI_COMMIT_BEFORE_SHA", B),
            ("CI_DEFAULT_BRANCH", "main"),
        ]);
        let Compare { base, head, before, default_branch, .. } = ci.compare;
        assert_eq!(head, None);
        assert_eq!([base.as_deref(), before.as_deref(), default_branch.as_deref()], [Some(A), Some(B), Some("main")]);
    }

    #[test]
    fn gitlab_events() {
        let event =
            |source, name, value| read(&[("GITLAB_CI", "true"), ("CI_PIPELINE_SOURCE", source), (name, value)]).event;
        assert_eq!(event("merge_request_event", "CI_MERGE_REQUEST_IID", "4"), Event::PullRequest { number: 4 });
        assert_eq!(event("push", "CI_COMMIT_BRANCH", "main"), Event::Push { branch: "main".into() });
        assert_eq!(event("push", "CI_COMMIT_TAG", "v2"), Event::Tag { name: "v2".into() });
        assert_eq!(event("schedule", "CI_COMMIT_BRANCH", "main"), Event::Schedule);
        assert_eq!(event("parent_pipeline", "CI_COMMIT_BRANCH", "main"), Event::Push { branch: "main".into() });
        assert_eq!(event("parent_pipeline", "CI_MERGE_REQUEST_IID", "4"), Event::PullRequest { number: 4 });
    }

    #[test]
    fn without_a_ci_the_run_is_local() {
        assert_eq!(read(&[]).provider, Provider::Local);
        assert_eq!(read(&[("CI", "false")]).event, Event::Local);
        assert_eq!(read(&[("CI", "1")]).provider, Provider::Other);
    }
}
