//! Proving who we are to one registry: its challenge comes in, the `Authorization` header goes out. Basic and bearer
//! authentication (OCI distribution spec; CNCF distribution: token authentication, OAuth2 for identity tokens).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_auth::parser::ChallengeParser;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::credentials::{Credential, CredentialKind, Keychain};
use super::error::{Error, one_line};
use super::http::Host;

/// How a registry wants to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password with every request.
    Basic,
    /// A token from `realm`.
    Bearer { realm: Url, service: Option<String> },
}

/// Who asks: one credential on one host, with the tokens that it was given. Tokens are kept by their scope.
pub(super) struct Account {
    /// `None`: anonymous.
    pub(super) credential: Option<Credential>,
    /// The registry's name in the configuration, for messages.
    registry: String,
    tokens: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Option<Token>>>>>,
}

#[derive(Clone)]
struct Token {
    value: SecretString,
    expires: Instant,
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: Option<SecretString>,
    #[serde(default)]
    access_token: Option<SecretString>,
    #[serde(default)]
    expires_in: Option<u64>,
}

/// What is asked for: repositories and what is done with them, e.g. `repository:acme/todo:pull,push`, sorted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Scope(Vec<String>);

impl Scope {
    /// Reading `repository`.
    pub(super) fn pull(repository: &str) -> Self {
        Self(vec![format!("repository:{repository}:pull")])
    }

    /// Reading and writing `repository`.
    pub(super) fn push(repository: &str) -> Self {
        Self(vec![format!("repository:{repository}:pull,push")])
    }

    /// Whatever the account may do with `repository`. What deleting is called in a scope, registries do not agree on;
    /// this they all know (as skopeo asks).
    pub(super) fn all(repository: &str) -> Self {
        Self(vec![format!("repository:{repository}:*")])
    }

    /// This, and reading `other` too.
    pub(super) fn and_pull(&self, other: &str) -> Self {
        let mut scopes = self.0.clone();
        scopes.push(format!("repository:{other}:pull"));
        scopes.sort();
        Self(scopes)
    }
}

impl Challenge {
    /// The challenge that we can meet best; `None` where there is none. Bearer before Basic: registries that offer
    /// both want tokens for their API.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut found = None;
        for header in headers.get_all(WWW_AUTHENTICATE) {
            let Ok(text) = header.to_str() else { continue };
            for challenge in ChallengeParser::new(text) {
                let Ok(challenge) = challenge else { break };
                let parameter = |name: &str| {
                    let mut parameters = challenge.params.iter();
                    parameters.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_unescaped())
                };
                if challenge.scheme.eq_ignore_ascii_case("bearer") {
                    if let Some(realm) = parameter("realm").and_then(|realm| Url::parse(&realm).ok()) {
                        return Some(Self::Bearer { realm, service: parameter("service") });
                    }
                } else if challenge.scheme.eq_ignore_ascii_case("basic") {
                    found = Some(Self::Basic);
                }
            }
        }
        found
    }
}

impl Account {
    pub(super) fn new(registry: &str, credential: Option<Credential>) -> Self {
        Self { credential, registry: registry.to_owned(), tokens: Mutex::default() }
    }

    /// True where this account is what `credential` makes.
    pub(super) fn is(&self, credential: Option<&Credential>) -> bool {
        self.credential.as_ref() == credential
    }

    /// The header that meets `challenge`; `None` where nothing is to be said.
    pub(super) async fn authorization(
        &self,
        host: &Host,
        challenge: &Challenge,
        scope: &Scope,
    ) -> Result<Option<HeaderValue>, Error> {
        match challenge {
            Challenge::Basic => match self.credential.as_ref().map(|credential| &credential.kind) {
                Some(CredentialKind::Password { username, password }) => Ok(Some(basic(username, password))),
                Some(CredentialKind::IdentityToken(_)) => Err(self.unauthorized(
                    host,
                    "the registry wants a name and a password, and there is only an identity token".to_owned(),
                )),
                None => Ok(None),
            },
            Challenge::Bearer { realm, service } => {
                let slot = {
                    let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
                    Arc::clone(tokens.entry(scope.0.join(" ")).or_default())
                };
                // Held while asking: whoever wants the same token waits for it instead of asking too.
                let mut slot = slot.lock().await;
                let token = match slot.as_ref().filter(|token| token.expires > Instant::now()) {
                    Some(token) => token.clone(),
                    None => self.fetch(host, realm, service.as_deref(), scope).await?,
                };
                let header = secret_header(&format!("Bearer {}", token.value.expose_secret()));
                *slot = Some(token);
                header.map(Some).ok_or_else(|| Error::Garbage {
                    what: format!("logging in to `{}`", host.authority),
                    why: "the token holds characters that no header may have".to_owned(),
                })
            }
        }
    }

    /// Forgets the token for `scope`, unless it has been replaced since it was `used`.
    pub(super) async fn forget(&self, scope: &Scope, used: Option<&HeaderValue>) {
        let slot = {
            let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
            tokens.get(&scope.0.join(" ")).map(Arc::clone)
        };
        if let Some(slot) = slot {
            let mut slot = slot.lock().await;
            let value = slot.as_ref().map(|token| format!("Bearer {}", token.value.expose_secret()));
            if value.as_deref().map(str::as_bytes) == used.map(HeaderValue::as_bytes) {
                *slot = None;
            }
        }
    }

    /// The error for a registry that does not accept this account.
    pub(super) fn unauthorized(&self, host: &Host, reason: String) -> Error {
        let advice = Keychain::advice(&self.registry, &host.authority);
        let help = match &self.credential {
            Some(credential) => format!("the credentials came from {}; {advice}", credential.source),
            None => format!("no credentials were found for it; {advice}"),
        };
        Error::Unauthorized { host: host.authority.clone(), reason, help }
    }

    async fn fetch(&self, host: &Host, realm: &Url, service: Option<&str>, scope: &Scope) -> Result<Token, Error> {
        let what = format!("asking `{}` for a token", realm.host_str().unwrap_or_default());
        if realm.scheme() != "https" && !host.may_be_plain() {
            return Err(Error::Redirect { what, to: realm.to_string(), why: "which is not https" });
        }
        let started = Instant::now();
        let mut url = realm.clone();
        let mut form = Vec::new();
        if let Some(service) = service {
            form.push(("service", service));
        }
        let request = match self.credential.as_ref().map(|credential| &credential.kind) {
            // CNCF distribution, OAuth2: one parameter `scope`, several scopes with spaces between them.
            Some(CredentialKind::IdentityToken(token)) => {
                let scopes = scope.0.join(" ");
                form.extend([("grant_type", "refresh_token"), ("client_id", "rhdh-pack"), ("scope", &scopes)]);
                form.push(("refresh_token", token.expose_secret()));
                host.http.post(url).form(&form)
            }
            other => {
                url.query_pairs_mut().extend_pairs(form).extend_pairs(scope.0.iter().map(|scope| ("scope", scope)));
                let request = host.http.get(url);
                match other {
                    Some(CredentialKind::Password { username, password }) => {
                        request.header(reqwest::header::AUTHORIZATION, basic(username, password))
                    }
                    _ => request,
                }
            }
        };
        let answer = host.short_exchange(&what, request).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => {
                return Err(self.unauthorized(host, reason(&answer.body, answer.status)));
            }
            _ => return Err(answer.refused(&what)),
        }
        let garbage = |why: &str| Error::Garbage { what: what.clone(), why: why.to_owned() };
        let answer: TokenAnswer =
            serde_json::from_slice(&answer.body).map_err(|_| garbage("the answer is not JSON with a `token`"))?;
        let given = |token: &SecretString| !token.expose_secret().is_empty();
        let value =
            answer.token.filter(given).or(answer.access_token.filter(given)).ok_or_else(|| garbage("no token"))?;
        // CNCF distribution: 60 seconds where nothing is said. Counted on our own clock from before the question, not
        // from `issued_at`: one of the clocks may be wrong. A little is left for the request that carries it.
        let lifetime = Duration::from_secs(answer.expires_in.unwrap_or(60).min(24 * 3600));
        Ok(Token { value, expires: started + lifetime - lifetime.min(Duration::from_secs(30)) / 3 })
    }
}

fn basic(username: &str, password: &SecretString) -> HeaderValue {
    let pair = STANDARD.encode(format!("{username}:{}", password.expose_secret()));
    // Base64 has no character that a header may not have.
    secret_header(&format!("Basic {pair}")).unwrap_or_else(|| HeaderValue::from_static(""))
}

/// A header whose value is not shown by `Debug`.
fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A token server's own words. They come in three shapes: the registries' envelope, OAuth2's `error_description`
/// (RFC 6749 5.2), and `details` or `message` of the hosted ones.
fn reason(body: &[u8], status: StatusCode) -> String {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let text = ["/errors/0/message", "/error_description", "/details", "/message", "/error"]
        .iter()
        .find_map(|pointer| value.pointer(pointer)?.as_str().filter(|text| !text.is_empty()));
    text.map_or_else(|| format!("the answer is {status}"), one_line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(values: &[&'static str]) -> Option<Challenge> {
        let headers = values.iter().map(|value| (WWW_AUTHENTICATE, HeaderValue::from_static(value)));
        Challenge::of(&headers.collect())
    }

    #[test]
    fn bearer_is_preferred_wherever_it_stands() {
        let bearer = challenge(&[r#"Basic realm="x", Bearer realm="https://auth.example/token",service="r,1""#]);
        let expected = Challenge::Bearer {
            realm: "https://auth.example/token".parse().expect("a URL"),
            service: Some("r,1".to_owned()),
        };
        assert_eq!(bearer, Some(expected.clone()));
        let two = challenge(&[r#"Bearer realm="https://auth.example/token",service="r,1""#, "Basic realm=\"x\""]);
        assert_eq!(two, Some(expected));
    }

    #[test]
    fn what_cannot_be_met_is_no_challenge() {
        assert_eq!(challenge(&[r#"Bearer realm="not a url""#]), None);
        assert_eq!(challenge(&["Negotiate"]), None);
        assert_eq!(challenge(&[]), None);
        assert_eq!(challenge(&["bAsIc realm=\"x\""]), Some(Challenge::Basic));
    }
}
