//! `prune`: the tags of closed pull requests go, in registries that delete tags, in those that delete whole images
//! only, and on ghcr.io; and nothing else goes. GitHub and GitLab are servers that answer as they document it; the real
//! registry is one that deletes whole images only.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use common::http::{Request, Server, answer};
use common::registry::{Auth, Registry};
use common::repository::Repository;
use serde_json::{Value, json};

/// Pull requests 1 to 250; those that `open` names are open. Newest first, 100 a page.
fn github(open: &'static [u64]) -> Server {
    Server::start(move |request| {
        assert_eq!(request.header("authorization"), Some("Bearer gh-token"), "{}", request.head);
        let query =
            request.target.strip_prefix("/repos/acme/plugins/pulls?").unwrap_or_else(|| panic!("{}", request.head));
        let page: u64 = query.rsplit_once("&page=").unwrap().1.parse().unwrap();
        let numbers = (1..=250_u64).rev().skip((page as usize - 1) * 100).take(100);
        let pulls: Vec<Value> = numbers
            .map(|number| json!({ "number": number, "state": if open.contains(&number) { "open" } else { "closed" } }))
            .collect();
        let link = if page < 3 { "Link: <http://next>; rel=\"next\"\r\n" } else { "" };
        answer("200 OK", link, &json!(pulls).to_string())
    })
}

/// One plugin, whose pull requests' images go to `host/acme-pr`.
fn repository(host: &str) -> Repository {
    let repository = Repository::new();
    repository.config(format!(
        "[defaults]\nregistries = [\"quay-pr\"]\n[registries.quay-pr]\noci = \"{host}/acme-pr\"\n\
         [channels.pr]\non = \"pull-request\"\ntags = [\"pr_{{pr}}__{{version}}\"]\noverwrite = true\n\
         [channels.next]\ntags = [\"next\"]\n[plugins.todo]\npath = \"plugins/todo\"\nimage = \"todo\"\n"
    ));
    repository
}

fn prune(repository: &Repository, forge: &Server, arguments: &[&str]) -> (Option<i32>, Vec<String>, String) {
    ended(&mut prune_command(repository, forge, arguments))
}

fn prune_command(repository: &Repository, forge: &Server, arguments: &[&str]) -> Command {
    let mut command = common::rhdh_pack(repository.root());
    command
        .env("GITHUB_API_URL", format!("http://{}", forge.host))
        .env("GITHUB_REPOSITORY", "acme/plugins")
        .env("GITHUB_TOKEN", "gh-token")
        .args(["prune", "--channel", "pr", "--closed"])
        .args(arguments);
    command
}

fn ended(command: &mut Command) -> (Option<i32>, Vec<String>, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let lines = String::from_utf8(stdout).unwrap().lines().map(str::to_owned).collect();
    (status.code(), lines, String::from_utf8(stderr).unwrap())
}

fn key(digit: char) -> String {
    format!("key-{}", digit.to_string().repeat(20))
}

/// A registry in memory, which answers as the specification says but for what it is told to do otherwise.
#[derive(Default)]
struct Images {
    /// The image under each tag, by a letter.
    tags: BTreeMap<String, char>,
    /// By tag, it deletes the whole image.
    whole: bool,
    /// So many deletions go well; what comes then is answered with 403.
    patience: Option<usize>,
    page: usize,
}

fn manifest(image: char) -> String {
    json!({ "schemaVersion": 2, "annotations": { "image": image } }).to_string()
}

fn digest(image: char) -> String {
    rhdh_pack::digest::Digest::of(manifest(image).as_bytes()).to_string()
}

fn registry(images: Images) -> (Server, Arc<Mutex<Images>>) {
    let images = Arc::new(Mutex::new(images));
    let held = Arc::clone(&images);
    let server = Server::start(move |request| {
        request.read_body(usize::MAX);
        registry_answer(request, &mut images.lock().unwrap())
    });
    (server, held)
}

fn registry_answer(request: &Request, images: &mut Images) -> Vec<u8> {
    let missing = || answer("404 Not Found", "", r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#);
    if request.target == "/v2/" {
        return answer("200 OK", "", "{}");
    }
    let path = request.target.strip_prefix("/v2/acme-pr/todo/").unwrap();
    if let Some(query) = path.strip_prefix("tags/list?") {
        let last = query.split_once("last=").map_or("", |(_, last)| last.split('&').next().unwrap());
        let page = if images.page == 0 { 1000 } else { images.page };
        let tags: Vec<&String> = images.tags.keys().filter(|tag| tag.as_str() > last).take(page).collect();
        let link = tags.last().filter(|_| tags.len() == page).map_or_else(String::new, |last| {
            format!("Link: </v2/acme-pr/todo/tags/list?last={last}&n=1000>; rel=\"next\"\r\n")
        });
        return answer("200 OK", &link, &json!({ "name": "acme-pr/todo", "tags": tags }).to_string());
    }
    let name = path.strip_prefix("manifests/").unwrap();
    let found = images.tags.get(name).copied();
    match (request.method.as_str(), found) {
        ("HEAD" | "GET", Some(image)) => {
            let headers = format!(
                "Docker-Content-Digest: {}\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\n",
                digest(image)
            );
            let mut bytes = answer("200 OK", &headers, &manifest(image));
            if request.method == "HEAD" {
                bytes.truncate(bytes.len() - manifest(image).len());
            }
            bytes
        }
        ("PUT", None) => {
            let image: Value = serde_json::from_slice(&request.body).unwrap();
            let image = image["annotations"]["image"].as_str().unwrap().chars().next().unwrap();
            images.tags.insert(name.to_owned(), image);
            answer("201 Created", &format!("Docker-Content-Digest: {}\r\n", digest(image)), "")
        }
        ("DELETE", Some(image)) => {
            if let Some(patience) = &mut images.patience {
                if *patience == 0 {
                    return answer("403 Forbidden", "", r#"{"errors":[{"code":"DENIED","message":"no more"}]}"#);
                }
                *patience -= 1;
            }
            if images.whole {
                images.tags.retain(|_, other| *other != image);
            } else {
                images.tags.remove(name);
            }
            answer("202 Accepted", "", "")
        }
        _ => missing(),
    }
}

fn tags(tags: &[(&str, char)]) -> BTreeMap<String, char> {
    tags.iter().map(|(tag, image)| ((*tag).to_owned(), *image)).collect()
}

#[test]
fn tags_of_closed_pull_requests_go_and_no_others() {
    let forge = github(&[250]);
    let (server, images) = registry(Images {
        tags: tags(&[
            ("pr_17__1.0.0", 'a'),
            ("pr_17__1.1.0", 'b'),
            ("pr_250__1.0.0", 'b'),
            ("pr_251__1.0.0", 'c'),
            ("pr_x__1.0.0", 'c'),
            ("pr_017__1.0.0", 'c'),
            ("1.0.0", 'a'),
            ("next", 'b'),
            (&key('a'), 'a'),
            (&key('b'), 'b'),
        ]),
        page: 3,
        ..Images::default()
    });
    let repository = repository(&server.host);
    let reference = |tag: &str| format!("{}/acme-pr/todo:{tag}", server.host);
    let expected = vec![reference("pr_17__1.0.0"), reference("pr_17__1.1.0")];
    let (code, deleted, said) = prune(&repository, &forge, &["--dry-run"]);
    assert_eq!((code, &deleted), (Some(0), &expected), "{said}");
    assert!(said.contains("the tags of 251 are kept: there are no such pull requests"), "{said}");
    assert_eq!(images.lock().unwrap().tags.len(), 10);

    let (code, deleted, said) = prune(&repository, &forge, &[]);
    assert_eq!((code, &deleted), (Some(0), &expected), "{said}");
    assert!(said.contains("2 tags of 1 closed pull requests deleted"), "{said}");
    let left: Vec<String> = images.lock().unwrap().tags.keys().cloned().collect();
    assert_eq!(
        left,
        ["1.0.0", &key('a'), &key('b'), "next", "pr_017__1.0.0", "pr_250__1.0.0", "pr_251__1.0.0", "pr_x__1.0.0"]
    );
    // Again: nothing is left to do.
    let (code, deleted, said) = prune(&repository, &forge, &[]);
    assert_eq!((code, deleted.len()), (Some(0), 0), "{said}");
}

#[test]
fn keys_go_with_what_they_hold_where_that_is_wished() {
    let forge = github(&[]);
    let (server, images) = registry(Images {
        tags: tags(&[
            ("pr_17__1.0.0", 'a'),
            (&key('a'), 'a'),
            ("pr_18__1.0.0", 'b'),
            ("1.0.0", 'b'),
            (&key('b'), 'b'),
            (&key('c'), 'c'),
        ]),
        ..Images::default()
    });
    let (code, deleted, said) = prune(&repository(&server.host), &forge, &["--keys"]);
    assert_eq!((code, deleted.len()), (Some(0), 3), "{said}");
    let left: Vec<String> = images.lock().unwrap().tags.keys().cloned().collect();
    assert_eq!(left, ["1.0.0", &key('b'), &key('c')]);
}

#[test]
fn a_registry_that_deletes_the_image_with_the_tag_is_found_out_and_mended() {
    let forge = github(&[]);
    let all = [("pr_17__1.0.0", 'a'), ("pr_18__1.0.0", 'b'), ("1.0.0", 'a'), ("1.1.0", 'b')];
    let (server, images) = registry(Images { tags: tags(&all), whole: true, ..Images::default() });
    let (code, deleted, said) = prune(&repository(&server.host), &forge, &[]);
    assert_eq!((code, deleted.len()), (Some(1), 0), "{said}");
    assert!(said.contains("`1.0.0` was put back"), "{said}");
    let left: Vec<String> = images.lock().unwrap().tags.keys().cloned().collect();
    assert_eq!(left, ["1.0.0", "1.1.0", "pr_18__1.0.0"]);
}

#[test]
fn ten_thousand_tags_over_pages_and_a_registry_that_stops_halfway() {
    let forge = github(&[7]);
    let names: Vec<String> = (0..10_000).map(|at| format!("pr_{}__1.0.{at}", at % 250 + 1)).collect();
    let tags: BTreeMap<String, char> = names.iter().map(|tag| (tag.clone(), 'a')).collect();
    let (server, images) = registry(Images { tags, page: 500, patience: Some(1_000), ..Images::default() });
    let repository = repository(&server.host);
    let (code, deleted, said) = prune(&repository, &forge, &["--dry-run"]);
    assert_eq!((code, deleted.len()), (Some(0), 10_000 - 40), "{said}");
    images.lock().unwrap().tags.retain(|tag, _| tag.ends_with('0') && tag.contains("1.0.1"));
    let (before, of_seven) = {
        let images = images.lock().unwrap();
        (images.tags.len(), images.tags.keys().filter(|tag| tag.starts_with("pr_7__")).count())
    };
    images.lock().unwrap().patience = Some(20);
    let (code, deleted, said) = prune(&repository, &forge, &[]);
    assert_eq!((code, deleted.len()), (Some(1), 20), "{said}");
    assert!(said.contains("no more"), "{said}");
    // The same command again goes on.
    images.lock().unwrap().patience = None;
    let (code, deleted, said) = prune(&repository, &forge, &[]);
    assert_eq!((code, deleted.len()), (Some(0), before - 20 - of_seven), "{said}");
}

#[test]
fn an_interrupted_prune_says_what_it_deleted() {
    let forge = github(&[]);
    let names: Vec<String> = (0..2_000).map(|at| format!("pr_{}__1.0.{at}", at % 250 + 1)).collect();
    let images = Images { tags: names.iter().map(|tag| (tag.clone(), 'a')).collect(), page: 500, ..Images::default() };
    let images = Arc::new(Mutex::new(images));
    let (held, child) = (Arc::clone(&images), Arc::new(Mutex::new(None)));
    let to_stop = Arc::clone(&child);
    let server = Server::start(move |request| {
        // At the third deletion, somebody loses patience.
        if request.method == "DELETE"
            && held.lock().unwrap().tags.len() == 1_998
            && let Some(child) = to_stop.lock().unwrap().take()
        {
            rustix::process::kill_process(child, rustix::process::Signal::INT).unwrap();
        }
        registry_answer(request, &mut held.lock().unwrap())
    });
    let repository = repository(&server.host);
    let mut command = prune_command(&repository, &forge, &[]);
    let started = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    *child.lock().unwrap() = rustix::process::Pid::from_raw(started.id().try_into().unwrap());
    let output = started.wait_with_output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let left = images.lock().unwrap().tags.len();
    assert_eq!(stdout.lines().count(), 2_000 - left, "{stderr}");
    assert!(left > 1_000, "{left}: {stderr}");
}

/// An image under each of `tags`, in the repository `acme-pr/todo` of a real registry; the same for the same letter.
fn push(registry: &Registry, tags: &[(&str, char)]) {
    for (tag, image) in tags {
        let folder = tempfile::tempdir().unwrap();
        let request = common::plugins::request(&folder.path().join("out"), &folder.path().join("dist"));
        common::plugins::backend(&folder.path().join("dist"));
        common::plugins::write(&folder.path().join("dist"), "dist/x.js", image.to_string());
        common::plugins::package_one(&request).map_err(|failure| failure.message).unwrap();
        let from = format!("oci:{}:{}", folder.path().join("out/oci").display(), common::plugins::DIR);
        let to = format!("docker://{}/acme-pr/todo:{tag}", registry.host);
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["copy", "--preserve-digests", "--dest-tls-verify=false", &from, &to]);
        common::registry::run("skopeo", "skopeo", &mut skopeo);
    }
}

#[test]
fn a_registry_that_deletes_images_only_keeps_what_another_tag_holds() {
    let forge = github(&[]);
    let registry = Registry::start(Auth::Open);
    push(
        &registry,
        &[
            ("pr_17__1.0.0", 'a'),
            ("pr_18__1.0.0", 'a'),
            ("pr_19__1.0.0", 'b'),
            (&key('b'), 'b'),
            ("pr_20__1.0.0", 'c'),
            (&key('c'), 'c'),
            ("1.0.0", 'c'),
        ],
    );
    let repository = repository(&registry.host);
    let there = |tag: &str| registry.skopeo_digest("acme-pr/todo", tag, &[]).is_some();
    let (code, deleted, said) = prune(&repository, &forge, &[]);
    assert_eq!((code, deleted.len()), (Some(1), 2), "{said}");
    assert!(said.contains("deletes whole images only") && said.contains("rhdh-pack prune --keys"), "{said}");
    assert_eq!([there("pr_17__1.0.0"), there("pr_18__1.0.0")], [false, false]);
    assert_eq!([there("pr_19__1.0.0"), there(&key('b')), there("pr_20__1.0.0"), there("1.0.0")], [true; 4]);
    let (code, deleted, said) = prune(&repository, &forge, &["--keys"]);
    assert_eq!((code, deleted.len()), (Some(1), 2), "{said}");
    assert_eq!([there("pr_19__1.0.0"), there(&key('b'))], [false, false]);
    assert_eq!([there("pr_20__1.0.0"), there("1.0.0"), there(&key('c'))], [true; 3]);
}

#[test]
fn what_is_attached_goes_with_the_last_tag_of_its_image() {
    let forge = github(&[]);
    let registry = Registry::start(Auth::Open);
    let repository = repository(&registry.host);
    let config = fs_err::read_to_string(repository.root().join("rhdh-plugins.toml")).unwrap();
    let config = config.replace("overwrite = true\n", "overwrite = true\nattach = [\"sbom\", \"provenance\"]\n");
    repository.config(config.replace("[defaults]\n", "[defaults]\nexport = \"prebuilt\"\n"));
    repository.package("plugins/todo", "@acme/plugin-todo", "1.0.0", "backend-plugin");
    let run = |number: &str| {
        let manifest = json!({
            "name": "@acme/plugin-todo-dynamic", "version": "1.0.0", "main": "dist/index.cjs.js",
            "backstage": { "role": "backend-plugin" },
        });
        repository
            .write("plugins/todo/dist-dynamic/package.json", manifest.to_string())
            .write("plugins/todo/dist-dynamic/dist/index.cjs.js", format!("exports.default = {number};\n"));
        let mut command = common::rhdh_pack(repository.root());
        command.args(["run", "--all"]).envs([("GITHUB_ACTIONS", "true"), ("GITHUB_EVENT_NAME", "pull_request")]);
        let (code, _, said) = ended(command.env("GITHUB_REF", format!("refs/pull/{number}/merge")));
        assert_eq!(code, Some(0), "{said}");
        let result = fs_err::read(repository.root().join(".rhdh-pack/result.json")).unwrap();
        let image = serde_json::from_slice::<Value>(&result).unwrap()["plugins"][0]["images"][0].clone();
        let attached =
            image["attached"].as_array().unwrap().iter().map(|one| one["digest"].as_str().unwrap().to_owned());
        (image["digest"].as_str().unwrap().replace(':', "-"), attached.collect::<Vec<String>>())
    };
    let (stays, documents_that_stay) = run("17");
    let (goes, documents_that_go) = run("18");
    assert_eq!([documents_that_stay.len(), documents_that_go.len()], [2, 2]);
    let skopeo = |arguments: &[&str]| {
        let output = Command::new("skopeo").args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let image = |tag: &str| format!("docker://{}/acme-pr/todo:{tag}", registry.host);
    let copy = |from: &str, to: &str| {
        skopeo(&[
            "copy",
            "--preserve-digests",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            &image(from),
            &image(to),
        ]);
    };
    copy("pr_17__1.0.0", "1.0.0");
    // A signature as cosign 2 makes it; and a list that names the image of somebody else.
    push(&registry, &[(&format!("{goes}.sig"), 's')]);
    let other = |tag: &str| registry.skopeo_digest("acme-pr/todo", tag, &[]).unwrap();
    let list = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": documents_that_go.iter().chain([&other("1.0.0")]).map(|digest| json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 1,
        })).collect::<Vec<_>>(),
    });
    let url = format!("http://{}/v2/acme-pr/todo/manifests/", registry.host);
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--fail", "--request", "PUT", "--data", &list.to_string(), &format!("{url}{goes}")]);
    common::registry::run(
        "curl",
        "curl",
        curl.args(["--header", "Content-Type: application/vnd.oci.image.index.v1+json"]),
    );
    let is_there = |digest: &String| {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--header"]);
        curl.args(["Accept: application/vnd.oci.image.manifest.v1+json", &format!("{url}{digest}")]);
        String::from_utf8(curl.output().unwrap().stdout).unwrap() == "200"
    };
    assert!(documents_that_go.iter().all(is_there));

    let (code, deleted, said) = prune(&repository, &forge, &["--keys", "--dry-run"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(documents_that_go.iter().all(is_there) && said.contains("4 attached documents"), "{said}");
    let attached = |deleted: &[String]| -> BTreeSet<String> {
        deleted.iter().filter(|reference| reference.contains("sha256")).cloned().collect()
    };
    let announced = attached(&deleted);
    let (code, deleted, said) = prune(&repository, &forge, &["--keys"]);
    // The image of 17 is released: it stays, with what is attached to it.
    assert_eq!(code, Some(1), "{said}");
    let gone: Vec<&str> = deleted.iter().map(|reference| reference.rsplit(':').next().unwrap()).collect();
    assert_eq!((gone.len(), attached(&deleted)), (6, announced), "{gone:?}");
    assert!(gone.contains(&goes.as_str()) && gone.contains(&format!("{goes}.sig").as_str()), "{gone:?}");
    assert_eq!(documents_that_go.iter().filter(|digest| is_there(digest)).count(), 0);
    assert!(documents_that_stay.iter().all(is_there));
    let tags: Value =
        serde_json::from_slice(&skopeo(&["list-tags", "--tls-verify=false", &image("x").replace(":x", "")])).unwrap();
    let left: Vec<&str> = tags["Tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
    assert!(
        left.contains(&stays.as_str()) && left.contains(&"1.0.0") && !left.iter().any(|tag| tag.contains(&goes)),
        "{left:?}"
    );
}

#[test]
fn ghcr_deletes_images_through_github() {
    let forge = Server::start(|request| {
        assert_eq!(request.header("authorization"), Some("Bearer gh-token"));
        let versions = json!([
            { "id": 1, "name": "sha256:a", "metadata": { "container": { "tags": ["pr_17__1.0.0", key('a')] } } },
            { "id": 2, "name": "sha256:b", "metadata": { "container": { "tags": ["pr_18__1.0.0", "1.0.0"] } } },
            { "id": 3, "name": "sha256:c", "metadata": { "container": { "tags": ["pr_17__1.1.0"] } } },
            { "id": 4, "name": "sha256:d", "metadata": { "container": { "tags": [] } } },
        ]);
        match (request.method.as_str(), request.target.as_str()) {
            // The owner is a user.
            ("GET", target) if target.starts_with("/orgs/") => answer("404 Not Found", "", "{}"),
            ("GET", "/users/acme/packages/container/plugins%2Ftodo/versions?per_page=100&page=1") => {
                answer("200 OK", "", &versions.to_string())
            }
            ("GET", target) if target.starts_with("/repos/acme/plugins/pulls?") => {
                answer("200 OK", "", r#"[{"number":17,"state":"closed"},{"number":18,"state":"closed"}]"#)
            }
            ("DELETE", target) if target.starts_with("/users/acme/packages/container/plugins%2Ftodo/versions/") => {
                answer("204 No Content", "", "")
            }
            (method, target) => panic!("{method} {target}"),
        }
    });
    let repository = repository("ghcr.io");
    let config = fs_err::read_to_string(repository.root().join("rhdh-plugins.toml")).unwrap();
    repository.config(config.replace("ghcr.io/acme-pr", "ghcr.io/acme/plugins"));
    let deletions = || -> Vec<String> {
        let received = forge.received.lock().unwrap();
        let deletions = received.iter().filter(|request| request.method == "DELETE");
        deletions.map(|request| request.target.rsplit('/').next().unwrap().to_owned()).collect()
    };
    let (code, deleted, said) = prune(&repository, &forge, &[]);
    assert_eq!((code, deleted), (Some(1), vec!["ghcr.io/acme/plugins/todo:pr_17__1.1.0".to_owned()]), "{said}");
    assert_eq!(deletions(), ["3"]);
    let (code, _, said) = prune(&repository, &forge, &["--keys"]);
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(deletions(), ["3", "1", "3"]);
    assert!(said.contains("`1.0.0` holds the same one"), "{said}");
}

/// ghcr.io itself is asked through a proxy, which the test is.
#[test]
fn what_is_attached_goes_on_ghcr_too() {
    let image = digest('a');
    let document = |subject: &str, letter: char| {
        json!({ "schemaVersion": 2, "subject": { "digest": subject }, "annotations": { "x": letter } }).to_string()
    };
    let sbom = document(&image, 'a');
    let somebody_elses = document(&digest('z'), 'b');
    let name = |text: &str| rhdh_pack::digest::Digest::of(text.as_bytes()).to_string();
    let tag = image.replace(':', "-");
    let listed = [&sbom, &somebody_elses].map(|text| {
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        json!({ "mediaType": media_type, "digest": name(text), "size": text.len() })
    });
    let list = json!({ "schemaVersion": 2, "manifests": listed });
    let version = |id: u64, name: &str, tags: &[&str]| json!({ "id": id, "name": name, "metadata": { "container": { "tags": tags } } });
    let versions = json!([
        version(1, &image, &["pr_17__1.0.0"]),
        version(2, &digest('b'), &["pr_18__1.0.0"]),
        version(3, &name(&sbom), &[]),
        version(4, &name(&somebody_elses), &[]),
        version(5, &name(&list.to_string()), &[&tag]),
        version(6, &digest('s'), &[&format!("{tag}.sig")]),
        version(7, &digest('l'), &[&digest('b').replace(':', "-")]),
        version(8, &digest('t'), &[&format!("{}.sig", name(&sbom).replace(':', "-"))]),
    ])
    .to_string();
    let manifests: BTreeMap<String, String> =
        [(tag.clone(), list.to_string()), (name(&sbom), sbom), (name(&somebody_elses), somebody_elses)].into();
    let broken = Arc::new(Mutex::new(true));
    let is_broken = Arc::clone(&broken);
    let server = Server::start(move |request| {
        let of_package = "/orgs/acme/packages/container/plugins%2Ftodo/versions";
        let target = request.target.strip_prefix("http://ghcr.io").unwrap_or(&request.target);
        let manifest = target.strip_prefix("/v2/acme/plugins/todo/manifests/");
        match (request.method.as_str(), target, manifest) {
            ("CONNECT", ..) => answer("405 Method Not Allowed", "", ""),
            (_, "/v2/", _) => answer("200 OK", "", "{}"),
            ("GET", _, Some(_)) if *is_broken.lock().unwrap() => answer("403 Forbidden", "", "{}"),
            ("GET", _, Some(name)) if manifests.contains_key(name) => answer("200 OK", "", &manifests[name]),
            ("GET", target, _) if target.starts_with("/repos/acme/plugins/pulls?") => {
                answer("200 OK", "", r#"[{"number":17,"state":"closed"},{"number":18,"state":"open"}]"#)
            }
            ("GET", target, _) if target.starts_with(of_package) => answer("200 OK", "", &versions),
            ("DELETE", target, _) if target.starts_with(of_package) => answer("204 No Content", "", ""),
            _ => answer("404 Not Found", "", "{}"),
        }
    });
    let repository = repository("ghcr.io");
    let config = fs_err::read_to_string(repository.root().join("rhdh-plugins.toml")).unwrap();
    repository.config(config.replace("ghcr.io/acme-pr\"", "ghcr.io/acme/plugins\"\ninsecure = true"));
    let proxy = format!("http://{}", server.host);
    let prune = |arguments: &[&str]| {
        let mut command = common::rhdh_pack(repository.root());
        command
            .env("GITHUB_API_URL", &proxy)
            .envs([("GITHUB_REPOSITORY", "acme/plugins"), ("GITHUB_TOKEN", "gh-token"), ("NO_PROXY", "127.0.0.1")])
            .envs(["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"].map(|name| (name, &proxy)))
            .env("no_proxy", "127.0.0.1")
            .args(["prune", "--channel", "pr", "--closed"])
            .args(arguments);
        ended(&mut command)
    };
    let deletions = || -> Vec<String> {
        let received = server.received.lock().unwrap();
        let deletions = received.iter().filter(|request| request.method == "DELETE");
        deletions.map(|request| request.target.rsplit('/').next().unwrap().to_owned()).collect()
    };
    // Where nobody can say what is attached, the image stays: without it, nobody would find that again.
    let (code, deleted, said) = prune(&[]);
    assert_eq!((code, deleted.len(), deletions().len()), (Some(1), 0, 0), "{said}");
    assert!(said.contains("what is attached to it cannot be read"), "{said}");
    *broken.lock().unwrap() = false;
    let (code, announced, said) = prune(&["--dry-run"]);
    assert_eq!((code, announced.len(), deletions().len()), (Some(0), 5, 0), "{said}");
    let (code, deleted, said) = prune(&[]);
    assert_eq!((code, &deleted), (Some(0), &announced), "{said}");
    assert_eq!(deletions(), ["1", "3", "5", "6", "8"]);
}

#[test]
fn merge_requests_are_asked_for_too() {
    let forge = Server::start(|request| {
        assert_eq!(request.header("private-token"), Some("gl-token"));
        assert!(request.target.starts_with("/projects/12/merge_requests?state=all"), "{}", request.target);
        let all = json!([{ "id": 900, "iid": 17, "state": "merged" }, { "id": 17, "iid": 18, "state": "opened" }]);
        answer("200 OK", "", &all.to_string())
    });
    let (server, images) =
        registry(Images { tags: tags(&[("pr_17__1", 'a'), ("pr_18__1", 'b')]), ..Images::default() });
    let repository = repository(&server.host);
    let mut command = common::rhdh_pack(repository.root());
    command
        .env("CI_API_V4_URL", format!("http://{}", forge.host))
        .env("CI_PROJECT_ID", "12")
        .env("GITLAB_TOKEN", "gl-token")
        .args(["prune", "--channel", "pr", "--closed"]);
    let (code, deleted, said) = ended(&mut command);
    assert_eq!((code, deleted.len()), (Some(0), 1), "{said}");
    assert_eq!(images.lock().unwrap().tags.keys().collect::<Vec<_>>(), ["pr_18__1"]);
}

#[test]
fn nothing_is_deleted_where_nobody_says_what_is_closed() {
    let (server, images) = registry(Images { tags: tags(&[("pr_17__1", 'a')]), ..Images::default() });
    let repository = repository(&server.host);
    let run = |arguments: &[&str]| ended(common::rhdh_pack(repository.root()).args(arguments));
    let (code, _, said) = run(&["prune", "--channel", "pr", "--closed"]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("GITHUB_REPOSITORY"), "{said}");
    let (code, _, said) = run(&["prune", "--channel", "next", "--closed"]);
    assert_eq!(code, Some(2), "{said}");
    assert_eq!(run(&["prune", "--channel", "pr"]).0, Some(2));
    let refusing =
        Server::start(|_| answer("403 Forbidden", "", r#"{"message":"Resource not accessible by integration"}"#));
    let (code, deleted, said) = prune(&repository, &refusing, &[]);
    assert_eq!((code, deleted.len()), (Some(3), 0), "{said}");
    assert_eq!(images.lock().unwrap().tags.len(), 1);
}
