//! How long packaging takes and how large its archives are, side by side in one run with the RHDH CLI's `plugin
//! package` (by buildah), `npm pack`, and `tar | pigz -9 -p2`: on a small plugin and on one with 28,000 files, both
//! made of real npm packages. Medians of five rounds; the programs take turns within a round, each after all files were
//! read once.
//!
//! `cargo bench --bench package`; `THREADS=2 cargo bench …` for fewer threads than there are processors. What it needs
//! it installs itself, from npm into `target/`, but for pigz and buildah: `.ci/tools` installs those.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that cannot go on ends here")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use common::npm_packages::large_backend;
use common::plugins::{PACKAGE_JSON, npm, package_one, request, write};

const ROUNDS: usize = 5;

/// The version of the RHDH CLI that is measured.
const CLI: &str = "@red-hat-developer-hub/cli@1.9.1";

/// Packages that make a plugin of about 1,000 files and 15 MB.
const SMALL: [&str; 6] = ["luxon", "@octokit", "ajv", "knex", "express", "winston"];

/// What one run of a program took.
struct Run {
    seconds: f64,
    /// Peak, in MB; 0 where it was not measured.
    memory: f64,
    /// Bytes of the archive; of image and tgz together, where both were made.
    size: u64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(position) = arguments.iter().position(|argument| argument == "--child") {
        return child(&arguments[position + 1..]);
    }
    let cli = rhdh_cli();
    let large = large_backend();
    let small = small_backend(&large);
    let threads = threads();
    println!("{threads} threads, medians of {ROUNDS}");
    for (name, dist_dynamic) in [("small", small), ("large", large)] {
        let files = walkdir::WalkDir::new(&dist_dynamic)
            .into_iter()
            .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.file_type().is_file()));
        println!("\n{name}: {} files\n{:<44} {:>8} {:>8} {:>12}", files.count(), "", "s", "MB", "bytes");
        compare(&dist_dynamic, &cli);
    }
}

fn threads() -> usize {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    std::env::var("THREADS").ok().and_then(|threads| threads.parse().ok()).unwrap_or(all)
}

fn compare(dist_dynamic: &Path, cli: &Path) {
    type Way<'a> = (&'a str, Box<dyn Fn() -> Run + 'a>);
    let ways: [Way<'_>; 6] = [
        ("rhdh-pack: image", Box::new(|| ours(dist_dynamic, "image"))),
        ("rhdh-pack: tgz", Box::new(|| ours(dist_dynamic, "tgz"))),
        ("rhdh-pack: image and tgz", Box::new(|| ours(dist_dynamic, "both"))),
        ("tar | pigz -9 -p2", Box::new(|| pigz(dist_dynamic))),
        ("npm pack", Box::new(|| npm_pack(dist_dynamic))),
        ("RHDH CLI: plugin package, buildah (no gzip)", Box::new(|| buildah(dist_dynamic, cli))),
    ];
    let mut runs: Vec<Vec<Run>> = ways.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for ((_, way), runs) in ways.iter().zip(&mut runs) {
            // None of them is the one that reads the files from the disk, as after what buildah writes.
            read_through(dist_dynamic);
            runs.push(way());
        }
    }
    for ((name, _), runs) in ways.iter().zip(&runs) {
        let median = |value: fn(&Run) -> f64| {
            let mut values: Vec<f64> = runs.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let (memory, size) = (median(|run| run.memory), runs[0].size);
        let memory = if memory > 0.0 { format!("{memory:.0}") } else { "-".to_owned() };
        println!("{name:<44} {:>8.2} {memory:>8} {size:>12}", median(|run| run.seconds));
    }
}

/// Reads every file.
fn read_through(folder: &Path) {
    let files = walkdir::WalkDir::new(folder).into_iter().map(Result::unwrap);
    files.filter(|entry| entry.file_type().is_file()).for_each(|entry| drop(fs_err::read(entry.path()).unwrap()));
}

/// This program again, so that its memory is its own.
fn ours(dist_dynamic: &Path, what: &str) -> Run {
    let output = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--child", what]).arg(dist_dynamic).arg(output.path());
    let (seconds, stdout) = timed(&mut command);
    let mut numbers = stdout.split_whitespace().map(|number| number.parse::<f64>().unwrap());
    let (memory, size) = (numbers.next().unwrap(), numbers.next().unwrap());
    Run { seconds, memory, size: size as u64 }
}

/// Packages, and prints the peak of its memory and the size of what it made.
fn child(arguments: &[String]) {
    let [what, dist_dynamic, output] = arguments else { panic!("--child what dist-dynamic output") };
    let mut request = request(Path::new(output), Path::new(dist_dynamic));
    request.artifacts[0].image_wanted = what != "tgz";
    request.artifacts[0].tgz = what != "image";
    request.artifacts[0].level = rhdh_pack::package::DEFAULT_LEVEL;
    request.threads = threads();
    let artifact = package_one(&request).unwrap();
    let image = artifact.image.map(|_| fs_err::metadata(common::plugins::layer(Path::new(output))).unwrap().len());
    let size = image.unwrap_or_default() + artifact.tgz.map(|tgz| tgz.size).unwrap_or_default();
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    let kilobytes: f64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    println!("{} {size}", kilobytes / 1000.0);
}

fn pigz(dist_dynamic: &Path) -> Run {
    let output = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = output.path().join("x.tar.gz");
    let mut command = Command::new("sh");
    command.args(["-c", "tar --sort=name -C \"$1\" -cf - . | pigz -9 -p2 >\"$2\"", "sh"]).arg(dist_dynamic).arg(&file);
    let (seconds, _) = timed(&mut command);
    Run { seconds, memory: 0.0, size: fs_err::metadata(file).unwrap().len() }
}

fn npm_pack(dist_dynamic: &Path) -> Run {
    let output = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut command = npm();
    command.args(["pack", "--ignore-scripts", "--loglevel=error", "--pack-destination"]).arg(output.path());
    let (seconds, _) = timed(command.current_dir(dist_dynamic));
    let file = fs_err::read_dir(output.path()).unwrap().next().unwrap().unwrap().path();
    Run { seconds, memory: 0.0, size: fs_err::metadata(file).unwrap().len() }
}

/// The RHDH CLI's image stays uncompressed in buildah's store; its size is that of the layer that a push would make.
fn buildah(dist_dynamic: &Path, cli: &Path) -> Run {
    let reference = format!("localhost/rhdh-pack-bench-{}:1", std::process::id());
    let mut command = Command::new("node");
    command.arg(cli).args(["plugin", "package", "--container-tool", "buildah", "--tag", &reference]);
    let (seconds, _) = timed(command.current_dir(dist_dynamic.parent().unwrap()));
    let output = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (source, target) = (format!("containers-storage:{reference}"), format!("oci:{}:x", output.path().display()));
    timed(Command::new("skopeo").args(["copy", "--quiet", &source, &target]));
    timed(Command::new("buildah").args(["rmi", &reference]));
    let blobs = fs_err::read_dir(output.path().join("blobs/sha256")).unwrap();
    let size = blobs.map(|blob| blob.unwrap().metadata().unwrap().len()).max().unwrap();
    Run { seconds, memory: 0.0, size }
}

/// Runs a program to its good end: how long it took, and what it printed.
fn timed(command: &mut Command) -> (f64, String) {
    let started = Instant::now();
    let output =
        command.stderr(Stdio::piped()).output().unwrap_or_else(|error| panic!("{command:?}: {error}: run `.ci/tools`"));
    let seconds = started.elapsed().as_secs_f64();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    (seconds, String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The RHDH CLI's program, installed once.
fn rhdh_cli() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-rhdh-cli");
    let program = folder.join("node_modules/@red-hat-developer-hub/cli/bin/rhdh-cli");
    if !program.is_file() {
        fs_err::create_dir_all(&folder).unwrap();
        let mut install = npm();
        install.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", CLI]);
        timed(install.arg("--prefix").arg(&folder));
    }
    program
}

/// A plugin of some of the large one's packages.
fn small_backend(large: &Path) -> PathBuf {
    let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/npm-packages-small");
    let dist_dynamic = plugin.join("dist-dynamic");
    if !plugin.join("package.json").is_file() {
        write(&dist_dynamic, "package.json", PACKAGE_JSON);
        write(&dist_dynamic, "dist/index.cjs.js", "exports.default = {};\n");
        for package in SMALL {
            let target = dist_dynamic.join("node_modules").join(package);
            fs_err::create_dir_all(target.parent().unwrap()).unwrap();
            let source = large.join("node_modules").join(package);
            timed(Command::new("cp").args(["--archive", "--no-target-directory"]).arg(source).arg(target));
        }
        // npm packs what is in `node_modules` only if something depends on it.
        let dependencies = r#""dependencies":{"luxon":"*","@octokit/rest":"*","ajv":"*","knex":"*","express":"*","winston":"*"},"bundleDependencies""#;
        write(&dist_dynamic, "package.json", PACKAGE_JSON.replace("\"bundleDependencies\"", dependencies));
        write(&plugin, "package.json", PACKAGE_JSON.replace("-dynamic", ""));
    }
    let plugin_json = large.parent().unwrap().join("package.json");
    if !plugin_json.is_file() {
        fs_err::write(plugin_json, PACKAGE_JSON.replace("-dynamic", "")).unwrap();
    }
    dist_dynamic
}
