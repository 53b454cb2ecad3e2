//! A plan for people: a table of what happens, and the whole chain of reasons for one plugin or bundle.

use std::fmt::Write as _;

use super::base::short;
use super::{Action, ContentKey, Plan, Reason};

/// A row: id, action, version, reasons, content key.
type Row<'a> = (&'a str, Action, &'a str, &'a [Reason], Option<&'a ContentKey>);

impl Plan {
    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let plugins = self
            .plugins
            .iter()
            .map(|it| (it.id.as_str(), it.action, it.version.as_str(), it.reasons.as_slice(), it.content_key.as_ref()));
        let bundles = self
            .bundles
            .iter()
            .map(|it| (it.id.as_str(), it.action, it.version.as_str(), it.reasons.as_slice(), it.content_key.as_ref()));
        plugins.chain(bundles)
    }

    /// True where nothing is built, copied or removed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows().all(|(_, action, ..)| action == Action::Skip)
    }

    /// One line: what was compared, and how much there is to do.
    #[must_use]
    pub fn headline(&self) -> String {
        let count = |wanted: Action| self.rows().filter(|(_, action, ..)| *action == wanted).count();
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
        let ids = width(&mut self.rows().map(|(id, ..)| id.chars().count()));
        let versions = width(&mut self.rows().map(|(_, _, version, ..)| version.chars().count()));
        let mut rows: Vec<_> = self.rows().collect();
        rows.sort_by_key(|(_, action, ..)| *action == Action::Skip);
        for (id, action, version, reasons, _) in rows {
            let first = reasons.first().map(|reason| reason.text.as_str()).unwrap_or_default();
            let more = if reasons.len() > 1 { format!(" (and {} more)", reasons.len() - 1) } else { String::new() };
            let _ = writeln!(out, "{:<6}  {id:<ids$}  {version:<versions$}  {first}{more}", action.as_str());
        }
        out
    }

    /// Everything that speaks for what happens to one plugin or bundle; `None` where the plan does not have it.
    #[must_use]
    pub fn explain(&self, id: &str) -> Option<String> {
        let (_, action, version, reasons, key) = self.rows().find(|(known, ..)| *known == id)?;
        let mut out = format!("{id} {version}: {}\n", action.as_str());
        for reason in reasons {
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
        if let Some(key) = key {
            let _ = writeln!(out, "content key  {key}");
        }
        Some(out)
    }
}
