//! `tierbench prices`.

use std::path::{Path, PathBuf};

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use serde_json::{Value, json};

use super::Ui;
use super::cost_args::user_file;
use crate::cost::Assumptions;
use crate::cost::book::{PriceBook, Row};
use crate::error::{Error, ExitStatus, Result};

/// List, show and check prices, each with its source and date
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the price book
    List {
        /// Only this table
        #[arg(value_enum)]
        table: Option<Kind>,
        #[command(flatten)]
        shared: Shared,
    },
    /// Show one row; without an id, what a run would assume
    Show {
        /// Id of a row
        id: Option<String>,
        #[command(flatten)]
        shared: Shared,
    },
    /// Check a price file of your own; an error names its line and key
    Check {
        /// The file
        file: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct Shared {
    /// Price file of your own: [cost], [exchange] and rows, which replace those with the same id
    #[arg(long, value_name = "FILE", env = "TIERBENCH_PRICES")]
    prices: Option<PathBuf>,
    /// Format
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For the terminal
    Table,
    /// Markdown
    Md,
    /// JSON
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// Tariffs
    Electricity,
    /// Machines and accelerators
    Hardware,
    /// Hosted models
    Api,
    /// Grids
    Carbon,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<ExitStatus> {
    match &args.command {
        Command::List { table, shared } => list(*table, shared, ui),
        Command::Show { id: Some(id), shared } => show(id, shared, ui),
        Command::Show { id: None, shared } => assumed(shared, ui),
        Command::Check { file } => check(file, ui),
    }
}

/// One row as text: what it is of, its numbers, and where they come from.
struct Line {
    kind: Kind,
    id: String,
    what: String,
    price: String,
    date: String,
    mark: String,
    source: String,
    json: Value,
}

impl Line {
    fn of<R: Row + serde::Serialize>(kind: Kind, row: &R, what: &str, price: String) -> Self {
        let from = row.provenance();
        let mut json = json!(row);
        json["table"] = json!(R::KIND);
        Self {
            kind,
            id: from.id.to_owned(),
            what: what.to_owned(),
            price,
            date: from.date.to_string(),
            mark: from.mark.to_string(),
            source: from.source.to_owned(),
            json,
        }
    }
}

/// Every row of the book, table by table.
fn lines(book: &PriceBook) -> Vec<Line> {
    // Offers are printed as a range, unknown ones as a dash.
    let range = |lo: Option<f64>, hi: Option<f64>| match (lo, hi) {
        (Some(lo), Some(hi)) if lo == hi => lo.to_string(),
        (Some(lo), Some(hi)) => format!("{lo}–{hi}"),
        _ => "—".to_owned(),
    };
    let electricity = book
        .electricity
        .iter()
        .map(|row| Line::of(Kind::Electricity, row, &row.region, format!("{} {}/kWh", row.per_kwh, row.currency)));
    let hardware = book.hardware.iter().map(|row| {
        let (price, rent) = (range(row.price_lo, row.price_hi), range(row.rent_per_hour_lo, row.rent_per_hour_hi));
        let power = row.power_w.map_or_else(|| "—".to_owned(), |w| format!("{w} W"));
        let price = format!("{price} {0}, rent {rent} {0}/h, {power}", row.currency);
        Line::of(Kind::Hardware, row, &row.name, price)
    });
    let api = book.api.iter().map(|row| {
        let price = format!("in {} out {} {}/Mtok", row.input, row.output, row.currency);
        Line::of(Kind::Api, row, &row.provider, price)
    });
    let carbon =
        book.carbon.iter().map(|row| Line::of(Kind::Carbon, row, &row.region, format!("{} g CO2e/kWh", row.g_per_kwh)));
    electricity.chain(hardware).chain(api).chain(carbon).collect()
}

fn list(kind: Option<Kind>, shared: &Shared, ui: &Ui) -> Result<ExitStatus> {
    let book = PriceBook::with(&user_file(shared.prices.as_deref())?)?;
    let rows: Vec<Line> = lines(&book).into_iter().filter(|line| kind.is_none_or(|kind| kind == line.kind)).collect();
    if shared.output == Format::Json {
        return print_json(&Value::Array(rows.into_iter().map(|line| line.json).collect()), ui);
    }
    let mut table = table(shared.output, &["id", "of", "price", "date", "mark", "source"]);
    for line in rows {
        let price = Cell::new(line.price).set_alignment(CellAlignment::Right);
        let text = [line.date, line.mark, line.source].map(Cell::new);
        table.add_row([Cell::new(line.id), Cell::new(line.what), price].into_iter().chain(text));
    }
    ui.line(table)?;
    Ok(ExitStatus::Success)
}

fn show(id: &str, shared: &Shared, ui: &Ui) -> Result<ExitStatus> {
    let book = PriceBook::with(&user_file(shared.prices.as_deref())?)?;
    let rows = lines(&book);
    let Some(line) = rows.iter().find(|line| line.id == id) else {
        return Err(Error::Usage(format!("no price row `{id}`: `tierbench prices list` shows all {}", rows.len())));
    };
    if shared.output == Format::Json {
        return print_json(&line.json, ui);
    }
    let mut table = table(shared.output, &["field", "value"]);
    for (key, value) in line.json.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        table.add_row([key.clone(), text]);
    }
    ui.line(table)?;
    Ok(ExitStatus::Success)
}

fn assumed(shared: &Shared, ui: &Ui) -> Result<ExitStatus> {
    let user = user_file(shared.prices.as_deref())?;
    let assumptions = Assumptions::from_file(&PriceBook::with(&user)?, &user)?;
    if shared.output == Format::Json {
        return print_json(&json!(assumptions), ui);
    }
    for line in assumptions.lines() {
        ui.line(line)?;
    }
    Ok(ExitStatus::Success)
}

fn check(file: &Path, ui: &Ui) -> Result<ExitStatus> {
    let user = user_file(Some(file))?;
    let book = PriceBook::with(&user)?;
    Assumptions::from_file(&book, &user)?;
    let own = lines(user.rows()).len();
    ui.line(format!("{}: {own} rows of its own, every key and value is valid", file.display()))?;
    Ok(ExitStatus::Success)
}

fn table(format: Format, header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(if format == Format::Md { presets::ASCII_MARKDOWN } else { presets::UTF8_HORIZONTAL_ONLY });
    if format == Format::Table {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table.set_header(header.to_vec());
    table
}

fn print_json(value: &Value, ui: &Ui) -> Result<ExitStatus> {
    // Every value here was built from strings and finite numbers.
    ui.line(format!("{value:#}"))?;
    Ok(ExitStatus::Success)
}
