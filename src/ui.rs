//! What people see while rhdh-pack works: one line for each plugin and stage, on stderr. On a terminal, running
//! steps have a spinner or a bar; elsewhere (CI logs) only plain lines are written. stdout is never touched.

use std::borrow::Cow;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::ci::{Provider, log};
use crate::hidden;

/// How much is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Warnings and errors only.
    Quiet,
    /// A line for each plugin and stage.
    #[default]
    Normal,
    /// Also why, how long, and which commands are run.
    Verbose,
}

/// The way to say something to people. Cheap to clone; clones share the terminal.
#[derive(Clone, Debug)]
pub struct Ui {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    verbosity: Verbosity,
    color: bool,
    /// Columns of the terminal; elsewhere, what a CI's log shows without wrapping.
    width: usize,
    /// `None` where stderr is not a terminal.
    bars: Option<MultiProgress>,
    /// Whose log stderr becomes.
    provider: Provider,
}

/// How one line of a list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// As it should be.
    Good,
    /// Not looked at.
    Skipped,
    /// Somebody should look at it.
    Warning,
    /// Wrong.
    Bad,
}

/// One running stage of one plugin, bundle or workspace. Dropped without an outcome, it leaves no line.
#[derive(Debug)]
pub struct Step {
    ui: Ui,
    subject: String,
    what: String,
    started: Instant,
    bar: Option<ProgressBar>,
}

impl Ui {
    /// Bars where stderr is a terminal and not `Quiet`; colour there too, unless `NO_COLOR` is set.
    #[must_use]
    pub fn new(verbosity: Verbosity) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let color = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let width = if terminal { usize::from(console::Term::stderr().size().1).max(60) } else { 120 };
        let bars = (terminal && verbosity > Verbosity::Quiet)
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)));
        let provider = Provider::from_env();
        Self { inner: Arc::new(Inner { verbosity, color, width, bars, provider }) }
    }

    /// Whether text for people may be coloured.
    #[must_use]
    pub fn color(&self) -> bool {
        self.inner.color
    }

    /// Starts a step: `subject` is the plugin, bundle or workspace, `what` the stage.
    #[must_use]
    pub fn step(&self, subject: &str, what: &str) -> Step {
        let bar = self.inner.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new_spinner());
            bar.set_style(style("{spinner} {prefix} {msg} {elapsed}"));
            bar.set_prefix(format!("{subject:<24}"));
            bar.set_message(format!("{what:<10}"));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if bar.is_none() {
            self.verbose(&format!("{subject}: {what} starts"));
        }
        Step { ui: self.clone(), subject: subject.to_owned(), what: what.to_owned(), started: Instant::now(), bar }
    }

    /// Says something that is neither good nor bad. Not said when quiet.
    pub fn note(&self, text: &str) {
        if self.inner.verbosity >= Verbosity::Normal {
            self.line(text);
        }
    }

    /// Says something that somebody should look at. Always said.
    pub fn warn(&self, text: &str) {
        self.line(&format!("{} {text}", self.paint("33", "warning:")));
    }

    /// As [`Ui::warn`], and where the CI shows what concerns the whole run. GitLab shows that in the log only: in
    /// colour.
    pub fn caution(&self, text: &str) {
        match self.inner.provider {
            Provider::GitHub => self.command(&log::github_warning("rhdh-pack", text)),
            Provider::GitLab => self.command(&format!("\x1b[33mwarning: {}\x1b[0m", log::without_marks(text))),
            Provider::Local | Provider::Other => self.warn(text),
        }
    }

    /// Shows why the program could not do its work, with causes, places in the source, and help. Always said.
    pub fn report(&self, error: &dyn Diagnostic) {
        let theme = if self.inner.color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        // Lines end at blanks only: commands, URLs and keys are there to be copied.
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_width(self.inner.width)
            .with_links(false)
            .with_break_words(false)
            .with_word_separator(textwrap::WordSeparator::AsciiSpace)
            .with_word_splitter(textwrap::WordSplitter::NoHyphenation);
        let mut text = String::new();
        // Writing to a string does not fail; the error alone is better than nothing.
        if handler.render_report(&mut text, error).is_err() {
            text = error.to_string();
        }
        self.line(text.trim_end());
    }

    /// Shows why one plugin or bundle failed. Always said.
    pub fn failure(&self, subject: &str, message: &str, help: Option<&str>, log: Option<&str>) {
        let mut text = format!("{} {subject}: {message}", self.paint("31", "error:"));
        for (name, value) in [("help", help), ("log", log)] {
            if let Some(value) = value {
                let indent = " ".repeat(name.len() + 4);
                text.push_str(&format!(
                    "\n  {}: {}",
                    self.paint("36", name),
                    value.trim_end().replace('\n', &format!("\n{indent}"))
                ));
            }
        }
        self.line(&text);
    }

    /// Says one line of a list, with what to do below it. What is well is not said when quiet.
    pub fn item(&self, mark: Mark, subject: &str, text: &str, help: Option<&str>) {
        let (color, sign) = match mark {
            Mark::Good => ("32", "✓"),
            Mark::Skipped => ("2", "-"),
            Mark::Warning => ("33", "!"),
            Mark::Bad => ("31", "✗"),
        };
        if matches!(mark, Mark::Good | Mark::Skipped) && self.inner.verbosity < Verbosity::Normal {
            return;
        }
        let mut line = format!("  {} {subject}  {text}", self.paint(color, sign));
        if let Some(help) = help.filter(|help| !help.is_empty()) {
            let help = help.trim_end().replace('\n', "\n            ");
            line.push_str(&format!("\n      {}: {help}", self.paint("36", "help")));
        }
        self.line(&line);
    }

    /// Says something for those who asked for more.
    pub fn verbose(&self, text: &str) {
        if self.inner.verbosity >= Verbosity::Verbose {
            self.line(&self.paint("2", text));
        }
    }

    /// Shows a long text, folded where the CI's log can fold it; elsewhere nobody asked for it.
    pub fn folded(&self, title: &str, text: &str) {
        match self.inner.provider {
            Provider::GitHub => {
                self.command(&log::github_group(title));
                self.line(text);
                self.command(log::GITHUB_END_GROUP);
            }
            Provider::GitLab => {
                let (start, end) = log::gitlab_section(title, jiff::Timestamp::now().as_second());
                self.command(&start);
                self.line(text);
                self.command(&end);
            }
            Provider::Local | Provider::Other => {}
        }
    }

    /// Marks an error in GitHub's log; it shows it beside the file. `place` is what the error is about.
    pub fn annotate(&self, place: Option<&log::Place>, title: &str, message: &str) {
        if self.inner.provider == Provider::GitHub {
            self.command(&log::github_error(place, title, message));
        }
    }

    /// Keeps `secret` out of GitHub's log. GitLab hides what its own settings say. Where stderr is a file, no runner
    /// reads the command, and the secret would stay in it.
    pub fn mask(&self, secret: &str) {
        let is_file = |stat: rustix::fs::Stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file();
        let is_read = !rustix::fs::fstat(std::io::stderr()).is_ok_and(is_file);
        if self.inner.provider == Provider::GitHub && is_read {
            log::github_mask(secret).iter().for_each(|command| self.command(command));
        }
    }

    /// Writes a line that the CI's log reads as a command.
    fn command(&self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    fn line(&self, text: &str) {
        // What is shown may come from the repository; none of it is a command to the CI.
        let text = match self.inner.provider {
            Provider::GitHub => log::without_commands(text).into(),
            Provider::GitLab => log::without_marks(text).into(),
            Provider::Local | Provider::Other => Cow::Borrowed(text),
        };
        let text = hidden::for_terminal(&text);
        // A closed stderr must not stop the work: there is nobody left to tell.
        let _ = match &self.inner.bars {
            Some(bars) => bars.suspend(|| writeln!(std::io::stderr(), "{text}")),
            None => writeln!(std::io::stderr(), "{text}"),
        };
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.inner.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

impl Step {
    /// Shows how far the step is; `total` in the same unit (bytes, files). Seen on terminals only.
    pub fn progress(&self, position: u64, total: u64) {
        if let Some(bar) = &self.bar {
            if bar.length() != Some(total) {
                bar.set_style(style("{spinner} {prefix} {msg} {elapsed} {bar:24} {percent}%"));
                bar.set_length(total);
            }
            bar.set_position(position);
        }
    }

    /// Ends the step well: a line with the elapsed time and `text` (may be empty).
    pub fn done(self, text: &str) {
        if self.ui.inner.verbosity >= Verbosity::Normal {
            self.end("32", "✓", text);
        }
    }

    /// Ends the step badly: a line with the elapsed time and `text`, also when quiet.
    pub fn failed(self, text: &str) {
        self.end("31", "✗", text);
    }

    fn end(&self, color: &str, mark: &str, text: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let elapsed = format!("{:.1} s", self.started.elapsed().as_secs_f64());
        let line =
            format!("{} {:<24} {:<10} {elapsed:>8}  {text}", self.ui.paint(color, mark), self.subject, self.what);
        self.ui.line(line.trim_end());
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// `template` is a literal of this file; should one be wrong, the default style is shown.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// `bytes` as people read it: `812 B`, `1.2 kB`, `24.1 MB`.
#[must_use]
pub fn human_size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    // Sizes of artifacts are far below 2^53, where f64 is exact.
    #[allow(clippy::cast_precision_loss)]
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// An error and its causes, on one line.
#[must_use]
pub fn with_causes(error: &(impl std::error::Error + ?Sized)) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_readable() {
        for (bytes, text) in
            [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (999_960, "1.0 MB"), (24_100_000, "24.1 MB")]
        {
            assert_eq!(human_size(bytes), text);
        }
    }
}
