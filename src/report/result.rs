//! `result.json`: what a run did. Every output, comment, summary and exit code is derived from it, and from
//! nothing else.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::package::{Finding, PackagedImage, PackagedSbom, PackagedTgz, PackedPlugin};
use crate::plan::{Action, ContentKey, Plan, PlannedBundle, PlannedPlugin, Published, Reason};
use crate::push::{self, PublishedFile, PublishedImage, PublishedPackage};
use crate::registry;
use crate::ui::with_causes;
use crate::workspace::package_json::Role;

/// The version of the `result.json` format that this program writes. Fields are only ever added to a version.
pub const SCHEMA_VERSION: u32 = 1;

/// `result.json`.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RunResult {
    /// [`SCHEMA_VERSION`] of the program that wrote it.
    pub schema_version: u32,
    /// The version of rhdh-pack that wrote it.
    pub rhdh_pack: String,
    /// The channel that the run was for.
    pub channel: String,
    /// The commit that was built; `None` outside git.
    pub commit: Option<String>,
    /// When the run began.
    pub started: Timestamp,
    /// When the last stage ended; `None` while one runs, or after it was killed.
    pub finished: Option<Timestamp>,
    /// How it went.
    pub outcome: Outcome,
    /// Whether registries were left as they were.
    #[serde(default)]
    pub dry_run: bool,
    /// Every plugin of the plan, in its order.
    pub plugins: Vec<ArtifactResult>,
    /// Every bundle of the plan, in its order.
    pub bundles: Vec<ArtifactResult>,
}

/// How a run went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Every planned plugin and bundle is where it was to go.
    Success,
    /// At least one is not.
    Failure,
    /// Nothing was planned.
    NothingToDo,
}

/// How far a plugin or bundle came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// To be built; no stage has ended for it yet.
    Planned,
    /// `dist-dynamic` is made.
    Exported,
    /// Its image and tgz are made; it stands in the output folder.
    Packaged,
    /// It stands in every registry of its own.
    Published,
    /// It stood there already, with the same content key.
    UpToDate,
    /// Nothing of it changed.
    Skipped,
    /// It is no longer there.
    Removed,
    /// See `error`.
    Failed,
}

impl State {
    /// The state's name, as in the document.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            State::Planned => "planned",
            State::Exported => "exported",
            State::Packaged => "packaged",
            State::Published => "published",
            State::UpToDate => "up-to-date",
            State::Skipped => "skipped",
            State::Removed => "removed",
            State::Failed => "failed",
        }
    }
}

/// What became of one plugin or bundle.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ArtifactResult {
    /// The id in the configuration.
    pub id: String,
    /// How far it came.
    pub state: State,
    /// What was planned.
    pub action: Action,
    /// Why.
    pub reasons: Vec<Reason>,
    /// Its version.
    pub version: String,
    /// The content key, 64 hexadecimal digits.
    pub content_key: Option<ContentKey>,
    /// The plugin's role; `None` for bundles.
    pub role: Option<Role>,
    /// The ids of a bundle's plugins; empty for plugins.
    #[serde(default)]
    pub members: Vec<String>,
    /// The name of its image; a plugin's is also its folder in images.
    #[serde(default)]
    pub image_name: String,
    /// The image that packaging made, as it stands in the OCI layout of the output folder.
    pub image: Option<PackagedImage>,
    /// The SBOM of that image.
    #[serde(default)]
    pub sbom: Option<PackagedSbom>,
    /// The version of the RHDH CLI that made its `dist-dynamic`, where it was exported in this run.
    #[serde(default)]
    pub rhdh_cli: Option<String>,
    /// Where the image was pushed, or was already: of what is copied, where it comes from before.
    #[serde(default)]
    pub images: Vec<PublishedImage>,
    /// Where a run that is no dry run would push the image: `host/namespace/name@sha256:…`, then the same with each
    /// tag.
    #[serde(default)]
    pub would_push: Vec<String>,
    /// The image that the base channel has: that of pushes to the branch which a pull request is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_image: Option<BaseImage>,
    /// The archive that packaging made.
    pub tgz: Option<PackagedTgz>,
    /// The folders that the archive was pushed to.
    #[serde(default)]
    pub files: Vec<PublishedFile>,
    /// The npm registries that the archive was published to.
    #[serde(default)]
    pub npm: Vec<PublishedPackage>,
    /// The plugins inside.
    #[serde(default)]
    pub packages: Vec<PackedPlugin>,
    /// What the rehearsal of the installer's rules found.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// The plugin's app-config, for `pluginConfig` in `dynamic-plugins.yaml`.
    pub plugin_config: Option<serde_json::Value>,
    /// What went wrong, where the state is `failed`.
    pub error: Option<Failure>,
    /// How long each stage took.
    #[serde(default)]
    pub timings: Timings,
}

/// An image to compare a new one with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct BaseImage {
    /// `host/namespace/name:tag`.
    pub reference: String,
    /// Bytes of manifest, config and layers.
    pub size: u64,
}

/// What went wrong with one plugin or bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Failure {
    /// A short name for programs, such as `native-package`.
    pub code: String,
    /// One sentence: what was being done, and what went wrong.
    pub message: String,
    /// What to do next.
    pub help: Option<String>,
    /// The log file, relative to the output folder.
    pub log: Option<String>,
    /// The last lines of the log.
    #[serde(default)]
    pub log_tail: Vec<String>,
}

/// Wall-clock seconds of each stage; `None` where it did not run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Timings {
    /// `dist-dynamic`.
    pub export: Option<f64>,
    /// Image and tgz.
    pub package: Option<f64>,
    /// Registries.
    pub push: Option<f64>,
}

impl Failure {
    /// A failure that has no log.
    #[must_use]
    pub fn new(code: &str, message: String, help: Option<String>) -> Self {
        Self { code: code.to_owned(), message, help, log: None, log_tail: Vec::new() }
    }

    /// What a registry did not do.
    #[must_use]
    pub fn of(error: &registry::Error) -> Self {
        Self::new(error.code(), with_causes(error), miette::Diagnostic::help(error).map(|help| help.to_string()))
    }
}

impl RunResult {
    /// The result of a run that has a plan and has done nothing yet.
    #[must_use]
    pub fn of(plan: &Plan, started: Timestamp) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            rhdh_pack: env!("CARGO_PKG_VERSION").to_owned(),
            channel: plan.channel.clone(),
            commit: plan.head.clone(),
            started,
            finished: None,
            outcome: Outcome::Failure,
            dry_run: false,
            plugins: plan.plugins.iter().map(ArtifactResult::plugin).collect(),
            bundles: plan.bundles.iter().map(ArtifactResult::bundle).collect(),
        }
    }

    /// Plugins and bundles, plugins first.
    pub fn artifacts(&self) -> impl Iterator<Item = &ArtifactResult> {
        self.plugins.iter().chain(&self.bundles)
    }

    /// Plugins and bundles, plugins first.
    pub fn artifacts_mut(&mut self) -> impl Iterator<Item = &mut ArtifactResult> {
        self.plugins.iter_mut().chain(&mut self.bundles)
    }

    /// The plugin or bundle with this [`ArtifactResult::label`].
    pub fn labelled(&mut self, label: &str) -> Option<&mut ArtifactResult> {
        self.artifacts_mut().find(|artifact| artifact.label() == label)
    }

    /// Ends the run, or one stage of it, whose work is done for an artifact in a state that `is_done` accepts.
    pub fn finish(&mut self, is_done: impl Fn(&ArtifactResult) -> bool) {
        self.finished = Some(Timestamp::now());
        let planned = |artifact: &ArtifactResult| matches!(artifact.action, Action::Build | Action::Copy);
        self.outcome = if !self.artifacts().any(planned) {
            Outcome::NothingToDo
        } else if self.artifacts().all(|artifact| !planned(artifact) || is_done(artifact)) {
            Outcome::Success
        } else {
            Outcome::Failure
        };
    }

    /// The exit code of a process that ends with this result.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        u8::from(self.outcome == Outcome::Failure)
    }
}

impl ArtifactResult {
    fn plugin(planned: &PlannedPlugin) -> Self {
        let PlannedPlugin { id, action, reasons, content_key, version, role, image, published, .. } = planned.clone();
        let images = published.into_iter().map(already_there).collect();
        Self { role: Some(role), image_name: image, images, ..Self::planned(id, action, reasons, content_key, version) }
    }

    fn bundle(planned: &PlannedBundle) -> Self {
        let PlannedBundle { id, action, reasons, content_key, version, members, image, published } = planned.clone();
        let images = published.into_iter().map(already_there).collect();
        Self { members, image_name: image, images, ..Self::planned(id, action, reasons, content_key, version) }
    }

    fn planned(
        id: String,
        action: Action,
        reasons: Vec<Reason>,
        content_key: Option<ContentKey>,
        version: String,
    ) -> Self {
        let state = match action {
            Action::Build | Action::Copy => State::Planned,
            Action::Skip if reasons.iter().any(|reason| reason.kind == "up-to-date") => State::UpToDate,
            Action::Skip => State::Skipped,
            Action::Remove => State::Removed,
        };
        Self {
            id,
            state,
            action,
            reasons,
            version,
            content_key,
            role: None,
            members: Vec::new(),
            image_name: String::new(),
            image: None,
            sbom: None,
            rhdh_cli: None,
            images: Vec::new(),
            would_push: Vec::new(),
            base_image: None,
            tgz: None,
            files: Vec::new(),
            npm: Vec::new(),
            packages: Vec::new(),
            findings: Vec::new(),
            plugin_config: None,
            error: None,
            timings: Timings::default(),
        }
    }

    /// Whether it is a bundle.
    #[must_use]
    pub fn is_bundle(&self) -> bool {
        self.role.is_none()
    }

    /// Whether it only goes from one registry to others, without anything to export or to package.
    #[must_use]
    pub fn is_copied(&self) -> bool {
        self.action == Action::Copy
    }

    /// The images that may be installed. Where it failed, those that the channel's tags name: another may be held back,
    /// unsigned, or gone with the registry's next tidying up.
    pub fn published_images(&self) -> impl Iterator<Item = &PublishedImage> {
        let is_named = |image: &&PublishedImage| image.tags.iter().any(|tag| !ContentKey::is_tag(tag));
        self.images.iter().filter(move |image| self.state != State::Failed || is_named(image))
    }

    /// Its name for people: a plugin and a bundle may have the same id.
    #[must_use]
    pub fn label(&self) -> String {
        if self.is_bundle() { format!("{} (bundle)", self.id) } else { self.id.clone() }
    }

    /// Takes over what an earlier run made of the same content.
    pub fn carry_over(&mut self, before: &ArtifactResult) {
        self.image.clone_from(&before.image);
        self.sbom.clone_from(&before.sbom);
        self.rhdh_cli.clone_from(&before.rhdh_cli);
        self.tgz.clone_from(&before.tgz);
        self.packages.clone_from(&before.packages);
        self.findings.clone_from(&before.findings);
    }

    /// Ends the artifact's way through the run.
    pub fn fail(&mut self, failure: Failure) {
        self.state = State::Failed;
        self.error = Some(failure);
    }
}

fn already_there(published: Published) -> PublishedImage {
    let Published { registry, reference, digest, size, tags } = published;
    let state = push::State::AlreadyThere;
    PublishedImage { registry, reference, digest, tags, size, state, attached: Vec::new(), signed: false }
}
