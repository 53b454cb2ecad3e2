//! The note on GitLab: <https://docs.gitlab.com/api/notes/#merge-requests>.

use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::{Answer, Error, Existing, Fault, Kept, MAX_PAGES, TIMEOUT, retry_after};

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
    // A redirect would carry the token elsewhere.
    let client = Client::builder().redirect(Policy::none()).connect_timeout(TIMEOUT).read_timeout(TIMEOUT).build();
    let client = client.map_err(|error| Fault::Final(Error::Failed(error.to_string())))?;
    let ask = async |what: &str, request: RequestBuilder| {
        answer(what, request.header("PRIVATE-TOKEN", token.expose_secret())).await
    };
    let what = "asking who writes the note";
    let own: User = ask(what, client.get(format!("{api}/user"))).await?.good(what)?.json(what)?;
    let notes = format!("{api}/projects/{project}/merge_requests/{number}/notes");
    let mut existing: Option<Existing> = None;
    for page in 1..=MAX_PAGES {
        let what = "reading the notes";
        let query = format!("{notes}?per_page=100&page={page}&sort=asc&order_by=created_at");
        let answer = ask(what, client.get(query)).await?.good(what)?;
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
        let answer = ask(what, client.put(format!("{notes}/{}", existing.id)).json(&text)).await?;
        // Deleted since we found it: it is made again.
        if answer.status != 404 {
            return answer.good(what).map(|_| Kept::Updated);
        }
    }
    let what = "writing a note";
    ask(what, client.post(notes).json(&text)).await?.good(what).map(|_| Kept::Created)
}

async fn answer(what: &str, request: RequestBuilder) -> Result<Answer, Fault> {
    let unreachable =
        |error: reqwest::Error| Fault::Again { why: format!("{what}: {}", error.without_url()), after: None };
    let response = request.send().await.map_err(unreachable)?;
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
    let status = response.status().as_u16();
    let retry_after = retry_after(header);
    let has_next = header("x-next-page").is_some_and(|page| !page.is_empty());
    let body = response.text().await.map_err(unreachable)?;
    Ok(Answer { status, retry_after, has_next, body })
}
