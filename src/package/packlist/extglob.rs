//! One part of a pattern between two slashes, such as `*.!(test).js` or `[a-z]?`: compiled once to a small automaton,
//! then matched against names in polynomial time whatever the pattern is. The rules are minimatch 10's with the
//! options `dot` and `nocase`.

use super::class::{self, Class};

/// minimatch 10 takes extglobs nested deeper than this as plain text.
const MAX_DEPTH: usize = 2;

/// The pieces of a part, in order.
type Sequence = Vec<Piece>;

#[derive(Clone, Debug)]
enum Piece {
    Unit(u16),
    /// `?`
    Any,
    /// `*`
    Star,
    Class(Class),
    /// Matches nothing, ever: what a class such as `[z-a]` leaves of a pattern.
    Never,
    Group(Kind, Vec<Sequence>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Not,
    Optional,
    Repeat,
    Any,
    One,
}

impl Kind {
    fn of(character: char) -> Option<Self> {
        Some(match character {
            '!' => Self::Not,
            '?' => Self::Optional,
            '+' => Self::Repeat,
            '*' => Self::Any,
            '@' => Self::One,
            _ => return None,
        })
    }

    /// Whether a group directly inside this one melts into it, and so does not count as nested.
    fn adopts(self, inner: Self) -> bool {
        match self {
            Self::Not | Self::Optional | Self::One => matches!(inner, Self::Optional | Self::One),
            Self::Any | Self::Repeat => inner != Self::Not,
        }
    }
}

/// A compiled part of a pattern.
#[derive(Clone, Debug)]
pub(super) struct Automaton {
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
enum Step {
    Unit(u16),
    Any,
    Class(Class),
    Never,
    Both(usize, usize),
    Jump(usize),
    /// Go on only where the inner automaton does not match all the rest of the name.
    Unless(Automaton),
    End,
}

/// A name's character as it is compared without regard to case: JavaScript's `Canonicalize` for `/i`.
pub(super) fn fold(unit: u16) -> u16 {
    if let Ok(byte) = u8::try_from(unit)
        && byte.is_ascii()
    {
        return u16::from(byte.to_ascii_uppercase());
    }
    let Some(character) = char::from_u32(u32::from(unit)) else { return unit };
    let mut upper = character.to_uppercase();
    match (upper.next().map(|upper| u16::try_from(u32::from(upper))), upper.next()) {
        (Some(Ok(folded)), None) if folded >= 128 => folded,
        _ => unit,
    }
}

impl Automaton {
    /// Compiles one part of a pattern.
    pub(super) fn new(part: &str) -> Self {
        let characters: Vec<char> = part.chars().collect();
        let mut sequence = Parser { characters: &characters, at: 0, groups: true }.sequence();
        if characters.iter().all(|character| *character == '*') {
            // Nothing but stars: the part has to match at least something.
            sequence.insert(0, Piece::Any);
        }
        let sequence = without_nothing(sequence).unwrap_or_else(|| {
            let mut literal = Sequence::new();
            characters.iter().for_each(|character| push_units(&mut literal, *character));
            literal
        });
        Self::compile(&sequence, &[])
    }

    /// `tail` is what comes after `sequence` in the whole part: a `!(…)` looks as far as that.
    fn compile(sequence: &[Piece], tail: &[Piece]) -> Self {
        let mut automaton = Self { steps: Vec::new() };
        automaton.push_sequence(sequence, tail);
        automaton.steps.push(Step::End);
        automaton
    }

    fn push_sequence(&mut self, sequence: &[Piece], tail: &[Piece]) {
        for (position, piece) in sequence.iter().enumerate() {
            match piece {
                Piece::Unit(unit) => self.steps.push(Step::Unit(fold(*unit))),
                Piece::Any => self.steps.push(Step::Any),
                Piece::Never => self.steps.push(Step::Never),
                Piece::Class(class) => self.steps.push(Step::Class(class.clone())),
                Piece::Star => self.push_star(),
                Piece::Group(kind, alternatives) => {
                    let rest = [&sequence[position + 1..], tail].concat();
                    self.push_group(*kind, alternatives, &rest);
                }
            }
        }
    }

    fn push_star(&mut self) {
        let start = self.steps.len();
        self.steps.extend([Step::Both(start + 1, start + 3), Step::Any, Step::Jump(start)]);
    }

    fn push_group(&mut self, kind: Kind, alternatives: &[Sequence], rest: &[Piece]) {
        if kind == Kind::Not {
            if alternatives.iter().all(Vec::is_empty) {
                // `!()` is anything but nothing.
                self.steps.push(Step::Any);
                return self.push_star();
            }
            let mut inner = Self { steps: Vec::new() };
            let forbidden: Vec<Sequence> =
                alternatives.iter().map(|alternative| [alternative.as_slice(), rest].concat()).collect();
            inner.push_alternatives(&forbidden, &[]);
            inner.steps.push(Step::End);
            self.steps.push(Step::Unless(inner));
            return self.push_star();
        }
        let start = self.steps.len();
        if matches!(kind, Kind::Optional | Kind::Any) {
            self.steps.push(Step::Never);
        }
        let body = self.steps.len();
        self.push_alternatives(alternatives, rest);
        if matches!(kind, Kind::Any | Kind::Repeat) {
            let next = self.steps.len() + 1;
            self.steps.push(Step::Both(body, next));
        }
        if matches!(kind, Kind::Optional | Kind::Any) {
            self.steps[start] = Step::Both(body, self.steps.len());
        }
    }

    fn push_alternatives(&mut self, alternatives: &[Sequence], tail: &[Piece]) {
        let mut jumps = Vec::new();
        for (position, alternative) in alternatives.iter().enumerate() {
            let last = position + 1 == alternatives.len();
            let fork = self.steps.len();
            if !last {
                self.steps.push(Step::Never);
            }
            self.push_sequence(alternative, tail);
            if !last {
                jumps.push(self.steps.len());
                self.steps.push(Step::Never);
                self.steps[fork] = Step::Both(fork + 1, self.steps.len());
            }
        }
        let end = self.steps.len();
        for jump in jumps {
            self.steps[jump] = Step::Jump(end);
        }
    }

    /// Whether the automaton matches all of `name`, which is UTF-16 already folded by [`fold`].
    pub(super) fn matches(&self, name: &[u16]) -> bool {
        let mut states = vec![false; self.steps.len()];
        let mut next = states.clone();
        let mut pending = Vec::new();
        self.enter(0, name, &mut states, &mut pending);
        for (position, unit) in name.iter().enumerate() {
            let rest = &name[position + 1..];
            let mut goes_on = false;
            for (index, _) in states.iter().enumerate().filter(|(_, active)| **active) {
                let taken = match &self.steps[index] {
                    Step::Unit(expected) => expected == unit,
                    Step::Any => true,
                    Step::Class(class) => class.matches(*unit),
                    _ => false,
                };
                if taken {
                    self.enter(index + 1, rest, &mut next, &mut pending);
                    goes_on = true;
                }
            }
            if !goes_on {
                return false;
            }
            std::mem::swap(&mut states, &mut next);
            next.fill(false);
        }
        states.last() == Some(&true)
    }

    /// Marks `index` and every step that follows it without taking a character; `pending` comes and goes empty.
    fn enter(&self, index: usize, rest: &[u16], states: &mut [bool], pending: &mut Vec<usize>) {
        pending.push(index);
        while let Some(index) = pending.pop() {
            if std::mem::replace(&mut states[index], true) {
                continue;
            }
            match &self.steps[index] {
                Step::Both(first, second) => pending.extend([*first, *second]),
                Step::Jump(target) => pending.push(*target),
                Step::Unless(inner) if !inner.matches(rest) => pending.push(index + 1),
                _ => {}
            }
        }
    }
}

/// minimatch 10: a group that is a whole part does not match nothing; `None` if there is nothing else that it matches.
fn without_nothing(mut sequence: Sequence) -> Option<Sequence> {
    if let [Piece::Group(kind, alternatives)] = sequence.as_mut_slice()
        && !(*kind == Kind::Not && alternatives.len() == 1)
    {
        alternatives.retain(|alternative| !alternative.is_empty());
        if alternatives.is_empty() {
            return None;
        }
        for alternative in alternatives {
            if matches!(alternative.as_slice(), [Piece::Star]) {
                alternative.insert(0, Piece::Any);
            }
        }
    }
    Some(sequence)
}

struct Parser<'a> {
    characters: &'a [char],
    at: usize,
    /// minimatch 10: after a `[` or a group that is never closed, no more groups are recognised.
    groups: bool,
}

/// What stands where a group may begin.
enum Found {
    Group(Piece),
    NoGroup,
    Unclosed,
}

impl Parser<'_> {
    fn peek(&self, offset: usize) -> Option<char> {
        self.characters.get(self.at + offset).copied()
    }

    /// The whole part.
    fn sequence(&mut self) -> Sequence {
        let mut sequence = Sequence::new();
        while self.at < self.characters.len() {
            let start = self.at;
            let found = if self.groups { self.group(None, 0) } else { Found::NoGroup };
            match found {
                Found::Group(group) => sequence.push(group),
                Found::NoGroup => self.piece(&mut sequence),
                Found::Unclosed => {
                    self.at = start;
                    self.groups = false;
                }
            }
        }
        sequence
    }

    fn group(&mut self, outer: Option<Kind>, depth: usize) -> Found {
        let Some(kind) = self.peek(0).and_then(Kind::of) else { return Found::NoGroup };
        let melts = outer.is_some_and(|outer| outer.adopts(kind));
        if self.peek(1) != Some('(') || !(depth <= MAX_DEPTH || melts) {
            return Found::NoGroup;
        }
        self.at += 2;
        let inner_depth = if melts { depth } else { depth + 1 };
        let mut alternatives = Vec::new();
        let mut alternative = Sequence::new();
        while let Some(character) = self.peek(0) {
            match character {
                ')' | '|' => {
                    self.at += 1;
                    alternatives.push(std::mem::take(&mut alternative));
                    if character == ')' {
                        return Found::Group(Piece::Group(kind, alternatives));
                    }
                }
                _ => match self.group(Some(kind), inner_depth) {
                    Found::Group(group) => alternative.push(group),
                    Found::Unclosed => return Found::Unclosed,
                    Found::NoGroup => {
                        self.piece(&mut alternative);
                        if !self.groups {
                            return Found::Unclosed;
                        }
                    }
                },
            }
        }
        Found::Unclosed
    }

    /// One piece that is no group.
    fn piece(&mut self, sequence: &mut Sequence) {
        let Some(character) = self.peek(0) else { return };
        self.at += 1;
        match character {
            '*' => {
                if !matches!(sequence.last(), Some(Piece::Star)) {
                    sequence.push(Piece::Star);
                }
            }
            '?' => sequence.push(Piece::Any),
            '\\' => {
                let literal = self.peek(0).unwrap_or('\\');
                self.at += 1;
                push_units(sequence, literal);
            }
            '[' => match class::parse(self.characters, self.at - 1) {
                class::Parsed::Class(class, end) => {
                    sequence.push(Piece::Class(class));
                    self.at = end;
                }
                class::Parsed::Literal(literal, end) => {
                    push_units(sequence, literal);
                    self.at = end;
                }
                class::Parsed::Never => {
                    sequence.push(Piece::Never);
                    self.at = self.characters.len();
                }
                class::Parsed::Unclosed => {
                    push_units(sequence, '[');
                    self.groups = false;
                }
            },
            literal => push_units(sequence, literal),
        }
    }
}

fn push_units(sequence: &mut Sequence, literal: char) {
    sequence.extend(literal.encode_utf16(&mut [0; 2]).iter().map(|unit| Piece::Unit(*unit)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(part: &str, name: &str) -> bool {
        let name: Vec<u16> = name.encode_utf16().map(fold).collect();
        Automaton::new(part).matches(&name)
    }

    #[test]
    fn parts_match_as_minimatch_does() {
        for (part, name, expected) in [
            ("*.js", "index.JS", true),
            ("*.*(c)[tj]s", "x.cjs", true),
            ("*.*(c)[tj]s", "x.ccts", true),
            ("*.*(c)[tj]s", "x.mjs", false),
            ("!(__tests__)", "lib", true),
            ("!(__tests__)", "__tests__", false),
            ("!(a)b", "ab", false),
            ("!(a)b", "aab", true),
            ("@(a|b)?(c)", "bc", true),
            ("+(a|bc)", "abca", true),
            ("+(a|bc)", "", false),
            ("license{", "LICENSE{", true),
            ("[!a]x", "bx", true),
            ("[!a]x", "Ax", false),
            ("[[:digit:]]", "7", true),
            ("[z-a]", "z", false),
            ("[abc", "[abc", true),
            ("!()", "", false),
            ("*", "", false),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("+(a", "+(a", true),
        ] {
            assert_eq!(matches(part, name), expected, "{part} {name}");
        }
    }

    #[test]
    fn hostile_patterns_end() {
        assert!(!matches(&"*(a|aa)".repeat(12), &format!("{}b", "a".repeat(120))));
        assert!(!matches(&"*a".repeat(60), &"a".repeat(59)));
    }
}
