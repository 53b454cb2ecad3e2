//! Looking at artifacts as RHDH will: what [`crate::artifact`] opened comes in; what goes out is, for each image and
//! archive, what is in it and what RHDH's installers and RHDH itself would make of it.

mod load;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::artifact::{Archive, Image, Opened};
use crate::digest::{Digest, ExpectedIntegrity, Integrity};
use crate::package::rehearse::{self, Contents, ImageBytes};
use crate::package::{ArchiveKind, Finding, Release, Rule};

pub use load::Loaded;
use load::{Loader, Subject};

/// Of the document that `verify --format json` writes.
pub const SCHEMA_VERSION: u32 = 1;

/// What is expected, and how far to look.
#[derive(Clone, Debug)]
pub struct Options {
    /// The RHDH releases whose rules apply.
    pub releases: Vec<Release>,
    /// What every image should be.
    pub digest: Option<Digest>,
    /// What every archive should be.
    pub integrity: Option<ExpectedIntegrity>,
    /// Whether backends are loaded: that runs their code.
    pub load: bool,
    /// Where the packages are that RHDH provides.
    pub node_modules: Option<PathBuf>,
}

/// What was found in one image or archive.
#[derive(Clone, Debug, Serialize)]
pub struct Verified {
    /// What it is called.
    pub artifact: String,
    /// What it is; `None` for a folder of which neither could be made.
    pub kind: Option<ArchiveKind>,
    /// An image's digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// An archive's integrity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub integrity: Option<Integrity>,
    /// In bytes.
    pub size: u64,
    /// Number of files in it.
    pub files: u64,
    /// The plugins in it.
    pub plugins: Vec<VerifiedPlugin>,
    /// What is wrong, or should be known.
    pub findings: Vec<Finding>,
    /// Why it could not be looked at as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// Why something could not be looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Problem {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// One plugin in an image or archive.
#[derive(Clone, Debug, Serialize)]
pub struct VerifiedPlugin {
    /// Its folder.
    pub dir: String,
    /// Its package's name.
    pub name: String,
    /// Its package's version.
    pub version: String,
    /// Its role.
    pub role: String,
    /// What became of loading it.
    pub load: Loaded,
}

impl Verified {
    /// Whether RHDH would not take it, or it is not what was expected.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        self.problem.is_some() || self.findings.iter().any(Finding::is_fatal)
    }
}

/// Looks at everything that was opened under the name `text`.
pub async fn verify(text: &str, opened: &Opened, options: &Options, cancel: &CancellationToken) -> Vec<Verified> {
    let loader = Loader { node_modules: options.node_modules.clone(), cancel };
    let mut all = Vec::new();
    if opened.failure.is_some() || !opened.findings.is_empty() {
        let mut findings = opened.findings.clone();
        findings.extend(opened.failure.iter().flat_map(|failure| failure.findings.clone()));
        // Findings say all that the failure says.
        let problem = opened.failure.as_ref().filter(|_| findings.is_empty());
        let problem = problem.map(|failure| Problem { message: failure.message.clone(), help: failure.help.clone() });
        let artifact = text.to_owned();
        let (digest, integrity, plugins) = (None, None, Vec::new());
        all.push(Verified { artifact, kind: None, digest, integrity, size: 0, files: 0, plugins, findings, problem });
    }
    for image in &opened.images {
        all.push(of_image(image, options, &loader).await);
    }
    for archive in &opened.archives {
        all.push(of_archive(archive, options, &loader).await);
    }
    all
}

async fn of_image(image: &Image, options: &Options, loader: &Loader<'_>) -> Verified {
    let releases = &options.releases;
    let (contents, problem) = match &image.layer {
        Some(layer) => read(layer),
        None => (Contents::read(&mut std::io::empty()), None),
    };
    let bytes = ImageBytes {
        name: image.name.as_deref().unwrap_or_default(),
        folder: image.folder.as_deref(),
        manifest: &image.manifest,
        config: &image.config,
        layer: &contents,
    };
    let (mut findings, insides) = rehearse::image(&bytes, releases);
    if image.name.is_none() {
        findings.retain(|finding| finding.rule != Rule::ImageName);
    }
    if let Some(index) = &image.index {
        findings.splice(0..0, rehearse::index(index, releases).0);
    }
    let other = options.digest.as_ref().filter(|expected| **expected != image.digest);
    if let Some(expected) = other {
        let text = format!("the image is `{}`, and `{expected}` is expected", image.digest);
        findings.push(Finding::new(Rule::ExpectedDigest, ArchiveKind::Image, None, releases, text));
    }
    let folders: Vec<(&str, &str)> = insides.keys().map(|folder| (folder.as_str(), folder.as_str())).collect();
    let layer = image.layer.as_deref().unwrap_or(Path::new(""));
    let looked_at =
        LookedAt { archive: layer, kind: ArchiveKind::Image, contents: &contents, is_other: other.is_some() };
    let plugins = plugins(&looked_at, &folders, options, loader, &mut findings).await;
    Verified {
        artifact: image.label.clone(),
        kind: Some(ArchiveKind::Image),
        digest: Some(image.digest.clone()),
        integrity: None,
        size: image.size,
        files: contents.files(),
        plugins,
        findings,
        problem,
    }
}

async fn of_archive(archive: &Archive, options: &Options, loader: &Loader<'_>) -> Verified {
    let releases = &options.releases;
    let (contents, mut problem) = read(&archive.file);
    let folder = archive.name.strip_suffix(".tgz").unwrap_or(&archive.name);
    let (mut findings, _) = rehearse::tgz(&contents, &archive.name, folder, releases);
    if contents.is_of_images() {
        problem = Some(Problem {
            message: "it holds images, not a plugin's package".to_owned(),
            help: Some(format!(
                "`skopeo copy oci-archive:{name} oci:DIR` (or `docker-archive:{name}`) unpacks one; then name `oci:DIR`",
                name = archive.name
            )),
        });
        findings.clear();
    }
    let mut is_other = false;
    if let Some(expected) = &options.integrity {
        let found = fs_err::File::open(&archive.file).and_then(|mut file| expected.of(&mut file));
        let found = found.unwrap_or_else(|error| error.to_string());
        is_other = found != expected.as_str();
        if is_other {
            let text = format!("the archive has the integrity `{found}`, and `{}` is expected", expected.as_str());
            findings.push(Finding::new(Rule::ExpectedIntegrity, ArchiveKind::Tgz, None, releases, text));
        }
    }
    let looked_at = LookedAt { archive: &archive.file, kind: ArchiveKind::Tgz, contents: &contents, is_other };
    let plugins = plugins(&looked_at, &[("package", folder)], options, loader, &mut findings).await;
    Verified {
        artifact: archive.name.clone(),
        kind: Some(ArchiveKind::Tgz),
        digest: None,
        integrity: Some(archive.integrity.clone()),
        size: archive.size,
        files: contents.files(),
        plugins,
        findings,
        problem,
    }
}

fn read(file: &Path) -> (Contents, Option<Problem>) {
    match fs_err::File::open(file) {
        Ok(mut file) => (Contents::read(&mut file), None),
        Err(error) => (Contents::read(&mut std::io::empty()), Some(Problem { message: error.to_string(), help: None })),
    }
}

/// An archive with what was read of it.
struct LookedAt<'a> {
    archive: &'a Path,
    kind: ArchiveKind,
    contents: &'a Contents,
    /// Whether it is not what is expected: nothing of it is run then.
    is_other: bool,
}

/// The plugins in `folders` (in the archive, and once installed), each loaded where it is a backend.
async fn plugins(
    looked_at: &LookedAt<'_>,
    folders: &[(&str, &str)],
    options: &Options,
    loader: &Loader<'_>,
    findings: &mut Vec<Finding>,
) -> Vec<VerifiedPlugin> {
    let mut plugins = Vec::new();
    for (folder, dir) in folders {
        let manifest = looked_at.contents.manifests.get(&format!("{folder}/package.json"));
        // What is wrong with it is among the findings.
        let Some(manifest) = manifest.and_then(|json| serde_json::from_slice::<Value>(json).ok()) else { continue };
        let text = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let role = text("/backstage/role");
        let subject = Subject { archive: looked_at.archive, folder, manifest: &manifest };
        let load = match role.as_str() {
            frontend if frontend.starts_with("frontend") => Loaded::Frontend,
            _ if !options.load => Loaded::NotRun { reason: "it was not asked for".to_owned() },
            _ if looked_at.is_other => Loaded::NotRun { reason: "it is not what is expected".to_owned() },
            _ if looked_at.contents.broken.is_some() => {
                Loaded::NotRun { reason: "the archive cannot be read".to_owned() }
            }
            _ => loader.load(&subject).await,
        };
        let found = match &load {
            Loaded::Failed { reason } => Some((Rule::EntryPoints, format!("node cannot load the plugin: {reason}"))),
            Loaded::NoFeature { exports } => {
                let exports = if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") };
                Some((Rule::BackendFeature, format!("the plugin is no backend feature: it exports {exports}")))
            }
            _ => None,
        };
        if let Some((rule, text)) = found {
            findings.push(Finding::new(rule, looked_at.kind, Some(dir), &options.releases, text));
        }
        let dir = (*dir).to_owned();
        plugins.push(VerifiedPlugin { dir, name: text("/name"), version: text("/version"), role, load });
    }
    plugins
}

/// What `verify --format json` writes.
#[derive(Serialize)]
pub struct Report<'a> {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The releases whose rules were applied.
    pub rhdh: &'a [Release],
    /// False where RHDH would not take something, or something is not as expected.
    pub good: bool,
    /// Every image and archive.
    pub artifacts: &'a [Verified],
}

/// Rules that are broken, with the findings of each: one line a rule is enough to know what to do.
#[must_use]
pub fn by_rule(findings: &[Finding]) -> BTreeMap<(std::cmp::Reverse<bool>, Rule), Vec<&Finding>> {
    let mut rules: BTreeMap<_, Vec<&Finding>> = BTreeMap::new();
    for finding in findings {
        rules.entry((std::cmp::Reverse(finding.is_fatal()), finding.rule)).or_default().push(finding);
    }
    rules
}
