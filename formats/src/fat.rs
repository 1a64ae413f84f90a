//! FAT volumes: the EFI system partition, the SEED partition, and whatever stick someone plugs in
//! (Microsoft's "FAT File System Specification", and for long names its "Long Name" chapter).
//!
//! [`write`](mod@write) makes FAT16 and FAT32 volumes from a tree, [`read`] takes files out of FAT12, FAT16
//! and FAT32 volumes that nobody vouches for. Nothing here changes a volume that exists.
//!
//! ```text
//! reserved sectors   boot sector; FAT32: FSInfo in sector 1, copies of both in 6 and 7
//! FAT, FAT           per cluster the number of the next one of its chain
//! root directory     FAT12 and FAT16 only, of fixed size
//! data               clusters, the first of which has the number 2
//! ```

mod boot;
mod directory;
mod name;
pub mod read;
mod time;
pub mod write;

/// Which of the three kinds of volume, after the bits of a FAT entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Up to 4084 clusters; only read.
    Fat12,
    /// Up to 65524 clusters.
    Fat16,
    /// More than that.
    Fat32,
}

/// The number of the first cluster.
const FIRST_CLUSTER: u32 = 2;
/// FAT12 and FAT16 have fewer clusters than this one.
const FAT12_CLUSTERS: u64 = 4085;
/// FAT16 has fewer, FAT32 this many or more.
const FAT16_CLUSTERS: u64 = 65525;
/// FAT32 has fewer: entries have 28 bits, and the highest values have meanings.
const FAT32_CLUSTERS: u64 = 0x0fff_fff5;

/// Bytes of a directory entry.
const ENTRY: usize = 32;
/// Entries of a directory other than FAT12's and FAT16's root.
const MAX_ENTRIES: usize = 65536;

const ATTRIBUTE_HIDDEN: u8 = 0x02;
const ATTRIBUTE_LABEL: u8 = 0x08;
const ATTRIBUTE_DIRECTORY: u8 = 0x10;
const ATTRIBUTE_ARCHIVE: u8 = 0x20;
/// All of read-only, hidden, system and label: an entry that holds a part of a long name.
const ATTRIBUTE_LONG_NAME: u8 = 0x0f;
const ATTRIBUTE_MASK: u8 = 0x3f;
