//! Image references, as `registry/path:tag@digest`. Parsed once, joined never by hand.

use crate::digest;
use std::fmt;

/// The registry of names without one, as Docker and the kubelet read them.
const DEFAULT_REGISTRY: &str = "docker.io";

/// A full reference: registry, repository, tag, and the digest that it is pinned to, if it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// Host with an optional port, in lower case.
    pub registry: String,
    /// Path below the registry, without slashes at its ends.
    pub repository: String,
    /// The tag. A reference by digest alone has the tag `sha256-<64 hex>`, by which the store names it: image
    /// layouts know no other names than tags.
    pub tag: String,
    /// SHA-256, hexadecimal, of the manifest or index that the tag has to be.
    pub digest: Option<String>,
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
    /// What is after the @ is no SHA-256.
    #[error("image {0:?} has a digest that is not sha256: and 64 hexadecimal digits")]
    Digest(String),
    /// A component is empty or has characters that registries refuse.
    #[error("image {0:?} is no valid reference: {1:?} is not allowed in it")]
    Component(String, String),
}

impl Reference {
    /// Parses `registry/path:tag`, `registry/path:tag@sha256:…` or `registry/path@sha256:…` (the OCI distribution
    /// specification's grammar for names and tags).
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => {
                let hex = digest
                    .strip_prefix("sha256:")
                    .filter(|hex| digest::is_sha256(hex));
                let hex = hex.ok_or_else(|| ReferenceError::Digest(text.to_owned()))?;
                (name, Some(hex.to_owned()))
            }
            None => (text, None),
        };
        let (registry, rest) = name
            .split_once('/')
            .filter(|(host, _)| is_host(host))
            .ok_or_else(|| ReferenceError::Registry(text.to_owned()))?;
        let (repository, tag) = match (rest.rsplit_once(':'), &digest) {
            (Some((repository, tag)), _) => (repository, tag.to_owned()),
            (None, Some(hex)) => (rest, by_digest(hex)),
            (None, None) => return Err(ReferenceError::Tag(text.to_owned())),
        };
        let bad = |part: &str| ReferenceError::Component(text.to_owned(), part.to_owned());
        let good = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
        if !registry.chars().all(good) || registry.ends_with(':') {
            return Err(bad(registry));
        }
        if let Some(part) = repository.split('/').find(|part| !is_component(part)) {
            return Err(bad(part));
        }
        if !is_tag(&tag) {
            return Err(bad(&tag));
        }
        Ok(Reference {
            registry: registry.to_ascii_lowercase(),
            repository: repository.to_owned(),
            tag,
            digest,
        })
    }

    /// Parses a name as manifests of Kubernetes write it: `nginx` is `docker.io/library/nginx:latest`.
    pub fn parse_short(text: &str) -> Result<Self, ReferenceError> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, format!("@{digest}")),
            None => (text, String::new()),
        };
        let mut full = match name.split_once('/') {
            Some((host, _)) if is_host(host) => name.to_owned(),
            Some(_) => format!("{DEFAULT_REGISTRY}/{name}"),
            None => format!("{DEFAULT_REGISTRY}/library/{name}"),
        };
        let last = full.rsplit('/').next().unwrap_or_default();
        if digest.is_empty() && !last.contains(':') {
            full.push_str(":latest");
        }
        Reference::parse(&format!("{full}{digest}"))
    }

    /// What a registry is asked for: the digest, or else the tag.
    pub fn wanted(&self) -> String {
        match &self.digest {
            Some(hex) => format!("sha256:{hex}"),
            None => self.tag.clone(),
        }
    }

    /// The name with a tag and without a digest.
    pub fn tagged(&self) -> String {
        format!("{}/{}:{}", self.registry, self.repository, self.tag)
    }
}

fn by_digest(hex: &str) -> String {
    format!("sha256-{hex}")
}

fn is_host(host: &str) -> bool {
    host.contains(['.', ':']) || host == "localhost"
}

/// Letters and digits in lower case; between them a dot, one or two underscores, or any number of dashes.
fn is_component(part: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separator = |s: &str| matches!(s, "." | "_" | "__") || s.chars().all(|c| c == '-');
    let mut separators = part.split(word).filter(|s| !s.is_empty());
    part.starts_with(word) && part.ends_with(word) && separators.all(separator)
}

fn is_tag(tag: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=128).contains(&tag.len()) && tag.chars().all(allowed) && !tag.starts_with(['.', '-'])
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        match &self.digest {
            Some(hex) if self.tag == by_digest(hex) => write!(f, "@sha256:{hex}"),
            Some(hex) => write!(f, ":{}@sha256:{hex}", self.tag),
            None => write!(f, ":{}", self.tag),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R063.
    #[test]
    fn full_references_and_nothing_else() {
        let hex = "0".repeat(64);
        for good in [
            "k8s.gcr.io/pause:3.2",
            "localhost:5000/a/b:v1",
            "[::1]:5000/a:1",
            "registry.k8s.io/coredns/coredns:v1.11.3",
            "a.b/c__d.e--f:1",
            &format!("a.b/c:1@sha256:{hex}"),
            &format!("a.b/c@sha256:{hex}"),
        ] {
            assert_eq!(Reference::parse(good).unwrap().to_string(), good);
        }
        let upper = Reference::parse("Registry.Example:5000/a:V1").unwrap();
        assert_eq!(upper.to_string(), "registry.example:5000/a:V1");
        for bad in [
            "pause:3.2",
            "library/busybox:1",
            "k8s.gcr.io/pause",
            "a.b//c:1",
            "a.b/C:1",
            "a.b/c:",
            "a.b/c/:1",
            "a.b/c..d:1",
            "a.b/c___d:1",
            "a.b:/c:1",
            "user@a.b/c:1",
            "a.b/c:1@sha256:00",
            "a.b/c:1@sha512:00",
        ] {
            assert!(Reference::parse(bad).is_err(), "{bad}");
        }
    }

    /// R063.
    #[test]
    fn short_names_are_those_of_docker() {
        let check = |short: &str, full: &str| {
            assert_eq!(
                Reference::parse_short(short).unwrap().to_string(),
                full,
                "{short}"
            );
        };
        let hex = "1".repeat(64);
        check("nginx", "docker.io/library/nginx:latest");
        check("flannel/flannel:v1", "docker.io/flannel/flannel:v1");
        check("a.b/c", "a.b/c:latest");
        check("localhost:5000/c", "localhost:5000/c:latest");
        check(
            &format!("nginx@sha256:{hex}"),
            &format!("docker.io/library/nginx@sha256:{hex}"),
        );
        assert!(Reference::parse_short("").is_err());
        assert!(Reference::parse_short("{{ image }}").is_err());
    }
}
