//! The software bill of materials of an image: the contents of its finished layer come in; a CycloneDX 1.6 document
//! goes out, with every package that is really there. The same image gives the same bytes: there is no time in it, and
//! no serial number.
//!
//! # What a component's hash is
//!
//! A package in an image is not the archive that npm's registry has: files are left out, others were built here. So the
//! hash of a component is that of its files as they are in the image: the sha256 of a list with a line for each file of
//! the package, sorted by path, as `sha256sum` prints it (the file's sha256, two spaces, its path in the package).
//! Files of packages in the package's own `node_modules` belong to those.
//!
//! Written by hand on serde: the crates that write CycloneDX bring its whole model, and know 1.5 at most.

mod license;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::inventory::{PackageFacts, package_folder};
use super::rehearse::Contents;
use crate::digest::Digest;
use license::Choice;

/// The media type of the document.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.cyclonedx+json";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    #[serde(rename = "$schema")]
    schema: &'a str,
    bom_format: &'a str,
    spec_version: &'a str,
    version: u32,
    metadata: Metadata<'a>,
    components: Vec<Component>,
    dependencies: Vec<Dependency>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    compositions: Vec<Composition>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    tools: Tools<'a>,
    component: Component,
}

#[derive(Serialize)]
struct Tools<'a> {
    components: [Tool<'a>; 1],
}

#[derive(Serialize)]
struct Tool<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    name: &'a str,
    version: &'a str,
}

#[derive(Clone, Serialize)]
struct Component {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "bom-ref")]
    reference: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    hashes: [Hash; 1],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    licenses: Vec<Choice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purl: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<Evidence>,
}

#[derive(Clone, Serialize)]
struct Hash {
    alg: &'static str,
    content: String,
}

/// Where in the image a component stands.
#[derive(Clone, Serialize)]
struct Evidence {
    occurrences: Vec<Occurrence>,
}

#[derive(Clone, Serialize)]
struct Occurrence {
    location: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dependency {
    #[serde(rename = "ref")]
    reference: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    depends_on: Vec<String>,
}

/// What is not known to be all.
#[derive(Serialize)]
struct Composition {
    aggregate: &'static str,
    dependencies: Vec<String>,
}

/// A package in a folder of the image.
struct Package<'a> {
    name: &'a str,
    version: &'a str,
    facts: Option<&'a PackageFacts>,
    /// Of its files.
    sha256: String,
}

/// The image that a document is of.
pub(super) struct Subject<'a> {
    pub(super) name: &'a str,
    pub(super) version: &'a str,
    /// Of the manifest.
    pub(super) digest: &'a Digest,
    /// The folders of its plugins.
    pub(super) plugins: Vec<&'a str>,
}

/// Where the document of an image is, relative to the output folder.
pub(crate) fn file(image: &str) -> PathBuf {
    PathBuf::from("sbom").join(format!("{image}.cdx.json"))
}

/// The document for the image `subject`, whose layer has these contents.
pub(super) fn document(subject: &Subject<'_>, contents: &Contents) -> Vec<u8> {
    let packages = packages(subject, contents);
    let references = references(&packages);
    let mut components: BTreeMap<&str, Component> = BTreeMap::new();
    let mut dependencies: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut frontends = BTreeSet::new();
    let folders: BTreeSet<&str> = packages.keys().copied().collect();
    for (folder, package) in &packages {
        let Some(reference) = references.get(folder) else { continue };
        let component = components.entry(reference).or_insert_with(|| package.component(reference));
        if let Some(evidence) = &mut component.evidence {
            evidence.occurrences.push(Occurrence { location: (*folder).to_owned() });
        }
        let top = folder.split('/').next().unwrap_or(folder);
        let found = contents.inventory.dependencies(top, folder, &folders);
        let found = found.filter_map(|folder| references.get(folder)).map(String::as_str);
        dependencies.entry(reference).or_default().extend(found.filter(|other| other != reference));
        if subject.plugins.contains(folder) && package.facts.is_some_and(PackageFacts::is_frontend) {
            frontends.insert(reference.clone());
        }
    }
    let image = subject.component();
    let plugins = subject.plugins.iter().filter_map(|folder| references.get(folder)).map(String::as_str).collect();
    dependencies.insert(&image.reference, plugins);
    let dependencies = dependencies.into_iter().map(|(reference, on)| Dependency {
        reference: reference.to_owned(),
        depends_on: on.into_iter().map(str::to_owned).collect(),
    });
    let dependencies = dependencies.collect();
    // What a bundler has put into a plugin's own files is no package any more.
    let incomplete = Composition { aggregate: "incomplete", dependencies: frontends.into_iter().collect() };
    let document = Document {
        schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
        bom_format: "CycloneDX",
        spec_version: "1.6",
        version: 1,
        metadata: Metadata {
            tools: Tools {
                components: [Tool { kind: "application", name: "rhdh-pack", version: env!("CARGO_PKG_VERSION") }],
            },
            component: image,
        },
        components: components.into_values().collect(),
        dependencies,
        compositions: if incomplete.dependencies.is_empty() { Vec::new() } else { vec![incomplete] },
    };
    // Lists and texts: nothing in them that JSON cannot hold.
    let mut text = serde_json::to_vec(&document).unwrap_or_default();
    text.push(b'\n');
    text
}

/// The packages of the image, by folder.
fn packages<'a>(subject: &Subject<'a>, contents: &'a Contents) -> BTreeMap<&'a str, Package<'a>> {
    let mut files: BTreeMap<&str, Vec<(&str, [u8; 32])>> = BTreeMap::new();
    for entry in &contents.entries {
        let (Some(sha256), Some((top, _))) = (entry.sha256, entry.path.split_once('/')) else { continue };
        if !subject.plugins.contains(&top) {
            continue;
        }
        let folder = owner(&entry.path).unwrap_or(top);
        let inner = entry.path.get(folder.len() + 1..).unwrap_or_default();
        files.entry(folder).or_default().push((inner, sha256));
    }
    let package = |(folder, mut files): (&'a str, Vec<(&str, [u8; 32])>)| {
        files.sort_unstable();
        let mut list = Sha256::new();
        for (path, sha256) in files {
            list.update(format!("{}  {path}\n", hex::encode(sha256)));
        }
        let facts = contents.inventory.manifests.get(folder);
        let field = |field: fn(&PackageFacts) -> Option<&str>| facts.and_then(field).filter(|text| !text.is_empty());
        let name = field(|facts| facts.name.as_str());
        let package = Package {
            name: name.unwrap_or_else(|| folder.rsplit_once("node_modules/").map_or(folder, |(_, name)| name)),
            version: field(|facts| facts.version.as_str()).unwrap_or_default(),
            facts,
            sha256: hex::encode(list.finalize()),
        };
        (folder, package)
    };
    files.into_iter().map(package).collect()
}

/// The folder of the package in `node_modules` that a file belongs to. What begins with a dot there, such as `.bin`, is
/// no package.
fn owner(path: &str) -> Option<&str> {
    let folder = package_folder(path)?;
    let (before, name) = folder.rsplit_once("/node_modules/")?;
    if name.starts_with('.') { owner(&path[..before.len() + 1]) } else { Some(folder) }
}

/// The `bom-ref` of each package, by folder: what is the same in two places is one component.
fn references<'a>(packages: &BTreeMap<&'a str, Package<'a>>) -> BTreeMap<&'a str, String> {
    let mut contents: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for package in packages.values() {
        contents.entry(package.id()).or_default().insert(&package.sha256);
    }
    let reference = |(folder, package): (&&'a str, &Package<'_>)| {
        let id = package.id();
        let is_one = contents.get(&id).is_some_and(|contents| contents.len() == 1);
        let reference = if is_one { id } else { format!("{id}#{}", &package.sha256[..16]) };
        (*folder, reference)
    };
    packages.iter().map(reference).collect()
}

impl Package<'_> {
    fn id(&self) -> String {
        self.purl().unwrap_or_else(|| format!("{}@{}", self.name, self.version))
    }

    /// <https://github.com/package-url/purl-spec>, type `npm`.
    fn purl(&self) -> Option<String> {
        let (scope, name) = split(self.name);
        let scope = scope.map_or_else(String::new, |scope| format!("{}/", percent(scope)));
        let is_plain = |text: &str| !text.is_empty() && !text.contains('/');
        if !is_plain(name) || self.version.is_empty() {
            return None;
        }
        Some(format!("pkg:npm/{scope}{}@{}", percent(name), percent(self.version)))
    }

    fn component(&self, reference: &str) -> Component {
        let (scope, name) = split(self.name);
        Component {
            kind: "library",
            reference: reference.to_owned(),
            group: scope.map(str::to_owned),
            name: name.to_owned(),
            version: self.version.to_owned(),
            hashes: [Hash { alg: "SHA-256", content: self.sha256.clone() }],
            licenses: self.facts.map(license::licenses).unwrap_or_default(),
            purl: self.purl(),
            evidence: Some(Evidence { occurrences: Vec::new() }),
        }
    }
}

impl Subject<'_> {
    fn component(&self) -> Component {
        let purl = format!("pkg:oci/{}@{}", percent(self.name), percent(self.digest.as_str()));
        Component {
            kind: "container",
            reference: purl.clone(),
            group: None,
            name: self.name.to_owned(),
            version: self.version.to_owned(),
            hashes: [Hash { alg: "SHA-256", content: self.digest.hex().to_owned() }],
            licenses: Vec::new(),
            purl: Some(purl),
            evidence: None,
        }
    }
}

/// `@scope/name` in two.
fn split(name: &str) -> (Option<&str>, &str) {
    match name.split_once('/') {
        Some((scope, name)) if scope.len() > 1 && scope.starts_with('@') => (Some(scope), name),
        _ => (None, name),
    }
}

/// RFC 3986: all but unreserved characters as `%XX`.
fn percent(text: &str) -> PercentEncode<'_> {
    const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, &RESERVED)
}

#[cfg(test)]
mod tests;
