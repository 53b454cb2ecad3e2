//! What git says of the two states that are compared. It is asked while the caller still reads the configuration: to
//! look through the working tree takes git longer than anything else takes.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::thread;

use super::base::{self, Base};
use super::git::{Git, GitError};
use super::index::Index;
use super::lock::Ahead;
use super::snapshot::Snapshot;
use super::survey::Error;
use crate::ci::Ci;
use crate::repo_path::RepoPath;

/// What to look at.
#[derive(Clone, Debug)]
pub struct Look {
    /// The folder of `rhdh-plugins.toml`.
    pub root: PathBuf,
    /// The output folder, relative to that: nothing in it is an input. Empty where it is elsewhere.
    pub output: RepoPath,
    /// What the CI says.
    pub ci: Ci,
    /// Whether to compare with nothing, unless `base` says otherwise (`--all`).
    pub everything: bool,
    /// `--base`: the revision to compare with.
    pub base: Option<String>,
    /// `--head`: the revision to plan; `None`: what stands on disk, committed or not. It should be the one that is
    /// checked out: what `package.json` files say is read from disk.
    pub head: Option<String>,
}

/// What a thread will know.
type Pending<T> = LazyLock<T, Box<dyn FnOnce() -> T + Send>>;

/// The answers, each of which may still be waited for.
pub struct Sight {
    pub(super) look: Look,
    opened: Pending<Result<Opened, Error>>,
    lock: Pending<Option<Ahead>>,
}

/// The answers of a repository.
struct Opened {
    git: Option<Git>,
    before: Pending<Result<Before, Error>>,
    after: Pending<Result<Snapshot, Error>>,
}

/// The state that is compared with.
pub(super) struct Before {
    pub(super) head: Option<String>,
    pub(super) base: Base,
    snapshot: Pending<Result<Option<Snapshot>, Error>>,
    lock: Pending<Option<Ahead>>,
}

impl Before {
    /// Its files; `None` where nothing is compared with.
    pub(super) fn snapshot(&self) -> Result<Option<&Snapshot>, Error> {
        self.snapshot.as_ref().map(Option::as_ref).map_err(Clone::clone)
    }
}

impl Sight {
    /// Begins to ask.
    #[must_use]
    pub fn begin(look: Look) -> Self {
        let (asked, root) = (look.clone(), look.root.clone());
        Self { look, opened: begin(move || open(&asked)), lock: begin(move || Ahead::on_disk(&root)) }
    }

    fn opened(&self) -> Result<&Opened, Error> {
        self.opened.as_ref().map_err(Clone::clone)
    }

    /// The repository; `None` where there is none.
    pub(super) fn git(&self) -> Result<Option<&Git>, Error> {
        Ok(self.opened()?.git.as_ref())
    }

    pub(super) fn before(&self) -> Result<&Before, Error> {
        self.opened()?.before.as_ref().map_err(Clone::clone)
    }

    pub(super) fn after(&self) -> Result<&Snapshot, Error> {
        self.opened()?.after.as_ref().map_err(Clone::clone)
    }

    /// The lock file at the top, as it stands on disk.
    pub(super) fn lock_ahead(&self) -> Option<&Ahead> {
        self.lock.as_ref()
    }

    /// The lock file at the top of the state that is compared with, where it is another one.
    pub(super) fn lock_before(&self) -> Result<Option<&Ahead>, Error> {
        Ok(self.before()?.lock.as_ref())
    }

    /// The commit that is planned, as far as there is one.
    #[must_use]
    pub fn head(&self) -> Option<&str> {
        self.before().ok()?.head.as_deref()
    }

    /// Waits until no git is at work: it may hold a lock, so none outlives the program.
    pub fn end(&self) {
        if let Ok(opened) = &*self.opened {
            if let Ok(before) = &*opened.before {
                let _ = (&*before.snapshot, &*before.lock);
            }
            let _ = &*opened.after;
            if let Some(git) = &opened.git {
                git.look_again();
            }
        }
    }

    /// Whether git knows of a package in `folder`: in the state that is compared with, or, of a sparse checkout, in the
    /// one that is planned.
    #[must_use]
    pub fn had_package(&self, folder: &RepoPath) -> bool {
        let before = self.before().and_then(Before::snapshot).ok().flatten();
        before.is_some_and(|before| has_package(before, folder)) || self.knows_package(folder)
    }

    /// Whether git knows of the package in `folder` as it stands: then its files are in content keys.
    #[must_use]
    pub fn knows_package(&self, folder: &RepoPath) -> bool {
        self.after().is_ok_and(|after| has_package(after, folder))
    }
}

fn has_package(snapshot: &Snapshot, folder: &RepoPath) -> bool {
    let file = folder.join("package.json").unwrap_or_default();
    snapshot.get(file.as_str().as_bytes()).is_some()
}

impl Drop for Sight {
    fn drop(&mut self) {
        self.end();
    }
}

fn begin<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Pending<T> {
    let thread = thread::spawn(work);
    LazyLock::new(Box::new(move || thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))))
}

fn open(look: &Look) -> Result<Opened, Error> {
    // A commit that is planned may have nothing to do with what is checked out.
    let root = look.head.is_none().then(|| look.root.clone());
    let ahead = thread::spawn(move || Index::ahead(&root?));
    let names_commits = look.base.is_some() || look.head.is_some();
    let (git, reason) = match Git::open(&look.root) {
        Err(GitError::NotStarted(why)) if !names_commits => (None, format!("git cannot be started ({why})")),
        git => (git?, "this is no git repository".to_owned()),
    };
    let Some(git) = git else {
        if names_commits {
            return Err(Error::NoRepository(look.root.display().to_string()));
        }
        let base =
            if look.everything { Base::Everything { reason: "`--all`".to_owned() } } else { Base::Unknown { reason } };
        let root = look.root.clone();
        let after = begin(move || Ok(Snapshot::of_folder(&root)));
        let before = begin(|| Ok(Before { head: None, base, snapshot: begin(|| Ok(None)), lock: begin(|| None) }));
        return Ok(Opened { git, before, after });
    };
    let (for_before, for_after) = (git.clone(), git.clone());
    let ahead = ahead.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let index = if look.head.is_none() { git.index(ahead).map(Arc::new) } else { None };
    let (index_before, output) = (index.clone(), look.output.clone());
    let after = match look.head.clone() {
        None => begin(move || Ok(Snapshot::of_working_tree(&for_after, index.as_deref(), &output)?)),
        Some(revision) => begin(move || {
            let commit = for_after.commit(&revision).ok_or(Error::NoSuchHead(revision))?;
            Ok(Snapshot::of_commit(&for_after, &commit)?)
        }),
    };
    let asked = look.clone();
    let before = begin(move || before(&for_before, &asked, index_before));
    Ok(Opened { git: Some(git), before, after })
}

fn before(git: &Git, look: &Look, index: Option<Arc<Index>>) -> Result<Before, Error> {
    let head = git.commit(look.head.as_deref().unwrap_or("HEAD"));
    if let (Some(revision), None) = (&look.head, &head) {
        return Err(Error::NoSuchHead(revision.clone()));
    }
    let base = match &look.base {
        None if look.everything => Base::Everything { reason: "`--all`".to_owned() },
        named => base::find(git, head.as_deref(), &look.ci, named.as_deref())?,
    };
    // It takes as long to read as the rest together, so it comes first.
    let for_lock = match (&base, &index) {
        (Base::Commit { id, .. }, Some(index)) => Some((git.clone(), id.clone(), Arc::clone(index))),
        _ => None,
    };
    let lock = begin(move || for_lock.and_then(|(git, commit, index)| Ahead::of_commit(&git, &commit, &index.files)));
    let for_files = match &base {
        Base::Commit { id, .. } => Some((git.clone(), id.clone())),
        Base::Everything { .. } | Base::Unknown { .. } => None,
    };
    let snapshot = begin(move || {
        let Some((git, id)) = for_files else { return Ok(None) };
        Ok(Some(match &index {
            Some(index) => Snapshot::of_commit_beside(&git, &id, index)?,
            None => Snapshot::of_commit(&git, &id)?,
        }))
    });
    Ok(Before { head, base, snapshot, lock })
}
