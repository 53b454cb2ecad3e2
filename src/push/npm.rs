//! One archive on its way to an npm registry. `npm` itself publishes it: it knows the user's `.npmrc`, and registries
//! know it. It runs in a folder of its own, so that no `.npmrc` of the repository is read.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use super::archive::{self, Archive, Package, is_plain};
use super::image::lock;
use super::job::{Failure, Notes};
use super::{LATEST, Request, State};
use crate::config::names::is_public_npm;
use crate::registry::{Credential, CredentialKind};

/// An upload of some hundred megabytes, and npm's own retries.
const LIMIT: Duration = Duration::from_secs(15 * 60);
/// The archive in the folder that npm runs in.
const COPY: &str = "archive.tgz";
/// The first npm whose command line certainly wins over `publishConfig` (npm/cli#7321).
const FLAGS_WIN: (u64, u64) = (10, 8);

/// One archive on its way to an npm registry.
pub(super) struct NpmJob {
    /// The registry of the configuration; `None`: the one that `publishConfig` of the package names.
    configured: Option<Url>,
    allow_public: bool,
    pub(super) archive: Archive,
    /// The dist-tag of the channel.
    dist_tag: String,
    /// What is published where, once the archive was read.
    release: OnceLock<Release>,
    /// A name and its value, which proves who we are; `None`: the user's `.npmrc` must know.
    secret: Option<(&'static str, SecretString)>,
    /// Variables with secrets that are not npm's business.
    hidden: Vec<String>,
    /// The certificate authority that npm trusts for the registry beside its own.
    authority: Option<PathBuf>,
    folder: TempDir,
}

/// One version of a package on its way to its registry.
pub(super) struct Release {
    pub(super) name: String,
    pub(super) version: String,
    registry: Url,
    /// The dist-tag to point at the version.
    tag: String,
}

/// What `npm view` says of a version.
#[derive(Default, Deserialize)]
struct Viewed {
    #[serde(default, rename = "dist.integrity")]
    integrity: Option<String>,
    #[serde(default, rename = "dist-tags")]
    tags: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Said {
    error: SaidError,
}

#[derive(Default, Deserialize)]
struct SaidError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    summary: String,
}

impl Release {
    fn spec(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }
}

impl NpmJob {
    pub(super) fn new(
        request: &Request,
        name: &str,
        url: Option<&str>,
        allow_public: bool,
        archive: Archive,
    ) -> Result<Self, Failure> {
        let configured = match url {
            Some(text) => Some(usable(text).ok_or_else(|| Failure {
                code: "npm-registry",
                message: format!("the npm registry `{name}` has no usable URL"),
                help: Some("write `npm = \"https://…\"`, without name and password".to_owned()),
            })?),
            None => None,
        };
        let keychain = request.session.keychain();
        let own = match (keychain.token(name), keychain.named(name)) {
            (Some(token), _) => Some(("_authToken", token.clone())),
            (None, credential) => match credential.map_err(|error| Failure::of("credentials", &error))? {
                Some(Credential { kind: CredentialKind::Password { username, password }, .. }) => {
                    let pair = STANDARD.encode(format!("{username}:{}", password.expose_secret()));
                    Some(("_auth", SecretString::from(pair)))
                }
                Some(Credential { kind: CredentialKind::IdentityToken(token), .. }) => Some(("_authToken", token)),
                None => None,
            },
        };
        let mut hidden = keychain.secret_names();
        let secret = match &configured {
            Some(_) => own.or_else(|| keychain.npm_token().map(|token| ("_authToken", token.clone()))),
            // Where the archive names the host, only what the user's `.npmrc` has for that very host is sent to it.
            None if own.is_some() => {
                return Err(Failure {
                    code: "npm-registry",
                    message: format!(
                        "the credentials of the npm registry `{name}` have no host: each package names one"
                    ),
                    help: Some("write the registry's URL into `npm`, or the credentials into `.npmrc`".to_owned()),
                });
            }
            None => {
                hidden.retain(|variable| variable != "NODE_AUTH_TOKEN");
                None
            }
        };
        // What the user's own `.npmrc` names, npm may see; `RHDH_PACK_…` is for us alone.
        let own = own_config();
        hidden.retain(|name| name.starts_with("RHDH_PACK_") || !own.contains(&format!("${{{name}}}")));
        let folder = tempfile::Builder::new().prefix("rhdh-pack-npm-").tempdir();
        Ok(Self {
            configured,
            allow_public,
            archive,
            dist_tag: request.dist_tag.clone(),
            release: OnceLock::new(),
            secret,
            hidden,
            authority: request.session.authority(name),
            folder: folder.map_err(|error| failed(format!("making a temporary folder: {error}")))?,
        })
    }

    /// What is published, once [`NpmJob::check`] has read it.
    pub(super) fn release(&self) -> Option<&Release> {
        self.release.get()
    }

    /// Looks whether the registry has this version, and whether it is the same.
    pub(super) async fn check(&self, noted: &Mutex<Notes>) -> Result<(), Failure> {
        // Where nobody else writes.
        let failed = |error: std::io::Error| failed(format!("copying the archive: {error}"));
        let mut copy = fs_err::File::create(self.folder.path().join(COPY)).map_err(failed)?;
        self.archive.read(|piece| copy.write_all(piece)).await?;
        let release = self.destination(self.archive.package(Some(&self.folder.path().join(COPY)))?).await?;
        let release = self.release.get_or_init(|| release);
        let Some(viewed) = self.view(release).await? else { return Ok(()) };
        self.compare(release, &viewed)?;
        let mut notes = lock(noted);
        notes.state = Some(State::AlreadyThere);
        if viewed.tags.get(&release.tag) == Some(&release.version) {
            notes.tags.push(release.tag.clone());
        }
        Ok(())
    }

    /// Publishes the version, or moves the dist-tag where it is there already.
    pub(super) async fn publish(&self, noted: &Mutex<Notes>) -> Result<(), Failure> {
        let Some(release) = self.release() else { return Err(failed("the archive was not read".to_owned())) };
        let (there, mut tagged) = {
            let notes = lock(noted);
            (notes.state.is_some(), notes.tags.contains(&release.tag))
        };
        if !there {
            let publish = ["publish", &format!("./{COPY}"), "--ignore-scripts", "--tag", &release.tag];
            let outcome = self.npm(release, &publish).await?;
            // Also after an error: the version may be there all the same, by this run or by another at the same moment.
            let viewed = match (outcome, self.view(release).await?) {
                (_, Some(viewed)) => viewed,
                (Err(said), None) => return Err(refusal(release, &said)),
                (Ok(_), None) => {
                    let spec = release.spec();
                    return Err(failed(format!(
                        "npm says that it published `{spec}`, and the registry does not have it"
                    )));
                }
            };
            self.compare(release, &viewed)?;
            lock(noted).state = Some(State::New);
            tagged = viewed.tags.get(&release.tag) == Some(&release.version);
        }
        if !tagged {
            let add = ["dist-tag", "add", &release.spec(), &release.tag];
            self.npm(release, &add).await?.map_err(|said| refusal(release, &said))?;
        }
        let mut notes = lock(noted);
        if !notes.tags.contains(&release.tag) {
            notes.tags.push(release.tag.clone());
        }
        Ok(())
    }

    /// Where a package goes, and under which dist-tag.
    async fn destination(&self, package: Package) -> Result<Release, Failure> {
        let Package { name, version, publish_config } = package;
        let refused =
            |message: String, help: &str| Failure { code: "npm-registry", message, help: Some(help.to_owned()) };
        if let Some(key) = archive::foreign_key(&publish_config) {
            let message = format!("`publishConfig` of `{name}` has `{}`, a setting of npm's own", key.escape_debug());
            return Err(refused(message, "remove it from the plugin's `package.json`, and export the plugin again"));
        }
        let own = publish_config.get("registry").and_then(Value::as_str);
        let registry = match (&self.configured, own.map(usable)) {
            (Some(configured), own) => {
                if own.is_some_and(|own| own.as_ref() != Some(configured)) && !self.flags_win().await? {
                    let message =
                        format!("npm would publish `{name}` where its `publishConfig` says, not to `{configured}`");
                    return Err(refused(
                        message,
                        "install npm 10.8 or later, or remove `registry` from `publishConfig`",
                    ));
                }
                configured.clone()
            }
            (None, Some(Some(own))) => own,
            (None, _) => {
                let message = format!("`publishConfig` of `{name}` names no registry that can be used");
                let help = "write `\"publishConfig\": { \"registry\": \"https://…\" }` into the plugin's `package.json`, \
                            or the registry's URL into `npm`";
                return Err(refused(message, help));
            }
        };
        if is_public_npm(registry.as_str()) && !self.allow_public {
            let help = "name a registry of your own: RHDH's documentation says to keep dynamic plugins off the public \
                        one; if they must go there, add `allow-public = true` to the registry";
            let host = registry.host_str().unwrap_or_default();
            let message = format!("`{host}` is the public npm registry");
            return Err(Failure { code: "npm-public", message, help: Some(help.to_owned()) });
        }
        // A channel of releases has no name of its own to give: the package may have one.
        let tag = match publish_config.get("tag").and_then(Value::as_str) {
            Some(tag) if self.dist_tag == LATEST && is_plain(tag) => tag.to_owned(),
            _ => self.dist_tag.clone(),
        };
        Ok(Release { name, version, registry, tag })
    }

    /// Whether npm lets its command line win over `publishConfig`.
    async fn flags_win(&self) -> Result<bool, Failure> {
        let mut command = Command::new("npm");
        command.arg("--version");
        let output = self.run(command, "--version").await?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut numbers = text.trim().split('.').map_while(|number| number.parse::<u64>().ok());
        Ok(numbers.next().zip(numbers.next()).is_some_and(|version| version >= FLAGS_WIN))
    }

    fn compare(&self, release: &Release, viewed: &Viewed) -> Result<(), Failure> {
        let found = viewed.integrity.as_deref().unwrap_or("none");
        if found == self.archive.integrity.as_str() {
            return Ok(());
        }
        Err(Failure {
            code: "version-exists",
            message: format!(
                "`{}` is in `{}` with the integrity `{found}`, and this run made `{}`",
                release.spec(),
                release.registry,
                self.archive.integrity
            ),
            help: Some("raise the plugin's version: npm registries do not replace a version".to_owned()),
        })
    }

    /// What the registry has of the version; `None` where it has nothing.
    async fn view(&self, release: &Release) -> Result<Option<Viewed>, Failure> {
        let spec = release.spec();
        match self.npm(release, &["view", &spec, "dist.integrity", "dist-tags"]).await? {
            // Nothing at all is npm's answer for a package that has other versions only.
            Ok(text) if text.trim_ascii().is_empty() => Ok(None),
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|error| failed(format!("reading what npm says of `{spec}`: {error}"))),
            Err(said) if said.code == "E404" => Ok(None),
            Err(said) => Err(refusal(release, &said)),
        }
    }

    /// Runs npm; its stdout, or what it says is wrong.
    async fn npm(&self, release: &Release, arguments: &[&str]) -> Result<Result<Vec<u8>, SaidError>, Failure> {
        let mut command = Command::new("npm");
        command.args(arguments).arg("--json").arg(format!("--registry={}", release.registry));
        // A registry that `.npmrc` has for the scope would win over `--registry`.
        if let Some((scope, _)) = release.name.split_once('/') {
            command.arg(format!("--{scope}:registry={}", release.registry));
        }
        if let Some((key, secret)) = &self.secret {
            command.env("NPM_CONFIG_USERCONFIG", self.user_config(&release.registry, key)?);
            // Only the name of the variable stands in the file.
            command.env("RHDH_PACK_NPM_SECRET", secret.expose_secret());
        }
        if let Some(authority) = &self.authority {
            let authority = std::path::absolute(authority).map_err(|error| failed(error.to_string()))?;
            command.env("NODE_EXTRA_CA_CERTS", authority);
        }
        let output = self.run(command, arguments[0]).await?;
        if output.status.success() {
            return Ok(Ok(output.stdout));
        }
        let said = serde_json::from_slice::<Said>(&output.stdout).map(|said| said.error).unwrap_or_default();
        Ok(Err(SaidError {
            summary: if said.summary.is_empty() { format!("npm ended with {}", output.status) } else { said.summary },
            code: said.code,
        }))
    }

    /// Runs `command`, an npm, in the folder of the job, without the secrets that are not its business.
    async fn run(&self, mut command: Command, what: &str) -> Result<Output, Failure> {
        command.current_dir(self.folder.path()).stdin(Stdio::null()).kill_on_drop(true);
        for name in &self.hidden {
            command.env_remove(name);
        }
        tokio::time::timeout(LIMIT, command.output())
            .await
            .map_err(|_| failed(format!("`npm {what}` did not end within {} min", LIMIT.as_secs() / 60)))?
            .map_err(|error| Failure {
                code: "npm-missing",
                message: format!("running `npm {what}`: {error}"),
                help: Some("install Node.js with npm, and run the command again".to_owned()),
            })
    }

    /// The user's own `.npmrc` and our secret, for this run only.
    fn user_config(&self, registry: &Url, key: &str) -> Result<PathBuf, Failure> {
        let path = self.folder.path().join("user.npmrc");
        if path.exists() {
            return Ok(path);
        }
        let mut text = own_config();
        let below = registry.path().trim_end_matches('/');
        text.push_str(&format!("\n//{}{below}/:{key}=${{RHDH_PACK_NPM_SECRET}}\n", registry.authority()));
        fs_err::write(&path, text).map_err(|error| failed(error.to_string()))?;
        Ok(path)
    }
}

fn failed(message: String) -> Failure {
    Failure { code: "npm", message, help: None }
}

/// The user's own `.npmrc`.
fn own_config() -> String {
    let named = std::env::var_os("NPM_CONFIG_USERCONFIG").map(PathBuf::from);
    let path = named.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".npmrc")));
    path.and_then(|path| fs_err::read_to_string(path).ok()).unwrap_or_default()
}

/// A registry's URL, without credentials in it and without `/` at its end.
fn usable(text: &str) -> Option<Url> {
    let url = Url::parse(text.trim_end_matches('/')).ok()?;
    let plain = matches!(url.scheme(), "https" | "http") && url.username().is_empty() && url.password().is_none();
    plain.then_some(url)
}

fn refusal(release: &Release, said: &SaidError) -> Failure {
    let (code, help) = match said.code.as_str() {
        "E401" | "ENEEDAUTH" | "E403" => (
            "npm-denied",
            Some(
                "log in (`npm login --registry=<url>`), or set `RHDH_PACK_<REGISTRY>_TOKEN` or `NODE_AUTH_TOKEN`, or \
                 `RHDH_PACK_<REGISTRY>_USERNAME` and `RHDH_PACK_<REGISTRY>_PASSWORD`",
            ),
        ),
        "ECONNREFUSED" | "ENOTFOUND" | "ETIMEDOUT" | "EAI_AGAIN" => {
            ("npm-unreachable", Some("look whether the registry's URL is right and the registry runs"))
        }
        _ => ("npm", None),
    };
    let message = format!("publishing `{}`: {}: {}", release.spec(), said.code, said.summary);
    Failure { code, message, help: help.map(str::to_owned) }
}
