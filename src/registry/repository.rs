//! One repository of a registry, and the way its questions are asked: again, while that may help.

use std::sync::Arc;

use reqwest::header::HeaderName;
use reqwest::{Method, StatusCode, Url};

use super::answer::Answer;
use super::auth::{Account, Scope};
use super::credentials::Credential;
use super::error::Error;
use super::http::{Ask, Body, Host};
use super::retry::Attempts;

/// One repository of a registry, with the account that opens it. Clones share the connection.
#[derive(Clone)]
pub struct Repository {
    pub(super) host: Arc<Host>,
    pub(super) account: Arc<Account>,
    /// The name on the host: `acme/todo`.
    pub(super) path: String,
    pub(super) scope: Scope,
}

impl std::fmt::Display for Repository {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // `index.docker.io` is where `docker.io` answers; references name the latter.
        let host = if self.host.authority == "index.docker.io" { "docker.io" } else { &self.host.authority };
        write!(formatter, "{host}/{}", self.path)
    }
}

impl Repository {
    pub(super) fn new(host: Arc<Host>, account: Arc<Account>, path: String, scope: Scope) -> Self {
        Self { host, account, path, scope }
    }

    /// Finds out whether the registry is there and takes the account's credentials. Nothing is written.
    ///
    /// # Errors
    /// When there is no registry, or it does not accept the credentials: [`Error::is_environment`].
    pub async fn login(&self) -> Result<(), Error> {
        self.host.login(&self.account, &self.scope).await
    }

    /// `host[:port]`, where the registry answers.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host.authority
    }

    /// What opens the repository; `None`: nothing, everybody may.
    #[must_use]
    pub fn credential(&self) -> Option<&Credential> {
        self.account.credential.as_ref()
    }

    /// The URL of `parts` below `/v2/<repository>/`.
    pub(super) async fn url(&self, parts: &[&str]) -> Result<Url, Error> {
        let mut url = self.host.base().await?.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(self.path.split('/')).extend(parts);
        }
        Ok(url)
    }

    /// Asks once.
    pub(super) async fn ask_once(
        &self,
        what: &str,
        method: Method,
        url: Url,
        headers: &[(HeaderName, String)],
        body: Body<'_>,
    ) -> Result<Answer, Error> {
        let ask = Ask { what, method, url, account: &self.account, scope: &self.scope, headers, body, into: None };
        self.host.exchange(ask).await
    }

    /// Asks, again while that may help. A status below 400 is an answer, and so is 404: `None`.
    pub(super) async fn ask(
        &self,
        what: &str,
        method: &Method,
        parts: &[&str],
        headers: &[(HeaderName, String)],
        body: Body<'_>,
    ) -> Result<Option<Answer>, Error> {
        let url = self.url(parts).await?;
        self.ask_url(what, method, &url, headers, body).await
    }

    /// As [`Repository::ask`], for a whole URL.
    pub(super) async fn ask_url(
        &self,
        what: &str,
        method: &Method,
        url: &Url,
        headers: &[(HeaderName, String)],
        body: Body<'_>,
    ) -> Result<Option<Answer>, Error> {
        let mut attempts = self.attempts();
        loop {
            let error = match self.ask_once(what, method.clone(), url.clone(), headers, body).await {
                Ok(answer) if answer.status.is_success() => return Ok(Some(answer)),
                Ok(answer) if answer.status == StatusCode::NOT_FOUND => return Ok(None),
                Ok(answer) => answer.refused(what),
                Err(error) => error,
            };
            attempts.wait_after(error).await?;
        }
    }

    pub(super) fn attempts(&self) -> Attempts<'_> {
        Attempts::new(&self.host.limits, &self.host.ui)
    }
}
