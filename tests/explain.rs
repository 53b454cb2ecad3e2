//! `explain`, and that there is a text for every code that the program can emit, and no text for others.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use common::{rhdh_pack, transcript};
use rhdh_pack::explain::all;
use rhdh_pack::package::Rule;

/// The codes in the sources: where failures are made, and what `code()` of an error gives.
fn emitted() -> BTreeSet<String> {
    // What stands before a code, up to its quotation mark.
    let before = ["Failure::new(", "failure(", "code(", "code:", "refused(", "Failure::of("];
    let mut codes: BTreeSet<String> = Rule::ALL.iter().map(|rule| rule.name()).collect();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in walkdir::WalkDir::new(sources) {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy();
        if !name.ends_with(".rs") || name.ends_with("tests.rs") {
            continue;
        }
        let text = fs_err::read_to_string(entry.path()).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        for marker in before {
            let quoted = text.split(marker).skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"'));
            codes.extend(
                quoted.filter_map(|rest| rest.split('"').next()).filter(|code| is_code(code)).map(str::to_owned),
            );
        }
        for (start, end) in [("fn code(", "\n    }\n"), ("let (code, help) = match", "\n    };\n")] {
            for body in text.split(start).skip(1) {
                let body = body.split(end).next().unwrap();
                let quoted = body.split('"').skip(1).step_by(2).filter(|code| is_code(code));
                codes.extend(quoted.map(str::to_owned));
            }
        }
    }
    codes
}

/// Kebab-case.
fn is_code(text: &str) -> bool {
    let is_part =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    text.split('-').all(is_part)
}

#[test]
fn every_code_has_a_text_and_every_text_a_code() {
    let emitted = emitted();
    let explained: Vec<&str> = all().map(|(code, _)| code).collect();
    let unique: BTreeSet<String> = explained.iter().map(|code| (*code).to_owned()).collect();
    assert_eq!(unique.len(), explained.len(), "a code stands twice in docs/troubleshooting.md");
    let missing: Vec<&String> = emitted.difference(&unique).collect();
    let needless: Vec<&String> = unique.difference(&emitted).collect();
    assert!(missing.is_empty(), "docs/troubleshooting.md has no text for {missing:?}");
    assert!(needless.is_empty(), "docs/troubleshooting.md explains what is never said: {needless:?}");
    assert!(all().all(|(_, text)| text.len() > 20 && !text.contains("\n## ")));
}

#[test]
fn the_longer_text_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let run =
        |arguments: &[&str]| transcript(&rhdh_pack(folder.path()).args(arguments).output().unwrap(), folder.path());
    let text = run(&["explain", "tag-exists"]);
    assert!(text.starts_with("exit code: 0\n--- stdout\ntag-exists\n\nThe tag is there with other content"), "{text}");
    assert!(!text.contains("tag-lost"), "{text}");
    let text = run(&["explain", "tag-exist"]);
    assert!(
        text.starts_with("exit code: 2\n--- stdout\n--- stderr\n") && text.contains("did you mean `tag-exists`?"),
        "{text}"
    );
    assert!(run(&["explain"]).contains("\nentry-size\n"));
}
