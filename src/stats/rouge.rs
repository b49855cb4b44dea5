//! ROUGE-L: overlap of two texts by their longest common subsequence of words.

/// Precision, recall and F1 of a longest common subsequence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Overlap {
    /// LCS / words of the prediction.
    pub precision: f64,
    /// LCS / words of the reference.
    pub recall: f64,
    /// 2PR/(P + R), 0 when nothing is shared.
    pub f1: f64,
}

/// ROUGE-L of a prediction against a reference, over lower-cased runs of letters and digits, without stemming. `None`
/// when either text has no word.
#[must_use]
pub fn rouge_l(reference: &str, prediction: &str) -> Option<Overlap> {
    let (reference, prediction) = (words(reference), words(prediction));
    if reference.is_empty() || prediction.is_empty() {
        return None;
    }
    let shared = common_subsequence(&reference, &prediction) as f64;
    let (precision, recall) = (shared / prediction.len() as f64, shared / reference.len() as f64);
    let f1 = if shared > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 };
    Some(Overlap { precision, recall, f1 })
}

fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_lowercase).collect()
}

/// Length of the longest common subsequence, O(a·b) time and O(b) memory.
#[must_use]
pub fn common_subsequence<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for x in a {
        let mut diagonal = 0;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if x == y { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_overlaps_itself_whatever_case_and_punctuation() {
        let o = rouge_l("Refund, please!", "refund please").unwrap();
        assert_eq!((o.precision, o.recall, o.f1), (1.0, 1.0, 1.0));
        assert_eq!(rouge_l("...", "refund"), None);
        assert_eq!(rouge_l("one", "two").unwrap().f1, 0.0);
    }

    proptest! {
        #[test]
        fn the_subsequence_is_symmetric_and_bounded(a in prop::collection::vec(0u8..4, 0..20), b in prop::collection::vec(0u8..4, 0..20)) {
            let n = common_subsequence(&a, &b);
            prop_assert_eq!(n, common_subsequence(&b, &a));
            prop_assert!(n <= a.len().min(b.len()));
        }
    }
}
