//! `rhdh-pack plan` itself: what it prints, and its exit code.

use std::process::{Command, Output};

use crate::common::rhdh_pack;
use crate::repo::{LOCK, Repo};

/// The program in the repository's root, knowing nothing of a CI.
fn run(repo: &Repo, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rhdh-pack"));
    command.current_dir(&repo.root).args(["plan"]).args(arguments);
    for (name, _) in std::env::vars() {
        if ["CI", "GITHUB_", "GITLAB_", "GIT_"].iter().any(|begin| name.starts_with(begin)) {
            command.env_remove(name);
        }
    }
    command.envs(variables.iter().copied()).output().unwrap()
}

/// A command that need not be `plan`.
fn stage_of(repo: &Repo, arguments: &[&str]) -> Output {
    rhdh_pack(&repo.root).args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_table_is_for_people() {
    let repo = Repo::new();
    repo.write("yarn.lock", &LOCK.replace("10c0/aa", "10c0/bb"));
    let output = run(&repo, &[], &[]);
    assert_eq!(stdout(&output), "");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let base = &repo.git(&["rev-parse", "HEAD"])[..10];
    let expected = format!(
        "compared with {base}, the merge base with `main`\n\
         build   other          1.0.0  unused 1.0.0 has another resolution or checksum\n\
         skip    todo           1.0.0  nothing that it is made from changed since {base}, the merge base with `main`\n\
         skip    todo-backend   1.0.0  nothing that it is made from changed since {base}, the merge base with `main`\n\
         skip    both (bundle)  1.0.0  nothing that it is made from changed since {base}, the merge base with `main`\n"
    );
    assert_eq!(stderr, expected);
}

#[test]
fn documents_go_to_stdout() {
    let repo = Repo::new();
    repo.write("plugins/todo-common/src/index.ts", "x");
    let plan: serde_json::Value = serde_json::from_str(&stdout(&run(&repo, &["--format", "json"], &[]))).unwrap();
    assert_eq!(plan["schema_version"], 1);
    assert_eq!(plan["plugins"][0]["reasons"][0]["kind"], "dependency");
    assert_eq!(plan["plugins"][0]["content_key"].as_str().unwrap().len(), 64);
    let written: serde_json::Value = serde_json::from_str(&repo.read(".rhdh-pack/plan.json")).unwrap();
    assert_eq!(written, plan);
    let matrix = stdout(&run(&repo, &["--matrix"], &[]));
    assert_eq!(matrix, "{\"include\":[{\"leg\":1,\"plugins\":\"todo,todo-backend\",\"bundles\":\"both\"}]}\n");
    let matrix = stdout(&run(&repo, &["--matrix", "2", "--all"], &[("GITLAB_CI", "true")]));
    assert!(matrix.starts_with("[{\"RHDH_PACK_LEG\":\"1\",\"RHDH_PACK_PLUGINS\":\"todo,todo-backend\""), "{matrix}");
    let why = stdout(&run(&repo, &["--explain", "todo"], &[]));
    let expected = "todo 1.0.0: build\n  @acme/todo-common changed (1 file)\n      @acme/todo → @acme/todo-common\n      \
                    plugins/todo-common/src/index.ts changed\n";
    assert!(why.starts_with(expected), "{why}");
}

#[test]
fn a_matrix_has_no_more_legs_than_the_ci_takes() {
    let repo = Repo::new();
    let mut config = repo.read("rhdh-plugins.toml");
    for number in 0..260 {
        let name = format!("other-{number}");
        let manifest = repo.read("plugins/other/package.json").replace("@acme/other", &format!("@acme/{name}"));
        repo.write(&format!("plugins/{name}/package.json"), &manifest);
        config.push_str(&format!("[plugins.{name}]\npath = \"plugins/{name}\"\n"));
    }
    repo.write("rhdh-plugins.toml", &config);
    for (variables, legs) in [(vec![], 256), (vec![("GITLAB_CI", "true")], 200)] {
        for arguments in [["--all", "--matrix"].as_slice(), &["--all", "--matrix", "300"]] {
            let text = stdout(&run(&repo, arguments, &variables));
            let matrix: serde_json::Value = serde_json::from_str(&text).unwrap();
            let found = matrix.get("include").unwrap_or(&matrix).as_array().unwrap();
            assert_eq!(found.len(), legs, "{arguments:?}");
            assert!((0..260).all(|number| text.contains(&format!("other-{number}"))), "{text}");
        }
    }
}

#[test]
fn what_is_wrong_ends_with_2() {
    let repo = Repo::new();
    for arguments in
        [&["--base", "nothing"][..], &["--plugin", "othr"], &["--explain", "othr"], &["--all", "--plugin", "x"]]
    {
        let output = run(&repo, arguments, &[]);
        assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_folder_that_was_there_before_is_a_plugin_that_was_removed() {
    let repo = Repo::new();
    repo.edit("rhdh-plugins.toml", "[bundles.both]\nplugins = [\"todo\", \"todo-backend\"]\nversion = \"1.0.0\"\n", "");
    let base = repo.commit("no bundle");
    repo.git(&["rm", "-r", "--quiet", "plugins/other"]);
    repo.commit("gone");
    let plan = run(&repo, &["--base", &base], &[]);
    let said = String::from_utf8_lossy(&plan.stderr).into_owned();
    assert_eq!(plan.status.code(), Some(0), "{said}");
    assert!(said.contains("remove"), "{said}");
    assert!(said.contains("plugins/other was removed; take `[plugins.other]` out of rhdh-plugins.toml, too"), "{said}");
    // The stages behind it go by the plan; what git ignores may have stayed behind.
    repo.write("plugins/other/node_modules/x/index.js", "");
    for stage in [&["plan", "--base", &base][..], &["export"], &["package"], &["push"], &["report"]] {
        let output = stage_of(&repo, stage);
        assert_eq!(output.status.code(), Some(0), "{stage:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    // Without the base, nobody knows whether it ever was there.
    for command in [&["check"][..], &["plan", "--base", "HEAD"], &["plan", "--all"]] {
        let output = stage_of(&repo, command);
        assert_eq!(output.status.code(), Some(2), "{command:?}");
    }
    repo.remove("plugins/other");
    let output = run(&repo, &["--base", "HEAD"], &[]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("`plugins/other` does not exist"));
    // A bundle cannot be made without it.
    repo.write("rhdh-plugins.toml", &format!("{}[bundles.b]\nplugins = [\"other\"]\n", repo.read("rhdh-plugins.toml")));
    let output = run(&repo, &["--base", &base], &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("names the plugin `other`, which was removed"), "{said}");
}

#[test]
fn a_sparse_checkout_must_have_the_packages() {
    let repo = Repo::new();
    let base = repo.git(&["rev-parse", "HEAD"]);
    repo.write("plugins/todo-common/src/index.ts", "changed");
    repo.write("examples/package.json", "{}");
    repo.commit("todo-common, and what is no package of the workspace");
    repo.git(&[
        "sparse-checkout",
        "set",
        "--no-cone",
        "/*",
        "!/plugins/todo-common/",
        "!/plugins/other/",
        "!/examples/",
    ]);
    for arguments in [["--base", &base], ["--all", "--quiet"]] {
        let output = run(&repo, &arguments, &[]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains("git has packages that are not checked out"), "{stderr}");
        assert!(stderr.contains("`git sparse-checkout add plugins/other plugins/todo-common`"), "{stderr}");
    }
    repo.git(&["sparse-checkout", "add", "plugins/other", "plugins/todo-common"]);
    let output = run(&repo, &["--base", &base], &[]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("build   todo "), "{stderr}");
    assert!(stderr.contains("skip    other "), "{stderr}");
    let full = repo.clone_with(&[]);
    assert_eq!(full.keys(), repo.keys());
}

#[test]
fn an_object_that_is_missing_is_named() {
    let repo = Repo::new();
    let lock = repo.git(&["rev-parse", "HEAD:yarn.lock"]);
    repo.write("yarn.lock", &LOCK.replace("10c0/aa", "10c0/bb"));
    repo.remove(&format!(".git/objects/{}/{}", &lock[..2], &lock[2..]));
    let output = run(&repo, &[], &[]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains(&format!("git has no object `{lock}`")) && stderr.contains("git fsck"), "{stderr}");
}

#[test]
fn a_broken_workspace_is_said_once() {
    let repo = Repo::new();
    repo.write("plugins/todo-common/package.json", "{");
    let output = stage_of(&repo, &["check"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), said.matches("is not valid JSON").count()), (Some(2), 1), "{said}");
}

#[test]
fn an_unknown_base_is_an_annotation() {
    let repo = Repo::new();
    let variables = [("GITHUB_ACTIONS", "true"), ("GITHUB_EVENT_NAME", "push"), ("GITHUB_REF", "refs/heads/main")];
    let plan = run(&repo, &[], &variables);
    let said = String::from_utf8_lossy(&plan.stderr).into_owned();
    let warning = "::warning title=rhdh-pack::everything is planned, because the base commit cannot be known: ";
    assert!(plan.status.success() && said.contains(warning), "{said}");
    repo.write(
        "rhdh-plugins.toml",
        &format!("{}[inputs]\non-unknown-base = \"fail\"\n", repo.read("rhdh-plugins.toml")),
    );
    let plan = run(&repo, &[], &variables);
    let said = String::from_utf8_lossy(&plan.stderr).into_owned();
    assert!(
        plan.status.code() == Some(2) && said.contains("::error title=rhdh-pack::cannot tell what changed"),
        "{said}"
    );
}

#[test]
fn without_git_that_and_nothing_else_is_said() {
    let repo = Repo::new();
    let no_programs = [("PATH", "/nowhere")];
    let output = run(&repo, &[], &no_programs);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("the base commit cannot be known: git cannot be"), "{said}");
    assert!(said.contains("compared with nothing: git cannot be started") && !said.contains("repository"), "{said}");
    let said = String::from_utf8_lossy(&run(&repo, &["--all"], &no_programs).stderr).into_owned();
    assert!(said.starts_with("compared with nothing: `--all`"), "{said}");
    let output = run(&repo, &["--base", "HEAD"], &no_programs);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(3) && said.contains("install git") && !said.contains("is in none"), "{said}");
}

/// A server of git that takes connections and says nothing.
#[test]
fn a_server_that_says_nothing_is_not_waited_for() {
    let origin = Repo::new();
    let base = origin.git(&["rev-parse", "HEAD"]);
    origin.commit("second");
    let repo = origin.clone_with(&["--depth=1"]);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x.git", silent.local_addr().unwrap());
    repo.git(&["remote", "set-url", "origin", &url]);
    let plan = run(&repo, &["--base", &base], &[("GIT_HTTP_LOW_SPEED_TIME", "1")]);
    assert_eq!(plan.status.code(), Some(2), "{}", stdout(&plan));
    let said = String::from_utf8_lossy(&plan.stderr);
    assert!(said.contains(&base), "{said}");
}

#[test]
fn a_registry_that_cannot_be_reached_is_tried_once_for_all_plugins() {
    let repo = Repo::new();
    let mut config = repo.read("rhdh-plugins.toml");
    for number in 0..20 {
        let folder = format!("plugins/more{number}");
        let manifest = repo.read("plugins/other/package.json").replace("other", &format!("more{number}"));
        repo.write(&format!("{folder}/package.json"), &manifest);
        config.push_str(&format!("[plugins.more{number}]\npath = \"{folder}\"\n"));
    }
    repo.write(
        "rhdh-plugins.toml",
        &format!(
            "{config}[registries.q]\noci = \"127.0.0.1:1/x\"\n[channels.next]\ntags = [\"next\"]\n\
             [defaults]\nregistries = [\"q\"]\n"
        ),
    );
    let output = run(&repo, &["--channel", "next"], &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), said.matches("trying again").count()), (Some(0), 2), "{said}");
    assert_eq!(said.matches("registry `q` could not be asked").count(), 1, "{said}");
}

/// What registries hold only adds to what git says: nothing else of a plan needs their credentials.
#[test]
fn credentials_that_cannot_be_read_stop_no_plan() {
    let repo = Repo::new();
    repo.write("auth.json", "garbage");
    let auth = repo.root.join("auth.json").display().to_string();
    let variables = [("REGISTRY_AUTH_FILE", auth.as_str())];
    let output = run(&repo, &[], &variables);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), said.contains("auth.json")), (Some(0), false), "{said}");
    let config = repo.read("rhdh-plugins.toml");
    let registry = "[registries.q]\noci = \"127.0.0.1:1/x\"\n[channels.next]\ntags = [\"next\"]\n[defaults]\nregistries = [\"q\"]\n";
    repo.write("rhdh-plugins.toml", &format!("{config}{registry}"));
    let output = run(&repo, &["--channel", "next"], &variables);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(said.matches("registry `q` could not be asked what it holds").count(), 1, "{said}");
    assert!(said.contains("auth.json") && !said.contains("pushed"), "{said}");
    // Whoever pushes needs them.
    let pushed = rhdh_pack(&repo.root).args(["run", "--channel", "next"]).envs(variables).output().unwrap();
    let said = String::from_utf8_lossy(&pushed.stderr).into_owned();
    assert!(pushed.status.code() == Some(3) && said.contains("nothing was pushed"), "{said}");
}

#[test]
fn variables_for_another_repository_do_not_count() {
    let repo = Repo::new();
    let other = Repo::empty();
    other.git(&["init", "--quiet", "--bare"]);
    repo.write("plugins/other/src/index.ts", "x");
    let plain = stdout(&run(&repo, &["--format", "json"], &[]));
    let bare = other.root.display().to_string();
    for variables in [
        &[("GIT_DIR", bare.as_str())][..],
        &[("GIT_DIR", ".git")],
        &[("GIT_INDEX_FILE", "/nowhere"), ("GIT_WORK_TREE", "/"), ("GIT_PREFIX", "x/")],
        &[("GIT_LITERAL_PATHSPECS", "1"), ("GIT_EXTERNAL_DIFF", "false"), ("LC_ALL", "tr_TR.UTF-8")],
    ] {
        assert_eq!(stdout(&run(&repo, &["--format", "json"], variables)), plain);
    }
}

#[test]
fn a_repository_that_only_the_environment_knows_is_used() {
    let repo = Repo::files();
    let elsewhere = Repo::empty();
    let (git_dir, tree) = (elsewhere.root.join("x.git").display().to_string(), repo.root.display().to_string());
    let both = [format!("--git-dir={git_dir}"), format!("--work-tree={tree}")];
    let both = [both[0].as_str(), both[1].as_str()];
    repo.git(&["init", "--quiet", "--bare", "--initial-branch=main", &git_dir]);
    repo.git(&[&both[..], &["add", "--all"]].concat());
    repo.git(&[&both[..], &["commit", "--quiet", "--message", "first"]].concat());
    repo.write("plugins/other/src/index.ts", "x");
    let json = stdout(&run(&repo, &["--format", "json"], &[("GIT_DIR", &git_dir), ("GIT_WORK_TREE", &tree)]));
    let plan: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(plan["plugins"][2]["reasons"][0]["text"], "plugins/other/src/index.ts changed", "{json}");
    assert_eq!(plan["plugins"][0]["action"], "skip");
}

#[test]
fn what_a_bundle_needs_is_asked_for() {
    let repo = Repo::new();
    let said = stdout(&run(&repo, &["--bundle", "both", "--explain", "todo"], &[]));
    assert!(said.contains("the bundle `both` is built from it") && !said.contains("not asked for"), "{said}");
}

#[test]
fn a_configuration_with_another_name_is_called_by_it() {
    let repo = Repo::new();
    repo.git(&["mv", "rhdh-plugins.toml", "prod.toml"]);
    let base = repo.commit("renamed");
    // What was a default is none the less when it is written out.
    repo.edit("prod.toml", "path = \"plugins/other\"", "path = \"plugins/other\"\nimage = \"acme-other\"");
    repo.edit("prod.toml", "path = \"plugins/todo\"", "path = \"plugins/todo\"\nlabels = { a = \"b\" }");
    let plan = stdout(&run(&repo, &["--config", "prod.toml", "--base", &base, "--format", "json"], &[]));
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    let reasons: Vec<_> = plan["plugins"].as_array().unwrap().iter().map(|plugin| &plugin["reasons"][0]).collect();
    assert_eq!(reasons[0]["text"], "`labels` changed in prod.toml");
    assert_eq!(reasons[2]["kind"], "unchanged", "{plan}");
}

#[test]
fn what_there_is_to_explain_is_said() {
    let repo = Repo::new();
    let output = run(&repo, &["--explain", "zzzzzz"], &[]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr.contains("there is no plugin or bundle `zzzzzz`"), "{stderr}");
    assert!(stderr.contains("the plugins and bundles are `todo`, `todo-backend`, `other`, `both`"), "{stderr}");
}

/// Nothing in the output folder counts as an input.
/// As `GIT_TRACE` does, and a home folder that may not be read.
#[test]
fn what_git_says_beside_its_answers_is_no_failure() {
    let repo = Repo::new();
    repo.write("plugins/other/src/new.ts", "new");
    let output = run(&repo, &["--format", "json"], &[]);
    let plain = stdout(&output);
    assert_eq!(stdout(&run(&repo, &["--format", "json"], &[("GIT_TRACE", "1")])), plain);
}

/// Without git, other files would count.
#[test]
fn a_repository_that_git_refuses_is_not_taken_for_none() {
    let repo = Repo::new();
    repo.write(".git/config", "[bad\n");
    let output = run(&repo, &[], &[]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("config line 1 in file .git/config"), "{stderr}");
    assert!(stderr.contains("mend what git says"), "{stderr}");
    // A worktree whose repository is not there.
    std::fs::remove_dir_all(repo.root.join(".git")).unwrap();
    repo.write(".git", "gitdir: /nowhere\n");
    let output = run(&repo, &[], &[]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("repository: /nowhere"), "{stderr}");
}

#[test]
fn a_clone_that_gets_its_objects_later_and_cannot() {
    let repo = Repo::new();
    repo.git(&["config", "uploadpack.allowFilter", "true"]);
    repo.write("yarn.lock", &LOCK.replace("10c0/aa", "10c0/bb"));
    repo.commit("another lock file");
    let clone = Repo::empty();
    let url = format!("file://{}", repo.root.display());
    clone.git(&["clone", "--quiet", "--filter=blob:none", &url, "clone"]);
    let clone = Repo::at(clone.root.join("clone"));
    drop(repo);
    let output = run(&clone, &["--base", "HEAD~1"], &[]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("does not appear to be a git repository"), "{stderr}");
}

#[test]
fn no_plugin_is_in_the_output_folder() {
    let repo = Repo::new();
    for folder in ["plugins", "plugins/other", "."] {
        let output = run(&repo, &["--out-dir", folder], &[]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains("holds the plugin"), "{stderr}");
    }
    assert_eq!(run(&repo, &["--out-dir", "plugins/other/out"], &[]).status.code(), Some(0));
}
