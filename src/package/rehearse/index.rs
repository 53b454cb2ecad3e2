//! Rules about an index of images, as tools that build for several platforms make it.

use serde_json::Value;

use super::{ArchiveKind, DYNAMIC_PACKAGES, Finding, Findings, Release, Rule};

/// What is found in an index; and the descriptor of the image that installers take, the one for linux/amd64.
pub(crate) fn index(index: &Value, releases: &[Release]) -> (Vec<Finding>, Option<Value>) {
    let mut findings = Findings::new(ArchiveKind::Image, releases);
    let manifests = index.get("manifests").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let platform = |image: &&Value| {
        let part = |pointer: &str| image.pointer(pointer).and_then(Value::as_str);
        (part("/platform/os"), part("/platform/architecture")) == (Some("linux"), Some("amd64"))
    };
    let image = manifests.iter().find(platform);
    if image.is_none() {
        findings.add(Rule::IndexPlatform, None, None, "the index has no image for linux/amd64".to_owned());
    }
    if index.get("annotations").and_then(|all| all.get(DYNAMIC_PACKAGES)).is_none() {
        let text = format!("the index does not have the annotation `{DYNAMIC_PACKAGES}`");
        findings.add(Rule::IndexAnnotation, None, None, text);
    }
    (findings.found, image.cloned())
}
