//! Exact behaviour of sequential pass/fail rules: stopping boundaries, error rates, mean items, the final look.
//!
//! Everything is by dynamic programming over (items, passes), not simulation. The rules of peers are here to be compared
//! with and to be quoted in the methodology; the tool decides by [`Rule::Mixture`].

use super::distribution::ln_beta;
use super::eprocess::{self, Bar};
use super::suite;

/// What a rule says after some items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Not decided: the next item.
    Continue,
    /// The bar is cleared.
    Clears,
    /// The bar is missed.
    Fails,
}

/// A sequential rule for "is the pass rate above the bar?", looked at after every item.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// One-sided mixtures: CLEARS when E⁺ against `clear` is at least `e_clear`, FAILS when E⁻ against `fail` is at least
    /// `e_fail`. Without a margin both bars are the same.
    Mixture {
        /// Bar whose "at most" is to be rejected.
        clear: Bar,
        /// Bar whose "at least" is to be rejected.
        fail: Bar,
        /// 1/α, or K/α over K tiers.
        e_clear: f64,
        /// 1/β.
        e_fail: f64,
    },
    /// The same for a finite suite without replacement.
    Suite {
        /// Items in the suite.
        items: u64,
        /// The bar.
        bar: Bar,
        /// 1/α or K/α.
        e_clear: f64,
        /// 1/β.
        e_fail: f64,
    },
    /// Two-sided mixture of Ding, Gandy and Hahn (arXiv 1611.01675): ln[B(1+s, 1+f)/(q^s (1-q)^f)].
    Csm {
        /// The bar.
        bar: Bar,
        /// 1/α.
        e_clear: f64,
        /// 1/β.
        e_fail: f64,
    },
    /// Wald's sequential probability ratio test of p0 against p1. Its guarantee holds only outside (p0, p1).
    Sprt(Sprt),
    /// s/n ∓ √(ln(n(n+1)/α)/2n) against the bar (β for FAILS).
    Hoeffding {
        /// The bar.
        bar: Bar,
        /// Error of CLEARS.
        alpha: f64,
        /// Error of FAILS.
        beta: f64,
    },
}

/// Constants of Wald's test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sprt {
    /// Accept p1 at ln((1-β)/α).
    pub accept: f64,
    /// Accept p0 at ln(β/(1-α)).
    pub reject: f64,
    /// A pass adds ln(p1/p0).
    pub step_pass: f64,
    /// A fail adds ln((1-p1)/(1-p0)).
    pub step_fail: f64,
}

impl Sprt {
    /// The test of p0 against p1 with errors α and β.
    #[must_use]
    pub fn new(p0: Bar, p1: Bar, alpha: f64, beta: f64) -> Self {
        let (p0, p1) = (p0.get(), p1.get());
        Self {
            accept: ((1.0 - beta) / alpha).ln(),
            reject: (beta / (1.0 - alpha)).ln(),
            step_pass: (p1 / p0).ln(),
            step_fail: ((1.0 - p1) / (1.0 - p0)).ln(),
        }
    }
}

impl Rule {
    /// What the rule says after `passes` and `fails`.
    #[must_use]
    pub fn look(&self, passes: u64, fails: u64) -> Look {
        let n = passes + fails;
        let (s, f) = (passes as f64, fails as f64);
        let evidence = |plus: f64, minus: f64, e_clear: f64, e_fail: f64| {
            if plus >= e_clear.ln() {
                Look::Clears
            } else if minus >= e_fail.ln() {
                Look::Fails
            } else {
                Look::Continue
            }
        };
        match *self {
            Self::Mixture { clear, fail, e_clear, e_fail } => {
                let plus = eprocess::ln_e_plus(passes, fails, clear);
                evidence(plus, eprocess::ln_e_minus(passes, fails, fail), e_clear, e_fail)
            }
            Self::Suite { items, bar, e_clear, e_fail } => {
                match (suite::ln_e_plus(items, n, passes, bar), suite::ln_e_minus(items, n, passes, bar)) {
                    (Some(plus), Some(minus)) => evidence(plus, minus, e_clear, e_fail),
                    _ => Look::Continue,
                }
            }
            Self::Csm { bar, e_clear, e_fail } => {
                let q = bar.get();
                let two_sided = ln_beta(1.0 + s, 1.0 + f) - s * q.ln() - f * (-q).ln_1p();
                let above = s > q * n as f64;
                let on = |side: bool| if side { two_sided } else { f64::NEG_INFINITY };
                evidence(on(above), on(s < q * n as f64), e_clear, e_fail)
            }
            Self::Sprt(test) => {
                let sum = s * test.step_pass + f * test.step_fail;
                if sum >= test.accept {
                    Look::Clears
                } else if sum <= test.reject {
                    Look::Fails
                } else {
                    Look::Continue
                }
            }
            Self::Hoeffding { bar, alpha, beta } => {
                let n = n as f64;
                let radius = |error: f64| ((n * (n + 1.0) / error).ln() / (2.0 * n)).sqrt();
                if s / n - radius(alpha) >= bar.get() {
                    Look::Clears
                } else if s / n + radius(beta) <= bar.get() {
                    Look::Fails
                } else {
                    Look::Continue
                }
            }
        }
    }
}

/// A rule written down as counts: after n items it clears at so many passes and fails at so many fails. Both grow with n,
/// so finding them costs O(cap) looks instead of O(cap²).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boundaries {
    clear: Vec<u64>,
    fail: Vec<u64>,
}

impl Boundaries {
    /// Boundaries of `rule` for 1..=cap items, without FAILS before `min_items` (CLEARS is not delayed).
    #[must_use]
    pub fn of(rule: &Rule, cap: u64, min_items: u64) -> Self {
        let (mut clear, mut fail) = (vec![u64::MAX], vec![u64::MAX]);
        let (mut passes, mut fails) = (0, 0);
        for n in 1..=cap {
            while passes <= n && rule.look(passes, n - passes) != Look::Clears {
                passes += 1;
            }
            while fails <= n && rule.look(n - fails, fails) != Look::Fails {
                fails += 1;
            }
            clear.push(if passes <= n { passes } else { u64::MAX });
            fail.push(if fails <= n && n >= min_items { fails } else { u64::MAX });
        }
        Self { clear, fail }
    }

    /// Largest number of items the boundaries reach.
    #[must_use]
    pub fn cap(&self) -> u64 {
        self.clear.len() as u64 - 1
    }

    /// What the rule says after `passes` of `n` items; `Continue` beyond the cap.
    #[must_use]
    pub fn look(&self, passes: u64, n: u64) -> Look {
        let at = usize::try_from(n).unwrap_or(usize::MAX);
        match (self.clear.get(at), self.fail.get(at)) {
            (Some(&clear), _) if passes >= clear => Look::Clears,
            (_, Some(&fail)) if n.saturating_sub(passes) >= fail => Look::Fails,
            _ => Look::Continue,
        }
    }

    /// Exact probabilities when item n + 1 passes with probability `pass(n, passes)`. At the cap, `final_passes` or more
    /// passes also clear.
    #[must_use]
    pub fn operate(&self, pass: impl Fn(u64, u64) -> f64, final_passes: Option<u64>) -> Operation {
        let (mut sum, alive) = self.run(pass);
        if let Some(needed) = final_passes {
            let cleared = at_least(needed, &alive);
            sum.p_clears += cleared;
            sum.p_undecided -= cleared;
        }
        sum
    }

    /// The same without a final look, and the probability of every number of passes among the runs still undecided at
    /// the cap.
    fn run(&self, pass: impl Fn(u64, u64) -> f64) -> (Operation, Vec<f64>) {
        let cap = self.cap();
        // alive[s] = P(not decided after n items, s passes).
        let mut alive = vec![0.0; self.clear.len() + 1];
        alive[0] = 1.0;
        let mut sum = Operation { p_clears: 0.0, p_fails: 0.0, p_undecided: 0.0, mean_items: 0.0 };
        for n in 1..=cap {
            let mut left = 0.0;
            // Downwards, so that alive[s - 1] still belongs to n - 1 items.
            for s in (0..=n).rev() {
                let at = s as usize;
                let from_pass = if s > 0 && alive[at - 1] > 0.0 { alive[at - 1] * pass(n - 1, s - 1) } else { 0.0 };
                let from_fail = if alive[at] > 0.0 { alive[at] * (1.0 - pass(n - 1, s)) } else { 0.0 };
                let here = from_pass + from_fail;
                alive[at] = 0.0;
                match self.look(s, n) {
                    Look::Clears => sum.p_clears += here,
                    Look::Fails => sum.p_fails += here,
                    Look::Continue => {
                        alive[at] = here;
                        left += here;
                        continue;
                    }
                }
                sum.mean_items += n as f64 * here;
            }
            if n == cap {
                sum.mean_items += n as f64 * left;
                sum.p_undecided = left;
            } else if left == 0.0 {
                break;
            }
        }
        (sum, alive)
    }
}

/// P(at least so many passes and undecided at the cap).
fn at_least(passes: u64, alive: &[f64]) -> f64 {
    alive.iter().enumerate().filter(|&(s, _)| s as u64 >= passes).map(|(_, p)| p).sum()
}

/// Operating characteristic of a rule at one true pass rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Operation {
    /// P(CLEARS).
    pub p_clears: f64,
    /// P(FAILS).
    pub p_fails: f64,
    /// P(neither by the cap).
    pub p_undecided: f64,
    /// Mean items until a decision or the cap.
    pub mean_items: f64,
}

/// The exact last look at a number of items fixed in advance: what is left of α after the e-process has been looked at
/// all the way is spent on one binomial test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FinalLook {
    /// P(E⁺ crossed at or before N) at p = q.
    pub spent: f64,
    /// Fewest passes at N that also clear; `None` if even N passes would overspend.
    pub passes: Option<u64>,
    /// Total probability of a wrong CLEARS at p = q, at most α.
    pub total: f64,
}

/// Computes the final look: the smallest s with spent + P(alive, S_N ≥ s) ≤ `alpha`, where the e-process clears at
/// `e_clear` (1/α, or K/α with `alpha` = α/K). FAILS stops are ignored, so it is conservative. O(N²).
#[must_use]
pub fn final_look(n_max: u64, bar: Bar, alpha: f64, e_clear: f64) -> FinalLook {
    let clears_only = Rule::Mixture { clear: bar, fail: bar, e_clear, e_fail: f64::INFINITY };
    let boundaries = Boundaries::of(&clears_only, n_max, 0);
    let q = bar.get();
    // One pass of the programme: a final look only adds to it.
    let (operation, alive) = boundaries.run(|_, _| q);
    let spent = operation.p_clears;
    let at_bar = |needed: u64| spent + at_least(needed, &alive);
    // P(clears) falls with the passes needed.
    let (mut low, mut high) = (0, n_max + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        if at_bar(middle) <= alpha {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    let passes = (low <= n_max && spent <= alpha).then_some(low);
    FinalLook { spent, passes, total: passes.map_or(spent, at_bar) }
}

/// Items after which a run of nothing but passes clears; `None` if that takes more than `cap`.
#[must_use]
pub fn first_clear_all_pass(bar: Bar, e_clear: f64, cap: u64) -> Option<u64> {
    (1..=cap).find(|&n| eprocess::ln_e_plus(n, 0, bar) >= e_clear.ln())
}

/// Radius of Maurer and Pontil's empirical Bernstein bound, √(2 V ln(2/δ)/n) + 7 ln(2/δ)/(3(n-1)), V the n - 1 variance
/// of scores in [0, 1]. `None` for fewer than two scores or δ outside (0, 1).
#[must_use]
pub fn empirical_bernstein_radius(scores: &[f64], delta: f64) -> Option<f64> {
    let variance = super::quantile::variance(scores)?;
    let n = scores.len() as f64;
    (delta > 0.0 && delta < 1.0)
        .then(|| (2.0 * variance * (2.0 / delta).ln() / n).sqrt() + 7.0 * (2.0 / delta).ln() / (3.0 * (n - 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixture(q: f64) -> Rule {
        let bar = Bar::new(q).unwrap();
        Rule::Mixture { clear: bar, fail: bar, e_clear: 20.0, e_fail: 10.0 }
    }

    #[test]
    fn boundaries_say_what_the_rule_says() {
        let bar = Bar::new(0.7).unwrap();
        let rules = [
            mixture(0.8),
            Rule::Suite { items: 60, bar, e_clear: 20.0, e_fail: 10.0 },
            Rule::Csm { bar, e_clear: 20.0, e_fail: 10.0 },
            Rule::Sprt(Sprt::new(Bar::new(0.65).unwrap(), Bar::new(0.75).unwrap(), 0.05, 0.1)),
            Rule::Hoeffding { bar, alpha: 0.05, beta: 0.1 },
        ];
        for rule in rules {
            let boundaries = Boundaries::of(&rule, 60, 0);
            for n in 1..=60 {
                for s in 0..=n {
                    assert_eq!(boundaries.look(s, n), rule.look(s, n - s), "{rule:?} {s}/{n}");
                }
            }
        }
    }

    #[test]
    fn the_guard_delays_fails_only() {
        let boundaries = Boundaries::of(&mixture(0.5), 30, 10);
        assert_eq!(boundaries.look(0, 9), Look::Continue);
        assert_eq!(boundaries.look(0, 10), Look::Fails);
        assert_eq!(boundaries.look(8, 8), Look::Clears);
        assert_eq!(boundaries.look(0, 31), Look::Continue);
    }

    #[test]
    fn probabilities_add_to_one() {
        let o = Boundaries::of(&mixture(0.8), 150, 10).operate(|_, _| 0.8, Some(125));
        assert!((o.p_clears + o.p_fails + o.p_undecided - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_final_look_never_overspends() {
        for (n, q) in [(20, 0.5), (50, 0.9), (10, 0.95), (120, 0.7)] {
            let look = final_look(n, Bar::new(q).unwrap(), 0.05, 20.0);
            assert!(look.total <= 0.05 && look.spent <= look.total, "{look:?}");
        }
        // Ten passes in ten are no evidence against 95 %.
        assert_eq!(final_look(10, Bar::new(0.95).unwrap(), 0.05, 20.0).passes, None);
    }
}
