//! `rhdh-pack verify`: the rehearsal of RHDH's installers, and the load test, on artifacts that anybody made.

use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::project::plugin_config;
use super::{Error, Request};
use crate::artifact::{Opened, Opener};
use crate::config::names::package_image_name;
use crate::config::{self, Config, Registry};
use crate::digest::{Digest, ExpectedIntegrity};
use crate::document;
use crate::hidden::shown;
use crate::package::{Allowance, ArchiveKind, Finding, Release, Severity};
use crate::ui::{Ui, human_size};
use crate::verify::{Loaded, Options, Report, SCHEMA_VERSION, Verified, by_rule, verify};
use crate::workspace::PackageJson;

/// What to verify, and against what.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// References, archives, folders, layouts.
    pub what: Vec<String>,
    /// RHDH releases; none: the configuration's, else all known.
    pub rhdh: Vec<Release>,
    /// What images should be.
    pub digest: Option<Digest>,
    /// What archives should be.
    pub integrity: Option<ExpectedIntegrity>,
    /// Whether backends are loaded.
    pub load: bool,
    /// Where the packages are that RHDH provides; `None`: the nearest `node_modules`.
    pub node_modules: Option<PathBuf>,
    /// Whether the result goes to stdout as JSON.
    pub json: bool,
}

/// What a command looks at artifacts with.
pub(super) struct Looker<'a> {
    pub(super) config: Option<Config>,
    pub(super) releases: Vec<Release>,
    pub(super) ui: &'a Ui,
    pub(super) cancel: &'a CancellationToken,
}

impl<'a> Looker<'a> {
    /// With the configuration that is named, or the nearest; there need not be one.
    pub(super) fn new(
        request: &Request,
        rhdh: &[Release],
        ui: &'a Ui,
        cancel: &'a CancellationToken,
    ) -> Result<Self, Error> {
        let file = request.config.clone().or_else(|| config::find(Path::new(".")).ok());
        let config = file.map(|file| config::load(&file)).transpose()?;
        for release in rhdh.iter().filter(|release| !Release::KNOWN.contains(release)) {
            let known = Release::KNOWN.map(|known| known.to_string()).join(", ");
            ui.warn(&format!(
                "RHDH {release} is none that this rhdh-pack knows ({known}): the rules may be others there"
            ));
        }
        let releases = match &config {
            _ if !rhdh.is_empty() => rhdh.to_vec(),
            Some(config) => vec![config.rhdh.version.parse().map_err(crate::package::Error::Release)?],
            None => Release::KNOWN.to_vec(),
        };
        Ok(Self { config, releases, ui, cancel })
    }

    pub(super) async fn open(&self, text: &str) -> Result<Opened, Error> {
        let Self { config, releases, ui, cancel } = self;
        Ok(Opener { config: config.as_ref(), releases, ui, cancel }.open(text).await?)
    }

    /// Enters what the configuration allows of its own plugins and bundles: of images in its registries or on this
    /// machine, and of archives of its packages.
    pub(super) fn allow(&self, opened: &Opened, verified: &mut [Verified]) {
        let Some(config) = &self.config else { return };
        let is_ours = |repository: &str| {
            let (prefix, _) = repository.rsplit_once('/').unwrap_or_default();
            config
                .registries
                .values()
                .any(|registry| matches!(registry, Registry::Oci { prefix: own, .. } if own == prefix))
        };
        let package = |plugin: &config::Plugin| package_of(config, plugin);
        let image_of =
            |plugin: &config::Plugin| plugin.image.clone().or_else(|| Some(package_image_name(&package(plugin)?)));
        let mut images = opened.images.iter();
        for verified in verified {
            let allow = match verified.kind {
                Some(ArchiveKind::Image) => {
                    let Some(image) = images.next() else { continue };
                    if image.repository.as_deref().is_some_and(|repository| !is_ours(repository)) {
                        continue;
                    }
                    let plugin =
                        config.plugins.values().find(|plugin| image.name.is_some() && image_of(plugin) == image.name);
                    let bundle = config.bundles.values().find(|bundle| image.name.as_ref() == Some(&bundle.image));
                    plugin.map(|plugin| &plugin.allow).or(bundle.map(|bundle| &bundle.allow))
                }
                Some(ArchiveKind::Tgz) => {
                    let name = verified.plugins.first().map(|plugin| plugin.name.as_str());
                    self.plugin(name.unwrap_or_default()).map(|plugin| &plugin.allow)
                }
                None => None,
            };
            if let Some(allow) = allow {
                Allowance::apply(&Allowance::of(allow), &mut verified.findings);
            }
        }
    }

    /// The plugin of the configuration that the package `name`, exported or not, is of.
    fn plugin(&self, name: &str) -> Option<&config::Plugin> {
        let config = self.config.as_ref()?;
        let own = name.strip_suffix("-dynamic").unwrap_or(name);
        let is_it = |plugin: &&config::Plugin| {
            package_of(config, plugin).is_some_and(|package| package == own || package == name)
        };
        config.plugins.values().find(is_it)
    }

    /// What the configuration has as the app-config of the package `name`.
    pub(super) fn app_config(&self, name: &str) -> Result<Option<serde_json::Value>, Error> {
        let (Some(config), Some(plugin)) = (&self.config, self.plugin(name)) else { return Ok(None) };
        let problems = |problem: Box<config::Problem>| config::Error::from(config.problems(vec![*problem]));
        Ok(plugin_config(config, plugin).map_err(problems)?)
    }

    /// The rehearsal alone.
    pub(super) fn without_loading(&self) -> Options {
        Options { releases: self.releases.clone(), digest: None, integrity: None, load: false, node_modules: None }
    }
}

/// The name of a plugin's package.
fn package_of(config: &Config, plugin: &config::Plugin) -> Option<String> {
    PackageJson::read(&plugin.path.under(&config.root).join("package.json")).ok()?.name
}

/// Looks at everything that is named. One that cannot be opened does not keep the others from being looked at.
pub(super) async fn command(
    request: &Request,
    asked: &VerifyOptions,
    ui: &Ui,
    cancel: &CancellationToken,
) -> Result<u8, Error> {
    let looker = Looker::new(request, &asked.rhdh, ui, cancel)?;
    let mut all = Vec::new();
    let mut failure = None;
    for text in &asked.what {
        let opened = match looker.open(text).await {
            Ok(opened) => opened,
            Err(error) => {
                if let Some(earlier) = failure.replace(error) {
                    ui.report(&earlier);
                }
                continue;
            }
        };
        let options = Options {
            releases: looker.releases.clone(),
            digest: asked.digest.clone(),
            integrity: asked.integrity.clone(),
            load: asked.load,
            node_modules: asked.node_modules.clone().or_else(|| nearest_node_modules(text)),
        };
        let mut verified = verify(text, &opened, &options, cancel).await;
        looker.allow(&opened, &mut verified);
        verified.iter().for_each(|verified| show(verified, &looker.releases, asked.load, ui));
        all.extend(verified);
    }
    if !all.is_empty() {
        let releases: Vec<String> = looker.releases.iter().map(ToString::to_string).collect();
        ui.note(&format!("looked at with the eyes of RHDH {}", releases.join(", ")));
    }
    let is_bad = all.iter().any(Verified::is_bad);
    let failure = failure.or_else(|| not_done(&all, asked).filter(|_| !is_bad));
    let good = failure.is_none() && !is_bad;
    if asked.json {
        let report = Report { schema_version: SCHEMA_VERSION, rhdh: &looker.releases, good, artifacts: &all };
        print_json(&report)?;
    }
    match failure {
        Some(error) => Err(error),
        None => Ok(u8::from(!good)),
    }
}

/// What was asked for and could not be done, which is no success either.
fn not_done(all: &[Verified], asked: &VerifyOptions) -> Option<Error> {
    let has = |kind| all.iter().any(|verified| verified.kind == Some(kind));
    let mut plugins = all.iter().flat_map(|verified| &verified.plugins);
    if asked.digest.is_some() && !has(ArchiveKind::Image) {
        Some(Error::NotCompared { option: "--digest", what: "an image" })
    } else if asked.integrity.is_some() && !has(ArchiveKind::Tgz) {
        Some(Error::NotCompared { option: "--integrity", what: "an archive" })
    } else if plugins.any(|plugin| matches!(plugin.load, Loaded::Unable { .. })) {
        Some(Error::NotLoaded)
    } else {
        None
    }
}

/// The `node_modules` with Backstage in it that is nearest to what is looked at, or to the working directory.
fn nearest_node_modules(text: &str) -> Option<PathBuf> {
    let starts = [Path::new(text), Path::new(".")].map(|start| start.canonicalize().ok());
    let above = starts.iter().flatten().flat_map(|start| start.ancestors());
    // An exported plugin's own packages are not those of RHDH.
    let folders = above.filter(|folder| !folder.ends_with("dist-dynamic")).map(|folder| folder.join("node_modules"));
    folders.into_iter().find(|folder| folder.join("@backstage/backend-plugin-api").is_dir())
}

/// Shows what is in an artifact, what is wrong with it, and what was not tried.
pub(super) fn show(verified: &Verified, releases: &[Release], load: bool, ui: &Ui) {
    let label = &verified.artifact;
    let name = match (&verified.digest, &verified.integrity) {
        (Some(digest), _) => digest.as_str(),
        (_, Some(integrity)) => integrity.as_str(),
        _ => "",
    };
    if verified.kind.is_some() {
        let files = if verified.files == 1 { "1 file".to_owned() } else { format!("{} files", verified.files) };
        ui.note(&format!("{label}: {files}, {}, {name}", human_size(verified.size)));
    }
    for plugin in verified.plugins.iter().filter(|plugin| !plugin.name.is_empty()) {
        let loaded = match &plugin.load {
            Loaded::Loaded => ", loaded by node",
            Loaded::Frontend => ", a frontend: not loaded, its manifest was read",
            Loaded::NotRun { .. } | Loaded::Unable { .. } | Loaded::Failed { .. } | Loaded::NoFeature { .. } => "",
        };
        let [name, version, role] = [&plugin.name, &plugin.version, &plugin.role].map(|text| shown(text));
        ui.note(&format!("  {name} {version} ({role}){loaded}"));
    }
    for findings in by_rule(&verified.findings).values() {
        show_rule(label, findings, releases, ui);
    }
    if let Some(problem) = &verified.problem {
        ui.failure(label, &problem.message, problem.help.as_deref(), None);
    }
    for plugin in verified.plugins.iter().filter(|_| load) {
        if let Loaded::NotRun { reason } | Loaded::Unable { reason } = &plugin.load {
            ui.warn(&format!("{label}: `{}` was not loaded: {reason}", shown(&plugin.name)));
        }
    }
}

fn show_rule(label: &str, findings: &[&Finding], releases: &[Release], ui: &Ui) {
    let Some(first) = findings.first() else { return };
    let more = if findings.len() > 1 { format!(" (and {} more)", findings.len() - 1) } else { String::new() };
    let only = if first.releases.len() < releases.len() {
        let names: Vec<String> = first.releases.iter().map(ToString::to_string).collect();
        format!(" (RHDH {})", names.join(", "))
    } else {
        String::new()
    };
    let text = format!("{}{more}{only} [{}]", shown(&first.text), first.rule.name());
    if let Some(reason) = &first.allowed {
        ui.note(&format!("{label}: allowed, because {reason}: {text}"));
        return;
    }
    match first.severity {
        Severity::Error => ui.failure(label, &text, Some(&first.help), None),
        Severity::Warn => ui.warn(&format!("{label}: {text}\n  help: {}", first.help)),
    }
}

/// Writes a document to stdout.
pub(super) fn print_json(document: &impl serde::Serialize) -> Result<(), Error> {
    let text = serde_json::to_string_pretty(document).map_err(std::io::Error::from).map_err(document::Error::from)?;
    print(&format!("{text}\n"))
}

/// Writes to stdout.
pub(super) fn print(text: &str) -> Result<(), Error> {
    Ok(document::print(text.as_bytes())?)
}
