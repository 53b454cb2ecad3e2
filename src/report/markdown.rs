//! Text in GitHub's and GitLab's markdown. What comes from the repository comes in; what goes out shows it as it is:
//! it cannot become markup, a link, a mention of a user, or a reference to an issue.

use crate::hidden::is_hidden;

/// `text` as running text, on one line.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // A word joiner after them keeps @name, #1, !2, :smile:, GH-1, www.example.com and https://… from becoming
            // mentions, references, pictures and links.
            '@' | '#' | '$' | '%' | '^' | ':' => {
                out.push(character);
                out.push('\u{2060}');
            }
            '.' | '-' if out.ends_with(['w', 'W', 'h', 'H']) => {
                out.push('\u{2060}');
                out.push(character);
            }
            '!' | '~' => {
                out.push('\\');
                out.push(character);
                out.push('\u{2060}');
            }
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '|' | '-' | '+' | '=' => {
                out.push('\\');
                out.push(character);
            }
            hidden if is_hidden(hidden) => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

/// A message of rhdh-pack, on one line: what stands between backticks becomes inline code, the rest running text.
pub(super) fn prose(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    if parts.len().is_multiple_of(2) {
        return escape(text);
    }
    let pieces = parts.iter().enumerate().map(|(at, part)| match at % 2 {
        1 if part.trim().is_empty() => escape(part),
        1 => code(part),
        _ => escape(part),
    });
    pieces.collect()
}

/// `text` as inline code, in a table too. Backticks, bars and line breaks cannot stand there.
pub(crate) fn code(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|character| match character {
            '`' | '|' => '\u{fffd}',
            hidden if is_hidden(hidden) => '\u{fffd}',
            other => other,
        })
        .collect();
    format!("`{text}`")
}

/// `text` as a code block of the language `language`, whose fence is longer than any run of backticks inside.
pub(super) fn fenced(language: &str, text: &str) -> String {
    let text: String =
        text.chars().map(|character| if is_hidden(character) && character != '\n' { ' ' } else { character }).collect();
    let longest = text.split(|character| character != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}\n", text.trim_end())
}

/// A section that is folded until somebody opens it. `title` is markup already; so is `body`.
pub(super) fn folded(title: &str, body: &str) -> String {
    // Markdown is read inside of HTML only after an empty line.
    format!("<details><summary>{title}</summary>\n\n{}\n\n</details>\n\n", body.trim_end())
}

/// The marker by which a comment is found again: one for each configuration file. Nobody sees it.
pub(super) fn marker(config: &str) -> String {
    let mut name = String::new();
    for byte in config.bytes() {
        match byte {
            // Two dashes would end the comment.
            b'-' if name.ends_with('-') => name.push_str("%2D"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'/' | b'-' => name.push(char::from(byte)),
            other => name.push_str(&format!("%{other:02X}")),
        }
    }
    format!("<!-- rhdh-pack: {name} -->")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_name_becomes_markup() {
        let escaped = escape("<img src=x> @acme/x #1 [a](https://b.c) `c` **d** | e\nf");
        for part in ["<", "@acme", "#1", "[a]", "https://", "`c`", "**", " | ", "\n"] {
            let part_is_escaped = !escaped.contains(part) || part == "`c`" && escaped.contains("\\`c\\`");
            assert!(part_is_escaped, "{part} in {escaped}");
        }
    }

    #[test]
    fn backticks_of_a_message_are_code() {
        assert_eq!(prose("`yarn tsc` failed"), "`yarn tsc` failed");
        assert_eq!(prose("`a failed"), "\\`a failed");
        assert_eq!(prose("`a|b`"), "`a\u{fffd}b`");
    }

    #[test]
    fn a_fence_is_longer_than_any_inside() {
        assert_eq!(fenced("", "a\n````\nb"), "`````\na\n````\nb\n`````\n");
    }

    #[test]
    fn a_path_cannot_leave_its_marker() {
        assert_eq!(marker("a/rhdh-plugins.toml"), "<!-- rhdh-pack: a/rhdh-plugins.toml -->");
        assert_eq!(marker("x-->@y"), "<!-- rhdh-pack: x-%2D%3E%40y -->");
    }
}
