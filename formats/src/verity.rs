//! dm-verity: a tree of hashes over a volume, so that the kernel finds every changed block when it reads it.
//!
//! The data streams through a [`HashTree`] on its way to the disk; what comes out goes to a partition of its
//! own, byte for byte what `veritysetup format` makes with SHA-256 and blocks of 4096 bytes:
//!
//! ```text
//! block 0   superblock: 512 bytes, then zeros
//! block 1   the top level, one block; its hash is the root hash
//! …         each level below, down to the one that holds the hash of every data block
//! ```
//!
//! A block's hash is SHA-256 over the salt and the block. A block of a level holds 128 hashes, the last one
//! filled with zeros. One data block alone has no level at all: its hash is the root hash.
//! The format is described in the kernel's `Documentation/admin-guide/device-mapper/verity.rst`.
//! Not here: forward error correction, signatures of the root hash, hashes behind the data on one volume.

mod hash;
mod superblock;
mod tree;
mod verify;

pub use superblock::Superblock;
pub use tree::{HashTree, Verity};
pub use verify::verify;

use std::io;

/// Size of a block of data, and of a block of hashes, in bytes.
pub const BLOCK: u64 = 4096;
const BLOCK_LEN: usize = 4096;

/// The longest salt that a superblock can hold, in bytes.
pub const MAX_SALT: usize = 256;

/// Length of a hash in bytes.
const HASH_LEN: usize = 32;
/// How many hashes a block holds.
const HASHES: u64 = 128;

type Hash = [u8; HASH_LEN];

/// Why there is no hash tree, or why data and tree do not belong together.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The salt does not fit into the superblock.
    #[error("a salt of {0} bytes is longer than 256")]
    Salt(usize),
    /// The data is empty or does not end with a whole block.
    #[error("{0} bytes of data cannot be hashed: they are not one or more blocks of 4096")]
    Length(u64),
    /// The data cannot be read.
    #[error("reading the data")]
    Data(#[source] io::Error),
    /// The hash volume cannot be read.
    #[error("reading the hash volume")]
    Hashes(#[source] io::Error),
    /// There is no verity superblock, or it is of a kind that is not made here.
    #[error("the hash volume's superblock {0}")]
    Superblock(&'static str),
    /// A block of the hash tree is not the one that the root hash stands for.
    #[error(
        "block {block} of the hash volume (level {level}) is damaged, or the root hash is another volume's"
    )]
    HashBlock {
        /// Number of the block in the hash volume.
        block: u64,
        /// Its level; 0 holds the hashes of data blocks.
        level: usize,
    },
    /// A data block is not the one that was hashed.
    #[error("data block {block} (byte {offset}) is damaged", offset = .block * BLOCK)]
    DataBlock {
        /// Number of the block.
        block: u64,
    },
}

/// Size in bytes of the hash volume for so many data blocks, superblock included.
pub fn size(data_blocks: u64) -> u64 {
    let levels: u64 = level_blocks(data_blocks).iter().sum();
    (1 + levels).saturating_mul(BLOCK)
}

/// How many blocks each level has, from the one over the data up to the single block at the top.
fn level_blocks(data_blocks: u64) -> Vec<u64> {
    let mut levels = Vec::new();
    let mut below = data_blocks;
    while below > 1 {
        below = below.div_ceil(HASHES);
        levels.push(below);
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_shrink_to_one_block() {
        for (data_blocks, levels) in [
            (0, vec![]),
            (1, vec![]),
            (2, vec![1]),
            (128, vec![1]),
            (129, vec![2, 1]),
            (128 * 128, vec![128, 1]),
            (128 * 128 + 1, vec![129, 2, 1]),
        ] {
            assert_eq!(level_blocks(data_blocks), levels, "{data_blocks}");
        }
        assert_eq!(size(1), 4096);
        assert_eq!(size(129), 4 * 4096);
        assert_eq!(size(u64::MAX), u64::MAX);
    }
}
