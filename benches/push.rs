//! How long pushing takes, side by side with skopeo in one run: one large layer, a hundred small images, and the
//! hundred again. Medians of several rounds; each push goes to a registry that has nothing yet, because skopeo
//! remembers where it has seen a blob.
//!
//! `cargo bench --bench push`

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that cannot go on ends here")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::registry::{Auth, Registry};
use common::repository::Repository;
use common::rhdh_pack;

/// What one run of a program took.
struct Run {
    seconds: f64,
    /// The most memory that was in use, in MB.
    memory: f64,
}

fn main() {
    // All of it is bound by the registry's own work: on a busy machine a push of many at once has little to gain.
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load {}", load.split(' ').next().unwrap_or_default());
    println!("{:<44} {:>10} {:>10}", "", "s", "MB");

    let large = packaged(1, 16, 19_000_000);
    let (ours, theirs) = rounds(5, || {
        let ours = push(&large, &Registry::start(Auth::Open));
        (ours, copy(&large, "acme-p0", &Registry::start(Auth::Open)))
    });
    show("a layer of 300 MB: rhdh-pack push", &ours);
    show("a layer of 300 MB: skopeo copy", &theirs);

    let small = packaged(100, 1, 20_000);
    let registry = Registry::start(Auth::Open);
    push(&small, &registry);
    // Ends with the last round: ext4 uses no file's place again within seconds of its deletion and looks long for
    // others, so that thousands of files that are deleted between two rounds make both programs a half slower.
    let mut kept = Vec::new();
    let (ours, theirs) = rounds(5, || {
        let registry = Registry::start(Auth::Open);
        let ours = push(&small, &registry);
        kept.push(registry);
        let registry = Registry::start(Auth::Open);
        let started = Instant::now();
        let mut memory: f64 = 0.0;
        for number in 0..100 {
            memory = memory.max(copy(&small, &format!("acme-p{number}"), &registry).memory);
        }
        let theirs = Run { seconds: started.elapsed().as_secs_f64(), memory };
        kept.push(registry);
        (ours, theirs)
    });
    show("100 small images: rhdh-pack push", &ours);
    show("100 small images: skopeo copy, one by one", &theirs);

    let again: Vec<Run> = (0..5).map(|_| push(&small, &registry)).collect();
    show("the 100 images again: rhdh-pack push", &again);
}

fn rounds(count: usize, mut round: impl FnMut() -> (Run, Run)) -> (Vec<Run>, Vec<Run>) {
    (0..count).map(|_| round()).unzip()
}

fn show(what: &str, runs: &[Run]) {
    let median = |value: fn(&Run) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    println!("{what:<44} {:>10.2} {:>10.0}", median(|run| run.seconds), median(|run| run.memory));
}

/// A project of `plugins` plugins with `files` files of `size` bytes each, packaged.
fn packaged(plugins: usize, files: usize, size: usize) -> Repository {
    let repository = Repository::new();
    let mut random = fastrand::Rng::with_seed(1);
    let mut config = "[channels.next]\ntags = [\"next\"]\noverwrite = true\n".to_owned();
    for number in 0..plugins {
        let folder = format!("plugins/p{number}");
        let manifest = |suffix: &str| {
            serde_json::json!({
                "name": format!("@acme/p{number}{suffix}"), "version": "1.0.0", "main": "dist/index.cjs.js",
                "backstage": { "role": "backend-plugin", "pluginId": "p" },
            })
            .to_string()
        };
        repository
            .write(&format!("{folder}/package.json"), manifest(""))
            .write(&format!("{folder}/dist-dynamic/package.json"), manifest("-dynamic"))
            .write(&format!("{folder}/dist-dynamic/dist/index.cjs.js"), "exports.default = {};\n")
            .write(&format!("{folder}/dist-dynamic/dist/configSchema.json"), "{}");
        for file in 0..files {
            let mut bytes = vec![0; size];
            random.fill(&mut bytes);
            repository.write(&format!("{folder}/dist-dynamic/dist/data-{file}.js"), bytes);
        }
        config.push_str(&format!("[plugins.p{number}]\npath = \"{folder}\"\nexport = \"prebuilt\"\n"));
    }
    repository.config(&config);
    for command in [&["plan", "--channel", "next"][..], &["export"], &["package"]] {
        let output = rhdh_pack(repository.root()).args(command).output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    repository.config(format!("[defaults]\nregistries = [\"cncf\"]\n{config}"));
    repository
}

fn push(project: &Repository, registry: &Registry) -> Run {
    let file = project.root().join("rhdh-plugins.toml");
    let config = fs_err::read_to_string(&file).unwrap();
    let config = config.split("[registries.cncf]").next().unwrap();
    fs_err::write(&file, format!("{config}[registries.cncf]\noci = \"{}/acme\"\n", registry.host)).unwrap();
    let mut command = rhdh_pack(project.root());
    command.args(["--quiet", "push"]).env("HOME", project.root());
    measure(command)
}

fn copy(project: &Repository, name: &str, registry: &Registry) -> Run {
    let layout: &Path = &project.root().join(".rhdh-pack/oci");
    let mut command = Command::new("skopeo");
    command.args(["copy", "--quiet", "--dest-tls-verify=false"]);
    command.arg(format!("oci:{}:{name}", layout.display())).arg(format!("docker://{}/acme/{name}:next", registry.host));
    measure(command)
}

/// Runs a program to its good end.
fn measure(mut command: Command) -> Run {
    let started = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap();
    let mut memory: f64 = 0.0;
    let status = loop {
        // The kernel's own high-water mark, read until the process is gone.
        let text = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        if let Some(kilobytes) = line.and_then(|line| line.trim().split(' ').next()?.parse::<f64>().ok()) {
            memory = memory.max(kilobytes / 1000.0);
        }
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    assert!(status.success());
    Run { seconds: started.elapsed().as_secs_f64(), memory }
}
