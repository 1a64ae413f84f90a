//! A disk that is mostly zeros, as a short input that a fuzzer can change.
//!
//! ```text
//! u32 size in sectors of 512 bytes, then pieces: u32 sector, u16 length in bytes, the bytes
//! ```
//!
//! Little-endian. A piece that ends behind the input ends with it, and one that ends behind the disk, too.

use formats::read_at::ReadAt;
use std::io;

const SECTOR: usize = 512;
/// Bytes of a piece of a seed.
const MAX_PIECE: usize = 32 << 10;
/// More pieces than a seed has only make reading slow.
const MAX_PIECES: usize = 64;

/// The disk that an input stands for.
#[derive(Debug)]
pub struct Disk<'a> {
    size: u64,
    pieces: Vec<(u64, &'a [u8])>,
}

impl<'a> Disk<'a> {
    /// `None` if the input is too short.
    pub fn new(input: &'a [u8]) -> Option<Self> {
        let (size, mut rest) = input.split_first_chunk()?;
        let mut pieces = Vec::new();
        while let Some((sector, after)) = rest.split_first_chunk()
            && let Some((len, after)) = after.split_first_chunk()
            && pieces.len() < MAX_PIECES
        {
            let len = usize::from(u16::from_le_bytes(*len)).min(after.len());
            let (bytes, after) = after.split_at(len);
            pieces.push((
                u64::from(u32::from_le_bytes(*sector)) * SECTOR as u64,
                bytes,
            ));
            rest = after;
        }
        let size = u64::from(u32::from_le_bytes(*size)) * SECTOR as u64;
        Some(Disk { size, pieces })
    }
}

impl ReadAt for Disk<'_> {
    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buf.fill(0);
        for (start, bytes) in &self.pieces {
            let (from, skip) = (start.saturating_sub(offset), offset.saturating_sub(*start));
            let to = buf.get_mut(from as usize..).unwrap_or_default();
            let bytes = bytes.get(skip as usize..).unwrap_or_default();
            let len = to.len().min(bytes.len());
            to[..len].copy_from_slice(&bytes[..len]);
        }
        Ok(())
    }
}

/// The input that stands for `disk`, which is a multiple of 512 bytes long.
pub fn encode(disk: &[u8]) -> Vec<u8> {
    let mut pieces: Vec<(u64, Vec<u8>)> = Vec::new();
    for (at, sector) in (0..).step_by(SECTOR).zip(disk.chunks(SECTOR)) {
        match pieces.last_mut() {
            _ if sector.iter().all(|byte| *byte == 0) => {}
            Some((start, piece)) if *start + piece.len() as u64 == at => {
                piece.extend_from_slice(sector);
            }
            _ => pieces.push((at, sector.to_vec())),
        }
    }
    encode_pieces(disk.len() as u64, &pieces)
}

/// The input that stands for a disk of `size` bytes with these bytes at these offsets; sizes and offsets are
/// multiples of 512.
pub fn encode_pieces(size: u64, pieces: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut input = ((size / SECTOR as u64) as u32).to_le_bytes().to_vec();
    for (start, bytes) in pieces {
        for (chunk, number) in bytes.chunks(MAX_PIECE).zip(0..) {
            let end = chunk
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |at| at + 1);
            if end > 0 {
                let sector = (start + number * MAX_PIECE as u64) / SECTOR as u64;
                input.extend_from_slice(&(sector as u32).to_le_bytes());
                input.extend_from_slice(&(end as u16).to_le_bytes());
                input.extend_from_slice(&chunk[..end]);
            }
        }
    }
    input
}
