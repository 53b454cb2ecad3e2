//! Which entries of the package itself `npm pack` takes: the rule sets of npm-packlist 10 in the order that it gives
//! them, and ignore-walk 8's way of asking every folder above before the own one. The parsed `package.json` and the
//! text of ignore files come in; answers to "is this entry in" go out.

use std::sync::Arc;

use super::manifest::Fields;
use super::minimatch::{Name, Path, Pattern, PatternTooLarge};

/// npm-packlist 10 `defaults`: what is left out wherever nothing else says so, in this folder or any below it.
const DEFAULTS_ANYWHERE: [&str; 18] = [
    ".npmignore",
    ".gitignore",
    "**/.git",
    "**/.svn",
    "**/.hg",
    "**/CVS",
    "**/.git/**",
    "**/.svn/**",
    "**/.hg/**",
    "**/CVS/**",
    "npm-debug.log",
    "**/.npmrc",
    ".*.swp",
    ".DS_Store",
    "**/.DS_Store/**",
    "._*",
    "**/._*/**",
    "*.orig",
];

/// The same, in this folder only.
const DEFAULTS_HERE: [&str; 4] = ["/.lock-wscript", "/.wafpickle-*", "/build/config.gypi", "/archived-packages/**"];

/// npm-packlist 10: what the root of a package always has, then what it never has.
const STRICT: [&str; 13] = [
    "/.git",
    "!/package.json",
    "!/readme{,.*[^~$]}",
    "!/copying{,.*[^~$]}",
    "!/license{,.*[^~$]}",
    "!/licence{,.*[^~$]}",
    "/.git",
    "/node_modules",
    ".npmrc",
    "/package-lock.json",
    "/yarn.lock",
    "/pnpm-lock.yaml",
    "/bun.lockb",
];

type Rules = Vec<Pattern>;

/// The default rules, which every folder has.
#[derive(Debug)]
struct Defaults {
    /// If one of these says nothing of a path, it says nothing of the path's end either.
    anywhere: Arc<Rules>,
    here: Arc<Rules>,
}

/// The rules of one folder, and of those above it up to the package's root.
#[derive(Debug)]
pub(super) struct Folder {
    parent: Option<Arc<Folder>>,
    /// The folder's name; empty for the root.
    name: Name,
    /// The folder itself is included as if it were a file: then its own rules may bring back what the ones above
    /// leave out.
    exact: bool,
    defaults: Arc<Defaults>,
    /// In the order in which they are asked, after the default rules.
    sets: Vec<Arc<Rules>>,
    /// What `files` names and stands directly in a folder of the root: the folder's path part and the file's name.
    required: Vec<(String, String)>,
}

/// What stands where an entry of `files` points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    File,
    /// Or a link, which may lead to one.
    Directory,
    /// A pipe, a device, …: npm takes none of them.
    Other,
    /// Nothing: npm takes the entry as a pattern.
    Missing,
}

/// The rules of a text, one a line.
pub(super) fn parse(text: &str) -> Result<Rules, PatternTooLarge> {
    // JavaScript's `trim` takes a byte order mark for white space, and U+0085 for none.
    let is_space = |c: char| c.is_whitespace() && c != '\u{85}' || c == '\u{feff}';
    let trim = |line: &str| line.trim_matches(is_space).to_owned();
    text.split('\n')
        .map(trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| Pattern::new(&line))
        .collect()
}

fn compile<'a>(rules: impl IntoIterator<Item = &'a str>) -> Result<Arc<Rules>, PatternTooLarge> {
    let mut compiled = Rules::new();
    for rule in rules {
        // A rule with a line break in it is several, as for npm.
        compiled.extend(parse(rule)?);
    }
    Ok(Arc::new(compiled))
}

impl Folder {
    /// The rules at the package's root. `ignore` is the text of `.npmignore`, else of `.gitignore`; `look` tells what
    /// stands at a path relative to the root.
    pub(super) fn root(
        fields: &Fields,
        ignore: Option<&str>,
        look: impl Fn(&str) -> Found,
    ) -> Result<Arc<Self>, PatternTooLarge> {
        let mut strict: Vec<String> = STRICT.map(str::to_owned).to_vec();
        let mut required = Vec::new();
        let defaults = Arc::new(Defaults { anywhere: compile(DEFAULTS_ANYWHERE)?, here: compile(DEFAULTS_HERE)? });
        let mut sets = Vec::new();
        if let Some(files) = &fields.files {
            let mut rules = vec!["*".to_owned()];
            for file in files {
                let mut file = file.strip_prefix('.').filter(|rest| rest.starts_with('/')).unwrap_or(file).to_owned();
                if file.ends_with("/*") {
                    file.push('*');
                }
                match look(file.trim_start_matches('!')) {
                    Found::File => {
                        strict.insert(0, format!("!{file}"));
                        let path = super::normalise(&file);
                        if let Some((folder, name)) = path.split_once('/').filter(|(_, name)| !name.contains('/')) {
                            required.push((folder.to_owned(), name.to_owned()));
                        }
                    }
                    Found::Directory => rules.extend([format!("!{file}"), format!("!{file}/**")]),
                    Found::Missing => rules.push(format!("!{file}")),
                    Found::Other => {}
                }
            }
            sets.push(compile(rules.iter().map(String::as_str))?);
        } else if let Some(ignore) = ignore {
            sets.push(Arc::new(parse(ignore)?));
        }
        let targets = fields.browser.iter().chain(&fields.main).chain(&fields.bin);
        strict.extend(targets.map(|target| format!("!/{target}")));
        sets.push(compile(strict.iter().map(String::as_str))?);
        Ok(Arc::new(Self { parent: None, name: Name::default(), exact: false, defaults, sets, required }))
    }

    /// The rules of the folder `name` in this one. `exact` is what [`Folder::includes_exactly`] said of it.
    pub(super) fn child(
        self: &Arc<Self>,
        name: &str,
        exact: bool,
        ignore: Option<&str>,
    ) -> Result<Arc<Self>, PatternTooLarge> {
        let mut sets = Vec::new();
        if let Some(ignore) = ignore {
            sets.push(Arc::new(parse(ignore)?));
        }
        let required = self.required.iter().filter(|(folder, _)| folder == name).map(|(_, file)| format!("!{file}"));
        let strict: Vec<String> = std::iter::once("/.git".to_owned()).chain(required).collect();
        sets.push(compile(strict.iter().map(String::as_str))?);
        let (parent, defaults) = (Some(Arc::clone(self)), Arc::clone(&self.defaults));
        Ok(Arc::new(Self { parent, name: Name::new(name), exact, defaults, sets, required: Vec::new() }))
    }

    /// Whether the file `name` in this folder is in.
    pub(super) fn includes_file(&self, name: &str) -> bool {
        self.includes(&Name::new(name), false, false)
    }

    /// Whether something below the folder `name` in this folder may be in.
    pub(super) fn enters(&self, name: &str) -> bool {
        self.includes(&Name::new(name), false, true)
    }

    /// Whether the folder `name` is itself in, so that its own rules may overrule those above.
    pub(super) fn includes_exactly(&self, name: &str) -> bool {
        let name = Name::new(name);
        self.includes(&name, false, false) || self.includes(&name, true, false)
    }

    fn includes(&self, name: &Name, trailing: bool, partial: bool) -> bool {
        let mut folders = vec![self];
        while let Some(parent) = folders.last().and_then(|folder| folder.parent.as_deref()) {
            folders.push(parent);
        }
        folders.reverse();
        let names: Vec<&Name> = folders[1..].iter().map(|folder| &folder.name).chain([name]).collect();
        let mut included = true;
        // All default rules leave out, so that their order does not matter.
        let says = |rule: &Pattern| applies(rule, &names, trailing, partial, folders.len() > 1);
        let defaults_say = self.defaults.anywhere.iter().any(says);
        for (depth, folder) in folders.iter().enumerate() {
            if depth > 0 && !included && !folder.exact {
                continue;
            }
            let below = depth + 1 < folders.len();
            let anywhere = self.defaults.anywhere.iter().filter(|_| defaults_say);
            let own = folder.sets.iter().flat_map(|rules| rules.iter());
            for rule in anywhere.chain(self.defaults.here.iter()).chain(own) {
                if rule.negate != included && applies(rule, &names[depth..], trailing, partial, below) {
                    included = rule.negate;
                }
            }
        }
        included
    }
}

/// Whether a rule of a folder is about the entry `names` below it. `partial`: the entry is taken for a folder, and what
/// may be below it counts; `below`: the entry is not directly in the rule's own folder.
fn applies(rule: &Pattern, names: &[&Name], trailing: bool, partial: bool, below: bool) -> bool {
    let rooted = Path { names, leading: true, trailing };
    let free = Path { names, leading: false, trailing };
    if rule.matches(rooted, false) || rule.matches(free, false) {
        return true;
    }
    if !partial {
        return false;
    }
    let about = |names: &[&Name]| {
        let rooted = Path { names, leading: true, trailing: true };
        let free = Path { names, leading: false, trailing: true };
        rule.matches(rooted, false)
            || rule.matches(free, false)
            || rule.negate
                && (rule.matches(Path { trailing: false, ..rooted }, true)
                    || rule.matches(Path { trailing: false, ..free }, true))
    };
    about(names) || below && rule.relative && about(&names[names.len() - 1..])
}
