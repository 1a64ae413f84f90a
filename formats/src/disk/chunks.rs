//! Goes over a disk in chunks of equal size, with all threads at once.

use super::{Disk, Error};
use crate::read_at::ReadAt;
use rayon::prelude::*;
use std::io;

/// What the chunks in hand may take, so that many threads do not take all memory.
const MAX_BATCH: usize = 256 << 20;
/// Chunks in hand for each thread: enough that none waits for the others.
const PER_THREAD: usize = 4;
/// No batch is smaller, or threads would meet too often.
const MIN_BATCH: usize = 8 << 20;
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// Hands every chunk of `disk` that is not all zeros to `pack`, on any thread, and what that made of it to
/// `take`, in the order of the disk. The last chunk is filled up with zeros.
///
/// Each thread has a state of its own, which `state` makes, such as a compressor with its buffers.
pub(crate) fn pack_each<R, S, T>(
    disk: &Disk<'_, R>,
    chunk: usize,
    state: impl Fn() -> io::Result<S> + Sync,
    pack: impl Fn(&mut S, u64, &[u8]) -> io::Result<T> + Sync,
    mut take: impl FnMut(u64, T) -> io::Result<()> + Send,
) -> Result<(), Error>
where
    R: ReadAt + Sync + ?Sized,
    T: Send,
{
    let per_batch = (rayon::current_num_threads() * PER_THREAD)
        .max(MIN_BATCH / chunk)
        .min(MAX_BATCH / chunk)
        .max(1);
    let mut numbers = Numbers::new(disk, chunk as u64);
    let mut ready: Vec<(u64, T)> = Vec::new();
    loop {
        let batch: Vec<u64> = numbers.by_ref().take(per_batch).collect();
        let packing = || -> Result<Vec<Option<(u64, T)>>, Error> {
            let start = || (vec![0; chunk], state());
            let one = |(buffer, state): &mut (Vec<u8>, io::Result<S>), number: &u64| {
                pack_one(disk, *number, buffer, state, &pack)
            };
            batch.par_iter().map_init(start, one).collect()
        };
        let done = std::mem::take(&mut ready);
        let writing = || {
            let mut done = done.into_iter();
            done.try_for_each(|(number, packed)| take(number, packed))
        };
        // The batch before is written while this one is packed.
        let (packed, written) = rayon::join(packing, writing);
        written.map_err(Error::Write)?;
        ready = packed?.into_iter().flatten().collect();
        if batch.is_empty() {
            return Ok(());
        }
    }
}

fn pack_one<R: ReadAt + ?Sized, S, T>(
    disk: &Disk<'_, R>,
    number: u64,
    buffer: &mut [u8],
    state: &mut io::Result<S>,
    pack: impl Fn(&mut S, u64, &[u8]) -> io::Result<T>,
) -> Result<Option<(u64, T)>, Error> {
    let offset = number * buffer.len() as u64;
    // At most a chunk.
    let len = (disk.size - offset).min(buffer.len() as u64) as usize;
    buffer[len..].fill(0);
    let read = disk.source.read_exact_at(&mut buffer[..len], offset);
    read.map_err(|source| Error::Read { offset, source })?;
    if is_zero(buffer) {
        return Ok(None);
    }
    let packed = match state {
        Ok(state) => pack(state, number, buffer),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    };
    let packed = packed.map_err(|source| Error::Compress { offset, source })?;
    Ok(Some((number, packed)))
}

pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes
        .chunks(ZEROS.len())
        .all(|part| part == &ZEROS[..part.len()])
}

/// The numbers of the chunks that a disk's extents touch, each once.
struct Numbers<'a> {
    extents: std::slice::Iter<'a, std::ops::Range<u64>>,
    chunk: u64,
    next: u64,
    end: u64,
}

impl<'a> Numbers<'a> {
    fn new<R: ?Sized>(disk: &'a Disk<'_, R>, chunk: u64) -> Self {
        Numbers {
            extents: disk.extents.iter(),
            chunk,
            next: 0,
            end: 0,
        }
    }
}

impl Iterator for Numbers<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        while self.next >= self.end {
            let extent = self.extents.next()?;
            if extent.is_empty() {
                continue;
            }
            self.next = self.next.max(extent.start / self.chunk);
            self.end = extent.end.div_ceil(self.chunk);
        }
        self.next += 1;
        Some(self.next - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chunk_with_data_comes_once_and_in_order() {
        let mut bytes = vec![0; 100];
        for at in [3, 14, 15, 99] {
            bytes[at] = 1;
        }
        let check = |extents: Vec<std::ops::Range<u64>>, expected: &[u64]| {
            let disk = Disk::with_extents(&bytes, extents).unwrap();
            let mut numbers = Vec::new();
            let take = |number, len: usize| {
                assert_eq!(len, 16);
                numbers.push(number);
                Ok(())
            };
            pack_each(&disk, 16, || Ok(()), |(), _, bytes| Ok(bytes.len()), take).unwrap();
            assert_eq!(numbers, expected);
        };
        check(vec![0..50, 50..100], &[0, 6]);
        check(vec![0..4, 4..5, 14..16, 17..99, 99..100], &[0, 6]);
        check(vec![20..20, 99..100], &[6]);
        check(vec![], &[]);
    }

    #[test]
    fn faults_are_told_apart() {
        let bytes = vec![1; 100];
        let disk = Disk::new(&bytes).unwrap();
        let full = || Err(io::ErrorKind::StorageFull.into());
        let run = |pack: bool, take: bool| {
            let pack = |(): &mut (), _, _: &[u8]| if pack { Ok(()) } else { full() };
            let take = |_, ()| if take { Ok(()) } else { full() };
            pack_each(&disk, 16, || Ok(()), pack, take)
        };
        assert!(run(true, true).is_ok());
        // Of several chunks that fail at once any may be the first.
        assert!(matches!(run(false, true), Err(Error::Compress { .. })));
        assert!(matches!(run(true, false), Err(Error::Write(_))));
    }
}
