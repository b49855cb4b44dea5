//! From an item to the text the model sees, in lm-eval's layout.
//!
//! `description` + for each shot `doc_to_text` + `target_delimiter` + target + `fewshot_delimiter`, then the item's
//! `doc_to_text`; a choice is appended behind `target_delimiter`. Everything before the item is the same for all items
//! and is rendered once ([`Prompter::prefix`]). Templates are Jinja with strict undefined values and kept trailing
//! newlines, as lm-eval sets its environment.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value, ValueKind};
use minijinja::{Environment, UndefinedBehavior};

use super::QualityError;
use super::task::{ChoiceSource, Item, Output, TargetSource, Task};

/// The right answer of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gold {
    /// Index of the right choice.
    Choice(usize),
    /// Texts any of which is right.
    Texts(Vec<String>),
}

/// Renders the items of one task.
#[derive(Debug)]
pub struct Prompter {
    env: Environment<'static>,
    task: String,
    text: Source,
    target: TargetSource,
    choices: Option<ChoiceSource>,
    target_delimiter: String,
    gen_prefix: String,
    prefix: String,
}

/// A column or a template added to the environment under this key.
#[derive(Debug)]
enum Source {
    Column(String),
    Template(&'static str),
}

const TEXT: &str = "doc_to_text";
const TARGET: &str = "doc_to_target";
const CHOICE: &str = "doc_to_choice";

impl Prompter {
    /// Compiles the task's templates and renders the part all items share.
    ///
    /// # Errors
    /// A template that does not compile, or a shot that does not render.
    pub fn new(task: &Task) -> Result<Self, QualityError> {
        let mut env = Environment::new();
        env.set_undefined_behavior(UndefinedBehavior::Strict);
        env.set_unknown_method_callback(python_method);
        let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
        env.set_syntax(syntax.map_err(|error| template_error(&task.name, TEXT, None, &error))?);
        let source = &task.prompt;
        let mut prompter = Self {
            text: Source::Column(source.doc_to_text.clone()),
            target: source.doc_to_target.clone(),
            choices: source.doc_to_choice.clone(),
            target_delimiter: source.target_delimiter.clone(),
            gen_prefix: source.gen_prefix.clone(),
            prefix: String::new(),
            task: task.name.clone(),
            env,
        };
        let has_column = |name: &str| task.items.first().is_some_and(|item| item.data.contains_key(name));
        if !has_column(&source.doc_to_text) {
            prompter.add(TEXT, &source.doc_to_text)?;
            prompter.text = Source::Template(TEXT);
        }
        if let TargetSource::Text(text) = &source.doc_to_target
            && !has_column(text)
        {
            prompter.add(TARGET, text)?;
        }
        let mut prefix = source.description.clone();
        for shot in &task.shots {
            let answer = prompter.answer(shot)?;
            prefix.push_str(&prompter.question(shot)?);
            prefix.push_str(&prompter.delimiter());
            prefix.push_str(&answer);
            prefix.push_str(&source.fewshot_delimiter);
        }
        prompter.prefix = prefix;
        Ok(prompter)
    }

    /// The text in front of every item: description and worked examples.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The whole prompt of an item, up to where the answer begins.
    ///
    /// # Errors
    /// A template that fails on this item, e.g. for a missing column.
    pub fn context(&self, item: &Item) -> Result<String, QualityError> {
        let gap = if self.gen_prefix.is_empty() { "" } else { self.target_delimiter.as_str() };
        Ok(format!("{}{}{gap}{}", self.prefix, self.question(item)?, self.gen_prefix))
    }

    /// What is put between a context and a choice.
    #[must_use]
    pub fn delimiter(&self) -> String {
        match self.gen_prefix.as_str() {
            "" => self.target_delimiter.clone(),
            prefix if prefix.ends_with(char::is_whitespace) => format!("{}{prefix}", self.target_delimiter),
            prefix => format!("{}{prefix} ", self.target_delimiter),
        }
    }

    /// The item's choices in order; empty for tasks without.
    ///
    /// # Errors
    /// A template that fails, or gives something that is not a list of at least two different texts.
    pub fn choices(&self, item: &Item) -> Result<Vec<String>, QualityError> {
        let choices = match &self.choices {
            None => return Ok(Vec::new()),
            Some(ChoiceSource::List(templates)) => {
                templates.iter().map(|text| self.render(CHOICE, text, item)).collect::<Result<Vec<_>, _>>()?
            }
            Some(ChoiceSource::Expression(text)) => {
                let value = match item.data.get(text) {
                    Some(column) => Value::from(Serde(column)),
                    None => self.evaluate(CHOICE, text, item)?,
                };
                texts(&value).map_err(|reason| self.error(CHOICE, item, reason))?
            }
        };
        if choices.len() < 2 {
            return Err(self.error(CHOICE, item, format!("{} choices; at least 2 are needed", choices.len())));
        }
        if let Some(text) = choices.iter().enumerate().find_map(|(i, c)| choices[..i].contains(c).then_some(c)) {
            return Err(self.error(CHOICE, item, format!("choice {text:?} appears twice")));
        }
        if choices.iter().any(String::is_empty) {
            return Err(self.error(CHOICE, item, "a choice is empty".into()));
        }
        Ok(choices)
    }

    /// The right answer.
    ///
    /// # Errors
    /// A template that fails, or names a choice that does not exist.
    pub fn gold(&self, item: &Item) -> Result<Gold, QualityError> {
        let choices = self.choices(item)?;
        let value = match &self.target {
            TargetSource::Index(index) => Value::from(*index),
            TargetSource::Texts(texts) => return Ok(Gold::Texts(texts.clone())),
            TargetSource::Text(text) => match item.data.get(text) {
                Some(object @ serde_json::Value::Object(_)) => return Ok(Gold::Texts(vec![object.to_string()])),
                Some(column) => Value::from(Serde(column)),
                None => self.evaluate(TARGET, text, item)?,
            },
        };
        if choices.is_empty() {
            return match value.kind() {
                ValueKind::Seq => texts(&value).map(Gold::Texts).map_err(|reason| self.error(TARGET, item, reason)),
                ValueKind::Undefined | ValueKind::None => Err(self.error(TARGET, item, "is missing".into())),
                _ => Ok(Gold::Texts(vec![value.to_string()])),
            };
        }
        let text = value.to_string();
        let by_index = || text.trim().parse::<usize>().ok().filter(|index| *index < choices.len());
        let index = choices.iter().position(|choice| *choice == text).or_else(by_index);
        index.map(Gold::Choice).ok_or_else(|| {
            self.error(TARGET, item, format!("{text:?} is neither one of {choices:?} nor an index into them"))
        })
    }

    /// The right answer as it stands in a worked example.
    fn answer(&self, shot: &Item) -> Result<String, QualityError> {
        Ok(match self.gold(shot)? {
            Gold::Choice(index) => self.choices(shot)?.swap_remove(index),
            Gold::Texts(texts) => texts.into_iter().next().unwrap_or_default(),
        })
    }

    /// Renders every item once.
    ///
    /// # Errors
    /// The first item that does not render.
    pub(crate) fn check_all(&self, task: &Task) -> Result<(), QualityError> {
        for item in &task.items {
            let text = self.question(item)?;
            if text.trim().is_empty() {
                return Err(self.error(TEXT, item, "renders to nothing".into()));
            }
            let gold = self.gold(item)?;
            if matches!(task.output, Output::Choice { .. }) && matches!(gold, Gold::Texts(_)) {
                return Err(self.error(TARGET, item, "multiple_choice needs one right choice, not a list".into()));
            }
        }
        Ok(())
    }

    /// The item's own part of the prompt.
    pub(super) fn question(&self, item: &Item) -> Result<String, QualityError> {
        match &self.text {
            Source::Template(key) => self.render_added(key, item),
            Source::Column(column) => match item.data.get(column) {
                Some(serde_json::Value::String(text)) => Ok(text.clone()),
                Some(other) => Ok(other.to_string()),
                None => Err(self.error(TEXT, item, format!("column `{column}` is missing"))),
            },
        }
    }

    fn add(&mut self, key: &'static str, text: &str) -> Result<(), QualityError> {
        let result = self.env.add_template_owned(key, text.to_owned());
        result.map_err(|error| template_error(&self.task, key, None, &error))
    }

    fn render_added(&self, key: &'static str, item: &Item) -> Result<String, QualityError> {
        let rendered = self.env.get_template(key).and_then(|template| template.render(Serde(&item.data)));
        rendered.map_err(|error| template_error(&self.task, key, Some(item), &error))
    }

    fn render(&self, key: &'static str, text: &str, item: &Item) -> Result<String, QualityError> {
        if !text.contains('{') {
            return Ok(text.to_owned());
        }
        let rendered = self.env.render_str(text, Serde(&item.data));
        rendered.map_err(|error| template_error(&self.task, key, Some(item), &error))
    }

    /// The value of a template that is one expression, else its text.
    fn evaluate(&self, key: &'static str, text: &str, item: &Item) -> Result<Value, QualityError> {
        let trimmed = text.trim();
        let inner = trimmed.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
        match inner.filter(|inner| !inner.contains("{{") && !inner.contains("{%")) {
            None => self.render(key, text, item).map(Value::from),
            Some(expression) => {
                let value = self.env.compile_expression(expression.trim()).and_then(|e| e.eval(Serde(&item.data)));
                value.map_err(|error| template_error(&self.task, key, Some(item), &error))
            }
        }
    }

    fn error(&self, key: &'static str, item: &Item, reason: String) -> QualityError {
        QualityError::Template { task: self.task.clone(), key, item: place(Some(item)), reason }
    }
}

/// Methods of Python's types: `list.index`, which ARC's task file uses, and what minijinja-contrib has.
fn python_method(
    state: &mut minijinja::State<'_, '_>,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, minijinja::Error> {
    match (value.kind(), method, args) {
        (ValueKind::Seq, "index", [wanted]) => {
            value.try_iter()?.position(|entry| entry == *wanted).map(Value::from).ok_or_else(|| {
                minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, format!("{wanted} is not in {value}"))
            })
        }
        _ => minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args),
    }
}

fn template_error(task: &str, key: &'static str, item: Option<&Item>, error: &minijinja::Error) -> QualityError {
    QualityError::Template { task: task.into(), key, item: place(item), reason: error.to_string() }
}

fn place(item: Option<&Item>) -> String {
    item.map(|item| format!(" (item {}, line {})", item.id, item.line)).unwrap_or_default()
}

fn texts(value: &Value) -> Result<Vec<String>, String> {
    let list = value.try_iter().map_err(|error| format!("{value} is no list: {error}"))?;
    if value.kind() != ValueKind::Seq {
        return Err(format!("{value} is no list"));
    }
    Ok(list.map(|entry| entry.to_string()).collect())
}
