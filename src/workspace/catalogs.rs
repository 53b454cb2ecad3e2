//! Catalogs: ranges that the packages of a workspace share by name. yarn 4.10 and later read them from `.yarnrc.yml`, and
//! lock a dependency on `catalog:` or `catalog:NAME` under the range that stands there.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use super::package_json::read_limited;

/// The catalogs of one workspace.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Catalogs {
    /// What `catalog:` means: ranges, by the names of packages.
    catalog: HashMap<String, String>,
    /// What `catalog:NAME` means.
    catalogs: HashMap<String, HashMap<String, String>>,
}

impl Catalogs {
    /// Those of the workspace whose root is `folder`; none where there is no such file, or one that is not understood.
    pub(super) fn of(folder: &Path) -> Self {
        let text = read_limited(&folder.join(".yarnrc.yml"), ".yarnrc.yml").ok();
        text.and_then(|text| serde_yaml::from_slice(&text).ok()).unwrap_or_default()
    }

    /// The range of a dependency on `name`, which `package.json` has with `range`.
    pub(super) fn range<'a>(&'a self, name: &str, range: &'a str) -> &'a str {
        let catalog = match range.strip_prefix("catalog:") {
            Some("") => Some(&self.catalog),
            Some(catalog) => self.catalogs.get(catalog),
            None => None,
        };
        catalog.and_then(|catalog| catalog.get(name)).map_or(range, String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_stand_in_the_file_of_yarn() {
        let folder = tempfile::tempdir().unwrap();
        let range = |name, range| Catalogs::of(folder.path()).range(name, range).to_owned();
        assert_eq!(range("react", "catalog:"), "catalog:", "there is no file");
        let text = "nodeLinker: node-modules\ncatalog:\n  react: ^18.3.1\ncatalogs:\n  old:\n    react: npm:^17.0.0\n";
        fs_err::write(folder.path().join(".yarnrc.yml"), text).unwrap();
        assert_eq!(range("react", "catalog:"), "^18.3.1");
        assert_eq!(range("react", "catalog:old"), "npm:^17.0.0");
        assert_eq!(range("react", "^16.0.0"), "^16.0.0");
        for (name, unknown) in [("react", "catalog:new"), ("vue", "catalog:"), ("vue", "catalog:old")] {
            assert_eq!(range(name, unknown), unknown);
        }
        fs_err::write(folder.path().join(".yarnrc.yml"), "catalog: [").unwrap();
        assert_eq!(range("react", "catalog:"), "catalog:", "it is no YAML");
    }
}
