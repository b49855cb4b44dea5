//! `tierbench verify`.

use super::{Ui, record};
use crate::error::{ExitStatus, Result};
use crate::store::verify::verify;

/// Recompute every derived number of a record from its raw samples
///
/// Needs nothing but the file. Exits with 0 if all numbers and the content hash agree, with 6 if one does not, and names
/// the first that differs with its JSON path, the stored and the recomputed value.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Record file, or - for stdin
    #[arg(value_name = "RECORD")]
    record: String,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<ExitStatus> {
    let file = record::load_file(&args.record)?;
    let verification = verify(&file)?;
    match verification.difference {
        Some(difference) => {
            ui.line(format_args!("{}", crate::report::one_line(&format!("differs: {difference}"))))?;
            Ok(ExitStatus::VerifyMismatch)
        }
        None => {
            ui.line(format_args!(
                "verified: {} derived numbers recomputed from {} cells, content sha256 {}",
                verification.numbers,
                file.record.raw.cells.len(),
                file.record.content_sha256,
            ))?;
            Ok(ExitStatus::Success)
        }
    }
}
