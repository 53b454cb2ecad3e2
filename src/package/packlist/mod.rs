//! The packlist: which files of a `dist-dynamic` folder go into its artifacts. The folder comes in; the files go out,
//! in npm's order, each with all that is needed to read exactly that file later.
//!
//! For the package itself that is what `npm pack` takes (npm-packlist 10), plus what the plugin needs at run time.
//! `node_modules` is taken whole, without what package managers keep there for themselves. Links are replaced by what
//! they point to; one that points out of the package is an error.

use std::path::Path;
use std::sync::Arc;

use rustix::fs::Stat;
use serde_json::Value;

mod braces;
mod class;
mod extglob;
mod manifest;
mod minimatch;
mod needs;
mod problem;
mod rules;
mod source;
mod walk;

pub(crate) use needs::named_files;
pub use problem::Problem;
pub(crate) use source::{Identity, Source};

use manifest::Fields;
use needs::Needs;
use rules::{Folder, Found};

/// A `package.json` or another manifest is read up to this size, in bytes.
pub(crate) const MAX_MANIFEST: u64 = 16 << 20;

/// One file of a package.
#[derive(Clone, Debug)]
pub(crate) struct PackedFile {
    /// Its path in the package.
    pub(crate) path: String,
    /// Its path without links, where that is another.
    real: Option<String>,
    pub(crate) identity: Identity,
    pub(crate) executable: bool,
    /// It was read already.
    pub(crate) content: Option<Arc<[u8]>>,
}

/// The files of a package.
#[derive(Debug)]
pub(crate) struct PackList {
    pub(crate) source: Source,
    /// In npm's order.
    pub(crate) files: Vec<PackedFile>,
    /// `package.json`, an object.
    pub(crate) manifest: Value,
}

impl PackedFile {
    fn new(path: String, real: String, stat: &Stat) -> Self {
        let executable = stat.st_mode & 0o111 != 0;
        let real = Some(real).filter(|real| *real != path);
        Self { path, real, identity: Identity::of(stat), executable, content: None }
    }

    /// Its path without links.
    pub(crate) fn real(&self) -> &str {
        self.real.as_deref().unwrap_or(&self.path)
    }

    /// In bytes.
    pub(crate) fn size(&self) -> u64 {
        self.identity.size()
    }
}

impl PackList {
    /// Reads the folder `dist_dynamic` with `threads` threads.
    ///
    /// # Errors
    /// Everything that is wrong with the folder, sorted by path.
    pub(crate) fn read(
        dist_dynamic: &Path,
        threads: usize,
        is_cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Self, Vec<Problem>> {
        let one = |problem: Problem| vec![problem];
        if !dist_dynamic.is_dir() {
            return Err(one(Problem::NotExported { path: dist_dynamic.display().to_string() }));
        }
        let source = Source::open(dist_dynamic).map_err(one)?;
        let path = "package.json";
        let target = source
            .follow(path)
            .map_err(one)?
            .ok_or_else(|| one(Problem::Missing { path: path.to_owned(), why: "every package has one".to_owned() }))?;
        let (content, identity) = source.read_small(&target, MAX_MANIFEST).map_err(one)?;
        let manifest = parse_json(path, &content).map_err(one)?;
        let rules = root_rules(&source, &manifest).map_err(one)?;
        let walk::Found { mut files, mut problems } = walk::walk(&source, rules, threads, is_cancelled);
        let (needs, more) = Needs::of(&source, &manifest);
        problems.extend(more);
        add_needed(&source, &needs, &mut files, &mut problems);
        if !problems.is_empty() {
            problems.sort_by_cached_key(ToString::to_string);
            problems.dedup();
            return Err(problems);
        }
        if let Some(file) = files.iter_mut().find(|file| file.path == path && file.identity == identity) {
            file.content = Some(content);
        }
        files.sort_by_cached_key(|file| order(&file.path));
        Ok(Self { source, files, manifest })
    }
}

/// npm's order, which brings together what compresses well: extension, then base name, then path. Bytewise, where npm
/// asks the locale: the same everywhere.
pub(crate) fn order(path: &str) -> (String, String, String) {
    let base = path.rsplit('/').next().unwrap_or(path);
    let extension = base.rfind('.').filter(|dot| *dot > 0).map_or("", |dot| &base[dot..]);
    (extension.to_lowercase(), base.to_lowercase(), path.to_owned())
}

fn root_rules(source: &Source, manifest: &Value) -> Result<Arc<Folder>, Problem> {
    let invalid = |cause: String| Problem::Field { path: "package.json".to_owned(), cause };
    let fields = Fields::of(manifest).map_err(invalid)?;
    // npm-packlist 10: with `files`, the ignore file beside it says nothing.
    let ignore = match fields.files {
        Some(_) => None,
        None => walk::ignore_file(source, "", |name| source.look(name) != Found::Missing)?,
    };
    Folder::root(&fields, ignore.as_ref().map(|(_, text)| text.as_str()), |path| source.look(path)).map_err(|error| {
        let path = ignore.map_or_else(|| "package.json".to_owned(), |(file, _)| file);
        Problem::Pattern { path, cause: error.to_string() }
    })
}

/// Adds what `needs` names and `files` lacks.
fn add_needed(source: &Source, needs: &[needs::Need], files: &mut Vec<PackedFile>, problems: &mut Vec<Problem>) {
    let mut packed: std::collections::HashSet<String> = files.iter().map(|file| file.path.clone()).collect();
    for need in needs {
        if need.candidates.iter().any(|path| packed.contains(path)) {
            continue;
        }
        let mut found = None;
        for path in &need.candidates {
            match source.follow(path) {
                Ok(Some(target)) if target.is_file() => {
                    found = Some((path, target));
                    break;
                }
                Ok(_) => {}
                Err(problem) => problems.push(problem),
            }
        }
        if let Some((path, target)) = found {
            packed.insert(path.clone());
            files.push(PackedFile::new(path.clone(), target.real, &target.stat));
        } else if need.required {
            let path = need.candidates.first().cloned().unwrap_or_default();
            problems.push(Problem::Missing { path, why: need.why.clone() });
        }
    }
}

/// The JSON object of a manifest.
fn parse_json(path: &str, content: &[u8]) -> Result<Value, Problem> {
    let invalid = |cause: String| Problem::Invalid { path: path.to_owned(), cause };
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let value: Value = serde_json::from_slice(content).map_err(|error| invalid(error.to_string()))?;
    if value.is_object() { Ok(value) } else { Err(invalid("it is no object".to_owned())) }
}

/// `path` without `.`, `..` and double slashes, relative to the package; what leaves the package is cut off.
fn normalise(path: &str) -> String {
    parts(path).0.join("/")
}

/// `path` without `.`, `..` and double slashes, or `None` if it leaves the package.
pub(crate) fn inside(path: &str) -> Option<String> {
    let (parts, leaves) = parts(path);
    (!leaves && !path.starts_with('/')).then(|| parts.join("/"))
}

fn parts(path: &str) -> (Vec<&str>, bool) {
    let mut parts = Vec::new();
    let mut leaves = false;
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => leaves |= parts.pop().is_none(),
            name => parts.push(name),
        }
    }
    (parts, leaves)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_sorted_by_extension_then_name_then_path() {
        let mut paths = ["b/index.js", "a/index.js", "x/.npmrc", "README", "a/a.md", "a/B.js", "a/a.js"];
        paths.sort_by_key(|path| order(path));
        assert_eq!(paths, ["x/.npmrc", "README", "a/a.js", "a/B.js", "a/index.js", "b/index.js", "a/a.md"]);
    }

    #[test]
    fn paths_stay_inside() {
        assert_eq!(normalise("./dist//x/../../../y"), "y");
        assert_eq!(inside("./dist/x/../y.js").as_deref(), Some("dist/y.js"));
        assert_eq!(inside("dist/../../y.js"), None);
        assert_eq!(inside("/etc/passwd"), None);
    }
}
