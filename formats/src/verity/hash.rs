//! Hashing many blocks on all processors.

use super::{BLOCK_LEN, Hash};
use sha2::{Digest, Sha256};
use std::num::NonZero;
use std::thread;

/// More threads than this are faster than any disk that the data comes from.
const MAX_THREADS: usize = 16;
/// The least work for which a thread is worth starting: 256 KiB.
const LEAST_BLOCKS: usize = 64;

/// Hashes blocks after one salt. The result does not depend on the number of threads.
#[derive(Clone, Debug)]
pub(super) struct Hasher {
    /// The state after the salt.
    salted: Sha256,
    threads: usize,
}

impl Hasher {
    pub(super) fn new(salt: &[u8]) -> Self {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        Hasher {
            salted: Sha256::new_with_prefix(salt),
            threads: threads.min(MAX_THREADS),
        }
    }

    /// The hash of one block.
    pub(super) fn block(&self, block: &[u8]) -> Hash {
        self.salted.clone().chain_update(block).finalize().into()
    }

    /// Appends the hash of each block of `data`, which consists of whole blocks.
    pub(super) fn blocks(&self, data: &[u8], hashes: &mut Vec<Hash>) {
        let count = data.len() / BLOCK_LEN;
        let start = hashes.len();
        hashes.resize(start + count, Hash::default());
        let share = count.div_ceil(self.threads).max(LEAST_BLOCKS);
        let data = data.chunks(share * BLOCK_LEN);
        let mut shares = data.zip(hashes[start..].chunks_mut(share));
        let own = shares.next();
        thread::scope(|scope| {
            for (data, hashes) in shares {
                scope.spawn(|| self.fill(data, hashes));
            }
            if let Some((data, hashes)) = own {
                self.fill(data, hashes);
            }
        });
    }

    fn fill(&self, data: &[u8], hashes: &mut [Hash]) {
        for (block, hash) in data.chunks_exact(BLOCK_LEN).zip(hashes) {
            *hash = self.block(block);
        }
    }
}
