//! The JSON schema of `rhdh-plugins.toml`, for editors and for the reference in the documentation.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::transform_subschemas;
use serde_json::Value;

use super::format::File;

/// The schema, in the draft that TOML editors know.
#[must_use]
pub fn schema() -> Schema {
    let settings = SchemaSettings::draft07().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = Some("http://json-schema.org/draft-07/schema#".into());
    });
    let mut schema = settings.into_generator().into_root_schema_for::<File>();
    without_null(&mut schema);
    schema
}

/// Every key may be missing, but TOML has no `null` that could stand there.
fn without_null(schema: &mut Schema) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    for list in ["anyOf", "enum"] {
        if let Some(Value::Array(values)) = schema.get_mut(list) {
            values.retain(|value| !value.is_null() && value.get("type").is_none_or(|name| name != "null"));
        }
    }
    // `anyOf` of one schema is that schema.
    if let Some(Value::Array(values)) = schema.get("anyOf")
        && let [Value::Object(only)] = values.as_slice()
    {
        let only = only.clone();
        schema.remove("anyOf");
        for (key, value) in only {
            let object = schema.ensure_object();
            object.entry(key).or_insert(value);
        }
    }
    transform_subschemas(&mut without_null, schema);
}
