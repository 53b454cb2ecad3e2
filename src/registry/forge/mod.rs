//! The HTTP API of GitHub or GitLab: questions and files go out, answers come back, again while that may help, and
//! never with the token to another host. What is asked stands where it is needed: releases and packages, comments, pull
//! requests.
//!
//! The exchange is that with OCI registries (`http.rs`): one policy for attempts and limits, one translation of errors,
//! one place for proxies and certificate authorities. On GitHub, octocrab is between (`github.rs`).

mod file;
mod github;
mod refusal;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

pub(super) use github::GitHub;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::answer::Answer;
use super::blob::{BlobBody, BlobFile};
use super::error::Cause;
pub use super::error::Error;
use super::http::{Body, Host};
use super::retry::Attempts;
use super::{Limits, Session};
use crate::ui::Ui;

/// Pages of a list that are looked through.
const PAGES: u32 = 100;

/// Whose API it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForgeKind {
    /// GitHub, or GitHub Enterprise.
    GitHub,
    /// GitLab.
    GitLab,
}

impl ForgeKind {
    /// The URL of its API: that of the CI's own server where a variable names one, else the public one.
    #[must_use]
    pub fn api(self, variable: impl Fn(&str) -> Option<String>) -> String {
        let (name, public) = match self {
            Self::GitHub => ("GITHUB_API_URL", "https://api.github.com"),
            Self::GitLab => ("CI_API_V4_URL", "https://gitlab.com/api/v4"),
        };
        variable(name).unwrap_or_else(|| public.to_owned())
    }
}

/// The API of a forge, with a token for it.
pub struct Forge {
    kind: ForgeKind,
    /// The registry's name in the configuration, where it is one of those.
    registry: Option<String>,
    api: Url,
    host: Host,
    /// GitLab's token; GitHub's is octocrab's.
    token: Option<(HeaderName, HeaderValue)>,
}

/// What came back, whatever it says.
pub struct Reply(Answer);

/// What is sent along.
pub enum Sent<'a> {
    /// Nothing.
    Nothing,
    /// A JSON document.
    Json(&'a Value),
    /// A file.
    File(&'a BlobFile),
}

impl Reply {
    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The text of one of its headers.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.0.header(name)
    }

    /// Its JSON; `null` where it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.0.body).unwrap_or_default()
    }
}

impl Forge {
    /// The API for the registry `name` of the configuration, and the token that the environment has for it. Nothing is
    /// sent yet. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// When the API's URL is none to use, there is no token, or the certificates to trust cannot be read.
    pub fn new(session: &Session, kind: ForgeKind, name: &str) -> Result<Arc<Self>, Error> {
        let keychain = &session.keychain;
        let own = keychain.token(name);
        let (job_variable, job_header) = match kind {
            ForgeKind::GitHub => ("GITHUB_TOKEN", "authorization"),
            ForgeKind::GitLab => ("CI_JOB_TOKEN", "job-token"),
        };
        let (token, header) = match own {
            Some(own) => (Some(own), "private-token"),
            None => (keychain.secret(job_variable), job_header),
        };
        let trusted = session.authority(name);
        let api = kind.api(|name| keychain.text(name).map(str::to_owned));
        let mut forge = Self::open(kind, &api, trusted.as_deref(), session.limits.clone(), &session.ui)?;
        forge.registry = Some(name.to_owned());
        match token {
            Some(token) => forge.log_in(token, header).map(Arc::new),
            None => Err(forge.unauthorized("there is no token".to_owned(), "nobody may write there without one")),
        }
    }

    /// The API at the URL `api`, for whoever has `token`. Nothing is sent yet. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// When the URL is none to use, or there are no certificates to trust.
    pub fn at(kind: ForgeKind, api: &str, token: &SecretString, limits: Limits, ui: &Ui) -> Result<Self, Error> {
        Self::open(kind, api, None, limits, ui)?.log_in(token, "private-token")
    }

    fn open(kind: ForgeKind, api: &str, trusted: Option<&Path>, limits: Limits, ui: &Ui) -> Result<Self, Error> {
        let unusable = |why: &str| Error::Setup { host: api.to_owned(), source: Cause(why.to_owned()) };
        let api = Url::parse(api.trim_end_matches('/')).map_err(|_| unusable("this is not a URL"))?;
        let authority = match (api.host_str(), api.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            (None, _) => return Err(unusable("this URL has no host")),
        };
        let host = Host::new(&authority, false, trusted, limits, ui)?;
        if api.scheme() != "https" && !(api.scheme() == "http" && host.may_be_plain()) {
            return Err(unusable("this is not an `https://` URL"));
        }
        Ok(Self { kind, registry: None, api, host, token: None })
    }

    /// The forge, asked with `token`, which on GitLab goes in `header`.
    fn log_in(mut self, token: &SecretString, header: &'static str) -> Result<Self, Error> {
        let unusable = || self.unauthorized("it has characters that no token has".to_owned(), "the token is none");
        let mut value = HeaderValue::from_str(token.expose_secret()).map_err(|_| unusable())?;
        match self.kind {
            ForgeKind::GitHub => {
                let http = self.host.http.clone();
                self.host.github =
                    Some(GitHub::new(&self.api, http, token).map_err(|error| Error::Setup {
                        host: self.api.to_string(),
                        source: Cause(error.to_string()),
                    })?);
            }
            ForgeKind::GitLab => {
                value.set_sensitive(true);
                self.token = Some((HeaderName::from_static(header), value));
            }
        }
        Ok(self)
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

    /// What `url` names, read as a `T`.
    ///
    /// # Errors
    /// When the forge cannot be asked or refuses, there is nothing, or it is not a `T`.
    pub async fn get<T: DeserializeOwned>(&self, what: &str, url: &Url) -> Result<T, Error> {
        self.ask(what, &Method::GET, url, &Sent::Nothing, |answer| json(what, answer)).await
    }

    /// As [`Forge::get`]; `None` where there is nothing.
    ///
    /// # Errors
    /// When the forge cannot be asked or refuses, or its answer is not a `T`.
    pub async fn find<T: DeserializeOwned>(&self, what: &str, url: &Url) -> Result<Option<T>, Error> {
        found(self.get(what, url).await)
    }

    /// All entries of a list.
    ///
    /// # Errors
    /// As [`Forge::get`].
    pub async fn list<T: DeserializeOwned>(&self, what: &str, url: &Url) -> Result<Vec<T>, Error> {
        self.list_until(what, url, 100, |_| false).await
    }

    /// The entries of a list, `entries` at once, until those of a page are `enough`; of a hundred pages at most.
    ///
    /// # Errors
    /// As [`Forge::get`].
    pub async fn list_until<T: DeserializeOwned>(
        &self,
        what: &str,
        url: &Url,
        entries: u8,
        mut enough: impl FnMut(&[T]) -> bool,
    ) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        for page in 1..=PAGES {
            // Where the next page is, links of the forge say, too; but not where a proxy of its own has another name.
            let mut url = url.clone();
            url.query_pairs_mut().append_pair("per_page", &entries.to_string()).append_pair("page", &page.to_string());
            let read = |answer: &Answer| Ok((json::<Vec<T>>(what, answer)?, has_next_page(answer)));
            let (page, has_next) = self.ask(what, &Method::GET, &url, &Sent::Nothing, read).await?;
            let is_enough = enough(&page);
            all.extend(page);
            if is_enough || !has_next {
                break;
            }
        }
        Ok(all)
    }

    /// Changes something, as often as needed; what comes back is read as a `T`. `None` where there is nothing to
    /// change.
    ///
    /// # Errors
    /// As [`Forge::find`].
    pub async fn change<T: DeserializeOwned>(
        &self,
        what: &str,
        method: Method,
        url: &Url,
        sent: &Sent<'_>,
    ) -> Result<Option<T>, Error> {
        found(self.ask(what, &method, url, sent, |answer| json(what, answer)).await)
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
        found(self.ask(what, &Method::DELETE, url, &Sent::Nothing, |_| Ok(())).await).map(drop)
    }

    /// Asks once. Any status is a reply.
    ///
    /// # Errors
    /// When the forge cannot be asked.
    pub async fn reply(&self, what: &str, method: Method, url: &Url, sent: &Sent<'_>) -> Result<Reply, Error> {
        self.ask_once(what, &method, url, sent).await.map(Reply)
    }

    /// The attempts at one piece of work.
    #[must_use]
    pub fn attempts(&self) -> Attempts<'_> {
        Attempts::new(&self.host.limits, &self.host.ui)
    }

    /// Asks, again while that may help; an answer that `read` does not understand is none.
    async fn ask<T>(
        &self,
        what: &str,
        method: &Method,
        url: &Url,
        sent: &Sent<'_>,
        read: impl Fn(&Answer) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut attempts = self.attempts();
        loop {
            let error = match self.ask_once(what, method, url, sent).await {
                Ok(answer) if answer.status.is_success() => match read(&answer) {
                    Ok(value) => return Ok(value),
                    Err(error) => error,
                },
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

    /// A request, with GitLab's token where it goes to GitLab itself.
    fn request(&self, method: &Method, url: &Url, headers: &[(HeaderName, String)]) -> reqwest::RequestBuilder {
        let mut request = self.host.http.request(method.clone(), url.clone());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        match self.token.as_ref().filter(|_| url.origin() == self.api.origin()) {
            Some((name, value)) => request.header(name, value),
            None => request,
        }
    }
}

/// Whether `text` names a repository: `owner/name`, on GitLab also `group/…/project`.
#[must_use]
pub fn is_path(kind: ForgeKind, text: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty()
            && name.len() <= 255
            && !matches!(name, "." | "..")
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let parts = text.split('/').count();
    (parts == 2 || parts > 2 && kind == ForgeKind::GitLab) && text.split('/').all(is_name)
}

/// `None` for what is not there.
fn found<T>(outcome: Result<T, Error>) -> Result<Option<T>, Error> {
    match outcome {
        Err(error) if error.is_missing() => Ok(None),
        outcome => outcome.map(Some),
    }
}

/// GitHub says it with `Link`, and GitLab with `X-Next-Page`, where not with both.
fn has_next_page(answer: &Answer) -> bool {
    answer.header("link").is_some_and(|link| link.contains("rel=\"next\""))
        || answer.header("x-next-page").is_some_and(|page| !page.is_empty())
}

fn json<T: DeserializeOwned>(what: &str, answer: &Answer) -> Result<T, Error> {
    let why = |error: serde_json::Error| Error::Garbage { what: what.to_owned(), why: format!("the answer: {error}") };
    serde_json::from_slice(&answer.body).map_err(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_paths_of_names() {
        for (text, github, gitlab) in [
            ("acme/gitops", true, true),
            ("a/b.c_d-e", true, true),
            ("acme", false, false),
            ("acme/a/b", false, true),
            ("acme/..", false, false),
            ("acme/", false, false),
            ("acme/a?x=1", false, false),
            ("https://github.com/acme/gitops", false, false),
        ] {
            assert_eq!(
                [ForgeKind::GitHub, ForgeKind::GitLab].map(|kind| is_path(kind, text)),
                [github, gitlab],
                "{text}"
            );
        }
    }
}
