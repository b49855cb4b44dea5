//! `tierbench bench`.

use super::Ui;
use crate::error::{Error, ExitStatus, Result};

/// Speed and energy of given tiers, in llama-bench's words
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args, _ui: &Ui) -> Result<ExitStatus> {
    Err(Error::Usage("`bench` is not part of this build yet".into()))
}
