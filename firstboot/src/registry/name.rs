//! Digests and repository names as the OCI distribution specification 1.1 writes them.

use std::fmt;

/// A SHA-256 digest: `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Digest(String);

impl Digest {
    /// The digest in `text`, or nothing if it is none of SHA-256.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("sha256:")?;
        let digits = hex
            .bytes()
            .all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
        (hex.len() == 64 && digits).then(|| Digest(hex.to_owned()))
    }

    /// The hexadecimal digits alone: the blob's file name.
    pub(super) fn hex(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

/// A repository: the registry's host, and the path below it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Repository {
    pub(super) host: String,
    pub(super) path: String,
}

impl Repository {
    /// The repository `path` of `host`, under the name that containerd uses: Docker's registry has several
    /// hosts, and its repositories of one component are in `library`.
    pub(super) fn new(host: &str, path: &str) -> Self {
        let host = host.to_ascii_lowercase();
        match host.as_str() {
            "docker.io" | "index.docker.io" | "registry-1.docker.io" => Repository {
                host: "docker.io".into(),
                path: official(path),
            },
            _ => Repository {
                host,
                path: path.to_owned(),
            },
        }
    }

    /// Splits `host/path:tag`; nothing without all three.
    pub(super) fn parse_reference(reference: &str) -> Option<(Self, &str)> {
        let (host, rest) = reference.split_once('/')?;
        let (path, tag) = rest.rsplit_once(':')?;
        let is_host = host.contains(['.', ':']) || host == "localhost";
        (is_host && is_path(path) && is_tag(tag)).then(|| (Repository::new(host, path), tag))
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)
    }
}

/// The path of a repository of Docker's registry, with its `library/`.
pub(super) fn official(path: &str) -> String {
    if path.contains('/') {
        path.to_owned()
    } else {
        format!("library/{path}")
    }
}

/// Lower-case components, separated by slashes.
pub(super) fn is_path(path: &str) -> bool {
    let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let inner = |c: char| ends(c) || "._-".contains(c);
    let component =
        |part: &str| part.starts_with(ends) && part.ends_with(ends) && part.chars().all(inner);
    path.len() <= 255 && path.split('/').all(component)
}

/// A word character, then up to 127 of these, dots and dashes.
pub(super) fn is_tag(tag: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (1..=128).contains(&tag.len())
        && tag.starts_with(word)
        && tag.chars().all(|c| word(c) || c == '.' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_hexadecimal_digits_and_nothing_else() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::parse(&format!("sha256:{hex}")).unwrap().hex(), hex);
        let short = &hex[1..];
        for bad in [
            hex.to_owned(),
            format!("sha256:{short}"),
            format!("sha256:{short}/"),
            format!("sha256:{short}."),
            format!("sha256:{short}G"),
            format!("sha256:{}", hex.to_uppercase()),
            format!("sha512:{hex}"),
            format!("sha256:../../{}", &hex[6..]),
            String::new(),
        ] {
            assert_eq!(Digest::parse(&bad), None, "{bad}");
        }
    }

    #[test]
    fn references_are_split_and_docker_is_normalised() {
        let table = [
            ("k8s.gcr.io/pause:3.2", Some(("k8s.gcr.io/pause", "3.2"))),
            (
                "docker.io/busybox:1",
                Some(("docker.io/library/busybox", "1")),
            ),
            (
                "index.docker.io/calico/node:v3",
                Some(("docker.io/calico/node", "v3")),
            ),
            ("localhost:5000/a/b:x", Some(("localhost:5000/a/b", "x"))),
            ("busybox:1", None),
            ("k8s.gcr.io/pause", None),
            ("k8s.gcr.io/../pause:1", None),
            ("k8s.gcr.io/pause:", None),
        ];
        for (text, expected) in table {
            let parsed = Repository::parse_reference(text);
            let shown = parsed.map(|(repository, tag)| (repository.to_string(), tag.to_owned()));
            let expected =
                expected.map(|(repository, tag)| (repository.to_owned(), tag.to_owned()));
            assert_eq!(shown, expected, "{text}");
        }
    }
}
