//! Suggestions in the configuration file: its text comes in, the same text with more values goes out. Comments, order
//! and everything else stay.

use toml_edit::{Array, DocumentMut, Item, Value};

use super::{Key, Suggestion};

/// The file's text has no place for the values, because of how it is written there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("`[plugins.{plugin}]` cannot be changed")]
#[diagnostic(help("write the suggestions into it by hand"))]
pub struct Unwritable {
    plugin: String,
}

/// Adds the values of `suggestions` to the keys of `plugin`; where the plugin has no such key, it gets one, with the
/// values that `inherited` says it has from `[defaults]`.
///
/// # Errors
/// When the plugin's table is not where the values can be put.
pub fn add<'a>(
    document: &mut DocumentMut,
    plugin: &str,
    suggestions: &[Suggestion],
    inherited: impl Fn(Key) -> &'a [String],
) -> Result<(), Unwritable> {
    let unwritable = || Unwritable { plugin: plugin.to_owned() };
    let plugins = document.get_mut("plugins").and_then(Item::as_table_like_mut).ok_or_else(unwritable)?;
    let entry = plugins.get_mut(plugin).ok_or_else(unwritable)?;
    let table = entry.as_table_like_mut().ok_or_else(unwritable)?;
    for suggestion in suggestions {
        let key = suggestion.key;
        if table.get(key.as_str()).is_none() {
            let array: Array = inherited(key).iter().map(String::as_str).collect();
            table.insert(key.as_str(), Item::Value(Value::Array(array)));
        }
        let array = table.get_mut(key.as_str()).and_then(Item::as_array_mut).ok_or_else(unwritable)?;
        push(array, &suggestion.value);
    }
    if let Some(inline) = entry.as_inline_table_mut() {
        inline.fmt();
    }
    Ok(())
}

/// Adds a value, on a line of its own where the one before it stands on one.
fn push(array: &mut Array, value: &str) {
    let last = array.len().checked_sub(1).and_then(|last| array.get(last));
    let prefix = last.and_then(|last| last.decor().prefix()).and_then(|prefix| prefix.as_str()).unwrap_or_default();
    let Some((_, indent)) = prefix.rsplit_once('\n') else {
        array.push(value);
        // On one line, there are no comments to lose.
        array.fmt();
        return;
    };
    let indent = format!("\n{indent}");
    // What stands behind the last value is about that one.
    let remark = array.trailing().as_str().unwrap_or_default().trim_end().to_owned();
    let mut new = Value::from(value);
    new.decor_mut().set_prefix(format!("{remark}{indent}"));
    array.push_formatted(new);
    array.set_trailing("\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(text: &str, suggestions: &[(Key, &str)]) -> String {
        let mut document: DocumentMut = text.parse().unwrap();
        let suggestions: Vec<Suggestion> = suggestions
            .iter()
            .map(|(key, value)| Suggestion { key: *key, value: (*value).to_owned(), reason: String::new() })
            .collect();
        let inherited = ["@acme/inherited".to_owned()];
        let inherited = |key: Key| if key == Key::SharedPackages { inherited.as_slice() } else { &[] };
        add(&mut document, "a", &suggestions, inherited).unwrap();
        document.to_string()
    }

    #[test]
    fn comments_and_layout_stay() {
        let text = "# first\n[plugins.a] # here\npath = \"a\" # the folder\nembed-packages = [\n  \"x\", # why\n  \"y\", # why not\n]\n\n# last\n[plugins.b]\npath = \"b\"\n";
        insta::assert_snapshot!(added(text, &[(Key::EmbedPackages, "z"), (Key::SharedPackages, "!s")]), @r#"
        # first
        [plugins.a] # here
        path = "a" # the folder
        embed-packages = [
          "x", # why
          "y", # why not
          "z",
        ]
        shared-packages = ["@acme/inherited", "!s"]

        # last
        [plugins.b]
        path = "b"
        "#);
    }

    #[test]
    fn every_way_to_write_a_plugin_is_understood() {
        let suggestions = [(Key::EmbedPackages, "x"), (Key::EmbedPackages, "y")];
        for (text, expected) in [
            ("plugins.a.path = \"a\"\n", "plugins.a.path = \"a\"\nplugins.a.embed-packages = [\"x\", \"y\"]\n"),
            ("[plugins]\na = { path = \"a\" }\n", "[plugins]\na = { path = \"a\", embed-packages = [\"x\", \"y\"] }\n"),
            (
                "[plugins.a]\nembed-packages = []\npath = \"a\"\n",
                "[plugins.a]\nembed-packages = [\"x\", \"y\"]\npath = \"a\"\n",
            ),
            (
                "[plugins.a]\npath = \"a\"\nembed-packages = [ \"w\" ]",
                "[plugins.a]\npath = \"a\"\nembed-packages = [\"w\", \"x\", \"y\"]\n",
            ),
        ] {
            let text = added(text, &suggestions);
            assert_eq!(text, expected);
            let read: toml::Table = toml::from_str(&text).unwrap();
            assert!(read["plugins"]["a"]["embed-packages"].as_array().unwrap().len() >= 2);
        }
    }
}
