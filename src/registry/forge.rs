//! The HTTP API of GitHub or GitLab, for the files that they keep: questions and files go out, answers come back, again
//! while that may help, and never with the token to another host.
//!
//! octocrab gives the shapes (`Release`, `Asset`). The exchange is made here, as that with OCI registries is, because
//! octocrab's own (0.54) knows no proxies and no private certificate authorities, hands a file over as a whole in memory,
//! and keeps `Retry-After` and the rate limit's headers to itself.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::answer::{Answer, Download};
use super::blob::{BlobBody, BlobFile};
use super::error::{Cause, Error, one_line};
use super::http::{Body, Host};
use super::retry::{Attempts, retry_after};
use super::{Session, manifest};
use crate::digest::Digest;

/// Whose API it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForgeKind {
    /// GitHub, or GitHub Enterprise.
    GitHub,
    /// GitLab.
    GitLab,
}

/// The API of a forge, with a token for it.
pub struct Forge {
    kind: ForgeKind,
    /// The registry's name in the configuration.
    registry: String,
    api: Url,
    host: Host,
    token: Option<(HeaderName, HeaderValue)>,
}

/// What is sent along.
pub enum Sent<'a> {
    /// Nothing.
    Nothing,
    /// A JSON document.
    Json(&'a Value),
    /// A file.
    File(&'a BlobFile),
}

impl Forge {
    /// The API for the registry `name` of the configuration, and the token that the environment has for it. Nothing is
    /// sent yet.
    ///
    /// # Errors
    /// When the API's URL is none to use, there is no token, or the certificates to trust cannot be read.
    pub fn new(session: &Session, kind: ForgeKind, name: &str) -> Result<Arc<Self>, Error> {
        let keychain = &session.keychain;
        let (variable, default) = match kind {
            ForgeKind::GitHub => ("GITHUB_API_URL", "https://api.github.com"),
            ForgeKind::GitLab => ("CI_API_V4_URL", "https://gitlab.com/api/v4"),
        };
        let text = keychain.text(variable).unwrap_or(default);
        let unusable = |why: &str| Error::Setup { host: text.to_owned(), source: Cause(format!("`{variable}` {why}")) };
        let api = Url::parse(text.trim_end_matches('/')).map_err(|_| unusable("is not a URL"))?;
        let authority = match (api.host_str(), api.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            (None, _) => return Err(unusable("has no host")),
        };
        let trusted = session.authority(name);
        let host = Host::new(&authority, false, trusted.as_deref(), session.limits.clone(), &session.ui)?;
        if api.scheme() != "https" && !(api.scheme() == "http" && host.may_be_plain()) {
            return Err(unusable("is not an `https://` URL"));
        }
        let bearer =
            |token: &SecretString| (reqwest::header::AUTHORIZATION, format!("Bearer {}", token.expose_secret()));
        let plain = |name, token: &SecretString| (HeaderName::from_static(name), token.expose_secret().to_owned());
        let token = match kind {
            ForgeKind::GitHub => keychain.token(name).or_else(|| keychain.secret("GITHUB_TOKEN")).map(bearer),
            ForgeKind::GitLab => match (keychain.token(name), keychain.secret("CI_JOB_TOKEN")) {
                (Some(token), _) => Some(plain("private-token", token)),
                (None, job) => job.map(|token| plain("job-token", token)),
            },
        };
        let token = token.and_then(|(name, value)| {
            let mut value = HeaderValue::from_str(&value).ok()?;
            value.set_sensitive(true);
            Some((name, value))
        });
        let forge = Self { kind, registry: name.to_owned(), api, host, token };
        match forge.token {
            Some(_) => Ok(Arc::new(forge)),
            None => Err(forge.unauthorized("there is no token".to_owned(), "nobody may write there without one")),
        }
    }

    /// The URL of `parts` below the API's root; each part becomes one part of the path.
    #[must_use]
    pub fn url(&self, parts: &[&str]) -> Url {
        let mut url = self.api.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(parts);
        }
        url
    }

    /// What `url` names, read as a `T`; `None` where there is nothing.
    ///
    /// # Errors
    /// When the forge cannot be asked or refuses, or its answer is not a `T`.
    pub async fn get<T: DeserializeOwned>(&self, what: &str, url: &Url) -> Result<Option<T>, Error> {
        self.change(what, Method::GET, url, &Sent::Nothing).await
    }

    /// The first `pages` pages of a list, of `entries` entries each; `None` where there is no such list.
    ///
    /// # Errors
    /// As [`Forge::get`].
    pub async fn list<T: DeserializeOwned>(
        &self,
        what: &str,
        mut url: Url,
        entries: u8,
        pages: usize,
    ) -> Result<Option<Vec<T>>, Error> {
        url.query_pairs_mut().append_pair("per_page", &entries.to_string());
        let mut all = Vec::new();
        for _ in 0..pages {
            let page = |answer: &Answer| Ok((json::<Vec<T>>(what, answer)?, manifest::next_page(answer)));
            let Some((entries, next)) = self.ask(what, &Method::GET, &url, &Sent::Nothing, page).await? else {
                return Ok(None);
            };
            all.extend(entries);
            match next.filter(|next| next.origin() == self.api.origin()) {
                Some(next) => url = next,
                None => break,
            }
        }
        Ok(Some(all))
    }

    /// Changes something, as often as needed; what comes back is read as a `T`. `None` where there is nothing to change.
    ///
    /// # Errors
    /// As [`Forge::get`].
    pub async fn change<T: DeserializeOwned>(
        &self,
        what: &str,
        method: Method,
        url: &Url,
        sent: &Sent<'_>,
    ) -> Result<Option<T>, Error> {
        self.ask(what, &method, url, sent, |answer| json(what, answer)).await
    }

    /// Makes something or sends a file, once: whether it may be done again is for the caller to find out.
    ///
    /// # Errors
    /// As [`Forge::get`]; also where there is nothing to add to.
    pub async fn make<T: DeserializeOwned>(
        &self,
        what: &str,
        method: Method,
        url: &Url,
        sent: &Sent<'_>,
    ) -> Result<T, Error> {
        let answer = self.ask_once(what, &method, url, sent).await?;
        if answer.status.is_success() { json(what, &answer) } else { Err(self.refused(what, &answer)) }
    }

    /// Deletes something; that it is not there is as good.
    ///
    /// # Errors
    /// When the forge cannot be asked or refuses.
    pub async fn delete(&self, what: &str, url: &Url) -> Result<(), Error> {
        self.ask(what, &Method::DELETE, url, &Sent::Nothing, |_| Ok(())).await.map(drop)
    }

    /// The digest of a file that the forge has, of at most `size` bytes, by reading it. It may be read elsewhere, without
    /// the token.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn digest_of(&self, what: &str, url: &Url, size: u64) -> Result<Digest, Error> {
        let temporary = |error: std::io::Error| Error::Temporary { source: Cause(error.to_string()) };
        let folder = tempfile::tempdir().map_err(temporary)?;
        let path = folder.path().join("file");
        let download = Download::new(fs_err::File::create(&path).map_err(temporary)?, size);
        let mut attempts = self.attempts();
        loop {
            download.restart()?;
            let error = match self.download(what, url, &download).await {
                Ok(()) => return hash(&path).map_err(temporary),
                Err(error) => error,
            };
            attempts.wait_after(error).await?;
        }
    }

    async fn download(&self, what: &str, url: &Url, into: &Download) -> Result<(), Error> {
        let accept = [(ACCEPT, "application/octet-stream".to_owned())];
        let mut url = url.clone();
        for _ in 0..5 {
            let request = self.request(&Method::GET, &url, &accept);
            let answer = self.host.transfer(what, request, Body::None, Some(into)).await?;
            if answer.status == StatusCode::OK {
                return Ok(());
            }
            if !answer.status.is_redirection() || !answer.headers.contains_key(LOCATION) {
                return Err(self.refused(what, &answer));
            }
            url = self.host.checked(what, answer.location(what)?)?;
        }
        Err(Error::Garbage { what: what.to_owned(), why: "there is no end to its redirects".to_owned() })
    }

    /// The attempts at one piece of work.
    #[must_use]
    pub fn attempts(&self) -> Attempts<'_> {
        Attempts::new(&self.host.limits, &self.host.ui)
    }

    /// Asks, again while that may help; an answer that `read` does not understand is none. `None` for 404.
    async fn ask<T>(
        &self,
        what: &str,
        method: &Method,
        url: &Url,
        sent: &Sent<'_>,
        read: impl Fn(&Answer) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let mut attempts = self.attempts();
        loop {
            let error = match self.ask_once(what, method, url, sent).await {
                Ok(answer) if answer.status.is_success() => match read(&answer) {
                    Ok(value) => return Ok(Some(value)),
                    Err(error) => error,
                },
                Ok(answer) if answer.status == StatusCode::NOT_FOUND => return Ok(None),
                Ok(answer) => self.refused(what, &answer),
                Err(error) => error,
            };
            attempts.wait_after(error).await?;
        }
    }

    async fn ask_once(&self, what: &str, method: &Method, url: &Url, sent: &Sent<'_>) -> Result<Answer, Error> {
        let moved = Arc::new(AtomicU64::new(0));
        let accept = match self.kind {
            ForgeKind::GitHub => "application/vnd.github+json",
            ForgeKind::GitLab => "application/json",
        };
        let content = match sent {
            Sent::Nothing => None,
            Sent::Json(_) => Some("application/json"),
            Sent::File(_) => Some("application/octet-stream"),
        };
        let headers = content.map(|content| (CONTENT_TYPE, content.to_owned()));
        let headers: Vec<_> = headers.into_iter().chain([(ACCEPT, accept.to_owned())]).collect();
        let request = self.request(method, url, &headers);
        match sent {
            Sent::Nothing => self.host.transfer(what, request, Body::None, None).await,
            Sent::Json(value) => {
                self.host.transfer(what, request, Body::Bytes(value.to_string().as_bytes()), None).await
            }
            Sent::File(file) => {
                let body = BlobBody::new(file, &moved);
                let outcome = self.host.transfer(what, request, Body::Blob(&body), None).await;
                outcome.map_err(|error| body.problem().unwrap_or(error))
            }
        }
    }

    /// A request, with the token where it goes to the forge itself.
    fn request(&self, method: &Method, url: &Url, headers: &[(HeaderName, String)]) -> reqwest::RequestBuilder {
        let mut request = self.host.http.request(method.clone(), url.clone());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        match self.token.as_ref().filter(|_| self.is_own(url)) {
            Some((name, value)) => request.header(name, value),
            None => request,
        }
    }

    /// Whether the token is for `url`. GitHub takes files at a host of its own: `uploads.` in the place of `api.`.
    fn is_own(&self, url: &Url) -> bool {
        let uploads = || {
            let domain = self.api.host_str()?.strip_prefix("api.")?;
            Some(
                self.kind == ForgeKind::GitHub
                    && self.api.scheme() == "https"
                    && url.origin().ascii_serialization() == format!("https://uploads.{domain}"),
            )
        };
        url.origin() == self.api.origin() || uploads() == Some(true)
    }

    fn unauthorized(&self, reason: String, found: &str) -> Error {
        let (variable, right) = match self.kind {
            ForgeKind::GitHub => ("GITHUB_TOKEN", "write the repository's contents (`permissions: contents: write`)"),
            ForgeKind::GitLab => ("CI_JOB_TOKEN", "write the project's packages (scope `api`, role Developer)"),
        };
        let own = format!("{}_TOKEN", super::variable_prefix(&self.registry));
        let help = format!("{found}: set `{own}` or `{variable}` to one that may {right}");
        Error::Unauthorized { host: self.host.authority.clone(), reason, help }
    }

    /// The error for an answer that says no.
    fn refused(&self, what: &str, answer: &Answer) -> Error {
        let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let code = said.pointer("/errors/0/code").and_then(Value::as_str).map(one_line).unwrap_or_default();
        let texts = ["/message", "/error_description", "/error"];
        let message = texts.iter().find_map(|pointer| said.pointer(pointer)).map_or_else(
            || one_line(&String::from_utf8_lossy(&answer.body)),
            |text| one_line(&text.as_str().map_or_else(|| text.to_string(), str::to_owned)),
        );
        if answer.status == StatusCode::UNAUTHORIZED {
            let reason = if message.is_empty() { answer.status.to_string() } else { message };
            return self.unauthorized(reason, "the token is not accepted");
        }
        // GitHub says 403, too, to those who ask too often.
        let header = |name: &str| answer.header(name).and_then(|text| text.parse::<i64>().ok());
        let used_up = header("x-ratelimit-remaining") == Some(0);
        let reset = header("x-ratelimit-reset").filter(|_| used_up);
        let reset = reset.map(|reset| (reset - jiff::Timestamp::now().as_second()).max(1).unsigned_abs());
        let wait = retry_after(&answer.headers).or(reset.map(std::time::Duration::from_secs));
        let status = match answer.status {
            StatusCode::FORBIDDEN if wait.is_some() => StatusCode::TOO_MANY_REQUESTS,
            status => status,
        };
        let help = match status.as_u16() {
            403 | 404 => Some(
                "the token may not do this: it must be allowed to write the repository's contents (GitHub), or \
                               the project's packages (GitLab)",
            ),
            301..=308 => Some("the repository was renamed or moved: write its new name into `rhdh-plugins.toml`"),
            413 => Some("the file is larger than the forge takes"),
            429 => Some("the forge limits how often it may be asked: wait, then run the command again"),
            500..=599 => Some("the forge has trouble of its own: look at its status page, then run the command again"),
            _ => None,
        };
        Error::Refused { what: what.to_owned(), status, code, message, retry_after: wait, help }
    }
}

fn json<T: DeserializeOwned>(what: &str, answer: &Answer) -> Result<T, Error> {
    let why = |error: serde_json::Error| Error::Garbage { what: what.to_owned(), why: format!("the answer: {error}") };
    serde_json::from_slice(&answer.body).map_err(why)
}

/// The digest of a whole file.
fn hash(path: &Path) -> std::io::Result<Digest> {
    let mut file = fs_err::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 256 * 1024];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(Digest::from_sha256(hasher.finalize().into())),
            read => hasher.update(&piece[..read]),
        }
    }
}
