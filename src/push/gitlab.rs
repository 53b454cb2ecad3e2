//! One archive on its way to the generic packages of a project on GitLab. They show what they get at once, so it is
//! sent when everything else of the run is up. <https://docs.gitlab.com/user/packages/generic_packages/>

use std::sync::{Arc, Mutex, OnceLock};

use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde_json::Value;

use super::State;
use super::archive::Archive;
use super::image::lock;
use super::notes::{Failure, Notes};
use crate::digest::Digest;
use crate::registry::{BlobFile, Error, Forge, Sent};
use crate::ui::Ui;

/// One archive on its way to a generic package.
pub(super) struct GenericJob {
    pub(super) archive: Archive,
    forge: Arc<Forge>,
    project: String,
    /// The package's name and version, and the archive as it is sent.
    parcel: OnceLock<(String, String, BlobFile)>,
}

#[derive(Deserialize)]
struct Package {
    id: u64,
    name: String,
    version: String,
}

#[derive(Deserialize)]
struct PackageFile {
    id: u64,
    file_name: String,
    #[serde(default)]
    file_sha256: Option<String>,
}

impl GenericJob {
    pub(super) fn new(archive: Archive, forge: Arc<Forge>, project: &str) -> Self {
        Self { archive, forge, project: project.to_owned(), parcel: OnceLock::new() }
    }

    /// Looks whether the package has the file, and whether it is the same.
    pub(super) async fn check(&self, overwrite: bool, noted: &Mutex<Notes>) -> Result<(), Failure> {
        let package = self.archive.package(None)?;
        // GitLab takes letters, digits, `.`, `_`, `-`, `+`, `~`, and `@` and `/` not everywhere.
        let name = package.name.trim_start_matches('@').replace('/', "-");
        let parcel = (name, package.version, self.archive.blob().await?);
        let (.., blob) = self.parcel.get_or_init(|| parcel);
        let Some(found) = self.found().await? else { return Ok(()) };
        if found == blob.digest {
            let mut notes = lock(noted);
            notes.state = Some(State::AlreadyThere);
            notes.url = self.url().map(Into::into);
        } else if !overwrite {
            return Err(self.conflict(&found));
        }
        Ok(())
    }

    /// Sends the file.
    pub(super) async fn publish(
        &self,
        id: &str,
        overwrite: bool,
        ui: &Ui,
        noted: &Mutex<Notes>,
    ) -> Result<(), Failure> {
        let (Some((name, version, blob)), Some(url)) = (self.parcel.get(), self.url()) else { return Ok(()) };
        if lock(noted).state.is_some() {
            return Ok(());
        }
        let step = ui.step(id, "push");
        let what = format!("uploading `{}` to the package `{name}` of `{}`", self.archive.name, self.project);
        let mut attempts = self.forge.attempts();
        // GitLab keeps every file that it gets under a name: look before sending it again, and after.
        loop {
            if !overwrite && let Some(other) = self.found().await?.filter(|found| *found != blob.digest) {
                return Err(self.conflict(&other));
            }
            let sent = self.forge.make::<Value>(&what, Method::PUT, &url, &Sent::File(blob)).await;
            match self.found().await? {
                Some(found) if found == blob.digest => break,
                found => {
                    let (what, digest) = (what.clone(), blob.digest.clone());
                    let wrong = match found {
                        Some(found) => Error::Differs { what, expected: digest, found: found.to_string() },
                        None => Error::Lost { what, digest },
                    };
                    if let Err(error) = attempts.wait_after(sent.err().unwrap_or(wrong)).await {
                        step.failed(&error.to_string());
                        return Err(error.into());
                    }
                }
            }
        }
        let size = indicatif::HumanBytes(blob.size);
        step.done(&format!("{size} to the package {name} {version} of {}", self.project));
        let mut notes = lock(noted);
        notes.state = Some(State::New);
        notes.url = Some(url.into());
        Ok(())
    }

    /// The digest of the file that is downloaded by our name: of several, the last.
    async fn found(&self) -> Result<Option<Digest>, Error> {
        let Some((name, version, blob)) = self.parcel.get() else { return Ok(None) };
        let what = format!("looking for the package `{name}` {version} of `{}`", self.project);
        let packages = ["projects", &self.project, "packages"];
        let mut url = self.forge.url(&packages);
        url.query_pairs_mut()
            .append_pair("package_type", "generic")
            .append_pair("package_name", name)
            .append_pair("package_version", version);
        // No list at all: a project that is not there, or that the token may not see.
        let mut all: Result<Vec<Package>, Error> = self.forge.list(&what, &url).await;
        if let Err(Error::Refused { status: StatusCode::NOT_FOUND, help, .. }) = &mut all {
            *help = Some("correct `gitlab-packages = \"group/project\"`, or use a token that may see the project");
        }
        let mut last: Option<PackageFile> = None;
        // Names are found by their parts.
        for package in all?.iter().filter(|package| package.name == *name && package.version == *version) {
            let url = self.forge.url(&[&packages[..], &[&package.id.to_string(), "package_files"]].concat());
            let files: Vec<PackageFile> = match self.forge.list(&what, &url).await {
                Err(error) if error.is_missing() => continue,
                files => files?,
            };
            let own = files.into_iter().filter(|file| file.file_name == self.archive.name);
            last = own.chain(last).max_by_key(|file| file.id);
        }
        let Some(file) = last else { return Ok(None) };
        match (file.file_sha256.and_then(|sha256| format!("sha256:{sha256}").parse().ok()), self.url()) {
            (Some(digest), _) => Ok(Some(digest)),
            (None, Some(url)) => self.forge.digest_of(&what, &url, blob.size.saturating_mul(2)).await.map(Some),
            (None, None) => Ok(None),
        }
    }

    /// Where the file is sent to and found.
    fn url(&self) -> Option<Url> {
        let (name, version, _) = self.parcel.get()?;
        Some(self.forge.url(&["projects", &self.project, "packages", "generic", name, version, &self.archive.name]))
    }

    fn conflict(&self, found: &Digest) -> Failure {
        let ours = self.parcel.get().map_or_else(String::new, |(.., blob)| blob.digest.to_string());
        Failure {
            code: "file-exists",
            message: format!(
                "the packages of `{}` have `{}` with the digest `{found}`, and this run made `{ours}`",
                self.project, self.archive.name
            ),
            help: Some("raise the plugin's version; or set `overwrite = true` in the channel".to_owned()),
        }
    }
}
