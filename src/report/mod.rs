//! What a run did, for people and for the next job: the result document comes in; the table, the summary and
//! `dynamic-plugins.yaml` go out.

pub mod comment;
pub mod dynamic_plugins;
pub mod github;
pub mod gitlab;
pub(crate) mod markdown;
pub mod merge;
pub mod outputs;
pub mod result;
pub mod summary;
pub mod table;

pub use result::{ArtifactResult, Failure, Outcome, RunResult, State, Timings};

/// What `rhdh-pack report` prints on stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// `result.json`
    Json,
    /// `dynamic-plugins.yaml`
    Yaml,
    /// `summary.md`
    Markdown,
}
