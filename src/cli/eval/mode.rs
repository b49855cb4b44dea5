//! `--decode`: how answers are got.

use crate::error::{Error, Result};
use crate::quality::task::{Decode, Task};

/// A value of `--decode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Mode {
    /// Likelihood of each choice
    Loglikelihood,
    /// Text that can only become an answer
    Constrained,
    /// Greedy text
    Free,
}

impl From<Mode> for Decode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Loglikelihood => Self::Loglikelihood,
            Mode::Constrained => Self::Constrained,
            Mode::Free => Self::Free,
        }
    }
}

/// Sets how the task's answers are got, if `--decode` says so.
pub(super) fn decode_as(mode: Option<Mode>, task: &mut Task) -> Result<()> {
    let Some(mode) = mode.map(Decode::from) else { return Ok(()) };
    let known = task.modes();
    if !known.contains(&mode) {
        let known: Vec<_> = known.into_iter().map(Decode::name).collect();
        let (task, mode) = (&task.name, mode.name());
        return Err(Error::Usage(format!("--decode {mode}: with task `{task}` use {}", known.join(" or "))));
    }
    task.decode = mode;
    Ok(())
}
