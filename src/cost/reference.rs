//! Published falls of the price of a given quality, each with source and date, to hold one's own trend against.

use serde::{Deserialize, Serialize};

use super::CostError;
use super::book::Mark;
use super::date::Date;
use super::trend::{Fall, Observation, fall};
use super::userfile::read_toml;

/// A published pair of prices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedFall {
    /// Its name.
    pub id: String,
    /// The quality both prices buy.
    pub what: String,
    /// The earlier price.
    pub from: Observation,
    /// The later price.
    pub to: Observation,
    /// What the prices are of.
    pub unit: String,
    /// What the source says of it.
    pub claim: String,
    /// What a reader should know.
    pub note: String,
    /// Date of the publication.
    pub date: Date,
    /// Who says so.
    pub source: String,
    /// How far to trust it.
    pub mark: Mark,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    fall: Vec<PublishedFall>,
}

const FILE: (&str, &str) = ("prices/falls.toml", include_str!("../../prices/falls.toml"));

impl PublishedFall {
    /// All that ship with this build.
    ///
    /// # Errors
    /// Never in a build that passed its tests: they read them.
    pub fn all() -> Result<Vec<Self>, CostError> {
        Ok(read_toml::<File>(FILE.0, FILE.1)?.fall)
    }

    /// What follows from the two prices and their dates (F18).
    #[must_use]
    pub fn fall(&self) -> Option<Fall> {
        fall(self.from, self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_claims_are_recomputed_from_their_own_dates() {
        let all = PublishedFall::all().unwrap();
        let of = |id: &str| all.iter().find(|f| f.id == id).unwrap().fall().unwrap();
        let index = of("ai-index-2025");
        assert!((index.factor - 20.0 / 0.07).abs() < 1e-9 && index.days == 700);
        assert!((index.factor_per_year - 19.119).abs() < 1e-3);
        let a16z = of("a16z-2024");
        assert!((a16z.factor - 1000.0).abs() < 1e-9 && (a16z.factor_per_year - 9.8).abs() < 0.1);
        assert!(all.iter().all(|f| f.mark == Mark::Verified && !f.source.is_empty()));
    }
}
