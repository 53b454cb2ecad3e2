//! Licences as `package.json` names them come in; licences as CycloneDX wants them go out: an SPDX identifier, an SPDX
//! expression, or the name as it stands where it is neither.

use serde::Serialize;
use serde_json::Value;
use spdx::Expression;

use crate::package::inventory::PackageFacts;

/// Identifiers of newer SPDX lists than the one in the schema of CycloneDX 1.6: they are written as expressions. A test
/// compares both lists.
pub(super) const NEWER: [&str; 19] = [
    "BSD-2-Clause-pos-unchanged",
    "BSD-3-Clause-OpenWebUI",
    "BSD-Source-Code-no-disclaimer",
    "BSD-Source-alt-GPL",
    "BSD-ask-to-endorse",
    "Brian-Gladman-3-Clause-no-conversion",
    "Bugroff",
    "CC-BY-NC-3.0-IGO",
    "FDK-MPEG-H",
    "GFDL-1.1-invariants",
    "GFDL-1.1-no-invariants",
    "GFDL-1.2-invariants",
    "GFDL-1.2-no-invariants",
    "GFDL-1.3-invariants",
    "GFDL-1.3-no-invariants",
    "Hippocratic-3.0-core",
    "Informatica",
    "MVT-1.1",
    "atc-game",
];

/// A word of SPDX that says that nothing is said.
const NO_ASSERTION: &str = "NOASSERTION";

/// One of a component's `licenses`. An expression always stands alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Choice {
    /// A valid SPDX expression.
    Expression(String),
    License(License),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct License {
    /// An SPDX identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

/// The licences of a package. npm: `license` is an SPDX expression; before npm 2 it was an object or a list `licenses`.
pub(super) fn licenses(facts: &PackageFacts) -> Vec<Choice> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Object(fields) => fields.get("type").and_then(Value::as_str).map(|text| text.trim().to_owned()),
        _ => None,
    };
    let listed = |value: &Value| -> Vec<String> { value.as_array().into_iter().flatten().filter_map(text).collect() };
    let mut names: Vec<String> = text(&facts.license).into_iter().chain(listed(&facts.license)).collect();
    if names.is_empty() {
        names = text(&facts.licenses).into_iter().chain(listed(&facts.licenses)).collect();
    }
    names.retain(|name| !name.is_empty());
    match names.as_slice() {
        [] => Vec::new(),
        [only] => vec![choice(only)],
        // Of old, several licences were there to choose from.
        several if several.iter().all(|name| is_identifier(name)) => {
            vec![Choice::Expression(several.join(" OR "))]
        }
        several => {
            several.iter().map(|name| if is_identifier(name) { identifier(name) } else { named(name) }).collect()
        }
    }
}

fn choice(text: &str) -> Choice {
    // In parentheses, one identifier is still one.
    let inner = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')).map_or(text, str::trim);
    if is_identifier(inner) {
        identifier(inner)
    } else if inner != NO_ASSERTION && Expression::parse(text).is_ok() {
        Choice::Expression(text.to_owned())
    } else {
        named(text)
    }
}

fn is_identifier(text: &str) -> bool {
    // `license_id` looks past a `+`.
    let is_known = spdx::license_id(text).is_some_and(|id| id.name == text);
    is_known && text != NO_ASSERTION && !NEWER.contains(&text)
}

fn identifier(text: &str) -> Choice {
    Choice::License(License { id: Some(text.to_owned()), name: None })
}

fn named(text: &str) -> Choice {
    Choice::License(License { id: None, name: Some(text.to_owned()) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn identifiers_expressions_and_names_are_told_apart() {
        let id = |text: &str| json!([{ "license": { "id": text } }]);
        let expression = |text: &str| json!([{ "expression": text }]);
        let name = |text: &str| json!([{ "license": { "name": text } }]);
        for (manifest, expected) in [
            (json!({"license": "MIT"}), id("MIT")),
            (json!({"license": "(MIT)"}), id("MIT")),
            (json!({"license": "GPL-2.0-or-later"}), id("GPL-2.0-or-later")),
            (json!({"license": "MPL-1.1+"}), expression("MPL-1.1+")),
            (json!({"license": "Bugroff"}), expression("Bugroff")),
            (json!({"license": {"type": "ISC", "url": "https://x"}}), id("ISC")),
            (json!({"license": "(MIT OR Apache-2.0)"}), expression("(MIT OR Apache-2.0)")),
            (
                json!({"license": "GPL-2.0-only WITH Classpath-exception-2.0"}),
                expression("GPL-2.0-only WITH Classpath-exception-2.0"),
            ),
            (json!({"licenses": [{"type": "MIT"}, {"type": "Apache-2.0"}]}), expression("MIT OR Apache-2.0")),
            (json!({"license": "mit"}), name("mit")),
            (json!({"license": "Apache 2"}), name("Apache 2")),
            (json!({"license": "SEE LICENSE IN LICENSE.txt"}), name("SEE LICENSE IN LICENSE.txt")),
            (json!({"license": "UNLICENSED"}), name("UNLICENSED")),
            (json!({"license": "NOASSERTION"}), name("NOASSERTION")),
            (json!({"license": "MIT OR"}), name("MIT OR")),
            (
                json!({"licenses": ["MIT", "my own"]}),
                json!([{ "license": { "id": "MIT" } }, { "license": { "name": "my own" } }]),
            ),
            (json!({"license": 7}), json!([])),
            (json!({"license": ""}), json!([])),
            (json!({}), json!([])),
        ] {
            let facts: PackageFacts = serde_json::from_value(manifest.clone()).unwrap();
            assert_eq!(json!(licenses(&facts)), expected, "{manifest}");
        }
    }
}
