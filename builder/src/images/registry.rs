//! Reads from registries by the OCI distribution specification 1.1: manifests by tag or digest, and blobs.
//!
//! A registry that wants to know who asks says so with 401; only then is the user's login looked for. One that
//! is asked too much says so with 429; then all who ask the same registry wait.

mod challenge;
mod login;

use crate::digest;
use crate::images::credentials::Credentials;
use crate::lock::LockedBlob;
use crate::progress::Progress;
use crate::store::{Partial, Store, WrongBytes};
use crate::transport::{
    Ask, Patience, Transport, TransportError, broken, check, range_from, read_all, shown,
};
use anyhow::{Context, anyhow, bail};
use login::Door;
use reqwest::blocking::Response;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Media types of documents that list manifests.
pub const INDEXES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
/// Media types of manifests.
pub const MANIFESTS: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
/// Configs and manifests are small; a registry that sends more is not believed.
pub const DOCUMENT_LIMIT: u64 = 4 << 20;
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
    /// What lets us in, by repository.
    tokens: Mutex<BTreeMap<String, HeaderValue>>,
    /// Until when the registry wants to be left alone.
    quiet: Mutex<Option<Instant>>,
}

/// A manifest or an index.
#[derive(Clone, Debug)]
pub struct Document {
    /// The bytes, as they are hashed.
    pub bytes: Vec<u8>,
    /// SHA-256 of the bytes, hexadecimal.
    pub sha256: String,
    /// The media type.
    pub media_type: String,
}

impl Document {
    /// What a lock says of it.
    pub fn locked(&self) -> LockedBlob {
        LockedBlob {
            media_type: self.media_type.clone(),
            size: self.bytes.len() as u64,
            sha256: self.sha256.clone(),
        }
    }
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
        let parsed = reqwest::Url::parse(url).ok();
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
        let headers = HeaderMap::from_iter([(ACCEPT, accepted)]);
        let mut patience = self.transport.patience();
        let fetching = || {
            format!(
                "fetching manifest {reference} of {repository} from {}",
                self.host
            )
        };
        loop {
            let response = self
                .ask(repository, &url, &headers)
                .with_context(fetching)?;
            let read = response.and_then(|response| {
                let response = check(response, &url)?;
                let media_type = response.headers().get(CONTENT_TYPE).cloned();
                Ok((read_all(response, &url, DOCUMENT_LIMIT)?, media_type))
            });
            match read {
                Ok((bytes, media_type)) => {
                    let media_type = media_type.and_then(|t| Some(t.to_str().ok()?.to_owned()));
                    return document(bytes, media_type, reference)
                        .map(Some)
                        .with_context(fetching);
                }
                Err(TransportError::NotFound(_)) => return Ok(None),
                Err(error) => self.wait(&mut patience, error).with_context(fetching)?,
            }
        }
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
        if partial.len > blob.size {
            partial
                .restart()
                .with_context(|| format!("starting {what} again"))?;
        }
        let resumed = partial.len > 0;
        if let Some(progress) = progress {
            progress.advance(partial.len);
        }
        let fetching = || format!("fetching {what} from {}", self.host);
        let url = format!("{}/{repository}/blobs/sha256:{}", self.base, blob.sha256);
        let mut patience = self.transport.patience();
        while partial.len < blob.size {
            let before = partial.len;
            let pulled = self.pull(repository, &url, blob, &mut partial, progress);
            if let Err(error) = pulled.with_context(fetching)? {
                patience.came(partial.len.saturating_sub(before));
                self.wait(&mut patience, error).with_context(fetching)?;
            }
        }
        match partial.commit(blob.size, what) {
            // What was there came from another run or another mirror, and need not have been good.
            Err(error) if resumed && error.is::<WrongBytes>() => {
                self.fetch_blob(repository, blob, store, what, progress)
            }
            result => result,
        }
    }

    /// Appends what `partial` lacks of a blob.
    fn pull(
        &self,
        repository: &str,
        url: &str,
        blob: &LockedBlob,
        partial: &mut Partial,
        progress: Option<&Progress>,
    ) -> anyhow::Result<Result<(), TransportError>> {
        let mut headers = HeaderMap::new();
        if partial.len > 0 {
            headers.insert(RANGE, range_from(partial.len));
        }
        let response = self.ask(repository, url, &headers)?;
        Ok(response.and_then(|response| {
            let response = check(response, url)?;
            append(response, url, blob.size, partial, progress)
        }))
    }

    /// Sends a request, with a login if the registry wants one. The outer error is one that no retry helps.
    fn ask(
        &self,
        repository: &str,
        url: &str,
        headers: &HeaderMap,
    ) -> anyhow::Result<Result<Response, TransportError>> {
        self.be_quiet();
        let known = lock(&self.tokens).get(repository).cloned();
        let response = match self.send(url, headers, known.as_ref()) {
            Ok(response) => response,
            Err(error) => return Ok(Err(error)),
        };
        if response.status() != 401 {
            return Ok(Ok(response));
        }
        let door = Door {
            transport: &self.transport,
            credentials: &self.credentials,
            host: &self.host,
            repository,
        };
        let token = door.open(&response)?;
        let response = self.send(url, headers, Some(&token));
        if let Ok(response) = &response
            && matches!(response.status().as_u16(), 401 | 403)
        {
            let (host, status) = (&self.host, response.status().as_u16());
            let found = self.credentials.find(&self.host, repository)?;
            let with = found.map_or("no login".to_owned(), |(_, origin)| origin);
            bail!("registry {host} does not let {with} read {repository} (status {status})");
        }
        lock(&self.tokens).insert(repository.to_owned(), token);
        Ok(response)
    }

    fn send(
        &self,
        url: &str,
        headers: &HeaderMap,
        token: Option<&HeaderValue>,
    ) -> Result<Response, TransportError> {
        let mut ask = Ask {
            headers: headers.clone(),
            access: false,
            ..Ask::get(url)
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

/// Appends a blob's body, and not a byte more than the blob has.
fn append(
    mut response: Response,
    url: &str,
    size: u64,
    partial: &mut Partial,
    progress: Option<&Progress>,
) -> Result<(), TransportError> {
    let store = |source| TransportError::Store {
        url: url.to_owned(),
        source,
    };
    if response.status() != 206 && partial.len > 0 {
        partial.restart().map_err(store)?;
    }
    let mut buffer = vec![0; 256 << 10];
    loop {
        let n = response.read(&mut buffer).map_err(|e| broken(url, e))?;
        if n == 0 && partial.len < size {
            let early = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
            return Err(broken(url, early));
        }
        if n == 0 {
            return Ok(());
        }
        if partial.len + n as u64 > size {
            let limit = size;
            let url = url.to_owned();
            return Err(TransportError::TooLarge { url, limit });
        }
        partial.file.write_all(&buffer[..n]).map_err(store)?;
        partial.len += n as u64;
        if let Some(progress) = progress {
            progress.advance(n as u64);
        }
    }
}

fn document(bytes: Vec<u8>, header: Option<String>, reference: &str) -> anyhow::Result<Document> {
    let sha256 = digest::sha256(&bytes);
    if let Some(wanted) = reference.strip_prefix("sha256:")
        && wanted != sha256
    {
        bail!("the registry sent other bytes: expected sha256 {wanted}, got {sha256}");
    }
    // The document knows best; manifests of OCI may leave it to the header.
    let parsed: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|e| anyhow!(e).context("it is not JSON"))?;
    let own = parsed["mediaType"].as_str().map(str::to_owned);
    let header = header.map(|text| text.split(';').next().unwrap_or_default().trim().to_owned());
    let known =
        |text: &String| INDEXES.contains(&text.as_str()) || MANIFESTS.contains(&text.as_str());
    let media_type = own.or(header).unwrap_or_default();
    if !known(&media_type) {
        bail!("it is neither a manifest nor an index of version 2, but {media_type:?}");
    }
    Ok(Document {
        bytes,
        sha256,
        media_type,
    })
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
