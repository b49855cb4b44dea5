//! A tier against the list price of a hosted model: the line without which "local is cheaper" must not be printed.

use serde::Serialize;

use super::assumptions::{Assumptions, Hardware};
use super::book::Api;
use super::breakeven::{BreakEven, OwnedMachine, break_even_energy, break_even_tariff, energy_with_idle};
use super::estimate::{Readings, estimate};
use super::formula;
use crate::units::{JoulesPerToken, TokensPerSec, Usd, UsdPerHour, UsdPerMtok, Watts};

/// Output tokens of a tier against those of an API.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AgainstApi {
    /// Row of the price book.
    pub api: String,
    /// Its output price, $/Mtok.
    pub api_usd_per_mtok: f64,
    /// The tier's full cost of output tokens, $/Mtok; `None` if unknown.
    pub local_usd_per_mtok: Option<f64>,
    /// How busy the machine must be for the same cost; `None` is never (or energy unknown: then see `energy_unknown`).
    pub utilization: Option<BreakEven>,
    /// Tariff at which the costs are equal, $/kWh; `None` if the hardware alone costs more, or for rent.
    pub tariff_usd_per_kwh: Option<f64>,
    /// Energy per output token at which electricity alone costs the API price, J.
    pub energy_j_per_token: Option<f64>,
    /// The tier's energy is unknown and its electricity left out, so the break-even is a lower bound.
    pub energy_unknown: bool,
}

/// F13 for a tier's output tokens. `api_output` is the row's price in dollars (see [`super::UserFile::dollars`]). `None`
/// when the tier's decode rate is unknown.
#[must_use]
pub fn against_api(readings: &Readings, a: &Assumptions, api: &Api, api_output: UsdPerMtok) -> Option<AgainstApi> {
    let rate = TokensPerSec(readings.tps_out?.value);
    let energy = readings.energy_out.map(|e| JoulesPerToken(e.value));
    let local = estimate(readings, a).usd_per_mtok_out.map(|parts| parts.total.value);
    let electricity = energy.map_or(UsdPerMtok(0.0), |e| formula::electricity(e, a.tariff.value, a.pue.value));
    let (rented, maintenance) = match &a.hardware {
        Hardware::Rented { rate } => (Some(rate.value), Usd(0.0)),
        Hardware::Owned { maintenance, .. } | Hardware::Sunk { maintenance } => (None, maintenance.value),
    };
    let utilization = match rented {
        // F9: rate/u · k = P_api.
        Some(rent) => rented_break_even(rent, api_output, rate),
        None => OwnedMachine {
            capital: a.capital_per_year()?,
            maintenance,
            idle: a.idle.as_ref().map_or(Watts(0.0), |idle| idle.value),
            tariff: a.tariff.value,
            pue: a.pue.value,
            rate,
            electricity,
            off_when_idle: a.idle.is_none(),
        }
        .break_even(api_output),
    };
    let tariff = match (rented, energy) {
        (None, Some(energy)) => {
            let fixed = formula::hourly_per_mtok(a.hardware_per_busy_hour()?, rate)?;
            let idle = a.idle.as_ref().map_or(Watts(0.0), |idle| idle.value);
            let energy = energy_with_idle(energy, idle, a.utilization.value, rate)?;
            break_even_tariff(api_output, fixed, energy, a.pue.value)
        }
        _ => None,
    };
    Some(AgainstApi {
        api: api.id.clone(),
        api_usd_per_mtok: api_output.0,
        local_usd_per_mtok: local,
        utilization,
        tariff_usd_per_kwh: tariff.map(|t| t.0),
        energy_j_per_token: break_even_energy(api_output, a.tariff.value, a.pue.value).map(|e| e.0),
        energy_unknown: rented.is_none() && energy.is_none(),
    })
}

fn rented_break_even(rent: UsdPerHour, api: UsdPerMtok, rate: TokensPerSec) -> Option<BreakEven> {
    let utilization = formula::hourly_per_mtok(rent, rate)?.0 / api.0;
    (utilization <= 1.0).then_some(BreakEven { utilization, tokens_per_day: utilization * 86_400.0 * rate.0 })
}

impl std::fmt::Display for AgainstApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at ${} per million output tokens: ", self.api, self.api_usd_per_mtok)?;
        match &self.utilization {
            Some(at) => write!(
                f,
                "this tier costs less when busy more than {:.1} % of the time ({:.3e} tokens a day)",
                100.0 * at.utilization,
                at.tokens_per_day
            )?,
            None => write!(f, "this tier never costs less, however busy")?,
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
    use crate::cost::{PriceBook, UserFile};
    use crate::units::Interval;

    fn exact(value: f64) -> Option<Interval> {
        Some(Interval { value, lo: value, hi: value, level: 0.95 })
    }

    fn compare(text: &str, readings: &Readings, price: f64) -> AgainstApi {
        let user = UserFile::parse("my.toml", text).unwrap();
        let book = PriceBook::with(&user).unwrap();
        let a = Assumptions::from_file(&book, &user).unwrap();
        against_api(readings, &a, book.api("gpt-4o-mini").unwrap(), UsdPerMtok(price)).unwrap()
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
        assert!((c.energy_j_per_token.unwrap() - 12.705882352941176).abs() < 1e-12);
        assert!(c.to_string().contains("busy more than 46.6 % of the time"), "{c}");
        let never = compare(V7, &readings(), 0.11);
        assert_eq!((never.utilization, never.tariff_usd_per_kwh), (None, None));
        assert!(never.to_string().ends_with("this tier never costs less, however busy"));
    }

    #[test]
    fn at_the_break_even_tariff_the_costs_are_equal() {
        let tariff = compare(V7, &readings(), 2.0).tariff_usd_per_kwh.unwrap();
        let there = compare(&format!("{V7}tariff_usd_per_kwh = {tariff}\n"), &readings(), 2.0);
        assert!((there.local_usd_per_mtok.unwrap() - 2.0).abs() < 1e-9);
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
}
