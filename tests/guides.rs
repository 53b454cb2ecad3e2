//! Every command in README.md and docs/*.md, run. Those of one page run one after the other in one repository, as
//! somebody would who reads it; those that stand in the text are at least such that the program takes them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::path::Path;
use std::process::Command;

use clap::Parser as _;
use common::registry::{Auth, Registry};
use common::repository::Repository;
use common::rhdh_pack;
use serde_json::json;

/// Commands that are not run, each with the reason.
const NOT_RUN: [(&str, &str); 11] = [
    ("rhdh-pack prune", "it needs a forge that knows which pull requests are closed: prune.rs has one"),
    ("rhdh-pack update", "it needs files of RHDH: update.rs and end_to_end.rs have some"),
    ("rhdh-pack promote", "it needs two channels, and what stands in one of them: channels.rs has both"),
    ("oras discover quay.io/acme/todo:1.0.0", "supply_chain.rs runs it, on a registry of its own"),
    ("cosign verify --key cosign.pub quay.io/acme/todo@sha256:…", "supply_chain.rs runs it, on a registry of its own"),
    (
        "cosign verify quay.io/acme/todo@sha256:… --certificate-oidc-issuer https://token.actions.githubusercontent.com \\",
        "no test has the identity of a job on GitHub",
    ),
    ("rhdh-pack -C examples/todo run", "end_to_end.rs goes that way, with the RHDH CLI"),
    ("cargo run --release -- -C examples/todo run --all", "end_to_end.rs goes that way, without compiling again"),
    ("cargo install --path .", "cargo's own work: it compiles for minutes"),
    ("bash .ci/test", "it runs this test"),
    ("podman login quay.io", "it needs quay.io, and an account there"),
];

/// What stands for something else in the pages, by page where it is only there.
const PLACEHOLDERS: [(&str, &str); 12] = [
    ("COMMIT", "HEAD"),
    ("REF", "oci://quay.io/acme/acme-plugin-todo:1.2.3"),
    ("REF|TGZ|DIR", "plugins/todo-backend/dist-dynamic"),
    ("WHAT", "plugins/todo-backend/dist-dynamic"),
    ("A", "plugins/todo-backend/dist-dynamic"),
    ("B", ".rhdh-pack"),
    ("CODE", "no-space-left"),
    ("DIR", "somewhere"),
    ("DIR…", "somewhere"),
    ("dir:DIR", "dir:somewhere"),
    ("NAME", "next"),
    ("ID", "todo"),
];

/// The blocks of a page that hold commands: fenced as `console` or `bash`, or indented.
fn commands(page: &str) -> Vec<String> {
    let (mut commands, mut fence) = (Vec::new(), None);
    for line in page.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            fence = if fence.is_some() { None } else { Some(language.to_owned()) };
            continue;
        }
        let line = match fence.as_deref() {
            Some("console") => line.strip_prefix("$ "),
            Some("bash" | "sh") => Some(line),
            Some(_) => None,
            None => line.strip_prefix("    ").filter(|line| is_command(line)),
        };
        // In a table, a description follows after some spaces.
        let command = line.map(|line| line.split("  ").next().unwrap_or(line).trim().to_owned());
        commands.extend(command.filter(|command| !command.is_empty() && !command.starts_with('#')));
    }
    commands
}

/// Indented blocks hold YAML and TOML, too.
fn is_command(line: &str) -> bool {
    let programs = [
        "rhdh-pack",
        "cosign",
        "oras",
        "cargo",
        "bash",
        "podman",
        "docker",
        "oc",
        "kubectl",
        "helm",
        "git",
        "npm",
        "yarn",
        "skopeo",
    ];
    line.split_once(' ').is_some_and(|(first, _)| programs.contains(&first))
}

/// What stands in the text: `` `rhdh-pack run` ``.
fn in_text(page: &str) -> Vec<String> {
    let outside: String = page.split("```").step_by(2).collect();
    let quoted = outside.split('`').skip(1).step_by(2);
    let lines = quoted.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|text| text.starts_with("rhdh-pack ")).collect()
}

/// The pages of the repository, by name.
fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![root.join("README.md"), root.join("CONTRIBUTING.md"), root.join("examples/todo/README.md")];
    files.extend(fs_err::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    files.retain(|file| file.extension().is_some_and(|extension| extension == "md"));
    files.sort();
    let name = |file: &Path| file.strip_prefix(root).unwrap().display().to_string();
    files.iter().map(|file| (name(file), fs_err::read_to_string(file).unwrap())).collect()
}

/// A repository with a frontend and a backend whose `dist-dynamic` somebody else has built, and registries on this
/// machine.
fn repository(host: &str, version: &str) -> Repository {
    let repository = Repository::new();
    fs_err::remove_dir_all(repository.root().join(".git")).unwrap();
    repository.write(".gitignore", ".rhdh-pack/\nnode_modules/\n");
    built(&repository, version);
    configure(&repository, host);
    git(repository.root(), &["init", "--quiet", "--initial-branch=main"]);
    git(repository.root(), &["remote", "add", "origin", "https://github.com/acme/plugins.git"]);
    git(repository.root(), &["add", "--all"]);
    git(repository.root(), &["commit", "--quiet", "--message=one"]);
    git(repository.root(), &["tag", "v1.2.0"]);
    repository
}

fn built(repository: &Repository, version: &str) {
    for (name, role, main) in [
        ("todo", "frontend-plugin", "dist-scalprum/plugin-manifest.json"),
        ("todo-backend", "backend-plugin", "dist/index.cjs.js"),
    ] {
        let manifest = json!({
            "name": format!("@acme/plugin-{name}"), "version": version, "main": "src/index.ts",
            "backstage": { "role": role, "pluginId": "todo" }, "scripts": { "export-dynamic": "rhdh-cli plugin export" },
        });
        let exported = json!({
            "name": format!("@acme/plugin-{name}-dynamic"), "version": version, "main": "dist/index.cjs.js",
            "backstage": { "role": role, "pluginId": "todo" }, "bundleDependencies": true, "files": ["dist", "dist-scalprum"],
        });
        let text = match role {
            "frontend-plugin" => {
                json!({ "name": "acme.plugin-todo", "version": version, "loadScripts": ["todo.js"], "extensions": [], "baseURL": "auto",
                        "registrationMethod": "callback" })
                .to_string()
            }
            _ => "exports.default = { $$type: '@backstage/BackendFeature', version: 'v1' };".to_owned(),
        };
        repository
            .write(&format!("plugins/{name}/package.json"), manifest.to_string())
            .write(&format!("plugins/{name}/src/index.ts"), "export default 1;\n")
            .write(&format!("plugins/{name}/dist-dynamic/package.json"), exported.to_string())
            .write(&format!("plugins/{name}/dist-dynamic/{main}"), text)
            .write(&format!("plugins/{name}/dist-dynamic/dist-scalprum/todo.js"), "");
    }
}

/// The configuration that a reader has after a while, with the registry of this test instead of quay.io.
fn configure(repository: &Repository, host: &str) {
    repository.config(format!(
        "[defaults]\nexport = \"prebuilt\"\nregistries = [\"main\"]\n[registries.main]\noci = \"{host}/acme\"\n\
         [registries.site]\ndir = \"public\"\n\
         [channels.next]\non = {{ branch = \"main\" }}\ntags = [\"next__{{version}}\", \"next\"]\noverwrite = true\n\
         [channels.release]\non = {{ tag = \"v*\" }}\ntags = [\"{{version}}\"]\n\
         [plugins.todo]\npath = \"plugins/todo\"\n[plugins.todo-backend]\npath = \"plugins/todo-backend\"\n\
         [bundles.all]\nplugins = [\"todo\", \"todo-backend\"]\n"
    ));
}

fn git(root: &Path, arguments: &[&str]) {
    let me = ["-c", "user.name=me", "-c", "user.email=me@acme.dev", "-c", "commit.gpgsign=false"];
    let output = Command::new("git").args(me).args(arguments).current_dir(root).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// The words of a command, with something real for what stands for it.
fn words(command: &str, host: &str) -> Vec<String> {
    // What a shell would do with the output is not ours.
    let words = command.split_whitespace().take_while(|word| !word.starts_with(['>', '|'])).map(|word| {
        let word = word.trim_matches(['\'', '"']);
        let placeholder = PLACEHOLDERS.iter().find(|(name, _)| *name == word);
        let real = placeholder.map_or(word, |(_, value)| value);
        // Short names that the pages use for an image of one's own.
        let real = real.replace("quay.io/acme/todo:1.0.0", "quay.io/acme/acme-plugin-todo:1.2.3");
        real.replace("quay.io/acme", &format!("{host}/acme"))
    });
    words.collect()
}

#[test]
fn every_command_of_the_pages_works() {
    let registry = Registry::start(Auth::Open);
    // Two versions that are in the registry already.
    for version in ["1.2.2", "1.2.3"] {
        let output = repository(&registry.host, version).run(&["run", "--all", "--channel", "release"]);
        assert!(output.starts_with("exit code: 0"), "{output}");
    }
    let (mut run, mut left_out) = (0, Vec::new());
    for (page, text) in pages() {
        let repository = repository(&registry.host, "1.2.4");
        repository.write("plugins-list.yaml", "plugins/todo:\nplugins/todo-backend: --embed-package @acme/lib\n");
        repository.write("config/plugins-list.yaml", "plugins/todo:\nplugins/todo-backend:\n");
        // The reader has tried it out.
        let output = repository.run(&["run", "--all"]);
        assert!(output.starts_with("exit code: 0"), "{output}");
        for command in commands(&text) {
            if let Some((not_run, _)) = NOT_RUN.iter().find(|(not_run, _)| *not_run == command) {
                left_out.push(*not_run);
                continue;
            }
            let words = words(&command, &registry.host);
            assert_eq!(words[0], "rhdh-pack", "{page}: `{command}` is neither run nor among those that are not");
            let begins = matches!(words[1].as_str(), "init" | "import");
            if begins {
                repository.remove("rhdh-plugins.toml");
            }
            let mut program = rhdh_pack(repository.root());
            program.args(&words[1..]).env("HOME", repository.root());
            let output = program.output().unwrap();
            assert_eq!(
                output.status.code(),
                Some(0),
                "{page}: `{command}`\n{}",
                common::transcript(&output, repository.root())
            );
            run += 1;
            if begins {
                configure(&repository, &registry.host);
            }
        }
    }
    assert!(run > 25, "{run}");
    left_out.sort_unstable();
    left_out.dedup();
    let never: Vec<_> = NOT_RUN.iter().filter(|(command, _)| !left_out.contains(command)).collect();
    assert!(never.is_empty(), "no page has these: {never:?}");
}

#[test]
fn every_command_in_the_text_is_one() {
    let mut seen = 0;
    for (page, text) in pages() {
        for command in in_text(&text) {
            let words = words(&command, "quay.io");
            let parsed = rhdh_pack::cli::Cli::try_parse_from(&words);
            // Alone in a sentence, a command stands for itself without what it needs.
            let lacks = |error: &clap::Error| error.kind() == clap::error::ErrorKind::MissingRequiredArgument;
            if let Err(error) = parsed.map(drop)
                && !lacks(&error)
            {
                panic!("{page}: `{command}`: {error}");
            }
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}

/// Links between the pages lead somewhere.
#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (page, text) in pages() {
        let folder = root.join(&page).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            if file.contains("://") {
                continue;
            }
            let target = if file.is_empty() { root.join(&page) } else { folder.join(file) };
            assert!(target.exists(), "{page}: {link}");
            if !anchor.is_empty() {
                let text = fs_err::read_to_string(target).unwrap();
                let headings = text.lines().filter_map(|line| line.strip_prefix('#')).map(|line| {
                    let line = line.trim_start_matches('#').trim().to_lowercase();
                    let kept = line.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
                    kept.collect::<String>().replace(' ', "-")
                });
                assert!(headings.into_iter().any(|heading| heading == anchor), "{page}: {link}");
            }
        }
    }
}
