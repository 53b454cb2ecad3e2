//! The files that GitHub Actions gives a step: for its outputs and its part of the job summary; and what an error
//! points at, for annotations.

use std::io::Write as _;
use std::path::Path;

use miette::Diagnostic;

use super::outputs::Output;
use crate::ci::log::Place;
use crate::ui::with_causes;

/// Adds `outputs` to the file that `GITHUB_OUTPUT` names. The delimiter of each value is random, and no part of it:
/// a value cannot end itself and begin an output of its own.
///
/// # Errors
/// When the file cannot be written.
pub fn write_outputs(file: &Path, outputs: &[Output]) -> std::io::Result<()> {
    let mut text = String::new();
    for Output { name, value } in outputs {
        let delimiter = loop {
            let delimiter = format!("rhdh_pack_{:032x}", fastrand::u128(..));
            if !value.contains(&delimiter) {
                break delimiter;
            }
        };
        text.push_str(&format!("{name}<<{delimiter}\n{value}\n{delimiter}\n"));
    }
    append(file, &text)
}

/// Adds `text` to the file that `GITHUB_STEP_SUMMARY` names.
///
/// # Errors
/// When the file cannot be written.
pub fn write_summary(file: &Path, text: &str) -> std::io::Result<()> {
    append(file, &format!("{text}\n"))
}

fn append(file: &Path, text: &str) -> std::io::Result<()> {
    fs_err::OpenOptions::new().create(true).append(true).open(file)?.write_all(text.as_bytes())
}

/// What `error` and everything in it points at: message and place, one for each problem of a list.
#[must_use]
pub fn problems(error: &dyn Diagnostic) -> Vec<(String, Option<Place>)> {
    let related: Vec<&dyn Diagnostic> = error.related().into_iter().flatten().collect();
    if !related.is_empty() {
        return related.into_iter().flat_map(problems).collect();
    }
    let mut message = with_causes(error);
    if let Some(help) = error.help() {
        message.push_str(&format!("\nhelp: {help}"));
    }
    vec![(message, place(error))]
}

/// Where `error` points, if it points into a file.
#[must_use]
pub fn place(error: &dyn Diagnostic) -> Option<Place> {
    let label = error.labels()?.next()?;
    let span = error.source_code()?.read_span(label.inner(), 0, 0).ok()?;
    Some(Place { file: span.name()?.to_owned(), line: span.line() + 1, column: span.column() + 1 })
}

/// The place that a message of a TypeScript compiler begins with: `src/index.ts(3,14): error TS2322: …`.
#[must_use]
pub fn typescript_place(line: &str) -> Option<Place> {
    let (place, _) = line.trim().split_once("): error TS")?;
    let (file, position) = place.rsplit_once('(')?;
    let (line, column) = position.split_once(',')?;
    Some(Place { file: file.to_owned(), line: line.parse().ok()?, column: column.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_begin_another_output() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("output");
        let value = "a\nb=c\nEOF\nx<<y".to_owned();
        write_outputs(&file, &[Output { name: "failed", value: value.clone() }]).unwrap();
        let text = fs_err::read_to_string(file).unwrap();
        let (head, rest) = text.split_once('\n').unwrap();
        let delimiter = head.strip_prefix("failed<<").unwrap();
        assert_eq!(rest, format!("{value}\n{delimiter}\n"));
    }

    #[test]
    fn compilers_say_where() {
        let place = Place { file: "plugins/todo/src/a.ts".to_owned(), line: 3, column: 14 };
        assert_eq!(typescript_place("plugins/todo/src/a.ts(3,14): error TS2322: no"), Some(place));
        assert_eq!(typescript_place("a(b): error TS1: no"), None);
    }
}
