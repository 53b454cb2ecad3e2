//! `install` as RHDH's init container does it: images and archives of several makers, good and bad, into one folder.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::process::Command;

use common::bench::{Bench, configure, manifest, names_in};
use common::plugins::DIR;
use common::registry::{Auth, Registry, run};
use common::rhdh_pack;

#[test]
fn plugins_are_installed_as_the_init_container_does() {
    let (bench, registry) = (Bench::new(), Registry::start(Auth::Open));
    let image = bench.image(&registry, DIR, "oci", &[("dist-dynamic", &format!("/{DIR}"))], true);
    let archive = bench.npm_pack();
    let (root, archive) = (bench.root().join("root"), archive.to_string_lossy().into_owned());
    let text = bench.expect(0, &["install", "--root", "root", &format!("oci://{image}")]);
    let digest = registry.skopeo_digest(&format!("acme/{DIR}"), "1", &[]).unwrap();
    let package = format!("oci://{}@{digest}!{DIR}", image.strip_suffix(":1").unwrap());
    assert!(text.contains(&format!("- package: {package}\n  disabled: false\n")), "{text}");
    let file = |path: &str| fs_err::read_to_string(root.join(path)).unwrap();
    assert_eq!(file(&format!("{DIR}/dynamic-plugin-image.hash")), digest.strip_prefix("sha256:").unwrap());
    // What install-dynamic-plugins.py computes for that entry.
    let hash = |entry: &str| {
        let program = format!(
            "import hashlib, json\nprint(hashlib.sha256(json.dumps({entry}, sort_keys=True).encode('utf-8')).hexdigest())"
        );
        let hash = run("python3", "python3", Command::new("python3").args(["-c", &program]));
        String::from_utf8(hash).unwrap().trim().to_owned()
    };
    let entry = format!("{{'package': '{package}', 'disabled': False, 'last_modified_level': 1}}");
    assert_eq!(file(&format!("{DIR}/dynamic-plugin-config.hash")), hash(&entry));
    assert_eq!(file(&format!("{DIR}/node_modules/ms/index.js")), "module.exports = 'ms';\n");
    // As the installers do: what is noted as installed is left alone, until the note is another.
    bench.write(&format!("root/{DIR}/mine"), "");
    let again = ["install", "--root", "root", &format!("oci://{image}")];
    assert!(bench.expect(0, &again).contains(&format!("stands in root/{DIR} already")));
    assert!(root.join(DIR).join("mine").exists());
    bench.write(&format!("root/{DIR}/dynamic-plugin-image.hash"), "0");
    bench.expect(0, &again);
    assert!(!root.join(DIR).join("mine").exists());

    // The archive of the same plugin takes its place, under the name that npm gives it.
    let text = bench.expect(0, &["install", "--root", "root", &archive]);
    assert!(text.contains(&format!("removed {DIR}")) && !root.join(DIR).exists(), "{text}");
    let integrity = text.split("integrity: ").nth(1).unwrap().lines().next().unwrap();
    let entry = format!(
        "{{'package': './acme-plugin-x-dynamic-1.2.3.tgz', 'integrity': '{integrity}', 'disabled': False, \
         'last_modified_level': 1, '_local_package_info': {{'_not_found': True}}}}"
    );
    assert_eq!(file("acme-plugin-x-dynamic-1.2.3/dynamic-plugin-config.hash"), hash(&entry));
    assert!(!root.join("acme-plugin-x-dynamic-1.2.3/dynamic-plugin-image.hash").exists());
    assert_eq!(names_in(&root), ["acme-plugin-x-dynamic-1.2.3", "app-config.dynamic-plugins.yaml"]);

    // What an installer would not take is not installed.
    bench.write("dist-dynamic/package.json", "{}");
    bench.expect(1, &["install", "--root", "root", "dist-dynamic"]);
    assert_eq!(names_in(&root), ["acme-plugin-x-dynamic-1.2.3", "app-config.dynamic-plugins.yaml"]);
}

/// RHDH's installer finishes the others.
#[test]
fn one_that_cannot_be_installed_stops_no_other() {
    let bench = Bench::new();
    bench.archive("good-1.0.0.tgz", &manifest("good", "1.0.0"), &[]);
    bench.archive("bad-1.0.0.tgz", &manifest("bad", "1.0.0"), &[("package/a", "x"), ("package/a/b", "y")]);
    let text = bench.expect(1, &["install", "--root", "root", "bad-1.0.0.tgz", "good-1.0.0.tgz"]);
    assert!(text.contains("bad-1.0.0.tgz: not installed") && text.contains("- package: ./good-1.0.0.tgz"), "{text}");
    assert!(!text.contains("permissions"), "{text}");
    let root = bench.root().join("root");
    assert_eq!(names_in(&root), ["app-config.dynamic-plugins.yaml", "good-1.0.0"]);

    // What the configuration allows shows when it is unpacked.
    fs_err::remove_dir_all(&root).unwrap();
    configure(&bench, "allow = { duplicate-entry = \"nobody knows\" }\n");
    let twice = manifest("@acme/plugin-x", "1.2.3");
    bench.archive("allowed.tgz", &twice, &[("package/a", "x"), ("package/a/b", "y")]);
    let text = bench.expect(1, &["install", "--root", "root", "allowed.tgz", "good-1.0.0.tgz"]);
    assert!(text.contains("`@acme/plugin-x` cannot be unpacked: nothing of it was installed"), "{text}");
    assert_eq!(names_in(&root), ["app-config.dynamic-plugins.yaml", "good-1.0.0"]);

    fs_err::remove_dir_all(&root).unwrap();
    let text = bench.expect(2, &["install", "--root", "root", "nothere", "good-1.0.0.tgz", "neither"]);
    for said in ["there is no `nothere`", "there is no `neither`", "- package: ./good-1.0.0.tgz"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert_eq!(names_in(&root), ["app-config.dynamic-plugins.yaml", "good-1.0.0"]);
}

/// What a plugin brings along for RHDH's configuration goes where RHDH is told to look, and the lock is given back.
#[test]
fn the_installed_plugins_configuration() {
    let bench = Bench::new();
    configure(&bench, "app-config = \"x/app-config.yaml\"\n");
    bench.write("x/app-config.yaml", "x:\n  limit: 3\n");
    let text = bench.expect(0, &["install", "--root", "root", "dist-dynamic"]);
    assert!(text.contains("start RHDH with `--config root/app-config.dynamic-plugins.yaml`, too"), "{text}");
    let file = fs_err::read_to_string(bench.root().join("root/app-config.dynamic-plugins.yaml")).unwrap();
    assert_eq!(file, "dynamicPlugins:\n  rootDirectory: dynamic-plugins-root\nx:\n  limit: 3\n");
    assert!(!bench.root().join("root/install-dynamic-plugins.lock").exists());
}

/// Somebody else's lock is waited for, and left where it is.
#[test]
fn another_installer_is_not_disturbed() {
    let bench = Bench::new();
    bench.write("root/install-dynamic-plugins.lock", "1");
    let mut command = rhdh_pack(bench.root());
    command.args(["install", "--root", "root", "dist-dynamic"]).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = String::new();
    let mut lines = std::io::BufReader::new(child.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut lines, &mut said).unwrap();
    assert!(said.contains("waiting for another installer: `root/install-dynamic-plugins.lock` is there"), "{said}");
    run("kill", "procps", Command::new("kill").args(["-TERM", &child.id().to_string()]));
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert_eq!(names_in(&bench.root().join("root")), ["install-dynamic-plugins.lock"]);
}

/// An image in no registry has no reference that an installer takes.
#[test]
fn a_layout_is_installed_without_entries() {
    let bench = Bench::new();
    let mut request = common::plugins::request(&bench.root().join("out"), &bench.root().join("dist-dynamic"));
    request.artifacts[0].tgz = false;
    common::plugins::package_one(&request).unwrap();
    let text = bench.expect(0, &["install", "--root", "root", "oci:out/oci"]);
    assert!(text.contains("plugins: []") && text.contains("it has an entry"), "{text}");
    assert!(bench.root().join("root").join(DIR).join("package.json").is_file());
    assert!(bench.expect(0, &["install", "--root", "root", "oci:out/oci"]).contains("already"));
}
