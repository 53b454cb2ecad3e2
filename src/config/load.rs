//! Finding and reading `rhdh-plugins.toml`. A folder or a file comes in; what goes out is the configuration, or all
//! that is wrong with it.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::check::Check;
use super::decode::decode;
use super::format::File;
use super::source::{MAX_SHOWN, Problem, Problems, Source};
use super::{Config, effective, registries, targets};

/// The file's name.
pub const FILE_NAME: &str = "rhdh-plugins.toml";

/// Far more than a thousand plugins need, and little enough for every tool that reads the file.
const MAX_SIZE: u64 = 1024 * 1024;

const MINIMAL: &str = "these two lines are a whole one:\n[plugins.todo]\npath = \"plugins/todo\"";

/// Why there is no configuration.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    /// The file that was named is not there.
    #[error("there is no `{}`", .0.display())]
    #[diagnostic(help("correct `--config`, or write the file: {MINIMAL}"))]
    Missing(PathBuf),
    /// Neither this folder nor one above it has the file.
    #[error("there is no `{FILE_NAME}` in `{}` or above it", .0.display())]
    #[diagnostic(help("let `rhdh-pack init` write one, or name the file with `--config FILE`; {MINIMAL}"))]
    NotFound(PathBuf),
    /// A folder, a pipe or a device.
    #[error("`{}` is not a file", .0.display())]
    #[diagnostic(help("name a file with `--config FILE`, such as `{FILE_NAME}`"))]
    NotAFile(PathBuf),
    /// The file cannot be read.
    #[error("cannot read the configuration")]
    #[diagnostic(help("check the file's permissions with `ls -l`"))]
    Unreadable(#[source] std::io::Error),
    /// More than 1 MiB.
    #[error("`{}` is larger than 1 MiB", .0.display())]
    #[diagnostic(help("a configuration of that size is not one: name the right file with `--config FILE`"))]
    TooLarge(PathBuf),
    /// Not text.
    #[error("`{}:{line}:{column}` is not UTF-8", file.display())]
    #[diagnostic(help("save the file as UTF-8"))]
    NotUtf8 {
        /// The file.
        file: PathBuf,
        /// The line of the first byte that is not UTF-8, from 1.
        line: usize,
        /// Its column, in characters, from 1.
        column: usize,
    },
    /// All that is wrong in the file.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Problems(#[from] Problems),
}

/// The nearest `rhdh-plugins.toml`: in `start`, a folder, or in one above it, up to the repository's root (the folder
/// that holds `.git`).
///
/// # Errors
/// When there is none, or `start` does not exist.
pub fn find(start: &Path) -> Result<PathBuf, Error> {
    let absolute = std::path::absolute(start).map_err(Error::Unreadable)?;
    for folder in absolute.ancestors() {
        let file = folder.join(FILE_NAME);
        if file.symlink_metadata().is_ok() {
            return Ok(if folder == absolute {
                start.strip_prefix(".").unwrap_or(start).join(FILE_NAME)
            } else {
                file
            });
        }
        if folder.join(".git").symlink_metadata().is_ok() {
            break;
        }
    }
    Err(Error::NotFound(absolute))
}

/// Reads `file` and checks all of it.
///
/// # Errors
/// When the file cannot be read, or with all its problems at once.
pub fn load(file: &Path) -> Result<Config, Error> {
    let (config, mut problems) = read(file)?;
    problems.extend(config.gone.iter().map(|gone| gone.problem.clone()));
    if problems.is_empty() { Ok(config) } else { Err(config.problems(problems).into()) }
}

/// Reads `file` and checks all of it. The configuration holds only what is right; the rest is in the problems, so
/// that a caller can look for problems of its own before it gives up. Whether folders that do not exist are problems
/// (`gone`) is the caller's to say.
///
/// # Errors
/// When the file cannot be read, or is not TOML.
pub fn read(file: &Path) -> Result<(Config, Vec<Problem>), Error> {
    parse(file, &read_text(file)?)
}

/// As [`read`], with `text` for what is in the file.
pub(super) fn parse(file: &Path, text: &str) -> Result<(Config, Vec<Problem>), Error> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let source = Source::new(file.display().to_string(), text, document.get_ref());
    if !errors.is_empty() {
        return Err(source.problems(syntax_problems(&source, &errors)).into());
    }
    let (values, faults) = decode::<File>(document.get_ref());
    // Absolute, because children work in other folders.
    let root = std::path::absolute(file).map_err(Error::Unreadable)?;
    let root = root.parent().unwrap_or(&root).to_owned();
    let mut check = Check::new(&source, &root, faults);
    let rhdh = targets::rhdh(&mut check, &values);
    let inputs = targets::inputs(&mut check, &values);
    let registries = registries::registries(&mut check, &values);
    let authorities = registries::authorities(&mut check, &values);
    let channels = targets::channels(&mut check, &values);
    let plugins = effective::plugins(&mut check, &values);
    let bundles = effective::bundles(&mut check, &values);
    let gone = std::mem::take(&mut check.gone);
    let problems = check.into_problems();
    let file = file.to_owned();
    let config = Config { file, root, rhdh, inputs, registries, authorities, channels, plugins, bundles, gone, source };
    Ok((config, problems))
}

/// The first fault of each line: what the parser finds after one is mostly its echo.
fn syntax_problems(source: &Source, errors: &[toml::de::Error]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut last_line = 0;
    for error in errors {
        let span = error.span().unwrap_or_default();
        let line = source.line(span.start);
        if line != last_line && problems.len() <= MAX_SHOWN {
            last_line = line;
            let (label, help) = match error.message() {
                "duplicate key" => ("again", "remove one of the two"),
                _ => (
                    "not TOML",
                    "a line is `key = \"value\"` or `[table.name]`, and a text ends on the line where it begins",
                ),
            };
            problems.push(source.at(span, error.message().to_owned(), label.to_owned(), help.to_owned()));
        }
    }
    problems
}

/// The file's text, without a byte order mark.
fn read_text(file: &Path) -> Result<String, Error> {
    let metadata = match fs_err::metadata(file) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(Error::Missing(file.to_owned())),
        Err(error) => return Err(Error::Unreadable(error)),
    };
    if !metadata.is_file() {
        return Err(Error::NotAFile(file.to_owned()));
    }
    let mut bytes = Vec::new();
    let opened = fs_err::File::open(file).map_err(Error::Unreadable)?;
    opened.take(MAX_SIZE + 1).read_to_end(&mut bytes).map_err(Error::Unreadable)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(Error::TooLarge(file.to_owned()));
    }
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        Err(error) => {
            let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
            return Err(Error::NotUtf8 { file: file.to_owned(), line, column });
        }
    };
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text).to_owned())
}
