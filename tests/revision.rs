//! The program says which revision it was built from, and whether its sources differed from it.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[path = "../build.rs"]
#[expect(dead_code, reason = "`main` is for cargo")]
mod build;

use std::path::{Path, PathBuf};
use std::process::Command;

/// A command of git, by nobody in particular.
fn git(dir: &Path, arguments: &[&str]) {
    let who = ["user.name=n", "user.email=n@example.org", "commit.gpgsign=false", "core.hooksPath=/dev/null"];
    let mut command = Command::new("git");
    command.arg("-C").arg(dir).args(who.iter().flat_map(|setting| ["-c", *setting])).args(arguments);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A repository with something the program is made of and something it is not.
fn repository(dir: &Path) -> PathBuf {
    let root = dir.join("project");
    std::fs::create_dir_all(root.join("src")).unwrap();
    for file in ["build.rs", "src/lib.rs", "README.md"] {
        std::fs::write(root.join(file), "first\n").unwrap();
    }
    git(&root, &["init", "-q"]);
    git(&root, &["add", "."]);
    git(&root, &["commit", "-q", "-m", "first"]);
    root
}

fn is_hash(text: &str) -> bool {
    text.len() >= 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[test]
fn a_revision_is_dirty_while_a_source_differs_from_it() {
    if Command::new("git").arg("--version").output().is_err() {
        eprintln!("skipped: git is not installed");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(build::revision(dir.path()), None, "no repository");
    let root = repository(dir.path());
    let clean = build::revision(&root).unwrap();
    assert!(is_hash(&clean), "{clean}");
    std::fs::write(root.join("README.md"), "second\n").unwrap();
    std::fs::write(root.join("src/new.rs"), "git does not know it\n").unwrap();
    assert_eq!(build::revision(&root), Some(clean.clone()), "the program is the same");
    std::fs::write(root.join("src/lib.rs"), "second\n").unwrap();
    assert_eq!(build::revision(&root), Some(format!("{clean}-dirty")));
    git(&root, &["add", "src/lib.rs"]);
    assert_eq!(build::revision(&root), Some(format!("{clean}-dirty")), "staged");
    std::fs::write(root.join("src/lib.rs"), "first\n").unwrap();
    git(&root, &["add", "src/lib.rs"]);
    assert_eq!(build::revision(&root), Some(clean.clone()), "changed back");
    // Unpacked inside somebody else's repository.
    let inside = root.join("vendor/tierbench");
    std::fs::create_dir_all(&inside).unwrap();
    std::fs::write(inside.join("build.rs"), "").unwrap();
    assert_eq!(build::revision(&inside), None);
}

#[test]
fn what_moves_the_revision_is_watched_also_in_a_worktree() {
    if Command::new("git").arg("--version").output().is_err() {
        eprintln!("skipped: git is not installed");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (root, tree) = (repository(dir.path()), dir.path().join("tree"));
    git(&root, &["worktree", "add", "-q", tree.to_str().unwrap()]);
    for place in [&root, &tree] {
        let watched = build::watched(place);
        assert!(watched.iter().all(|path| place.join(path).exists()), "{watched:?}");
        for name in ["HEAD", "logs/HEAD", "build.rs", "src"] {
            assert!(watched.iter().any(|path| path.ends_with(name)), "{name}: {watched:?}");
        }
        assert!(!watched.iter().any(|path| path.ends_with("README.md")), "{watched:?}");
    }
    assert_ne!(build::watched(&root)[0], build::watched(&tree)[0], "each has a head of its own");
}

#[test]
fn the_program_says_what_it_was_built_from() {
    let output = Command::new(env!("CARGO_BIN_EXE_tierbench")).arg("--version").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    // What the build told the program it told this test.
    let revision = option_env!("TIERBENCH_REVISION");
    let mark = revision.map(|revision| format!(" ({revision})")).unwrap_or_default();
    assert_eq!(said, format!("tierbench {}{mark}\n", env!("CARGO_PKG_VERSION")));
    assert!(revision.is_none_or(|revision| is_hash(revision.trim_end_matches("-dirty"))), "{revision:?}");
}
