//! Brace expansion as npm's patterns have it: `a{b,c}d` is `abd` and `acd`, `{1..3}` is `1`, `2` and `3`. One pattern
//! comes in, every pattern that it stands for goes out.

/// brace-expansion 5 stops silently at 100,000 results; more than this many is an error here.
const MAX_RESULTS: usize = 4096;

/// A character of a pattern. Those after a backslash never mean anything to brace expansion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Plain(char),
    Escaped(char),
}

type Text = Vec<Token>;

/// The pattern stands for more patterns than any real one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany;

/// Every pattern that `pattern` stands for, in order, without duplicates.
pub(super) fn expand(pattern: &str) -> Result<Vec<String>, TooMany> {
    // minimatch 10: a pattern without a `{` and a later `}` is left alone, escapes and all.
    let open = pattern.find('{');
    if !open.is_some_and(|open| pattern[open..].contains('}')) {
        return Ok(vec![pattern.to_owned()]);
    }
    let mut text = tokens(pattern);
    if text.starts_with(&[Token::Plain('{'), Token::Plain('}')]) {
        // brace-expansion 5: a leading `{}` is literal, as in bash.
        text[0] = Token::Escaped('{');
        text[1] = Token::Escaped('}');
    }
    let mut seen = std::collections::HashSet::new();
    Ok(expand_text(text, true)?.iter().map(|text| render(text)).filter(|text| seen.insert(text.clone())).collect())
}

fn tokens(pattern: &str) -> Text {
    let mut characters = pattern.chars().peekable();
    let mut text = Text::new();
    while let Some(character) = characters.next() {
        let escaped = (character == '\\').then(|| characters.next_if(|next| "\\{},.".contains(*next))).flatten();
        text.push(escaped.map_or(Token::Plain(character), Token::Escaped));
    }
    text
}

fn render(text: &[Token]) -> String {
    text.iter()
        .map(|token| match token {
            Token::Plain(character) | Token::Escaped(character) => *character,
        })
        .collect()
}

/// The text of `body` if no part of it is escaped.
fn plain(body: &[Token]) -> Option<String> {
    body.iter().all(|token| matches!(token, Token::Plain(_))).then(|| render(body))
}

fn find(text: &[Token], character: char, from: usize) -> Option<usize> {
    text.iter().skip(from).position(|token| *token == Token::Plain(character)).map(|position| position + from)
}

/// The first pair of braces that belong together: the outermost where they nest, the innermost where one is missing.
fn balanced(text: &[Token]) -> Option<(usize, usize)> {
    let mut open = find(text, '{', 0);
    let mut close = find(text, '}', open? + 1);
    let mut begun: Vec<usize> = Vec::new();
    let mut widest: Option<(usize, usize)> = None;
    let mut at = open;
    close?;
    while let Some(position) = at {
        if at == open {
            begun.push(position);
            open = find(text, '{', position + 1);
        } else if begun.len() == 1 {
            return Some((begun[0], position));
        } else {
            if let Some(begin) = begun.pop()
                && widest.is_none_or(|(left, _)| begin < left)
            {
                widest = Some((begin, position));
            }
            close = find(text, '}', position + 1);
        }
        at = match (open, close) {
            (Some(open), Some(close)) => Some(open.min(close)),
            (_, close) => close,
        };
    }
    if begun.is_empty() { None } else { widest }
}

/// Splits at the commas that stand in no inner braces.
fn comma_parts(text: &[Token]) -> Vec<Text> {
    let Some((open, close)) = balanced(text) else {
        return text.split(|token| *token == Token::Plain(',')).map(<[Token]>::to_vec).collect();
    };
    let mut parts: Vec<Text> = text[..open].split(|token| *token == Token::Plain(',')).map(<[Token]>::to_vec).collect();
    let mut last = parts.pop().unwrap_or_default();
    last.extend_from_slice(&text[open..=close]);
    let mut rest = if close + 1 < text.len() { comma_parts(&text[close + 1..]) } else { Vec::new() };
    if !rest.is_empty() {
        last.extend(rest.remove(0));
    }
    parts.push(last);
    parts.extend(rest);
    parts
}

/// Every `so_far` + `middle` + `value`.
fn combine(so_far: &[Text], middle: &[Token], values: &[Text], drop_empty: bool) -> Result<Vec<Text>, TooMany> {
    let mut combined = Vec::new();
    for start in so_far {
        for value in values {
            let text: Text = start.iter().chain(middle).chain(value).copied().collect();
            if drop_empty && text.is_empty() {
                continue;
            }
            if combined.len() == MAX_RESULTS {
                return Err(TooMany);
            }
            combined.push(text);
        }
    }
    Ok(combined)
}

fn expand_text(mut text: Text, mut top: bool) -> Result<Vec<Text>, TooMany> {
    let nothing = [Text::new()];
    let mut so_far = nothing.to_vec();
    let mut drop_empty = false;
    let mut first = true;
    loop {
        let Some((open, close)) = balanced(&text) else {
            return combine(&so_far, &text, &nothing, drop_empty);
        };
        let (before, body, after) = (&text[..open], &text[open + 1..close], &text[close + 1..]);
        let last = after.is_empty();
        if before.last() == Some(&Token::Plain('$')) {
            // `${x}` is never expanded.
            so_far = combine(&so_far, &text[..=close], &nothing, drop_empty && last)?;
            first = false;
        } else {
            let sequence = plain(body).and_then(|body| sequence(&body)).transpose()?;
            if sequence.is_none() && find(body, ',', 0).is_none() {
                if closes_later(after) {
                    // `{a},b}`: the first `}` is literal.
                    text[close] = Token::Escaped('}');
                    top = true;
                    continue;
                }
                return combine(&so_far, &text, &nothing, drop_empty);
            }
            if first {
                drop_empty = top && sequence.is_none();
                first = false;
            }
            let values = match sequence {
                Some(values) => values,
                None => options(body)?,
            };
            so_far = combine(&so_far, before, &values, drop_empty && last)?;
        }
        if last {
            return Ok(so_far);
        }
        text.drain(..=close);
    }
}

/// The values of a comma list.
fn options(body: &[Token]) -> Result<Vec<Text>, TooMany> {
    let parts = comma_parts(body);
    let mut values = Vec::new();
    if let [only] = parts.as_slice() {
        // `x{{a,b}}y` is `x{a}y` and `x{b}y`.
        for inner in expand_text(only.clone(), false)? {
            let embraced = [&[Token::Plain('{')], inner.as_slice(), &[Token::Plain('}')]].concat();
            // What is embraced has no comma of its own left, so it is a value as it stands.
            values.push(embraced);
        }
        return Ok(values);
    }
    for part in parts {
        values.extend(expand_text(part, false)?);
        if values.len() > MAX_RESULTS {
            return Err(TooMany);
        }
    }
    Ok(values)
}

/// Whether a comma (but not the first of two) and then a `}` follow.
fn closes_later(after: &[Token]) -> bool {
    after.iter().enumerate().any(|(position, token)| {
        *token == Token::Plain(',')
            && after.get(position + 1) != Some(&Token::Plain(','))
            && find(after, '}', position + 1).is_some()
    })
}

/// The values of `1..5`, `05..1..-2` or `a..e`; `None` when `body` is no sequence.
fn sequence(body: &str) -> Option<Result<Vec<Text>, TooMany>> {
    let parts: Vec<&str> = body.split("..").collect();
    let (&[from, to] | &[from, to, _]) = parts.as_slice() else { return None };
    let is_number = |text: &str| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    let is_letter = |text: &str| text.len() == 1 && text.as_bytes()[0].is_ascii_alphabetic();
    let numeric = is_number(from) && is_number(to);
    if !(numeric || is_letter(from) && is_letter(to)) || !parts.get(2).is_none_or(|step| is_number(step)) {
        return None;
    }
    let value = |text: &str| if numeric { text.parse().ok() } else { Some(i64::from(text.as_bytes()[0])) };
    let bounds = value(from).zip(value(to)).zip(parts.get(2).map_or(Some(1), |step| step.parse::<i64>().ok()));
    let Some(((first, end), step)) = bounds else { return Some(Err(TooMany)) };
    let step = step.unsigned_abs().max(1);
    if first.abs_diff(end) / step >= MAX_RESULTS as u64 {
        return Some(Err(TooMany));
    }
    let is_padded = |text: &&str| {
        let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
        digits.len() > 1 && digits[0] == b'0' && digits[1].is_ascii_digit()
    };
    let width = if parts.iter().any(is_padded) { from.len().max(to.len()) } else { 0 };
    let render_one = |number: i64| {
        let text = if numeric {
            format!("{number:0width$}")
        } else {
            u8::try_from(number).map_or_else(|_| String::new(), |byte| char::from(byte).to_string())
        };
        // brace-expansion 5: the backslash between `Z` and `a` becomes nothing.
        text.chars().filter(|character| *character != '\\').map(Token::Plain).collect::<Text>()
    };
    let count = first.abs_diff(end) / step;
    let at = |index: u64| {
        let distance = i64::try_from(index * step).unwrap_or(i64::MAX);
        if end < first { first - distance } else { first + distance }
    };
    Some(Ok((0..=count).map(|index| render_one(at(index))).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_expand_as_in_bash() {
        for (pattern, expected) in [
            ("a{b,c}d", vec!["abd", "acd"]),
            ("a{b,}c", vec!["abc", "ac"]),
            ("a{0..3}d", vec!["a0d", "a1d", "a2d", "a3d"]),
            ("a{b,c{d,e}f}g", vec!["abg", "acdfg", "acefg"]),
            ("a{b,c}d{e,f}g", vec!["abdeg", "abdfg", "acdeg", "acdfg"]),
            ("a{2..}b", vec!["a{2..}b"]),
            ("a{b}c", vec!["a{b}c"]),
            ("{},a}b", vec!["{},a}b"]),
            ("{a},b}", vec!["a}", "b"]),
            ("x{{a,b}}y", vec!["x{a}y", "x{b}y"]),
            ("${a,b}{c,d}", vec!["${a,b}c", "${a,b}d"]),
            ("{05..1..-2}", vec!["05", "03", "01"]),
            ("\\{a,b}", vec!["{a,b}"]),
            ("{a,b", vec!["{a,b"]),
            ("{-1..1}", vec!["-1", "0", "1"]),
        ] {
            assert_eq!(expand(pattern).unwrap(), expected, "{pattern}");
        }
        assert_eq!(expand(&"{a,b}".repeat(30)), Err(TooMany));
        assert_eq!(expand("{1..1000000000}"), Err(TooMany));
    }
}
