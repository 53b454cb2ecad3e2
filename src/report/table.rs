//! The table at the end of a run, on stderr.

use super::{ArtifactResult, RunResult};
use crate::ui::human_size;

/// The table: a head, and a row for each plugin and bundle. Columns are as wide as their widest cell.
#[must_use]
pub fn render(result: &RunResult) -> String {
    let mut rows = vec![["", "state", "version", "image", "size", "tgz", "size"].map(str::to_owned)];
    rows.extend(result.artifacts().map(row));
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect::<Vec<_>>();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn row(artifact: &ArtifactResult) -> [String; 7] {
    let image = artifact.image.as_ref();
    let tgz = artifact.tgz.as_ref();
    [
        artifact.label(),
        artifact.state.as_str().to_owned(),
        artifact.version.clone(),
        image.map_or_else(String::new, |image| format!("{}@{}", image.name, short(image.digest.as_str()))),
        image.map_or_else(String::new, |image| human_size(image.size)),
        tgz.map_or_else(String::new, |tgz| short(tgz.integrity.as_str()).to_owned()),
        tgz.map_or_else(String::new, |tgz| human_size(tgz.size)),
    ]
}

/// The algorithm and the first twelve characters of a digest or integrity: enough to compare by eye.
fn short(value: &str) -> &str {
    let algorithm = value.find([':', '-']).map_or(0, |at| at + 1);
    value.get(..algorithm + 12).unwrap_or(value)
}
