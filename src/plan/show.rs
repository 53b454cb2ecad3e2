//! A plan for people: a table of what happens, and the whole chain of reasons for one plugin or bundle.

use std::fmt::Write as _;

use super::base::short;
use super::{Action, ContentKey, Plan, Reason};

/// A plugin or bundle, as people read it.
struct Row<'a> {
    id: &'a str,
    /// Its name in a list of both: a plugin and a bundle may have the same id.
    label: String,
    action: Action,
    version: &'a str,
    reasons: &'a [Reason],
    content_key: Option<&'a ContentKey>,
}

impl Plan {
    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let plugins = self.plugins.iter().map(|it| Row {
            id: &it.id,
            label: it.id.clone(),
            action: it.action,
            version: &it.version,
            reasons: &it.reasons,
            content_key: it.content_key.as_ref(),
        });
        let bundles = self.bundles.iter().map(|it| Row {
            id: &it.id,
            label: format!("{} (bundle)", it.id),
            action: it.action,
            version: &it.version,
            reasons: &it.reasons,
            content_key: it.content_key.as_ref(),
        });
        plugins.chain(bundles)
    }

    /// True where nothing is built, copied or removed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows().all(|row| row.action == Action::Skip)
    }

    /// Whether it is for the channel and the commit of another plan, made from the same inputs, and builds and copies
    /// nothing that the other does not: then what came of that one has all of this one.
    #[must_use]
    pub fn is_part_of(&self, other: &Self) -> bool {
        let is_idle = |row: &Row<'_>| matches!(row.action, Action::Skip | Action::Remove);
        let is_there = |(row, there): (Row<'_>, Row<'_>)| {
            row.label == there.label
                && row.content_key == there.content_key
                && (is_idle(&row) || row.action == there.action)
        };
        let is_as_long = self.rows().count() == other.rows().count();
        let is_for_the_same = self.channel == other.channel && self.head == other.head;
        is_for_the_same && is_as_long && self.rows().zip(other.rows()).all(is_there)
    }

    /// One line: what was compared, and how much there is to do.
    #[must_use]
    pub fn headline(&self) -> String {
        let count = |wanted: Action| self.rows().filter(|row| row.action == wanted).count();
        let counts = [(Action::Build, "to build"), (Action::Copy, "to copy"), (Action::Remove, "removed")];
        let mut parts: Vec<String> = counts
            .iter()
            .map(|(action, words)| (count(*action), words))
            .filter(|(number, _)| *number > 0)
            .map(|(number, words)| format!("{number} {words}"))
            .collect();
        if count(Action::Skip) > 0 {
            parts.push(format!("{} unchanged or up to date", count(Action::Skip)));
        }
        format!("{}: {}", self.compared(), parts.join(", "))
    }

    fn compared(&self) -> String {
        match &self.base {
            Some(base) => format!("compared with {}, {}", short(base), self.base_reason),
            None => format!("compared with nothing: {}", self.base_reason),
        }
    }

    /// A line for each plugin and bundle, what is to be done first.
    #[must_use]
    pub fn table(&self) -> String {
        let mut out = format!("{}\n", self.compared());
        let width = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or_default();
        let labels = width(&mut self.rows().map(|row| row.label.chars().count()));
        let versions = width(&mut self.rows().map(|row| row.version.chars().count()));
        let mut rows: Vec<_> = self.rows().collect();
        rows.sort_by_key(|row| row.action == Action::Skip);
        for Row { label, action, version, reasons, .. } in rows {
            let first = match reasons.first() {
                // The line above the table says why.
                Some(reason) if reason.kind == "all" => "everything is planned",
                first => first.map(|reason| reason.text.as_str()).unwrap_or_default(),
            };
            let more = if reasons.len() > 1 { format!(" (and {} more)", reasons.len() - 1) } else { String::new() };
            let _ = writeln!(out, "{:<6}  {label:<labels$}  {version:<versions$}  {first}{more}", action.as_str());
        }
        out
    }

    /// Everything that speaks for what happens to the plugin `id`, and to the bundle; `None` where the plan has neither.
    #[must_use]
    pub fn explain(&self, id: &str) -> Option<String> {
        let rows = self.rows().filter(|row| row.id == id);
        let explained: Vec<String> = rows.map(|row| self.explain_row(&row)).collect();
        (!explained.is_empty()).then(|| explained.join("\n"))
    }

    fn explain_row(&self, row: &Row<'_>) -> String {
        let mut out = format!("{} {}: {}\n", row.label, row.version, row.action.as_str());
        for reason in row.reasons {
            let _ = writeln!(out, "  {}", reason.text);
            for line in &reason.detail {
                let _ = writeln!(out, "      {line}");
            }
        }
        match &self.base {
            Some(base) => {
                let _ = writeln!(out, "base         {base} ({})", self.base_reason);
            }
            None => {
                let _ = writeln!(out, "base         none ({})", self.base_reason);
            }
        }
        if let Some(head) = &self.head {
            let _ = writeln!(out, "head         {head}");
        }
        if let Some(key) = row.content_key {
            let _ = writeln!(out, "content key  {key}");
        }
        out
    }
}
