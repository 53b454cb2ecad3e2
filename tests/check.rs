//! `rhdh-pack check`: every bad configuration, and every bad repository behind a good one, has a snapshot of exit
//! code, stdout and stderr.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use common::repository::Repository;
use common::{rhdh_pack, transcript};

/// What most cases begin with: further lines belong to the plugin.
const TODO: &str = "[plugins.todo]\npath = \"plugins/todo\"\n";

/// Each case is a test: the name of its snapshot, and the lines after [`TODO`].
macro_rules! after_todo {
    ($($name:ident: $text:expr;)*) => {$(
        #[test]
        fn $name() {
            check(stringify!($name), &format!("{TODO}{}", $text), &Repository::new());
        }
    )*};
}

/// Compares what `check` says of the configuration `text` with the snapshot `name`.
fn check(name: &str, text: &str, repository: &Repository) {
    compare(name, &repository.config(text).run(&["check"]));
}

fn compare(name: &str, transcript: &str) {
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, transcript);
    });
}

mod good {
    use super::*;

    #[test]
    fn minimal() {
        check("minimal", TODO, &Repository::new());
    }

    #[test]
    fn example() {
        let repository = Repository::new();
        repository.write("plugins/todo/scalprum.json", "{}").write("plugins/todo/app-config.dynamic.yaml", "app: {}\n");
        repository.write("certs/acme.pem", "");
        check("example", include_str!("../rhdh-plugins.toml.example"), &repository);
    }

    #[test]
    fn crlf_and_byte_order_mark() {
        let repository = Repository::new();
        let text = format!("\u{feff}{TODO}").replace('\n', "\r\n");
        check("minimal", &text, &repository);
        check("crlf_and_byte_order_mark", &(text + "imag = \"x\"\r\n"), &repository);
    }

    #[test]
    fn found_from_below_and_by_name() {
        let repository = Repository::new();
        repository.config(TODO);
        let run = |folder: &str, arguments: &[&str]| {
            let folder = repository.root().join(folder);
            transcript(&rhdh_pack(&folder).args(arguments).output().unwrap(), repository.root())
        };
        compare("found_from_below", &run("plugins/todo", &["check"]));
        compare("named", &run("plugins", &["check", "--config", "../rhdh-plugins.toml"]));
        compare("minimal", &run("plugins", &["-C", "..", "check"]));
    }
}

mod file {
    use super::*;

    #[test]
    fn not_found() {
        compare("not_found", &Repository::new().run(&["check"]));
        // What stands above the repository is another's.
        let outer = tempfile::tempdir().unwrap();
        fs_err::write(outer.path().join("rhdh-plugins.toml"), TODO).unwrap();
        let inner = outer.path().join("inner");
        fs_err::create_dir_all(inner.join(".git")).unwrap();
        let output = rhdh_pack(&inner).arg("check").output().unwrap();
        compare("not_found", &transcript(&output, &inner));
    }

    #[test]
    fn missing() {
        compare("missing", &Repository::new().run(&["check", "--config", "other.toml"]));
    }

    #[test]
    fn folder() {
        compare("folder", &Repository::new().run(&["check", "--config", "plugins"]));
    }

    #[test]
    fn device() {
        compare("device", &Repository::new().run(&["check", "--config", "/dev/zero"]));
    }

    #[test]
    fn unreadable() {
        // Not by permissions: the tests may run as root.
        compare("unreadable", &Repository::new().run(&["check", "--config", "package.json/rhdh-plugins.toml"]));
    }

    #[test]
    fn too_large() {
        let repository = Repository::new();
        repository.config(TODO);
        let file = fs_err::OpenOptions::new().write(true).open(repository.root().join("rhdh-plugins.toml")).unwrap();
        file.set_len(100 * 1024 * 1024).unwrap();
        compare("too_large", &repository.run(&["check"]));
    }

    #[test]
    fn not_utf8() {
        let repository = Repository::new();
        repository.config(b"[plugins.todo]\n# \xc3\xbc and \xff\n");
        compare("not_utf8", &repository.run(&["check"]));
    }

    #[test]
    fn empty() {
        check("empty", "", &Repository::new());
    }

    #[test]
    fn hundreds_of_problems() {
        let lines: String = (0..500).map(|number| format!("key{number} = {number}\n")).collect();
        let said = Repository::new().config(format!("{TODO}{lines}")).run(&["check"]);
        assert!(said.contains("the first 100 of many problems in `rhdh-plugins.toml`"), "{said}");
        assert_eq!(said.matches("unknown key").count(), 100);
    }

    #[test]
    fn hundreds_of_problems_in_a_long_line() {
        let labels: Vec<String> = (0..10_000).map(|number| format!("label{number} = {number}")).collect();
        let said = Repository::new().config(format!("{TODO}labels = {{ {} }}\n", labels.join(", "))).run(&["check"]);
        assert!(said.contains("the first 1 of many problems in `rhdh-plugins.toml`"), "{}", &said[..1000]);
        assert!(said.len() < 2_000_000, "{} bytes", said.len());
    }
}

/// What is not TOML, or not the right key or type.
mod format {
    use super::*;

    after_todo! {
        unclosed_table: "[registries.quay\noci = \"quay.io/acme\"";
        unclosed_string: "image = \"todo\n";
        two_equals_signs: "image = = \"todo\"";
        duplicate_key: "path = \"plugins/todo\"";
        duplicate_table: "[plugins.todo]\nimage = \"todo\"";
        nested_too_deeply: format!("export-args = {}", "[".repeat(1000));
        control_character: "image = \"to\u{1b}[31mdo\"";
        escaped_control_character: "image = \"to\\u001b[31mdo\"";

        unknown_table: "[bundels.all]\nplugins = [\"todo\"]";
        unknown_key: "imgae = \"todo\"";
        unknown_key_far_from_all: "colour = \"red\"";
        path_as_default: "[defaults]\npath = \"plugins\"\nversion = \"1.0.0\"";
        number_for_string: "[rhdh]\nversion = 1.9";
        string_for_list: "embed-packages = \"@acme/plugin-todo-common\"";
        number_in_list: "export-args = [\"--minify\", 3, true]";
        string_for_flag: "[inputs]\nmemory = \"false\"";
        string_for_table: "labels = \"x\"";
        string_for_plugin: "[plugins]\nother = \"plugins/other\"";
        list_for_tables: "[[registries]]\noci = \"quay.io/acme\"";
        number_for_choice: "export = 1";
        unknown_choice: "export = \"prebuild\"";
        unknown_choice_far_from_all: "[inputs]\non-unknown-base = \"stop\"";
        string_for_number: "compression-level = \"9\"";
        number_beyond_all: "compression-level = 1000";
        list_of_rules: "allow = [\"unused-packages\"]";
        number_for_label: "labels = { a = 1, b = \"x\", c = 2 }";
    }

    #[test]
    fn misspelt_plugins() {
        check("misspelt_plugins", "[plugin.todo]\npath = \"plugins/todo\"\n", &Repository::new());
    }
}

mod plugins {
    use super::*;

    after_todo! {
        plugin_without_path: "[plugins.todo-backend]\nimage = \"todo-backend\"";
        plugin_id: "[plugins.\"Todo Backend\"]\npath = \"plugins/todo-backend\"";
        image: "image = \"Todo_-Image\"";
        image_too_long: "image = \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"";
        image_with_namespace: "image = \"acme/todo\"";
        package_like_an_option: "embed-packages = [\"--no-build\", \"\"]";
        repeated_package: "embed-packages = [\"a\", \"b\", \"a\"]";
        label_without_name: "labels = { \"\" = \"x\", \"a b\" = \"y\" }";
        reserved_annotation: "annotations = { \"io.backstage.dynamic-packages\" = \"x\" }";
        compression_level: "compression-level = 10\n[defaults]\ncompression-level = 0";
        artifact_type: "artifact-type = \"dynamic plugin\"";
        rule_without_reason: "allow = { unused-packages = \" \" }";
        unknown_rules: "allow = { unused-package = \"x\" }\n[defaults]\nallow = { everything = \"y\" }";
        same_folder: "[plugins.again]\npath = \"./plugins/../plugins/todo/\"";
        unknown_registry: "registries = [\"quya\", \"elsewhere\"]\n[registries.quay]\noci = \"quay.io/acme\"";
        no_registries: "registries = [\"quay\"]";
        unknown_default_registry: "[defaults]\nregistries = [\"quya\"]\n[registries.quay]\noci = \"quay.io/acme\"";
        repeated_registry: "registries = [\"quay\", \"quay\"]\n[registries.quay]\noci = \"quay.io/acme\"";
        absolute_path: "[plugins.etc]\npath = \"/etc\"";
        path_outside: "[plugins.other]\npath = \"plugins/../../other\"";
        path_missing: "[plugins.backend]\npath = \"plugins/todo-backnd\"";
        path_far_from_all: "[plugins.backend]\npath = \"packages/backend\"";
        path_of_package_json: "[plugins.backend]\npath = \"plugins/todo-backend/package.json\"";
        path_with_backslash: "[plugins.backend]\npath = 'plugins\\todo-backend'";
        file_missing: "app-config = \"plugins/todo/app-config.yaml\"";
        folder_for_file: "scalprum-config = \"plugins/todo\"";
    }

    #[test]
    fn absolute_path_below_the_root() {
        let repository = Repository::new();
        let path = repository.root().join("plugins/todo");
        let text = format!("[plugins.todo]\npath = \"{}\"\n", path.display());
        repository.config(text);
        // The path's length is in the underlining, and differs from test to test.
        let said = repository.run(&["check"]);
        assert!(
            said.contains("is an absolute path") && said.contains("write it from here: `\"plugins/todo\"`"),
            "{said}"
        );
    }

    #[test]
    fn path_through_a_link_that_leaves() {
        let repository = Repository::new();
        repository.link("plugins/etc", "/etc");
        let text =
            format!("{TODO}[plugins.etc]\npath = \"plugins/etc\"\n[registries.site]\ndir = \"plugins/etc/site\"\n");
        check("path_through_a_link_that_leaves", &text, &repository);
    }

    #[test]
    fn same_folder_through_a_link() {
        let repository = Repository::new();
        repository.link("linked", "plugins/todo");
        let text = format!("{TODO}[plugins.linked]\npath = \"linked\"\n");
        check("same_folder_through_a_link", &text, &repository);
    }
}

mod bundles {
    use super::*;

    after_todo! {
        bundle_without_plugins: "[bundles.one]\n[bundles.two]\nplugins = []";
        bundle_of_unknown_plugin: "[bundles.all]\nplugins = [\"todo\", \"tood\"]";
        bundle_with_repeated_plugin: "[bundles.all]\nplugins = [\"todo\", \"todo\"]";
        bundle_id: "[bundles.All]\nplugins = [\"todo\"]";
        bundle_id_that_is_no_image_name: "[bundles.a__-b]\nplugins = [\"todo\"]";
        bundle_image: "[bundles.all]\nplugins = [\"todo\"]\nimage = \"-all\"";
        bundle_version_of_unknown_plugin: "[bundles.all]\nplugins = [\"todo\"]\nversion = \"{tood.version}\"";
        bundle_version_unlike_a_tag: "[bundles.all]\nplugins = [\"todo\"]\nversion = \"one two\"";
    }
}

mod registries {
    use super::*;

    after_todo! {
        registry_id: "[registries.Quay]\noci = \"quay.io/acme\"";
        registry_without_kind: "[registries.quay]";
        registry_of_unknown_kind: "[registries.quay]\nocii = \"quay.io/acme\"";
        registry_of_kind_far_from_all: "[registries.quay]\ndocker = \"quay.io/acme\"";
        registry_of_two_kinds: "[registries.quay]\noci = \"quay.io/acme\"\ndir = \"public\"";
        oci_with_scheme: "[registries.quay]\noci = \"https://quay.io/acme/\"";
        oci_with_plain_http: "[registries.local]\noci = \"http://localhost:5000/acme\"";
        oci_in_upper_case: "[registries.quay]\noci = \"quay.io/Acme\"";
        oci_without_host: "[registries.quay]\noci = \"acme\"";
        oci_with_tag: "[registries.quay]\noci = \"quay.io/acme:latest\"";
        npm_without_scheme: "[registries.nexus]\nnpm = \"nexus.acme.dev/npm\"";
        npm_with_another_scheme: "[registries.nexus]\nnpm = \"ftp://nexus.acme.dev\"";
        base_url_without_dir: "[registries.quay]\noci = \"quay.io/acme\"\nbase-url = \"https://acme.dev\"";
        base_url_with_query: "[registries.site]\ndir = \"public\"\nbase-url = \"https://acme.dev/?a=b\"";
        dir_outside: "[registries.site]\ndir = \"../public\"";
        dir_below_a_file: "[registries.site]\ndir = \"package.json/public\"";
        insecure_without_oci: "[registries.site]\ndir = \"public\"\ninsecure = true";
        needless_keys: "[registries.site]\ndir = \"public\"\nca = \"package.json\"\nallow-public = true\ntag = \"v{version}\"";
        ca_outside: "[registries.quay]\noci = \"quay.io/acme\"\nca = \"/etc/pki/acme.pem\"";
        ca_missing: "[registries.quay]\noci = \"quay.io/acme\"\nca = \"certs/acme.pem\"";
        npm_public: "[registries.npm]\nnpm = \"https://registry.npmjs.org\"";
        github_release_url: "[registries.rel]\ngithub-release = \"https://github.com/acme/plugins.git\"";
        github_release_unlike_a_repository: "[registries.rel]\ngithub-release = \"plugins\"\ntag = \"v{verison}\"";
        gitlab_packages_outside: "[registries.pkgs]\ngitlab-packages = \"../acme\"";
    }

    #[test]
    fn url_with_credentials() {
        let text = format!("{TODO}[registries.nexus]\nnpm = \"https://me:hunter2@nexus.acme.dev\"\n");
        check("url_with_credentials", &text, &Repository::new());
    }

    /// Another problem beside the line with the password, a URL that is none, and a file that is not TOML.
    #[test]
    fn credentials_near_a_problem() {
        let text = "[registries.a]\noci = \"https://me:hunter2@quay.io/acme\"\n[registries.b]\nnpm = \"ftp://me:hunter2@x\"\ninsecure = 1\n";
        check("credentials_near_a_problem", &format!("{TODO}{text}"), &Repository::new());
        check("credentials_in_no_toml", &format!("{TODO}{text}x = = \n"), &Repository::new());
    }

    /// As TOML may write what makes a URL of it.
    #[test]
    fn escaped_credentials() {
        let text = [
            ("npm", "https://me:hunter2\\u0040nexus.acme.dev"),
            ("npm", "https\\u003a//hunter2@nexus.acme.dev"),
            ("npm", "\\U00000068ttps://me:hunter2\\U00000040nexus.acme.dev"),
            ("github-release", "https:\\u002f/hunter2\\u0040github.com/acme/plugins"),
        ];
        let tables = text.iter().enumerate();
        let text: String =
            tables.map(|(number, (key, url))| format!("[registries.r{number}]\n{key} = \"{url}\"\n")).collect();
        let repository = Repository::new();
        check("escaped_credentials", &format!("{TODO}{text}"), &repository);
        assert!(!repository.run(&["check"]).contains("hunter2"));
    }
}

mod channels {
    use super::*;

    after_todo! {
        channel_id: "[channels.PR]\non = \"pull-request\"";
        unknown_occasion: "[channels.pr]\non = \"pull-requests\"";
        occasion_without_name: "[channels.next]\non = \"branch\"";
        occasion_with_two_keys: "[channels.next]\non = { branch = \"main\", tag = \"v*\" }";
        unknown_occasion_with_name: "[channels.next]\non = [\"manual\", { brunch = \"main\" }]";
        needless_name: "[channels.next]\non = { manual = \"yes\" }";
        number_for_occasion: "[channels.next]\non = 3";
        bad_branch_glob: "[channels.next]\non = [3, { branch = \"release/[\" }]";
        empty_tag_glob: "[channels.next]\non = { tag = \"\" }";
        unknown_variable: "[channels.next]\ntags = [\"next__{verison}\", \"{commit}\"]";
        unpaired_brace: "[channels.next]\ntags = [\"next__{version\"]";
        empty_template: "[channels.next]\ntags = [\"\"]";
        repeated_tag: "[channels.next]\ntags = [\"next\", \"next\"]";
        unknown_registry_of_channel: "[channels.next]\nregistries = [\"quya\"]\n[registries.quay]\noci = \"quay.io/acme\"";
        input_glob_out_of_place: "[inputs]\nglobal = [\"../tsconfig.json\"]\nignore = [\"/src/gen\", \"!a\"]";
        bad_input_glob: "[inputs]\nglobal = [\"**/{a,b\"]\nignore = [\"**/*.md\", \"a**\"]";
        rhdh_version: "[rhdh]\nversion = \"1.9.1\"";
        rhdh_version_far_from_all: "[rhdh]\nversion = \"latest\"";
        rhdh_cli: "[rhdh]\ncli = \"^1.9.0\"";
    }

    #[test]
    fn unknown_channel() {
        let repository = Repository::new();
        repository.config(format!("{TODO}[channels.next]\ntags = [\"next\"]\n"));
        compare("unknown_channel", &repository.run(&["plan", "--channel", "nxet"]));
    }
}

/// The file is right, and the repository is not.
mod repository {
    use super::*;

    #[test]
    fn no_package_json() {
        let repository = Repository::new();
        repository.remove("plugins/todo/package.json");
        check("no_package_json", TODO, &repository);
    }

    #[test]
    fn package_json_is_not_json() {
        let repository = Repository::new();
        repository.write("plugins/todo/package.json", "{\n  \"name\": \"@acme/plugin-todo\",\n}\n");
        check("package_json_is_not_json", TODO, &repository);
    }

    #[test]
    fn no_role_name_and_version() {
        let repository = Repository::new();
        repository.write("plugins/todo/package.json", "{ \"name\": \"@acme/plugin-todo\" }");
        check("no_role_and_version", TODO, &repository);
        repository.write("plugins/todo/package.json", "{ \"version\": \"1.0.0\" }");
        check("no_name", TODO, &repository);
    }

    #[test]
    fn role_that_cannot_be_exported() {
        let text = format!("{TODO}[plugins.common]\npath = \"plugins/todo-common\"\n");
        check("role_that_cannot_be_exported", &text, &Repository::new());
    }

    #[test]
    fn package_version() {
        let repository = Repository::new();
        repository.package("plugins/todo", "@acme/plugin-todo", "1.0", "frontend-plugin");
        check("package_version", TODO, &repository);
    }

    #[test]
    fn no_yarn_lock() {
        let repository = Repository::new();
        repository.remove("yarn.lock");
        check("no_yarn_lock", TODO, &repository);
    }

    /// Five plugins, each with `lines`.
    fn five(folder: &str, lines: &str) -> String {
        (1..=5).map(|number| format!("[plugins.p{number}]\npath = \"{folder}/p{number}\"\n{lines}")).collect()
    }

    #[test]
    fn one_cause_for_many_plugins() {
        let repository = Repository::new();
        for number in 1..=5 {
            let folder = format!("plugins/p{number}");
            repository.package(&folder, &format!("@acme/p{number}"), "1.0.0", "frontend-plugin");
        }
        let text = five("plugins", "");
        repository.write("package.json", r#"{ "name": "root", "workspaces": ["plugins/todo"] }"#);
        check("many_plugins_not_in_the_workspace", &text, &repository);
        repository.remove("yarn.lock");
        check("many_plugins_without_yarn_lock", &text, &repository);
        let defaults = "[defaults.allow]\nno-rule = \"why\"\n";
        let text = format!("{TODO}{}{defaults}", five("plugin", "registries = [\"quay\"]\nexport = 7\n"));
        check("many_plugins_in_a_folder_that_was_moved", &text, &repository);
    }

    #[test]
    fn not_in_the_workspace() {
        let repository = Repository::new();
        repository.write("package.json", r#"{ "name": "root", "workspaces": ["plugins/todo-*"] }"#);
        check("not_in_the_workspace", TODO, &repository);
    }

    #[test]
    fn same_image_from_package_names() {
        let repository = Repository::new();
        repository.package("plugins/dashed", "acme-plugin-todo", "1.0.0", "backend-plugin");
        let text = format!("{TODO}[plugins.dashed]\npath = \"plugins/dashed\"\n");
        check("same_image_from_package_names", &text, &repository);
    }

    #[test]
    fn same_archive_from_package_names() {
        let repository = Repository::new();
        repository.package("plugins/dashed", "acme-plugin-todo", "1.0.0", "backend-plugin");
        let text = format!("{TODO}[plugins.dashed]\npath = \"plugins/dashed\"\nimage = \"dashed\"\n");
        check("same_archive_from_package_names", &text, &repository);
    }

    #[test]
    fn same_image() {
        let text = "[plugins.todo]\npath = \"plugins/todo\"\nimage = \"todo\"\n\
                    [plugins.todo-backend]\npath = \"plugins/todo-backend\"\nimage = \"todo\"\n\
                    [bundles.todo]\nplugins = [\"todo\"]\n[bundles.all]\nplugins = [\"todo\"]\nimage = \"todo\"\n";
        check("same_image", text, &Repository::new());
    }

    #[test]
    fn package_name_that_is_no_image_name() {
        let repository = Repository::new();
        repository.package("plugins/todo", "@acme/_Todo", "1.0.0", "frontend-plugin");
        check("package_name_that_is_no_image_name", TODO, &repository);
    }

    #[test]
    fn app_config_that_is_no_mapping() {
        let repository = Repository::new();
        repository
            .write("plugins/todo/app-config.yaml", "- app\n")
            .write("plugins/todo-backend/app-config.yaml", "a: [\n");
        let text = "[plugins.todo]\npath = \"plugins/todo\"\napp-config = \"plugins/todo/app-config.yaml\"\n\
                    [plugins.todo-backend]\npath = \"plugins/todo-backend\"\n\
                    app-config = \"plugins/todo-backend/app-config.yaml\"\n";
        check("app_config_that_is_no_mapping", text, &repository);
    }

    #[test]
    fn default_app_config_that_is_no_mapping() {
        let repository = Repository::new();
        repository.write("shared.yaml", "- a list\n");
        repository.package("plugins/p1", "@acme/p1", "1.0.0", "frontend-plugin");
        let text = format!("{TODO}[plugins.p1]\npath = \"plugins/p1\"\n[defaults]\napp-config = \"shared.yaml\"\n");
        check("default_app_config_that_is_no_mapping", &text, &repository);
    }

    #[test]
    fn bundle_of_different_versions() {
        let repository = Repository::new();
        repository.package("plugins/todo-backend", "@acme/plugin-todo-backend", "2.0.0", "backend-plugin");
        let text = format!(
            "{TODO}[plugins.todo-backend]\npath = \"plugins/todo-backend\"\n\
             [bundles.all]\nplugins = [\"todo\", \"todo-backend\"]\n"
        );
        check("bundle_of_different_versions", &text, &repository);
    }

    #[test]
    fn all_at_once() {
        let repository = Repository::new();
        repository.remove("plugins/todo-backend/package.json");
        let text = "[defaults]\nregistries = [\"quya\"]\n[registries.quay]\noci = \"https://quay.io/acme\"\n\
                    [plugins.todo]\npath = \"plugins/tood\"\nimgae = \"todo\"\n\
                    [plugins.todo-backend]\npath = \"plugins/todo-backend\"\n\
                    [bundles.all]\nplugins = [\"todo\", \"todo-frontend\"]\n";
        check("all_at_once", text, &repository);
    }
}
