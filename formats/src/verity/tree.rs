//! Building a hash tree while the data streams past.

use super::hash::Hasher;
use super::superblock::Superblock;
use super::{BLOCK, BLOCK_LEN, Error, HASH_LEN, HASHES, Hash, MAX_SALT, size};
use std::io::{self, Write};

/// How much data is gathered before it is hashed, in bytes: enough to give every processor its share.
const GATHER: usize = 4 << 20;

/// Takes data in pieces of any size. Only hashes are kept: 1/128 of the data.
#[derive(Debug)]
pub struct HashTree {
    superblock: Superblock,
    hasher: Hasher,
    gathered: Vec<u8>,
    hashes: Vec<Hash>,
}

/// A finished hash tree.
#[derive(Clone, Debug)]
pub struct Verity {
    /// The hash that stands for all of the data.
    pub root_hash: [u8; HASH_LEN],
    superblock: Superblock,
    /// Hashes of each level, from those of data blocks up.
    levels: Vec<Vec<Hash>>,
}

impl HashTree {
    /// An empty tree whose volume will have this salt and this UUID, in the order in which it is printed.
    pub fn new(salt: &[u8], uuid: [u8; 16]) -> Result<Self, Error> {
        if salt.len() > MAX_SALT {
            return Err(Error::Salt(salt.len()));
        }
        Ok(HashTree {
            superblock: Superblock {
                uuid,
                data_blocks: 0,
                salt: salt.to_vec(),
            },
            hasher: Hasher::new(salt),
            gathered: Vec::new(),
            hashes: Vec::new(),
        })
    }

    /// Takes the next bytes of the data.
    pub fn update(&mut self, mut data: &[u8]) {
        if !self.gathered.is_empty() {
            let (now, later) = data.split_at(data.len().min(GATHER - self.gathered.len()));
            self.gathered.extend_from_slice(now);
            data = later;
            if self.gathered.len() == GATHER {
                self.hasher.blocks(&self.gathered, &mut self.hashes);
                self.gathered.clear();
            }
        }
        if data.len() >= GATHER {
            let (now, later) = data.split_at(data.len() - data.len() % BLOCK_LEN);
            self.hasher.blocks(now, &mut self.hashes);
            data = later;
        }
        self.gathered.extend_from_slice(data);
    }

    /// Ends the data, which must be one or more whole blocks.
    pub fn finish(mut self) -> Result<Verity, Error> {
        let rest = self.gathered.len();
        let len = self.hashes.len() as u64 * BLOCK + rest as u64;
        if len == 0 || !rest.is_multiple_of(BLOCK_LEN) {
            return Err(Error::Length(len));
        }
        self.hasher.blocks(&self.gathered, &mut self.hashes);
        self.superblock.data_blocks = self.hashes.len() as u64;
        let mut levels = vec![self.hashes];
        while let Some(below) = levels.last().filter(|below| below.len() > 1) {
            let level = blocks(below)
                .map(|block| self.hasher.block(&block))
                .collect();
            levels.push(level);
        }
        // The level that is left with one hash has no block of its own: that hash is the root hash.
        let root_hash = levels.pop().and_then(|top| top.first().copied());
        Ok(Verity {
            root_hash: root_hash.expect("there is at least one data block"),
            superblock: self.superblock,
            levels,
        })
    }
}

/// Data that is written to a tree is hashed; so a tree can be one side of a tee.
impl Write for HashTree {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.update(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Verity {
    /// Size of the hash volume in bytes.
    pub fn size(&self) -> u64 {
        size(self.superblock.data_blocks)
    }

    /// What the hash volume will say of itself.
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// Writes the hash volume, exactly [`Verity::size`] bytes.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.superblock.to_block())?;
        for level in self.levels.iter().rev() {
            for block in blocks(level) {
                out.write_all(&block)?;
            }
        }
        Ok(())
    }
}

/// The blocks that hold the hashes of a level.
fn blocks(level: &[Hash]) -> impl Iterator<Item = [u8; BLOCK_LEN]> {
    level.chunks(HASHES as usize).map(|hashes| {
        let mut block = [0; BLOCK_LEN];
        for (place, hash) in block.chunks_exact_mut(HASH_LEN).zip(hashes) {
            place.copy_from_slice(hash);
        }
        block
    })
}
