//! The text of a draft: short, and with the comments that lead on from there.

use std::fmt::Write as _;

use super::{Draft, DraftBundle, DraftPlugin};

/// The text of `rhdh-plugins.toml`.
#[must_use]
pub fn render(draft: &Draft) -> String {
    let mut text = String::from(
        "#:schema ./rhdh-plugins.schema.json\n# What rhdh-pack builds from this repository. Every key: `rhdh-pack schema`, or docs/configuration.md of rhdh-pack.\n",
    );
    // Writing to a string does not fail.
    let _ = write!(text, "\n[rhdh]\n# The RHDH release that the plugins are for.\nversion = {}\n", quoted(&draft.rhdh));
    if let Some(cli) = &draft.cli {
        let _ = writeln!(text, "cli = {}", quoted(cli));
    }
    text.push_str(&targets(draft.registry.as_deref(), &draft.branch));
    for (id, plugin) in &draft.plugins {
        text.push_str(&plugin_table(id, plugin));
    }
    for (id, bundle) in &draft.bundles {
        text.push_str(&bundle_table(id, bundle));
    }
    text
}

fn targets(registry: Option<&str>, branch: &str) -> String {
    let branch = quoted(branch);
    let Some(registry) = registry else {
        return format!(
            "\n# Without a registry, images and archives stay in .rhdh-pack/. To push them:\n#\n#     [defaults]\n#     registries = [\"main\"]\n#\n#     [registries.main]\n#     oci = \"quay.io/acme\"\n#\n#     [channels.next]\n#     on = {{ branch = {branch} }}\n#     tags = [\"next__{{version}}\", \"next\"]\n#     overwrite = true\n"
        );
    };
    format!(
        "\n[defaults]\nregistries = [\"main\"]\n\n[registries.main]\n# Images go to {registry}/<image>.\noci = {}\n\n\
         # Pushes to the branch: tags that move.\n[channels.next]\non = {{ branch = {branch} }}\ntags = [\"next__{{version}}\", \"next\"]\noverwrite = true\n\n\
         # Releases: tags that stay.\n[channels.release]\non = {{ tag = \"v*\" }}\ntags = [\"{{version}}\"]\n\n\
         # Pull requests are built, and pushed nowhere. To push them, give them a registry of their own:\n#\n#     [registries.pr]\n#     oci = \"quay.io/acme-pr\"\n#\n#     [channels.pr]\n#     on = \"pull-request\"\n#     tags = [\"pr_{{pr}}__{{version}}\"]\n#     overwrite = true\n#     registries = [\"pr\"]\n",
        quoted(registry)
    )
}

fn plugin_table(id: &str, plugin: &DraftPlugin) -> String {
    let path = if plugin.path.as_str().is_empty() { "." } else { plugin.path.as_str() };
    let mut text = format!("\n[plugins.{}]\npath = {}\n", key(id), quoted(path));
    for (name, value) in &plugin.texts {
        let _ = writeln!(text, "{name} = {}", quoted(value));
    }
    for (name, values) in &plugin.lists {
        let _ = writeln!(text, "{name} = {}", list(values));
    }
    text
}

fn bundle_table(id: &str, bundle: &DraftBundle) -> String {
    let mut text =
        format!("\n# One image with all of them.\n[bundles.{}]\nplugins = {}\n", key(id), list(&bundle.plugins));
    if let Some(image) = &bundle.image {
        let _ = writeln!(text, "image = {}", quoted(image));
    }
    if let Some(plugin) = &bundle.version_of {
        let _ = writeln!(text, "version = {}", quoted(&format!("{{{plugin}.version}}")));
    }
    text
}

fn list(values: &[String]) -> String {
    format!("[{}]", values.iter().map(|value| quoted(value)).collect::<Vec<_>>().join(", "))
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// An id as the part of a table's name: ids may have dots.
fn key(id: &str) -> String {
    if id.contains('.') { quoted(id) } else { id.to_owned() }
}
