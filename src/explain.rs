//! The longer text of every code and rule. `docs/troubleshooting.md` is the one table of them: a heading a code.

use crate::config::nearest::nearest;

/// What people read on the web, and `rhdh-pack explain` prints.
const DOCUMENT: &str = include_str!("../docs/troubleshooting.md");

/// A code that has no text.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("there is no code `{code}`")]
#[diagnostic(code("unknown-code"))]
pub struct UnknownCode {
    code: String,
    #[help]
    help: String,
}

/// All codes with their texts, in the document's order.
pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    DOCUMENT.split("\n### `").skip(1).filter_map(|section| {
        let (code, text) = section.split_once("`\n")?;
        let end = text.find("\n## ").unwrap_or(text.len());
        Some((code, text[..end].trim()))
    })
}

/// The text of `code`, in Markdown.
///
/// # Errors
/// When it has none; the error names the nearest code.
pub fn explain(code: &str) -> Result<&'static str, UnknownCode> {
    let found = all().find(|(other, _)| *other == code).map(|(_, text)| text);
    found.ok_or_else(|| {
        let near = nearest(code, all().map(|(other, _)| other));
        let help = near.map_or_else(String::new, |other| format!("did you mean `{other}`? "));
        UnknownCode { code: code.to_owned(), help: format!("{help}`rhdh-pack explain` lists all codes") }
    })
}
