//! The result for people, in markdown: the job summary, and the comment of a pull request, which says the same in fewer
//! words. Text of the repository is shown as it is and never becomes markup.

use super::markdown::{code, escape, fenced, folded, marker, prose};
use super::{ArtifactResult, Outcome, RunResult, State, dynamic_plugins};
use crate::plan::{Action, short};
use crate::push::PublishedImage;
use crate::ui::human_size;

/// GitHub takes 65,536 characters in a comment, GitLab a million; the rest is left for what they add.
pub const COMMENT_LIMIT: usize = 60_000;

/// GitHub takes 1 MiB of job summary from a step, and shows nothing of a longer one.
pub const SUMMARY_LIMIT: usize = (1 << 20) - 1024;

/// How much of each thing is shown.
#[derive(Clone, Copy, Debug)]
struct Detail {
    /// Bytes of the whole text.
    limit: usize,
    /// Lines of a failed plugin's log.
    log_lines: usize,
    /// Bytes of one message, help or log.
    text: usize,
    /// Whether warnings and every reason are shown too.
    whole: bool,
}

/// A folded part of the text.
struct Section {
    title: &'static str,
    body: String,
}

/// The job summary.
///
/// # Errors
/// When a plugin's app-config cannot be written as YAML.
pub fn render(result: &RunResult) -> Result<String, serde_yaml::Error> {
    let detail = Detail { limit: SUMMARY_LIMIT, log_lines: 200, text: 64 << 10, whole: true };
    let head = format!("## rhdh-pack: {}\n\n", outcome_line(result));
    compose(result, detail, head, "result.json has all of it")
}

/// The comment of a pull request. `config` is the configuration file, by which the comment is found again; `summary`
/// is where the job summary can be read.
///
/// # Errors
/// When a plugin's app-config cannot be written as YAML.
pub fn comment(result: &RunResult, config: &str, summary: Option<&str>) -> Result<String, serde_yaml::Error> {
    let detail = Detail { limit: COMMENT_LIMIT, log_lines: 20, text: 4 << 10, whole: false };
    let head = format!("{}\n**rhdh-pack:** {}\n\n", marker(config), outcome_line(result));
    let more = match summary {
        Some(url) => format!("[the job summary]({url}) has it"),
        None => "the job's log and `result.json` have it".to_owned(),
    };
    compose(result, detail, head, &more)
}

/// One line of outcome, as plain text.
#[must_use]
pub fn headline(result: &RunResult) -> String {
    let count =
        |accepts: &dyn Fn(&ArtifactResult) -> bool| result.artifacts().filter(|artifact| accepts(artifact)).count();
    let counts = [
        (count(&|artifact| artifact.state == State::Failed), "failed"),
        (count(&|artifact| artifact.state == State::Published), "published"),
        (count(&|artifact| artifact.state == State::Packaged), "packaged"),
        (count(&|artifact| artifact.state == State::Exported), "exported"),
        (count(&|artifact| artifact.state == State::Planned), "not built"),
        (count(&|artifact| artifact.state == State::UpToDate), "up to date"),
        (count(&|artifact| artifact.state == State::Skipped), "unchanged"),
        (count(&|artifact| artifact.state == State::Removed), "removed"),
    ];
    let counts: Vec<String> =
        counts.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{number} {what}")).collect();
    let counts = counts.join(", ");
    match result.outcome {
        Outcome::NothingToDo if counts.is_empty() => "nothing to do".to_owned(),
        Outcome::NothingToDo => format!("nothing to do: {counts}"),
        _ if result.dry_run => format!("{counts} (dry run: nothing was pushed)"),
        _ => counts,
    }
}

fn outcome_line(result: &RunResult) -> String {
    let mark = match result.outcome {
        Outcome::Success => "✅",
        Outcome::Failure => "❌",
        Outcome::NothingToDo => "➖",
    };
    let commit = result.commit.as_deref().map(short);
    let commit = commit.map_or_else(String::new, |commit| format!(", commit {}", code(commit)));
    format!("{mark} {} — channel {}{commit}", headline(result), code(&result.channel))
}

/// Puts the text together. What does not fit is left out, the least important first, and named.
fn compose(result: &RunResult, detail: Detail, head: String, more: &str) -> Result<String, serde_yaml::Error> {
    // Kept for the words about what was left out.
    let mut room = detail.limit.saturating_sub(head.len() + 400);
    let (table, left_out) = table(result, detail, room / 2);
    room = room.saturating_sub(table.len());
    let mut text = head + &table;
    let mut missing: Vec<String> = Vec::new();
    if left_out > 0 {
        missing.push(format!("{left_out} rows of the table"));
    }
    let sections = sections(result, detail)?;
    // The failures stand last and are wanted most.
    let mut kept: Vec<bool> = vec![false; sections.len()];
    for at in (0..sections.len()).rev().filter(|at| sections[*at].title == FAILURES).chain(0..sections.len()) {
        let section = &sections[at];
        if !kept[at] && section.body.len() + section.title.len() + 64 <= room {
            room -= section.body.len() + section.title.len() + 64;
            kept[at] = true;
        }
    }
    for (section, kept) in sections.iter().zip(kept) {
        if kept {
            text.push_str(&folded(section.title, &section.body));
        } else {
            missing.push(section.title.to_lowercase());
        }
    }
    if !missing.is_empty() {
        text.push_str(&format!("Left out, because there is not enough room: {}; {more}.\n", missing.join(", ")));
    }
    Ok(text)
}

/// The table, and how many rows did not fit into `room` bytes.
fn table(result: &RunResult, detail: Detail, room: usize) -> (String, usize) {
    let mut rows = result.artifacts().map(|artifact| row(result, artifact, detail)).collect::<Vec<_>>().into_iter();
    let mut text = String::new();
    if rows.len() > 0 {
        text.push_str("| plugin | why | version | image | size | state |\n| --- | --- | --- | --- | ---: | --- |\n");
    }
    let mut left_out = 0;
    for row in &mut rows {
        if text.len() + row.len() > room {
            left_out += 1;
        } else {
            text.push_str(&row);
        }
    }
    text.push('\n');
    (text, left_out)
}

fn row(result: &RunResult, artifact: &ArtifactResult, detail: Detail) -> String {
    let mut why: Vec<String> = artifact
        .reasons
        .iter()
        .take(if detail.whole { 5 } else { 1 })
        .map(|reason| prose(clip(&reason.text, 300)))
        .collect();
    if artifact.reasons.len() > why.len() {
        why.push(format!("and {} more", artifact.reasons.len() - why.len()));
    }
    let image = match (artifact.images.first(), artifact.would_push.first(), &artifact.image) {
        (Some(image), ..) => match (image.tags.last(), image.reference.split_once('@')) {
            (Some(tag), Some((name, _))) => code(&format!("{name}:{tag}")),
            _ => code(&image.reference),
        },
        (None, Some(reference), _) => code(artifact.would_push.last().unwrap_or(reference)),
        (None, None, Some(image)) => code(&image.name),
        (None, None, None) => artifact.tgz.as_ref().map_or_else(String::new, |_| "tgz only".to_owned()),
    };
    let size = match (&artifact.image, &artifact.tgz) {
        (Some(image), _) => format!("{}{}", human_size(image.size), difference(artifact, image.size)),
        (None, Some(tgz)) => human_size(tgz.size),
        (None, None) => String::new(),
    };
    let state = match artifact.state {
        State::Packaged if result.dry_run && !artifact.would_push.is_empty() => "would be pushed",
        State::UpToDate => "up to date",
        State::Skipped => "unchanged",
        State::Failed => "**failed**",
        state => state.as_str(),
    };
    // On a phone, the state stands outside of what one sees.
    let mark = if artifact.state == State::Failed { "❌ " } else { "" };
    format!(
        "| {mark}{} | {} | {} | {image} | {size} | {state} |\n",
        escape(clip(&artifact.label(), 200)),
        why.join("; "),
        escape(clip(&artifact.version, 100)),
    )
}

/// By how much the image differs from the base channel's.
fn difference(artifact: &ArtifactResult, size: u64) -> String {
    match artifact.base_image.as_ref().map(|base| base.size) {
        None => String::new(),
        Some(base) if base == size => " (±0)".to_owned(),
        Some(base) if base < size => format!(" (+{})", human_size(size - base)),
        Some(base) => format!(" (−{})", human_size(base - size)),
    }
}

const FAILURES: &str = "Failures";

fn sections(result: &RunResult, detail: Detail) -> Result<Vec<Section>, serde_yaml::Error> {
    let mut sections = Vec::new();
    if let Some(body) = digests(result) {
        sections.push(Section { title: "Digests and integrity", body });
    }
    if result.plugins.iter().any(|plugin| plugin.image.is_some() || plugin.tgz.is_some()) {
        let yaml = |text: String| fenced("yaml", &text);
        sections.push(Section { title: "dynamic-plugins.yaml", body: yaml(dynamic_plugins::render(result)?) });
        sections.push(Section { title: "Helm values", body: yaml(dynamic_plugins::helm(result)?) });
        sections.push(Section { title: "Operator ConfigMap", body: yaml(dynamic_plugins::operator(result)?) });
    }
    let failures: String = result.artifacts().filter_map(|artifact| failure(artifact, detail)).collect();
    if !failures.is_empty() {
        sections.push(Section { title: FAILURES, body: failures });
    }
    if detail.whole {
        sections.extend(warnings(result, detail));
    }
    Ok(sections)
}

fn digests(result: &RunResult) -> Option<String> {
    let mut text = String::new();
    for artifact in result.artifacts() {
        let references: Vec<(String, String)> = match (artifact.images.as_slice(), &artifact.image) {
            ([], Some(image)) => match artifact.would_push.first() {
                Some(reference) => vec![(reference.clone(), String::new())],
                None => vec![(format!("{}@{}", image.name, image.digest), String::new())],
            },
            (images, _) => images.iter().map(|image| (image.reference.clone(), attached(image))).collect(),
        };
        for (reference, attached) in references {
            text.push_str(&format!("| {} | {}{attached} |\n", escape(&artifact.label()), code(&reference)));
        }
        if let Some(tgz) = &artifact.tgz {
            text.push_str(&format!("| {} (tgz) | {} |\n", escape(&artifact.label()), code(tgz.integrity.as_str())));
        }
    }
    (!text.is_empty()).then(|| format!("| plugin | digest or integrity |\n| --- | --- |\n{text}"))
}

/// ` with SBOM, provenance, signature`, as far as there is something.
fn attached(image: &PublishedImage) -> String {
    let documents = image.attached.iter().map(|attached| attached.document.to_string());
    let parts: Vec<String> = documents.chain(image.signed.then(|| "signature".to_owned())).collect();
    if parts.is_empty() { String::new() } else { format!(" with {}", parts.join(", ")) }
}

fn failure(artifact: &ArtifactResult, detail: Detail) -> Option<String> {
    let failure = artifact.error.as_ref()?;
    let mut text = format!("**{}**\n\n{}\n", escape(&artifact.label()), said(clip(&failure.message, detail.text)));
    if let Some(help) = &failure.help {
        text.push_str(&format!("What to do:\n\n{}\n", said(clip(help, detail.text))));
    }
    let from = failure.log_tail.len().saturating_sub(detail.log_lines);
    let tail = failure.log_tail[from..].join("\n");
    if !tail.is_empty() {
        text.push_str(&format!("The end of the log:\n\n{}\n", fenced("", clip_start(&tail, detail.text))));
    }
    Some(text)
}

/// A message: running text where it is one line, which then fits any screen; what has lines keeps them.
fn said(text: &str) -> String {
    if text.contains('\n') { fenced("", text) } else { format!("{}\n", prose(text)) }
}

fn warnings(result: &RunResult, detail: Detail) -> Option<Section> {
    let mut body = String::new();
    for artifact in result.artifacts().filter(|artifact| artifact.action != Action::Skip) {
        for finding in artifact.findings.iter().filter(|finding| !finding.is_fatal() && finding.allowed.is_none()) {
            body.push_str(&format!(
                "- {}: {} ({})\n",
                escape(&artifact.label()),
                prose(clip(&finding.text, detail.text)),
                code(&finding.rule.name())
            ));
        }
    }
    (!body.is_empty()).then_some(Section { title: "Warnings", body })
}

/// The beginning of `text`, at most `length` bytes of it.
fn clip(text: &str, length: usize) -> &str {
    if text.len() <= length { text } else { &text[..text.floor_char_boundary(length)] }
}

/// The end of `text`, at most `length` bytes of it.
fn clip_start(text: &str, length: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(length))..]
}
