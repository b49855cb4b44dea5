//! `tierbench completions`: shell completions and the man page, made from the command tree.

use super::Ui;
use crate::error::{ExitStatus, Result};

/// Print shell completions or the man page
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// bash, zsh, fish, elvish, powershell, or man
    #[arg(value_enum)]
    target: Target,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Target {
    Bash,
    Zsh,
    Fish,
    Elvish,
    Powershell,
    Man,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<ExitStatus> {
    use clap_complete::{Shell, generate};
    let mut command = super::command();
    let mut out = Vec::new();
    let shell = match args.target {
        Target::Bash => Shell::Bash,
        Target::Zsh => Shell::Zsh,
        Target::Fish => Shell::Fish,
        Target::Elvish => Shell::Elvish,
        Target::Powershell => Shell::PowerShell,
        Target::Man => {
            clap_mangen::Man::new(command).render(&mut out)?;
            ui.write(&out)?;
            return Ok(ExitStatus::Success);
        }
    };
    generate(shell, &mut command, "tierbench", &mut out);
    ui.write(&out)?;
    Ok(ExitStatus::Success)
}
