//! Rules about one plugin in an archive: whether RHDH can load what was installed.

use std::collections::HashSet;

use serde_json::Value;

use super::contents::{Contents, EntryKind};
use super::{Findings, Rule};
use crate::package::inventory::Inside;
use crate::package::packlist;

/// How many unused packages are named.
const NAMED: usize = 10;

/// What a frontend's manifest must have: texts and lists that are not empty.
const NEEDED: [(Rule, &str, &str); 4] = [
    (Rule::ScalprumManifest, "/name", "`name`"),
    (Rule::ScalprumManifest, "/loadScripts", "`loadScripts`"),
    (Rule::ModuleFederationManifest, "/name", "`name`"),
    (Rule::ModuleFederationManifest, "/metaData/remoteEntry/name", "`metaData.remoteEntry.name`"),
];

/// The paths of the files of an archive.
pub(super) fn files(contents: &Contents) -> HashSet<&str> {
    let is_file = |kind: &EntryKind| *kind == EntryKind::File;
    contents.entries.iter().filter(|entry| is_file(&entry.kind)).map(|entry| entry.path.as_str()).collect()
}

/// The rules about the plugin in `folder`.
pub(super) fn plugin(
    findings: &mut Findings<'_>,
    contents: &Contents,
    files: &HashSet<&str>,
    folder: &str,
    inside: &Inside,
) {
    let has = |path: &str| files.contains(format!("{folder}/{path}").as_str());
    let path = "package.json";
    let Some(json) = contents.manifests.get(&format!("{folder}/{path}")) else {
        let text = format!("`{path}` is not in the archive: RHDH does not see the plugin");
        return findings.add(Rule::PackageJson, Some(folder), None, text);
    };
    let manifest: Value = match serde_json::from_slice(json) {
        Ok(manifest) => manifest,
        Err(error) => {
            let why = match json.strip_prefix(b"\xef\xbb\xbf") {
                Some(_) => "it begins with a byte order mark".to_owned(),
                None => error.to_string(),
            };
            let text = format!("`{path}` is no JSON: {why}");
            return findings.add(Rule::PackageJson, Some(folder), Some(path), text);
        }
    };
    let text_of = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    for (pointer, key) in
        [("/name", "name"), ("/version", "version"), ("/main", "main"), ("/backstage/role", "backstage.role")]
    {
        if text_of(pointer).is_none() {
            findings.add(Rule::PackageJson, Some(folder), Some(path), format!("`{path}` has no `{key}`"));
        }
    }
    let role = text_of("/backstage/role").unwrap_or_default();
    let loads = role.ends_with("-plugin") || role.ends_with("-plugin-module") || role == "frontend-dynamic-container";
    if !role.is_empty() && !loads {
        let text = format!("RHDH loads no package with the role `{role}`");
        findings.add(Rule::PackageJson, Some(folder), Some(path), text);
    }
    if role.starts_with("frontend") {
        frontend(findings, contents, folder, &has);
    } else if let Some(main) = text_of("/main") {
        let base = packlist::inside(main).unwrap_or_default();
        let endings = ["", ".js", ".json", ".node", "/index.js", "/index.json", "/index.node"];
        if !endings.iter().any(|ending| has(format!("{base}{ending}").trim_start_matches('/'))) {
            let text = format!("`main` is `{main}`, which is not in the archive: the backend does not start it");
            findings.add(Rule::MainFile, Some(folder), Some(path), text);
        }
    }
    let schema =
        if role.starts_with("frontend") { "dist-scalprum/configSchema.json" } else { "dist/configSchema.json" };
    if manifest.get("configSchema").is_some_and(|schema| !schema.is_null()) && !has(schema) {
        let text = format!("it has a config schema, but no `{schema}`: RHDH does not check or show its configuration");
        findings.add(Rule::ConfigSchema, Some(folder), None, text);
    }
    if !inside.unused.is_empty() {
        let named: Vec<&str> = inside.unused.iter().take(NAMED).map(String::as_str).collect();
        let more = inside.unused.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let text = format!("no dependency leads to {}{more}", named.join(", "));
        findings.add(Rule::UnusedPackages, Some(folder), None, text);
    }
}

fn frontend(findings: &mut Findings<'_>, contents: &Contents, folder: &str, has: &impl Fn(&str) -> bool) {
    for (rule, path) in [
        (Rule::ScalprumManifest, "dist-scalprum/plugin-manifest.json"),
        (Rule::ModuleFederationManifest, "dist/mf-manifest.json"),
    ] {
        let Some(json) = contents.manifests.get(&format!("{folder}/{path}")) else {
            findings.add(
                rule,
                Some(folder),
                None,
                format!("`{path}` is not in the archive: RHDH does not load the plugin"),
            );
            continue;
        };
        let base = path.rsplit_once('/').map_or("", |(base, _)| base);
        match serde_json::from_slice::<Value>(json) {
            Err(error) => findings.add(rule, Some(folder), Some(path), format!("`{path}` is no JSON: {error}")),
            Ok(manifest) => {
                for (_, pointer, what) in NEEDED.iter().filter(|(of, _, _)| *of == rule) {
                    let is_there = match manifest.pointer(pointer) {
                        Some(Value::String(text)) => !text.is_empty(),
                        Some(Value::Array(list)) => !list.is_empty(),
                        _ => false,
                    };
                    if !is_there {
                        findings.add(rule, Some(folder), Some(path), format!("`{path}` has no {what}"));
                    }
                }
                let mut missing = packlist::named_files(&manifest);
                missing.retain(|file| !packlist::inside(&format!("{base}/{file}")).is_some_and(|path| has(&path)));
                if let Some(first) = missing.first() {
                    let others = missing.len() - 1;
                    let text = format!("`{path}` names `{first}` (and {others} others), which the archive lacks");
                    findings.add(Rule::ManifestFiles, Some(folder), Some(path), text);
                }
            }
        }
    }
}
