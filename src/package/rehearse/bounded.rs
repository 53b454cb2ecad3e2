//! A bound for what comes before an entry of an archive: `tar` reads long names and extended headers into memory, however
//! long an archive says that they are.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

/// Bytes that the headers of an entry may take, more than any that has a real name.
const MAX_HEADERS: u64 = 1 << 20;

/// Gives what `inner` gives, as far as it is allowed.
pub(crate) struct Bounded<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

/// What the reader of an archive is still allowed to give.
pub(crate) struct Bound(Rc<Cell<u64>>);

impl<R: Read> Bounded<R> {
    pub(crate) fn new(inner: R) -> (Self, Bound) {
        let left = Rc::new(Cell::new(u64::MAX));
        (Self { inner, left: Rc::clone(&left) }, Bound(left))
    }

    pub(crate) fn into_inner(self) -> R {
        self.inner
    }
}

impl Bound {
    /// The next entry of `entries`, after skipping the `unread` bytes that are left of the last one.
    pub(crate) fn next<'a, R: Read>(
        &self,
        entries: &mut tar::Entries<'a, R>,
        unread: u64,
    ) -> Option<io::Result<tar::Entry<'a, R>>> {
        self.0.set(unread.saturating_add(MAX_HEADERS));
        let entry = entries.next();
        self.0.set(u64::MAX);
        entry
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        if left == 0 {
            return Err(io::Error::other(format!("the headers of an entry have more than {MAX_HEADERS} bytes")));
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.inner.read(&mut buffer[..most])?;
        self.left.set(left - read as u64);
        Ok(read)
    }
}
