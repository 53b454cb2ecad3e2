//! What a run did, for people and for the next job: the result document comes in; the table, the summary and
//! `dynamic-plugins.yaml` go out.

pub mod dynamic_plugins;
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

/// `bytes` as people read it: `812 B`, `1.2 kB`, `24.1 MB`.
#[must_use]
pub fn human_size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    // Sizes of artifacts are far below 2^53, where f64 is exact.
    #[allow(clippy::cast_precision_loss)]
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_readable() {
        for (bytes, text) in
            [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (999_960, "1.0 MB"), (24_100_000, "24.1 MB")]
        {
            assert_eq!(human_size(bytes), text);
        }
    }
}
