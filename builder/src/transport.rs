//! Reading from `https:`, `http:` and `file:` URLs, with retries and ranges. The only door to the network
//! beside [`crate::images`]' registries.

use anyhow::{Context, anyhow};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::time::Duration;

/// How often a request that failed for a passing reason is tried in all.
const TRIES: u32 = 4;
/// Most bytes that [`Transport::get`] takes: the largest index of Debian has a tenth of that.
const GET_LIMIT: u64 = 256 << 20;

/// A client for all supported schemes.
#[derive(Clone, Debug)]
pub struct Transport {
    http: reqwest::blocking::Client,
}

/// Why a request failed, and whether trying again can help.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// There is nothing at the URL.
    #[error("{0} does not exist (404)")]
    NotFound(String),
    /// The server answered with another status than success.
    #[error("{url} answered {status}")]
    Status {
        /// What was asked.
        url: String,
        /// The answer.
        status: u16,
    },
    /// The connection could not be made, or broke.
    #[error("reading {url} failed")]
    Io {
        /// What was asked.
        url: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// What came could not be kept: the disk is full, for one.
    #[error("storing what {url} sent")]
    Store {
        /// What was asked.
        url: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The scheme is none of those supported.
    #[error("{0} is not an http:, https: or file: URL")]
    Scheme(String),
}

impl TransportError {
    fn is_passing(&self) -> bool {
        match self {
            TransportError::Io { source, .. } => source.kind() != io::ErrorKind::NotFound,
            TransportError::Status { status, .. } => *status == 429 || *status >= 500,
            TransportError::NotFound(_)
            | TransportError::Store { .. }
            | TransportError::Scheme(_) => false,
        }
    }
}

impl Transport {
    /// A client; proxies come from the environment, as everywhere.
    pub fn new() -> anyhow::Result<Self> {
        // A second installation is refused, which means that one is there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::blocking::Client::builder()
            .user_agent(concat!("seedbed/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(20))
            .timeout(None)
            .build()
            .context("setting up the HTTP client")?;
        Ok(Transport { http })
    }

    /// The whole body, for documents of moderate size.
    pub fn get(&self, url: &str) -> anyhow::Result<Vec<u8>> {
        retry(|| {
            let (mut body, _) = self.open(url, 0)?;
            let mut bytes = Vec::new();
            let read = body.by_ref().take(GET_LIMIT).read_to_end(&mut bytes);
            read.map_err(|source| TransportError::Io {
                url: url.to_owned(),
                source,
            })?;
            Ok(bytes)
        })
    }

    /// As [`Transport::get`], with `None` where there is nothing at the URL.
    pub fn get_optional(&self, url: &str) -> anyhow::Result<Option<Vec<u8>>> {
        match self.get(url) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if matches!(error.downcast_ref(), Some(TransportError::NotFound(_))) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// How many bytes are at the URL, without reading them where the server tells.
    pub fn size(&self, url: &str) -> anyhow::Result<u64> {
        if let Some(path) = url.strip_prefix("file://") {
            return Ok(std::fs::metadata(path)
                .with_context(|| format!("reading {path}"))?
                .len());
        }
        let told = retry(|| {
            let io = |error| TransportError::Io {
                url: url.to_owned(),
                source: io::Error::other(error),
            };
            let response = self.http.head(url).send().map_err(io)?;
            match response.status().as_u16() {
                200 => Ok(response.headers().get("content-length").cloned()),
                404 => Err(TransportError::NotFound(url.to_owned())),
                status => Err(TransportError::Status {
                    url: url.to_owned(),
                    status,
                }),
            }
        })?;
        let told = told.and_then(|value| value.to_str().ok()?.parse().ok());
        told.with_context(|| format!("{url}: the server does not tell the file's size"))
    }

    /// Appends to `out`, which holds `offset` bytes already, up to the end of the body; `progress` hears
    /// the length so far. A server that ignores the range starts `out` anew.
    pub fn download(
        &self,
        url: &str,
        out: &mut File,
        mut offset: u64,
        progress: &mut dyn FnMut(u64),
    ) -> anyhow::Result<()> {
        retry(|| {
            let (mut body, resumed) = self.open(url, offset)?;
            if !resumed && offset > 0 {
                let restart = out.set_len(0).and_then(|()| out.seek(SeekFrom::Start(0)));
                restart.map_err(|source| TransportError::Store {
                    url: url.to_owned(),
                    source,
                })?;
                offset = 0;
            }
            let mut buffer = vec![0; 256 << 10];
            loop {
                let io = |source| TransportError::Io {
                    url: url.to_owned(),
                    source,
                };
                let n = body.read(&mut buffer).map_err(io)?;
                if n == 0 {
                    return Ok(());
                }
                let written = out.write_all(&buffer[..n]);
                written.map_err(|source| TransportError::Store {
                    url: url.to_owned(),
                    source,
                })?;
                offset += n as u64;
                progress(offset);
            }
        })
    }

    /// The body from `offset` on, and whether the offset was heeded.
    fn open(&self, url: &str, offset: u64) -> Result<(Box<dyn Read>, bool), TransportError> {
        if let Some(path) = url.strip_prefix("file://") {
            return open_file(url, path, offset);
        }
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(TransportError::Scheme(url.to_owned()));
        }
        let mut request = self.http.get(url);
        if offset > 0 {
            request = request.header("range", format!("bytes={offset}-"));
        }
        let io = |error| TransportError::Io {
            url: url.to_owned(),
            source: io::Error::other(error),
        };
        let response = request.send().map_err(io)?;
        match response.status().as_u16() {
            200 => Ok((Box::new(response), false)),
            206 => Ok((Box::new(response), true)),
            // Everything was there already.
            416 => Ok((Box::new(io::empty()), true)),
            404 => Err(TransportError::NotFound(url.to_owned())),
            status => Err(TransportError::Status {
                url: url.to_owned(),
                status,
            }),
        }
    }
}

fn open_file(url: &str, path: &str, offset: u64) -> Result<(Box<dyn Read>, bool), TransportError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(TransportError::NotFound(url.to_owned()));
        }
        Err(source) => {
            return Err(TransportError::Io {
                url: url.to_owned(),
                source,
            });
        }
    };
    let seek = file.seek(SeekFrom::Start(offset));
    seek.map_err(|source| TransportError::Io {
        url: url.to_owned(),
        source,
    })?;
    Ok((Box::new(file), true))
}

/// Tries again, a little later each time, what failed for a passing reason.
pub(crate) fn retry_if<T, E: std::error::Error + Send + Sync + 'static>(
    is_passing: impl Fn(&E) -> bool,
    mut attempt: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let mut pause = Duration::from_millis(500);
    for _ in 1..TRIES {
        match attempt() {
            Err(error) if is_passing(&error) => {
                tracing::debug!("{:#}", anyhow!(error));
                std::thread::sleep(pause);
                pause *= 3;
            }
            result => return result,
        }
    }
    attempt()
}

fn retry<T>(attempt: impl FnMut() -> Result<T, TransportError>) -> anyhow::Result<T> {
    Ok(retry_if(TransportError::is_passing, attempt)?)
}
