//! What an image says of itself, at [`crate::paths::MANIFEST`] inside the root file system.

use crate::partition::{Arch, Partition};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The image's own description: written by the builder, read by `firstboot`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// Version of this document: 1.
    pub version: u32,
    /// The profile's name.
    pub profile: String,
    /// The architecture that everything inside is for.
    pub arch: Arch,
    /// Seconds since 1970 of the lock: no machine that runs this image believes in an earlier time.
    pub epoch: u64,
    /// SHA-256 of the lock, in hexadecimal.
    pub lock: String,
    /// The Kubernetes version, such as `v1.20.2`.
    pub kubernetes: String,
    /// Reference of the pause image.
    pub pause: String,
    /// Prefix of the control-plane images, such as `registry.k8s.io`.
    pub image_repository: String,
    /// Every container image of the store: reference to manifest digest (`sha256:…`).
    pub images: BTreeMap<String, String>,
    /// The partitions that an installed disk begins with, in their order, one after the other.
    pub partitions: Vec<Partition>,
    /// Our own programs in the image: path to SHA-256 in hexadecimal.
    pub programs: BTreeMap<String, String>,
}
