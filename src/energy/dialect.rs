//! How programs that print power say it. Parsers only: what is printed is text, wherever it was printed.

use std::collections::BTreeMap;

/// The words of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// A number of watts per line, optionally followed by `W`.
    Watts,
    /// Raspberry Pi 5, `vcgencmd pmic_read_adc`: current and voltage of every rail of the power chip. Input power by the
    /// community's fit `1.1451 · Σ V·I + 0.5879` (pitop's documentation), which holds the converters' losses.
    Pmic,
    /// macOS, `powermetrics`: `Combined Power (CPU + GPU + ANE): 1290 mW`. Apple: "may be inaccurate".
    Powermetrics,
    /// Windows 11, `typeperf "\Energy Meter(*)\Power"`: a CSV of milliwatts. Packages and memory are summed; cores lie
    /// inside packages even where each is a meter of its own (codecarbon's pull request 1263 counted them again).
    Typeperf,
}

/// Reads what a program prints, line by line.
#[derive(Debug)]
pub(super) struct Listener {
    dialect: Dialect,
    /// Rail → (V, A).
    rails: BTreeMap<String, (Option<f64>, Option<f64>)>,
    /// Columns of the sum.
    columns: Vec<usize>,
}

impl Listener {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { dialect, rails: BTreeMap::new(), columns: Vec::new() }
    }

    /// Watts of a line; `None` for one that does not state power.
    ///
    /// # Errors
    /// What was expected.
    pub(super) fn line(&mut self, text: &str) -> Result<Option<f64>, &'static str> {
        let text = text.trim();
        match self.dialect {
            _ if text.is_empty() => Ok(None),
            Dialect::Watts => watts(text).map(Some).ok_or("watts, such as 41.5"),
            Dialect::Pmic => self.rail(text).map(|()| None).ok_or("a rail, such as VDD_CORE_A current(7)=1.25A"),
            Dialect::Powermetrics => match text.split_once(':') {
                Some((name, value)) if name.starts_with("Combined Power") => {
                    milliwatts(value).map(Some).ok_or("milliwatts, such as 1290 mW")
                }
                _ => Ok(None),
            },
            Dialect::Typeperf => self.row(text),
        }
    }

    /// Watts of everything the program printed until it ended.
    pub(super) fn end(&mut self) -> Option<f64> {
        let rails = std::mem::take(&mut self.rails);
        let powers: Vec<f64> = rails.into_values().filter_map(|(volts, amperes)| Some(volts? * amperes?)).collect();
        (self.dialect == Dialect::Pmic && !powers.is_empty()).then(|| 1.1451 * powers.iter().sum::<f64>() + 0.5879)
    }

    /// `VDD_CORE_A current(7)=1.25A`, `VDD_CORE_V volt(15)=0.86V`, or without the middle part.
    fn rail(&mut self, text: &str) -> Option<()> {
        let (name, value) = text.split_once('=')?;
        let name = name.split_whitespace().next()?;
        let number = value.trim_end_matches(['A', 'V']).parse().ok().filter(|x: &f64| x.is_finite() && *x >= 0.0)?;
        if let Some(rail) = name.strip_suffix("_A") {
            self.rails.entry(rail.to_owned()).or_default().1 = Some(number);
        } else if let Some(rail) = name.strip_suffix("_V") {
            self.rails.entry(rail.to_owned()).or_default().0 = Some(number);
        }
        Some(())
    }

    fn row(&mut self, text: &str) -> Result<Option<f64>, &'static str> {
        let cells: Vec<&str> = text.split("\",\"").map(|cell| cell.trim_matches('"')).collect();
        if text.starts_with("\"(PDH-CSV") {
            let counted = |name: &&str| {
                let name = name.to_ascii_lowercase();
                name.contains("_pkg)") || name.contains("_dram)")
            };
            let columns = cells.iter().enumerate().filter(|(_, name)| counted(name));
            self.columns = columns.map(|(i, _)| i).collect();
            return if self.columns.is_empty() { Err("a column of RAPL_Package0_PKG") } else { Ok(None) };
        }
        if self.columns.is_empty() || !text.starts_with('"') {
            // What typeperf says besides its table.
            return Ok(None);
        }
        // The first row has no interval behind it and may be blank.
        let values: Option<Vec<f64>> = self.columns.iter().map(|&i| cells.get(i)?.trim().parse().ok()).collect();
        Ok(values.map(|values| values.iter().sum::<f64>() / 1e3).filter(|watts| watts.is_finite() && *watts >= 0.0))
    }
}

fn watts(text: &str) -> Option<f64> {
    let number = text.strip_suffix(['W', 'w']).unwrap_or(text).trim_end();
    number.parse().ok().filter(|w: &f64| w.is_finite() && *w >= 0.0)
}

fn milliwatts(text: &str) -> Option<f64> {
    watts(text.trim().strip_suffix("mW")?.trim_end()).map(|mw| mw / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(dialect: Dialect, text: &str) -> Vec<f64> {
        let mut listener = Listener::new(dialect);
        let mut found: Vec<f64> = text.lines().filter_map(|line| listener.line(line).unwrap()).collect();
        found.extend(listener.end());
        found
    }

    #[test]
    fn a_raspberry_pi_sums_its_rails_and_ignores_voltages_without_a_current() {
        let text = "   3V3_SYS_A current(1)=0.10000000A\n   VDD_CORE_A current(7)=2.00000000A\n\
                    3V3_SYS_V volt(9)=3.30000000V\nVDD_CORE_V volt(15)=0.85000000V\nEXT5V_V volt(24)=5.1V\nBATT_V volt(25)=0.0V\n";
        let expected = 1.1451 * (0.33 + 1.7) + 0.5879;
        assert!((all(Dialect::Pmic, text)[0] - expected).abs() < 1e-9);
        // Older firmware leaves the middle part out.
        assert_eq!(all(Dialect::Pmic, "VDD_CORE_V=0.5V\nVDD_CORE_A=2.0A\n"), [1.1451 + 0.5879]);
        assert!(all(Dialect::Pmic, "EXT5V_V volt(24)=5.1V\n").is_empty());
        assert!(Listener::new(Dialect::Pmic).line("error=1 error_msg=\"denied\"").is_err());
    }

    #[test]
    fn powermetrics_states_the_combined_power_in_milliwatts() {
        let text = "*** Sampled system activity ***\nCPU Power: 1204 mW\nGPU Power: 86 mW\nANE Power: 0 mW\n\
                    Combined Power (CPU + GPU + ANE): 1290 mW\n";
        assert_eq!(all(Dialect::Powermetrics, text), [1.29]);
        assert!(Listener::new(Dialect::Powermetrics).line("Combined Power (CPU + GPU + ANE): much").is_err());
    }

    #[test]
    fn windows_counts_packages_and_memory_once() {
        let text = "\n\"(PDH-CSV 4.0)\",\"\\\\PC\\Energy Meter(rapl_package0_core0_core)\\Power\",\
                    \"\\\\PC\\Energy Meter(RAPL_Package0_PKG)\\Power\",\"\\\\PC\\Energy Meter(RAPL_Package0_DRAM)\\Power\",\
                    \"\\\\PC\\Energy Meter(_Total)\\Power\"\n\
                    \"11/22/2026 04:00:00.000\",\" \",\" \",\" \",\" \"\n\
                    \"11/22/2026 04:00:01.000\",\"7300.0\",\"15400.5\",\"1000.0\",\"23700.5\"\n";
        assert_eq!(all(Dialect::Typeperf, text), [16.4005]);
        let none = "\"(PDH-CSV 4.0)\",\"\\\\PC\\Energy Meter(_Total)\\Power\"";
        assert!(Listener::new(Dialect::Typeperf).line(none).is_err());
    }

    #[test]
    fn watts_are_numbers_with_or_without_their_unit() {
        assert_eq!(all(Dialect::Watts, "40\n 41.5 W \n\n0\n"), [40.0, 41.5, 0.0]);
        for bad in ["lots", "-3", "NaN", "inf", "4 kW"] {
            assert!(Listener::new(Dialect::Watts).line(bad).is_err(), "{bad}");
        }
    }
}
