//! Checking a volume against its hash tree and its root hash.

use super::hash::Hasher;
use super::superblock::Superblock;
use super::{BLOCK, BLOCK_LEN, Error, HASH_LEN, level_blocks};
use crate::read_at::ReadAt;
use std::io;

/// How many blocks are read and hashed at once.
const PIECE: u64 = 1024;

/// Checks all blocks from the top of the tree down to the data, and names the first that is damaged.
/// Both volumes may be larger than the superblock says. Yields the superblock; the root hash vouches for its
/// salt and its number of blocks, not for its UUID.
pub fn verify(
    data: &impl ReadAt,
    hashes: &impl ReadAt,
    root_hash: &[u8; HASH_LEN],
) -> Result<Superblock, Error> {
    let first = hashes.read_vec_at(0, BLOCK_LEN).map_err(Error::Hashes)?;
    let first = first.first_chunk().ok_or(Error::Superblock("is missing"))?;
    let superblock = Superblock::parse(first)?;
    let has = data.size().map_err(Error::Data)? / BLOCK;
    if superblock.data_blocks == 0 || superblock.data_blocks > has {
        return Err(Error::Superblock("counts more data blocks than there are"));
    }
    let hasher = Hasher::new(&superblock.salt);
    let levels = level_blocks(superblock.data_blocks);
    // Where the hashes of the level at hand are; those of the top level are the root hash alone. The top level
    // itself comes right after the superblock.
    let mut expected = Expected::Root(root_hash);
    let mut start = 1;
    for (level, count) in levels.into_iter().enumerate().rev() {
        let read = |buf: &mut [u8], block: u64| {
            let position = (start + block) * BLOCK;
            hashes.read_exact_at(buf, position).map_err(Error::Hashes)
        };
        if let Some(block) = first_damaged(&hasher, count, read, &expected)? {
            let block = start + block;
            return Err(Error::HashBlock { block, level });
        }
        expected = Expected::At(hashes, start * BLOCK);
        start += count;
    }
    let read = |buf: &mut [u8], block: u64| {
        let position = block * BLOCK;
        data.read_exact_at(buf, position).map_err(Error::Data)
    };
    match first_damaged(&hasher, superblock.data_blocks, read, &expected)? {
        Some(block) => Err(Error::DataBlock { block }),
        None => Ok(superblock),
    }
}

/// Where the hashes of a level's blocks are.
enum Expected<'a, R> {
    Root(&'a [u8; HASH_LEN]),
    /// One after the other, from this byte on: a block of hashes is full before the next one begins.
    At(&'a R, u64),
}

impl<R: ReadAt> Expected<'_, R> {
    fn read(&self, first: u64, count: usize) -> io::Result<Vec<u8>> {
        match self {
            Expected::Root(hash) => Ok(hash.to_vec()),
            Expected::At(hashes, start) => {
                hashes.read_vec_at(start + first * HASH_LEN as u64, count * HASH_LEN)
            }
        }
    }
}

/// The first of a level's `count` blocks whose hash is not the expected one.
fn first_damaged<R: ReadAt>(
    hasher: &Hasher,
    count: u64,
    read: impl Fn(&mut [u8], u64) -> Result<(), Error>,
    expected: &Expected<'_, R>,
) -> Result<Option<u64>, Error> {
    let mut buf = Vec::new();
    let mut found = Vec::new();
    for first in (0..count).step_by(PIECE as usize) {
        let blocks = (count - first).min(PIECE) as usize;
        buf.resize(blocks * BLOCK_LEN, 0);
        read(&mut buf, first)?;
        found.clear();
        hasher.blocks(&buf, &mut found);
        let expected = expected.read(first, blocks).map_err(Error::Hashes)?;
        let mut pairs = found.iter().zip(expected.chunks_exact(HASH_LEN));
        if let Some(index) = pairs.position(|(found, expected)| found != expected) {
            return Ok(Some(first + index as u64));
        }
    }
    Ok(None)
}
