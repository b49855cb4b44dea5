//! Cost inputs from flags, with named assumptions where the user said nothing.

use crate::error::{Error, Result};
use crate::store::record::{Assumed, CostFacts, HardwareCost, OwnedHardware, RentedHardware};

/// What the machine and its power cost.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Cost")]
pub(in crate::cli) struct CostArgs {
    /// Electricity tariff [default: an assumption, printed under the table]
    #[arg(long, value_name = "USD")]
    usd_per_kwh: Option<f64>,
    /// Power usage effectiveness, at least 1
    #[arg(long, value_name = "X")]
    pue: Option<f64>,
    /// Purchase price of the machine; 0 for hardware that is paid for [default: an assumption]
    #[arg(long, value_name = "USD")]
    hardware_price: Option<f64>,
    /// What it will fetch at the end of its life [default: 20 % of the price]
    #[arg(long, value_name = "USD")]
    salvage: Option<f64>,
    /// Its life in years
    #[arg(long, value_name = "YEARS")]
    life: Option<f64>,
    /// Share of all hours it is busy, above 0 and at most 1
    #[arg(long, value_name = "SHARE")]
    utilization: Option<f64>,
    /// Hourly rent instead of a purchase; power is included
    #[arg(long, value_name = "USD", conflicts_with_all = ["hardware_price", "salvage", "life"])]
    rent: Option<f64>,
    /// Power at the wall while idle, in watts, charged for idle hours
    #[arg(long, value_name = "WATTS")]
    idle_power: Option<f64>,
    /// What an unsolved item costs
    #[arg(long, default_value_t = 0.0, value_name = "USD")]
    failure_cost: f64,
}

const ASSUMPTION: &str = "assumption";

fn assumed(value: f64, source: &str) -> Assumed {
    Assumed { value, source: source.to_owned(), date: None }
}

/// The user's number, checked, or the assumption.
fn given(flag: &str, value: Option<f64>, assumption: f64, ok: impl Fn(f64) -> bool, wants: &str) -> Result<Assumed> {
    match value {
        None => Ok(assumed(assumption, ASSUMPTION)),
        Some(value) if value.is_finite() && ok(value) => Ok(assumed(value, "user")),
        Some(value) => Err(Error::Usage(format!("{flag} {value}: use {wants}"))),
    }
}

/// The facts every cost rests on.
pub(in crate::cli) fn facts(args: &CostArgs) -> Result<CostFacts> {
    let positive = |x: f64| x >= 0.0;
    let not_negative = "a number of at least 0";
    let share = |x: f64| x > 0.0 && x <= 1.0;
    let tariff = given("--usd-per-kwh", args.usd_per_kwh, 0.17, positive, not_negative)?;
    let pue = given("--pue", args.pue, 1.0, |x| x >= 1.0, "a number of at least 1")?;
    let utilization = given("--utilization", args.utilization, 0.25, share, "a share above 0 and at most 1")?;
    let hardware = if let Some(rent) = args.rent {
        let usd_per_hour = given("--rent", Some(rent), 0.0, positive, not_negative)?;
        HardwareCost::Rented(RentedHardware { usd_per_hour, utilization })
    } else {
        let price = given("--hardware-price", args.hardware_price, 500.0, positive, not_negative)?;
        let salvage = given("--salvage", args.salvage, 0.2 * price.value, positive, not_negative)?;
        if salvage.value > price.value {
            let (salvage, price) = (salvage.value, price.value);
            return Err(Error::Usage(format!("--salvage {salvage}: more than the price of {price}")));
        }
        HardwareCost::Owned(Box::new(OwnedHardware {
            maintenance_usd_per_year: assumed(0.02 * price.value, "assumption: 2 % of the price"),
            price_usd: price,
            salvage_usd: salvage,
            life_years: given("--life", args.life, 4.0, |x| x > 0.0, "a number of years above 0")?,
            utilization,
            discount_rate: None,
        }))
    };
    let idle_wall_w = match args.idle_power {
        None => None,
        Some(_) => Some(given("--idle-power", args.idle_power, 0.0, positive, not_negative)?),
    };
    let failure_usd = given("--failure-cost", Some(args.failure_cost), 0.0, positive, not_negative)?.value;
    Ok(CostFacts { electricity_usd_per_kwh: Some(tariff), pue, hardware: Some(hardware), idle_wall_w, failure_usd })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> CostArgs {
        CostArgs {
            usd_per_kwh: None,
            pue: None,
            hardware_price: None,
            salvage: None,
            life: None,
            utilization: None,
            rent: None,
            idle_power: None,
            failure_cost: 0.0,
        }
    }

    #[test]
    fn what_the_user_did_not_say_is_called_an_assumption() {
        let facts = facts(&args()).unwrap();
        assert_eq!(facts.electricity_usd_per_kwh.unwrap().source, ASSUMPTION);
        assert_eq!(facts.idle_wall_w, None, "unknown is not 0");
    }

    #[test]
    fn impossible_numbers_name_their_flag() {
        for (bad, flag) in [
            (CostArgs { utilization: Some(0.0), ..args() }, "--utilization"),
            (CostArgs { pue: Some(0.9), ..args() }, "--pue"),
            (CostArgs { usd_per_kwh: Some(-0.1), ..args() }, "--usd-per-kwh"),
            (CostArgs { hardware_price: Some(f64::NAN), ..args() }, "--hardware-price"),
            (CostArgs { hardware_price: Some(10.0), salvage: Some(11.0), ..args() }, "--salvage"),
            (CostArgs { failure_cost: -1.0, ..args() }, "--failure-cost"),
        ] {
            let message = facts(&bad).unwrap_err().to_string();
            assert!(message.contains(flag), "{message}");
        }
    }
}
