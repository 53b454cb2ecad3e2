//! The workspaces and the history that a run starts from.

use std::path::{Path, PathBuf};

use super::{Area, Finding, counted, listed};
use crate::ci::Ci;
use crate::plan;
use crate::rhdh::{self, Release};
use crate::workspace::package_json::is_package_name;
use crate::workspace::{Lockfile, PackageJson, Root, Workspace, Workspaces};

const HERE: Area = Area::Repository;

/// What is to be said about the workspaces; `release` is the RHDH release `rhdh`, where its figures are known.
#[must_use]
pub fn workspaces(workspaces: &Workspaces, rhdh: &str, release: Option<&Release>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if release.is_none() {
        let known: Vec<&str> = rhdh::releases().collect();
        findings.push(HERE.warn(
            "RHDH release",
            format!("nothing is known of RHDH {rhdh}: versions were not compared"),
            format!("known are {}; a later rhdh-pack may know more", listed(known)),
        ));
    }
    for workspace in workspaces.by_path.values() {
        let of = |what: &str| match workspaces.by_path.len() {
            1 => what.to_owned(),
            _ => format!("{what} of `{}`", workspace.path),
        };
        findings.push(installed(&of("yarn install"), workspaces, workspace));
        findings.extend(release.map(|release| backstage(&of("Backstage"), workspace, rhdh, release)));
    }
    findings
}

fn backstage(what: &str, workspace: &Workspace, rhdh: &str, release: &Release) -> Finding {
    let Some(own) = &workspace.backstage else {
        let help = format!(
            "write `{{ \"version\": \"{}\" }}` into it, or the version that the workspace is on",
            release.backstage
        );
        return HERE.warn(what, "there is no `backstage.json`: nobody knows which Backstage the plugins are for", help);
    };
    let text = format!("{own}; RHDH {rhdh} is built on {}", release.backstage);
    match (rhdh::line(own), rhdh::line(&release.backstage)) {
        (Some(line), Some(theirs)) if line <= theirs => HERE.ok(what, text),
        (Some(_), _) => {
            let fits = rhdh::release_for(own);
            let fits = fits.map_or_else(String::new, |fits| format!(", or set `[rhdh] version = \"{fits}\"`"));
            HERE.warn(
                what,
                format!("{text}: the plugins may use what is not there"),
                format!(
                    "go back to Backstage {} (`yarn backstage-cli versions:bump --release {0}`){fits}",
                    release.backstage
                ),
            )
        }
        (None, _) => HERE.warn(
            what,
            format!("`backstage.json` says `{own}`, which is no version"),
            "write one, such as `1.45.3`",
        ),
    }
}

/// Whether what yarn has installed is what the lock file says, as far as the workspace asks for it directly.
fn installed(what: &str, workspaces: &Workspaces, workspace: &Workspace) -> Finding {
    let root = workspace.path.under(&workspaces.root);
    let install = "every run begins with `yarn install`; run it yourself to see what it says";
    if root.join(".pnp.cjs").exists() {
        return HERE.failed(
            what,
            "yarn installs with Plug'n'Play, and the RHDH CLI needs `node_modules`",
            "set `nodeLinker: node-modules` in `.yarnrc.yml`, run `yarn install`, and commit both",
        );
    }
    if !root.join("node_modules").is_dir() {
        return HERE.ok(what, "nothing is installed yet: the first run does it");
    }
    let shown = if workspace.path.is_root() { "yarn.lock".to_owned() } else { format!("{}/yarn.lock", workspace.path) };
    let lock = fs_err::read(root.join("yarn.lock"));
    let lock = lock.map_err(|error| error.to_string()).and_then(|text| {
        let resolutions = workspace.manifest.ranges("resolutions");
        Lockfile::parse(&text, &shown, resolutions).map_err(|error| error.to_string())
    });
    let lock = match lock {
        Ok(lock) => lock,
        Err(why) => return HERE.failed(what, why, format!("run `yarn install` and commit `{shown}`")),
    };
    let (mut other, mut unlocked, mut seen) = (Vec::new(), Vec::new(), 0_usize);
    for package in workspace.packages.values() {
        let dependant = package.manifest.name.as_deref().unwrap_or_default();
        let folder = package.path.under(&workspaces.root);
        for (name, range) in package.manifest.ranges("dependencies").chain(package.manifest.ranges("devDependencies")) {
            if workspace.named(name).is_some() {
                continue;
            }
            let Some(locked) = lock.locked(Root::new(dependant, name, range)).next() else {
                if !["workspace:", "link:", "portal:", "file:"].iter().any(|local| range.starts_with(local)) {
                    unlocked.push(format!("{name}@{range}"));
                }
                continue;
            };
            seen += 1;
            let found = version_in(&[folder.clone(), root.clone()], name);
            if found.as_deref() != Some(locked.version) {
                other.push(format!("{name} {} (locked: {})", found.as_deref().unwrap_or("missing"), locked.version));
            }
        }
    }
    other.sort();
    other.dedup();
    if !unlocked.is_empty() {
        unlocked.sort();
        unlocked.dedup();
        let text = format!(
            "`{shown}` does not fit the `package.json` files: it lacks {}",
            listed(unlocked.iter().map(String::as_str))
        );
        return HERE.failed(what, text, format!("run `yarn install` and commit `{shown}`"));
    }
    if !other.is_empty() {
        let text = format!("`node_modules` is not what `{shown}` says: {}", listed(other.iter().map(String::as_str)));
        return HERE.warn(what, text, install);
    }
    HERE.ok(what, format!("{} as `{shown}` says", counted(seen, "dependency is", "dependencies are")))
}

/// The version of a package in the `node_modules` of the first of these folders that has it.
fn version_in(folders: &[PathBuf], name: &str) -> Option<String> {
    if !is_package_name(name) {
        return None;
    }
    let files = folders.iter().map(|folder| folder.join("node_modules").join(name).join("package.json"));
    files.into_iter().find_map(|file| PackageJson::read(&file).ok()?.version)
}

/// What is to be said about git.
#[must_use]
pub fn history(root: &Path, ci: &Ci) -> Finding {
    let what = "git history";
    let history = match plan::history(root, ci) {
        Ok(Some(history)) => history,
        Ok(None) => {
            let help = "without history, every run builds everything; `git init` begins one";
            return HERE.warn(what, "this folder is in no git repository", help);
        }
        // That there is no git is said of the machine.
        Err(plan::GitError::NotStarted(_)) => return HERE.skipped(what, "there is no git to ask"),
        Err(error) => return HERE.error(what, &error),
    };
    let base = history.base.as_deref().map(plan::short).unwrap_or("nothing");
    let text = format!("a run compares with {base}: {}", history.reason);
    match (history.unknown, history.shallow) {
        (true, true) => HERE.warn(
            what,
            format!("the clone is shallow, and the base is not in it: {}", history.reason),
            "a run fetches what it lacks; `fetch-depth: 0` of actions/checkout (GitLab: `GIT_DEPTH: 0`) spares it that",
        ),
        (true, false) => HERE.warn(
            what,
            format!("there is no base: {}", history.reason),
            "then everything counts as changed; `--base REV` names one, and `[inputs] on-unknown-base` decides",
        ),
        (false, true) => HERE.ok(what, format!("{text}; the clone is shallow, a run fetches more where it must")),
        (false, false) => HERE.ok(what, text),
    }
}
