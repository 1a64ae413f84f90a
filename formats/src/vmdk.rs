//! VMDK images of the type streamOptimized, which VMware's and VirtualBox's importers and every OVA take
//! (VMware, "Virtual Disk Format 5.0").
//!
//! The writer never goes back, so that an image can be a part of a stream:
//!
//! ```text
//! sector 0        header, which says that the grain directory is found by the footer
//! sectors 1..21   descriptor, a text
//! sectors 128..   grains of 64 KiB that hold data, compressed, each behind a marker; behind the grains of
//!                 each 32 MiB of the disk the grain table with their sectors
//! grain directory, footer (the header again, with the directory's sector), end-of-stream marker
//! ```
//!
//! [`Image`] reads sparse extents in one file, compressed or not; images in several files are refused.

mod read;
mod write;

pub use read::Image;
pub use write::write;

use crate::bytes::put;

const NAME: &str = "vmdk";
const MAGIC: &[u8; 4] = b"KDMV";
const SECTOR: u64 = crate::disk::SECTOR;
/// The grain directory's sector is in the footer.
const AT_END: u64 = u64::MAX;
/// Entries of a grain table.
const GRAIN_TABLE_ENTRIES: u64 = 512;
/// Header flags: the test of line ends is valid, grains are compressed, and there are markers.
const FLAG_LINE_ENDS: u32 = 1;
const FLAG_COMPRESSED: u32 = 1 << 16;
const FLAG_MARKERS: u32 = 1 << 17;
const COMPRESSION_DEFLATE: u16 = 1;
/// A grain's marker: its sector on the disk, and the size of its data.
const GRAIN_MARKER: u64 = 12;

/// The sparse extent's header, in sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    version: u32,
    flags: u32,
    capacity: u64,
    grain_size: u64,
    descriptor_offset: u64,
    descriptor_size: u64,
    grain_table_entries: u32,
    grain_directory: u64,
    overhead: u64,
    compression: u16,
}

impl Header {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; SECTOR as usize];
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, 4, &self.version.to_le_bytes());
        put(&mut bytes, 8, &self.flags.to_le_bytes());
        put(&mut bytes, 12, &self.capacity.to_le_bytes());
        put(&mut bytes, 20, &self.grain_size.to_le_bytes());
        put(&mut bytes, 28, &self.descriptor_offset.to_le_bytes());
        put(&mut bytes, 36, &self.descriptor_size.to_le_bytes());
        put(&mut bytes, 44, &self.grain_table_entries.to_le_bytes());
        put(&mut bytes, 56, &self.grain_directory.to_le_bytes());
        put(&mut bytes, 64, &self.overhead.to_le_bytes());
        // What a transfer in text mode would have changed.
        put(&mut bytes, 73, b"\n \r\n");
        put(&mut bytes, 77, &self.compression.to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        use crate::bytes::{u16_le, u32_le, u64_le};
        bytes.starts_with(MAGIC).then(|| Header {
            version: u32_le(bytes, 4),
            flags: u32_le(bytes, 8),
            capacity: u64_le(bytes, 12),
            grain_size: u64_le(bytes, 20),
            descriptor_offset: u64_le(bytes, 28),
            descriptor_size: u64_le(bytes, 36),
            grain_table_entries: u32_le(bytes, 44),
            grain_directory: u64_le(bytes, 56),
            overhead: u64_le(bytes, 64),
            compression: u16_le(bytes, 77),
        })
    }
}
