//! Looking at a `dist-dynamic` before it is packaged. A folder and the plugin's own `package.json` come in; what goes
//! out is a [`DistDynamic`], or what is wrong with it. Nothing of it is trusted: it may also be the user's own build.

use std::path::{Path, PathBuf};

use super::{DistDynamic, ExportFailure};
use crate::workspace::PackageJson;
use crate::workspace::package_json::Role;

/// What `dist-dynamic` is, and what somebody should look at though it works.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) dist_dynamic: DistDynamic,
    pub(super) warnings: Vec<String>,
}

/// The failure, with what to do where it is no export that made `dist-dynamic`.
pub(super) fn of_own_build(failure: ExportFailure) -> ExportFailure {
    match failure.code {
        "dist-dynamic-invalid" | "dependency-missing" => failure.with_help(
            "with `export = \"prebuilt\"`, your own build makes `dist-dynamic`: correct that, and run it again",
        ),
        _ => failure,
    }
}

/// Verifies the `dist-dynamic` in the plugin's `folder`; `manifest` is the plugin's own `package.json`.
pub(super) fn verify(folder: &Path, manifest: &PackageJson, role: Role) -> Result<Verified, ExportFailure> {
    let path = folder.join("dist-dynamic");
    if !path.is_dir() {
        return Err(ExportFailure::new("dist-dynamic-missing", format!("there is no `{}`", path.display()))
            .with_help("build it before rhdh-pack runs, or remove `export = \"prebuilt\"` so that rhdh-pack does"));
    }
    let exported = PackageJson::read(&path.join("package.json"))
        .map_err(|error| invalid(format!("`dist-dynamic` has no usable `package.json`: {error}")))?;
    let (name, version) = identity(&exported, manifest)?;
    if exported.backstage.role.as_deref() != Some(role.as_str()) {
        let found = exported.backstage.role.as_deref().unwrap_or("none");
        return Err(invalid(format!("the role in `dist-dynamic` is `{found}`, not `{}`", role.as_str())));
    }
    let warnings = check_ranges(&exported)?;
    if role.is_frontend() {
        check_frontend(&path)?;
    } else {
        check_backend(&path, &exported)?;
    }
    Ok(Verified { dist_dynamic: DistDynamic { path, name, version, role, cli: None }, warnings })
}

fn invalid(message: impl Into<String>) -> ExportFailure {
    ExportFailure::new("dist-dynamic-invalid", message).with_help(
        "remove `dist-dynamic` and export again; if that does not help, the export's log says how it was made",
    )
}

/// The RHDH CLI appends `-dynamic` to the name, for frontends and backends; a build of the user's own need not.
fn identity(exported: &PackageJson, manifest: &PackageJson) -> Result<(String, String), ExportFailure> {
    let own = manifest.name.as_deref().unwrap_or_default();
    let name = exported.name.clone().unwrap_or_default();
    if name.strip_suffix("-dynamic").unwrap_or(&name) != own.strip_suffix("-dynamic").unwrap_or(own) {
        return Err(invalid(format!("`dist-dynamic` is of `{name}`, not of `{own}`")));
    }
    let version = exported.version.clone().unwrap_or_default();
    if Some(&version) != manifest.version.as_ref() {
        let own = manifest.version.as_deref().unwrap_or_default();
        return Err(invalid(format!("`dist-dynamic` is of version `{version}`, but the plugin has version `{own}`")));
    }
    Ok((name, version))
}

/// No range may mean anything only inside the repository. The RHDH CLI 1.9.1 resolves `workspace:` in `dependencies`
/// only, and `backstage:` nowhere; peer dependencies are not installed, so that there `backstage:` harms nobody.
fn check_ranges(exported: &PackageJson) -> Result<Vec<String>, ExportFailure> {
    let mut warnings = Vec::new();
    for field in ["dependencies", "optionalDependencies", "peerDependencies"] {
        for (name, range) in exported.ranges(field) {
            let says = format!(
                "`{field}` of `dist-dynamic/package.json` says `{name}`: `{range}`, which means nothing outside the repository"
            );
            if range.starts_with("backstage:") && field == "peerDependencies" {
                warnings.push(says);
            } else if range.starts_with("workspace:") || range.starts_with("backstage:") {
                let to = if field == "dependencies" {
                    "a version range"
                } else {
                    "a version range, or move it to `dependencies`"
                };
                return Err(ExportFailure::new("range-unresolved", says)
                    .with_help(format!("change `{name}` in the plugin's `package.json` to {to}")));
            }
        }
    }
    Ok(warnings)
}

/// A frontend's `main` names a file that is not made: RHDH loads it by one of the two manifests.
fn check_frontend(path: &Path) -> Result<(), ExportFailure> {
    let manifests = ["dist-scalprum/plugin-manifest.json", "dist/mf-manifest.json"];
    if manifests.iter().any(|manifest| path.join(manifest).is_file()) {
        return Ok(());
    }
    Err(ExportFailure::new(
        "frontend-assets-missing",
        format!("`dist-dynamic` has neither `{}` nor `{}`", manifests[0], manifests[1]),
    )
    .with_help("see what the bundler says in the export's log; `export-args` must leave one of the two to be made"))
}

fn check_backend(path: &Path, exported: &PackageJson) -> Result<(), ExportFailure> {
    let main = exported.rest.get("main").and_then(|main| main.as_str()).unwrap_or("index.js");
    if resolve_main(path, main).is_none() {
        return Err(invalid(format!("`main` of `dist-dynamic/package.json` is `{main}`, which is not there")));
    }
    let optional: Vec<_> = exported.ranges("optionalDependencies").map(|(name, _)| name).collect();
    let missing: Vec<_> = exported
        .ranges("dependencies")
        .map(|(name, _)| name)
        .filter(|name| !optional.contains(name) && !path.join("node_modules").join(name).join("package.json").is_file())
        .map(|name| format!("`{name}`"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!("dependencies are not in `node_modules` of `dist-dynamic`: {}", missing.join(", "));
    Err(ExportFailure::new("dependency-missing", message).with_help(
        "the plugin must bring them along: leave out `--no-install` in `export-args`, and set `nodeLinker: node-modules` in `.yarnrc.yml`",
    ))
}

/// The file that node takes for `main`, inside the folder.
fn resolve_main(path: &Path, main: &str) -> Option<PathBuf> {
    let root = path.canonicalize().ok()?;
    let candidates =
        ["", ".js", ".cjs", ".json", "/index.js"].map(|end| root.join(format!("{}{end}", main.trim_end_matches('/'))));
    let real = candidates.into_iter().filter_map(|file| file.canonicalize().ok());
    real.into_iter().find(|file| file.is_file() && file.starts_with(&root))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(text: &str) -> PackageJson {
        PackageJson::parse(text.as_bytes(), "package.json").unwrap()
    }

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join("dist-dynamic").join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    /// What is said about a backend with this `package.json`, with `files` beside it.
    fn backend(exported: &str, files: &[&str]) -> Result<Verified, ExportFailure> {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "package.json", exported);
        files.iter().for_each(|file| write(root.path(), file, "{}"));
        let own = manifest(r#"{"name":"@acme/todo-backend","version":"1.2.3","backstage":{"role":"backend-plugin"}}"#);
        verify(root.path(), &own, Role::BackendPlugin)
    }

    const HEAD: &str = r#"{"name":"@acme/todo-backend-dynamic","version":"1.2.3","backstage":{"role":"backend-plugin"},"main":"dist/index.cjs.js""#;

    #[test]
    fn a_good_backend() {
        let exported = format!(
            r#"{HEAD},"dependencies":{{"ms":"^2.0.0","fsevents":"*"}},"optionalDependencies":{{"fsevents":"*"}}}}"#
        );
        let verified = backend(&exported, &["dist/index.cjs.js", "node_modules/ms/package.json"]).unwrap();
        let DistDynamic { name, version, role, .. } = verified.dist_dynamic;
        assert_eq!(
            (name.as_str(), version.as_str(), role),
            ("@acme/todo-backend-dynamic", "1.2.3", Role::BackendPlugin)
        );
        assert_eq!(verified.warnings, Vec::<String>::new());
        // `main` as node reads it.
        let exported = HEAD.replace("dist/index.cjs.js", "./dist") + "}";
        assert!(backend(&exported, &["dist/index.js"]).is_ok());
    }

    #[test]
    fn bad_backends() {
        let main = ["dist/index.cjs.js"];
        let cases: [(String, &[&str], &str, &str); 8] = [
            ("{".into(), &main, "dist-dynamic-invalid", "no usable `package.json`"),
            (
                HEAD.replace("todo-backend", "other") + "}",
                &main,
                "dist-dynamic-invalid",
                "is of `@acme/other-dynamic`, not of `@acme/todo-backend`",
            ),
            (
                HEAD.replace("1.2.3", "1.2.2") + "}",
                &main,
                "dist-dynamic-invalid",
                "version `1.2.2`, but the plugin has version `1.2.3`",
            ),
            (
                HEAD.replace("\"backend-plugin\"", "\"web-library\"") + "}",
                &main,
                "dist-dynamic-invalid",
                "is `web-library`, not `backend-plugin`",
            ),
            (
                format!("{HEAD}}}"),
                &[],
                "dist-dynamic-invalid",
                "`main` of `dist-dynamic/package.json` is `dist/index.cjs.js`",
            ),
            (
                HEAD.replace("dist/index.cjs.js", "../../../../../../etc/hostname") + "}",
                &main,
                "dist-dynamic-invalid",
                "which is not there",
            ),
            (
                format!(r#"{HEAD},"peerDependencies":{{"@acme/x":"workspace:^"}}}}"#),
                &main,
                "range-unresolved",
                "`@acme/x`: `workspace:^`",
            ),
            (
                format!(r#"{HEAD},"dependencies":{{"ms":"1","luxon":"3"}}}}"#),
                &main,
                "dependency-missing",
                "`ms`, `luxon`",
            ),
        ];
        for (exported, files, code, message) in cases {
            let failure = backend(&exported, files).unwrap_err();
            assert_eq!(failure.code, code, "{failure:?}");
            assert!(failure.message.contains(message), "{failure:?}");
        }
        let verified =
            backend(&format!(r#"{HEAD},"peerDependencies":{{"@backstage/x":"backstage:^"}}}}"#), &main).unwrap();
        assert_eq!(verified.warnings.len(), 1);
    }

    #[test]
    fn frontends_need_a_manifest_and_no_main() {
        let root = tempfile::tempdir().unwrap();
        let own = manifest(r#"{"name":"todo","version":"1.0.0"}"#);
        let missing = verify(root.path(), &own, Role::FrontendPlugin).unwrap_err();
        assert_eq!(missing.code, "dist-dynamic-missing");
        write(
            root.path(),
            "package.json",
            r#"{"name":"todo-dynamic","version":"1.0.0","main":"dist/index.esm.js","backstage":{"role":"frontend-plugin"}}"#,
        );
        assert_eq!(verify(root.path(), &own, Role::FrontendPlugin).unwrap_err().code, "frontend-assets-missing");
        write(root.path(), "dist/mf-manifest.json", "{}");
        assert!(verify(root.path(), &own, Role::FrontendPlugin).is_ok());
    }
}
