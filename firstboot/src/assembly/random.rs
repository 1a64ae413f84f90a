//! A generator of random numbers, so that a core with the same seed does the same.

use sha2::{Digest, Sha256};

/// SHA-256 over a seed and a counter. What it gives is as hard to guess as its seed.
#[derive(Clone, Debug)]
pub struct Random {
    seed: [u8; 32],
    drawn: u64,
}

impl Random {
    /// A generator from a seed, which the caller takes from the operating system.
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed, drawn: 0 }
    }

    /// Sixteen random bytes.
    pub fn bytes(&mut self) -> [u8; 16] {
        let block = Sha256::new()
            .chain_update(self.seed)
            .chain_update(self.drawn.to_le_bytes())
            .finalize();
        self.drawn += 1;
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&block[..16]);
        bytes
    }

    /// A random number.
    pub fn number(&mut self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.bytes();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// A random time below `limit`.
    pub fn below(&mut self, limit: std::time::Duration) -> std::time::Duration {
        limit.mul_f64((self.number() >> 11) as f64 / (1_u64 << 53) as f64)
    }
}
