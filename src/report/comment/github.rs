//! The comment on GitHub: <https://docs.github.com/rest/issues/comments>.

use octocrab::Octocrab;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Error, Existing, Fault, Kept, MAX_PAGES, TIMEOUT, retry_after};

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
    let client = Client::new(api, token)?;
    let author = client.author(api).await?;
    let issue = format!("{api}/repos/{repository}/issues");
    let text = json!({ "body": body });
    if let Some(existing) = client.find(&format!("{issue}/{number}/comments"), graphql, &author, marker).await? {
        if existing.body == body {
            return Ok(Kept::Unchanged);
        }
        let what = "updating the comment";
        let url = format!("{issue}/comments/{}", existing.id);
        let answer = client.ask(what, Verb::Patch(&text), &url).await?;
        // Deleted since we found it: it is made again.
        if answer.status != 404 {
            return answer.good(what).map(|_| Kept::Updated);
        }
    }
    let what = "writing a comment";
    let url = format!("{issue}/{number}/comments");
    client.ask(what, Verb::Post(&text), &url).await?.good(what).map(|_| Kept::Created)
}

struct Client {
    api: Octocrab,
}

/// What is done with a URL.
enum Verb<'a> {
    Get,
    Post(&'a Value),
    Patch(&'a Value),
}

impl Client {
    fn new(api: &str, token: &SecretString) -> Result<Self, Fault> {
        let wrong = |error: octocrab::Error| Fault::Final(Error::Failed(format!("`{api}`: {error}")));
        // octocrab joins paths to its base by their beginnings; whole URLs on the base's host need no joining.
        let url = url::Url::parse(api).map_err(|error| Fault::Final(Error::Failed(format!("`{api}`: {error}"))))?;
        let api = Octocrab::builder()
            .base_uri(url.origin().ascii_serialization())
            .map_err(wrong)?
            .personal_token(token.expose_secret())
            .set_connect_timeout(Some(TIMEOUT))
            .set_read_timeout(Some(TIMEOUT))
            .build()
            .map_err(wrong)?;
        Ok(Self { api })
    }

    async fn ask(&self, what: &str, verb: Verb<'_>, url: &str) -> Result<Answer, Fault> {
        let response = match verb {
            Verb::Get => self.api._get(url).await,
            Verb::Post(body) => self.api._post(url, Some(body)).await,
            Verb::Patch(body) => self.api._patch(url, Some(body)).await,
        };
        let unreachable =
            |error: octocrab::Error| Fault::Again { why: format!("{what}: {}", causes(&error)), after: None };
        let response = response.map_err(unreachable)?;
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let status = response.status().as_u16();
        let retry_after = retry_after(header);
        let has_next = header("link").is_some_and(|link| link.contains("rel=\"next\""));
        let body = self.api.body_to_string(response).await.map_err(unreachable)?;
        Ok(Answer { status, retry_after, has_next, body })
    }

    async fn author(&self, api: &str) -> Result<Author, Fault> {
        let what = "asking who comments";
        let answer = self.ask(what, Verb::Get, &format!("{api}/user")).await?;
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
            let answer = self.ask(what, Verb::Get, &url).await?.good(what)?;
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
        let answer = self.ask(what, Verb::Post(&question), graphql).await?;
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

/// An error with its causes on one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text.lines().next().unwrap_or_default().to_owned()
}
