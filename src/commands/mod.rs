//! The commands: one file each. The only place where stages are wired together; nothing imports it but the process.

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use crate::document;
use crate::package::deliver::Destination;
use crate::plan::Legs;
use crate::report::Format;
use crate::ui::Ui;

mod alone;
mod attach;
mod base_image;
mod check;
mod ci;
mod credentials;
mod diff;
mod doctor;
mod error;
mod explain;
mod export;
mod import;
mod init;
mod inspect;
mod install;
mod memory;
mod merge;
mod package;
mod plan;
pub mod project;
mod promote;
mod prune;
mod push;
mod report;
mod run;
mod schema;
mod session;
mod suggest;
mod tags;
mod update;
mod verify;

pub use diff::DiffOptions;
pub use error::Error;
pub use init::{InitError, InitOptions};
pub use inspect::{InspectOptions, InspectOutput};
pub use install::InstallOptions;
pub use promote::{PromoteError, PromoteOptions};
pub use prune::{PruneError, PruneOptions};
pub use suggest::SuggestError;
pub use update::UpdateOptions;
pub use verify::VerifyOptions;

/// What to do, from the command line.
#[derive(Clone, Debug)]
pub struct Request {
    /// The configuration file; `None`: the nearest one.
    pub config: Option<PathBuf>,
    /// The output folder; `None`: `.rhdh-pack` beside the configuration file.
    pub out_dir: Option<PathBuf>,
    /// Which command.
    pub command: Command,
}

/// A subcommand and its options.
#[derive(Clone, Debug)]
pub enum Command {
    /// The whole way.
    Run(RunOptions),
    /// `plan.json` only.
    Plan(PlanOptions, PlanOutput),
    /// `dist-dynamic` of what is planned; of these plugins only, where there are any.
    Export(Vec<String>, ExportOptions),
    /// Images and archives of what is planned.
    Package {
        /// Threads at once; `None`: all cores.
        jobs: Option<usize>,
        /// Where the images go besides the output folder.
        destinations: Vec<Destination>,
    },
    /// What was packaged, to the registries.
    Push {
        /// The channel; `None`: the result's.
        channel: Option<String>,
        /// How to push.
        options: PushOptions,
    },
    /// `summary.md` and `dynamic-plugins.yaml`.
    Report {
        /// The document to print on stdout.
        format: Option<Format>,
        /// Output folders to make one of first.
        merge: Vec<PathBuf>,
        /// Whether a pull request gets a comment.
        comment: bool,
    },
    /// From one channel to another, what was tested.
    Promote(PromoteOptions),
    /// Tags of closed pull requests.
    Prune(PruneOptions),
    /// The references in files that exist.
    Update(UpdateOptions),
    /// Nothing but the check of the configuration.
    Check,
    /// The rehearsal of RHDH's installers, on anything.
    Verify(VerifyOptions),
    /// What a published image is, and what is attached to it.
    Inspect(InspectOptions),
    /// A local `dynamic-plugins-root`.
    Install(InstallOptions),
    /// What differs between two artifacts.
    Diff(DiffOptions),
    /// Everything that a run will need, looked at before.
    Doctor {
        /// Whether the findings go to stdout as JSON.
        json: bool,
    },
    /// The text of a code; all codes.
    Explain(Option<String>),
    /// A configuration for a repository that has none.
    Init(InitOptions),
    /// A configuration from a list of plugins of another tool; `None`: the usual list, or scripts.
    Import(Option<PathBuf>),
    /// The flags of the RHDH CLI that plugins need.
    Suggest {
        /// Ids of plugins; none: all.
        plugins: Vec<String>,
        /// Add them to the configuration.
        write: bool,
    },
    /// A JSON schema on stdout.
    Schema(SchemaOf),
    /// What the command line has made of itself, on stdout: completions for a shell, a page of the manual.
    Print(Vec<u8>),
}

impl Command {
    /// What the command plans, where it makes a plan of its own.
    fn planning(&self) -> Option<&PlanOptions> {
        match self {
            Self::Run(options) => Some(&options.plan),
            Self::Plan(options, _) => Some(options),
            _ => None,
        }
    }

    /// Whether it goes on where an earlier stage ended.
    fn is_later_stage(&self) -> bool {
        matches!(self, Self::Export(..) | Self::Package { .. } | Self::Push { .. } | Self::Report { .. })
    }
}

/// What there is a JSON schema of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum SchemaOf {
    /// `rhdh-plugins.toml`
    #[default]
    Config,
    /// `plan.json`
    Plan,
    /// `result.json`
    Result,
}

/// How to go the whole way.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// What to plan.
    pub plan: PlanOptions,
    /// How to export.
    pub export: ExportOptions,
    /// How to push.
    pub push: PushOptions,
    /// Whether a pull request gets a comment.
    pub comment: bool,
}

/// How to push.
#[derive(Clone, Debug)]
pub struct PushOptions {
    /// Leave the registries as they are.
    pub dry_run: bool,
    /// Whether one failure keeps every tag of the run where it is; `None`: in channels that do not overwrite.
    pub atomic: Option<bool>,
    /// Credentials from the command line and stdin.
    pub login: Option<Login>,
}

/// Whose password stands on stdin.
#[derive(Clone, Debug)]
pub struct Login {
    /// The name.
    pub username: String,
    /// The registry's name in the configuration; `None`: the registries of the only OCI host.
    pub registry: Option<String>,
}

/// What to plan.
#[derive(Clone, Debug, Default)]
pub struct PlanOptions {
    /// The channel; `None`: the one for this CI event.
    pub channel: Option<String>,
    /// Ids of the plugins to plan; with `bundles` empty too: everything.
    pub plugins: Vec<String>,
    /// Ids of the bundles to plan, with all of their plugins.
    pub bundles: Vec<String>,
    /// Plan everything, changed or not.
    pub all: bool,
    /// The revision to compare with; `None`: the one for this CI event.
    pub base: Option<String>,
    /// The revision to plan; `None`: what stands on disk.
    pub head: Option<String>,
}

/// What `plan` prints on stdout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanOutput {
    /// Nothing: a table on stderr.
    Table,
    /// `plan.json`.
    Json,
    /// All reasons for one plugin or bundle.
    Explain(String),
    /// A job matrix.
    Matrix(Legs),
}

/// How to export.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    /// Plugins at once, and threads when they are packaged; `None`: what the machine allows.
    pub jobs: Option<usize>,
    /// Run `yarn install` first.
    pub install: bool,
    /// Run `yarn tsc` first.
    pub tsc: bool,
    /// Stop at the first failure.
    pub fail_fast: bool,
}

/// Carries out `request` and returns the exit code: 0 when all is done, 1 when a plugin or bundle failed.
///
/// # Errors
/// When the command could not do its work at all; [`Error::exit_code`] tells which exit code that is.
pub fn run(request: &Request, ui: &Ui) -> Result<u8, Error> {
    ci::mask_secrets(ui);
    crate::registry::tls::install();
    let runtime = tokio::runtime::Runtime::new().map_err(Error::Start)?;
    let cancel = CancellationToken::new();
    runtime.block_on(async {
        stop_on_signals(&cancel, ui).map_err(Error::Start)?;
        let outcome = dispatch(request, ui, &cancel).await;
        if let Err(error) = &outcome {
            ci::annotate(ui, error);
        }
        outcome
    })
}

/// Does `work`, which writes nothing, unless a signal stops it.
async fn or_stop<T>(cancel: &CancellationToken, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::select! {
        outcome = work => outcome,
        () = cancel.cancelled() => Err(Error::Stopped),
    }
}

async fn dispatch(request: &Request, ui: &Ui, cancel: &CancellationToken) -> Result<u8, Error> {
    let _alone = alone::Alone::take(request, ui, cancel).await?;
    let session = || session::Session::open(request, ui, cancel);
    match &request.command {
        Command::Run(options) => run::run(&session()?, options).await,
        Command::Plan(options, output) => plan::command(session()?, options, output).await,
        Command::Export(plugins, options) => export::command(&session()?, plugins, options).await,
        Command::Package { jobs, destinations } => package::command(&session()?, *jobs, destinations),
        Command::Push { channel, options } => push::command(&session()?, channel.as_deref(), options).await,
        Command::Report { format, merge, comment } => report::command(&session()?, *format, merge, *comment).await,
        Command::Promote(options) => promote::command(&session()?, options).await,
        Command::Prune(options) => prune::command(&session()?, options).await,
        Command::Update(options) => update::command(request, options, ui).await,
        Command::Check => check::command(&session()?),
        Command::Verify(options) => or_stop(cancel, verify::command(request, options, ui, cancel)).await,
        Command::Inspect(options) => or_stop(cancel, inspect::command(request, options, ui, cancel)).await,
        Command::Install(options) => install::command(request, options, ui, cancel).await,
        Command::Diff(options) => or_stop(cancel, diff::command(request, options, ui, cancel)).await,
        Command::Doctor { json } => doctor::command(request, *json, ui, cancel).await,
        Command::Explain(code) => explain::command(code.as_deref()),
        Command::Init(options) => init::command(request, options, ui),
        Command::Import(list) => import::command(request, list.as_deref(), ui),
        Command::Suggest { plugins, write } => suggest::command(&session()?, plugins, *write),
        Command::Schema(of) => schema::command(*of),
        Command::Print(text) => {
            document::print(text)?;
            Ok(0)
        }
    }
}

/// The first Ctrl-C or SIGTERM stops the run: children are ended, uploads are left, and the result says how far it
/// came.
fn stop_on_signals(cancel: &CancellationToken, ui: &Ui) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (cancel, ui) = (cancel.clone(), ui.clone());
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        ui.warn("interrupted: stopping");
        cancel.cancel();
    });
    Ok(())
}
