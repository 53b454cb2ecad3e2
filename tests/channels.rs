//! Channels at work, with real registries: what a pull request built is what `next` and the release have in the end,
//! byte for byte, without a build in between.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use common::registry::{Auth, Registry};
use common::repository::Repository;
use serde_json::Value;

const EVENT_PR: &[(&str, &str)] =
    &[("GITHUB_ACTIONS", "true"), ("GITHUB_EVENT_NAME", "pull_request"), ("GITHUB_REF", "refs/pull/17/merge")];
const EVENT_MAIN: &[(&str, &str)] =
    &[("GITHUB_ACTIONS", "true"), ("GITHUB_EVENT_NAME", "push"), ("GITHUB_REF", "refs/heads/main")];
const EVENT_TAG: &[(&str, &str)] =
    &[("GITHUB_ACTIONS", "true"), ("GITHUB_EVENT_NAME", "push"), ("GITHUB_REF", "refs/tags/v1.0.0")];

/// Two plugins with their own builds and a bundle of both; pull requests go to `quay-pr`.
fn repository(release: &str, pull_requests: &str) -> Repository {
    let repository = Repository::new();
    for folder in ["plugins/todo", "plugins/todo-backend"] {
        let name = format!("@acme/plugin-{}", folder.rsplit('/').next().unwrap());
        repository.package(folder, &name, "1.0.0", "backend-plugin");
        build(&repository, folder, "exports.default = {};\n");
    }
    repository.config(format!(
        "[defaults]\nexport = \"prebuilt\"\nregistries = [\"quay\"]\n\
         [registries.quay]\noci = \"{release}/acme\"\n[registries.quay-pr]\noci = \"{pull_requests}/acme-pr\"\n\
         [channels.pr]\non = \"pull-request\"\ntags = [\"pr_{{pr}}__{{version}}\"]\noverwrite = true\nregistries = [\"quay-pr\"]\n\
         [channels.next]\non = {{ branch = \"main\" }}\ntags = [\"next__{{version}}\", \"next\"]\noverwrite = true\n\
         promote-from = [\"pr\"]\n\
         [channels.release]\non = {{ tag = \"v*\" }}\ntags = [\"{{version}}\"]\npromote-from = [\"next\"]\n\
         [plugins.todo]\npath = \"plugins/todo\"\n[plugins.todo-backend]\npath = \"plugins/todo-backend\"\n\
         [bundles.all]\nplugins = [\"todo\", \"todo-backend\"]\n"
    ));
    repository
}

/// Sources and the `dist-dynamic` that somebody built of them.
fn build(repository: &Repository, folder: &str, code: &str) {
    let name = format!("@acme/plugin-{}-dynamic", folder.rsplit('/').next().unwrap());
    let manifest = serde_json::json!({
        "name": name, "version": "1.0.0", "main": "dist/index.cjs.js", "backstage": { "role": "backend-plugin" },
    });
    repository
        .write(&format!("{folder}/src/index.ts"), code)
        .write(&format!("{folder}/dist-dynamic/package.json"), manifest.to_string())
        .write(&format!("{folder}/dist-dynamic/dist/index.cjs.js"), code);
}

fn run(repository: &Repository, event: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = common::rhdh_pack(repository.root());
    let output = command.envs(event.iter().copied()).args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn good(repository: &Repository, event: &[(&str, &str)], arguments: &[&str]) -> String {
    let (code, said) = run(repository, event, arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {said}");
    said
}

fn result(repository: &Repository) -> Value {
    serde_json::from_slice(&fs_err::read(repository.root().join(".rhdh-pack/result.json")).unwrap()).unwrap()
}

const IMAGES: [&str; 3] = ["acme-plugin-todo", "acme-plugin-todo-backend", "all"];

#[test]
fn what_was_tested_is_what_is_released() {
    let (release, pull_requests) = (Registry::start(Auth::Open), Registry::start(Auth::Open));
    let repository = repository(&release.host, &pull_requests.host);
    good(&repository, EVENT_PR, &["run", "--all"]);
    let digests = |registry: &Registry, namespace: &str, tag: &str| {
        IMAGES.map(|image| registry.skopeo_digest(&format!("{namespace}/{image}"), tag, &[]))
    };
    let tested = digests(&pull_requests, "acme-pr", "pr_17__1.0.0");
    assert!(tested.iter().all(Option::is_some), "{tested:?}");

    // What is promoted comes from the registry: here, nothing of it is left.
    fs_err::remove_dir_all(repository.root().join(".rhdh-pack")).unwrap();
    let said = good(&repository, EVENT_MAIN, &["promote", "--from", "pr", "--to", "next", "--pr", "17", "--dry-run"]);
    assert!(said.contains("dry run: nothing was pushed"), "{said}");
    assert_eq!(digests(&release, "acme", "next"), [None, None, None]);
    good(&repository, EVENT_MAIN, &["promote", "--from", "pr", "--to", "next", "--pr", "17"]);
    assert_eq!(digests(&release, "acme", "next"), tested);
    assert_eq!(digests(&release, "acme", "next__1.0.0"), tested);
    let promoted = result(&repository);
    assert_eq!((promoted["channel"].as_str(), promoted["outcome"].as_str()), (Some("next"), Some("success")));
    assert_eq!(promoted["plugins"][0]["state"], "published");
    let yaml = fs_err::read_to_string(repository.root().join(".rhdh-pack/dynamic-plugins.yaml")).unwrap();
    assert!(yaml.contains(tested[0].as_deref().unwrap()), "{yaml}");

    good(&repository, EVENT_TAG, &["promote", "--from", "next", "--to", "release"]);
    assert_eq!(digests(&release, "acme", "1.0.0"), tested);
    assert!(!repository.root().join(".rhdh-pack/oci").exists(), "nothing was packaged");
    // What was attached where it was built went along.
    let attached = result(&repository)["plugins"][0]["images"][0]["attached"].clone();
    let documents: Vec<&str> =
        attached.as_array().unwrap().iter().map(|one| one["document"].as_str().unwrap()).collect();
    assert_eq!(documents, ["sbom", "provenance"]);
    // A second time there is nothing to do, and it is no failure.
    good(&repository, EVENT_TAG, &["promote", "--from", "next", "--to", "release"]);
    assert_eq!(result(&repository)["outcome"], "nothing-to-do");
    assert_eq!(result(&repository)["plugins"][0]["images"][0]["tags"], serde_json::json!(["1.0.0"]));
}

#[test]
fn a_pull_request_is_compared_with_the_branch_that_it_is_for() {
    let registry = Registry::start(Auth::Open);
    let repository = repository(&registry.host, &registry.host);
    let config = fs_err::read_to_string(repository.root().join("rhdh-plugins.toml")).unwrap();
    repository.config(
        config + "[channels.old]\non = { branch = \"1.x\" }\ntags = [\"old__{version}\", \"old\"]\noverwrite = true\n",
    );
    let branch = |name| [EVENT_MAIN[0], EVENT_MAIN[1], ("GITHUB_REF", name)];
    // `1.x` has a larger image than `main`, and the pull request one between them, of another version.
    for (code, reference) in [(3_000, "refs/heads/1.x"), (10, "refs/heads/main")] {
        build(&repository, "plugins/todo", &format!("exports.default = {{}}; // {}\n", noise(code)));
        good(&repository, &branch(reference), &["run", "--all"]);
    }
    build(&repository, "plugins/todo", &format!("exports.default = {{}}; // {}\n", noise(1_500)));
    for file in ["package.json", "dist-dynamic/package.json"] {
        let file = repository.root().join("plugins/todo").join(file);
        let raised = fs_err::read_to_string(&file).unwrap().replace("1.0.0", "1.0.1");
        fs_err::write(file, raised).unwrap();
    }
    let config = fs_err::read_to_string(repository.root().join("rhdh-plugins.toml")).unwrap();
    repository.config(config.replace("[bundles.all]", "[bundles.all]\nversion = \"{todo.version}\""));
    let mut seen = Vec::new();
    for (into, tag) in [("1.x", "old"), ("main", "next"), ("elsewhere", "")] {
        let event = [EVENT_PR, &[("GITHUB_BASE_REF", into)]].concat();
        good(&repository, &event, &["run", "--all", "--dry-run"]);
        let todo = result(&repository)["plugins"][0].clone();
        let expected = format!("{}/acme/acme-plugin-todo:{tag}", registry.host);
        let base = todo["base_image"]["reference"].as_str();
        assert_eq!(base, Some(expected.as_str()).filter(|_| !tag.is_empty()));
        let summary = fs_err::read_to_string(repository.root().join(".rhdh-pack/summary.md")).unwrap();
        let row = summary.lines().find(|line| line.starts_with("| todo |")).unwrap().to_owned();
        seen.push((row.contains(" (−"), row.contains(" (+")));
    }
    assert_eq!(seen, [(true, false), (false, true), (false, false)]);
}

/// Letters that do not compress.
fn noise(length: usize) -> String {
    let mut state = 1_u64;
    let letter = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + (state >> 33) as u8 % 26)
    };
    (0..length).map(letter).collect()
}

#[test]
fn what_another_channel_may_not_take_is_refused() {
    let repository = repository("127.0.0.1:1", "127.0.0.1:1");
    let (code, said) = run(&repository, EVENT_TAG, &["promote", "--from", "pr", "--to", "release", "--pr", "17"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("promote-from = [\"next\", \"pr\"]"), "{said}");
    let (code, said) = run(&repository, EVENT_TAG, &["promote", "--from", "pull", "--to", "release"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("there is no channel `pull`"), "{said}");
    for number in ["seventeen", "-1", "18446744073709551616", "17; true", ""] {
        let (code, said) = run(&repository, EVENT_MAIN, &["promote", "--from", "pr", "--to", "next", "--pr", number]);
        assert_eq!(code, Some(2), "{said}");
    }
}

#[test]
fn other_sources_and_other_images_are_not_promoted() {
    let registry = Registry::start(Auth::Open);
    let repository = repository(&registry.host, &registry.host);
    let promote = ["promote", "--from", "pr", "--to", "next", "--pr", "17"];
    let (code, said) = run(&repository, EVENT_MAIN, &promote);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("channel `pr` has no image of it"), "{said}");

    good(&repository, EVENT_PR, &["run", "--all"]);
    // Without the number of the pull request its tags have no name.
    let (code, said) = run(&repository, EVENT_MAIN, &promote[..5]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("`{pr}` of `pr_{pr}__{version}` has no value"), "{said}");
    assert!(said.contains("--pr NUMBER"), "{said}");

    // Sources that nobody tested.
    build(&repository, "plugins/todo", "exports.default = { other: 1 };\n");
    let (code, said) = run(&repository, EVENT_MAIN, &promote);
    assert_eq!(code, Some(1), "{said}");
    let found = result(&repository);
    let code_of = |id: usize| found["plugins"][id]["error"]["code"].as_str().map(str::to_owned);
    assert_eq!((code_of(0).as_deref(), code_of(1)), (Some("promote-other-content"), None), "{said}");
    assert_eq!(found["bundles"][0]["error"]["code"], "promote-other-content");
    // In a channel whose tags may move, the others are promoted.
    assert!(registry.skopeo_digest("acme/acme-plugin-todo-backend", "next", &[]).is_some());
    assert!(registry.skopeo_digest("acme/acme-plugin-todo", "next", &[]).is_none());
    // In one whose tags may not, nothing is.
    let (code, said) = run(&repository, EVENT_TAG, &["promote", "--from", "next", "--to", "release"]);
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(result(&repository)["plugins"][1]["error"]["code"], "held-back");
    assert!(registry.skopeo_digest("acme/acme-plugin-todo-backend", "1.0.0", &[]).is_none());
    // Unless nothing else was asked for.
    good(&repository, EVENT_TAG, &["promote", "--from", "next", "--to", "release", "--plugin", "todo-backend"]);
    assert!(registry.skopeo_digest("acme/acme-plugin-todo-backend", "1.0.0", &[]).is_some());

    // A second image of the same sources, of which one must be somebody else's.
    build(&repository, "plugins/todo", "exports.default = {};\n");
    let key = result(&repository)["plugins"][0]["content_key"].as_str().unwrap().to_owned();
    let (code, said) = run(
        &repository,
        EVENT_MAIN,
        &["promote", "--from", "pr", "--to", "next", "--pr", "17", "--plugin", "todo", "--dry-run"],
    );
    assert_eq!(code, Some(0), "{said}");
    let tested = result(&repository)["plugins"][0]["content_key"].as_str().unwrap().to_owned();
    assert_ne!(key, tested);
    let image = |tag: &str| format!("docker://{}/acme-pr/acme-plugin-todo:{tag}", registry.host);
    let forged = format!("docker://{}/acme-pr/acme-plugin-todo-backend:pr_17__1.0.0", registry.host);
    let copied = std::process::Command::new("skopeo")
        .args([
            "copy",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
            &forged,
            &image(&format!("key-{}", &tested[..20])),
        ])
        .output()
        .unwrap();
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    let (code, said) =
        run(&repository, EVENT_MAIN, &["promote", "--from", "pr", "--to", "next", "--pr", "17", "--plugin", "todo"]);
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(result(&repository)["plugins"][0]["error"]["code"], "promote-two-images", "{said}");
}

#[test]
fn what_differs_from_what_was_tested_is_said_by_name() {
    let registry = Registry::start(Auth::Open);
    let repository = repository(&registry.host, &registry.host);
    let git = |arguments: &[&str]| {
        let mut command = common::scrubbed("git");
        command.current_dir(repository.root()).args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(arguments);
        String::from_utf8(common::registry::run("git", "git", &mut command)).unwrap().trim().to_owned()
    };
    repository.write(".gitignore", "/.rhdh-pack\n");
    git(&["init", "--quiet", "--initial-branch=main"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message=tested"]);
    let tested = git(&["rev-parse", "HEAD"]);
    good(&repository, &[EVENT_PR, &[("GITHUB_SHA", &tested)]].concat(), &["run", "--all"]);

    build(&repository, "plugins/todo", "exports.default = { other: 1 };\n");
    let config = fs_err::read_to_string(repository.root().join("rhdh-plugins.toml")).unwrap();
    repository.config(config.replace("[plugins.todo]\n", "[plugins.todo]\nlabels = { team = \"todo\" }\n"));
    git(&["commit", "--quiet", "--all", "--message=more"]);
    let head = git(&["rev-parse", "HEAD"]);
    let promote = || {
        let event = [EVENT_MAIN, &[("GITHUB_SHA", &head)]].concat();
        let (code, said) = run(&repository, &event, &["promote", "--from", "pr", "--to", "next", "--pr", "17"]);
        assert_eq!(code, Some(1), "{said}");
        let result = result(&repository);
        let error = |kind: &str| {
            let error = &result[kind][0]["error"];
            assert_eq!(error["code"], "promote-other-content", "{said}");
            (error["message"].as_str().unwrap().to_owned(), error["help"].as_str().unwrap().to_owned())
        };
        (error("plugins"), error("bundles").0)
    };
    let ((message, help), of_bundle) = promote();
    let since = format!("was made of other sources than these: since `{}`, ", &tested[..10]);
    assert!(message.contains(&since), "{message}");
    assert!(message.contains("plugins/todo/src/index.ts") && message.contains("`labels` changed"), "{message}");
    assert!(!message.contains("content key"), "{message}");
    assert_eq!(help, format!("check out the commit that was tested: `git checkout {tested}`"));
    assert!(of_bundle.contains("todo changed: "), "{of_bundle}");

    // A clone without that commit.
    let shallow = repository.root().join(".git");
    fs_err::remove_dir_all(&shallow).unwrap();
    git(&["init", "--quiet", "--initial-branch=main"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message=only"]);
    let ((message, help), _) = promote();
    assert!(message.contains("it has content key `") && help.contains(&format!("git fetch origin {tested}")), "{help}");
}

#[test]
fn archives_stay_and_it_is_said() {
    let registry = Registry::start(Auth::Open);
    let repository = repository(&registry.host, &registry.host);
    let config = fs_err::read_to_string(repository.root().join("rhdh-plugins.toml")).unwrap();
    let config = config.replacen("registries = [\"quay\"]", "registries = [\"quay\", \"site\"]", 1)
        + "[registries.site]\ndir = \"public\"\n";
    repository.config(config);
    good(&repository, EVENT_PR, &["run", "--all"]);
    let said = good(&repository, EVENT_MAIN, &["promote", "--from", "pr", "--to", "next", "--pr", "17"]);
    assert!(said.contains("archives are not promoted: todo to `site`"), "{said}");
    assert!(!repository.root().join("public").exists());
    assert!(registry.skopeo_digest("acme/acme-plugin-todo", "next", &[]).is_some());
}

/// A plan is a question, too: what was made before it is still known, and still there to be reported.
#[test]
fn a_plan_forgets_nothing() {
    let repository = repository("127.0.0.1:1", "127.0.0.1:1");
    let mut config = std::fs::read_to_string(repository.root().join("rhdh-plugins.toml")).unwrap();
    for name in ["more", "most"] {
        repository.package(&format!("plugins/{name}"), &format!("@acme/plugin-{name}"), "1.0.0", "backend-plugin");
        config.push_str(&format!("[plugins.{name}]\npath = \"plugins/{name}\"\n"));
    }
    repository.write("rhdh-plugins.toml", config);
    let build_all = |code: &str| {
        for folder in ["plugins/todo", "plugins/todo-backend", "plugins/more", "plugins/most"] {
            build(&repository, folder, code);
        }
    };
    build_all("exports.default = {};\n");
    good(&repository, &[], &["run", "--all"]);
    let file = repository.root().join(".rhdh-pack/result.json");
    let mut result: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    for (plugin, seconds) in result["plugins"].as_array_mut().unwrap().iter_mut().zip([5, 5, 5, 5_000]) {
        plugin["timings"]["export"] = seconds.into();
    }
    std::fs::write(&file, result.to_string()).unwrap();
    for plan in [&["plan"][..], &["plan", "--explain", "todo"], &["plan", "--all"], &["plan", "--all"]] {
        let said = good(&repository, &[], plan);
        assert!(!said.contains("build "), "{said}");
        good(&repository, &[], &["report"]);
    }
    // Of something else, it is no result.
    build_all("exports.default = 2;\n");
    for _ in 0..2 {
        let output = common::rhdh_pack(repository.root()).args(["plan", "--all", "--matrix", "2"]).output().unwrap();
        let legs: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(legs["include"][1]["plugins"], "most", "{legs}");
        assert_eq!(run(&repository, &[], &["report"]).0, Some(2));
    }
    build_all("exports.default = {};\n");
    let said = good(&repository, &[], &["plan", "--all"]);
    assert!(!said.contains("build "), "{said}");
}

/// What a registry holds already gets the tags of another channel, too, or the run says why it cannot.
#[test]
fn tags_of_what_is_there_already() {
    let (release, pull_requests) = (Registry::start(Auth::Open), Registry::start(Auth::Open));
    let repository = repository(&release.host, &pull_requests.host);
    let config = std::fs::read_to_string(repository.root().join("rhdh-plugins.toml")).unwrap();
    repository.write(
        "rhdh-plugins.toml",
        format!("{config}[channels.manual]\ntags = [\"{{short-sha}}\"]\noverwrite = true\n"),
    );
    for arguments in [&["init", "--quiet"][..], &["add", "--all"], &["commit", "--quiet", "--message", "x"]] {
        let git = std::process::Command::new("git")
            .current_dir(repository.root())
            .args(["-c", "user.name=a", "-c", "user.email=a@b.c"])
            .args(arguments)
            .status()
            .unwrap();
        assert!(git.success());
    }
    let head = std::process::Command::new("git").current_dir(repository.root()).args(["rev-parse", "HEAD"]).output();
    let head = String::from_utf8(head.unwrap().stdout).unwrap();
    good(&repository, &[], &["run", "--all", "--channel", "next"]);
    good(&repository, &[], &["run", "--all", "--channel", "manual"]);
    for image in IMAGES {
        assert!(release.skopeo_digest(&format!("acme/{image}"), &head[..7], &[]).is_some(), "{image}");
    }
    good(&repository, EVENT_PR, &["run", "--all"]);
    let (code, said) = run(&repository, &[], &["run", "--all", "--channel", "pr"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("a tag of channel `pr`"), "{said}");
}
