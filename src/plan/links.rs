//! Symbolic links of a snapshot: where they lead, step by step, and what is there.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use super::git::Git;
use super::snapshot::{Kind, Listed, Snapshot};
use super::work_tree::blob_id;

/// As many as Linux follows on one way.
const MOST: usize = 40;

/// Where the texts of links are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links<'a> {
    /// The folder of `rhdh-plugins.toml`.
    pub(super) root: &'a Path,
    /// `None` outside of git.
    pub(super) git: Option<&'a Git>,
}

impl Links<'_> {
    /// `path` with every link on it followed, and the one that it names, and these links; as it is from where a link
    /// leads out of the repository, or nowhere.
    pub(super) fn follow<'s>(&self, snapshot: &'s Snapshot, path: &[u8]) -> (Vec<Listed<'s>>, Vec<u8>) {
        let (mut way, mut path) = (Vec::new(), path.to_vec());
        while way.len() < MOST {
            let mut ends = memchr::memchr_iter(b'/', &path).chain(std::iter::once(path.len()));
            let link = ends.find_map(|end| {
                let link = snapshot.listed(&path[..end]).filter(|(_, file)| file.kind == Kind::Link)?;
                Some((end, link))
            });
            let Some((end, link)) = link else { break };
            way.push(link);
            let Some(target) = self.target(link) else { break };
            path = [&target, &path[end..]].concat();
        }
        (way, path)
    }

    /// The id of the file at `path`, or of the one that links there lead to.
    pub(super) fn id<'s>(&self, snapshot: &'s Snapshot, path: &str) -> Option<&'s str> {
        let file = snapshot.get(&self.follow(snapshot, path.as_bytes()).1)?;
        std::str::from_utf8(file.id).ok()
    }

    /// What is at `path`: the file, or the files below it whose path there `counts`; the links on the way, and what
    /// links among these files lead to.
    pub(super) fn at<'s>(
        &self,
        snapshot: &'s Snapshot,
        path: &[u8],
        counts: impl Fn(&[u8]) -> bool,
    ) -> Vec<Listed<'s>> {
        let (mut found, mut next, mut seen) = (Vec::new(), vec![path.to_vec()], HashSet::new());
        while let Some(path) = next.pop() {
            let (way, there) = self.follow(snapshot, &path);
            found.extend(way);
            if !seen.insert(there.clone()) {
                continue;
            }
            let folder = if there.is_empty() { Vec::new() } else { [there.as_slice(), b"/"].concat() };
            let below = snapshot.beginning_with(&folder).filter(|(path, _)| counts(&path[folder.len()..]));
            for (path, file) in snapshot.listed(&there).into_iter().chain(below) {
                if file.kind == Kind::Link {
                    next.extend(self.target((path, file)));
                }
                found.push((path, file));
            }
        }
        found
    }

    /// What the text of a link names, as a path of the repository; `None` outside of it, and for all of it.
    pub(super) fn target(&self, (link, file): Listed<'_>) -> Option<Vec<u8>> {
        let link = Path::new(OsStr::from_bytes(link));
        let on_disk = std::fs::read_link(self.root.join(link)).ok().map(|text| text.into_os_string().into_vec());
        // What stands on disk may be of another state. An id that is not made by SHA-1 is looked up in any case; a link
        // that git does not know yet is on disk.
        let is_it = on_disk.as_ref().is_some_and(|text| blob_id(text).as_bytes() == file.id);
        let in_git = || self.git?.blob(std::str::from_utf8(file.id).ok()?).ok();
        let text = if is_it { on_disk } else { in_git().or(on_disk) }?;
        let mut path = link.parent()?.to_owned();
        for part in Path::new(OsStr::from_bytes(&text)).components() {
            match part {
                Component::Normal(name) => path.push(name),
                Component::ParentDir => {
                    if !path.pop() {
                        return None;
                    }
                }
                Component::CurDir => {}
                Component::RootDir | Component::Prefix(_) => return None,
            }
        }
        (path != PathBuf::new()).then(|| path.as_os_str().as_bytes().to_vec())
    }
}
