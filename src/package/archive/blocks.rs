//! Blocks that are compressed once for all archives they stand in: the image, the tgz and the bundle of a plugin differ
//! in the headers between the files only, so the blocks of its large files are the same. Blocks are known by their
//! bytes: who brings the same bytes gets the same block, and archives do not depend on what is remembered.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};

use super::gzip::{self, DeflateFailed};

/// Compressed bytes that are remembered at most.
const MAX_BYTES: usize = 8 << 20;

/// A block that was compressed.
pub(crate) type Block = Result<Arc<Vec<u8>>, DeflateFailed>;

/// The blocks that a run has compressed last.
#[derive(Debug, Default)]
pub struct Blocks(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    entries: HashMap<Key, Entry>,
    /// Of those that are done, the oldest first.
    order: VecDeque<Key>,
    bytes: usize,
}

/// sha256 over level, window and block.
type Key = [u8; 32];

enum Entry {
    /// Somebody compresses it; these want it, too.
    Begun(Vec<Wish>),
    Done(Arc<Vec<u8>>),
}

type Wish = Box<dyn FnOnce(Block) + Send>;

impl std::fmt::Debug for Entry {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(if matches!(self, Self::Begun(_)) { "Begun" } else { "Done" })
    }
}

impl Blocks {
    /// Compresses `block`, before which `window` stood, unless that was done or is being done by another thread, and
    /// gives it to `take`: now, or when the other thread has done it.
    pub(crate) fn compress(&self, window: &[u8], block: &[u8], level: u32, take: impl FnOnce(Block) + Send + 'static) {
        let key: Key = Sha256::new()
            .chain_update(level.to_le_bytes())
            .chain_update((window.len() as u64).to_le_bytes())
            .chain_update(window)
            .chain_update(block)
            .finalize()
            .into();
        let mut state = self.lock();
        match state.entries.get_mut(&key) {
            Some(Entry::Done(block)) => {
                let block = Arc::clone(block);
                drop(state);
                take(Ok(block));
            }
            Some(Entry::Begun(wishes)) => wishes.push(Box::new(take)),
            None => {
                state.entries.insert(key, Entry::Begun(Vec::new()));
                drop(state);
                let begun = Begun { blocks: self, key, ended: false };
                let block = gzip::compress(window, block, level, false).map(|mut bytes| {
                    // It may be remembered for long.
                    bytes.shrink_to_fit();
                    Arc::new(bytes)
                });
                begun.end(&block);
                take(block);
            }
        }
    }

    /// How many blocks are remembered.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.lock().order.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A block that this thread compresses; dropped before its end, nobody waits for it any longer.
struct Begun<'a> {
    blocks: &'a Blocks,
    key: Key,
    ended: bool,
}

impl Begun<'_> {
    fn end(mut self, block: &Block) {
        self.ended = true;
        let mut state = self.blocks.lock();
        let Some(Entry::Begun(wishes)) = state.entries.remove(&self.key) else { return };
        if let Ok(block) = block {
            state.bytes += block.len();
            state.order.push_back(self.key);
            state.entries.insert(self.key, Entry::Done(Arc::clone(block)));
        }
        while state.bytes > MAX_BYTES {
            let Some(Entry::Done(oldest)) = state.order.pop_front().and_then(|key| state.entries.remove(&key)) else {
                break;
            };
            state.bytes -= oldest.len();
        }
        drop(state);
        for wish in wishes {
            wish(block.clone());
        }
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.blocks.lock().entries.remove(&self.key);
        }
    }
}
