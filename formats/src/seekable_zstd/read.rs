//! Reads seekable zstd files that nobody vouches for.

use super::{
    DESCRIPTOR_CHECKSUMS, DESCRIPTOR_RESERVED, FOOTER, FRAME_MAGIC, NAME, SEEKABLE_MAGIC,
    SKIPPABLE_HEADER, SKIPPABLE_MAGIC,
};
use crate::bytes::u32_le;
use crate::disk::codec::unpack_zstd;
use crate::disk::read::{Cache, Place};
use crate::disk::{ReadError, expect};
use crate::read_at::ReadAt;
use std::io;

/// The largest frame that is unpacked, 16 times those written here.
const MAX_FRAME: u32 = 64 << 20;
/// Frames of a disk of 16 TiB as they are written here; the format's limit would be a table of 1.5 GiB, and a
/// sparse file has that for nothing.
const MAX_FRAMES: u64 = 1 << 22;

/// An open file. It reads as what it holds.
#[derive(Debug)]
pub struct Image<R> {
    reader: R,
    size: u64,
    /// By frame, and once more for the end: where it begins in the file, and in what it holds.
    starts: Vec<(u64, u64)>,
    unpacked: Cache,
}

impl<R: ReadAt> Image<R> {
    /// Reads the seek table.
    pub fn open(reader: R) -> Result<Self, ReadError> {
        expect(&reader, NAME, &FRAME_MAGIC.to_le_bytes())?;
        let failed = |source| ReadError::Read {
            format: NAME,
            source,
        };
        let read = |offset, len| reader.read_vec_at(offset, len).map_err(failed);
        let unsupported = |wrong, what| match wrong {
            true => Err(ReadError::Unsupported { format: NAME, what }),
            false => Ok(()),
        };
        let field = |field, value, possible| match possible {
            true => Ok(()),
            false => Err(ReadError::Field {
                format: NAME,
                field,
                value,
            }),
        };
        let file = reader.size().map_err(failed)?;
        let footer = read(file.saturating_sub(FOOTER), FOOTER as usize)?;
        unsupported(u32_le(&footer, 5) != SEEKABLE_MAGIC, "no seek table")?;
        let descriptor = footer[4];
        unsupported(
            descriptor & DESCRIPTOR_RESERVED != 0,
            "an unknown seek table",
        )?;
        let frames = u64::from(u32_le(&footer, 0));
        field("Number_Of_Frames", frames, frames <= MAX_FRAMES)?;
        let entry = match descriptor & DESCRIPTOR_CHECKSUMS {
            0 => 8,
            _ => 12,
        };
        let content = frames * entry + FOOTER;
        let table_start = file.checked_sub(SKIPPABLE_HEADER + content);
        field("Number_Of_Frames", frames, table_start.is_some())?;
        let table_start = table_start.unwrap_or_default();
        // MAX_FRAMES limits it, and the file's size.
        let table = read(table_start, (SKIPPABLE_HEADER + content) as usize)?;
        let (magic, len) = (u32_le(&table, 0), u32_le(&table, 4));
        let possible = magic == SKIPPABLE_MAGIC && u64::from(len) == content;
        field("Frame_Size", len.into(), possible)?;
        let (mut at, mut plain) = (0_u64, 0_u64);
        let mut starts = Vec::with_capacity(frames as usize + 1);
        let entries = &table[SKIPPABLE_HEADER as usize..][..(frames * entry) as usize];
        for entry in entries.chunks_exact(entry as usize) {
            starts.push((at, plain));
            let (packed, len) = (u32_le(entry, 0), u32_le(entry, 4));
            field("Decompressed_Size", len.into(), len <= MAX_FRAME)?;
            // Numbers of 32 bits, and less than 2^32 of them.
            (at, plain) = (at + u64::from(packed), plain + u64::from(len));
        }
        starts.push((at, plain));
        field("Compressed_Size", at, at == table_start)?;
        Ok(Image {
            reader,
            size: plain,
            starts,
            unpacked: Cache::default(),
        })
    }

    /// Unpacks a frame, or finds it unpacked.
    fn frame(&self, frame: usize) -> io::Result<Place> {
        let [(at, plain), (end, plain_end)] = [self.starts[frame], self.starts[frame + 1]];
        // At most MAX_FRAME.
        let len = (plain_end - plain) as usize;
        self.unpacked.get(frame as u64, len, |out| {
            let packed = (end - at) as usize;
            let packed = self.reader.read_vec_at(at, packed)?;
            unpack_zstd(&packed, out)
        })
    }
}

impl<R: ReadAt> ReadAt for Image<R> {
    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (mut rest, mut at) = (buf, offset);
        while !rest.is_empty() {
            // The last frame that begins at or before `at`; frames that hold nothing are passed over.
            let after = self.starts.partition_point(|(_, plain)| *plain <= at);
            let frame = after - 1;
            let (_, start) = self.starts[frame];
            let left = self.starts[after].1 - at;
            let left = usize::try_from(left).unwrap_or(usize::MAX);
            let (part, after) = rest.split_at_mut(left.min(rest.len()));
            if let Place::Unpacked(bytes) = self.frame(frame)? {
                bytes.as_slice().read_exact_at(part, at - start)?;
            }
            at += part.len() as u64;
            rest = after;
        }
        Ok(())
    }
}
