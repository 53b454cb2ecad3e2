//! From the tables of registries to their effective values, each checked where it is written.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use super::Registry;
use super::check::Check;
use super::format::{self, File};
use super::names::{is_oci_prefix, is_public_npm, to_oci_prefix, url_fault};
use super::paths::Target;
use super::template::{TAG_VARIABLES, Template};
use crate::repo_path::RepoPath;

/// What `npm` says where each package names its registry itself.
const PUBLISH_CONFIG: &str = "publishConfig";

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

/// The files of `ca`, by the registry's name.
pub(super) fn authorities(check: &mut Check<'_>, file: &File) -> BTreeMap<String, RepoPath> {
    let mut authorities = BTreeMap::new();
    for (id, own) in file.registries.iter().flatten() {
        let Some(text) = &own.ca else { continue };
        let key = ["registries", id, "ca"];
        if text.starts_with('/') && !std::path::Path::new(text).starts_with(check.root) {
            let variable = format!("{}_CA", crate::registry::variable_prefix(id));
            let help = format!("commit the file, and name it from here; or set `{variable}={text}` where it is used");
            check.report(&key, format!("`{text}` is outside of the repository"), "an absolute path", help);
        } else if let Some(path) = check.path(&key, text, Target::File) {
            authorities.insert(id.clone(), path);
        }
    }
    authorities
}

fn registry(check: &mut Check<'_>, id: &str, own: &format::Registry) -> Option<Registry> {
    let table = ["registries", id];
    let kinds = [
        ("oci", own.oci.is_some()),
        ("npm", own.npm.is_some()),
        ("dir", own.dir.is_some()),
        ("github-release", own.github_release.is_some()),
        ("gitlab-packages", own.gitlab_packages.is_some()),
    ];
    let kinds: Vec<&str> = kinds.into_iter().filter_map(|(kind, there)| there.then_some(kind)).collect();
    needless_keys(check, id, own, &kinds);
    match kinds.as_slice() {
        ["oci"] => oci(check, id, own.oci.as_deref()?, own.insecure.unwrap_or(false)),
        ["npm"] => npm(check, id, own.npm.as_deref()?, own.allow_public.unwrap_or(false)),
        ["dir"] => {
            // What is wrong is reported, so a URL that is left out goes nowhere.
            let base_url = own.base_url.as_ref().and_then(|text| url(check, &["registries", id, "base-url"], text));
            let path = check.path(&["registries", id, "dir"], own.dir.as_deref()?, Target::NewFolder)?;
            Some(Registry::Dir { path, base_url })
        }
        ["github-release"] => {
            let repository = forge_path(check, id, "github-release", own.github_release.as_deref()?)?;
            let tag = own.tag.as_deref().map(|text| tag(check, id, text));
            // One that is wrong is reported.
            Some(Registry::GitHubRelease { repository, tag: tag.flatten() })
        }
        ["gitlab-packages"] => {
            let project = forge_path(check, id, "gitlab-packages", own.gitlab_packages.as_deref()?)?;
            Some(Registry::GitLabPackages { project })
        }
        [] => {
            if check.is_whole(&table) {
                let help = "add one of `oci = \"quay.io/…\"`, `npm = \"https://…\"`, `dir = \"…\"`, \
                            `github-release = \"owner/name\"` and `gitlab-packages = \"group/project\"`";
                check.report(&table, format!("registry `{id}` is of no kind"), "names no place", help);
            }
            None
        }
        several => {
            let listed = several.iter().map(|kind| format!("`{kind}`")).collect::<Vec<_>>().join(" and ");
            let help = format!("make each a registry of its own: `[registries.{id}-{}]`", several[several.len() - 1]);
            check.report(&table, format!("registry `{id}` has {listed}"), "must have one of them", help);
            None
        }
    }
}

/// Reports keys that say nothing for a registry of these kinds.
fn needless_keys(check: &mut Check<'_>, id: &str, own: &format::Registry, kinds: &[&str]) {
    if !check.is_whole(&["registries", id]) {
        return;
    }
    let base_url = own.base_url.as_ref().map(|url| {
        format!("`base-url` says where the files of a folder are found: `dir = \"…\"`, `base-url = \"{url}\"`")
    });
    let needless = [
        ("base-url", "dir", base_url),
        ("insecure", "oci", own.insecure.map(|_| "remove it: for other registries the URL says what to do".to_owned())),
        ("allow-public", "npm", own.allow_public.map(|_| "remove it: it is about npm registries".to_owned())),
        ("tag", "github-release", own.tag.as_ref().map(|_| "remove it: tags stand in `[channels.…]`".to_owned())),
    ];
    for (key, kind, help) in needless {
        if let Some(help) = help.filter(|_| !kinds.contains(&kind)) {
            let message = format!("`{key}` of registry `{id}` has no `{kind}`");
            let label = format!("only with `{kind}`");
            check.push(check.source.key_problem(&["registries", id, key], message, label, help));
        }
    }
    if own.ca.is_some() && kinds == ["dir"] {
        let message = format!("`ca` of registry `{id}` is for nothing");
        check.push(check.source.key_problem(&["registries", id, "ca"], message, "not with `dir`", "remove it"));
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

fn npm(check: &mut Check<'_>, id: &str, text: &str, allow_public: bool) -> Option<Registry> {
    if text == PUBLISH_CONFIG {
        return Some(Registry::Npm { url: None, allow_public });
    }
    let key = ["registries", id, "npm"];
    let url = url(check, &key, text)?;
    if is_public_npm(&url) && !allow_public {
        let help = "name a registry of your own: RHDH's documentation says to keep dynamic plugins off the public one; \
                    if they must go there, add `allow-public = true`";
        check.report(&key, format!("`{text}` is the public npm registry"), "everybody can read it", help);
        return None;
    }
    Some(Registry::Npm { url: Some(url), allow_public })
}

/// Checks `owner/name` of GitHub, or the path or number of a project on GitLab.
fn forge_path(check: &mut Check<'_>, id: &str, key: &'static str, text: &str) -> Option<String> {
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with(['.', '-'])
            && name.chars().all(|character| character.is_ascii_alphanumeric() || "-_.".contains(character))
    };
    let is_path = |text: &str| match key {
        "github-release" => text.split('/').count() == 2 && text.split('/').all(is_name),
        _ => {
            text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty()
                || text.split('/').count() > 1 && text.split('/').all(is_name)
        }
    };
    if is_path(text) {
        return Some(text.to_owned());
    }
    // Most who write a whole URL want the path of it.
    let path = text.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map(|(_, path)| path);
    let path = path.map(|path| path.trim_end_matches('/').trim_end_matches(".git")).filter(|path| is_path(path));
    let (what, example) = match key {
        "github-release" => ("a repository on GitHub", "owner/name"),
        _ => ("a project on GitLab", "group/project"),
    };
    let help = format!("write `{key} = \"{}\"`", path.unwrap_or(example));
    check.report(&["registries", id, key], format!("`{text}` is not {what}"), format!("not like `{example}`"), help);
    None
}

fn tag(check: &mut Check<'_>, id: &str, text: &str) -> Option<Template> {
    let variables = || TAG_VARIABLES.map(str::to_owned).to_vec();
    check.template(&["registries", id, "tag"], text, variables, |name| TAG_VARIABLES.contains(&name))
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
