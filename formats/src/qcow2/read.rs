//! Reads qcow2 images of versions 2 and 3, with or without compression, that nobody vouches for.

use super::{
    COMPRESSED, Compression, FEATURE_COMPRESSION, MAGIC, MAX_L1, NAME, SECTOR, VERSION, offset_bits,
};
use crate::bytes::{u32_be, u64_be};
use crate::disk::codec::{Deflate, inflate, unpack_zstd};
use crate::disk::read::{Cache, Place, read_chunks};
use crate::disk::{ReadError, expect};
use crate::read_at::ReadAt;
use std::io;

const OFFSET_MASK: u64 = 0x00ff_ffff_ffff_fe00;
/// In an L2 entry: the cluster reads as zeros, whatever its offset holds.
const ZERO: u64 = 1;
/// Incompatible feature that does not change how data is read: dirty refcounts.
const FEATURE_DIRTY: u64 = 1;

/// An open image. It reads as the disk that it holds.
#[derive(Debug)]
pub struct Image<R> {
    reader: R,
    size: u64,
    cluster_bits: u32,
    compression: Compression,
    l1: Vec<u64>,
    unpacked: Cache,
}

impl<R: ReadAt> Image<R> {
    /// Reads the header and the L1 table.
    pub fn open(reader: R) -> Result<Self, ReadError> {
        expect(&reader, NAME, &MAGIC)?;
        let read = |offset, len| {
            let bytes = reader.read_vec_at(offset, len);
            bytes.map_err(|source| ReadError::Read {
                format: NAME,
                source,
            })
        };
        let mut header = read(0, 72)?;
        let version = u32_be(&header, 4);
        let refuse = |wrong, what| match wrong {
            true => Err(ReadError::Unsupported { format: NAME, what }),
            false => Ok(()),
        };
        refuse(!(2..=VERSION).contains(&version), "an unknown version")?;
        refuse(u64_be(&header, 8) != 0, "a backing file")?;
        refuse(u32_be(&header, 32) != 0, "encryption")?;
        let mut compression = Compression::Deflate;
        if version == VERSION {
            header = read(0, 112)?;
            let features = u64_be(&header, 72);
            let known = FEATURE_DIRTY | FEATURE_COMPRESSION;
            refuse(features & !known != 0, "an incompatible feature")?;
            if features & FEATURE_COMPRESSION != 0 {
                let zstd = header[104] == Compression::Zstd.number();
                refuse(!zstd, "an unknown compression")?;
                compression = Compression::Zstd;
            }
        }
        let field = |field, value, possible| match possible {
            true => Ok(()),
            false => Err(ReadError::Field {
                format: NAME,
                field,
                value,
            }),
        };
        let (cluster_bits, size) = (u32_be(&header, 20), u64_be(&header, 24));
        let possible = (9..=21).contains(&cluster_bits);
        field("cluster_bits", cluster_bits.into(), possible)?;
        let l1_entries = u64::from(u32_be(&header, 36));
        let needed = size.div_ceil(1 << (2 * cluster_bits - 3));
        let possible = l1_entries <= MAX_L1 && needed <= l1_entries;
        field("l1_size", l1_entries, possible)?;
        let l1 = read(u64_be(&header, 40), l1_entries as usize * 8)?;
        let entry = |bytes: &[u8; 8]| u64::from_be_bytes(*bytes);
        Ok(Image {
            l1: l1.as_chunks().0.iter().map(entry).collect(),
            reader,
            size,
            cluster_bits,
            compression,
            unpacked: Cache::default(),
        })
    }

    /// Where the bytes of a cluster of the disk are.
    fn place(&self, cluster: u64) -> io::Result<Place> {
        let l2_bits = self.cluster_bits - 3;
        let index = usize::try_from(cluster >> l2_bits).map_err(io::Error::other)?;
        let l2 = self.l1.get(index).map_or(0, |entry| entry & OFFSET_MASK);
        if l2 == 0 {
            return Ok(Place::Zeros);
        }
        let mut entry = [0; 8];
        let at = l2 + 8 * (cluster & ((1 << l2_bits) - 1));
        self.reader.read_exact_at(&mut entry, at)?;
        let entry = u64::from_be_bytes(entry);
        if entry & COMPRESSED != 0 {
            return self.unpack(cluster, entry);
        }
        let offset = entry & OFFSET_MASK;
        Ok(match entry & ZERO == 0 && offset != 0 {
            true => Place::At(offset),
            false => Place::Zeros,
        })
    }

    fn unpack(&self, cluster: u64, entry: u64) -> io::Result<Place> {
        let bits = offset_bits(self.cluster_bits);
        let offset = entry & ((1 << bits) - 1);
        let more_sectors = (entry & (COMPRESSED - 1)) >> bits;
        let len = (more_sectors + 1) * SECTOR - offset % SECTOR;
        self.unpacked.get(cluster, 1 << self.cluster_bits, |out| {
            // The last sector of the file may be cut short. At most twice a cluster.
            let len = len.min(self.reader.size()?.saturating_sub(offset));
            let packed = self.reader.read_vec_at(offset, len as usize)?;
            match self.compression {
                Compression::Zstd => unpack_zstd(&packed, out),
                Compression::Deflate => inflate(&packed, Deflate::Window4K, out),
            }
        })
    }
}

impl<R: ReadAt> ReadAt for Image<R> {
    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let geometry = (self.size, 1 << self.cluster_bits);
        read_chunks(&self.reader, geometry, buf, offset, |cluster| {
            self.place(cluster)
        })
    }
}
