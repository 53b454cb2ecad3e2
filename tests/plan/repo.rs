//! A real git repository with a small monorepo in it, and the plan of it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rhdh_pack::ci::Ci;
use rhdh_pack::config;
use rhdh_pack::plan::{
    self, Action, ArtifactTarget, BundleToPlan, Look, Memory, Plan, PluginToPlan, Reason, Request, Selection, Sight,
    Survey,
};
use rhdh_pack::repo_path::RepoPath;
use rhdh_pack::workspace;

/// Two plugins that share a `-common` package, a third that shares nothing, and a bundle.
pub(crate) const CONFIG: &str = r#"
[plugins.todo]
path = "plugins/todo"
[plugins.todo-backend]
path = "plugins/todo-backend"
[plugins.other]
path = "plugins/other"
[bundles.both]
plugins = ["todo", "todo-backend"]
version = "1.0.0"
"#;

pub(crate) const LOCK: &str = r#"__metadata:
  version: 8

"express@npm:^4.0.0":
  version: 4.17.0
  resolution: "express@npm:4.17.0"
  dependencies:
    lodash: "npm:^4.17.0"
  checksum: 10c0/e0
  languageName: node
  linkType: hard

"lodash@npm:^4.17.0":
  version: 4.17.20
  resolution: "lodash@npm:4.17.20"
  checksum: 10c0/1a
  languageName: node
  linkType: hard

"unused@npm:^1.0.0":
  version: 1.0.0
  resolution: "unused@npm:1.0.0"
  checksum: 10c0/aa
  languageName: node
  linkType: hard
"#;

/// A folder that lives as long as the test, with a repository in it.
pub(crate) struct Repo {
    _keep: Option<tempfile::TempDir>,
    pub(crate) root: PathBuf,
}

/// What a plan is made with, besides the repository.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) ci: Vec<(&'static str, String)>,
    pub(crate) base: Option<String>,
    pub(crate) head: Option<String>,
    pub(crate) selection: Selection,
    pub(crate) target: ArtifactTarget,
    pub(crate) overwrite: bool,
    pub(crate) memory: Memory,
}

/// Runs git in `folder`, in an environment without settings of the machine.
pub(crate) fn git(folder: &Path, arguments: &[&str]) -> String {
    git_bytes(folder, &arguments.iter().map(OsStr::new).collect::<Vec<_>>())
}

pub(crate) fn git_bytes(folder: &Path, arguments: &[&OsStr]) -> String {
    let output = Command::new("git")
        .current_dir(folder)
        .args(["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "protocol.file.allow=always"])
        .args(arguments)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_AUTHOR_DATE", "2026-01-01T00:00:00Z")
        .env("GIT_COMMITTER_DATE", "2026-01-01T00:00:00Z")
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .output()
        .expect("git is not on PATH; install it");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

impl Repo {
    /// An empty folder.
    pub(crate) fn empty() -> Self {
        let keep = tempfile::tempdir().unwrap();
        let root = keep.path().canonicalize().unwrap();
        Self { _keep: Some(keep), root }
    }

    /// A folder that somebody else keeps.
    pub(crate) fn at(root: PathBuf) -> Self {
        Self { _keep: None, root }
    }

    /// The monorepo, not in git.
    pub(crate) fn files() -> Self {
        let repo = Self::empty();
        repo.write("rhdh-plugins.toml", CONFIG);
        repo.write("package.json", r#"{"name": "root", "workspaces": ["plugins/*", "packages/*"]}"#);
        repo.write("yarn.lock", LOCK);
        repo.write("tsconfig.json", "{}");
        repo.write(".gitignore", "dist\ndist-dynamic\nnode_modules\n");
        let package = |name: &str, role: &str, dependencies: &str| {
            repo.write(
                &format!("plugins/{name}/package.json"),
                &format!(
                    r#"{{"name": "@acme/{name}", "version": "1.0.0", "backstage": {{"role": "{role}"}},
                        "dependencies": {{{dependencies}}}}}"#
                ),
            );
            repo.write(&format!("plugins/{name}/src/index.ts"), name);
        };
        package("todo", "frontend-plugin", r#""@acme/todo-common": "workspace:^""#);
        package("todo-backend", "backend-plugin", r#""@acme/todo-common": "workspace:^", "express": "^4.0.0""#);
        package("todo-common", "common-library", "");
        package("other", "backend-plugin", r#""unused": "^1.0.0""#);
        repo
    }

    /// The monorepo, committed on `main`.
    pub(crate) fn new() -> Self {
        let repo = Self::files();
        repo.git(&["init", "--quiet", "--initial-branch=main"]);
        repo.commit("first");
        repo
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        git(&self.root, arguments)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.root.join(path)).unwrap()
    }

    /// Replaces text in a file that must have it.
    pub(crate) fn edit(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert!(text.contains(from), "{path} has no {from}");
        self.write(path, &text.replace(from, to));
    }

    pub(crate) fn remove(&self, path: &str) {
        let path = self.root.join(path);
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
    }

    /// Commits everything.
    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// A clone in a folder of its own; `file://`, for a depth to have an effect.
    pub(crate) fn clone_with(&self, arguments: &[&str]) -> Self {
        let clone = Self::empty();
        let url = format!("file://{}", self.root.display());
        git(&clone.root, &[&["clone", "--quiet"], arguments, &[&url, "."]].concat());
        clone
    }

    pub(crate) fn try_plan(&self, options: &Options) -> Result<Plan, plan::Error> {
        self.survey(options)?.decide(&options.memory)
    }

    pub(crate) fn survey(&self, options: &Options) -> Result<Survey, plan::Error> {
        let config = config::load(&self.root.join("rhdh-plugins.toml")).unwrap();
        let folders: Vec<RepoPath> = config.plugins.values().map(|plugin| plugin.path.clone()).collect();
        let (workspaces, errors) = workspace::discover(&self.root, &folders);
        assert_eq!(errors, []);
        let plugins = config.plugins.values().map(|plugin| {
            let workspace = workspaces.of(&plugin.path).unwrap();
            let package = &workspace.packages[&plugin.path].manifest;
            PluginToPlan {
                config: plugin,
                role: package.role().unwrap(),
                workspace: workspace.path.clone(),
                version: package.version.clone().unwrap_or_default(),
                image: config::names::to_image_name(package.name.as_deref().unwrap()),
                target: options.target.clone(),
            }
        });
        let bundles = config.bundles.values().map(|bundle| BundleToPlan {
            config: bundle,
            version: "1.0.0".to_owned(),
            target: options.target.clone(),
        });
        let variables: BTreeMap<&str, &String> = options.ci.iter().map(|(name, value)| (*name, value)).collect();
        let ci = Ci::read(|name| variables.get(name).map(|value| (*value).clone()));
        let sight = Sight::begin(Look {
            root: self.root.clone(),
            output: RepoPath::new(".rhdh-pack").unwrap(),
            ci,
            everything: options.selection == Selection::All,
            base: options.base.clone(),
            head: options.head.clone(),
        });
        let request = Request {
            plugins: plugins.collect(),
            bundles: bundles.collect(),
            gone: Vec::new(),
            channel: "next".to_owned(),
            overwrite: options.overwrite,
            selection: options.selection.clone(),
            workspaces: &workspaces,
            config: &config,
        };
        plan::survey(&request, &sight)
    }

    pub(crate) fn plan(&self, options: &Options) -> Plan {
        self.try_plan(options).unwrap()
    }

    /// The plan compared with a revision.
    pub(crate) fn since(&self, base: &str) -> Plan {
        self.plan(&Options { base: Some(base.to_owned()), ..Options::default() })
    }

    /// The content keys of all plugins and bundles.
    pub(crate) fn keys(&self) -> BTreeMap<String, String> {
        let plan = self.plan(&Options { selection: Selection::All, ..Options::default() });
        let plugins = plan.plugins.iter().map(|plugin| (&plugin.id, &plugin.content_key));
        let bundles = plan.bundles.iter().map(|bundle| (&bundle.id, &bundle.content_key));
        plugins.chain(bundles).map(|(id, key)| (id.clone(), key.as_ref().unwrap().to_string())).collect()
    }
}

/// The ids that are built, in the order of the plan.
pub(crate) fn built(plan: &Plan) -> Vec<&str> {
    with(plan, Action::Build)
}

/// The ids with this action.
pub(crate) fn with(plan: &Plan, action: Action) -> Vec<&str> {
    let plugins = plan.plugins.iter().map(|plugin| (plugin.id.as_str(), plugin.action));
    let bundles = plan.bundles.iter().map(|bundle| (bundle.id.as_str(), bundle.action));
    plugins.chain(bundles).filter(|(_, it)| *it == action).map(|(id, _)| id).collect()
}

/// The reasons of a plugin or bundle, in words.
pub(crate) fn reasons(plan: &Plan, id: &str) -> Vec<String> {
    let plugins = plan.plugins.iter().filter(|plugin| plugin.id == id).map(|plugin| &plugin.reasons);
    let bundles = plan.bundles.iter().filter(|bundle| bundle.id == id).map(|bundle| &bundle.reasons);
    let mut all = plugins.chain(bundles);
    all.next().unwrap().iter().map(|Reason { text, .. }| text.clone()).collect()
}
