//! Reads from registries and writes to them by the OCI distribution specification 1.1: manifests by tag or digest, and
//! blobs.
//!
//! A registry that wants to know who asks says so with 401; only then is the user's login looked for. One that
//! is asked too much says so with 429; then all who ask the same registry wait.

mod challenge;
pub mod credentials;
pub mod document;
mod login;
pub mod upload;

use crate::lock::LockedBlob;
use crate::progress::Progress;
use crate::store::{Store, WrongBytes};
use crate::transport::{
    Ask, Patience, Transport, TransportError, broken, check, range_from, read_all, shown,
};
use anyhow::{Context, bail};
use credentials::Credentials;
use document::{DOCUMENT_LIMIT, Document, INDEXES, MANIFESTS};
use login::Door;
use reqwest::blocking::Response;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, Url};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Docker's registry is not where its name says.
const DOCKER: (&str, &str) = ("https://docker.io", "https://registry-1.docker.io");

/// One registry, or the mirror that stands in for it. Any number of threads may ask at once.
#[derive(Debug)]
pub struct Registry {
    transport: Transport,
    credentials: Credentials,
    /// All URLs start with it, such as `https://host:5000/v2`.
    base: String,
    host: String,
    /// Where it is, for comparison: nobody else is shown a login.
    home: Url,
    /// What lets us in, by repository, and whether to write: some registries refuse who writes with what was given for
    /// reading, and do not ask again.
    tokens: Mutex<BTreeMap<(String, bool), HeaderValue>>,
    /// Until when the registry wants to be left alone.
    quiet: Mutex<Option<Instant>>,
}

/// The registry knows who asks, and says no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("registry {host} does not let {with} {what} {repository} (status {status})")]
struct Refused {
    host: String,
    /// The login, or that there is none.
    with: String,
    what: &'static str,
    repository: String,
    status: u16,
}

/// Whether a registry has answered that this repository is not for us, or that it does not say whether it exists.
pub fn is_refusal(error: &anyhow::Error) -> bool {
    let denied = matches!(error.downcast_ref(), Some(TransportError::Denied { .. }));
    denied || error.is::<Refused>()
}

/// Whether a registry has answered that there is no such thing.
pub fn is_absent(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(TransportError::NotFound(_)))
}

impl Registry {
    /// The registry at `url`, such as `https://registry.k8s.io` or `http://127.0.0.1:5000`. A path of the URL goes
    /// before the names of repositories, as caches like Harbor's want it, unless it ends in `/v2`.
    pub fn open(
        url: &str,
        transport: &Transport,
        credentials: &Credentials,
    ) -> anyhow::Result<Self> {
        let url = url.trim_end_matches('/');
        let url = if url == DOCKER.0 { DOCKER.1 } else { url };
        let parsed = Url::parse(url).ok();
        let parsed = parsed.filter(|url| matches!(url.scheme(), "http" | "https"));
        let Some(parsed) = parsed else {
            bail!(
                "registry {} is neither an https: nor an http: URL",
                shown(url)
            );
        };
        if !parsed.username().is_empty() || parsed.password().is_some() {
            bail!(
                "registry {} has a login in its URL: keep it where docker or podman does",
                shown(url)
            );
        }
        let name = parsed.host_str().unwrap_or_default();
        let host = match parsed.port() {
            Some(port) => format!("{name}:{port}"),
            None => name.to_owned(),
        };
        let path = parsed.path().trim_matches('/');
        let base = match path {
            "" => format!("{url}/v2"),
            path if path == "v2" || path.ends_with("/v2") => url.to_owned(),
            path => format!(
                "{}/v2/{path}",
                url.strip_suffix(&format!("/{path}")).unwrap_or(url)
            ),
        };
        Ok(Registry {
            transport: transport.clone(),
            credentials: credentials.clone(),
            base,
            host,
            home: parsed,
            tokens: Mutex::default(),
            quiet: Mutex::default(),
        })
    }

    /// Host and port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The manifest or index `reference` (a tag or `sha256:…`) of `repository`; `None` if there is none.
    pub fn manifest(&self, repository: &str, reference: &str) -> anyhow::Result<Option<Document>> {
        let url = format!("{}/{repository}/manifests/{reference}", self.base);
        let accepted = [INDEXES, MANIFESTS].concat().join(", ");
        let accepted = HeaderValue::from_str(&accepted).context("listing media types")?;
        let ask = Ask {
            headers: HeaderMap::from_iter([(ACCEPT, accepted)]),
            ..Ask::get(&url)
        };
        let read = self.insist(|| {
            let read = |response| {
                let response = check(response, &url)?;
                let media_type = response.headers().get(CONTENT_TYPE).cloned();
                Ok((read_all(response, &url, DOCUMENT_LIMIT)?, media_type))
            };
            Ok(self.ask(repository, &ask)?.and_then(read))
        });
        let fetching = || {
            format!(
                "fetching manifest {reference} of {repository} from {}",
                self.host
            )
        };
        let Some((bytes, media_type)) = found(read).with_context(fetching)? else {
            return Ok(None);
        };
        let media_type = media_type.and_then(|t| Some(t.to_str().ok()?.to_owned()));
        let document = Document::sent(bytes, media_type, reference);
        document.map(Some).with_context(fetching)
    }

    /// Brings a blob into the store. `what` names it in messages.
    pub fn fetch_blob(
        &self,
        repository: &str,
        blob: &LockedBlob,
        store: &Store,
        what: &str,
        progress: Option<&Progress>,
    ) -> anyhow::Result<()> {
        if store.has(&blob.sha256, blob.size) {
            return Ok(());
        }
        let mut partial = store.partial(&blob.sha256)?;
        if store.has(&blob.sha256, blob.size) {
            // Another fetch finished it while this one waited for the lock.
            return partial.discard();
        }
        let resumed = partial.len > 0;
        let to = (&partial.file, &mut partial.len);
        if let Err(error) = self.download(repository, blob, to, what, progress) {
            // What never began leaves nothing to go on from.
            if partial.len == 0 {
                partial.discard()?;
            }
            return Err(error);
        }
        match partial.commit(blob.size, what) {
            // What was there came from another run or another mirror, and need not have been good.
            Err(error) if resumed && error.is::<WrongBytes>() => {
                self.fetch_blob(repository, blob, store, what, progress)
            }
            result => result,
        }
    }

    /// Appends to a file what it lacks of a blob; the file's length and position are the number beside it. Nobody has
    /// looked at the digest then.
    pub(crate) fn download(
        &self,
        repository: &str,
        blob: &LockedBlob,
        (file, len): (&File, &mut u64),
        what: &str,
        progress: Option<&Progress>,
    ) -> anyhow::Result<()> {
        let fetching = || format!("fetching {what} from {}", self.host);
        if *len > blob.size {
            restart(file, len).with_context(fetching)?;
        }
        if let Some(progress) = progress {
            progress.advance(*len);
        }
        let url = self.blob_url(repository, &blob.sha256);
        let mut patience = self.transport.patience();
        while *len < blob.size {
            let before = *len;
            let mut ask = Ask::get(&url);
            if *len > 0 {
                ask.headers.insert(RANGE, range_from(*len));
            }
            let answer = self.ask(repository, &ask).with_context(fetching)?;
            let appended = answer.and_then(|response| {
                let response = check(response, &url)?;
                append(response, &url, blob.size, (file, &mut *len), progress)
            });
            if let Err(error) = appended {
                patience.came(len.saturating_sub(before));
                self.wait(&mut patience, error).with_context(fetching)?;
            }
        }
        Ok(())
    }

    fn blob_url(&self, repository: &str, sha256: &str) -> String {
        format!("{}/{repository}/blobs/sha256:{sha256}", self.base)
    }

    /// Tries again what fails for a passing reason. The outer error of an attempt is one that no retry helps.
    fn insist<T>(
        &self,
        mut attempt: impl FnMut() -> anyhow::Result<Result<T, TransportError>>,
    ) -> anyhow::Result<T> {
        let mut patience = self.transport.patience();
        loop {
            match attempt()? {
                Ok(value) => return Ok(value),
                Err(error) => self.wait(&mut patience, error)?,
            }
        }
    }

    /// Sends a request, with a login if the registry wants one. The outer error is one that no retry helps.
    fn ask(
        &self,
        repository: &str,
        ask: &Ask<'_>,
    ) -> anyhow::Result<Result<Response, TransportError>> {
        self.be_quiet();
        let writes = !matches!(ask.method, Method::GET | Method::HEAD);
        let door = (repository.to_owned(), writes);
        let known = lock(&self.tokens).get(&door).cloned();
        let response = match self.send(ask, known.as_ref()) {
            Ok(response) => response,
            Err(error) => return Ok(Err(error)),
        };
        // Who is only led to does not get to ask for the login here.
        let away = |response: &Response| response.url().origin() != self.home.origin();
        if response.status() != 401 || away(&response) {
            return Ok(Ok(response));
        }
        let (token, origin) = Door {
            transport: &self.transport,
            credentials: &self.credentials,
            host: &self.host,
            repository,
            writes,
        }
        .open(&response)?;
        let response = self.send(ask, Some(&token));
        if let Ok(response) = &response
            && matches!(response.status().as_u16(), 401 | 403)
            && !away(response)
        {
            return Err(Refused {
                host: self.host.clone(),
                with: origin,
                what: if writes { "write to" } else { "read" },
                repository: repository.to_owned(),
                status: response.status().as_u16(),
            }
            .into());
        }
        lock(&self.tokens).insert(door, token);
        Ok(response)
    }

    fn send(&self, ask: &Ask<'_>, token: Option<&HeaderValue>) -> Result<Response, TransportError> {
        let mut ask = Ask {
            access: false,
            ..ask.clone()
        };
        if let Some(token) = token {
            ask.headers.insert(AUTHORIZATION, token.clone());
        }
        self.transport.send(&ask)
    }

    /// Waits before the next try, and makes the others wait who ask the same registry.
    fn wait(&self, patience: &mut Patience, error: TransportError) -> anyhow::Result<()> {
        let all = matches!(
            error,
            TransportError::Status {
                status: 429 | 503,
                ..
            }
        );
        let pause = patience.pause(error)?;
        if all {
            let until = Instant::now() + pause;
            let mut quiet = lock(&self.quiet);
            *quiet = Some(quiet.map_or(until, |known| known.max(until)));
        } else {
            std::thread::sleep(pause);
        }
        Ok(())
    }

    fn be_quiet(&self) {
        let until = *lock(&self.quiet);
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        std::thread::sleep(left.unwrap_or(Duration::ZERO));
    }
}

/// Appends a blob's body to a file of this length, and not a byte more than the blob has.
fn append(
    mut response: Response,
    url: &str,
    size: u64,
    (mut file, len): (&File, &mut u64),
    progress: Option<&Progress>,
) -> Result<(), TransportError> {
    let store = |source| TransportError::Store {
        url: shown(url),
        source,
    };
    if response.status() != 206 && *len > 0 {
        restart(file, len).map_err(store)?;
    }
    let mut buffer = vec![0; 256 << 10];
    loop {
        let n = response.read(&mut buffer).map_err(|e| broken(url, e))?;
        if n == 0 && *len < size {
            let early = io::Error::from(io::ErrorKind::UnexpectedEof);
            return Err(broken(url, early));
        }
        if n == 0 {
            return Ok(());
        }
        if *len + n as u64 > size {
            let (url, limit) = (shown(url), size);
            return Err(TransportError::TooLarge { url, limit });
        }
        file.write_all(&buffer[..n]).map_err(store)?;
        *len += n as u64;
        if let Some(progress) = progress {
            progress.advance(n as u64);
        }
    }
}

/// Forgets what a file has, to start again.
fn restart(mut file: &File, len: &mut u64) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    *len = 0;
    Ok(())
}

/// `None` where there was nothing.
fn found<T>(answer: anyhow::Result<T>) -> anyhow::Result<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a thread that panicked left is as good as before: each value is replaced whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R020, R063.
    #[test]
    fn a_path_of_a_registry_goes_before_the_repositories() {
        let transport = Transport::new().unwrap();
        let check = |url: &str, expected: &str| {
            let registry = Registry::open(url, &transport, &Credentials::default()).unwrap();
            assert_eq!(registry.base, expected);
        };
        check("https://r.example", "https://r.example/v2");
        check("https://r.example:5000/", "https://r.example:5000/v2");
        check("https://docker.io", "https://registry-1.docker.io/v2");
        check("https://h.example/hub/", "https://h.example/v2/hub");
        check(
            "https://h.example/a/docker/x/v2",
            "https://h.example/a/docker/x/v2",
        );
        assert!(Registry::open("r.example", &transport, &Credentials::default()).is_err());
    }
}
