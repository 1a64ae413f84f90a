//! The superblock: 128 bytes at byte 1024 of the image.
//!
//! ```text
//!  0 magic   4 checksum   8 compatible features   12 log2 of the block size   13 extra slots   14 root nid
//! 16 number of inodes   24 build time, seconds   32 nanoseconds   36 number of blocks
//! 40 first metadata block   44 first block of shared extended attributes   48 UUID   64 volume name
//! 80 incompatible features   84 … fields of features that are not used here
//! ```

use super::format::{BLOCK_LEN, crc32c};
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
/// Incompatible features that are read: none. Compression, chunks, further devices and long prefixes of
/// attribute names each change what the fields of an inode mean.
const INCOMPAT_KNOWN: u32 = 0;

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
}

impl Superblock {
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
        // Over the rest of the block, with the checksum's own field still zero.
        let checksum = crc32c(bytes);
        put(bytes, 4, &checksum.to_le_bytes());
        block
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
        if u32_le(&bytes, 80) & !INCOMPAT_KNOWN != 0 {
            return Err(Error::Unsupported("compression, chunks or further devices"));
        }
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
        })
    }
}
