//! Tells the program which revision and compiler it was built from. What git or rustc do not answer stays unknown.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What the program is made of. Whatever else differs from the revision makes no other program.
const SOURCES: [&str; 8] = ["build.rs", "Cargo.toml", "Cargo.lock", "src", "models", "prices", "schema", "tasks"];

/// What a command prints, if it succeeds.
fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

fn git(root: &Path) -> Command {
    let mut git = Command::new("git");
    // What only asks must not wait for, or rewrite, the index of someone at work.
    git.arg("--no-optional-locks").arg("-C").arg(root);
    git
}

/// The revision of the sources in `root`, with `-dirty` where one that git knows differs from it, as `git describe
/// --dirty` has it. `None` without git, and for sources that merely lie inside somebody else's repository.
pub(crate) fn revision(root: &Path) -> Option<String> {
    said(git(root).args(["ls-files", "--error-unmatch", "build.rs"]))?;
    let revision = said(git(root).args(["rev-parse", "--short=12", "HEAD"])).filter(|text| !text.is_empty())?;
    let differs = said(git(root).args(["status", "--porcelain", "--untracked-files=no", "--"]).args(SOURCES))?;
    Some(if differs.is_empty() { revision } else { format!("{revision}-dirty") })
}

/// Files that change when the revision does (commits, checkouts) or when the sources differ from it or no longer do.
pub(crate) fn watched(root: &Path) -> Vec<PathBuf> {
    let of_git = ["HEAD", "logs/HEAD"].map(|name| said(git(root).args(["rev-parse", "--git-path", name])));
    // A path that is not there would count as changed for ever.
    let paths = of_git.into_iter().flatten().chain(SOURCES.map(str::to_owned));
    paths.map(PathBuf::from).filter(|path| root.join(path).exists()).collect()
}

fn main() {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| ".".into()));
    for path in watched(&root) {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    let mut version = env!("CARGO_PKG_VERSION").to_owned();
    if let Some(revision) = revision(&root) {
        println!("cargo::rustc-env=TIERBENCH_REVISION={revision}");
        version.push_str(&format!(" ({revision})"));
    }
    println!("cargo::rustc-env=TIERBENCH_VERSION={version}");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    if let Some(said) = said(Command::new(rustc).arg("--version")).filter(|text| !text.is_empty()) {
        println!("cargo::rustc-env=TIERBENCH_RUSTC={said}");
    }
}
