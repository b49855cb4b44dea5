//! `tierbench compare`.

use super::Ui;
use crate::error::{Error, ExitStatus, Result};

/// Compare two records side by side
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args, _ui: &Ui) -> Result<ExitStatus> {
    Err(Error::Usage("`compare` is not part of this build yet".into()))
}
