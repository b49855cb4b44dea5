//! What is kept of every item: the raw sample of this room.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Why a model stopped answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// Choices were scored; nothing was generated.
    Scored,
    /// A stop string or an end-of-text token came.
    Stop,
    /// `max_gen_toks` was reached: the answer is truncated and fails.
    Length,
    /// The item does not fit the context: it fails.
    Context,
}

/// One choice of a multiple-choice item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChoiceResult {
    /// The choice's text.
    pub text: String,
    /// ln p(choice | context), nats, summed over its tokens.
    pub logprob: f64,
    /// Tokens it has.
    pub n_tokens: u32,
}

/// One item judged on one tier. Every statistic of this program is a function of these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ItemResult {
    /// Item id.
    pub item: String,
    /// Level of difficulty, from 1; `None` if the task does not grade its items.
    pub level: Option<u32>,
    /// Template the item was made from; clusters for standard errors.
    pub template: Option<String>,
    /// The choices in the task's order; empty for generated answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<ChoiceResult>,
    /// The answer as judged: the picked choice, or what the filters extracted; `None` if nothing could be extracted.
    pub answer: Option<String>,
    /// The generated text before filters; `None` if choices were scored.
    pub raw: Option<String>,
    /// Score in [0, 1].
    pub score: f64,
    /// What else the scorer saw, by name; see [`super::score::Score::parts`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, f64>,
    /// Whether the item counts as solved.
    pub pass: bool,
    /// The tier's own certainty: for choices the lead of the best over the second, nats; for text the mean ln p of its
    /// tokens. `None` if nothing was answered.
    pub confidence: Option<f64>,
    /// Tokens of the prompt, the shared prefix included.
    pub n_prompt_tokens: u32,
    /// Of these, tokens this item reused from the shared prefix instead of computing them.
    pub n_cached_tokens: u32,
    /// Tokens generated, or tokens of all choices together.
    pub n_gen_tokens: u32,
    /// Time inside engine calls, ns; items run together share it by the tokens each computed.
    pub elapsed_ns: u64,
    /// Why the answer ended.
    pub finish_reason: FinishReason,
    /// SHA-256 of the prompt's text, hex.
    pub prompt_sha256: String,
    /// Its share of the metered window it was graded in, by its time inside engine calls, J; `None` if not metered. Items are
    /// too short to be metered one by one.
    pub joules: Option<f64>,
}

impl ItemResult {
    /// Time inside engine calls, ms; `None` where the tool that graded the item kept none.
    #[must_use]
    pub fn ms(&self) -> Option<f64> {
        (self.elapsed_ns > 0).then_some(self.elapsed_ns as f64 / 1e6)
    }

    /// Whether the tool that graded the item counted its tokens: no prompt is empty.
    #[must_use]
    pub const fn is_counted(&self) -> bool {
        self.n_prompt_tokens > 0
    }

    /// An item that nothing is known of yet.
    pub(crate) fn unjudged(item: &str) -> Self {
        Self {
            item: item.into(),
            level: None,
            template: None,
            choices: vec![],
            answer: None,
            raw: None,
            score: 0.0,
            parts: BTreeMap::new(),
            pass: false,
            confidence: None,
            n_prompt_tokens: 0,
            n_cached_tokens: 0,
            n_gen_tokens: 0,
            elapsed_ns: 0,
            finish_reason: FinishReason::Scored,
            prompt_sha256: String::new(),
            joules: None,
        }
    }
}
