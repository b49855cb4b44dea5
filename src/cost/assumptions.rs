//! What one run assumes about prices: every value with its source, date and how far it can be trusted.

use serde::{Deserialize, Serialize};

use super::CostError;
use super::api::ApiPrice;
use super::book::{Mark, PriceBook};
use super::date::Date;
use super::formula;
use super::userfile::{UserFile, WireMode, WireValue};
use crate::units::{Usd, UsdPerHour, UsdPerKwh, Watts};

/// A number somebody has to believe, with where it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sourced<T> {
    /// The number.
    pub value: T,
    /// Who says so.
    pub source: String,
    /// When.
    pub date: Option<Date>,
    /// How far to trust it.
    pub mark: Mark,
}

impl<T> Sourced<T> {
    fn assumed(value: T, why: &str) -> Self {
        Self { value, source: why.to_owned(), date: None, mark: Mark::Assumption }
    }

    fn map<U>(self, f: impl FnOnce(T) -> U) -> Sourced<U> {
        Sourced { value: f(self.value), source: self.source, date: self.date, mark: self.mark }
    }
}

/// How hardware time is paid for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "mode")]
pub enum Hardware {
    /// Bought, or kept although it could be sold: then the price is today's resale value and the life what remains.
    Owned {
        /// Purchase price.
        price: Sourced<Usd>,
        /// Value at the end of its life.
        salvage: Sourced<Usd>,
        /// Life, years.
        life_years: Sourced<f64>,
        /// Maintenance per year.
        maintenance: Sourced<Usd>,
        /// Discount rate per year; 0 is a straight line.
        discount_rate: Sourced<f64>,
    },
    /// Paid for already and without resale value: excludes capital, and every table says so.
    Sunk {
        /// Maintenance per year.
        maintenance: Sourced<Usd>,
    },
    /// Rented by the hour, electricity included.
    Rented {
        /// $ per hour.
        rate: Sourced<UsdPerHour>,
    },
}

/// Everything a cost assumes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assumptions {
    /// Tariff.
    pub tariff: Sourced<UsdPerKwh>,
    /// Power usage effectiveness, at least 1.
    pub pue: Sourced<f64>,
    /// Carbon intensity, g CO2e/kWh; `None` leaves carbon out.
    pub carbon_g_per_kwh: Option<Sourced<f64>>,
    /// Hardware.
    pub hardware: Hardware,
    /// Share of all (or rented) hours it is busy, in (0, 1].
    pub utilization: Sourced<f64>,
    /// Power at the wall when idle; `None` is unknown or off when idle: no idle electricity is charged, and tables say so.
    pub idle: Option<Sourced<Watts>>,
    /// Cost of a failed item.
    pub failure: Sourced<Usd>,
    /// What a solved item is worth; `None` leaves value out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Sourced<Usd>>,
    /// List prices the tiers are held against.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub against: Vec<ApiPrice>,
}

/// Keys of `[cost]` and of `--cost KEY=VALUE` that hold a number.
pub const KEYS: [&str; 13] = [
    "tariff_usd_per_kwh",
    "pue",
    "carbon_g_per_kwh",
    "hardware_usd",
    "salvage_usd",
    "life_years",
    "maintenance_usd_per_year",
    "discount_rate",
    "rent_usd_per_hour",
    "utilization",
    "idle_w",
    "failure_usd",
    "value_usd",
];

/// List prices every tier is held against unless the user names others: the lowest of the book, and a model many know.
pub const DEFAULT_APIS: [&str; 2] = ["llama-3.2-1b", "gpt-4o-mini"];

/// Grid whose carbon is assumed, with the default tariff's region.
const DEFAULT_CARBON: &str = "us";

impl Assumptions {
    /// The defaults: an assumed small desktop, a quarter of its hours busy, at the price book's default tariff.
    ///
    /// # Errors
    /// When the price book lacks the default tariff.
    pub fn defaults(book: &PriceBook) -> Result<Self, CostError> {
        Self::from_file(book, &UserFile::default())
    }

    /// The defaults with what the user's file says instead.
    ///
    /// # Errors
    /// Unknown rows, currencies without a rate and impossible values, with file and line.
    pub fn from_file(book: &PriceBook, user: &UserFile) -> Result<Self, CostError> {
        let owned = |value: f64, why: &str| Sourced::assumed(Usd(value), why);
        let mut a = Self {
            tariff: tariff(book, user, "us-default")?,
            pue: Sourced::assumed(1.0, "no cooling overhead at home"),
            carbon_g_per_kwh: Some(assumed_carbon(book)?),
            hardware: Hardware::Owned {
                price: owned(600.0, "a small desktop; give your own by --hardware-price"),
                salvage: owned(0.0, "no resale value"),
                life_years: Sourced::assumed(4.0, "usual write-off"),
                maintenance: owned(12.0, "2 % of the price"),
                discount_rate: Sourced::assumed(0.0, "straight line"),
            },
            utilization: Sourced::assumed(0.25, "busy six hours a day"),
            idle: None,
            failure: owned(0.0, "failures cost nothing but the attempt"),
            value: None,
            against: Vec::new(),
        };
        let cost = &user.cost;
        if let Some(id) = &cost.electricity {
            user.at(id.span(), a.take_electricity(book, user, id.get_ref()))?;
        }
        if let Some(id) = &cost.carbon {
            user.at(id.span(), a.take_carbon(book, id.get_ref()))?;
        }
        match &cost.against {
            Some(ids) => user.at(ids.span(), a.hold_against(book, user, ids.get_ref()))?,
            None => a.hold_against(book, user, &DEFAULT_APIS)?,
        }
        if let Some(id) = &cost.hardware {
            let rented = cost.mode == Some(WireMode::Rented);
            user.at(id.span(), a.take_hardware(book, user, id.get_ref(), rented))?;
        }
        if cost.mode == Some(WireMode::Sunk) {
            a.sink_hardware();
        }
        let values = [
            &cost.tariff_usd_per_kwh,
            &cost.pue,
            &cost.carbon_g_per_kwh,
            &cost.hardware_usd,
            &cost.salvage_usd,
            &cost.life_years,
            &cost.maintenance_usd_per_year,
            &cost.discount_rate,
            &cost.rent_usd_per_hour,
            &cost.utilization,
            &cost.idle_w,
            &cost.failure_usd,
            &cost.value_usd,
        ];
        let mut given: Vec<_> = KEYS.iter().zip(values).filter_map(|(key, v)| v.as_ref().map(|v| (key, v))).collect();
        if let (Some(_), Some(rent)) = (&cost.hardware_usd, &cost.rent_usd_per_hour) {
            let must = "left out when hardware_usd is given: hardware is bought or rented";
            let got = rent.get_ref().value;
            user.at(rent.span(), Err(CostError::Value { key: "rent_usd_per_hour".into(), got, must }))?;
        }
        // What the hardware is comes before what only one kind of it has.
        given.sort_by_key(|(key, _)| !matches!(**key, "hardware_usd" | "rent_usd_per_hour"));
        for (key, value) in given {
            let WireValue { value: number, source, date, currency } = value.get_ref();
            let set = user.dollars(*number, currency.as_deref().unwrap_or("USD"), key).and_then(|number| {
                let source = source.clone().unwrap_or_else(|| user.file.clone());
                a.set(key, Sourced { value: number, source, date: *date, mark: Mark::User })
            });
            user.at(value.span(), set)?;
        }
        if cost.mode == Some(WireMode::Rented) && !matches!(a.hardware, Hardware::Rented { .. }) {
            return Err(CostError::Missing { kind: "cost", id: "mode = \"rented\"".into(), what: "rent_usd_per_hour" });
        }
        Ok(a)
    }

    /// Sets the list prices the tiers are held against.
    ///
    /// # Errors
    /// No such row, or a currency without an exchange rate.
    pub fn hold_against(
        &mut self,
        book: &PriceBook,
        user: &UserFile,
        ids: &[impl AsRef<str>],
    ) -> Result<(), CostError> {
        self.against = ids.iter().map(|id| ApiPrice::of(book, user, id.as_ref())).collect::<Result<_, _>>()?;
        Ok(())
    }

    /// Takes the tariff of a price book row.
    ///
    /// # Errors
    /// As [`Assumptions::hold_against`].
    pub fn take_electricity(&mut self, book: &PriceBook, user: &UserFile, id: &str) -> Result<(), CostError> {
        self.tariff = tariff(book, user, id)?;
        Ok(())
    }

    /// Takes the carbon intensity of a price book row.
    ///
    /// # Errors
    /// No such row.
    pub fn take_carbon(&mut self, book: &PriceBook, id: &str) -> Result<(), CostError> {
        self.carbon_g_per_kwh = Some(carbon(book, id)?);
        Ok(())
    }

    /// Hardware that is paid for and worth nothing to sell: excludes capital.
    pub fn sink_hardware(&mut self) {
        self.hardware = Hardware::Sunk { maintenance: Sourced::assumed(Usd(0.0), "none stated") };
    }

    /// Price or rent of a price book row instead of the assumed machine.
    ///
    /// # Errors
    /// No such row, a row without that number, or a currency without an exchange rate.
    pub fn take_hardware(
        &mut self,
        book: &PriceBook,
        user: &UserFile,
        id: &str,
        rented: bool,
    ) -> Result<(), CostError> {
        let row = book.hardware(id)?;
        let missing = |what| CostError::Missing { kind: "hardware", id: id.to_owned(), what };
        let amount = if rented { row.rent_per_hour() } else { row.price() };
        let amount = amount.ok_or_else(|| missing(if rented { "rent" } else { "price" }))?;
        let value = user.dollars(amount, &row.currency, &format!("hardware `{id}`"))?;
        let source = format!("{}, middle of the range: {}", row.name, row.source);
        let key = if rented { "rent_usd_per_hour" } else { "hardware_usd" };
        self.set(key, Sourced { value, source, date: Some(row.date), mark: row.mark })
    }

    /// Sets one value by its key, as `--cost KEY=VALUE` does. A price makes the hardware owned, a rent makes it rented.
    ///
    /// # Errors
    /// An unknown key, or a value it cannot have: negative prices, no utilization, PUE below 1.
    pub fn set(&mut self, key: &str, given: Sourced<f64>) -> Result<(), CostError> {
        let x = given.value;
        let must = match key {
            "pue" => (!(x >= 1.0 && x.is_finite())).then_some("at least 1: 1 at home, 1.54 in an average data centre"),
            "utilization" => (!(x > 0.0 && x <= 1.0)).then_some("above 0 and at most 1, a share of all hours"),
            "life_years" => (!(x > 0.0 && x.is_finite())).then_some("above 0"),
            _ => (!(x >= 0.0 && x.is_finite())).then_some("at least 0"),
        };
        if let Some(must) = must {
            return Err(CostError::Value { key: key.to_owned(), got: x, must });
        }
        match key {
            "tariff_usd_per_kwh" => self.tariff = given.map(UsdPerKwh),
            "pue" => self.pue = given,
            "carbon_g_per_kwh" => self.carbon_g_per_kwh = Some(given),
            "utilization" => self.utilization = given,
            "idle_w" => self.idle = Some(given.map(Watts)),
            "failure_usd" => self.failure = given.map(Usd),
            "value_usd" => self.value = Some(given.map(Usd)),
            "rent_usd_per_hour" => self.hardware = Hardware::Rented { rate: given.map(UsdPerHour) },
            "hardware_usd" => {
                // What is kept of an owned machine's other values was assumed for another price: only its share of
                // maintenance scales.
                let share = Sourced::assumed(Usd(0.02 * x), "2 % of the price");
                let (salvage, life, rate) = match &self.hardware {
                    Hardware::Owned { salvage, life_years, discount_rate, .. } => {
                        (salvage.clone(), life_years.clone(), discount_rate.clone())
                    }
                    _ => (
                        Sourced::assumed(Usd(0.0), "no resale value"),
                        Sourced::assumed(4.0, "usual write-off"),
                        Sourced::assumed(0.0, "straight line"),
                    ),
                };
                if salvage.value.0 > x {
                    let must = "at least salvage_usd";
                    return Err(CostError::Value { key: key.to_owned(), got: x, must });
                }
                self.hardware = Hardware::Owned {
                    price: given.map(Usd),
                    salvage,
                    life_years: life,
                    maintenance: share,
                    discount_rate: rate,
                };
            }
            "salvage_usd" | "life_years" | "maintenance_usd_per_year" | "discount_rate" => {
                return self.set_owned(key, given);
            }
            _ => return Err(CostError::UnknownKey { key: key.to_owned(), known: KEYS.join(", ") }),
        }
        Ok(())
    }

    fn set_owned(&mut self, key: &str, given: Sourced<f64>) -> Result<(), CostError> {
        match (&mut self.hardware, key) {
            (Hardware::Owned { price, .. }, "salvage_usd") if given.value > price.value.0 => {
                return Err(CostError::Value { key: key.to_owned(), got: given.value, must: "at most hardware_usd" });
            }
            (Hardware::Owned { salvage, .. }, "salvage_usd") => *salvage = given.map(Usd),
            (Hardware::Owned { life_years, .. }, "life_years") => *life_years = given,
            (Hardware::Owned { discount_rate, .. }, "discount_rate") => *discount_rate = given,
            (Hardware::Owned { maintenance, .. } | Hardware::Sunk { maintenance }, "maintenance_usd_per_year") => {
                *maintenance = given.map(Usd);
            }
            // Rented or sunk hardware has none of these.
            _ => {
                let must = "left out: it belongs to owned hardware (give hardware_usd too)";
                return Err(CostError::Value { key: key.to_owned(), got: given.value, must });
            }
        }
        Ok(())
    }

    /// Capital per year (F7); `None` when rented.
    #[must_use]
    pub fn capital_per_year(&self) -> Option<Usd> {
        match &self.hardware {
            Hardware::Owned { price, salvage, life_years, discount_rate, .. } => {
                formula::capital_annuity(price.value, salvage.value, life_years.value, discount_rate.value)
            }
            Hardware::Sunk { .. } => Some(Usd(0.0)),
            Hardware::Rented { .. } => None,
        }
    }

    /// Cost of a busy hour without idle power: capital and maintenance, or rent (F8, F9).
    #[must_use]
    pub fn hardware_per_busy_hour(&self) -> Option<UsdPerHour> {
        let u = self.utilization.value;
        match &self.hardware {
            Hardware::Rented { rate } => formula::rent_per_busy_hour(rate.value, u),
            Hardware::Owned { maintenance, .. } | Hardware::Sunk { maintenance } => {
                formula::capital_per_busy_hour(self.capital_per_year()?, maintenance.value, u)
            }
        }
    }

    /// Idle electricity charged to a busy hour (F8); `None` when idle power is unknown or in the rent.
    #[must_use]
    pub fn idle_per_busy_hour(&self) -> Option<UsdPerHour> {
        if matches!(self.hardware, Hardware::Rented { .. }) {
            return None;
        }
        let idle = self.idle.as_ref()?.value;
        formula::idle_per_busy_hour(idle, self.tariff.value, self.pue.value, self.utilization.value)
    }

    /// One line per assumption, to be printed under every table that uses it.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        fn line<T>(name: &str, value: impl std::fmt::Display, from: &Sourced<T>) -> String {
            let date = from.date.map(|d| format!(", {d}")).unwrap_or_default();
            format!("{name}: {value} ({}: {}{date})", from.mark, from.source)
        }
        let mut lines = Vec::new();
        match &self.hardware {
            Hardware::Owned { price, salvage, life_years, maintenance, discount_rate } => {
                lines.push(line("hardware", format!("${}", price.value.0), price));
                lines.push(line("salvage value", format!("${}", salvage.value.0), salvage));
                lines.push(line("life", format!("{} years", life_years.value), life_years));
                lines.push(line("maintenance", format!("${} a year", maintenance.value.0), maintenance));
                lines.push(line("discount rate", format!("{} %", 100.0 * discount_rate.value), discount_rate));
            }
            Hardware::Sunk { maintenance } => {
                lines.push("hardware: sunk, excludes capital".to_owned());
                lines.push(line("maintenance", format!("${} a year", maintenance.value.0), maintenance));
            }
            Hardware::Rented { rate } => {
                lines.push(line("rent", format!("${} an hour, electricity included", rate.value.0), rate));
            }
        }
        lines.push(line("busy", format!("{} % of all hours", 100.0 * self.utilization.value), &self.utilization));
        if !matches!(self.hardware, Hardware::Rented { .. }) {
            lines.push(line("electricity", format!("{} $/kWh", self.tariff.value.0), &self.tariff));
            lines.push(line("PUE", self.pue.value, &self.pue));
            lines.push(match &self.idle {
                Some(idle) => line("idle power", format!("{} W", idle.value.0), idle),
                None => "idle power: unknown, not charged".to_owned(),
            });
        }
        if let Some(carbon) = &self.carbon_g_per_kwh {
            lines.push(line("carbon", format!("{} g CO2e/kWh", carbon.value), carbon));
        }
        if self.failure.value.0 > 0.0 {
            lines.push(line("a failure costs", format!("${}", self.failure.value.0), &self.failure));
        }
        if let Some(value) = &self.value {
            lines.push(line("a solved item is worth", format!("${}", value.value.0), value));
        }
        lines
    }
}

fn carbon(book: &PriceBook, id: &str) -> Result<Sourced<f64>, CostError> {
    let row = book.carbon(id)?;
    let source = format!("{}: {}", row.region, row.source);
    Ok(Sourced { value: row.g_per_kwh, source, date: Some(row.date), mark: row.mark })
}

/// The number is sourced; that it is this user's grid is assumed.
fn assumed_carbon(book: &PriceBook) -> Result<Sourced<f64>, CostError> {
    Ok(Sourced { mark: Mark::Assumption, ..carbon(book, DEFAULT_CARBON)? })
}

fn tariff(book: &PriceBook, user: &UserFile, id: &str) -> Result<Sourced<UsdPerKwh>, CostError> {
    let row = book.electricity(id)?;
    let value = user.dollars(row.per_kwh, &row.currency, &format!("electricity `{id}`"))?;
    let source = format!("{}: {}", row.region, row.source);
    Ok(Sourced { value: UsdPerKwh(value), source, date: Some(row.date), mark: row.mark })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(text: &str) -> Result<Assumptions, CostError> {
        let user = UserFile::parse("my.toml", text)?;
        Assumptions::from_file(&PriceBook::with(&user)?, &user)
    }

    fn refusal(text: &str) -> String {
        from(text).unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_all_marked_as_assumptions() {
        let a = Assumptions::defaults(&PriceBook::embedded().unwrap()).unwrap();
        let lines = a.lines();
        assert!(
            lines.iter().all(|l| l.contains("(assumption: ") || l == "idle power: unknown, not charged"),
            "{lines:#?}"
        );
        assert!((a.hardware_per_busy_hour().unwrap().0 - 162.0 / 2190.0).abs() < 1e-12);
    }

    #[test]
    fn a_users_values_carry_their_source() {
        let a = from(
            "[cost]\ntariff_usd_per_kwh = { value = 0.31, source = \"bill\", date = \"2026-08-31\" }\n\
             utilization = 1\nhardware = \"rtx-4090\"\nlife_years = 3.0\nidle_w = 60\ncarbon = \"de\"\n",
        )
        .unwrap();
        assert_eq!((a.tariff.value.0, a.tariff.source.as_str(), a.tariff.mark), (0.31, "bill", Mark::User));
        assert_eq!(a.utilization.source, "my.toml");
        let Hardware::Owned { price, life_years, .. } = &a.hardware else { panic!("{:?}", a.hardware) };
        assert!((price.value.0 - (1200.0f64 * 1500.0).sqrt()).abs() < 1e-9 && life_years.value == 3.0);
        assert_eq!(a.carbon_g_per_kwh.unwrap().value, 381.0);
    }

    #[test]
    fn rent_includes_power_and_sunk_excludes_capital() {
        let rented = from("[cost]\nmode = \"rented\"\nhardware = \"l40s\"\nidle_w = 60\n").unwrap();
        assert_eq!((rented.capital_per_year(), rented.idle_per_busy_hour()), (None, None));
        let sunk = from("[cost]\nmode = \"sunk\"\n").unwrap();
        assert_eq!(sunk.capital_per_year(), Some(Usd(0.0)));
        assert!(sunk.lines()[0].contains("excludes capital"));
    }

    #[test]
    fn impossible_values_are_named_with_their_line() {
        assert_eq!(
            refusal("[cost]\npue = 0.9\n"),
            "my.toml:2: pue is 0.9: it must be at least 1: 1 at home, 1.54 in an average data centre"
        );
        assert!(refusal("[cost]\n\nutilization = 0\n").starts_with("my.toml:3: utilization is 0"));
        assert!(refusal("[cost]\nhardware_usd = -5\n").contains("hardware_usd is -5: it must be at least 0"));
        assert!(refusal("[cost]\nsalvage_usd = 900\n").contains("at most hardware_usd"));
        assert!(refusal("[cost]\nlife_years = 2\nrent_usd_per_hour = 1\n").starts_with("my.toml:2: life_years is 2"));
        assert!(refusal("[cost]\nhardware_usd = 2\nrent_usd_per_hour = 1\n").contains("bought or rented"));
        assert!(refusal("[cost]\ntarif = 0.2\n").contains("tarif"));
        assert!(refusal("[cost]\npue = \"one\"\n").starts_with("my.toml:2: "));
        assert!(refusal("[cost]\nhardware = \"l40s\"\n").contains("has no price"));
        assert!(refusal("[cost]\nmode = \"rented\"\n").contains("rent_usd_per_hour"));
    }

    #[test]
    fn currencies_are_not_mixed_without_a_rate() {
        let message = refusal("[cost]\nelectricity = \"de-household\"\n");
        assert!(message.starts_with("my.toml:2: electricity `de-household` is in EUR"), "{message}");
        let a = from("[cost]\nelectricity = \"de-household\"\n[exchange]\nEUR = 1.1\n").unwrap();
        assert!((a.tariff.value.0 - 0.421_85).abs() < 1e-12);
        assert!(refusal("[cost]\nhardware_usd = { value = 5, currency = \"GBP\" }\n").contains("in GBP"));
        assert!(refusal("[exchange]\nEUR = 0\n").starts_with("my.toml:2: exchange EUR is 0"));
        assert!(refusal("[exchange]\neuro = 1.1\n").contains("three-letter"));
    }

    #[test]
    fn an_unknown_key_names_the_known_ones() {
        let mut a = Assumptions::defaults(&PriceBook::embedded().unwrap()).unwrap();
        let given = Sourced { value: 1.0, source: "flag".into(), date: None, mark: Mark::User };
        assert!(a.set("tarif", given.clone()).unwrap_err().to_string().contains("tariff_usd_per_kwh"));
        for key in KEYS.iter().filter(|k| **k != "rent_usd_per_hour") {
            a.set(key, given.clone()).unwrap();
        }
    }
}
