//! Certificates and signed tokens for the tests' registries, made by `openssl`.

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::registry::run;

/// A key with its certificate.
pub(crate) struct Certificate {
    pub(crate) key: PathBuf,
    pub(crate) certificate: PathBuf,
}

impl Certificate {
    /// A certificate authority.
    pub(crate) fn new(folder: &Path) -> Self {
        Self::make(folder, "authority", &[])
    }

    /// A certificate for `127.0.0.1` and every name below `forge.test`, signed by this authority.
    pub(crate) fn server(&self, folder: &Path) -> Self {
        let (key, certificate) = (self.key.to_str().unwrap(), self.certificate.to_str().unwrap());
        let more = ["-CA", certificate, "-CAkey", key, "-addext", "subjectAltName=IP:127.0.0.1,DNS:*.forge.test"];
        Self::make(folder, "server", &[&more[..], &["-addext", "basicConstraints=critical,CA:FALSE"]].concat())
    }

    fn make(folder: &Path, name: &str, more: &[&str]) -> Self {
        let (key, certificate) = (folder.join(format!("{name}-key.pem")), folder.join(format!("{name}.pem")));
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj"]);
        command.arg(format!("/CN={name}")).args(more).arg("-keyout").arg(&key).arg("-out").arg(&certificate);
        run("openssl", "openssl", &mut command);
        Self { key, certificate }
    }

    /// A JSON web token with these claims, signed with RS256.
    pub(crate) fn token(&self, claims: &Value) -> String {
        let pem = std::fs::read_to_string(&self.certificate).unwrap();
        let der: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let header = json!({ "typ": "JWT", "alg": "RS256", "x5c": [der] });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(claims));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &signed).unwrap();
        let mut command = Command::new("openssl");
        command.args(["dgst", "-sha256", "-sign"]).arg(&self.key).arg(file.path());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(run("openssl", "openssl", &mut command)))
    }
}

/// What a `Authorization: Basic` header says, as `name:password`.
pub(crate) fn basic(header: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(header.strip_prefix("Basic ")?).ok()?).ok()
}
