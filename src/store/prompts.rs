//! What the graded items asked, for readers of a record. No number rests on it: items are graded once, when they run.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::cell::{Cell, Outcome, Subject};
use crate::quality::QualityError;
use crate::quality::prompt::{Gold, Prompter};
use crate::quality::task::Task;

/// The items of one task that some tier was shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskPrompts {
    /// The task's name.
    pub task: String,
    /// The text in front of every item: description and worked examples. The chat template is not part of it.
    pub prefix: String,
    /// The items, in the task's order.
    pub items: Vec<ItemPrompt>,
}

/// One item's own text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemPrompt {
    /// Item id.
    pub item: String,
    /// Its part of the prompt, behind the prefix.
    pub prompt: String,
    /// Answers any of which is right.
    pub target: Vec<String>,
}

impl TaskPrompts {
    /// The texts of those items of `task` that occur in `cells`; `None` if none does.
    ///
    /// # Errors
    /// A template that does not render: the task could not have been run.
    pub fn of(task: &Task, cells: &[Cell]) -> Result<Option<Self>, QualityError> {
        let subject = Subject::Task(task.name.clone());
        let graded: HashSet<&str> = cells
            .iter()
            .filter(|cell| cell.subject == subject)
            .filter_map(|cell| match &cell.outcome {
                Outcome::Task(results) => Some(&results.items),
                Outcome::Speed(_) | Outcome::Failed { .. } => None,
            })
            .flatten()
            .map(|item| item.item.as_str())
            .collect();
        if graded.is_empty() {
            return Ok(None);
        }
        let prompter = Prompter::new(task)?;
        let mut items = Vec::with_capacity(graded.len());
        for item in task.items.iter().filter(|item| graded.contains(item.id.as_str())) {
            let context = prompter.context(item)?;
            let target = match prompter.gold(item)? {
                Gold::Choice(index) => prompter.choices(item)?.into_iter().skip(index).take(1).collect(),
                Gold::Texts(texts) => texts,
            };
            let prompt = context.strip_prefix(prompter.prefix()).unwrap_or(&context).to_owned();
            items.push(ItemPrompt { item: item.id.clone(), prompt, target });
        }
        Ok(Some(Self { task: task.name.clone(), prefix: prompter.prefix().to_owned(), items }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::TierKey;
    use crate::quality::ItemResult;
    use crate::store::cell::TaskItems;

    #[test]
    fn only_items_that_were_shown_are_kept_without_the_shared_part() {
        let task = Task::load("support_tickets").unwrap();
        assert_eq!(TaskPrompts::of(&task, &[]).unwrap(), None);
        let shown = ItemResult::unjudged(&task.items[3].id);
        let cell = Cell {
            tier: TierKey("t".into()),
            subject: Subject::Task(task.name.clone()),
            finished_at: String::new(),
            outcome: Outcome::Task(TaskItems { items: vec![shown], ..TaskItems::default() }),
        };
        let prompts = TaskPrompts::of(&task, &[cell]).unwrap().unwrap();
        assert_eq!(prompts.items.len(), 1);
        let item = &prompts.items[0];
        assert!(item.prompt.starts_with("Ticket: ") && item.prompt.ends_with("Category:"), "{item:?}");
        assert_eq!(item.target, [task.items[3].data["label"].as_str().unwrap()]);
        assert!(prompts.prefix.contains("Category:") && !item.prompt.contains(&prompts.prefix));
    }
}
