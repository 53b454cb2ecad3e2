//! `rhdh-pack prune`: the tags of closed pull requests are deleted.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::SecretString;

use super::session::Session;
use super::{Error, or_stop, push};
use crate::ci::variable;
use crate::config::Registry;
use crate::config::channels::ChosenChannel;
use crate::document;
use crate::prune::pulls::{self, Place, State};
use crate::prune::{self, Kept, Mode, Order, Package, Pruned};
use crate::registry::forge::{Forge, ForgeKind, is_path};
use crate::registry::{self, Limits};
use crate::ui::Ui;

/// What to delete.
#[derive(Clone, Debug)]
pub struct PruneOptions {
    /// The channel whose tags are meant.
    pub channel: String,
    /// The tags of content keys, too, that hold nothing else.
    pub keys: bool,
    /// Delete nothing.
    pub dry_run: bool,
}

/// Why nothing was deleted.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum PruneError {
    /// Its tags are not of pull requests.
    #[error("no tag of channel `{channel}` has the number of a pull request")]
    #[diagnostic(
        code("prune-no-pull-requests"),
        help(
            "only tags with `{{pr}}` can be told to be of closed pull requests: `tags = [\"pr_{{pr}}__{{version}}\"]`"
        )
    )]
    NoPullRequests {
        /// The channel.
        channel: String,
    },
    /// Nobody says which pull requests are closed.
    #[error("nobody can be asked which pull requests are closed")]
    #[diagnostic(
        code("prune-no-forge"),
        help(
            "on GitHub, set `GITHUB_REPOSITORY` and `GITHUB_TOKEN`; on GitLab, `CI_API_V4_URL`, `CI_PROJECT_ID` and \
             `RHDH_PACK_GITLAB_TOKEN`"
        )
    )]
    NoForge,
    /// The forge does not say it.
    #[error("asking which pull requests are closed")]
    #[diagnostic(
        code("prune-forge"),
        help("look whether the token may read pull requests (`pull-requests: read`), and run the command again")
    )]
    Forge(#[source] Box<registry::Error>),
    /// A registry cannot be asked what it has.
    #[error("`{reference}` cannot be pruned: nothing in it was deleted")]
    #[diagnostic(code("prune-registry"), help("log in with an account that may delete, and run the command again"))]
    Registry {
        /// `host/namespace/name`.
        reference: String,
        /// Why not.
        #[source]
        source: Box<registry::Error>,
    },
    /// ghcr.io is asked through GitHub, and nobody may ask.
    #[error("`{reference}` cannot be pruned: there is no token for GitHub")]
    #[diagnostic(
        code("prune-package"),
        help("set `RHDH_PACK_GITHUB_TOKEN` to a token with `read:packages` and `delete:packages`")
    )]
    NoToken {
        /// `ghcr.io/owner/name`.
        reference: String,
    },
    /// ghcr.io is asked through GitHub.
    #[error("`{reference}` cannot be pruned: nothing in it was deleted")]
    #[diagnostic(
        code("prune-package"),
        help("set `RHDH_PACK_GITHUB_TOKEN` to a token with `read:packages` and `delete:packages`")
    )]
    Package {
        /// `ghcr.io/owner/name`.
        reference: String,
        /// Why not.
        #[source]
        source: Box<registry::Error>,
    },
}

impl PruneError {
    /// True where the environment is to blame (exit code 3).
    pub(super) fn is_environment(&self) -> bool {
        !matches!(self, Self::NoPullRequests { .. })
    }
}

/// One image's repository in one registry.
struct Target {
    /// The image's name.
    image: String,
    /// The registry's name in the configuration.
    registry: String,
    prefix: String,
    insecure: bool,
}

/// Deletes, and prints what is gone.
pub(super) async fn command(session: &Session, options: &PruneOptions) -> Result<u8, Error> {
    let channel = session.channel(&options.channel)?;
    if !channel.channel.tags.iter().any(|tag| tag.has("pr")) {
        return Err(PruneError::NoPullRequests { channel: channel.name }.into());
    }
    let forge = forge()?;
    let registries = push::connect(session)?;
    let targets = targets(session, &channel);
    let pull_requests = |target: &Target, tag: &str| -> BTreeSet<u64> {
        channel.channel.tags.iter().flat_map(|template| template.pull_requests(tag, &target.image)).collect()
    };

    // First everything is looked at, in all repositories, with one question to the forge.
    let mut numbers = BTreeSet::new();
    let mut unclear = BTreeSet::new();
    let look = Order { goes: &|_| true, keys: false, mode: Mode::Look, stop: &session.cancel };
    for target in &targets {
        let looking = async { Ok(prune_target(&registries, target, &look, &session.ui).await?) };
        let found = or_stop(&session.cancel, looking).await?;
        for reference in found.deleted {
            let Some((_, tag)) = reference.rsplit_once(':') else { continue };
            let of = pull_requests(target, tag);
            match of.len() {
                0 => {}
                1 => numbers.extend(of),
                _ => _ = unclear.insert(reference.clone()),
            }
        }
    }
    let states = if numbers.is_empty() {
        BTreeMap::new()
    } else {
        let asking = pulls::states(&forge, &numbers, &session.ui);
        or_stop(&session.cancel, async { Ok(asking.await.map_err(|error| PruneError::Forge(Box::new(error)))?) })
            .await?
    };
    let closed: BTreeSet<u64> =
        states.iter().filter(|(_, state)| **state == State::Closed).map(|(number, _)| *number).collect();
    let unknown: Vec<String> =
        numbers.iter().filter(|number| !states.contains_key(number)).map(ToString::to_string).collect();
    if !unknown.is_empty() {
        session.ui.warn(&format!("the tags of {} are kept: there are no such pull requests", unknown.join(", ")));
    }
    for reference in unclear {
        session.ui.warn(&format!("`{reference}` is kept: its tag may be of more than one pull request"));
    }

    let mut all = Pruned::default();
    let mode = if options.dry_run { Mode::DryRun } else { Mode::Delete };
    for target in &targets {
        let goes = |tag: &str| {
            let of = pull_requests(target, tag);
            of.len() == 1 && of.is_subset(&closed)
        };
        let order = Order { goes: &goes, keys: options.keys, mode, stop: &session.cancel };
        if session.cancel.is_cancelled() {
            break;
        }
        match prune_target(&registries, target, &order, &session.ui).await {
            Ok(pruned) => {
                all.deleted.extend(pruned.deleted);
                all.attached.extend(pruned.attached);
                all.kept.extend(pruned.kept);
            }
            Err(error) => {
                let help = miette::Diagnostic::help(&error).map(|help| help.to_string());
                let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
                all.kept.push(Kept { reference: target.reference(), why, help });
            }
        }
    }
    say(session, &all, closed.len(), options.dry_run)
}

fn say(session: &Session, pruned: &Pruned, closed: usize, dry_run: bool) -> Result<u8, Error> {
    let gone = pruned.deleted.iter().chain(&pruned.attached);
    document::print(gone.map(|reference| format!("{reference}\n")).collect::<String>().as_bytes())?;
    for Kept { reference, why, help } in &pruned.kept {
        session.ui.failure(reference, why, help.as_deref(), None);
    }
    let verb = if dry_run { "would be deleted" } else { "deleted" };
    let kept = if pruned.kept.is_empty() { String::new() } else { format!(", {} not", pruned.kept.len()) };
    session.ui.note(&format!("{} tags of {closed} closed pull requests {verb}{kept}", pruned.deleted.len()));
    if !pruned.attached.is_empty() {
        session.ui.note(&format!("{} attached documents, lists and signatures {verb}", pruned.attached.len()));
    }
    Ok(u8::from(!pruned.kept.is_empty() || session.cancel.is_cancelled()))
}

async fn prune_target(
    registries: &std::sync::Arc<registry::Session>,
    target: &Target,
    order: &Order<'_>,
    ui: &Ui,
) -> Result<Pruned, PruneError> {
    let reference = target.reference();
    if let Some((owner, name)) = reference.strip_prefix("ghcr.io/").and_then(|path| path.split_once('/')) {
        let api = ForgeKind::GitHub.api(variable);
        let names = ["RHDH_PACK_GITHUB_TOKEN", "GH_TOKEN", "GITHUB_TOKEN"];
        let Some(token) = names.iter().find_map(|name| variable(name)).map(SecretString::from) else {
            return Err(PruneError::NoToken { reference });
        };
        let pruned = async {
            let forge = Forge::at(ForgeKind::GitHub, &api, &token, Limits::of_questions(), ui)?;
            let client = registries.client(&target.registry, &target.prefix, target.insecure)?;
            let repository = client.repository_to_read(&target.image).await?;
            prune::prune_package(&Package { forge: &forge, owner, name, repository: &repository }, order).await
        };
        return pruned.await.map_err(|source| PruneError::Package { reference, source: Box::new(source) });
    }
    let prune = async {
        let client = registries.client(&target.registry, &target.prefix, target.insecure)?;
        let repository = match order.mode {
            Mode::Look | Mode::DryRun => client.repository_to_read(&target.image).await?,
            Mode::Delete => client.repository_to_delete(&target.image).await?,
        };
        prune::prune_repository(&repository, order).await
    };
    prune.await.map_err(|source| PruneError::Registry { reference, source: Box::new(source) })
}

impl Target {
    fn reference(&self) -> String {
        format!("{}/{}", self.prefix, self.image)
    }
}

/// Every image of the configuration, in each OCI registry that it goes to in `channel`.
fn targets(session: &Session, channel: &ChosenChannel) -> Vec<Target> {
    let config = &session.project.config;
    let plugins = session.project.plugins.values().map(|plugin| (&plugin.image, &plugin.config.registries));
    let bundles = config.bundles.values().map(|bundle| (&bundle.image, &bundle.registries));
    let all = plugins.chain(bundles).flat_map(|(image, own)| {
        config.registries_for(channel, own).into_iter().filter_map(move |(registry, value)| match value {
            Registry::Oci { prefix, insecure } => Some(Target { image: image.clone(), registry, prefix, insecure }),
            _ => None,
        })
    });
    all.collect()
}

/// Who knows which pull requests are closed.
fn forge() -> Result<Place, PruneError> {
    let token = |names: &[&str]| names.iter().find_map(|name| variable(name)).map(SecretString::from);
    let repository = variable("GITHUB_REPOSITORY").filter(|repository| is_path(ForgeKind::GitHub, repository));
    if let (Some(repository), Some(token)) = (repository, token(&["GITHUB_TOKEN", "GH_TOKEN"])) {
        let api = ForgeKind::GitHub.api(variable);
        return Ok(Place::GitHub { api, repository, token });
    }
    let project = variable("CI_PROJECT_ID").filter(|id| id.bytes().all(|byte| byte.is_ascii_digit()));
    match (variable("CI_API_V4_URL"), project, token(&["RHDH_PACK_GITLAB_TOKEN", "GITLAB_TOKEN"])) {
        (Some(api), Some(project), Some(token)) => Ok(Place::GitLab { api, project, token }),
        _ => Err(PruneError::NoForge),
    }
}
