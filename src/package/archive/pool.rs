//! The threads that read and compress. Jobs come in in any order; results are taken out in the order of their numbers,
//! so that what is made of them never depends on the threads.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

type Job = Box<dyn FnOnce() + Send>;

/// Threads that work for all artifacts of a run.
#[derive(Debug)]
pub(crate) struct Pool {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Queue")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// Starts `threads` threads, at least one.
    ///
    /// # Errors
    /// When the system starts no thread at all.
    pub(crate) fn new(threads: usize) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let mut started = Vec::new();
        for number in 0..threads.max(1) {
            let own = Arc::clone(&queue);
            match std::thread::Builder::new().name(format!("pack-{number}")).spawn(move || own.work()) {
                Ok(thread) => started.push(thread),
                Err(error) if started.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(Self { queue, threads: started })
    }

    /// How many threads there are.
    pub(crate) fn threads(&self) -> usize {
        self.threads.len()
    }

    /// Adds a job; what it keeps its promise with will be result `number` of `results`.
    pub(crate) fn submit<T: Send + 'static>(
        &self,
        results: &Results<T>,
        number: u64,
        job: impl FnOnce(Promise<T>) + Send + 'static,
    ) {
        let promise = Promise { results: Arc::clone(&results.shared), number, kept: false };
        lock(&self.queue.state).jobs.push_back(Box::new(move || job(promise)));
        self.queue.changed.notify_one();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = lock(&self.queue.state);
        state.closed = true;
        state.jobs.clear();
        drop(state);
        self.queue.changed.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

impl Queue {
    fn work(&self) {
        let mut state = lock(&self.state);
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                job();
                state = lock(&self.state);
            } else if state.closed {
                return;
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

/// Results of numbered jobs.
#[derive(Debug)]
pub(crate) struct Results<T> {
    shared: Arc<Shared<T>>,
}

#[derive(Debug)]
struct Shared<T> {
    done: Mutex<BTreeMap<u64, Option<T>>>,
    changed: Condvar,
}

/// Stands for a result; dropped without one (the job panicked, or the pool is gone), it says so.
pub(crate) struct Promise<T> {
    results: Arc<Shared<T>>,
    number: u64,
    kept: bool,
}

impl<T> Shared<T> {
    fn put(&self, number: u64, result: Option<T>) {
        lock(&self.done).insert(number, result);
        self.changed.notify_all();
    }
}

impl<T> Promise<T> {
    pub(crate) fn keep(mut self, result: T) {
        self.kept = true;
        self.results.put(self.number, Some(result));
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        if !self.kept {
            self.results.put(self.number, None);
        }
    }
}

impl<T> Results<T> {
    pub(crate) fn new() -> Self {
        Self { shared: Arc::new(Shared { done: Mutex::new(BTreeMap::new()), changed: Condvar::new() }) }
    }

    /// Waits for result `number`; `None` if there will never be one.
    pub(crate) fn take(&self, number: u64) -> Option<T> {
        let mut done = lock(&self.shared.done);
        loop {
            if let Some(result) = done.remove(&number) {
                return result;
            }
            done = self.shared.changed.wait(done).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether result `number` is there.
    pub(crate) fn is_done(&self, number: u64) -> bool {
        lock(&self.shared.done).contains_key(&number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order() {
        let pool = Pool::new(4).unwrap();
        let results = Results::new();
        for number in 0..100 {
            pool.submit(&results, number, move |promise| promise.keep(number * number));
        }
        assert!((0..100).all(|number| results.take(number) == Some(number * number)));
    }
}
