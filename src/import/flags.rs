//! The arguments of an export as keys of the configuration. A command line comes in, as `xargs` would split it; lists
//! and what is left behind go out.

use indexmap::IndexMap;

use crate::config::names::is_package;

/// What the arguments of one plugin say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    /// By key of the configuration.
    pub(super) lists: IndexMap<&'static str, Vec<String>>,
    /// `--scalprum-config`, relative to the plugin's folder.
    pub(super) scalprum_config: Option<String>,
    /// What has no place in the configuration, and why.
    pub(super) left_behind: Vec<String>,
}

/// Options that take all arguments up to the next option, and their keys.
const LISTS: [(&str, &str); 5] = [
    ("--embed-package", "embed-packages"),
    ("--shared-package", "shared-packages"),
    ("--suppress-native-package", "suppress-native-packages"),
    ("--allow-native-package", "allow-native-packages"),
    ("--ignore-version-check", "ignore-version-check"),
];

/// Options that rhdh-pack decides on, or that no RHDH CLI has any more, with the number of their values.
const DROPPED: [(&str, usize, &str); 7] = [
    ("--clean", 0, "rhdh-pack always begins with an empty `dist-dynamic`"),
    ("--dev", 0, "it is for trying out on one machine"),
    ("--dynamic-plugins-root", 1, "it is for trying out on one machine"),
    ("--embed-as-dependencies", 0, "it is the RHDH CLI's only way today"),
    ("--no-embed-as-dependencies", 0, "the RHDH CLI has it no more"),
    ("--in-place", 0, "the RHDH CLI has it no more"),
    ("--no-in-place", 0, "the RHDH CLI has it no more"),
];

/// Reads arguments.
pub(super) fn parse(arguments: &str) -> Flags {
    let mut flags = Flags::default();
    let Some(words) = split(arguments) else {
        flags.left_behind.push(format!("`{}`: a quotation mark in it is not closed", arguments.escape_debug()));
        return flags;
    };
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.next() {
        let (option, value) = match word.split_once('=') {
            Some((option, value)) if option.starts_with("--") => (option.to_owned(), Some(value.to_owned())),
            _ => (word.clone(), None),
        };
        if let Some((_, key)) = LISTS.iter().find(|(name, _)| *name == option || format!("{name}s") == option) {
            let list = flags.lists.entry(key).or_default();
            let mut values: Vec<String> = value.into_iter().collect();
            while values.is_empty() || !word.contains('=') {
                match words.next_if(|word| !word.starts_with('-')) {
                    Some(value) => values.push(value),
                    None => break,
                }
            }
            for value in values {
                if !is_package(&value) {
                    flags
                        .left_behind
                        .push(format!("`{option}`: `{}` is not the name of a package", value.escape_debug()));
                } else if !list.contains(&value) {
                    list.push(value);
                }
            }
        } else if option == "--scalprum-config" {
            flags.scalprum_config = value.or_else(|| words.next());
        } else if let Some((_, values, why)) = DROPPED.iter().find(|(name, ..)| *name == option) {
            for _ in 0..*values {
                if value.is_none() {
                    words.next();
                }
            }
            flags.left_behind.push(format!("`{option}`: {why}"));
        } else {
            flags.lists.entry("export-args").or_default().push(word);
        }
    }
    flags.lists.retain(|_, values| !values.is_empty());
    flags
}

/// The arguments of the export that a script runs, and its other commands; `None` where it runs none.
pub(super) fn of_script(script: &str) -> Option<(String, String)> {
    let commands: Vec<&str> = script.split("&&").map(str::trim).collect();
    let exports = |command: &&str| command.contains("export-dynamic-plugin") || command.contains(" plugin export");
    let export = commands.iter().find(|command| exports(command))?;
    let marker = if export.contains("export-dynamic-plugin") { "export-dynamic-plugin" } else { " plugin export" };
    let arguments = export.split_once(marker)?.1.trim().to_owned();
    let others: Vec<&str> = commands.iter().copied().filter(|command| command != export).collect();
    Some((arguments, others.join(" && ")))
}

/// Words as `xargs` splits them: blanks separate, quotes and backslashes protect. `None` where a quote is not closed:
/// there, `xargs` gives up.
fn split(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut begun) = (Vec::new(), String::new(), false);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\'' | '"' => {
                begun = true;
                let (quoted, rest) = characters.as_str().split_once(character)?;
                word.push_str(quoted);
                characters = rest.chars();
            }
            '\\' => match characters.next() {
                // The command goes on in the next line.
                None | Some('\n' | '\r') => {}
                Some(next) => {
                    begun = true;
                    word.push(next);
                }
            },
            blank if blank.is_whitespace() => {
                if std::mem::take(&mut begun) {
                    words.push(std::mem::take(&mut word));
                }
            }
            other => {
                begun = true;
                word.push(other);
            }
        }
    }
    if begun {
        words.push(word);
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &str) -> String {
        let flags = parse(arguments);
        let lists: Vec<String> =
            flags.lists.iter().map(|(key, values)| format!("{key}={}", values.join(","))).collect();
        format!("{} | {} | {}", lists.join(" "), flags.scalprum_config.unwrap_or_default(), flags.left_behind.len())
    }

    #[test]
    fn options_become_keys() {
        for (arguments, wanted) in [
            ("", " |  | 0"),
            ("--embed-package @a/x --embed-package @a/y", "embed-packages=@a/x,@a/y |  | 0"),
            ("--embed-package @a/x @a/y @a/x --minify", "embed-packages=@a/x,@a/y export-args=--minify |  | 0"),
            ("--embed-package=@a/x --no-install", "embed-packages=@a/x export-args=--no-install |  | 0"),
            ("--shared-package '!/@backstage/plugin x/'", "shared-packages=!/@backstage/plugin x/ |  | 0"),
            ("--shared-package \"!@backstage/a\" \\!b", "shared-packages=!@backstage/a,!b |  | 0"),
            (
                "--suppress-native-package cpu-features --allow-native-package sharp --ignore-version-check x",
                "suppress-native-packages=cpu-features allow-native-packages=sharp ignore-version-check=x |  | 0",
            ),
            ("--scalprum-config ./s.json --clean --dynamic-plugins-root ../x --dev", " | ./s.json | 3"),
            ("--embed-package", " |  | 0"),
            ("--embed-package @a/x \\\n  --minify", "embed-packages=@a/x export-args=--minify |  | 0"),
            ("--embed-package '' -- \\", "export-args=-- |  | 1"),
            ("--embed-package \"a\\\"b\" --minify", " |  | 1"),
            ("--embed-package 'a\"b' --minify \"\"", "embed-packages=a\"b export-args=--minify, |  | 0"),
            ("--track-dynamic-manifest-and-lock-file", "export-args=--track-dynamic-manifest-and-lock-file |  | 0"),
        ] {
            assert_eq!(read(arguments), wanted, "{arguments}");
        }
    }

    #[test]
    fn scripts_run_exports() {
        let script = |text: &str| of_script(text).map(|(arguments, others)| format!("{arguments} | {others}"));
        assert_eq!(script("janus-cli package export-dynamic-plugin").as_deref(), Some(" | "));
        assert_eq!(
            script("yarn build && npx @red-hat-developer-hub/cli@1.9 plugin export --minify").as_deref(),
            Some("--minify | yarn build")
        );
        assert_eq!(script("echo no"), None);
    }
}
