//! `tierbench prices`.

use super::Ui;
use crate::error::{Error, ExitStatus, Result};

/// Show the price book
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args, _ui: &Ui) -> Result<ExitStatus> {
    Err(Error::Usage("`prices` is not part of this build yet".into()))
}
