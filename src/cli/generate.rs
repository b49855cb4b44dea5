//! `tierbench generate`: a prompt through a tier, streamed, or as JSON with log-probabilities.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use super::engine_args::{EngineArgs, named_or_default};
use super::{OutputFormat, Ui, interrupt};
use crate::engine::sample::{Sampler, Sampling};
use crate::engine::{Batch, Engine, EngineError, SeqId, logprob};
use crate::error::{Error, ExitStatus, Result};
use crate::model::chat::{ChatTemplate, Message};
use crate::model::gguf::Gguf;
use crate::model::tokenizer::Tokenizer;
use crate::model::{self, SourceOptions};

/// Run a prompt through a tier
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Model: a GGUF file, a catalogue name, or NAME:LEVEL [default: the catalogue's default model]
    #[arg(short, long, value_name = "MODEL")]
    model: Option<String>,
    /// The prompt
    #[arg(short, long, value_name = "TEXT", conflicts_with = "file")]
    prompt: Option<String>,
    /// File that holds the prompt
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The prompt as it stands: no chat template; special tokens in the text are parsed
    #[arg(long)]
    raw: bool,
    /// Most tokens to generate
    #[arg(short, long, default_value_t = 128, value_name = "N")]
    n_gen: u32,
    /// Temperature; 0 takes the likeliest token
    #[arg(long, default_value_t = 0.0, value_name = "T")]
    temp: f64,
    /// Only the K likeliest tokens; 0 is all
    #[arg(long, default_value_t = 0, value_name = "K")]
    top_k: usize,
    /// Only the likeliest tokens whose probability reaches P
    #[arg(long, default_value_t = 1.0, value_name = "P")]
    top_p: f64,
    /// Seed of the sampler
    #[arg(long, default_value_t = 0, value_name = "SEED")]
    seed: u64,
    /// Threads; 0 is all cores
    #[arg(short, long, default_value_t = 0, value_name = "N")]
    threads: u32,
    /// Report ln p of every prompt token and every generated token
    #[arg(long)]
    logprobs: bool,
    /// Format; table is the text as it comes
    #[arg(short, long, value_parser = OutputFormat::among(&[OutputFormat::Table, OutputFormat::Json]), default_value = "table")]
    output: OutputFormat,
    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Debug, Serialize)]
struct Generation {
    model: String,
    model_sha256: String,
    engine: String,
    prompt_ids: Vec<u32>,
    /// ln p(token i | tokens before); null for the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_logprobs: Option<Vec<Option<f64>>>,
    ids: Vec<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<Vec<f64>>,
    text: String,
    finish_reason: &'static str,
    prefill_ns: u64,
    decode_ns: u64,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<ExitStatus> {
    for (flag, value) in [("--temp", args.temp), ("--top-p", args.top_p)] {
        if !(value.is_finite() && value >= 0.0) {
            return Err(Error::Usage(format!("{flag} {value}: use a number of at least 0")));
        }
    }
    let text = match (&args.prompt, &args.file) {
        (Some(text), _) => text.clone(),
        (None, Some(path)) => read_text(path)?,
        (None, None) => return Err(Error::Usage("no prompt: give -p TEXT or -f FILE".into())),
    };
    let options = SourceOptions::platform(ui.offline)?;
    let spec = named_or_default(args.model.as_deref(), &options)?;
    let file = model::resolve(&spec, &options, &mut ui.bar())?;
    let gguf = Gguf::open(&file.path).map_err(model::ModelError::from)?;
    let tokenizer = Tokenizer::from_gguf(&gguf).map_err(model::ModelError::from)?;
    let prompt_ids = encode(args.raw, &text, &gguf, &tokenizer)?;
    if prompt_ids.is_empty() {
        return Err(Error::Usage("the prompt is empty: the model needs at least one token to start from".into()));
    }
    let n_prompt =
        u32::try_from(prompt_ids.len()).map_err(|_too_long| Error::Usage("the prompt is too long".into()))?;

    let config = args.engine.config(args.threads, n_prompt.saturating_add(args.n_gen), 1);
    let mut engine = args.engine.load(&file.path, &config)?;
    for caveat in &engine.facts().caveats {
        ui.warn(caveat);
    }
    let seq = engine.sequence()?;
    let start = Instant::now();
    let prompt = prefill(engine.as_mut(), seq, &prompt_ids, args.logprobs)?;
    let prefill_ns = nanos(start);

    let sampling = Sampling { temperature: args.temp, top_k: args.top_k, top_p: args.top_p, seed: args.seed };
    let stream = args.output == OutputFormat::Table;
    let start = Instant::now();
    let mut printed = 0;
    let (ids, logprobs, finish_reason) = decode(engine.as_mut(), seq, n_prompt, prompt.last, args, sampling, |ids| {
        if stream {
            print_new(ui, &tokenizer, ids, &mut printed)?;
        }
        Ok(ids.last().is_some_and(|&id| tokenizer.is_end(id)))
    })?;
    let decode_ns = nanos(start);
    if stream {
        ui.line("")?;
        return Ok(status(finish_reason));
    }
    let generation = Generation {
        model: file.name,
        model_sha256: file.sha256,
        engine: engine.facts().name.clone(),
        prompt_ids,
        prompt_logprobs: args.logprobs.then_some(prompt.logprobs),
        text: tokenizer.decode(&ids, true),
        ids,
        logprobs: args.logprobs.then_some(logprobs),
        finish_reason,
        prefill_ns,
        decode_ns,
    };
    ui.json(&generation)?;
    Ok(status(finish_reason))
}

fn status(finish_reason: &str) -> ExitStatus {
    if finish_reason == "interrupted" { ExitStatus::Interrupted } else { ExitStatus::Success }
}

fn read_text(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|source| Error::Io { action: "read", path: path.to_owned(), source })?;
    String::from_utf8(bytes).map_err(|error| Error::Io {
        action: "read",
        path: path.to_owned(),
        source: std::io::Error::new(std::io::ErrorKind::InvalidData, error.utf8_error().to_string()),
    })
}

fn encode(raw: bool, text: &str, gguf: &Gguf, tokenizer: &Tokenizer) -> Result<Vec<u32>> {
    let template = if raw { None } else { ChatTemplate::from_gguf(gguf).map_err(model::ModelError::from)? };
    Ok(match template {
        Some(template) => {
            let message = Message { role: "user".into(), content: text.to_owned() };
            let rendered = template.render(&[message], true).map_err(model::ModelError::from)?;
            tokenizer.encode_chat(&rendered).map_err(model::ModelError::from)?
        }
        // A base model has no template: the text is what it continues.
        None => tokenizer.encode(text, true, true).map_err(model::ModelError::from)?,
    })
}

struct Prefilled {
    logprobs: Vec<Option<f64>>,
    /// Logits after the last prompt token.
    last: Vec<f32>,
}

/// Feeds the prompt. With `logprobs` every position's logits are taken, a piece at a time, so that a long prompt does not
/// need `n_prompt × n_vocab` floats.
fn prefill(engine: &mut dyn Engine, seq: SeqId, prompt: &[u32], logprobs: bool) -> Result<Prefilled> {
    const PIECE: usize = 64;
    let mut batch = Batch::new();
    let mut all = vec![None];
    let mut last = Vec::new();
    let piece = if logprobs { PIECE } else { prompt.len() };
    for (n, tokens) in prompt.chunks(piece.max(1)).enumerate() {
        batch.clear();
        let start = n * piece;
        for (i, &token) in tokens.iter().enumerate() {
            let pos = u32::try_from(start + i).map_err(|_too_long| Error::Usage("the prompt is too long".into()))?;
            batch.push(token, seq, pos, logprobs || start + i + 1 == prompt.len());
        }
        let logits = engine.forward(&batch)?;
        if logprobs {
            for (i, target) in prompt.iter().skip(start + 1).take(tokens.len()).enumerate() {
                all.push(logits.row(i).and_then(|row| logprob(row, *target)));
            }
        }
        if let Some(row) = logits.n_rows().checked_sub(1).and_then(|i| logits.row(i)) {
            last = row.to_vec();
        }
    }
    Ok(Prefilled { logprobs: all, last })
}

/// Generates until an end token, the limit, or Ctrl-C; `emit` sees all ids so far after each token
/// and tells whether the last one ends the text.
fn decode(
    engine: &mut dyn Engine,
    seq: SeqId,
    n_prompt: u32,
    mut logits: Vec<f32>,
    args: &Args,
    sampling: Sampling,
    mut emit: impl FnMut(&[u32]) -> Result<bool>,
) -> Result<(Vec<u32>, Vec<f64>, &'static str)> {
    let mut sampler = Sampler::new(sampling);
    let (mut ids, mut logprobs) = (Vec::new(), Vec::new());
    let mut batch = Batch::new();
    for pos in (n_prompt..).take(args.n_gen as usize) {
        if interrupt::requested() {
            return Ok((ids, logprobs, "interrupted"));
        }
        let not_a_number = EngineError::NotANumber { seq: seq.0, pos: pos - 1 };
        let Some(token) = sampler.next(&logits) else { return Err(not_a_number.into()) };
        ids.push(token);
        logprobs.push(logprob(&logits, token).unwrap_or(f64::NEG_INFINITY));
        if emit(&ids)? {
            return Ok((ids, logprobs, "stop"));
        }
        if ids.len() < args.n_gen as usize {
            batch.clear();
            batch.push(token, seq, pos, true);
            logits.clear();
            logits.extend_from_slice(engine.forward(&batch)?.data);
        }
    }
    Ok((ids, logprobs, "length"))
}

/// Prints the text the newest token completes. Bytes of an unfinished character wait for the token that completes it.
fn print_new(ui: &Ui, tokenizer: &Tokenizer, ids: &[u32], printed: &mut usize) -> Result<()> {
    let bytes = tokenizer.decode_bytes(ids, true);
    let valid = match std::str::from_utf8(&bytes) {
        Ok(_) => bytes.len(),
        // An error in the middle is not an unfinished character: let it pass as it is.
        Err(error) => error.error_len().map_or(error.valid_up_to(), |_| bytes.len()),
    };
    if let Some(new) = bytes.get(*printed..valid) {
        ui.write(new)?;
        *printed = valid;
    }
    Ok(())
}

fn nanos(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
