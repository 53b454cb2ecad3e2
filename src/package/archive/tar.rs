//! Tar headers that every installer reads alike: ustar, owner 0, one fixed time, PAX for what ustar cannot hold.

use tar::{EntryType, Header};

/// Tar counts in blocks of this many bytes.
const BLOCK: u64 = 512;

/// Two empty blocks end an archive.
pub(crate) const END: [u8; 1024] = [0; 1024];

const PADDING: [u8; 512] = [0; 512];

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Folder,
    File { executable: bool },
}

/// The header blocks of the entry `path`, whose content has `size` bytes; `time` in seconds since 1970.
pub(crate) fn header(path: &str, kind: Kind, size: u64, time: u64) -> Vec<u8> {
    let mut blocks = Vec::with_capacity(512);
    let path = if kind == Kind::Folder { format!("{path}/") } else { path.to_owned() };
    let (entry_type, mode) = match kind {
        Kind::Folder => (EntryType::Directory, 0o755),
        Kind::File { executable: true } => (EntryType::Regular, 0o755),
        Kind::File { executable: false } => (EntryType::Regular, 0o644),
    };
    let split = if path.is_ascii() { split(&path) } else { None };
    let (prefix, name) = split.unwrap_or_else(|| {
        let record = pax_record("path", &path);
        let base = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        // The extended header needs a name of its own: node-tar 7 refuses an empty one.
        let name = format!("PaxHeader/{}", start(base, 80));
        blocks.extend(ustar("", &name, EntryType::XHeader, 0o644, record.len() as u64, time).as_bytes());
        blocks.extend(record.as_bytes());
        blocks.extend(padding(record.len() as u64));
        ("", start(&path, 100).trim_end_matches('/'))
    });
    blocks.extend(ustar(prefix, name, entry_type, mode, size, time).as_bytes());
    blocks
}

/// What fills the last block of a content of `size` bytes.
pub(crate) fn padding(size: u64) -> &'static [u8] {
    let rest = (BLOCK - size % BLOCK) % BLOCK;
    PADDING.get(..usize::try_from(rest).unwrap_or(0)).unwrap_or_default()
}

fn ustar(prefix: &str, name: &str, entry_type: EntryType, mode: u32, size: u64, time: u64) -> Header {
    let mut header = Header::new_ustar();
    if let Some(ustar) = header.as_ustar_mut() {
        ustar.name[..name.len()].copy_from_slice(name.as_bytes());
        ustar.prefix[..prefix.len()].copy_from_slice(prefix.as_bytes());
    }
    header.set_entry_type(entry_type);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header.set_mtime(time);
    header.set_cksum();
    header
}

/// Splits a path into the fields `prefix` and `name`, at its last slash if it can be: files of one name, which stand
/// next to each other, then begin with the same bytes, and compress better.
fn split(path: &str) -> Option<(&str, &str)> {
    // A folder's last slash does not count.
    let places = path.len().saturating_sub(1).min(156);
    let slash = path.as_bytes()[..places].iter().rposition(|byte| *byte == b'/').filter(|slash| *slash > 0);
    let (prefix, name) = slash.map_or(("", path), |slash| (&path[..slash], &path[slash + 1..]));
    (name.len() <= 100).then_some((prefix, name))
}

/// At most `length` bytes from the start of `text`, in whole characters.
fn start(text: &str, length: usize) -> &str {
    let end = (0..=length.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}

/// POSIX pax: `<length of the whole record> <key>=<value>\n`.
fn pax_record(key: &str, value: &str) -> String {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length.to_string().len() + rest != length {
        length = length.to_string().len() + rest;
    }
    format!("{length} {key}={value}\n")
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read as _};

    use super::*;

    #[test]
    fn every_path_is_read_back() {
        let long = "x".repeat(255);
        let deep = vec!["node_modules"; 20].join("/");
        let at_limits = [99, 100, 101, 155, 156, 200, 255, 256, 257].map(|length| {
            let mut path = "ab/".repeat(100);
            path.truncate(length - 1);
            path + "x"
        });
        let mut paths = vec!["a", "dist/ü.js", &long, &deep, "名前/ファイル"];
        paths.extend(at_limits.iter().map(String::as_str));
        let mut archive = Vec::new();
        for path in &paths {
            archive.extend(header(path, Kind::File { executable: false }, 3, 499_162_500));
            archive.extend(b"abc");
            archive.extend(padding(3));
            archive.extend(header(&format!("{path}.d"), Kind::Folder, 0, 499_162_500));
        }
        archive.extend(END);
        let mut archive = tar::Archive::new(Cursor::new(archive));
        let mut read = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            assert_eq!(content.is_empty(), path.ends_with('/'));
            read.push(path);
        }
        let expected: Vec<String> = paths.iter().flat_map(|path| [(*path).to_owned(), format!("{path}.d/")]).collect();
        assert_eq!(read, expected);
    }

    #[test]
    fn a_record_counts_its_own_length() {
        assert_eq!(pax_record("path", "abc"), "12 path=abc\n");
        for length in 80..=110 {
            let record = pax_record("path", &"x".repeat(length));
            assert_eq!(record.split_once(' ').unwrap().0, record.len().to_string());
        }
    }
}
