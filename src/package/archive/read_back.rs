//! What an archive's writer has put out, for whoever reads it back at the same time.

use std::io::Read;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Compressed blocks that wait for whoever reads them back.
const AHEAD: usize = 8;

/// The two ends: blocks that are sent can be read.
pub(super) fn channel() -> (SyncSender<Arc<Vec<u8>>>, BlockReader) {
    let (sender, receiver) = sync_channel(AHEAD);
    (sender, BlockReader { receiver, block: Arc::default(), at: 0 })
}

/// The compressed bytes, as they are written.
pub(super) struct BlockReader {
    receiver: Receiver<Arc<Vec<u8>>>,
    block: Arc<Vec<u8>>,
    at: usize,
}

impl Read for BlockReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.at == self.block.len() {
            let Ok(block) = self.receiver.recv() else { return Ok(0) };
            self.block = block;
            self.at = 0;
        }
        let length = buffer.len().min(self.block.len() - self.at);
        buffer[..length].copy_from_slice(&self.block[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}
