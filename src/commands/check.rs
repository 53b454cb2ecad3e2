//! `rhdh-pack check`: the configuration and the plugins it names, and nothing else.

use super::Error;
use super::session::Session;
use crate::rhdh;

/// The session is open, so everything is right: says what there is.
pub(super) fn command(session: &Session) -> Result<u8, Error> {
    let project = &session.project;
    session.ui.note(&format!(
        "{} is right: {}, {}, {}",
        project.config.file.display(),
        count(project.plugins.len(), "plugin"),
        count(project.bundles.len(), "bundle"),
        count(project.workspaces.by_path.len(), "yarn workspace"),
    ));
    let wanted = &project.config.rhdh.version;
    if rhdh::release(wanted).is_none() {
        let known: Vec<&str> = rhdh::releases().collect();
        session.ui.warn(&format!(
            "RHDH {wanted} is none that this rhdh-pack knows ({}): is `version` of `[rhdh]` right?",
            known.join(", ")
        ));
    }
    Ok(0)
}

/// `1 plugin`, `2 plugins`.
pub(super) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
