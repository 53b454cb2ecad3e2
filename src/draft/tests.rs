//! Drafts of small repositories.

use super::*;
use crate::workspace::Role::{BackendPlugin, BackendPluginModule, FrontendPlugin};

fn found(path: &str, package: &str, version: &str, role: Role, plugin_id: Option<&str>) -> FoundPlugin {
    FoundPlugin {
        path: RepoPath::new(path).unwrap(),
        workspace: RepoPath::new(".").unwrap(),
        package: package.to_owned(),
        version: version.to_owned(),
        role,
        plugin_id: plugin_id.map(str::to_owned),
        app_config: None,
        scalprum_config: None,
    }
}

/// The ids and images of plugins, and the bundles made of them.
fn draft(plugins: &[FoundPlugin]) -> (Vec<String>, Vec<String>) {
    let (mut draft, mut images) = (Draft::default(), IndexMap::new());
    let plugins: Vec<_> = plugins.iter().map(|found| (draft.add(found, &mut images), found.clone())).collect();
    let named =
        draft.plugins.iter().map(|(id, plugin)| format!("{id} {}", plugin.texts.get("image").map_or("", |it| it)));
    let bundled = bundles(&plugins, &images)
        .into_iter()
        .map(|(id, bundle)| format!("{id} {:?} {} {:?}", bundle.image, bundle.plugins.join("+"), bundle.version_of));
    (named.collect(), bundled.collect())
}

#[test]
fn ids_and_images_are_unique() {
    let (names, _) = draft(&[
        found("workspaces/a/plugins/todo", "@a/plugin-todo", "1.0.0", FrontendPlugin, None),
        found("workspaces/b/plugins/todo", "@b/plugin-todo", "1.0.0", FrontendPlugin, None),
        found("workspaces/c/plugins/todo", "@b/plugin-todo", "1.0.0", FrontendPlugin, None),
        found("plugins/Odd Name", "@A/Odd..name", "1.0.0", FrontendPlugin, None),
        found(".", "todo-root", "1.0.0", BackendPlugin, None),
    ]);
    assert_eq!(
        names,
        ["todo ", "b-plugin-todo ", "b-plugin-todo-2 b-plugin-todo-2", "odd-name a-odd.name", "todo-root "]
    );
}

#[test]
fn bundles_have_a_plugin_and_what_belongs_to_it() {
    let (_, bundles) = draft(&[
        found("p/todo-backend", "@a/todo-backend", "1.0.0", BackendPlugin, Some("todo")),
        found("p/todo-backend-module-x", "@a/todo-backend-module-x", "2.0.0", BackendPluginModule, Some("todo")),
        found("p/todo-ui", "todo", "1.0.0", FrontendPlugin, Some("todo")),
        found("p/catalog-backend-module-a", "@a/catalog-a", "1.0.0", BackendPluginModule, Some("catalog")),
        found("p/catalog-backend-module-b", "@a/catalog-b", "1.0.0", BackendPluginModule, Some("catalog")),
        found("p/alone", "@a/alone", "1.0.0", FrontendPlugin, Some("alone")),
        found("p/none", "@a/none", "1.0.0", FrontendPlugin, None),
    ]);
    assert_eq!(bundles, [r#"todo Some("todo-bundle") todo-ui+todo-backend+todo-backend-module-x Some("todo-ui")"#]);
}
