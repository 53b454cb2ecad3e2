//! The format of `rhdh-plugins.toml`: every table and key that the file may hold, as it is written. What it means is
//! worked out elsewhere; this is the one description of what may stand where. The JSON schema is made from it, and so
//! is the reference in `docs/configuration.md`: the comments are what users read.

use std::borrow::Cow;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::{Attachment, ExportMode, Occasion, UnknownBase};

/// What rhdh-pack builds from this repository. All paths are relative to the folder of the file, but for the globs of
/// `[inputs]`. Ids are lower-case letters, digits, `.`, `_` and `-`. Only `[plugins.ID]` with its `path` is needed;
/// everything else has a default.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(deny_unknown_fields, title = "rhdh-plugins.toml")]
pub(super) struct File {
    /// The RHDH release that the plugins are for.
    pub(super) rhdh: Option<Rhdh>,
    /// Values for every plugin and bundle that has none of its own. A list of a plugin replaces the list given here;
    /// `labels`, `annotations` and `allow` are merged key by key.
    pub(super) defaults: Option<Defaults>,
    /// What counts as a change.
    pub(super) inputs: Option<Inputs>,
    /// Where artifacts go, by name.
    #[schemars(extend("propertyNames" = { "pattern": "^[a-z0-9][a-z0-9._-]{0,127}$" }))]
    pub(super) registries: Option<IndexMap<String, Registry>>,
    /// The occasions of a run and the tags they write, by name; the first one that fits is chosen.
    #[schemars(extend("propertyNames" = { "pattern": "^[a-z0-9][a-z0-9._-]{0,127}$" }))]
    pub(super) channels: Option<IndexMap<String, Channel>>,
    /// The plugins, by id.
    #[schemars(extend("propertyNames" = { "pattern": "^[a-z0-9][a-z0-9._-]{0,127}$" }))]
    pub(super) plugins: Option<IndexMap<String, Plugin>>,
    /// The bundles, by id.
    #[schemars(extend("propertyNames" = { "pattern": "^[a-z0-9][a-z0-9._-]{0,127}$" }))]
    pub(super) bundles: Option<IndexMap<String, Bundle>>,
}

/// `[rhdh]`: the RHDH release that the plugins are for.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(deny_unknown_fields)]
pub(super) struct Rhdh {
    /// RHDH release, by two numbers: chooses the Backstage version to check against, and the RHDH CLI: that of the
    /// workspace's lock file where it is one of the release (`~x.y.0`), else the one that rhdh-pack knows for it.
    #[schemars(extend("default" = "1.9"), example = "1.9", regex(pattern = "^(0|[1-9][0-9]{0,3})\\.(0|[1-9][0-9]{0,3})$"))]
    pub(super) version: Option<String>,
    /// Exact version of the RHDH CLI; wins over `version`.
    #[schemars(example = "1.9.1")]
    pub(super) cli: Option<String>,
}

/// `[inputs]`: what counts as a change.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(deny_unknown_fields)]
pub(super) struct Inputs {
    /// Globs of files, relative to the root of each workspace, that change every plugin of it. `*` stands for anything but
    /// `/`, `**` for folders; a path without them may be a folder.
    #[schemars(extend("default" = ["tsconfig.json", ".yarnrc.yml", "backstage.json"]))]
    #[schemars(example = ["tsconfig.json", ".yarnrc.yml", "backstage.json", "patches/**"])]
    pub(super) global: Option<Vec<String>>,
    /// Globs of files, relative to the folder of their package, that change nothing; a path without `*` may be a folder.
    #[schemars(extend("default" = ["**/*.md", "**/*.test.*", "dev/**"]))]
    #[schemars(example = ["**/*.md", "**/*.test.*", "dev/**"])]
    pub(super) ignore: Option<Vec<String>>,
    /// Whether the registries are asked what they already hold, so that it is not built again.
    #[schemars(extend("default" = true))]
    #[schemars(example = false)]
    pub(super) memory: Option<bool>,
    /// What to do where the base commit cannot be known: build all plugins, or fail.
    #[schemars(extend("default" = "all"))]
    #[schemars(example = &"fail")]
    pub(super) on_unknown_base: Option<UnknownBase>,
}

/// `[registries.ID]`: a place where artifacts go; exactly one of `oci`, `npm`, `dir`, `github-release` and
/// `gitlab-packages`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(
    deny_unknown_fields,
    extend("oneOf" = [
        { "required": ["oci"] }, { "required": ["npm"] }, { "required": ["dir"] }, { "required": ["github-release"] },
        { "required": ["gitlab-packages"] },
    ]),
    extend("dependencies" = {
        "base-url": ["dir"], "insecure": ["oci"], "allow-public": ["npm"], "tag": ["github-release"],
        "ca": { "not": { "required": ["dir"] } },
    })
)]
pub(super) struct Registry {
    /// An OCI registry and a namespace, without scheme and tag: images go to `quay.io/acme/<image>`.
    #[schemars(
        example = "quay.io/acme",
        example = "ghcr.io/acme/plugins",
        regex(pattern = "^[^/@ ]+(/[a-z0-9._-]+)+$")
    )]
    pub(super) oci: Option<String>,
    /// The URL of an npm registry, without credentials: tgz archives go there. `"publishConfig"`: the registry that
    /// `publishConfig` of each plugin's own `package.json` names.
    #[schemars(
        example = "https://nexus.acme.dev/repository/npm",
        example = &"publishConfig",
        regex(pattern = "^(https?://|publishConfig$)")
    )]
    pub(super) npm: Option<String>,
    /// A folder: tgz archives, their `.integrity` files and the listing `plugins.json` are written there.
    #[schemars(example = "public/plugins")]
    pub(super) dir: Option<String>,
    /// A repository on GitHub: tgz archives become assets of one of its releases, which is made where it is missing.
    #[schemars(example = "acme/plugins", regex(pattern = "^[^/@: ]+/[^/@: ]+$"))]
    pub(super) github_release: Option<String>,
    /// A project on GitLab: tgz archives become generic packages of it.
    #[schemars(example = "acme/plugins", regex(pattern = "^[0-9]+$|^[^/@: ]+(/[^/@: ]+)+$"))]
    pub(super) gitlab_packages: Option<String>,
    /// With `dir`: the URL where the folder's files can be downloaded.
    #[schemars(example = "https://plugins.acme.dev", regex(pattern = "^https?://"))]
    pub(super) base_url: Option<String>,
    /// With `oci`: plain HTTP, and no questions about certificates. For a registry on this machine that goes without
    /// saying.
    #[schemars(extend("default" = false))]
    #[schemars(example = true)]
    pub(super) insecure: Option<bool>,
    /// A PEM file with the certificate authority of the registry, which is then trusted beside those of the machine. A
    /// file outside of the repository is named by the variable `RHDH_PACK_<REGISTRY>_CA`, which wins.
    #[schemars(example = "certs/acme.pem")]
    pub(super) ca: Option<String>,
    /// With `npm`: whether that may be the public npm registry. RHDH's documentation says to keep dynamic plugins off it.
    #[schemars(extend("default" = false))]
    #[schemars(example = true)]
    pub(super) allow_public: Option<bool>,
    /// With `github-release`: the template of the release's tag, with the variables of a channel's `tags`; by default
    /// the git tag that the run is for.
    #[schemars(example = "plugins-{version}")]
    pub(super) tag: Option<String>,
}

/// `[channels.ID]`: an occasion, the tags it writes, and whether they may be overwritten. The first channel whose `on`
/// fits is chosen, unless `--channel` names one. Outside a CI it is `local`, which writes to folders only, unless
/// there is a `[channels.local]`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(deny_unknown_fields)]
pub(super) struct Channel {
    /// The occasions that choose this channel, one or a list of them; without any, only `--channel` chooses it.
    #[schemars(example = "pull-request", example = serde_json::json!([{ "branch": "main" }, "schedule"]))]
    pub(super) on: Option<OneOrMany<Occasion>>,
    /// Templates of the tags to write. Variables: `{name}` `{version}` `{backstage}` `{rhdh}` `{pr}` `{branch}` `{sha}`
    /// `{short-sha}` `{date}`. What may not stand in a tag is replaced: `+` by `_`, `/` and the rest by `-`.
    #[schemars(example = ["{version}"], example = ["pr_{pr}__{version}"], example = ["next__{version}", "next"])]
    pub(super) tags: Option<Vec<String>>,
    /// Whether a tag that exists with another content may be moved. Otherwise that is an error.
    #[schemars(extend("default" = false))]
    #[schemars(example = true)]
    pub(super) overwrite: Option<bool>,
    /// Ids of the registries where this channel's artifacts go, instead of their own.
    #[schemars(example = ["quay-pr"])]
    pub(super) registries: Option<Vec<String>>,
    /// The channels whose images `rhdh-pack promote` may bring here, under this channel's tags. What they hold must be
    /// trusted as much as this channel is.
    #[schemars(example = ["next"])]
    pub(super) promote_from: Option<Vec<String>>,
    /// What is attached to each image in its registry: `"sbom"`, a CycloneDX document of all packages in it;
    /// `"provenance"`, a SLSA statement of what it was built from and by whom. By default both where `overwrite` is
    /// false, which is where releases are, and in channels that another promotes from; none elsewhere.
    #[schemars(example = ["sbom", "provenance"])]
    pub(super) attach: Option<Vec<Attachment>>,
    /// Whether `cosign`, which must be installed, signs each image.
    #[schemars(extend("default" = false))]
    #[schemars(example = true)]
    pub(super) sign: Option<bool>,
}

/// `[plugins.ID]`: a Backstage plugin of the repository.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(deny_unknown_fields)]
pub(super) struct Plugin {
    /// The plugin's folder: the one with its `package.json`.
    #[schemars(required, example = "plugins/todo")]
    pub(super) path: Option<String>,
    /// The image's name, and the plugin's folder in it. By default it is made from the package's name:
    /// `@acme/plugin-todo` is `acme-plugin-todo`.
    #[schemars(example = &"todo", regex(pattern = "^[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*$"))]
    pub(super) image: Option<String>,
    /// Who makes `dist-dynamic`: the RHDH CLI, or your own build before rhdh-pack runs.
    #[schemars(extend("default" = "cli"))]
    #[schemars(example = &"prebuilt")]
    pub(super) export: Option<ExportMode>,
    /// Ids of the registries where the artifacts go: images to OCI registries, tgz archives to npm registries and
    /// folders. With none, both stay in the output folder.
    #[schemars(example = ["quay"])]
    pub(super) registries: Option<Vec<String>>,
    /// The file for the RHDH CLI's `--scalprum-config`: the name and the entry points of a frontend.
    #[schemars(example = "plugins/todo/scalprum.json")]
    pub(super) scalprum_config: Option<String>,
    /// The YAML file that goes into the generated `dynamic-plugins.yaml` as `pluginConfig`.
    #[schemars(example = "plugins/todo/app-config.dynamic.yaml")]
    pub(super) app_config: Option<String>,
    /// The RHDH CLI's `--embed-package`: packages whose code becomes part of the plugin. Packages of the workspace
    /// that are named after the plugin (`-common`, `-node`) need not be listed.
    #[schemars(example = ["@acme/todo-utils"])]
    pub(super) embed_packages: Option<Vec<String>>,
    /// The RHDH CLI's `--shared-package`: packages (names, or `/regular expressions/`) that RHDH provides, beside
    /// `@backstage/*`; with `!` in front, packages that it does not provide.
    #[schemars(example = ["!@backstage/plugin-notifications-backend"])]
    pub(super) shared_packages: Option<Vec<String>>,
    /// The RHDH CLI's `--suppress-native-package`: native packages to replace by empty ones, where the plugin works
    /// without them.
    #[schemars(example = ["cpu-features"])]
    pub(super) suppress_native_packages: Option<Vec<String>>,
    /// The RHDH CLI's `--allow-native-package`: native packages to ship as they were built on this machine.
    #[schemars(example = ["better-sqlite3"])]
    pub(super) allow_native_packages: Option<Vec<String>>,
    /// The RHDH CLI's `--ignore-version-check`: packages that may be there in versions that do not fit together.
    #[schemars(example = ["luxon"])]
    pub(super) ignore_version_check: Option<Vec<String>>,
    /// Arguments for the RHDH CLI's `plugin export`, passed through untouched: its flags change between releases.
    #[schemars(example = ["--minify"])]
    pub(super) export_args: Option<Vec<String>>,
    /// Labels of the image.
    #[schemars(example = serde_json::json!({ "quay.expires-after": "4w" }))]
    pub(super) labels: Option<IndexMap<String, String>>,
    /// Annotations of the image.
    #[schemars(example = serde_json::json!({ "com.acme.team": "portal" }))]
    pub(super) annotations: Option<IndexMap<String, String>>,
    /// Rules of RHDH's installers that may be broken, each with the reason. `rhdh-pack explain CODE` says what each rule
    /// means.
    #[schemars(example = serde_json::json!({ "unused-packages": "loaded by name at run time" }))]
    pub(super) allow: Option<IndexMap<String, String>>,
    /// How much the archives are compressed: 1 (fast) to 9 (small). Part of the content: another level, other digests.
    #[schemars(extend("default" = 9), range(min = 1, max = 9))]
    #[schemars(example = 6)]
    pub(super) compression_level: Option<u8>,
    /// `artifactType` of the image's manifest, a media type. None by default: some registries refuse it.
    #[schemars(example = "application/vnd.acme.dynamic-plugin.v1")]
    pub(super) artifact_type: Option<String>,
}

/// `[defaults]`: the keys of a plugin or bundle that can be the same for all of them.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(deny_unknown_fields)]
pub(super) struct Defaults {
    /// Who makes `dist-dynamic`: the RHDH CLI, or your own build before rhdh-pack runs.
    #[schemars(extend("default" = "cli"))]
    #[schemars(example = &"prebuilt")]
    pub(super) export: Option<ExportMode>,
    /// Ids of the registries where the artifacts go: images to OCI registries, tgz archives to npm registries and
    /// folders. With none, both stay in the output folder.
    #[schemars(example = ["quay"])]
    pub(super) registries: Option<Vec<String>>,
    /// The file for the RHDH CLI's `--scalprum-config`: the name and the entry points of a frontend.
    #[schemars(example = "plugins/todo/scalprum.json")]
    pub(super) scalprum_config: Option<String>,
    /// The YAML file that goes into the generated `dynamic-plugins.yaml` as `pluginConfig`.
    #[schemars(example = "plugins/todo/app-config.dynamic.yaml")]
    pub(super) app_config: Option<String>,
    /// The RHDH CLI's `--embed-package`: packages whose code becomes part of the plugin. Packages of the workspace
    /// that are named after the plugin (`-common`, `-node`) need not be listed.
    #[schemars(example = ["@acme/todo-utils"])]
    pub(super) embed_packages: Option<Vec<String>>,
    /// The RHDH CLI's `--shared-package`: packages (names, or `/regular expressions/`) that RHDH provides, beside
    /// `@backstage/*`; with `!` in front, packages that it does not provide.
    #[schemars(example = ["!@backstage/plugin-notifications-backend"])]
    pub(super) shared_packages: Option<Vec<String>>,
    /// The RHDH CLI's `--suppress-native-package`: native packages to replace by empty ones, where the plugin works
    /// without them.
    #[schemars(example = ["cpu-features"])]
    pub(super) suppress_native_packages: Option<Vec<String>>,
    /// The RHDH CLI's `--allow-native-package`: native packages to ship as they were built on this machine.
    #[schemars(example = ["better-sqlite3"])]
    pub(super) allow_native_packages: Option<Vec<String>>,
    /// The RHDH CLI's `--ignore-version-check`: packages that may be there in versions that do not fit together.
    #[schemars(example = ["luxon"])]
    pub(super) ignore_version_check: Option<Vec<String>>,
    /// Arguments for the RHDH CLI's `plugin export`, passed through untouched: its flags change between releases.
    #[schemars(example = ["--minify"])]
    pub(super) export_args: Option<Vec<String>>,
    /// Labels of every image; those of a plugin or bundle are added to them.
    #[schemars(example = serde_json::json!({ "quay.expires-after": "4w" }))]
    pub(super) labels: Option<IndexMap<String, String>>,
    /// Annotations of every image; those of a plugin or bundle are added to them.
    #[schemars(example = serde_json::json!({ "com.acme.team": "portal" }))]
    pub(super) annotations: Option<IndexMap<String, String>>,
    /// Rules of RHDH's installers that may be broken, each with the reason; those of a plugin or bundle are added to
    /// them. `rhdh-pack explain CODE` says what each rule means.
    #[schemars(example = serde_json::json!({ "unused-packages": "loaded by name at run time" }))]
    pub(super) allow: Option<IndexMap<String, String>>,
    /// How much the archives are compressed: 1 (fast) to 9 (small). Part of the content: another level, other digests.
    #[schemars(extend("default" = 9), range(min = 1, max = 9))]
    #[schemars(example = 6)]
    pub(super) compression_level: Option<u8>,
    /// `artifactType` of the image's manifest, a media type. None by default: some registries refuse it.
    #[schemars(example = "application/vnd.acme.dynamic-plugin.v1")]
    pub(super) artifact_type: Option<String>,
}

/// Keys of a plugin or bundle that no two of them can share.
pub(super) const NEVER_DEFAULT: [&str; 4] = ["path", "image", "plugins", "version"];

/// `[bundles.ID]`: several plugins in one OCI image.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(deny_unknown_fields)]
pub(super) struct Bundle {
    /// Ids of the plugins that the image holds.
    #[schemars(required, example = ["todo", "todo-backend"])]
    pub(super) plugins: Option<Vec<String>>,
    /// The image's name; by default the bundle's id.
    #[schemars(example = "todo-bundle", regex(pattern = "^[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*$"))]
    pub(super) image: Option<String>,
    /// The image's version, a literal or that of a plugin; by default the version that all its plugins have.
    #[schemars(example = "{todo.version}")]
    pub(super) version: Option<String>,
    /// Ids of the registries where the image goes.
    #[schemars(example = ["quay"])]
    pub(super) registries: Option<Vec<String>>,
    /// Labels of the image.
    #[schemars(example = serde_json::json!({ "quay.expires-after": "4w" }))]
    pub(super) labels: Option<IndexMap<String, String>>,
    /// Annotations of the image.
    #[schemars(example = serde_json::json!({ "com.acme.team": "portal" }))]
    pub(super) annotations: Option<IndexMap<String, String>>,
    /// Rules of RHDH's installers that may be broken, each with the reason. `rhdh-pack explain CODE` says what each rule
    /// means.
    #[schemars(example = serde_json::json!({ "unused-packages": "loaded by name at run time" }))]
    pub(super) allow: Option<IndexMap<String, String>>,
    /// How much the archives are compressed: 1 (fast) to 9 (small). Part of the content: another level, other digests.
    #[schemars(extend("default" = 9), range(min = 1, max = 9))]
    #[schemars(example = 6)]
    pub(super) compression_level: Option<u8>,
    /// `artifactType` of the image's manifest, a media type. None by default: some registries refuse it.
    #[schemars(example = "application/vnd.acme.dynamic-plugin.v1")]
    pub(super) artifact_type: Option<String>,
}

/// A list, which may be written as its only value. The decoder knows it by its name.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct OneOrMany<T>(pub(super) Vec<T>);

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

impl From<Defaults> for Plugin {
    fn from(defaults: Defaults) -> Self {
        let Defaults { export, registries, scalprum_config, app_config, .. } = defaults;
        Self {
            path: None,
            image: None,
            export,
            registries,
            scalprum_config,
            app_config,
            embed_packages: defaults.embed_packages,
            shared_packages: defaults.shared_packages,
            suppress_native_packages: defaults.suppress_native_packages,
            allow_native_packages: defaults.allow_native_packages,
            ignore_version_check: defaults.ignore_version_check,
            export_args: defaults.export_args,
            labels: defaults.labels,
            annotations: defaults.annotations,
            allow: defaults.allow,
            compression_level: defaults.compression_level,
            artifact_type: defaults.artifact_type,
        }
    }
}
