//! `tierbench cost demand`: cheaper items are used more; what that does to the bill.

use serde_json::json;

use super::{columns, print};
use crate::cli::cost_args::{CostArgs, repriced};
use crate::cli::{OutputFormat, Ui, record};
use crate::cost::api::Unit;
use crate::cost::demand::demand;
use crate::error::{Error, ExitStatus, Result};
use crate::report::document::{Document, Table};
use crate::report::number::significant;
use crate::store::record::Record;

/// What the bill becomes at a price elasticity when the price falls.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[arg(value_name = "RECORD", default_value = "latest", help = record::HELP)]
    record: String,
    /// Factor by which the price of an item falls [default: from the first hosted model's price to this run's answer]
    #[arg(long, allow_negative_numbers = true, value_name = "FACTOR")]
    fall: Option<f64>,
    /// Price elasticities of demand: use grows by FACTOR^ε; above 1 the bill grows although the price fell
    #[arg(long, allow_negative_numbers = true, value_delimiter = ',', default_values_t = [0.5, 1.0, 1.5], value_name = "LIST")]
    elasticity: Vec<f64>,
    /// Today's bill, in any currency and per any time
    #[arg(long, allow_negative_numbers = true, default_value_t = 1.0, value_name = "AMOUNT")]
    bill: f64,
    /// Format: table, md or json
    #[arg(short, long, value_parser = OutputFormat::among(&[OutputFormat::Table, OutputFormat::Md, OutputFormat::Json]), default_value = "table")]
    output: OutputFormat,
    #[command(flatten)]
    cost: CostArgs,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<ExitStatus> {
    if !(args.bill >= 0.0 && args.bill.is_finite()) {
        return Err(Error::Usage(format!("--bill {} must be a number of at least 0", args.bill)));
    }
    let (fall, from) = match args.fall {
        Some(fall) => (fall, format!("a price that falls by a factor of {}", significant(fall, 4))),
        None => fall_of_record(args, ui)?,
    };
    let mut rows = Vec::new();
    let mut values = Vec::new();
    for &elasticity in &args.elasticity {
        let Some(d) = demand(fall, elasticity) else {
            return Err(Error::Usage(format!(
                "--fall {fall} --elasticity {elasticity}: a fall must be above 0 and an elasticity at least 0"
            )));
        };
        let bill = args.bill * d.bill_factor;
        rows.push(vec![
            significant(elasticity, 3),
            significant(d.quantity_factor, 4),
            significant(d.bill_factor, 4),
            significant(bill, 4),
        ]);
        values.push(json!({ "elasticity": elasticity, "demand": d, "bill": bill }));
    }
    let table = Table {
        title: from.clone(),
        columns: columns([("elasticity", true), ("use ×", true), ("bill ×", true), ("bill", true)]),
        rows,
    };
    let notes = vec![
        "Constant elasticity ε: use × fall^ε, bill × fall^(ε - 1). At ε = 1 the bill stays; above it cheaper items make a \
         larger bill. The elasticity is yours to assume: nothing here measures it."
            .to_owned(),
    ];
    let document = Document { answers: Vec::new(), tables: vec![table], notes };
    print(&document, &json!({ "fall": fall, "from": from, "bill": args.bill, "demand": values }), args.output, ui)
}

/// From the price of an item at the first hosted model to its cost on the answer's tier.
fn fall_of_record(args: &Args, ui: &Ui) -> Result<(f64, String)> {
    let mut raw = record::load(&args.record, ui)?.raw;
    raw.cost = repriced(&args.cost, &raw.cost)?;
    let record = Record::from_raw(raw)?;
    let found = record.derived.economics.iter().find_map(|economics| {
        let against = economics.against_api.iter().find(|against| against.unit == Unit::Item)?;
        let fall = against.advantage()?;
        let text = format!(
            "{}: from {} at ${} to {} at ${} per million items, a factor of {}",
            economics.task,
            against.api,
            significant(against.api_usd_per_million, 4),
            economics.tier,
            significant(against.local_usd_per_million?, 4),
            significant(fall, 4),
        );
        Some((fall, text))
    });
    found.ok_or_else(|| {
        Error::Usage("this run has no cost per item to hold against a list price: give the fall with --fall 10".into())
    })
}
