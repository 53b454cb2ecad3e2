//! Compressing ahead: while a plugin is exported, a bundler has long finished some of its large files. What is
//! compressed of them now need not be compressed when the export ends. Packaging looks at every byte again, so what
//! changes in the meantime costs time and nothing else.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, SystemTime};

use rustix::fs::{Mode, OFlags};
use walkdir::{DirEntry, WalkDir};

use super::Blocks;
use super::archive::{SHARED, gzip};

/// How often the folders are looked through.
const EVERY: Duration = Duration::from_secs(1);

/// A file that was written to more recently is not finished.
const FINISHED: Duration = Duration::from_secs(2);

/// Compresses the large files that are being made in `folders`, each at its level, as they are finished, until the
/// other end of `stop` is dropped.
pub fn compress_ahead(folders: &[(PathBuf, u32)], blocks: &Blocks, stop: &Receiver<()>) {
    let begun = SystemTime::now();
    let mut seen = HashSet::new();
    while stop.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
        for (folder, level) in folders {
            let files = WalkDir::new(folder).into_iter().flatten().filter(|entry| entry.file_type().is_file());
            for entry in files {
                let Some(written) = finished(&entry).filter(|written| *written >= begun) else { continue };
                if seen.insert((entry.path().to_owned(), written)) {
                    // What cannot be read now is reported when it is packaged.
                    let _ = compress(entry.path(), *level, blocks, stop);
                }
            }
        }
    }
}

/// When a large file was written to last, if it seems to be finished.
fn finished(entry: &DirEntry) -> Option<SystemTime> {
    let metadata = entry.metadata().ok().filter(|metadata| metadata.len() >= SHARED)?;
    let written = metadata.modified().ok()?;
    written.elapsed().is_ok_and(|age| age >= FINISHED).then_some(written)
}

fn compress(path: &Path, level: u32, blocks: &Blocks, stop: &Receiver<()>) -> std::io::Result<()> {
    // It was a file a moment ago.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let mut buffer = Vec::new();
    // Every archive compresses that for itself.
    let mut at = file.by_ref().take(gzip::WINDOW as u64).read_to_end(&mut buffer)?;
    loop {
        let window = buffer.len().min(gzip::WINDOW);
        buffer.drain(..buffer.len() - window);
        let rest = gzip::BLOCK - at % gzip::BLOCK;
        let read = file.by_ref().take(rest as u64).read_to_end(&mut buffer)?;
        at += read;
        let stopped = stop.try_recv() == Err(std::sync::mpsc::TryRecvError::Disconnected);
        if read == 0 || stopped {
            return Ok(());
        }
        let (window, block) = buffer.split_at(window);
        blocks.compress(window, block, level, drop);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, mpsc};

    use super::*;
    use crate::package::{ArtifactRequest, DEFAULT_LEVEL, Member, Request, package};
    use crate::ui::{Ui, Verbosity};

    fn digest(dist_dynamic: &Path, blocks: &Arc<Blocks>) -> String {
        let output = tempfile::tempdir().unwrap();
        let member = Member { plugin: "x".to_owned(), dir: "x".to_owned(), dist_dynamic: dist_dynamic.to_owned() };
        let artifact = ArtifactRequest {
            id: "x".to_owned(),
            image: "x".to_owned(),
            version: "1.0.0".to_owned(),
            members: vec![member],
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            artifact_type: None,
            level: DEFAULT_LEVEL,
            image_wanted: true,
            tgz: true,
            allow: Vec::new(),
        };
        let request = Request {
            output: output.path().to_owned(),
            artifacts: vec![artifact],
            rhdh: vec!["1.9".to_owned()],
            threads: 2,
            blocks: Arc::clone(blocks),
            time: None,
        };
        let packaged = package(&request, &Ui::new(Verbosity::Quiet), &tokio_util::sync::CancellationToken::new());
        packaged.unwrap().remove(0).outcome.unwrap().image.unwrap().digest.to_string()
    }

    #[test]
    fn what_was_compressed_ahead_is_what_packaging_needs() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = r#"{"name":"x","version":"1.0.0","main":"a.js","backstage":{"role":"backend-plugin"}}"#;
        fs_err::write(folder.path().join("package.json"), manifest).unwrap();
        fs_err::write(folder.path().join("a.js"), "module.exports = {};\n").unwrap();
        let large = folder.path().join("large.js");
        let noise: Vec<u8> = (0..200_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
        fs_err::write(&large, noise).unwrap();
        let cold = Arc::new(Blocks::default());
        let expected = digest(folder.path(), &cold);
        let (_go_on, stop) = mpsc::channel();
        let warm = Arc::new(Blocks::default());
        compress(&large, DEFAULT_LEVEL, &warm, &stop).unwrap();
        assert_eq!(warm.count(), 800_000_usize.div_ceil(gzip::BLOCK));
        assert_eq!(digest(folder.path(), &warm), expected);
        // Nothing was compressed that packaging would not have compressed.
        assert_eq!(warm.count(), cold.count());
    }
}
