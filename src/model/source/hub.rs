//! Files of the Hugging Face hub, or of any server that speaks its routes.
//!
//! Endpoint, URL, cache and token conventions are the hf-hub crate's (`HF_HOME`, `HF_ENDPOINT`; `HF_TOKEN` as the
//! Python client reads it). The download itself is ours, because the crate's neither verifies what it got nor resumes
//! across processes.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use hf_hub::api::sync::ApiBuilder;
use hf_hub::{Repo, RepoType};
use ureq::config::RedirectAuthHeaders;
use ureq::http::{HeaderMap, Response, StatusCode, header};
use ureq::{Agent, Body};

use super::super::cache::{Part, with_suffix};
use super::super::{ModelError, Progress};
use super::{Failure, Fetched, Request, copy, pump};

/// Attempts that bring nothing new before the source is given up.
const IDLE_ATTEMPTS: u32 = 3;
/// Attempts in all: a server that sends a few bytes and hangs up is not waited for for ever.
const MAX_ATTEMPTS: u32 = 50;
/// First pause between attempts; doubled after each that brought nothing.
const PAUSE: Duration = Duration::from_millis(250);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes the list of a repository's files may have.
const MAX_LISTING: u64 = 32 << 20;
/// Longest silence of a connection.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// The endpoint that could not be reached and why: asked once per process, so that a machine without a hub pays for
/// finding out only once however many files it looks for.
static UNREACHABLE: Mutex<Option<(String, String)>> = Mutex::new(None);

/// A file of a model's or data set's repository.
pub(in crate::model) fn fetch(
    (kind, repo, revision): (RepoType, &str, &str),
    file: &str,
    request: &Request,
    progress: &mut dyn Progress,
) -> Result<Fetched, Failure> {
    has_home()?;
    let repo_ref = Repo::with_revision(repo.to_owned(), kind, revision.to_owned());
    if let Some(path) = in_hub_cache(&repo_ref, file) {
        let cached = File::open(&path).map_err(|error| Failure::Source(error.to_string()))?;
        let total = cached.metadata().map(|meta| meta.len()).ok();
        let mut part = Part::open(request.destination, false)?;
        copy(cached, &mut part, request.what, total, progress)?;
        return Ok(Fetched { part, source: format!("hf-hub {repo} {file} (cached by hf-hub)") });
    }
    if request.offline {
        return Err(Failure::Source("offline".to_owned()));
    }
    let api =
        ApiBuilder::from_env().with_progress(false).build().map_err(|error| Failure::Source(error.to_string()))?;
    let url = api.repo(repo_ref).url(file);
    let hub = Hub { agents: Agents::new(), token: token(), repo, endpoint: origin(&url) };
    let meta = hub.describe(&url)?;
    if let (Some(expected), Some(hash)) = (request.sha256, meta.sha256())
        && expected != hash
    {
        // Known before the first byte: nothing is downloaded for nothing.
        return Err(Failure::Source(format!("sha256 is {hash}, expected {expected}")));
    }
    let part = hub.download(&url, &meta, request, progress)?;
    if let Some(hash) = meta.sha256()
        && part.sha256() != hash
    {
        let got = part.sha256();
        part.discard();
        return Err(Failure::Source(format!("sha256 is {got}, the hub says {hash}")));
    }
    let commit = meta.commit.as_deref().unwrap_or(revision);
    Ok(Fetched { part, source: format!("hf-hub {repo}@{commit} {file}") })
}

/// Paths of all files of a repository at a revision.
pub(in crate::model) fn list((kind, repo, revision): (RepoType, &str, &str)) -> Result<Vec<String>, Failure> {
    #[derive(serde::Deserialize)]
    struct Listing {
        siblings: Vec<Sibling>,
    }
    #[derive(serde::Deserialize)]
    struct Sibling {
        rfilename: String,
    }
    has_home()?;
    let api =
        ApiBuilder::from_env().with_progress(false).build().map_err(|error| Failure::Source(error.to_string()))?;
    let repo_ref = Repo::with_revision(repo.to_owned(), kind, revision.to_owned());
    // The crate knows the endpoint but does not say it: it is what the URL of a file begins with.
    let url = api.repo(repo_ref.clone()).url("x");
    let hub = Hub { agents: Agents::new(), token: token(), repo, endpoint: origin(&url) };
    let at = format!("{}/api/{}", hub.endpoint, repo_ref.api_url());
    let mut response = hub.retry(|| {
        let mut get = hub.agents.following.get(&at);
        if let Some(token) = &hub.token {
            get = get.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        get.call()
    })?;
    if !response.status().is_success() {
        return Err(hub.refused(&response));
    }
    let body = response.body_mut().with_config().limit(MAX_LISTING).read_to_string();
    let listing: Listing = serde_json::from_str(&body.map_err(|error| Failure::Source(plain(&error)))?)
        .map_err(|error| Failure::Source(format!("the hub's list of {repo} cannot be read: {error}")))?;
    Ok(listing.siblings.into_iter().map(|sibling| sibling.rfilename).collect())
}

/// hf-hub panics when it looks for its cache and there is no home directory.
fn has_home() -> Result<(), Failure> {
    if std::env::var_os("HF_HOME").is_none() && directories::BaseDirs::new().is_none() {
        return Err(Failure::Source("no home directory: set HF_HOME".to_owned()));
    }
    Ok(())
}

/// The user's token: `HF_TOKEN`, or the file `huggingface-cli login` writes.
fn token() -> Option<String> {
    let from_env = ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"].iter().find_map(|name| std::env::var(name).ok());
    from_env
        .map(|token| token.trim().to_owned())
        .filter(|token| !token.is_empty())
        .or_else(|| hf_hub::Cache::from_env().token())
}

/// The file, if another program of this machine has downloaded it already.
fn in_hub_cache(repo: &Repo, file: &str) -> Option<PathBuf> {
    let cache = hf_hub::Cache::from_env().repo(repo.clone());
    cache.get(file).or_else(|| Some(cache.pointer_path(repo.revision()).join(file)).filter(|path| path.is_file()))
}

/// What the hub says of a file before it is downloaded.
#[derive(Debug, Default)]
struct Meta {
    etag: Option<String>,
    size: Option<u64>,
    commit: Option<String>,
}

impl Meta {
    /// For large files the entity tag is the content's sha256.
    fn sha256(&self) -> Option<&str> {
        self.etag.as_deref().filter(|etag| etag.len() == 64 && etag.chars().all(|c| c.is_ascii_hexdigit()))
    }
}

struct Agents {
    /// Follows redirects to the storage servers, without the token.
    following: Agent,
    /// Shows redirects: the hub's headers are on the first response only.
    direct: Agent,
}

impl Agents {
    fn new() -> Self {
        let config = || {
            Agent::config_builder()
                .http_status_as_error(false)
                .redirect_auth_headers(RedirectAuthHeaders::SameHost)
                .timeout_resolve(Some(CONNECT_TIMEOUT))
                .timeout_connect(Some(CONNECT_TIMEOUT))
                .timeout_recv_response(Some(READ_TIMEOUT))
                .timeout_per_read(Some(READ_TIMEOUT))
                .user_agent(concat!("tierbench/", env!("CARGO_PKG_VERSION")))
        };
        Self {
            following: config().build().into(),
            direct: config().max_redirects(0).max_redirects_will_error(false).build().into(),
        }
    }
}

struct Hub<'a> {
    agents: Agents,
    token: Option<String>,
    repo: &'a str,
    endpoint: &'a str,
}

impl Hub<'_> {
    /// Asks for the file's headers, following redirects within the hub (a renamed repository) but not beyond.
    fn describe(&self, url: &str) -> Result<Meta, Failure> {
        if let Ok(known) = UNREACHABLE.lock()
            && let Some((unreachable, why)) = &*known
            && unreachable == self.endpoint
        {
            return Err(Failure::Source(why.clone()));
        }
        let mut at = url.to_owned();
        for _ in 0..5 {
            let response = self.retry(|| {
                let mut head = self.agents.direct.head(&at).header(header::ACCEPT_ENCODING, "identity");
                if let Some(token) = &self.token {
                    head = head.header(header::AUTHORIZATION, format!("Bearer {token}"));
                }
                head.call()
            })?;
            let headers = response.headers();
            let location = text(headers, "location");
            if let (true, Some(path)) = (response.status().is_redirection(), location.filter(|to| to.starts_with('/')))
            {
                at = format!("{}{path}", self.endpoint);
                continue;
            }
            if !response.status().is_success() && !response.status().is_redirection() {
                return Err(self.refused(&response));
            }
            let size = text(headers, "x-linked-size")
                .or_else(|| text(headers, "content-length").filter(|_| response.status().is_success()));
            return Ok(Meta {
                etag: text(headers, "x-linked-etag")
                    .or_else(|| text(headers, "etag"))
                    .map(|etag| etag.trim_start_matches("W/").trim_matches('"').to_owned()),
                size: size.and_then(|size| size.parse().ok()),
                commit: text(headers, "x-repo-commit").map(str::to_owned),
            });
        }
        Err(Failure::Source("too many redirects".to_owned()))
    }

    /// One request, repeated while the server is busy.
    fn retry(&self, call: impl Fn() -> Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, Failure> {
        let mut pause = PAUSE;
        for attempt in 1.. {
            match call() {
                Ok(response) if is_busy(response.status()) && attempt < IDLE_ATTEMPTS => {}
                Ok(response) => return Ok(response),
                Err(error) => return Err(self.broken(&error)),
            }
            std::thread::sleep(pause);
            pause *= 2;
        }
        Err(Failure::Source("busy".to_owned()))
    }

    /// Downloads into the partial file, resuming what is there if it is of the same contents, until it is complete.
    fn download(
        &self,
        url: &str,
        meta: &Meta,
        request: &Request,
        progress: &mut dyn Progress,
    ) -> Result<Part, Failure> {
        let stamp = Stamp::new(request.destination, url, meta);
        let mut part = Part::open(request.destination, stamp.matches())?;
        stamp.write()?;
        let (mut best, mut idle, mut pause) = (part.len(), 0, PAUSE);
        for _ in 0..MAX_ATTEMPTS {
            let failure = match self.attempt(url, meta, &mut part, request, progress) {
                Ok(()) => {
                    stamp.remove();
                    return Ok(part);
                }
                Err(Attempt::Stop(failure)) => return Err(failure),
                Err(Attempt::Again(why)) => why,
            };
            if part.len() > best {
                (best, idle, pause) = (part.len(), 0, PAUSE);
            } else {
                idle += 1;
            }
            if idle == IDLE_ATTEMPTS {
                return Err(Failure::Source(failure));
            }
            if progress.cancelled() {
                return Err(ModelError::Interrupted(format!("fetching {}", request.what)).into());
            }
            std::thread::sleep(pause);
            pause *= 2;
        }
        Err(Failure::Source("the connection breaks again and again".to_owned()))
    }

    fn attempt(
        &self,
        url: &str,
        meta: &Meta,
        part: &mut Part,
        request: &Request,
        progress: &mut dyn Progress,
    ) -> Result<(), Attempt> {
        let known = meta.size.or(request.bytes);
        if part.len() > 0 && known == Some(part.len()) {
            return Ok(());
        }
        let mut get = self.agents.following.get(url).header(header::ACCEPT_ENCODING, "identity");
        if let Some(token) = &self.token {
            get = get.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if part.len() > 0 {
            get = get.header(header::RANGE, format!("bytes={}-", part.len()));
        }
        let response = get.call().map_err(|error| Attempt::Again(plain(&error)))?;
        let total = match response.status() {
            StatusCode::PARTIAL_CONTENT => match content_range(response.headers()) {
                Some((start, total)) if start == part.len() => total.or(known),
                _ => {
                    part.clear()?;
                    return Err(Attempt::Again("the server sent another range than asked for".to_owned()));
                }
            },
            StatusCode::RANGE_NOT_SATISFIABLE => {
                part.clear()?;
                return Err(Attempt::Again("the server has fewer bytes than were downloaded before".to_owned()));
            }
            status if status.is_success() => {
                part.clear()?;
                text(response.headers(), "content-length").and_then(|length| length.parse().ok()).or(known)
            }
            status if is_busy(status) => return Err(Attempt::Again(format!("the server answers {status}"))),
            _ => return Err(Attempt::Stop(self.refused(&response))),
        };
        progress.start(request.what, total);
        progress.advance(part.len());
        let pumped = pump(&mut response.into_body().into_reader(), part, request.what, progress);
        progress.finish();
        match pumped {
            Ok(()) => {}
            Err(Failure::Source(why)) => return Err(Attempt::Again(format!("the connection broke: {why}"))),
            Err(fatal) => return Err(Attempt::Stop(fatal)),
        }
        match total {
            Some(total) if part.len() < total => {
                Err(Attempt::Again(format!("truncated: {} of {total} bytes arrived", part.len())))
            }
            _ => Ok(()),
        }
    }

    /// What a status that is not success means for the user.
    fn refused(&self, response: &Response<Body>) -> Failure {
        let code = text(response.headers(), "x-error-code").unwrap_or_default();
        let status = response.status();
        let repo = self.repo;
        let hint = match (status.as_u16(), code) {
            (_, "GatedRepo") => format!("{repo} is gated: accept its licence on the hub and set HF_TOKEN"),
            (401, _) if self.token.is_some() => format!("{repo}: the token is not accepted (HF_TOKEN)"),
            (401, _) => format!("{repo} does not exist or needs a token: set HF_TOKEN"),
            (403, _) => format!("{repo}: no access with this token (HF_TOKEN)"),
            (404, "EntryNotFound") => format!("{repo} has no such file"),
            (404, "RevisionNotFound") => format!("{repo} has no such revision"),
            (404, _) => format!("{repo} or the file does not exist"),
            _ => format!("the server answers {status}"),
        };
        Failure::Source(hint)
    }

    /// A request that got no response at all.
    fn broken(&self, error: &ureq::Error) -> Failure {
        let why = format!("{} is not reachable: {}", self.endpoint, plain(error));
        if let Ok(mut known) = UNREACHABLE.lock() {
            *known = Some((self.endpoint.to_owned(), why.clone()));
        }
        Failure::Source(why)
    }
}

enum Attempt {
    Again(String),
    Stop(Failure),
}

impl From<ModelError> for Attempt {
    fn from(error: ModelError) -> Self {
        Self::Stop(Failure::Fatal(error))
    }
}

/// Says which contents a partial file is of, so that bytes of two uploads are never joined.
struct Stamp {
    path: PathBuf,
    /// `None` where the server names no entity tag: then nothing is resumed.
    contents: Option<String>,
}

impl Stamp {
    fn new(destination: &Path, url: &str, meta: &Meta) -> Self {
        let contents = meta.etag.as_ref().map(|etag| format!("{url}\n{etag}\n"));
        Self { path: with_suffix(destination, ".part.of"), contents }
    }

    fn matches(&self) -> bool {
        self.contents.is_some() && std::fs::read_to_string(&self.path).ok() == self.contents
    }

    fn write(&self) -> Result<(), ModelError> {
        let contents = self.contents.as_deref().unwrap_or_default();
        std::fs::write(&self.path, contents).map_err(ModelError::io("write", &self.path))
    }

    fn remove(&self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn is_busy(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::REQUEST_TIMEOUT
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// `bytes 5-9/10` → (5, Some(10)).
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let (range, total) = text(headers, "content-range")?.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, total.parse().ok()))
}

/// `https://host:port` of a URL.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    url[host..].find('/').map_or(url, |at| &url[..host + at])
}

/// One line, without the layers' names.
fn plain(error: &ureq::Error) -> String {
    match error {
        ureq::Error::HostNotFound => "host not found".to_owned(),
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string().replace('\n', " "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_ends_before_the_path() {
        assert_eq!(origin("https://huggingface.co/a/b"), "https://huggingface.co");
        assert_eq!(origin("http://127.0.0.1:80"), "http://127.0.0.1:80");
        assert_eq!(origin(""), "");
    }

    #[test]
    fn a_content_range_is_read_or_refused() {
        let range = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("content-range", value.parse().unwrap());
            content_range(&headers)
        };
        assert_eq!(range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(range("bytes 5-9/*"), Some((5, None)));
        assert_eq!(range("bytes */10"), None);
        assert_eq!(range("5-9/10"), None);
    }

    #[test]
    fn only_a_sha256_is_taken_for_one() {
        let meta = |etag: &str| Meta { etag: Some(etag.to_owned()), ..Meta::default() };
        assert_eq!(meta(&"a".repeat(64)).sha256(), Some("a".repeat(64).as_str()));
        assert_eq!(meta("d41d8cd98f00b204e9800998ecf8427e").sha256(), None);
        assert_eq!(meta(&"g".repeat(64)).sha256(), None);
    }
}
