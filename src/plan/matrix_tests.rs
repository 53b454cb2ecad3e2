use proptest::prelude::*;

use super::super::{PlannedBundle, PlannedPlugin, SCHEMA_VERSION};
use super::*;
use crate::repo_path::RepoPath;

fn plan(plugins: &[(&str, Role, &str, Action)], bundles: &[(&str, &[&str])]) -> Plan {
    let plugins = plugins.iter().map(|(id, role, workspace, action)| PlannedPlugin {
        id: (*id).to_owned(),
        action: *action,
        reasons: Vec::new(),
        content_key: None,
        version: String::new(),
        role: *role,
        path: RepoPath::default(),
        workspace: RepoPath::new(workspace).unwrap(),
        packages: Vec::new(),
        image: String::new(),
        published: Vec::new(),
    });
    let bundles = bundles.iter().map(|(id, members)| PlannedBundle {
        id: (*id).to_owned(),
        action: Action::Build,
        reasons: Vec::new(),
        content_key: None,
        version: String::new(),
        members: members.iter().map(|id| (*id).to_owned()).collect(),
        image: String::new(),
        published: Vec::new(),
    });
    Plan {
        schema_version: SCHEMA_VERSION,
        channel: String::new(),
        base: None,
        head: None,
        base_reason: String::new(),
        plugins: plugins.collect(),
        bundles: bundles.collect(),
        notes: Vec::new(),
    }
}

const FRONTEND: Role = Role::FrontendPlugin;
const BACKEND: Role = Role::BackendPlugin;

fn shares(legs: &[Leg]) -> Vec<String> {
    legs.iter().map(|leg| leg.plugins.join(" ")).collect()
}

#[test]
fn one_leg_each_keeps_bundles_together() {
    let all = [
        ("a", FRONTEND, "w", Action::Build),
        ("b", BACKEND, "w", Action::Build),
        ("c", BACKEND, "w", Action::Build),
        ("d", BACKEND, "w", Action::Skip),
    ];
    let legs = matrix(&plan(&all, &[("ab", &["a", "b"])]), Legs::OneEach, &BTreeMap::new());
    assert_eq!(shares(&legs), ["a b", "c"]);
    assert_eq!(legs[0].bundles, ["ab"]);
    assert_eq!(
        github(&legs).to_string(),
        r#"{"include":[{"leg":1,"plugins":"a,b","bundles":"ab"},{"leg":2,"plugins":"c","bundles":""}]}"#
    );
    assert_eq!(gitlab(&legs)[1]["RHDH_PACK_PLUGINS"], "c");
}

#[test]
fn legs_are_balanced_by_cost_and_workspace() {
    let build = Action::Build;
    let all = [
        ("front", FRONTEND, "x", build),
        ("back1", BACKEND, "x", build),
        ("back2", BACKEND, "x", build),
        ("back3", BACKEND, "x", build),
    ];
    let legs = matrix(&plan(&all, &[]), Legs::AtMost(2), &BTreeMap::new());
    assert_eq!(shares(&legs), ["front", "back1 back2 back3"]);
    // A recorded time counts more than the role.
    let recorded = BTreeMap::from([("back2".to_owned(), 200.0), ("front".to_owned(), 20.0)]);
    let legs = matrix(&plan(&all, &[]), Legs::AtMost(2), &recorded);
    assert_eq!(shares(&legs), ["front back1 back3", "back2"]);
    let two = [
        ("a", BACKEND, "x", build),
        ("b", BACKEND, "y", build),
        ("c", BACKEND, "x", build),
        ("d", BACKEND, "y", build),
    ];
    assert_eq!(shares(&matrix(&plan(&two, &[]), Legs::AtMost(2), &BTreeMap::new())), ["a c", "b d"]);
}

#[test]
fn plugins_that_share_packages_go_together() {
    let ids = ["a", "b", "c", "d", "e", "f"];
    let all = ids.map(|id| (id, BACKEND, "x", Action::Build));
    let packages = |plan: &mut Plan, shared: [&str; 6]| {
        for (plugin, package) in plan.plugins.iter_mut().zip(shared) {
            plugin.packages = vec![RepoPath::new(package).unwrap()];
        }
    };
    let mut plan = plan(&all, &[]);
    packages(&mut plan, ["common", "common", "util", "util", "node", "node"]);
    assert_eq!(shares(&matrix(&plan, Legs::AtMost(3), &BTreeMap::new())), ["a b", "c d", "e f"]);
    packages(&mut plan, ["common", "util", "common", "util", "common", "util"]);
    let legs = matrix(&plan, Legs::AtMost(2), &BTreeMap::new());
    assert_eq!(shares(&legs), ["a c e", "b d f"]);
    assert_eq!(legs[0].seconds, 3.0 * estimate(BACKEND) + WORKSPACE_SECONDS + PACKAGE_SECONDS);
    // Not at the price of a leg that takes longer.
    packages(&mut plan, ["common"; 6]);
    assert_eq!(matrix(&plan, Legs::AtMost(2), &BTreeMap::new()).iter().map(|leg| leg.plugins.len()).max(), Some(3));
}

#[test]
fn nothing_to_build_is_no_leg() {
    let legs = matrix(&plan(&[("a", BACKEND, "w", Action::Copy)], &[]), Legs::AtMost(4), &BTreeMap::new());
    assert!(legs.is_empty());
    assert_eq!(github(&legs).to_string(), r#"{"include":[]}"#);
}

proptest! {
    /// Every plugin is built once, no leg is empty, there are no more than asked for, bundles stay whole.
    #[test]
    fn legs_share_the_work(
        plugins in prop::collection::vec((0..3usize, any::<bool>(), any::<bool>()), 1..20),
        bundle in prop::collection::vec(0..20usize, 0..4),
        legs in 1..6usize,
    ) {
        let ids: Vec<String> = (0..plugins.len()).map(|number| format!("p{number}")).collect();
        let all: Vec<_> = plugins.iter().zip(&ids).map(|((workspace, frontend, build), id)| {
            let role = if *frontend { FRONTEND } else { BACKEND };
            (id.as_str(), role, ["x", "y", "z"][*workspace], if *build { Action::Build } else { Action::Skip })
        }).collect();
        let members: Vec<&str> = bundle.iter().filter_map(|at| ids.get(*at)).map(String::as_str).collect();
        let plan = plan(&all, &[("bundle", &members)]);
        for legs in [Legs::OneEach, Legs::AtMost(legs)] {
            let result = matrix(&plan, legs, &BTreeMap::new());
            let mut built: Vec<&String> = result.iter().flat_map(|leg| &leg.plugins).collect();
            built.sort();
            let mut expected: Vec<&String> =
                plan.plugins.iter().filter(|plugin| plugin.action == Action::Build).map(|plugin| &plugin.id).collect();
            expected.sort();
            prop_assert_eq!(built, expected);
            prop_assert!(result.iter().all(|leg| !leg.plugins.is_empty()));
            if let Legs::AtMost(number) = legs {
                prop_assert!(result.len() <= number);
            }
            prop_assert!(result.iter().filter(|leg| !leg.bundles.is_empty()).count() <= 1);
        }
    }
}
