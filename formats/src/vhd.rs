//! Fixed VHD images, as Azure takes them (Microsoft, "Virtual Hard Disk Image Format Specification" 1.0).
//!
//! A fixed image is the disk as it is and one sector behind it, the footer. Dynamic images are refused by the
//! reader: Hyper-V's own format for these is VHDX.

use crate::bytes::{put, swap_guid, u32_be, u64_be};
use crate::disk::chunks::pack_each;
use crate::disk::sink::Sink;
use crate::disk::{Disk, Error, ReadError, SECTOR};
use crate::read_at::{ReadAt, Window};
use std::io::{Seek, Write};

const NAME: &str = "vhd";
const COOKIE: &[u8; 8] = b"conectix";
const MIB: u64 = 1 << 20;
/// The format's limit, 2040 GiB.
const MAX_SIZE: u64 = 2040 << 30;
/// Pieces that the disk is copied in; those that are zeros stay holes.
const PIECE: usize = 1 << 16;
/// Reserved, and always set.
const FEATURES: u32 = 2;
const VERSION: u32 = 0x0001_0000;
const TYPE_FIXED: u32 = 2;
/// A fixed image has no header at the front.
const NO_DATA_OFFSET: u64 = u64::MAX;
/// 1 January 2000, from which the format counts seconds.
const ERA: i64 = 946_684_800;
const CHECKSUM: usize = 64;

/// What the footer says beside the size.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The image's identity, in the byte order of its text form.
    pub id: [u8; 16],
    /// When it was made, in seconds since 1970.
    pub time: i64,
}

/// Writes `disk`, whose size is a multiple of 1 MiB, to `out`, an empty file.
pub fn write<R: ReadAt + Sync + ?Sized>(
    disk: &Disk<'_, R>,
    options: &Options,
    out: impl Write + Seek + Send,
) -> Result<(), Error> {
    let why = "its size is no multiple of 1 MiB, which Azure asks for, or above 2040 GiB";
    let size = disk.sized(NAME, (MIB, MAX_SIZE), why)?;
    let mut sink = Sink::new(out);
    let pack = |(): &mut (), _, bytes: &[u8]| Ok(bytes.to_vec());
    let take = |piece, bytes: Vec<u8>| sink.write_at(piece * PIECE as u64, &bytes);
    pack_each(disk, PIECE, || Ok(()), pack, take)?;
    sink.write_at(size, &footer(size, options))
        .and_then(|()| sink.flush())
        .map_err(Error::Write)
}

fn footer(size: u64, options: &Options) -> Vec<u8> {
    let mut footer = vec![0; SECTOR as usize];
    let time = u32::try_from(options.time.saturating_sub(ERA)).unwrap_or_default();
    put(&mut footer, 0, COOKIE);
    put(&mut footer, 8, &FEATURES.to_be_bytes());
    put(&mut footer, 12, &VERSION.to_be_bytes());
    put(&mut footer, 16, &NO_DATA_OFFSET.to_be_bytes());
    put(&mut footer, 24, &time.to_be_bytes());
    // Of another creator, readers take the size from the geometry, which cannot express every size.
    put(&mut footer, 28, b"win ");
    put(&mut footer, 32, &0x000a_0000_u32.to_be_bytes());
    put(&mut footer, 36, b"Wi2k");
    put(&mut footer, 40, &size.to_be_bytes());
    put(&mut footer, 48, &size.to_be_bytes());
    put(&mut footer, 56, &geometry(size / SECTOR));
    put(&mut footer, 60, &TYPE_FIXED.to_be_bytes());
    put(&mut footer, 68, &swap_guid(options.id));
    let sum = checksum(&footer);
    put(&mut footer, CHECKSUM, &sum.to_be_bytes());
    footer
}

/// The complement of the sum of all bytes, of which those of the checksum count as zeros.
fn checksum(footer: &[u8]) -> u32 {
    let bytes = footer.iter().enumerate();
    let others = bytes.filter(|(at, _)| !(CHECKSUM..CHECKSUM + 4).contains(at));
    !others.map(|(_, byte)| u32::from(*byte)).sum::<u32>()
}

/// Cylinders, heads and sectors of a track, by the specification's appendix: as many as a BIOS can name, and
/// never more than the disk has.
fn geometry(sectors: u64) -> [u8; 4] {
    let sectors = sectors.min(65_535 * 16 * 255);
    let (heads, track) = if sectors >= 65_535 * 16 * 63 {
        (16, 255)
    } else {
        let (mut track, mut rows) = (17, sectors / 17);
        let mut heads = rows.div_ceil(1024).max(4);
        if rows >= heads * 1024 || heads > 16 {
            (track, heads) = (31, 16);
            rows = sectors / track;
        }
        if rows >= heads * 1024 {
            (track, heads) = (63, 16);
        }
        (heads, track)
    };
    let cylinders = (sectors / (heads * track)) as u16;
    let [high, low] = cylinders.to_be_bytes();
    [high, low, heads as u8, track as u8]
}

/// Opens the disk in a fixed image.
pub fn open<R: ReadAt>(reader: R) -> Result<Window<R>, ReadError> {
    let failed = |source| ReadError::Read {
        format: NAME,
        source,
    };
    let file = reader.size().map_err(failed)?;
    let Some(at) = file.checked_sub(SECTOR) else {
        return Err(ReadError::Other(NAME));
    };
    let footer = reader.read_vec_at(at, SECTOR as usize).map_err(failed)?;
    if !footer.starts_with(COOKIE) {
        return Err(ReadError::Other(NAME));
    }
    if checksum(&footer) != u32_be(&footer, CHECKSUM) {
        let part = "footer";
        return Err(ReadError::Checksum { format: NAME, part });
    }
    if u32_be(&footer, 60) != TYPE_FIXED {
        let what = "a table of blocks";
        return Err(ReadError::Unsupported { format: NAME, what });
    }
    let size = u64_be(&footer, 48);
    if size != at {
        return Err(ReadError::Field {
            format: NAME,
            field: "Current Size",
            value: size,
        });
    }
    Window::new(reader, 0, size).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geometries_never_exceed_the_disk() {
        let check = |mib: u64, expected: [u8; 4]| {
            let sectors = mib * (MIB / SECTOR);
            let [high, low, heads, track] = geometry(sectors);
            assert_eq!([high, low, heads, track], expected, "{mib} MiB");
            let cylinders = u64::from(u16::from_be_bytes([high, low]));
            assert!(cylinders * u64::from(heads) * u64::from(track) <= sectors);
        };
        check(1, [0, 30, 4, 17]);
        check(100, [0x03, 0xeb, 12, 17]);
        check(1024, [0x08, 0x20, 16, 63]);
        check(200 << 10, [0xff, 0xff, 16, 255]);
    }
}
