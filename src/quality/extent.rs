//! How much context the items of a task need, so that an engine is given room for the longest and no more.

use super::prompt::Prompter;
use super::task::{Output, Task};
use super::{Codec, QualityError};

/// Most positions an item of `task` takes: its prompt with the longest choice, or with as many tokens as it may generate.
///
/// # Errors
/// Templates and tokenizer.
pub fn longest_item(task: &Task, codec: &dyn Codec) -> Result<u32, QualityError> {
    let prompter = Prompter::new(task)?;
    let mut longest = 0;
    for item in &task.items {
        let context = prompter.context(item)?;
        let tokens = match &task.output {
            Output::Choice { .. } => {
                let mut with_choice = 0;
                for choice in prompter.choices(item)? {
                    let text = format!("{context}{}{choice}", prompter.delimiter());
                    with_choice = with_choice.max(codec.encode(&text, true)?.len());
                }
                with_choice
            }
            Output::Generate { generation, .. } => {
                codec.encode(&context, true)?.len().saturating_add(generation.max_gen_toks as usize)
            }
        };
        longest = longest.max(tokens);
    }
    Ok(u32::try_from(longest).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality::codec::ByteCodec;

    #[test]
    fn the_longest_item_bounds_every_prompt_with_its_answer() {
        let task = Task::load("support_tickets").unwrap();
        let prompter = Prompter::new(&task).unwrap();
        let longest = longest_item(&task, &ByteCodec).unwrap() as usize;
        let taken = |item| {
            let choices = prompter.choices(item).unwrap();
            let choice = choices.iter().map(String::len).max().unwrap();
            prompter.context(item).unwrap().len() + prompter.delimiter().len() + choice
        };
        assert_eq!(task.items.iter().map(taken).max(), Some(longest));
    }

    #[test]
    fn room_for_the_answer_counts() {
        let task = Task::load("invoice_fields").unwrap();
        let prompter = Prompter::new(&task).unwrap();
        let Output::Generate { generation, .. } = &task.output else { panic!("a task of another kind") };
        let prompt = task.items.iter().map(|item| prompter.context(item).unwrap().len()).max().unwrap();
        assert_eq!(longest_item(&task, &ByteCodec).unwrap() as usize, prompt + generation.max_gen_toks as usize);
    }
}
