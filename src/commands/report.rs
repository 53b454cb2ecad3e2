//! `rhdh-pack report`: the files that people and RHDH read, made from `result.json`.

use std::path::PathBuf;

use super::session::Session;
use super::{Error, ci, merge};
use crate::document;
use crate::report::{Format, Outcome, RunResult, dynamic_plugins, summary, table};

/// Writes the files again, and prints one of the documents.
pub(super) async fn command(
    session: &Session,
    format: Option<Format>,
    merge: &[PathBuf],
    comment: bool,
) -> Result<u8, Error> {
    if !merge.is_empty() {
        session.write_result(&merge::merge(session, merge)?)?;
    }
    let result = session.read_result()?;
    report(session, &result)?;
    ci::comment(session, &result, comment).await?;
    let text = match format {
        None => String::new(),
        Some(Format::Json) => fs_err::read_to_string(session.result_file()).map_err(document::Error::from)?,
        Some(Format::Yaml) => dynamic_plugins::render(&result)?,
        Some(Format::Markdown) => summary::render(&result)?,
    };
    document::print(text.as_bytes())?;
    Ok(result.exit_code())
}

/// Writes `summary.md` and `dynamic-plugins.yaml`, and shows the table, the findings and the failures.
pub(super) fn report(session: &Session, result: &RunResult) -> Result<(), Error> {
    let snippet = session.out.join("dynamic-plugins.yaml");
    document::write_file(&snippet, dynamic_plugins::render(result)?.as_bytes()).map_err(document::Error::from)?;
    let summary = summary::render(result)?;
    document::write_file(&session.out.join("summary.md"), summary.as_bytes()).map_err(document::Error::from)?;
    ci::hand_over(session, result, &summary)?;
    session.ui.note(&format!("\n{}", table::render(result)));
    session.show_failures(result);
    if result.outcome != Outcome::NothingToDo {
        let headline = summary::headline(result);
        session.ui.note(&match dynamic_plugins::is_empty(result) {
            true => headline,
            false => format!("{headline}; for RHDH: {}", snippet.display()),
        });
    }
    Ok(())
}
