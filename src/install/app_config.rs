//! `app-config.dynamic-plugins.yaml`: what all installed plugins bring along for RHDH's configuration, as the
//! installers merge it.

use std::path::Path;

use serde_json::{Map, Value, json};

/// The file's name, which RHDH is started with.
pub const APP_CONFIG: &str = "app-config.dynamic-plugins.yaml";

/// Why the file could not be written.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    /// Two plugins want different things: the installers stop there.
    #[error("`{key}` is configured differently by two plugins; the second is `{plugin}`")]
    #[diagnostic(
        code("plugin-config"),
        help("give it one value in both app-configs, or leave it to RHDH's own app-config")
    )]
    Conflict {
        /// The key, as `a.b.c`.
        key: String,
        /// The package that comes later.
        plugin: String,
    },
    /// What is there is none, or cannot be read or written.
    #[error("`{}` cannot be brought up to date: {why}", file.display())]
    #[diagnostic(code("install"), help("remove it: it is made anew"))]
    File {
        /// The file.
        file: std::path::PathBuf,
        /// Why not.
        why: String,
    },
}

/// Brings the file in `root` up to date: what earlier installations wrote stays, but for the keys that `plugins`
/// (packages and their configurations) have.
///
/// # Errors
/// When two of `plugins` disagree, or the file cannot be read or written.
pub fn write(root: &Path, plugins: &[(String, Value)]) -> Result<(), Error> {
    let file = root.join(APP_CONFIG);
    let failed = |why: String| Error::File { file: file.clone(), why };
    let mut ours = Map::new();
    for (plugin, config) in plugins {
        if let Value::Object(config) = config {
            add(&mut ours, config, "").map_err(|key| Error::Conflict { key, plugin: plugin.clone() })?;
        }
    }
    let before = match fs_err::read_to_string(&file) {
        Ok(text) => {
            serde_yaml::from_str::<Option<Map<String, Value>>>(&text).map_err(|error| failed(error.to_string()))?
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(error.to_string())),
    };
    // The installers begin with this, whatever the folder is called where they run.
    let mut all = json!({ "dynamicPlugins": { "rootDirectory": "dynamic-plugins-root" } });
    for later in [before.unwrap_or_default(), ours] {
        replace(&mut all, Value::Object(later));
    }
    let text = serde_yaml::to_string(&all).map_err(|error| failed(error.to_string()))?;
    crate::document::write_file(&file, text.as_bytes()).map_err(|error| failed(error.to_string()))
}

/// Adds `config`; the key that has another value already is the error.
fn add(all: &mut Map<String, Value>, config: &Map<String, Value>, above: &str) -> Result<(), String> {
    for (key, value) in config {
        let path = if above.is_empty() { key.clone() } else { format!("{above}.{key}") };
        match (all.get_mut(key), value) {
            (None, _) => drop(all.insert(key.clone(), value.clone())),
            (Some(Value::Object(old)), Value::Object(new)) => add(old, new, &path)?,
            (Some(old), new) if old == new => {}
            _ => return Err(path),
        }
    }
    Ok(())
}

/// Merges `later` into `all`; where both have a value, the later one stays.
fn replace(all: &mut Value, later: Value) {
    match (all, later) {
        (Value::Object(all), Value::Object(later)) => {
            for (key, value) in later {
                replace(all.entry(key).or_insert(Value::Null), value);
            }
        }
        (all, later) => *all = later,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_merged_and_what_was_there_stays() {
        let root = tempfile::tempdir().unwrap();
        let page = |name: &str| json!({ "dynamicPlugins": { "frontend": { name: { "routes": [{ "path": "/" }] } } } });
        write(root.path(), &[("a".into(), page("acme.a"))]).unwrap();
        write(root.path(), &[("b".into(), page("acme.b")), ("c".into(), json!({ "todo": { "limit": 3 } }))]).unwrap();
        write(root.path(), &[("c".into(), json!({ "todo": { "limit": 4 } }))]).unwrap();
        let text = fs_err::read_to_string(root.path().join(APP_CONFIG)).unwrap();
        let value: Value = serde_yaml::from_str(&text).unwrap();
        let expected = json!({
            "dynamicPlugins": {
                "rootDirectory": "dynamic-plugins-root",
                "frontend": { "acme.a": { "routes": [{ "path": "/" }] }, "acme.b": { "routes": [{ "path": "/" }] } },
            },
            "todo": { "limit": 4 },
        });
        assert_eq!(value, expected, "{text}");
        let two = [("c".into(), json!({ "todo": { "limit": 3 } })), ("d".into(), json!({ "todo": { "limit": 5 } }))];
        let error = write(root.path(), &two).unwrap_err();
        assert!(matches!(error, Error::Conflict { ref key, .. } if key == "todo.limit"), "{error}");
        fs_err::write(root.path().join(APP_CONFIG), "").unwrap();
        write(root.path(), &[]).unwrap();
        fs_err::write(root.path().join(APP_CONFIG), "- a\n").unwrap();
        assert!(matches!(write(root.path(), &[]), Err(Error::File { .. })));
    }
}
