//! `tierbench quantize`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use serde_json::json;

use super::Ui;
use super::bar::Bar;
use crate::error::{Error, ExitStatus, Result};
use crate::model::quantize::{Quantized, quantize_file};
use crate::model::{self, ModelError, ModelFile};
use crate::plan::Level;
use crate::units::Bytes;

/// Make GGUF files at the named quantization levels from one source
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Source: a GGUF file or a catalogue name
    #[arg(short, long, value_name = "MODEL")]
    model: String,
    /// Levels to make, e.g. q4_0,q2_k
    #[arg(short, long, value_name = "LEVELS", value_delimiter = ',', required = true, num_args = 1..)]
    level: Vec<Level>,
    /// Where to put the files
    #[arg(short = 'd', long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Replace files that are there already
    #[arg(short, long)]
    force: bool,
    /// Format
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For the terminal
    Table,
    /// Markdown
    Md,
    /// JSON
    Json,
}

/// A file that was made and how long it took.
struct Made {
    level: Level,
    file: Quantized,
    seconds: f64,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<ExitStatus> {
    let mut bar = Bar::new(ui);
    let source = model::resolve(&args.model, &ui.source_options()?, &mut bar)?;
    let outputs: Vec<_> = args.level.iter().map(|level| args.dir.join(file_name(&source, *level))).collect();
    if let Some(there) = outputs.iter().find(|path| !args.force && path.exists()) {
        return Err(Error::Usage(format!("{} exists: pass --force to replace it", there.display())));
    }
    create(&args.dir)?;
    let mut made = Vec::with_capacity(outputs.len());
    for (&level, out) in args.level.iter().zip(&outputs) {
        let start = Instant::now();
        let file = quantize_file(&source.path, out, level, &mut bar).map_err(ModelError::from)?;
        made.push(Made { level, file, seconds: start.elapsed().as_secs_f64() });
    }
    match args.output {
        Format::Json => {
            let rows: Vec<_> = made.iter().map(described).collect();
            ui.line(serde_json::Value::from(rows))?;
        }
        format => ui.line(table(format, &made))?,
    }
    Ok(ExitStatus::Success)
}

fn create(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|source| Error::Io { action: "create", path: dir.to_owned(), source })
}

/// `SmolLM2-135M-Instruct.Q4_1.gguf` at q4_0 → `SmolLM2-135M-Instruct-Q4_0.gguf`.
fn file_name(source: &ModelFile, level: Level) -> String {
    let stem = source.path.file_stem().map_or_else(|| source.name.clone(), |stem| stem.to_string_lossy().into_owned());
    format!("{}-{}.gguf", without_level(&stem), level.name().to_uppercase())
}

/// The stem of a file name without the level it ends in.
fn without_level(stem: &str) -> &str {
    let lower = stem.to_ascii_lowercase();
    let ends_in = |level: &&Level| lower.strip_suffix(level.name()).is_some_and(|rest| rest.ends_with(['.', '-', '_']));
    // The longest name first: `q5_k_s` before any shorter one it may end in.
    let level = Level::ALL.iter().filter(ends_in).max_by_key(|level| level.name().len());
    // Lower-casing ASCII keeps every byte in its place.
    level
        .and_then(|level| stem.get(..stem.len() - level.name().len() - 1))
        .filter(|rest| !rest.is_empty())
        .unwrap_or(stem)
}

fn described(made: &Made) -> serde_json::Value {
    json!({
        "level": made.level,
        "path": made.file.path,
        "bytes": made.file.bytes,
        "tensor_bytes": made.file.tensor_bytes,
        "bits_per_weight": made.file.bits_per_weight(),
        "seconds": made.seconds,
        "requantized_from": made.file.requantized_from,
    })
}

fn table(format: Format, made: &[Made]) -> Table {
    let mut table = Table::new();
    if format == Format::Md {
        table.load_style(presets::ASCII_MARKDOWN);
    } else {
        table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    }
    table.set_header(["level", "file", "MiB", "bits/weight", "s", "requantized from"]);
    for Made { level, file, seconds } in made {
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        let dash = || "—".to_owned();
        table.add_row([
            Cell::new(level),
            Cell::new(file.path.display()),
            right(format!("{:.1}", Bytes(file.bytes).mib())),
            right(file.bits_per_weight().map_or_else(dash, |bits| format!("{bits:.2}"))),
            right(format!("{seconds:.1}")),
            Cell::new(file.requantized_from.clone().unwrap_or_else(dash)),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_of_the_source_is_not_part_of_the_new_name() {
        for (stem, expected) in [
            ("SmolLM2-135M-Instruct.Q4_1", "SmolLM2-135M-Instruct"),
            ("gemma-3-270m-q4_k_m", "gemma-3-270m"),
            ("model-Q5_K_S", "model"),
            ("model", "model"),
            ("q4_0", "q4_0"),
            ("-q4_0", "-q4_0"),
            ("xq4_0", "xq4_0"),
        ] {
            assert_eq!(without_level(stem), expected);
        }
    }
}
