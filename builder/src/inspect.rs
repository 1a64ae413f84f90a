//! What a disk image holds, read back from its bytes: partitions, what the firmware starts, packages, container
//! images, and the image's own manifest.
//!
//! Nothing is mounted, and no root is needed. Damage is collected, so that one look shows all of it.
//! [`list`] reads single files, [`diff`] compares two images, [`verify`] checks every block against the hashes
//! that the unified kernel image vouches for.

pub mod boot;
pub mod diff;
mod disk;
pub mod image;
pub mod kernel_config;
pub mod list;
pub mod packages;
pub mod secure_boot;
pub mod verify;

use crate::inspect::boot::BootEntry;
use crate::inspect::image::Image;
use crate::inspect::packages::Package;
use anyhow::Context;
use contract::guid::Guid;
use contract::manifest::Manifest;
use contract::paths;
use formats::gpt::Entry;
use serde::Serialize;
use serde_json::Value;
use std::path::Path;

/// No manifest of an image is larger, in bytes.
const MAX_MANIFEST: u64 = 4 << 20;

/// What an image file holds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// `raw` or `qcow2`.
    pub format: &'static str,
    /// The disk's size in bytes.
    pub bytes: u64,
    /// Its partitions in order of their numbers.
    pub partitions: Vec<Partition>,
    /// What the firmware can start.
    pub boot: Vec<BootEntry>,
    /// What the image says of itself.
    pub manifest: Option<Manifest>,
    /// The Debian packages of the root file system, by name.
    pub packages: Vec<Package>,
    /// The container images of the store, by reference.
    pub images: Vec<ContainerImage>,
    /// What is wrong, each with the part that it is about.
    pub damage: Vec<String>,
}

/// A row of the partition table.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Partition {
    /// Its number, from 1.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// `A` or `B` for the partitions that an upgrade exchanges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<&'static str>,
    /// Its type.
    pub type_guid: String,
    /// Its own identity.
    pub guid: String,
    /// Where it begins on the disk, in bytes.
    pub offset: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// How many of them its file system or its files take, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
}

/// A container image of the store.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerImage {
    /// Its full reference.
    pub name: String,
    /// The digest of its manifest.
    pub digest: String,
    /// The sizes of config and layers as the manifest has them, in bytes; images may share layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// Looks into the image file at `path`. Fails only if it is no disk at all: what is wrong inside is in
/// [`Report::damage`].
pub fn inspect(path: &Path) -> anyhow::Result<Report> {
    let image = Image::open(path)?;
    let mut damage = Vec::new();
    let boot = part(&mut damage, "ESP", boot::entries(&image)).unwrap_or_default();
    let manifest = part(&mut damage, "ROOT", manifest(&image));
    let packages = part(&mut damage, "ROOT", packages::read(&image)).unwrap_or_default();
    let mut images = Vec::new();
    for (name, digest) in manifest.iter().flat_map(|manifest| &manifest.images) {
        let bytes = part(&mut damage, "STORE", image_bytes(&image, digest));
        images.push(ContainerImage {
            name: name.clone(),
            digest: digest.clone(),
            bytes,
        });
    }
    Ok(Report {
        format: image.format(),
        bytes: image.bytes()?,
        partitions: image
            .entries
            .iter()
            .map(|row| partition(&image, row))
            .collect(),
        boot,
        manifest,
        packages,
        images,
        damage,
    })
}

/// What the image says of itself.
pub(crate) fn manifest(image: &Image) -> anyhow::Result<Manifest> {
    let text = image.read("ROOT", paths::MANIFEST, MAX_MANIFEST)?;
    serde_json::from_slice(&text).with_context(|| format!("reading {}", paths::MANIFEST))
}

/// A result, or a line of damage about `part`.
fn part<T>(damage: &mut Vec<String>, part: &str, result: anyhow::Result<T>) -> Option<T> {
    result
        .map_err(|error| damage.push(format!("{part}: {error:#}")))
        .ok()
}

/// The sizes that an image's manifest in the store gives to config and layers.
fn image_bytes(image: &Image, digest: &str) -> anyhow::Result<u64> {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    let text = image.read("STORE", &format!("/blobs/sha256/{hex}"), MAX_MANIFEST)?;
    let manifest: Value =
        serde_json::from_slice(&text).with_context(|| format!("reading manifest {digest}"))?;
    let layers = manifest["layers"].as_array().into_iter().flatten();
    let sizes = layers.chain([&manifest["config"]]);
    let sizes = sizes.filter_map(|blob| blob["size"].as_u64());
    Ok(sizes.fold(0, u64::saturating_add))
}

fn partition(image: &Image, (number, entry): (&u32, &Entry)) -> Partition {
    let name = entry.name.as_str();
    let exchanged = ["ROOT", "STORE"].iter().any(|part| name.starts_with(part));
    let slot = if name.ends_with("-B") { "B" } else { "A" };
    Partition {
        number: *number,
        name: entry.name.clone(),
        slot: exchanged.then_some(slot),
        type_guid: Guid::from_bytes(entry.type_guid).to_string(),
        guid: Guid::from_bytes(entry.guid).to_string(),
        offset: entry.first_lba.saturating_mul(image.sector),
        bytes: entry.sectors().saturating_mul(image.sector),
        used: list::used(image, name),
    }
}
