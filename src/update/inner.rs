//! YAML inside of YAML: the text of a block scalar, as ConfigMaps and the parameters of templates have it. Its lines
//! are found again in the file, so that the inner text's bytes are bytes of the file.

use saphyr_parser::ScalarStyle;

use super::edit::{self, Edit};
use super::tree::{Id, Kind, Tree};
use super::{Change, Found, Problem};

/// Whether it is worth while to read a value as YAML.
pub(super) fn may_hold_plugins(value: &str) -> bool {
    value.contains("plugins") && value.contains("package") && value.contains('\n')
}

/// Reads the scalar `id` of `outer`'s text as YAML, and adds what is ours in it.
pub(super) fn read(outer: &mut Found<'_>, tree: &Tree, id: Id, depth: usize) -> Result<(), Problem> {
    let node = tree.node(id);
    let Kind::Scalar { value, style } = &node.kind else { return Ok(()) };
    let mut inner =
        Found { text: value, ours: outer.ours, edits: Vec::new(), changes: Vec::new(), entries: 0, left: Vec::new() };
    // A text of which nobody says that it is YAML may be none: a script, a template.
    match inner.read(depth + 1) {
        Err(Problem::NotYaml(_)) => return Ok(()),
        outcome => outcome?,
    }
    if inner.entries == 0 && inner.left.is_empty() {
        return Ok(());
    }
    let line = edit::line(outer.text, node.bytes.start);
    let lines = Lines::find(outer.text, node.bytes.start, value);
    let Some(lines) = lines.filter(|_| *style == ScalarStyle::Literal) else {
        if inner.edits.is_empty() {
            outer.entries += inner.entries;
            return Ok(());
        }
        return Err(Problem::NoPlace {
            line,
            why: "the plugins stand in a text whose lines cannot be told".to_owned(),
            help: "write the text as a block, with `|` behind its key",
        });
    };
    outer.entries += inner.entries;
    for edit in &inner.edits {
        let edit = lines.outer(edit).ok_or_else(|| Problem::NoPlace {
            line,
            why: "a value in the block stands on several lines".to_owned(),
            help: "write the value on the line of its key, as `package: \"…\"`",
        })?;
        outer.edits.push(edit);
    }
    let outer_line = |inner: usize| lines.first + inner - 1;
    outer.changes.extend(inner.changes.into_iter().map(|change| Change { line: outer_line(change.line), ..change }));
    outer.left.extend(inner.left.into_iter().map(|(line, why)| (outer_line(line), why)));
    Ok(())
}

/// Where the lines of an inner text stand in the outer one.
struct Lines {
    /// For each line: its first byte in the inner and in the outer text, and its length.
    starts: Vec<(usize, usize, usize)>,
    /// The number of the first line in the outer text.
    first: usize,
    /// What stands before each line.
    margin: String,
    line_break: &'static str,
}

impl Lines {
    /// The lines of `inner`, the value of the literal block scalar whose bytes begin at `start` of `outer`: at its `|`,
    /// or at its text, with or without the empty lines before it. `None` where they are not what YAML makes of the
    /// outer ones.
    fn find(outer: &str, start: usize, inner: &str) -> Option<Self> {
        let line_start = |offset: usize| outer[..offset].rfind('\n').map_or(0, |end| end + 1);
        let next = outer[start..].find('\n').map(|end| start + end + 1);
        let mut first = line_start(start);
        let empty = inner.bytes().take_while(|byte| *byte == b'\n').count();
        let before = std::iter::from_fn(|| {
            first = line_start(first.checked_sub(1)?);
            Some(first)
        });
        let mut candidates = [Some(line_start(start)), next].into_iter().flatten().chain(before.take(empty));
        candidates.find_map(|first| Self::at(outer, first, inner))
    }

    fn at(outer: &str, first: usize, inner: &str) -> Option<Self> {
        let mut position = first;
        let mut margin = None;
        let mut starts = Vec::new();
        let mut inner_position = 0;
        // The line with the `|` ends as the others do.
        let line_break = if outer[..position].ends_with("\r\n") { "\r\n" } else { "\n" };
        for line in inner.strip_suffix('\n').unwrap_or(inner).split('\n') {
            let rest = outer.get(position..)?;
            let whole = rest.split_inclusive('\n').next().unwrap_or_default();
            let written = whole.strip_suffix('\n').unwrap_or(whole);
            let written = written.strip_suffix('\r').unwrap_or(written);
            if !line.is_empty() {
                let before = written.strip_suffix(line)?;
                if !before.bytes().all(|byte| byte == b' ') || margin.get_or_insert(before) != &before {
                    return None;
                }
                starts.push((inner_position, position + before.len(), line.len()));
            } else if !written.trim_matches(' ').is_empty() {
                return None;
            }
            position += whole.len();
            inner_position += line.len() + 1;
        }
        let first = edit::line(outer, first);
        Some(Self { starts, first, margin: margin.unwrap_or_default().to_owned(), line_break })
    }

    /// An edit of the inner text as one of the outer; `None` where it is of several lines.
    fn outer(&self, edit: &Edit) -> Option<Edit> {
        let holds = |(inner, _, length): &&(usize, usize, usize)| {
            *inner <= edit.bytes.start && edit.bytes.end <= inner + length
        };
        let (inner, outer, _) = self.starts.iter().find(holds)?;
        let bytes = outer + edit.bytes.start - inner..outer + edit.bytes.end - inner;
        let new = edit.new.replace('\n', &format!("{}{}", self.line_break, self.margin));
        Some(Edit { bytes, new })
    }
}
