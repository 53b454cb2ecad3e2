//! One archive on its way to a folder of the repository, from where it is served over HTTP.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::archive::{self, Archive, integrity_of};
use super::image::lock;
use super::job::Job;
use super::layout;
use super::notes::{Failure, Notes};
use super::{Request, State};
use crate::digest::Integrity;
use crate::repo_path::{RepoPath, RepoPathError};

/// The listing of a folder: what can be downloaded from it.
const LISTING: &str = "plugins.json";

/// One archive on its way to a folder.
pub(super) struct FileJob {
    root: PathBuf,
    folder: RepoPath,
    pub(super) archive: Archive,
    pub(super) url: Option<String>,
    /// The archive under its temporary name, between upload and renaming.
    waiting: Mutex<Option<NamedTempFile>>,
}

/// `plugins.json`.
#[derive(Serialize, Deserialize)]
struct Listing {
    plugins: Vec<Listed>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Listed {
    id: String,
    file: String,
    integrity: Integrity,
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

impl FileJob {
    pub(super) fn new(request: &Request, folder: &RepoPath, base_url: Option<&str>, archive: Archive) -> Self {
        Self {
            root: request.root.clone(),
            folder: folder.clone(),
            url: base_url.map(|base| format!("{}/{}", base.trim_end_matches('/'), archive.name)),
            archive,
            waiting: Mutex::default(),
        }
    }

    /// The file, relative to the repository.
    pub(super) fn path(&self) -> String {
        if self.folder.is_root() { self.archive.name.clone() } else { format!("{}/{}", self.folder, self.archive.name) }
    }

    pub(super) async fn check(&self, overwrite: bool, noted: &Mutex<Notes>) -> Result<(), Failure> {
        let folder = self.located()?;
        let there = folder.join(&self.archive.name);
        let integrity = match layout::open(&there) {
            Ok(file) => integrity_of(file, |_| Ok(())).await.map_err(|error| self.failed("reading", &error))?.0,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.failed("reading", &error)),
        };
        if integrity == self.archive.integrity {
            lock(noted).state = Some(State::AlreadyThere);
        } else if !overwrite {
            return Err(Failure {
                code: "file-exists",
                message: format!(
                    "`{}` has the integrity `{integrity}`, and this run made `{}`",
                    self.path(),
                    self.archive.integrity
                ),
                help: Some("raise the plugin's version; or set `overwrite = true` in the channel".to_owned()),
            });
        }
        Ok(())
    }

    /// Copies the archive to a temporary name beside its place.
    pub(super) async fn upload(&self, noted: &Mutex<Notes>) -> Result<(), Failure> {
        if lock(noted).state.is_some() {
            return Ok(());
        }
        let folder = self.located()?;
        let failed = |error: std::io::Error| self.failed("copying", &error);
        let mut copy = tempfile::Builder::new().prefix(".rhdh-pack-").tempfile_in(folder).map_err(failed)?;
        let mut unwritten = None;
        let write =
            |piece: &[u8]| copy.write_all(piece).inspect_err(|error| unwritten = Some(self.failed("copying", error)));
        let read = self.archive.read(write).await;
        unwritten.map_or(read, Err)?;
        *self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(copy);
        Ok(())
    }

    /// Gives the archive its name, then its `.integrity`.
    pub(super) async fn rename(&self, noted: &Mutex<Notes>) -> Result<(), Failure> {
        let folder = self.located()?;
        let waiting = self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(copy) = waiting {
            persist(copy, &folder.join(&self.archive.name)).map_err(|error| self.failed("writing", &error))?;
            lock(noted).state = Some(State::New);
        }
        let integrity = format!("{}\n", self.archive.integrity);
        write(&folder, &format!("{}.integrity", self.archive.name), integrity.as_bytes())
            .map_err(|error| self.failed("writing", &error))
    }

    /// The folder on disk, made where it is not there. No link on the way may lead out of the repository.
    fn located(&self) -> Result<PathBuf, Failure> {
        let refused = |error: RepoPathError| Failure {
            code: "folder",
            message: format!("writing to the folder `{}`: {error}", self.folder),
            help: Some("correct `dir` of the registry: a folder in the repository".to_owned()),
        };
        let mut nearest = self.folder.clone();
        while !nearest.under(&self.root).exists()
            && let Some(parent) = nearest.parent()
        {
            nearest = parent;
        }
        nearest.locate(&self.root).map_err(refused)?;
        fs_err::create_dir_all(self.folder.under(&self.root))
            .map_err(|error| self.failed("making the folder of", &error))?;
        self.folder.locate(&self.root).map_err(refused)
    }

    fn failed(&self, what: &str, error: &std::io::Error) -> Failure {
        Failure { code: "folder", message: format!("{what} `{}`: {error}", self.path()), help: archive::help(error) }
    }
}

/// Writes the listing of each folder that this run brought files to: what it listed before and is still there, and what
/// is new, by file name.
pub(super) async fn list(request: &Request, jobs: &[Job]) {
    let mut folders: BTreeMap<&RepoPath, Vec<(&Job, &FileJob)>> = BTreeMap::new();
    for job in jobs.iter().filter(|job| job.goes_on()) {
        if let Some(file) = job.file() {
            folders.entry(&file.folder).or_default().push((job, file));
        }
    }
    for files in folders.into_values() {
        let new = files.iter().map(|(job, file)| Listed {
            id: request.artifacts[job.artifact].id.clone(),
            file: file.archive.name.clone(),
            integrity: file.archive.integrity.clone(),
            size: file.archive.size,
            url: file.url.clone(),
        });
        let Some((_, first)) = files.first() else { continue };
        let outcome = first.located().and_then(|folder| {
            update(&folder, new.collect()).map_err(|error| Failure {
                code: "folder",
                message: format!("writing `{LISTING}` beside `{}`: {error}", first.path()),
                help: archive::help(&error),
            })
        });
        if let Err(failure) = outcome {
            for (job, _) in &files {
                job.fail(Failure { code: failure.code, message: failure.message.clone(), help: failure.help.clone() });
            }
        }
    }
}

fn update(folder: &Path, new: Vec<Listed>) -> std::io::Result<()> {
    // A listing that cannot be read is of no use to anybody, and is made anew.
    let old = fs_err::read(folder.join(LISTING)).ok().and_then(|text| serde_json::from_slice::<Listing>(&text).ok());
    let mut by_file: BTreeMap<String, Listed> = old
        .into_iter()
        .flat_map(|listing| listing.plugins)
        .filter(|listed| !listed.file.contains('/') && folder.join(&listed.file).is_file())
        .map(|listed| (listed.file.clone(), listed))
        .collect();
    by_file.extend(new.into_iter().map(|listed| (listed.file.clone(), listed)));
    let listing = Listing { plugins: by_file.into_values().collect() };
    let mut text = serde_json::to_vec_pretty(&listing)?;
    text.push(b'\n');
    write(folder, LISTING, &text)
}

/// Writes a file under another name, then gives it its own.
fn write(folder: &Path, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(".rhdh-pack-").tempfile_in(folder)?;
    file.write_all(bytes)?;
    persist(file, &folder.join(name))
}

fn persist(file: NamedTempFile, path: &Path) -> std::io::Result<()> {
    // Temporary files are their owner's alone; these are for a web server.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(mode)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
