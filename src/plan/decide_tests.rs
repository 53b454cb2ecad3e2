use super::super::PlannedPlugin;
use super::super::key::Records;
use super::*;
use crate::digest::Digest;
use crate::repo_path::RepoPath;
use crate::workspace::Role;

fn key(name: &str) -> ContentKey {
    let mut records = Records::default();
    records.add("file", name, "");
    records.key()
}

/// A survey of one plugin, `todo`, with the key of `content`, that goes to quay and ghcr as `1.0.0`.
fn survey_of(changed: bool, heals: bool, overwrite: bool) -> Survey {
    let reason = if changed { Reason::new("file", "x changed") } else { Reason::new("unchanged", "nothing changed") };
    let plugin = PlannedPlugin {
        id: "todo".to_owned(),
        action: Action::Skip,
        reasons: vec![reason],
        content_key: Some(key("content")),
        version: "1.0.0".to_owned(),
        role: Role::BackendPlugin,
        path: RepoPath::default(),
        workspace: RepoPath::default(),
        packages: Vec::new(),
        image: "acme-plugin-todo".to_owned(),
        published: Vec::new(),
    };
    let target = ArtifactTarget {
        registries: vec!["quay".to_owned(), "ghcr".to_owned()],
        elsewhere: false,
        tags: vec!["1.0.0".to_owned()],
    };
    Survey {
        channel: "next".to_owned(),
        overwrite,
        base: None,
        head: None,
        base_reason: String::new(),
        heals,
        plugins: vec![(plugin, Standing { target, changed, settled: false })],
        bundles: Vec::new(),
        notes: Vec::new(),
    }
}

/// A registry that holds `content` under its key, if at all, and something under `1.0.0`, if at all.
fn holds(registry: &str, has_key: bool, tag: Option<&str>) -> Found {
    let tags = tag.map(|content| ("1.0.0".to_owned(), Some(key(content)))).into_iter().collect();
    let image = has_key.then(|| Published {
        registry: registry.to_owned(),
        reference: format!("{registry}.example/acme-plugin-todo"),
        digest: Digest::of(b"image"),
        size: 1,
        tags: Vec::new(),
    });
    Found { registry: registry.to_owned(), image, tags }
}

fn memory(found: [Found; 2]) -> Memory {
    Memory { found: BTreeMap::from([("acme-plugin-todo".to_owned(), found.to_vec())]), ..Memory::default() }
}

fn outcome(survey: Survey, memory: &Memory) -> (Action, Vec<String>) {
    let plan = survey.decide(memory).unwrap();
    let plugin = &plan.plugins[0];
    (plugin.action, plugin.reasons.iter().map(|reason| reason.text.clone()).collect())
}

#[test]
fn the_registries_decide() {
    let complete = || holds("quay", true, Some("content"));
    let cases = [
        (complete(), holds("ghcr", true, Some("content")), Action::Skip, "up to date in quay, ghcr"),
        (complete(), holds("ghcr", false, None), Action::Copy, "built already: it is in quay"),
        (complete(), holds("ghcr", false, Some("old")), Action::Copy, "built already: it is in quay"),
        (complete(), holds("ghcr", true, None), Action::Copy, "built already: it is in quay, ghcr"),
        (holds("quay", true, Some("old")), holds("ghcr", false, None), Action::Copy, "built already: it is in quay"),
    ];
    for (quay, ghcr, action, first) in cases {
        for changed in [true, false] {
            let memory = memory([quay.clone(), ghcr.clone()]);
            let (found, reasons) = outcome(survey_of(changed, true, true), &memory);
            assert_eq!((found, reasons[0].as_str()), (action, first), "{memory:?}");
        }
    }
    let nothing = memory([holds("quay", false, None), holds("ghcr", false, Some("old"))]);
    let (action, reasons) = outcome(survey_of(false, true, true), &nothing);
    assert_eq!(action, Action::Build);
    assert_eq!(reasons, ["`1.0.0` in ghcr holds other content", "never published to quay"]);
}

#[test]
fn a_pull_request_builds_only_what_it_changes() {
    let nothing = memory([holds("quay", false, None), holds("ghcr", false, None)]);
    assert_eq!(outcome(survey_of(false, false, true), &nothing).0, Action::Skip);
    assert_eq!(outcome(survey_of(true, false, true), &nothing).0, Action::Build);
    assert!(survey_of(false, false, true).questions().is_empty());
    let questions = survey_of(true, false, true).questions();
    assert_eq!(questions[0].key_tag, key("content").tag());
}

#[test]
fn nobody_asked_leaves_it_to_git() {
    assert_eq!(outcome(survey_of(true, true, true), &Memory::default()).0, Action::Build);
    assert_eq!(outcome(survey_of(false, true, true), &Memory::default()).0, Action::Skip);
}

#[test]
fn what_goes_nowhere_else_is_up_to_date_in_the_output_folder() {
    let mut survey = survey_of(true, false, true);
    survey.plugins[0].1.target.registries.clear();
    let packaged = |content: &str| Memory {
        packaged: Some(BTreeMap::from([("acme-plugin-todo".to_owned(), key(content))])),
        ..Memory::default()
    };
    assert_eq!(outcome(survey.clone(), &packaged("content")).0, Action::Skip);
    assert_eq!(outcome(survey.clone(), &packaged("older")).0, Action::Build);
    survey.plugins[0].1.target.elsewhere = true;
    assert_eq!(outcome(survey, &packaged("content")).0, Action::Build);
}

#[test]
fn one_registry_that_did_not_answer_is_no_reason_to_skip_what_changed() {
    let one = Memory {
        found: BTreeMap::from([("acme-plugin-todo".to_owned(), vec![holds("quay", true, Some("content"))])]),
        ..Memory::default()
    };
    assert_eq!(outcome(survey_of(true, true, true), &one).0, Action::Copy);
    let (action, reasons) = outcome(survey_of(false, true, true), &one);
    assert_eq!((action, reasons[0].as_str()), (Action::Skip, "up to date in quay"));
}

#[test]
fn a_member_that_is_built_for_its_bundle_may_not_overwrite_either() {
    let mut survey = survey_of(false, false, false);
    let bundle = PlannedBundle {
        id: "all".to_owned(),
        action: Action::Build,
        reasons: vec![Reason::new("config", "`labels` changed")],
        content_key: Some(key("bundle")),
        version: "1.0.0".to_owned(),
        members: vec!["todo".to_owned()],
        image: "all".to_owned(),
        published: Vec::new(),
    };
    let standing = Standing { target: survey.plugins[0].1.target.clone(), changed: true, settled: false };
    survey.bundles.push((bundle, standing));
    let asked: Vec<String> = survey.questions().into_iter().map(|question| question.image).collect();
    assert_eq!(asked, ["acme-plugin-todo", "all"]);
    let error = survey.clone().decide(&memory([holds("quay", false, Some("old")), holds("ghcr", false, None)]));
    assert!(matches!(error, Err(Error::TakenTags(taken)) if taken.len() == 1 && taken[0].id == "todo"));
    let free = memory([holds("quay", true, Some("content")), holds("ghcr", false, None)]);
    assert_eq!(outcome(survey, &free).0, Action::Build);
}

#[test]
fn where_nobody_can_be_asked_changes_are_built() {
    let mut survey = survey_of(true, true, true);
    survey.plugins[0].1.target.elsewhere = true;
    let complete = memory([holds("quay", true, Some("content")), holds("ghcr", true, Some("content"))]);
    assert_eq!(outcome(survey.clone(), &complete).0, Action::Build);
    survey.plugins[0].1.changed = false;
    assert_eq!(outcome(survey, &complete).0, Action::Skip);
}

#[test]
fn a_taken_tag_is_an_error_before_anything_is_built() {
    let taken = memory([holds("quay", false, Some("old")), holds("ghcr", false, None)]);
    let error = survey_of(true, true, false).decide(&taken).unwrap_err();
    let expected = format!(
        "`todo` 1.0.0 cannot be published: `1.0.0` in `quay` holds other content ({}, not {}), and the channel may not \
         overwrite it",
        key("old"),
        key("content")
    );
    assert_eq!(error.to_string(), expected);
    // What a pull request does not touch, it does not publish either.
    assert_eq!(outcome(survey_of(false, false, false), &taken).0, Action::Skip);
    // The same content under the tag is no conflict.
    let same = memory([holds("quay", true, Some("content")), holds("ghcr", false, None)]);
    assert_eq!(outcome(survey_of(true, true, false), &same).0, Action::Copy);
}
