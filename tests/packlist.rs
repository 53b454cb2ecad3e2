//! The files of a package, against `npm pack` itself: one folder for every rule, random folders, and real packages from
//! the npm registry.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use common::plugins::{npm_lists, package_one, packed_paths, request, write};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::json;
use tempfile::TempDir;

/// What we take of a folder, sorted.
fn our_list(folder: &Path) -> Vec<String> {
    let output = TempDir::new().unwrap();
    let mut request = request(output.path(), folder);
    request.artifacts[0].image_wanted = false;
    // These are packages, not plugins: RHDH would not take most of them.
    request.rhdh = Vec::new();
    match package_one(&request) {
        Ok(artifact) => packed_paths(&request, &artifact),
        Err(failure) => panic!("{}: {failure}", folder.display()),
    }
}

/// A folder with these files, each `path` or `path=content`; `path@target` is a link.
fn tree(root: &Path, package_json: &str, files: &[&str]) {
    fs_err::create_dir_all(root).unwrap();
    write(root, "package.json", package_json);
    for file in files {
        if let Some((path, target)) = file.split_once('@').filter(|(path, _)| !path.is_empty() && !path.ends_with('/'))
        {
            fs_err::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            symlink(target, root.join(path)).unwrap();
        } else {
            let (path, content) = file.split_once('=').unwrap_or((file, "x"));
            write(root, path, content);
        }
    }
}

/// A manifest with these fields after name and version.
fn manifest(fields: &str) -> String {
    let comma = if fields.is_empty() { "" } else { "," };
    format!(r#"{{"name":"x","version":"1.0.0"{comma}{fields}}}"#)
}

/// Every rule of npm's packlist, each with a folder that shows it.
fn rules() -> Vec<(&'static str, String, Vec<&'static str>)> {
    let everything = vec![
        "index.js",
        "README.md",
        "readme.md~",
        "ReadMe",
        "LICENSE",
        "LICENSE-MIT",
        "licence.txt",
        "COPYING.md",
        "NOTICE",
        "CHANGELOG.md",
        "lib/README.md",
        "lib/LICENSE",
        "lib/a.js",
        "lib/a.js.map",
        "lib/deep/b.js",
        "lib/test/c.js",
        "test/d.js",
        "dist/e.js",
        "dist/e.js.map",
        ".npmrc",
        "lib/.npmrc",
        ".env",
        ".hidden/x",
        "x.orig",
        "lib/y.orig",
        "npm-debug.log",
        "lib/npm-debug.log",
        ".DS_Store",
        "lib/.DS_Store",
        "._x",
        "lib/._y/z",
        ".a.swp",
        "lib/.b.swp",
        "CVS/x",
        "lib/CVS/x",
        ".svn/x",
        "lib/.hg/x",
        "build/config.gypi",
        "lib/build/config.gypi",
        "archived-packages/x",
        "lib/archived-packages/x",
        ".lock-wscript",
        ".wafpickle-3",
        "package-lock.json",
        "yarn.lock",
        "pnpm-lock.yaml",
        "bun.lockb",
        "lib/yarn.lock",
        "lib/package-lock.json",
        "npm-shrinkwrap.json",
        "node_modules/dep/index.js",
        "lib/node_modules/dep/index.js",
        "a*b.js",
        "@scope/x.js",
        "ünïcode/ß.js",
        "name with space/x y.js",
    ];
    let mut rules: Vec<(&str, String, Vec<&str>)> = Vec::new();
    let mut add = |name: &'static str, fields: &str, more: &[&'static str]| {
        rules.push((name, manifest(fields), everything.iter().chain(more).copied().collect()));
    };
    add("nothing said", "", &[]);
    add("npmignore", "", &[".npmignore=lib\n!lib/deep\n# comment\n\n*.map\n"]);
    add("gitignore", "", &[".gitignore=/dist\n"]);
    add("npmignore beats gitignore", "", &[".npmignore=test\n", ".gitignore=/dist\n"]);
    add("empty npmignore", "", &[".npmignore=", ".gitignore=/dist\n"]);
    add("byte order mark", "", &[".npmignore=\u{feff}lib\r\n  test  \r\n"]);
    add("files beat root ignore files", r#""files":["lib","dist"]"#, &[".npmignore=lib\n"]);
    add("nested npmignore", r#""files":["lib"]"#, &["lib/.npmignore=deep\n*.map\n"]);
    add("nested gitignore", r#""files":["lib"]"#, &["lib/.gitignore=/deep\n", "lib/deep/.gitignore=!b.js\n"]);
    add("nested ignore file negates", "", &[".npmignore=lib\n", "lib/.npmignore=!*\n"]);
    add("nested ignore beside gitignore", "", &[".gitignore=*.map\n", "lib/.npmignore=!a.js.map\n"]);
    add("empty files", r#""files":[]"#, &[]);
    add("files null", r#""files":null"#, &[]);
    add("one file", r#""files":["lib/a.js"]"#, &[]);
    add("one file, ./", r#""files":["./lib/a.js"]"#, &[]);
    add("one file at the root", r#""files":["index.js"]"#, &["lib/index.js", "dist/index.js"]);
    add("a file in a first-level folder", r#""files":["lib/a.js"]"#, &["lib/.npmignore=*.js\n"]);
    add("a file in a deeper folder", r#""files":["lib/deep/b.js"]"#, &["lib/deep/.npmignore=*.js\n"]);
    add("folder, slash", r#""files":["lib/"]"#, &[]);
    add("folder, star", r#""files":["lib/*"]"#, &[]);
    add("folder, two stars", r#""files":["lib/**"]"#, &[]);
    add("folder, two stars and name", r#""files":["lib/**/*.js"]"#, &[]);
    add("rooted", r#""files":["/lib"]"#, &["x/lib/y"]);
    add("glob of a folder", r#""files":["l*"]"#, &[]);
    add("glob of a folder, slash", r#""files":["l*/"]"#, &[]);
    add("negation", r#""files":["lib","!lib/deep"]"#, &[]);
    add("negation anywhere", r#""files":["lib","!test"]"#, &[]);
    add("negated glob", r#""files":["lib","!*.map"]"#, &[]);
    add("negated glob with folders", r#""files":["**/*.js","!**/test/**"]"#, &[]);
    add("double negation", r#""files":["!!lib"]"#, &[]);
    add("negation of a file", r#""files":["lib","!lib/a.js"]"#, &[]);
    add("order of negations", r#""files":["!lib/a.js","lib"]"#, &[]);
    add("extglobs", r#""files":["lib/*.*(c)[tj]s","dist/!(e.js)"]"#, &[]);
    add("extglob with folders", r#""files":["!(lib)/**/*"]"#, &[]);
    add("braces", r#""files":["{lib,dist}/**/*.{js,map}"]"#, &[]);
    add("numbers in braces", r#""files":["v{1..3}.js"]"#, &["v1.js", "v2.js", "v4.js"]);
    add("classes", r#""files":["[k-m]ib/**"]"#, &[]);
    add("question marks", r#""files":["??b/*.js"]"#, &[]);
    add("capital letters", r#""files":["LIB/**/*.JS"]"#, &[]);
    add("hidden files by glob", r#""files":[".*"]"#, &[]);
    add("env", r#""files":[".env","lib"]"#, &[]);
    add(
        "what is never in, listed",
        r#""files":[".npmrc","package-lock.json","yarn.lock","npm-shrinkwrap.json",".git"]"#,
        &[],
    );
    add("everything", r#""files":["**"]"#, &[]);
    add("a star", r#""files":["*"]"#, &[]);
    add("a dot", r#""files":["."]"#, &[]);
    add("parent", r#""files":["../x","lib/../dist"]"#, &[]);
    add("missing", r#""files":["nothing","lib/nothing"]"#, &[]);
    add("spaces", r#""files":["name with space"," lib "]"#, &[]);
    add("unicode", r#""files":["ünïcode"]"#, &[]);
    add("scope", r#""files":["@scope"]"#, &[]);
    add("a link in files", r#""files":["lib","dist"]"#, &[]);
    add("main", r#""files":["dist"],"main":"lib/a.js""#, &[]);
    add("main of nothing", r#""files":["dist"],"main":"""#, &[]);
    add("bin", r#""files":["dist"],"bin":{"x":"./lib/a.js","y":"../lib/deep/b.js"}"#, &[]);
    add("bin, one", r#""files":["dist"],"bin":"lib/a.js""#, &[]);
    add("bin with a backslash", r#""files":["dist"],"bin":"lib\\a.js""#, &[]);
    add("bin without a name", r#""files":["dist"],"bin":{"":"lib/a.js"}"#, &[]);
    add("bins of one name", r#""files":["dist"],"bin":{"z/x":"lib/a.js","a/x":"lib/deep/b.js"}"#, &[]);
    add("browser, list", r#""files":["dist"],"browser":["lib/a.js"]"#, &[]);
    add("browser", r#""files":["dist"],"browser":"lib/a.js""#, &[]);
    add("browser, object", r#""files":["dist"],"browser":{"./lib/a.js":false}"#, &["o", "b", "z"]);
    add("comment in npmignore", "", &[".npmignore=#lib\n\\#x\n", "#x"]);
    add("npmignore with slashes", "", &[".npmignore=lib/deep/\n/test\ndist/*.map\n"]);
    add("npmignore with stars", "", &[".npmignore=**/test\n**/*.map\nlib/**/b.js\n"]);
    add("npmignore with odd spaces", "", &[".npmignore=\u{feff}lib\u{a0}\ntest\u{85}\n\u{2028}dist\n"]);
    add("npmignore of everything", "", &[".npmignore=*\n!lib\n!lib/**\n"]);
    add("npmignore brings back", "", &[".npmignore=!.npmrc\n!x.orig\n!package-lock.json\n!.git\n"]);
    rules
}

#[test]
fn every_rule_gives_npms_list() {
    let folder = TempDir::new().unwrap();
    let rules = rules();
    let folders: Vec<PathBuf> = (0..rules.len()).map(|number| folder.path().join(format!("{number}"))).collect();
    for ((_, manifest, files), folder) in rules.iter().zip(&folders) {
        tree(folder, manifest, files);
    }
    let mut wrong = Vec::new();
    for (((name, ..), folder), npm) in rules.iter().zip(&folders).zip(npm_lists(&folders)) {
        let ours = own_files(our_list(folder));
        if ours != npm {
            wrong.push(difference(name, &npm, &ours));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    eprintln!("{} folders", folders.len());
}

/// Without `node_modules`, which we take whole and npm does not.
fn own_files(mut paths: Vec<String>) -> Vec<String> {
    paths.retain(|path| !path.starts_with("node_modules/"));
    paths
}

fn difference(name: &str, npm: &[String], ours: &[String]) -> String {
    let (npm, ours): (BTreeSet<&String>, BTreeSet<&String>) = (npm.iter().collect(), ours.iter().collect());
    let missing: Vec<_> = npm.difference(&ours).collect();
    let extra: Vec<_> = ours.difference(&npm).collect();
    format!("{name}: only npm has {missing:?}, only we have {extra:?}")
}

/// A random package: its manifest and its files.
#[derive(Clone, Debug)]
struct RandomTree {
    manifest: String,
    files: Vec<(String, String)>,
}

/// Names that meet each other often.
fn name() -> impl Strategy<Value = String> + Clone {
    prop_oneof![
        8 => prop::sample::select(vec!["a", "b", "lib", "dist", "test", "A", "a.js", "b.js", "b.map", "x.test.js", "index.js"]),
        2 => prop::sample::select(vec!["README.md", "LICENSE", "package.json", ".npmrc", ".git", "CVS", ".DS_Store", "x.orig", "._a"]),
        1 => prop::sample::select(vec!["yarn.lock", "a+b", "a(b", "[a]", "{a}", "!a", "#a", " a", "é"]),
    ]
    .prop_map(str::to_owned)
}

fn pattern() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        6 => name(),
        2 => Just("*".to_owned()),
        2 => Just("**".to_owned()),
        2 => prop::sample::select(vec!["*.js", "*.map", "?", "a*", "*.*", ".*", "[ab]", "[!a]*", "{a,b}", "{lib,dist}", "!(a)", "*(a|b)", "+(lib|x)", "@(a|b).js", "?(a)b", "!(*.js)", "[[:alpha:]]", "..", "."]).prop_map(str::to_owned),
    ];
    let parts = prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"));
    let before = prop::sample::select(vec!["", "", "", "/", "./", "!", "!/", "!!"]);
    let after = prop::sample::select(vec!["", "", "", "/", "/*", "/**"]);
    (before, parts, after).prop_map(|(before, parts, after)| format!("{before}{parts}{after}"))
}

fn random_tree() -> impl Strategy<Value = RandomTree> {
    let path = || prop::collection::vec(name(), 1..4).prop_map(|parts| parts.join("/"));
    let ignore = prop::collection::vec(pattern(), 0..5).prop_map(|lines| lines.join("\n"));
    let ignore_file = (
        prop::sample::select(vec!["", "lib/", "a/", "lib/a/", "dist/"]),
        prop::sample::select(vec![".npmignore", ".gitignore"]),
        ignore,
    )
        .prop_map(|(folder, file, text)| (format!("{folder}{file}"), text));
    let files = prop::option::weighted(0.7, prop::collection::vec(pattern(), 0..5));
    (
        prop::collection::vec(path(), 1..25),
        prop::collection::vec(ignore_file, 0..4),
        files,
        prop::option::weighted(0.3, path()),
        prop::option::weighted(0.2, path()),
    )
        .prop_map(|(paths, ignore_files, files, main, bin)| {
            // A frontend's `main` need not be there.
            let mut manifest = json!({ "name": "x", "version": "1.0.0", "backstage": { "role": "frontend-plugin" } });
            if let Some(files) = files {
                manifest["files"] = json!(files);
            }
            if let Some(bin) = bin {
                manifest["bin"] = json!(bin);
            }
            let mut all: Vec<(String, String)> = paths.into_iter().map(|path| (path, "x".to_owned())).collect();
            if let Some(main) = main {
                manifest["main"] = json!(main);
                all.push((main, "x".to_owned()));
            }
            all.extend(ignore_files);
            RandomTree { manifest: manifest.to_string(), files: all }
        })
}

impl RandomTree {
    fn is_main(&self, path: &str) -> bool {
        let manifest: serde_json::Value = serde_json::from_str(&self.manifest).unwrap();
        let rest = manifest["main"].as_str().and_then(|main| path.strip_prefix(main));
        rest.is_some_and(|rest| matches!(rest, "" | ".js" | "/index.js"))
    }

    /// Writes what can be written: a path below a file cannot.
    fn write(&self, root: &Path) {
        write(root, "package.json", &self.manifest);
        for (path, content) in &self.files {
            let path = root.join(path);
            if path != root.join("package.json")
                && fs_err::create_dir_all(path.parent().unwrap()).is_ok()
                && !path.is_dir()
            {
                let _ = fs_err::write(path, content);
            }
        }
    }
}

#[test]
fn random_trees_give_npms_list() {
    let cases = std::env::var("RHDH_PACK_TEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300);
    let folder = TempDir::new().unwrap();
    let mut runner = TestRunner::deterministic();
    let trees: Vec<RandomTree> = (0..cases).map(|_| random_tree().new_tree(&mut runner).unwrap().current()).collect();
    let folders: Vec<PathBuf> = (0..cases).map(|number| folder.path().join(format!("{number}"))).collect();
    for (tree, folder) in trees.iter().zip(&folders) {
        tree.write(folder);
    }
    let npm: Vec<Vec<String>> = folders.chunks(500).flat_map(npm_lists).collect();
    let mut wrong = Vec::new();
    for ((tree, folder), npm) in trees.iter().zip(&folders).zip(npm) {
        let mut ours = own_files(our_list(folder));
        // What node finds for `main` is in, also where npm does not know that it is `main`.
        ours.retain(|path| npm.contains(path) || !tree.is_main(path));
        if ours != npm {
            wrong.push(difference(&format!("{tree:?}"), &npm, &ours));
        }
    }
    assert!(wrong.is_empty(), "{} of {cases}:\n{}", wrong.len(), wrong.join("\n"));
}

/// The folder of the innermost package that a file in `node_modules` belongs to, and its path in that.
fn split_at_package(path: &str) -> Option<(&str, &str)> {
    let start = path.rfind("node_modules/")? + "node_modules/".len();
    let slashes = if path[start..].starts_with('@') { 2 } else { 1 };
    let slash = path[start..].match_indices('/').nth(slashes - 1)?.0 + start;
    Some((&path[..slash], &path[slash + 1..]))
}

/// A path as npm prints it: it takes UUIDs for secrets.
fn redacted(path: &str) -> String {
    let is_uuid = |text: &str| {
        text.len() == 36
            && text.bytes().enumerate().all(|(position, byte)| match position {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            })
    };
    let uuid = (0..path.len()).find_map(|start| path.get(start..start + 36).filter(|text| is_uuid(text)));
    uuid.map_or_else(|| path.to_owned(), |uuid| path.replace(uuid, "***"))
}

/// What the archives of these packages hold in the npm registry.
fn published(specs: &[String]) -> Vec<BTreeSet<String>> {
    let mut command = common::plugins::npm();
    command.args(["pack", "--dry-run", "--json", "--ignore-scripts", "--loglevel=error"]).args(specs);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let packed: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let paths = |packed: &serde_json::Value| -> BTreeSet<String> {
        let files = packed["files"].as_array().unwrap();
        files.iter().map(|file| file["path"].as_str().unwrap().to_owned()).collect()
    };
    packed.iter().map(paths).collect()
}

#[test]
fn real_packages_keep_every_file_that_was_published() {
    let folder = common::npm_packages::large_backend();
    let npm: BTreeSet<String> = npm_lists(std::slice::from_ref(&folder)).remove(0).into_iter().collect();
    let ours: BTreeSet<String> = our_list(&folder).iter().map(|path| redacted(path)).collect();
    let packages: BTreeSet<&str> =
        ours.iter().filter_map(|path| split_at_package(path)).map(|(package, _)| package).collect();
    assert!(packages.len() >= 200, "{} packages", packages.len());
    let own = |paths: &BTreeSet<String>| own_files(paths.iter().cloned().collect());
    assert_eq!(own(&ours), own(&npm));
    assert!(npm.is_subset(&ours), "{:?}", npm.difference(&ours).collect::<Vec<_>>());
    // What npm would leave out was published by the package's author.
    let extra: Vec<(&str, &str)> = ours.difference(&npm).filter_map(|path| split_at_package(path)).collect();
    assert_eq!(extra.len(), ours.len() - npm.len());
    let concerned: Vec<&str> = extra.iter().map(|(package, _)| *package).collect::<BTreeSet<_>>().into_iter().collect();
    let spec = |package: &&str| {
        let manifest = fs_err::read(folder.join(package).join("package.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        format!("{}@{}", manifest["name"].as_str().unwrap(), manifest["version"].as_str().unwrap())
    };
    let published = published(&concerned.iter().map(spec).collect::<Vec<_>>());
    let invented: Vec<_> = extra
        .iter()
        .filter(|(package, path)| {
            let index = concerned.iter().position(|concerned| concerned == package).unwrap();
            !published[index].contains(*path)
        })
        .collect();
    assert!(invented.is_empty(), "{invented:?}");
    eprintln!("{} files of {} packages; npm would lose {} of {concerned:?}", ours.len(), packages.len(), extra.len());
}

#[test]
fn what_a_plugin_needs_is_in_whatever_files_say() {
    let folder = TempDir::new().unwrap();
    let frontend = folder.path().join("frontend");
    tree(
        &frontend,
        r#"{"name":"x","version":"1.0.0","main":"dist/index.esm.js","files":["README.md"],"configSchema":"config.d.ts",
            "exports":{".":{"types":"./dist/index.d.ts","default":"./dist/index.esm.js"},"./alpha":"./dist/alpha.esm.js","./l/*":"./locales/*.js"},
            "backstage":{"role":"frontend-plugin"}}"#,
        &[
            "README.md",
            "unlisted.js",
            "config.d.ts",
            r#"alpha/package.json={"main":"../dist/alpha.esm.js","types":"../dist/alpha.d.ts"}"#,
            "dist/alpha.d.ts",
            "locales/de.js",
            "locales/deep/fr.js",
            "locales/README",
            r#"src/package.json={"main":"./index.ts"}"#,
            r#"dist-scalprum/plugin-manifest.json={"name":"x","loadScripts":["x.js"]}"#,
            "dist-scalprum/x.js",
            "dist-scalprum/unnamed.js",
            "dist-scalprum/configSchema.json",
            r#"dist/mf-manifest.json={"metaData":{"remoteEntry":{"name":"remote.js","path":"entry"}},"shared":[{"assets":{"js":{"sync":["s.js"],"async":["a.js"]},"css":{"sync":["s.css"]}}}],"exposes":[{"assets":{"js":{"async":["e.js"]}}}]}"#,
            "dist/entry/remote.js",
            "dist/s.js",
            "dist/a.js",
            "dist/s.css",
            "dist/e.js",
            "dist/unnamed.js",
        ],
    );
    let named = our_list(&frontend);
    assert_eq!(
        named,
        [
            "README.md",
            "alpha/package.json",
            "config.d.ts",
            "dist-scalprum/configSchema.json",
            "dist-scalprum/plugin-manifest.json",
            "dist-scalprum/x.js",
            "dist/a.js",
            "dist/alpha.d.ts",
            "dist/e.js",
            "dist/entry/remote.js",
            "dist/mf-manifest.json",
            "dist/s.css",
            "dist/s.js",
            "locales/de.js",
            "locales/deep/fr.js",
            "package.json",
        ]
    );
    let backend = folder.path().join("backend");
    tree(
        &backend,
        r#"{"name":"x","version":"1.0.0","main":"./dist/index","files":[],
            "exports":{".":{"types":"./gone.d.ts","backstage":"@backstage/BackendFeature","require":"./dist/main.cjs.js"},"./package.json":"./package.json"},
            "backstage":{"role":"backend-plugin"}}"#,
        &["dist/index/index.js", "dist/main.cjs.js", "dist/configSchema.json", "dist/chunk.js"],
    );
    assert_eq!(
        our_list(&backend),
        ["dist/configSchema.json", "dist/index/index.js", "dist/main.cjs.js", "package.json"]
    );
}

#[test]
fn every_star_of_an_exports_target_stands_for_the_same() {
    let folder = TempDir::new().unwrap();
    let manifest = r#"{"name":"x","version":"1.0.0","main":"dist/main.js","files":["dist"],
        "exports":{".":"./dist/main.js","./*":"./lib/*/*.js","./up/*":"./up/*/../x.js"},"backstage":{"role":"backend-plugin"}}"#;
    let files = ["dist/main.js", "lib/a/a.js", "lib/a/b.js", "lib/bc/bc.js", "lib/bc/x/bc.js", "lib/x.js", "up/a/x.js"];
    tree(folder.path(), manifest, &files);
    assert_eq!(our_list(folder.path()), ["dist/main.js", "lib/a/a.js", "lib/bc/bc.js", "package.json"]);
}

/// A pattern for the whole package names nothing, and what holds secrets is packed by no name.
#[test]
fn exports_bring_no_secrets() {
    let folder = TempDir::new().unwrap();
    let files = [
        "dist/main.js",
        ".npmrc",
        ".env",
        ".git/config",
        "src/secret.js",
        "lib/a.js",
        "lib/.npmrc",
        "lib/.git/config",
        "lib/node_modules/.bin/x",
    ];
    let manifest = |exports: &str| {
        format!(
            r#"{{"name":"x","version":"1.0.0","main":"dist/main.js","files":["dist"],"exports":{exports},
                "backstage":{{"role":"backend-plugin"}}}}"#
        )
    };
    tree(
        folder.path(),
        &manifest(r#"{".":"./dist/main.js","./*":"./*","./js/*":"./*.js","./lib/*":"./lib/*"}"#),
        &files,
    );
    assert_eq!(our_list(folder.path()), ["dist/main.js", "lib/a.js", "package.json"]);
    tree(folder.path(), &manifest(r#"{".":"./dist/main.js","./npmrc":{"types":"./.npmrc"}}"#), &[]);
    assert_eq!(our_list(folder.path()), ["dist/main.js", "package.json"]);
    tree(folder.path(), &manifest(r#"{".":"./dist/main.js","./npmrc":"./.npmrc"}"#), &[]);
    let request = common::plugins::request(&folder.path().join("output"), folder.path());
    let failure = common::plugins::package_one(&request).unwrap_err().to_string();
    assert!(failure.contains("it is never packed"), "{failure}");
}
