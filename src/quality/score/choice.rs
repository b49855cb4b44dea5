//! Multiple choice: the most likely choice is the answer.

use crate::quality::task::Normalize;

/// Log-likelihoods made comparable: nats, per character or per byte of the choice without its delimiter, or minus the
/// likelihood after an item that says nothing.
///
/// Source: lm-evaluation-harness `api/task.py`, `process_results` of `ConfigurableTask`.
fn normalized(normalize: Normalize, choices: &[String], logprobs: &[f64], content_free: &[f64]) -> Vec<f64> {
    let per = |length: fn(&str) -> usize| {
        choices.iter().zip(logprobs).map(|(text, lp)| lp / length(text).max(1) as f64).collect()
    };
    match normalize {
        Normalize::None => logprobs.to_vec(),
        Normalize::Char => per(|text| text.chars().count()),
        Normalize::Byte => per(str::len),
        Normalize::Contextual => logprobs.iter().zip(content_free).map(|(lp, free)| lp - free).collect(),
    }
}

/// Index of the best choice; ties go to the first. `None` without choices.
///
/// `content_free` holds the choices' log-likelihoods after the content-free item; only [`Normalize::Contextual`] reads it.
#[must_use]
pub fn pick(normalize: Normalize, choices: &[String], logprobs: &[f64], content_free: &[f64]) -> Option<usize> {
    let values = normalized(normalize, choices, logprobs, content_free);
    let mut best: Option<usize> = None;
    for (i, value) in values.iter().enumerate() {
        if best.is_none_or(|b| *value > values[b]) {
            best = Some(i);
        }
    }
    best
}

/// Lead of the best choice over the second best, nats; `None` with fewer than two choices.
#[must_use]
pub fn confidence(normalize: Normalize, choices: &[String], logprobs: &[f64], content_free: &[f64]) -> Option<f64> {
    let mut values = normalized(normalize, choices, logprobs, content_free);
    values.sort_by(|a, b| b.total_cmp(a));
    match values[..] {
        [first, second, ..] => Some(first - second),
        _ => None,
    }
}

/// Index of the choice a text names first, as a word of its own and whatever its case; the longest of those that begin at
/// the same place. `None` if it names none.
#[must_use]
pub fn mentioned(choices: &[String], text: &str) -> Option<usize> {
    let text = text.to_lowercase();
    let word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let place = |choice: &str| {
        let choice = choice.trim().to_lowercase();
        let whole = |&(at, found): &(usize, &str)| {
            !word(text[..at].chars().next_back()) && !word(text[at + found.len()..].chars().next())
        };
        text.match_indices(choice.as_str()).find(whole).map(|(at, _)| (at, std::cmp::Reverse(choice.len())))
    };
    choices.iter().enumerate().filter_map(|(i, choice)| Some((place(choice)?, i))).min().map(|(_, i)| i)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_named_first_is_the_answer() {
        let choices = ["bill", "billing", "account"].map(String::from);
        assert_eq!(mentioned(&choices, " Billing."), Some(1));
        assert_eq!(mentioned(&choices, "It is the ACCOUNT, not billing"), Some(2));
        assert_eq!(mentioned(&choices, "rebilling accounts"), None);
        assert_eq!(mentioned(&choices, ""), None);
        assert_eq!(mentioned(&["no".into(), "no refund".into()], "No refund"), Some(1));
    }

    fn choices() -> Vec<String> {
        ["no", "ünsure"].map(String::from).to_vec()
    }

    #[test]
    fn each_normalization_divides_by_its_own_length() {
        // Totals -3 and -8; per character -1.5 and -1.333; per byte -1.5 and -1.143; minus content-free -1 and -2.
        let (lp, free) = ([-3.0, -8.0], [-2.0, -6.0]);
        let picked = |normalize| pick(normalize, &choices(), &lp, &free);
        assert_eq!(picked(Normalize::None), Some(0));
        assert_eq!(picked(Normalize::Char), Some(1));
        assert_eq!(picked(Normalize::Byte), Some(1));
        assert_eq!(picked(Normalize::Contextual), Some(0));
        assert_eq!(confidence(Normalize::Contextual, &choices(), &lp, &free), Some(1.0));
        assert_eq!(normalized(Normalize::Byte, &choices(), &lp, &free)[1], -8.0 / 7.0);
    }

    #[test]
    fn ties_go_to_the_first() {
        assert_eq!(pick(Normalize::None, &choices(), &[-1.0, -1.0], &[]), Some(0));
        assert_eq!(pick(Normalize::None, &[], &[], &[]), None);
    }
}
