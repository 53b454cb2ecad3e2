//! `update --pr`: one pull request in another repository, by a server that keeps trees, commits, branches and pull
//! requests as GitHub's API documents them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::collections::BTreeMap;
use std::process::Output;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::http::{Request, Server, answer};
use common::proposals::{digest, folder, serve};
use common::rhdh_pack;
use common::tunnel::{HOST, Tunnel};
use serde_json::{Value, json};
use tempfile::TempDir;

const BEFORE: &str = "plugins:\n- package: oci://quay.io/acme/todo:1!todo # mine\n";
const BRANCH: &str = "rhdh-pack/acme-plugins/release";

/// A repository: files by path, commits, branches, pull requests.
#[derive(Default)]
struct Forge {
    trees: Vec<BTreeMap<String, (String, String)>>,
    /// Tree, parents, message.
    commits: Vec<(usize, Vec<String>, String)>,
    branches: BTreeMap<String, String>,
    pulls: Vec<Value>,
    /// Answers that come first: method, a part of the path, status line, body.
    faults: Vec<(&'static str, &'static str, &'static str, &'static str)>,
}

impl Forge {
    fn with(files: &[(&str, &str, &str)]) -> Self {
        let files =
            files.iter().map(|(path, mode, text)| ((*path).to_owned(), ((*mode).to_owned(), (*text).to_owned())));
        let mut forge = Self { trees: vec![files.collect()], ..Self::default() };
        forge.commits.push((0, Vec::new(), "first".to_owned()));
        forge.branches.insert("trunk".to_owned(), "c0".to_owned());
        forge
    }

    fn file(&self, branch: &str, path: &str) -> String {
        let commit: usize = self.branches[branch][1..].parse().unwrap();
        self.trees[self.commits[commit].0][path].1.clone()
    }

    fn answer(&mut self, request: &Request) -> Vec<u8> {
        assert_eq!(request.header("authorization"), Some("Bearer there"), "{}", request.head);
        let fault = self
            .faults
            .iter()
            .position(|(method, part, ..)| request.method == *method && request.target.contains(part));
        if let Some(at) = fault {
            let (_, _, status, body) = self.faults.remove(at);
            return answer(status, "", body);
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let path = request.target.strip_prefix("/repos/acme/gitops").unwrap();
        let good = |value: Value| answer("200 OK", "", &value.to_string());
        let made = |value: Value| answer("201 Created", "", &value.to_string());
        let missing = || answer("404 Not Found", "", r#"{"message":"Not Found"}"#);
        let rest = |prefix: &str| path.strip_prefix(prefix).map(str::to_owned);
        match request.method.as_str() {
            "GET" if path.is_empty() => good(json!({ "default_branch": "trunk" })),
            "GET" if path.starts_with("/git/ref/heads/") => {
                match self.branches.get(&rest("/git/ref/heads/").unwrap()) {
                    Some(sha) => good(json!({ "object": { "sha": sha } })),
                    None => missing(),
                }
            }
            "GET" if path.starts_with("/git/commits/c") => {
                let commit: usize = rest("/git/commits/c").unwrap().parse().unwrap();
                let (tree, parents, message) = &self.commits[commit];
                let parents: Vec<Value> = parents.iter().map(|sha| json!({ "sha": sha })).collect();
                good(json!({ "message": message, "tree": { "sha": format!("t{tree}:") }, "parents": parents }))
            }
            // A tree is named by its number and the folder in it, with `~` for `/`.
            "GET" if path.starts_with("/git/trees/t") => {
                let name = rest("/git/trees/t").unwrap().replace('~', "/");
                let (tree, folder) = name.split_once(':').unwrap();
                let mut entries = BTreeMap::new();
                for (path, (mode, _)) in &self.trees[tree.parse::<usize>().unwrap()] {
                    let Some(below) = path.strip_prefix(folder) else { continue };
                    let (name, mode) =
                        below.split_once('/').map_or((below, mode.as_str()), |(name, _)| (name, "040000"));
                    let slash = if mode == "040000" { "/" } else { "" };
                    let sha = if mode == "040000" {
                        format!("t{tree}:{folder}{name}{slash}")
                    } else {
                        format!("b{tree}:{path}")
                    };
                    entries.insert(
                        name.to_owned(),
                        json!({ "path": name, "mode": mode, "type": "blob", "sha": sha.replace('/', "~") }),
                    );
                }
                good(json!({ "tree": entries.into_values().collect::<Vec<_>>() }))
            }
            "GET" if path.starts_with("/git/blobs/b") => {
                let name = rest("/git/blobs/b").unwrap().replace('~', "/");
                let (tree, path) = name.split_once(':').unwrap();
                let text = STANDARD.encode(&self.trees[tree.parse::<usize>().unwrap()][path].1);
                let lines: Vec<String> =
                    text.as_bytes().chunks(60).map(|line| String::from_utf8(line.to_vec()).unwrap()).collect();
                good(json!({ "content": lines.join("\n"), "encoding": "base64" }))
            }
            "POST" if path == "/git/trees" => {
                let base = body["base_tree"].as_str().unwrap();
                let mut tree = self.trees[base[1..base.len() - 1].parse::<usize>().unwrap()].clone();
                for entry in body["tree"].as_array().unwrap() {
                    let text = |key: &str| entry[key].as_str().unwrap().to_owned();
                    tree.insert(text("path"), (text("mode"), text("content")));
                }
                // The same files are the same tree.
                let at = self.trees.iter().position(|other| *other == tree).unwrap_or_else(|| {
                    self.trees.push(tree);
                    self.trees.len() - 1
                });
                made(json!({ "sha": format!("t{at}:") }))
            }
            "POST" if path == "/git/commits" => {
                let tree = body["tree"].as_str().unwrap();
                let parents =
                    body["parents"].as_array().unwrap().iter().map(|sha| sha.as_str().unwrap().to_owned()).collect();
                let message = body["message"].as_str().unwrap().to_owned();
                self.commits.push((tree[1..tree.len() - 1].parse().unwrap(), parents, message));
                made(json!({ "sha": format!("c{}", self.commits.len() - 1) }))
            }
            "POST" if path == "/git/refs" => {
                let branch = body["ref"].as_str().unwrap().strip_prefix("refs/heads/").unwrap().to_owned();
                self.branches.insert(branch, body["sha"].as_str().unwrap().to_owned());
                made(json!({}))
            }
            "PATCH" if path.starts_with("/git/refs/heads/") => {
                assert_eq!(body["force"], true);
                self.branches.insert(rest("/git/refs/heads/").unwrap(), body["sha"].as_str().unwrap().to_owned());
                good(json!({}))
            }
            "GET" if path.starts_with("/pulls?") => {
                let branch = BRANCH.replace('/', "%2F");
                assert_eq!(path, format!("/pulls?state=open&head=acme%3A{branch}&base=trunk"));
                good(json!(self.pulls))
            }
            "POST" if path == "/pulls" => {
                assert_eq!((body["head"].as_str(), body["base"].as_str()), (Some(BRANCH), Some("trunk")));
                let number = self.pulls.len() + 1;
                let url = format!("https://github.com/acme/gitops/pull/{number}");
                let pull = json!({ "number": number, "html_url": url, "title": body["title"], "body": body["body"] });
                self.pulls.push(pull.clone());
                made(pull)
            }
            "PATCH" if path.starts_with("/pulls/") => {
                let number: usize = rest("/pulls/").unwrap().parse().unwrap();
                self.pulls[number - 1]["title"] = body["title"].clone();
                self.pulls[number - 1]["body"] = body["body"].clone();
                good(json!({}))
            }
            method => panic!("{method} {path}"),
        }
    }
}

fn propose(server: &Server, folder: &TempDir, arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, stdout } = rhdh_pack(folder.path())
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_REPOSITORY", "acme/plugins")
        .env("GITHUB_WORKSPACE", folder.path())
        .env("GITHUB_API_URL", format!("http://{}", server.host))
        .env("GITHUB_TOKEN", "here")
        .env("RHDH_PACK_GITHUB_TOKEN", "there")
        .args(["--out-dir", "out", "update", "--pr", "acme/gitops"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(stdout.is_empty() || String::from_utf8_lossy(&stdout).starts_with("::add-mask::"));
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn one_pull_request_is_opened_and_then_kept_up_to_date() {
    let values = "env/prod/values.yaml";
    let (server, forge) =
        serve(Forge::with(&[(values, "100755", BEFORE), ("README.md", "100644", "x")]), Forge::answer);
    let (code, said) = propose(&server, &folder('a'), &[values]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("opened https://github.com/acme/gitops/pull/1"), "{said}");
    let after = |digit| format!("plugins:\n- package: oci://quay.io/acme/todo@{}!todo # mine\n", digest(digit));
    {
        let forge = forge.lock().unwrap();
        assert_eq!(forge.file(BRANCH, values), after('a'));
        assert_eq!(forge.file("trunk", values), BEFORE);
        let (tree, parents, message) = forge.commits.last().unwrap();
        assert_eq!(forge.trees[*tree][values].0, "100755");
        assert_eq!(parents, &["c0"]);
        assert_eq!(message, "Update dynamic plugins: todo\n\nrhdh-pack: acme/plugins release");
        insta::assert_snapshot!("update_pull_request", forge.pulls[0]["body"].as_str().unwrap());
    }
    // The same again: nothing is written.
    let before = server.received.lock().unwrap().len();
    let (code, said) = propose(&server, &folder('a'), &[values]);
    assert_eq!(code, Some(0), "{said}");
    {
        // But a tree, which nobody sees: that it is the same tree is how the program knows.
        let received = server.received.lock().unwrap();
        let written = received[before..].iter().filter(|request| request.method != "GET");
        assert_eq!(
            written.map(|request| request.target.as_str()).collect::<Vec<_>>(),
            ["/repos/acme/gitops/git/trees"]
        );
    }
    // Another release: the same branch and pull request.
    let (code, said) = propose(&server, &folder('b'), &[values]);
    assert_eq!(code, Some(0), "{said}");
    let forge = forge.lock().unwrap();
    assert_eq!(forge.file(BRANCH, values), after('b'));
    assert_eq!((forge.pulls.len(), forge.commits.len()), (1, 3));
    assert!(forge.pulls[0]["body"].as_str().unwrap().contains(&digest('b')));
}

#[test]
fn nothing_is_proposed_where_nothing_changes() {
    let text = format!("plugins:\n- package: oci://quay.io/acme/todo@{}!todo\n", digest('a'));
    let (server, forge) = serve(Forge::with(&[("d.yaml", "100644", &text)]), Forge::answer);
    let (code, said) = propose(&server, &folder('a'), &["d.yaml"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("`acme/gitops` is up to date"), "{said}");
    assert_eq!(forge.lock().unwrap().branches.len(), 1);
}

#[test]
fn a_branch_that_others_have_committed_to_is_left_alone() {
    let mut forge = Forge::with(&[("d.yaml", "100644", BEFORE)]);
    forge.commits.push((0, vec!["c0".to_owned()], "Fix the tests".to_owned()));
    forge.branches.insert(BRANCH.to_owned(), "c1".to_owned());
    let (server, forge) = serve(forge, Forge::answer);
    let (code, said) = propose(&server, &folder('a'), &["d.yaml"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("has commits of others"), "{said}");
    assert_eq!(forge.lock().unwrap().branches[BRANCH], "c1");
}

#[test]
fn what_passes_is_tried_again_and_two_at_once_end_in_one() {
    let mut forge = Forge::with(&[("d.yaml", "100644", BEFORE)]);
    forge.faults = vec![
        ("GET", "/git/commits", "502 Bad Gateway", "<html>"),
        ("POST", "/git/refs", "422 Unprocessable Entity", r#"{"message":"Reference already exists"}"#),
        (
            "POST",
            "/pulls",
            "422 Unprocessable Entity",
            r#"{"message":"Validation Failed","errors":[{"message":"A pull request already exists"}]}"#,
        ),
    ];
    let (server, forge) = serve(forge, Forge::answer);
    let (code, said) = propose(&server, &folder('a'), &["d.yaml"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(forge.lock().unwrap().pulls.len(), 1);
    let other = folder('b');
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| assert_eq!(propose(&server, &other, &["d.yaml"]).0, Some(0)));
        }
    });
    let forge = forge.lock().unwrap();
    assert_eq!((forge.pulls.len(), forge.branches.len()), (1, 2));
    assert!(forge.file(BRANCH, "d.yaml").contains(&digest('b')));
}

#[test]
fn what_is_no_file_there_is_said() {
    let (server, _) =
        serve(Forge::with(&[("link.yaml", "120000", "/etc/passwd"), ("d/x.yaml", "100644", BEFORE)]), Forge::answer);
    let folder = folder('a');
    for (file, why) in [
        ("link.yaml", "`link.yaml` is not a file"),
        ("d", "`d` is not a file"),
        ("no.yaml", "there is no `no.yaml`"),
        ("../x.yaml", "is not the path of a file in a repository"),
        ("/etc/passwd", "is not the path of a file in a repository"),
    ] {
        let (code, said) = propose(&server, &folder, &[file]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(why), "{said}");
    }
    let mut forge = Forge::with(&[]);
    forge.faults = vec![("GET", "/repos", "404 Not Found", r#"{"message":"Not Found"}"#)];
    let (code, said) = propose(&serve(forge, Forge::answer).0, &folder, &["d.yaml"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(!said.contains("there\""), "{said}");
    let output =
        rhdh_pack(folder.path()).args(["--out-dir", "out", "update", "--pr", "acme", "d.yaml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let output = rhdh_pack(folder.path())
        .args(["--out-dir", "out", "update", "--pr", "acme/gitops", "d.yaml"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn it_goes_through_the_proxy_to_a_host_of_a_private_authority() {
    let (server, forge) = serve(Forge::with(&[("d.yaml", "100644", BEFORE)]), Forge::answer);
    let tunnel = Tunnel::to(&server.host);
    let folder = folder('a');
    let run = |no_proxy: &str| {
        let mut command = rhdh_pack(folder.path());
        tunnel.around(&mut command).args(["--out-dir", "out", "update", "--pr", "acme/gitops", "d.yaml"]);
        command
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_REPOSITORY", "acme/plugins")
            .env("GITHUB_WORKSPACE", folder.path());
        command.env("GITHUB_API_URL", format!("https://{HOST}")).env("GH_TOKEN", "there").env("NO_PROXY", no_proxy);
        command.output().unwrap()
    };
    let output = run("*");
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(tunnel.asked.lock().unwrap().len(), 0);
    let output = run("");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(forge.lock().unwrap().pulls.len(), 1);
}
