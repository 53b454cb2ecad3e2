//! What can be known of a published image without its layers: manifest, config and attached documents come in; what
//! they say goes out, in a form for programs and one for people. Whoever pushed them wrote what they like: nothing here
//! is verified but digests.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;

use crate::artifact::{AttachedDocument, Described};
use crate::config::Attachment;
use crate::digest::Digest;
use crate::package::rehearse::{DYNAMIC_PACKAGES, dynamic_packages};
use crate::plan::CONTENT_KEY_ANNOTATION;
use crate::push::attach::media_type;
use crate::registry::Manifest;

mod text;

/// The version of the document. Fields are only ever added to a version.
pub const SCHEMA_VERSION: u32 = 1;

/// What signatures of cosign are attached as.
const SIGNATURES: [&str; 2] =
    ["application/vnd.dev.cosign.artifact.sig.v1+json", "application/vnd.dev.sigstore.bundle.v0.3+json"];

/// Predicates of in-toto statements that say where something comes from.
const PROVENANCE: [&str; 2] = ["https://slsa.dev/provenance/v1", "https://slsa.dev/provenance/v0.2"];

/// What is printed for programs.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// One for a reference, several for a layout or an output folder.
    pub images: &'a [Inspection],
}

/// What an image and its documents say.
#[derive(Debug, Serialize)]
pub struct Inspection {
    /// What was asked for.
    pub artifact: String,
    /// What a reference names: the digest of the manifest, or of the index that the image is in.
    pub digest: Digest,
    /// Of the image's own manifest.
    pub image: Digest,
    /// Bytes of manifest, config and layers.
    pub size: u64,
    /// When it was made, as its config says.
    pub created: Option<String>,
    /// The manifest's annotations, without the list of plugins.
    pub annotations: BTreeMap<String, String>,
    /// The config's labels.
    pub labels: BTreeMap<String, String>,
    /// The content key, where rhdh-pack made the image.
    pub content_key: Option<String>,
    /// The plugins that RHDH's installers will find.
    pub plugins: Vec<Plugin>,
    /// What is in the image.
    pub sbom: Option<Sbom>,
    /// How it came about.
    pub provenance: Option<Provenance>,
    /// How many signatures are there. They are not verified here.
    pub signatures: usize,
    /// What is not there, or cannot be read.
    pub missing: Vec<String>,
    /// The documents themselves.
    #[serde(skip)]
    raw: BTreeMap<Attachment, Vec<u8>>,
}

/// A plugin that the image says it holds.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Plugin {
    /// Its folder.
    pub dir: String,
    /// The name of its package.
    pub name: String,
    /// The version of its package.
    pub version: String,
    /// Its role.
    pub role: String,
}

/// What an SBOM says.
#[derive(Debug, Serialize)]
pub struct Sbom {
    /// Of the manifest by which it is attached; `None` for that of an output folder.
    pub digest: Option<Digest>,
    /// How many components it lists.
    pub components: usize,
    /// How many of them are under each licence; `unknown` where none is named.
    pub licenses: BTreeMap<String, usize>,
    /// Whether it says of itself that it does not list all: what a bundler has put into other files, for example.
    pub incomplete: bool,
}

/// What a provenance statement says.
#[derive(Debug, Serialize)]
pub struct Provenance {
    /// Of the manifest by which it is attached.
    pub digest: Option<Digest>,
    /// Whether somebody signed the statement. That is not verified here.
    pub signed: bool,
    /// Who built.
    pub builder: Option<String>,
    /// How.
    pub build_type: Option<String>,
    /// The run.
    pub invocation: Option<String>,
    /// When it began.
    pub started: Option<String>,
    /// The commit.
    pub commit: Option<String>,
    /// What it was built from: sources and tools.
    pub inputs: Vec<String>,
    /// What was asked for.
    pub parameters: Value,
}

impl Inspection {
    /// What `image` and its documents say.
    #[must_use]
    pub fn of(image: &Described) -> Self {
        let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap_or_default();
        let (manifest, config) = (json(&image.manifest), json(&image.config));
        let mut annotations = texts(manifest.get("annotations"));
        let packages = annotations.remove(DYNAMIC_PACKAGES);
        let size = Manifest { digest: image.image.clone(), media_type: String::new(), bytes: image.manifest.clone() };
        let mut inspection = Self {
            artifact: image.label.clone(),
            digest: image.digest.clone(),
            image: image.image.clone(),
            size: size.size(),
            created: config.get("created").and_then(Value::as_str).map(str::to_owned),
            content_key: annotations.get(CONTENT_KEY_ANNOTATION).cloned(),
            annotations,
            labels: texts(config.pointer("/config/Labels")),
            plugins: packages.as_deref().and_then(plugins).unwrap_or_default(),
            sbom: None,
            provenance: None,
            signatures: usize::from(image.signature_tag),
            missing: Vec::new(),
            raw: BTreeMap::new(),
        };
        image.documents.iter().for_each(|document| inspection.add(image, document));
        inspection.note_missing(image);
        inspection
    }

    /// The attached document itself, byte for byte.
    #[must_use]
    pub fn document(&self, kind: Attachment) -> Option<&[u8]> {
        self.raw.get(&kind).map(Vec::as_slice)
    }

    fn add(&mut self, image: &Described, document: &AttachedDocument) {
        let kind = document.artifact_type.as_str();
        let bytes = match &document.bytes {
            Ok(bytes) => bytes,
            Err(why) => return self.missing.push(format!("an attached `{kind}` cannot be read: {why}")),
        };
        let Ok(json) = serde_json::from_slice::<Value>(bytes) else {
            if SIGNATURES.contains(&kind) {
                self.signatures += 1;
            } else if [Attachment::Sbom, Attachment::Provenance].map(media_type).contains(&kind) {
                self.missing.push(format!("an attached `{kind}` is not JSON"));
            }
            return;
        };
        if kind == media_type(Attachment::Sbom) {
            if self.sbom.is_some() {
                return;
            }
            match Sbom::of(&json, image, document.digest.clone()) {
                Ok(sbom) => {
                    self.sbom = Some(sbom);
                    self.raw.insert(Attachment::Sbom, bytes.clone());
                }
                Err(why) => self.missing.push(format!("an attached SBOM is of no use: {why}")),
            }
            return;
        }
        let (statement, signed) = match enveloped(&json) {
            Some(statement) => (statement, true),
            None => (json, false),
        };
        if kind != media_type(Attachment::Provenance) && !signed {
            self.signatures += usize::from(SIGNATURES.contains(&kind));
            return;
        }
        let is_provenance = statement.get("predicateType").and_then(Value::as_str);
        if !is_provenance.is_some_and(|predicate| PROVENANCE.contains(&predicate)) || self.provenance.is_some() {
            self.signatures += usize::from(signed);
            return;
        }
        match Provenance::of(&statement, image, document.digest.clone(), signed) {
            Ok(provenance) => {
                self.provenance = Some(provenance);
                self.raw.insert(Attachment::Provenance, bytes.clone());
            }
            Err(why) => self.missing.push(format!("an attached provenance is of no use: {why}")),
        }
    }

    fn note_missing(&mut self, image: &Described) {
        let mut note = |is_missing: bool, text: &str| {
            if is_missing {
                self.missing.push(text.to_owned());
            }
        };
        note(
            self.plugins.is_empty(),
            "no plugins: the manifest has no annotation `io.backstage.dynamic-packages` that can be read, by which RHDH \
             finds them",
        );
        note(self.content_key.is_none(), "no content key: rhdh-pack did not make this image, or did not plan it");
        note(self.sbom.is_none(), "no SBOM in CycloneDX is attached");
        note(self.provenance.is_none(), "no SLSA provenance is attached");
        note(self.signatures == 0, "no signature of cosign is there");
        if image.more > 0 {
            self.missing.push(format!("{} more attached documents were not looked at", image.more));
        }
    }
}

impl Sbom {
    fn of(json: &Value, image: &Described, digest: Option<Digest>) -> Result<Self, &'static str> {
        if json.get("bomFormat").and_then(Value::as_str) != Some("CycloneDX") {
            return Err("it is not in CycloneDX");
        }
        // SBOMs of other makers need not say what they are of.
        let hashes = json.pointer("/metadata/component/hashes").and_then(Value::as_array);
        let of = |hash: &Value| hash.get("content").and_then(Value::as_str).map(str::to_owned);
        let about: Vec<String> = hashes.into_iter().flatten().filter_map(of).collect();
        if !about.is_empty()
            && ![&image.image, &image.digest].iter().any(|digest| about.iter().any(|hash| hash == digest.hex()))
        {
            return Err("it says that it is of another image");
        }
        let (mut components, mut licenses) = (0, BTreeMap::new());
        let mut pending: Vec<&Value> = json.get("components").into_iter().collect();
        while let Some(list) = pending.pop() {
            for component in list.as_array().into_iter().flatten() {
                components += 1;
                *licenses.entry(license(component)).or_default() += 1;
                pending.extend(component.get("components"));
            }
        }
        let compositions = json.get("compositions").and_then(Value::as_array);
        let is_incomplete = |one: &Value| {
            let aggregate = one.get("aggregate").and_then(Value::as_str);
            aggregate.is_some_and(|aggregate| aggregate.starts_with("incomplete"))
        };
        let incomplete = compositions.is_some_and(|all| all.iter().any(is_incomplete));
        Ok(Self { digest, components, licenses, incomplete })
    }
}

/// What a component of CycloneDX is under.
fn license(component: &Value) -> String {
    let text = |choice: &Value| {
        let found =
            ["/expression", "/license/id", "/license/name"].iter().find_map(|key| choice.pointer(key)?.as_str());
        found.map(str::to_owned)
    };
    let choices = component.get("licenses").and_then(Value::as_array);
    let named: Vec<String> = choices.into_iter().flatten().filter_map(text).collect();
    if named.is_empty() { "unknown".to_owned() } else { named.join(", ") }
}

impl Provenance {
    fn of(statement: &Value, image: &Described, digest: Option<Digest>, signed: bool) -> Result<Self, &'static str> {
        let subjects = statement.get("subject").and_then(Value::as_array);
        let is_image = |subject: &Value| {
            let hash = subject.pointer("/digest/sha256").and_then(Value::as_str);
            [&image.image, &image.digest].iter().any(|digest| hash == Some(digest.hex()))
        };
        if !subjects.is_some_and(|subjects| subjects.iter().any(is_image)) {
            return Err("it is about another image");
        }
        // The second of each is that of version 0.2.
        let find = |pointers: [&str; 2]| pointers.iter().find_map(|pointer| statement.pointer(pointer)).cloned();
        let text = |pointers| find(pointers).and_then(|value| value.as_str().map(str::to_owned));
        let materials = find(["/predicate/buildDefinition/resolvedDependencies", "/predicate/materials"]);
        let materials = materials.and_then(|value| value.as_array().cloned()).unwrap_or_default();
        let commit = |material: &Value| {
            let digest = material.get("digest")?;
            digest.get("gitCommit").or_else(|| digest.get("sha1"))?.as_str().map(str::to_owned)
        };
        let mut inputs: Vec<String> =
            materials.iter().filter_map(|material| Some(material.get("uri")?.as_str()?.to_owned())).collect();
        let key = statement.pointer("/predicate/buildDefinition/internalParameters/contentKey").and_then(Value::as_str);
        inputs.extend(key.map(|key| format!("content key {key}")));
        Ok(Self {
            digest,
            signed,
            builder: text(["/predicate/runDetails/builder/id", "/predicate/builder/id"]),
            build_type: text(["/predicate/buildDefinition/buildType", "/predicate/buildType"]),
            invocation: text(["/predicate/runDetails/metadata/invocationId", "/predicate/metadata/buildInvocationId"]),
            started: text(["/predicate/runDetails/metadata/startedOn", "/predicate/metadata/buildStartedOn"]),
            commit: materials.iter().find_map(commit),
            inputs,
            parameters: find(["/predicate/buildDefinition/externalParameters", "/predicate/invocation/parameters"])
                .unwrap_or_default(),
        })
    }
}

/// The statement in a DSSE envelope, or in a bundle of sigstore with one.
fn enveloped(json: &Value) -> Option<Value> {
    let envelope = json.get("dsseEnvelope").unwrap_or(json);
    let payload = STANDARD.decode(envelope.get("payload")?.as_str()?).ok()?;
    serde_json::from_slice(&payload).ok()
}

/// The plugins of the annotation that RHDH's installers read.
fn plugins(annotation: &str) -> Option<Vec<Plugin>> {
    let list = dynamic_packages(annotation).ok()?;
    let plugin = |(dir, about): (String, Value)| {
        let text = |pointer: &str| about.pointer(pointer).and_then(Value::as_str).unwrap_or("?").to_owned();
        Plugin { dir, name: text("/name"), version: text("/version"), role: text("/backstage/role") }
    };
    Some(list.into_iter().flatten().map(plugin).collect())
}

fn texts(value: Option<&Value>) -> BTreeMap<String, String> {
    let entries = value.and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
