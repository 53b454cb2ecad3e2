//! What can be wrong with a `dist-dynamic` folder, and what to do about it.

use miette::Diagnostic;

/// Why a folder cannot be packed. Paths are relative to the `dist-dynamic` folder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[allow(missing_docs, reason = "the message of each says what its fields are")]
pub enum Problem {
    #[error("the link `{path}` points out of the package, to `{target}`")]
    #[diagnostic(
        code("link-outside"),
        help("copy what it points to into the package, or leave the link out by a line in `files`")
    )]
    LinkOutside { path: String, target: String },
    #[error("the link `{path}` leads back to where it stands")]
    #[diagnostic(code("link-loop"), help("remove the link; an archive cannot hold a folder inside itself"))]
    LinkLoop { path: String },
    #[error("the link `{path}` points to nothing")]
    #[diagnostic(code("link-dangling"), help("remove the link, or export the plugin again with `rhdh-pack export`"))]
    LinkDangling { path: String },
    #[error("`{path}` is a {kind}, and installers take files and folders only")]
    #[diagnostic(code("special-file"), help("remove it, or leave it out by a line in `files`"))]
    Special { path: String, kind: &'static str },
    #[error("the name `{path}` is not UTF-8")]
    #[diagnostic(code("name-not-utf8"), help("rename the file; npm and RHDH's installers take UTF-8 names only"))]
    NotUtf8 { path: String },
    #[error("the path `{}…` has {length} bytes", path.chars().take(80).collect::<String>())]
    #[diagnostic(code("path-too-long"), help("Linux opens no path over 4,095 bytes; shorten the folders' names"))]
    PathTooLong { path: String, length: usize },
    #[error("the link `{path}` stands in a folder that is reached by {limit} other links to folders")]
    #[diagnostic(code("too-many-links"), help("let the links point to the folders themselves"))]
    TooManyLinks { path: String, limit: usize },
    #[error("`{}…` is nested more than {limit} folders deep", path.chars().take(80).collect::<String>())]
    #[diagnostic(
        code("too-deep"),
        help("remove it, or leave it out by a line in `files`; no real package is that deep")
    )]
    TooDeep { path: String, limit: usize },
    #[error("the package has more than {limit} files and folders")]
    #[diagnostic(code("too-many-files"), help("look for links to folders with links to folders, and remove them"))]
    TooManyFiles { limit: usize },
    #[error("cannot read `{path}`: {cause}")]
    #[diagnostic(code("unreadable"), help("make it readable, e.g. `chmod -R u+rX dist-dynamic`"))]
    Unreadable { path: String, cause: String },
    #[error("`{path}` is no file, and patterns are read from it")]
    #[diagnostic(code("unreadable"), help("rename or remove it"))]
    IgnoreFile { path: String },
    #[error("`{path}` changed while it was being packed")]
    #[diagnostic(
        code("file-changed"),
        help("let nothing write to `dist-dynamic` meanwhile, then run the command again")
    )]
    Changed { path: String },
    #[error("`{path}` has {size} bytes; at most {limit} are read")]
    #[diagnostic(
        code("file-too-large"),
        help("export the plugin again with `rhdh-pack export`; no real one is that large")
    )]
    TooLarge { path: String, size: u64, limit: u64 },
    #[error("`{path}` is not valid: {cause}")]
    #[diagnostic(code("invalid-json"), help("export the plugin again with `rhdh-pack export`"))]
    Invalid { path: String, cause: String },
    #[error("`{path}`: {cause}")]
    #[diagnostic(code("invalid-field"), help("write it as npm's documentation of package.json shows"))]
    Field { path: String, cause: String },
    #[error("`{path}`: {cause}")]
    #[diagnostic(code("invalid-pattern"), help("write the pattern's alternatives as separate lines"))]
    Pattern { path: String, cause: String },
    #[error("there is no `{path}`")]
    #[diagnostic(code("no-dist-dynamic"), help("export the plugin first: `rhdh-pack export`"))]
    NotExported { path: String },
    #[error("`{path}` is missing: {why}")]
    #[diagnostic(code("file-missing"), help("export the plugin again with `rhdh-pack export`, or correct the entry"))]
    Missing { path: String, why: String },
}

impl Problem {
    pub(crate) fn unreadable(path: &str, error: &std::io::Error) -> Self {
        Self::Unreadable { path: path.to_owned(), cause: error.to_string() }
    }

    /// The same problem with a link, named by where the link stands in the package.
    pub(super) fn at(self, link: &str) -> Self {
        let path = link.to_owned();
        match self {
            Self::LinkOutside { target, .. } => Self::LinkOutside { path, target },
            Self::LinkLoop { .. } => Self::LinkLoop { path },
            other => other,
        }
    }
}
