//! What is found without git, against what git finds.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Command;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use tempfile::TempDir;

use super::*;

/// A repository that lives as long as the test.
struct Repo {
    _keep: TempDir,
    root: PathBuf,
}

impl Repo {
    fn new() -> Self {
        let keep = TempDir::new().unwrap();
        let repo = Self { root: keep.path().canonicalize().unwrap(), _keep: keep };
        repo.git(&["init", "--quiet", "--initial-branch=main"]);
        repo
    }

    fn git(&self, arguments: &[&str]) -> String {
        self.git_with(&arguments.iter().map(OsString::from).collect::<Vec<_>>())
    }

    fn git_with(&self, arguments: &[OsString]) -> String {
        let settings = ["user.name=t", "user.email=t@example.com", "protocol.file.allow=always"];
        let mut command = Command::new("git");
        command.current_dir(&self.root).args(settings.iter().flat_map(|it| ["-c", it])).args(arguments);
        command.env("GIT_CONFIG_NOSYSTEM", "1").env_remove("GIT_DIR").env_remove("GIT_WORK_TREE");
        let output = command.output().expect("git is not on PATH; install it");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn write(&self, path: &str, text: &str) {
        self.write_bytes(path.as_bytes(), text);
    }

    fn write_bytes(&self, path: &[u8], text: &str) {
        let path = self.root.join(OsStr::from_bytes(path));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", "all"]);
    }

    /// The working tree, seen from a folder of it, which both ways must show as the same.
    fn agreed_in(&self, folder: &str) -> Snapshot {
        let git = Git::open(&self.root.join(folder)).unwrap().unwrap();
        let index = git.index(Index::ahead(git.folder())).expect("the index is a usual one");
        let walked = by_walk(&git, &index, &RepoPath::default()).unwrap().expect("the repository is a usual one");
        let asked = by_git(&git).unwrap();
        assert_eq!(told(&walked), told(&asked));
        if let Some(head) = git.commit("HEAD") {
            let beside = Snapshot::of_commit_beside(&git, &head, &index).unwrap();
            assert_eq!(told(&beside), told(&Snapshot::of_commit(&git, &head).unwrap()));
        }
        walked
    }

    fn agreed(&self) -> Vec<String> {
        told(&self.agreed_in(""))
    }

    /// Whether git has to be asked for everything.
    fn is_left_to_git(&self) -> bool {
        let git = Git::open(&self.root).unwrap().unwrap();
        git.index(Index::ahead(git.folder()))
            .is_none_or(|index| by_walk(&git, &index, &RepoPath::default()).unwrap().is_none())
    }
}

fn told(snapshot: &Snapshot) -> Vec<String> {
    let told = snapshot.iter().map(|(path, file)| {
        format!("{} {} {}", path.escape_ascii(), file.kind.mode(), String::from_utf8_lossy(file.id))
    });
    told.collect()
}

fn paths(told: &[String]) -> Vec<&str> {
    told.iter().map(|line| line.rsplitn(3, ' ').last().unwrap()).collect()
}

/// Names that end up in each other's way.
const NAMES: [&[u8]; 12] = [
    b"a",
    b"b",
    b"a.b",
    b"a-",
    b"dist",
    b"node_modules",
    b"x y",
    b"new\nline",
    b"\xff\xfe",
    b"\"q\"",
    b"!n",
    b":(top)",
];

const PATTERNS: [&str; 16] = [
    "dist", "/dist", "dist/", "*.b", "!*.b", "!a", "a/", "/a/b", "a/*", "!a/b", "**/b", "b/**", "\\!n", "\\#c",
    "x y  ", "[ab]",
];

/// A change to a working tree.
#[derive(Clone, Debug)]
enum Edit {
    Write(Vec<u8>, u8),
    Link(Vec<u8>, u8),
    Remove(Vec<u8>),
    Mode(Vec<u8>),
    Ignore(Vec<u8>, Vec<usize>),
    Add(Vec<u8>),
    AddForced(Vec<u8>),
    Commit,
}

impl Edit {
    fn apply(&self, repo: &Repo) {
        let place = |path: &[u8]| repo.root.join(OsStr::from_bytes(path));
        let clear = |path: &[u8]| {
            // What stands in the way of a path, and what is at its place.
            let place = place(path);
            let above = place.ancestors().filter(|it| it.starts_with(&repo.root) && **it != *repo.root);
            for at in above.collect::<Vec<_>>().into_iter().rev() {
                match fs::symlink_metadata(at) {
                    Ok(found) if found.is_dir() && at == place => fs::remove_dir_all(at).unwrap(),
                    Ok(found) if !found.is_dir() => fs::remove_file(at).unwrap(),
                    _ => {}
                }
            }
            fs::create_dir_all(place.parent().unwrap()).unwrap();
        };
        match self {
            Self::Write(path, content) => {
                clear(path);
                fs::write(place(path), [*content]).unwrap();
            }
            Self::Link(path, target) => {
                clear(path);
                symlink(OsStr::from_bytes(NAMES[usize::from(*target) % NAMES.len()]), place(path)).unwrap();
            }
            Self::Remove(path) => {
                let _ = fs::remove_file(place(path)).or_else(|_| fs::remove_dir_all(place(path)));
            }
            Self::Mode(path) => {
                if let Ok(found) = fs::symlink_metadata(place(path))
                    && found.is_file()
                {
                    let mode = found.permissions().mode() ^ 0o111;
                    fs::set_permissions(place(path), fs::Permissions::from_mode(mode)).unwrap();
                }
            }
            Self::Ignore(folder, patterns) => {
                let text: Vec<&str> = patterns.iter().map(|at| PATTERNS[at % PATTERNS.len()]).collect();
                let file = if folder.is_empty() {
                    b".git/info/exclude".to_vec()
                } else {
                    [folder, &b"/.gitignore"[..]].concat()
                };
                if !file.starts_with(b".git/") {
                    clear(&file);
                }
                fs::write(place(&file), text.join("\n")).unwrap();
            }
            Self::Add(path) | Self::AddForced(path) => {
                let mut command = vec![OsString::from("--literal-pathspecs"), "add".into()];
                command.extend(matches!(self, Self::AddForced(_)).then(|| "--force".into()));
                // A path that is ignored, or is not there, is refused.
                let _ = Command::new("git")
                    .current_dir(&repo.root)
                    .args(command)
                    .arg("--")
                    .arg(OsStr::from_bytes(path))
                    .output()
                    .unwrap();
            }
            Self::Commit => repo.commit(),
        }
    }
}

fn any_path() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(0..NAMES.len(), 1..4)
        .prop_map(|parts| parts.into_iter().map(|part| NAMES[part]).collect::<Vec<_>>().join(&b'/'))
}

fn any_edit() -> impl Strategy<Value = Edit> {
    let patterns = prop::collection::vec(0..PATTERNS.len(), 1..4);
    prop_oneof![
        6 => (any_path(), 0..3u8).prop_map(|(path, content)| Edit::Write(path, content)),
        1 => (any_path(), any::<u8>()).prop_map(|(path, target)| Edit::Link(path, target)),
        2 => any_path().prop_map(Edit::Remove),
        1 => any_path().prop_map(Edit::Mode),
        2 => (prop_oneof![Just(Vec::new()), any_path()], patterns).prop_map(|(folder, patterns)| Edit::Ignore(folder, patterns)),
        2 => any_path().prop_map(Edit::Add),
        1 => any_path().prop_map(Edit::AddForced),
        1 => Just(Edit::Commit),
    ]
}

proptest! {
    // The same cases on every run; who changes what is tested takes other seeds, too.
    #![proptest_config(ProptestConfig {
        cases: 60, max_shrink_iters: 300, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default()
    })]

    /// Random trees, edits and patterns, many of them in the very moment in which git wrote its index.
    #[test]
    fn both_ways_agree(edits in prop::collection::vec(any_edit(), 1..40)) {
        let repo = Repo::new();
        for edit in &edits {
            edit.apply(&repo);
        }
        repo.agreed();
        if repo.root.join("a").is_dir() && !repo.root.join("a").is_symlink() {
            repo.agreed_in("a");
        }
        repo.commit();
        repo.agreed();
    }
}

#[test]
fn a_file_that_is_changed_in_the_moment_of_the_commit_is_seen() {
    let repo = Repo::new();
    for round in 0..20 {
        repo.write("same-size.ts", &format!("{round:04}"));
        repo.git(&["add", "--all"]);
        let before = repo.agreed();
        repo.write("same-size.ts", &format!("{:04}", round + 1));
        assert_ne!(repo.agreed(), before, "round {round}");
    }
}

#[test]
fn times_that_were_turned_back_do_not_hide_a_change() {
    let repo = Repo::new();
    repo.write("a.ts", "1");
    repo.commit();
    let before = repo.agreed();
    let file = fs::File::open(repo.root.join("a.ts")).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    repo.write("a.ts", "2");
    fs::File::options().write(true).open(repo.root.join("a.ts")).unwrap().set_modified(modified).unwrap();
    assert_ne!(repo.agreed(), before);
}

#[test]
fn files_without_content() {
    let repo = Repo::new();
    repo.write("empty", "");
    repo.write("full", "x");
    repo.commit();
    repo.write("full", "");
    repo.write("other", "");
    assert_eq!(repo.agreed().len(), 3);
}

#[test]
fn folders_files_and_links_take_each_others_place() {
    let repo = Repo::new();
    for path in ["dir/a/one", "dir/a/two", "dir/a.b", "file", "kept/one"] {
        repo.write(path, path);
    }
    symlink("kept", repo.root.join("link")).unwrap();
    repo.commit();
    // A link to a folder with a file of the same name: what is behind it is not what is tracked.
    fs::remove_dir_all(repo.root.join("dir/a")).unwrap();
    symlink("../kept", repo.root.join("dir/a")).unwrap();
    fs::remove_file(repo.root.join("file")).unwrap();
    repo.write("file/inside", "x");
    fs::remove_file(repo.root.join("link")).unwrap();
    repo.write("link", "kept");
    let told = repo.agreed();
    assert_eq!(paths(&told), ["dir/a", "dir/a.b", "file/inside", "kept/one", "link"]);
    repo.commit();
    assert_eq!(repo.agreed(), told);
}

#[test]
fn pipes_and_sockets_are_no_files() {
    let repo = Repo::new();
    repo.write("was-a-file", "x");
    repo.commit();
    fs::remove_file(repo.root.join("was-a-file")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(repo.root.join("was-a-file")).unwrap();
    let _other = std::os::unix::net::UnixListener::bind(repo.root.join("new")).unwrap();
    assert_eq!(repo.agreed(), Vec::<String>::new());
}

#[test]
fn filters_and_line_ends_are_gits() {
    let repo = Repo::new();
    repo.write(".gitattributes", "*.up filter=up\n*.txt text eol=crlf\n");
    repo.git(&["config", "filter.up.clean", "tr a-z A-Z"]);
    repo.git(&["config", "core.autocrlf", "true"]);
    for (path, text) in [("a.up", "abc"), ("b.txt", "a\r\nb\r\n"), ("c.ts", "a\r\nb\r\n")] {
        repo.write(path, text);
    }
    repo.commit();
    let before = repo.agreed();
    for (path, text) in [("a.up", "abc"), ("b.txt", "a\r\nb\r\n"), ("c.ts", "a\r\nb\r\n")] {
        fs::remove_file(repo.root.join(path)).unwrap();
        repo.write(path, text);
    }
    assert_eq!(repo.agreed(), before);
    repo.write("new.up", "abc");
    assert_eq!(repo.agreed().len(), 5);
}

#[test]
fn what_is_ignored_is_what_git_ignores() {
    let repo = Repo::new();
    let everywhere = repo.root.join(".git/everywhere");
    fs::write(&everywhere, "*.global\n").unwrap();
    repo.git(&["config", "core.excludesFile", &everywhere.display().to_string()]);
    fs::write(repo.root.join(".git/info/exclude"), "info\n").unwrap();
    repo.write(".gitignore", "dist/\n*.log\n!keep.log\nall/*\n!all/but\n");
    repo.write("deep/.gitignore", "!*.log\n");
    repo.write("dist/tracked", "x");
    repo.git(&["add", "--force", "dist/tracked"]);
    repo.git(&["commit", "--quiet", "--message", "tracked though ignored"]);
    let files = ["dist/new", "a.log", "keep.log", "deep/a.log", "all/one", "all/but", "x.global", "info", "sub/dist/x"];
    files.iter().for_each(|path| repo.write(path, "x"));
    repo.write("dist/tracked", "y");
    let told = repo.agreed();
    let expected = [".gitignore", "all/but", "deep/.gitignore", "deep/a.log", "dist/tracked", "keep.log"];
    assert_eq!(paths(&told), expected);
}

#[test]
fn more_untracked_folders_than_fit_on_a_command_line() {
    let repo = Repo::new();
    (0..500).for_each(|number| repo.write(&format!("new{number}/file"), "x"));
    (0..500).for_each(|number| repo.write(&format!("tracked/file{number}"), "x"));
    repo.git(&["add", "tracked"]);
    (0..500).for_each(|number| repo.write(&format!("tracked/file{number}"), "y"));
    assert_eq!(repo.agreed().len(), 1_000);
}

#[test]
fn repositories_in_the_repository() {
    let library = Repo::new();
    library.write("index.ts", "1");
    library.commit();
    let repo = Repo::new();
    repo.write("src/index.ts", "1");
    repo.commit();
    let url = library.root.display().to_string();
    repo.git(&["submodule", "--quiet", "add", &url, "vendor"]);
    // Not a submodule, and a folder that only looks like a repository.
    repo.git(&["clone", "--quiet", &url, "nested"]);
    repo.write("pretender/.git/x", "x");
    repo.write("pretender/file", "x");
    let clean = repo.agreed();
    assert_eq!(paths(&clean), [".gitmodules", "nested/index.ts", "pretender/file", "src/index.ts", "vendor"]);
    repo.write("vendor/index.ts", "2");
    repo.write("vendor/new.ts", "2");
    assert_eq!(repo.agreed().len(), clean.len() + 2);
    repo.git(&["-C", "vendor", "add", "--all"]);
    repo.git(&["-C", "vendor", "commit", "--quiet", "--message", "second"]);
    let moved = repo.agreed();
    assert_ne!(moved, clean);
    fs::remove_dir_all(repo.root.join("vendor")).unwrap();
    assert_eq!(repo.agreed().len(), clean.len() - 1);
    repo.write("vendor", "a file");
    repo.agreed();
}

#[test]
fn worktrees_and_every_version_of_the_index() {
    let repo = Repo::new();
    let names: BTreeSet<String> =
        (0..60).map(|number| format!("folder{}/f{}", number % 7, "x".repeat(number))).collect();
    names.iter().for_each(|path| repo.write(path, path));
    repo.commit();
    for version in ["2", "3", "4"] {
        repo.git(&["update-index", "--index-version", version]);
        repo.write("folder1/fx", version);
        assert_eq!(repo.agreed().len(), 60, "version {version}");
    }
    let other = Repo::new();
    repo.git(&["worktree", "add", "--quiet", "--detach", &other.root.join("tree").display().to_string()]);
    other.write("tree/new", "x");
    let tree = Repo { root: other.root.join("tree"), _keep: other._keep };
    assert_eq!(tree.agreed().len(), 61);
}

#[test]
fn ids_by_sha256() {
    let keep = TempDir::new().unwrap();
    let repo = Repo { root: keep.path().canonicalize().unwrap(), _keep: keep };
    repo.git(&["init", "--quiet", "--object-format=sha256"]);
    repo.write("a", "");
    repo.write("b", "b");
    repo.commit();
    symlink("a", repo.root.join("c")).unwrap();
    repo.write("b", "c");
    assert_eq!(repo.agreed().len(), 3);
}

#[test]
fn what_is_unusual_is_left_to_git() {
    let unusual: [(&str, &[&[&str]]); 9] = [
        ("assume unchanged", &[&["update-index", "--assume-unchanged", "a"]]),
        ("skip worktree", &[&["update-index", "--skip-worktree", "a"]]),
        ("intent to add", &[&["add", "--intent-to-add", "new"]]),
        ("split index", &[&["update-index", "--split-index"]]),
        ("modes do not count", &[&["config", "core.fileMode", "no"]]),
        ("links are files", &[&["config", "core.symlinks", "0"]]),
        ("case does not count", &[&["config", "core.ignoreCase", "true"]]),
        ("times of change do not count", &[&["config", "core.trustctime", "false"]]),
        ("sparse", &[&["sparse-checkout", "set", "--cone", "--sparse-index", "dir"]]),
    ];
    for (what, commands) in unusual {
        let repo = Repo::new();
        ["a", "dir/b", "other/c"].iter().for_each(|path| repo.write(path, path));
        repo.commit();
        repo.agreed();
        repo.write("new", "x");
        commands.iter().for_each(|command| drop(repo.git(command)));
        assert!(repo.is_left_to_git(), "{what}");
        let git = Git::open(&repo.root).unwrap().unwrap();
        let index = git.index(Index::ahead(git.folder()));
        let seen = Snapshot::of_working_tree(&git, index.as_ref(), &RepoPath::default()).unwrap();
        assert_eq!(told(&seen), told(&by_git(&git).unwrap()), "{what}");
    }
    // A conflict.
    let repo = Repo::new();
    repo.write("a", "1");
    repo.commit();
    repo.git(&["branch", "other"]);
    repo.write("a", "2");
    repo.commit();
    repo.git(&["checkout", "--quiet", "other"]);
    repo.write("a", "3");
    repo.commit();
    let merge = Command::new("git").current_dir(&repo.root).args(["merge", "main"]).output().unwrap();
    assert!(!merge.status.success() && repo.is_left_to_git());
}

#[test]
fn a_damaged_index_is_left_to_git() {
    let repo = Repo::new();
    ["a", "b/c", "b/d"].iter().for_each(|path| repo.write(path, path));
    repo.commit();
    let file = repo.root.join(".git/index");
    let whole = fs::read(&file).unwrap();
    assert!(Index::read(&file, b"", 20).is_some());
    for end in 0..whole.len() {
        fs::write(&file, &whole[..end]).unwrap();
        // Of what is cut off behind the last file, nothing is needed.
        assert!(Index::read(&file, b"", 20).is_none_or(|index| index.files.len() == 3), "{end}");
    }
    for at in 0..whole.len() {
        for byte in [0, 1, 0x7f, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] = byte;
            fs::write(&file, &damaged).unwrap();
            // Whatever it says, it is read without a panic.
            let _ = Index::read(&file, b"b/", 20);
        }
    }
    fs::remove_file(&file).unwrap();
    assert_eq!(Index::read(&file, b"", 20).map(|index| index.files.len()), Some(0));
}
