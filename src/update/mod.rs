//! Bringing existing files of RHDH up to date: a `dynamic-plugins.yaml`, the values of a Helm chart, a ConfigMap with
//! the YAML inside. A file's text and what a run published come in; what goes out is the same text in which our
//! references and integrity values are new, and not one other byte.
//!
//! Entries are those of every list `plugins:` in the file, wherever it stands. Values are replaced where they are (see
//! `tree.rs`), and another YAML parser then compares both texts (see `compare.rs`): what differs besides our values is
//! an error, and nothing is written.

mod compare;
mod edit;
mod file;
mod inner;
mod ours;
pub mod pull_request;
mod tree;
mod words;

use std::collections::BTreeSet;

use edit::Edit;
pub use file::File;
pub use ours::Ours;
use ours::{Fit, Wanted};
use tree::{Id, Kind, NotYaml, Tree};

/// No file of plugins comes near this, in bytes; etcd takes 1 MiB.
pub const MAX_BYTES: usize = 8 << 20;

/// Texts in texts in texts: a ConfigMap in a template's parameter goes as deep as two.
const MAX_TEXTS: usize = 3;

/// A file's text, brought up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Updated {
    /// The whole text.
    pub text: String,
    /// What changed, from the beginning of the file to its end.
    pub changes: Vec<Change>,
    /// Entries that are ours, changed or not.
    pub entries: usize,
    /// Entries that name our images and were left as they are: line and reason.
    pub left: Vec<(usize, String)>,
}

/// One value that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The plugin or bundle.
    pub label: String,
    /// The line of the value, from 1.
    pub line: usize,
    /// What changed: `package` or `integrity`.
    pub key: &'static str,
    /// The value before; `None`: there was none.
    pub old: Option<String>,
    /// The value after.
    pub new: String,
}

/// Why a file was not brought up to date.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    /// It is not YAML, or none that can be changed safely.
    #[error("reading `{file}` as YAML: {why}")]
    #[diagnostic(
        code("update-not-yaml"),
        help("correct the file; templates of a Helm chart are not YAML: name the values file")
    )]
    NotYaml {
        /// The file.
        file: String,
        /// What is wrong, and where.
        why: String,
    },
    /// It is larger than any file of plugins.
    #[error("`{file}` is larger than 8 MiB")]
    #[diagnostic(code("update-too-large"), help("name the file that holds `plugins:`"))]
    TooLarge {
        /// The file.
        file: String,
    },
    /// A value of ours stands where it cannot be replaced alone.
    #[error("line {line} of `{file}`: {why}")]
    #[diagnostic(code("update-no-place"), help("{help}"))]
    NoPlace {
        /// The file.
        file: String,
        /// From 1.
        line: usize,
        /// Why not.
        why: String,
        /// How to write it.
        help: &'static str,
    },
    /// Another value than ours would change with it.
    #[error("changing `{file}` would change more than our references: {what}")]
    #[diagnostic(
        code("update-changes-more"),
        help("give the entry a `package` of its own, without anchors and aliases, and run the command again")
    )]
    ChangesMore {
        /// The file.
        file: String,
        /// What else.
        what: String,
    },
    /// It cannot be read or written.
    #[error("reading or writing `{file}`")]
    #[diagnostic(code("update-file"), help("look whether the file is there, and whether it may be written"))]
    Io {
        /// The file.
        file: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It is a link that leads elsewhere.
    #[error("`{file}` is a link to `{to}`, outside of the folder that the command runs in")]
    #[diagnostic(code("update-link"), help("name the file that it leads to"))]
    Link {
        /// The link.
        file: String,
        /// Where it leads.
        to: String,
    },
    /// The result has no reference.
    #[error("the last run published nothing that a file could name")]
    #[diagnostic(
        code("update-nothing-published"),
        help(
            "run `rhdh-pack run --channel NAME` first, without `--dry-run`; or name the output folder of such a run with `--out-dir`"
        )
    )]
    NothingPublished,
    /// `--pr` is none.
    #[error("`{0}` is not a repository on GitHub or GitLab")]
    #[diagnostic(
        code("update-no-repository"),
        help(
            "write it as `--pr owner/name`, with its host where that is another forge's: `--pr gitlab.com/group/project`"
        )
    )]
    NotARepository(String),
    /// A path that is no path in a repository.
    #[error("`{0}` is not the path of a file in a repository")]
    #[diagnostic(
        code("update-no-path"),
        help("with `--pr`, files are named relative to that repository's root: `environments/prod/values.yaml`")
    )]
    NotInRepository(String),
    /// Nobody may propose.
    #[error("there is no token for a pull request in `{repository}`")]
    #[diagnostic(
        code("update-no-token"),
        help(
            "set `{variable}` to a token that may write contents and pull requests there: a GitHub app's or a fine-grained \
             personal one; on GitLab a project access token with the scope `api` and the role Developer"
        )
    )]
    NoToken {
        /// `owner/name`.
        repository: String,
        /// Where a token is looked for first.
        variable: &'static str,
    },
    /// The forge cannot be asked, or says no.
    #[error("proposing the update to `{repository}`")]
    #[diagnostic(
        code("update-pull-request"),
        help("look whether the token may write contents and pull requests (on GitLab: has the scope `api`) there")
    )]
    PullRequest {
        /// `owner/name`.
        repository: String,
        /// What it says.
        #[source]
        source: Box<crate::registry::Error>,
    },
    /// The repository has no such file.
    #[error("in `{repository}`, {why}")]
    #[diagnostic(code("update-no-file"), help("name a file on the default branch, relative to the repository's root"))]
    NoFile {
        /// `owner/name`.
        repository: String,
        /// What is not there.
        why: String,
    },
    /// Somebody committed to our branch.
    #[error("the branch `{branch}` of `{repository}` has commits of others")]
    #[diagnostic(
        code("update-branch-of-others"),
        help("merge its pull request, or delete the branch; then run the command again")
    )]
    BranchOfOthers {
        /// `owner/name`.
        repository: String,
        /// The branch.
        branch: String,
    },
}

impl Error {
    /// True where the environment is to blame (exit code 3).
    #[must_use]
    pub fn is_environment(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::NoToken { .. } | Self::PullRequest { .. })
    }
}

/// Brings `text`, the content of `file`, up to date. The name is for errors.
///
/// # Errors
/// When the text is not YAML, when a value of ours stands where it cannot be replaced, or when more would change.
pub fn update(file: &str, text: &str, ours: &Ours) -> Result<Updated, Error> {
    if text.len() > MAX_BYTES {
        return Err(Error::TooLarge { file: file.to_owned() });
    }
    let mark = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let text_without_mark = &text[mark..];
    let mut found =
        Found { text: text_without_mark, ours, edits: Vec::new(), changes: Vec::new(), entries: 0, left: Vec::new() };
    found.read(0).map_err(|problem| problem.of(file))?;
    let Found { mut edits, mut changes, entries, mut left, .. } = found;
    edits.sort_by_key(|edit| (edit.bytes.start, edit.bytes.end));
    changes.sort_by_key(|change| change.line);
    left.sort();
    let updated = edit::apply(text_without_mark, &edits);
    if updated != text_without_mark {
        compare::only_ours_differs(text_without_mark, &updated, &changes).map_err(|difference| match difference {
            compare::Difference::NotYaml(why) => Error::NotYaml { file: file.to_owned(), why },
            compare::Difference::More(what) => Error::ChangesMore { file: file.to_owned(), what },
        })?;
    }
    Ok(Updated { text: format!("{}{updated}", &text[..mark]), changes, entries, left })
}

/// What is wrong with a text, before it has a file's name.
enum Problem {
    NotYaml(NotYaml),
    NoPlace { line: usize, why: String, help: &'static str },
}

impl Problem {
    fn of(self, file: &str) -> Error {
        let file = file.to_owned();
        match self {
            Self::NotYaml(error) => Error::NotYaml { file, why: error.to_string() },
            Self::NoPlace { line, why, help } => Error::NoPlace { file, line, why, help },
        }
    }
}

/// What was found in one text: lines and bytes are those of this text.
struct Found<'a> {
    text: &'a str,
    ours: &'a Ours,
    edits: Vec<Edit>,
    changes: Vec<Change>,
    entries: usize,
    left: Vec<(usize, String)>,
}

impl Found<'_> {
    /// `depth`: how many texts this one stands in.
    fn read(&mut self, depth: usize) -> Result<(), Problem> {
        let tree = Tree::parse(self.text).map_err(Problem::NotYaml)?;
        // What is reached by several aliases is looked at once.
        let mut seen = BTreeSet::new();
        let mut done = BTreeSet::new();
        let mut todo: Vec<Id> = tree.roots.clone();
        while let Some(id) = todo.pop() {
            let id = tree.resolve(id);
            if !seen.insert(id) {
                continue;
            }
            match &tree.node(id).kind {
                Kind::Scalar { value, .. } if depth < MAX_TEXTS && inner::may_hold_plugins(value) => {
                    inner::read(self, &tree, id, depth)?;
                }
                Kind::Scalar { .. } | Kind::Alias(_) => {}
                Kind::Sequence(items) => todo.extend(items),
                Kind::Mapping(entries) => {
                    for (key, value) in entries {
                        match tree.text(*key) {
                            // What a plugin is configured with is no list of plugins.
                            Some("pluginConfig") => continue,
                            Some("plugins") => {
                                for item in tree.items(*value) {
                                    self.entry(&tree, *item, &mut done)?;
                                }
                            }
                            _ => {}
                        }
                        todo.push(*value);
                    }
                }
            }
        }
        Ok(())
    }

    /// One item of a list `plugins:`. `done` are the values that have their edit.
    fn entry(&mut self, tree: &Tree, item: Id, done: &mut BTreeSet<Id>) -> Result<(), Problem> {
        let Some((key, value)) = tree.entry(item, "package") else { return Ok(()) };
        let Some(package) = tree.text(value) else { return Ok(()) };
        let line = edit::line(self.text, tree.node(value).bytes.start);
        let wanted = match self.ours.fit(package) {
            Fit::Foreign => return Ok(()),
            Fit::Left(why) => {
                self.left.push((line, why));
                return Ok(());
            }
            Fit::Ours(wanted) => wanted,
        };
        self.entries += 1;
        self.replace(tree, value, "package", &wanted.package, &wanted.label, done)?;
        let Wanted { label, integrity: Some(integrity), needs_integrity, .. } = &wanted else { return Ok(()) };
        match tree.entry(item, "integrity") {
            Some((_, value)) => self.replace(tree, value, "integrity", integrity, label, done),
            None if *needs_integrity && done.insert(key) => {
                let edit = edit::add_after(self.text, tree, (key, value), "integrity", integrity);
                self.edits.push(edit.map_err(|why| no_place(line, &why))?);
                self.changes.push(Change {
                    label: label.clone(),
                    line,
                    key: "integrity",
                    old: None,
                    new: integrity.clone(),
                });
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn replace(
        &mut self,
        tree: &Tree,
        value: Id,
        key: &'static str,
        new: &str,
        label: &str,
        done: &mut BTreeSet<Id>,
    ) -> Result<(), Problem> {
        let value = tree.resolve(value);
        let line = edit::line(self.text, tree.node(value).bytes.start);
        let Some(old) = tree.text(value) else {
            return Err(no_place(line, &format!("`{key}` is not a text")));
        };
        if old == new || !done.insert(value) {
            return Ok(());
        }
        self.edits.push(edit::replace(self.text, tree, value, new).map_err(|why| no_place(line, &why))?);
        let (label, old) = (label.to_owned(), Some(old.to_owned()));
        self.changes.push(Change { label, line, key, old, new: new.to_owned() });
        Ok(())
    }
}

fn no_place(line: usize, why: &str) -> Problem {
    Problem::NoPlace {
        line, why: why.to_owned(), help: "write the value on the line of its key, as `package: \"…\"`"
    }
}
