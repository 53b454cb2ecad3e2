//! What can go wrong between rhdh-pack and a registry, and for each what to do about it. An error knows whether
//! another attempt may help ([`Error::transient`]) and whether the environment is to blame
//! ([`Error::is_environment`]).

use std::error::Error as _;
use std::path::PathBuf;
use std::time::Duration;

use oci_client::errors::OciEnvelope;
use reqwest::StatusCode;

use super::advice::{advice, unreachable_help};
use super::credentials;
use crate::digest::Digest;

/// A text that stands below an error as its cause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Cause(pub String);

/// Why a registry could not be read or written. `what` says what was being done.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum Error {
    /// The configured prefix and the image's name do not make a repository's name.
    #[error("`{text}` is not the name of a repository")]
    #[diagnostic(help(
        "write `oci = \"<host>/<namespace>\"` in lower case and without `https://`, as in `quay.io/acme`"
    ))]
    Name {
        /// The prefix, `/`, and the image's name.
        text: String,
    },
    /// The credentials could not be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Credentials(#[from] credentials::Error),
    /// The HTTP client could not be made: no certificates on this machine, a proxy that is no URL.
    #[error("preparing connections to `{host}`")]
    #[diagnostic(help(
        "install the package `ca-certificates`, or set `SSL_CERT_FILE` to a file of trusted certificates"
    ))]
    Setup {
        /// `host[:port]`.
        host: String,
        /// What the TLS library says.
        source: Cause,
    },
    /// The certificate authority that is to be trusted for a registry cannot be used.
    #[error("reading the certificate authority for `{host}` in `{}`", path.display())]
    #[diagnostic(help(
        "`ca` in `[registries.<name>]`, or `RHDH_PACK_<REGISTRY>_CA`, names a PEM file: `-----BEGIN CERTIFICATE-----` …"
    ))]
    Authority {
        /// `host[:port]`.
        host: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Cause,
    },
    /// npm cannot ask an npm registry.
    #[error("asking the npm registry `{registry}`")]
    Npm {
        /// Its name in the configuration.
        registry: String,
        /// A short name for documents.
        code: &'static str,
        /// What to do.
        #[help]
        help: Option<String>,
        /// What npm says.
        source: Cause,
    },
    /// No connection could be made.
    #[error("reaching `{host}`")]
    #[diagnostic(help("{help}"))]
    Unreachable {
        /// `host[:port]`.
        host: String,
        /// Refused, no such name, timed out …
        source: Cause,
        /// What to look at.
        help: &'static str,
    },
    /// The registry's certificate is not one that this machine trusts.
    #[error("checking the certificate of `{host}`")]
    #[diagnostic(help(
        "name the registry's certificate authority, a PEM file: `ca = \"certs/acme.pem\"` in `[registries.<name>]`, \
         or `RHDH_PACK_<REGISTRY>_CA` or `SSL_CERT_FILE` in the environment; and look whether the machine's clock is \
         right"
    ))]
    Certificate {
        /// `host[:port]`.
        host: String,
        /// What is wrong with it.
        source: Cause,
    },
    /// The connection ended before the answer was there.
    #[error("{what}")]
    #[diagnostic(help("run the command again: what is uploaded is not uploaded twice"))]
    Broken {
        /// What was being done.
        what: String,
        /// How the connection ended.
        source: Cause,
    },
    /// Nothing moved for too long, or the whole exchange took too long.
    #[error("{what}: {why}")]
    #[diagnostic(help("run the command again: what is uploaded is not uploaded twice"))]
    Slow {
        /// What was being done.
        what: String,
        /// Which limit was met.
        why: String,
    },
    /// The registry, or its token server, does not accept the credentials, or wants some.
    #[error("logging in to `{host}`: {reason}")]
    #[diagnostic(help("{help}"))]
    Unauthorized {
        /// `host[:port]`.
        host: String,
        /// What the registry said.
        reason: String,
        /// Which credentials were used, and how to give others.
        help: String,
    },
    /// The registry answered with an error.
    #[error("{what}: {who} says {status}{}", details(code, message))]
    Refused {
        /// What was being done.
        what: String,
        /// Who answered.
        who: &'static str,
        /// The HTTP status.
        status: StatusCode,
        /// The registry's own code (`DENIED`, `NAME_UNKNOWN` …); may be empty.
        code: String,
        /// The registry's own words, one line; may be empty.
        message: String,
        /// How long the registry asks to wait.
        retry_after: Option<Duration>,
        /// What to do.
        #[help]
        help: Option<&'static str>,
    },
    /// The answer is not what the OCI distribution specification says.
    #[error("{what}: {why}")]
    #[diagnostic(help(
        "run the command again; should it stay so, something between here and the registry changes answers"
    ))]
    Garbage {
        /// What was being done.
        what: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// The registry said that it stored a blob, and does not have it.
    #[error("{what}: the registry said that it stored `{digest}`, and does not have it")]
    #[diagnostic(help("run the command again; should it stay so, the registry's storage is not consistent"))]
    Lost {
        /// What was being done.
        what: String,
        /// The blob.
        digest: Digest,
    },
    /// The registry has other bytes than those that were pushed or asked for.
    #[error("{what}: expected `{expected}`, the registry has `{found}`")]
    #[diagnostic(help("the registry, or something before it, changes what is pushed: do not use this image"))]
    Differs {
        /// What was being done.
        what: String,
        /// The digest of our bytes.
        expected: Digest,
        /// The digest that the registry named.
        found: String,
    },
    /// The registry sends us somewhere we do not go.
    #[error("{what}: the registry redirects to `{to}`, {why}")]
    #[diagnostic(help(
        "ask the registry's administrators: uploads may be redirected with 307 and 308, and never to plain HTTP or \
         to a link-local address"
    ))]
    Redirect {
        /// What was being done.
        what: String,
        /// The other place, without its query.
        to: String,
        /// Why not.
        why: &'static str,
    },
    /// This machine has no room for a file that is on its way.
    #[error("making a temporary file")]
    #[diagnostic(help("look whether the folder for temporary files (`TMPDIR`) is there and has room"))]
    Temporary {
        /// Why not.
        source: Cause,
    },
    /// The file to upload is not what it should be.
    #[error("reading `{}`: {why}", path.display())]
    #[diagnostic(help("run `rhdh-pack package` again: the output folder was changed after packaging"))]
    Blob {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl Error {
    /// True where another attempt may end better.
    #[must_use]
    pub fn transient(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Broken { .. }
            | Self::Slow { .. }
            | Self::Garbage { .. }
            | Self::Lost { .. } => true,
            Self::Refused { status, code, .. } => {
                matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502..=504)
                    || matches!(
                        code.as_str(),
                        // The last: our bytes have the digest that we say, so something on the way had not; CNCF's
                        // registry says it, too, where two uploads of one blob meet.
                        "BLOB_UPLOAD_UNKNOWN" | "BLOB_UPLOAD_INVALID" | "TOOMANYREQUESTS" | "DIGEST_INVALID"
                    )
            }
            _ => false,
        }
    }

    /// How long the registry asks to wait before the next attempt.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// True where the account may not do it.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Unauthorized { .. } | Self::Refused { status: StatusCode::FORBIDDEN, .. })
    }

    /// True where what was asked for is not there.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::NOT_FOUND, .. })
    }

    /// True where neither the plugins nor the configuration are to blame but the environment: no registry there, or one
    /// in trouble, not logged in, no certificates (exit code 3).
    #[must_use]
    pub fn is_environment(&self) -> bool {
        match self {
            Self::Refused { status, .. } => !status.is_client_error() || *status == StatusCode::TOO_MANY_REQUESTS,
            Self::Name { .. } | Self::Differs { .. } | Self::Blob { .. } => false,
            _ => true,
        }
    }

    /// True where the registry refuses a manifest because it does not have one of its blobs.
    #[must_use]
    pub fn is_missing_blob(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if matches!(code.as_str(), "MANIFEST_BLOB_UNKNOWN" | "BLOB_UNKNOWN"))
    }

    /// A short name for documents, in kebab-case.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Name { .. } => "repository-name",
            Self::Credentials(_) => "credentials",
            Self::Setup { .. } | Self::Authority { .. } => "tls-setup",
            Self::Npm { code, .. } => code,
            Self::Unreachable { .. } => "registry-unreachable",
            Self::Certificate { .. } => "registry-certificate",
            Self::Broken { .. } => "connection-broken",
            Self::Slow { .. } => "registry-slow",
            Self::Unauthorized { .. } => "not-logged-in",
            Self::Refused { status, .. } if *status == StatusCode::FORBIDDEN => "registry-denied",
            Self::Refused { .. } => "registry-refused",
            Self::Garbage { .. } => "registry-garbage",
            Self::Lost { .. } => "registry-lost-blob",
            Self::Differs { .. } => "digest-differs",
            Self::Redirect { .. } => "registry-redirect",
            Self::Temporary { .. } => "temporary-file",
            Self::Blob { .. } => "oci-layout",
        }
    }

    /// The error for an answer with a status that says no. `body` is the answer's, as far as it was read.
    pub(super) fn refused(what: &str, status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Self {
        let (code, message) = words(body);
        // The CNCF registry names the system's error (ENOSPC) in the detail only.
        let text = String::from_utf8_lossy(body);
        let help = match text.contains("no space left on device") || text.contains("\"Err\":28") {
            true => Some("the registry's disk is full: make room there, then run the command again"),
            false => advice(status, &code),
        };
        Self::Refused { what: what.to_owned(), who: "the registry", status, code, message, retry_after, help }
    }

    /// The error for a client that cannot be made.
    pub(super) fn setup(host: &str, error: &reqwest::Error) -> Self {
        let why = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        Self::Setup { host: host.to_owned(), source: Cause(why) }
    }

    /// As [`Error::from_reqwest`], where somebody else sent the request with our client.
    pub(super) fn of_exchange(what: &str, host: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(cause) = next {
            if let Some(error) = cause.downcast_ref::<reqwest::Error>() {
                return Self::from_reqwest(what, host, error);
            }
            next = cause.source();
        }
        Self::Broken { what: what.to_owned(), source: Cause(one_line(&error.to_string())) }
    }

    /// The error for an exchange that ended without an answer.
    pub(super) fn from_reqwest(what: &str, host: &str, error: &reqwest::Error) -> Self {
        let cause = Cause(root_cause(error));
        if certificate_refused(error) {
            return Self::Certificate { host: host.to_owned(), source: cause };
        }
        if error.is_connect() {
            let help = unreachable_help(&cause.0);
            return Self::Unreachable { host: host.to_owned(), source: cause, help };
        }
        Self::Broken { what: what.to_owned(), source: cause }
    }
}

/// The code and the message of a registry's refusal, as far as there are such.
pub(super) fn words(body: &[u8]) -> (String, String) {
    let Ok(envelope) = serde_json::from_slice::<OciEnvelope>(body) else {
        return (String::new(), one_line(&String::from_utf8_lossy(body)));
    };
    let Some(first) = envelope.errors.into_iter().next() else { return Default::default() };
    let code = serde_json::to_value(&first.code).ok();
    let code = code.and_then(|code| code.as_str().map(one_line)).unwrap_or_default();
    (code, one_line(&first.message))
}

/// `, CODE: message`, as far as there is something.
fn details(code: &str, message: &str) -> String {
    [code, message].into_iter().filter(|text| !text.is_empty()).fold(String::new(), |text, part| text + ": " + part)
}

/// Words of a server, for one line of a terminal: no control characters, no more than 300 characters.
pub(super) fn one_line(text: &str) -> String {
    let words = text.split(|character: char| character.is_whitespace() || character.is_control());
    let line = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    line.chars().take(300).collect()
}

/// The innermost cause: what stands above it are the names of layers. URLs, which may hold upload tokens, are left out.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    if std::ptr::addr_eq(cause, error) {
        "the request could not be sent".to_owned()
    } else {
        one_line(&cause.to_string())
    }
}

/// True where TLS ended because of the server's certificate.
fn certificate_refused(error: &reqwest::Error) -> bool {
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return matches!(tls, rustls::Error::InvalidCertificate(_));
        }
        // `source` of an I/O error leaves out the error that it was made of.
        next = match cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registrys_words_are_shown_on_one_line() {
        let body = br#"{"errors":[{"code":"DENIED","message":"requested access\nis \u001b[31mdenied"}]}"#;
        let error = Error::refused("pushing `x`", StatusCode::FORBIDDEN, None, body);
        assert_eq!(
            error.to_string(),
            "pushing `x`: the registry says 403 Forbidden: DENIED: requested access is [31mdenied"
        );
        assert_eq!(error.code(), "registry-denied");
        assert!(!error.transient());
    }

    #[test]
    fn what_is_no_envelope_is_shown_too() {
        let error = Error::refused("pushing `x`", StatusCode::BAD_GATEWAY, None, b"<html>\n  bad gateway</html>");
        assert_eq!(error.to_string(), "pushing `x`: the registry says 502 Bad Gateway: <html> bad gateway</html>");
        assert!(error.transient());
    }
}
