//! Rules about an archive as `npm pack` makes it.

use serde_json::Value;

use super::contents::Contents;
use super::{ArchiveKind, Finding, Findings, Release, Rule, layer};
use crate::package::inventory::Inside;
use crate::package::tgz::{folder_name, is_plain_name};

/// The folder that everything stands in.
const FOLDER: &str = "package";

/// What is found in the tgz with this file name; and what is inside its plugin, which the findings call `plugin`.
pub(crate) fn tgz(contents: &Contents, file_name: &str, plugin: &str, releases: &[Release]) -> (Vec<Finding>, Inside) {
    let mut findings = Findings::new(ArchiveKind::Tgz, releases);
    layer::archive(&mut findings, contents);
    layer::entries(&mut findings, contents, |path| path == FOLDER || path.starts_with("package/"));
    let files = contents.entries.iter().map(|entry| (entry.path.as_str(), entry.size));
    let inside = contents.inventory.inside(FOLDER, files);
    // Of a part of it, nobody knows what is missing.
    if !contents.is_cut {
        super::plugin::plugin(&mut findings, contents, &super::plugin::files(contents), FOLDER, &inside);
    }
    let manifest = contents.manifests.get("package/package.json");
    if let Some(Ok(manifest)) = manifest.map(|json| serde_json::from_slice::<Value>(json)) {
        let text = |key: &str| manifest.get(key).and_then(Value::as_str).unwrap_or_default();
        let (name, version) = (text("name"), text("version"));
        let folder = folder_name(name, version);
        let expected = crate::package::tgz::file_name(name, version);
        if name.is_empty() || version.is_empty() {
            // That is found above.
        } else if !is_plain_name(&folder, ".tgz") {
            let text =
                format!("the plugin's folder would be `{folder}`, after `name` and `version` of its package.json");
            findings.add(Rule::PluginFolder, None, None, text);
        } else if file_name != expected {
            let text = format!("the archive is named `{file_name}`, and npm would name it `{expected}`");
            findings.add(Rule::ArchiveName, None, None, text);
        }
    }
    for finding in &mut findings.found {
        finding.plugin = Some(plugin.to_owned());
    }
    (findings.found, inside)
}
