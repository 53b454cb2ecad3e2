//! `rhdh-pack import`: a configuration from what other tools have written.

use std::path::{Path, PathBuf};

use super::{Error, Request, init};
use crate::config::FILE_NAME;
use crate::draft;
use crate::draft::remote::Remote;
use crate::import;
use crate::ui::Ui;

/// The list that is taken where none is named.
const LIST: &str = "plugins-list.yaml";

/// Writes the configuration, and says what was left behind.
pub(super) fn command(request: &Request, list: Option<&Path>, ui: &Ui) -> Result<u8, Error> {
    let file = request.config.clone().unwrap_or_else(|| PathBuf::from(FILE_NAME));
    let root = init::root_of(&file)?;
    init::refuse_existing(&file)?;
    let default = root.join(LIST);
    let list = list.map(Path::to_owned).or_else(|| default.is_file().then_some(default));
    let found = draft::find(&root);
    let mut imported = import::import(&root, list.as_deref(), &found)?;
    for what in &imported.left_behind {
        ui.warn(&format!("not carried over: {what}"));
    }
    if imported.draft.plugins.is_empty() {
        return Err(Error::Init(init::no_plugins(&root, &found)));
    }
    let remote = Remote::of(&root);
    let draft = &mut imported.draft;
    if draft.rhdh.is_empty() {
        draft.rhdh = init::release_for(&found, ui).to_owned();
    }
    draft.registry = remote.registry();
    draft.branch = remote.branch;
    init::write(&file, draft, ui)?;
    Ok(0)
}
