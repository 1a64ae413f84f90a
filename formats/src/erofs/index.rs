//! The index of a compressed file: which extent each 4096 bytes of its data, a cluster, belong to.
//!
//! ```text
//! after the inode and its attributes, at a multiple of 8:
//!  0 u32   unused here   4 u16 what is used ("advise")   6 u8 algorithms   7 u8 log2 of the cluster, minus 12
//! then     packs of 2 clusters in 8 bytes, up to a multiple of 32; packs of 16 clusters in 32 bytes, as many
//!          as can be; packs of 2 clusters for the rest
//! ```
//!
//! A pack is a bit field for each cluster, of 16 or 14 bits, and a block number at its end. In a field, 12
//! bits are a value and 2 bits the type:
//!
//! | type | the cluster | its value |
//! |---|---|---|
//! | 0, 1 or 3 | has the start of an extent: plain, or by the first or second algorithm | where in the cluster |
//! | 2 | goes on with an extent, as its second cluster | [`COUNT`] and the number of blocks |
//! | 2 | goes on with an extent | the distance to its first cluster; the last of a pack, to the next extent |
//!
//! The extents of a file lie one after the other, so that a pack's block number, which is that of its first
//! start, leads to all. This is the index that Linux calls compact, with "big physical clusters".

use super::codec::Algorithm;
use super::compress::Extents;
use super::format::{BLOCK, round_up};
use crate::bytes::put;

/// Size of the header in bytes.
pub(super) const HEADER: u64 = 8;
/// What the header, and a pack of 2 clusters, are aligned to in bytes.
pub(super) const ALIGN: u64 = 8;
/// Marks a value that is a number of blocks.
pub(super) const COUNT: u16 = 1 << 11;

/// There are packs of 16 clusters.
pub(super) const ADVISE_PACKS_OF_16: u16 = 1;
/// Extents of the first algorithm may have more than one block.
pub(super) const ADVISE_BIG_FIRST: u16 = 2;
/// Plain extents and those of the second algorithm may have more than one block.
pub(super) const ADVISE_BIG_SECOND: u16 = 4;

/// Bits of a cluster's value; the type is above them.
pub(super) const VALUE_BITS: u32 = 12;
pub(super) const PLAIN: u16 = 0;
pub(super) const FIRST: u16 = 1;
pub(super) const REST: u16 = 2;

/// Where the packs of an index are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packs {
    /// Position of the first pack in bytes, a multiple of 8.
    start: u64,
    /// Clusters in the packs of 2 before the first pack of 16.
    before: u64,
    /// Clusters in packs of 16.
    packed: u64,
}

/// One pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pack {
    /// Its position in bytes.
    pub(super) position: u64,
    /// How many clusters it has room for: 2 or 16.
    pub(super) clusters: usize,
}

impl Pack {
    /// Its size in bytes.
    pub(super) fn len(self) -> usize {
        if self.clusters == 16 { 32 } else { 8 }
    }

    /// How many bits each cluster has.
    pub(super) fn bits(self) -> usize {
        (self.len() - 4) * 8 / self.clusters
    }
}

impl Packs {
    /// The packs for so many `clusters` from position `start` on.
    pub(super) fn new(start: u64, clusters: u64, of_16: bool) -> Self {
        let before = (32 - start % 32) / 4 % 8;
        let packed = match clusters.checked_sub(before) {
            Some(rest) if of_16 => rest - rest % 16,
            _ => 0,
        };
        Packs {
            start,
            before,
            packed,
        }
    }

    /// The pack that a cluster is in, and which of its clusters it is.
    pub(super) fn find(self, cluster: u64) -> (Pack, usize) {
        let (base, number, clusters) = if cluster < self.before {
            (self.start, cluster, 2)
        } else if cluster < self.before + self.packed {
            (self.start + self.before * 4, cluster - self.before, 16)
        } else {
            let position = self.start + self.before * 4 + self.packed * 2;
            (position, cluster - self.before - self.packed, 2)
        };
        let mut pack = Pack {
            position: base,
            clusters: if clusters == 16 { 16 } else { 2 },
        };
        pack.position += number / clusters * pack.len() as u64;
        (pack, usize::try_from(number % clusters).unwrap_or(0))
    }

    /// Where the last pack ends, in bytes.
    pub(super) fn end(self, clusters: u64) -> u64 {
        match clusters.checked_sub(1) {
            Some(last) => {
                let (pack, _) = self.find(last);
                pack.position + pack.len() as u64
            }
            None => self.start,
        }
    }
}

/// A cluster that is to be written.
#[derive(Clone, Copy, Debug)]
struct Cluster {
    kind: u16,
    value: u16,
    /// The value if it is the last of a pack.
    last_value: u16,
    /// First block of the extent, if one starts here.
    block: Option<u32>,
}

/// Size of an index with its padding, for data of `size` bytes, after an inode and attributes of `before`
/// bytes.
pub(super) fn len(before: usize, size: u64) -> u64 {
    let clusters = size.div_ceil(BLOCK);
    packs(before, clusters).end(clusters) - before as u64
}

/// Inodes start at multiples of 32, so that their own length tells how what follows is aligned.
fn packs(before: usize, clusters: u64) -> Packs {
    let start = round_up(before as u64, ALIGN) + HEADER;
    Packs::new(start, clusters, true)
}

/// The index of data whose blocks start at `first`, with its padding; as long as [`len`] says.
pub(super) fn render(before: usize, extents: &Extents, first: u32) -> Vec<u8> {
    let total = extents.size().div_ceil(BLOCK);
    let packs = packs(before, total);
    let padding = before.next_multiple_of(8) - before;
    let mut out = vec![0; padding];
    let advise = ADVISE_PACKS_OF_16 | ADVISE_BIG_FIRST | ADVISE_BIG_SECOND;
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&advise.to_le_bytes());
    out.extend_from_slice(&[extents.algorithm().number(), 0]);
    let mut clusters = clusters(extents, first);
    let mut done = 0;
    while done < total {
        let (pack, _) = packs.find(done);
        let taken: Vec<Cluster> = clusters.by_ref().take(pack.clusters).collect();
        render_pack(pack, &taken, &mut out);
        done += pack.clusters as u64;
    }
    out
}

fn render_pack(pack: Pack, clusters: &[Cluster], out: &mut Vec<u8>) {
    let mut bytes = [0; 32];
    for (number, cluster) in clusters.iter().enumerate() {
        let value = match number + 1 == pack.clusters {
            true => cluster.last_value,
            false => cluster.value,
        };
        let field = u32::from(value) | u32::from(cluster.kind) << VALUE_BITS;
        let at = number * pack.bits();
        for (byte, bits) in bytes[at / 8..]
            .iter_mut()
            .zip((field << (at % 8)).to_le_bytes())
        {
            *byte |= bits;
        }
    }
    let start = clusters.iter().find_map(|cluster| cluster.block);
    // Readers add the blocks of each extent that they pass on the way from the pack's first field.
    let passed = match clusters.first() {
        Some(Cluster {
            kind: REST, value, ..
        }) if value & COUNT != 0 => value & !COUNT,
        _ => 0,
    };
    let base = start.unwrap_or(0).wrapping_sub(u32::from(passed));
    let base = if start.is_some() { base } else { 0 };
    put(&mut bytes, pack.len() - 4, &base.to_le_bytes());
    out.extend_from_slice(&bytes[..pack.len()]);
}

/// The clusters of all extents.
fn clusters(extents: &Extents, first: u32) -> impl Iterator<Item = Cluster> {
    let mut next = u64::from(first);
    extents.iter().flat_map(move |extent| {
        let block = next;
        next += extent.blocks;
        let clusters = extent.len.div_ceil(BLOCK);
        (0..clusters).map(move |number| {
            let starts = |kind, block| Cluster {
                kind,
                value: 0,
                last_value: 0,
                block: u32::try_from(block).ok(),
            };
            let short = |number: u64| u16::try_from(number).unwrap_or(COUNT - 1);
            match number {
                // A plain extent has one cluster, as every kernel reads it.
                _ if extent.is_plain() => starts(PLAIN, block + number),
                0 => starts(FIRST, block),
                1 => Cluster {
                    kind: REST,
                    value: COUNT | short(extent.blocks),
                    last_value: COUNT | short(extent.blocks),
                    block: None,
                },
                _ => Cluster {
                    kind: REST,
                    value: short(number),
                    last_value: short(clusters - number),
                    block: None,
                },
            }
        })
    })
}

/// The algorithms that a header names, for the types [`FIRST`] and 3.
pub(super) fn algorithms(byte: u8) -> [Option<Algorithm>; 2] {
    [byte & 15, byte >> 4].map(Algorithm::from_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_follow_each_other() {
        for start in (0..64).step_by(8) {
            for clusters in 0..80 {
                for of_16 in [false, true] {
                    let packs = Packs::new(start, clusters, of_16);
                    let (mut position, mut cluster) = (start, 0);
                    while cluster < clusters {
                        let (pack, number) = packs.find(cluster);
                        assert_eq!((pack.position, number), (position, 0));
                        assert_eq!(position % pack.len() as u64, 0);
                        for number in 0..pack.clusters {
                            assert_eq!(packs.find(cluster + number as u64), (pack, number));
                        }
                        position += pack.len() as u64;
                        cluster += pack.clusters as u64;
                    }
                    assert_eq!(packs.end(clusters), position);
                }
            }
        }
    }
}
