//! GitHub's API: <https://docs.github.com/rest>.

use octocrab::Octocrab;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::{Answer, Error, Fault, TIMEOUT, retry_after};

/// One account at one API.
pub(crate) struct Client {
    api: Octocrab,
}

/// What is done with a URL.
pub(crate) enum Verb<'a> {
    Get,
    Post(&'a Value),
    Patch(&'a Value),
    Delete,
}

/// Whether `text` is `owner/name`.
#[must_use]
pub fn is_repository(text: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty()
            && name.len() <= 100
            && !matches!(name, "." | "..")
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    text.split_once('/').is_some_and(|(owner, name)| is_name(owner) && is_name(name))
}

impl Client {
    /// `api`: `https://api.github.com`, or `https://host/api/v3`.
    pub(crate) fn new(api: &str, token: &SecretString) -> Result<Self, Fault> {
        let wrong = |error: octocrab::Error| Fault::Final(Error::Failed(format!("`{api}`: {error}")));
        // octocrab joins paths to its base by their beginnings; whole URLs on the base's host need no joining.
        let url = url::Url::parse(api).map_err(|error| Fault::Final(Error::Failed(format!("`{api}`: {error}"))))?;
        let api = Octocrab::builder()
            .base_uri(url.origin().ascii_serialization())
            .map_err(wrong)?
            .personal_token(token.expose_secret())
            .set_connect_timeout(Some(TIMEOUT))
            .set_read_timeout(Some(TIMEOUT))
            .build()
            .map_err(wrong)?;
        Ok(Self { api })
    }

    /// Asks once. Any status is an answer.
    pub(crate) async fn ask(&self, what: &str, verb: Verb<'_>, url: &str) -> Result<Answer, Fault> {
        let response = match verb {
            Verb::Get => self.api._get(url).await,
            Verb::Post(body) => self.api._post(url, Some(body)).await,
            Verb::Patch(body) => self.api._patch(url, Some(body)).await,
            Verb::Delete => self.api._delete(url, None::<&()>).await,
        };
        let unreachable =
            |error: octocrab::Error| Fault::Again { why: format!("{what}: {}", causes(&error)), after: None };
        let response = response.map_err(unreachable)?;
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let status = response.status().as_u16();
        let retry_after = retry_after(header);
        let has_next = header("link").is_some_and(|link| link.contains("rel=\"next\""));
        let body = self.api.body_to_string(response).await.map_err(unreachable)?;
        Ok(Answer { status, retry_after, has_next, body })
    }
}

/// An error with its causes on one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_two_names() {
        for (text, is) in [
            ("acme/gitops", true),
            ("a/b.c_d-e", true),
            ("acme", false),
            ("acme/a/b", false),
            ("acme/..", false),
            ("acme/", false),
            ("acme/a?x=1", false),
            ("https://github.com/acme/gitops", false),
        ] {
            assert_eq!(is_repository(text), is, "{text}");
        }
    }
}
