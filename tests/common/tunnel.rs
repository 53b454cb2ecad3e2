//! A network as companies have it: hosts are reached through a proxy only (`CONNECT`), and their certificates are of an
//! authority that nobody else knows. Behind it stands a server of the tests.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::certificates::Certificate;

/// The name of the server, which only the proxy knows.
pub(crate) const HOST: &str = "git.forge.test";

/// A proxy, with a server behind it.
pub(crate) struct Tunnel {
    /// `http://127.0.0.1:<port>`.
    pub(crate) proxy: String,
    /// The certificate of the authority.
    pub(crate) authority: PathBuf,
    /// What the proxy was asked to connect to.
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
    _folder: tempfile::TempDir,
}

impl Tunnel {
    /// `upstream` is `host:port` of a server that speaks plain HTTP, one request a connection.
    pub(crate) fn to(upstream: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Certificate::new(folder.path());
        let server = authority.server(folder.path());
        let certificates = CertificateDer::pem_file_iter(&server.certificate).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(&server.key).unwrap();
        let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let tls = tls.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let tls = Arc::new(tls.with_single_cert(certificates, key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (log, upstream) = (Arc::clone(&asked), upstream.to_owned());
        // It ends with the program of the tests.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, upstream, tls) = (Arc::clone(&log), upstream.clone(), Arc::clone(&tls));
                // What a client that went away did not send or read is its own affair.
                std::thread::spawn(move || _ = serve(stream, &log, &upstream, tls));
            }
        });
        Self { proxy, authority: authority.certificate, asked, _folder: folder }
    }

    /// `command`, in this network.
    pub(crate) fn around<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("HTTPS_PROXY", &self.proxy).env("SSL_CERT_FILE", &self.authority);
        for name in ["https_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"] {
            command.env_remove(name);
        }
        command
    }
}

fn serve(stream: TcpStream, log: &Mutex<Vec<String>>, upstream: &str, tls: Arc<ServerConfig>) -> std::io::Result<()> {
    let mut head = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    head.read_line(&mut line)?;
    let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
    log.lock().unwrap().push(line.trim().to_owned());
    while line != "\r\n" {
        line.clear();
        head.read_line(&mut line)?;
    }
    if target != format!("{HOST}:443") {
        return (&stream).write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n");
    }
    (&stream).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let connection = ServerConnection::new(tls).map_err(std::io::Error::other)?;
    let mut client = StreamOwned::new(connection, stream);
    let mut request = Vec::new();
    let end = loop {
        let mut piece = [0; 4096];
        let read = client.read(&mut piece)?;
        if read == 0 {
            return Ok(());
        }
        request.extend_from_slice(&piece[..read]);
        if let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
    let length = head.split("content-length:").nth(1).and_then(|rest| rest.lines().next()?.trim().parse().ok());
    let missing = length.unwrap_or(0_usize).saturating_sub(request.len() - end);
    let at = request.len();
    request.resize(at + missing, 0);
    client.read_exact(&mut request[at..])?;
    let mut server = TcpStream::connect(upstream)?;
    let line = request.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    server.write_all(&request[..line])?;
    server.write_all(b"X-Forwarded-Proto: https\r\n")?;
    server.write_all(&request[line..])?;
    let mut reply = Vec::new();
    server.read_to_end(&mut reply)?;
    client.write_all(&reply)?;
    client.conn.send_close_notify();
    client.flush()
}
