//! Chat templates: the Jinja template a model file carries, rendered with Python semantics as
//! `transformers.apply_chat_template` does (white-space control, string methods, `raise_exception`, `strftime_now`,
//! `tojson`, loop controls).
//!
//! A template is a program from a file that is not trusted: steps, nesting, and the sizes of template and output are
//! bounded. Its values are not, so a template that doubles a string thirty times can use up memory.

mod clock;
mod json;

#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::path::PathBuf;

use minijinja::{AutoEscape, Environment, ErrorKind, Value};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::gguf::Gguf;

/// Largest template, bytes; the largest known one has 20 kB.
const MAX_SOURCE: usize = 1 << 20;
/// Largest rendered chat, bytes.
const MAX_OUTPUT: usize = 64 << 20;
/// Most steps of a rendering. A long chat on the largest known template takes a few hundred thousand.
const MAX_STEPS: u64 = 20_000_000;
/// Deepest nesting of macros and includes.
const MAX_DEPTH: usize = 64;
/// What `strftime_now` tells if the caller does not: 2024-07-26T00:00:00Z, the date Llama-3's own template falls back
/// to. A template that asks for today would otherwise give other tokens every day, and no run could be repeated.
const DEFAULT_TIME: i64 = 1_721_952_000;

/// Why a template cannot be used or does not take a chat.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChatError {
    /// The template is no valid template.
    #[error("{path}: bad chat template: {reason}")]
    Template {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },
    /// The template refuses the chat (`raise_exception`), e.g. because it knows no system role.
    #[error("{path}: the chat template refuses the messages: {reason}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// What the template said.
        reason: String,
    },
    /// Rendering fails or exceeds its bounds.
    #[error("{path}: cannot render the chat template: {reason}")]
    Render {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
}

/// One message of a chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// Its text.
    pub content: String,
}

impl Message {
    /// A message.
    #[must_use]
    pub fn new(role: &str, content: &str) -> Self {
        Self { role: role.to_owned(), content: content.to_owned() }
    }
}

/// How to render.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RenderOptions {
    /// End with the head of the assistant's answer.
    pub add_generation_prompt: bool,
    /// The `enable_thinking` switch of Qwen3 and its kin; `None` leaves the template's own default.
    pub enable_thinking: Option<bool>,
    /// Seconds since 1970 that `strftime_now` tells; `None` is a fixed day, so that runs can be repeated.
    pub unix_time: Option<i64>,
}

/// A model's chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    path: PathBuf,
    environment: Environment<'static>,
    bos: String,
    eos: String,
    hash: String,
}

const NAME: &str = "chat_template";

impl ChatTemplate {
    /// The template of a model file; `None` if it has none (a base model).
    ///
    /// # Errors
    /// [`ChatError::Template`] if it is there but no valid template.
    pub fn from_gguf(gguf: &Gguf) -> Result<Option<Self>, ChatError> {
        let Some(source) = gguf.str("tokenizer.chat_template") else { return Ok(None) };
        let token = |key: &str| {
            let id = gguf.u32(key)? as usize;
            Some(gguf.strs("tokenizer.ggml.tokens")?.nth(id)?.to_owned())
        };
        let bos = token("tokenizer.ggml.bos_token_id").unwrap_or_default();
        let eos = token("tokenizer.ggml.eos_token_id").unwrap_or_default();
        Self::new(gguf.path().to_owned(), source, bos, eos).map(Some)
    }

    /// A template from its source; `path` is named in errors, `bos` and `eos` are the texts of the tokens.
    ///
    /// # Errors
    /// [`ChatError::Template`].
    pub fn new(path: PathBuf, source: &str, bos: String, eos: String) -> Result<Self, ChatError> {
        if source.len() > MAX_SOURCE {
            let reason = format!("it has {} bytes, the limit is {MAX_SOURCE}", source.len());
            return Err(ChatError::Template { path, reason });
        }
        let mut environment = environment();
        let prepared = without_generation_marks(source);
        if let Err(error) = environment.add_template_owned(NAME, prepared) {
            return Err(ChatError::Template { path, reason: one_line(&error) });
        }
        let hash = Sha256::digest(source.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { path, environment, bos, eos, hash })
    }

    /// Renders a chat. Encode the result with [`super::tokenizer::Tokenizer::encode_chat`].
    ///
    /// # Errors
    /// [`ChatError::Refused`] and [`ChatError::Render`].
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String, ChatError> {
        self.render_with(messages, &RenderOptions { add_generation_prompt, ..RenderOptions::default() })
    }

    /// Renders a chat with all options.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`].
    pub fn render_with(&self, messages: &[Message], options: &RenderOptions) -> Result<String, ChatError> {
        let mut variables = vec![
            ("messages", Value::from(minijinja::value::Serde(messages))),
            ("add_generation_prompt", options.add_generation_prompt.into()),
            ("bos_token", self.bos.as_str().into()),
            ("eos_token", self.eos.as_str().into()),
        ];
        // A variable that is not given must be undefined: templates ask `is defined`.
        variables.extend(options.enable_thinking.map(|on| ("enable_thinking", on.into())));
        let now = options.unix_time.unwrap_or(DEFAULT_TIME);
        variables.push(("strftime_now", Value::from_function(move |format: String| clock::strftime(now, &format))));

        let mut output = Bounded(Vec::new());
        let template = self.environment.get_template(NAME).map_err(|error| self.failed(&error))?;
        template.render_captured_to(Value::from_pairs(variables), &mut output).map_err(|error| self.failed(&error))?;
        String::from_utf8(output.0)
            .map_err(|error| ChatError::Render { path: self.path.clone(), reason: error.to_string() })
    }

    /// SHA-256 of the template's source, lower-case hex: what a record names.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    fn failed(&self, error: &minijinja::Error) -> ChatError {
        let path = self.path.clone();
        match raised(error) {
            Some(reason) => ChatError::Refused { path, reason },
            None => ChatError::Render { path, reason: one_line(error) },
        }
    }
}

/// Marks an error as raised by the template itself.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

fn raised(error: &minijinja::Error) -> Option<String> {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(Raised(message)) = cause.downcast_ref() {
            return Some(message.replace('\n', " "));
        }
        source = cause.source();
    }
    None
}

fn one_line(error: &minijinja::Error) -> String {
    error.to_string().replace('\n', " ")
}

/// The environment `transformers` sets up.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = environment.syntax().to_builder().trim_blocks(true).lstrip_blocks(true).build();
    // Only delimiters can make a syntax invalid, and they are the default ones.
    environment.set_syntax(syntax.unwrap_or_default());
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_unknown_method_callback(unknown_method_callback);
    environment.set_fuel(Some(MAX_STEPS));
    environment.set_recursion_limit(MAX_DEPTH);
    environment.add_function("raise_exception", |message: String| -> Result<Value, minijinja::Error> {
        let error = minijinja::Error::new(ErrorKind::InvalidOperation, message.clone());
        Err(error.with_source(Raised(message)))
    });
    environment.add_filter("tojson", json::dumps);
    environment
}

/// `{% generation %}` marks the assistant's text for training and is no Jinja: it becomes a condition that holds, which
/// keeps the white-space control of the tag.
fn without_generation_marks(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start);
        out.push_str(before);
        let Some(end) = tag.find("%}").map(|end| end + 2) else {
            rest = tag;
            break;
        };
        let inner = tag[2..end - 2].trim_start_matches(['-', '+']).trim_end_matches(['-', '+']).trim();
        match inner {
            "generation" => out.push_str(&tag[..end].replace("generation", "if true")),
            "endgeneration" => out.push_str(&tag[..end].replace("endgeneration", "endif")),
            _ => out.push_str(&tag[..end]),
        }
        rest = &tag[end..];
    }
    out + rest
}

/// An output that refuses to grow without end.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the rendered chat is too long"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
