//! The comment on GitHub: <https://docs.github.com/rest/issues/comments>.

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Existing, Kept};
use crate::forge::github::{Client, Verb};
use crate::forge::{Fault, MAX_PAGES};

#[derive(Deserialize)]
struct Comment {
    id: u64,
    node_id: String,
    #[serde(default)]
    body: Option<String>,
    /// `None` for accounts that are gone.
    user: Option<User>,
}

#[derive(Deserialize)]
struct User {
    login: String,
    #[serde(rename = "type", default)]
    kind: String,
}

/// Who we are.
enum Author {
    Login(String),
    /// The token of a job or of an app: it may not ask, and its comments are by a bot.
    Bot,
}

impl Author {
    fn is(&self, user: &User) -> bool {
        match self {
            Self::Login(login) => user.login == *login,
            Self::Bot => user.kind == "Bot",
        }
    }
}

pub(super) async fn keep_once(
    api: &str,
    graphql: &str,
    repository: &str,
    number: u64,
    token: &SecretString,
    marker: &str,
    body: &str,
) -> Result<Kept, Fault> {
    let comments = Comments { client: Client::new(api, token)? };
    let author = comments.author(api).await?;
    let issue = format!("{api}/repos/{repository}/issues");
    let text = json!({ "body": body });
    if let Some(existing) = comments.find(&format!("{issue}/{number}/comments"), graphql, &author, marker).await? {
        if existing.body == body {
            return Ok(Kept::Unchanged);
        }
        let what = "updating the comment";
        let url = format!("{issue}/comments/{}", existing.id);
        let answer = comments.client.ask(what, Verb::Patch(&text), &url).await?;
        // Deleted since we found it: it is made again.
        if answer.status != 404 {
            return answer.good(what).map(|_| Kept::Updated);
        }
    }
    let what = "writing a comment";
    let url = format!("{issue}/{number}/comments");
    comments.client.ask(what, Verb::Post(&text), &url).await?.good(what).map(|_| Kept::Created)
}

struct Comments {
    client: Client,
}

impl Comments {
    async fn author(&self, api: &str) -> Result<Author, Fault> {
        let what = "asking who comments";
        let answer = self.client.ask(what, Verb::Get, &format!("{api}/user")).await?;
        if answer.status == 403 && answer.message().contains("not accessible by integration") {
            return Ok(Author::Bot);
        }
        Ok(Author::Login(answer.good(what)?.json::<User>(what)?.login))
    }

    /// Our comment with the marker, that nobody has hidden.
    async fn find(&self, list: &str, graphql: &str, author: &Author, marker: &str) -> Result<Option<Existing>, Fault> {
        let what = "reading the comments";
        let mut ours: Vec<Comment> = Vec::new();
        for page in 1..=MAX_PAGES {
            let url = format!("{list}?per_page=100&page={page}");
            let answer = self.client.ask(what, Verb::Get, &url).await?.good(what)?;
            let comments: Vec<Comment> = answer.json(what)?;
            ours.extend(comments.into_iter().filter(|comment| {
                comment.user.as_ref().is_some_and(|user| author.is(user))
                    && comment.body.as_deref().is_some_and(|body| body.starts_with(marker))
            }));
            if !answer.has_next {
                break;
            }
        }
        if ours.is_empty() {
            return Ok(None);
        }
        let hidden = self.hidden(graphql, &ours).await?;
        let shown = ours.into_iter().find(|comment| !hidden.contains(&comment.node_id));
        Ok(shown.map(|comment| Existing { id: comment.id.to_string(), body: comment.body.unwrap_or_default() }))
    }

    /// Which of `comments` somebody has hidden. Only GraphQL knows; where it does not say, none is.
    async fn hidden(&self, graphql: &str, comments: &[Comment]) -> Result<Vec<String>, Fault> {
        let ids: Vec<&str> = comments.iter().take(100).map(|comment| comment.node_id.as_str()).collect();
        let query = "query($ids: [ID!]!) { nodes(ids: $ids) { ... on IssueComment { id isMinimized } } }";
        let question = json!({ "query": query, "variables": { "ids": ids } });
        let what = "asking which comments are hidden";
        let answer = self.client.ask(what, Verb::Post(&question), graphql).await?;
        let answer = match answer.good(what) {
            Err(Fault::Final(_)) => return Ok(Vec::new()),
            answer => answer?,
        };
        let answer: Value = answer.json(what)?;
        let nodes = answer.pointer("/data/nodes").and_then(Value::as_array).into_iter().flatten();
        let hidden = nodes.filter(|node| node.get("isMinimized").and_then(Value::as_bool) == Some(true));
        Ok(hidden.filter_map(|node| node.get("id")?.as_str().map(str::to_owned)).collect())
    }
}
