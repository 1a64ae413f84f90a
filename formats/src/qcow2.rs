//! qcow2 images, version 3, as virtual machine hosts import them (QEMU, `docs/interop/qcow2.txt`).
//!
//! [`write()`] goes over the disk once and compresses every cluster that holds data:
//!
//! ```text
//! cluster 0      header
//! L1 table       per 512 MiB of the disk the offset of an L2 table, or 0
//! data           compressed clusters one behind the other, and, on borders of clusters, those that do not
//!                shrink
//! L2 tables      per cluster of the disk its place in the file, or 0
//! refcount table, refcount blocks: how often each cluster of the file is used
//! ```
//!
//! Header and L1 table are written last, when the places of all others are known. No snapshots, backing files
//! or encryption: an image with any of these is refused by [`Image::open`], and named.

mod read;
mod write;

pub use read::Image;
pub use write::write;

const NAME: &str = "qcow2";
const MAGIC: [u8; 4] = *b"QFI\xfb";
const VERSION: u32 = 3;
/// An entry's cluster has a refcount of one, so that it is written in place.
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
/// Incompatible feature: the compression is not deflate, but what the header names.
const FEATURE_COMPRESSION: u64 = 1 << 3;
/// QEMU's own limit on the size of an L1 table, in entries.
const MAX_L1: u64 = (32 << 20) / 8;
/// Sectors of compressed clusters are always of this size.
const SECTOR: u64 = crate::disk::SECTOR;

/// How clusters are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compression {
    /// zstd: smaller, and several times faster to write and to read. QEMU reads it since 5.1 (2020).
    Zstd,
    /// deflate, which everything that knows qcow2 reads.
    Deflate,
}

impl Compression {
    /// As the header has it.
    const fn number(self) -> u8 {
        match self {
            Compression::Deflate => 0,
            Compression::Zstd => 1,
        }
    }
}

/// How many bits of a compressed cluster's L2 entry hold its offset; the others count sectors.
const fn offset_bits(cluster_bits: u32) -> u32 {
    62 - (cluster_bits - 8)
}
