//! `rhdh-pack report --merge`: one output folder from those that the legs of a job matrix left.

use std::path::PathBuf;

use super::Error;
use super::session::Session;
use crate::document;
use crate::package::{self, Allowance};
use crate::report::result::SCHEMA_VERSION;
use crate::report::{RunResult, merge};

/// Reads what each leg says that it did, and brings the images and archives that it made into this output folder.
pub(super) fn merge(session: &Session, legs: &[PathBuf]) -> Result<RunResult, Error> {
    let mut results = Vec::new();
    let mut missing = None;
    for leg in legs {
        match document::read::<RunResult>(&leg.join("result.json"), SCHEMA_VERSION, "package") {
            // Its machine was lost, or it failed before there was anything: what it was to build is built by no leg.
            Err(error @ document::Error::Missing { .. }) => {
                session.ui.warn(&format!("the leg in `{}` left no `result.json`: it counts as not run", leg.display()));
                missing = Some(error);
            }
            read => results.push((leg, read?)),
        }
    }
    if let Some(error) = missing.filter(|_| results.is_empty()) {
        return Err(error.into());
    }
    for (leg, result) in &results {
        let mut images = Vec::new();
        for artifact in result.artifacts() {
            if let Some(image) = &artifact.image {
                images.push((image, Allowance::of(session.declared(artifact)?.allow)));
            }
        }
        let sboms: Vec<_> = result.artifacts().filter_map(|artifact| artifact.sbom.as_ref()).collect();
        let archives: Vec<_> = result.artifacts().filter_map(|artifact| artifact.tgz.as_ref()).collect();
        package::collect(leg, &session.out, &images, &sboms, &archives, &session.project.config.rhdh.version)?;
    }
    Ok(merge::merge(results.into_iter().map(|(_, result)| result).collect())?)
}
