//! The image store: every container image of the lock, as one OCI image layout with its layers' trees beside it.

use super::artifact::{Disk, Verified};
use super::{Inputs, contents, member};
use crate::cache::{Cache, Key};
use crate::contents::ContainerImage;
use crate::images::compose;
use crate::images::layers;
use crate::images::layout::{self, Blob, Image};
use crate::images::reference::Reference;
use crate::lock::{ComposedImage, PulledImage};
use crate::rootfs;
use crate::store::Store;
use anyhow::Context;
use contract::partition::{Arch, Role};
use contract::paths;
use formats::tree::{Content, Kind, Metadata, Node, Tree};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The store's partition as it was written.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Written {
    pub(super) partition: Verified,
    /// The digest of each image's manifest, by reference.
    pub(super) digests: BTreeMap<String, String>,
    /// What is inside, in the lock's order.
    pub(super) contents: Vec<ContainerImage>,
    /// Bytes of files: `storeBlobs` of blobs, `storeLayers` of layers' trees.
    pub(super) bytes: BTreeMap<String, u64>,
}

/// Writes the store's partition, which an earlier build with the same lock may have made.
///
/// It is kept as the partition, its hash tree, what is told of it as JSON, and that JSON's length as a u64.
pub(super) fn write(
    inputs: &Inputs<'_>,
    store: &Store,
    disk: &Disk<'_>,
) -> anyhow::Result<Written> {
    let key = key(inputs.cache, &inputs.lock_digest, inputs.arch);
    if let Some(kept) = inputs.cache.get(&key) {
        return write_kept(&kept, disk).context("writing the STORE partition as it was kept");
    }
    let Laid {
        tree,
        images,
        digests,
    } = layout(inputs, store)?;
    let bytes = [
        ("storeBlobs", bytes_below(&tree, "blobs")),
        ("storeLayers", bytes_below(&tree, paths::STORE_LAYERS)),
    ];
    let written = Written {
        partition: disk.write_verified(Role::Store, &tree)?,
        contents: contents::images(inputs, &images, &tree)?,
        digests,
        bytes: bytes.map(|(part, n)| (part.to_owned(), n)).into(),
    };
    if inputs.cache.keeps() {
        inputs.cache.put(&key, inputs.scratch, |out| {
            disk.copy_out(Role::Store, &written.partition, out)?;
            let told = serde_json::to_vec(&written)?;
            out.write_all(&told)?;
            Ok(out.write_all(&(told.len() as u64).to_le_bytes())?)
        })?;
    }
    Ok(written)
}

/// The key of the partition that the lock with this digest gives.
pub(super) fn key(cache: &Cache, lock_digest: &str, arch: Arch) -> Key {
    let key = cache.key("store partition");
    key.with(lock_digest).with(arch.as_str()).key()
}

fn write_kept(kept: &Content, disk: &Disk<'_>) -> anyhow::Result<Written> {
    let damaged = "the build cache's result is malformed";
    let mut len = [0; 8];
    let end = kept.len().checked_sub(8).context(damaged)?;
    kept.read_exact_at(&mut len, end)?;
    let len = u64::from_le_bytes(len);
    let told = kept.slice(end.checked_sub(len).context(damaged)?, len)?;
    let written: Written = serde_json::from_slice(&told.to_vec()?).context(damaged)?;
    disk.copy_in(Role::Store, &written.partition, kept)?;
    Ok(written)
}

/// The store's content.
struct Laid {
    tree: Tree,
    /// The images in the lock's order.
    images: Vec<Image>,
    /// The digest of each image's manifest, by reference.
    digests: BTreeMap<String, String>,
}

fn layout(inputs: &Inputs<'_>, store: &Store) -> anyhow::Result<Laid> {
    let mut images = Vec::with_capacity(inputs.locked.images.len());
    for locked in &inputs.locked.images {
        let reference = Reference::parse(&locked.name)?;
        let image = match (&locked.composed, &locked.pulled) {
            (Some(composed), _) => composed_image(inputs, reference, composed),
            (None, Some(pulled)) => pulled_image(store, reference, pulled),
            (None, None) => Err(anyhow::anyhow!(
                "the lock says neither how to pull nor how to compose it"
            )),
        };
        images.push(image.with_context(|| format!("preparing image {}", locked.name))?);
    }
    let (mut tree, digests) = layout::layout(&images, inputs.arch, inputs.epoch)?;
    layers::lay(
        &mut tree,
        &images,
        inputs.arch,
        inputs.epoch,
        inputs.scratch,
    )?;
    Ok(Laid {
        tree,
        images,
        digests,
    })
}

/// The sizes of all files below a directory.
fn bytes_below(tree: &Tree, directory: &str) -> u64 {
    let size = |(_, node): (String, &Node)| match &node.kind {
        Kind::File(content) => content.len(),
        _ => 0,
    };
    tree.descendants(directory).map(size).sum()
}

fn composed_image(
    inputs: &Inputs<'_>,
    reference: Reference,
    composed: &ComposedImage,
) -> anyhow::Result<Image> {
    let mut tree = rootfs::for_container(&inputs.packages.of(&composed.packages)?)?;
    for file in &composed.files {
        let content = member::content(inputs, file)?;
        let meta = Metadata {
            mtime: inputs.epoch,
            ..Metadata::root(0o755)
        };
        tree.insert(
            file.to.trim_start_matches('/'),
            Node {
                kind: Kind::File(content),
                meta,
            },
        )?;
    }
    for (path, target) in &composed.links {
        let meta = Metadata {
            mtime: inputs.epoch,
            ..Metadata::root(0o777)
        };
        let kind = Kind::Symlink(target.clone());
        tree.insert(path.trim_start_matches('/'), Node { kind, meta })?;
    }
    compose::compose(
        reference,
        inputs.arch,
        &composed.entrypoint,
        &tree,
        inputs.epoch,
        inputs.scratch,
    )
}

fn pulled_image(
    store: &Store,
    reference: Reference,
    pulled: &PulledImage,
) -> anyhow::Result<Image> {
    let blob = |locked: &crate::lock::LockedBlob| {
        anyhow::Ok(Blob {
            media_type: locked.media_type.clone(),
            sha256: locked.sha256.clone(),
            content: store.content(&locked.sha256, &format!("blob of {reference}"))?,
        })
    };
    let blobs = pulled
        .blobs
        .iter()
        .map(blob)
        .collect::<anyhow::Result<_>>()?;
    Ok(Image {
        index: pulled.index.as_ref().map(blob).transpose()?,
        manifest: blob(&pulled.manifest)?,
        blobs,
        reference,
    })
}
