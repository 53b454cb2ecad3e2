//! SBOM and provenance beside images: in a registry that keeps no lists of them, in one that does, with faults, with
//! others who write at the same time; read back with skopeo.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::faults::Fault;
use common::http::{Server, answer, forward};
use common::layout::layer;
use common::push::{Setup, messages};
use common::referrers::with_referrers;
use common::registry::{Auth, Registry, get, run};
use rhdh_pack::config::Attachment;
use rhdh_pack::digest::Digest;
use rhdh_pack::package::{PackagedImage, PackagedSbom};
use rhdh_pack::push::{Attached, Document, Provenance, Pushed, State};
use serde_json::{Value, json};

/// An SBOM of `image` in the output folder, `size` bytes larger than needed.
fn sbom(setup: &Setup, image: &PackagedImage, size: usize) -> PackagedSbom {
    let document = json!({
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "metadata": { "component": { "type": "container", "name": image.name, "hashes": [
            { "alg": "SHA-256", "content": image.digest.hex() },
        ] } },
        "components": [{ "type": "library", "name": "x".repeat(size) }],
    });
    let bytes = document.to_string().into_bytes();
    let file = Path::new("sbom").join(format!("{}.cdx.json", image.name));
    std::fs::create_dir_all(setup.output.path().join("sbom")).unwrap();
    std::fs::write(setup.output.path().join(&file), &bytes).unwrap();
    PackagedSbom { file, digest: Digest::of(&bytes), size: bytes.len() as u64 }
}

fn provenance(run: &str) -> Document {
    Document::Provenance(Box::new(Provenance {
        builder: Some("https://github.com/acme/x/.github/workflows/y.yml@refs/heads/main".to_owned()),
        run: Some(run.to_owned()),
        repository: Some("https://github.com/acme/x".to_owned()),
        reference: Some("refs/heads/main".to_owned()),
        commit: Some("0123456789012345678901234567890123456789".to_owned()),
        parameters: json!({ "channel": "release" }),
        content_key: Some("ab".repeat(32)),
        rhdh_cli: vec!["1.9.1".to_owned()],
        started: Some("2026-01-02T03:04:05.678Z".parse().unwrap()),
        finished: None,
    }))
}

/// One image for `host`, with both documents.
fn setup(host: &str) -> (Setup, PackagedImage) {
    let mut setup = Setup::new();
    let image = setup.image("todo", &layer(1, 10_000), &["1.0.0"], &[host]);
    setup.artifacts[0].documents = vec![Document::Sbom(sbom(&setup, &image, 0)), provenance("https://ci/1")];
    (setup, image)
}

fn attached(pushed: &[Pushed]) -> Vec<Attached> {
    assert_eq!(messages(pushed), Vec::<String>::new());
    pushed[0].images[0].attached.clone()
}

/// The JSON that skopeo reads at a reference of the registry.
fn skopeo(host: &str, reference: &str) -> Value {
    let reference = format!("docker://{host}/{reference}");
    let mut command = Command::new("skopeo");
    command.args(["inspect", "--raw", "--tls-verify=false"]).arg(reference);
    serde_json::from_slice(&run("skopeo", "skopeo", &mut command)).unwrap()
}

/// The tag of the list of what is attached to an image.
fn tag(image: &PackagedImage) -> String {
    format!("sha256-{}", image.digest.hex())
}

/// The digests of a list.
fn digests(index: &Value) -> Vec<&str> {
    index["manifests"].as_array().unwrap().iter().map(|one| one["digest"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_without_lists_gets_the_tag_and_skopeo_reads_everything_back() {
    let registry = Registry::start(Auth::Open);
    let (setup, image) = setup(&registry.host);
    let first = attached(&setup.push().await.unwrap());
    let found: Vec<(Attachment, State)> = first.iter().map(|one| (one.document, one.state)).collect();
    assert_eq!(found, [(Attachment::Sbom, State::New), (Attachment::Provenance, State::New)]);

    let index = skopeo(&registry.host, &format!("todo:{}", tag(&image)));
    assert_eq!(index["mediaType"], "application/vnd.oci.image.index.v1+json");
    assert_eq!(digests(&index), [first[0].digest.as_str(), first[1].digest.as_str()]);
    let types = ["application/vnd.cyclonedx+json", "application/vnd.in-toto+json"];
    for (entry, media_type) in index["manifests"].as_array().unwrap().iter().zip(types) {
        assert_eq!(entry["artifactType"], media_type);
        let manifest = skopeo(&registry.host, &format!("todo@{}", entry["digest"].as_str().unwrap()));
        assert_eq!(manifest["subject"]["digest"], image.digest.as_str());
        assert_eq!(manifest["config"]["mediaType"], "application/vnd.oci.empty.v1+json");
        let layer = &manifest["layers"][0];
        assert_eq!(layer["mediaType"], media_type);
        let (status, bytes) =
            get(&format!("http://{}/v2/todo/blobs/{}", registry.host, layer["digest"].as_str().unwrap()));
        assert_eq!((status, Digest::of(&bytes).as_str()), (200, layer["digest"].as_str().unwrap()));
        let document: Value = serde_json::from_slice(&bytes).unwrap();
        if media_type == types[0] {
            assert_eq!(bytes, std::fs::read(setup.output.path().join("sbom/todo.cdx.json")).unwrap());
        } else {
            assert_eq!(document["subject"][0]["digest"]["sha256"], image.digest.hex());
            assert_eq!(document["subject"][0]["name"], format!("{}/todo", registry.host));
            assert_eq!(document["predicate"]["runDetails"]["metadata"]["startedOn"], "2026-01-02T03:04:05Z");
        }
    }
    // skopeo takes the attached manifest for an image that it can copy, blobs and all.
    let copy = tempfile::tempdir().unwrap();
    let mut command = Command::new("skopeo");
    command.args(["copy", "-q", "--src-tls-verify=false"]);
    command
        .arg(format!("docker://{}/todo@{}", registry.host, first[0].digest))
        .arg(format!("dir:{}", copy.path().display()));
    run("skopeo", "skopeo", &mut command);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_with_lists_gets_no_tag() {
    let registry = Registry::start(Auth::Open);
    for pages in [false, true] {
        let front = with_referrers(&registry.host, pages);
        let (mut setup, image) = setup(&front.host);
        setup.artifacts[0].image = Some(image.clone());
        let first = attached(&setup.push().await.unwrap());
        assert_eq!(first.len(), 2);
        let (status, list) = get(&format!("http://{}/v2/todo/referrers/{}", front.host, image.digest));
        assert_eq!(status, 200);
        assert_eq!(digests(&serde_json::from_slice(&list).unwrap()).len(), if pages { 1 } else { 2 });
        assert_eq!(get(&format!("http://{}/v2/todo/manifests/{}", registry.host, tag(&image))).0, 404);
        let again = attached(&setup.push().await.unwrap());
        assert!(again.iter().all(|one| one.state == State::AlreadyThere), "{again:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_not_added_again_and_costs_little() {
    let registry = Registry::start(Auth::Open);
    for (front, most) in [
        (with_referrers(&registry.host, false), 1),
        (
            Server::start({
                let upstream = registry.host.clone();
                move |request| forward(&upstream, request)
            }),
            4,
        ),
    ] {
        let (mut setup, image) = setup(&front.host);
        let first = attached(&setup.push().await.unwrap());
        let before = front.received.lock().unwrap().len();
        // Another run, with the same bytes and a provenance of its own.
        setup.artifacts[0].documents[1] = provenance("https://ci/2");
        let again = attached(&setup.push().await.unwrap());
        assert!(again.iter().all(|one| one.state == State::AlreadyThere), "{again:?}");
        let same = |all: &[Attached]| all.iter().map(|one| one.digest.clone()).collect::<Vec<_>>();
        assert_eq!(same(&first), same(&again));
        let asked: Vec<String> = front.received.lock().unwrap()[before..]
            .iter()
            .map(|one| format!("{} {}", one.method, one.target))
            .filter(|line| line.contains("referrers") || line.contains("sha256-") || line.contains("manifests/sha256:"))
            .collect();
        // A list of the registry's own: one question. The tag: no list, the tag, and a look at each of the two.
        assert_eq!(asked.len(), most, "{asked:#?} {image:?}");
        assert!(!asked.iter().any(|line| line.starts_with("PUT")), "{asked:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_at_once_and_others_lose_nothing_of_the_list() {
    let registry = Registry::start(Auth::Open);
    let others = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [], "annotations": { "theirs": "kept" },
    });
    for round in 0..3 {
        let setups: Vec<Setup> = (0..4)
            .map(|number| {
                let mut setup = Setup::new();
                setup.limits.settle = Duration::from_millis(200);
                let image =
                    setup.image("todo", &layer(round, 1000), &[&format!("t{round}-{number}")], &[&registry.host]);
                // Kinds that know nothing of each other, so that all must be added.
                setup.artifacts[0].documents = match number {
                    0 => vec![Document::Sbom(sbom(&setup, &image, 0))],
                    1 => vec![provenance("https://ci/1")],
                    _ => {
                        vec![Document::Sbom(sbom(&setup, &image, number)), provenance(&format!("https://ci/{number}"))]
                    }
                };
                setup
            })
            .collect();
        let image = setups[0].artifacts[0].image.clone().unwrap();
        if round == 0 {
            // Somebody else's list, with a field of theirs, is there first.
            common::registry::run(
                "curl",
                "curl",
                Command::new("curl")
                    .args(["-sf", "-XPUT", "-H", "Content-Type: application/vnd.oci.image.index.v1+json", "-d"])
                    .arg(others.to_string())
                    .arg(format!("http://{}/v2/todo/manifests/{}", registry.host, tag(&image))),
            );
        }
        let outcomes = futures_util::future::join_all(setups.iter().map(Setup::push)).await;
        let mut new = Vec::new();
        for outcome in outcomes {
            new.extend(attached(&outcome.unwrap()).into_iter().map(|one| one.digest.to_string()));
        }
        let index = skopeo(&registry.host, &format!("todo:{}", tag(&image)));
        let listed = digests(&index);
        for digest in &new {
            assert!(listed.contains(&digest.as_str()), "{digest} is lost in round {round}: {index}");
        }
        assert!(listed.len() >= 2);
        if round == 0 {
            assert_eq!(index["annotations"]["theirs"], "kept");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_before_the_documents_are_up_moves_no_tag_and_a_second_run_completes() {
    let registry = Registry::start(Auth::Open);
    let broken = Arc::new(AtomicBool::new(true));
    let front = {
        let (upstream, broken) = (registry.host.clone(), Arc::clone(&broken));
        Server::start(move |request| {
            let is_list = request.target.contains("/manifests/sha256-");
            if broken.load(Ordering::Relaxed) && request.method == "PUT" && is_list {
                return answer(
                    "403 Forbidden",
                    "",
                    r#"{"errors":[{"code":"DENIED","message":"no such tag for you"}]}"#,
                );
            }
            forward(&upstream, request)
        })
    };
    let (mut setup, image) = setup(&front.host);
    // A later run would take what stands under it, as it is.
    let key = format!("key-{}", "1".repeat(20));
    setup.artifacts[0].tags.push(key.clone());
    setup.atomic = false;
    let pushed = setup.push().await.unwrap();
    assert_eq!(registry.skopeo_digest("todo", &key, &[]), None);
    let failure = &pushed[0].failures[0];
    assert_eq!(failure.code, "attach");
    assert!(failure.message.contains("no such tag for you"), "{}", failure.message);
    assert!(failure.help.as_ref().unwrap().contains("attach = []"), "{failure:?}");
    assert!(pushed[0].images[0].attached.is_empty());
    assert_eq!(registry.skopeo_digest("todo", "1.0.0", &[]), None);

    broken.store(false, Ordering::Relaxed);
    let again = attached(&setup.push().await.unwrap());
    assert_eq!(again.len(), 2);
    assert_eq!(registry.skopeo_digest("todo", "1.0.0", &[]).as_deref(), Some(image.digest.as_str()));
    assert_eq!(digests(&skopeo(&registry.host, &format!("todo:{}", tag(&image)))).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_list_names_and_the_registry_lost_is_brought_again() {
    let registry = Registry::start(Auth::Open);
    let (setup, _) = setup(&registry.host);
    let first = attached(&setup.push().await.unwrap());
    let url = format!("http://{}/v2/todo/manifests/{}", registry.host, first[0].digest);
    run("curl", "curl", Command::new("curl").args(["-sf", "-XDELETE", &url]));
    assert_eq!(get(&url).0, 404);
    let again = attached(&setup.push().await.unwrap());
    let state = |kind| again.iter().find(|one| one.document == kind).unwrap().state;
    assert_eq!((state(Attachment::Sbom), state(Attachment::Provenance)), (State::New, State::AlreadyThere));
    assert_eq!(get(&url).0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn something_else_under_the_tag_is_left_alone() {
    let registry = Registry::start(Auth::Open);
    let (setup, image) = setup(&registry.host);
    let mut other = Setup::new();
    let theirs = other.image("todo", &layer(9, 500), &[&tag(&image)], &[&registry.host]);
    assert_eq!(messages(&other.push().await.unwrap()), Vec::<String>::new());
    let pushed = setup.push().await.unwrap();
    assert_eq!(pushed[0].failures[0].code, "attach");
    assert!(pushed[0].failures[0].message.contains("not a list of attached documents"), "{pushed:?}");
    assert_eq!(registry.skopeo_digest("todo", &tag(&image), &[]).as_deref(), Some(theirs.digest.as_str()));
    assert_eq!(registry.skopeo_digest("todo", "1.0.0", &[]), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sbom_of_a_hundred_megabytes_goes_up() {
    let registry = Registry::start(Auth::Open);
    let (mut setup, image) = setup(&registry.host);
    setup.artifacts[0].documents = vec![Document::Sbom(sbom(&setup, &image, 100_000_000))];
    assert_eq!(attached(&setup.push().await.unwrap()).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sbom_that_is_not_the_images_is_refused() {
    let registry = Registry::start(Auth::Open);
    let (mut setup, image) = setup(&registry.host);
    let right = sbom(&setup, &image, 0);
    let file = setup.output.path().join(&right.file);
    let bytes = std::fs::read(&file).unwrap();
    let of = |sbom: PackagedSbom| vec![Document::Sbom(sbom)];
    type Change = Box<dyn Fn()>;
    let mut cases: Vec<(&str, PackagedSbom, Change)> = Vec::new();
    let link = file.clone();
    cases.push((
        "Too many levels of symbolic links",
        right.clone(),
        Box::new(move || {
            std::fs::remove_file(&link).unwrap();
            std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        }),
    ));
    cases.push(("is not in the output folder", PackagedSbom { file: "../x".into(), ..right.clone() }, Box::new(|| {})));
    cases.push((
        "is not in the output folder",
        PackagedSbom { file: "/etc/passwd".into(), ..right.clone() },
        Box::new(|| {}),
    ));
    let other = String::from_utf8(bytes.clone()).unwrap().replace(image.digest.hex(), &"0".repeat(64));
    let write = |text: Vec<u8>| {
        let file = file.clone();
        Box::new(move || std::fs::write(&file, &text).unwrap()) as Change
    };
    let sized = |text: &[u8]| PackagedSbom { digest: Digest::of(text), size: text.len() as u64, ..right.clone() };
    cases.push(("is not that of the image", sized(other.as_bytes()), write(other.clone().into_bytes())));
    cases.push(("is no CycloneDX document", sized(b"[1]"), write(b"[1]".to_vec())));
    let deep = "[".repeat(100_000).into_bytes();
    cases.push(("is no CycloneDX document", sized(&deep), write(deep)));
    let mut longer = bytes.clone();
    longer.extend_from_slice(b"  ");
    cases.push(("its descriptor says", right.clone(), write(longer)));
    let swapped = String::from_utf8(bytes.clone()).unwrap().replace("library", "libraru").into_bytes();
    cases.push(("its digest is", right.clone(), write(swapped)));
    cases.push(("No such file", right.clone(), {
        let file = file.clone();
        Box::new(move || std::fs::remove_file(&file).unwrap())
    }));
    for (why, sbom, change) in cases {
        let _ = std::fs::remove_file(&file);
        std::fs::write(&file, &bytes).unwrap();
        change();
        setup.artifacts[0].documents = of(sbom);
        let pushed = setup.push().await.unwrap();
        let found = messages(&pushed);
        assert!(found.len() == 1 && found[0].contains(why), "{why}: {found:?}");
        assert_eq!(registry.skopeo_digest("todo", "1.0.0", &[]), None, "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_image_keeps_the_documents_of_those_who_built_it() {
    let (registry, other) = (Registry::start(Auth::Open), Registry::start(Auth::Open));
    let (mut setup, image) = setup(&format!("{}/from", registry.host));
    let first = attached(&setup.push().await.unwrap());
    let from = rhdh_pack::config::Registry::Oci { prefix: format!("{}/from", registry.host), insecure: false };
    // To another namespace of the host, and to another host with lists of its own.
    let front = with_referrers(&other.host, false);
    for to in [format!("{}/to", registry.host), format!("{}/to", front.host)] {
        let artifact = &mut setup.artifacts[0];
        artifact.source = Some(("from".to_owned(), from.clone()));
        artifact.documents = vec![Document::Copied(Attachment::Sbom), Document::Copied(Attachment::Provenance)];
        artifact.registries[0].1 = rhdh_pack::config::Registry::Oci { prefix: to.clone(), insecure: false };
        let copied = attached(&setup.push().await.unwrap());
        let same = |all: &[Attached]| all.iter().map(|one| (one.document, one.digest.clone())).collect::<Vec<_>>();
        assert_eq!(same(&copied), same(&first), "{to}");
        for one in &copied {
            assert_eq!(get(&format!("http://{}/manifests/{}", to.replace("/to", "/v2/to/todo"), one.digest)).0, 200);
        }
    }
    assert_eq!(digests(&skopeo(&registry.host, &format!("to/todo:{}", tag(&image)))).len(), 2);
    let (_, list) = get(&format!("http://{}/v2/to/todo/referrers/{}", front.host, image.digest));
    assert_eq!(digests(&serde_json::from_slice(&list).unwrap()).len(), 2);
}

/// What goes wrong with one request, or, where that says so, with all from it on.
const FAULTS: [(Fault, bool); 5] = [
    (Fault::Closed, false),
    (Fault::AnswerLost, false),
    (Fault::Truncated, false),
    (Fault::Status("503 Service Unavailable"), false),
    (Fault::Status("403 Forbidden"), true),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 10)]
async fn every_fault_at_every_request_leaves_all_or_no_tag_and_a_second_run_completes() {
    let registry = Arc::new(Registry::start(Auth::Open));
    let tries = (0..FAULTS.len()).flat_map(|fault| [(fault, false), (fault, true)]);
    let tries: Vec<_> =
        tries.map(|(fault, with_lists)| tokio::spawn(try_fault(Arc::clone(&registry), fault, with_lists))).collect();
    let (mut cases, mut failed) = (0, 0);
    for outcome in tries {
        let (more, more_failed) = outcome.await.unwrap();
        (cases, failed) = (cases + more, failed + more_failed);
    }
    println!("{cases} cases, {failed} of them failures; no tag without its documents, every second run completed");
    assert!(cases > 150 && failed > 20, "{cases} {failed}");
}

/// Lets a fault happen at each request of a push in turn; how often it was tried, and how often the push failed.
async fn try_fault(registry: Arc<Registry>, which: usize, with_lists: bool) -> (usize, usize) {
    let (fault, forever) = FAULTS[which];
    let (mut cases, mut failed) = (0, 0);
    let lists = with_referrers(&registry.host, false);
    let behind = if with_lists { lists.host.clone() } else { registry.host.clone() };
    loop {
        let at = cases;
        let next = Arc::new(AtomicUsize::new(0));
        let (upstream, count) = (behind.clone(), Arc::clone(&next));
        let front = Server::start(move |request| {
            let number = count.fetch_add(1, Ordering::SeqCst);
            let is_hit = number == at || number > at && forever;
            if is_hit { fault.reply(&upstream, request) } else { forward(&upstream, request) }
        });
        let namespace = format!("{}/{which}-{at}", if with_lists { "lists" } else { "tag" });
        let (mut setup, image) = setup(&format!("{}/{namespace}", front.host));
        let outcome = setup.push().await;
        let is_over = next.load(Ordering::SeqCst) <= at;
        let tagged = registry.skopeo_digest(&format!("{namespace}/todo"), "1.0.0", &[]);
        match outcome {
            Ok(pushed) if messages(&pushed).is_empty() => {
                assert_eq!(attached(&pushed).len(), 2, "{namespace}");
                assert_eq!(tagged.as_deref(), Some(image.digest.as_str()), "{namespace}");
            }
            outcome => {
                failed += 1;
                let images = outcome.ok().map(|mut pushed| pushed.remove(0).images).unwrap_or_default();
                let up = images.first().is_some_and(|image| image.attached.len() == 2);
                assert!(tagged.is_none() || up, "{namespace}: a tag, and no documents");
            }
        }
        let prefix = format!("{behind}/{namespace}");
        setup.artifacts[0].registries[0].1 = rhdh_pack::config::Registry::Oci { prefix, insecure: false };
        // The statement names its repository: what the first run attached is known again by its kind.
        assert_eq!(attached(&setup.push().await.unwrap()).len(), 2, "{namespace}");
        cases += 1;
        if is_over {
            return (cases, failed);
        }
    }
}
