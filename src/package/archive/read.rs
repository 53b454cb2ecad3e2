//! Reading ahead: the files of an artifact in the order in which they are packed, in batches that the pool's threads
//! read while earlier ones are being packed. Every file is read once.

use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;

use super::pool::{Pool, Results};
use crate::package::packlist::{PackList, PackedFile, Problem, Source};

/// A larger file is read piece by piece when its turn comes.
const LARGE: u64 = PIECE as u64;
pub(super) const PIECE: usize = 512 << 10;

/// A batch ends when it has this many bytes or files.
const BATCH_BYTES: u64 = 256 << 10;
const BATCH_FILES: usize = 64;

/// How many batches are read ahead. With the limits above this is under 12 MiB.
const AHEAD: usize = 16;

/// One plugin's part of an artifact.
#[derive(Debug)]
pub(crate) struct Member {
    /// Its folder in the image.
    pub(crate) folder: String,
    pub(crate) list: Arc<PackList>,
}

impl Member {
    /// Whether there are packages in it, as in backends.
    pub(super) fn brings_packages(&self) -> bool {
        self.list.files.iter().any(|file| file.path.starts_with("node_modules/"))
    }
}

/// Which file of which member.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) member: usize,
    /// Whether the member brings packages.
    pub(crate) packages: bool,
    file: usize,
}

/// Something that cannot be read, and the folder of the member that it stands in.
#[derive(Debug)]
pub(crate) struct ReadFailure {
    pub(crate) member: usize,
    pub(crate) problem: Problem,
}

/// What is to be read at a time.
#[derive(Debug)]
enum Batch {
    Small(std::ops::Range<usize>),
    Large(usize),
}

/// The files in their order, being read.
pub(crate) struct ReadAhead<'a> {
    members: &'a [Member],
    turns: Vec<Turn>,
    batches: Vec<Batch>,
    submitted: usize,
    results: Results<Result<Vec<u8>, ReadFailure>>,
}

/// A piece of a file.
pub(crate) struct Piece<'a> {
    pub(crate) turn: Turn,
    pub(crate) file: &'a PackedFile,
    pub(crate) content: &'a [u8],
    pub(crate) first: bool,
    pub(crate) last: bool,
}

impl<'a> ReadAhead<'a> {
    pub(crate) fn new(members: &'a [Member]) -> Self {
        let mut turns: Vec<Turn> = Vec::new();
        for (index, member) in members.iter().enumerate() {
            let packages = member.brings_packages();
            turns.extend((0..member.list.files.len()).map(|file| Turn { member: index, packages, file }));
        }
        if members.len() > 1 {
            // What the members have in common comes together, and compresses to almost nothing. Frontends have nothing
            // in common with backends: theirs is the same run of bytes as in an image of frontends alone.
            turns.sort_by_cached_key(|turn| {
                let (extension, base, path) = crate::package::packlist::order(&file_of(members, *turn).path);
                (turn.packages, extension, base, path, turn.member)
            });
        }
        let mut batches = Vec::new();
        let mut start = 0;
        let mut bytes = 0;
        for (index, turn) in turns.iter().enumerate() {
            let size = file_of(members, *turn).size();
            let full = bytes >= BATCH_BYTES || index - start >= BATCH_FILES;
            if (size > LARGE || full) && start < index {
                batches.push(Batch::Small(start..index));
                start = index;
                bytes = 0;
            }
            if size > LARGE {
                batches.push(Batch::Large(index));
                start = index + 1;
            } else {
                bytes += size;
            }
        }
        if start < turns.len() {
            batches.push(Batch::Small(start..turns.len()));
        }
        Self { members, turns, batches, submitted: 0, results: Results::new() }
    }

    /// Gives every file, in order, piece by piece, to `take`.
    pub(crate) fn run<E: From<ReadFailure>>(
        mut self,
        pool: &Pool,
        mut take: impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        for number in 0..self.batches.len() {
            self.submit(pool, number);
            match &self.batches[number] {
                Batch::Small(range) => {
                    let contents = self.results.take(number as u64).unwrap_or_else(|| Ok(Vec::new()))?;
                    let mut rest = contents.as_slice();
                    for index in range.clone() {
                        let turn = self.turns[index];
                        let file = file_of(self.members, turn);
                        let size = usize::try_from(file.size()).unwrap_or(usize::MAX);
                        let (content, after) = rest.split_at_checked(size).ok_or_else(|| changed(turn, file))?;
                        rest = after;
                        take(Piece { turn, file, content, first: true, last: true })?;
                    }
                }
                Batch::Large(index) => self.large(self.turns[*index], &mut take)?,
            }
        }
        Ok(())
    }

    /// Has the pool read what comes next.
    fn submit(&mut self, pool: &Pool, current: usize) {
        while self.submitted < (current + AHEAD).min(self.batches.len()) {
            if let Batch::Small(range) = &self.batches[self.submitted] {
                let files: Vec<(usize, Source, PackedFile)> = range
                    .clone()
                    .map(|index| {
                        let turn = self.turns[index];
                        let source = self.members[turn.member].list.source.clone();
                        (turn.member, source, file_of(self.members, turn).clone())
                    })
                    .collect();
                pool.submit(&self.results, self.submitted as u64, move |promise| promise.keep(read(&files)));
            }
            self.submitted += 1;
        }
    }

    fn large<E: From<ReadFailure>>(
        &self,
        turn: Turn,
        take: &mut impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let file = file_of(self.members, turn);
        let source = &self.members[turn.member].list.source;
        let failed = |problem: Problem| E::from(ReadFailure { member: turn.member, problem });
        let mut open = source.open_file(file.real(), &file.identity).map_err(failed)?;
        let mut buffer = vec![0; PIECE];
        let mut position = 0;
        while position < file.size() {
            let read =
                fill(&mut open, &mut buffer).map_err(|error| failed(Problem::unreadable(file.real(), &error)))?;
            let first = position == 0;
            position += read as u64;
            let last = position == file.size();
            // Pieces are whole, but for the last: others rely on that.
            if position > file.size() || !last && read < PIECE {
                return Err(changed(turn, file).into());
            }
            take(Piece { turn, file, content: &buffer[..read], first, last })?;
        }
        Source::check(&open, file.real(), &file.identity).map_err(failed)
    }
}

fn file_of(members: &[Member], turn: Turn) -> &PackedFile {
    &members[turn.member].list.files[turn.file]
}

fn changed(turn: Turn, file: &PackedFile) -> ReadFailure {
    ReadFailure { member: turn.member, problem: Problem::Changed { path: file.path.clone() } }
}

/// Reads whole files, one after the other.
fn read(files: &[(usize, Source, PackedFile)]) -> Result<Vec<u8>, ReadFailure> {
    let bytes: u64 = files.iter().map(|(_, _, file)| file.size()).sum();
    let mut contents = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0) + 1);
    for (member, source, file) in files {
        match &file.content {
            Some(content) => contents.extend_from_slice(content),
            None => source
                .read_into(file.real(), &file.identity, &mut contents)
                .map_err(|problem| ReadFailure { member: *member, problem })?,
        }
    }
    Ok(contents)
}

/// Reads until `buffer` is full or the file ends.
fn fill(file: &mut File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
