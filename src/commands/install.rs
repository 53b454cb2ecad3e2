//! `rhdh-pack install`: a local `dynamic-plugins-root`, as RHDH's init container would leave it.

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use super::verify::{Looker, print, show};
use super::{Error, Request};
use crate::document;
use crate::install::lock::Lock;
use crate::install::{Entry, app_config, install};
use crate::package::Release;
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
    let mut entries: Vec<Entry> = Vec::new();
    let mut configs = Vec::new();
    let mut code = 0;
    for text in &what {
        let opened = looker.open(text).await?;
        let mut verified = verify(text, &opened, &looker.without_loading(), cancel).await;
        looker.allow(&opened, &mut verified);
        if verified.iter().any(Verified::is_bad) {
            verified.iter().for_each(|verified| show(verified, &looker.releases, false, ui));
            ui.failure(text, "not installed: RHDH's installer would not take it", None, None);
            code = 1;
            continue;
        }
        for installed in install(&asked.root, &opened, &verified)? {
            let folder = asked.root.join(&installed.dir);
            let done = match installed.files {
                Some(files) => format!("{files} files in {}", folder.display()),
                None => format!("stands in {} already", folder.display()),
            };
            ui.note(&format!("{} {}: {done}", installed.name, installed.version));
            for removed in &installed.removed {
                ui.note(&format!("  removed {removed}, another version of the same plugin"));
            }
            configs.extend(looker.app_config(&installed.name)?.map(|config| (installed.name.clone(), config)));
            entries.push(installed.entry);
        }
    }
    if entries.is_empty() && code == 0 {
        ui.warn("there is no plugin in it: nothing was installed");
        code = 1;
    }
    if !entries.is_empty() {
        app_config::write(&asked.root, &configs).map_err(crate::install::Error::from)?;
        ui.note(&format!("start RHDH with `--config {}`, too", asked.root.join(app_config::APP_CONFIG).display()));
    }
    let plugins = std::collections::BTreeMap::from([("plugins", &entries)]);
    print(&serde_yaml::to_string(&plugins)?)?;
    Ok(code)
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
