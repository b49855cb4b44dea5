//! What the model writes: texts, and choices named in a text, freely or held to a form.

use super::Walk;
use crate::quality::constrain::{Constraint, Labels, Schema};
use crate::quality::prefixed::TextOutcome;
use crate::quality::prompt::Prompter;
use crate::quality::request::TextRequest;
use crate::quality::score::{Score, mentioned};
use crate::quality::task::{Decode, Generation, Item, Output, Task};
use crate::quality::{FinishReason, ItemResult, QualityError};

/// Tokens in which a free answer to a multiple-choice item must name its choice.
const CHOICE_TOKENS: u32 = 24;

impl Walk<'_> {
    pub(super) fn text_group<'i>(
        &mut self,
        items: impl Iterator<Item = &'i Item>,
        limits: &Generation,
    ) -> Result<Vec<ItemResult>, QualityError> {
        let mut next = self.next_text.take();
        let group = self.fill(items, &mut next, |item| {
            let context = self.codec.encode(&self.prompter.context(item)?, true)?;
            Ok(TextRequest { context })
        })?;
        self.next_text = next;
        let (items, requests): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        let constraint = |schema: &Schema| Box::new(schema.constraint()) as Box<dyn Constraint>;
        let constraints =
            self.schema.iter().flat_map(|schema| std::iter::repeat_n(schema, requests.len()).map(constraint)).collect();
        let outcomes = self.engine.texts(self.codec, &requests, constraints, limits)?;
        items.into_iter().zip(outcomes).map(|(item, outcome)| self.text_result(item, outcome)).collect()
    }

    /// Multiple choice by what the model writes: held to the choices, or freely and searched for the first one named.
    pub(super) fn named_choice_group<'i>(
        &mut self,
        items: impl Iterator<Item = &'i Item>,
    ) -> Result<Vec<ItemResult>, QualityError> {
        let limits = Generation { until: vec!["\n".into()], max_gen_toks: CHOICE_TOKENS };
        let mut next = self.next_choice.take();
        let group = self.fill(items, &mut next, |item| self.choice_request(item))?;
        self.next_choice = next;
        let mut judged = Vec::with_capacity(group.len());
        let (mut requests, mut constraints) = (Vec::new(), Vec::new());
        for (item, request) in group {
            judged.push(item);
            requests.push(TextRequest { context: request.context });
            if self.decode == Decode::Constrained {
                constraints.push(Box::new(Labels::new(request.continuations)) as Box<dyn Constraint>);
            }
        }
        let outcomes = self.engine.texts(self.codec, &requests, constraints, &limits)?;
        judged.into_iter().zip(outcomes).map(|(item, outcome)| self.named_choice_result(item, outcome)).collect()
    }

    /// A choice counts once it has been named: what a free answer says behind it, or where it is cut, does not matter.
    fn named_choice_result(&self, item: &Item, outcome: TextOutcome) -> Result<ItemResult, QualityError> {
        let mut result = self.blank(item, outcome.effort)?;
        result.finish_reason = outcome.finish;
        result.confidence = outcome.mean_logprob;
        let choices = self.prompter.choices(item)?;
        if let Some(answer) = mentioned(&choices, &outcome.text).map(|i| choices[i].clone()) {
            let score = self.task.scorer.score(item, &self.prompter.gold(item)?, &choices, &answer)?;
            (result.score, result.pass, result.answer) = (score.value, score.pass, Some(answer));
        }
        result.raw = Some(outcome.text);
        Ok(result)
    }

    fn text_result(&self, item: &Item, outcome: TextOutcome) -> Result<ItemResult, QualityError> {
        let mut result = self.blank(item, outcome.effort)?;
        result.finish_reason = outcome.finish;
        result.confidence = outcome.mean_logprob;
        let (score, answer) = judge_text(self.task, &self.prompter, item, &outcome.text)?;
        // A truncated answer is a fail, whatever was said before the cut.
        let whole = outcome.finish == FinishReason::Stop;
        result.pass = whole && score.pass;
        result.score = if whole { score.value } else { 0.0 };
        result.parts = score.parts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        result.answer = (outcome.finish != FinishReason::Context).then_some(answer);
        result.raw = Some(outcome.text);
        Ok(result)
    }
}

/// Filters a text and judges what is left: (score, answer).
///
/// # Errors
/// A pattern of the task that explodes on this text.
pub(crate) fn judge_text(
    task: &Task,
    prompter: &Prompter,
    item: &Item,
    text: &str,
) -> Result<(Score, String), QualityError> {
    let answer = match &task.output {
        Output::Generate { pipeline, .. } => pipeline.apply(text)?,
        Output::Choice { .. } => text.to_owned(),
    };
    let gold = prompter.gold(item)?;
    let choices = prompter.choices(item)?;
    Ok((task.scorer.score(item, &gold, &choices, &answer)?, answer))
}
