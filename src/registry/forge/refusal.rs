//! What GitHub and GitLab say instead of doing what was asked, and what to do about it.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

use super::super::answer::Answer;
use super::super::error::{Error, one_line};
use super::super::retry::retry_after;
use super::super::variable_prefix;
use super::{Forge, ForgeKind};

impl Forge {
    pub(super) fn unauthorized(&self, reason: String, found: &str) -> Error {
        let (variable, right) = match self.kind {
            ForgeKind::GitHub => ("GITHUB_TOKEN", "write the repository's contents (`permissions: contents: write`)"),
            ForgeKind::GitLab => ("CI_JOB_TOKEN", "write the project's packages (scope `api`, role Developer)"),
        };
        let help = match &self.registry {
            Some(registry) => {
                let own = format!("{}_TOKEN", variable_prefix(registry));
                format!("{found}: set `{own}` or `{variable}` to one that may {right}")
            }
            None => format!("{found}: it may have expired, or be another server's"),
        };
        Error::Unauthorized { host: self.host.authority.clone(), reason, help }
    }

    /// The error for an answer that says no.
    pub(super) fn refused(&self, what: &str, answer: &Answer) -> Error {
        let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let code = said.pointer("/errors/0/code").and_then(Value::as_str).map(one_line).unwrap_or_default();
        let texts = ["/message", "/error_description", "/error"];
        let message = texts.iter().find_map(|pointer| said.pointer(pointer)).map_or_else(
            || one_line(&String::from_utf8_lossy(&answer.body)),
            |text| one_line(&text.as_str().map_or_else(|| text.to_string(), str::to_owned)),
        );
        // GitHub: "Validation Failed", and below what was not valid.
        let detail = said.pointer("/errors/0/message").and_then(Value::as_str).map(one_line);
        let message = detail.map_or(message.clone(), |detail| format!("{message}: {detail}"));
        if answer.status == StatusCode::UNAUTHORIZED {
            let reason = if message.is_empty() { answer.status.to_string() } else { message };
            return self.unauthorized(reason, "the token is not accepted");
        }
        // GitHub says 403, too, to those who ask too often.
        let header = |name: &str| answer.header(name).and_then(|text| text.parse::<i64>().ok());
        let used_up = header("x-ratelimit-remaining") == Some(0);
        let reset = header("x-ratelimit-reset").filter(|_| used_up);
        let reset = reset.map(|reset| reset.saturating_sub(jiff::Timestamp::now().as_second()).max(1).unsigned_abs());
        let wait = retry_after(&answer.headers).or(reset.map(Duration::from_secs));
        let limited = wait.is_some() || message.to_lowercase().contains("rate limit");
        let status = match answer.status {
            StatusCode::FORBIDDEN if limited => StatusCode::TOO_MANY_REQUESTS,
            status => status,
        };
        let help = match status.as_u16() {
            403 | 404 => Some(
                "the token may not do this: it must be allowed to write the repository's contents (GitHub), or \
                               the project's packages (GitLab)",
            ),
            301..=308 => Some("the repository was renamed or moved: write its new name into `rhdh-plugins.toml`"),
            413 => Some("the file is larger than the forge takes"),
            429 => Some("the forge limits how often it may be asked: wait, then run the command again"),
            500..=599 => Some("the forge has trouble of its own: look at its status page, then run the command again"),
            _ => None,
        };
        let who = match self.kind {
            ForgeKind::GitHub => "GitHub",
            ForgeKind::GitLab => "GitLab",
        };
        Error::Refused { what: what.to_owned(), who, status, code, message, retry_after: wait, help }
    }
}
