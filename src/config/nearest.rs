//! The known word that somebody may have meant: a misspelt word comes in, the nearest known one goes out.

/// The word of `known` that is nearest to `word`, if it is near enough to be what was meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// "did you mean …", where a word is near; else the known words, as many as are worth reading.
#[must_use]
pub fn suggestion<'a>(word: &str, what: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match (nearest(word, known.iter().copied()), known.as_slice()) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, []) => format!("there are no {what}"),
        (None, [only]) => format!("the only one of the {what} is `{only}`"),
        (None, known) => {
            let shown: Vec<String> = known.iter().take(SHOWN).map(|word| format!("`{word}`")).collect();
            let more = if known.len() > SHOWN { format!(" and {} more", known.len() - SHOWN) } else { String::new() };
            format!("the {what} are {}{more}", shown.join(", "))
        }
    }
}

/// How many known words a message lists.
const SHOWN: usize = 20;

/// Edits from one word to the other. Case costs nothing: `Path` is `path`, mistyped. Long words are not compared:
/// nobody mistypes one, and the cost is the product of the lengths.
fn distance(left: &str, right: &str) -> usize {
    if left.len() > 100 || right.len() > 100 {
        return usize::MAX;
    }
    strsim::damerau_levenshtein(&left.to_lowercase(), &right.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["path", "image", "registries"];
        assert_eq!(nearest("pth", known), Some("path"));
        assert_eq!(nearest("Path", known), Some("path"));
        assert_eq!(nearest("registry", known), None);
        assert_eq!(nearest("registeries", known), Some("registries"));
        assert_eq!(nearest("colour", known), None);
    }

    #[test]
    fn without_a_near_word_all_are_listed() {
        assert_eq!(suggestion("colour", "keys", ["path", "image"]), "the keys are `path`, `image`");
        assert_eq!(suggestion("x", "plugins", []), "there are no plugins");
    }
}
