use std::fs::create_dir_all;

use proptest::prelude::*;

use super::*;

fn expand(root: &Path, patterns: &[&str]) -> Vec<String> {
    let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
    let found = Patterns::new(&patterns).unwrap().expand(root, &RepoPath::default()).unwrap();
    found.into_keys().map(|path| path.to_string()).collect()
}

fn tree(folders: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for folder in folders {
        create_dir_all(root.path().join(folder)).unwrap();
    }
    root
}

#[test]
fn patterns_match_as_in_yarn() {
    let root = tree(&["packages/a/b", "packages/.hidden", "packages/node_modules/x", "plugins/p", "one", ".dot/x"]);
    let check =
        |patterns: &[&str], expected: &[&str]| assert_eq!(expand(root.path(), patterns), expected, "{patterns:?}");
    check(&["packages/*"], &["packages/a"]);
    check(&["./packages/*/"], &["packages/a"]);
    check(&["packages/**"], &["packages/a", "packages/a/b"]);
    check(&["packages/.*"], &["packages/.hidden"]);
    check(&["{packages,plugins}/*"], &["packages/a", "plugins/p"]);
    check(&["p{ackage{s,x},lugins}/?"], &["packages/a", "plugins/p"]);
    check(&["*/a/b", "one", "none", ".dot/*"], &[".dot/x", "one", "packages/a/b"]);
    check(&["packages/**", "!packages/a"], &[]);
    check(&["packages/**", "!packages/?"], &["packages/a/b"]);
    check(&["packages/a/*", "!packages/a"], &["packages/a/b"]);
    check(&["**/b"], &["packages/a/b"]);
    check(&["**/[!p]*"], &["one", "packages/a", "packages/a/b"]);
    check(&["packages/node_modules/x", "**/x"], &[]);
    check(&["."], &["."]);
}

#[test]
fn links_are_followed_inside_only_and_never_in_circles() {
    let root = tree(&["repository/packages/a/inner", "repository/other/x", "outside/y"]);
    let link = |target: &str, at: &str| std::os::unix::fs::symlink(target, root.path().join(at)).unwrap();
    link("../../outside", "repository/packages/out");
    link("../other", "repository/packages/in");
    link("../..", "repository/packages/a/up");
    link("../../packages", "repository/other/x/back");
    link("nowhere", "repository/packages/broken");
    assert_eq!(
        expand(&root.path().join("repository"), &["packages/**"]),
        ["packages/a", "packages/a/inner", "packages/in", "packages/in/x"]
    );
}

#[test]
fn patterns_that_cannot_be_followed_are_refused() {
    for pattern in ["/packages/*", "../x", "packages/@(a|b)", "packages/!(a)", "a[", &"{a,b}".repeat(12)] {
        assert!(Patterns::new(&[pattern.to_owned()]).is_err(), "{pattern}");
    }
    assert!(Patterns::new(&["packages/a (old)/*".to_owned()]).is_ok());
}

#[test]
fn a_package_whose_name_cannot_be_written_is_an_error() {
    let root = tree(&["packages/a\nb"]);
    assert!(expand(root.path(), &["packages/*"]).is_empty());
    std::fs::write(root.path().join("packages/a\nb/package.json"), "{}").unwrap();
    let patterns = Patterns::new(&["packages/*".to_owned()]).unwrap();
    assert!(patterns.expand(root.path(), &RepoPath::default()).is_err());
}

/// Whether `pattern` matches `path`: slow and obvious.
fn oracle(pattern: &[&str], path: &[&str], dot: bool) -> bool {
    let visible = |name: &str, pattern: &str| dot || !name.starts_with('.') || pattern.starts_with('.');
    match (pattern, path) {
        ([], []) => true,
        (["**", rest @ ..], path) => {
            oracle(rest, path, dot)
                || path.split_first().is_some_and(|(name, tail)| visible(name, "**") && oracle(pattern, tail, dot))
        }
        ([first, rest @ ..], [name, tail @ ..]) => {
            let wild = first.contains(['*', '?']);
            let fits = wildcard(first.as_bytes(), name.as_bytes()) && (!wild || visible(name, first));
            fits && oracle(rest, tail, dot)
        }
        _ => false,
    }
}

fn wildcard(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], name) => {
            wildcard(rest, name) || name.split_first().is_some_and(|(_, tail)| wildcard(pattern, tail))
        }
        ([b'?', rest @ ..], [_, tail @ ..]) => wildcard(rest, tail),
        ([a, rest @ ..], [b, tail @ ..]) => a == b && wildcard(rest, tail),
        _ => false,
    }
}

fn names() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "ab", ".c", "node_modules"]).prop_map(str::to_owned)
}

fn patterns() -> impl Strategy<Value = Vec<String>> {
    let segment = prop::sample::select(vec!["a", "b", "*", "**", "a*", "?", ".*", "{a,.c}", "*b"]);
    let body = prop::collection::vec(segment, 1..4).prop_map(|segments| segments.join("/"));
    let pattern =
        (body, prop::bool::weighted(0.3)).prop_map(|(body, negative)| if negative { format!("!{body}") } else { body });
    prop::collection::vec(pattern, 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Every folder of the tree is asked whether it matches; the walk must find the same ones.
    #[test]
    fn the_walk_finds_what_the_oracle_finds(
        folders in prop::collection::vec(prop::collection::vec(names(), 1..4), 1..12),
        patterns in patterns(),
    ) {
        let folders: Vec<String> = folders.iter().map(|names| names.join("/")).collect();
        let root = tree(&folders.iter().map(String::as_str).collect::<Vec<_>>());
        let mut all = BTreeSet::new();
        for folder in &folders {
            let parts: Vec<&str> = folder.split('/').collect();
            all.extend((1..=parts.len()).map(|length| parts[..length].join("/")));
        }
        let bodies = |negative: bool| -> Vec<String> {
            let chosen = patterns.iter().filter(|pattern| pattern.starts_with('!') == negative);
            chosen.flat_map(|pattern| expand_braces(pattern.trim_start_matches('!')).unwrap()).collect()
        };
        let matches = |pattern: &str, path: &str, dot: bool| {
            oracle(&pattern.split('/').collect::<Vec<_>>(), &path.split('/').collect::<Vec<_>>(), dot)
        };
        let expected: Vec<String> = all
            .iter()
            .filter(|path| !path.split('/').any(|name| NEVER.contains(&name)))
            .filter(|path| {
                bodies(false).iter().any(|pattern| {
                    let segments: Vec<&str> = pattern.split('/').collect();
                    let literal = segments.iter().take_while(|segment| !segment.contains(['*', '?'])).count();
                    let depth = path.split('/').count();
                    let below = depth > literal || literal == segments.len();
                    let kept_out = bodies(true).iter().any(|negative| {
                        let last = negative.rsplit('/').next().unwrap();
                        let stops = last == "**" || !last.contains(['*', '?']);
                        let parts: Vec<&str> = path.split('/').collect();
                        matches(negative, path, true)
                            || stops && (literal + 1..depth).any(|length| matches(negative, &parts[..length].join("/"), true))
                    });
                    below && matches(pattern, path, false) && !kept_out
                })
            })
            .cloned()
            .collect();
        let given: Vec<&str> = patterns.iter().map(String::as_str).collect();
        let texts: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_string()).collect();
        let read = Patterns::new(&texts).unwrap();
        let matching: Vec<String> = all.iter().filter(|path| read.matches(path)).cloned().collect();
        prop_assert_eq!(&matching, &expected);
        prop_assert_eq!(expand(root.path(), &given), expected);
    }
}
