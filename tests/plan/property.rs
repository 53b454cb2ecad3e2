//! Random monorepos and random edits, against an oracle that writes down every input of every plugin before and after,
//! and compares the two texts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use proptest::prelude::*;

use crate::repo::{Repo, built};

const PLUGINS: usize = 4;
const PACKAGES: usize = 8;
const THIRD_PARTY: usize = 8;

/// A monorepo, as plain as it can be said. Packages below `PLUGINS` are plugins.
#[derive(Clone, Debug)]
struct Model {
    packages: Vec<Package>,
    /// Version and dependencies of what comes from the registry.
    third_party: Vec<(u32, BTreeSet<usize>)>,
    /// The configured `embed-packages` of each plugin.
    embed: Vec<BTreeSet<usize>>,
    configured: Vec<bool>,
    tsconfig: u32,
    resolutions: u32,
}

#[derive(Clone, Debug, Default)]
struct Package {
    workspace: BTreeSet<usize>,
    third_party: BTreeSet<usize>,
    /// Development dependencies, which make no difference.
    development: BTreeSet<usize>,
    files: BTreeMap<String, u32>,
    deleted: bool,
    renamed: bool,
    /// Version 2.0.0, which `^1.0.0` does not take.
    raised: bool,
}

/// Where a package stands: two of them inside others.
fn folder(package: usize) -> String {
    match package {
        6 => "plugins/p0/inner".to_owned(),
        7 => "plugins/p5/deep/inner".to_owned(),
        other => format!("plugins/p{other}"),
    }
}

impl Model {
    fn new(seed: &[u8]) -> Self {
        let bits = |at: usize, number: usize, limit: usize| -> BTreeSet<usize> {
            let byte = seed[at % seed.len()];
            (0..number)
                .filter(|bit| *bit < limit && byte >> bit & 1 == 1 && (byte as usize + bit).is_multiple_of(3))
                .collect()
        };
        let packages = (0..PACKAGES).map(|number| Package {
            // Circles between packages are part of the game.
            workspace: bits(number, 8, PACKAGES).into_iter().filter(|other| *other != number).collect(),
            third_party: bits(number + 8, 8, THIRD_PARTY),
            development: bits(number + 16, 8, THIRD_PARTY),
            files: BTreeMap::from([("src/index.ts".to_owned(), 0), ("src/a.ts".to_owned(), 0)]),
            ..Package::default()
        });
        let third_party = (0..THIRD_PARTY).map(|number| (0, bits(number + 24, 8, THIRD_PARTY)));
        Self {
            packages: packages.collect(),
            third_party: third_party.collect(),
            embed: vec![BTreeSet::new(); PLUGINS],
            configured: vec![true; PLUGINS],
            tsconfig: 0,
            resolutions: 0,
        }
    }

    fn edit(&mut self, (kind, a, b): (u8, u8, u8)) {
        let (a, b) = (a as usize, b as usize);
        let package = a % PACKAGES;
        let toggle = |set: &mut BTreeSet<usize>, item: usize| {
            if !set.remove(&item) {
                set.insert(item);
            }
        };
        let files = ["src/index.ts", "src/b.ts", "README.md", "src/x.test.ts", "dist/index.js", "config.d.ts"];
        match kind {
            0..=3 => *self.packages[package].files.entry(files[b % files.len()].to_owned()).or_default() += 1,
            4 => drop(self.packages[package].files.remove(files[b % files.len()])),
            5 => {
                let item = b % PACKAGES;
                if item != package {
                    toggle(&mut self.packages[package].workspace, item);
                }
            }
            6 => toggle(&mut self.packages[package].third_party, b % THIRD_PARTY),
            7 => toggle(&mut self.packages[package].development, b % THIRD_PARTY),
            8 | 9 => self.third_party[a % THIRD_PARTY].0 += 1,
            10 => toggle(&mut self.third_party[a % THIRD_PARTY].1, b % THIRD_PARTY),
            11 => toggle(&mut self.embed[a % PLUGINS], b % PACKAGES),
            12 => self.configured[a % PLUGINS] ^= true,
            13 if b % 4 == 0 => self.tsconfig += 1,
            14 if b % 4 == 0 => self.resolutions += 1,
            // A plugin that is gone is another matter.
            15 if package >= PLUGINS => self.packages[package].deleted ^= true,
            16 => self.packages[package].renamed ^= true,
            17 => self.packages[package].raised ^= true,
            _ => {}
        }
        // A configuration without plugins is refused.
        if self.configured.iter().all(|configured| !configured) {
            self.configured[0] = true;
        }
    }

    /// Whether the workspace has the package that others know by its first name.
    fn is_there(&self, package: usize) -> bool {
        !self.packages[package].deleted && !self.packages[package].renamed
    }

    /// What one package asks of another: every second one names a version.
    fn range(package: usize, other: usize) -> &'static str {
        if (package + other).is_multiple_of(2) { "workspace:^" } else { "^1.0.0" }
    }

    fn manifest(&self, number: usize) -> String {
        let package = &self.packages[number];
        let entry = |name: String, range: &str| format!("\"{name}\": \"{range}\"");
        let workspace =
            package.workspace.iter().map(|other| entry(format!("@acme/p{other}"), Self::range(number, *other)));
        let third = package.third_party.iter().map(|other| entry(format!("t{other}"), "^1.0.0"));
        let development: Vec<String> =
            package.development.iter().map(|other| entry(format!("t{other}"), "^1.0.0")).collect();
        format!(
            "{{\"name\": \"@acme/{}{number}\", \"version\": \"{}.0.0\", \"backstage\": {{\"role\": \"backend-plugin\"}}, \
             \"dependencies\": {{{}}}, \"devDependencies\": {{{}}}}}",
            if package.renamed { "renamed" } else { "p" },
            if package.raised { 2 } else { 1 },
            workspace.chain(third).collect::<Vec<_>>().join(", "),
            development.join(", ")
        )
    }

    fn write(&self, repo: &Repo) {
        if repo.root.join("plugins").exists() {
            repo.remove("plugins");
        }
        let resolutions = format!("{{\"unused\": \"{}\"}}", self.resolutions);
        repo.write(
            "package.json",
            &format!("{{\"workspaces\": [\"plugins/*\", \"plugins/*/inner\", \"plugins/**/inner\"], \"resolutions\": {resolutions}}}"),
        );
        repo.write("tsconfig.json", &self.tsconfig.to_string());
        let mut config = String::new();
        for (number, _) in self.configured.iter().enumerate().filter(|(_, configured)| **configured) {
            let embed: Vec<String> = self.embed[number].iter().map(|other| format!("\"@acme/p{other}\"")).collect();
            let path = folder(number);
            let _ = writeln!(config, "[plugins.p{number}]\npath = \"{path}\"\nembed-packages = [{}]", embed.join(", "));
        }
        repo.write("rhdh-plugins.toml", &config);
        let mut lock = "__metadata:\n  version: 8\n".to_owned();
        for (number, (version, dependencies)) in self.third_party.iter().enumerate() {
            let _ = writeln!(
                lock,
                "\n\"t{number}@npm:^1.0.0\":\n  version: 1.0.{version}\n  resolution: \"t{number}@npm:1.0.{version}\""
            );
            if !dependencies.is_empty() {
                lock.push_str("  dependencies:\n");
                for other in dependencies {
                    let _ = writeln!(lock, "    t{other}: \"npm:^1.0.0\"");
                }
            }
            lock.push_str("  linkType: hard\n");
        }
        // As if each had been published before.
        for number in 0..PACKAGES {
            let _ = writeln!(
                lock,
                "\n\"@acme/p{number}@npm:^1.0.0\":\n  version: 1.0.0\n  resolution: \"@acme/p{number}@npm:1.0.0\"\n  linkType: hard"
            );
        }
        repo.write("yarn.lock", &lock);
        for (number, package) in self.packages.iter().enumerate().filter(|(_, package)| !package.deleted) {
            repo.write(&format!("{}/package.json", folder(number)), &self.manifest(number));
            for (path, content) in &package.files {
                repo.write(&format!("{}/{path}", folder(number)), &content.to_string());
            }
        }
    }

    /// Everything that a plugin is made from, written down.
    fn inputs(&self, plugin: usize) -> Option<String> {
        if !self.configured[plugin] {
            return None;
        }
        let mut packages = BTreeSet::new();
        let embedded = self.embed[plugin].iter().copied().filter(|package| self.is_there(*package));
        let mut next: Vec<usize> = embedded.chain([plugin]).collect();
        while let Some(package) = next.pop() {
            if packages.insert(package) {
                let accepts =
                    |other: &usize| Self::range(package, *other) == "workspace:^" || !self.packages[*other].raised;
                let others = self.packages[package].workspace.iter().copied();
                next.extend(others.filter(|other| self.is_there(*other) && accepts(other)));
            }
        }
        let mut text = format!("{} {} {:?}\n", self.tsconfig, self.resolutions, self.embed[plugin]);
        for package in packages {
            let _ = writeln!(text, "{package} {}", self.manifest(package));
            let files = self.packages[package].files.iter();
            for (path, content) in files
                .filter(|(path, _)| !path.ends_with(".md") && !path.contains(".test.") && !path.starts_with("dist/"))
            {
                let _ = writeln!(text, "{path} {content}");
            }
            // What one package of a plugin gets, another may have had: it is a change all the same.
            let mut third_party = BTreeSet::new();
            let mut next: Vec<usize> = self.packages[package].third_party.iter().copied().collect();
            while let Some(other) = next.pop() {
                if third_party.insert(other) {
                    next.extend(&self.third_party[other].1);
                }
            }
            for other in third_party {
                let (version, dependencies) = &self.third_party[other];
                let _ = writeln!(text, "t{other} {version} {dependencies:?}");
            }
        }
        Some(text)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_plugin_is_missed_and_none_built_for_nothing(
        seed in prop::collection::vec(any::<u8>(), 32),
        edits in prop::collection::vec((0..18u8, any::<u8>(), any::<u8>()), 0..5),
        committed in any::<bool>(),
    ) {
        let before = Model::new(&seed);
        let repo = Repo::empty();
        before.write(&repo);
        repo.git(&["init", "--quiet", "--initial-branch=main"]);
        let base = repo.commit("base");
        let keys = repo.keys();
        let mut after = before.clone();
        for edit in edits {
            after.edit(edit);
        }
        after.write(&repo);
        if committed {
            repo.commit("edit");
        }
        let plan = repo.since(&base);
        let now = repo.keys();
        for plugin in 0..PLUGINS {
            let (old, new) = (before.inputs(plugin), after.inputs(plugin));
            let Some(new) = new else { continue };
            let id = format!("p{plugin}");
            let changed = old.as_ref() != Some(&new);
            prop_assert_eq!(built(&plan).contains(&id.as_str()), changed, "{}: {:?}", id, plan.explain(&id));
            if old.is_some() {
                prop_assert_eq!(keys[&id] != now[&id], changed, "{}: key", id);
            }
        }
    }
}
