//! Why the image under a tag is not of the sources as they stand here: its provenance says of which commit it is, and
//! planning says what changed since. What the provenance says is believed for these words only, and by nothing else.

use super::super::{Error, PlanOptions, plan};
use super::find::Promotion;
use crate::artifact::Opener;
use crate::inspect::Inspection;
use crate::package::Release;
use crate::plan::{ContentKey, Memory, short};
use crate::report::{ArtifactResult, Failure};

/// Reasons that are no change of an input.
const NO_INPUTS: [&str; 4] = ["all", "selected", "unchanged", "up-to-date"];

/// An image under one of the channel's tags that is not of these sources.
pub(super) struct OtherContent {
    /// `host/namespace/name:tag`.
    pub(super) reference: String,
    /// `host/namespace/name@digest`.
    pub(super) image: String,
    /// Its content key, where it has one.
    pub(super) made_of: Option<ContentKey>,
}

impl Promotion<'_> {
    pub(super) async fn other_content(
        &self,
        artifact: &ArtifactResult,
        other: &OtherContent,
        key: &ContentKey,
    ) -> Failure {
        let made_of = other.made_of.as_ref().map_or("no content key".to_owned(), |key| format!("content key `{key}`"));
        let keys = format!("it has {made_of}, these have `{key}`");
        let (why, help) = match self.commit_of(other).await {
            None => (keys, "check out the commit that was tested".to_owned()),
            Some(commit) => match self.changes_since(&commit, artifact) {
                Ok(changes) if !changes.is_empty() => {
                    let why = format!("since `{}`, {}", short(&commit), changes.join("; "));
                    (why, format!("check out the commit that was tested: `git checkout {commit}`"))
                }
                // A working tree that was not committed, perhaps.
                Ok(_) => (keys, format!("it says that it was made of `{commit}`, and nothing of that changed since")),
                Err(_) => {
                    let help = format!(
                        "it was made of `{commit}`, which is not here: `git fetch origin {commit}`, and run the command again \
                         to see what differs; or check it out"
                    );
                    (keys, help)
                }
            },
        };
        let message = format!("`{}` was made of other sources than these: {why}", other.reference);
        Failure::new("promote-other-content", message, Some(help))
    }

    /// The commit that an image was made of, as the provenance that is attached to it says.
    async fn commit_of(&self, other: &OtherContent) -> Option<String> {
        let session = self.session;
        let config = Some(&session.project.config);
        let opener = Opener { config, releases: &Release::KNOWN, ui: &session.ui, cancel: &session.cancel };
        let described = opener.describe(&other.image).await.ok()?;
        let commit = Inspection::of(described.first()?).provenance?.commit?;
        let is_commit = commit.len() == 40 && commit.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_commit.then_some(commit)
    }

    /// What changed of the inputs of `artifact` since `commit`; an error where git does not have it.
    fn changes_since(&self, commit: &str, artifact: &ArtifactResult) -> Result<Vec<String>, Error> {
        let options = PlanOptions { base: Some(commit.to_owned()), ..PlanOptions::default() };
        let survey = tokio::task::block_in_place(|| {
            let sight = plan::look(self.session, &options);
            plan::survey(self.session, self.to, &options, &sight)
        })?;
        let plan = survey.decide(&Memory::default())?;
        let plugins = plan.plugins.into_iter().filter(|plugin| !artifact.is_bundle() && plugin.id == artifact.id);
        let bundles = plan.bundles.into_iter().filter(|bundle| artifact.is_bundle() && bundle.id == artifact.id);
        let reasons = plugins.map(|plugin| plugin.reasons).chain(bundles.map(|bundle| bundle.reasons)).flatten();
        let changes = reasons.filter(|reason| !NO_INPUTS.contains(&reason.kind.as_str()));
        Ok(changes.map(|reason| reason.text).collect())
    }
}
