use super::*;

fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    root
}

fn paths(texts: &[&str]) -> Vec<RepoPath> {
    texts.iter().map(|text| RepoPath::new(text).unwrap()).collect()
}

fn only_error(files: &[(&str, &str)], folder: &str) -> Error {
    let root = tree(files);
    let (_, mut errors) = discover(root.path(), &paths(&[folder]));
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0).1
}

#[test]
fn several_workspaces_in_one_repository() {
    let root = tree(&[
        ("workspaces/todo/yarn.lock", ""),
        ("workspaces/todo/package.json", r#"{"workspaces": {"packages": ["plugins/*", "packages/*"]}}"#),
        ("workspaces/todo/backstage.json", r#"{"version": "1.42.5"}"#),
        ("workspaces/todo/plugins/todo/package.json", r#"{"name": "todo", "dependencies": {"common": "workspace:^"}}"#),
        ("workspaces/todo/plugins/notes.md/readme", ""),
        ("workspaces/todo/packages/common/package.json", r#"{"name": "common", "version": "0.1.0"}"#),
        ("workspaces/lone/yarn.lock", ""),
        ("workspaces/lone/package.json", r#"{"name": "lone"}"#),
    ]);
    let (workspaces, errors) = discover(root.path(), &paths(&["workspaces/todo/plugins/todo", "workspaces/lone"]));
    assert_eq!(errors, []);
    let names: Vec<_> = workspaces.by_path.keys().map(RepoPath::as_str).collect();
    assert_eq!(names, ["workspaces/lone", "workspaces/todo"]);
    let todo = workspaces.of(&paths(&["workspaces/todo/plugins/todo"])[0]).unwrap();
    assert_eq!(todo.backstage.as_deref(), Some("1.42.5"));
    let folders: Vec<_> = todo.packages.keys().map(RepoPath::as_str).collect();
    assert_eq!(folders, ["workspaces/todo", "workspaces/todo/packages/common", "workspaces/todo/plugins/todo"]);
    assert_eq!(todo.packages[2].depends_on, paths(&["workspaces/todo/packages/common"]));
    assert!(workspaces.of(&paths(&["elsewhere"])[0]).is_none());
}

#[test]
fn a_link_to_a_package_says_so() {
    let root = tree(&[
        ("yarn.lock", ""),
        ("package.json", r#"{"workspaces": ["plugins/*"]}"#),
        ("plugins/p/package.json", r#"{"name": "p"}"#),
    ]);
    std::os::unix::fs::symlink("p", root.path().join("plugins/also-p")).unwrap();
    let (_, errors) = discover(root.path(), &paths(&["plugins/also-p"]));
    let text = "`plugins/also-p` is a link to `plugins/p`, which is the package that yarn knows";
    assert_eq!(errors.iter().map(|(_, error)| error.to_string()).collect::<Vec<_>>(), [text]);
}

#[test]
fn nested_workspaces_are_followed() {
    let root = tree(&[
        ("yarn.lock", ""),
        ("package.json", r#"{"workspaces": ["a"]}"#),
        ("a/package.json", r#"{"name": "a", "workspaces": ["b", "."]}"#),
        ("a/b/package.json", r#"{"name": "b", "workspaces": ["**"]}"#),
        ("a/b/c/d/package.json", r#"{"name": "d"}"#),
        ("a/b/c/node_modules/e/package.json", r#"{"name": "e"}"#),
    ]);
    let (workspaces, errors) = discover(root.path(), &paths(&["a/b/c/d"]));
    assert_eq!(errors, []);
    let folders: Vec<_> = workspaces.by_path[0].packages.keys().map(RepoPath::as_str).collect();
    assert_eq!(folders, ["", "a", "a/b", "a/b/c/d"]);
}

#[test]
fn a_lock_file_of_its_own_makes_a_workspace() {
    let root = tree(&[
        ("yarn.lock", ""),
        ("package.json", r#"{"workspaces": ["*"]}"#),
        ("own/package.json", r#"{"name": "own"}"#),
        ("own/yarn.lock", ""),
    ]);
    let (workspaces, errors) = discover(root.path(), &paths(&["own"]));
    assert_eq!(errors, []);
    assert_eq!(workspaces.by_path.keys().map(RepoPath::as_str).collect::<Vec<_>>(), ["own"]);
}

#[test]
fn a_folder_without_workspace_says_why() {
    let package = ("p/package.json", r#"{"name": "p"}"#);
    assert!(matches!(only_error(&[package], "p"), Error::NoLockFile(_)));
    assert!(matches!(only_error(&[], "p"), Error::Folder(_)));
    assert!(matches!(only_error(&[("p/x", "")], "p"), Error::NoPackageJson(_)));
    let unlisted = [package, ("yarn.lock", ""), ("package.json", r#"{"workspaces": ["q"]}"#)];
    assert!(matches!(only_error(&unlisted, "p"), Error::NotListed { .. }));
    let rootless = [package, ("yarn.lock", "")];
    assert!(matches!(only_error(&rootless, "p"), Error::Json(package_json::Error::Unreadable { .. })));
    let nameless = [("p/package.json", "{}"), ("yarn.lock", ""), ("package.json", r#"{"workspaces": ["p"]}"#)];
    assert!(matches!(only_error(&nameless, "p"), Error::Nameless(_)));
}

#[test]
fn what_breaks_a_workspace_names_the_file() {
    let with = |root: &str, other: &str| {
        let files = [
            ("yarn.lock", ""),
            ("package.json", root),
            ("p/package.json", r#"{"name": "p"}"#),
            ("q/package.json", other),
        ];
        only_error(&files, "p").to_string()
    };
    let all = r#"{"workspaces": ["*"]}"#;
    assert_eq!(with(all, "{"), "`q/package.json:1:1` is not valid JSON: EOF while parsing an object");
    assert_eq!(with(all, r#"{"name": "p"}"#), "`p` and `q` are both named `p`");
    assert_eq!(
        with(r#"{"workspaces": 1}"#, "{}"),
        "`workspaces` in `package.json` is a number, not an array of strings"
    );
    assert_eq!(
        with(r#"{"workspaces": ["/p"]}"#, "{}"),
        "cannot follow `/p` of `workspaces` in `package.json`: it is absolute; patterns are relative to the package.json \
         that they stand in"
    );
}

#[test]
fn a_package_that_a_link_leads_to_is_one_package() {
    let root = tree(&[
        ("yarn.lock", ""),
        ("package.json", r#"{"workspaces": ["*"]}"#),
        ("p/package.json", r#"{"name": "p"}"#),
        ("q/package.json", r#"{"name": "q"}"#),
    ]);
    std::os::unix::fs::symlink("p", root.path().join("a")).unwrap();
    std::os::unix::fs::symlink("q", root.path().join("z")).unwrap();
    let (workspaces, errors) = discover(root.path(), &paths(&["p"]));
    assert_eq!(errors, []);
    assert_eq!(workspaces.by_path[0].packages.keys().map(RepoPath::as_str).collect::<Vec<_>>(), ["", "p", "q"]);
}

#[test]
fn many_packages_are_read_in_order() {
    let names: Vec<String> = (0..300).map(|number| format!("p{number:03}")).collect();
    let root = tree(&[("yarn.lock", ""), ("package.json", r#"{"workspaces": ["packages/*"]}"#)]);
    for name in &names {
        let folder = root.path().join("packages").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("package.json"), format!(r#"{{"name": "{name}"}}"#)).unwrap();
    }
    let (workspaces, errors) = discover(root.path(), &paths(&["packages/p007"]));
    assert_eq!(errors, []);
    let found: Vec<_> =
        workspaces.by_path[0].packages.values().skip(1).filter_map(|package| package.manifest.name.clone()).collect();
    assert_eq!(found, names);
}
