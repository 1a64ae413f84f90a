//! The lock: every byte that goes into an image, by digest. Written by `seedbed lock`, committed beside the
//! profile, and the only thing that `fetch` and `build` follow.
//!
//! A lock names sources, not places: mirrors are chosen when bytes are fetched and leave no trace here.

pub mod compare;
mod compatibility;
pub mod own;
mod packages;
mod published;
mod pulled;
pub mod render;
pub mod resolve;
pub mod update;

use crate::debian::archive::LockedArchive;
use crate::debian::solve::LockedPackage;
use crate::profile::Profile;
use anyhow::{Context, bail};
use contract::partition::Arch;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A resolved profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lock {
    /// Version of this document: 1.
    pub version: u32,
    /// The profile's name.
    pub profile: String,
    /// SHA-256 of the profile's text that was resolved.
    pub profile_digest: String,
    /// Seconds since 1970: the newest date that an archive gave; every time in an image is at most this.
    pub epoch: u64,
    /// The archives as they were when resolved.
    pub archives: Vec<LockedArchive>,
    /// What is locked, by architecture.
    pub arch: BTreeMap<Arch, ArchLock>,
}

/// What is locked for one architecture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArchLock {
    /// Packages of the root file system, by name.
    pub packages: Vec<LockedPackage>,
    /// Files of the root file system, by destination.
    pub files: Vec<LockedFile>,
    /// Charts of registries, whose images are among the images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub charts: Vec<LockedChart>,
    /// Container images, by reference.
    pub images: Vec<LockedImage>,
}

/// A Helm chart as its registry has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LockedChart {
    /// What is after `oci://`.
    pub name: String,
    /// Bytes of the chart's archive.
    pub size: u64,
    /// SHA-256 of the chart's archive, hexadecimal.
    #[serde(deserialize_with = "crate::digest::deserialize")]
    pub sha256: String,
}

impl LockedChart {
    /// The one layer that it is, as its registry has it.
    pub fn blob(&self) -> LockedBlob {
        LockedBlob {
            media_type: CHART.to_owned(),
            size: self.size,
            sha256: self.sha256.clone(),
        }
    }
}

/// One file of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LockedFile {
    /// Where it goes: in the root file system, or in the composed image.
    pub to: String,
    /// The source's name.
    pub source: String,
    /// Path below the source's URL.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256, hexadecimal.
    #[serde(deserialize_with = "crate::digest::deserialize")]
    pub sha256: String,
    /// For an archive: the one file of it that is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
}

/// One container image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LockedImage {
    /// The full reference.
    pub name: String,
    /// Set for an image pulled from its registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pulled: Option<PulledImage>,
    /// Set for an image composed by the builder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub composed: Option<ComposedImage>,
}

/// An image as its registry, layout or archive has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PulledImage {
    /// What the registry calls it for this architecture, if that is another name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The OCI layout that it comes from, relative to the profile's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout: Option<String>,
    /// The archive of `docker save` that it comes from, relative to the profile's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
    /// SHA-256 of the public key whose signature was found good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
    /// The index that a digest in the image's name stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<LockedBlob>,
    /// The manifest for this architecture.
    pub manifest: LockedBlob,
    /// Its config and layers, in order.
    pub blobs: Vec<LockedBlob>,
}

impl PulledImage {
    /// Every blob of it, documents first.
    pub fn all_blobs(&self) -> impl Iterator<Item = &LockedBlob> {
        self.index.iter().chain([&self.manifest]).chain(&self.blobs)
    }
}

/// One blob of a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LockedBlob {
    /// OCI media type.
    pub media_type: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256, hexadecimal.
    #[serde(deserialize_with = "crate::digest::deserialize")]
    pub sha256: String,
}

/// What an image is composed of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ComposedImage {
    /// The entry point.
    pub entrypoint: Vec<String>,
    /// Symbolic links, by path in the image.
    pub links: BTreeMap<String, String>,
    /// Files, by path in the image.
    pub files: Vec<LockedFile>,
    /// Packages, by name.
    pub packages: Vec<LockedPackage>,
}

/// Media type of a chart in a registry (Helm's "OCI registries").
pub const CHART: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
/// What a lock is called in its profile's folder.
pub const FILE_NAME: &str = "profile.lock";

/// Where a profile's lock is.
pub fn path(profile: &Profile) -> PathBuf {
    profile.dir.join(FILE_NAME)
}

/// Reads the lock of `profile`, which must have been made from this very text.
pub fn read(profile: &Profile) -> anyhow::Result<Lock> {
    let path = path(profile);
    let Some(lock) = read_any(&path)? else {
        bail!(
            "{} does not exist: run `seedbed lock {}`",
            path.display(),
            profile.dir.display()
        );
    };
    if lock.profile_digest != profile.digest {
        bail!(
            "{} was made from another text of the profile: run `seedbed lock {}`",
            path.display(),
            profile.dir.display()
        );
    }
    Ok(lock)
}

/// Reads a lock, if there is one.
pub fn read_any(path: &Path) -> anyhow::Result<Option<Lock>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("reading lock {}", path.display()));
        }
    };
    let lock: Lock =
        serde_json::from_str(&text).with_context(|| format!("reading lock {}", path.display()))?;
    if lock.version != 1 {
        bail!(
            "{} has version {}, which this seedbed does not know",
            path.display(),
            lock.version
        );
    }
    Ok(Some(lock))
}

/// Writes the lock beside its profile, whole or not at all. Says whether it differs from the one before.
pub fn write(path: &Path, lock: &Lock) -> anyhow::Result<bool> {
    let text = render::render(lock);
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(false);
    }
    crate::output::write_atomically(path, text.as_bytes())?;
    Ok(true)
}

/// The lock's own digest, from which identifiers in the image derive.
pub fn digest(lock: &Lock) -> String {
    crate::digest::sha256(render::render(lock).as_bytes())
}
