//! Why a command could not do its work at all, and the exit code that this gives.

use std::path::PathBuf;

use super::{InitError, PromoteError, PruneError, SuggestError, project};
use crate::config::channels::UnknownChannel;
use crate::config::template::MissingValue;
use crate::{config, document};

/// Why a command could not do its work at all. What went wrong with single plugins is in the result instead.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    /// The configuration, or the plugins it names.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Project(#[from] project::Error),
    /// There is no configuration file.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Config(#[from] config::Error),
    /// The output folder is that of a plugin, or around it.
    #[error("the output folder `{}` holds the plugin `{plugin}`", out.display())]
    #[diagnostic(help("name a folder of its own, such as `--out-dir .rhdh-pack`: nothing in it counts as an input"))]
    OutputOfInputs {
        /// The output folder.
        out: PathBuf,
        /// The plugin's id.
        plugin: String,
    },
    /// Stopped before anything was done.
    #[error("stopped while another rhdh-pack was at work in this repository")]
    #[diagnostic(help("run it again when that is done"))]
    Waiting,
    /// Stopped by a signal while registries were asked.
    #[error("stopped before anything was written")]
    #[diagnostic(help("run it again"))]
    Stopped,
    /// `--channel` names none.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Channel(#[from] UnknownChannel),
    /// A tag of the channel cannot be made on this occasion.
    #[error("a tag of channel `{channel}` cannot be made for `{artifact}`")]
    #[diagnostic(help("use `--channel NAME` to choose a channel that fits this occasion, or change `tags`"))]
    Tag {
        /// The channel.
        channel: String,
        /// The plugin or bundle.
        artifact: String,
        /// The variable.
        #[source]
        source: MissingValue,
    },
    /// What was packaged is another version than the repository's.
    #[error("`{artifact}` was packaged as version {found}, and the repository has {wanted}")]
    #[diagnostic(help("run `rhdh-pack plan` and `rhdh-pack package` again, on the commit that is to be published"))]
    OtherVersion {
        /// The plugin or bundle.
        artifact: String,
        /// What the result says.
        found: String,
        /// What the checkout says.
        wanted: String,
    },
    /// The tag of a release on GitHub cannot be made on this occasion.
    #[error("the registry `{registry}` has no tag for the release that `{artifact}` goes to")]
    #[diagnostic(help(
        "a run for a git tag goes to the release of that tag; for others, set `tag = \"v{{version}}\"` in \
         `[registries.{registry}]`, or choose a channel with other `registries`"
    ))]
    ReleaseTag {
        /// The registry.
        registry: String,
        /// The plugin.
        artifact: String,
        /// The variable that has no value here, where the registry has a template.
        #[source]
        source: Option<MissingValue>,
    },
    /// A document of the output folder.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Document(#[from] document::Error),
    /// What changed cannot be told, or may not be published.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Plan(#[from] crate::plan::Error),
    /// What the legs of a job matrix left is not of one run.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Merge(#[from] crate::report::merge::Error),
    /// What a leg says that it made is not what it left.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Collect(#[from] crate::package::CollectError),
    /// The result does not fit the configuration.
    #[error("`result.json` has the image `{found}` for `{artifact}`, the configuration `{expected}`")]
    #[diagnostic(help("use the configuration that the result was made with, or run `rhdh-pack package` again"))]
    OtherImage {
        /// The plugin or bundle.
        artifact: String,
        /// The result's.
        found: String,
        /// The configuration's.
        expected: String,
    },
    /// An output folder of an older version.
    #[error("`{artifact}` has an image and no SBOM to attach to it")]
    #[diagnostic(code("sbom-missing"), help("run `rhdh-pack package` again, or set `attach = []` in the channel"))]
    NoSbom {
        /// The plugin or bundle.
        artifact: String,
    },
    /// A document was asked for, and is not there.
    #[error("no {kind} is attached to `{what}`")]
    #[diagnostic(
        code("not-attached"),
        help("`rhdh-pack inspect` without `--format` says what there is; `attach` of a channel says what is attached")
    )]
    NotAttached {
        /// What was named.
        what: String,
        /// What was asked for.
        kind: config::Attachment,
    },
    /// The document of one image was asked for, and there are several, or none.
    #[error("there are {count} images at `{what}`")]
    #[diagnostic(code("several-images"), help("name one of them: `oci:DIR:NAME`"))]
    SeveralImages {
        /// What was named.
        what: String,
        /// How many.
        count: usize,
    },
    /// A value to compare with, where nothing has such a value.
    #[error("`{option}` was compared with nothing: nothing that was looked at is {what}")]
    #[diagnostic(
        code("not-compared"),
        help("an image has a digest (`--digest`), an archive an integrity value (`--integrity`)")
    )]
    NotCompared {
        /// The option.
        option: &'static str,
        /// What has such a value.
        what: &'static str,
    },
    /// What would load a backend does not work here.
    #[error("not every backend could be loaded on this machine")]
    #[diagnostic(
        code("not-loaded"),
        help("install node, see that the temporary folder (`TMPDIR`) has room, or leave it out with `--no-load`")
    )]
    NotLoaded,
    /// Credentials for the only registry host, where there is not one.
    #[error("{what} for one registry host, and {found}")]
    #[diagnostic(help(
        "log in to each host before, or set `RHDH_PACK_<REGISTRY>_USERNAME` and `_PASSWORD` for each registry; on the \
         command line, `--registry ID` says which one it is"
    ))]
    WhichRegistry {
        /// Where the credentials stand.
        what: &'static str,
        /// Which hosts there are.
        found: String,
    },
    /// `--registry` names none, or one that nobody logs in to.
    #[error("there is no registry `{name}` to log in to")]
    #[diagnostic(help("{help}"))]
    UnknownRegistry {
        /// What was named.
        name: String,
        /// Which there are.
        help: String,
    },
    /// Stdin has no password.
    #[error("reading the password from stdin: {why}")]
    #[diagnostic(help(
        "`printf %s \"$PASSWORD\" | rhdh-pack push --registry-username NAME --registry-password-stdin`"
    ))]
    Password {
        /// Why not.
        why: String,
    },
    /// No plugin can be exported.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Export(#[from] crate::export::Error),
    /// Packaged images cannot be brought where they are to go.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Deliver(#[from] crate::package::deliver::Error),
    /// No artifact can be packaged.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Package(#[from] crate::package::Error),
    /// No artifact can be pushed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Push(#[from] crate::push::Error),
    /// An artifact cannot be opened.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Artifact(#[from] crate::artifact::Error),
    /// A plugin cannot be installed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Install(#[from] crate::install::Error),
    /// A code that there is not.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Code(#[from] crate::explain::UnknownCode),
    /// `dynamic-plugins.yaml`.
    #[error("cannot write `dynamic-plugins.yaml`")]
    Yaml(#[from] serde_yaml::Error),
    /// No configuration was written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Init(#[from] InitError),
    /// Nothing was imported.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Import(#[from] crate::import::Error),
    /// No flags can be worked out.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Suggest(#[from] SuggestError),
    /// Nothing can be promoted.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Promote(#[from] PromoteError),
    /// Nothing was deleted.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Prune(#[from] PruneError),
    /// A file was not brought up to date.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Update(#[from] crate::update::Error),
    /// The machine gives no thread or socket.
    #[error("the program could not be started")]
    Start(#[source] std::io::Error),
}

impl Error {
    /// 2 where the command line, the configuration or the repository is wrong; 3 where the environment is.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let environment = match self {
            Error::Project(_)
            | Error::Config(_)
            | Error::Channel(_)
            | Error::OutputOfInputs { .. }
            | Error::Tag { .. }
            | Error::OtherVersion { .. }
            | Error::ReleaseTag { .. }
            | Error::Yaml(_)
            | Error::Code(_)
            | Error::Merge(_)
            | Error::Collect(_)
            | Error::OtherImage { .. }
            | Error::WhichRegistry { .. }
            | Error::UnknownRegistry { .. }
            | Error::Password { .. }
            | Error::NoSbom { .. }
            | Error::NotAttached { .. }
            | Error::SeveralImages { .. }
            | Error::NotCompared { .. }
            | Error::Suggest(_)
            | Error::Promote(_)
            | Error::Init(_)
            | Error::Import(_)
            | Error::Install(
                crate::install::Error::Folder(_)
                | crate::install::Error::Archive { .. }
                | crate::install::Error::AppConfig(_),
            ) => false,
            Error::Export(_)
            | Error::Package(_)
            | Error::Deliver(_)
            | Error::Start(_)
            | Error::Waiting
            | Error::Stopped
            | Error::NotLoaded
            | Error::Install(crate::install::Error::Io { .. } | crate::install::Error::Lock(_)) => true,
            Error::Plan(error) => error.is_environment(),
            Error::Update(error) => error.is_environment(),
            Error::Prune(error) => error.is_environment(),
            Error::Document(error) => error.is_environment(),
            Error::Push(error) => error.is_environment(),
            Error::Artifact(error) => error.is_environment(),
        };
        if environment { 3 } else { 2 }
    }
}
