//! The plugins that stand in a repository, by their roles, over all its yarn workspaces.

use std::collections::HashMap;
use std::path::Path;

use ignore::WalkBuilder;

use super::FoundPlugin;
use crate::config::names::is_exact_version;
use crate::config::template::is_tag;
use crate::repo_path::RepoPath;
use crate::workspace::{self, PackageJson, Workspaces};

/// Folders that hold copies of packages, or none.
const NEVER: [&str; 4] = ["node_modules", "dist", "dist-dynamic", "dist-types"];

/// Lock files of other package managers, and whose they are.
const OTHERS: [(&str, &str); 5] = [
    ("package-lock.json", "npm"),
    ("npm-shrinkwrap.json", "npm"),
    ("pnpm-lock.yaml", "pnpm"),
    ("bun.lock", "bun"),
    ("bun.lockb", "bun"),
];

/// What to do in a repository whose packages are managed by something else than yarn; `None` where they are not.
#[must_use]
pub fn other_manager(root: &Path) -> Option<String> {
    let (file, manager) = OTHERS.iter().find(|(file, _)| root.join(file).is_file())?;
    let has_no_yarn = !root.join("yarn.lock").is_file();
    has_no_yarn.then(|| {
        format!(
            "`{file}` is of {manager}, and the RHDH CLI exports from yarn workspaces only: list the folders of all packages \
             as `workspaces` in `package.json`, run `yarn install`, and commit its `yarn.lock`"
        )
    })
}

/// What stands in a repository.
#[derive(Debug, Default)]
pub struct Found {
    /// The plugins that can be exported, by path.
    pub plugins: Vec<FoundPlugin>,
    /// Folders with the role of a plugin that cannot be exported as they are, each with what is wrong.
    pub left_out: Vec<(RepoPath, String)>,
    /// The workspaces of all plugins.
    pub workspaces: Workspaces,
}

/// Looks through the folder `root` and all below it that git does not ignore.
#[must_use]
pub fn find(root: &Path) -> Found {
    let mut folders = Vec::new();
    let walk = WalkBuilder::new(root)
        .filter_entry(|entry| !NEVER.iter().any(|never| entry.file_name() == *never))
        .sort_by_file_name(Ord::cmp)
        .build();
    // What cannot be read holds no plugin that could be built.
    for entry in walk.filter_map(Result::ok).filter(|entry| entry.file_name() == "package.json") {
        let folder = entry.path().parent().and_then(|folder| folder.strip_prefix(root).ok()).and_then(Path::to_str);
        let Some(folder) = folder.and_then(|folder| RepoPath::new(if folder.is_empty() { "." } else { folder }).ok())
        else {
            continue;
        };
        if PackageJson::read(entry.path()).is_ok_and(|manifest| manifest.role().is_ok()) {
            folders.push(folder);
        }
    }
    let (workspaces, errors) = workspace::discover(root, &folders);
    let errors: HashMap<RepoPath, String> = errors.into_iter().map(|(path, error)| (path, error.to_string())).collect();
    let mut found = Found { workspaces, ..Found::default() };
    for folder in folders {
        let plugin = match errors.get(&folder) {
            Some(error) => Err(error.clone()),
            None => plugin(root, &folder, &found.workspaces),
        };
        match plugin {
            Ok(plugin) => found.plugins.push(plugin),
            Err(why) => found.left_out.push((folder, why)),
        }
    }
    found
}

fn plugin(root: &Path, folder: &RepoPath, workspaces: &Workspaces) -> Result<FoundPlugin, String> {
    let workspace = workspaces.of(folder).ok_or("it is in no yarn workspace")?;
    let manifest = &workspace.packages.get(folder).ok_or("it is in no yarn workspace")?.manifest;
    let version = manifest.version.clone().ok_or("its `package.json` has no `version`")?;
    if !is_exact_version(&version) || !is_tag(&version) {
        return Err(format!("`{version}` is not a version"));
    }
    let file = |name: &str| folder.join(name).ok().filter(|path| path.under(root).is_file());
    let is_mapping = |path: &RepoPath| {
        let text = fs_err::read_to_string(path.under(root)).unwrap_or_default();
        serde_yaml::from_str(&text).is_ok_and(|value: serde_json::Value| value.is_object())
    };
    Ok(FoundPlugin {
        path: folder.clone(),
        workspace: workspace.path.clone(),
        package: manifest.name.clone().ok_or("its `package.json` has no `name`")?,
        role: manifest.role().map_err(|error| error.to_string())?,
        plugin_id: manifest.backstage.plugin_id.clone().filter(|id| !id.is_empty()),
        version,
        app_config: file("app-config.dynamic.yaml").filter(is_mapping),
        scalprum_config: file("scalprum-config.json"),
    })
}
