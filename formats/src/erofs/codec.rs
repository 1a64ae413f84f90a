//! One extent, compressed and back.
//!
//! ```text
//! zeros | one LZ4 block, or one Zstandard frame
//! ```
//!
//! The compressed bytes end where their last block of 4096 bytes ends, and what is left of the first block
//! is zeros: the format's "zero padding". Neither an LZ4 block nor a Zstandard frame starts with a zero byte.

use super::format::{BLOCK, BLOCK_LEN};
use std::io;

/// How the data of files is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compression {
    /// LZ4: unpacked fastest.
    Lz4,
    /// Zstandard: smaller. Linux reads it since 6.10.
    Zstd {
        /// What the library takes: 1 is fast, 19 is small and slow.
        level: i32,
    },
}

impl Default for Compression {
    /// Zstandard at its own default level.
    fn default() -> Self {
        Compression::Zstd { level: 3 }
    }
}

impl Compression {
    /// What a reader needs to know of it.
    pub fn algorithm(self) -> Algorithm {
        match self {
            Compression::Lz4 => Algorithm::Lz4,
            Compression::Zstd { .. } => Algorithm::Zstd,
        }
    }
}

/// What undoes a [`Compression`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// LZ4 blocks.
    Lz4,
    /// Zstandard frames.
    Zstd,
}

impl Algorithm {
    /// Those that are known, by their numbers in the format.
    const TABLE: [(Algorithm, u8); 2] = [(Algorithm::Lz4, 0), (Algorithm::Zstd, 3)];

    /// The number by which an image names it.
    pub(super) fn number(self) -> u8 {
        let row = Self::TABLE.iter().find(|row| row.0 == self);
        row.expect("the table has a row for every algorithm").1
    }

    pub(super) fn from_number(number: u8) -> Option<Self> {
        let row = Self::TABLE.iter().find(|row| row.1 == number)?;
        Some(row.0)
    }

    /// Its bit among the algorithms that a superblock names.
    pub(super) fn bit(self) -> u16 {
        1 << self.number()
    }
}

/// Compresses extents, one after the other; each comes out the same whatever came before.
pub(super) struct Encoder {
    kind: Kind,
    buffer: Vec<u8>,
}

enum Kind {
    Lz4,
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Encoder {
    pub(super) fn new(compression: Compression) -> io::Result<Self> {
        let kind = match compression {
            Compression::Lz4 => Kind::Lz4,
            Compression::Zstd { level } => Kind::Zstd(zstd::bulk::Compressor::new(level)?),
        };
        Ok(Encoder {
            kind,
            buffer: Vec::new(),
        })
    }

    /// Whole blocks that hold `data`; `None` unless they are fewer than those that hold it as it is.
    pub(super) fn encode(&mut self, data: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let len = match &mut self.kind {
            Kind::Lz4 => {
                let bound = lz4_flex::block::get_maximum_output_size(data.len());
                self.buffer.resize(bound, 0);
                lz4_flex::block::compress_into(data, &mut self.buffer).map_err(io::Error::other)?
            }
            Kind::Zstd(compressor) => {
                self.buffer
                    .resize(zstd::zstd_safe::compress_bound(data.len()), 0);
                compressor.compress_to_buffer(data, self.buffer.as_mut_slice())?
            }
        };
        let room = len.next_multiple_of(BLOCK_LEN);
        if len == 0 || room >= data.len().next_multiple_of(BLOCK_LEN) {
            return Ok(None);
        }
        let mut blocks = Vec::with_capacity(room);
        blocks.resize(room - len, 0);
        blocks.extend_from_slice(&self.buffer[..len]);
        Ok(Some(blocks))
    }
}

/// The `len` bytes that were compressed to `blocks`; `Err` says what is wrong with them.
pub(super) fn decode(
    algorithm: Algorithm,
    blocks: &[u8],
    len: usize,
) -> Result<Vec<u8>, &'static str> {
    const BAD: &str = "compressed data of it is damaged";
    let padding = blocks.iter().take(BLOCK_LEN).take_while(|byte| **byte == 0);
    let packed = &blocks[padding.count()..];
    let data = match algorithm {
        Algorithm::Lz4 => {
            let mut data = vec![0; len];
            let found = lz4_flex::block::decompress_into(packed, &mut data).map_err(|_| BAD)?;
            data.truncate(found);
            data
        }
        Algorithm::Zstd => zstd::bulk::decompress(packed, len).map_err(|_| BAD)?,
    };
    match data.len() == len {
        true => Ok(data),
        false => Err("compressed data of it has another length than it should"),
    }
}

/// How many blocks hold `len` bytes.
pub(super) fn blocks_for(len: u64) -> u64 {
    len.div_ceil(BLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Compression; 3] = [
        Compression::Lz4,
        Compression::Zstd { level: 1 },
        Compression::Zstd { level: 19 },
    ];

    proptest! {
        #[test]
        fn extents_are_read_back(
            word in prop::collection::vec(any::<u8>(), 1..40),
            len in 1..70_000_usize,
        ) {
            let data: Vec<u8> = word.iter().copied().cycle().take(len).collect();
            for compression in ALL {
                let mut encoder = Encoder::new(compression).unwrap();
                let Some(blocks) = encoder.encode(&data).unwrap() else {
                    prop_assert!(len <= BLOCK_LEN, "{compression:?} does not shrink {len} bytes");
                    continue;
                };
                prop_assert_eq!(blocks.len() % BLOCK_LEN, 0);
                let algorithm = compression.algorithm();
                prop_assert_eq!(decode(algorithm, &blocks, len), Ok(data.clone()));
                prop_assert!(decode(algorithm, &blocks, len + 1).is_err());
                prop_assert!(decode(algorithm, &blocks, len - 1).is_err());
            }
        }

        #[test]
        fn garbage_is_refused_or_read(
            blocks in prop::collection::vec(any::<u8>(), 0..200),
            len in 0..5000_usize,
        ) {
            for compression in ALL {
                let _ = decode(compression.algorithm(), &blocks, len);
            }
        }
    }
}
