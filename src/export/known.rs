//! The failures that are known, each by a text that it leaves in a log. A log comes in; what goes out is the failure's
//! code, what it really means, and what to do. The most particular comes first: one cause often shows as several.

use super::ExportFailure;
use super::failure::{Log, Scene};

/// The failure that the log shows, if it is a known one.
pub(super) fn recognise(log: &Log, scene: Scene<'_>) -> Option<ExportFailure> {
    let all = [machine, yarn_install, network, npm, typescript, packages, entry_point, command_line, bundling];
    all.iter().find_map(|known| known(log, scene))
}

/// What the machine lacks: disk, memory.
fn machine(log: &Log, _: Scene<'_>) -> Option<ExportFailure> {
    if log.line_with("ENOSPC").or_else(|| log.line_with("no space left on device")).is_some() {
        return Some(
            ExportFailure::new("no-space-left", "the disk is full")
                .with_help("free some space: `df -h` shows the disks; `yarn cache clean` empties yarn's cache"),
        );
    }
    log.line_with("JavaScript heap out of memory").map(|_| {
        ExportFailure::new("out-of-memory", "node ran out of memory").with_help(
            "give node more: `NODE_OPTIONS=--max-old-space-size=4096`; or run fewer exports at once: `--jobs 1`",
        )
    })
}

/// `yarn install`, in the workspace or in `dist-dynamic`.
fn yarn_install(log: &Log, scene: Scene<'_>) -> Option<ExportFailure> {
    let outdated = ["The lockfile would have been modified by this install", "Your lockfile needs to be updated"];
    if outdated.iter().any(|text| log.line_with(text).is_some()) {
        return Some(
            ExportFailure::new("lockfile-outdated", "`yarn.lock` does not fit the `package.json` files")
                .with_help("run `yarn install` and commit `yarn.lock`"),
        );
    }
    if let Some(variable) = log.after("Environment variable not found (") {
        let variable = variable.split(')').next().unwrap_or_default();
        return Some(
            ExportFailure::new(
                "variable-missing",
                format!("yarn's configuration names the variable `{variable}`, which is not set"),
            )
            .with_help(format!("set `{variable}`, or give it a default in `.yarnrc.yml`: `${{{variable}:-}}`")),
        );
    }
    let missing =
        log.lines.iter().find_map(|line| line.strip_prefix("Error: ")?.strip_suffix(": Package not found"))?;
    let name = missing.rfind('@').filter(|at| *at > 0).map_or(missing, |at| &missing[..at]);
    if (scene.in_workspace)(name) {
        return Some(not_embedded(name, scene));
    }
    let registry = log.after("Request URL: ").map(|url| format!(" ({url})")).unwrap_or_default();
    Some(
        ExportFailure::new("package-not-found", format!("the npm registry has no `{missing}`{registry}"))
            .with_help("check the name, the version and the registry in `.yarnrc.yml` or `.npmrc`"),
    )
}

/// The way to a registry.
fn network(log: &Log, _: Scene<'_>) -> Option<ExportFailure> {
    let certificate = [
        "SELF_SIGNED_CERT",
        "self-signed certificate",
        "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
        "unable to verify the first certificate",
        "unable to get local issuer certificate",
        "ERR_TLS_CERT_ALTNAME_INVALID",
        "CERT_NOT_YET_VALID",
        "CERT_HAS_EXPIRED",
    ];
    if let Some(line) = certificate.iter().find_map(|text| log.line_with(text)) {
        return Some(
            ExportFailure::new("certificate", format!("the npm registry's certificate is not trusted: {line}"))
                .with_help("name your certificate authority: `NODE_EXTRA_CA_CERTS=/path/to/ca.pem`"),
        );
    }
    let proxy = [
        "Proxy Authentication Required",
        "Bad response: 407",
        "code E407",
        "tunneling socket could not be established",
    ];
    if let Some(line) = proxy.iter().find_map(|text| log.line_with(text)) {
        return Some(
            ExportFailure::new("proxy", format!("the proxy on the way to the npm registry refused: {line}")).with_help(
                "check `HTTPS_PROXY` (`http://name:password@proxy:3128`), and list in `NO_PROXY` what needs no proxy",
            ),
        );
    }
    let changed = ["code EINTEGRITY", "doesn't match the expected checksum", "Integrity check failed"];
    if let Some(line) = changed.iter().find_map(|text| log.line_with(text)) {
        let line = log.line_with("Integrity checksum failed").unwrap_or(line);
        return Some(
            ExportFailure::new(
                "integrity-mismatch",
                format!("a package is not the one that the lock file names: {line}"),
            )
            .with_help("empty the caches (`yarn cache clean --all`), and ask who changed the package if it stays so"),
        );
    }
    let unreachable = [
        "ENOTFOUND",
        "EAI_AGAIN",
        "ECONNREFUSED",
        "ECONNRESET",
        "ETIMEDOUT",
        "ENETUNREACH",
        "EHOSTUNREACH",
        "Timeout awaiting",
    ];
    if let Some(line) = unreachable.iter().find_map(|text| log.line_with(text)) {
        let line = log.after("failed, reason: ").unwrap_or(line);
        let line = line.trim_start_matches("Error: ").trim_start_matches("RequestError: ");
        return Some(
            ExportFailure::new("registry-unreachable", format!("the npm registry cannot be reached: {line}"))
                .with_help("check the network, `HTTPS_PROXY`, and the registry in `.yarnrc.yml` or `.npmrc`"),
        );
    }
    let refused = ["Response Code: 401", "Response Code: 403", "Invalid authentication", "code E401", "code E403"];
    refused.iter().find_map(|text| log.line_with(text)).map(|line| {
        ExportFailure::new("registry-unauthorized", format!("the npm registry refused access: {line}"))
            .with_help("name the token in `.npmrc` or `.yarnrc.yml` as `${VARIABLE}` and set that variable: rhdh-pack passes on no other credentials")
    })
}

/// npm, which fetches yarn and the RHDH CLI.
fn npm(log: &Log, scene: Scene<'_>) -> Option<ExportFailure> {
    ["code ETARGET", "code E404"].iter().find_map(|code| log.line_with(code))?;
    let why = log.line_with("No matching version").or_else(|| log.line_with("Not Found"));
    let why = why.unwrap_or("not found").trim_start_matches("npm error ").trim_start_matches("notarget ");
    Some(ExportFailure::new("package-not-found", format!("`{}` failed: {why}", scene.command)).with_help(
        "check the version in `rhdh-plugins.toml` or `packageManager`, and the registry: `npm config get registry`",
    ))
}

/// `yarn tsc`, and what follows from leaving it out.
fn typescript(log: &Log, scene: Scene<'_>) -> Option<ExportFailure> {
    if log.line_with("No declaration files found").is_some() {
        let file = log
            .after("No declaration files found at ")
            .and_then(|rest| rest.split(',').next())
            .unwrap_or("`dist-types`");
        return Some(
            ExportFailure::new("types-missing", format!("there are no type declarations at `{file}`: `yarn tsc` has not run, or writes them elsewhere"))
                .with_help("leave out `--no-tsc`, and have the workspace's `tsc` script write declarations to `dist-types`: `\"tsc\": \"tsc\"`"),
        );
    }
    let errors: Vec<_> = log.lines.iter().filter(|line| line.contains("error TS")).collect();
    let first = errors.first()?.trim();
    let more = if errors.len() > 1 { format!(" (and {} more)", errors.len() - 1) } else { String::new() };
    Some(
        ExportFailure::new("typescript", format!("{first}{more}"))
            .with_help(format!("`{}` shows them all; mend the code, then try again", scene.command)),
    )
}

/// What belongs into a plugin and what does not.
fn packages(log: &Log, scene: Scene<'_>) -> Option<ExportFailure> {
    if log.line_with("maybe you should embed it").is_some() {
        let name =
            log.after("Workspace dependency ").and_then(|rest| rest.split_whitespace().next()).unwrap_or_default();
        return Some(not_embedded(name, scene));
    }
    if let Some(line) = log.line_with("doesn't satisfy dependency version requirement in parent package") {
        return Some(
            ExportFailure::new("embedded-version-mismatch", line.trim_start_matches("Error: ").trim_end_matches('.'))
                .with_help("let the dependency's range fit the version in the workspace: `\"workspace:^\"`"),
        );
    }
    if log.line_with("shared package(s) should not be part of the plugin private dependencies").is_some() {
        let shared = log.list_below("shared package(s) should not be part");
        let embed = log.list_below("to embed the following packages");
        let from = if embed.is_empty() { String::new() } else { format!(", brought along by {}", ticked(&embed)) };
        let message = format!("packages that RHDH provides became private dependencies: {}{from}", ticked(&shared));
        let unshared: Vec<_> = shared.iter().map(|name| format!("!{name}")).collect();
        let embedded = (!embed.is_empty()).then(|| add(scene, "embed-packages", &embed));
        let unshare = add(scene, "shared-packages", &unshared);
        let help =
            embedded.map_or(unshare.clone(), |embedded| format!("{embedded}\nor, to ship copies of them:\n{unshare}"));
        let help = format!("{help}\n{}", worked_out(scene));
        return Some(ExportFailure::new("shared-package-private", message).with_help(help));
    }
    if log.line_with("Dynamic plugins do not support native plugins").is_some() {
        let native = log.list_below("Dynamic plugins do not support native plugins");
        let suppress = add(scene, "suppress-native-packages", &native);
        let allow = add(scene, "allow-native-packages", &native);
        return Some(
            ExportFailure::new("native-package", format!("native modules cannot be part of a dynamic plugin: {}", ticked(&native)))
                .with_help(format!(
                    "where the plugin works without them:\n{suppress}\nor, where RHDH runs on the platform that you build on:\n{allow}\n{}",
                    worked_out(scene)
                )),
        );
    }
    let conflict = log
        .line_with("Several incompatible versions (")
        .or_else(|| log.line_with("conflicts with main module dependencies"))?;
    let name = ["transitive dependency ('", "of a dependency ('"].iter().find_map(|marker| conflict.split_once(marker));
    let name = name.and_then(|(_, rest)| rest.split('\'').next()).unwrap_or_default().to_owned();
    Some(
        ExportFailure::new(
            "version-conflict",
            conflict.trim_start_matches("Error: ").trim_end_matches(": cannot proceed!"),
        )
        .with_help(format!("make the ranges agree, or:\n{}", add(scene, "ignore-version-check", &[name]))),
    )
}

/// The backend's entry point, which the RHDH CLI loads.
fn entry_point(log: &Log, _: Scene<'_>) -> Option<ExportFailure> {
    if log.line_with("Backend plugin is not valid for dynamic loading").is_some() {
        return Some(
            ExportFailure::new("no-backend-feature", "the plugin has no default export that is a backend feature")
                .with_help("export it from `src/index.ts`, for the new backend system: `export { todoPlugin as default } from './plugin';`"),
        );
    }
    let cause = log.after("Unable to validate plugin entry points: ")?;
    let missing = cause.split_once("Cannot find module '").and_then(|(_, rest)| rest.split('\'').next());
    let failure = ExportFailure::new("entry-point", format!("the plugin's entry point cannot be loaded: {cause}"));
    Some(match missing {
        Some(module) if !module.starts_with(['.', '/']) => {
            failure.with_help(format!("move `{module}` from `devDependencies` to `dependencies`: yarn add {module}"))
        }
        _ => failure,
    })
}

/// How the RHDH CLI and the scripts are called.
fn command_line(log: &Log, scene: Scene<'_>) -> Option<ExportFailure> {
    if let Some(option) = log.after("error: unknown option ") {
        let option = option.trim_matches('\'');
        return Some(
            ExportFailure::new("unknown-option", format!("this RHDH CLI has no option `{option}`")).with_help(
                "options differ by release: mend `export-args`, or choose another RHDH CLI: `[rhdh] cli = \"…\"`",
            ),
        );
    }
    if log.line_with("is not compatible with the backstage version").is_some() {
        let versions = log.after("specified in the backstage.json file: ").unwrap_or_default().trim_end_matches('.');
        return Some(
            ExportFailure::new("supported-versions", format!("`backstage.supported-versions` of the plugin excludes the Backstage version of `backstage.json`: {versions}"))
                .with_help("widen `backstage.supported-versions` in the plugin's `package.json`, or remove it: it is filled in from `backstage.json`"),
        );
    }
    let script = log.after("Couldn't find a script named \"").and_then(|rest| rest.split('"').next());
    if let Some(script) = script {
        let value = if script == "tsc" { "tsc" } else { "backstage-cli package build" };
        return Some(
            ExportFailure::new(
                "script-missing",
                format!("`{}` failed: there is no script `{script}` in `package.json`", scene.command),
            )
            .with_help(format!("add it to `scripts`: `\"{script}\": \"{value}\"`")),
        );
    }
    let missing = log.after("command not found: ").and_then(|rest| rest.split_whitespace().next());
    missing.map(|missing| {
        let package = if missing == "backstage-cli" { "@backstage/cli" } else { missing };
        ExportFailure::new(
            "command-missing",
            format!("`{}` failed: the package has no command `{missing}`", scene.command),
        )
        .with_help(format!("add the package that brings it to its `devDependencies`: `yarn add -D {package}`"))
    })
}

/// webpack and rspack, for frontends.
fn bundling(log: &Log, _: Scene<'_>) -> Option<ExportFailure> {
    let line = log.line_with("Module not found: ")?;
    let (_, what) = line.split_once("Module not found: ")?;
    let what = what.trim_start_matches("Error: ");
    let module = what.split_once("resolve '").and_then(|(_, rest)| rest.split('\'').next()).unwrap_or_default();
    let failure = ExportFailure::new("module-not-found", format!("the bundler failed: {}", lower_first(what)));
    Some(if module.starts_with(['.', '/']) || module.is_empty() {
        failure
    } else {
        failure.with_help(format!("add it to the plugin's `dependencies`: `yarn add {module}`"))
    })
}

fn not_embedded(name: &str, scene: Scene<'_>) -> ExportFailure {
    let message = format!("the workspace package `{name}` is a dependency of the plugin, but is not embedded in it");
    ExportFailure::new("package-not-embedded", message).with_help(format!(
        "{}\n{}",
        add(scene, "embed-packages", &[name.to_owned()]),
        worked_out(scene)
    ))
}

/// One export says only what is wrong first; the lock file says the rest.
fn worked_out(scene: Scene<'_>) -> String {
    let id = scene.plugin.map_or("", |plugin| &plugin.id);
    format!(
        "`{}` says what else the plugin needs, before the next export does",
        format!("rhdh-pack suggest {id}").trim_end()
    )
}

/// The lines of `rhdh-plugins.toml` that give `key` these values beside those that it has.
fn add(scene: Scene<'_>, key: &str, values: &[String]) -> String {
    let (id, had): (&str, &[String]) = scene.plugin.map_or(("…", &[]), |plugin| {
        let had: &[String] = match key {
            "embed-packages" => &plugin.embed_packages,
            "shared-packages" => &plugin.shared_packages,
            "suppress-native-packages" => &plugin.suppress_native_packages,
            "allow-native-packages" => &plugin.allow_native_packages,
            "ignore-version-check" => &plugin.ignore_version_check,
            _ => &[],
        };
        (&plugin.id, had)
    });
    let new = values.iter().filter(|value| !had.contains(value));
    let array: Vec<_> = had.iter().chain(new).map(|value| toml::Value::from(value.as_str()).to_string()).collect();
    let bare = id.chars().all(|character| character.is_ascii_alphanumeric() || "-_".contains(character));
    let id = if bare { id.to_owned() } else { toml::Value::from(id).to_string() };
    let what = if had.is_empty() { "add to" } else { "change in" };
    format!("{what} `rhdh-plugins.toml`:\n[plugins.{id}]\n{key} = [{}]", array.join(", "))
}

fn ticked(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_lowercase().chain(characters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
