//! Bytes compressed with zstd in frames that can be unpacked one by one (zstd's "Seekable Format" 0.1.0).
//!
//! ```text
//! frames       each of 4 MiB of the disk, with a checksum
//! seek table   a skippable frame: per frame its compressed and its plain size
//! ```
//!
//! Everything that reads zstd reads it: to plain readers it is frames one behind the other, and a frame to
//! skip. Frames of zeros are all the same few bytes, and `zstd -d` leaves holes for them.

mod read;
mod write;

pub use read::Image;
pub use write::write;

const NAME: &str = "zstd";
/// The first bytes of a frame.
const FRAME_MAGIC: u32 = 0xfd2f_b528;
/// The first bytes of the skippable frame that holds a seek table.
const SKIPPABLE_MAGIC: u32 = 0x184d_2a5e;
/// The last bytes of a seek table.
const SEEKABLE_MAGIC: u32 = 0x8f92_eab1;
/// In front of a skippable frame's content: magic and length.
const SKIPPABLE_HEADER: u64 = 8;
/// Number of frames, descriptor, magic.
const FOOTER: u64 = 9;
/// The format's limit; fewer are read.
const MAX_FRAMES: u64 = 0x0800_0000;
/// In the seek table's descriptor: entries have checksums.
const DESCRIPTOR_CHECKSUMS: u8 = 1 << 7;
/// In the seek table's descriptor: must be zero.
const DESCRIPTOR_RESERVED: u8 = 0x7c;
