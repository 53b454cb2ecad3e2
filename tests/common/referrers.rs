//! What Debian's registry cannot do: a front of it that keeps lists of what is attached to images, as the OCI
//! distribution specification 1.1 wants it. Everything else it passes on.

use std::collections::BTreeMap;
use std::sync::Mutex;

use rhdh_pack::digest::Digest;
use serde_json::{Value, json};

use super::http::{Server, answer, forward};

/// A front of the registry at `upstream`. With `pages`, each entry of a list is a page of its own.
pub(crate) fn with_referrers(upstream: &str, pages: bool) -> Server {
    let upstream = upstream.to_owned();
    let lists: Mutex<BTreeMap<String, Vec<Value>>> = Mutex::default();
    Server::start(move |request| {
        let path = request.target.split('?').next().unwrap().to_owned();
        if request.method == "GET"
            && let Some((repository, digest)) =
                path.strip_prefix("/v2/").and_then(|path| path.split_once("/referrers/"))
        {
            let list = lists.lock().unwrap().get(&format!("{repository}@{digest}")).cloned().unwrap_or_default();
            let page = request.target.split_once("?page=").map_or(0, |(_, page)| page.parse().unwrap());
            let (shown, next) = match pages {
                true => (list.get(page).into_iter().cloned().collect(), page + 1 < list.len()),
                false => (list, false),
            };
            let index = json!({
                "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": Value::Array(shown),
            });
            let link = if next { format!("Link: <{path}?page={}>; rel=\"next\"\r\n", page + 1) } else { String::new() };
            let headers = format!("Content-Type: application/vnd.oci.image.index.v1+json\r\n{link}");
            return answer("200 OK", &headers, &index.to_string());
        }
        let reply = forward(&upstream, request);
        let subject = || -> Option<(String, Value)> {
            let manifest: Value = serde_json::from_slice(&request.body).ok()?;
            let subject = manifest["subject"]["digest"].as_str()?.to_owned();
            let referrer = json!({
                "mediaType": manifest["mediaType"], "digest": Digest::of(&request.body), "size": request.body.len(),
                "artifactType": manifest["artifactType"], "annotations": manifest["annotations"],
            });
            Some((subject, referrer))
        };
        let put = request.method == "PUT" && path.contains("/manifests/") && reply.starts_with(b"HTTP/1.1 201");
        let Some((subject, referrer)) = subject().filter(|_| put) else { return reply };
        let repository = path.strip_prefix("/v2/").unwrap().split("/manifests/").next().unwrap();
        let mut lists = lists.lock().unwrap();
        let list = lists.entry(format!("{repository}@{subject}")).or_default();
        list.retain(|other| other["digest"] != referrer["digest"]);
        list.push(referrer);
        let text = String::from_utf8(reply).unwrap();
        text.replacen("\r\n", &format!("\r\nOCI-Subject: {subject}\r\n"), 1).into_bytes()
    })
}
