//! Docker's credential helpers: programs `docker-credential-<name>` that are asked on stdin and answer with JSON.

use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::credentials::{Credential, CredentialKind, Error};
use super::error::{Cause, one_line};

/// A helper may ask a cloud; it must not ask a person.
const LIMIT: Duration = Duration::from_secs(30);

/// How long what a helper wrote may take to arrive once it has ended.
const GRACE: Duration = Duration::from_secs(1);

/// No answer is longer, in bytes.
const MAX_ANSWER: u64 = 64 << 10;

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: SecretString,
}

/// How the helper ended, and what it wrote; of what is too long, the beginning, and it is killed.
async fn answer_of(child: &mut Child) -> std::io::Result<(ExitStatus, Vec<u8>)> {
    let mut stdout = Vec::new();
    let pipe = child.stdout.take();
    let ended = {
        let mut reading = pin!(async {
            let Some(pipe) = pipe else { return Ok(0) };
            pipe.take(MAX_ANSWER + 1).read_to_end(&mut stdout).await
        });
        tokio::select! {
            read = &mut reading => {
                if read? as u64 > MAX_ANSWER {
                    child.start_kill()?;
                }
                child.wait().await?
            }
            ended = child.wait() => {
                // An agent that it started may keep the pipe open: what the helper wrote is there by now.
                let _ = tokio::time::timeout(GRACE, reading).await;
                ended?
            }
        }
    };
    Ok((ended, stdout))
}

/// Asks the helper `name`, found by `path` (as `PATH`), for the credential of `host`; `None` where it has none. It gets
/// this process's environment without the variables in `hidden`, which are for us alone.
pub(super) async fn get(name: &str, host: &str, path: &str, hidden: &[String]) -> Result<Option<Credential>, Error> {
    let failed = |why: String| Error::Helper { name: name.to_owned(), host: host.to_owned(), source: Cause(why) };
    if name.is_empty() || !name.chars().all(|character| character.is_ascii_alphanumeric() || "-_.".contains(character))
    {
        return Err(failed("this is not the name of a helper".to_owned()));
    }
    // docker keeps its own registry under the URL of old.
    let server = if host == "index.docker.io" { "https://index.docker.io/v1/" } else { host };
    let mut command = Command::new(format!("docker-credential-{name}"));
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    for variable in hidden {
        command.env_remove(variable);
    }
    command.env("PATH", path);
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that does not read its question has ended: its status says why.
        let _ = stdin.write_all(format!("{server}\n").as_bytes()).await;
    }
    let (status, stdout) = tokio::time::timeout(LIMIT, answer_of(&mut child))
        .await
        .map_err(|_| failed(format!("no answer within {} s", LIMIT.as_secs())))?
        .map_err(|error| failed(error.to_string()))?;
    if stdout.len() as u64 > MAX_ANSWER {
        return Err(failed("its answer is longer than 64 KiB".to_owned()));
    }
    if !status.success() {
        let said = String::from_utf8_lossy(&stdout);
        // An answer is no explanation, and holds the secret.
        let words = if said.contains('{') { "it says not why".to_owned() } else { one_line(&said) };
        // The helpers' own text for "I have none" (docker-credential-helpers, credentials/error.go).
        if words.contains("credentials not found") {
            return Ok(None);
        }
        return Err(failed(format!("{status}: {words}")));
    }
    let answer: Answer = serde_json::from_slice(&stdout)
        .map_err(|_| failed("its answer is not JSON with `Username` and `Secret`".to_owned()))?;
    if answer.secret.expose_secret().is_empty() {
        return Ok(None);
    }
    let kind = match answer.username.as_str() {
        "<token>" => CredentialKind::IdentityToken(answer.secret),
        _ => CredentialKind::Password { username: answer.username, password: answer.secret },
    };
    Ok(Some(Credential { kind, source: format!("the helper `docker-credential-{name}`") }))
}
