//! The superblock: 128 bytes at byte 1024 of the image.
//!
//! ```text
//!  0 magic   4 checksum   8 compatible features   12 log2 of the block size   13 extra slots   14 root nid
//! 16 number of inodes   24 build time, seconds   32 nanoseconds   36 number of blocks
//! 40 first metadata block   44 first block of shared extended attributes   48 UUID   64 volume name
//! 80 incompatible features   84 u16 algorithms of compression, a bit each   86 … fields that are not used
//! 128 for each algorithm in the order of its bit: u16 length, and so many bytes of configuration
//! ```
//!
//! LZ4's configuration of 14 bytes starts with u16 the farthest distance that a match looks back, and u16 the
//! number of blocks of the largest extent; Zstandard's of 6 bytes with u8 the format, 0, and u8 log2 of the
//! window, minus 10.

use super::codec::Algorithm;
use super::compress::EXTENT;
use super::format::{BLOCK, BLOCK_LEN, crc32c};
use super::read::Error;
use crate::bytes::{put, u16_le, u32_le, u64_le};

/// Where the superblock starts, in bytes.
pub(super) const OFFSET: usize = 1024;
const SIZE: usize = 128;
const MAGIC: u32 = 0xe0f5_e1e2;
const BLOCK_BITS: u8 = 12;

/// The checksum field is valid.
const COMPAT_CHECKSUM: u32 = 1;
/// Inodes hold modification times, not change times.
const COMPAT_MTIME: u32 = 2;
/// Compressed data ends where its last block ends.
const INCOMPAT_ZERO_PADDING: u32 = 1;
/// The superblock names the algorithms, and extents may have more than one block.
const INCOMPAT_COMPRESSION: u32 = 2;
/// Incompatible features that are read. Chunks, further devices, fragments, packed tails and long prefixes
/// of attribute names each change what the fields of an inode mean.
const INCOMPAT_KNOWN: u32 = INCOMPAT_ZERO_PADDING | INCOMPAT_COMPRESSION;

/// How far an LZ4 match may look back, in bytes: as far as its 16 bits go.
const LZ4_DISTANCE: u16 = u16::MAX;

/// The fields of a superblock that are in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Identity of the file system, in the order in which it is printed.
    pub uuid: [u8; 16],
    /// Name of the volume, padded with NUL.
    pub label: [u8; 16],
    /// Build time, seconds since 1970.
    pub build_time: i64,
    /// How many inodes there are.
    pub inodes: u64,
    /// How many blocks of 4096 bytes the image has.
    pub blocks: u32,
    /// Slot of the root directory's inode.
    pub root_nid: u16,
    /// Block from which slots are counted.
    pub meta_block: u32,
    /// Block from which shared extended attributes are counted.
    pub xattr_block: u32,
    /// The algorithms that compressed files may use, a bit each.
    pub(super) algorithms: u16,
}

impl Superblock {
    /// Whether files may be compressed by `algorithm`.
    pub fn has(&self, algorithm: Algorithm) -> bool {
        self.algorithms & algorithm.bit() != 0
    }

    /// The whole first block of an image.
    pub(super) fn to_block(&self) -> [u8; BLOCK_LEN] {
        let mut block = [0; BLOCK_LEN];
        let bytes = &mut block[OFFSET..];
        put(bytes, 0, &MAGIC.to_le_bytes());
        put(bytes, 8, &(COMPAT_CHECKSUM | COMPAT_MTIME).to_le_bytes());
        put(bytes, 12, &[BLOCK_BITS]);
        put(bytes, 14, &self.root_nid.to_le_bytes());
        put(bytes, 16, &self.inodes.to_le_bytes());
        put(bytes, 24, &self.build_time.to_le_bytes());
        put(bytes, 36, &self.blocks.to_le_bytes());
        put(bytes, 40, &self.meta_block.to_le_bytes());
        put(bytes, 44, &self.xattr_block.to_le_bytes());
        put(bytes, 48, &self.uuid);
        put(bytes, 64, &self.label);
        if self.algorithms != 0 {
            let features = INCOMPAT_ZERO_PADDING | INCOMPAT_COMPRESSION;
            put(bytes, 80, &features.to_le_bytes());
            put(bytes, 84, &self.algorithms.to_le_bytes());
            put(bytes, SIZE, &self.configurations());
        }
        // Over the rest of the block, with the checksum's own field still zero.
        let checksum = crc32c(bytes);
        put(bytes, 4, &checksum.to_le_bytes());
        block
    }

    /// The configurations of the algorithms.
    fn configurations(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if self.has(Algorithm::Lz4) {
            let blocks = (EXTENT / BLOCK) as u16;
            bytes.extend_from_slice(&14_u16.to_le_bytes());
            bytes.extend_from_slice(&LZ4_DISTANCE.to_le_bytes());
            bytes.extend_from_slice(&blocks.to_le_bytes());
            bytes.extend_from_slice(&[0; 10]);
        }
        if self.has(Algorithm::Zstd) {
            // A window is never larger than what there is to look back on.
            let window = EXTENT.ilog2() as u8 - 10;
            bytes.extend_from_slice(&6_u16.to_le_bytes());
            bytes.extend_from_slice(&[0, window, 0, 0, 0, 0]);
        }
        bytes
    }

    /// Reads the first block of an image.
    pub(super) fn parse(block: &[u8; BLOCK_LEN]) -> Result<Self, Error> {
        let mut bytes = block[OFFSET..].to_vec();
        if u32_le(&bytes, 0) != MAGIC {
            return Err(Error::NotErofs);
        }
        if bytes[12] != BLOCK_BITS {
            return Err(Error::Unsupported("blocks of another size than 4096 bytes"));
        }
        let checksum = u32_le(&bytes, 4);
        bytes[4..8].fill(0);
        if u32_le(&bytes, 8) & COMPAT_CHECKSUM != 0 && crc32c(&bytes) != checksum {
            return Err(Error::Checksum);
        }
        bytes.truncate(SIZE);
        let features = u32_le(&bytes, 80);
        if features & !INCOMPAT_KNOWN != 0 {
            return Err(Error::Unsupported(
                "chunks, further devices, fragments or packed tails",
            ));
        }
        let named = match features & INCOMPAT_COMPRESSION {
            0 => Algorithm::Lz4.bit(),
            _ => u16_le(&bytes, 84),
        };
        // LZ4 was without the padding once, and its blocks then end nobody knows where.
        let algorithms = match features & INCOMPAT_ZERO_PADDING {
            0 => named & !Algorithm::Lz4.bit(),
            _ => named,
        };
        let array = |at: usize| u128::from_le_bytes(*bytes[at..].first_chunk().unwrap_or(&[0; 16]));
        Ok(Superblock {
            uuid: array(48).to_le_bytes(),
            label: array(64).to_le_bytes(),
            build_time: u64_le(&bytes, 24).cast_signed(),
            inodes: u64_le(&bytes, 16),
            blocks: u32_le(&bytes, 36),
            root_nid: u16_le(&bytes, 14),
            meta_block: u32_le(&bytes, 40),
            xattr_block: u32_le(&bytes, 44),
            algorithms,
        })
    }
}
