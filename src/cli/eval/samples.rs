//! `eval --log`: the per-item log.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::quality::log::LogLine;
use crate::quality::prompt::Prompter;
use crate::quality::task::Task;
use crate::quality::{ItemResult, QualityError};

/// The file, if one was asked for.
pub(super) struct Samples {
    file: Option<(PathBuf, BufWriter<File>)>,
}

impl Samples {
    pub(super) fn create(path: Option<&Path>) -> Result<Self> {
        let open = |path: &Path| {
            let file = File::create(path).map_err(io("create", path))?;
            Ok::<_, Error>((path.to_owned(), BufWriter::new(file)))
        };
        Ok(Self { file: path.map(open).transpose()? })
    }

    /// The lines of one task.
    pub(super) fn of_task<'a>(&'a mut self, task: &'a Task) -> Result<TaskSamples<'a>, QualityError> {
        let places = task.items.iter().enumerate().map(|(place, item)| (item.id.as_str(), place)).collect();
        Ok(TaskSamples { samples: self, task, prompter: Prompter::new(task)?, places, written: 0 })
    }

    pub(super) fn finish(self) -> Result<()> {
        match self.file {
            Some((path, mut file)) => file.flush().map_err(io("write", &path)),
            None => Ok(()),
        }
    }
}

/// See [`Samples::of_task`].
pub(super) struct TaskSamples<'a> {
    samples: &'a mut Samples,
    task: &'a Task,
    prompter: Prompter,
    /// Item id → place in the task's data.
    places: HashMap<&'a str, usize>,
    written: usize,
}

impl TaskSamples<'_> {
    /// Writes one item's line; every line is flushed, so that a killed process leaves whole lines.
    pub(super) fn write(&mut self, tier: &str, result: &ItemResult) -> Result<()> {
        let Some((path, file)) = &mut self.samples.file else { return Ok(()) };
        let doc_id = self.places.get(result.item.as_str()).copied().unwrap_or(usize::MAX);
        let line = LogLine::new(self.task, &self.prompter, tier, (self.written, doc_id), result)?;
        self.written += 1;
        let line = serde_json::to_string(&line).map_err(std::io::Error::from);
        line.and_then(|line| writeln!(file, "{line}").and_then(|()| file.flush())).map_err(io("write", path))
    }
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { action, path, source }
}
