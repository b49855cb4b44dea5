//! Kernel files (`/proc`, `/sys`) below a root that tests and containers can move.

use std::path::{Path, PathBuf};

/// The kernel's files. Every path is given absolute and joined to the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SysFs {
    root: PathBuf,
}

impl Default for SysFs {
    fn default() -> Self {
        Self::new("/")
    }
}

impl SysFs {
    /// Files below `root`.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Whether this is the machine itself and not a tree of files that somebody made.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Where `path` is.
    #[must_use]
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Contents without the trailing newline.
    ///
    /// # Errors
    /// What the system says; bytes that are not UTF-8 are `InvalidData`.
    pub fn read(&self, path: impl AsRef<Path>) -> std::io::Result<String> {
        let mut text = std::fs::read_to_string(self.path(path))?;
        text.truncate(text.trim_end().len());
        Ok(text)
    }

    /// Contents, or `None` if the file cannot be read: for facts that not every machine has.
    #[must_use]
    pub fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        self.read(path).ok().filter(|text| !text.is_empty())
    }

    /// A file of one number.
    #[must_use]
    pub fn number<T: std::str::FromStr>(&self, path: impl AsRef<Path>) -> Option<T> {
        self.text(path)?.trim().parse().ok()
    }

    /// Whether the path exists.
    #[must_use]
    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.path(path).exists()
    }

    /// Names in a directory, sorted; empty if there is none.
    #[must_use]
    pub fn list(&self, path: impl AsRef<Path>) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(path)) else { return Vec::new() };
        let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        names
    }
}

/// Reads the kernel's CPU lists: `0-3,8` is 0, 1, 2, 3, 8. `None` if it is not one.
#[must_use]
pub fn cpu_list(text: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if last < first || last - first > 1 << 16 {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

/// A machine made of files, for tests: it lives as long as the directory.
#[cfg(test)]
pub(crate) fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, SysFs) {
    let dir = tempfile::tempdir().unwrap();
    let sysfs = SysFs::new(dir.path());
    for (path, text) in files {
        let path = sysfs.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    (dir, sysfs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_root() {
        let sysfs = SysFs::new("/tmp/tree");
        assert_eq!(sysfs.path("/proc/stat"), Path::new("/tmp/tree/proc/stat"));
        assert!(!sysfs.is_live() && SysFs::default().is_live());
    }

    #[test]
    fn a_missing_file_is_none_and_a_text_is_not_a_number() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("watts"), "12 W\n").unwrap();
        let sysfs = SysFs::new(dir.path());
        assert_eq!(sysfs.text("/none"), None);
        assert_eq!(sysfs.number::<u64>("/watts"), None);
        assert_eq!(sysfs.text("/watts").as_deref(), Some("12 W"));
    }

    #[test]
    fn cpu_lists_are_read_and_nonsense_is_refused() {
        assert_eq!(cpu_list("0-2,8"), Some(vec![0, 1, 2, 8]));
        assert_eq!(cpu_list("0,18"), Some(vec![0, 18]));
        assert_eq!(cpu_list(""), Some(vec![]));
        for bad in ["a", "3-1", "0-4294967295", "-1"] {
            assert_eq!(cpu_list(bad), None, "{bad}");
        }
    }
}
