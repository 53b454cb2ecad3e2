//! Links that come to lead elsewhere, though nothing changed where they led or lead.

use crate::repo::{Options, Repo, built, reasons};

const ALL: [&str; 4] = ["todo", "todo-backend", "other", "both"];

/// Makes `at` a link.
fn link(repo: &Repo, target: &str, at: &str) {
    let at = repo.root.join(at);
    std::fs::create_dir_all(at.parent().unwrap()).unwrap();
    let _ = std::fs::remove_file(&at);
    std::os::unix::fs::symlink(target, at).unwrap();
}

#[test]
fn a_link_on_the_way() {
    let repo = Repo::new();
    repo.write("shared/a.ts", "a");
    repo.write("shared/b.ts", "b");
    link(&repo, "a.ts", "shared/one.ts");
    link(&repo, "../../../shared/one.ts", "plugins/other/src/one.ts");
    let base = repo.commit("links");
    let keys = repo.keys();
    link(&repo, "b.ts", "shared/one.ts");
    for committed in [false, true] {
        let plan = repo.since(&base);
        assert_eq!(built(&plan), ["other"], "{committed}");
        assert!(reasons(&plan, "other").contains(&"shared/one.ts changed".to_owned()), "{plan:?}");
        assert_ne!(repo.keys(), keys);
        repo.commit("elsewhere");
    }
}

#[test]
fn the_folder_of_a_package() {
    let repo = Repo::new();
    for name in ["other", "todo-common"] {
        repo.git(&["mv", &format!("plugins/{name}"), &format!("real-{name}")]);
        for file in ["package.json", "src/index.ts"] {
            repo.write(&format!("copy-{name}/{file}"), &repo.read(&format!("real-{name}/{file}")));
        }
        repo.write(&format!("copy-{name}/src/index.ts"), "another");
        link(&repo, &format!("../real-{name}"), &format!("plugins/{name}"));
    }
    let base = repo.commit("links");
    assert!(built(&repo.since(&base)).is_empty());
    link(&repo, "../copy-other", "plugins/other");
    let plan = repo.since(&base);
    assert_eq!(built(&plan), ["other"]);
    assert_eq!(reasons(&plan, "other"), ["plugins/other changed"]);
    link(&repo, "../real-other", "plugins/other");
    link(&repo, "../copy-todo-common", "plugins/todo-common");
    let plan = repo.since(&base);
    assert_eq!(built(&plan), ["todo", "todo-backend", "both"]);
    assert_eq!(reasons(&plan, "todo"), ["@acme/todo-common changed (1 file)"]);
}

#[test]
fn what_counts_for_all() {
    let repo = Repo::new();
    for (name, text) in [("a", "{}"), ("b", "{ }")] {
        repo.write(&format!("settings/{name}.json"), text);
    }
    link(&repo, "settings/a.json", "tsconfig.json");
    let base = repo.commit("links");
    assert!(built(&repo.since(&base)).is_empty());
    link(&repo, "settings/b.json", "tsconfig.json");
    let plan = repo.since(&base);
    assert_eq!(built(&plan), ALL);
    assert!(reasons(&plan, "other").contains(&"tsconfig.json changed".to_owned()), "{plan:?}");
}

#[test]
fn the_configuration_and_the_lock_file() {
    let repo = Repo::new();
    let config = repo.read("rhdh-plugins.toml");
    repo.write("settings/a.toml", &config);
    repo.write("settings/b.toml", &config.replace("[plugins.other]\n", "[plugins.other]\nexport-args = [\"--x\"]\n"));
    let lock = repo.read("yarn.lock");
    repo.write("settings/a.lock", &lock);
    repo.write("settings/b.lock", &lock.replace("4.17.20", "4.17.21"));
    link(&repo, "settings/a.toml", "rhdh-plugins.toml");
    link(&repo, "settings/a.lock", "yarn.lock");
    let base = repo.commit("links");
    let keys = repo.keys();
    assert!(built(&repo.since(&base)).is_empty());
    link(&repo, "settings/b.toml", "rhdh-plugins.toml");
    assert_eq!(reasons(&repo.since(&base), "other"), ["`export-args` changed in rhdh-plugins.toml"]);
    link(&repo, "settings/a.toml", "rhdh-plugins.toml");
    link(&repo, "settings/b.lock", "yarn.lock");
    let upgrade = ["lodash 4.17.20 → 4.17.21 (through express)"];
    assert_eq!(reasons(&repo.since(&base), "todo-backend"), upgrade);
    // The lock file of a commit, too, is what its link leads to.
    let now = repo.commit("elsewhere");
    let of = |head: &str| {
        repo.plan(&Options { base: Some(base.clone()), head: Some(head.to_owned()), ..Options::default() })
    };
    assert_eq!(reasons(&of(&now), "todo-backend"), upgrade);
    let plan = of(&base);
    assert!(built(&plan).is_empty() && plan.notes.is_empty(), "{plan:?}");
    for plugin in &plan.plugins {
        assert_eq!(plugin.content_key.as_ref().unwrap().as_str(), keys[&plugin.id]);
    }
}

#[test]
fn a_lock_file_behind_a_link_that_cannot_be_read() {
    let repo = Repo::new();
    repo.write("settings/yarn.lock", "<<<<<<< one");
    link(&repo, "settings/yarn.lock", "yarn.lock");
    let base = repo.commit("a conflict");
    let keys = repo.keys();
    assert!(built(&repo.since(&base)).is_empty());
    repo.write("settings/yarn.lock", "<<<<<<< two");
    assert_eq!(built(&repo.since(&base)), ALL);
    assert!(repo.keys().iter().all(|(id, key)| keys[id] != *key));
}

/// What changes nothing in a package changes nothing in a folder that a link there leads to.
#[test]
fn ignored_files_of_a_linked_folder() {
    let repo = Repo::new();
    repo.write("shared/index.ts", "1");
    repo.write("shared/README.md", "1");
    link(&repo, "../../../shared", "plugins/other/src/shared");
    link(&repo, "../../../shared/README.md", "plugins/todo/src/text");
    let base = repo.commit("links");
    let keys = repo.keys();
    repo.write("shared/README.md", "2");
    // A link to a file means that file, whatever its name.
    let plan = repo.since(&base);
    assert_eq!(built(&plan), ["todo", "todo-backend", "both"]);
    assert_eq!(reasons(&plan, "todo"), ["shared/README.md changed"]);
    assert_eq!(repo.keys()["other"], keys["other"]);
    repo.write("shared/README.md", "1");
    repo.write("shared/index.ts", "2");
    assert_eq!(reasons(&repo.since(&base), "other"), ["shared/index.ts changed"]);
}
