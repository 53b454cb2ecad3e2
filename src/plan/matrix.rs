//! A plan as jobs of a CI: legs that build about as long as each other. What one leg exports no other one can package,
//! so the members of a bundle stay together; and as every leg has to install the yarn workspaces that it needs, plugins
//! of one workspace do so too where the balance allows it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use super::{Action, Plan};
use crate::workspace::Role;

/// Seconds that a leg spends on `yarn install` and `yarn tsc` for each workspace, measured with a warm cache.
const WORKSPACE_SECONDS: f64 = 75.0;

/// How many legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Legs {
    /// One for each plugin that is built, or for each group that must stay together.
    OneEach,
    /// At most this many.
    AtMost(usize),
}

/// One job.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Leg {
    /// From 1.
    pub leg: usize,
    /// The ids of the plugins to export, in the order of the plan.
    pub plugins: Vec<String>,
    /// The ids of the bundles that are packaged from them.
    pub bundles: Vec<String>,
    /// How long it is expected to take, in seconds.
    pub seconds: f64,
}

/// Plugins that must stand in one leg.
struct Group<'a> {
    plugins: BTreeSet<usize>,
    workspaces: BTreeSet<&'a str>,
    seconds: f64,
}

/// The legs of `plan`. `seconds` are recorded export times by plugin; others are estimated by role.
#[must_use]
pub fn matrix(plan: &Plan, legs: Legs, seconds: &BTreeMap<String, f64>) -> Vec<Leg> {
    let mut groups = groups(plan, seconds);
    let wanted = match legs {
        Legs::OneEach => groups.len(),
        Legs::AtMost(number) => number.max(1).min(groups.len()),
    };
    // Longest first, each to the leg that it makes the least long: at most a third longer than the best there is.
    groups.sort_by(|a, b| b.seconds.total_cmp(&a.seconds).then_with(|| a.plugins.cmp(&b.plugins)));
    let mut shares: Vec<Group<'_>> =
        (0..wanted).map(|_| Group { plugins: BTreeSet::new(), workspaces: BTreeSet::new(), seconds: 0.0 }).collect();
    for group in groups {
        let after = |share: &Group<'_>| {
            let new = group.workspaces.difference(&share.workspaces).fold(0.0, |sum, _| sum + WORKSPACE_SECONDS);
            share.seconds + group.seconds + new
        };
        // With one leg for each group, every leg gets one.
        let free = |share: &&mut Group<'_>| legs != Legs::OneEach || share.plugins.is_empty();
        let best =
            shares.iter_mut().filter(free).map(|share| (after(share), share)).min_by(|(a, _), (b, _)| a.total_cmp(b));
        if let Some((seconds, share)) = best {
            share.seconds = seconds;
            share.plugins.extend(&group.plugins);
            share.workspaces.extend(&group.workspaces);
        }
    }
    shares.retain(|share| !share.plugins.is_empty());
    shares.sort_by(|a, b| a.plugins.cmp(&b.plugins));
    let legs = shares.into_iter().enumerate().map(|(number, share)| {
        let plugins: Vec<String> = share.plugins.iter().map(|at| plan.plugins[*at].id.clone()).collect();
        let built = plan.bundles.iter().filter(|bundle| bundle.action == Action::Build);
        let bundles = built.filter(|bundle| bundle.members.iter().any(|member| plugins.contains(member)));
        Leg {
            leg: number + 1,
            bundles: bundles.map(|bundle| bundle.id.clone()).collect(),
            plugins,
            seconds: share.seconds,
        }
    });
    legs.collect()
}

/// The plugins to build, those of one bundle together.
fn groups<'a>(plan: &'a Plan, seconds: &BTreeMap<String, f64>) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for (at, plugin) in plan.plugins.iter().enumerate().filter(|(_, plugin)| plugin.action == Action::Build) {
        groups.push(Group {
            plugins: BTreeSet::from([at]),
            workspaces: BTreeSet::from([plugin.workspace.as_str()]),
            seconds: seconds.get(&plugin.id).copied().unwrap_or_else(|| estimate(plugin.role)),
        });
    }
    for bundle in plan.bundles.iter().filter(|bundle| bundle.action == Action::Build) {
        let holds = |group: &Group<'_>| group.plugins.iter().any(|at| bundle.members.contains(&plan.plugins[*at].id));
        let (together, mut rest): (Vec<_>, Vec<_>) = groups.into_iter().partition(holds);
        let merged = together.into_iter().reduce(|mut all, group| {
            all.plugins.extend(group.plugins);
            all.workspaces.extend(group.workspaces);
            all.seconds += group.seconds;
            all
        });
        rest.extend(merged);
        groups = rest;
    }
    groups
}

/// Seconds that an export takes, measured on small plugins.
fn estimate(role: Role) -> f64 {
    match role {
        Role::FrontendPlugin | Role::FrontendPluginModule => 47.0,
        Role::BackendPlugin => 13.0,
        Role::BackendPluginModule => 10.0,
    }
}

/// The legs as the value of GitHub's `strategy.matrix`. A matrix without legs is an error there: leave the job out
/// with `if:` where `include` is empty.
#[must_use]
pub fn github(legs: &[Leg]) -> Value {
    json!({ "include": legs.iter().map(|leg| {
        json!({ "leg": leg.leg, "plugins": leg.plugins.join(","), "bundles": leg.bundles.join(",") })
    }).collect::<Vec<_>>() })
}

/// The legs as the value of GitLab's `parallel:matrix`, whose values are variables of the job.
#[must_use]
pub fn gitlab(legs: &[Leg]) -> Value {
    let variables = legs.iter().map(|leg| {
        json!({
            "RHDH_PACK_LEG": leg.leg.to_string(),
            "RHDH_PACK_PLUGINS": leg.plugins.join(","),
            "RHDH_PACK_BUNDLES": leg.bundles.join(","),
        })
    });
    variables.collect()
}

#[cfg(test)]
#[path = "matrix_tests.rs"]
mod tests;
