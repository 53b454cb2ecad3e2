//! From the tables of releases, inputs, registries and channels to their effective values, each checked where it
//! is written.

use indexmap::IndexMap;

use super::check::{Check, Named};
use super::format::{self, File};
use super::names::{is_exact_version, is_oci_prefix, to_oci_prefix, url_fault};
use super::paths::Target;
use super::template::TAG_VARIABLES;
use super::{Attachment, Channel, Inputs, Occasion, Registry, Rhdh};

/// The RHDH release that a configuration without `[rhdh]` is for.
pub const DEFAULT_RHDH: &str = "1.9";
const DEFAULT_GLOBAL: [&str; 3] = ["tsconfig.json", ".yarnrc.yml", "backstage.json"];
const DEFAULT_IGNORE: [&str; 3] = ["**/*.md", "**/*.test.*", "dev/**"];

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

/// `[registries.…]`, without those that are wrong.
pub(super) fn registries(check: &mut Check<'_>, file: &File) -> IndexMap<String, Registry> {
    let mut registries = IndexMap::new();
    for (id, own) in file.registries.iter().flatten() {
        check.name(&["registries", id], id);
        if let Some(registry) = registry(check, id, own) {
            registries.insert(id.clone(), registry);
        }
    }
    registries
}

fn registry(check: &mut Check<'_>, id: &str, own: &format::Registry) -> Option<Registry> {
    let table = ["registries", id];
    if let Some(wrong) = own.base_url.as_ref().filter(|_| own.dir.is_none() && check.is_whole(&table)) {
        let message = format!("`base-url` of registry `{id}` has no `dir`");
        let help =
            format!("`base-url` says where the files of a folder are found: `dir = \"…\"`, `base-url = \"{wrong}\"`");
        check.push(check.source.key_problem(&["registries", id, "base-url"], message, "only with `dir`", help));
    }
    if own.insecure.is_some() && own.oci.is_none() && check.is_whole(&table) {
        let message = format!("`insecure` of registry `{id}` has no `oci`");
        let help = "remove it: for other registries the URL says what to do";
        check.push(check.source.key_problem(&["registries", id, "insecure"], message, "only with `oci`", help));
    }
    match (&own.oci, &own.npm, &own.dir) {
        (Some(prefix), None, None) => oci(check, id, prefix, own.insecure.unwrap_or(false)),
        (None, Some(text), None) => url(check, &["registries", id, "npm"], text).map(|url| Registry::Npm { url }),
        (None, None, Some(text)) => {
            // What is wrong is reported, so a URL that is left out goes nowhere.
            let base_url = own.base_url.as_ref().and_then(|text| url(check, &["registries", id, "base-url"], text));
            let path = check.path(&["registries", id, "dir"], text, Target::NewFolder)?;
            Some(Registry::Dir { path, base_url })
        }
        (None, None, None) => {
            if check.is_whole(&table) {
                let help = "add one of `oci = \"quay.io/…\"`, `npm = \"https://…\"` and `dir = \"…\"`";
                check.report(&table, format!("registry `{id}` is of no kind"), "none of `oci`, `npm` and `dir`", help);
            }
            None
        }
        _ => {
            let kinds = [("oci", own.oci.is_some()), ("npm", own.npm.is_some()), ("dir", own.dir.is_some())];
            let kinds: Vec<&str> = kinds.into_iter().filter_map(|(kind, there)| there.then_some(kind)).collect();
            let listed = kinds.iter().map(|kind| format!("`{kind}`")).collect::<Vec<_>>().join(" and ");
            let help = format!("make each a registry of its own: `[registries.{id}-{}]`", kinds[kinds.len() - 1]);
            check.report(&table, format!("registry `{id}` has {listed}"), "must have one of them", help);
            None
        }
    }
}

fn oci(check: &mut Check<'_>, id: &str, prefix: &str, insecure: bool) -> Option<Registry> {
    if is_oci_prefix(prefix) {
        return Some(Registry::Oci { prefix: prefix.to_owned(), insecure });
    }
    let help = match to_oci_prefix(prefix) {
        Some(fixed) if prefix.starts_with("http://") => {
            format!("without scheme: `oci = \"{fixed}\"`; for plain HTTP add `insecure = true`")
        }
        Some(fixed) => format!("write `oci = \"{fixed}\"`"),
        None => {
            "name a host and a namespace, in lower case, without scheme and tag: `oci = \"quay.io/acme\"`".to_owned()
        }
    };
    let label = if prefix.contains("://") { "has a scheme" } else { "not like `host/namespace`" };
    check.report(&["registries", id, "oci"], format!("`{prefix}` is not an OCI registry and namespace"), label, help);
    None
}

/// Checks a URL; what comes back has no `/` at its end.
fn url(check: &mut Check<'_>, key: &[&str], text: &str) -> Option<String> {
    let Some(fault) = url_fault(text) else { return Some(text.trim_end_matches('/').to_owned()) };
    let name = key.last().copied().unwrap_or_default();
    // A password in the file is no reason to show it in a log too, but the line must be found.
    let shown = if fault == "holds credentials" { check.source.subject(key) } else { format!("`{text}`") };
    let help = match (fault, text.contains("://")) {
        ("holds credentials", _) => "remove them, and change them: what was committed is no secret".to_owned(),
        (_, false) => format!("write `{name} = \"https://{text}\"`"),
        _ => format!("write `{name} = \"https://…\"`"),
    };
    check.report(key, format!("{shown} {fault}"), "not a URL to use here", help);
    None
}

/// `[channels.…]`
pub(super) fn channels(check: &mut Check<'_>, file: &File) -> IndexMap<String, Channel> {
    let variables = || TAG_VARIABLES.map(str::to_owned).to_vec();
    let mut channels = IndexMap::new();
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
        // it for releases only.
        let default = if overwrite { Vec::new() } else { vec![Attachment::Sbom, Attachment::Provenance] };
        let attach = own.attach.clone().unwrap_or(default);
        let sign = own.sign.unwrap_or(false);
        channels.insert(id.clone(), Channel { on, tags, overwrite, registries, promote_from, attach, sign });
    }
    channels
}
