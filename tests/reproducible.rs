//! The same folder gives the same bytes, whoever packs it, where and how.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use common::plugins::{PACKAGE_JSON, package_one, request, write};
use rhdh_pack::package::{Member, Request, package};
use rhdh_pack::ui::{Ui, Verbosity};
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// What is compared: the image's digest and the tgz's integrity.
type Made = (String, String);

fn files() -> Vec<(String, Vec<u8>)> {
    let noise = |seed: u32, length: u32| -> Vec<u8> {
        (0..length).flat_map(|n| (n ^ seed).wrapping_mul(2_654_435_761).to_be_bytes()).map(|byte| byte & 0x5f).collect()
    };
    let mut files = vec![
        ("package.json".to_owned(), PACKAGE_JSON.into()),
        ("dist/index.cjs.js".to_owned(), b"module.exports = {};\n".to_vec()),
        ("dist/large.js".to_owned(), noise(1, 400_000)),
        ("dist/Ä.js".to_owned(), b"1".to_vec()),
        ("dist/a.js".to_owned(), b"2".to_vec()),
        ("dist/Z.js".to_owned(), b"3".to_vec()),
        ("dist/i.js".to_owned(), b"4".to_vec()),
        ("dist/I.js".to_owned(), b"5".to_vec()),
    ];
    for number in 0..300 {
        files.push((format!("node_modules/p{number}/lib/index.js"), noise(number, number * 7)));
        files.push((format!("node_modules/p{number}/package.json"), format!("{{\"name\":\"p{number}\"}}").into()));
    }
    files
}

/// Writes the files, in this order.
fn lay_out(root: &Path, files: impl IntoIterator<Item = (String, Vec<u8>)>) {
    for (path, content) in files {
        write(root, &path, content);
    }
}

fn made(request: &Request) -> Made {
    let artifact = package_one(request).unwrap();
    (artifact.image.unwrap().digest.to_string(), artifact.tgz.unwrap().integrity.to_string())
}

fn made_of(dist_dynamic: &Path, threads: usize) -> Made {
    made_at(dist_dynamic, threads, 6)
}

fn made_at(dist_dynamic: &Path, threads: usize, level: u32) -> Made {
    let output = TempDir::new().unwrap();
    let mut request = request(output.path(), dist_dynamic);
    request.threads = threads;
    request.artifacts[0].level = level;
    made(&request)
}

#[test]
fn threads_do_not_matter() {
    let folder = TempDir::new().unwrap();
    lay_out(folder.path(), files());
    for level in 1..=9 {
        let expected = made_at(folder.path(), 1, level);
        for threads in [2, 8, 33] {
            assert_eq!(made_at(folder.path(), threads, level), expected, "level {level}, {threads} threads");
        }
    }
}

#[test]
fn what_was_compressed_for_others_does_not_matter() {
    let folder = TempDir::new().unwrap();
    let frontend = folder.path().join("frontend");
    lay_out(&frontend, files().into_iter().filter(|(path, _)| !path.starts_with("node_modules")));
    let manifest = fs_err::read_to_string(frontend.join("package.json")).unwrap();
    fs_err::write(frontend.join("package.json"), manifest.replacen("plugin-x", "plugin-frontend", 1)).unwrap();
    let backend = folder.path().join("backend");
    lay_out(&backend, files());
    let output = folder.path().join("out");
    let one = |name: &str, dist_dynamics: &[&Path]| {
        let mut request = request(&output, dist_dynamics[0]);
        let artifact = &mut request.artifacts[0];
        (artifact.id, artifact.image, artifact.tgz) = (name.to_owned(), name.to_owned(), dist_dynamics.len() == 1);
        let member = |(number, path): (usize, &&Path)| Member {
            plugin: format!("p{number}"),
            dir: if dist_dynamics.len() == 1 { name.to_owned() } else { format!("dir{number}") },
            dist_dynamic: path.to_path_buf(),
        };
        artifact.members = dist_dynamics.iter().enumerate().map(member).collect();
        request
    };
    let parts = [
        one("frontend", &[&frontend]),
        one("backend", &[&backend]),
        one("bundle", &[&backend, &frontend]),
        one("pair", &[&frontend, &frontend]),
    ];
    let image = |request: &Request| package_one(request).unwrap().image.unwrap().digest.to_string();
    let alone: Vec<String> = parts.iter().map(image).collect();
    // One after the other, from the same memory; then all at once.
    let mut together = parts[0].clone();
    let after_others = |part: &Request| image(&Request { blocks: together.blocks.clone(), ..part.clone() });
    assert_eq!(parts.iter().map(after_others).collect::<Vec<_>>(), alone);
    together.artifacts = parts.iter().flat_map(|part| part.artifacts.clone()).collect();
    together.blocks = Default::default();
    together.threads = 4;
    let packaged = package(&together, &Ui::new(Verbosity::Quiet), &CancellationToken::new()).unwrap();
    let at_once: Vec<String> =
        packaged.into_iter().map(|packaged| packaged.outcome.unwrap().image.unwrap().digest.to_string()).collect();
    assert_eq!(at_once, alone);
}

#[test]
fn times_modes_order_and_place_do_not_matter() {
    let folder = TempDir::new().unwrap();
    let first = folder.path().join("first");
    lay_out(&first, files());
    let expected = made_of(&first, 2);
    // Another place, the files made the other way round (hence other inodes), other times and modes.
    let second = folder.path().join("a much longer path/with ünïcode/dist-dynamic");
    lay_out(&second, files().into_iter().rev());
    for (number, (path, _)) in files().into_iter().enumerate() {
        let file = std::fs::File::options().write(true).open(second.join(&path)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + number as u64)).unwrap();
        file.set_permissions(std::fs::Permissions::from_mode([0o600, 0o644, 0o664, 0o666][number % 4])).unwrap();
    }
    assert_eq!(made_of(&second, 2), expected);
    // Hard links are files like all others, and so is what a link leads to.
    let third = folder.path().join("third");
    lay_out(&third, files());
    fs_err::remove_file(third.join("dist/a.js")).unwrap();
    fs_err::write(third.join("elsewhere.js"), "2").unwrap();
    fs_err::hard_link(third.join("elsewhere.js"), third.join("dist/a.js")).unwrap();
    fs_err::remove_file(third.join("dist/Z.js")).unwrap();
    fs_err::write(third.join("linked.js"), "3").unwrap();
    std::os::unix::fs::symlink("../linked.js", third.join("dist/Z.js")).unwrap();
    assert_eq!(made_of(&third, 2), expected);
}

#[test]
fn locale_time_zone_umask_and_user_do_not_matter() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    lay_out(&root.join("plugin/dist-dynamic"), files());
    write(root, "plugin/package.json", PACKAGE_JSON);
    write(root, "plugin/yarn.lock", "");
    write(root, "rhdh-plugins.toml", "[plugins.x]\npath = \"plugin\"\nexport = \"prebuilt\"\n");
    let run = |umask: &str, locale: &str, zone: &str, epoch: Option<&str>| -> Made {
        let mut command = common::scrubbed("sh");
        let script = format!("umask {umask} && exec \"$0\" run --out-dir \"$1\"");
        let out = root.join(format!("out-{umask}-{locale}-{}", epoch.unwrap_or("none")));
        command.current_dir(root).args(["-c", &script, env!("CARGO_BIN_EXE_rhdh-pack")]).arg(&out);
        command.env("LC_ALL", locale).env("LANG", locale).env("TZ", zone);
        if let Some(epoch) = epoch {
            command.env("SOURCE_DATE_EPOCH", epoch);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        made_by_run(&out)
    };
    let expected = run("022", "C", "UTC", None);
    assert_eq!(run("077", "tr_TR.UTF-8", "Asia/Kolkata", None), expected);
    assert_eq!(run("000", "de_DE.UTF-8", "America/St_Johns", None), expected);
    // Everybody may read what was made, whatever the umask.
    let tgz = fs_err::read_dir(root.join("out-077-tr_TR.UTF-8-none/tgz")).unwrap().next().unwrap().unwrap();
    assert_eq!(tgz.metadata().unwrap().permissions().mode() & 0o777, 0o644);
    // A time of the user's own counts, and is as reproducible.
    let dated = run("022", "C", "UTC", Some("1700000000"));
    assert_ne!(dated, expected);
    assert_eq!(run("077", "C", "UTC", Some("1700000000")), dated);
}

fn made_by_run(out: &Path) -> Made {
    let result: PathBuf = out.join("result.json");
    let result: Value = serde_json::from_slice(&fs_err::read(result).unwrap()).unwrap();
    let plugin = &result["plugins"][0];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&plugin["image"]["digest"]), text(&plugin["tgz"]["integrity"]))
}

#[test]
fn a_time_that_is_none_is_refused() {
    let folder = TempDir::new().unwrap();
    lay_out(&folder.path().join("plugin/dist-dynamic"), files());
    write(folder.path(), "plugin/package.json", PACKAGE_JSON);
    write(folder.path(), "plugin/yarn.lock", "");
    write(folder.path(), "rhdh-plugins.toml", "[plugins.x]\npath = \"plugin\"\nexport = \"prebuilt\"\n");
    let output = common::rhdh_pack(folder.path()).arg("run").env("SOURCE_DATE_EPOCH", "yesterday").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains("SOURCE_DATE_EPOCH is `yesterday`"), "{stderr}");
}
