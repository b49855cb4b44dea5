//! `tierbench models`.

use super::Ui;
use crate::error::{Error, ExitStatus, Result};

/// List, show, fetch and check models
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args, _ui: &Ui) -> Result<ExitStatus> {
    Err(Error::Usage("`models` is not part of this build yet".into()))
}
