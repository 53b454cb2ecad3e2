//! The words of a pull request that brings files up to date.

use super::Updated;
use crate::report::RunResult;
use crate::report::markdown::{code, escape};

/// GitHub takes 256 characters; nobody reads more than these.
const MAX_TITLE: usize = 72;
/// GitHub takes 65,536 characters.
const MAX_TEXT: usize = 60_000;

/// Title and text for what changed in `files`.
pub(super) fn words(result: &RunResult, files: &[(String, Updated)]) -> (String, String) {
    let mut labels: Vec<&str> = Vec::new();
    for change in files.iter().flat_map(|(_, updated)| &updated.changes) {
        if !labels.contains(&change.label.as_str()) {
            labels.push(&change.label);
        }
    }
    let title = format!("Update dynamic plugins: {}", labels.join(", "));
    let title = title.replace(char::is_control, " ");
    let title = if title.len() <= MAX_TITLE { title } else { format!("Update {} dynamic plugins", labels.len()) };
    let mut text = format!("Made by rhdh-pack from channel {}", code(&result.channel));
    if let Some(commit) = &result.commit {
        text.push_str(&format!(", commit {}", code(commit)));
    }
    text.push_str(".\n\n| plugin | file | before | after |\n| --- | --- | --- | --- |\n");
    for (file, updated) in files {
        for change in &updated.changes {
            let old = change.old.as_deref().map_or_else(String::new, code);
            let row = format!(
                "| {} | {} | {old} | {} |\n",
                escape(&change.label),
                code(&format!("{file}:{}", change.line)),
                code(&change.new)
            );
            if text.len() + row.len() > MAX_TEXT {
                return (title, format!("{text}\n… and more.\n"));
            }
            text.push_str(&row);
        }
    }
    (title, text)
}
