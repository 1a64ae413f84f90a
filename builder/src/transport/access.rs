//! What places ask for to let us in: authorities to trust, headers with secrets, and `.netrc`.
//!
//! The profile only ever names where a secret is; the secret itself is read when a request needs it and goes to
//! the place of its source alone.

use super::netrc::{self, Login};
use super::shown;
use crate::profile::Profile;
use crate::profile::file::HeaderFile;
use crate::source::Sources;
use anyhow::{Context, bail};
use base64::Engine;
use contract::secret::Secret;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Url};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What is needed, by the origin of a URL.
#[derive(Clone, Debug, Default)]
pub struct Access {
    places: Vec<Place>,
    logins: Vec<Login>,
}

#[derive(Clone, Debug)]
struct Place {
    /// The source's name, for messages.
    name: String,
    /// Such as `https://host:8443`.
    origin: String,
    /// Such as `/projects/7`, without a slash at the end.
    path: String,
    /// Files of certificates, PEM.
    authorities: Vec<PathBuf>,
    headers: BTreeMap<String, HeaderFile>,
}

impl Access {
    /// What the sources of `profile` need at the places that were chosen, with the user's `.netrc`.
    pub fn of(profile: &Profile, sources: &Sources) -> anyhow::Result<Self> {
        let mut places = Vec::new();
        // A mirror is let into by its own name alone: what a source sends is for its own place.
        let mirrors = sources.mirrors().map(|url| (shown(url), url, None));
        let all = sources
            .places()
            .map(|(name, url)| (name.to_owned(), url, profile.sources.get(name)));
        for (name, url, source) in all.chain(mirrors) {
            let Ok(parsed) = Url::parse(url) else {
                continue;
            };
            if !parsed.has_host() {
                continue;
            }
            let mut authorities = certs_d(&parsed)?;
            authorities.extend(
                source
                    .and_then(|source| source.ca.clone())
                    .map(PathBuf::from),
            );
            places.push(Place {
                name,
                origin: parsed.origin().ascii_serialization(),
                path: parsed.path().trim_end_matches('/').to_owned(),
                authorities,
                headers: source.map(|s| s.headers.clone()).unwrap_or_default(),
            });
        }
        Ok(Access {
            places,
            logins: read_netrc()?,
        })
    }

    /// What the registry at `url` needs, which no source is at: the authorities that are trusted there, those of a
    /// source of `profile` that is called as the registry is among them.
    pub fn of_registry(profile: &Profile, host: &str, url: &str) -> anyhow::Result<Self> {
        let parsed = Url::parse(url).with_context(|| format!("{} is no URL", shown(url)))?;
        let mut authorities = certs_d(&parsed)?;
        let own = profile.sources.get(host).and_then(|s| s.ca.clone());
        authorities.extend(own.map(PathBuf::from));
        Ok(Access {
            places: vec![Place {
                name: host.to_owned(),
                origin: parsed.origin().ascii_serialization(),
                path: String::new(),
                authorities,
                headers: BTreeMap::new(),
            }],
            logins: Vec::new(),
        })
    }

    /// The authorities that are trusted beside the host's, by origin.
    pub(super) fn certificates(&self) -> anyhow::Result<BTreeMap<String, Vec<Certificate>>> {
        let mut found: BTreeMap<String, Vec<Certificate>> = BTreeMap::new();
        for place in &self.places {
            for path in &place.authorities {
                let reading = || {
                    let (path, name) = (path.display(), &place.name);
                    format!("reading the certificates {path} of source {name}")
                };
                let text = std::fs::read(path).with_context(reading)?;
                let certificates = Certificate::from_pem_bundle(&text).with_context(reading)?;
                if certificates.is_empty() {
                    return Err(anyhow::anyhow!("there is no certificate in it"))
                        .with_context(reading);
                }
                found
                    .entry(place.origin.clone())
                    .or_default()
                    .extend(certificates);
            }
        }
        Ok(found)
    }

    /// The headers with which `url` is asked.
    pub(super) fn headers(&self, url: &Url) -> anyhow::Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        let login = self
            .logins
            .iter()
            .find(|login| Some(login.machine.as_str()) == url.host_str());
        if let Some(login) = login {
            headers.insert(AUTHORIZATION, basic(&login.login, &login.password)?);
        }
        let origin = url.origin().ascii_serialization();
        let below = |place: &&Place| {
            let rest = url.path().strip_prefix(&place.path);
            place.origin == origin && rest.is_some_and(|r| r.is_empty() || r.starts_with('/'))
        };
        let mut places: Vec<&Place> = self.places.iter().filter(below).collect();
        // The closest has the last word.
        places.sort_by_key(|place| place.path.len());
        for place in places {
            for (name, header) in &place.headers {
                let (name, value) = from_environment(&place.name, name, header)?;
                headers.insert(name, value);
            }
        }
        Ok(headers)
    }
}

fn from_environment(
    source: &str,
    name: &str,
    header: &HeaderFile,
) -> anyhow::Result<(HeaderName, HeaderValue)> {
    let variable = &header.env;
    let Ok(secret) = std::env::var(variable) else {
        bail!(
            "source {source} sends header {name} from the environment variable {variable}, which is not set"
        );
    };
    let name = HeaderName::from_bytes(name.as_bytes())
        .with_context(|| format!("{name:?} of source {source} is no header's name"))?;
    let text = format!("{}{secret}", header.prefix);
    let value = HeaderValue::from_str(&text);
    let mut value =
        value.with_context(|| format!("{variable} has characters that no header may have"))?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// A user name and a password as HTTP's Basic scheme sends them (RFC 7617).
pub(crate) fn basic(user: &str, password: &Secret) -> anyhow::Result<HeaderValue> {
    let pair = format!("{user}:{}", password.expose());
    let text = base64::engine::general_purpose::STANDARD.encode(pair);
    sensitive(&format!("Basic {text}"))
}

/// A value that no log shows.
pub(crate) fn sensitive(text: &str) -> anyhow::Result<HeaderValue> {
    let value = HeaderValue::from_str(text);
    let mut value = value.context("the credential has characters that no header may have")?;
    value.set_sensitive(true);
    Ok(value)
}

/// Takes user name and password out of a URL, and gives them as a header's value.
pub(super) fn take_userinfo(url: &mut Url) -> anyhow::Result<Option<HeaderValue>> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let user = decode(url.username());
    let password = Secret::new(decode(url.password().unwrap_or_default()));
    // A URL with a host always takes them.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    basic(&user, &password).map(Some)
}

/// Undoes percent-encoding.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes
            .get(at + 1..at + 3)
            .and_then(|d| std::str::from_utf8(d).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.filter(|_| bytes[at] == b'%') {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// The authorities that Docker and Podman trust for a registry: `/etc/docker/certs.d/HOST[:PORT]/*.crt`.
fn certs_d(url: &Url) -> anyhow::Result<Vec<PathBuf>> {
    let host = url.host_str().unwrap_or_default();
    let host = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let mut found = Vec::new();
    for base in ["/etc/docker/certs.d", "/etc/containers/certs.d"] {
        let Ok(entries) = std::fs::read_dir(PathBuf::from(base).join(&host)) else {
            continue;
        };
        for entry in entries {
            let path = entry
                .with_context(|| format!("reading {base}/{host}"))?
                .path();
            found.extend(path.extension().is_some_and(|e| e == "crt").then_some(path));
        }
    }
    found.sort();
    Ok(found)
}

fn read_netrc() -> anyhow::Result<Vec<Login>> {
    let path = match (std::env::var_os("NETRC"), std::env::var_os("HOME")) {
        (Some(path), _) => PathBuf::from(path),
        (None, Some(home)) => PathBuf::from(home).join(".netrc"),
        (None, None) => return Ok(Vec::new()),
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(netrc::parse(&text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}
