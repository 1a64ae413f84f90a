//! Package URLs: what scanners look a component up by (package-url specification, types `deb`, `oci` and
//! `generic`).

use crate::contents::{ContainerImage, LockedFile, Package};
use std::fmt::Write;

pub(super) fn deb(package: &Package) -> String {
    let (name, version) = (encode(&package.name), encode(&package.version));
    let mut purl = format!(
        "pkg:deb/debian/{name}@{version}?arch={}",
        package.architecture
    );
    if let Some(source) = &package.source {
        // `Source` may add the source's own version in parentheses.
        let name = source.split(' ').next().unwrap_or(source);
        write!(purl, "&upstream={}", encode(name)).expect("writing to a String never fails");
    }
    purl
}

pub(super) fn oci(image: &ContainerImage) -> String {
    let reference = image.name.split('@').next().unwrap_or(&image.name);
    let (repository, tag) = match reference.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (reference, None),
    };
    let name = repository
        .rsplit('/')
        .next()
        .unwrap_or(repository)
        .to_lowercase();
    let (name, digest) = (encode(&name), encode(&image.digest));
    let mut purl = format!(
        "pkg:oci/{name}@{digest}?repository_url={}",
        encode_path(repository)
    );
    if let Some(tag) = tag {
        write!(purl, "&tag={}", encode(tag)).expect("writing to a String never fails");
    }
    purl
}

pub(super) fn generic(file: &LockedFile) -> String {
    let mut purl = format!("pkg:generic/{}", encode(file.name()));
    if let Some(version) = file.version() {
        write!(purl, "@{}", encode(version)).expect("writing to a String never fails");
    }
    write!(purl, "?checksum=sha256%3A{}", file.sha256).expect("writing to a String never fails");
    purl
}

fn encode_path(text: &str) -> String {
    text.split('/').map(encode).collect::<Vec<_>>().join("/")
}

/// Percent-encodes all but the unreserved characters of RFC 3986.
fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("writing to a String never fails");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contents::licence::Licence;

    #[test]
    fn packages() {
        let mut package = Package {
            name: "libstdc++6".into(),
            version: "1:2.4~rc1+b1-3".into(),
            architecture: "amd64".into(),
            sha256: String::new(),
            source: None,
            maintainer: None,
            homepage: None,
            licence: Licence::default(),
            files: Vec::new(),
        };
        let purl = "pkg:deb/debian/libstdc%2B%2B6@1%3A2.4~rc1%2Bb1-3?arch=amd64";
        assert_eq!(deb(&package), purl);
        package.source = Some("gcc-14 (14.2)".into());
        assert_eq!(deb(&package), format!("{purl}&upstream=gcc-14"));
    }

    #[test]
    fn images() {
        let check = |name: &str, expected: &str| {
            let image = ContainerImage {
                name: name.into(),
                digest: "sha256:ab".into(),
                blobs: Vec::new(),
                packages: Vec::new(),
                files: Vec::new(),
                layers: Vec::new(),
            };
            assert_eq!(oci(&image), expected);
        };
        check(
            "k8s.gcr.io/pause:3.2",
            "pkg:oci/pause@sha256%3Aab?repository_url=k8s.gcr.io/pause&tag=3.2",
        );
        check(
            "host:5000/a/B",
            "pkg:oci/b@sha256%3Aab?repository_url=host%3A5000/a/B",
        );
    }

    #[test]
    fn files() {
        let file = LockedFile {
            path: "/usr/bin/kubelet".into(),
            from: "release/v1.20.2/kubelet".into(),
            sha256: "ab".into(),
            bytes: 1,
        };
        assert_eq!(
            generic(&file),
            "pkg:generic/kubelet@v1.20.2?checksum=sha256%3Aab"
        );
    }
}
