//! The cache directory: where files live, how they appear there whole or not at all, and how they are hashed.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::{ModelError, Progress};

/// How often a process that waits for another one's download looks whether it may go on or should stop.
const POLL: Duration = Duration::from_millis(100);

/// Large enough that hashing, not system calls, is what a check costs.
const BUFFER: usize = 1 << 20;

/// The cache directory.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The cache at `root`, which need not exist yet.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Its directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path of a file of the lock file.
    #[must_use]
    pub fn path(&self, file: &str) -> PathBuf {
        file.split('/').fold(self.root.clone(), |path, component| path.join(component))
    }

    pub(super) fn create_dir(&self, dir: &Path) -> Result<(), ModelError> {
        std::fs::create_dir_all(dir).map_err(ModelError::io("create", dir))
    }

    /// Replaces a small file atomically.
    pub(super) fn replace(&self, path: &Path, contents: &[u8]) -> Result<(), ModelError> {
        let dir = path.parent().unwrap_or(&self.root);
        let mut builder = tempfile::Builder::new();
        // Temporary files are private by default; a cache may be shared.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
        let mut file = builder.tempfile_in(dir).map_err(ModelError::io("create a file in", dir))?;
        file.write_all(contents).map_err(ModelError::io("write", path))?;
        file.as_file().sync_all().map_err(ModelError::io("write", path))?;
        file.persist(path).map_err(|error| ModelError::io("write", path)(error.error))?;
        sync_dir(dir)
    }
}

/// An exclusive lock between processes, held until dropped. The lock belongs to the open file, so a process that dies
/// releases it.
#[derive(Debug)]
pub(super) struct Guard {
    _file: File,
}

impl Guard {
    /// Waits for the lock: for short critical sections.
    pub(super) fn wait(path: &Path) -> Result<Self, ModelError> {
        let file = open_lock(path)?;
        file.lock().map_err(ModelError::io("lock", path))?;
        Ok(Self { _file: file })
    }

    /// Waits for the lock as long as another process works, unless told to stop.
    pub(super) fn wait_politely(path: &Path, what: &str, progress: &mut dyn Progress) -> Result<Self, ModelError> {
        let file = open_lock(path)?;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(ModelError::io("lock", path)(error)),
            }
            if !told {
                progress.start(&format!("{what}: waiting for another process"), None);
                told = true;
            }
            if progress.cancelled() {
                return Err(ModelError::Interrupted(what.to_owned()));
            }
            std::thread::sleep(POLL);
        }
        if told {
            progress.finish();
        }
        Ok(Self { _file: file })
    }
}

fn open_lock(path: &Path) -> Result<File, ModelError> {
    OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(ModelError::io("create", path))
}

/// A file that is being written next to its destination, hashed as it grows.
///
/// It survives a failure or an interrupt (so that the next attempt can resume) unless the disk is full; only
/// [`Part::publish`] gives it the final name.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    file: File,
    hash: Sha256,
    len: u64,
}

impl Part {
    /// Opens the partial file for `destination`. What an earlier attempt left is kept if `keep`, and hashed.
    pub(super) fn open(destination: &Path, keep: bool) -> Result<Self, ModelError> {
        let path = with_suffix(destination, ".part");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(!keep)
            .open(&path)
            .map_err(ModelError::io("create", &path))?;
        let mut part = Self { path, file, hash: Sha256::new(), len: 0 };
        if !keep {
            return Ok(part);
        }
        let mut buffer = vec![0; BUFFER];
        loop {
            match part.file.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    part.hash.update(&buffer[..n]);
                    part.len += n as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(ModelError::io("read", &part.path)(error)),
            }
        }
        Ok(part)
    }

    /// Bytes written so far.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The file itself, for messages and for makers that write it on their own.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Starts over.
    pub(super) fn clear(&mut self) -> Result<(), ModelError> {
        if self.len == 0 {
            return Ok(());
        }
        self.file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)))
            .map_err(ModelError::io("write", &self.path))?;
        self.hash = Sha256::new();
        self.len = 0;
        Ok(())
    }

    /// Appends. A full disk removes the file: keeping it would keep the disk full.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), ModelError> {
        if let Err(error) = self.file.write_all(bytes) {
            if is_full(&error) {
                let _ = std::fs::remove_file(&self.path);
            }
            return Err(ModelError::io("write", &self.path)(error));
        }
        self.hash.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// sha256 of what is written, lower-case hex.
    pub(super) fn sha256(&self) -> String {
        hex(self.hash.clone())
    }

    /// The first bytes; shorter if there are fewer.
    pub(super) fn head(&mut self, n: usize) -> Result<Vec<u8>, ModelError> {
        let mut head = Vec::with_capacity(n);
        self.file
            .seek(SeekFrom::Start(0))
            .and_then(|_| (&self.file).take(n as u64).read_to_end(&mut head))
            .and_then(|_| self.file.seek(SeekFrom::End(0)))
            .map_err(ModelError::io("read", &self.path))?;
        Ok(head)
    }

    /// Removes the file: its bytes are not what they should be.
    pub(super) fn discard(self) {
        let _ = std::fs::remove_file(&self.path);
    }

    /// Gives the file its final name: durable data first, then the rename, then a durable directory entry.
    pub(super) fn publish(self, destination: &Path) -> Result<(), ModelError> {
        publish(&self.file, &self.path, destination)
    }
}

/// See [`Part::publish`]; also for files another room wrote.
pub(super) fn publish(file: &File, from: &Path, to: &Path) -> Result<(), ModelError> {
    file.sync_all().map_err(ModelError::io("write", from))?;
    std::fs::rename(from, to).map_err(ModelError::io("rename to", to))?;
    sync_dir(to.parent().unwrap_or(to))
}

/// Whether the error means that there is no room for more bytes.
pub(super) fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

/// sha256 of a whole file, lower-case hex, and its size.
///
/// # Errors
/// A file that cannot be read; [`ModelError::Interrupted`].
pub fn hash_file(path: &Path, what: &str, progress: &mut dyn Progress) -> Result<(String, u64), ModelError> {
    let mut file = File::open(path).map_err(ModelError::io("read", path))?;
    let total = file.metadata().map_err(ModelError::io("read", path))?.len();
    let mut hash = Sha256::new();
    let mut buffer = vec![0; BUFFER];
    let mut len = 0;
    progress.start(what, Some(total));
    let outcome = loop {
        if progress.cancelled() {
            break Err(ModelError::Interrupted(what.to_owned()));
        }
        match file.read(&mut buffer) {
            Ok(0) => break Ok(()),
            Ok(n) => {
                hash.update(&buffer[..n]);
                len += n as u64;
                progress.advance(n as u64);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => break Err(ModelError::io("read", path)(error)),
        }
    };
    progress.finish();
    outcome.map(|()| (hex(hash), len))
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

fn hex(hash: Sha256) -> String {
    use std::fmt::Write as _;
    hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(unix)]
fn sync_dir(dir: &Path) -> Result<(), ModelError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(ModelError::io("write", dir))
}

/// Directories cannot be opened for syncing elsewhere; NTFS journals the rename.
#[cfg(not(unix))]
fn sync_dir(_dir: &Path) -> Result<(), ModelError> {
    Ok(())
}
