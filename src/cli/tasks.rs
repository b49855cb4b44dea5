//! `tierbench tasks`.

use super::Ui;
use crate::error::{Error, ExitStatus, Result};

/// List, show and check tasks
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args, _ui: &Ui) -> Result<ExitStatus> {
    Err(Error::Usage("`tasks` is not part of this build yet".into()))
}
