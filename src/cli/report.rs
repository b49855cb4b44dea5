//! `tierbench report`.

use super::Ui;
use crate::error::{Error, ExitStatus, Result};

/// Render a stored record as a table or page
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args, _ui: &Ui) -> Result<ExitStatus> {
    Err(Error::Usage("`report` is not part of this build yet".into()))
}
