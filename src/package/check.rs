//! Names in requests and manifests, before anything is made of them: what becomes a path, an image's name or a file's
//! name must be one.

use std::collections::HashSet;

use serde_json::Value;

use super::artifact::failure;
use super::{ArtifactRequest, PackageFailure, tgz};

/// Linux `NAME_MAX`, less the `.integrity` that is added to an archive's name.
const MAX_NAME: usize = 255 - ".integrity".len();

/// Fails if the request cannot become what it asks for.
pub(super) fn request(request: &ArtifactRequest) -> Result<(), PackageFailure> {
    if !request.image_wanted && !request.tgz || request.members.is_empty() {
        let help = "give it a registry in `registries`";
        return Err(failure("nothing-to-package", format!("`{}` has nothing to package", request.id), help));
    }
    if request.tgz && request.members.len() > 1 {
        let text = format!("`{}` has several plugins, and a tgz holds one", request.id);
        return Err(failure("bundle-as-tgz", text, "publish its plugins as tgz, the bundle as image only"));
    }
    if !is_image_name(&request.image) {
        let text = format!("`{}` is no image name", request.image);
        return Err(failure(
            "image-name",
            text,
            "set `image` to lower-case letters, digits and single `-`, `_` or `.`",
        ));
    }
    let mut folders = HashSet::new();
    for member in &request.members {
        if !is_folder_name(&member.dir) {
            let text = format!("`{}` cannot be a plugin's folder in an image", member.dir);
            return Err(failure("plugin-folder", text, "set `image` of the plugin to one plain name"));
        }
        if !folders.insert(&member.dir) {
            let text = format!("two plugins of `{}` have the folder `{}`", request.id, member.dir);
            return Err(failure("plugin-folder", text, "set `image` of one of them to another name"));
        }
    }
    Ok(())
}

/// The tgz's file name, if `package.json` has a name and a version as npm takes them.
pub(super) fn tgz_name(manifest: &Value) -> Result<String, PackageFailure> {
    let text = |key: &str| manifest.get(key).and_then(Value::as_str).unwrap_or_default();
    let (name, version) = (text("name"), text("version"));
    let help = "correct it in the plugin's package.json, then export the plugin again";
    if let Some(missing) = ["name", "version"].into_iter().find(|key| text(key).is_empty()) {
        return Err(failure("package-name", format!("`package.json` has no `{missing}`"), help));
    }
    if !is_package_name(name) {
        return Err(failure("package-name", format!("`{name}` is no name of an npm package"), help));
    }
    if nodejs_semver::Version::parse(version).is_err() || !version.is_ascii() || version.contains(['/', ' ']) {
        return Err(failure("package-version", format!("`{version}` is no version of an npm package"), help));
    }
    let file = tgz::file_name(name, version);
    if file.len() > MAX_NAME {
        return Err(failure("package-name", format!("`{file}` is too long for a file's name"), help));
    }
    Ok(file)
}

/// OCI distribution spec: path components of `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn is_image_name(name: &str) -> bool {
    let component = |part: &str| {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = part.as_bytes();
        let ends_plainly =
            bytes.first().is_some_and(|byte| is_plain(*byte)) && bytes.last().is_some_and(|byte| is_plain(*byte));
        let separators = part.split(|character: char| character.is_ascii_lowercase() || character.is_ascii_digit());
        ends_plainly
            && separators
                .into_iter()
                .all(|run| matches!(run, "" | "." | "_" | "__") || run.bytes().all(|byte| byte == b'-'))
    };
    name.split('/').all(component) && name.len() <= 255
}

fn is_folder_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !name.is_empty()
        && name.len() <= 255
        && !name.starts_with(['.', '-'])
        && name.bytes().all(is_plain)
        && name != "index.json"
}

/// npm's names, old ones with capitals among them.
fn is_package_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'~');
    let part = |part: &str| !part.is_empty() && !part.starts_with(['.', '_']) && part.bytes().all(is_plain);
    match name.strip_prefix('@') {
        Some(scoped) => scoped.split_once('/').is_some_and(|(scope, name)| part(scope) && part(name)),
        None => part(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for (name, valid) in [
            ("todo", true),
            ("a/b-c__d.e", true),
            ("a--b", true),
            ("Todo", false),
            ("a..b", false),
            ("-a", false),
            ("", false),
            ("a//b", false),
            ("../x", false),
        ] {
            assert_eq!(is_image_name(name), valid, "{name}");
        }
        for (name, valid) in [
            ("@acme/todo", true),
            ("Todo", true),
            ("..", false),
            ("@../x", false),
            ("a/b", false),
            ("@a/b/c", false),
            ("", false),
        ] {
            assert_eq!(is_package_name(name), valid, "{name}");
        }
        for (name, valid) in [("acme-todo", true), ("..", false), ("a/b", false), ("index.json", false), ("", false)] {
            assert_eq!(is_folder_name(name), valid, "{name}");
        }
    }
}
