//! The second opinion: both texts are read by another YAML parser than the one that found the places, and what differs
//! must be our values and nothing else.

use serde::Deserialize as _;
use serde_yaml::{Mapping, Value};

use super::Change;

/// What differs, that must not.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Difference {
    /// One of the texts cannot be read.
    NotYaml(String),
    /// Another value than ours.
    More(String),
}

/// Checks that `new` differs from `old` in `changes` only.
pub(super) fn only_ours_differs(old: &str, new: &str, changes: &[Change]) -> Result<(), Difference> {
    let read = |text: &str| -> Result<Vec<Value>, Difference> {
        let documents = serde_yaml::Deserializer::from_str(text).map(Value::deserialize).collect::<Result<_, _>>();
        documents.map_err(|error| Difference::NotYaml(error.to_string()))
    };
    let (before, after) = (read(old)?, read(new)?);
    if before.len() != after.len() {
        return Err(Difference::More("the number of documents".to_owned()));
    }
    let comparison = Comparison { changes };
    before.iter().zip(&after).try_for_each(|(before, after)| comparison.values("", before, after))
}

struct Comparison<'a> {
    changes: &'a [Change],
}

impl Comparison<'_> {
    /// `key`: what the value is the value of.
    fn values(&self, key: &str, before: &Value, after: &Value) -> Result<(), Difference> {
        let more = || Difference::More(format!("the value of `{key}`"));
        match (before, after) {
            (Value::String(before), Value::String(after)) if before != after => self.texts(key, before, after),
            (Value::Sequence(before), Value::Sequence(after)) if before.len() == after.len() => {
                before.iter().zip(after).try_for_each(|(before, after)| self.values(key, before, after))
            }
            (Value::Mapping(before), Value::Mapping(after)) => self.mappings(key, before, after),
            (Value::Tagged(before), Value::Tagged(after)) if before.tag == after.tag => {
                self.values(key, &before.value, &after.value)
            }
            _ if before == after => Ok(()),
            _ => Err(more()),
        }
    }

    fn texts(&self, key: &str, before: &str, after: &str) -> Result<(), Difference> {
        let is_ours =
            |change: &Change| change.key == key && change.old.as_deref() == Some(before) && change.new == after;
        if self.changes.iter().any(is_ours) {
            return Ok(());
        }
        if before.contains('\n') {
            return only_ours_differs(before, after, self.changes);
        }
        Err(Difference::More(format!("the value of `{key}`")))
    }

    fn mappings(&self, key: &str, before: &Mapping, after: &Mapping) -> Result<(), Difference> {
        let mut added = after.len() - before.len().min(after.len());
        for (name, value) in after {
            let text = name.as_str().unwrap_or(key);
            match before.get(name) {
                Some(before) => self.values(text, before, value)?,
                None if added > 0 && self.is_added(text, value) => added -= 1,
                None => return Err(Difference::More(format!("the key `{text}`"))),
            }
        }
        let same_order = before.keys().eq(after.keys().filter(|name| before.contains_key(name)));
        if added == 0 && same_order { Ok(()) } else { Err(Difference::More(format!("the keys of `{key}`"))) }
    }

    /// Whether a key that was not there is one of ours.
    fn is_added(&self, key: &str, value: &Value) -> bool {
        let added = |change: &&Change| change.key == key && change.old.is_none();
        self.changes.iter().filter(added).any(|change| value.as_str() == Some(&change.new))
    }
}
