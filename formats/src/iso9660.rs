//! Makes a disk image a CD as well: an ISO 9660 volume (ECMA-119) with El Torito boot entries (Phoenix and IBM,
//! "El Torito" Bootable CD-ROM Format Specification 1.0) in the room that a partition table leaves free.
//!
//! A GPT with sectors of 512 bytes ends before byte 32768, where ISO 9660 begins, and the first partition
//! starts at 1 MiB. So all of the volume lies between the two, and its files are ranges of the disk: the same
//! bytes are a partition to who looks at a disk, and a file to who looks at a CD.
//!
//! ```text
//! sector of 2048 bytes
//! 16   primary volume descriptor
//! 17   boot record, which leads to the boot catalog
//! 18   terminator
//! 19   boot catalog
//! 20   path table, little-endian      21   the same, big-endian
//! 22   root directory
//! 23   files that are given as bytes, one after the other
//! ```

use crate::bytes::put;
use crate::civil::Civil;

/// Bytes of a sector.
pub const SECTOR: u64 = 2048;
/// Where the volume's own structures begin on the disk; what is before belongs to nobody.
pub const START: u64 = 16 * SECTOR;

const SECTOR_LEN: usize = SECTOR as usize;
const CATALOG: u32 = 19;
const PATH_TABLE_LE: u32 = 20;
const PATH_TABLE_BE: u32 = 21;
const ROOT: u32 = 22;
/// The sector of the first file that is given as bytes; the next ones follow it.
pub const FILES: u32 = 23;
/// A path table of the root directory alone.
const PATH_TABLE_LEN: u32 = 10;
/// One record of the boot catalog.
const ENTRY: usize = 32;
/// The largest file of one extent.
const MAX_FILE: u64 = u32::MAX as u64;

/// The volume.
#[derive(Clone, Debug)]
pub struct Volume<'a> {
    /// Its name: at most 32 of A to Z, 0 to 9 and `_`.
    pub name: &'a str,
    /// Bytes of the whole disk, a multiple of [`SECTOR`].
    pub size: u64,
    /// When it was made, in seconds since 1970.
    pub time: i64,
    /// What is in its only directory.
    pub files: Vec<File<'a>>,
    /// What firmware may boot, the first for preference.
    pub boot: Vec<Boot>,
}

/// A file of the volume.
#[derive(Clone, Debug)]
pub struct File<'a> {
    /// Its name: up to eight of A to Z, 0 to 9 and `_`, a dot, and up to three of them.
    pub name: &'a str,
    /// Its bytes.
    pub data: Data<'a>,
}

/// Where a file's bytes are.
#[derive(Clone, Copy, Debug)]
pub enum Data<'a> {
    /// Here: they are written into the volume.
    Bytes(&'a [u8]),
    /// On the disk already: from a byte that is a multiple of [`SECTOR`], this many.
    At(u64, u64),
}

/// Something that firmware starts.
#[derive(Clone, Copy, Debug)]
pub struct Boot {
    /// Which firmware.
    pub platform: Platform,
    /// Which of the volume's files, counted from 0.
    pub file: usize,
}

/// A kind of firmware.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// PC BIOS: four sectors of 512 bytes of the file are loaded and run.
    Bios,
    /// UEFI: the file is a FAT volume. Its length is given as 0, which UEFI reads as up to the end of the CD,
    /// since 16 bits cannot hold it.
    Uefi,
}

/// Why a volume cannot be made.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// A name that ISO 9660 does not have.
    #[error(
        "{0:?} is no name of ISO 9660: use A to Z, 0 to 9 and _, 8 characters, a dot and 3 characters"
    )]
    Name(String),
    /// A file twice.
    #[error("there are two files {0:?}")]
    Twice(String),
    /// A range that no extent can have.
    #[error(
        "{0:?} does not begin at a multiple of {SECTOR} bytes on the disk, ends behind it, or has 4 GiB"
    )]
    Place(String),
    /// A boot entry for no file.
    #[error("a boot entry names file {0}, and there are fewer")]
    Boot(usize),
    /// The size.
    #[error("a CD has whole sectors of {SECTOR} bytes, up to 8 TiB; {0} bytes are not that")]
    Size(u64),
    /// Too much for one sector of directory or catalog.
    #[error("there are too many files or boot entries for one sector")]
    Many,
}

/// The bytes that belong at [`START`], whole sectors. They replace nothing else of the disk; the caller sees
/// that they end before the first partition.
pub fn write(volume: &Volume<'_>) -> Result<Vec<u8>, Error> {
    let sectors = u32::try_from(volume.size / SECTOR).unwrap_or_default();
    if sectors == 0 || !volume.size.is_multiple_of(SECTOR) {
        return Err(Error::Size(volume.size));
    }
    let known = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_';
    if volume.name.len() > 32 || !volume.name.bytes().all(known) {
        return Err(Error::Name(volume.name.to_owned()));
    }
    let (extents, tail) = place(volume)?;
    let at = Civil::at(volume.time);
    let mut out = primary(volume.name, sectors, at);
    out.extend(boot_record());
    out.extend(descriptor(255));
    out.extend(catalog(volume, &extents)?);
    out.extend(path_table(ROOT.to_le_bytes(), 1_u16.to_le_bytes()));
    out.extend(path_table(ROOT.to_be_bytes(), 1_u16.to_be_bytes()));
    out.extend(directory(volume, &extents, at)?);
    out.extend(tail);
    Ok(out)
}

/// A file's first sector and its bytes.
#[derive(Clone, Copy, Debug)]
struct Extent {
    sector: u32,
    len: u32,
}

/// Where each file is, and the sectors of those that are given as bytes.
fn place(volume: &Volume<'_>) -> Result<(Vec<Extent>, Vec<u8>), Error> {
    let mut tail = Vec::new();
    let mut extents = Vec::with_capacity(volume.files.len());
    for file in &volume.files {
        if !is_file_name(file.name) {
            return Err(Error::Name(file.name.to_owned()));
        }
        let (offset, len) = match file.data {
            Data::At(offset, len) => (offset, len),
            Data::Bytes(bytes) => {
                let offset = u64::from(FILES) * SECTOR + tail.len() as u64;
                tail.extend_from_slice(bytes);
                tail.resize(tail.len().next_multiple_of(SECTOR_LEN), 0);
                (offset, bytes.len() as u64)
            }
        };
        let inside = offset
            .checked_add(len)
            .is_some_and(|end| end <= volume.size);
        if !offset.is_multiple_of(SECTOR) || !inside || len > MAX_FILE {
            return Err(Error::Place(file.name.to_owned()));
        }
        // Both are below the number of the disk's sectors, or checked.
        extents.push(Extent {
            sector: (offset / SECTOR) as u32,
            len: len as u32,
        });
    }
    Ok((extents, tail))
}

fn is_file_name(name: &str) -> bool {
    let known = |part: &str| {
        part.bytes()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_')
    };
    let (stem, ending) = name.split_once('.').unwrap_or((name, ""));
    (1..=8).contains(&stem.len()) && ending.len() <= 3 && known(stem) && known(ending)
}

fn descriptor(kind: u8) -> Vec<u8> {
    let mut sector = vec![0; SECTOR_LEN];
    put(&mut sector, 0, &[kind]);
    put(&mut sector, 1, b"CD001\x01");
    sector
}

fn primary(name: &str, sectors: u32, at: Civil) -> Vec<u8> {
    let mut sector = descriptor(1);
    // Names are padded with spaces: system, volume, then set, publisher, preparer, application and three files.
    sector[8..72].fill(b' ');
    put(&mut sector, 40, name.as_bytes());
    sector[190..813].fill(b' ');
    put(&mut sector, 574, b"SEEDBED");
    put(&mut sector, 80, &both_u32(sectors));
    put(&mut sector, 120, &both_u16(1));
    put(&mut sector, 124, &both_u16(1));
    put(&mut sector, 128, &both_u16(SECTOR as u16));
    put(&mut sector, 132, &both_u32(PATH_TABLE_LEN));
    put(&mut sector, 140, &PATH_TABLE_LE.to_le_bytes());
    put(&mut sector, 148, &PATH_TABLE_BE.to_be_bytes());
    put(&mut sector, 156, &root_record(b"\0", at));
    let made = text_time(at);
    put(&mut sector, 813, &made);
    put(&mut sector, 830, &made);
    // It never expires, and holds from the beginning.
    for never in [847, 864] {
        put(&mut sector, never, b"0000000000000000\0");
    }
    put(&mut sector, 881, &[1]);
    sector
}

fn boot_record() -> Vec<u8> {
    let mut sector = descriptor(0);
    put(&mut sector, 7, b"EL TORITO SPECIFICATION");
    put(&mut sector, 71, &CATALOG.to_le_bytes());
    sector
}

/// One validation entry with the first boot entry, then a section for each of the others.
fn catalog(volume: &Volume<'_>, extents: &[Extent]) -> Result<Vec<u8>, Error> {
    let mut records: Vec<[u8; ENTRY]> = Vec::new();
    for (i, boot) in volume.boot.iter().enumerate() {
        let extent = extents.get(boot.file).ok_or(Error::Boot(boot.file))?;
        let last = i + 1 == volume.boot.len();
        records.push(match i {
            0 => validation(boot.platform),
            _ => section(boot.platform, last),
        });
        records.push(entry(boot.platform, extent.sector));
    }
    let mut sector: Vec<u8> = records.concat();
    if sector.len() > SECTOR_LEN {
        return Err(Error::Many);
    }
    sector.resize(SECTOR_LEN, 0);
    Ok(sector)
}

impl Platform {
    const fn id(self) -> u8 {
        match self {
            Platform::Bios => 0,
            Platform::Uefi => 0xef,
        }
    }
}

fn validation(platform: Platform) -> [u8; ENTRY] {
    let mut record = [0; ENTRY];
    put(&mut record, 0, &[1, platform.id()]);
    put(&mut record, 4, b"SEEDBED");
    put(&mut record, 30, &[0x55, 0xaa]);
    // The record's 16 words sum up to 0.
    let words = record.chunks_exact(2);
    let sum = words.fold(0_u16, |sum, word| {
        sum.wrapping_add(u16::from_le_bytes([word[0], word[1]]))
    });
    put(&mut record, 28, &sum.wrapping_neg().to_le_bytes());
    record
}

fn section(platform: Platform, last: bool) -> [u8; ENTRY] {
    let mut record = [0; ENTRY];
    put(&mut record, 0, &[0x90 | u8::from(last), platform.id()]);
    put(&mut record, 2, &1_u16.to_le_bytes());
    record
}

/// A bootable entry without emulation of a disk, loaded where BIOS boots.
fn entry(platform: Platform, sector: u32) -> [u8; ENTRY] {
    let count: u16 = match platform {
        Platform::Bios => 4,
        Platform::Uefi => 0,
    };
    let mut record = [0; ENTRY];
    put(&mut record, 0, &[0x88]);
    put(&mut record, 6, &count.to_le_bytes());
    put(&mut record, 8, &sector.to_le_bytes());
    record
}

fn path_table(root: [u8; 4], parent: [u8; 2]) -> Vec<u8> {
    let mut sector = vec![0; SECTOR_LEN];
    put(&mut sector, 0, &[1]);
    put(&mut sector, 2, &root);
    put(&mut sector, 6, &parent);
    sector
}

fn directory(volume: &Volume<'_>, extents: &[Extent], at: Civil) -> Result<Vec<u8>, Error> {
    let mut sector = root_record(b"\0", at);
    sector.extend(root_record(b"\x01", at));
    let mut files: Vec<(String, &Extent)> = Vec::new();
    for (file, extent) in volume.files.iter().zip(extents) {
        // The dot is there even if nothing follows it.
        let dot = if file.name.contains('.') { "" } else { "." };
        files.push((format!("{}{dot};1", file.name), extent));
    }
    // Stem and ending are compared apart, as if padded with spaces, which are below every other character.
    let key = |name: &str| name.replace(['.', ';'], "\0");
    files.sort_by_key(|(name, _)| key(name));
    if let Some(pair) = files.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(Error::Twice(pair[0].0.clone()));
    }
    for (name, extent) in files {
        sector.extend(record(extent, 0, name.as_bytes(), at));
    }
    if sector.len() > SECTOR_LEN {
        return Err(Error::Many);
    }
    sector.resize(SECTOR_LEN, 0);
    Ok(sector)
}

fn root_record(name: &[u8; 1], at: Civil) -> Vec<u8> {
    let extent = Extent {
        sector: ROOT,
        len: SECTOR as u32,
    };
    record(&extent, 2, name, at)
}

/// A directory's record. Names have at most 14 characters.
fn record(extent: &Extent, flags: u8, name: &[u8], at: Civil) -> Vec<u8> {
    let len = (33 + name.len()).next_multiple_of(2);
    let mut record = vec![0; len];
    put(&mut record, 0, &[len as u8]);
    put(&mut record, 2, &both_u32(extent.sector));
    put(&mut record, 10, &both_u32(extent.len));
    // Years from 1900, and no distance from UTC.
    let year = (at.year - 1900) as u8;
    let time = [year, at.month, at.day, at.hour, at.minute, at.second, 0];
    put(&mut record, 18, &time);
    put(&mut record, 25, &[flags]);
    put(&mut record, 28, &both_u16(1));
    put(&mut record, 32, &[name.len() as u8]);
    put(&mut record, 33, name);
    record
}

/// Digits for people, and a distance from UTC of 0.
fn text_time(at: Civil) -> Vec<u8> {
    let Civil {
        year,
        month,
        day,
        hour,
        minute,
        second,
    } = at;
    format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}00\0").into_bytes()
}

/// A number in both byte orders, one after the other.
fn both_u32(number: u32) -> [u8; 8] {
    let mut both = [0; 8];
    put(&mut both, 0, &number.to_le_bytes());
    put(&mut both, 4, &number.to_be_bytes());
    both
}

fn both_u16(number: u16) -> [u8; 4] {
    let mut both = [0; 4];
    put(&mut both, 0, &number.to_le_bytes());
    put(&mut both, 2, &number.to_be_bytes());
    both
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume<'a>(files: Vec<File<'a>>) -> Volume<'a> {
        Volume {
            name: "SEEDBED",
            size: 4 << 20,
            time: 1_735_689_599,
            files,
            boot: Vec::new(),
        }
    }

    #[test]
    fn what_a_cd_cannot_hold_is_named() {
        let file = |name, data| write(&volume(vec![File { name, data }]));
        let small = Data::Bytes(b"x");
        for name in ["readme.txt", "", "NINECHARS", "A.LONG", "A.B.C", "A/B"] {
            assert_eq!(file(name, small), Err(Error::Name(name.into())));
        }
        for place in [(1, 1), (2048, 4 << 20), (2048, u64::MAX)] {
            let place = Data::At(place.0, place.1);
            assert_eq!(file("A", place), Err(Error::Place("A".into())));
        }
        let two = ["A", "A."].map(|name| File { name, data: small });
        assert_eq!(write(&volume(two.into())), Err(Error::Twice("A.;1".into())));
        let mut odd = volume(Vec::new());
        odd.size = 2049;
        assert_eq!(write(&odd), Err(Error::Size(2049)));
        odd.size = 2048;
        odd.boot = vec![Boot {
            platform: Platform::Uefi,
            file: 0,
        }];
        assert_eq!(write(&odd), Err(Error::Boot(0)));
    }

    #[test]
    fn the_words_of_a_validation_entry_sum_up_to_nothing() {
        for platform in [Platform::Bios, Platform::Uefi] {
            let record = validation(platform);
            let words = record.chunks_exact(2);
            let sum = words.map(|word| u16::from_le_bytes([word[0], word[1]]));
            assert_eq!(sum.fold(0, u16::wrapping_add), 0);
        }
    }
}
