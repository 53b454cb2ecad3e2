//! `dynamic-plugins.yaml`: the entries that RHDH's installer takes, each plugin once, pinned by digest or
//! integrity; and the same for RHDH's Helm chart and its operator.

use serde::Serialize;

use super::{ArtifactResult, RunResult};

/// One entry of `plugins:`.
#[derive(Serialize)]
struct Entry<'a> {
    package: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    integrity: Option<&'a str>,
    disabled: bool,
    #[serde(rename = "pluginConfig", skip_serializing_if = "Option::is_none")]
    plugin_config: Option<&'a serde_json::Value>,
}

/// A place from which RHDH can install a plugin.
struct Place<'a> {
    package: String,
    integrity: Option<&'a str>,
    /// False for an archive that stands in the output folder only.
    published: bool,
}

/// The file's text. Every plugin of the run has one entry: its own image where it was pushed, else a bundle's, else
/// its archive; the other places stand beside it as comments, because RHDH would load a plugin with two entries twice.
///
/// # Errors
/// When a plugin's app-config cannot be written as YAML.
pub fn render(result: &RunResult) -> Result<String, serde_yaml::Error> {
    let mut local = false;
    let mut entries = String::new();
    for plugin in &result.plugins {
        let mut places = places(result, plugin).into_iter();
        let Some(first) = places.next() else { continue };
        local |= !first.published;
        let Place { package, integrity, .. } = first;
        let plugin_config = plugin.plugin_config.as_ref();
        let entry = serde_yaml::to_string(&[Entry { package, integrity, disabled: false, plugin_config }])?;
        entries.push_str(&format!("  # {} {}\n", plugin.id, plugin.version));
        for place in places {
            entries.push_str(&format!("  # or: {}\n", place.package));
            // RHDH's installer asks for it wherever it does not go by a digest.
            if let Some(integrity) = place.integrity {
                entries.push_str(&format!("  #     integrity: {integrity}\n"));
            }
        }
        for line in entry.lines() {
            entries.push_str(&format!("  {line}\n"));
        }
    }
    let mut text = String::from("# Dynamic plugins for Red Hat Developer Hub, written by rhdh-pack.\n");
    if local {
        text.push_str(
            "# Entries that begin with `./` were not pushed anywhere: copy their archives from the tgz/ folder beside\n\
             # this file to where RHDH's installer finds its dynamic-plugins.yaml. It looks there, not in its root.\n",
        );
    }
    text.push_str(if entries.is_empty() { "plugins: []\n" } else { "plugins:\n" });
    text.push_str(&entries);
    Ok(text)
}

/// Whether there is nothing that RHDH could install.
#[must_use]
pub fn is_empty(result: &RunResult) -> bool {
    result.plugins.iter().all(|plugin| places(result, plugin).is_empty())
}

/// The same as values of RHDH's Helm chart.
///
/// # Errors
/// As [`render`].
pub fn helm(result: &RunResult) -> Result<String, serde_yaml::Error> {
    Ok(format!("global:\n  dynamic:\n{}", indented(&render(result)?, 4)))
}

/// The same as the ConfigMap that a `Backstage` resource of RHDH's operator names in
/// `spec.application.dynamicPluginsConfigMapName`.
///
/// # Errors
/// As [`render`].
pub fn operator(result: &RunResult) -> Result<String, serde_yaml::Error> {
    Ok(format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: dynamic-plugins-rhdh\ndata:\n  dynamic-plugins.yaml: |\n    \
         includes:\n      - dynamic-plugins.default.yaml\n{}",
        indented(&render(result)?, 4)
    ))
}

fn indented(text: &str, by: usize) -> String {
    let margin = " ".repeat(by);
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("{margin}{line}\n") }).collect()
}

/// Where `plugin` can be installed from, best place first.
fn places<'a>(result: &'a RunResult, plugin: &'a ArtifactResult) -> Vec<Place<'a>> {
    let bundles = result.bundles.iter().filter(|bundle| bundle.members.contains(&plugin.id));
    let mut places = Vec::new();
    for artifact in std::iter::once(plugin).chain(bundles) {
        places.extend(artifact.published_images().map(|image| Place {
            package: format!("oci://{}!{}", image.reference, plugin.image_name),
            integrity: None,
            published: true,
        }));
    }
    places.extend(plugin.files.iter().filter_map(|file| {
        let package = file.url.clone()?;
        Some(Place { package, integrity: Some(file.integrity.as_str()), published: true })
    }));
    places.extend(plugin.npm.iter().map(|package| Place {
        package: format!("{}@{}", package.name, package.version),
        integrity: Some(package.integrity.as_str()),
        published: true,
    }));
    if places.is_empty()
        && let Some(tgz) = &plugin.tgz
        && let Some(name) = tgz.file.file_name()
    {
        places.push(Place {
            package: format!("./{}", name.to_string_lossy()),
            integrity: Some(tgz.integrity.as_str()),
            published: false,
        });
    }
    places
}
