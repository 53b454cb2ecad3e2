//! Pushing to a real registry and to folders, and reading everything back with another program.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::http::{Server, forward};
use common::layout::{add_tgz, annotated, archive_of, blob, layer};
use common::push::{Setup, artifact, keychain, limits, messages};
use common::registry::{Auth, Registry, free_port};
use rhdh_pack::config;
use rhdh_pack::package::PackagedImage;
use rhdh_pack::push::State;
use rhdh_pack::registry::{ManifestRef, Session};
use rhdh_pack::repo_path::RepoPath;
use rhdh_pack::ui::{Ui, Verbosity};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_pushed_with_its_tags_and_read_back_by_skopeo() {
    let registry = Registry::start(Auth::Basic { username: "ann", password: "s3cret" });
    let mut setup = Setup::new();
    setup.variables = vec![("RHDH_PACK_R0_USERNAME", "ann"), ("RHDH_PACK_R0_PASSWORD", "s3cret")];
    let prefix = format!("{}/acme", registry.host);
    let image = setup.image("todo", &layer(1, 3_000_000), &["1.0.0", "next"], &[&prefix]);

    let pushed = setup.push().await.unwrap();
    assert_eq!(messages(&pushed), Vec::<String>::new());
    let published = &pushed[0].images[0];
    assert_eq!(published.reference, format!("{prefix}/todo@{}", image.digest));
    assert_eq!(published.tags, ["1.0.0", "next"]);
    assert_eq!(published.state, State::New);
    for tag in ["1.0.0", "next"] {
        let digest = registry.skopeo_digest("acme/todo", tag, &["--creds", "ann:s3cret"]);
        assert_eq!(digest.as_deref(), Some(image.digest.as_str()));
    }

    let again = setup.push().await.unwrap();
    assert_eq!(messages(&again), Vec::<String>::new());
    assert_eq!(again[0].images[0].state, State::AlreadyThere);
    assert_eq!(again[0].images[0].tags, ["1.0.0", "next"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_and_a_missing_registry_are_said_before_anything_is_done() {
    let registry = Registry::start(Auth::Basic { username: "ann", password: "s3cret" });
    let mut setup = Setup::new();
    setup.image("todo", &layer(1, 1000), &["1"], &[&registry.host]);
    let error = setup.push().await.unwrap_err();
    assert!(error.is_environment());
    let text = format!("{:?}", miette::Report::new(error));
    assert!(text.contains("authentication required"), "{text}");
    assert!(text.contains("podman login 127.0.0.1"), "{text}");

    setup.variables = vec![("RHDH_PACK_R0_USERNAME", "ann"), ("RHDH_PACK_R0_PASSWORD", "wr0ng")];
    let error = setup.push().await.unwrap_err();
    assert!(error.is_environment());
    let text = format!("{:?}", miette::Report::new(error));
    assert!(text.contains("`RHDH_PACK_R0_PASSWORD`"), "{text}");
    assert!(!text.contains("wr0ng"), "{text}");

    let mut setup = Setup::new();
    setup.image("todo", &layer(1, 1000), &["1"], &[&format!("127.0.0.1:{}", free_port())]);
    let error = setup.push().await.unwrap_err();
    assert!(error.is_environment());
    let text = format!("{:?}", miette::Report::new(error));
    assert!(text.contains("onnection refused"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_content_under_an_existing_tag_stops_the_run_before_anything_is_uploaded() {
    let registry = Registry::start(Auth::Open);
    let mut first = Setup::new();
    let old = first.image("todo", &layer(1, 1000), &["1.0.0"], &[&registry.host]);
    assert_eq!(messages(&first.push().await.unwrap()), Vec::<String>::new());

    let mut second = Setup::new();
    let new = second.image("todo", &layer(2, 1000), &["1.0.0"], &[&registry.host]);
    second.image("other", &layer(3, 1000), &["1.0.0"], &[&registry.host]);
    let pushed = second.push().await.unwrap();
    let messages = messages(&pushed);
    assert!(messages[0].starts_with("tag-exists: "), "{messages:?}");
    for part in [old.digest.as_str(), new.digest.as_str(), "version 1.0.0"] {
        assert!(messages[0].contains(part), "{messages:?}");
    }
    assert!(messages[1].starts_with("held-back: "), "{messages:?}");
    assert!(!registry.data.join("docker/registry/v2/repositories/other").exists());
    assert!(
        !registry
            .data
            .join("docker/registry/v2/blobs/sha256")
            .join(&new.digest.hex()[..2])
            .join(new.digest.hex())
            .exists()
    );

    second.overwrite = true;
    let pushed = second.push().await.unwrap();
    assert_eq!(common::push::messages(&pushed), Vec::<String>::new());
    assert_eq!(registry.skopeo_digest("todo", "1.0.0", &[]).as_deref(), Some(new.digest.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_broken_image_keeps_all_tags_of_an_atomic_run() {
    let registry = Registry::start(Auth::Open);
    let mut setup = Setup::new();
    setup.image("good", &layer(1, 1000), &["1"], &[&registry.host]);
    let bytes = layer(2, 2_000_000);
    setup.image("bad", &bytes, &["1"], &[&registry.host]);
    let path = blob(setup.output.path(), &rhdh_pack::digest::Digest::of(&bytes));
    let mut changed = bytes.clone();
    changed[1_000_000] ^= 1;
    std::fs::write(&path, &changed).unwrap();

    let pushed = setup.push().await.unwrap();
    let found = messages(&pushed);
    assert!(found[0].starts_with("held-back: no tag"), "{found:?}");
    assert!(found[1].starts_with("oci-layout: "), "{found:?}");
    assert_eq!(registry.skopeo_digest("good", "1", &[]), None);
    let uploaded = rhdh_pack::digest::Digest::of(&changed);
    let kept = registry.data.join("docker/registry/v2/blobs/sha256").join(&uploaded.hex()[..2]).join(uploaded.hex());
    assert!(!kept.exists());

    setup.atomic = false;
    let pushed = setup.push().await.unwrap();
    assert_eq!(messages(&pushed).len(), 1);
    assert!(registry.skopeo_digest("good", "1", &[]).is_some());

    std::fs::write(&path, &bytes[..1_999_999]).unwrap();
    let found = messages(&setup.push().await.unwrap());
    assert!(found[0].contains("its descriptor says"), "{found:?}");
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
    let found = messages(&setup.push().await.unwrap());
    assert!(found[0].contains("oci-layout"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_made_keeps_all_tags_of_an_atomic_run() {
    let registry = Registry::start(Auth::Open);
    let mut setup = Setup::new();
    setup.image("good", &layer(1, 1000), &["1"], &[&registry.host]);
    setup.missing = vec!["todo-backend".to_owned()];
    let found = messages(&setup.push().await.unwrap());
    assert_eq!(
        found,
        ["held-back: nothing of this run was published, because another artifact of it cannot be: `todo-backend`"]
    );
    assert!(!registry.data.join("docker/registry/v2/repositories/good").exists());

    setup.atomic = false;
    assert_eq!(messages(&setup.push().await.unwrap()), Vec::<String>::new());
    assert!(registry.skopeo_digest("good", "1", &[]).is_some());
}

/// An image with a content key, to be pushed under the key's tag and the tag 1.0.0.
fn keyed(host: &str, key: &str, content: u64) -> (Setup, PackagedImage) {
    let mut setup = Setup::new();
    let annotations = serde_json::json!({
        "org.opencontainers.image.version": "1.0.0", "dev.rhdh-pack.content-key": key,
    });
    let image = annotated(setup.output.path(), "todo", &annotations, &layer(content, 1000));
    let tags = [&format!("key-{}", &key[..20]), "1.0.0"];
    setup.artifacts = vec![artifact("todo", Some(image.clone()), None, &tags, &[host])];
    (setup, image)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_own_tag_names_an_image_from_the_start_where_it_moves_nothing() {
    let registry = Registry::start(Auth::Open);
    let upstream = registry.host.clone();
    let front = Server::start(move |request| forward(&upstream, request));
    let named = |from: usize| -> Vec<String> {
        let received = front.received.lock().unwrap();
        let puts = received[from..].iter().filter(|one| one.method == "PUT" && one.target.contains("/manifests/"));
        puts.map(|one| one.target.rsplit('/').next().unwrap().to_owned()).collect()
    };
    let key = "1".repeat(64);
    let tag = format!("key-{}", &key[..20]);
    let (mut first, image) = keyed(&front.host, &key, 1);
    // A run that is all or nothing names nothing before all of it is up.
    first.image("bad", &layer(2, 1000), &["1"], &[&front.host]);
    let path = blob(first.output.path(), &rhdh_pack::digest::Digest::of(&layer(2, 1000)));
    std::fs::write(&path, layer(3, 1000)).unwrap();
    assert!(messages(&first.push().await.unwrap())[0].starts_with("held-back: no tag"));
    assert_eq!(named(0), [image.digest.as_str()]);

    std::fs::remove_dir_all(registry.data.join("docker/registry/v2/repositories/todo")).unwrap();
    let from = front.received.lock().unwrap().len();
    first.artifacts.truncate(1);
    first.atomic = false;
    let pushed = first.push().await.unwrap();
    assert_eq!(messages(&pushed), Vec::<String>::new());
    assert_eq!(pushed[0].images[0].tags, [tag.as_str(), "1.0.0"]);
    assert_eq!(named(from), [tag.as_str(), "1.0.0"]);

    // A tag that moves is the last to do so.
    let from = front.received.lock().unwrap().len();
    let (mut second, other) = keyed(&front.host, &key, 3);
    second.artifacts[0].tags = vec!["1.0.1".to_owned(), tag.clone()];
    second.atomic = false;
    assert_eq!(messages(&second.push().await.unwrap()), Vec::<String>::new());
    assert_eq!(named(from), [other.digest.as_str(), "1.0.1", tag.as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_shows_both_content_keys_and_the_keys_own_tag_moves() {
    let registry = Registry::start(Auth::Open);
    let (one, two) = ("1".repeat(64), "2".repeat(64));
    let (first, old) = keyed(&registry.host, &one, 1);
    assert_eq!(messages(&first.push().await.unwrap()), Vec::<String>::new());

    // Another content: both sides are shown.
    let (second, new) = keyed(&registry.host, &two, 2);
    let pushed = second.push().await.unwrap();
    let failure = &pushed[0].failures[0];
    for part in [
        format!("`{}` (version 1.0.0, content key {one})", old.digest),
        format!("`{}` (version 1.0.0, content key {two})", new.digest),
    ] {
        assert!(failure.message.contains(&part), "{failure:?}");
    }
    assert!(failure.help.as_ref().unwrap().starts_with("raise the plugin's version"), "{failure:?}");

    // The same content with another outcome: the version's tag stays.
    let (again, other) = keyed(&registry.host, &one, 3);
    let failure = again.push().await.unwrap().remove(0).failures.remove(0);
    assert!(failure.message.starts_with("the tag `1.0.0`"), "{failure:?}");
    assert!(failure.help.as_ref().unwrap().contains("rhdh-pack diff oci://"), "{failure:?}");

    // Under another version nothing is against it, and the key's tag moves.
    let mut released = again;
    released.artifacts[0].tags[1] = "1.0.1".to_owned();
    assert_eq!(messages(&released.push().await.unwrap()), Vec::<String>::new());
    let digest = |tag: &str| registry.skopeo_digest("todo", tag, &[]);
    assert_eq!(digest(&format!("key-{}", &one[..20])).as_deref(), Some(other.digest.as_str()));
    assert_eq!(digest("1.0.0").as_deref(), Some(old.digest.as_str()));
    assert_eq!(digest("1.0.1").as_deref(), Some(other.digest.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_is_read_by_tag_and_tags_are_listed() {
    let registry = Registry::start(Auth::Open);
    let mut setup = Setup::new();
    let image = setup.image("todo", &layer(1, 1000), &["b", "a"], &[&registry.host]);
    setup.push().await.unwrap();
    let session = Session::new(keychain(&[]), limits(), &Ui::new(Verbosity::Quiet));
    let client = session.client("r0", &registry.host, false).unwrap();
    let repository = client.repository("todo").await.unwrap();
    let manifest = repository.manifest(ManifestRef::Tag("a")).await.unwrap().unwrap();
    assert_eq!(manifest.digest, image.digest);
    assert_eq!(manifest.annotations()["org.opencontainers.image.version"], "1.0.0");
    assert_eq!(repository.manifest_digest(ManifestRef::Tag("c")).await.unwrap(), None);
    let mut tags = repository.tags().await.unwrap();
    tags.sort();
    assert_eq!(tags, ["a", "b"]);
    let nothing = client.repository("nothing").await.unwrap();
    assert_eq!(nothing.tags().await.unwrap(), Vec::<String>::new());
    assert_eq!(nothing.manifest(ManifestRef::Digest(&image.digest)).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_push_ends_at_once_and_says_what_is_missing() {
    // A registry that takes connections and never says anything.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let registry = Registry::start(Auth::Open);
    let mut setup = Setup::new();
    setup.image("todo", &layer(1, 1000), &["1"], &[&registry.host, &silent.local_addr().unwrap().to_string()]);
    let cancel = CancellationToken::new();
    let started = Instant::now();
    let (pushed, ()) = tokio::join!(setup.push_until(&cancel), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        cancel.cancel();
    });
    assert!(started.elapsed() < Duration::from_millis(1300));
    let found = messages(&pushed.unwrap());
    assert!(found.iter().all(|message| message.starts_with("interrupted: ")), "{found:?}");
    assert_eq!(found.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_go_to_a_folder_with_their_integrity_and_a_listing() {
    let mut setup = Setup::new();
    let dir = |path: &str| config::Registry::Dir {
        path: RepoPath::new(path).unwrap(),
        base_url: Some("https://plugins.example.com".to_owned()),
    };
    let tgz = add_tgz(setup.output.path(), "acme-todo-1.0.0.tgz", b"archive");
    let mut todo = artifact("todo", None, Some(tgz.clone()), &[], &[]);
    todo.registries = vec![("site".to_owned(), dir("public/plugins"))];
    setup.artifacts = vec![todo];
    let pushed = setup.push().await.unwrap();
    assert_eq!(messages(&pushed), Vec::<String>::new());
    let file = &pushed[0].files[0];
    assert_eq!(file.path, "public/plugins/acme-todo-1.0.0.tgz");
    assert_eq!(file.url.as_deref(), Some("https://plugins.example.com/acme-todo-1.0.0.tgz"));
    assert_eq!(file.state, State::New);
    let folder = setup.output.path().join("public/plugins");
    assert_eq!(std::fs::read(folder.join("acme-todo-1.0.0.tgz")).unwrap(), b"archive");
    let integrity = std::fs::read_to_string(folder.join("acme-todo-1.0.0.tgz.integrity")).unwrap();
    assert_eq!(integrity, format!("{}\n", tgz.integrity));
    let mut names: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["acme-todo-1.0.0.tgz", "acme-todo-1.0.0.tgz.integrity", "plugins.json"]);

    assert_eq!(setup.push().await.unwrap()[0].files[0].state, State::AlreadyThere);

    setup.artifacts[0].tgz = Some(add_tgz(setup.output.path(), "acme-todo-1.0.0.tgz", b"another"));
    let found = messages(&setup.push().await.unwrap());
    assert!(found[0].starts_with("file-exists: "), "{found:?}");
    assert_eq!(std::fs::read(folder.join("acme-todo-1.0.0.tgz")).unwrap(), b"archive");
    setup.overwrite = true;
    assert_eq!(messages(&setup.push().await.unwrap()), Vec::<String>::new());
    assert_eq!(std::fs::read(folder.join("acme-todo-1.0.0.tgz")).unwrap(), b"another");

    // Beside it, a second archive: the listing keeps the first.
    let mut other = artifact("other", None, Some(add_tgz(setup.output.path(), "other-2.0.0.tgz", b"other")), &[], &[]);
    other.registries = vec![("site".to_owned(), dir("public/plugins"))];
    setup.artifacts = vec![other];
    setup.push().await.unwrap();
    let listing: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("plugins.json")).unwrap()).unwrap();
    let files: Vec<_> = listing["plugins"].as_array().unwrap().iter().map(|plugin| &plugin["file"]).collect();
    assert_eq!(files, ["acme-todo-1.0.0.tgz", "other-2.0.0.tgz"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_behind_a_link_out_of_the_repository_is_refused() {
    let elsewhere = TempDir::new().unwrap();
    let mut setup = Setup::new();
    std::os::unix::fs::symlink(elsewhere.path(), setup.output.path().join("public")).unwrap();
    let mut todo = artifact("todo", None, Some(add_tgz(setup.output.path(), "a.tgz", b"archive")), &[], &[]);
    let path = RepoPath::new("public/plugins").unwrap();
    todo.registries = vec![("site".to_owned(), config::Registry::Dir { path, base_url: None })];
    setup.artifacts = vec![todo];
    let found = messages(&setup.push().await.unwrap());
    assert!(found[0].contains("leaves the repository through a link"), "{found:?}");
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);

    let outside: &Path = Path::new("../../etc/passwd");
    setup.artifacts[0].tgz.as_mut().unwrap().file = outside.to_owned();
    let found = messages(&setup.push().await.unwrap());
    assert!(found[0].contains("is not a file of the output folder"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_does_not_choose_whose_archive_it_made() {
    let mut setup = Setup::new();
    let mut todo = artifact("todo", None, None, &[], &[]);
    let path = RepoPath::new("public").unwrap();
    todo.registries = vec![("site".to_owned(), config::Registry::Dir { path, base_url: None })];
    todo.package = Some(("@acme/plugin-todo".to_owned(), "1.0.0".to_owned()));
    setup.artifacts = vec![todo];
    for (file, why) in [
        ("index.html", "is not the name of an archive"),
        ("a b.tgz", "is not the name of an archive"),
        ("acme-plugin-other-1.0.0.tgz", "is not the archive of `@acme/plugin-todo` 1.0.0"),
        ("acme-plugin-todo-2.0.0.tgz", "is not the archive of `@acme/plugin-todo` 1.0.0"),
    ] {
        setup.artifacts[0].tgz = Some(add_tgz(setup.output.path(), file, b"archive"));
        let found = messages(&setup.push().await.unwrap());
        assert!(found[0].starts_with("archive: ") && found[0].contains(why), "{found:?}");
    }
    for file in ["acme-plugin-todo-1.0.0.tgz", "acme-plugin-todo-dynamic-1.0.0.tgz"] {
        setup.artifacts[0].tgz = Some(add_tgz(setup.output.path(), file, b"archive"));
        assert_eq!(messages(&setup.push().await.unwrap()), Vec::<String>::new());
    }

    // And what is inside must say so, too: npm publishes by that.
    let other = serde_json::json!({ "name": "@acme/core", "version": "1.0.0" });
    let tgz = add_tgz(setup.output.path(), "acme-plugin-todo-1.0.0.tgz", &archive_of(&other, ""));
    let npm = config::Registry::Npm { url: Some("http://127.0.0.1:1".to_owned()), allow_public: false };
    setup.artifacts[0].tgz = Some(tgz);
    setup.artifacts[0].registries = vec![("npm".to_owned(), npm)];
    let found = messages(&setup.push().await.unwrap());
    assert!(
        found[0].contains("holds `@acme/core` 1.0.0, and the repository has `@acme/plugin-todo` 1.0.0"),
        "{found:?}"
    );
}
