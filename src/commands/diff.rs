//! `rhdh-pack diff`: what differs between two artifacts.

use tokio_util::sync::CancellationToken;

use super::verify::{Looker, print, print_json};
use super::{Error, Request};
use crate::diff::compare;
use crate::ui::Ui;
use crate::verify::verify;

/// What to compare.
#[derive(Clone, Debug)]
pub struct DiffOptions {
    /// Reference, archive, folder or layout.
    pub before: String,
    /// Reference, archive, folder or layout.
    pub after: String,
    /// JSON instead of text.
    pub json: bool,
}

/// Prints what differs. That something differs is no failure.
pub(super) async fn command(
    request: &Request,
    asked: &DiffOptions,
    ui: &Ui,
    cancel: &CancellationToken,
) -> Result<u8, Error> {
    let looker = Looker::new(request, &[], ui, cancel)?;
    let (before, after) = (looker.open(&asked.before).await?, looker.open(&asked.after).await?);
    let options = looker.without_loading();
    let verified_before = verify(&asked.before, &before, &options, cancel).await;
    let verified_after = verify(&asked.after, &after, &options, cancel).await;
    for verified in verified_before.iter().chain(&verified_after).filter(|verified| verified.plugins.is_empty()) {
        super::verify::show(verified, &looker.releases, false, ui);
    }
    if [&verified_before, &verified_after].iter().any(|all| all.iter().all(|one| one.plugins.is_empty())) {
        ui.warn("there is no plugin in one of the two: nothing was compared");
        return Ok(1);
    }
    let difference = match compare((&before, &verified_before), (&after, &verified_after)) {
        Ok(difference) => difference,
        Err(error) => {
            ui.report(&error);
            return Ok(1);
        }
    };
    if asked.json {
        print_json(&difference)?
    } else {
        print(&difference.text())?
    }
    Ok(0)
}
