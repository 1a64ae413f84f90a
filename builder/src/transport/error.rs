//! Why a request failed, in words without secrets.

use reqwest::Url;
use reqwest::blocking::Response;
use reqwest::header::HeaderMap;
use std::io;
use std::time::Duration;

/// Why a request failed, and whether trying again can help.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// There is nothing at the URL.
    #[error("{0} does not exist (404)")]
    NotFound(String),
    /// The server wants to know who asks.
    #[error("{url} answered {status}: it wants credentials, or others than those given")]
    Denied {
        /// What was asked.
        url: String,
        /// The answer.
        status: u16,
    },
    /// The server answered with another status than success.
    #[error("{url} answered {status}{}", asked_to_wait(*.retry_after))]
    Status {
        /// What was asked.
        url: String,
        /// The answer.
        status: u16,
        /// How long the server asks to wait.
        retry_after: Option<Duration>,
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
    /// A document is larger than any good one.
    #[error("{url} has more than {limit} bytes")]
    TooLarge {
        /// What was asked.
        url: String,
        /// Most bytes that are taken.
        limit: u64,
    },
    /// A redirection cannot be followed.
    #[error("following the redirection of {url}: {why}")]
    Redirect {
        /// What was asked.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The credentials for a place could not be had.
    #[error("preparing credentials for {url}: {why}")]
    Access {
        /// What was to be asked.
        url: String,
        /// What is wrong, with no secret in it.
        why: String,
    },
    /// The scheme is none of those supported.
    #[error("{0} is not an http:, https: or file: URL")]
    Scheme(String),
}

fn asked_to_wait(retry_after: Option<Duration>) -> String {
    match retry_after {
        Some(pause) => format!(" and asks to wait {} s", pause.as_secs()),
        None => String::new(),
    }
}

impl TransportError {
    /// Whether the same request may succeed later.
    pub fn is_passing(&self) -> bool {
        match self {
            TransportError::Io { source, .. } => source.kind() != io::ErrorKind::NotFound,
            TransportError::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
            TransportError::NotFound(_)
            | TransportError::Denied { .. }
            | TransportError::Store { .. }
            | TransportError::TooLarge { .. }
            | TransportError::Redirect { .. }
            | TransportError::Access { .. }
            | TransportError::Scheme(_) => false,
        }
    }

    /// A request that got no answer.
    pub(super) fn unsent(url: &Url, source: reqwest::Error) -> Self {
        broken(url.as_str(), io::Error::other(source.without_url()))
    }
}

/// A connection that broke while `url` was read.
pub(crate) fn broken(url: &str, source: io::Error) -> TransportError {
    TransportError::Io {
        url: shown(url),
        source,
    }
}

/// The URL without credentials and query.
pub(crate) fn shown(url: &str) -> String {
    let known = |parsed: &Url| matches!(parsed.scheme(), "http" | "https" | "file");
    let Some(mut parsed) = Url::parse(url).ok().filter(known) else {
        // It never was a URL of ours; what is before an @ may be a password all the same.
        return url.rsplit('@').next().unwrap_or(url).to_owned();
    };
    // A URL without a host has no credentials, and takes none.
    let _ = parsed.set_username("");
    let _ = parsed.set_password(None);
    parsed.set_query(None);
    parsed.set_fragment(None);
    parsed.into()
}

/// Turns an answer into an error unless it is a success.
pub(crate) fn check(response: Response, url: &str) -> Result<Response, TransportError> {
    let url = || shown(url);
    match response.status().as_u16() {
        200..=299 => Ok(response),
        404 => Err(TransportError::NotFound(url())),
        status @ (401 | 403 | 407) => Err(TransportError::Denied { url: url(), status }),
        status => Err(TransportError::Status {
            url: url(),
            status,
            retry_after: retry_after(response.headers()),
        }),
    }
}

/// How long the server asks to wait (RFC 9110, section 10.2.3). A date counts from the server's own, so that no
/// clock of ours matters.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let value = text("retry-after")?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| chrono::DateTime::parse_from_rfc2822(text).ok();
    (date(value)? - date(text("date")?)?).to_std().ok()
}

/// Where a redirection leads. From an encrypted connection it must not lead to an open one, where anybody on the
/// way could answer.
pub(super) fn redirection(response: &Response, from: &Url) -> Result<Url, TransportError> {
    let bad = |why: &str| TransportError::Redirect {
        url: shown(from.as_str()),
        why: why.to_owned(),
    };
    let location = response.headers().get("location");
    let location = location.and_then(|value| value.to_str().ok());
    let to = from
        .join(location.ok_or_else(|| bad("the server does not say where to"))?)
        .map_err(|_| bad("the server leads to something that is no URL"))?;
    match (from.scheme(), to.scheme()) {
        (_, "https") | ("http", "http") => Ok(to),
        ("https", "http") => Err(bad("it leads from https: to http:")),
        _ => Err(bad("it leads to neither https: nor http:")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R013.
    #[test]
    fn no_credential_of_a_url_is_shown() {
        let check = |url: &str, expected: &str| assert_eq!(shown(url), expected);
        check("https://u:p@h.example/a?sig=s#f", "https://h.example/a");
        check("https://h.example", "https://h.example/");
        check("file:///a/b", "file:///a/b");
        check("u:p@h.example", "h.example");
    }

    /// R124.
    #[test]
    fn a_date_to_wait_for_counts_from_the_servers_own() {
        let check = |pairs: &[(&'static str, &'static str)], expected: Option<u64>| {
            let value = |text: &&'static str| reqwest::header::HeaderValue::from_static(text);
            let headers = pairs
                .iter()
                .map(|(name, text)| (reqwest::header::HeaderName::from_static(name), value(text)));
            let found = retry_after(&headers.collect());
            assert_eq!(found.map(|pause| pause.as_secs()), expected, "{pairs:?}");
        };
        check(&[("retry-after", "7")], Some(7));
        let date = ("date", "Sat, 21 Nov 2026 14:00:00 GMT");
        check(
            &[("retry-after", "Sat, 21 Nov 2026 14:00:30 GMT"), date],
            Some(30),
        );
        check(
            &[("retry-after", "Sat, 21 Nov 2026 13:00:00 GMT"), date],
            None,
        );
        check(&[("retry-after", "soon"), date], None);
        check(&[], None);
    }
}
