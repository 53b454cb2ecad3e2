//! The archives of an artifact: the files of its members come in; an image layer, a tgz, or both from the same reads go
//! out, written once and hashed on the way. What is written is read back at the same time, as an installer would.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write as _};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use sha2::{Digest as _, Sha256, Sha512};

mod blocks;
pub(crate) mod gzip;
mod pool;
mod read;
mod read_back;
pub(crate) mod tar;

pub use blocks::Blocks;
pub(crate) use pool::Pool;
pub(crate) use read::{Member, ReadFailure};

use crate::digest::{Digest, Integrity};
use blocks::Block;
use pool::Results;
use read::{Piece, ReadAhead};
use tar::Kind;

/// npm's time for every file: 1985-10-26T08:15:00Z, in seconds since 1970.
pub(crate) const NPM_TIME: u64 = 499_162_500;

/// Files of at least this many bytes are compressed once for all archives, but for their first window: that refers to
/// what stands before, which differs, and what follows it can refer to nothing but the file. Part of the recipe:
/// another value gives other archives.
pub(crate) const SHARED: u64 = 64 << 10;

// Something is left to share after the first window, and files come in pieces of whole blocks.
const _: () = assert!(SHARED > gzip::WINDOW as u64 && read::PIECE.is_multiple_of(gzip::BLOCK));
const _: () = assert!(gzip::BLOCK > gzip::WINDOW);

/// An archive that is wanted.
#[derive(Debug)]
pub(crate) enum Format {
    /// Folders named after the members, and at the end this `index.json`.
    Layer { index: Vec<u8> },
    /// The folder `package`, as `npm pack` makes it.
    Tgz,
}

/// How all archives of a run are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Of every entry, in seconds since 1970.
    pub(crate) time: u64,
    /// 1 to 9.
    pub(crate) level: u32,
    /// Blocks that are being compressed at a time, or wait for it or for being written.
    pub(crate) in_flight: u64,
}

/// An archive that was written.
#[derive(Debug)]
pub(crate) struct Written<T> {
    pub(crate) digest: Digest,
    /// Computed only for a tgz.
    pub(crate) integrity: Option<Integrity>,
    /// In bytes.
    pub(crate) size: u64,
    /// What reading it back gave.
    pub(crate) read_back: T,
}

/// Why no archive was written.
#[derive(Debug)]
pub(crate) enum Failure {
    Read(ReadFailure),
    Write(std::io::Error),
    Cancelled,
}

impl From<ReadFailure> for Failure {
    fn from(failure: ReadFailure) -> Self {
        Self::Read(failure)
    }
}

/// Writes the archives `wanted` of `members`, each to its file, and gives each to `reader` as it is being written.
pub(crate) fn write<T: Send>(
    members: &[Member],
    wanted: Vec<(Format, &mut File)>,
    settings: Settings,
    (pool, blocks): (&Pool, &Arc<Blocks>),
    is_cancelled: &dyn Fn() -> bool,
    reader: impl Fn(&mut dyn Read) -> T + Sync,
) -> Result<Vec<Written<T>>, Failure> {
    let reader = &reader;
    std::thread::scope(|scope| {
        let mut streams = Vec::new();
        let mut readers = Vec::new();
        for (format, file) in wanted {
            let (sender, mut written) = read_back::channel();
            readers.push(scope.spawn(move || reader(&mut written)));
            streams.push(Stream::new(format, file, sender));
        }
        let shared = Vec::new();
        let mut writer =
            Writer { pool, blocks, settings, streams, shared, results: Results::new(), submitted: 0, taken: 0 };
        writer.run(members, is_cancelled)?;
        let streams = writer.streams;
        let mut written = Vec::new();
        for (stream, reader) in streams.into_iter().zip(readers) {
            let sink = stream.sink;
            drop(sink.read_back);
            let Ok(read_back) = reader.join() else {
                return Err(Failure::Write(std::io::Error::other("the archive could not be read back")));
            };
            written.push(Written {
                digest: Digest::from_sha256(sink.sha256.finalize().into()),
                integrity: sink.sha512.map(|sha512| Integrity::from_sha512(sha512.finalize().into())),
                size: sink.size,
                read_back,
            });
        }
        Ok(written)
    })
}

/// An archive being written.
struct Stream<'a> {
    format: Format,
    /// The window, then what was added since the last block.
    buffer: Vec<u8>,
    window: usize,
    /// Of the whole uncompressed archive so far.
    length: u64,
    checksum: crc32fast::Hasher,
    sink: Sink<'a>,
}

/// Where compressed bytes go.
struct Sink<'a> {
    file: &'a mut File,
    size: u64,
    sha256: Sha256,
    sha512: Option<Sha512>,
    read_back: SyncSender<Arc<Vec<u8>>>,
}

/// A block that was compressed.
struct Compressed {
    /// Whose it is; `None`: every stream's.
    stream: Option<usize>,
    bytes: Block,
    checksum: crc32fast::Hasher,
}

struct Writer<'a> {
    pool: &'a Pool,
    blocks: &'a Arc<Blocks>,
    settings: Settings,
    streams: Vec<Stream<'a>>,
    /// What stands before the next block of the file that all streams share.
    shared: Vec<u8>,
    results: Results<Compressed>,
    submitted: u64,
    taken: u64,
}

impl<'a> Stream<'a> {
    fn new(format: Format, file: &'a mut File, read_back: SyncSender<Arc<Vec<u8>>>) -> Self {
        let sha512 = matches!(format, Format::Tgz).then(Sha512::new);
        Self {
            format,
            buffer: Vec::with_capacity(gzip::WINDOW + gzip::BLOCK),
            window: 0,
            length: 0,
            checksum: crc32fast::Hasher::new(),
            sink: Sink { file, size: 0, sha256: Sha256::new(), sha512, read_back },
        }
    }
}

impl Sink<'_> {
    fn put(&mut self, bytes: Arc<Vec<u8>>) -> Result<(), Failure> {
        self.sha256.update(bytes.as_slice());
        if let Some(sha512) = &mut self.sha512 {
            sha512.update(bytes.as_slice());
        }
        self.size += bytes.len() as u64;
        self.file.write_all(&bytes).map_err(Failure::Write)?;
        // Who reads back may have seen enough, or found an error: it tells so itself.
        let _ = self.read_back.send(bytes);
        Ok(())
    }
}

impl Writer<'_> {
    fn run(&mut self, members: &[Member], is_cancelled: &dyn Fn() -> bool) -> Result<(), Failure> {
        let time = self.settings.time;
        for stream in &mut self.streams {
            stream.sink.put(gzip::header(self.settings.level).to_vec().into())?;
        }
        let files = ReadAhead::new(members);
        let layer = self.streams.iter().position(|stream| matches!(stream.format, Format::Layer { .. }));
        let mut begun = None;
        files.run(self.pool, |piece| {
            if is_cancelled() {
                return Err(Failure::Cancelled);
            }
            let packages = piece.turn.packages;
            if let Some(layer) = layer.filter(|_| begun != Some(packages)) {
                begun = Some(packages);
                for folder in folders(members.iter().filter(|member| member.brings_packages() == packages)) {
                    self.add(layer, &tar::header(&folder, Kind::Folder, 0, time))?;
                }
            }
            self.piece(members, &piece)
        })?;
        for index in 0..self.streams.len() {
            self.finish(index)?;
        }
        while self.taken < self.submitted {
            self.take_one()?;
        }
        for stream in &mut self.streams {
            let checksum = std::mem::replace(&mut stream.checksum, crc32fast::Hasher::new()).finalize();
            stream.sink.put(gzip::trailer(checksum, stream.length).to_vec().into())?;
            stream.sink.file.flush().map_err(Failure::Write)?;
        }
        Ok(())
    }

    fn piece(&mut self, members: &[Member], piece: &Piece<'_>) -> Result<(), Failure> {
        let size = piece.file.size();
        for index in 0..self.streams.len() {
            if piece.first {
                let folder = match self.streams[index].format {
                    Format::Layer { .. } => members[piece.turn.member].folder.as_str(),
                    Format::Tgz => "package",
                };
                let path = format!("{folder}/{}", piece.file.path);
                let kind = Kind::File { executable: piece.file.executable };
                self.add(index, &tar::header(&path, kind, size, self.settings.time))?;
            }
            if size < SHARED {
                self.add(index, piece.content)?;
            }
        }
        if size >= SHARED {
            self.share(piece)?;
        }
        for index in 0..self.streams.len() {
            if piece.last {
                self.add(index, tar::padding(size))?;
            }
        }
        Ok(())
    }

    /// Adds a piece of a file, which is compressed once, to all streams.
    fn share(&mut self, piece: &Piece<'_>) -> Result<(), Failure> {
        for (number, block) in piece.content.chunks(gzip::BLOCK).enumerate() {
            let block = if piece.first && number == 0 { self.begin_shared(block)? } else { block };
            self.make_room()?;
            let mut buffer = std::mem::take(&mut self.shared);
            let window = buffer.len();
            buffer.extend_from_slice(block);
            self.shared = buffer[buffer.len().saturating_sub(gzip::WINDOW)..].to_vec();
            self.compress(None, buffer, window, false);
            for stream in &mut self.streams {
                stream.length += block.len() as u64;
            }
        }
        if piece.last {
            for stream in &mut self.streams {
                stream.buffer.clone_from(&self.shared);
                stream.window = self.shared.len();
            }
        }
        Ok(())
    }

    /// Adds the first window of a shared file to each stream, ends their blocks there, and returns what is left of the
    /// file's first block.
    fn begin_shared<'b>(&mut self, block: &'b [u8]) -> Result<&'b [u8], Failure> {
        let (start, rest) = block.split_at(gzip::WINDOW);
        for index in 0..self.streams.len() {
            self.add(index, start)?;
            if self.streams[index].buffer.len() > self.streams[index].window {
                self.submit(index, false)?;
            }
        }
        self.shared = start.to_vec();
        Ok(rest)
    }

    fn finish(&mut self, index: usize) -> Result<(), Failure> {
        if let Format::Layer { index: json } = &mut self.streams[index].format {
            let json = std::mem::take(json);
            let size = json.len() as u64;
            let kind = Kind::File { executable: false };
            self.add(index, &tar::header("index.json", kind, size, self.settings.time))?;
            self.add(index, &json)?;
            self.add(index, tar::padding(size))?;
        }
        self.add(index, &tar::END)?;
        self.submit(index, true)
    }

    /// Adds bytes to an uncompressed archive.
    fn add(&mut self, index: usize, mut bytes: &[u8]) -> Result<(), Failure> {
        while !bytes.is_empty() {
            let stream = &mut self.streams[index];
            let room = stream.window + gzip::BLOCK - stream.buffer.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            stream.buffer.extend_from_slice(now);
            stream.length += now.len() as u64;
            bytes = later;
            if stream.buffer.len() == stream.window + gzip::BLOCK {
                self.submit(index, false)?;
            }
        }
        Ok(())
    }

    /// Ends the block that was collected, and begins the next.
    fn submit(&mut self, index: usize, last: bool) -> Result<(), Failure> {
        self.make_room()?;
        let stream = &mut self.streams[index];
        let kept = stream.buffer.len().saturating_sub(gzip::WINDOW);
        let mut next = Vec::with_capacity(if last { 0 } else { gzip::WINDOW + gzip::BLOCK });
        next.extend_from_slice(&stream.buffer[kept..]);
        let buffer = std::mem::replace(&mut stream.buffer, next);
        let window = std::mem::replace(&mut stream.window, stream.buffer.len());
        self.compress(Some(index), buffer, window, last);
        Ok(())
    }

    /// Has what stands in `buffer` after its first `window` bytes compressed, for one stream or for all.
    fn compress(&mut self, stream: Option<usize>, buffer: Vec<u8>, window: usize, last: bool) {
        let (level, blocks) = (self.settings.level, Arc::clone(self.blocks));
        self.pool.submit(&self.results, self.submitted, move |promise| {
            let (window, block) = buffer.split_at(window);
            let mut checksum = crc32fast::Hasher::new();
            checksum.update(block);
            let take = move |bytes| promise.keep(Compressed { stream, bytes, checksum });
            if last {
                take(gzip::compress(window, block, level, true).map(Arc::new));
            } else {
                blocks.compress(window, block, level, take);
            }
        });
        self.submitted += 1;
    }

    /// Writes what is compressed, and waits where too much is under way.
    fn make_room(&mut self) -> Result<(), Failure> {
        while self.submitted - self.taken >= self.settings.in_flight
            || (self.taken < self.submitted && self.results.is_done(self.taken))
        {
            self.take_one()?;
        }
        Ok(())
    }

    /// Writes the next block that is compressed.
    fn take_one(&mut self) -> Result<(), Failure> {
        let failed = || Failure::Write(std::io::Error::other("the compressor failed"));
        let Compressed { stream, bytes, checksum } = self.results.take(self.taken).ok_or_else(failed)?;
        self.taken += 1;
        let bytes = bytes.map_err(|_| failed())?;
        let streams = match stream {
            Some(index) => &mut self.streams[index..=index],
            None => &mut self.streams[..],
        };
        for stream in streams {
            stream.checksum.combine(&checksum);
            stream.sink.put(Arc::clone(&bytes))?;
        }
        Ok(())
    }
}

/// Every folder of `members` in the layer, once, each before what is in it.
fn folders<'a>(members: impl Iterator<Item = &'a Member>) -> BTreeSet<String> {
    let mut folders = BTreeSet::new();
    for member in members {
        let mut previous = None;
        for folder in member.list.files.iter().map(|file| file.path.rsplit_once('/').map(|(folder, _)| folder)) {
            if previous == Some(folder) {
                continue;
            }
            previous = Some(folder);
            let folder = folder.map_or_else(|| member.folder.clone(), |folder| format!("{}/{folder}", member.folder));
            let mut folder = folder.as_str();
            while folders.insert(folder.to_owned()) {
                let Some((parent, _)) = folder.rsplit_once('/') else { break };
                folder = parent;
            }
        }
    }
    folders
}
