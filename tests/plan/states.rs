//! The same content has the same content key, however it came here: in any clone, committed or not, in git or not.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;

use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::repo::{Options, Repo, built, git_bytes, reasons};

const ALL: [&str; 4] = ["todo", "todo-backend", "other", "both"];

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
fn what_leads_out_of_the_folder_of_the_configuration_is_said() {
    let repo = Repo::new();
    let notes = || repo.since("HEAD").notes;
    assert!(notes().is_empty(), "{:?}", notes());
    std::os::unix::fs::symlink("../../../shared", repo.root.join("plugins/other/shared")).unwrap();
    let manifest = repo.read("plugins/todo-common/package.json");
    let manifest = manifest.trim_end().strip_suffix('}').unwrap();
    let dependencies = r#""optionalDependencies": {"shared": "portal:../../../shared", "own": "link:.."}"#;
    repo.write("plugins/todo-common/package.json", &format!("{manifest}, {dependencies}}}"));
    let why = "changes in what these lead to are not seen, because it is not below the folder of rhdh-plugins.toml: ";
    let range = "`portal:../../../shared` in `plugins/todo-common/package.json`";
    let link = "the link `plugins/other/shared`";
    assert_eq!(notes(), [format!("{why}{link}, {range}")]);
    let config = repo.read("rhdh-plugins.toml");
    repo.write("rhdh-plugins.toml", &format!("{config}\n[inputs]\nignore = [\"shared\"]\n"));
    assert_eq!(notes(), [format!("{why}{range}")]);
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

/// `git add` would leave such a file as it is; `git hash-object` knows nothing of the index.
#[test]
fn line_ends_of_the_index_do_not_matter() {
    let repo = Repo::new();
    repo.git(&["config", "core.autocrlf", "false"]);
    repo.write("plugins/other/src/crlf.ts", "x;\r\ny;\r\n");
    repo.commit("crlf");
    repo.write(".gitattributes", "* text=auto\n");
    let base = repo.commit("attributes");
    let keys = repo.keys();
    // The same bytes in another file, as in a copy of the working tree.
    let file = repo.root.join("plugins/other/src/crlf.ts");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, bytes).unwrap();
    assert!(built(&repo.since(&base)).is_empty());
    assert_eq!(repo.keys(), keys);
    repo.write("plugins/other/src/crlf.ts", "x;\r\nz;\r\n");
    assert_eq!(built(&repo.since(&base)), ["other"]);
}

/// A plugin whose folder is a submodule.
#[test]
fn a_plugin_that_is_a_submodule() {
    let inner = Repo::empty();
    inner.git(&["init", "--quiet", "--initial-branch=main"]);
    inner.write("package.json", r#"{ "name": "sub", "version": "1.0.0", "backstage": { "role": "backend-plugin" } }"#);
    inner.write("src/index.ts", "1");
    inner.commit("first");
    let outer = Repo::new();
    let url = inner.root.display().to_string();
    outer.git(&["submodule", "--quiet", "add", &url, "plugins/sub"]);
    let config = outer.read("rhdh-plugins.toml");
    outer.write("rhdh-plugins.toml", &format!("{config}[plugins.sub]\npath = \"plugins/sub\"\n"));
    let base = outer.commit("sub");
    assert!(built(&outer.since(&base)).is_empty());
    let key = |repo: &Repo| repo.keys().into_iter().find(|(id, _)| id == "sub").unwrap();
    let first = key(&outer);
    // Changed in it, a file that is new in it, and then committed there.
    outer.write("plugins/sub/src/index.ts", "2");
    assert_eq!(built(&outer.since(&base)), ["sub"]);
    let second = key(&outer);
    assert_ne!(first, second);
    outer.write("plugins/sub/src/new.ts", "");
    assert_ne!(second, key(&outer));
    outer.git(&["-C", "plugins/sub", "add", "--all"]);
    outer.git(&["-C", "plugins/sub", "commit", "--quiet", "--message", "second"]);
    assert_eq!(built(&outer.since(&base)), ["sub"]);
    outer.commit("moved");
    assert_eq!(reasons(&outer.since(&base), "sub"), ["plugins/sub changed"]);
}

/// Links lead to the folders of a plugin, and of a package that others are made from.
#[test]
fn packages_behind_links() {
    let repo = Repo::new();
    for (name, plugin) in [("other", "other"), ("todo-common", "todo-common")] {
        repo.git(&["mv", &format!("plugins/{plugin}"), &format!("real-{name}")]);
        std::os::unix::fs::symlink(format!("../real-{name}"), repo.root.join(format!("plugins/{plugin}"))).unwrap();
    }
    let base = repo.commit("links");
    assert!(built(&repo.since(&base)).is_empty());
    let keys = repo.keys();
    repo.write("real-other/src/index.ts", "x");
    let plan = repo.since(&base);
    assert_eq!(built(&plan), ["other"]);
    assert_eq!(reasons(&plan, "other"), ["real-other/src/index.ts changed"]);
    assert_ne!(repo.keys(), keys);
    repo.git(&["checkout", "--quiet", "."]);
    repo.write("real-todo-common/src/index.ts", "x");
    assert_eq!(built(&repo.since(&base)), ["todo", "todo-backend", "both"]);
}

/// As where a job checks out another repository into a plugin: compilers do not ask whose files these are.
#[test]
fn a_repository_in_a_plugin_that_is_no_submodule() {
    let repo = Repo::new();
    repo.write("plugins/other/src/vendor/kept.ts", "1");
    repo.write("plugins/other/src/vendor/.gitignore", "*.log\n");
    repo.write("plugins/other/src/vendor/x.log", "1");
    let plain = repo.keys();
    let vendor = repo.root.join("plugins/other/src/vendor");
    let states: [&[&str]; 3] = [&["init", "--quiet"], &["add", "--all"], &["commit", "--quiet", "--message", "1"]];
    for state in states {
        repo.git(&[&["-C", &vendor.to_string_lossy()], state].concat());
        assert_eq!(repo.keys(), plain, "{state:?}");
        assert_eq!(built(&repo.since("HEAD")), ["other"], "{state:?}");
    }
    repo.write("plugins/other/src/vendor/kept.ts", "2");
    let changed = repo.keys();
    assert_ne!(changed, plain);
    repo.write("plugins/other/src/vendor/new.ts", "2");
    assert_ne!(repo.keys(), changed);
    // Where git cannot read it, its files count as they stand there.
    let all = repo.keys();
    repo.write("plugins/other/src/vendor/.git/index", "no index");
    assert_eq!(repo.keys(), all);
}

/// As on file systems that have no modes.
#[test]
fn modes_that_git_does_not_trust() {
    let repo = Repo::new();
    repo.git(&["config", "core.filemode", "false"]);
    for (path, text) in [("plugins/other/src/new.ts", "new"), ("plugins/other/src/index.ts", "changed")] {
        repo.write(path, text);
        std::fs::set_permissions(repo.root.join(path), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let keys = repo.keys();
    repo.commit("as git takes them");
    assert_eq!(repo.keys(), keys);
    assert_eq!(repo.git(&["ls-files", "--stage", "plugins/other/src"]).matches("100755").count(), 0);
}

/// What git does not know has no state that could be compared, but its content counts.
#[test]
fn packages_that_git_does_not_know() {
    for nested in [false, true] {
        let repo = Repo::new();
        repo.git(&["rm", "-r", "--quiet", "--cached", "plugins/other", "plugins/todo-common"]);
        if nested {
            repo.git(&["commit", "--quiet", "--message", "out of git"]);
            for folder in ["plugins/other", "plugins/todo-common"] {
                repo.git(&["init", "--quiet", folder]);
            }
        } else {
            repo.write(".gitignore", "/plugins/other\n/plugins/todo-common\n");
            repo.commit("out of git");
        }
        let base = repo.git(&["rev-parse", "HEAD"]);
        let plan = repo.since(&base);
        assert_eq!(built(&plan), ALL, "{nested}");
        // The files of a repository of its own are known, and not in the base.
        let why =
            if nested { "@acme/todo-common changed (2 files)" } else { "git knows no file of plugins/todo-common" };
        let found = reasons(&plan, "todo");
        assert!(found.iter().any(|reason| reason.contains(why)), "{nested}: {found:?}");
        let keys = repo.keys();
        repo.write("plugins/other/src/index.ts", "x");
        let others = repo.keys();
        assert_ne!(keys, others);
        repo.write("plugins/todo-common/src/index.ts", "x");
        assert_ne!(others, repo.keys());
    }
}

#[test]
fn local_folders_that_are_no_packages_of_the_workspace() {
    for protocol in ["portal", "link", "file"] {
        let repo = Repo::new();
        let manifest = repo.read("plugins/other/package.json");
        let at = manifest.rfind('}').unwrap();
        repo.write(
            "plugins/other/package.json",
            &format!(
                "{}, \"dependencies\": {{ \"@acme/local\": \"{protocol}:../../libs/local\" }} }}",
                &manifest[..at]
            ),
        );
        repo.write("libs/local/index.js", "1");
        let base = repo.commit("local");
        assert!(built(&repo.since(&base)).is_empty());
        repo.write("libs/local/index.js", "2");
        let plan = repo.since(&base);
        assert_eq!(built(&plan), ["other"], "{protocol}");
        assert_eq!(reasons(&plan, "other"), ["libs/local/index.js changed"]);
        // It may depend on another one.
        let manifest = format!("{{ \"dependencies\": {{ \"deep\": \"{protocol}:../deep\" }} }}");
        repo.write("libs/local/package.json", &manifest);
        repo.write("libs/deep/index.js", "1");
        let base = repo.commit("deep");
        repo.write("libs/deep/index.js", "2");
        assert_eq!(reasons(&repo.since(&base), "other"), ["libs/deep/index.js changed"]);
    }
}

#[test]
fn resolutions_that_lead_to_local_folders() {
    let repo = Repo::new();
    repo.edit("package.json", "{\"name\"", "{\"resolutions\": {\"lodash\": \"portal:./libs/lodash\"}, \"name\"");
    repo.write("libs/lodash/index.js", "1");
    let base = repo.commit("local");
    let keys = repo.keys();
    assert!(built(&repo.since(&base)).is_empty());
    repo.write("libs/lodash/README.md", "");
    assert!(built(&repo.since(&base)).is_empty());
    repo.write("libs/lodash/index.js", "2");
    assert_eq!(reasons(&repo.since(&base), "todo-backend"), ["libs/lodash/index.js changed"]);
    assert!(repo.keys().iter().all(|(id, key)| keys[id] != *key));
}

/// Links that lead to links, through folders that are links, and from where inputs are looked for.
#[test]
fn links_are_followed_to_their_end() {
    let link = |repo: &Repo, target: &str, at: &str| {
        let at = repo.root.join(at);
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        let _ = std::fs::remove_file(&at);
        std::os::unix::fs::symlink(target, at).unwrap();
    };
    let repo = Repo::new();
    repo.write("deep/real.ts", "1");
    link(&repo, "../deep/real.ts", "shared/one.ts");
    link(&repo, "../deep", "shared/folder");
    link(&repo, "../../../shared/one.ts", "plugins/todo/src/one.ts");
    link(&repo, "../../../shared/folder/real.ts", "plugins/other/src/two.ts");
    repo.write("settings/tsconfig.json", "{}");
    link(&repo, "settings/tsconfig.json", "tsconfig.json");
    for file in ["yarn.lock", "rhdh-plugins.toml"] {
        let text = repo.read(file);
        repo.write(&format!("settings/{file}"), &text);
        link(&repo, &format!("settings/{file}"), file);
    }
    let base = repo.commit("links");
    assert!(built(&repo.since(&base)).is_empty());
    repo.write("deep/real.ts", "2");
    let plan = repo.since(&base);
    assert_eq!(reasons(&plan, "todo"), ["deep/real.ts changed"]);
    assert_eq!(reasons(&plan, "other"), ["deep/real.ts changed"]);
    repo.write("deep/real.ts", "1");
    repo.write("settings/tsconfig.json", "{ }");
    assert_eq!(built(&repo.since(&base)), ALL);
    repo.write("settings/tsconfig.json", "{}");
    let config = repo.read("rhdh-plugins.toml");
    repo.write(
        "settings/rhdh-plugins.toml",
        &config.replace("[plugins.other]\n", "[plugins.other]\nexport-args = [\"--x\"]\n"),
    );
    assert_eq!(reasons(&repo.since(&base), "other"), ["`export-args` changed in rhdh-plugins.toml"]);
    repo.write("settings/rhdh-plugins.toml", &config);
    let lock = repo.read("yarn.lock");
    repo.write("settings/yarn.lock", &lock.replace("4.17.20", "4.17.21"));
    assert_eq!(reasons(&repo.since(&base), "todo-backend"), ["lodash 4.17.20 → 4.17.21 (through express)"]);
    // A circle leads nowhere.
    link(&repo, "b.ts", "plugins/todo/src/a.ts");
    link(&repo, "a.ts", "plugins/todo/src/b.ts");
    repo.plan(&Options::default());
}

#[test]
fn global_inputs_as_people_write_them() {
    let globs =
        ["settings", "./settings/", "settings//inner/../inner/b.json", "./settings/*/b.json", "set*/", ".", "**"];
    for glob in globs {
        let repo = Repo::new();
        repo.write("settings/inner/b.json", "1");
        let config = repo.read("rhdh-plugins.toml");
        repo.write("rhdh-plugins.toml", &format!("{config}[inputs]\nglobal = [\"{glob}\"]\n"));
        let base = repo.commit("settings");
        assert!(built(&repo.since(&base)).is_empty());
        repo.write("settings/inner/b.json", "2");
        let plan = repo.since(&base);
        assert_eq!(built(&plan), ALL, "{glob}");
        assert_eq!(reasons(&plan, "other"), ["settings/inner/b.json changed"]);
    }
}

#[test]
fn ignored_inputs_as_people_write_them() {
    for glob in ["src/made/**", "./src/made/**", "src/made/", "./s*/made/", "src/made", "./src/made"] {
        let repo = Repo::new();
        repo.write("plugins/other/src/made/by.ts", "1");
        let config = repo.read("rhdh-plugins.toml");
        repo.write("rhdh-plugins.toml", &format!("{config}[inputs]\nignore = [\"{glob}\"]\n"));
        let base = repo.commit("made");
        repo.write("plugins/other/src/made/by.ts", "2");
        assert!(built(&repo.since(&base)).is_empty(), "{glob}");
    }
}

#[test]
fn what_nobody_can_read_is_no_input() {
    // Root reads everything; without this capability, neither it nor the programs that it starts do.
    let over = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
    for one in over.iter() {
        // Who is not root may not, and need not.
        let _ = rustix::thread::remove_capability_from_bounding_set(one);
    }
    let now = rustix::thread::capabilities(None).unwrap();
    let effective = now.effective.difference(over);
    let permitted = now.permitted.difference(over);
    rustix::thread::set_capabilities(None, CapabilitySets { effective, permitted, ..now }).unwrap();

    let lock = |repo: &Repo, path: &str| {
        repo.write(path, "secret");
        std::fs::set_permissions(repo.root.join(path), std::fs::Permissions::from_mode(0o000)).unwrap();
    };
    let repo = Repo::new();
    repo.write("plugins/other/src/new.ts", "new");
    let keys = repo.keys();
    lock(&repo, "data/secret");
    lock(&repo, "plugins/todo/src/secret.ts");
    assert_eq!(repo.keys(), keys);
    assert_eq!(built(&repo.since("HEAD")), ["other"]);
    // What git knows is part of the plugin, and its content matters.
    lock(&repo, "plugins/other/src/index.ts");
    let error = repo.try_plan(&Options::default()).unwrap_err().to_string();
    assert!(error.contains("src/index.ts") && error.contains("Permission denied"), "{error}");
}
