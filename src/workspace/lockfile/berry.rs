//! The lock files of yarn berry as yarn itself writes them: a regular part of YAML, which is read many times faster
//! than YAML can be. What departs from it in the least (quotes with escapes, comments behind values, flow style,
//! letters beyond ASCII, a key that is there twice) is left to the YAML parser, which also finds the words for what is
//! wrong.

use std::sync::Arc;

use hashbrown::HashSet;
use memchr::memchr_iter;

use super::super::resolve::find_pair;
use super::{Entries, Entry, Span, name_of, span};

/// One line: how far it is indented, its key, and its value where it stands on the same line.
struct Line<'a> {
    indent: usize,
    key: &'a str,
    value: Option<&'a str>,
}

/// One entry as far as its lines have been read; the fields that count, each at most once.
#[derive(Default)]
struct Open<'a> {
    key: &'a str,
    version: Option<&'a str>,
    resolution: Option<&'a str>,
    checksum: Option<&'a str>,
    link_type: Option<&'a str>,
    /// Where its dependencies begin; there at most once.
    dependencies: Option<usize>,
    fields: usize,
}

/// The entries of `text`; `None` where it is not in the regular form, broken or not.
pub(super) fn read(text: &Arc<String>) -> Option<Entries> {
    // Tabs, carriage returns and all that is not ASCII have rules of their own in YAML.
    // In pieces without a way out in between: so the compiler takes many bytes at a time.
    let is_plain = |piece: &[u8]| piece.iter().fold(true, |plain, byte| plain & matches!(byte, b'\n' | b' '..=b'~'));
    if !text.ends_with('\n') || !text.as_bytes().chunks(4096).all(is_plain) {
        return None;
    }
    let mut entries = Entries { text: Arc::clone(text), ..Entries::default() };
    // More than there will be: what is never written to takes no memory, and what has to grow is copied.
    entries.list.reserve(text.len() / 128);
    entries.descriptors.reserve(text.len() / 128);
    entries.dependencies.reserve(text.len() / 32);
    let at = |part: &str| span_of(text, part);
    let mut keys = HashSet::new();
    let mut open: Option<Open<'_>> = None;
    // The field of the entry, and its key, that lines further to the right belong to.
    let (mut field, mut inner) = (None, None);
    let lines =
        memchr_iter(b'\n', text.as_bytes()).scan(0, |start, end| Some(&text[std::mem::replace(start, end + 1)..end]));
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Line { indent, key, value } = line_of(line)?;
        if indent < 6 && inner == Some(false) || indent < 4 && matches!(field, Some((_, false))) {
            // A key without value, and nothing below it either.
            return None;
        }
        match (indent, &mut open) {
            (0, _) => {
                if let Some(done) = open.take() {
                    close(&mut entries, &done, &at)?;
                }
                if value.is_some() || !keys.insert(key) {
                    return None;
                }
                open = Some(Open { key, ..Open::default() });
                (field, inner) = (None, None);
            }
            (2, Some(open)) => {
                open.fields += 1;
                (field, inner) = (value.is_none().then_some((key, false)), None);
                let place = match key {
                    "version" => &mut open.version,
                    "resolution" => &mut open.resolution,
                    "checksum" => &mut open.checksum,
                    "linkType" => &mut open.link_type,
                    "dependencies" => {
                        if value.is_some() || open.dependencies.replace(entries.dependencies.len()).is_some() {
                            return None;
                        }
                        continue;
                    }
                    _ => continue,
                };
                if place.replace(value?).is_some() {
                    return None;
                }
            }
            (4, Some(_)) => {
                let (name, filled) = field.as_mut()?;
                *filled = true;
                inner = value.is_none().then_some(false);
                if *name == "dependencies" {
                    entries.dependencies.push((at(key), at(value?)));
                }
            }
            (6, Some(_)) => {
                *inner.as_mut()? = true;
                value?;
            }
            _ => return None,
        }
    }
    if inner == Some(false) || matches!(field, Some((_, false))) {
        return None;
    }
    close(&mut entries, &open?, &at)?;
    keys.contains("__metadata").then_some(entries)
}

/// Takes an entry over, if it is whole.
fn close(entries: &mut Entries, open: &Open<'_>, at: &dyn Fn(&str) -> Span) -> Option<()> {
    let first = open.dependencies.unwrap_or(entries.dependencies.len());
    if open.key == "__metadata" {
        entries.dependencies.truncate(first);
        return (open.fields > 0).then_some(());
    }
    let (version, resolution) = (open.version?, open.resolution?);
    if !matches!(open.link_type?, "hard" | "soft") {
        return None;
    }
    let mut dependencies = entries.dependencies.split_off(first);
    dependencies.sort_unstable_by_key(|(name, _)| entries.text(*name));
    if dependencies.windows(2).any(|pair| entries.text(pair[0].0) == entries.text(pair[1].0)) {
        return None;
    }
    entries.dependencies.append(&mut dependencies);
    let first_descriptor = entries.descriptors.len();
    let mut rest = open.key;
    while let Some(comma) = find_pair(rest, ',', " ") {
        entries.descriptors.push(at(&rest[..comma]));
        rest = &rest[comma + ", ".len()..];
    }
    entries.descriptors.push(at(rest));
    entries.list.push(Entry {
        name: at(name_of(resolution)?),
        version: at(version),
        resolution: at(resolution),
        checksum: open.checksum.map(at).unwrap_or_default(),
        dependencies: span(first, entries.dependencies.len()),
        descriptors: span(first_descriptor, entries.descriptors.len()),
    });
    Some(())
}

/// Where `part`, which was cut out of `text`, stands in it.
fn span_of(text: &str, part: &str) -> Span {
    let start = part.as_ptr().addr() - text.as_ptr().addr();
    span(start, start + part.len())
}

fn line_of(line: &str) -> Option<Line<'_>> {
    let bytes = line.as_bytes();
    let indent = bytes.iter().position(|byte| *byte != b' ')?;
    let (key, rest) = match &line[indent..] {
        rest if rest.starts_with('"') => {
            let end = rest[1..].bytes().position(|byte| byte == b'"')? + 1;
            (whole(&rest[1..end])?, &rest[end + 1..])
        }
        rest => rest.split_at_checked(rest.bytes().position(|byte| !INNER[usize::from(byte)])?)?,
    };
    let key = if bytes[indent] == b'"' { key } else { plain(key)? };
    let value = match rest.strip_prefix(':')?.strip_prefix(' ') {
        None => (rest.len() == 1).then_some(None)?,
        Some(value) => Some(match value.strip_prefix('"') {
            Some(quoted) => whole(quoted.strip_suffix('"')?)?,
            None => plain(value)?,
        }),
    };
    Some(Line { indent, key, value })
}

/// What stood in quotes, where it means itself.
fn whole(text: &str) -> Option<&str> {
    (!text.is_empty() && !text.bytes().any(|byte| matches!(byte, b'"' | b'\\'))).then_some(text)
}

/// What may stand in a text without quotes.
const INNER: [bool; 256] = {
    let mut all = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        all[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let signs = b"._-/+=&|()~^*@<> ";
    let mut at = 0;
    while at < signs.len() {
        all[signs[at] as usize] = true;
        at += 1;
    }
    all
};

/// What stands without quotes, where YAML takes it for a text that means itself.
fn plain(text: &str) -> Option<&str> {
    let first = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/' | b'_' | b'^' | b'(');
    let inner = |byte: u8| INNER[usize::from(byte)];
    let fits = text.as_bytes().first().is_some_and(first) && text.bytes().all(inner) && !text.ends_with(' ');
    // `null` is no text where a field may be missing.
    (fits && !text.eq_ignore_ascii_case("null")).then_some(text)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::tests::told;
    use super::super::{parse, yaml};
    use super::read;

    /// An entry in all its parts, as yarn 4 writes it.
    const ENTRY: &str = r#"
"is-odd@npm:^3.0.0, is-odd@patch:is-odd@npm%3A3.0.1#./.yarn/patches/is-odd.patch::locator=root%40workspace%3A.":
  version: 3.0.1
  resolution: "is-odd@patch:is-odd@npm%3A3.0.1#./.yarn/patches/is-odd.patch::version=3.0.1&hash=1a2b3c"
  dependencies:
    "@acme/b": "workspace:^"
    is-number: "npm:^6.0.0"
    plain: 3
  peerDependencies:
    react: ^17.0.0 || ^18.0.0
  peerDependenciesMeta:
    react:
      optional: true
    vue:
      optional: true
  bin:
    is-odd: ./bin/is-odd.js
  checksum: 10c0/aa11
  conditions: (os=linux | os=darwin) & cpu=x64
  languageName: node
  linkType: hard
"#;

    fn lock(body: &str) -> String {
        format!(
            "# This file is generated by running \"yarn install\".\n\n__metadata:\n  version: 8\n  cacheKey: 10c0\n{body}"
        )
    }

    fn agree(text: &str) {
        if let Some(entries) = read(&Arc::new(text.to_owned())) {
            let slow = yaml(text).unwrap_or_else(|why| panic!("only the YAML parser refuses it: {why}\n{text}"));
            assert_eq!(told(&entries.sorted()), told(&slow.sorted()), "{text}");
        }
    }

    #[test]
    fn what_yarn_writes_is_read_without_the_yaml_parser() {
        let text = lock(ENTRY);
        let entries = read(&Arc::new(text.clone())).unwrap();
        assert_eq!(entries.list.len(), 1);
        assert_eq!(entries.dependencies(&entries.list[0]).last(), Some(("plain", "3")));
        agree(&text);
    }

    #[test]
    fn what_is_unusual_is_left_to_the_yaml_parser() {
        for (from, to) in [
            ("3.0.1\n", "3.0.1 # the last\n"),
            ("  version: 3.0.1", "  version: '3.0.1'"),
            ("  version: 3.0.1", "  version: \"3.0\\x2e1\""),
            ("  version: 3.0.1", "  version: null"),
            ("  version: 3.0.1", "  version: >-\n    3.0.1"),
            ("  version: 3.0.1", "  version: 3.0.1\n  version: 3.0.2"),
            ("  version: 3.0.1\n", ""),
            ("    plain: 3\n", "    plain: 3\n    plain: 4\n"),
            ("    plain: 3\n", "    plain: {}\n"),
            ("    plain: 3\n", "    plain:\n"),
            ("  linkType: hard\n", "  linkType: hard\n  extra:\n"),
            ("  linkType: hard", "  linkType: soft-ish"),
            ("  linkType: hard\n", "  linkType: hard\r\n"),
            ("node", "n\u{f6}de"),
            ("__metadata", "__other"),
        ] {
            let text = lock(ENTRY);
            assert!(text.contains(from), "{from}");
            assert!(read(&Arc::new(text.replace(from, to))).is_none(), "{to}");
        }
        assert!(read(&Arc::new(lock(&format!("{ENTRY}{ENTRY}")))).is_none(), "twice the same key");
        let quoted = lock(ENTRY).replace("  version: 3.0.1", "  version: '3.0.1'");
        assert!(parse(&Arc::new(quoted), "yarn.lock").is_ok());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

        /// Whatever the text is: what this reader takes, the YAML parser takes, and finds the same in it.
        #[test]
        fn both_readers_agree(
            entries in prop::collection::vec((0..6usize, 0..6usize, any::<bool>()), 1..4),
            damage in prop::collection::vec(
                (any::<prop::sample::Index>(), "[ :#\"'\\\\,\\[\\]{}&*!|>%@`~?\n\t0-9a-z-]{0,3}", 0..4usize), 0..4),
        ) {
            let body: String = entries.iter().enumerate().map(|(at, (name, range, soft))| {
                let entry = ENTRY.replace("is-odd@npm:^3.0.0", &format!("e{at}@npm:{range}, e{name}@npm:{range}"));
                entry.replace("linkType: hard", if *soft { "linkType: soft" } else { "linkType: hard" })
                    .replace("plain: 3", ["plain: 3", "a: ~1.0", "true: yes", "b: .5", "c: 0x10", "d: \"*\""][*name])
            }).collect();
            let mut text = lock(&body);
            agree(&text);
            for (at, put, cut) in damage {
                let at = at.index(text.len());
                let end = (at + cut).min(text.len());
                text.replace_range(at..end, &put);
                agree(&text);
            }
        }
    }
}
