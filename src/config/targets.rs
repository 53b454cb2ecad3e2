//! From the tables of releases, inputs and channels to their effective values, each checked where it is written.

use std::collections::HashSet;

use indexmap::IndexMap;

use super::check::{Check, Named};
use super::format::File;
use super::names::is_exact_version;
use super::template::TAG_VARIABLES;
use super::{Attachment, Channel, Inputs, Occasion, Rhdh};

/// The RHDH release that a configuration without `[rhdh]` is for.
pub const DEFAULT_RHDH: &str = "1.9";
/// `global` of a configuration without it.
pub const DEFAULT_GLOBAL: [&str; 3] = ["tsconfig.json", ".yarnrc.yml", "backstage.json"];
/// `ignore` of a configuration without it.
pub const DEFAULT_IGNORE: [&str; 3] = ["**/*.md", "**/*.test.*", "dev/**"];

/// `[rhdh]`
pub(super) fn rhdh(check: &mut Check<'_>, file: &File) -> Rhdh {
    let own = file.rhdh.clone().unwrap_or_default();
    if let Some(version) = own.version.as_deref().filter(|version| !is_release(version)) {
        let nearest: Vec<&str> = version.trim_start_matches(['v', '~', '^']).splitn(3, '.').take(2).collect();
        let nearest = Some(nearest.join(".")).filter(|release| is_release(release));
        let release = nearest.unwrap_or_else(|| DEFAULT_RHDH.to_owned());
        let help =
            format!("name the release by two numbers: `version = \"{release}\"`; `cli` pins the RHDH CLI exactly");
        check.report(&["rhdh", "version"], format!("`{version}` is not an RHDH release"), "not like `1.9`", help);
    }
    if let Some(cli) = own.cli.as_deref().filter(|cli| !is_exact_version(cli)) {
        let help = "name one version, such as `cli = \"1.9.1\"`; for any of a release, write `version = \"1.9\"` alone";
        check.report(&["rhdh", "cli"], format!("`{cli}` is not an exact version"), "not like `1.9.1`", help);
    }
    Rhdh { version: own.version.unwrap_or_else(|| DEFAULT_RHDH.to_owned()), cli: own.cli }
}

fn is_release(text: &str) -> bool {
    let is_number = |part: &str| {
        (1..=4).contains(&part.len())
            && part.chars().all(|character| character.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    text.split_once('.').is_some_and(|(major, minor)| is_number(major) && is_number(minor))
}

/// `[inputs]`
pub(super) fn inputs(check: &mut Check<'_>, file: &File) -> Inputs {
    let own = file.inputs.clone().unwrap_or_default();
    check.globs(&["inputs", "global"], own.global.as_deref().unwrap_or_default());
    check.globs(&["inputs", "ignore"], own.ignore.as_deref().unwrap_or_default());
    Inputs {
        global: own.global.unwrap_or_else(|| DEFAULT_GLOBAL.map(str::to_owned).to_vec()),
        ignore: own.ignore.unwrap_or_else(|| DEFAULT_IGNORE.map(str::to_owned).to_vec()),
        memory: own.memory.unwrap_or(true),
        on_unknown_base: own.on_unknown_base.unwrap_or_default(),
    }
}

/// `[channels.…]`
pub(super) fn channels(check: &mut Check<'_>, file: &File) -> IndexMap<String, Channel> {
    let variables = || TAG_VARIABLES.map(str::to_owned).to_vec();
    let mut channels = IndexMap::new();
    let promoted: HashSet<&String> =
        file.channels.iter().flatten().flat_map(|(_, own)| own.promote_from.iter().flatten()).collect();
    for (id, own) in file.channels.iter().flatten() {
        check.name(&["channels", id], id);
        let on = own.on.clone().map_or_else(Vec::new, |on| on.0);
        for (index, occasion) in on.iter().enumerate() {
            // Where `on` is a single value, it has no index: the place falls back to it.
            let index = check.entry(&["channels", id, "on"], index);
            match occasion {
                Occasion::Branch(glob) | Occasion::Tag(glob) => check.glob(&["channels", id, "on", &index], glob),
                Occasion::PullRequest | Occasion::Schedule | Occasion::Manual => {}
            }
        }
        let tags = own.tags.as_deref().unwrap_or_default();
        check.once(&["channels", id, "tags"], tags);
        let tags = tags.iter().enumerate().filter_map(|(index, text)| {
            let index = check.entry(&["channels", id, "tags"], index);
            let key = ["channels", id, "tags", &index];
            check.template(&key, text, variables, |name| TAG_VARIABLES.contains(&name))
        });
        let tags = tags.collect();
        check.names(&["channels", id, "registries"], own.registries.as_deref().unwrap_or_default(), Named::Registry);
        let promote_from = own.promote_from.clone().unwrap_or_default();
        check.names(&["channels", id, "promote-from"], &promote_from, Named::Channel);
        let (overwrite, registries) = (own.overwrite.unwrap_or(false), own.registries.clone());
        let attach = own.attach.as_deref().unwrap_or_default();
        let names: Vec<String> = attach.iter().map(|attachment| attachment.as_str().to_owned()).collect();
        check.once(&["channels", id, "attach"], &names);
        // A tag that moves on leaves its image, and what is attached to it, to the registry's garbage collection: worth
        // it for releases only, and for what may become one.
        let is_release = !overwrite || promoted.contains(id);
        let default = if is_release { vec![Attachment::Sbom, Attachment::Provenance] } else { Vec::new() };
        let attach = own.attach.clone().unwrap_or(default);
        let sign = own.sign.unwrap_or(false);
        channels.insert(id.clone(), Channel { on, tags, overwrite, registries, promote_from, attach, sign });
    }
    channels
}
