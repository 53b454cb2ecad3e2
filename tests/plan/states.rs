//! The same content has the same content key, however it came here: in any clone, committed or not, in git or not.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use crate::repo::{Options, Repo, built, git_bytes, reasons};

#[test]
fn clones_branches_and_depths_do_not_matter() {
    let repo = Repo::new();
    repo.write("plugins/other/src/more.ts", "1");
    repo.commit("more");
    let keys = repo.keys();
    assert_eq!(repo.clone_with(&[]).keys(), keys);
    assert_eq!(repo.clone_with(&["--depth=1"]).keys(), keys);
    repo.git(&["checkout", "--quiet", "-b", "elsewhere"]);
    repo.git(&["commit", "--quiet", "--amend", "--message", "other commit"]);
    assert_eq!(repo.keys(), keys);
    let clone = repo.clone_with(&["--bare"]);
    clone.git(&["worktree", "add", "--quiet", "tree"]);
    assert_eq!(Repo::at(clone.root.join("tree")).keys(), keys);
}

#[test]
fn committed_or_not_does_not_matter() {
    let repo = Repo::new();
    let first = repo.keys();
    repo.write("plugins/other/src/index.ts", "changed");
    repo.write("plugins/other/src/with \"quotes\" and\nnewline.ts", "new");
    std::os::unix::fs::symlink("index.ts", repo.root.join("plugins/other/src/link")).unwrap();
    let dirty = repo.keys();
    assert_ne!(dirty["other"], first["other"]);
    assert_eq!(dirty["todo"], first["todo"]);
    repo.git(&["add", "--all"]);
    assert_eq!(repo.keys(), dirty);
    let commit = repo.commit("now committed");
    assert_eq!(repo.keys(), dirty);
    repo.git(&["rm", "--quiet", "--cached", "plugins/other/src/index.ts"]);
    assert_eq!(repo.keys(), dirty);
    repo.remove("plugins/other/src/index.ts");
    assert_ne!(repo.keys()["other"], dirty["other"]);
    repo.git(&["reset", "--quiet", "--hard", &commit]);
    assert_eq!(repo.keys(), dirty);
}

#[test]
fn without_git_the_keys_are_the_same() {
    let plain = Repo::files();
    plain.write("plugins/other/dist/index.js", "ignored");
    plain.write("plugins/other/node_modules/x/index.js", "ignored");
    let plan = plain.plan(&Options::default());
    assert_eq!(built(&plan), ["todo", "todo-backend", "other", "both"]);
    assert_eq!((plan.base, plan.head), (None, None));
    assert_eq!(
        reasons(&plain.plan(&Options::default()), "todo")[0],
        "everything is planned: this is no git repository"
    );
    assert_eq!(plain.keys(), Repo::new().keys());
    // A repository without commits.
    plain.git(&["init", "--quiet"]);
    let plan = plain.plan(&Options::default());
    assert_eq!(plan.base_reason, "the repository has no commit yet");
    assert_eq!(plain.keys(), Repo::new().keys());
}

#[test]
fn line_ends_of_the_working_tree_do_not_matter() {
    let repo = Repo::new();
    repo.write("plugins/other/src/lines.ts", "a\nb\n");
    repo.commit("lines");
    let keys = repo.keys();
    let clone = repo.clone_with(&["--config", "core.autocrlf=true"]);
    assert_eq!(clone.read("plugins/other/src/lines.ts"), "a\r\nb\r\n");
    assert_eq!(clone.keys(), keys);
    // Touched, so that git no longer knows it by heart, and hashed anew.
    clone.write("plugins/other/src/lines.ts", "a\r\nb\r\nc\r\n");
    repo.write("plugins/other/src/lines.ts", "a\nb\nc\n");
    assert_eq!(clone.keys(), repo.keys());
    clone.write("plugins/other/src/new.ts", "a\r\n");
    repo.write("plugins/other/src/new.ts", "a\n");
    assert_eq!(clone.keys(), repo.keys());
}

#[test]
fn touched_files_with_the_same_content_are_the_same() {
    let repo = Repo::new();
    let keys = repo.keys();
    let text = repo.read("plugins/other/src/index.ts");
    repo.remove("plugins/other/src/index.ts");
    repo.write("plugins/other/src/index.ts", &text);
    assert_eq!(repo.keys(), keys);
    assert!(built(&repo.since("HEAD")).is_empty());
}

#[test]
fn modes_count() {
    use std::os::unix::fs::PermissionsExt as _;
    let repo = Repo::new();
    let file = repo.root.join("plugins/other/src/index.ts");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(built(&repo.since("HEAD")), ["other"]);
}

#[test]
fn names_of_any_bytes() {
    let repo = Repo::new();
    let names: [&[u8]; 6] = [b"with space", b"\"quoted\"", b"new\nline", b"back\\slash", b"\xff\xfe", "ü".as_bytes()];
    for name in names {
        let path = repo.root.join("plugins/other/src").join(OsStr::from_bytes(name));
        std::fs::write(path, "x").unwrap();
    }
    let plan = repo.since("HEAD");
    assert_eq!(built(&plan), ["other"]);
    let expected = [
        r#""plugins/other/src/new\nline" added"#,
        "plugins/other/src/\"quoted\" added",
        r"plugins/other/src/back\slash added",
        "plugins/other/src/with space added",
        "plugins/other/src/ü added",
        r#""plugins/other/src/\xff\xfe" added"#,
    ];
    let mut found = reasons(&plan, "other");
    found.sort();
    let mut expected: Vec<String> = expected.map(str::to_owned).to_vec();
    expected.sort();
    assert_eq!(found, expected);
    let untracked = repo.keys();
    git_bytes(&repo.root, &[OsStr::new("add"), OsStr::new("--all")]);
    repo.commit("odd names");
    assert_eq!(repo.keys(), untracked);
    assert!(built(&repo.since("HEAD")).is_empty());
}

#[test]
fn a_configuration_below_the_top_of_the_repository() {
    let outer = Repo::empty();
    let inner = Repo::files();
    let keys = inner.keys();
    std::fs::rename(&inner.root, outer.root.join("nested")).unwrap();
    std::fs::create_dir(&inner.root).unwrap();
    outer.write("outside.ts", "1");
    outer.git(&["init", "--quiet", "--initial-branch=main"]);
    outer.commit("first");
    let nested = Repo::at(outer.root.join("nested"));
    assert_eq!(nested.keys(), keys);
    outer.write("outside.ts", "2");
    assert!(built(&nested.since("HEAD")).is_empty());
    nested.write("plugins/other/src/index.ts", "2");
    nested.write("plugins/other/src/new.ts", "2");
    assert_eq!(
        reasons(&nested.since("HEAD"), "other"),
        ["plugins/other/src/index.ts changed", "plugins/other/src/new.ts added"]
    );
}

#[test]
fn submodules_count_by_their_commit_and_what_is_changed_in_them() {
    let library = Repo::empty();
    library.git(&["init", "--quiet", "--initial-branch=main"]);
    library.write("index.ts", "1");
    library.commit("first");
    let repo = Repo::new();
    let url = library.root.display().to_string();
    repo.git(&["submodule", "--quiet", "add", &url, "plugins/other/vendor"]);
    let base = repo.commit("vendor");
    let clean = repo.keys();
    assert!(built(&repo.since(&base)).is_empty());
    repo.write("plugins/other/vendor/index.ts", "2");
    assert_eq!(built(&repo.since(&base)), ["other"]);
    assert_eq!(reasons(&repo.since(&base), "other"), ["plugins/other/vendor/index.ts added"]);
    assert_ne!(repo.keys()["other"], clean["other"]);
    repo.git(&["-C", "plugins/other/vendor", "commit", "--quiet", "--all", "--message", "second"]);
    assert_eq!(reasons(&repo.since(&base), "other"), ["plugins/other/vendor changed"]);
    let moved = repo.keys();
    repo.commit("vendor again");
    assert_eq!(repo.keys(), moved);
    repo.git(&["-C", "plugins/other/vendor", "checkout", "--quiet", "HEAD^"]);
    assert_eq!(repo.keys(), clean);
}

#[test]
fn a_whole_workspace_in_a_submodule() {
    let inner = Repo::new();
    let outer = Repo::empty();
    outer.git(&["init", "--quiet", "--initial-branch=main"]);
    let url = inner.root.display().to_string();
    outer.git(&["submodule", "--quiet", "add", &url, "inner"]);
    outer.write("rhdh-plugins.toml", "[plugins.other]\npath = \"inner/plugins/other\"\n");
    let base = outer.commit("first");
    assert!(built(&outer.since(&base)).is_empty());
    outer.write("inner/plugins/other/src/index.ts", "x");
    outer.git(&["-C", "inner", "commit", "--quiet", "--all", "--message", "second"]);
    outer.commit("moved");
    assert_eq!(reasons(&outer.since(&base), "other"), ["inner changed"]);
}
