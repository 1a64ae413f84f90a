//! Reads VMDK images in one file that nobody vouches for.

use super::{
    AT_END, COMPRESSION_DEFLATE, FLAG_COMPRESSED, FLAG_MARKERS, GRAIN_MARKER, Header, MAGIC, NAME,
    SECTOR,
};
use crate::bytes::u32_le;
use crate::disk::codec::{Deflate, inflate};
use crate::disk::read::{Cache, Place, read_chunks};
use crate::disk::{ReadError, expect};
use crate::read_at::ReadAt;
use std::io;

/// The largest grain that is read, in sectors: 16 times the usual one.
const MAX_GRAIN_SIZE: u64 = 2048;
const MAX_GRAIN_TABLE_ENTRIES: u32 = 1 << 16;
/// Entries of a grain directory: of a disk of 128 TiB with the usual grains. A sparse file can be as large as any
/// directory for nothing, so its size is no limit to memory.
const MAX_DIRECTORY: u64 = 1 << 22;
/// No descriptor is longer, in sectors.
const MAX_DESCRIPTOR_SIZE: u64 = 128;
/// Footer and end-of-stream marker: the last two sectors.
const FOOTER: u64 = 2 * SECTOR;

/// An open image. It reads as the disk that it holds.
#[derive(Debug)]
pub struct Image<R> {
    reader: R,
    header: Header,
    /// Sectors of grain tables.
    directory: Vec<u32>,
    unpacked: Cache,
}

impl<R: ReadAt> Image<R> {
    /// Reads header, footer, descriptor and grain directory.
    pub fn open(reader: R) -> Result<Self, ReadError> {
        expect(&reader, NAME, MAGIC)?;
        let failed = |source| ReadError::Read {
            format: NAME,
            source,
        };
        let read = |offset, len| reader.read_vec_at(offset, len).map_err(failed);
        let parse = |bytes: Vec<u8>| {
            let what = "no header at its end";
            Header::parse(&bytes).ok_or(ReadError::Unsupported { format: NAME, what })
        };
        let mut header = parse(read(0, SECTOR as usize)?)?;
        if header.grain_directory == AT_END {
            let size = reader.size().map_err(failed)?;
            header = parse(read(size.saturating_sub(FOOTER), SECTOR as usize)?)?;
        }
        header.validate()?;
        let len = header.descriptor_size * SECTOR;
        let descriptor = read(
            header.descriptor_offset.saturating_mul(SECTOR),
            len as usize,
        )?;
        if has_parent(&String::from_utf8_lossy(&descriptor)) {
            let what = "a parent image";
            return Err(ReadError::Unsupported { format: NAME, what });
        }
        let covered = header.grain_size * u64::from(header.grain_table_entries);
        let tables = header.capacity.div_ceil(covered);
        if tables > MAX_DIRECTORY {
            return Err(ReadError::Field {
                format: NAME,
                field: "capacity",
                value: header.capacity,
            });
        }
        let directory = usize::try_from(tables)
            .ok()
            .and_then(|tables| tables.checked_mul(4))
            .unwrap_or(usize::MAX);
        let directory = read(header.grain_directory.saturating_mul(SECTOR), directory)?;
        let word = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes);
        Ok(Image {
            directory: directory.as_chunks().0.iter().map(word).collect(),
            reader,
            header,
            unpacked: Cache::default(),
        })
    }

    /// Where the bytes of a grain are.
    fn place(&self, grain: u64) -> io::Result<Place> {
        let entries = u64::from(self.header.grain_table_entries);
        let index = usize::try_from(grain / entries).map_err(io::Error::other)?;
        let table = self.directory.get(index).copied().unwrap_or(0);
        if table == 0 {
            return Ok(Place::Zeros);
        }
        let mut entry = [0; 4];
        let at = u64::from(table) * SECTOR + 4 * (grain % entries);
        self.reader.read_exact_at(&mut entry, at)?;
        let offset = u64::from(u32::from_le_bytes(entry)) * SECTOR;
        // Sector 1 stands for a grain of zeros.
        if offset <= SECTOR {
            return Ok(Place::Zeros);
        }
        if self.header.flags & FLAG_COMPRESSED == 0 {
            return Ok(Place::At(offset));
        }
        // At most MAX_GRAIN_SIZE.
        let len = (self.header.grain_size * SECTOR) as usize;
        self.unpacked.get(grain, len, |out| {
            let marker = self.reader.read_vec_at(offset, GRAIN_MARKER as usize)?;
            let packed = u32_le(&marker, 8) as usize;
            if packed > 2 * out.len() {
                let text = format!("the grain at byte {offset} has {packed} bytes");
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            let packed = self.reader.read_vec_at(offset + GRAIN_MARKER, packed)?;
            inflate(&packed, Deflate::Zlib, out)
        })
    }
}

impl Header {
    fn validate(&self) -> Result<(), ReadError> {
        let field = |field, value, possible| match possible {
            true => Ok(()),
            false => Err(ReadError::Field {
                format: NAME,
                field,
                value,
            }),
        };
        let version = self.version.into();
        field("version", version, (1..=3).contains(&version))?;
        let possible = self.capacity <= u64::MAX / SECTOR;
        field("capacity", self.capacity, possible)?;
        let possible =
            self.grain_size.is_power_of_two() && (8..=MAX_GRAIN_SIZE).contains(&self.grain_size);
        field("grainSize", self.grain_size, possible)?;
        let entries = self.grain_table_entries;
        let possible = entries.is_power_of_two() && entries <= MAX_GRAIN_TABLE_ENTRIES;
        field("numGTEsPerGT", entries.into(), possible)?;
        let possible = self.descriptor_size <= MAX_DESCRIPTOR_SIZE;
        field("descriptorSize", self.descriptor_size, possible)?;
        if self.flags & FLAG_COMPRESSED != 0 {
            let possible = self.compression == COMPRESSION_DEFLATE;
            field("compressAlgorithm", self.compression.into(), possible)?;
            let possible = self.flags & FLAG_MARKERS != 0;
            field("flags", self.flags.into(), possible)?;
        }
        Ok(())
    }
}

/// Whether a descriptor names another image that this one only changes.
fn has_parent(descriptor: &str) -> bool {
    descriptor
        .lines()
        .filter_map(|line| line.split_once('='))
        .any(|(key, value)| key.trim() == "parentCID" && value.trim() != "ffffffff")
}

impl<R: ReadAt> ReadAt for Image<R> {
    fn size(&self) -> io::Result<u64> {
        // validate() limits it.
        Ok(self.header.capacity * SECTOR)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let geometry = (
            self.header.capacity * SECTOR,
            self.header.grain_size * SECTOR,
        );
        read_chunks(&self.reader, geometry, buf, offset, |grain| {
            self.place(grain)
        })
    }
}
