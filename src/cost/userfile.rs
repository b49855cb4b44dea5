//! The user's price file: `[cost]` assumptions, `[exchange]` rates and own price rows, in one TOML file.
//!
//! ```toml
//! [cost]
//! tariff_usd_per_kwh = { value = 0.31, source = "bill of August", date = "2026-08-31" }
//! utilization = 0.5
//! hardware = "rtx-4090"          # a row of the price book
//!
//! [exchange]
//! EUR = 1.08                     # dollars per euro
//! ```

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};
use toml::Spanned;

use super::CostError;
use super::book::{Api, Carbon, Electricity, HardwareRow, PriceBook, Range};
use super::date::Date;

/// A user's price file, read and checked. An empty one changes nothing.
#[derive(Clone, Debug, Default)]
pub struct UserFile {
    pub(super) file: String,
    text: String,
    rows: PriceBook,
    pub(super) cost: WireCost,
    exchange: BTreeMap<String, f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WireFile {
    cost: WireCost,
    exchange: BTreeMap<String, Spanned<f64>>,
    electricity: Vec<Electricity>,
    hardware: Vec<HardwareRow>,
    api: Vec<Api>,
    carbon: Vec<Carbon>,
}

/// `[cost]` as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct WireCost {
    pub(super) electricity: Option<Spanned<String>>,
    pub(super) hardware: Option<Spanned<String>>,
    pub(super) carbon: Option<Spanned<String>>,
    pub(super) mode: Option<WireMode>,
    pub(super) tariff_usd_per_kwh: Option<Spanned<WireValue>>,
    pub(super) pue: Option<Spanned<WireValue>>,
    pub(super) carbon_g_per_kwh: Option<Spanned<WireValue>>,
    pub(super) hardware_usd: Option<Spanned<WireValue>>,
    pub(super) salvage_usd: Option<Spanned<WireValue>>,
    pub(super) life_years: Option<Spanned<WireValue>>,
    pub(super) maintenance_usd_per_year: Option<Spanned<WireValue>>,
    pub(super) discount_rate: Option<Spanned<WireValue>>,
    pub(super) rent_usd_per_hour: Option<Spanned<WireValue>>,
    pub(super) utilization: Option<Spanned<WireValue>>,
    pub(super) idle_w: Option<Spanned<WireValue>>,
    pub(super) failure_usd: Option<Spanned<WireValue>>,
    pub(super) value_usd: Option<Spanned<WireValue>>,
    pub(super) against: Option<Spanned<Vec<String>>>,
}

/// How the hardware is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WireMode {
    Owned,
    Sunk,
    Rented,
}

/// A number, or a table of a number and where it comes from.
#[derive(Clone, Debug)]
pub(super) struct WireValue {
    pub(super) value: f64,
    pub(super) source: Option<String>,
    pub(super) date: Option<Date>,
    pub(super) currency: Option<String>,
}

impl<'de> Deserialize<'de> for WireValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = WireValue;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a number, or { value = …, source = \"…\", date = \"2026-08-21\" }")
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<WireValue, E> {
        Ok(WireValue { value, source: None, date: None, currency: None })
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<WireValue, E> {
        self.visit_f64(value as f64)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WireValue, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            value: f64,
            source: Option<String>,
            date: Option<Date>,
            currency: Option<String>,
        }
        let Table { value, source, date, currency } = Table::deserialize(MapAccessDeserializer::new(map))?;
        Ok(WireValue { value, source, date, currency })
    }
}

impl UserFile {
    /// Reads a price file; `file` is the name errors use.
    ///
    /// # Errors
    /// Names the file, line and key of what does not belong there.
    pub fn parse(file: &str, text: &str) -> Result<Self, CostError> {
        let wire: WireFile = read_toml(file, text)?;
        let rows =
            PriceBook { electricity: wire.electricity, hardware: wire.hardware, api: wire.api, carbon: wire.carbon };
        rows.check(file, text)?;
        let mut exchange = BTreeMap::new();
        for (code, rate) in wire.exchange {
            let fail = |message: String| CostError::File {
                file: file.to_owned(),
                line: line_at(text, rate.span().start),
                message,
            };
            if !is_currency(&code) {
                return Err(fail(format!("exchange `{code}`: write a three-letter code such as EUR")));
            }
            if let Some(must) = Range::Positive.broken_by(*rate.get_ref()) {
                return Err(fail(format!("exchange {code} is {}: it must be {must}", rate.get_ref())));
            }
            exchange.insert(code, rate.into_inner());
        }
        Ok(Self { file: file.to_owned(), text: text.to_owned(), rows, cost: wire.cost, exchange })
    }

    /// The user's own price rows.
    #[must_use]
    pub const fn rows(&self) -> &PriceBook {
        &self.rows
    }

    /// An amount in dollars.
    ///
    /// # Errors
    /// When it is in a currency the file gives no rate for.
    pub fn dollars(&self, amount: f64, currency: &str, what: &str) -> Result<f64, CostError> {
        if currency == "USD" {
            return Ok(amount);
        }
        let rate = self.exchange.get(currency);
        rate.map(|rate| amount * rate)
            .ok_or_else(|| CostError::Currency { what: what.to_owned(), currency: currency.to_owned() })
    }

    /// Moves an error about a value to the line it stands on.
    pub(super) fn at<T>(&self, span: std::ops::Range<usize>, result: Result<T, CostError>) -> Result<T, CostError> {
        result.map_err(|error| CostError::File {
            file: self.file.clone(),
            line: line_at(&self.text, span.start),
            message: error.to_string(),
        })
    }
}

/// Three capital letters.
pub(super) fn is_currency(code: &str) -> bool {
    code.len() == 3 && code.bytes().all(|b| b.is_ascii_uppercase())
}

/// Reads TOML; an error becomes one line with file and line number.
pub(super) fn read_toml<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, CostError> {
    toml::from_str(text).map_err(|error| CostError::File {
        file: file.to_owned(),
        line: line_at(text, error.span().map_or(0, |span| span.start)),
        message: error.message().replace('\n', ", "),
    })
}

fn line_at(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|&&b| b == b'\n').count() + 1
}
