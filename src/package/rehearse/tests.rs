//! Every rule, broken once on purpose; and a plugin that breaks none.

use std::collections::BTreeMap;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tar::{EntryType, Header};

use super::{Contents, Finding, ImageBytes, Release, Rule, Severity, image, tgz};

const DIR: &str = "acme-plugin-x";

/// An image, to be broken.
struct Draft {
    name: &'static str,
    /// What follows `!` in the reference.
    folder: Option<&'static str>,
    manifest: Value,
    config: Value,
    entries: Vec<(String, EntryType, u32, Vec<u8>)>,
    /// The whole layer, instead of the entries.
    layer: Option<Vec<u8>>,
    /// Whether the config is told the layer's diff_id.
    honest: bool,
}

fn backend() -> Value {
    json!({ "name": "@acme/plugin-x-dynamic", "version": "1.0.0", "main": "dist/index.cjs.js",
            "backstage": { "role": "backend-plugin" }, "dependencies": { "dep": "1" } })
}

fn frontend() -> Value {
    json!({ "name": "@acme/plugin-x-dynamic", "version": "1.0.0", "main": "dist/index.esm.js",
            "backstage": { "role": "frontend-plugin" } })
}

fn annotation(folders: &[&str]) -> Value {
    json!(STANDARD.encode(json!(folders.iter().map(|folder| json!({ *folder: {} })).collect::<Vec<_>>()).to_string()))
}

impl Draft {
    fn new(manifest: &Value) -> Self {
        let mut draft = Self {
            name: DIR,
            folder: None,
            manifest: json!({
                "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": { "mediaType": "application/vnd.oci.image.config.v1+json" },
                "layers": [{}], "annotations": { "io.backstage.dynamic-packages": annotation(&[DIR]) },
            }),
            config: json!({ "os": "linux", "architecture": "amd64" }),
            entries: Vec::new(),
            layer: None,
            honest: true,
        };
        draft.folder("");
        draft.file("package.json", manifest.to_string());
        draft
    }

    fn backend() -> Self {
        let mut draft = Self::new(&backend());
        draft.file("dist/index.cjs.js", "x".repeat(3));
        draft.file("node_modules/dep/package.json", "{\"name\":\"dep\"}");
        draft
    }

    fn frontend() -> Self {
        let mut draft = Self::new(&frontend());
        draft.file("dist-scalprum/plugin-manifest.json", r#"{"name":"acme.x","loadScripts":["x.js"]}"#);
        draft.file("dist-scalprum/x.js", "x");
        draft.file(
            "dist/mf-manifest.json",
            r#"{"name":"acme__x","metaData":{"remoteEntry":{"name":"remote.js","path":""}}}"#,
        );
        draft.file("dist/remote.js", "x");
        draft
    }

    fn entry(&mut self, path: impl Into<String>, kind: EntryType, mode: u32, content: impl Into<Vec<u8>>) {
        self.entries.push((path.into(), kind, mode, content.into()));
    }

    fn file(&mut self, path: &str, content: impl Into<Vec<u8>>) {
        self.entry(format!("{DIR}/{path}"), EntryType::Regular, 0o644, content);
    }

    fn folder(&mut self, path: &str) {
        self.entry(format!("{DIR}/{path}"), EntryType::Directory, 0o755, "");
    }

    fn tar(&self) -> Vec<u8> {
        let mut tar = Vec::new();
        for (path, kind, mode, content) in &self.entries {
            let mut header = Header::new_ustar();
            header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(*mode);
            let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
            if is_link {
                header.set_link_name_literal(content).unwrap();
            }
            header.set_size(if is_link { 0 } else { content.len() as u64 });
            header.set_cksum();
            tar.extend(header.as_bytes());
            if !is_link {
                tar.extend(content);
                tar.resize(tar.len().next_multiple_of(512), 0);
            }
        }
        tar.resize(tar.len() + 1024, 0);
        tar
    }

    fn contents(&self) -> Contents {
        let layer = self.layer.clone().unwrap_or_else(|| gzip(&self.tar()));
        Contents::read(&mut layer.as_slice())
    }

    fn findings(mut self, releases: &[&str]) -> Vec<Finding> {
        let contents = self.contents();
        if self.honest {
            self.config["rootfs"] = json!({ "diff_ids": [contents.diff_id.as_str()] });
        }
        let (manifest, config) = (self.manifest.to_string(), self.config.to_string());
        let bytes = ImageBytes {
            name: self.name,
            folder: self.folder,
            manifest: manifest.as_bytes(),
            config: config.as_bytes(),
            layer: &contents,
        };
        image(&bytes, &parse(releases)).0
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn parse(releases: &[&str]) -> Vec<Release> {
    releases.iter().map(|text| text.parse().unwrap()).collect()
}

const ALL: [&str; 5] = ["1.8", "1.9", "1.10", "2.0", "2.1"];

#[test]
fn good_plugins_break_no_rule() {
    assert_eq!(Draft::backend().findings(&ALL), []);
    assert_eq!(Draft::frontend().findings(&ALL), []);
    // As node reads them.
    for main in ["dist//index.cjs.js", "./dist/../dist/index.cjs", "dist/index.cjs/"] {
        let mut draft = Draft::backend();
        draft.entries[1].3 = backend().to_string().replace("dist/index.cjs.js", main).into();
        assert_eq!(draft.findings(&ALL), [], "{main}");
    }
    let mut draft = Draft::backend();
    draft.entries[1].3 = backend().to_string().replace("dist/index.cjs.js", ".").into();
    draft.file("index.js", "x");
    assert_eq!(draft.findings(&ALL), []);
    // RHDH's installers, in Python and in TypeScript, took an image with such an annotation.
    let mut draft = Draft::backend();
    let folded = annotation(&[DIR]).as_str().unwrap().replace("=", "\n=") + "\n";
    draft.manifest["annotations"]["io.backstage.dynamic-packages"] =
        json!(format!("{}\n{}", &folded[..8], &folded[8..]));
    assert_eq!(draft.findings(&ALL), []);
}

/// RHDH's installers read all members of a gzip file as one, and so do npm and node.
#[test]
fn an_archive_may_be_of_several_gzip_members() {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o644);
    tar.append_data(&mut header, "package/a", &b"abc"[..]).unwrap();
    let tar = tar.into_inner().unwrap();
    let whole = super::Contents::read(&mut gzip(&tar).as_slice());
    let (first, second) = tar.split_at(700);
    let members = super::Contents::read(&mut [gzip(first), gzip(second)].concat().as_slice());
    assert_eq!((members.broken.as_deref(), members.files()), (None, 1));
    assert_eq!((members.diff_id, members.uncompressed), (whole.diff_id, whole.uncompressed));
    let garbage = super::Contents::read(&mut [gzip(&tar), b"garbage".to_vec()].concat().as_slice());
    assert!(garbage.broken.is_some());
}

/// What is said of an archive that is none says nothing of what the file says.
#[test]
fn files_that_are_no_archives() {
    let secret = "root:x:0:0:secret of /etc/shadow".repeat(40);
    for (bytes, why) in [
        (secret.clone().into_bytes(), "the archive cannot be read: it is no archive"),
        (b"<!doctype html>".to_vec(), "the archive cannot be read: it is no archive"),
        (gzip(secret.as_bytes()), "the archive cannot be read: an entry's header is none"),
        (
            [&Draft::backend().tar()[..512], secret.as_bytes()].concat(),
            "the archive cannot be read: an entry's header is none",
        ),
        ([b"BZh9", secret.as_bytes()].concat(), "the archive is compressed with bzip2"),
        (gzip(&Draft::backend().tar()[..700]), "the archive cannot be read: failed to read entire block"),
    ] {
        let findings = tgz(&Contents::read(&mut bytes.as_slice()), "x.tgz", DIR, &parse(&ALL)).0;
        let texts: Vec<&str> = findings.iter().map(|finding| finding.text.as_str()).collect();
        let about_it: Vec<&&str> = texts.iter().filter(|text| text.starts_with("the archive ")).collect();
        assert_eq!(about_it, [&why], "{texts:?}");
        assert!(!texts.iter().any(|text| text.contains("secret") || text.contains("package.json")), "{texts:?}");
        let mut draft = Draft::backend();
        draft.layer = Some(bytes);
        let findings = draft.findings(&ALL);
        assert!(!findings.iter().any(|finding| finding.text.contains("secret")), "{findings:?}");
        assert!(!findings.iter().any(|finding| finding.rule == Rule::DynamicPackages), "{findings:?}");
    }
}

/// node's tar makes a folder `GNUSparseFile.0` of what GNU tar writes so.
#[test]
fn files_with_holes() {
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_pax_extensions([("GNU.sparse.major", &b"1"[..]), ("GNU.sparse.name", b"package/x")]).unwrap();
    let mut header = Header::new_ustar();
    header.set_size(1);
    header.set_mode(0o644);
    tar.append_data(&mut header, "package/GNUSparseFile.0/x", &b"x"[..]).unwrap();
    let contents = Contents::read(&mut tar.into_inner().unwrap().as_slice());
    let findings = tgz(&contents, "x.tgz", DIR, &parse(&ALL)).0;
    assert!(findings.iter().any(|finding| finding.rule == Rule::EntryType), "{findings:?}");
}

/// How to break a rule; and the releases whose installers mind, joined by commas.
type Case = (Rule, &'static str, fn(&mut Draft));

fn cases() -> Vec<Case> {
    const EVERY: &str = "1.8,1.9,1.10,2.0,2.1";
    vec![
        (Rule::ManifestMediaType, EVERY, |d| {
            d.manifest["mediaType"] = json!("application/vnd.oci.image.index.v1+json")
        }),
        (Rule::ConfigMediaType, EVERY, |d| {
            d.manifest["config"]["mediaType"] = json!("application/vnd.oci.empty.v1+json")
        }),
        (Rule::ConfigContent, EVERY, |d| d.config["architecture"] = json!("arm64")),
        (Rule::ConfigContent, EVERY, |d| d.honest = false),
        (Rule::OneLayer, EVERY, |d| d.manifest["layers"] = json!([{}, {}])),
        (Rule::OneLayer, EVERY, |d| d.manifest["layers"] = json!([])),
        (Rule::Compression, EVERY, |d| d.layer = Some(vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0])),
        (Rule::Readable, EVERY, |d| d.layer = Some(gzip(&d.tar()[..700]))),
        (Rule::Readable, EVERY, |d| d.layer = Some(gzip(&d.tar())[..100].to_vec())),
        (Rule::Readable, EVERY, |d| {
            let mut layer = gzip(&d.tar());
            let checksum = layer.len() - 8;
            layer[checksum] ^= 1;
            d.layer = Some(layer);
        }),
        (Rule::Readable, EVERY, |d| d.layer = Some([gzip(&d.tar()), b"more".to_vec()].concat())),
        (Rule::CompressionRatio, "2.0,2.1", |d| d.file("zeros", vec![0; 19_000_000])),
        (Rule::LayerLargerThanConfig, "2.0,2.1", |d| d.config["config"] = json!("x".repeat(5000))),
        (Rule::DynamicPackages, EVERY, |d| d.manifest["annotations"] = json!({})),
        (Rule::DynamicPackages, EVERY, |d| {
            d.manifest["annotations"]["io.backstage.dynamic-packages"] =
                json!(URL_SAFE_NO_PAD.encode("[{\"acme-plugin-x\":{}} ]"));
        }),
        (Rule::DynamicPackages, EVERY, |d| d.manifest["annotations"]["io.backstage.dynamic-packages"] = json!("[{}]")),
        (Rule::DynamicPackages, EVERY, |d| {
            d.manifest["annotations"]["io.backstage.dynamic-packages"] =
                json!(STANDARD.encode("{\"acme-plugin-x\":{}}"));
        }),
        (Rule::DynamicPackages, EVERY, |d| {
            d.manifest["annotations"]["io.backstage.dynamic-packages"] = annotation(&[DIR, "elsewhere"]);
        }),
        (Rule::ImageName, "2.0,2.1", |d| d.name = "other"),
        (Rule::EntryPath, EVERY, |d| d.entry("./acme-plugin-x/y", EntryType::Regular, 0o644, "x")),
        (Rule::EntryPath, EVERY, |d| d.entry("/acme-plugin-x/y", EntryType::Regular, 0o644, "x")),
        (Rule::EntryPath, EVERY, |d| d.entry("acme-plugin-x/../y", EntryType::Regular, 0o644, "x")),
        (Rule::EntryPath, EVERY, |d| d.file("y/", "x")),
        (Rule::EntryPath, EVERY, |d| d.entry("elsewhere/y", EntryType::Regular, 0o644, "x")),
        (Rule::EntryType, EVERY, |d| d.entry("acme-plugin-x/y", EntryType::Symlink, 0o777, "dist/index.cjs.js")),
        (Rule::EntryType, EVERY, |d| d.entry("acme-plugin-x/y", EntryType::Link, 0o644, "acme-plugin-x/package.json")),
        (Rule::EntryType, EVERY, |d| d.entry("acme-plugin-x/y", EntryType::Fifo, 0o644, "")),
        (Rule::EntryType, EVERY, |d| d.entry("acme-plugin-x/y", EntryType::Char, 0o644, "")),
        (Rule::EntrySize, "1.8,1.9", |d| d.file("large", noise(20_000_001))),
        (Rule::EntrySize, EVERY, |d| d.file("large", noise(40_000_001))),
        (Rule::EntryMode, EVERY, |d| d.entry("acme-plugin-x/y", EntryType::Regular, 0o4755, "x")),
        (Rule::EntryMode, EVERY, |d| d.entry("acme-plugin-x/y", EntryType::Regular, 0o666, "x")),
        (Rule::GitLfs, EVERY, |d| {
            d.file("logo.png", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n");
        }),
        (Rule::DuplicateEntry, EVERY, |d| d.file("package.json", backend().to_string())),
        // In either order: Python's installer stops there, and node's loses one of the two.
        (Rule::DuplicateEntry, EVERY, |d| {
            d.file("both", "x");
            d.file("both/y/z", "x");
        }),
        (Rule::DuplicateEntry, EVERY, |d| {
            d.file("both/y/z", "x");
            d.file("both", "x");
        }),
        (Rule::CaseConflict, EVERY, |d| d.file("Package.json", "x")),
        (Rule::ReservedName, EVERY, |d| d.file("dynamic-plugin-config.hash", "x")),
        (Rule::PluginFolder, EVERY, |d| {
            d.manifest["annotations"]["io.backstage.dynamic-packages"] = annotation(&[DIR, "a/b"]);
        }),
        (Rule::FolderPrefix, "1.8,1.9,1.10", |d| {
            d.manifest["annotations"]["io.backstage.dynamic-packages"] = annotation(&[DIR, "acme-plugin-x-backend"]);
        }),
        (Rule::BundleForOperator, "2.0,2.1", |d| {
            d.manifest["annotations"]["io.backstage.dynamic-packages"] = annotation(&[DIR, "another"]);
        }),
        (Rule::PackageJson, EVERY, |d| d.entries.retain(|(path, ..)| !path.ends_with("x/package.json"))),
        (Rule::PackageJson, EVERY, |d| d.entries[1].3 = b"{".to_vec()),
        (Rule::PackageJson, EVERY, |d| d.entries[1].3 = format!("\u{feff}{}", backend()).into()),
        (Rule::PackageJson, EVERY, |d| d.entries[1].3 = backend().to_string().replace("\"main\"", "\"Main\"").into()),
        (Rule::PackageJson, EVERY, |d| {
            d.entries[1].3 = backend().to_string().replace("backend-plugin", "web-library").into()
        }),
        (Rule::MainFile, EVERY, |d| d.entries.retain(|(path, ..)| !path.ends_with(".cjs.js"))),
        (Rule::ScalprumManifest, "1.8,1.9,1.10,2.0", |d| {
            *d = Draft::frontend();
            d.entries.retain(|(path, ..)| !path.ends_with("plugin-manifest.json"));
        }),
        (Rule::ModuleFederationManifest, "2.1", |d| {
            *d = Draft::frontend();
            d.entries.retain(|(path, ..)| !path.ends_with("mf-manifest.json"));
        }),
        (Rule::ManifestFiles, EVERY, |d| {
            *d = Draft::frontend();
            d.entries.retain(|(path, ..)| !path.ends_with("dist-scalprum/x.js"));
        }),
        (Rule::ManifestFiles, EVERY, |d| {
            *d = Draft::frontend();
            d.entries.retain(|(path, ..)| !path.ends_with("remote.js"));
        }),
        (Rule::ConfigSchema, EVERY, |d| {
            let mut manifest = backend();
            manifest["configSchema"] = json!("config.d.ts");
            d.entries[1].3 = manifest.to_string().into();
        }),
        (Rule::UnusedPackages, EVERY, |d| d.file("node_modules/unused/index.js", "x")),
    ]
}

/// Bytes that do not compress, so that no other rule is broken.
fn noise(length: u32) -> Vec<u8> {
    (0..length).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0] ^ n.to_be_bytes()[2]).collect()
}

#[test]
fn every_rule_finds_what_breaks_it() {
    let mut covered: BTreeMap<Rule, usize> = BTreeMap::new();
    for (number, (rule, releases, break_it)) in cases().into_iter().enumerate() {
        let mut draft = Draft::backend();
        break_it(&mut draft);
        let findings = draft.findings(&ALL);
        let found = findings.iter().find(|finding| finding.rule == rule);
        let found = found.unwrap_or_else(|| panic!("case {number}, {rule:?}: {findings:?}"));
        let concerned: Vec<String> = found.releases.iter().map(ToString::to_string).collect();
        assert_eq!(concerned.join(","), releases, "case {number}, {rule:?}");
        *covered.entry(rule).or_default() += 1;
    }
    // Those of archives as npm makes them, of indexes, and of what is loaded or expected have tests of their own.
    let elsewhere = [
        Rule::ArchiveName,
        Rule::IndexPlatform,
        Rule::IndexAnnotation,
        Rule::EntryPoints,
        Rule::BackendFeature,
        Rule::ExpectedDigest,
        Rule::ExpectedIntegrity,
    ];
    let missing: Vec<&Rule> = Rule::ALL.iter().filter(|rule| !covered.contains_key(rule)).collect();
    assert_eq!(missing, elsewhere.iter().collect::<Vec<_>>(), "rules of images without a case");
}

/// The installers read the annotation only where the reference names no folder; the operator's script wants it there.
#[test]
fn a_reference_may_name_the_folder() {
    let mut draft = Draft::backend();
    draft.manifest["annotations"] = json!({});
    draft.folder = Some(DIR);
    let findings = draft.findings(&ALL);
    let [warning] = findings.as_slice() else { panic!("{findings:?}") };
    let concerned: Vec<String> = warning.releases.iter().map(ToString::to_string).collect();
    assert_eq!((warning.rule, warning.severity), (Rule::DynamicPackages, Severity::Warn));
    assert_eq!(concerned, ["2.0", "2.1"]);

    let mut draft = Draft::backend();
    draft.folder = Some("elsewhere");
    let findings = draft.findings(&ALL);
    let missing = |finding: &Finding| finding.text.starts_with("the layer has no `elsewhere/`") && finding.is_fatal();
    assert!(findings.iter().any(missing), "{findings:?}");
}

#[test]
fn a_tgz_has_its_own_folder_and_name() {
    let mut draft = Draft::backend();
    for (path, ..) in &mut draft.entries {
        *path = path.replace(DIR, "package");
    }
    let found = |draft: &Draft, name: &str| -> Vec<Rule> {
        tgz(&draft.contents(), name, DIR, &parse(&ALL)).0.into_iter().map(|finding| finding.rule).collect()
    };
    assert_eq!(found(&draft, "acme-plugin-x-dynamic-1.0.0.tgz"), []);
    assert_eq!(found(&draft, "x.tgz"), [Rule::ArchiveName]);
    for (name, version, file) in [
        ("../../evil", "1.0.0", "..-..-evil-1.0.0.tgz"),
        ("@a/b/c", "1.0.0", "a-b-c-1.0.0.tgz"),
        ("x", "../../1", "x-../../1.tgz"),
        ("a\0b", "1.0.0", "a\0b-1.0.0.tgz"),
        (&"x".repeat(246), "1.0.0", &format!("{}-1.0.0.tgz", "x".repeat(246))),
    ] {
        let mut manifest = backend();
        (manifest["name"], manifest["version"]) = (json!(name), json!(version));
        draft.entries[1].3 = manifest.to_string().into();
        assert_eq!(found(&draft, file), [Rule::PluginFolder], "{name} {version}");
    }
    draft.entries[1].3 = backend().to_string().into();
    draft.entry("index.json", EntryType::Regular, 0o644, "x");
    assert_eq!(found(&draft, "acme-plugin-x-dynamic-1.0.0.tgz"), [Rule::EntryPath]);
}

#[test]
fn what_breaks_a_rule_a_thousand_times_is_not_listed_a_thousand_times() {
    let mut draft = Draft::backend();
    for number in 0..1000 {
        draft.entry(format!("{DIR}/link{number}"), EntryType::Symlink, 0o777, "x");
    }
    let texts: Vec<String> = draft.findings(&["1.9"]).into_iter().map(|finding| finding.text).collect();
    assert_eq!(texts.len(), 6);
    assert_eq!(texts[5], "995 more entries break this rule");
}

#[test]
fn garbage_is_never_more_than_a_finding() {
    let good = Draft::backend().tar();
    let mut state = 1_u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state as usize >> 8
    };
    for _ in 0..300 {
        let mut tar = good.clone();
        for _ in 0..3 {
            let position = random() % tar.len();
            tar[position] = (random() & 0xff) as u8;
        }
        for layer in [tar.clone(), gzip(&tar)] {
            let mut draft = Draft::backend();
            draft.layer = Some(layer);
            draft.findings(&ALL);
        }
    }
}
