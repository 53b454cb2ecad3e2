//! `rhdh-pack plan` beside `turbo run build --affected --dry=json`, on one generated monorepo, in one run: 1,000 packages
//! with 20,000 files and a lock file of 5,000 third-party entries; then `plan` alone on 2,000 and 5,000 packages. Wall
//! time (median of 5) and the largest memory of the process itself.
//!
//!     npm install --prefix .tools/turbo turbo && cargo bench --bench plan

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on ends here")]
#![allow(clippy::print_stdout, reason = "the table is what it is for")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const RUNS: usize = 5;
const THIRD_PARTY: usize = 5_000;
/// Third-party packages depend on others of their block only: a plugin's closure is some hundred packages, as it is.
const BLOCK: usize = 100;

fn main() {
    let turbo = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".tools/turbo/node_modules/.bin/turbo");
    println!("| packages | tool | wall, median [least, most] | memory | planned |");
    println!("| --- | --- | --- | --- | --- |");
    for packages in [1_000, 2_000, 5_000] {
        let folder = tempfile::tempdir().unwrap();
        generate(folder.path(), packages);
        measure("rhdh-pack plan", packages, &|| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_rhdh-pack"));
            command.args(["plan", "--base", "HEAD^", "--format", "json"]).current_dir(folder.path());
            command
        });
        if packages > 1_000 {
            continue;
        }
        assert!(turbo.exists(), "turbo is missing: npm install --prefix .tools/turbo turbo");
        measure("turbo --affected --dry=json", packages, &|| {
            let mut command = Command::new(&turbo);
            command.args(["run", "build", "--affected", "--dry=json", "--no-daemon"]).current_dir(folder.path());
            command.env("TURBO_SCM_BASE", "HEAD^").env("TURBO_TELEMETRY_DISABLED", "1");
            command
        });
    }
}

fn measure(tool: &str, packages: usize, command: &dyn Fn() -> Command) {
    let mut times = Vec::new();
    let mut memory = 0;
    let mut planned = 0;
    // The first one warms the caches up and does not count.
    for _ in 0..=RUNS {
        let started = Instant::now();
        let mut child = command().stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let status = format!("/proc/{}/status", child.id());
        let mut stdout = child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || std::io::read_to_string(&mut stdout).unwrap());
        while child.try_wait().unwrap().is_none() {
            memory = memory.max(peak(&status));
            std::thread::sleep(Duration::from_millis(1));
        }
        times.push(started.elapsed());
        let output: serde_json::Value = serde_json::from_str(&reader.join().unwrap()).unwrap();
        let plugins = output["plugins"].as_array();
        planned = match plugins {
            Some(plugins) => plugins.iter().filter(|plugin| plugin["action"] == "build").count(),
            None => output["packages"].as_array().unwrap().len(),
        };
    }
    times.remove(0);
    times.sort();
    let ms = |time: Duration| time.as_millis();
    let (least, median, most) = (ms(times[0]), ms(times[RUNS / 2]), ms(times[RUNS - 1]));
    println!("| {packages} | {tool} | {median} ms [{least}, {most}] | {} MB | {planned} |", memory / 1024);
}

/// The largest memory so far, in KiB.
fn peak(status: &str) -> u64 {
    let text = std::fs::read_to_string(status).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// A monorepo of two commits; the second changes one package that 30 others depend on, and one locked version.
fn generate(root: &Path, packages: usize) {
    write(
        root,
        "package.json",
        r#"{"name": "root", "private": true, "workspaces": ["plugins/*"], "packageManager": "yarn@4.18.1"}"#,
    );
    write(root, "turbo.json", r#"{"tasks": {"build": {"dependsOn": ["^build"]}}}"#);
    write(root, ".gitignore", "node_modules\n.turbo\n.rhdh-pack\n");
    write(root, "tsconfig.json", "{}");
    let mut config = String::new();
    let mut lock = "__metadata:\n  version: 8\n  cacheKey: 10c0\n".to_owned();
    for number in 0..THIRD_PARTY {
        let version = format!("1.0.{}", number % 10);
        let _ = write!(
            lock,
            "\n\"t{number}@npm:^1.0.0\":\n  version: {version}\n  resolution: \"t{number}@npm:{version}\"\n"
        );
        let block_end = (number / BLOCK + 1) * BLOCK;
        let dependencies: Vec<usize> =
            [1, 7, 31].map(|step| number + step).into_iter().filter(|it| *it < block_end).collect();
        if !dependencies.is_empty() {
            lock.push_str("  dependencies:\n");
            for dependency in dependencies {
                let _ = writeln!(lock, "    t{dependency}: \"npm:^1.0.0\"");
            }
        }
        let _ = write!(lock, "  checksum: 10c0/{number:0128x}\n  languageName: node\n  linkType: hard\n");
    }
    for number in 0..packages {
        let folder = format!("plugins/p{number}");
        let _ = writeln!(config, "[plugins.p{number}]\npath = \"{folder}\"");
        // Each depends on the first package of its thirty, and on the one before it.
        let workspace: Vec<String> = [number / 30 * 30, number.saturating_sub(1)]
            .into_iter()
            .filter(|other| *other < number && other / 30 == number / 30)
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .map(|other| format!("\"@acme/p{other}\": \"workspace:^\""))
            .collect();
        let third = (0..5).map(|step| format!("\"t{}\": \"^1.0.0\"", (number * 37 + step * 1_009) % THIRD_PARTY));
        let dependencies: Vec<String> = workspace.into_iter().chain(third).collect();
        let manifest = format!(
            "{{\"name\": \"@acme/p{number}\", \"version\": \"1.0.0\", \"backstage\": {{\"role\": \"backend-plugin\"}}, \
             \"scripts\": {{\"build\": \"true\"}}, \"dependencies\": {{{}}}}}",
            dependencies.join(", ")
        );
        write(root, &format!("{folder}/package.json"), &manifest);
        let _ = write!(
            lock,
            "\n\"@acme/p{number}@workspace:^, @acme/p{number}@workspace:{folder}\":\n  version: 0.0.0-use.local\n  resolution: \
             \"@acme/p{number}@workspace:{folder}\"\n  dependencies:\n"
        );
        for dependency in &dependencies {
            let range = if dependency.contains("workspace:") {
                dependency.clone()
            } else {
                dependency.replace("\"^", "\"npm:^")
            };
            let _ = writeln!(lock, "    {range}");
        }
        lock.push_str("  languageName: unknown\n  linkType: soft\n");
        for file in 0..19 {
            write(root, &format!("{folder}/src/file{file}.ts"), &format!("export const value = {number} + {file};\n"));
        }
    }
    write(root, "rhdh-plugins.toml", &config);
    write(root, "yarn.lock", &lock);
    git(root, &["init", "--quiet", "--initial-branch=main"]);
    git(root, &["add", "--all"]);
    git(root, &["commit", "--quiet", "--message", "first"]);
    write(root, "plugins/p30/src/file0.ts", "changed\n");
    write(root, "yarn.lock", &lock.replacen("1.0.7", "1.0.8", 2));
    git(root, &["commit", "--quiet", "--all", "--message", "second"]);
}

fn write(root: &Path, path: &str, text: &str) {
    let file = root.join(path);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, text).unwrap();
}

fn git(root: &Path, arguments: &[&str]) {
    let mut command = Command::new("git");
    command.current_dir(root).args(["-c", "user.name=b", "-c", "user.email=b@example.com"]).args(arguments);
    assert!(command.status().unwrap().success());
}
