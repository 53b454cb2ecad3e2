//! The registry as the memory of what was built, with the real CNCF registry.

use std::io::Write as _;
use std::process::Output;

use crate::common::registry::{Auth, Registry};
use crate::common::rhdh_pack;
use crate::repo::Repo;

/// The monorepo with plugins that an earlier build made, which go to `registry`; `main` may move its tags.
fn prebuilt(registry: &Registry, overwrite: bool) -> Repo {
    let repo = Repo::files();
    repo.write(
        "rhdh-plugins.toml",
        &format!(
            "[defaults]\nregistries = [\"cncf\"]\nexport = \"prebuilt\"\n[registries.cncf]\noci = \"{}/acme\"\n\
             [channels.main]\non = {{ branch = \"main\" }}\ntags = [\"{{version}}\"]\noverwrite = {overwrite}\n\
             [plugins.todo-backend]\npath = \"plugins/todo-backend\"\n[plugins.other]\npath = \"plugins/other\"\n",
            registry.host
        ),
    );
    for name in ["todo-backend", "other"] {
        let package = format!(
            r#"{{"name": "@acme/{name}-dynamic", "version": "1.0.0", "main": "dist/index.cjs.js",
                "backstage": {{"role": "backend-plugin", "pluginId": "{name}"}}, "bundleDependencies": true}}"#
        );
        repo.write(&format!("plugins/{name}/dist-dynamic/package.json"), &package);
        repo.write(&format!("plugins/{name}/dist-dynamic/dist/index.cjs.js"), "module.exports = {};\n");
    }
    repo.git(&["init", "--quiet", "--initial-branch=main"]);
    repo.commit("first");
    repo
}

/// `run` on a push to `main` that GitLab says nothing before of: git alone would build everything.
fn push(repo: &Repo, arguments: &[&str]) -> Output {
    let variables = [("GITLAB_CI", "true"), ("CI_PIPELINE_SOURCE", "push"), ("CI_COMMIT_BRANCH", "main")];
    rhdh_pack(&repo.root).args(arguments).envs(variables).output().unwrap()
}

/// A second registry beside the first: every plugin goes to both.
fn also_to(repo: &Repo, registry: &Registry) {
    repo.edit("rhdh-plugins.toml", "registries = [\"cncf\"]", "registries = [\"cncf\", \"second\"]");
    let config = repo.read("rhdh-plugins.toml");
    repo.write("rhdh-plugins.toml", &format!("{config}[registries.second]\noci = \"{}/acme\"\n", registry.host));
}

fn result(repo: &Repo) -> serde_json::Value {
    serde_json::from_str(&repo.read(".rhdh-pack/result.json")).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Action and first reason of each plugin, from `plan.json`.
fn planned(repo: &Repo) -> Vec<(String, String)> {
    let plan: serde_json::Value = serde_json::from_str(&repo.read(".rhdh-pack/plan.json")).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let plugins = plan["plugins"].as_array().unwrap().iter();
    plugins.map(|plugin| (text(&plugin["action"]), text(&plugin["reasons"][0]["text"]))).collect()
}

#[test]
fn what_is_published_is_not_built_again() {
    let registry = Registry::start(Auth::Open);
    let repo = prebuilt(&registry, true);
    let run = push(&repo, &["run"]);
    assert_eq!(run.status.code(), Some(0), "{}", said(&run));
    assert_eq!(planned(&repo)[0].0, "build");

    // The same content from another clone, with another commit.
    repo.git(&["commit", "--quiet", "--amend", "--message", "again"]);
    let run = push(&repo, &["run"]);
    assert_eq!(run.status.code(), Some(0), "{}", said(&run));
    let up_to_date = ("skip".to_owned(), "up to date in cncf".to_owned());
    assert_eq!(planned(&repo), [up_to_date.clone(), up_to_date.clone()]);
    let result = result(&repo);
    assert_eq!(result["outcome"], "nothing-to-do");
    assert_eq!(result["plugins"][0]["state"], "up-to-date");

    // The tag of the key is gone: the channel's tag says the same.
    let key = result["plugins"][0]["content_key"].as_str().unwrap().to_owned();
    registry.untag("acme/acme-todo-backend", &format!("key-{}", &key[..20]));
    let run = push(&repo, &["plan"]);
    assert_eq!(planned(&repo), [up_to_date.clone(), up_to_date.clone()], "{}", said(&run));

    repo.write("plugins/other/src/index.ts", "x");
    let run = push(&repo, &["run"]);
    assert_eq!(run.status.code(), Some(0), "{}", said(&run));
    let plan = planned(&repo);
    assert_eq!((plan[0].clone(), plan[1].0.as_str()), (up_to_date, "build"));

    // Without memory, git alone.
    let config = repo.read("rhdh-plugins.toml");
    repo.write("rhdh-plugins.toml", &format!("{config}[inputs]\nmemory = false\n"));
    assert_eq!(push(&repo, &["plan"]).status.code(), Some(0));
    assert_eq!(planned(&repo)[0].0, "build");
}

#[test]
fn what_one_of_two_registries_lacks_is_copied_and_not_built() {
    let (one, other) = (Registry::start(Auth::Open), Registry::start(Auth::Open));
    let repo = prebuilt(&one, true);
    let run = push(&repo, &["run"]);
    assert_eq!(run.status.code(), Some(0), "{}", said(&run));
    let digest = result(&repo)["plugins"][0]["images"][0]["digest"].as_str().unwrap().to_owned();

    also_to(&repo, &other);
    repo.commit("a second registry");
    // Nothing on this machine could make them again: they must come from the first registry.
    repo.remove(".rhdh-pack");
    let dry = push(&repo, &["run", "--dry-run"]);
    assert_eq!(dry.status.code(), Some(0), "{}", said(&dry));
    let would_push = result(&repo)["plugins"][0]["would_push"].to_string();
    assert!(would_push.contains(&format!("{}/acme/", other.host)), "{would_push}");
    for name in ["todo-backend", "other"] {
        repo.write(&format!("plugins/{name}/dist-dynamic/package.json"), "no JSON, which packaging would refuse");
    }
    let run = push(&repo, &["run"]);
    assert_eq!(run.status.code(), Some(0), "{}", said(&run));
    let copied = ("copy".to_owned(), "built already: it is in cncf".to_owned());
    assert_eq!(planned(&repo), [copied.clone(), copied]);
    let result = result(&repo);
    assert_eq!((&result["outcome"], &result["plugins"][0]["state"]), (&"success".into(), &"published".into()));
    assert_eq!(result["plugins"][0]["timings"]["export"], serde_json::Value::Null);
    for registry in [&one, &other] {
        let found = registry.skopeo_digest("acme/acme-todo-backend", "1.0.0", &[]);
        assert_eq!(found.as_ref(), Some(&digest), "{}", registry.host);
    }
    let reasons = push(&repo, &["plan"]);
    assert_eq!(planned(&repo)[0], ("skip".to_owned(), "up to date in cncf, second".to_owned()), "{}", said(&reasons));
}

/// Outside of a CI, with prebuilt plugins that go nowhere.
fn local() -> Repo {
    let repo = Repo::files();
    let manifest = |name: &str| {
        format!(
            r#"{{"name": "@acme/{name}-dynamic", "version": "1.0.0", "main": "dist/index.cjs.js",
                "backstage": {{"role": "backend-plugin", "pluginId": "{name}"}}, "bundleDependencies": true}}"#
        )
    };
    let mut config = "[defaults]\nexport = \"prebuilt\"\n".to_owned();
    for name in ["todo-backend", "other"] {
        config.push_str(&format!("[plugins.{name}]\npath = \"plugins/{name}\"\n"));
        repo.write(&format!("plugins/{name}/dist-dynamic/package.json"), &manifest(name));
        repo.write(&format!("plugins/{name}/dist-dynamic/dist/index.cjs.js"), "module.exports = {};\n");
    }
    repo.write("rhdh-plugins.toml", &config);
    repo.git(&["init", "--quiet", "--initial-branch=main"]);
    repo.commit("first");
    repo
}

fn here(repo: &Repo, arguments: &[&str]) -> Output {
    rhdh_pack(&repo.root).args(arguments).output().unwrap()
}

/// Where nothing changed, outputs have the images of before; one that is nowhere is told, and makes no empty archive.
#[test]
fn outputs_have_what_was_packaged_before() {
    let repo = local();
    assert_eq!(here(&repo, &["run", "--all"]).status.code(), Some(0));
    for stage in [&["plan", "--all"][..], &["export"]] {
        assert_eq!(here(&repo, stage).status.code(), Some(0));
    }
    let package = |folder: &str| here(&repo, &["package", "--output", &format!("dir:{folder}")]);
    let packaged = package("all");
    assert_eq!(packaged.status.code(), Some(0), "{}", said(&packaged));
    let names = |folder: &str| {
        let index = std::fs::read_to_string(repo.root.join(folder).join("index.json")).unwrap_or_default();
        ["acme-todo-backend", "acme-other"].map(|name| index.contains(&format!("\"{name}\"")))
    };
    assert_eq!(names("all"), [true, true], "{}", said(&packaged));

    let image = result(&repo)["plugins"][1]["image"]["digest"].as_str().unwrap().to_owned();
    repo.remove(&format!(".rhdh-pack/oci/blobs/sha256/{}", image.trim_start_matches("sha256:")));
    let packaged = package("one");
    assert_eq!(names("one"), [true, false], "{}", said(&packaged));
    assert!(said(&packaged).contains("none of the outputs has it: `other`"), "{}", said(&packaged));
    repo.remove(".rhdh-pack/oci");
    let packaged = package("none");
    assert!(said(&packaged).contains("none of the outputs has it: `todo-backend`, `other`"), "{}", said(&packaged));
    assert_eq!(packaged.status.code(), Some(0), "{}", said(&packaged));
    assert!(!repo.root.join("none").exists());
}

/// git ignores both, so the content key is that of before.
#[test]
fn what_was_made_again_or_is_damaged_is_packaged_again() {
    let repo = local();
    let digest = || {
        let run = here(&repo, &["run", "--all"]);
        assert_eq!(run.status.code(), Some(0), "{}", said(&run));
        result(&repo)["plugins"][0]["image"]["digest"].as_str().unwrap().to_owned()
    };
    let first = digest();
    repo.write("plugins/todo-backend/dist-dynamic/dist/index.cjs.js", "module.exports = { mended: true };\n");
    let second = digest();
    assert_ne!(first, second);
    assert_eq!(planned(&repo)[1].0, "skip", "the other one is as it was");

    let blobs = repo.root.join(".rhdh-pack/oci/blobs/sha256");
    for blob in std::fs::read_dir(&blobs).unwrap() {
        std::fs::OpenOptions::new().append(true).open(blob.unwrap().path()).unwrap().write_all(b"x").unwrap();
    }
    assert_eq!(digest(), second);
    let verify = here(&repo, &["verify", ".rhdh-pack", "--no-load"]);
    assert_eq!(verify.status.code(), Some(0), "{}", said(&verify));
}

#[test]
fn what_was_pushed_is_installed_with_its_reference() {
    let registry = Registry::start(Auth::Open);
    let repo = prebuilt(&registry, true);
    let backend = "module.exports.default = { $$type: '@backstage/BackendFeature' };\n";
    for name in ["todo-backend", "other"] {
        repo.write(&format!("plugins/{name}/dist-dynamic/dist/index.cjs.js"), backend);
    }
    let run = push(&repo, &["run"]);
    assert_eq!(run.status.code(), Some(0), "{}", said(&run));
    let installed = here(&repo, &["install", "--root", "root"]);
    let entries = String::from_utf8_lossy(&installed.stdout).into_owned();
    let digest = result(&repo)["plugins"][0]["images"][0]["digest"].as_str().unwrap().to_owned();
    let entry = format!("oci://{}/acme/acme-todo-backend@{digest}!acme-todo-backend", registry.host);
    assert!(entries.contains(&entry), "{entries}{}", said(&installed));

    // Nothing is packaged: all is up to date in the registry.
    repo.remove(".rhdh-pack");
    let run = push(&repo, &["run"]);
    assert_eq!(run.status.code(), Some(0), "{}", said(&run));
    let installed = here(&repo, &["install", "--root", "root"]);
    assert!(said(&installed).contains("the last run packaged nothing"), "{}", said(&installed));
}

#[test]
fn a_mere_plan_loses_nothing() {
    let repo = local();
    let ran = here(&repo, &["run", "--all"]);
    assert_eq!(ran.status.code(), Some(0), "{}", said(&ran));
    for _ in 0..2 {
        assert_eq!(here(&repo, &["plan", "--all"]).status.code(), Some(0));
        let up_to_date = ("skip".to_owned(), "up to date in the output folder".to_owned());
        assert_eq!(planned(&repo), [up_to_date.clone(), up_to_date]);
    }
    assert_eq!(here(&repo, &["plan", "--explain", "other"]).status.code(), Some(0));
    for stage in [&["report"][..], &["push"]] {
        let stage = here(&repo, stage);
        assert_eq!(stage.status.code(), Some(0), "{}", said(&stage));
    }
    // Stage by stage, it stays known, too.
    for stage in [&["plan", "--all"][..], &["export"], &["package"], &["plan", "--all"]] {
        let stage = here(&repo, stage);
        assert_eq!(stage.status.code(), Some(0), "{}", said(&stage));
    }
    assert_eq!(planned(&repo)[0].0, "skip");
}

#[test]
fn a_result_of_other_content_is_not_taken_for_that_of_the_plan() {
    let repo = local();
    assert_eq!(here(&repo, &["run", "--all"]).status.code(), Some(0));
    let key = result(&repo)["plugins"][1]["content_key"].clone();
    repo.write("plugins/other/src/index.ts", "x");
    assert_eq!(here(&repo, &["plan", "--all"]).status.code(), Some(0));
    for stage in [&["push"][..], &["report"]] {
        let stage = here(&repo, stage);
        let refused = stage.status.code() == Some(2) && said(&stage).contains("does not exist");
        assert!(refused, "{}", said(&stage));
    }
    let packaged = here(&repo, &["package"]);
    assert_eq!(packaged.status.code(), Some(0), "{}", said(&packaged));
    assert_ne!(result(&repo)["plugins"][1]["content_key"], key);
    assert_eq!(here(&repo, &["report"]).status.code(), Some(0));
    // What an earlier run had no reason to build, a later plan may ask for.
    assert_eq!(here(&repo, &["plan", "--plugin", "other"]).status.code(), Some(0));
    repo.remove(".rhdh-pack/oci");
    assert_eq!(here(&repo, &["export"]).status.code(), Some(0));
    assert_eq!(here(&repo, &["plan", "--all"]).status.code(), Some(0));
    let pushed = here(&repo, &["push"]);
    assert!(pushed.status.code() == Some(2) && said(&pushed).contains("does not exist"), "{}", said(&pushed));
}

#[test]
fn recorded_times_balance_a_matrix() {
    let repo = local();
    assert_eq!(here(&repo, &["run", "--all"]).status.code(), Some(0));
    for name in ["a", "b"] {
        let config = repo.read("rhdh-plugins.toml");
        repo.write("rhdh-plugins.toml", &format!("{config}[plugins.{name}]\npath = \"plugins/{name}\"\n"));
        let manifest = repo.read("plugins/other/package.json").replace("other", name);
        repo.write(&format!("plugins/{name}/package.json"), &manifest);
    }
    let mut slow = result(&repo);
    slow["plugins"][0]["timings"]["export"] = 5000.0.into();
    repo.write(".rhdh-pack/result.json", &slow.to_string());
    repo.remove(".rhdh-pack/oci");
    let plan = here(&repo, &["plan", "--all", "--matrix", "2"]);
    let legs: serde_json::Value = serde_json::from_slice(&plan.stdout).unwrap();
    assert_eq!(legs["include"][0]["plugins"], "todo-backend", "{legs}");
    assert_eq!(legs["include"][1]["plugins"], "other,a,b", "{legs}");
}

/// With a job for each stage there is no leg, and so no result, where all is copied: the push stage goes by the plan.
#[test]
fn copies_need_no_leg_of_a_matrix() {
    let (one, other) = (Registry::start(Auth::Open), Registry::start(Auth::Open));
    let repo = prebuilt(&one, true);
    assert_eq!(push(&repo, &["run"]).status.code(), Some(0));
    also_to(&repo, &other);
    let plan = push(&repo, &["plan", "--matrix"]);
    assert_eq!(plan.status.code(), Some(0), "{}", said(&plan));
    assert_eq!(String::from_utf8_lossy(&plan.stdout).trim(), "[]");
    let pushed = push(&repo, &["push"]);
    assert_eq!(pushed.status.code(), Some(0), "{}", said(&pushed));
    assert!(other.skopeo_digest("acme/acme-other", "1.0.0", &[]).is_some());

    // One leg that has something to build, beside what is copied.
    repo.write("plugins/other/src/more.ts", "1");
    let third = Registry::start(Auth::Open);
    repo.edit("rhdh-plugins.toml", &other.host, &third.host);
    assert_eq!(push(&repo, &["plan"]).status.code(), Some(0));
    assert_eq!(planned(&repo).into_iter().map(|(action, _)| action).collect::<Vec<_>>(), ["copy", "build"]);
    for stage in [&["export", "--plugin", "other"][..], &["package"], &["push"]] {
        let stage = push(&repo, stage);
        assert_eq!(stage.status.code(), Some(0), "{}", said(&stage));
    }
    for image in ["acme/acme-todo-backend", "acme/acme-other"] {
        assert!(third.skopeo_digest(image, "1.0.0", &[]).is_some(), "{image}");
    }
}

#[test]
fn a_version_that_is_taken_is_refused_before_anything_is_built() {
    let registry = Registry::start(Auth::Open);
    let repo = prebuilt(&registry, false);
    let run = push(&repo, &["run"]);
    assert_eq!(run.status.code(), Some(0), "{}", said(&run));
    repo.write("plugins/other/src/index.ts", "x");
    let plan = push(&repo, &["plan"]);
    assert_eq!(plan.status.code(), Some(2), "{}", said(&plan));
    let words = said(&plan).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("`other` 1.0.0 cannot be published: `1.0.0` in `cncf` holds other content"), "{words}");
    assert!(words.contains("raise `version`"), "{words}");
    repo.edit("plugins/other/package.json", "1.0.0", "1.0.1");
    let plan = push(&repo, &["plan"]);
    assert_eq!(plan.status.code(), Some(0), "{}", said(&plan));
}

/// Built once more on demand, what has the same key may have other bytes: the key's tag moves, though the channel's may
/// not.
#[test]
fn the_tag_of_a_key_moves_in_every_channel() {
    let registry = Registry::start(Auth::Open);
    let repo = prebuilt(&registry, false);
    repo.edit("rhdh-plugins.toml", "{version}", "{version}-{short-sha}");
    let config = repo.read("rhdh-plugins.toml");
    repo.write("rhdh-plugins.toml", &format!("{config}[inputs]\nmemory = false\n"));
    repo.commit("first");
    assert_eq!(push(&repo, &["run"]).status.code(), Some(0));
    let before = result(&repo)["plugins"][0]["images"][0].clone();
    let key = before["tags"][0].as_str().unwrap();
    assert!(key.starts_with("key-"), "{before}");

    repo.write("plugins/todo-backend/dist-dynamic/more.js", "git ignores it");
    repo.commit("again");
    let run = push(&repo, &["run"]);
    assert_eq!(run.status.code(), Some(0), "{}", said(&run));
    assert!(
        said(&run).contains(&format!("`{key}` moves from `{}`", before["digest"].as_str().unwrap())),
        "{}",
        said(&run)
    );
    let after = result(&repo)["plugins"][0]["images"][0].clone();
    assert_ne!(before["digest"], after["digest"]);
    assert_eq!(registry.skopeo_digest("acme/acme-todo-backend", key, &[]).as_deref(), after["digest"].as_str());
    // The channel's own tags stay where they are.
    repo.write("plugins/todo-backend/dist-dynamic/more.js", "other");
    let run = push(&repo, &["run"]);
    assert!(run.status.code() == Some(1) && said(&run).contains("tag `1.0.0-"), "{}", said(&run));
}

#[test]
fn a_registry_that_does_not_answer_is_said_once() {
    let repo = {
        let registry = Registry::start(Auth::Open);
        prebuilt(&registry, true)
    };
    let plan = push(&repo, &["plan"]);
    assert_eq!(plan.status.code(), Some(0), "{}", said(&plan));
    assert_eq!(said(&plan).matches("registry `cncf` could not be asked what it holds").count(), 1, "{}", said(&plan));
    assert_eq!(planned(&repo)[0].0, "build");
}

/// A registry that takes the question and says nothing.
#[test]
fn a_plan_that_waits_for_a_registry_can_be_stopped() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap();
    let repo = Repo::new();
    let config = repo.read("rhdh-plugins.toml");
    let registry = format!(
        "[registries.q]\noci = \"{host}/x\"\n[channels.next]\ntags = [\"next\"]\n[defaults]\nregistries = [\"q\"]\n"
    );
    repo.write("rhdh-plugins.toml", &format!("{config}{registry}"));
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_rhdh-pack"))
        .args(["plan", "--channel", "next"])
        .current_dir(&repo.root)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", &repo.root)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let _open = listener.accept().unwrap();
    std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let mut said = String::new();
    std::io::Read::read_to_string(child.stderr.as_mut().unwrap(), &mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3), "{said}");
    assert!(said.contains("stopped before anything was written"), "{said}");
}
