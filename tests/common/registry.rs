//! The CNCF registry, started for one test on a port of its own, with its data in a folder of its own.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rhdh_pack::digest::Digest;
use serde_json::Value;
use tempfile::TempDir;

/// Who may use the registry.
#[derive(Clone)]
pub(crate) enum Auth {
    /// Everybody.
    Open,
    /// Whoever knows a name and its password.
    Basic { username: &'static str, password: &'static str },
    /// Whoever has a token of the server at `realm`, signed with the key of `certificate` (PEM file).
    Token { realm: String, certificate: PathBuf },
}

/// A running registry; it ends with this value.
pub(crate) struct Registry {
    /// `127.0.0.1:<port>`.
    pub(crate) host: String,
    /// Everything that the registry keeps.
    pub(crate) data: PathBuf,
    folder: TempDir,
    child: Child,
}

impl Registry {
    pub(crate) fn start(auth: Auth) -> Self {
        Self::start_with(auth, "", "")
    }

    /// Open, on a disk of so many megabytes.
    pub(crate) fn start_small(megabytes: u32) -> Self {
        Self::start_on(Some(megabytes), Auth::Open, "", "")
    }

    /// With more lines below `http:` and `storage:` in the configuration.
    pub(crate) fn start_with(auth: Auth, http: &str, storage: &str) -> Self {
        Self::start_on(None, auth, http, storage)
    }

    fn start_on(megabytes: Option<u32>, auth: Auth, http: &str, storage: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let data = folder.path().join("data");
        let auth = match auth {
            Auth::Open => String::new(),
            Auth::Basic { username, password } => {
                // By stdin: another test may look for this password in the command lines of the whole machine.
                let file = folder.path().join("htpasswd");
                std::fs::write(&file, password).unwrap();
                let stdin = std::fs::File::open(&file).unwrap();
                let mut command = Command::new("htpasswd");
                let output = run("htpasswd", "apache2-utils", command.args(["-Bin", username]).stdin(stdin));
                std::fs::write(&file, output).unwrap();
                format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", file.display())
            }
            Auth::Token { realm, certificate } => format!(
                "auth:\n  token:\n    realm: {realm}\n    service: registry\n    issuer: test\n    rootcertbundle: {}\n",
                certificate.display()
            ),
        };
        // Another process may take the port between our look and the registry's start: then there is another port.
        for _ in 0..5 {
            let port = free_port();
            let config = format!(
                "version: 0.1\nlog:\n  level: warn\n  accesslog:\n    disabled: true\nstorage:\n  delete:\n    enabled: true\n  \
                 filesystem:\n    rootdirectory: {}\n{storage}http:\n  addr: 127.0.0.1:{port}\n{http}{auth}",
                data.display()
            );
            let file = folder.path().join("config.yml");
            std::fs::write(&file, config).unwrap();
            let log = std::fs::File::create(folder.path().join("log")).unwrap();
            let mut command = match megabytes {
                Some(megabytes) => on_small_disk(&data, megabytes),
                None => Command::new("docker-registry"),
            };
            command.arg("serve").arg(&file).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
            let child = command.spawn().unwrap_or_else(|error| missing("docker-registry", "docker-registry", &error));
            let mut registry =
                Self { host: format!("127.0.0.1:{port}"), data: data.clone(), folder: TempDir::new().unwrap(), child };
            if registry.is_up() {
                registry.folder = folder;
                return registry;
            }
        }
        panic!("docker-registry does not start: {}", std::fs::read_to_string(folder.path().join("log")).unwrap());
    }

    /// Makes the repositories of one namespace those of another, too. The registry keeps their blobs elsewhere.
    pub(crate) fn copy_namespace(&self, from: &str, to: &str) {
        let repositories = self.data.join("docker/registry/v2/repositories");
        for entry in walkdir::WalkDir::new(repositories.join(from)) {
            let entry = entry.unwrap();
            let target = repositories.join(to).join(entry.path().strip_prefix(repositories.join(from)).unwrap());
            if entry.file_type().is_dir() {
                std::fs::create_dir_all(target).unwrap();
            } else {
                std::fs::copy(entry.path(), target).unwrap();
            }
        }
    }

    /// Removes a tag where the registry keeps it: it has no request for that.
    pub(crate) fn untag(&self, repository: &str, tag: &str) {
        let repository = self.data.join("docker/registry/v2/repositories").join(repository);
        std::fs::remove_dir_all(repository.join("_manifests/tags").join(tag)).unwrap();
    }

    /// Where a tag points, and that everything below it is there, read where the registry keeps it: much faster than by
    /// asking.
    pub(crate) fn stored(&self, repository: &str, tag: &str) -> Option<Digest> {
        let data = self.data.join("docker/registry/v2");
        let repository = data.join("repositories").join(repository);
        let blob = |digest: &Digest| {
            let hex = digest.hex();
            let bytes = std::fs::read(data.join(format!("blobs/sha256/{}/{hex}/data", &hex[..2]))).unwrap();
            assert_eq!(Digest::of(&bytes), *digest);
            bytes
        };
        let is_linked = |kind: &str, digest: &Digest| {
            let link = std::fs::read_to_string(repository.join(kind).join(digest.hex()).join("link"));
            assert_eq!(link.ok().as_deref(), Some(digest.as_str()), "{} needs it", repository.display());
        };
        let digest = std::fs::read_to_string(repository.join("_manifests/tags").join(tag).join("current/link")).ok()?;
        let digest: Digest = digest.parse().unwrap();
        is_linked("_manifests/revisions/sha256", &digest);
        let manifest: Value = serde_json::from_slice(&blob(&digest)).unwrap();
        for descriptor in manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]) {
            let digest: Digest = descriptor["digest"].as_str().unwrap().parse().unwrap();
            is_linked("_layers/sha256", &digest);
            blob(&digest);
        }
        Some(digest)
    }

    /// What the registry wrote to its log.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn is_up(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if TcpStream::connect(&self.host).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// The tags and their digests that skopeo sees in a repository, with `options` before the command.
    pub(crate) fn skopeo_digest(&self, repository: &str, tag: &str, options: &[&str]) -> Option<String> {
        let reference = format!("docker://{}/{repository}:{tag}", self.host);
        let mut command = Command::new("skopeo");
        command.args(["inspect", "--tls-verify=false", "--no-tags", "--format", "{{.Digest}}"]).args(options);
        let output = command.arg(reference).output().unwrap_or_else(|error| missing("skopeo", "skopeo", &error));
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The registry with a file system of its own at `data`: it ends with the process, and nobody else sees it.
fn on_small_disk(data: &Path, megabytes: u32) -> Command {
    std::fs::create_dir_all(data).unwrap();
    let script = "mount -t tmpfs -o \"size=$1m\" none \"$2\" && shift 2 && exec docker-registry \"$@\"";
    let mut command = Command::new("unshare");
    // Who is not root becomes it in a name space of users.
    let is_root = rustix::process::getuid().is_root();
    command.arg(if is_root { "--mount" } else { "--map-root-user" }).arg("--mount");
    command.args(["sh", "-c", script, "sh"]).arg(megabytes.to_string()).arg(data);
    command
}

/// A port that was free a moment ago; none of those that the kernel gives to connections and to servers without one of
/// their own, which would take it before long.
pub(crate) fn free_port() -> u16 {
    let mut ports = std::iter::repeat_with(|| fastrand::u16(10_000..30_000));
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

/// Runs a tool of the tests; its stdout.
pub(crate) fn run(program: &str, package: &str, command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| missing(program, package, &error));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A missing tool is a failure that says how to get it.
pub(crate) fn missing(program: &str, package: &str, error: &std::io::Error) -> ! {
    panic!("cannot run `{program}` ({error}); install what the tests need: `.ci/tools`, or `apt-get install {package}`")
}

/// The status and the body of what is at an `http://` URL, as an image's manifest if it is one.
pub(crate) fn get(url: &str) -> (u16, Vec<u8>) {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    let accept = "application/vnd.oci.image.manifest.v1+json";
    write!(stream, "GET /{path} HTTP/1.0\r\nHost: {host}\r\nAccept: {accept}\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let body = bytes.split_off(end);
    let status = String::from_utf8(bytes).unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    (status, body)
}
