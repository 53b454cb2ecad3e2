//! What is known of an image, for people: a line each.

use std::fmt::Write as _;

use super::{Inspection, Plugin};
use crate::ui::human_size;

impl Inspection {
    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", plain(&self.artifact));
        let mut line = |name: &str, value: &str| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {name:<12} {}", plain(value));
        };
        line("digest", self.digest.as_str());
        if self.image != self.digest {
            line("image", self.image.as_str());
        }
        line("size", &human_size(self.size));
        let mut optional = |name: &str, value: Option<&String>| {
            if let Some(value) = value {
                line(name, value);
            }
        };
        optional("created", self.created.as_ref());
        optional("content key", self.content_key.as_ref());
        let shown = ["title", "version", "description", "licenses", "source", "url", "vendor"];
        for name in shown {
            optional(name, self.annotations.get(&format!("org.opencontainers.image.{name}")));
        }
        for (name, value) in self.labels.iter().filter(|(name, _)| !name.starts_with("org.opencontainers.image.")) {
            line("label", &format!("{name}={value}"));
        }
        for plugin in &self.plugins {
            let Plugin { dir, name, version, role } = plugin;
            line("plugin", &format!("{dir}: {name} {version} ({role})"));
        }
        if let Some(sbom) = &self.sbom {
            let mut licenses: Vec<(&String, &usize)> = sbom.licenses.iter().collect();
            licenses.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), *name));
            let rest: usize = licenses.iter().skip(8).map(|(_, count)| **count).sum();
            let mut parts: Vec<String> =
                licenses.iter().take(8).map(|(name, count)| format!("{name} {count}")).collect();
            if rest > 0 {
                parts.push(format!("others {rest}"));
            }
            let many = if sbom.components == 1 { "" } else { "s" };
            let rest = if sbom.incomplete { " (not all: what frontends bundle is not listed)" } else { "" };
            line("SBOM", &format!("{} component{many}: {}{rest}", sbom.components, parts.join(", ")));
        }
        if let Some(provenance) = &self.provenance {
            let signed = if provenance.signed { " (signed; not verified here)" } else { "" };
            let builder = provenance.builder.as_deref().unwrap_or("a builder without a name");
            line("built by", &format!("{builder}{signed}"));
            let mut optional = |name: &str, value: Option<&String>| {
                if let Some(value) = value {
                    line(name, value);
                }
            };
            optional("run", provenance.invocation.as_ref());
            optional("started", provenance.started.as_ref());
            optional("commit", provenance.commit.as_ref());
            provenance.inputs.iter().for_each(|input| line("input", input));
            let parameters = provenance.parameters.as_object().into_iter().flatten();
            for (name, value) in parameters {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                line("parameter", &format!("{name}: {value}"));
            }
        }
        if self.signatures > 0 {
            line("signatures", &format!("{} (not verified here: `cosign verify` does)", self.signatures));
        }
        self.missing.iter().for_each(|missing| line("missing", missing));
        text
    }
}

/// Words that anybody may have written, for one line of a terminal.
fn plain(text: &str) -> String {
    let mut shown: String =
        text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(400).collect();
    if text.chars().nth(400).is_some() {
        shown.push('…');
    }
    shown
}
