//! Cost inputs from flags and the user's price file, with named assumptions where the user said nothing.

use std::path::{Path, PathBuf};

use crate::cost::book::Mark;
use crate::cost::{Assumptions, PriceBook, Sourced, UserFile};
use crate::error::{Error, Result};

/// Names the user's price file.
const PRICES: &str = "TIERBENCH_PRICES";

/// What the machine and its power cost.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Cost")]
pub(super) struct CostArgs {
    /// Price file of your own: [cost] assumptions, [exchange] rates and price rows; flags win over it
    #[arg(long, value_name = "FILE", env = PRICES)]
    prices: Option<PathBuf>,
    /// Electricity tariff [default: an assumption, printed under the table]
    #[arg(long, allow_negative_numbers = true, value_name = "USD")]
    usd_per_kwh: Option<f64>,
    /// Electricity tariff of a row of `prices list electricity`
    #[arg(long, value_name = "ROW", conflicts_with = "usd_per_kwh")]
    electricity: Option<String>,
    /// Grid whose carbon is counted: a row of `prices list carbon`
    #[arg(long, value_name = "ROW")]
    carbon: Option<String>,
    /// Power usage effectiveness, at least 1
    #[arg(long, allow_negative_numbers = true, value_name = "X")]
    pue: Option<f64>,
    /// Purchase price of the machine [default: an assumption]
    #[arg(long, allow_negative_numbers = true, value_name = "USD", conflicts_with = "sunk")]
    hardware_price: Option<f64>,
    /// Hardware that is paid for and worth nothing to sell: capital is left out, and the table says so
    #[arg(long)]
    sunk: bool,
    /// What it will fetch at the end of its life [default: nothing]
    #[arg(long, allow_negative_numbers = true, value_name = "USD", conflicts_with = "sunk")]
    salvage: Option<f64>,
    /// Its life in years
    #[arg(long, allow_negative_numbers = true, value_name = "YEARS", conflicts_with = "sunk")]
    life: Option<f64>,
    /// Share of all hours it is busy, above 0 and at most 1
    #[arg(long, allow_negative_numbers = true, value_name = "SHARE")]
    utilization: Option<f64>,
    /// Hourly rent instead of a purchase; power is included
    #[arg(long, allow_negative_numbers = true, value_name = "USD", conflicts_with_all = ["hardware_price", "salvage", "life", "sunk"])]
    rent: Option<f64>,
    /// Power at the wall while idle, in watts, charged for idle hours
    #[arg(long, allow_negative_numbers = true, value_name = "WATTS")]
    idle_power: Option<f64>,
    /// What an unsolved item costs
    #[arg(long, allow_negative_numbers = true, value_name = "USD")]
    failure_cost: Option<f64>,
    /// What a solved item is worth: tiers are then also compared by value less cost
    #[arg(long, allow_negative_numbers = true, value_name = "USD")]
    value: Option<f64>,
    /// Hosted model whose list price the tiers are held against: a row of `prices list api`; repeatable
    #[arg(long, value_name = "ROW")]
    against: Vec<String>,
    /// Any other key of [cost], e.g. discount_rate=0.05 or maintenance_usd_per_year=40; repeatable
    #[arg(long = "cost", value_name = "KEY=VALUE", value_parser = key_value)]
    keys: Vec<(String, f64)>,
}

/// Reads the user's price file; without one nothing is changed.
pub(super) fn user_file(path: Option<&Path>) -> Result<UserFile> {
    let Some(path) = path else { return Ok(UserFile::default()) };
    let text =
        std::fs::read_to_string(path).map_err(|source| Error::Io { action: "read", path: path.to_owned(), source })?;
    Ok(UserFile::parse(&path.display().to_string(), &text)?)
}

/// What every cost rests on: the user's numbers, checked, over the defaults, each with its source.
pub(super) fn facts(args: &CostArgs) -> Result<Assumptions> {
    let user = user_file(args.prices.as_deref())?;
    let book = PriceBook::with(&user)?;
    let assumptions = Assumptions::from_file(&book, &user)?;
    args.over(assumptions, &book, &user)
}

/// The same for a command without these flags: the user's price file over the defaults.
pub(super) fn usual() -> Result<Assumptions> {
    let prices = std::env::var_os(PRICES).filter(|path| !path.is_empty()).map(PathBuf::from);
    facts(&CostArgs { prices, ..CostArgs::default() })
}

/// A record's own assumptions with what the flags say instead; a price file replaces them all.
pub(super) fn repriced(args: &CostArgs, own: &Assumptions) -> Result<Assumptions> {
    let user = user_file(args.prices.as_deref())?;
    let book = PriceBook::with(&user)?;
    let base = if args.prices.is_some() { Assumptions::from_file(&book, &user)? } else { own.clone() };
    args.over(base, &book, &user)
}

fn key_value(text: &str) -> Result<(String, f64), String> {
    let parsed =
        text.split_once('=').and_then(|(key, value)| Some((key.trim().to_owned(), value.trim().parse().ok()?)));
    parsed.ok_or_else(|| "write KEY=NUMBER, e.g. discount_rate=0.05".to_owned())
}

impl CostArgs {
    fn over(&self, mut a: Assumptions, book: &PriceBook, user: &UserFile) -> Result<Assumptions> {
        if let Some(id) = &self.electricity {
            a.take_electricity(book, user, id)?;
        }
        if let Some(id) = &self.carbon {
            a.take_carbon(book, id)?;
        }
        if self.sunk {
            a.sink_hardware();
        }
        if !self.against.is_empty() {
            a.hold_against(book, user, &self.against)?;
        }
        let flags = [
            // What the hardware is comes before what only one kind of it has.
            ("--hardware-price", "hardware_usd", self.hardware_price),
            ("--rent", "rent_usd_per_hour", self.rent),
            ("--usd-per-kwh", "tariff_usd_per_kwh", self.usd_per_kwh),
            ("--pue", "pue", self.pue),
            ("--salvage", "salvage_usd", self.salvage),
            ("--life", "life_years", self.life),
            ("--utilization", "utilization", self.utilization),
            ("--idle-power", "idle_w", self.idle_power),
            ("--failure-cost", "failure_usd", self.failure_cost),
            ("--value", "value_usd", self.value),
        ];
        let named = flags.into_iter().filter_map(|(flag, key, value)| Some((flag, key, value?)));
        let keys = self.keys.iter().map(|(key, value)| ("--cost", key.as_str(), *value));
        for (flag, key, value) in named.chain(keys) {
            let given = Sourced { value, source: flag.to_owned(), date: None, mark: Mark::User };
            a.set(key, given).map_err(|error| Error::Usage(format!("{flag} {value}: {error}")))?;
        }
        Ok(a)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Hardware;

    fn args() -> CostArgs {
        CostArgs::default()
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

    #[test]
    fn rows_keys_and_list_prices_come_from_the_price_book() {
        let given = CostArgs {
            carbon: Some("fr".into()),
            against: vec!["gpt-5-nano".into()],
            keys: vec![("discount_rate".into(), 0.05)],
            value: Some(0.1),
            ..args()
        };
        let a = facts(&given).unwrap();
        assert_eq!((a.carbon_g_per_kwh.unwrap().value, a.against.len()), (56.0, 1));
        assert_eq!((a.against[0].output.0, a.value.unwrap().value.0), (0.4, 0.1));
        let sunk = facts(&CostArgs { sunk: true, ..args() }).unwrap();
        assert!(sunk.lines()[0].contains("excludes capital"));
        for (bad, says) in [
            (CostArgs { electricity: Some("de-household".into()), ..args() }, "EUR"),
            (CostArgs { against: vec!["gpt-9".into()], ..args() }, "gpt-9"),
            (CostArgs { keys: vec![("tarif".into(), 1.0)], ..args() }, "tariff_usd_per_kwh"),
            (CostArgs { prices: Some("/nowhere/my.toml".into()), ..args() }, "/nowhere/my.toml"),
        ] {
            let message = facts(&bad).unwrap_err().to_string();
            assert!(message.contains(says), "{message}");
        }
        assert!(key_value("pue").is_err() && key_value("pue=high").is_err());
    }

    #[test]
    fn a_record_is_repriced_by_what_is_said_and_keeps_the_rest() {
        let own = facts(&CostArgs { usd_per_kwh: Some(0.5), hardware_price: Some(900.0), ..args() }).unwrap();
        let again = repriced(&CostArgs { utilization: Some(1.0), ..args() }, &own).unwrap();
        assert_eq!((again.tariff.value.0, again.utilization.value), (0.5, 1.0));
    }
}
