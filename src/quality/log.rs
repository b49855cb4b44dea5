//! The per-item log: one JSON object a line, from which every statistic of a tier can be computed again.
//!
//! Field names are lm-evaluation-harness's `--log_samples` where they mean the same (`doc_id`, `target`,
//! `filtered_resps`, `prompt_hash`); the others are this program's.

use serde::{Deserialize, Serialize};

use super::prompt::{Gold, Prompter};
use super::task::{Item, Task};
use super::{ChoiceResult, FinishReason, ItemResult, QualityError};

/// One item on one tier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// Task name.
    pub task: String,
    /// SHA-256 over the task's file and data: lines of different data must not be mixed.
    pub task_sha256: String,
    /// The tier.
    pub tier: String,
    /// Place in the order items were shown in, from 0.
    pub place: usize,
    /// Place in the task's data, from 0 (lm-eval).
    pub doc_id: usize,
    /// Item id.
    pub item: String,
    /// Level of difficulty.
    pub level: Option<u32>,
    /// Template the item was made from.
    pub template: Option<String>,
    /// SHA-256 of the prompt's text, hex (lm-eval).
    pub prompt_hash: String,
    /// The right answer, the first if there are several (lm-eval).
    pub target: String,
    /// The choices and their log-likelihoods; empty for generated answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<ChoiceResult>,
    /// The text as generated, before filters.
    pub raw: Option<String>,
    /// What was extracted from it and judged.
    pub answer: Option<String>,
    /// The same, as lm-eval writes it.
    pub filtered_resps: Vec<String>,
    /// Score in [0, 1].
    pub score: f64,
    /// Whether the item counts as solved.
    pub pass: bool,
    /// The tier's own certainty; see [`ItemResult::confidence`].
    pub confidence: Option<f64>,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Of these, tokens reused from the shared prefix.
    pub cached_tokens: u32,
    /// Tokens generated, or of all choices.
    pub gen_tokens: u32,
    /// Time inside engine calls, ms.
    pub ms: f64,
    /// Its share of the metered window it was graded in, by time, J; `null` if not metered.
    pub joules_share: Option<f64>,
    /// Why the answer ended.
    pub finish_reason: FinishReason,
}

impl LogLine {
    /// The line of a result. `doc_id` is the item's place in the task, `place` its place in the order.
    ///
    /// # Errors
    /// A template that fails on the item.
    pub fn new(
        task: &Task,
        prompter: &Prompter,
        tier: &str,
        (place, doc_id): (usize, usize),
        result: &ItemResult,
    ) -> Result<Self, QualityError> {
        let target = task.items.get(doc_id).map(|item| target(prompter, item)).transpose()?.unwrap_or_default();
        Ok(Self {
            task: task.name.clone(),
            task_sha256: task.sha256.clone(),
            tier: tier.to_owned(),
            place,
            doc_id,
            item: result.item.clone(),
            level: result.level,
            template: result.template.clone(),
            prompt_hash: result.prompt_sha256.clone(),
            target,
            choices: result.choices.clone(),
            raw: result.raw.clone(),
            answer: result.answer.clone(),
            filtered_resps: result.answer.iter().cloned().collect(),
            score: result.score,
            pass: result.pass,
            confidence: result.confidence,
            prompt_tokens: result.n_prompt_tokens,
            cached_tokens: result.n_cached_tokens,
            gen_tokens: result.n_gen_tokens,
            ms: result.elapsed_ns as f64 / 1e6,
            joules_share: result.joules,
            finish_reason: result.finish_reason,
        })
    }
}

fn target(prompter: &Prompter, item: &Item) -> Result<String, QualityError> {
    Ok(match prompter.gold(item)? {
        Gold::Choice(index) => prompter.choices(item)?.swap_remove(index),
        Gold::Texts(texts) => texts.into_iter().next().unwrap_or_default(),
    })
}

/// How sure a tier is of an answer, read from its log: what a cascade may defer by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Lead of the best choice over the second, or mean ln p of the generated tokens.
    Confidence,
    /// Probability of the best choice among the choices.
    Probability,
    /// Minus the entropy over the choices, nats.
    Entropy,
    /// Minus the number of tokens generated: long answers are unsure ones.
    Brevity,
}

impl Signal {
    /// All, in the order tables show them.
    pub const ALL: [Self; 4] = [Self::Confidence, Self::Probability, Self::Entropy, Self::Brevity];

    /// Name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Confidence => "confidence",
            Self::Probability => "probability",
            Self::Entropy => "entropy",
            Self::Brevity => "brevity",
        }
    }

    /// Its value, higher is surer; `None` where the log does not tell. An item that was not answered for lack of room
    /// is the least sure of all.
    #[must_use]
    pub fn of(self, line: &LogLine) -> Option<f64> {
        if line.finish_reason == FinishReason::Context {
            return Some(f64::NEG_INFINITY);
        }
        let value = match self {
            Self::Confidence => line.confidence?,
            Self::Probability => probabilities(&line.choices)?.into_iter().fold(0.0, f64::max),
            Self::Entropy => {
                probabilities(&line.choices)?.into_iter().filter(|&p| p > 0.0).map(|p| p * p.ln()).sum::<f64>()
            }
            Self::Brevity if line.choices.is_empty() => -f64::from(line.gen_tokens),
            Self::Brevity => return None,
        };
        (!value.is_nan()).then_some(value)
    }
}

impl std::str::FromStr for Signal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|signal| signal.name() == text)
            .ok_or_else(|| format!("`{text}`: use confidence, probability, entropy or brevity"))
    }
}

/// Softmax of the choices' log-likelihoods.
fn probabilities(choices: &[ChoiceResult]) -> Option<Vec<f64>> {
    let top = choices.iter().map(|choice| choice.logprob).reduce(f64::max).filter(|top| top.is_finite())?;
    let weights: Vec<f64> = choices.iter().map(|choice| (choice.logprob - top).exp()).collect();
    let total: f64 = weights.iter().sum();
    Some(weights.into_iter().map(|weight| weight / total).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(logprobs: &[f64]) -> LogLine {
        let choice = |&logprob: &f64| ChoiceResult { text: String::new(), logprob, n_tokens: 1 };
        LogLine {
            task: "t".into(),
            task_sha256: String::new(),
            tier: "a".into(),
            place: 0,
            doc_id: 0,
            item: "i".into(),
            level: None,
            template: None,
            prompt_hash: String::new(),
            target: "x".into(),
            choices: logprobs.iter().map(choice).collect(),
            raw: None,
            answer: None,
            filtered_resps: Vec::new(),
            score: 0.0,
            pass: false,
            confidence: Some(0.5),
            prompt_tokens: 3,
            cached_tokens: 0,
            gen_tokens: 7,
            ms: 1.5,
            joules_share: None,
            finish_reason: FinishReason::Scored,
        }
    }

    #[test]
    fn signals_rise_with_certainty_and_are_unknown_where_the_log_does_not_tell() {
        let (sure, unsure) = (line(&[-0.1, -9.0, -9.0]), line(&[-2.0, -2.0, -2.1]));
        for signal in [Signal::Probability, Signal::Entropy] {
            assert!(signal.of(&sure).unwrap() > signal.of(&unsure).unwrap(), "{signal:?}");
            assert_eq!(signal.of(&line(&[])), None);
        }
        assert!((Signal::Probability.of(&line(&[-2.0, -2.0])).unwrap() - 0.5).abs() < 1e-12);
        assert_eq!(Signal::Brevity.of(&line(&[])), Some(-7.0));
        assert_eq!(Signal::Brevity.of(&sure), None);
        let cut = LogLine { finish_reason: FinishReason::Context, ..sure };
        assert_eq!(Signal::Confidence.of(&cut), Some(f64::NEG_INFINITY));
    }

    #[test]
    fn a_line_reads_back_what_was_written() {
        let line = line(&[-0.1, -3.0]);
        let text = serde_json::to_string(&line).unwrap();
        assert!(text.contains("\"joules_share\":null") && text.contains("\"prompt_hash\""), "{text}");
        assert_eq!(serde_json::from_str::<LogLine>(&text).unwrap(), line);
    }
}
