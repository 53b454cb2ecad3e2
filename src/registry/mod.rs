//! Registries on the ground floor: OCI registries, npm registries, and the forges GitHub and GitLab; reading and
//! writing, credentials, retry. The registry's name and prefix from `rhdh-plugins.toml` come in; what goes out are
//! [`Repository`]s that blobs and manifests are read from and pushed to. `plan` and `doctor` read with it, `push`
//! writes.
//!
//! # What comes from oci-client, and what does not
//!
//! oci-client gives the shapes: `OciImageManifest`, media types, the registries' error envelope with its codes. Names
//! are checked in `name.rs`, which says why. The exchange itself is made here, on reqwest, because a push must see
//! what oci-client's `Client` (0.18) does not hand out:
//!
//! * headers of refusals: `Retry-After`, and the challenge of a 401 in the middle of an upload (an expired token);
//! * `Location` of a mount that was not made (202), so that the session it opened is used;
//! * one token for two repositories (mounts), identity tokens, different credentials for paths of one host, the token
//!   server's own reason for a refusal;
//! * redirects of uploads, which must not carry credentials;
//! * time limits that count while a body is sent, and a body that ends early when the file turns out to be wrong.
//!
//! Wrapping it would have meant to parse all that again from its error texts.

mod address;
mod advice;
mod answer;
mod auth;
mod auth_file;
mod blob;
mod copy;
pub mod credentials;
mod delete;
mod error;
pub mod forge;
mod helper;
mod http;
mod manifest;
mod name;
mod npm;
mod probe;
mod referrers;
mod repository;
mod retry;
pub mod tls;
mod upload;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub(crate) use address::is_loopback;
pub use blob::BlobFile;
pub use credentials::{Credential, CredentialKind, Keychain, variable_prefix};
pub use delete::Deleted;
pub use error::{Cause, Error};
pub use forge::{Forge, ForgeKind, Sent};
pub use manifest::{Manifest, ManifestRef};
pub(crate) use npm::{Npm, NpmError, look as look_at_npm};
pub use probe::Existence;
pub use referrers::{Referrer, Referrers};
pub use repository::Repository;
pub use retry::Attempts;
pub use upload::Upload;

use crate::ui::Ui;
use auth::Scope;
use http::Host;
use name::Name;

/// How long and how often a registry is waited for, and how many requests it gets at once.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Until a connection stands.
    pub connect: Duration,
    /// Without a byte moving in either direction.
    pub idle: Duration,
    /// For one exchange; uploads get more, by their size.
    pub whole: Duration,
    /// Attempts at one piece of work, the first included.
    pub attempts: u32,
    /// The wait before the second attempt; doubled for each further one.
    pub first_wait: Duration,
    /// From the first failure of a piece of work to its last attempt.
    pub patience: Duration,
    /// Requests to one host at once.
    pub parallel: usize,
    /// Between the last tag that must not move, or list of attached documents, and a last look at it. Registries cannot
    /// be asked to write a tag only if it is not there, so of two runs at once both may write; this is the time that
    /// the slower one has for it.
    pub settle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(120),
            whole: Duration::from_secs(300),
            attempts: 5,
            first_wait: Duration::from_millis(500),
            patience: Duration::from_secs(180),
            parallel: 12,
            settle: Duration::from_secs(1),
        }
    }
}

impl Limits {
    /// For short questions, at whose end somebody waits.
    #[must_use]
    pub fn of_questions() -> Self {
        Self { idle: Duration::from_secs(30), whole: Duration::from_secs(60), ..Self::default() }
    }
}

/// The registries of one run: hosts are shared between them, so that limits, tokens and what is known of blobs are.
pub struct Session {
    keychain: Keychain,
    limits: Limits,
    ui: Ui,
    /// PEM files, by the registry's name.
    authorities: BTreeMap<String, PathBuf>,
    hosts: Mutex<HashMap<HostKey, Arc<Host>>>,
}

/// What a connection depends on: the host, whether it may be insecure, and the authority that is trusted for it.
type HostKey = (String, bool, Option<PathBuf>);

/// One registry of the configuration: a host and the namespace in it.
pub struct Client {
    name: String,
    prefix: String,
    host: Arc<Host>,
    session: Arc<Session>,
}

impl Session {
    /// A run's registries, which `keychain` opens. Retries are said on `ui`.
    #[must_use]
    pub fn new(keychain: Keychain, limits: Limits, ui: &Ui) -> Arc<Self> {
        Self::trusting(BTreeMap::new(), keychain, limits, ui)
    }

    /// As [`Session::new`], with PEM files of certificate authorities, by the name of the registry that each is trusted
    /// for, beside those of the machine.
    #[must_use]
    pub fn trusting(authorities: BTreeMap<String, PathBuf>, keychain: Keychain, limits: Limits, ui: &Ui) -> Arc<Self> {
        Arc::new(Self { keychain, limits, ui: ui.clone(), authorities, hosts: Mutex::default() })
    }

    /// The PEM file with the authority that is trusted for the registry `name`: what the environment names, else what
    /// the configuration does.
    #[must_use]
    pub fn authority(&self, name: &str) -> Option<PathBuf> {
        self.keychain.authority(name).or_else(|| self.authorities.get(name).cloned())
    }

    /// The credentials that the session knows.
    #[must_use]
    pub fn keychain(&self) -> &Keychain {
        &self.keychain
    }

    /// The session's limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The registry `name` of the configuration, `prefix` being its `host[:port][/namespace]`. With `insecure` the host
    /// may be spoken to over plain HTTP, and its certificate is not checked; loopback hosts may be spoken to over
    /// plain HTTP always. Nothing is sent yet.
    ///
    /// # Errors
    /// When the prefix is not the beginning of a repository's name, or the certificates to trust cannot be read.
    pub fn client(self: &Arc<Self>, name: &str, prefix: &str, insecure: bool) -> Result<Client, Error> {
        // Any image will do: what is wrong with the name then is wrong with the prefix.
        let Name { host, .. } = Name::new(prefix, "x")?;
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (host, insecure, self.authority(name));
        let host = match hosts.get(&key) {
            Some(host) => Arc::clone(host),
            None => {
                let host = Arc::new(Host::new(&key.0, insecure, key.2.as_deref(), self.limits.clone(), &self.ui)?);
                hosts.insert(key, Arc::clone(&host));
                host
            }
        };
        Ok(Client { name: name.to_owned(), prefix: prefix.to_owned(), host, session: Arc::clone(self) })
    }
}

impl Client {
    /// The repository of the image `image`: `host/namespace/image`.
    ///
    /// # Errors
    /// When that is not a repository's name, or the credentials for it cannot be read.
    pub async fn repository(&self, image: &str) -> Result<Repository, Error> {
        self.repository_for(image, Scope::push).await
    }

    /// As [`Client::repository`], for an account that may do no more than read.
    ///
    /// # Errors
    /// As [`Client::repository`].
    pub async fn repository_to_read(&self, image: &str) -> Result<Repository, Error> {
        self.repository_for(image, Scope::pull).await
    }

    /// `host[:port]`.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host.authority
    }

    /// The credential for the repository of an image, if there is one.
    ///
    /// # Errors
    /// As [`Client::repository`].
    pub async fn credential(&self, image: &str) -> Result<Option<Credential>, Error> {
        let Name { path, .. } = Name::new(&self.prefix, image)?;
        Ok(self.session.keychain.find(&self.name, &self.host.authority, &path).await?)
    }

    /// As [`Client::repository`], for an account that may delete.
    ///
    /// # Errors
    /// As [`Client::repository`].
    pub async fn repository_to_delete(&self, image: &str) -> Result<Repository, Error> {
        self.repository_for(image, Scope::all).await
    }

    async fn repository_for(&self, image: &str, scope: impl Fn(&str) -> Scope) -> Result<Repository, Error> {
        let Name { path, .. } = Name::new(&self.prefix, image)?;
        let credential = self.session.keychain.find(&self.name, &self.host.authority, &path).await?;
        let account = self.host.account(&self.name, credential);
        let scope = scope(&path);
        Ok(Repository::new(Arc::clone(&self.host), account, path, scope))
    }
}
