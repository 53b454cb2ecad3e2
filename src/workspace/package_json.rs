//! `package.json`, as far as rhdh-pack reads it. A file comes in; what goes out is a [`PackageJson`], or an error that
//! names the file and the place in it. Fields without a meaning here may hold anything.

use std::fmt;
use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The largest `package.json` (or `backstage.json`) that is read, in bytes.
const MAX_SIZE: u64 = 16 * 1024 * 1024;

/// A `package.json`: the fields with a meaning here, typed; all others kept as they are.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub struct PackageJson {
    /// `name`; `None` is legal only for a workspace root.
    pub name: Option<String>,
    /// `version`.
    pub version: Option<String>,
    /// `backstage`.
    pub backstage: Backstage,
    /// Everything else.
    pub rest: Map<String, Value>,
}

/// The `backstage` field of a `package.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backstage {
    /// `backstage.role`, as it is written.
    pub role: Option<String>,
    /// `backstage.pluginId`.
    pub plugin_id: Option<String>,
    /// `backstage.supported-versions`: a range of Backstage versions.
    pub supported_versions: Option<String>,
}

/// The `packageManager` field, which corepack and yarn read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageManager {
    /// `yarn`, in a repository that rhdh-pack can export.
    pub name: String,
    /// The version, without the hash that corepack puts behind `+`.
    pub version: Option<String>,
}

/// The roles that RHDH can load, hence the RHDH CLI can export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// `frontend-plugin`
    FrontendPlugin,
    /// `frontend-plugin-module`
    FrontendPluginModule,
    /// `backend-plugin`
    BackendPlugin,
    /// `backend-plugin-module`
    BackendPluginModule,
}

/// Why a file is not a usable `package.json` or `backstage.json`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    /// Cannot be read, or is no regular file.
    #[error("cannot read `{path}`: {cause}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the operating system says.
        cause: String,
    },
    /// More than 16 MiB.
    #[error("`{path}` is larger than 16 MiB")]
    #[diagnostic(help("a package.json of that size is not one: restore it with `git checkout -- {path}`"))]
    TooLarge {
        /// The file.
        path: String,
    },
    /// Not JSON.
    #[error("`{path}:{line}:{column}` is not valid JSON: {cause}")]
    #[diagnostic(help("mend line {line} of `{path}`; JSON has no comments and no comma after the last entry"))]
    NotJson {
        /// The file.
        path: String,
        /// From 1.
        line: usize,
        /// In bytes, from 1; 0 where the line ends too early.
        column: usize,
        /// What the parser says.
        cause: String,
    },
    /// A field (or, with an empty field, the file) of another type than it must have.
    #[error("{}", wrong_type(path, field, found, expected))]
    #[diagnostic(help("{}", if field.is_empty() { format!("`{path}` begins with `{{` and ends with `}}`") }
        else { format!("make `{field}` {expected}, or remove it") }))]
    WrongType {
        /// The file.
        path: String,
        /// The field; empty for the whole file.
        field: String,
        /// What stands there.
        found: &'static str,
        /// What must stand there.
        expected: &'static str,
    },
}

fn wrong_type(path: &str, field: &str, found: &str, expected: &str) -> String {
    if field.is_empty() {
        format!("`{path}` is {found}, not {expected}")
    } else {
        format!("`{field}` in `{path}` is {found}, not {expected}")
    }
}

/// Why a package is not a plugin that can be exported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum RoleError {
    /// No `backstage.role`.
    #[error("`package.json` has no `backstage.role`")]
    #[diagnostic(help(
        "add `\"backstage\": {{ \"role\": \"backend-plugin\" }}` to it, or the role that the plugin has"
    ))]
    Missing,
    /// A role of something else than a plugin, or of nothing that Backstage knows.
    #[error("`backstage.role` is `{role}`, which cannot be exported")]
    #[diagnostic(help("what RHDH can load has one of the roles {}", Role::ALL.map(|role| format!("`{role}`")).join(", ")))]
    NotExportable {
        /// The role as it is written.
        role: String,
    },
}

/// Whether a name leads to one folder in `node_modules`: `ms`, `@acme/todo`.
#[must_use]
pub fn is_package_name(name: &str) -> bool {
    let parts: Vec<&str> = name.split('/').collect();
    let fits = |part: &&str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', '\0']);
    parts.iter().all(fits) && (parts.len() == 1 || parts.len() == 2 && name.starts_with('@'))
}

/// The packages that the RHDH CLI embeds into one of this name and role without being told (its `searchEmbedded`): the
/// siblings `X-common` and `X-node` of `X-backend`, `X-backend-module-Y` and `X-node`.
#[must_use]
pub fn siblings(name: &str, role: Option<&str>) -> Vec<String> {
    let stem = match role {
        Some("backend-plugin") => name.strip_suffix("-backend"),
        Some("backend-plugin-module") => name.find("-backend-module-").map(|at| &name[..at]),
        Some("node-library") => name.strip_suffix("-node"),
        _ => None,
    };
    stem.map(|stem| vec![format!("{stem}-common"), format!("{stem}-node")]).unwrap_or_default()
}

impl PackageJson {
    /// Reads the `package.json` at `path`.
    ///
    /// # Errors
    /// When it is not a readable regular file of up to 16 MiB, not JSON, or a field that has a meaning here has
    /// another type.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let shown = path.display().to_string();
        Self::parse(&read_limited(path, &shown)?, &shown)
    }

    /// Reads the text of a `package.json`; `shown` is how errors name the file.
    ///
    /// # Errors
    /// As [`PackageJson::read`].
    pub fn parse(text: &[u8], shown: &str) -> Result<Self, Error> {
        Self::from_fields(parse_object(text, shown)?, shown)
    }

    fn from_fields(mut fields: Map<String, Value>, path: &str) -> Result<Self, Error> {
        let name = take_text(&mut fields, "name", path)?;
        let version = take_text(&mut fields, "version", path)?;
        let backstage = match fields.shift_remove("backstage") {
            None | Some(Value::Null) => Backstage::default(),
            Some(Value::Object(mut backstage)) => Backstage {
                role: take_text(&mut backstage, "role", path)?,
                plugin_id: take_text(&mut backstage, "pluginId", path)?,
                supported_versions: take_text(&mut backstage, "supported-versions", path)?,
            },
            Some(other) => return Err(mismatch(path, "backstage", &other, "an object")),
        };
        let json = Self { name, version, backstage, rest: fields };
        for field in ["dependencies", "optionalDependencies", "peerDependencies", "devDependencies", "resolutions"] {
            json.check_ranges(field, path)?;
        }
        Ok(json)
    }

    fn check_ranges(&self, field: &str, path: &str) -> Result<(), Error> {
        match self.rest.get(field) {
            None | Some(Value::Null) => Ok(()),
            Some(Value::Object(ranges)) => match ranges.iter().find(|(_, range)| !range.is_string()) {
                None => Ok(()),
                Some((name, range)) => Err(mismatch(path, &format!("{field}.{name}"), range, "a string")),
            },
            Some(other) => Err(mismatch(path, field, other, "an object")),
        }
    }

    /// The names and ranges of a field such as `dependencies`, in the order of the file; empty where there is none.
    pub fn ranges(&self, field: &str) -> impl Iterator<Item = (&str, &str)> {
        let ranges = self.rest.get(field).and_then(Value::as_object);
        ranges.into_iter().flatten().filter_map(|(name, range)| Some((name.as_str(), range.as_str()?)))
    }

    /// The patterns of `workspaces`, in either of its forms; `None` where the field is missing.
    ///
    /// # Errors
    /// When `workspaces` is neither an array of strings nor an object with such an array as `packages`; `path` is how
    /// the error names the file.
    pub fn workspaces(&self, path: &str) -> Result<Option<Vec<String>>, Error> {
        let (field, patterns) = match self.rest.get("workspaces") {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Object(object)) => ("workspaces.packages", object.get("packages").unwrap_or(&Value::Null)),
            Some(other) => ("workspaces", other),
        };
        let expected = "an array of strings";
        match patterns {
            // yarn 1 knows `{ "nohoist": [...] }` without `packages`.
            Value::Null => Ok(Some(Vec::new())),
            Value::Array(patterns) => patterns
                .iter()
                .map(|pattern| {
                    pattern.as_str().map(str::to_owned).ok_or_else(|| mismatch(path, field, pattern, expected))
                })
                .collect::<Result<_, _>>()
                .map(Some),
            other => Err(mismatch(path, field, other, expected)),
        }
    }

    /// `packageManager`, where there is one.
    #[must_use]
    pub fn package_manager(&self) -> Option<PackageManager> {
        let text = self.rest.get("packageManager")?.as_str()?;
        let (name, version) = text.split_once('@').unwrap_or((text, ""));
        let version = version.split('+').next().filter(|version| !version.is_empty());
        Some(PackageManager { name: name.to_owned(), version: version.map(str::to_owned) })
    }

    /// The role, where it is one that can be exported.
    ///
    /// # Errors
    /// When there is none, or it is another.
    pub fn role(&self) -> Result<Role, RoleError> {
        let role = self.backstage.role.as_deref().ok_or(RoleError::Missing)?;
        Role::ALL
            .into_iter()
            .find(|known| known.as_str() == role)
            .ok_or_else(|| RoleError::NotExportable { role: role.to_owned() })
    }
}

impl TryFrom<Map<String, Value>> for PackageJson {
    type Error = Error;

    fn try_from(fields: Map<String, Value>) -> Result<Self, Error> {
        Self::from_fields(fields, "package.json")
    }
}

impl Role {
    /// Every role that can be exported.
    pub const ALL: [Self; 4] =
        [Self::FrontendPlugin, Self::FrontendPluginModule, Self::BackendPlugin, Self::BackendPluginModule];

    /// The role as `package.json` writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FrontendPlugin => "frontend-plugin",
            Self::FrontendPluginModule => "frontend-plugin-module",
            Self::BackendPlugin => "backend-plugin",
            Self::BackendPluginModule => "backend-plugin-module",
        }
    }

    /// True for what runs in the browser.
    #[must_use]
    pub fn is_frontend(self) -> bool {
        matches!(self, Self::FrontendPlugin | Self::FrontendPluginModule)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The bytes of the regular file at `path`, at most 16 MiB.
pub(super) fn read_limited(path: &Path, shown: &str) -> Result<Vec<u8>, Error> {
    let unreadable = |cause: &dyn fmt::Display| Error::Unreadable { path: shown.to_owned(), cause: cause.to_string() };
    // A pipe or device of this name would block the read for ever.
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(&error))?;
    if !metadata.is_file() {
        return Err(unreadable(&"it is not a regular file"));
    }
    let file = std::fs::File::open(path).map_err(|error| unreadable(&error))?;
    let mut text = Vec::with_capacity(usize::try_from(metadata.len().min(MAX_SIZE)).unwrap_or_default());
    file.take(MAX_SIZE + 1).read_to_end(&mut text).map_err(|error| unreadable(&error))?;
    if text.len() as u64 > MAX_SIZE {
        return Err(Error::TooLarge { path: shown.to_owned() });
    }
    Ok(text)
}

/// The JSON object that `text` is; a byte order mark before it is tolerated, as yarn and node tolerate it.
pub(super) fn parse_object(text: &[u8], path: &str) -> Result<Map<String, Value>, Error> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    match serde_json::from_slice(text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(other) => Err(mismatch(path, "", &other, "an object")),
        Err(error) => {
            let cause = error.to_string();
            let cause = cause.rsplit_once(" at line ").map_or(cause.as_str(), |(cause, _)| cause).to_owned();
            Err(Error::NotJson { path: path.to_owned(), line: error.line(), column: error.column(), cause })
        }
    }
}

/// Removes a text from `fields`; `null` is as good as missing.
pub(super) fn take_text(fields: &mut Map<String, Value>, field: &str, path: &str) -> Result<Option<String>, Error> {
    match fields.shift_remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(mismatch(path, field, &other, "a string")),
    }
}

fn mismatch(path: &str, field: &str, found: &Value, expected: &'static str) -> Error {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    Error::WrongType { path: path.to_owned(), field: field.to_owned(), found, expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<PackageJson, Error> {
        PackageJson::parse(text.as_bytes(), "package.json")
    }

    #[test]
    fn fields_are_read_and_the_rest_is_kept() {
        let json = parse(
            r#"{ "name": "@acme/todo", "version": "1.0.0", "backstage": { "role": "backend-plugin", "pluginId": "todo" },
                 "main": 7, "dependencies": { "lodash": "^4", "a": "*" }, "packageManager": "yarn@4.1.0+sha224.ab" }"#,
        )
        .unwrap();
        assert_eq!((json.name.as_deref(), json.version.as_deref()), (Some("@acme/todo"), Some("1.0.0")));
        assert_eq!(json.role(), Ok(Role::BackendPlugin));
        assert_eq!(json.rest.get("main"), Some(&Value::from(7)));
        assert_eq!(json.ranges("dependencies").collect::<Vec<_>>(), [("lodash", "^4"), ("a", "*")]);
        let yarn = json.package_manager().unwrap();
        assert_eq!((yarn.name.as_str(), yarn.version.as_deref()), ("yarn", Some("4.1.0")));
    }

    #[test]
    fn a_byte_order_mark_is_tolerated() {
        assert_eq!(parse("\u{feff}{}"), Ok(PackageJson::default()));
    }

    #[test]
    fn what_is_no_package_json_says_where() {
        let text = |text| parse(text).unwrap_err().to_string();
        assert_eq!(text("{\n  \"name\": }"), "`package.json:2:11` is not valid JSON: expected value");
        assert_eq!(text("[]"), "`package.json` is an array, not an object");
        assert_eq!(text(r#"{"name": 1}"#), "`name` in `package.json` is a number, not a string");
        assert_eq!(text(r#"{"dependencies": []}"#), "`dependencies` in `package.json` is an array, not an object");
        assert_eq!(
            text(r#"{"peerDependencies": {"a": 1}}"#),
            "`peerDependencies.a` in `package.json` is a number, not a string"
        );
        assert!(matches!(parse("\u{0}"), Err(Error::NotJson { line: 1, .. })));
        assert!(matches!(PackageJson::parse(b"{\"name\": \"\xff\"}", "x"), Err(Error::NotJson { .. })));
        assert!(matches!(parse(&"[".repeat(100_000)), Err(Error::NotJson { .. })));
    }

    #[test]
    fn workspaces_have_two_forms() {
        let patterns = |text| parse(text).unwrap().workspaces("package.json");
        assert_eq!(patterns("{}"), Ok(None));
        assert_eq!(patterns(r#"{"workspaces": ["a/*"]}"#), Ok(Some(vec!["a/*".into()])));
        assert_eq!(patterns(r#"{"workspaces": {"packages": ["a/*"]}}"#), Ok(Some(vec!["a/*".into()])));
        assert_eq!(patterns(r#"{"workspaces": {"nohoist": []}}"#), Ok(Some(vec![])));
        assert!(patterns(r#"{"workspaces": "a/*"}"#).is_err());
        assert!(patterns(r#"{"workspaces": [1]}"#).is_err());
    }

    #[test]
    fn only_plugins_have_a_role_to_export() {
        assert_eq!(parse("{}").unwrap().role(), Err(RoleError::Missing));
        let library = parse(r#"{"backstage": {"role": "common-library"}}"#).unwrap();
        assert_eq!(library.role(), Err(RoleError::NotExportable { role: "common-library".into() }));
    }

    #[test]
    fn only_regular_files_of_a_sane_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(PackageJson::read(folder.path()), Err(Error::Unreadable { .. })));
        let file = folder.path().join("package.json");
        assert!(matches!(PackageJson::read(&file), Err(Error::Unreadable { .. })));
        std::fs::File::create(&file).unwrap().set_len(MAX_SIZE + 1).unwrap();
        assert!(matches!(PackageJson::read(&file), Err(Error::TooLarge { .. })));
    }
}
