//! One file of credentials as podman (`auth.json`) and docker (`config.json`) write it.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _};
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use serde::Deserialize;

use super::credentials::{Credential, CredentialKind, Error};
use super::error::Cause;

/// No file of credentials is larger; a device or a pipe may be.
const MAX_SIZE: u64 = 4 * 1024 * 1024;

/// What a file says, ready for questions.
pub(super) struct AuthFile {
    pub(super) path: PathBuf,
    /// By `host[:port][/path]`, without scheme. What is wrong with one matters to its host only.
    auths: BTreeMap<String, Result<Credential, Error>>,
    /// By host: the helper's name.
    helpers: BTreeMap<String, String>,
    /// The helper for all other hosts.
    pub(super) store: Option<String>,
}

/// What a file has for one repository.
pub(super) enum Entry<'a> {
    Credential(&'a Result<Credential, Error>),
    Helper(&'a str),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    auths: Option<BTreeMap<String, Option<Auth>>>,
    cred_helpers: Option<BTreeMap<String, String>>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
struct Auth {
    auth: Option<SecretString>,
    username: Option<String>,
    password: Option<SecretString>,
    identitytoken: Option<SecretString>,
}

impl AuthFile {
    /// Reads a file; `None` where there is none, unless it `must_exist`.
    pub(super) fn read(path: PathBuf, must_exist: bool) -> Result<Option<Self>, Error> {
        let Some(text) = text_of(&path, must_exist)? else { return Ok(None) };
        let content = serde_json::from_slice(&text).map_err(|error| malformed(&path, &error))?;
        Ok(Some(Self::from_content(path, content)))
    }

    /// Reads docker's old `.dockercfg`: the content of `auths` alone.
    pub(super) fn read_old(path: PathBuf) -> Result<Option<Self>, Error> {
        let Some(text) = text_of(&path, false)? else { return Ok(None) };
        let auths = serde_json::from_slice(&text).map_err(|error| malformed(&path, &error))?;
        Ok(Some(Self::from_content(path, Content { auths, cred_helpers: None, creds_store: None })))
    }

    fn from_content(path: PathBuf, content: Content) -> Self {
        let mut auths = BTreeMap::new();
        for (key, auth) in content.auths.unwrap_or_default() {
            let credential = auth.unwrap_or_default().credential(&path).map_err(|why| Error::File {
                source: Cause(format!("the entry `{key}` {why}")),
                path: path.clone(),
                help: "log in again: `podman login <host>` or `docker login <host>`",
            });
            // `{}` and `"auth": ""` say that the secret is in `credsStore`.
            if let Some(credential) = credential.transpose() {
                auths.insert(normalised(&key).to_owned(), credential);
            }
        }
        let helpers = content.cred_helpers.unwrap_or_default().into_iter();
        let helpers = helpers.map(|(host, name)| (normalised(&host).to_owned(), name)).collect();
        Self { path, auths, helpers, store: content.creds_store.filter(|store| !store.is_empty()) }
    }

    /// What the file has for the repository `path` on `host`.
    pub(super) fn entry(&self, host: &str, path: &str) -> Option<Entry<'_>> {
        let names = names_of(host);
        if let Some(helper) = names.iter().find_map(|name| self.helpers.get(*name)) {
            return Some(Entry::Helper(helper));
        }
        let mut path = Some(path).filter(|path| !path.is_empty());
        while let Some(current) = path {
            if let Some(credential) = names.iter().find_map(|name| self.auths.get(&format!("{name}/{current}"))) {
                return Some(Entry::Credential(credential));
            }
            path = current.rsplit_once('/').map(|(parent, _)| parent);
        }
        names.iter().find_map(|name| self.auths.get(*name)).map(Entry::Credential)
    }
}

impl Auth {
    fn credential(self, path: &std::path::Path) -> Result<Option<Credential>, &'static str> {
        use secrecy::ExposeSecret as _;
        let source = format!("`{}`", path.display());
        let given = |secret: &SecretString| !secret.expose_secret().is_empty();
        if let Some(token) = self.identitytoken.filter(given) {
            return Ok(Some(Credential { kind: CredentialKind::IdentityToken(token), source }));
        }
        let (username, password) = if let Some(auth) = self.auth.filter(given) {
            let bytes = STANDARD.decode(auth.expose_secret().trim()).map_err(|_| "is not base64")?;
            let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8 within its base64")?;
            // docker pads what it encodes with NUL in old releases.
            let (username, password) =
                text.trim_end_matches('\0').split_once(':').ok_or("is not `user:password` within its base64")?;
            (username.to_owned(), SecretString::from(password))
        } else if let (Some(username), Some(password)) = (self.username, self.password) {
            (username, password)
        } else {
            return Ok(None);
        };
        Ok(Some(Credential { kind: CredentialKind::Password { username, password }, source }))
    }
}

/// `quay.io/acme` as it is; `https://index.docker.io/v1/` is `index.docker.io`: docker's keys may be URLs.
fn normalised(key: &str) -> &str {
    match key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")) {
        Some(url) => url.split_once('/').map_or(url, |(host, _)| host),
        None => key.trim_end_matches('/'),
    }
}

/// The names under which files know a host.
fn names_of(host: &str) -> Vec<&str> {
    match host {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => vec!["docker.io", "index.docker.io"],
        host => vec![host],
    }
}

fn text_of(path: &PathBuf, must_exist: bool) -> Result<Option<Vec<u8>>, Error> {
    let failed = |why: String, help| Error::File { path: path.clone(), source: Cause(why), help };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound && !must_exist => return Ok(None),
        // A path below a file (`HOME=/dev/null`), or another user's folder: there is nothing for us.
        Err(error) if error.kind() == ErrorKind::NotADirectory && !must_exist => return Ok(None),
        Err(error) if must_exist => {
            return Err(failed(error.to_string(), "`REGISTRY_AUTH_FILE` names this file: correct it, or unset it"));
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied && path.starts_with("/run/containers") => {
            return Ok(None);
        }
        Err(error) => return Err(failed(error.to_string(), "make the file readable, or remove it")),
    };
    let mut text = Vec::new();
    match file.take(MAX_SIZE + 1).read_to_end(&mut text) {
        // docker takes an empty one for none.
        Ok(size) if size as u64 <= MAX_SIZE => Ok(Some(text).filter(|text| !text.trim_ascii().is_empty())),
        Ok(_) => Err(failed("it is larger than 4 MiB".to_owned(), "is this the right file?")),
        Err(error) => Err(failed(error.to_string(), "make the file readable, or remove it")),
    }
}

/// Line and column only: the text around the mistake may be a secret.
fn malformed(path: &std::path::Path, error: &serde_json::Error) -> Error {
    let kind = if error.is_eof() { "ends too early" } else { "is not what podman and docker write" };
    Error::File {
        path: path.to_owned(),
        source: Cause(format!("the file {kind}, at line {} column {}", error.line(), error.column())),
        help: "log in again (`podman login <host>` or `docker login <host>`), or correct the file",
    }
}
