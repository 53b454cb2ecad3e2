//! The collector of problems, and the checks that several tables share: names, lists, globs, templates. The faults
//! that the decoder found come in; what goes out is every problem of the file.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use globset::{Glob, GlobBuilder};

use super::Gone;
use super::decode::{Fault, FaultKind, Shape};
use super::format::NEVER_DEFAULT;
use super::names::{is_id, to_id};
use super::nearest::suggestion;
use super::source::{Collected, MAX_SHOWN, Problem, Source};
use super::template::{Template, TemplateError};
use crate::repo_path::Places;

/// Collects what is wrong with one configuration.
pub(super) struct Check<'a> {
    pub(super) source: &'a Source,
    /// The folder of the configuration file.
    pub(super) root: &'a Path,
    /// Where paths of the file lead on disk.
    pub(super) places: Places,
    pub(super) gone: Vec<Gone>,
    /// What the decoder left out of each table and list.
    left_out: HashMap<Vec<String>, Vec<String>>,
    problems: Collected,
}

/// What a list of names refers to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    Plugin,
    Registry,
    Channel,
}

impl<'a> Check<'a> {
    /// Begins with the faults that the decoder found.
    pub(super) fn new(source: &'a Source, root: &'a Path, faults: Vec<Fault>) -> Self {
        let mut problems = Collected::default();
        faults.iter().for_each(|fault| problems.add(fault_problem(source, fault)));
        let mut left_out: HashMap<Vec<String>, Vec<String>> = HashMap::new();
        for mut key in faults.into_iter().map(|fault| fault.key) {
            if let Some(last) = key.pop() {
                left_out.entry(key).or_default().push(last);
            }
        }
        Self { source, root, places: Places::new(root), gone: Vec::new(), left_out, problems }
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_problems()
    }

    pub(super) fn push(&mut self, problem: Problem) {
        self.problems.add(problem);
    }

    /// See [`Source::problem`].
    pub(super) fn report(
        &mut self,
        key: &[&str],
        message: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.problems.add(self.source.problem(key, message, label, help));
    }

    /// Whether the decoder left out neither the table or list `key` nor an entry of it: if it did, what is missing now
    /// may only be misspelt, and has been reported.
    pub(super) fn is_whole(&self, key: &[&str]) -> bool {
        let is_left_out = |(last, table): (&&str, &[&str])| {
            self.left_out.get(&owned(table)).is_some_and(|entries| entries.iter().any(|entry| entry == last))
        };
        !self.left_out.contains_key(&owned(key)) && !key.split_last().is_some_and(is_left_out)
    }

    /// The number in the file of what is now entry `index` of the list `key`: the decoder may have left out others
    /// before it.
    pub(super) fn entry(&self, key: &[&str], index: usize) -> String {
        let gaps = self.left_out.get(&owned(key)).into_iter().flatten();
        let mut gaps: Vec<usize> = gaps.filter_map(|gap| gap.parse().ok()).collect();
        gaps.sort_unstable();
        gaps.into_iter().fold(index, |index, gap| if gap <= index { index + 1 } else { index }).to_string()
    }

    /// Checks that every one of `names`, the list at `key`, is a table of `kind`, and stands there once.
    pub(super) fn names(&mut self, key: &[&str], names: &[String], kind: Named) {
        self.once(key, names);
        let (one, many) = match kind {
            Named::Plugin => ("plugin", "plugins"),
            Named::Registry => ("registry", "registries"),
            Named::Channel => ("channel", "channels"),
        };
        let known = self.source.keys(&[many]);
        let is_known = known.iter().copied().collect::<HashSet<&str>>();
        for (index, name) in names.iter().enumerate().filter(|(_, name)| !is_known.contains(name.as_str())) {
            if self.problems.len() > MAX_SHOWN {
                return;
            }
            let message = format!("there is no {one} `{name}`");
            // Before the search for near names, which takes long where there are many.
            if self.problems.is_said(&message, self.source, key) {
                continue;
            }
            let help = if known.is_empty() {
                format!("there are no {many} yet: add a table `[{many}.{name}]`")
            } else {
                suggestion(name, many, known.iter().copied())
            };
            let index = self.entry(key, index);
            let label = format!("no `[{many}.{name}]` in this file");
            self.report(&[key, &[&index]].concat(), message, label, help);
        }
    }

    /// Checks that no value stands twice in the list at `key`.
    pub(super) fn once(&mut self, key: &[&str], values: &[String]) {
        let mut seen: HashMap<&str, String> = HashMap::new();
        for (index, value) in values.iter().enumerate() {
            let index = self.entry(key, index);
            let place = [key, &[&index]].concat();
            if self.problems.len() > MAX_SHOWN {
                return;
            }
            if let Some(first) = seen.get(value.as_str()) {
                let message = format!("`{value}` stands twice in {}", self.source.subject(key));
                let problem = self.source.problem(&place, message, "again", "remove one of the two");
                self.push(problem.and(self.source, &[key, &[first]].concat(), "first"));
            } else {
                seen.insert(value, index);
            }
        }
    }

    /// Checks every glob of paths of the list at `key`.
    pub(super) fn globs(&mut self, key: &[&str], globs: &[String]) {
        for (index, glob) in globs.iter().enumerate() {
            let entry = self.entry(key, index);
            let key = &[key, &[&entry]].concat();
            if ["/", "!", "../"].iter().any(|start| glob.starts_with(start)) {
                let help = "write a path without `/`, `!` or `..` at its start: relative to the workspace for `global`, to each \
                            package for `ignore`";
                self.report(key, format!("`{glob}` matches no file"), "matches nothing", help);
            } else {
                self.glob(key, glob);
            }
        }
    }

    /// Checks one glob.
    pub(super) fn glob(&mut self, key: &[&str], glob: &str) {
        if glob.is_empty() {
            self.report(key, "the glob is empty", "empty", "write `*` for any name, `**` for any path, or remove it");
        } else if let Err(fault) = compile_glob(glob) {
            let help = "`*` stands for any characters but `/`, `**/` for any folders, `{a,b}` for either, `[ab]` for one character";
            self.report(key, format!("`{glob}` is not a glob"), fault, help);
        }
    }

    /// Checks that `id`, the name of the table `key`, can be part of a file name.
    pub(super) fn name(&mut self, key: &[&str], id: &str) {
        if !is_id(id) {
            let table = key.first().copied().unwrap_or_default();
            let help = format!("names are lower-case letters, digits, `.`, `_` and `-`: `[{table}.{}]`", to_id(id));
            let problem =
                self.source.key_problem(key, format!("`{id}` cannot be a name"), "becomes part of file names", help);
            self.push(problem);
        }
    }

    /// Reads the template at `key`; `variables` gives the names to propose for one that is unknown.
    pub(super) fn template(
        &mut self,
        key: &[&str],
        text: &str,
        variables: impl FnOnce() -> Vec<String>,
        is_variable: impl Fn(&str) -> bool,
    ) -> Option<Template> {
        let error = match Template::parse(text, is_variable) {
            Ok(template) => return Some(template),
            Err(error) => error,
        };
        let (part, label, help) = match &error {
            TemplateError::UnknownVariable(name) => {
                let help = suggestion(name, "variables", variables().iter().map(String::as_str));
                (format!("{{{name}}}"), "no such variable", help)
            }
            TemplateError::UnpairedBrace(_) => {
                (String::new(), "`{` and `}` stand around the name of a variable", "write `{version}`".to_owned())
            }
            TemplateError::Empty => {
                (String::new(), "empty", "write a text such as `{version}`, or remove it".to_owned())
            }
        };
        let problem = if part.is_empty() {
            self.source.problem(key, error.to_string(), label, help)
        } else {
            self.source.part_problem(key, &part, error.to_string(), label, help)
        };
        self.push(problem);
        None
    }
}

fn owned(key: &[&str]) -> Vec<String> {
    key.iter().map(|part| (*part).to_owned()).collect()
}

/// `glob` as all globs of the configuration are read: `*` does not match `/`.
pub(super) fn compile_glob(glob: &str) -> Result<Glob, String> {
    GlobBuilder::new(glob).literal_separator(true).build().map_err(|error| error.kind().to_string())
}

fn fault_problem(source: &Source, fault: &Fault) -> Problem {
    let key: Vec<&str> = fault.key.iter().map(String::as_str).collect();
    let (last, table) = key.split_last().map_or(("", &[][..]), |(last, table)| (*last, table));
    match &fault.kind {
        FaultKind::UnknownKey(_) if table == ["defaults"] && NEVER_DEFAULT.contains(&last) => source.key_problem(
            &key,
            format!("`{last}` cannot have a default"),
            "not the same for all",
            "set it in each `[plugins.…]` or `[bundles.…]`",
        ),
        FaultKind::UnknownKey(known) => {
            let place = if table.is_empty() { String::new() } else { format!(" in `[{}]`", table.join(".")) };
            let help = suggestion(last, "keys", known.iter().copied());
            source.key_problem(&key, format!("unknown key `{last}`{place}"), "no such key", help)
        }
        FaultKind::Type { wanted, found } => {
            let written = source.written(&key);
            let written = if written.contains('\n') || written.len() > 60 { "…" } else { written };
            let help = match (wanted, *found) {
                (Shape::Text, "a list" | "a table") => String::new(),
                (Shape::Text, _) if last.parse::<usize>().is_ok() => format!("put it in quotes: `\"{written}\"`"),
                (Shape::Text, _) => format!("put it in quotes: `{last} = \"{written}\"`"),
                (Shape::Choice(known), _) => format!("write `\"{}\"`", known.join("\"` or `\"")),
                (Shape::Flag, "a string") => "write it without quotes: `true` or `false`".to_owned(),
                (Shape::Flag, _) => "write `true` or `false`".to_owned(),
                (Shape::Number, "a string") => "write it without quotes: `9`".to_owned(),
                (Shape::Number, _) => "write a number such as `9`".to_owned(),
                (Shape::List, "a string") => format!("put it in brackets: `{last} = [{written}]`"),
                (Shape::List, _) => "write a list: `[\"…\"]`".to_owned(),
                (Shape::Table, _)
                    if table.is_empty() && last.ends_with('s') && last != "defaults" && last != "inputs" =>
                {
                    format!("write `[{last}.NAME]` for each, and their keys below")
                }
                (Shape::Table, _) if last == "allow" => "write `allow = { rule = \"why\" }`".to_owned(),
                (Shape::Table, _) if matches!(last, "labels" | "annotations") => {
                    format!("write `{last} = {{ \"key\" = \"value\" }}`")
                }
                (Shape::Table, _) => format!("write `[{}]`, and its keys below", key.join(".")),
            };
            source.problem(&key, format!("{} must be {wanted}", source.subject(&key)), format!("this is {found}"), help)
        }
        FaultKind::UnknownValue { value, known } => {
            let help = suggestion(value, "values", known.iter().copied());
            source.problem(&key, format!("{} cannot be `{value}`", source.subject(&key)), "no such value", help)
        }
        FaultKind::Other { message, help } => {
            source.problem(&key, format!("{} {message}", source.subject(&key)), "here", help.as_str())
        }
    }
}
