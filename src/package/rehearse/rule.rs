//! The rules of the rehearsal: their names, how bad it is to break one, for which releases each holds, and the way out.

use serde::{Deserialize, Serialize};

use super::Release;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// It works, and should be known.
    Warn,
    /// The installer fails, or installs something that does not work.
    Error,
}

/// The installers whose rule it is.
enum Scope {
    /// Every release's.
    All,
    /// `install-dynamic-plugins.py`.
    Python,
    /// Those after it.
    Later,
    /// All of releases that load frontends by Scalprum.
    Scalprum,
    /// All of releases that load frontends by module federation only.
    ModuleFederation,
}

macro_rules! rules {
    ($($(#[doc = $doc:literal])+ $name:ident: $severity:ident, $scope:ident, $help:literal;)+) => {
        /// A rule of the programs that install dynamic plugins.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "kebab-case")]
        pub enum Rule {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Rule {
            /// Every rule.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// How bad it is to break it.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self {
                    $(Self::$name => Severity::$severity,)+
                }
            }

            /// What to do where it is broken.
            #[must_use]
            pub fn help(self) -> &'static str {
                match self {
                    $(Self::$name => $help,)+
                }
            }

            fn scope(self) -> Scope {
                match self {
                    $(Self::$name => Scope::$scope,)+
                }
            }
        }
    };
}

rules! {
    /// The manifest is that of one image, not an index.
    ManifestMediaType: Error, All, "push the image's own manifest, not an index of several platforms";
    /// The config is an OCI or Docker image config: skopeo refuses every other.
    ConfigMediaType: Error, All, "use an image config of the media type `application/vnd.oci.image.config.v1+json`";
    /// The config is for linux/amd64, and names the layer's digest.
    ConfigContent: Warn, All, "package the plugin again with `rhdh-pack package`";
    /// There is one layer: the installers look at the first (or the largest) only.
    OneLayer: Error, All, "put all plugins of the image into one layer";
    /// The layer, or archive, is gzip or not compressed.
    Compression: Error, All, "compress it with gzip";
    /// The archive can be read to its end, and ends there.
    Readable: Error, All, "package the plugin again with `rhdh-pack package`";
    /// The whole is at most 1000 times as large as its compressed form: tar 7.5.22 takes more for a bomb.
    CompressionRatio: Error, Later, "leave out files of many equal bytes, by a line in `files` of package.json";
    /// The layer is larger than the image's config: the operator's script takes the largest blob for the layer.
    LayerLargerThanConfig: Error, Later, "shorten the image's labels";
    /// The manifest has the annotation that names its plugins.
    DynamicPackages: Error, All, "package the plugin again with `rhdh-pack package`";
    /// The last part of a single plugin's image name is the plugin's folder: the operator's script looks for that.
    ImageName: Error, Later, "remove the plugin's `image`, or package it again with `rhdh-pack package`";
    /// The operator's script installs images of one plugin only.
    BundleForOperator: Warn, Later, "for an operator that installs plugins itself, publish the plugins one by one, too";
    /// Entries stand in a plugin's folder, and are named plainly: no `./`, no `/` in front, no `..`.
    EntryPath: Error, All, "package the plugin again with `rhdh-pack package`";
    /// There are files and folders only: links are skipped or fail, devices and pipes fail.
    EntryType: Error, All, "replace links by what they point to, and leave out what is neither file nor folder";
    /// No file is over the size that the installer takes.
    EntrySize: Error, All, "split the file, or leave it out by a line in `files` of package.json";
    /// No file sets user or group id on execution, or may be written by everybody.
    EntryMode: Warn, All, "package the plugin again with `rhdh-pack package`";
    /// No file stands for another one that Git LFS never fetched.
    GitLfs: Warn, All, "run `git lfs pull` before the plugin is built; for actions/checkout, set `lfs: true`";
    /// No entry is there twice.
    DuplicateEntry: Error, All, "package the plugin again with `rhdh-pack package`";
    /// No two names differ in case only: one would overwrite the other on macOS and Windows.
    CaseConflict: Warn, All, "rename one of the two, if the plugin is ever tried out on macOS or Windows";
    /// No file has the name of one that the installer writes beside it.
    ReservedName: Error, All, "rename the file";
    /// A plugin's folder is one name, without slash: nested ones are not found by the backend.
    PluginFolder: Error, All, "set `image` of the plugin to one plain name; for an archive, `name` and `version` of its package.json";
    /// No plugin's folder begins with the name of another's: the installer extracts both where one is wanted.
    FolderPrefix: Warn, Python, "set `image` of one of the two plugins to a name that does not begin with the other's";
    /// Every plugin has a `package.json` with name, version, `main` and a role that RHDH loads.
    PackageJson: Error, All, "export the plugin again with `rhdh-pack export`";
    /// A backend's `main` is in the archive.
    MainFile: Error, All, "build the plugin, then export it again with `rhdh-pack export`";
    /// A frontend has the manifest that RHDH's frontend loads it by.
    ScalprumManifest: Error, Scalprum, "export the plugin with an RHDH CLI before 2.1, which makes `dist-scalprum`";
    /// A frontend has the manifest that RHDH's frontend loads it by.
    ModuleFederationManifest: Error, ModuleFederation, "export the plugin with an RHDH CLI that makes `dist/mf-manifest.json`";
    /// What a frontend's manifest names is in the archive.
    ManifestFiles: Error, All, "export the plugin again with `rhdh-pack export`";
    /// A plugin with a config schema has it in the form that RHDH reads.
    ConfigSchema: Warn, All, "export the plugin with the RHDH CLI, which writes `dist/configSchema.json`";
    /// Every package in `node_modules` is one that a dependency leads to.
    UnusedPackages: Warn, All, "remove what is not needed from `dist-dynamic/node_modules`, or export the plugin again";
    /// The archive has the name that npm gives it: the installer names the plugin's folder after it.
    ArchiveName: Warn, All, "name the file as `npm pack` does";
    /// An index has an image for linux/amd64: installers copy that one.
    IndexPlatform: Error, All, "push an image for linux/amd64, or push its manifest alone";
    /// An index has the annotation that names the plugins itself: installers do not look for it in the images.
    IndexAnnotation: Error, All, "annotate the index as well as the image, or push the image's manifest alone";
    /// Node can load a backend's entry points.
    EntryPoints: Error, All, "move what is missing to the plugin's `dependencies`, and export it again";
    /// A backend's entry point exports a backend feature by default.
    BackendFeature: Error, All, "export it in `src/index.ts`: `export { todoPlugin as default } from './plugin';`";
    /// The artifact has the digest that is expected.
    ExpectedDigest: Error, All, "refer to it by the digest that it has, if it is the one that you want";
    /// The archive has the integrity that is expected.
    ExpectedIntegrity: Error, All, "take the archive from its source again, or correct `integrity`";
}

impl Rule {
    /// Its name, as `allow` takes it.
    #[must_use]
    pub fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// The rule with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|rule| rule.name() == name)
    }

    /// Whether the installers of a release have it.
    #[must_use]
    pub fn holds_for(self, release: Release) -> bool {
        match self.scope() {
            Scope::All => true,
            Scope::Python => release.has_python_installer(),
            Scope::Later => !release.has_python_installer(),
            Scope::Scalprum => release.has_scalprum(),
            Scope::ModuleFederation => !release.has_scalprum(),
        }
    }
}
