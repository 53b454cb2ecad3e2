//! `rhdh-pack inspect`: what a published image is, and what is attached to it.

use tokio_util::sync::CancellationToken;

use super::verify::{Looker, print, print_json};
use super::{Error, Request};
use crate::artifact::Opener;
use crate::config::Attachment;
use crate::document;
use crate::inspect::{Inspection, Report, SCHEMA_VERSION};
use crate::ui::Ui;

/// What to look at, and how to print it.
#[derive(Clone, Debug)]
pub struct InspectOptions {
    /// Reference, layout or output folder.
    pub what: String,
    /// What goes to stdout.
    pub output: InspectOutput,
}

/// What `inspect` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InspectOutput {
    /// Text for people.
    Text,
    /// One document with all that is known.
    Json,
    /// An attached document itself, byte for byte.
    Document(Attachment),
}

/// Prints what is at a place. That something is missing there is no failure, unless it is what was asked for.
pub(super) async fn command(
    request: &Request,
    asked: &InspectOptions,
    ui: &Ui,
    cancel: &CancellationToken,
) -> Result<u8, Error> {
    let looker = Looker::new(request, &[], ui, cancel)?;
    let opener = Opener { config: looker.config.as_ref(), releases: &looker.releases, ui, cancel };
    let images = opener.describe(&asked.what).await?;
    let inspections: Vec<Inspection> = images.iter().map(Inspection::of).collect();
    match asked.output {
        InspectOutput::Text => {
            let texts: Vec<String> = inspections.iter().map(Inspection::text).collect();
            print(&texts.join("\n"))?;
        }
        InspectOutput::Json => print_json(&Report { schema_version: SCHEMA_VERSION, images: &inspections })?,
        InspectOutput::Document(kind) => {
            let [only] = inspections.as_slice() else {
                return Err(Error::SeveralImages { what: asked.what.clone(), count: inspections.len() });
            };
            let bytes = only.document(kind).ok_or_else(|| Error::NotAttached { what: asked.what.clone(), kind })?;
            document::print(bytes)?;
        }
    }
    Ok(0)
}
