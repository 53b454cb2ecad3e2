//! `rhdh-pack suggest`, through the program.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::path::Path;

use common::repository::Repository;
use common::{rhdh_pack, transcript};

/// A backend that needs all three kinds of flags, a frontend and a backend that need none.
fn repository() -> Repository {
    let repository = Repository::new();
    repository
        .write(
            "plugins/todo-backend/package.json",
            r#"{ "name": "@acme/plugin-todo-backend", "version": "1.0.0", "backstage": { "role": "backend-plugin" },
                 "dependencies": { "@acme/plugin-todo-common": "workspace:^", "@acme/lib": "workspace:^", "ssh2": "^1.0.0",
                                   "@backstage/plain": "^1.0.0", "@backstage/errors": "^1.0.0" } }"#,
        )
        .package("plugins/other-backend", "@acme/plugin-other-backend", "1.0.0", "backend-plugin")
        .write("plugins/lib/package.json", r#"{ "name": "@acme/lib", "version": "1.0.0" }"#)
        .write(
            "yarn.lock",
            "__metadata:\n  version: 8\n\n\
             \"@backstage/errors@npm:^1.0.0\":\n  version: 1.2.7\n  resolution: \"@backstage/errors@npm:1.2.7\"\n  linkType: hard\n\n\
             \"@backstage/plain@npm:^1.0.0\":\n  version: 1.0.0\n  resolution: \"@backstage/plain@npm:1.0.0\"\n  linkType: hard\n\n\
             \"ssh2@npm:^1.0.0\":\n  version: 1.16.0\n  resolution: \"ssh2@npm:1.16.0\"\n  dependencies:\n    cpu-features: \"npm:~0.0.10\"\n  linkType: hard\n\n\
             \"cpu-features@npm:~0.0.10\":\n  version: 0.0.10\n  resolution: \"cpu-features@npm:0.0.10\"\n  dependencies:\n    nan: \"npm:^2.19.0\"\n  linkType: hard\n",
        )
        .config(
            "# Ours.\n[rhdh]\nversion = \"1.9\"\n\n[plugins.todo]\npath = \"plugins/todo\"\n\n\
             [plugins.todo-backend]\npath = \"plugins/todo-backend\" # the backend\nembed-packages = [] # none yet\n\n\
             [plugins.other-backend]\npath = \"plugins/other-backend\"\n",
        );
    repository
}

#[test]
fn what_is_needed_is_said_and_written() {
    let repository = repository();
    insta::assert_snapshot!("suggested", repository.run(&["suggest"]));
    insta::assert_snapshot!("nothing_to_suggest", repository.run(&["suggest", "other-backend"]));
    insta::assert_snapshot!("suggestions_of_unknown_plugin", repository.run(&["suggest", "todo-backnd"]));
    insta::assert_snapshot!("suggestions_written", repository.run(&["suggest", "--write", "todo-backend"]));
    let written = fs_err::read_to_string(repository.root().join("rhdh-plugins.toml")).unwrap();
    insta::assert_snapshot!("config_with_suggestions", written);
    let again = repository.run(&["suggest"]);
    assert!(again.starts_with("exit code: 0"), "{again}");
}

#[test]
fn what_cannot_be_known_is_said() {
    let repository = repository();
    let config = fs_err::read_to_string(repository.root().join("rhdh-plugins.toml")).unwrap();
    repository.config(config.replace("1.9", "1.3"));
    insta::assert_snapshot!("suggestions_for_unknown_release", repository.run(&["suggest"]));
    repository.config(config).write("yarn.lock", "<<<<<<< HEAD\n");
    insta::assert_snapshot!("suggestions_without_lock_file", repository.run(&["suggest"]));
}

/// The example's plugins are exported by the real RHDH CLI without any flag, by another test.
#[test]
fn the_example_needs_nothing() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/todo");
    let output = rhdh_pack(&example).arg("suggest").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", transcript(&output, &example));
}
