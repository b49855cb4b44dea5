//! How far a tier's next-token distribution is from the reference tier's, as llama-perplexity defines it.
//!
//! Reference P, candidate Q, true token t. Fidelity orders and screens tiers; it never declares CLEARS.

use super::quantile::{Sorted, mean, variance};

/// Tokens with ln P below this are left out of the divergence, as in llama-perplexity.
pub const LN_P_FLOOR: f64 = -16.0;

/// What one position says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Position {
    /// Σ_v P(v)(ln P(v) - ln Q(v)) over v with ln P(v) > [`LN_P_FLOOR`], in nats.
    pub kl: f64,
    /// -ln P(t).
    pub nll_base: f64,
    /// -ln Q(t).
    pub nll_candidate: f64,
    /// Q(t) - P(t).
    pub dp: f64,
    /// Whether both prefer the same token; ties go to the lowest id.
    pub same_top: bool,
}

/// Compares two rows of logits over one vocabulary at a position whose true next token is `token`. `None` for rows of
/// different length, a token outside them, or logits that are not finite.
#[must_use]
pub fn compare_logits<L: Copy + Into<f64>>(base: &[L], candidate: &[L], token: usize) -> Option<Position> {
    if base.len() != candidate.len() || token >= base.len() {
        return None;
    }
    let (p, q) = (Row::of(base)?, Row::of(candidate)?);
    let mut kl = 0.0;
    for (&b, &c) in base.iter().zip(candidate) {
        let ln_p = b.into() - p.ln_total;
        if ln_p > LN_P_FLOOR {
            kl += ln_p.exp() * (ln_p - (c.into() - q.ln_total));
        }
    }
    let ln_p: f64 = base[token].into() - p.ln_total;
    let ln_q: f64 = candidate[token].into() - q.ln_total;
    Some(Position { kl, nll_base: -ln_p, nll_candidate: -ln_q, dp: ln_q.exp() - ln_p.exp(), same_top: p.top == q.top })
}

struct Row {
    ln_total: f64,
    top: usize,
}

impl Row {
    /// ln Σ exp and the first largest index, in f64 whatever the logits' type.
    fn of<L: Copy + Into<f64>>(logits: &[L]) -> Option<Self> {
        let (mut top, mut largest) = (0, f64::NEG_INFINITY);
        for (i, &logit) in logits.iter().enumerate() {
            let value: f64 = logit.into();
            if !value.is_finite() {
                return None;
            }
            if value > largest {
                (top, largest) = (i, value);
            }
        }
        let sum: f64 = logits.iter().map(|&l| (l.into() - largest).exp()).sum();
        Some(Self { ln_total: largest + sum.ln(), top })
    }
}

/// A value with its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WithError {
    /// The value.
    pub value: f64,
    /// Its standard error.
    pub error: f64,
}

/// Perplexity exp(mean NLL) with llama-perplexity's uncertainty PPL·√((mean NLL² - mean²)/(n - 1)). `None` for fewer than
/// two tokens.
#[must_use]
pub fn perplexity(nll: &[f64]) -> Option<WithError> {
    let value = mean(nll)?.exp();
    Some(WithError { value, error: value * error_of_mean(nll)? })
}

/// ln(PPL_Q/PPL_P) = mean(NLL_Q - NLL_P) with the error of the paired differences, far smaller than the unpaired one.
/// `None` for fewer than two tokens or unequal lengths.
#[must_use]
pub fn ln_perplexity_ratio(nll_candidate: &[f64], nll_base: &[f64]) -> Option<WithError> {
    if nll_candidate.len() != nll_base.len() {
        return None;
    }
    let differences: Vec<f64> = nll_candidate.iter().zip(nll_base).map(|(c, b)| c - b).collect();
    Some(WithError { value: mean(&differences)?, error: error_of_mean(&differences)? })
}

/// Bits per UTF-8 byte, Σ NLL/(ln 2 · bytes): comparable across tokenizers. `None` for no bytes.
#[must_use]
pub fn bits_per_byte(nll: &[f64], bytes: u64) -> Option<f64> {
    (bytes > 0).then(|| nll.iter().sum::<f64>() / (std::f64::consts::LN_2 * bytes as f64))
}

/// √((mean x² - mean²)/(n - 1)) = s/√n with the n - 1 variance.
fn error_of_mean(x: &[f64]) -> Option<f64> {
    Some((variance(x)? / x.len() as f64).sqrt())
}

/// All positions of a corpus, summed up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Positions scored.
    pub n: usize,
    /// Candidate's perplexity.
    pub ppl: WithError,
    /// Reference's perplexity.
    pub ppl_base: WithError,
    /// ln(PPL_Q/PPL_P), paired.
    pub ln_ratio: WithError,
    /// Mean divergence and its standard error over positions, nats.
    pub mean_kld: WithError,
    /// Median divergence.
    pub median_kld: f64,
    /// 99th percentile of the divergence (nearest rank).
    pub p99_kld: f64,
    /// Largest divergence.
    pub max_kld: f64,
    /// Share of positions with the same preferred token, and √(p(1-p)/n), in [0, 1].
    pub same_top: WithError,
    /// √(mean Δp²) in [0, 1].
    pub rms_dp: f64,
}

/// Sums up positions; `None` for fewer than two or a non-finite value.
#[must_use]
pub fn summarize(positions: &[Position]) -> Option<Summary> {
    let column = |f: fn(&Position) -> f64| positions.iter().map(f).collect::<Vec<f64>>();
    let (kl, candidate, base) = (column(|p| p.kl), column(|p| p.nll_candidate), column(|p| p.nll_base));
    let n = positions.len();
    let share = positions.iter().filter(|p| p.same_top).count() as f64 / n as f64;
    let sorted = Sorted::new(&kl)?;
    Some(Summary {
        n,
        ppl: perplexity(&candidate)?,
        ppl_base: perplexity(&base)?,
        ln_ratio: ln_perplexity_ratio(&candidate, &base)?,
        mean_kld: WithError { value: mean(&kl)?, error: error_of_mean(&kl)? },
        median_kld: sorted.median(),
        p99_kld: sorted.nearest_rank(0.99),
        max_kld: sorted.max(),
        same_top: WithError { value: share, error: (share * (1.0 - share) / n as f64).sqrt() },
        rms_dp: mean(&column(|p| p.dp * p.dp))?.sqrt(),
    })
}

/// Flips: share of items whose pass/fail differs from the reference tier's (Dutta et al., arXiv 2407.09141), which equal
/// accuracy hides. `None` for empty or unequal lists.
#[must_use]
pub fn flips(candidate: &[bool], reference: &[bool]) -> Option<f64> {
    if candidate.is_empty() || candidate.len() != reference.len() {
        return None;
    }
    let differing = candidate.iter().zip(reference).filter(|(c, r)| c != r).count();
    Some(differing as f64 / candidate.len() as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rows_that_cannot_be_compared_are_none() {
        assert_eq!(compare_logits(&[1.0f32, 2.0], &[1.0], 0), None);
        assert_eq!(compare_logits(&[1.0f32, 2.0], &[1.0, 2.0], 2), None);
        assert_eq!(compare_logits(&[1.0f32, f32::NAN], &[1.0, 2.0], 0), None);
        assert_eq!(summarize(&[]), None);
        assert_eq!(flips(&[], &[]), None);
        assert_eq!(bits_per_byte(&[1.0], 0), None);
    }

    #[test]
    fn a_tier_does_not_differ_from_itself() {
        let row = [0.3f32, -1.0, 2.5, 2.5];
        let p = compare_logits(&row, &row, 1).unwrap();
        assert_eq!((p.kl, p.dp, p.same_top, p.nll_base), (0.0, 0.0, true, p.nll_candidate));
        let s = summarize(&[p, p, p]).unwrap();
        assert_eq!((s.ln_ratio.value, s.ln_ratio.error, s.same_top.value, s.rms_dp), (0.0, 0.0, 1.0, 0.0));
    }

    proptest! {
        #[test]
        fn divergence_is_never_negative_and_ignores_a_shift(
            rows in prop::collection::vec((-5.0f64..5.0, -5.0f64..5.0), 2..40), shift in -100.0f64..100.0,
        ) {
            let base: Vec<f64> = rows.iter().map(|r| r.0).collect();
            let candidate: Vec<f64> = rows.iter().map(|r| r.1).collect();
            let shifted: Vec<f64> = candidate.iter().map(|c| c + shift).collect();
            let a = compare_logits(&base, &candidate, 0).unwrap();
            let b = compare_logits(&base, &shifted, 0).unwrap();
            prop_assert!(a.kl >= -1e-12);
            prop_assert!((a.kl - b.kl).abs() < 1e-9 && (a.nll_candidate - b.nll_candidate).abs() < 1e-9);
        }
    }
}
