//! A large backend: 260 real packages of the npm registry, as its bundled dependencies. Installed once, from a lock
//! file.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The backend's `dist-dynamic`, for reading only.
#[allow(clippy::expect_used, reason = "a test that cannot go on ends here")]
pub(crate) fn large_backend() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("target/npm-packages");
    std::fs::create_dir_all(&folder).expect("the target folder can be written to");
    // Two tests at once install it once.
    let lock =
        std::fs::File::create(root.join("target/npm-packages.lock")).expect("the target folder can be written to");
    lock.lock().expect("the target folder can be locked");
    let fixture = root.join("tests/fixtures/npm-packages");
    let read = |path: PathBuf| std::fs::read(path).unwrap_or_default();
    let wanted = read(fixture.join("package-lock.json"));
    let dist_dynamic = folder.join("dist-dynamic");
    if read(folder.join("installed")) != wanted {
        let _ = std::fs::remove_dir_all(&dist_dynamic);
        std::fs::create_dir_all(dist_dynamic.join("dist")).expect("a folder can be made");
        std::fs::write(dist_dynamic.join("dist/index.cjs.js"), "exports.default = {};\n")
            .expect("a file can be written");
        for name in ["package.json", "package-lock.json"] {
            std::fs::copy(fixture.join(name), dist_dynamic.join(name)).expect("a file can be copied");
        }
        let install = Command::new("npm")
            .args(["ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(&dist_dynamic)
            .status();
        assert!(install.expect("npm is missing: it comes with Node.js").success(), "npm cannot install the packages");
        std::fs::write(folder.join("installed"), wanted).expect("a file can be written");
    }
    dist_dynamic
}
