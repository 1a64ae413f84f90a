//! Lays the trees of all images' layers into the store, once each, so that a machine mounts them in place.
//!
//! ```text
//! layers/N           the tree of a layer, in overlayfs form; N counts from 0
//! chains/<64 hex>    a link to ../layers/N, called by the layer's chain ID
//! ```
//!
//! A chain ID stands for a layer on top of certain others (OCI image specification 1.1, "Layer ChainID"). Most
//! layers look the same wherever they are, and then many chains lead to one tree. Trees differ where an
//! archive leaves something to the layers below, see [`stack`](super::layer::stack). Overlayfs also refuses to
//! stack a directory on itself, so an image that has a layer twice gets its tree twice.

use crate::digest;
use crate::images::config;
use crate::images::layer::{Layer, Limits, archive, stack, unpack};
use crate::images::layout::{Blob, Image};
use anyhow::{Context, bail};
use contract::partition::Arch;
use contract::paths::{STORE_CHAINS, STORE_LAYERS};
use formats::tree::{Content, Kind, Metadata, Node, Tree};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// A blob and the digest of its uncompressed archive.
type Key = (String, String);

/// A tree that has its place in the store.
struct Laid {
    diff_id: String,
    tree: Tree,
}

/// A layer that was read, and the archive that its contents are in.
struct Read {
    archive: Content,
    layer: Layer,
}

/// Adds the layers of `images` to the store's `tree`. Decompressed archives go to unnamed files below
/// `scratch`, where the uncompressed size of all compressed layers is needed.
pub fn lay(
    tree: &mut Tree,
    images: &[Image],
    arch: Arch,
    epoch: i64,
    scratch: &Path,
) -> anyhow::Result<()> {
    let mut listed = Vec::with_capacity(images.len());
    for image in images {
        let layers = layers_of(image, arch)
            .with_context(|| format!("listing the layers of image {}", image.reference))?;
        listed.push((image, layers));
    }
    let read = read_all(&listed, scratch)?;
    let mut laid: Vec<Laid> = Vec::new();
    let mut chains: BTreeMap<String, usize> = BTreeMap::new();
    for (image, layers) in &listed {
        stack_image(layers, &read, &mut laid, &mut chains)
            .with_context(|| format!("stacking the layers of image {}", image.reference))?;
    }
    place(tree, &laid, &chains, epoch).context("placing the layers in the store")
}

/// The layers of an image with their diff IDs, the lowest first.
fn layers_of(image: &Image, arch: Arch) -> anyhow::Result<Vec<(&Blob, String)>> {
    let (config, layers) = image.blobs.split_first().context("it has no config")?;
    let text = config.content.to_vec().context("reading the config")?;
    let diff_ids = config::parse(&text, arch)?.rootfs.diff_ids;
    if diff_ids.len() != layers.len() {
        bail!(
            "the config names {} layers and the manifest {}",
            diff_ids.len(),
            layers.len()
        );
    }
    Ok(layers.iter().zip(diff_ids).collect())
}

/// Decompresses, verifies and reads each layer once, on all cores.
fn read_all(
    listed: &[(&Image, Vec<(&Blob, String)>)],
    scratch: &Path,
) -> anyhow::Result<BTreeMap<Key, Read>> {
    let mut todo: BTreeMap<Key, (&Image, &Blob)> = BTreeMap::new();
    for (image, layers) in listed {
        for (blob, diff_id) in layers {
            let key = (blob.sha256.clone(), diff_id.clone());
            todo.entry(key).or_insert((image, blob));
        }
    }
    let read = |(key, (image, blob)): (Key, (&Image, &Blob))| {
        let read = read_layer(blob, &key.1, scratch).with_context(|| {
            let (digest, reference) = (&blob.sha256, &image.reference);
            format!("unpacking layer sha256:{digest} of image {reference}")
        });
        Ok((key, read?))
    };
    todo.into_par_iter().map(read).collect()
}

fn read_layer(blob: &Blob, diff_id: &str, scratch: &Path) -> anyhow::Result<Read> {
    let archive = archive::open(blob, diff_id, scratch, Limits::DEFAULT)?;
    let layer = unpack::unpack(&archive, Limits::DEFAULT)?;
    Ok(Read { archive, layer })
}

/// Finds or makes a tree for each layer of one image.
fn stack_image(
    layers: &[(&Blob, String)],
    read: &BTreeMap<Key, Read>,
    laid: &mut Vec<Laid>,
    chains: &mut BTreeMap<String, usize>,
) -> anyhow::Result<()> {
    // Numbers of the trees below, the uppermost first.
    let mut below: Vec<usize> = Vec::with_capacity(layers.len());
    let mut chain = String::new();
    for (blob, diff_id) in layers {
        chain = match chain.as_str() {
            "" => diff_id.clone(),
            lower => format!(
                "sha256:{}",
                digest::sha256(format!("{lower} {diff_id}").as_bytes())
            ),
        };
        let number = match chains.get(&chain) {
            Some(number) => *number,
            None => {
                let key = (blob.sha256.clone(), diff_id.clone());
                let read = read.get(&key).context("a layer was not read")?;
                find_or_settle(read, diff_id, &below, laid)?
            }
        };
        chains.insert(chain.clone(), number);
        below.insert(0, number);
    }
    Ok(())
}

fn find_or_settle(
    read: &Read,
    diff_id: &str,
    below: &[usize],
    laid: &mut Vec<Laid>,
) -> anyhow::Result<usize> {
    let lower: Vec<&Tree> = below.iter().map(|number| &laid[*number].tree).collect();
    let mut tree = stack::settle(&read.layer, &lower)?;
    let same = |(number, laid): &(usize, &Laid)| {
        laid.diff_id == diff_id && !below.contains(number) && is_same(&laid.tree, &tree)
    };
    if let Some((number, _)) = laid.iter().enumerate().find(same) {
        return Ok(number);
    }
    if laid.iter().any(|laid| laid.diff_id == diff_id) {
        // Contents of another open file, or files of one tree would count as hard links to the other's.
        let layer = unpack::unpack(&reopen(&read.archive)?, Limits::DEFAULT)?;
        tree = stack::settle(&layer, &lower)?;
    }
    let diff_id = diff_id.to_owned();
    laid.push(Laid { diff_id, tree });
    Ok(laid.len() - 1)
}

/// Whether two trees of one archive are the same: contents then need no look.
fn is_same(a: &Tree, b: &Tree) -> bool {
    a.len() == b.len()
        && a.iter().zip(b.iter()).all(|((path, a), (other, b))| {
            path == other
                && a.meta == b.meta
                && matches!(a.kind, Kind::CharDevice(0, 0))
                    == matches!(b.kind, Kind::CharDevice(0, 0))
        })
}

fn reopen(archive: &Content) -> anyhow::Result<Content> {
    Ok(match archive {
        Content::Bytes(bytes) => bytes.to_vec().into(),
        Content::Slice { file, offset, len } => Content::Slice {
            file: Arc::new(file.try_clone().context("opening the archive again")?),
            offset: *offset,
            len: *len,
        },
    })
}

fn place(
    tree: &mut Tree,
    laid: &[Laid],
    chains: &BTreeMap<String, usize>,
    epoch: i64,
) -> anyhow::Result<()> {
    let ours = |kind, mode| Node {
        kind,
        meta: Metadata {
            mtime: epoch,
            ..Metadata::root(mode)
        },
    };
    for name in [STORE_LAYERS, STORE_CHAINS] {
        tree.insert(name, ours(Kind::Directory, 0o755))?;
    }
    for (number, laid) in laid.iter().enumerate() {
        let top = format!("{STORE_LAYERS}/{number}");
        for (path, node) in laid.tree.iter() {
            let path = format!("{top}/{path}");
            tree.insert(path.trim_end_matches('/'), node.clone())?;
        }
    }
    for (chain, number) in chains {
        let name = chain.strip_prefix("sha256:").unwrap_or(chain);
        let target = Kind::Symlink(format!("../{STORE_LAYERS}/{number}"));
        tree.insert(&format!("{STORE_CHAINS}/{name}"), ours(target, 0o777))?;
    }
    Ok(())
}
