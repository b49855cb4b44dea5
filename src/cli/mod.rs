//! The command line: the only room that knows clap, terminals and stdout.
//!
//! One file per subcommand; each has its `Args` and a `run(args, &Ui) -> Result<ExitStatus>`. Results go to stdout,
//! progress and warnings to stderr.

mod bar;
mod bench;
mod cascade;
mod compare;
mod completions;
mod cost;
mod cost_args;
mod doctor;
mod engine_args;
mod eval;
mod export;
mod fidelity;
mod generate;
mod history;
pub mod interrupt;
mod measuring;
mod meter_args;
mod misplaced;
mod models;
mod prices;
mod quantize;
mod quote;
mod record;
mod report;
mod run;
mod tasks;
mod ui;
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::error::{ExitStatus, Result};
pub use bar::Bar;
pub use ui::{OutputFormat, Ui};

/// Find the cheapest local model tier that clears your quality bar, measured on your hardware in tokens per second,
/// joules and dollars.
#[derive(Debug, Parser)]
#[command(name = "tierbench", version = env!("TIERBENCH_VERSION"), propagate_version = true, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

/// Flags every command takes.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct GlobalArgs {
    /// Never open a network connection; use what is in the cache
    #[arg(long, global = true, env = "TIERBENCH_OFFLINE", value_parser = clap::builder::FalseyValueParser::new())]
    pub offline: bool,
    /// No progress bars and no warnings on stderr
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Further model manifests: every .toml file of this directory; may be given more than once
    #[arg(long, global = true, env = "TIERBENCH_CATALOGUE", value_name = "DIR")]
    pub catalogue: Vec<std::path::PathBuf>,
    /// Read hardware counters below this directory instead of / (tests, containers with a bind-mounted /sys)
    #[arg(long, global = true, hide = true, value_name = "DIR")]
    pub sysfs_root: Option<std::path::PathBuf>,
}

const EXIT_CODES: &str = "Exit codes: 0 done, or a tier clears; 1 error; 2 usage; 3 no tier clears; 4 undecided within \
the budget; 5 some cells failed; 6 verification mismatch; 130 interrupted";

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<run::Args>),
    Bench(Box<bench::Args>),
    Eval(Box<eval::Args>),
    Cascade(cascade::Args),
    Fidelity(fidelity::Args),
    Quantize(quantize::Args),
    Generate(generate::Args),
    Report(report::Args),
    Compare(compare::Args),
    Verify(verify::Args),
    Export(export::Args),
    History(history::Args),
    Models(models::Args),
    Tasks(tasks::Args),
    Cost(cost::Args),
    Prices(prices::Args),
    Doctor(doctor::Args),
    Completions(completions::Args),
}

/// Entry point of the binary: parses, runs, prints an error as one line, returns the documented exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
            if let Some(advice) = misplaced::advice(&error, &command(), arguments) {
                Ui::new(&GlobalArgs::default()).error(advice);
                return ExitStatus::Usage.into();
            }
            // clap prints help and version to stdout with code 0, everything else to stderr with code 2.
            let _ = error.print();
            return if error.use_stderr() { ExitStatus::Usage.into() } else { ExitStatus::Success.into() };
        }
    };
    interrupt::install();
    let ui = Ui::new(&cli.global);
    match dispatch(cli.command, &ui) {
        Ok(status) => status.into(),
        // A reader that closed the pipe (`| head`) has what it wanted.
        Err(crate::Error::Terminal(source)) if source.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitStatus::Success.into()
        }
        Err(error) => {
            ui.error(&error);
            error.exit_status().into()
        }
    }
}

/// The command tree, for completions and the man page.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

fn dispatch(command: Command, ui: &Ui) -> Result<ExitStatus> {
    match command {
        Command::Run(args) => run::run(&args, ui),
        Command::Bench(args) => bench::run(&args, ui),
        Command::Eval(args) => eval::run(&args, ui),
        Command::Cascade(args) => cascade::run(&args, ui),
        Command::Fidelity(args) => fidelity::run(&args, ui),
        Command::Quantize(args) => quantize::run(&args, ui),
        Command::Generate(args) => generate::run(&args, ui),
        Command::Report(args) => report::run(&args, ui),
        Command::Compare(args) => compare::run(&args, ui),
        Command::Verify(args) => verify::run(&args, ui),
        Command::Export(args) => export::run(&args, ui),
        Command::History(args) => history::run(&args, ui),
        Command::Models(args) => models::run(&args, ui),
        Command::Tasks(args) => tasks::run(&args, ui),
        Command::Cost(args) => cost::run(&args, ui),
        Command::Prices(args) => prices::run(&args, ui),
        Command::Doctor(args) => doctor::run(&args, ui),
        Command::Completions(args) => completions::run(&args, ui),
    }
}
