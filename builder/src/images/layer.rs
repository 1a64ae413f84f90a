//! One layer of an image: from its archive to a file tree in the form that overlayfs stacks.
//!
//! The rules are those of the OCI image specification 1.1, "Image Layer Filesystem Changeset":
//!
//! ```text
//! .wh.NAME       takes NAME of the layers below away: a character device 0/0 called NAME
//! .wh..wh..opq   takes all of its directory away that lies below: trusted.overlay.opaque=y on the directory
//! ```
//!
//! Both only ever hide what is below, never what the same layer brings, wherever they are in the archive.
//! Some of that form depends on the layers below, so a layer is [read](unpack::unpack) first and
//! [settled](stack::settle) on its place in an image afterwards.

pub mod archive;
mod headers;
pub mod stack;
#[cfg(test)]
mod tests;
pub mod unpack;

use formats::tree::{Kind, Metadata, Node, Tree};
use std::collections::BTreeSet;

/// The attribute by which overlayfs knows that a directory hides those of its name below.
pub const OPAQUE: &str = "trusted.overlay.opaque";
/// Attributes that overlayfs takes as its own.
const RESERVED: &str = "trusted.overlay.";

/// Bounds on what an archive may ask of the build host; the compressed form of an archive tells nothing of
/// its size.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most bytes of one uncompressed archive, which go to the build's scratch space.
    pub archive: u64,
    /// Most bytes of all headers of one archive: names, attributes and everything else that is held in
    /// memory, but no file's content.
    pub headers: u64,
}

impl Limits {
    /// 32 GiB, and 1 GiB of headers: some million files. Real layers stay far below both.
    pub const DEFAULT: Limits = Limits {
        archive: 32 << 30,
        headers: 1 << 30,
    };
}

/// What one archive says, before it is known what lies below.
#[derive(Clone, Debug)]
pub struct Layer {
    /// What the archive brings. Opaque directories are marked; whiteouts are not in it.
    tree: Tree,
    /// Directories that the archive does not describe, only what is in them. They keep what the layers below
    /// say of them.
    implicit: BTreeSet<String>,
    /// Paths that are not to be seen any more.
    whiteouts: BTreeSet<String>,
    /// Whether the root hides all below. Overlayfs knows no opaque root.
    opaque_root: bool,
}

/// Whether the entry stands for the absence of one below it.
fn is_whiteout(node: &Node) -> bool {
    matches!(node.kind, Kind::CharDevice(0, 0))
}

fn is_directory(node: &Node) -> bool {
    matches!(node.kind, Kind::Directory)
}

fn is_opaque(meta: &Metadata) -> bool {
    meta.xattrs.contains_key(OPAQUE)
}

/// The directories on the way to `path`, the outermost first, without the root and `path` itself.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}
