//! Cost inputs from flags, with named assumptions where the user said nothing.

use crate::cost::book::Mark;
use crate::cost::{Assumptions, PriceBook, Sourced};
use crate::error::{Error, Result};

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
    /// What it will fetch at the end of its life [default: nothing]
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
    #[arg(long, value_name = "USD")]
    failure_cost: Option<f64>,
}

/// What every cost rests on: the user's numbers, checked, over the defaults, each with its source.
pub(in crate::cli) fn facts(args: &CostArgs) -> Result<Assumptions> {
    let mut assumptions = Assumptions::defaults(&PriceBook::embedded()?)?;
    let flags = [
        // What the hardware is comes before what only one kind of it has.
        ("--hardware-price", "hardware_usd", args.hardware_price),
        ("--rent", "rent_usd_per_hour", args.rent),
        ("--usd-per-kwh", "tariff_usd_per_kwh", args.usd_per_kwh),
        ("--pue", "pue", args.pue),
        ("--salvage", "salvage_usd", args.salvage),
        ("--life", "life_years", args.life),
        ("--utilization", "utilization", args.utilization),
        ("--idle-power", "idle_w", args.idle_power),
        ("--failure-cost", "failure_usd", args.failure_cost),
    ];
    for (flag, key, value) in flags {
        if let Some(value) = value {
            let given = Sourced { value, source: flag.to_owned(), date: None, mark: Mark::User };
            assumptions.set(key, given).map_err(|error| Error::Usage(format!("{flag} {value}: {error}")))?;
        }
    }
    Ok(assumptions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Hardware;

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
            failure_cost: None,
        }
    }

    #[test]
    fn what_the_user_did_not_say_is_called_an_assumption() {
        let facts = facts(&args()).unwrap();
        assert_eq!(facts.tariff.mark, Mark::Assumption);
        assert_eq!(facts.idle, None, "unknown is not 0");
        let facts = super::facts(&CostArgs { rent: Some(0.34), ..args() }).unwrap();
        assert!(matches!(facts.hardware, Hardware::Rented { rate } if rate.mark == Mark::User));
    }

    #[test]
    fn impossible_numbers_name_their_flag() {
        for (bad, flag) in [
            (CostArgs { utilization: Some(0.0), ..args() }, "--utilization"),
            (CostArgs { pue: Some(0.9), ..args() }, "--pue"),
            (CostArgs { usd_per_kwh: Some(-0.1), ..args() }, "--usd-per-kwh"),
            (CostArgs { hardware_price: Some(f64::NAN), ..args() }, "--hardware-price"),
            (CostArgs { hardware_price: Some(10.0), salvage: Some(11.0), ..args() }, "--salvage"),
            (CostArgs { failure_cost: Some(-1.0), ..args() }, "--failure-cost"),
        ] {
            let message = facts(&bad).unwrap_err().to_string();
            assert!(message.contains(flag), "{message}");
        }
    }
}
