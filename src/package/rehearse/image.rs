//! Rules about an OCI image: its manifest, its config, its one layer.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::contents::{Contents, EntryKind};
use super::{ArchiveKind, DYNAMIC_PACKAGES, Finding, Findings, Release, Rule, layer, plugin};
use crate::package::inventory::Inside;
use crate::package::tgz::is_plain_name;

/// An image as it lies in an OCI layout or in a registry.
pub(crate) struct ImageBytes<'a> {
    /// The last part of its name.
    pub(crate) name: &'a str,
    /// The plugin's folder, where the reference names it with `!folder`.
    pub(crate) folder: Option<&'a str>,
    pub(crate) manifest: &'a [u8],
    pub(crate) config: &'a [u8],
    pub(crate) layer: &'a Contents,
}

/// Media types that skopeo takes for a manifest and a config.
const MANIFESTS: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
const CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// What is found in an image; and what is inside its plugins, by folder.
pub(crate) fn image(image: &ImageBytes<'_>, releases: &[Release]) -> (Vec<Finding>, BTreeMap<String, Inside>) {
    let mut findings = Findings::new(ArchiveKind::Image, releases);
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap_or_default();
    let (manifest, config) = (json(image.manifest), json(image.config));
    manifest_rules(&mut findings, &manifest);
    config_rules(&mut findings, &config, image.layer);
    if image.layer.size <= image.config.len() as u64 {
        let text = format!("the layer has {} bytes, the config {}", image.layer.size, image.config.len());
        findings.add(Rule::LayerLargerThanConfig, None, None, text);
    }
    layer::archive(&mut findings, image.layer);
    let announced = announced_folders(&mut findings, &manifest, image.folder);
    layer::entries(&mut findings, image.layer, |path| {
        path == "index.json" || announced.contains(path.split('/').next().unwrap_or(path))
    });
    // Of a part of the layer, nobody knows what is missing.
    if !image.layer.is_cut {
        folder_rules(&mut findings, image, &announced);
    }
    let files = plugin::files(image.layer);
    let mut insides = BTreeMap::new();
    for folder in &announced {
        let sizes = image.layer.entries.iter().filter(|entry| entry.kind == EntryKind::File);
        let inside = image.layer.inventory.inside(folder, sizes.map(|entry| (entry.path.as_str(), entry.size)));
        if !image.layer.is_cut {
            plugin::plugin(&mut findings, image.layer, &files, folder, &inside);
        }
        insides.insert(folder.clone(), inside);
    }
    (findings.found, insides)
}

fn manifest_rules(findings: &mut Findings<'_>, manifest: &Value) {
    let text = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str);
    let media_type = text("/mediaType").unwrap_or(MANIFESTS[0]);
    if !MANIFESTS.contains(&media_type) {
        findings.add(Rule::ManifestMediaType, None, None, format!("the manifest is a `{media_type}`"));
    }
    let config = text("/config/mediaType").unwrap_or_default();
    if !CONFIGS.contains(&config) {
        findings.add(Rule::ConfigMediaType, None, None, format!("the config is a `{config}`"));
    }
    let layers = manifest.get("layers").and_then(Value::as_array).map_or(0, Vec::len);
    if layers != 1 {
        findings.add(Rule::OneLayer, None, None, format!("the image has {layers} layers"));
    }
}

fn config_rules(findings: &mut Findings<'_>, config: &Value, layer: &Contents) {
    let text = |pointer: &str| config.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (os, architecture) = (text("/os"), text("/architecture"));
    if (os, architecture) != ("linux", "amd64") {
        findings.add(
            Rule::ConfigContent,
            None,
            None,
            format!("the config is for `{os}/{architecture}`, not linux/amd64"),
        );
    }
    if text("/rootfs/diff_ids/0") != layer.diff_id.as_str() {
        let text = format!("the config does not name the layer's diff_id, {}", layer.diff_id);
        findings.add(Rule::ConfigContent, None, None, text);
    }
}

/// What the annotation's value says: plugins by their folders. The error is why installers cannot read it.
pub(crate) fn dynamic_packages(value: &str) -> Result<Vec<Map<String, Value>>, String> {
    // Line breaks, as `base64` makes them, are passed over by all installers.
    let value: String = value.split_ascii_whitespace().collect();
    let json = STANDARD.decode(value).map_err(|error| format!("it is no padded standard base64: {error}"))?;
    serde_json::from_slice(&json).map_err(|error| format!("it is no list of objects: {error}"))
}

/// The folders that the annotation names, and the one that the reference does.
fn announced_folders(findings: &mut Findings<'_>, manifest: &Value, wanted: Option<&str>) -> BTreeSet<String> {
    let annotation = manifest.get("annotations").and_then(|all| all.get(DYNAMIC_PACKAGES)).and_then(Value::as_str);
    let read = || -> Result<BTreeSet<String>, String> {
        let value = annotation.ok_or("the manifest does not have it")?;
        let list = dynamic_packages(value)?;
        let folders: BTreeSet<String> = list.into_iter().flatten().map(|(folder, _)| folder).collect();
        if folders.is_empty() { Err("it names no plugin".to_owned()) } else { Ok(folders) }
    };
    let mut folders = read().unwrap_or_else(|why| {
        let text = format!("the annotation `{DYNAMIC_PACKAGES}`: {why}");
        match wanted {
            None => findings.add(Rule::DynamicPackages, None, None, text),
            // Only the operator's script looks whether it is there: the others read it where no folder is named.
            Some(_) => {
                let is_operators = |release: Release| !release.has_python_installer();
                findings.warn_for(Rule::DynamicPackages, text, is_operators);
            }
        }
        BTreeSet::new()
    });
    folders.extend(wanted.map(str::to_owned));
    folders
}

fn folder_rules(findings: &mut Findings<'_>, image: &ImageBytes<'_>, announced: &BTreeSet<String>) {
    for folder in announced {
        if !is_plain_name(folder, "") {
            findings.add(Rule::PluginFolder, Some(folder), None, format!("the plugin's folder is `{folder}`"));
        }
        let prefix = format!("{folder}/");
        if !image.layer.entries.iter().any(|entry| entry.path.starts_with(&prefix)) {
            let text = format!("the layer has no `{folder}/`: an installer makes an empty folder, and says nothing");
            findings.add(Rule::DynamicPackages, Some(folder), None, text);
        }
        for other in announced.iter().filter(|other| *other != folder && other.starts_with(folder.as_str())) {
            let text = format!("where `{folder}` is installed, `{other}` is, too, even if it is not wanted");
            findings.add(Rule::FolderPrefix, Some(folder), None, text);
        }
    }
    match announced.iter().collect::<Vec<_>>().as_slice() {
        [] => {}
        [only] if only.as_str() == image.name => {}
        [only] => {
            let text = format!("the image's name ends in `{}`, its plugin's folder is `{only}`", image.name);
            findings.add(Rule::ImageName, Some(only), None, text);
        }
        several => {
            let text = format!("the image holds {} plugins", several.len());
            findings.add(Rule::BundleForOperator, None, None, text);
        }
    }
}
