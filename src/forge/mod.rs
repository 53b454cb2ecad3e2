//! The APIs of GitHub and GitLab on the ground floor: requests with a token that goes nowhere else, answers, and trying
//! again. What is asked stands where it is needed: comments, pull requests, which of them are closed.

use std::time::Duration;

pub mod github;
pub(crate) mod gitlab;
pub mod pulls;

/// How often the whole work is tried, and how long it may take with all of its waiting.
const ATTEMPTS: u32 = 5;
const DEADLINE: Duration = Duration::from_secs(180);

/// Nobody waits longer than this for one more attempt.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How long a request may take until its answer begins.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Pages of a hundred entries that are looked through.
pub(crate) const MAX_PAGES: u32 = 100;

/// Why a forge did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The token may not do it.
    #[error("the token may not do this ({0})")]
    Denied(String),
    /// The forge cannot be asked, or says no.
    #[error("{0}")]
    Failed(String),
}

/// What one attempt ended with.
pub(crate) enum Fault {
    /// Nothing that trying again would change.
    Final(Error),
    /// To be tried again, after this time where the forge names one.
    Again { why: String, after: Option<Duration> },
}

/// An answer of a forge.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// `retry-after`, or what is left until `x-ratelimit-reset` where nothing remains.
    retry_after: Option<Duration>,
    /// Whether another page follows.
    pub(crate) has_next: bool,
    pub(crate) body: String,
}

/// Does `work`, again while that may help.
pub(crate) async fn again<T>(work: impl AsyncFn() -> Result<T, Fault>) -> Result<T, Error> {
    let work = async {
        let mut wait = Duration::from_millis(500);
        let mut attempt = 1;
        loop {
            match work().await {
                Ok(done) => return Ok(done),
                Err(Fault::Final(error)) => return Err(error),
                Err(Fault::Again { why, after }) => {
                    let pause = after.unwrap_or(wait);
                    if attempt == ATTEMPTS || pause > LONGEST_WAIT {
                        return Err(Error::Failed(format!("{why}, after {attempt} attempts")));
                    }
                    tokio::time::sleep(pause).await;
                    wait *= 2;
                    attempt += 1;
                }
            }
        }
    };
    tokio::time::timeout(DEADLINE, work)
        .await
        .unwrap_or_else(|_| Err(Error::Failed(format!("no answer within {} seconds", DEADLINE.as_secs()))))
}

impl Answer {
    /// The answer, if it is a good one; `what` was being done.
    pub(crate) fn good(self, what: &str) -> Result<Self, Fault> {
        let said = self.message();
        let limited = self.status == 429
            || self.status == 403 && (self.retry_after.is_some() || said.to_lowercase().contains("rate limit"));
        match self.status {
            200..300 => Ok(self),
            // Before anything else: rate limits are 403 too.
            _ if limited => Err(Fault::Again { why: format!("{what}: {said}"), after: self.retry_after }),
            500.. => Err(Fault::Again { why: format!("{what}: {} {said}", self.status), after: self.retry_after }),
            401 | 403 => Err(Fault::Final(Error::Denied(format!("{what}: {} {said}", self.status)))),
            status => Err(Fault::Final(Error::Failed(format!("{what}: {status} {said}")))),
        }
    }

    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self, what: &str) -> Result<T, Fault> {
        // A proxy's page instead of an answer goes away, mostly.
        serde_json::from_str(&self.body).map_err(|error| Fault::Again {
            why: format!("{what}: the answer is not JSON as expected: {error}"),
            after: None,
        })
    }

    /// What the forge says, on one line.
    pub(crate) fn message(&self) -> String {
        let json: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        let text = json.get("message").or_else(|| json.get("error")).and_then(serde_json::Value::as_str);
        text.unwrap_or("no reason given").chars().filter(|character| !character.is_control()).take(200).collect()
    }
}

/// What the headers of an answer say about trying again.
fn retry_after<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Option<Duration> {
    let seconds = |name: &str| header(name)?.parse::<u64>().ok();
    if let Some(after) = seconds("retry-after") {
        return Some(Duration::from_secs(after));
    }
    let reset = seconds("x-ratelimit-reset").filter(|_| seconds("x-ratelimit-remaining") == Some(0))?;
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default();
    Some(Duration::from_secs(reset.saturating_sub(now) + 1))
}
