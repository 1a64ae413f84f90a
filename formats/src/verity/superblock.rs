//! The superblock of a hash volume: 512 bytes at its start.
//!
//! ```text
//!  0 signature   8 version   12 type of hash   16 UUID   32 algorithm
//! 64 data block size   68 hash block size   72 number of data blocks   80 length of the salt   88 salt
//! ```

use super::{BLOCK, BLOCK_LEN, Error, MAX_SALT};
use crate::bytes::{put, u16_le, u32_le, u64_le};

const SIGNATURE: &[u8; 8] = b"verity\0\0";
const ALGORITHM: &[u8; 7] = b"sha256\0";
/// The salt is hashed before the block, not after it as in the first version.
const SALT_FIRST: u32 = 1;

/// What a hash volume says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Identity of the hash volume, in the order in which it is printed.
    pub uuid: [u8; 16],
    /// How many blocks of data were hashed.
    pub data_blocks: u64,
    /// What is hashed before each block.
    pub salt: Vec<u8>,
}

impl Superblock {
    /// The whole first block of a hash volume. The salt is known to fit.
    pub(super) fn to_block(&self) -> [u8; BLOCK_LEN] {
        let block_size = u32::try_from(BLOCK).expect("4096 fits into 32 bits");
        let salt_len = u16::try_from(self.salt.len()).expect("a salt has at most 256 bytes");
        let mut block = [0; BLOCK_LEN];
        put(&mut block, 0, SIGNATURE);
        put(&mut block, 8, &1_u32.to_le_bytes());
        put(&mut block, 12, &SALT_FIRST.to_le_bytes());
        put(&mut block, 16, &self.uuid);
        put(&mut block, 32, ALGORITHM);
        put(&mut block, 64, &block_size.to_le_bytes());
        put(&mut block, 68, &block_size.to_le_bytes());
        put(&mut block, 72, &self.data_blocks.to_le_bytes());
        put(&mut block, 80, &salt_len.to_le_bytes());
        put(&mut block, 88, &self.salt);
        block
    }

    /// Reads the first block of a hash volume.
    pub(super) fn parse(block: &[u8; BLOCK_LEN]) -> Result<Self, Error> {
        if !block.starts_with(SIGNATURE) {
            return Err(Error::Superblock("is missing"));
        }
        if (u32_le(block, 8), u32_le(block, 12)) != (1, SALT_FIRST) {
            return Err(Error::Superblock("is of a version other than 1"));
        }
        if !block[32..].starts_with(ALGORITHM) {
            return Err(Error::Superblock("names another algorithm than sha256"));
        }
        if [u32_le(block, 64), u32_le(block, 68)].map(u64::from) != [BLOCK; 2] {
            return Err(Error::Superblock("names another block size than 4096"));
        }
        let salt_len = usize::from(u16_le(block, 80));
        if salt_len > MAX_SALT {
            return Err(Error::Superblock("has a salt of more than 256 bytes"));
        }
        let uuid = u128::from_le_bytes(*block[16..].first_chunk().unwrap_or(&[0; 16]));
        Ok(Superblock {
            uuid: uuid.to_le_bytes(),
            data_blocks: u64_le(block, 72),
            salt: block[88..88 + salt_len].to_vec(),
        })
    }
}
