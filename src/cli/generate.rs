//! `tierbench generate`.

use super::Ui;
use crate::error::{Error, ExitStatus, Result};

/// Run a prompt through a tier
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args, _ui: &Ui) -> Result<ExitStatus> {
    Err(Error::Usage("`generate` is not part of this build yet".into()))
}
