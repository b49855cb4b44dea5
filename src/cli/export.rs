//! `tierbench export`.

use super::Ui;
use crate::error::{Error, ExitStatus, Result};

/// Write a record's data in another format
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args, _ui: &Ui) -> Result<ExitStatus> {
    Err(Error::Usage("`export` is not part of this build yet".into()))
}
