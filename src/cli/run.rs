//! `tierbench run`.

use super::Ui;
use crate::error::{Error, ExitStatus, Result};

/// Measure a ladder of tiers, judge them on a task, name the cheapest that clears the bar
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args, _ui: &Ui) -> Result<ExitStatus> {
    Err(Error::Usage("`run` is not part of this build yet".into()))
}
