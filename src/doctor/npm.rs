//! What an npm registry says of us and of a version. `npm` itself asks, in a folder of its own and with the user's `.npmrc`,
//! as it does when it publishes.

use std::path::PathBuf;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::process::Command;

use crate::registry::{CredentialKind, Session};

/// npm, for one registry and with the credentials for it.
pub(super) struct Npm<'a> {
    url: reqwest::Url,
    /// A name and its value, which proves who we are; `None`: the user's `.npmrc` must know.
    secret: Option<(&'static str, SecretString)>,
    authority: Option<PathBuf>,
    session: &'a Session,
    folder: TempDir,
}

#[derive(Deserialize)]
struct Said {
    error: SaidError,
}

/// Why npm does not say what it was asked.
#[derive(Default, Deserialize)]
pub(super) struct SaidError {
    #[serde(default)]
    pub(super) code: String,
    #[serde(default)]
    pub(super) summary: String,
}

impl SaidError {
    fn of(summary: String) -> Self {
        Self { code: String::new(), summary }
    }
}

impl<'a> Npm<'a> {
    /// npm for the registry `name` of the configuration, at `url`.
    pub(super) fn new(session: &'a Session, name: &str, url: &str) -> Result<Self, SaidError> {
        let keychain = session.keychain();
        let named = keychain.named(name).map_err(|error| SaidError::of(error.to_string()))?;
        let secret = match (keychain.token(name), named.map(|credential| credential.kind)) {
            (Some(token), _) => Some(("_authToken", token.clone())),
            (None, Some(CredentialKind::IdentityToken(token))) => Some(("_authToken", token)),
            (None, Some(CredentialKind::Password { username, password })) => {
                let pair = STANDARD.encode(format!("{username}:{}", password.expose_secret()));
                Some(("_auth", SecretString::from(pair)))
            }
            (None, None) => keychain.npm_token().map(|token| ("_authToken", token.clone())),
        };
        let url = reqwest::Url::parse(url).map_err(|error| SaidError::of(error.to_string()))?;
        let folder = tempfile::Builder::new().prefix("rhdh-pack-npm-").tempdir();
        let folder = folder.map_err(|error| SaidError::of(format!("making a temporary folder: {error}")))?;
        Ok(Self { url, secret, authority: session.authority(name), session, folder })
    }

    /// Whether the registry has `package` in `version`.
    pub(super) async fn has(&self, package: &str, version: &str) -> Result<bool, SaidError> {
        match self.run(&["view", &format!("{package}@{version}"), "version"]).await {
            Ok(text) => Ok(!text.trim_ascii().is_empty()),
            Err(said) if said.code == "E404" => Ok(false),
            Err(said) => Err(said),
        }
    }

    /// Whom the registry takes us for; `None` where it does not say.
    pub(super) async fn user(&self) -> Option<String> {
        serde_json::from_slice(&self.run(&["whoami"]).await.ok()?).ok()
    }

    /// Runs npm; its stdout, or what it says is wrong.
    async fn run(&self, arguments: &[&str]) -> Result<Vec<u8>, SaidError> {
        let mut command = Command::new("npm");
        command.args(arguments).args(["--json", "--fetch-retries=0"]).arg(format!("--registry={}", self.url));
        command.current_dir(self.folder.path()).stdin(Stdio::null()).kill_on_drop(true);
        for name in self.session.keychain().secret_names() {
            command.env_remove(name);
        }
        if let Some((key, secret)) = &self.secret {
            let config = self.user_config(key).map_err(|error| SaidError::of(error.to_string()))?;
            // Only the name of the variable stands in the file.
            command.env("NPM_CONFIG_USERCONFIG", config).env("RHDH_PACK_NPM_SECRET", secret.expose_secret());
        }
        if let Some(authority) = self.authority.as_ref().and_then(|file| std::path::absolute(file).ok()) {
            command.env("NODE_EXTRA_CA_CERTS", authority);
        }
        let output = command.output().await.map_err(|error| SaidError::of(format!("running `npm`: {error}")))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = serde_json::from_slice::<Said>(&output.stdout).map(|said| said.error).unwrap_or_default();
        Err(if said.summary.is_empty() { SaidError::of(format!("npm ended with {}", output.status)) } else { said })
    }

    /// The user's own `.npmrc` and our secret, for this look only.
    fn user_config(&self, key: &str) -> std::io::Result<PathBuf> {
        let own = std::env::var_os("NPM_CONFIG_USERCONFIG").map(PathBuf::from);
        let own = own.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".npmrc")));
        let mut text = own.and_then(|own| fs_err::read_to_string(own).ok()).unwrap_or_default();
        let below = self.url.path().trim_end_matches('/');
        text.push_str(&format!("\n//{}{below}/:{key}=${{RHDH_PACK_NPM_SECRET}}\n", self.url.authority()));
        let path = self.folder.path().join("user.npmrc");
        fs_err::write(&path, text)?;
        Ok(path)
    }
}
