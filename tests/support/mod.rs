//! What the tests of fetching share: a small hub, a model of random bytes, and the program in a clean environment.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// A request as the server saw it; header names in lower case.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// First byte of a range request.
    pub(crate) fn range_start(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// What the server answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// Close the connection after so many bytes of the body.
    pub(crate) cut: Option<usize>,
    /// Wait before every 64 KiB of the body.
    pub(crate) slow: Option<Duration>,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The whole body, or the range asked for.
    pub(crate) fn bytes(contents: &[u8], request: &Request) -> Self {
        match request.range_start() {
            Some(start) if start < contents.len() => Self { body: contents[start..].to_vec(), ..Self::status(206) }
                .with("Content-Range", format!("bytes {start}-{}/{}", contents.len() - 1, contents.len())),
            Some(_) => Self::status(416),
            None => Self { body: contents.to_vec(), ..Self::status(200) },
        }
    }
}

/// A server on a free port of this machine.
pub(crate) struct Server {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (Arc::clone(&seen), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                // A client that hangs up in the middle is part of the tests.
                std::thread::spawn(move || serve(stream.unwrap(), &log, &*answer).ok());
            }
        });
        Self { url, seen }
    }

    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn downloads(&self) -> Vec<Request> {
        self.seen().into_iter().filter(|request| request.method == "GET").collect()
    }
}

fn serve(stream: TcpStream, log: &Mutex<Vec<Request>>, answer: &dyn Fn(&Request) -> Reply) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else { return Ok(()) };
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let request = Request { method, path, headers };
    log.lock().unwrap().push(request.clone());
    let reply = answer(&request);
    let mut head = format!("HTTP/1.1 {} x\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    if !reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
        write!(head, "Content-Length: {}\r\n", reply.body.len()).unwrap();
    }
    let mut stream = stream;
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    if request.method != "HEAD" {
        let body = &reply.body[..reply.cut.unwrap_or(reply.body.len()).min(reply.body.len())];
        for piece in body.chunks(1 << 16) {
            if let Some(pause) = reply.slow {
                std::thread::sleep(pause);
            }
            stream.write_all(piece)?;
        }
    }
    stream.shutdown(Shutdown::Both)
}

/// A directory with a cache, a home, and a catalogue of one model, `m-1b`.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    /// `file` is the manifest's `[[file]]` table, without level and name.
    pub(crate) fn new(file: &str) -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        for dir in ["catalogue", "home", "bin"] {
            std::fs::create_dir(place.path(dir)).unwrap();
        }
        place.describe(file);
        place
    }

    pub(crate) fn describe(&self, file: &str) {
        let manifest = format!(
            "name = 'm-1b'\ntitle = 'M'\narchitecture = 'llama'\nparams = 1\nhome = 'https://example.org'\n\
             verified = '2026-01-31'\n[licence]\nname = 'MIT'\nurl = 'https://example.org'\n\
             [[file]]\nlevel = 'q8_0'\nfile = 'm.gguf'\n{file}\n"
        );
        std::fs::write(self.path("catalogue/m-1b.toml"), manifest).unwrap();
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Where the model ends up.
    pub(crate) fn model(&self) -> PathBuf {
        self.path("cache/models/m-1b/m.gguf")
    }

    pub(crate) fn part(&self) -> PathBuf {
        self.path("cache/models/m-1b/m.gguf.part")
    }

    /// The program, blind to this machine's home, hub cache, token, proxy and Python.
    pub(crate) fn program(&self, endpoint: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tierbench"));
        self.surround(&mut command, endpoint);
        command
    }

    pub(crate) fn surround(&self, command: &mut Command, endpoint: &str) {
        for name in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "TIERBENCH_OFFLINE", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"] {
            command.env_remove(name);
        }
        for name in ["http_proxy", "https_proxy", "all_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        command
            .env("HOME", self.path("home"))
            .env("HF_HOME", self.path("home/hf"))
            .env("HF_ENDPOINT", endpoint)
            .env("TIERBENCH_CACHE", self.path("cache"))
            .env("TIERBENCH_CATALOGUE", self.path("catalogue"))
            .env("PATH", self.path("bin"));
    }

    pub(crate) fn fetch(&self, endpoint: &str) -> Output {
        self.program(endpoint).args(["models", "fetch", "m-1b", "-o", "json"]).output().unwrap()
    }

    pub(crate) fn lock_file(&self) -> String {
        std::fs::read_to_string(self.path("cache/models.lock.toml")).unwrap_or_default()
    }
}

/// A hub source in a manifest.
pub(crate) const HUB: &str = "[[file.source]]\nkind = 'hf-hub'\nrepo = 'owner/m'\nfile = 'm.gguf'";

/// Bytes that begin like a GGUF file and do not repeat; another `seed`, other bytes.
pub(crate) fn weights(len: usize, seed: u8) -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    let mut block = Sha256::digest([seed]);
    while bytes.len() < len {
        bytes.extend_from_slice(&block);
        block = Sha256::digest(block);
    }
    bytes.truncate(len);
    bytes
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

pub(crate) fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The one line that ends a failed command.
pub(crate) fn error_line(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let errors: Vec<_> = stderr.lines().filter(|line| line.starts_with("error:")).collect();
    assert_eq!(errors.len(), 1, "{stderr}");
    assert!(stderr.trim_end().ends_with(errors[0]), "the error is the last line: {stderr}");
    errors[0].to_owned()
}

pub(crate) fn assert_nothing_kept(place: &Place) {
    for path in [place.model(), place.part()] {
        assert!(!path.exists(), "{} exists", path.display());
    }
    assert!(!place.lock_file().contains("m.gguf"));
}

pub(crate) fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
