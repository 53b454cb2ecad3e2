//! What other tools have written about plugins, for a draft of `rhdh-plugins.toml`: the `plugins-list.yaml` of the RHDH
//! export utilities and of the plugin factory with the files beside it, and `export-dynamic` scripts. What cannot be
//! carried over is listed.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde_json::Value;

use crate::draft::{Draft, Found, FoundPlugin};
use crate::repo_path::RepoPath;
use crate::rhdh;

mod flags;
mod list;

use flags::Flags;
pub use list::ListError;

/// The files of one kind are small; a larger one is something else.
const MAX_SIZE: u64 = 1 << 20;

/// What came of it.
#[derive(Debug)]
pub struct Imported {
    /// What goes into the configuration.
    pub draft: Draft,
    /// What does not, and what to do about it; one sentence each.
    pub left_behind: Vec<String>,
}

/// Why nothing could be imported.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read what is to be imported")]
    #[diagnostic(help("name a list of plugins, a text in UTF-8: `rhdh-pack import plugins-list.yaml`"))]
    Io(#[from] std::io::Error),
    /// Larger than 1 MiB.
    #[error("`{}` is larger than 1 MiB", .0.display())]
    #[diagnostic(help("name a list of plugins: `rhdh-pack import plugins-list.yaml`"))]
    TooLarge(PathBuf),
    /// The list is none.
    #[error("`{}` is not a list of plugins", file.display())]
    #[diagnostic(help(
        "a line of it is the folder of a plugin, `:`, and arguments of the export: `plugins/todo-backend: --embed-package @acme/lib`"
    ))]
    List {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        #[source]
        source: ListError,
    },
    /// Neither a list nor scripts.
    #[error("there is nothing to import in `{}`", .0.display())]
    #[diagnostic(help(
        "name the list of plugins: `rhdh-pack import path/to/plugins-list.yaml`; without any, `rhdh-pack init` looks at the plugins themselves"
    ))]
    Nothing(PathBuf),
}

/// Reads the list `file` for the repository at `root`, in which `found` stands. Without a list, the `export-dynamic`
/// scripts of the plugins count.
///
/// # Errors
/// When a file cannot be read or is none of those that are known.
pub fn import(root: &Path, file: Option<&Path>, found: &Found) -> Result<Imported, Error> {
    let mut import = Import {
        root,
        found,
        images: IndexMap::new(),
        imported: Imported { draft: Draft::default(), left_behind: Vec::new() },
    };
    match file {
        Some(file) => import.list(file)?,
        None => import.scripts(),
    }
    if import.imported.draft.plugins.is_empty() && import.imported.left_behind.is_empty() {
        return Err(Error::Nothing(root.to_owned()));
    }
    Ok(import.imported)
}

struct Import<'a> {
    root: &'a Path,
    found: &'a Found,
    images: IndexMap<String, String>,
    imported: Imported,
}

impl Import<'_> {
    fn list(&mut self, file: &Path) -> Result<(), Error> {
        let text = read(file)?;
        let list = list::parse(&text).map_err(|source| Error::List { file: file.to_owned(), source })?;
        let beside = std::path::absolute(file)?.parent().unwrap_or(self.root).to_owned();
        self.leave(list.left_behind);
        self.beside(&beside);
        for entry in list.entries {
            let Some(plugin) = self.plugin(&entry.path, &beside) else {
                self.leave([format!(
                    "`{}`: there is no plugin in that folder of this repository that could be exported",
                    entry.path
                )]);
                continue;
            };
            let flags = flags::parse(&entry.arguments);
            self.add(&plugin, &flags, Some(&beside.join(&entry.path)));
        }
        Ok(())
    }

    fn scripts(&mut self) {
        for plugin in &self.found.plugins {
            let workspace = self.found.workspaces.of(&plugin.path);
            let manifest = workspace.and_then(|workspace| workspace.packages.get(&plugin.path));
            let script =
                manifest.and_then(|package| package.manifest.rest.get("scripts")?.get("export-dynamic")?.as_str());
            if let Some((arguments, others)) = script.and_then(flags::of_script) {
                if !others.is_empty() {
                    self.leave([format!("`{}`: of its script `export-dynamic`, `{others}` is not run", plugin.path)]);
                }
                let flags = flags::parse(&arguments);
                self.add(plugin, &flags, None);
            }
        }
    }

    /// The plugin that an entry of a list means: below the list's folder, the repository's, or the workspace with the
    /// name of the list's folder, as the overlay repositories have it.
    fn plugin(&self, path: &str, beside: &Path) -> Option<FoundPlugin> {
        let name = beside.file_name().unwrap_or_default();
        let bases = [beside.to_owned(), self.root.to_owned(), self.root.join("workspaces").join(name)];
        bases.iter().find_map(|base| {
            let path = self.in_repository(&base.join(path))?;
            self.found.plugins.iter().find(|plugin| plugin.path == path).cloned()
        })
    }

    fn in_repository(&self, path: &Path) -> Option<RepoPath> {
        let relative = path.strip_prefix(self.root).ok()?.to_str()?;
        RepoPath::new(if relative.is_empty() { "." } else { relative }).ok()
    }

    /// Adds a plugin; `overlay` is the folder with what the list's repository has for it.
    fn add(&mut self, plugin: &FoundPlugin, flags: &Flags, overlay: Option<&Path>) {
        let mut plugin = plugin.clone();
        if self.imported.draft.plugins.values().any(|other| other.path == plugin.path) {
            self.leave([format!("`{}` is there twice: the first one counts", plugin.path)]);
            return;
        }
        if let Some(overlay) = overlay {
            let file =
                |name: &str| self.in_repository(&overlay.join(name)).filter(|path| path.under(self.root).is_file());
            plugin.app_config = plugin.app_config.or_else(|| file("app-config.dynamic.yaml"));
            plugin.scalprum_config = plugin.scalprum_config.or_else(|| file("scalprum-config.json"));
            if overlay.join("overlay").is_dir() {
                let path = &plugin.path;
                self.leave([format!(
                    "`{path}`: the files of its `overlay` folder: put them into the plugin's sources"
                )]);
            }
        }
        if let Some(file) = &flags.scalprum_config {
            let named = self
                .in_repository(&plugin.path.under(self.root).join(file))
                .filter(|path| path.under(self.root).is_file());
            if named.is_none() {
                self.leave([format!(
                    "`{}`: `--scalprum-config {file}`: there is no such file in this repository",
                    plugin.path
                )]);
            }
            plugin.scalprum_config = named.or(plugin.scalprum_config);
        }
        let id = self.imported.draft.add(&plugin, &mut self.images);
        self.leave(flags.left_behind.iter().map(|why| format!("`{}`: {why}", plugin.path)));
        if let Some(draft) = self.imported.draft.plugins.get_mut(&id) {
            draft.lists = flags.lists.clone();
        }
    }

    /// `source.json`, `backstage.json` and patches beside a list.
    fn beside(&mut self, folder: &Path) {
        let json = |name: &str| -> Option<Value> { serde_json::from_str(&read(&folder.join(name)).ok()?).ok() };
        let source = json("source.json");
        if let Some(repo) = source.as_ref().and_then(|source| source.get("repo")).and_then(Value::as_str) {
            let reference = source
                .as_ref()
                .and_then(|source| source.get("repo-ref"))
                .and_then(Value::as_str)
                .unwrap_or("its default branch");
            self.leave([format!(
                "`source.json`: rhdh-pack builds the repository that it stands in; the list was for {} at {reference}",
                without_credentials(repo)
            )]);
        }
        // A `backstage.json` beside the list overrides the one of the sources.
        let backstage = json("backstage.json").and_then(|json| json.get("version")?.as_str().map(str::to_owned));
        let backstage = backstage.or_else(|| source?.get("repo-backstage-version")?.as_str().map(str::to_owned));
        if let Some(release) = backstage.as_deref().and_then(rhdh::release_for) {
            self.imported.draft.rhdh = release.to_owned();
        }
        if folder.join("patches").is_dir() {
            self.leave([
                "`patches`: rhdh-pack builds the sources as they are: apply them with `git apply patches/*`".to_owned()
            ]);
        }
    }

    fn leave(&mut self, what: impl IntoIterator<Item = String>) {
        self.imported.left_behind.extend(what);
    }
}

fn without_credentials(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            let end = rest.find('/').unwrap_or(rest.len());
            let host = rest[..end].rsplit('@').next().unwrap_or_default();
            format!("{scheme}://{host}{}", &rest[end..])
        }
        None => url.to_owned(),
    }
}

fn read(file: &Path) -> Result<String, Error> {
    let metadata = fs_err::metadata(file)?;
    if metadata.len() > MAX_SIZE {
        return Err(Error::TooLarge(file.to_owned()));
    }
    Ok(fs_err::read_to_string(file)?)
}
