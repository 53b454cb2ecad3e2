//! An archive, read as an installer reads it: compressed bytes come in; what goes out are its entries, the manifests in
//! it, its digest without compression, and what is wrong with it as an archive.

use std::collections::BTreeMap;
use std::io::{self, Read};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest as _, Sha256};
use tar::EntryType;

use super::bounded::{Bound, Bounded};
use crate::digest::Digest;
use crate::package::inventory::Inventory;
use crate::package::packlist::MAX_MANIFEST;

/// What a file begins with that stands for another one in Git LFS, and its size at most, in bytes: docs/spec.md of
/// git-lfs 3.
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";
const MAX_LFS_POINTER: u64 = 1024;

/// What an archive holds.
#[derive(Debug)]
pub(crate) struct Contents {
    /// In the order of the archive.
    pub(crate) entries: Vec<Entry>,
    /// The files that [`is_manifest`] tells of, by path.
    pub(crate) manifests: BTreeMap<String, Vec<u8>>,
    /// The packages in its `node_modules`.
    pub(crate) inventory: Inventory,
    /// Of the uncompressed archive.
    pub(crate) diff_id: Digest,
    /// Bytes of the archive, with and without compression.
    pub(crate) size: u64,
    pub(crate) uncompressed: u64,
    pub(crate) compression: Compression,
    /// Why it cannot be read to its end.
    pub(crate) broken: Option<String>,
    /// Whether entries may be missing for that.
    pub(crate) is_cut: bool,
}

/// How an archive is compressed, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    /// Something that is not read here; the name of it.
    Other(&'static str),
}

/// One entry of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// As it is written in the archive; bytes that are not UTF-8 are replaced.
    pub(crate) path: String,
    pub(crate) kind: EntryKind,
    /// In bytes.
    pub(crate) size: u64,
    /// Permissions, with set-user-id and the like.
    pub(crate) mode: u32,
    /// The sha256 of a file.
    pub(crate) sha256: Option<[u8; 32]>,
    /// Whether it is a file that stands for another one in Git LFS.
    pub(crate) is_lfs_pointer: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    File,
    Folder,
    /// A symbolic or hard link, and where it points.
    Link(String),
    /// A device, a pipe, or something unknown.
    Special,
}

/// Counts and hashes what is read.
struct Counting<R> {
    inner: R,
    count: u64,
    sha256: Option<Sha256>,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count += read as u64;
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(&buffer[..read]);
        }
        Ok(read)
    }
}

impl Contents {
    /// Reads an archive to its end.
    pub(crate) fn read(reader: &mut dyn Read) -> Self {
        let mut compressed = io::BufReader::with_capacity(64 << 10, Counting { inner: reader, count: 0, sha256: None });
        let (compression, broken) = match detect(&mut compressed) {
            Ok(compression) => (compression, None),
            Err(error) => (Compression::None, Some(error.to_string())),
        };
        let mut contents = Self {
            entries: Vec::new(),
            manifests: BTreeMap::new(),
            inventory: Inventory::default(),
            diff_id: Digest::of(b""),
            size: 0,
            uncompressed: 0,
            compression,
            is_cut: broken.is_some() || matches!(compression, Compression::Other(_)),
            broken,
        };
        match compression {
            Compression::Gzip => {
                contents.read_tar(&mut MultiGzDecoder::new(&mut compressed));
            }
            Compression::None => contents.read_tar(&mut compressed),
            Compression::Other(_) => {}
        }
        // Its size is known at its end; what is wrong on the way there is known already.
        let _ = io::copy(&mut compressed, &mut io::sink());
        contents.size = compressed.get_ref().count;
        contents
    }

    /// Whether it holds images, not a plugin: as `skopeo copy` makes it for `oci-archive:` or `docker-archive:`.
    pub(crate) fn is_of_images(&self) -> bool {
        let has = |path: &str| self.entries.iter().any(|entry| entry.path == path && entry.kind == EntryKind::File);
        has("oci-layout") || has("manifest.json") && !has("package.json") && !has("package/package.json")
    }

    /// The number of its files.
    pub(crate) fn files(&self) -> u64 {
        self.entries.iter().filter(|entry| entry.kind == EntryKind::File).count() as u64
    }

    fn read_tar(&mut self, reader: &mut dyn Read) {
        let counting = Counting { inner: reader, count: 0, sha256: Some(Sha256::new()) };
        let (bounded, bound) = Bounded::new(counting);
        let mut archive = tar::Archive::new(bounded);
        let result = self.read_entries(&mut archive, &bound);
        let mut rest = archive.into_inner().into_inner();
        if let Err(error) = result {
            self.is_cut = true;
            let why = self.why_broken(&error);
            self.broken.get_or_insert(why);
        } else if let Err(error) = io::copy(&mut rest, &mut io::sink()) {
            // The checksum of a gzip member stands at its end.
            self.broken.get_or_insert_with(|| format!("at its end: {error}"));
        }
        self.uncompressed = rest.count;
        if let Some(sha256) = rest.sha256 {
            self.diff_id = Digest::from_sha256(sha256.finalize().into());
        }
    }

    /// Without what the file says: it may be anything.
    fn why_broken(&self, error: &io::Error) -> String {
        if self.entries.is_empty() && self.compression == Compression::None {
            return "it is no archive".to_owned();
        }
        match error.to_string() {
            text if text.starts_with("numeric field was not a number") => "an entry's header is none".to_owned(),
            text => text,
        }
    }

    fn read_entries<R: Read>(&mut self, archive: &mut tar::Archive<R>, bound: &Bound) -> io::Result<()> {
        let mut buffer = vec![0; 64 << 10];
        let (mut entries, mut unread) = (archive.entries()?, 0);
        while let Some(entry) = bound.next(&mut entries, unread) {
            let mut entry = entry?;
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let is_sparse = is_sparse(&mut entry)?;
            let kind = match entry.header().entry_type() {
                _ if is_folder(entry.header(), &path) => EntryKind::Folder,
                EntryType::Regular | EntryType::Continuous if !is_sparse => EntryKind::File,
                EntryType::Symlink | EntryType::Link => {
                    let target = entry.link_name_bytes().unwrap_or_default();
                    EntryKind::Link(String::from_utf8_lossy(&target).into_owned())
                }
                EntryType::XGlobalHeader => {
                    unread = entry.size();
                    continue;
                }
                _ => EntryKind::Special,
            };
            let size = entry.size();
            unread = if kind == EntryKind::File { 0 } else { size };
            let mode = entry.header().mode()?;
            let (mut sha256, mut is_lfs_pointer) = (None, false);
            if kind == EntryKind::File {
                let is_read = size <= MAX_MANIFEST && (is_manifest(&path) || Inventory::wants(&path));
                if is_read || size <= MAX_LFS_POINTER {
                    let mut content = Vec::new();
                    entry.read_to_end(&mut content)?;
                    sha256 = Some(Sha256::digest(&content).into());
                    is_lfs_pointer = content.starts_with(LFS_POINTER);
                    self.inventory.add(&path, &content);
                    if is_manifest(&path) {
                        self.manifests.insert(path.clone(), content);
                    }
                } else {
                    sha256 = Some(hash(&mut entry, &mut buffer)?);
                }
            }
            self.entries.push(Entry { path, kind, size, mode, sha256, is_lfs_pointer });
        }
        Ok(())
    }
}

/// Whether an entry is a folder: before POSIX, one was a file whose name ends in a slash.
pub(crate) fn is_folder(header: &tar::Header, path: &str) -> bool {
    header.entry_type().is_dir() || header.as_old().linkflag == [0] && path.ends_with('/')
}

/// Whether it has holes, in the form of GNU tar that looks like a usual file: node's tar does not know it.
fn is_sparse<R: Read>(entry: &mut tar::Entry<'_, R>) -> io::Result<bool> {
    let Some(extensions) = entry.pax_extensions()? else { return Ok(false) };
    let mut known = extensions.flatten();
    Ok(known.any(|extension| extension.key_bytes().starts_with(b"GNU.sparse.")))
}

/// The sha256 of all that `reader` gives.
fn hash(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<[u8; 32]> {
    let mut sha256 = Sha256::new();
    loop {
        match reader.read(buffer)? {
            0 => return Ok(sha256.finalize().into()),
            read => sha256.update(&buffer[..read]),
        }
    }
}

/// Whether a file decides how RHDH loads its plugin.
fn is_manifest(path: &str) -> bool {
    let Some((_, path)) = path.split_once('/') else { return path == "index.json" };
    matches!(path, "package.json" | "dist-scalprum/plugin-manifest.json" | "dist/mf-manifest.json")
}

fn detect(reader: &mut impl io::BufRead) -> io::Result<Compression> {
    let start = reader.fill_buf()?;
    Ok(match start {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Other("zstd"),
        [b'B', b'Z', b'h', ..] => Compression::Other("bzip2"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Compression::Other("xz"),
        _ => Compression::None,
    })
}
