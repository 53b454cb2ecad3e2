use serde_json::{Value, json};

use super::*;

/// A layer with these files.
fn contents(files: &[(&str, &str)]) -> Contents {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    Contents::read(&mut archive.into_inner().unwrap().as_slice())
}

fn document_of(plugins: &[&str], files: &[(&str, &str)]) -> Value {
    let subject =
        Subject { name: "todo", version: "1.0.0", digest: &Digest::of(b"manifest"), plugins: plugins.to_vec() };
    serde_json::from_slice(&document(&subject, &contents(files))).unwrap()
}

#[test]
fn every_package_is_a_component_once_and_knows_its_places() {
    let document = document_of(
        &["x", "y"],
        &[
            ("x/package.json", r#"{"name":"@acme/x-dynamic","version":"1.0.0","dependencies":{"a":"1","b":"1"}}"#),
            ("x/index.js", "1"),
            ("x/node_modules/.bin/tool", "1"),
            ("x/node_modules/a/package.json", r#"{"name":"a","version":"2.0.0+b","dependencies":{"b":"2"}}"#),
            ("x/node_modules/a/node_modules/b/package.json", r#"{"name":"b","version":"2.0.0"}"#),
            ("x/node_modules/b/package.json", r#"{"name":"b","version":"1.0.0"}"#),
            (
                "y/package.json",
                r#"{"name":"y","version":"1.0.0","backstage":{"role":"frontend-plugin"},"dependencies":{"b":"1"}}"#,
            ),
            ("y/node_modules/b/package.json", r#"{"name":"b","version":"1.0.0"}"#),
            ("y/node_modules/c/package.json", r#"{"name":"c","version":"1.0.0"}"#),
            ("x/node_modules/c/package.json", r#"{"name":"c","version":"1.0.0"}"#),
            ("x/node_modules/c/more.js", "1"),
            ("y/node_modules/nameless/index.js", "1"),
            ("index.json", "[]"),
        ],
    );
    let found: Vec<(&str, Vec<&str>)> = document["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|component| {
            let places = component["evidence"]["occurrences"].as_array().unwrap();
            let places = places.iter().map(|place| place["location"].as_str().unwrap()).collect();
            (component["bom-ref"].as_str().unwrap(), places)
        })
        .collect();
    let c = |content: &[(&str, &str)]| {
        let lines: Vec<String> =
            content.iter().map(|(path, text)| format!("{}  {path}\n", hex::encode(Sha256::digest(text)))).collect();
        format!("pkg:npm/c@1.0.0#{}", &hex::encode(Sha256::digest(lines.concat()))[..16])
    };
    let package = r#"{"name":"c","version":"1.0.0"}"#;
    let (small, large) = (c(&[("package.json", package)]), c(&[("more.js", "1"), ("package.json", package)]));
    let mut expected = vec![
        ("nameless@", vec!["y/node_modules/nameless"]),
        ("pkg:npm/%40acme/x-dynamic@1.0.0", vec!["x"]),
        ("pkg:npm/a@2.0.0%2Bb", vec!["x/node_modules/a"]),
        ("pkg:npm/b@1.0.0", vec!["x/node_modules/b", "y/node_modules/b"]),
        ("pkg:npm/b@2.0.0", vec!["x/node_modules/a/node_modules/b"]),
        (&small, vec!["y/node_modules/c"]),
        (&large, vec!["x/node_modules/c"]),
        ("pkg:npm/y@1.0.0", vec!["y"]),
    ];
    expected.sort_unstable();
    assert_eq!(found, expected);

    let depends = |reference: &str| {
        let all = document["dependencies"].as_array().unwrap();
        all.iter().find(|one| one["ref"] == reference).unwrap()["dependsOn"].clone()
    };
    assert_eq!(depends("pkg:npm/%40acme/x-dynamic@1.0.0"), json!(["pkg:npm/a@2.0.0%2Bb", "pkg:npm/b@1.0.0"]));
    assert_eq!(depends("pkg:npm/a@2.0.0%2Bb"), json!(["pkg:npm/b@2.0.0"]));
    assert_eq!(depends("pkg:npm/b@2.0.0"), Value::Null);
    let image = document["metadata"]["component"]["bom-ref"].as_str().unwrap();
    assert_eq!(depends(image), json!(["pkg:npm/%40acme/x-dynamic@1.0.0", "pkg:npm/y@1.0.0"]));
    assert_eq!(document["compositions"], json!([{ "aggregate": "incomplete", "dependencies": ["pkg:npm/y@1.0.0"] }]));
}

#[test]
fn what_package_json_says_may_be_anything() {
    let document = document_of(
        &["x"],
        &[
            ("x/package.json", r#"{"name":7,"version":[],"license":{"type":{}}}"#),
            ("x/node_modules/a/package.json", "{"),
            ("x/node_modules/@s/b/package.json", r#"{"name":"../../etc/passwd","version":"\u0000"}"#),
        ],
    );
    let names: Vec<&Value> = document["components"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["../../etc/passwd", "a", "x"]);
    assert!(document["components"].as_array().unwrap().iter().all(|one| one.get("purl").is_none()));
}
