//! Registries with ways of their own: tokens, chunks, mounts, redirects, limits, little disk, nothing to write.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::certificates::Certificate;
use common::http::{Received, Server, answer, forward};
use common::layout::layer;
use common::push::{Setup, messages};
use common::registry::{Auth, Registry};
use common::tokens;
use rhdh_pack::push::State;
use tempfile::TempDir;

const NOTHING: Vec<String> = Vec::new();

/// A registry that wants tokens, its token server, and the folder of their certificate.
fn token_registry(seconds: u64) -> (Registry, Server, TempDir) {
    let folder = TempDir::new().unwrap();
    let certificate = Certificate::new(folder.path());
    let file = certificate.certificate.clone();
    let server = tokens::start(certificate, seconds);
    let realm = format!("http://{}/token", server.host);
    (Registry::start(Auth::Token { realm, certificate: file }), server, folder)
}

fn user(setup: &mut Setup) {
    setup.variables = vec![
        ("RHDH_PACK_R0_USERNAME", "ann"),
        ("RHDH_PACK_R0_PASSWORD", "s3cret-pass"),
        ("RHDH_PACK_R1_USERNAME", "ann"),
        ("RHDH_PACK_R1_PASSWORD", "s3cret-pass"),
    ];
}

fn received(server: &Server) -> Vec<Received> {
    server.received.lock().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_with_tokens() {
    let (registry, server, _folder) = token_registry(300);
    let mut setup = Setup::new();
    let image = setup.image("todo", &layer(1, 100_000), &["1.0.0", "next"], &[&format!("{}/acme", registry.host)]);
    let error = setup.push().await.unwrap_err();
    assert!(error.is_environment());
    let text = format!("{:?}", miette::Report::new(error));
    assert!(text.contains("incorrect username or password"), "{text}");

    user(&mut setup);
    server.received.lock().unwrap().clear();
    let pushed = setup.push().await.unwrap();
    assert_eq!(messages(&pushed), NOTHING);
    assert_eq!(pushed[0].images[0].tags, ["1.0.0", "next"]);
    // One token for the repository, however many requests wanted it at once.
    assert_eq!(received(&server).len(), 1);
    let digest = registry.skopeo_digest("acme/todo", "next", &["--creds", tokens::USER]);
    assert_eq!(digest.as_deref(), Some(image.digest.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_token_is_exchanged() {
    let (registry, server, folder) = token_registry(300);
    let auth = serde_json::json!({ "auths": { &registry.host: {
        "auth": STANDARD.encode("00000000-0000-0000-0000-000000000000:"), "identitytoken": tokens::IDENTITY,
    }}});
    std::fs::write(folder.path().join("auth.json"), auth.to_string()).unwrap();
    let path = folder.path().join("auth.json").display().to_string().leak();
    let mut setup = Setup { variables: vec![("REGISTRY_AUTH_FILE", path)], ..Setup::new() };
    setup.image("todo", &layer(1, 1000), &["1"], &[&registry.host]);
    assert_eq!(messages(&setup.push().await.unwrap()), NOTHING);
    assert!(received(&server).iter().all(|request| request.method == "POST"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_in_the_middle_is_renewed() {
    let (registry, tokens, _folder) = token_registry(300);
    // The first upload finds a token that is not good any more.
    let challenge = format!(
        "WWW-Authenticate: Bearer realm=\"http://{}/token\",service=\"registry\",error=\"invalid_token\"\r\n",
        tokens.host
    );
    let (upstream, first) = (registry.host.clone(), OnceLock::new());
    let proxy = Server::start(move |request| {
        let late = request.method == "PUT" && (request.target.contains("/uploads/") || request.target.ends_with("/1"));
        let token = request.header("authorization").map(str::to_owned);
        if late && first.get_or_init(|| token.clone()) == &token {
            request.read_body(usize::MAX);
            return answer("401 Unauthorized", &challenge, r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#);
        }
        forward(&upstream, request)
    });
    let mut setup = Setup::new();
    user(&mut setup);
    let image = setup.image("todo", &layer(1, 100_000), &["1"], &[&proxy.host]);
    assert_eq!(messages(&setup.push().await.unwrap()), NOTHING);
    assert_eq!(received(&tokens).len(), 2);
    let digest = registry.skopeo_digest("todo", "1", &["--creds", tokens::USER]);
    assert_eq!(digest.as_deref(), Some(image.digest.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_renewed_before_they_end() {
    let (registry, tokens, _folder) = token_registry(0);
    let mut setup = Setup::new();
    user(&mut setup);
    setup.image("todo", &layer(1, 1000), &["1"], &[&registry.host]);
    assert_eq!(messages(&setup.push().await.unwrap()), NOTHING);
    assert!(received(&tokens).len() > 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_are_uploaded_once_for_all_repositories_of_a_host() {
    let (registry, tokens, _folder) = token_registry(300);
    let upstream = registry.host.clone();
    let proxy = Server::start(move |request| forward(&upstream, request));
    let mut setup = Setup::new();
    user(&mut setup);
    let prefixes = [format!("{}/acme-pr", proxy.host), format!("{}/acme", proxy.host)];
    let image = setup.image("todo", &layer(1, 500_000), &["1"], &[&prefixes[0], &prefixes[1]]);
    let pushed = setup.push().await.unwrap();
    assert_eq!(messages(&pushed), NOTHING);
    for name in ["acme/todo", "acme-pr/todo"] {
        let digest = registry.skopeo_digest(name, "1", &["--creds", tokens::USER]);
        assert_eq!(digest.as_deref(), Some(image.digest.as_str()));
    }
    let requests = received(&proxy);
    let uploads = requests.iter().filter(|request| request.method == "PUT" && request.target.contains("/uploads/"));
    assert_eq!(uploads.count(), 2, "the config and the layer, once each");
    // The first of all asks with a mount whether the config is there already: that is from the repository itself.
    let mounts = requests.iter().filter(|request| request.target.contains("mount=sha256%3A"));
    let from_each_other = |request: &&Received| {
        let (_, from) = request.target.split_once("&from=").unwrap();
        !request.target.starts_with(&format!("/v2/{}/blobs/", from.replace("%2F", "/")))
    };
    assert_eq!(mounts.filter(from_each_other).count(), 2);
    let both = received(&tokens).into_iter().filter(|request| request.target.matches("scope=").count() == 2);
    assert_eq!(both.count(), 1, "one token for both repositories");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_copied_from_registry_to_registry() {
    let near = Registry::start(Auth::Basic { username: "ann", password: "s3cret-pass" });
    let far = Registry::start(Auth::Open);
    // The far registry's storage is elsewhere, as that of the hosted ones.
    let storage = far.host.clone();
    let storage = Server::start(move |request| forward(&storage, request));
    let (upstream, elsewhere) = (far.host.clone(), storage.host.clone());
    let far_front = Server::start(move |request| {
        if request.method == "GET" && request.target.contains("/blobs/") {
            let location = format!("Location: http://{elsewhere}{}\r\n", request.target);
            return answer("307 Temporary Redirect", &location, "");
        }
        forward(&upstream, request)
    });
    let mut setup = Setup::new();
    user(&mut setup);
    let image = setup.image("todo", &layer(1, 3_000_000), &["1-pr"], &[&far_front.host]);
    assert_eq!(messages(&setup.push().await.unwrap()), NOTHING);

    // From here on there is no layout: everything comes from the registry.
    std::fs::remove_dir_all(setup.output.path().join("oci")).unwrap();
    let source = setup.artifacts[0].registries[0].clone();
    let mut copied = common::push::artifact("todo", Some(image.clone()), None, &["1"], &[&near.host]);
    copied.source = Some(("far".to_owned(), source.1.clone()));
    setup.artifacts = vec![copied];
    let pushed = setup.push().await.unwrap();
    assert_eq!(messages(&pushed), NOTHING);
    assert_eq!(pushed[0].images[0].state, State::New);
    let digest = near.skopeo_digest("todo", "1", &["--creds", "ann:s3cret-pass"]);
    assert_eq!(digest.as_deref(), Some(image.digest.as_str()));
    assert_eq!(received(&storage).len(), 2, "the config and the layer");

    // Within one host nothing is read: the blobs are mounted.
    let promoted = format!("{}/release", far_front.host);
    let mut copied = common::push::artifact("todo", Some(image.clone()), None, &["1"], &[&promoted]);
    copied.source = Some(("r0".to_owned(), source.1));
    setup.artifacts = vec![copied];
    setup.variables = Vec::new();
    assert_eq!(messages(&setup.push().await.unwrap()), NOTHING);
    assert_eq!(far.skopeo_digest("release/todo", "1", &[]).as_deref(), Some(image.digest.as_str()));
    assert_eq!(received(&storage).len(), 2);

    // What is not there any more is said.
    let gone = rhdh_pack::digest::Digest::of(b"gone");
    setup.artifacts[0].image.as_mut().unwrap().digest = gone;
    let found = messages(&setup.push().await.unwrap());
    assert!(found[0].contains("has no image"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_that_is_not_made_becomes_an_upload() {
    let registry = Registry::start(Auth::Open);
    // A registry that knows no mounts opens an upload instead, does not like the question at all, or lies.
    let refusals = ["405 Method Not Allowed", "500 Internal Server Error", "403 Forbidden", "201 Created"];
    for (seed, refusal) in (0..).zip(std::iter::once(None).chain(refusals.map(Some))) {
        let upstream = registry.host.clone();
        let proxy = Server::start(move |request| {
            if request.target.contains("mount=") {
                if let Some(status) = refusal {
                    return answer(status, "", "");
                }
                let plain = request.target.split('?').next().unwrap().to_owned();
                request.head = request.head.replacen(&request.target, &plain, 1);
            }
            forward(&upstream, request)
        });
        let mut setup = Setup::new();
        let prefixes = [format!("{}/a{seed}", proxy.host), format!("{}/b{seed}", proxy.host)];
        setup.image("todo", &layer(seed, 100_000), &["1"], &[&prefixes[0], &prefixes[1]]);
        assert_eq!(messages(&setup.push().await.unwrap()), NOTHING);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_takes_small_pieces_only() {
    for status in ["413 Payload Too Large", "416 Range Not Satisfiable"] {
        let registry = Registry::start(Auth::Open);
        let upstream = registry.host.clone();
        // As GHCR: nothing above 4 MiB in one request.
        let proxy = Server::start(move |request| {
            if request.length() > 4 * 1024 * 1024 { answer(status, "", "") } else { forward(&upstream, request) }
        });
        let mut setup = Setup::new();
        let image = setup.image("todo", &layer(1, 9_000_000), &["1"], &[&proxy.host]);
        assert_eq!(messages(&setup.push().await.unwrap()), NOTHING);
        let pieces: Vec<_> = received(&proxy)
            .iter()
            .filter(|request| request.method == "PATCH")
            .map(|request| request.body.len())
            .collect();
        assert_eq!(pieces.len(), 3, "{pieces:?}");
        assert_eq!(registry.skopeo_digest("todo", "1", &[]).as_deref(), Some(image.digest.as_str()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_are_redirected_carry_no_credentials() {
    let registry = Arc::new(Registry::start(Auth::Open));
    // Elsewhere: a storage that takes uploads without asking who it is.
    let upstream = registry.host.clone();
    let storage = Server::start(move |request| forward(&upstream, request));
    // The registry asks for a password, and sends uploads elsewhere: some by `Location`, some by redirect.
    let (upstream, elsewhere) = (registry.host.clone(), storage.host.clone());
    let front = Server::start(move |request| {
        if request.header("authorization").and_then(common::certificates::basic).as_deref() != Some("ann:s3cret-pass") {
            request.read_body(usize::MAX);
            return answer("401 Unauthorized", "WWW-Authenticate: Basic realm=\"test\"\r\n", "");
        }
        if request.method == "PUT" && request.target.contains("/uploads/") {
            request.read_body(usize::MAX);
            let location = format!("Location: http://{elsewhere}{}\r\n", request.target);
            return answer("307 Temporary Redirect", &location, "");
        }
        let reply = String::from_utf8(forward(&upstream, request)).unwrap();
        if request.method == "POST" {
            let host = request.header("host").unwrap();
            return reply.replacen(&format!("http://{host}/"), &format!("http://{elsewhere}/"), 1).into_bytes();
        }
        reply.into_bytes()
    });
    let mut setup = Setup::new();
    user(&mut setup);
    let image = setup.image("todo", &layer(1, 100_000), &["1"], &[&front.host]);
    assert_eq!(messages(&setup.push().await.unwrap()), NOTHING);
    assert_eq!(registry.skopeo_digest("todo", "1", &[]).as_deref(), Some(image.digest.as_str()));
    let taken = received(&storage);
    assert_eq!(taken.len(), 2);
    for request in taken {
        assert!(!request.head.to_ascii_lowercase().contains("authorization"), "{}", request.head);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_redirect_gets_nothing() {
    // Everything is redirected to a server that asks for credentials and keeps what it gets.
    let thief = Server::start(|request| {
        request.read_body(usize::MAX);
        answer("401 Unauthorized", "WWW-Authenticate: Basic realm=\"please\"\r\n", "")
    });
    let elsewhere = thief.host.clone();
    let front = Server::start(move |request| {
        request.read_body(usize::MAX);
        if request.header("authorization").is_none() {
            return answer("401 Unauthorized", "WWW-Authenticate: Basic realm=\"test\"\r\n", "");
        }
        if request.target == "/v2/" {
            return answer("200 OK", "", "{}");
        }
        let location = format!("Location: http://{elsewhere}{}\r\n", request.target);
        answer("307 Temporary Redirect", &location, "")
    });
    let mut setup = Setup::new();
    user(&mut setup);
    setup.image("todo", &layer(1, 1000), &["1"], &[&front.host]);
    let found = messages(&setup.push().await.unwrap());
    assert_eq!(found.len(), 1);
    let taken = received(&thief);
    assert!(!taken.is_empty());
    for request in taken {
        assert!(!request.head.to_ascii_lowercase().contains("authorization"), "{}", request.head);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_gets_no_more_requests_at_once_than_it_may() {
    let registry = Registry::start(Auth::Open);
    let (upstream, at_once, most) = (registry.host.clone(), AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let proxy = Server::start(move |request| {
        seen.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(2));
        let reply = forward(&upstream, request);
        at_once.fetch_sub(1, Ordering::SeqCst);
        reply
    });
    let mut setup = Setup::new();
    setup.limits.parallel = 3;
    for number in 0..12 {
        setup.image(&format!("plugin-{number}"), &layer(number, 1000), &["1", "2"], &[&proxy.host]);
    }
    assert_eq!(messages(&setup.push().await.unwrap()), NOTHING);
    let most = most.load(Ordering::SeqCst);
    assert!((2..=3).contains(&most), "{most}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_already_costs_one_question() {
    let registry = Registry::start(Auth::Basic { username: "ann", password: "s3cret-pass" });
    let upstream = registry.host.clone();
    let proxy = Server::start(move |request| forward(&upstream, request));
    let mut setup = Setup::new();
    user(&mut setup);
    for number in 0..10 {
        setup.image(&format!("plugin-{number}"), &layer(number, 1000), &["1"], &[&proxy.host]);
    }
    assert_eq!(messages(&setup.push().await.unwrap()), NOTHING);
    proxy.received.lock().unwrap().clear();
    let again = setup.push().await.unwrap();
    assert!(again.iter().all(|pushed| pushed.images[0].state == State::AlreadyThere));
    let requests = received(&proxy);
    let heads = requests.iter().filter(|request| request.method == "HEAD").count();
    assert_eq!((heads, requests.len()), (10, 12), "one HEAD each; finding the registry, and the login");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_cannot_be_written_says_so() {
    let read_only = "  maintenance:\n    readonly:\n      enabled: true\n";
    let registry = Registry::start_with(Auth::Open, "", read_only);
    let mut setup = Setup::new();
    setup.image("todo", &layer(1, 1000), &["1"], &[&registry.host]);
    let pushed = setup.push().await.unwrap();
    let failure = &pushed[0].failures[0];
    assert!(failure.message.contains("405"), "{failure:?}");
    assert!(failure.help.as_ref().unwrap().contains("read-only"), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_whose_disk_is_full_keeps_its_tags() {
    let registry = Registry::start_small(4);
    let mut old = Setup { overwrite: true, ..Setup::new() };
    let image = old.image("todo", &layer(1, 1_000_000), &["next"], &[&registry.host]);
    assert_eq!(messages(&old.push().await.unwrap()), NOTHING);

    let mut new = Setup { overwrite: true, ..Setup::new() };
    new.limits.attempts = 2;
    new.image("todo", &layer(2, 6_000_000), &["next"], &[&registry.host]);
    new.image("other", &layer(3, 1000), &["next"], &[&registry.host]);
    let pushed = new.push().await.unwrap();
    let failure = &pushed[0].failures[0];
    // Which of the two the registry says depends on the piece at which its disk was full.
    assert!(
        ["500 Internal Server Error", "DIGEST_INVALID"].iter().any(|said| failure.message.contains(said)),
        "{failure:?}"
    );
    let help = failure.help.as_ref().unwrap();
    assert!(help.contains("disk is full") || help.contains("disk may be full"), "{failure:?}");
    // The other image may have found room before.
    assert!(["held-back", "registry-refused"].contains(&pushed[1].failures[0].code.as_str()), "{pushed:?}");
    assert_eq!(registry.skopeo_digest("other", "next", &[]), None);
    assert_eq!(registry.skopeo_digest("todo", "next", &[]).as_deref(), Some(image.digest.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_nobody_knows_is_said_to_be_one() {
    let mut setup = Setup::new();
    setup.limits.attempts = 2;
    setup.image("todo", &layer(1, 1000), &["1"], &["registry.invalid/acme"]);
    let error = setup.push().await.unwrap_err();
    assert!(error.is_environment());
    let text = format!("{:?}", miette::Report::new(error));
    let text = text.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ");
    assert!(text.contains("reaching `registry.invalid`"), "{text}");
    assert!(text.contains("whether this machine can resolve names"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_of_servers_do_not_matter() {
    let (registry, tokens, _folder) = token_registry(300);
    // The token server's clock is decades off, in either direction.
    for issued in ["1994-11-06T08:49:37Z", "2094-11-06T08:49:37Z"] {
        let upstream = tokens.host.clone();
        let wrong = Server::start(move |request| {
            let reply = String::from_utf8(forward(&upstream, request)).unwrap();
            let body = reply.split_once("\r\n\r\n").unwrap().1;
            let mut token: serde_json::Value = serde_json::from_str(body).unwrap();
            token["issued_at"] = issued.into();
            answer("200 OK", "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", &token.to_string())
        });
        // The registry sends its clients to that server.
        let (upstream, own, others) = (registry.host.clone(), tokens.host.clone(), wrong.host.clone());
        let front = Server::start(move |request| {
            let reply = forward(&upstream, request);
            match String::from_utf8(reply) {
                Ok(text) => text.replace(&own, &others).into_bytes(),
                Err(error) => error.into_bytes(),
            }
        });
        let mut setup = Setup::new();
        user(&mut setup);
        setup.image(&format!("todo-{}", &issued[..2]), &layer(1, 1000), &["1"], &[&front.host]);
        assert_eq!(messages(&setup.push().await.unwrap()), NOTHING, "{issued}");
        assert_eq!(received(&wrong).len(), 1, "{issued}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn registries_own_refusals_are_translated() {
    for (status, code, help) in [
        ("403 Forbidden", "DENIED", "give it write permission"),
        ("404 Not Found", "NAME_UNKNOWN", "create the repository there first"),
        ("400 Bad Request", "NAME_INVALID", "correct the namespace"),
        ("429 Too Many Requests", "TOOMANYREQUESTS", "limits how often"),
        ("507 Insufficient Storage", "QUOTA", "storage or quota"),
        ("405 Method Not Allowed", "UNSUPPORTED", "read-only"),
    ] {
        let server = Server::start(move |request| {
            request.read_body(usize::MAX);
            match request.method.as_str() {
                "GET" => answer("200 OK", "", "{}"),
                "HEAD" => answer("404 Not Found", "", ""),
                _ => answer(status, "", &format!(r#"{{"errors":[{{"code":"{code}","message":"no"}}]}}"#)),
            }
        });
        let mut setup = Setup::new();
        setup.limits.attempts = 2;
        setup.image("todo", &layer(1, 1000), &["1"], &[&server.host]);
        let pushed = setup.push().await.unwrap();
        let failure = &pushed[0].failures[0];
        assert!(failure.message.contains(&format!("{status}: {code}: no")), "{failure:?}");
        assert!(failure.help.as_ref().unwrap().contains(help), "{failure:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_kept() {
    let registry = Registry::start(Auth::Open);
    let (upstream, asked) = (registry.host.clone(), std::sync::Mutex::new(None));
    let proxy = Server::start(move |request| {
        let mut asked = asked.lock().unwrap();
        if request.method == "HEAD" {
            let first = asked.get_or_insert_with(std::time::Instant::now);
            if first.elapsed() < Duration::from_secs(1) {
                return answer("429 Too Many Requests", "Retry-After: 1\r\n", "");
            }
        }
        drop(asked);
        forward(&upstream, request)
    });
    let mut setup = Setup::new();
    setup.limits.attempts = 2;
    setup.image("todo", &layer(1, 1000), &["1"], &[&proxy.host]);
    assert_eq!(messages(&setup.push().await.unwrap()), NOTHING);

    // What a registry may not do is keep a run for hours.
    let server = Server::start(|request| match request.method.as_str() {
        "GET" => answer("200 OK", "", "{}"),
        _ => answer("429 Too Many Requests", "Retry-After: 7200\r\n", ""),
    });
    let mut setup = Setup::new();
    setup.image("todo", &layer(1, 1000), &["1"], &[&server.host]);
    let started = std::time::Instant::now();
    let found = messages(&setup.push().await.unwrap());
    assert!(found[0].contains("429"), "{found:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_runs_at_once_on_one_version_one_wins() {
    let registry = Registry::start(Auth::Open);
    for round in 0..8 {
        let name = format!("todo-{round}");
        let mut one = Setup::new();
        let mut two = Setup::new();
        one.limits.settle = Duration::from_millis(300);
        two.limits.settle = Duration::from_millis(300);
        one.image(&name, &layer(2 * round, 1000), &["1.0.0"], &[&registry.host]);
        two.image(&name, &layer(2 * round + 1, 1000), &["1.0.0"], &[&registry.host]);
        let (first, second) = tokio::join!(one.push(), two.push());
        let outcomes = [(one, first.unwrap()), (two, second.unwrap())];
        let winner = registry.skopeo_digest(&name, "1.0.0", &[]).unwrap();
        for (setup, pushed) in &outcomes {
            let found = messages(pushed);
            if setup.artifacts[0].image.as_ref().unwrap().digest.as_str() == winner {
                assert_eq!(found, NOTHING, "round {round}");
            } else {
                assert!(found.len() == 1 && found[0].starts_with("tag-exists: "), "round {round}: {found:?}");
                assert_eq!(pushed[0].images.iter().map(|image| image.tags.len()).sum::<usize>(), 0, "round {round}");
            }
        }
    }
}
