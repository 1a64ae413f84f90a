//! The list of API servers, as `firstboot run` writes it and the balancer reads it.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The only version of the document so far.
const VERSION: u32 = 1;

/// The content of [`contract::paths::BACKENDS`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backends {
    /// Address and port of each API server, without repetition.
    pub backends: Vec<SocketAddr>,
    /// The one of this machine, if it has one. It means nothing unless it is listed, too.
    pub own: Option<SocketAddr>,
}

/// Why a list of API servers cannot be used.
#[derive(Debug, Error)]
pub enum BackendsError {
    /// It is not the document that is expected.
    #[error("the list of API servers is not as it should be")]
    Json(#[source] serde_json::Error),
    /// A newer program wrote it.
    #[error("the list of API servers has version {0}, and only version {VERSION} is known")]
    Version(u32),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BackendsFile {
    version: u32,
    backends: Vec<SocketAddr>,
    own: Option<SocketAddr>,
}

/// What every version of the document has.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl Backends {
    /// Reads the document.
    pub fn parse(text: &[u8]) -> Result<Self, BackendsError> {
        let Versioned { version } = serde_json::from_slice(text).map_err(BackendsError::Json)?;
        if version != VERSION {
            return Err(BackendsError::Version(version));
        }
        let file: BackendsFile = serde_json::from_slice(text).map_err(BackendsError::Json)?;
        let mut backends = Vec::with_capacity(file.backends.len());
        for address in file.backends {
            if !backends.contains(&address) {
                backends.push(address);
            }
        }
        Ok(Backends {
            backends,
            own: file.own,
        })
    }

    /// The document, with a line feed at its end.
    pub fn to_json(&self) -> Result<String, BackendsError> {
        let file = BackendsFile {
            version: VERSION,
            backends: self.backends.clone(),
            own: self.own,
        };
        let text = serde_json::to_string_pretty(&file).map_err(BackendsError::Json)?;
        Ok(text + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::{Backends, BackendsError};

    #[test]
    fn what_is_written_is_read() {
        for (backends, own) in [
            (vec![], None),
            (vec!["192.0.2.1:6443"], Some("192.0.2.1:6443")),
            (vec!["192.0.2.1:6443", "[2001:db8::2]:6443"], None),
        ] {
            let document = Backends {
                backends: backends.iter().map(|text| text.parse().unwrap()).collect(),
                own: own.map(|text| text.parse().unwrap()),
            };
            let text = document.to_json().unwrap();
            assert_eq!(Backends::parse(text.as_bytes()).unwrap(), document);
        }
    }

    #[test]
    fn faulty_documents_are_refused() {
        let check = |text: &str, version: bool| {
            let error = Backends::parse(text.as_bytes()).unwrap_err();
            assert_eq!(
                matches!(error, BackendsError::Version(_)),
                version,
                "{text}"
            );
        };
        check("", false);
        check(r#"{"backends": [], "own": null}"#, false);
        check(r#"{"version": 1, "backends": ["name:6443"]}"#, false);
        check(r#"{"version": 1, "backends": ["192.0.2.1"]}"#, false);
        check(r#"{"version": 1, "backends": [], "owner": null}"#, false);
        check(r#"{"version": 2, "servers": []}"#, true);
    }

    #[test]
    fn an_address_counts_once() {
        let text = r#"{"version": 1, "backends": ["192.0.2.1:1", "192.0.2.1:1"], "own": null}"#;
        assert_eq!(Backends::parse(text.as_bytes()).unwrap().backends.len(), 1);
    }
}
