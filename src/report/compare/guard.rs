//! Conditions on a comparison that fail a CI job.

use super::{Comparison, Lone, Shared};
use crate::report::{ReportError, one_line};

/// A condition on b / a, e.g. `tg128 < 0.95`.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    name: String,
    sign: Sign,
    limit: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    Below,
    AtMost,
    Above,
    AtLeast,
}

impl Sign {
    const ALL: [Self; 4] = [Self::Below, Self::AtMost, Self::Above, Self::AtLeast];

    const fn text(self) -> &'static str {
        match self {
            Self::Below => "<",
            Self::AtMost => "<=",
            Self::Above => ">",
            Self::AtLeast => ">=",
        }
    }

    const fn is_upper_end(self) -> bool {
        matches!(self, Self::Below | Self::AtMost)
    }

    fn holds(self, ratio: f64, limit: f64) -> bool {
        match self {
            Self::Below => ratio < limit,
            Self::AtMost => ratio <= limit,
            Self::Above => ratio > limit,
            Self::AtLeast => ratio >= limit,
        }
    }
}

impl std::str::FromStr for Threshold {
    type Err = ReportError;

    /// `NAME < RATIO`, `<=`, `>` or `>=`. NAME is a workload (`tg128 @ d4096`), `pass_rate`, `usd_per_1k_solved`,
    /// `j_per_token`, `usd_per_mtok_in`, `usd_per_mtok_out`, or a task's or workload's name before one of those.
    fn from_str(text: &str) -> Result<Self, ReportError> {
        let bad = || ReportError::BadThreshold { got: text.to_owned() };
        let is_sign = |c| matches!(c, '<' | '>' | '=' | '!');
        let (name, rest) = text.split_at(text.find(is_sign).ok_or_else(bad)?);
        let (sign, limit) = rest.split_at(rest.find(|c| !is_sign(c)).ok_or_else(bad)?);
        let sign = Sign::ALL.into_iter().find(|known| known.text() == sign).ok_or_else(bad)?;
        let limit: f64 = limit.trim().parse().ok().ok_or_else(bad)?;
        let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
        if name.is_empty() || !limit.is_finite() || limit <= 0.0 {
            return Err(bad());
        }
        Ok(Self { name, sign, limit })
    }
}

impl std::fmt::Display for Threshold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.name, self.sign.text(), self.limit)
    }
}

/// One way in which a comparison does not hold what a threshold guards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Violation<'a> {
    /// The ratio is beyond the limit.
    Crossed(&'a Shared),
    /// The first record has the quantity and the second has nothing to hold against it.
    Missing(&'a Lone),
}

impl std::fmt::Display for Violation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Crossed(shared) => {
                write!(f, "{}: {} is ", one_line(&shared.tier.0), one_line(&shared.name))?;
                match shared.point {
                    Some(point) => write!(f, "{point:.4} of A"),
                    None => write!(f, "{:.4} in B and 0 in A", shared.b),
                }
            }
            Self::Missing(lone) => {
                let [tier, name, why] = [&lone.tier.0, &lone.name, &lone.why].map(|text| one_line(text));
                write!(f, "{tier}: {name} is missing in B ({why})")
            }
        }
    }
}

impl Threshold {
    /// Everything that the threshold forbids: quantities of its name that cross it, and those the second record lacks.
    ///
    /// With `certain` a ratio counts only if its whole interval lies beyond the limit: noise of one run then fails no
    /// job, a real change needs more trials to be seen. A quantity without an interval counts by its value; one that is
    /// missing always counts.
    ///
    /// # Errors
    /// [`ReportError::NothingShared`] if the first record has nothing of that name, or nothing but what the second
    /// brought: a guard that guards nothing is an error, not a success.
    pub fn violations<'a>(&self, comparison: &'a Comparison, certain: bool) -> Result<Vec<Violation<'a>>, ReportError> {
        let shared: Vec<&Shared> = comparison.shared.iter().filter(|s| self.is_about(&s.name)).collect();
        let missing: Vec<&Lone> = comparison.missing.iter().filter(|s| self.is_about(&s.name)).collect();
        if shared.is_empty() && missing.is_empty() {
            let mut names: Vec<&str> = comparison.shared.iter().map(|shared| shared.name.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            let mut shared = if names.is_empty() { "nothing".to_owned() } else { one_line(&names.join(", ")) };
            if comparison.new.iter().any(|lone| self.is_about(&lone.name)) {
                shared.push_str("; only the second has it, so there is nothing to hold it against");
            }
            return Err(ReportError::NothingShared { name: one_line(&self.name), shared });
        }
        let crossed = shared.into_iter().filter(|shared| self.is_crossed(shared, certain)).map(Violation::Crossed);
        Ok(crossed.chain(missing.into_iter().map(Violation::Missing)).collect())
    }

    fn is_about(&self, name: &str) -> bool {
        name.strip_suffix(self.name.as_str()).is_some_and(|before| before.is_empty() || before.ends_with(' '))
    }

    fn is_crossed(&self, shared: &Shared, certain: bool) -> bool {
        let ratio = match shared.ratio.filter(|_| certain) {
            // No upper bound is known: the ratio may be anything above.
            Some(ratio) if self.sign.is_upper_end() => ratio.hi,
            Some(ratio) => Some(ratio.lo),
            // What was 0 cannot fall, and any rise from it is beyond every limit.
            None if shared.point.is_none() => (shared.b > 0.0).then_some(f64::INFINITY),
            None => shared.point,
        };
        ratio.is_some_and(|ratio| self.sign.holds(ratio, self.limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::TierKey;
    use crate::stats::ratio::Ratio;

    fn shared(name: &str, a: f64, b: f64) -> Shared {
        let point = Some(b / a).filter(|point| point.is_finite());
        let tier = TierKey("t".into());
        Shared { tier, name: name.into(), a, b, ratio: None, point, significant: false, items: None }
    }

    fn comparison(shared: Vec<Shared>) -> Comparison {
        Comparison {
            shared,
            missing: vec![],
            new: vec![],
            changed: vec![],
            only_a: vec![],
            only_b: vec![],
            doubts: vec![],
        }
    }

    #[test]
    fn thresholds_read_workloads_with_spaces_and_refuse_nonsense() {
        let t: Threshold = "tg128  @ d4096 <0.95".parse().unwrap();
        assert_eq!(t, Threshold { name: "tg128 @ d4096".into(), sign: Sign::Below, limit: 0.95 });
        assert_eq!("x >= 1.1".parse::<Threshold>().unwrap().to_string(), "x >= 1.1");
        for bad in ["", "tg128", "tg128 < ", "< 1", "tg128 < x", "tg128 < -1", "tg128 < inf"] {
            assert!(bad.parse::<Threshold>().is_err(), "{bad}");
        }
        for bad in ["tg128 =< 0.9", "tg128 => 0.9", "tg128 << 0.9", "tg128 <== 1", "tg128 != 1", "tg128 = 1", "a <> 1"]
        {
            let error = bad.parse::<Threshold>().unwrap_err().to_string();
            assert!(error.contains("<, <=, > or >=") && error.contains(bad), "{error}");
        }
    }

    #[test]
    fn a_guard_on_something_absent_is_an_error() {
        let comparison = comparison(vec![shared("tg128", 1.0, 0.9), shared("support_tickets pass_rate", 1.0, 1.0)]);
        let crossed = |text: &str| text.parse::<Threshold>().unwrap().violations(&comparison, false).map(|v| v.len());
        assert_eq!(crossed("tg128 < 0.95").unwrap(), 1);
        assert_eq!(crossed("tg128 < 0.85").unwrap(), 0);
        assert_eq!(crossed("pass_rate < 1.01").unwrap(), 1);
        assert_eq!([crossed("pass_rate < 1").unwrap(), crossed("pass_rate <= 1").unwrap()], [0, 1]);
        assert_eq!([crossed("pass_rate > 1").unwrap(), crossed("pass_rate >= 1").unwrap()], [0, 1]);
        assert!(crossed("pp512 < 0.95").unwrap_err().to_string().contains("tg128"));
        assert!(crossed("g128 < 0.95").is_err(), "a name is whole words");
    }

    #[test]
    fn what_is_missing_fails_every_guard_that_names_it() {
        let lone = Lone { tier: TierKey("t".into()), name: "tg128".into(), value: 1.0, why: "failed: oom".into() };
        let comparison = Comparison { missing: vec![lone], ..comparison(vec![shared("pp512", 1.0, 1.0)]) };
        for (text, certain) in [("tg128 < 0.95", false), ("tg128 > 1.05", true)] {
            let threshold: Threshold = text.parse().unwrap();
            let found = threshold.violations(&comparison, certain).unwrap();
            assert_eq!(
                found.iter().map(ToString::to_string).collect::<Vec<_>>(),
                ["t: tg128 is missing in B (failed: oom)"]
            );
        }
        assert!("pp512 < 0.95".parse::<Threshold>().unwrap().violations(&comparison, true).unwrap().is_empty());
    }

    #[test]
    fn a_guard_that_wants_certainty_ignores_what_noise_may_be() {
        let ratio = |lo, hi| Some(Ratio { value: Some(0.9), lo, hi, level: 0.95 });
        let with = |ratio| comparison(vec![Shared { ratio, ..shared("tg128", 1.0, 0.9) }]);
        let threshold: Threshold = "tg128 < 0.95".parse().unwrap();
        let count = |ratio| threshold.violations(&with(ratio), true).unwrap().len();
        let counts = [ratio(0.8, Some(0.99)), ratio(0.88, Some(0.92)), ratio(0.8, None), None].map(count);
        assert_eq!(counts, [0, 1, 0, 1]);
        assert_eq!(threshold.violations(&with(ratio(0.8, Some(0.99))), false).unwrap().len(), 1);
    }

    #[test]
    fn what_was_nothing_can_rise_but_not_fall() {
        let crossed = |text: &str, b: f64| {
            let comparison = comparison(vec![shared("pass_rate", 0.0, b)]);
            text.parse::<Threshold>().unwrap().violations(&comparison, false).unwrap().len()
        };
        assert_eq!([crossed("pass_rate < 0.98", 0.0), crossed("pass_rate < 0.98", 0.4)], [0, 0]);
        assert_eq!([crossed("pass_rate > 1.10", 0.0), crossed("pass_rate > 1.10", 0.4)], [0, 1]);
    }
}
