//! Writes dynamic VHDX images.

use super::{
    BITMAP_SECTORS, BLOCK_FULLY_PRESENT, CHECKSUM, ENTRY, FILE_PARAMETERS, HEADER_SIGNATURE,
    HEADER_SIZE, HEADERS, LOGICAL_SECTOR_SIZE, METADATA_SIGNATURE, METADATA_TABLE_SIZE, MIB, NAME,
    PHYSICAL_SECTOR_SIZE, REGION_BAT, REGION_METADATA, REGION_TABLE_SIGNATURE, REGION_TABLE_SIZE,
    REGION_TABLES, SIGNATURE, VIRTUAL_DISK_ID, VIRTUAL_DISK_SIZE, checksum,
};
use crate::bytes::{put, swap_guid};
use crate::disk::chunks::pack_each;
use crate::disk::sink::Sink;
use crate::disk::{Disk, Error, SECTOR};
use crate::read_at::ReadAt;
use std::io::{Seek, Write};

/// The smallest block: what Microsoft advises for disks of Linux machines, which write here and there.
const BLOCK: u64 = MIB;
const LOG: u64 = MIB;
const METADATA: u64 = 2 * MIB;
const BAT: u64 = 3 * MIB;
/// The format's limit, 64 TiB.
const MAX_SIZE: u64 = 64 << 40;
const LOGICAL_SECTOR: u32 = SECTOR as u32;
/// What the machine is told of the disk beneath: a block of its file systems.
const PHYSICAL_SECTOR: u32 = 4096;
const VERSION: u16 = 1;

/// Writes `disk`, whose size is a multiple of 512 bytes, to `out`, an empty file. `id` is the identity of the
/// disk, in the byte order of its text form.
pub fn write<R: ReadAt + Sync + ?Sized>(
    disk: &Disk<'_, R>,
    id: [u8; 16],
    out: impl Write + Seek + Send,
) -> Result<(), Error> {
    let why = "its size is no multiple of 512, or above 64 TiB";
    let size = disk.sized(NAME, (SECTOR, MAX_SIZE), why)?;
    // Behind every so many blocks the BAT has an entry for a sector bitmap, which only children use.
    let ratio = BITMAP_SECTORS * SECTOR / BLOCK;
    let blocks = size.div_ceil(BLOCK);
    let entries = blocks + (blocks - 1) / ratio;
    let bat_size = (entries * 8).next_multiple_of(MIB);
    let mut bat = vec![0; bat_size as usize];
    let mut next = BAT + bat_size;
    let mut sink = Sink::new(out);
    let pack = |(): &mut (), _, bytes: &[u8]| Ok(bytes.to_vec());
    let take = |block: u64, bytes: Vec<u8>| {
        sink.write_at(next, &bytes)?;
        let entry = next | BLOCK_FULLY_PRESENT;
        let index = block + block / ratio;
        put(&mut bat, index as usize * 8, &entry.to_le_bytes());
        next += BLOCK;
        Ok(())
    };
    pack_each(disk, BLOCK as usize, || Ok(()), pack, take)?;
    let mut parts = vec![(0, SIGNATURE.to_vec())];
    parts.extend((1..).zip(HEADERS).map(|(n, at)| (at, header(n, id))));
    let table = region_table(bat_size);
    parts.extend(REGION_TABLES.map(|at| (at, table.clone())));
    parts.push((METADATA, metadata(size, id)));
    parts.push((BAT, bat));
    parts
        .iter()
        .try_for_each(|(at, bytes)| sink.write_at(*at, bytes))
        .and_then(|()| sink.flush())
        .map_err(Error::Write)
}

fn header(sequence: u64, id: [u8; 16]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_SIZE as usize];
    put(&mut bytes, 0, HEADER_SIGNATURE);
    put(&mut bytes, 8, &sequence.to_le_bytes());
    // What a machine that writes to the file replaces: any value will do that is not zero.
    put(&mut bytes, 16, &swap_guid(id));
    put(&mut bytes, 32, &swap_guid(id));
    put(&mut bytes, 66, &VERSION.to_le_bytes());
    put(&mut bytes, 68, &(LOG as u32).to_le_bytes());
    put(&mut bytes, 72, &LOG.to_le_bytes());
    sealed(bytes)
}

fn region_table(bat_size: u64) -> Vec<u8> {
    let mut bytes = vec![0; REGION_TABLE_SIZE as usize];
    put(&mut bytes, 0, REGION_TABLE_SIGNATURE);
    put(&mut bytes, 8, &2_u32.to_le_bytes());
    let regions = [
        (REGION_BAT, BAT, bat_size),
        (REGION_METADATA, METADATA, MIB),
    ];
    for (i, (guid, offset, len)) in regions.into_iter().enumerate() {
        let at = 16 + i * ENTRY as usize;
        put(&mut bytes, at, &swap_guid(guid));
        put(&mut bytes, at + 16, &offset.to_le_bytes());
        // MAX_SIZE limits the BAT to about 512 MiB.
        put(&mut bytes, at + 24, &(len as u32).to_le_bytes());
        put(&mut bytes, at + 28, &1_u32.to_le_bytes());
    }
    sealed(bytes)
}

fn metadata(size: u64, id: [u8; 16]) -> Vec<u8> {
    // Whoever does not know an item must not open the file; and whether it is about the disk or the file.
    const REQUIRED: u32 = 4;
    const OF_DISK: u32 = 2;
    let items: [([u8; 16], u32, Vec<u8>); 5] = [
        (FILE_PARAMETERS, REQUIRED, BLOCK.to_le_bytes().to_vec()),
        (
            VIRTUAL_DISK_SIZE,
            REQUIRED | OF_DISK,
            size.to_le_bytes().to_vec(),
        ),
        (VIRTUAL_DISK_ID, REQUIRED | OF_DISK, swap_guid(id).to_vec()),
        (
            LOGICAL_SECTOR_SIZE,
            REQUIRED | OF_DISK,
            LOGICAL_SECTOR.to_le_bytes().to_vec(),
        ),
        (
            PHYSICAL_SECTOR_SIZE,
            REQUIRED | OF_DISK,
            PHYSICAL_SECTOR.to_le_bytes().to_vec(),
        ),
    ];
    let mut bytes = vec![0; MIB as usize];
    put(&mut bytes, 0, METADATA_SIGNATURE);
    put(&mut bytes, 10, &(items.len() as u16).to_le_bytes());
    let mut place = METADATA_TABLE_SIZE as usize;
    for (i, (guid, flags, value)) in items.iter().enumerate() {
        let at = (i + 1) * ENTRY as usize;
        put(&mut bytes, at, &swap_guid(*guid));
        put(&mut bytes, at + 16, &(place as u32).to_le_bytes());
        put(&mut bytes, at + 20, &(value.len() as u32).to_le_bytes());
        put(&mut bytes, at + 24, &flags.to_le_bytes());
        put(&mut bytes, place, value);
        place += value.len();
    }
    bytes
}

/// `bytes` with their checksum in them.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = checksum(&bytes);
    put(&mut bytes, CHECKSUM, &sum.to_le_bytes());
    bytes
}
