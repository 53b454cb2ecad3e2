//! Artifacts as they lie somewhere, made by anybody: in a registry, an OCI layout, an archive, a folder. What a person
//! names comes in; what goes out are images and archives on this machine, whose bytes are those that their digests say.

mod attached;
mod fetch;
mod folder;
mod layout;
mod place;
pub(crate) mod unpack;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha512};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::digest::{Digest, Integrity};
use crate::package::{Finding, PackageFailure, Release};
use crate::registry;
use crate::ui::Ui;

pub use attached::{AttachedDocument, Described};
use place::Place;

/// An image on this machine.
#[derive(Clone, Debug)]
pub struct Image {
    /// What it is called in messages.
    pub label: String,
    /// The last part of its repository's name, where that is known.
    pub name: Option<String>,
    /// `host/path`, where it is in a registry.
    pub repository: Option<String>,
    /// The one folder that is asked for, of all that the image has.
    pub folder: Option<String>,
    /// What a reference to it names: the digest of the manifest, or of the index that it was found in.
    pub digest: Digest,
    /// The index that it was found in.
    pub index: Option<serde_json::Value>,
    /// Byte for byte.
    pub manifest: Vec<u8>,
    /// Byte for byte.
    pub config: Vec<u8>,
    /// The file of the first layer; installers look at no other.
    pub layer: Option<PathBuf>,
    /// Bytes of manifest, config and all layers.
    pub size: u64,
}

/// An archive as `npm pack` makes it, on this machine.
#[derive(Clone, Debug)]
pub struct Archive {
    /// Its own name, without folders.
    pub name: String,
    /// The file.
    pub file: PathBuf,
    /// Of the whole file.
    pub integrity: Integrity,
    /// In bytes.
    pub size: u64,
}

/// What one name led to.
#[derive(Debug, Default)]
pub struct Opened {
    /// Images.
    pub images: Vec<Image>,
    /// Archives.
    pub archives: Vec<Archive>,
    /// What is wrong with an index that has no image to look at.
    pub findings: Vec<Finding>,
    /// Why a folder could not be packaged.
    pub failure: Option<PackageFailure>,
    /// Holds what was fetched or packaged.
    temporary: Option<TempDir>,
}

/// What opening takes beside the name.
pub struct Opener<'a> {
    /// Names registries and their certificates, where there is a configuration.
    pub config: Option<&'a Config>,
    /// Whose installers choose an image out of an index.
    pub releases: &'a [Release],
    /// For what is said on the way.
    pub ui: &'a Ui,
    /// Stops reading.
    pub cancel: &'a CancellationToken,
}

/// Why something could not be opened.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[non_exhaustive]
pub enum Error {
    /// The name leads to nothing.
    #[error("there is no `{0}`")]
    #[diagnostic(
        code("nothing-there"),
        help(
            "name an archive, a `dist-dynamic` folder, an OCI layout (`oci:DIR` or `oci:DIR:NAME`), or an image: \
             `oci://quay.io/acme/todo:1.0.0`"
        )
    )]
    Nothing(String),
    /// An archive that stands elsewhere.
    #[error("`{0}` is a URL, and archives are read from files")]
    #[diagnostic(code("nothing-there"), help("download it (`curl -LO <URL>`), and name the file"))]
    Url(String),
    /// A folder that holds nothing of the kind.
    #[error("`{}` is neither a package nor an OCI layout", .0.display())]
    #[diagnostic(
        code("unknown-folder"),
        help("name the plugin's `dist-dynamic`, or a folder in which `oci-layout` stands")
    )]
    UnknownFolder(PathBuf),
    /// A plugin's sources, where what was made of them is wanted.
    #[error("`{}` holds the sources of a plugin: `main` of its `package.json` is `{main}`", folder.display())]
    #[diagnostic(
        code("unknown-folder"),
        help("export the plugin (`rhdh-pack export`), and name its `{}`", folder.join("dist-dynamic").display())
    )]
    Sources {
        /// What was named.
        folder: PathBuf,
        /// The source file.
        main: String,
    },
    /// An output folder without artifacts.
    #[error("the last run packaged nothing: `{}` holds neither images nor archives", .0.display())]
    #[diagnostic(
        code("nothing-packaged"),
        help(
            "`summary.md` in it says why; what was up to date is named there, too: give its reference \
             (`oci://quay.io/acme/todo@sha256:…`) in place of the folder"
        )
    )]
    NothingPackaged(PathBuf),
    /// A folder that is no layout, where one is named.
    #[error("`{}` is no OCI layout: there is no `index.json` in it", .0.display())]
    #[diagnostic(code("unknown-folder"), help("name a folder in which `oci-layout` and `index.json` stand"))]
    NoLayout(PathBuf),
    /// An archive or a package, where an image is wanted.
    #[error("`{}` is not an image", .0.display())]
    #[diagnostic(
        code("not-an-image"),
        help("name an image, an OCI layout or an output folder; `rhdh-pack verify` looks at archives")
    )]
    NotAnImage(PathBuf),
    /// A reference that installers do not take.
    #[error("`{text}` is no reference to an image: {why}")]
    #[diagnostic(
        code("reference"),
        help("write it as in `oci://quay.io/acme/todo@sha256:…` or `oci://quay.io/acme/todo:1.0.0`")
    )]
    Reference {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The registry cannot be read.
    #[error("the image cannot be read")]
    #[diagnostic(code("registry"))]
    Registry {
        /// The one reason.
        #[related]
        why: Vec<registry::Error>,
    },
    /// The layout has no such image.
    #[error("there is no image `{name}` in `{}`", folder.display())]
    #[diagnostic(code("no-such-image"), help("{}", named(names)))]
    NotInLayout {
        /// The layout.
        folder: PathBuf,
        /// What was asked for.
        name: String,
        /// What there is.
        names: Vec<String>,
    },
    /// The registry has no such image, or the layout none at all.
    #[error("there is no image `{0}`")]
    #[diagnostic(
        code("no-such-image"),
        help("look at its name and tag: `skopeo list-tags docker://<host>/<repository>`")
    )]
    NoSuchImage(String),
    /// An image of which a part is missing or is not what its digest says.
    #[error("`{image}` is not a whole image: {why}")]
    #[diagnostic(code("broken-image"), help("push, copy or package it again"))]
    Broken {
        /// What it is called.
        image: String,
        /// What is wrong.
        why: String,
    },
    /// A file cannot be read or written.
    #[error("reading `{}`", path.display())]
    #[diagnostic(
        code("unreadable-artifact"),
        help("check its permissions, and the space left for temporary files with `df -h`")
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Nothing could be packaged.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Package(#[from] crate::package::Error),
}

/// Which images there are to choose from.
fn named(names: &[String]) -> String {
    match names {
        [] => "no image in it has a name: leave the name out".to_owned(),
        names => format!("name one that is there: `{}`", names.join("`, `")),
    }
}

impl From<registry::Error> for Error {
    fn from(error: registry::Error) -> Self {
        Self::Registry { why: vec![error] }
    }
}

impl Error {
    /// True where the environment is to blame (exit code 3), not what was named.
    #[must_use]
    pub fn is_environment(&self) -> bool {
        match self {
            Self::Registry { why } => why.iter().any(registry::Error::is_environment),
            Self::Io { .. } | Self::Package(_) => true,
            _ => false,
        }
    }

    fn io(path: &Path) -> impl Fn(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path: path.clone(), source }
    }
}

impl Opener<'_> {
    /// Opens what `text` names.
    ///
    /// # Errors
    /// When it is not there, cannot be read, or is not whole.
    pub async fn open(&self, text: &str) -> Result<Opened, Error> {
        match Place::of(text)? {
            Place::Registry(reference) => fetch::fetch(self, &reference).await,
            Place::Archive(file) => Ok(Opened { archives: vec![Archive::read(&file)?], ..Opened::default() }),
            Place::Folder(folder) => folder::package(self, &folder),
            Place::Layout(folder, name) => self.layout(&folder, name.as_deref()),
            Place::Output(folder) => self.output(&folder),
        }
    }

    fn layout(&self, folder: &Path, name: Option<&str>) -> Result<Opened, Error> {
        let mut opened = Opened::default();
        layout::open(folder, name, self.releases, &mut opened)?;
        Ok(opened)
    }

    /// All that a run has made.
    fn output(&self, folder: &Path) -> Result<Opened, Error> {
        let oci = folder.join("oci");
        let mut opened = if oci.is_dir() { self.layout(&oci, None)? } else { Opened::default() };
        // Images in the output folder are named by nothing else than their own name.
        for image in &mut opened.images {
            image.name = Some(image.label.clone());
        }
        let tgz = folder.join("tgz");
        if tgz.is_dir() {
            let entries = fs_err::read_dir(&tgz).map_err(Error::io(&tgz))?;
            let mut files = Vec::new();
            for entry in entries {
                let path = entry.map_err(Error::io(&tgz))?.path();
                if path.extension().is_some_and(|extension| extension == "tgz") {
                    files.push(path);
                }
            }
            files.sort_unstable();
            opened.archives = files.iter().map(|file| Archive::read(file)).collect::<Result<_, _>>()?;
        }
        Ok(opened)
    }

    /// The registry session with this user's credentials.
    fn registries(&self) -> Result<Arc<registry::Session>, Error> {
        let keychain = registry::Keychain::from_env();
        let authorities = self.config.map(Config::authority_files).unwrap_or_default();
        Ok(registry::Session::trusting(authorities, keychain, registry::Limits::default(), self.ui))
    }
}

impl Archive {
    fn read(file: &Path) -> Result<Self, Error> {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut hasher = Sha512::new();
        let size = hash(file, &mut |piece| hasher.update(piece)).map_err(Error::io(file))?;
        Ok(Self { name, file: file.to_owned(), integrity: Integrity::from_sha512(hasher.finalize().into()), size })
    }
}

/// Gives all bytes of a file to `take`; their number.
fn hash(path: &Path, take: &mut dyn FnMut(&[u8])) -> std::io::Result<u64> {
    use std::io::Read as _;
    let mut file = fs_err::File::open(path)?;
    let mut buffer = vec![0; 1 << 18];
    let mut size = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(size);
        }
        take(&buffer[..read]);
        size += read as u64;
    }
}
