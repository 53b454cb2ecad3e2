//! Which channel a run is for. The occasion, or a name from the command line, comes in; what goes out is the channel
//! and why it was chosen.

use super::check::compile_glob;
use super::nearest::suggestion;
use super::{Channel, Config, Occasion, Registry};
use crate::ci::Event;

/// The channel of runs outside a CI.
pub const LOCAL: &str = "local";

/// The channel of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenChannel {
    /// Its name.
    pub name: String,
    /// Its values.
    pub channel: Channel,
    /// Why this one.
    pub because: Because,
    /// Whether the configuration says nothing of this channel: then artifacts go to folders only.
    pub built_in: bool,
}

/// Why a channel was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// `--channel` names it.
    Named,
    /// Its `on` fits the occasion.
    Matched,
    /// The run is not in a CI.
    Local,
    /// The run is in a CI, and no channel's `on` fits: to be said loudly.
    NothingMatched,
}

/// `--channel` names a channel that is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("there is no channel `{name}`")]
#[diagnostic(help("{help}"))]
pub struct UnknownChannel {
    name: String,
    help: String,
}

impl Config {
    /// The channel for `event`: `named` if it is given; outside a CI `local`; else the first, in the order of the
    /// file, whose `on` fits.
    ///
    /// # Errors
    /// When `named` is not in the configuration.
    pub fn channel_for(&self, event: &Event, named: Option<&str>) -> Result<ChosenChannel, UnknownChannel> {
        if let Some(name) = named {
            return match self.channels.get(name) {
                Some(channel) => Ok(chosen(name, channel, Because::Named)),
                None if name == LOCAL => Ok(self.local(Because::Named)),
                None => {
                    let known = self.channels.keys().map(String::as_str).chain([LOCAL]);
                    Err(UnknownChannel { name: name.to_owned(), help: suggestion(name, "channels", known) })
                }
            };
        }
        if *event == Event::Local {
            return Ok(self.local(Because::Local));
        }
        let fits = |channel: &Channel| channel.on.iter().any(|occasion| occasion.fits(event));
        let found = self.channels.iter().find(|(_, channel)| fits(channel));
        Ok(found.map_or_else(
            || self.local(Because::NothingMatched),
            |(name, channel)| chosen(name, channel, Because::Matched),
        ))
    }

    /// Where the artifacts of something with the registries `own` go in this channel, by name.
    #[must_use]
    pub fn registries_for(&self, chosen: &ChosenChannel, own: &[String]) -> Vec<(String, Registry)> {
        let names = chosen.channel.registries.as_deref().unwrap_or(own);
        let registries = names.iter().filter_map(|name| Some((name.clone(), self.registries.get(name)?.clone())));
        registries.filter(|(_, registry)| !chosen.built_in || matches!(registry, Registry::Dir { .. })).collect()
    }

    /// Whether any registry is more than a folder.
    #[must_use]
    pub fn has_remote_registries(&self) -> bool {
        self.registries.values().any(|registry| !matches!(registry, Registry::Dir { .. }))
    }

    /// The channel `local` of the configuration. Without one: no tags, and folders only.
    fn local(&self, because: Because) -> ChosenChannel {
        // In a CI, `local` of the configuration was not meant for this run.
        let own = self.channels.get(LOCAL).filter(|_| because != Because::NothingMatched);
        own.map_or_else(
            || {
                let channel = Channel {
                    on: Vec::new(),
                    tags: Vec::new(),
                    overwrite: true,
                    registries: None,
                    promote_from: Vec::new(),
                    attach: Vec::new(),
                    sign: false,
                };
                ChosenChannel { name: LOCAL.to_owned(), channel, because, built_in: true }
            },
            |channel| chosen(LOCAL, channel, because),
        )
    }
}

fn chosen(name: &str, channel: &Channel, because: Because) -> ChosenChannel {
    ChosenChannel { name: name.to_owned(), channel: channel.clone(), because, built_in: false }
}

impl Occasion {
    fn fits(&self, event: &Event) -> bool {
        // The globs were checked when the configuration was loaded.
        let is_match =
            |glob: &str, name: &str| compile_glob(glob).is_ok_and(|glob| glob.compile_matcher().is_match(name));
        match (self, event) {
            (Self::PullRequest, Event::PullRequest { .. })
            | (Self::Schedule, Event::Schedule)
            | (Self::Manual, Event::Manual) => true,
            (Self::Branch(glob), Event::Push { branch }) => is_match(glob, branch),
            (Self::Tag(glob), Event::Tag { name }) => is_match(glob, name),
            _ => false,
        }
    }
}
