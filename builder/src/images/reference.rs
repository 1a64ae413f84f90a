//! Image references, as `registry/path:tag`. Parsed once, joined never by hand.

use std::fmt;

/// A full reference: registry, repository and tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// Host with an optional port.
    pub registry: String,
    /// Path below the registry, without slashes at its ends.
    pub repository: String,
    /// The tag.
    pub tag: String,
}

/// Why a text is no full reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// The first component is no host.
    #[error("image {0:?} names no registry: write it in full, such as registry.k8s.io/pause:3.10")]
    Registry(String),
    /// No tag after the last component.
    #[error("image {0:?} has no tag")]
    Tag(String),
    /// A component is empty or has characters that registries refuse.
    #[error("image {0:?} is no valid reference: {1:?} is not allowed in it")]
    Component(String, String),
}

impl Reference {
    /// Parses `registry/path:tag` (the OCI distribution specification's grammar for names and tags).
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let is_host = |host: &str| host.contains(['.', ':']) || host == "localhost";
        let (registry, rest) = text
            .split_once('/')
            .filter(|(host, _)| is_host(host))
            .ok_or_else(|| ReferenceError::Registry(text.to_owned()))?;
        let (repository, tag) = rest
            .rsplit_once(':')
            .ok_or_else(|| ReferenceError::Tag(text.to_owned()))?;
        let bad = |part: &str| ReferenceError::Component(text.to_owned(), part.to_owned());
        for part in repository.split('/') {
            let allowed =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
            let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            if !part.chars().all(allowed) || !part.starts_with(ends) || !part.ends_with(ends) {
                return Err(bad(part));
            }
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if tag.is_empty()
            || tag.len() > 128
            || !tag.chars().all(allowed)
            || tag.starts_with(['.', '-'])
        {
            return Err(bad(tag));
        }
        Ok(Reference {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            tag: tag.to_owned(),
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.registry, self.repository, self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_references_and_nothing_else() {
        for good in [
            "k8s.gcr.io/pause:3.2",
            "localhost:5000/a/b:v1",
            "registry.k8s.io/coredns/coredns:v1.11.3",
        ] {
            assert_eq!(Reference::parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "pause:3.2",
            "library/busybox:1",
            "k8s.gcr.io/pause",
            "a.b//c:1",
            "a.b/C:1",
            "a.b/c:",
            "a.b/c/:1",
        ] {
            assert!(Reference::parse(bad).is_err(), "{bad}");
        }
    }
}
