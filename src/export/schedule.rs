//! How many children run at once: as many as cores and memory allow. What a child is comes in; a [`Slot`] goes out,
//! which it holds while it runs.

use std::path::{Path, PathBuf};

use tokio::sync::{Semaphore, SemaphorePermit};

/// One MiB, the unit in which memory is given out.
const MIB: u64 = 1024 * 1024;

/// What a child costs. The figures are the largest process of measured exports, rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// The export of a frontend: up to 1.9 GB.
    Frontend,
    /// Anything else: up to 0.45 GB.
    Small,
}

impl Weight {
    fn mebibytes(self) -> u32 {
        match self {
            Self::Frontend => 2048,
            Self::Small => 512,
        }
    }
}

/// All the slots of a run. They are given out in the order in which they were asked for, so that what is asked for
/// first (the longest exports) is never overtaken for ever.
#[derive(Debug)]
pub(super) struct Slots {
    jobs: Semaphore,
    memory: Semaphore,
    /// What `memory` held at first: no child may ask for more.
    total: u32,
}

/// The right to run one child.
#[derive(Debug)]
pub(super) struct Slot<'slots> {
    _memory: SemaphorePermit<'slots>,
    _job: SemaphorePermit<'slots>,
}

impl Slots {
    /// `jobs` children at once, whatever they need; or, without it, as many as cores and free memory allow, and
    /// always at least one.
    pub(super) fn new(jobs: Option<usize>) -> Self {
        match jobs {
            Some(jobs) => Self::with(jobs, None),
            None => Self::with(std::thread::available_parallelism().map_or(1, usize::from), available_memory()),
        }
    }

    fn with(jobs: usize, memory: Option<u64>) -> Self {
        let most = u64::try_from(Semaphore::MAX_PERMITS).unwrap_or(u64::MAX).min(u64::from(u32::MAX));
        let total = memory.map_or(most, |bytes| (bytes / MIB).clamp(1, most));
        let total = u32::try_from(total).unwrap_or(u32::MAX);
        let permits = usize::try_from(total).unwrap_or(Semaphore::MAX_PERMITS);
        Self { jobs: Semaphore::new(jobs.clamp(1, 1024)), memory: Semaphore::new(permits), total }
    }

    /// Waits until a child of this weight may run. `None` never happens while the slots are in use: they are never
    /// closed.
    pub(super) async fn take(&self, weight: Weight) -> Option<Slot<'_>> {
        let memory = self.memory.acquire_many(weight.mebibytes().min(self.total)).await.ok()?;
        let job = self.jobs.acquire().await.ok()?;
        Some(Slot { _memory: memory, _job: job })
    }
}

/// Memory that is free for children, in bytes: what the machine has, and what each control group above this process
/// leaves. `None` where neither says.
fn available_memory() -> Option<u64> {
    let machine = fs_err::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| field(&text, "MemAvailable:"))
        .map(|kib| kib * 1024);
    let groups = fs_err::read_to_string("/proc/self/cgroup").unwrap_or_default();
    machine.into_iter().chain(left_in_groups(&groups, Path::new("/sys/fs/cgroup"))).min()
}

/// What each control group of `/proc/self/cgroup` leaves, v2 (`0::/path`) and v1 (`5:memory:/path`).
fn left_in_groups(groups: &str, mount: &Path) -> Vec<u64> {
    let mut left = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (base, files) = match controllers {
            "" => (mount.to_owned(), ["memory.max", "memory.current", "inactive_file"]),
            names if names.split(',').any(|name| name == "memory") => {
                (mount.join("memory"), ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"])
            }
            _ => continue,
        };
        // In a container the path is often the host's, and only the mount itself is there to be read.
        let folders = Path::new(path.trim_start_matches('/')).ancestors().map(|folder| base.join(folder));
        left.extend(folders.filter_map(|folder| left_in(&folder, files)));
    }
    left
}

fn left_in(folder: &Path, [limit, usage, reclaimable]: [&str; 3]) -> Option<u64> {
    let number = |file: PathBuf| fs_err::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    let used = number(folder.join(usage))?;
    let stat = fs_err::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let cached = field(&stat, reclaimable).unwrap_or(0);
    Some(number(folder.join(limit))?.saturating_sub(used.saturating_sub(cached)))
}

/// The number behind `name` in lines of `name number …`.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(name)).then(|| words.next()?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn memory_holds_back_what_cores_would_allow() {
        let slots = Slots::with(4, Some(3000 * MIB));
        let frontend = slots.take(Weight::Frontend).await;
        let small = slots.take(Weight::Small).await;
        assert_eq!(slots.memory.available_permits(), 3000 - 2048 - 512);
        assert!(slots.memory.try_acquire_many(Weight::Small.mebibytes()).is_err());
        drop((frontend, small));
        assert_eq!((slots.memory.available_permits(), slots.jobs.available_permits()), (3000, 4));
    }

    #[tokio::test]
    async fn one_always_runs() {
        let slots = Slots::with(0, Some(100 * MIB));
        assert!(slots.take(Weight::Frontend).await.is_some());
    }

    #[tokio::test]
    async fn jobs_override_memory() {
        let slots = Slots::new(Some(3));
        let taken = [
            slots.take(Weight::Frontend).await,
            slots.take(Weight::Frontend).await,
            slots.take(Weight::Frontend).await,
        ];
        assert_eq!(slots.jobs.available_permits(), 0);
        assert!(taken.iter().all(Option::is_some));
    }

    #[test]
    fn control_groups_of_both_kinds() {
        let mount = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = mount.path().join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        };
        write("a/b/memory.max", "max\n");
        write("a/b/memory.current", "1000\n");
        write("a/memory.max", "5000\n");
        write("a/memory.current", "3000\n");
        write("a/memory.stat", "anon 1\ninactive_file 1500\n");
        assert_eq!(left_in_groups("0::/a/b\n", mount.path()), [3500]);
        write("memory/memory.limit_in_bytes", "9000\n");
        write("memory/memory.usage_in_bytes", "10000\n");
        write("memory/memory.stat", "total_inactive_file 2000\n");
        assert_eq!(left_in_groups("4:cpu,cpuacct:/x\n5:memory:/docker/abc\n", mount.path()), [1000]);
        assert_eq!(left_in_groups("0::/../outside\nnonsense", mount.path()), Vec::<u64>::new());
    }
}
