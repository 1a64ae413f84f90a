//! Reading a disk whose chunks lie anywhere in a file, or are compressed there.

use crate::read_at::ReadAt;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// Unpacked chunks are kept up to this many bytes, and always the last one: readers come back to where they
/// were.
const CACHE: usize = 32 << 20;

/// Where the bytes of a chunk are.
pub(crate) enum Place {
    /// Nowhere: they are zeros.
    Zeros,
    /// At this offset of the file.
    At(u64),
    /// Here, as they were unpacked.
    Unpacked(Arc<Vec<u8>>),
}

/// Fills `buf` with the bytes at `offset` of a disk of `size` bytes in chunks of `chunk` bytes. `place` finds a
/// chunk by its number.
pub(crate) fn read_chunks(
    file: &impl ReadAt,
    (size, chunk): (u64, u64),
    buf: &mut [u8],
    offset: u64,
    place: impl Fn(u64) -> io::Result<Place>,
) -> io::Result<()> {
    let end = offset.checked_add(buf.len() as u64);
    if end.is_none_or(|end| end > size) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let (mut rest, mut at) = (buf, offset);
    while !rest.is_empty() {
        let within = at % chunk;
        let left = usize::try_from(chunk - within).unwrap_or(usize::MAX);
        let (part, after) = rest.split_at_mut(left.min(rest.len()));
        match place(at / chunk)? {
            Place::Zeros => part.fill(0),
            Place::At(start) => {
                let start = start.checked_add(within);
                file.read_exact_at(part, start.ok_or(io::ErrorKind::UnexpectedEof)?)?;
            }
            Place::Unpacked(bytes) => bytes.as_slice().read_exact_at(part, within)?,
        }
        at += part.len() as u64;
        rest = after;
    }
    Ok(())
}

/// The chunks that were unpacked last.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<VecDeque<(u64, Arc<Vec<u8>>)>>);

impl Cache {
    /// Chunk `number`, which has `len` bytes: as it is here, or as `unpack` fills it.
    pub(crate) fn get(
        &self,
        number: u64,
        len: usize,
        unpack: impl FnOnce(&mut [u8]) -> io::Result<()>,
    ) -> io::Result<Place> {
        let mut chunks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = chunks.iter().position(|(other, _)| *other == number)
            && let Some(found) = chunks.remove(at)
        {
            let bytes = found.1.clone();
            chunks.push_back(found);
            return Ok(Place::Unpacked(bytes));
        }
        let mut bytes = vec![0; len];
        unpack(&mut bytes)?;
        let bytes = Arc::new(bytes);
        chunks.push_back((number, bytes.clone()));
        while chunks.len() > 1 && chunks.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() > CACHE
        {
            chunks.pop_front();
        }
        Ok(Place::Unpacked(bytes))
    }
}
