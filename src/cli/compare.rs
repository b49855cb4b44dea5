//! `tierbench compare`.

use super::{OutputFormat, Ui, record};
use crate::error::{ExitStatus, Result};
use crate::report::compare::{Comparison, Pick, Threshold};
use crate::report::markdown;

/// Compare two records: ratios with intervals, what is significant, what is missing, what changed in the environment
///
/// Pass rates are paired item by item, by Bonett and Price's interval for the ratio of paired proportions; the errors of all
/// else are independent. Exits with 0, or with 1 if a --fail-if condition holds or cannot be checked.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[arg(value_name = "A", help = record::HELP)]
    a: String,
    /// The record compared with A; ratios are B / A
    #[arg(value_name = "B")]
    b: String,
    /// Exit with 1 if a ratio B / A crosses a limit (<, <=, > or >=), e.g. 'tg128 < 0.95' or 'pass_rate < 0.98', or if B
    /// lacks what the condition names and A has; may be repeated, every condition is checked
    #[arg(long, value_name = "CONDITION")]
    fail_if: Vec<Threshold>,
    /// Let --fail-if count only ratios whose whole interval is beyond the limit, and what is missing
    #[arg(long, requires = "fail_if")]
    certain: bool,
    /// Hold a tier of A against a tier of B that has another name, e.g. 't2 = t8': words of both names, of all tiers of a
    /// ladder at once; may be repeated. Otherwise tiers of one name are compared, then those of one model and level
    #[arg(long, value_name = "A = B")]
    pair: Vec<Pick>,
    /// Format
    #[arg(short, long, value_parser = OutputFormat::among(&[OutputFormat::Table, OutputFormat::Md, OutputFormat::Json]), default_value = "table")]
    output: OutputFormat,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<ExitStatus> {
    let comparison = Comparison::of(&record::load(&args.a, ui)?, &record::load(&args.b, ui)?, &args.pair)?;
    let document = || comparison.document([&args.a, &args.b]);
    match args.output {
        OutputFormat::Md => ui.write(markdown::layout(&document()).as_bytes())?,
        OutputFormat::Json => {
            let text = serde_json::to_string_pretty(&comparison).map_err(crate::report::ReportError::from)?;
            ui.line(text)?;
        }
        _ => ui.write(ui.terminal().layout(&document()).as_bytes())?,
    }
    let mut failed = false;
    // One condition that cannot be checked hides none of the others.
    for threshold in &args.fail_if {
        match threshold.violations(&comparison, args.certain) {
            Ok(violations) => {
                failed |= !violations.is_empty();
                for violation in violations {
                    ui.error(format_args!("{violation}, which is what --fail-if '{threshold}' forbids"));
                }
            }
            Err(error) => {
                failed = true;
                ui.error(error);
            }
        }
    }
    Ok(if failed { ExitStatus::Error } else { ExitStatus::Success })
}
