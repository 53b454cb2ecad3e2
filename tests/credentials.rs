//! Which credentials are found for which repository: environment, podman's and docker's files, helpers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rhdh_pack::registry::credentials::Error;
use rhdh_pack::registry::{Credential, CredentialKind, Keychain};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A home folder with nothing in it but what the test puts there.
struct Home {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

impl Home {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let home = folder.path().display().to_string();
        let variables = vec![("HOME".to_owned(), home.clone()), ("XDG_RUNTIME_DIR".to_owned(), format!("{home}/run"))];
        Self { folder, variables }
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.folder.path().join(file)
    }

    fn write(&self, file: &str, content: &Value) -> &Self {
        self.text(file, &content.to_string())
    }

    fn text(&self, file: &str, content: &str) -> &Self {
        std::fs::create_dir_all(self.path(file).parent().unwrap()).unwrap();
        std::fs::write(self.path(file), content).unwrap();
        self
    }

    fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// `user:password`, `token:…`, or `-`.
    async fn find(&self, registry: &str, host: &str, path: &str) -> Result<String, Error> {
        Ok(text(self.find_whole(registry, host, path).await?.as_ref()))
    }

    async fn find_whole(&self, registry: &str, host: &str, path: &str) -> Result<Option<Credential>, Error> {
        Keychain::read(self.variables.clone(), 4_242_424).find(registry, host, path).await
    }
}

fn text(credential: Option<&Credential>) -> String {
    match credential.map(|credential| &credential.kind) {
        Some(CredentialKind::Password { username, password }) => format!("{username}:{}", password.expose_secret()),
        Some(CredentialKind::IdentityToken(token)) => format!("token:{}", token.expose_secret()),
        None => "-".to_owned(),
    }
}

fn auths(entries: &[(&str, &str)]) -> Value {
    let entry = |(key, pair): &(&str, &str)| ((*key).to_owned(), json!({ "auth": STANDARD.encode(pair) }));
    json!({ "auths": entries.iter().map(entry).collect::<serde_json::Map<_, _>>() })
}

#[tokio::test]
async fn files_are_asked_in_podmans_order() {
    let mut home = Home::new();
    assert_eq!(home.find("r", "quay.io", "acme/todo").await.unwrap(), "-");
    home.text(".dockercfg", &auths(&[("quay.io", "old:1")])["auths"].to_string());
    assert_eq!(home.find("r", "quay.io", "acme/todo").await.unwrap(), "old:1");
    home.write(".docker/config.json", &auths(&[("quay.io", "docker:1")]));
    assert_eq!(home.find("r", "quay.io", "acme/todo").await.unwrap(), "docker:1");
    home.write("other/config.json", &auths(&[("quay.io", "dockerconfig:1")]));
    let other = home.path("other").display().to_string();
    home.set("DOCKER_CONFIG", &other);
    assert_eq!(home.find("r", "quay.io", "acme/todo").await.unwrap(), "dockerconfig:1");
    home.write(".config/containers/auth.json", &auths(&[("quay.io", "podman:1")]));
    assert_eq!(home.find("r", "quay.io", "acme/todo").await.unwrap(), "podman:1");
    home.write("run/containers/auth.json", &auths(&[("quay.io", "runtime:1"), ("other.io", "runtime:2")]));
    assert_eq!(home.find("r", "quay.io", "acme/todo").await.unwrap(), "runtime:1");
    home.write("auth.json", &auths(&[("quay.io", "named:1")]));
    let named = home.path("auth.json").display().to_string();
    home.set("REGISTRY_AUTH_FILE", &named);
    assert_eq!(home.find("r", "quay.io", "acme/todo").await.unwrap(), "named:1");
    // It replaces the first file only, and what it does not have is looked for in the next.
    assert_eq!(home.find("r", "other.io", "acme/todo").await.unwrap(), "-");
    home.set("RHDH_PACK_QUAY_PR_USERNAME", "own").set("RHDH_PACK_QUAY_PR_PASSWORD", "1");
    assert_eq!(home.find("quay-pr", "quay.io", "acme/todo").await.unwrap(), "own:1");
    assert_eq!(home.find("quay", "quay.io", "acme/todo").await.unwrap(), "named:1");
}

#[tokio::test]
async fn the_longest_path_wins() {
    let home = Home::new();
    home.write(
        "run/containers/auth.json",
        &auths(&[("quay.io", "h:"), ("quay.io/acme", "a:"), ("quay.io/acme/x/", "x:"), ("127.0.0.1:5000", "l:")]),
    );
    for (path, expected) in [("acme/x", "x:"), ("acme/x/y", "x:"), ("acme/xy", "a:"), ("acmex/x", "h:"), ("", "h:")] {
        assert_eq!(home.find("r", "quay.io", path).await.unwrap(), expected, "{path}");
    }
    assert_eq!(home.find("r", "127.0.0.1:5000", "a").await.unwrap(), "l:");
    assert_eq!(home.find("r", "127.0.0.1:5001", "a").await.unwrap(), "-");
    assert_eq!(home.find("r", "notquay.io", "acme/x").await.unwrap(), "-");
}

#[tokio::test]
async fn docker_hub_has_many_names() {
    for key in ["https://index.docker.io/v1/", "docker.io", "index.docker.io"] {
        let home = Home::new();
        home.write(".docker/config.json", &auths(&[(key, "hub:pw:with:colons")]));
        assert_eq!(home.find("r", "index.docker.io", "acme/x").await.unwrap(), "hub:pw:with:colons", "{key}");
    }
}

#[tokio::test]
async fn identity_tokens_and_plain_pairs_are_understood() {
    let home = Home::new();
    home.write(
        ".docker/config.json",
        &json!({ "auths": {
            "a.io": { "auth": STANDARD.encode("user:pw"), "identitytoken": "idt" },
            "b.io": { "username": "user", "password": "pw" },
            "c.io": {},
            "d.io": { "auth": "" },
        }}),
    );
    for (host, expected) in [("a.io", "token:idt"), ("b.io", "user:pw"), ("c.io", "-"), ("d.io", "-")] {
        assert_eq!(home.find("r", host, "x").await.unwrap(), expected, "{host}");
    }
}

#[tokio::test]
async fn helpers_are_asked_without_our_secrets() {
    let mut home = Home::new();
    let bin = home.path("bin").display().to_string();
    home.set("PATH", &format!("{bin}:/usr/bin:/bin"));
    script(
        &home.path("bin/docker-credential-good"),
        "read host\nenv > \"$(dirname \"$0\")/env\"\necho called >> \"$(dirname \"$0\")/calls\"\n\
         printf '{\"ServerURL\":\"%s\",\"Username\":\"helped\",\"Secret\":\"%s\"}' \"$host\" \"$host\"",
    );
    script(&home.path("bin/docker-credential-none"), "echo 'credentials not found in native keychain'; exit 1");
    script(&home.path("bin/docker-credential-bad"), "echo 'the vault is closed'; exit 1");
    let leaky = "echo '{\"Username\":\"ann\",\"Secret\":\"s3cret-of-helper\"}'; exit 1";
    script(&home.path("bin/docker-credential-leaky"), leaky);
    script(&home.path("bin/docker-credential-token"), "echo '{\"Username\":\"<token>\",\"Secret\":\"idt\"}'");
    home.set("RHDH_PACK_X_PASSWORD", "s3cret").set("RHDH_PACK_X_USERNAME", "ann").set("GITHUB_TOKEN", "gh");
    home.write(
        ".docker/config.json",
        &json!({
            "auths": { "good.io": { "auth": STANDARD.encode("file:file") }, "none.io": { "auth": STANDARD.encode("n:n") } },
            "credHelpers": {
                "good.io": "good", "none.io": "none", "bad.io": "bad", "gone.io": "gone", "token.io": "token",
                "evil.io": "../../evil", "leaky.io": "leaky",
            },
            "credsStore": "good",
        }),
    );
    assert_eq!(home.find("r", "good.io", "x").await.unwrap(), "helped:good.io");
    // The helper that has none leaves the question to the store of all hosts.
    assert_eq!(home.find("r", "none.io", "x").await.unwrap(), "helped:none.io");
    assert_eq!(home.find("r", "token.io", "x").await.unwrap(), "token:idt");
    assert_eq!(home.find("r", "other.io", "x").await.unwrap(), "helped:other.io");
    for (host, why) in [("bad.io", "the vault is closed"), ("gone.io", "No such file"), ("evil.io", "not the name")] {
        let error = home.find_whole("r", host, "x").await.unwrap_err();
        assert!(std::error::Error::source(&error).unwrap().to_string().contains(why), "{host}");
    }
    let error = home.find_whole("r", "leaky.io", "x").await.unwrap_err();
    let words = std::error::Error::source(&error).unwrap().to_string();
    assert!(words.contains("exit status: 1") && !words.contains("s3cret"), "{words}");
    let environment = std::fs::read_to_string(home.path("bin/env")).unwrap();
    assert!(!environment.contains("RHDH_PACK_") && !environment.contains("GITHUB_TOKEN"), "{environment}");

    let keychain = Keychain::read(home.variables.clone(), 0);
    std::fs::remove_file(home.path("bin/calls")).unwrap();
    for _ in 0..3 {
        keychain.find("r", "good.io", "x").await.unwrap();
    }
    assert_eq!(std::fs::read_to_string(home.path("bin/calls")).unwrap(), "called\n");
}

/// Helpers that leave an agent behind, never stop talking, or fail.
#[tokio::test]
async fn helpers_that_misbehave_are_asked_once() {
    let mut home = Home::new();
    let bin = home.path("bin").display().to_string();
    home.set("PATH", &format!("{bin}:/usr/bin:/bin"));
    let answer = r#"echo '{"Username":"ann","Secret":"pw"}'"#;
    script(&home.path("bin/docker-credential-agent"), &format!("{answer}\nsleep 600 & echo $! > {bin}/agent"));
    script(&home.path("bin/docker-credential-endless"), "exec yes");
    script(&home.path("bin/docker-credential-bad"), &format!("echo called >> {bin}/calls; exit 1"));
    let helpers = json!({ "agent.io": "agent", "endless.io": "endless", "bad.io": "bad" });
    home.write(".docker/config.json", &json!({ "credHelpers": helpers }));
    assert_eq!(home.find("r", "agent.io", "x").await.unwrap(), "ann:pw");
    let agent = std::fs::read_to_string(home.path("bin/agent")).unwrap();
    std::process::Command::new("kill").arg(agent.trim()).status().unwrap();
    let error = home.find_whole("r", "endless.io", "x").await.unwrap_err();
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "its answer is longer than 64 KiB");
    let keychain = Keychain::read(home.variables.clone(), 0);
    for _ in 0..3 {
        keychain.find("r", "bad.io", "x").await.unwrap_err();
    }
    assert_eq!(std::fs::read_to_string(home.path("bin/calls")).unwrap(), "called\n");
}

#[tokio::test]
async fn the_tokens_of_github_and_gitlab_are_for_their_own_hosts() {
    let mut home = Home::new();
    home.set("GITHUB_TOKEN", "gh").set("GITHUB_ACTOR", "ann");
    home.set("CI_REGISTRY", "gitlab.acme.dev:5050").set("CI_REGISTRY_USER", "ci").set("CI_REGISTRY_PASSWORD", "gl");
    assert_eq!(home.find("r", "ghcr.io", "acme/x").await.unwrap(), "ann:gh");
    assert_eq!(home.find("r", "gitlab.acme.dev:5050", "acme/x").await.unwrap(), "ci:gl");
    for other in ["quay.io", "ghcr.io:443", "ghcr.io.evil.dev", "gitlab.acme.dev"] {
        assert_eq!(home.find("r", other, "acme/x").await.unwrap(), "-", "{other}");
    }
    home.write(".docker/config.json", &auths(&[("ghcr.io", "me:own")]));
    assert_eq!(home.find("r", "ghcr.io", "acme/x").await.unwrap(), "me:own");
}

#[tokio::test]
async fn what_cannot_be_read_is_said_without_the_secret() {
    let secret = "dG9wLXNlY3JldA";
    for (content, why) in [
        (format!(r#"{{"auths": {{"quay.io": {{"auth": "{secret}"#), "ends too early"),
        (format!(r#"{{"auths": {{"quay.io": {{"auth": ["{secret}"]}}}}}}"#), "is not what podman and docker write"),
        (r#"{"auths": {"quay.io": {"auth": "dG9wLXNlY3JldA!"}}}"#.to_owned(), "`quay.io` is not base64"),
        (r#"{"auths": {"quay.io": {"auth": "dG9wLXNlY3JldA=="}}}"#.to_owned(), "is not `user:password`"),
        (secret.to_owned(), "is not what podman and docker write"),
    ] {
        let home = Home::new();
        home.text(".docker/config.json", &content);
        let error = home.find_whole("r", "quay.io", "x").await.unwrap_err();
        let shown = format!("{error}: {}", std::error::Error::source(&error).unwrap());
        assert!(shown.contains(why), "{content}: {shown}");
        assert!(!shown.contains(secret) && !shown.contains("top-secret"), "{shown}");
    }
    // What is wrong with one host's entry, or with a file that is not needed, is no matter to others.
    let mut home = Home::new();
    home.text(
        ".docker/config.json",
        r#"{"auths": {"quay.io": {"auth": "!"}, "x.io": null, "y.io": {"auth": "YTpi"}}}"#,
    );
    assert_eq!(home.find("r", "x.io", "x").await.unwrap(), "-");
    assert_eq!(home.find("r", "y.io", "x").await.unwrap(), "a:b");
    home.find("r", "quay.io", "x").await.unwrap_err();
    home.text(".docker/config.json", "{");
    home.find("r", "y.io", "x").await.unwrap_err();
    home.set("RHDH_PACK_R_USERNAME", "ann").set("RHDH_PACK_R_PASSWORD", "pw");
    assert_eq!(home.find("r", "y.io", "x").await.unwrap(), "ann:pw");
    // docker takes these for files that say nothing.
    for nothing in ["", "\n", "{}", r#"{"auths": null, "credHelpers": null, "credsStore": null}"#] {
        home.text(".docker/config.json", nothing);
        assert_eq!(home.find("other", "y.io", "x").await.unwrap(), "-", "{nothing}");
    }
    let mut home = Home::new();
    home.set("REGISTRY_AUTH_FILE", "/nowhere/auth.json");
    assert!(home.find("r", "quay.io", "x").await.unwrap_err().to_string().contains("/nowhere/auth.json"));
    let mut home = Home::new();
    home.set("RHDH_PACK_R_PASSWORD", "x");
    let error = home.find_whole("r", "quay.io", "x").await.unwrap_err();
    assert_eq!(error.to_string(), "`RHDH_PACK_R_PASSWORD` is set, and `RHDH_PACK_R_USERNAME` is not");
}

fn script(path: &Path, body: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}
