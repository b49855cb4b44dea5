//! A tier against the list price of a hosted model: the line without which "local is cheaper" must not be printed.

use serde::{Deserialize, Serialize};

use super::CostError;
use super::assumptions::{Assumptions, Hardware};
use super::book::{Mark, PriceBook};
use super::breakeven::{BreakEven, OwnedMachine, break_even_energy, break_even_tariff, energy_with_idle};
use super::date::Date;
use super::estimate::{Readings, estimate};
use super::formula;
use super::userfile::UserFile;
use crate::units::{JoulesPerToken, TokensPerSec, Usd, UsdPerHour, UsdPerMtok, Watts};

/// List price of a hosted model, in dollars, as it enters a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiPrice {
    /// Row of the price book.
    pub id: String,
    /// Who sells it.
    pub provider: String,
    /// A million input tokens.
    pub input: UsdPerMtok,
    /// A million output tokens.
    pub output: UsdPerMtok,
    /// Date of the price.
    pub date: Date,
    /// Who says so.
    pub source: String,
    /// How far to trust it.
    pub mark: Mark,
}

impl ApiPrice {
    /// The row `id` in dollars.
    ///
    /// # Errors
    /// No such row, or a currency without an exchange rate.
    pub fn of(book: &PriceBook, user: &UserFile, id: &str) -> Result<Self, CostError> {
        let row = book.api(id)?;
        let dollars = |amount| user.dollars(amount, &row.currency, &format!("api `{id}`")).map(UsdPerMtok);
        Ok(Self {
            id: row.id.clone(),
            provider: row.provider.clone(),
            input: dollars(row.input)?,
            output: dollars(row.output)?,
            date: row.date,
            source: row.source.clone(),
            mark: row.mark,
        })
    }

    /// A million items of so many tokens.
    #[must_use]
    pub fn items(&self, n_in: f64, n_out: f64) -> UsdPerMtok {
        self.input * n_in + self.output * n_out
    }
}

/// What is bought, a million at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Output tokens.
    OutputToken,
    /// Items of a task, each with its prompt and answer.
    Item,
}

impl Unit {
    /// Its name in the plural.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::OutputToken => "output tokens",
            Self::Item => "items",
        }
    }
}

/// A tier against an API, for one unit of work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgainstApi {
    /// Row of the price book.
    pub api: String,
    /// Who sells it.
    pub provider: String,
    /// Date of its price.
    pub date: Date,
    /// What is compared.
    pub unit: Unit,
    /// What a million cost there, $.
    pub api_usd_per_million: f64,
    /// What a million cost on the tier, in full, $; `None` if unknown.
    pub local_usd_per_million: Option<f64>,
    /// How busy the machine must be for the same cost; `None` is never.
    pub utilization: Option<BreakEven>,
    /// Tariff at which the costs are equal, $/kWh; `None` if the hardware alone costs more, energy is unknown, or for
    /// rent.
    pub tariff_usd_per_kwh: Option<f64>,
    /// Energy per unit at which electricity alone costs the API price, J; `None` for a tariff of 0.
    pub energy_j: Option<f64>,
    /// The tier's energy per unit, J.
    pub local_energy_j: Option<f64>,
    /// The tier's energy is unknown and its electricity left out, so the break-even is a lower bound.
    pub energy_unknown: bool,
}

/// F13 for a tier's output tokens. `None` when its decode rate is unknown.
#[must_use]
pub fn against_api(readings: &Readings, a: &Assumptions, api: &ApiPrice) -> Option<AgainstApi> {
    let local = estimate(readings, a).usd_per_mtok_out.map(|parts| parts.total.value);
    let work = Work {
        unit: Unit::OutputToken,
        rate: TokensPerSec(readings.tps_out?.value),
        energy: readings.energy_out.map(|e| JoulesPerToken(e.value)),
        local,
    };
    work.against(a, api, api.output)
}

/// F13 for items of a task: `readings` holds items per second and joules per item in the place of input tokens, and
/// `tokens` what an API would charge for one item (input, output). `None` when the item rate is unknown.
#[must_use]
pub fn items_against_api(
    readings: &Readings,
    a: &Assumptions,
    api: &ApiPrice,
    tokens: (f64, f64),
) -> Option<AgainstApi> {
    let local = estimate(readings, a).usd_per_mtok_in.map(|parts| parts.total.value);
    let work = Work {
        unit: Unit::Item,
        rate: TokensPerSec(readings.tps_in?.value),
        energy: readings.energy_in.map(|e| JoulesPerToken(e.value)),
        local,
    };
    work.against(a, api, api.items(tokens.0, tokens.1))
}

/// Work of one kind on one machine: the formulas are those of tokens, whatever is counted.
struct Work {
    unit: Unit,
    rate: TokensPerSec,
    energy: Option<JoulesPerToken>,
    local: Option<f64>,
}

impl Work {
    fn against(&self, a: &Assumptions, api: &ApiPrice, price: UsdPerMtok) -> Option<AgainstApi> {
        let Self { rate, energy, .. } = *self;
        let electricity = energy.map_or(UsdPerMtok(0.0), |e| formula::electricity(e, a.tariff.value, a.pue.value));
        let idle = a.idle.as_ref().map(|idle| idle.value);
        let (rented, utilization) = match &a.hardware {
            // F9: rate/u · k = P_api.
            Hardware::Rented { rate: rent } => (true, rented_break_even(rent.value, price, rate)),
            Hardware::Owned { maintenance, .. } | Hardware::Sunk { maintenance } => {
                let machine = OwnedMachine {
                    capital: a.capital_per_year()?,
                    maintenance: maintenance.value,
                    idle: idle.unwrap_or(Watts(0.0)),
                    tariff: a.tariff.value,
                    pue: a.pue.value,
                    rate,
                    electricity,
                    off_when_idle: idle.is_none(),
                };
                (false, machine.break_even(price))
            }
        };
        let tariff = match energy {
            Some(energy) if !rented => {
                let fixed = formula::hourly_per_mtok(a.hardware_per_busy_hour()?, rate)?;
                let energy = energy_with_idle(energy, idle.unwrap_or(Watts(0.0)), a.utilization.value, rate)?;
                break_even_tariff(price, fixed, energy, a.pue.value)
            }
            _ => None,
        };
        Some(AgainstApi {
            api: api.id.clone(),
            provider: api.provider.clone(),
            date: api.date,
            unit: self.unit,
            api_usd_per_million: price.0,
            local_usd_per_million: self.local,
            utilization,
            tariff_usd_per_kwh: tariff.map(|t| t.0),
            energy_j: break_even_energy(price, a.tariff.value, a.pue.value).map(|e| e.0),
            local_energy_j: energy.map(|e| e.0),
            energy_unknown: !rented && energy.is_none(),
        })
    }
}

fn rented_break_even(rent: UsdPerHour, api: UsdPerMtok, rate: TokensPerSec) -> Option<BreakEven> {
    let utilization = formula::hourly_per_mtok(rent, rate)?.0 / api.0;
    (utilization <= 1.0).then_some(BreakEven { utilization, tokens_per_day: utilization * 86_400.0 * rate.0 })
}

impl AgainstApi {
    /// How many times the API's price is the tier's cost; below 1 the API is the cheaper one.
    #[must_use]
    pub fn advantage(&self) -> Option<f64> {
        let local = self.local_usd_per_million.filter(|&local| local > 0.0)?;
        Usd(self.api_usd_per_million / local).known().map(|ratio| ratio.0)
    }
}

impl std::fmt::Display for AgainstApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let unit = self.unit.plural();
        write!(
            f,
            "{} ({}, {}) asks ${:.4} per million {unit}",
            self.api, self.provider, self.date, self.api_usd_per_million
        )?;
        if let Some(local) = self.local_usd_per_million {
            write!(f, ", this tier costs ${local:.4}")?;
        }
        match &self.utilization {
            Some(at) => write!(
                f,
                "; this tier costs less when busy more than {:.3} % of the time ({:.3e} {unit} a day)",
                100.0 * at.utilization,
                at.tokens_per_day
            )?,
            None => write!(f, "; this tier never costs less, however busy")?,
        }
        if let Some(tariff) = self.tariff_usd_per_kwh.filter(|_| self.utilization.is_some()) {
            write!(f, ", or as busy as assumed while electricity is below {tariff:.3} $/kWh")?;
        }
        if let Some(energy) = self.energy_j {
            let one = if self.unit == Unit::Item { "item" } else { "token" };
            write!(f, "; {energy:.3} J/{one} of electricity alone cost as much")?;
        }
        if self.energy_unknown {
            write!(f, ", electricity not counted")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Interval;

    fn exact(value: f64) -> Option<Interval> {
        Some(Interval { value, lo: value, hi: value, level: 0.95 })
    }

    fn at(text: &str, price: f64) -> (Assumptions, ApiPrice) {
        let user = UserFile::parse("my.toml", text).unwrap();
        let book = PriceBook::with(&user).unwrap();
        let a = Assumptions::from_file(&book, &user).unwrap();
        (a, ApiPrice { output: UsdPerMtok(price), ..ApiPrice::of(&book, &user, "gpt-4o-mini").unwrap() })
    }

    fn compare(text: &str, readings: &Readings, price: f64) -> AgainstApi {
        let (a, api) = at(text, price);
        against_api(readings, &a, &api).unwrap()
    }

    fn readings() -> Readings {
        Readings { tps_out: exact(64.0), energy_out: exact(2.34375), ..Readings::default() }
    }

    const V7: &str = "[cost]\nhardware_usd = 1900\nsalvage_usd = 400\nmaintenance_usd_per_year = 38\nidle_w = 60\n";

    #[test]
    fn the_chain_gives_vector_v7() {
        let c = compare(V7, &readings(), 0.60);
        let at = c.utilization.unwrap();
        assert!((at.utilization - 0.4664561470754937).abs() < 1e-12);
        assert!((c.energy_j.unwrap() - 12.705882352941176).abs() < 1e-12);
        assert!(c.to_string().contains("busy more than 46.646 % of the time"), "{c}");
        let never = compare(V7, &readings(), 0.11);
        assert_eq!((never.utilization, never.tariff_usd_per_kwh), (None, None));
        assert!(never.to_string().contains("this tier never costs less, however busy"), "{never}");
    }

    #[test]
    fn at_the_break_even_tariff_the_costs_are_equal() {
        let tariff = compare(V7, &readings(), 2.0).tariff_usd_per_kwh.unwrap();
        let there = compare(&format!("{V7}tariff_usd_per_kwh = {tariff}\n"), &readings(), 2.0);
        assert!((there.local_usd_per_million.unwrap() - 2.0).abs() < 1e-9);
    }

    #[test]
    fn unknown_energy_makes_the_break_even_a_lower_bound_and_says_so() {
        let blind = compare(V7, &Readings { energy_out: None, ..readings() }, 0.60);
        assert!(blind.energy_unknown && blind.to_string().ends_with("electricity not counted"));
        assert!(blind.utilization.unwrap().utilization < 0.4664);
        let rented = compare("[cost]\nrent_usd_per_hour = 0.34\n", &readings(), 2.95);
        assert!((rented.utilization.unwrap().utilization - 1.4756944444444444 / 2.95).abs() < 1e-12);
        assert!(!rented.energy_unknown);
    }

    #[test]
    fn an_item_is_priced_by_its_prompt_and_its_answer() {
        let (a, api) = at(V7, 0.60);
        // Input at $0.15: 700 tokens in and 120 out are $177 per million items.
        assert!((api.items(700.0, 120.0).0 - (700.0 * 0.15 + 120.0 * 0.60)).abs() < 1e-9);
        let item = Readings { tps_in: exact(2.0), energy_in: exact(80.0), ..Readings::default() };
        let c = items_against_api(&item, &a, &api, (700.0, 120.0)).unwrap();
        let there = c.utilization.unwrap().utilization;
        let busy = compare_items_at(&item, there);
        assert!((busy / c.api_usd_per_million - 1.0).abs() < 1e-9, "{busy}");
        assert!(c.to_string().contains("items a day") && c.advantage().unwrap() > 0.0);
    }

    fn compare_items_at(item: &Readings, utilization: f64) -> f64 {
        let (a, api) = at(&format!("{V7}utilization = {utilization}\n"), 0.60);
        items_against_api(item, &a, &api, (700.0, 120.0)).unwrap().local_usd_per_million.unwrap()
    }
}
