//! `summary.md`: the same as the table, and the failures, in GitHub's and GitLab's markdown.

use super::{ArtifactResult, Outcome, RunResult};
use crate::ui::human_size;

/// The summary's text.
#[must_use]
pub fn render(result: &RunResult) -> String {
    let mut text = format!("## rhdh-pack: {}\n\n", headline(result));
    if result.artifacts().next().is_some() {
        text.push_str("| | state | version | image | size | tgz integrity |\n| --- | --- | --- | --- | ---: | --- |\n");
    }
    for artifact in result.artifacts() {
        text.push_str(&row(artifact));
    }
    for (artifact, failure) in result.artifacts().filter_map(|artifact| Some((artifact, artifact.error.as_ref()?))) {
        text.push_str(&format!("\n### {} failed\n\n{}\n", escape(&artifact.label()), escape(&failure.message)));
        if let Some(help) = &failure.help {
            text.push_str(&fenced(help));
        }
        if let Some(log) = &failure.log {
            text.push_str(&format!("\nLog: {}\n", code(log)));
        }
    }
    text
}

/// One line of outcome.
#[must_use]
pub fn headline(result: &RunResult) -> String {
    let failed = result.artifacts().filter(|artifact| artifact.error.is_some()).count();
    let done = result.artifacts().filter(|artifact| artifact.image.is_some() || artifact.tgz.is_some()).count();
    match result.outcome {
        Outcome::NothingToDo => "nothing to do".to_owned(),
        Outcome::Success => format!("{done} packaged, none failed"),
        Outcome::Failure => format!("{failed} failed, {} packaged", done.saturating_sub(failed)),
    }
}

fn row(artifact: &ArtifactResult) -> String {
    let reference = match (artifact.images.first(), &artifact.image) {
        (Some(image), _) => code(&image.reference),
        (None, Some(image)) => code(&format!("{}@{}", image.name, image.digest)),
        (None, None) => String::new(),
    };
    let size = artifact.image.as_ref().map_or_else(String::new, |image| human_size(image.size));
    let integrity = artifact.tgz.as_ref().map_or_else(String::new, |tgz| code(tgz.integrity.as_str()));
    let (id, state, version) = (escape(&artifact.label()), artifact.state.as_str(), escape(&artifact.version));
    format!("| {id} | {state} | {version} | {reference} | {size} | {integrity} |\n")
}

/// `text` such that no character of it means anything to markdown, HTML, or the mention of users and issues.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        match character {
            '\n' | '\r' => out.push(' '),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // A word joiner keeps @name and #1 from becoming links.
            '@' | '#' => {
                out.push(character);
                out.push('\u{2060}');
            }
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '!' | '|' | '~' => {
                out.push('\\');
                out.push(character);
            }
            other => out.push(other),
        }
    }
    out
}

/// `text` as inline code, in a table too. Backticks and line breaks cannot stand there.
fn code(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|character| if matches!(character, '`' | '\n' | '\r' | '|') { '\u{fffd}' } else { character })
        .collect();
    format!("`{text}`")
}

/// `text` as a code block whose fence is longer than any run of backticks inside.
fn fenced(text: &str) -> String {
    let longest = text.split(|character| character != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("\n{fence}\n{text}\n{fence}\n")
}
