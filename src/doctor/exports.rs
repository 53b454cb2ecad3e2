//! Whether a module of TypeScript or JavaScript exports something as default, by its text. Nothing is resolved or run:
//! `rhdh-pack verify` loads what was exported, and knows.

/// What a module's text shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// A default export.
    Default,
    /// None, but everything of another module, which leaves out that module's default export.
    Everything,
    /// None.
    Nothing,
}

/// What `text` shows.
pub(super) fn shown(text: &str) -> Shown {
    let words = words(text);
    let mut everything = false;
    for (at, word) in words.iter().enumerate() {
        let next = words.get(at + 1..).unwrap_or_default();
        let is_default = match (word.as_str(), next.first().map(String::as_str)) {
            // `export default interface` and `export type { … }` are gone when it runs.
            ("export", Some("default")) => next.get(1).is_none_or(|word| word != "interface"),
            ("export", Some("=")) => true,
            ("export", Some("{")) => list(next.get(1..).unwrap_or_default()),
            ("export", Some("*")) => {
                everything = true;
                false
            }
            ("module", Some(".")) => {
                starts(next, &[".", "exports", "="]) || starts(next, &[".", "exports", ".", "default"])
            }
            ("exports", Some(".")) => starts(next, &[".", "default"]),
            // The old way, which RHDH still loads.
            ("dynamicPluginInstaller", _) => true,
            _ => false,
        };
        if is_default {
            return Shown::Default;
        }
    }
    if everything { Shown::Everything } else { Shown::Nothing }
}

/// Whether a list of exports, `a, b as c }`, has one that is called `default`.
fn list(words: &[String]) -> bool {
    let end = words.iter().position(|word| word == "}").unwrap_or(words.len());
    words[..end].split(|word| word == ",").any(|entry| {
        entry.last().is_some_and(|name| name == "default") && entry.first().is_some_and(|word| word != "type")
    })
}

fn starts(words: &[String], with: &[&str]) -> bool {
    words.len() >= with.len() && words.iter().zip(with).all(|(word, with)| word == with)
}

/// The names and signs of a text, without its comments and strings.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '\'' | '"' | '`' => string(rest, first),
            _ if is_name(first) => {
                let length = rest.find(|next| !is_name(next)).unwrap_or(rest.len());
                words.push(rest[..length].to_owned());
                length
            }
            _ => {
                if !first.is_whitespace() {
                    words.push(first.to_string());
                }
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    words
}

/// The length of the string at the beginning of `text`; one in simple quotes ends with its line, at the latest.
fn string(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, next) in text.char_indices().skip(1) {
        match next {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if next == quote => return at + next.len_utf8(),
            '\n' if quote != '`' => return at,
            _ => {}
        }
    }
    text.len()
}

fn is_name(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '$')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_are_told_apart() {
        for (text, expected) in [
            ("export default createBackendPlugin({});", Shown::Default),
            ("export { default } from './plugin';", Shown::Default),
            ("export {\n  // the plugin\n  default,\n  other,\n} from './plugin';", Shown::Default),
            ("export { todoPlugin as default, x } from './plugin';", Shown::Default),
            ("import { p } from './p';\nexport{p as default}", Shown::Default),
            ("export * from './api';\nexport { default } from './plugin';", Shown::Default),
            ("module.exports = plugin;", Shown::Default),
            ("exports.default = plugin;", Shown::Default),
            ("module.exports.default = plugin;", Shown::Default),
            ("export = plugin;", Shown::Default),
            ("export const dynamicPluginInstaller = {};", Shown::Default),
            ("const a = 'it\\'s'; export default a;", Shown::Default),
            ("const a = /'/;\nexport default a;", Shown::Default),
            ("", Shown::Nothing),
            ("export { todoPlugin } from './plugin';", Shown::Nothing),
            ("export { default as todoPlugin } from './plugin';", Shown::Nothing),
            ("import plugin, { x as y } from './plugin';\nexport { plugin };", Shown::Nothing),
            ("// export default plugin", Shown::Nothing),
            ("/*\n export { todoPlugin as default } from './plugin';\n*/", Shown::Nothing),
            ("const text = 'export default x';", Shown::Nothing),
            ("const text = `\nexport default x\n`;", Shown::Nothing),
            ("export type { default } from './types';", Shown::Nothing),
            ("export { type Api as default } from './types';", Shown::Nothing),
            ("export default interface Api {}", Shown::Nothing),
            ("export const plugin = module.exportsOf(x);", Shown::Nothing),
            // A whole module is no backend feature, whatever it is called.
            ("export * as default from './plugin';", Shown::Everything),
            ("export * as todo from './plugin';", Shown::Everything),
            ("export * from './plugin';", Shown::Everything),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }
}
