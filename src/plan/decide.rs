//! The second step of a plan: what the registries hold. A survey and the answers of the registries come in; what goes
//! out is the plan.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use super::key::ContentKey;
use super::survey::{ArtifactTarget, Error, Standing, Survey};
use super::{Action, Plan, PlannedBundle, PlannedPlugin, Published, Reason, SCHEMA_VERSION};

/// What to ask the registries about one artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The name of its image; no two plugins or bundles have the same.
    pub image: String,
    /// Its content key.
    pub content_key: ContentKey,
    /// The tag that an image with this key has.
    pub key_tag: String,
    /// The tags that the channel writes.
    pub tags: Vec<String>,
    /// The registries to ask, by their names in the configuration.
    pub registries: Vec<String>,
}

/// What there is already. Empty where nobody was asked.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// What each registry that could be asked holds, by the name of the image.
    pub found: BTreeMap<String, Vec<Found>>,
    /// What the output folder holds, by the name of the image: the memory of what goes nowhere else. `None` where it
    /// says nothing, as in CI, where each run has another one.
    pub packaged: Option<BTreeMap<String, ContentKey>>,
    /// What could not be asked, in words, each said once.
    pub notes: Vec<String>,
}

/// What one registry holds of an artifact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The registry's name in the configuration.
    pub registry: String,
    /// The image under the tag of the content key, or that with this key under a tag of the channel, if it is there.
    pub image: Option<Published>,
    /// The tags of the channel that exist, and the content key of the image that each holds, where it has one.
    pub tags: BTreeMap<String, Option<ContentKey>>,
}

/// A tag that holds something else and may not be overwritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenTag {
    /// The id of the plugin or bundle.
    pub id: String,
    /// Its version.
    pub version: String,
    /// The tag.
    pub tag: String,
    /// The registry's name.
    pub registry: String,
    /// The content key of what the tag holds, where it has one.
    pub held: Option<ContentKey>,
    /// The content key of what the run would put there.
    pub wanted: ContentKey,
}

impl fmt::Display for TakenTag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, version, tag, registry, held, wanted } = self;
        let held = held.as_ref().map_or("no content key", ContentKey::as_str);
        write!(
            formatter,
            "`{id}` {version} cannot be published: `{tag}` in `{registry}` holds other content ({held}, not {wanted}), and \
             the channel may not overwrite it"
        )
    }
}

/// A plugin or bundle whose action is worked out.
struct Judged<'a> {
    id: &'a str,
    version: &'a str,
    image: &'a str,
    key: Option<&'a ContentKey>,
    reasons: &'a mut Vec<Reason>,
    published: &'a mut Vec<Published>,
}

/// What one registry means for an artifact.
enum State {
    /// Everything is as it should be.
    Complete,
    /// The image is there, not all of its tags are.
    Untagged,
    /// The image is not there; the tags that exist hold something else.
    Other(Vec<String>),
    /// Nothing is there.
    Empty,
}

impl Survey {
    /// What to ask the registries: one question for each artifact that they may hold.
    #[must_use]
    pub fn questions(&self) -> Vec<Question> {
        let is_open = |standing: &Standing| !standing.settled && (standing.changed || self.heals);
        let bundles = self.bundles.iter().filter(|(_, standing)| is_open(standing));
        // A bundle that is built has its members built, too.
        let members: HashSet<&String> = bundles.clone().flat_map(|(bundle, _)| &bundle.members).collect();
        let plugins =
            self.plugins.iter().filter(|(plugin, standing)| is_open(standing) || members.contains(&plugin.id));
        let plugins = plugins.map(|(plugin, standing)| (&plugin.image, &plugin.content_key, standing));
        let bundles = bundles.map(|(bundle, standing)| (&bundle.image, &bundle.content_key, standing));
        let open = plugins.chain(bundles).filter(|(_, _, standing)| !standing.target.registries.is_empty());
        let questions = open.filter_map(|(image, key, standing)| {
            let content_key = key.clone()?;
            Some(Question {
                image: image.clone(),
                key_tag: content_key.tag(),
                content_key,
                tags: standing.target.tags.clone(),
                registries: standing.target.registries.clone(),
            })
        });
        questions.collect()
    }

    /// The plan, in the light of what the registries hold.
    ///
    /// # Errors
    /// When something would be built whose tag holds other content and may not be overwritten.
    pub fn decide(self, memory: &Memory) -> Result<Plan, Error> {
        let mut taken = Vec::new();
        let (heals, overwrite) = (self.heals, self.overwrite);
        let mut judge = |artifact: Judged<'_>, standing: &Standing| {
            let Judged { id, version, image, key, reasons, published } = artifact;
            let found = memory.found.get(image).filter(|found| !found.is_empty());
            match (found, key, &memory.packaged) {
                (Some(found), Some(key), _) if !standing.settled && (standing.changed || heals) => {
                    let conflicts = conflicts(id, version, key, found);
                    let action = decide(key, &standing.target, standing.changed, found, reasons);
                    if matches!(action, Action::Skip | Action::Copy) {
                        published.extend(found.iter().filter_map(|found| found.image.clone()));
                    }
                    if action != Action::Skip && !overwrite {
                        taken.extend(conflicts);
                    }
                    action
                }
                (_, Some(key), Some(packaged))
                    if !standing.settled
                        && standing.target.registries.is_empty()
                        && !standing.target.elsewhere
                        && packaged.get(image) == Some(key) =>
                {
                    reasons.insert(0, Reason::new("up-to-date", "up to date in the output folder"));
                    Action::Skip
                }
                _ if standing.changed => Action::Build,
                _ => Action::Skip,
            }
        };
        let mut plugins = Vec::with_capacity(self.plugins.len());
        for (mut plugin, standing) in self.plugins {
            if plugin.action != Action::Remove {
                let PlannedPlugin { id, version, image, content_key, reasons, published, .. } = &mut plugin;
                let artifact = Judged { id, version, image, key: content_key.as_ref(), reasons, published };
                plugin.action = judge(artifact, &standing);
            }
            plugins.push(plugin);
        }
        let mut bundles = Vec::with_capacity(self.bundles.len());
        for (mut bundle, standing) in self.bundles {
            if bundle.action != Action::Remove {
                let PlannedBundle { id, version, image, content_key, reasons, published, .. } = &mut bundle;
                let artifact = Judged { id, version, image, key: content_key.as_ref(), reasons, published };
                bundle.action = judge(artifact, &standing);
            }
            bundles.push(bundle);
        }
        // A bundle is made of what its members' exports leave on disk: they must run, whatever the registries hold.
        for bundle in bundles.iter().filter(|bundle| bundle.action == Action::Build) {
            for plugin in plugins.iter_mut().filter(|plugin| bundle.members.contains(&plugin.id)) {
                if matches!(plugin.action, Action::Skip | Action::Copy) {
                    let (found, key) = (memory.found.get(&plugin.image), plugin.content_key.as_ref());
                    if let (Action::Skip, false, Some(found), Some(key)) = (plugin.action, overwrite, found, key) {
                        taken.extend(conflicts(&plugin.id, &plugin.version, key, found));
                    }
                    plugin.action = Action::Build;
                    plugin.published.clear();
                    plugin.reasons.retain(|reason| reason.kind != "not-selected");
                    plugin
                        .reasons
                        .insert(0, Reason::new("bundle", format!("the bundle `{}` is built from it", bundle.id)));
                }
            }
        }
        if !taken.is_empty() {
            return Err(Error::TakenTags(taken));
        }
        for plugin in plugins.iter_mut().filter(|plugin| plugin.action != Action::Build) {
            plugin.packages.clear();
        }
        let mut notes = self.notes;
        notes.extend(memory.notes.iter().cloned());
        Ok(Plan {
            schema_version: SCHEMA_VERSION,
            channel: self.channel,
            base: self.base,
            head: self.head,
            base_reason: self.base_reason,
            plugins,
            bundles,
            notes,
        })
    }
}

/// What to do with an artifact that registries were asked about; the reasons are made to fit.
fn decide(
    key: &ContentKey,
    target: &ArtifactTarget,
    changed: bool,
    found: &[Found],
    reasons: &mut Vec<Reason>,
) -> Action {
    let states: Vec<(&str, State)> =
        found.iter().map(|found| (found.registry.as_str(), state(key, &target.tags, found))).collect();
    let names = |wanted: fn(&State) -> bool| -> Vec<&str> {
        states.iter().filter(|(_, state)| wanted(state)).map(|(name, _)| *name).collect()
    };
    let complete = names(|state| matches!(state, State::Complete));
    // A registry that could not be asked is no reason to skip what changed, nor to copy what did not.
    let all_asked = target.registries.iter().all(|name| found.iter().any(|found| found.registry == *name));
    if complete.len() == states.len() && (all_asked || !changed) && !(changed && target.elsewhere) {
        reasons.insert(0, Reason::new("up-to-date", format!("up to date in {}", complete.join(", "))));
        return Action::Skip;
    }
    reasons.retain(|reason| reason.kind != "unchanged");
    let untagged = names(|state| matches!(state, State::Untagged));
    let empty = names(|state| matches!(state, State::Empty));
    for (name, state) in &states {
        if let State::Other(tags) = state {
            let tags: Vec<String> = tags.iter().map(|tag| format!("`{tag}`")).collect();
            reasons.push(Reason::new("published", format!("{} in {name} holds other content", tags.join(", "))));
        }
    }
    reasons.extend(untagged.iter().map(|name| Reason::new("untagged", format!("in {name}, but without all its tags"))));
    reasons.extend(empty.iter().map(|name| Reason::new("published", format!("never published to {name}"))));
    let somewhere = !complete.is_empty() || !untagged.is_empty();
    if somewhere && !(changed && target.elsewhere) {
        let from = complete.iter().chain(&untagged).copied().collect::<Vec<_>>().join(", ");
        reasons.insert(0, Reason::new("copy", format!("built already: it is in {from}")));
        return Action::Copy;
    }
    Action::Build
}

fn state(key: &ContentKey, tags: &[String], found: &Found) -> State {
    let holds_key = |tag: &String| found.tags.get(tag).is_some_and(|held| held.as_ref() == Some(key));
    if found.image.is_some() {
        return if tags.iter().all(holds_key) { State::Complete } else { State::Untagged };
    }
    let other: Vec<String> = tags.iter().filter(|tag| found.tags.contains_key(*tag)).cloned().collect();
    if other.is_empty() { State::Empty } else { State::Other(other) }
}

/// The tags that hold other content than `key`.
fn conflicts(id: &str, version: &str, key: &ContentKey, found: &[Found]) -> Vec<TakenTag> {
    let held = found.iter().flat_map(|found| found.tags.iter().map(move |(tag, held)| (found, tag, held)));
    let other = held.filter(|(_, _, held)| held.as_ref() != Some(key));
    let taken = other.map(|(found, tag, held)| TakenTag {
        id: id.to_owned(),
        version: version.to_owned(),
        tag: tag.clone(),
        registry: found.registry.clone(),
        held: held.clone(),
        wanted: key.clone(),
    });
    taken.collect()
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
