//! The text of a configuration file and where everything stands in it. The path of a key comes in; what goes out is
//! a [`Problem`] that shows the file, the line and the column with the text underlined.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};
use miette::{LabeledSpan, NamedSource};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Something wrong at a place of the configuration file.
#[derive(Clone, Debug, thiserror::Error, miette::Diagnostic)]
#[error("{message}")]
pub struct Problem {
    message: String,
    #[source_code]
    text: NamedSource<Arc<str>>,
    #[label(collection)]
    labels: Vec<LabeledSpan>,
    #[help]
    help: Option<String>,
    /// The table that it stands in, `plugins.todo`; empty where it stands in none.
    table: String,
    /// What problems of one cause have in common: their message, unless somebody knows better.
    cause: String,
    /// Further tables with the same problem.
    others: IndexSet<String>,
}

/// All that is wrong with a configuration, in the order of the file; never empty.
#[derive(Clone, Debug, thiserror::Error, miette::Diagnostic)]
#[error("{count} in `{file}`")]
pub struct Problems {
    file: String,
    count: String,
    #[related]
    problems: Vec<Problem>,
}

impl Problems {
    /// The problems one by one, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter()
    }
}

impl Problem {
    /// Points at the value of `key` too, of which the problem's own place is the double.
    #[must_use]
    pub(super) fn and(mut self, source: &Source, key: &[&str], label: &str) -> Self {
        let span = source.spot(key).underlined();
        let line = source.line(span.start);
        match self.labels.first_mut() {
            // Two underlined places show all the lines between them, which may be hundreds.
            Some(first) if source.line(first.offset()) != line => {
                let text = first.label().unwrap_or_default();
                first.set_label(Some(format!("{text}; {label} in line {line}")));
            }
            _ => self.labels.push(LabeledSpan::new_with_span(Some(label.to_owned()), span)),
        }
        self
    }

    /// Says that all problems with this `cause` are one, whatever their messages name.
    #[must_use]
    pub(crate) fn because(mut self, cause: impl Into<String>) -> Self {
        self.cause = cause.into();
        self
    }

    fn position(&self) -> usize {
        self.labels.first().map_or(0, LabeledSpan::offset)
    }

    /// Names in the message the other tables that have the same problem.
    fn named(mut self) -> Self {
        let mut names: Vec<String> = self.others.iter().take(NAMED).map(|table| format!("`[{table}]`")).collect();
        let more = self.others.len() - names.len();
        if more > 0 {
            names.push(format!("{more} more"));
        }
        let named = match names.split_last() {
            None => return self,
            Some((last, [])) => last.clone(),
            Some((last, before)) => format!("{} and {last}", before.join(", ")),
        };
        self.message.push_str(&format!(" (the same for {})", fit_to_show(&named)));
        self
    }
}

/// Problems, of which those that several tables have from one cause are one.
#[derive(Debug, Default)]
pub(super) struct Collected {
    problems: Vec<Problem>,
    /// The first problem with each cause.
    first: HashMap<String, usize>,
}

impl Collected {
    pub(super) fn add(&mut self, mut problem: Problem) {
        let last = self.problems.len();
        match self.first_of(&problem.cause) {
            Some(first) if first.table != problem.table && !first.table.is_empty() => {
                if problem.position() < first.position() {
                    std::mem::swap(first, &mut problem);
                }
                first.others.insert(problem.table);
                first.others.extend(problem.others);
            }
            // What stands in `[defaults]` is checked for each plugin.
            Some(first) if first.position() == problem.position() => {}
            Some(_) => self.problems.push(problem),
            None => {
                self.first.insert(problem.cause.clone(), last);
                self.problems.push(problem);
            }
        }
    }

    /// Whether another table than that of `key`, above it in `source`, has a problem with this `cause`. Then the table
    /// of `key` is added to it.
    pub(super) fn is_said(&mut self, cause: &str, source: &Source, key: &[&str]) -> bool {
        let (table, position) = (table_of(key), source.spot(key).underlined().start);
        let first = self.first_of(cause).filter(|first| first.table != table && first.position() <= position);
        first.map(|first| first.others.insert(table)).is_some()
    }

    fn first_of(&mut self, cause: &str) -> Option<&mut Problem> {
        self.first.get(cause).and_then(|index| self.problems.get_mut(*index))
    }

    /// How many different problems there are.
    pub(super) fn len(&self) -> usize {
        self.problems.len()
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }
}

/// How many other tables with the same problem are named.
const NAMED: usize = 3;

/// How many problems are shown: nobody reads more at once, and each is shown with its part of the text.
pub(super) const MAX_SHOWN: usize = 100;

/// How many bytes of the file are shown with problems: each shows its whole line, which may be the whole file.
const MAX_LENGTH: usize = 64 * 1024;

/// The text of a configuration file, and the place of every key and value in it.
#[derive(Clone, Debug)]
pub(super) struct Source {
    name: String,
    text: Arc<str>,
    /// Where the line after each line break begins.
    lines: Vec<usize>,
    root: Spot,
}

/// Where one key and its value stand.
#[derive(Clone, Debug, Default)]
struct Spot {
    key: Range<usize>,
    value: Range<usize>,
    shape: Shape,
    entries: IndexMap<String, Spot>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Shape {
    #[default]
    Single,
    List,
    /// Under a header, or made by dotted keys.
    Table,
    /// In braces.
    InlineTable,
}

impl Source {
    /// Keeps the places of everything in `document`, which was read from `text`; `name` is the file, as shown.
    pub(super) fn new(name: String, text: &str, document: &DeTable<'_>) -> Self {
        let root = Spot { shape: Shape::Table, entries: table_entries(text, document), ..Spot::default() };
        let lines = text.match_indices('\n').map(|(offset, _)| offset + 1).collect();
        Self { name, text: fit_to_show(text).into(), lines, root }
    }

    /// A problem with the value of `key`, a path such as `["plugins", "todo", "path"]`; entries of a list are
    /// counted from `"0"`. Where the file has no such key, what is underlined is the table that lacks it.
    pub(super) fn problem(
        &self,
        key: &[&str],
        message: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) -> Problem {
        Problem {
            table: table_of(key),
            ..self.at(self.spot(key).underlined(), message.into(), label.into(), help.into())
        }
    }

    /// As [`Source::problem`], with the key itself underlined.
    pub(super) fn key_problem(
        &self,
        key: &[&str],
        message: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) -> Problem {
        Problem {
            table: table_of(key),
            ..self.at(self.spot(key).key.clone(), message.into(), label.into(), help.into())
        }
    }

    /// As [`Source::problem`], with only `part` of the value underlined, where the value is written with it.
    pub(super) fn part_problem(
        &self,
        key: &[&str],
        part: &str,
        message: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) -> Problem {
        let whole = self.spot(key).underlined();
        let start = self.text.get(whole.clone()).and_then(|text| text.find(part)).map(|at| whole.start + at);
        let span = start.map_or(whole, |start| start..start + part.len());
        Problem { table: table_of(key), ..self.at(span, message.into(), label.into(), help.into()) }
    }

    /// A problem of the syntax, at these bytes of the text.
    pub(super) fn at(&self, span: Range<usize>, message: String, label: String, help: String) -> Problem {
        let label = LabeledSpan::new_with_span(Some(label), span);
        let help = fit_to_show(&help);
        Problem {
            table: String::new(),
            cause: message.clone(),
            others: IndexSet::new(),
            message: fit_to_show(&message),
            text: NamedSource::new(&self.name, Arc::clone(&self.text)),
            labels: vec![label],
            help: Some(help).filter(|help| !help.is_empty()),
        }
    }

    /// `problems` as one error, in the order of the file; what several tables have from one cause is said once.
    pub(super) fn problems(&self, mut problems: Vec<Problem>) -> Problems {
        problems.sort_by_key(Problem::position);
        let mut collected = Collected::default();
        problems.into_iter().for_each(|problem| collected.add(problem));
        let mut problems: Vec<Problem> = collected.into_problems().into_iter().map(Problem::named).collect();
        let mut length = 0;
        let shown = problems.iter().take(MAX_SHOWN).take_while(|problem| {
            let enough = length > MAX_LENGTH;
            length += self.line_length(problem.position());
            !enough
        });
        let shown = shown.count();
        let count = match shown {
            _ if shown < problems.len() => format!("the first {shown} of many problems"),
            1 => "1 problem".to_owned(),
            _ => format!("{shown} problems"),
        };
        problems.truncate(shown);
        Problems { file: self.name.clone(), count, problems }
    }

    /// The line of a byte of the text, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset) + 1
    }

    fn line_length(&self, offset: usize) -> usize {
        let next = self.lines.partition_point(|start| *start <= offset);
        let start = next.checked_sub(1).and_then(|line| self.lines.get(line)).copied().unwrap_or(0);
        self.lines.get(next).copied().unwrap_or(self.text.len()).saturating_sub(start)
    }

    /// The value of `key` as it is written.
    pub(super) fn written(&self, key: &[&str]) -> &str {
        self.exact_spot(key).and_then(|spot| self.text.get(spot.value.clone())).unwrap_or_default()
    }

    /// The keys of the table `key`, in the order of the file; none where there is no such table.
    pub(super) fn keys(&self, key: &[&str]) -> Vec<&str> {
        let table = self.exact_spot(key).filter(|spot| matches!(spot.shape, Shape::Table | Shape::InlineTable));
        table.into_iter().flat_map(|spot| spot.entries.keys().map(String::as_str)).collect()
    }

    /// How people call the value of `key`: "`path` of `[plugins.todo]`", "value 2 of `registries` of `[defaults]`".
    pub(super) fn subject(&self, key: &[&str]) -> String {
        let Some((last, table)) = key.split_last() else { return "the file".to_owned() };
        if self.exact_spot(table).is_some_and(|spot| spot.shape == Shape::List) {
            let number = last.parse::<usize>().map_or(0, |index| index + 1);
            return format!("value {number} of {}", self.subject(table));
        }
        if table.is_empty() { format!("`{last}`") } else { format!("`{last}` of `[{}]`", table.join(".")) }
    }

    /// The spot of `key`, or of the longest beginning of it that is in the file.
    fn spot(&self, key: &[&str]) -> &Spot {
        (0..=key.len()).rev().find_map(|length| self.exact_spot(&key[..length])).unwrap_or(&self.root)
    }

    fn exact_spot(&self, key: &[&str]) -> Option<&Spot> {
        key.iter().try_fold(&self.root, |spot, part| spot.entries.get(*part))
    }
}

impl Spot {
    /// What to underline: a value, but of a table only its name.
    fn underlined(&self) -> Range<usize> {
        if self.shape == Shape::Table { self.key.clone() } else { self.value.clone() }
    }
}

/// The table that `key` is in or is: `plugins.todo`, `inputs`.
fn table_of(key: &[&str]) -> String {
    let length = if matches!(key, ["plugins" | "bundles" | "channels" | "registries", ..]) { 2 } else { 1 };
    key[..key.len().min(length)].join(".")
}

/// `text` as it may stand in a log: with other characters, of the same length, for those that could steer a terminal,
/// and for the credentials of URLs.
fn fit_to_show(text: &str) -> String {
    without_control_characters(&without_credentials(text))
}

/// `@`, as it is and as TOML's escapes write it.
const SIGNS: [&str; 4] = ["@", "\\u0040", "\\U00000040", "\\x40"];

/// `text` with signs of the same length for what stands before the `@` of a URL, also of one without scheme where it
/// holds a password. Also what only looks like one is hidden: that costs nothing but a look into the file.
pub(super) fn without_credentials(text: &str) -> String {
    let is_end = |character: char| character.is_whitespace() || character == '"';
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(is_end).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let scheme = word.find("://").map(|at| at + "://".len());
        // Other quotes than TOML's usual one may be part of a password.
        let plain = scheme.unwrap_or_else(|| word.len() - word.trim_start_matches(['\'', '`', '[']).len());
        // Where characters are escaped, the scheme may not look like one.
        let is_escaped = word.contains('\\');
        let start = if is_escaped && scheme.is_none() { 0 } else { plain };
        let signs = if is_escaped { &SIGNS[..] } else { &SIGNS[..1] };
        let at = signs.iter().filter_map(|sign| word[start..].rfind(sign)).max();
        let hidden = at.map_or("", |at| &word[start..start + at]);
        if is_escaped && !hidden.is_empty() || is_userinfo(hidden, scheme.is_some()) {
            shown.push_str(&word[..start]);
            shown.extend(hidden.chars().map(|character| ['*', '×', '•', '𝚡'][character.len_utf8() - 1]));
            shown.push_str(&word[start + hidden.len()..]);
        } else {
            shown.push_str(word);
        }
        let delimiter = after.chars().next().map_or(0, char::len_utf8);
        shown.push_str(&after[..delimiter]);
        rest = &after[delimiter..];
    }
    shown
}

/// Whether `text`, which stands before the last `@` of a word, may be a user or a password, and not just the beginning
/// of a path such as `host/@scope`. A `/` in a password should be escaped, but who knows.
fn is_userinfo(text: &str, has_scheme: bool) -> bool {
    let authority = text.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.split_once(':') {
        Some(_) => has_scheme || !text.ends_with(':'),
        None => has_scheme && !text.is_empty() && (authority.contains('@') || authority.len() == text.len()),
    }
}

fn without_control_characters(text: &str) -> String {
    let shown = |character: char| match character {
        '\n' | '\r' | '\t' => character,
        // U+0080 to U+009F: two bytes each, as this one.
        character if character.is_control() => {
            if character.len_utf8() == 1 {
                '?'
            } else {
                '¿'
            }
        }
        character => character,
    };
    text.chars().map(shown).collect()
}

fn table_entries(text: &str, table: &DeTable<'_>) -> IndexMap<String, Spot> {
    table.iter().map(|(key, value)| (key.get_ref().to_string(), spot_of(text, key.span(), value))).collect()
}

fn spot_of(text: &str, key: Range<usize>, value: &Spanned<DeValue<'_>>) -> Spot {
    let span = value.span();
    let (shape, entries) = match value.get_ref() {
        DeValue::Table(table) => {
            let in_braces = text.as_bytes().get(span.start) == Some(&b'{');
            (if in_braces { Shape::InlineTable } else { Shape::Table }, table_entries(text, table))
        }
        DeValue::Array(values) => {
            let entries = values.iter().enumerate();
            let entries = entries.map(|(index, value)| (index.to_string(), spot_of(text, value.span(), value)));
            (Shape::List, entries.collect())
        }
        _ => (Shape::Single, IndexMap::new()),
    };
    Spot { key, value: span, shape, entries }
}
