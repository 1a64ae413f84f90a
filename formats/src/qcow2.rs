//! qcow2 images, version 3, as virtual machine hosts import them (QEMU, `docs/interop/qcow2.txt`).
//!
//! The writer looks once at the source for clusters of zeros, which take no space, and then streams:
//!
//! ```text
//! cluster 0   header
//! L1 table    per 512 MiB of the disk the offset of an L2 table, or 0
//! L2 tables   per cluster of the disk its offset in the file, or 0
//! refcount table, refcount blocks: every cluster of the file is used once
//! data clusters, in the order of the disk
//! ```
//!
//! No compression, snapshots, backing files or encryption: an image with any of these is refused by the
//! reader, and named.

use crate::bytes::put;
use crate::read_at::ReadAt;
use std::io::{self, Write};
use std::ops::Range;

const MAGIC: [u8; 4] = *b"QFI\xfb";
const VERSION: u32 = 3;
const HEADER_SIZE: usize = 104;
const CLUSTER_BITS: u32 = 16;
const CLUSTER: u64 = 1 << CLUSTER_BITS;
static ZEROS: [u8; CLUSTER as usize] = [0; CLUSTER as usize];
const SECTOR: u64 = 512;
/// 8-byte entries of a table of one cluster.
const ENTRIES: u64 = CLUSTER / 8;
/// Refcounts have 1 << 4 bits.
const REFCOUNT_ORDER: u32 = 4;
const REFCOUNTS: u64 = CLUSTER / 2;
/// An entry's cluster has a refcount of one, so that it is written in place.
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
const OFFSET_MASK: u64 = 0x00ff_ffff_ffff_fe00;
/// In an L2 entry: the cluster reads as zeros, whatever its offset holds.
const ZERO: u64 = 1;
/// QEMU's own limit on the size of an L1 table, in entries.
const MAX_L1: u64 = (32 << 20) / 8;
/// Incompatible features that do not change how data is read: dirty refcounts, and another compression.
const HARMLESS_FEATURES: u64 = 1 | 1 << 3;

/// Why an image cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A size that a disk cannot have.
    #[error(
        "a disk of {0} bytes cannot be written as qcow2: its size is no multiple of 512, or too large"
    )]
    Size(u64),
    /// An extent outside the disk, or not behind the one before it.
    #[error(
        "the data extent {start} to {end} is outside the disk of {size} bytes, or out of order"
    )]
    Extent {
        /// Its first byte.
        start: u64,
        /// The byte behind it.
        end: u64,
        /// The disk's size.
        size: u64,
    },
    /// The source cannot be read.
    #[error("reading the disk at byte {offset} failed")]
    Read {
        /// Where.
        offset: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The image cannot be written.
    #[error("writing the qcow2 image failed")]
    Write(#[source] io::Error),
}

/// An image with the place of every cluster decided, ready to be written.
#[derive(Debug)]
pub struct Plan<'a, R: ?Sized> {
    source: &'a R,
    size: u64,
    /// Numbers of the disk's clusters that are not all zeros, ascending.
    data: Vec<u64>,
    l1_entries: u64,
    l2_tables: u64,
    refcount_blocks: u64,
}

/// Reads all of `source` once and decides which clusters the image has to hold.
pub fn plan<R: ReadAt + ?Sized>(source: &R) -> Result<Plan<'_, R>, Error> {
    let size = disk_size(source)?;
    plan_extents(
        source,
        &[Range {
            start: 0,
            end: size,
        }],
    )
}

/// As [`plan`], but reads only within `extents`, ascending ranges of bytes: outside of them the source is
/// known to be zero, such as in the holes of a sparse file.
pub fn plan_extents<'a, R: ReadAt + ?Sized>(
    source: &'a R,
    extents: &[Range<u64>],
) -> Result<Plan<'a, R>, Error> {
    let size = disk_size(source)?;
    let clusters = size.div_ceil(CLUSTER);
    let l1_entries = clusters.div_ceil(ENTRIES);
    if !size.is_multiple_of(SECTOR) || l1_entries > MAX_L1 {
        return Err(Error::Size(size));
    }
    let mut data = Vec::new();
    let (mut buffer, mut from, mut next) = (vec![0; CLUSTER as usize], 0, 0);
    for &Range { start, end } in extents {
        if start < from || end < start || end > size {
            return Err(Error::Extent { start, end, size });
        }
        from = end;
        for cluster in next.max(start / CLUSTER)..end.div_ceil(CLUSTER) {
            let bytes = read_cluster(source, size, cluster, &mut buffer)?;
            if bytes != ZEROS {
                data.push(cluster);
            }
            next = cluster + 1;
        }
    }
    let mut l2_tables: Vec<u64> = data.iter().map(|cluster| cluster / ENTRIES).collect();
    l2_tables.dedup();
    let mut plan = Plan {
        source,
        size,
        data,
        l1_entries,
        l2_tables: l2_tables.len() as u64,
        refcount_blocks: 1,
    };
    // Refcount blocks count themselves.
    while plan.refcount_blocks * REFCOUNTS < plan.file_clusters() {
        plan.refcount_blocks += 1;
    }
    Ok(plan)
}

fn disk_size<R: ReadAt + ?Sized>(source: &R) -> Result<u64, Error> {
    let size = source.size();
    size.map_err(|source| Error::Read { offset: 0, source })
}

/// The bytes of a cluster; those behind the end of the disk are zeros.
fn read_cluster<'b, R: ReadAt + ?Sized>(
    source: &R,
    size: u64,
    cluster: u64,
    buffer: &'b mut [u8],
) -> Result<&'b [u8], Error> {
    let offset = cluster * CLUSTER;
    // At most a cluster.
    let len = (size - offset).min(CLUSTER) as usize;
    buffer[len..].fill(0);
    let read = source.read_exact_at(&mut buffer[..len], offset);
    read.map_err(|source| Error::Read { offset, source })?;
    Ok(buffer)
}

impl<R: ReadAt + ?Sized> Plan<'_, R> {
    /// The size of the image file in bytes.
    pub fn size(&self) -> u64 {
        self.file_clusters() * CLUSTER
    }

    // The parts of the file, in clusters.

    fn l1_clusters(&self) -> u64 {
        self.l1_entries.div_ceil(ENTRIES)
    }

    fn refcount_table(&self) -> u64 {
        1 + self.l1_clusters() + self.l2_tables
    }

    fn refcount_table_clusters(&self) -> u64 {
        self.refcount_blocks.div_ceil(ENTRIES)
    }

    fn first_refcount_block(&self) -> u64 {
        self.refcount_table() + self.refcount_table_clusters()
    }

    fn first_data(&self) -> u64 {
        self.first_refcount_block() + self.refcount_blocks
    }

    fn file_clusters(&self) -> u64 {
        self.first_data() + self.data.len() as u64
    }

    /// Writes the image.
    pub fn write(&self, out: &mut impl Write) -> Result<(), Error> {
        let mut put = |bytes: &[u8]| out.write_all(bytes).map_err(Error::Write);
        put(&self.header())?;
        let mut l1 = vec![0; (self.l1_clusters() * ENTRIES) as usize];
        let tables = self.data.chunk_by(|a, b| a / ENTRIES == b / ENTRIES);
        for (i, clusters) in (0..).zip(tables.clone()) {
            let index = (clusters[0] / ENTRIES) as usize;
            l1[index] = COPIED | ((1 + self.l1_clusters() + i) * CLUSTER);
        }
        put(&table(&l1))?;
        let mut place = self.first_data();
        for clusters in tables {
            let mut l2 = vec![0; ENTRIES as usize];
            for cluster in clusters {
                l2[(cluster % ENTRIES) as usize] = COPIED | (place * CLUSTER);
                place += 1;
            }
            put(&table(&l2))?;
        }
        let first = self.first_refcount_block();
        let mut blocks: Vec<u64> = (0..self.refcount_blocks)
            .map(|i| (first + i) * CLUSTER)
            .collect();
        blocks.resize((self.refcount_table_clusters() * ENTRIES) as usize, 0);
        put(&table(&blocks))?;
        for block in 0..self.refcount_blocks {
            let used = (self.file_clusters() - block * REFCOUNTS).min(REFCOUNTS);
            let mut refcounts = 1_u16.to_be_bytes().repeat(used as usize);
            refcounts.resize(CLUSTER as usize, 0);
            put(&refcounts)?;
        }
        let mut buffer = vec![0; CLUSTER as usize];
        for cluster in &self.data {
            put(read_cluster(self.source, self.size, *cluster, &mut buffer)?)?;
        }
        Ok(())
    }

    fn header(&self) -> Vec<u8> {
        let mut header = vec![0; CLUSTER as usize];
        put(&mut header, 0, &MAGIC);
        put(&mut header, 4, &VERSION.to_be_bytes());
        put(&mut header, 20, &CLUSTER_BITS.to_be_bytes());
        put(&mut header, 24, &self.size.to_be_bytes());
        // plan() limits the L1 table, and with it everything that is counted here.
        put(&mut header, 36, &(self.l1_entries as u32).to_be_bytes());
        put(&mut header, 40, &CLUSTER.to_be_bytes());
        put(
            &mut header,
            48,
            &(self.refcount_table() * CLUSTER).to_be_bytes(),
        );
        let clusters = self.refcount_table_clusters() as u32;
        put(&mut header, 56, &clusters.to_be_bytes());
        put(&mut header, 96, &REFCOUNT_ORDER.to_be_bytes());
        put(&mut header, 100, &(HEADER_SIZE as u32).to_be_bytes());
        header
    }
}

fn table(entries: &[u64]) -> Vec<u8> {
    entries
        .iter()
        .flat_map(|entry| entry.to_be_bytes())
        .collect()
}

/// Why an image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The header or the L1 table cannot be read.
    #[error("reading the qcow2 image's tables failed")]
    Read(#[source] io::Error),
    /// Another kind of file.
    #[error("it is no qcow2 image of version 2 or 3")]
    NotQcow2,
    /// A header field has a value that no image can have.
    #[error("the qcow2 header field {field} has the impossible value {value}")]
    Field {
        /// The field's name in the specification.
        field: &'static str,
        /// What it holds.
        value: u64,
    },
    /// A feature that is not supported.
    #[error("the qcow2 image has {0}, which cannot be read here: convert it with qemu-img")]
    Unsupported(&'static str),
}

/// An open image. It reads as the disk that it holds.
#[derive(Debug)]
pub struct Image<R> {
    reader: R,
    size: u64,
    cluster_bits: u32,
    l1: Vec<u64>,
}

impl<R: ReadAt> Image<R> {
    /// Reads the header and the L1 table.
    pub fn open(reader: R) -> Result<Self, ReadError> {
        let header = reader.read_vec_at(0, 72).map_err(ReadError::Read)?;
        let u32_at = |at: usize| {
            u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let u64_at = |at: usize| u64::from(u32_at(at)) << 32 | u64::from(u32_at(at + 4));
        let version = u32_at(4);
        if header[..4] != MAGIC || !(2..=VERSION).contains(&version) {
            return Err(ReadError::NotQcow2);
        }
        let refuse = |wrong, what| match wrong {
            true => Err(ReadError::Unsupported(what)),
            false => Ok(()),
        };
        refuse(u64_at(8) != 0, "a backing file")?;
        refuse(u32_at(32) != 0, "encryption")?;
        if version == VERSION {
            let features = reader.read_vec_at(72, 8).map_err(ReadError::Read)?;
            let features = features
                .iter()
                .fold(0, |all, byte| all << 8 | u64::from(*byte));
            refuse(
                features & !HARMLESS_FEATURES != 0,
                "an incompatible feature",
            )?;
        }
        let field = |field, value, possible| match possible {
            true => Ok(()),
            false => Err(ReadError::Field { field, value }),
        };
        let (cluster_bits, size) = (u32_at(20), u64_at(24));
        let possible = (9..=21).contains(&cluster_bits);
        field("cluster_bits", cluster_bits.into(), possible)?;
        let l1_entries = u64::from(u32_at(36));
        let needed = size.div_ceil(1 << (2 * cluster_bits - 3));
        let possible = l1_entries <= MAX_L1 && needed <= l1_entries;
        field("l1_size", l1_entries, possible)?;
        let l1 = reader.read_vec_at(u64_at(40), l1_entries as usize * 8);
        let l1 = l1.map_err(ReadError::Read)?;
        let entry = |bytes: &[u8; 8]| u64::from_be_bytes(*bytes);
        Ok(Image {
            reader,
            size,
            cluster_bits,
            l1: l1.as_chunks().0.iter().map(entry).collect(),
        })
    }

    /// Where the bytes of a cluster of the disk are; `None` if they are zeros.
    fn place(&self, cluster: u64) -> io::Result<Option<u64>> {
        let l2_bits = self.cluster_bits - 3;
        let index = usize::try_from(cluster >> l2_bits).map_err(io::Error::other)?;
        let l2 = self.l1.get(index).map_or(0, |entry| entry & OFFSET_MASK);
        if l2 == 0 {
            return Ok(None);
        }
        let mut entry = [0; 8];
        let at = l2 + 8 * (cluster & ((1 << l2_bits) - 1));
        self.reader.read_exact_at(&mut entry, at)?;
        let entry = u64::from_be_bytes(entry);
        if entry & COMPRESSED != 0 {
            let error = ReadError::Unsupported("compressed clusters");
            return Err(io::Error::other(error));
        }
        let offset = entry & OFFSET_MASK;
        Ok((entry & ZERO == 0 && offset != 0).then_some(offset))
    }
}

impl<R: ReadAt> ReadAt for Image<R> {
    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (mut rest, mut at) = (buf, offset);
        while !rest.is_empty() {
            let within = at & ((1 << self.cluster_bits) - 1);
            // Clusters have at most 2 MiB.
            let left = ((1 << self.cluster_bits) - within) as usize;
            let (part, after) = rest.split_at_mut(left.min(rest.len()));
            match self.place(at >> self.cluster_bits)? {
                Some(offset) => self.reader.read_exact_at(part, offset + within)?,
                None => part.fill(0),
            }
            at += part.len() as u64;
            rest = after;
        }
        Ok(())
    }
}
