//! A push of a test, made ready step by step.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use rhdh_pack::config;
use rhdh_pack::package::{PackagedImage, PackagedTgz};
use rhdh_pack::push::{self, ArtifactToPush, Pushed, Request};
use rhdh_pack::registry::{Keychain, Limits, Session};
use rhdh_pack::ui::{Ui, Verbosity};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::layout::add_image;

/// Waits that fit a test.
pub(crate) fn limits() -> Limits {
    Limits {
        connect: Duration::from_secs(2),
        idle: Duration::from_secs(2),
        whole: Duration::from_secs(20),
        first_wait: Duration::from_millis(5),
        settle: Duration::from_millis(20),
        ..Limits::default()
    }
}

/// The credentials of an environment with these variables and nothing else.
pub(crate) fn keychain(variables: &[(&str, &str)]) -> Keychain {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Keychain::read(variables, 0)
}

/// An output folder and what is to be pushed from it. Registries are named `r0`, `r1` …, as they are given.
pub(crate) struct Setup {
    pub(crate) output: TempDir,
    pub(crate) artifacts: Vec<ArtifactToPush>,
    pub(crate) overwrite: bool,
    pub(crate) atomic: bool,
    pub(crate) missing: Vec<String>,
    pub(crate) dist_tag: String,
    pub(crate) sign: bool,
    pub(crate) variables: Vec<(&'static str, &'static str)>,
    pub(crate) limits: Limits,
}

impl Setup {
    pub(crate) fn new() -> Self {
        let output = TempDir::new().unwrap();
        Self {
            output,
            artifacts: Vec::new(),
            overwrite: false,
            atomic: true,
            missing: Vec::new(),
            dist_tag: "latest".to_owned(),
            sign: false,
            variables: Vec::new(),
            limits: limits(),
        }
    }

    /// Adds an image with one layer.
    pub(crate) fn image(&mut self, name: &str, layer: &[u8], tags: &[&str], prefixes: &[&str]) -> PackagedImage {
        let image = add_image(self.output.path(), name, "1.0.0", layer);
        self.artifacts.push(artifact(name, Some(image.clone()), None, tags, prefixes));
        image
    }

    pub(crate) async fn push(&self) -> Result<Vec<Pushed>, push::Error> {
        self.push_until(&CancellationToken::new()).await
    }

    pub(crate) async fn push_until(&self, cancel: &CancellationToken) -> Result<Vec<Pushed>, push::Error> {
        let ui = Ui::new(Verbosity::Quiet);
        let request = Request {
            output: self.output.path().to_owned(),
            root: self.output.path().to_owned(),
            artifacts: self.artifacts.clone(),
            overwrite: self.overwrite,
            atomic: self.atomic,
            missing: self.missing.clone(),
            dist_tag: self.dist_tag.clone(),
            commit: Some("1".repeat(40)),
            sign: self.sign,
            session: Session::new(keychain(&self.variables), self.limits.clone(), &ui),
        };
        let work: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(push::push(&request, &ui, cancel));
        work.await
    }
}

pub(crate) fn artifact(
    id: &str,
    image: Option<PackagedImage>,
    tgz: Option<PackagedTgz>,
    tags: &[&str],
    prefixes: &[&str],
) -> ArtifactToPush {
    let oci = |prefix: &&str| config::Registry::Oci { prefix: (*prefix).to_owned(), insecure: false };
    let registries = prefixes.iter().enumerate().map(|(position, prefix)| (format!("r{position}"), oci(prefix)));
    ArtifactToPush {
        content_key: None,
        id: id.to_owned(),
        image,
        source: None,
        documents: Vec::new(),
        tgz,
        package: None,
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        releases: BTreeMap::new(),
        registries: registries.collect(),
    }
}

/// All failures, a line each.
pub(crate) fn messages(pushed: &[Pushed]) -> Vec<String> {
    let failures = pushed.iter().flat_map(|pushed| &pushed.failures);
    failures.map(|failure| format!("{}: {}", failure.code, failure.message)).collect()
}
