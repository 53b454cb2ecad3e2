//! The schemas and the reference that stand in the repository: in step with the program, and true of real documents.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

mod common;

use common::repository::Repository;
use common::rhdh_pack;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Compares a file of the repository with what it should be; writes it where `UPDATE_DOCUMENTS` is set.
fn in_step(file: &str, text: &str) {
    let path = root().join(file);
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        fs_err::write(path, text).unwrap();
        return;
    }
    let there = fs_err::read_to_string(path).unwrap_or_default();
    assert!(there == text, "`{file}` is out of step: run `UPDATE_DOCUMENTS=1 cargo test --test documents`");
}

fn printed(arguments: &[&str]) -> String {
    let output = rhdh_pack(root()).args(arguments).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The python that has the package `jsonschema`.
fn python() -> PathBuf {
    let has_it = |python: &&str| {
        let found = Command::new(python).args(["-c", "import jsonschema"]).output();
        found.is_ok_and(|output| output.status.success())
    };
    let found = ["python3", "/usr/bin/python3"].into_iter().find(has_it);
    let found = found.unwrap_or_else(|| {
        panic!("no python has the package `jsonschema`: run `apt-get install python3-jsonschema`");
    });
    found.into()
}

/// What a validator says of each document: empty where it fits the schema.
fn faults(schema: &str, documents: &[Value]) -> Vec<String> {
    const SCRIPT: &str = "
import json, sys, jsonschema
schema = json.load(open(sys.argv[1]))
kind = jsonschema.validators.validator_for(schema)
kind.check_schema(schema)
validator = kind(schema)
print(json.dumps(['; '.join(e.message for e in validator.iter_errors(d)) for d in json.load(open(sys.argv[2]))]))
";
    let file = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(file.path(), serde_json::to_vec(documents).unwrap()).unwrap();
    let output = Command::new(python()).arg("-c").arg(SCRIPT).arg(root().join(schema)).arg(file.path()).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn from_toml(text: &str) -> Value {
    toml::from_str(text).unwrap()
}

#[test]
fn the_schemas_are_in_step() {
    in_step("rhdh-plugins.schema.json", &printed(&["schema"]));
    in_step("schemas/plan.schema.json", &printed(&["schema", "plan"]));
    in_step("schemas/result.schema.json", &printed(&["schema", "result"]));
}

#[test]
fn every_key_has_a_description_and_an_example() {
    let schema: Value = serde_json::from_str(&printed(&["schema"])).unwrap();
    for (name, table) in schema["properties"].as_object().unwrap() {
        let entry = table.get("additionalProperties").filter(|inner| inner.is_object()).unwrap_or(table);
        for (key, value) in entry["properties"].as_object().unwrap() {
            assert!(value["description"].as_str().is_some_and(|text| text.len() > 10), "{name}.{key}");
            assert!(value["examples"].as_array().is_some_and(|examples| !examples.is_empty()), "{name}.{key}");
        }
    }
}

#[test]
fn the_reference_is_in_step() {
    let schema: Value = serde_json::from_str(&printed(&["schema"])).unwrap();
    let example = fs_err::read_to_string(root().join("rhdh-plugins.toml.example")).unwrap();
    in_step("docs/configuration.md", &reference(&schema, &example));
}

#[test]
fn configurations_fit_their_schema() {
    let read = |file: &str| from_toml(&fs_err::read_to_string(root().join(file)).unwrap());
    let right = [
        read("rhdh-plugins.toml.example"),
        read("examples/todo/rhdh-plugins.toml"),
        from_toml("[plugins.a]\npath = \"a\""),
        from_toml("[channels.a]\non = \"manual\"\n[channels.b]\non = [{ tag = \"v*\" }, \"schedule\"]\ntags = []"),
    ];
    for (fault, document) in faults("rhdh-plugins.schema.json", &right).iter().zip(&right) {
        assert_eq!(fault, "", "{document}");
    }
    let wrong = [
        "[plugin.a]\npath = \"a\"",
        "[plugins.a]\npath = \"a\"\nembed = []",
        "[plugins.a]\nimage = \"a\"",
        "[plugins.A]\npath = \"a\"",
        "[plugins.a]\npath = \"a\"\nimage = \"Team/todo\"",
        "[plugins.a]\npath = \"a\"\nexport = \"npm\"",
        "[registries.a]\noci = \"quay.io/acme\"\nnpm = \"https://nexus\"",
        "[registries.a]\ninsecure = true",
        "[registries.a]\nnpm = \"https://nexus\"\nbase-url = \"https://nexus\"",
        "[registries.a]\noci = \"quay.io\"",
        "[channels.a]\non = \"push\"",
        "[rhdh]\nversion = 1.9",
        "[rhdh]\nversion = \"1.9.1\"",
        "[defaults]\npath = \"a\"",
        "[bundles.a]\nimage = \"a\"",
    ];
    let documents = wrong.map(from_toml);
    for (fault, text) in faults("rhdh-plugins.schema.json", &documents).iter().zip(wrong) {
        assert_ne!(fault, "", "{text}");
    }
}

#[test]
fn real_documents_fit_their_schemas() {
    let repository = Repository::new();
    let manifest = json!({
        "name": "@acme/plugin-todo-backend-dynamic", "version": "1.0.0", "main": "index.js",
        "backstage": { "role": "backend-plugin" },
    });
    repository
        .write("plugins/todo-backend/dist-dynamic/package.json", manifest.to_string())
        .write(
            "plugins/todo-backend/dist-dynamic/index.js",
            "exports.default = { $$type: '@backstage/BackendFeature' };",
        )
        .config(
            "[registries.site]\ndir = \"public\"\n[defaults]\nexport = \"prebuilt\"\nregistries = [\"site\"]\n\
             [plugins.todo]\npath = \"plugins/todo\"\n[plugins.todo-backend]\npath = \"plugins/todo-backend\"\n\
             [bundles.both]\nplugins = [\"todo\", \"todo-backend\"]\n",
        );
    // One of the plugins has no dist-dynamic: the documents hold a failure, too.
    let output = rhdh_pack(repository.root()).arg("run").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    for name in ["plan", "result"] {
        let text = fs_err::read_to_string(repository.root().join(format!(".rhdh-pack/{name}.json"))).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        let mut wrong = document.clone();
        wrong["plugins"][0]["action"] = json!("later");
        let faults = faults(&format!("schemas/{name}.schema.json"), &[document, wrong]);
        assert_eq!(faults[0], "", "{text}");
        assert_ne!(faults[1], "");
    }
}

#[test]
fn shells_and_the_manual_know_every_command() {
    let help = printed(&["--help"]);
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            line.strip_prefix("  ")?.split(' ').next().filter(|name| !name.is_empty() && *name != "help")
        })
        .collect();
    assert!(commands.contains(&"schema") && commands.contains(&"run"), "{help}");
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = printed(&["completions", shell]);
        assert!(commands.iter().all(|command| script.contains(command)), "{shell}");
    }
    let main_page = printed(&["man"]);
    for command in commands {
        assert!(main_page.contains(&format!("rhdh\\-pack\\-{command}(1)")), "{command}: {main_page}");
        assert!(printed(&["man", command]).contains(".SH OPTIONS"), "{command}");
    }
    let unknown = rhdh_pack(root()).args(["man", "paint"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
}

/// `docs/configuration.md`.
fn reference(schema: &Value, example: &str) -> String {
    let mut text = format!(
        "# The configuration: `rhdh-plugins.toml`\n\n{}\n\nThe first line `#:schema ./rhdh-plugins.schema.json` gives \
         editors completion and checks; `rhdh-pack schema >\nrhdh-plugins.schema.json` writes that file. `rhdh-pack \
         check` says what is wrong, with file, line and column.\n",
        schema["description"].as_str().unwrap()
    );
    for (name, table) in schema["properties"].as_object().unwrap() {
        let inner = table.get("additionalProperties").filter(|inner| inner.is_object());
        let heading = if inner.is_some() { format!("[{name}.ID]") } else { format!("[{name}]") };
        let entry = inner.unwrap_or(table);
        let about = entry["description"].as_str().unwrap_or(table["description"].as_str().unwrap());
        let about = about.split_once("]`: ").map_or(about, |(_, about)| about);
        text.push_str(&format!("\n## `{heading}`\n\n{}\n\n", sentence(about)));
        let required: Vec<&Value> = entry["required"].as_array().into_iter().flatten().collect();
        for (key, value) in entry["properties"].as_object().unwrap() {
            let mut facts = vec![kind(value)];
            if required.iter().any(|name| *name == key) {
                facts.push("needed".to_owned());
            }
            if let Some(default) = value.get("default") {
                facts.push(format!("default `{}`", in_toml(default)));
            }
            let about = value["description"].as_str().unwrap().replace('\n', "\n  ");
            text.push_str(&format!("- **`{key}`** ({}): {about}", facts.join(", ")));
            let examples: Vec<String> = value["examples"].as_array().into_iter().flatten().map(in_toml).collect();
            if !examples.is_empty() {
                text.push_str(&format!("\n  For example `{key} = {}`.", examples.join(&format!("`, `{key} = "))));
            }
            text.push('\n');
        }
    }
    text.push_str(&format!("\n## All of it in one file\n\n```toml\n{}```\n", example));
    text
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// The type of a value, for people.
fn kind(value: &Value) -> String {
    if let Some(choices) = value["oneOf"].as_array() {
        let names: Vec<String> = choices.iter().map(|choice| format!("`{}`", choice["const"])).collect();
        return names.join(" or ");
    }
    match value["type"].as_str() {
        Some("string") => "text".to_owned(),
        Some("boolean") => "true or false".to_owned(),
        Some("integer") => format!("number from {} to {}", value["minimum"], value["maximum"]),
        Some("array") => "list of texts".to_owned(),
        Some("object") => "table of texts".to_owned(),
        _ => {
            "one or a list of `\"pull-request\"`, `\"schedule\"`, `\"manual\"`, `{ branch = \"GLOB\" }`, `{ tag = \"GLOB\" }`"
                .to_owned()
        }
    }
}

fn in_toml(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| {
                let bare = key.chars().all(|character| character.is_ascii_alphanumeric() || "-_".contains(character));
                let key = if bare { key.clone() } else { format!("\"{key}\"") };
                format!("{key} = {}", in_toml(value))
            });
            format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
        Value::Array(values) => format!("[{}]", values.iter().map(in_toml).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}
