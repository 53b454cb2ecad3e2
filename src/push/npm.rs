//! One archive on its way to an npm registry. `npm` itself publishes it: it knows the user's `.npmrc`, and registries
//! know it. It runs in a folder of its own, so that no `.npmrc` of the repository is read.

use std::io::{Read, Write as _};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::process::Command;

use super::dir::{integrity_of, source_of};
use super::image::lock;
use super::job::{Failure, Notes};
use super::layout;
use super::{Request, State};
use crate::digest::Integrity;
use crate::package::PackagedTgz;
use crate::registry::{CredentialKind, Keychain};

/// An upload of some hundred megabytes, and npm's own retries.
const LIMIT: Duration = Duration::from_secs(15 * 60);
/// No `package.json` is larger.
const MAX_MANIFEST: u64 = 16 * 1024 * 1024;
/// Where everybody can read: RHDH's documentation says that dynamic plugins never go there.
const PUBLIC: [&str; 3] = ["registry.npmjs.org", "registry.npmjs.com", "registry.yarnpkg.com"];

/// npm, for one registry and with the credentials for it.
pub(crate) struct Npm {
    url: reqwest::Url,
    /// A name and its value, which proves who we are; `None`: the user's `.npmrc` must know.
    secret: Option<(&'static str, SecretString)>,
    /// Variables with secrets that are not npm's business.
    hidden: Vec<String>,
    folder: TempDir,
}

/// One archive on its way to an npm registry.
pub(super) struct NpmJob {
    npm: Npm,
    source: PathBuf,
    pub(super) integrity: Integrity,
    pub(super) size: u64,
    /// The dist-tag to point at the version.
    pub(super) tag: String,
    /// The package, once it was read.
    package: Mutex<Option<Package>>,
}

/// What an archive's `package.json` says.
#[derive(Clone, Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
}

/// What `npm view` says of a version.
#[derive(Default, Deserialize)]
struct Viewed {
    #[serde(default, rename = "dist.integrity")]
    integrity: Option<String>,
    #[serde(default, rename = "dist-tags")]
    tags: std::collections::BTreeMap<String, String>,
}

/// What [`Npm::look`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Whether the version is there.
    pub(crate) there: bool,
    /// Whom the credentials are of; `None` where there are none that the registry takes, or it does not say.
    pub(crate) user: Option<String>,
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

impl Npm {
    /// npm for the registry `name` of the configuration, at `text`.
    ///
    /// # Errors
    /// When that is no registry that may be published to, or the credentials for it are not whole.
    pub(crate) fn new(keychain: &Keychain, name: &str, text: &str) -> Result<Self, Failure> {
        let refused = |code, message: String, help: &str| Failure { code, message, help: Some(help.to_owned()) };
        let url = reqwest::Url::parse(text)
            .ok()
            .filter(|url| matches!(url.scheme(), "https" | "http") && url.password().is_none())
            .ok_or_else(|| {
                let help = "write `npm = \"https://…\"`, without name and password";
                refused("npm-registry", format!("the npm registry `{name}` has no usable URL"), help)
            })?;
        let host = url.host_str().unwrap_or_default();
        if PUBLIC.iter().any(|public| host.eq_ignore_ascii_case(public)) {
            let help =
                "name a registry of your own: RHDH's documentation says to keep dynamic plugins off the public one";
            return Err(refused("npm-public", format!("`{host}` is the public npm registry"), help));
        }
        let secret = match keychain.named(name).map_err(|error| Failure::of("credentials", &error))? {
            Some(credential) => match credential.kind {
                CredentialKind::Password { username, password } => {
                    let pair = STANDARD.encode(format!("{username}:{}", password.expose_secret()));
                    Some(("_auth", SecretString::from(pair)))
                }
                CredentialKind::IdentityToken(token) => Some(("_authToken", token)),
            },
            None => keychain.npm_token().map(|token| ("_authToken", token.clone())),
        };
        let folder = tempfile::Builder::new().prefix("rhdh-pack-npm-").tempdir();
        let folder = folder.map_err(|error| failed(format!("making a temporary folder: {error}")))?;
        Ok(Self { url, secret, hidden: keychain.secret_names(), folder })
    }

    /// What the registry has of `package` in `version`, and who it says that we are; for `rhdh-pack doctor`.
    ///
    /// # Errors
    /// When npm cannot be run, or the registry does not answer as one.
    pub(crate) async fn look(&self, package: &str, version: &str) -> Result<Seen, Failure> {
        let spec = format!("{package}@{version}");
        let there = match self.run(&["view", &spec, "version", "--fetch-retries=0"]).await? {
            Ok(text) => !text.trim_ascii().is_empty(),
            Err(said) if said.code == "E404" => false,
            Err(said) => return Err(refusal("asking for", &spec, &said)),
        };
        let user = self.run(&["whoami", "--fetch-retries=0"]).await?.ok();
        Ok(Seen { there, user: user.and_then(|text| serde_json::from_slice(&text).ok()) })
    }

    /// Runs npm; its stdout, or what it says is wrong.
    async fn run(&self, arguments: &[&str]) -> Result<Result<Vec<u8>, SaidError>, Failure> {
        let mut command = Command::new("npm");
        command.args(arguments).arg("--json").arg(format!("--registry={}", self.url));
        command.current_dir(self.folder.path()).stdin(Stdio::null()).kill_on_drop(true);
        for name in &self.hidden {
            command.env_remove(name);
        }
        if let Some((key, secret)) = &self.secret {
            command.env("NPM_CONFIG_USERCONFIG", self.user_config(key)?);
            // Only the name of the variable stands in the file.
            command.env("RHDH_PACK_NPM_SECRET", secret.expose_secret());
        }
        let output = tokio::time::timeout(LIMIT, command.output())
            .await
            .map_err(|_| failed(format!("`npm {}` did not end within {} min", arguments[0], LIMIT.as_secs() / 60)))?
            .map_err(|error| Failure {
                code: "npm-missing",
                message: format!("running `npm {}`: {error}", arguments[0]),
                help: Some("install Node.js with npm, and run the command again".to_owned()),
            })?;
        if output.status.success() {
            return Ok(Ok(output.stdout));
        }
        let said = serde_json::from_slice::<Said>(&output.stdout).map(|said| said.error).unwrap_or_default();
        Ok(Err(SaidError {
            summary: if said.summary.is_empty() { format!("npm ended with {}", output.status) } else { said.summary },
            code: said.code,
        }))
    }

    /// The user's own `.npmrc` and our secret, for this run only.
    fn user_config(&self, key: &str) -> Result<PathBuf, Failure> {
        let path = self.folder.path().join("user.npmrc");
        if path.exists() {
            return Ok(path);
        }
        let own = std::env::var_os("NPM_CONFIG_USERCONFIG").map(PathBuf::from);
        let own = own.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".npmrc")));
        let mut text = own.and_then(|own| fs_err::read_to_string(own).ok()).unwrap_or_default();
        let host = self.url.authority();
        text.push_str(&format!(
            "\n//{host}{}/:{key}=${{RHDH_PACK_NPM_SECRET}}\n",
            self.url.path().trim_end_matches('/')
        ));
        fs_err::write(&path, text).map_err(|error| failed(error.to_string()))?;
        Ok(path)
    }
}

impl NpmJob {
    pub(super) async fn new(request: &Request, name: &str, url: &str, tgz: &PackagedTgz) -> Result<Self, Failure> {
        Ok(Self {
            npm: Npm::new(request.session.keychain(), name, url)?,
            source: source_of(request, tgz)?,
            integrity: tgz.integrity.clone(),
            size: tgz.size,
            tag: request.dist_tag.clone(),
            package: Mutex::default(),
        })
    }

    /// The package, once [`NpmJob::check`] has read it.
    pub(super) fn package(&self) -> Option<Package> {
        self.package.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Looks whether the registry has this version, and whether it is the same.
    pub(super) async fn check(&self, noted: &Mutex<Notes>) -> Result<(), Failure> {
        self.copy().await?;
        let package = package_in(&self.archive())?;
        *self.package.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(package.clone());
        let Some(viewed) = self.view(&package).await? else { return Ok(()) };
        self.compare(&package, &viewed)?;
        let mut notes = lock(noted);
        notes.state = Some(State::AlreadyThere);
        if viewed.tags.get(&self.tag) == Some(&package.version) {
            notes.tags.push(self.tag.clone());
        }
        Ok(())
    }

    /// Publishes the version, or moves the dist-tag where it is there already.
    pub(super) async fn publish(&self, noted: &Mutex<Notes>) -> Result<(), Failure> {
        let Some(package) = self.package() else { return Err(failed("the archive was not read".to_owned())) };
        let (there, tagged) = {
            let notes = lock(noted);
            (notes.state.is_some(), notes.tags.contains(&self.tag))
        };
        let spec = format!("{}@{}", package.name, package.version);
        if there {
            if !tagged {
                self.npm
                    .run(&["dist-tag", "add", &spec, &self.tag])
                    .await?
                    .map_err(|said| refusal("publishing", &spec, &said))?;
                lock(noted).tags.push(self.tag.clone());
            }
            return Ok(());
        }
        let outcome = self.npm.run(&["publish", "./archive.tgz", "--ignore-scripts", "--tag", &self.tag]).await?;
        // Also after an error: the version may be there all the same, by this run or by another at the same moment.
        let viewed = self.view(&package).await?;
        match (outcome, viewed) {
            (Err(said), None) => return Err(refusal("publishing", &spec, &said)),
            (Ok(_), None) => {
                return Err(failed(format!("npm says that it published `{spec}`, and the registry does not have it")));
            }
            (_, Some(viewed)) => self.compare(&package, &viewed)?,
        }
        let mut notes = lock(noted);
        notes.state = Some(State::New);
        notes.tags.push(self.tag.clone());
        Ok(())
    }

    fn compare(&self, package: &Package, viewed: &Viewed) -> Result<(), Failure> {
        let found = viewed.integrity.as_deref().unwrap_or("none");
        if found == self.integrity.as_str() {
            return Ok(());
        }
        Err(Failure {
            code: "version-exists",
            message: format!(
                "`{}@{}` is in `{}` with the integrity `{found}`, and this run made `{}`",
                package.name, package.version, self.npm.url, self.integrity
            ),
            help: Some("raise the plugin's version: npm registries do not replace a version".to_owned()),
        })
    }

    /// What the registry has of the version; `None` where it has nothing.
    async fn view(&self, package: &Package) -> Result<Option<Viewed>, Failure> {
        let spec = format!("{}@{}", package.name, package.version);
        match self.npm.run(&["view", &spec, "dist.integrity", "dist-tags"]).await? {
            // Nothing at all is npm's answer for a package that has other versions only.
            Ok(text) if text.trim_ascii().is_empty() => Ok(None),
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|error| failed(format!("reading what npm says of `{spec}`: {error}"))),
            Err(said) if said.code == "E404" => Ok(None),
            Err(said) => Err(refusal("publishing", &spec, &said)),
        }
    }

    fn archive(&self) -> PathBuf {
        self.npm.folder.path().join("archive.tgz")
    }

    /// Copies the archive to where nobody else writes, and finds out that it is what packaging made.
    async fn copy(&self) -> Result<(), Failure> {
        let failed = |error: std::io::Error| failed(format!("copying the archive: {error}"));
        let source = layout::open(&self.source).map_err(failed)?;
        let mut copy = fs_err::File::create(self.archive()).map_err(failed)?;
        let (integrity, _) = integrity_of(source, |piece| copy.write_all(piece)).await.map_err(failed)?;
        if integrity == self.integrity {
            return Ok(());
        }
        Err(Failure {
            code: "archive",
            message: format!(
                "`{}` has the integrity `{integrity}`, and packaging made `{}`",
                self.source.display(),
                self.integrity
            ),
            help: Some("run `rhdh-pack package` again: the output folder was changed after packaging".to_owned()),
        })
    }
}

/// Name and version in `package/package.json` of an archive.
fn package_in(archive: &std::path::Path) -> Result<Package, Failure> {
    let wrong = |why: String| Failure {
        code: "archive",
        message: format!("reading `package/package.json` of the archive: {why}"),
        help: Some("run `rhdh-pack package` again".to_owned()),
    };
    let file = fs_err::File::open(archive).map_err(|error| wrong(error.to_string()))?;
    let mut archive = tar::Archive::new(GzDecoder::new(file));
    for entry in archive.entries().map_err(|error| wrong(error.to_string()))? {
        let entry = entry.map_err(|error| wrong(error.to_string()))?;
        if &*entry.path_bytes() == b"package/package.json" {
            let mut text = Vec::new();
            entry.take(MAX_MANIFEST).read_to_end(&mut text).map_err(|error| wrong(error.to_string()))?;
            let package: Package = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
            // Both become arguments of npm.
            let plain = |text: &str| !text.starts_with('-') && !text.contains(char::is_whitespace) && !text.is_empty();
            if !plain(&package.name) || !plain(&package.version) {
                return Err(wrong("name or version is not one of npm".to_owned()));
            }
            return Ok(package);
        }
    }
    Err(wrong("there is none".to_owned()))
}

fn failed(message: String) -> Failure {
    Failure { code: "npm", message, help: None }
}

fn refusal(doing: &str, spec: &str, said: &SaidError) -> Failure {
    let (code, help) = match said.code.as_str() {
        "E401" | "ENEEDAUTH" | "E403" => (
            "npm-denied",
            Some(
                "log in (`npm login --registry=<url>`), or set `NODE_AUTH_TOKEN`, or \
                 `RHDH_PACK_<REGISTRY>_USERNAME` and `RHDH_PACK_<REGISTRY>_PASSWORD`",
            ),
        ),
        "ECONNREFUSED" | "ENOTFOUND" | "ETIMEDOUT" | "EAI_AGAIN" => {
            ("npm-unreachable", Some("look whether the registry's URL is right and the registry runs"))
        }
        _ => ("npm", None),
    };
    let message = format!("{doing} `{spec}`: {}: {}", said.code, said.summary);
    Failure { code, message, help: help.map(str::to_owned) }
}
