//! `rhdh-pack schema`: the JSON schemas of the configuration and of the documents, on stdout.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};

use super::{Error, SchemaOf};
use crate::plan::Plan;
use crate::report::RunResult;
use crate::{config, document};

/// Prints the schema.
pub(super) fn command(of: SchemaOf) -> Result<u8, Error> {
    let schema = match of {
        SchemaOf::Config => config::schema(),
        SchemaOf::Plan => document_schema::<Plan>("plan.json"),
        SchemaOf::Result => document_schema::<RunResult>("result.json"),
    };
    let mut text =
        serde_json::to_string_pretty(&schema).map_err(|error| document::Error::from(std::io::Error::from(error)))?;
    text.push('\n');
    document::print(text.as_bytes())?;
    Ok(0)
}

/// The schema of a document as this version writes it. Later versions may add fields, so others are allowed.
fn document_schema<T: JsonSchema>(title: &str) -> Schema {
    let mut schema = SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>();
    schema.insert("title".to_owned(), title.into());
    schema
}
