//! Characters that nobody sees, in texts that come from outside: names in an archive, a lock file, or a repository may
//! hold them to move a terminal's cursor, to begin a line of their own, or to turn the direction of what follows.

use std::borrow::Cow;

/// Control characters, and those that turn the direction of the text around them.
#[must_use]
pub fn is_hidden(character: char) -> bool {
    character.is_control() || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A name on one line: what is hidden in it shows as `\u{1b}`, `\n`.
#[must_use]
pub fn shown(name: &str) -> Cow<'_, str> {
    if !name.contains(is_hidden) {
        return Cow::Borrowed(name);
    }
    let mut text = String::with_capacity(name.len() + 8);
    for character in name.chars() {
        if is_hidden(character) { text.extend(character.escape_default()) } else { text.push(character) }
    }
    Cow::Owned(text)
}

/// A text of several lines for a terminal, with nothing hidden but colors.
#[must_use]
pub fn for_terminal(text: &str) -> Cow<'_, str> {
    if !text.contains(|character| is_hidden(character) && !matches!(character, '\n' | '\t')) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let length = color(rest).unwrap_or(character.len_utf8());
        match character {
            '\r' => {}
            '\n' | '\t' => out.push(character),
            hidden if is_hidden(hidden) && length == character.len_utf8() => out.extend(hidden.escape_default()),
            _ => out.push_str(&rest[..length]),
        }
        rest = &rest[length..];
    }
    Cow::Owned(out)
}

/// How many bytes the sequence at the beginning of `text` has, if it sets colors: `ESC [ 1 ; 31 m`.
fn color(text: &str) -> Option<usize> {
    let numbers = text.strip_prefix("\x1b[")?;
    let end = numbers.find(|character: char| !character.is_ascii_digit() && character != ';')?;
    numbers[end..].starts_with('m').then_some("\x1b[".len() + end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_shows() {
        assert_eq!(shown("plugins/todo ü"), "plugins/todo ü");
        assert_eq!(shown("a\n::error::b\x1b[2J\u{202e}"), "a\\n::error::b\\u{1b}[2J\\u{202e}");
    }

    #[test]
    fn colors_stay_and_nothing_else() {
        assert_eq!(for_terminal("\x1b[1;31mred\x1b[0m\n\ttext\r\n"), "\x1b[1;31mred\x1b[0m\n\ttext\n");
        assert_eq!(for_terminal("\x1b[2Ja\x07\x1b]0;title\x07\x1b"), "\\u{1b}[2Ja\\u{7}\\u{1b}]0;title\\u{7}\\u{1b}");
    }
}
