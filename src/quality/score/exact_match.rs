//! Exact match with lm-eval's normalizations.
//!
//! Order as in `lm_eval/api/metrics.py::exact_match_hf_evaluate`: `regexes_to_ignore` are removed from both sides, then
//! case, then punctuation, then digits.

use fancy_regex::Regex;

use super::Score;
use crate::quality::QualityError;
use crate::quality::filter::compile;
use crate::quality::task::wire::WireMetric;

/// Python's `string.punctuation`.
const PUNCTUATION: &str = r##"!"#$%&'()*+,-./:;<=>?@[\]^_`{|}~"##;

/// Compares after normalizing both sides.
#[derive(Clone, Debug, Default)]
pub struct ExactMatch {
    ignore_case: bool,
    ignore_punctuation: bool,
    ignore_numbers: bool,
    ignored: Vec<Regex>,
}

impl ExactMatch {
    /// # Errors
    /// A metric that is not exact match, or a pattern that does not compile.
    pub(super) fn from_wire(metric: Option<&WireMetric>) -> Result<Self, String> {
        let Some(metric) = metric else { return Ok(Self::default()) };
        if metric.metric != "exact_match" {
            return Err(format!("metric `{}`: use exact_match or name a scorer", metric.metric));
        }
        let patterns = metric.regexes_to_ignore.iter().map(|p| compile("regexes_to_ignore", p));
        Ok(Self {
            ignore_case: metric.ignore_case,
            ignore_punctuation: metric.ignore_punctuation,
            ignore_numbers: metric.ignore_numbers,
            ignored: patterns.collect::<Result<_, _>>().map_err(|error| error.to_string())?,
        })
    }

    /// # Errors
    /// A pattern that explodes on this text.
    pub(super) fn score(&self, right: &[String], answer: &str) -> Result<Score, QualityError> {
        let answer = self.normalized(answer)?;
        for text in right {
            if self.normalized(text)? == answer {
                return Ok(Score::binary(true));
            }
        }
        Ok(Score::binary(false))
    }

    fn normalized(&self, text: &str) -> Result<String, QualityError> {
        let mut text = text.to_owned();
        for regex in &self.ignored {
            let mut kept = String::new();
            let mut from = 0;
            for found in regex.find_iter(&text) {
                let found = found.map_err(|error| QualityError::Pattern {
                    task: "regexes_to_ignore".into(),
                    pattern: regex.as_str().into(),
                    reason: error.to_string(),
                })?;
                kept.push_str(&text[from..found.start()]);
                from = found.end();
            }
            kept.push_str(&text[from..]);
            text = kept;
        }
        if self.ignore_case {
            text = text.to_lowercase();
        }
        if self.ignore_punctuation {
            text.retain(|c| !PUNCTUATION.contains(c));
        }
        if self.ignore_numbers {
            text.retain(|c| !c.is_ascii_digit());
        }
        Ok(text.trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gsm8k_normalization_makes_the_right_answers_equal() {
        let metric = WireMetric {
            metric: "exact_match".into(),
            ignore_case: true,
            regexes_to_ignore: [",", r"\$", "(?s).*#### ", r"\.$"].map(String::from).to_vec(),
            ..WireMetric::default()
        };
        let exact = ExactMatch::from_wire(Some(&metric)).unwrap();
        let right = ["She has 3 + 4 = 7 apples.\n#### 1,250".to_owned()];
        assert!(exact.score(&right, "$1250.").unwrap().pass);
        assert!(!exact.score(&right, "125").unwrap().pass);
    }

    #[test]
    fn case_punctuation_and_digits_are_ignored_only_when_asked() {
        let right = ["Yes, 3!".to_owned()];
        assert!(!ExactMatch::default().score(&right, "yes").unwrap().pass);
        let lenient =
            ExactMatch { ignore_case: true, ignore_punctuation: true, ignore_numbers: true, ..ExactMatch::default() };
        assert!(lenient.score(&right, "yes").unwrap().pass);
    }
}
