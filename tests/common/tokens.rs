//! A token server, as registries with bearer authentication have one.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::certificates::{Certificate, basic};
use super::http::{Request, Server, answer};

/// Whom the server knows: `name:password`.
pub(crate) const USER: &str = "ann:s3cret-pass";
/// The identity token that it takes instead.
pub(crate) const IDENTITY: &str = "s3cret-identity";

/// Starts a server that signs with `certificate`; its tokens live for `seconds`, as it says.
pub(crate) fn start(certificate: Certificate, seconds: u64) -> Server {
    Server::start(move |request| {
        request.read_body(usize::MAX);
        let query = match request.method.as_str() {
            "POST" => String::from_utf8(request.body.clone()).unwrap(),
            _ => request.target.split_once('?').map(|(_, query)| query.to_owned()).unwrap_or_default(),
        };
        let parameters: Vec<(String, String)> =
            reqwest::Url::parse(&format!("http://x/?{query}")).unwrap().query_pairs().into_owned().collect();
        if !knows(request, &parameters) {
            let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}"#;
            return answer("401 Unauthorized", "", body);
        }
        let scopes = parameters.iter().filter(|(name, _)| name == "scope").flat_map(|(_, value)| value.split(' '));
        let access: Vec<_> = scopes
            .map(|scope| {
                let mut parts = scope.split(':');
                let (kind, name) = (parts.next().unwrap(), parts.next().unwrap());
                let actions: Vec<_> = parts.next().unwrap().split(',').collect();
                json!({ "type": kind, "name": name, "actions": actions })
            })
            .collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let token = certificate.token(&json!({
            "iss": "test", "sub": "ann", "aud": "registry", "exp": now + 300, "nbf": now - 60, "iat": now,
            "jti": fastrand::u64(..).to_string(), "access": access,
        }));
        answer("200 OK", "", &json!({ "token": token, "expires_in": seconds }).to_string())
    })
}

fn knows(request: &Request, parameters: &[(String, String)]) -> bool {
    if request.method == "POST" {
        return parameters.contains(&("refresh_token".to_owned(), IDENTITY.to_owned()));
    }
    request.header("authorization").and_then(basic).as_deref() == Some(USER)
}
