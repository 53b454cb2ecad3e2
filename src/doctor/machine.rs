//! The programs and the room that a run needs.

use std::path::{Path, PathBuf};

use super::{Area, Finding, listed};
use crate::export::look::{Tool, Tools};
use crate::rhdh::Release;
use crate::ui::human_size;
use crate::workspace::Workspaces;

const HERE: Area = Area::Machine;

/// What the first run fetches: the RHDH CLI with all that it depends on, in bytes.
const RHDH_CLI_SIZE: u64 = 700_000_000;
/// Below this, in bytes, a run of some plugins may end in the middle; below the second, it will.
const LITTLE: u64 = 5_000_000_000;
const TOO_LITTLE: u64 = 500_000_000;

/// What is to be said about the programs; `release` is the RHDH release `rhdh`, where its figures are known.
#[must_use]
pub fn programs(tools: &Tools, workspaces: &Workspaces, rhdh: &str, release: Option<&Release>) -> Vec<Finding> {
    let mut findings = vec![node(tools, rhdh, release)];
    if tools.node.is_err() {
        findings.push(HERE.skipped("yarn, RHDH CLI", "node would run them"));
        return findings;
    }
    findings.push(match &tools.npm {
        Some(npm) => HERE.ok("npm", npm.display().to_string()),
        None => HERE.failed(
            "npm",
            "there is none, neither beside node nor on PATH",
            "install the npm that comes with Node.js: it fetches yarn and the RHDH CLI",
        ),
    });
    for (path, found) in &tools.yarn {
        let what = if workspaces.by_path.len() == 1 { "yarn".to_owned() } else { format!("yarn for `{path}`") };
        findings.push(match found {
            Ok(tool) => HERE.ok(what, shown(tool)),
            Err(failure) => Finding { help: failure.help.clone(), ..HERE.failed(what, &failure.message, "") },
        });
    }
    findings.extend(corepack(tools, workspaces));
    let Some(cli) = &tools.cli else { return findings };
    findings.push(match (cli, &tools.npm_registry) {
        (Ok(tool), None) => HERE.ok("RHDH CLI", format!("{}, for RHDH {rhdh}", shown(tool))),
        (Ok(tool), Some(failure)) => HERE.warn(
            "RHDH CLI",
            format!("{}; the newest one cannot be looked for: {}", shown(tool), failure.message),
            format!("it will do; `[rhdh] cli = \"{}\"` pins it, and asks nobody", tool.version),
        ),
        (Err(failure), _) => Finding { help: failure.help.clone(), ..HERE.failed("RHDH CLI", &failure.message, "") },
    });
    findings
}

fn node(tools: &Tools, rhdh: &str, release: Option<&Release>) -> Finding {
    let tool = match &tools.node {
        Ok(tool) => tool,
        Err(error) => return HERE.error("node", error),
    };
    let Some(release) = release else { return HERE.ok("node", shown(tool)) };
    let text = format!("{}; RHDH {rhdh} runs on {}", shown(tool), release.node);
    if release.node.parse().is_ok_and(|major: u64| major == tool.version.major()) {
        return HERE.ok("node", text);
    }
    let help = format!(
        "exports are the same as a rule; what is built for a platform is not: with native packages, use node {}",
        release.node
    );
    HERE.warn("node", text, help)
}

/// A word about corepack, where somebody might expect it to do something.
fn corepack(tools: &Tools, workspaces: &Workspaces) -> Option<Finding> {
    let names_one = workspaces
        .by_path
        .values()
        .any(|workspace| workspace.manifest.package_manager().is_some_and(|it| it.name == "yarn"));
    match &tools.yarn_on_path {
        Some((yarn, true)) => Some(HERE.ok(
            "corepack",
            format!(
                "`{}` is corepack's; it is not asked to download anything, rhdh-pack fetches yarn itself",
                yarn.display()
            ),
        )),
        _ if names_one => Some(HERE.ok("corepack", "not needed: rhdh-pack takes the yarn that `packageManager` names")),
        _ => None,
    }
}

fn shown(tool: &Tool) -> String {
    match &tool.place {
        Some(place) => format!("{} ({place})", tool.version),
        None => format!("{} (the first run fetches it)", tool.version),
    }
}

/// Whether git is there; it is asked for its version only.
pub async fn git() -> Finding {
    let asked = tokio::process::Command::new("git").arg("--version").stdin(std::process::Stdio::null()).output().await;
    match asked {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout).trim().trim_start_matches("git version ").to_owned();
            HERE.ok("git", text)
        }
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr).trim().chars().take(200).collect::<String>();
            HERE.failed("git", format!("`git --version` failed: {text}"), "see what `git --version` says in a terminal")
        }
        Err(error) => HERE.warn(
            "git",
            format!("cannot start `git`: {error}"),
            "install git: without it, every run builds everything (`--all`)",
        ),
    }
}

/// The room where runs write: `places` are names and folders, which need not be there yet. With `fetches`, the next run
/// fetches the RHDH CLI as well.
#[must_use]
pub fn disk(places: &[(&str, PathBuf)], fetches: bool) -> Vec<Finding> {
    // By device: two folders of one disk have the same room.
    let mut disks: Vec<(u64, u64, Vec<&str>)> = Vec::new();
    let mut findings = Vec::new();
    for (name, folder) in places {
        match room(folder) {
            Ok((device, _)) if disks.iter().any(|(known, ..)| *known == device) => {
                disks.iter_mut().filter(|(known, ..)| *known == device).for_each(|(.., names)| names.push(name));
            }
            Ok((device, free)) => disks.push((device, free, vec![name])),
            Err(error) => findings.push(HERE.warn(
                "disk",
                format!("how much room there is for {name} cannot be told: {error}"),
                format!("look at `{}`", folder.display()),
            )),
        }
    }
    findings.extend(disks.into_iter().map(|(_, free, names)| free_room(free, &names, fetches)));
    findings
}

fn free_room(free: u64, names: &[&str], fetches: bool) -> Finding {
    let text = format!("{} free for {}", human_size(free), listed(names.iter().copied()).replace('`', ""));
    let needed = TOO_LITTLE + if fetches { RHDH_CLI_SIZE } else { 0 };
    let help = "free some space: `df -h` shows the disks; `yarn cache clean` empties yarn's cache; `RHDH_PACK_CACHE=/path` and `--out-dir` choose other disks";
    if free < needed {
        HERE.failed("disk", text, help)
    } else if free < LITTLE {
        HERE.warn("disk", text, help)
    } else {
        HERE.ok("disk", text)
    }
}

/// The device of the nearest folder that is there, and the bytes that are free on it for this user.
fn room(folder: &Path) -> std::io::Result<(u64, u64)> {
    let there = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    let about = rustix::fs::statvfs(there)?;
    let device = rustix::fs::stat(there)?.st_dev;
    Ok((device, about.f_bavail.saturating_mul(about.f_frsize)))
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn little_room_is_said() {
        for (free, fetches, state) in [
            (400_000_000, false, State::Failed),
            (900_000_000, true, State::Failed),
            (900_000_000, false, State::Warn),
            (4_999_999_999, true, State::Warn),
            (5_000_000_000, true, State::Ok),
        ] {
            assert_eq!(free_room(free, &["the cache"], fetches).state, state, "{free}");
        }
    }

    #[test]
    fn folders_of_one_disk_are_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let places = [("the output", folder.path().join("not/yet/there")), ("the cache", folder.path().to_owned())];
        let found = disk(&places, false);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].text.ends_with(" free for the output, the cache"), "{found:?}");
    }
}
