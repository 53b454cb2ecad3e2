//! Symbolic links of a snapshot: where they lead, step by step. Their text is read from disk.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use super::snapshot::{Kind, Snapshot};

/// As many as Linux follows on one way.
const MOST: usize = 40;

/// Where the link at `link` leads in the end, as a path of the repository; `None` outside of it.
pub(super) fn target(snapshot: &Snapshot, root: &Path, link: &[u8]) -> Option<Vec<u8>> {
    Some(followed(snapshot, root, &one_step(root, link)?))
}

/// `path` with every link on it followed, and the one that it names; as it is from where a link leads out of the
/// repository, or nowhere.
pub(super) fn followed(snapshot: &Snapshot, root: &Path, path: &[u8]) -> Vec<u8> {
    let mut path = path.to_vec();
    for _ in 0..MOST {
        let ends = memchr::memchr_iter(b'/', &path).chain(std::iter::once(path.len()));
        let mut links = ends.filter(|end| snapshot.get(&path[..*end]).is_some_and(|file| file.kind == Kind::Link));
        let Some(end) = links.next() else { break };
        let Some(target) = one_step(root, &path[..end]) else { break };
        path = [&target, &path[end..]].concat();
    }
    path
}

/// What the text of one link names, relative to `root`.
fn one_step(root: &Path, link: &[u8]) -> Option<Vec<u8>> {
    let link = Path::new(OsStr::from_bytes(link));
    let target = std::fs::read_link(root.join(link)).ok()?;
    let mut path = link.parent()?.to_owned();
    for part in target.components() {
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
