//! Fetching from a hub: a small server speaks its routes, and what can go wrong on the way does.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};

use support::{HUB, Place, Reply, Request, Server, assert_nothing_kept, error_line, read, sha256, succeeded, weights};

const FILE: &str = "/owner/m/resolve/main/m.gguf";
const SIZE: usize = 300_000;

/// The hub's first answer: where the bytes are and what they will be.
fn redirect(to: &str, contents: &[u8]) -> Reply {
    Reply::status(302)
        .with("Location", to)
        .with("X-Linked-Etag", format!("\"{}\"", sha256(contents)))
        .with("X-Linked-Size", contents.len().to_string())
        .with("X-Repo-Commit", "c0ffee")
}

/// A hub that serves `contents` from storage, answering downloads as `storage` says.
fn hub(contents: Vec<u8>, storage: impl Fn(&[u8], &Request) -> Reply + Send + Sync + 'static) -> Server {
    Server::start(move |request| match request.path.as_str() {
        FILE => redirect("/storage/blob", &contents).with("X-Test", "hub"),
        "/storage/blob" if request.method == "HEAD" => redirect("http://storage.invalid/", &contents),
        "/storage/blob" => storage(&contents, request),
        _ => Reply::status(404),
    })
}

#[test]
fn a_file_is_fetched_verified_and_recorded() {
    let (contents, place) = (weights(SIZE, 1), Place::new(HUB));
    let server = hub(contents.clone(), Reply::bytes);
    succeeded(&place.fetch(&server.url));
    assert_eq!(read(&place.model()), contents);
    assert!(!place.part().exists());
    let lock = place.lock_file();
    assert!(lock.contains(&sha256(&contents)) && lock.contains("owner/m@c0ffee") && lock.contains("bytes = 300000"));
    let requests = server.seen().len();
    succeeded(&place.fetch(&server.url));
    assert_eq!(server.seen().len(), requests, "a cached file asks nobody");
    let offline = place.program(&server.url).args(["--offline", "models", "path", "m-1b"]).output().unwrap();
    assert_eq!(String::from_utf8(offline.stdout).unwrap().trim(), place.model().display().to_string());
}

#[test]
fn the_token_goes_to_the_hub_and_not_to_the_storage_of_another_host() {
    let (contents, place) = (weights(SIZE, 1), Place::new(HUB));
    let for_storage = contents.clone();
    let storage = Server::start(move |request| Reply::bytes(&for_storage, request));
    let elsewhere = storage.url.replace("127.0.0.1", "localhost");
    let server = Server::start(move |_| redirect(&format!("{elsewhere}/blob"), &contents));
    let output = place.program(&server.url).env("HF_TOKEN", "hf_secret").args(["models", "fetch", "m-1b"]).output();
    succeeded(&output.unwrap());
    assert!(server.seen().iter().all(|request| request.header("authorization") == Some("Bearer hf_secret")));
    assert!(storage.seen().iter().all(|request| request.header("authorization").is_none()));
    assert_eq!(storage.downloads().len(), 1);
}

#[test]
fn a_renamed_repository_is_followed() {
    let (contents, place) = (weights(SIZE, 1), Place::new(HUB));
    let expected = contents.clone();
    let server = Server::start(move |request| match request.path.as_str() {
        FILE => Reply::status(307).with("Location", "/new/m/resolve/main/m.gguf"),
        "/new/m/resolve/main/m.gguf" => {
            Reply::bytes(&contents, request).with("ETag", format!("\"{}\"", sha256(&contents)))
        }
        _ => Reply::status(404),
    });
    succeeded(&place.fetch(&server.url));
    assert_eq!(read(&place.model()), expected);
}

#[test]
fn a_connection_that_breaks_is_resumed_where_it_broke() {
    let (contents, place) = (weights(SIZE, 1), Place::new(HUB));
    let server = hub(contents.clone(), |contents, request| {
        let reply = Reply::bytes(contents, request);
        if request.range_start().is_none() { Reply { cut: Some(100_000), ..reply } } else { reply }
    });
    succeeded(&place.fetch(&server.url));
    assert_eq!(read(&place.model()), contents);
    let starts: Vec<_> = server.downloads().iter().filter(|r| r.path != FILE).map(Request::range_start).collect();
    assert_eq!(starts.len(), 2);
    assert!(starts[0].is_none() && starts[1].is_some_and(|start| start > 0 && start <= 100_000), "{starts:?}");
}

#[test]
fn a_later_process_resumes_what_an_earlier_one_left_unless_the_contents_changed() {
    for changed in [false, true] {
        let place = Place::new(HUB);
        let first = weights(SIZE, 1);
        let downloads = AtomicUsize::new(0);
        let broken = hub(first.clone(), move |contents, request| {
            if downloads.fetch_add(1, Ordering::SeqCst) > 0 {
                return Reply::status(404);
            }
            Reply { cut: Some(100_000), ..Reply::bytes(contents, request) }
        });
        // Two servers, one address in the user's eyes: the stamp names the URL, so it is rewritten for the test.
        assert!(error_line(&place.fetch(&broken.url)).contains("owner/m or the file does not exist"));
        let kept = read(&place.part()).len();
        assert!(kept > 0 && !place.model().exists());
        let second = if changed { weights(SIZE, 2) } else { first };
        let good = hub(second.clone(), Reply::bytes);
        let stamp = place.path("cache/models/m-1b/m.gguf.part.of");
        let text = std::fs::read_to_string(&stamp).unwrap();
        std::fs::write(&stamp, text.replace(&broken.url, &good.url)).unwrap();
        succeeded(&place.fetch(&good.url));
        assert_eq!(read(&place.model()), second);
        let last = good.downloads().pop().unwrap();
        assert_eq!(last.range_start(), if changed { None } else { Some(kept) });
        assert!(!stamp.exists() && !place.part().exists());
    }
}

#[test]
fn a_server_without_ranges_is_read_from_the_start_again() {
    let (contents, place) = (weights(SIZE, 1), Place::new(HUB));
    let downloads = AtomicUsize::new(0);
    let server = hub(contents.clone(), move |contents, _| {
        let cut = (downloads.fetch_add(1, Ordering::SeqCst) == 0).then_some(100_000);
        Reply { cut, body: contents.to_vec(), ..Reply::status(200) }
    });
    succeeded(&place.fetch(&server.url));
    assert_eq!(read(&place.model()), contents);
}

#[test]
fn a_body_that_is_always_truncated_is_given_up() {
    let place = Place::new(HUB);
    let server =
        hub(weights(SIZE, 1), |contents, _| Reply { cut: Some(1000), body: contents.to_vec(), ..Reply::status(200) });
    let message = error_line(&place.fetch(&server.url));
    assert!(message.contains("truncated") || message.contains("connection broke"), "{message}");
    assert!(!place.model().exists());
}

#[test]
fn a_busy_server_is_asked_again() {
    let (contents, place) = (weights(SIZE, 1), Place::new(HUB));
    let downloads = AtomicUsize::new(0);
    let server = hub(contents.clone(), move |contents, request| {
        if downloads.fetch_add(1, Ordering::SeqCst) == 0 { Reply::status(503) } else { Reply::bytes(contents, request) }
    });
    succeeded(&place.fetch(&server.url));
    assert_eq!(read(&place.model()), contents);
}

#[test]
fn refusals_say_what_to_do() {
    for (status, code, says) in [
        (404, "RepoNotFound", "owner/m or the file does not exist"),
        (404, "EntryNotFound", "owner/m has no such file"),
        (404, "RevisionNotFound", "owner/m has no such revision"),
        (401, "", "set HF_TOKEN"),
        (403, "GatedRepo", "accept its licence"),
        (500, "", "the server answers 500"),
    ] {
        let place = Place::new(HUB);
        let server = Server::start(move |_| Reply::status(status).with("X-Error-Code", code));
        let message = error_line(&place.fetch(&server.url));
        assert!(message.contains(says) && message.contains("hf-hub owner/m m.gguf"), "{message}");
        assert_nothing_kept(&place);
    }
}

#[test]
fn wrong_bytes_are_refused_and_both_hashes_named() {
    let (good, evil) = (weights(SIZE, 1), weights(SIZE, 2));
    let place = Place::new(&format!("sha256 = '{}'\n{HUB}", sha256(&good)));
    // The server does not say what it has: only the bytes tell.
    let body = evil.clone();
    let server = Server::start(move |request| Reply::bytes(&body, request));
    let message = error_line(&place.fetch(&server.url));
    assert!(message.contains(&sha256(&good)) && message.contains(&sha256(&evil)), "{message}");
    assert_nothing_kept(&place);
    // It says so beforehand: nothing is downloaded.
    let server = hub(evil.clone(), Reply::bytes);
    let message = error_line(&place.fetch(&server.url));
    assert!(message.contains(&sha256(&good)) && message.contains(&sha256(&evil)), "{message}");
    assert!(server.downloads().is_empty());
    // It says one thing and sends another.
    let place = Place::new(HUB);
    let server = hub(good.clone(), move |_, request| Reply::bytes(&evil, request));
    assert!(error_line(&place.fetch(&server.url)).contains("the hub says"));
    assert_nothing_kept(&place);
}

#[test]
fn what_the_lock_file_recorded_must_come_again() {
    let (first, second) = (weights(SIZE, 1), weights(SIZE, 2));
    let place = Place::new(HUB);
    succeeded(&place.fetch(&hub(first.clone(), Reply::bytes).url));
    std::fs::remove_file(place.model()).unwrap();
    let message = error_line(&place.fetch(&hub(second.clone(), Reply::bytes).url));
    assert!(message.contains(&sha256(&first)) && message.contains(&sha256(&second)), "{message}");
    assert!(!place.model().exists());
    succeeded(&place.fetch(&hub(first.clone(), Reply::bytes).url));
    assert_eq!(read(&place.model()), first);
}

#[test]
fn a_page_is_not_taken_for_a_model() {
    let place = Place::new(HUB);
    let server = Server::start(|request| Reply::bytes(b"<!DOCTYPE html>please sign in", request));
    let message = error_line(&place.fetch(&server.url));
    assert!(message.contains("not a GGUF file") && message.contains("<!DOCTYPE"), "{message}");
    assert_nothing_kept(&place);
}

#[test]
fn a_file_the_hub_client_has_already_is_used_even_offline() {
    let (contents, place) = (weights(SIZE, 1), Place::new(HUB));
    let snapshot = place.path("home/hf/hub/models--owner--m/snapshots/c0ffee");
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(place.path("home/hf/hub/models--owner--m/refs")).unwrap();
    std::fs::write(place.path("home/hf/hub/models--owner--m/refs/main"), "c0ffee").unwrap();
    std::fs::write(snapshot.join("m.gguf"), &contents).unwrap();
    let output = place.program("http://127.0.0.1:9").args(["--offline", "models", "fetch", "m-1b"]).output().unwrap();
    succeeded(&output);
    assert_eq!(read(&place.model()), contents);
    assert!(place.lock_file().contains("cached by hf-hub"));
}

#[test]
fn offline_opens_no_connection() {
    let place = Place::new(HUB);
    let server = hub(weights(SIZE, 1), Reply::bytes);
    let output = place.program(&server.url).args(["--offline", "models", "fetch", "m-1b"]).output().unwrap();
    assert!(error_line(&output).contains("hf-hub owner/m m.gguf: offline"));
    assert!(server.seen().is_empty());
}

#[test]
fn the_next_source_is_tried_and_all_are_named_when_all_fail() {
    let contents = weights(SIZE, 1);
    let sources = format!("{HUB}\n[[file.source]]\nkind = 'file'\npath = '../local.gguf'");
    let place = Place::new(&sources);
    let nobody = "http://127.0.0.1:9";
    let message = error_line(&place.fetch(nobody));
    assert!(message.contains("hf-hub owner/m m.gguf: http://127.0.0.1:9 is not reachable"), "{message}");
    assert!(message.contains("; file ../local.gguf: "), "{message}");
    std::fs::write(place.path("local.gguf"), &contents).unwrap();
    succeeded(&place.fetch(nobody));
    assert_eq!(read(&place.model()), contents);
}
