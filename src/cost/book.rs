//! The price book: dated prices with their sources, embedded; a user's rows replace those with the same id.

use serde::{Deserialize, Serialize};

use super::CostError;
use super::date::Date;
use super::userfile::{self, UserFile};

/// How far a number can be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// Read in the cited source.
    Verified,
    /// From general knowledge; check it before it decides anything.
    Recalled,
    /// Neither: a round figure so that a table can be printed, replaced by the user's own.
    Assumption,
    /// Given by the user.
    #[default]
    User,
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Verified => "verified",
            Self::Recalled => "recalled",
            Self::Assumption => "assumption",
            Self::User => "user",
        })
    }
}

/// What every row of every table tells about itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Provenance<'a> {
    /// Key by which other files and flags name the row.
    pub id: &'a str,
    /// Who says so.
    pub source: &'a str,
    /// Date of the price.
    pub date: Date,
    /// How far to trust it.
    pub mark: Mark,
    /// Licence of the source.
    pub licence: Option<&'a str>,
    /// What the number covers.
    pub scope: Option<&'a str>,
}

/// A row of a price table.
pub trait Row {
    /// Name of the table.
    const KIND: &'static str;
    /// Where the row comes from.
    fn provenance(&self) -> Provenance<'_>;
    /// (key, number, must be) of every number in the row.
    fn numbers(&self) -> Vec<(&'static str, Option<f64>, Range)>;
    /// ISO 4217 code of its prices; `None` for a table without money.
    fn currency(&self) -> Option<&str>;
}

/// What a number may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// Finite and at least 0.
    NotNegative,
    /// Finite and above 0.
    Positive,
}

impl Range {
    /// What to tell the user, if `x` is outside.
    pub(super) fn broken_by(self, x: f64) -> Option<&'static str> {
        match self {
            Self::NotNegative if !(x >= 0.0 && x.is_finite()) => Some("a number of at least 0"),
            Self::Positive if !(x > 0.0 && x.is_finite()) => Some("a number above 0"),
            _ => None,
        }
    }
}

macro_rules! row {
    (
        $(#[$doc:meta])* $name:ident, $kind:literal, currency: $currency:expr;
        $($(#[$field_doc:meta])* $(@$default:ident)? $field:ident: $ty:ty $(=> $range:ident)?),* $(,)?
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// Key by which other files and flags name the row.
            pub id: String,
            $($(#[$field_doc])* $(#[serde($default)])? pub $field: $ty,)*
            /// Date of the price.
            pub date: Date,
            /// Who says so.
            pub source: String,
            /// How far to trust it.
            #[serde(default)]
            pub mark: Mark,
            /// Licence of the source.
            pub licence: Option<String>,
            /// What the number covers.
            pub scope: Option<String>,
        }

        impl Row for $name {
            const KIND: &'static str = $kind;

            fn provenance(&self) -> Provenance<'_> {
                Provenance {
                    id: &self.id,
                    source: &self.source,
                    date: self.date,
                    mark: self.mark,
                    licence: self.licence.as_deref(),
                    scope: self.scope.as_deref(),
                }
            }

            fn numbers(&self) -> Vec<(&'static str, Option<f64>, Range)> {
                vec![$($((stringify!($field), self.$field.into(), Range::$range),)?)*]
            }

            fn currency(&self) -> Option<&str> {
                let of: fn(&Self) -> Option<&str> = $currency;
                of(self)
            }
        }
    };
}

row! {
    /// A tariff.
    Electricity, "electricity", currency: |row| Some(&row.currency);
    /// Where and when it holds.
    region: String,
    /// Price of a kWh.
    per_kwh: f64 => NotNegative,
    /// ISO 4217 code.
    currency: String,
}

row! {
    /// A machine or an accelerator.
    HardwareRow, "hardware", currency: |row| Some(&row.currency);
    /// Its name.
    name: String,
    /// Nominal power, W; `scope` says of what.
    power_w: Option<f64> => Positive,
    /// Lowest offer.
    price_lo: Option<f64> => NotNegative,
    /// Highest offer.
    price_hi: Option<f64> => NotNegative,
    /// Lowest rent of an hour.
    rent_per_hour_lo: Option<f64> => NotNegative,
    /// Highest rent of an hour.
    rent_per_hour_hi: Option<f64> => NotNegative,
    /// ISO 4217 code.
    currency: String,
}

row! {
    /// List price of a hosted model.
    Api, "api", currency: |row| Some(&row.currency);
    /// Who sells it.
    provider: String,
    /// Price of a million input tokens.
    input: f64 => NotNegative,
    /// Price of a million output tokens.
    output: f64 => NotNegative,
    /// ISO 4217 code.
    currency: String,
}

row! {
    /// Carbon intensity of a grid.
    Carbon, "carbon", currency: |_| None;
    /// Where and when it holds.
    region: String,
    /// g CO2e per kWh.
    g_per_kwh: f64 => NotNegative,
}

impl HardwareRow {
    /// Middle of the price range, √(lo·hi): offers spread by factors, not by dollars.
    #[must_use]
    pub fn price(&self) -> Option<f64> {
        Some((self.price_lo? * self.price_hi?).sqrt())
    }

    /// Middle of the rent range.
    #[must_use]
    pub fn rent_per_hour(&self) -> Option<f64> {
        Some((self.rent_per_hour_lo? * self.rent_per_hour_hi?).sqrt())
    }
}

/// Dated prices of everything a cost needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PriceBook {
    /// Tariffs.
    pub electricity: Vec<Electricity>,
    /// Machines and accelerators.
    pub hardware: Vec<HardwareRow>,
    /// Hosted models.
    pub api: Vec<Api>,
    /// Grids.
    pub carbon: Vec<Carbon>,
}

const EMBEDDED: [(&str, &str); 4] = [
    ("prices/electricity.toml", include_str!("../../prices/electricity.toml")),
    ("prices/hardware.toml", include_str!("../../prices/hardware.toml")),
    ("prices/api.toml", include_str!("../../prices/api.toml")),
    ("prices/carbon.toml", include_str!("../../prices/carbon.toml")),
];

impl PriceBook {
    /// The book this build ships with.
    ///
    /// # Errors
    /// Never in a build that passed its tests: they read it.
    pub fn embedded() -> Result<Self, CostError> {
        let mut book = Self::default();
        for (file, text) in EMBEDDED {
            let part: Self = userfile::read_toml(file, text)?;
            part.check(file, text)?;
            book.merge(part);
        }
        Ok(book)
    }

    /// The embedded book with the user's rows in front of those with the same id.
    ///
    /// # Errors
    /// See [`PriceBook::embedded`].
    pub fn with(user: &UserFile) -> Result<Self, CostError> {
        let mut book = Self::embedded()?;
        book.merge(user.rows().clone());
        Ok(book)
    }

    fn merge(&mut self, other: Self) {
        fn replace<R: Row>(rows: &mut Vec<R>, new: Vec<R>) {
            rows.retain(|row| !new.iter().any(|n| n.provenance().id == row.provenance().id));
            rows.extend(new);
        }
        replace(&mut self.electricity, other.electricity);
        replace(&mut self.hardware, other.hardware);
        replace(&mut self.api, other.api);
        replace(&mut self.carbon, other.carbon);
    }

    /// Checks every number and currency, ids for doubles, and that ranges are in order.
    pub(super) fn check(&self, file: &str, text: &str) -> Result<(), CostError> {
        check_rows(&self.electricity, file, text)?;
        check_rows(&self.hardware, file, text)?;
        check_rows(&self.api, file, text)?;
        check_rows(&self.carbon, file, text)?;
        for row in &self.hardware {
            let ranges =
                [("price", row.price_lo, row.price_hi), ("rent_per_hour", row.rent_per_hour_lo, row.rent_per_hour_hi)];
            for (name, lo, hi) in ranges {
                let message = match (lo, hi) {
                    (Some(lo), Some(hi)) if lo > hi => format!("{name}_lo is {lo}, above {name}_hi of {hi}"),
                    (Some(_), None) | (None, Some(_)) => format!("{name} needs both {name}_lo and {name}_hi"),
                    _ => continue,
                };
                return Err(at_row(file, text, HardwareRow::KIND, &row.id, &message));
            }
        }
        Ok(())
    }

    /// The tariff row `id`.
    ///
    /// # Errors
    /// Names the rows there are.
    pub fn electricity(&self, id: &str) -> Result<&Electricity, CostError> {
        find(&self.electricity, id)
    }

    /// The hardware row `id`.
    ///
    /// # Errors
    /// Names the rows there are.
    pub fn hardware(&self, id: &str) -> Result<&HardwareRow, CostError> {
        find(&self.hardware, id)
    }

    /// The API row `id`.
    ///
    /// # Errors
    /// Names the rows there are.
    pub fn api(&self, id: &str) -> Result<&Api, CostError> {
        find(&self.api, id)
    }

    /// The carbon row `id`.
    ///
    /// # Errors
    /// Names the rows there are.
    pub fn carbon(&self, id: &str) -> Result<&Carbon, CostError> {
        find(&self.carbon, id)
    }
}

fn find<'a, R: Row>(rows: &'a [R], id: &str) -> Result<&'a R, CostError> {
    rows.iter().find(|row| row.provenance().id == id).ok_or_else(|| CostError::UnknownRow {
        kind: R::KIND,
        id: id.to_owned(),
        known: rows.iter().map(|row| row.provenance().id).collect::<Vec<_>>().join(", "),
    })
}

fn check_rows<R: Row>(rows: &[R], file: &str, text: &str) -> Result<(), CostError> {
    for (i, row) in rows.iter().enumerate() {
        let from = row.provenance();
        let fail = |message: &str| Err(at_row(file, text, R::KIND, from.id, message));
        if from.id.trim().is_empty() || from.source.trim().is_empty() {
            return fail("id and source must not be empty: a price without a source is not a price");
        }
        if rows[..i].iter().any(|other| other.provenance().id == from.id) {
            return fail("the id is used twice");
        }
        for (key, value, range) in row.numbers() {
            if let Some((x, must)) = value.and_then(|x| range.broken_by(x).map(|must| (x, must))) {
                return fail(&format!("{key} is {x}: it must be {must}"));
            }
        }
        if let Some(code) = row.currency().filter(|code| !userfile::is_currency(code)) {
            return fail(&format!("currency is `{code}`: write a three-letter code such as USD or EUR"));
        }
    }
    Ok(())
}

/// An error at the line that holds the row's id.
fn at_row(file: &str, text: &str, kind: &str, id: &str, message: &str) -> CostError {
    let names_it = |line: &str| {
        let (key, value) = line.split_once('=').unwrap_or_default();
        key.trim() == "id" && value.trim().trim_matches('"') == id
    };
    // The last one: of two rows with one id the second is at fault.
    let line = text.lines().enumerate().filter(|(_, line)| names_it(line)).last().map_or(1, |(i, _)| i + 1);
    CostError::File { file: file.to_owned(), line, message: format!("{kind} `{id}`: {message}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_book_is_complete_and_sourced() {
        let book = PriceBook::embedded().unwrap();
        assert_eq!((book.electricity.len(), book.api.len(), book.carbon.len()), (9, 16, 12));
        assert_eq!(book.electricity("us-default").unwrap().mark, Mark::Assumption);
        assert_eq!(book.api("gemini-1.5-flash-8b").unwrap().date.to_string(), "2025-07-05");
        let l40s = book.hardware("l40s").unwrap();
        assert_eq!((l40s.price(), l40s.rent_per_hour().is_some()), (None, true));
    }

    #[test]
    fn an_unknown_row_names_the_known_ones() {
        let message = PriceBook::embedded().unwrap().api("gpt-9").unwrap_err().to_string();
        assert!(message.starts_with("no api row `gpt-9`") && message.contains("llama-3.2-1b"), "{message}");
    }

    fn broken(text: &str) -> String {
        UserFile::parse("my.toml", text).unwrap_err().to_string()
    }

    const ROW: &str = "[[electricity]]\nid = \"home\"\nregion = \"home\"\nper_kwh = 0.3\ncurrency = \"EUR\"\n\
                       date = \"2026-08-01\"\nsource = \"bill\"\n";

    #[test]
    fn a_users_row_replaces_the_one_with_its_id() {
        let user = UserFile::parse("my.toml", &ROW.replace("\"home\"", "\"us-default\"")).unwrap();
        let book = PriceBook::with(&user).unwrap();
        let row = book.electricity("us-default").unwrap();
        assert_eq!((row.per_kwh, row.mark, book.electricity.len()), (0.3, Mark::User, 9));
    }

    #[test]
    fn a_typo_is_named_with_its_line() {
        let message = broken(&ROW.replace("per_kwh", "per_kwhh"));
        assert!(message.starts_with("my.toml:4: ") && message.contains("per_kwhh"), "{message}");
        assert!(!message.contains('\n'), "{message}");
        let message = broken(&ROW.replace("2026-08-01", "2026-08-41"));
        assert!(message.starts_with("my.toml:6: ") && message.contains("2026-08-41"), "{message}");
    }

    #[test]
    fn impossible_numbers_are_named_with_the_row_and_its_line() {
        assert_eq!(
            broken(&ROW.replace("0.3", "-0.3")),
            "my.toml:2: electricity `home`: per_kwh is -0.3: it must be a number of at least 0"
        );
        assert!(broken(&ROW.replace("0.3", "nan")).contains("per_kwh is NaN"));
        assert!(broken(&ROW.replace("EUR", "euro")).contains("three-letter code"));
        assert!(broken(&format!("{ROW}\n{ROW}")).starts_with("my.toml:10: electricity `home`: the id is used twice"));
        let hardware = "[[hardware]]\nid = \"x\"\nname = \"x\"\nprice_lo = 5.0\nprice_hi = 4.0\ncurrency = \"USD\"\n\
                        date = \"2026-08-01\"\nsource = \"shop\"\n";
        assert!(broken(hardware).contains("price_lo is 5, above price_hi of 4"));
        assert!(broken(&hardware.replace("price_lo = 5.0\n", "")).contains("needs both"));
    }
}
