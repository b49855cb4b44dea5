//! `eval --show`: an item as the model sees it.

use serde_json::json;

use super::OutputFormat;
use crate::cli::Ui;
use crate::error::{Error, Result};
use crate::model::ModelError;
use crate::model::tokenizer::Tokenizer;
use crate::quality::item_order;
use crate::quality::prompt::Prompter;
use crate::quality::task::{Output, Task};

/// Prints the item at `place` (from 1) of each task's order; with a tokenizer also the tokens, where BOS is visible.
pub(super) fn show(
    tasks: &[Task],
    place: usize,
    seed: u64,
    tokenizer: Option<&Tokenizer>,
    output: OutputFormat,
    ui: &Ui,
) -> Result<()> {
    for task in tasks {
        let order = item_order(task, seed);
        let item = place.checked_sub(1).and_then(|i| order.get(i)).map(|&i| &task.items[i]);
        let item = item.ok_or_else(|| {
            Error::Usage(format!("--show {place}: task `{}` has items 1 to {}", task.name, order.len()))
        })?;
        let prompter = Prompter::new(task)?;
        let prompt = prompter.context(item)?;
        let choices: Vec<String> =
            prompter.choices(item)?.iter().map(|choice| format!("{}{choice}", prompter.delimiter())).collect();
        let tokens = match tokenizer {
            Some(tokenizer) => Some(tokenizer.encode(&prompt, true, false).map_err(ModelError::from)?),
            None => None,
        };
        let until = match &task.output {
            Output::Generate { generation, .. } => Some(generation),
            Output::Choice { .. } => None,
        };
        if output == OutputFormat::Json {
            ui.line(json!({
                "task": task.name,
                "item": item.id,
                "prompt": prompt,
                "choices": choices,
                "until": until.map(|generation| &generation.until),
                "max_gen_toks": until.map(|generation| generation.max_gen_toks),
                "prompt_ids": tokens,
                "right": format!("{:?}", prompter.gold(item)?),
            }))?;
            continue;
        }
        ui.line(&prompt)?;
        for choice in &choices {
            ui.line(format_args!("  → {choice:?}"))?;
        }
        if let Some(generation) = until {
            ui.note(format_args!("the answer ends at {:?} or {} tokens", generation.until, generation.max_gen_toks));
        }
        if let (Some(tokens), Some(tokenizer)) = (&tokens, tokenizer) {
            let first = tokens.first().map_or_else(String::new, |&id| tokenizer.decode(&[id], false));
            ui.note(format_args!("{} tokens, the first is {first:?}", tokens.len()));
        }
        ui.note(format_args!("task {}, item {}, right answer {:?}", task.name, item.id, prompter.gold(item)?));
    }
    Ok(())
}
