//! Reading compressed files: from a position in a file to its extent, and to the bytes in it.
//!
//! Read are the compact index, described in [`super::index`], and the full one: a header of 16 bytes, and
//! for each cluster 8 bytes with its type, its value, and the block or two distances. Not read: data in
//! inodes ("tail packing"), fragments, and extents that are shared in part.

use super::codec::{self, Algorithm};
use super::format::{BLOCK, round_up};
use super::index::{self, COUNT, HEADER, PLAIN, Packs, REST, VALUE_BITS};
use super::inode::Layout;
use super::read::{Error, Image, Inode};
use crate::bytes::{u16_le, u32_le};
use crate::read_at::ReadAt;

/// Largest extent in bytes, compressed and not, as in Linux.
const MAX_PACKED: u64 = 1 << 20;
const MAX_DATA: u64 = 12 << 20;
const TOO_LONG: &str = "an extent has more than 12 MiB";
/// Size in bytes of the header of a full index, and of its entries.
const FULL_HEADER: u64 = 16;
const FULL_ENTRY: u64 = 8;
/// All that the header may say: three ways of putting extents elsewhere are not read.
const ADVISE_KNOWN: u16 =
    index::ADVISE_PACKS_OF_16 | index::ADVISE_BIG_FIRST | index::ADVISE_BIG_SECOND;
/// A full index marks an extent of which the file uses a part.
const PARTIAL: u16 = 1 << 15;

/// Part of a file that is compressed as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unpacked {
    /// Where it starts in the file, in bytes.
    pub(super) start: u64,
    /// Its bytes.
    pub(super) data: Vec<u8>,
}

/// What an index says of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cluster {
    /// An extent starts in it, at this offset; a type says how it is compressed.
    Start { kind: u16, offset: u64, block: u32 },
    /// It goes on with an extent that starts so many clusters earlier, and perhaps says its blocks.
    Rest { back: u64, blocks: Option<u64> },
}

/// Where the index of a file with this size ends in bytes, if its inode and attributes end at `after`.
pub(super) fn index_end(layout: Layout, after: u64, size: u64) -> Option<u64> {
    let start = after.checked_next_multiple_of(index::ALIGN)?;
    let clusters = size.div_ceil(BLOCK);
    match layout {
        Layout::CompressedFull => start
            .checked_add(FULL_HEADER)?
            .checked_add(clusters.checked_mul(FULL_ENTRY)?),
        // Two bytes are the least that a cluster takes; each pack is checked when it is read.
        _ => start.checked_add(HEADER)?.checked_add(clusters * 2),
    }
}

/// The index of one file.
struct Index<'a, R> {
    image: &'a Image<R>,
    inode: &'a Inode,
    start: u64,
    clusters: u64,
    advise: u16,
    algorithms: [Option<Algorithm>; 2],
    /// The last pack that was read.
    pack: Option<(index::Pack, [u8; 32])>,
}

impl<'a, R: ReadAt> Index<'a, R> {
    fn open(image: &'a Image<R>, inode: &'a Inode, after: u64) -> Result<Self, Error> {
        let start = round_up(after, index::ALIGN);
        let mut header = [0; HEADER as usize];
        image.read_checked(inode.nid(), &mut header, start)?;
        let advise = u16_le(&header, 4);
        if advise & !ADVISE_KNOWN != 0 || header[7] != 0 {
            return Err(Error::Unsupported(
                "fragments, tail packing or large clusters",
            ));
        }
        Ok(Index {
            image,
            inode,
            start,
            clusters: inode.size().div_ceil(BLOCK),
            advise,
            algorithms: index::algorithms(header[6]),
            pack: None,
        })
    }

    fn big(&self, kind: u16) -> bool {
        let bit = match kind {
            index::FIRST => index::ADVISE_BIG_FIRST,
            _ => index::ADVISE_BIG_SECOND,
        };
        self.advise & bit != 0
    }

    fn cluster(&mut self, number: u64) -> Result<Cluster, Error> {
        let cluster = match self.inode.layout() {
            Layout::CompressedFull => self.full(number)?,
            _ => self.compact(number)?,
        };
        match cluster {
            Cluster::Start { offset, .. } if offset >= BLOCK => {
                Err(self.inode.corrupt("an extent starts beyond its cluster"))
            }
            cluster => Ok(cluster),
        }
    }

    fn full(&self, number: u64) -> Result<Cluster, Error> {
        let mut entry = [0; FULL_ENTRY as usize];
        let position = self.start + FULL_HEADER + number * FULL_ENTRY;
        self.image
            .read_checked(self.inode.nid(), &mut entry, position)?;
        let kind = u16_le(&entry, 0);
        if kind & PARTIAL != 0 {
            return Err(Error::Unsupported("extents that are shared in part"));
        }
        let kind = kind & 3;
        if kind == REST {
            return Ok(rest(u16_le(&entry, 4)));
        }
        Ok(Cluster::Start {
            kind,
            offset: u64::from(u16_le(&entry, 2)),
            block: u32_le(&entry, 4),
        })
    }

    fn compact(&mut self, number: u64) -> Result<Cluster, Error> {
        let of_16 = self.advise & index::ADVISE_PACKS_OF_16 != 0;
        let packs = Packs::new(self.start + HEADER, self.clusters, of_16);
        let (pack, field) = packs.find(number);
        let bytes = match &self.pack {
            Some((known, bytes)) if *known == pack => *bytes,
            _ => {
                let mut bytes = [0; 32];
                let read = &mut bytes[..pack.len()];
                self.image
                    .read_checked(self.inode.nid(), read, pack.position)?;
                self.pack = Some((pack, bytes));
                bytes
            }
        };
        let fields = Fields {
            bytes: &bytes,
            bits: pack.bits(),
        };
        let (kind, value) = fields.get(field);
        if kind != REST {
            let big = self.big(index::FIRST);
            let base = u32_le(&bytes, pack.len() - 4);
            let block = base.wrapping_add(fields.passed(field, big));
            let offset = u64::from(value);
            return Ok(Cluster::Start {
                kind,
                offset,
                block,
            });
        }
        if value & COUNT == 0 && field + 1 == pack.clusters {
            // The last of a pack tells the way to the next extent; the one before it knows the way back.
            let (kind, value) = fields.get(field - 1);
            let back = match rest(value) {
                Cluster::Rest { back, .. } if kind == REST => back + 1,
                _ => 1,
            };
            return Ok(Cluster::Rest { back, blocks: None });
        }
        Ok(rest(value))
    }

    /// The extent that the byte at `offset` is in, and its bytes.
    fn unpack(&mut self, offset: u64) -> Result<Unpacked, Error> {
        let inode = self.inode;
        let mut number = offset / BLOCK;
        let mut cluster = self.cluster(number)?;
        if let Cluster::Start { offset: first, .. } = cluster
            && offset % BLOCK < first
        {
            // The extent before ends in this cluster.
            cluster = Cluster::Rest {
                back: 1,
                blocks: None,
            };
        }
        let (kind, first, block) = loop {
            match cluster {
                Cluster::Start {
                    kind,
                    offset,
                    block,
                } => break (kind, offset, block),
                Cluster::Rest { back, .. } => {
                    number = match number.checked_sub(back) {
                        Some(number) if back > 0 => number,
                        _ => return Err(inode.corrupt("an extent has no start")),
                    };
                    if offset / BLOCK - number > MAX_DATA / BLOCK {
                        return Err(inode.corrupt(TOO_LONG));
                    }
                    cluster = self.cluster(number)?;
                }
            }
        };
        let start = number * BLOCK + first;
        let blocks = self.blocks(number, kind)?;
        let end = self.end(number)?;
        if offset >= end || start >= end {
            return Err(inode.corrupt("an extent ends before its start"));
        }
        let data = self.data(kind, block, blocks, end - start)?;
        Ok(Unpacked { start, data })
    }

    /// How many blocks the extent has that starts in cluster `number`.
    fn blocks(&mut self, number: u64, kind: u16) -> Result<u64, Error> {
        if !self.big(kind) || number + 1 >= self.clusters {
            return Ok(1);
        }
        match self.cluster(number + 1)? {
            Cluster::Start { .. } => Ok(1),
            Cluster::Rest {
                blocks: Some(blocks),
                ..
            } if (1..=MAX_PACKED / BLOCK).contains(&blocks) => Ok(blocks),
            Cluster::Rest { .. } => Err(self.inode.corrupt("an extent has no number of blocks")),
        }
    }

    /// Where the extent ends in the file that starts in cluster `number`.
    fn end(&mut self, number: u64) -> Result<u64, Error> {
        for next in number + 1..self.clusters {
            if next - number > MAX_DATA / BLOCK {
                return Err(self.inode.corrupt(TOO_LONG));
            }
            if let Cluster::Start { offset, .. } = self.cluster(next)? {
                return Ok(next * BLOCK + offset);
            }
        }
        Ok(self.inode.size())
    }

    fn data(&self, kind: u16, block: u32, blocks: u64, len: u64) -> Result<Vec<u8>, Error> {
        let (image, inode) = (self.image, self.inode);
        let stored = if kind == PLAIN { len } else { blocks * BLOCK };
        if stored > blocks * BLOCK {
            return Err(inode.corrupt("a plain extent has more data than its blocks"));
        }
        let mut bytes = vec![0; usize::try_from(stored).unwrap_or(0)];
        image.read_checked(inode.nid(), &mut bytes, u64::from(block) * BLOCK)?;
        if kind == PLAIN {
            return Ok(bytes);
        }
        let algorithm = self.algorithms[usize::from(kind != index::FIRST)]
            .filter(|algorithm| image.superblock().has(*algorithm))
            .ok_or(Error::Unsupported("another compression than LZ4 and zstd"))?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        codec::decode(algorithm, &bytes, len).map_err(|problem| inode.corrupt(problem))
    }
}

/// What the value of a cluster says that goes on with an extent.
fn rest(value: u16) -> Cluster {
    match value & COUNT {
        0 => Cluster::Rest {
            back: u64::from(value),
            blocks: None,
        },
        _ => Cluster::Rest {
            back: 1,
            blocks: Some(u64::from(value & !COUNT)),
        },
    }
}

/// The fields of a pack.
struct Fields<'a> {
    bytes: &'a [u8; 32],
    bits: usize,
}

impl Fields<'_> {
    /// Type and value of a cluster.
    fn get(&self, number: usize) -> (u16, u16) {
        let at = number * self.bits;
        let field = u32_le(self.bytes, at / 8) >> (at % 8);
        // Masked, so that both fit.
        let value = (field & ((1 << VALUE_BITS) - 1)) as u16;
        ((field >> VALUE_BITS & 3) as u16, value)
    }

    /// How many blocks lie between the pack's block number and that of the extent that starts in `field`.
    fn passed(&self, field: usize, big: bool) -> u32 {
        let mut passed = u32::from(!big);
        for number in 0..field {
            let (kind, value) = self.get(number);
            let counted = |(kind, value): (u16, u16)| big && kind == REST && value & COUNT != 0;
            if counted((kind, value)) {
                passed += u32::from(value & !COUNT);
            } else if kind != REST && !counted(self.get(number + 1)) {
                passed += 1;
            }
        }
        passed
    }
}

impl<R: ReadAt> Image<R> {
    /// The extent of a compressed file that the byte at `offset`, which is before its end, is in.
    pub(super) fn unpack(&self, inode: &Inode, offset: u64) -> Result<Unpacked, Error> {
        Index::open(self, inode, inode.after())?.unpack(offset)
    }

    /// Fills `buf`, which ends before the end of the file, from compressed extents.
    pub(super) fn read_compressed(
        &self,
        inode: &Inode,
        buf: &mut [u8],
        offset: u64,
    ) -> Result<(), Error> {
        let mut done = 0;
        while done < buf.len() {
            let extent = self.unpack(inode, offset + done as u64)?;
            done += extent.copy(&mut buf[done..], offset + done as u64);
        }
        Ok(())
    }
}

impl Unpacked {
    /// Copies what it has from position `offset` of the file on; gives the number of bytes.
    pub(super) fn copy(&self, buf: &mut [u8], offset: u64) -> usize {
        let skip = offset.checked_sub(self.start).map(usize::try_from);
        let Some(Ok(skip)) = skip else { return 0 };
        let data = self.data.get(skip..).unwrap_or_default();
        let len = data.len().min(buf.len());
        buf[..len].copy_from_slice(&data[..len]);
        len
    }
}
