//! The evaluation loop: items in a fixed seeded order, in groups the engine can hold, one result after the other.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

use sha2::{Digest as _, Sha256};

use super::constrain::{Constraint, Labels, Schema};
use super::prefixed::{ChoiceOutcome, Effort, PrefixedEngine, TextOutcome};
use super::prompt::Prompter;
use super::request::{ChoiceRequest, TextRequest};
use super::score::{Score, confidence, mentioned, pick};
use super::task::{Decode, Generation, Item, Normalize, Output, Task};
use super::{ChoiceResult, Codec, FinishReason, ItemResult, QualityError};
use crate::engine::Engine;

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
    let mut order = item_order(task, options.seed);
    order.truncate(options.limit.unwrap_or(usize::MAX));
    check_done(task, &order, options.done)?;
    let mut engine = PrefixedEngine::new(engine)?;
    let prefix = engine.hold(&shared_tokens(task, &prompter, codec, &order)?)?;
    let mut walk = Walk { task, decode, schema, prompter, codec, engine, content_free: HashMap::new() };
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

/// Items whose requests are built in one go.
const LOOK_AHEAD: usize = 16;
/// Tokens in which a free answer to a multiple-choice item must name its choice.
const CHOICE_TOKENS: u32 = 24;

struct Walk<'a> {
    task: &'a Task,
    decode: Decode,
    schema: Option<Schema>,
    prompter: Prompter,
    codec: &'a dyn Codec,
    engine: PrefixedEngine<'a>,
    /// Choices' log-likelihoods after the content-free item, by request.
    content_free: HashMap<Vec<u32>, Vec<f64>>,
}

impl Walk<'_> {
    /// Results of as many of the next items as the engine holds at once, at least one.
    fn group(&mut self, order: &[usize]) -> Result<Vec<ItemResult>, QualityError> {
        let items: Vec<&Item> = order.iter().take(LOOK_AHEAD).map(|&i| &self.task.items[i]).collect();
        match &self.task.output {
            Output::Choice { normalize, content_free } if self.decode == Decode::Loglikelihood => {
                self.choice_group(&items, *normalize, content_free.as_ref())
            }
            Output::Choice { .. } => self.named_choice_group(&items),
            Output::Generate { generation, .. } => self.text_group(&items, generation),
        }
    }

    fn choice_group(
        &mut self,
        items: &[&Item],
        normalize: Normalize,
        content_free: Option<&serde_json::Map<String, serde_json::Value>>,
    ) -> Result<Vec<ItemResult>, QualityError> {
        let mut requests = Vec::with_capacity(items.len());
        for item in items {
            requests.push(self.choice_request(item)?);
        }
        let n = self.engine.fit_choices(&requests);
        let outcomes = self.engine.choices(&requests[..n])?;
        let mut results = Vec::with_capacity(n);
        for ((item, request), outcome) in items.iter().zip(&requests).zip(outcomes) {
            let free = match content_free {
                Some(columns) if normalize == Normalize::Contextual => self.after_nothing(item, columns)?,
                _ => Vec::new(),
            };
            results.push(self.choice_result(item, request, outcome, normalize, &free)?);
        }
        Ok(results)
    }

    fn choice_request(&self, item: &Item) -> Result<ChoiceRequest, QualityError> {
        let delimiter = self.prompter.delimiter();
        let continuations: Vec<String> =
            self.prompter.choices(item)?.into_iter().map(|choice| format!("{delimiter}{choice}")).collect();
        ChoiceRequest::new(self.codec, &self.prompter.context(item)?, &continuations)
    }

    /// Log-likelihoods of the item's choices when its content columns are replaced by `columns`.
    fn after_nothing(
        &mut self,
        item: &Item,
        columns: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<Vec<f64>, QualityError> {
        let mut empty = item.clone();
        empty.data.extend(columns.clone());
        let request = self.choice_request(&empty)?;
        let key: Vec<u32> = [&request.context]
            .into_iter()
            .chain(&request.continuations)
            .flat_map(|t| [t.as_slice(), &[u32::MAX]].concat())
            .collect();
        if let Some(known) = self.content_free.get(&key) {
            return Ok(known.clone());
        }
        let outcome = self.engine.choices(std::slice::from_ref(&request))?.pop();
        let logprobs = outcome.and_then(|o| o.logprobs).unwrap_or_else(|| vec![0.0; request.continuations.len()]);
        self.content_free.insert(key, logprobs.clone());
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

    fn text_group(&mut self, items: &[&Item], limits: &Generation) -> Result<Vec<ItemResult>, QualityError> {
        let mut requests = Vec::with_capacity(items.len());
        for item in items {
            let context = self.codec.encode(&self.prompter.context(item)?, true)?;
            requests.push(TextRequest { context });
        }
        let n = self.engine.fit_texts(&requests);
        let constraint = |schema: &Schema| Box::new(schema.constraint()) as Box<dyn Constraint>;
        let constraints =
            self.schema.iter().flat_map(|schema| std::iter::repeat_n(schema, n).map(constraint)).collect();
        let outcomes = self.engine.texts(self.codec, &requests[..n], constraints, limits)?;
        items.iter().zip(outcomes).map(|(item, outcome)| self.text_result(item, outcome)).collect()
    }

    /// Multiple choice by what the model writes: held to the choices, or freely and searched for the first one named.
    fn named_choice_group(&mut self, items: &[&Item]) -> Result<Vec<ItemResult>, QualityError> {
        let limits = Generation { until: vec!["\n".into()], max_gen_toks: CHOICE_TOKENS };
        let (mut requests, mut constraints) = (Vec::new(), Vec::new());
        for item in items {
            let ChoiceRequest { context, continuations } = self.choice_request(item)?;
            requests.push(TextRequest { context });
            if self.decode == Decode::Constrained {
                constraints.push(Box::new(Labels::new(continuations)) as Box<dyn Constraint>);
            }
        }
        let n = self.engine.fit_texts(&requests);
        constraints.truncate(n);
        let outcomes = self.engine.texts(self.codec, &requests[..n], constraints, &limits)?;
        items.iter().zip(outcomes).map(|(item, outcome)| self.named_choice_result(item, outcome)).collect()
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

    fn blank(&self, item: &Item, effort: Effort) -> Result<ItemResult, QualityError> {
        let prompt = Sha256::digest(self.prompter.context(item)?);
        Ok(ItemResult {
            item: item.id.clone(),
            level: item.level,
            template: item.template.clone(),
            choices: Vec::new(),
            answer: None,
            raw: None,
            score: 0.0,
            parts: BTreeMap::new(),
            pass: false,
            confidence: None,
            n_prompt_tokens: effort.n_prompt,
            n_cached_tokens: effort.n_cached,
            n_gen_tokens: effort.n_gen,
            elapsed_ns: effort.elapsed_ns,
            finish_reason: FinishReason::Context,
            prompt_sha256: prompt.iter().map(|byte| format!("{byte:02x}")).collect(),
            joules: None,
        })
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::codec::ByteCodec;
    use super::*;
    use crate::engine::mock::MockEngine;
    use crate::engine::{EngineConfig, contract};

    const CHOICE: &str = "task: t\noutput_type: multiple_choice\ndoc_to_text: \"Q: {{q}}\\nA:\"\nnum_fewshot: 1\n\
                          doc_to_choice: [\"x\", \"yes\", \"no\"]\ndoc_to_target: label\n";
    const TEXT: &str = "task: t\noutput_type: generate_until\ndoc_to_text: \"Q: {{q}}\\nA:\"\ndoc_to_target: label\n\
                        generation_kwargs: { until: [\"\\u0003\"], max_gen_toks: 12 }\n";

    fn task(yaml: &str, n: usize) -> Task {
        let dir = tempfile::tempdir().unwrap();
        let items: String = (0..n)
            .map(|i| {
                format!(
                    "{{\"id\":\"i{i}\",\"q\":\"{}\",\"label\":\"yes\"}}\n",
                    "why ".repeat(i % 5 + 1) + &i.to_string()
                )
            })
            .collect();
        fs::write(dir.path().join("task.yaml"), yaml).unwrap();
        fs::write(dir.path().join("items.jsonl"), items).unwrap();
        fs::write(dir.path().join("shots.jsonl"), "{\"q\":\"really?\",\"label\":\"no\"}\n").unwrap();
        Task::load(dir.path().to_str().unwrap()).unwrap()
    }

    fn run(task: &Task, max_seqs: u32, n_ctx: u32, options: &EvalOptions<'_>) -> (Evaluated, Vec<ItemResult>) {
        let config = EngineConfig { max_seqs, ..EngineConfig::default() };
        let mut engine = MockEngine::new(contract::facts(257, n_ctx), &config);
        let mut results = Vec::new();
        let evaluated = evaluate(task, &ByteCodec, &mut engine, options, &mut |mut result| {
            result.elapsed_ns = 0;
            results.push(result);
            ControlFlow::Continue(())
        });
        // Every sequence has been given back.
        assert_eq!((0..max_seqs).map(|_| engine.sequence().unwrap()).count() as u32, max_seqs);
        (evaluated.unwrap(), results)
    }

    #[test]
    fn results_do_not_depend_on_how_many_sequences_the_engine_holds() {
        for yaml in [CHOICE, TEXT] {
            let task = task(yaml, 12);
            let (evaluated, alone) = run(&task, 1, 256, &EvalOptions::default());
            assert!(evaluated.complete && alone.len() == 12);
            for max_seqs in [2, 3, 5, 64] {
                let (_, together) = run(&task, max_seqs, 256, &EvalOptions::default());
                for (a, b) in alone.iter().zip(&together) {
                    let b = ItemResult { n_cached_tokens: a.n_cached_tokens, ..b.clone() };
                    assert_eq!(*a, b, "{max_seqs} sequences");
                }
            }
        }
    }

    #[test]
    fn log_likelihoods_are_those_of_the_whole_text() {
        let task = task(CHOICE, 3);
        let (_, results) = run(&task, 8, 256, &EvalOptions::default());
        let mut engine = MockEngine::new(contract::facts(257, 256), &EngineConfig::default());
        let item = task.items.iter().find(|item| item.id == results[0].item).unwrap();
        let prompt = format!("Q: really?\nA: no\n\nQ: {}\nA:", item.data["q"].as_str().unwrap());
        let text = format!("{prompt} yes");
        let seq = engine.sequence().unwrap();
        let mut batch = crate::engine::Batch::new();
        for (pos, byte) in text.bytes().enumerate() {
            batch.push(u32::from(byte), seq, pos as u32, true);
        }
        let logits = engine.forward(&batch).unwrap();
        let sum: f64 = (prompt.len()..text.len())
            .map(|i| crate::engine::logprob(logits.row(i - 1).unwrap(), u32::from(text.as_bytes()[i])).unwrap())
            .sum();
        assert!((results[0].choices[1].logprob - sum).abs() < 1e-9);
        assert_eq!(results[0].n_prompt_tokens as usize, prompt.len());
    }

    #[test]
    fn a_run_resumes_where_it_stopped_and_refuses_foreign_results() {
        let task = task(CHOICE, 10);
        let (_, all) = run(&task, 4, 256, &EvalOptions { seed: 3, ..EvalOptions::default() });
        let (evaluated, rest) =
            run(&task, 4, 256, &EvalOptions { seed: 3, limit: Some(8), done: &all[..5], decode: None });
        let ids = |results: &[ItemResult]| results.iter().map(|r| r.item.clone()).collect::<Vec<_>>();
        assert_eq!((evaluated.items, ids(&rest)), (3, ids(&all[5..8])));
        let mut engine = MockEngine::new(contract::facts(257, 256), &EngineConfig::default());
        let options = EvalOptions { seed: 4, limit: None, done: &all[..5], decode: None };
        let error = evaluate(&task, &ByteCodec, &mut engine, &options, &mut |_| ControlFlow::Continue(()));
        assert!(matches!(error, Err(QualityError::ResumeMismatch { .. })), "{error:?}");
    }

    #[test]
    fn the_order_depends_on_seed_and_ids_only() {
        let short = task(CHOICE, 10);
        let long = task(CHOICE, 30);
        let ids =
            |task: &Task, seed| item_order(task, seed).iter().map(|&i| task.items[i].id.clone()).collect::<Vec<_>>();
        let kept: Vec<_> = ids(&long, 1).into_iter().filter(|id| ids(&short, 1).contains(id)).collect();
        assert_eq!(kept, ids(&short, 1));
        assert_ne!(ids(&short, 1), ids(&short, 2));
    }

    #[test]
    fn the_caller_stops_the_walk() {
        let task = task(CHOICE, 10);
        let mut engine =
            MockEngine::new(contract::facts(257, 256), &EngineConfig { max_seqs: 9, ..EngineConfig::default() });
        let mut seen = 0;
        let evaluated = evaluate(&task, &ByteCodec, &mut engine, &EvalOptions::default(), &mut |_| {
            seen += 1;
            if seen == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let evaluated = evaluated.unwrap();
        assert_eq!((seen, evaluated.items, evaluated.complete), (3, 3, false));
    }

    #[test]
    fn an_item_longer_than_the_context_fails_and_the_others_go_on() {
        let task = task(CHOICE, 10);
        let (evaluated, results) = run(&task, 4, 46, &EvalOptions::default());
        assert!(evaluated.complete);
        let (long, short): (Vec<_>, Vec<_>) = results.iter().partition(|r| r.finish_reason == FinishReason::Context);
        assert!(!long.is_empty() && !short.is_empty(), "{} {}", long.len(), short.len());
        assert!(long.iter().all(|r| !r.pass && r.answer.is_none() && r.choices.is_empty()));
    }

    #[test]
    fn every_mode_judges_the_same_items_however_they_are_grouped() {
        let task = task(CHOICE, 12);
        for decode in task.modes() {
            let options = EvalOptions { decode: Some(decode), ..EvalOptions::default() };
            let (evaluated, alone) = run(&task, 1, 256, &options);
            assert!(evaluated.complete && alone.len() == 12);
            let (_, together) = run(&task, 5, 256, &options);
            for (a, b) in alone.iter().zip(&together) {
                let b = ItemResult { n_cached_tokens: a.n_cached_tokens, ..b.clone() };
                assert_eq!(*a, b, "{decode:?}");
            }
            if decode == Decode::Constrained {
                let named = |r: &ItemResult| r.answer.as_deref().is_some_and(|a| ["x", "yes", "no"].contains(&a));
                assert!(alone.iter().all(|r| named(r) && r.finish_reason == FinishReason::Stop), "{alone:?}");
            }
        }
    }

    #[test]
    fn text_held_to_a_schema_has_its_form() {
        let schema =
            "{ type: object, additionalProperties: false, required: [a], properties: { a: { enum: [p, q] } } }";
        let task = task(&format!("{TEXT}tier: {{ decode: constrained, schema: {schema} }}\n"), 6);
        let (_, results) = run(&task, 4, 256, &EvalOptions::default());
        for result in results {
            let raw = result.raw.unwrap();
            assert!([" {\"a\":\"p\"}", " {\"a\":\"q\"}"].contains(&raw.as_str()), "{raw:?}");
            assert_eq!(result.finish_reason, FinishReason::Stop);
        }
    }

    #[test]
    fn a_mode_the_task_does_not_know_is_refused() {
        let task = task(TEXT, 3);
        let mut engine = MockEngine::new(contract::facts(257, 256), &EngineConfig::default());
        let options = EvalOptions { decode: Some(Decode::Constrained), ..EvalOptions::default() };
        let error = evaluate(&task, &ByteCodec, &mut engine, &options, &mut |_| ControlFlow::Continue(()));
        assert!(error.unwrap_err().to_string().contains("`constrained`: with this task use free"));
    }

    #[test]
    fn truncated_text_fails() {
        let (_, results) = run(&task(TEXT, 6), 4, 256, &EvalOptions::default());
        let cut: Vec<_> = results.iter().filter(|r| r.finish_reason == FinishReason::Length).collect();
        assert!(!cut.is_empty() && cut.iter().all(|r| !r.pass && r.score == 0.0 && r.n_gen_tokens == 12));
    }
}
