//! `tierbench quantize`.

use super::Ui;
use crate::error::{Error, ExitStatus, Result};

/// Make GGUF files at the named quantization levels from one source
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_args: &Args, _ui: &Ui) -> Result<ExitStatus> {
    Err(Error::Usage("`quantize` is not part of this build yet".into()))
}
