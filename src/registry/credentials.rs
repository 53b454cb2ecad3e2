//! Which credentials belong to which repository. The environment, podman's and docker's files and their credential
//! helpers come in; what goes out is one [`Credential`] for a repository, or none.
//!
//! The order, first match wins:
//!
//! 1. `RHDH_PACK_<REGISTRY>_USERNAME` and `_PASSWORD`, where `<REGISTRY>` is the registry's name in
//!    `rhdh-plugins.toml` in upper case, with `_` for every other character than letters and digits
//! 2. `REGISTRY_AUTH_FILE`, else `$XDG_RUNTIME_DIR/containers/auth.json` (without that variable
//!    `/run/containers/<uid>/auth.json`)
//! 3. `$XDG_CONFIG_HOME/containers/auth.json` (`~/.config/containers/auth.json`)
//! 4. `$DOCKER_CONFIG/config.json` (`~/.docker/config.json`), then `~/.dockercfg`
//! 5. `credsStore` of these files
//! 6. `GITHUB_TOKEN` for `ghcr.io`, `CI_REGISTRY_USER` and `CI_REGISTRY_PASSWORD` for the host `CI_REGISTRY`
//!
//! Within a file (containers-auth.json(5)): `credHelpers` of the host excludes `auths`; of those the longest path
//! that leads to the repository wins.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::OnceCell;

use super::auth_file::{AuthFile, Entry};
use super::error::Cause;
use super::helper;

/// What proves who we are.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The proof.
    pub kind: CredentialKind,
    /// Where it was found, for messages: `` `/home/me/.docker/config.json` ``, `stdin`.
    pub source: String,
}

/// The kinds of proof.
#[derive(Clone, Debug)]
pub enum CredentialKind {
    /// A user's name and password, or a robot's name and token.
    Password {
        /// The name.
        username: String,
        /// The password.
        password: SecretString,
    },
    /// What a registry's login gave instead of a password: it is exchanged for access tokens (`identitytoken`).
    IdentityToken(SecretString),
}

impl Credential {
    /// The texts that must not be seen anywhere: also the pair as files and headers have it.
    pub(super) fn secrets(&self) -> Vec<String> {
        match &self.kind {
            CredentialKind::Password { username, password } => {
                let pair = STANDARD.encode(format!("{username}:{}", password.expose_secret()));
                vec![password.expose_secret().to_owned(), pair]
            }
            CredentialKind::IdentityToken(token) => vec![token.expose_secret().to_owned()],
        }
    }
}

impl PartialEq for Credential {
    fn eq(&self, other: &Self) -> bool {
        use CredentialKind::{IdentityToken, Password};
        match (&self.kind, &other.kind) {
            (Password { username, password }, Password { username: other_username, password: other_password }) => {
                username == other_username && password.expose_secret() == other_password.expose_secret()
            }
            (IdentityToken(token), IdentityToken(other)) => token.expose_secret() == other.expose_secret(),
            _ => false,
        }
    }
}

/// Why credentials could not be read. None of these texts holds a secret.
#[derive(Clone, Debug, thiserror::Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum Error {
    /// A file of credentials cannot be read.
    #[error("reading the credentials in `{}`", path.display())]
    #[diagnostic(help("{help}"))]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Cause,
        /// What to do.
        help: &'static str,
    },
    /// One of the two variables is set, the other is not.
    #[error("`{set}` is set, and `{missing}` is not")]
    #[diagnostic(help("set both, or neither"))]
    Half {
        /// The variable that is set.
        set: String,
        /// The one that is not.
        missing: String,
    },
    /// A credential helper does not work.
    #[error("asking the credential helper `docker-credential-{name}` for `{host}`")]
    #[diagnostic(help(
        "install the helper, or set `RHDH_PACK_<REGISTRY>_USERNAME` and `RHDH_PACK_<REGISTRY>_PASSWORD` instead"
    ))]
    Helper {
        /// Its name, as the file gives it.
        name: String,
        /// The registry's host.
        host: String,
        /// What went wrong.
        source: Cause,
    },
}

/// A helper's answer, once it is there.
type Asked = OnceCell<Result<Option<Credential>, Error>>;

/// All credentials that this process can find. Files are read once; what is wrong with one is told when it is needed.
pub struct Keychain {
    variables: HashMap<String, SecretString>,
    /// Where variables were really given, for messages; those that are not here, in the environment.
    origins: BTreeMap<String, String>,
    files: Vec<Result<AuthFile, Error>>,
    /// `PATH`, where helpers are looked for.
    path: String,
    /// What helpers said, by helper and host: some take a second each time.
    asked: tokio::sync::Mutex<HashMap<(String, String), Arc<Asked>>>,
}

impl std::fmt::Debug for Keychain {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let files: Vec<_> = self.files.iter().flatten().map(|file| &file.path).collect();
        formatter.debug_struct("Keychain").field("files", &files).finish_non_exhaustive()
    }
}

impl Keychain {
    /// The credentials of this process's environment and user.
    #[must_use]
    pub fn from_env() -> Self {
        let variables = std::env::vars_os();
        let text = variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let user = rustix::process::getuid().as_raw();
        Self::read(text, user)
    }

    /// The credentials that `variables` (an environment) lead to. `user` is the user's id on this machine.
    #[must_use]
    pub fn read(variables: impl IntoIterator<Item = (String, String)>, user: u32) -> Self {
        let variables: HashMap<String, String> = variables.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let variable = |name: &str| variables.get(name);
        let folder = |name: &str| variable(name).map(PathBuf::from);
        let home = folder("HOME");

        let primary = folder("REGISTRY_AUTH_FILE");
        let must_exist = primary.is_some();
        let primary = primary.unwrap_or_else(|| {
            folder("XDG_RUNTIME_DIR")
                .map_or_else(|| PathBuf::from(format!("/run/containers/{user}")), |folder| folder.join("containers"))
                .join("auth.json")
        });
        let podman = folder("XDG_CONFIG_HOME").or_else(|| Some(home.as_ref()?.join(".config")));
        let docker = folder("DOCKER_CONFIG").or_else(|| Some(home.as_ref()?.join(".docker")));

        let mut files = Vec::new();
        files.extend(AuthFile::read(primary, must_exist).transpose());
        if let Some(podman) = podman {
            files.extend(AuthFile::read(podman.join("containers/auth.json"), false).transpose());
        }
        if let Some(docker) = docker {
            files.extend(AuthFile::read(docker.join("config.json"), false).transpose());
        }
        if let Some(home) = home {
            files.extend(AuthFile::read_old(home.join(".dockercfg")).transpose());
        }
        let path = variable("PATH").cloned().unwrap_or_default();
        let wanted = |name: &str| {
            // Those of signing are not ours to use: they are kept from other children.
            ["RHDH_PACK_", "COSIGN_", "SIGSTORE_", "ACTIONS_ID_TOKEN_"].iter().any(|prefix| name.starts_with(prefix))
                || matches!(
                    name,
                    "NODE_AUTH_TOKEN"
                        | "GITHUB_TOKEN"
                        | "GITHUB_ACTOR"
                        | "GITHUB_API_URL"
                        | "CI_API_V4_URL"
                        | "CI_JOB_TOKEN"
                        | "CI_REGISTRY"
                        | "CI_REGISTRY_USER"
                        | "CI_REGISTRY_PASSWORD"
                )
        };
        let kept = variables.into_iter().filter(|(name, _)| wanted(name));
        let variables = kept.map(|(name, value)| (name, SecretString::from(value))).collect();
        Self { variables, origins: BTreeMap::new(), files, path, asked: tokio::sync::Mutex::default() }
    }

    /// The same, of which some variables stand for what was given elsewhere: by name, where that is, for messages.
    #[must_use]
    pub fn given_in(mut self, origins: BTreeMap<String, String>) -> Self {
        self.origins = origins;
        self
    }

    /// The credential for a repository; `None` where there is none: the registry is asked anonymously. `registry` is
    /// the registry's name in `rhdh-plugins.toml`, `host` is `host[:port]`, `path` the repository's name on it.
    ///
    /// # Errors
    /// When only one of the two variables is set, a credential helper fails, or a file that may have the credential cannot
    /// be read, or is not what podman and docker write.
    pub async fn find(&self, registry: &str, host: &str, path: &str) -> Result<Option<Credential>, Error> {
        if let Some(credential) = self.named(registry)? {
            return Ok(Some(credential));
        }
        for file in &self.files {
            match file.as_ref().map_err(Clone::clone)?.entry(host, path) {
                Some(Entry::Helper(name)) => {
                    if let Some(credential) = self.ask(name, host).await? {
                        return Ok(Some(credential));
                    }
                }
                Some(Entry::Credential(credential)) => return credential.clone().map(Some),
                None => {}
            }
        }
        for name in self.files.iter().flatten().filter_map(|file| file.store.as_deref()) {
            if let Some(credential) = self.ask(name, host).await? {
                return Ok(Some(credential));
            }
        }
        Ok(self.of_ci(host))
    }

    /// `NODE_AUTH_TOKEN`: for npm registries, as `actions/setup-node` has it.
    #[must_use]
    pub fn npm_token(&self) -> Option<&SecretString> {
        self.variables.get("NODE_AUTH_TOKEN")
    }

    /// `RHDH_PACK_<REGISTRY>_TOKEN`: for npm registries, GitHub and GitLab, which take a token without a name.
    #[must_use]
    pub fn token(&self, registry: &str) -> Option<&SecretString> {
        self.variables.get(&format!("{}_TOKEN", variable_prefix(registry)))
    }

    /// `RHDH_PACK_<REGISTRY>_CA`: a PEM file with the certificate authority of the registry.
    #[must_use]
    pub fn authority(&self, registry: &str) -> Option<PathBuf> {
        let file = self.variables.get(&format!("{}_CA", variable_prefix(registry)))?;
        Some(PathBuf::from(file.expose_secret()))
    }

    /// The names of all variables that hold secrets of ours: child processes must not see them.
    #[must_use]
    pub fn secret_names(&self) -> Vec<String> {
        self.variables.keys().filter(|name| !name.ends_with("_URL")).cloned().collect()
    }

    /// A variable that holds a secret.
    pub(super) fn secret(&self, name: &str) -> Option<&SecretString> {
        self.variables.get(name)
    }

    /// A variable that holds none.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|value| value.expose_secret())
    }

    /// How to give credentials for a registry, for messages.
    pub(super) fn advice(registry: &str, host: &str) -> String {
        let prefix = variable_prefix(registry);
        format!(
            "run `podman login {host}` (or `docker login {host}`), or set `{prefix}_USERNAME` and `{prefix}_PASSWORD`"
        )
    }

    /// The credential that the environment names for this registry.
    ///
    /// # Errors
    /// When only one of the two variables is set.
    pub fn named(&self, registry: &str) -> Result<Option<Credential>, Error> {
        let prefix = variable_prefix(registry);
        let (username, password) = (format!("{prefix}_USERNAME"), format!("{prefix}_PASSWORD"));
        match (self.variables.get(&username), self.variables.get(&password)) {
            (Some(name), Some(secret)) => Ok(Some(Credential {
                kind: CredentialKind::Password { username: name.expose_secret().to_owned(), password: secret.clone() },
                source: self.origins.get(&password).cloned().unwrap_or_else(|| format!("`{password}`")),
            })),
            (None, None) => Ok(None),
            (Some(_), None) => Err(Error::Half { set: username, missing: password }),
            (None, Some(_)) => Err(Error::Half { set: password, missing: username }),
        }
    }

    /// The tokens that GitHub and GitLab give to their jobs, each for its own host only.
    fn of_ci(&self, host: &str) -> Option<Credential> {
        let variable = |name: &str| self.variables.get(name);
        let credential = |username: &str, password: &SecretString, source: &str| Credential {
            kind: CredentialKind::Password { username: username.to_owned(), password: password.clone() },
            source: format!("`{source}`"),
        };
        if host == "ghcr.io" {
            // ghcr.io takes any name beside a token.
            let username = variable("GITHUB_ACTOR").map_or("github", |actor| actor.expose_secret());
            return variable("GITHUB_TOKEN").map(|token| credential(username, token, "GITHUB_TOKEN"));
        }
        if variable("CI_REGISTRY").is_some_and(|registry| registry.expose_secret() == host) {
            let username = variable("CI_REGISTRY_USER")?.expose_secret();
            return Some(credential(username, variable("CI_REGISTRY_PASSWORD")?, "CI_REGISTRY_PASSWORD"));
        }
        None
    }

    async fn ask(&self, name: &str, host: &str) -> Result<Option<Credential>, Error> {
        let key = (name.to_owned(), host.to_owned());
        let answer = Arc::clone(self.asked.lock().await.entry(key).or_default());
        let hidden = self.secret_names();
        answer.get_or_init(|| helper::get(name, host, &self.path, &hidden)).await.clone()
    }
}

/// What the names of a registry's two variables begin with: `RHDH_PACK_QUAY_PR` for `quay-pr`.
#[must_use]
pub fn variable_prefix(registry: &str) -> String {
    let upper = registry
        .chars()
        .map(|character| if character.is_ascii_alphanumeric() { character.to_ascii_uppercase() } else { '_' });
    format!("RHDH_PACK_{}", upper.collect::<String>())
}
