//! Finished images for those who want them elsewhere than in a registry: the OCI layout of a run comes in; an archive,
//! a folder of plugins, or images in a local container engine go out.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use miette::Diagnostic;

use super::layout::{Images, StoredImage};

mod archives;
mod engine;
mod folder;

/// Where images are to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// `oci-archive:FILE`: an OCI layout in one tar, as `skopeo`, `podman load` and registries' tools take it.
    OciArchive(PathBuf),
    /// `docker-archive:FILE`: what `docker load` takes. It has no room for annotations.
    DockerArchive(PathBuf),
    /// `dir:FOLDER`: the plugins themselves, each in its folder, and `index.json`: what the RHDH CLI's `--export-to`
    /// writes.
    Dir(PathBuf),
    /// The image store of a container engine on this machine.
    Engine(Engine),
}

/// A container engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// `podman`
    Podman,
    /// `docker`
    Docker,
    /// `buildah`
    Buildah,
}

/// An image, and what it is to be called there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its name in the layout.
    pub image: String,
    /// `name:tag`, or with a registry before it: `quay.io/acme/todo:1.0.0`.
    pub reference: String,
}

/// A text that names no destination.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Diagnostic)]
#[error("`{0}` is no place for images")]
#[diagnostic(
    code("not-a-destination"),
    help(
        "write `oci-archive:FILE`, `docker-archive:FILE` or `dir:FOLDER`; an engine is `podman`, `docker` or `buildah`"
    )
)]
pub struct NotADestination(String);

/// Why images could not be delivered.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub enum Error {
    /// The layout does not hold the image, or not whole.
    #[error("`{}` does not hold the image `{image}`", layout.display())]
    #[diagnostic(code("no-such-image"), help("package it first: `rhdh-pack package`"))]
    NoImage {
        /// The layout's folder.
        layout: PathBuf,
        /// The image's name.
        image: String,
    },
    /// A file cannot be read or written.
    #[error("cannot write `{}`", path.display())]
    #[diagnostic(code("output-file"), help("check its folder's permissions and the space left"))]
    Io {
        /// The destination.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The engine is not there.
    #[error("cannot run `{program}`")]
    #[diagnostic(code("no-engine"), help("install it, or write a file instead: `--output oci-archive:FILE`"))]
    NoEngine {
        /// Its program.
        program: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
    /// The engine refuses the image.
    #[error("`{command}` failed: {stderr}")]
    #[diagnostic(code("engine-failed"), help("try it by hand, or write a file instead: `--output oci-archive:FILE`"))]
    EngineFailed {
        /// What was run.
        command: String,
        /// Its last words.
        stderr: String,
    },
}

impl FromStr for Destination {
    type Err = NotADestination;

    fn from_str(text: &str) -> Result<Self, NotADestination> {
        let path = |path: &str| (!path.is_empty()).then(|| PathBuf::from(path));
        let destination = match text.split_once(':') {
            Some(("oci-archive", file)) => path(file).map(Self::OciArchive),
            Some(("docker-archive", file)) => path(file).map(Self::DockerArchive),
            Some(("dir", folder)) => path(folder).map(Self::Dir),
            Some(_) => None,
            None => text.parse().ok().map(Self::Engine),
        };
        destination.ok_or_else(|| NotADestination(text.to_owned()))
    }
}

impl FromStr for Engine {
    type Err = NotADestination;

    fn from_str(text: &str) -> Result<Self, NotADestination> {
        match text {
            "podman" => Ok(Self::Podman),
            "docker" => Ok(Self::Docker),
            "buildah" => Ok(Self::Buildah),
            _ => Err(NotADestination(text.to_owned())),
        }
    }
}

/// Brings images of the layout in `output` (the output folder of [`super::package`]) to `destination`.
///
/// # Errors
/// When an image is not there, or its destination cannot be written; a file is then not there either.
pub fn deliver(output: &Path, deliveries: &[Delivery], destination: &Destination) -> Result<(), Error> {
    let (folder, images) = (output.join("oci"), Images::read(output.join("oci")));
    let stored = deliveries
        .iter()
        .map(|Delivery { image, reference }| {
            let no_image = || Error::NoImage { layout: folder.clone(), image: image.clone() };
            let stored = images.get(image).ok_or_else(no_image)?;
            Ok((stored, reference.as_str()))
        })
        .collect::<Result<Vec<(StoredImage, &str)>, Error>>()?;
    match destination {
        Destination::OciArchive(file) => to_file(file, |out| archives::oci(&stored, out)),
        Destination::DockerArchive(file) => to_file(file, |out| archives::docker(&stored, out)),
        Destination::Dir(folder) => {
            folder::plugins(&stored, folder).map_err(|source| Error::Io { path: folder.clone(), source })
        }
        Destination::Engine(engine) => engine.load(&stored),
    }
}

/// Writes a file that is whole or not there.
fn to_file(path: &Path, write: impl FnOnce(&mut std::fs::File) -> std::io::Result<()>) -> Result<(), Error> {
    let write = || -> std::io::Result<()> {
        // A device or a pipe would be replaced by the file.
        let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if path.exists() && !path.is_file() {
            return Err(std::io::Error::other("it is there, and is no regular file"));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = super::layout::temporary_file(folder)?;
        write(file.as_file_mut())?;
        super::layout::persist(file, path)
    };
    write().map_err(|source| Error::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_read() {
        assert_eq!("oci-archive:a:b.tar".parse(), Ok(Destination::OciArchive("a:b.tar".into())));
        assert_eq!("dir:plugins".parse(), Ok(Destination::Dir("plugins".into())));
        assert_eq!("podman".parse(), Ok(Destination::Engine(Engine::Podman)));
        for text in ["", "dir:", "docker", "docker-archive", "s3:x", "x.tar"] {
            let read = text.parse::<Destination>();
            assert_eq!(read.is_ok(), text == "docker", "{text}");
        }
    }
}
