//! One archive on its way to a release on GitHub. It is uploaded under a temporary name, and renamed when everything of
//! the run is up. <https://docs.github.com/rest/releases/assets>

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use octocrab::models::repos::{Asset, Release};
use reqwest::Method;
use serde_json::json;

use super::State;
use super::archive::Archive;
use super::image::lock;
use super::notes::{Failure, Notes};
use super::release::{Place, SharedRelease, gone};
use crate::registry::{BlobFile, Error, Sent};
use crate::ui::Ui;

/// What temporary names begin with.
const PART: &str = "rhdh-pack-part-";

/// One archive on its way to a release.
pub(super) struct AssetJob {
    pub(super) archive: Archive,
    pub(super) release: Arc<SharedRelease>,
    blob: OnceLock<BlobFile>,
    /// The asset that holds the archive, under its temporary name or its own.
    asset: Mutex<Option<Asset>>,
    /// Assets that have the archive's name and go when it comes.
    replaced: Mutex<Vec<Asset>>,
}

impl AssetJob {
    pub(super) fn new(archive: Archive, release: Arc<SharedRelease>) -> Self {
        Self { archive, release, blob: OnceLock::new(), asset: Mutex::default(), replaced: Mutex::default() }
    }

    /// Looks whether the release has an asset of this name, or what an earlier run left of it.
    pub(super) async fn check(&self, overwrite: bool, noted: &Mutex<Notes>) -> Result<(), Failure> {
        let blob = self.archive.blob().await?;
        let blob = self.blob.get_or_init(|| blob);
        let Some((_, assets)) = self.release.before().await? else { return Ok(()) };
        for asset in assets {
            if is_named(asset, &self.archive.name) {
                if self.release.holds(asset, blob).await? {
                    self.keep(asset.clone());
                    lock(noted).state = Some(State::AlreadyThere);
                } else if overwrite || asset.state != "uploaded" {
                    self.replaced.lock().unwrap_or_else(PoisonError::into_inner).push(asset.clone());
                } else {
                    return Err(self.conflict(asset));
                }
            } else if is_named(asset, &self.part(blob)) && self.release.holds(asset, blob).await? {
                self.keep(asset.clone());
            } else if asset.name.starts_with(PART) && asset.name.ends_with(&format!("-{}", self.archive.name)) {
                // What a run of another content left.
                self.replaced.lock().unwrap_or_else(PoisonError::into_inner).push(asset.clone());
            }
        }
        Ok(())
    }

    /// Uploads the archive under its temporary name.
    pub(super) async fn upload(&self, id: &str, ui: &Ui) -> Result<(), Failure> {
        let Some(blob) = self.blob.get().filter(|_| self.asset().is_none()) else { return Ok(()) };
        let place = self.release.place().await?;
        let step = ui.step(id, "push");
        match self.bring(place, blob).await {
            Ok(asset) => {
                let size = indicatif::HumanBytes(blob.size);
                step.done(&format!("{size} to the release {} of {}", self.release.tag, self.release.repository));
                self.keep(asset);
                Ok(())
            }
            Err(error) => {
                step.failed(&error.to_string());
                Err(error.into())
            }
        }
    }

    async fn bring(&self, place: &Place, blob: &BlobFile) -> Result<Asset, Error> {
        let part = self.part(blob);
        let what = format!("uploading `{}` to the release `{}`", self.archive.name, self.release.tag);
        let mut url = place.upload.clone();
        url.query_pairs_mut().append_pair("name", &part);
        let mut attempts = self.release.forge.attempts();
        let mut in_the_way = false;
        loop {
            let error = match self.release.forge.make::<Asset>(&what, Method::POST, &url, &Sent::File(blob)).await {
                Ok(asset) if self.release.holds(&asset, blob).await? => return Ok(asset),
                Ok(asset) => {
                    self.release.delete(&asset).await?;
                    let found = asset.digest.unwrap_or_else(|| format!("{} bytes", asset.size));
                    return Err(Error::Differs { what, expected: blob.digest.clone(), found });
                }
                Err(error) => error,
            };
            // Only the answer may be lost; and what is left of an upload that broke off keeps the name from the next.
            let assets = self.release.assets(place).await?;
            match assets.iter().find(|asset| is_named(asset, &part)) {
                Some(left) if self.release.holds(left, blob).await? => return Ok(left.clone()),
                Some(left) => {
                    self.release.delete(left).await?;
                    if !in_the_way {
                        in_the_way = true;
                        continue;
                    }
                }
                None => {}
            }
            attempts.wait_after(error).await?;
        }
    }

    /// Gives the asset its own name.
    pub(super) async fn rename(&self, overwrite: bool, noted: &Mutex<Notes>) -> Result<(), Failure> {
        let (Some(asset), Some(blob)) = (self.asset(), self.blob.get()) else { return Ok(()) };
        if lock(noted).state.is_some() {
            return Ok(());
        }
        let replaced = std::mem::take(&mut *self.replaced.lock().unwrap_or_else(PoisonError::into_inner));
        // GitHub has no way to put one asset in the place of another: for a moment there is none.
        for old in &replaced {
            self.release.delete(old).await?;
        }
        let what = format!("naming the asset `{}` of the release `{}`", self.archive.name, self.release.tag);
        let url = self.release.url(&["releases", "assets", &asset.id.to_string()]);
        let sent = json!({ "name": self.archive.name });
        let mut taken = true;
        let renamed = loop {
            match self.release.forge.change::<Asset>(&what, Method::PATCH, &url, &Sent::Json(&sent)).await {
                Ok(renamed) => break renamed.ok_or_else(|| gone(&what))?,
                // Another run was faster.
                Err(Error::Refused { status, .. }) if status.as_u16() == 422 && std::mem::take(&mut taken) => {
                    let assets = self.release.assets(self.release.place().await?).await?;
                    let Some(other) = assets.into_iter().find(|asset| is_named(asset, &self.archive.name)) else {
                        continue;
                    };
                    if self.release.holds(&other, blob).await? {
                        self.release.delete(&asset).await?;
                        self.keep(other);
                        lock(noted).state = Some(State::AlreadyThere);
                        return Ok(());
                    }
                    if !overwrite {
                        return Err(self.conflict(&other));
                    }
                    self.release.delete(&other).await?;
                }
                Err(error) => return Err(error.into()),
            }
        };
        self.keep(renamed);
        lock(noted).state = Some(State::New);
        Ok(())
    }

    /// Where the archive can be downloaded.
    pub(super) fn download(&self, release: Option<&Release>) -> Option<String> {
        let asset = self.asset()?;
        // The URLs of a draft end with it.
        let published = release.and_then(|release| release.assets.iter().find(|other| other.id == asset.id));
        Some(published.unwrap_or(&asset).browser_download_url.to_string())
    }

    /// Whether the release holds the archive, under whichever name.
    pub(super) fn is_up(&self) -> bool {
        self.asset().is_some()
    }

    fn asset(&self) -> Option<Asset> {
        self.asset.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, asset: Asset) {
        *self.asset.lock().unwrap_or_else(PoisonError::into_inner) = Some(asset);
    }

    /// The temporary name.
    fn part(&self, blob: &BlobFile) -> String {
        format!("{PART}{}-{}", &blob.digest.hex()[..12], self.archive.name)
    }

    fn conflict(&self, asset: &Asset) -> Failure {
        let ours = self.blob.get().map_or_else(String::new, |blob| blob.digest.to_string());
        Failure {
            code: "file-exists",
            message: format!(
                "the release `{}` of `{}` has `{}` with the digest `{}`, and this run made `{ours}`",
                self.release.tag,
                self.release.repository,
                asset.name,
                asset.digest.as_deref().unwrap_or("unknown"),
            ),
            help: Some("raise the plugin's version; or set `overwrite = true` in the channel".to_owned()),
        }
    }
}

/// Whether this is the name that GitHub gives to a file with this name: it puts a dot in the place of characters that
/// it does not like.
fn is_named(asset: &Asset, name: &str) -> bool {
    let legal = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    let same =
        |(one, other): (char, char)| one == other || (!legal(one) || !legal(other)) && (one == '.' || other == '.');
    asset.name.chars().count() == name.chars().count() && asset.name.chars().zip(name.chars()).all(same)
}
