//! A configuration that nobody has written yet. What stands in the repository (or in another tool's files) comes in;
//! what goes out is the text of `rhdh-plugins.toml`, and of a workflow that runs rhdh-pack.

use indexmap::IndexMap;

use crate::config::names::{is_image_name, package_image_name, to_id, to_image_name};
use crate::repo_path::RepoPath;
use crate::workspace::Role;

mod find;
pub mod remote;
mod render;
pub mod workflow;

pub use find::{Found, find, other_manager};
pub use render::render;

/// What to write into a configuration.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// The RHDH release, `x.y`.
    pub rhdh: String,
    /// The exact version of the RHDH CLI, where one is pinned.
    pub cli: Option<String>,
    /// The OCI registry and namespace; `None`: artifacts stay in the output folder.
    pub registry: Option<String>,
    /// The branch whose pushes are published as `next`.
    pub branch: String,
    /// By id.
    pub plugins: IndexMap<String, DraftPlugin>,
    /// By id.
    pub bundles: IndexMap<String, DraftBundle>,
}

/// A plugin in a draft.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DraftPlugin {
    /// Its folder.
    pub path: RepoPath,
    /// Keys with one text, such as `app-config`, in the order to write them.
    pub texts: IndexMap<&'static str, String>,
    /// Keys with a list, such as `embed-packages`, in the order to write them.
    pub lists: IndexMap<&'static str, Vec<String>>,
}

/// A bundle in a draft.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DraftBundle {
    /// Ids of its plugins.
    pub plugins: Vec<String>,
    /// Its image, where that is not its id.
    pub image: Option<String>,
    /// The id of the plugin whose version it has, where the plugins' versions differ.
    pub version_of: Option<String>,
}

/// A plugin that stands in the repository and can be exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundPlugin {
    /// Its folder.
    pub path: RepoPath,
    /// The root of its workspace.
    pub workspace: RepoPath,
    /// The name of its package.
    pub package: String,
    /// Its version.
    pub version: String,
    /// Its role.
    pub role: Role,
    /// `backstage.pluginId`.
    pub plugin_id: Option<String>,
    /// `app-config.dynamic.yaml`, where it lies in the plugin's folder.
    pub app_config: Option<RepoPath>,
    /// `scalprum-config.json`, where it lies in the plugin's folder.
    pub scalprum_config: Option<RepoPath>,
}

impl Draft {
    /// Adds a plugin under an id that no other has (its folder's name, where that is free), and gives it an image name
    /// where the one made from its package's name will not do. Returns the id.
    pub fn add(&mut self, found: &FoundPlugin, images: &mut IndexMap<String, String>) -> String {
        let folder = found.path.as_str().rsplit('/').next().unwrap_or_default();
        let names = [to_id(folder), to_id(&package_image_name(&found.package))];
        let first = if found.path.is_root() { 1 } else { 0 };
        let id = unused(&names[first..], |id| self.plugins.contains_key(id));
        let mut plugin = DraftPlugin { path: found.path.clone(), ..DraftPlugin::default() };
        let image = package_image_name(&found.package);
        let legal = if is_image_name(&image) { image.clone() } else { to_image_name(&image) };
        let free = unused(&[legal], |name| images.contains_key(name));
        if free != image {
            plugin.texts.insert("image", free.clone());
        }
        images.insert(free, id.clone());
        for (key, file) in [("scalprum-config", &found.scalprum_config), ("app-config", &found.app_config)] {
            if let Some(file) = file {
                plugin.texts.insert(key, file.to_string());
            }
        }
        self.plugins.insert(id.clone(), plugin);
        id
    }
}

/// Bundles of plugins with one `backstage.pluginId`: a frontend or backend, and what belongs to it. `plugins` are ids
/// and what was found under them; `images` are taken names.
#[must_use]
pub fn bundles(plugins: &[(String, FoundPlugin)], images: &IndexMap<String, String>) -> IndexMap<String, DraftBundle> {
    let mut groups: IndexMap<(&RepoPath, &str), Vec<&(String, FoundPlugin)>> = IndexMap::new();
    for entry in plugins {
        if let Some(plugin_id) = &entry.1.plugin_id {
            groups.entry((&entry.1.workspace, plugin_id)).or_default().push(entry);
        }
    }
    let is_module = |role: Role| matches!(role, Role::FrontendPluginModule | Role::BackendPluginModule);
    let mut bundles = IndexMap::new();
    let mut taken = images.clone();
    for ((_, plugin_id), mut members) in groups {
        // Modules alone extend a plugin that is somewhere else: they have nothing to do with each other.
        if members.len() < 2 || members.iter().all(|(_, found)| is_module(found.role)) {
            continue;
        }
        members.sort_by_key(|(_, found)| (is_module(found.role), !found.role.is_frontend()));
        let id = unused(&[to_id(plugin_id)], |id| bundles.contains_key(id));
        let image =
            unused(&[to_image_name(&id), format!("{}-bundle", to_image_name(&id))], |name| taken.contains_key(name));
        taken.insert(image.clone(), id.clone());
        let first = &members[0].1;
        let differ = members.iter().any(|(_, found)| found.version != first.version);
        let bundle = DraftBundle {
            plugins: members.iter().map(|(id, _)| id.clone()).collect(),
            image: (image != id).then_some(image),
            version_of: differ.then(|| members[0].0.clone()),
        };
        bundles.insert(id, bundle);
    }
    bundles
}

/// The first of `names` that is not taken, else the last one with a number.
fn unused(names: &[String], is_taken: impl Fn(&str) -> bool) -> String {
    let last = names.last().map(String::as_str).unwrap_or("plugin");
    let numbered = (2..).map(|number: u32| format!("{last}-{number}"));
    names.iter().cloned().chain(numbered).find(|name| !is_taken(name)).unwrap_or_else(|| last.to_owned())
}

#[cfg(test)]
mod tests;
