//! Reads VHDX images that nobody vouches for.

use super::{
    BITMAP_SECTORS, BLOCK_FULLY_PRESENT, BLOCK_PARTIALLY_PRESENT, BLOCK_STATE, CHECKSUM, ENTRY,
    FILE_PARAMETERS, HEADER_SIGNATURE, HEADER_SIZE, HEADERS, LOGICAL_SECTOR_SIZE,
    METADATA_SIGNATURE, METADATA_TABLE_SIZE, MIB, NAME, REGION_BAT, REGION_METADATA,
    REGION_TABLE_SIGNATURE, REGION_TABLE_SIZE, REGION_TABLES, SIGNATURE, VIRTUAL_DISK_SIZE,
    checksum,
};
use crate::bytes::{swap_guid, u16_le, u32_le, u64_le};
use crate::disk::read::{Place, read_chunks};
use crate::disk::{ReadError, expect};
use crate::read_at::ReadAt;
use std::io;

/// Entries of the region table and of the metadata table: the format's limit.
const MAX_ENTRIES: u64 = 2047;
const MAX_SIZE: u64 = 64 << 40;
/// In the file parameters: the image only changes another.
const HAS_PARENT: u32 = 2;

/// An open image. It reads as the disk that it holds.
#[derive(Debug)]
pub struct Image<R> {
    reader: R,
    size: u64,
    block: u64,
    /// Blocks between two sector bitmaps in the BAT.
    ratio: u64,
    bat: u64,
}

impl<R: ReadAt> Image<R> {
    /// Reads headers, region table and metadata.
    pub fn open(reader: R) -> Result<Self, ReadError> {
        expect(&reader, NAME, SIGNATURE)?;
        let read = |offset, len: u64| {
            // No structure has more than a few MiB.
            let bytes = reader.read_vec_at(offset, len as usize);
            bytes.map_err(|source| ReadError::Read {
                format: NAME,
                source,
            })
        };
        let mut headers = Vec::new();
        for at in HEADERS {
            headers.extend(whole(read(at, HEADER_SIZE)?, HEADER_SIGNATURE));
        }
        let newest = headers.iter().max_by_key(|header| u64_le(header, 8));
        let newest = newest.ok_or(damaged("headers"))?;
        if newest[48..64] != [0; 16] {
            return Err(unsupported("a log that was not applied yet"));
        }
        let mut tables = Vec::new();
        for at in REGION_TABLES {
            tables.extend(whole(read(at, REGION_TABLE_SIZE)?, REGION_TABLE_SIGNATURE));
        }
        let table = tables.first().ok_or(damaged("region tables"))?;
        let region = |guid| {
            let count = u64::from(u32_le(table, 8)).min(MAX_ENTRIES);
            let entry = find(table, 16, count, guid)?;
            Some((u64_le(entry, 16), u64::from(u32_le(entry, 24))))
        };
        let (bat, bat_size) = region(REGION_BAT).ok_or(damaged("region tables"))?;
        let (metadata, _) = region(REGION_METADATA).ok_or(damaged("region tables"))?;
        let items = read(metadata, METADATA_TABLE_SIZE)?;
        if !items.starts_with(METADATA_SIGNATURE) {
            return Err(damaged("metadata table"));
        }
        let item = |guid, len: u64| {
            let count = u64::from(u16_le(&items, 10)).min(MAX_ENTRIES);
            let entry = find(&items, ENTRY as usize, count, guid);
            let entry = entry.ok_or(damaged("metadata table"))?;
            read(metadata.saturating_add(u32_le(entry, 16).into()), len)
        };
        let parameters = item(FILE_PARAMETERS, 8)?;
        if u32_le(&parameters, 4) & HAS_PARENT != 0 {
            return Err(unsupported("a parent image"));
        }
        let block = u64::from(u32_le(&parameters, 0));
        let possible = block.is_power_of_two() && (MIB..=256 * MIB).contains(&block);
        field("BlockSize", block, possible)?;
        let size = u64_le(&item(VIRTUAL_DISK_SIZE, 8)?, 0);
        field("VirtualDiskSize", size, (1..=MAX_SIZE).contains(&size))?;
        let sector = u64::from(u32_le(&item(LOGICAL_SECTOR_SIZE, 4)?, 0));
        field("LogicalSectorSize", sector, [512, 4096].contains(&sector))?;
        let ratio = BITMAP_SECTORS * sector / block;
        let blocks = size.div_ceil(block);
        let possible = (blocks + (blocks - 1) / ratio) * 8 <= bat_size;
        field("BAT length", bat_size, possible)?;
        Ok(Image {
            reader,
            size,
            block,
            ratio,
            bat,
        })
    }

    /// Where the bytes of a block are.
    fn place(&self, block: u64) -> io::Result<Place> {
        let mut entry = [0; 8];
        let at = self.bat.checked_add(8 * (block + block / self.ratio));
        let at = at.ok_or(io::ErrorKind::UnexpectedEof)?;
        self.reader.read_exact_at(&mut entry, at)?;
        let entry = u64::from_le_bytes(entry);
        match entry & BLOCK_STATE {
            BLOCK_FULLY_PRESENT => Ok(Place::At(entry & !(MIB - 1))),
            BLOCK_PARTIALLY_PRESENT => Err(io::Error::other(unsupported("a parent image"))),
            _ => Ok(Place::Zeros),
        }
    }
}

/// `bytes`, if they are what `signature` says and match their checksum.
fn whole(bytes: Vec<u8>, signature: &[u8]) -> Option<Vec<u8>> {
    let good = bytes.starts_with(signature) && checksum(&bytes) == u32_le(&bytes, CHECKSUM);
    good.then_some(bytes)
}

/// The entry of `guid` among the `count` entries that begin at `first`.
fn find(table: &[u8], first: usize, count: u64, guid: [u8; 16]) -> Option<&[u8]> {
    table[first..]
        .chunks_exact(ENTRY as usize)
        .take(count as usize)
        .find(|entry| entry[..16] == swap_guid(guid))
}

fn damaged(part: &'static str) -> ReadError {
    ReadError::Checksum { format: NAME, part }
}

fn unsupported(what: &'static str) -> ReadError {
    ReadError::Unsupported { format: NAME, what }
}

fn field(field: &'static str, value: u64, possible: bool) -> Result<(), ReadError> {
    match possible {
        true => Ok(()),
        false => Err(ReadError::Field {
            format: NAME,
            field,
            value,
        }),
    }
}

impl<R: ReadAt> ReadAt for Image<R> {
    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let geometry = (self.size, self.block);
        read_chunks(&self.reader, geometry, buf, offset, |block| {
            self.place(block)
        })
    }
}
