//! Images into the store of a container engine on this machine.

use std::process::{Command, Stdio};

use super::{Engine, Error, archives};
use crate::package::layout::StoredImage;

impl Engine {
    fn program(self) -> &'static str {
        match self {
            Self::Podman => "podman",
            Self::Docker => "docker",
            Self::Buildah => "buildah",
        }
    }

    /// Loads the images and gives each its reference.
    pub(super) fn load(self, images: &[(StoredImage, &str)]) -> Result<(), Error> {
        let failed = |source| Error::Io { path: std::env::temp_dir(), source };
        for image in images {
            let mut archive = tempfile::NamedTempFile::new().map_err(failed)?;
            let path = archive.path().display().to_string();
            let image = std::slice::from_ref(image);
            match self {
                // These keep the manifest with its annotations.
                Self::Podman | Self::Buildah => {
                    archives::oci(image, archive.as_file_mut()).map_err(failed)?;
                    let id = self.run(&["pull", "--quiet", &format!("oci-archive:{path}")])?;
                    let id = id.lines().last().unwrap_or_default().trim();
                    image.iter().try_for_each(|(_, reference)| self.run(&["tag", id, reference]).map(|_| ()))?;
                }
                Self::Docker => {
                    archives::docker(image, archive.as_file_mut()).map_err(failed)?;
                    self.run(&["load", "--quiet", "--input", &path])?;
                }
            }
        }
        Ok(())
    }

    fn run(self, arguments: &[&str]) -> Result<String, Error> {
        let program = self.program();
        let output = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .map_err(|source| Error::NoEngine { program, source })?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            let stderr = stderr.trim().lines().last().unwrap_or_default().to_owned();
            return Err(Error::EngineFailed { command: format!("{program} {}", arguments.join(" ")), stderr });
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
