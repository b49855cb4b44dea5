//! Rows of Parquet files, the format of most data sets on the hub.

use std::path::Path;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::{Field, Row as Record};
use serde_json::{Map, Value};

use super::rows::{self, Row};
use crate::quality::QualityError;

/// Reads a file's bytes. Snappy and gzip compression are read, as the hub writes them.
///
/// # Errors
/// A file that is not Parquet, is damaged, or holds a column no prompt can show (images, sound), by its name.
pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<Vec<Row>, QualityError> {
    let error = |row: usize, reason: String| QualityError::Item { path: path.into(), line: row, reason };
    let file = |row: usize| move |e: ParquetError| error(row, format!("not a readable Parquet file: {}", one_line(&e)));
    let reader = SerializedFileReader::new(Bytes::copy_from_slice(bytes)).map_err(file(1))?;
    let mut rows = Vec::new();
    for record in reader.get_row_iter(None).map_err(file(1))? {
        let row = rows.len() + 1;
        let data = object(record.map_err(file(row))?).map_err(|reason| error(row, reason))?;
        rows::push(&mut rows, path, row, data)?;
    }
    Ok(rows)
}

fn object(record: Record) -> Result<Map<String, Value>, String> {
    let mut data = Map::new();
    for (name, field) in record.into_columns() {
        let value = value(&name, field)?;
        data.insert(name, value);
    }
    Ok(data)
}

fn value(column: &str, field: Field) -> Result<Value, String> {
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(value) => value.into(),
        Field::Byte(value) => value.into(),
        Field::Short(value) => value.into(),
        Field::Int(value) => value.into(),
        Field::Long(value) => value.into(),
        Field::UByte(value) => value.into(),
        Field::UShort(value) => value.into(),
        Field::UInt(value) => value.into(),
        Field::ULong(value) => value.into(),
        Field::Float16(value) => f64::from(value).into(),
        Field::Float(value) => f64::from(value).into(),
        Field::Double(value) => value.into(),
        Field::Str(value) => value.into(),
        Field::Bytes(bytes) => match bytes.as_utf8() {
            Ok(text) => text.into(),
            Err(_not_text) => return Err(format!("column `{column}` holds bytes that are not text: leave it out")),
        },
        Field::Group(record) => Value::Object(object(record)?),
        Field::ListInternal(list) => {
            list.elements().iter().map(|entry| value(column, entry.clone())).collect::<Result<_, _>>()?
        }
        Field::MapInternal(map) => {
            let pairs = map.entries().iter().map(|(key, entry)| match value(column, key.clone())? {
                Value::String(key) => Ok((key, value(column, entry.clone())?)),
                other => Err(format!("column `{column}` has the key {other}, which is no text")),
            });
            Value::Object(pairs.collect::<Result<_, _>>()?)
        }
        // Decimals, dates and times, as text.
        other => other.to_string().into(),
    })
}

fn one_line(error: &ParquetError) -> String {
    error.to_string().replace('\n', " ")
}
