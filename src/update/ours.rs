//! Which entries of a `dynamic-plugins.yaml` are ours, and what they should say: made from a run's result.

use crate::report::{ArtifactResult, RunResult, State};

/// What a run published, as entries name it.
#[derive(Clone, Debug, Default)]
pub struct Ours {
    images: Vec<Image>,
    archives: Vec<Archive>,
    packages: Vec<Package>,
    /// The plugins and bundles that failed: their entries stay.
    pub failed: Vec<String>,
}

#[derive(Clone, Debug)]
struct Image {
    label: String,
    /// `host/namespace/name`.
    repository: String,
    /// `host/namespace/name@sha256:…`.
    reference: String,
    /// The plugins in it.
    dirs: Vec<String>,
}

#[derive(Clone, Debug)]
struct Archive {
    label: String,
    /// The file's name before `-<version>.tgz`.
    stem: String,
    file: String,
    /// Where it is found; `None`: in the output folder only.
    folder: Option<String>,
    integrity: String,
}

#[derive(Clone, Debug)]
struct Package {
    label: String,
    name: String,
    version: String,
    integrity: String,
}

/// What an entry should say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The plugin or bundle.
    pub(super) label: String,
    /// The value of `package`.
    pub(super) package: String,
    /// The value of `integrity`, where RHDH's installer compares one.
    pub(super) integrity: Option<String>,
    /// Whether it needs `integrity`: an archive in a folder of the container does not.
    pub(super) needs_integrity: bool,
}

/// Whether an entry is ours.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It is somebody else's.
    Foreign,
    /// It is.
    Ours(Wanted),
    /// It names our image, and cannot be updated; the words say why.
    Left(String),
}

impl Ours {
    /// What `result` published; archives that were published nowhere are named by the file's name.
    #[must_use]
    pub fn of(result: &RunResult) -> Self {
        let mut ours = Self::default();
        for artifact in result.artifacts() {
            let label = artifact.label();
            if artifact.state == State::Failed {
                ours.failed.push(label);
                continue;
            }
            for image in &artifact.images {
                let Some((repository, _)) = image.reference.split_once('@') else { continue };
                ours.images.push(Image {
                    label: label.clone(),
                    repository: repository.to_owned(),
                    reference: image.reference.clone(),
                    dirs: dirs(result, artifact),
                });
            }
            for file in &artifact.files {
                let Some((folder, name)) = file.url.as_ref().and_then(|url| url.rsplit_once('/')) else { continue };
                ours.archives.extend(archive(artifact, Some(folder), name, file.integrity.as_str()));
            }
            for package in &artifact.npm {
                ours.packages.push(Package {
                    label: label.clone(),
                    name: package.name.clone(),
                    version: package.version.clone(),
                    integrity: package.integrity.as_str().to_owned(),
                });
            }
            if let Some(tgz) = &artifact.tgz
                && let Some(name) = tgz.file.file_name().and_then(std::ffi::OsStr::to_str)
            {
                ours.archives.extend(archive(artifact, None, name, tgz.integrity.as_str()));
            }
        }
        ours
    }

    /// Whether there is nothing that an entry could name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.images.is_empty() && self.archives.is_empty() && self.packages.is_empty()
    }

    /// What the entry with this `package` should say.
    pub(super) fn fit(&self, package: &str) -> Fit {
        if let Some(reference) = package.strip_prefix("oci://") {
            return self.image(reference);
        }
        let archive = self.archives.iter().find_map(|archive| archive.fit(package));
        let wanted = archive.or_else(|| self.packages.iter().find_map(|ours| ours.fit(package)));
        wanted.map_or(Fit::Foreign, Fit::Ours)
    }

    fn image(&self, reference: &str) -> Fit {
        let (place, dir) = reference.split_once('!').map_or((reference, None), |(place, dir)| (place, Some(dir)));
        let repository = repository(place);
        let Some(image) = self.images.iter().find(|image| image.repository == repository) else { return Fit::Foreign };
        if place.ends_with("{{inherit}}") {
            return Fit::Left("takes its version from an included file (`{{inherit}}`)".to_owned());
        }
        if let Some(dir) = dir.filter(|dir| !image.dirs.iter().any(|own| own == dir)) {
            return Fit::Left(format!("names the plugin `{dir}`, which is not in the image any more"));
        }
        if dir.is_none() && image.dirs.len() > 1 {
            return Fit::Left(format!("names no plugin of the image, which has {}", image.dirs.join(", ")));
        }
        let dir = dir.map_or_else(String::new, |dir| format!("!{dir}"));
        let package = format!("oci://{}{dir}", image.reference);
        Fit::Ours(Wanted { label: image.label.clone(), package, integrity: None, needs_integrity: false })
    }
}

impl Archive {
    fn fit(&self, package: &str) -> Option<Wanted> {
        let (folder, file) = package.rsplit_once('/')?;
        let version = file.strip_prefix(&self.stem)?.strip_prefix('-')?.strip_suffix(".tgz")?;
        let same_place = match &self.folder {
            Some(own) => own == folder,
            None => folder == "." || folder.starts_with("./"),
        };
        if !same_place || !is_version(version) {
            return None;
        }
        Some(Wanted {
            label: self.label.clone(),
            package: format!("{folder}/{}", self.file),
            integrity: Some(self.integrity.clone()),
            needs_integrity: self.folder.is_some(),
        })
    }
}

impl Package {
    fn fit(&self, package: &str) -> Option<Wanted> {
        // `@scope/name`, `@scope/name@1.0.0`, `@scope/name@latest`
        let rest = package.strip_prefix(&self.name)?;
        if !rest.is_empty() && !rest.starts_with('@') {
            return None;
        }
        Some(Wanted {
            label: self.label.clone(),
            package: format!("{}@{}", self.name, self.version),
            integrity: Some(self.integrity.clone()),
            needs_integrity: true,
        })
    }
}

fn archive(artifact: &ArtifactResult, folder: Option<&str>, file: &str, integrity: &str) -> Option<Archive> {
    let stem = file.strip_suffix(".tgz")?.strip_suffix(&artifact.version)?.strip_suffix('-')?;
    Some(Archive {
        label: artifact.label(),
        stem: stem.to_owned(),
        file: file.to_owned(),
        folder: folder.map(str::to_owned),
        integrity: integrity.to_owned(),
    })
}

/// The folders of plugins in an artifact's image.
fn dirs(result: &RunResult, artifact: &ArtifactResult) -> Vec<String> {
    let mut dirs: Vec<String> = artifact.packages.iter().map(|package| package.dir.clone()).collect();
    if dirs.is_empty() {
        let members = result.plugins.iter().filter(|plugin| artifact.members.contains(&plugin.id));
        dirs.extend(members.map(|plugin| plugin.image_name.clone()));
        if !artifact.is_bundle() {
            dirs.push(artifact.image_name.clone());
        }
    }
    dirs
}

/// The repository of `host[:port]/name[:tag][@digest]`.
fn repository(place: &str) -> &str {
    let place = place.split_once('@').map_or(place, |(place, _)| place);
    match place.rsplit_once(':') {
        // The port of a host has a `/` behind it.
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => place,
    }
}

/// Whether this is how a version begins: `acme-todo-1.0.0.tgz` is of `acme-todo`, `acme-todo-backend-1.0.0.tgz` is not.
fn is_version(text: &str) -> bool {
    text.starts_with(|character: char| character.is_ascii_digit()) && text.contains('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> Ours {
        let image = |label: &str, repository: &str, dirs: &[&str]| Image {
            label: label.to_owned(),
            repository: repository.to_owned(),
            reference: format!("{repository}@sha256:new"),
            dirs: dirs.iter().map(|dir| (*dir).to_owned()).collect(),
        };
        let archive = |folder: Option<&str>| Archive {
            label: "todo".to_owned(),
            stem: "acme-todo".to_owned(),
            file: "acme-todo-2.0.0.tgz".to_owned(),
            folder: folder.map(str::to_owned),
            integrity: "sha512-new".to_owned(),
        };
        Ours {
            images: vec![
                image("todo", "127.0.0.1:5000/acme/todo", &["todo"]),
                image("all (bundle)", "quay.io/acme/all", &["todo", "todo-backend"]),
            ],
            archives: vec![archive(Some("https://plugins.acme.dev/x")), archive(None)],
            packages: vec![Package {
                label: "todo".to_owned(),
                name: "@acme/todo-dynamic".to_owned(),
                version: "2.0.0".to_owned(),
                integrity: "sha512-npm".to_owned(),
            }],
            failed: Vec::new(),
        }
    }

    #[test]
    fn entries_of_the_same_repository_archive_and_package_are_ours() {
        for (package, expected) in [
            ("oci://127.0.0.1:5000/acme/todo:1.0.0!todo", "oci://127.0.0.1:5000/acme/todo@sha256:new!todo"),
            ("oci://127.0.0.1:5000/acme/todo", "oci://127.0.0.1:5000/acme/todo@sha256:new"),
            ("oci://127.0.0.1:5000/acme/todo:v@sha256:0", "oci://127.0.0.1:5000/acme/todo@sha256:new"),
            ("oci://quay.io/acme/all:1!todo-backend", "oci://quay.io/acme/all@sha256:new!todo-backend"),
            ("https://plugins.acme.dev/x/acme-todo-1.0.0-rc.1.tgz", "https://plugins.acme.dev/x/acme-todo-2.0.0.tgz"),
            ("./acme-todo-1.0.0.tgz", "./acme-todo-2.0.0.tgz"),
            ("./local/acme-todo-1.0.0.tgz", "./local/acme-todo-2.0.0.tgz"),
            ("@acme/todo-dynamic", "@acme/todo-dynamic@2.0.0"),
            ("@acme/todo-dynamic@^1", "@acme/todo-dynamic@2.0.0"),
        ] {
            match ours().fit(package) {
                Fit::Ours(wanted) => assert_eq!(wanted.package, expected, "{package}"),
                other => panic!("{package}: {other:?}"),
            }
        }
    }

    #[test]
    fn others_are_not() {
        for package in [
            "oci://127.0.0.1:5000/acme/todo-backend:1.0.0!todo",
            "oci://127.0.0.1:5001/acme/todo:1.0.0!todo",
            "oci://quay.io/other/all:1!todo",
            "https://plugins.acme.dev/x/acme-todo-backend-1.0.0.tgz",
            "https://plugins.acme.dev/y/acme-todo-1.0.0.tgz",
            "http://plugins.acme.dev/x/acme-todo-1.0.0.tgz",
            "https://plugins.acme.dev/x/acme-todo-latest.tgz",
            "acme-todo-1.0.0.tgz",
            "@acme/todo-dynamic-2@1",
            "@acme/todo",
            "",
            "oci://",
            "./dynamic-plugins/dist/acme-todo",
        ] {
            assert_eq!(ours().fit(package), Fit::Foreign, "{package}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_left() {
        for package in [
            "oci://127.0.0.1:5000/acme/todo:{{inherit}}!todo",
            "oci://127.0.0.1:5000/acme/todo:1.0.0!other",
            "oci://quay.io/acme/all:1",
        ] {
            assert!(matches!(ours().fit(package), Fit::Left(_)), "{package}");
        }
    }
}
