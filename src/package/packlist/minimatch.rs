//! One rule of an ignore file or of `files`, as minimatch 10 reads it with the options `matchBase`, `dot`, `nocase` and
//! `flipNegate`: a pattern's text comes in, answers to "does it match this path" go out.

use super::braces;
use super::extglob::{Automaton, fold};

/// minimatch 10 refuses longer patterns.
const MAX_LENGTH: usize = 65_536;

/// A name in a path, in the forms that patterns are compared with.
#[derive(Clone, Debug, Default)]
pub(super) struct Name {
    lower: String,
    folded: Vec<u16>,
}

impl Name {
    pub(super) fn new(name: &str) -> Self {
        Self { lower: name.to_lowercase(), folded: name.encode_utf16().map(fold).collect() }
    }
}

/// A path: its names, and whether it begins and ends with a slash.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path<'a> {
    pub(super) names: &'a [&'a Name],
    pub(super) leading: bool,
    pub(super) trailing: bool,
}

impl<'a> Path<'a> {
    fn len(self) -> usize {
        self.names.len() + usize::from(self.leading) + usize::from(self.trailing)
    }

    /// The part at `index`; `None` is the empty part before a leading or after a trailing slash.
    fn part(self, index: usize) -> Option<&'a Name> {
        self.names.get(index.checked_sub(usize::from(self.leading))?).copied()
    }
}

/// One rule.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    /// The rule includes what it matches: it began with an odd number of `!`.
    pub(super) negate: bool,
    /// The rule says something about names at any depth, as ignore-walk 8 decides it.
    pub(super) relative: bool,
    alternatives: Vec<Vec<Part>>,
}

#[derive(Clone, Debug)]
enum Part {
    /// `**`
    AnyDepth,
    /// The empty part before a leading or after a trailing slash.
    Empty,
    Literal(Vec<u16>),
    /// `*`
    Anything,
    /// `*.js`
    EndsWith(String),
    /// `??.js`: the length in UTF-16 units and the lower-case end.
    Length(usize, String),
    Glob(Automaton),
}

/// A pattern that stands for too many others, or is too long.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pattern `{0}` stands for too many others")]
pub(super) struct PatternTooLarge(String);

impl Pattern {
    pub(super) fn new(text: &str) -> Result<Self, PatternTooLarge> {
        let too_large = || PatternTooLarge(text.chars().take(60).collect());
        if text.len() > MAX_LENGTH {
            return Err(too_large());
        }
        let pattern = text.trim_start_matches('!');
        let negate = (text.len() - pattern.len()) % 2 == 1;
        if pattern.is_empty() {
            return Ok(Self { negate, relative: false, alternatives: Vec::new() });
        }
        let alternatives: Vec<Vec<String>> =
            braces::expand(pattern).map_err(|_| too_large())?.iter().map(|pattern| split(pattern)).collect();
        // ignore-walk 8: one part, or two of which the last is empty.
        let relative = alternatives
            .iter()
            .any(|parts| parts.len() <= if parts.last().is_some_and(|last| !last.is_empty()) { 1 } else { 2 });
        let alternatives =
            alternatives.iter().map(|parts| parts.iter().map(|part| Part::new(part)).collect()).collect();
        Ok(Self { negate, relative, alternatives })
    }

    /// Whether the rule matches `path`; with `partial`, whether it may match something below it.
    pub(super) fn matches(&self, path: Path<'_>, partial: bool) -> bool {
        self.alternatives.iter().any(|parts| {
            let base;
            let path = match parts.as_slice() {
                // matchBase: a pattern without a slash is about the last name.
                [_] => {
                    let Some(last) = path.names.last() else { return false };
                    base = [*last];
                    Path { names: &base, leading: false, trailing: false }
                }
                _ => path,
            };
            matches_parts(parts, path, partial)
        })
    }
}

/// The parts between slashes; double slashes and double `**` fall together, `x/..` vanishes.
fn split(pattern: &str) -> Vec<String> {
    let mut single = String::with_capacity(pattern.len());
    for character in pattern.chars() {
        if character != '/' || !single.ends_with('/') {
            single.push(character);
        }
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in single.split('/') {
        let previous = parts.last().copied();
        if part == "**" && previous == Some("**") {
            continue;
        }
        if part == ".." && previous.is_some_and(|previous| !matches!(previous, "" | ".." | "." | "**")) {
            parts.pop();
            continue;
        }
        parts.push(part);
    }
    if parts.is_empty() {
        parts.push("");
    }
    parts.into_iter().map(str::to_owned).collect()
}

impl Part {
    fn new(part: &str) -> Self {
        let magic_end = |text: &str| text.contains(['+', '@', '!', '?', '*', '[', '(']);
        let after_stars = part.trim_start_matches('*');
        let after_marks = part.trim_start_matches('?');
        if part == "**" {
            Self::AnyDepth
        } else if part.is_empty() {
            Self::Empty
        } else if after_stars.is_empty() {
            Self::Anything
        } else if after_stars.len() < part.len() && !magic_end(after_stars) {
            // minimatch's shortcut: here a backslash stands for itself.
            Self::EndsWith(after_stars.to_lowercase())
        } else if after_marks.len() < part.len() && !magic_end(after_marks) {
            Self::Length(part.encode_utf16().count(), after_marks.to_lowercase())
        } else if part.contains(['\\', '[', '*', '?', '(']) {
            Self::Glob(Automaton::new(part))
        } else {
            Self::Literal(part.encode_utf16().map(fold).collect())
        }
    }

    fn matches(&self, name: Option<&Name>) -> bool {
        let Some(name) = name else {
            return match self {
                Self::Empty => true,
                Self::EndsWith(end) => end.is_empty(),
                Self::Glob(automaton) => automaton.matches(&[]),
                _ => false,
            };
        };
        match self {
            Self::AnyDepth | Self::Empty => false,
            Self::Anything => true,
            Self::Literal(literal) => *literal == name.folded,
            Self::EndsWith(end) => name.lower.ends_with(end.as_str()),
            Self::Length(length, end) => name.folded.len() == *length && name.lower.ends_with(end.as_str()),
            Self::Glob(automaton) => automaton.matches(&name.folded),
        }
    }
}

fn matches_parts(parts: &[Part], path: Path<'_>, partial: bool) -> bool {
    let is_any_depth = |part: &Part| matches!(part, Part::AnyDepth);
    match parts.iter().position(is_any_depth) {
        None => matches_here(parts, path, 0, path.len(), partial),
        Some(first) => matches_any_depth(parts, first, path, partial),
    }
}

/// Whether `parts`, which have no `**`, match the path's parts from `from` to `to`.
fn matches_here(parts: &[Part], path: Path<'_>, from: usize, to: usize, partial: bool) -> bool {
    let length = to.saturating_sub(from);
    if !parts.iter().zip(from..to).all(|(part, index)| part.matches(path.part(index))) {
        return false;
    }
    if length <= parts.len() {
        return length == parts.len() || partial;
    }
    // A path may have one trailing slash more than the pattern: `a/*` matches `a/b/`.
    length == parts.len() + 1 && path.part(to - 1).is_none()
}

fn matches_any_depth(parts: &[Part], first: usize, path: Path<'_>, partial: bool) -> bool {
    let is_any_depth = |part: &Part| matches!(part, Part::AnyDepth);
    let length = path.len();
    let head = &parts[..first];
    let (body, tail): (&[Part], &[Part]) = match parts.iter().rposition(is_any_depth) {
        Some(last) if !partial => (parts.get(first + 1..last).unwrap_or_default(), &parts[last + 1..]),
        _ => (&parts[first + 1..], &[]),
    };
    let mut from = 0;
    if !head.is_empty() {
        if !matches_here(head, path, 0, head.len().min(length), partial) {
            return false;
        }
        from = head.len();
    }
    let mut end = length;
    if !tail.is_empty() {
        if tail.len() + from > length {
            return false;
        }
        if matches_here(tail, path, length - tail.len(), length, partial) {
            end = length - tail.len();
        } else {
            // `a/**/*` matches `a/b/`: the empty part after a trailing slash may be left over.
            let last_is_empty = path.part(length - 1).is_none();
            if !last_is_empty || from + tail.len() == length {
                return false;
            }
            let start = length - tail.len() - 1;
            if !matches_here(tail, path, start, length, partial) {
                return false;
            }
            end = start;
        }
    }
    if body.is_empty() {
        // Without a tail, `a/**` needs something after `a`.
        return partial || end < length || from < end;
    }
    let sections: Vec<&[Part]> = body.split(is_any_depth).collect();
    matches_sections(&sections, path, from, end, partial, end < length)
}

/// Whether the `sections` between several `**` are found in this order between `from` and `to`.
fn matches_sections(
    sections: &[&[Part]],
    path: Path<'_>,
    mut from: usize,
    to: usize,
    partial: bool,
    saw_tail: bool,
) -> bool {
    // The first place where a section fits is the best one: what follows has more room after it.
    for (index, section) in sections.iter().enumerate() {
        // minimatch 10 leaves room for as many sections as follow, but counts their lengths from the front.
        let room: usize = sections[..sections.len() - 1 - index].iter().map(|section| section.len()).sum();
        let Some(last_start) = to.checked_sub(room + section.len()) else { return partial };
        let fits =
            |start: &usize| matches_here(section, path, *start, (start + section.len()).min(path.len()), partial);
        let Some(start) = (from..=last_start).find(fits) else { return partial };
        from = start + section.len();
    }
    partial || saw_tail || from < to
}

#[cfg(test)]
#[path = "minimatch_tests.rs"]
mod against_npm;

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        let names: Vec<Name> = path.split('/').filter(|name| !name.is_empty()).map(Name::new).collect();
        let names: Vec<&Name> = names.iter().collect();
        let path = Path { names: &names, leading: path.starts_with('/'), trailing: path.ends_with('/') };
        Pattern::new(pattern).unwrap().matches(path, false)
    }

    #[test]
    fn paths_match_as_in_minimatch() {
        for (pattern, path, expected) in [
            ("*.map", "lib/x.map", true),
            ("/x", "/x", true),
            ("/x", "x", false),
            ("dist", "a/dist", true),
            ("dist/**", "dist/a/b", true),
            ("dist/**", "dist", false),
            ("dist/**", "dist/", true),
            ("**/.git", "/a/.git", true),
            ("**/.git/**", "/.git/config", true),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b/**/c", "a/1/b/2/c", true),
            ("a/**/b/**/c", "a/1/2/c", false),
            ("/./dist/x.js", "/dist/x.js", false),
            ("/readme{,.*[^~$]}", "/README.md", true),
            ("/readme{,.*[^~$]}", "/readme.md~", false),
            ("/readme{,.*[^~$]}", "/readme", true),
            ("a//b", "a/b", true),
            ("x/../y", "y", true),
            ("dist/!(__tests__)/**/*", "dist/lib/x.js", true),
            ("dist/!(__tests__)/**/*", "dist/__tests__/x.js", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }
}
