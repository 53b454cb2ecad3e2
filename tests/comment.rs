//! The comment of a pull request and the note of a merge request, written by the program to servers that answer as
//! GitHub and GitLab document it; and the texts of both, and of the job summary.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::http::{Request, Server, answer};
use common::repository::Repository;
use common::tunnel::{HOST, Tunnel};
use rhdh_pack::registry::Limits;
use rhdh_pack::report::comment::{self, Place};
use rhdh_pack::ui::{Ui, Verbosity};
use secrecy::SecretString;
use serde_json::{Value, json};

const MARKER: &str = "<!-- rhdh-pack: rhdh-plugins.toml -->";

/// What the server holds, and how it misbehaves.
#[derive(Default)]
struct Forge {
    comments: Vec<Value>,
    /// Answers that come first: method, a part of the path, status line, headers, body.
    faults: Vec<(&'static str, &'static str, &'static str, &'static str, &'static str)>,
    /// The answer to `GET /user`.
    user: Option<&'static str>,
    minimized: Vec<&'static str>,
    /// How long answers take.
    slow: std::time::Duration,
}

fn comment(id: u64, login: &str, body: &str) -> Value {
    json!({ "id": id, "node_id": format!("IC_{id}"), "body": body, "user": { "login": login, "type": "User" } })
}

/// GitHub, as far as comments go. The second value is what it holds.
fn github(forge: Forge) -> (Server, Arc<Mutex<Forge>>) {
    let forge = Arc::new(Mutex::new(forge));
    let held = Arc::clone(&forge);
    let server = Server::start(move |request| {
        request.read_body(usize::MAX);
        let mut forge = forge.lock().unwrap();
        std::thread::sleep(forge.slow);
        let fault = forge
            .faults
            .iter()
            .position(|(method, part, ..)| request.method == *method && request.target.contains(part));
        if let Some(at) = fault {
            let (_, _, status, headers, body) = forge.faults.remove(at);
            return answer(status, headers, body);
        }
        github_answer(request, &mut forge)
    });
    (server, held)
}

fn github_answer(request: &Request, forge: &mut Forge) -> Vec<u8> {
    assert_eq!(request.header("authorization"), Some("Bearer gh-token"), "{}", request.head);
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    match (request.method.as_str(), path) {
        ("GET", "/user") => match forge.user {
            Some(login) => answer("200 OK", "", &json!({ "login": login, "type": "User" }).to_string()),
            None => answer("403 Forbidden", "", r#"{"message": "Resource not accessible by integration"}"#),
        },
        ("GET", "/repos/acme/plugins/issues/7/comments") => {
            let page: usize = query.rsplit_once("page=").unwrap().1.parse().unwrap();
            let pages: Vec<&[Value]> = forge.comments.chunks(2).collect();
            let link =
                if page < pages.len() { "Link: <https://api.github.com/x?page=9>; rel=\"next\"\r\n" } else { "" };
            let comments = pages.get(page - 1).copied().unwrap_or_default();
            answer("200 OK", link, &json!(comments).to_string())
        }
        ("POST", "/graphql") => {
            let ids = body["variables"]["ids"].as_array().unwrap();
            let node =
                |id: &Value| json!({ "id": id, "isMinimized": forge.minimized.iter().any(|hidden| id == hidden) });
            answer("200 OK", "", &json!({ "data": { "nodes": ids.iter().map(node).collect::<Vec<_>>() } }).to_string())
        }
        ("POST", "/repos/acme/plugins/issues/7/comments") => {
            let new = comment(1000 + forge.comments.len() as u64, "robot", body["body"].as_str().unwrap());
            forge.comments.push(new.clone());
            answer("201 Created", "", &new.to_string())
        }
        ("PATCH", path) => {
            let id: u64 = path.strip_prefix("/repos/acme/plugins/issues/comments/").unwrap().parse().unwrap();
            let found = forge.comments.iter_mut().find(|comment| comment["id"] == id).unwrap();
            found["body"] = body["body"].clone();
            answer("200 OK", "", &found.to_string())
        }
        other => panic!("{other:?}"),
    }
}

/// A repository with a result, as a run leaves it.
fn repository(result: &Value) -> Repository {
    let repository = Repository::new();
    repository
        .write(
            "rhdh-plugins.toml",
            "[plugins.todo]\npath = \"plugins/todo\"\n[plugins.todo-backend]\npath = \"plugins/todo-backend\"\n",
        )
        .write(".rhdh-pack/result.json", result.to_string());
    repository
}

fn report(repository: &Repository, api: &str) -> Command {
    let mut command = common::rhdh_pack(repository.root());
    command.args(["--verbose", "report"]).envs([
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_EVENT_NAME", "pull_request"),
        ("GITHUB_REF", "refs/pull/7/merge"),
        ("GITHUB_REPOSITORY", "acme/plugins"),
        ("GITHUB_SERVER_URL", "https://github.com"),
        ("GITHUB_RUN_ID", "42"),
        ("GITHUB_TOKEN", "gh-token"),
    ]);
    command.env("GITHUB_API_URL", format!("http://{api}")).env("GITHUB_GRAPHQL_URL", format!("http://{api}/graphql"));
    command.env("GITHUB_WORKSPACE", repository.root());
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Methods and paths of what the server was asked.
fn requests(server: &Server) -> Vec<String> {
    server.received.lock().unwrap().iter().map(|request| format!("{} {}", request.method, request.target)).collect()
}

fn sha256(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

fn artifact(id: &str, state: &str, version: &str, reason: &str) -> Value {
    json!({
        "id": id, "state": state, "action": "build", "version": version, "content_key": null, "role": "frontend-plugin",
        "reasons": [{ "kind": "file", "text": reason }], "image": null, "tgz": null, "plugin_config": null, "error": null,
    })
}

/// A run that pushed one plugin and failed at another.
fn mixed_result() -> Value {
    let integrity = format!("sha512-{}==", "A".repeat(86));
    let mut todo = artifact("todo", "published", "1.0.0", "`plugins/todo/src/index.ts` changed");
    todo["image"] = json!({ "name": "acme-plugin-todo", "digest": sha256('a'), "size": 2_812_345, "files": 845 });
    todo["images"] = json!([{
        "registry": "quay", "reference": format!("quay.io/acme/acme-plugin-todo@{}", sha256('a')), "digest": sha256('a'),
        "tags": ["key-0123456789abcdef0123", "pr_7__1.0.0"], "size": 2_812_345, "state": "new",
    }]);
    todo["base_image"] = json!({ "reference": "quay.io/acme/acme-plugin-todo:next", "size": 2_800_000 });
    todo["tgz"] = json!({ "file": "tgz/acme-plugin-todo-1.0.0.tgz", "integrity": integrity, "size": 2_512_345 });
    todo["packages"] = json!([{
        "plugin": "todo", "dir": "acme-plugin-todo", "name": "acme-plugin-todo-dynamic", "version": "1.0.0", "files": 845,
        "unpacked_size": 23_400_000, "inside": { "packages": 0, "largest": [], "native_modules": [], "licenses": {}, "unused": [] },
    }]);
    todo["plugin_config"] = json!({ "dynamicPlugins": { "frontend": { "acme.plugin-todo": { "mountPoints": [] } } } });
    let mut backend =
        artifact("todo-backend", "failed", "1.0.0", "depends on `@acme/plugin-todo-common`, which changed");
    backend["error"] = json!({
        "code": "command-failed",
        "message": "`yarn tsc` failed: plugins/todo-backend/src/router.ts(3,14): error TS2322: Type 'string' is not assignable to type 'number'.",
        "help": "run `yarn tsc` in the workspace and correct what it says", "log": "logs/tsc.log",
        "log_tail": ["plugins/todo-backend/src/router.ts(3,14): error TS2322: Type 'string' is not assignable to type 'number'."],
    });
    json!({
        "schema_version": 1, "rhdh_pack": "0.1.0", "channel": "pr", "commit": "0123456789abcdef0123456789abcdef01234567",
        "started": "2026-01-02T03:04:05Z", "finished": "2026-01-02T03:05:05Z", "outcome": "failure",
        "plugins": [todo, backend, artifact("todo-node", "skipped", "1.0.0", "nothing of it changed")], "bundles": [],
    })
}

#[test]
fn the_comment_is_made_once_and_then_kept_up_to_date() {
    let (server, forge) = github(Forge { user: Some("robot"), ..Forge::default() });
    let repository = repository(&mixed_result());
    repository.write("plugins/todo-backend/src/router.ts", "");
    let summary = repository.root().join("summary");
    let outputs = repository.root().join("outputs");
    let run = || {
        report(&repository, &server.host)
            .env("GITHUB_STEP_SUMMARY", &summary)
            .env("GITHUB_OUTPUT", &outputs)
            .output()
            .unwrap()
    };
    let output = run();
    assert_eq!(output.status.code(), Some(1), "a plugin failed: {}", stderr(&output));
    let body = forge.lock().unwrap().comments[0]["body"].as_str().unwrap().to_owned();
    insta::assert_snapshot!("comment", body);
    insta::assert_snapshot!("summary", fs_err::read_to_string(&summary).unwrap());
    assert!(
        stderr(&output).contains("::error file=plugins/todo-backend/src/router.ts,line=3,col=14,title=todo-backend::"),
        "{}",
        stderr(&output)
    );
    let outputs_text = fs_err::read_to_string(&outputs).unwrap();
    let value = |name: &str| {
        let (_, rest) = outputs_text.split_once(&format!("{name}<<")).unwrap();
        let (delimiter, rest) = rest.split_once('\n').unwrap();
        rest.split_once(&format!("\n{delimiter}\n")).unwrap().0.to_owned()
    };
    assert_eq!(value("changed"), "true");
    assert_eq!(value("count"), "3");
    assert_eq!(value("failed"), "todo-backend");
    assert_eq!(value("published"), format!("quay.io/acme/acme-plugin-todo@{}", sha256('a')));
    assert_eq!(value("digests"), json!({ "todo": sha256('a') }).to_string());
    let result: Value = serde_json::from_str(&value("result")).unwrap();
    assert_eq!(result["outcome"], "failure");
    let subjects = fs_err::read_to_string(value("subjects-file")).unwrap();
    assert!(subjects.starts_with(&format!("{}  quay.io/acme/acme-plugin-todo\n", "a".repeat(64))), "{subjects}");

    // The same text again changes nothing; another text is written over it.
    run();
    assert!(!requests(&server).iter().any(|request| request.starts_with("PATCH")), "{:?}", requests(&server));
    let mut other = mixed_result();
    other["commit"] = json!("fedcba9876543210fedcba9876543210fedcba98");
    repository.write(".rhdh-pack/result.json", other.to_string());
    run();
    let forge = forge.lock().unwrap();
    assert_eq!(forge.comments.len(), 1);
    assert!(forge.comments[0]["body"].as_str().unwrap().contains("fedcba9"));
}

/// An image that was held back, or is unsigned, has no tag of the channel: nobody is told to install it.
#[test]
fn what_failed_is_not_handed_on() {
    for (tags, is_published) in [(&["key-0123456789abcdef0123"][..], false), (&["pr_7__1.0.0"], true)] {
        let mut result = mixed_result();
        result["plugins"][0]["state"] = json!("failed");
        result["plugins"][0]["images"][0]["tags"] = json!(tags);
        let repository = repository(&result);
        let output = report(&repository, "127.0.0.1:1").env_remove("GITHUB_TOKEN").output().unwrap();
        let out = |file: &str| fs_err::read_to_string(repository.root().join(".rhdh-pack").join(file)).unwrap();
        let reference = format!("oci://quay.io/acme/acme-plugin-todo@{}", sha256('a'));
        assert_eq!(out("dynamic-plugins.yaml").contains(&reference), is_published, "{}", stderr(&output));
        assert_eq!(out("subjects.txt").contains("quay.io/acme/acme-plugin-todo"), is_published);
    }
}

#[test]
fn only_our_own_comment_that_nobody_has_hidden_is_changed_on_whichever_page() {
    let text = format!("{MARKER}\nold");
    let comments = vec![
        comment(1, "ann", "hello"),
        comment(2, "mallory", &text),
        comment(3, "robot", &text),
        comment(4, "robot", &format!("quoting {MARKER}")),
        comment(5, "robot", "<!-- rhdh-pack: other/rhdh-plugins.toml -->\nother"),
        comment(6, "robot", &text),
    ];
    let (server, forge) = github(Forge { comments, user: Some("robot"), minimized: vec!["IC_3"], ..Forge::default() });
    let output = report(&repository(&mixed_result()), &server.host).output().unwrap();
    let changed: Vec<u64> = forge
        .lock()
        .unwrap()
        .comments
        .iter()
        .filter(|comment| comment["body"].as_str().unwrap().contains("**rhdh-pack:**"))
        .map(|comment| comment["id"].as_u64().unwrap())
        .collect();
    assert_eq!(changed, [6], "{}", stderr(&output));
    assert_eq!(
        requests(&server),
        [
            "GET /user",
            "GET /repos/acme/plugins/issues/7/comments?per_page=100&page=1",
            "GET /repos/acme/plugins/issues/7/comments?per_page=100&page=2",
            "GET /repos/acme/plugins/issues/7/comments?per_page=100&page=3",
            "POST /graphql",
            "PATCH /repos/acme/plugins/issues/comments/6",
        ]
    );
}

#[test]
fn faults_that_pass_are_waited_for() {
    let faults = vec![
        ("GET", "/comments", "502 Bad Gateway", "", "<html>"),
        ("GET", "/comments", "200 OK", "", "<html>a proxy's page"),
        (
            "POST",
            "/comments",
            "403 Forbidden",
            "Retry-After: 1\r\n",
            r#"{"message": "You have exceeded a secondary rate limit"}"#,
        ),
        ("GET", "/user", "429 Too Many Requests", "Retry-After: 0\r\n", "{}"),
    ];
    let (server, forge) =
        github(Forge { faults, user: Some("robot"), slow: std::time::Duration::from_millis(150), ..Forge::default() });
    let output = report(&repository(&mixed_result()), &server.host).output().unwrap();
    assert_eq!(forge.lock().unwrap().comments.len(), 1, "{}", stderr(&output));
}

#[test]
fn a_comment_that_is_deleted_meanwhile_is_made_again() {
    let (server, forge) = github(Forge {
        comments: vec![comment(1, "robot", MARKER)],
        faults: vec![("PATCH", "/1", "404 Not Found", "", r#"{"message": "Not Found"}"#)],
        user: Some("robot"),
        ..Forge::default()
    });
    report(&repository(&mixed_result()), &server.host).output().unwrap();
    assert_eq!(forge.lock().unwrap().comments.len(), 2);
}

#[test]
fn the_token_of_a_job_finds_the_comments_of_bots_only() {
    let mut own = comment(2, "github-actions[bot]", MARKER);
    own["user"]["type"] = json!("Bot");
    let (server, forge) = github(Forge { comments: vec![comment(1, "mallory", MARKER), own], ..Forge::default() });
    let output = report(&repository(&mixed_result()), &server.host).output().unwrap();
    let forge = forge.lock().unwrap();
    assert_eq!(forge.comments[0]["body"], MARKER, "{}", stderr(&output));
    assert!(forge.comments[1]["body"].as_str().unwrap().len() > 1000);
}

#[test]
fn a_token_that_cannot_comment_fails_nothing() {
    let mut result = mixed_result();
    result["outcome"] = json!("success");
    let denied = r#"{"message": "Resource not accessible by integration"}"#;
    for (status, word) in [("403 Forbidden", "no comment on the pull request"), ("404 Not Found", "warning:")] {
        let faults = vec![("GET", "/comments", status, "", denied)];
        let (server, _) = github(Forge { faults, ..Forge::default() });
        let repository = repository(&result);
        let summary = repository.root().join("summary");
        let output = report(&repository, &server.host).env("GITHUB_STEP_SUMMARY", &summary).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(stderr(&output).contains(word), "{}", stderr(&output));
        assert!(fs_err::read_to_string(&summary).unwrap().contains("acme-plugin-todo"));
    }
}

#[test]
fn nobody_is_asked_without_a_token_a_pull_request_or_the_wish() {
    let (server, _) = github(Forge::default());
    let repository = repository(&mixed_result());
    report(&repository, &server.host).env_remove("GITHUB_TOKEN").output().unwrap();
    report(&repository, &server.host).env("RHDH_PACK_COMMENT", "false").output().unwrap();
    report(&repository, &server.host).args(["--comment", "false"]).output().unwrap();
    let push = [("GITHUB_EVENT_NAME", "push"), ("GITHUB_REF", "refs/heads/main")];
    report(&repository, &server.host).envs(push).output().unwrap();
    assert_eq!(requests(&server), Vec::<String>::new());
}

#[test]
fn nothing_of_the_repository_becomes_markup() {
    let hostile =
        "</details><img src=x onerror=alert(1)> @acme/owners #1 [a](https://evil.dev) `x | y`\n/close\n::error::no";
    let mut result = mixed_result();
    result["plugins"][1]["version"] = json!(hostile);
    result["plugins"][1]["reasons"][0]["text"] = json!(hostile);
    result["plugins"][1]["error"]["message"] = json!(format!("{hostile}\n```\n</details>\n@everyone"));
    let (server, forge) = github(Forge { user: Some("robot"), ..Forge::default() });
    let output = report(&repository(&result), &server.host).output().unwrap();
    insta::assert_snapshot!("hostile_comment", forge.lock().unwrap().comments[0]["body"].as_str().unwrap());
    assert!(!stderr(&output).lines().any(|line| line.trim_start().starts_with("::error::no")), "{}", stderr(&output));
}

#[test]
fn a_comment_that_would_be_too_long_names_what_it_left_out() {
    let mut result = mixed_result();
    let plugins: Vec<Value> = (0..400)
        .map(|number| {
            let mut plugin = result["plugins"][0].clone();
            plugin["id"] = json!(format!("todo-{number}"));
            plugin["packages"][0]["plugin"] = plugin["id"].clone();
            plugin
        })
        .chain([result["plugins"][1].clone()])
        .collect();
    result["plugins"] = json!(plugins);
    let (server, forge) = github(Forge { user: Some("robot"), ..Forge::default() });
    let repository = repository(&result);
    let summary = repository.root().join("summary");
    let output = report(&repository, &server.host).env("GITHUB_STEP_SUMMARY", &summary).output().unwrap();
    let body = forge.lock().unwrap().comments[0]["body"].as_str().unwrap().to_owned();
    assert!(body.len() <= 60_000, "{} {}", body.len(), stderr(&output));
    assert!(body.contains("<summary>Failures</summary>"), "{body}");
    let last = body.trim_end().lines().next_back().unwrap();
    assert!(last.starts_with("Left out"), "{last}");
    assert!(last.contains("[the job summary](https://github.com/acme/plugins/actions/runs/42)"), "{last}");
    let summary = fs_err::read_to_string(&summary).unwrap();
    assert!(summary.contains("todo-399") && summary.len() < 1 << 20, "{}", summary.len());
}

#[test]
fn the_comment_goes_through_the_proxy_to_a_host_of_a_private_authority() {
    let (server, forge) = github(Forge { user: Some("robot"), ..Forge::default() });
    let tunnel = Tunnel::to(&server.host);
    let mut result = mixed_result();
    result["outcome"] = json!("success");
    let run = |change: &dyn Fn(&mut Command)| {
        let repository = repository(&result);
        let mut command = report(&repository, "unused");
        let api = format!("https://{HOST}");
        tunnel.around(&mut command).env("GITHUB_API_URL", &api).env("GITHUB_GRAPHQL_URL", format!("{api}/graphql"));
        change(&mut command);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        stderr(&output)
    };
    let said = run(&|_| {});
    assert_eq!(forge.lock().unwrap().comments.len(), 1, "{said}");
    assert!(tunnel.asked.lock().unwrap().iter().all(|line| *line == format!("CONNECT {HOST}:443 HTTP/1.1")));

    // Nobody else knows the authority; and what `NO_PROXY` names is not looked for behind the proxy.
    let said = run(&|command| _ = command.env_remove("SSL_CERT_FILE"));
    assert!(said.contains("checking the certificate of `git.forge.test`"), "{said}");
    tunnel.asked.lock().unwrap().clear();
    let said = run(&|command| _ = command.env("NO_PROXY", "example.com,.forge.test"));
    assert!(said.contains("reaching `git.forge.test`"), "{said}");
    assert_eq!(*tunnel.asked.lock().unwrap(), Vec::<String>::new());
    assert_eq!(forge.lock().unwrap().comments.len(), 1);
}

#[tokio::test]
async fn answers_that_do_not_end_are_given_up() {
    let (soon, late) = (Duration::from_millis(500), Duration::from_secs(60));
    let limits =
        |idle, whole| Limits { idle, whole, first_wait: Duration::from_millis(1), attempts: 2, ..Limits::default() };
    // An answer that never begins; one that comes byte by byte, for ever; one that is larger than any answer.
    for (kind, limits, words) in [
        ("silent", limits(soon, late), "nothing moved"),
        ("drops", limits(late, soon), "not finished after"),
        ("large", limits(late, late), "is larger than"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
                    let piece = if kind == "large" { vec![b' '; 65536] } else { vec![b' '] };
                    let _ = stream.read(&mut [0; 4096]);
                    let mut going = kind != "silent" && stream.write_all(head.as_bytes()).is_ok();
                    while going {
                        going = stream.write_all(&piece).is_ok();
                        std::thread::sleep(Duration::from_millis(if kind == "drops" { 20 } else { 0 }));
                    }
                    // Until the client goes away.
                    let _ = stream.read_to_end(&mut Vec::new());
                });
            }
        });
        for is_github in [true, false] {
            let (api, token) = (format!("http://{host}"), SecretString::from("token"));
            let place = if is_github {
                let (graphql, repository) = (format!("{api}/graphql"), "acme/plugins".to_owned());
                Place::GitHub { api, graphql, repository, number: 7, token }
            } else {
                Place::GitLab { api, project: "9".to_owned(), number: 7, token }
            };
            let kept =
                comment::keep(&place, "rhdh-plugins.toml", "x", limits.clone(), &Ui::new(Verbosity::Quiet)).await;
            let error = kept.unwrap_err().to_string();
            assert!(error.contains(words), "{kind}: {error}");
        }
    }
}

/// GitLab, as far as notes go.
fn gitlab(notes: Vec<Value>) -> (Server, Arc<Mutex<Vec<Value>>>) {
    let notes = Arc::new(Mutex::new(notes));
    let held = Arc::clone(&notes);
    let server = Server::start(move |request| {
        request.read_body(usize::MAX);
        assert_eq!(request.header("private-token"), Some("gl-token"));
        let mut notes = notes.lock().unwrap();
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        match (request.method.as_str(), path) {
            ("GET", "/api/v4/user") => answer("200 OK", "", r#"{"id": 5, "username": "project_9_bot"}"#),
            ("GET", "/api/v4/projects/9/merge_requests/7/notes") => {
                let page: usize =
                    query.split('&').find_map(|part| part.strip_prefix("page=")).unwrap().parse().unwrap();
                let pages: Vec<&[Value]> = notes.chunks(2).collect();
                let next = if page < pages.len() {
                    format!("X-Next-Page: {}\r\n", page + 1)
                } else {
                    "X-Next-Page: \r\n".into()
                };
                answer("200 OK", &next, &json!(pages.get(page - 1).copied().unwrap_or_default()).to_string())
            }
            ("POST", "/api/v4/projects/9/merge_requests/7/notes") => {
                notes.push(json!({ "id": 100, "body": body["body"], "author": { "id": 5 }, "system": false }));
                answer("201 Created", "", "{}")
            }
            ("PUT", path) => {
                let id: u64 = path.strip_prefix("/api/v4/projects/9/merge_requests/7/notes/").unwrap().parse().unwrap();
                notes.iter_mut().find(|note| note["id"] == id).unwrap()["body"] = body["body"].clone();
                answer("200 OK", "", "{}")
            }
            other => panic!("{other:?}"),
        }
    });
    (server, held)
}

fn gitlab_report(repository: &Repository, api: &str) -> Command {
    let mut command = common::rhdh_pack(repository.root());
    command.args(["--verbose", "report"]).envs([
        ("GITLAB_CI", "true"),
        ("CI_PIPELINE_SOURCE", "merge_request_event"),
        ("CI_MERGE_REQUEST_IID", "7"),
        ("CI_MERGE_REQUEST_PROJECT_ID", "9"),
        ("CI_PROJECT_ID", "10"),
        ("RHDH_PACK_GITLAB_TOKEN", "gl-token"),
    ]);
    command.env("CI_API_V4_URL", format!("http://{api}/api/v4")).env("CI_PROJECT_DIR", repository.root());
    command
}

#[test]
fn the_note_of_a_merge_request_is_kept_up_to_date() {
    let note = |id: u64, author: u64, body: &str| json!({ "id": id, "body": body, "author": { "id": author }, "system": false });
    let others = vec![note(1, 4, MARKER), note(2, 4, "hello"), note(3, 5, "something else")];
    let (server, notes) = gitlab(others);
    let repository = repository(&mixed_result());
    let output = gitlab_report(&repository, &server.host).output().unwrap();
    assert_eq!(notes.lock().unwrap().len(), 4, "{}", stderr(&output));
    let mut other = mixed_result();
    other["channel"] = json!("next");
    repository.write(".rhdh-pack/result.json", other.to_string());
    gitlab_report(&repository, &server.host).output().unwrap();
    let notes = notes.lock().unwrap();
    assert_eq!(notes.len(), 4);
    assert_eq!(notes[0]["body"], MARKER);
    assert!(notes[3]["body"].as_str().unwrap().contains("channel `next`"), "{}", notes[3]["body"]);
    let dotenv = fs_err::read_to_string(repository.root().join(".rhdh-pack/outputs.env")).unwrap();
    assert!(dotenv.contains("RHDH_PACK_FAILED=todo-backend\n"), "{dotenv}");
}

#[test]
fn without_a_token_there_is_no_note_and_no_failure() {
    let (server, _) = gitlab(Vec::new());
    let mut result = mixed_result();
    result["outcome"] = json!("success");
    let output =
        gitlab_report(&repository(&result), &server.host).env_remove("RHDH_PACK_GITLAB_TOKEN").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("project access token"), "{}", stderr(&output));
    assert_eq!(requests(&server), Vec::<String>::new());
}
