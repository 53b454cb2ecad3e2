//! Signing by cosign, which runs as a child: it gets its own keys and the credentials of the one registry that it
//! writes to, in a private folder, and nothing else that is secret.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::process::Command;

use super::image::{ImageJob, lock};
use super::notes::{Failure, Notes};
use crate::registry::{Credential, CredentialKind};
use crate::ui::Ui;

/// cosign itself gives up after three minutes; a key in the cloud may be slow.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// Variables that any program needs.
const PLAIN: [&str; 16] = [
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "TZ",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
];

/// Variables that are cosign's: keys, identity, where it signs.
const OWN: [&str; 4] = ["COSIGN_", "SIGSTORE_", "TUF_", "ACTIONS_ID_TOKEN_"];

/// Variables of the clouds that keep keys, by what the key's name begins with.
const CLOUDS: [(&str, &[&str]); 5] = [
    ("awskms://", &["AWS_"]),
    ("azurekms://", &["AZURE_"]),
    ("gcpkms://", &["GOOGLE_", "CLOUDSDK_"]),
    ("hashivault://", &["VAULT_", "TRANSIT_"]),
    ("k8s://", &["KUBE"]),
];

/// cosign, and what it gets.
pub(super) struct Cosign {
    program: PathBuf,
    environment: Vec<(OsString, OsString)>,
    /// `--key`; `None`: an identity of the CI, or of the person at the terminal.
    key: Option<String>,
    /// Values that must not be seen.
    secrets: Vec<String>,
}

/// How an image is signed.
pub(super) struct Signing {
    pub(super) cosign: Arc<Cosign>,
    /// The registry's name in the configuration.
    pub(super) registry: String,
    /// Whether the registry may be spoken to over plain HTTP, and its certificate is not checked.
    pub(super) insecure: bool,
    /// The PEM file with the authority that is trusted for the registry.
    pub(super) authority: Option<PathBuf>,
    /// The folder for logs.
    pub(super) logs: PathBuf,
}

impl Cosign {
    /// cosign on `PATH`; `None` where it is not installed.
    pub(super) fn find() -> Option<Self> {
        let path = std::env::var_os("PATH")?;
        let candidates = std::env::split_paths(&path).map(|folder| folder.join("cosign"));
        let program = candidates.into_iter().find(|program| is_executable(program))?;
        Some(Self::new(program, std::env::vars_os().collect()))
    }

    fn new(program: PathBuf, variables: Vec<(OsString, OsString)>) -> Self {
        let value = |name: &str| {
            let found = variables.iter().find(|(other, _)| other == name)?;
            found.1.to_str().filter(|value| !value.is_empty()).map(str::to_owned)
        };
        // A key's place is no secret; a key itself stays in its variable.
        let in_variable = || value("COSIGN_PRIVATE_KEY").map(|_| "env://COSIGN_PRIVATE_KEY".to_owned());
        let key = value("COSIGN_KEY").or_else(in_variable);
        let cloud = CLOUDS.iter().find(|(scheme, _)| key.as_ref().is_some_and(|key| key.starts_with(scheme)));
        let cloud = cloud.map_or(&[][..], |(_, prefixes)| *prefixes);
        let is_for_cosign =
            |name: &str| PLAIN.contains(&name) || OWN.iter().chain(cloud).any(|prefix| name.starts_with(prefix));
        let environment: Vec<(OsString, OsString)> =
            variables.into_iter().filter(|(name, _)| name.to_str().is_some_and(is_for_cosign)).collect();
        let is_secret = |name: &OsStr| {
            let name = name.to_string_lossy();
            name != "COSIGN_KEY" && ["PASSWORD", "TOKEN", "SECRET", "KEY"].iter().any(|part| name.contains(part))
        };
        let secrets = environment.iter().filter(|(name, _)| is_secret(name));
        let secrets = secrets.filter_map(|(_, value)| value.to_str().map(str::to_owned)).collect();
        Self { program, environment, key, secrets }
    }
}

impl ImageJob {
    /// Signs the image, which is up by digest, where that is asked for.
    pub(super) async fn sign(&self, id: &str, ui: &Ui, noted: &Mutex<Notes>) -> Result<(), Failure> {
        let Some(signing) = &self.signing else { return Ok(()) };
        {
            // Images are signed before their first tag moves: one that has all of its tags was signed.
            let mut notes = lock(noted);
            if !self.tags.is_empty() && self.tags.iter().all(|tag| notes.tags.contains(tag)) {
                notes.signed = true;
                return Ok(());
            }
        }
        let step = ui.step(id, "sign");
        let reference = format!("{}@{}", self.repository, self.image.digest);
        match signing.run(&reference, self.repository.host(), self.repository.credential()).await {
            Ok(()) => {
                lock(noted).signed = true;
                step.done(&format!("{reference} by cosign"));
                Ok(())
            }
            Err(failure) => {
                step.failed(&failure.message);
                Err(failure)
            }
        }
    }
}

impl Signing {
    /// Runs `cosign sign`. What it says goes into a log file.
    async fn run(&self, reference: &str, host: &str, credential: Option<&Credential>) -> Result<(), Failure> {
        let cosign = &self.cosign;
        let ours_alone = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix("rhdh-pack-cosign-").permissions(ours_alone).tempdir();
        let folder = folder.map_err(|error| self.failed(reference, &error.to_string()))?;
        let (config, mut secrets) = docker_config(host, credential);
        let written = fs_err::write(folder.path().join("config.json"), config.to_string());
        written.map_err(|error| self.failed(reference, &error.to_string()))?;
        secrets.extend(cosign.secrets.iter().cloned());

        let mut command = Command::new(&cosign.program);
        command.args(["sign", "--yes"]);
        if let Some(key) = &cosign.key {
            command.args(["--key", key]);
        }
        if self.insecure {
            command.args(["--allow-insecure-registry", "--allow-http-registry"]);
        }
        if let Some(authority) = &self.authority {
            command.arg("--registry-cacert").arg(authority);
        }
        command.arg(reference).env_clear().envs(cosign.environment.iter().map(|(name, value)| (name, value)));
        command.env("DOCKER_CONFIG", folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let output = tokio::time::timeout(LIMIT, command.output()).await;
        let output = output.map_err(|_| self.failed(reference, "it did not end within 10 min"))?;
        let output = output.map_err(|error| self.failed(reference, &error.to_string()))?;
        let said = hidden(&[output.stdout, output.stderr].concat(), &secrets);
        let log = self.logs.join(format!("cosign-{}.log", self.registry));
        let written = fs_err::create_dir_all(&self.logs).and_then(|()| fs_err::write(&log, &said));
        written.map_err(|error| self.failed(reference, &error.to_string()))?;
        if output.status.success() {
            return Ok(());
        }
        let last = said.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it said nothing");
        let last: String = last.chars().filter(|character| !character.is_control()).take(300).collect();
        Err(self.failed(reference, &format!("{}: {last}", output.status)))
    }

    fn failed(&self, reference: &str, why: &str) -> Failure {
        let help = format!(
            "what cosign said is in `{}`; it takes a key from `COSIGN_KEY` (a file, or the name of a key in a cloud) or \
             `COSIGN_PRIVATE_KEY`, with `COSIGN_PASSWORD`, and without a key an identity of the CI (GitHub: `permissions: \
             id-token: write`; GitLab: `id_tokens: SIGSTORE_ID_TOKEN`)",
            self.logs.join(format!("cosign-{}.log", self.registry)).display()
        );
        Failure { code: "cosign", message: format!("signing `{reference}` by cosign: {why}"), help: Some(help) }
    }
}

/// What docker would keep of this one credential, and what of it is secret.
fn docker_config(host: &str, credential: Option<&Credential>) -> (Value, Vec<String>) {
    // docker keeps its own registry under the URL of old.
    let server = if host == "index.docker.io" { "https://index.docker.io/v1/" } else { host };
    match credential.map(|credential| &credential.kind) {
        None => (json!({ "auths": {} }), Vec::new()),
        Some(CredentialKind::Password { username, password }) => {
            let password = password.expose_secret();
            let pair = STANDARD.encode(format!("{username}:{password}"));
            (json!({ "auths": { server: { "auth": pair } } }), vec![password.to_owned(), pair])
        }
        Some(CredentialKind::IdentityToken(token)) => {
            let token = token.expose_secret();
            (json!({ "auths": { server: { "identitytoken": token } } }), vec![token.to_owned()])
        }
    }
}

/// What a child said, without secrets.
fn hidden(said: &[u8], secrets: &[String]) -> String {
    let said = String::from_utf8_lossy(said).into_owned();
    secrets.iter().filter(|secret| secret.len() > 3).fold(said, |said, secret| said.replace(secret.as_str(), "***"))
}

fn is_executable(program: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs_err::metadata(program).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(variables: &[(&str, &str)]) -> (Vec<String>, Option<String>) {
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let cosign = Cosign::new(PathBuf::from("cosign"), variables);
        (cosign.environment.iter().map(|(name, _)| name.to_string_lossy().into_owned()).collect(), cosign.key)
    }

    #[test]
    fn cosign_gets_its_own_variables_only() {
        let (found, key) = names(&[
            ("PATH", "/bin"),
            ("COSIGN_PRIVATE_KEY", "pem"),
            ("COSIGN_PASSWORD", "x"),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "x"),
            ("ACTIONS_RUNTIME_TOKEN", "x"),
            ("RHDH_PACK_QUAY_PASSWORD", "x"),
            ("GITHUB_TOKEN", "x"),
            ("AWS_SECRET_ACCESS_KEY", "x"),
            ("REGISTRY_AUTH_FILE", "x"),
        ]);
        assert_eq!(found, ["PATH", "COSIGN_PRIVATE_KEY", "COSIGN_PASSWORD", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"]);
        assert_eq!(key.as_deref(), Some("env://COSIGN_PRIVATE_KEY"));
        let (found, key) = names(&[("COSIGN_KEY", "awskms:///alias/x"), ("AWS_REGION", "eu"), ("VAULT_TOKEN", "x")]);
        assert_eq!(
            (found, key.as_deref()),
            (vec!["COSIGN_KEY".to_owned(), "AWS_REGION".to_owned()], Some("awskms:///alias/x"))
        );
    }
}
