//! An archive, read as an installer reads it: compressed bytes come in; what goes out are its entries, the manifests in
//! it, its digest without compression, and what is wrong with it as an archive.

use std::collections::BTreeMap;
use std::io::{self, Read};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest as _, Sha256};
use tar::EntryType;

use crate::digest::Digest;
use crate::package::inventory::Inventory;
use crate::package::packlist::MAX_MANIFEST;

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
            broken,
        };
        match compression {
            Compression::Gzip => {
                contents.read_tar(&mut MultiGzDecoder::new(&mut compressed));
            }
            Compression::None => contents.read_tar(&mut compressed),
            Compression::Other(_) => {}
        }
        match io::copy(&mut compressed, &mut io::sink()) {
            Ok(0) | Err(_) => {}
            Ok(rest) => {
                contents.broken.get_or_insert_with(|| format!("{rest} bytes follow its end"));
            }
        }
        contents.size = compressed.get_ref().count;
        contents
    }

    /// The number of its files.
    pub(crate) fn files(&self) -> u64 {
        self.entries.iter().filter(|entry| entry.kind == EntryKind::File).count() as u64
    }

    fn read_tar(&mut self, reader: &mut dyn Read) {
        let counting = Counting { inner: reader, count: 0, sha256: Some(Sha256::new()) };
        let mut archive = tar::Archive::new(counting);
        let result = self.read_entries(&mut archive);
        let mut rest = archive.into_inner();
        // The checksum of a gzip member stands at its end.
        let result = result.and_then(|()| io::copy(&mut rest, &mut io::sink()).map(|_| ()));
        if let Err(error) = result {
            self.broken.get_or_insert_with(|| error.to_string());
        }
        self.uncompressed = rest.count;
        if let Some(sha256) = rest.sha256 {
            self.diff_id = Digest::from_sha256(sha256.finalize().into());
        }
    }

    fn read_entries<R: Read>(&mut self, archive: &mut tar::Archive<R>) -> io::Result<()> {
        let mut buffer = vec![0; 64 << 10];
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let kind = match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous => EntryKind::File,
                EntryType::Directory => EntryKind::Folder,
                EntryType::Symlink | EntryType::Link => {
                    let target = entry.link_name_bytes().unwrap_or_default();
                    EntryKind::Link(String::from_utf8_lossy(&target).into_owned())
                }
                EntryType::XGlobalHeader => continue,
                _ => EntryKind::Special,
            };
            let size = entry.size();
            let mode = entry.header().mode()?;
            let mut sha256 = None;
            if kind == EntryKind::File {
                let manifest = size <= MAX_MANIFEST && is_manifest(&path);
                if manifest || size <= MAX_MANIFEST && Inventory::wants(&path) {
                    let mut content = Vec::new();
                    entry.read_to_end(&mut content)?;
                    sha256 = Some(Sha256::digest(&content).into());
                    self.inventory.add(&path, &content);
                    if manifest {
                        self.manifests.insert(path.clone(), content);
                    }
                } else {
                    sha256 = Some(hash(&mut entry, &mut buffer)?);
                }
            }
            self.entries.push(Entry { path, kind, size, mode, sha256 });
        }
        Ok(())
    }
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
