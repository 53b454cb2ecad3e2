//! An OCI image of dynamic plugins: `package.json` files and a finished layer come in; the manifest, the config, and
//! what both say about the plugins go out. Nothing in them depends on a clock or a commit.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Map, Value};

use super::rehearse::DYNAMIC_PACKAGES;
use crate::digest::Digest;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// The fields of `package.json` that RHDH's tools show of a plugin, in the RHDH CLI's order.
const SHOWN: [&str; 11] = [
    "name",
    "version",
    "description",
    "backstage",
    "homepage",
    "repository",
    "license",
    "maintainers",
    "author",
    "bugs",
    "keywords",
];

/// Where a blob is, and what it is.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// What goes into an image besides its layer.
#[derive(Debug)]
pub(crate) struct Description<'a> {
    /// The folder and the `package.json` of each plugin.
    pub(crate) plugins: Vec<(&'a str, &'a Value)>,
    /// The image's own version, name and so on, where it is a bundle.
    pub(crate) title: &'a str,
    pub(crate) version: &'a str,
    pub(crate) labels: &'a BTreeMap<String, String>,
    pub(crate) annotations: &'a BTreeMap<String, String>,
    pub(crate) artifact_type: Option<&'a str>,
    /// In seconds since 1970.
    pub(crate) time: u64,
}

/// The layer, as it was written.
#[derive(Debug)]
pub(crate) struct Layer<'a> {
    pub(crate) digest: &'a Digest,
    pub(crate) diff_id: &'a Digest,
    /// In bytes.
    pub(crate) size: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    schema_version: u8,
    media_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<&'a str>,
    config: Descriptor,
    layers: [Descriptor; 1],
    annotations: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Config<'a> {
    created: &'a str,
    architecture: &'a str,
    os: &'a str,
    config: RunConfig,
    rootfs: RootFs<'a>,
    history: [History<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RunConfig {
    env: [&'static str; 1],
    labels: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct RootFs<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    diff_ids: [&'a Digest; 1],
}

#[derive(Serialize)]
struct History<'a> {
    created: &'a str,
    created_by: &'a str,
}

impl Description<'_> {
    /// What `index.json` and the annotation say: one object a plugin, whose one key is the plugin's folder.
    fn dynamic_packages(&self) -> Value {
        let shown = |manifest: &Value| -> Map<String, Value> {
            let field = |key: &&str| manifest.get(*key).filter(|value| !value.is_null()).cloned();
            SHOWN.iter().filter_map(|key| Some(((*key).to_owned(), field(key)?))).collect()
        };
        let object = |(folder, manifest): &(&str, &Value)| {
            Value::Object(Map::from_iter([((*folder).to_owned(), Value::Object(shown(manifest)))]))
        };
        self.plugins.iter().map(object).collect()
    }

    /// The layer's `index.json`.
    pub(crate) fn index(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(&self.dynamic_packages()).unwrap_or_default()
    }

    /// The config's bytes.
    pub(crate) fn config(&self, layer: &Layer<'_>) -> Vec<u8> {
        let created = timestamp(self.time);
        let mut labels = self.well_known();
        labels.extend(self.labels.clone());
        let config = Config {
            created: &created,
            architecture: "amd64",
            os: "linux",
            config: RunConfig { env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], labels },
            rootfs: RootFs { kind: "layers", diff_ids: [layer.diff_id] },
            history: [History { created: &created, created_by: "rhdh-pack package" }],
        };
        to_json(&config)
    }

    /// The manifest's bytes.
    pub(crate) fn manifest(&self, config: &[u8], layer: &Layer<'_>) -> Vec<u8> {
        let mut annotations = self.well_known();
        annotations.extend(self.annotations.clone());
        annotations.insert(DYNAMIC_PACKAGES.to_owned(), STANDARD.encode(to_json(&self.dynamic_packages())));
        let descriptor = |media_type: &str, digest: &Digest, size: u64| Descriptor {
            media_type: media_type.to_owned(),
            digest: digest.clone(),
            size,
            annotations: BTreeMap::new(),
        };
        to_json(&Manifest {
            schema_version: 2,
            media_type: MANIFEST,
            artifact_type: self.artifact_type,
            config: descriptor(CONFIG, &Digest::of(config), config.len() as u64),
            layers: [descriptor(LAYER, layer.digest, layer.size)],
            annotations,
        })
    }

    /// OCI image spec, "pre-defined annotation keys": what `package.json` knows of them. A bundle has those in which
    /// all its plugins agree.
    fn well_known(&self) -> BTreeMap<String, String> {
        let mut known = BTreeMap::new();
        let mut add = |key: &str, value: Option<String>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                known.insert(format!("org.opencontainers.image.{key}"), value);
            }
        };
        let agreed = |read: fn(&Value) -> Option<String>| {
            let mut values = self.plugins.iter().map(|(_, manifest)| read(manifest));
            let first = values.next().flatten();
            first.filter(|first| values.all(|value| value.as_ref() == Some(first)))
        };
        add("title", Some(self.title.to_owned()));
        add("version", Some(self.version.to_owned()));
        add("description", agreed(|manifest| text(manifest.get("description"))));
        add("licenses", agreed(|manifest| text(manifest.get("license"))));
        add("url", agreed(|manifest| text(manifest.get("homepage")).map(|url| without_login(&url))));
        add("source", agreed(|manifest| manifest.get("repository").and_then(source)));
        add("vendor", agreed(|manifest| manifest.get("author").and_then(person)));
        known
    }
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    // Maps with text for keys, numbers and text: nothing in them that JSON cannot hold.
    serde_json::to_vec(value).unwrap_or_default()
}

fn text(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).map(str::to_owned)
}

/// A URL without what stands before an `@`: it may be a password.
fn without_login(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = host.rsplit('@').next().unwrap_or(host);
    format!("{scheme}://{host}{path}")
}

/// The URL that a browser opens for `repository`: `git+https://…​.git` and npm's `github:owner/name` are made plain.
fn source(repository: &Value) -> Option<String> {
    let url = repository.as_str().or_else(|| repository.get("url")?.as_str())?;
    let url = url.strip_prefix("git+").unwrap_or(url);
    let url = url.strip_suffix(".git").unwrap_or(url);
    let plain = |host: &str, path: &str| format!("https://{host}/{path}");
    let short = [("github:", "github.com"), ("gitlab:", "gitlab.com"), ("bitbucket:", "bitbucket.org")]
        .iter()
        .find_map(|(prefix, host)| Some(plain(host, url.strip_prefix(prefix)?)));
    if short.is_some() {
        return short;
    }
    if let Some(rest) = url.strip_prefix("ssh://git@").or_else(|| url.strip_prefix("git://")) {
        return Some(format!("https://{rest}"));
    }
    if let Some((host, path)) = url.strip_prefix("git@").and_then(|rest| rest.split_once(':')) {
        return Some(plain(host, path));
    }
    if url.starts_with("https://") || url.starts_with("http://") {
        return Some(without_login(url).trim_end_matches('/').to_owned());
    }
    (url.split('/').count() == 2 && !url.contains(':')).then(|| plain("github.com", url))
}

/// The name in `author`: an object's, or what stands before `<` and `(`.
fn person(author: &Value) -> Option<String> {
    let name = author.as_str().or_else(|| author.get("name")?.as_str())?;
    Some(name.split(['<', '(']).next().unwrap_or(name).trim().to_owned())
}

/// Seconds since 1970 in the form of RFC 3339.
fn timestamp(time: u64) -> String {
    let time = i64::try_from(time).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(time).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn repositories_become_urls() {
        for (repository, url) in [
            (json!({"url": "git+https://github.com/acme/todo.git"}), Some("https://github.com/acme/todo")),
            (json!("github:acme/todo"), Some("https://github.com/acme/todo")),
            (json!("acme/todo"), Some("https://github.com/acme/todo")),
            (json!("git@gitlab.com:acme/todo.git"), Some("https://gitlab.com/acme/todo")),
            (json!("https://user:secret@github.com/acme/todo"), Some("https://github.com/acme/todo")),
            (json!({"directory": "x"}), None),
            (json!("what is this"), None),
        ] {
            assert_eq!(source(&repository).as_deref(), url, "{repository}");
        }
    }

    #[test]
    fn no_login_is_shown() {
        for (url, shown) in [
            ("https://user:secret@acme.example/x?a@b", "https://acme.example/x?a@b"),
            ("https://token@acme.example", "https://acme.example"),
            ("https://acme.example/@acme/x", "https://acme.example/@acme/x"),
            ("acme.example", "acme.example"),
        ] {
            assert_eq!(without_login(url), shown);
        }
    }

    #[test]
    fn what_plugins_do_not_agree_in_is_not_said() {
        let (a, b) =
            (json!({"license": "MIT", "author": "A <a@b>"}), json!({"license": "ISC", "author": {"name": "A"}}));
        let none = BTreeMap::new();
        let description = Description {
            plugins: vec![("a", &a), ("b", &b)],
            title: "both",
            version: "1.0.0",
            labels: &none,
            annotations: &none,
            artifact_type: None,
            time: 0,
        };
        let known = description.well_known();
        assert_eq!(known.get("org.opencontainers.image.vendor").map(String::as_str), Some("A"));
        assert!(!known.contains_key("org.opencontainers.image.licenses"));
    }
}
