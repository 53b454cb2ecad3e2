//! One archive on its way to an npm registry.

use std::io::Write as _;
use std::sync::{Mutex, OnceLock};

use reqwest::Url;
use serde::Deserialize;
use serde_json::Value;

use super::archive::{self, Archive, Package, is_plain};
use super::image::lock;
use super::notes::{Failure, Notes};
use super::{LATEST, Request, State};
use crate::config::names::is_public_npm;
use crate::registry::{Npm, NpmError, is_loopback};

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
    npm: Npm,
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
        let npm = Npm::new(&request.session, name, configured.is_some())?;
        let (dist_tag, release) = (request.dist_tag.clone(), OnceLock::new());
        Ok(Self { configured, allow_public, archive, dist_tag, release, npm })
    }

    /// What is published, once [`NpmJob::check`] has read it.
    pub(super) fn release(&self) -> Option<&Release> {
        self.release.get()
    }

    /// Looks whether the registry has this version, and whether it is the same.
    pub(super) async fn check(&self, noted: &Mutex<Notes>) -> Result<(), Failure> {
        // Where nobody else writes.
        let path = self.npm.folder().join(COPY);
        let failed = |error: std::io::Error| failed(format!("copying the archive: {error}"));
        let mut copy = fs_err::File::create(&path).map_err(failed)?;
        self.archive.read(|piece| copy.write_all(piece)).await?;
        let release = self.destination(self.archive.package(Some(&path))?).await?;
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
            let outcome = self.npm(release, &publish).await;
            // Also after an error: the version may be there all the same, by this run or by another at the same moment.
            let viewed = match (outcome, self.view(release).await?) {
                (_, Some(viewed)) => viewed,
                (Err(error), None) => return Err(refusal(release, error)),
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
            self.npm(release, &add).await.map_err(|error| refusal(release, error))?;
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
                if own.is_some_and(|own| own.as_ref() != Some(configured)) && !self.flags_win(configured).await? {
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
    async fn flags_win(&self, registry: &Url) -> Result<bool, Failure> {
        let output = self.npm.run(registry, &["--version"]).await?;
        let text = String::from_utf8_lossy(&output);
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
        match self.npm(release, &["view", &spec, "dist.integrity", "dist-tags"]).await {
            // Nothing at all is npm's answer for a package that has other versions only.
            Ok(text) if text.trim_ascii().is_empty() => Ok(None),
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|error| failed(format!("reading what npm says of `{spec}`: {error}"))),
            Err(NpmError::Said { error, .. }) if error == "E404" => Ok(None),
            Err(error) => Err(refusal(release, error)),
        }
    }

    /// Runs npm; its stdout.
    async fn npm(&self, release: &Release, arguments: &[&str]) -> Result<Vec<u8>, NpmError> {
        // A registry that `.npmrc` has for the scope would win over `--registry`.
        let scope = release.name.split_once('/').map(|(scope, _)| format!("--{scope}:registry={}", release.registry));
        let arguments: Vec<&str> = arguments.iter().copied().chain(scope.as_deref()).collect();
        self.npm.run(&release.registry, &arguments).await
    }
}

impl From<NpmError> for Failure {
    fn from(error: NpmError) -> Self {
        Self::of(error.code(), &error)
    }
}

fn failed(message: String) -> Failure {
    Failure { code: "npm", message, help: None }
}

/// A registry's URL, without credentials in it and without `/` at its end; `None` where it is not safe to log in there.
fn usable(text: &str) -> Option<Url> {
    let url = Url::parse(text.trim_end_matches('/')).ok()?;
    // A token goes over plain HTTP to this machine only.
    let is_safe = url.scheme() == "https" || url.scheme() == "http" && url.host_str().is_some_and(is_loopback);
    let plain = is_safe && url.username().is_empty() && url.password().is_none();
    plain.then_some(url)
}

fn refusal(release: &Release, error: NpmError) -> Failure {
    let failure = Failure::from(error);
    Failure { message: format!("publishing `{}`: {}", release.spec(), failure.message), ..failure }
}
