//! The format of `rhdh-plugins.toml`: every table and key that the file may hold, as it is written. What it means is
//! worked out elsewhere; this is the one description of what may stand where.

use indexmap::IndexMap;
use serde::Deserialize;

use super::{ExportMode, Occasion, UnknownBase};

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct File {
    /// The RHDH release that the plugins are for.
    pub(super) rhdh: Option<Rhdh>,
    /// Values for every plugin and bundle that has none of its own.
    pub(super) defaults: Option<Defaults>,
    /// What counts as a change.
    pub(super) inputs: Option<Inputs>,
    /// Where artifacts go, by name.
    pub(super) registries: Option<IndexMap<String, Registry>>,
    /// The occasions of a run and the tags they write, by name; the first one that fits is chosen.
    pub(super) channels: Option<IndexMap<String, Channel>>,
    /// The plugins, by id.
    pub(super) plugins: Option<IndexMap<String, Plugin>>,
    /// The bundles, by id.
    pub(super) bundles: Option<IndexMap<String, Bundle>>,
}

/// `[rhdh]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Rhdh {
    /// RHDH release, such as `1.9`: chooses the RHDH CLI and the Backstage version to check against.
    pub(super) version: Option<String>,
    /// Exact version of the RHDH CLI, such as `1.9.1`; wins over `version`.
    pub(super) cli: Option<String>,
}

/// `[inputs]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Inputs {
    /// Globs of files that change every plugin of their workspace.
    pub(super) global: Option<Vec<String>>,
    /// Globs of files that change nothing.
    pub(super) ignore: Option<Vec<String>>,
    /// Whether the registries are asked what they already hold; true by default.
    pub(super) memory: Option<bool>,
    /// What to do where the base commit cannot be known; "all" by default.
    pub(super) on_unknown_base: Option<UnknownBase>,
}

/// `[registries.NAME]`: exactly one of `oci`, `npm` and `dir`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Registry {
    /// An OCI registry and namespace, such as `quay.io/acme`: images go to `quay.io/acme/<image>`.
    pub(super) oci: Option<String>,
    /// The URL of an npm registry: tgz archives go there.
    pub(super) npm: Option<String>,
    /// A folder: tgz archives and their `.integrity` files go there.
    pub(super) dir: Option<String>,
    /// With `dir`: the URL where the folder's files can be downloaded.
    pub(super) base_url: Option<String>,
    /// With `oci`: plain HTTP, and no questions about certificates, also where the host is not loopback.
    pub(super) insecure: Option<bool>,
}

/// `[channels.NAME]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Channel {
    /// The occasions that choose this channel; none for one that only `--channel` chooses.
    pub(super) on: Option<OneOrMany<Occasion>>,
    /// Templates of the tags to write.
    pub(super) tags: Option<Vec<String>>,
    /// Whether a tag that exists with another content may be moved; false by default.
    pub(super) overwrite: Option<bool>,
    /// Where this channel's artifacts go, instead of their own registries.
    pub(super) registries: Option<Vec<String>>,
}

/// `[plugins.ID]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Plugin {
    /// The plugin's folder, which holds its `package.json`.
    pub(super) path: Option<String>,
    /// The image's name; by default the package's name without `@`, with `-` for `/`.
    pub(super) image: Option<String>,
    /// Who makes `dist-dynamic`: "cli" (by default, the RHDH CLI) or "prebuilt" (the user's own build).
    pub(super) export: Option<ExportMode>,
    /// Names of the registries where the artifacts go.
    pub(super) registries: Option<Vec<String>>,
    /// The file for the RHDH CLI's `--scalprum-config`.
    pub(super) scalprum_config: Option<String>,
    /// The file that goes into the generated `dynamic-plugins.yaml` as `pluginConfig`.
    pub(super) app_config: Option<String>,
    /// The RHDH CLI's `--embed-package`.
    pub(super) embed_packages: Option<Vec<String>>,
    /// The RHDH CLI's `--shared-package`.
    pub(super) shared_packages: Option<Vec<String>>,
    /// The RHDH CLI's `--suppress-native-package`.
    pub(super) suppress_native_packages: Option<Vec<String>>,
    /// The RHDH CLI's `--allow-native-package`.
    pub(super) allow_native_packages: Option<Vec<String>>,
    /// The RHDH CLI's `--ignore-version-check`.
    pub(super) ignore_version_check: Option<Vec<String>>,
    /// Arguments for the RHDH CLI's `plugin export`, passed through untouched.
    pub(super) export_args: Option<Vec<String>>,
    /// Labels of the image.
    pub(super) labels: Option<IndexMap<String, String>>,
    /// Annotations of the image.
    pub(super) annotations: Option<IndexMap<String, String>>,
}

/// `[defaults]`: the keys of a plugin or bundle that can be the same for all of them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Defaults {
    /// Who makes `dist-dynamic`: "cli" (by default, the RHDH CLI) or "prebuilt" (the user's own build).
    pub(super) export: Option<ExportMode>,
    /// Names of the registries where the artifacts go.
    pub(super) registries: Option<Vec<String>>,
    /// The file for the RHDH CLI's `--scalprum-config`.
    pub(super) scalprum_config: Option<String>,
    /// The file that goes into the generated `dynamic-plugins.yaml` as `pluginConfig`.
    pub(super) app_config: Option<String>,
    /// The RHDH CLI's `--embed-package`.
    pub(super) embed_packages: Option<Vec<String>>,
    /// The RHDH CLI's `--shared-package`.
    pub(super) shared_packages: Option<Vec<String>>,
    /// The RHDH CLI's `--suppress-native-package`.
    pub(super) suppress_native_packages: Option<Vec<String>>,
    /// The RHDH CLI's `--allow-native-package`.
    pub(super) allow_native_packages: Option<Vec<String>>,
    /// The RHDH CLI's `--ignore-version-check`.
    pub(super) ignore_version_check: Option<Vec<String>>,
    /// Arguments for the RHDH CLI's `plugin export`, passed through untouched.
    pub(super) export_args: Option<Vec<String>>,
    /// Labels of every image; those of a plugin or bundle are added to them.
    pub(super) labels: Option<IndexMap<String, String>>,
    /// Annotations of every image; those of a plugin or bundle are added to them.
    pub(super) annotations: Option<IndexMap<String, String>>,
}

/// Keys of a plugin or bundle that no two of them can share.
pub(super) const NEVER_DEFAULT: [&str; 4] = ["path", "image", "plugins", "version"];

/// `[bundles.ID]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Bundle {
    /// Ids of the plugins that the image holds.
    pub(super) plugins: Option<Vec<String>>,
    /// The image's name; by default the bundle's id.
    pub(super) image: Option<String>,
    /// The image's version, a literal or one of a plugin, as in `{todo.version}`; by default the version that all
    /// its plugins have.
    pub(super) version: Option<String>,
    /// Names of the registries where the image goes.
    pub(super) registries: Option<Vec<String>>,
    /// Labels of the image.
    pub(super) labels: Option<IndexMap<String, String>>,
    /// Annotations of the image.
    pub(super) annotations: Option<IndexMap<String, String>>,
}

/// A list, which may be written as its only value. The decoder knows it by its name.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct OneOrMany<T>(pub(super) Vec<T>);

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
        }
    }
}
