//! Unpacking a plugin out of an archive, as RHDH's installers do it: a layer or a tgz comes in; what goes out are files
//! and folders, below one folder and nowhere else. Links, devices and pipes are left out.

use std::io::{self, BufRead as _, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path};

use flate2::bufread::MultiGzDecoder;
use tar::EntryType;

use crate::package::rehearse::{Bounded, is_folder};

/// The largest file that any installer takes, in bytes.
const MAX_FILE: u64 = 40_000_000;
/// What a plugin may unpack to, in bytes: many times the largest that is known.
const MAX_BYTES: u64 = 4 << 30;
/// How many entries an archive may have.
const MAX_ENTRIES: u64 = 1_000_000;

/// What came out of an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unpacked {
    /// Number of files.
    pub(crate) files: u64,
    /// Bytes of the files.
    pub(crate) bytes: u64,
    /// Entries that were left out: links, special files, names that lead elsewhere.
    pub(crate) left_out: Vec<String>,
}

/// Why an archive could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It is cut or broken, beyond the limits, or holds what no folder can hold.
    #[error(transparent)]
    Archive(io::Error),
    /// What came out of it cannot be written.
    #[error(transparent)]
    Folder(io::Error),
}

/// What is unpacked.
pub(crate) enum Item<'a> {
    Folder,
    File { is_program: bool, content: &'a mut dyn Read },
}

/// Takes what is unpacked, with its path below the folder, which is plain.
type Take<'t> = &'t mut dyn FnMut(&str, Item<'_>) -> Result<(), Error>;

/// Unpacks what stands below `top/` in the archive `file` into the folder `into`, which is made.
///
/// # Errors
/// When the archive cannot be read, is beyond the limits, or the folder cannot be written.
pub(crate) fn unpack(file: &Path, top: &str, into: &Path) -> Result<Unpacked, Error> {
    fs_err::create_dir_all(into).map_err(Error::Folder)?;
    each(file, top, &mut |path, item| match item {
        Item::Folder => fs_err::create_dir_all(into.join(path)).map_err(unwritten),
        Item::File { is_program, content } => {
            let mut file = create(&into.join(path), is_program).map_err(unwritten)?;
            copy(content, &mut file)
        }
    })
}

/// Gives everything to `take` that [`unpack`] would write, in the order of the archive; what is there twice, twice.
///
/// # Errors
/// When the archive cannot be read, is beyond the limits, or with those of `take`.
pub(crate) fn each(file: &Path, top: &str, take: Take<'_>) -> Result<Unpacked, Error> {
    let file = fs_err::File::open(file).map_err(Error::Archive)?;
    let mut reader = io::BufReader::with_capacity(64 << 10, file);
    if reader.fill_buf().map_err(Error::Archive)?.starts_with(&[0x1f, 0x8b]) {
        each_of_tar(&mut MultiGzDecoder::new(reader), top, take)
    } else {
        each_of_tar(&mut reader, top, take)
    }
}

fn each_of_tar(reader: &mut dyn Read, top: &str, take: Take<'_>) -> Result<Unpacked, Error> {
    let too_much = |why: String| Error::Archive(io::Error::other(why));
    let mut unpacked = Unpacked::default();
    let (bounded, bound) = Bounded::new(reader);
    let mut archive = tar::Archive::new(bounded);
    let mut entries = archive.entries().map_err(Error::Archive)?;
    let (mut count, mut unread) = (0, 0);
    while let Some(entry) = bound.next(&mut entries, unread) {
        let mut entry = entry.map_err(Error::Archive)?;
        unread = entry.size();
        count += 1;
        if count > MAX_ENTRIES {
            return Err(too_much(format!("the archive has more than {MAX_ENTRIES} entries")));
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let Some(inner) = path.strip_prefix(top).and_then(|rest| rest.strip_prefix('/')) else { continue };
        if !is_plain(inner) {
            unpacked.left_out.push(path);
            continue;
        }
        match entry.header().entry_type() {
            _ if is_folder(entry.header(), &path) => take(inner, Item::Folder)?,
            EntryType::Regular | EntryType::Continuous => {
                if entry.size() > MAX_FILE {
                    return Err(too_much(format!("`{path}` has {} bytes, more than an installer takes", entry.size())));
                }
                unpacked.bytes += entry.size();
                if unpacked.bytes > MAX_BYTES {
                    return Err(too_much(format!("the archive unpacks to more than {MAX_BYTES} bytes")));
                }
                unpacked.files += 1;
                let is_program = entry.header().mode().map_err(Error::Archive)? & 0o100 != 0;
                take(inner, Item::File { is_program, content: &mut entry })?;
                unread = 0;
            }
            EntryType::XGlobalHeader => {}
            _ => unpacked.left_out.push(path),
        }
    }
    Ok(unpacked)
}

/// Whether a path leads nowhere but below a folder.
fn is_plain(path: &str) -> bool {
    Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

/// The folder is new, so that what stands in the way of a name is of the archive itself.
fn unwritten(error: io::Error) -> Error {
    use io::ErrorKind::{AlreadyExists, InvalidFilename, InvalidInput, IsADirectory, NotADirectory};
    match error.kind() {
        AlreadyExists | InvalidFilename | InvalidInput | IsADirectory | NotADirectory => Error::Archive(error),
        _ => Error::Folder(error),
    }
}

fn create(target: &Path, is_program: bool) -> io::Result<fs_err::File> {
    if let Some(parent) = target.parent() {
        fs_err::create_dir_all(parent)?;
    }
    // An entry that is there twice: the last one counts, as for tar.
    match fs_err::remove_file(target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = fs_err::OpenOptions::new();
    options.write(true).create_new(true);
    options.options_mut().mode(if is_program { 0o755 } else { 0o644 });
    options.open(target)
}

/// As [`io::copy`], which does not tell on which side it failed.
fn copy(content: &mut dyn Read, file: &mut impl Write) -> Result<(), Error> {
    let mut buffer = [0; 16 << 10];
    loop {
        match content.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => file.write_all(&buffer[..read]).map_err(Error::Folder)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::Archive(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::rehearse::{self, Contents};
    use crate::package::{Finding, Release};

    fn entry(archive: &mut tar::Builder<Vec<u8>>, path: &str, kind: EntryType, content: &[u8]) {
        let mut header = tar::Header::new_ustar();
        // Past the checks of the crate, as a hostile tool would.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        if kind == EntryType::Symlink {
            header.set_link_name("/etc").unwrap();
        }
        header.set_cksum();
        archive.append(&header, content).unwrap();
    }

    #[test]
    fn nothing_is_written_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let mut archive = tar::Builder::new(Vec::new());
        entry(&mut archive, "todo/package.json", EntryType::Regular, b"{}");
        entry(&mut archive, "todo/../../out", EntryType::Regular, b"x");
        entry(&mut archive, "todo/etc", EntryType::Symlink, b"");
        entry(&mut archive, "todo/etc/passwd", EntryType::Regular, b"x");
        entry(&mut archive, "todo//abs", EntryType::Regular, b"x");
        entry(&mut archive, "todo-backend/package.json", EntryType::Regular, b"{}");
        entry(&mut archive, "/todo/abs", EntryType::Regular, b"x");
        entry(&mut archive, "todo/pipe", EntryType::Fifo, b"");
        let file = folder.path().join("layer.tar");
        fs_err::write(&file, archive.into_inner().unwrap()).unwrap();
        let into = folder.path().join("a/b/todo");
        let unpacked = unpack(&file, "todo", &into).unwrap();
        assert_eq!(unpacked.left_out, ["todo/../../out", "todo/etc", "todo//abs", "todo/pipe"]);
        assert_eq!(unpacked.files, 2);
        assert!(into.join("package.json").is_file() && into.join("etc/passwd").is_file());
        assert!(!into.join("etc").is_symlink() && !folder.path().join("a/out").exists());
    }

    /// What an archive says that a name takes is not taken from memory; what is left out may have any size.
    #[test]
    fn headers_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("layer.tar");
        let long = vec![b'a'; 3 << 20];
        for (kind, is_good) in [
            (EntryType::GNULongName, false),
            (EntryType::GNULongLink, false),
            (EntryType::XHeader, false),
            (EntryType::XGlobalHeader, true),
            (EntryType::new(b'?'), true),
        ] {
            let mut archive = tar::Builder::new(Vec::new());
            entry(&mut archive, "todo/index.js", EntryType::Regular, &long);
            entry(&mut archive, "todo/x", kind, &long);
            entry(&mut archive, "todo/package.json", EntryType::Regular, b"{}");
            let bytes = archive.into_inner().unwrap();
            let contents = Contents::read(&mut bytes.as_slice());
            let said = contents.broken.as_deref().is_some_and(|why| why.contains("headers of an entry have more than"));
            assert_eq!(said, !is_good, "{kind:?}: {:?}", contents.broken);
            fs_err::write(&file, bytes).unwrap();
            let into = folder.path().join("todo");
            assert_eq!(unpack(&file, "todo", &into).is_ok(), is_good, "{kind:?}");
            assert_eq!(into.join("package.json").is_file(), is_good);
            fs_err::remove_dir_all(into).unwrap();
        }
    }

    /// The rehearsal finds whatever would keep a plugin from being unpacked.
    #[test]
    fn what_breaks_no_rule_can_be_unpacked() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = br#"{"name":"x","version":"1.0.0","main":"a","backstage":{"role":"backend-plugin"}}"#;
        let long = "l".repeat(256);
        let parts = ["a", "b", "A", "c.js", "ü", ".", "..", "", long.as_str()];
        let kinds = [EntryType::Regular, EntryType::Regular, EntryType::Directory, EntryType::Symlink, EntryType::Fifo];
        let mut state = 1_u32;
        let mut random = |below: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as usize % below
        };
        let mut good = 0;
        for round in 0..3000 {
            let mut archive = tar::Builder::new(Vec::new());
            entry(&mut archive, "package/package.json", EntryType::Regular, manifest);
            entry(&mut archive, "package/a/index.js", EntryType::Regular, b"");
            for _ in 0..=random(4) {
                // Odd parts are rare, so that there are archives without any.
                let mut part = || if random(12) == 0 { parts[random(parts.len())] } else { parts[random(5)] };
                let path: Vec<&str> = (0..3).map(|_| part()).collect();
                let path = format!("package/{}", path[..=random(3)].join("/"));
                let kind = if random(8) == 0 { kinds[random(kinds.len())] } else { EntryType::Regular };
                archive.append_pax_extensions([("path", path.as_bytes())]).unwrap();
                entry(&mut archive, "x", kind, b"");
            }
            let bytes = archive.into_inner().unwrap();
            let (findings, _) = rehearse::tgz(&Contents::read(&mut bytes.as_slice()), "x", "x", &Release::KNOWN);
            if findings.iter().any(Finding::is_fatal) {
                continue;
            }
            good += 1;
            let file = folder.path().join("x.tgz");
            fs_err::write(&file, bytes).unwrap();
            let into = folder.path().join(round.to_string());
            let unpacked = unpack(&file, "package", &into).unwrap();
            assert_eq!(unpacked.left_out, [""; 0]);
            fs_err::remove_dir_all(into).unwrap();
        }
        assert!(good > 300, "{good} archives break no rule");
    }
}
