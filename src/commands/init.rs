//! `rhdh-pack init`: a configuration for a repository that has none, and on request the workflow of its CI. On a
//! terminal it asks; what it writes is right by `check`, and nothing that exists is overwritten.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use dialoguer::theme::{ColorfulTheme, SimpleTheme, Theme};
use dialoguer::{Confirm, Input, MultiSelect, Select};
use indexmap::IndexMap;

use super::check::count;
use super::project::{self, Project};
use super::{Error, Request, suggest};
use crate::config::names::is_oci_prefix;
use crate::config::{self, FILE_NAME, Registry};
use crate::draft::remote::Remote;
use crate::draft::workflow::Forge;
use crate::draft::{self, Draft, Found, FoundPlugin};
use crate::rhdh;
use crate::ui::Ui;

/// The schema that the configuration's first line names.
const SCHEMA_FILE: &str = "rhdh-plugins.schema.json";

/// How `init` works.
#[derive(Clone, Debug, Default)]
pub struct InitOptions {
    /// Ask nothing.
    pub yes: bool,
    /// Write the workflow for GitHub.
    pub github: bool,
    /// Write the pipeline for GitLab.
    pub gitlab: bool,
    /// Where images go, instead of where the git remote says.
    pub registry: Option<String>,
}

/// Why no configuration was written.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum InitError {
    /// There is one.
    #[error("there is a `{}` already", .0.display())]
    #[diagnostic(help(
        "edit it, `rhdh-pack check` says what is wrong with it; or write another one with `--config FILE`"
    ))]
    Exists(PathBuf),
    /// There is nothing to build.
    #[error("there is no plugin to build in `{}`", folder.display())]
    #[diagnostic(help("{help}"))]
    NoPlugins {
        /// Where was looked.
        folder: PathBuf,
        /// What was left out, or what was looked for.
        help: String,
    },
    /// `--registry` is none.
    #[error("`{0}` is not an OCI registry and namespace")]
    #[diagnostic(help("name a host and a namespace, without scheme and tag: `--registry quay.io/acme`"))]
    Registry(String),
    /// Somebody pressed Ctrl-C, or closed the terminal.
    #[error("stopped at a question: nothing was written")]
    #[diagnostic(help("`rhdh-pack init --yes` asks none"))]
    Stopped(#[source] dialoguer::Error),
    /// A file cannot be written.
    #[error("cannot write the configuration")]
    Io(#[from] std::io::Error),
}

/// Writes the configuration.
pub(super) fn command(request: &Request, options: &InitOptions, ui: &Ui) -> Result<u8, Error> {
    let file = request.config.clone().unwrap_or_else(|| PathBuf::from(FILE_NAME));
    let root = root_of(&file)?;
    if (options.github || options.gitlab) && file.is_file() {
        return workflows_only(&file, &root, options, ui);
    }
    refuse_existing(&file)?;
    if let Some(registry) = options.registry.as_deref().filter(|registry| !is_oci_prefix(registry)) {
        return Err(InitError::Registry(registry.to_owned()).into());
    }
    let found = draft::find(&root);
    if found.plugins.is_empty() {
        return Err(no_plugins(&root, &found).into());
    }
    let remote = Remote::of(&root);
    let answers = ask(options, &found, &remote, ui)?;
    let project = write(&file, &answers.draft, ui)?;
    for forge in answers.forges {
        write_workflow(&root, forge, &answers.draft, ui)?;
    }
    for (path, why) in &found.left_out {
        ui.warn(&format!("`{path}` is left out: {why}"));
    }
    say_next(&project, ui);
    Ok(0)
}

/// The workflow for a configuration that is there already.
fn workflows_only(file: &Path, root: &Path, options: &InitOptions, ui: &Ui) -> Result<u8, Error> {
    let project = project::open(file, &|_, _| false)?;
    let mut oci = project.config.registries.values().filter_map(|registry| match registry {
        Registry::Oci { prefix, .. } => Some(prefix.clone()),
        _ => None,
    });
    let registry = options.registry.clone().or_else(|| oci.next());
    let draft = Draft { branch: Remote::of(root).branch, registry, ..Draft::default() };
    ui.note(&format!("`{}` is there, and stays as it is", file.display()));
    for (forge, wanted) in [(Forge::GitHub, options.github), (Forge::GitLab, options.gitlab)] {
        if wanted {
            write_workflow(root, forge, &draft, ui)?;
        }
    }
    Ok(0)
}

/// The folder of a configuration file that is to be written.
pub(super) fn root_of(file: &Path) -> Result<PathBuf, InitError> {
    let absolute = std::path::absolute(file)?;
    Ok(absolute.parent().unwrap_or(&absolute).to_owned())
}

pub(super) fn refuse_existing(file: &Path) -> Result<(), InitError> {
    if file.symlink_metadata().is_ok() { Err(InitError::Exists(file.to_owned())) } else { Ok(()) }
}

pub(super) fn no_plugins(root: &Path, found: &Found) -> InitError {
    let left_out: Vec<String> = found.left_out.iter().map(|(path, why)| format!("`{path}`: {why}")).collect();
    let help = if left_out.is_empty() {
        "a plugin is a package whose `backstage.role` is `frontend-plugin`, `backend-plugin` or one of their modules; run `rhdh-pack init` at the root of the repository".to_owned()
    } else {
        format!("these are plugins, but cannot be exported as they are:\n{}", left_out.join("\n"))
    };
    let other = draft::other_manager(root).map_or_else(String::new, |other| format!("\n{other}"));
    InitError::NoPlugins { folder: root.to_owned(), help: help + &other }
}

/// Writes a draft, the schema beside it, and the flags that the plugins need; what was written has passed `check`.
pub(super) fn write(file: &Path, draft: &Draft, ui: &Ui) -> Result<Project, Error> {
    write_new(file, &draft::render(draft)).map_err(InitError::from)?;
    let schema = file.with_file_name(SCHEMA_FILE);
    let text =
        serde_json::to_string_pretty(&config::schema()).map_err(std::io::Error::from).map_err(InitError::from)?;
    match write_new(&schema, &format!("{text}\n")) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(InitError::from(error).into()),
        _ => {}
    }
    let project = project::open(file, &|_, _| false)?;
    match suggest::suggestions(&project, |_| true) {
        Ok(needed) => {
            let needed: suggest::Suggestions<'_> =
                needed.into_iter().filter(|(_, needed)| !needed.is_empty()).collect();
            for (id, needed) in &needed {
                for found in needed {
                    let value = toml::Value::from(found.value.as_str());
                    ui.note(&format!("{id}: {} gets {value}: {}", found.key.as_str(), found.reason));
                }
            }
            if !needed.is_empty() {
                suggest::write_all(&project, &needed)?;
            }
        }
        Err(error) => ui.warn(&format!("which packages the backends must bring along cannot be worked out: {error}")),
    }
    let project = project::open(file, &|_, _| false)?;
    ui.note(&format!(
        "wrote `{}`: {}, {}",
        file.display(),
        count(project.plugins.len(), "plugin"),
        count(project.bundles.len(), "bundle")
    ));
    Ok(project)
}

/// Writes a file that is not there yet.
fn write_new(file: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        fs_err::create_dir_all(folder)?;
    }
    let mut opened = fs_err::OpenOptions::new().write(true).create_new(true).open(file)?;
    opened.write_all(text.as_bytes())
}

fn write_workflow(root: &Path, forge: Forge, draft: &Draft, ui: &Ui) -> Result<(), InitError> {
    let text = forge.workflow(draft);
    match write_new(&root.join(forge.file()), &text) {
        Ok(()) => ui.note(&format!("wrote `{}`", forge.file().display())),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            ui.warn(&format!(
                "`{}` exists and stays as it is; what belongs into it:\n\n{text}",
                forge.file().display()
            ));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn say_next(project: &Project, ui: &Ui) {
    let ignored = fs_err::read_to_string(project.config.root.join(".gitignore")).unwrap_or_default();
    if !ignored.lines().any(|line| line.trim().trim_start_matches('/').trim_end_matches('/') == ".rhdh-pack") {
        ui.note("add `.rhdh-pack/` to `.gitignore`: that is where everything is built");
    }
    ui.note("next: `rhdh-pack run` builds everything");
}

struct Answers {
    draft: Draft,
    forges: Vec<Forge>,
}

/// What to write: as found, or as somebody at a terminal wants it.
fn ask(options: &InitOptions, found: &Found, remote: &Remote, ui: &Ui) -> Result<Answers, InitError> {
    let asks = !options.yes && std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let theme: Box<dyn Theme> = if ui.color() { Box::new(ColorfulTheme::default()) } else { Box::new(SimpleTheme) };
    let theme = theme.as_ref();
    let stopped = InitError::Stopped;

    let chosen = if asks && found.plugins.len() > 1 {
        let items: Vec<String> =
            found.plugins.iter().map(|plugin| format!("{} ({})", plugin.path, plugin.role)).collect();
        let prompt = "Which plugins? (space chooses, enter goes on)";
        let all = vec![true; items.len()];
        let chosen = MultiSelect::with_theme(theme).with_prompt(prompt).items(&items).defaults(&all).interact();
        chosen.map_err(stopped)?
    } else {
        (0..found.plugins.len()).collect()
    };
    if chosen.is_empty() {
        let help = "choose at least one".to_owned();
        return Err(InitError::NoPlugins { folder: found.workspaces.root.clone(), help });
    }
    let mut draft = Draft { branch: remote.branch.clone(), ..Draft::default() };
    let mut images = IndexMap::new();
    let plugins: Vec<(String, FoundPlugin)> =
        chosen.into_iter().map(|at| (draft.add(&found.plugins[at], &mut images), found.plugins[at].clone())).collect();

    draft.bundles = draft::bundles(&plugins, &images);
    if asks && !draft.bundles.is_empty() {
        let items: Vec<String> =
            draft.bundles.iter().map(|(id, bundle)| format!("{id}: {}", bundle.plugins.join(", "))).collect();
        let prompt = "Which of them also together in one image?";
        let all = vec![true; items.len()];
        let kept = MultiSelect::with_theme(theme).with_prompt(prompt).items(&items).defaults(&all).interact();
        let kept = kept.map_err(stopped)?;
        let mut position = 0..;
        draft.bundles.retain(|_, _| position.next().is_some_and(|at| kept.contains(&at)));
    }

    draft.rhdh = release_for(found, ui).to_owned();
    if asks {
        let releases: Vec<&str> = rhdh::releases().collect();
        let default = releases.iter().position(|release| *release == draft.rhdh).unwrap_or_default();
        let prompt = "For which release of Red Hat Developer Hub?";
        let select = Select::with_theme(theme).with_prompt(prompt).items(&releases).default(default).interact();
        draft.rhdh = releases[select.map_err(stopped)?].to_owned();
    }

    draft.registry = options.registry.clone().or_else(|| remote.registry());
    if asks && options.registry.is_none() {
        let fits = |text: &String| {
            let fits = text.trim().is_empty() || text.trim() == "-" || is_oci_prefix(text.trim());
            if fits { Ok(()) } else { Err("a host and a namespace, such as quay.io/acme; `-` for none") }
        };
        let input = Input::with_theme(theme)
            .with_prompt("Where do images go? (`-`: nowhere yet)")
            .default(draft.registry.clone().unwrap_or_else(|| "-".to_owned()))
            .validate_with(fits)
            .interact_text();
        let answer = input.map_err(stopped)?;
        draft.registry = Some(answer.trim().to_owned()).filter(|answer| !answer.is_empty() && answer != "-");
    }

    let mut forges = Vec::new();
    for (forge, wanted, here) in
        [(Forge::GitHub, options.github, remote.is_github()), (Forge::GitLab, options.gitlab, remote.is_gitlab())]
    {
        let ask_for = || {
            let prompt = format!("Write `{}`?", forge.file().display());
            Confirm::with_theme(theme).with_prompt(prompt).default(true).interact().map_err(stopped)
        };
        if wanted || (asks && here && !options.github && !options.gitlab && ask_for()?) {
            forges.push(forge);
        }
    }
    Ok(Answers { draft, forges })
}

/// The RHDH release for the newest Backstage of the workspaces.
pub(super) fn release_for(found: &Found, ui: &Ui) -> &'static str {
    let newest = rhdh::releases().last().unwrap_or("1.9");
    let versions = found.workspaces.by_path.values().filter_map(|workspace| workspace.backstage.as_deref());
    let Some(backstage) = versions.max_by_key(|version| rhdh::line(version)) else {
        ui.warn("there is no `backstage.json`: the RHDH release is a guess, correct `[rhdh] version`");
        return rhdh::releases().next().unwrap_or(newest);
    };
    rhdh::release_for(backstage).unwrap_or_else(|| {
        ui.warn(&format!("Backstage {backstage} is newer than that of every RHDH release known: taking RHDH {newest}"));
        newest
    })
}
