//! What goes wrong around the program: outputs that nobody reads or that are full, two runs in one folder, things that
//! are not there yet.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::io::BufRead as _;
use std::process::{Command, Stdio};

use common::registry::run;
use common::repository::Repository;
use common::rhdh_pack;

fn repository() -> Repository {
    let repository = Repository::new();
    repository.config("[plugins.todo]\npath = \"plugins/todo\"\n");
    repository
}

/// What is asked for and gets lost is a failure; that a reader has seen enough is none.
#[test]
fn stdout_is_full_or_closed() {
    let repository = repository();
    for arguments in [&["schema"][..], &["man"], &["explain"], &["plan", "--all", "--format", "json"]] {
        let mut command = rhdh_pack(repository.root());
        let full = fs_err::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = command.args(arguments).stdout(full.into_parts().0).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {said}");
        assert!(said.contains("writing to stdout") && said.contains("No space left"), "{arguments:?}: {said}");

        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = rhdh_pack(repository.root());
        let output = command.args(arguments).stdout(writer).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
        assert!(!said.contains("pipe"), "{arguments:?}: {said}");
    }
}

/// Two exports of one plugin at once would mix what they make.
#[test]
fn one_after_the_other() {
    let repository = repository();
    let file = fs_err::File::open(repository.root().join("rhdh-plugins.toml")).unwrap();
    for ends in ["let go", "interrupted"] {
        file.file().lock().unwrap();
        let mut command = rhdh_pack(repository.root());
        let mut child = command.args(["plan", "--all"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = std::io::BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        lines.read_line(&mut said).unwrap();
        assert!(said.contains("waiting for another rhdh-pack"), "{said}");
        let code = if ends == "let go" {
            file.file().unlock().unwrap();
            0
        } else {
            run("kill", "procps", Command::new("kill").args(["-INT", &child.id().to_string()]));
            3
        };
        std::io::Read::read_to_string(&mut lines, &mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{said}");
        assert_eq!(said.contains("stopped while another rhdh-pack was at work"), code == 3, "{said}");
    }
    // Nothing is built, nobody waits.
    let output = rhdh_pack(repository.root()).arg("check").output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Before anything was run, there is nothing to install, and the way there is said.
#[test]
fn nothing_was_run_yet() {
    let repository = repository();
    let output = rhdh_pack(repository.root()).args(["install", "--root", "root"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("it is written by `rhdh-pack run`"), "{said}");
    assert!(!repository.root().join("root").exists());
}

/// A value that is wrong is answered with one that is right.
#[test]
fn values_of_options() {
    let repository = repository();
    for (arguments, said) in [
        (["package", "--load", "dokcer"], "an engine is `podman`, `docker` or `buildah`"),
        (["package", "--output", "x"], "write `oci-archive:FILE`"),
        (["verify", "--rhdh=latest", "x"], "write it as `x.y`"),
    ] {
        let output = rhdh_pack(repository.root()).args(arguments).output().unwrap();
        let found = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{found}");
        assert!(found.contains(said), "{found}");
    }
}

/// A release that is not out yet, or a slip of the finger.
#[test]
fn releases_that_nobody_knows() {
    let repository = Repository::new();
    let said = |version: &str| {
        repository.package("plugins/todo", "@acme/plugin-todo", "1.0.0", "backend-plugin");
        repository.config(format!("[rhdh]\nversion = \"{version}\"\n[plugins.todo]\npath = \"plugins/todo\"\n"));
        let output = rhdh_pack(repository.root()).arg("check").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(said("19.0").contains("warning: RHDH 19.0 is none that this rhdh-pack knows (1.9, "), "{}", said("19.0"));
    assert!(!said("1.10").contains("warning"), "{}", said("1.10"));
}

/// Commands, keys and URLs in an error are in one piece: they are there to be copied.
#[test]
fn what_is_to_be_copied_is_in_one_piece() {
    let repository = Repository::new();
    repository.config("[plugins.todo]\npath = \"plugins/todo\"\n[registries.q]\n");
    let output = rhdh_pack(repository.root()).arg("check").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    for piece in ["`npm = \"https://…\"`", "`gitlab-packages = \"group/project\"`", "`github-release = \"owner/name\"`"]
    {
        let words: Vec<&str> = piece.split(' ').collect();
        assert!(words.iter().all(|word| said.split_whitespace().any(|found| found.contains(word))), "{piece}: {said}");
    }
}
