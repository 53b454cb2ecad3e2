//! The note on GitLab: <https://docs.gitlab.com/api/notes/#merge-requests>.

use reqwest::Url;
use serde::Deserialize;

use super::Existing;
use crate::registry::forge::{Error, Forge};

#[derive(Deserialize)]
struct Note {
    id: u64,
    body: String,
    author: User,
    #[serde(default)]
    system: bool,
}

#[derive(Deserialize)]
struct User {
    id: u64,
}

/// Our note in `list` with the marker.
pub(super) async fn find(forge: &Forge, list: &Url, marker: &str) -> Result<Option<Existing>, Error> {
    let own: User = forge.get("asking who writes the note", &forge.url(&["user"])).await?;
    let is_ours = |note: &Note| !note.system && note.author.id == own.id && note.body.starts_with(marker);
    let mut oldest_first = list.clone();
    oldest_first.query_pairs_mut().append_pair("sort", "asc").append_pair("order_by", "created_at");
    let notes = forge.list_until("reading the notes", &oldest_first, 100, |notes| notes.iter().any(is_ours)).await?;
    Ok(notes.into_iter().find(is_ours).map(|note| Existing { id: note.id, body: note.body }))
}
