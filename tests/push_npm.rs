//! Publishing archives to an npm registry, and reading them back with npm.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use common::layout::add_tgz;
use common::push::{Setup, artifact, messages};
use common::verdaccio::Verdaccio;
use flate2::Compression;
use flate2::write::GzEncoder;
use rhdh_pack::config;
use rhdh_pack::push::State;

/// An archive as `npm pack` makes it.
fn archive(name: &str, version: &str, content: &str) -> Vec<u8> {
    let manifest = serde_json::json!({ "name": name, "version": version, "main": "index.js" }).to_string();
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, content) in [("package/index.js", content), ("package/package.json", &manifest)] {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_entry_type(tar::EntryType::Regular);
        archive.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap()
}

fn setup(url: &str, name: &str, version: &str, content: &str) -> Setup {
    let mut setup = Setup::new();
    let tgz = add_tgz(setup.output.path(), "archive.tgz", &archive(name, version, content));
    let mut todo = artifact("todo", None, Some(tgz), &[], &[]);
    todo.registries = vec![("npm".to_owned(), config::Registry::Npm { url: url.to_owned() })];
    setup.artifacts = vec![todo];
    setup
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_published_once_and_never_replaced() {
    let verdaccio = Verdaccio::start();
    let token: &'static str = verdaccio.token.clone().leak();

    let mut first = setup(&verdaccio.url, "@acme/todo-dynamic", "1.0.0", "1");
    let found = messages(&first.push().await.unwrap());
    assert!(found[0].starts_with("npm-denied: "), "{found:?}");

    first.variables = vec![("NODE_AUTH_TOKEN", token)];
    let pushed = first.push().await.unwrap();
    assert_eq!(messages(&pushed), Vec::<String>::new());
    let package = &pushed[0].packages[0];
    assert_eq!((package.name.as_str(), package.version.as_str()), ("@acme/todo-dynamic", "1.0.0"));
    assert_eq!((package.state, package.tags.as_slice()), (State::New, &["latest".to_owned()][..]));
    let integrity = first.artifacts[0].tgz.as_ref().unwrap().integrity.to_string();
    assert_eq!(verdaccio.view("@acme/todo-dynamic@1.0.0")["dist"]["integrity"], integrity);

    // The same again, by name and password, for another dist-tag: there already, and the tag moves.
    first.variables = vec![("RHDH_PACK_NPM_USERNAME", "ann"), ("RHDH_PACK_NPM_PASSWORD", "s3cret-pass")];
    first.dist_tag = "next".to_owned();
    let pushed = first.push().await.unwrap();
    assert_eq!(messages(&pushed), Vec::<String>::new());
    assert_eq!(pushed[0].packages[0].state, State::AlreadyThere);
    assert_eq!(pushed[0].packages[0].tags, ["next"]);
    assert_eq!(verdaccio.view("@acme/todo-dynamic")["dist-tags"]["next"], "1.0.0");

    let mut other = setup(&verdaccio.url, "@acme/todo-dynamic", "1.0.0", "2");
    other.variables = vec![("NODE_AUTH_TOKEN", token)];
    let found = messages(&other.push().await.unwrap());
    assert!(found[0].starts_with("version-exists: ") && found[0].contains(&integrity), "{found:?}");

    // A second version of a package that is there.
    let mut second = setup(&verdaccio.url, "@acme/todo-dynamic", "1.1.0", "2");
    second.variables = vec![("NODE_AUTH_TOKEN", token)];
    assert_eq!(messages(&second.push().await.unwrap()), Vec::<String>::new());
    assert_eq!(verdaccio.view("@acme/todo-dynamic")["dist-tags"]["latest"], "1.1.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_must_not_be_published_is_refused() {
    let found = messages(&setup("https://registry.npmjs.org/", "a", "1.0.0", "").push().await.unwrap());
    assert_eq!(found, ["npm-public: `registry.npmjs.org` is the public npm registry"]);
    let found = messages(&setup("https://ann:pw@nexus.acme.dev/", "a", "1.0.0", "").push().await.unwrap());
    assert_eq!(found, ["npm-registry: the npm registry `npm` has no usable URL"]);
    let found = messages(&setup("http://127.0.0.1:1/", "--evil", "1.0.0", "").push().await.unwrap());
    assert!(found[0].contains("name or version is not one of npm"), "{found:?}");

    let changed = setup("http://127.0.0.1:1/", "a", "1.0.0", "");
    std::fs::write(changed.output.path().join("tgz/archive.tgz"), archive("a", "1.0.0", "other")).unwrap();
    let found = messages(&changed.push().await.unwrap());
    assert!(found[0].starts_with("archive: "), "{found:?}");
}
