//! `history import`: records one by one or a line each, and the results of other tools.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use serde::de::IgnoredAny;

use super::super::Ui;
use crate::error::{Error, ExitStatus, Result};
use crate::report::{counted, one_line};
use crate::store::StoreError;
use crate::store::file::{self, MAX_BYTES};
use crate::store::history::History;
use crate::store::import::{self, Import, Judgement};
use crate::store::record::Record;

/// Lines that are named one by one when they cannot be imported.
const MAX_NAMED: usize = 10;

/// What is imported, and how lm-eval's items are judged.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file, - for stdin
    file: PathBuf,
    /// Pass rate demanded of lm-eval's items; it states none itself
    #[arg(long, value_name = "Q")]
    bar: Option<f64>,
    /// lm-eval's per-item metric that says solved or not [default: acc, exact_match, acc_norm or pass@1]
    #[arg(long, value_name = "NAME")]
    metric: Option<String>,
    /// lm-eval's filter that extracts the answers, of tasks that have several [default: their first]
    #[arg(long, value_name = "NAME")]
    filter: Option<String>,
}

pub(super) fn run(args: &Args, history: &mut History, ui: &Ui) -> Result<ExitStatus> {
    let path = Some(args.file.as_path()).filter(|path| *path != Path::new("-"));
    let name = path.map_or_else(|| "standard input".to_owned(), |path| path.display().to_string());
    let failed = |source| Error::Io { action: "read", path: PathBuf::from(&name), source };
    let mut reader: Box<dyn Read> = match path {
        Some(path) => Box::new(File::open(path).map_err(failed)?),
        None => Box::new(std::io::stdin()),
    };
    // What fits here is looked at as a whole; a long export of a history is read line by line.
    let mut head = Vec::new();
    reader.by_ref().take(MAX_BYTES + 1).read_to_end(&mut head).map_err(failed)?;
    let is_whole = head.len() as u64 <= MAX_BYTES;
    if let Some(text) = std::str::from_utf8(&head).ok().filter(|_| is_whole) {
        let judgement = Judgement {
            bar: args.bar,
            metric: args.metric.clone(),
            filter: args.filter.clone(),
            ..Judgement::default()
        };
        if let Some(foreign) = import::parse(text, path, &judgement)? {
            return import_foreign(history, &foreign, ui);
        }
    }
    let mut records = Records { history, ui, title: format!("imported from {name}"), added: 0, known: 0, refused: 0 };
    let mut status = ExitStatus::Success;
    if has_lines(&head, path) {
        let lines = BufReader::new(Cursor::new(head).chain(reader)).split(b'\n');
        for (number, line) in (1..).zip(lines) {
            let line = line.map_err(failed)?;
            if !line.trim_ascii().is_empty() {
                status = worse(status, records.add(&line, &format!("{name} line {number}"))?);
            }
        }
    } else if is_whole {
        status = records.add(&head, &name)?;
        // One record, and why it was refused is said already.
        if records.refused > 0 {
            return Ok(status);
        }
    } else {
        return Err(StoreError::TooLarge { path: PathBuf::from(name), limit_mib: MAX_BYTES >> 20 }.into());
    }
    if let Some(more) = records.refused.checked_sub(MAX_NAMED).filter(|&more| more > 0) {
        ui.error(format_args!("{} not imported", counted(more as u64, "more line")));
    }
    ui.note(format_args!("{} added, {} already there", counted(records.added, "record"), records.known));
    Ok(status)
}

/// Whether this is a record a line: whatever the file is called, one of its first two lines is an object of its own.
fn has_lines(head: &[u8], path: Option<&Path>) -> bool {
    if path.and_then(Path::extension).is_some_and(|extension| extension == "jsonl") {
        return true;
    }
    let mut lines = head.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let is_object = |line: &[u8]| line.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(line).is_ok();
    match (lines.next(), lines.next()) {
        (Some(first), Some(second)) => is_object(first) || is_object(second),
        _ => false,
    }
}

/// Numbers that differ from their samples weigh more than a line that cannot be read.
fn worse(a: ExitStatus, b: ExitStatus) -> ExitStatus {
    if a as u8 >= b as u8 { a } else { b }
}

/// The import of records.
struct Records<'a> {
    history: &'a mut History,
    ui: &'a Ui,
    title: String,
    added: u64,
    known: u64,
    refused: usize,
}

impl Records<'_> {
    /// Stores one record if it is sound as `verify` checks it. `name` is what messages call it.
    fn add(&mut self, bytes: &[u8], name: &str) -> Result<ExitStatus> {
        let parsed = file::parse(bytes, Path::new(name));
        let file = match parsed.and_then(|file| Ok((crate::store::verify::verify(&file)?, file))) {
            Ok((verification, file)) => match verification.difference {
                None => file,
                Some(difference) => {
                    let why = format!("{name} does not verify and was not imported: {difference}");
                    return Ok(self.refuse(&why, ExitStatus::VerifyMismatch));
                }
            },
            // Most errors begin with the name.
            Err(error @ StoreError::BadRecord { .. }) => {
                return Ok(self.refuse(&format!("{name}: {error}"), ExitStatus::Error));
            }
            Err(error) => return Ok(self.refuse(&error.to_string(), ExitStatus::Error)),
        };
        if self.history.import_file(&file, &self.title)? {
            self.added += 1;
        } else if is_stored(self.history, &file.record)? {
            self.known += 1;
        } else {
            let id = &file.record.raw.run.id;
            return Ok(self.refuse(
                &format!("{name} was not imported: run {id} is stored with other content; {}", removes(id)),
                ExitStatus::Error,
            ));
        }
        Ok(ExitStatus::Success)
    }

    fn refuse(&mut self, why: &str, status: ExitStatus) -> ExitStatus {
        self.refused += 1;
        if self.refused <= MAX_NAMED {
            self.ui.error(one_line(why));
        }
        status
    }
}

/// Whether the run of this id is stored with this very content.
fn is_stored(history: &History, record: &Record) -> Result<bool> {
    Ok(history.record(&record.raw.run.id)?.content_sha256 == record.content_sha256)
}

fn removes(id: &str) -> String {
    format!("`tierbench history rm {id}` removes that")
}

fn import_foreign(history: &mut History, foreign: &Import, ui: &Ui) -> Result<ExitStatus> {
    let raw = &foreign.record.raw;
    for warning in &raw.warnings {
        ui.warn(one_line(warning));
    }
    for line in &foreign.left_out {
        ui.error(format_args!("left out {}", one_line(line)));
    }
    let id = &raw.run.id;
    let title = raw.imported.as_ref().map_or_else(String::new, |from| format!("{} {}", from.tool, from.file));
    let state = if history.import(&foreign.record, &format!("imported from {title}"))? {
        "added"
    } else if foreign.is_the_same_as(&history.record(id)?) {
        "already there"
    } else {
        ui.error(format_args!("not imported: run {id} is stored with other content; {}", removes(id)));
        return Ok(ExitStatus::Error);
    };
    let cells = counted(raw.cells.len() as u64, "cell");
    ui.note(format_args!("run {id} {state}: {cells}; `tierbench report {id}` prints it"));
    Ok(if foreign.left_out.is_empty() { ExitStatus::Success } else { ExitStatus::CellsFailed })
}
