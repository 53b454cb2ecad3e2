//! Which repository `--pr` names, and on which forge.

use crate::ci::Provider;
use crate::registry::forge::{ForgeKind, is_path};

/// Where a pull request goes.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    /// Whose API it is.
    pub kind: ForgeKind,
    /// `https://api.github.com`, or `https://host/api/v4`.
    pub api: String,
    /// `owner/name`, or `group/…/project`.
    pub path: String,
}

impl Place {
    /// What `text` names: `owner/name` on the forge whose CI this is (elsewhere on GitHub), a path of more parts on
    /// GitLab, or either with its host before it. `None` where that is no repository, or nobody knows what the host is.
    #[must_use]
    pub fn find(text: &str, provider: Provider, variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let (url, text) = match text.strip_prefix("https://") {
            Some(rest) => (true, rest.trim_end_matches('/').trim_end_matches(".git")),
            None => (false, text),
        };
        let parts = text.split('/').count();
        let (host, path) = match text.split_once('/') {
            Some((host, path)) if url || parts > 2 && host.contains('.') => (Some(host.to_ascii_lowercase()), path),
            _ => (None, text),
        };
        let gitlab = variable("CI_SERVER_HOST");
        let kind = match host.as_deref() {
            Some("github.com") => ForgeKind::GitHub,
            Some(host) if variable("GITHUB_SERVER_URL").is_some_and(|url| url == format!("https://{host}")) => {
                ForgeKind::GitHub
            }
            Some(host) if gitlab.as_deref() == Some(host) => ForgeKind::GitLab,
            Some(host) if host.split('.').any(|label| label == "gitlab") => ForgeKind::GitLab,
            Some(_) => return None,
            None if parts > 2 || provider == Provider::GitLab => ForgeKind::GitLab,
            None => ForgeKind::GitHub,
        };
        let api = match (kind, host) {
            // A server other than github.com has its API elsewhere; GitHub's own runners say where.
            (ForgeKind::GitHub, _) => kind.api(variable),
            (ForgeKind::GitLab, Some(host)) if gitlab.as_ref() != Some(&host) => format!("https://{host}/api/v4"),
            (ForgeKind::GitLab, _) => kind.api(variable),
        };
        is_path(kind, path).then(|| Self { kind, api, path: path.to_owned() })
    }

    /// Where tokens are looked for, in this order: the job's own may not write to other repositories.
    #[must_use]
    pub fn token_variables(&self) -> &'static [&'static str] {
        match self.kind {
            ForgeKind::GitHub => &["RHDH_PACK_GITHUB_TOKEN", "GH_TOKEN", "GITHUB_TOKEN"],
            ForgeKind::GitLab => &["RHDH_PACK_GITLAB_TOKEN", "GITLAB_TOKEN"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_found_with_and_without_their_host() {
        let find = |text: &str, provider, set: &[(&str, &str)]| {
            let place = Place::find(text, provider, |name| {
                set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })?;
            Some(format!("{:?} {} {}", place.kind, place.api, place.path))
        };
        let github = Some("GitHub https://api.github.com acme/gitops".to_owned());
        let gitlab = |host: &str, path: &str| Some(format!("GitLab https://{host}/api/v4 {path}"));
        let server = [("CI_SERVER_HOST", "git.acme.dev"), ("CI_API_V4_URL", "https://git.acme.dev/api/v4")];
        for (text, provider, set, found) in [
            ("acme/gitops", Provider::Local, &[][..], github.clone()),
            ("github.com/acme/gitops", Provider::GitLab, &server, github.clone()),
            ("https://github.com/acme/gitops.git", Provider::Local, &[], github),
            ("acme/gitops", Provider::GitLab, &[], gitlab("gitlab.com", "acme/gitops")),
            ("acme/gitops", Provider::GitLab, &server, gitlab("git.acme.dev", "acme/gitops")),
            ("acme/team/gitops", Provider::GitHub, &[], gitlab("gitlab.com", "acme/team/gitops")),
            ("gitlab.com/acme/gitops", Provider::GitLab, &server, gitlab("gitlab.com", "acme/gitops")),
            ("gitlab.acme.dev/acme/gitops", Provider::Local, &[], gitlab("gitlab.acme.dev", "acme/gitops")),
            ("https://git.acme.dev/acme/gitops/", Provider::GitLab, &server, gitlab("git.acme.dev", "acme/gitops")),
            ("https://git.acme.dev/acme/gitops", Provider::Local, &[], None),
            ("https://github.com/acme/a/b", Provider::Local, &[], None),
            ("acme", Provider::Local, &[], None),
            ("acme/../x", Provider::Local, &[], None),
            ("http://github.com/acme/gitops", Provider::Local, &[], None),
        ] {
            assert_eq!(find(text, provider, set), found, "{text}");
        }
    }
}
