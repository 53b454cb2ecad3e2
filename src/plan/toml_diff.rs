//! What is different between two states of `rhdh-plugins.toml`, plugin by plugin. Only values count: comments, order
//! and the way of writing do not, nor does a default that is written out. The texts are compared as TOML, not as a
//! checked configuration: what the base says about folders that are gone by now is no error.

use std::collections::BTreeSet;

use toml::{Table, Value};

use crate::config::{DEFAULT_GLOBAL, DEFAULT_IGNORE};
use crate::package::DEFAULT_LEVEL;
use crate::repo_path::RepoPath;

/// The keys of `[defaults]` that bundles have.
const DEFAULTS_OF_BUNDLES: [&str; 6] =
    ["registries", "labels", "annotations", "allow", "compression-level", "artifact-type"];

/// One state of the file.
#[derive(Debug)]
pub(super) struct ConfigText(Table);

impl ConfigText {
    /// Reads a text; `None` where it is not TOML.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        Some(Self(text.strip_prefix('\u{feff}').unwrap_or(text).parse().ok()?))
    }

    fn table(&self, path: &[&str]) -> Option<&Table> {
        path.iter().try_fold(&self.0, |table, key| table.get(*key)?.as_table())
    }

    /// The ids of one kind (`plugins`, `bundles`).
    pub(super) fn ids(&self, kind: &str) -> Vec<&str> {
        self.table(&[kind]).into_iter().flat_map(Table::keys).map(String::as_str).collect()
    }

    /// The keys with another value than in `base`, for one plugin or bundle with the defaults that count for it;
    /// `None` where `base` does not have it. `unwritten` are the values that keys have where they are not written.
    pub(super) fn changed_keys(
        &self,
        base: &Self,
        kind: &str,
        id: &str,
        unwritten: &[(&str, String)],
    ) -> Option<Vec<String>> {
        let (ours, theirs) = (self.table(&[kind, id])?, base.table(&[kind, id])?);
        let defaults = (self.table(&["defaults"]), base.table(&["defaults"]));
        let mut keys: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
        let counts = |key: &&String| kind != "bundles" || DEFAULTS_OF_BUNDLES.contains(&key.as_str());
        keys.extend([defaults.0, defaults.1].into_iter().flatten().flat_map(Table::keys).filter(counts));
        let changed = keys.into_iter().filter(|key| {
            let value = |own: &Table, defaults: Option<&Table>| -> Option<Value> {
                let effective = match (own.get(*key), defaults.and_then(|table| table.get(*key))) {
                    // Tables (labels) are merged with their default, all other values replace it.
                    (Some(Value::Table(own)), Some(Value::Table(defaults))) => {
                        let mut merged = defaults.clone();
                        merged.extend(own.clone());
                        Some(Value::Table(merged))
                    }
                    (own, default) => own.or(default).cloned(),
                };
                as_it_counts(key, effective?)
                    .filter(|value| !unwritten.iter().any(|(of, it)| of == key && value.as_str() == Some(it)))
            };
            value(ours, defaults.0) != value(theirs, defaults.1)
        });
        Some(changed.cloned().collect())
    }

    /// Whether one of `keys` in a table of the file, such as `inputs`, has another value than in `other`.
    pub(super) fn differs(&self, other: &Self, table: &str, keys: &[&str]) -> bool {
        let value = |text: &Self, key: &str| as_it_counts(key, text.table(&[table])?.get(key)?.clone());
        keys.iter().any(|key| value(self, key) != value(other, key))
    }

    /// A text below a table.
    pub(super) fn text(&self, path: &[&str], key: &str) -> Option<&str> {
        self.table(path)?.get(key)?.as_str()
    }

    /// A list of texts below a table; empty where there is none.
    pub(super) fn texts(&self, path: &[&str], key: &str) -> Vec<String> {
        let list = self.table(path).and_then(|table| table.get(key)?.as_array());
        list.into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
    }
}

/// A value in the one way to write it; `None` where it says what no value says.
fn as_it_counts(key: &str, value: Value) -> Option<Value> {
    let is_list = |list: &[&str]| value == Value::from(list.to_vec());
    match (key, &value) {
        ("global", _) => (!is_list(&DEFAULT_GLOBAL)).then_some(value),
        ("ignore", _) => (!is_list(&DEFAULT_IGNORE)).then_some(value),
        ("compression-level", Value::Integer(level)) => (*level != i64::from(DEFAULT_LEVEL)).then_some(value),
        ("export", Value::String(mode)) => (mode != "cli").then_some(value),
        ("path" | "scalprum-config" | "app-config", Value::String(path)) => {
            Some(RepoPath::new(path).map_or(value.clone(), |path| Value::from(path.as_str())))
        }
        (_, Value::Array(list)) => (!list.is_empty()).then_some(value),
        (_, Value::Table(table)) => (!table.is_empty()).then_some(value),
        _ => Some(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ConfigText {
        ConfigText::parse(text.as_bytes()).unwrap()
    }

    const BASE: &str = r#"
        [defaults]
        registries = ["quay"]
        labels = { a = "1" }
        [plugins.todo]
        path = "plugins/todo"
        embed-packages = ["a", "b"]
        [plugins.other]
        path = "x"
        registries = []
        labels = { b = "2" }
    "#;

    #[test]
    fn only_values_count() {
        let formatted = "plugins = { other = { labels.b = '2', path = \"x\", registries = [] }, \
                         todo = { embed-packages = [ # first\n \"a\",\n 'b'], path = \"plugins/todo\" } }\n\
                         [defaults]\nlabels.a = \"1\"\nregistries = ['quay']\n# the end\n";
        for id in ["todo", "other"] {
            assert_eq!(parse(formatted).changed_keys(&parse(BASE), "plugins", id, &[]), Some(vec![]));
        }
    }

    #[test]
    fn a_default_that_is_written_out_is_no_change() {
        let written = BASE
            .replace("plugins/todo", "./plugins//todo/")
            .replace("[defaults]", "[defaults]\nexport-args = []\nexport = 'cli'\ncompression-level = 9")
            .replace("labels = { b", "scalprum-config = 'x/s.json'\nlabels = { a = '1', b");
        let base = BASE.replace("labels = { b", "scalprum-config = 'x/./s.json'\nlabels = { b");
        for id in ["todo", "other"] {
            assert_eq!(parse(&written).changed_keys(&parse(&base), "plugins", id, &[]), Some(vec![]));
        }
        let level = written.replace("level = 9", "level = 8");
        let changed = parse(&level).changed_keys(&parse(&base), "plugins", "todo", &[]);
        assert_eq!(changed, Some(vec!["compression-level".to_owned()]));
        // A plugin's own empty list is not the list of `defaults`.
        let own = BASE.replace("registries = []\n", "");
        assert_eq!(
            parse(&own).changed_keys(&parse(BASE), "plugins", "other", &[]),
            Some(vec!["registries".to_owned()])
        );
        let image = BASE.replace("[\"a\", \"b\"]", "[\"a\", \"b\"]\nimage = 'acme-todo'");
        let changed = |default: &str| {
            let unwritten = [("image", default.to_owned())];
            parse(&image).changed_keys(&parse(BASE), "plugins", "todo", &unwritten).unwrap()
        };
        assert!(changed("acme-todo").is_empty());
        assert_eq!(changed("acme-other"), ["image"]);
        let inputs = |text: &str| parse(text).differs(&parse(""), "inputs", &["global", "ignore"]);
        assert!(!inputs("[inputs]\nignore = ['**/*.md', '**/*.test.*', 'dev/**']"));
        assert!(inputs("[inputs]\nignore = []"));
    }

    #[test]
    fn a_change_is_one_of_the_plugins_that_it_reaches() {
        let changed = |text: String, id: &str| parse(&text).changed_keys(&parse(BASE), "plugins", id, &[]);
        let embed = BASE.replace("[\"a\", \"b\"]", "[\"a\"]");
        assert_eq!(changed(embed.clone(), "todo"), Some(vec!["embed-packages".to_owned()]));
        assert_eq!(changed(embed, "other"), Some(vec![]));
        let registries = BASE.replace("quay", "ghcr");
        assert_eq!(changed(registries.clone(), "todo"), Some(vec!["registries".to_owned()]));
        assert_eq!(changed(registries, "other"), Some(vec![]));
        let labels = BASE.replace("a = \"1\"", "a = \"3\"");
        assert_eq!(changed(labels, "other"), Some(vec!["labels".to_owned()]));
        let bundle = |defaults: &str| parse(&format!("[defaults]\n{defaults}[bundles.all]\nplugins = [\"todo\"]\n"));
        let changed = |defaults: &str| bundle(defaults).changed_keys(&bundle(""), "bundles", "all", &[]);
        assert_eq!(changed("export-args = [\"--minify\"]\nscalprum-config = \"s.json\"\n"), Some(vec![]));
        assert_eq!(changed("artifact-type = \"a/b\"\n"), Some(vec!["artifact-type".to_owned()]));
        assert_eq!(parse(BASE).changed_keys(&parse(""), "plugins", "todo", &[]), None);
        assert_eq!(parse(BASE).ids("plugins"), ["todo", "other"]);
    }
}
