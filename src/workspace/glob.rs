//! The globs of the `workspaces` field, as yarn 4 reads them (fast-glob: `**`, `*`, `?`, `[…]`, `{…}`, `!…`; names that
//! begin with a dot only where the pattern says so). Patterns come in; what goes out are the folders that they match.
//! Only folders that a pattern can still match are read, and `node_modules`, `.git` and `.yarn` never.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use crate::repo_path::RepoPath;

/// yarn 4 (`Workspace.setup`) ignores these at any depth.
const NEVER: [&str; 3] = ["node_modules", ".git", ".yarn"];

/// One pattern may become this many by its braces; real ones become a handful.
const MAX_ALTERNATIVES: usize = 1_000;

/// Whether a link leads to a folder.
pub(super) type ByLink = bool;

/// The patterns of one `workspaces` field.
#[derive(Debug)]
pub(super) struct Patterns {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

/// Why a pattern cannot be followed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadPattern {
    pub(super) pattern: String,
    pub(super) cause: String,
}

/// A folder that cannot be read, or a folder's name that no [`RepoPath`] can have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadFolder {
    pub(super) path: PathBuf,
    pub(super) cause: String,
}

/// One pattern without braces, cut at its slashes.
#[derive(Debug)]
struct Pattern {
    segments: Vec<Segment>,
    /// Whether wildcards match names that begin with a dot; so it is in negative patterns (fast-glob).
    dot: bool,
}

#[derive(Debug)]
enum Segment {
    Literal(String),
    /// `**`: any number of folders.
    Deep,
    /// `hidden`: the segment itself begins with a dot.
    Wild {
        matcher: GlobMatcher,
        hidden: bool,
    },
}

/// The segments that may match the next name: a set of indexes into `Pattern::segments`, ascending; the index behind
/// the last one stands for a match.
type Positions = Vec<usize>;

impl Patterns {
    /// Reads the patterns of a `workspaces` field.
    pub(super) fn new(patterns: &[String]) -> Result<Self, BadPattern> {
        let (mut include, mut exclude) = (Vec::new(), Vec::new());
        for text in patterns {
            let bad = |cause: String| BadPattern { pattern: text.clone(), cause };
            let (list, body, dot) = match text.strip_prefix('!') {
                Some(body) => (&mut exclude, body, true),
                None => (&mut include, text.as_str(), false),
            };
            for alternative in expand_braces(body).ok_or_else(|| bad("it has too many alternatives".into()))? {
                list.push(Pattern::new(&alternative, dot).map_err(bad)?);
            }
        }
        Ok(Self { include, exclude })
    }

    /// Whether they match a folder, relative to where they stand, wherever that folder is. As [`Patterns::expand`], but
    /// that links are not looked at.
    pub(super) fn matches(&self, folder: &str) -> bool {
        let names: Vec<&str> = folder.split('/').filter(|name| !name.is_empty()).collect();
        self.include.iter().any(|pattern| {
            let literal = pattern.literals();
            let mut positions = pattern.start();
            let mut excluded: Vec<Positions> = self.exclude.iter().map(Pattern::start).collect();
            for (depth, name) in names.iter().enumerate() {
                let mut out = self.exclude.iter().zip(&excluded).filter(|(pattern, at)| pattern.is_match(at));
                if NEVER.contains(name) || depth > literal && out.any(|(pattern, _)| pattern.stops_descent()) {
                    return false;
                }
                positions = pattern.step(&positions, name);
                excluded = self.exclude.iter().zip(&excluded).map(|(pattern, at)| pattern.step(at, name)).collect();
            }
            let counts = names.len() > literal || literal == pattern.segments.len();
            let mut out = self.exclude.iter().zip(&excluded);
            counts && pattern.is_match(&positions) && !out.any(|(pattern, at)| pattern.is_match(at))
        })
    }

    /// The folders below `root`/`base` that the patterns match, sorted, relative to `root`.
    pub(super) fn expand(&self, root: &Path, base: &RepoPath) -> Result<BTreeMap<RepoPath, ByLink>, BadFolder> {
        let mut found = BTreeMap::new();
        // So it is for nearly every package.
        if self.include.is_empty() {
            return Ok(found);
        }
        let real_root = root.canonicalize().map_err(|error| bad_folder(root, &error))?;
        for pattern in &self.include {
            let mut walk = Walk { real_root: &real_root, root, pattern, exclude: &self.exclude, found: &mut found };
            walk.folder(&Place {
                path: base.clone(),
                depth: 0,
                positions: pattern.start(),
                excluded: self.exclude.iter().map(Pattern::start).collect(),
                links: Vec::new(),
            })?;
        }
        Ok(found)
    }
}

impl Pattern {
    fn new(text: &str, dot: bool) -> Result<Self, String> {
        if text.starts_with('/') {
            return Err("it is absolute; patterns are relative to the package.json that they stand in".into());
        }
        let mut segments = Vec::new();
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => return Err("it leaves the workspace by `..`".into()),
                "**" if matches!(segments.last(), Some(Segment::Deep)) => {}
                "**" => segments.push(Segment::Deep),
                part if is_extended(part) => return Err(format!("`{part}` is an extended glob; write `{{a,b}}`")),
                part if part.contains(['*', '?', '[', '\\']) => segments.push(Segment::Wild {
                    matcher: GlobBuilder::new(part)
                        .literal_separator(true)
                        .backslash_escape(true)
                        .build()
                        .map_err(|error| error.kind().to_string())?
                        .compile_matcher(),
                    hidden: part.starts_with('.'),
                }),
                part => segments.push(Segment::Literal(part.to_owned())),
            }
        }
        Ok(Self { segments, dot })
    }

    fn start(&self) -> Positions {
        self.with_skipped_deep([0])
    }

    /// `positions`, and those behind every `**` among them, which may match nothing at all.
    fn with_skipped_deep(&self, positions: impl IntoIterator<Item = usize>) -> Positions {
        let mut all = BTreeSet::new();
        for position in positions {
            all.insert(position);
            // Two `**` never follow each other.
            if matches!(self.segments.get(position), Some(Segment::Deep)) {
                all.insert(position + 1);
            }
        }
        all.into_iter().collect()
    }

    /// Where the pattern stands after a folder of this name.
    fn step(&self, positions: &Positions, name: &str) -> Positions {
        let visible = self.dot || !name.starts_with('.');
        self.with_skipped_deep(positions.iter().filter_map(|&position| match self.segments.get(position)? {
            Segment::Literal(literal) => (literal == name).then_some(position + 1),
            Segment::Deep => visible.then_some(position),
            Segment::Wild { matcher, hidden } => {
                ((visible || *hidden) && matcher.is_match(name)).then_some(position + 1)
            }
        }))
    }

    fn is_match(&self, positions: &Positions) -> bool {
        positions.last() == Some(&self.segments.len())
    }

    /// How many literal segments the pattern begins with.
    fn literals(&self) -> usize {
        self.segments.iter().take_while(|segment| matches!(segment, Segment::Literal(_))).count()
    }

    /// fast-glob (`isAffectDepthOfReadingPattern`): a negative pattern keeps out what lies below its match only if it
    /// ends in a plain name or `**`.
    fn stops_descent(&self) -> bool {
        !matches!(self.segments.last(), Some(Segment::Wild { .. }))
    }
}

/// One walk for one pattern.
struct Walk<'a> {
    real_root: &'a Path,
    root: &'a Path,
    pattern: &'a Pattern,
    exclude: &'a [Pattern],
    found: &'a mut BTreeMap<RepoPath, ByLink>,
}

/// A folder on the way, and where the patterns stand there.
struct Place {
    path: RepoPath,
    /// Names since the start of the walk.
    depth: usize,
    positions: Positions,
    excluded: Vec<Positions>,
    /// Where the links on the way led, each with the real place of the link itself: they must not be followed again.
    links: Vec<PathBuf>,
}

impl Walk<'_> {
    fn folder(&mut self, place: &Place) -> Result<(), BadFolder> {
        let literal = self.pattern.literals();
        let excluded = || self.exclude.iter().zip(&place.excluded).filter(|(pattern, at)| pattern.is_match(at));
        // fast-glob starts at the last folder that the pattern names literally, and never yields that folder itself.
        let counts = place.depth > literal || literal == self.pattern.segments.len();
        if counts && self.pattern.is_match(&place.positions) && excluded().next().is_none() {
            self.found.insert(place.path.clone(), !place.links.is_empty());
        }
        if place.depth > literal && excluded().any(|(pattern, _)| pattern.stops_descent()) {
            return Ok(());
        }
        let folder = place.path.under(self.root);
        let next = place.positions.iter().filter_map(|&position| self.pattern.segments.get(position));
        let names: Option<Vec<&str>> = next
            .map(|segment| match segment {
                Segment::Literal(name) => Some(name.as_str()),
                Segment::Deep | Segment::Wild { .. } => None,
            })
            .collect();
        if let Some(names) = names {
            for name in names.into_iter().filter(|name| folder.join(name).is_dir()) {
                self.enter(place, &folder, OsStr::new(name), folder.join(name).is_symlink())?;
            }
            return Ok(());
        }
        for entry in std::fs::read_dir(&folder).map_err(|error| bad_folder(&folder, &error))? {
            let entry = entry.map_err(|error| bad_folder(&folder, &error))?;
            let kind = entry.file_type().map_err(|error| bad_folder(&entry.path(), &error))?;
            if kind.is_dir() || kind.is_symlink() && entry.path().is_dir() {
                self.enter(place, &folder, &entry.file_name(), kind.is_symlink())?;
            }
        }
        Ok(())
    }

    fn enter(&mut self, from: &Place, folder: &Path, name: &OsStr, is_link: bool) -> Result<(), BadFolder> {
        let shown = name.to_string_lossy();
        let positions = self.pattern.step(&from.positions, &shown);
        if NEVER.contains(&&*shown) || positions.is_empty() {
            return Ok(());
        }
        let path = folder.join(name);
        let relative = match name.to_str().map(|name| from.path.join(name)) {
            Some(Ok(relative)) => relative,
            // Such a folder has no name in `rhdh-plugins.toml`; it matters only where it is a package or may hold some.
            _ if positions == [self.pattern.segments.len()] && !path.join("package.json").exists() => return Ok(()),
            Some(Err(error)) => return Err(bad_folder(&path, &error)),
            None => return Err(bad_folder(&path, &"its name is not UTF-8")),
        };
        let mut links = from.links.clone();
        if is_link {
            // A link that leads nowhere is no folder of the workspace, and one that leads out or back is not followed.
            let (Ok(target), Ok(here)) = (path.canonicalize(), folder.canonicalize()) else { return Ok(()) };
            links.push(here);
            if !target.starts_with(self.real_root) || links.iter().any(|place| place.starts_with(&target)) {
                return Ok(());
            }
        }
        self.folder(&Place {
            path: relative,
            depth: from.depth + 1,
            positions,
            excluded: self.exclude.iter().zip(&from.excluded).map(|(pattern, at)| pattern.step(at, &shown)).collect(),
            links,
        })
    }
}

fn bad_folder(path: &Path, cause: &dyn std::fmt::Display) -> BadFolder {
    BadFolder { path: path.to_owned(), cause: cause.to_string() }
}

/// `@(a|b)` and its like, and `(a|b)`.
fn is_extended(segment: &str) -> bool {
    segment.find('(').is_some_and(|open| {
        let closed = segment.get(open..).is_some_and(|rest| rest.contains(')'));
        closed
            && (segment.contains('|')
                || segment.get(..open).is_some_and(|head| head.ends_with(['@', '+', '?', '*', '!'])))
    })
}

/// `{a,b}/*` as `a/*` and `b/*`; braces without a comma or without a partner stay as they are. `None` when there are
/// more than [`MAX_ALTERNATIVES`].
fn expand_braces(pattern: &str) -> Option<Vec<String>> {
    let mut done = Vec::new();
    let mut open = vec![(pattern.to_owned(), 0)];
    while let Some((text, from)) = open.pop() {
        if done.len() + open.len() >= MAX_ALTERNATIVES {
            return None;
        }
        let Some((start, parts, end)) = first_braces(&text, from) else {
            done.push(text);
            continue;
        };
        if let [_] = parts.as_slice() {
            open.push((text, start + 1));
            continue;
        }
        // Backwards, for the first alternative to be popped first.
        open.extend(parts.iter().rev().map(|part| (format!("{}{part}{}", &text[..start], &text[end..]), start)));
    }
    Some(done)
}

/// The first closed pair of braces at or behind `from`: where it begins, its parts, and where it ends.
fn first_braces(text: &str, from: usize) -> Option<(usize, Vec<&str>, usize)> {
    for (start, _) in text.match_indices('{').filter(|(start, _)| *start >= from) {
        let (mut depth, mut parts, mut part) = (0usize, Vec::new(), start + 1);
        for (at, character) in text.char_indices().skip_while(|(at, _)| *at < start) {
            match character {
                '{' => depth += 1,
                ',' if depth == 1 => {
                    parts.push(&text[part..at]);
                    part = at + 1;
                }
                '}' if depth == 1 => {
                    parts.push(&text[part..at]);
                    return Some((start, parts, at + 1));
                }
                '}' => depth -= 1,
                _ => {}
            }
        }
    }
    None
}

#[cfg(test)]
#[path = "glob_tests.rs"]
mod tests;
