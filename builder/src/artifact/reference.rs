//! Where an artifact is: `REGISTRY/REPOSITORY:TAG`, `REGISTRY/REPOSITORY@DIGEST`, or both (OCI distribution
//! specification 1.1, "Pulling manifests").

use crate::digest;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// Most characters of a tag.
const MAX_TAG: usize = 128;
/// Most characters of registry and repository, as clients have it.
const MAX_NAME: usize = 255;

/// A registry, a repository in it, and what to take there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactReference {
    /// The host with an optional port; an IPv6 address is in brackets.
    pub registry: String,
    /// The path below the registry.
    pub repository: String,
    /// The tag.
    pub tag: Option<String>,
    /// The digest, `sha256:…`.
    pub digest: Option<String>,
}

/// Why a text is no reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArtifactReferenceError {
    /// It begins as a URL does.
    #[error("reference {0:?} is a URL: leave out {1:?}")]
    Scheme(String, String),
    /// The first component is no host.
    #[error(
        "reference {0:?} names no registry: write it in full, such as registry.example/team/image:v1"
    )]
    Registry(String),
    /// The host is none.
    #[error("reference {0:?}: {1:?} is no host")]
    Host(String, String),
    /// An IPv6 address without brackets.
    #[error("reference {0:?}: an IPv6 address stands in brackets, as in [{1}]:5000")]
    Brackets(String, String),
    /// The port is none.
    #[error("reference {0:?}: {1:?} is no port")]
    Port(String, String),
    /// It ends with a slash, or has two in a row.
    #[error("reference {0:?} has a slash too many")]
    Slash(String),
    /// There is nothing behind the registry.
    #[error("reference {0:?} names no repository")]
    Repository(String),
    /// A component of the repository has characters that registries refuse.
    #[error(
        "reference {0:?}: {1:?} is no component of a repository: lower-case letters and digits, with single separators . _ - between them"
    )]
    Component(String, String),
    /// Registry and repository are too long.
    #[error("reference {0:?} is longer than 255 characters without its tag")]
    Length(String),
    /// The tag is none.
    #[error(
        "reference {0:?}: {1:?} is no tag: up to 128 letters, digits, . _ and -, not beginning with . or -"
    )]
    Tag(String, String),
    /// The digest is none.
    #[error("reference {0:?}: {1:?} is no digest: sha256: and 64 lower-case hexadecimal digits")]
    Digest(String, String),
    /// Neither tag nor digest.
    #[error("reference {0:?} has no tag: append one, such as :v1")]
    Nothing(String),
    /// A digest where only a tag makes sense.
    #[error("reference {0:?}: the digest follows from what is pushed, so name a tag alone")]
    DigestToPush(String),
    /// A tag or a digest where a whole repository is meant.
    #[error("reference {0:?}: name a repository, without a tag or a digest")]
    MoreThanRepository(String),
}

impl ArtifactReference {
    /// Parses a reference.
    ///
    /// # Errors
    /// [`ArtifactReferenceError`] says which part is wrong.
    pub fn parse(text: &str) -> Result<Self, ArtifactReferenceError> {
        let reference = Self::parse_any(text)?;
        match (&reference.tag, &reference.digest) {
            (None, None) => Err(ArtifactReferenceError::Nothing(text.to_owned())),
            _ => Ok(reference),
        }
    }

    /// Parses a repository, of which nothing in particular is named.
    ///
    /// # Errors
    /// [`ArtifactReferenceError`] says which part is wrong.
    pub fn parse_repository(text: &str) -> Result<Self, ArtifactReferenceError> {
        let reference = Self::parse_any(text)?;
        match (&reference.tag, &reference.digest) {
            (None, None) => Ok(reference),
            _ => Err(ArtifactReferenceError::MoreThanRepository(text.to_owned())),
        }
    }

    fn parse_any(text: &str) -> Result<Self, ArtifactReferenceError> {
        use ArtifactReferenceError as E;
        let whole = || text.to_owned();
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(E::Scheme(whole(), format!("{scheme}://")));
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        let is_digest = |digest: &str| {
            digest
                .strip_prefix("sha256:")
                .is_some_and(digest::is_sha256)
        };
        if let Some(digest) = digest.filter(|digest| !is_digest(digest)) {
            return Err(E::Digest(whole(), digest.to_owned()));
        }
        if name.ends_with('/') || name.contains("//") {
            return Err(E::Slash(whole()));
        }
        let (registry, rest) = name
            .split_once('/')
            .filter(|(registry, _)| is_host(registry))
            .ok_or_else(|| E::Registry(whole()))?;
        check_registry(registry, text)?;
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        if repository.ends_with('/') {
            return Err(E::Slash(whole()));
        }
        if repository.is_empty() {
            return Err(E::Repository(whole()));
        }
        if let Some(part) = repository.split('/').find(|part| !is_component(part)) {
            return Err(E::Component(whole(), part.to_owned()));
        }
        if registry.len() + 1 + repository.len() > MAX_NAME {
            return Err(E::Length(whole()));
        }
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(E::Tag(whole(), tag.to_owned()));
        }
        Ok(ArtifactReference {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }

    /// Parses where to push to: with a tag, and without a digest.
    ///
    /// # Errors
    /// [`ArtifactReferenceError`] says which part is wrong.
    pub fn parse_target(text: &str) -> Result<Self, ArtifactReferenceError> {
        let reference = Self::parse(text)?;
        match reference.digest {
            Some(_) => Err(ArtifactReferenceError::DigestToPush(text.to_owned())),
            None => Ok(reference),
        }
    }

    /// Whether the registry is on this very machine, so that nobody is between it and us.
    pub fn is_loopback(&self) -> bool {
        let (host, _) = split_port(&self.registry);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || bare
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for ArtifactReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// Whether the first component is meant as a host, and not as the beginning of a repository.
fn is_host(text: &str) -> bool {
    text.contains(['.', ':', '[']) || text == "localhost"
}

/// Host and port, which is empty if a colon has none.
fn split_port(registry: &str) -> (&str, Option<&str>) {
    let after = registry.rfind(']').map_or(0, |at| at + 1);
    match registry[after..].find(':') {
        Some(at) => (&registry[..after + at], Some(&registry[after + at + 1..])),
        None => (registry, None),
    }
}

fn check_registry(registry: &str, text: &str) -> Result<(), ArtifactReferenceError> {
    use ArtifactReferenceError as E;
    if registry.parse::<Ipv6Addr>().is_ok() {
        return Err(E::Brackets(text.to_owned(), registry.to_owned()));
    }
    if registry.starts_with('[') && !registry.contains(']') {
        return Err(E::Host(text.to_owned(), registry.to_owned()));
    }
    let (host, port) = split_port(registry);
    let is_port = |port: &str| {
        let digits = port.bytes().all(|b| b.is_ascii_digit());
        digits && port.parse::<u16>().is_ok_and(|port| port != 0)
    };
    if let Some(port) = port.filter(|port| !is_port(port)) {
        return Err(E::Port(text.to_owned(), port.to_owned()));
    }
    let good = match host.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        None => host.split('.').all(is_label),
    };
    match good {
        true => Ok(()),
        false => Err(E::Host(text.to_owned(), host.to_owned())),
    }
}

/// A label of a host name, or a part of an IPv4 address.
fn is_label(label: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    label.bytes().all(inner)
        && label.starts_with(|c: char| c.is_ascii_alphanumeric())
        && label.ends_with(|c: char| c.is_ascii_alphanumeric())
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(part: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut separators = part
        .split(is_word)
        .filter(|separator| !separator.is_empty());
    let allowed = |separator: &str| {
        matches!(separator, "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
    };
    part.starts_with(is_word) && part.ends_with(is_word) && separators.all(allowed)
}

fn is_tag(tag: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    tag.starts_with(word)
        && tag.len() <= MAX_TAG
        && tag.chars().all(|c| word(c) || c == '.' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::ArtifactReferenceError as E;
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn full_references() {
        let check = |text: &str, registry: &str, repository: &str, tag: Option<&str>| {
            let found = ArtifactReference::parse(text).unwrap();
            assert_eq!(found.to_string(), text);
            assert_eq!(
                (found.registry.as_str(), found.repository.as_str()),
                (registry, repository)
            );
            assert_eq!(found.tag.as_deref(), tag);
        };
        check(
            "registry.example/image:v1",
            "registry.example",
            "image",
            Some("v1"),
        );
        check(
            "registry.example:5000/a/b/c:v1",
            "registry.example:5000",
            "a/b/c",
            Some("v1"),
        );
        check(
            "localhost/a__b/c--d.e:_1",
            "localhost",
            "a__b/c--d.e",
            Some("_1"),
        );
        check(
            "127.0.0.1:5000/image:1.2",
            "127.0.0.1:5000",
            "image",
            Some("1.2"),
        );
        check("[::1]:5000/image:v1", "[::1]:5000", "image", Some("v1"));
        check(
            "[2001:db8::1]/image:v1",
            "[2001:db8::1]",
            "image",
            Some("v1"),
        );
        check(
            &format!("registry.example/image@{DIGEST}"),
            "registry.example",
            "image",
            None,
        );
        check(
            &format!("[::1]/image:v1@{DIGEST}"),
            "[::1]",
            "image",
            Some("v1"),
        );
    }

    #[test]
    fn a_repository_has_neither_tag_nor_digest() {
        let parse = ArtifactReference::parse_repository;
        let found = parse("registry.example:5000/team/store").unwrap();
        assert_eq!(found.to_string(), "registry.example:5000/team/store");
        for text in ["a.b/c:v1".to_owned(), format!("a.b/c@{DIGEST}")] {
            assert_eq!(parse(&text), Err(E::MoreThanRepository(text.clone())));
        }
        assert_eq!(parse("c"), Err(E::Registry("c".to_owned())));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |text: &str, expected: E| {
            assert_eq!(ArtifactReference::parse(text), Err(expected), "{text}");
        };
        let whole = |text: &str| text.to_owned();
        let pair = |kind: fn(String, String) -> E, text: &str, part: &str| {
            check(text, kind(whole(text), whole(part)));
        };
        for text in ["a.b/c/", "a.b/c/:v1", "a.b//c:v1", "a.b/"] {
            check(text, E::Slash(whole(text)));
        }
        for text in ["image:v1", "library/image:v1", "image", "", "a.b:5000"] {
            check(text, E::Registry(whole(text)));
        }
        check("a.b/:v1", E::Repository(whole("a.b/:v1")));
        check("a.b/c", E::Nothing(whole("a.b/c")));
        pair(E::Scheme, "https://a.b/c:v1", "https://");
        for port in ["", "0", "65536", "50a", "-1", "+1"] {
            pair(E::Port, &format!("a.b:{port}/c:v1"), port);
        }
        pair(E::Port, "[::1]:x/c:v1", "x");
        pair(E::Brackets, "::1/c:v1", "::1");
        pair(E::Host, "[::1/c:v1", "[::1");
        pair(E::Host, "[::g]/c:v1", "[::g]");
        pair(E::Host, "a..b/c:v1", "a..b");
        pair(E::Host, "-a.b/c:v1", "-a.b");
        for part in ["C", "c___d", "c.-d", "c_", ".c", "c d"] {
            pair(E::Component, &format!("a.b/x/{part}/y:v1"), part);
        }
        for tag in ["", ".x", "-x", "a/b", "a:b", &"x".repeat(129)] {
            pair(E::Tag, &format!("a.b/c:{tag}"), tag);
        }
        pair(E::Digest, "a.b/c:v1@sha256:12", "sha256:12");
        let upper = DIGEST.to_uppercase();
        pair(E::Digest, &format!("a.b/c@{upper}"), &upper);
        let long = format!("a.b/{}:v1", "x".repeat(252));
        check(&long, E::Length(whole(&long)));
    }

    #[test]
    fn a_digest_is_not_pushed_to() {
        let text = format!("a.b/c:v1@{DIGEST}");
        assert_eq!(
            ArtifactReference::parse_target(&text),
            Err(E::DigestToPush(text))
        );
        assert!(ArtifactReference::parse_target("a.b/c:v1").is_ok());
    }

    #[test]
    fn this_machine_is_known() {
        let check = |registry: &str, expected: bool| {
            let reference = ArtifactReference::parse(&format!("{registry}/c:v1")).unwrap();
            assert_eq!(reference.is_loopback(), expected, "{registry}");
        };
        check("localhost", true);
        check("localhost:5000", true);
        check("127.0.0.1:5000", true);
        check("127.1.2.3", true);
        check("[::1]:5000", true);
        check("[2001:db8::1]:5000", false);
        check("10.0.0.1:5000", false);
        check("localhost.example", false);
        check("127.0.0.1.example", false);
    }
}
