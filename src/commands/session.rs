//! What every stage of one run shares: the project, the output folder, the CI's facts, the way to say something
//! and the way to stop.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::project::{self, Project};
use super::{Error, Request};
use crate::ci::Ci;
use crate::config;
use crate::config::channels::{Because, ChosenChannel};
use crate::document;
use crate::package::{Blocks, Finding, Images};
use crate::plan::{self, Action, Plan, Sight};
use crate::repo_path::RepoPath;
use crate::report::{self, ArtifactResult, RunResult, State};
use crate::ui::Ui;

/// One run of the program on one configuration file.
pub(super) struct Session {
    pub(super) project: Project,
    /// The output folder.
    pub(super) out: PathBuf,
    /// Where that is below the root; `None` where it is elsewhere.
    pub(super) out_in_root: Option<RepoPath>,
    pub(super) ci: Ci,
    /// What git says, where the command makes a plan.
    pub(super) sight: Option<Sight>,
    pub(super) ui: Ui,
    /// What packaging compressed, for the artifacts that have it in common.
    pub(super) blocks: Arc<Blocks>,
    pub(super) cancel: CancellationToken,
}

/// What becomes of `result.json` when something else is planned.
const EARLIER_RESULT: &str = "result.earlier.json";

/// What the configuration says of a plugin's or bundle's artifact.
pub(super) struct Declared<'a> {
    pub(super) image: &'a str,
    pub(super) version: &'a str,
    pub(super) registries: &'a [String],
    pub(super) labels: &'a BTreeMap<String, String>,
    pub(super) annotations: &'a BTreeMap<String, String>,
    pub(super) allow: &'a BTreeMap<String, String>,
    pub(super) compression_level: Option<u8>,
    pub(super) artifact_type: Option<&'a str>,
}

/// The ids of the plugins that the plan or the result in an output folder says were removed.
fn removed_before(out: &Path) -> BTreeSet<String> {
    let plan: Result<Plan, _> = document::read(&out.join("plan.json"), plan::SCHEMA_VERSION, "plan");
    let result: Result<RunResult, _> =
        document::read(&out.join("result.json"), report::result::SCHEMA_VERSION, "package");
    let planned = plan.into_iter().flat_map(|plan| plan.plugins);
    let planned = planned.filter(|plugin| plugin.action == Action::Remove).map(|plugin| plugin.id);
    let artifacts = result.into_iter().flat_map(|result| result.plugins);
    planned.chain(artifacts.filter(|plugin| plugin.state == State::Removed).map(|plugin| plugin.id)).collect()
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Where the output folder is below `root`; `None` where it is elsewhere.
fn output_in(root: &Path, out: &Path) -> Option<RepoPath> {
    RepoPath::new(real(out).strip_prefix(real(root)).ok()?.to_str()?).ok()
}

/// Nothing in the output folder is an input, so no plugin may be in it. `output` is where it is below the root.
fn refuse_inputs(project: &Project, out: &Path, output: Option<&RepoPath>) -> Result<(), Error> {
    let is_around = output.is_none() && real(&project.config.root).starts_with(real(out));
    let is_in_it = |place: &RepoPath| is_around || output.is_some_and(|output| place.is_in(output));
    match project.plugins.iter().find(|(_, plugin)| is_in_it(&plugin.package.place)) {
        Some((id, _)) => Err(Error::OutputOfInputs { out: out.to_owned(), plugin: id.clone() }),
        None => Ok(()),
    }
}

impl Session {
    pub(super) fn open(request: &Request, ui: &Ui, cancel: &CancellationToken) -> Result<Self, Error> {
        let file = match &request.config {
            Some(file) => file.clone(),
            None => config::find(Path::new("."))?,
        };
        let absolute = std::path::absolute(&file).map_err(document::Error::from)?;
        let root = absolute.parent().unwrap_or(&absolute);
        let out = request.out_dir.clone().unwrap_or_else(|| root.join(".rhdh-pack"));
        let out = std::path::absolute(out).map_err(document::Error::from)?;
        let out_in_root = output_in(root, &out);
        let sight = request.command.planning().map(|options| super::plan::begin(root, out_in_root.as_ref(), options));
        // A later stage goes by what the plan found out.
        let removed = if request.command.is_later_stage() { removed_before(&out) } else { BTreeSet::new() };
        let was_there = |id: &str, path: &RepoPath| {
            removed.contains(id) || sight.as_ref().is_some_and(|sight| sight.had_package(path))
        };
        let project = project::open(&file, &was_there)?;
        refuse_inputs(&project, &out, out_in_root.as_ref())?;
        let (ui, cancel) = (ui.clone(), cancel.clone());
        Ok(Self { project, out, out_in_root, ci: Ci::from_env(), sight, ui, blocks: Arc::default(), cancel })
    }

    /// The plan of `plan.json`, or a new one where there is none.
    pub(super) fn read_plan(&self) -> Result<Plan, Error> {
        let file = self.out.join("plan.json");
        if file.exists() {
            Ok(document::read(&file, plan::SCHEMA_VERSION, "plan")?)
        } else {
            let channel = self.choose_channel(None)?;
            super::plan::everything(self, &channel)
        }
    }

    /// Whether there is a plan, and nothing in it to build.
    pub(super) fn only_copies(&self) -> bool {
        let plan: Result<Plan, _> = document::read(&self.out.join("plan.json"), plan::SCHEMA_VERSION, "plan");
        plan.is_ok_and(|plan| {
            let bundles = plan.bundles.iter().map(|bundle| bundle.action);
            let actions: Vec<Action> = plan.plugins.iter().map(|plugin| plugin.action).chain(bundles).collect();
            actions.contains(&Action::Copy) && !actions.contains(&Action::Build)
        })
    }

    /// Writes the plan. The result of another plan says nothing of this one, and is kept for what it remembers only.
    /// Gives the document.
    pub(super) fn write_plan(&self, plan: &Plan) -> Result<Vec<u8>, Error> {
        let is_other = || {
            let before: Result<Plan, _> = document::read(&self.out.join("plan.json"), plan::SCHEMA_VERSION, "plan");
            !before.is_ok_and(|before| plan.is_part_of(&before))
        };
        if self.result_file().exists() && is_other() {
            match fs_err::rename(self.result_file(), self.out.join(EARLIER_RESULT)) {
                // Another plan was faster.
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(document::Error::from(error).into());
                }
                _ => {}
            }
        }
        let text = document::text_of(plan)?;
        document::write_file(&self.out.join("plan.json"), &text).map_err(document::Error::from)?;
        Ok(text)
    }

    pub(super) fn result_file(&self) -> PathBuf {
        self.out.join("result.json")
    }

    pub(super) fn read_result(&self) -> Result<RunResult, Error> {
        Ok(document::read(&self.result_file(), report::result::SCHEMA_VERSION, "package")?)
    }

    /// The newest result that there is, whatever was planned since.
    pub(super) fn newest_result(&self) -> Option<RunResult> {
        let earlier = || document::read(&self.out.join(EARLIER_RESULT), report::result::SCHEMA_VERSION, "package");
        self.read_result().ok().or_else(|| earlier().ok())
    }

    pub(super) fn write_result(&self, result: &RunResult) -> Result<(), Error> {
        Ok(document::write(&self.result_file(), result)?)
    }

    /// What the configuration says of `artifact`.
    pub(super) fn declared(&self, artifact: &ArtifactResult) -> Result<Declared<'_>, Error> {
        macro_rules! declared {
            ($image:expr, $version:expr, $config:expr) => {
                Declared {
                    image: $image,
                    version: $version,
                    registries: &$config.registries,
                    labels: &$config.labels,
                    annotations: &$config.annotations,
                    allow: &$config.allow,
                    compression_level: $config.compression_level,
                    artifact_type: $config.artifact_type.as_deref(),
                }
            };
        }
        if artifact.is_bundle() {
            let bundle = self.project.bundle(&artifact.id)?;
            return Ok(declared!(&bundle.config.image, &bundle.version, bundle.config));
        }
        let plugin = self.project.plugin(&artifact.id)?;
        Ok(declared!(&plugin.image, &plugin.version, plugin.config))
    }

    /// The channel with this name, from a plan or a result.
    pub(super) fn channel(&self, name: &str) -> Result<ChosenChannel, Error> {
        Ok(self.project.config.channel_for(&self.ci.event, Some(name))?)
    }

    /// The channel that the command line or the occasion chooses; says so where nothing will be pushed.
    pub(super) fn choose_channel(&self, named: Option<&str>) -> Result<ChosenChannel, Error> {
        let chosen = self.project.config.channel_for(&self.ci.event, named)?;
        match chosen.because {
            Because::NothingMatched => self.ui.warn(&format!(
                "no channel of `{}` is for this event ({}): nothing is pushed to a registry",
                self.project.config.file.display(),
                self.ci.event,
            )),
            Because::Local if chosen.built_in && self.project.config.has_remote_registries() => {
                self.ui.note("channel `local`: artifacts go to folders only; `--channel NAME` chooses another")
            }
            _ => {}
        }
        Ok(chosen)
    }

    /// A result in which nothing of `plan` has been done yet, but for what `before`, the result of an earlier run, has
    /// of it.
    pub(super) fn new_result(&self, plan: &Plan, before: Option<&RunResult>) -> RunResult {
        let mut result = RunResult::of(plan, Timestamp::now());
        for artifact in &mut result.plugins {
            artifact.plugin_config =
                self.project.plugins.get(&artifact.id).and_then(|plugin| plugin.plugin_config.clone());
        }
        let images = self.images();
        for artifact in result.artifacts_mut().filter(|artifact| artifact.state == State::UpToDate) {
            let same = |other: &&ArtifactResult| {
                other.label() == artifact.label()
                    && other.content_key == artifact.content_key
                    && self.is_packaged(other, &images)
            };
            if let Some(before) = before.and_then(|before| before.artifacts().find(same)) {
                artifact.carry_over(before);
            }
        }
        result
    }

    /// The images that the output folder holds.
    pub(super) fn images(&self) -> Images {
        Images::read(self.out.join("oci"))
    }

    /// Whether the output folder, with these images, holds what `artifact` says that packaging made, as far as the sizes
    /// of files tell.
    pub(super) fn is_packaged(&self, artifact: &ArtifactResult, images: &Images) -> bool {
        let size = |file: &Path| std::fs::metadata(file).ok().filter(std::fs::Metadata::is_file).map(|file| file.len());
        let image = artifact.image.as_ref().map(|image| images.hold(image));
        let tgz = artifact.tgz.as_ref().map(|tgz| size(&self.out.join(&tgz.file)) == Some(tgz.size));
        let sbom = artifact.sbom.as_ref().map(|sbom| size(&self.out.join(&sbom.file)) == Some(sbom.size));
        let mut parts = image.into_iter().chain(tgz).chain(sbom).peekable();
        artifact.error.is_none() && parts.peek().is_some() && parts.all(|is_there| is_there)
    }

    /// When the newest file of `artifact` in the output folder, with these images, was written: seconds since 1970,
    /// nanoseconds.
    pub(super) fn packaged_at(&self, artifact: &ArtifactResult, images: &Images) -> Option<(i64, i64)> {
        let image =
            artifact.image.as_ref().and_then(|image| images.get(&image.name)).map(|image| image.manifest_path());
        let tgz = artifact.tgz.as_ref().map(|tgz| self.out.join(&tgz.file));
        let written = image.into_iter().chain(tgz).filter_map(|file| std::fs::metadata(file).ok());
        written.map(|file| (file.mtime(), file.mtime_nsec())).max()
    }

    /// The Backstage version of the workspace that `artifact` comes from; a bundle's is that of its first plugin.
    pub(super) fn backstage(&self, artifact: &ArtifactResult) -> Option<String> {
        let plugin = self.project.plugin(artifact.members.first().unwrap_or(&artifact.id)).ok()?;
        self.project.workspaces.by_path.get(&plugin.workspace)?.backstage.clone()
    }

    /// `path` as the result document has it: relative to the output folder where it is in it.
    pub(super) fn in_out(&self, path: &Path) -> String {
        path.strip_prefix(&self.out).unwrap_or(path).display().to_string()
    }

    /// Shows the end of a plugin's log, folded, where the CI keeps nothing of the output folder.
    pub(super) fn show_log(&self, id: &str, log: &Path) {
        /// Bytes: more than this, nobody reads in a browser.
        const MOST: usize = 256 << 10;
        let Ok(text) = fs_err::read(log) else { return };
        let end = &text[text.len().saturating_sub(MOST)..];
        self.ui.folded(&format!("{id}: {}", self.in_out(log)), &String::from_utf8_lossy(end));
    }

    /// Shows what the rehearsal found, and every plugin's or bundle's failure.
    pub(super) fn show_failures(&self, result: &RunResult) {
        for artifact in result.artifacts() {
            // What is fatal is part of the failure; what the configuration allows is known. One line a rule.
            let mut warnings: IndexMap<String, Vec<&Finding>> = IndexMap::new();
            for finding in artifact.findings.iter().filter(|finding| !finding.is_fatal() && finding.allowed.is_none()) {
                warnings.entry(finding.rule.name()).or_default().push(finding);
            }
            for (rule, findings) in warnings {
                let more =
                    if findings.len() > 1 { format!(" (and {} more)", findings.len() - 1) } else { String::new() };
                let (label, first) = (artifact.label(), findings[0]);
                self.ui.warn(&format!("{label}: {}{more} [{rule}]\n  help: {}", first.text, first.help));
            }
            if let Some(failure) = &artifact.error {
                let log = failure.log.as_ref().map(|log| self.out.join(log).display().to_string());
                self.ui.failure(&artifact.label(), &failure.message, failure.help.as_deref(), log.as_deref());
            }
        }
    }
}
