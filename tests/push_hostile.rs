//! Registries that mean harm, or are broken in ways that look like it: each push ends soon, with an error that says
//! what was wrong, and with nothing in memory but what was to be expected.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::http::{Request, Server, answer, forward};
use common::layout::layer;
use common::push::{Setup, keychain, limits, messages};
use common::registry::{Auth, Registry};
use rhdh_pack::digest::Digest;
use rhdh_pack::registry::{Limits, Session};
use rhdh_pack::ui::{Ui, Verbosity};

const NO_PAUSE: Duration = Duration::ZERO;
const SLOW: Duration = Duration::from_millis(20);
/// More than anything that is read as a whole may have.
const GIGABYTE: &str = "HTTP/1.1 201 Created\r\nContent-Length: 1073741824\r\n\r\n";
const ENDLESS: &str = "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n";

/// The questions that are answered badly.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Question {
    /// Whether a registry is there.
    Root,
    Tag,
    Blob,
    /// A new upload.
    Session,
    Upload,
    Manifest,
}

impl Question {
    fn is(self, request: &Request) -> bool {
        let has = |part: &str| request.target.contains(part);
        match self {
            Self::Root => has("/v2/") && request.target.len() == "/v2/".len(),
            Self::Tag => has("/manifests/") && request.method != "PUT",
            Self::Blob => has("/blobs/sha256") && request.method == "HEAD",
            Self::Session => has("/blobs/uploads/") && request.method == "POST",
            Self::Upload => has("/blobs/uploads/") && request.method == "PUT",
            Self::Manifest => has("/manifests/") && request.method == "PUT",
        }
    }
}

type Reply = Box<dyn Fn(&mut Request) -> Vec<u8> + Send + Sync>;

/// What is answered, always the same.
fn fixed(status: &'static str, headers: &'static str, body: &'static str) -> Reply {
    Box::new(move |request| {
        request.read_body(usize::MAX);
        answer(status, headers, body)
    })
}

/// What is begun and never ends.
fn endless(head: &'static str, piece: Vec<u8>, pause: Duration) -> Reply {
    Box::new(move |request| request.pour(head, &piece, pause))
}

fn quick() -> Limits {
    let (idle, whole) = (Duration::from_millis(500), Duration::from_secs(2));
    Limits { attempts: 2, idle, whole, patience: Duration::from_secs(5), ..limits() }
}

/// Pushes to a registry that answers one of the questions so; the error, of the whole push or of the image.
async fn outcome(registry: &Registry, name: &str, question: Question, reply: Reply) -> String {
    let upstream = registry.host.clone();
    let server = Server::start(move |request| match question.is(request) {
        true => reply(request),
        false => forward(&upstream, request),
    });
    let mut setup = Setup { limits: quick(), ..Setup::new() };
    // Not so small that it is not looked for.
    setup.image(name, &layer(1, 100_000), &["1"], &[&format!("{}/acme", server.host)]);
    let outcome = tokio::time::timeout(Duration::from_secs(60), setup.push()).await;
    match outcome.unwrap_or_else(|_| panic!("{name}: there is no end")) {
        Ok(pushed) => messages(&pushed).join("\n"),
        Err(error) => format!("{:?}", miette::Report::new(error)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn each_ends_in_an_error_that_says_what_was_wrong() {
    use Question::{Blob, Manifest, Root, Session, Tag, Upload};
    let registry = Arc::new(Registry::start(Auth::Open));
    let many_headers = "X: y\r\n".repeat(5_000).leak();
    let large_header = format!("X: {}\r\n", "y".repeat(2_000_000)).leak();
    let cases: Vec<(&str, Question, Reply, &str)> = vec![
        ("slow-root", Root, endless("HTTP/1.1 200 OK\r\n", b"X: y\r\n".into(), SLOW), "nothing moved for"),
        ("slow-head", Tag, endless("HTTP/1.1 200 OK\r\n", b"X: y\r\n".into(), SLOW), "nothing moved for"),
        ("slow-body", Manifest, endless(ENDLESS, b"1\r\nx\r\n".into(), SLOW), "not finished after 2s"),
        ("only-hints", Session, endless("", b"HTTP/1.1 100 Continue\r\n\r\n".into(), SLOW), "nothing moved for"),
        ("endless", Manifest, endless(ENDLESS, chunk(1 << 20), NO_PAUSE), "the answer is larger than 8388608 bytes"),
        ("gigabyte", Manifest, endless(GIGABYTE, vec![b'['; 1 << 20], NO_PAUSE), "is larger than 8388608 bytes"),
        ("many-headers", Session, fixed("202 Accepted", many_headers, ""), "connection-broken: uploading the blob"),
        ("large-header", Session, fixed("202 Accepted", large_header, ""), "connection-broken: uploading the blob"),
        ("circle", Tag, Box::new(to_itself), "after five other redirects"),
        (
            "to-a-file",
            Tag,
            fixed("307 Found", "Location: file:///etc/passwd\r\n", ""),
            "`file:///etc/passwd`, which is not",
        ),
        (
            "upload-to-a-file",
            Session,
            fixed("202 Accepted", "Location: file:///etc/passwd\r\n", ""),
            "which is not https",
        ),
        (
            "to-the-cloud",
            Tag,
            fixed("307 Found", "Location: http://169.254.169.254/latest/meta-data/\r\n", ""),
            "`http://169.254.169.254/latest/meta-data/`, which is an address of this machine's own network only",
        ),
        (
            "upload-to-the-cloud",
            Session,
            fixed("202 Accepted", "Location: http://[fe80::1]/token\r\n", ""),
            "which is an address of this machine's own network only",
        ),
        (
            "token-from-the-cloud",
            Root,
            fixed("401 Unauthorized", "WWW-Authenticate: Bearer realm=\"http://169.254.169.254/token\"\r\n", ""),
            "which is an address of this machine's own network only",
        ),
        (
            "always-other-challenges",
            Tag,
            fixed("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", ""),
            "not-logged-in: logging in to",
        ),
        (
            "no-challenge",
            Tag,
            fixed("401 Unauthorized", "WWW-Authenticate: Bearer realm=\"not a url\"\r\n", ""),
            "not-logged-in: logging in to",
        ),
        ("other-length", Blob, fixed("200 OK", "", "short"), "registry-lost-blob"),
        ("longer-than-it-is", Manifest, Box::new(cut_off), "connection-broken: pushing the manifest"),
        (
            "no-digest",
            Manifest,
            fixed("201 Created", "Docker-Content-Digest: sha256:12\r\n", ""),
            "is not a sha256 digest",
        ),
        (
            "other-digest-of-a-blob",
            Upload,
            fixed("201 Created", "Docker-Content-Digest: sha256:feed\r\n", ""),
            "digest-differs: uploading the blob",
        ),
        ("other-digest", Manifest, Box::new(of_something_else), "digest-differs: pushing the manifest"),
        ("a-year", Tag, fixed("429 Too Many Requests", "Retry-After: 31536000\r\n", ""), "429 Too Many Requests"),
        (
            "for-ever",
            Tag,
            fixed("503 Service Unavailable", "Retry-After: 18446744073709551615\r\n", ""),
            "503 Service Unavailable",
        ),
        (
            "next-century",
            Tag,
            fixed("503 Service Unavailable", "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT\r\n", ""),
            "503 Service Unavailable",
        ),
        ("log-in-here", Tag, fixed("200 OK", "Content-Type: text/html\r\n", "<html>"), "the answer is not a manifest"),
        (
            "log-in-there",
            Manifest,
            fixed("200 OK", "Content-Type: text/html\r\n", "<html>"),
            "the registry has `nothing`",
        ),
        (
            "other-protocol",
            Session,
            fixed("101 Switching Protocols", "Upgrade: x\r\nConnection: upgrade\r\n", ""),
            "101",
        ),
        ("no-session", Session, fixed("202 Accepted", "", ""), "the answer has no usable `Location`"),
    ];
    let (mut running, mut tried, mut wrong) = (tokio::task::JoinSet::new(), 0, Vec::new());
    for (name, question, reply, expected) in cases {
        let registry = Arc::clone(&registry);
        running.spawn(async move { (name, expected, outcome(&registry, name, question, reply).await) });
    }
    while let Some(outcome) = running.join_next().await {
        let (name, expected, found) = outcome.unwrap();
        // As it is before it is wrapped for a terminal.
        let found = found.replace('│', " ").split_whitespace().collect::<Vec<_>>().join(" ");
        if !found.contains(expected) || found.len() > 2_000 {
            wrong.push(format!("{name}: {found}"));
        }
        assert_eq!(registry.stored(&format!("acme/{name}"), "1"), None, "{name}");
        tried += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{tried} ways to do harm: each ended in its error, and moved no tag");
}

fn chunk(size: usize) -> Vec<u8> {
    format!("{size:x}\r\n{}\r\n", "x".repeat(size)).into_bytes()
}

fn to_itself(request: &mut Request) -> Vec<u8> {
    answer("307 Temporary Redirect", &format!("Location: {}\r\n", request.target), "")
}

fn cut_off(request: &mut Request) -> Vec<u8> {
    request.read_body(usize::MAX);
    let digest = Digest::of(&request.body);
    format!("HTTP/1.1 201 Created\r\nDocker-Content-Digest: {digest}\r\nContent-Length: 50\r\n\r\n{{}}").into_bytes()
}

fn of_something_else(request: &mut Request) -> Vec<u8> {
    request.read_body(usize::MAX);
    answer("201 Created", &format!("Docker-Content-Digest: {}\r\n", Digest::of(b"x")), "")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_tags_that_does_not_end_is_an_error() {
    let session = Session::new(keychain(&[]), quick(), &Ui::new(Verbosity::Quiet));
    let tags = async |page: fn(usize) -> String| {
        let count = AtomicUsize::new(0);
        let server = Server::start(move |request| match request.target.contains("/tags/list") {
            true => {
                let link = page(count.fetch_add(1, Ordering::SeqCst));
                answer("200 OK", &format!("Link: <{link}>; rel=\"next\"\r\n"), r#"{"name":"x","tags":["1"]}"#)
            }
            false => answer("200 OK", "", "{}"),
        });
        let repository = session.client("r", &server.host, false).unwrap().repository_to_read("todo").await.unwrap();
        repository.tags().await.unwrap_err().to_string()
    };
    let same = tags(|_| "/v2/todo/tags/list?n=1000".to_owned()).await;
    assert!(same.contains("the list has no end"), "{same}");
    let another = tags(|number| format!("/v2/todo/tags/list?n=1000&last={number}")).await;
    assert!(another.contains("the list has no end"), "{another}");
    let elsewhere = tags(|_| "http://169.254.169.254/v2/todo/tags/list".to_owned()).await;
    assert!(elsewhere.contains("which is an address of this machine's own network only"), "{elsewhere}");
}
