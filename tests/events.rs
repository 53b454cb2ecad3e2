//! Every event that starts a workflow, with the payload that GitHub documents for it (`tests/fixtures/events`), through
//! the program: which channel it chooses, what it compares with, and what a pull request from a fork may do.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use common::http::{Server, answer};
use common::repository::Repository;
use serde_json::Value;

const CONFIG: &str = r#"
[inputs]
memory = false
[defaults]
export = "prebuilt"
registries = ["quay"]
[registries.quay]
oci = "127.0.0.1:1/acme"
[channels.pr]
on = "pull-request"
tags = ["pr_{pr}__{version}"]
overwrite = true
[channels.next]
on = { branch = "main" }
tags = ["next"]
overwrite = true
[channels.release]
on = { tag = "v*" }
tags = ["{version}"]
[channels.nightly]
on = "schedule"
tags = ["nightly_{date}"]
overwrite = true
[channels.manual]
on = "manual"
tags = ["manual_{short-sha}"]
overwrite = true
[plugins.todo]
path = "plugins/todo"
"#;

/// A repository with two commits; the second changes the plugin.
struct Checkout {
    repository: Repository,
    base: String,
    head: String,
}

fn git(repository: &Repository, arguments: &[&str]) -> String {
    let output = common::scrubbed("git")
        .current_dir(repository.root())
        .args(["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn checkout() -> Checkout {
    let repository = Repository::new();
    fs_err::remove_dir_all(repository.root().join(".git")).unwrap();
    repository.package("plugins/todo", "@acme/plugin-todo", "1.0.0", "backend-plugin");
    let manifest = r#"{"name":"@acme/plugin-todo-dynamic","version":"1.0.0","main":"index.js","backstage":{"role":"backend-plugin"}}"#;
    repository
        .write("plugins/todo/dist-dynamic/package.json", manifest)
        .write("plugins/todo/dist-dynamic/index.js", "exports.default = {};\n")
        .write(".gitignore", "/out\n/event.json\n/summary\n/output\n")
        .config(CONFIG);
    git(&repository, &["init", "--quiet", "--initial-branch=main"]);
    let commit = |text: &str| {
        git(&repository, &["add", "--all"]);
        git(&repository, &["commit", "--quiet", "--message", text]);
        git(&repository, &["rev-parse", "HEAD"])
    };
    let base = commit("base");
    repository.write("plugins/todo/src/index.ts", "1");
    let head = commit("head");
    Checkout { repository, base, head }
}

impl Checkout {
    /// The program as GitHub runs it on the event of `payload`, a file of `tests/fixtures/events` without `.json`.
    fn on(&self, payload: &str, reference: &str, arguments: &[&str]) -> Command {
        let root = self.repository.root();
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/events");
        let text = fs_err::read_to_string(folder.join(format!("{payload}.json"))).unwrap();
        let text = text.replace("<base>", &self.base).replace("<head>", &self.head).replace("<merge>", &self.head);
        self.repository.write("event.json", text);
        let mut command = common::rhdh_pack(root);
        command
            .env("CI", "true")
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_EVENT_NAME", payload.split('.').next().unwrap())
            .env("GITHUB_EVENT_PATH", root.join("event.json"))
            .env("GITHUB_REF", reference)
            .env("GITHUB_SHA", &self.head)
            .env("GITHUB_REPOSITORY", "acme/plugins")
            .env("GITHUB_WORKSPACE", root)
            .env("GITHUB_OUTPUT", root.join("output"))
            .env("GITHUB_STEP_SUMMARY", root.join("summary"))
            .args(["--out-dir", "out"])
            .args(arguments);
        if payload.starts_with("pull_request") {
            command.env("GITHUB_BASE_REF", "main").env("GITHUB_HEAD_REF", "feature");
        }
        command
    }

    fn read(&self, file: &str) -> String {
        fs_err::read_to_string(self.repository.root().join(file)).unwrap()
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn every_trigger_chooses_its_channel_and_its_base() {
    let checkout = checkout();
    let (base, none) = (Some(checkout.base.as_str()), None);
    let (pull, main, tag) = ("refs/pull/17/merge", "refs/heads/main", "refs/tags/v1.0.0");
    for (payload, reference, channel, expected) in [
        ("pull_request.opened", pull, "pr", base),
        ("pull_request.synchronize", pull, "pr", base),
        ("pull_request.fork", pull, "pr", base),
        ("pull_request.fork-deleted", pull, "pr", base),
        ("pull_request_target.opened", main, "pr", base),
        ("push.branch", main, "next", base),
        ("push.new-branch", main, "next", none),
        ("push.forced", main, "next", none),
        ("push.tag", tag, "release", none),
        ("release.published", tag, "release", none),
        ("schedule", main, "nightly", none),
        ("workflow_dispatch", main, "manual", none),
        ("repository_dispatch", main, "manual", none),
        ("workflow_run.completed", main, "local", none),
        ("merge_group.checks_requested", "refs/heads/gh-readonly-queue/main/pr-17-x", "local", base),
    ] {
        let output = checkout.on(payload, reference, &["plan", "--format", "json"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{payload}: {}", said(&output));
        let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(plan["channel"], channel, "{payload}");
        assert_eq!(plan["base"].as_str(), expected, "{payload}: {}", plan["base_reason"]);
        assert_eq!(plan["plugins"][0]["action"], "build", "{payload}");
    }
    // What comes after the run of a pull request is told which it was.
    let mut command = checkout.on("workflow_run.completed", main, &["plan", "--format", "json"]);
    let output = command.env("RHDH_PACK_PULL_REQUEST", "17").output().unwrap();
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(plan["channel"], "pr");
}

#[test]
fn a_payload_that_cannot_be_read_chooses_nothing_wrong() {
    let checkout = checkout();
    for payload in ["", "garbage", "[]", "{\"pull_request\": 1, \"number\": \"17; true\"}", "{\"number\": -1}"] {
        let mut command = checkout.on("pull_request_target.opened", "refs/heads/main", &["plan", "--format", "json"]);
        checkout.repository.write("event.json", payload);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(plan["channel"], "local", "{payload}");
    }
}

#[test]
fn a_pull_request_from_a_fork_builds_everything_and_writes_nothing() {
    let checkout = checkout();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    // The token of a fork's run can read, and nothing else.
    let github = Server::start(move |request| {
        log.lock().unwrap().push(format!("{} {}", request.method, request.target));
        match request.method.as_str() {
            "GET" if request.target == "/user" => {
                answer("403 Forbidden", "", r#"{"message":"Resource not accessible by integration"}"#)
            }
            "GET" => answer("200 OK", "", "[]"),
            _ => answer("403 Forbidden", "", r#"{"message":"Resource not accessible by integration"}"#),
        }
    });
    let api = format!("http://{}", github.host);
    for payload in ["pull_request.fork", "pull_request.fork-deleted"] {
        let mut command = checkout.on(payload, "refs/pull/17/merge", &["run"]);
        let output = command.env("GITHUB_TOKEN", "read-only").env("GITHUB_API_URL", &api).output().unwrap();
        // The registry is one that nobody can reach: nobody tried.
        assert_eq!(output.status.code(), Some(0), "{payload}: {}", said(&output));
        assert!(said(&output).contains("a pull request from a fork: nothing is pushed"), "{}", said(&output));
        assert!(said(&output).contains("no comment on the pull request: the token may not"), "{}", said(&output));
        assert!(!said(&output).contains("read-only") || said(&output).contains("::add-mask::read-only"));
        let summary = checkout.read("summary");
        assert!(summary.contains("would be pushed"), "{summary}");
        assert!(summary.contains("127.0.0.1:1/acme/acme-plugin-todo:pr_17__1.0.0"), "{summary}");
        let result: Value = serde_json::from_str(&checkout.read("out/result.json")).unwrap();
        assert_eq!((&result["outcome"], &result["dry_run"]), (&Value::from("success"), &Value::from(true)));
        assert!(checkout.read("output").contains("digests<<"));
    }
    let asked = asked.lock().unwrap();
    assert!(asked.contains(&"POST /repos/acme/plugins/issues/17/comments".to_owned()), "{asked:?}");
    // The same from a branch of the repository itself would push, and says that it cannot.
    let mut command = checkout.on("pull_request.opened", "refs/pull/17/merge", &["run"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
}

#[test]
fn secrets_are_hidden_before_anything_is_said() {
    let checkout = checkout();
    let secrets = [
        ("RHDH_PACK_QUAY_USERNAME", "ann", false),
        ("RHDH_PACK_QUAY_PASSWORD", "pass%word", true),
        ("RHDH_PACK_GITLAB_TOKEN", "glpat-1", true),
        ("NODE_AUTH_TOKEN", "npm_1\nnpm_2", true),
        ("GITHUB_TOKEN", "ghs_1", true),
    ];
    let mut command = checkout.on("schedule", "refs/heads/main", &["--verbose", "plan"]);
    for (name, value, _) in secrets {
        command.env(name, value);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let (masks, rest): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with("::add-mask::"));
    assert!(text.starts_with("::add-mask::"), "{text}");
    for mask in ["pass%25word", "glpat-1", "npm_1", "npm_2", "ghs_1"] {
        assert!(masks.contains(&format!("::add-mask::{mask}").as_str()), "{mask}: {text}");
    }
    for (_, value, is_secret) in secrets {
        let line = value.lines().next().unwrap();
        assert!(!is_secret || !rest.iter().any(|said| said.contains(line)), "{text}");
    }
    assert!(!masks.contains(&"::add-mask::ann"));
}
