//! `rhdh-pack doctor`: the parts of an examination, at once; what they find, for people or as JSON.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _, join_all};
use jiff::Timestamp;
use miette::Diagnostic as _;
use tokio_util::sync::CancellationToken;

use super::check::count;
use super::project::{self, Project};
use super::push;
use super::session::Session;
use super::tags::Named;
use super::verify::print_json;
use super::{Error, Request};
use crate::ci::{Ci, Event, variable};
use crate::config::channels::{Because, ChosenChannel};
use crate::config::{self, FILE_NAME, Registry};
use crate::doctor::{self, Area, Finding, Report, State, forge, machine, plugin, registries, repository};
use crate::draft;
use crate::draft::remote::Remote;
use crate::export::{CliVersion, Variables, look};
use crate::registry;
use crate::rhdh;
use crate::ui::{Mark, Ui, Verbosity};
use crate::workspace::Workspaces;

/// The RHDH release that is measured by where neither the configuration nor a Backstage version leads to one.
const DEFAULT_RHDH: &str = "1.9";

/// What is examined.
struct Patient {
    /// With a configuration that is right.
    session: Option<Session>,
    /// What is to be said about the configuration.
    findings: Vec<Finding>,
    /// Of the configuration, else of the plugins that were found.
    workspaces: Workspaces,
    rhdh: String,
    cli: CliVersion,
    out: PathBuf,
}

/// Examines everything, and says what it found.
pub(super) async fn command(request: &Request, json: bool, ui: &Ui, cancel: &CancellationToken) -> Result<u8, Error> {
    let patient = open(request, ui, cancel);
    let ci = Ci::from_env();
    let step = ui.step("doctor", "looks");
    // What is retried is nobody's concern here.
    let silent = Ui::new(Verbosity::Quiet);
    let release = rhdh::release(&patient.rhdh);
    let root = patient.workspaces.root.clone();
    let registries = patient.session.as_ref().map(|session| targets(session, &silent));
    let subject = forge_of(&patient, &ci);
    let mut parts: Vec<BoxFuture<'_, Vec<Finding>>> = vec![
        doctor::within_limit(Area::Machine, "programs", programs(&patient, &silent, cancel)).boxed(),
        doctor::within_limit(Area::Machine, "git", async { vec![machine::git().await] }).boxed(),
        // These read files, and ask git of this machine.
        async {
            let mut findings = repository::workspaces(&patient.workspaces, &patient.rhdh, release);
            findings.extend(patient.session.iter().flat_map(|session| plugins(&session.project)));
            findings.push(repository::history(&root, &ci));
            findings
        }
        .boxed(),
    ];
    match &registries {
        None => {}
        Some(Err(finding)) => parts.push(async { vec![finding.clone()] }.boxed()),
        Some(Ok((registries, subjects))) => {
            for subject in subjects {
                let what = format!("registry {}", subject.name);
                let part = async { registries::examine(subject, registries, &root).await };
                parts.push(async move { doctor::within_limit(Area::Registries, &what, part).await }.boxed());
            }
        }
    }
    parts.push(doctor::within_limit(Area::Forge, "token", forge::examine(&subject, variable, ui)).boxed());

    let found = tokio::select! {
        found = join_all(parts) => found,
        () = cancel.cancelled() => vec![vec![Area::Machine.failed("doctor", "stopped", "run it again")]],
    };
    drop(step);
    let mut findings: Vec<Finding> = patient.findings.iter().cloned().chain(found.into_iter().flatten()).collect();
    findings.sort_by_key(|finding| finding.area);
    let code = doctor::exit_code(&findings);
    show(&findings, ui);
    if json {
        let (schema_version, good) = (doctor::SCHEMA_VERSION, code == 0);
        print_json(&Report { schema_version, rhdh: &patient.rhdh, good, findings: &findings })?;
    }
    Ok(code)
}

/// The project, or as much as can be known without one.
fn open(request: &Request, ui: &Ui, cancel: &CancellationToken) -> Patient {
    let here = Area::Repository;
    let what = "configuration";
    match Session::open(request, ui, cancel) {
        Ok(session) => {
            let Project { config, plugins, bundles, workspaces, .. } = &session.project;
            let text = format!(
                "`{}`: {}, {}, for RHDH {}",
                config.file.display(),
                count(plugins.len(), "plugin"),
                count(bundles.len(), "bundle"),
                config.rhdh.version
            );
            let findings = vec![here.ok(what, text)];
            let (workspaces, rhdh) = (workspaces.clone(), config.rhdh.version.clone());
            let (cli, out) = (CliVersion::wanted(&config.rhdh), session.out.clone());
            Patient { session: Some(session), findings, workspaces, rhdh, cli, out }
        }
        Err(error) => {
            let folder = root_of(request);
            let found = draft::find(&folder);
            let plugins = count(found.plugins.len(), "plugin");
            let findings = match &error {
                Error::Project(project::Error::Config(config::Error::Problems(problems))) => {
                    let help = |problem: &config::Problem| problem.help().map(|help| help.to_string());
                    let finding =
                        |problem| Finding { help: help(problem), ..here.failed(what, problem.to_string(), "") };
                    problems.iter().map(finding).collect()
                }
                Error::Config(config::Error::NotFound(_)) if found.plugins.is_empty() && !found.left_out.is_empty() => {
                    // One of them says enough: in a repository without yarn, all say the same.
                    let first = found.left_out.first().map_or("", |(_, why)| why);
                    let number = doctor::counted(found.left_out.len(), "plugin", "plugins");
                    let text = format!("there is no `{FILE_NAME}`, and none of {number} could be in it: {first}");
                    let next = "mend that, then run `rhdh-pack init`".to_owned();
                    vec![here.failed(what, text, draft::other_manager(&folder).unwrap_or(next))]
                }
                Error::Config(config::Error::NotFound(_)) if found.plugins.is_empty() => vec![here.failed(
                    what,
                    format!("there is no `{FILE_NAME}`, and no plugin below `{}`", folder.display()),
                    "go to the root of the repository with your plugins, and run `rhdh-pack init`",
                )],
                Error::Config(config::Error::NotFound(_)) => vec![here.failed(
                    what,
                    format!("there is no `{FILE_NAME}`; {plugins} could be in it"),
                    "`rhdh-pack init` writes one",
                )],
                error => vec![here.error(what, error)],
            };
            let versions = found.workspaces.by_path.values().filter_map(|workspace| workspace.backstage.as_deref());
            let newest = versions.max_by_key(|version| rhdh::line(version));
            let rhdh = newest.and_then(rhdh::release_for).unwrap_or(DEFAULT_RHDH).to_owned();
            let cli = CliVersion::Release(rhdh.clone());
            let out = request.out_dir.clone().unwrap_or_else(|| folder.join(".rhdh-pack"));
            Patient { session: None, findings, workspaces: found.workspaces, rhdh, cli, out }
        }
    }
}

/// Where plugins are looked for when there is no configuration that is right.
fn root_of(request: &Request) -> PathBuf {
    let file = request.config.clone().or_else(|| config::find(Path::new(".")).ok());
    let folder = file.and_then(|file| Some(std::path::absolute(file).ok()?.parent()?.to_owned()));
    folder.or_else(|| std::env::current_dir().ok()).unwrap_or_else(|| PathBuf::from("."))
}

async fn programs(patient: &Patient, ui: &Ui, cancel: &CancellationToken) -> Vec<Finding> {
    let variables = Variables::of_process();
    let tools = look::tools(&patient.workspaces, &patient.cli, &variables, ui, cancel).await;
    let release = rhdh::release(&patient.rhdh);
    let mut findings = machine::programs(&tools, &patient.workspaces, &patient.rhdh, release);
    let fetches = matches!(&tools.cli, Some(Ok(tool)) if tool.place.is_none());
    let places = [
        ("the output folder", patient.out.clone()),
        ("the cache", look::cache(&variables)),
        ("temporary files", std::env::temp_dir()),
        ("the workspaces", patient.workspaces.root.clone()),
    ];
    findings.extend(machine::disk(&places, fetches));
    findings
}

fn plugins(project: &Project) -> Vec<Finding> {
    let subjects = project.plugins.values().filter_map(|plugin| {
        Some(plugin::Subject {
            root: &project.config.root,
            config: &plugin.config,
            package: &plugin.package,
            role: plugin.role,
            workspace: project.workspaces.by_path.get(&plugin.workspace)?,
            app_config: plugin.plugin_config.as_ref(),
        })
    });
    subjects.flat_map(plugin::examine).collect()
}

/// The registries, each with everything that some channel brings there, and the connections to them.
fn targets<'a>(
    session: &'a Session,
    ui: &Ui,
) -> Result<(Arc<registry::Session>, Vec<registries::Subject<'a>>), Finding> {
    let config = &session.project.config;
    let cannot = |error: Error| match &error {
        Error::Push(crate::push::Error::Registries { failures }) if !failures.is_empty() => {
            Area::Registries.error("credentials", &failures[0])
        }
        error => Area::Registries.error("credentials", error),
    };
    let connections = push::connect_with(session, None, registries::limits(), ui).map_err(cannot)?;
    let channels: Vec<ChosenChannel> = config
        .channels
        .iter()
        .map(|(name, channel)| ChosenChannel {
            name: name.clone(),
            channel: channel.clone(),
            because: Because::Named,
            built_in: false,
        })
        .collect();
    let subjects = config.registries.iter().map(|(name, registry)| registries::Subject {
        name,
        registry,
        artifacts: artifacts(session, name, registry, &channels),
        needed: session.ci.event != Event::Local,
    });
    Ok((connections, subjects.collect()))
}

/// What goes to a registry, by its own `registries` or those of a channel.
fn artifacts<'a>(
    session: &'a Session,
    registry: &str,
    kind: &Registry,
    channels: &[ChosenChannel],
) -> Vec<registries::Artifact<'a>> {
    let project = &session.project;
    let goes = |own: &[String]| {
        let by_channel =
            |channel: &ChosenChannel| channel.channel.registries.iter().flatten().any(|name| name == registry);
        own.iter().any(|name| name == registry) || channels.iter().any(by_channel)
    };
    let fixed = |image: &str, version: &str, own: &[String], backstage: Option<String>| {
        let mut tags = Vec::new();
        for channel in channels.iter().filter(|channel| !channel.channel.overwrite) {
            if !channel.channel.registries.as_deref().unwrap_or(own).iter().any(|name| name == registry) {
                continue;
            }
            let named = Named { image, version, backstage: backstage.clone(), commit: None, started: Timestamp::now() };
            // Tags of other occasions than this one cannot be made now.
            tags.extend(named.tags(session, channel).unwrap_or_default());
        }
        tags.sort();
        tags.dedup();
        tags
    };
    let backstage_of = |id: &str| {
        let workspace = &project.plugins.get(id)?.workspace;
        project.workspaces.by_path.get(workspace)?.backstage.clone()
    };
    let mut artifacts = Vec::new();
    for (id, plugin) in project.plugins.iter().filter(|(_, plugin)| goes(&plugin.config.registries)) {
        let name = plugin.package.manifest.name.as_deref().unwrap_or_default();
        // The RHDH CLI's export is named so.
        let name = format!("{}-dynamic", name.strip_suffix("-dynamic").unwrap_or(name));
        artifacts.push(registries::Artifact {
            label: id.clone(),
            image: &plugin.image,
            package: Some((name, plugin.version.as_str())),
            fixed_tags: fixed(&plugin.image, &plugin.version, &plugin.config.registries, backstage_of(id)),
        });
    }
    if matches!(kind, Registry::Oci { .. }) {
        for (id, bundle) in project.bundles.iter().filter(|(_, bundle)| goes(&bundle.config.registries)) {
            let backstage = bundle.config.plugins.first().and_then(|first| backstage_of(first));
            let image = bundle.config.image.as_str();
            let fixed_tags = fixed(image, &bundle.version, &bundle.config.registries, backstage);
            artifacts.push(registries::Artifact { label: format!("bundle {id}"), image, package: None, fixed_tags });
        }
    }
    artifacts
}

fn forge_of<'a>(patient: &Patient, ci: &'a Ci) -> forge::Subject<'a> {
    let remote = Remote::of(&patient.workspaces.root);
    let registries = patient.session.iter().flat_map(|session| session.project.config.registries.values());
    let mut oci = registries.filter_map(|registry| match registry {
        Registry::Oci { prefix, .. } => Some(prefix),
        _ => None,
    });
    let ghcr = oci.any(|prefix| prefix.starts_with("ghcr.io/"));
    let github = (ci.event == Event::Local && remote.is_github()).then_some(remote.path);
    forge::Subject { ci, github, ghcr }
}

/// Shows what was found, by area, and in the end how many of each kind.
fn show(findings: &[Finding], ui: &Ui) {
    let mut area = None;
    let width = findings.iter().map(|finding| finding.what.chars().count()).max().unwrap_or_default().min(32);
    for finding in findings {
        if area.replace(finding.area) != Some(finding.area) {
            ui.note(finding.area.as_str());
        }
        let mark = match finding.state {
            State::Ok => Mark::Good,
            State::Skipped => Mark::Skipped,
            State::Warn => Mark::Warning,
            State::Failed => Mark::Bad,
        };
        ui.item(mark, &format!("{:<width$}", finding.what), &finding.text, finding.help.as_deref());
    }
    let number = |state| findings.iter().filter(|finding| finding.state == state).count();
    let (failed, warnings) = (number(State::Failed), number(State::Warn));
    ui.note(&format!(
        "{} fine, {}, {failed} failed, {} skipped",
        number(State::Ok),
        count(warnings, "warning"),
        number(State::Skipped)
    ));
}
