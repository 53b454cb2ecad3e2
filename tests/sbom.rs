//! The SBOM that packaging makes of an image: compared with the image itself, and with the schema of CycloneDX.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::plugins::{DIR, backend, layer, package_one, request, write};
use common::registry::run;
use rhdh_pack::digest::Digest;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A backend with packages in it: deduplicated, nested, without a name.
fn plugin(root: &Path) {
    backend(root);
    let packages = [
        ("node_modules/a", json!({ "name": "a", "version": "1.0.0", "license": "MIT", "dependencies": { "b": "*" } })),
        ("node_modules/@s/b", json!({ "name": "@s/b", "version": "2.0.0-rc.1+x", "license": "(MIT OR ISC)" })),
        ("node_modules/a/node_modules/b", json!({ "name": "b", "version": "1.0.0", "license": "SEE LICENSE IN X" })),
        ("node_modules/c", json!({ "name": "c", "version": "3.0.0", "dependencies": { "b": "*" } })),
        ("node_modules/c/node_modules/b", json!({ "name": "b", "version": "1.0.0", "license": "SEE LICENSE IN X" })),
        (
            "node_modules/old",
            json!({ "name": "old", "version": "0.1.0", "licenses": [{ "type": "MIT" }, { "type": "BSD" }] }),
        ),
    ];
    for (folder, manifest) in packages {
        write(root, &format!("{folder}/package.json"), manifest.to_string());
        write(root, &format!("{folder}/index.js"), "module.exports = {};\n");
    }
    let manifest = json!({
        "name": "@acme/plugin-x-dynamic", "version": "1.2.3", "main": "dist/index.cjs.js", "license": "Apache-2.0",
        "backstage": { "role": "backend-plugin", "pluginId": "x" }, "bundleDependencies": true, "files": ["dist"],
        "dependencies": { "a": "*", "@s/b": "*", "c": "*", "old": "*" },
    });
    write(root, "package.json", manifest.to_string());
}

/// What CycloneDX's own validator says of a document; empty where nothing is wrong.
fn faults(document: &Path) -> String {
    const SCRIPT: &str = "
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())
print('' if fault is None else str(fault)[:2000], end='')
";
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/python/bin/python");
    let output = run("cyclonedx-python-lib", "python3-venv", Command::new(python).args(["-c", SCRIPT]).arg(document));
    String::from_utf8(output).unwrap()
}

/// Packages the plugin in `dist`, and gives the SBOM's file.
fn sbom(output: &Path, dist: &Path) -> PathBuf {
    let artifact = package_one(&request(output, dist)).unwrap();
    let sbom = artifact.sbom.unwrap();
    let file = output.join(&sbom.file);
    let bytes = fs_err::read(&file).unwrap();
    assert_eq!((Digest::of(&bytes), bytes.len() as u64), (sbom.digest, sbom.size));
    file
}

fn read(file: &Path) -> Value {
    serde_json::from_slice(&fs_err::read(file).unwrap()).unwrap()
}

/// The components, by `bom-ref`.
fn components(document: &Value) -> BTreeMap<&str, &Value> {
    let all = document["components"].as_array().unwrap();
    let by_reference: BTreeMap<&str, &Value> =
        all.iter().map(|component| (component["bom-ref"].as_str().unwrap(), component)).collect();
    assert_eq!(by_reference.len(), all.len());
    by_reference
}

#[test]
fn every_package_of_the_image_is_in_it_with_its_licence_and_hash() {
    let (output, dist, unpacked) = (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    plugin(dist.path());
    let file = sbom(output.path(), dist.path());
    assert_eq!(file, output.path().join(format!("sbom/{DIR}.cdx.json")));
    assert_eq!(faults(&file), "");
    let document = read(&file);
    let components = components(&document);

    // Every `package.json` that tar finds in the layer is in the place of exactly one component.
    run("tar", "tar", Command::new("tar").arg("-xzf").arg(layer(output.path())).arg("-C").arg(unpacked.path()));
    let mut places: Vec<String> = components
        .values()
        .flat_map(|component| component["evidence"]["occurrences"].as_array().unwrap())
        .map(|place| place["location"].as_str().unwrap().to_owned())
        .collect();
    places.sort_unstable();
    let mut found: Vec<String> = walkdir::WalkDir::new(unpacked.path())
        .into_iter()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name() == "package.json")
        .map(|entry| entry.path().parent().unwrap().strip_prefix(unpacked.path()).unwrap().display().to_string())
        .collect();
    found.sort_unstable();
    assert_eq!(places, found);
    assert_eq!(found.len(), 7);
    assert_eq!(components.len(), 6, "the two copies of `b` are one component");

    // The hash is what the shell makes of the package's own files.
    const HASH: &str = "find . -type f -not -path './node_modules/*' -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum";
    for component in components.values() {
        for place in component["evidence"]["occurrences"].as_array().unwrap() {
            let folder = unpacked.path().join(place["location"].as_str().unwrap());
            let output = run("sh", "dash", Command::new("sh").args(["-c", HASH]).current_dir(folder));
            let expected = String::from_utf8(output).unwrap();
            assert_eq!(component["hashes"][0]["content"].as_str().unwrap(), expected.split(' ').next().unwrap());
        }
    }
    let licenses = |reference: &str| components[reference]["licenses"].clone();
    assert_eq!(licenses("pkg:npm/a@1.0.0"), json!([{ "license": { "id": "MIT" } }]));
    assert_eq!(licenses("pkg:npm/%40s/b@2.0.0-rc.1%2Bx"), json!([{ "expression": "(MIT OR ISC)" }]));
    assert_eq!(licenses("pkg:npm/b@1.0.0"), json!([{ "license": { "name": "SEE LICENSE IN X" } }]));
    assert_eq!(licenses("pkg:npm/c@3.0.0"), Value::Null);

    // The subject is the image that stands beside it.
    let image = &document["metadata"]["component"];
    let index = read(&output.path().join("oci/index.json"));
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    assert_eq!(image["hashes"][0]["content"].as_str(), digest.strip_prefix("sha256:"));
}

#[test]
fn the_same_image_gives_the_same_bytes() {
    let dist = TempDir::new().unwrap();
    plugin(dist.path());
    let made = [1, 3].map(|threads| {
        let output = TempDir::new().unwrap();
        let mut request = request(output.path(), dist.path());
        request.threads = threads;
        request.artifacts[0].tgz = threads == 1;
        let sbom = package_one(&request).unwrap().sbom.unwrap();
        fs_err::read(output.path().join(sbom.file)).unwrap()
    });
    assert!(made[0] == made[1]);
}

#[test]
fn no_licence_makes_a_document_that_is_none() {
    let (output, dist) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    plugin(dist.path());
    let licences = spdx::identifiers::LICENSES.iter().map(|license| license.name);
    let strange = [
        "",
        " ",
        "mit",
        "MIT OR",
        "(((",
        "MIT+",
        "LicenseRef-x",
        "UNLICENSED",
        "\u{1f980}",
        "MIT AND (ISC OR BSD-3-Clause)",
    ];
    let count = licences.clone().chain(strange).enumerate().map(|(number, license)| {
        let manifest = json!({ "name": format!("p{number}"), "version": "1.0.0", "license": license });
        write(dist.path(), &format!("node_modules/p{number}/package.json"), manifest.to_string());
    });
    let count = count.count();
    let file = sbom(output.path(), dist.path());
    assert_eq!(faults(&file), "");
    let document = read(&file);
    assert_eq!(components(&document).len(), count + 6);
    let identified = components(&document)
        .values()
        .filter(|component| component["licenses"][0]["license"]["id"].is_string())
        .count();
    assert!(identified > 700, "{identified} licences are known by their identifiers");
}
