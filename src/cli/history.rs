//! `tierbench history`.

use super::Ui;
use crate::error::{Error, ExitStatus, Result};

/// List stored runs
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args, _ui: &Ui) -> Result<ExitStatus> {
    Err(Error::Usage("`history` is not part of this build yet".into()))
}
