//! Multiple choice by the log-likelihood of each choice.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::Walk;
use crate::quality::prefixed::ChoiceOutcome;
use crate::quality::request::ChoiceRequest;
use crate::quality::score::{confidence, pick};
use crate::quality::task::{Item, Normalize};
use crate::quality::{ChoiceResult, FinishReason, ItemResult, QualityError};

/// Log-likelihoods of choices after a prompt that says nothing, by prompt and continuations.
pub(super) type ContentFree = HashMap<(String, Vec<String>), Vec<f64>>;

impl Walk<'_> {
    pub(super) fn choice_group<'i>(
        &mut self,
        items: impl Iterator<Item = &'i Item>,
        normalize: Normalize,
        content_free: Option<&Map<String, Value>>,
    ) -> Result<Vec<ItemResult>, QualityError> {
        let mut next = self.next_choice.take();
        let group = self.fill(items, &mut next, |item| self.choice_request(item))?;
        self.next_choice = next;
        let (items, requests): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        let outcomes = self.engine.choices(&requests)?;
        let mut results = Vec::with_capacity(items.len());
        for ((item, request), outcome) in items.into_iter().zip(&requests).zip(outcomes) {
            let free = match content_free {
                Some(columns) if normalize == Normalize::Contextual => self.after_nothing(item, columns)?,
                _ => Vec::new(),
            };
            results.push(self.choice_result(item, request, outcome, normalize, &free)?);
        }
        Ok(results)
    }

    pub(super) fn choice_request(&self, item: &Item) -> Result<ChoiceRequest, QualityError> {
        let (context, continuations) = self.choice_texts(item)?;
        ChoiceRequest::new(self.codec, &context, &continuations)
    }

    /// An item's prompt, and its choices as they continue it.
    fn choice_texts(&self, item: &Item) -> Result<(String, Vec<String>), QualityError> {
        let delimiter = self.prompter.delimiter();
        let choices = self.prompter.choices(item)?;
        let continuations = choices.into_iter().map(|choice| format!("{delimiter}{choice}")).collect();
        Ok((self.prompter.context(item)?, continuations))
    }

    /// Log-likelihoods of the item's choices when its content columns are replaced by `columns`.
    fn after_nothing(&mut self, item: &Item, columns: &Map<String, Value>) -> Result<Vec<f64>, QualityError> {
        let mut empty = item.clone();
        empty.data.extend(columns.clone());
        let texts = self.choice_texts(&empty)?;
        if let Some(known) = self.content_free.get(&texts) {
            return Ok(known.clone());
        }
        let request = ChoiceRequest::new(self.codec, &texts.0, &texts.1)?;
        let outcome = self.engine.choices(std::slice::from_ref(&request))?.pop();
        let logprobs = outcome.and_then(|o| o.logprobs).unwrap_or_else(|| vec![0.0; request.continuations.len()]);
        self.content_free.insert(texts, logprobs.clone());
        Ok(logprobs)
    }

    fn choice_result(
        &self,
        item: &Item,
        request: &ChoiceRequest,
        outcome: ChoiceOutcome,
        normalize: Normalize,
        content_free: &[f64],
    ) -> Result<ItemResult, QualityError> {
        let texts = self.prompter.choices(item)?;
        let mut result = self.blank(item, outcome.effort)?;
        let Some(logprobs) = outcome.logprobs else {
            result.finish_reason = FinishReason::Context;
            return Ok(result);
        };
        result.finish_reason = FinishReason::Scored;
        result.confidence = confidence(normalize, &texts, &logprobs, content_free);
        if let Some(answer) = pick(normalize, &texts, &logprobs, content_free).map(|best| texts[best].clone()) {
            let score = self.task.scorer.score(item, &self.prompter.gold(item)?, &texts, &answer)?;
            (result.score, result.pass, result.answer) = (score.value, score.pass, Some(answer));
        }
        let tokens = request.continuations.iter().map(|t| u32::try_from(t.len()).unwrap_or(u32::MAX));
        result.choices = texts
            .into_iter()
            .zip(logprobs)
            .zip(tokens)
            .map(|((text, logprob), n_tokens)| ChoiceResult { text, logprob, n_tokens })
            .collect();
        Ok(result)
    }
}
