//! `tierbench doctor`.

use super::Ui;
use crate::error::{Error, ExitStatus, Result};

/// What this machine has: cores, memory bandwidth, devices, energy meters, noise
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args, _ui: &Ui) -> Result<ExitStatus> {
    Err(Error::Usage("`doctor` is not part of this build yet".into()))
}
