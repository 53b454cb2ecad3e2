//! Reading why a child failed. Its logs come in; what goes out is an [`ExportFailure`]: a known failure by its name,
//! with what to do; for any other, the first real error of the log.

use std::path::Path;

use super::{ExportFailure, known};
use crate::config;

/// The most of a log that is read from its beginning, and again from its end, in bytes.
const MAX_READ: u64 = 2 * 1024 * 1024;

/// The most of a line of a log that is read, in characters: lists of packages fit.
const MAX_LINE: usize = 4000;

/// How many of a log's last lines a failure carries.
const TAIL: usize = 20;

/// What was being done when a child failed.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    /// The command, as a person would type it: `yarn tsc`.
    pub(super) command: &'a str,
    /// The plugin, where the step was one plugin's.
    pub(super) plugin: Option<&'a config::Plugin>,
    /// True for the names of packages of the same workspace.
    pub(super) in_workspace: &'a dyn Fn(&str) -> bool,
}

/// The lines of some logs, without escape sequences and without what yarn draws before its messages.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    pub(super) lines: Vec<String>,
}

impl Log {
    /// Reads those of `files` that are there, one after the other.
    pub(super) fn read(files: &[&Path]) -> Self {
        let texts = files.iter().filter_map(|file| read_ends(file).ok());
        Self { lines: texts.flat_map(|text| plain_lines(&text)).collect() }
    }

    #[cfg(test)]
    pub(super) fn of(text: &str) -> Self {
        Self { lines: plain_lines(text) }
    }

    /// What stands behind the first occurrence of `marker`, to the end of its line.
    pub(super) fn after(&self, marker: &str) -> Option<&str> {
        self.lines.iter().find_map(|line| line.split_once(marker)).map(|(_, rest)| rest.trim())
    }

    /// The first line that holds `part`.
    pub(super) fn line_with(&self, part: &str) -> Option<&str> {
        self.lines.iter().find(|line| line.contains(part)).map(|line| line.trim())
    }

    /// The list `- one`, `- two` below the first line that holds `marker`.
    pub(super) fn list_below(&self, marker: &str) -> Vec<String> {
        let below = self.lines.iter().skip_while(|line| !line.contains(marker)).skip(1);
        let items = below.map_while(|line| line.trim().strip_prefix("- ").map(|item| item.trim().to_owned()));
        let mut items: Vec<_> = items.filter(|item| !item.is_empty()).collect();
        items.dedup();
        items
    }

    /// The last lines with text in them, oldest first.
    pub(super) fn tail(&self) -> Vec<String> {
        let lines: Vec<_> = self.lines.iter().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(TAIL)..].iter().map(|line| (*line).clone()).collect()
    }
}

/// Explains a child that ended badly; `ended` says how (`exit code 1`).
pub(super) fn explain(log: &Log, scene: Scene<'_>, ended: &str) -> ExportFailure {
    let mut failure = known::recognise(log, scene).unwrap_or_else(|| {
        let error = first_error(log).map_or_else(
            || {
                let wrote = if log.tail().is_empty() { "it wrote nothing" } else { "it does not say why" };
                format!("{wrote} and ended with {ended}")
            },
            str::to_owned,
        );
        ExportFailure::new("command-failed", format!("`{}` failed: {error}", scene.command))
    });
    failure.log_tail = log.tail();
    failure
}

/// The line of the log that says what went wrong: the first that looks like an error and is not only the news that
/// something failed; else the first that speaks of trouble; else the last that says anything but that a step is done.
fn first_error(log: &Log) -> Option<&str> {
    let says_more = |line: &&str| {
        let only_news = [
            "Failed to execute command",
            "Command failed",
            "Failed with errors",
            "exit code",
            "exited with code",
            "not a git repository",
            "A complete log of this run",
        ];
        !line.is_empty() && !line.starts_with("at ") && !only_news.iter().any(|news| line.contains(news))
    };
    let lines = || log.lines.iter().map(|line| line.trim()).filter(says_more);
    let error = lines().find(|line| looks_like_error(line)).or_else(|| lines().find(|line| speaks_of_trouble(line)));
    error.or_else(|| lines().rfind(|line| !says_done(line)))
}

/// Whether a line has a word of failure, and is no warning and no count of none.
fn speaks_of_trouble(line: &str) -> bool {
    let words = [
        "fail",
        "error",
        "cannot",
        "can't",
        "could not",
        "couldn't",
        "unable to",
        "not found",
        "no such",
        "denied",
        "missing",
        "invalid",
        "unexpected",
        "exception",
        "refused",
        "is required",
    ];
    let harmless = ["warn", "no error", "without error", " 0 error", " 0 fail", "failed: 0", "errors: 0"];
    let lower = format!(" {}", line.to_ascii_lowercase());
    words.iter().any(|word| lower.contains(word)) && !harmless.iter().any(|word| lower.contains(word))
}

/// Whether a line only says that a step is done: `Completed in 2s`, `✔ built`.
fn says_done(line: &str) -> bool {
    let starts = ["completed", "done", "finished", "success", "succeeded", "✔", "✓"];
    let lower = line.to_ascii_lowercase();
    starts.iter().any(|start| lower.starts_with(start)) || lower.contains("done in ") || lower.contains("completed in ")
}

fn looks_like_error(line: &str) -> bool {
    let starts = ["error ", "error:", "npm error ", "npm ERR! ", "✖ ", "× ", "[!] ", "fatal: ", "panic: "];
    let lower = line.to_ascii_lowercase();
    starts.iter().any(|start| lower.starts_with(&start.to_ascii_lowercase()))
        || line.contains("Error: ")
        || line.contains("error TS")
        || line.ends_with("command not found")
        || line.starts_with("command not found")
}

/// Text without terminal escape sequences (CSI and OSC).
fn without_escapes(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\x1b' {
            plain.push(character);
            continue;
        }
        match characters.next() {
            Some('[') => drop(characters.by_ref().find(|next| ('\x40'..='\x7e').contains(next))),
            Some(']') => drop(characters.by_ref().find(|next| matches!(next, '\x07' | '\x1b'))),
            _ => {}
        }
    }
    plain
}

fn plain_lines(text: &str) -> Vec<String> {
    without_escapes(text).lines().map(|line| cut(without_yarn_prefix(line).trim_end())).collect()
}

/// The line, or its beginning: nobody reads a bundle on one line, and it would go into results and annotations.
fn cut(line: &str) -> String {
    match line.char_indices().nth(MAX_LINE) {
        Some((end, _)) => format!("{} […]", &line[..end]),
        None => line.to_owned(),
    }
}

/// `➤ YN0035: │ text` is `text`; codes that are neither `YN0000` nor a warning make it an error, hence `Error: text`.
fn without_yarn_prefix(line: &str) -> String {
    let Some((code, text)) = line.strip_prefix("➤ YN").and_then(|rest| rest.split_once(": ")) else {
        return line.to_owned();
    };
    let text = text.trim_start_matches(['│', '┌', '└', '·', ' ']);
    // Codes with which yarn 2 to 4 says how it is doing, or warns.
    const HARMLESS: [&str; 14] = [
        "0000", "0002", "0004", "0005", "0006", "0007", "0008", "0013", "0019", "0060", "0061", "0076", "0085", "0086",
    ];
    if HARMLESS.contains(&code) || text.contains("Error: ") { text.to_owned() } else { format!("Error: {text}") }
}

/// The whole file, or its two ends where it is very long.
fn read_ends(file: &Path) -> std::io::Result<String> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut file = fs_err::File::open(file)?;
    let size = file.metadata()?.len();
    let mut bytes = Vec::new();
    (&mut file).take(MAX_READ).read_to_end(&mut bytes)?;
    if size > MAX_READ {
        bytes.push(b'\n');
        file.seek(SeekFrom::Start(size.saturating_sub(MAX_READ).max(MAX_READ)))?;
        file.take(MAX_READ).read_to_end(&mut bytes)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        let scene = Scene { command: "yarn build", plugin: None, in_workspace: &|_| false };
        explain(&Log::of(text), scene, "exit code 1").message
    }

    #[test]
    fn endless_lines_are_cut() {
        let log = Log::of(&format!("Error: {}\n{}\n", "ä".repeat(2 << 20), "x".repeat(4000)));
        let scene = Scene { command: "yarn build", plugin: None, in_workspace: &|_| false };
        let failure = explain(&log, scene, "exit code 1");
        let expected = format!("Error: {} […]", "ä".repeat(3993));
        assert_eq!(failure.message, format!("`yarn build` failed: {expected}"));
        assert_eq!(failure.log_tail, [expected, "x".repeat(4000)]);
    }

    #[test]
    fn the_first_real_error_of_an_unknown_failure() {
        assert_eq!(
            message(
                "Building main package\n  executing     yarn build ✖ \nReferenceError: window is not defined\n    at Object.<anonymous> (/x/y.js:1:1)\n\nError: Failed to execute command 'yarn build', Error: Command failed: yarn build\n"
            ),
            "`yarn build` failed: ReferenceError: window is not defined"
        );
        assert_eq!(message("one\ntwo\nCommand failed with exit code 3\n"), "`yarn build` failed: two");
        assert_eq!(
            message(
                "➤ YN0000: ┌ Build step\nwarning: could not read .npmrc\n0 errors\nthe plugin could not be built\n\
                 ➤ YN0000: └ Completed in 2s\n➤ YN0000: Done with warnings in 3s\n"
            ),
            "`yarn build` failed: the plugin could not be built"
        );
        assert_eq!(message("0 failed\n10 failed\nbye\n"), "`yarn build` failed: 10 failed");
        assert_eq!(message("reading x\n✔ Completed in 2s\n"), "`yarn build` failed: reading x");
        assert_eq!(message("Completed\n"), "`yarn build` failed: it does not say why and ended with exit code 1");
        assert_eq!(message(""), "`yarn build` failed: it wrote nothing and ended with exit code 1");
    }

    #[test]
    fn escapes_and_yarn_prefixes_are_taken_off() {
        let log = Log::of(
            "\x1b[96mindex.ts\x1b[0m:\x1b[93m8\x1b[0m \x1b]8;;http://x\x07link\n➤ YN0035: │ x: Package not found\n➤ YN0002: │ y\n",
        );
        assert_eq!(log.lines, ["index.ts:8 link", "Error: x: Package not found", "y"]);
    }

    #[test]
    fn a_very_long_log_is_read_at_both_ends() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let middle = "x".repeat(1023) + "\n";
        fs_err::write(file.path(), format!("first\n{}last\n", middle.repeat(5000))).unwrap();
        let log = Log::read(&[file.path(), Path::new("/does/not/exist")]);
        assert_eq!((log.lines.first().unwrap().as_str(), log.lines.last().unwrap().as_str()), ("first", "last"));
        assert!(log.lines.len() < 4200);
        assert_eq!(log.tail().len(), TAIL);
    }
}
