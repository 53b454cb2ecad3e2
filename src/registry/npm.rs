//! `npm`, run for one npm registry of the configuration: it knows the user's `.npmrc`, and registries know it. It runs
//! in a folder of its own, so that no `.npmrc` of the repository is read.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use miette::Diagnostic;
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::process::Command;

use super::{Cause, CredentialKind, Error, Session, credentials};
use crate::ui::with_causes;

/// An upload of some hundred megabytes, and npm's own retries.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// npm, with the credentials for one registry.
pub(crate) struct Npm {
    /// A name and its value, which proves who we are; `None`: the user's `.npmrc` must know.
    secret: Option<(&'static str, SecretString)>,
    /// Variables with secrets that are not npm's business.
    hidden: Vec<String>,
    /// The certificate authority that npm trusts for the registry beside its own.
    authority: Option<PathBuf>,
    folder: TempDir,
}

/// Why npm does not do, or does not say, what it was asked.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(crate) enum NpmError {
    /// What was given as credentials cannot be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Credentials(#[from] credentials::Error),

    /// There are credentials, and nothing says for which host.
    #[error("the credentials of the npm registry `{registry}` have no host: each package names one")]
    #[diagnostic(help("write the registry's URL into `npm`, or the credentials into `.npmrc`"))]
    NoHost { registry: String },

    /// The folder that npm runs in cannot be made.
    #[error("making a temporary folder for `npm`")]
    Folder(#[source] std::io::Error),

    /// npm cannot be run.
    #[error("running `npm {command}`")]
    #[diagnostic(help("install Node.js with npm, and run the command again"))]
    Missing { command: String, source: std::io::Error },

    /// npm did not end.
    #[error("`npm {command}` did not end within {} min", LIMIT.as_secs() / 60)]
    Slow { command: String },

    /// What npm itself says.
    #[error("{}{summary}", if error.is_empty() { String::new() } else { format!("{error}: ") })]
    Said {
        error: String,
        summary: String,
        #[help]
        help: Option<&'static str>,
    },
}

/// The codes with which npm says that it may not, that it does not trust the registry, and that it does not reach it.
const DENIED: [&str; 3] = ["E401", "E403", "ENEEDAUTH"];
const UNTRUSTED: [&str; 5] = [
    "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
    "SELF_SIGNED_CERT_IN_CHAIN",
    "DEPTH_ZERO_SELF_SIGNED_CERT",
    "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
    "CERT_HAS_EXPIRED",
];
const UNREACHABLE: [&str; 4] = ["ECONNREFUSED", "ENOTFOUND", "ETIMEDOUT", "EAI_AGAIN"];

impl NpmError {
    /// What npm says, and what to do.
    fn said(error: String, summary: String) -> Self {
        let help = match error.as_str() {
            error if DENIED.contains(&error) => Some(
                "log in (`npm login --registry=<url>`), or set `RHDH_PACK_<REGISTRY>_TOKEN` or `NODE_AUTH_TOKEN`, or \
                 `RHDH_PACK_<REGISTRY>_USERNAME` and `RHDH_PACK_<REGISTRY>_PASSWORD`",
            ),
            error if UNTRUSTED.contains(&error) => Some(
                "name the registry's certificate authority, a PEM file: `ca = \"certs/acme.pem\"` in \
                 `[registries.<name>]`, or `RHDH_PACK_<REGISTRY>_CA` in the environment",
            ),
            error if UNREACHABLE.contains(&error) => {
                Some("look whether the registry's URL is right and the registry runs")
            }
            _ => None,
        };
        Self::Said { error, summary, help }
    }

    /// A short name for documents, in kebab-case.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Credentials(_) => "credentials",
            Self::NoHost { .. } => "npm-registry",
            Self::Missing { .. } => "npm-missing",
            Self::Said { error, .. } if DENIED.contains(&error.as_str()) => "npm-denied",
            Self::Said { error, .. } if UNTRUSTED.contains(&error.as_str()) => "registry-certificate",
            Self::Said { error, .. } if UNREACHABLE.contains(&error.as_str()) => "npm-unreachable",
            Self::Folder(_) | Self::Slow { .. } | Self::Said { .. } => "npm",
        }
    }
}

/// Looks whether the npm registry `name` of the configuration, at `url`, is there and lets us read `package`, which it
/// need not have. Whether it lets us publish, it would not say.
///
/// # Errors
/// When it is not, or npm cannot be run.
pub(crate) async fn look(session: &Session, name: &str, url: &Url, package: &str) -> Result<(), Error> {
    let view =
        async { Npm::new(session, name, true)?.run(url, &["view", package, "version", "--fetch-retries=1"]).await };
    match view.await {
        Ok(_) => Ok(()),
        Err(NpmError::Said { error, .. }) if error == "E404" => Ok(()),
        Err(error) => Err(Error::Npm {
            registry: name.to_owned(),
            code: error.code(),
            help: error.help().map(|help| help.to_string()),
            source: Cause(with_causes(&error)),
        }),
    }
}

/// npm's stdout, with `--json`, when it fails.
#[derive(Deserialize)]
struct Output {
    error: Said,
}

#[derive(Default, Deserialize)]
struct Said {
    #[serde(default)]
    code: String,
    #[serde(default)]
    summary: String,
}

impl Npm {
    /// npm for the registry `name` of the configuration, which has a URL there (`configured`) or leaves it to the
    /// packages.
    pub(crate) fn new(session: &Session, name: &str, configured: bool) -> Result<Self, NpmError> {
        let keychain = session.keychain();
        let named = || Ok::<_, NpmError>(keychain.named(name)?.map(|credential| credential.kind));
        let secret = match keychain.token(name) {
            Some(token) => Some(("_authToken", token.clone())),
            None => named()?.map(|kind| match kind {
                CredentialKind::IdentityToken(token) => ("_authToken", token),
                CredentialKind::Password { username, password } => {
                    let pair = STANDARD.encode(format!("{username}:{}", password.expose_secret()));
                    ("_auth", SecretString::from(pair))
                }
            }),
        };
        let mut hidden = keychain.secret_names();
        let secret = match secret {
            secret if configured => secret.or_else(|| Some(("_authToken", keychain.npm_token()?.clone()))),
            // Where the package names the host, only what the user's `.npmrc` has for that very host is sent to it.
            Some(_) => return Err(NpmError::NoHost { registry: name.to_owned() }),
            None => {
                hidden.retain(|variable| variable != "NODE_AUTH_TOKEN");
                None
            }
        };
        // What the user's own `.npmrc` names, npm may see; `RHDH_PACK_…` is for us alone.
        let own = own_config();
        hidden.retain(|name| name.starts_with("RHDH_PACK_") || !own.contains(&format!("${{{name}}}")));
        let authority = session.authority(name).map(std::path::absolute).transpose().map_err(NpmError::Folder)?;
        let folder = tempfile::Builder::new().prefix("rhdh-pack-npm-").tempdir().map_err(NpmError::Folder)?;
        Ok(Self { secret, hidden, authority, folder })
    }

    /// The folder that npm runs in, where nobody else writes.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs npm for the registry at `url`; its stdout.
    pub(crate) async fn run(&self, url: &Url, arguments: &[&str]) -> Result<Vec<u8>, NpmError> {
        let mut command = self.command();
        command.args(arguments).arg("--json").arg(format!("--registry={url}"));
        if let Some((key, secret)) = &self.secret {
            let config = self.user_config(url, key).map_err(NpmError::Folder)?;
            // Only the name of the variable stands in the file.
            command.env("NPM_CONFIG_USERCONFIG", config).env("RHDH_PACK_NPM_SECRET", secret.expose_secret());
        }
        if let Some(authority) = &self.authority {
            command.env("NODE_EXTRA_CA_CERTS", authority);
            if let Some(all) = self.all_authorities(authority).await.map_err(NpmError::Folder)? {
                command.arg("--cafile").arg(all);
            }
        }
        let name = || arguments.first().copied().unwrap_or_default().to_owned();
        let output = tokio::time::timeout(LIMIT, command.output())
            .await
            .map_err(|_| NpmError::Slow { command: name() })?
            .map_err(|source| NpmError::Missing { command: name(), source })?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let Said { code, summary } =
            serde_json::from_slice::<Output>(&output.stdout).map(|output| output.error).unwrap_or_default();
        let summary = if summary.is_empty() { format!("npm ended with {}", output.status) } else { summary };
        Err(NpmError::said(code, summary))
    }

    /// npm, in its folder, without secrets.
    fn command(&self) -> Command {
        let mut command = Command::new("npm");
        command.current_dir(self.folder()).stdin(Stdio::null()).kill_on_drop(true);
        for name in &self.hidden {
            command.env_remove(name);
        }
        command
    }

    /// The authorities of npm's own configuration and `authority`, where that has a file of them: npm trusts nothing
    /// else then, whatever Node does.
    async fn all_authorities(&self, authority: &Path) -> std::io::Result<Option<PathBuf>> {
        let path = self.folder().join("authorities.pem");
        if path.exists() {
            return Ok(Some(path));
        }
        let output = tokio::time::timeout(LIMIT, self.command().args(["config", "get", "cafile"]).output()).await;
        let output = output.ok().transpose()?.map(|output| output.stdout).unwrap_or_default();
        let named = String::from_utf8_lossy(&output);
        if matches!(named.trim(), "" | "null" | "undefined") {
            return Ok(None);
        }
        // npm goes without a file that is not there.
        let own = fs_err::read_to_string(named.trim()).unwrap_or_default();
        fs_err::write(&path, format!("{own}\n{}", fs_err::read_to_string(authority)?))?;
        Ok(Some(path))
    }

    /// The user's own `.npmrc` and our secret, as long as this lives.
    fn user_config(&self, url: &Url, key: &str) -> std::io::Result<PathBuf> {
        let path = self.folder().join("user.npmrc");
        if !path.exists() {
            let below = url.path().trim_end_matches('/');
            let secret = format!("\n//{}{below}/:{key}=${{RHDH_PACK_NPM_SECRET}}\n", url.authority());
            fs_err::write(&path, own_config() + &secret)?;
        }
        Ok(path)
    }
}

/// The user's own `.npmrc`.
fn own_config() -> String {
    let named = std::env::var_os("NPM_CONFIG_USERCONFIG").map(PathBuf::from);
    let path = named.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".npmrc")));
    path.and_then(|path| fs_err::read_to_string(path).ok()).unwrap_or_default()
}
