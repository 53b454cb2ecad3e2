//! The registries of a configuration: whether they are there, whom they take us for, and what we may do.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::{Area, Finding, State, counted, files, listed};
use crate::config::Registry;
use crate::registry::{Client, CredentialKind, Error, Existence, Limits, ManifestRef, Npm, NpmError, Session};
use crate::ui::with_causes;

const HERE: Area = Area::Registries;

/// What quay does, and nobody sees.
const QUAY: &str = "quay makes a repository, and a private one, as soon as somebody wants to push to it: RHDH then needs a \
    pull secret, and where the plan's number of private repositories is used up the push fails without saying why; create it \
    beforehand, public, with write permission for the account";

/// One registry, and what is to go there.
#[derive(Debug)]
pub struct Subject<'a> {
    /// Its name in the configuration.
    pub name: &'a str,
    /// What it is.
    pub registry: &'a Registry,
    /// What goes there.
    pub artifacts: Vec<Artifact<'a>>,
    /// Whether the next run goes there; outside of a CI, runs push only where `--channel` says so.
    pub needed: bool,
}

/// Something that is to go to a registry.
#[derive(Clone, Debug)]
pub struct Artifact<'a> {
    /// `todo`, `bundle todo`.
    pub label: String,
    /// The image's name.
    pub image: &'a str,
    /// The package's name and version; `None` for a bundle.
    pub package: Option<(String, &'a str)>,
    /// The tags that no other content may have, of channels that do not overwrite.
    pub fixed_tags: Vec<String>,
}

/// How long and how often registries are asked here: somebody waits for the answer.
#[must_use]
pub fn limits() -> Limits {
    Limits {
        connect: Duration::from_secs(5),
        idle: Duration::from_secs(10),
        whole: Duration::from_secs(20),
        attempts: 2,
        first_wait: Duration::from_millis(200),
        patience: Duration::from_secs(10),
        ..Limits::default()
    }
}

/// What is to be said about a registry; `root` is the folder of the configuration.
pub async fn examine(subject: &Subject<'_>, session: &Arc<Session>, root: &Path) -> Vec<Finding> {
    let what = format!("registry {}", subject.name);
    if subject.artifacts.is_empty() {
        return vec![HERE.skipped(what, "nothing goes there: no plugin, bundle or channel names it in `registries`")];
    }
    match subject.registry {
        Registry::Oci { prefix, insecure } => oci(&what, subject, session, prefix, *insecure).await,
        Registry::Npm { url: Some(url), .. } => npm(&what, subject, session, url).await,
        Registry::Npm { url: None, .. } => {
            vec![HERE.skipped(what, "each package names its own npm registry, in `publishConfig`: none was asked")]
        }
        Registry::GitHubRelease { repository, .. } => files::github(&what, subject, session, repository).await,
        Registry::GitLabPackages { project } => files::gitlab(&what, subject, session, project).await,
        Registry::Dir { path, .. } => vec![dir(&what, &path.under(root))],
    }
}

async fn oci(what: &str, subject: &Subject<'_>, session: &Arc<Session>, prefix: &str, insecure: bool) -> Vec<Finding> {
    let client = match session.client(subject.name, prefix, insecure) {
        Ok(client) => client,
        Err(error) => return vec![HERE.error(what, &error)],
    };
    let login = match login(&client, subject).await {
        Ok(login) => login,
        Err(Failed { error, anonymous }) => {
            let finding = HERE.error(what, &error);
            let may_go_on = anonymous && !subject.needed && matches!(error, Error::Unauthorized { .. });
            let text = format!("{}; on this machine, only runs with `--channel` go there", finding.text);
            return vec![if may_go_on { Finding { state: State::Warn, text, ..finding } } else { finding }];
        }
    };
    let anonymous = login.is_none();
    let text = match &login {
        Some(login) => format!("`{}` is there, and takes the credentials {login}", client.host()),
        None => format!("`{}` is there; no credentials were found, it is asked anonymously", client.host()),
    };
    let mut findings = vec![HERE.ok(what, text)];
    let asked = subject.artifacts.iter().map(|artifact| ask(&client, artifact));
    let answers = join_all(asked.collect::<Vec<_>>()).await;
    let answers: Vec<_> = subject.artifacts.iter().zip(answers).collect();
    findings.push(pull(what, prefix, &answers));
    findings.push(push(what, prefix, &answers, anonymous));
    findings.extend(tags(what, &answers));
    findings
}

/// What one repository says.
struct Answer {
    /// Whether it is there.
    existence: Result<Existence, Error>,
    /// Whether it may be pushed to; `None` where asking would make it.
    push: Option<Result<bool, Error>>,
    /// Which of the fixed tags are taken.
    taken: Vec<String>,
}

/// Why nobody could log in, and whether that was tried without credentials.
struct Failed {
    error: Error,
    anonymous: bool,
}

/// Whose credentials the registry takes, and where they were found; `None`: nobody's, and it is asked anonymously.
async fn login(client: &Client, subject: &Subject<'_>) -> Result<Option<String>, Failed> {
    // There is at least one artifact; credentials may differ by the path, registries and their logins do not.
    let image = subject.artifacts.first().map_or("x", |artifact| artifact.image);
    let credential = client.credential(image).await.map_err(|error| Failed { error, anonymous: false })?;
    let anonymous = credential.is_none();
    let greet = async { client.repository_to_read(image).await?.login().await };
    greet.await.map_err(|error| Failed { error, anonymous })?;
    Ok(credential.map(|credential| match credential.kind {
        CredentialKind::Password { username, .. } => format!("of `{username}` in {}", credential.source),
        CredentialKind::IdentityToken(_) => format!("in {}", credential.source),
    }))
}

async fn ask(client: &Client, artifact: &Artifact<'_>) -> Answer {
    let reading = async {
        let repository = client.repository_to_read(artifact.image).await?;
        let existence = repository.existence().await?;
        let mut taken = Vec::new();
        if existence == Existence::There {
            for tag in &artifact.fixed_tags {
                if repository.manifest_digest(ManifestRef::Tag(tag)).await?.is_some() {
                    taken.push(tag.clone());
                }
            }
        }
        Ok::<_, Error>((existence, taken, repository.is_made_by_asking()))
    };
    let (existence, taken, made_by_asking) = match reading.await {
        Ok((existence, taken, made)) => (Ok(existence), taken, made),
        Err(error) => (Err(error), Vec::new(), false),
    };
    let unseen = !matches!(existence, Ok(Existence::There));
    let push = match made_by_asking && unseen {
        true => None,
        false => Some(async { client.repository(artifact.image).await?.may_push().await }.await),
    };
    Answer { existence, push, taken }
}

type Answers<'a> = [(&'a Artifact<'a>, Answer)];

fn pull(what: &str, prefix: &str, answers: &Answers<'_>) -> Finding {
    let what = format!("{what}: pull");
    let first = answers.iter().find_map(|(artifact, answer)| Some((artifact, answer.existence.as_ref().err()?)));
    if let Some((artifact, error)) = first {
        return refused(&what, &format!("{prefix}/{}", artifact.image), error);
    }
    let unseen: Vec<&str> = answers
        .iter()
        .filter(|(_, answer)| matches!(answer.existence, Ok(Existence::NotSeen)))
        .map(|(it, _)| it.image)
        .collect();
    let there = answers.len() - unseen.len();
    if unseen.is_empty() {
        return HERE.ok(what, format!("{} can be read", counted(there, "repository", "repositories")));
    }
    let text = format!(
        "{there} of {} are there; not (or not to be seen): {}",
        counted(answers.len(), "repository", "repositories"),
        listed(unseen)
    );
    HERE.ok(what, text)
}

fn push(what: &str, prefix: &str, answers: &Answers<'_>, anonymous: bool) -> Finding {
    let what = format!("{what}: push");
    let failed = answers.iter().find_map(|(artifact, answer)| Some((artifact, answer.push.as_ref()?.as_ref().err()?)));
    if let Some((artifact, error)) = failed {
        return refused(&what, &format!("{prefix}/{}", artifact.image), error);
    }
    let unasked: Vec<&str> =
        answers.iter().filter(|(_, answer)| answer.push.is_none()).map(|(it, _)| it.image).collect();
    if !unasked.is_empty() {
        let text = format!("the first push makes {}; nothing was asked, asking makes it, too", listed(unasked));
        return HERE.warn(what, text, QUAY);
    }
    let who = if anonymous { ", by anybody" } else { "" };
    let number = counted(answers.len(), "repository", "repositories");
    let kept = answers.iter().any(|(_, answer)| matches!(answer.push, Some(Ok(false))));
    let rest = if kept { "; the registry keeps the empty upload that asked until it expires" } else { "" };
    HERE.ok(what, format!("{number} may be pushed to{who}{rest}"))
}

fn tags(what: &str, answers: &Answers<'_>) -> Option<Finding> {
    let what = format!("{what}: tags");
    let fixed =
        answers.iter().filter(|(_, answer)| answer.existence.is_ok()).map(|(it, _)| it.fixed_tags.len()).sum::<usize>();
    if fixed == 0 {
        return None;
    }
    let taken = answers.iter().flat_map(|(artifact, answer)| answer.taken.iter().map(move |tag| (artifact, tag)));
    let taken: Vec<String> = taken.map(|(artifact, tag)| format!("{}:{tag}", artifact.image)).collect();
    if taken.is_empty() {
        return Some(HERE.ok(what, format!("{} free", counted(fixed, "tag is", "tags are"))));
    }
    Some(HERE.warn(
        what,
        format!(
            "taken: {}; other content may not have them (`overwrite = false`)",
            listed(taken.iter().map(String::as_str))
        ),
        "raise the plugin's version in its `package.json` before the next release; the same content is never an error",
    ))
}

/// A refusal: of the account, mostly.
fn refused(what: &str, repository: &str, error: &Error) -> Finding {
    let finding = HERE.error(what, error);
    let text = with_causes(error);
    if text.contains(repository) { finding } else { Finding { text: format!("`{repository}`: {text}"), ..finding } }
}

/// npm registries cannot be asked who may publish; whether they are there and what they hold, they say.
async fn npm(what: &str, subject: &Subject<'_>, session: &Arc<Session>, url: &str) -> Vec<Finding> {
    let failed = |error: &NpmError| {
        let finding = HERE.error(what, error);
        vec![Finding { text: format!("asking `{url}`: {}", finding.text), ..finding }]
    };
    let address = match reqwest::Url::parse(url) {
        Ok(address) => address,
        Err(error) => {
            return vec![HERE.failed(what, format!("`{url}` is no URL: {error}"), "mend `npm` of the registry")];
        }
    };
    let npm = match Npm::new(session, subject.name, true) {
        Ok(npm) => npm,
        Err(error) => return failed(&error),
    };
    // Somebody waits for the answer.
    let npm = async |arguments: &[&str]| npm.run(&address, &[arguments, &["--fetch-retries=0"]].concat()).await;
    let packages: Vec<_> = subject.artifacts.iter().filter_map(|artifact| artifact.package.as_ref()).collect();
    let mut taken = Vec::new();
    // One after the other: npm takes half a second of a core each time.
    for (name, version) in &packages {
        let spec = format!("{name}@{version}");
        match npm(&["view", &spec, "version"]).await {
            Ok(text) if text.trim_ascii().is_empty() => {}
            Ok(_) => taken.push(spec),
            Err(NpmError::Said { error, .. }) if error == "E404" => {}
            Err(error) => return failed(&error),
        }
    }
    // Where it does not say, it does not know us.
    let user: Option<String> = npm(&["whoami"]).await.ok().and_then(|text| serde_json::from_slice(&text).ok());
    let login = user.map_or_else(
        || HERE.warn(
            format!("{what}: push"),
            "the registry takes no credentials of ours, or does not say whose they are",
            "`npm whoami --registry=<url>` says the same; log in (`npm login`), or set `NODE_AUTH_TOKEN`, or `RHDH_PACK_<REGISTRY>_USERNAME` and `_PASSWORD`",
        ),
        |user| HERE.ok(
            format!("{what}: push"),
            format!("logged in as `{user}`; whether it may publish shows when it does: npm registries do not say"),
        ),
    );
    let versions = if taken.is_empty() {
        HERE.ok(format!("{what}: versions"), format!("{} free", counted(packages.len(), "version is", "versions are")))
    } else {
        HERE.warn(
            format!("{what}: versions"),
            format!("taken: {}; npm registries do not replace a version", listed(taken.iter().map(String::as_str))),
            "raise the plugin's version in its `package.json` before other content is published",
        )
    };
    vec![HERE.ok(what, format!("`{url}` is there")), login, versions]
}

/// A folder is written to by a temporary file that is gone again.
fn dir(what: &str, folder: &Path) -> Finding {
    let there = folder.ancestors().find(|folder| folder.exists()).unwrap_or(folder);
    match tempfile::Builder::new().prefix(".rhdh-pack-").tempfile_in(there) {
        Ok(_) if there == folder => HERE.ok(what, format!("`{}` can be written to", folder.display())),
        Ok(_) => HERE.ok(what, format!("`{}` will be made", folder.display())),
        Err(error) => HERE.failed(
            what,
            format!("`{}` cannot be written to: {error}", there.display()),
            "mend its permissions, or name another folder in `dir`",
        ),
    }
}
