//! `tierbench compare`.

use super::{OutputFormat, Ui, record};
use crate::error::{Error, ExitStatus, Result};
use crate::report::compare::{Comparison, Threshold};
use crate::report::markdown;

/// Compare two records: ratios with intervals, what is significant, what changed in the environment
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[arg(value_name = "A", help = record::HELP)]
    a: String,
    /// The record compared with A; ratios are B / A
    #[arg(value_name = "B")]
    b: String,
    /// Exit with 1 if a ratio B / A crosses a limit, e.g. 'tg128 < 0.95' or 'pass_rate < 0.98'; may be repeated
    #[arg(long, value_name = "CONDITION")]
    fail_if: Vec<Threshold>,
    /// Let --fail-if count only ratios whose whole interval is beyond the limit
    #[arg(long, requires = "fail_if")]
    certain: bool,
    /// Format: table, md or json
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Table)]
    output: OutputFormat,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<ExitStatus> {
    let comparison = Comparison::of(&record::load(&args.a, ui)?, &record::load(&args.b, ui)?);
    let document = || comparison.document([&args.a, &args.b]);
    match args.output {
        OutputFormat::Table => ui.write(ui.terminal().layout(&document()).as_bytes())?,
        OutputFormat::Md => ui.write(markdown::layout(&document()).as_bytes())?,
        OutputFormat::Json => {
            let text = serde_json::to_string_pretty(&comparison).map_err(crate::report::ReportError::from)?;
            ui.line(text)?;
        }
        other => return Err(Error::Usage(format!("compare writes table, md or json, not {other:?}").to_lowercase())),
    }
    let mut failed = false;
    for threshold in &args.fail_if {
        for crossed in threshold.violations(&comparison, args.certain)? {
            failed = true;
            ui.error(format_args!(
                "{}: {} is {:.4} of A, which is what --fail-if '{threshold}' forbids",
                crate::report::one_line(&crossed.tier.0),
                crate::report::one_line(&crossed.name),
                crossed.point,
            ));
        }
    }
    Ok(if failed { ExitStatus::Error } else { ExitStatus::Success })
}
