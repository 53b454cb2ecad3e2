//! `rhdh-pack doctor`: on repositories that are broken in every way, with real registries, a local GitHub API, and in a
//! real pseudo-terminal.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use common::http::{Server, answer, forward};
use common::registry::{Auth, Registry, free_port};
use common::repository::Repository;
use common::verdaccio::Verdaccio;
use common::{rhdh_pack, transcript};
use serde_json::Value;

const USERNAME: &str = "acme";
const PASSWORD: &str = "correct horse";

/// A repository with one commit, a backend and a frontend that are as they should be, and a bundle of both.
fn repository() -> Repository {
    let repository = Repository::new();
    fs_err::remove_dir_all(repository.root().join(".git")).unwrap();
    repository
        .write(
            "plugins/todo-backend/package.json",
            r#"{ "name": "@acme/plugin-todo-backend", "version": "1.0.0", "main": "src/index.ts",
                 "backstage": { "role": "backend-plugin", "supported-versions": "^1.40.0" } }"#,
        )
        .write("plugins/todo-backend/src/index.ts", "export { todoPlugin as default } from './plugin';\n")
        .write(".gitignore", ".rhdh-pack/\nnode_modules/\n");
    config(&repository, "");
    git(repository.root(), &["init", "--quiet", "--initial-branch=main"]);
    git(repository.root(), &["add", "--all"]);
    git(repository.root(), &["commit", "--quiet", "--message=one"]);
    repository
}

fn config(repository: &Repository, more: &str) {
    repository.config(format!(
        "[rhdh]\nversion = \"1.9\"\ncli = \"1.9.1\"\n[plugins.todo]\npath = \"plugins/todo\"\n\
         [plugins.todo-backend]\npath = \"plugins/todo-backend\"\n[bundles.all]\nplugins = [\"todo\", \"todo-backend\"]\n{more}"
    ));
}

fn git(root: &Path, arguments: &[&str]) {
    let me = ["-c", "user.name=me", "-c", "user.email=me@acme.dev", "-c", "commit.gpgsign=false"];
    let output = Command::new("git").args(me).args(arguments).current_dir(root).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn doctor(root: &Path, environment: &[(&str, &str)]) -> Output {
    let mut command = rhdh_pack(root);
    // Credentials of whoever runs the tests are none of theirs.
    command.env("HOME", root).env("XDG_RUNTIME_DIR", root.join("run"));
    command.args(["doctor", "--format", "json"]).envs(environment.iter().copied()).output().unwrap()
}

/// The exit code, and a line for each finding of an area: its state, what it is of, its text and its help.
fn findings(root: &Path, area: &str, environment: &[(&str, &str)]) -> String {
    let output = doctor(root, environment);
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", transcript(&output, root)));
    assert_eq!(report["schema_version"], 1);
    assert_eq!(report["good"], output.status.code() == Some(0), "{report}");
    let mut text = format!("exit code {}\n", output.status.code().unwrap());
    // How much room there is, is nothing that a test can know.
    let (disk, others): (Vec<&Value>, Vec<&Value>) =
        report["findings"].as_array().unwrap().iter().partition(|finding| finding["what"] == "disk");
    assert!(disk.iter().all(|finding| finding["state"] != "failed"), "there is no room for this test: {disk:?}");
    for finding in others.into_iter().filter(|finding| finding["area"] == area) {
        let field = |name: &str| finding[name].as_str().unwrap_or_default().to_owned();
        text.push_str(&format!("{} {}: {}\n", field("state"), field("what"), field("text")));
        if !field("help").is_empty() {
            text.push_str(&format!("    {}\n", field("help").replace('\n', "\n    ")));
        }
    }
    assert!(!text.contains(PASSWORD) && !String::from_utf8_lossy(&output.stderr).contains(PASSWORD), "{text}");
    text.replace(&*root.to_string_lossy(), "<root>")
}

#[test]
fn without_a_configuration_it_says_what_it_can() {
    let empty = tempfile::tempdir().unwrap();
    let nothing = findings(empty.path(), "repository", &[]);
    let repository = repository();
    repository.remove("rhdh-plugins.toml");
    let found = findings(repository.root(), "repository", &[]);
    insta::with_settings!({ filters => vec![("[0-9a-f]{10}", "<commit>")] }, {
        insta::assert_snapshot!("doctor_without_configuration", format!("== nothing
{nothing}== plugins
{found}"));
    });
}

#[test]
fn a_repository_that_is_right() {
    let repository = repository();
    insta::with_settings!({ filters => vec![("[0-9a-f]{10}", "<commit>")] }, {
        insta::assert_snapshot!("doctor_repository", findings(repository.root(), "repository", &[]));
    });
    assert!(findings(repository.root(), "registries", &[]).lines().count() == 1);
}

/// Each thing that can be wrong with a repository, alone.
#[test]
fn what_is_wrong_with_a_repository() {
    type Break = fn(&Repository);
    let cases: [(&str, Break); 14] = [
        ("configuration", |it| config(it, "[plugins.gone]\npath = \"plugins/gone\"\nregistries = [\"nowhere\"]\n")),
        ("release", |it| {
            config(it, "");
            let text = fs_err::read_to_string(it.root().join("rhdh-plugins.toml")).unwrap();
            it.config(text.replace("1.9\"\n", "1.4\"\n"));
        }),
        ("plug'n'play", |it| {
            it.write(".pnp.cjs", "");
        }),
        ("lock file", |it| {
            it.write("node_modules/x/package.json", "{}").write("yarn.lock", "<<<<<<< HEAD\n");
        }),
        ("not locked", |it| {
            it.write("node_modules/x/package.json", "{}").write("yarn.lock", "__metadata:\n  version: 8\n").write(
                "plugins/todo/package.json",
                r#"{ "name": "@acme/plugin-todo", "version": "1.0.0", "backstage": { "role": "frontend-plugin" },
                     "dependencies": { "ms": "^2.0.0" } }"#,
            );
        }),
        ("other version", |it| {
            it.write("node_modules/ms/package.json", r#"{ "name": "ms", "version": "2.0.0" }"#)
                .write(
                    "yarn.lock",
                    "__metadata:\n  version: 8\n\n\"ms@npm:^2.0.0\":\n  version: 2.1.3\n  resolution: \"ms@npm:2.1.3\"\n  languageName: node\n  linkType: hard\n",
                )
                .write(
                    "plugins/todo/package.json",
                    r#"{ "name": "@acme/plugin-todo", "version": "1.0.0", "backstage": { "role": "frontend-plugin" },
                         "dependencies": { "ms": "^2.0.0" } }"#,
                );
        }),
        ("no backstage.json", |it| {
            it.remove("backstage.json");
        }),
        ("newer Backstage", |it| {
            it.write("backstage.json", r#"{ "version": "1.46.1" }"#);
        }),
        ("supported versions", |it| {
            it.write("backstage.json", r#"{ "version": "1.39.0" }"#);
        }),
        ("default export", |it| {
            it.write("plugins/todo-backend/src/index.ts", "// export default x\nexport * from './plugin';\n");
        }),
        ("entry point", |it| {
            it.remove("plugins/todo-backend/src/index.ts");
        }),
        ("scalprum name", |it| {
            it.write("plugins/todo/app-config.yaml", "dynamicPlugins:\n  frontend:\n    acme.todo: {}\n");
            let text = fs_err::read_to_string(it.root().join("rhdh-plugins.toml")).unwrap();
            it.config(
                text.replace("plugins/todo\"\n", "plugins/todo\"\napp-config = \"plugins/todo/app-config.yaml\"\n"),
            );
        }),
        ("scalprum config", |it| {
            it.write("plugins/todo/scalprum.json", "{ \"exposedModules\": {} }");
            let text = fs_err::read_to_string(it.root().join("rhdh-plugins.toml")).unwrap();
            it.config(
                text.replace("plugins/todo\"\n", "plugins/todo\"\nscalprum-config = \"plugins/todo/scalprum.json\"\n"),
            );
        }),
        ("prebuilt", |it| {
            let text = fs_err::read_to_string(it.root().join("rhdh-plugins.toml")).unwrap();
            it.config(text.replace("plugins/todo\"\n", "plugins/todo\"\nexport = \"prebuilt\"\n"));
        }),
    ];
    let mut all = String::new();
    for (name, broken) in cases {
        let repository = repository();
        broken(&repository);
        let found = findings(repository.root(), "repository", &[]);
        let (code, found) = found.split_once('\n').unwrap();
        // What is well is shown by another test.
        let bad: Vec<&str> = found.lines().filter(|line| !line.starts_with("ok ")).collect();
        all.push_str(&format!("== {name}: {code}\n{}\n", bad.join("\n")));
    }
    insta::assert_snapshot!("doctor_broken_repositories", all);
}

/// A `dist-dynamic` of one's own build, older than the sources; and one that is committed for nothing.
#[test]
fn stale_dist_dynamic() {
    let repository = repository();
    repository
        .write(
            "plugins/todo/dist-dynamic/package.json",
            r#"{ "name": "@acme/plugin-todo-dynamic", "version": "1.0.0", "backstage": { "role": "frontend-plugin" } }"#,
        )
        .write("plugins/todo/dist-dynamic/dist-scalprum/plugin-manifest.json", "{}")
        .write("plugins/todo/src/index.ts", "");
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let file =
        std::fs::File::options().write(true).open(repository.root().join("plugins/todo/dist-dynamic/package.json"));
    file.unwrap().set_modified(old).unwrap();
    git(repository.root(), &["add", "--all"]);
    let committed = findings(repository.root(), "repository", &[]);
    assert!(
        committed.contains("warn plugin todo: `dist-dynamic` is committed, and every export makes it anew"),
        "{committed}"
    );

    let text = fs_err::read_to_string(repository.root().join("rhdh-plugins.toml")).unwrap();
    repository.config(text.replace("plugins/todo\"\n", "plugins/todo\"\nexport = \"prebuilt\"\n"));
    let stale = findings(repository.root(), "repository", &[]);
    let expected = "warn plugin todo: `dist-dynamic` is older than `";
    assert!(stale.starts_with("exit code 0\n") && stale.contains(expected), "{stale}");
}

/// A shallow clone of a branch, whose base is not in it: nothing is fetched to find that out.
#[test]
fn a_shallow_clone() {
    let repository = repository();
    git(repository.root(), &["checkout", "--quiet", "-b", "topic"]);
    git(repository.root(), &["commit", "--quiet", "--allow-empty", "--message=two"]);
    git(repository.root(), &["checkout", "--quiet", "main"]);
    git(repository.root(), &["commit", "--quiet", "--allow-empty", "--message=three"]);
    let folder = tempfile::tempdir().unwrap();
    let source = format!("file://{}", repository.root().display());
    // Both branches, each with its last commit only: the merge base is not known.
    git(folder.path(), &["clone", "--quiet", "--depth=1", "--branch=topic", "--no-single-branch", &source, "clone"]);
    let clone = folder.path().join("clone");
    let found = findings(&clone, "repository", &[]);
    assert!(found.contains("warn git history: the clone is shallow, and the base is not in it: "), "{found}");
    let depth = Command::new("git").args(["rev-list", "--count", "HEAD"]).current_dir(&clone).output().unwrap();
    assert_eq!(depth.stdout, b"1\n");
}

/// Machines without node, with an old one, without npm; and one where nothing can be fetched.
#[test]
fn what_is_wrong_with_a_machine() {
    let repository = repository();
    let tools = tempfile::tempdir().unwrap();
    let script = |name: &str, text: &str| {
        let file = tools.path().join(name);
        fs_err::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs_err::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let path = tools.path().to_str().unwrap();
    let empty_cache = tools.path().join("cache");
    let machine = || {
        let cache = empty_cache.to_str().unwrap();
        let found = findings(repository.root(), "machine", &[("PATH", path), ("RHDH_PACK_CACHE", cache)]);
        found.trim_end().replace(path, "<tools>")
    };
    let mut all = format!("== nothing on PATH\n{}\n", machine());
    script("git", "echo git version 2.47.3");
    script("node", "echo v18.20.4");
    all.push_str(&format!("== old node\n{}\n", machine()));
    script("node", "echo v22.1.0");
    all.push_str(&format!("== no npm\n{}\n", machine()));
    script(
        "npm",
        "echo 'npm error code ENOTFOUND' >&2; echo 'npm error request to https://registry.npmjs.org failed, reason: getaddrinfo ENOTFOUND registry.npmjs.org' >&2; exit 1",
    );
    all.push_str(&format!("== no network\n{}\n", machine()));
    insta::assert_snapshot!("doctor_machines", all);
}

/// The channels and the registry of most tests.
fn with_registry(repository: &Repository, host: &str) {
    config(
        repository,
        &format!(
            "[defaults]\nregistries = [\"cncf\"]\n[registries.cncf]\noci = \"{host}/acme\"\n\
             [channels.next]\non = {{ branch = \"main\" }}\ntags = [\"next\"]\noverwrite = true\n\
             [channels.release]\non = {{ tag = \"v*\" }}\ntags = [\"{{version}}\"]\n"
        ),
    );
}

/// Everything that a registry keeps, apart from what the CNCF registry forgets to remove with an upload that was ended:
/// the state of its hash, of 80 bytes.
fn kept(registry: &Registry) -> Vec<String> {
    let files = walkdir::WalkDir::new(&registry.data).into_iter().filter_map(Result::ok);
    let files = files.filter(|entry| entry.file_type().is_file()).map(|entry| entry.path().display().to_string());
    let (rest, kept): (Vec<_>, Vec<_>) = files.partition(|file| file.contains("/hashstates/"));
    assert!(!rest.is_empty(), "an upload was opened");
    kept
}

/// Puts an image without layers into the registry.
fn put_image(registry: &Registry, reference: &str) {
    let folder = tempfile::tempdir().unwrap();
    let config = b"{}";
    let digest = rhdh_pack::digest::Digest::of(config);
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest.as_str(), "size": config.len()
        },
        "layers": [],
    });
    fs_err::write(folder.path().join("version"), "Directory Transport Version: 1.1\n").unwrap();
    fs_err::write(folder.path().join("manifest.json"), manifest.to_string()).unwrap();
    fs_err::write(folder.path().join(digest.hex()), config).unwrap();
    let output = Command::new("skopeo")
        .args(["copy", "--dest-tls-verify=false", &format!("dir:{}", folder.path().display())])
        .arg(format!("docker://{}/{reference}", registry.host))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_registry_that_anybody_may_use() {
    let registry = Registry::start(Auth::Open);
    let repository = repository();
    with_registry(&repository, &registry.host);
    let filters = vec![(r"127\.0\.0\.1:\d+", "<host>")];
    insta::with_settings!({ filters => filters.clone() }, {
        insta::assert_snapshot!("doctor_open_registry", findings(repository.root(), "registries", &[]));
    });
    assert_eq!(kept(&registry), Vec::<String>::new(), "nothing is left behind");

    // Once something is there: a fixed tag is taken.
    put_image(&registry, "acme/acme-plugin-todo:1.0.0");
    insta::with_settings!({ filters => filters }, {
        insta::assert_snapshot!("doctor_used_registry", findings(repository.root(), "registries", &[]));
    });
}

#[test]
fn a_registry_that_wants_a_password() {
    let registry = Registry::start(Auth::Basic { username: USERNAME, password: PASSWORD });
    let repository = repository();
    with_registry(&repository, &registry.host);
    let found = |password: Option<&str>| {
        let environment: Vec<(&str, &str)> = password
            .map(|password| [("RHDH_PACK_CNCF_USERNAME", USERNAME), ("RHDH_PACK_CNCF_PASSWORD", password)])
            .into_iter()
            .flatten()
            .collect();
        findings(repository.root(), "registries", &environment).replace(&registry.host, "<host>")
    };
    // In a CI, nobody gets any further.
    let in_ci = findings(repository.root(), "registries", &[("CI", "true")]).replace(&registry.host, "<host>");
    assert!(in_ci.starts_with("exit code 3\nfailed registry cncf: logging in to `<host>`"), "{in_ci}");
    let all = format!(
        "== right\n{}== wrong\n{}== none\n{}== half\n{}",
        found(Some(PASSWORD)),
        found(Some("wrong")),
        found(None),
        findings(repository.root(), "registries", &[("RHDH_PACK_CNCF_USERNAME", USERNAME)])
            .replace(&registry.host, "<host>")
    );
    insta::assert_snapshot!("doctor_registry_with_password", all);
    assert_eq!(kept(&registry), Vec::<String>::new(), "nothing is left behind");
}

#[test]
fn registries_that_do_not_take_anything() {
    let read_only = Registry::start_with(Auth::Open, "", "  maintenance:\n    readonly:\n      enabled: true\n");
    let repository = repository();
    with_registry(&repository, &read_only.host);
    let mut all =
        format!("== read-only\n{}", findings(repository.root(), "registries", &[]).replace(&read_only.host, "<host>"));
    let nobody = format!("127.0.0.1:{}", free_port());
    with_registry(&repository, &nobody);
    all.push_str(&format!(
        "== nobody there\n{}",
        findings(repository.root(), "registries", &[]).replace(&nobody, "<host>")
    ));
    let other = Server::start(|_| answer("418 I'm a teapot", "", "no"));
    with_registry(&repository, &other.host);
    all.push_str(&format!(
        "== no registry\n{}",
        findings(repository.root(), "registries", &[]).replace(&other.host, "<host>")
    ));
    insta::assert_snapshot!("doctor_registries_that_fail", all);
}

/// A Quay makes a repository when somebody asks for a token to push to it: it must not be asked.
#[test]
fn quay_is_not_asked_for_what_would_make_a_repository() {
    let real = Registry::start(Auth::Open);
    let upstream = real.host.clone();
    let quay = Server::start(move |request| {
        let host = request.header("host").unwrap().to_owned();
        if request.target.starts_with("/v2/auth") {
            return answer("200 OK", "Content-Type: application/json\r\n", r#"{ "token": "t" }"#);
        }
        if request.header("authorization").is_none() {
            let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{host}/v2/auth\",service=\"{host}\"\r\n");
            return answer("401 Unauthorized", &challenge, "{}");
        }
        forward(&upstream, request)
    });
    let repository = repository();
    with_registry(&repository, &quay.host);
    let found = findings(repository.root(), "registries", &[]).replace(&quay.host, "<host>");
    insta::assert_snapshot!("doctor_quay", found);
    let asked = quay.received.lock().unwrap();
    assert!(asked.iter().any(|request| request.target.contains("pull")), "{asked:?}");
    assert!(!asked.iter().any(|request| request.target.contains("push")), "{asked:?}");
}

#[test]
fn npm_registries_and_folders() {
    let verdaccio = Verdaccio::start();
    let repository = repository();
    config(
        &repository,
        &format!(
            "[defaults]\nregistries = [\"npm\", \"site\"]\n[registries.npm]\nnpm = \"{}\"\n[registries.site]\ndir = \"public\"\n\
             [registries.unused]\noci = \"quay.io/acme\"\n",
            verdaccio.url
        ),
    );
    let found = |environment: &[(&str, &str)]| {
        findings(repository.root(), "registries", environment).replace(verdaccio.url.trim_end_matches('/'), "<url>")
    };
    let all = format!("== token\n{}== none\n{}", found(&[("NODE_AUTH_TOKEN", &verdaccio.token)]), found(&[]));
    insta::assert_snapshot!("doctor_npm_and_folder", all);
    assert!(!repository.root().join("public").exists());
}

/// GitHub's API as GitHub documents it: a token that may comment, one that may only read, one that is no good.
#[test]
fn the_forges_token() {
    let github = Server::start(|request| {
        request.read_body(usize::MAX);
        let good = request.header("authorization") == Some("Bearer good");
        match (request.method.as_str(), request.target.as_str(), request.header("authorization")) {
            (_, _, Some("Bearer bad")) => answer("401 Unauthorized", "", r#"{ "message": "Bad credentials" }"#),
            ("GET", "/repos/acme/plugins", _) => {
                answer("200 OK", "X-OAuth-Scopes: repo, read:packages\r\n", r#"{ "full_name": "acme/plugins" }"#)
            }
            ("POST", "/repos/acme/plugins/issues/7/comments", _) if good => {
                assert_eq!(request.body, br#"{"body":""}"#);
                answer("422 Unprocessable Entity", "", r#"{ "message": "Validation Failed" }"#)
            }
            ("POST", _, _) => answer("403 Forbidden", "", r#"{ "message": "Resource not accessible by integration" }"#),
            _ => answer("404 Not Found", "", r#"{ "message": "Not Found" }"#),
        }
    });
    let repository = repository();
    config(&repository, "[registries.ghcr]\noci = \"ghcr.io/acme\"\n");
    let api = format!("http://{}", github.host);
    let found = |token: &str, name: &str| {
        let environment = [
            ("CI", "true"),
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_EVENT_NAME", "pull_request"),
            ("GITHUB_REF", "refs/pull/7/merge"),
            ("GITHUB_REPOSITORY", name),
            ("GITHUB_API_URL", &api),
            ("GITHUB_TOKEN", token),
        ];
        findings(repository.root(), "forge", &environment).replace(&api, "<api>")
    };
    let all = format!(
        "== good\n{}== reads only\n{}== bad\n{}== other repository\n{}== none\n{}",
        found("good", "acme/plugins"),
        found("reader", "acme/plugins"),
        found("bad", "acme/plugins"),
        found("good", "acme/other"),
        found("", "acme/plugins"),
    );
    insta::assert_snapshot!("doctor_github", all);
}

#[test]
fn gitlabs_token() {
    let gitlab = Server::start(|request| match request.header("private-token") {
        Some("good") => answer("200 OK", "", r#"{ "scopes": ["api"] }"#),
        Some("reader") => answer("200 OK", "", r#"{ "scopes": ["read_api"] }"#),
        _ => answer("401 Unauthorized", "", r#"{ "message": "401 Unauthorized" }"#),
    });
    let repository = repository();
    let api = format!("http://{}/api/v4", gitlab.host);
    let found = |token: &str| {
        let environment = [
            ("GITLAB_CI", "true"),
            ("CI", "true"),
            ("CI_PIPELINE_SOURCE", "merge_request_event"),
            ("CI_MERGE_REQUEST_IID", "7"),
            ("CI_API_V4_URL", &api),
            ("RHDH_PACK_GITLAB_TOKEN", token),
        ];
        findings(repository.root(), "forge", &environment).replace(&api, "<api>")
    };
    insta::assert_snapshot!(
        "doctor_gitlab",
        format!(
            "== good\n{}== reads only\n{}== bad\n{}== none\n{}",
            found("good"),
            found("reader"),
            found("bad"),
            found("")
        )
    );
}

/// Releases and packages, by APIs that answer as GitHub and GitLab document it: whoever may write them, whoever may
/// not.
#[test]
fn releases_and_packages() {
    let github = Server::start(|request| {
        request.read_body(usize::MAX);
        match (request.method.as_str(), request.target.as_str(), request.header("authorization")) {
            (_, _, Some("Bearer bad")) => answer("401 Unauthorized", "", r#"{ "message": "Bad credentials" }"#),
            ("GET", "/repos/acme/plugins", _) => answer("200 OK", "", r#"{ "archived": false }"#),
            ("GET", "/repos/acme/old", _) => answer("200 OK", "", r#"{ "archived": true }"#),
            ("POST", "/repos/acme/plugins/releases", Some("Bearer good")) => {
                assert_eq!(request.body, br#"{"tag_name":"","draft":true}"#);
                answer("422 Unprocessable Entity", "", r#"{ "message": "Validation Failed" }"#)
            }
            ("POST", "/repos/acme/plugins/releases", _) => {
                answer("403 Forbidden", "", r#"{ "message": "Resource not accessible by integration" }"#)
            }
            ("GET", _, _) => answer("404 Not Found", "", r#"{ "message": "Not Found" }"#),
            other => panic!("{other:?}"),
        }
    });
    let gitlab = Server::start(|request| {
        let token = request.header("private-token").or(request.header("job-token")).unwrap_or_default().to_owned();
        let not_found = || answer("404 Not Found", "", r#"{ "message": "404 Not Found" }"#);
        match (request.method.as_str(), request.target.as_str(), token.as_str()) {
            (_, _, "bad") => answer("401 Unauthorized", "", r#"{ "message": "401 Unauthorized" }"#),
            ("GET", "/projects/acme%2Fplugins/packages?per_page=1", _) => answer("200 OK", "", "[]"),
            ("GET", _, "job") => not_found(),
            ("GET", "/projects/acme%2Fplugins", "reporter") => answer(
                "200 OK",
                "",
                r#"{ "permissions": { "project_access": { "access_level": 20 }, "group_access": null } }"#,
            ),
            ("GET", "/projects/acme%2Fplugins", _) => answer(
                "200 OK",
                "",
                r#"{ "permissions": { "project_access": null, "group_access": { "access_level": 30 } } }"#,
            ),
            ("GET", "/personal_access_tokens/self", "reader") => answer("200 OK", "", r#"{ "scopes": ["read_api"] }"#),
            ("GET", "/personal_access_tokens/self", _) => answer("200 OK", "", r#"{ "scopes": ["api"] }"#),
            ("GET", _, _) => not_found(),
            other => panic!("{other:?}"),
        }
    });
    let repository = repository();
    let hosts =
        [("GITHUB_API_URL", format!("http://{}", github.host)), ("CI_API_V4_URL", format!("http://{}", gitlab.host))];
    let found = |kind: &str, token: &str, value: &str| {
        config(&repository, &format!("[defaults]\nregistries = [\"files\"]\n[registries.files]\n{kind}\n"));
        let mut environment: Vec<_> = hosts.iter().map(|(name, host)| (*name, host.as_str())).collect();
        environment.push((token, value));
        let text = findings(repository.root(), "registries", &environment);
        let text = text.replace(&github.host, "<github>").replace(&gitlab.host, "<gitlab>");
        format!("== {kind}, {token}={value}\n{text}")
    };
    let (own, release) = ("RHDH_PACK_FILES_TOKEN", "github-release = \"acme/plugins\"");
    let mut all: Vec<String> = [(own, "good"), (own, "reader"), (own, "bad"), ("UNUSED", "1")]
        .map(|(name, value)| found(release, name, value))
        .into();
    all.push(found("github-release = \"acme/old\"", "GITHUB_TOKEN", "good"));
    all.push(found("github-release = \"acme/none\"", "GITHUB_TOKEN", "good"));
    let packages = "gitlab-packages = \"acme/plugins\"";
    let tokens = [
        (own, "developer"),
        (own, "reporter"),
        (own, "reader"),
        (own, "bad"),
        ("CI_JOB_TOKEN", "job"),
        ("UNUSED", "1"),
    ];
    all.extend(tokens.map(|(name, value)| found(packages, name, value)));
    all.push(found("gitlab-packages = \"acme/none\"", own, "developer"));
    insta::assert_snapshot!("doctor_files", all.concat());
}

/// What people see, in a terminal with colours.
#[test]
fn in_a_terminal() {
    let repository = repository();
    repository.remove("backstage.json");
    let mut command = rhdh_pack(repository.root());
    command.args(["doctor"]).env("TERM", "xterm-256color").env("HOME", repository.root());
    let mut terminal = rexpect::session::spawn_command(command, Some(60_000)).unwrap();
    terminal.exp_string("machine").unwrap();
    // The sign before it is more than the terminal's reader understands: it takes bytes for letters.
    terminal.exp_string("\x1b[0m npm").unwrap();
    terminal.exp_string("repository").unwrap();
    terminal.exp_string("\x1b[33m!\x1b[0m Backstage").unwrap();
    terminal.exp_string("\x1b[36mhelp\x1b[0m: write `{ \"version\": \"1.45.3\" }`").unwrap();
    let end = terminal.exp_eof().unwrap();
    assert!(end.contains(" 0 failed, "), "{end}");

    let quiet =
        rhdh_pack(repository.root()).args(["--quiet", "doctor"]).env("HOME", repository.root()).output().unwrap();
    let text = transcript(&quiet, repository.root());
    assert!(text.starts_with("exit code: 0\n--- stdout\n--- stderr\n") && !text.contains('✓'), "{text}");
}
