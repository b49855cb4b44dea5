//! From generated text to the answer that is judged: lm-eval's filters.
//!
//! Semantics follow `lm_eval/filters/{extraction,transformation,selection}.py`: `regex` finds all matches, takes the
//! `group_select`-th (negative counts from the end), of a match with several groups the first that is not empty, and
//! gives `fallback` when there is none. A pattern that backtracks too much is an error, not a hang.

use std::collections::BTreeMap;

use fancy_regex::{Regex, RegexBuilder};

use super::QualityError;
use super::task::wire::WireFilter;

/// Steps a pattern may backtrack over one answer.
const BACKTRACK_LIMIT: usize = 200_000;

#[derive(Clone, Debug)]
enum Filter {
    Regex { regex: Regex, group: i64, fallback: String },
    Trim,
    Lower,
    Upper,
    Map { to: BTreeMap<String, String>, default: Option<String> },
}

/// Filters applied one after the other.
#[derive(Clone, Debug, Default)]
pub struct Pipeline {
    task: String,
    filters: Vec<Filter>,
}

impl Pipeline {
    /// # Errors
    /// A filter that is not supported, or a pattern that does not compile.
    pub(crate) fn from_wire(task: &str, wire: &[WireFilter]) -> Result<Self, QualityError> {
        let mut filters = Vec::new();
        for filter in wire {
            filters.extend(match filter.function.as_str() {
                "regex" => Some(Filter::Regex {
                    regex: compile(task, filter.regex_pattern.as_deref().unwrap_or(r"#### (\-?[0-9\.\,]+)"))?,
                    group: filter.group_select.unwrap_or(0),
                    fallback: filter.fallback.clone().unwrap_or_else(|| "[invalid]".into()),
                }),
                "remove_whitespace" => Some(Filter::Trim),
                "lowercase" => Some(Filter::Lower),
                "uppercase" => Some(Filter::Upper),
                "map" => Some(Filter::Map {
                    to: filter.mapping_dict.clone().unwrap_or_default(),
                    default: filter.default_value.clone(),
                }),
                // There is one answer per item, so these choose that one.
                "take_first" | "take_first_k" | "majority_vote" => None,
                other => {
                    return Err(QualityError::BadKey {
                        path: task.into(),
                        key: "filter_list".into(),
                        reason: format!(
                            "filter `{other}`: use regex, remove_whitespace, lowercase, uppercase, map or take_first"
                        ),
                    });
                }
            });
        }
        Ok(Self { task: task.to_owned(), filters })
    }

    /// The answer in `text`.
    ///
    /// # Errors
    /// A pattern that needs more than its limit of backtracking on this text.
    pub fn apply(&self, text: &str) -> Result<String, QualityError> {
        let mut answer = text.to_owned();
        for filter in &self.filters {
            answer = match filter {
                Filter::Regex { regex, group, fallback } => extract(regex, *group, &answer)
                    .map_err(|e| self.error(regex, &e))?
                    .unwrap_or_else(|| fallback.clone()),
                Filter::Trim => answer.trim().to_owned(),
                Filter::Lower => answer.to_lowercase(),
                Filter::Upper => answer.to_uppercase(),
                Filter::Map { to, default } => match to.get(&answer) {
                    Some(mapped) => mapped.clone(),
                    None => default.clone().unwrap_or(answer),
                },
            };
        }
        Ok(answer)
    }

    fn error(&self, regex: &Regex, error: &fancy_regex::Error) -> QualityError {
        QualityError::Pattern { task: self.task.clone(), pattern: regex.as_str().into(), reason: error.to_string() }
    }
}

/// Compiles a pattern with a limit on backtracking.
///
/// # Errors
/// [`QualityError::Pattern`].
pub(crate) fn compile(task: &str, pattern: &str) -> Result<Regex, QualityError> {
    RegexBuilder::new(pattern).backtrack_limit(BACKTRACK_LIMIT).build().map_err(|error| QualityError::Pattern {
        task: task.into(),
        pattern: pattern.into(),
        reason: error.to_string(),
    })
}

/// Python's `findall` and lm-eval's choice among its results.
fn extract(regex: &Regex, select: i64, text: &str) -> Result<Option<String>, fancy_regex::Error> {
    let mut found = Vec::new();
    for captures in regex.captures_iter(text) {
        let captures = captures?;
        let groups = captures.len() - 1;
        let answer = if groups == 0 {
            captures.get(0)
        } else {
            (1..=groups).filter_map(|i| captures.get(i)).find(|group| !group.as_str().is_empty())
        };
        found.push(answer.map_or_else(String::new, |m| m.as_str().trim().to_owned()));
    }
    let place = if select < 0 { i64::try_from(found.len()).unwrap_or(i64::MAX) + select } else { select };
    Ok(usize::try_from(place).ok().and_then(|place| found.get(place).cloned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regex(pattern: &str, group: i64) -> Pipeline {
        let wire = WireFilter {
            function: "regex".into(),
            regex_pattern: Some(pattern.into()),
            group_select: Some(group),
            fallback: None,
            mapping_dict: None,
            default_value: None,
        };
        Pipeline::from_wire("t", &[wire]).unwrap()
    }

    #[test]
    fn gsm8k_filters_extract_what_lm_eval_extracts() {
        let strict = regex(r"#### (\-?[0-9\.\,]+)", 0);
        assert_eq!(strict.apply("so 3 + 4 = 7\n#### 7").unwrap(), "7");
        assert_eq!(strict.apply("so it is 7").unwrap(), "[invalid]");
        let flexible = regex(r"(-?[$0-9.,]{2,})|(-?[0-9]+)", -1);
        assert_eq!(flexible.apply("first 12 then $1,250.50 and last 8").unwrap(), "8");
        assert_eq!(flexible.apply("pay $1,250.50").unwrap(), "$1,250.50");
    }

    #[test]
    fn look_around_works_and_an_exploding_pattern_is_an_error() {
        assert_eq!(regex(r"(?<=Answer: )\w+", 0).apply("Answer: yes, no").unwrap(), "yes");
        let explodes = regex("^(?:(a|aa)(?!c))+b", 0);
        let error = explodes.apply(&"a".repeat(60)).unwrap_err().to_string();
        assert!(error.contains("pattern") && error.to_lowercase().contains("backtrack"), "{error}");
    }

    #[test]
    fn a_pattern_that_does_not_compile_is_named() {
        let error = compile("t", "(open").unwrap_err().to_string();
        assert!(error.contains("`(open`"), "{error}");
    }
}
