//! What the user sees: results on stdout, progress and warnings on stderr.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use clap::ValueEnum as _;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Bar, GlobalArgs};
use crate::error::Result;
use crate::model::SourceOptions;

/// Formats a table-printing command can write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputFormat {
    /// For the terminal
    Table,
    /// Markdown
    Md,
    /// JSON
    Json,
    /// One JSON object per line
    Jsonl,
    /// Comma-separated values
    Csv,
    /// SQL insert statements
    Sql,
}

impl OutputFormat {
    /// Reads one of these formats: a command's help lists what it writes and nothing else.
    pub(super) fn among(formats: &'static [Self]) -> impl TypedValueParser<Value = Self> {
        let names = formats.iter().filter_map(Self::to_possible_value);
        PossibleValuesParser::new(names).map(|name| Self::from_str(&name, true).unwrap_or(Self::Table))
    }
}

/// The terminal, or its absence.
#[derive(Debug)]
pub struct Ui {
    /// Never open a network connection.
    pub offline: bool,
    /// No progress, no warnings.
    pub quiet: bool,
    /// Root below which hardware counters are read.
    pub sysfs_root: PathBuf,
    catalogue: Vec<PathBuf>,
    colour: bool,
}

impl Ui {
    pub(super) fn new(global: &GlobalArgs) -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        Self {
            offline: global.offline,
            quiet: global.quiet,
            sysfs_root: global.sysfs_root.clone().unwrap_or_else(|| PathBuf::from("/")),
            catalogue: global.catalogue.clone(),
            colour: std::io::stderr().is_terminal() && !no_colour,
        }
    }

    /// Where models may come from, as the global flags and the environment say.
    ///
    /// # Errors
    /// When there is neither `TIERBENCH_CACHE` nor a home directory.
    pub fn source_options(&self) -> Result<SourceOptions> {
        let mut options = SourceOptions::platform(self.offline)?;
        options.catalogue_dirs.extend(self.catalogue.iter().cloned());
        Ok(options)
    }

    /// Progress of downloads, checks and conversions.
    #[must_use]
    pub fn bar(&self) -> Bar<'_> {
        Bar::new(self)
    }

    /// Writes a result to stdout.
    ///
    /// # Errors
    /// When stdout cannot be written; a closed pipe ends the program quietly.
    pub fn write(&self, bytes: &[u8]) -> Result<()> {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()?;
        Ok(())
    }

    /// Writes one line of result to stdout.
    ///
    /// # Errors
    /// See [`Ui::write`].
    pub fn line(&self, text: impl Display) -> Result<()> {
        self.write(format!("{text}\n").as_bytes())
    }

    /// Writes a result to stdout as indented JSON.
    ///
    /// # Errors
    /// See [`Ui::write`].
    pub fn json(&self, value: &impl serde::Serialize) -> Result<()> {
        let mut text = serde_json::to_string_pretty(value).map_err(std::io::Error::from)?;
        text.push('\n');
        self.write(text.as_bytes())
    }

    /// How tables are laid out on stdout: as wide as the terminal if it is one, and coloured if that is wanted.
    #[must_use]
    pub fn terminal(&self) -> crate::report::table::Terminal {
        let tty = std::io::stdout().is_terminal();
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let width = columns.or_else(|| comfy_table::Table::new().width().filter(|_| tty)).filter(|&width| width > 0);
        crate::report::table::Terminal { width, colour: tty && !no_colour }
    }

    /// A line of progress on stderr.
    pub fn note(&self, text: impl Display) {
        if !self.quiet {
            say(format_args!("{text}"));
        }
    }

    /// A warning with advice on stderr.
    pub fn warn(&self, text: impl Display) {
        if !self.quiet {
            let (on, off) = if self.colour { ("\x1b[33m", "\x1b[0m") } else { ("", "") };
            say(format_args!("{on}warning:{off} {text}"));
        }
    }

    /// The one line that ends a failed command.
    pub fn error(&self, text: impl Display) {
        let (on, off) = if self.colour { ("\x1b[31m", "\x1b[0m") } else { ("", "") };
        say(format_args!("{on}error:{off} {text}"));
    }

    /// A progress bar on stderr: hidden when quiet or not a terminal. `bytes` chooses byte formatting.
    #[must_use]
    pub fn progress(&self, total: u64, bytes: bool) -> ProgressBar {
        let target = if self.quiet || !std::io::stderr().is_terminal() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let template = if bytes {
            "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}"
        } else {
            "{msg} {wide_bar} {pos}/{len} {eta}"
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::with_draw_target(Some(total), target).with_style(style)
    }
}

/// One line on stderr in one write, so that lines of several processes do not mix. A closed stderr is nobody's loss.
fn say(line: std::fmt::Arguments<'_>) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
