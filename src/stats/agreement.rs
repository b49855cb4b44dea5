//! Agreement of labels, and how well a confidence signal ranks right above wrong answers.

/// Cohen's kappa, (p_o - p_e)/(1 - p_e), of a square table of counts (`table[i][j]`: first rater i, second rater j), with
/// p_e the sum of products of the margins. `None` for an empty or ragged table, or when p_e = 1.
#[must_use]
pub fn cohen_kappa(table: &[Vec<u64>]) -> Option<f64> {
    let k = table.len();
    if table.iter().any(|row| row.len() != k) {
        return None;
    }
    let total = table.iter().flatten().sum::<u64>();
    if total == 0 {
        return None;
    }
    let n = total as f64;
    let observed = (0..k).map(|i| table[i][i]).sum::<u64>() as f64 / n;
    let expected: f64 = (0..k)
        .map(|i| {
            let row = table[i].iter().sum::<u64>() as f64 / n;
            let column = table.iter().map(|r| r[i]).sum::<u64>() as f64 / n;
            row * column
        })
        .sum();
    (expected < 1.0).then(|| (observed - expected) / (1.0 - expected))
}

/// Macro-averaged F1 over the classes that occur in either list, 2·tp/(2·tp + fp + fn) each, as scikit-learn averages.
/// `None` for empty or unequal lists.
#[must_use]
pub fn macro_f1<L: Ord>(gold: &[L], predicted: &[L]) -> Option<f64> {
    if gold.is_empty() || gold.len() != predicted.len() {
        return None;
    }
    // (true positives, mentions in gold + mentions in predicted) = (tp, 2 tp + fp + fn).
    let mut classes: std::collections::BTreeMap<&L, (u64, u64)> = std::collections::BTreeMap::new();
    for (g, p) in gold.iter().zip(predicted) {
        classes.entry(g).or_default().1 += 1;
        let entry = classes.entry(p).or_default();
        entry.1 += 1;
        entry.0 += u64::from(g == p);
    }
    let sum: f64 = classes.values().map(|&(tp, mentions)| 2.0 * tp as f64 / mentions as f64).sum();
    Some(sum / classes.len() as f64)
}

/// Area under the ROC curve of a signal for a binary outcome: the share of (pass, fail) pairs in which the pass has the
/// higher signal, ties counting half. `None` for unequal lengths, a NaN, or only one outcome.
#[must_use]
pub fn auroc(signal: &[f64], outcome: &[bool]) -> Option<f64> {
    if signal.len() != outcome.len() || signal.iter().any(|g| g.is_nan()) {
        return None;
    }
    let mut order: Vec<(f64, bool)> = signal.iter().copied().zip(outcome.iter().copied()).collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut fails_below, mut won, mut passes) = (0.0, 0.0, 0.0);
    for tied in order.chunk_by(|a, b| a.0 == b.0) {
        let p = tied.iter().filter(|item| item.1).count() as f64;
        let f = tied.len() as f64 - p;
        won += p * (fails_below + 0.5 * f);
        fails_below += f;
        passes += p;
    }
    (passes > 0.0 && fails_below > 0.0).then(|| won / (passes * fails_below))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn undefined_agreement_is_none() {
        assert_eq!(cohen_kappa(&[]), None);
        assert_eq!(cohen_kappa(&[vec![1, 2], vec![3]]), None);
        assert_eq!(cohen_kappa(&[vec![7, 0], vec![0, 0]]), None); // p_e = 1
        assert_eq!(macro_f1::<u8>(&[], &[]), None);
        assert_eq!(auroc(&[0.1, 0.2], &[true, true]), None);
    }

    #[test]
    fn macro_f1_of_a_hand_computed_list() {
        // a: tp 1, fp 1, fn 1 -> 1/2; b: tp 1, fp 1, fn 1 -> 1/2; c: tp 1 -> 1.
        let f1 = macro_f1(&["a", "a", "b", "b", "c"], &["a", "b", "b", "a", "c"]).unwrap();
        assert!((f1 - 2.0 / 3.0).abs() < 1e-15);
    }

    #[test]
    fn a_constant_signal_ranks_like_a_coin() {
        assert_eq!(auroc(&[0.5; 4], &[true, false, true, false]), Some(0.5));
    }

    proptest! {
        #[test]
        fn reversing_the_signal_mirrors_the_area(items in prop::collection::vec((0u8..6, any::<bool>()), 2..40)) {
            let signal: Vec<f64> = items.iter().map(|i| f64::from(i.0)).collect();
            let reversed: Vec<f64> = signal.iter().map(|g| -g).collect();
            let outcome: Vec<bool> = items.iter().map(|i| i.1).collect();
            match (auroc(&signal, &outcome), auroc(&reversed, &outcome)) {
                (Some(a), Some(b)) => prop_assert!((a + b - 1.0).abs() < 1e-12),
                (a, b) => prop_assert_eq!(a, b),
            }
        }
    }
}
