//! `update`: files of RHDH in every shape, and what is new in them. Random files know beforehand, byte for byte, what
//! is to come out; a YAML parser that has no part in the work reads it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use common::rhdh_pack;
use proptest::prelude::*;
use rhdh_pack::report::RunResult;
use rhdh_pack::update::{self, Error, Ours};
use serde_json::{Value, json};

fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

/// As an integrity is: 88 characters, and a `/` and a `+` among them.
fn integrity(digit: char) -> String {
    format!("sha512-{}/+{}A==", digit.to_string().repeat(42), digit.to_string().repeat(41))
}

/// A run that published `todo` as an image, `backend` in a bundle and as an archive, `seed` to an npm registry.
fn result() -> Value {
    let artifact = |id: &str, role: Option<&str>, more: Value| {
        let mut artifact = json!({
            "id": id, "state": "published", "action": "build", "reasons": [], "version": "2.0.0", "content_key": null,
            "role": role, "image_name": id, "image": null, "tgz": null, "plugin_config": null, "error": null,
        });
        artifact.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        artifact
    };
    let image = |name: &str, digit| {
        json!({
            "registry": "quay", "reference": format!("quay.io/acme/{name}@{}", digest(digit)), "digest": digest(digit),
            "tags": ["2.0.0"], "size": 1, "state": "new",
        })
    };
    let file = json!({
        "registry": "site", "path": "public/acme-backend-2.0.0.tgz", "url": "https://plugins.acme.dev/acme-backend-2.0.0.tgz",
        "integrity": integrity('B'), "size": 1, "state": "new",
    });
    let npm = json!({
        "registry": "nexus", "name": "@acme/seed-dynamic", "version": "2.0.0", "tags": ["latest"],
        "integrity": integrity('S'), "size": 1, "state": "new",
    });
    json!({
        "schema_version": 1, "rhdh_pack": "0.1.0", "channel": "release", "commit": "a".repeat(40),
        "started": "2026-11-22T10:00:00Z", "finished": "2026-11-22T10:01:00Z", "outcome": "success",
        "plugins": [
            artifact("todo", Some("frontend-plugin"), json!({ "images": [image("todo", 'a')] })),
            artifact("backend", Some("backend-plugin"), json!({ "files": [file] })),
            artifact("seed", Some("backend-plugin-module"), json!({ "npm": [npm] })),
        ],
        "bundles": [artifact("all", None, json!({ "members": ["todo", "backend"], "images": [image("all", 'c')] }))],
    })
}

fn ours() -> Ours {
    Ours::of(&serde_json::from_value::<RunResult>(result()).unwrap())
}

fn updated(text: &str) -> String {
    update::update("f.yaml", text, &ours()).unwrap_or_else(|error| panic!("{error}: {error:?}\n{text}")).text
}

/// The new value of the image `todo`.
fn todo() -> String {
    format!("oci://quay.io/acme/todo@{}!todo", digest('a'))
}

#[test]
fn every_shape_keeps_everything_but_our_values() {
    let todo = todo();
    let backend = "https://plugins.acme.dev/acme-backend-2.0.0.tgz";
    let integrity = integrity('B');
    for (before, after) in [
        // Quotes, comments, spaces, keys in any order, `disabled: true`.
        (
            "plugins: # ours\n- disabled:  true # off\n  package:   'oci://quay.io/acme/todo:1.0.0!todo' # p\n".to_owned(),
            format!("plugins: # ours\n- disabled:  true # off\n  package:   '{todo}' # p\n"),
        ),
        // Windows, a byte order mark, no line break at the end.
        (
            "\u{feff}plugins:\r\n  - package: oci://quay.io/acme/todo:1!todo".to_owned(),
            format!("\u{feff}plugins:\r\n  - package: {todo}"),
        ),
        // An integrity that is missing, in the entry's style.
        (
            "plugins:\r\n  - package: \"https://plugins.acme.dev/acme-backend-1.0.0.tgz\" # c\r\n    disabled: false\r\n".to_owned(),
            format!(
                "plugins:\r\n  - package: \"{backend}\" # c\r\n    integrity: \"{integrity}\"\r\n    disabled: false\r\n"
            ),
        ),
        (
            "plugins: [{package: https://plugins.acme.dev/acme-backend-1.0.0.tgz, disabled: false}]".to_owned(),
            format!("plugins: [{{package: {backend}, integrity: {integrity}, disabled: false}}]"),
        ),
        (
            "{\"plugins\": [\n  {\n    \"package\": \"https://plugins.acme.dev/acme-backend-1.0.0.tgz\"\n  }\n]}\n".to_owned(),
            format!(
                "{{\"plugins\": [\n  {{\n    \"package\": \"{backend}\",\n    \"integrity\": \"{integrity}\"\n  }}\n]}}\n"
            ),
        ),
        (
            "plugins:\n  - package: https://plugins.acme.dev/acme-backend-1.0.0.tgz".to_owned(),
            format!("plugins:\n  - package: {backend}\n    integrity: {integrity}"),
        ),
        // An integrity that is there.
        (
            "plugins:\n- integrity: sha512-old\n  package: https://plugins.acme.dev/acme-backend-1.0.0.tgz\n".to_owned(),
            format!("plugins:\n- integrity: {integrity}\n  package: {backend}\n"),
        ),
        // Values in other styles.
        (
            "plugins:\n- package: >-\n    oci://quay.io/acme/todo:1!todo\n- package: \"oci://quay.io/acme/\\x74odo:1\" # c\n".to_owned(),
            format!("plugins:\n- package: >-\n    {todo}\n- package: \"oci://quay.io/acme/todo@{}\" # c\n", digest('a')),
        ),
        // Helm values, of a chart in a chart too.
        (
            "global:\n  dynamic:\n    plugins:\n      - package: oci://quay.io/acme/todo:1!todo\nrhdh:\n  global: {dynamic: \
             {plugins: [{package: \"oci://quay.io/acme/todo:1!todo\"}]}}\n"
                .to_owned(),
            format!(
                "global:\n  dynamic:\n    plugins:\n      - package: {todo}\nrhdh:\n  global: {{dynamic: \
                 {{plugins: [{{package: \"{todo}\"}}]}}}}\n"
            ),
        ),
        // A ConfigMap, behind another document.
        (
            "kind: Other\n---\nkind: ConfigMap\ndata:\n  x: |\n    a\n  dynamic-plugins.yaml: |\n    # c\n    plugins:\n\n      - \
             package: https://plugins.acme.dev/acme-backend-1.0.0.tgz\n        disabled: true\n  z: 1\n"
                .to_owned(),
            format!(
                "kind: Other\n---\nkind: ConfigMap\ndata:\n  x: |\n    a\n  dynamic-plugins.yaml: |\n    # c\n    plugins:\n\n      - \
                 package: {backend}\n        integrity: {integrity}\n        disabled: true\n  z: 1\n"
            ),
        ),
        // With an indentation indicator, Windows lines, and keeping the last empty lines.
        (
            "data:\r\n  d.yaml: |2+\r\n    plugins:\r\n      - package: oci://quay.io/acme/todo:1!todo\r\n\r\n\r\n  b: c\r\n".to_owned(),
            format!("data:\r\n  d.yaml: |2+\r\n    plugins:\r\n      - package: {todo}\r\n\r\n\r\n  b: c\r\n"),
        ),
        // Anchors, aliases and merge keys.
        (
            "x: &todo\n  package: oci://quay.io/acme/todo:1!todo\nplugins:\n- *todo\n- <<: *todo\n  disabled: true\n".to_owned(),
            format!("x: &todo\n  package: {todo}\nplugins:\n- *todo\n- <<: *todo\n  disabled: true\n"),
        ),
        (
            "plugins:\n- package: &ref oci://quay.io/acme/todo:1!todo\n- {package: *ref , disabled: true}\n".to_owned(),
            format!("plugins:\n- package: &ref {todo}\n- {{package: *ref , disabled: true}}\n"),
        ),
        (
            "x: &x {package: &p !!str 'https://plugins.acme.dev/acme-backend-1.0.0.tgz' , a: b}\nplugins: [ *x ]\n".to_owned(),
            format!("x: &x {{package: &p !!str '{backend}', integrity: '{integrity}' , a: b}}\nplugins: [ *x ]\n"),
        ),
        // Twice the same; the bundle; npm; tags.
        (
            "plugins:\n- package: oci://quay.io/acme/all:1!todo\n- package: oci://quay.io/acme/all:1!todo\n- package: !!str \
             \"@acme/seed-dynamic@1.0.0\"\n  integrity: ''\n"
                .to_owned(),
            format!(
                "plugins:\n- package: oci://quay.io/acme/all@{0}!todo\n- package: oci://quay.io/acme/all@{0}!todo\n- package: \
                 !!str \"@acme/seed-dynamic@2.0.0\"\n  integrity: \"{1}\"\n",
                digest('c'),
                self::integrity('S')
            ),
        ),
        // Nothing of ours: pluginConfig, other keys, other images.
        (
            "packages:\n- package: oci://quay.io/acme/todo:1!todo\nplugins:\n- package: oci://quay.io/acme/todos:1!todo\n  \
             pluginConfig:\n    plugins:\n    - package: oci://quay.io/acme/todo:1!todo\n- ./dynamic-plugins/dist/x\n-\n"
                .to_owned(),
            "packages:\n- package: oci://quay.io/acme/todo:1!todo\nplugins:\n- package: oci://quay.io/acme/todos:1!todo\n  \
             pluginConfig:\n    plugins:\n    - package: oci://quay.io/acme/todo:1!todo\n- ./dynamic-plugins/dist/x\n-\n"
                .to_owned(),
        ),
        (String::new(), String::new()),
        ("# nothing\n".to_owned(), "# nothing\n".to_owned()),
    ] {
        assert_eq!(updated(&before), after);
        assert_eq!(updated(&after), after, "a second time");
    }
}

#[test]
fn what_cannot_be_changed_alone_is_refused() {
    let update = |text: &str| update::update("f.yaml", text, &ours());
    let package = "package: oci://quay.io/acme/todo:1!todo";
    for (text, code) in [
        // Another value is an alias of ours.
        ("plugins:\n- package: &r oci://quay.io/acme/todo:1!todo\nlabel: *r\n".to_owned(), "update-changes-more"),
        // The entry that the value is merged into overrides nothing, and needs an integrity: in the anchor.
        ("data:\n  a: \"plugins:\\n- package: oci://quay.io/acme/todo:1!todo\\n\"\n".to_owned(), "update-no-place"),
        (format!("data:\n  a: >\n    plugins:\n\n    - {package}\n"), "update-no-place"),
        (format!("plugins:\n\t- {package}\n"), "update-not-yaml"),
        (format!("plugins:\n- {package}\n  {package}\n"), "update-not-yaml"),
        (format!("{{{{ if .Values.x }}}}\nplugins:\n- {package}\n"), "update-not-yaml"),
        (format!("plugins: [{{{package}}}"), "update-not-yaml"),
        ("[".repeat(100_000), "update-not-yaml"),
        ("- ".repeat(100_000), "update-not-yaml"),
        ("plugins:\n- package:\n    https://plugins.acme.dev/acme-backend-1.0.0.tgz\n".to_owned(), "update-no-place"),
        (format!("# {}", "x".repeat(9 << 20)), "update-too-large"),
    ] {
        let error: Error = update(&text).expect_err(&text);
        assert_eq!(miette::Diagnostic::code(&error).unwrap().to_string(), code, "{error} in {text:.200}");
    }
}

#[test]
fn a_bomb_of_aliases_is_small() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..40 {
        let inner = vec![format!("*a{}", level - 1); 9].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{inner}]\n"));
    }
    // Nothing of ours: nothing to compare, and nothing is followed.
    assert_eq!(updated(&text), text);
    text.push_str("plugins:\n- package: oci://quay.io/acme/todo:1!todo\n");
    let error = update::update("f.yaml", &text, &ours()).unwrap_err();
    assert!(matches!(error, Error::NotYaml { .. }), "{error}");
}

/// A piece of a file: how it is before, and how it should be after.
#[derive(Clone, Debug)]
struct Piece(String, String);

fn same(text: impl Into<String>) -> Piece {
    let text = text.into();
    Piece(text.clone(), text)
}

fn join(pieces: impl IntoIterator<Item = Piece>) -> Piece {
    pieces.into_iter().fold(same(""), |whole, piece| Piece(whole.0 + &piece.0, whole.1 + &piece.1))
}

#[derive(Clone, Copy, Debug)]
enum Style {
    Block,
    Flow,
    Json,
}

/// One entry, without what stands before it; its lines behind the first begin with `margin`.
fn entry(kind: u8, style: Style, quote: &str, keys: (bool, bool), comment: &str, margin: &str) -> Piece {
    let quote = match style {
        Style::Json => "\"",
        _ => quote,
    };
    // npm names cannot stand without quotes.
    let (old, new, integrity, known) = match kind {
        0 => ("oci://quay.io/acme/todo:1.0.0!todo".to_owned(), todo(), None, false),
        1 => (format!("oci://quay.io/acme/todo@{}!todo", digest('0')), todo(), None, false),
        2 | 3 => (
            "https://plugins.acme.dev/acme-backend-1.0.0.tgz".to_owned(),
            "https://plugins.acme.dev/acme-backend-2.0.0.tgz".to_owned(),
            Some(integrity('B')),
            kind == 2,
        ),
        4 => ("@acme/seed-dynamic@1.0.0".to_owned(), "@acme/seed-dynamic@2.0.0".to_owned(), Some(integrity('S')), true),
        5 => (
            "oci://quay.io/acme/other:1.0.0!todo".to_owned(),
            "oci://quay.io/acme/other:1.0.0!todo".to_owned(),
            None,
            false,
        ),
        _ => ("./dynamic-plugins/dist/x".to_owned(), "./dynamic-plugins/dist/x".to_owned(), None, false),
    };
    let quote = if kind == 4 && quote.is_empty() { "'" } else { quote };
    let key = |name: &str| if matches!(style, Style::Json) { format!("\"{name}\"") } else { name.to_owned() };
    let package =
        Piece(format!("{}: {quote}{old}{quote}", key("package")), format!("{}: {quote}{new}{quote}", key("package")));
    let mut lines = vec![package];
    let (disabled, config) = keys;
    let added = integrity.filter(|new| {
        if known {
            let old = self::integrity('0');
            let line = |value: &str| format!("{}: {quote}{value}{quote}", key("integrity"));
            lines.push(Piece(line(&old), line(new)));
        }
        !known
    });
    let added = added.map(|new| format!("{}: {quote}{new}{quote}", key("integrity")));
    if disabled {
        lines.insert(0, same(format!("{}: true", key("disabled"))));
    }
    if config {
        let text = match style {
            Style::Block => {
                format!("pluginConfig:\n{margin}  a: [1, {{b: é}}]\n{margin}  c: |\n{margin}    plugins: package")
            }
            Style::Flow | Style::Json => format!("{}: {{\"a\": [1, \"é\"]}}", key("pluginConfig")),
        };
        lines.push(same(text));
    }
    let mut pieces = Vec::new();
    if !matches!(style, Style::Block) {
        pieces.push(same("{"));
    }
    let between = match style {
        Style::Block => format!("\n{margin}"),
        Style::Flow | Style::Json => ", ".to_owned(),
    };
    for (at, line) in lines.into_iter().enumerate() {
        if at > 0 {
            pieces.push(same(between.clone()));
        }
        let is_package = line.0.contains("package") && !line.0.contains("pluginConfig");
        pieces.push(line);
        if is_package && let (Style::Flow | Style::Json, Some(added)) = (style, &added) {
            pieces.push(Piece(String::new(), format!(", {added}")));
        }
        if matches!(style, Style::Block) && at == 0 {
            pieces.push(same(comment));
        }
        if is_package && let (Style::Block, Some(added)) = (style, &added) {
            pieces.push(Piece(String::new(), format!("\n{margin}{added}")));
        }
    }
    if !matches!(style, Style::Block) {
        pieces.push(same("}"));
        pieces.push(same(comment));
    }
    join(pieces)
}

/// Kind, style, quotes, whether it has `disabled` and `pluginConfig`, comment, whether a line stands before it.
type Entry = (u8, Style, &'static str, (bool, bool), &'static str, bool);

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let style = prop_oneof![Just(Style::Block), Just(Style::Flow), Just(Style::Json)];
    let quote = prop_oneof![Just(""), Just("'"), Just("\"")];
    let comment = prop_oneof![Just(""), Just(" # é: 'c' !todo"), Just("   ")];
    prop::collection::vec((0_u8..7, style, quote, any::<(bool, bool)>(), comment, any::<bool>()), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn only_the_bytes_of_our_values_change(
        entries in entries(),
        shape in 0_usize..4,
        indent in 0_usize..4,
        crlf: bool,
        mark: bool,
        anchored: bool,
    ) {
        let below = " ".repeat(indent);
        let mut pieces = vec![same("# ü\n")];
        if anchored {
            // Used by an entry, and by nothing else.
            let old = "oci://quay.io/acme/all:1!backend";
            let new = format!("oci://quay.io/acme/all@{}!backend", digest('c'));
            pieces.push(Piece(format!("x-all: &all {{package: '{old}'}}\n"), format!("x-all: &all {{package: '{new}'}}\n")));
        }
        pieces.push(same("plugins:\n"));
        if anchored {
            pieces.push(same(format!("{below}- *all\n")));
        }
        for (kind, style, quote, keys, comment, blank) in &entries {
            let margin = format!("{below}  ");
            pieces.push(same(if *blank { "\n# between\n" } else { "" }));
            pieces.push(same(format!("{below}- ")));
            pieces.push(entry(*kind, *style, quote, *keys, comment, &margin));
            pieces.push(same("\n"));
        }
        if entries.is_empty() && !anchored {
            pieces.push(same(format!("{below} []\n")));
        }
        let Piece(old, new) = join(pieces);
        let within = |head: &str, margin: &str, text: &str, tail: &str| {
            let lines = text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("{margin}{line}\n") });
            format!("{head}{}{tail}", lines.collect::<String>())
        };
        let whole = |text: &str| {
            let text = match shape {
                0 => text.to_owned(),
                1 => within("global:\n  dynamic:\n", "    ", text, "after: {a: b}\n"),
                2 => within("kind: ConfigMap\ndata:\n  dynamic-plugins.yaml: | # block\n", "    ", text, "  other: 'x'\n"),
                _ => format!("---\na: 1\n---\n{text}...\n---\n- last\n"),
            };
            let text = if crlf { text.replace('\n', "\r\n") } else { text };
            if mark { format!("\u{feff}{text}") } else { text }
        };
        let (old, new) = (whole(&old), whole(&new));
        prop_assert_eq!(&updated(&old), &new);
        // A parser reads the new values, and all others as they were: for this one, the texts must be YAML at all.
        let read = |text: &str| -> Vec<serde_yaml::Value> {
            let text = text.trim_start_matches('\u{feff}');
            serde_yaml::Deserializer::from_str(text).map(|document| serde::Deserialize::deserialize(document).unwrap()).collect()
        };
        prop_assert_eq!(read(&old).len(), read(&new).len());
        prop_assert_eq!(updated(&new), new);
    }

    #[test]
    fn no_text_is_too_strange(text in "(plugins|package|:|-|oci://quay\\.io/acme/todo:1!todo|\\[|\\]|\\{|\\}|&a|\\*a|\\||>|\"|'|#|\n|\r\n| |  |\t|é|---|<<|!!str|\\?|,){0,40}") {
        if let Ok(updated) = update::update("f.yaml", &text, &ours()) {
            prop_assert_eq!(updated.changes.is_empty(), updated.text == text);
        }
    }
}

/// A folder with a result and files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs_err::create_dir(folder.path().join("out")).unwrap();
    fs_err::write(folder.path().join("out/result.json"), result().to_string()).unwrap();
    for (name, text) in files {
        fs_err::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn run(folder: &tempfile::TempDir, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } =
        rhdh_pack(folder.path()).args(["--out-dir", "out", "update"]).args(arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn files_are_checked_and_then_written() {
    let before = "plugins:\n- package: oci://quay.io/acme/todo:1!todo # mine\n";
    let folder = folder(&[("a.yaml", before), ("b.yaml", "plugins: []\n")]);
    let file = folder.path().join("a.yaml");
    fs_err::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
    let (code, stdout, stderr) = run(&folder, &["--check", "a.yaml", "b.yaml"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert_eq!(stdout, format!("a.yaml:2: todo package\n-oci://quay.io/acme/todo:1!todo\n+{}\n", todo()));
    assert!(stderr.contains("`b.yaml` has no entry"), "{stderr}");
    assert_eq!(fs_err::read_to_string(&file).unwrap(), before);

    let (code, stdout, stderr) = run(&folder, &["a.yaml", "b.yaml"]);
    assert_eq!((code, stdout.as_str()), (Some(0), ""), "{stderr}");
    assert_eq!(fs_err::read_to_string(&file).unwrap(), format!("plugins:\n- package: {} # mine\n", todo()));
    assert_eq!(fs_err::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(run(&folder, &["--check", "a.yaml"]).0, Some(0));
    let left: Vec<_> = fs_err::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn one_bad_file_leaves_all_as_they_are() {
    let before = "plugins:\n- package: oci://quay.io/acme/todo:1!todo\n";
    let folder = folder(&[("a.yaml", before), ("b.yaml", "plugins: [")]);
    let (code, _, stderr) = run(&folder, &["a.yaml", "b.yaml"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("b.yaml"), "{stderr}");
    assert_eq!(fs_err::read_to_string(folder.path().join("a.yaml")).unwrap(), before);
    assert_eq!(run(&folder, &["missing.yaml"]).0, Some(3));
    assert_eq!(run(&folder, &["."]).0, Some(3));
}

#[test]
fn links_are_followed_inside_only() {
    let before = "plugins:\n- package: oci://quay.io/acme/todo:1!todo\n";
    let folder = folder(&[("real.yaml", before)]);
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("outside.yaml");
    fs_err::write(&target, before).unwrap();
    std::os::unix::fs::symlink("real.yaml", folder.path().join("inside.yaml")).unwrap();
    std::os::unix::fs::symlink(&target, folder.path().join("out.yaml")).unwrap();
    let (code, _, stderr) = run(&folder, &["out.yaml"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("is a link to"), "{stderr}");
    assert_eq!(fs_err::read_to_string(&target).unwrap(), before);
    assert_eq!(run(&folder, &["inside.yaml"]).0, Some(0));
    assert!(fs_err::symlink_metadata(folder.path().join("inside.yaml")).unwrap().is_symlink());
    assert!(fs_err::read_to_string(folder.path().join("real.yaml")).unwrap().contains(&digest('a')));
}

#[test]
fn a_run_that_published_nothing_updates_nothing() {
    let folder = folder(&[("a.yaml", "plugins: []\n")]);
    let mut result = result();
    for artifact in result["plugins"].as_array_mut().unwrap() {
        artifact["state"] = "failed".into();
    }
    result["bundles"] = json!([]);
    fs_err::write(folder.path().join("out/result.json"), result.to_string()).unwrap();
    let (code, _, stderr) = run(&folder, &["a.yaml"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("todo failed") && stderr.contains("published nothing"), "{stderr}");
}

#[test]
fn many_updates_at_once_leave_a_whole_file() {
    let entries = "- package: oci://quay.io/acme/todo:1!todo\n".repeat(2_000);
    let folder = folder(&[("a.yaml", &format!("plugins:\n{entries}"))]);
    let running: Vec<_> = (0..6)
        .map(|_| {
            let mut command = rhdh_pack(folder.path());
            command.args(["--out-dir", "out", "--quiet", "update", "a.yaml"]).spawn().unwrap()
        })
        .collect();
    for mut child in running {
        assert!(child.wait().unwrap().success());
    }
    let text = fs_err::read_to_string(folder.path().join("a.yaml")).unwrap();
    assert_eq!(text, format!("plugins:\n{}", format!("- package: {}\n", todo()).repeat(2_000)));
}
