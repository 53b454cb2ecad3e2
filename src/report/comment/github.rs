//! The comment on GitHub: <https://docs.github.com/rest/issues/comments>.

use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Existing;
use crate::registry::forge::{Error, Forge, Sent};

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
    async fn of(forge: &Forge) -> Result<Self, Error> {
        match forge.get::<User>("asking who comments", &forge.url(&["user"])).await {
            Ok(user) => Ok(Self::Login(user.login)),
            Err(Error::Refused { message, .. }) if message.contains("not accessible by integration") => Ok(Self::Bot),
            Err(error) => Err(error),
        }
    }

    fn is(&self, user: &User) -> bool {
        match self {
            Self::Login(login) => user.login == *login,
            Self::Bot => user.kind == "Bot",
        }
    }
}

/// Our comment in `list` with the marker, that nobody has hidden.
pub(super) async fn find(forge: &Forge, list: &Url, graphql: &str, marker: &str) -> Result<Option<Existing>, Error> {
    let author = Author::of(forge).await?;
    let mut ours: Vec<Comment> = forge.list("reading the comments", list).await?;
    ours.retain(|comment| {
        comment.user.as_ref().is_some_and(|user| author.is(user))
            && comment.body.as_deref().is_some_and(|body| body.starts_with(marker))
    });
    if ours.is_empty() {
        return Ok(None);
    }
    let hidden = hidden(forge, graphql, &ours).await?;
    let shown = ours.into_iter().find(|comment| !hidden.contains(&comment.node_id));
    Ok(shown.map(|comment| Existing { id: comment.id, body: comment.body.unwrap_or_default() }))
}

/// Which of `comments` somebody has hidden. Only GraphQL knows; where it does not say, none is.
async fn hidden(forge: &Forge, graphql: &str, comments: &[Comment]) -> Result<Vec<String>, Error> {
    let Ok(graphql) = Url::parse(graphql) else { return Ok(Vec::new()) };
    let ids: Vec<&str> = comments.iter().take(100).map(|comment| comment.node_id.as_str()).collect();
    let query = "query($ids: [ID!]!) { nodes(ids: $ids) { ... on IssueComment { id isMinimized } } }";
    let question = json!({ "query": query, "variables": { "ids": ids } });
    let what = "asking which comments are hidden";
    let answer: Value = match forge.change(what, Method::POST, &graphql, &Sent::Json(&question)).await {
        Err(error) if error.transient() => return Err(error),
        answer => answer.ok().flatten().unwrap_or_default(),
    };
    let nodes = answer.pointer("/data/nodes").and_then(Value::as_array).into_iter().flatten();
    let hidden = nodes.filter(|node| node.get("isMinimized").and_then(Value::as_bool) == Some(true));
    Ok(hidden.filter_map(|node| node.get("id")?.as_str().map(str::to_owned)).collect())
}
