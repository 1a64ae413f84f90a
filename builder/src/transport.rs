//! Reading from `https:`, `http:` and `file:` URLs, and writing to the first two, with retries, ranges, credentials and proxies. The only door
//! to the network; [`crate::registry`] goes through it, too.
//!
//! What a source asks for to let us in is in [`access`], and which failures are tried again in [`retry`]. No
//! error and no log line has a URL's credentials or query, which may be a signature.

pub mod access;
mod error;
pub mod netrc;
mod retry;

pub use error::TransportError;
pub(crate) use error::{broken, check, shown};
pub use retry::Patience;

use access::Access;
use anyhow::Context;
use reqwest::blocking::{self, Client, RequestBuilder, Response};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Most bytes that [`Transport::get`] takes: the largest index of Debian has a tenth of that.
const GET_LIMIT: u64 = 256 << 20;
/// Bytes a second: who takes a file more slowly is given up.
const SLOWEST: u64 = 64 << 10;
/// More redirections than that lead nowhere.
const REDIRECTIONS: usize = 10;

/// How long is waited for what does not come.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Between two pieces of an answer: a server that sends nothing for so long is given up.
    pub idle: Duration,
    /// Before the second try of a request; three times as long before each further one.
    pub pause: Duration,
}

impl Limits {
    /// A minute, and half a second.
    pub const DEFAULT: Limits = Limits {
        idle: Duration::from_secs(60),
        pause: Duration::from_millis(500),
    };
}

/// A client for all supported schemes.
#[derive(Clone, Debug)]
pub struct Transport {
    http: Client,
    /// Clients that trust further authorities, for one origin each.
    trusting: Arc<BTreeMap<String, Client>>,
    access: Arc<Access>,
    limits: Limits,
}

/// One request, before it is known where redirections lead.
#[derive(Clone)]
pub(crate) struct Ask<'a> {
    pub(crate) url: &'a str,
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body<'a>,
    /// Whether `.netrc` and the headers of the profile's sources apply.
    pub(crate) access: bool,
}

/// What is sent along. A request may be sent again, so this is no stream.
#[derive(Clone, Copy)]
pub(crate) enum Body<'a> {
    Nothing,
    /// Pairs in the encoding of URLs.
    Form(&'a str),
    /// A document.
    Bytes(&'a [u8]),
    /// A file, and how many bytes of it.
    File(&'a Path, u64),
}

impl<'a> Ask<'a> {
    /// Reads what is at `url`.
    pub(crate) fn get(url: &'a str) -> Self {
        Ask {
            url,
            method: Method::GET,
            headers: HeaderMap::new(),
            body: Body::Nothing,
            access: true,
        }
    }
}

impl Transport {
    /// A client that knows no credentials; proxies come from the environment, as everywhere.
    pub fn new() -> anyhow::Result<Self> {
        Transport::with(Access::default(), Limits::DEFAULT)
    }

    /// A client that is let in by `access`.
    pub fn with(access: Access, limits: Limits) -> anyhow::Result<Self> {
        // A second installation is refused, which means that one is there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = |certificates: Vec<reqwest::Certificate>| {
            let mut builder = Client::builder()
                .user_agent(concat!("seedbed/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(limits.idle.min(Duration::from_secs(20)))
                .timeout(limits.idle)
                // Followed here, so that no credential goes where it does not belong.
                .redirect(reqwest::redirect::Policy::none());
            for certificate in certificates {
                builder = builder.add_root_certificate(certificate);
            }
            builder.build().context("setting up the HTTP client")
        };
        let trusting = access
            .certificates()?
            .into_iter()
            .map(|(origin, certificates)| Ok((origin, client(certificates)?)))
            .collect::<anyhow::Result<_>>()?;
        Ok(Transport {
            http: client(Vec::new())?,
            trusting: Arc::new(trusting),
            access: Arc::new(access),
            limits,
        })
    }

    /// How often and how long a request is tried.
    pub(crate) fn patience(&self) -> Patience {
        Patience::new(self.limits.pause)
    }

    /// The whole body, for documents of moderate size.
    pub fn get(&self, url: &str) -> anyhow::Result<Vec<u8>> {
        self.retry(|| {
            let (body, _) = self.open(url, 0)?;
            read_all(body, url, GET_LIMIT)
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

    /// How many bytes are at the URL, without reading them; `None` if the server does not tell, or not whom asks so.
    pub fn size(&self, url: &str) -> anyhow::Result<Option<u64>> {
        if let Some(path) = url.strip_prefix("file://") {
            let meta = std::fs::metadata(path);
            return Ok(Some(meta.with_context(|| format!("reading {path}"))?.len()));
        }
        let told = self.retry(|| {
            let ask = Ask {
                method: Method::HEAD,
                ..Ask::get(url)
            };
            match error::check(self.send(&ask)?, url) {
                Ok(response) => Ok(response.headers().get("content-length").cloned()),
                // Some refuse HEAD, and some let nobody in but with a signature that is for GET.
                Err(TransportError::Denied { .. }) => Ok(None),
                Err(TransportError::Status {
                    status: 400 | 405 | 501,
                    ..
                }) => Ok(None),
                Err(error) => Err(error),
            }
        })?;
        Ok(told.and_then(|value| value.to_str().ok()?.parse().ok()))
    }

    /// Appends to a file, which holds `offset` bytes already, up to the end of the body; `progress` hears
    /// the length so far. A body that makes the file longer than the number beside it is an error. A server that ignores the range starts `out` anew.
    pub fn download(
        &self,
        url: &str,
        (out, limit): (&mut File, u64),
        mut offset: u64,
        progress: &mut dyn FnMut(u64),
    ) -> anyhow::Result<()> {
        let mut patience = self.patience();
        loop {
            let before = offset;
            match self.append(url, (&mut *out, limit), &mut offset, progress) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    patience.came(offset.saturating_sub(before));
                    patience.wait(error)?;
                }
            }
        }
    }

    fn append(
        &self,
        url: &str,
        (out, limit): (&mut File, u64),
        offset: &mut u64,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), TransportError> {
        let store = |source| TransportError::Store {
            url: error::shown(url),
            source,
        };
        let (mut body, resumed) = self.open(url, *offset)?;
        if !resumed && *offset > 0 {
            let restart = out.set_len(0).and_then(|()| out.seek(SeekFrom::Start(0)));
            restart.map_err(store)?;
            *offset = 0;
        }
        let mut buffer = vec![0; 256 << 10];
        loop {
            let n = body.read(&mut buffer).map_err(|e| error::broken(url, e))?;
            if n == 0 {
                return Ok(());
            }
            if *offset + n as u64 > limit {
                let url = error::shown(url);
                return Err(TransportError::TooLarge { url, limit });
            }
            out.write_all(&buffer[..n]).map_err(store)?;
            *offset += n as u64;
            progress(*offset);
        }
    }

    /// The body from `offset` on, and whether the offset was heeded.
    fn open(&self, url: &str, offset: u64) -> Result<(Box<dyn Read>, bool), TransportError> {
        if let Some(path) = url.strip_prefix("file://") {
            return open_file(url, path, offset);
        }
        let mut ask = Ask::get(url);
        if offset > 0 {
            ask.headers.insert("range", range_from(offset));
        }
        let response = self.send(&ask)?;
        match response.status().as_u16() {
            206 => Ok((Box::new(response), true)),
            // Everything was there already.
            416 => Ok((Box::new(io::empty()), true)),
            _ => Ok((Box::new(error::check(response, url)?), false)),
        }
    }

    /// Sends a request and follows where it leads; any answer but a redirection is given as it is.
    pub(crate) fn send(&self, ask: &Ask<'_>) -> Result<Response, TransportError> {
        let mut url = parse(ask.url)?;
        let basic = access::take_userinfo(&mut url).map_err(|why| denied(ask.url, &why))?;
        let start = url.origin();
        for _ in 0..REDIRECTIONS {
            let home = url.origin() == start;
            let origin = url.origin().ascii_serialization();
            let client = self.trusting.get(&origin).unwrap_or(&self.http);
            let mut headers = ask.headers.clone();
            if !home {
                // Credentials stay at home: redirections lead to other people's servers.
                headers.remove(AUTHORIZATION);
            }
            if ask.access {
                headers.extend(self.admission(&url)?);
            }
            if let Some(basic) = basic.as_ref().filter(|_| home) {
                headers.insert(AUTHORIZATION, basic.clone());
            }
            let request = client
                .request(ask.method.clone(), url.clone())
                .headers(headers);
            let request = self.with_body(request, ask.body)?;
            let failed = |source: reqwest::Error| TransportError::unsent(&url, source);
            let response = request.send().map_err(failed)?;
            match response.status().as_u16() {
                301 | 302 | 303 | 307 | 308 => url = error::redirection(&response, &url)?,
                _ => return Ok(response),
            }
            if url.origin() != start && !matches!(ask.body, Body::Nothing) {
                // A form may be a login.
                return Err(TransportError::Redirect {
                    url: error::shown(ask.url),
                    why: "it leads to another server, which gets nothing of what is sent".into(),
                });
            }
        }
        Err(TransportError::Redirect {
            url: error::shown(ask.url),
            why: format!("it leads on more than {REDIRECTIONS} times"),
        })
    }

    fn with_body(
        &self,
        request: RequestBuilder,
        body: Body<'_>,
    ) -> Result<RequestBuilder, TransportError> {
        Ok(match body {
            Body::Nothing => request,
            Body::Form(text) => request
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(text.to_owned()),
            Body::Bytes(bytes) => request.body(bytes.to_vec()),
            Body::File(path, size) => {
                let file = File::open(path).map_err(|source| TransportError::Local {
                    path: path.to_owned(),
                    source,
                })?;
                // The limit is for the whole of what is sent, up to the answer.
                let limit = self.limits.idle + Duration::from_secs(size / SLOWEST);
                request
                    .timeout(limit)
                    .body(blocking::Body::sized(file, size))
            }
        })
    }

    /// What the place asks for.
    fn admission(&self, url: &Url) -> Result<HeaderMap, TransportError> {
        let headers = self.access.headers(url);
        headers.map_err(|why| denied(url.as_str(), &why))
    }

    /// Tries again, a little later each time, what failed for a passing reason.
    pub(crate) fn retry<T>(
        &self,
        mut attempt: impl FnMut() -> Result<T, TransportError>,
    ) -> anyhow::Result<T> {
        let mut patience = self.patience();
        loop {
            match attempt() {
                Ok(value) => return Ok(value),
                Err(error) => patience.wait(error)?,
            }
        }
    }
}

/// Reads up to `limit` bytes; more are an error.
pub(crate) fn read_all(body: impl Read, url: &str, limit: u64) -> Result<Vec<u8>, TransportError> {
    let mut bytes = Vec::new();
    let read = body.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|e| error::broken(url, e))?;
    if bytes.len() as u64 > limit {
        return Err(TransportError::TooLarge {
            url: error::shown(url),
            limit,
        });
    }
    Ok(bytes)
}

/// The value of `Range` for all bytes from `offset` on.
pub(crate) fn range_from(offset: u64) -> HeaderValue {
    let text = format!("bytes={offset}-");
    HeaderValue::from_str(&text).expect("digits are a header's value")
}

/// The credentials for a place cannot be had.
fn denied(url: &str, why: &anyhow::Error) -> TransportError {
    TransportError::Access {
        url: error::shown(url),
        why: format!("{why:#}"),
    }
}

fn parse(url: &str) -> Result<Url, TransportError> {
    let scheme = || TransportError::Scheme(error::shown(url));
    let parsed = Url::parse(url).map_err(|_| scheme())?;
    match parsed.scheme() {
        "http" | "https" if parsed.has_host() => Ok(parsed),
        _ => Err(scheme()),
    }
}

fn open_file(url: &str, path: &str, offset: u64) -> Result<(Box<dyn Read>, bool), TransportError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(TransportError::NotFound(url.to_owned()));
        }
        Err(source) => return Err(error::broken(url, source)),
    };
    file.seek(SeekFrom::Start(offset))
        .map_err(|source| error::broken(url, source))?;
    Ok((Box::new(file), true))
}
