//! The content key: one sha256 over everything that an artifact is made from. Equal keys mean equal artifacts, so it is
//! the name under which registries remember what was built.
//!
//! # Format 4
//!
//! A sequence of fields, each written as its length in bytes (64 bits, little endian) and its bytes. First the field
//! `rhdh-pack content key 5`; the number goes up when this format, or what packaging makes of the same `dist-dynamic`,
//! changes. Then one record for each input, of three fields: kind, name, value. Records are sorted by kind and name.
//!
//! | kind | name | value |
//! | --- | --- | --- |
//! | `cli` | | the version of the RHDH CLI |
//! | `option` | key of `[plugins.ID]` | the effective value, as JSON; keys that shape the artifact only |
//! | `package` | folder of the plugin, or of a workspace package that it is made from | sha256 over its files |
//! | `file` | path of any other file: global inputs, patches in use, folders that dependencies name by path, targets of links and the links on the way there | kind and id |
//! | `manifest` | `<workspace>/resolutions`, `<workspace>/packageManager` | the value, as JSON with sorted keys |
//! | `lock` | as for `package` | sha256 over resolution, version and checksum of each locked package that its dependencies lead to |
//! | `unread-lock` | folder of the workspace | id of a lock file that cannot be read |
//! | `bundle` | `image`, `version`, `labels`, `annotations`, `artifact-type`, `compression-level` | the effective value, as JSON |
//! | `member` | position in the bundle, four digits | the member's directory and content key |
//!
//! The sha256 over the files of a package is one over path (relative to the package), mode and id of each, sorted by
//! path, as fields; the ids are those of `snapshot`. No path on this machine, no time, no commit, no branch goes in.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

const FORMAT: &[u8] = b"rhdh-pack content key 5";

/// The annotation of an image's manifest that holds its content key.
pub const CONTENT_KEY_ANNOTATION: &str = "dev.rhdh-pack.content-key";

/// How many digits of a key stand in its tag.
const TAG_DIGITS: usize = 20;

/// A content key: 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^[0-9a-f]{64}$"))]
pub struct ContentKey(String);

impl TryFrom<String> for ContentKey {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or_else(|| format!("`{text}` is no content key: 64 hexadecimal digits"))
    }
}

impl From<ContentKey> for String {
    fn from(key: ContentKey) -> Self {
        key.0
    }
}

impl ContentKey {
    /// The key that an annotation holds; `None` where it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let valid = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        valid.then(|| Self(text.to_owned()))
    }

    /// The 64 digits: the value of the annotation that images carry.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `tag` is one that [`ContentKey::tag`] makes: rhdh-pack's own, in any channel.
    #[must_use]
    pub fn is_tag(tag: &str) -> bool {
        let digits = tag.strip_prefix("key-").unwrap_or_default();
        digits.len() == TAG_DIGITS && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    }

    /// The tag that every image with this key gets.
    #[must_use]
    pub fn tag(&self) -> String {
        format!("key-{}", self.0.get(..TAG_DIGITS).unwrap_or(&self.0))
    }
}

impl fmt::Display for ContentKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The inputs of one artifact.
#[derive(Clone, Debug, Default)]
pub(super) struct Records {
    /// All names and values.
    text: Vec<u8>,
    /// The kind of each record, and where in `text` its name begins, its value begins, and that ends.
    list: Vec<(&'static str, [usize; 3])>,
}

impl Records {
    pub(super) fn add(&mut self, kind: &'static str, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let start = self.text.len();
        self.text.extend_from_slice(name.as_ref());
        let middle = self.text.len();
        self.text.extend_from_slice(value.as_ref());
        self.list.push((kind, [start, middle, self.text.len()]));
    }

    pub(super) fn add_all(&mut self, others: &Self) {
        for (kind, name, value) in others.list.iter().map(|record| others.shown(record)) {
            self.add(kind, name, value);
        }
    }

    /// Kind, name and value.
    fn shown(&self, (kind, [start, middle, end]): &(&'static str, [usize; 3])) -> (&'static str, &[u8], &[u8]) {
        (kind, &self.text[*start..*middle], &self.text[*middle..*end])
    }

    /// The key of an artifact with these inputs. An input that was added twice counts once.
    pub(super) fn key(&self) -> ContentKey {
        let mut records: Vec<_> = self.list.iter().map(|record| self.shown(record)).collect();
        records.sort_unstable();
        records.dedup();
        let mut fields = Fields::default();
        fields.add(FORMAT);
        for (kind, name, value) in records {
            fields.add(kind.as_bytes());
            fields.add(name);
            fields.add(value);
        }
        ContentKey(hex::encode(fields.finish()))
    }
}

/// The sha256 of a sequence of fields.
#[derive(Default)]
pub(super) struct Fields(Sha256);

impl Fields {
    pub(super) fn add(&mut self, field: &[u8]) {
        self.0.update((field.len() as u64).to_le_bytes());
        self.0.update(field);
    }

    pub(super) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_and_number_of_additions_do_not_matter() {
        let mut one = Records::default();
        one.add("file", "a", "1");
        one.add("file", "b", "2");
        let mut other = Records::default();
        for (name, value) in [("b", "2"), ("a", "1"), ("b", "2")] {
            other.add("file", name, value);
        }
        assert_eq!(one.key(), other.key());
    }

    #[test]
    fn fields_do_not_run_into_each_other() {
        let key = |name: &str, value: &str| {
            let mut records = Records::default();
            records.add("file", name, value);
            records.key()
        };
        assert_ne!(key("ab", "c"), key("a", "bc"));
    }

    /// The keys of published images depend on it: a new value here must go with a new number in the format.
    #[test]
    fn format_5_is_fixed() {
        let mut records = Records::default();
        records.add("cli", "", "1.9.1");
        let key = records.key();
        assert_eq!(key.tag(), "key-6e24b8a6c6667089f42e");
        assert_eq!(key.as_str(), "6e24b8a6c6667089f42edbe336a263d4657d420308db39d7acbb193d60c6e0f5");
    }
}
