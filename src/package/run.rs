//! One run of the packager: every artifact of the request, several at a time, on one set of threads.

use std::fs::TryLockError;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::archive::{NPM_TIME, Pool, Settings};
use super::artifact::Workshop;
use super::layout::{self, Layout};
use super::{Error, Packaged, Release, Request};
use crate::ui::Ui;

/// Artifacts that are packaged at a time: while one ends, the next has work for all threads.
const AT_A_TIME: usize = 3;

/// Blocks in flight over all artifacts: at 300 KiB each, 48 MiB.
const MAX_IN_FLIGHT: usize = 160;

/// How long an output folder that is in use is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// Packages every artifact of `request`. What fails does not keep the others from being packaged.
///
/// # Errors
/// When nothing at all can be packaged.
pub fn package(request: &Request, ui: &Ui, cancel: &CancellationToken) -> Result<Vec<Packaged>, Error> {
    let releases: Vec<Release> = request.rhdh.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    let output = |source| Error::Output { folder: request.output.clone(), source };
    fs_err::create_dir_all(&request.output).map_err(output)?;
    let _lock = lock(&request.output, ui)?;
    // What a run left that was killed.
    for folder in ["oci", "oci/blobs/sha256", "sbom", "tgz"] {
        layout::remove_partial(&request.output.join(folder)).map_err(output)?;
    }
    let threads = match request.threads {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        threads => threads,
    };
    let pool = Pool::new(threads).map_err(Error::Threads)?;
    let at_a_time = AT_A_TIME.min(request.artifacts.len()).max(1);
    let in_flight = (2 * pool.threads() + 2).min(MAX_IN_FLIGHT / at_a_time) as u64;
    let settings = Settings { time: request.time.unwrap_or(NPM_TIME), level: super::DEFAULT_LEVEL, in_flight };
    let layout = Layout::open(request.output.join("oci")).map_err(output)?;
    let workshop = Workshop {
        output: &request.output,
        releases,
        settings,
        walkers: (threads / at_a_time).max(1),
        pool: &pool,
        blocks: &request.blocks,
        layout: Mutex::new(layout),
        names: Mutex::default(),
        cancel,
    };
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let work = || {
            while let Some(artifact) = request.artifacts.get(next.fetch_add(1, Ordering::Relaxed)) {
                let position = request.artifacts.iter().position(|other| std::ptr::eq(other, artifact));
                let step = ui.step(&artifact.id, "package");
                let started = Instant::now();
                let outcome = workshop.package(artifact);
                match &outcome {
                    Ok(artifact) => step.done(&super::artifact::summary(artifact)),
                    Err(failure) => step.failed(&failure.message),
                }
                let seconds = started.elapsed().as_secs_f64();
                let packaged = Packaged { id: artifact.id.clone(), outcome, seconds };
                done.lock().unwrap_or_else(PoisonError::into_inner).push((position, packaged));
            }
        };
        for _ in 1..at_a_time {
            scope.spawn(work);
        }
        work();
    });
    workshop.layout.lock().unwrap_or_else(PoisonError::into_inner).remove_garbage().map_err(output)?;
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(position, _)| *position);
    Ok(done.into_iter().map(|(_, packaged)| packaged).collect())
}

/// Keeps other runs out of the output folder until it is dropped.
fn lock(output: &Path, ui: &Ui) -> Result<std::fs::File, Error> {
    let failed = |source| Error::Output { folder: output.to_owned(), source };
    let file = std::fs::File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(output.join("package.lock"))
        .map_err(failed)?;
    // A child of ours that is being started has the file of an earlier lock open until it becomes another program.
    let patience = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < patience => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(TryLockError::WouldBlock) => return Err(Error::InUse(output.to_owned())),
            Err(TryLockError::Error(error)) => {
                ui.warn(&format!("cannot lock `{}` ({error}): let no other rhdh-pack write to it", output.display()));
                return Ok(file);
            }
        }
    }
}
