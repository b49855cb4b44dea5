//! `tierbench verify`.

use std::path::{Path, PathBuf};

use super::{Ui, record};
use crate::error::{Error, ExitStatus, Result};
use crate::report::one_line;
use crate::store::StoreError;
use crate::store::file;
use crate::store::signature;
use crate::store::verify::verify;

/// Recompute every derived number of a record from its raw samples
///
/// Needs nothing but the file; a stored run is verified as `export` would write it. Exits with 0 if all numbers and the
/// content hash agree, with 6 if one does not, and names the first that differs with its JSON path, the stored and the
/// recomputed value.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The record
    #[arg(value_name = "RECORD", help = record::HELP)]
    record: String,
    /// Check who signed the file: a minisign public key, or the file that holds it
    #[arg(long, value_name = "KEY")]
    public_key: Option<String>,
    /// The signature [default: RECORD.minisig]
    #[arg(long, value_name = "FILE", requires = "public_key")]
    signature: Option<PathBuf>,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<ExitStatus> {
    let (bytes, path) = record::locate(&args.record)?.read()?;
    let file = file::parse(&bytes, &path)?;
    let verification = verify(&file)?;
    if let Some(difference) = verification.difference {
        ui.line(one_line(&format!("differs: {difference}")))?;
        return Ok(ExitStatus::VerifyMismatch);
    }
    ui.line(format_args!(
        "verified: {} derived numbers recomputed from {} cells, content sha256 {}",
        verification.numbers,
        file.record.raw.cells.len(),
        file.record.content_sha256,
    ))?;
    for finding in file.record.findings() {
        ui.warn(one_line(&finding));
    }
    match &args.public_key {
        Some(key) => check_signature(args, key, ui),
        None => Ok(ExitStatus::Success),
    }
}

/// A signature covers the bytes of the file, so it is read from the file and not from what was parsed.
fn check_signature(args: &Args, key: &str, ui: &Ui) -> Result<ExitStatus> {
    if args.record == "-" || !record::is_file(&args.record) {
        return Err(Error::Usage("a signature covers a file: give the record as a file".into()));
    }
    let path = args.signature.clone().unwrap_or_else(|| PathBuf::from(format!("{}.minisig", args.record)));
    let read =
        |path: &Path| std::fs::read(path).map_err(|source| Error::Io { action: "read", path: path.to_owned(), source });
    let key = if Path::new(key).is_file() {
        String::from_utf8_lossy(&read(Path::new(key))?).into_owned()
    } else {
        key.to_owned()
    };
    let text = String::from_utf8_lossy(&read(&path)?).into_owned();
    match signature::check(&read(Path::new(&args.record))?, &text, &key, &path) {
        Ok(comment) => {
            ui.line(one_line(&format!("signed by the holder of that key: {comment}")))?;
            Ok(ExitStatus::Success)
        }
        Err(error @ StoreError::Signature { .. }) => {
            ui.line(one_line(&error.to_string()))?;
            Ok(ExitStatus::VerifyMismatch)
        }
        Err(error) => Err(error.into()),
    }
}
