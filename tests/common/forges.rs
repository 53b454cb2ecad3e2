//! The parts of GitHub's and GitLab's APIs that keep files, over HTTP on this machine. They keep what they get, and can
//! be told to answer something else.

use std::sync::{Arc, Mutex};

use rhdh_pack::digest::Digest;
use serde_json::{Value, json};

use super::http::{Received, Request, Server, answer};

/// What a forge keeps.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) releases: Vec<Release>,
    /// Assets of releases, or files of packages.
    pub(crate) files: Vec<File>,
    next: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Release {
    pub(crate) id: u64,
    pub(crate) tag: String,
    pub(crate) draft: bool,
    pub(crate) body: String,
    pub(crate) commit: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) id: u64,
    /// The release that it belongs to; on GitLab the package.
    pub(crate) owner: u64,
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) state: &'static str,
}

impl Kept {
    pub(crate) fn id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn release(&mut self, tag: &str, draft: bool, body: &str) -> u64 {
        let id = self.id();
        self.releases.push(Release { id, tag: tag.to_owned(), draft, body: body.to_owned(), commit: None });
        id
    }

    pub(crate) fn file(&mut self, owner: u64, name: &str, bytes: &[u8], state: &'static str) {
        let id = self.id();
        self.files.push(File { id, owner, name: name.to_owned(), bytes: bytes.to_owned(), state });
    }

    /// Names and contents of what everybody can see.
    pub(crate) fn seen(&self) -> Vec<(String, Vec<u8>)> {
        let seen = |file: &&File| {
            let release = self.releases.iter().find(|release| release.id == file.owner);
            file.state == "uploaded" && release.is_none_or(|release| !release.draft)
        };
        let mut all: Vec<_> =
            self.files.iter().filter(seen).map(|file| (file.name.clone(), file.bytes.clone())).collect();
        all.sort();
        all
    }
}

/// Answers in the place of the forge, which then does nothing; the number counts requests from 0.
pub(crate) type Fault = Box<dyn Fn(usize, &mut Request) -> Option<Vec<u8>> + Send + Sync>;

/// A running forge.
pub(crate) struct Forge {
    pub(crate) server: Server,
    pub(crate) kept: Arc<Mutex<Kept>>,
    /// Where GitHub sends those who download, without a token.
    pub(crate) storage: Server,
}

/// What may be different from one server to the next.
#[derive(Clone, Copy)]
pub(crate) struct Ways {
    /// Whether digests are said.
    pub(crate) digests: bool,
    /// Entries of a page.
    pub(crate) page: usize,
}

impl Default for Ways {
    fn default() -> Self {
        Self { digests: true, page: 2 }
    }
}

type Api = fn(&mut Kept, &mut Request, &str, Ways, &str) -> Vec<u8>;

impl Forge {
    pub(crate) fn github(ways: Ways, fault: Fault) -> Self {
        Self::start(ways, fault, github)
    }

    pub(crate) fn gitlab(ways: Ways, fault: Fault) -> Self {
        Self::start(ways, fault, gitlab)
    }

    fn start(ways: Ways, fault: Fault, api: Api) -> Self {
        let kept = Arc::new(Mutex::new(Kept { next: 100, ..Kept::default() }));
        let stored = Arc::clone(&kept);
        let storage = Server::start(move |request| {
            let id: u64 = request.target.trim_start_matches('/').parse().unwrap();
            let file = stored.lock().unwrap().files.iter().find(|file| file.id == id).cloned().unwrap();
            bytes("200 OK", &file.bytes)
        });
        let (elsewhere, own) = (storage.host.clone(), Arc::clone(&kept));
        let count = std::sync::atomic::AtomicUsize::new(0);
        let server = Server::start(move |request| {
            let position = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            if let Some(reply) = fault(position, request) {
                return reply;
            }
            respond(&own, request, ways, api, &elsewhere)
        });
        Self { server, kept, storage }
    }

    pub(crate) fn api(&self) -> String {
        format!("http://{}", self.server.host)
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.server.received.lock().unwrap().clone()
    }

    /// Methods and paths, without queries, of what changes something.
    pub(crate) fn changes(&self) -> Vec<String> {
        let changes = self.received().into_iter().filter(|request| request.method != "GET");
        changes.map(|request| format!("{} {}", request.method, request.target.split('?').next().unwrap())).collect()
    }
}

/// Does what is asked, in the way of `api`.
fn respond(kept: &Mutex<Kept>, request: &mut Request, ways: Ways, api: Api, elsewhere: &str) -> Vec<u8> {
    request.read_body(usize::MAX);
    if request.body.len() < request.length() {
        return Vec::new();
    }
    let scheme = request.header("x-forwarded-proto").unwrap_or("http");
    let host = format!("{scheme}://{}", request.header("host").unwrap());
    api(&mut kept.lock().unwrap(), request, &host, ways, elsewhere)
}

/// A fault that does what is asked, and loses the answer.
pub(crate) fn done(kept: &Mutex<Kept>, request: &mut Request, is_github: bool) {
    let api: Api = if is_github { github } else { gitlab };
    drop(respond(kept, request, Ways::default(), api, ""));
}

fn bytes(status: &str, body: &[u8]) -> Vec<u8> {
    let mut reply =
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len()).into_bytes();
    reply.extend_from_slice(body);
    reply
}

fn ok(value: &Value) -> Vec<u8> {
    answer("200 OK", "", &value.to_string())
}

fn not_found() -> Vec<u8> {
    answer("404 Not Found", "", r#"{"message":"Not Found"}"#)
}

fn query(request: &Request, name: &str) -> Option<String> {
    let url = reqwest::Url::parse(&format!("http://x{}", request.target)).unwrap();
    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// One page of a list, with a link to the next.
fn page(request: &Request, host: &str, ways: Ways, all: &[Value]) -> Vec<u8> {
    let number: usize = query(request, "page").map_or(1, |page| page.parse().unwrap());
    let from = (number - 1) * ways.page;
    let entries: Vec<&Value> = all.iter().skip(from).take(ways.page).collect();
    let mut url = reqwest::Url::parse(&format!("{host}{}", request.target)).unwrap();
    let others: Vec<_> = url.query_pairs().into_owned().filter(|(name, _)| name != "page").collect();
    url.query_pairs_mut().clear().extend_pairs(others).append_pair("page", &(number + 1).to_string());
    let link = if from + ways.page < all.len() { format!("Link: <{url}>; rel=\"next\"\r\n") } else { String::new() };
    answer("200 OK", &link, &json!(entries).to_string())
}

fn release_json(kept: &Kept, host: &str, ways: Ways, release: &Release) -> Value {
    let api = format!("{host}/repos/acme/plugins/releases");
    let assets = kept.files.iter().filter(|file| file.owner == release.id);
    json!({
        "url": format!("{api}/{}", release.id), "html_url": format!("{host}/html"),
        "assets_url": format!("{api}/{}/assets", release.id),
        "upload_url": format!("{host}/upload/{}{{?name,label}}", release.id),
        "tarball_url": null, "zipball_url": null, "id": release.id, "node_id": "R", "tag_name": release.tag,
        "target_commitish": release.commit.as_deref().unwrap_or("main"), "name": release.tag, "body": release.body,
        "draft": release.draft, "prerelease": false, "created_at": "2026-11-22T10:00:00Z", "published_at": null,
        "author": null, "assets": assets.map(|file| asset_json(kept, host, ways, file)).collect::<Vec<_>>(),
    })
}

fn asset_json(kept: &Kept, host: &str, ways: Ways, file: &File) -> Value {
    let release = kept.releases.iter().find(|release| release.id == file.owner).unwrap();
    let tag = if release.draft { format!("untagged-{}", release.id) } else { release.tag.clone() };
    let digest = (ways.digests && file.state == "uploaded").then(|| Digest::of(&file.bytes).to_string());
    json!({
        "url": format!("{host}/repos/acme/plugins/releases/assets/{}", file.id),
        "browser_download_url": format!("{host}/acme/plugins/releases/download/{tag}/{}", file.name),
        "id": file.id, "node_id": "A", "name": file.name, "label": null, "state": file.state,
        "content_type": "application/octet-stream", "size": file.bytes.len(), "digest": digest, "download_count": 0,
        "created_at": "2026-11-22T10:00:00Z", "updated_at": "2026-11-22T10:00:00Z", "uploader": null,
    })
}

const EXISTS: &str =
    r#"{"message":"Validation Failed","errors":[{"resource":"ReleaseAsset","code":"already_exists","field":"name"}]}"#;

fn github(kept: &mut Kept, request: &mut Request, host: &str, ways: Ways, elsewhere: &str) -> Vec<u8> {
    let path = request.target.split('?').next().unwrap().to_owned();
    let parts: Vec<&str> = path.trim_start_matches("/repos/acme/plugins/").split('/').collect();
    let id = |part: &str| part.parse::<u64>().unwrap();
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    match (request.method.as_str(), parts.as_slice()) {
        ("GET", ["releases"]) => {
            let all: Vec<Value> = kept.releases.iter().map(|release| release_json(kept, host, ways, release)).collect();
            page(request, host, ways, &all)
        }
        ("GET", ["releases", "tags", tag]) => {
            let found = kept.releases.iter().find(|release| !release.draft && release.tag == tag.replace("%2F", "/"));
            found.map_or_else(not_found, |release| ok(&release_json(kept, host, ways, release)))
        }
        ("POST", ["releases"]) => {
            let made =
                kept.release(body["tag_name"].as_str().unwrap(), body["draft"] == true, body["body"].as_str().unwrap());
            let release = kept.releases.iter_mut().find(|release| release.id == made).unwrap();
            release.commit = body["target_commitish"].as_str().map(str::to_owned);
            let release = release.clone();
            answer("201 Created", "", &release_json(kept, host, ways, &release).to_string())
        }
        ("PATCH", ["releases", release]) => {
            let Some(found) = kept.releases.iter_mut().find(|found| found.id == id(release)) else {
                return not_found();
            };
            found.draft = body["draft"] == true;
            let found = found.clone();
            ok(&release_json(kept, host, ways, &found))
        }
        ("GET", ["releases", release, "assets"]) => {
            let of_release = kept.files.iter().filter(|file| file.owner == id(release));
            let all: Vec<Value> = of_release.map(|file| asset_json(kept, host, ways, file)).collect();
            page(request, host, ways, &all)
        }
        ("GET", ["releases", "assets", asset]) => {
            answer("302 Found", &format!("Location: http://{elsewhere}/{asset}\r\n"), "")
        }
        ("DELETE", ["releases", "assets", asset]) => {
            kept.files.retain(|file| file.id != id(asset));
            answer("204 No Content", "", "")
        }
        ("PATCH", ["releases", "assets", asset]) => {
            let name = body["name"].as_str().unwrap();
            let Some(found) = kept.files.iter().position(|file| file.id == id(asset)) else { return not_found() };
            let owner = kept.files[found].owner;
            if kept.files.iter().any(|file| file.owner == owner && file.name == name && file.id != id(asset)) {
                return answer("422 Unprocessable Entity", "", EXISTS);
            }
            kept.files[found].name = name.to_owned();
            ok(&asset_json(kept, host, ways, &kept.files[found]))
        }
        ("POST", ["", "upload", release]) => {
            let name = query(request, "name").unwrap();
            if kept.files.iter().any(|file| file.owner == id(release) && file.name == name) {
                return answer("422 Unprocessable Entity", "", EXISTS);
            }
            kept.file(id(release), &name, &request.body, "uploaded");
            answer("201 Created", "", &asset_json(kept, host, ways, kept.files.last().unwrap()).to_string())
        }
        other => panic!("{other:?}"),
    }
}

/// Packages are the releases here, named by their tags: `name/version`.
fn gitlab(kept: &mut Kept, request: &mut Request, host: &str, ways: Ways, _: &str) -> Vec<u8> {
    let path = request.target.split('?').next().unwrap().to_owned();
    let parts: Vec<&str> = path.trim_start_matches("/projects/acme%2Fplugins/").split('/').collect();
    match (request.method.as_str(), parts.as_slice()) {
        ("GET", ["packages"]) => {
            let (name, version) = (query(request, "package_name").unwrap(), query(request, "package_version").unwrap());
            assert_eq!(query(request, "package_type").as_deref(), Some("generic"));
            let found = kept.releases.iter().filter_map(|package| {
                let (own, number) = package.tag.split_once('/').unwrap();
                // GitLab finds names by their parts.
                (own.contains(&name) && number == version)
                    .then(|| json!({ "id": package.id, "name": own, "version": number, "package_type": "generic" }))
            });
            page(request, host, ways, &found.collect::<Vec<_>>())
        }
        ("GET", ["packages", package, "package_files"]) => {
            let owner: u64 = package.parse().unwrap();
            let files = kept.files.iter().filter(|file| file.owner == owner).map(|file| {
                let digest = ways.digests.then(|| Digest::of(&file.bytes).hex().to_owned());
                json!({ "id": file.id, "file_name": file.name, "size": file.bytes.len(), "file_sha256": digest })
            });
            page(request, host, ways, &files.collect::<Vec<_>>())
        }
        ("PUT", ["packages", "generic", name, version, file]) => {
            let tag = format!("{name}/{version}");
            let known = kept.releases.iter().find(|package| package.tag == tag).map(|package| package.id);
            let owner = known.unwrap_or_else(|| kept.release(&tag, false, ""));
            kept.file(owner, file, &request.body, "uploaded");
            answer("201 Created", "", r#"{"message":"201 Created"}"#)
        }
        ("GET", ["packages", "generic", name, version, file]) => {
            let tag = format!("{name}/{version}");
            let owner = kept.releases.iter().find(|package| package.tag == tag).map(|package| package.id);
            let last = kept.files.iter().rfind(|other| Some(other.owner) == owner && other.name == *file);
            last.map_or_else(not_found, |file| bytes("200 OK", &file.bytes))
        }
        _ => not_found(),
    }
}
