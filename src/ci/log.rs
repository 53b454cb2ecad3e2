//! What a CI reads in a job's log: marks that fold a part of it, annotations, secrets to hide. Text comes in; what goes
//! out is a line that the CI understands, or text in which it finds nothing to understand.
//! <https://docs.github.com/actions/reference/workflow-commands-for-github-actions>,
//! <https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections>

/// A place that an annotation is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, relative to the repository.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
}

/// GitHub's command that marks the run with something that somebody should look at.
#[must_use]
pub fn github_warning(title: &str, message: &str) -> String {
    format!("::warning title={}::{}", property(title), data(message))
}

/// GitHub's command that marks an error at `place`.
#[must_use]
pub fn github_error(place: Option<&Place>, title: &str, message: &str) -> String {
    let mut properties = format!("title={}", property(title));
    if let Some(Place { file, line, column }) = place {
        properties = format!("file={},line={line},col={column},{properties}", property(file));
    }
    format!("::error {properties}::{}", data(message))
}

/// GitHub's commands that keep `secret` out of everything that is shown later: each line of it by itself.
#[must_use]
pub fn github_mask(secret: &str) -> Vec<String> {
    secret.lines().filter(|line| !line.trim().is_empty()).map(|line| format!("::add-mask::{}", data(line))).collect()
}

/// GitHub's command that begins a folded part.
#[must_use]
pub fn github_group(title: &str) -> String {
    format!("::group::{}", data(title))
}

/// GitHub's command that ends it.
pub const GITHUB_END_GROUP: &str = "::endgroup::";

/// GitLab's marks around a folded part; `time` is in seconds since 1970.
#[must_use]
pub fn gitlab_section(title: &str, time: i64) -> (String, String) {
    let id: String = title.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect();
    (
        format!("\x1b[0Ksection_start:{time}:{id}[collapsed=true]\r\x1b[0K{}", without_marks(title)),
        format!("\x1b[0Ksection_end:{time}:{id}\r\x1b[0K"),
    )
}

/// `text` without anything that is a command to GitHub: neither `::name::` at the beginning of a line, nor the older
/// `##[name]` anywhere.
#[must_use]
pub fn without_commands(text: &str) -> String {
    let lines = text.split('\n').map(|line| {
        // A zero-width space is enough.
        let line = line.replace("##[", "#\u{200b}#[").replace('\r', " ");
        let indent = line.len() - line.trim_start().len();
        match line[indent..].starts_with("::") {
            true => format!("{}\u{200b}{}", &line[..indent], &line[indent..]),
            false => line,
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// `text` without anything that could begin or end a folded part of GitLab's log.
#[must_use]
pub fn without_marks(text: &str) -> String {
    text.chars().filter(|character| !character.is_control() || matches!(character, '\n' | '\t')).collect()
}

/// The runner's own escapes for what stands after the second `::`.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The runner's own escapes for a property's value.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_are_escaped() {
        let place = Place { file: "a,b:c.toml".to_owned(), line: 3, column: 7 };
        assert_eq!(
            github_error(Some(&place), "todo: no\nrole", "100%\r\n::set-output name=x::y"),
            "::error file=a%2Cb%3Ac.toml,line=3,col=7,title=todo%3A no%0Arole::100%25%0D%0A::set-output name=x::y"
        );
        assert_eq!(github_error(None, "a", "b"), "::error title=a::b");
        assert_eq!(github_warning("a:b", "c\nd"), "::warning title=a%3Ab::c%0Ad");
        assert_eq!(github_mask("a%\n\nb"), ["::add-mask::a%25", "::add-mask::b"]);
    }

    #[test]
    fn text_gives_no_commands() {
        assert_eq!(
            without_commands("a\n  ::error::x\n##[add-mask]y"),
            "a\n  \u{200b}::error::x\n#\u{200b}#[add-mask]y"
        );
        assert_eq!(without_marks("a\x1b[0Ksection_end:1:x\r\nb"), "a[0Ksection_end:1:x\nb");
    }
}
