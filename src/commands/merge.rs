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
    for leg in legs {
        let result: RunResult = document::read(&leg.join("result.json"), SCHEMA_VERSION, "package")?;
        results.push((leg, result));
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
