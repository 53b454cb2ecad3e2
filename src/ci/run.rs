//! Who runs this run of the CI, and where it can be looked at: for statements about what it built.

use url::Url;

use super::Provider;

/// What the CI says about its own run. What it does not say is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// Who builds: the workflow, or the runner, as a URL.
    pub builder: Option<String>,
    /// The repository that is built, as a URL.
    pub repository: Option<String>,
    /// The branch or tag, as git names it: `refs/heads/main`.
    pub reference: Option<String>,
    /// Where this run can be looked at.
    pub url: Option<String>,
}

impl Run {
    /// What the process's environment says.
    #[must_use]
    pub fn from_env() -> Self {
        Self::read(super::variable)
    }

    /// What `variable` says: a look-up of environment variables, with empty ones left out.
    #[must_use]
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        match Provider::read(&variable) {
            Provider::GitHub => github(&variable),
            Provider::GitLab => gitlab(&variable),
            Provider::Local | Provider::Other => Self::default(),
        }
    }
}

fn github(variable: &impl Fn(&str) -> Option<String>) -> Run {
    let server = variable("GITHUB_SERVER_URL");
    let below = |path: Option<String>| plain(&format!("{}/{}", server.as_deref()?.trim_end_matches('/'), path?));
    let run = variable("GITHUB_REPOSITORY").zip(variable("GITHUB_RUN_ID")).map(|(repository, run)| {
        let attempt = variable("GITHUB_RUN_ATTEMPT").unwrap_or_else(|| "1".to_owned());
        format!("{repository}/actions/runs/{run}/attempts/{attempt}")
    });
    Run {
        // `acme/plugins/.github/workflows/publish.yml@refs/heads/main`, as in GitHub's own attestations.
        builder: below(variable("GITHUB_WORKFLOW_REF")),
        repository: below(variable("GITHUB_REPOSITORY")),
        reference: variable("GITHUB_REF"),
        url: below(run),
    }
}

fn gitlab(variable: &impl Fn(&str) -> Option<String>) -> Run {
    let project = variable("CI_PROJECT_URL").and_then(|url| plain(&url));
    let tag = variable("CI_COMMIT_TAG").map(|tag| format!("refs/tags/{tag}"));
    let branch = || variable("CI_COMMIT_BRANCH").or_else(|| variable("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME"));
    Run {
        // As in GitLab's own attestations.
        builder: project.clone().zip(variable("CI_RUNNER_ID")).map(|(project, id)| format!("{project}/-/runners/{id}")),
        repository: project,
        reference: tag.or_else(|| branch().map(|branch| format!("refs/heads/{branch}"))),
        url: variable("CI_JOB_URL").and_then(|url| plain(&url)),
    }
}

/// A URL for everybody to read: without name, password and query.
fn plain(text: &str) -> Option<String> {
    let mut url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "https" | "http"))?;
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    url.set_query(None);
    url.set_fragment(None);
    Some(url.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Run {
        Run::read(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn github_names_its_workflow_and_its_run() {
        let run = read(&[
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_SERVER_URL", "https://github.com"),
            ("GITHUB_REPOSITORY", "acme/plugins"),
            ("GITHUB_WORKFLOW_REF", "acme/plugins/.github/workflows/publish.yml@refs/tags/v1"),
            ("GITHUB_REF", "refs/tags/v1"),
            ("GITHUB_RUN_ID", "17"),
            ("GITHUB_RUN_ATTEMPT", "2"),
        ]);
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(run.builder, text("https://github.com/acme/plugins/.github/workflows/publish.yml@refs/tags/v1"));
        assert_eq!(run.repository, text("https://github.com/acme/plugins"));
        assert_eq!(run.reference, text("refs/tags/v1"));
        assert_eq!(run.url, text("https://github.com/acme/plugins/actions/runs/17/attempts/2"));
    }

    #[test]
    fn gitlab_names_its_runner_and_its_job_and_no_token() {
        let run = read(&[
            ("GITLAB_CI", "true"),
            ("CI_PROJECT_URL", "https://gitlab-ci-token:s3cret@gitlab.com/acme/plugins?private_token=s3cret"),
            ("CI_RUNNER_ID", "8"),
            ("CI_COMMIT_BRANCH", "main"),
            ("CI_JOB_URL", "https://gitlab.com/acme/plugins/-/jobs/9"),
        ]);
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(run.builder, text("https://gitlab.com/acme/plugins/-/runners/8"));
        assert_eq!(run.reference, text("refs/heads/main"));
        assert_eq!(run.url, text("https://gitlab.com/acme/plugins/-/jobs/9"));
        assert!(!format!("{run:?}").contains("s3cret"));
    }

    #[test]
    fn what_is_not_said_is_not_there() {
        assert_eq!(read(&[]), Run::default());
        assert_eq!(read(&[("GITHUB_ACTIONS", "true"), ("GITHUB_REPOSITORY", "acme/x")]), Run::default());
        assert_eq!(read(&[("GITLAB_CI", "true"), ("CI_JOB_URL", "javascript:x")]), Run::default());
    }
}
