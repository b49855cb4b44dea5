//! The loop on the mock engine: grouping, order, resuming, and every way to answer.

use std::fs;

use super::*;
use crate::engine::mock::MockEngine;
use crate::engine::{EngineConfig, contract};
use crate::quality::codec::ByteCodec;

const CHOICE: &str = "task: t\noutput_type: multiple_choice\ndoc_to_text: \"Q: {{q}}\\nA:\"\nnum_fewshot: 1\n\
                      doc_to_choice: [\"x\", \"yes\", \"no\"]\ndoc_to_target: label\n";
const TEXT: &str = "task: t\noutput_type: generate_until\ndoc_to_text: \"Q: {{q}}\\nA:\"\ndoc_to_target: label\n\
                    generation_kwargs: { until: [\"\\u0003\"], max_gen_toks: 12 }\n";

fn task(yaml: &str, n: usize) -> Task {
    let dir = tempfile::tempdir().unwrap();
    let items: String = (0..n)
        .map(|i| {
            format!("{{\"id\":\"i{i}\",\"q\":\"{}\",\"label\":\"yes\"}}\n", "why ".repeat(i % 5 + 1) + &i.to_string())
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
    let (evaluated, rest) = run(&task, 4, 256, &EvalOptions { seed: 3, limit: Some(8), done: &all[..5], decode: None });
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
    let ids = |task: &Task, seed| item_order(task, seed).iter().map(|&i| task.items[i].id.clone()).collect::<Vec<_>>();
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
    let schema = "{ type: object, additionalProperties: false, required: [a], properties: { a: { enum: [p, q] } } }";
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
