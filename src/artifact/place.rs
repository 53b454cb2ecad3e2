//! Where an artifact is, as a person names it: a reference, an archive, a folder, an OCI layout.

use std::path::{Path, PathBuf};

use super::Error;
use crate::digest::Digest;

/// Where an artifact is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a registry.
    Registry(Reference),
    /// An archive as `npm pack` makes it.
    Archive(PathBuf),
    /// A `dist-dynamic`, or another folder with a package in it.
    Folder(PathBuf),
    /// An OCI image layout; of its images the one with this name, or all.
    Layout(PathBuf, Option<String>),
    /// The output folder of a run: an OCI image layout in `oci`, archives in `tgz`.
    Output(PathBuf),
}

/// `[oci://]host[:port]/path(:tag|@digest)[!folder]`, as RHDH's installers take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// `host[:port]`.
    pub(super) host: String,
    /// The repository on the host.
    pub(super) path: String,
    /// What is asked for there.
    pub(super) version: Version,
    /// The plugin's folder in the image.
    pub(super) folder: Option<String>,
}

/// A tag or a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// May be another image tomorrow.
    Tag(String),
    /// Always the same image.
    Digest(Digest),
}

impl Place {
    /// What `text` names. What is there on disk wins over what looks like a reference.
    pub(super) fn of(text: &str) -> Result<Self, Error> {
        for scheme in ["oci://", "docker://"] {
            if let Some(rest) = text.strip_prefix(scheme) {
                return Ok(Self::Registry(Reference::parse(rest)?));
            }
        }
        if let Some(layout) = text.strip_prefix("oci:") {
            let (folder, name) = match layout.split_once(':') {
                Some((folder, name)) => (folder, Some(name.to_owned())),
                None => (layout, None),
            };
            return match Path::new(folder) {
                layout if layout.join("index.json").is_file() => Ok(Self::Layout(layout.to_owned(), name)),
                other if other.is_dir() && !folder.is_empty() => Err(Error::NoLayout(other.to_owned())),
                _ => Err(Error::Nothing(text.to_owned())),
            };
        }
        let path = Path::new(text);
        if path.is_file() {
            return Ok(Self::Archive(path.to_owned()));
        }
        if path.is_dir() {
            return Self::of_folder(path);
        }
        if ["https://", "http://"].iter().any(|scheme| text.starts_with(scheme)) {
            return Err(Error::Url(text.to_owned()));
        }
        let looks_like_reference = !text.starts_with(['.', '/']) && text.contains('/') && text.contains([':', '@']);
        if looks_like_reference {
            return Ok(Self::Registry(Reference::parse(text)?));
        }
        Err(Error::Nothing(text.to_owned()))
    }

    fn of_folder(path: &Path) -> Result<Self, Error> {
        if path.join("oci-layout").is_file() {
            Ok(Self::Layout(path.to_owned(), None))
        } else if path.join("package.json").is_file() {
            Ok(Self::Folder(path.to_owned()))
        } else if path.join("oci/oci-layout").is_file() || path.join("tgz").is_dir() {
            Ok(Self::Output(path.to_owned()))
        } else {
            let is_output = path.join("result.json").is_file();
            Err(if is_output { Error::NothingPackaged(path.to_owned()) } else { Error::UnknownFolder(path.to_owned()) })
        }
    }
}

impl Reference {
    fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |why: &'static str| Error::Reference { text: text.to_owned(), why };
        let (image, folder) = match text.split_once('!') {
            Some((image, folder)) => (image, Some(folder.to_owned())),
            None => (text, None),
        };
        let is_plain = |folder: &String| folder.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if folder.as_ref().is_some_and(|folder| !is_plain(folder)) {
            return Err(wrong("what follows `!` is the plain name of a folder in the image"));
        }
        let (name, version) = match image.split_once('@') {
            Some((name, digest)) => {
                let digest = digest.parse().map_err(|_| wrong("a digest is `sha256:` and 64 hexadecimal digits"))?;
                (name, Some(Version::Digest(digest)))
            }
            None => match image.rsplit_once(':') {
                Some((name, tag)) if !tag.contains('/') => (name, Some(Version::Tag(tag.to_owned()))),
                _ => (image, None),
            },
        };
        let (host, path) =
            name.split_once('/').ok_or_else(|| wrong("it begins with a host: `quay.io/acme/todo:1.0.0`"))?;
        if path.is_empty() || path.contains([':', '@']) {
            return Err(wrong("installers take a tag or a digest, and not both"));
        }
        let version = version.ok_or_else(|| wrong("installers want a tag or a digest"))?;
        Ok(Self { host: host.to_owned(), path: path.to_owned(), version, folder })
    }

    /// The last part of the repository's name.
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.host, self.path)?;
        match &self.version {
            Version::Tag(tag) => write!(formatter, ":{tag}"),
            Version::Digest(digest) => write!(formatter, "@{digest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_installers_read_them() {
        let digest = Digest::of(b"");
        for (text, expected) in [
            ("oci://quay.io/acme/todo:1.0.0", Some("quay.io/acme/todo:1.0.0")),
            ("docker://127.0.0.1:5000/todo:1", Some("127.0.0.1:5000/todo:1")),
            ("localhost:5000/a/b:x!c", Some("localhost:5000/a/b:x")),
            (&format!("quay.io/acme/todo@{digest}"), Some(&*format!("quay.io/acme/todo@{digest}"))),
            ("oci://quay.io/acme/todo", None),
            (&format!("quay.io/acme/todo:1@{digest}"), None),
            ("oci://todo:1", None),
            ("oci://quay.io/acme/todo:1!../x", None),
            ("quay.io/acme/todo@sha256:00", None),
            ("no-such-file.tgz", None),
            ("./no/such:file", None),
        ] {
            let found = Place::of(text).ok().and_then(|place| match place {
                Place::Registry(reference) => Some(reference.to_string()),
                _ => None,
            });
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }
}
