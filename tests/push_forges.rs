//! Archives as assets of releases on GitHub and as generic packages on GitLab, over HTTP: what is asked, in which
//! order, with which token; and every fault at every request.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use common::forges::{Fault, Forge, Kept, Ways, done};
use common::http::{Request, answer};
use common::layout::{add_tgz, archive_of};
use common::push::{Setup, artifact, limits, messages};
use common::repository::Repository;
use common::rhdh_pack;
use common::tunnel::{HOST, Tunnel};
use rhdh_pack::config::Registry;
use rhdh_pack::push::State;
use rhdh_pack::registry::Limits;
use serde_json::{Value, json};

const NOTHING: Vec<String> = Vec::new();
const TOKEN: &str = "s3cret-token";

fn no_faults() -> Fault {
    Box::new(|_, _| None)
}

fn archive(name: &str, content: &str) -> Vec<u8> {
    archive_of(&json!({ "name": format!("@acme/{name}"), "version": "1.0.0" }), content)
}

/// A push of two archives to GitHub's release `plugins-1.0.0`.
fn to_github(api: &str, content: &str) -> Setup {
    let registry = Registry::GitHubRelease { repository: "acme/plugins".to_owned(), tag: None };
    let mut setup = to(&registry, content);
    for artifact in &mut setup.artifacts {
        artifact.releases = [("files".to_owned(), "plugins/1.0.0".to_owned())].into();
    }
    setup.variables = vec![("GITHUB_API_URL", api.to_owned().leak()), ("GITHUB_TOKEN", TOKEN)];
    setup
}

/// A push of two archives to GitLab's packages.
fn to_gitlab(api: &str, content: &str) -> Setup {
    let mut setup = to(&Registry::GitLabPackages { project: "acme/plugins".to_owned() }, content);
    setup.variables = vec![("CI_API_V4_URL", api.to_owned().leak()), ("CI_JOB_TOKEN", TOKEN)];
    setup
}

fn to(registry: &Registry, content: &str) -> Setup {
    let mut setup = Setup::new();
    for name in ["one", "two"] {
        let tgz = add_tgz(setup.output.path(), &format!("acme-{name}-1.0.0.tgz"), &archive(name, content));
        let mut one = artifact(name, None, Some(tgz), &[], &[]);
        one.registries = vec![("files".to_owned(), registry.clone())];
        setup.artifacts.push(one);
    }
    setup
}

/// Both archives, as everybody can see them.
fn both(content: &str) -> Vec<(String, Vec<u8>)> {
    ["one", "two"].map(|name| (format!("acme-{name}-1.0.0.tgz"), archive(name, content))).into()
}

fn seen(forge: &Forge) -> Vec<(String, Vec<u8>)> {
    forge.kept.lock().unwrap().seen()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_made_filled_and_published_last() {
    let forge = Forge::github(Ways::default(), no_faults());
    let setup = to_github(&forge.api(), "1");
    let pushed = setup.push().await.unwrap();
    assert_eq!(messages(&pushed), NOTHING);
    assert_eq!(seen(&forge), both("1"));
    let file = &pushed[0].files[0];
    let url = format!("{}/acme/plugins/releases/download/plugins/1.0.0/acme-one-1.0.0.tgz", forge.api());
    assert_eq!((file.url.as_deref(), file.state), (Some(url.as_str()), State::New));
    assert_eq!(file.path, "acme-one-1.0.0.tgz");
    assert_eq!(Some(&file.integrity), setup.artifacts[0].tgz.as_ref().map(|tgz| &tgz.integrity));

    // Everything is there before anything has its name, and everything has its name before anybody sees it.
    let changes: Vec<String> = forge.changes();
    let kinds: Vec<&str> = changes.iter().map(|change| change.trim_end_matches(|c: char| c.is_ascii_digit())).collect();
    let base = "/repos/acme/plugins/releases";
    assert_eq!(
        kinds,
        [
            format!("POST {base}"),
            "POST /upload/".to_owned(),
            "POST /upload/".to_owned(),
            format!("PATCH {base}/assets/"),
            format!("PATCH {base}/assets/"),
            format!("PATCH {base}/"),
        ]
    );
    let commit = "1".repeat(40);
    assert_eq!(forge.kept.lock().unwrap().releases[0].commit.as_deref(), Some(commit.as_str()));
    for request in forge.received() {
        assert!(request.head.contains("authorization: Bearer s3cret-token\r\n"), "{}", request.head);
    }

    // Again: nothing is changed, and the same is said.
    forge.server.received.lock().unwrap().clear();
    let again = setup.push().await.unwrap();
    assert_eq!(messages(&again), NOTHING);
    assert_eq!((again[1].files[0].state, &again[1].files[0].url), (State::AlreadyThere, &pushed[1].files[0].url));
    assert_eq!(forge.changes(), NOTHING);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asset_is_replaced_only_where_the_channel_overwrites() {
    for digests in [true, false] {
        let forge = Forge::github(Ways { digests, page: 2 }, no_faults());
        {
            let mut kept = forge.kept.lock().unwrap();
            let release = kept.release("plugins/1.0.0", false, "by hand");
            for number in 0..5 {
                kept.file(release, &format!("other-{number}.zip"), b"other", "uploaded");
            }
            // As large as ours: only reading it tells.
            kept.file(release, "acme-one-1.0.0.tgz", &archive("one", "1"), "uploaded");
            kept.file(release, "acme-two-1.0.0.tgz", &archive("two", "1"), "uploaded");
        }
        let mut setup = to_github(&forge.api(), "2");
        let found = messages(&setup.push().await.unwrap());
        assert!(found[0].starts_with("file-exists: the release `plugins/1.0.0` of `acme/plugins`"), "{found:?}");
        assert_eq!(forge.changes(), NOTHING);

        setup.overwrite = true;
        let pushed = setup.push().await.unwrap();
        assert_eq!(messages(&pushed), NOTHING);
        assert_eq!(seen(&forge)[..2], both("2")[..]);
        assert_eq!(seen(&forge).len(), 7);

        let again = setup.push().await.unwrap();
        assert_eq!(again[0].files[0].state, State::AlreadyThere);
        assert_eq!(forge.storage.received.lock().unwrap().is_empty(), digests);
        for request in forge.storage.received.lock().unwrap().iter() {
            assert!(!request.head.contains(TOKEN), "the token is for the API: {}", request.head);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_run_left_is_used_or_removed() {
    let forge = Forge::github(Ways::default(), no_faults());
    let setup = to_github(&forge.api(), "1");
    // The first upload of a run that was killed was whole, the second not.
    let part = |name: &str| {
        let bytes = archive(name, "1");
        format!("rhdh-pack-part-{}-acme-{name}-1.0.0.tgz", &rhdh_pack::digest::Digest::of(&bytes).hex()[..12])
    };
    {
        let mut kept = forge.kept.lock().unwrap();
        let release = kept.release("plugins/1.0.0", true, "<!-- rhdh-pack -->");
        kept.file(release, &part("one"), &archive("one", "1"), "uploaded");
        kept.file(release, &part("two"), b"", "starter");
        kept.file(release, "rhdh-pack-part-0123456789ab-acme-two-1.0.0.tgz", b"another content", "uploaded");
    }
    assert_eq!(messages(&setup.push().await.unwrap()), NOTHING);
    assert_eq!(seen(&forge), both("1"));
    let uploads = forge.changes().into_iter().filter(|change| change.starts_with("POST /upload/"));
    assert_eq!(uploads.count(), 2, "the second archive, once refused because of what was left, and once more");

    // Somebody's own draft stays one.
    let forge = Forge::github(Ways::default(), no_faults());
    forge.kept.lock().unwrap().release("plugins/1.0.0", true, "not yet");
    let pushed = to_github(&forge.api(), "1").push().await.unwrap();
    assert_eq!(messages(&pushed), NOTHING);
    assert_eq!((seen(&forge).len(), forge.kept.lock().unwrap().files.len()), (0, 2));
    assert_eq!(pushed[0].files[0].url, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_explained() {
    let cases: [(&str, &str, &str, &str, &str); 6] = [
        ("401 Unauthorized", "", r#"{"message":"Bad credentials"}"#, "Bad credentials", "`RHDH_PACK_FILES_TOKEN`"),
        (
            "403 Forbidden",
            "",
            r#"{"message":"Resource not accessible by integration"}"#,
            "not accessible",
            "the token may not do this",
        ),
        (
            "403 Forbidden",
            "X-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 9999999999\r\n",
            r#"{"message":"API rate limit exceeded"}"#,
            "429 Too Many Requests: API rate limit exceeded",
            "wait, then run",
        ),
        ("301 Moved Permanently", "Location: /elsewhere\r\n", r#"{"message":"Moved"}"#, "Moved", "renamed or moved"),
        ("422 Unprocessable Entity", "", r#"{"message":"Validation Failed"}"#, "Validation Failed", ""),
        ("200 OK", "", "<html>please log in</html>", "the answer", ""),
    ];
    for (status, headers, body, message, help) in cases {
        let fault: Fault = Box::new(move |_, request| {
            request.read_body(usize::MAX);
            (request.method == "POST").then(|| answer(status, headers, body))
        });
        let forge = Forge::github(Ways::default(), fault);
        let mut setup = to_github(&forge.api(), "1");
        setup.limits.attempts = 2;
        let pushed = setup.push().await.unwrap();
        let failure = &pushed[0].failures[0];
        assert!(failure.message.contains(message), "{failure:?}");
        assert!(failure.help.as_deref().unwrap_or_default().contains(help), "{failure:?}");
        assert!(!failure.message.contains(TOKEN));
        assert_eq!(seen(&forge), []);
    }
    // Without a token nothing is asked at all.
    let forge = Forge::github(Ways::default(), no_faults());
    let mut setup = to_github(&forge.api(), "1");
    setup.variables.pop();
    let error = setup.push().await.unwrap_err();
    assert!(error.is_environment());
    assert!(format!("{:?}", miette::Report::new(error)).contains("contents: write"));
    assert_eq!(forge.received().len(), 0);
    // And none is sent over plain HTTP to another machine.
    setup.variables = vec![("GITHUB_API_URL", "http://github.acme.dev/api/v3"), ("GITHUB_TOKEN", TOKEN)];
    assert!(format!("{:?}", miette::Report::new(setup.push().await.unwrap_err())).contains("is not an `https://` URL"));
    // No tag, no release.
    setup.variables = vec![("GITHUB_TOKEN", TOKEN)];
    setup.artifacts[0].releases.clear();
    setup.artifacts.truncate(1);
    assert!(messages(&setup.push().await.unwrap())[0].starts_with("release-tag: "));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_address_elsewhere_gets_no_token() {
    let thief = common::http::Server::start(|request| {
        request.read_body(usize::MAX);
        answer("401 Unauthorized", "", "")
    });
    let elsewhere = thief.host.clone();
    let fault: Fault = Box::new(move |_, request| {
        let release = json!({
            "url": "http://x/", "html_url": "http://x/", "assets_url": "http://x/", "id": 1, "node_id": "R",
            "upload_url": format!("http://{elsewhere}/upload{{?name}}"), "tag_name": "plugins/1.0.0",
            "target_commitish": "main", "draft": false, "prerelease": false, "assets": [],
        });
        request.target.contains("/tags/").then(|| answer("200 OK", "", &release.to_string()))
    });
    let forge = Forge::github(Ways::default(), fault);
    let found = messages(&to_github(&forge.api(), "1").push().await.unwrap());
    assert!(found[0].starts_with("not-logged-in: "), "{found:?}");
    let received = thief.received.lock().unwrap();
    assert!(!received.is_empty());
    assert!(received.iter().all(|request| !request.head.contains(TOKEN)));
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_become_generic_packages() {
    for digests in [true, false] {
        let forge = Forge::gitlab(Ways { digests, page: 2 }, no_faults());
        // Others of nearly the same name, which GitLab finds too.
        for number in 0..3 {
            let mut kept = forge.kept.lock().unwrap();
            let other = kept.release(&format!("acme-one-{number}/1.0.0"), false, "");
            kept.file(other, "acme-one-1.0.0.tgz", b"other", "uploaded");
        }
        let mut setup = to_gitlab(&forge.api(), "1");
        let pushed = setup.push().await.unwrap();
        assert_eq!(messages(&pushed), NOTHING);
        let url = format!("{}/projects/acme%2Fplugins/packages/generic/acme-one/1.0.0/acme-one-1.0.0.tgz", forge.api());
        assert_eq!(pushed[0].files[0].url.as_deref(), Some(url.as_str()));
        for request in forge.received() {
            assert!(request.head.contains("job-token: s3cret-token\r\n"), "{}", request.head);
        }
        let puts = forge.changes().len();
        assert_eq!(setup.push().await.unwrap()[0].files[0].state, State::AlreadyThere);
        assert_eq!(forge.changes().len(), puts);

        // A token of one's own goes before the job's.
        let mut other = to_gitlab(&forge.api(), "2");
        other.variables.push(("RHDH_PACK_FILES_TOKEN", "s3cret-own"));
        forge.server.received.lock().unwrap().clear();
        let found = messages(&other.push().await.unwrap());
        assert!(found[0].starts_with("file-exists: the packages of `acme/plugins` have"), "{found:?}");
        assert_eq!(forge.changes(), NOTHING);
        assert!(forge.received().iter().all(|request| request.head.contains("private-token: s3cret-own\r\n")));
        other.overwrite = true;
        assert_eq!(messages(&other.push().await.unwrap()), NOTHING);
        assert_eq!(other.push().await.unwrap()[1].files[0].state, State::AlreadyThere);
        // What is downloaded is the last that was sent.
        setup.overwrite = true;
        assert_eq!(setup.push().await.unwrap()[0].files[0].state, State::New);
    }
    let forge = Forge::gitlab(Ways::default(), Box::new(|_, _| Some(answer("404 Not Found", "", "{}"))));
    let pushed = to_gitlab(&forge.api(), "1").push().await.unwrap();
    assert!(pushed[0].failures[0].help.as_ref().unwrap().contains("may see the project"), "{pushed:?}");
}

/// What a forge, or the network before it, does wrong at one request, or from there on.
const FAULTS: [&str; 11] =
    ["closed", "reset", "lost", "500", "502-done", "429", "403", "401", "422", "garbage", "silent"];

fn reply(fault: &str, request: &mut Request, kept: &Mutex<Kept>, is_github: bool) -> Vec<u8> {
    if fault == "reset" {
        request.read_body(request.length() / 2);
        return Vec::new();
    }
    if fault == "lost" || fault == "502-done" {
        done(kept, request, is_github);
    } else {
        request.read_body(usize::MAX);
    }
    let limit = "Retry-After: 0\r\n";
    match fault {
        "closed" | "lost" => Vec::new(),
        "500" => answer("500 Internal Server Error", "", ""),
        "502-done" => answer("502 Bad Gateway", "", "<html>upstream</html>"),
        "429" => answer("429 Too Many Requests", limit, r#"{"message":"slow down"}"#),
        "403" => answer("403 Forbidden", "", r#"{"message":"no"}"#),
        "401" => answer("401 Unauthorized", "", r#"{"message":"no"}"#),
        "422" => answer("422 Unprocessable Entity", "", r#"{"errors":[{"code":"already_exists"}]}"#),
        "garbage" => answer("200 OK", "", "{}"),
        _ => {
            std::thread::sleep(Duration::from_secs(2));
            Vec::new()
        }
    }
}

/// Whether a push over a forge with this fault is complete. Whatever it is, what can be seen is right, and the same
/// push again completes it.
async fn case_holds(is_github: bool, fault: &'static str, at: usize, forever: bool) -> bool {
    let case = format!("{} {fault} at {at} {forever}", if is_github { "GitHub" } else { "GitLab" });
    let kept: Arc<OnceLock<Arc<Mutex<Kept>>>> = Arc::default();
    let (own, is_over) = (Arc::clone(&kept), Arc::new(AtomicBool::new(false)));
    let over = Arc::clone(&is_over);
    let faults: Fault = Box::new(move |position, request| {
        let meets = (position == at || forever && position > at) && !over.load(Ordering::SeqCst);
        meets.then(|| reply(fault, request, own.get().unwrap(), is_github))
    });
    let forge = match is_github {
        true => Forge::github(Ways::default(), faults),
        false => Forge::gitlab(Ways::default(), faults),
    };
    kept.set(Arc::clone(&forge.kept)).ok().unwrap();
    let mut setup = if is_github { to_github(&forge.api(), "1") } else { to_gitlab(&forge.api(), "1") };
    setup.limits =
        Limits { attempts: 3, idle: Duration::from_secs(1), first_wait: Duration::from_millis(1), ..limits() };
    let outcome = setup.push().await.unwrap();
    let complete = messages(&outcome).is_empty();
    let there = seen(&forge);
    if complete {
        assert_eq!(there, both("1"), "{case}");
    }
    // Nothing that is seen is wrong; and on GitHub, where all can be hidden, nothing is seen before it has its name.
    for (name, bytes) in &there {
        assert!(both("1").contains(&(name.clone(), bytes.clone())), "{case}: {name}");
    }
    is_over.store(true, Ordering::SeqCst);
    setup.limits = Limits { idle: Duration::from_secs(20), ..limits() };
    assert_eq!(messages(&setup.push().await.unwrap()), NOTHING, "{case}");
    let mut there = seen(&forge);
    there.dedup();
    assert_eq!(there, both("1"), "{case}");
    complete
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_fault_at_every_request_of_a_forge() {
    let slots = Arc::new(tokio::sync::Semaphore::new(12));
    let mut running = tokio::task::JoinSet::new();
    for is_github in [true, false] {
        let (forge, setup) = match is_github {
            true => (Forge::github(Ways::default(), no_faults()), to_github as fn(&str, &str) -> Setup),
            false => (Forge::gitlab(Ways::default(), no_faults()), to_gitlab as fn(&str, &str) -> Setup),
        };
        assert_eq!(messages(&setup(&forge.api(), "1").push().await.unwrap()), NOTHING);
        for (fault, at) in FAULTS.iter().flat_map(|fault| (0..forge.received().len()).map(move |at| (*fault, at))) {
            for forever in [false, true] {
                let slots = Arc::clone(&slots);
                running.spawn(async move {
                    let _slot = slots.acquire().await;
                    (fault, at, forever, case_holds(is_github, fault, at, forever).await)
                });
            }
        }
    }
    let (mut tried, mut complete) = (0, 0);
    while let Some(outcome) = running.join_next().await {
        let (fault, at, forever, is_complete) = outcome.unwrap();
        tried += 1;
        complete += usize::from(is_complete);
        // What happens once, and is no refusal, is got over.
        let is_refusal = ["403", "401", "422"].contains(&fault);
        assert!(is_complete || forever || is_refusal, "{fault} at {at}");
    }
    println!("{tried} cases: {complete} complete, the others errors that the same push again mends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_of_an_earlier_run_is_found_behind_many_newer_releases() {
    let forge = Forge::github(Ways::default(), no_faults());
    {
        let mut kept = forge.kept.lock().unwrap();
        for number in 0..130 {
            kept.release(&format!("v{number}"), false, "by hand");
        }
        kept.release("plugins/1.0.0", true, "Plugins.\n\n<!-- rhdh-pack -->");
    }
    let pushed = to_github(&forge.api(), "1").push().await.unwrap();
    assert_eq!(messages(&pushed), NOTHING);
    assert_eq!(seen(&forge), both("1"));
    assert_eq!(forge.kept.lock().unwrap().releases.len(), 131);
}

#[test]
fn the_asset_stands_in_dynamic_plugins_yaml() {
    let forge = Forge::github(Ways::default(), no_faults());
    let repository = Repository::new();
    let manifest = json!({
        "name": "@acme/plugin-todo-backend-dynamic", "version": "1.0.0", "main": "index.js",
        "backstage": { "role": "backend-plugin" },
    });
    let code = "exports.default = { $$type: '@backstage/BackendFeature' };";
    repository
        .write("plugins/todo-backend/dist-dynamic/package.json", manifest.to_string())
        .write("plugins/todo-backend/dist-dynamic/index.js", code)
        .write("plugins/todo-backend/dist-dynamic/dist/configSchema.json", "{}");
    let config = |tag: &str| {
        format!(
            "[registries.downloads]\ngithub-release = \"acme/plugins\"\n{tag}[registries.site]\ndir = \"public\"\n\
             base-url = \"https://plugins.acme.dev\"\n[defaults]\nexport = \"prebuilt\"\nregistries = \
             [\"downloads\", \"site\"]\n[channels.release]\ntags = [\"{{version}}\"]\n[plugins.todo-backend]\npath = \
             \"plugins/todo-backend\"\n"
        )
    };
    let run = || {
        let mut command = rhdh_pack(repository.root());
        command.args(["run", "--channel", "release"]).env("GITHUB_API_URL", forge.api());
        command
    };
    // Nobody says which release it is: this is found out before anything is made.
    repository.config(config(""));
    let output = run().env("GITHUB_TOKEN", TOKEN).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("no tag for the release that `todo-backend` goes to"), "{stderr}");

    // And so is a missing token.
    repository.config(config("tag = \"plugins/{version}\"\n"));
    let output = run().output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!repository.root().join(".rhdh-pack/tgz").exists());

    let output = run().env("GITHUB_TOKEN", TOKEN).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
    let result: Value =
        serde_json::from_slice(&fs_err::read(repository.root().join(".rhdh-pack/result.json")).unwrap()).unwrap();
    let file = &result["plugins"][0]["files"][0];
    let url = file["url"].as_str().unwrap();
    assert!(url.starts_with(&format!("{}/acme/plugins/releases/download/plugins/1.0.0/", forge.api())), "{url}");
    let yaml = fs_err::read_to_string(repository.root().join(".rhdh-pack/dynamic-plugins.yaml")).unwrap();
    assert!(yaml.contains(&format!("package: {url}\n")), "{yaml}");
    assert!(yaml.contains(&format!("integrity: {}\n", file["integrity"].as_str().unwrap())), "{yaml}");
    // The other places are as good: with their integrity, one is taken by copying it.
    let other = &result["plugins"][0]["files"][1];
    let (url, integrity) = (other["url"].as_str().unwrap(), other["integrity"].as_str().unwrap());
    assert!(url.starts_with("https://plugins.acme.dev/"), "{url}");
    assert!(yaml.contains(&format!("  # or: {url}\n  #     integrity: {integrity}\n")), "{yaml}");
    assert_eq!(seen(&forge).len(), 1);

    // The git tag of the run is the release's, where nothing else is said.
    repository.config(config(""));
    let mut command = run();
    command.arg("--all").env("GITHUB_TOKEN", TOKEN).envs([
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_EVENT_NAME", "push"),
        ("GITHUB_REF", "refs/tags/v7"),
        ("GITHUB_REF_TYPE", "tag"),
        ("GITHUB_REF_NAME", "v7"),
    ]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(forge.kept.lock().unwrap().releases.iter().any(|release| release.tag == "v7" && !release.draft));
}

#[test]
fn assets_go_through_the_proxy_to_a_host_of_a_private_authority() {
    let forge = Forge::github(Ways::default(), no_faults());
    let tunnel = Tunnel::to(&forge.server.host);
    let repository = Repository::new();
    repository.config(
        "[registries.files]\ngithub-release = \"acme/plugins\"\ntag = \"v1\"\n[defaults]\nexport = \"prebuilt\"\nregistries = \
         [\"files\"]\n[channels.release]\ntags = [\"{version}\"]\n[plugins.todo-backend]\npath = \"plugins/todo-backend\"\n",
    );
    let manifest = json!({ "name": "@acme/plugin-todo-backend-dynamic", "version": "1.0.0", "main": "index.js", "backstage": { "role": "backend-plugin" } });
    repository
        .write("plugins/todo-backend/dist-dynamic/package.json", manifest.to_string())
        .write(
            "plugins/todo-backend/dist-dynamic/index.js",
            "exports.default = { $$type: '@backstage/BackendFeature' };",
        )
        .write("plugins/todo-backend/dist-dynamic/dist/configSchema.json", "{}");
    let run = |no_proxy: &str| {
        let mut command = rhdh_pack(repository.root());
        tunnel.around(&mut command).args(["run", "--channel", "release"]);
        command.env("GITHUB_API_URL", format!("https://{HOST}")).env("GITHUB_TOKEN", TOKEN).env("NO_PROXY", no_proxy);
        command.output().unwrap()
    };
    let output = run(HOST);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!((tunnel.asked.lock().unwrap().len(), seen(&forge).len()), (0, 0));
    let output = run("127.0.0.1");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(seen(&forge).len(), 1);
    let received = forge.received();
    assert!(received.iter().all(|request| request.head.contains(&format!("authorization: Bearer {TOKEN}\r\n"))));
}
