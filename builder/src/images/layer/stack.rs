//! What a layer looks like on top of others: its undescribed directories take after those below, and its
//! whiteouts are there where they hide something.
//!
//! A whiteout that hides nothing would not be harmless: in a directory that only one layer has, overlayfs
//! shows what is there as it is, and the whiteout would be a name that cannot be opened.

use super::{Layer, OPAQUE, RESERVED, ancestors, is_directory, is_opaque, is_whiteout};
use formats::tree::{Kind, Metadata, Node, Tree};
use std::collections::BTreeSet;

/// The tree of `layer` on top of settled ones, the uppermost of which comes first.
pub fn settle(layer: &Layer, below: &[&Tree]) -> anyhow::Result<Tree> {
    let mut tree = layer.tree.clone();
    for path in &layer.implicit {
        let inherited = lookup(below, path).filter(|node| is_directory(node));
        if let (Some(inherited), Some(node)) = (inherited, tree.get_mut(path)) {
            let opaque = node.meta.xattrs.remove(OPAQUE);
            node.meta = inherited.meta.clone();
            let xattrs = &mut node.meta.xattrs;
            xattrs.retain(|name, _| !name.starts_with(RESERVED));
            xattrs.extend(opaque.map(|value| (OPAQUE.to_owned(), value)));
        }
    }
    for path in whiteouts(layer, below) {
        tree.insert(
            &path,
            Node {
                kind: Kind::CharDevice(0, 0),
                meta: Metadata::root(0),
            },
        )?;
    }
    Ok(tree)
}

/// The paths that are there below and are to be hidden by a whiteout.
fn whiteouts(layer: &Layer, below: &[&Tree]) -> BTreeSet<String> {
    let mut candidates: BTreeSet<String> = layer.whiteouts.clone();
    if layer.opaque_root {
        candidates = names(below, "");
    }
    let hides = |path: &String| layer.tree.get(path).is_none() && lookup(below, path).is_some();
    candidates.retain(hides);
    candidates
}

/// All names that any layer has in a directory.
fn names(layers: &[&Tree], directory: &str) -> BTreeSet<String> {
    let children = layers.iter().flat_map(|tree| tree.children(directory));
    children.map(|(name, _)| name).collect()
}

/// What is seen at `path` through the layers, the uppermost of which comes first.
pub(super) fn lookup<'a>(layers: &[&'a Tree], path: &str) -> Option<&'a Node> {
    for tree in layers {
        if let Some(node) = tree.get(path) {
            return Some(node).filter(|node| !is_whiteout(node));
        }
        let hides = |node: &Node| !is_directory(node) || is_opaque(&node.meta);
        if ancestors(path).any(|path| tree.get(path).is_some_and(hides)) {
            return None;
        }
    }
    None
}
