//! `plugins-list.yaml`, in every form that its tools take: a mapping from folders to arguments, a list of such
//! mappings, or lines that are not quite YAML.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// What a list says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct List {
    pub(super) entries: Vec<Entry>,
    /// Plugins that are only there as comments are none; what else is not understood stands here.
    pub(super) left_behind: Vec<String>,
}

/// One plugin of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its folder, without `./` and `/` at its ends.
    pub(super) path: String,
    /// Arguments of the export, as one text.
    pub(super) arguments: String,
}

/// Why a text is no list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// It names no plugin.
    #[error("it names no plugin")]
    Empty,
    /// A line is not understood.
    #[error("line {line}: `{text}`")]
    Line {
        /// From 1.
        line: usize,
        /// The line.
        text: String,
    },
}

/// The plugins of a list.
pub(super) fn parse(text: &str) -> Result<List, ListError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let list = if let Ok(pairs) = serde_yaml::from_str::<Pairs>(text) {
        of_pairs(&pairs)
    } else if let Ok(values) = serde_yaml::from_str::<Vec<Value>>(text) {
        of_values(&values)
    } else {
        // The tools read lines, and take what YAML does not, such as an argument with `: ` in it.
        of_lines(text)?
    };
    if list.entries.is_empty() && list.left_behind.is_empty() { Err(ListError::Empty) } else { Ok(list) }
}

/// The entries of a mapping, also those whose key is there twice.
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Pairs;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a mapping")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = entries.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

fn of_pairs(Pairs(pairs): &Pairs) -> List {
    let mut list = List::default();
    for (path, arguments) in pairs {
        list.add(path, arguments);
    }
    list
}

fn of_values(values: &[Value]) -> List {
    let mut list = List::default();
    for value in values {
        match value {
            Value::String(path) => list.add(path, &Value::Null),
            Value::Object(entries) => entries.iter().for_each(|(path, arguments)| list.add(path, arguments)),
            other => list.left_behind.push(format!("`{other}` of the list is no plugin")),
        }
    }
    list
}

fn of_lines(text: &str) -> Result<List, ListError> {
    let mut list = List::default();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || line == "---" {
            continue;
        }
        let (path, arguments) = line.split_once(':').unwrap_or((line, ""));
        if path.contains(char::is_whitespace) || path.starts_with('-') {
            return Err(ListError::Line { line: number + 1, text: line.chars().take(100).collect() });
        }
        let arguments = arguments.split_once(" #").map_or(arguments, |(arguments, _)| arguments);
        list.add(path, &Value::from(arguments));
    }
    Ok(list)
}

impl List {
    fn add(&mut self, path: &str, arguments: &Value) {
        let arguments = match arguments {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            Value::Array(values) if values.iter().all(Value::is_string) => {
                values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
            }
            other => {
                self.left_behind.push(format!("`{path}`: `{other}` are no arguments"));
                String::new()
            }
        };
        let path = path.trim().trim_start_matches("./").trim_matches('/').to_owned();
        self.entries.push(Entry { path, arguments: arguments.trim().to_owned() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Vec<String> {
        parse(text).unwrap().entries.iter().map(|entry| format!("{} {}", entry.path, entry.arguments)).collect()
    }

    #[test]
    fn every_form_is_read() {
        let wanted = ["plugins/a ", "plugins/b --embed-package @acme/x --no-install"];
        for text in [
            "plugins/a:\nplugins/b: --embed-package @acme/x --no-install",
            "# first\nplugins/a: # none\n\n#plugins/c: ==> later\nplugins/b: '--embed-package @acme/x --no-install' # two\n",
            "\u{feff}---\r\n./plugins/a/:\r\n\"plugins/b\": \"--embed-package @acme/x --no-install\"\r\n",
            "- plugins/a\n- plugins/b: --embed-package @acme/x --no-install\n",
            "- plugins/a:\n- plugins/b:\n  - --embed-package @acme/x\n  - --no-install\n",
            "plugins/a\nplugins/b: --embed-package @acme/x --no-install # YAML would take neither\n",
        ] {
            assert_eq!(entries(text), wanted, "{text}");
        }
    }

    #[test]
    fn what_yaml_refuses_is_read_by_lines() {
        assert_eq!(entries("a:\na: --minify\n").len(), 2);
        assert_eq!(entries("a: --scalprum-config x: y\n"), ["a --scalprum-config x: y"]);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        assert_eq!(parse("# nothing\n"), Err(ListError::Empty));
        assert_eq!(parse("{}"), Err(ListError::Empty));
        assert_eq!(parse("a:\nbuild it please\n"), Err(ListError::Line { line: 2, text: "build it please".into() }));
        assert_eq!(parse("a: { b: 1 }\n").unwrap().left_behind, ["`a`: `{\"b\":1}` are no arguments"]);
    }
}
