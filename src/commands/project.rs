//! What the commands work on: the configuration and the workspaces, checked against each other. The configuration
//! file comes in; what goes out is a [`Project`] in which nothing is missing, or all problems of both at once.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use miette::Diagnostic;

use crate::config::names::{is_exact_version, is_image_name, package_image_name, to_image_name};
use crate::config::nearest::suggestion;
use crate::config::template::is_tag;
use crate::config::{self, Bundle, Config, Plugin, Problem, Registry};
use crate::package::Rule;
use crate::repo_path::RepoPath;
use crate::workspace::{self, Discovery, Package, Role, Workspaces};

/// No app-config of a plugin comes near this, in bytes.
const MAX_APP_CONFIG: u64 = 1 << 20;

/// A configuration and the plugins that it names, as they stand in the repository.
#[derive(Clone, Debug)]
pub struct Project {
    /// The configuration.
    pub config: Config,
    /// The workspaces of all plugins.
    pub workspaces: Workspaces,
    /// By id, in the order of the configuration.
    pub plugins: IndexMap<String, ProjectPlugin>,
    /// By id, in the order of the configuration.
    pub bundles: IndexMap<String, ProjectBundle>,
    /// Plugins of the configuration whose folder was removed, by id.
    pub removed: IndexMap<String, RepoPath>,
}

/// One plugin, by its configuration and its `package.json`.
#[derive(Clone, Debug)]
pub struct ProjectPlugin {
    /// What the configuration says.
    pub config: Plugin,
    /// Its package.
    pub package: Package,
    /// The role in its `package.json`.
    pub role: Role,
    /// The root of its yarn workspace.
    pub workspace: RepoPath,
    /// The image's name, which no other plugin or bundle has.
    pub image: String,
    /// The version in its `package.json`.
    pub version: String,
    /// What its app-config file holds: `pluginConfig` in `dynamic-plugins.yaml`.
    pub plugin_config: Option<serde_json::Value>,
}

/// One bundle, with its version worked out.
#[derive(Clone, Debug)]
pub struct ProjectBundle {
    /// What the configuration says.
    pub config: Bundle,
    /// The image's version.
    pub version: String,
}

/// Why there is no project, or not what was asked of it.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Error {
    /// All that is wrong in the configuration, and between it and the repository.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Config(#[from] config::Error),
    /// A name that the configuration does not have.
    #[error("there is no {what} `{id}` in `{}`", file.display())]
    #[diagnostic(help("{help}"))]
    Unknown {
        /// `plugin`, `bundle`, or both.
        what: &'static str,
        /// The name.
        id: String,
        /// The configuration file.
        file: PathBuf,
        /// The nearest names, or all.
        help: String,
    },
}

impl Project {
    /// The plugin `id`.
    ///
    /// # Errors
    /// When there is none.
    pub fn plugin(&self, id: &str) -> Result<&ProjectPlugin, Error> {
        self.plugins.get(id).ok_or_else(|| {
            let help = suggestion(id, "plugins", self.plugins.keys().map(String::as_str));
            Error::Unknown { what: "plugin", id: id.to_owned(), file: self.config.file.clone(), help }
        })
    }

    /// What to say of an id that is neither a plugin's nor a bundle's.
    pub(super) fn unknown_artifact(&self, id: &str) -> Error {
        let (what, names) =
            if self.bundles.is_empty() { ("plugin", "plugins") } else { ("plugin or bundle", "plugins and bundles") };
        let help = suggestion(id, names, self.plugins.keys().chain(self.bundles.keys()).map(String::as_str));
        Error::Unknown { what, id: id.to_owned(), file: self.config.file.clone(), help }
    }

    /// Where the export of `plugin` is.
    pub(super) fn dist_dynamic(&self, plugin: &ProjectPlugin) -> PathBuf {
        plugin.config.path.under(&self.config.root).join("dist-dynamic")
    }

    /// The bundle `id`.
    ///
    /// # Errors
    /// When there is none.
    pub fn bundle(&self, id: &str) -> Result<&ProjectBundle, Error> {
        self.bundles.get(id).ok_or_else(|| {
            let help = suggestion(id, "bundles", self.bundles.keys().map(String::as_str));
            Error::Unknown { what: "bundle", id: id.to_owned(), file: self.config.file.clone(), help }
        })
    }
}

/// Reads the configuration and the workspaces of its plugins. A plugin that is not there but was before, as
/// `was_there` says, has been removed; one that never was is a mistake.
///
/// # Errors
/// When the file cannot be read, or with all problems of the file and of the plugins at once.
pub fn open(config_file: &Path, was_there: &dyn Fn(&str, &RepoPath) -> bool) -> Result<Project, Error> {
    let root = std::path::absolute(config_file).ok().and_then(|file| Some(file.parent()?.to_owned()));
    let (read, ahead) = std::thread::scope(|scope| {
        let ahead = scope.spawn(|| root.as_deref().map(Discovery::ahead));
        let read = config::read(config_file);
        (read, ahead.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let (config, mut problems) = read?;
    let mut removed = IndexMap::new();
    for gone in &config.gone {
        if was_there(&gone.id, &gone.path) {
            removed.insert(gone.id.clone(), gone.path.clone());
        } else {
            problems.push(gone.problem.clone());
        }
    }
    let folders: Vec<RepoPath> = config.plugins.values().map(|plugin| plugin.path.clone()).collect();
    let (workspaces, errors) = match ahead {
        Some(ahead) => ahead.of(&folders),
        None => workspace::discover(&config.root, &folders),
    };
    let errors: HashMap<RepoPath, workspace::Error> = errors.into_iter().collect();
    let mut plugins = IndexMap::new();
    for (id, plugin) in &config.plugins {
        let found = match errors.get(&plugin.path) {
            // Of a removed plugin, folders that git ignores stay behind.
            Some(workspace::Error::NoPackageJson(path)) if was_there(id, path) => {
                removed.insert(id.clone(), path.clone());
                continue;
            }
            Some(error) => Err(vec![workspace_problem(&config, id, error)]),
            None => project_plugin(&config, plugin, &workspaces),
        };
        match found {
            Ok(plugin) => drop(plugins.insert(id.clone(), plugin)),
            Err(found) => problems.extend(found),
        }
    }
    problems.extend(shared_images(&config, &plugins));
    problems.extend(shared_names(&config, &plugins, &workspaces));
    problems.extend(unknown_rules(&config));
    let mut bundles = IndexMap::new();
    for (id, bundle) in &config.bundles {
        if let Some(member) = bundle.plugins.iter().find(|member| removed.contains_key(*member)) {
            let message = format!("bundle `{id}` names the plugin `{member}`, which was removed");
            let help = format!("take `{member}` out of `plugins`, and `[plugins.{member}]` out of the file");
            problems.push(config.problem(&["bundles", id, "plugins"], message, "names a removed plugin", help));
        }
        if let Some(version) = bundle_version(&config, bundle, &plugins, &mut problems) {
            bundles.insert(id.clone(), ProjectBundle { config: bundle.clone(), version });
        }
    }
    if !problems.is_empty() {
        return Err(config::Error::from(config.problems(problems)).into());
    }
    Ok(Project { config, workspaces, plugins, bundles, removed })
}

/// Why the plugin `id` has no workspace. What all plugins of a workspace have from one cause is said once.
fn workspace_problem(config: &Config, id: &str, error: &workspace::Error) -> Problem {
    let problem = path_problem(config, id, error, "not a plugin that can be exported");
    match error {
        workspace::Error::NoLockFile(_) => problem.because("no yarn.lock"),
        workspace::Error::NotListed { workspace, .. } => problem.because(format!("not listed in `{workspace}`")),
        _ => problem,
    }
}

/// `error`, with its own help, at the `path` of the plugin `id`.
fn path_problem(config: &Config, id: &str, error: &dyn Diagnostic, label: &str) -> Problem {
    let help = error.help().map_or_else(String::new, |help| help.to_string());
    config.problem(&["plugins", id, "path"], error.to_string(), label, help)
}

fn project_plugin(config: &Config, plugin: &Plugin, workspaces: &Workspaces) -> Result<ProjectPlugin, Vec<Problem>> {
    let id = plugin.id.as_str();
    let path = ["plugins", id, "path"];
    let found =
        workspaces.of(&plugin.path).and_then(|workspace| Some((workspace, workspace.packages.get(&plugin.path)?)));
    let Some((workspace, package)) = found else {
        let message = format!("`{}` is in no yarn workspace", plugin.path);
        return Err(vec![config.problem(&path, message, "not in a workspace", "run `yarn install` in its workspace")]);
    };
    let manifest = &package.manifest;
    let file = format!("{}/package.json", plugin.path);
    let mut problems = Vec::new();
    let role =
        manifest.role().map_err(|error| problems.push(path_problem(config, id, &error, "not a plugin to export")));
    if manifest.name.is_none() {
        let help = "add `\"name\": \"@scope/plugin-…\"` to it";
        problems.push(config.problem(&path, format!("`{file}` has no `name`"), "a plugin without name", help));
    }
    let version = manifest.version.as_deref();
    let fault = match version {
        None => Some(format!("`{file}` has no `version`")),
        Some(version) if !is_exact_version(version) || !is_tag(version) => {
            Some(format!("`version` of `{file}` is `{version}`, which is not a version"))
        }
        Some(_) => None,
    };
    if let Some(message) = fault {
        let help = "write three numbers there, such as `\"version\": \"1.0.0\"`: tags are made from it";
        problems.push(config.problem(&path, message, "a plugin without version", help));
    }
    let image = plugin.image.clone().or_else(|| manifest.name.as_deref().map(package_image_name));
    if let Some(image) = image.as_deref().filter(|image| plugin.image.is_none() && !is_image_name(image)) {
        let message = format!("`{image}`, made from the package's name, cannot be the name of an image");
        let help = format!("give it one below `[plugins.{id}]`: `image = \"{}\"`", to_image_name(image));
        problems.push(config.problem(&path, message, "no fit name", help));
    }
    let plugin_config = plugin_config(config, plugin).unwrap_or_else(|problem| {
        problems.push(*problem);
        None
    });
    match (role, image, version) {
        (Ok(role), Some(image), Some(version)) if problems.is_empty() => Ok(ProjectPlugin {
            config: plugin.clone(),
            package: package.clone(),
            role,
            workspace: workspace.path.clone(),
            image,
            version: version.to_owned(),
            plugin_config,
        }),
        _ => Err(problems),
    }
}

/// The plugin's app-config: a YAML mapping, as RHDH merges it into its configuration.
pub(super) fn plugin_config(config: &Config, plugin: &Plugin) -> Result<Option<serde_json::Value>, Box<Problem>> {
    let Some(path) = &plugin.app_config else { return Ok(None) };
    // What is not a file of the repository was reported when the configuration was read.
    let Some(file) = path.locate(&config.root).ok().filter(|file| file.is_file()) else { return Ok(None) };
    let problem = |message: String| {
        let help = "it holds what goes below `pluginConfig:` in dynamic-plugins.yaml, for example `app: …`";
        let own = ["plugins", &plugin.id, "app-config"];
        let key = if config.has(&own) { &own[..] } else { &["defaults", "app-config"] };
        Box::new(config.problem(key, message, "no app-config", help))
    };
    let size = fs_err::metadata(&file).map_or(0, |metadata| metadata.len());
    if size > MAX_APP_CONFIG {
        return Err(problem(format!("`{path}` is larger than 1 MiB")));
    }
    let text = fs_err::read_to_string(&file).map_err(|error| problem(format!("`{path}` cannot be read: {error}")))?;
    match serde_yaml::from_str(&text) {
        Ok(serde_json::Value::Object(values)) => Ok(Some(serde_json::Value::Object(values))),
        Ok(_) => Err(problem(format!("`{path}` is not a mapping of keys"))),
        Err(error) => Err(problem(format!("`{path}` is not YAML: {error}"))),
    }
}

/// Plugins and bundles whose image has the name of an earlier one's.
fn shared_images(config: &Config, plugins: &IndexMap<String, ProjectPlugin>) -> Vec<Problem> {
    let plugins =
        plugins.values().map(|plugin| (["plugins", &plugin.config.id], &plugin.image, Some(&plugin.config.path)));
    let bundles = config.bundles.values().map(|bundle| (["bundles", &bundle.id], &bundle.image, None));
    let mut owners = HashMap::new();
    let mut problems = Vec::new();
    for (key, image, path) in plugins.chain(bundles) {
        let (other, other_path) = *owners.entry(image).or_insert((key, path));
        // Two names for one plugin have been reported as that.
        if other != key && (path.is_none() || path != other_path) {
            let name = |[table, id]: [&str; 2]| format!("{} `{id}`", table.trim_end_matches('s'));
            let message = format!("{} and {} have the same image name `{image}`", name(other), name(key));
            let help = format!("give one of them another: `image = \"{image}-2\"`");
            problems.push(config.problem(&[key[0], key[1], "image"], message, "the name is taken", help));
        }
    }
    problems
}

/// Plugins whose archives would have one name, as npm makes it of the package's: each would replace the other's.
fn shared_names(config: &Config, plugins: &IndexMap<String, ProjectPlugin>, workspaces: &Workspaces) -> Vec<Problem> {
    // Images have names of their own.
    let is_oci = |name: &String| matches!(config.registries.get(name), Some(Registry::Oci { .. }));
    let of_channels: Vec<&String> =
        config.channels.values().flat_map(|channel| channel.registries.iter().flatten()).collect();
    let is_archived = |plugin: &&ProjectPlugin| {
        let own = &plugin.config.registries;
        let nowhere = own.is_empty() && of_channels.is_empty();
        nowhere || !(own.iter().all(is_oci) && of_channels.iter().all(|name| is_oci(name)))
    };
    let mut owners: HashMap<String, &ProjectPlugin> = HashMap::new();
    let mut problems = Vec::new();
    for plugin in plugins.values().filter(is_archived) {
        let package = workspaces.by_path.get(&plugin.workspace).and_then(|it| it.packages.get(&plugin.config.path));
        let Some(name) = package.and_then(|package| package.manifest.name.as_deref()) else { continue };
        let archive = name.trim_start_matches('@').replace('/', "-");
        let other = *owners.entry(archive.clone()).or_insert(plugin);
        // One name of both images is a problem already.
        if other.config.path != plugin.config.path && other.image != plugin.image {
            let (other, id) = (&other.config, &plugin.config.id);
            let message = format!("the archives of `{}` and `{id}` would both be named `{archive}-….tgz`", other.id);
            let help = format!("rename the package in `{}` or in `{}`", other.path, plugin.config.path);
            problems.push(config.problem(&["plugins", id, "path"], message, "the name is taken", help));
        }
    }
    problems
}

/// What `allow` names and is no rule, once each where it is written.
fn unknown_rules(config: &Config) -> Vec<Problem> {
    let plugins = config.plugins.values().map(|plugin| (["plugins", &plugin.id], &plugin.allow));
    let bundles = config.bundles.values().map(|bundle| (["bundles", &bundle.id], &bundle.allow));
    let known: Vec<String> = Rule::ALL.iter().map(|rule| rule.name()).collect();
    let mut seen = HashSet::new();
    let mut problems = Vec::new();
    for (table, allow) in plugins.chain(bundles) {
        for name in allow.keys().filter(|name| !known.contains(name)) {
            let own = [&table[..], &["allow", name]].concat();
            let key = if config.has(&own) { own } else { vec!["defaults", "allow", name] };
            if seen.insert(key.clone()) {
                let help = suggestion(name, "rules", known.iter().map(String::as_str));
                let help = format!("{help} (`rhdh-pack explain CODE` says what each means)");
                problems.push(config.problem(&key, format!("there is no rule `{name}`"), "no such rule", help));
            }
        }
    }
    problems
}

/// The version of a bundle; `None` where it cannot have one, or where a plugin has none, which was reported there.
fn bundle_version(
    config: &Config,
    bundle: &Bundle,
    plugins: &IndexMap<String, ProjectPlugin>,
    problems: &mut Vec<Problem>,
) -> Option<String> {
    let key = ["bundles", &bundle.id, "version"];
    let version_of = |id: &str| plugins.get(id).map(|plugin| plugin.version.clone());
    if let Some(template) = &bundle.version {
        let version = template.render(|name| version_of(name.strip_suffix(".version")?)).ok()?;
        if is_tag(&version) {
            return Some(version);
        }
        let message = format!("`{version}` cannot be the version of a bundle");
        let help =
            "tags are made from it: at most 128 letters, digits, `.`, `_`, `-` and `+`, not beginning with a sign";
        problems.push(config.problem(&key, message, "not fit for a tag", help));
        return None;
    }
    let versions = bundle.plugins.iter().map(|id| version_of(id)).collect::<Option<Vec<String>>>()?;
    let (first, others) = versions.split_first()?;
    if others.iter().all(|version| version == first) {
        return Some(first.clone());
    }
    let listed: Vec<String> =
        bundle.plugins.iter().zip(&versions).map(|(id, version)| format!("`{id}` {version}")).collect();
    let message = format!("the plugins of bundle `{}` have different versions: {}", bundle.id, listed.join(", "));
    let help = format!("say which is the bundle's: `version = \"{{{}.version}}\"`", bundle.plugins[0]);
    problems.push(config.problem(&key, message, "no `version` here", help));
    None
}
