//! The note on GitLab: <https://docs.gitlab.com/api/notes/#merge-requests>.

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use super::{Existing, Kept};
use crate::forge::gitlab::{Client, Verb};
use crate::forge::{Fault, MAX_PAGES};

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

pub(super) async fn keep_once(
    api: &str,
    project: &str,
    number: u64,
    token: &SecretString,
    marker: &str,
    body: &str,
) -> Result<Kept, Fault> {
    let client = Client::new(token)?;
    let what = "asking who writes the note";
    let own: User = client.ask(what, Verb::Get, &format!("{api}/user")).await?.good(what)?.json(what)?;
    let notes = format!("{api}/projects/{project}/merge_requests/{number}/notes");
    let mut existing: Option<Existing> = None;
    for page in 1..=MAX_PAGES {
        let what = "reading the notes";
        let query = format!("{notes}?per_page=100&page={page}&sort=asc&order_by=created_at");
        let answer = client.ask(what, Verb::Get, &query).await?.good(what)?;
        let page: Vec<Note> = answer.json(what)?;
        let ours = |note: &Note| !note.system && note.author.id == own.id && note.body.starts_with(marker);
        existing = page.into_iter().find(ours).map(|note| Existing { id: note.id.to_string(), body: note.body });
        if existing.is_some() || !answer.has_next {
            break;
        }
    }
    let text = json!({ "body": body });
    if let Some(existing) = existing {
        if existing.body == body {
            return Ok(Kept::Unchanged);
        }
        let what = "updating the note";
        let answer = client.ask(what, Verb::Put(&text), &format!("{notes}/{}", existing.id)).await?;
        // Deleted since we found it: it is made again.
        if answer.status != 404 {
            return answer.good(what).map(|_| Kept::Updated);
        }
    }
    let what = "writing a note";
    client.ask(what, Verb::Post(&text), &notes).await?.good(what).map(|_| Kept::Created)
}
