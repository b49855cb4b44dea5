//! `tierbench verify`.

use super::Ui;
use crate::error::{Error, ExitStatus, Result};

/// Recompute every derived number of a record from its raw samples
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args, _ui: &Ui) -> Result<ExitStatus> {
    Err(Error::Usage("`verify` is not part of this build yet".into()))
}
