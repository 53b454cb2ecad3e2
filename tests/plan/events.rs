//! The base commit, on every event that a CI knows, in whole and in shallow clones.

use rhdh_pack::plan::{Error, Plan, Selection};

use crate::repo::{Options, Repo, built, git};

const ALL: [&str; 4] = ["todo", "todo-backend", "other", "both"];

fn github(event: &str, reference: &str, sha: &str, payload: &str, folder: &Repo) -> Options {
    let file = folder.root.join("event.json");
    std::fs::write(&file, payload).unwrap();
    let ci = vec![
        ("GITHUB_ACTIONS", "true".to_owned()),
        ("GITHUB_EVENT_NAME", event.to_owned()),
        ("GITHUB_REF", reference.to_owned()),
        ("GITHUB_SHA", sha.to_owned()),
        ("GITHUB_EVENT_PATH", file.display().to_string()),
    ];
    Options { ci, ..Options::default() }
}

fn gitlab(variables: &[(&'static str, &str)]) -> Options {
    let mut ci = vec![("GITLAB_CI", "true".to_owned())];
    ci.extend(variables.iter().map(|(name, value)| (*name, (*value).to_owned())));
    Options { ci, ..Options::default() }
}

fn change(repo: &Repo, plugin: &str, text: &str) -> String {
    repo.write(&format!("plugins/{plugin}/src/index.ts"), text);
    repo.commit(&format!("{plugin} {text}"))
}

/// A pull request that changes `other` twice, while `main` goes on with `todo`, and its merge as GitHub makes it.
struct PullRequest {
    repo: Repo,
    branched: String,
    target: String,
    own: String,
    merge: String,
}

fn pull_request() -> PullRequest {
    let repo = Repo::new();
    let branched = repo.git(&["rev-parse", "HEAD"]);
    repo.git(&["checkout", "--quiet", "-b", "feature"]);
    for number in 0..30 {
        repo.git(&["commit", "--quiet", "--allow-empty", "--message", &format!("feature {number}")]);
    }
    let own = change(&repo, "other", "feature");
    repo.git(&["checkout", "--quiet", "main"]);
    for number in 0..30 {
        repo.git(&["commit", "--quiet", "--allow-empty", "--message", &format!("main {number}")]);
    }
    let target = change(&repo, "todo", "main");
    repo.git(&["checkout", "--quiet", "--detach"]);
    repo.git(&["merge", "--quiet", "--no-ff", "--message", "merge", "feature"]);
    let merge = repo.git(&["rev-parse", "HEAD"]);
    repo.git(&["update-ref", "refs/pull/7/merge", "HEAD"]);
    repo.git(&["checkout", "--quiet", "main"]);
    PullRequest { repo, branched, target, own, merge }
}

/// A checkout as actions/checkout makes it.
fn checkout(origin: &Repo, reference: &str, depth: u32) -> Repo {
    let clone = Repo::empty();
    let url = format!("file://{}", origin.root.display());
    git(&clone.root, &["init", "--quiet"]);
    git(&clone.root, &["remote", "add", "origin", &url]);
    let depth = format!("--depth={depth}");
    let refspec = format!("+{reference}:refs/remotes/checkout");
    git(&clone.root, &["fetch", "--quiet", "--no-tags", &depth, "origin", &refspec]);
    git(&clone.root, &["checkout", "--quiet", "--detach", "refs/remotes/checkout"]);
    clone
}

fn payload(pull: &PullRequest) -> String {
    format!(
        r#"{{"number": 7, "pull_request": {{"base": {{"sha": "{}"}}, "head": {{"sha": "{}"}}}}}}"#,
        pull.target, pull.own
    )
}

fn assert_only_other(plan: &Plan, base: &str) {
    assert_eq!(plan.base.as_deref(), Some(base), "{}", plan.base_reason);
    assert_eq!(built(plan), ["other"]);
}

#[test]
fn github_pull_request_from_its_merge_at_any_depth() {
    let pull = pull_request();
    let extra = Repo::empty();
    for depth in [1, 2, 10, 1000] {
        let clone = checkout(&pull.repo, "refs/pull/7/merge", depth);
        let plan = clone.plan(&github("pull_request", "refs/pull/7/merge", &pull.merge, &payload(&pull), &extra));
        assert_only_other(&plan, &pull.target);
        // It runs on the target, and its event may be older than the merge that is checked out.
        let older = payload(&pull).replace(&pull.target, &pull.branched);
        let plan = clone.plan(&github("pull_request_target", "refs/heads/main", &pull.target, &older, &extra));
        assert_only_other(&plan, &pull.target);
    }
}

#[test]
fn github_pull_request_from_its_own_branch_at_any_depth() {
    let pull = pull_request();
    let extra = Repo::empty();
    for depth in [1, 5, 1000] {
        // `ref: ${{ github.event.pull_request.head.sha }}`
        let clone = checkout(&pull.repo, "refs/heads/feature", depth);
        let plan = clone.plan(&github("pull_request", "refs/pull/7/merge", &pull.merge, &payload(&pull), &extra));
        assert_only_other(&plan, &pull.branched);
        let plan = clone.plan(&github("pull_request_target", "refs/heads/main", &pull.target, &payload(&pull), &extra));
        assert_only_other(&plan, &pull.branched);
    }
}

#[test]
fn github_merge_queue() {
    let pull = pull_request();
    let extra = Repo::empty();
    let payload = format!(r#"{{"merge_group": {{"base_sha": "{}", "head_sha": "{}"}}}}"#, pull.target, pull.merge);
    let clone = checkout(&pull.repo, "refs/pull/7/merge", 1);
    let plan = clone.plan(&github("merge_group", "refs/heads/gh-readonly-queue/main", &pull.merge, &payload, &extra));
    assert_only_other(&plan, &pull.target);
}

#[test]
fn github_push_of_many_commits_at_depth_1() {
    let repo = Repo::new();
    let before = repo.git(&["rev-parse", "HEAD"]);
    let extra = Repo::empty();
    for number in 0..40 {
        repo.git(&["commit", "--quiet", "--allow-empty", "--message", &number.to_string()]);
    }
    let head = change(&repo, "other", "x");
    let clone = checkout(&repo, "refs/heads/main", 1);
    let payload = format!(r#"{{"before": "{before}", "after": "{head}", "forced": false}}"#);
    let plan = clone.plan(&github("push", "refs/heads/main", &head, &payload, &extra));
    assert_only_other(&plan, &before);
    assert_eq!(plan.base_reason, "where `main` stood before the push");
}

#[test]
fn a_force_push_has_no_base() {
    let repo = Repo::new();
    let before = change(&repo, "todo", "thrown away");
    repo.git(&["reset", "--quiet", "--hard", "HEAD^"]);
    let head = change(&repo, "other", "instead");
    let extra = Repo::empty();
    let payload = format!(r#"{{"before": "{before}", "forced": true}}"#);
    let push = github("push", "refs/heads/main", &head, &payload, &extra);
    for (clone, is_shallow) in [(checkout(&repo, "refs/heads/main", 1), "true"), (repo.clone_with(&[]), "false")] {
        let plan = clone.plan(&push);
        assert_eq!(built(&plan), ALL);
        assert_eq!(plan.base, None);
        // Nothing is fetched for what was announced.
        assert_eq!(clone.git(&["rev-parse", "--is-shallow-repository"]), is_shallow);
        let reason = format!("a force push replaced {}, where `main` stood before", &before[..10]);
        assert_eq!(plan.base_reason, reason);
        assert_eq!(plan.notes.len(), 1, "said loudly");
    }
    // GitLab does not say that it was one.
    let push = gitlab(&[
        ("CI_PIPELINE_SOURCE", "push"),
        ("CI_COMMIT_BRANCH", "main"),
        ("CI_COMMIT_SHA", &head),
        ("CI_COMMIT_BEFORE_SHA", &before),
    ]);
    for clone in [checkout(&repo, "refs/heads/main", 1), repo.clone_with(&[])] {
        assert_eq!(clone.plan(&push).base, None);
    }
}

#[test]
fn a_new_branch_has_no_base() {
    let repo = Repo::new();
    let head = repo.git(&["rev-parse", "HEAD"]);
    let payload = format!(r#"{{"before": "{}"}}"#, "0".repeat(40));
    let plan = repo.plan(&github("push", "refs/heads/new", &head, &payload, &Repo::empty()));
    assert_eq!(built(&plan), ALL);
    assert_eq!(plan.base_reason, "`new` is new: it has no commit before the push");
}

#[test]
fn an_unknown_base_can_end_the_run() {
    let repo = Repo::new();
    repo.write(
        "rhdh-plugins.toml",
        &format!("{}\n[inputs]\non-unknown-base = \"fail\"\n", repo.read("rhdh-plugins.toml")),
    );
    let push = github("push", "refs/heads/main", "x", "{}", &Repo::empty());
    let error = repo.try_plan(&push).unwrap_err();
    assert!(matches!(&error, Error::UnknownBase { reason } if reason.contains("does not say")), "{error}");
    let all = Options { selection: Selection::All, ..push };
    assert_eq!(built(&repo.plan(&all)), ALL);
}

#[test]
fn what_is_compared_with_registries_only() {
    let repo = Repo::new();
    let extra = Repo::empty();
    for (event, reference) in [
        ("push", "refs/tags/v1.0.0"),
        ("schedule", "refs/heads/main"),
        ("workflow_dispatch", "refs/heads/main"),
        ("repository_dispatch", "refs/heads/main"),
    ] {
        let plan = repo.plan(&github(event, reference, "x", "{}", &extra));
        assert_eq!(built(&plan), ALL, "{event}");
        assert!(plan.notes.is_empty(), "nothing is unknown here");
    }
    let tag = gitlab(&[("CI_PIPELINE_SOURCE", "push"), ("CI_COMMIT_TAG", "v1")]);
    assert_eq!(built(&repo.plan(&tag)), ALL);
    let unknown = repo.plan(&github("issues", "refs/heads/main", "x", "{}", &extra));
    assert_eq!(unknown.base_reason, "rhdh-pack does not know what an event `issues` is compared with");
}

#[test]
fn gitlab_merge_requests_and_branches() {
    let pull = pull_request();
    for depth in [1, 20, 1000] {
        let clone = checkout(&pull.repo, "refs/heads/feature", depth);
        let merge_request = gitlab(&[
            ("CI_PIPELINE_SOURCE", "merge_request_event"),
            ("CI_MERGE_REQUEST_IID", "7"),
            ("CI_COMMIT_SHA", &pull.own),
            ("CI_MERGE_REQUEST_DIFF_BASE_SHA", &pull.branched),
        ]);
        assert_only_other(&clone.plan(&merge_request), &pull.branched);
        // A merged results pipeline.
        let clone = checkout(&pull.repo, "refs/pull/7/merge", depth);
        let merged = gitlab(&[
            ("CI_PIPELINE_SOURCE", "merge_request_event"),
            ("CI_MERGE_REQUEST_IID", "7"),
            ("CI_COMMIT_SHA", &pull.merge),
            ("CI_MERGE_REQUEST_DIFF_BASE_SHA", &pull.branched),
            ("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA", &pull.own),
        ]);
        assert_only_other(&clone.plan(&merged), &pull.target);
        let branch = gitlab(&[
            ("CI_PIPELINE_SOURCE", "push"),
            ("CI_COMMIT_BRANCH", "feature"),
            ("CI_COMMIT_SHA", &pull.own),
            ("CI_COMMIT_BEFORE_SHA", &pull.branched),
        ]);
        let clone = checkout(&pull.repo, "refs/heads/feature", depth);
        assert_only_other(&clone.plan(&branch), &pull.branched);
    }
}

/// Somebody merged the target into the branch: that is none of the CI's own merges.
#[test]
fn a_merge_request_whose_newest_commit_is_a_merge() {
    let pull = pull_request();
    pull.repo.git(&["checkout", "--quiet", "feature"]);
    pull.repo.git(&["merge", "--quiet", "--no-edit", "main"]);
    let head = pull.repo.git(&["rev-parse", "HEAD"]);
    let target = pull.repo.git(&["rev-parse", "main"]);
    for depth in [1, 1000] {
        let plan = checkout(&pull.repo, "refs/heads/feature", depth).plan(&gitlab(&[
            ("CI_PIPELINE_SOURCE", "merge_request_event"),
            ("CI_MERGE_REQUEST_IID", "7"),
            ("CI_COMMIT_SHA", &head),
            ("CI_MERGE_REQUEST_DIFF_BASE_SHA", &target),
        ]));
        assert_only_other(&plan, &target);
    }
}

#[test]
fn locally_the_default_branch_counts_and_what_is_not_committed() {
    let repo = Repo::new();
    let first = repo.git(&["rev-parse", "HEAD"]);
    let clone = repo.clone_with(&[]);
    clone.git(&["checkout", "--quiet", "-b", "feature"]);
    change(&clone, "other", "committed");
    assert_only_other(&clone.plan(&Options::default()), &first);
    clone.write("plugins/todo/src/untracked.ts", "");
    let plan = clone.plan(&Options::default());
    assert_eq!(built(&plan), ALL);
    assert_eq!(plan.base_reason, "the merge base with `origin/main`");
    // Without a remote, `main` itself.
    repo.git(&["checkout", "--quiet", "-b", "topic"]);
    change(&repo, "other", "x");
    assert_only_other(&repo.plan(&Options::default()), &first);
    repo.git(&["branch", "--quiet", "-m", "main", "trunk"]);
    assert_eq!(repo.plan(&Options::default()).base, None);
}

#[test]
fn a_shallow_clone_is_deepened_locally_too() {
    let pull = pull_request();
    let clone = pull.repo.clone_with(&["--depth=1", "--no-single-branch"]);
    clone.git(&["checkout", "--quiet", "feature"]);
    assert_only_other(&clone.plan(&Options::default()), &pull.branched);
}

#[test]
fn a_clone_that_cannot_fetch_says_so() {
    let pull = pull_request();
    let clone = checkout(&pull.repo, "refs/pull/7/merge", 1);
    clone.git(&["remote", "set-url", "origin", "file:///nowhere"]);
    let plan = clone.plan(&github("pull_request", "refs/pull/7/merge", &pull.merge, &payload(&pull), &Repo::empty()));
    assert_eq!(built(&plan), ALL);
    let words = "the target branch, as it was merged with, is not in this clone, and it cannot be fetched: '/nowhere'";
    assert!(plan.base_reason.contains(words), "{}", plan.base_reason);
    // Nor is that a force push.
    let clone = checkout(&pull.repo, "refs/heads/feature", 1);
    clone.git(&["remote", "set-url", "origin", "file:///nowhere"]);
    let payload = format!(r#"{{"before": "{}"}}"#, pull.branched);
    let plan = clone.plan(&github("push", "refs/heads/feature", &pull.own, &payload, &Repo::empty()));
    assert_eq!(built(&plan), ALL);
    let words = "where `feature` stood before, is not in this clone, and it cannot be fetched: '/nowhere'";
    assert!(plan.base_reason.contains(words), "{}", plan.base_reason);
}

#[test]
fn everything_is_planned_whatever_the_base() {
    let repo = Repo::new();
    let options = Options { selection: Selection::All, base: Some("HEAD".to_owned()), ..Options::default() };
    let plan = repo.plan(&options);
    assert_eq!(built(&plan), ALL);
    assert_eq!(plan.plugins[0].reasons[0].text, "everything is planned: `--all`");
}

/// Of a shallow clone of another branch; its history is not needed.
#[test]
fn a_base_that_is_named_by_its_id_is_fetched() {
    let origin = Repo::new();
    origin.git(&["checkout", "--quiet", "-b", "other"]);
    let base = change(&origin, "todo", "1");
    let before = change(&origin, "other", "2");
    change(&origin, "other", "3");
    origin.git(&["checkout", "--quiet", "main"]);
    change(&origin, "todo-backend", "4");
    let clone = origin.clone_with(&["--depth=1", "--branch=main"]);
    for (base, expected) in
        [(&base, &["todo", "todo-backend", "both"][..]), (&before, &["todo", "todo-backend", "other", "both"])]
    {
        assert_eq!(built(&clone.since(base)), expected);
    }
    assert_eq!(clone.git(&["rev-list", "--count", "HEAD"]), "1", "its own history was not fetched");
}

#[test]
fn revisions_that_are_named_must_be_there() {
    let repo = Repo::new();
    let first = repo.git(&["rev-parse", "HEAD"]);
    let second = change(&repo, "other", "x");
    change(&repo, "todo", "y");
    let named = |base: &str, head: Option<&str>| Options {
        base: Some(base.to_owned()),
        head: head.map(str::to_owned),
        ..Options::default()
    };
    let plan = repo.plan(&named(&first, Some(&second)));
    assert_eq!(built(&plan), ["other"]);
    assert_eq!(plan.head.as_deref(), Some(second.as_str()));
    for (base, head) in [("nothing", None), ("--all", None), ("HEAD", Some("nothing"))] {
        let error = repo.try_plan(&named(base, head)).unwrap_err();
        assert!(matches!(error, Error::NoSuchBase(_) | Error::NoSuchHead(_)), "{error}");
    }
    assert!(matches!(Repo::files().try_plan(&named("HEAD", None)), Err(Error::NoRepository(_))));
}
