//! Our patterns against npm's own minimatch, on random patterns and paths.

use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::{Name, Path, Pattern};

/// Answers every `[pattern, path]` of its input with `[negate, relative, match, partial match]`.
const ORACLE: &str = r"
const { execSync } = require('child_process');
const root = execSync('npm root --global', { stdio: ['ignore', 'pipe', 'ignore'] }).toString().trim();
const { Minimatch } = require(root + '/npm/node_modules/minimatch');
const options = { matchBase: true, dot: true, flipNegate: true, nocase: true };
const pairs = JSON.parse(require('fs').readFileSync(0));
console.log(JSON.stringify(pairs.map(([pattern, path]) => {
  let rule;
  // Of some POSIX classes minimatch makes regular expressions that JavaScript refuses.
  try { rule = new Minimatch(pattern, options); } catch { return null; }
  const relative = rule.globParts.some(part => part.length <= (part.slice(-1)[0] ? 1 : 2));
  return [rule.negate, relative, rule.match(path), rule.match(path, true)];
})));
";

fn characters() -> impl Strategy<Value = String> {
    let common = prop::sample::select("abAB.*?[]!^-{},()+@|\\/1#~é".chars().collect::<Vec<char>>());
    let blocks = prop::sample::select(vec![
        "**",
        "*(",
        "+(",
        "@(",
        "?(",
        "!(",
        "[a-c]",
        "[!a]",
        "{a,b}",
        "{1..3}",
        "[[:alpha:]]",
        "[[:digit:]]",
        "a",
        "b",
        ".js",
        "..",
        "/",
        "/**/",
        ")",
        "|",
    ]);
    let part = prop_oneof![common.prop_map(String::from), blocks.prop_map(str::to_owned)];
    prop::collection::vec(part, 1..9).prop_map(|parts| parts.concat())
}

fn path() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        4 => prop::sample::select(vec!["a", "b", "ab", "A", "aa", "a.js", "b.js", "ab.b", "1", "2a", ".a", "é", "É"]).prop_map(str::to_owned),
        1 => "[abAB.1é()+!|-]{1,4}".prop_filter("never names", |name| !matches!(name.as_str(), "." | "..")),
    ];
    let names = prop::collection::vec(name, 1..5).prop_map(|names| names.join("/"));
    (any::<bool>(), names, any::<bool>()).prop_map(|(leading, names, trailing)| {
        format!("{}{names}{}", if leading { "/" } else { "" }, if trailing { "/" } else { "" })
    })
}

fn ours(pattern: &str, path: &str) -> (bool, bool, bool, bool) {
    let names: Vec<Name> = path.split('/').filter(|name| !name.is_empty()).map(Name::new).collect();
    let names: Vec<&Name> = names.iter().collect();
    let path = Path { names: &names, leading: path.starts_with('/'), trailing: path.ends_with('/') };
    let pattern = Pattern::new(pattern).unwrap();
    (pattern.negate, pattern.relative, pattern.matches(path, false), pattern.matches(path, true))
}

#[test]
fn random_patterns_match_as_in_npms_minimatch() {
    let cases = std::env::var("RHDH_PACK_TEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(20_000);
    let mut runner = TestRunner::deterministic();
    let strategy = (characters(), path());
    let pairs: Vec<(String, String)> = (0..cases)
        .map(|_| strategy.new_tree(&mut runner).unwrap().current())
        // ignore-walk gives minimatch neither comments nor nothing.
        .filter(|(pattern, _)| !pattern.starts_with('#') && !pattern.trim_start_matches('!').is_empty())
        // minimatch 10 forgets to escape an escaped `|` in its regular expression; no name has one.
        .filter(|(pattern, _)| !pattern.contains("\\|"))
        .collect();
    let mut node = Command::new("node")
        .args(["--eval", ORACLE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node is missing: it comes with Node.js");
    node.stdin.take().unwrap().write_all(&serde_json::to_vec(&pairs).unwrap()).unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success(), "npm is missing: run `.ci/tools`");
    let expected: Vec<Option<(bool, bool, bool, bool)>> = serde_json::from_slice(&output.stdout).unwrap();
    let wrong: Vec<String> = pairs
        .iter()
        .zip(&expected)
        .filter(|((pattern, path), expected)| expected.is_some_and(|expected| ours(pattern, path) != expected))
        .map(|((pattern, path), expected)| {
            format!("`{pattern}` `{path}`: {expected:?}, ours {:?}", ours(pattern, path))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), pairs.len(), wrong[..wrong.len().min(40)].join("\n"));
}
