//! What a registry, or the network before it, does wrong: instead of its answer, or after it.

use rhdh_pack::digest::Digest;

use super::http::{Request, answer, forward};
use super::push::limits;

/// What a registry, or the network before it, does wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    /// Closes the connection before reading anything.
    Closed,
    /// Closes it in the middle of the request's body.
    Reset,
    /// Does what is asked, and closes the connection without an answer.
    AnswerLost,
    /// Does what is asked, and closes the connection in the middle of the answer.
    Truncated,
    /// Answers with what is no HTTP.
    Garbage,
    /// Answers 200 with a web page: a proxy that wants somebody to log in.
    WebPage,
    /// Reads the request and answers with this status.
    Status(&'static str),
    /// Answers 500 before the body is read, and closes the connection.
    Early,
    /// Does what is asked, and answers 500.
    DoneBut500,
    /// Never answers.
    Silent,
    /// Answers as if all were well, and does nothing.
    Lie,
    /// Wants new credentials.
    Challenge,
}

impl Fault {
    /// What `request` gets, which is for the registry at `upstream`.
    pub(crate) fn reply(self, upstream: &str, request: &mut Request) -> Vec<u8> {
        match self {
            Self::Closed => Vec::new(),
            Self::Reset => {
                request.read_body(request.length() / 2);
                Vec::new()
            }
            Self::AnswerLost => {
                forward(upstream, request);
                Vec::new()
            }
            Self::Truncated => {
                let mut reply = forward(upstream, request);
                reply.truncate(reply.len() / 2);
                reply
            }
            Self::Garbage => {
                request.read_body(usize::MAX);
                b"\x00\x01\x02 this is not HTTP\r\n\r\n".to_vec()
            }
            Self::WebPage => {
                request.read_body(usize::MAX);
                answer("200 OK", "Content-Type: text/html\r\n", "<html>please log in</html>")
            }
            Self::Status(status) => {
                request.read_body(usize::MAX);
                answer(status, "Retry-After: 0\r\n", r#"{"errors":[{"code":"TEST","message":"a fault"}]}"#)
            }
            Self::Early => answer("500 Internal Server Error", "", ""),
            Self::DoneBut500 => {
                forward(upstream, request);
                answer("500 Internal Server Error", "", "")
            }
            Self::Silent => {
                std::thread::sleep(limits().idle * 4);
                Vec::new()
            }
            Self::Lie => {
                request.read_body(usize::MAX);
                let digest = request.target.rsplit(['/', '=']).next().unwrap_or_default().replace("%3A", ":");
                let digest = if request.target.contains("/manifests/") && request.method == "PUT" {
                    Digest::of(&request.body).to_string()
                } else {
                    digest
                };
                match request.method.as_str() {
                    "POST" => answer("202 Accepted", &format!("Location: {}lie\r\n", request.target), ""),
                    "PUT" => answer("201 Created", &format!("Docker-Content-Digest: {digest}\r\n"), ""),
                    // Reading is not lied about: a registry that does cannot be pushed to, and that cannot be seen.
                    _ => forward(upstream, request),
                }
            }
            Self::Challenge => {
                request.read_body(usize::MAX);
                answer("401 Unauthorized", "WWW-Authenticate: Basic realm=\"test\"\r\n", "")
            }
        }
    }
}
