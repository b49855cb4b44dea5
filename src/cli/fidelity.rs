//! `tierbench fidelity`.

use super::Ui;
use crate::error::{Error, ExitStatus, Result};

/// Perplexity and KL divergence of each tier against the most precise one
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args, _ui: &Ui) -> Result<ExitStatus> {
    Err(Error::Usage("`fidelity` is not part of this build yet".into()))
}
