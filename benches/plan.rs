//! `rhdh-pack plan` beside `turbo run build --affected --dry=json`, on one generated monorepo, in one run, one after
//! the other in turns: 1,000 packages with 20,000 files and a lock file of 5,000 third-party entries; then 2,000 and
//! 5,000 packages. Wall time (median), processor time of the process and its children (mean), and the largest memory of
//! the process itself. turbo is measured as npm installs it, by its launcher in node, and by the program behind that.
//!
//!     npm install --prefix .tools/turbo turbo && cargo bench --bench plan

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on ends here")]
#![allow(clippy::print_stdout, reason = "the table is what it is for")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const RUNS: usize = 11;
const THIRD_PARTY: usize = 5_000;
/// Third-party packages depend on others of their block only: a plugin's closure is some hundred packages, as it is.
const BLOCK: usize = 100;

/// One program, and what was seen of it.
struct Tool<'a> {
    name: &'a str,
    command: &'a dyn Fn() -> Command,
    times: Vec<Duration>,
    /// In seconds, of all runs.
    processor: f64,
    /// In KiB.
    memory: u64,
    planned: usize,
}

fn main() {
    let modules = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".tools/turbo/node_modules");
    let (launcher, native) = (modules.join(".bin/turbo"), modules.join(format!("@turbo/linux-{}/bin/turbo", bits())));
    for turbo in [&launcher, &native] {
        assert!(turbo.exists(), "turbo is missing: npm install --prefix .tools/turbo turbo");
    }
    println!("| packages | tool | wall, median [least, most] | processor | memory | planned |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for packages in [1_000, 2_000, 5_000] {
        let folder = tempfile::tempdir().unwrap();
        generate(folder.path(), packages);
        let plan = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_rhdh-pack"));
            command.args(["plan", "--base", "HEAD^", "--format", "json"]).current_dir(folder.path());
            command
        };
        let turbo = |program: &Path| {
            let mut command = Command::new(program);
            command.args(["run", "build", "--affected", "--dry=json", "--no-daemon"]).current_dir(folder.path());
            command.env("TURBO_SCM_BASE", "HEAD^").env("TURBO_TELEMETRY_DISABLED", "1");
            command
        };
        let (by_launcher, by_itself) = (|| turbo(&launcher), || turbo(&native));
        let tools: [(&str, &dyn Fn() -> Command); 3] = [
            ("rhdh-pack plan", &plan),
            ("turbo --affected --dry=json", &by_launcher),
            ("turbo without its launcher", &by_itself),
        ];
        compare(packages, &tools);
    }
}

/// What npm calls this machine.
fn bits() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "64" }
}

fn compare(packages: usize, tools: &[(&str, &dyn Fn() -> Command)]) {
    let mut tools: Vec<Tool<'_>> = tools
        .iter()
        .map(|(name, command)| Tool {
            name,
            command: *command,
            times: Vec::new(),
            processor: 0.0,
            memory: 0,
            planned: 0,
        })
        .collect();
    // The first turn warms the caches up and does not count.
    for turn in 0..=RUNS {
        for tool in &mut tools {
            tool.run(turn > 0);
        }
    }
    let mut medians = Vec::new();
    for Tool { name, times, processor, memory, planned, .. } in &mut tools {
        times.sort();
        let ms = |time: Duration| time.as_millis();
        let (least, median, most) = (ms(times[0]), ms(times[RUNS / 2]), ms(times[RUNS - 1]));
        let processor = *processor * 1000.0 / RUNS as f64;
        medians.push(times[RUNS / 2]);
        println!(
            "| {packages} | {name} | {median} ms [{least}, {most}] | {processor:.0} ms | {} MB | {planned} |",
            *memory / 1024
        );
    }
    for (tool, median) in tools.iter().zip(&medians).skip(1) {
        println!("| | | {:.1} times as fast as {} | | | |", median.as_secs_f64() / medians[0].as_secs_f64(), tool.name);
    }
}

impl Tool<'_> {
    fn run(&mut self, counts: bool) {
        let before = children_time();
        let started = Instant::now();
        let mut child = (self.command)().stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let status = format!("/proc/{}/status", child.id());
        let mut stdout = child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || std::io::read_to_string(&mut stdout).unwrap());
        while child.try_wait().unwrap().is_none() {
            self.memory = self.memory.max(peak(&status));
            std::thread::sleep(Duration::from_millis(1));
        }
        let time = started.elapsed();
        if counts {
            self.times.push(time);
            self.processor += children_time() - before;
        }
        let output: serde_json::Value = serde_json::from_str(&reader.join().unwrap()).unwrap();
        self.planned = match output["plugins"].as_array() {
            Some(plugins) => plugins.iter().filter(|plugin| plugin["action"] == "build").count(),
            None => output["packages"].as_array().unwrap().len(),
        };
    }
}

/// The processor time of all children so far, in seconds (proc_pid_stat(5): `cutime` and `cstime`, in hundredths).
fn children_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[13..15].iter().map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
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
    // As yarn writes them: sorted by key.
    let mut entries = BTreeMap::new();
    for number in 0..THIRD_PARTY {
        let version = format!("1.0.{}", number % 10);
        let key = format!("t{number}@npm:^1.0.0");
        let mut lock = format!("  version: {version}\n  resolution: \"t{number}@npm:{version}\"\n");
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
        entries.insert(key, lock);
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
        let key = format!("@acme/p{number}@workspace:^, @acme/p{number}@workspace:{folder}");
        let mut lock = format!(
            "  version: 0.0.0-use.local\n  resolution: \"@acme/p{number}@workspace:{folder}\"\n  dependencies:\n"
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
        entries.insert(key, lock);
        for file in 0..19 {
            write(root, &format!("{folder}/src/file{file}.ts"), &format!("export const value = {number} + {file};\n"));
        }
    }
    write(root, "rhdh-plugins.toml", &config);
    let mut lock = "__metadata:\n  version: 8\n  cacheKey: 10c0\n".to_owned();
    for (key, entry) in entries {
        let _ = write!(lock, "\n\"{key}\":\n{entry}");
    }
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
