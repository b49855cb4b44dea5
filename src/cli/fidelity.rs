//! `tierbench fidelity`.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use serde_json::{Value, json};

use super::engine_args::EngineArgs;
use super::{OutputFormat, Ui, interrupt};
use crate::engine::Engine;
use crate::error::{Error, ExitStatus, Result};
use crate::model::gguf::Gguf;
use crate::model::tokenizer::Tokenizer;
use crate::model::{self, ModelFile};
use crate::quality::QualityError;
use crate::quality::fidelity::{self, Corpus};
use crate::stats::fidelity::{Summary, perplexity, summarize};

/// Perplexity of each tier, and its KL divergence from the base tier, by llama-perplexity's definitions.
///
/// Orders and screens tiers of one model; it is no verdict: near the base it stops predicting task scores.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Model file or catalogue name, with or without `:level`; repeatable
    #[arg(short, long, required = true, value_name = "MODEL")]
    model: Vec<String>,
    /// The most precise tier, which the others are compared with; without it only perplexity is given
    #[arg(long, value_name = "MODEL")]
    base: Option<String>,
    /// Text file
    #[arg(long, value_name = "FILE")]
    corpus: PathBuf,
    /// Tokens of a chunk; the second half of each is scored
    #[arg(short, long, default_value_t = 512, value_name = "N")]
    ctx: usize,
    /// Chunks to use [default: all]
    #[arg(long, value_name = "N")]
    chunks: Option<usize>,
    /// Do not compare the base with itself at f32 activations: how much of a divergence is the engine's own noise
    #[arg(long, requires = "base")]
    no_noise: bool,
    /// Also run each tier at f32 activations: how much of its divergence its weights alone make
    #[arg(long, requires = "base")]
    weights_alone: bool,
    /// Format of the result
    #[arg(short, long, value_parser = OutputFormat::among(&[OutputFormat::Table, OutputFormat::Json]), default_value = "table")]
    output: OutputFormat,
    /// Threads; 0 for all physical cores
    #[arg(short, long, default_value_t = 0)]
    threads: u32,
    #[command(flatten)]
    engine: EngineArgs,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<ExitStatus> {
    let text = std::fs::read_to_string(&args.corpus).map_err(|source| Error::Io {
        action: "read",
        path: args.corpus.clone(),
        source,
    })?;
    let options = ui.source_options()?;
    let base = args.base.as_ref().map(|spec| model::resolve(spec, &options, &mut ui.bar())).transpose()?;
    let files = args.model.iter().map(|spec| model::resolve(spec, &options, &mut ui.bar()));
    let files = files.collect::<Result<Vec<_>, _>>()?;
    let (rows, noise) = match base {
        Some(base) => compared(args, &base, &files, &text, ui)?,
        None => {
            let rows = files.iter().map(|file| alone(args, file, &text, ui)).collect::<Result<Vec<_>>>()?;
            (rows, None)
        }
    };
    print(args.output, &rows, noise.as_ref(), ui)?;
    Ok(if interrupt::requested() { ExitStatus::Interrupted } else { ExitStatus::Success })
}

/// A tier's line.
struct Row {
    tier: String,
    value: Value,
}

fn tokenizer(path: &Path) -> Result<Tokenizer> {
    let gguf = Gguf::open(path).map_err(model::ModelError::from)?;
    Ok(Tokenizer::from_gguf(&gguf).map_err(model::ModelError::from)?)
}

fn corpus(args: &Args, tokenizer: &Tokenizer, text: &str) -> Result<Corpus> {
    let tokens = tokenizer.encode(text, true, false).map_err(model::ModelError::from)?;
    let bos = tokenizer.bos().filter(|_| tokenizer.adds_bos());
    Ok(Corpus::new(&tokens, args.ctx, bos, args.chunks)?)
}

fn load(args: &Args, path: &Path, activations: Option<&str>) -> Result<Box<dyn Engine>> {
    let n_ctx = u32::try_from(args.ctx).unwrap_or(u32::MAX);
    let mut config = args.engine.config(args.threads, n_ctx, 1);
    config.activations = activations.map(str::to_owned).or(config.activations);
    Ok(args.engine.load(path, &config)?)
}

/// What the base's own quantized activations do to it.
struct Noise {
    base: String,
    /// Activations of the base as it is used.
    activations: String,
    /// Mean KLD of the base with f32 activations from itself; 0 if it uses them anyway.
    mean_kld: f64,
    same_top_pct: f64,
}

/// Every tier against the base, one after the other: two models in memory, not the whole ladder.
fn compared(
    args: &Args,
    base: &ModelFile,
    files: &[ModelFile],
    text: &str,
    ui: &Ui,
) -> Result<(Vec<Row>, Option<Noise>)> {
    let base_tokenizer = tokenizer(&base.path)?;
    let corpus = corpus(args, &base_tokenizer, text)?;
    let mut base_engine = load(args, &base.path, None)?;
    let mut against_base = |name: &str, candidates: &mut [Box<dyn Engine>]| {
        let bar = ui.progress(corpus.n_chunks() as u64, false);
        bar.set_message(name.to_owned());
        let positions = fidelity::compare(&corpus, base_engine.as_mut(), candidates, &mut |done| {
            bar.set_position(done as u64);
            if interrupt::requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        bar.finish_and_clear();
        positions.map(|tiers| tiers.iter().map(|positions| summarize(positions)).collect::<Vec<_>>())
    };
    let activations = load(args, &base.path, None)?.facts().activations.clone();
    let mut noise = None;
    if !args.no_noise {
        let exact = activations == "f32";
        let summary = match exact {
            true => None,
            false => {
                against_base(&format!("{} (f32 activations)", base.name), &mut [load(args, &base.path, Some("f32"))?])?
                    .pop()
                    .flatten()
            }
        };
        if exact || summary.is_some() {
            noise = Some(Noise {
                base: base.name.clone(),
                activations,
                mean_kld: summary.as_ref().map_or(0.0, |s| s.mean_kld.value),
                same_top_pct: summary.as_ref().map_or(100.0, |s| 100.0 * s.same_top.value),
            });
        }
    }
    let mut rows = Vec::new();
    for file in files {
        if interrupt::requested() {
            break;
        }
        if tokenizer(&file.path)?.fingerprint() != base_tokenizer.fingerprint() {
            let (got, base) = (file.path.display().to_string(), base.path.display().to_string());
            return Err(QualityError::TokenizerMismatch { got, base }.into());
        }
        let mut candidates = vec![load(args, &file.path, None)?];
        if args.weights_alone {
            candidates.push(load(args, &file.path, Some("f32"))?);
        }
        let mut summaries = against_base(&file.name, &mut candidates)?.into_iter();
        let (Some(Some(summary)), alone) = (summaries.next(), summaries.next().flatten()) else { continue };
        let mut value = described(&file.name, file, base, &summary);
        let facts = candidates[0].facts();
        value["isa"] = facts.isa.clone().into();
        value["activations"] = facts.activations.clone().into();
        value["noise_kld"] = noise.as_ref().map(|noise| noise.mean_kld).into();
        value["weights_alone_kld"] = alone.map(|summary| summary.mean_kld.value).into();
        value["weights_alone_same_top_pct"] = alone.map(|summary| 100.0 * summary.same_top.value).into();
        rows.push(Row { value, tier: file.name.clone() });
    }
    Ok((rows, noise))
}

fn described(tier: &str, file: &ModelFile, base: &ModelFile, s: &Summary) -> Value {
    json!({
        "tier": tier,
        "level": file.level,
        "sha256": file.sha256,
        "base": base.name,
        "base_sha256": base.sha256,
        "positions": s.n,
        "ppl": s.ppl.value,
        "ppl_stderr": s.ppl.error,
        "ppl_base": s.ppl_base.value,
        "ln_ratio": s.ln_ratio.value,
        "ln_ratio_stderr": s.ln_ratio.error,
        "mean_kld": s.mean_kld.value,
        "mean_kld_stderr": s.mean_kld.error,
        "median_kld": s.median_kld,
        "p99_kld": s.p99_kld,
        "max_kld": s.max_kld,
        "same_top_pct": 100.0 * s.same_top.value,
        "same_top_pct_stderr": 100.0 * s.same_top.error,
        "rms_dp_pct": 100.0 * s.rms_dp,
    })
}

fn alone(args: &Args, file: &ModelFile, text: &str, ui: &Ui) -> Result<Row> {
    let corpus = corpus(args, &tokenizer(&file.path)?, text)?;
    let mut engine = load(args, &file.path, None)?;
    let bar = ui.progress(corpus.n_chunks() as u64, false);
    bar.set_message(file.name.clone());
    let nll = fidelity::nll(&corpus, engine.as_mut(), &mut |done| {
        bar.set_position(done as u64);
        if interrupt::requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    bar.finish_and_clear();
    let ppl = perplexity(&nll);
    let value = json!({
        "tier": file.name,
        "level": file.level,
        "sha256": file.sha256,
        "positions": nll.len(),
        "ppl": ppl.map(|p| p.value),
        "ppl_stderr": ppl.map(|p| p.error),
    });
    Ok(Row { tier: file.name.clone(), value })
}

fn print(output: OutputFormat, rows: &[Row], noise: Option<&Noise>, ui: &Ui) -> Result<()> {
    if output == OutputFormat::Json {
        let noise = noise.map(|n| {
            json!({
                "base": n.base,
                "activations": n.activations,
                "mean_kld": n.mean_kld,
                "same_top_pct": n.same_top_pct,
            })
        });
        return ui.line(json!({ "tiers": rows.iter().map(|row| &row.value).collect::<Vec<_>>(), "noise": noise }));
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    let alone = rows.iter().any(|row| row.value["weights_alone_kld"].is_number());
    let mut header =
        vec!["tier", "PPL", "ln ratio", "mean KLD", "of it noise", "median", "99 %", "max", "same top %", "RMS Δp %"];
    if alone {
        header.insert(5, "weights alone");
    }
    table.set_header(header);
    for Row { tier, value } in rows {
        let number =
            |key: &str, digits: usize| value[key].as_f64().map_or_else(|| "—".to_owned(), |x| format!("{x:.digits$}"));
        let with_error = |key: &str, error: &str, digits| match value[error].is_number() {
            true => format!("{} ± {}", number(key, digits), number(error, digits)),
            false => number(key, digits),
        };
        let mut columns = vec![
            with_error("ppl", "ppl_stderr", 3),
            with_error("ln_ratio", "ln_ratio_stderr", 4),
            with_error("mean_kld", "mean_kld_stderr", 5),
            number("noise_kld", 5),
            number("median_kld", 4),
            number("p99_kld", 4),
            number("max_kld", 3),
            number("same_top_pct", 2),
            number("rms_dp_pct", 2),
        ];
        if alone {
            columns.insert(4, number("weights_alone_kld", 5));
        }
        let columns = columns.into_iter().map(|text| Cell::new(text).set_alignment(CellAlignment::Right));
        table.add_row(std::iter::once(Cell::new(tier)).chain(columns));
    }
    ui.line(table)?;
    match noise {
        Some(n) if n.activations == "f32" => ui.line(format_args!(
            "Noise: {} computes with f32 activations, so that its own is 0; a tier with quantized activations adds the noise \
             of its own, which --weights-alone tells apart.",
            n.base
        )),
        Some(n) => ui.line(format_args!(
            "Noise: {} with its {} activations lies {:.5} nat from itself with f32 activations (same top {:.2} %): a KLD near \
             that is the engine's, not the weights'.",
            n.base, n.activations, n.mean_kld, n.same_top_pct
        )),
        None => Ok(()),
    }
}
