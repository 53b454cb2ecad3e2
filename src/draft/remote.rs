//! What git knows of where the repository came from: its remote comes in; the registry that goes with it, the forge and
//! the default branch go out. Only git is asked, nothing on the network.

use std::path::Path;
use std::process::Command;

/// Where the repository is at home.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remote {
    /// The host, such as `github.com`; `None` without a remote.
    pub host: Option<String>,
    /// The path on it, without `.git`.
    pub path: String,
    /// The branch that others are merged into.
    pub branch: String,
}

impl Remote {
    /// What git says of the repository that holds `folder`.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        let url = git(folder, &["config", "--get", "remote.origin.url"]).unwrap_or_default();
        let (host, path) = split(&url).unzip();
        let head = git(folder, &["symbolic-ref", "--short", "refs/remotes/origin/HEAD"]);
        let branch = head.and_then(|head| head.strip_prefix("origin/").map(str::to_owned));
        let current = || git(folder, &["symbolic-ref", "--short", "HEAD"]);
        Self {
            host,
            path: path.unwrap_or_default(),
            branch: branch.or_else(current).unwrap_or_else(|| "main".to_owned()),
        }
    }

    /// Whether it is on GitHub.
    #[must_use]
    pub fn is_github(&self) -> bool {
        self.host.as_deref() == Some("github.com")
    }

    /// Whether it is on a GitLab.
    #[must_use]
    pub fn is_gitlab(&self) -> bool {
        self.host.as_deref().is_some_and(|host| host.split('.').any(|label| label == "gitlab"))
    }

    /// The OCI registry that comes with the repository: GitHub's, or that of gitlab.com.
    #[must_use]
    pub fn registry(&self) -> Option<String> {
        let path = self.path.to_ascii_lowercase();
        let registry = match self.host.as_deref()? {
            "github.com" => format!("ghcr.io/{path}"),
            "gitlab.com" => format!("registry.gitlab.com/{path}"),
            _ => return None,
        };
        Some(registry).filter(|registry| crate::config::names::is_oci_prefix(registry))
    }
}

/// Host and path of a git URL, in either of its forms. Credentials in it are left behind.
fn split(url: &str) -> Option<(String, String)> {
    let url = url.trim();
    let (authority, path) = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/')?,
        None => url.split_once(':')?,
    };
    let host = authority.rsplit('@').next()?.split(':').next()?.to_ascii_lowercase();
    let path = path.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    (!host.is_empty() && !path.is_empty()).then(|| (host, path.to_owned()))
}

fn git(folder: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    command.args(arguments).current_dir(folder);
    // A hook's variables name its own repository.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(name);
    }
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_come_from_remotes() {
        for (url, registry) in [
            ("https://github.com/Acme/Plugins.git", Some("ghcr.io/acme/plugins")),
            ("git@github.com:acme/plugins.git", Some("ghcr.io/acme/plugins")),
            ("https://me:hunter2@github.com/acme/plugins/", Some("ghcr.io/acme/plugins")),
            ("ssh://git@gitlab.com:22/acme/team/plugins", Some("registry.gitlab.com/acme/team/plugins")),
            ("https://git.acme.dev/acme/plugins", None),
            ("/srv/git/plugins", None),
            ("https://github.com/", None),
        ] {
            let (host, path) = split(url).unzip();
            let remote = Remote { host, path: path.unwrap_or_default(), branch: String::new() };
            assert_eq!(remote.registry().as_deref(), registry, "{url}");
        }
    }
}
