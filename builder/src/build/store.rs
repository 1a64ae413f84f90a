//! The image store: every container image of the lock, as one OCI image layout with its layers' trees beside it.

use super::{Inputs, member};
use crate::images::compose;
use crate::images::layers;
use crate::images::layout::{self, Blob, Image};
use crate::images::reference::Reference;
use crate::lock::{ComposedImage, PulledImage};
use crate::rootfs;
use crate::store::Store;
use anyhow::Context;
use contract::paths;
use formats::tree::{Content, Kind, Metadata, Node, Tree};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The store's content, and the digest of each image's manifest by reference.
pub(super) struct Images {
    pub(super) tree: Tree,
    /// The images in the lock's order.
    pub(super) images: Vec<Image>,
    pub(super) digests: BTreeMap<String, String>,
    /// Bytes of files, of blobs and of layers' trees.
    pub(super) bytes: [(&'static str, u64); 2],
}

pub(super) fn layout(inputs: &Inputs<'_>, store: &Store) -> anyhow::Result<Images> {
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
    let bytes = [
        ("storeBlobs", bytes_below(&tree, "blobs")),
        ("storeLayers", bytes_below(&tree, paths::STORE_LAYERS)),
    ];
    Ok(Images {
        tree,
        images,
        digests,
        bytes,
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
    let mut tree = rootfs::for_container(
        &super::root::debs(inputs, &composed.packages)?,
        inputs.scratch,
    )?;
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
        let file = store.open_verified(&locked.sha256, &format!("blob of {reference}"))?;
        let content = Content::Slice {
            file: Arc::new(file),
            offset: 0,
            len: locked.size,
        };
        anyhow::Ok(Blob {
            media_type: locked.media_type.clone(),
            sha256: locked.sha256.clone(),
            content,
        })
    };
    let blobs = pulled
        .blobs
        .iter()
        .map(blob)
        .collect::<anyhow::Result<_>>()?;
    Ok(Image {
        manifest: blob(&pulled.manifest)?,
        blobs,
        reference,
    })
}
