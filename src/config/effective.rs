//! From the tables of plugins and bundles to their effective values: each is checked where it is written, then
//! `[defaults]` is merged in, here and nowhere else.

use std::collections::{BTreeMap, HashMap, HashSet};

use indexmap::IndexMap;

use super::check::{Check, Named};
use super::format::{self, File};
use super::names::{MAX_NAME, is_id, is_image_name, is_package, to_image_name};
use super::paths::Target;
use super::template::Template;
use super::{Bundle, Plugin};
use crate::repo_path::RepoPath;

/// The plugins of `file`, without those whose path is wrong.
pub(super) fn plugins(check: &mut Check<'_>, file: &File) -> IndexMap<String, Plugin> {
    let defaults = format::Plugin::from(file.defaults.clone().unwrap_or_default());
    settings(check, &["defaults"], &defaults);
    if check.source.keys(&["plugins"]).is_empty() && check.is_whole(&[]) {
        let help = "write at least\n[plugins.todo]\npath = \"plugins/todo\"";
        check.report(&["plugins"], "there are no plugins", "no `[plugins.…]` in this file", help);
    }
    let mut plugins = IndexMap::new();
    let mut folders = HashMap::new();
    for (id, own) in file.plugins.iter().flatten() {
        let key = ["plugins", id];
        check.name(&key, id);
        settings(check, &key, own);
        let path = match &own.path {
            Some(text) => check.plugin_folder(id, text),
            None => {
                if check.is_whole(&key) {
                    let help = "name the folder of its `package.json`: `path = \"plugins/…\"`";
                    check.report(&key, format!("plugin `{id}` has no `path`"), "no `path` here", help);
                }
                None
            }
        };
        let Some(path) = path else { continue };
        if let Some(first) = folders.insert(check.real(&path), id) {
            let message = format!("plugins `{first}` and `{id}` have the same folder");
            let help = "remove one of the two: a plugin is declared once, and can be in any number of bundles";
            let problem = check.source.problem(&["plugins", id, "path"], message, "again", help);
            check.push(problem.and(check.source, &["plugins", first, "path"], "first"));
        }
        plugins.insert(id.clone(), plugin(id, path, own, &defaults));
    }
    plugins
}

/// The bundles of `file`.
pub(super) fn bundles(check: &mut Check<'_>, file: &File) -> IndexMap<String, Bundle> {
    let defaults = file.defaults.clone().unwrap_or_default();
    let plugin_ids: HashSet<&str> = check.source.keys(&["plugins"]).into_iter().collect();
    let mut bundles = IndexMap::new();
    for (id, own) in file.bundles.iter().flatten() {
        let key = ["bundles", id];
        check.name(&key, id);
        image(check, &key, own.image.as_deref().or(Some(id).filter(|id| is_id(id)).map(String::as_str)));
        shared_settings(
            check,
            &key,
            &Shared {
                registries: own.registries.as_deref(),
                tables: [own.labels.as_ref(), own.annotations.as_ref(), own.allow.as_ref()],
                compression_level: own.compression_level,
                artifact_type: own.artifact_type.as_deref(),
            },
        );
        match own.plugins.as_deref() {
            Some(plugins) if !plugins.is_empty() => check.names(&["bundles", id, "plugins"], plugins, Named::Plugin),
            _ if !check.is_whole(&key) => {}
            _ => {
                let help = "name its plugins: `plugins = [\"…\", \"…\"]`";
                check.report(
                    &["bundles", id, "plugins"],
                    format!("bundle `{id}` has no plugins"),
                    "nothing in it",
                    help,
                );
            }
        }
        let version = own.version.as_deref().and_then(|text| bundle_version(check, id, text, &plugin_ids));
        let bundle = Bundle {
            id: id.clone(),
            plugins: own.plugins.clone().unwrap_or_default(),
            image: own.image.clone().unwrap_or_else(|| id.clone()),
            version,
            registries: own.registries.clone().or_else(|| defaults.registries.clone()).unwrap_or_default(),
            labels: merged(own.labels.as_ref(), defaults.labels.as_ref()),
            annotations: merged(own.annotations.as_ref(), defaults.annotations.as_ref()),
            allow: merged(own.allow.as_ref(), defaults.allow.as_ref()),
            compression_level: own.compression_level.or(defaults.compression_level),
            artifact_type: own.artifact_type.clone().or_else(|| defaults.artifact_type.clone()),
        };
        bundles.insert(id.clone(), bundle);
    }
    bundles
}

/// One plugin's values: its own, else those of `defaults`. A list replaces the default's; tables are merged key by
/// key.
fn plugin(id: &str, path: RepoPath, own: &format::Plugin, defaults: &format::Plugin) -> Plugin {
    let list = |value: fn(&format::Plugin) -> &Option<Vec<String>>| {
        value(own).as_ref().or(value(defaults).as_ref()).cloned().unwrap_or_default()
    };
    let file = |value: fn(&format::Plugin) -> &Option<String>| {
        value(own).as_ref().or(value(defaults).as_ref()).and_then(|text| RepoPath::new(text).ok())
    };
    Plugin {
        id: id.to_owned(),
        path,
        export: own.export.or(defaults.export).unwrap_or_default(),
        image: own.image.clone(),
        registries: list(|plugin| &plugin.registries),
        scalprum_config: file(|plugin| &plugin.scalprum_config),
        app_config: file(|plugin| &plugin.app_config),
        embed_packages: list(|plugin| &plugin.embed_packages),
        shared_packages: list(|plugin| &plugin.shared_packages),
        suppress_native_packages: list(|plugin| &plugin.suppress_native_packages),
        allow_native_packages: list(|plugin| &plugin.allow_native_packages),
        ignore_version_check: list(|plugin| &plugin.ignore_version_check),
        export_args: list(|plugin| &plugin.export_args),
        labels: merged(own.labels.as_ref(), defaults.labels.as_ref()),
        annotations: merged(own.annotations.as_ref(), defaults.annotations.as_ref()),
        allow: merged(own.allow.as_ref(), defaults.allow.as_ref()),
        compression_level: own.compression_level.or(defaults.compression_level),
        artifact_type: own.artifact_type.clone().or_else(|| defaults.artifact_type.clone()),
    }
}

type Table = IndexMap<String, String>;

fn merged(own: Option<&Table>, defaults: Option<&Table>) -> BTreeMap<String, String> {
    defaults.into_iter().chain(own).flatten().map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Checks every value of a plugin or of `[defaults]`, except for the plugin's path.
fn settings(check: &mut Check<'_>, key: &[&str], values: &format::Plugin) {
    image(check, key, values.image.as_deref());
    shared_settings(
        check,
        key,
        &Shared {
            registries: values.registries.as_deref(),
            tables: [values.labels.as_ref(), values.annotations.as_ref(), values.allow.as_ref()],
            compression_level: values.compression_level,
            artifact_type: values.artifact_type.as_deref(),
        },
    );
    for (name, file) in [("scalprum-config", &values.scalprum_config), ("app-config", &values.app_config)] {
        if let Some(text) = file {
            check.path(&[key, &[name]].concat(), text, Target::File);
        }
    }
    let packages = [
        ("embed-packages", &values.embed_packages),
        ("shared-packages", &values.shared_packages),
        ("suppress-native-packages", &values.suppress_native_packages),
        ("allow-native-packages", &values.allow_native_packages),
        ("ignore-version-check", &values.ignore_version_check),
    ];
    for (name, list) in packages {
        let key = [key, &[name]].concat();
        check.once(&key, list.as_deref().unwrap_or_default());
        for (index, package) in list.iter().flatten().enumerate() {
            if !is_package(package) {
                let message = match package.trim() {
                    "" => "the name of the package is empty".to_owned(),
                    _ => format!("`{}` is not the name of a package", package.escape_debug()),
                };
                let help = "options for the RHDH CLI stand in `export-args`";
                let index = check.entry(&key, index);
                check.report(&[&key[..], &[&index]].concat(), message, "not a package", help);
            }
        }
    }
}

/// What plugins and bundles both have.
struct Shared<'a> {
    registries: Option<&'a [String]>,
    /// Labels, annotations, allowed rules.
    tables: [Option<&'a Table>; 3],
    compression_level: Option<u8>,
    artifact_type: Option<&'a str>,
}

/// Checks what plugins and bundles both have.
fn shared_settings(check: &mut Check<'_>, key: &[&str], values: &Shared<'_>) {
    check.names(&[key, &["registries"]].concat(), values.registries.unwrap_or_default(), Named::Registry);
    let [labels, annotations, allow] = values.tables;
    for (name, table) in [("labels", labels), ("annotations", annotations)] {
        for entry in table.into_iter().flatten().map(|(entry, _)| entry) {
            table_name(check, &[key, &[name, entry]].concat(), name, entry);
        }
    }
    for (rule, _) in allow.into_iter().flatten().filter(|(_, reason)| reason.trim().is_empty()) {
        let message = format!("`{rule}` is allowed without a reason");
        let help = format!("say why it may be broken: `allow = {{ {rule} = \"…\" }}`");
        check.report(&[key, &["allow", rule]].concat(), message, "empty", help);
    }
    if let Some(level) = values.compression_level.filter(|level| !(1..=9).contains(level)) {
        let message = format!("{level} is not a compression level");
        let help = "levels are 1 (fast) to 9 (small): `compression-level = 9`";
        check.report(&[key, &["compression-level"]].concat(), message, "not 1 to 9", help);
    }
    if let Some(text) = values.artifact_type.filter(|text| !is_media_type(text)) {
        let message = format!("`{}` is not a media type", text.escape_debug());
        let help = "media types look like `artifact-type = \"application/vnd.acme.dynamic-plugin.v1\"`";
        check.report(&[key, &["artifact-type"]].concat(), message, "not like `type/subtype`", help);
    }
}

/// Checks the name `entry` of a label or annotation.
fn table_name(check: &mut Check<'_>, key: &[&str], table: &str, entry: &str) {
    if entry.is_empty() || entry.chars().any(|character| character.is_control() || character.is_whitespace()) {
        let what = table.trim_end_matches('s');
        let (message, label) = match entry {
            "" => (format!("the name of the {what} is empty"), "empty"),
            _ => (format!("`{}` is not a name", entry.escape_debug()), "with spaces"),
        };
        let help = format!("names look like `{table} = {{ \"dev.acme.team\" = \"…\" }}`");
        check.push(check.source.key_problem(key, message, label, help));
    } else if entry == PACKAGES_ANNOTATION {
        let message = format!("`{PACKAGES_ANNOTATION}` is not yours to set");
        let label = "installers read it";
        check.push(check.source.key_problem(key, message, label, "remove it: rhdh-pack writes it itself"));
    }
}

/// RFC 6838: two names of at most 127 characters.
fn is_media_type(text: &str) -> bool {
    let is_name = |name: &str| {
        (1..=127).contains(&name.len())
            && name.starts_with(|first: char| first.is_ascii_alphanumeric())
            && name.chars().all(|character| character.is_ascii_alphanumeric() || "!#$&-^_.+".contains(character))
    };
    text.split_once('/').is_some_and(|(kind, name)| is_name(kind) && is_name(name))
}

/// Tells an installer which plugins an image holds.
const PACKAGES_ANNOTATION: &str = "io.backstage.dynamic-packages";

fn image(check: &mut Check<'_>, key: &[&str], image: Option<&str>) {
    let Some(image) = image.filter(|image| !is_image_name(image)) else { return };
    let last = image.rsplit('/').next().unwrap_or(image);
    let (label, help) = if image.contains('/') {
        let help = format!("the namespace stands in `oci` of a registry; here: `image = \"{}\"`", to_image_name(last));
        ("has a namespace", help)
    } else if image.len() > MAX_NAME {
        ("too long", format!("names have at most {MAX_NAME} characters"))
    } else {
        let help = format!(
            "names are lower-case letters and digits, with single `.`, `_` or `-` between them: `image = \"{}\"`",
            to_image_name(image)
        );
        ("not an image name", help)
    };
    check.report(&[key, &["image"]].concat(), format!("`{image}` cannot be the name of an image"), label, help);
}

/// A bundle's version: a literal, or with `{ID.version}` of plugins.
fn bundle_version(check: &mut Check<'_>, id: &str, text: &str, plugins: &HashSet<&str>) -> Option<Template> {
    let key = ["bundles", id, "version"];
    let is_variable = |name: &str| name.strip_suffix(".version").is_some_and(|plugin| plugins.contains(&plugin));
    let variables = || plugins.iter().map(|plugin| format!("{plugin}.version")).collect();
    check.template(&key, text, variables, is_variable)
}
