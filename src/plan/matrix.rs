//! A plan as jobs of a CI: legs that build about as long as each other. What one leg exports no other one can package,
//! so the members of a bundle stay together; and as every leg has to install the yarn workspaces and to build the
//! packages that it needs, plugins that share these do so too where the balance allows it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use super::{Action, Plan};
use crate::repo_path::RepoPath;
use crate::workspace::Role;

/// Seconds that a leg spends on `yarn install` and `yarn tsc` for each workspace, measured with a warm cache.
const WORKSPACE_SECONDS: f64 = 75.0;

/// Seconds that a leg spends on building a package that plugins of it are made from, once for all of them.
const PACKAGE_SECONDS: f64 = 4.0;

/// How many groups are looked at for swaps between two legs: with a thousand plugins, a few tenths of a second.
const MOST_LOOKS: usize = 100_000;

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
    packages: BTreeSet<&'a RepoPath>,
    /// Without what is shared.
    seconds: f64,
}

/// How long groups take in one leg.
fn seconds_of<'g, 'a: 'g>(groups: impl Iterator<Item = &'g Group<'a>> + Clone) -> f64 {
    let workspaces: BTreeSet<&str> = groups.clone().flat_map(|group| group.workspaces.iter().copied()).collect();
    let packages: BTreeSet<&RepoPath> = groups.clone().flat_map(|group| group.packages.iter().copied()).collect();
    let own: f64 = groups.map(|group| group.seconds).sum();
    own + WORKSPACE_SECONDS * workspaces.len() as f64 + PACKAGE_SECONDS * packages.len() as f64
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
    let mut shares: Vec<Vec<Group<'_>>> = (0..wanted).map(|_| Vec::new()).collect();
    for group in groups {
        // With one leg for each group, every leg gets one.
        let free = |share: &&mut Vec<Group<'_>>| legs != Legs::OneEach || share.is_empty();
        let after = |share: &Vec<Group<'_>>| seconds_of(share.iter().chain([&group]));
        let with_seconds = shares.iter_mut().filter(free).map(|share| (after(share), share));
        if let Some((_, share)) = with_seconds.min_by(|(a, _), (b, _)| a.total_cmp(b)) {
            share.push(group);
        }
    }
    share_more(&mut shares);
    shares.retain(|share| !share.is_empty());
    let plugins = |share: &[Group<'_>]| -> BTreeSet<usize> {
        share.iter().flat_map(|group| group.plugins.iter().copied()).collect()
    };
    shares.sort_by_cached_key(|share| plugins(share));
    let legs = shares.into_iter().enumerate().map(|(number, share)| {
        let plugins: Vec<String> = plugins(&share).iter().map(|at| plan.plugins[*at].id.clone()).collect();
        let built = plan.bundles.iter().filter(|bundle| bundle.action == Action::Build);
        let bundles = built.filter(|bundle| bundle.members.iter().any(|member| plugins.contains(member)));
        Leg {
            leg: number + 1,
            bundles: bundles.map(|bundle| bundle.id.clone()).collect(),
            plugins,
            seconds: seconds_of(share.iter()),
        }
    });
    legs.collect()
}

/// Swaps groups between legs that share more with those of the other leg, as long as no leg gets longer than the longer
/// one of the two.
fn share_more(shares: &mut [Vec<Group<'_>>]) {
    let mut looks = 0;
    for first in 0..shares.len() {
        for second in first + 1..shares.len() {
            let (before_second, from_second) = shares.split_at_mut(second);
            let (one, other) = (&mut before_second[first], &mut from_second[0]);
            let mut before = (seconds_of(one.iter()), seconds_of(other.iter()));
            for at in 0..one.len() {
                for with in 0..other.len() {
                    looks += one.len() + other.len();
                    if looks > MOST_LOOKS {
                        return;
                    }
                    std::mem::swap(&mut one[at], &mut other[with]);
                    let after = (seconds_of(one.iter()), seconds_of(other.iter()));
                    let is_better =
                        after.0 + after.1 < before.0 + before.1 && after.0.max(after.1) <= before.0.max(before.1);
                    if is_better {
                        before = after;
                    } else {
                        std::mem::swap(&mut one[at], &mut other[with]);
                    }
                }
            }
        }
    }
}

/// The plugins to build, those of one bundle together.
fn groups<'a>(plan: &'a Plan, seconds: &BTreeMap<String, f64>) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for (at, plugin) in plan.plugins.iter().enumerate().filter(|(_, plugin)| plugin.action == Action::Build) {
        groups.push(Group {
            plugins: BTreeSet::from([at]),
            workspaces: BTreeSet::from([plugin.workspace.as_str()]),
            packages: plugin.packages.iter().collect(),
            seconds: seconds.get(&plugin.id).copied().unwrap_or_else(|| estimate(plugin.role)),
        });
    }
    for bundle in plan.bundles.iter().filter(|bundle| bundle.action == Action::Build) {
        let holds = |group: &Group<'_>| group.plugins.iter().any(|at| bundle.members.contains(&plan.plugins[*at].id));
        let (together, mut rest): (Vec<_>, Vec<_>) = groups.into_iter().partition(holds);
        let merged = together.into_iter().reduce(|mut all, group| {
            all.plugins.extend(group.plugins);
            all.workspaces.extend(group.workspaces);
            all.packages.extend(group.packages);
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
