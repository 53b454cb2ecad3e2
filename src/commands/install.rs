//! `rhdh-pack install`: a local `dynamic-plugins-root`, as RHDH's init container would leave it.

use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::verify::{Looker, print, show};
use super::{Error, Request};
use crate::artifact::Opened;
use crate::document;
use crate::hidden::shown;
use crate::install::lock::Lock;
use crate::install::{Entry, Installed, app_config, install};
use crate::package::Release;
use crate::push::PublishedImage;
use crate::report::RunResult;
use crate::report::result::SCHEMA_VERSION;
use crate::ui::Ui;
use crate::verify::{Verified, verify};

/// What to install, and where.
#[derive(Clone, Debug)]
pub struct InstallOptions {
    /// The folder that RHDH knows as `dynamic-plugins-root`.
    pub root: PathBuf,
    /// References, archives, folders, layouts; none: what the last run left in the output folder.
    pub what: Vec<String>,
    /// RHDH releases; none: the configuration's, else all known.
    pub rhdh: Vec<Release>,
}

/// Installs everything that is named and that RHDH's installer would take, and prints the entries of
/// `dynamic-plugins.yaml` with which RHDH would install the same.
pub(super) async fn command(
    request: &Request,
    asked: &InstallOptions,
    ui: &Ui,
    cancel: &CancellationToken,
) -> Result<u8, Error> {
    let looker = Looker::new(request, &asked.rhdh, ui, cancel)?;
    let what = if asked.what.is_empty() { vec![output_folder(request, &looker)?] } else { asked.what.clone() };
    let _lock = Lock::take(&asked.root, ui, cancel).await.map_err(crate::install::Error::from)?;
    // With the folder of each.
    let mut entries: Vec<(String, Entry)> = Vec::new();
    let (mut configs, mut installed_any, mut is_bad) = (Vec::new(), false, false);
    let mut failure = None;
    let mut fail = |error: Error| {
        if let Some(earlier) = failure.replace(error) {
            ui.report(&earlier);
        }
    };
    for text in &what {
        let opened = match looker.open(text).await {
            Ok(opened) => published(text, opened),
            Err(error) => {
                fail(error);
                if cancel.is_cancelled() {
                    break;
                }
                continue;
            }
        };
        let mut verified = verify(text, &opened, &looker.without_loading(), cancel).await;
        looker.allow(&opened, &mut verified);
        if verified.iter().any(Verified::is_bad) {
            verified.iter().for_each(|verified| show(verified, &looker.releases, false, ui));
            ui.failure(text, "not installed: RHDH's installer would not take it", None, None);
            is_bad = true;
            continue;
        }
        for outcome in install(&asked.root, &opened, &verified) {
            let installed = match outcome {
                Ok(installed) => installed,
                Err(error @ crate::install::Error::Archive { .. }) => {
                    ui.report(&error);
                    is_bad = true;
                    continue;
                }
                Err(error) => {
                    fail(error.into());
                    continue;
                }
            };
            installed_any = true;
            tell(&installed, &asked.root, ui);
            match looker.app_config(&installed.name) {
                Ok(config) => configs.extend(config.map(|config| (installed.name, config))),
                Err(error) => fail(error),
            }
            entries.retain(|(dir, _)| *dir != installed.dir && !installed.removed.contains(dir));
            entries.extend(installed.entry.map(|entry| (installed.dir, entry)));
        }
    }
    if installed_any {
        match app_config::write(&asked.root, &configs) {
            Ok(()) => {
                let file = asked.root.join(app_config::APP_CONFIG);
                ui.note(&format!("start RHDH with `--config {}`, too", file.display()));
            }
            Err(error) => fail(crate::install::Error::from(error).into()),
        }
    } else if !is_bad && failure.is_none() {
        ui.warn("there is no plugin in it: nothing was installed");
        is_bad = true;
    }
    let entries: Vec<Entry> = entries.into_iter().map(|(_, entry)| entry).collect();
    let plugins = std::collections::BTreeMap::from([("plugins", &entries)]);
    print(&serde_yaml::to_string(&plugins)?)?;
    match failure {
        Some(error) => Err(error),
        None => Ok(u8::from(is_bad)),
    }
}

/// What was opened, with the repositories that its images were pushed to, where it is the output folder of a run.
fn published(text: &str, mut opened: Opened) -> Opened {
    let file = Path::new(text).join("result.json");
    let Ok(result) = document::read::<RunResult>(&file, SCHEMA_VERSION, "run") else { return opened };
    let pushed: Vec<&PublishedImage> = result.artifacts().flat_map(|artifact| &artifact.images).collect();
    for image in opened.images.iter_mut().filter(|image| image.repository.is_none()) {
        let of_it = pushed.iter().find(|pushed| pushed.digest == image.digest);
        image.repository = of_it.and_then(|pushed| Some(pushed.reference.rsplit_once('@')?.0.to_owned()));
    }
    opened
}

/// Says what was done for a plugin.
fn tell(installed: &Installed, root: &Path, ui: &Ui) {
    let folder = root.join(&installed.dir);
    let done = match installed.files {
        Some(files) => format!("{files} files in {}", folder.display()),
        None => format!("stands in {} already", folder.display()),
    };
    ui.note(&format!("{} {}: {done}", shown(&installed.name), shown(&installed.version)));
    for removed in &installed.removed {
        ui.note(&format!("  removed {removed}, another version of the same plugin"));
    }
    if installed.entry.is_none() {
        ui.note("  from an image in no registry: it has an entry for dynamic-plugins.yaml once it is pushed");
    }
}

/// What the last run left.
fn output_folder(request: &Request, looker: &Looker<'_>) -> Result<String, Error> {
    let root = looker.config.as_ref().map(|config| config.root.clone()).unwrap_or_default();
    let out = request.out_dir.clone().unwrap_or_else(|| root.join(".rhdh-pack"));
    if out.is_dir() {
        Ok(out.display().to_string())
    } else {
        Err(document::Error::Missing { path: out, writer: "run" }.into())
    }
}
