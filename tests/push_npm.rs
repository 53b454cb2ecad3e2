//! Publishing archives to an npm registry, and reading them back with npm.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::process::{Command, Output};

use common::certificates::Certificate;
use common::http::{Server, forward};
use common::layout::{add_tgz, archive_of};
use common::push::{Setup, artifact, messages};
use common::repository::Repository;
use common::rhdh_pack;
use common::verdaccio::Verdaccio;
use rhdh_pack::config::Registry;
use rhdh_pack::push::State;
use serde_json::{Value, json};

/// An archive as `npm pack` makes it.
fn archive(name: &str, version: &str, content: &str) -> Vec<u8> {
    archive_of(&json!({ "name": name, "version": version, "main": "index.js" }), content)
}

fn setup(url: &str, name: &str, version: &str, content: &str) -> Setup {
    of(Some(url), false, &archive(name, version, content))
}

/// A push of `archive` to the npm registry `url`, or to the one that the package names.
fn of(url: Option<&str>, allow_public: bool, archive: &[u8]) -> Setup {
    let mut setup = Setup::new();
    let tgz = add_tgz(setup.output.path(), "archive.tgz", archive);
    let mut todo = artifact("todo", None, Some(tgz), &[], &[]);
    todo.registries = vec![("npm".to_owned(), Registry::Npm { url: url.map(str::to_owned), allow_public })];
    setup.artifacts = vec![todo];
    setup
}

/// A package with this `publishConfig`.
fn publishing(publish_config: &Value) -> Vec<u8> {
    archive_of(&json!({ "name": "@acme/own", "version": "1.0.0", "publishConfig": publish_config }), "1")
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

#[tokio::test(flavor = "multi_thread")]
async fn a_package_may_name_its_registry_and_nothing_more() {
    let verdaccio = Verdaccio::start();
    let upstream = verdaccio.url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let proxy = Server::start(move |request| forward(&upstream, request));
    let url = format!("http://{}", proxy.host);
    let publish_config = |more: Value| {
        let mut all = json!({ "registry": url, "access": "restricted", "tag": "beta", "main": "dist/index.cjs.js" });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        publishing(&all)
    };

    // Credentials of ours have no host here: the archive would choose it.
    let mut own = of(None, false, &publish_config(json!({})));
    own.variables = vec![("RHDH_PACK_NPM_TOKEN", "s3cret")];
    let found = messages(&own.push().await.unwrap());
    assert!(found[0].starts_with("npm-registry: the credentials of the npm registry `npm` have no host"), "{found:?}");
    own.variables.clear();
    let found = messages(&own.push().await.unwrap());
    assert!(found[0].starts_with("npm-denied: "), "{found:?}");
    assert!(!proxy.received.lock().unwrap().iter().any(|request| request.head.contains("s3cret")));

    // The registry of the configuration wins, and takes the package's access and, in a release, its dist-tag.
    let nowhere = json!({ "registry": "http://127.0.0.1:1/" });
    let token: &'static str = verdaccio.token.clone().leak();
    let mut configured = of(Some(&url), false, &publish_config(nowhere));
    configured.variables = vec![("RHDH_PACK_NPM_TOKEN", token)];
    let pushed = configured.push().await.unwrap();
    assert_eq!(messages(&pushed), Vec::<String>::new());
    assert_eq!(pushed[0].packages[0].tags, ["beta"]);
    assert_eq!(verdaccio.view("@acme/own")["dist-tags"]["beta"], "1.0.0");
    let received = proxy.received.lock().unwrap().clone();
    let publish = received.iter().find(|request| request.method == "PUT" && !request.body.is_empty()).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&publish.body).unwrap()["access"], "restricted");
    // A channel's own name is the dist-tag, whatever the package says.
    configured.dist_tag = "next".to_owned();
    assert_eq!(configured.push().await.unwrap()[0].packages[0].tags, ["next"]);

    // A proxy that an archive names would see the credentials.
    for (key, value) in [
        ("https-proxy", json!("http://127.0.0.1:1")),
        ("proxy", json!("http://127.0.0.1:1")),
        ("strict-ssl", json!(false)),
        ("cafile", json!("/etc/hostname")),
        ("@acme:registry", json!("http://127.0.0.1:1")),
        ("//127.0.0.1/:_authToken", json!("x")),
    ] {
        let mut foreign = of(Some(&url), false, &publish_config(json!({ key: value })));
        foreign.variables.clone_from(&configured.variables);
        let found = messages(&foreign.push().await.unwrap());
        let said = format!("npm-registry: `publishConfig` of `@acme/own` has `{key}`, a setting of npm's own");
        assert_eq!(found, [said]);
    }

    let public = publish_config(json!({ "registry": "https://registry.npmjs.org/" }));
    let found = messages(&of(None, false, &public).push().await.unwrap());
    assert_eq!(found, ["npm-public: `registry.npmjs.org` is the public npm registry"]);
    for nothing in [json!({}), json!({ "registry": "file:///etc" }), json!({ "registry": "https://a:b@c.dev" })] {
        let found = messages(&of(None, false, &publishing(&nothing)).push().await.unwrap());
        assert!(found[0].contains("names no registry that can be used"), "{found:?}");
    }
}

/// A plugin whose archive goes to the npm registry that `registry` describes, packaged, and its `push`.
fn project(registry: &str, publish_config: &Value) -> (Repository, Command) {
    let repository = Repository::new();
    let manifest = |name: &str| {
        json!({
            "name": name, "version": "1.0.0", "main": "dist/index.cjs.js", "files": ["dist"], "publishConfig": publish_config,
            "backstage": { "role": "backend-plugin", "pluginId": "todo" },
        })
        .to_string()
    };
    repository
        .write("plugins/todo/package.json", manifest("@acme/todo"))
        .write("plugins/todo/dist-dynamic/package.json", manifest("@acme/todo-dynamic"))
        .write("plugins/todo/dist-dynamic/dist/index.cjs.js", "exports.default = {};\n")
        .write("plugins/todo/dist-dynamic/dist/configSchema.json", "{}")
        .config(format!(
            "[defaults]\nexport = \"prebuilt\"\nregistries = [\"npm\"]\n[registries.npm]\n{registry}\n\
             [channels.release]\ntags = [\"{{version}}\"]\n[plugins.todo]\npath = \"plugins/todo\"\n"
        ));
    for command in [&["plan", "--all", "--channel", "release"][..], &["export"], &["package"]] {
        let output = rhdh_pack(repository.root()).args(command).output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let mut command = rhdh_pack(repository.root());
    command.arg("push").env("HOME", repository.root()).env_remove("NPM_CONFIG_USERCONFIG");
    (repository, command)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_users_own_npmrc_opens_the_registry_of_a_package() {
    let verdaccio = Verdaccio::start();
    let (repository, mut push) = project("npm = \"publishConfig\"", &json!({ "registry": verdaccio.url }));
    let output = push.output().unwrap();
    assert!(output.status.code() == Some(1) && said(&output).contains("npm login"), "{}", said(&output));
    let host = verdaccio.url.strip_prefix("http:").unwrap();
    // What the file names, npm may see.
    repository.write(".npmrc", format!("{host}:_authToken=${{NODE_AUTH_TOKEN}}\n"));
    let output = push.env("NODE_AUTH_TOKEN", &verdaccio.token).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let result = fs_err::read(repository.root().join(".rhdh-pack/result.json")).unwrap();
    let package = serde_json::from_slice::<Value>(&result).unwrap()["plugins"][0]["npm"][0].clone();
    assert_eq!((&package["name"], &package["state"]), (&json!("@acme/todo-dynamic"), &json!("new")));
    assert_eq!(verdaccio.view("@acme/todo-dynamic@1.0.0")["dist"]["integrity"], package["integrity"]);
    assert!(!String::from_utf8_lossy(&result).contains(&verdaccio.token));
}

#[test]
fn an_npm_registry_may_have_an_authority_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Certificate::new(folder.path());
    let verdaccio = Verdaccio::start_over_tls(&authority.server(folder.path()), &authority);
    let registry = format!("npm = \"{}\"", verdaccio.url);
    let (repository, mut push) = project(&registry, &json!({}));
    // npm tries again by itself, for more than a minute; what the machine has it trust, `cafile=null` does not take back.
    push.env("npm_config_fetch_retries", "0").env("npm_config_globalconfig", folder.path().join("npmrc"));
    push.envs([("RHDH_PACK_NPM_USERNAME", "ann"), ("RHDH_PACK_NPM_PASSWORD", "s3cret-pass")]);
    let output = push.output().unwrap();
    assert!(output.status.code() == Some(3) && said(&output).contains("RHDH_PACK_<REGISTRY>_CA"), "{}", said(&output));
    fs_err::copy(&authority.certificate, repository.root().join("acme.pem")).unwrap();
    let file = repository.root().join("rhdh-plugins.toml");
    let config = fs_err::read_to_string(&file).unwrap();
    fs_err::write(&file, config.replace(&registry, &format!("{registry}\nca = \"acme.pem\""))).unwrap();
    // Also where npm has a file of its own, with others in it, and where it has none.
    for own in ["cafile=/etc/ssl/certs/ca-certificates.crt", "cafile=null"] {
        repository.write(".npmrc", format!("{own}\n"));
        let output = push.output().unwrap();
        assert!(output.status.success(), "{own}: {}", said(&output));
    }
    assert_eq!(verdaccio.view("@acme/todo-dynamic@1.0.0")["version"], "1.0.0");
}
