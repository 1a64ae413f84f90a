//! Where a remote store is: `REGISTRY/REPOSITORY`, or `http://REGISTRY/REPOSITORY` for a registry without TLS.

use crate::artifact::{ArtifactReference, ArtifactReferenceError};
use std::fmt;
use std::str::FromStr;

/// A repository of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    repository: ArtifactReference,
    /// Whether the text says that there is no TLS.
    plain: bool,
}

impl FromStr for Place {
    type Err = ArtifactReferenceError;

    fn from_str(text: &str) -> Result<Self, ArtifactReferenceError> {
        let (plain, rest) = match text.strip_prefix("http://") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        Ok(Place {
            repository: ArtifactReference::parse_repository(rest)?,
            plain,
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.fmt(f)
    }
}

impl Place {
    /// Host and port as they were written.
    pub fn host(&self) -> &str {
        &self.repository.registry
    }

    /// The path below the registry.
    pub fn repository(&self) -> &str {
        &self.repository.repository
    }

    /// The registry's URL: without TLS where the text says so, and on this machine.
    pub fn url(&self) -> String {
        let open = self.plain || self.repository.is_loopback();
        let scheme = if open { "http" } else { "https" };
        format!("{scheme}://{}", self.repository.registry)
    }

    /// Whether nobody on the way can change what comes: there is TLS, or no way.
    pub fn is_private(&self) -> bool {
        !self.plain || self.repository.is_loopback()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_left_out_only_where_the_text_says_so() {
        let check = |text: &str, url: &str, private: bool| {
            let place: Place = text.parse().unwrap();
            assert_eq!((place.url().as_str(), place.is_private()), (url, private));
            assert_eq!(place.repository(), "team/store");
        };
        check("r.example/team/store", "https://r.example", true);
        check("http://r:5000/team/store", "http://r:5000", false);
        check("127.0.0.1:5000/team/store", "http://127.0.0.1:5000", true);
        check("http://[::1]:5000/team/store", "http://[::1]:5000", true);
        for text in ["https://r.example/x", "r.example", "r.example/x:v1", ""] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}
