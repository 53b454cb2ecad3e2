//! GitLab's API: <https://docs.gitlab.com/api/rest/>.

use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, Response};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::{Answer, Error, Fault, TIMEOUT, retry_after};

/// One account at one API.
pub(crate) struct Client {
    http: reqwest::Client,
    token: SecretString,
}

/// What is done with a URL.
pub(crate) enum Verb<'a> {
    Get,
    Post(&'a Value),
    Put(&'a Value),
}

impl Client {
    pub(crate) fn new(token: &SecretString) -> Result<Self, Fault> {
        // A redirect would carry the token elsewhere.
        let http = reqwest::Client::builder().redirect(Policy::none()).connect_timeout(TIMEOUT).read_timeout(TIMEOUT);
        let http = http.build().map_err(|error| Fault::Final(Error::Failed(error.to_string())))?;
        Ok(Self { http, token: token.clone() })
    }

    /// Asks once. Any status is an answer.
    pub(crate) async fn ask(&self, what: &str, verb: Verb<'_>, url: &str) -> Result<Answer, Fault> {
        let request: RequestBuilder = match verb {
            Verb::Get => self.http.get(url),
            Verb::Post(body) => self.http.post(url).json(body),
            Verb::Put(body) => self.http.put(url).json(body),
        };
        let unreachable =
            |error: reqwest::Error| Fault::Again { why: format!("{what}: {}", error.without_url()), after: None };
        let response: Response =
            request.header("PRIVATE-TOKEN", self.token.expose_secret()).send().await.map_err(unreachable)?;
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let status = response.status().as_u16();
        let retry_after = retry_after(header);
        let has_next = header("x-next-page").is_some_and(|page| !page.is_empty());
        let body = response.text().await.map_err(unreachable)?;
        Ok(Answer { status, retry_after, has_next, body })
    }
}
