//! One artifact on its way to one registry: what is to be done, and what has been done so far. What has been done is
//! kept outside of the running futures, so that it is known when they are dropped.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::archive::Archive;
use super::dir::FileJob;
use super::github::AssetJob;
use super::gitlab::GenericJob;
use super::image::ImageJob;
use super::layout::{self, Image, Layout};
use super::notes::{Failure, Notes};
use super::npm::NpmJob;
use super::release::Releases;
use super::sign::{Cosign, Signing};
use super::{PublishedFile, PublishedImage, PublishedPackage, PushFailure, Pushed, Request, State};
use crate::config::Registry;
use crate::package::PackagedImage;
use crate::registry::{self, Forge, ForgeKind, ManifestRef, Repository};
use crate::ui::Ui;

/// One artifact on its way to one registry.
pub(super) struct Job {
    /// Its position in the request.
    pub(super) artifact: usize,
    /// The registry's name in the configuration.
    pub(super) registry: String,
    target: Target,
    noted: Mutex<Notes>,
}

enum Target {
    Image(ImageJob),
    File(FileJob),
    Npm(Box<NpmJob>),
    Asset(Box<AssetJob>),
    Generic(GenericJob),
    /// Nothing can be done; the failure is noted.
    Nothing,
}

impl Job {
    /// The job for an artifact and a registry; `None` where the artifact has nothing of the registry's kind.
    pub(super) async fn new(
        request: &Request,
        position: usize,
        name: &str,
        registry: &Registry,
        layout: Option<&Layout>,
        releases: &Releases,
        cosign: Option<&Arc<Cosign>>,
    ) -> Result<Option<Self>, registry::Error> {
        let artifact = &request.artifacts[position];
        let archive = |tgz| Archive::new(request, artifact, tgz);
        let target = match (registry, &artifact.image, &artifact.tgz, layout) {
            (Registry::Oci { prefix, insecure }, Some(packaged), ..) => {
                let client = request.session.client(name, prefix, *insecure)?;
                let repository = client.repository(&packaged.name).await?;
                let source = match &artifact.source {
                    Some(source) => source_of(request, source, packaged).await?,
                    None => None,
                };
                let image = match (&source, layout) {
                    (Some(source), _) => remote(source, packaged).await?,
                    (None, Some(layout)) => layout.image(packaged).and_then(|image| match &artifact.content_key {
                        Some(key) => image.with_key(&packaged.name, key),
                        None => Ok(image),
                    }),
                    (None, None) => return Ok(None),
                };
                let (tags, size) = (artifact.tags.clone(), packaged.size);
                let documents = artifact.documents.clone();
                let signing = cosign.map(|cosign| Signing {
                    cosign: Arc::clone(cosign),
                    registry: name.to_owned(),
                    insecure: *insecure,
                    authority: request.session.authority(name),
                    logs: request.output.join("logs").join(&packaged.name),
                });
                // Not before all of an atomic run is up, nor before what a later run will find by it is whole.
                let key_first = !request.atomic && documents.is_empty() && signing.is_none();
                let job = |image| ImageJob { image, source, repository, tags, key_first, size, documents, signing };
                image.map(|image| Target::Image(job(image))).map_err(|error| Failure::of("oci-layout", &error))
            }
            (Registry::Dir { path, base_url }, _, Some(tgz), _) => {
                archive(tgz).map(|archive| Target::File(FileJob::new(request, path, base_url.as_deref(), archive)))
            }
            (Registry::Npm { url, allow_public }, _, Some(tgz), _) => archive(tgz)
                .and_then(|archive| NpmJob::new(request, name, url.as_deref(), *allow_public, archive))
                .map(|npm| Target::Npm(Box::new(npm))),
            (Registry::GitHubRelease { repository, .. }, _, Some(tgz), _) => {
                let release = releases.get(request, name, repository, artifact.releases.get(name))?;
                archive(tgz).and_then(|archive| Ok(Target::Asset(Box::new(AssetJob::new(archive, release?)))))
            }
            (Registry::GitLabPackages { project }, _, Some(tgz), _) => {
                let forge = Forge::new(&request.session, ForgeKind::GitLab, name)?;
                archive(tgz).map(|archive| Target::Generic(GenericJob::new(archive, forge, project)))
            }
            _ => return Ok(None),
        };
        let job = |target| Self { artifact: position, registry: name.to_owned(), target, noted: Mutex::default() };
        Ok(Some(match target {
            Ok(target) => job(target),
            Err(failure) => {
                let job = job(Target::Nothing);
                job.fail(failure);
                job
            }
        }))
    }

    /// The repository that the job writes to, if it is one.
    pub(super) fn repository(&self) -> Option<&Repository> {
        match &self.target {
            Target::Image(image) => Some(&image.repository),
            _ => None,
        }
    }

    pub(super) fn file(&self) -> Option<&FileJob> {
        match &self.target {
            Target::File(file) => Some(file),
            _ => None,
        }
    }

    pub(super) fn asset(&self) -> Option<&AssetJob> {
        match &self.target {
            Target::Asset(asset) => Some(asset),
            _ => None,
        }
    }

    /// Whether there is more to do, and nothing against it.
    pub(super) fn goes_on(&self) -> bool {
        self.notes().failure.is_none()
    }

    pub(super) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at what is there, before anything is written.
    pub(super) async fn check(&self, request: &Request) {
        self.timed(async {
            match &self.target {
                Target::Image(image) => image.check(request.overwrite, &self.noted).await,
                Target::File(file) => file.check(request.overwrite, &self.noted).await,
                Target::Npm(npm) => npm.check(&self.noted).await,
                Target::Asset(asset) => asset.check(request.overwrite, &self.noted).await,
                Target::Generic(generic) => generic.check(request.overwrite, &self.noted).await,
                Target::Nothing => Ok(()),
            }
        })
        .await;
    }

    /// Brings the content, where nobody sees it yet.
    pub(super) async fn upload(&self, id: &str, output: &Path, ui: &Ui) {
        self.timed(async {
            match &self.target {
                Target::Image(image) => {
                    image.upload(id, ui, &self.noted).await?;
                    image.attach(id, output, ui, &self.noted).await?;
                    image.sign(id, ui, &self.noted).await
                }
                Target::File(file) => file.upload(&self.noted).await,
                Target::Asset(asset) => asset.upload(id, ui).await,
                // These registries show what they get at once: see `expose`.
                Target::Npm(_) | Target::Generic(_) | Target::Nothing => Ok(()),
            }
        })
        .await;
    }

    /// Lets it be seen: moves the tags, renames the file.
    pub(super) async fn expose(&self, request: &Request, ui: &Ui) {
        let id = &request.artifacts[self.artifact].id;
        self.timed(async {
            match &self.target {
                Target::Image(image) => image.tag(id, request.overwrite, ui, &self.noted).await?,
                Target::File(file) => file.rename(&self.noted).await?,
                Target::Npm(npm) => npm.publish(&self.noted).await?,
                Target::Asset(asset) => asset.rename(request.overwrite, &self.noted).await?,
                Target::Generic(generic) => generic.publish(id, request.overwrite, ui, &self.noted).await?,
                Target::Nothing => {}
            }
            self.notes().done = true;
            Ok(())
        })
        .await;
    }

    /// Looks whether the tags, and the lists of what is attached, are still as this run left them.
    pub(super) async fn confirm(&self, request: &Request) {
        self.timed(async {
            match &self.target {
                Target::Image(image) => {
                    let settle = request.session.limits().settle;
                    image.confirm_attached(settle, &self.noted).await?;
                    image.confirm(request.overwrite, &self.noted).await
                }
                _ => Ok(()),
            }
        })
        .await;
    }

    /// Ends the job because of another one.
    pub(super) fn hold_back(&self, why: &str) {
        let help = "mend the other one and run the command again; or, to publish without it, add `--atomic=false`";
        self.fail(Failure { code: "held-back", message: why.to_owned(), help: Some(help.to_owned()) });
    }

    async fn timed(&self, step: impl Future<Output = Result<(), Failure>>) {
        let started = Instant::now();
        let outcome = step.await;
        self.notes().seconds += started.elapsed().as_secs_f64();
        if let Err(failure) = outcome {
            self.fail(failure);
        }
    }

    pub(super) fn fail(&self, failure: Failure) {
        let Failure { code, message, help } = failure;
        let registry = self.registry.clone();
        self.notes().failure = Some(PushFailure { registry, code: code.to_owned(), message, help });
    }

    fn published(&self, path: String, url: Option<String>, archive: &Archive, state: State) -> PublishedFile {
        let (registry, integrity, size) = (self.registry.clone(), archive.integrity.clone(), archive.size);
        PublishedFile { registry, path, url, integrity, size, state }
    }

    /// The failure of a job that was interrupted.
    fn interrupted(&self, notes: &Notes) -> PushFailure {
        let mut message = match (&self.target, notes.state) {
            (Target::Image(image), Some(_)) => {
                let left: Vec<_> = image
                    .tags
                    .iter()
                    .filter(|tag| !notes.tags.contains(tag) && notes.moving.as_ref() != Some(tag))
                    .map(|tag| format!("`{tag}`"))
                    .collect();
                format!("interrupted; the image is up by digest, and these tags were not moved: {}", left.join(", "))
            }
            _ => "interrupted before it was complete; nothing of it can be seen".to_owned(),
        };
        if let Some(tag) = &notes.moving {
            message.push_str(&format!("; the tag `{tag}` was being moved: it may be, or not"));
        }
        let help = Some("run the command again: what is uploaded is not uploaded twice".to_owned());
        PushFailure { registry: self.registry.clone(), code: "interrupted".to_owned(), message, help }
    }
}

/// The repository that an image is copied from.
async fn source_of(
    request: &Request,
    (name, registry): &(String, Registry),
    image: &PackagedImage,
) -> Result<Option<Repository>, registry::Error> {
    let Registry::Oci { prefix, insecure } = registry else { return Ok(None) };
    request.session.client(name, prefix, *insecure)?.repository(&image.name).await.map(Some)
}

/// The image as `source` has it.
async fn remote(source: &Repository, image: &PackagedImage) -> Result<Result<Image, layout::Error>, registry::Error> {
    let manifest = source.manifest(ManifestRef::Digest(&image.digest)).await?;
    Ok(match manifest {
        Some(manifest) => Image::read(image, manifest.bytes, |_| PathBuf::new()),
        None => Err(layout::Error::Gone { repository: source.to_string(), digest: image.digest.clone() }),
    })
}

/// What becomes of the artifacts when the run ends before any of them was looked at.
pub(super) fn interrupted(request: &Request) -> Vec<Pushed> {
    let mut all = nothing_yet(request);
    for (pushed, artifact) in all.iter_mut().zip(&request.artifacts) {
        pushed.failures.extend(artifact.registries.iter().map(|(registry, _)| PushFailure {
            registry: registry.clone(),
            code: "interrupted".to_owned(),
            message: "interrupted before anything was uploaded".to_owned(),
            help: Some("run the command again".to_owned()),
        }));
    }
    all
}

fn nothing_yet(request: &Request) -> Vec<Pushed> {
    let nothing = |id: &String| Pushed {
        id: id.clone(),
        images: Vec::new(),
        files: Vec::new(),
        packages: Vec::new(),
        failures: Vec::new(),
        seconds: 0.0,
    };
    request.artifacts.iter().map(|artifact| nothing(&artifact.id)).collect()
}

/// What became of each artifact.
pub(super) fn collect(request: &Request, jobs: Vec<Job>) -> Vec<Pushed> {
    let mut all = nothing_yet(request);
    for job in &jobs {
        let pushed = &mut all[job.artifact];
        let notes = job.notes();
        pushed.seconds += notes.seconds;
        match (&job.target, notes.state) {
            (Target::Image(image), Some(state)) => pushed.images.push(PublishedImage {
                registry: job.registry.clone(),
                reference: format!("{}@{}", image.repository, image.image.digest),
                digest: image.image.digest.clone(),
                tags: notes.tags.clone(),
                size: image.size,
                state,
                attached: notes.attached.clone(),
                signed: notes.signed,
            }),
            (Target::File(file), Some(state)) => {
                pushed.files.push(job.published(file.path(), file.url.clone(), &file.archive, state));
            }
            (Target::Asset(asset), Some(state)) => {
                let archive = &asset.archive;
                pushed.files.push(job.published(archive.name.clone(), notes.url.clone(), archive, state));
            }
            (Target::Generic(GenericJob { archive, .. }), Some(state)) => {
                pushed.files.push(job.published(archive.name.clone(), notes.url.clone(), archive, state));
            }
            (Target::Npm(npm), Some(state)) => pushed.packages.extend(npm.release().map(|release| PublishedPackage {
                registry: job.registry.clone(),
                name: release.name.clone(),
                version: release.version.clone(),
                tags: notes.tags.clone(),
                integrity: npm.archive.integrity.clone(),
                size: npm.archive.size,
                state,
            })),
            _ => {}
        }
        if let Some(failure) = &notes.failure {
            pushed.failures.push(failure.clone());
        } else if !notes.done {
            pushed.failures.push(job.interrupted(&notes));
        }
    }
    all
}
