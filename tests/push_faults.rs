//! Every fault at every request of a push: the outcome is complete and right, or an error with the tags as they were;
//! and the same push again completes it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::faults::Fault;
use common::http::{Server, forward};
use common::layout::layer;
use common::push::{Setup, limits, messages};
use common::registry::{Auth, Registry};
use rhdh_pack::config;
use rhdh_pack::digest::Digest;
use rhdh_pack::push::{self, Pushed};
use rhdh_pack::registry::Limits;

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

/// The images of this test: each in a repository of its own, where one of its tags is moved from an old image.
const NAMES: [&str; 2] = ["one", "two"];

/// Layers are large enough to be looked for before they are uploaded, and configs small enough to be mounted instead.
fn new_setup(prefix: &str) -> Setup {
    let mut setup = Setup { overwrite: true, limits: quick(), ..Setup::new() };
    for (name, seed) in NAMES.into_iter().zip(100..) {
        setup.image(name, &layer(seed, 80_000), &["1.0.0", "next"], &[prefix]);
    }
    setup
}

/// Where the tags point; everything below them is there.
fn tags_of(registry: &Registry, namespace: &str, name: &str) -> BTreeMap<String, Digest> {
    let digest = |tag| registry.stored(&format!("{namespace}/{name}"), tag);
    ["1.0.0", "next"].into_iter().filter_map(|tag| Some((tag.to_owned(), digest(tag)?))).collect()
}

/// Where the images stand that every case begins with.
const OLD: &str = "old";

async fn case_holds(registry: &Registry, case: Case) -> bool {
    let namespace = format!("case-{}", fastrand::u64(..));
    registry.copy_namespace(OLD, &namespace);
    let state = |name: &str| tags_of(registry, &namespace, name);
    let old_digest = state("one").remove("next").unwrap();

    let (server, _count) = proxy(&registry.host, Some(case));
    let mut setup = new_setup(&format!("{}/{namespace}", server.host));
    let outcome = setup.push().await;
    let complete = match &outcome {
        Ok(pushed) => check(&setup, pushed, &old_digest, &state, case),
        Err(error) => {
            assert!(matches!(error, push::Error::Registries { .. }), "{case:?} {error}");
            for name in NAMES {
                assert_eq!(state(name), BTreeMap::from([("next".to_owned(), old_digest.clone())]), "{case:?}");
            }
            false
        }
    };

    // The same again, over a network without faults: all is as it should be.
    setup.limits = limits();
    for artifact in &mut setup.artifacts {
        let prefix = format!("{}/{namespace}", registry.host);
        artifact.registries[0].1 = config::Registry::Oci { prefix, insecure: false };
    }
    assert_eq!(messages(&setup.push().await.unwrap()), Vec::<String>::new(), "{case:?}");
    for artifact in &setup.artifacts {
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
    for name in NAMES {
        old.image(name, &layer(1, 1000), &["next"], &[&format!("{}/{OLD}", registry.host)]);
    }
    assert_eq!(messages(&old.push().await.unwrap()), Vec::<String>::new());
    // How many requests there are: a push without faults.
    let (server, count) = proxy(&registry.host, None);
    let setup = new_setup(&format!("{}/clean", server.host));
    assert_eq!(messages(&setup.push().await.unwrap()), Vec::<String>::new());
    let requests = count.load(Ordering::SeqCst);

    let once = FAULTS.into_iter().flat_map(|fault| (0..requests).map(move |at| Case { fault, at, forever: false }));
    let for_ever = LASTING.into_iter().flat_map(|fault| (0..requests).map(move |at| Case { fault, at, forever: true }));
    // Those that wait most of the time keep no others waiting.
    let [busy, waiting] = [(); 2].map(|()| Arc::new(tokio::sync::Semaphore::new(12)));
    let mut running = tokio::task::JoinSet::new();
    for case in once.chain(for_ever) {
        let slots = Arc::clone(if case.fault == Fault::Silent { &waiting } else { &busy });
        let registry = Arc::clone(&registry);
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
