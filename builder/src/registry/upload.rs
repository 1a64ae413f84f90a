//! Writing: blobs that are not there yet, then manifests (OCI distribution specification 1.1, "Push").

use super::{Registry, found};
use crate::transport::{Ask, Body, TransportError, check};
use anyhow::{Context, bail};
use reqwest::blocking::Response;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, Url};
use std::path::Path;

/// What a registry needs to know of a blob that is sent.
#[derive(Clone, Copy, Debug)]
pub struct Upload<'a> {
    /// SHA-256, hexadecimal.
    pub sha256: &'a str,
    /// Where the bytes are.
    pub bytes: Bytes<'a>,
}

/// The bytes of a blob.
#[derive(Clone, Copy, Debug)]
pub enum Bytes<'a> {
    /// In memory.
    Here(&'a [u8]),
    /// In a file, with its size.
    File(&'a Path, u64),
}

/// Whether a registry has answered that nobody may write to it.
pub fn is_read_only(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(TransportError::Status { status: 405, .. })
    )
}

impl Registry {
    /// Whether `repository` has the blob.
    ///
    /// # Errors
    /// The registry refuses or cannot be reached.
    pub fn has_blob(&self, repository: &str, sha256: &str) -> anyhow::Result<bool> {
        let url = self.blob_url(repository, sha256);
        let ask = Ask {
            method: Method::HEAD,
            ..Ask::get(&url)
        };
        let asked = self.insist(|| {
            let answer = self.ask(repository, &ask)?;
            Ok(answer.and_then(|response| check(response, &url)).map(drop))
        });
        let asked = found(asked).with_context(|| format!("asking {} for a blob", self.host));
        Ok(asked?.is_some())
    }

    /// Sends a blob to `repository`, in one piece: every registry takes that. One that breaks is sent anew.
    ///
    /// # Errors
    /// The registry refuses, cannot be reached, or the bytes cannot be read or are others than `sha256` says.
    pub fn put_blob(&self, repository: &str, blob: &Upload<'_>) -> anyhow::Result<()> {
        let start = format!("{}/{repository}/blobs/uploads/", self.base);
        let begin = Ask {
            method: Method::POST,
            body: Body::Bytes(&[]),
            ..Ask::get(&start)
        };
        let octets = HeaderValue::from_static("application/octet-stream");
        self.insist(|| {
            let begun = self.ask(repository, &begin)?;
            let begun = match begun.and_then(|response| check(response, &start)) {
                Ok(response) => response,
                Err(error) => return Ok(Err(error)),
            };
            let mut place = self.place(&begun)?;
            let digest = format!("sha256:{}", blob.sha256);
            place.query_pairs_mut().append_pair("digest", &digest);
            let put = Ask {
                method: Method::PUT,
                headers: HeaderMap::from_iter([(CONTENT_TYPE, octets.clone())]),
                body: match blob.bytes {
                    Bytes::Here(bytes) => Body::Bytes(bytes),
                    Bytes::File(path, size) => Body::File(path, size),
                },
                ..Ask::get(place.as_str())
            };
            self.done(repository, &put)
        })
    }

    /// Gives `repository` a manifest under a tag or digest. All that it names must be there.
    ///
    /// # Errors
    /// The registry refuses or cannot be reached.
    pub fn put_manifest(
        &self,
        repository: &str,
        reference: &str,
        media_type: &'static str,
        bytes: &[u8],
    ) -> anyhow::Result<()> {
        let url = format!("{}/{repository}/manifests/{reference}", self.base);
        let media_type = HeaderValue::from_static(media_type);
        let put = Ask {
            method: Method::PUT,
            headers: HeaderMap::from_iter([(CONTENT_TYPE, media_type)]),
            body: Body::Bytes(bytes),
            ..Ask::get(&url)
        };
        self.insist(|| self.done(repository, &put))
    }

    fn done(&self, repository: &str, ask: &Ask<'_>) -> anyhow::Result<Result<(), TransportError>> {
        let answer = self.ask(repository, ask)?;
        Ok(answer
            .and_then(|response| check(response, ask.url))
            .map(drop))
    }

    /// Where the registry wants the bytes. It must be the registry itself: they go with the user's login.
    fn place(&self, begun: &Response) -> anyhow::Result<Url> {
        let location = begun.headers().get(LOCATION);
        let location = location.and_then(|value| value.to_str().ok());
        match location.and_then(|location| begun.url().join(location).ok()) {
            Some(place) if place.origin() == self.home.origin() => Ok(place),
            Some(_) => bail!("registry {} wants blobs sent to another host", self.host),
            None => bail!("registry {} does not say where to send a blob", self.host),
        }
    }
}
