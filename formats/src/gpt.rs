//! GUID partition tables (UEFI specification 2.10, chapter 5).
//!
//! A [`Table`] is a value. [`Table::write`] gives the bytes of a disk that hold it, [`read`] finds it again;
//! nothing here opens a disk, chooses places or draws identifiers.
//!
//! ```text
//! sector 0            protective MBR; its boot code, the first 446 bytes, is left alone
//! sector 1            primary header
//! sectors 2..         128 entries of 128 bytes: 32 sectors of 512 bytes, or 4 of 4096
//! first usable ..= last usable
//! last - n .. last    the entries again
//! last sector         backup header
//! ```

use crate::bytes::{put, swap_guid, u16_le, u32_le, u64_le};
use crate::read_at::ReadAt;
use std::collections::BTreeMap;
use std::io;

/// Partitions that a table written here has room for.
const MAX_ENTRIES: u32 = 128;
const ENTRY_SIZE: usize = 128;
const ENTRIES_BYTES: u64 = MAX_ENTRIES as u64 * ENTRY_SIZE as u64;
/// UTF-16 units of a partition's name.
const NAME_UNITS: usize = 36;
const HEADER_SIZE: usize = 92;
const SIGNATURE: &[u8; 8] = b"EFI PART";
const REVISION: u32 = 0x0001_0000;
/// The largest entry array that is read; the specification sets no limit.
const MAX_ENTRIES_BYTES: u64 = 1 << 20;

const MBR_TABLE: usize = 446;
const MBR_PROTECTIVE: u8 = 0xee;

/// The size of a disk's logical sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SectorSize {
    /// 512 bytes.
    B512,
    /// 4096 bytes.
    B4096,
}

impl SectorSize {
    /// In bytes.
    pub const fn bytes(self) -> u64 {
        match self {
            SectorSize::B512 => 512,
            SectorSize::B4096 => 4096,
        }
    }

    /// Sectors that one copy of the entries takes.
    const fn entries_sectors(self) -> u64 {
        ENTRIES_BYTES / self.bytes()
    }
}

/// One partition. GUIDs are in the byte order of their text form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What the partition is for.
    pub type_guid: [u8; 16],
    /// The identity of the partition itself.
    pub guid: [u8; 16],
    /// Its first sector.
    pub first_lba: u64,
    /// Its last sector, included.
    pub last_lba: u64,
    /// Attribute bits: 0 required, 1 no block I/O, 2 legacy BIOS bootable, 48 and up the type's own.
    pub attributes: u64,
    /// The partition's name, at most 36 UTF-16 units.
    pub name: String,
}

impl Entry {
    /// How many sectors it has.
    pub fn sectors(&self) -> u64 {
        self.last_lba
            .saturating_add(1)
            .saturating_sub(self.first_lba)
    }
}

/// A whole partition table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The identity of the disk, in the byte order of its text form.
    pub disk_guid: [u8; 16],
    /// The disk's logical sectors.
    pub sector_size: SectorSize,
    /// How many the disk has.
    pub sectors: u64,
    /// The partitions by number, from 1.
    pub entries: BTreeMap<u32, Entry>,
}

/// Why a header and its entries are not valid.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// The sectors cannot be read.
    #[error("reading its sectors failed")]
    Read(#[source] io::Error),
    /// There is no GPT header in that sector.
    #[error("its sector does not start with the signature \"EFI PART\"")]
    Signature,
    /// A field has a value that no table can have.
    #[error("its field {field} has the impossible value {value}")]
    Field {
        /// The field's name.
        field: &'static str,
        /// What it holds.
        value: u64,
    },
    /// The header's bytes do not match their checksum.
    #[error("its checksum does not match")]
    HeaderChecksum,
    /// The entries do not match their checksum.
    #[error("the checksum of its entries does not match")]
    EntriesChecksum,
}

/// Why a table cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk has no room for the table itself.
    #[error("a disk of {sectors} sectors is too small for a partition table, which needs {least}")]
    DiskTooSmall {
        /// The disk's sectors.
        sectors: u64,
        /// The least that it needs.
        least: u64,
    },
    /// A partition number outside 1 to 128.
    #[error("partition number {0} is not between 1 and {MAX_ENTRIES}")]
    Number(u32),
    /// A partition outside the usable sectors, or one that ends before it starts.
    #[error(
        "partition {partition} spans sectors {first} to {last}, but those that can be used are {usable_first} to {usable_last}"
    )]
    OutOfRange {
        /// Number and name.
        partition: String,
        /// Its first sector.
        first: u64,
        /// Its last sector.
        last: u64,
        /// The first sector that a partition can have.
        usable_first: u64,
        /// The last one.
        usable_last: u64,
    },
    /// Two partitions share sectors.
    #[error(
        "partition {lower}, which ends at sector {end}, overlaps partition {upper}, which starts at {start}"
    )]
    Overlap {
        /// Number and name of the one that starts first.
        lower: String,
        /// Its last sector.
        end: u64,
        /// Number and name of the other.
        upper: String,
        /// Its first sector.
        start: u64,
    },
    /// Two partitions have one identity.
    #[error("partitions {0} and {1} have the same GUID")]
    SameGuid(String, String),
    /// A partition whose type is all zeros, which marks an unused entry.
    #[error("partition {0} has no type")]
    NoType(String),
    /// A name that does not fit.
    #[error("the name of partition {partition} has {units} UTF-16 units, more than {NAME_UNITS}")]
    NameTooLong {
        /// Number and name.
        partition: String,
        /// The name's length.
        units: usize,
    },
    /// The size of the disk or its first sector cannot be read.
    #[error("reading the disk failed")]
    Read(#[source] io::Error),
    /// The first sector is no protective MBR: the disk has another kind of table, or none.
    #[error("the disk has no GUID partition table: its first sector is no protective MBR")]
    NoTable,
    /// Neither header is valid.
    #[error(
        "both headers of the partition table are damaged; of the one at the end of the disk: {backup}"
    )]
    BothDamaged {
        /// Of the header at the start of the disk.
        #[source]
        primary: Damage,
        /// Of the one at the end.
        backup: Damage,
    },
}

impl Table {
    /// A table of `entries`, numbered from 1 in their order.
    pub fn new(
        disk_guid: [u8; 16],
        sector_size: SectorSize,
        sectors: u64,
        entries: impl IntoIterator<Item = Entry>,
    ) -> Self {
        Table {
            disk_guid,
            sector_size,
            sectors,
            entries: (1..).zip(entries).collect(),
        }
    }

    /// The first sector that a partition can have.
    pub fn first_usable_lba(&self) -> u64 {
        2 + self.sector_size.entries_sectors()
    }

    /// The last sector that a partition can have; 0 on a disk that is too small for any.
    pub fn last_usable_lba(&self) -> u64 {
        let tail = 2 + self.sector_size.entries_sectors();
        self.sectors.saturating_sub(tail)
    }

    /// The byte ranges of the disk that hold the table, as (offset, bytes), in ascending order.
    pub fn write(&self) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        self.validate()?;
        self.validate_places(self.first_usable_lba(), self.last_usable_lba())?;
        let mut entries = vec![0; ENTRY_SIZE * MAX_ENTRIES as usize];
        for (number, entry) in &self.entries {
            let at = (*number as usize - 1) * ENTRY_SIZE;
            entry.encode(&mut entries[at..at + ENTRY_SIZE]);
        }
        let checksum = crc32fast::hash(&entries);
        let (primary, backup) = (1, self.sectors - 1);
        let backup_entries = backup - self.sector_size.entries_sectors();
        let mut front = self.header(primary, backup, 2, checksum);
        front.extend_from_slice(&entries);
        let mut back = entries;
        back.extend(self.header(backup, primary, backup_entries, checksum));
        let bytes = self.sector_size.bytes();
        Ok(vec![
            (MBR_TABLE as u64, self.protective_mbr()),
            (bytes, front),
            (backup_entries * bytes, back),
        ])
    }

    /// What must hold of the partitions' places in any table, written or read.
    fn validate_places(&self, usable_first: u64, usable_last: u64) -> Result<(), Error> {
        let mut by_start: Vec<(&u32, &Entry)> = self.entries.iter().collect();
        for (number, entry) in &by_start {
            let (first, last) = (entry.first_lba, entry.last_lba);
            if first > last || first < usable_first || last > usable_last {
                return Err(Error::OutOfRange {
                    partition: title(number, entry),
                    first,
                    last,
                    usable_first,
                    usable_last,
                });
            }
        }
        by_start.sort_by_key(|(_, entry)| entry.first_lba);
        for pair in by_start.windows(2) {
            let [(lower_number, lower), (upper_number, upper)] = [pair[0], pair[1]];
            if lower.last_lba >= upper.first_lba {
                return Err(Error::Overlap {
                    lower: title(lower_number, lower),
                    end: lower.last_lba,
                    upper: title(upper_number, upper),
                    start: upper.first_lba,
                });
            }
        }
        Ok(())
    }

    /// What a table must also have to be written; tables in the wild may not.
    fn validate(&self) -> Result<(), Error> {
        let least = 2 * self.first_usable_lba();
        if self.sectors < least {
            let sectors = self.sectors;
            return Err(Error::DiskTooSmall { sectors, least });
        }
        let mut guids = BTreeMap::new();
        for (number, entry) in &self.entries {
            if !(1..=MAX_ENTRIES).contains(number) {
                return Err(Error::Number(*number));
            }
            let title = title(number, entry);
            let units = entry.name.encode_utf16().count();
            if units > NAME_UNITS {
                return Err(Error::NameTooLong {
                    partition: title,
                    units,
                });
            }
            if entry.type_guid == [0; 16] {
                return Err(Error::NoType(title));
            }
            if let Some(other) = guids.insert(entry.guid, title.clone()) {
                return Err(Error::SameGuid(other, title));
            }
        }
        Ok(())
    }

    fn header(&self, own: u64, other: u64, entries_lba: u64, entries_checksum: u32) -> Vec<u8> {
        let mut header = vec![0; HEADER_SIZE];
        put(&mut header, 0, SIGNATURE);
        put(&mut header, 8, &REVISION.to_le_bytes());
        put(&mut header, 12, &(HEADER_SIZE as u32).to_le_bytes());
        put(&mut header, 24, &own.to_le_bytes());
        put(&mut header, 32, &other.to_le_bytes());
        put(&mut header, 40, &self.first_usable_lba().to_le_bytes());
        put(&mut header, 48, &self.last_usable_lba().to_le_bytes());
        put(&mut header, 56, &swap_guid(self.disk_guid));
        put(&mut header, 72, &entries_lba.to_le_bytes());
        put(&mut header, 80, &MAX_ENTRIES.to_le_bytes());
        put(&mut header, 84, &(ENTRY_SIZE as u32).to_le_bytes());
        put(&mut header, 88, &entries_checksum.to_le_bytes());
        let checksum = crc32fast::hash(&header);
        put(&mut header, 16, &checksum.to_le_bytes());
        header.resize(self.sector_size.bytes() as usize, 0);
        header
    }

    /// From byte 446 of the first sector: one MBR partition over the whole disk, and the boot signature.
    fn protective_mbr(&self) -> Vec<u8> {
        let mut mbr = vec![0; 512 - MBR_TABLE];
        let sectors = u32::try_from(self.sectors - 1).unwrap_or(u32::MAX);
        put(&mut mbr, 0, &[0, 0x00, 0x02, 0x00]);
        put(&mut mbr, 4, &[MBR_PROTECTIVE, 0xff, 0xff, 0xff]);
        put(&mut mbr, 8, &1_u32.to_le_bytes());
        put(&mut mbr, 12, &sectors.to_le_bytes());
        put(&mut mbr, 64, &[0x55, 0xaa]);
        mbr
    }
}

impl Entry {
    fn encode(&self, bytes: &mut [u8]) {
        put(bytes, 0, &swap_guid(self.type_guid));
        put(bytes, 16, &swap_guid(self.guid));
        put(bytes, 32, &self.first_lba.to_le_bytes());
        put(bytes, 40, &self.last_lba.to_le_bytes());
        put(bytes, 48, &self.attributes.to_le_bytes());
        for (i, unit) in self.name.encode_utf16().take(NAME_UNITS).enumerate() {
            put(bytes, 56 + 2 * i, &unit.to_le_bytes());
        }
    }

    /// `None` for an unused entry. Units of the name that are no UTF-16 become replacement characters.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let guid = |at: usize| {
            let mut guid = [0; 16];
            guid.copy_from_slice(&bytes[at..at + 16]);
            swap_guid(guid)
        };
        let units: Vec<u16> = (0..NAME_UNITS)
            .map(|i| u16_le(bytes, 56 + 2 * i))
            .take_while(|unit| *unit != 0)
            .collect();
        let entry = Entry {
            type_guid: guid(0),
            guid: guid(16),
            first_lba: u64_le(bytes, 32),
            last_lba: u64_le(bytes, 40),
            attributes: u64_le(bytes, 48),
            name: String::from_utf16_lossy(&units),
        };
        (entry.type_guid != [0; 16]).then_some(entry)
    }
}

/// Reads the table of a disk. Where the header at its start is damaged, the one in its last sector counts.
///
/// [`Table::sectors`] is what the disk has now, so that writing a table back to a disk that has grown moves
/// the backup to its new end.
pub fn read(disk: &(impl ReadAt + ?Sized), sector_size: SectorSize) -> Result<Table, Error> {
    let sectors = disk.size().map_err(Error::Read)? / sector_size.bytes();
    let mut mbr = [0; 512];
    disk.read_exact_at(&mut mbr, 0).map_err(Error::Read)?;
    let mut types = (0..4).map(|i| mbr[MBR_TABLE + 16 * i + 4]);
    if mbr[510..] != [0x55, 0xaa] || !types.any(|t| t == MBR_PROTECTIVE) {
        return Err(Error::NoTable);
    }
    let table = match read_copy(disk, sector_size, sectors, 1) {
        Ok(table) => table,
        Err(primary) => {
            let last = sectors.saturating_sub(1);
            read_copy(disk, sector_size, sectors, last)
                .map_err(|backup| Error::BothDamaged { primary, backup })?
        }
    };
    // Other writers use entry arrays of other sizes, so only the disk itself is a limit here.
    table.validate_places(2, sectors.saturating_sub(1))?;
    Ok(table)
}

fn read_copy(
    disk: &(impl ReadAt + ?Sized),
    sector_size: SectorSize,
    sectors: u64,
    lba: u64,
) -> Result<Table, Damage> {
    let bytes = sector_size.bytes();
    let position = |lba: u64| lba.checked_mul(bytes).ok_or(Damage::Signature);
    let header = disk
        .read_vec_at(position(lba)?, bytes as usize)
        .map_err(Damage::Read)?;
    if !header.starts_with(SIGNATURE) {
        return Err(Damage::Signature);
    }
    let field = |field, value, possible| match possible {
        true => Ok(()),
        false => Err(Damage::Field { field, value }),
    };
    let size = u32_le(&header, 12) as usize;
    let possible = (HEADER_SIZE..=header.len()).contains(&size);
    field("HeaderSize", size as u64, possible)?;
    let mut summed = header[..size].to_vec();
    put(&mut summed, 16, &[0; 4]);
    if crc32fast::hash(&summed) != u32_le(&header, 16) {
        return Err(Damage::HeaderChecksum);
    }
    field("MyLBA", u64_le(&header, 24), u64_le(&header, 24) == lba)?;
    let entries_lba = u64_le(&header, 72);
    let (count, entry_size) = (u32_le(&header, 80), u32_le(&header, 84));
    let possible = entry_size.is_power_of_two() && entry_size as usize >= ENTRY_SIZE;
    field("SizeOfPartitionEntry", entry_size.into(), possible)?;
    let total = u64::from(count) * u64::from(entry_size);
    let possible = count > 0 && total <= MAX_ENTRIES_BYTES;
    field("NumberOfPartitionEntries", count.into(), possible)?;
    field("PartitionEntryLBA", entries_lba, entries_lba < sectors)?;
    let entries = disk
        .read_vec_at(entries_lba * bytes, total as usize)
        .map_err(Damage::Read)?;
    if crc32fast::hash(&entries) != u32_le(&header, 88) {
        return Err(Damage::EntriesChecksum);
    }
    let mut disk_guid = [0; 16];
    disk_guid.copy_from_slice(&header[56..72]);
    let entries = (1..).zip(entries.chunks_exact(entry_size as usize).map(Entry::parse));
    Ok(Table {
        disk_guid: swap_guid(disk_guid),
        sector_size,
        sectors,
        entries: entries
            .filter_map(|(number, entry)| Some((number, entry?)))
            .collect(),
    })
}

fn title(number: &u32, entry: &Entry) -> String {
    format!("{number} {:?}", entry.name)
}
