//! The process: parse the command line, carry out the command, turn its outcome into an exit code.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use rhdh_pack::cli::Cli;
use rhdh_pack::commands;
use rhdh_pack::ui::Ui;

/// See `Cargo.toml`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ui = Ui::new(cli.verbosity());
    if let Some(directory) = cli.directory()
        && let Err(error) = std::env::set_current_dir(directory)
    {
        let _ = writeln!(std::io::stderr(), "error: cannot work in `{}`: {error}", directory.display());
        return ExitCode::from(2);
    }
    match commands::run(&cli.into_request(), &ui) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let code = error.exit_code();
            ui.report(&error);
            ExitCode::from(code)
        }
    }
}
