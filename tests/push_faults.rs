//! Every fault at every request of a push: the outcome is complete and right, or an error with the tags as they were;
//! and the same push again completes it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::http::{Request as Asked, Server, answer, forward};
use common::layout::layer;
use common::push::{Setup, limits, messages};
use common::registry::{Auth, Registry, get};
use rhdh_pack::digest::Digest;
use rhdh_pack::push::{self, Pushed};
use rhdh_pack::registry::Limits;

/// What a registry, or the network before it, does wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
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

const FAULTS: [Fault; 18] = [
    Fault::Closed,
    Fault::Reset,
    Fault::AnswerLost,
    Fault::Truncated,
    Fault::Garbage,
    Fault::WebPage,
    Fault::Status("408 Request Timeout"),
    Fault::Status("429 Too Many Requests"),
    Fault::Status("500 Internal Server Error"),
    Fault::Status("502 Bad Gateway"),
    Fault::Status("503 Service Unavailable"),
    Fault::Status("504 Gateway Timeout"),
    Fault::Status("403 Forbidden"),
    Fault::Early,
    Fault::DoneBut500,
    Fault::Silent,
    Fault::Lie,
    Fault::Challenge,
];

/// Those that are also tried as a state that does not end: one of each kind.
const LASTING: [Fault; 7] = [
    Fault::Closed,
    Fault::Garbage,
    Fault::WebPage,
    Fault::Status("503 Service Unavailable"),
    Fault::Silent,
    Fault::Lie,
    Fault::Challenge,
];

impl Fault {
    fn reply(self, upstream: &str, request: &mut Asked) -> Vec<u8> {
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

/// One fault at one place.
#[derive(Clone, Copy, Debug)]
struct Case {
    fault: Fault,
    /// The request, counted from 0.
    at: usize,
    /// Whether all later requests meet it too.
    forever: bool,
}

fn proxy(upstream: &str, case: Option<Case>) -> (Server, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let (counter, upstream) = (Arc::clone(&count), upstream.to_owned());
    let server = Server::start(move |request| {
        let position = counter.fetch_add(1, Ordering::SeqCst);
        match case {
            Some(case) if position == case.at || (case.forever && position > case.at) => {
                case.fault.reply(&upstream, request)
            }
            _ => forward(&upstream, request),
        }
    });
    (server, count)
}

fn quick() -> Limits {
    Limits { attempts: 3, idle: Duration::from_secs(1), first_wait: Duration::from_millis(1), ..limits() }
}

/// The images of this test: two in one repository each, of which one tag is moved from an old image.
fn new_setup(prefix: &str, names: &[String]) -> Setup {
    let mut setup = Setup { overwrite: true, limits: quick(), ..Setup::new() };
    for (position, name) in names.iter().enumerate() {
        let seed = 100 + position as u64;
        setup.image(name, &layer(seed, 60_000), &["1.0.0", "next"], &[prefix]);
    }
    setup
}

/// Where the tags point, after following everything below them.
fn tags_of(host: &str, prefix: &str, name: &str) -> BTreeMap<String, Digest> {
    let mut found = BTreeMap::new();
    for tag in ["1.0.0", "next"] {
        let base = format!("http://{host}/v2/{prefix}/{name}");
        let (status, manifest) = get(&format!("{base}/manifests/{tag}"));
        if status == 404 {
            continue;
        }
        assert_eq!(status, 200);
        let value: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        let blobs = value["layers"].as_array().unwrap().iter().chain([&value["config"]]);
        for blob in blobs {
            let digest = blob["digest"].as_str().unwrap();
            let (status, bytes) = get(&format!("{base}/blobs/{digest}"));
            assert_eq!(status, 200, "the tag {tag} of {name} needs {digest}");
            assert_eq!(Digest::of(&bytes).as_str(), digest);
        }
        found.insert(tag.to_owned(), Digest::of(&manifest));
    }
    found
}

/// Where the images stand that every case begins with.
const OLD: &str = "old";

async fn case_holds(registry: &Registry, case: Case) -> bool {
    let namespace = format!("case-{}", fastrand::u64(..));
    let names: Vec<String> = vec!["one".to_owned(), "two".to_owned()];
    let direct = format!("{}/{namespace}", registry.host);
    registry.copy_namespace(OLD, &namespace);
    let old_digest = tags_of(&registry.host, &namespace, "one").remove("next").unwrap();

    let (server, _count) = proxy(&registry.host, Some(case));
    let setup = new_setup(&format!("{}/{namespace}", server.host), &names);
    let outcome = setup.push().await;
    let host = registry.host.clone();
    let state = |name: &str| tags_of(&host, &namespace, name);
    let complete = match &outcome {
        Ok(pushed) => check(&setup, pushed, &old_digest, &state, case),
        Err(error) => {
            assert!(matches!(error, push::Error::Registries { .. }), "{case:?} {error}");
            for name in &names {
                assert_eq!(state(name), BTreeMap::from([("next".to_owned(), old_digest.clone())]), "{case:?}");
            }
            false
        }
    };

    // The same again, over a network without faults: all is as it should be.
    let again = Setup { limits: limits(), ..new_setup(&direct, &names) };
    assert_eq!(messages(&again.push().await.unwrap()), Vec::<String>::new(), "{case:?}");
    for artifact in &again.artifacts {
        let digest = artifact.image.as_ref().unwrap().digest.clone();
        let expected = BTreeMap::from([("1.0.0".to_owned(), digest.clone()), ("next".to_owned(), digest)]);
        assert_eq!(state(&artifact.id), expected, "{case:?}");
    }
    complete
}

/// What is reported is what stands in the registry. True where all is there.
fn check(
    setup: &Setup,
    pushed: &[Pushed],
    old: &Digest,
    state: &dyn Fn(&str) -> BTreeMap<String, Digest>,
    case: Case,
) -> bool {
    let all_up = pushed.iter().all(|pushed| !pushed.images.is_empty());
    for (artifact, pushed) in setup.artifacts.iter().zip(pushed) {
        let new = &artifact.image.as_ref().unwrap().digest;
        let found = state(&artifact.id);
        let reported = pushed.images.iter().flat_map(|image| &image.tags).collect::<Vec<_>>();
        for tag in &artifact.tags {
            let is_new = found.get(tag) == Some(new);
            let is_old = found.get(tag) == (tag == "next").then_some(old);
            assert!(is_new || is_old, "{case:?}: {tag} is {found:?}");
            assert!(is_new || !reported.contains(&tag), "{case:?}: {tag} is reported, and is old");
            assert!(is_old || all_up, "{case:?}: {tag} was moved before everything was up");
            assert!(is_new || !pushed.failures.is_empty(), "{case:?}: {tag} is old, and nothing is said");
        }
        if pushed.failures.is_empty() {
            assert_eq!(reported.len(), artifact.tags.len(), "{case:?}");
        }
    }
    pushed.iter().all(|pushed| pushed.failures.is_empty())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn every_fault_at_every_request() {
    let registry = Arc::new(Registry::start(Auth::Open));
    let mut old = Setup::new();
    for name in ["one", "two"] {
        old.image(name, &layer(1, 1000), &["next"], &[&format!("{}/{OLD}", registry.host)]);
    }
    assert_eq!(messages(&old.push().await.unwrap()), Vec::<String>::new());
    // How many requests there are: a push without faults.
    let (server, count) = proxy(&registry.host, None);
    let names = ["one".to_owned(), "two".to_owned()];
    let setup = new_setup(&format!("{}/clean", server.host), &names);
    assert_eq!(messages(&setup.push().await.unwrap()), Vec::<String>::new());
    let requests = count.load(Ordering::SeqCst);

    let once = FAULTS.into_iter().flat_map(|fault| (0..requests).map(move |at| Case { fault, at, forever: false }));
    let for_ever = LASTING.into_iter().flat_map(|fault| (0..requests).map(move |at| Case { fault, at, forever: true }));
    let slots = Arc::new(tokio::sync::Semaphore::new(12));
    let mut running = tokio::task::JoinSet::new();
    for case in once.chain(for_ever) {
        let (slots, registry) = (Arc::clone(&slots), Arc::clone(&registry));
        running.spawn(async move {
            let _slot = slots.acquire().await;
            (case, case_holds(&registry, case).await)
        });
    }
    let (mut tried, mut complete, mut once_complete) = (0, 0, 0);
    while let Some(outcome) = running.join_next().await {
        let (case, is_complete) = outcome.unwrap();
        tried += 1;
        complete += usize::from(is_complete);
        once_complete += usize::from(is_complete && !case.forever);
    }
    println!(
        "{tried} cases ({} faults at each of {requests} requests, {} of them also for ever): {complete} complete, {} \
         errors that say what is missing; of those met once {once_complete} complete",
        FAULTS.len(),
        LASTING.len(),
        tried - complete
    );
    // What happens once is got over, but for what is no accident: a refusal, new credentials.
    assert!(once_complete >= (FAULTS.len() - 2) * requests - FAULTS.len(), "{once_complete}");
}
