//! Arguments that several subcommands take, and the options that they become.

use clap::{ArgAction, Args};

use crate::commands::{ExportOptions, Login, PlanOptions, PushOptions};

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// The channel [default: the one that is for this CI event; `local` outside a CI]
    #[arg(long, value_name = "NAME")]
    pub(super) channel: Option<String>,
    /// Only this plugin; may be repeated
    #[arg(long = "plugin", value_name = "ID")]
    pub(super) plugins: Vec<String>,
    /// Only this bundle, and its plugins; may be repeated
    #[arg(long = "bundle", value_name = "ID")]
    pub(super) bundles: Vec<String>,
    /// Everything, changed or not
    #[arg(long, conflicts_with_all = ["plugins", "bundles"])]
    pub(super) all: bool,
    /// Compare with this revision [default: the one for this CI event; outside a CI the merge base with the default
    /// branch]
    #[arg(long, value_name = "REV")]
    pub(super) base: Option<String>,
    /// Plan this revision, which must be checked out [default: what stands on disk, committed or not]
    #[arg(long, value_name = "REV")]
    pub(super) head: Option<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum PlanFormat {
    /// plan.json
    Json,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Do not run `yarn install`
    #[arg(long)]
    pub(super) no_install: bool,
    /// Do not run `yarn tsc`
    #[arg(long)]
    pub(super) no_tsc: bool,
    /// Stop everything at the first plugin that fails
    #[arg(long)]
    pub(super) fail_fast: bool,
    #[command(flatten)]
    pub(super) jobs: JobsArgs,
}

#[derive(Debug, Args)]
pub(super) struct DryRunArgs {
    /// Do everything but write to registries
    #[arg(long)]
    pub(super) dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct PushArgs {
    #[command(flatten)]
    pub(super) dry_run: DryRunArgs,
    /// Move no tag unless every plugin and bundle of the run is up [default: in channels that do not overwrite]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) atomic: Option<bool>,
    /// The name to log in with; its password comes from stdin
    #[arg(long, value_name = "NAME", requires = "registry_password_stdin")]
    pub(super) registry_username: Option<String>,
    /// Read the password from stdin
    #[arg(long, requires = "registry_username")]
    pub(super) registry_password_stdin: bool,
    /// The registry of the configuration that the two are for [default: the only OCI registry host]
    #[arg(long, value_name = "ID", requires = "registry_username")]
    pub(super) registry: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct CommentArgs {
    /// In a CI, for a pull request, with a token: keep one comment on it up to date
    #[arg(long, value_name = "BOOL", env = "RHDH_PACK_COMMENT", default_value_t = true, action = ArgAction::Set)]
    pub(super) comment: bool,
}

#[derive(Debug, Args)]
pub(super) struct JobsArgs {
    /// How many plugins are exported, and files compressed, at once [default: what cores and memory allow]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) jobs: Option<u16>,
}

impl From<PlanArgs> for PlanOptions {
    fn from(args: PlanArgs) -> Self {
        let PlanArgs { channel, plugins, bundles, all, base, head } = args;
        Self { channel, plugins, bundles, all, base, head }
    }
}

impl From<ExportArgs> for ExportOptions {
    fn from(args: ExportArgs) -> Self {
        let ExportArgs { no_install, no_tsc, fail_fast, jobs } = args;
        Self { jobs: jobs.into(), install: !no_install, tsc: !no_tsc, fail_fast }
    }
}

impl From<PushArgs> for PushOptions {
    fn from(args: PushArgs) -> Self {
        let PushArgs { dry_run, atomic, registry_username, registry, .. } = args;
        let dry_run = dry_run.dry_run;
        Self { dry_run, atomic, login: registry_username.map(|username| Login { username, registry }) }
    }
}

impl From<JobsArgs> for Option<usize> {
    fn from(args: JobsArgs) -> Self {
        args.jobs.map(usize::from)
    }
}
