//! What `update --pr` is tested with on either forge: an output folder, and a server that keeps what it is told.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tempfile::TempDir;

use super::http::{Request, Server};

/// A digest of nothing but this digit.
pub(crate) fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

/// Serves what `answer` makes of `forge` and each request.
pub(crate) fn serve<F: Send + 'static>(forge: F, answer: fn(&mut F, &Request) -> Vec<u8>) -> (Server, Arc<Mutex<F>>) {
    let forge = Arc::new(Mutex::new(forge));
    let held = Arc::clone(&forge);
    let server = Server::start(move |request| {
        request.read_body(usize::MAX);
        answer(&mut forge.lock().unwrap(), request)
    });
    (server, held)
}

/// An output folder in which `todo` was published with a digest of `digit`s.
pub(crate) fn folder(digit: char) -> TempDir {
    let image = json!({
        "registry": "quay", "reference": format!("quay.io/acme/todo@{}", digest(digit)), "digest": digest(digit), "tags": [],
        "size": 1, "state": "new",
    });
    let todo = json!({
        "id": "todo", "state": "published", "action": "build", "reasons": [], "version": "2.0.0", "content_key": null,
        "role": "frontend-plugin", "image_name": "todo", "image": null, "images": [image], "tgz": null,
        "plugin_config": null, "error": null,
    });
    let result = json!({
        "schema_version": 1, "rhdh_pack": "0.1.0", "channel": "release", "commit": null, "started": "2026-11-22T10:00:00Z",
        "finished": null, "outcome": "success", "plugins": [todo], "bundles": [],
    });
    let folder = tempfile::tempdir().unwrap();
    fs_err::create_dir(folder.path().join("out")).unwrap();
    fs_err::write(folder.path().join("out/result.json"), result.to_string()).unwrap();
    folder
}
