//! `rhdh-pack plan`: what will be built and why.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::session::Session;
use super::{Error, PlanOptions};
use crate::config::channels::ChosenChannel;
use crate::plan::{Action, Plan, PlannedBundle, PlannedPlugin, Reason, SCHEMA_VERSION};
use crate::report::RunResult;

/// The stage alone: writes `plan.json`, and shows it.
pub(super) fn command(session: &Session, options: &PlanOptions) -> Result<u8, Error> {
    let channel = session.choose_channel(options.channel.as_deref())?;
    let plan = plan(session, &channel, options)?;
    session.write_plan(&plan)?;
    for artifact in RunResult::of(&plan, Timestamp::now()).artifacts() {
        let reasons: Vec<&str> = artifact.reasons.iter().map(|reason| reason.text.as_str()).collect();
        session.ui.note(&format!("{:<24} {:<6} {}", artifact.label(), artifact.action.as_str(), reasons.join("; ")));
    }
    Ok(0)
}

/// Plans every plugin and bundle that `options` chooses.
pub(super) fn plan(session: &Session, channel: &ChosenChannel, options: &PlanOptions) -> Result<Plan, Error> {
    let project = &session.project;
    let all = options.plugins.is_empty() && options.bundles.is_empty();
    let mut plugins = BTreeSet::new();
    for id in &options.plugins {
        plugins.insert(&project.plugin(id)?.config.id);
    }
    for id in &options.bundles {
        plugins.extend(&project.bundle(id)?.config.plugins);
    }
    let decide = |chosen: bool, what: &str| {
        let (action, kind, text) = if chosen {
            (Action::Build, "all", format!("every {what} is built"))
        } else {
            (Action::Skip, "not-chosen", "not chosen on the command line".to_owned())
        };
        (action, vec![Reason { kind: kind.to_owned(), text, detail: Vec::new() }])
    };
    let plugins = project.plugins.values().map(|plugin| {
        let (action, reasons) = decide(all || plugins.contains(&plugin.config.id), "plugin");
        PlannedPlugin {
            id: plugin.config.id.clone(),
            action,
            reasons,
            content_key: None,
            version: plugin.version.clone(),
            role: plugin.role,
            path: plugin.config.path.clone(),
            workspace: plugin.workspace.clone(),
        }
    });
    let bundles = project.bundles.values().map(|bundle| {
        let (action, reasons) = decide(all || options.bundles.contains(&bundle.config.id), "bundle");
        PlannedBundle {
            id: bundle.config.id.clone(),
            action,
            reasons,
            content_key: None,
            version: bundle.version.clone(),
            members: bundle.config.plugins.clone(),
        }
    });
    Ok(Plan {
        schema_version: SCHEMA_VERSION,
        channel: channel.name.clone(),
        base: None,
        head: session.ci.sha.clone(),
        base_reason: "no base: every plugin is built".to_owned(),
        plugins: plugins.collect(),
        bundles: bundles.collect(),
        notes: Vec::new(),
    })
}
