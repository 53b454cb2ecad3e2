//! Deleting tags of which nobody has need any more. Repositories and the judgement on each tag come in; what goes out
//! says what is deleted, and what is kept although it was to go.
//!
//! A tag is deleted alone where the registry can do that. Where it can delete whole images only, an image goes when all
//! of its tags go, and otherwise stays: what another tag holds, the tag of a content key among them, is never deleted.

mod attached;
mod ghcr;
pub mod pulls;
mod repository;

use std::collections::BTreeSet;

use tokio_util::sync::CancellationToken;

pub use ghcr::{Package, prune_package};
pub use repository::prune_repository;

/// What to delete in one repository.
pub struct Order<'a> {
    /// Whether a tag is to go.
    pub goes: &'a (dyn Fn(&str) -> bool + Sync),
    /// Whether the tags of content keys go, too, that hold nothing but what goes.
    pub keys: bool,
    /// How far to go.
    pub mode: Mode,
    /// Ends the work before the next tag.
    pub stop: &'a CancellationToken,
}

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Say which tags are to go, and nothing of what holds or hangs on their images, which takes many questions.
    Look,
    /// Say what would be deleted, and delete nothing.
    DryRun,
    /// Delete.
    Delete,
}

/// What became of one repository.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// References that are gone, or would be: `host/namespace/name:tag`.
    pub deleted: Vec<String>,
    /// What was attached to images that have no tags any more: documents by their digest, the rest by its tags.
    pub attached: Vec<String>,
    /// References that were to go and are not gone: what is in the way, and what to do.
    pub kept: Vec<Kept>,
}

/// A tag that was to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// `host/namespace/name:tag`.
    pub reference: String,
    /// Why it is still there.
    pub why: String,
    /// What to do.
    pub help: Option<String>,
}

/// Whether a tag is that of a content key: `key-` and 20 hexadecimal digits.
fn is_key(tag: &str) -> bool {
    tag.strip_prefix("key-").is_some_and(|hex| hex.len() == 20 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Whether everything that holds an image goes: `doomed`, and the tags of content keys where those may.
fn all_go(holders: &[String], doomed: &BTreeSet<String>, keys: bool) -> bool {
    holders.iter().all(|tag| doomed.contains(tag) || keys && is_key(tag))
}

/// The tags that keep an image.
fn others(holders: &[String], doomed: &BTreeSet<String>) -> String {
    let names = holders.iter().filter(|tag| !doomed.contains(*tag)).map(|tag| format!("`{tag}`"));
    names.take(5).collect::<Vec<_>>().join(", ")
}

/// What to do where a registry deletes whole images only.
fn whole_images_help(holders: &[String], doomed: &BTreeSet<String>) -> Option<String> {
    let only_keys = holders.iter().filter(|tag| !doomed.contains(*tag)).all(|tag| is_key(tag));
    only_keys
        .then(|| "`rhdh-pack prune --keys` deletes the tags of content keys, too, that hold nothing else".to_owned())
}
