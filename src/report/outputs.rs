//! What a run hands to the next step or job: names and values, made from the plan and the result. GitHub takes them as
//! outputs of the step, GitLab as variables of a dotenv report.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::{ArtifactResult, RunResult, State};
use crate::plan::{Action, Plan};

/// A larger document is handed over as its path only, in bytes.
const MAX_DOCUMENT: usize = 512 << 10;

/// One output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its name: lower-case letters and `-`.
    pub name: &'static str,
    /// Its value; lists have one entry a line.
    pub value: String,
}

fn output(name: &'static str, value: impl Into<String>) -> Output {
    Output { name, value: value.into() }
}

/// What is known once there is a plan. `matrix` is the job matrix as one line of JSON, `out` the output folder.
#[must_use]
pub fn of_plan(plan: &Plan, matrix: String, out: &Path) -> Vec<Output> {
    let plugins = plan.plugins.iter().map(|plugin| plugin.action);
    let [changed, count] = changes(plugins.chain(plan.bundles.iter().map(|bundle| bundle.action)));
    let text = whole_or_path(serde_json::to_string(plan).unwrap_or_default(), out, "plan.json");
    vec![changed, count, output("plan", text), output("matrix", matrix)]
}

/// Whether anything is to be done, and for how many plugins and bundles something is to be built or copied.
fn changes(actions: impl Iterator<Item = Action>) -> [Output; 2] {
    let mut changed = false;
    let mut count = 0;
    for action in actions {
        changed |= action != Action::Skip;
        count += usize::from(matches!(action, Action::Build | Action::Copy));
    }
    [output("changed", changed.to_string()), output("count", count.to_string())]
}

/// What is known once there is a result; `out` is the output folder.
#[must_use]
pub fn of_result(result: &RunResult, out: &Path) -> Vec<Output> {
    let file = |name: &str| out.join(name).display().to_string();
    let lines = |lines: Vec<String>| lines.join("\n");
    let references = result.artifacts().flat_map(ArtifactResult::published_images);
    let references = references.map(|image| image.reference.clone());
    let failed = result.artifacts().filter(|artifact| artifact.state == State::Failed).map(ArtifactResult::label);
    let text = serde_json::to_string(result).unwrap_or_default();
    let [changed, count] = changes(result.artifacts().map(|artifact| artifact.action));
    vec![
        changed,
        count,
        output("published", lines(references.collect())),
        output("failed", lines(failed.collect())),
        output("digests", by_id(result, |artifact| Some(artifact.image.as_ref()?.digest.as_str()))),
        output("integrity", by_id(result, |artifact| Some(artifact.tgz.as_ref()?.integrity.as_str()))),
        output("result", whole_or_path(text, out, "result.json")),
        output("result-file", file("result.json")),
        output("dynamic-plugins-file", file("dynamic-plugins.yaml")),
        output("subjects-file", file("subjects.txt")),
    ]
}

fn whole_or_path(text: String, out: &Path, file: &str) -> String {
    if text.len() > MAX_DOCUMENT { out.join(file).display().to_string() } else { text }
}

/// A JSON object with what `value` gives for each plugin and bundle, by id; for a bundle that has a plugin's id, by
/// label.
fn by_id<'a>(result: &'a RunResult, value: impl Fn(&'a ArtifactResult) -> Option<&'a str>) -> String {
    let key = |artifact: &ArtifactResult| {
        let is_shared = artifact.is_bundle() && result.plugins.iter().any(|plugin| plugin.id == artifact.id);
        if is_shared { artifact.label() } else { artifact.id.clone() }
    };
    let entries = result.artifacts().filter_map(|artifact| Some((key(artifact), Value::from(value(artifact)?))));
    Value::Object(entries.collect::<Map<_, _>>()).to_string()
}

/// `subjects.txt`: the list of checksums and names that `actions/attest` takes. Images by the names that they have in
/// their registries, archives by the names of their files.
#[must_use]
pub fn subjects(result: &RunResult) -> String {
    let mut lines = Vec::new();
    for artifact in result.artifacts() {
        for image in artifact.published_images() {
            let name = image.reference.split_once('@').map_or(image.reference.as_str(), |(name, _)| name);
            lines.push(format!("{}  {name}\n", image.digest.hex()));
        }
        if artifact.images.is_empty()
            && let Some(image) = &artifact.image
        {
            lines.push(format!("{}  {}\n", image.digest.hex(), image.name));
        }
        if let Some(tgz) = &artifact.tgz
            && let Some(sha512) = tgz.integrity.as_str().strip_prefix("sha512-")
            && let (Ok(bytes), Some(name)) = (STANDARD.decode(sha512), tgz.file.file_name())
        {
            lines.push(format!("{}  {}\n", hex::encode(bytes), name.to_string_lossy()));
        }
    }
    lines.dedup();
    lines.concat()
}
