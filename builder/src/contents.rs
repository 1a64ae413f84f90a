//! What is inside an image, as a value: gathered by the build, and told by [`crate::documents`].
//!
//! Lists are in a fixed order, so that equal images are told in equal bytes.

pub mod licence;

use crate::contents::licence::Licence;
use contract::partition::Arch;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All that is inside one image.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Contents {
    /// The profile's name.
    pub profile: String,
    /// The architecture.
    pub arch: Arch,
    /// The Kubernetes version.
    pub kubernetes: String,
    /// The lock's date, in seconds since 1970.
    pub epoch: i64,
    /// The lock's digest.
    pub lock: String,
    /// Packages of the root file system, by name.
    pub packages: Vec<Package>,
    /// Files that the lock places in the root file system, by path.
    pub files: Vec<LockedFile>,
    /// Our own programs: path to SHA-256.
    pub programs: BTreeMap<String, String>,
    /// Files of the root file system that are neither a package's nor the lock's: overlays, and what the build
    /// makes.
    pub made: Vec<File>,
    /// Container images, by reference.
    pub images: Vec<ContainerImage>,
    /// What the firmware loads.
    pub boot: Vec<File>,
    /// The kernel.
    pub kernel: Kernel,
}

/// A file's name and size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its path, without a leading slash.
    pub path: String,
    /// Its size in bytes.
    pub bytes: u64,
}

/// A Debian package.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture, or `all`.
    pub architecture: String,
    /// SHA-256 of the `.deb`.
    pub sha256: String,
    /// The source package, if it has another name.
    pub source: Option<String>,
    /// Who maintains it: `NAME <ADDRESS>`.
    pub maintainer: Option<String>,
    /// Where the project is at home.
    pub homepage: Option<String>,
    /// What its copyright file says.
    pub licence: Licence,
    /// Its files in the image, as far as no overlay and no other package replaced them.
    pub files: Vec<File>,
}

/// A file that the lock takes from a source.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LockedFile {
    /// Where it is in the root file system or in the container image.
    pub path: String,
    /// Where it came from, below the source's URL.
    pub from: String,
    /// SHA-256 of what was fetched: the file, or the archive that it is a member of.
    pub sha256: String,
    /// The file's size in bytes; what is a member counts as its archive in a container image.
    pub bytes: u64,
}

impl LockedFile {
    /// The file's own name.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// The version, if a folder on the way to the source's file is called like one, such as `v1.34.1`.
    pub fn version(&self) -> Option<&str> {
        let is_version = |part: &&str| {
            let digits = part.strip_prefix('v').unwrap_or(part);
            let mut numbers = digits.split('.');
            let first = numbers.next().unwrap_or_default();
            !first.is_empty()
                && first.bytes().all(|b| b.is_ascii_digit())
                && numbers
                    .next()
                    .is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit()))
        };
        self.from.split('/').rev().skip(1).find(is_version)
    }
}

/// A container image of the store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ContainerImage {
    /// Its full reference.
    pub name: String,
    /// The digest of its manifest, `sha256:…`.
    pub digest: String,
    /// Its blobs: the manifest, then the config, then the layers.
    pub blobs: Vec<Blob>,
    /// The packages it was composed of; none if it was pulled.
    pub packages: Vec<Package>,
    /// The files it was composed of; none if it was pulled.
    pub files: Vec<LockedFile>,
    /// Files of its layers that no image before it in the list has.
    pub layers: Vec<File>,
}

/// A blob of the store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Blob {
    /// OCI media type.
    pub media_type: String,
    /// SHA-256.
    pub sha256: String,
    /// Its size in bytes.
    pub bytes: u64,
}

/// The kernel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kernel {
    /// Its version.
    pub version: String,
    /// What the profile adds to its command line.
    pub arguments: Vec<String>,
    /// The text of its configuration; empty if its package has none.
    pub configuration: String,
}

/// The sizes of files, added up.
pub fn bytes(files: &[File]) -> u64 {
    files.iter().map(|file| file.bytes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_names_the_version() {
        let check = |from: &str, expected: Option<&str>| {
            let file = LockedFile {
                path: "/usr/bin/x".into(),
                from: from.into(),
                sha256: String::new(),
                bytes: 0,
            };
            assert_eq!(file.version(), expected, "{from}");
        };
        check("release/v1.20.2/bin/linux/amd64/kubelet", Some("v1.20.2"));
        check("1.2/x", Some("1.2"));
        check("x-1.2.tar.gz", None);
        check("amd64/v/1/x", None);
    }
}
