//! `rhdh-pack update`: the references and integrity values of what was published, in files that exist; here, or by a
//! pull request in another repository.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::{Error, Request};
use crate::ci::{Provider, variable};
use crate::draft::remote::Remote;
use crate::repo_path::RepoPath;
use crate::report::RunResult;
use crate::ui::Ui;
use crate::update::pull_request::{self, Place, Proposal, Proposed};
use crate::update::{self, File, Ours, Updated};
use crate::{config, document, report};

/// What to bring up to date, and how.
#[derive(Clone, Debug)]
pub struct UpdateOptions {
    /// The files.
    pub files: Vec<PathBuf>,
    /// Write nothing; say what would change.
    pub check: bool,
    /// `owner/name` of the repository that gets a pull request, with its host where needed; the files are in it.
    pub pull_request: Option<String>,
}

/// Brings the files up to date.
pub(super) async fn command(request: &Request, options: &UpdateOptions, ui: &Ui) -> Result<u8, Error> {
    // Only the output folder is needed: a repository of configurations has no plugins.
    let config = request.config.clone().or_else(|| config::find(Path::new(".")).ok());
    let root = config.as_deref().and_then(Path::parent).filter(|root| !root.as_os_str().is_empty());
    let root = root.unwrap_or(Path::new("."));
    let out = request.out_dir.clone().unwrap_or_else(|| root.join(".rhdh-pack"));
    let result: RunResult = document::read(&out.join("result.json"), report::result::SCHEMA_VERSION, "run")?;
    let ours = Ours::of(&result);
    for label in &ours.failed {
        ui.warn(&format!("{label} failed: its entries stay as they are"));
    }
    if ours.is_empty() {
        return Err(update::Error::NothingPublished.into());
    }
    let files = match &options.pull_request {
        Some(repository) => propose(repository, options, &result, &ours, root, ui).await?,
        None => update_here(options, &ours)?,
    };
    say(&files, options, ui)?;
    let changes = files.iter().any(|(_, updated)| !updated.changes.is_empty());
    Ok(u8::from(options.check && changes))
}

/// All files, or none: what is wrong with one is found before the first is written.
fn update_here(options: &UpdateOptions, ours: &Ours) -> Result<Vec<(String, Updated)>, Error> {
    let mut all = Vec::new();
    for path in &options.files {
        let file = File::read(path, Path::new("."))?;
        let updated = update::update(&file.name, &file.text, ours)?;
        all.push((file, updated));
    }
    for (file, updated) in &all {
        if !options.check && updated.text != file.text {
            file.write(&updated.text)?;
        }
    }
    Ok(all.into_iter().map(|(file, updated)| (file.name, updated)).collect())
}

async fn propose(
    repository: &str,
    options: &UpdateOptions,
    result: &RunResult,
    ours: &Ours,
    root: &Path,
    ui: &Ui,
) -> Result<Vec<(String, Updated)>, Error> {
    let place = Place::find(repository, Provider::from_env(), variable);
    let place = place.ok_or_else(|| update::Error::NotARepository(repository.to_owned()))?;
    let path = |file: &PathBuf| {
        let wrong = || update::Error::NotInRepository(file.display().to_string());
        let text = file.to_str().ok_or_else(wrong)?;
        RepoPath::new(text.strip_prefix("./").unwrap_or(text)).ok().filter(|path| !path.is_root()).ok_or_else(wrong)
    };
    let files = options.files.iter().map(path).collect::<Result<Vec<_>, _>>()?;
    let Some(token) = place.token_variables().iter().find_map(|name| variable(name)) else {
        let (repository, variable) = (repository.to_owned(), place.token_variables()[0]);
        return Err(update::Error::NoToken { repository, variable }.into());
    };
    let source = source(root);
    let proposal = Proposal {
        files: &files,
        branch: &format!("rhdh-pack/{}/{}", slug(&source), slug(&result.channel)),
        mark: &format!("rhdh-pack: {source} {}", result.channel),
        ours,
        result,
    };
    let Proposed { files, pull_request } =
        pull_request::propose(&place, &SecretString::from(token), &proposal, ui).await?;
    match pull_request {
        None => ui.note(&format!("`{repository}` is up to date")),
        Some(pull) if pull.opened => ui.note(&format!("opened {}", pull.url)),
        Some(pull) => ui.note(&format!("{} is up to date", pull.url)),
    }
    Ok(files)
}

/// What names this configuration among all that propose something to one repository: the repository it stands in, and
/// the folder in that.
fn source(root: &Path) -> String {
    let (repository, top) = match Provider::from_env() {
        Provider::GitHub => (variable("GITHUB_REPOSITORY"), variable("GITHUB_WORKSPACE")),
        Provider::GitLab => (variable("CI_PROJECT_PATH"), variable("CI_PROJECT_DIR")),
        Provider::Local | Provider::Other => (None, None),
    };
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let root = real(root);
    let repository = repository.unwrap_or_else(|| {
        let path = Remote::of(&root).path;
        let folder = || root.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        if path.is_empty() { folder() } else { path }
    });
    let inside = top.and_then(|top| root.strip_prefix(real(Path::new(&top))).ok().map(Path::to_owned));
    match inside.filter(|inside| !inside.as_os_str().is_empty()) {
        Some(inside) => format!("{repository}/{}", inside.display()),
        None => repository,
    }
}

/// A part of a branch's name.
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for character in text.chars() {
        match character.to_ascii_lowercase() {
            legal @ ('a'..='z' | '0'..='9' | '_') => slug.push(legal),
            _ if !slug.is_empty() && !slug.ends_with('-') => slug.push('-'),
            _ => {}
        }
    }
    slug.trim_end_matches('-').chars().take(100).collect()
}

/// What changed: a list on stdout where somebody asked whether it would, else a line for each file.
fn say(files: &[(String, Updated)], options: &UpdateOptions, ui: &Ui) -> Result<(), Error> {
    let mut list = String::new();
    for (name, updated) in files {
        for (line, why) in &updated.left {
            ui.warn(&format!("{name}:{line}: the entry {why}; it stays as it is"));
        }
        if updated.entries == 0 && updated.left.is_empty() {
            ui.warn(&format!("`{name}` has no entry of what this run published"));
        }
        for change in &updated.changes {
            list.push_str(&format!("{}:{}: {} {}\n", shown(name), change.line, shown(&change.label), change.key));
            if let Some(old) = &change.old {
                list.push_str(&format!("-{}\n", shown(old)));
            }
            list.push_str(&format!("+{}\n", shown(&change.new)));
        }
        if options.pull_request.is_none() && updated.entries > 0 {
            let (entries, changes) = (updated.entries, updated.changes.len());
            let verb = if options.check { "would change" } else { "changed" };
            ui.note(&match changes {
                0 => format!("{name}: up to date ({entries} entries)"),
                _ => format!("{name}: {changes} values {verb} in {entries} entries"),
            });
        }
    }
    if options.check {
        document::print(list.as_bytes())?;
    }
    Ok(())
}

/// A text for a terminal.
fn shown(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}
