//! Quantiles of the normal and Student's t distribution, and the incomplete beta function on the log scale, where the one
//! at hand underflows.

use statrs::function::erf::erfc_inv;

/// ln Γ(x) for x > 0: Stirling's series where it is exact to the last digits, reached by Γ(x + 1) = x Γ(x). The Lanczos
/// sum of `statrs` is good to 1e-11 only, which a tail probability of many items multiplies.
fn ln_gamma(x: f64) -> f64 {
    // From here on the series' first neglected term is below 1e-17.
    const FROM: f64 = 16.0;
    // B_2k/(2k(2k - 1)) of the asymptotic series, k = 1…7 (DLMF 5.11.1).
    const SERIES: [f64; 7] =
        [1.0 / 12.0, -1.0 / 360.0, 1.0 / 1260.0, -1.0 / 1680.0, 1.0 / 1188.0, -691.0 / 360_360.0, 1.0 / 156.0];
    let (mut z, mut product) = (x, 1.0);
    while z < FROM {
        product *= z;
        z += 1.0;
    }
    let inverse_square = 1.0 / (z * z);
    let series = SERIES.iter().rev().fold(0.0, |sum, term| sum * inverse_square + term) / z;
    (z - 0.5) * z.ln() - z + 0.5 * std::f64::consts::TAU.ln() + series - product.ln()
}

/// ln B(a, b) = ln Γ(a) + ln Γ(b) - ln Γ(a + b), for a, b > 0.
pub(crate) fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

/// ln of the binomial coefficient C(n, k), -inf where it is 0.
pub(crate) fn ln_choose(n: u64, k: u64) -> f64 {
    if k > n {
        return f64::NEG_INFINITY;
    }
    let (n, k) = (n as f64, k as f64);
    ln_gamma(n + 1.0) - ln_gamma(k + 1.0) - ln_gamma(n - k + 1.0)
}

/// ln I_x(a, b), the regularized incomplete beta function for a, b > 0 and x in [0, 1].
///
/// Both tails keep their relative precision: far below the mean the continued fraction is exact on the log scale, and
/// above it the complement is the small number. `1 - I_x(a, b)` is `I_{1-x}(b, a)`; never subtract.
pub(crate) fn ln_beta_inc(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return f64::NEG_INFINITY;
    }
    if x >= 1.0 {
        return 0.0;
    }
    if x < (a + 1.0) / (a + b + 2.0) { ln_lower(a, b, x) } else { (-ln_lower(b, a, 1.0 - x).exp()).ln_1p() }
}

/// I_x(a, b).
pub(crate) fn beta_inc(a: f64, b: f64, x: f64) -> f64 {
    ln_beta_inc(a, b, x).exp()
}

/// ln I_x(a, b) by the continued fraction of DLMF 8.17.22, which converges fast for x < (a + 1)/(a + b + 2).
fn ln_lower(a: f64, b: f64, x: f64) -> f64 {
    let front = a * x.ln() + b * (-x).ln_1p() - a.ln() - ln_beta(a, b);
    front + continued_fraction(a, b, x).ln()
}

/// Lentz's method. It needs O(√max(a, b)) steps, so the limit is beyond any number of items a run can hold.
fn continued_fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    const MAX_STEPS: u32 = 100_000;
    let away_from_zero = |v: f64| if v.abs() < TINY { TINY } else { v };
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut h = d;
    for step in 1..=MAX_STEPS {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away_from_zero(1.0 + even * d);
        c = away_from_zero(1.0 + even / c);
        h *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away_from_zero(1.0 + odd * d);
        c = away_from_zero(1.0 + odd / c);
        let factor = d * c;
        h *= factor;
        if (factor - 1.0).abs() < 4.0 * f64::EPSILON {
            break;
        }
    }
    h
}

/// x with I_x(a, b) = p, by bisection down to neighbouring floats.
pub(crate) fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    bisect(0.0, 1.0, |x| beta_inc(a, b, x) < p)
}

/// The point where `below` turns from true to false on [lo, hi], to the last bit or 200 halvings.
pub(crate) fn bisect(mut lo: f64, mut hi: f64, below: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..200 {
        let middle = lo + 0.5 * (hi - lo);
        if middle <= lo || middle >= hi {
            break;
        }
        if below(middle) {
            lo = middle;
        } else {
            hi = middle;
        }
    }
    lo + 0.5 * (hi - lo)
}

/// Quantile of the standard normal distribution: `normal_quantile(0.975)` = 1.95996…; `None` for p outside (0, 1).
#[must_use]
pub fn normal_quantile(p: f64) -> Option<f64> {
    (p > 0.0 && p < 1.0).then(|| -std::f64::consts::SQRT_2 * erfc_inv(2.0 * p))
}

/// Quantile of Student's t distribution with `df` degrees of freedom, from P(|T| > t) = I_{df/(df + t²)}(df/2, 1/2).
/// `None` for p outside (0, 1) or df not positive.
#[must_use]
pub fn student_quantile(p: f64, df: f64) -> Option<f64> {
    if !(p > 0.0 && p < 1.0 && df > 0.0 && df.is_finite()) {
        return None;
    }
    let two_sided = 2.0 * p.min(1.0 - p);
    if two_sided >= 1.0 {
        return Some(0.0);
    }
    let x = beta_quantile(two_sided, 0.5 * df, 0.5);
    let t = (df * (1.0 - x) / x).sqrt();
    Some(if p < 0.5 { -t } else { t })
}

/// ln Σ exp(x), without overflow; -inf for no terms.
pub(crate) fn ln_sum_exp(terms: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = terms.clone().fold(f64::NEG_INFINITY, f64::max);
    if largest.is_infinite() {
        return largest;
    }
    largest + terms.map(|t| (t - largest).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn close(got: f64, want: f64, rel: f64) {
        assert!((got - want).abs() <= rel * want.abs(), "got {got}, want {want}");
    }

    #[test]
    fn ln_gamma_of_known_values() {
        close(ln_gamma(0.5), 0.5 * std::f64::consts::PI.ln(), 1e-14);
        close(ln_gamma(11.0), 3_628_800.0f64.ln(), 1e-15);
        close(ln_gamma(171.0), (1..=170).map(|k| f64::from(k).ln()).sum(), 1e-14);
        assert!(ln_gamma(1.0).abs() < 2e-14 && ln_gamma(2.0).abs() < 2e-14);
    }

    #[test]
    fn incomplete_beta_of_known_values() {
        // I_x(1, b) = 1 - (1 - x)^b and I_x(a, 1) = x^a.
        close(beta_inc(1.0, 5.0, 0.3), 1.0 - 0.7f64.powi(5), 1e-14);
        close(beta_inc(4.0, 1.0, 0.3), 0.3f64.powi(4), 1e-14);
        close(beta_inc(2.0, 3.0, 0.5), 0.6875, 1e-14);
    }

    #[test]
    fn the_log_scale_reaches_below_the_smallest_float() {
        // I_x(a, 1) = x^a = 1e-400 underflows; its logarithm does not.
        close(ln_beta_inc(400.0, 1.0, 0.1), 400.0 * 0.1f64.ln(), 1e-13);
    }

    #[test]
    fn quantiles_of_the_tables() {
        close(normal_quantile(0.975).unwrap(), 1.959963984540054, 1e-13);
        close(student_quantile(0.975, 4.0).unwrap(), 2.7764451051977987, 1e-11);
        // Two degrees of freedom have a closed form: t = (2p - 1)·√(2/(4p(1 - p))).
        let exact = 0.95 * (2.0f64 / 0.0975).sqrt();
        close(student_quantile(0.975, 2.0).unwrap(), exact, 1e-13);
        close(student_quantile(0.025, 2.0).unwrap(), -exact, 1e-13);
        assert_eq!(student_quantile(0.5, 3.0), Some(0.0));
        assert_eq!(student_quantile(0.975, 0.0), None);
        assert_eq!(normal_quantile(1.0), None);
    }

    proptest! {
        #[test]
        fn the_two_tails_add_to_one(a in 0.5f64..300.0, b in 0.5f64..300.0, x in 0.001f64..0.999) {
            let sum = beta_inc(a, b, x) + beta_inc(b, a, 1.0 - x);
            prop_assert!((sum - 1.0).abs() < 1e-10, "{}", sum);
        }

        #[test]
        fn the_quantile_inverts_the_integral(a in 0.5f64..100.0, b in 0.5f64..100.0, p in 0.001f64..0.999) {
            let x = beta_quantile(p, a, b);
            prop_assert!((beta_inc(a, b, x) - p).abs() < 1e-9);
        }
    }
}
