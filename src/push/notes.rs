//! What has been done of one job, and why it does not go on.

use std::collections::BTreeMap;

use super::attach::Attached;
use super::{PushFailure, State};
use crate::digest::Digest;
use crate::registry::{self, Referrer};
use crate::ui::with_causes;

/// What has been done.
#[derive(Default)]
pub(super) struct Notes {
    /// Whether the image is up by digest, or the file is there.
    pub(super) state: Option<State>,
    /// Whether everything that was to be done is done.
    pub(super) done: bool,
    /// Where a file can be downloaded, where the registry says so.
    pub(super) url: Option<String>,
    /// Tags that are as they should be.
    pub(super) tags: Vec<String>,
    /// Those of them that this run moved, and where they pointed before.
    pub(super) moved: Vec<(String, Option<Digest>)>,
    /// Where tags point that are to be moved.
    pub(super) before: BTreeMap<String, Digest>,
    /// Documents that are attached to the image.
    pub(super) attached: Vec<Attached>,
    /// Those of them that this run entered in the list that clients keep.
    pub(super) listed: Vec<Referrer>,
    /// Whether the image is signed.
    pub(super) signed: bool,
    /// The tag that is being moved: nobody knows whether it is, should the run end now.
    pub(super) moving: Option<String>,
    /// Why the job does not go on.
    pub(super) failure: Option<PushFailure>,
    /// Time that was worked on it.
    pub(super) seconds: f64,
}

/// Why a job does not go on.
#[derive(Clone)]
pub(super) struct Failure {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Failure {
    /// Any error with its causes on one line.
    pub(super) fn of(code: &'static str, error: &(impl miette::Diagnostic + 'static)) -> Self {
        Self { code, message: with_causes(error), help: error.help().map(|help| help.to_string()) }
    }
}

impl From<registry::Error> for Failure {
    fn from(error: registry::Error) -> Self {
        Self::of(error.code(), &error)
    }
}
