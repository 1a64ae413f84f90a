//! Writes qcow2 images with compressed clusters.

use super::{
    COMPRESSED, COPIED, Compression, FEATURE_COMPRESSION, MAGIC, MAX_L1, NAME, SECTOR, VERSION,
    offset_bits,
};
use crate::bytes::put;
use crate::disk::chunks::pack_each;
use crate::disk::codec::{Deflate, Encoder};
use crate::disk::sink::Sink;
use crate::disk::{Disk, Error};
use crate::read_at::ReadAt;
use std::io::{self, Seek, Write};

const CLUSTER_BITS: u32 = 16;
const CLUSTER: u64 = 1 << CLUSTER_BITS;
/// 8-byte entries of a table of one cluster.
const ENTRIES: u64 = CLUSTER / 8;
/// Refcounts have 1 << 4 bits.
const REFCOUNT_ORDER: u32 = 4;
const REFCOUNTS: u64 = CLUSTER / 2;
/// The largest disk: what the largest L1 table can address.
const MAX_SIZE: u64 = MAX_L1 * ENTRIES * CLUSTER;
/// Level 6 is a twentieth smaller for twice the time: measured on the demo image.
const ZSTD_LEVEL: i32 = 3;
const DEFLATE_LEVEL: u32 = 6;

/// Writes `disk`, whose size is a multiple of 512 bytes, to `out`, an empty file.
pub fn write<R: ReadAt + Sync + ?Sized>(
    disk: &Disk<'_, R>,
    compression: Compression,
    out: impl Write + Seek + Send,
) -> Result<(), Error> {
    let why = "its size is no multiple of 512, or too large";
    let size = disk.sized(NAME, (SECTOR, MAX_SIZE), why)?;
    let l1_entries = size.div_ceil(CLUSTER * ENTRIES);
    let mut image = Image {
        out: Sink::new(out),
        clusters: Clusters::default(),
        data: Vec::new(),
    };
    // The header and the L1 table, which have their places and are written last.
    image.clusters.take(1 + l1_entries.div_ceil(ENTRIES));
    let state = || match compression {
        Compression::Zstd => Encoder::zstd(ZSTD_LEVEL, false),
        Compression::Deflate => Ok(Encoder::deflate(DEFLATE_LEVEL, Deflate::Window4K)),
    };
    let pack = |encoder: &mut Encoder, _, bytes: &[u8]| {
        let packed = encoder.encode(bytes)?;
        Ok(if packed.len() < bytes.len() {
            Packed::Compressed(packed)
        } else {
            Packed::Plain(bytes.to_vec())
        })
    };
    let take = |cluster, packed| image.data(cluster, packed);
    pack_each(disk, CLUSTER as usize, state, pack, take)?;
    image
        .finish(size, l1_entries, compression)
        .map_err(Error::Write)
}

/// The bytes of a cluster of the disk, as they are in the file.
enum Packed {
    Compressed(Vec<u8>),
    Plain(Vec<u8>),
}

struct Image<W> {
    out: Sink<W>,
    clusters: Clusters,
    /// Clusters of the disk that hold data, ascending, each with its L2 entry.
    data: Vec<(u64, u64)>,
}

impl<W: Write + Seek> Image<W> {
    fn data(&mut self, cluster: u64, packed: Packed) -> io::Result<()> {
        let entry = match packed {
            Packed::Plain(bytes) => {
                let offset = self.clusters.take(1);
                self.out.write_at(offset, &bytes)?;
                COPIED | offset
            }
            Packed::Compressed(bytes) => {
                let len = bytes.len() as u64;
                let offset = self.clusters.take_bytes(len);
                self.out.write_at(offset, &bytes)?;
                let sectors = (offset + len - 1) / SECTOR - offset / SECTOR;
                COMPRESSED | (sectors << offset_bits(CLUSTER_BITS)) | offset
            }
        };
        self.data.push((cluster, entry));
        Ok(())
    }

    fn finish(mut self, size: u64, l1_entries: u64, compression: Compression) -> io::Result<()> {
        let mut l1 = vec![0; (l1_entries.next_multiple_of(ENTRIES)) as usize];
        let data = std::mem::take(&mut self.data);
        for clusters in data.chunk_by(|(a, _), (b, _)| a / ENTRIES == b / ENTRIES) {
            let mut l2 = vec![0; ENTRIES as usize];
            for (cluster, entry) in clusters {
                l2[(cluster % ENTRIES) as usize] = *entry;
            }
            let offset = self.clusters.take(1);
            self.out.write_at(offset, &table(&l2))?;
            l1[(clusters[0].0 / ENTRIES) as usize] = COPIED | offset;
        }
        let (blocks, table_clusters) = self.clusters.refcount_clusters();
        let refcount_table = self.clusters.take(table_clusters);
        let first_block = self.clusters.take(blocks);
        let mut entries: Vec<u64> = (0..blocks).map(|i| first_block + i * CLUSTER).collect();
        entries.resize((table_clusters * ENTRIES) as usize, 0);
        self.out.write_at(refcount_table, &table(&entries))?;
        let mut refcounts = self.clusters.refcounts;
        refcounts.resize((blocks * REFCOUNTS) as usize, 0);
        for (block, refcounts) in (0..).zip(refcounts.chunks(REFCOUNTS as usize)) {
            let bytes: Vec<u8> = refcounts.iter().flat_map(|n| n.to_be_bytes()).collect();
            self.out.write_at(first_block + block * CLUSTER, &bytes)?;
        }
        let mut front = header(size, l1_entries, compression);
        put(&mut front, 48, &refcount_table.to_be_bytes());
        put(&mut front, 56, &(table_clusters as u32).to_be_bytes());
        front.extend(table(&l1));
        self.out.write_at(0, &front)?;
        self.out.flush()
    }
}

/// The file's clusters, each with how often it is used.
#[derive(Default)]
struct Clusters {
    refcounts: Vec<u16>,
    /// Free bytes behind the last compressed cluster, up to the end of its cluster of the file.
    open: std::ops::Range<u64>,
}

impl Clusters {
    fn end(&self) -> u64 {
        self.refcounts.len() as u64 * CLUSTER
    }

    /// The offset of `count` fresh clusters.
    fn take(&mut self, count: u64) -> u64 {
        let offset = self.end();
        let len = self.refcounts.len() + count as usize;
        self.refcounts.resize(len, 1);
        offset
    }

    /// The offset of `len` bytes, more than 0, for a compressed cluster.
    fn take_bytes(&mut self, len: u64) -> u64 {
        let fits = self.open.start + len <= self.open.end;
        // What does not fit goes on in the next cluster, if that one is still free.
        let start = match fits || self.open.end == self.end() {
            true => self.open.start,
            false => self.end(),
        };
        let end = start + len;
        self.open = end..end.next_multiple_of(CLUSTER);
        let last = self.open.end / CLUSTER;
        self.refcounts
            .resize(self.refcounts.len().max(last as usize), 0);
        for cluster in start / CLUSTER..last {
            // Every compressed cluster has some bytes, so that a cluster of the file is shared by far fewer.
            self.refcounts[cluster as usize] += 1;
        }
        start
    }

    /// How many refcount blocks there must be, and clusters of the table of these; both count themselves.
    fn refcount_clusters(&self) -> (u64, u64) {
        let used = self.refcounts.len() as u64;
        let (mut blocks, mut table) = (1, 1);
        while blocks * REFCOUNTS < used + blocks + table {
            blocks += 1;
            table = blocks.div_ceil(ENTRIES);
        }
        (blocks, table)
    }
}

fn header(size: u64, l1_entries: u64, compression: Compression) -> Vec<u8> {
    let mut header = vec![0; CLUSTER as usize];
    put(&mut header, 0, &MAGIC);
    put(&mut header, 4, &VERSION.to_be_bytes());
    put(&mut header, 20, &CLUSTER_BITS.to_be_bytes());
    put(&mut header, 24, &size.to_be_bytes());
    // MAX_SIZE limits it.
    put(&mut header, 36, &(l1_entries as u32).to_be_bytes());
    put(&mut header, 40, &CLUSTER.to_be_bytes());
    put(&mut header, 96, &REFCOUNT_ORDER.to_be_bytes());
    let mut header_length: u32 = 104;
    if compression != Compression::Deflate {
        put(&mut header, 72, &FEATURE_COMPRESSION.to_be_bytes());
        put(&mut header, 104, &[compression.number()]);
        header_length = 112;
    }
    put(&mut header, 100, &header_length.to_be_bytes());
    header
}

fn table(entries: &[u64]) -> Vec<u8> {
    entries
        .iter()
        .flat_map(|entry| entry.to_be_bytes())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressed_clusters_share_clusters_of_the_file() {
        let mut clusters = Clusters::default();
        assert_eq!(clusters.take(2), 0);
        assert_eq!(clusters.take_bytes(60_000), 2 * CLUSTER);
        // Over the border, since the next one is free.
        assert_eq!(clusters.take_bytes(10_000), 2 * CLUSTER + 60_000);
        assert_eq!(clusters.take(1), 4 * CLUSTER);
        // Still fits in front of the plain one, and then no more.
        assert_eq!(clusters.take_bytes(60_000), 2 * CLUSTER + 70_000);
        assert_eq!(clusters.take_bytes(60_000), 5 * CLUSTER);
        assert_eq!(clusters.take_bytes(5_536), 5 * CLUSTER + 60_000);
        assert_eq!(clusters.take_bytes(1), 6 * CLUSTER);
        assert_eq!(clusters.refcounts, [1, 1, 2, 2, 1, 2, 1]);
    }

    #[test]
    fn refcount_blocks_count_themselves() {
        let check = |used: usize, expected| {
            let refcounts = vec![1; used];
            let clusters = Clusters {
                refcounts,
                open: 0..0,
            };
            assert_eq!(clusters.refcount_clusters(), expected);
        };
        check(1, (1, 1));
        check(32_766, (1, 1));
        check(32_767, (2, 1));
    }
}
