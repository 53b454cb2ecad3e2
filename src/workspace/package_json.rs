//! `package.json`, as far as rhdh-pack reads it.

use serde::Deserialize;
use serde_json::Map;

/// A `package.json`: the fields with a meaning here, typed; all others kept as they are.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PackageJson {
    /// `name`; `None` is legal only for a workspace root.
    pub name: Option<String>,
    /// `version`.
    pub version: Option<String>,
    /// `backstage`.
    pub backstage: Backstage,
    /// Everything else.
    #[serde(flatten)]
    pub rest: Map<String, serde_json::Value>,
}

/// The `backstage` field of a `package.json`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Backstage {
    /// `backstage.role`, as it is written.
    pub role: Option<String>,
    /// `backstage.pluginId`.
    pub plugin_id: Option<String>,
}

/// The roles that RHDH can load, hence the RHDH CLI can export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
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
