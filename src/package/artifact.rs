//! One artifact: its members' files are listed, archived, rehearsed, and only then given their names in the output
//! folder.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use miette::Diagnostic;
use serde_json::Value;
use tempfile::NamedTempFile;
use tokio_util::sync::CancellationToken;

use super::archive::{self, Blocks, Failure, Format, Pool, ReadFailure, Settings, Written};
use super::image::{Description, Layer};
use super::layout::{self, Layout};
use super::packlist::{PackList, Problem};
use super::rehearse::{self, Allowance, Contents, Finding, ImageBytes, Release};
use super::{
    Artifact, ArtifactRequest, PackageFailure, PackagedImage, PackagedSbom, PackagedTgz, PackedPlugin, check, sbom, tgz,
};
use crate::digest::Digest;
use crate::ui::human_size;

/// What all artifacts of a run share.
pub(super) struct Workshop<'a> {
    pub(super) output: &'a Path,
    pub(super) releases: Vec<Release>,
    pub(super) settings: Settings,
    /// Threads that walk the folders of one artifact.
    pub(super) walkers: usize,
    pub(super) pool: &'a Pool,
    pub(super) blocks: &'a Arc<Blocks>,
    pub(super) layout: Mutex<Layout>,
    /// Whose archive has which name.
    pub(super) names: Mutex<HashMap<String, String>>,
    pub(super) cancel: &'a CancellationToken,
}

/// The archives of an artifact, not yet named.
struct Archives {
    layer: Option<(NamedTempFile, Written<Contents>)>,
    tgz: Option<(NamedTempFile, Written<Contents>)>,
}

/// An image whose layer is written, with all else that belongs to it.
struct Image {
    layer: NamedTempFile,
    written: Written<Contents>,
    config: Vec<u8>,
    manifest: Vec<u8>,
}

impl Workshop<'_> {
    /// Packages one artifact; on failure nothing of it is left.
    pub(super) fn package(&self, request: &ArtifactRequest) -> Result<Artifact, PackageFailure> {
        check::request(request)?;
        // Whatever an earlier run made under this name is not this run's.
        self.forget(&request.image).map_err(|error| self.cannot_write(&error))?;
        let members = self.lists(request)?;
        let description = Description {
            plugins: members.iter().map(|member| (member.folder.as_str(), &member.list.manifest)).collect(),
            title: &request.image,
            version: &request.version,
            labels: &request.labels,
            annotations: &request.annotations,
            artifact_type: request.artifact_type.as_deref(),
            time: self.settings.time,
        };
        let tgz_name = match members.as_slice() {
            [only] if request.tgz => Some(self.claim(check::tgz_name(&only.list.manifest)?, &request.id)?),
            _ => None,
        };
        let Archives { layer, tgz } = self.archives(request, &members, &description)?;
        let image = layer.map(|(layer, written)| {
            let facts = Layer { digest: &written.digest, diff_id: &written.read_back.diff_id, size: written.size };
            let config = description.config(&facts);
            let manifest = description.manifest(&config, &facts);
            Image { layer, written, config, manifest }
        });
        let (findings, packages) =
            self.rehearse(request, &members, image.as_ref(), tgz.as_ref(), tgz_name.as_deref())?;
        let (image, sbom) = match image.map(|image| self.keep_image(request, image)).transpose()? {
            Some((image, sbom)) => (Some(image), Some(sbom)),
            None => (None, None),
        };
        let tgz = match tgz.zip(tgz_name) {
            Some(((file, written), name)) => {
                let package = packages.first().map(|package| package.name.as_str()).unwrap_or_default();
                Some(self.keep_tgz(file, &written, &name, package)?)
            }
            None => None,
        };
        Ok(Artifact { image, sbom, tgz, packages, findings })
    }

    fn layout(&self) -> MutexGuard<'_, Layout> {
        self.layout.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the name of an archive for the artifact `id`: another one's would replace it.
    fn claim(&self, name: String, id: &str) -> Result<String, PackageFailure> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        match names.entry(name.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(id.to_owned());
                Ok(name)
            }
            Entry::Occupied(other) => {
                let text = format!("the archive of `{}` is named `{name}`, too", other.get());
                Err(failure("same-archive", text, "give one of the two packages another `name`, and export it again"))
            }
        }
    }

    fn forget(&self, image: &str) -> std::io::Result<()> {
        self.layout().forget(image)?;
        match fs_err::remove_file(self.output.join(sbom::file(image))) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn cannot_write(&self, error: &std::io::Error) -> PackageFailure {
        let full = error.kind() == std::io::ErrorKind::StorageFull;
        let help = if full { "make room on the disk" } else { "check the folder's permissions and the space left" };
        failure("output-folder", format!("cannot write to `{}`: {error}", self.output.display()), help)
    }

    /// The files of every member.
    fn lists(&self, request: &ArtifactRequest) -> Result<Vec<archive::Member>, PackageFailure> {
        let mut members = Vec::new();
        for member in &request.members {
            let is_cancelled = || self.cancel.is_cancelled();
            let list = PackList::read(&member.dist_dynamic, self.walkers, &is_cancelled);
            if self.cancel.is_cancelled() {
                return Err(cancelled());
            }
            let list = list.map_err(|problems| problems_failure(&member.plugin, &problems))?;
            members.push(archive::Member { folder: member.dir.clone(), list: Arc::new(list) });
        }
        Ok(members)
    }

    /// Writes layer and tgz, from one read of every file.
    fn archives(
        &self,
        request: &ArtifactRequest,
        members: &[archive::Member],
        description: &Description<'_>,
    ) -> Result<Archives, PackageFailure> {
        let write = |error: std::io::Error| self.cannot_write(&error);
        let mut layer = request.image_wanted.then(|| self.layout().new_blob()).transpose().map_err(write)?;
        let folder = self.output.join("tgz");
        let mut tgz = request.tgz.then(|| layout::temporary_file(&folder)).transpose().map_err(write)?;
        let mut wanted = Vec::new();
        if let Some(layer) = &mut layer {
            wanted.push((Format::Layer { index: description.index() }, layer.as_file_mut()));
        }
        if let Some(tgz) = &mut tgz {
            wanted.push((Format::Tgz, tgz.as_file_mut()));
        }
        let is_cancelled = || self.cancel.is_cancelled();
        let settings = Settings { level: request.level.clamp(1, 9), ..self.settings };
        let written = archive::write(members, wanted, settings, (self.pool, self.blocks), &is_cancelled, |reader| {
            Contents::read(reader)
        });
        let mut written = written
            .map_err(|failure| match failure {
                Failure::Read(ReadFailure { member, problem }) => {
                    let plugin = request.members.get(member).map(|member| member.plugin.as_str());
                    problems_failure(plugin.unwrap_or(&request.id), &[problem])
                }
                Failure::Write(error) => self.cannot_write(&error),
                Failure::Cancelled => cancelled(),
            })?
            .into_iter();
        let layer = layer.and_then(|file| Some((file, written.next()?)));
        let tgz = tgz.and_then(|file| Some((file, written.next()?)));
        Ok(Archives { layer, tgz })
    }

    /// What the installers will say to what was written.
    fn rehearse(
        &self,
        request: &ArtifactRequest,
        members: &[archive::Member],
        image: Option<&Image>,
        tgz: Option<&(NamedTempFile, Written<Contents>)>,
        tgz_name: Option<&str>,
    ) -> Result<(Vec<Finding>, Vec<PackedPlugin>), PackageFailure> {
        let mut findings = Vec::new();
        let mut insides = std::collections::BTreeMap::new();
        if let Some((_, written)) = tgz {
            let name = tgz_name.unwrap_or_default();
            for member in &request.members {
                let (found, inside) = rehearse::tgz(&written.read_back, name, &member.dir, &self.releases);
                findings = found;
                insides.insert(member.dir.clone(), inside);
            }
        }
        if let Some(Image { written, config, manifest, .. }) = image {
            let bytes = ImageBytes { name: &request.image, folder: None, manifest, config, layer: &written.read_back };
            let (found, found_inside) = rehearse::image(&bytes, &self.releases);
            insides.extend(found_inside);
            findings = rehearse::merge(found, findings);
        }
        Allowance::apply(&request.allow, &mut findings);
        if findings.iter().any(Finding::is_fatal) {
            return Err(findings_failure(findings));
        }
        let packages = request.members.iter().zip(members).map(|(wanted, member)| {
            let text = |key: &str| member.list.manifest.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            PackedPlugin {
                plugin: wanted.plugin.clone(),
                dir: wanted.dir.clone(),
                name: text("name"),
                version: text("version"),
                files: member.list.files.len() as u64,
                unpacked_size: member.list.files.iter().map(super::packlist::PackedFile::size).sum(),
                inside: insides.remove(&wanted.dir).unwrap_or_default(),
            }
        });
        Ok((findings, packages.collect()))
    }

    fn keep_image(
        &self,
        request: &ArtifactRequest,
        image: Image,
    ) -> Result<(PackagedImage, PackagedSbom), PackageFailure> {
        let write = |error: std::io::Error| self.cannot_write(&error);
        let Image { layer, written, config, manifest } = image;
        let digest = Digest::of(&manifest);
        let subject = sbom::Subject {
            name: &request.image,
            version: &request.version,
            digest: &digest,
            plugins: request.members.iter().map(|member| member.dir.as_str()).collect(),
        };
        let document = sbom::document(&subject, &written.read_back);
        let sbom = PackagedSbom {
            file: sbom::file(&request.image),
            digest: Digest::of(&document),
            size: document.len() as u64,
        };
        layout::write_whole(&self.output.join(&sbom.file), &document).map_err(write)?;
        let mut layout = self.layout();
        layout.keep(layer, &written.digest).map_err(write)?;
        layout.put(&config).map_err(write)?;
        let digest = layout.put(&manifest).map_err(write)?;
        layout.tag(&request.image, &digest, manifest.len() as u64).map_err(write)?;
        let image = PackagedImage {
            name: request.image.clone(),
            digest,
            size: written.size + (config.len() + manifest.len()) as u64,
            files: written.read_back.files(),
        };
        Ok((image, sbom))
    }

    fn keep_tgz(
        &self,
        file: NamedTempFile,
        written: &Written<Contents>,
        name: &str,
        package: &str,
    ) -> Result<PackagedTgz, PackageFailure> {
        let write = |error: std::io::Error| self.cannot_write(&error);
        let integrity = written.integrity.clone().ok_or_else(|| write(std::io::Error::other("no integrity")))?;
        let folder = self.output.join("tgz");
        tgz::remove_others(&folder, package, name).map_err(write)?;
        layout::persist(file, &folder.join(name)).map_err(write)?;
        let line = tgz::integrity_line(&integrity);
        layout::write_whole(&folder.join(tgz::integrity_name(name)), line.as_bytes()).map_err(write)?;
        Ok(PackagedTgz { file: Path::new("tgz").join(name), integrity, size: written.size })
    }
}

/// An artifact in a few words, for people.
pub(super) fn summary(artifact: &Artifact) -> String {
    let files: u64 = artifact.packages.iter().map(|package| package.files).sum();
    let mut parts = vec![format!("{files} files")];
    if let Some(image) = &artifact.image {
        parts.push(format!("image {}", human_size(image.size)));
    }
    if let Some(tgz) = &artifact.tgz {
        parts.push(format!("tgz {}", human_size(tgz.size)));
    }
    match artifact.findings.len() {
        0 => {}
        1 => parts.push("1 finding".to_owned()),
        count => parts.push(format!("{count} findings")),
    }
    parts.join(", ")
}

pub(super) fn failure(code: &str, message: String, help: &str) -> PackageFailure {
    PackageFailure { code: code.to_owned(), message, help: Some(help.to_owned()), findings: Vec::new() }
}

fn cancelled() -> PackageFailure {
    failure("cancelled", "packaging was cancelled".to_owned(), "run the command again")
}

/// How many problems are named.
const NAMED: usize = 10;

fn problems_failure(plugin: &str, problems: &[Problem]) -> PackageFailure {
    let mut message = format!("cannot pack `{plugin}`:");
    let listed: Vec<String> = problems.iter().take(NAMED).map(ToString::to_string).collect();
    match listed.as_slice() {
        [only] => message = format!("{message} {only}"),
        several => several.iter().for_each(|problem| message.push_str(&format!("\n  {problem}"))),
    }
    if problems.len() > NAMED {
        message.push_str(&format!("\n  and {} more", problems.len() - NAMED));
    }
    let first = problems.first();
    let text = |diagnostic: Option<Box<dyn std::fmt::Display + '_>>| diagnostic.map(|text| text.to_string());
    PackageFailure {
        code: text(first.and_then(Diagnostic::code)).unwrap_or_else(|| "unreadable".to_owned()),
        message,
        help: text(first.and_then(Diagnostic::help)),
        findings: Vec::new(),
    }
}

fn findings_failure(findings: Vec<Finding>) -> PackageFailure {
    let mut message = "RHDH would not take it:".to_owned();
    for finding in findings.iter().filter(|finding| finding.is_fatal()) {
        let releases: Vec<String> = finding.releases.iter().map(ToString::to_string).collect();
        let plugin = finding.plugin.as_ref().map(|plugin| format!("{plugin}: ")).unwrap_or_default();
        let rule = finding.rule.name();
        message.push_str(&format!("\n  {plugin}{} ({rule}, RHDH {})", finding.text, releases.join(", ")));
    }
    let help = findings.iter().find(|finding| finding.is_fatal()).map(|finding| finding.help.clone());
    PackageFailure { code: "rehearsal".to_owned(), message, help, findings }
}
