//! Where inodes go: a best fit among the last few blocks of metadata.
//!
//! An inode, its attributes and its tail are one piece, and a piece of up to a block never crosses a block's
//! end, since the kernel reads a tail from one block. Taking the fullest block into which a piece fits wastes
//! less than a percent; looking only at the last few blocks keeps what is close in the tree close on disk.

use super::format::{BLOCK, SLOT, round_up};
use std::collections::VecDeque;

/// How many blocks are kept open for smaller pieces.
const WINDOW: usize = 32;

/// Gives out positions to pieces of metadata.
#[derive(Debug)]
pub(super) struct Packer {
    /// Where the next block starts, in bytes.
    end: u64,
    /// Position and size of the free part at the end of each open block, oldest first.
    open: VecDeque<(u64, u64)>,
}

impl Packer {
    /// Positions are given out from `start`, which is the start of a block.
    pub(super) fn new(start: u64) -> Self {
        Packer {
            end: start,
            open: VecDeque::new(),
        }
    }

    /// The position, a multiple of [`SLOT`], for a piece of `len` bytes.
    pub(super) fn place(&mut self, len: u64) -> u64 {
        let len = round_up(len, SLOT);
        let fits = (0..self.open.len()).filter(|i| self.open[*i].1 >= len);
        let best = fits.min_by_key(|i| self.open[*i].1);
        let (position, free) = match best.and_then(|i| self.open.remove(i)) {
            Some(place) => place,
            None => {
                let position = self.end;
                self.end += round_up(len, BLOCK);
                (position, self.end - position)
            }
        };
        if free > len {
            self.open.push_back((position + len, free - len));
        }
        if self.open.len() > WINDOW {
            self.open.pop_front();
        }
        position
    }

    /// Where the last block ends, in bytes.
    pub(super) fn end(&self) -> u64 {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_never_overlap_nor_cross_a_block(
            lens in prop::collection::vec(prop_oneof![1..200_u64, 1..9000_u64], 1..300),
        ) {
            let mut packer = Packer::new(BLOCK);
            let mut pieces: Vec<(u64, u64)> = lens.iter().map(|len| (packer.place(*len), *len)).collect();
            prop_assert_eq!(pieces[0].0, BLOCK);
            pieces.sort();
            for (position, len) in &pieces {
                prop_assert_eq!(position % SLOT, 0);
                prop_assert!(position + len <= packer.end());
                if *len <= BLOCK {
                    prop_assert!(position % BLOCK + len <= BLOCK);
                }
            }
            for pair in pieces.windows(2) {
                prop_assert!(pair[0].0 + pair[0].1 <= pair[1].0);
            }
        }
    }
}
