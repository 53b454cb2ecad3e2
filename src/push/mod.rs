//! Bringing artifacts to their registries: what packaging made comes in; what goes out says what stands where, and what
//! does not.
//!
//! The order never changes, so that nothing is ever half-published: one login for each registry; then every tag and
//! file that is to be written is looked at; then all images go up by digest, with what is attached to them and signed
//! where that is asked for, and all files under temporary names; and only then, as one short step, tags are moved and
//! files renamed. (Where nothing has to wait for the others, a new image's manifest comes under its content key's tag.)
//! Whether one artifact's failure ends the run before a step or only that artifact's way is what
//! [`Request::atomic`] says; the order is the same.

mod archive;
pub(crate) mod attach;
mod dir;
mod github;
mod gitlab;
mod image;
mod job;
mod layout;
mod notes;
mod npm;
mod provenance;
mod release;
mod sign;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::config::Registry;
use crate::digest::{Digest, Integrity};
use crate::package::{PackagedImage, PackagedTgz};
use crate::plan::ContentKey;
use crate::registry::{self, Session};
use crate::ui::Ui;
use job::Job;
use layout::Layout;
use release::Releases;
use sign::Cosign;

/// Artifacts that are worked on at once; requests to one host are limited by the session.
const PARALLEL: usize = 24;

/// The dist-tag of npm registries for releases.
pub const LATEST: &str = "latest";

/// What to push, and how.
pub struct Request {
    /// The output folder: images are in its `oci/`, archives where their paths say.
    pub output: PathBuf,
    /// The folder of the configuration file.
    pub root: PathBuf,
    /// In the order in which they are reported.
    pub artifacts: Vec<ArtifactToPush>,
    /// Whether tags and files that exist with another content may be replaced.
    pub overwrite: bool,
    /// Whether one artifact's failure keeps every tag of the run where it is. Without it, the tags of those that are
    /// up are moved.
    pub atomic: bool,
    /// The ids of what is not among the artifacts because it could not be made: nothing of an atomic push is published
    /// then.
    pub missing: Vec<String>,
    /// The dist-tag of npm registries: the channel's name; [`LATEST`] for a channel of releases.
    pub dist_tag: String,
    /// The commit that was built: where tags of releases are made.
    pub commit: Option<String>,
    /// Whether cosign signs the images.
    pub sign: bool,
    /// The registries' connections and credentials.
    pub session: Arc<Session>,
}

/// One artifact and where it goes.
#[derive(Clone, Debug)]
pub struct ArtifactToPush {
    /// The plugin's or bundle's id.
    pub id: String,
    /// Its image, for OCI registries.
    pub image: Option<PackagedImage>,
    /// The content key of what was packaged: the image must have it, too.
    pub content_key: Option<ContentKey>,
    /// The OCI registry where the image stands already, and from where it is copied; `None`: it is in the layout.
    pub source: Option<(String, Registry)>,
    /// What is attached to the image.
    pub documents: Vec<Document>,
    /// Its archive, for npm registries, folders, releases and generic packages.
    pub tgz: Option<PackagedTgz>,
    /// The name and version of its plugin's package, which the archive must have, too; `None`: whatever it has.
    pub package: Option<(String, String)>,
    /// The tags to write, rendered; moved in this order.
    pub tags: Vec<String>,
    /// The tags of releases on GitHub, by the registry's name; where one is missing, the archive cannot go there.
    pub releases: BTreeMap<String, String>,
    /// Where it goes: names in the configuration, and what they stand for.
    pub registries: Vec<(String, Registry)>,
}

/// What became of one artifact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pushed {
    /// The plugin's or bundle's id.
    pub id: String,
    /// Images that stand in a registry, by digest at least.
    pub images: Vec<PublishedImage>,
    /// Files that stand in a folder, a release or a generic package.
    pub files: Vec<PublishedFile>,
    /// Packages that stand in an npm registry.
    pub packages: Vec<PublishedPackage>,
    /// What is not where it should be. Empty: all is.
    pub failures: Vec<PushFailure>,
    /// Time that was worked on it, waiting included.
    pub seconds: f64,
}

/// An image in a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PublishedImage {
    /// The registry's name in the configuration.
    pub registry: String,
    /// `host/namespace/name@sha256:…`.
    pub reference: String,
    /// Of the manifest.
    pub digest: Digest,
    /// The tags that name it now, as far as they were asked for.
    pub tags: Vec<String>,
    /// Bytes of manifest, config and layers.
    pub size: u64,
    /// Whether it was there before.
    pub state: State,
    /// What is attached to it, as far as it was asked for.
    #[serde(default)]
    pub attached: Vec<Attached>,
    /// Whether cosign signed it: in this run, or in the one that brought it.
    #[serde(default)]
    pub signed: bool,
}

/// A file in a folder, in a release on GitHub, or in a generic package on GitLab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PublishedFile {
    /// The registry's name in the configuration.
    pub registry: String,
    /// In a folder: the file, relative to the folder of the configuration file; elsewhere its name.
    pub path: String,
    /// Where it can be downloaded, if that is known.
    pub url: Option<String>,
    /// Of its bytes.
    pub integrity: Integrity,
    /// Bytes.
    pub size: u64,
    /// Whether it was there before.
    pub state: State,
}

/// A package in an npm registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PublishedPackage {
    /// The registry's name in the configuration.
    pub registry: String,
    /// The package's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The dist-tags that name it now, as far as they were asked for.
    pub tags: Vec<String>,
    /// What the registry says; compared with ours.
    pub integrity: Integrity,
    /// Bytes of the archive.
    pub size: u64,
    /// Whether it was there before.
    pub state: State,
}

/// Whether something was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// This run brought it.
    New,
    /// It was there, byte for byte.
    AlreadyThere,
}

/// Why an artifact is not, or not wholly, in a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushFailure {
    /// The registry's name in the configuration.
    pub registry: String,
    /// A short name of what went wrong, in kebab-case.
    pub code: String,
    /// What went wrong, causes after `: `.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// Why nothing was pushed at all.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    /// The registries that cannot be used: not there, or not logged in.
    #[error("nothing was pushed: {} of the registries cannot be used", failures.len())]
    Registries {
        /// One for each registry.
        #[related]
        failures: Vec<registry::Error>,
    },
    /// There is no cosign to sign with.
    #[error("`sign = true`, and `cosign` is not installed")]
    #[diagnostic(
        code("cosign-missing"),
        help("install cosign (GitHub Actions: `uses: sigstore/cosign-installer`), or remove `sign` from the channel")
    )]
    NoCosign,
    /// The output folder has no OCI layout that can be read.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Layout(#[from] layout::Error),
}

pub use attach::{Attached, Document};
pub use layout::Error as LayoutError;
pub use provenance::Provenance;

impl Error {
    /// True where the environment is to blame (exit code 3).
    #[must_use]
    pub fn is_environment(&self) -> bool {
        match self {
            Self::Registries { failures } => failures.iter().any(registry::Error::is_environment),
            Self::NoCosign => true,
            Self::Layout(_) => false,
        }
    }
}

/// Pushes every artifact to each of its registries. When `cancel` is cancelled, it ends within a second; what was not
/// finished then is among the failures, with the code `interrupted`.
///
/// # Errors
/// When a registry cannot be used, or the layout cannot be read; nothing has been written then.
pub async fn push(request: &Request, ui: &Ui, cancel: &CancellationToken) -> Result<Vec<Pushed>, Error> {
    let from_layout = |artifact: &ArtifactToPush| artifact.image.is_some() && artifact.source.is_none();
    let layout = match request.artifacts.iter().any(from_layout) {
        true => Some(Layout::open(request.output.join("oci"))?),
        false => None,
    };
    let cosign = match request.sign && request.artifacts.iter().any(|artifact| artifact.image.is_some()) {
        true => Some(Arc::new(Cosign::find().ok_or(Error::NoCosign)?)),
        false => None,
    };
    let jobs = tokio::select! {
        biased;
        () = cancel.cancelled() => return Ok(job::interrupted(request)),
        jobs = prepare(request, layout.as_ref(), cosign.as_ref()) => jobs?,
    };
    tokio::select! {
        biased;
        () = cancel.cancelled() => {}
        () = publish(request, &jobs, ui) => {}
    }
    Ok(job::collect(request, jobs))
}

/// Makes the jobs, and looks once at each registry: whether it is there and takes our credentials.
async fn prepare(request: &Request, layout: Option<&Layout>, cosign: Option<&Arc<Cosign>>) -> Result<Vec<Job>, Error> {
    let releases = &Releases::default();
    let mut making = Vec::new();
    for (position, artifact) in request.artifacts.iter().enumerate() {
        for (name, registry) in &artifact.registries {
            let job = Job::new(request, position, name, registry, layout, releases, cosign);
            making.push(async move { (name, job.await) });
        }
    }
    let made: Vec<_> = stream::iter(making).buffered(PARALLEL).collect().await;
    let mut jobs = Vec::new();
    let mut failures = Vec::new();
    for (name, outcome) in made {
        match outcome {
            Ok(job) => jobs.extend(job),
            Err(error) => failures.push((name.clone(), error)),
        }
    }
    let mut names: Vec<&str> = Vec::new();
    let mut first_of_each = Vec::new();
    for job in &jobs {
        if let Some(repository) = job.repository()
            && !names.contains(&job.registry.as_str())
        {
            names.push(&job.registry);
            first_of_each.push((job.registry.clone(), repository.clone()));
        }
    }
    let logins = first_of_each.into_iter().map(|(name, repository)| async move { (name, repository.login().await) });
    let outcomes = join_all(logins).await;
    failures.extend(outcomes.into_iter().filter_map(|(name, outcome)| Some((name, outcome.err()?))));
    if failures.is_empty() {
        return Ok(jobs);
    }
    let mut seen: Vec<String> = Vec::new();
    failures.retain(|(name, error)| {
        let line = format!("{name} {error}");
        let new = !seen.contains(&line);
        seen.push(line);
        new
    });
    Err(Error::Registries { failures: failures.into_iter().map(|(_, error)| error).collect() })
}

/// Looks, uploads, and moves the tags. Outcomes are noted in the jobs.
async fn publish(request: &Request, jobs: &[Job], ui: &Ui) {
    each(jobs, |job| job.check(request)).await;
    if stops(request, jobs, "nothing of this run was published, because another artifact of it cannot be") {
        return;
    }
    each(jobs, |job| job.upload(&request.artifacts[job.artifact].id, &request.output, ui)).await;
    if stops(request, jobs, "no tag of this run was moved, because another artifact of it is not up") {
        return;
    }
    each(jobs, |job| job.expose(request, ui)).await;
    dir::list(request, jobs).await;
    release::publish(request, jobs, ui).await;
    let may_be_lost = |notes: &notes::Notes| !request.overwrite && !notes.moved.is_empty() || !notes.listed.is_empty();
    if jobs.iter().any(|job| may_be_lost(&job.notes())) {
        tokio::time::sleep(request.session.limits().settle).await;
    }
    each(jobs, |job| job.confirm(request)).await;
}

async fn each<'a, F: Future<Output = ()>>(jobs: &'a [Job], step: impl Fn(&'a Job) -> F) {
    // Collected first: an iterator with closures, held while waiting, would tie the future to one thread.
    let going: Vec<F> = jobs.iter().filter(|job| job.goes_on()).map(step).collect();
    stream::iter(going).buffer_unordered(PARALLEL).collect::<()>().await;
}

/// Whether one failure ends the run here: then all others are told.
fn stops(request: &Request, jobs: &[Job], why: &str) -> bool {
    let failed = jobs.iter().filter(|job| !job.goes_on()).map(|job| &request.artifacts[job.artifact].id);
    let Some(first) = request.missing.iter().chain(failed).next().filter(|_| request.atomic) else { return false };
    for job in jobs.iter().filter(|job| job.goes_on()) {
        job.hold_back(&format!("{why}: `{first}`"));
    }
    true
}
