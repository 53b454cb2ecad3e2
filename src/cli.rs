//! The command line: clap types only. `main` hands them to [`crate::commands`] as request structs; nothing else
//! of the program sees clap.

use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory as _, Parser, Subcommand};

use crate::commands::{
    Command, DiffOptions, InitOptions, InspectOptions, InspectOutput, InstallOptions, PlanOutput, PromoteOptions,
    PruneOptions, Request, RunOptions, SchemaOf, UpdateOptions, VerifyOptions,
};
use crate::config::Attachment;
use crate::digest::{Digest, ExpectedIntegrity};
use crate::package::Release;
use crate::package::deliver::{Destination, Engine};
use crate::plan::Legs;
use crate::report::Format;
use crate::ui::Verbosity;
use groups::{CommentArgs, DryRunArgs, ExportArgs, JobsArgs, PlanArgs, PlanFormat, PushArgs};

mod groups;

/// Export, package and push Backstage plugins as Red Hat Developer Hub dynamic plugins.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    max_term_width = 100,
    after_help = "\
Exit codes: 0 all done, or nothing to do; 1 at least one plugin failed; 2 the command line, the configuration \
or the repository is wrong; 3 the environment is (no node, no registry, not logged in)."
)]
pub struct Cli {
    /// Work as if started in this folder
    #[arg(short = 'C', value_name = "DIR", global = true)]
    directory: Option<PathBuf>,
    /// The configuration file [default: rhdh-plugins.toml, here or in the nearest folder above]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The output folder [default: .rhdh-pack beside the configuration file]
    #[arg(long, value_name = "DIR", global = true)]
    out_dir: Option<PathBuf>,
    /// Say only what is wrong
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Say more: why, how long, which commands are run
    #[arg(short, long, global = true, action = ArgAction::SetTrue)]
    verbose: bool,
    #[command(subcommand)]
    command: Subcommands,
}

/// What names an artifact.
const WHAT: &str = "\
REF: oci://quay.io/acme/todo:1.0.0, oci://quay.io/acme/todo@sha256:…; TGZ: an archive as `npm pack` makes it; DIR: a \
dist-dynamic, or the output folder of a run; LAYOUT: oci:DIR for all images of an OCI layout, oci:DIR:NAME for one.";

/// What names an image.
const IMAGES: &str = "\
REF: oci://quay.io/acme/todo:1.0.0, oci://quay.io/acme/todo@sha256:…; LAYOUT: oci:DIR for all images of an OCI layout, \
oci:DIR:NAME for one; DIR: the output folder of a run.";

/// What `update` changes.
const UPDATE: &str = "\
What was published is read from result.json in the output folder. Of every list `plugins:`, the entries that name the same \
image repository, archive or npm package are given its digest and integrity; nothing else of the file changes.";

/// What a command prints on stdout, where it prints data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum DataFormat {
    /// One JSON document
    Json,
}

/// What `inspect` prints on stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum InspectFormat {
    /// One JSON document of all that is known
    Json,
    /// The attached SBOM itself (CycloneDX)
    Sbom,
    /// The attached provenance itself (in-toto, SLSA)
    Provenance,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Go the whole way: plan, export, package, push, report
    Run {
        #[command(flatten)]
        plan: PlanArgs,
        #[command(flatten)]
        export: ExportArgs,
        #[command(flatten)]
        push: PushArgs,
        #[command(flatten)]
        comment: CommentArgs,
    },
    /// Work out what to build and why, and write plan.json
    Plan {
        #[command(flatten)]
        plan: PlanArgs,
        /// Print the plan on stdout
        #[arg(long, value_enum, conflicts_with_all = ["explain", "matrix"])]
        format: Option<PlanFormat>,
        /// Print every reason for one plugin or bundle
        #[arg(long, value_name = "ID", conflicts_with = "matrix")]
        explain: Option<String>,
        /// Print a job matrix: at most N legs [default: one for each plugin that is built]
        #[arg(long, value_name = "N", num_args = 0..=1, value_parser = clap::value_parser!(u16).range(1..))]
        matrix: Option<Option<u16>>,
    },
    /// Make dist-dynamic of the planned plugins with the RHDH CLI
    Export {
        /// Only this plugin of the plan, and the bundles whose plugins are all among these; may be repeated
        #[arg(long = "plugin", value_name = "ID")]
        plugins: Vec<String>,
        #[command(flatten)]
        export: ExportArgs,
    },
    /// Make OCI images and tgz archives of the planned plugins' dist-dynamic
    Package {
        #[command(flatten)]
        jobs: JobsArgs,
        /// Where the images go besides the output folder: `oci-archive:FILE`, `docker-archive:FILE`, or `dir:FOLDER`
        /// for the plugins themselves
        #[arg(long, value_name = "DEST")]
        output: Option<Destination>,
        /// Load the images into the container engine `podman`, `docker` or `buildah`, too
        #[arg(long, value_name = "ENGINE")]
        load: Option<Engine>,
    },
    /// Push what was packaged to its registries
    Push {
        /// The channel, whatever the result says [default: the one that the plan was made for]
        #[arg(long, value_name = "NAME")]
        channel: Option<String>,
        #[command(flatten)]
        push: PushArgs,
    },
    /// Write summary.md and dynamic-plugins.yaml of what was done
    Report {
        /// What to print on stdout
        #[arg(long, value_enum)]
        format: Option<Format>,
        /// First make one output folder of these: what the legs of a job matrix left
        #[arg(long, value_name = "DIR", num_args = 1..)]
        merge: Vec<PathBuf>,
        #[command(flatten)]
        comment: CommentArgs,
    },
    /// Bring the very images that were tested from one channel to another, without building
    Promote {
        /// The channel that they are in
        #[arg(long, value_name = "NAME")]
        from: String,
        /// The channel that they go to; its `promote-from` names the other
        #[arg(long, value_name = "NAME")]
        to: String,
        /// The pull request that was tested, where the channel's tags have its number [default: that of the CI event]
        #[arg(long, value_name = "NUMBER")]
        pr: Option<u64>,
        /// Only this plugin; may be repeated
        #[arg(long = "plugin", value_name = "ID")]
        plugins: Vec<String>,
        /// Only this bundle, and its plugins; may be repeated
        #[arg(long = "bundle", value_name = "ID")]
        bundles: Vec<String>,
        #[command(flatten)]
        dry_run: DryRunArgs,
    },
    /// Delete the tags of closed pull requests from the registries of a channel
    Prune {
        /// The channel; its tags have `{pr}`
        #[arg(long, value_name = "NAME")]
        channel: String,
        /// Delete what is of closed pull requests: nothing else can be deleted
        #[arg(long, required = true)]
        closed: bool,
        /// Delete the tags of content keys, too, that hold nothing but such images
        #[arg(long)]
        keys: bool,
        /// Print what would be deleted, and delete nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Bring the references and integrity values of what was published into files that exist
    #[command(after_help = UPDATE)]
    Update {
        /// A dynamic-plugins.yaml, values of RHDH's Helm chart, or a ConfigMap with the YAML inside
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Write nothing; print what would change, and end with 1 if anything would
        #[arg(long, conflicts_with = "pr")]
        check: bool,
        /// Open or update a pull request (on GitLab a merge request) in this repository, where the files are, instead of
        /// writing them here
        #[arg(long, value_name = "[HOST/]OWNER/NAME")]
        pr: Option<String>,
    },
    /// Check the configuration and the plugins it names, and do nothing else
    Check,
    /// Look at artifacts, whoever made them, as RHDH's installers and RHDH itself will
    #[command(after_help = WHAT)]
    Verify {
        /// Images, archives, folders
        #[arg(required = true, value_name = "REF|TGZ|DIR|LAYOUT")]
        what: Vec<String>,
        /// The RHDH release whose rules apply; may be repeated [default: the configuration's, else all known]
        #[arg(long, value_name = "X.Y")]
        rhdh: Vec<Release>,
        /// The digest that the image should have
        #[arg(long, value_name = "sha256:…")]
        digest: Option<Digest>,
        /// The integrity that the archive should have: sha512, sha384 or sha256
        #[arg(long, value_name = "sha512-…")]
        integrity: Option<ExpectedIntegrity>,
        /// Where the packages are that RHDH provides to plugins [default: the nearest node_modules with Backstage in it]
        #[arg(long, value_name = "DIR")]
        node_modules: Option<PathBuf>,
        /// Do not load backends in node: that runs their code
        #[arg(long, conflicts_with = "node_modules")]
        no_load: bool,
        /// What to print on stdout
        #[arg(long, value_enum)]
        format: Option<DataFormat>,
    },
    /// Print what a published image is: plugins, content key, SBOM, provenance
    #[command(after_help = IMAGES)]
    Inspect {
        /// The image, whoever made it
        #[arg(value_name = "REF|LAYOUT|DIR")]
        what: String,
        /// What to print on stdout, instead of text
        #[arg(long, value_enum)]
        format: Option<InspectFormat>,
    },
    /// Put artifacts into a local dynamic-plugins-root, as RHDH's init container would
    #[command(after_help = WHAT)]
    Install {
        /// The folder; it is made where it is missing
        #[arg(long, value_name = "DIR")]
        root: PathBuf,
        /// Images, archives, folders [default: what the last run left in the output folder]
        #[arg(value_name = "REF|TGZ|DIR|LAYOUT")]
        what: Vec<String>,
        /// The RHDH release whose rules apply; may be repeated [default: the configuration's, else all known]
        #[arg(long, value_name = "X.Y")]
        rhdh: Vec<Release>,
    },
    /// Print what differs between two artifacts: files, packages, package.json
    #[command(after_help = WHAT)]
    Diff {
        /// The one before
        #[arg(value_name = "A")]
        before: String,
        /// The one after
        #[arg(value_name = "B")]
        after: String,
        /// What to print on stdout, instead of text
        #[arg(long, value_enum)]
        format: Option<DataFormat>,
    },
    /// Look at everything that a run will need: the machine, the repository, the registries, the forge
    Doctor {
        /// What to print on stdout
        #[arg(long, value_enum)]
        format: Option<DataFormat>,
    },
    /// Print the longer text of a failure's code or a rule's name
    Explain {
        /// The code [default: list all]
        code: Option<String>,
    },
    /// Write a rhdh-plugins.toml for the plugins of this repository, and on request its workflow
    Init {
        /// Ask nothing
        #[arg(short, long)]
        yes: bool,
        /// Write the workflow for GitHub Actions, too
        #[arg(long)]
        github: bool,
        /// Write the pipeline for GitLab CI, too
        #[arg(long)]
        gitlab: bool,
        /// Where images go, such as quay.io/acme [default: the registry that comes with the git remote]
        #[arg(long, value_name = "HOST/NAMESPACE")]
        registry: Option<String>,
    },
    /// Write a rhdh-plugins.toml from a plugins-list.yaml, or from the plugins' export-dynamic scripts
    Import {
        /// The list [default: plugins-list.yaml, where there is one]
        list: Option<PathBuf>,
    },
    /// Say which packages each backend must embed, share or leave out, and why
    Suggest {
        /// The plugins [default: all]
        plugins: Vec<String>,
        /// Add them to rhdh-plugins.toml, keeping its comments
        #[arg(long)]
        write: bool,
    },
    /// Print the JSON schema of rhdh-plugins.toml or of a document
    Schema {
        /// Of what
        #[arg(value_enum, default_value_t)]
        of: SchemaOf,
    },
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print a page of the manual; `man -l` shows it
    Man {
        /// The command that the page is of [default: rhdh-pack itself]
        command: Option<String>,
    },
}

impl Cli {
    /// The folder to start in.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// How much is said.
    #[must_use]
    pub fn verbosity(&self) -> Verbosity {
        match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        }
    }

    /// What to do, without clap.
    #[must_use]
    pub fn into_request(self) -> Request {
        let command = match self.command {
            Subcommands::Run { plan, export, push, comment } => {
                let comment = comment.comment;
                Command::Run(RunOptions { plan: plan.into(), export: export.into(), push: push.into(), comment })
            }
            Subcommands::Plan { plan, format, explain, matrix } => {
                let output = match (format, explain, matrix) {
                    (Some(PlanFormat::Json), ..) => PlanOutput::Json,
                    (_, Some(id), _) => PlanOutput::Explain(id),
                    (.., Some(legs)) => {
                        PlanOutput::Matrix(legs.map_or(Legs::OneEach, |number| Legs::AtMost(number.into())))
                    }
                    _ => PlanOutput::Table,
                };
                Command::Plan(plan.into(), output)
            }
            Subcommands::Export { plugins, export } => Command::Export(plugins, export.into()),
            Subcommands::Package { jobs, output, load } => Command::Package {
                jobs: jobs.into(),
                destinations: output.into_iter().chain(load.map(Destination::Engine)).collect(),
            },
            Subcommands::Push { channel, push } => Command::Push { channel, options: push.into() },
            Subcommands::Report { format, merge, comment } => {
                Command::Report { format, merge, comment: comment.comment }
            }
            Subcommands::Promote { from, to, pr, plugins, bundles, dry_run } => {
                let (pull_request, dry_run) = (pr, dry_run.dry_run);
                Command::Promote(PromoteOptions { from, to, plugins, bundles, pull_request, dry_run })
            }
            Subcommands::Prune { channel, closed: _, keys, dry_run } => {
                Command::Prune(PruneOptions { channel, keys, dry_run })
            }
            Subcommands::Update { files, check, pr } => {
                Command::Update(UpdateOptions { files, check, pull_request: pr })
            }
            Subcommands::Check => Command::Check,
            Subcommands::Verify { what, rhdh, digest, integrity, node_modules, no_load, format } => {
                let (load, json) = (!no_load, format.is_some());
                Command::Verify(VerifyOptions { what, rhdh, digest, integrity, load, node_modules, json })
            }
            Subcommands::Inspect { what, format } => {
                let output = match format {
                    None => InspectOutput::Text,
                    Some(InspectFormat::Json) => InspectOutput::Json,
                    Some(InspectFormat::Sbom) => InspectOutput::Document(Attachment::Sbom),
                    Some(InspectFormat::Provenance) => InspectOutput::Document(Attachment::Provenance),
                };
                Command::Inspect(InspectOptions { what, output })
            }
            Subcommands::Install { root, what, rhdh } => Command::Install(InstallOptions { root, what, rhdh }),
            Subcommands::Diff { before, after, format } => {
                Command::Diff(DiffOptions { before, after, json: format.is_some() })
            }
            Subcommands::Doctor { format } => Command::Doctor { json: format.is_some() },
            Subcommands::Explain { code } => Command::Explain(code),
            Subcommands::Init { yes, github, gitlab, registry } => {
                Command::Init(InitOptions { yes, github, gitlab, registry })
            }
            Subcommands::Import { list } => Command::Import(list),
            Subcommands::Suggest { plugins, write } => Command::Suggest { plugins, write },
            Subcommands::Schema { of } => Command::Schema(of),
            Subcommands::Completions { shell } => Command::Print(completions(shell)),
            Subcommands::Man { command } => Command::Print(manual(command.as_deref())),
        };
        Request { config: self.config, out_dir: self.out_dir, command }
    }
}

fn completions(shell: clap_complete::Shell) -> Vec<u8> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "rhdh-pack", &mut text);
    text
}

/// The manual's page of a subcommand, or of the program itself. Ends the process where there is no such subcommand,
/// as clap does with all that is wrong on the command line.
fn manual(subcommand: Option<&str>) -> Vec<u8> {
    let mut program = Cli::command();
    program.build();
    let page = match subcommand {
        None => program,
        Some(name) => match program.find_subcommand(name) {
            Some(found) => found.clone(),
            None => program.error(ErrorKind::InvalidValue, format!("there is no command `{name}`")).exit(),
        },
    };
    let mut text = Vec::new();
    // Writing to memory does not fail.
    let _ = clap_mangen::Man::new(page).render(&mut text);
    text
}
