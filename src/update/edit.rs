//! Changes of a text by its bytes: values replaced in the style in which they stand, keys added beside others.

use std::ops::Range;

use saphyr_parser::ScalarStyle;

use super::tree::{Id, Kind, Tree};

/// One piece of a text and what is to stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) bytes: Range<usize>,
    pub(super) new: String,
}

/// The text with all `edits`, which are sorted and apart from each other.
pub(super) fn apply(text: &str, edits: &[Edit]) -> String {
    let mut new = String::with_capacity(text.len());
    let mut position = 0;
    for edit in edits {
        new.push_str(&text[position..edit.bytes.start]);
        new.push_str(&edit.new);
        position = edit.bytes.end;
    }
    new.push_str(&text[position..]);
    new
}

/// The number of the line at `offset`, from 1.
pub(super) fn line(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// Gives the scalar `id` another value, in its own style.
pub(super) fn replace(text: &str, tree: &Tree, id: Id, new: &str) -> Result<Edit, String> {
    let node = tree.node(id);
    let Kind::Scalar { value, style } = &node.kind else { return Err("it is not a text".to_owned()) };
    let written = &text[node.bytes.clone()];
    // Without escapes and line breaks the value stands in the text as it is: what is around it stays.
    if let Some(start) =
        written.find(value.as_str()).filter(|_| !value.is_empty() && written.matches(value).count() == 1)
        && fits(new, *style)
    {
        let start = node.bytes.start + start;
        return Ok(Edit { bytes: start..start + value.len(), new: new.to_owned() });
    }
    match style {
        ScalarStyle::Literal | ScalarStyle::Folded => Err("the value stands on several lines".to_owned()),
        ScalarStyle::Plain | ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => {
            Ok(Edit { bytes: node.bytes.clone(), new: quoted(new) })
        }
    }
}

/// Adds `key: value` to a mapping, behind the entry `beside`, in that entry's style.
pub(super) fn add_after(text: &str, tree: &Tree, beside: (Id, Id), key: &str, value: &str) -> Result<Edit, String> {
    let (beside_key, beside_value) = (tree.node(beside.0), tree.node(beside.1));
    let quote = |id: Id| match &tree.node(id).kind {
        Kind::Scalar { style: ScalarStyle::SingleQuoted, .. } => "'",
        Kind::Scalar { style: ScalarStyle::DoubleQuoted, .. } => "\"",
        _ => "",
    };
    let (key_quote, value_quote) = (quote(beside.0), quote(tree.resolve(beside.1)));
    let entry = format!("{key_quote}{key}{key_quote}: {value_quote}{value}{value_quote}");
    let line_start = |offset: usize| text[..offset].rfind('\n').map_or(0, |end| end + 1);
    if tree.is_in_flow(beside.0) {
        let end = beside_value.bytes.end;
        // An entry a line stays an entry a line.
        let before = &text[line_start(beside_key.bytes.start)..beside_key.bytes.start];
        let alone = before.trim().is_empty() && !before.is_empty();
        let between = if alone { format!(",{}{before}", line_break(text, end)) } else { ", ".to_owned() };
        return Ok(Edit { bytes: end..end, new: format!("{between}{entry}") });
    }
    // In a block, an entry begins where the others do: below the key, whatever stands before it.
    let column = text[line_start(beside_key.bytes.start)..beside_key.bytes.start].chars().count();
    let is_block = matches!(
        tree.node(tree.resolve(beside.1)).kind,
        Kind::Scalar { style: ScalarStyle::Literal | ScalarStyle::Folded, .. }
    );
    if is_block || line(text, beside_key.bytes.start) != line(text, beside_value.bytes.end) {
        return Err("`integrity` is missing, and the value of `package` stands on several lines".to_owned());
    }
    let line_end = text[beside_value.bytes.end..].find('\n').map_or(text.len(), |end| beside_value.bytes.end + end);
    let end = if text[..line_end].ends_with('\r') { line_end - 1 } else { line_end };
    let margin = " ".repeat(column);
    Ok(Edit { bytes: end..end, new: format!("{}{margin}{entry}", line_break(text, end)) })
}

/// How the line at `offset` ends; where it is the last, how the one before does.
fn line_break(text: &str, offset: usize) -> &'static str {
    let end = text[offset..].find('\n').map(|end| offset + end).or_else(|| text[..offset].rfind('\n'));
    if end.is_some_and(|end| text[..end].ends_with('\r')) { "\r\n" } else { "\n" }
}

/// Whether `new` can stand in this style as it is.
fn fits(new: &str, style: ScalarStyle) -> bool {
    let is_printable = !new.is_empty() && new.chars().all(|character| character.is_ascii_graphic());
    is_printable
        && match style {
            ScalarStyle::SingleQuoted => !new.contains('\''),
            ScalarStyle::DoubleQuoted => !new.contains(['"', '\\']),
            ScalarStyle::Literal | ScalarStyle::Folded => true,
            // YAML 1.2, 7.3.3: indicators at the beginning, and those of flow style anywhere.
            ScalarStyle::Plain => {
                new.starts_with(|first: char| first.is_ascii_alphanumeric() || "./".contains(first))
                    && !new.contains([',', '[', ']', '{', '}', '#'])
                    && !new.ends_with(':')
                    && !new.contains(": ")
            }
        }
}

/// A text between double quotes.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
