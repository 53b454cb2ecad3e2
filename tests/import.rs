//! `rhdh-pack import` on what other tools have written.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use common::repository::Repository;

/// What the import says, and the configuration that it wrote, which passes the check.
fn imported(repository: &Repository, arguments: &[&str]) -> String {
    let said = repository.run(&[&["import"], arguments].concat());
    let check = repository.run(&["check"]);
    assert!(check.starts_with("exit code: 0"), "{said}{check}");
    let config = fs_err::read_to_string(repository.root().join("rhdh-plugins.toml")).unwrap();
    let plugins = config.find("[plugins.").unwrap();
    format!("{said}---\n{}\n{}", config.lines().nth(5).unwrap(), &config[plugins..])
}

#[test]
fn a_list_of_the_export_utilities() {
    let repository = Repository::new();
    repository
        .write(
            "plugins-list.yaml",
            "# Ours.\nplugins/todo: --scalprum-config ./scalprum.json\n\n#plugins/old: ==> later\nplugins/gone:\n\
             plugins/todo-backend: --embed-package @acme/a @acme/b --shared-package '!/@backstage/x y/' --no-install --clean",
        )
        .write("plugins/todo/scalprum.json", "{}")
        .write("plugins/todo/app-config.dynamic.yaml", "dynamicPlugins: {}\n");
    insta::assert_snapshot!("import_list", imported(&repository, &[]));
    let again = repository.run(&["import"]);
    assert!(again.starts_with("exit code: 2") && again.contains("already"), "{again}");
}

/// Lists as people write them: each gives the same two plugins with the same arguments.
#[test]
fn lists_of_every_shape() {
    let shapes = [
        "plugins/todo:\nplugins/todo-backend: --embed-package @a/x @a/y",
        "\u{feff}plugins/todo:\r\nplugins/todo-backend: --embed-package @a/x @a/y\r\n",
        "---\n# all of it\n./plugins/todo/: # the page\n\nplugins/todo-backend: --embed-package @a/x --embed-package @a/y # ours\n",
        "\"plugins/todo\": \"\"\n'plugins/todo-backend': \"--embed-package '@a/x' --embed-package=@a/y\"\n",
        "plugins/todo: null\nplugins/todo-backend: >-\n  --embed-package @a/x\n  --embed-package @a/y\n",
        "plugins/todo: ~\nplugins/todo-backend: |\n  --embed-package @a/x \\\n    --embed-package @a/y \\\n",
        "plugins/todo: []\nplugins/todo-backend: [--embed-package, '@a/x', '@a/y']\n",
        "- plugins/todo\n- plugins/todo-backend: --embed-package @a/x @a/y\n",
        "- plugins/todo:\n- plugins/todo-backend:\n    - --embed-package @a/x\n    - --embed-package @a/y\n",
        "{ plugins/todo: '', plugins/todo-backend: '--embed-package @a/x @a/y' }\n",
    ];
    let expected = "[plugins.todo]\npath = \"plugins/todo\"\n\n[plugins.todo-backend]\npath = \"plugins/todo-backend\"\n\
                    embed-packages = [\"@a/x\", \"@a/y\"]\n";
    for shape in shapes {
        let repository = Repository::new();
        repository.write("plugins-list.yaml", shape);
        let text = imported(&repository, &[]);
        assert!(text.ends_with(expected) && !text.contains("not carried over"), "{shape}\n{text}");
    }
}

/// What no configuration takes is left behind, so that the one that is written is right.
#[test]
fn arguments_that_no_configuration_takes() {
    let repository = Repository::new();
    repository
        .write("plugins-list.yaml", "plugins/todo-backend: --embed-package '' --shared-package \"a\\tb\" --minify\n");
    let text = imported(&repository, &[]);
    assert!(text.contains("`--embed-package`: `` is not the name of a package"), "{text}");
}

#[test]
fn an_overlay_with_its_sources() {
    let repository = Repository::new();
    repository
        .write(
            "overlay/more/source.json",
            r#"{ "repo": "https://me:hunter2@github.com/acme/plugins", "repo-ref": "v1", "repo-flat": true,
                 "repo-backstage-version": "1.49.0" }"#,
        )
        .write("overlay/more/plugins-list.yaml", "- plugins/todo:\n  - --minify\n- plugins/todo-backend:\n")
        .write("overlay/more/plugins/todo/app-config.dynamic.yaml", "dynamicPlugins: {}\n")
        .write("overlay/more/plugins/todo/scalprum-config.json", "{}")
        .write("overlay/more/plugins/todo/overlay/src/x.ts", "")
        .write("overlay/more/patches/1-x.patch", "");
    let text = imported(&repository, &["overlay/more/plugins-list.yaml"]);
    assert!(!text.contains("hunter2"), "{text}");
    insta::assert_snapshot!("import_overlay", text);
}

#[test]
fn scripts_of_the_plugins() {
    let repository = Repository::new();
    repository.write(
        "plugins/todo-backend/package.json",
        r#"{ "name": "@acme/plugin-todo-backend", "version": "1.0.0", "backstage": { "role": "backend-plugin" },
             "scripts": { "export-dynamic": "yarn tsc && janus-cli package export-dynamic-plugin --embed-package @acme/a --in-place" } }"#,
    );
    insta::assert_snapshot!("import_scripts", imported(&repository, &[]));
}

#[test]
fn what_is_no_list_is_said() {
    let repository = Repository::new();
    repository.write("list.yaml", "plugins/todo:\nplease build all\n").write("gone.yaml", "plugins/gone:\n");
    let said = [&["import", "list.yaml"][..], &["import"], &["import", "missing.yaml"], &["import", "gone.yaml"]];
    insta::assert_snapshot!("import_nothing", said.map(|arguments| repository.run(arguments)).join("\n"));
    assert!(!repository.root().join("rhdh-plugins.toml").exists());
}
