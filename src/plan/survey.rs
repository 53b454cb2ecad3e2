//! The first step of a plan: what the repository itself says. Every plugin and bundle gets its content key, and the
//! reasons why it is not what it was at the base commit.

use super::base::{self, Base, NoSuchBase};
use super::decide::TakenTag;
use super::git::GitError;
use super::inputs::Rules;
use super::sight::Sight;
use super::{Action, PlannedBundle, PlannedPlugin, Reason, changes};
use crate::ci::Event;
use crate::config::nearest::suggestion;
use crate::config::{self, Config, UnknownBase};
use crate::repo_path::RepoPath;
use crate::workspace::{Role, Workspaces};

/// What to plan.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The workspaces of its plugins.
    pub workspaces: &'a Workspaces,
    /// Its plugins, in its order, as far as their folders are there.
    pub plugins: Vec<PluginToPlan<'a>>,
    /// Its bundles, in its order.
    pub bundles: Vec<BundleToPlan<'a>>,
    /// Plugins of the configuration whose folder was there at the base and is no more, by id.
    pub gone: Vec<(&'a str, &'a RepoPath)>,
    /// The name of the channel that the run is for.
    pub channel: String,
    /// Whether tags of the channel may be moved to other content.
    pub overwrite: bool,
    /// Which plugins and bundles are asked for.
    pub selection: Selection,
}

/// What a plan is made for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// What changed since the base.
    #[default]
    Changed,
    /// Everything (`--all`).
    All,
    /// These, changed or not.
    Only {
        /// `--plugin`.
        plugins: Vec<String>,
        /// `--bundle`.
        bundles: Vec<String>,
    },
}

/// One plugin of a [`Request`].
#[derive(Clone, Debug)]
pub struct PluginToPlan<'a> {
    /// Its configuration.
    pub config: &'a config::Plugin,
    /// Its role.
    pub role: Role,
    /// The root of its yarn workspace.
    pub workspace: RepoPath,
    /// `version` of its `package.json`.
    pub version: String,
    /// Its image's name.
    pub image: String,
    /// Where its artifacts go.
    pub target: ArtifactTarget,
}

/// One bundle of a [`Request`].
#[derive(Clone, Debug)]
pub struct BundleToPlan<'a> {
    /// Its configuration.
    pub config: &'a config::Bundle,
    /// Its version.
    pub version: String,
    /// Where its image goes.
    pub target: ArtifactTarget,
}

/// Where artifacts go in the channel of the run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArtifactTarget {
    /// Names of the OCI registries: they can say what they hold.
    pub registries: Vec<String>,
    /// Whether they also go where nobody can be asked (npm registries, folders).
    pub elsewhere: bool,
    /// The tags that this channel writes.
    pub tags: Vec<String>,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    /// git did not do what it should.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Git(#[from] GitError),
    /// `--base` names nothing.
    #[error(transparent)]
    #[diagnostic(transparent)]
    NoSuchBase(#[from] NoSuchBase),
    /// `--head` names nothing.
    #[error("`--head {0}` is no commit of this repository")]
    #[diagnostic(help("see `git log --oneline` for what is here"))]
    NoSuchHead(String),
    /// `--base` or `--head` outside of a git repository.
    #[error("`--base` and `--head` need a git repository, and `{0}` is in none")]
    #[diagnostic(help("leave them out: outside of git, everything is planned"))]
    NoRepository(String),
    /// The base cannot be known, and the configuration says that this ends the run.
    #[error("cannot tell what changed: {reason}")]
    #[diagnostic(help(
        "name the base with `--base COMMIT`, plan everything with `--all`, or allow that with \
                       `on-unknown-base = \"all\"` under `[inputs]`"
    ))]
    UnknownBase {
        /// Why there is no base.
        reason: String,
    },
    /// `--plugin` or `--bundle` names nothing.
    #[error("there is no {what} `{id}`")]
    #[diagnostic(help("{help}"))]
    Unknown {
        /// `plugin` or `bundle`.
        what: &'static str,
        /// The name.
        id: String,
        /// The nearest one, or all.
        help: String,
    },
    /// A sparse checkout without packages that may be part of plugins.
    #[error("git has packages that are not checked out, and plugins may be made from them: `{folders}`")]
    #[diagnostic(help("check them out, too: `git sparse-checkout add {folders}`"))]
    NotCheckedOut {
        /// Their folders, a blank between them.
        folders: String,
    },
    /// Tags that may not be overwritten hold something else.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    #[diagnostic(help(
        "raise `version` in the package.json of the plugin, or set `overwrite = true` in the channel if its \
                       tags are meant to move"
    ))]
    TakenTags(Vec<TakenTag>),
}

impl Error {
    /// Whether the environment is to blame: no git, or one that does not trust the repository.
    #[must_use]
    pub fn is_environment(&self) -> bool {
        matches!(self, Self::Git(_))
    }
}

/// What the repository says; [`Survey::decide`] makes the plan of it.
#[derive(Clone, Debug)]
pub struct Survey {
    pub(super) channel: String,
    pub(super) overwrite: bool,
    pub(super) base: Option<String>,
    pub(super) head: Option<String>,
    pub(super) base_reason: String,
    /// Whether what the registries lack is built though nothing changed: so a run that was cancelled or failed is made
    /// good by the next one. Not on pull requests, whose registries need only what they change.
    pub(super) heals: bool,
    pub(super) plugins: Vec<(PlannedPlugin, Standing)>,
    pub(super) bundles: Vec<(PlannedBundle, Standing)>,
    pub(super) notes: Vec<String>,
}

/// What is known of an artifact besides its reasons.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    pub(super) target: ArtifactTarget,
    /// Whether it is to be built as far as the repository says.
    pub(super) changed: bool,
    /// Whether it is out of the question: not asked for, or removed.
    pub(super) settled: bool,
}

/// Works out what became of everything that `sight` shows.
///
/// # Errors
/// When git fails, a revision or plugin that was named is not there, or the base cannot be known and
/// `on-unknown-base` is `fail`.
pub fn survey(request: &Request<'_>, sight: &Sight) -> Result<Survey, Error> {
    check_selection(request)?;
    let git = sight.git()?;
    let mut notes = Vec::new();
    let config = request.config;
    let rules = Rules::new(request.workspaces, &config.inputs, &sight.look.output, &config.file, git);
    let before = sight.before()?;
    let (base, base_reason) = match &before.base {
        Base::Commit { id, reason } => (Some(id.clone()), reason.clone()),
        Base::Everything { reason } => (None, reason.clone()),
        Base::Unknown { reason } => {
            if request.config.inputs.on_unknown_base == UnknownBase::Fail {
                return Err(Error::UnknownBase { reason: reason.clone() });
            }
            notes.push(format!("everything is planned, because the base commit cannot be known: {reason}"));
            (None, reason.clone())
        }
    };
    let seen = changes::look(request, &rules, git, sight)?;
    notes.extend(seen.notes);
    let mut survey = Survey {
        channel: request.channel.clone(),
        overwrite: request.overwrite,
        base,
        head: before.head.clone(),
        base_reason,
        heals: !matches!(sight.look.ci.event, Event::PullRequest { .. } | Event::Local),
        plugins: Vec::new(),
        bundles: Vec::new(),
        notes,
    };
    for ((plugin, (key, reasons)), made_from) in request.plugins.iter().zip(seen.plugins).zip(seen.made_from) {
        let (changed, settled, reasons) = survey.settle(request.selection.of_plugin(&plugin.config.id), reasons);
        let planned = PlannedPlugin {
            id: plugin.config.id.clone(),
            action: if changed { Action::Build } else { Action::Skip },
            reasons,
            content_key: Some(key),
            version: plugin.version.clone(),
            role: plugin.role,
            path: plugin.config.path.clone(),
            workspace: plugin.workspace.clone(),
            packages: if changed || !plugin.target.registries.is_empty() {
                made_from.iter().skip(1).map(|package| rules.packages[*package].1.path.clone()).collect()
            } else {
                Vec::new()
            },
            image: plugin.image.clone(),
            published: Vec::new(),
        };
        survey.plugins.push((planned, Standing { target: plugin.target.clone(), changed, settled }));
    }
    for (bundle, (key, reasons)) in request.bundles.iter().zip(seen.bundles) {
        let (changed, settled, reasons) = survey.settle(request.selection.of_bundle(&bundle.config.id), reasons);
        let planned = PlannedBundle {
            id: bundle.config.id.clone(),
            action: if changed { Action::Build } else { Action::Skip },
            reasons,
            content_key: Some(key),
            version: bundle.version.clone(),
            members: bundle.config.plugins.clone(),
            image: bundle.config.image.clone(),
            published: Vec::new(),
        };
        survey.bundles.push((planned, Standing { target: bundle.target.clone(), changed, settled }));
    }
    let gone = Standing { settled: true, ..Standing::default() };
    survey.plugins.extend(seen.removed_plugins.into_iter().map(|plugin| (plugin, gone.clone())));
    survey.bundles.extend(seen.removed_bundles.into_iter().map(|bundle| (bundle, gone.clone())));
    Ok(survey)
}

impl Survey {
    /// Whether one plugin or bundle is to be built, as far as the repository says; whether that is final; and why.
    fn settle(&self, choice: Choice, mut reasons: Vec<Reason>) -> (bool, bool, Vec<Reason>) {
        if let Choice::Other(options) = choice {
            return (false, true, vec![Reason::new("not-selected", format!("not asked for by {options}"))]);
        }
        if let Choice::Chosen(option) = choice {
            reasons.insert(0, Reason::new("selected", format!("asked for by {option}")));
        } else if self.base.is_none() || matches!(choice, Choice::All) {
            let why = if self.base.is_none() { &self.base_reason } else { "`--all`" };
            reasons.insert(0, Reason::new("all", format!("everything is planned: {why}")));
        }
        if reasons.is_empty() {
            let base = base::short(self.base.as_deref().unwrap_or_default());
            let text = format!("nothing that it is made from changed since {base}, {}", self.base_reason);
            return (false, false, vec![Reason::new("unchanged", text)]);
        }
        (true, false, reasons)
    }
}

/// What a [`Selection`] says of one plugin or bundle.
enum Choice {
    /// Nothing.
    Open,
    /// All are asked for.
    All,
    /// This option names it.
    Chosen(&'static str),
    /// These options name others.
    Other(&'static str),
}

impl Selection {
    fn of_plugin(&self, id: &str) -> Choice {
        let Self::Only { plugins, .. } = self else { return self.of_any() };
        self.choice(plugins, id, "`--plugin`")
    }

    fn of_bundle(&self, id: &str) -> Choice {
        let Self::Only { bundles, .. } = self else { return self.of_any() };
        self.choice(bundles, id, "`--bundle`")
    }

    fn of_any(&self) -> Choice {
        if *self == Self::All { Choice::All } else { Choice::Open }
    }

    fn choice(&self, ids: &[String], id: &str, option: &'static str) -> Choice {
        if ids.iter().any(|wanted| wanted == id) { Choice::Chosen(option) } else { Choice::Other(self.options()) }
    }

    /// The options that were given.
    fn options(&self) -> &'static str {
        match self {
            Self::Only { plugins, .. } if plugins.is_empty() => "`--bundle`",
            Self::Only { bundles, .. } if bundles.is_empty() => "`--plugin`",
            _ => "`--plugin` and `--bundle`",
        }
    }
}

fn check_selection(request: &Request<'_>) -> Result<(), Error> {
    let Selection::Only { plugins, bundles } = &request.selection else { return Ok(()) };
    let known_plugins: Vec<&str> = request.config.plugins.keys().map(String::as_str).collect();
    let known_bundles: Vec<&str> = request.config.bundles.keys().map(String::as_str).collect();
    let check = |what, ids: &[String], known: &[&str], others: &[&str], other| {
        let Some(id) = ids.iter().find(|id| !known.contains(&id.as_str())) else { return Ok(()) };
        let help = if others.contains(&id.as_str()) {
            format!("it is a {other}: `--{other} {id}`")
        } else {
            suggestion(id, &format!("{what}s"), known.iter().copied())
        };
        Err(Error::Unknown { what, id: id.clone(), help })
    };
    check("plugin", plugins, &known_plugins, &known_bundles, "bundle")?;
    check("bundle", bundles, &known_bundles, &known_plugins, "plugin")
}
