//! Which change builds which plugin, and with which words.

use rhdh_pack::plan::{Action, Selection};

use crate::repo::{LOCK, Options, Repo, built, reasons, with};

#[test]
fn nothing_changed_builds_nothing() {
    let repo = Repo::new();
    let plan = repo.since("HEAD");
    assert_eq!(built(&plan), [] as [&str; 0]);
    assert!(plan.is_empty());
    let base = plan.base.unwrap();
    assert_eq!(
        reasons(&repo.since("HEAD"), "todo"),
        [format!("nothing that it is made from changed since {}, `--base HEAD`", &base[..10])]
    );
}

#[test]
fn a_file_builds_its_plugin_and_the_bundle() {
    let repo = Repo::new();
    repo.write("plugins/todo/src/index.ts", "x");
    repo.write("plugins/todo/src/new file.ts", "x");
    let plan = repo.since("HEAD");
    // `todo-backend` did not change: it is exported for the bundle.
    assert_eq!(built(&plan), ["todo", "todo-backend", "both"]);
    assert_eq!(reasons(&plan, "todo"), ["plugins/todo/src/index.ts changed", "plugins/todo/src/new file.ts added"]);
    assert_eq!(reasons(&plan, "both"), ["todo changed: plugins/todo/src/index.ts changed, and 1 more"]);
    assert_eq!(reasons(&plan, "todo-backend")[0], "the bundle `both` is built from it");
}

#[test]
fn what_does_not_count_builds_nothing() {
    let repo = Repo::new();
    for path in [
        "plugins/other/README.md",
        "plugins/other/src/index.test.ts",
        "plugins/other/dev/index.ts",
        "plugins/other/dist/index.js",
        "plugins/other/dist-dynamic/package.json",
        "plugins/other/node_modules/x/index.js",
        ".rhdh-pack/plan.json",
        "docs/index.ts",
        "index.ts",
    ] {
        repo.write(path, "x");
    }
    assert_eq!(built(&repo.since("HEAD")), [] as [&str; 0]);
    repo.git(&["add", "--all", "--force"]);
    assert_eq!(built(&repo.since("HEAD")), [] as [&str; 0]);
}

#[test]
fn a_workspace_package_builds_what_is_made_from_it() {
    let repo = Repo::new();
    repo.write("plugins/todo-common/src/index.ts", "x");
    repo.write("plugins/todo-common/src/more.ts", "x");
    let plan = repo.since("HEAD");
    assert_eq!(built(&plan), ["todo", "todo-backend", "both"]);
    assert_eq!(reasons(&plan, "todo"), ["@acme/todo-common changed (2 files)"]);
    let explained = plan.explain("todo").unwrap();
    assert!(explained.contains("@acme/todo → @acme/todo-common"), "{explained}");
    assert!(explained.contains("plugins/todo-common/src/more.ts added"), "{explained}");
}

#[test]
fn the_lock_file_builds_whose_closure_it_changes() {
    let repo = Repo::new();
    repo.edit("yarn.lock", "4.17.20", "4.17.21");
    let plan = repo.since("HEAD");
    assert_eq!(built(&plan), ["todo", "todo-backend", "both"]);
    assert_eq!(reasons(&plan, "todo-backend"), ["lodash 4.17.20 → 4.17.21 (through express)"]);
    assert_eq!(reasons(&plan, "todo")[0], "the bundle `both` is built from it");
    repo.write("yarn.lock", &LOCK.replace("10c0/aa", "10c0/bb"));
    let plan = repo.since("HEAD");
    assert_eq!(built(&plan), ["other"]);
    assert_eq!(reasons(&plan, "other"), ["unused 1.0.0 has another resolution or checksum"]);
    repo.write(
        "yarn.lock",
        &format!("{LOCK}\n\"new@npm:1\":\n  version: 1.0.0\n  resolution: \"new@npm:1.0.0\"\n  linkType: hard\n"),
    );
    assert_eq!(built(&repo.since("HEAD")), [] as [&str; 0]);
}

#[test]
fn what_two_packages_of_a_plugin_exchange_counts() {
    let repo = Repo::new();
    repo.edit("plugins/todo-backend/package.json", r#""express": "^4.0.0""#, r#""lodash": "^4.17.0""#);
    repo.edit("plugins/todo-common/package.json", r#""dependencies": {}"#, r#""dependencies": {"lodash": "^4.17.9"}"#);
    let lock = |one: &str, other: &str| {
        let entry = |range: &str, version: &str| {
            format!(
                "\n\"lodash@npm:{range}\":\n  version: {version}\n  resolution: \"lodash@npm:{version}\"\n  linkType: hard\n"
            )
        };
        let kept = LOCK.replace("lodash@npm:^4.17.0\"", "lodash@npm:3\"").replace("\"npm:^4.17.0\"", "\"npm:3\"");
        repo.write("yarn.lock", &(kept + &entry("^4.17.0", one) + &entry("^4.17.9", other)));
    };
    lock("4.17.21", "4.17.22");
    repo.commit("both");
    lock("4.17.22", "4.17.21");
    let plan = repo.since("HEAD");
    assert_eq!(reasons(&plan, "todo"), ["lodash 4.17.22 → 4.17.21"]);
    assert_eq!(reasons(&plan, "todo-backend"), ["lodash 4.17.21 → 4.17.22", "lodash 4.17.22 → 4.17.21"]);
}

#[test]
fn a_lock_file_that_cannot_be_read_builds_its_workspace() {
    let repo = Repo::new();
    repo.write("yarn.lock", &LOCK[..LOCK.len() - 20]);
    let plan = repo.since("HEAD");
    assert_eq!(built(&plan), ["todo", "todo-backend", "other", "both"]);
    assert!(
        reasons(&plan, "other")[0].starts_with("yarn.lock changed, and `yarn.lock` is not a lock file"),
        "{plan:?}"
    );
    assert_eq!(plan.notes.len(), 1);
    // Two broken ones that are the same change nothing; keys still tell them apart.
    let broken = repo.commit("broken");
    assert_eq!(built(&repo.since(&broken)), [] as [&str; 0]);
    let keys = repo.keys();
    repo.write("yarn.lock", "garbage\n");
    assert_ne!(repo.keys(), keys);
    repo.write("yarn.lock", LOCK);
    let plan = repo.since(&broken);
    assert_eq!(built(&plan), ["todo", "todo-backend", "other", "both"]);
    assert!(reasons(&plan, "other")[0].starts_with("at the base, "));
}

#[test]
fn global_inputs_build_the_workspace() {
    let repo = Repo::new();
    for (path, text, reason) in [
        ("tsconfig.json", "{ }", "tsconfig.json changed"),
        ("backstage.json", r#"{"version": "1.42.5"}"#, "backstage.json added"),
        (
            "package.json",
            r#"{"name": "root", "workspaces": ["plugins/*", "packages/*"], "resolutions": {"x": "1"}}"#,
            "`resolutions` changed in package.json",
        ),
        (
            "package.json",
            r#"{"name": "root", "workspaces": ["plugins/*", "packages/*"], "packageManager": "yarn@4.18.1"}"#,
            "`packageManager` changed in package.json",
        ),
    ] {
        let before = repo.root.join(path).exists().then(|| repo.read(path));
        repo.write(path, text);
        let plan = repo.since("HEAD");
        assert_eq!(built(&plan), ["todo", "todo-backend", "other", "both"]);
        assert_eq!(reasons(&plan, "other"), [reason]);
        match before {
            Some(text) => repo.write(path, &text),
            None => repo.remove(path),
        }
    }
    repo.edit("package.json", "\"root\"", "\"roots\"");
    assert_eq!(built(&repo.since("HEAD")), [] as [&str; 0]);
}

#[test]
fn the_configuration_builds_whose_entry_changed() {
    let repo = Repo::new();
    repo.edit("rhdh-plugins.toml", "path = \"plugins/other\"", "# words\npath = 'plugins/other'");
    assert_eq!(built(&repo.since("HEAD")), [] as [&str; 0]);
    repo.edit("rhdh-plugins.toml", "path = 'plugins/other'", "path = 'plugins/other'\nembed-packages = [\"x\"]");
    let plan = repo.since("HEAD");
    assert_eq!(built(&plan), ["other"]);
    assert_eq!(reasons(&plan, "other"), ["`embed-packages` changed in rhdh-plugins.toml"]);
    let keys = repo.keys();
    repo.write("rhdh-plugins.toml", &format!("{}\n[rhdh]\ncli = \"1.9.2\"\n", repo.read("rhdh-plugins.toml")));
    let plan = repo.since("HEAD");
    assert_eq!(built(&plan), ["todo", "todo-backend", "other", "both"]);
    assert_eq!(reasons(&plan, "todo"), ["RHDH CLI 1.9.1 → 1.9.2"]);
    assert_ne!(repo.keys(), keys);
    // What the default means, said in other words.
    repo.edit("rhdh-plugins.toml", "cli = \"1.9.2\"", "version = \"1.9\"");
    assert_eq!(built(&repo.since("HEAD")), ["other"]);
    repo.edit("rhdh-plugins.toml", "version = \"1.9\"", "cli = \"1.9.1\"");
    assert_eq!(repo.keys(), keys);
}

/// A workspace that has the RHDH CLI among its own dependencies exports with that one.
#[test]
fn the_rhdh_cli_of_the_lock_file_counts() {
    let repo = Repo::new();
    repo.edit("package.json", "{", "{\"devDependencies\": {\"@red-hat-developer-hub/cli\": \"~1.9.0\"}, ");
    let locked = |version: &str| {
        let entry = format!(
            "\"@red-hat-developer-hub/cli@npm:~1.9.0\":\n  version: {version}\n  resolution: \
             \"@red-hat-developer-hub/cli@npm:{version}\"\n  languageName: node\n  linkType: hard\n"
        );
        repo.write("yarn.lock", &format!("{LOCK}\n{entry}"));
    };
    locked("1.9.0");
    repo.commit("a CLI of its own");
    let keys = repo.keys();
    locked("1.9.2");
    let plan = repo.since("HEAD");
    assert_eq!(built(&plan), ["todo", "todo-backend", "other", "both"]);
    assert_eq!(reasons(&plan, "other"), ["RHDH CLI 1.9.0 → 1.9.2"]);
    assert_ne!(repo.keys()["other"], keys["other"]);
    // The configuration wants another one: the workspace's is not used.
    let config = repo.read("rhdh-plugins.toml");
    repo.write("rhdh-plugins.toml", &format!("{config}\n[rhdh]\ncli = \"1.9.0\"\n"));
    assert_eq!(repo.keys(), keys);
    assert_eq!(built(&repo.since("HEAD")), [] as [&str; 0]);
}

/// Which packages belong to the workspace is the root's to say: nothing else need change.
#[test]
fn the_workspaces_field_decides_what_is_a_package() {
    let repo = Repo::new();
    repo.edit("plugins/todo-backend/package.json", "workspace:^", "^1.0.0");
    repo.edit("plugins/todo/package.json", "\"@acme/todo-common\": \"workspace:^\"", "");
    let entry = "\"@acme/todo-common@npm:^1.0.0\":\n  version: 1.0.0\n  resolution: \
                 \"@acme/todo-common@npm:1.0.0\"\n  languageName: node\n  linkType: hard\n";
    repo.write("yarn.lock", &format!("{LOCK}\n{entry}"));
    let base = repo.commit("by version");
    let keys = repo.keys();
    repo.edit("package.json", "\"plugins/*\",", "\"plugins/*\", \"!plugins/todo-common\",");
    let plan = repo.since(&base);
    assert_eq!(built(&plan), ["todo", "todo-backend", "both"]);
    let words = "@acme/todo-common is in the workspace no more (`workspaces` in package.json)";
    assert!(reasons(&plan, "todo-backend").contains(&words.to_owned()), "{:?}", reasons(&plan, "todo-backend"));
    assert_eq!(reasons(&plan, "todo"), ["the bundle `both` is built from it", reasons(&plan, "todo")[1].as_str()]);
    let now = repo.keys();
    assert!(
        now["todo-backend"] != keys["todo-backend"] && now["todo"] == keys["todo"] && now["other"] == keys["other"]
    );
    let left = repo.commit("left");
    repo.edit("package.json", ", \"!plugins/todo-common\"", "");
    let plan = repo.since(&left);
    let words = "@acme/todo-common is in the workspace now (`workspaces` in package.json)";
    assert!(reasons(&plan, "todo-backend").contains(&words.to_owned()), "{:?}", reasons(&plan, "todo-backend"));
    assert_eq!(repo.keys(), keys);
    // The same packages in other words.
    repo.edit("package.json", "\"packages/*\"", "\"packages/**\"");
    assert_eq!(built(&repo.since(&left)), ["todo", "todo-backend", "both"]);
    repo.git(&["checkout", "--quiet", "."]);
    repo.edit("package.json", "\"packages/*\"", "\"packages/**\"");
    assert_eq!(built(&repo.since(&left)), [] as [&str; 0]);
}

#[test]
fn plugins_come_and_go() {
    let repo = Repo::new();
    let first = repo.git(&["rev-parse", "HEAD"]);
    repo.edit("rhdh-plugins.toml", "[plugins.other]\npath = \"plugins/other\"\n", "");
    repo.git(&["rm", "-r", "--quiet", "plugins/other"]);
    let removed = repo.commit("remove");
    let plan = repo.since(&first);
    assert_eq!(built(&plan), [] as [&str; 0]);
    assert_eq!(with(&plan, Action::Remove), ["other"]);
    assert_eq!(reasons(&plan, "other"), ["removed from rhdh-plugins.toml"]);
    repo.git(&["revert", "--no-edit", "HEAD"]);
    let plan = repo.since(&removed);
    assert_eq!(built(&plan), ["other"]);
    assert_eq!(reasons(&plan, "other"), ["new in rhdh-plugins.toml"]);
    // What came back is what it was.
    assert_eq!(built(&repo.since(&first)), [] as [&str; 0]);
}

#[test]
fn a_plugin_that_moves_is_built() {
    let repo = Repo::new();
    let keys = repo.keys();
    repo.git(&["mv", "plugins/other", "plugins/moved"]);
    repo.edit("rhdh-plugins.toml", "plugins/other", "plugins/moved");
    let plan = repo.since("HEAD");
    assert_eq!(built(&plan), ["other"]);
    assert_eq!(reasons(&plan, "other"), ["plugins/moved was not there", "`path` changed in rhdh-plugins.toml"]);
    assert_ne!(repo.keys()["other"], keys["other"]);
    assert_eq!(repo.keys()["todo"], keys["todo"]);
}

#[test]
fn a_file_that_moves_counts_on_both_sides() {
    let repo = Repo::new();
    repo.git(&["mv", "plugins/todo/src/index.ts", "plugins/other/src/todo.ts"]);
    let plan = repo.since("HEAD");
    assert_eq!(reasons(&plan, "todo"), ["plugins/todo/src/index.ts removed"]);
    assert_eq!(reasons(&plan, "other"), ["plugins/other/src/todo.ts added"]);
}

#[test]
fn the_deepest_package_has_the_file() {
    let repo = Repo::new();
    repo.edit("package.json", "\"packages/*\"", "\"packages/*\", \"plugins/*/inner\"");
    repo.write("plugins/other/inner/package.json", r#"{"name": "inner"}"#);
    repo.write("plugins/other/inner/index.ts", "");
    let base = repo.commit("nested");
    repo.write("plugins/other/inner/index.ts", "x");
    assert_eq!(built(&repo.since(&base)), [] as [&str; 0]);
    // Where there was no package yet, its folder was part of the plugin.
    repo.git(&["rm", "--quiet", "plugins/other/inner/package.json"]);
    let base = repo.commit("part of the plugin");
    repo.write("plugins/other/inner/package.json", r#"{"name": "inner"}"#);
    assert_eq!(reasons(&repo.since(&base), "other"), ["plugins/other/inner/index.ts removed"]);
}

#[test]
fn what_a_link_leads_to_counts() {
    let repo = Repo::new();
    repo.write("shared/logo.svg", "1");
    std::os::unix::fs::symlink("../../shared", repo.root.join("plugins/other/shared")).unwrap();
    let base = repo.commit("link");
    repo.write("shared/logo.svg", "2");
    let plan = repo.since(&base);
    assert_eq!(built(&plan), ["other"]);
    assert_eq!(reasons(&plan, "other"), ["shared/logo.svg changed"]);
    repo.remove("plugins/other/shared");
    std::os::unix::fs::symlink("../../..", repo.root.join("plugins/other/shared")).unwrap();
    assert_eq!(reasons(&repo.since("HEAD"), "other"), ["plugins/other/shared changed"]);
}

#[test]
fn a_selection_is_built_and_nothing_else() {
    let repo = Repo::new();
    repo.write("plugins/todo/src/index.ts", "x");
    let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
    let select = |plugins: &[&str], bundles: &[&str]| Options {
        selection: Selection::Only { plugins: owned(plugins), bundles: owned(bundles) },
        ..Options::default()
    };
    let plan = repo.plan(&select(&["other"], &[]));
    assert_eq!(built(&plan), ["other"]);
    assert_eq!(reasons(&plan, "other")[0], "asked for by `--plugin`");
    assert_eq!(reasons(&plan, "todo"), ["not asked for by `--plugin`"]);
    let unknown = |plugins: &[&str], bundles: &[&str]| {
        let error = repo.try_plan(&select(plugins, bundles)).unwrap_err();
        let help = miette::Diagnostic::help(&error).unwrap().to_string();
        (error.to_string(), help)
    };
    assert_eq!(unknown(&["othr"], &[]).0, "there is no plugin `othr`");
    let expected = ("there is no plugin `both`".to_owned(), "it is a bundle: `--bundle both`".to_owned());
    assert_eq!(unknown(&["both"], &[]), expected);
    assert_eq!(unknown(&[], &["bth"]).0, "there is no bundle `bth`");
    let plan = repo.plan(&select(&[], &["both"]));
    assert_eq!(built(&plan), ["todo", "todo-backend", "both"]);
    assert_eq!(reasons(&plan, "other"), ["not asked for by `--bundle`"]);
    assert_eq!(plan.bundles[0].reasons[0].text, "asked for by `--bundle`");
}

#[test]
fn a_bundle_with_the_name_of_a_plugin_is_another() {
    let repo = Repo::new();
    repo.edit("rhdh-plugins.toml", "[bundles.both]", "[bundles.other]\nimage = \"all\"");
    let only = Selection::Only { plugins: Vec::new(), bundles: vec!["other".to_owned()] };
    let plan = repo.plan(&Options { selection: only, ..Options::default() });
    assert_eq!(built(&plan), ["todo", "todo-backend", "other"]);
    assert_eq!(plan.plugins.iter().find(|plugin| plugin.id == "other").unwrap().action, Action::Skip);
    let table = plan.table();
    assert!(table.lines().any(|line| line.starts_with("build   other (bundle)  1.0.0")), "{table}");
    assert!(table.lines().any(|line| line.starts_with("skip    other           1.0.0")), "{table}");
    let explained = plan.explain("other").unwrap();
    assert!(
        explained.contains("other 1.0.0: skip") && explained.contains("other (bundle) 1.0.0: build"),
        "{explained}"
    );
}

/// A yarn that writes other checksums changes all that is locked.
#[test]
fn a_lock_file_that_is_another_from_end_to_end() {
    let repo = Repo::new();
    let names: Vec<String> = (0..120).map(|number| format!("p{number:03}")).collect();
    let dependencies: Vec<String> = names.iter().map(|name| format!("\"{name}\": \"^1.0.0\"")).collect();
    let manifest = repo.read("plugins/other/package.json");
    let at = manifest.rfind('}').unwrap();
    let dependencies = dependencies.join(", ");
    repo.write(
        "plugins/other/package.json",
        &format!("{}, \"dependencies\": {{ {dependencies} }} }}", &manifest[..at]),
    );
    let lock = |checksum: &str| {
        let entries = names.iter().map(|name| {
            format!(
                "\n\"{name}@npm:^1.0.0\":\n  version: 1.0.0\n  resolution: \"{name}@npm:1.0.0\"\n  checksum: {checksum}\n  \
                 languageName: node\n  linkType: hard\n"
            )
        });
        format!("{LOCK}{}", entries.collect::<String>())
    };
    repo.write("yarn.lock", &lock("10c0/aa"));
    let base = repo.commit("many");
    assert!(built(&repo.since(&base)).is_empty());
    repo.write("yarn.lock", &lock("10/bb"));
    let reasons = reasons(&repo.since(&base), "other");
    assert_eq!(
        (reasons.len(), reasons.last().map(String::as_str)),
        (51, Some("and more locked packages")),
        "{reasons:?}"
    );
    assert_eq!(reasons[0], "p000 1.0.0 has another resolution or checksum");
}

#[test]
fn a_package_that_left_its_workspace_is_a_change_of_its_dependants() {
    let manifest = "plugins/todo-common/package.json";
    let check = |edit: &dyn Fn(&Repo), expected: &str| {
        let repo = Repo::new();
        repo.edit("plugins/todo/package.json", "workspace:^", "^1.0.0");
        let config = repo.read("rhdh-plugins.toml");
        repo.write("rhdh-plugins.toml", &config.replace("/other\"", "/other\"\nembed-packages = [\"@acme/alone\"]"));
        repo.write("packages/alone/package.json", r#"{"name": "@acme/alone", "version": "1.0.0"}"#);
        let base = repo.commit("base");
        let keys = repo.keys();
        edit(&repo);
        for committed in [false, true] {
            if committed {
                repo.commit("edit");
            }
            let (plan, now) = (repo.since(&base), repo.keys());
            for id in ["todo", "todo-backend", "other"] {
                assert_eq!(keys[id] != now[id], built(&plan).contains(&id), "{id}: {:?}", reasons(&plan, id));
            }
            let all: Vec<String> = ["todo", "other"].iter().flat_map(|id| reasons(&plan, id)).collect();
            assert!(all.contains(&expected.to_owned()), "{all:?}");
        }
    };
    check(&|repo| repo.remove("plugins/todo-common"), "@acme/todo-common is in the workspace no more");
    check(&|repo| repo.edit(manifest, "todo-common", "renamed"), "@acme/todo-common is in the workspace no more");
    let expected = "@acme/todo-common is 2.0.0 in the workspace, which is not what is asked for";
    check(&|repo| repo.edit(manifest, "1.0.0", "2.0.0"), expected);
    check(&|repo| repo.remove("packages/alone"), "@acme/alone is in the workspace no more");
}

#[test]
fn a_default_that_is_written_out_is_no_change_and_no_other_key() {
    let repo = Repo::new();
    let keys = repo.keys();
    let config = repo.read("rhdh-plugins.toml").replace("\"plugins/other\"", "\"./plugins/other/\"");
    let defaults = "[defaults]\ncompression-level = 9\nexport-args = []\nexport = \"cli\"\n";
    let inputs = "[inputs]\nignore = [\"**/*.md\", \"**/*.test.*\", \"dev/**\"]\n";
    repo.write("rhdh-plugins.toml", &format!("{config}{defaults}{inputs}"));
    assert!(built(&repo.since("HEAD")).is_empty(), "{:?}", reasons(&repo.since("HEAD"), "other"));
    assert_eq!(repo.keys(), keys);
    repo.edit("rhdh-plugins.toml", "level = 9", "level = 8");
    assert_eq!(built(&repo.since("HEAD")), ["todo", "todo-backend", "other", "both"]);
}

#[test]
fn global_inputs_that_are_nowhere_are_said() {
    let repo = Repo::new();
    repo.write("cfg/deep/a.json", "1");
    std::os::unix::fs::symlink("cfg/deep/a.json", repo.root.join("linked.json")).unwrap();
    let globs = r#"["./tsconfig.json", "backstage.json", "cfg", "cfg/", "cfg/**", "linked.json", "{a,cfg}/*/a.json", "cfgs/", "*.yaml", "none.json"]"#;
    let config = repo.read("rhdh-plugins.toml");
    repo.write("rhdh-plugins.toml", &format!("[inputs]\nglobal = {globs}\n{config}"));
    let plan = repo.plan(&Options::default());
    let said = |glob| format!("`{glob}` of `[inputs] global` is no file of a workspace that git knows");
    assert_eq!(plan.notes, ["cfgs/", "*.yaml", "none.json"].map(said));
}
