//! Parquet: the rows of JSONL with typed columns, for data frames and SQL engines. Unknown is null. One row group.

use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{ReportError, cells};
use crate::store::record::Record;

/// Type of a column: fixed by its name, so that files of different records can be read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Flag,
    Count,
    Number,
}

/// Columns that are no text; [`kind`] knows the rest by these.
const COUNTS: &[&str] = &[
    "n_threads",
    "model_bytes",
    "peak_rss_bytes",
    "n_prompt",
    "n_gen",
    "n_depth",
    "n_batch_seqs",
    "trials",
    "items",
    "passes",
    "block",
    "order",
    "elapsed_ns",
    "tokens",
    "prompt_tokens",
    "cached_tokens",
    "gen_tokens",
];
const TEXTS: &[&str] = &[
    "run_id",
    "tier",
    "model",
    "level",
    "requantized_from",
    "engine",
    "device",
    "cell",
    "energy_trust",
    "energy_source",
    "verdict",
    "error",
    "test",
    "task",
    "item",
    "answer",
    "raw",
    "finish_reason",
];

fn kind(column: &str) -> Kind {
    match column {
        "pass" => Kind::Flag,
        name if COUNTS.contains(&name) => Kind::Count,
        name if TEXTS.contains(&name) => Kind::Text,
        _ => Kind::Number,
    }
}

/// The rows of CSV and JSONL: one per cell of a record.
///
/// # Errors
/// [`ReportError::Parquet`] if the file cannot be written.
pub fn cells(record: &Record) -> Result<Vec<u8>, ReportError> {
    let rows: Vec<Map<String, Value>> = cells::rows(record)
        .iter()
        .map(|row| {
            cells::HEADER.iter().map(|name| (*name).to_owned()).zip(row.iter().map(cells::Field::json)).collect()
        })
        .collect();
    write(cells::HEADER, &rows)
}

/// Rows of raw data; `columns` are the names of their fields.
///
/// # Errors
/// [`ReportError::Parquet`], [`ReportError::Json`].
pub fn rows<T: Serialize>(columns: &[&str], rows: &[T]) -> Result<Vec<u8>, ReportError> {
    let object = |row| match serde_json::to_value(row) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => Err(ReportError::Parquet(ParquetError::General(format!("a row is {other}, not an object")))),
        Err(error) => Err(error.into()),
    };
    write(columns, &rows.iter().map(object).collect::<Result<Vec<_>, _>>()?)
}

fn write(columns: &[&str], rows: &[Map<String, Value>]) -> Result<Vec<u8>, ReportError> {
    let fields = columns.iter().map(|name| field(name).map(Arc::new)).collect::<Result<Vec<_>, _>>()?;
    let schema = Arc::new(Type::group_type_builder("tierbench").with_fields(fields).build()?);
    let properties = Arc::new(WriterProperties::builder().set_compression(Compression::SNAPPY).build());
    let mut file = SerializedFileWriter::new(Vec::new(), schema, properties)?;
    let mut group = file.next_row_group()?;
    for name in columns {
        let Some(mut column) = group.next_column()? else { break };
        let values: Vec<Option<&Value>> = rows.iter().map(|row| row.get(*name).filter(|v| !v.is_null())).collect();
        match kind(name) {
            Kind::Text => {
                let (present, levels) = split(&values, |v| v.as_str().map(ByteArray::from));
                column.typed::<ByteArrayType>().write_batch(&present, Some(&levels), None)?;
            }
            Kind::Flag => {
                let (present, levels) = split(&values, Value::as_bool);
                column.typed::<BoolType>().write_batch(&present, Some(&levels), None)?;
            }
            Kind::Count => {
                let (present, levels) = split(&values, Value::as_i64);
                column.typed::<Int64Type>().write_batch(&present, Some(&levels), None)?;
            }
            Kind::Number => {
                let (present, levels) = split(&values, Value::as_f64);
                column.typed::<DoubleType>().write_batch(&present, Some(&levels), None)?;
            }
        }
        column.close()?;
    }
    group.close()?;
    Ok(file.into_inner()?)
}

fn field(name: &str) -> Result<Type, ParquetError> {
    let (physical, logical) = match kind(name) {
        Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Kind::Flag => (Physical::BOOLEAN, None),
        Kind::Count => (Physical::INT64, None),
        Kind::Number => (Physical::DOUBLE, None),
    };
    let builder = Type::primitive_type_builder(name, physical).with_repetition(Repetition::OPTIONAL);
    builder.with_logical_type(logical).build()
}

/// The values that are there, and for every row whether one is: 1 or 0, Parquet's definition level.
fn split<T>(values: &[Option<&Value>], read: impl Fn(&Value) -> Option<T>) -> (Vec<T>, Vec<i16>) {
    let read: Vec<Option<T>> = values.iter().map(|value| value.and_then(&read)).collect();
    let levels = read.iter().map(|value| i16::from(value.is_some())).collect();
    (read.into_iter().flatten().collect(), levels)
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader as _, SerializedFileReader};

    use super::*;

    #[test]
    fn rows_read_back_with_their_types_and_nulls() {
        #[derive(Serialize)]
        struct Row {
            item: &'static str,
            pass: bool,
            tokens: u64,
            joules: Option<f64>,
        }
        let written = [
            Row { item: "a", pass: true, tokens: 3, joules: None },
            Row { item: "bé", pass: false, tokens: 0, joules: Some(0.5) },
        ];
        let bytes = rows(&["item", "pass", "tokens", "joules"], &written).unwrap();
        let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
        let read: Vec<String> = reader.get_row_iter(None).unwrap().map(|row| row.unwrap().to_string()).collect();
        assert_eq!(
            read,
            [
                "{item: \"a\", pass: true, tokens: 3, joules: null}",
                "{item: \"bé\", pass: false, tokens: 0, joules: 0.5}",
            ]
        );
    }

    #[test]
    fn a_table_without_rows_is_a_file_all_the_same_and_no_name_is_of_two_kinds() {
        assert_eq!(rows::<()>(&["item", "joules"], &[]).unwrap()[..4], *b"PAR1");
        assert!(COUNTS.iter().all(|name| !TEXTS.contains(name)));
    }
}
