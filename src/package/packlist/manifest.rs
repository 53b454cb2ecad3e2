//! What npm's rules read of a plugin's `package.json`.

use serde_json::{Map, Value};

/// The fields that decide which files are packed.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    /// `files`; `None` where there is none.
    pub(super) files: Option<Vec<String>>,
    pub(super) main: Option<String>,
    pub(super) browser: Option<String>,
    /// The targets of `bin`, normalised as npm does it.
    pub(super) bin: Vec<String>,
}

impl Fields {
    /// Reads the fields; the error says what is wrong with one.
    pub(super) fn of(manifest: &Value) -> Result<Self, String> {
        let files = match manifest.get("files") {
            None | Some(Value::Null | Value::Bool(false)) => None,
            Some(Value::Array(entries)) => Some(
                entries
                    .iter()
                    .map(|entry| entry.as_str().map(str::to_owned))
                    .collect::<Option<Vec<_>>>()
                    .ok_or("`files` holds something that is no text")?,
            ),
            Some(_) => return Err("`files` is no list".to_owned()),
        };
        let text = |key: &str| manifest.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let browser = match manifest.get("browser") {
            // npm-packlist 10 makes a rule even of an object, by JavaScript's way to turn it into text.
            Some(Value::Object(_)) => Some("[object Object]".to_owned()),
            Some(Value::Array(files)) => Some(files.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")),
            _ => text("browser").map(str::to_owned),
        };
        let bin = match manifest.get("bin") {
            Some(Value::String(target)) => vec![command_path(target)],
            Some(Value::Object(targets)) => targets_of(targets),
            Some(Value::Array(targets)) => targets.iter().filter_map(Value::as_str).map(command_path).collect(),
            _ => Vec::new(),
        };
        Ok(Self {
            files,
            main: text("main").map(str::to_owned),
            browser,
            bin: bin.into_iter().filter(|target| !target.is_empty()).collect(),
        })
    }
}

/// npm takes both of `\` and `/` for what separates folders here.
fn command_path(target: &str) -> String {
    super::normalise(&target.replace('\\', "/"))
}

/// npm names each command by the last part of its key; of those of one name, the last one counts.
fn targets_of(commands: &Map<String, Value>) -> Vec<String> {
    let mut targets: Vec<(String, String)> = Vec::new();
    for (key, target) in commands {
        let key = command_path(key);
        let name = key.rsplit('/').next().unwrap_or(&key).to_owned();
        let Some(target) = target.as_str().map(command_path).filter(|_| !name.is_empty()) else { continue };
        targets.retain(|(other, _)| *other != name);
        targets.push((name, target));
    }
    targets.into_iter().map(|(_, target)| target).collect()
}
