//! `diff` on what several makers make of one plugin, and on what is not whole.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::os::unix::fs::PermissionsExt as _;

use common::bench::Bench;
use common::plugins::DIR;
use serde_json::Value;

/// Two plugins of one bundle may have one package's name.
#[test]
fn namesakes_are_told_apart() {
    let bench = Bench::new();
    let make = |output: &str, content: &str| {
        let dist_dynamic = bench.root().join("dist-dynamic");
        bench.write("other/dist/index.cjs.js", content);
        fs_err::copy(dist_dynamic.join("package.json"), bench.root().join("other/package.json")).unwrap();
        bench.write("other/node_modules/ms/package.json", r#"{"name":"ms","version":"2.1.3"}"#);
        let mut request = common::plugins::request(&bench.root().join(output), &dist_dynamic);
        request.artifacts[0].tgz = false;
        let mut member = request.artifacts[0].members[0].clone();
        (member.dir, member.dist_dynamic) = ("other".to_owned(), bench.root().join("other"));
        request.artifacts[0].members.push(member);
        common::plugins::package_one(&request).unwrap();
    };
    make("one", "exports.a = 1;");
    make("two", "exports.b = 22;");
    let text = bench.expect(0, &["diff", "one", "two"]);
    assert!(text.contains(&format!("@acme/plugin-x-dynamic in {DIR}: no difference")), "{text}");
    assert!(text.contains("@acme/plugin-x-dynamic in other: 3 files"), "{text}");
    assert!(text.contains("~ dist/index.cjs.js"), "{text}");
}

/// Archives that differ in nothing else have different digests, too.
#[test]
fn programs_are_told_from_other_files() {
    let bench = Bench::new();
    let before = bench.npm_pack();
    fs_err::copy(before, bench.root().join("before.tgz")).unwrap();
    let file = bench.root().join("dist-dynamic/dist/index.cjs.js");
    fs_err::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    let text = bench.expect(0, &["diff", "before.tgz", "dist-dynamic"]);
    assert!(text.contains("  ~ dist/index.cjs.js (") && text.contains(", now executable)\n"), "{text}");
    let text = bench.expect(0, &["diff", "dist-dynamic", "before.tgz"]);
    assert!(text.contains(", no longer executable)\n"), "{text}");
}

#[test]
fn differences_are_shown_by_kind() {
    let bench = Bench::new();
    let before = bench.npm_pack();
    let before = before.to_string_lossy();
    let same = bench.expect(0, &["diff", &before, "dist-dynamic"]);
    assert!(same.contains("@acme/plugin-x-dynamic: no difference"), "{same}");
    let manifest = fs_err::read_to_string(bench.root().join("dist-dynamic/package.json")).unwrap();
    fs_err::copy(&*before, bench.root().join("before.tgz")).unwrap();
    bench.write("dist-dynamic/package.json", manifest.replace("1.2.3", "1.3.0"));
    bench.write("dist-dynamic/dist/new.js", "new");
    bench.write("dist-dynamic/node_modules/ms/package.json", r#"{"name":"ms","version":"2.2.0","main":"index.js"}"#);
    let text = bench.expect(0, &["diff", "before.tgz", "dist-dynamic"]);
    for line in [
        "@acme/plugin-x-dynamic: 4 files",
        "  - /version: \"1.2.3\"\n  + /version: \"1.3.0\"\n",
        "  ~ ms 2.1.3 → 2.2.0\n",
        "  + dist/new.js (3 B)\n",
        "  … 1 in node_modules\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    // What breaks a rule is compared all the same.
    bench.write("dist-dynamic/dist/large.bin", vec![7; 20_000_001]);
    let text = bench.expect(0, &["diff", "before.tgz", "dist-dynamic"]);
    assert!(text.contains("  + dist/large.bin (20.0 MB)\n"), "{text}");
    let text = bench.verify(1, "dist-dynamic");
    assert!(text.contains("[entry-size]") && text.contains("loaded by node"), "{text}");
    fs_err::remove_file(bench.root().join("dist-dynamic/dist/large.bin")).unwrap();
    // One that is cut off is to blame itself.
    bench.archive("whole.tgz", &manifest, &[]);
    let whole = fs_err::read(bench.root().join("whole.tgz")).unwrap();
    bench.write("cut.tgz", &whole[..3 * 512 + 10]);
    let text = bench.expect(1, &["diff", "cut.tgz", "dist-dynamic"]);
    assert!(text.contains("`cut.tgz` cannot be unpacked") && !text.contains("permissions"), "{text}");
    let json = bench.run(&["diff", "before.tgz", "dist-dynamic", "--format", "json"]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["plugins"][0]["packages"][0]["after"][0], "2.2.0");
    assert_eq!(json["plugins"][0]["changed_files"].as_array().unwrap().len(), 3);
}
