//! YAML as it stands in a file: every node with the bytes that it takes. The text comes in; what goes out is a tree in
//! which aliases are not followed, so that a file of a few bytes cannot become one of gigabytes.

use std::collections::HashMap;
use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// As deep as the parser that reads the file again goes.
const MAX_DEPTH: usize = 128;

/// A node's number in its tree.
pub(super) type Id = usize;

/// The documents of one text.
pub(super) struct Tree {
    nodes: Vec<Node>,
    /// One for each document.
    pub(super) roots: Vec<Id>,
}

/// A node and the bytes of the text that it takes, without its anchor and tag.
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) bytes: Range<usize>,
    /// Whether it stands between braces or brackets.
    pub(super) in_flow: bool,
}

pub(super) enum Kind {
    Scalar {
        value: String,
        style: ScalarStyle,
    },
    /// The node with the anchor.
    Alias(Id),
    Sequence(Vec<Id>),
    /// Keys and values.
    Mapping(Vec<(Id, Id)>),
}

/// A sequence or mapping that is being read.
struct Open {
    id: Id,
    children: Vec<Id>,
    /// Whether its children stand between braces or brackets.
    is_flow: bool,
}

/// Why a text is not YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why} (line {line}, column {column})")]
pub(super) struct NotYaml {
    why: String,
    line: usize,
    column: usize,
}

impl Tree {
    /// Reads all documents of `text`, which has no byte order mark.
    pub(super) fn parse(text: &str) -> Result<Self, NotYaml> {
        // The parser counts characters.
        let offsets: Vec<usize> = text.char_indices().map(|(offset, _)| offset).chain([text.len()]).collect();
        let offset = |index: usize| offsets.get(index).copied().unwrap_or(text.len());
        let mut tree = Self { nodes: Vec::new(), roots: Vec::new() };
        let mut open: Vec<Open> = Vec::new();
        let mut anchors: HashMap<usize, Id> = HashMap::new();
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| NotYaml {
                why: error.info().to_owned(),
                line: error.marker().line(),
                column: error.marker().col() + 1,
            })?;
            let bytes = |span: &Span| offset(span.start.index())..offset(span.end.index());
            let wrong =
                |why: &str| NotYaml { why: why.to_owned(), line: span.start.line(), column: span.start.col() + 1 };
            let (kind, anchor) = match event {
                Event::Scalar(value, style, anchor, _) => (Kind::Scalar { value: value.into_owned(), style }, anchor),
                Event::Alias(anchor) => {
                    let target = anchors.get(&anchor).ok_or_else(|| wrong("an alias of nothing"))?;
                    (Kind::Alias(*target), 0)
                }
                Event::SequenceStart(anchor, _) => (Kind::Sequence(Vec::new()), anchor),
                Event::MappingStart(anchor, _) => (Kind::Mapping(Vec::new()), anchor),
                Event::SequenceEnd | Event::MappingEnd => {
                    let Some(Open { id, children, .. }) = open.pop() else { continue };
                    let node = &mut tree.nodes[id];
                    node.bytes.end = offset(span.end.index()).max(node.bytes.start);
                    match &mut node.kind {
                        Kind::Sequence(items) => *items = children,
                        Kind::Mapping(entries) => {
                            *entries = children.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
                        }
                        Kind::Scalar { .. } | Kind::Alias(_) => {}
                    }
                    continue;
                }
                _ => continue,
            };
            let id = tree.nodes.len();
            let opens = matches!(kind, Kind::Sequence(_) | Kind::Mapping(_));
            let in_flow = open.last().is_some_and(|parent| parent.is_flow);
            let mut bytes = bytes(&span);
            bytes.start = behind_properties(text, &bytes);
            match &kind {
                Kind::Scalar { value, style } => bytes.end = scalar_end(text, &bytes, value, *style),
                _ => bytes.end = bytes.end.max(bytes.start),
            }
            // What begins a block takes no bytes.
            let is_flow = in_flow || opens && matches!(&text[bytes.clone()], "{" | "[");
            tree.nodes.push(Node { kind, bytes, in_flow });
            if anchor != 0 {
                anchors.insert(anchor, id);
            }
            match open.last_mut() {
                Some(parent) => parent.children.push(id),
                None => tree.roots.push(id),
            }
            if opens {
                if open.len() == MAX_DEPTH {
                    return Err(wrong("nested too deeply"));
                }
                open.push(Open { id, children: Vec::new(), is_flow });
            }
        }
        Ok(tree)
    }

    /// Whether a node stands between braces or brackets.
    pub(super) fn is_in_flow(&self, id: Id) -> bool {
        self.nodes[id].in_flow
    }

    pub(super) fn node(&self, id: Id) -> &Node {
        &self.nodes[id]
    }

    /// The node itself, or the one that it is an alias of. Anchors of aliases are no YAML, so one step is enough.
    pub(super) fn resolve(&self, id: Id) -> Id {
        match self.nodes[id].kind {
            Kind::Alias(target) => target,
            _ => id,
        }
    }

    /// The text of a scalar.
    pub(super) fn text(&self, id: Id) -> Option<&str> {
        match &self.nodes[self.resolve(id)].kind {
            Kind::Scalar { value, .. } => Some(value),
            _ => None,
        }
    }

    /// The items of a sequence.
    pub(super) fn items(&self, id: Id) -> &[Id] {
        match &self.nodes[self.resolve(id)].kind {
            Kind::Sequence(items) => items,
            _ => &[],
        }
    }

    /// The entries of a mapping.
    pub(super) fn entries(&self, id: Id) -> &[(Id, Id)] {
        match &self.nodes[self.resolve(id)].kind {
            Kind::Mapping(entries) => entries,
            _ => &[],
        }
    }

    /// The key and the value of a mapping's entry: its own, else one that `<<` brings.
    pub(super) fn entry(&self, mapping: Id, name: &str) -> Option<(Id, Id)> {
        let own = |mapping: Id| self.entries(mapping).iter().find(|(key, _)| self.text(*key) == Some(name)).copied();
        own(mapping).or_else(|| {
            let (_, merged) = own_merge(self, mapping)?;
            // One mapping, or a list of them; the first has precedence.
            own(merged).or_else(|| self.items(merged).iter().find_map(|item| own(*item)))
        })
    }
}

/// Where a node begins: the parser's spans begin with its anchor and its tag.
fn behind_properties(text: &str, span: &Range<usize>) -> usize {
    let mut rest = &text[span.clone()];
    while rest.starts_with(['&', '!']) {
        let end = rest.find(|character: char| character.is_whitespace() || ",[]{}".contains(character));
        rest = rest[end.unwrap_or(rest.len())..].trim_start();
    }
    span.end - rest.len()
}

/// Where a scalar ends: the parser's spans may take in the space and the comment behind it.
fn scalar_end(text: &str, span: &Range<usize>, value: &str, style: ScalarStyle) -> usize {
    let written = &text[span.start..];
    match style {
        ScalarStyle::Plain if written.starts_with(value) => span.start + value.len(),
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => {
            let is_double = style == ScalarStyle::DoubleQuoted;
            let quote = if is_double { b'"' } else { b'\'' };
            let bytes = written.as_bytes();
            let mut at = 1;
            while at < bytes.len() {
                match bytes[at] {
                    b'\\' if is_double => at += 2,
                    // Two single quotes are one.
                    byte if byte == quote && !is_double && bytes.get(at + 1) == Some(&quote) => at += 2,
                    byte if byte == quote => return span.start + at + 1,
                    _ => at += 1,
                }
            }
            span.end
        }
        _ => span.end,
    }
}

fn own_merge(tree: &Tree, mapping: Id) -> Option<(Id, Id)> {
    tree.entries(mapping).iter().find(|(key, _)| tree.text(*key) == Some("<<")).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every scalar's text in the file.
    fn scalars(text: &str) -> Vec<&str> {
        let tree = Tree::parse(text).unwrap();
        let is_scalar = |node: &&Node| matches!(node.kind, Kind::Scalar { .. });
        tree.nodes.iter().filter(is_scalar).map(|node| &text[node.bytes.clone()]).collect()
    }

    #[test]
    fn a_scalar_knows_its_bytes() {
        assert_eq!(scalars("a: \"é\" # c\r\nb:\t'x'\r\n"), ["a", "\"é\"", "b", "'x'"]);
        assert_eq!(scalars("- &a !!str x y  # c\n- {k: v ,l: *a}\n"), ["x y", "k", "v", "l"]);
        assert_eq!(scalars("- 'a''b' # 'c'\n- \"a\\\"b\" # \"c\"\n"), ["'a''b'", "\"a\\\"b\""]);
        assert_eq!(scalars("---\nü: oci://a@sha256:0!b\n--- \nx\n"), ["ü", "oci://a@sha256:0!b", "x"]);
    }

    #[test]
    fn what_is_no_yaml_is_refused_with_its_place() {
        assert!(Tree::parse("a: [").is_err());
        assert!(Tree::parse("a: *b").is_err());
        assert!(Tree::parse(&"[".repeat(100_000)).is_err());
        assert!(Tree::parse(&"- ".repeat(100_000)).is_err());
        assert!(Tree::parse("a:\n\t- b: c").is_err());
    }
}
