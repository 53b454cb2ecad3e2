//! `update --pr` on GitLab: one merge request in another project, by a server that keeps files, commits, branches and
//! merge requests as GitLab's API documents them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::http::{Request, Server, answer};
use common::proposals::{digest, folder, serve};
use common::rhdh_pack;
use serde_json::{Value, json};
use tempfile::TempDir;

const BEFORE: &str = "plugins:\n- package: oci://quay.io/acme/todo:1!todo # mine\n";
const BRANCH: &str = "rhdh-pack/acme-team-plugins/release";
const VALUES: &str = "env/prod/values.yaml";

fn after(digit: char) -> String {
    format!("plugins:\n- package: oci://quay.io/acme/todo@{}!todo # mine\n", digest(digit))
}

/// The files of one commit: mode and text, by path.
type Files = BTreeMap<String, (String, String)>;

/// A project.
#[derive(Default)]
struct Forge {
    /// Files, parents, message; a commit is named by its place.
    commits: Vec<(Files, Vec<String>, String)>,
    branches: BTreeMap<String, String>,
    requests: Vec<Value>,
    /// Answers that come first: method, a part of the path, status line, body.
    faults: Vec<(&'static str, &'static str, &'static str, &'static str)>,
}

impl Forge {
    fn with(files: &[(&str, &str, &str)]) -> Self {
        let files = files.iter().map(|(path, mode, text)| ((*path).to_owned(), ((*mode).into(), (*text).into())));
        let mut forge = Self { commits: vec![(files.collect(), Vec::new(), "first".to_owned())], ..Self::default() };
        forge.branches.insert("trunk".to_owned(), "c0".to_owned());
        forge
    }

    fn commit(&self, name: &str) -> &(Files, Vec<String>, String) {
        &self.commits[name[1..].parse::<usize>().unwrap()]
    }

    fn text(&self, branch: &str, path: &str) -> &str {
        &self.commit(&self.branches[branch]).0[path].1
    }

    fn answer(&mut self, request: &Request) -> Vec<u8> {
        assert_eq!(request.header("private-token"), Some("there"), "{}", request.head);
        let is_it =
            |(method, part, ..): &(&str, &str, &str, &str)| request.method == *method && request.target.contains(part);
        if let Some(at) = self.faults.iter().position(is_it) {
            let (_, _, status, body) = self.faults.remove(at);
            return answer(status, "", body);
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let url = reqwest::Url::parse(&format!("http://gitlab{}", request.target)).unwrap();
        let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        let path = url.path().strip_prefix("/api/v4/projects/acme%2Fdeploy%2Fgitops").unwrap();
        let decoded = |text: &str| text.replace("%2F", "/");
        let good = |value: Value| answer("200 OK", "", &value.to_string());
        let made = |value: Value| answer("201 Created", "", &value.to_string());
        let missing = |what: &str| {
            answer("404 Not Found", "", &json!({ "message": format!("404 {what} Not Found") }).to_string())
        };
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        match (request.method.as_str(), parts.as_slice()) {
            ("GET", []) => good(json!({ "id": 12, "default_branch": "trunk" })),
            ("GET", ["repository", "branches", branch]) => match self.branches.get(&decoded(branch)) {
                Some(name) => {
                    let (_, parents, message) = self.commit(name);
                    good(json!({ "commit": { "id": name, "message": message, "parent_ids": parents } }))
                }
                None => missing("Branch"),
            },
            ("GET", ["repository", "tree"]) => {
                let folder = if query["path"].is_empty() { String::new() } else { format!("{}/", query["path"]) };
                let mut entries = BTreeMap::new();
                for (path, (mode, _)) in &self.commit(&query["ref"]).0 {
                    let Some(below) = path.strip_prefix(&folder) else { continue };
                    let (name, mode) =
                        below.split_once('/').map_or((below, mode.as_str()), |(name, _)| (name, "040000"));
                    entries.insert(name.to_owned(), json!({ "name": name, "mode": mode, "path": path }));
                }
                let entries: Vec<Value> = entries.into_values().collect();
                // One a page.
                let page: usize = query["page"].parse().unwrap();
                let next = if page < entries.len() {
                    format!("X-Next-Page: {}\r\n", page + 1)
                } else {
                    "X-Next-Page: \r\n".into()
                };
                match entries.get(page - 1) {
                    Some(entry) => answer("200 OK", &next, &json!([entry]).to_string()),
                    None => missing("Tree"),
                }
            }
            ("GET", ["repository", "files", path]) => match self.commit(&query["ref"]).0.get(&decoded(path)) {
                Some((_, text)) => good(json!({ "encoding": "base64", "content": STANDARD.encode(text) })),
                None => missing("File"),
            },
            ("GET", ["repository", "commits", name, "diff"]) => {
                let (files, parents, _) = self.commit(name);
                let before = &self.commit(&parents[0]).0;
                let changed = files.iter().filter(|(path, file)| before.get(*path) != Some(*file));
                good(json!(changed.map(|(path, _)| json!({ "old_path": path, "new_path": path })).collect::<Vec<_>>()))
            }
            ("POST", ["repository", "commits"]) => {
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                assert_eq!(body["force"], true);
                let start = text(&body["start_sha"]);
                let mut files = self.commit(&start).0.clone();
                for action in body["actions"].as_array().unwrap() {
                    assert_eq!(action["action"], "update");
                    files.get_mut(&text(&action["file_path"])).unwrap().1 = text(&action["content"]);
                }
                self.commits.push((files, vec![start], text(&body["commit_message"])));
                let name = format!("c{}", self.commits.len() - 1);
                self.branches.insert(text(&body["branch"]), name.clone());
                made(json!({ "id": name }))
            }
            ("GET", ["merge_requests"]) => {
                assert_eq!(
                    [&query["state"], &query["source_branch"], &query["target_branch"]],
                    ["opened", BRANCH, "trunk"]
                );
                good(json!(self.requests))
            }
            ("POST", ["merge_requests"]) => {
                assert_eq!([&body["source_branch"], &body["target_branch"]], [BRANCH, "trunk"]);
                let ours = |request: &&Value| request["source_project_id"] == 12;
                if self.requests.iter().any(|request| ours(&request)) {
                    let text = "Another open merge request already exists for this source branch: !1";
                    return answer("409 Conflict", "", &json!({ "message": [text] }).to_string());
                }
                let number = self.requests.len() + 1;
                let url = format!("https://gitlab.acme.dev/acme/deploy/gitops/-/merge_requests/{number}");
                let request = json!({
                    "iid": number, "id": 900, "web_url": url, "source_project_id": 12, "title": body["title"],
                    "description": body["description"],
                });
                self.requests.push(request.clone());
                made(request)
            }
            ("PUT", ["merge_requests", number]) => {
                let number: usize = number.parse().unwrap();
                self.requests[number - 1]["title"] = body["title"].clone();
                self.requests[number - 1]["description"] = body["description"].clone();
                good(json!({}))
            }
            (method, _) => panic!("{method} {path}"),
        }
    }
}

/// As in a job of the project `acme/team/plugins`.
fn propose(server: &Server, folder: &TempDir, file: &str) -> (Option<i32>, String) {
    let mut command = rhdh_pack(folder.path());
    command.envs([
        ("GITLAB_CI", "true"),
        ("CI_PROJECT_PATH", "acme/team/plugins"),
        ("CI_JOB_TOKEN", "here"),
        ("RHDH_PACK_GITLAB_TOKEN", "there"),
    ]);
    command.env("CI_PROJECT_DIR", folder.path()).env("CI_API_V4_URL", format!("http://{}/api/v4", server.host));
    let output = command.args(["--out-dir", "out", "update", "--pr", "acme/deploy/gitops", file]).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn written(server: &Server) -> Vec<String> {
    let received = server.received.lock().unwrap();
    let written = received.iter().filter(|request| request.method != "GET");
    written.map(|request| format!("{} {}", request.method, request.target.rsplit('/').next().unwrap())).collect()
}

#[test]
fn one_merge_request_is_opened_and_then_kept_up_to_date() {
    let others =
        json!({ "iid": 1, "web_url": "x", "source_project_id": 99, "title": "of a fork", "description": null });
    let files = [(VALUES, "100755", BEFORE), ("README.md", "100644", "x"), ("env/a.yaml", "100644", "x")];
    let (server, forge) = serve(Forge { requests: vec![others], ..Forge::with(&files) }, Forge::answer);
    let (code, said) = propose(&server, &folder('a'), VALUES);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("opened https://gitlab.acme.dev/acme/deploy/gitops/-/merge_requests/2"), "{said}");
    {
        let forge = forge.lock().unwrap();
        assert_eq!([forge.text(BRANCH, VALUES), forge.text("trunk", VALUES)], [&after('a'), BEFORE]);
        let (files, parents, message) = forge.commits.last().unwrap();
        assert_eq!((files[VALUES].0.as_str(), &parents[..]), ("100755", &["c0".to_owned()][..]));
        assert_eq!(message, "Update dynamic plugins: todo\n\nrhdh-pack: acme/team/plugins release");
        let text = forge.requests[1]["description"].as_str().unwrap();
        assert!(text.contains(&digest('a')), "{text}");
    }
    assert_eq!(written(&server), ["POST commits", "POST merge_requests"]);
    // The same again: nothing is written.
    let (code, said) = propose(&server, &folder('a'), VALUES);
    assert_eq!((code, written(&server).len()), (Some(0), 2), "{said}");
    // Another release: the same branch and merge request.
    let (code, said) = propose(&server, &folder('b'), VALUES);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(written(&server)[2..], ["POST commits", "PUT 2"]);
    // The base went on: the commit is made anew on it.
    {
        let mut forge = forge.lock().unwrap();
        let files = forge.commits[0].0.clone();
        forge.commits.push((files, vec!["c0".to_owned()], "more".to_owned()));
        let name = format!("c{}", forge.commits.len() - 1);
        forge.branches.insert("trunk".to_owned(), name);
    }
    let (code, said) = propose(&server, &folder('b'), VALUES);
    assert_eq!((code, &written(&server)[4..]), (Some(0), &["POST commits".to_owned()][..]), "{said}");
    let forge = forge.lock().unwrap();
    assert_eq!(forge.text(BRANCH, VALUES), after('b'));
    assert_eq!(forge.requests.len(), 2);
}

#[test]
fn nothing_is_proposed_where_nothing_changes_and_nothing_overwritten_that_others_wrote() {
    let (server, _) = serve(Forge::with(&[(VALUES, "100644", &after('a'))]), Forge::answer);
    let (code, said) = propose(&server, &folder('a'), VALUES);
    assert_eq!((code, written(&server).len()), (Some(0), 0), "{said}");
    assert!(said.contains("`acme/deploy/gitops` is up to date"), "{said}");

    let mut forge = Forge::with(&[(VALUES, "100644", BEFORE)]);
    let files = forge.commits[0].0.clone();
    forge.commits.push((files, vec!["c0".to_owned()], "Fix the tests".to_owned()));
    forge.branches.insert(BRANCH.to_owned(), "c1".to_owned());
    let (server, _) = serve(forge, Forge::answer);
    let (code, said) = propose(&server, &folder('a'), VALUES);
    assert_eq!((code, written(&server).len()), (Some(2), 0), "{said}");
    assert!(said.contains("has commits of others"), "{said}");
}

#[test]
fn what_passes_is_tried_again_and_what_is_no_file_is_said() {
    let mut forge = Forge::with(&[(VALUES, "100644", BEFORE)]);
    forge.faults = vec![
        ("GET", "/branches/", "502 Bad Gateway", "<html>"),
        ("POST", "/commits", "500 Internal Server Error", r#"{"message":"500 Internal Server Error"}"#),
        ("POST", "/merge_requests", "409 Conflict", r#"{"message":["Another open merge request already exists"]}"#),
        ("GET", "/tree", "429 Too Many Requests", "Retry later"),
    ];
    let (server, forge) = serve(forge, Forge::answer);
    let (code, said) = propose(&server, &folder('a'), VALUES);
    assert_eq!((code, forge.lock().unwrap().requests.len()), (Some(0), 1), "{said}");

    let files = [("link.yaml", "120000", "/etc/passwd"), ("d/x.yaml", "100644", BEFORE), ("bin", "100644", "\u{0}")];
    let (server, _) = serve(Forge::with(&files), Forge::answer);
    for (file, why) in [
        ("link.yaml", "`link.yaml` is not a file"),
        ("d", "`d` is not a file"),
        ("no.yaml", "there is no `no.yaml`"),
        ("no/x.yaml", "there is no `no/x.yaml`"),
    ] {
        let (code, said) = propose(&server, &folder('a'), file);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(why), "{said}");
    }
    let mut empty = Forge::with(&[]);
    empty.faults = vec![("GET", "/projects", "403 Forbidden", r#"{"message":"403 Forbidden"}"#)];
    let (code, said) = propose(&serve(empty, Forge::answer).0, &folder('a'), VALUES);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("GitLab says 403 Forbidden") && !said.contains("there\""), "{said}");
}
