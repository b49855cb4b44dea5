//! A bench result in every format. Data formats hold every field; tables hold what fits.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use serde_json::{Map, Value};

use super::row::{Energy, Row};
use super::sql;
use crate::cli::OutputFormat;
use crate::error::{Error, Result};
use crate::units::Bytes;

pub(super) fn render(rows: &[Row], format: OutputFormat) -> Result<String> {
    Ok(match format {
        OutputFormat::Table => table(rows).to_string() + "\n",
        OutputFormat::Md => markdown(rows),
        OutputFormat::Json => serde_json::to_string_pretty(rows).map_err(unwritable)? + "\n",
        OutputFormat::Jsonl => {
            let lines: Vec<String> =
                rows.iter().map(serde_json::to_string).collect::<Result<_, _>>().map_err(unwritable)?;
            lines.into_iter().map(|line| line + "\n").collect()
        }
        OutputFormat::Csv => csv(&objects(rows)?),
        OutputFormat::Sql => sql::sql(&objects(rows)?),
    })
}

/// Serializing our own types fails only for a map key that is not a string, of which there are none; should one appear,
/// this line says so.
fn unwritable(error: serde_json::Error) -> Error {
    Error::Usage(format!("cannot write the result as json: {error}"))
}

fn objects(rows: &[Row]) -> Result<Vec<Map<String, Value>>> {
    rows.iter()
        .map(|row| match serde_json::to_value(row).map_err(unwritable)? {
            Value::Object(map) => Ok(map),
            other => Ok(Map::from_iter([("row".to_owned(), other)])),
        })
        .collect()
}

const HEADINGS: [&str; 10] =
    ["model", "size", "params", "engine", "threads", "test", "t/s", "95 % interval", "latency", "J/token"];

fn cells(row: &Row) -> [String; 10] {
    let dash = || "—".to_owned();
    let model = match &row.requantized_from {
        Some(from) => format!("{} (requantized from {from})", row.model_type.as_ref().unwrap_or(&row.model)),
        None => row.model_type.as_ref().unwrap_or(&row.model).clone(),
    };
    let engine = match (&row.engine, &row.isa) {
        (Some(engine), Some(isa)) => format!("{engine} {isa}"),
        (Some(engine), None) => engine.clone(),
        (None, _) => dash(),
    };
    let rate = match (&row.error, row.median_ts) {
        (Some(_), _) => "failed".to_owned(),
        (None, Some(rate)) => figure(rate),
        (None, None) => dash(),
    };
    let interval = row.median_ts_interval.map(|i| format!("{} – {}", figure(i.lo), figure(i.hi)));
    let latency = row
        .ttft_s
        .map(|s| format!("first {:.0} ms", s * 1e3))
        .or_else(|| row.itl_ns.map(|itl| format!("p50 {:.1} p99 {:.1} ms", itl.p50 / 1e6, itl.p99 / 1e6)));
    [
        model,
        row.model_size.map_or_else(dash, |n| format!("{:.2} MiB", Bytes(n).mib())),
        row.model_n_params.map_or_else(dash, |n| format!("{:.2} M", n as f64 / 1e6)),
        engine,
        row.n_threads.to_string(),
        row.test.clone(),
        rate,
        interval.unwrap_or_else(dash),
        latency.unwrap_or_else(dash),
        row.energy.as_ref().and_then(joules).unwrap_or_else(dash),
    ]
}

/// J/token with its uncertainty and trust class; an estimate is a range and says so.
fn joules(energy: &Energy) -> Option<String> {
    let trust = energy.total.trust;
    match (energy.joules_per_token, energy.joules_per_token_range) {
        (Some(e), Some((lo, hi))) => Some(format!("{} ± {} {trust}", figure(e), figure((hi - e).max(e - lo)))),
        (Some(e), None) => Some(format!("{} {trust}", figure(e))),
        (None, Some((lo, hi))) => Some(format!("{} – {} {trust}", figure(lo), figure(hi))),
        (None, None) => None,
    }
}

/// Three significant digits or more, no exponent.
fn figure(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 => 1,
        v if v >= 1.0 => 2,
        v if v >= 0.01 => 4,
        _ => 6,
    };
    format!("{value:.digits$}")
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(HEADINGS);
    for row in rows {
        table.add_row(cells(row).map(Cell::new));
    }
    for index in [1, 2, 4, 6] {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn markdown(rows: &[Row]) -> String {
    let mut text = format!("| {} |\n|", HEADINGS.join(" | "));
    for index in 0..HEADINGS.len() {
        text.push_str(if [1, 2, 4, 6].contains(&index) { " ---: |" } else { " --- |" });
    }
    text.push('\n');
    for row in rows {
        let escaped = cells(row).map(|cell| cell.replace('|', "\\|"));
        text.push_str(&format!("| {} |\n", escaped.join(" | ")));
    }
    text
}

/// Nested values are JSON inside their cell, truth is 1 as in llama-bench's; unknown is empty.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(on) => u8::from(*on).to_string(),
        other => other.to_string(),
    }
}

fn csv(rows: &[Map<String, Value>]) -> String {
    let quote = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let mut text = String::new();
    if let Some(first) = rows.first() {
        let names: Vec<&str> = first.keys().map(String::as_str).collect();
        text.push_str(&(names.join(",") + "\n"));
    }
    for row in rows {
        let values: Vec<String> = row.values().map(|value| quote(&plain(value))).collect();
        text.push_str(&(values.join(",") + "\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Map<String, Value> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn csv_cells_with_quotes_and_lists_stay_one_cell() {
        let text = csv(&[object(r#"{"a":"say \"x\", y","b":[1,2],"c":null,"d":false}"#)]);
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let record = reader.records().next().unwrap().unwrap();
        assert_eq!(record.iter().collect::<Vec<_>>(), ["say \"x\", y", "[1,2]", "", "0"]);
    }

    #[test]
    fn figures_have_no_exponent_and_small_ones_keep_digits() {
        assert_eq!(
            [figure(1234.56), figure(12.345), figure(0.1234), figure(0.000_05)],
            ["1234.6", "12.35", "0.1234", "0.000050"]
        );
    }
}
