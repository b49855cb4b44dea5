//! `tierbench eval`.

use super::Ui;
use crate::error::{Error, ExitStatus, Result};

/// Judge given tiers on tasks
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args, _ui: &Ui) -> Result<ExitStatus> {
    Err(Error::Usage("`eval` is not part of this build yet".into()))
}
