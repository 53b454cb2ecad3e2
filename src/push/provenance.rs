//! How an image came about: what is known of the build comes in; an in-toto statement with SLSA provenance
//! (<https://slsa.dev/spec/v1.0/provenance>) about one image in one repository goes out. What is not known is left out.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::digest::Digest;

/// The media type of a statement.
pub(super) const MEDIA_TYPE: &str = "application/vnd.in-toto+json";

/// What a build by rhdh-pack is; `docs/security.md` says what its parameters mean.
pub(super) const BUILD_TYPE: &str = "https://rhdh-pack.dev/build/v1";

/// Who builds where no CI says who does: somebody, on some machine.
pub(super) const LOCAL_BUILDER: &str = "https://rhdh-pack.dev/local/v1";

/// What is known of one build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// Who builds, as a URL; `None` outside of a CI.
    pub builder: Option<String>,
    /// Where the run can be looked at.
    pub run: Option<String>,
    /// The repository, as a URL, and the branch or tag.
    pub repository: Option<String>,
    /// `refs/heads/main`.
    pub reference: Option<String>,
    /// The commit, 40 hexadecimal digits.
    pub commit: Option<String>,
    /// What was asked for: the channel, and the effective configuration of what was built.
    pub parameters: Value,
    /// The content key: a sha256 over all inputs, 64 hexadecimal digits.
    pub content_key: Option<String>,
    /// The versions of the RHDH CLI that exported the plugins.
    pub rhdh_cli: Vec<String>,
    /// When the run began.
    pub started: Option<Timestamp>,
    /// When the last stage before the push ended.
    pub finished: Option<Timestamp>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Statement<'a> {
    #[serde(rename = "_type")]
    kind: &'a str,
    subject: [Subject<'a>; 1],
    predicate_type: &'a str,
    predicate: Predicate<'a>,
}

#[derive(Serialize)]
struct Subject<'a> {
    name: &'a str,
    digest: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Predicate<'a> {
    build_definition: BuildDefinition<'a>,
    run_details: RunDetails<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildDefinition<'a> {
    build_type: &'a str,
    external_parameters: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    internal_parameters: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resolved_dependencies: Vec<Resource>,
}

/// in-toto: resource descriptor.
#[derive(Serialize)]
struct Resource {
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Value>,
}

#[derive(Serialize)]
struct RunDetails<'a> {
    builder: Builder<'a>,
    metadata: Metadata<'a>,
}

#[derive(Serialize)]
struct Builder<'a> {
    id: &'a str,
    version: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    invocation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_on: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_on: Option<Timestamp>,
}

impl Provenance {
    /// The statement about the image `digest` in `repository` (`host/namespace/name`).
    pub(super) fn statement(&self, repository: &str, digest: &Digest) -> Vec<u8> {
        let seconds = |time: Timestamp| Timestamp::from_second(time.as_second()).unwrap_or(time);
        let statement = Statement {
            kind: "https://in-toto.io/Statement/v1",
            subject: [Subject { name: repository, digest: json!({ "sha256": digest.hex() }) }],
            predicate_type: "https://slsa.dev/provenance/v1",
            predicate: Predicate {
                build_definition: BuildDefinition {
                    build_type: BUILD_TYPE,
                    external_parameters: &self.parameters,
                    internal_parameters: self.content_key.as_ref().map(|key| json!({ "contentKey": key })),
                    resolved_dependencies: self.source().into_iter().chain(self.clis()).collect(),
                },
                run_details: RunDetails {
                    builder: Builder {
                        id: self.builder.as_deref().unwrap_or(LOCAL_BUILDER),
                        version: json!({ "rhdh-pack": env!("CARGO_PKG_VERSION") }),
                    },
                    metadata: Metadata {
                        invocation_id: self.run.as_deref(),
                        started_on: self.started.map(seconds),
                        finished_on: self.finished.map(seconds),
                    },
                },
            },
        };
        // Texts and maps of texts: nothing in them that JSON cannot hold.
        let mut text = serde_json::to_vec(&statement).unwrap_or_default();
        text.push(b'\n');
        text
    }

    fn source(&self) -> Option<Resource> {
        let digest = self.commit.as_ref().map(|commit| json!({ "gitCommit": commit }));
        let uri = self.repository.as_ref().map(|repository| match &self.reference {
            Some(reference) => format!("git+{repository}@{reference}"),
            None => format!("git+{repository}"),
        });
        (uri.is_some() || digest.is_some()).then_some(Resource { uri, digest })
    }

    fn clis(&self) -> impl Iterator<Item = Resource> {
        let uri = |version: &String| format!("pkg:npm/%40red-hat-developer-hub/cli@{version}");
        self.rhdh_cli.iter().map(move |version| Resource { uri: Some(uri(version)), digest: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_left_out() {
        let nothing = Provenance {
            builder: None,
            run: None,
            repository: None,
            reference: None,
            commit: None,
            parameters: json!({ "channel": "release" }),
            content_key: None,
            rhdh_cli: Vec::new(),
            started: None,
            finished: None,
        };
        let statement: Value = serde_json::from_slice(&nothing.statement("h/x", &Digest::of(b""))).unwrap();
        let expected = json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "name": "h/x", "digest": { "sha256": Digest::of(b"").hex() } }],
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {
                "buildDefinition": { "buildType": BUILD_TYPE, "externalParameters": { "channel": "release" } },
                "runDetails": {
                    "builder": { "id": LOCAL_BUILDER, "version": { "rhdh-pack": env!("CARGO_PKG_VERSION") } },
                    "metadata": {},
                },
            },
        });
        assert_eq!(statement, expected);
    }
}
