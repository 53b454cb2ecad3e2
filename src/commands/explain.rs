//! `rhdh-pack explain`: the longer text of a code or rule.

use super::Error;
use super::verify::print;
use crate::explain;

/// Prints the text of `code`, or all codes.
pub(super) fn command(code: Option<&str>) -> Result<u8, Error> {
    let text = match code {
        Some(code) => format!("{code}\n\n{}\n", explain::explain(code)?),
        None => explain::all().map(|(code, _)| format!("{code}\n")).collect(),
    };
    print(&text)?;
    Ok(0)
}
