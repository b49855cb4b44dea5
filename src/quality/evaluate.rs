//! The evaluation loop: items in a fixed seeded order, in groups the engine can hold, one result after the other.
//!
//! ```text
//! likelihood   choices by their log-likelihood     written   choices and texts by what the model writes
//! ```

mod likelihood;
#[cfg(test)]
mod tests;
mod written;

use std::ops::ControlFlow;

use sha2::{Digest as _, Sha256};

use self::likelihood::ContentFree;
use super::codec::Stemmed;
use super::constrain::Schema;
use super::prefixed::{Effort, PrefixedEngine};
use super::prompt::Prompter;
use super::request::{ChoiceRequest, Request, TextRequest};
use super::task::{Decode, Item, Output, Task};
use super::{Codec, FinishReason, ItemResult, QualityError};
use crate::engine::Engine;

pub(crate) use written::judge_text;

/// How to walk a task.
#[derive(Clone, Copy, Debug, Default)]
pub struct EvalOptions<'a> {
    /// Seed of the order.
    pub seed: u64,
    /// Items to look at; all of them without it.
    pub limit: Option<usize>,
    /// Results of an earlier run of the same tier, task and seed: they must be the beginning of the order.
    pub done: &'a [ItemResult],
    /// How answers are got; the task's own way without it.
    pub decode: Option<Decode>,
}

/// What a walk was, beside its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evaluated {
    /// Items judged now, earlier ones not counted.
    pub items: usize,
    /// Whether every item within the limit has been looked at.
    pub complete: bool,
    /// Tokens of the prefix all items share.
    pub prefix_tokens: u32,
    /// Time to compute it once, ns; not part of any item.
    pub prefix_ns: u64,
}

/// Indices of the task's items in the order of `seed`: sorted by SHA-256 of seed, task and item id, so that the order
/// depends on nothing else and a longer suite keeps the relative order of the items it had.
#[must_use]
pub fn item_order(task: &Task, seed: u64) -> Vec<usize> {
    let key = |item: &Item| Sha256::digest(format!("{seed}\u{0}{}\u{0}{}", task.name, item.id));
    let mut order: Vec<_> = task.items.iter().enumerate().map(|(i, item)| (key(item), i)).collect();
    order.sort();
    order.into_iter().map(|(_, i)| i).collect()
}

/// Judges items until they or the limit are used up or `on_item` breaks. Results come in the order of [`item_order`];
/// results of a group that come after a break are dropped.
///
/// # Errors
/// Stored results that do not fit, templates, tokenizer, scorer patterns, and whatever the engine says.
pub fn evaluate(
    task: &Task,
    codec: &dyn Codec,
    engine: &mut dyn Engine,
    options: &EvalOptions<'_>,
    on_item: &mut dyn FnMut(ItemResult) -> ControlFlow<()>,
) -> Result<Evaluated, QualityError> {
    let prompter = Prompter::new(task)?;
    let decode = options.decode.unwrap_or(task.decode);
    if !task.modes().contains(&decode) {
        let known: Vec<_> = task.modes().into_iter().map(Decode::name).collect();
        return Err(QualityError::BadKey {
            path: task.name.clone().into(),
            key: "decode".into(),
            reason: format!("`{}`: with this task use {}", decode.name(), known.join(" or ")),
        });
    }
    let schema = match (&task.schema, decode) {
        (Some(schema), Decode::Constrained) => Some(Schema::new(codec, schema)?),
        _ => None,
    };
    let codec = &Stemmed::new(codec, prompter.prefix())?;
    let mut order = item_order(task, options.seed);
    order.truncate(options.limit.unwrap_or(usize::MAX));
    check_done(task, &order, options.done)?;
    let mut engine = PrefixedEngine::new(engine)?;
    let prefix = engine.hold(&shared_tokens(task, &prompter, codec, &order)?)?;
    let mut walk = Walk {
        task,
        decode,
        schema,
        prompter,
        codec,
        engine,
        content_free: ContentFree::default(),
        next_choice: None,
        next_text: None,
    };
    let mut evaluated =
        Evaluated { items: 0, complete: false, prefix_tokens: prefix.n_prompt, prefix_ns: prefix.elapsed_ns };
    let mut rest = order.get(options.done.len()..).unwrap_or_default();
    while !rest.is_empty() {
        let results = walk.group(rest)?;
        rest = &rest[results.len()..];
        for result in results {
            evaluated.items += 1;
            if on_item(result).is_break() {
                return Ok(evaluated);
            }
        }
    }
    evaluated.complete = true;
    Ok(evaluated)
}

fn check_done(task: &Task, order: &[usize], done: &[ItemResult]) -> Result<(), QualityError> {
    for (place, (result, &index)) in done.iter().zip(order).enumerate() {
        let expected = &task.items[index].id;
        if result.item != *expected {
            let (got, expected) = (result.item.clone(), expected.clone());
            return Err(QualityError::ResumeMismatch { place, got, expected });
        }
    }
    Ok(())
}

/// Tokens the prompts of all items begin with: what the first two have in common, within the rendered prefix. Where a
/// merge crosses the border, the prompts differ there and the engine falls back to fewer shared tokens.
fn shared_tokens(
    task: &Task,
    prompter: &Prompter,
    codec: &dyn Codec,
    order: &[usize],
) -> Result<Vec<u32>, QualityError> {
    let (Some(&first), Some(&last)) = (order.first(), order.last()) else { return Ok(Vec::new()) };
    let mut tokens = codec.encode(&prompter.context(&task.items[first])?, true)?;
    if first != last {
        let other = codec.encode(&prompter.context(&task.items[last])?, true)?;
        tokens.truncate(tokens.iter().zip(&other).take_while(|(a, b)| a == b).count());
    } else {
        tokens.truncate(codec.encode(prompter.prefix(), true)?.len());
    }
    Ok(tokens)
}

struct Walk<'a> {
    task: &'a Task,
    decode: Decode,
    schema: Option<Schema>,
    prompter: Prompter,
    codec: &'a dyn Codec,
    engine: PrefixedEngine<'a>,
    content_free: ContentFree,
    /// Request of the first item that had no room in the last group.
    next_choice: Option<ChoiceRequest>,
    /// The same for tasks without choices.
    next_text: Option<TextRequest>,
}

impl Walk<'_> {
    /// Results of as many of the next items as the engine holds at once, at least one.
    fn group(&mut self, order: &[usize]) -> Result<Vec<ItemResult>, QualityError> {
        let task = self.task;
        let items = order.iter().map(|&i| &task.items[i]);
        match &task.output {
            Output::Choice { normalize, content_free } if self.decode == Decode::Loglikelihood => {
                self.choice_group(items, *normalize, content_free.as_ref())
            }
            Output::Choice { .. } => self.named_choice_group(items),
            Output::Generate { generation, .. } => self.text_group(items, generation),
        }
    }

    /// Requests of the next items, as many as run together. The first one too many is kept in `next`, where the next
    /// group finds it: every prompt is tokenized once.
    fn fill<'i, R: Request>(
        &self,
        items: impl Iterator<Item = &'i Item>,
        next: &mut Option<R>,
        build: impl Fn(&Item) -> Result<R, QualityError>,
    ) -> Result<Vec<(&'i Item, R)>, QualityError> {
        let mut room = self.engine.room::<R>();
        let mut group = Vec::new();
        for item in items {
            let request = next.take().map_or_else(|| build(item), Ok)?;
            if !self.engine.admits(&mut room, &request) {
                *next = Some(request);
                break;
            }
            group.push((item, request));
        }
        Ok(group)
    }

    fn blank(&self, item: &Item, effort: Effort) -> Result<ItemResult, QualityError> {
        let prompt = Sha256::digest(self.prompter.context(item)?);
        Ok(ItemResult {
            level: item.level,
            template: item.template.clone(),
            n_prompt_tokens: effort.n_prompt,
            n_cached_tokens: effort.n_cached,
            n_gen_tokens: effort.n_gen,
            elapsed_ns: effort.elapsed_ns,
            finish_reason: FinishReason::Context,
            prompt_sha256: prompt.iter().map(|byte| format!("{byte:02x}")).collect(),
            ..ItemResult::unjudged(&item.id)
        })
    }
}
