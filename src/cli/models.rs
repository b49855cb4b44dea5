//! `tierbench models`.

use std::path::PathBuf;

use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle, presets};
use serde_json::{Value, json};

use super::Ui;
use crate::error::{Error, ExitStatus, Result};
use crate::model::{self, Cache, Catalogue, Health, LockEntry, Manifest, ModelFile};

/// List, show, fetch and check models
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the catalogue and what of it is in the cache
    List {
        /// Format
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
    /// Show one model: licence, files, sources
    Show {
        /// Catalogue name
        name: String,
        /// Format
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
    /// Fetch models into the cache
    Fetch {
        /// Catalogue names, with or without `:level`; the default model if none
        models: Vec<String>,
        /// Format
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
    /// Hash every cached file and compare it with the lock file
    Check {
        /// Catalogue names; all cached models if none
        models: Vec<String>,
        /// Format
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
    /// Print the path of a model's file, fetching it if needed; without a name the cache directory
    Path {
        /// Catalogue name, with or without `:level`
        model: Option<String>,
    },
    /// Check a manifest and add it to your catalogue
    Add {
        /// The manifest, a TOML file (format: models/README.md)
        manifest: PathBuf,
    },
}

/// A rule below the header and nothing else: rows are copied and searched more often than admired.
const PLAIN: TableStyle = TableStyle::new().header_separator(LineStyle::new('─', '─', '─', '─'));

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For the terminal
    Table,
    /// Markdown
    Md,
    /// JSON
    Json,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<ExitStatus> {
    match &args.command {
        Command::List { output } => list(*output, ui),
        Command::Show { name, output } => show(name, *output, ui),
        Command::Fetch { models, output } => fetch(models, *output, ui),
        Command::Check { models, output } => check(models, *output, ui),
        Command::Path { model } => path(model.as_deref(), ui),
        Command::Add { manifest } => add(manifest, ui),
    }
}

fn list(format: Format, ui: &Ui) -> Result<ExitStatus> {
    let options = ui.source_options()?;
    let catalogue = Catalogue::load(&options)?;
    let cached = cached_files(&Cache::new(&options.cache_dir))?;
    let of = |manifest: &Manifest| -> Vec<&LockEntry> {
        cached.iter().filter(|entry| entry.model == manifest.name).collect()
    };
    if format == Format::Json {
        let models: Vec<Value> = catalogue.manifests().iter().map(|m| described(m, &of(m))).collect();
        return print_json(&Value::Array(models), ui);
    }
    let default = catalogue.default_model().map(|manifest| manifest.name.as_str());
    let mut table = table(format, &["model", "parameters", "licence", "levels", "cached", "verified"]);
    for manifest in catalogue.manifests() {
        let marked = if default == Some(manifest.name.as_str()) { " (default)" } else { "" };
        let levels: Vec<_> = manifest.files.iter().map(|file| file.level.name()).collect();
        let here: Vec<_> = manifest
            .files
            .iter()
            .filter(|file| of(manifest).iter().any(|entry| entry.file.ends_with(&format!("/{}", file.file))))
            .map(|file| file.level.name())
            .collect();
        table.add_row(vec![
            Cell::new(format!("{}{marked}", manifest.name)),
            Cell::new(count(manifest.params)).set_alignment(CellAlignment::Right),
            Cell::new(&manifest.licence.name),
            Cell::new(levels.join(" ")),
            Cell::new(if here.is_empty() { "—".to_owned() } else { here.join(" ") }),
            Cell::new(&manifest.verified),
        ]);
    }
    ui.line(table)?;
    Ok(ExitStatus::Success)
}

fn show(name: &str, format: Format, ui: &Ui) -> Result<ExitStatus> {
    let options = ui.source_options()?;
    let catalogue = Catalogue::load(&options)?;
    let manifest = catalogue.get(name)?;
    let cached = cached_files(&Cache::new(&options.cache_dir))?;
    let here: Vec<_> = cached.iter().filter(|entry| entry.model == manifest.name).collect();
    if format == Format::Json {
        return print_json(&described(manifest, &here), ui);
    }
    ui.line(format_args!("{} ({})", manifest.title, manifest.name))?;
    ui.line(format_args!("  {} parameters, architecture {}", count(manifest.params), manifest.architecture))?;
    ui.line(format_args!("  licence {} <{}>", manifest.licence.name, manifest.licence.url))?;
    ui.line(format_args!("  model card <{}>", manifest.home))?;
    if let Some(note) = &manifest.note {
        ui.line(format_args!("  {note}"))?;
    }
    ui.line(format_args!("  verified: {}", manifest.verified))?;
    ui.line(format_args!("  manifest: {}", manifest.origin.display()))?;
    let mut table = table(format, &["level", "file", "size", "sha256", "sources", "cached"]);
    for file in &manifest.files {
        let entry = here.iter().find(|entry| entry.file.ends_with(&format!("/{}", file.file)));
        let hash = file.sha256.as_deref().or(entry.map(|entry| entry.sha256.as_str()));
        let size = file.bytes.or(entry.map(|entry| entry.bytes));
        let sources: Vec<_> = file.sources.iter().map(ToString::to_string).collect();
        table.add_row(vec![
            Cell::new(file.level),
            Cell::new(&file.file),
            Cell::new(size.map_or("—".to_owned(), |size| format!("{:.1} MiB", mib(size))))
                .set_alignment(CellAlignment::Right),
            Cell::new(hash.map_or("—", |hash| hash.get(..12).unwrap_or(hash))),
            Cell::new(sources.join("\n")),
            Cell::new(entry.map_or("—".to_owned(), |entry| entry.date.clone())),
        ]);
    }
    ui.line(table)?;
    Ok(ExitStatus::Success)
}

fn fetch(models: &[String], format: Format, ui: &Ui) -> Result<ExitStatus> {
    let options = ui.source_options()?;
    let names = if models.is_empty() { vec![default_name(ui)?] } else { models.to_vec() };
    let mut files = Vec::new();
    for name in &names {
        files.push(model::resolve(name, &options, &mut ui.bar())?);
    }
    if format == Format::Json {
        return print_json(&json!(files), ui);
    }
    let mut table = table(format, &["model", "level", "size", "sha256", "source", "path"]);
    for ModelFile { name, path, sha256, bytes, level, source, .. } in &files {
        table.add_row(vec![
            Cell::new(name),
            Cell::new(level.as_deref().unwrap_or("—")),
            Cell::new(format!("{:.1} MiB", mib(*bytes))).set_alignment(CellAlignment::Right),
            Cell::new(sha256.get(..12).unwrap_or(sha256)),
            Cell::new(source),
            Cell::new(path.display()),
        ]);
    }
    ui.line(table)?;
    Ok(ExitStatus::Success)
}

fn check(models: &[String], format: Format, ui: &Ui) -> Result<ExitStatus> {
    let options = ui.source_options()?;
    // Reading the catalogue checks every manifest.
    let catalogue = Catalogue::load(&options)?;
    for name in models {
        catalogue.get(name)?;
    }
    let cache = Cache::new(&options.cache_dir);
    let wanted = |entry: &LockEntry| models.is_empty() || models.iter().any(|m| m.eq_ignore_ascii_case(&entry.model));
    let mut results = Vec::new();
    for entry in model::entries(&cache)?.into_iter().filter(wanted) {
        let health = model::check(&entry, &cache, &mut ui.bar())?;
        results.push((entry, health));
    }
    let changed = results.iter().filter(|(_, health)| matches!(health, Health::Changed { .. })).count();
    if format == Format::Json {
        let rows: Vec<Value> = results
            .iter()
            .map(|(entry, health)| match health {
                Health::Good => json!({"file": entry.file, "sha256": entry.sha256, "health": "good"}),
                Health::Missing => json!({"file": entry.file, "sha256": entry.sha256, "health": "missing"}),
                Health::Changed { sha256 } => {
                    json!({"file": entry.file, "sha256": entry.sha256, "health": "changed", "got": sha256})
                }
            })
            .collect();
        print_json(&json!({"manifests": catalogue.manifests().len(), "files": rows}), ui)?;
    } else {
        let mut table = table(format, &["file", "size", "recorded", "state"]);
        for (entry, health) in &results {
            let state = match health {
                Health::Good => "good".to_owned(),
                Health::Missing => "missing: the next use fetches it again".to_owned(),
                Health::Changed { sha256 } => {
                    format!("CHANGED: sha256 is {sha256}, recorded {}: remove the file", entry.sha256)
                }
            };
            table.add_row(vec![
                Cell::new(&entry.file),
                Cell::new(format!("{:.1} MiB", mib(entry.bytes))).set_alignment(CellAlignment::Right),
                Cell::new(&entry.date),
                Cell::new(state),
            ]);
        }
        ui.line(table)?;
        ui.line(format_args!("{} manifests are good, {} files checked", catalogue.manifests().len(), results.len()))?;
    }
    Ok(if changed == 0 { ExitStatus::Success } else { ExitStatus::Error })
}

fn path(model: Option<&str>, ui: &Ui) -> Result<ExitStatus> {
    let options = ui.source_options()?;
    match model {
        None => ui.line(options.cache_dir.display())?,
        Some(spec) => ui.line(model::resolve(spec, &options, &mut ui.bar())?.path.display())?,
    }
    Ok(ExitStatus::Success)
}

fn add(manifest: &std::path::Path, ui: &Ui) -> Result<ExitStatus> {
    let read = model::catalogue::read_manifest(manifest)?;
    let dir = model::catalogue::user_dir()?;
    let io = |action, path: &std::path::Path| {
        let path = path.to_owned();
        move |source| Error::Io { action, path, source }
    };
    std::fs::create_dir_all(&dir).map_err(io("create", &dir))?;
    let to = dir.join(format!("{}.toml", read.name));
    std::fs::copy(manifest, &to).map_err(io("write", &to))?;
    ui.line(format_args!("added {} as {}", read.name, to.display()))?;
    Ok(ExitStatus::Success)
}

fn default_name(ui: &Ui) -> Result<String> {
    let catalogue = Catalogue::load(&ui.source_options()?)?;
    let default = catalogue.default_model().map(|manifest| manifest.name.clone());
    default.ok_or_else(|| Error::Usage("no manifest is marked `default = true`: name a model".into()))
}

/// Entries of the lock file whose file is there.
fn cached_files(cache: &Cache) -> Result<Vec<LockEntry>> {
    Ok(model::entries(cache)?.into_iter().filter(|entry| cache.path(&entry.file).is_file()).collect())
}

fn described(manifest: &Manifest, cached: &[&LockEntry]) -> Value {
    let mut value = json!(manifest);
    value["manifest"] = json!(manifest.origin);
    value["cached"] = json!(cached);
    value
}

fn table(format: Format, columns: &[&str]) -> Table {
    let mut table = Table::new();
    if format == Format::Md {
        table.load_style(presets::ASCII_MARKDOWN);
    } else {
        table.load_style(PLAIN).set_content_arrangement(ContentArrangement::Dynamic);
    }
    table.set_header(columns);
    table
}

fn print_json(value: &Value, ui: &Ui) -> Result<ExitStatus> {
    ui.line(format_args!("{value:#}"))?;
    Ok(ExitStatus::Success)
}

fn mib(bytes: u64) -> f64 {
    crate::units::Bytes(bytes).mib()
}

/// 134515008 → `135 M`, 1235814400 → `1.24 B`.
#[expect(clippy::cast_precision_loss, reason = "three digits are printed")]
fn count(params: u64) -> String {
    if params < 999_500_000 { format!("{:.0} M", params as f64 / 1e6) } else { format!("{:.2} B", params as f64 / 1e9) }
}
