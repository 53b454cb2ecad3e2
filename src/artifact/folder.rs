//! `dist-dynamic` folders: packaged as a run would package them, so that what is looked at is what RHDH would get.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::{Error, Opened, Opener};
use crate::package::{self, Allowance, ArtifactRequest, DEFAULT_LEVEL, Member, Rule};
use crate::ui::{Ui, Verbosity};

/// Packages the plugin in `folder`, as an image and as an archive.
pub(super) fn package(opener: &Opener<'_>, folder: &Path) -> Result<Opened, Error> {
    let temporary =
        tempfile::Builder::new().prefix("rhdh-pack-").tempdir().map_err(Error::io(&std::env::temp_dir()))?;
    let manifest = folder.join("package.json");
    let manifest = fs_err::read(&manifest).map_err(Error::io(&manifest))?;
    let manifest: Value = serde_json::from_slice(&manifest).unwrap_or_default();
    let text = |key: &str| manifest.get(key).and_then(Value::as_str).unwrap_or_default();
    let main = text("main");
    if main.ends_with(".ts") || main.ends_with(".tsx") {
        return Err(Error::Sources { folder: folder.to_owned(), main: main.to_owned() });
    }
    let name = text("name");
    let image = name.strip_suffix("-dynamic").unwrap_or(name).trim_start_matches('@').replace('/', "-");
    let artifact = ArtifactRequest {
        id: folder.display().to_string(),
        image: image.clone(),
        version: text("version").to_owned(),
        members: vec![Member { plugin: name.to_owned(), dir: image, dist_dynamic: folder.to_owned() }],
        labels: Default::default(),
        annotations: Default::default(),
        artifact_type: None,
        level: DEFAULT_LEVEL,
        image_wanted: true,
        tgz: true,
        // What breaks a rule is to be looked at, too: the finished bytes are held against the rules once more.
        allow: Rule::ALL.iter().map(|rule| Allowance { rule: *rule, reason: String::new() }).collect(),
    };
    let request = package::Request {
        output: temporary.path().to_owned(),
        artifacts: vec![artifact],
        rhdh: opener.releases.iter().map(ToString::to_string).collect(),
        threads: 0,
        blocks: Arc::default(),
        time: package::source_date_epoch()?,
    };
    let quiet = Ui::new(Verbosity::Quiet);
    let packaged = package::package(&request, &quiet, opener.cancel)?;
    let failure = packaged.into_iter().find_map(|packaged| packaged.outcome.err());
    let mut opened = if failure.is_some() { Opened::default() } else { opener.output(temporary.path())? };
    (opened.failure, opened.temporary) = (failure, Some(temporary));
    Ok(opened)
}
