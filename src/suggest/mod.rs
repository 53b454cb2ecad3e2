//! Which flags of the RHDH CLI a backend needs, and why: its packages, the lock file and the RHDH release come in;
//! suggestions go out. The rules are those of the RHDH CLI's `plugin export`, followed to the end: what it would embed,
//! what it would expect from RHDH, and what would be left as the plugin's own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use crate::config::Plugin;
use crate::rhdh::Release;
use crate::workspace::{Lockfile, Package, Role, Root, Workspace, siblings};

mod native;
pub mod write;

/// A key of a plugin in the configuration, with one value that it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion {
    /// The key.
    pub key: Key,
    /// The value to add.
    pub value: String,
    /// Why, in one sentence without its end.
    pub reason: String,
}

/// The keys that can be worked out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// `embed-packages`
    EmbedPackages,
    /// `shared-packages`
    SharedPackages,
    /// `suppress-native-packages`
    SuppressNativePackages,
}

/// What is known of a plugin.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The folder that all paths are relative to.
    pub root: &'a Path,
    /// Its yarn workspace.
    pub workspace: &'a Workspace,
    /// Its package.
    pub package: &'a Package,
    /// Its role.
    pub role: Role,
    /// The lock file of its workspace.
    pub lockfile: &'a Lockfile,
    /// The RHDH release that it is for.
    pub release: &'a Release,
}

/// What the RHDH CLI is told.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    embed: Vec<String>,
    shared: Vec<String>,
    native: Vec<String>,
}

impl Key {
    /// Its name in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EmbedPackages => "embed-packages",
            Self::SharedPackages => "shared-packages",
            Self::SuppressNativePackages => "suppress-native-packages",
        }
    }

    /// What a plugin has there.
    #[must_use]
    pub fn of(self, plugin: &Plugin) -> &[String] {
        match self {
            Self::EmbedPackages => &plugin.embed_packages,
            Self::SharedPackages => &plugin.shared_packages,
            Self::SuppressNativePackages => &plugin.suppress_native_packages,
        }
    }
}

impl From<&Plugin> for Flags {
    fn from(plugin: &Plugin) -> Self {
        Self {
            embed: plugin.embed_packages.clone(),
            shared: plugin.shared_packages.clone(),
            native: [plugin.suppress_native_packages.as_slice(), &plugin.allow_native_packages].concat(),
        }
    }
}

/// Every round adds a package of the closure, so this many rounds see the largest plugins through.
const MAX_ROUNDS: usize = 1_000;

/// What a plugin with these flags still needs. A frontend is bundled, and needs none of it.
#[must_use]
pub fn suggest(subject: Subject<'_>, flags: &Flags) -> Vec<Suggestion> {
    let mut flags = flags.clone();
    let mut suggestions: Vec<Suggestion> = Vec::new();
    if subject.role.is_frontend() {
        return suggestions;
    }
    for _ in 0..MAX_ROUNDS {
        let found = Export::of(subject, &flags).next_need();
        let Some(suggestion) = found else { break };
        let list = match suggestion.key {
            Key::EmbedPackages => &mut flags.embed,
            Key::SharedPackages => &mut flags.shared,
            Key::SuppressNativePackages => &mut flags.native,
        };
        if list.contains(&suggestion.value) {
            break;
        }
        list.push(suggestion.value.clone());
        suggestions.push(suggestion);
    }
    suggestions.sort_by_key(|suggestion| suggestion.key);
    suggestions
}

/// Dependencies (name, range) of a package that becomes part of the plugin.
struct Part<'a> {
    name: &'a str,
    role: Option<&'a str>,
    dependencies: Vec<(&'a str, &'a str)>,
}

/// What the RHDH CLI would do.
struct Export<'a> {
    subject: Subject<'a>,
    flags: &'a Flags,
    /// The plugin, and what is embedded in it.
    parts: Vec<Part<'a>>,
}

impl<'a> Export<'a> {
    fn of(subject: Subject<'a>, flags: &'a Flags) -> Self {
        let own = Part {
            name: subject.package.manifest.name.as_deref().unwrap_or_default(),
            role: subject.package.manifest.backstage.role.as_deref(),
            dependencies: subject.package.manifest.ranges("dependencies").collect(),
        };
        let mut export = Self { subject, flags, parts: Vec::new() };
        let names: Vec<String> = flags.embed.iter().cloned().chain(siblings(own.name, own.role)).collect();
        export.embed(own, &names);
        export
    }

    /// Adds a part and what is embedded with it (the RHDH CLI's `searchEmbedded`).
    fn embed(&mut self, part: Part<'a>, names: &[String]) {
        let dependencies = part.dependencies.clone();
        let dependant = part.name;
        self.parts.push(part);
        for (name, range) in dependencies {
            if !names.iter().any(|wanted| wanted == name) || self.parts.iter().any(|part| part.name == name) {
                continue;
            }
            if let Some(embedded) = self.part(Root::new(dependant, name, range)) {
                let names: Vec<String> = names.iter().cloned().chain(siblings(embedded.name, embedded.role)).collect();
                self.embed(embedded, &names);
            }
        }
    }

    /// The package that a dependency leads to: of the workspace, else of the lock file.
    fn part(&self, root: Root<'a>) -> Option<Part<'a>> {
        if let Some(package) = self.in_workspace(root) {
            let json = &package.manifest;
            let dependencies = json.ranges("dependencies").collect();
            return Some(Part { name: json.name.as_deref()?, role: json.backstage.role.as_deref(), dependencies });
        }
        let locked = self.subject.lockfile.locked(root).next()?;
        Some(Part { name: locked.name, role: None, dependencies: locked.dependencies })
    }

    fn in_workspace(&self, root: Root<'_>) -> Option<&'a Package> {
        let package = self.subject.workspace.named(root.name)?;
        let dependant = self.subject.workspace.named(root.dependant)?;
        dependant.depends_on.contains(&package.path).then_some(package)
    }

    /// Whether RHDH is expected to bring a package (the RHDH CLI's `isPackageShared`).
    fn is_shared(&self, name: &str) -> bool {
        let matches = |pattern: &str| match pattern.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
            // Regular expressions of JavaScript; in practice they are the beginning of a name, or a part of it.
            Some(expression) => name.contains(expression.trim_start_matches('^').trim_end_matches(".*")),
            None => pattern == name,
        };
        if self.parts.iter().skip(1).any(|part| part.name == name) {
            return false;
        }
        let (not_shared, shared): (Vec<&String>, Vec<&String>) =
            self.flags.shared.iter().partition(|pattern| pattern.starts_with('!'));
        !not_shared.into_iter().any(|pattern| matches(&pattern[1..]))
            && (name.contains("@backstage/") || shared.into_iter().any(|pattern| matches(pattern)))
    }

    /// The first thing that the plugin lacks with these flags.
    fn next_need(&self) -> Option<Suggestion> {
        self.not_embedded().or_else(|| self.not_provided()).or_else(|| self.private())
    }

    /// A package of the workspace that would be looked for in an npm registry.
    fn not_embedded(&self) -> Option<Suggestion> {
        self.dependencies().find_map(|root| {
            let embedded = self.parts.iter().any(|part| part.name == root.name);
            (!embedded && !self.is_shared(root.name) && self.in_workspace(root).is_some()).then(|| {
                let reason = format!("`{}` depends on it, and it is a package of this workspace", root.dependant);
                Suggestion { key: Key::EmbedPackages, value: root.name.to_owned(), reason }
            })
        })
    }

    /// A package that RHDH is expected to bring, but does not.
    fn not_provided(&self) -> Option<Suggestion> {
        self.dependencies().find_map(|root| {
            let missing = root.name.starts_with("@backstage/") && !self.subject.release.provides(root.name);
            let part = self.part(root).filter(|_| missing && self.is_shared(root.name))?;
            let reason = format!("`{}` depends on it, and RHDH does not provide it", root.dependant);
            // What brings along packages that RHDH does provide must be embedded, for these to be taken from RHDH.
            Some(if part.dependencies.iter().any(|(name, _)| self.is_shared(name)) {
                Suggestion { key: Key::EmbedPackages, value: root.name.to_owned(), reason }
            } else {
                Suggestion { key: Key::SharedPackages, value: format!("!{}", root.name), reason }
            })
        })
    }

    /// Something among the plugin's own packages that must not be there.
    fn private(&self) -> Option<Suggestion> {
        let Subject { root, workspace, package, .. } = self.subject;
        let folders = [package.path.under(root), workspace.path.under(root)];
        let mut seen = BTreeSet::new();
        let mut next: VecDeque<(Root<'_>, Vec<&str>)> = VecDeque::new();
        for root in self.dependencies() {
            let is_part = self.parts.iter().any(|part| part.name == root.name);
            if !is_part && !self.is_shared(root.name) && self.in_workspace(root).is_none() {
                next.push_back((root, Vec::new()));
            }
        }
        while let Some((root, way)) = next.pop_front() {
            if self.flags.native.iter().any(|name| name == root.name) {
                continue;
            }
            for locked in self.subject.lockfile.locked(root) {
                if !seen.insert((locked.name, locked.version)) {
                    continue;
                }
                let sign = native::by_dependencies(&locked.dependencies);
                if let Some(sign) = sign.or_else(|| native::by_contents(&folders, locked.name, locked.version)) {
                    let through = way.first().map_or(String::new(), |first| format!(", brought along by `{first}`"));
                    let reason =
                        format!("it is a native module ({sign}){through}, which cannot be part of a dynamic plugin");
                    return Some(Suggestion {
                        key: Key::SuppressNativePackages,
                        value: locked.name.to_owned(),
                        reason,
                    });
                }
                let way: Vec<&str> = way.iter().copied().chain([locked.name]).collect();
                for (name, range) in locked.dependencies {
                    if self.is_shared(name) {
                        return Some(self.brings_along(name, &way));
                    }
                    next.push_back((Root::new(locked.name, name, range), way.clone()));
                }
            }
        }
        None
    }

    /// What to do about a shared package that comes with a private one: take it from RHDH where RHDH has it.
    fn brings_along(&self, shared: &str, way: &[&str]) -> Suggestion {
        // Packages are embedded from the plugin on: the RHDH CLI looks at the dependencies of what it embeds.
        let first = way.first().copied().unwrap_or_default();
        if self.subject.release.provides(shared) || !shared.starts_with("@backstage/") {
            let reason = format!("it brings along `{shared}`, which the plugin must take from RHDH");
            Suggestion { key: Key::EmbedPackages, value: first.to_owned(), reason }
        } else {
            let reason = format!("`{first}` brings it along, and RHDH does not provide it");
            Suggestion { key: Key::SharedPackages, value: format!("!{shared}"), reason }
        }
    }

    /// The dependencies of the plugin and of what is embedded in it, each once.
    fn dependencies(&self) -> impl Iterator<Item = Root<'a>> {
        let roots = self
            .parts
            .iter()
            .flat_map(|part| part.dependencies.iter().map(|(name, range)| Root::new(part.name, name, range)));
        let mut first: BTreeMap<(&str, &str), Root<'a>> = BTreeMap::new();
        for root in roots {
            first.entry((root.name, root.range)).or_insert(root);
        }
        first.into_values()
    }
}

#[cfg(test)]
mod tests;
