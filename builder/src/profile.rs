//! The profile: what to bake. [`ProfileFile`](file::ProfileFile) is the YAML as people write it; a
//! [`Profile`] exists only if every value in it, and in the profiles that it extends, makes sense.
//!
//! Reading a profile resolves nothing and touches no network: see [`crate::lock`].

mod compose;
pub mod file;
pub mod package;
mod parts;
mod validate;

pub use parts::{Chart, Parts, Signature};

use crate::profile::file::{BaseFile, CompressionFile, DiskFile, SourceFile};
use contract::partition::Arch;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A validated profile.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The folder that holds `profile.yaml`.
    pub dir: PathBuf,
    /// The folders of all its documents: those that it extends first, its own last.
    pub documents: Vec<PathBuf>,
    /// Files and folders on which its images depend, and which its digest covers: manifests, charts that are no
    /// registry's, their values, and keys.
    pub inputs: Vec<PathBuf>,
    /// SHA-256 of the texts of the profile and all that it extends, and of its inputs: a lock belongs to these texts.
    pub digest: String,
    /// The name, used in file names of outputs.
    pub name: String,
    /// Architectures to bake for.
    pub arch: Vec<Arch>,
    /// Where content comes from, by name.
    pub sources: BTreeMap<String, SourceFile>,
    /// Which packages are there without being asked for.
    pub base: BaseFile,
    /// The Kubernetes version, with its leading `v`.
    pub kubernetes: String,
    /// Prefix of the control-plane images.
    pub image_repository: String,
    /// The pause image's reference: one of the images.
    pub pause: String,
    /// Sizes of the partitions.
    pub disk: Disk,
    /// What is extended first, the profile itself last.
    layers: Vec<Layer>,
}

/// Sizes of the partitions, in MiB, and what is in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The EFI system partition.
    pub esp: u64,
    /// One slot of the operating system.
    pub root: u64,
    /// One slot of container images.
    pub store: u64,
    /// How files of the operating system and of container images are compressed.
    pub compression: CompressionFile,
    /// Whether a BIOS starts the image too.
    pub bios: bool,
}

/// What one document adds, and where it counts.
#[derive(Clone, Debug)]
struct Layer {
    when: Option<BTreeSet<Arch>>,
    parts: Parts,
}

impl Profile {
    /// Whether a chart has to be fetched before its images are known.
    pub fn has_remote_charts(&self) -> bool {
        let all = self.layers.iter().flat_map(|layer| &layer.parts.charts);
        all.into_iter()
            .any(|chart| chart.entry.chart.starts_with("oci://"))
    }

    /// What an image for `arch` is made of.
    pub fn parts(&self, arch: Arch) -> Parts {
        let mut parts = Parts::default();
        for layer in &self.layers {
            if layer.when.as_ref().is_none_or(|when| when.contains(&arch)) {
                parts.add(&layer.parts);
            }
        }
        parts
    }
}

impl From<DiskFile> for Disk {
    fn from(file: DiskFile) -> Self {
        Disk {
            esp: file.esp.unwrap_or(1024),
            root: file.root.unwrap_or(2048),
            store: file.store.unwrap_or(4096),
            compression: file.compression.unwrap_or_default(),
            bios: file.bios.unwrap_or_default(),
        }
    }
}

/// Reads and validates `DIR/profile.yaml` and all that it extends.
pub fn read(dir: &Path) -> anyhow::Result<Profile> {
    compose::compose(compose::read(dir)?)
}
