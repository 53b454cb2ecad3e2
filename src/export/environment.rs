//! The environment that children get. rhdh-pack's own environment comes in; what goes out has no credentials in it.
//!
//! Exports run the repository's code, which needs no secret. So every variable whose name or value looks like a
//! credential is left out ([`class`]), with one exception: what a private npm registry needs. These are the variables
//! that `.yarnrc.yml`, `.yarnrc` or `.npmrc` name as `${VARIABLE}` (in the workspace, above it, and in the home
//! folder), and those that yarn, npm, git and ssh read by themselves. They go to children that install (`yarn install`,
//! `npm`, and the export of a backend, which runs `yarn install` in `dist-dynamic`). Other children get the named ones
//! empty, because yarn refuses to start when a variable of its configuration is missing. What belongs to rhdh-pack, to
//! container registries or to the CI's own interface goes to nobody, whatever names it. Proxies and certificate
//! authorities stay.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

/// The largest `.npmrc` or `.yarnrc.yml` that is read, in bytes.
const MAX_SIZE: u64 = 1024 * 1024;

/// The variables of rhdh-pack's own process. Shown without their values: some are secrets.
#[derive(Clone, Default)]
pub struct Variables(Vec<(OsString, OsString)>);

impl Variables {
    /// Those of this process.
    #[must_use]
    pub fn of_process() -> Self {
        std::env::vars_os().collect()
    }

    /// A variable's value, unless it is empty.
    pub(super) fn get(&self, name: &str) -> Option<&OsStr> {
        let found = self.0.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_os_str()).filter(|value| !value.is_empty())
    }
}

impl FromIterator<(OsString, OsString)> for Variables {
    fn from_iter<Items: IntoIterator<Item = (OsString, OsString)>>(items: Items) -> Self {
        Self(items.into_iter().collect())
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// What a variable is, judged by its name and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// Every child gets it.
    Plain,
    /// A credential: children that install get it, where the package managers' configuration names it.
    Credential,
    /// A credential that yarn, npm, git or ssh reads by itself: children that install get it.
    Installer,
    /// No child gets it.
    Never,
}

/// The environment of the children of one workspace.
#[derive(Clone, Default)]
pub(crate) struct Environment {
    plain: Vec<(OsString, OsString)>,
    for_installs: Vec<(OsString, OsString)>,
    /// Names among `for_installs` that yarn's configuration asks for.
    named: Vec<OsString>,
}

impl Environment {
    /// What children in `workspace` get of these variables.
    pub(crate) fn for_workspace(variables: &Variables, workspace: &Path) -> Self {
        Self::of(variables, &named_variables(&configuration_files(variables, workspace)))
    }

    fn of(variables: &Variables, named: &BTreeSet<String>) -> Self {
        let mut environment = Self::default();
        for (name, value) in variables.0.iter().cloned() {
            let asked_for = name.to_str().is_some_and(|name| named.contains(name));
            match class(&name, &value) {
                Class::Plain => environment.plain.push((name, value)),
                Class::Installer => environment.for_installs.push((name, value)),
                Class::Credential if asked_for => {
                    environment.named.push(name.clone());
                    environment.for_installs.push((name, value));
                }
                Class::Credential | Class::Never => {}
            }
        }
        // Colours belong on terminals, and node warns when both variables are there.
        environment.plain.retain(|(name, _)| name != "FORCE_COLOR" && name != "CLICOLOR_FORCE");
        environment.set("NO_COLOR", "1");
        // A corepack shim must neither ask nor download: fetching yarn is our part.
        environment.set("COREPACK_ENABLE_DOWNLOAD_PROMPT", "0");
        environment.set("COREPACK_ENABLE_NETWORK", "0");
        environment
    }

    /// Sets a variable for every child.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.plain.retain(|(other, _)| other != name);
        self.plain.push((name.into(), value.into()));
    }

    /// Puts one folder first and others last on PATH.
    pub(super) fn with_path(&self, first: &Path, last: &[PathBuf]) -> Self {
        let old = self.get("PATH").map(OsStr::to_owned).unwrap_or_default();
        let folders = std::iter::once(first.to_owned()).chain(std::env::split_paths(&old)).chain(last.iter().cloned());
        let mut environment = self.clone();
        // Only a folder with `:` in its name makes this fail; such a folder cannot stand on PATH at all.
        environment.set("PATH", std::env::join_paths(folders).unwrap_or(old));
        environment
    }

    /// A variable that every child gets.
    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        self.plain.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_os_str())
    }

    /// For children that talk to npm registries.
    pub(super) fn for_install(&self) -> Vec<(OsString, OsString)> {
        self.plain.iter().chain(&self.for_installs).cloned().collect()
    }

    /// For all other children.
    pub(crate) fn for_code(&self) -> Vec<(OsString, OsString)> {
        let empty = self.named.iter().map(|name| (name.clone(), OsString::new()));
        self.plain.iter().cloned().chain(empty).collect()
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.plain.iter().chain(&self.for_installs).map(|(name, _)| name)).finish()
    }
}

/// Judges a variable. Rather one too many than one too few counts as a credential.
fn class(name: &OsStr, value: &OsStr) -> Class {
    let name = name.to_string_lossy().to_uppercase();
    let value = value.to_string_lossy();
    let is = |names: &[&str]| names.contains(&name.as_str());
    if is(&["REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "DOCKER_AUTH_CONFIG", "KUBECONFIG"])
        || is(&["GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_STATE", "GITHUB_STEP_SUMMARY"])
        || ["RHDH_PACK_", "ACTIONS_", "CI_REGISTRY_", "COSIGN_"].iter().any(|prefix| name.starts_with(prefix))
    {
        return Class::Never;
    }
    if is(&["PWD", "OLDPWD"]) {
        return Class::Plain;
    }
    if is(&["SSH_AUTH_SOCK", "GIT_ASKPASS", "SSH_ASKPASS", "YARN_NPM_AUTH_TOKEN", "YARN_NPM_AUTH_IDENT"])
        || name.starts_with("GIT_CONFIG_")
        || (name.starts_with("NPM_CONFIG_") && name.contains("AUTH"))
    {
        return Class::Installer;
    }
    let holds = ["TOKEN", "SECRET", "PASS", "CREDENTIAL", "APIKEY", "OAUTH", "COOKIE", "CONNECTION_STRING", "NETRC"];
    let words = ["AUTH", "PAT", "PWD", "JWT", "KEY", "KEYS", "CREDS", "PRIVATE", "GPG"];
    if holds.iter().any(|part| name.contains(part))
        || name.split(['_', '-', '.']).any(|word| words.contains(&word))
        || name.contains("ACCESS_KEY")
        || (!name.ends_with("_PROXY") && has_user_info(&value))
    {
        return Class::Credential;
    }
    Class::Plain
}

/// True for `scheme://user:password@host`.
fn has_user_info(value: &str) -> bool {
    value.split_once("://").is_some_and(|(_, rest)| {
        let authority = rest.split(['/', '?', '#', ' ']).next().unwrap_or_default();
        authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
    })
}

/// Where yarn and npm look for their configuration when they run in `workspace`.
fn configuration_files(variables: &Variables, workspace: &Path) -> Vec<PathBuf> {
    let home = variables.get("HOME").map(PathBuf::from);
    let folders = workspace.ancestors().map(Path::to_owned).chain(home);
    let named = folders.flat_map(|folder| [".yarnrc.yml", ".yarnrc", ".npmrc"].map(|file| folder.join(file)));
    let user = ["NPM_CONFIG_USERCONFIG", "npm_config_userconfig"].into_iter().filter_map(|name| variables.get(name));
    named.chain(user.map(PathBuf::from)).collect()
}

/// The names in every `${NAME}` (also `${NAME:-default}`, `${NAME?}`) of these files, as far as they can be read.
fn named_variables(files: &[PathBuf]) -> BTreeSet<String> {
    let small = |file: &&PathBuf| fs_err::metadata(file).is_ok_and(|about| about.is_file() && about.len() <= MAX_SIZE);
    let texts = files.iter().filter(small).filter_map(|file| fs_err::read_to_string(file).ok());
    texts.flat_map(|text| variables_in(&text)).collect()
}

fn variables_in(text: &str) -> Vec<String> {
    let names = text.split("${").skip(1).map(|rest| {
        rest.find(|character: char| !character.is_ascii_alphanumeric() && character != '_')
            .map_or(rest, |end| &rest[..end])
    });
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        let table = [
            (Class::Plain, "PATH", "/usr/bin"),
            (Class::Plain, "PWD", "/home/dev"),
            (Class::Plain, "HOME", "/home/dev"),
            (Class::Plain, "HTTPS_PROXY", "http://user:password@proxy:3128"),
            (Class::Plain, "NO_PROXY", "localhost"),
            (Class::Plain, "NODE_EXTRA_CA_CERTS", "/etc/ca.pem"),
            (Class::Plain, "SSL_CERT_FILE", "/etc/ca.pem"),
            (Class::Plain, "NODE_OPTIONS", "--max-old-space-size=4096"),
            (Class::Plain, "NPM_CONFIG_REGISTRY", "https://npm.acme.dev"),
            (Class::Plain, "YARN_NPM_REGISTRY_SERVER", "https://npm.acme.dev"),
            (Class::Plain, "GITHUB_REPOSITORY", "acme/plugins"),
            (Class::Plain, "GITHUB_ACTIONS", "true"),
            (Class::Plain, "MONKEY", "banana"),
            (Class::Plain, "XDG_RUNTIME_DIR", "/run/user/1000"),
            (Class::Credential, "GITHUB_TOKEN", "ghs_1"),
            (Class::Credential, "NODE_AUTH_TOKEN", "npm_1"),
            (Class::Credential, "npm_token", "npm_1"),
            (Class::Credential, "NPMTOKEN", "npm_1"),
            (Class::Credential, "CI_JOB_TOKEN", "glcbt-1"),
            (Class::Credential, "QUAY_PASSWORD", "x"),
            (Class::Credential, "DB_PASSWD", "x"),
            (Class::Credential, "GPG_PASSPHRASE", "x"),
            (Class::Credential, "MYSQL_PWD", "x"),
            (Class::Credential, "CLIENT_SECRET", "x"),
            (Class::Credential, "GOOGLE_APPLICATION_CREDENTIALS", "/tmp/key.json"),
            (Class::Credential, "AWS_ACCESS_KEY_ID", "AKIA"),
            (Class::Credential, "AWS_SECRET_ACCESS_KEY", "x"),
            (Class::Credential, "OPENAI_API_KEY", "sk-1"),
            (Class::Credential, "SSH_PRIVATE_KEY", "-----BEGIN"),
            (Class::Credential, "AZURE_STORAGE_CONNECTION_STRING", "x"),
            (Class::Credential, "CI_JOB_JWT_V2", "x"),
            (Class::Credential, "GH_PAT", "x"),
            (Class::Credential, "BASIC_AUTH", "x"),
            (Class::Credential, "DATABASE_URL", "postgres://user:password@db/todo"),
            (Class::Credential, "CI_REPOSITORY_URL", "https://gitlab-ci-token:glcbt-1@gitlab.acme.dev/a.git"),
            (Class::Installer, "SSH_AUTH_SOCK", "/tmp/agent"),
            (Class::Installer, "YARN_NPM_AUTH_TOKEN", "npm_1"),
            (Class::Installer, "npm_config_//npm.acme.dev/:_authToken", "npm_1"),
            (Class::Installer, "GIT_CONFIG_VALUE_0", "AUTHORIZATION: basic x"),
            (Class::Never, "RHDH_PACK_QUAY_USERNAME", "robot"),
            (Class::Never, "RHDH_PACK_CACHE", "/tmp/cache"),
            (Class::Never, "REGISTRY_AUTH_FILE", "/run/auth.json"),
            (Class::Never, "DOCKER_CONFIG", "/root/.docker"),
            (Class::Never, "ACTIONS_RUNTIME_TOKEN", "x"),
            (Class::Never, "ACTIONS_ID_TOKEN_REQUEST_URL", "https://x"),
            (Class::Never, "GITHUB_OUTPUT", "/tmp/out"),
            (Class::Never, "GITHUB_STEP_SUMMARY", "/tmp/summary"),
            (Class::Never, "CI_REGISTRY_PASSWORD", "x"),
        ];
        for (expected, name, value) in table {
            assert_eq!(class(OsStr::new(name), OsStr::new(value)), expected, "{name}={value}");
        }
    }

    fn value<'a>(env: &'a [(OsString, OsString)], name: &str) -> Option<&'a str> {
        env.iter().find(|(other, _)| other == name).and_then(|(_, value)| value.to_str())
    }

    #[test]
    fn only_installs_get_what_the_configuration_names() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(".npmrc");
        fs_err::write(&file, "//npm.acme.dev/:_authToken=${ACME_TOKEN}\nx=${RHDH_PACK_QUAY_PASSWORD} ${A_TOKEN:-}${")
            .unwrap();
        let variables =
            ["ACME_TOKEN", "RHDH_PACK_QUAY_PASSWORD", "OTHER_TOKEN", "SSH_AUTH_SOCK", "LANG", "FORCE_COLOR"];
        let variables = variables.map(|name| (OsString::from(name), OsString::from("v"))).into_iter().collect();
        let environment = Environment::of(&variables, &named_variables(&[file]));
        let (install, code) = (environment.for_install(), environment.for_code());
        assert_eq!((value(&install, "ACME_TOKEN"), value(&code, "ACME_TOKEN")), (Some("v"), Some("")));
        assert_eq!((value(&install, "SSH_AUTH_SOCK"), value(&code, "SSH_AUTH_SOCK")), (Some("v"), None));
        for env in [&install, &code] {
            assert_eq!(value(env, "LANG"), Some("v"));
            assert_eq!(value(env, "NO_COLOR"), Some("1"));
            for absent in ["OTHER_TOKEN", "RHDH_PACK_QUAY_PASSWORD", "FORCE_COLOR"] {
                assert_eq!(value(env, absent), None, "{absent}");
            }
        }
    }

    #[test]
    fn path_gets_a_first_and_a_last_folder() {
        let variables = Variables::from_iter([("PATH".into(), "/usr/bin:/bin".into())]);
        assert_eq!(format!("{variables:?}"), "{\"PATH\"}", "no values");
        let environment = Environment::of(&variables, &BTreeSet::new());
        let environment = environment.with_path(Path::new("/shim"), &[PathBuf::from("/cli/bin")]);
        assert_eq!(environment.get("PATH").unwrap(), "/shim:/usr/bin:/bin:/cli/bin");
    }
}
