//! `rhdh-pack suggest`: the flags of the RHDH CLI that each backend needs, said and, on request, written.

use std::collections::HashMap;

use toml_edit::DocumentMut;

use super::Error;
use super::project::{Project, ProjectPlugin};
use super::session::Session;
use crate::config::names::is_package;
use crate::document;
use crate::repo_path::RepoPath;
use crate::rhdh::{self, Release};
use crate::suggest::{self, Flags, Subject, Suggestion, write};
use crate::workspace::{Lockfile, LockfileError, Workspace};

/// Why nothing can be suggested.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SuggestError {
    /// It is not known what the release provides.
    #[error("it is not known what RHDH {release} provides")]
    #[diagnostic(help(
        "known are {known}: choose one of them by `[rhdh] version`, or add the release's figures as docs/rhdh-releases.md says"
    ))]
    UnknownRelease {
        /// The release.
        release: String,
        /// All that are known.
        known: String,
    },
    /// The lock file of a workspace.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Lockfile(#[from] LockfileError),
    /// The lock file, or the configuration, cannot be read.
    #[error("cannot work out the suggestions")]
    Io(#[from] std::io::Error),
    /// The configuration has no place for them.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Unwritable(#[from] write::Unwritable),
    /// The configuration is not TOML: it was, a moment ago.
    #[error("`rhdh-plugins.toml` cannot be changed")]
    Toml(#[from] toml_edit::TomlError),
}

/// What some plugins need, by id; plugins that need nothing are there, too.
pub(super) type Suggestions<'a> = Vec<(&'a str, Vec<Suggestion>)>;

/// Says what `plugins` (all, where there are none) need, and writes it into the configuration. Exit code 1 where
/// something is needed and not written.
pub(super) fn command(session: &Session, plugins: &[String], write: bool) -> Result<u8, Error> {
    let project = &session.project;
    for id in plugins {
        project.plugin(id)?;
    }
    let chosen = |id: &str| plugins.is_empty() || plugins.iter().any(|plugin| plugin == id);
    let found = suggestions(project, chosen)?;
    let needed: Suggestions<'_> = found.into_iter().filter(|(_, needed)| !needed.is_empty()).collect();
    for (id, needed) in &needed {
        let lines: Vec<String> = needed
            .iter()
            .map(|found| {
                format!("  {} {}: {}", found.key.as_str(), toml::Value::from(found.value.as_str()), found.reason)
            })
            .collect();
        session.ui.note(&format!("{id} needs\n{}", lines.join("\n")));
    }
    let bare = |workspace: &&Workspace| !workspace.path.under(&project.config.root).join("node_modules").is_dir();
    if project.workspaces.by_path.values().any(|workspace| bare(&workspace)) {
        session.ui.note(
            "nothing is installed yet: native modules are known by their dependencies only; after `yarn install` also by \
             what is in them",
        );
    }
    if needed.is_empty() {
        session.ui.note("nothing to add: the plugins have the flags that they need");
        return Ok(0);
    }
    let file = &project.config.file;
    if !write {
        session.ui.note(&format!("`rhdh-pack suggest --write` adds this to `{}`", file.display()));
        return Ok(1);
    }
    write_all(project, &needed)?;
    session.ui.note(&format!("written to `{}`", file.display()));
    Ok(0)
}

/// What the chosen plugins of a project need.
pub(super) fn suggestions(project: &Project, chosen: impl Fn(&str) -> bool) -> Result<Suggestions<'_>, SuggestError> {
    let release = release(&project.config.rhdh.version)?;
    let mut lockfiles: HashMap<&RepoPath, Lockfile> = HashMap::new();
    let mut found = Vec::new();
    for (id, plugin) in project.plugins.iter().filter(|(id, _)| chosen(id)) {
        if plugin.role.is_frontend() {
            found.push((id.as_str(), Vec::new()));
            continue;
        }
        let Some(workspace) = project.workspaces.by_path.get(&plugin.workspace) else { continue };
        if !lockfiles.contains_key(&workspace.path) {
            let file = workspace.path.under(&project.config.root).join("yarn.lock");
            let shown =
                if workspace.path.is_root() { "yarn.lock".to_owned() } else { format!("{}/yarn.lock", workspace.path) };
            let lockfile = Lockfile::parse(&fs_err::read(file)?, &shown, workspace.manifest.ranges("resolutions"))?;
            lockfiles.insert(&workspace.path, lockfile);
        }
        let ProjectPlugin { config, package, role, .. } = plugin;
        let lockfile = &lockfiles[&workspace.path];
        let subject = Subject { root: &project.config.root, workspace, package, role: *role, lockfile, release };
        let mut needed = suggest::suggest(subject, &Flags::from(config));
        needed.retain(|found| is_package(&found.value));
        found.push((id.as_str(), needed));
    }
    Ok(found)
}

fn release(name: &str) -> Result<&'static Release, SuggestError> {
    rhdh::release(name).ok_or_else(|| {
        let known = rhdh::releases().collect::<Vec<_>>().join(", ");
        SuggestError::UnknownRelease { release: name.to_owned(), known }
    })
}

/// Adds the suggestions to the configuration file.
pub(super) fn write_all(project: &Project, suggestions: &Suggestions<'_>) -> Result<(), SuggestError> {
    let file = &project.config.file;
    let text = fs_err::read_to_string(file)?;
    let mut document: DocumentMut = text.parse()?;
    for (id, needed) in suggestions {
        let Some(plugin) = project.plugins.get(*id) else { continue };
        write::add(&mut document, id, needed, |key| key.of(&plugin.config))?;
    }
    Ok(document::write_file(file, document.to_string().as_bytes())?)
}
