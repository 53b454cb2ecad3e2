//! Character classes of patterns: `[a-z]`, `[!~$]`, `[[:digit:]]`.

use super::extglob::fold;

/// Whether a character belongs to a POSIX class.
type Belongs = fn(char) -> bool;

/// A class, closed and not empty.
#[derive(Clone, Debug)]
pub(super) struct Class {
    negated: bool,
    ranges: Vec<(char, char)>,
    posix: Vec<Belongs>,
}

/// What stands where a `[` is.
pub(super) enum Parsed {
    /// A class, and the position after it.
    Class(Class, usize),
    /// A class of one character is that character; and the position after it.
    Literal(char, usize),
    /// A class that nothing can match: it takes the whole part with it.
    Never,
    /// No class: the `[` stands for itself.
    Unclosed,
}

impl Class {
    /// Whether one UTF-16 unit of a name, folded by [`fold`], belongs to the class. Case is not regarded.
    pub(super) fn matches(&self, unit: u16) -> bool {
        let Some(character) = char::from_u32(u32::from(unit)) else { return self.negated };
        let variants = [Some(character), one(character.to_lowercase()), one(character.to_uppercase())];
        let inside = variants.into_iter().flatten().filter(|variant| folds_to(*variant, unit)).any(|variant| {
            self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&variant))
                || self.posix.iter().any(|belongs| belongs(variant))
        });
        inside != self.negated
    }
}

fn one(mut characters: impl Iterator<Item = char>) -> Option<char> {
    characters.next().filter(|_| characters.next().is_none())
}

fn folds_to(character: char, unit: u16) -> bool {
    u16::try_from(u32::from(character)).is_ok_and(|own| fold(own) == unit)
}

/// The POSIX classes that minimatch knows, by the Unicode categories that it gives them (of which the ones for
/// punctuation and graphical characters are taken as far as ASCII goes).
const POSIX: [(&str, Belongs); 14] = [
    ("[:alnum:]", char::is_alphanumeric),
    ("[:alpha:]", char::is_alphabetic),
    ("[:ascii:]", |character| character.is_ascii()),
    ("[:blank:]", |character| character == '\t' || character == ' ' || character == '\u{a0}'),
    ("[:cntrl:]", char::is_control),
    ("[:digit:]", |character| character.is_numeric()),
    ("[:graph:]", |character| !character.is_whitespace() && !character.is_control()),
    ("[:lower:]", char::is_lowercase),
    ("[:print:]", |character| !character.is_control()),
    ("[:punct:]", |character| character.is_ascii_punctuation() && !"$+<=>^`|~".contains(character)),
    ("[:space:]", char::is_whitespace),
    ("[:upper:]", char::is_uppercase),
    ("[:word:]", |character| character.is_alphanumeric() || character == '_'),
    ("[:xdigit:]", |character| character.is_ascii_hexdigit()),
];

/// Reads the class whose `[` stands at `start`.
pub(super) fn parse(characters: &[char], start: usize) -> Parsed {
    let at = |position: usize| characters.get(position).copied();
    let mut class = Class { negated: false, ranges: Vec::new(), posix: Vec::new() };
    let mut position = start + 1;
    if matches!(at(position), Some('!' | '^')) {
        class.negated = true;
        position += 1;
    }
    let mut begun = false;
    let mut escaped = false;
    let mut range_from: Option<char> = None;
    let end = loop {
        let Some(character) = at(position) else { return Parsed::Unclosed };
        if character == ']' && begun && !escaped {
            break position + 1;
        }
        begun = true;
        if character == '\\' && !escaped {
            escaped = true;
            position += 1;
            continue;
        }
        if character == '['
            && !escaped
            && let Some((name, belongs)) = POSIX.iter().find(|(name, _)| {
                name.chars().enumerate().all(|(offset, expected)| at(position + offset) == Some(expected))
            })
        {
            if range_from.is_some() {
                return Parsed::Never;
            }
            class.posix.push(*belongs);
            position += name.len();
            continue;
        }
        escaped = false;
        if let Some(first) = range_from.take() {
            // A range that runs backwards holds nothing; the rest of the class still counts.
            if character >= first {
                class.ranges.push((first, character));
            }
            position += 1;
            continue;
        }
        if at(position + 1) == Some('-') && at(position + 2) == Some(']') {
            class.ranges.extend([(character, character), ('-', '-')]);
            position += 2;
        } else if at(position + 1) == Some('-') {
            range_from = Some(character);
            position += 2;
        } else {
            class.ranges.push((character, character));
            position += 1;
        }
    };
    if class.ranges.is_empty() && class.posix.is_empty() {
        return Parsed::Never;
    }
    if let [(first, last)] = class.ranges.as_slice()
        && first == last
        && class.posix.is_empty()
        && !class.negated
    {
        return Parsed::Literal(*first, end);
    }
    Parsed::Class(class, end)
}
