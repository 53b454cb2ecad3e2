//! The releases on GitHub that archives of a run go to. One that is not there is made as a draft, which nobody sees,
//! and published when everything else of the run is up. <https://docs.github.com/rest/releases/releases>

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use octocrab::models::repos::{Asset, Release};
use reqwest::{Method, Url};
use serde_json::json;
use tokio::sync::OnceCell;

use super::Request;
use super::job::Job;
use super::notes::Failure;
use crate::digest::Digest;
use crate::registry::{self, BlobFile, Error, Forge, ForgeKind, Sent};
use crate::ui::Ui;

/// Stands in the text of drafts that are ours to publish. Nobody sees it.
const MARKER: &str = "<!-- rhdh-pack -->";

/// A release that assets of this run go to.
pub(super) struct SharedRelease {
    pub(super) forge: Arc<Forge>,
    /// `owner/name`.
    pub(super) repository: String,
    pub(super) tag: String,
    /// What the tag is made at, where it is not there.
    commit: Option<String>,
    /// What was there at first.
    before: OnceCell<Option<(Place, Vec<Asset>)>>,
    place: OnceCell<Place>,
}

/// A release that is there.
#[derive(Clone)]
pub(super) struct Place {
    id: u64,
    /// Where files are sent.
    pub(super) upload: Url,
    draft: Draft,
}

#[derive(Clone, Copy, PartialEq)]
enum Draft {
    No,
    /// By this program: published when all is in it.
    Ours,
    /// By somebody who publishes it when they want to.
    Theirs,
}

/// The releases on GitHub that this run goes to: assets of one release share it.
#[derive(Default)]
pub(super) struct Releases(Mutex<BTreeMap<(String, String), Arc<SharedRelease>>>);

impl Releases {
    /// The release of the registry `name` with the tag `tag`.
    pub(super) fn get(
        &self,
        request: &Request,
        name: &str,
        repository: &str,
        tag: Option<&String>,
    ) -> Result<Result<Arc<SharedRelease>, Failure>, registry::Error> {
        let Some(tag) = tag else {
            return Ok(Err(Failure {
                code: "release-tag",
                message: format!("the registry `{name}` says no `tag`, and this run is for no git tag"),
                help: Some(format!("add `tag = \"v{{version}}\"` to `[registries.{name}]`")),
            }));
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name.to_owned(), tag.clone());
        if let Some(release) = all.get(&key) {
            return Ok(Ok(Arc::clone(release)));
        }
        let forge = Forge::new(&request.session, ForgeKind::GitHub, name)?;
        let release = Arc::new(SharedRelease::new(forge, repository, tag, request.commit.as_deref()));
        all.insert(key, Arc::clone(&release));
        Ok(Ok(release))
    }
}

impl SharedRelease {
    pub(super) fn new(forge: Arc<Forge>, repository: &str, tag: &str, commit: Option<&str>) -> Self {
        let (repository, tag, commit) = (repository.to_owned(), tag.to_owned(), commit.map(str::to_owned));
        Self { forge, repository, tag, commit, before: OnceCell::new(), place: OnceCell::new() }
    }

    /// The URL of `parts` below the repository's.
    pub(super) fn url(&self, parts: &[&str]) -> Url {
        let repository = self.repository.split('/');
        self.forge.url(&["repos"].into_iter().chain(repository).chain(parts.iter().copied()).collect::<Vec<_>>())
    }

    /// The release and its assets, as they were when this run first looked.
    pub(super) async fn before(&self) -> Result<Option<&(Place, Vec<Asset>)>, Error> {
        let look = async || match self.find().await? {
            Some(place) => {
                let assets = self.assets(&place).await?;
                Ok::<_, Error>(Some((place, assets)))
            }
            None => Ok(None),
        };
        self.before.get_or_try_init(look).await.map(Option::as_ref)
    }

    async fn find(&self) -> Result<Option<Place>, Error> {
        let what = format!("looking for the release `{}` of `{}`", self.tag, self.repository);
        let published = self.forge.find::<Release>(&what, &self.url(&["releases", "tags", &self.tag])).await?;
        if let Some(release) = published {
            return place(&what, &release).map(Some);
        }
        // Drafts are found in the list only, and there by those only who may write. An entry has the whole text of a
        // release and all of its assets: few at once. The list begins with the newest, and ours is among these, mostly.
        let is_draft = |release: &Release| release.draft && release.tag_name == self.tag;
        let enough = |page: &[Release]| page.iter().any(|release| is_draft(release) && is_ours(release));
        let mut drafts: Vec<Release> = match self.forge.list_until(&what, &self.url(&["releases"]), 20, enough).await {
            Err(error) if error.is_missing() => Vec::new(),
            all => all?,
        };
        drafts.retain(is_draft);
        drafts.sort_by_key(|release| !is_ours(release));
        drafts.first().map(|release| place(&what, release)).transpose()
    }

    pub(super) async fn assets(&self, place: &Place) -> Result<Vec<Asset>, Error> {
        let what = format!("listing the assets of the release `{}` of `{}`", self.tag, self.repository);
        let url = self.url(&["releases", &place.id.to_string(), "assets"]);
        match self.forge.list(&what, &url).await {
            Err(error) if error.is_missing() => Ok(Vec::new()),
            assets => assets,
        }
    }

    /// The release, made where it was not there.
    pub(super) async fn place(&self) -> Result<&Place, Error> {
        let make = async || {
            if let Some((place, _)) = self.before().await? {
                return Ok(place.clone());
            }
            let what = format!("making the release `{}` of `{}`", self.tag, self.repository);
            let mut text = json!({
                "tag_name": self.tag, "name": self.tag, "draft": true,
                "body": format!("Dynamic plugins for Red Hat Developer Hub.\n\n{MARKER}"),
            });
            if let Some(commit) = &self.commit {
                text["target_commitish"] = json!(commit);
            }
            let mut attempts = self.forge.attempts();
            loop {
                let made = self.forge.make(&what, Method::POST, &self.url(&["releases"]), &Sent::Json(&text)).await;
                let error = match made {
                    Ok(release) => return place(&what, &release),
                    Err(error) => error,
                };
                attempts.wait_after(error).await?;
                // It may have been made all the same, and only the answer was lost.
                if let Some(place) = self.find().await? {
                    return Ok(place);
                }
            }
        };
        self.place.get_or_try_init(make).await
    }

    /// Whether `asset` has these bytes. Older servers do not say: then they are read.
    pub(super) async fn holds(&self, asset: &Asset, blob: &BlobFile) -> Result<bool, Error> {
        if asset.state != "uploaded" || u64::try_from(asset.size).ok() != Some(blob.size) {
            return Ok(false);
        }
        let digest = match asset.digest.as_deref().and_then(|digest| digest.parse::<Digest>().ok()) {
            Some(digest) => digest,
            None => {
                let what = format!("reading the asset `{}` of the release `{}`", asset.name, self.tag);
                let url = self.url(&["releases", "assets", &asset.id.to_string()]);
                self.forge.digest_of(&what, &url, blob.size).await?
            }
        };
        Ok(digest == blob.digest)
    }

    pub(super) async fn delete(&self, asset: &Asset) -> Result<(), Error> {
        let what = format!("deleting the asset `{}` of the release `{}`", asset.name, self.tag);
        self.forge.delete(&what, &self.url(&["releases", "assets", &asset.id.to_string()])).await
    }

    /// Publishes the draft of this run.
    async fn publish(&self, place: &Place) -> Result<Release, Failure> {
        let what = format!("publishing the release `{}` of `{}`", self.tag, self.repository);
        let url = self.url(&["releases", &place.id.to_string()]);
        let sent = json!({ "draft": false });
        let release = self.forge.change(&what, Method::PATCH, &url, &Sent::Json(&sent)).await?;
        release.ok_or_else(|| gone(&what))
    }
}

fn is_ours(release: &Release) -> bool {
    release.body.as_deref().is_some_and(|body| body.contains(MARKER))
}

fn place(what: &str, release: &Release) -> Result<Place, Error> {
    // A template (RFC 6570): `https://uploads.github.com/repos/…/assets{?name,label}`.
    let upload = release.upload_url.split('{').next().unwrap_or_default();
    let upload = Url::parse(upload).map_err(|_| Error::Garbage {
        what: what.to_owned(),
        why: "the answer has no usable `upload_url`".to_owned(),
    })?;
    let draft = match (release.draft, is_ours(release)) {
        (false, _) => Draft::No,
        (true, true) => Draft::Ours,
        (true, false) => Draft::Theirs,
    };
    Ok(Place { id: release.id.into_inner(), upload, draft })
}

/// Publishes the drafts of this run, and notes where their assets are found. A draft with an asset that did not get its
/// name stays one.
pub(super) async fn publish(request: &Request, jobs: &[Job], ui: &Ui) {
    let mut done: Vec<&Arc<SharedRelease>> = Vec::new();
    for release in jobs.iter().filter(|job| job.goes_on()).filter_map(|job| Some(&job.asset()?.release)) {
        if done.iter().any(|other| Arc::ptr_eq(other, release)) {
            continue;
        }
        done.push(release);
        let of_release = jobs.iter().filter_map(|job| Some((job, job.asset()?)));
        let (going, ended): (Vec<_>, Vec<_>) =
            of_release.filter(|(_, asset)| Arc::ptr_eq(&asset.release, release)).partition(|(job, _)| job.goes_on());
        let nameless = ended.iter().find(|(job, asset)| asset.is_up() && job.notes().state.is_none());
        let (tag, repository) = (&release.tag, &release.repository);
        let published = match (release.place().await, nameless) {
            (Err(error), _) => Err(error.into()),
            (Ok(Place { draft: Draft::No, .. }), _) => Ok(None),
            (Ok(Place { draft: Draft::Theirs, .. }), _) => {
                ui.warn(&format!(
                    "the release `{tag}` of `{repository}` is somebody's draft: its assets can be downloaded when it is \
                     published"
                ));
                continue;
            }
            (Ok(Place { draft: Draft::Ours, .. }), Some((job, _))) => {
                let other = &request.artifacts[job.artifact].id;
                let why = format!("the release `{tag}` of `{repository}` stays a draft, because an asset of it failed");
                going.iter().for_each(|(job, _)| job.hold_back(&format!("{why}: `{other}`")));
                continue;
            }
            (Ok(place), None) => release.publish(place).await.map(Some),
        };
        for (job, asset) in going {
            match &published {
                Ok(release) => job.notes().url = asset.download(release.as_ref()),
                Err(failure) => job.fail(failure.clone()),
            }
        }
    }
}

/// The failure for something that somebody else has deleted.
pub(super) fn gone(what: &str) -> Failure {
    Failure {
        code: "file-lost",
        message: format!("{what}: it is not there any more"),
        help: Some("run the command again".to_owned()),
    }
}
